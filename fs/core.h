/*
 * core.h - the engine's struct and the calls between its rooms.
 *
 * engine.c   events, actions, parked operations
 * due.c      when it is to be ticked next
 * need.c     needs, READ and GRANTED
 * caller.c   look-ups of one system call
 * lease.c    RECALL, RELEASE, RECLAIM, loss
 * scout.c    what will be needed next;  walk.c: the way there
 * txn.c      the running transaction, commits under way
 * full.c     a server that has no space
 * credit.c   space that the server has promised
 * supply.c   blocks that the server misses
 * data.c     content: dirty spans, flushing, reading, truncation
 * cell.c     opened cells of blocks, and fetching them
 * op_*.c     the operations
 * journal.c  what outlives the process
 * redo.c     what was lost here, run again here
 * offline.c  work without a server
 * sleep.c    the machine goes to sleep
 * keep.c     what the pins keep
 * trim.c     too many objects
 * op_replay.c  operations out of the journal
 * audit.c    status and invariants
 *
 * Not included outside these files.
 */
#ifndef FS_CORE_H
#define FS_CORE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "fs/object.h"
#include "proto/seal.h"

enum wait_kind {
	WAIT_NONE,
	WAIT_READ,		/* for the answer to request `key` */
	WAIT_OBJECT,		/* for the end of a recall of object `key` */
	WAIT_COMMIT,		/* for the acknowledgement of sequence `key` */
	WAIT_FLUSH,		/* for flush number `key2` of object `key` */
	WAIT_ROOM,		/* for fewer dirty bytes */
	WAIT_FETCH,		/* for cells */
	WAIT_ATTACH,		/* for the server */
	WAIT_OIDS,		/* for object ids */
	WAIT_REDO,		/* for the journal, which is run again */
	WAIT_REPLY,		/* it is done: for memory to say so */
};

enum sleep { AWAKE, DOZING, ASLEEP };

/* Wants of one attempt: the whole set is stated at once (R6). */
enum { NEEDS_MAX = 128, HELD_MAX = 8, CALLERS_MAX = 1024 };

struct op_state {
	struct op	*op;
	TAILQ_ENTRY(op_state) link;
	bool		 parked, queued;
	enum wait_kind	 wait;
	uint64_t	 key, key2;
	uint64_t	 ticket;		/* its age, by the server that runs now; 0: none yet */
	bool		 waited;		/* for an answer of any */
	uint64_t	 request;		/* READ: its own, or one of the scout's */
	uint16_t	 kinds;			/* that children bring */
	uint64_t	 began_ms;
	struct { uint64_t oid; uint8_t mode; } held[HELD_MAX];	/* met needs of this attempt */
	uint32_t	 held_count;
	struct msg_want	*wants;			/* in the op's arena */
	uint32_t	 wants_count, wants_size;
	bool		 missing;		/* a want is not met yet */
	int		 fail;			/* a need can never be met */
	bool		 rechecked;		/* an entry that led to nothing was asked for again */
	int		 refused;		/* the server would not answer */
	bool		 through;		/* done, and to be answered once the server has it */
	struct attr	 set_to;		/* SETATTR: before the answer took its place */
	/* of operations in several steps */
	int		 step;
	uint64_t	 flush_number, sequence, errors, size;
	uint64_t	 losses;		/* engine.journal.losses when its steps began */
	bool		 counted;		/* `errors` is set */
	bool		 asked;			/* whether the server has room by now, when it had refused so often: */
	uint64_t	 refusals;
	uint64_t	 question;		/* of credit.asks, the one about this operation; 0: none yet */
	/* the reply */
	bool		 finished;		/* ready, but for memory to say so */
	uint64_t	 reply_number;
};

/* What a thread looked up last: see caller.c. */
struct caller {
	uint32_t	 id;			/* 0: nobody */
	bool		 wounded;		/* was told to begin anew */
	uint64_t	 dir, leased_since;	/* of the last look-up; dir 0: none */
	uint64_t	 child, name;		/* what it gave; a digest of the name */
	uint64_t	 seen_ms;
	uint64_t	 ticket, second;	/* wounded: its age, the directory of its new name */
	uint64_t	 held[4];		/* ... directories held for it, the last one first; 0: none */
	uint64_t	 told;			/* ... the look-up that was answered ESTALE, until the next one */
};

struct handle {
	uint64_t	 oid;
	uint32_t	 flags;
	uint64_t	 error_seen;
};

struct commit_state {
	struct commit	*commit;
	TAILQ_ENTRY(commit_state) link;
	size_t		 bytes;			/* on the wire, at most; and what it costs */
	uint64_t	 settled, asks;		/* of engine.credit, when it was sent last */
	TAILQ_HEAD(, flush_state) kept;		/* data of the blocks it names */
	bool		 missing;		/* some of them, on the server: it waits for them to be stored again */
	unsigned	 supplies;		/* how often it has */
	bool		 doomed;		/* an object of it was lost meanwhile: never sent again */
};

struct flush_state {
	struct flush	 flush;
	struct object	*object;
	struct span	*span;			/* NULL once applied, or cut away */
	uint64_t	 oid, region;
	uint32_t	 offset;		/* of the run in its region */
	uint64_t	 frees;			/* engine.frees when it was last on its way */
	bool		 stored, failed, kept;
	bool		 reserved;		/* its bytes are in engine.carrying */
	size_t		 orphaned;		/* what it costs though no span does; in engine.credit.orphaned */
	TAILQ_ENTRY(flush_state) link;		/* span, then the transaction */
	TAILQ_ENTRY(flush_state) all_link;
};
TAILQ_HEAD(flush_list, flush_state);

enum mark { MARK_NONE, MARK_CONTENT, MARK_COMMIT };

struct journal {
	const struct engine_journal *sink;	/* NULL: there is none */
	uint64_t	 next;			/* number of the next entry */
	uint64_t	 floor;			/* entries before it are dead */
	uint64_t	 last_op;		/* the last OP entry */
	size_t		 bytes, dead_bytes;	/* appended, and of those before floor */
	bool		 broken;		/* an entry could not be kept; nor is any operation now */
	bool		 filled;		/* ... for there were too many: other entries still can */
	bool		 stranded;		/* holds what this engine lost */
	uint64_t	 losses;		/* how often it lost something */
	uint64_t	 lost_upto;		/* the last commit frozen before that */
	bool		 untold;		/* of one the journal could not take note */
	bool		 keep_oids;		/* the session that chose the ids of what was lost goes on */
	int		 redo_error;		/* why it was not run again, the last time */
	uint64_t	 gate_until, gate_most;	/* until then operations on what was lost wait for it; and at most */
	bool		 replaying;
	uint64_t	 replayed;		/* entries up to it have been run again */
	uint64_t	 session, boot;		/* as the last SESSION entry says */
	bool		 rerun;			/* it is, or was, run again by this engine */
	uint64_t	*own;			/* sessions whose writing is ours */
	size_t		 own_count;
	enum mark	 mark;
	uint64_t	 mark_upto, mark_spans, mark_sequence;
	size_t		 mark_bytes;
};

/* See credit.c. */
struct credit {
	uint64_t	 told, told_at;		/* by the server, when at least so much was settled */
	uint64_t	 settled;		/* cost of all that the server has taken, at most */
	uint64_t	 unsent;		/* cost of all spans */
	uint64_t	 orphaned;		/* of blocks on their way whose bytes were cut away since, or that may be lost */
	bool		 asking;		/* a question is under way: */
	uint64_t	 keep, keep_at, request;
	uint64_t	 asks, answered;	/* so many; the last one that was answered, */
	bool		 more;			/* that what was wanted may come */
	uint64_t	 again_at;		/* then who waits for that asks again; 0: nobody does */
};

/* Children of a directory missed one after the other. */
struct series {
	uint64_t	 dir;
	unsigned	 misses, rest;		/* since they were asked for together; until they are again */
};

enum { SCOUT_MISSES = 16 };
struct scout {
	TAILQ_HEAD(, scout_read) reads;		/* unanswered */
	unsigned	 reads_count;
	size_t		 deep;			/* bytes that an answer may bring unasked */
	uint64_t	 deep_ms;		/* when a listing brought ahead was used last */
	unsigned	 window, files_ahead, files_old;	/* files fetched ahead: at most, now, since before this turn */
	size_t		 bytes_ahead, bytes_old;
	unsigned	 turn_hits;		/* uses until the next turn */
	uint64_t	 hit_ms;		/* when one of them was used last */
	uint32_t	 count;			/* of turns: stamps them */
	unsigned	 hits;			/* since the window was last opened for a miss */
	unsigned	 rest;			/* uses to let pass before looking again */
	enum { ORDER_TOKENS, ORDER_NAMES, ORDER_OIDS } order;	/* that the reader goes in */
	unsigned	 in_order[3];		/* how well the last steps fit that one */
	struct series	 series[MODE_EXCLUSIVE];	/* wanted SHARED, wanted EXCLUSIVE */
	uint64_t	 missed[SCOUT_MISSES];	/* the last files */
	unsigned	 missed_next;
	bool		 at_home;		/* in the reader's own directory: what is there comes first */
	uint64_t	 quiet_until;		/* the server had enough */
	uint64_t	 last_dir, last_file, last_home;	/* missed last; the directory of last_file */
};

struct engine {
	struct engine_config config;
	const struct volume_keys *keys;
	uint64_t	 now_ms;
	struct timespec	 real;

	struct object	**table;
	size_t		 table_size, objects;
	size_t		 untrimmed;		/* looked at since one was given back: trim.c */
	TAILQ_HEAD(object_list, object) lru;	/* least recently needed first; those in use when room was made go behind */
	TAILQ_HEAD(, object) recalling;
	bool		 hurry;			/* a recall is held up for a moment only */
	unsigned	 sharing;		/* objects that may be shared along with the one recalled */
	struct { uint64_t dir; unsigned count; } series[MODE_EXCLUSIVE];	/* of recalls of its children, to that mode */

	struct scout	 scout;
	struct action	*first, **last;
	struct action	*spare;			/* made ahead, for when there is no memory */
	unsigned	 spare_count;
	struct action	*releasing;		/* a RELEASE, if nothing stands behind it: more leases go into it */
	uint32_t	 releasing_size;

	TAILQ_HEAD(op_list, op_state) parked, runnable, replying;
	TAILQ_HEAD(, object) late;		/* to be swept once more, the first to be so first */
	size_t		 parked_count;
	uint64_t	 next_request, replies;
	uint64_t	 leases_taken;		/* so far: numbers them */
	uint64_t	 names_gone_ms;		/* when a quiet directory was last recalled, or lost */
	struct caller	 callers[CALLERS_MAX];

	bool		 attached, reclaiming, had_session;
	uint32_t	 reclaims;		/* not answered yet */
	bool		 unclaimed;		/* there was no memory to say all of them: once more */
	uint64_t	 attached_oid;		/* first_oid of the last ATTACHED */
	uint64_t	 known_oid;		/* that of the last one of which it is known what is held, or 0: more is pretended */
	bool		 kept_long;		/* the kernel was told to keep things for longer than the term */
	bool		 expired;		/* the kernel has been told that the term is over */
	bool		 offline;
	struct timespec	 offline_since;
	uint64_t	 detached_at;
	enum sleep	 sleep;
	uint64_t	 sleep_until;
	uint64_t	 woken_at;		/* ... if the server was not heard since; 0: it was */
	uint64_t	 attached_at;		/* no later than the last ATTACH was sent, or what was answered before its RECLAIMED */
	uint64_t	 boot, session;		/* of the server; with it */
	uint64_t	 version, lease_until, keepalive_at, keepalive_sent, keepalive_request;
	uint32_t	 sessions, term_ms;
	uint64_t	 next_oid;
	uint32_t	 oids_left, next_oids_left;
	uint64_t	 highest_oid;		/* end of all ranges so far */
	uint64_t	 next_range, alloc_request, alloc_after;
	bool		 allocating;
	struct msg_space space;
	uint64_t	 space_at;		/* when that was asked for last */
	struct credit	 credit;

	TAILQ_HEAD(, object) dirty;		/* the running transaction */
	uint64_t	 sequence;		/* last one issued */
	uint64_t	 acknowledged;
	uint64_t	 dirty_since;		/* 0: the running transaction is empty */
	size_t		 running_bytes;		/* what it would take on the wire, at most */
	bool		 freeze_wanted;
	uint64_t	 sync_sequence;		/* the commit that the last SYNC waits for */
	uint64_t	 settle_until;
	TAILQ_HEAD(, commit_state) inflight;
	unsigned	 inflight_count;
	size_t		 inflight_bytes;
	struct flush_list carried;		/* stored flushes the running transaction names */
	size_t		 carried_count;		/* those that travel in the commit */
	size_t		 carrying;		/* bytes that will travel, once sealed */
	size_t		 kept_bytes;		/* of all */
	int		 error;			/* -ENOSPC while the server has no room */
	uint64_t	 refusals;		/* how often it was set */
	uint64_t	 retry_at;
	uint64_t	 frees;			/* commits acknowledged that remove something */
	uint64_t	 again_at;		/* then blocks refused are stored again, for space may have come */
	bool		 probing;		/* one of them is, before the others */
	uint32_t	 busy_ms;		/* how long the next thing waits that the server is too busy for */
	uint64_t	 busy_until;		/* it was lately */
	uint64_t	 reread_at;		/* READs it refused go again then; 0: there are none */
	uint64_t	 resend_at;		/* commits under way go again then; 0: they are on their way */

	size_t		 dirty_bytes;
	uint64_t	 span_number;		/* of the newest span of all */
	TAILQ_HEAD(, object) with_data;		/* objects with spans, or held back */
	TAILQ_HEAD(, object) unpins;
	TAILQ_HEAD(, object) flushing;		/* objects with flush_wanted */
	struct flush_list flushes;		/* every one that is not freed */
	unsigned	 storing;

	uint64_t	 keep_round, keep_due;	/* the last round of the pins that ended; see keep.c */

	struct cell	**cells;
	size_t		 cells_size, cells_count, cells_bytes, cells_failed;
	TAILQ_HEAD(cell_list, cell) cell_lru;
	TAILQ_HEAD(, fetch_state) fetches;

	struct journal	 journal;
	bool		 resumed;		/* the first attachment was to a session there was */
	uint64_t	 resumed_landed;

	uint64_t	 error_counter, sync_errors;	/* losses; those that a SYNC has told */
	size_t		 unsaved;		/* objects on the dirty list or that of content */
	struct engine_status stats;

	/* As the last tick left it, for due.c. */
	struct { uint64_t at, losses; uint32_t sessions; bool attached, trimmed; } ticked;
	bool		 meta_left;		/* somebody wanted META: its reader looks at it anew */
};

/* ---- action.c ---- */
struct action	*action_add(struct engine *e, enum action_kind kind);
/* A control message to fill in; NULL when out of memory.  id 0: none expected back. */
struct action	*send_message(struct engine *e, uint16_t type, uint64_t id);
bool		 actions_spare(struct engine *e);	/* makes some ahead; false when out of memory */
bool		 actions_spared(const struct engine *e);	/* all of them are there */
void		 actions_free(struct engine *e);

/* ---- trim.c ---- */
bool		 trim_step(struct engine *e);	/* false: there is nothing that can go */

/* ---- due.c ---- */
void		 due_ticked(struct engine *e, bool trimmed);	/* trimmed: trim_step() found something */
/* Of the rooms: the time that the next tick has something to do for them; UINT64_MAX: none. */
uint64_t	 credit_due(const struct engine *e);
uint64_t	 offline_due(const struct engine *e);
bool		 journal_moves(const struct engine *e);	/* a mark is on its way, or to be made */

/* ---- engine.c ---- */
void		 wake(struct engine *e, enum wait_kind wait, uint64_t key);
void		 engine_busy(struct engine *e);		/* the server answered BUSY: back off further */
int		 park(struct op *op, enum wait_kind wait, uint64_t key);	/* returns -EAGAIN */
void		 run_all(struct engine *e);
void		 engine_settle(struct engine *e);	/* what every event ends with */
struct object	*object_find(struct engine *e, uint64_t oid);
struct object	*object_get(struct engine *e, uint64_t oid);	/* makes it */
void		 object_drop(struct engine *e, struct object *o);	/* if nothing needs it */
uint64_t	 oid_new(struct engine *e);			/* 0: none left now */

/* ---- need.c ---- */
void		 need_renumber(struct engine *e);	/* another start of the server: no operation has a ticket of it */
bool		 lease_valid(const struct engine *e);
/* The object under a lease of at least this mode, attributes known; NULL: noted as missing. */
struct object	*need_object(struct engine *e, struct op *op, uint64_t oid, enum mode mode);
/* Only the lease, for objects without records. */
struct object	*need_lease(struct engine *e, struct op *op, uint64_t oid, enum mode mode);
/* Is it known? Then *ret is the record, or NULL for none.  False: noted as missing. */
bool		 need_record(struct engine *e, struct op *op, struct object *o, uint8_t kind,
		    const uint8_t *subkey, size_t len, struct rec **ret);
/* All records of a kind, or more of them than are known: false when there may be more still. */
bool		 need_cover(struct engine *e, struct op *op, struct object *o, uint8_t kind);
/* An object that is leased, and is to stay so until the operation is done. */
void		 need_held(struct op *op, uint64_t oid, enum mode mode);
/* True when a need of this attempt is missing. */
bool		 needs_missing(const struct op *op);
bool		 need_named(const struct op_state *s, uint64_t oid);	/* among those that are missing */
/* READ what op waits for.  0 or -ENOMEM: not sent. */
int		 lease_send_read(struct engine *e, struct op *op);
void		 lease_granted(struct engine *e, const struct message *m);
/* The answer to a READ was a status. */
void		 lease_refused(struct engine *e, uint64_t request, enum status status);

/* ---- caller.c ---- */
void		 caller_arrived(struct engine *e, struct op *op);
/* Before a LOOKUP is answered.  0; -EAGAIN: a need is noted; -ESTALE: the system call is to begin anew. */
int		 caller_looks_up(struct engine *e, struct op *op);
void		 caller_looked_up(struct engine *e, struct op *op, const struct object *dir);
void		 names_recalled(struct engine *e, struct object *o);
void		 names_gone(struct engine *e, const struct object *o);	/* its lease is lost */
bool		 names_quiet(const struct engine *e, const struct object *dir);	/* the kernel may keep them */

/* ---- lease.c ---- */
void		 lease_taken(struct engine *e, struct object *o, enum mode mode);	/* had none before */
void		 recall_set(struct engine *e, struct object *o, enum recall_state state);
void		 lease_freed(struct engine *e, struct object *o);	/* by the server: nobody names or pins it */
void		 lease_recalled(struct engine *e, const struct msg_recall *m);
void		 lease_refuse(struct engine *e, uint64_t oid, uint64_t grant);	/* was granted, but there is no memory for it */
void		 lease_changed(struct engine *e, const struct op *op, struct object *o);
void		 lease_replied(struct engine *e);	/* replies have left: what was swept meanwhile is once more */
void		 lease_late_over(struct engine *e, struct object *o);	/* not any more */
void		 lease_foretold(struct engine *e, const struct op *op);
void		 lease_step(struct engine *e, struct object *o);	/* a recall may go on */
void		 lease_step_all(struct engine *e);
bool		 lease_sweep(struct engine *e, struct object *o);	/* what the kernel has of it; false: no memory to ask for that */
void		 lease_swept(struct engine *e, struct object *o, bool pages);
/* The kernel did not know it.  True: it will, and is told again; or has forgotten, and is about to say so. */
bool		 lease_sweep_again(struct engine *e, struct object *o, bool pages);
void		 lease_reclaim(struct engine *e, bool restarted);
void		 lease_reclaimed(struct engine *e, const struct msg_reclaimed *m);
void		 lease_lost(struct engine *e, struct object *o);
void		 lease_lose_session(struct engine *e);
void		 lease_expired(struct engine *e);
/* The kernel is to forget all names and attributes, but no pages. */
void		 lease_forget_names(struct engine *e);
/* For how long may the kernel keep what it is told now? */
uint32_t	 lease_keep_ms(struct engine *e);
void		 lease_tick(struct engine *e);
void		 lease_release(struct engine *e, struct object *o, enum mode kept);	/* and what is known by it */
bool		 lease_names(const struct op_state *s, uint64_t oid);	/* it has that object, or waits for it */
void		 object_pin(struct engine *e, struct object *o, bool on);

/* ---- scout.c ---- */
void		 scout_init(struct engine *e);
/* What a READ of a listing asks for beyond it: bytes, and kinds of records. */
size_t		 scout_deep(const struct engine *e);
uint16_t	 scout_kinds(const struct engine *e);
/* An operation is done, or has to wait for something it asked for. */
void		 scout_served(struct engine *e, const struct op *op);
void		 scout_missed(struct engine *e, const struct op *op);
/* The request of a READ of ours that will bring all that op wants; 0: none. */
uint64_t	 scout_brings(struct engine *e, const struct op *op);
/* Is an answer to a READ of ours up to this number expected? */
bool		 scout_expects(const struct engine *e, uint64_t upto);
/* Want i of that READ, NULL behind the last; *ret_kinds as it asked of children, untouched if it is not ours. */
const struct msg_want *scout_want(const struct engine *e, uint64_t request, uint32_t i, uint16_t *ret_kinds);
/* o was in an answer; asked_for: by an operation. */
void		 scout_took(struct engine *e, struct object *o, bool asked_for);
/* All of that READ's answer has been taken, if it is ours: it told of so many objects. */
void		 scout_answered(struct engine *e, uint64_t request, uint32_t objects);
/* It was refused: true if it is ours. */
bool		 scout_refused(struct engine *e, uint64_t request);
void		 scout_lost(struct engine *e);		/* the connection */
void		 scout_forgotten(struct engine *e, struct object *o);	/* before its records are */

/* ---- walk.c ---- */
/* The directory above, by the name the kernel looked it up by, and the entry that leads down again; or NULL. */
struct object	*walk_above(struct engine *e, const struct object *o, struct rec **ret);

/* ---- op_*.c ---- */
int op_lookup(struct engine *e, struct op *op);
int op_make(struct engine *e, struct op *op);		/* MKNOD, MKDIR, SYMLINK, CREATE */
int op_link(struct engine *e, struct op *op);
int op_unlink(struct engine *e, struct op *op);		/* and RMDIR */
int op_rename(struct engine *e, struct op *op);
int op_getattr(struct engine *e, struct op *op);
int op_meta(struct engine *e, struct op *op);
int op_setattr(struct engine *e, struct op *op);
int op_readlink(struct engine *e, struct op *op);
int op_open(struct engine *e, struct op *op);		/* and OPENDIR */
int op_release(struct engine *e, struct op *op);	/* and RELEASEDIR */
int op_read(struct engine *e, struct op *op);
int op_write(struct engine *e, struct op *op);
int op_flush(struct engine *e, struct op *op);
int op_fsync(struct engine *e, struct op *op);		/* FSYNC, FSYNCDIR, SYNC */
int op_fallocate(struct engine *e, struct op *op);
int op_lseek(struct engine *e, struct op *op);
int op_readdir(struct engine *e, struct op *op);
int op_statfs(struct engine *e, struct op *op);
int op_getxattr(struct engine *e, struct op *op);
int op_setxattr(struct engine *e, struct op *op);	/* and REMOVEXATTR */
int op_listxattr(struct engine *e, struct op *op);

/* Shared by them. */
void		 op_answer(struct op *op, const struct object *o);	/* its attributes */
int		 op_copy(struct op *op, const void *data, size_t len);	/* as the one piece */
struct handle	*op_open_handle(struct engine *e, struct op *op, struct object *o);
void		 unpin_step(struct engine *e);
void		 unpin_heard(struct engine *e, uint64_t request);	/* answered */
void		 pins_resume(struct engine *e);	/* after a new connection */

/* Of names, for op_replay.c. */
struct entry {
	uint8_t		 token[TOKEN_SIZE];
	struct rec	*rec;			/* NULL: no such name */
	uint8_t		 type;
};
/* Looks a name up in a leased directory.  0: entry is set; -EAGAIN, -EIO. */
int		 op_find_entry(struct engine *e, struct op *op, struct object *dir, struct bytes name, struct entry *entry);
/* The object a name leads to, leased; NULL as need_object(). */
struct object	*op_need_child(struct engine *e, struct op *op, struct object *dir, const struct entry *entry, enum mode mode);

/* ---- keep.c ---- */
int		 op_keep(struct engine *e, struct op *op);
bool		 keep_holds(const struct engine *e, const struct object *o);
/* o is changed, or its lease is lost. */
void		 keep_changed(struct engine *e, const struct object *o);

/* ---- op_replay.c ---- */
int		 op_replay(struct engine *e, struct op *op, int (*run)(struct engine *e, struct op *op));

/* ---- journal.c ---- */
bool		 journal_wants(const struct op *op);
bool		 journal_op(struct engine *e, const struct op *op);
bool		 journal_full(const struct engine *e, const struct op *op);
int		 journal_through(struct engine *e, struct op *op);
void		 journal_froze(struct engine *e, uint64_t sequence);
void		 journal_acked(struct engine *e, uint64_t sequence);
bool		 journal_own(const struct engine *e, uint64_t session);
/* The session holds the leases it thinks it holds. */
void		 journal_attached(struct engine *e);
void		 journal_clean(struct engine *e, struct object *o);
void		 journal_synced(struct engine *e, struct object *o);
/* The commits from `sequence` on, and what is in none yet. */
void		 journal_lost(struct engine *e, uint64_t sequence);
void		 journal_step(struct engine *e);
void		 journal_unadopt(struct engine *e);

int		 journal_append(struct engine *e, struct journal_entry *n, bool sync);
bool		 journal_keeps(const struct engine *e);

/* ---- redo.c ---- */
/* o is about to be lost with its changes.  False: the journal will not bring them again. */
bool		 redo_strand(struct engine *e, struct object *o);
/* A loss has been noted, or could not be. */
void		 redo_lost(struct engine *e, bool noted);
/* The operation is to wait for what o lost: -EAGAIN. */
int		 redo_gate(struct engine *e, struct op *op, const struct object *o);
/* FSYNC of o, or SYNC (NULL), promises nothing before: 0, -EAGAIN, or why it will not be soon. */
int		 redo_sync(struct engine *e, struct op *op, const struct object *o);
void		 redo_tick(struct engine *e);
/* The driver has done an operation. */
void		 redo_progress(struct engine *e);
/* An operation of somebody's changed what ino holds. */
void		 redo_changed(struct engine *e, uint64_t ino);
/* Our commit changed o, whoever did before. */
void		 redo_committed(struct engine *e, struct object *o);
/* One of the driver's changed these. */
void		 redo_done(struct engine *e, const struct journal_entry *n);

/* ---- offline.c ---- */
bool		 offline_tick(struct engine *e);	/* is it? */
void		 offline_end(struct engine *e);
bool		 offline_has(struct engine *e, struct object *o, enum mode mode);
int		 offline_error(const struct engine *e, const struct op *op);
int		 offline_room(struct engine *e, const struct op *op);
int		 offline_sync(struct engine *e);

/* All are run again: they fail or go on. */
void		 wake_all(struct engine *e);

/* ---- sleep.c ---- */
void		 sleep_clock(struct engine *e, uint64_t before_ms);	/* it was that until now */
void		 sleep_tick(struct engine *e);
/* Of an operation that would have to wait: 0 if it may. */
int		 sleep_error(const struct engine *e, const struct op *op);
int		 wait_error(const struct engine *e, const struct op *op);	/* for this or any other reason */
/* What op was answered with may not be kept now. */
void		 sleep_answer(const struct engine *e, struct op *op);

/* ---- txn.c ---- */
void		 txn_touch(struct engine *e, struct object *o);
void		 txn_touch_attr(struct engine *e, struct object *o);
int		 txn_put(struct engine *e, struct object *o, uint8_t kind, const uint8_t *subkey, size_t len,
		    struct bytes value, uint64_t oref, const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count);
int		 txn_delete(struct engine *e, struct object *o, uint8_t kind, const uint8_t *subkey, size_t len);
/* No more should be added before some of it has left. */
bool		 txn_full(const struct engine *e);
/* A block of this size may travel in the next commit: keeps room for it. */
bool		 txn_carry(struct engine *e, struct flush_state *f);
void		 txn_uncarry(struct engine *e, struct flush_state *f);
/* The content of o goes into the same commit as its new name. */
void		 txn_order(struct engine *e, struct object *o);
/* Commits what is in the running transaction as soon as possible. */
void		 txn_commit(struct engine *e);
void		 txn_step(struct engine *e);
void		 txn_committed(struct engine *e, const struct msg_committed *m);
void		 txn_resume(struct engine *e, uint64_t sequence, bool rejected, uint64_t outcome);
/* s and those after it become part of the running transaction again: the server has consumed none of their sequences. */
void		 txn_thaw(struct engine *e, struct commit_state *s);
/* The same, to be tried again in a while; until then who waits is told the error. */
void		 txn_postpone(struct engine *e, struct commit_state *s, int error);
/* After txn_thaw(): what is left is committed at once, and who waited for the thawed waits for that. */
void		 txn_refreeze(struct engine *e);
void		 txn_keep(struct engine *e, struct flush_state *f);	/* until a commit that names it is acknowledged */
void		 txn_lose_all(struct engine *e);
void		 txn_lose_running(struct engine *e);	/* all that is in no commit yet */
void		 txn_clean(struct engine *e, struct object *o);		/* drops o's changes */
void		 txn_count(struct engine *e, struct object *o);	/* after a change of the lists it is on */
/* Empty, with room for that many; one reference for the caller.  NULL when out of memory. */
struct commit	*commit_new(struct engine *e, size_t changes, size_t objects);
void		 commit_send(struct engine *e, struct commit *c);
void		 commit_send_all(struct engine *e);	/* those under way, again and in order */
void		 commit_doom(struct engine *e, const struct object *o);	/* o was lost: those that change it */
struct commit_state *commit_doomed(struct engine *e);			/* the first, or NULL */
bool		 txn_pending(const struct engine *e, const struct object *o);
bool		 txn_all_sent(const struct engine *e);
/* A new content's record waits until all of it can come (R4). */
bool		 txn_held_back(const struct object *o, const struct rec *r);

/* ---- credit.c ---- */
enum {
	/* What a commit takes on the wire, which is no less than what it costs. */
	ATTR_BYTES	= 350,			/* a sealed ATTR, its change, its base */
	RECORD_BYTES	= 200,			/* any other record, without its value and references */
	NAME_COST	= 2 * ATTR_BYTES + RECORD_BYTES + 384,	/* an entry, of whatever name */
};
size_t		 credit_block(size_t len);	/* what a block of so many bytes costs at most */
/*
 * For what adds work that will cost so much: 0, -ENOSPC, or -EAGAIN: parked
 * until the server has made room for it, or denied it.
 */
int		 credit_room(struct engine *e, struct op *op, size_t cost);
void		 credit_ask(struct engine *e, uint64_t rest_ms);	/* and for the space left, if that is longer ago */
void		 credit_tick(struct engine *e);
void		 credit_heard(struct engine *e, uint64_t request, const struct msg_space *m);
void		 credit_sent(struct engine *e, struct commit_state *s);
void		 credit_committed(struct engine *e, const struct commit_state *s, uint64_t credit);
void		 credit_stored(struct engine *e, struct flush_state *f);
void		 credit_attached(struct engine *e, uint64_t credit, bool fresh);
void		 credit_restarted(struct engine *e);
void		 credit_detached(struct engine *e);

/* ---- full.c ---- */
/* As credit_room(), of what the server has refused already. */
int		 full_room(struct engine *e, struct op *op);
bool		 full_freeing(struct engine *e);	/* removals are under way; those that are not are sent */
void		 full_retry(struct engine *e);	/* tries at once to save what was refused */
void		 full_refused(struct engine *e, int error);
/*
 * The server has no space for f.  True if that is no news: removals that it had not heard of are on their
 * way, and f is stored again.
 */
bool		 full_old_news(struct engine *e, const struct flush_state *f);
void		 full_store_again(struct engine *e);	/* blocks that were refused */
void		 full_stored(struct engine *e, const struct flush_state *f);	/* or it was refused */
void		 full_committed(struct engine *e, const struct commit *c);

/* ---- supply.c ---- */
void		 supply_missing(struct engine *e, struct commit_state *s, const struct msg_committed *m);
void		 supply_step(struct engine *e);		/* a block was stored, or a commit acknowledged */

/* ---- data.c ---- */
int		 data_write(struct engine *e, struct op *op, struct object *o, uint64_t offset, struct bytes data);
int		 data_read(struct engine *e, struct op *op, struct object *o, uint64_t offset, size_t size);
int		 data_truncate(struct engine *e, struct op *op, struct object *o, uint64_t size);
void		 data_reorder(struct engine *e, struct object *o);	/* emptied, or found to be so in a commit that came back */
int		 data_punch(struct engine *e, struct op *op, struct object *o, uint64_t offset, uint64_t len);
int		 data_seek(struct engine *e, struct op *op, struct object *o, uint64_t offset, int whence);
void		 data_flush(struct engine *e, struct object *o);	/* starts; see flush_done */
void		 data_flush_all(struct engine *e);
void		 data_flush_written(struct engine *e);	/* but truncations stay held back */
/* Before a commit whose time has come: what was truncated long ago is not going to be written anew. */
void		 data_settle_all(struct engine *e);
/* All up to span `number`, written while the file was `size` long, has arrived: a commit may say so. */
void		 data_arrived(struct engine *e, struct object *o, uint64_t number, uint64_t size);
void		 data_arrived_all(struct engine *e, uint64_t number);
void		 data_flush_step(struct engine *e);
void		 data_store(struct engine *e, struct flush_state *f);
void		 data_stored(struct engine *e, struct flush_state *f, int error);
void		 data_drop(struct engine *e, struct object *o);		/* dirty content, all of it */
/* The same, of a file that has no name and nobody has open; some of what else changed in it may be committed yet. */
void		 data_moot(struct engine *e, struct object *o);
/* This ATTR is the server's. */
void		 data_told(struct object *o, struct bytes value);
/* The commit that stated its size did not land. */
void		 data_thawed(struct engine *e, struct object *o);
/* Content not committed cannot be any more: goes back to the server's, and says so.  No commit that changes o is under way. */
void		 data_lost(struct engine *e, struct object *o);
/* All records of a file's content are wanted: false when some are not here. */
bool		 data_need_all(struct engine *e, struct op *op, struct object *o);
/* Calls each() for every run of a block that its regions name: 0, or -EIO when they are damaged, or what it returns. */
int		 data_blocks(struct object *o, int (*each)(void *context, const uint8_t id[ID_SIZE], uint32_t from, uint32_t to),
		    void *context);
bool		 data_dirty(const struct object *o);
size_t		 data_cost(const struct object *o);	/* of its spans, as it was counted */
/* No span made up to this number is left; see engine.span_number. */
bool		 data_flushed(const struct object *o, uint64_t number);
bool		 data_flushed_all(const struct engine *e, uint64_t number);
void		 flush_free(struct engine *e, struct flush_state *f);
void		 data_region_subkey(uint64_t region, uint8_t subkey[8]);

/* ---- cell.c ---- */
struct cell {
	struct cell	*hash_next;
	TAILQ_ENTRY(cell) lru_link;
	uint8_t		 id[ID_SIZE];
	uint8_t		 index;
	int		 error;
	const uint8_t	*data;
	size_t		 len;
	struct buffer	*buffer;
};
/* NULL when it is not here. */
struct cell	*cell_find(struct engine *e, const uint8_t id[ID_SIZE], uint8_t index);
void		 cell_add(struct engine *e, const uint8_t id[ID_SIZE], uint8_t index, struct buffer *b,
		    const uint8_t *data, size_t len, int error);
/* All cells of a block, whose bytes lie in the buffer. */
void		 cell_add_block(struct engine *e, const uint8_t id[ID_SIZE], struct buffer *b, size_t start, size_t len);
void		 cell_forget(struct engine *e, struct cell *c);
/* Who waited for them has been told. */
void		 cell_forget_failed(struct engine *e);
/*
 * Starts fetching those of the cells that are neither here nor under way; ahead: nobody waits for them.
 * False: there is no memory for that, and nothing will come of which who waits would hear.
 */
bool		 cell_fetch(struct engine *e, const uint8_t id[ID_SIZE], unsigned first, unsigned count, bool ahead);
void		 cell_fetched(struct engine *e, struct fetch *f, int error);
void		 cell_free_all(struct engine *e);

#endif
