/*
 * mover.h - blocks on their way: sealed and stored, fetched and opened.
 *
 * The mover carries out the engine's STORE and FETCH.  It seals and opens in
 * the workers, speaks PUT and GET on the bulk lane, and says them again on
 * the next link when one breaks; so each ends with exactly one call of
 * stored() or fetched(), unless the mover is freed first.
 *
 * With a cache on this machine's disk (blockcache.h) cells that it holds come
 * from there, read and opened by a worker; what the server brings is offered
 * to it.
 *
 * A put's states: waiting (sealed blocks enough already) - sealing - ready -
 * sent - done.  A get's: (reading) - ready - sent - opening - done.  After lost() what
 * was sent is ready again, ahead of the rest; after BUSY, behind it.
 *
 * With several lanes each takes what is ready, as long as it has not LEAD more
 * on its way than the one with the least: none idles while another is loaded.
 *
 * mover_store() and mover_fetch() may be called from any thread, with no lock
 * of a queue held.  The three mover_channel_ calls are the bulk channels'.
 */
#ifndef FS_MOVER_H
#define FS_MOVER_H

#include "fs/blockcache.h"
#include "fs/engine.h"
#include "fs/link.h"
#include "fs/workers.h"

enum { MOVER_LANES = 4 };	/* 0 to 3; some may be down for good */

struct mover;
struct mover_calls {
	void	(*stored)(void *context, struct flush *flush, int error);
	void	(*fetched)(void *context, struct fetch *fetch, int error);
	void	(*kick)(void *context, bool light);	/* something is ready to be sent; light: little */
	void	(*look)(void *context);			/* mover_tick() is to come in a moment */
};

/* All borrowed for the mover's life; cache: NULL for none on disk. */
int	mover_new(struct mover **ret, struct workers *workers, struct blockcache *cache, const struct volume_keys *keys,
	    const struct mover_calls *calls, void *context);
/* Only when neither lane nor workers run any more; NULL is fine. */
void	mover_free(struct mover *m);

/* `here`: seals in the caller's thread; stored() may then be called before it returns. */
void	mover_store(struct mover *m, struct flush *flush, bool here);
void	mover_fetch(struct mover *m, struct fetch *fetch);
/*
 * For the pins: fetches cells into the cache on disk, to be kept for that
 * round (blockcache_keep()), after their seals were opened; behind whatever
 * else is fetched.  done(), from any thread: 0, -errno of either; or it is
 * not called at all, when the mover is freed first.
 */
void	mover_keep(struct mover *m, const struct kept_block *block, uint64_t round,
	    void (*done)(void *context, int error), void *context);
/* There are pins: blocks that are stored are offered to the cache on disk, too. */
void	mover_pins(struct mover *m, bool any);
/*
 * The engine is offline: with a cache on disk, what that does not hold fails
 * with -EHOSTDOWN, at the latest at the next tick, and the cells that it does
 * hold come all the same.  Under the shell's lock.
 */
void	mover_away(struct mover *m, bool away);
/* What the server was too busy for is said again, after a while.  True: nothing is on its way, no need to come again. */
bool	mover_tick(struct mover *m);
/* It was too busy for the last one said. */
bool	mover_busy(struct mover *m);
/* From now on nothing more is sealed: the workers are about to be ended. */
void	mover_stop(struct mover *m);

int	mover_channel_fill(struct mover *m, unsigned lane, struct link *link);
void	mover_channel_received(struct mover *m, const struct message *answer, struct buffer *frame);
/* What it had sent is for the other lanes, if there are any: they are to be kicked. */
void	mover_channel_lost(struct mover *m, unsigned lane);

#endif
