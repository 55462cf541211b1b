/*
 * full.c - a server that has no space.
 *
 * What was refused is kept.  fsync and what adds more get ENOSPC, and it is
 * tried again each second, at once when somebody asks anew, and when something
 * was removed.  While the server makes space it says BUSY: then nobody is told.
 *
 * What is answered here must fit there later (R10).  So the server is asked how
 * much it has left, the more often the less that is; its sessions share it.  No
 * more content waits here than fits into our part, less a margin for what it
 * costs beyond its bytes; but always as much as one write brings, for the server
 * makes space only for who is refused.  So of what was answered without fsync a
 * full server leaves here a few writes at most, kept as above.  A part is no
 * promise: others may take more than theirs within the half second that it is old.
 *
 * A refusal is no news while a removal is on its way that the server may not
 * have known of: what follows rm finds its space, as on a local disk.
 */
#include "fs/core.h"

enum {
	RETRY_MS	= 1000,
	AGAIN_MS	= 100,
	SPACE_MS	= 5000,			/* between questions for the space left, */
	SPACE_SOON_MS	= 500,			/* or when it is little: */
	SPACE_LITTLE	= 1 << 30,
	MARGIN		= 8 << 20,		/* of our part, and */
	MARGIN_PART	= 8,			/* one such part of it */
	DIRTY_LEAST	= 1 << 20,
};

void
full_refused(struct engine *e, int error)
{
	e->error = error;
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

/* Removals are under way; those that are not are sent. */
static bool
freeing(struct engine *e)
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

bool
full_old_news(struct engine *e, const struct flush_state *f)
{
	if (f->frees == e->frees && !freeing(e))
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

/* ---- our part of what is left ---- */

void
full_ask(struct engine *e, uint64_t rest_ms)
{
	if (!e->attached || e->now_ms - e->space_at < rest_ms || send_message(e, MSG_statfs, ++e->next_request) == NULL)
		return;
	e->space_at = e->now_ms;
	e->space_asked = e->stored_bytes;
}

void
full_tick(struct engine *e)
{
	full_ask(e, e->space.ready_bytes < SPACE_LITTLE ? SPACE_SOON_MS : SPACE_MS);
}

void
full_heard(struct engine *e, const struct msg_space *m)
{
	e->space = *m;
	e->space_known = e->space_asked;
	if (e->error == -ENOSPC && m->free_bytes > 0)
		e->retry_at = e->now_ms;
}

size_t
full_dirty_max(const struct engine *e)
{
	uint64_t taken = e->stored_bytes - e->space_known, left = e->space.ready_bytes, part, margin;

	if (!e->attached || e->space.total_bytes == 0)
		return e->config.dirty_max;
	part = (left > taken ? left - taken : 0) / (e->sessions > 1 ? e->sessions : 1);
	margin = MARGIN + part / MARGIN_PART;
	part = part > margin + DIRTY_LEAST ? part - margin : DIRTY_LEAST;
	return part < e->config.dirty_max ? part : e->config.dirty_max;
}
