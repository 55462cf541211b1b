/*
 * whole_world.h - the whole of it in one thread: the real server engine, and
 * mounts that are real client engines.  What one sends the other has at once;
 * time passes only when somebody waits.  Nothing is sealed.
 */
#ifndef TESTS_UNIT_WHOLE_WORLD_H
#define TESTS_UNIT_WHOLE_WORLD_H

#include "fs/journal.h"
#include "fs/replay.h"
#include "tests/unit/server_world.h"

enum { MOUNTS = 3, TOLD_MAX = 3 * 1024 * 1024 };

struct note {				/* an entry of a journal */
	uint8_t		*bytes;
	size_t		 len;
};

struct mount {
	struct whole	*whole;
	struct client	 at;			/* its session */
	struct engine	*engine;		/* NULL: not mounted */
	bool		 up;			/* attached */
	bool		 closed;		/* by the server: attached again at the next tick */
	uint8_t		*told;			/* what the last READ, READLINK, GETXATTR told; READDIR: names, each with '/';
						   op->offset is where it goes on */
	size_t		 told_len;
	struct engine_journal sink;
	struct note	*notes;			/* its journal, which survives it */
	size_t		 notes_count;
};

struct whole {
	struct world	 server;
	struct mount	 mounts[MOUNTS];
	struct volume_keys *keys;
	uint32_t	 unopened;		/* records of these kinds (1 << kind) do not open on their way to a client */
	uint32_t	 garbled;		/* records of these open to something else */
	bool		 no_cells;		/* nor do cells of blocks */
	uint32_t	 oids;			/* at most so many with an attachment, or 0 */
	uint64_t	 sane_at;		/* events of the server when it was last found sane */
};

/* Is a client engine running?  Its allocations are those that may be made to fail. */
extern bool	whole_in_engine;

void	whole_init(struct whole *all);
void	whole_done(struct whole *all);
void	whole_pass(struct whole *all, unsigned ms);
void	whole_restart(struct whole *all);	/* the server; nothing synced is lost */
bool	whole_sane(struct whole *all);		/* every engine's invariants, and a text as a TAP comment */

/* A new session, with a journal.  0 or -ENOMEM. */
int	mount_start(struct mount *m, const struct engine_config *config);
void	mount_stop(struct mount *m);		/* says BYE; all should be on the server */
void	mount_kill(struct mount *m);		/* the journal and the session stay */
/* As after that: resumes the session and runs the journal again.  0: it is not mounted now; or an error: killed again. */
int	mount_replay(struct mount *m);
/* What was lost here is run again, if that is due.  0 or an error. */
int	mount_redo(struct mount *m);
void	mount_cut(struct mount *m);		/* the connection is gone */
void	mount_join(struct mount *m);		/* it is back: the same session if that is still there */
/* Waits for the answer; op->error, or -ETIME: there was none in a minute. */
int	mount_do(struct mount *m, struct op *op);
/* The same, in parts. */
bool	mount_submit(struct mount *m, struct op *op);
void	mount_replied(struct mount *m, struct op *op);

#endif
