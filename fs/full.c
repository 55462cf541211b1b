/*
 * full.c - a server that has no space.
 *
 * What was refused is kept.  fsync and what adds more get ENOSPC, and it is
 * tried again each second, at once when somebody asks anew, and when something
 * was removed.  While the server makes space it says BUSY: then nobody is told.
 *
 * Nobody is answered what does not fit (credit.c), so what is refused was done
 * without credit: offline, out of a journal, or before a disk was filled by
 * others.
 *
 * Of blocks that were refused the smallest tells whether there is space by now:
 * each takes time to seal, and there may be a hundred megabytes of them.  Once
 * it is stored, or not answered for PROBE_MS, all go.
 *
 * A refusal is no news while a removal is on its way that the server may not
 * have known of: what follows rm finds its space, as on a local disk.
 */
#include "fs/core.h"

enum {
	RETRY_MS	= 1000,
	AGAIN_MS	= 100,
	PROBE_MS	= 1000,
};

void
full_refused(struct engine *e, int error)
{
	e->error = error;
	e->probing = false;
	e->refusals++;
	e->retry_at = e->now_ms + RETRY_MS;
	wake(e, WAIT_FLUSH, 0);
	wake(e, WAIT_COMMIT, UINT64_MAX);
	wake(e, WAIT_ROOM, 0);
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
full_freeing(struct engine *e)
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
full_store_again(struct engine *e)
{
	struct flush_state *f, *least = NULL;

	if (e->probing && e->now_ms < e->again_at)
		return;
	TAILQ_FOREACH(f, &e->flushes, all_link)
		if (f->failed && e->error != -ENOSPC)
			data_store(e, f);
		else if (f->failed && (least == NULL || f->flush.len < least->flush.len))
			least = f;
	e->probing = least != NULL;
	if (least == NULL)
		return;
	e->again_at = e->now_ms + PROBE_MS;
	data_store(e, least);
}

void
full_stored(struct engine *e, const struct flush_state *f)
{
	if (!e->probing || !f->stored)
		return;
	e->probing = false;
	e->again_at = e->now_ms + 1;	/* at the next tick */
}

bool
full_old_news(struct engine *e, const struct flush_state *f)
{
	if (f->frees == e->frees && !full_freeing(e))
		return false;
	e->again_at = e->now_ms + AGAIN_MS;
	return true;
}

void
full_committed(struct engine *e, const struct commit *c)
{
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
