/*
 * layer.c - what a region is made of: its layers, painted bottom up over a
 * list of segments that always covers the range asked for.
 */
#include "fs/content.h"

#include <assert.h>

/* Each that is painted over others makes two more of them at most: a record's, and those of a span on its way and of one that grows. */
static_assert(1 + 2 * (EXTENTS_MAX + 2 * (SPAN_RANGES + 1)) <= SEGMENTS_MAX, "a region is painted with all its layers");

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

	assert(n > 0 && n + 2 <= SEGMENTS_MAX);
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

/* What the records say of [from, to) of a region: 0, -EIO when they are damaged. */
static int
paint_base(struct canvas *c, struct object *o, uint64_t region)
{
	struct extent extents[EXTENTS_MAX];
	uint8_t subkey[8];
	struct bytes content;
	size_t count;
	struct rec *r;

	/* Of a file that outgrew its record, other regions may arrive before this one. */
	if (content_inline(o) && region == 0) {
		r = object_rec(o, KIND_INLINE, NULL, 0);
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

int
layer_paint(struct canvas *c, struct object *o, uint64_t region, uint32_t from, uint32_t to)
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
 * in order; asks for those that are not.  1: some are missing; else 0, -EIO, -ENOMEM or -EHOSTDOWN.
 */
int
layer_walk(struct engine *e, const struct segment *s,
    int (*use)(void *context, const uint8_t *data, size_t len, struct buffer *b), void *context)
{
	uint32_t at = s->block_offset, end = at + (s->to - s->from);
	bool missing = false;
	int r = 0;

	for (unsigned i = at / CELL_SIZE; i <= (end - 1) / CELL_SIZE; i++) {
		struct cell *c = cell_find(e, s->id, i);

		if (c != NULL && c->error != 0) {
			bool down = c->error == -EHOSTDOWN;
			int error = down || c->error == -ENOMEM ? c->error : -EIO;

			cell_forget(e, c);
			if (down && !e->offline)
				c = NULL;	/* the server is back */
			else
				r = error;
		}
		if (c == NULL)
			missing = true;
	}
	if (r < 0)
		return r;
	if (missing) {
		unsigned first = at / CELL_SIZE, last = (end - 1) / CELL_SIZE;

		return cell_fetch(e, s->id, first, last - first + 1, false) ? 1 : -ENOMEM;
	}
	while (at < end && r == 0) {
		struct cell *c = cell_find(e, s->id, at / CELL_SIZE);
		uint32_t in = at % CELL_SIZE, n = CELL_SIZE - in;

		n = n < end - at ? n : end - at;
		assert(c != NULL);
		if (in + n > c->len)
			return -EIO;	/* an extent beyond its block: a damaged record */
		r = use(context, c->data + in, n, c->buffer);
		at += n;
	}
	return r;
}
