/*
 * pinner.h - keeps pinned subtrees on this machine.
 *
 * A pin is a path from the volume's root: what stands there now is kept, with
 * all below it.  A thread goes over the pins in rounds: it asks the engine for
 * all that is to be known of each object (OP_KEEP, keep.c), sees which of
 * their blocks the cache on disk has, and fetches the others.  The engine
 * counts what of it changes or is lost to other clients; then there is another
 * round, after a rest in proportion.  Without the server the thread waits.
 *
 * pinner_add() to pinner_find() may be called from any thread.
 */
#ifndef FS_PINNER_H
#define FS_PINNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blockcache;
struct pinner;
struct shell;

/* Both are borrowed until pinner_stop(), the cache until it is closed.  objects_max: as the engine's. */
int	pinner_new(struct pinner **ret, struct shell *shell, struct blockcache *cache, size_t objects_max);
/* Ends the thread; NULL is fine. */
void	pinner_stop(struct pinner *p);
/* When neither shell nor cache may call any more; NULL is fine. */
void	pinner_free(struct pinner *p);

/* 0 or -ENOMEM; one that there is already is looked at anew. */
int	pinner_add(struct pinner *p, const char *path);
/* 0 or -ENOENT. */
int	pinner_remove(struct pinner *p, const char *path);

enum pin_state {
	PIN_LOOKING,		/* it is not known yet what there is */
	PIN_FETCHING,
	PIN_WAITING,		/* for the server, and not complete */
	PIN_COMPLETE,
	PIN_MISSING,		/* nothing stands at its path */
	PIN_TOO_LARGE,		/* for the cache on disk, or for memory: nothing is fetched for it */
	PIN_FAILED,		/* for `error` */
};
struct pin_report {
	const char	*path;			/* borrowed for the call */
	enum pin_state	 state;
	int		 error;
	uint64_t	 files, bytes;		/* as ls shows them */
	uint64_t	 blocks, here;		/* runs of blocks, and those of them on disk */
	uint64_t	 needs;			/* bytes on disk, about */
};
void	pinner_each(struct pinner *p, void (*each)(void *context, const struct pin_report *pin), void *context);
/* Its state, path aside; false: there is no such pin. */
bool	pinner_find(struct pinner *p, const char *path, struct pin_report *to);
/* Blocks that it has fetched so far. */
uint64_t pinner_fetched(struct pinner *p);

#endif
