/*
 * compaction.c - diskstore_compact(): empties segments that are mostly dead.
 *
 * A segment's own entries say which blocks were ever put in it; those that
 * the index still has there are copied to the end of the log, each as a
 * reserved block that replaces the old place if that is still current when
 * the copy is done.  The engine's lock is held for the look-ups only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/diskstore_room.h"

struct compaction {
	struct diskstore	*d;
	pthread_mutex_t		*engine_lock;
	struct segment		*segment;
	uint64_t		 left;		/* bytes to move in this step */
	bool			 over;		/* stopped by that */
};

/* The segment to empty, sealed and referenced, in *ret; or NULL. */
static int
compaction_pick(struct diskstore *d, unsigned percent, struct segment **ret)
{
	struct segment *worst = space_worst(d, percent);
	int rc = 0;

	if (worst != NULL && !worst->sealed)
		rc = diskstore_roll(d);
	if (rc == 0 && worst != NULL)
		atomic_fetch_add(&worst->refs, 1);
	*ret = rc == 0 ? worst : NULL;
	return rc;
}

/* Reserves a new place for a block that may be at `offset` of the segment; -ENOENT if it is not there (any more). */
static int
block_begin(struct compaction *c, const uint8_t *id, uint32_t offset, struct block_place *ret_from,
    struct block_ref **ret_ref, struct block_ticket **ret_ticket)
{
	struct block_ref *ref;
	int rc;

	pthread_mutex_lock(c->engine_lock);
	rc = ledger_block(&c->d->ledger, id, ret_from);
	if (rc == 0 && (ret_from->segment != c->segment->number || ret_from->offset != offset))
		rc = -ENOENT;
	if (rc == 0)
		rc = store_block_find(&c->d->store, id, &ref);
	if (rc == 0) {
		rc = diskstore_reserve(c->d, id, ret_from->len, STORE_FREES, ret_ticket);
		if (rc == 0)
			*ret_ref = ref;
		else
			store_block_put_ref(ref);
	}
	pthread_mutex_unlock(c->engine_lock);
	return rc;
}

/* Moves one block.  A block that is gone, or damaged and stays, is no error. */
static int
block_move(struct compaction *c, const uint8_t *id, uint32_t offset)
{
	struct block_place from;
	struct block_ticket *ticket;
	struct block_ref *ref;
	uint8_t *data;
	uint64_t pos;
	bool damaged;
	int rc, finished;

	if (c->left == 0) {
		c->over = true;
		return 0;
	}
	rc = block_begin(c, id, offset, &from, &ref, &ticket);
	if (rc != 0)
		return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
	data = malloc(from.len);
	rc = data == NULL ? -ENOMEM : store_block_read(ref, 0, from.len, data);
	damaged = rc == -EIO;
	if (rc == 0)
		rc = store_block_write(ticket, data);
	free(data);
	pthread_mutex_lock(c->engine_lock);
	finished = diskstore_finish(ticket, rc == 0, &from, &pos);
	store_block_put_ref(ref);
	pthread_mutex_unlock(c->engine_lock);
	c->left -= from.len < c->left ? from.len : c->left;
	return damaged ? 0 : rc != 0 ? rc : finished;
}

/* Moves the blocks that an entry put in the segment. */
static int
entry_move(struct compaction *c, const struct entry *e, struct bytes body, uint32_t offset)
{
	struct cursor at = cursor_read(body.data, body.len);
	struct batch_op op;
	int rc = 0;

	if (e->type == ENTRY_BLOCK)
		return block_move(c, body.data, offset + ID_SIZE);
	while (rc == 0 && !c->over && batch_next(&at, &op) == 1)
		if (op.type == BATCH_BLOCK_PUT)
			rc = block_move(c, op.key.data, offset + (uint32_t)(op.value.data - body.data));
	return rc;
}

static int
segment_empty(struct compaction *c)
{
	struct segment_reader reader = { .seed = c->d->seed, .number = c->segment->number };
	uint64_t offset = SEGMENT_HEADER;
	struct entry e;
	int rc = segment_open(c->d->dir, reader.number, reader.seed, &reader.size, &reader.fd);

	if (rc != 0)
		return rc;
	while (!c->over && (rc = segment_seek(&reader, offset, &e, &offset)) == 1) {
		struct bytes body;

		rc = segment_read(&reader, offset, &e, &body);
		if (rc == 1)
			rc = entry_move(c, &e, body, (uint32_t)offset + ENTRY_HEADER);
		if (rc != 0)
			break;
		offset += entry_size(e.len);
	}
	segment_reader_done(&reader);
	close(reader.fd);
	return rc < 0 ? rc : 0;
}

int
diskstore_compact(struct store *s, pthread_mutex_t *engine_lock, unsigned percent, uint64_t bytes)
{
	struct compaction c = { .d = diskstore_of(s), .engine_lock = engine_lock, .left = bytes };
	bool settled = false;
	uint64_t synced;
	int rc;

	pthread_mutex_lock(engine_lock);
	rc = compaction_pick(c.d, percent, &c.segment);
	if (c.segment != NULL)
		settled = c.segment->reservations == 0;
	pthread_mutex_unlock(engine_lock);
	/* Its entries are read from the file. */
	if (c.segment != NULL && c.segment->dirty)
		rc = store_sync(s, &synced);
	if (c.segment != NULL && rc == 0)
		rc = segment_empty(&c);
	pthread_mutex_lock(engine_lock);
	if (c.segment != NULL)
		atomic_fetch_sub(&c.segment->refs, 1);
	/* What is left cannot be moved: damaged, or named by no entry. */
	if (c.segment != NULL && rc == 0 && !c.over && settled && c.segment->live > 0)
		c.segment->stuck = true;
	c.d->cramped |= rc == -ENOSPC;
	pthread_mutex_unlock(engine_lock);
	return rc < 0 ? rc : c.segment != NULL;
}
