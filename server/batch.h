/*
 * batch.h - a set of changes to the store, applied all or not at all.
 *
 * A batch is built with straight lines: the first failure sticks, later
 * calls do nothing, and store_apply() returns it.  Its bytes are the body
 * of the log entry that makes it durable, so what recovery replays is what
 * was applied.  Operations take effect in the order they were added.
 *
 * A batch belongs to one thread; all bytes given are copied.
 */
#ifndef SERVER_BATCH_H
#define SERVER_BATCH_H

#include "proto/cursor.h"
#include "proto/limits.h"

enum {
	STORE_KEY_MAX	= 64,			/* a key has 1 to 64 bytes */
	STORE_VALUE_MAX	= 4400,			/* a value has 0 to 4400 bytes */
	BATCH_MAX	= 16 * 1024 * 1024,	/* encoded */
};

struct batch {
	uint8_t	*data;
	size_t	 len;		/* encoded so far */
	size_t	 size;		/* allocated */
	int	 error;		/* the first failure, or 0 */
};

void	batch_init(struct batch *b);	/* all zeros are an empty batch too */
void	batch_done(struct batch *b);
/* Empties it for another use and keeps its memory. */
void	batch_clear(struct batch *b);
/* 0, -ENOMEM, -EINVAL (a key, value, block or range out of bounds) or -E2BIG (over BATCH_MAX). */
int	batch_error(const struct batch *b);

void	batch_put(struct batch *b, struct bytes key, struct bytes value);
void	batch_delete(struct batch *b, struct bytes key);	/* absent: nothing happens */
/* Deletes every key with from <= key <= to; from > to is -EINVAL.  Applying it takes about 1 us a key. */
void	batch_delete_range(struct batch *b, struct bytes from, struct bytes to);
/* Stores a block of 1 to BLOCK_SEALED_MAX bytes; one that exists stays as it is. */
void	batch_block_put(struct batch *b, const uint8_t id[ID_SIZE], struct bytes data);
void	batch_block_free(struct batch *b, const uint8_t id[ID_SIZE]);	/* absent: nothing happens */

/* For stores: reading a batch back. */
enum batch_type { BATCH_PUT = 1, BATCH_DELETE, BATCH_DELETE_RANGE, BATCH_BLOCK_PUT, BATCH_BLOCK_FREE,
	BATCH_BLOCK_AT, BATCH_BLOCK_MOVED };

/* Where a store keeps a block's bytes. */
struct block_place {
	uint64_t	segment;
	uint32_t	offset;		/* in the segment's file */
	uint32_t	len;
	uint64_t	sum;		/* XXH3-64 of the bytes */
};

struct batch_op {
	enum batch_type		 type;
	struct bytes		 key;		/* the key, the range's first key, or the block's id */
	struct bytes		 value;		/* the value, the range's last key, or the block's bytes */
	struct block_place	 place;		/* BLOCK_AT and BLOCK_MOVED only */
};

/*
 * Takes the next operation off an encoded batch.  Returns 1, 0 at the end, or -EBADMSG for bytes no
 * batch encodes to.  The op's bytes are borrowed from the cursor's.
 */
int	batch_next(struct cursor *c, struct batch_op *ret_op);
/* For stores only: a block whose bytes are elsewhere in the log, new or moved there. */
void	batch_block_at(struct batch *b, enum batch_type type, const uint8_t id[ID_SIZE], struct block_place place);

#endif
