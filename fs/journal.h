/*
 * journal.h - what a mount writes down, so that a killed one loses nothing.
 *
 * The journal logs operations with their arguments, the object ids they chose,
 * their times and the versions they saw; not records.  An entry is appended,
 * by a call that only copies bytes, before its operation is answered.  After
 * a death the next mount resumes the session, learns from the server which
 * commits landed, and runs what did not through the same retry functions
 * (replay.h).
 *
 * Two classes of operations:
 *
 *   names	(MKNOD MKDIR SYMLINK CREATE LINK UNLINK RMDIR RENAME) are in the
 *		first commit frozen after them.  A FREEZE entry says which, so it
 *		is known of each whether it landed.
 *   content	(WRITE, SETATTR, O_TRUNC, FALLOCATE, xattrs) of one object set
 *		absolute values: running all live ones again, in order, gives the
 *		same.  They need not be told apart.  What a later one writes over
 *		is left out, or others would see the file go back.
 *
 * Entries die in four ways: TRIM, when all that was done before some moment
 * is on the server (see journal.c); CLEAN, when all content of one object is
 * and it was synced, or its lease is given away, so that others may change it;
 * landing; and, when it was lost, being run again by the same mount (redo.c):
 * the entry that says so names the one it stands for in `upto`.
 *
 * This room is bytes and decisions: the file is journal_file.h's.  It is
 * plain text on the client's disk, mode 0600: beside it lies the device's
 * key, which opens the volume.
 */
#ifndef FS_JOURNAL_H
#define FS_JOURNAL_H

#include "fs/engine.h"

enum {
	JOURNAL_FORMAT		= 2,		/* of entries; grows when they, or enum op_type, change */
	JOURNAL_HEAD		= 196,		/* bytes of an entry before its names */
	JOURNAL_ARGUMENTS_MAX	= JOURNAL_HEAD + 2 * NAME_MAX_BYTES + SYMLINK_MAX,
	JOURNAL_DATA_MAX	= 16 * 1024 * 1024,
};

enum journal_kind {
	JOURNAL_OP = 1,
	JOURNAL_FREEZE,		/* names up to entry `upto` are in commits up to `sequence` */
	JOURNAL_ACK,		/* commit `sequence` is durable */
	JOURNAL_TRIM,		/* entries before `upto` are dead; `sequence`: the last commit frozen; and as SESSION */
	JOURNAL_CLEAN,		/* content entries of `ino` before this are dead; its lease may have been given away */
	JOURNAL_AWAY,		/* while the journal was run again the lease of `ino` was given away */
	JOURNAL_LOSS,		/* commits from `sequence` on, and what was in none, were refused; with `ino`: its content was lost */
	JOURNAL_CONFLICT,	/* `name2`, beside `name` in `parent`; of `ino`, if set, the content goes to `child` there */
	JOURNAL_RESUMED,	/* the session was resumed after commit `sequence`: numbers above it are used again */
	JOURNAL_REDONE,		/* what was lost before entry `upto` has been run again */
	JOURNAL_SESSION,	/* session `ino` holds its leases of the server that started as boot `version` */
	JOURNAL_FOREIGN,	/* `ino`, which somebody else changed, is about to get our attributes all the same */
	JOURNAL_KINDS
};

struct journal_entry {
	uint64_t	 number;		/* of the entry; given by the file */
	uint8_t		 kind;			/* enum journal_kind; for OP: */
	uint8_t		 type;			/* enum op_type */
	uint32_t	 uid, gid, flags, set;
	uint32_t	 nlink;			/* of victim, afterwards; of ino, if content */
	uint64_t	 ino, ino2, child;	/* child: made, or moved */
	uint64_t	 victim;		/* unlinked, or replaced */
	uint64_t	 version, victim_version;	/* of ino, of victim: base of what was seen */
	uint64_t	 offset, size;
	uint64_t	 parent;		/* where ino was last seen, under the name `hint` */
	uint64_t	 sequence, upto;	/* upto, of OP: the entry that it stands for, or 0 */
	struct timespec	 when;
	struct attr	 attr;			/* mode, owner, rdev, size, atime, mtime, ctime */
	struct bytes	 name, name2, hint;
	struct bytes	 data;			/* WRITE, SETXATTR */
};

/* Everything but data, into to[JOURNAL_ARGUMENTS_MAX]; the length, or -EINVAL. */
ssize_t	journal_encode(const struct journal_entry *entry, uint8_t *to);
/* From arguments and data, borrowed. -EBADMSG: not an entry. */
int	journal_decode(struct journal_entry *entry, struct bytes from);
/* Does it change names? Else, of OP, the content of one object. */
bool	journal_is_name(const struct journal_entry *entry);

/* Where the engine's entries go; the calls are made under its lock and copy. */
struct engine_journal {
	/*
	 * Safe from a kill -9 when it returns; with `sync`, from a power cut.
	 * Numbers are consecutive.  -ENOSPC or -EIO: not kept, and the engine
	 * goes on without: nothing is acknowledged before the server has it.
	 */
	int		(*append)(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync);
	void		(*trim)(void *context, uint64_t upto);	/* entries before it are dead */
	void		*context;
	uint64_t	 next;			/* number of the first entry to come, from 1 on */
	size_t		 max;			/* bytes of live entries; beyond them changes wait */
};

/* An operation that is run again. */
enum verdict {
	REPLAY_DONE,		/* or failed: op.error */
	REPLAY_THERE,		/* its effect is there already, or was meant for what is gone */
	REPLAY_SAME,		/* somebody else made the same: `found` */
	REPLAY_BESIDE,		/* done, under the conflict name */
	REPLAY_TAKEN,		/* the conflict name is taken too: try another */
	REPLAY_CHANGED,		/* somebody else changed the object: nothing done */
	REPLAY_GONE,		/* the object, or directory, is gone: nothing done */
};
/* An object that an operation changes. */
struct changed {
	uint64_t	 base;			/* the version it had */
	bool		 foreign;		/* somebody else changed it, as was found before */
	bool		 found;			/* as is found now */
};
struct replaying {
	const struct journal_entry *entry;
	bool		 keep_oids;		/* the session that chose them goes on */
	bool		 trusted;		/* ino is a copy of our own making */
	bool		 again;			/* it was lost, and perhaps run since, by an attempt that was cut short */
	bool		 live;			/* by the mount that did it first */
	struct changed	 it, victim;		/* it: whose content it is, or what is moved or linked */
	struct bytes	 beside;		/* the conflict name */
	enum verdict	 verdict;
	uint64_t	 found;
};

/*
 * Before the engine is first attached, to a session that is resumed: the
 * object was leased by the killed mount, and is claimed again.
 */
int	engine_adopt(struct engine *e, uint64_t oid, uint64_t version);
/* Before the attachment: a journal is about to be run again, of leases that were held of that server. */
void	engine_rerun(struct engine *e, uint64_t boot);
/* The journal is being run again: what is done is in it already. */
void	engine_replaying(struct engine *e, bool on);
/* Nothing is logged any more: the journal is about to be somebody else's. */
void	engine_journal_end(struct engine *e);
/* Was the first attachment a resumption? Then all commits up to *ret_landed had landed. */
bool	engine_resumed(const struct engine *e, uint64_t *ret_landed);
/* What that session wrote is ours. */
int	engine_own(struct engine *e, uint64_t session);

/*
 * Leases were lost with changes, which are in the journal: true, until
 * engine_redo_end() is told that they were run again.  *ret_losses names this
 * state of affairs; *ret_keep: the ids chosen then are the session's still.
 */
bool	engine_redo_due(const struct engine *e, uint64_t *ret_losses, bool *ret_keep);
/* 0: it was, or -EAGAIN when more was lost meanwhile.  An error: nobody waits for it before the next attempt. */
int	engine_redo_end(struct engine *e, uint64_t losses, int error);
/*
 * Before anything is done: of a journal that the last mount left, and that is
 * to be run again like what is lost here, ino's content; then, with the first
 * commit that did not land, the names.
 */
int	engine_leave(struct engine *e, uint64_t ino, uint64_t version);
int	engine_left(struct engine *e, uint64_t sequence);
/* The content that ino lost is now in a file beside it, or nowhere: its handles hear of that. */
void	engine_redo_beside(struct engine *e, uint64_t ino);
/* Logs one of the driver's own, synced. */
int	engine_journal_note(struct engine *e, struct journal_entry *entry);

#endif
