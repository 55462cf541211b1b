/*
 * diskstore.h - the store on disk.
 *
 * A directory holds it:
 *
 *	lock			held with flock(2) by the one process that owns the store
 *	records.mdb		keys and the index of blocks, as of the last checkpoint (LMDB, see kv.c, ledger.c)
 *	log.<number, 16 hex>	segments of the log: entries since the checkpoint, and the blocks (see segment.c)
 *	*.new			one of these being made; removed at the next start
 *
 * What is synced survives any crash.  At open the whole of records.mdb is
 * verified and the log replayed; damage is named through the report and
 * opening refused with -EBADMSG, but for damaged values if told to accept
 * them, and for blocks, whose damage is found when they are read.
 */
#ifndef SERVER_DISKSTORE_H
#define SERVER_DISKSTORE_H

#include <pthread.h>

#include "server/disk.h"
#include "server/kvcheck.h"
#include "server/store.h"

struct diskstore_config {
	bool		 create;		/* make a store where there is none */
	bool		 accept_damage;		/* open although values are damaged: reading those is -EBADMSG, and
						   a key whose own bytes changed is not found */
	uint32_t	 segment_size;		/* bytes; no batch or block may be larger; 0: by the size of the file system */
	uint64_t	 map_size;		/* address space for the records: their ceiling */
	uint64_t	 dirty_max;		/* bytes of changed pages that bring a checkpoint, wherever that happens */
	uint64_t	 log_max;		/* bytes appended that bring one */
	uint64_t	 reserve;		/* bytes kept for frees and checkpoints; 0: 1 %, at least dirty_max / 4 and four
					   segments, or one where that would be much */
	uint64_t	 capacity;		/* bytes that the store may take; 0: what the file system has */
	struct disk	*disk;			/* borrowed */
	store_report	*report;		/* told of damage, from any thread and under locks; NULL: nobody */
	void		*report_arg;
};

/* Defaults, for the machine's own disk. */
void	diskstore_config_init(struct diskstore_config *config);

/* Opens the store in an existing directory.  -EBUSY if a process has it, -ENOENT, -EBADMSG (damage), -ENOTSUP. */
int	diskstore_open(const char *path, const struct diskstore_config *config, struct store **ret_store);
/* Frees the store as a crash would: what is not synced may be lost. */
void	diskstore_abandon(struct store *s);

/* A checkpoint had better be made now, by store_sync() and then store_checkpoint(): it would be a short one. */
bool	diskstore_due(struct store *s);

enum { COMPACT_FULL = 95 };	/* what is worth moving, in percent, when space is wanted: store.h's -EAGAIN counts on it */

/*
 * Moves live blocks out of the segment with the lowest live fraction, if that is below `percent`, so that
 * the next checkpoint can free it; at most about `bytes` of them.  Call without the engine's lock, which it
 * takes for short times.  Returns 1 if there may be more to do, 0 if there is not, or an error.
 */
int	diskstore_compact(struct store *s, pthread_mutex_t *engine_lock, unsigned percent, uint64_t bytes);

/*
 * Opens the store, which replays its log, and verifies everything: records, blocks against index and
 * checksums, live bytes of segments, and closes it.  Returns the number of damages, each reported in a
 * line, or a negative errno if it could not look (-EBUSY, -ENOENT).
 */
int	diskstore_check(const char *path, const struct diskstore_config *config);

#endif
