/* trim.c - too many objects: clean ones are given back that neither the kernel nor an operation uses. */
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

bool
trim_step(struct engine *e)
{
	struct object *o, *next;
	unsigned budget = BUDGET;
	bool moved = false;

	for (o = TAILQ_FIRST(&e->lru); o != NULL && e->objects > e->config.objects_max && budget-- > 0; o = next) {
		next = TAILQ_NEXT(o, lru_link);
		if (keep_holds(e, o)) {
			/* Not looked at again before the others. */
			TAILQ_REMOVE(&e->lru, o, lru_link);
			TAILQ_INSERT_TAIL(&e->lru, o, lru_link);
			moved = true;
			continue;
		}
		if (o->lookups > 0 || o->opens > 0 || o->recall != RECALL_NONE || txn_pending(e, o) || o->oid == OID_ROOT ||
		    awaited(e, o))
			continue;
		if (o->mode != MODE_NONE && e->attached)
			lease_release(e, o, MODE_NONE);
		object_drop(e, o);
		moved = true;
	}
	return moved;
}
