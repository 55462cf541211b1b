/*
 * cell.c - opened cells, by block id and index.  Blocks are immutable, so a
 * cell never goes stale; the least recently used leave when the cache is full.
 * A buffer has little room besides what its cells hold: only that is counted.
 *  One that could not be fetched is there until those who wait for it have
 * looked: who still needs it then has a record that names it, under a lease, and
 * is failed (R8).  The block may come again, with the next who writes the same.
 */
#include "fs/core.h"

struct fetch_state {
	struct fetch	 fetch;
	bool		 ahead;			/* its failure is nobody's: who needs it asks again */
	TAILQ_ENTRY(fetch_state) link;
};

enum { COST = 256 };	/* of a cell and its buffer, besides the bytes: files may be small */

static size_t
cost(size_t len)
{
	return len + COST;
}

static size_t
slot_of(const struct engine *e, const uint8_t id[ID_SIZE], uint8_t index)
{
	uint64_t h;

	memcpy(&h, id, sizeof h);	/* an id is uniform already */
	return (h + index * 0x9e3779b97f4a7c15u) & (e->cells_size - 1);
}

struct cell *
cell_find(struct engine *e, const uint8_t id[ID_SIZE], uint8_t index)
{
	struct cell *c = e->cells_size == 0 ? NULL : e->cells[slot_of(e, id, index)];

	while (c != NULL && (c->index != index || memcmp(c->id, id, ID_SIZE) != 0))
		c = c->hash_next;
	if (c != NULL) {
		TAILQ_REMOVE(&e->cell_lru, c, lru_link);
		TAILQ_INSERT_TAIL(&e->cell_lru, c, lru_link);
	}
	return c;
}

void
cell_forget(struct engine *e, struct cell *c)
{
	struct cell **at = &e->cells[slot_of(e, c->id, c->index)];

	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	TAILQ_REMOVE(&e->cell_lru, c, lru_link);
	e->cells_count--;
	e->cells_failed -= c->error != 0;
	e->cells_bytes -= cost(c->len);
	buffer_put(c->buffer);
	free(c);
}

/* They are the newest: nothing came after them but what the same answer brought. */
void
cell_forget_failed(struct engine *e)
{
	struct cell *c, *before;

	for (c = TAILQ_LAST(&e->cell_lru, cell_list); c != NULL && e->cells_failed > 0; c = before) {
		before = TAILQ_PREV(c, cell_list, lru_link);
		if (c->error != 0)
			cell_forget(e, c);
	}
}

static int
grow(struct engine *e)
{
	size_t size = e->cells_size == 0 ? 1024 : e->cells_size * 2, old_size = e->cells_size;
	struct cell **old = e->cells, **table = calloc(size, sizeof *table), *next;

	if (table == NULL)
		return -ENOMEM;
	e->cells = table;
	e->cells_size = size;
	for (size_t i = 0; i < old_size; i++)
		for (struct cell *c = old[i]; c != NULL; c = next) {
			size_t slot = slot_of(e, c->id, c->index);

			next = c->hash_next;
			c->hash_next = table[slot];
			table[slot] = c;
		}
	free(old);
	return 0;
}

void
cell_add(struct engine *e, const uint8_t id[ID_SIZE], uint8_t index, struct buffer *b,
    const uint8_t *data, size_t len, int error)
{
	struct cell *c = cell_find(e, id, index);
	size_t slot;

	if (c != NULL)
		cell_forget(e, c);
	if ((e->cells_count >= e->cells_size && grow(e) < 0) || (c = calloc(1, sizeof *c)) == NULL)
		return;		/* it is only a cache: the reader asks again */
	memcpy(c->id, id, ID_SIZE);
	c->index = index;
	c->error = error;
	c->data = data;
	c->len = len;
	c->buffer = b == NULL ? NULL : buffer_get(b);
	slot = slot_of(e, id, index);
	c->hash_next = e->cells[slot];
	e->cells[slot] = c;
	TAILQ_INSERT_TAIL(&e->cell_lru, c, lru_link);
	e->cells_count++;
	e->cells_failed += error != 0;
	e->cells_bytes += cost(len);
	while (e->cells_bytes > e->config.cache_max && TAILQ_FIRST(&e->cell_lru) != c)
		cell_forget(e, TAILQ_FIRST(&e->cell_lru));
}

/* A few bytes in a large buffer get one of their own, or the cache would hold many times what it counts. */
void
cell_add_block(struct engine *e, const uint8_t id[ID_SIZE], struct buffer *b, size_t start, size_t len)
{
	struct buffer *own = len <= b->capacity / 2 ? buffer_new_raw(len) : NULL;
	const uint8_t *data = b->data + start;

	if (own != NULL)
		data = memcpy(own->data, data, len);
	for (size_t at = 0; at < len; at += CELL_SIZE)
		cell_add(e, id, (uint8_t)(at / CELL_SIZE), own != NULL ? own : b, data + at,
		    len - at < CELL_SIZE ? len - at : CELL_SIZE, 0);
	buffer_put(own);
}

static bool
under_way(struct engine *e, const uint8_t id[ID_SIZE], unsigned index)
{
	struct fetch_state *f;

	TAILQ_FOREACH(f, &e->fetches, link)
		if (index >= f->fetch.first && index < (unsigned)f->fetch.first + f->fetch.count &&
		    memcmp(f->fetch.id, id, ID_SIZE) == 0)
			return true;
	return false;
}

bool
cell_fetch(struct engine *e, const uint8_t id[ID_SIZE], unsigned first, unsigned count, bool ahead)
{
	for (unsigned i = first; i < first + count;) {
		struct fetch_state *f;
		struct action *a;
		unsigned from = i;

		if (cell_find(e, id, i) != NULL || under_way(e, id, i)) {
			i++;
			continue;
		}
		while (i < first + count && cell_find(e, id, i) == NULL && !under_way(e, id, i))
			i++;
		if ((f = calloc(1, sizeof *f)) == NULL || (a = action_add(e, ACTION_FETCH)) == NULL) {
			free(f);
			return false;
		}
		memcpy(f->fetch.id, id, ID_SIZE);
		f->fetch.first = from;
		f->fetch.count = i - from;
		f->fetch.state = f;
		f->ahead = ahead;
		e->stats.fetches++;
		e->stats.misses += !ahead;
		TAILQ_INSERT_TAIL(&e->fetches, f, link);
		a->fetch = &f->fetch;
	}
	return true;
}

void
cell_fetched(struct engine *e, struct fetch *fetch, int error)
{
	struct fetch_state *f = fetch->state;

	for (unsigned i = 0; i < fetch->count; i++) {
		struct buffer *b = fetch->cells[i];	/* some may have come though not all did */

		if (b != NULL)
			cell_add(e, fetch->id, fetch->first + i, b, b->data, b->size, 0);
		else if (!f->ahead)
			cell_add(e, fetch->id, fetch->first + i, NULL, NULL, 0, error == 0 ? -EIO : error);
		buffer_put(b);
		fetch->cells[i] = NULL;
	}
	TAILQ_REMOVE(&e->fetches, f, link);
	free(f);
}

void
cell_free_all(struct engine *e)
{
	struct fetch_state *f;

	while (!TAILQ_EMPTY(&e->cell_lru))
		cell_forget(e, TAILQ_FIRST(&e->cell_lru));
	while ((f = TAILQ_FIRST(&e->fetches)) != NULL) {
		TAILQ_REMOVE(&e->fetches, f, link);
		free(f);
	}
	free(e->cells);
}
