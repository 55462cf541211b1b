/*
 * span_cost.c - what dirty bytes cost when they come to the server (credit.c).
 *
 * At most, and counted when they are written: what is done with them later -
 * frozen, cut, made a part of a whole region, put inline - costs no more.
 */
#include "fs/content.h"

size_t
span_cost(struct object *o, const struct span *s, uint64_t region, size_t bytes, unsigned ranges)
{
	const struct span *frozen = span_find(o, region, true);
	size_t cost;

	bytes += s == NULL ? 0 : span_bytes(s);
	ranges += s == NULL ? 0 : s->count;
	if (ranges == 0)
		return 0;
	/* A region that gets too many extents is brought whole, and no later change makes more of them than counted here. */
	if ((s == NULL || !s->frozen) && bytes < REGION_SIZE &&
	    extent_count(o, region) + 2 * (ranges + (frozen != NULL ? frozen->count : 0)) > EXTENTS_MAX)
		bytes = REGION_SIZE;
	cost = RECORD_BYTES + credit_block(bytes) + ranges * (credit_block(0) + 2 * 16 + ID_SIZE);
	/* It comes inline, or out of the record into a block. */
	if (region == 0 && (content_inline(o) || o->attr.size <= INLINE_MAX))
		cost += INLINE_MAX;
	return cost;
}

void
span_recount(struct engine *e, struct object *o, struct span *s)
{
	size_t cost = span_cost(o, s, s->region, 0, 0);

	/* What is cut away of a block that is on its way has its price. */
	if (s->frozen && cost < s->cost)
		cost = s->cost;
	e->credit.unsent += cost - s->cost;
	s->cost = cost;
}

size_t
data_cost(const struct object *o)
{
	const struct span *s;
	size_t n = 0;

	TAILQ_FOREACH(s, &o->spans, link)
		n += s->cost;
	return n;
}
