/* diskstore_room.h - what diskstore.c shares with space.c, compaction.c and storecheck.c, and nobody else. */
#ifndef SERVER_DISKSTORE_ROOM_H
#define SERVER_DISKSTORE_ROOM_H

#include "server/diskstore.h"
#include "server/ledger.h"

/*
 * Invariants, outside calls:
 *  1. The ledger is at log_end(), unless torn.
 *  2. The live bytes of a segment are the sum of the index's blocks in it.
 *  3. Every segment with live bytes has its file.
 */
struct diskstore {
	struct store		 store;
	struct diskstore_config	 config;
	int			 dir, lock;
	struct kv		*kv;
	struct log		*log;
	struct ledger		 ledger;
	uint64_t		 seed;
	bool			 torn;			/* a batch was applied in part */
	unsigned		 damages;		/* found while opening */
	uint64_t		 since_checkpoint;	/* bytes appended */
	uint64_t		 dirty_due;		/* bytes of changed pages that make one due */
	uint64_t		 since_space;		/* bytes appended since space was learnt */
	uint64_t		 space_total, space_left, reserve;
	bool			 cramped;		/* compaction found no space to move to, and nothing was freed since */
};

static inline struct diskstore *
diskstore_of(struct store *s)
{
	return (struct diskstore *)s;
}

/* As diskstore_open(), and how many damages were reported. */
int	diskstore_open_counted(const char *path, const struct diskstore_config *config, struct store **ret_store,
	    unsigned *ret_damages);
/* As store_block_reserve(), with store_apply()'s flags. */
int	diskstore_reserve(struct diskstore *d, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
	    struct block_ticket **ret_ticket);
/* As store_block_finish(); with `from`, moves the block that is there now, or does nothing if it no longer is. */
int	diskstore_finish(struct block_ticket *ticket, bool written, const struct block_place *from, uint64_t *ret_pos);
/* Seals the current segment, from the reserve. */
int	diskstore_roll(struct diskstore *d);
void	diskstore_say_block(const struct diskstore *d, const struct block_place *place, const char *what);

/* ---- space.c ---- */

enum { SPACE_STALE = 1024 * 1024 };	/* the space of the disk is asked for again after so many bytes appended */

/* Sets the size of segments for a store that was not told one. */
void	space_choose_segment(struct diskstore *d);
/* Learns how much space there is; on failure what was known stays. */
void	space_refresh(struct diskstore *d);
/* Is there space for an entry of `len` bytes, `record_len` of which are for the records? `flags`: store_apply()'s. */
bool	space_enough(struct diskstore *d, uint64_t len, uint64_t record_len, unsigned flags);
/* What new data may take now: in the log, by whole segments, if the records have theirs too. */
uint64_t space_ready(struct diskstore *d);
/* Has the file system what committing the records takes, and so much beside?  Asks it anew. */
bool space_for_records(struct diskstore *d, uint64_t beside);
/* True if space will come of what is dead. */
bool	space_to_come(struct diskstore *d);
/* A sealed segment without live blocks, which goes with a checkpoint, or once nobody uses it. */
bool	space_spent(const struct segment *segment);
/*
 * The segment that compaction would empty next, or NULL.  At COMPACT_FULL it may be the current one, if that
 * is nearly full: it must be sealed before.
 */
struct segment *space_worst(struct diskstore *d, unsigned percent);

#endif
