/*
 * full.c - a server that has no space.
 *
 *	NOSPC	the work is kept, fsync and what adds more get ENOSPC, and it is
 *		tried again each second, at once when somebody asks anew, and when
 *		something was removed
 *	BUSY	the server makes space: asked again soon, nobody is told
 *
 * NOSPC counts as BUSY while a removal is on its way that the server may not
 * have known of: what follows rm finds its space, as on a local disk.
 */
#include "fs/core.h"

enum {
	RETRY_MS	= 1000,
	BUSY_MS		= 100,		/* at first; up to RETRY_MS */
	PATIENCE_MS	= 30 * 1000,	/* then BUSY is taken for NOSPC */
};

void
full_refused(struct engine *e, int error)
{
	/* Who was too patient once is not again until something is taken. */
	if (error != -EBUSY)
		e->busy_since = 0;
	e->error = error == -EBUSY ? -ENOSPC : error;
	e->refusals++;
	e->retry_at = e->now_ms + RETRY_MS;
	wake(e, WAIT_FLUSH, 0);
	wake(e, WAIT_COMMIT, UINT64_MAX);
	wake(e, WAIT_ROOM, 0);
}

bool
full_patient(struct engine *e)
{
	uint64_t wait_ms;

	if (e->busy_since == 0)
		e->busy_since = e->now_ms;
	wait_ms = (e->now_ms - e->busy_since) / 2;
	e->again_at = e->now_ms + (wait_ms < BUSY_MS ? BUSY_MS : wait_ms > RETRY_MS ? RETRY_MS : wait_ms);
	return e->now_ms - e->busy_since < PATIENCE_MS;
}

static bool
removes(const struct commit *c)
{
	for (uint32_t i = 0; i < c->changes_count; i++)
		if (c->changes[i].op != CHANGE_PUT)
			return true;
	return false;
}

bool
full_frees(struct engine *e)
{
	const struct commit_state *s;
	const struct object *o;
	const struct rec *r;
	bool frees = false;

	TAILQ_FOREACH(s, &e->inflight, link)
		if (removes(s->commit))
			return true;
	TAILQ_FOREACH(o, &e->dirty, dirty_link) {
		if (o->ordered && (data_dirty(o) || o->hold))
			return false;	/* its content would have to be there first */
		frees |= o->wipe && !o->hold;
		TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
			frees |= r->absent && !txn_held_back(o, r);
	}
	e->freeze_wanted |= frees;
	return frees;
}

void
full_committed(struct engine *e, const struct commit *c)
{
	e->busy_since = 0;
	if (!removes(c))
		return;
	e->frees++;
	e->retry_at = e->now_ms;
}

void
full_retry(struct engine *e)
{
	e->retry_at = e->now_ms;
	data_flush_step(e);
	txn_step(e);
}

int
full_room(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;

	if (e->error != -ENOSPC)
		return 0;
	if (!s->asked)
		s->refusals = e->refusals;
	s->asked = true;
	if (!e->attached || e->refusals != s->refusals)
		return -ENOSPC;
	full_retry(e);
	if (e->inflight_count > 0 || e->storing > 0)
		return park(op, WAIT_ROOM, 0);
	return e->error;	/* nothing is waiting any more */
}
