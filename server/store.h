/*
 * store.h - the one door through which anything becomes durable.
 *
 * An ordered map of keys to values, and blocks by id.  Changes come in
 * batches; a batch becomes one entry of a log and is visible at once, durable
 * once store_synced() has reached the position store_apply() gave it.  After
 * a crash the store holds a prefix of the applied entries, in order, that
 * includes every entry up to the last synced position.
 *
 * Two stores stand behind this interface: diskstore.h, and the simulator's
 * tests/sim/memstore.h.
 *
 * Locks: the engine has one lock around all calls, but for those marked
 * UNLOCKED, which may be made from any thread and which alone do block I/O;
 * make them without the engine's lock.
 *
 * Errors: 0 or a negative errno.  -EBADMSG or -EIO from a read means damage,
 * reported by name through the store's log callback; other data stays usable.
 * -ENOSPC says that there is no space and none on its way; -EAGAIN that there
 * is none now, but dead space is being made free, so ask again soon.
 * A failed write or sync fails the store for good: every change is then
 * -EIO, store_failed() names the cause, and reads go on if what they would
 * see is whole (else they are -EIO too).  Reopening recovers.
 */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include <stdbool.h>

#include "server/batch.h"

struct store {
	const struct store_ops *ops;
};

/* Stores embed these first. */
struct block_ref {		/* a block that stays readable while referenced */
	struct store	*store;
	uint32_t	 len;	/* of the whole block, bytes */
};
struct block_ticket {		/* a reserved place for a block not yet written */
	struct store	*store;
	uint32_t	 len;
};

enum store_flag {
	STORE_FREES = 1,	/* this batch takes next to nothing, to make space free: it may use all of the reserve */
	STORE_TRADES = 2,	/* it makes more space free in the end than it takes: it may use the reserve, but for what
				   moving blocks about and freeing them needs */
	STORE_PROMISED = 4,	/* its space was promised (credit.h): as STORE_TRADES, should store_ready() have been wrong */
};

/*
 * Key and value are borrowed during the call, which must not call the store but for gets.  Returns 0 to
 * go on; anything else ends the scan, which returns it.
 */
typedef int store_visit(void *arg, struct bytes key, struct bytes value);

struct store_ops {
	int	(*get)(struct store *, struct bytes key, struct bytes *ret_value);
	int	(*scan)(struct store *, struct bytes from, struct bytes to, store_visit *, void *arg);
	int	(*apply)(struct store *, const struct batch *, unsigned flags, uint64_t *ret_pos);
	uint64_t (*end)(struct store *);
	uint64_t (*synced)(struct store *);
	int	(*sync)(struct store *, uint64_t *ret_synced);
	int	(*block_exists)(struct store *, const uint8_t id[ID_SIZE]);
	int	(*block_reserve)(struct store *, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
		    struct block_ticket **);
	int	(*block_write)(struct block_ticket *, const uint8_t *data);
	int	(*block_finish)(struct block_ticket *, bool written, uint64_t *ret_pos);
	int	(*block_find)(struct store *, const uint8_t id[ID_SIZE], struct block_ref **);
	int	(*block_read)(struct block_ref *, uint32_t offset, uint32_t len, uint8_t *to);
	void	(*block_put_ref)(struct block_ref *);
	void	(*space)(struct store *, uint64_t *ret_total, uint64_t *ret_free);
	uint64_t (*ready)(struct store *);
	int	(*seek)(struct store *, uint64_t bytes);
	int	(*checkpoint)(struct store *);
	const char *(*failed)(struct store *);
	int	(*close)(struct store *);
};

/* The value, borrowed until the next call on the store and never beyond the engine's lock.  -ENOENT, -EBADMSG. */
static inline int
store_get(struct store *s, struct bytes key, struct bytes *ret_value)
{
	return s->ops->get(s, key, ret_value);
}

/* Visits the keys from <= key <= to in memcmp order.  0, what the visitor returned, or -EBADMSG at damage. */
static inline int
store_scan(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	return s->ops->scan(s, from, to, visit, arg);
}

/*
 * Applies the batch (borrowed) as one log entry and returns its position; positions only grow.  An empty
 * batch is not an entry: the position is the end.  On -ENOSPC, -EAGAIN, -ENOMEM and the batch's own error
 * nothing changed.  May checkpoint, which takes as long as writing back up to 64 MiB.
 */
static inline int
store_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *ret_pos)
{
	return s->ops->apply(s, b, flags, ret_pos);
}

/* The position of the last applied entry: what a reader has seen. */
static inline uint64_t
store_end(struct store *s)
{
	return s->ops->end(s);
}

/* UNLOCKED, never blocks.  Everything up to here survives a crash. */
static inline uint64_t
store_synced(struct store *s)
{
	return s->ops->synced(s);
}

/*
 * UNLOCKED.  Makes durable what was applied before the call (group commit: one call serves all) and
 * returns the new synced position.  One thread calls this in a loop; more are safe and of no use.
 */
static inline int
store_sync(struct store *s, uint64_t *ret_synced)
{
	return s->ops->sync(s, ret_synced);
}

/* 1, 0, or an error.  A reserved block exists once it is finished. */
static inline int
store_block_exists(struct store *s, const uint8_t id[ID_SIZE])
{
	return s->ops->block_exists(s, id);
}

/*
 * A block too large for a batch: reserve, write, finish.  The ticket is freed by finish, which must
 * be called, written or not.  Entries applied between need not wait for the block.  Flags, -ENOSPC
 * and -EAGAIN as store_apply().
 */
static inline int
store_block_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
    struct block_ticket **ret_ticket)
{
	return s->ops->block_reserve(s, id, len, flags, ret_ticket);
}

/* UNLOCKED, once a ticket.  Writes the ticket's `len` bytes. */
static inline int
store_block_write(struct block_ticket *t, const uint8_t *data)
{
	return t->store->ops->block_write(t, data);
}

/*
 * Frees the ticket.  If `written` (write returned 0) the block exists from here on, durable at the
 * returned position; a block with that id which appeared meanwhile stays and this one's place is given up.
 */
static inline int
store_block_finish(struct block_ticket *t, bool written, uint64_t *ret_pos)
{
	return t->store->ops->block_finish(t, written, ret_pos);
}

/* References a block: its bytes stay readable, even if it is freed, until put.  -ENOENT. */
static inline int
store_block_find(struct store *s, const uint8_t id[ID_SIZE], struct block_ref **ret_ref)
{
	return s->ops->block_find(s, id, ret_ref);
}

/*
 * UNLOCKED.  Reads part of a block.  Reading all of it verifies its checksum: -EIO on damage; a part is
 * for its reader to verify.  -EINVAL out of bounds.
 */
static inline int
store_block_read(struct block_ref *ref, uint32_t offset, uint32_t len, uint8_t *to)
{
	return ref->store->ops->block_read(ref, offset, len, to);
}

/* UNLOCKED or locked, never blocks; before the store is closed.  NULL is accepted. */
static inline void
store_block_put_ref(struct block_ref *ref)
{
	if (ref != NULL)
		ref->store->ops->block_put_ref(ref);
}

/* Bytes in all, and bytes that new data may take (without the reserve; space of freed blocks counts as free). */
static inline void
store_space(struct store *s, uint64_t *ret_total, uint64_t *ret_free)
{
	s->ops->space(s, ret_total, ret_free);
}

/* Of these, bytes that it may take at once: none that are yet to be made free, or too scattered. */
static inline uint64_t
store_ready(struct store *s)
{
	return s->ops->ready(s);
}

/*
 * Does at once what can be done to have so many bytes ready.  0: they are; -EAGAIN: not yet, but more is being
 * made free; -ENOSPC.  May checkpoint.
 */
static inline int
store_seek(struct store *s, uint64_t bytes)
{
	return s->ops->seek(s, bytes);
}

/* Syncs, writes the records back so that recovery has nothing to replay, and frees dead log segments. */
static inline int
store_checkpoint(struct store *s)
{
	return s->ops->checkpoint(s);
}

/* UNLOCKED.  NULL, or why the store has failed: a string that lives as long as the store. */
static inline const char *
store_failed(struct store *s)
{
	return s->ops->failed(s);
}

/* Checkpoints and frees the store, which is gone even if this fails; no ticket or reference may be left. */
static inline int
store_close(struct store *s)
{
	return s == NULL ? 0 : s->ops->close(s);
}

#endif
