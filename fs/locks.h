/*
 * locks.h - the advisory locks of one mount: POSIX byte ranges and flock.
 *
 * Passive: no thread, clock or I/O inside, and the caller makes every call
 * under one lock of its own.  The two kinds take no notice of each other, as
 * on a local Linux file system.  See fcntl(2), flock(2).
 */
#ifndef FS_LOCKS_H
#define FS_LOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct locks;

enum lock_kind { LOCK_RANGE, LOCK_WHOLE };	/* fcntl, flock */
enum lock_mode { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE };

/* A lock that is held, or wanted; wanting LOCK_NONE unlocks. */
struct lock_spec {
	uint64_t	 ino;
	uint64_t	 owner;		/* the kernel's lock_owner: of a process, or of an open file */
	uint64_t	 handle;	/* the open file it was taken through */
	uint64_t	 start, end;	/* first and last byte; flock: 0 and LOCK_END */
	pid_t		 pid;
	enum lock_kind	 kind;
	enum lock_mode	 mode;
};
#define LOCK_END	((uint64_t)INT64_MAX)

/* Embed it; the caller's again when locks_wait() did not keep it, or by locks_done() or locks_cancel(). */
struct lock_wait {
	struct lock_spec  spec;
	int		  error;	/* the outcome: 0, -EDEADLK, -ENOLCK, -ENOMEM */
	struct lock_wait *next;
};

int	locks_new(struct locks **ret);		/* -ENOMEM */
void	locks_free(struct locks *l);		/* forgets waits; NULL is fine */

/* A lock that stands in the way of `want`, copied; false when none does. */
bool	locks_test(const struct locks *l, const struct lock_spec *want, struct lock_spec *ret_conflict);
/*
 * Takes, changes or gives back without waiting: 0; -EAGAIN: somebody else
 * holds it; -ENOLCK: refusing (unlocking never is); -ENOMEM.  On failure all
 * stays as it was, except that an flock which could not be converted is lost,
 * as flock(2) says.
 */
int	locks_set(struct locks *l, const struct lock_spec *want);
/*
 * The same for w->spec, but what is held by somebody else is waited for.
 * True: done, w->error tells.  False: the table keeps w until it is done or
 * cancelled.  -EDEADLK when owners of ranges would wait for each other.
 */
bool	locks_wait(struct locks *l, struct lock_wait *w);
/* False: it is not waiting any more. */
bool	locks_cancel(struct locks *l, struct lock_wait *w);
/* Next wait that came to its end in an earlier call; NULL: none.  Asked for after each call below and above. */
struct lock_wait *locks_done(struct locks *l);

/* A process closed the file: its ranges are gone. */
void	locks_drop_owner(struct locks *l, enum lock_kind kind, uint64_t ino, uint64_t owner);
/* An open file is gone, with all that was taken through it (ranges whose owner is the open file are not flushed). */
void	locks_drop_handle(struct locks *l, uint64_t ino, uint64_t handle);

/* Anything is held. */
bool	locks_any(const struct locks *l);
/* While refusing nothing is granted, and who waits is done with -ENOLCK; what is held stays. */
void	locks_refuse(struct locks *l, bool refuse);

/* Every invariant of the head of locks.c; false and a text when one fails. */
bool	locks_check(const struct locks *l, char *why, size_t size);

#endif
