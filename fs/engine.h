/*
 * engine.h - the client: POSIX over leased objects, with write-back.
 *
 * The engine is passive: events go in, actions come out.  It has no thread,
 * clock, socket or file.  It sees only plaintext: the shell around it seals
 * and opens records and blocks, moves blocks over the bulk lane, talks to the
 * kernel, and makes every call under one lock of its own.  None blocks.
 * After each event the shell takes actions until there is none.
 *
 * Inode numbers are object ids; the root is OID_ROOT (the shell maps FUSE's 1).
 */
#ifndef FS_ENGINE_H
#define FS_ENGINE_H

#include <stdatomic.h>

#include "fs/buffer.h"
#include "proto/message.h"
#include "proto/value.h"

struct engine;
struct engine_journal;
struct replaying;
struct volume_keys;

enum rename_part { RENAME_NEITHER, RENAME_OLD, RENAME_NEW, RENAME_EITHER };

enum offline { OFFLINE_NEVER, OFFLINE_ALONE, OFFLINE_ALWAYS };

struct engine_config {
	uint32_t	 commit_ms;		/* age at which changes are committed; 0 = 2000 */
	size_t		 dirty_max;		/* bytes not yet on the server; 0 = 96 MiB */
	size_t		 cache_max;		/* bytes of opened cells kept; 0 = 64 MiB */
	size_t		 objects_max;		/* cached objects; 0 = 200,000 */
	size_t		 commit_max;		/* bytes that make a commit leave; 0 = 1 MiB, which is the most */
	uint32_t	 read_ahead;		/* blocks; 0 = 8 */
	const struct engine_journal *journal;	/* journal.h; borrowed; NULL: none is kept */
	enum offline	 offline;		/* goes on without the server: never, if nobody else was there, always */
	bool		 stocked;		/* FETCH is answered offline, too: from disk, or by -EHOSTDOWN */
	bool		 redo;			/* what is lost here is run again here: engine_redo_due() */
	bool		 eager;			/* look ahead from the first miss on, not the second */
	void		(*random)(void *context, void *to, size_t len);
	/* Which name of a rename(2) does this caller look up?  Asked seldom; NULL: neither, ever. */
	enum rename_part (*renames)(void *context, uint32_t caller, struct bytes name);
	void		*context;
};

/* ---- operations: one FUSE request each ---- */

enum op_type {
	OP_LOOKUP, OP_GETATTR, OP_SETATTR, OP_READLINK,
	OP_MKNOD, OP_MKDIR, OP_SYMLINK, OP_CREATE, OP_LINK,
	OP_UNLINK, OP_RMDIR, OP_RENAME,
	OP_OPEN, OP_READ, OP_WRITE, OP_FLUSH, OP_FSYNC, OP_RELEASE,
	OP_OPENDIR, OP_READDIR, OP_FSYNCDIR, OP_RELEASEDIR,
	OP_STATFS, OP_GETXATTR, OP_SETXATTR, OP_LISTXATTR, OP_REMOVEXATTR,
	OP_FALLOCATE, OP_LSEEK,
	OP_SYNC,		/* everything acknowledged so far becomes durable */
	OP_META,		/* the volume's feature flags; and META and the root are leased */
	/*
	 * For the pins: with a name, that entry of a directory, in `child`; else all of an object's
	 * records, and as the one piece, of a directory the uint64_t oids of its children, of a file a
	 * struct kept_block for each block; attr has mode and size.  See keep.c.
	 */
	OP_KEEP,
	OP_COUNT
};

enum set_field {		/* OP_SETATTR: which of attr's fields to set */
	SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 16, SET_MTIME = 32,
	SET_CTIME = 64, SET_ATIME_NOW = 128, SET_MTIME_NOW = 256, SET_KILL_SUID = 512,
};

struct dirent_out {
	uint64_t	 ino;
	uint64_t	 offset;	/* to resume after this entry */
	uint8_t		 type;		/* DT_ */
	uint8_t		 name_len;
	const char	*name;		/* in the op's arena */
	/* With op.plus, of a child that is known: its attributes, in the arena; it counts as a LOOKUP.  Else NULL. */
	const struct attr *attr;
	bool		 cacheable, name_cacheable;
};

/* What a file needs of a block: cells [first, first + count), `bytes` of plaintext at most. */
struct kept_block {
	uint8_t		 id[ID_SIZE];
	uint8_t		 first, count;
	uint32_t	 bytes;
};

/* Part of the answer to a read: `len` bytes at data, kept alive by `buffer` (NULL: zeros). */
struct piece {
	const uint8_t	*data;
	size_t		 len;
	struct buffer	*buffer;
};

/*
 * The shell owns the struct and what its pointers name, and keeps both until
 * the op is done.  When engine_submit() leaves the op parked, the shell must,
 * before it drops its lock, move borrowed names and data to memory of the op.
 */
struct op {
	enum op_type	 type;
	/* arguments */
	uint64_t	 ino, ino2;		/* ino2: new parent of RENAME, LINK */
	struct bytes	 name, name2;		/* name2: RENAME's new name, SYMLINK's target */
	struct bytes	 data;			/* WRITE, SETXATTR */
	uint32_t	 uid, gid;		/* of the caller */
	uint32_t	 caller;		/* the thread, by any number of its own; 0: unknown */
	uint32_t	 flags;			/* open flags; RENAME_*, XATTR_*, FALLOC_*; SEEK_*; datasync */
	uint32_t	 set;			/* SETATTR: enum set_field */
	struct attr	 attr;			/* SETATTR, MKNOD, ...: wanted; answer: all attributes */
	uint64_t	 offset;
	size_t		 size;
	uint64_t	 handle;		/* of OPEN, CREATE, OPENDIR */
	uint64_t	 round;			/* KEEP */
	struct replaying *replay;		/* out of the journal, done again; else NULL */
	bool		 redo;			/* on behalf of the journal: waits for nobody's turn */
	bool		 own;			/* the shell's: nobody in the kernel waits for it */
	/* results */
	int		 error;			/* 0 or a negative errno */
	uint64_t	 child;			/* ino of LOOKUP, CREATE, ... */
	uint32_t	 keep_ms;		/* for so long the kernel may keep, at most, */
	bool		 cacheable;		/* the attributes, */
	bool		 name_cacheable;	/* and the name, or that there is none */
	bool		 keep_cache, direct_io;	/* OPEN, CREATE */
	bool		 through;		/* it is done, but no journal keeps it: answered when the server has it */
	bool		 killed;		/* set-id bits went, which the kernel knows of SETATTR only */
	struct piece	*pieces;		/* READ, READLINK, GETXATTR, LISTXATTR */
	size_t		 pieces_count, pieces_size;
	bool		 plus;			/* READDIR: with what is known of the children */
	struct dirent_out *entries;		/* READDIR */
	size_t		 entries_count;
	uint64_t	 written;		/* WRITE; LSEEK: the offset */
	bool		 unsaved;		/* KEEP: of its content some is not on the server */
	struct { uint64_t total_bytes, free_bytes, objects; } space;
	struct { uint32_t incompat, ro_compat; } features;	/* META */
	/* the engine's own */
	bool		 made;			/* CREATE: it did */
	uint64_t	 moved;			/* by RENAME */
	uint64_t	 victim, victim_version;	/* unlinked, or replaced */
	uint32_t	 victim_nlink;
	struct op_state	*state;
	struct op	*next;
	struct arena	 arena;
};

/* ---- actions ---- */

/* A run of dirty bytes on its way to the server as one block. */
struct flush {
	struct buffer	*buffer;		/* plaintext */
	size_t		 start, len;		/* in the buffer */
	bool		 carried;		/* small: only seal it, it travels in a COMMIT */
	uint8_t		 id[ID_SIZE];		/* set by the shell before engine_stored() */
	struct buffer	*sealed;		/* set by the shell when carried; freed with the flush */
	struct flush_state *state;		/* the engine's own */
};

/* Cells to fetch, open, and hand to engine_fetched(): all of them, unless there was an error. */
struct fetch {
	uint8_t		 id[ID_SIZE];
	uint8_t		 first, count;
	struct buffer	*cells[CELLS_MAX];	/* set by the shell, one a cell, plain */
	struct fetch_state *state;
};

/* One frozen transaction, in plaintext; immutable. */
struct commit {
	uint64_t		 sequence;
	struct msg_base		*bases;
	uint32_t		 bases_count;
	struct msg_change	*changes;	/* values in the clear: the shell seals copies */
	uint32_t		 changes_count;
	struct flush		**blocks;	/* carried ones */
	uint32_t		 blocks_count;
	struct arena		 arena;
	atomic_int		 refs;
	struct commit_state	*state;
};
void	commit_put(struct commit *c);		/* any thread */

enum action_kind {
	ACTION_SEND,		/* message on the control lane, in order */
	ACTION_COMMIT,		/* seal and send; commits in order; commit_put() afterwards */
	ACTION_STORE,		/* seal flush->buffer; PUT unless carried; then engine_stored() */
	ACTION_FETCH,		/* GET and open; then engine_fetched() */
	ACTION_INVALIDATE,	/* tell the kernel; then engine_invalidated() */
	ACTION_REPLY,		/* a parked op is done: reply, then engine_replied() */
};

struct action {
	enum action_kind	 kind;
	struct message		 message;	/* SEND; lists in arena */
	struct arena		 arena;
	struct commit		*commit;
	struct flush		*flush;
	struct fetch		*fetch;
	struct op		*op;
	uint64_t		 oid;		/* INVALIDATE */
	bool			 directory;	/* ... its entries; else its pages */
	bool			 pages;
	bool			 again;		/* the kernel did not know it: not at once */
	union {
		struct msg_lease	lease;
		struct msg_pinning	pinning;
	}			 one;		/* the first element of RELEASE, RECLAIM or PIN, which needs no memory then */
	struct action		*next;
};

/* ---- calls ---- */

int	engine_new(struct engine **ret, const struct engine_config *config, const struct volume_keys *keys);
/* Every op must be done; flushes and fetches under way are forgotten. */
void	engine_free(struct engine *e);

/* The clocks that later events are judged by: CLOCK_BOOTTIME, CLOCK_REALTIME. */
void	engine_clock(struct engine *e, uint64_t now_ms, struct timespec real);

/* True: done at once, reply and call engine_replied(). False: parked, an ACTION_REPLY will come. */
bool	engine_submit(struct engine *e, struct op *op);
/* The reply has left (write(2) returned); pieces are released. The struct is the shell's again. */
void	engine_replied(struct engine *e, struct op *op);
/* The caller of a parked op is being killed, or wants EINTR: done with -EINTR where that is safe. */
void	engine_interrupt(struct engine *e, struct op *op);
/* The kernel forgot `n` lookups of ino. */
void	engine_forget(struct engine *e, uint64_t ino, uint64_t n);

/* The control lane is up and attached; `fresh`: to a new session. */
void	engine_attached(struct engine *e, const struct msg_attached *a, bool fresh);
void	engine_detached(struct engine *e);
/* A control message, its record values opened in place (value.data NULL: would not open). */
void	engine_received(struct engine *e, const struct message *m);
/* Outcomes of actions: 0 or a negative errno. */
void	engine_stored(struct engine *e, struct flush *f, int error);
void	engine_fetched(struct engine *e, struct fetch *f, int error);
void	engine_invalidated(struct engine *e, uint64_t oid, bool pages, int error);
/*
 * The machine is about to sleep: from now on nobody in the kernel waits for a
 * server that does not answer (-EHOSTDOWN).  Off: it woke up.
 */
void	engine_sleep(struct engine *e, bool on);
/* What was logged is on this machine's disk: 0, also without a journal. */
int	engine_journal_sync(struct engine *e);
void	engine_tick(struct engine *e);
/*
 * Asked after any event: engine_tick() is to come then (CLOCK_BOOTTIME), or
 * earlier if this says so after an event before that; UINT64_MAX: not before
 * one.  No sooner than 100 ms after the last.
 */
uint64_t engine_due(const struct engine *e);
/* Asked after any event: something waits that the next tick should come for within a few milliseconds. */
bool	engine_hurry(struct engine *e);

/* Owned by the shell until action_free(); NULL when there is none. */
struct action *engine_next(struct engine *e);
void	action_free(struct action *a);

struct engine_status {
	bool		attached;
	uint64_t	version;		/* highest of the volume seen */
	uint64_t	sequence;		/* of the last commit frozen, sent or not */
	uint32_t	sessions;		/* of the volume, when the server was last heard */
	bool		alone;			/* it is the only one, and its term is not over */
	bool		lapsed;			/* its term is over, and it serves nothing */
	bool		reclaiming;		/* it is not known yet which leases outlived the last connection */
	bool		offline;		/* it serves what it has all the same, */
	struct timespec	offline_since;		/* since then */
	bool		asleep;			/* the machine is about to sleep, or was not said to have woken */
	bool		busy;			/* the server was too busy for something lately, which is tried again */
	size_t		dirty_bytes, dirty_objects, commits_pending;
	size_t		objects, cached_bytes, ops_parked;
	uint64_t	journal_through;	/* changes that did not fit into it, and waited for the server */
	uint64_t	commits, recalls, replays, rejected, lost_objects;
	uint64_t	reads, fetches;		/* requests to the server for records, for cells */
	uint64_t	misses;			/* those of both that were made when somebody waited already */
	uint64_t	restarts;		/* system calls begun anew for a name that changed meanwhile */
	int		error;			/* why nothing is committed now (-ENOSPC), or 0 */
	size_t		journal_bytes;		/* that are not known to be on the server */
	bool		journal_full;		/* it cannot be kept: changes wait for the server */
	bool		journal_stranded;	/* it holds what was lost here, and is to be run again */
	size_t		waiting_objects;	/* of which it does */
	int		journal_error;		/* why that cannot be done now, or 0 */
};
void	engine_status(const struct engine *e, struct engine_status *to);
/* Calls report() with the path of each object that has changes not on the server, or lost ones. */
void	engine_unsaved(struct engine *e, void (*report)(void *context, const char *path, bool lost), void *context);
/* Has a file bytes, or a size, that are not on the server? */
bool	engine_holds_content(struct engine *e, uint64_t oid);
/* The mode under which an object is served now, without asking; each such object. */
uint8_t	engine_lease(struct engine *e, uint64_t oid);
void	engine_leases(struct engine *e, void (*report)(void *context, uint64_t oid, uint8_t mode), void *context);
/* What was kept (OP_KEEP) for a round before this one is like any other object again. */
void	engine_keep_round(struct engine *e, uint64_t round);
/* Grows whenever something kept is changed here, or lost to somebody: it is time for another round. */
uint64_t engine_keep_due(const struct engine *e);
/* Every invariant of the head of engine.c; false and a text when one fails. */
bool	engine_check(struct engine *e, char *why, size_t size);

/* The two objects every volume begins with, as the first commit of `nuage create`. */
int	engine_format(struct engine *e, uint32_t uid, uint32_t gid, uint32_t mode);

#endif
