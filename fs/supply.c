/*
 * supply.c - commits whose blocks the server has not (any more).
 *
 * Their data is kept until they are acknowledged, so mostly they are stored
 * again and the commit is resent.  What is kept nowhere - a block of before,
 * that the server has lost - cannot come back: the content of the files that
 * name it goes back to what the server has of it, which is reported as a loss,
 * and the rest of the commit goes on without it.  A server that misses a block
 * however often it gets it is taken for a broken one, and tried more slowly.
 *
 * Invariant: a commit is `missing` until it is sent again; those after it are
 * sent behind it.
 */
#include "fs/core.h"

enum { SUPPLIES_MAX = 3 };

static bool
is_kept(const struct commit_state *s, const uint8_t id[ID_SIZE])
{
	const struct flush_state *f;

	TAILQ_FOREACH(f, &s->kept, link)
		if (memcmp(f->flush.id, id, ID_SIZE) == 0)
			return true;
	return false;
}

static bool
names(const struct msg_change *m, const uint8_t id[ID_SIZE])
{
	for (uint32_t i = 0; i < m->brefs.count; i++)
		if (memcmp(m->brefs.at[i], id, ID_SIZE) == 0)
			return true;
	return false;
}

/* True when some of the blocks are kept nowhere: the files that name them are lost, the rest is frozen anew. */
static bool
lose_unkept(struct engine *e, struct commit_state *s, const struct msg_committed *m)
{
	struct commit *c = s->commit;
	bool any = false;

	for (uint32_t i = 0; i < m->missing.count; i++)
		any |= !is_kept(s, m->missing.at[i]);
	if (!any)
		return false;
	/* Only then is the server's size of each file the one last acknowledged. */
	if (s != TAILQ_FIRST(&e->inflight)) {
		s->missing = true;
		return true;
	}
	c->refs++;
	txn_thaw(e, s);
	for (uint32_t i = 0; i < c->changes_count; i++)
		for (uint32_t k = 0; k < m->missing.count; k++) {
			struct object *o = object_find(e, c->changes[i].oid);

			if (o->dirty && names(&c->changes[i], m->missing.at[k]))
				data_lost(e, o);
		}
	commit_put(c);
	txn_refreeze(e);
	return true;
}

void
supply_missing(struct engine *e, struct commit_state *s, const struct msg_committed *m)
{
	struct flush_state *f;

	if (lose_unkept(e, s, m))
		return;
	if (++s->supplies > SUPPLIES_MAX) {
		txn_postpone(e, s, -EIO);
		return;
	}
	s->missing = true;
	TAILQ_FOREACH(f, &s->kept, link)
		if (!f->flush.carried && f->stored) {	/* others are under way already */
			struct action *a = action_add(e, ACTION_STORE);

			if (a == NULL)
				break;		/* it will be missed once more */
			f->stored = false;
			e->storing++;
			a->flush = &f->flush;
		}
	supply_step(e);
}

static bool
all_stored(const struct commit_state *s)
{
	const struct flush_state *f;

	TAILQ_FOREACH(f, &s->kept, link)
		if (!f->stored)
			return false;
	return true;
}

void
supply_step(struct engine *e)
{
	struct commit_state *s = TAILQ_FIRST(&e->inflight);

	while (s != NULL && !s->missing)
		s = TAILQ_NEXT(s, link);
	if (s == NULL || !e->attached || !all_stored(s))
		return;
	for (; s != NULL; s = TAILQ_NEXT(s, link)) {
		s->missing = false;
		commit_send(e, s->commit);
	}
}
