/*
 * span.c - bytes not yet on the server.
 *
 * To flush is to freeze open spans: each run of dirty bytes becomes a block.
 * When all blocks of a span are on the server (or sealed, to travel in the
 * commit), its runs become extents and the span is gone.  A region that would
 * get too many extents is filled up first, so that it becomes one block.
 *
 * Invariants:
 * 1. The ranges of a span are sorted, disjoint and inside the file.
 * 2. stable_size is at most the lowest dirty byte, unless the server's file
 *    was longer already.
 */
#include <assert.h>

#include "fs/content.h"

bool
content_inline(const struct object *o)
{
	return o->attr.flags & ATTR_INLINE;
}

bool
data_dirty(const struct object *o)
{
	return !TAILQ_EMPTY(&o->spans);
}

bool
data_flushed_all(const struct engine *e, uint64_t number)
{
	const struct object *o;

	TAILQ_FOREACH(o, &e->with_data, data_link)
		if (!data_flushed(o, number))
			return false;
	return true;
}

bool
data_flushed(const struct object *o, uint64_t number)
{
	const struct span *s;

	TAILQ_FOREACH(s, &o->spans, link)
		if (s->number <= number)
			return false;
	return true;
}

/* ---- ranges ---- */

size_t
span_bytes(const struct span *s)
{
	size_t n = 0;

	for (unsigned i = 0; i < s->count; i++)
		n += s->ranges[i].to - s->ranges[i].from;
	return n;
}

/* Adds [from, to); there is room for one more range. */
static void
range_add(struct span *s, uint32_t from, uint32_t to)
{
	unsigned i = 0, j;

	while (i < s->count && s->ranges[i].to < from)
		i++;
	for (j = i; j < s->count && s->ranges[j].from <= to; j++) {
		from = s->ranges[j].from < from ? s->ranges[j].from : from;
		to = s->ranges[j].to > to ? s->ranges[j].to : to;
	}
	memmove(&s->ranges[i + 1], &s->ranges[j], (s->count - j) * sizeof s->ranges[0]);
	s->count += 1 + i - j;
	s->ranges[i] = (struct range){ from, to };
}

struct span *
span_find(struct object *o, uint64_t region, bool frozen)
{
	struct span *s;

	TAILQ_FOREACH(s, &o->spans, link)
		if (s->region == region && s->frozen == frozen)
			return s;
	return NULL;
}

/* Objects with spans, or held back, are on one list: flushing all of them is cheap to start. */
void
data_list(struct engine *e, struct object *o)
{
	bool wanted = data_dirty(o) || o->hold;

	if (wanted == o->on_data_list)
		return;
	if (wanted)
		TAILQ_INSERT_TAIL(&e->with_data, o, data_link);
	else
		TAILQ_REMOVE(&e->with_data, o, data_link);
	o->on_data_list = wanted;
	txn_count(e, o);
}

void
span_free(struct engine *e, struct object *o, struct span *s)
{
	struct flush_state *f;

	e->dirty_bytes -= span_bytes(s);
	e->credit.unsent -= s->cost;
	TAILQ_REMOVE(&o->spans, s, link);
	while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
		TAILQ_REMOVE(&s->flushes, f, link);
		f->span = NULL;
		f->object = NULL;
		if (f->stored || f->failed) {
			flush_free(e, f);	/* else when its action is done */
		} else if (!f->flush.carried) {
			/* The server takes it, and our credit for it. */
			f->orphaned = credit_block(f->flush.len);
			e->credit.orphaned += f->orphaned;
		}
	}
	buffer_put(s->buffer);
	free(s);
	data_list(e, o);
	/* Here and nowhere else: a wake that nothing has changed for would spin. */
	wake(e, WAIT_FLUSH, o->oid);
}

void
span_cut(struct engine *e, struct object *o, struct span *s, uint32_t from, uint32_t to)
{
	struct range kept[SPAN_RANGES + 2];
	size_t before = span_bytes(s);
	unsigned n = 0;

	for (unsigned i = 0; i < s->count; i++) {
		struct range r = s->ranges[i];

		if (r.from < from)
			kept[n++] = (struct range){ r.from, r.to < from ? r.to : from };
		if (r.to > to)
			kept[n++] = (struct range){ r.from > to ? r.from : to, r.to };
	}
	s->count = n;
	memcpy(s->ranges, kept, n * sizeof kept[0]);
	e->dirty_bytes -= before - span_bytes(s);
	if (s->count == 0)
		span_free(e, o, s);
	else
		span_recount(e, o, s);
}

struct span *
span_open(struct engine *e, struct object *o, uint64_t region)
{
	struct span *s = span_find(o, region, false);

	if (s != NULL || (s = calloc(1, sizeof *s)) == NULL)
		return s;
	s->region = region;
	s->number = ++e->span_number;
	s->opened = o->attr.size;
	TAILQ_INIT(&s->flushes);
	TAILQ_INSERT_TAIL(&o->spans, s, link);
	data_list(e, o);
	return s;
}

/* Is an answer on its way that has bytes of this range? */
static bool
being_read(const struct span *s, size_t from, size_t end)
{
	if (s->buffer->refs == 1)
		return false;
	for (unsigned i = 0; i < s->count; i++)
		if (s->ranges[i].from < end && s->ranges[i].to > from)
			return true;
	return false;
}

/*
 * Room from `from` to `end`, to be written now.  Readers may hold the old
 * buffer: it is neither moved nor changed under them, or one answer would have
 * old and new bytes.
 */
static int
span_reserve(struct span *s, size_t from, size_t end)
{
	size_t capacity = s->buffer != NULL ? s->buffer->capacity : 4096;
	struct buffer *b;

	if (s->buffer != NULL && s->buffer->capacity >= end && !being_read(s, from, end))
		return 0;
	while (capacity < end)
		capacity *= 2;
	if (capacity > 64 * 1024)
		capacity = REGION_SIZE;
	if ((b = buffer_new_raw(capacity)) == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < s->count; i++)
		memcpy(b->data + s->ranges[i].from, s->buffer->data + s->ranges[i].from,
		    s->ranges[i].to - s->ranges[i].from);
	buffer_put(s->buffer);
	s->buffer = b;
	return 0;
}

int
span_write(struct engine *e, struct object *o, struct span *s, uint32_t from, const uint8_t *data, size_t len)
{
	size_t before = span_bytes(s);
	int r = span_reserve(s, from, from + len);

	if (r < 0)
		return r;
	memcpy(s->buffer->data + from, data, len);
	range_add(s, from, from + len);
	e->dirty_bytes += span_bytes(s) - before;
	span_recount(e, o, s);
	return 0;
}

/* ---- sizes ---- */

/* What was held back is true from now on. */
static void
let_go(struct engine *e, struct object *o)
{
	o->hold = false;
	o->stable_size = 0;
	data_list(e, o);
	txn_touch_attr(e, o);	/* the last one that was sent told of the old content */
}

/*
 * A span frozen when the file had this size has arrived.  What is written
 * since then may still be on its way: the size of that moment counts all the
 * same, or an fsync of that moment would not.
 */
static void
arrived(struct engine *e, struct object *o, uint64_t newest, uint64_t size)
{
	const struct span *s;

	TAILQ_FOREACH(s, &o->spans, link) {
		uint64_t at = s->region * REGION_SIZE + (s->count > 0 ? s->ranges[0].from : 0);

		if (s->number > newest)
			continue;
		if (o->hold)
			return;
		size = at < size ? at : size;
	}
	if (o->hold)
		let_go(e, o);
	size = size < o->attr.size ? size : o->attr.size;
	if (size > o->stable_size || o->stable_flags != o->attr.flags) {
		o->stable_size = size > o->stable_size ? size : o->stable_size;
		o->stable_flags = o->attr.flags;
		txn_touch_attr(e, o);
	}
}

/* The size a commit may state follows what has arrived. */
void
settle_size(struct engine *e, struct object *o)
{
	uint64_t lowest = o->attr.size, stable;
	const struct span *s;

	if (o->hold && data_dirty(o))
		return;
	if (o->hold)
		let_go(e, o);
	TAILQ_FOREACH(s, &o->spans, link) {
		uint64_t at = s->region * REGION_SIZE + (s->count > 0 ? s->ranges[0].from : 0);

		lowest = at < lowest ? at : lowest;
	}
	stable = o->stable_size > lowest ? o->stable_size : lowest;
	stable = stable < o->attr.size ? stable : o->attr.size;
	if (stable != o->stable_size || o->stable_flags != o->attr.flags) {
		o->stable_size = stable;
		o->stable_flags = o->attr.flags;
		txn_touch_attr(e, o);
	}
}

/* ---- flushing ---- */

void
flush_free(struct engine *e, struct flush_state *f)
{
	txn_uncarry(e, f);
	e->credit.orphaned -= f->orphaned;
	TAILQ_REMOVE(&e->flushes, f, all_link);
	buffer_put(f->flush.buffer);
	buffer_put(f->flush.sealed);
	free(f);
}

void
data_store(struct engine *e, struct flush_state *f)
{
	struct action *a = action_add(e, ACTION_STORE);

	f->failed = a == NULL;
	if (a == NULL)
		return;
	a->flush = &f->flush;
	f->frees = e->frees;
	e->storing++;
}

static int
freeze_span(struct engine *e, struct object *o, struct span *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct flush_state *f = calloc(1, sizeof *f);

		if (f == NULL) {
			while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
				TAILQ_REMOVE(&s->flushes, f, link);
				flush_free(e, f);
			}
			return -ENOMEM;
		}
		f->flush.buffer = buffer_get(s->buffer);
		f->flush.start = f->offset = s->ranges[i].from;
		f->flush.len = s->ranges[i].to - s->ranges[i].from;
		f->flush.carried = txn_carry(e, f);
		f->flush.state = f;
		f->object = o;
		f->oid = o->oid;
		f->span = s;
		f->region = s->region;
		TAILQ_INSERT_TAIL(&s->flushes, f, link);
		TAILQ_INSERT_TAIL(&e->flushes, f, all_link);
	}
	s->frozen = true;
	s->newest = e->span_number;
	s->size = o->attr.size;
	s->pending = s->count;
	for (struct flush_state *f = TAILQ_FIRST(&s->flushes); f != NULL; f = TAILQ_NEXT(f, link))
		data_store(e, f);
	return 0;
}

struct filler {
	struct engine	*engine;
	struct span	*span;
	uint32_t	 at;
	int		 error;
};

static int
fill_part(void *context, const uint8_t *data, size_t len, struct buffer *b)
{
	struct filler *f = context;

	(void)b;
	memcpy(f->span->buffer->data + f->at, data, len);
	f->at += len;
	return 0;
}

/*
 * Makes the span hold its region up to `upto`, so that nothing else need.
 * 0, 1 (cells are being fetched), or a negative errno.
 */
int
span_fill(struct engine *e, struct object *o, struct span *s, uint32_t upto)
{
	uint64_t base = s->region * REGION_SIZE;
	uint32_t limit = o->attr.size - base < upto ? o->attr.size - base : upto;
	struct canvas c;
	bool missing = false;
	size_t before;
	int r;

	if (limit == 0)
		return 0;
	/* Which may move the buffer: paint after that. */
	if ((r = span_reserve(s, limit, limit)) < 0 || (r = layer_paint(&c, o, s->region, 0, limit)) < 0)
		return r;
	for (unsigned i = 0; i < c.count; i++) {
		struct filler f = { .engine = e, .span = s, .at = c.at[i].from };

		if (c.at[i].source == HOLE)
			memset(s->buffer->data + f.at, 0, c.at[i].to - f.at);
		else if (c.at[i].source == MEMORY && c.at[i].buffer != s->buffer)
			memcpy(s->buffer->data + f.at, c.at[i].memory, c.at[i].to - f.at);
		else if (c.at[i].source == BLOCK) {
			if ((r = layer_walk(e, &c.at[i], fill_part, &f)) < 0)
				return r;
			missing |= r > 0;
		}
	}
	if (missing)
		return 1;
	before = span_bytes(s);
	range_add(s, 0, limit);
	e->dirty_bytes += span_bytes(s) - before;
	span_recount(e, o, s);
	return 0;
}

/* A small file whose content fits its record needs no block. */
static bool
fits_inline(struct object *o)
{
	return o->attr.size <= INLINE_MAX && o->regions.all && !extent_any(o) && span_find(o, 0, true) == NULL;
}

static bool
must_wait(const struct engine *e, const struct object *o)
{
	return txn_full(e) && !o->ordered;
}

static int
flush_inline(struct engine *e, struct object *o, struct span *s)
{
	int r;

	if (must_wait(e, o))
		return 1;
	if ((r = span_fill(e, o, s, INLINE_MAX)) != 0)
		return r;
	if ((r = content_put_inline(e, o, (struct bytes){ s->buffer->data, o->attr.size })) < 0)
		return r;
	o->attr.flags |= ATTR_INLINE;
	span_free(e, o, s);
	return 0;
}

static bool
too_many_extents(struct object *o, const struct span *s)
{
	if (s->count == 1 && s->ranges[0].from == 0 && s->ranges[0].to == REGION_SIZE)
		return false;
	return extent_count(o, s->region) + 2 * s->count > EXTENTS_MAX;
}

/* Freezes one open span: 0, 1 (later), or a negative errno. */
int
span_flush(struct engine *e, struct object *o, struct span *s)
{
	int r;

	if (s->count == 0) {
		span_free(e, o, s);
		return 0;
	}
	if (s->region == 0 && fits_inline(o))
		return flush_inline(e, o, s);
	if (span_find(o, s->region, true) != NULL)
		return 1;
	/* What the record holds moves into the block. */
	if (s->region == 0 && content_inline(o) && (r = span_fill(e, o, s, INLINE_MAX)) != 0)
		return r;
	/* Nor has it anywhere to go offline, and what it is written over may not be here. */
	if (too_many_extents(o, s) && (r = e->offline ? 1 : span_fill(e, o, s, REGION_SIZE)) != 0)
		return r;
	return freeze_span(e, o, s);
}

/* Content that can never reach the server: the application is told at its next call. */
static void
span_lost(struct engine *e, struct object *o, struct span *s, int error)
{
	o->error = error;
	o->error_seq = ++e->error_counter;
	e->stats.lost_objects++;
	span_free(e, o, s);
}

/* False: there is no memory for it now. */
static bool
span_apply(struct engine *e, struct object *o, struct span *s)
{
	uint64_t newest = s->newest, size = s->size;
	struct region_map m;
	struct flush_state *f;
	int r = extent_load(&m, o, s->region);

	TAILQ_FOREACH(f, &s->flushes, link)
		for (unsigned i = 0; i < s->count; i++) {
			uint32_t from = s->ranges[i].from > f->offset ? s->ranges[i].from : f->offset;
			uint32_t to = s->ranges[i].to < f->offset + f->flush.len ? s->ranges[i].to : f->offset + f->flush.len;

			assert(m.count + 2 < EXTENTS_WORK);	/* two more a range, at most */
			if (from < to)
				extent_set(&m, from, to, f->flush.id, from - f->offset);
		}
	if (r == 0)
		r = extent_store(e, o, s->region, &m);
	if (r == -ENOMEM)
		return false;
	if (r < 0) {
		span_lost(e, o, s, r);
		return true;
	}
	if (s->region == 0 && content_inline(o)) {
		txn_delete(e, o, KIND_INLINE, NULL, 0);
		o->attr.flags &= ~(uint32_t)ATTR_INLINE;
	}
	e->dirty_bytes -= span_bytes(s);
	s->count = 0;
	while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
		TAILQ_REMOVE(&s->flushes, f, link);
		f->span = NULL;
		f->object = NULL;
		cell_add_block(e, f->flush.id, f->flush.buffer, f->flush.start, f->flush.len);
		e->dirty_bytes += f->flush.len;
		txn_keep(e, f);
	}
	span_free(e, o, s);
	arrived(e, o, newest, size);
	return true;
}

/* All of it travels in the transaction, in room that is kept for it. */
static bool
has_room(const struct span *s)
{
	const struct flush_state *f;

	TAILQ_FOREACH(f, &s->flushes, link)
		if (!f->reserved)
			return false;
	return true;
}

static void
flush_object(struct engine *e, struct object *o)
{
	struct span *s, *next;
	bool later = false;
	int r;

	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->frozen && s->pending > 0)
			continue;
		if (s->frozen && must_wait(e, o) && !has_room(s)) {
			e->freeze_wanted = true;	/* which makes room */
			later = true;
			continue;
		}
		if (s->frozen) {
			later |= !span_apply(e, o, s);
			continue;
		}
		if ((r = span_flush(e, o, s)) == 1 || r == -ENOMEM)
			later = true;
		else if (r < 0)
			span_lost(e, o, s, r);
	}
	settle_size(e, o);
	if (!later) {
		TAILQ_REMOVE(&e->flushing, o, flush_link);
		o->on_flush_list = false;
	}
}

void
data_flush(struct engine *e, struct object *o)
{
	assert(data_dirty(o) || o->hold);	/* else it may not even be leased (fsync of an idle file) */
	if (!o->on_flush_list) {
		TAILQ_INSERT_TAIL(&e->flushing, o, flush_link);
		o->on_flush_list = true;
	}
	flush_object(e, o);
}

void
data_flush_step(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->flushing); o != NULL; o = next) {
		next = TAILQ_NEXT(o, flush_link);
		flush_object(e, o);
	}
	if (e->now_ms >= (e->error == 0 ? e->again_at : e->retry_at))
		full_store_again(e);
}

void
data_stored(struct engine *e, struct flush_state *f, int error)
{
	struct object *o = f->object;
	struct span *s = f->span;

	e->storing--;
	f->failed = error != 0;
	f->stored = error == 0;
	if (f->stored)
		credit_stored(e, f);
	full_stored(e, f);
	if (s == NULL && !f->kept) {
		flush_free(e, f);	/* its bytes were cut away meanwhile */
		if (e->storing == 0)
			wake(e, WAIT_ROOM, 0);	/* for the last to arrive */
		return;
	}
	if (error == -ENOSPC && full_old_news(e, f))
		return;
	if (error != 0) {
		full_refused(e, error == -ENOSPC ? -ENOSPC : -EIO);
		return;
	}
	if (e->storing == 0)
		wake(e, WAIT_ROOM, 0);
	if (s == NULL) {
		supply_step(e);
		return;
	}
	if (--s->pending > 0)
		return;
	if (must_wait(e, o) || o->on_flush_list || !span_apply(e, o, s))
		data_flush(e, o);	/* applies it, now or when there is room */
	else
		settle_size(e, o);
	if (o->recall != RECALL_NONE)
		lease_step(e, o);
}

void
data_drop(struct engine *e, struct object *o)
{
	while (!TAILQ_EMPTY(&o->spans))
		span_free(e, o, TAILQ_FIRST(&o->spans));
	o->hold = false;
	if (o->stable_size > o->attr.size)
		o->stable_size = o->attr.size;	/* old content that was held back for what is dropped */
	data_list(e, o);
	if (o->on_flush_list) {
		TAILQ_REMOVE(&e->flushing, o, flush_link);
		o->on_flush_list = false;
	}
	wake(e, WAIT_ROOM, 0);
}

void
data_told(struct object *o, struct bytes value)
{
	struct attr attr;

	if (value.data == NULL || attr_decode(&attr, value) < 0)
		return;
	o->told_size = attr.size;
	o->told_flags = attr.flags;
	if (o->inflight == 0) {
		o->stated_size = attr.size;
		o->stated_flags = attr.flags;
	}
}

void
data_thawed(struct engine *e, struct object *o)
{
	o->stated_size = o->told_size;
	o->stated_flags = o->told_flags;
	if (!o->hold)
		return;
	o->stable_size = o->told_size;
	o->stable_flags = o->told_flags;
	if (o->told_size == 0) {
		let_go(e, o);		/* there is no old content to keep */
		settle_size(e, o);	/* and no more need come of the new, to be stated with */
	}
}

static void
forget_content(struct object *o, uint8_t kind)
{
	static const uint8_t first[8];
	struct rec *r;

	while ((r = object_rec_from(o, kind, first, kind == KIND_REGION ? sizeof first : 0)) != NULL && r->kind == kind)
		object_rec_remove(o, r);
}

void
data_lost(struct engine *e, struct object *o)
{
	uint32_t told = o->born ? 0 : o->told_flags & ATTR_INLINE;

	data_drop(e, o);
	forget_content(o, KIND_REGION);
	forget_content(o, KIND_INLINE);
	o->wipe = false;
	/* Of what was born here the server has nothing yet, so all of that is known. */
	o->regions = (struct cover){ .all = o->born };
	o->parents_known = o->born;
	o->tail_tidy = o->born;
	o->attr.size = o->stable_size = o->born ? 0 : o->told_size;
	o->attr.flags = o->stable_flags = (o->attr.flags & ~(uint32_t)ATTR_INLINE) | told;
	o->error = -EIO;
	o->error_seq = ++e->error_counter;
	e->stats.lost_objects++;
	txn_touch_attr(e, o);
	if (o->lookups > 0)
		lease_sweep(e, o);
}

/* Everything dirty starts on its way. */
void
data_flush_all(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->with_data); o != NULL; o = next) {
		next = TAILQ_NEXT(o, data_link);
		data_flush(e, o);
	}
}

void
data_flush_written(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->with_data); o != NULL; o = next) {
		next = TAILQ_NEXT(o, data_link);
		if (data_dirty(o))
			data_flush(e, o);
	}
}

void
data_settle_all(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->with_data); o != NULL; o = next) {
		next = TAILQ_NEXT(o, data_link);
		if (o->hold && !data_dirty(o) && e->now_ms - o->hold_ms >= e->config.commit_ms)
			settle_size(e, o);
	}
}

/*
 * All up to span `number`, written while the file was `size` long, has
 * arrived: newer bytes must not hide it.  A newer truncation may, while what
 * it truncated is still in the last commit.
 */
void
data_arrived(struct engine *e, struct object *o, uint64_t number, uint64_t size)
{
	if (o->hold && o->hold_number > number && o->hold_clean)
		return;
	if (o->hold) {
		o->hold = false;
		o->stable_size = 0;
		data_list(e, o);
	}
	size = size < o->attr.size ? size : o->attr.size;
	o->stable_size = o->stable_size > size ? o->stable_size : size;
	o->stable_flags = o->attr.flags;
	txn_touch_attr(e, o);
}

/* The same for every file written on meanwhile, with the size it had before its first span, all of which are behind `number`. */
void
data_arrived_all(struct engine *e, uint64_t number)
{
	struct object *o, *next;
	const struct span *s;

	for (o = TAILQ_FIRST(&e->with_data); o != NULL; o = next) {
		uint64_t size = o->attr.size, first = UINT64_MAX;

		next = TAILQ_NEXT(o, data_link);
		TAILQ_FOREACH(s, &o->spans, link)
			if (s->number < first) {
				first = s->number;
				size = s->opened;
			}
		data_arrived(e, o, number, size);
	}
}
