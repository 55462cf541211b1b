/*
 * blockcache.h - sealed blocks on this machine's disk: a cache, never a promise.
 *
 * A block is immutable and named by its id, so what is here is never stale.
 * It is kept as it came from the server, in runs of cells; whoever reads it
 * opens the seals, and a run that does not open is thrown away: a damaged,
 * torn or foreign file is a miss, never an error.  The cache has no key.
 *
 * It takes at most bytes_max of the disk.  What was used least recently goes
 * first; but what is kept for the present round of the pins (pinner.h) stays.
 *
 * Reading is done by the calling thread, which so must be one that may wait
 * for the disk; storing by a thread of the cache's own.  All calls from any
 * thread, with no lock of a queue held.
 */
#ifndef FS_BLOCKCACHE_H
#define FS_BLOCKCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/buffer.h"
#include "proto/seal.h"

struct blockcache;

/*
 * `directory` is made, 0700, if need be.  What it holds becomes known in the
 * background.  keep_all: nothing of that goes before the first
 * blockcache_round().  0; -EBUSY: another mount has it; or -errno.
 */
int	blockcache_open(struct blockcache **ret, const char *directory, uint64_t bytes_max, bool keep_all);
/* What waits to be stored is not; NULL is fine. */
void	blockcache_close(struct blockcache *c);

/* Are all these cells here, as far as is known?  Does not wait for the disk. */
bool	blockcache_has(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count);
/*
 * Reads them and calls use() for each run of them, with the block's header and
 * their sealed bytes, borrowed for the call; what use() refuses, by a negative
 * errno but -ENOMEM, is thrown away.  0; -ENOENT: they did not all come; or
 * -ENOMEM, -EMFILE, -ENFILE.
 */
int	blockcache_read(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count,
	    int (*use)(void *context, const struct block_header *h, unsigned first, unsigned count, struct bytes cells),
	    void *context);

/*
 * Offers a run, as BLOCK brings it: `payload`, in `buffer`, of which the cache
 * takes a reference of its own.  It is stored some time later, or not at all
 * when the disk is too slow for what comes.
 */
void	blockcache_offer(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count,
	    struct buffer *buffer, struct bytes payload);

/* ---- what must stay ---- */

/* The same, kept for that round (2 or more): always stored, and done() says how it went: 0, -ENOSPC, -errno. */
void	blockcache_keep(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count, uint64_t round,
	    struct buffer *buffer, struct bytes payload, void (*done)(void *context, int error), void *context);
/* If all these cells are here, they are kept for that round from now on: true. */
bool	blockcache_mark(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count, uint64_t round);
/* The round is over: what is kept for earlier ones is like everything else again. */
void	blockcache_round(struct blockcache *c, uint64_t round);

struct blockcache_status {
	uint64_t	bytes, bytes_max, kept_bytes;	/* on the disk, in whole pages */
	uint64_t	runs, hits, stored, evicted;
	uint64_t	passed_over;		/* offers not taken */
	uint64_t	damaged;		/* runs thrown away for that */
	int		error;			/* why it takes nothing now, or 0 */
};
void	blockcache_status(struct blockcache *c, struct blockcache_status *to);
/* Waits until what was there is known; and until what was offered is stored, too. */
void	blockcache_await(struct blockcache *c);
void	blockcache_settle(struct blockcache *c);
/* What a run of so many sealed bytes counts. */
uint64_t blockcache_charge(uint64_t len);

#endif
