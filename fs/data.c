/*
 * data.c - the content of files.
 *
 * Content is three layers, later over earlier: what records say (the INLINE
 * record, or the extents of REGION records), the frozen span of a region (on
 * its way to the server), its open span (still being written).  A region has
 * at most one of each.  Reading paints the layers over a list of segments.
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
 * 3. Truncating to nothing is held back until what is written next has
 *    arrived: no crash leaves an empty file where there was a full one.
 */
#include "fs/core.h"

enum {
	SPAN_RANGES	= 24,
	CARRIED_BLOCK_MAX = 32 * 1024,	/* a run up to this size travels in the commit */
	SEGMENTS_MAX	= 512,
	EXTENTS_WORK	= 2 * EXTENTS_MAX + 4 * SPAN_RANGES,
	RETRY_MS	= 1000,
};

struct range {
	uint32_t	 from, to;
};

struct span {
	TAILQ_ENTRY(span) link;
	uint64_t	 region, number;
	struct buffer	*buffer;	/* from the region's beginning */
	struct range	 ranges[SPAN_RANGES + 1];
	unsigned	 count;
	bool		 frozen;
	unsigned	 pending;	/* flushes not stored yet */
	struct flush_list flushes;
};

static const uint8_t zeros[CELL_SIZE];

void
data_region_subkey(uint64_t region, uint8_t subkey[8])
{
	struct cursor c = cursor_over(subkey, 8);

	cursor_put_u64(&c, region);
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

static size_t
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

static void
range_cut(struct span *s, uint32_t from, uint32_t to)
{
	struct range kept[SPAN_RANGES + 2];
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
}

static struct span *
span_find(struct object *o, uint64_t region, bool frozen)
{
	struct span *s;

	TAILQ_FOREACH(s, &o->spans, link)
		if (s->region == region && s->frozen == frozen)
			return s;
	return NULL;
}

/* Objects with spans, or held back, are on one list: flushing all of them is cheap to start. */
static void
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
}

static void
span_free(struct engine *e, struct object *o, struct span *s)
{
	struct flush_state *f;

	e->dirty_bytes -= span_bytes(s);
	TAILQ_REMOVE(&o->spans, s, link);
	while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
		TAILQ_REMOVE(&s->flushes, f, link);
		f->span = NULL;
		f->object = NULL;
		if (f->stored || f->failed)
			flush_free(e, f);	/* else when its action is done */
	}
	buffer_put(s->buffer);
	free(s);
	data_list(e, o);
}

static struct span *
span_open(struct engine *e, struct object *o, uint64_t region)
{
	struct span *s = span_find(o, region, false);

	if (s != NULL || (s = calloc(1, sizeof *s)) == NULL)
		return s;
	s->region = region;
	s->number = ++e->span_number;
	TAILQ_INIT(&s->flushes);
	TAILQ_INSERT_TAIL(&o->spans, s, link);
	data_list(e, o);
	return s;
}

/* Room up to `end`.  Readers may hold the old buffer, so it is never moved under them. */
static int
span_reserve(struct span *s, size_t end)
{
	size_t capacity = 4096;
	struct buffer *b;

	if (s->buffer != NULL && s->buffer->capacity >= end)
		return 0;
	while (capacity < end)
		capacity *= 2;
	if (capacity > 64 * 1024)
		capacity = REGION_SIZE;
	if ((b = buffer_new(capacity)) == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < s->count; i++)
		memcpy(b->data + s->ranges[i].from, s->buffer->data + s->ranges[i].from,
		    s->ranges[i].to - s->ranges[i].from);
	buffer_put(s->buffer);
	s->buffer = b;
	return 0;
}

static int
span_write(struct engine *e, struct span *s, uint32_t from, const uint8_t *data, size_t len)
{
	size_t before = span_bytes(s);
	int r = span_reserve(s, from + len);

	if (r < 0)
		return r;
	if (data != NULL)
		memcpy(s->buffer->data + from, data, len);
	else
		memset(s->buffer->data + from, 0, len);
	range_add(s, from, from + len);
	e->dirty_bytes += span_bytes(s) - before;
	return 0;
}

/* ---- segments: the layers of one region, painted ---- */

enum source { HOLE, MEMORY, BLOCK };

struct segment {
	uint32_t	 from, to;
	enum source	 source;
	const uint8_t	*memory;	/* of `from` */
	struct buffer	*buffer;
	const uint8_t	*id;
	uint32_t	 block_offset;	/* of `from` */
};

struct canvas {
	struct segment	 at[SEGMENTS_MAX];
	unsigned	 count;
};

static struct segment
segment_part(struct segment s, uint32_t from, uint32_t to)
{
	if (s.source == MEMORY)
		s.memory += from - s.from;
	s.block_offset += from - s.from;
	s.from = from;
	s.to = to;
	return s;
}

static void
paint(struct canvas *c, struct segment new)
{
	struct segment old[SEGMENTS_MAX];
	unsigned n = c->count;
	bool placed = false;

	if (n + 2 > SEGMENTS_MAX || n == 0)
		return;
	if (new.from < c->at[0].from)
		new = segment_part(new, c->at[0].from, new.to);
	if (new.to > c->at[n - 1].to)
		new = segment_part(new, new.from, c->at[n - 1].to);
	if (new.from >= new.to)
		return;
	memcpy(old, c->at, n * sizeof old[0]);
	c->count = 0;
	for (unsigned i = 0; i < n; i++) {
		if (old[i].from < new.from)
			c->at[c->count++] = segment_part(old[i], old[i].from, old[i].to < new.from ? old[i].to : new.from);
		if (!placed && old[i].to > new.from) {
			c->at[c->count++] = new;
			placed = true;
		}
		if (old[i].to > new.to)
			c->at[c->count++] = segment_part(old[i], old[i].from > new.to ? old[i].from : new.to, old[i].to);
	}
}

static void
paint_span(struct canvas *c, const struct span *s)
{
	for (unsigned i = 0; s != NULL && i < s->count; i++)
		paint(c, (struct segment){ .from = s->ranges[i].from, .to = s->ranges[i].to, .source = MEMORY,
		    .memory = s->buffer->data + s->ranges[i].from, .buffer = s->buffer });
}

static bool
is_inline(const struct object *o)
{
	return o->attr.flags & ATTR_INLINE;
}

/* What the records say of [from, to) of a region: 0, -EIO when they are damaged. */
static int
paint_base(struct canvas *c, struct object *o, uint64_t region)
{
	struct extent extents[EXTENTS_MAX];
	uint8_t subkey[8];
	struct bytes content;
	size_t count;
	struct rec *r;

	if (is_inline(o)) {
		r = object_rec(o, KIND_INLINE, NULL, 0);
		if (region > 0)
			return 0;
		if (r == NULL || r->damaged || r->absent || inline_decode(&content, (struct bytes){ r->value, r->value_len }) < 0)
			return -EIO;
		paint(c, (struct segment){ .from = 0, .to = content.len, .source = MEMORY, .memory = content.data });
		return 0;
	}
	data_region_subkey(region, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent)
		return 0;
	if (r->damaged || region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return -EIO;
	for (size_t i = 0; i < count; i++) {
		if (extents[i].ref >= r->brefs_count)
			return -EIO;
		paint(c, (struct segment){ .from = extents[i].offset, .to = extents[i].offset + extents[i].length,
		    .source = BLOCK, .id = r->brefs[extents[i].ref], .block_offset = extents[i].block_offset });
	}
	return 0;
}

static int
paint_region(struct canvas *c, struct object *o, uint64_t region, uint32_t from, uint32_t to)
{
	int r;

	c->count = 1;
	c->at[0] = (struct segment){ .from = from, .to = to, .source = HOLE };
	if ((r = paint_base(c, o, region)) < 0)
		return r;
	paint_span(c, span_find(o, region, true));
	paint_span(c, span_find(o, region, false));
	return 0;
}

/*
 * Walks the cells of a BLOCK segment.  Calls use() for each part that is here,
 * in order; asks for those that are not.  1: some are missing; else 0 or -EIO.
 */
static int
walk_cells(struct engine *e, const struct segment *s,
    int (*use)(void *context, const uint8_t *data, size_t len, struct buffer *b), void *context)
{
	uint32_t at = s->block_offset, end = at + (s->to - s->from);
	bool missing = false;
	int r = 0;

	for (unsigned i = at / CELL_SIZE; i <= (end - 1) / CELL_SIZE; i++) {
		struct cell *c = cell_find(e, s->id, i);

		if (c != NULL && c->error != 0) {
			cell_forget(e, c);
			return -EIO;
		}
		if (c == NULL)
			missing = true;
	}
	if (missing) {
		unsigned first = at / CELL_SIZE, last = (end - 1) / CELL_SIZE;

		cell_fetch(e, s->id, first, last - first + 1);
		return 1;
	}
	while (at < end && r == 0) {
		struct cell *c = cell_find(e, s->id, at / CELL_SIZE);
		uint32_t in = at % CELL_SIZE, n = CELL_SIZE - in;

		n = n < end - at ? n : end - at;
		if (c == NULL || in + n > c->len)
			return -EIO;	/* an extent beyond its block: a damaged record */
		r = use(context, c->data + in, n, c->buffer);
		at += n;
	}
	return r;
}

/* ---- reading ---- */

static int
add_piece(void *context, const uint8_t *data, size_t len, struct buffer *b)
{
	struct op *op = context;

	if (op->pieces_count == op->pieces_size) {
		size_t size = op->pieces_size == 0 ? 32 : op->pieces_size * 2;
		struct piece *more = arena_alloc(&op->arena, size * sizeof *more);

		if (more == NULL)
			return -ENOMEM;
		if (op->pieces_count > 0)
			memcpy(more, op->pieces, op->pieces_count * sizeof *more);
		op->pieces = more;
		op->pieces_size = size;
	}
	op->pieces[op->pieces_count++] = (struct piece){ data, len, b == NULL ? NULL : buffer_get(b) };
	return 0;
}

static void
drop_pieces(struct op *op)
{
	for (size_t i = 0; i < op->pieces_count; i++)
		buffer_put(op->pieces[i].buffer);
	op->pieces_count = 0;
}

static int
read_segment(struct engine *e, struct op *op, const struct segment *s)
{
	size_t left = s->to - s->from;
	struct buffer *copy;
	int r = 0;

	switch (s->source) {
	case HOLE:
		for (; left > 0 && r == 0; left -= left < CELL_SIZE ? left : CELL_SIZE)
			r = add_piece(op, zeros, left < CELL_SIZE ? left : CELL_SIZE, NULL);
		return r;
	case MEMORY:
		if (s->buffer != NULL)
			return add_piece(op, s->memory, left, s->buffer);
		/* A record's own memory may go at any time. */
		if ((copy = buffer_new(left)) == NULL)
			return -ENOMEM;
		memcpy(copy->data, s->memory, left);
		r = add_piece(op, copy->data, left, copy);
		buffer_put(copy);
		return r;
	case BLOCK:
		return walk_cells(e, s, add_piece, op);
	}
	return -EIO;
}

/* Starts fetching what a sequential reader will want next. */
static void
read_ahead(struct engine *e, struct object *o, uint64_t region)
{
	for (uint64_t next = region; next <= region + e->config.read_ahead; next++) {
		struct extent extents[EXTENTS_MAX];
		uint8_t subkey[8];
		size_t count;
		struct rec *r;

		data_region_subkey(next, subkey);
		r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
		if (r == NULL || r->absent || r->damaged ||
		    region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
			continue;
		for (size_t i = 0; i < count; i++)
			if (extents[i].ref < r->brefs_count && extents[i].length > 0)
				cell_fetch(e, r->brefs[extents[i].ref], extents[i].block_offset / CELL_SIZE,
				    (extents[i].block_offset + extents[i].length - 1) / CELL_SIZE -
				    extents[i].block_offset / CELL_SIZE + 1);
	}
}

int
data_read(struct engine *e, struct op *op, struct object *o, uint64_t offset, size_t size)
{
	struct canvas c;
	struct rec *rec;
	bool missing = false;
	uint64_t end;
	int r;

	if (offset >= o->attr.size || size == 0)
		return 0;
	end = size < o->attr.size - offset ? offset + size : o->attr.size;
	if (is_inline(o) && !need_record(e, op, o, KIND_INLINE, NULL, 0, &rec))
		return -EAGAIN;
	for (uint64_t region = offset / REGION_SIZE; region <= (end - 1) / REGION_SIZE; region++) {
		uint8_t subkey[8];

		data_region_subkey(region, subkey);
		if (!is_inline(o))
			need_record(e, op, o, KIND_REGION, subkey, sizeof subkey, &rec);
	}
	if (needs_missing(op))
		return -EAGAIN;
	for (uint64_t at = offset; at < end; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		uint64_t region = at / REGION_SIZE, base = region * REGION_SIZE;

		if ((r = paint_region(&c, o, region, at - base, end - base < REGION_SIZE ? end - base : REGION_SIZE)) < 0)
			goto fail;
		for (unsigned i = 0; i < c.count; i++) {
			if ((r = read_segment(e, op, &c.at[i])) < 0)
				goto fail;
			missing |= r > 0;
		}
	}
	if (e->config.read_ahead > 0 && end - offset >= 32 * 1024 && (o->next_read == offset || offset == 0))
		read_ahead(e, o, offset / REGION_SIZE);
	if (missing) {
		drop_pieces(op);
		return park(op, WAIT_FETCH, 0);
	}
	o->next_read = end;
	return 0;
fail:
	drop_pieces(op);
	return r;
}

/* ---- sizes ---- */

/* The size a commit may state follows what has arrived. */
static void
settle_size(struct engine *e, struct object *o)
{
	uint64_t lowest = o->attr.size, stable;
	const struct span *s;

	if (o->hold && data_dirty(o))
		return;
	if (o->hold) {
		o->hold = false;
		o->stable_size = 0;
		data_list(e, o);
		txn_touch(e, o);
	}
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

/* ---- extents ---- */

struct region_map {
	struct extent	 extents[EXTENTS_WORK];
	uint8_t		 ids[EXTENTS_WORK][ID_SIZE];	/* one an extent; made unique when stored */
	unsigned	 count;
};

static int
map_load(struct region_map *m, struct object *o, uint64_t region)
{
	uint8_t subkey[8];
	size_t count;
	struct rec *r;

	m->count = 0;
	data_region_subkey(region, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent)
		return 0;
	if (r->damaged || region_decode(m->extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return -EIO;
	for (size_t i = 0; i < count; i++) {
		if (m->extents[i].ref >= r->brefs_count)
			return -EIO;
		memcpy(m->ids[i], r->brefs[m->extents[i].ref], ID_SIZE);
	}
	m->count = count;
	return 0;
}

/* Removes [from, to); then, when id is given, puts an extent there. */
static void
map_set(struct region_map *m, uint32_t from, uint32_t to, const uint8_t *id, uint32_t block_offset)
{
	struct region_map old = *m;
	bool placed = id == NULL;

	m->count = 0;
	for (unsigned i = 0; i <= old.count; i++) {
		struct extent x = i < old.count ? old.extents[i] : (struct extent){ .offset = UINT32_MAX };
		uint32_t end = i < old.count ? x.offset + x.length : UINT32_MAX;

		if (i < old.count && x.offset < from) {
			m->extents[m->count] = x;
			if (end > from)
				m->extents[m->count].length = from - x.offset;
			memcpy(m->ids[m->count++], old.ids[i], ID_SIZE);
		}
		if (!placed && (i == old.count || end > from)) {
			m->extents[m->count] = (struct extent){ .offset = from, .length = to - from, .block_offset = block_offset };
			memcpy(m->ids[m->count++], id, ID_SIZE);
			placed = true;
		}
		if (i < old.count && end > to) {
			uint32_t start = x.offset > to ? x.offset : to;

			m->extents[m->count] = (struct extent){ .offset = start, .length = end - start,
			    .block_offset = x.block_offset + (start - x.offset) };
			memcpy(m->ids[m->count++], old.ids[i], ID_SIZE);
		}
	}
}

static int
map_store(struct engine *e, struct object *o, uint64_t region, struct region_map *m)
{
	uint8_t ids[EXTENTS_MAX][ID_SIZE], value[VALUE_MAX], subkey[8];
	unsigned refs = 0, k;
	ssize_t len;

	data_region_subkey(region, subkey);
	if (m->count == 0)
		return txn_delete(e, o, KIND_REGION, subkey, sizeof subkey);
	if (m->count > EXTENTS_MAX)
		return -EFBIG;
	for (unsigned i = 0; i < m->count; i++) {
		for (k = 0; k < refs && memcmp(ids[k], m->ids[i], ID_SIZE) != 0; k++)
			continue;
		if (k == refs)
			memcpy(ids[refs++], m->ids[i], ID_SIZE);
		m->extents[i].ref = k;
	}
	if ((len = region_encode(m->extents, m->count, value, sizeof value)) < 0)
		return len;
	return txn_put(e, o, KIND_REGION, subkey, sizeof subkey, (struct bytes){ value, len }, 0,
	    (const uint8_t (*)[ID_SIZE])ids, refs);
}

/* ---- flushing ---- */

void
flush_free(struct engine *e, struct flush_state *f)
{
	TAILQ_REMOVE(&e->flushes, f, all_link);
	buffer_put(f->flush.buffer);
	buffer_put(f->flush.sealed);
	free(f);
}

static void
store(struct engine *e, struct flush_state *f)
{
	struct action *a = action_add(e, ACTION_STORE);

	f->failed = a == NULL;
	if (a == NULL)
		return;
	a->flush = &f->flush;
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
		f->flush.carried = f->flush.len <= CARRIED_BLOCK_MAX;
		f->flush.state = f;
		f->object = o;
		f->span = s;
		f->region = s->region;
		TAILQ_INSERT_TAIL(&s->flushes, f, link);
		TAILQ_INSERT_TAIL(&e->flushes, f, all_link);
	}
	s->frozen = true;
	s->pending = s->count;
	for (struct flush_state *f = TAILQ_FIRST(&s->flushes); f != NULL; f = TAILQ_NEXT(f, link))
		store(e, f);
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
 * Makes the span hold all of its region, so that it becomes one block.
 * 0, 1 (cells are being fetched), or a negative errno.
 */
static int
fill_span(struct engine *e, struct object *o, struct span *s)
{
	uint64_t base = s->region * REGION_SIZE;
	uint32_t limit = o->attr.size - base < REGION_SIZE ? o->attr.size - base : REGION_SIZE;
	struct canvas c;
	bool missing = false;
	size_t before;
	int r;

	if (limit == 0)
		return 0;
	if ((r = paint_region(&c, o, s->region, 0, limit)) < 0 || (r = span_reserve(s, limit)) < 0)
		return r;
	/* Reserving may have moved the buffer: paint again. */
	if ((r = paint_region(&c, o, s->region, 0, limit)) < 0)
		return r;
	for (unsigned i = 0; i < c.count; i++) {
		struct filler f = { .engine = e, .span = s, .at = c.at[i].from };

		if (c.at[i].source == HOLE)
			memset(s->buffer->data + f.at, 0, c.at[i].to - f.at);
		else if (c.at[i].source == MEMORY && c.at[i].buffer != s->buffer)
			memcpy(s->buffer->data + f.at, c.at[i].memory, c.at[i].to - f.at);
		else if (c.at[i].source == BLOCK) {
			if ((r = walk_cells(e, &c.at[i], fill_part, &f)) < 0)
				return r;
			missing |= r > 0;
		}
	}
	if (missing)
		return 1;
	before = span_bytes(s);
	range_add(s, 0, limit);
	e->dirty_bytes += span_bytes(s) - before;
	return 0;
}

static bool
has_regions(struct object *o)
{
	uint8_t zero[8] = { 0 };
	struct rec *r = object_rec_from(o, KIND_REGION, zero, sizeof zero);

	for (; r != NULL && r->kind == KIND_REGION; r = object_rec_after(o, r))
		if (!r->absent)
			return true;
	return false;
}

/* A small file whose content fits its record needs no block. */
static bool
fits_inline(struct object *o)
{
	return o->attr.size <= INLINE_MAX && o->regions.all && !has_regions(o) && span_find(o, 0, true) == NULL;
}

static int
flush_inline(struct engine *e, struct object *o, struct span *s)
{
	uint8_t value[VALUE_MAX];
	ssize_t len;
	int r;

	if ((r = fill_span(e, o, s)) != 0)
		return r;
	len = inline_encode((struct bytes){ s->buffer->data, o->attr.size }, value, sizeof value);
	if (len < 0)
		return len;
	if ((r = txn_put(e, o, KIND_INLINE, NULL, 0, (struct bytes){ value, len }, 0, NULL, 0)) < 0)
		return r;
	o->attr.flags |= ATTR_INLINE;
	span_free(e, o, s);
	return 0;
}

static bool
too_many_extents(struct object *o, const struct span *s)
{
	uint8_t subkey[8];
	struct rec *r;
	struct extent extents[EXTENTS_MAX];
	size_t count = 0;

	data_region_subkey(s->region, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent || (s->count == 1 && s->ranges[0].from == 0 && s->ranges[0].to == REGION_SIZE))
		return false;
	if (region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return false;
	return count + 2 * s->count > EXTENTS_MAX;
}

/* Freezes one open span: 0, 1 (later), or a negative errno. */
static int
flush_span(struct engine *e, struct object *o, struct span *s)
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
	if ((s->region == 0 && is_inline(o)) || too_many_extents(o, s))
		if ((r = fill_span(e, o, s)) != 0)
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

static void
flush_object(struct engine *e, struct object *o)
{
	struct span *s, *next;
	bool later = false;
	int r;

	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->frozen)
			continue;
		if ((r = flush_span(e, o, s)) == 1 || r == -ENOMEM)
			later = true;
		else if (r < 0)
			span_lost(e, o, s, r);
	}
	settle_size(e, o);
	if (!later && o->on_flush_list) {
		TAILQ_REMOVE(&e->flushing, o, flush_link);
		o->on_flush_list = false;
	}
	wake(e, WAIT_FLUSH, o->oid);
}

void
data_flush(struct engine *e, struct object *o)
{
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
	struct flush_state *f;

	for (o = TAILQ_FIRST(&e->flushing); o != NULL; o = next) {
		next = TAILQ_NEXT(o, flush_link);
		flush_object(e, o);
	}
	if (e->error == 0 || e->now_ms >= e->retry_at)
		TAILQ_FOREACH(f, &e->flushes, all_link)
			if (f->failed)
				store(e, f);
}

static void
span_apply(struct engine *e, struct object *o, struct span *s)
{
	struct region_map m;
	struct flush_state *f;
	int r = map_load(&m, o, s->region);

	TAILQ_FOREACH(f, &s->flushes, link)
		for (unsigned i = 0; i < s->count; i++) {
			uint32_t from = s->ranges[i].from > f->offset ? s->ranges[i].from : f->offset;
			uint32_t to = s->ranges[i].to < f->offset + f->flush.len ? s->ranges[i].to : f->offset + f->flush.len;

			if (from < to && m.count + 2 < EXTENTS_WORK)
				map_set(&m, from, to, f->flush.id, from - f->offset);
		}
	if (r == 0)
		r = map_store(e, o, s->region, &m);
	if (r < 0) {
		span_lost(e, o, s, r);
		return;
	}
	if (s->region == 0 && is_inline(o)) {
		txn_delete(e, o, KIND_INLINE, NULL, 0);
		o->attr.flags &= ~(uint32_t)ATTR_INLINE;
	}
	e->dirty_bytes -= span_bytes(s);
	s->count = 0;
	while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
		TAILQ_REMOVE(&s->flushes, f, link);
		f->span = NULL;
		f->object = NULL;
		for (uint32_t at = 0; at < f->flush.len; at += CELL_SIZE)
			cell_add(e, f->flush.id, at / CELL_SIZE, f->flush.buffer, f->flush.buffer->data + f->flush.start + at,
			    f->flush.len - at < CELL_SIZE ? f->flush.len - at : CELL_SIZE, 0);
		e->dirty_bytes += f->flush.len;
		txn_keep(e, f);
	}
	span_free(e, o, s);
	settle_size(e, o);
}

void
data_stored(struct engine *e, struct flush_state *f, int error)
{
	struct object *o = f->object;
	struct span *s = f->span;

	e->storing--;
	f->failed = error != 0;
	f->stored = error == 0;
	if (s == NULL && !f->kept) {
		flush_free(e, f);	/* its bytes were cut away meanwhile */
		return;
	}
	if (error != 0) {
		e->error = error == -ENOSPC ? -ENOSPC : -EIO;
		e->retry_at = e->now_ms + RETRY_MS;
		wake(e, WAIT_FLUSH, 0);
		wake(e, WAIT_COMMIT, UINT64_MAX);
		wake(e, WAIT_ROOM, 0);
		return;
	}
	if (s == NULL) {
		txn_resupplied(e);
		return;
	}
	if (--s->pending > 0)
		return;
	span_apply(e, o, s);
	if (o->on_flush_list)
		flush_object(e, o);
	wake(e, WAIT_FLUSH, o->oid);
	if (o->recall != RECALL_NONE)
		lease_step(e, o);
}

void
data_drop(struct engine *e, struct object *o)
{
	while (!TAILQ_EMPTY(&o->spans))
		span_free(e, o, TAILQ_FIRST(&o->spans));
	o->hold = false;
	data_list(e, o);
	if (o->on_flush_list) {
		TAILQ_REMOVE(&e->flushing, o, flush_link);
		o->on_flush_list = false;
	}
	wake(e, WAIT_FLUSH, o->oid);
	wake(e, WAIT_ROOM, 0);
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

/* ---- writing ---- */

int
data_write(struct engine *e, struct op *op, struct object *o, uint64_t offset, struct bytes data)
{
	uint64_t end = offset + data.len;
	struct rec *rec;
	int r = 0;

	if (end > INT64_MAX || end < offset)
		return -EFBIG;
	if (e->error == -ENOSPC)
		return -ENOSPC;
	if (e->dirty_bytes > e->config.dirty_max) {
		data_flush_all(e);
		e->freeze_wanted = true;
		return park(op, WAIT_ROOM, 0);
	}
	if (is_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	for (uint64_t region = offset / REGION_SIZE; data.len > 0 && region <= (end - 1) / REGION_SIZE; region++) {
		uint8_t subkey[8];

		data_region_subkey(region, subkey);
		need_record(e, op, o, KIND_REGION, subkey, sizeof subkey, &rec);
	}
	if (needs_missing(op))
		return -EAGAIN;
	for (uint64_t at = offset; at < end; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		struct span *s = span_find(o, at / REGION_SIZE, false);

		if (s != NULL && s->count >= SPAN_RANGES - 1) {
			data_flush(e, o);
			if ((s = span_find(o, at / REGION_SIZE, false)) != NULL && s->count >= SPAN_RANGES - 1)
				return park(op, WAIT_FLUSH, o->oid);
		}
	}
	if (end > INLINE_MAX && is_inline(o) && span_open(e, o, 0) == NULL)
		return -ENOMEM;
	for (uint64_t at = offset; at < end && r == 0;) {
		uint64_t region = at / REGION_SIZE;
		uint32_t in = at % REGION_SIZE;
		size_t n = end - at < REGION_SIZE - in ? end - at : REGION_SIZE - in;
		struct span *s = span_open(e, o, region);

		if (s == NULL)
			return -ENOMEM;
		r = span_write(e, s, in, data.data + (at - offset), n);
		at += n;
		if (r == 0 && at > o->attr.size)
			o->attr.size = at;
		/* A full region has no reason to wait. */
		if (r == 0 && s->count == 1 && s->ranges[0].from == 0 && s->ranges[0].to == REGION_SIZE)
			flush_span(e, o, s);
	}
	/* An inline file outgrew its record: its content moves to region 0. */
	if (is_inline(o) && o->attr.size > INLINE_MAX) {
		struct span *s = span_find(o, 0, false);

		if (s != NULL && span_find(o, 0, true) == NULL)
			fill_span(e, o, s);
	}
	txn_touch_attr(e, o);
	return r;
}

/* Takes [from, to) of a region away from every layer. */
static int
cut(struct engine *e, struct object *o, uint64_t region, uint32_t from, uint32_t to)
{
	struct region_map m;
	struct span *s, *next;
	int r;

	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		size_t before = span_bytes(s);

		next = TAILQ_NEXT(s, link);
		if (s->region != region)
			continue;
		range_cut(s, from, to);
		e->dirty_bytes -= before - span_bytes(s);
		if (s->count == 0)
			span_free(e, o, s);
	}
	if (is_inline(o))
		return 0;
	if ((r = map_load(&m, o, region)) < 0 || m.count == 0)
		return r;
	map_set(&m, from, to, NULL, 0);
	return map_store(e, o, region, &m);
}

static void
drop_regions_from(struct engine *e, struct object *o, uint64_t region)
{
	struct span *s, *next;
	uint8_t subkey[8];
	struct rec *r, *after;
	bool stored = false;

	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->region >= region)
			span_free(e, o, s);
	}
	data_region_subkey(region, subkey);
	for (r = object_rec_from(o, KIND_REGION, subkey, sizeof subkey); r != NULL && r->kind == KIND_REGION; r = after) {
		after = object_rec_after(o, r);
		stored |= r->stored;
		object_rec_remove(o, r);
	}
	if (!stored && !o->wipe)
		return;
	o->wipe_from = o->wipe && o->wipe_from < region ? o->wipe_from : region;
	o->wipe = true;
	txn_touch(e, o);
}

int
data_truncate(struct engine *e, struct op *op, struct object *o, uint64_t size)
{
	uint8_t value[VALUE_MAX];
	struct bytes content;
	struct rec *rec = NULL;
	ssize_t len;
	int r;

	if (size > INT64_MAX)
		return -EFBIG;
	if (size > o->attr.size && e->error == -ENOSPC)
		return -ENOSPC;
	if (is_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION, NULL);
	if (needs_missing(op))
		return -EAGAIN;
	if (size == 0 && o->stable_size > 0 && !o->hold) {
		o->hold = true;		/* the old size and content stay stable until the new has arrived */
		data_list(e, o);
		txn_touch(e, o);
	}
	if (size < o->attr.size) {
		drop_regions_from(e, o, (size + REGION_SIZE - 1) / REGION_SIZE);
		if (size % REGION_SIZE != 0 &&
		    (r = cut(e, o, size / REGION_SIZE, size % REGION_SIZE, REGION_SIZE)) < 0)
			return r;
		if (is_inline(o) && size == 0) {
			txn_delete(e, o, KIND_INLINE, NULL, 0);
			o->attr.flags &= ~(uint32_t)ATTR_INLINE;
		} else if (is_inline(o) && rec != NULL) {
			if (rec->damaged || inline_decode(&content, (struct bytes){ rec->value, rec->value_len }) < 0)
				return -EIO;
			if (content.len > size) {
				len = inline_encode((struct bytes){ content.data, size }, value, sizeof value);
				if (len < 0 || (r = txn_put(e, o, KIND_INLINE, NULL, 0,
				    (struct bytes){ value, len }, 0, NULL, 0)) < 0)
					return len < 0 ? len : r;
			}
		}
	} else if (size > INLINE_MAX && is_inline(o) && span_find(o, 0, false) == NULL &&
	    span_find(o, 0, true) == NULL) {
		struct span *s = span_open(e, o, 0);

		if (s == NULL || (r = fill_span(e, o, s)) < 0)
			return -ENOMEM;
	}
	o->attr.size = size;
	if (!o->hold && o->stable_size > size)
		o->stable_size = size;
	if (!o->hold)
		settle_size(e, o);
	txn_touch_attr(e, o);
	wake(e, WAIT_FLUSH, o->oid);
	return 0;
}

int
data_punch(struct engine *e, struct op *op, struct object *o, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len < o->attr.size ? offset + len : o->attr.size;
	struct span *s;
	struct rec *rec;
	int r = 0;

	if (is_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION, NULL);
	if (needs_missing(op))
		return -EAGAIN;
	if (is_inline(o)) {
		/* Small: write zeros. */
		struct bytes z = { zeros, end > offset ? end - offset : 0 };

		return z.len == 0 ? 0 : data_write(e, op, o, offset, z);
	}
	TAILQ_FOREACH(s, &o->spans, link)
		if (s->count >= SPAN_RANGES - 1) {
			data_flush(e, o);
			return park(op, WAIT_FLUSH, o->oid);
		}
	for (uint64_t at = offset; at < end && r == 0; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		uint64_t base = at / REGION_SIZE * REGION_SIZE;

		r = cut(e, o, at / REGION_SIZE, at - base, end - base < REGION_SIZE ? end - base : REGION_SIZE);
	}
	settle_size(e, o);
	txn_touch_attr(e, o);
	return r;
}

int
data_seek(struct engine *e, struct op *op, struct object *o, uint64_t offset, int whence)
{
	struct canvas c;
	struct rec *rec;
	int r;

	if (offset >= o->attr.size)
		return -ENXIO;
	if (is_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION, NULL);
	if (needs_missing(op))
		return -EAGAIN;
	for (uint64_t at = offset; at < o->attr.size; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		uint64_t base = at / REGION_SIZE * REGION_SIZE;
		uint32_t to = o->attr.size - base < REGION_SIZE ? o->attr.size - base : REGION_SIZE;

		if ((r = paint_region(&c, o, at / REGION_SIZE, at - base, to)) < 0)
			return r;
		for (unsigned i = 0; i < c.count; i++)
			if ((c.at[i].source == HOLE) == (whence == SEEK_HOLE)) {
				op->written = base + c.at[i].from;
				return 0;
			}
	}
	if (whence == SEEK_DATA)
		return -ENXIO;
	op->written = o->attr.size;
	return 0;
}
