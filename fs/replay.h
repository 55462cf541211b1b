/*
 * replay.h - the journal of a killed mount, run again.
 *
 * Passive, like the engine: it is given the journal's entries, decides which
 * of them are to be run, and hands out one operation after the other; the
 * caller has the engine do it and tells how it went.  What no longer fits,
 * because others changed it meanwhile, becomes a copy beside the original:
 * `NAME (conflict DEVICE DATE)`.  Copies equal to the original are removed.
 *
 *	r = replay_new(), replay_add() each entry
 *	replay_adopt(), then the engine is attached, to the session of then
 *	replay_begin()
 *	while ((op = replay_next()) != NULL) { the engine does it; replay_answered() }
 *	replay_error() == 0: all of it is on the server
 *
 * It may die anywhere and begin again.  Calls with an engine are made under
 * its lock.  One thread.
 */
#ifndef FS_REPLAY_H
#define FS_REPLAY_H

#include "fs/journal.h"

struct replay;

/* `whole`: the machine ran on since the mount died, so its journal has an end. */
int	replay_new(struct replay **ret, const char *device, bool whole);
void	replay_free(struct replay *r);
/* The next entry of the journal; its bytes are borrowed.  -EBADMSG, -ENOMEM. */
int	replay_add(struct replay *r, uint64_t number, struct bytes entry);
/* Before the attachment: is there anything that might have to be run? */
bool	replay_needed(const struct replay *r);
uint64_t replay_waiting(const struct replay *r);	/* how much, at most */
int	replay_adopt(struct replay *r, struct engine *e);
/* After it; `now` dates conflicts. */
int	replay_begin(struct replay *r, struct engine *e, struct timespec now);
/*
 * Instead, of a journal that is being written, when the engine says that it is
 * due; with what it told then.  The journal's bytes stay until engine_redo_end().
 */
int	replay_redo(struct replay *r, struct engine *e, struct timespec now, uint64_t losses, bool keep_oids);
/*
 * Instead of replay_begin(), where that had found the server full: the mount
 * that begins takes the journal over as if it had lost all of it itself, and
 * replay_redo() follows, again and again.  All of it is appended to the
 * journal, as far as it tells what it is now.
 */
int	replay_leave(struct replay *r, struct engine *e);
/* NULL: finished, or failed.  The op is lent until it was answered. */
struct op *replay_next(struct replay *r, struct engine *e);
/* `done` is the op, or a copy of it, with its results, its pieces still there. */
void	replay_answered(struct replay *r, const struct op *done);
/*
 * 0: it came to its end.  Or why it had to stop: nothing is lost, it can be
 * begun again.  -EINTR: nobody asked for the next one; -ENOSPC: the server is
 * full; -ENOBUFS: the journal; -EAGAIN: more was lost.
 */
int	replay_error(const struct replay *r);

struct replay_report {
	uint64_t	run, landed, unfit;	/* operations; unfit: skipped, no content in them */
	uint64_t	conflicts, equal;	/* copies kept; removed again */
};
void	replay_report(const struct replay *r, struct replay_report *to);
/* The kept copies, as paths from the root; false at the end. */
bool	replay_conflict(const struct replay *r, size_t i, const char **ret_path);

/* NAME (conflict DEVICE DATE), the nth of that name, cut to fit; to[NAME_MAX_BYTES + 1]. */
void	replay_name(struct bytes name, const char *device, struct timespec when, unsigned nth, char *to);

#endif
