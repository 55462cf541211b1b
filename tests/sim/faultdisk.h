/*
 * faultdisk.h - a disk that fails when told, and forgets what was not synced.
 *
 * Stands in front of disk_system().  Calls are counted from 1; from the call
 * `fail_at` on (0: never) every one fails with `error`, as after a power cut
 * or on a broken disk.  Thread-safe.
 */
#ifndef TESTS_SIM_FAULTDISK_H
#define TESTS_SIM_FAULTDISK_H

#include "server/disk.h"

#include <pthread.h>
#include <stdbool.h>

struct faultdisk {
	struct disk	 disk;		/* first: this is what the store is given */
	pthread_mutex_t	 lock;
	unsigned	 calls;
	unsigned	 fail_at;
	bool		 once;		/* only that call fails */
	int		 error;		/* negative errno */
	bool		 remembers;	/* keep what unsynced writes replaced, for faultdisk_forget() */
	uint64_t	 space_total;	/* if not 0, what space() answers */
	uint64_t	 space_free;
	struct undo_write *undo;	/* newest first */
};

void	faultdisk_init(struct faultdisk *f);
void	faultdisk_done(struct faultdisk *f);
/*
 * The power fails: of each write that was not synced, a part chosen by `*seed` (all, nothing, or some of
 * its sectors) never reached the disk.  Call when the store is abandoned.
 */
void	faultdisk_forget(struct faultdisk *f, uint64_t *seed);

/* A small generator of numbers for tests: splitmix64. */
uint64_t random_next(uint64_t *seed);

#endif
