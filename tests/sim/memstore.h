/*
 * memstore.h - the store of the simulator: store.h in memory, with crashes.
 *
 * One thread.  store_sync() makes all applied entries durable at once; until
 * then memstore_crash() can take them back.  Runs out of memory by aborting,
 * as only tests may.
 */
#ifndef TESTS_SIM_MEMSTORE_H
#define TESTS_SIM_MEMSTORE_H

#include "server/store.h"

/* An empty store for `capacity_bytes` of keys, values and blocks; 0 means without bound.  store_close() frees it. */
struct store *memstore_new(uint64_t capacity_bytes);

/*
 * The power fails: every entry after `pos`, which must lie between the synced position and the end, never
 * happened.  What is left is durable.  Tickets from before may still be finished, with no effect;
 * references stay readable.  A failed store works again.
 */
void	memstore_crash(struct store *s, uint64_t pos);

void	memstore_set_capacity(struct store *s, uint64_t bytes);
/* While full, only batches with STORE_FREES or STORE_TRADES are taken; `hopeful`, space is said to be on its way (-EAGAIN). */
void	memstore_set_full(struct store *s, bool full);
void	memstore_set_hopeful(struct store *s, bool hopeful);
/* Fails the store as an I/O error would; NULL mends it. */
void	memstore_fail(struct store *s, const char *why);

#endif
