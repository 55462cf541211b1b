/*
 * shell.h - the threads around one volume's passive engine.
 *
 * The shell owns the engine and its lock.  Every event (an operation, a
 * message, a block moved, a tick) enters under the lock; the actions that
 * come of it are taken under the same hold and carried out after it.  An
 * operation that needs nothing from elsewhere is done inside shell_submit()
 * and wakes no other thread.
 *
 * Threads: control reader and writer, bulk reader and writer, sealing
 * workers, notifiers, a ticker.  Whoever takes a REPLY action makes the reply.
 */
#ifndef FS_SHELL_H
#define FS_SHELL_H

#include "fs/engine.h"
#include "fs/link.h"

/* An operation in the shell's hands: embed it, the shell gives it back by reply(). */
struct call {
	struct op	 op;
	/*
	 * Under the shell's lock, when the op was parked: moves what op.name,
	 * name2 and data borrow into the call's own memory.  NULL: owned already.
	 */
	void		(*park)(struct call *c);
	/*
	 * A parked op is done: answer it.  True: answered, the shell takes back
	 * what the op borrowed and calls finish().  False: somebody else will
	 * answer, and call shell_replied().  Any thread, no lock held.
	 */
	bool		(*reply)(struct call *c);
	void		(*finish)(struct call *c);	/* the call is the owner's again */
	/* the shell's own, under its lock */
	uint64_t	 serial;		/* differs at each submission */
	bool		 parked;
};

/* The kernel's side of a mount; all NULL for a shell without one. */
struct kernel_calls {
	/* Every name of every directory is asked for again from now on.  May sleep. */
	int	(*forget_names)(void *context);
	/* Attributes of an inode, and its pages when asked. May block for long. */
	int	(*forget_inode)(void *context, uint64_t oid, bool pages);
	/* Whenever the session may have changed.  True: again in a moment, something waits to be judged. */
	bool	(*tick)(void *context);
};

/* What outlives the process; called rarely, may block on the disk. */
struct keeper_calls {
	/* Also when only the generation is new; id 0: it has ended. */
	void	(*session)(void *context, uint64_t id, const uint8_t secret[SECRET_SIZE],
		    uint32_t generation);
	void	(*version)(void *context, uint64_t highest);
	/* May be NULL: shell_redo_due() is true, or the lease of META has gone, which OP_META gets back.  Often, if need be. */
	void	(*look)(void *context, bool redo, bool meta);
};

struct blockcache;
struct replay;
struct replay_report;

struct shell_config {
	struct engine_config	 engine;	/* random is the shell's own */
	const char		*addresses;	/* borrowed, as all here, for the shell's life */
	uint8_t			 server_key[KEY_SIZE];
	const uint8_t		*device_secret;
	uint64_t		 writer;	/* names this device in the records it seals */
	uint8_t			 volume[VOLUME_ID_SIZE];
	const uint8_t		*volume_key;
	uint64_t		 session;	/* one to resume, or 0 */
	uint8_t			 secret[SECRET_SIZE];
	uint32_t		 generation;	/* of it, as far as is known */
	struct replay		*replay;	/* for it; shell_replay() follows */
	uint64_t		 replaces;	/* a session a killed mount left behind, or 0 */
	uint8_t			 replaces_secret[SECRET_SIZE];
	uint64_t		 version;	/* highest seen: anything lower is refused */
	struct blockcache	*blockcache;	/* on this machine's disk; NULL: none */
	const struct kernel_calls *kernel;
	void			*kernel_context;
	const struct keeper_calls *keeper;
	void			*keeper_context;
};

struct shell;
/*
 * Connects and attaches before it returns, so that what is wrong is known:
 * the errors of link_open(), -EACCES (not a member), -ENOENT (no such volume),
 * -ESTALE (the server shows an older state than was seen before).
 */
int	shell_new(struct shell **ret, const struct shell_config *config, char *why, size_t size);
/*
 * Ends the session at the server when `bye` and possible, then the threads,
 * then all else.  No op of the kernel's may be left; with an errand that was
 * given up but is still in the engine, the engine's memory stays.
 */
void	shell_free(struct shell *s, bool bye);

/* True: done, the caller replies and then calls shell_replied(). False: parked; *ret_serial names the submission. */
bool	shell_submit(struct shell *s, struct call *c, uint64_t *ret_serial);
/* The reply left; runs finish() too. */
void	shell_replied(struct shell *s, struct call *c);
/* Interrupts the op if it is parked and this is still the submission meant. */
void	shell_interrupt(struct shell *s, struct call *c, uint64_t serial);
struct forget { uint64_t oid, n; };
/*
 * No other session is attached to the volume; as of the last tick, without a
 * lock.  A session hears of an earlier one when it attaches and of a later one
 * at the next sign of life, so that two never both are alone.
 */
bool	shell_alone(const struct shell *s);
/* The term is over: the server may count on this session no more.  As of the last tick. */
bool	shell_lapsed(const struct shell *s);
void	shell_forget(struct shell *s, const struct forget *list, size_t count);

/*
 * An op of our own, apart from the kernel's.  shell_begin() starts a copy;
 * shell_wait() is true once it is done; shell_end() gives its error and, in
 * *op, its results.  When it is not done by then it is given up, -ETIMEDOUT:
 * the engine lets go of an op at once only while the server is away, and
 * keeps what it does not let go of.
 */
struct errand;
struct errand *shell_begin(struct shell *s, const struct op *op);	/* NULL: out of memory */
/* The same; take() gets the op when it is done, while what it borrows still lives; any thread, and not after shell_end(). */
struct errand *shell_begin_taking(struct shell *s, const struct op *op, void (*take)(void *context, const struct op *op),
	    void *context);
bool	shell_wait(struct errand *errand, int timeout_ms);		/* < 0: as long as it takes */
int	shell_end(struct shell *s, struct errand *errand, struct op *op);
/* The three in one. */
int	shell_run(struct shell *s, struct op *op, int timeout_ms);
/* All that was acknowledged is on the server; 0, -ETIMEDOUT, or what the engine says. */
int	shell_sync(struct shell *s, int timeout_ms);
/* For the pins (pinner.h): as mover_keep(), engine_keep_round() and engine_keep_due(). */
struct kept_block;
void	shell_keep_block(struct shell *s, const struct kept_block *block, uint64_t round,
	    void (*done)(void *context, int error), void *context);
void	shell_keep_round(struct shell *s, uint64_t round, bool any);	/* any: there are pins */
uint64_t shell_keep_due(struct shell *s);
/* Nothing more goes into the journal. */
void	shell_journal_end(struct shell *s);
/* Runs the journal again, to its end: replay_error(). */
int	shell_replay(struct shell *s, struct replay *r);
/* Or leaves it to shell_redo(): replay_leave(). */
int	shell_take_over(struct shell *s, struct replay *r);
/*
 * What this mount lost: is it due (as engine_redo_due()); runs it again while
 * the mount works on, until *stop: -EINTR; and then says how that ended.
 */
bool	shell_redo_due(struct shell *s, uint64_t *ret_losses, bool *ret_keep);
int	shell_redo(struct shell *s, struct replay *r, uint64_t losses, bool keep, const atomic_bool *stop);
int	shell_redo_end(struct shell *s, uint64_t losses, int error);
/*
 * The machine is about to sleep, or woke up.  From the one to the other the
 * kernel's operations do not wait for a server that does not answer; then the
 * server is looked for at once.
 */
void	shell_sleep(struct shell *s, bool on);
/* The former; as of the last tick or shell_sleep(). */
bool	shell_asleep(const struct shell *s);
/* The journal is on this machine's disk: 0, or why not. */
int	shell_journal_sync(struct shell *s);
/* The first commit of a new volume. */
int	shell_format(struct shell *s, uint32_t uid, uint32_t gid, uint32_t mode);

/* `trouble`: why the server cannot be reached now; empty when it can. */
void	shell_status(struct shell *s, struct engine_status *to, char *trouble, size_t size);
/* The address that the control lane is connected to; empty while it is not. */
void	shell_address(struct shell *s, char *to, size_t size);
/* As engine_unsaved(), under the lock: report() only copies. */
void	shell_unsaved(struct shell *s, void (*report)(void *context, const char *path, bool lost), void *context);
/* The kernel's side has something to be judged: its tick() comes soon.  Any thread. */
void	shell_look(struct shell *s);
/* Connects now, whatever the backoff says. */
void	shell_hurry(struct shell *s);
struct shell_lanes {
	bool		up;		/* both */
	bool		unanswered;	/* one waits for what a person must say (-ENOKEY) */
	unsigned	failures;	/* attempts to connect that have failed, of both */
};
void	shell_lanes(struct shell *s, struct shell_lanes *to);

#endif
