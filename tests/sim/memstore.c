/*
 * memstore.c - see memstore.h.
 *
 * Keys and blocks are two sorted arrays of immutable, counted items.  Each
 * change remembers the item it replaced, with the entry's position, so a
 * crash undoes changes from the end; a sync forgets how.
 */
#include "tests/sim/memstore.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE_PART = 16 };	/* of the capacity, one part is for frees */

struct item {
	unsigned	 refs;
	size_t		 key_len;
	uint8_t		 key[STORE_KEY_MAX];
	size_t		 len;
	uint8_t		 data[];
};

struct table {
	struct item	**items;	/* sorted by key */
	size_t		  count, size;
};

struct undo {
	uint64_t	 pos;
	struct table	*table;
	struct item	*old;		/* what was there, or NULL */
	struct item	*new;		/* what is there instead, or NULL; not both NULL */
};

struct memstore {
	struct store	 store;
	struct table	 keys, blocks;
	struct undo	*undo;		/* since the last sync, oldest first */
	size_t		 undo_count, undo_size;
	uint64_t	 end, synced;
	uint64_t	 capacity, used;
	unsigned	 crashes;
	bool		 full, hopeful;
	const char	*failed;
};

struct mem_ref {
	struct block_ref	 ref;
	struct item		*item;
};

struct mem_ticket {
	struct block_ticket	 ticket;
	unsigned		 crashes;
	uint8_t			 id[ID_SIZE];
	uint8_t			 data[];
};

static struct memstore *
mem_of(struct store *s)
{
	return (struct memstore *)s;
}

static void *
mem_grow(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (p == NULL)
		abort();
	return p;
}

static int
key_cmp(struct bytes a, struct bytes b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

static struct bytes
item_key(const struct item *item)
{
	return (struct bytes){ item->key, item->key_len };
}

static struct item *
item_new(struct bytes key, struct bytes data)
{
	struct item *item = mem_grow(NULL, sizeof *item + data.len);

	item->refs = 1;
	item->key_len = key.len;
	memcpy(item->key, key.data, key.len);
	item->len = data.len;
	if (data.len > 0)
		memcpy(item->data, data.data, data.len);
	return item;
}

static void
item_put(struct item *item)
{
	if (item != NULL && --item->refs == 0)
		free(item);
}

static uint64_t
item_size(const struct item *item)
{
	return item == NULL ? 0 : item->key_len + item->len;
}

/* The index of the first item whose key is not below `key`. */
static size_t
table_lower(const struct table *t, struct bytes key)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (key_cmp(item_key(t->items[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct item *
table_find(const struct table *t, struct bytes key)
{
	size_t at = table_lower(t, key);

	return at < t->count && key_cmp(item_key(t->items[at]), key) == 0 ? t->items[at] : NULL;
}

/* Takes out the item of this key, if any, and puts `item` in, if any.  The table's reference moves. */
static struct item *
table_replace(struct table *t, struct bytes key, struct item *item)
{
	size_t at = table_lower(t, key);
	struct item *old = at < t->count && key_cmp(item_key(t->items[at]), key) == 0 ? t->items[at] : NULL;

	if (old == NULL && item != NULL) {
		if (t->count == t->size) {
			t->size = t->size == 0 ? 64 : 2 * t->size;
			t->items = mem_grow(t->items, t->size * sizeof(struct item *));
		}
		memmove(&t->items[at + 1], &t->items[at], (t->count - at) * sizeof(struct item *));
		t->count++;
	} else if (old != NULL && item == NULL) {
		t->count--;
		memmove(&t->items[at], &t->items[at + 1], (t->count - at) * sizeof(struct item *));
	}
	if (item != NULL)
		t->items[at] = item;
	return old;
}

static void
table_done(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		item_put(t->items[i]);
	free(t->items);
}

/* One change, undoable; takes over the caller's reference to `item`. */
static void
mem_change(struct memstore *m, struct table *t, struct bytes key, struct item *item)
{
	struct item *old = table_replace(t, key, item);

	if (old == NULL && item == NULL)
		return;
	if (item != NULL)
		item->refs++;
	m->used += item_size(item) - item_size(old);
	if (m->undo_count == m->undo_size) {
		m->undo_size = m->undo_size == 0 ? 256 : 2 * m->undo_size;
		m->undo = mem_grow(m->undo, m->undo_size * sizeof *m->undo);
	}
	m->undo[m->undo_count++] = (struct undo){ m->end, t, old, item };
}

static void
mem_op(struct memstore *m, const struct batch_op *op)
{
	size_t at;

	switch (op->type) {
	case BATCH_PUT:
		mem_change(m, &m->keys, op->key, item_new(op->key, op->value));
		break;
	case BATCH_DELETE:
		mem_change(m, &m->keys, op->key, NULL);
		break;
	case BATCH_DELETE_RANGE:
		at = table_lower(&m->keys, op->key);
		while (at < m->keys.count && key_cmp(item_key(m->keys.items[at]), op->value) <= 0)
			mem_change(m, &m->keys, item_key(m->keys.items[at]), NULL);
		break;
	case BATCH_BLOCK_PUT:
		if (table_find(&m->blocks, op->key) == NULL)
			mem_change(m, &m->blocks, op->key, item_new(op->key, op->value));
		break;
	case BATCH_BLOCK_FREE:
		mem_change(m, &m->blocks, op->key, NULL);
		break;
	case BATCH_BLOCK_AT:
	case BATCH_BLOCK_MOVED:
		assert(!"a batch from outside places no block");
	}
}

static int
mem_get(struct store *s, struct bytes key, struct bytes *ret_value)
{
	struct item *item = table_find(&mem_of(s)->keys, key);

	if (item == NULL)
		return -ENOENT;
	*ret_value = (struct bytes){ item->data, item->len };
	return 0;
}

static int
mem_scan(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	struct table *t = &mem_of(s)->keys;
	int rc = 0;

	for (size_t at = table_lower(t, from); rc == 0 && at < t->count; at++) {
		struct item *item = t->items[at];

		if (key_cmp(item_key(item), to) > 0)
			break;
		rc = visit(arg, item_key(item), (struct bytes){ item->data, item->len });
	}
	return rc;
}

static bool
mem_has_room(const struct memstore *m, uint64_t bytes, unsigned flags)
{
	uint64_t capacity = m->capacity - (flags & STORE_PROMISED ? 0 : m->capacity / RESERVE_PART);

	return !m->full && (m->capacity == 0 || (m->used <= capacity && bytes <= capacity - m->used));
}

static int
mem_refusal(const struct memstore *m)
{
	return m->hopeful ? -EAGAIN : -ENOSPC;
}

static int
mem_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *ret_pos)
{
	struct memstore *m = mem_of(s);
	struct cursor c = cursor_read(b->data, b->len);
	struct batch_op op;

	if (b->error != 0)
		return b->error;
	if (m->failed != NULL)
		return -EIO;
	if (!(flags & (STORE_FREES | STORE_TRADES)) && b->len > 0 && !mem_has_room(m, b->len, flags))
		return mem_refusal(m);
	if (b->len > 0)
		m->end++;
	while (batch_next(&c, &op) == 1)
		mem_op(m, &op);
	assert(cursor_done(&c));
	*ret_pos = m->end;
	return 0;
}

static uint64_t
mem_end(struct store *s)
{
	return mem_of(s)->end;
}

static uint64_t
mem_synced(struct store *s)
{
	return mem_of(s)->synced;
}

static int
mem_sync(struct store *s, uint64_t *ret_synced)
{
	struct memstore *m = mem_of(s);

	if (m->failed != NULL)
		return -EIO;
	for (size_t i = 0; i < m->undo_count; i++) {
		item_put(m->undo[i].old);
		item_put(m->undo[i].new);
	}
	m->undo_count = 0;
	m->synced = m->end;
	*ret_synced = m->synced;
	return 0;
}

static int
mem_block_exists(struct store *s, const uint8_t id[ID_SIZE])
{
	return table_find(&mem_of(s)->blocks, (struct bytes){ id, ID_SIZE }) != NULL;
}

static int
mem_block_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
    struct block_ticket **ret_ticket)
{
	struct memstore *m = mem_of(s);
	struct mem_ticket *t;

	if (len == 0 || len > BLOCK_SEALED_MAX)
		return -EINVAL;
	if (m->failed != NULL)
		return -EIO;
	if (!mem_has_room(m, len, flags))
		return mem_refusal(m);
	t = mem_grow(NULL, sizeof *t + len);
	t->ticket = (struct block_ticket){ s, len };
	t->crashes = m->crashes;
	memcpy(t->id, id, ID_SIZE);
	*ret_ticket = &t->ticket;
	return 0;
}

static int
mem_block_write(struct block_ticket *ticket, const uint8_t *data)
{
	memcpy(((struct mem_ticket *)ticket)->data, data, ticket->len);
	return mem_of(ticket->store)->failed != NULL ? -EIO : 0;
}

static int
mem_block_finish(struct block_ticket *ticket, bool written, uint64_t *ret_pos)
{
	struct memstore *m = mem_of(ticket->store);
	struct mem_ticket *t = (struct mem_ticket *)ticket;
	struct batch b = { 0 };
	int rc = 0;

	if (written && t->crashes != m->crashes)
		rc = -EIO;
	else if (written && mem_block_exists(&m->store, t->id) == 0) {
		batch_block_put(&b, t->id, (struct bytes){ t->data, ticket->len });
		/* Its space was granted when it was reserved. */
		rc = mem_apply(&m->store, &b, STORE_FREES, ret_pos);
		batch_done(&b);
	} else
		*ret_pos = m->end;
	free(t);
	return rc;
}

static int
mem_block_find(struct store *s, const uint8_t id[ID_SIZE], struct block_ref **ret_ref)
{
	struct item *item = table_find(&mem_of(s)->blocks, (struct bytes){ id, ID_SIZE });
	struct mem_ref *r;

	if (item == NULL)
		return -ENOENT;
	r = mem_grow(NULL, sizeof *r);
	r->ref = (struct block_ref){ s, (uint32_t)item->len };
	r->item = item;
	item->refs++;
	*ret_ref = &r->ref;
	return 0;
}

static int
mem_block_read(struct block_ref *ref, uint32_t offset, uint32_t len, uint8_t *to)
{
	struct item *item = ((struct mem_ref *)ref)->item;

	if (offset > item->len || len > item->len - offset)
		return -EINVAL;
	memcpy(to, item->data + offset, len);
	return 0;
}

static void
mem_block_put_ref(struct block_ref *ref)
{
	item_put(((struct mem_ref *)ref)->item);
	free(ref);
}

static void
mem_space(struct store *s, uint64_t *ret_total, uint64_t *ret_free)
{
	struct memstore *m = mem_of(s);
	uint64_t total = m->capacity != 0 ? m->capacity : UINT64_C(1) << 40;

	*ret_total = total;
	*ret_free = m->full || m->used > total ? 0 : total - m->used;
}

static uint64_t
mem_ready(struct store *s)
{
	struct memstore *m = mem_of(s);
	uint64_t total = m->capacity != 0 ? m->capacity - m->capacity / RESERVE_PART : UINT64_C(1) << 40;

	return m->full || m->used > total ? 0 : total - m->used;
}

static int
mem_seek(struct store *s, uint64_t bytes)
{
	return mem_ready(s) >= bytes ? 0 : mem_refusal(mem_of(s));
}

static int
mem_checkpoint(struct store *s)
{
	uint64_t synced;

	return mem_sync(s, &synced);
}

static const char *
mem_failed(struct store *s)
{
	return mem_of(s)->failed;
}

static int
mem_close(struct store *s)
{
	struct memstore *m = mem_of(s);
	int rc = mem_checkpoint(s);

	memstore_crash(s, m->synced);	/* after a failure: drops the undo list */
	table_done(&m->keys);
	table_done(&m->blocks);
	free(m->undo);
	free(m);
	return rc;
}

static const struct store_ops mem_ops = {
	.get = mem_get, .scan = mem_scan, .apply = mem_apply,
	.end = mem_end, .synced = mem_synced, .sync = mem_sync,
	.block_exists = mem_block_exists, .block_reserve = mem_block_reserve,
	.block_write = mem_block_write, .block_finish = mem_block_finish,
	.block_find = mem_block_find, .block_read = mem_block_read, .block_put_ref = mem_block_put_ref,
	.space = mem_space, .ready = mem_ready, .seek = mem_seek, .checkpoint = mem_checkpoint, .failed = mem_failed, .close = mem_close,
};

struct store *
memstore_new(uint64_t capacity_bytes)
{
	struct memstore *m = mem_grow(NULL, sizeof *m);

	*m = (struct memstore){ .store = { &mem_ops }, .capacity = capacity_bytes };
	return &m->store;
}

void
memstore_crash(struct store *s, uint64_t pos)
{
	struct memstore *m = mem_of(s);

	assert(pos >= m->synced && pos <= m->end);
	while (m->undo_count > 0) {
		struct undo *u = &m->undo[m->undo_count - 1];

		if (u->pos > pos) {
			struct item *gone = table_replace(u->table, item_key(u->old != NULL ? u->old : u->new), u->old);

			m->used += item_size(u->old) - item_size(gone);
			item_put(gone);
		} else
			item_put(u->old);
		item_put(u->new);
		m->undo_count--;
	}
	m->end = m->synced = pos;
	m->failed = NULL;
	m->crashes++;
}

void
memstore_set_capacity(struct store *s, uint64_t bytes)
{
	mem_of(s)->capacity = bytes;
}

void
memstore_set_full(struct store *s, bool full)
{
	mem_of(s)->full = full;
}

void
memstore_set_hopeful(struct store *s, bool hopeful)
{
	mem_of(s)->hopeful = hopeful;
}

void
memstore_fail(struct store *s, const char *why)
{
	mem_of(s)->failed = why;
}
