/*
 * trim.c - too many objects: clean ones are given back that neither the kernel nor an operation uses.
 *
 * Who is looked at and stays goes behind the others: a few that are old and in
 * use would hide all that came after them.  That goes on with each tick until
 * nothing was found in a whole round.
 */
#include "fs/core.h"

enum { BUDGET = 256 };		/* looked at in one step */

/* An operation that waits has it, or is about to get it. */
static bool
awaited(const struct engine *e, const struct object *o)
{
	const struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		if (lease_names(s, o->oid))
			return true;
	return false;
}

static bool
in_use(const struct engine *e, const struct object *o)
{
	return o->lookups > 0 || o->opens > 0 || keep_holds(e, o) || o->recall != RECALL_NONE || txn_pending(e, o) ||
	    o->oid == OID_ROOT || awaited(e, o);
}

/* Whether it is gone. */
static bool
give_back(struct engine *e, struct object *o)
{
	size_t before = e->objects;

	if (in_use(e, o))
		return false;
	if (o->mode != MODE_NONE && e->attached)
		lease_release(e, o, MODE_NONE);
	object_drop(e, o);
	return e->objects < before;
}

bool
trim_step(struct engine *e)
{
	size_t budget = e->objects < BUDGET ? e->objects : BUDGET;

	for (; budget > 0 && e->objects > e->config.objects_max; budget--) {
		struct object *o = TAILQ_FIRST(&e->lru);

		if (give_back(e, o)) {
			e->untrimmed = 0;
			continue;
		}
		TAILQ_REMOVE(&e->lru, o, lru_link);
		TAILQ_INSERT_TAIL(&e->lru, o, lru_link);
		e->untrimmed++;
	}
	return e->untrimmed < e->objects;
}
