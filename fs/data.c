/*
 * data.c - the content of files: reading, writing, truncating.
 *
 * Invariant: truncating to nothing is held back until what is written next
 * has arrived, so no crash leaves an empty file where there was a full one.
 */
#include "fs/content.h"

static const uint8_t zeros[CELL_SIZE];

void
data_region_subkey(uint64_t region, uint8_t subkey[8])
{
	struct cursor c = cursor_over(subkey, 8);

	cursor_put_u64(&c, region);
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

	if (s->source == BLOCK)
		return layer_walk(e, s, add_piece, op);
	if (s->source == HOLE) {
		for (; left > 0 && r == 0; left -= left < CELL_SIZE ? left : CELL_SIZE)
			r = add_piece(op, zeros, left < CELL_SIZE ? left : CELL_SIZE, NULL);
		return r;
	}
	if (s->buffer != NULL)
		return add_piece(op, s->memory, left, s->buffer);
	/* A record's own memory may go at any time. */
	if ((copy = buffer_new(left)) == NULL)
		return -ENOMEM;
	memcpy(copy->data, s->memory, left);
	r = add_piece(op, copy->data, left, copy);
	buffer_put(copy);
	return r;
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
			if (extents[i].ref < r->brefs_count)
				cell_fetch(e, r->brefs[extents[i].ref], extents[i].block_offset / CELL_SIZE,
				    (extents[i].block_offset + extents[i].length - 1) / CELL_SIZE -
				    extents[i].block_offset / CELL_SIZE + 1, true);
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
	if (content_inline(o) && !need_record(e, op, o, KIND_INLINE, NULL, 0, &rec))
		return -EAGAIN;
	for (uint64_t region = offset / REGION_SIZE; region <= (end - 1) / REGION_SIZE; region++) {
		uint8_t subkey[8];

		data_region_subkey(region, subkey);
		if (!content_inline(o))
			need_record(e, op, o, KIND_REGION, subkey, sizeof subkey, &rec);
	}
	if (needs_missing(op))
		return -EAGAIN;
	for (uint64_t at = offset; at < end; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		uint64_t region = at / REGION_SIZE, base = region * REGION_SIZE;

		if ((r = layer_paint(&c, o, region, at - base, end - base < REGION_SIZE ? end - base : REGION_SIZE)) < 0)
			goto fail;
		for (unsigned i = 0; i < c.count; i++) {
			if ((r = read_segment(e, op, &c.at[i])) < 0)
				goto fail;
			missing |= r > 0;
		}
	}
	if (end - offset >= 32 * 1024 && (o->next_read == offset || offset == 0))
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

/* ---- writing ---- */

static void
drop_records_from(struct engine *e, struct object *o, uint64_t region)
{
	uint8_t subkey[8];
	struct rec *r, *after;
	bool stored = false;

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

static void
drop_regions_from(struct engine *e, struct object *o, uint64_t region)
{
	struct span *s, *next;

	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->region >= region)
			span_free(e, o, s);
	}
	drop_records_from(e, o, region);
}

/*
 * Content may arrive before the size that shows it, and whoever wrote it may
 * have died then.  Before a file grows, what stands behind its end is removed,
 * or it would come to light there instead of zeros.
 */
static int
tidy_tail(struct engine *e, struct object *o)
{
	uint64_t region = o->attr.size / REGION_SIZE;
	uint32_t in = o->attr.size % REGION_SIZE;
	struct region_map m;
	int r;

	if (o->tail_tidy)
		return 0;
	if (content_inline(o))
		drop_records_from(e, o, 0);
	else {
		drop_records_from(e, o, in == 0 ? region : region + 1);
		if (in != 0) {
			if ((r = extent_load(&m, o, region)) < 0)
				return r;
			if (m.count > 0 && m.extents[m.count - 1].offset + m.extents[m.count - 1].length > in) {
				extent_set(&m, in, REGION_SIZE, NULL, 0);
				if ((r = extent_store(e, o, region, &m)) < 0)
					return r;
			}
		}
	}
	o->tail_tidy = true;
	return 0;
}

/* What writing these bytes adds to what is to be brought to the server. */
static size_t
write_cost(struct object *o, uint64_t offset, uint64_t end)
{
	size_t cost = ATTR_BYTES;

	for (uint64_t at = offset, next; at < end; at = next) {
		const struct span *s = span_find(o, at / REGION_SIZE, false);
		size_t now;

		next = (at / REGION_SIZE + 1) * REGION_SIZE;
		now = span_cost(o, s, at / REGION_SIZE, (next < end ? next : end) - at, 1);
		cost += now - (s != NULL && s->cost < now ? s->cost : 0);
	}
	return cost + (content_inline(o) ? RECORD_BYTES + credit_block(INLINE_MAX) : 0);
}

int
data_write(struct engine *e, struct op *op, struct object *o, uint64_t offset, struct bytes data)
{
	uint64_t end = offset + data.len;
	struct rec *rec;
	int r = 0;

	if (end > INT64_MAX || end < offset)
		return -EFBIG;
	if ((r = credit_room(e, op, write_cost(o, offset, end))) < 0)
		return r;
	if (e->dirty_bytes > e->config.dirty_max) {
		data_flush_all(e);
		e->freeze_wanted = true;
		return park(op, WAIT_ROOM, 0);
	}
	if (content_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	for (uint64_t region = offset / REGION_SIZE; data.len > 0 && region <= (end - 1) / REGION_SIZE; region++) {
		uint8_t subkey[8];

		data_region_subkey(region, subkey);
		need_record(e, op, o, KIND_REGION, subkey, sizeof subkey, &rec);
	}
	if (end > o->attr.size && !o->tail_tidy)
		need_cover(e, op, o, KIND_REGION);
	if (needs_missing(op))
		return -EAGAIN;
	if (end > o->attr.size && (r = tidy_tail(e, o)) < 0)
		return r;
	for (uint64_t at = offset; at < end; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		struct span *s = span_find(o, at / REGION_SIZE, false);

		if (s != NULL && s->count >= SPAN_RANGES - 1) {
			data_flush(e, o);
			if ((s = span_find(o, at / REGION_SIZE, false)) != NULL && s->count >= SPAN_RANGES - 1)
				return park(op, WAIT_FLUSH, o->oid);
		}
	}
	if (end > INLINE_MAX && content_inline(o) && span_open(e, o, 0) == NULL)
		return -ENOMEM;
	for (uint64_t at = offset; at < end && r == 0;) {
		uint64_t region = at / REGION_SIZE;
		uint32_t in = at % REGION_SIZE;
		size_t n = end - at < REGION_SIZE - in ? end - at : REGION_SIZE - in;
		struct span *s = span_open(e, o, region);

		r = s == NULL ? -ENOMEM : span_write(e, o, s, in, data.data + (at - offset), n);
		at += n;
		if (r == 0 && at > o->attr.size)
			o->attr.size = at;
		/* A full region has no reason to wait. */
		if (r == 0 && s->count == 1 && s->ranges[0].from == 0 && s->ranges[0].to == REGION_SIZE)
			span_flush(e, o, s);
	}
	/* An inline file outgrew its record: its content moves to region 0. */
	if (content_inline(o) && o->attr.size > INLINE_MAX) {
		struct span *s = span_find(o, 0, false);

		if (s != NULL && span_find(o, 0, true) == NULL)
			span_fill(e, o, s, INLINE_MAX);
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

	/* First what may fail: then nothing has changed. */
	if (!content_inline(o) || region != 0) {
		if ((r = extent_load(&m, o, region)) < 0)
			return r;
		if (m.count > 0) {
			extent_set(&m, from, to, NULL, 0);
			if ((r = extent_store(e, o, region, &m)) < 0)
				return r;
		}
	}
	for (s = TAILQ_FIRST(&o->spans); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->region == region)
			span_cut(e, o, s, from, to);
	}
	return 0;
}

/* Nothing of the content is newer than the last commit. */
static bool
is_committed(const struct object *o)
{
	const struct rec *r;

	TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
		if (r->kind == KIND_REGION || r->kind == KIND_INLINE)
			return false;
	return !o->wipe && !data_dirty(o) && o->attr.size == o->stated_size && o->stable_size == o->stated_size;
}

/*
 * A SYNC, or an FSYNC of the file, waits for a commit to come with content that
 * the last one has not: to keep that one's would break its word, as an empty
 * file does not.
 */
static bool
is_promised(const struct engine *e, const struct object *o)
{
	if (is_committed(o))
		return false;
	return o->sync_sequence > e->sequence || e->sync_sequence > e->sequence;
}

/* If a commit to come renames it over another, the content it had then is gone: that goes with what is written now (R4). */
void
data_reorder(struct engine *e, struct object *o)
{
	if (o->over > e->sequence)
		txn_order(e, o);
}

int
content_put_inline(struct engine *e, struct object *o, struct bytes content)
{
	uint8_t value[VALUE_MAX];
	ssize_t len = inline_encode(content, value, sizeof value);

	if (len < 0)
		return len;	/* it cannot be: a file with such content is not larger than INLINE_MAX */
	return txn_put(e, o, KIND_INLINE, NULL, 0, (struct bytes){ value, len }, 0, NULL, 0);
}

int
data_truncate(struct engine *e, struct op *op, struct object *o, uint64_t size)
{
	struct bytes content;
	struct rec *rec = NULL;
	struct span *span;
	int r;

	if (size > INT64_MAX)
		return -EFBIG;
	if (size > o->attr.size && (r = credit_room(e, op, ATTR_BYTES + 2 * RECORD_BYTES + credit_block(INLINE_MAX))) < 0)
		return r;
	if (content_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION);
	if (needs_missing(op))
		return -EAGAIN;
	if (size > o->attr.size && (r = tidy_tail(e, o)) < 0)
		return r;
	/* The old size and content stay stable until the new has arrived: those of a commit, for others are dropped here. */
	if (size == 0 && o->stated_size > 0 && !o->hold && !is_promised(e, o)) {
		o->hold = true;
		o->hold_number = ++e->span_number;
		o->hold_clean = is_committed(o);
		o->stable_size = o->stated_size;
		o->stable_flags = o->stated_flags;
		data_list(e, o);
		txn_touch(e, o);
	}
	o->hold_ms = e->now_ms;
	if (size == 0)
		data_reorder(e, o);
	if (size < o->attr.size) {
		if (content_inline(o) && size == 0) {
			txn_delete(e, o, KIND_INLINE, NULL, 0);
			o->attr.flags &= ~(uint32_t)ATTR_INLINE;
		} else if (content_inline(o) && rec != NULL) {
			if (rec->damaged || inline_decode(&content, (struct bytes){ rec->value, rec->value_len }) < 0)
				return -EIO;
			if (content.len > size &&
			    (r = content_put_inline(e, o, (struct bytes){ content.data, size })) < 0)
				return r;
		}
		if (size % REGION_SIZE != 0 &&
		    (r = cut(e, o, size / REGION_SIZE, size % REGION_SIZE, REGION_SIZE)) < 0)
			return r;
		o->tail_tidy = true;
		drop_regions_from(e, o, (size + REGION_SIZE - 1) / REGION_SIZE);
	} else if (size > INLINE_MAX && content_inline(o) && span_find(o, 0, false) == NULL &&
	    span_find(o, 0, true) == NULL) {
		struct span *s = span_open(e, o, 0);

		if (s == NULL)
			return -ENOMEM;
		if ((r = span_fill(e, o, s, INLINE_MAX)) < 0) {
			span_free(e, o, s);
			return r;
		}
	}
	o->attr.size = size;
	if (!o->hold && o->stable_size > size)
		o->stable_size = size;
	TAILQ_FOREACH(span, &o->spans, link) {
		span->size = span->size < size ? span->size : size;
		span->opened = span->opened < size ? span->opened : size;
		span_recount(e, o, span);
	}
	if (!o->hold)
		settle_size(e, o);
	txn_touch_attr(e, o);
	return 0;
}

/* Takes away [from, to) of the content, which lies in one region. */
static int
punch_region(struct engine *e, struct op *op, struct object *o, uint64_t from, uint64_t to)
{
	uint64_t base = from / REGION_SIZE * REGION_SIZE;
	int r = cut(e, o, from / REGION_SIZE, from - base, to - base);

	if (r != -EFBIG)
		return r;
	/* It is in too many pieces for one more hole: zeros in its place, which also make it whole again. */
	for (r = 0; from < to && r == 0;) {
		size_t n = to - from < sizeof zeros ? to - from : sizeof zeros;

		r = data_write(e, op, o, from, (struct bytes){ zeros, n });
		from += n;
	}
	return r;
}

/* Of one that was truncated the removal of the old content goes, so what is stated of it must not stay the old. */
void
data_moot(struct engine *e, struct object *o)
{
	bool held = o->hold;

	data_drop(e, o);
	if (!held)
		return;
	o->stable_size = 0;
	o->stable_flags = o->attr.flags;
	txn_touch_attr(e, o);
}

int
data_punch(struct engine *e, struct op *op, struct object *o, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len < o->attr.size ? offset + len : o->attr.size;
	struct span *s;
	struct rec *rec = NULL;
	int r = 0;

	if (content_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION);
	if (needs_missing(op))
		return -EAGAIN;
	if (content_inline(o) && rec != NULL) {
		struct bytes content;
		uint64_t shown;

		if (rec->damaged || inline_decode(&content, (struct bytes){ rec->value, rec->value_len }) < 0)
			return -EIO;
		/* What the record holds is covered by zeros; behind it there are only spans. */
		shown = content.len < end ? content.len : end;
		if (offset < shown) {
			if ((r = data_write(e, op, o, offset, (struct bytes){ zeros, shown - offset })) < 0)
				return r;
			offset = shown;
		}
	}
	TAILQ_FOREACH(s, &o->spans, link)
		if (s->count >= SPAN_RANGES - 1) {
			data_flush(e, o);
			return park(op, WAIT_FLUSH, o->oid);
		}
	for (uint64_t at = offset, next; at < end && r == 0; at = next) {
		next = (at / REGION_SIZE + 1) * REGION_SIZE;
		r = punch_region(e, op, o, at, next < end ? next : end);
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
	if (content_inline(o))
		need_record(e, op, o, KIND_INLINE, NULL, 0, &rec);
	need_cover(e, op, o, KIND_REGION);
	if (needs_missing(op))
		return -EAGAIN;
	for (uint64_t at = offset; at < o->attr.size; at = (at / REGION_SIZE + 1) * REGION_SIZE) {
		uint64_t base = at / REGION_SIZE * REGION_SIZE;
		uint32_t to = o->attr.size - base < REGION_SIZE ? o->attr.size - base : REGION_SIZE;

		if ((r = layer_paint(&c, o, at / REGION_SIZE, at - base, to)) < 0)
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

bool
data_need_all(struct engine *e, struct op *op, struct object *o)
{
	struct rec *rec;

	return content_inline(o) ? need_record(e, op, o, KIND_INLINE, NULL, 0, &rec) :
	    need_cover(e, op, o, KIND_REGION);
}
