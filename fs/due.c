/*
 * due.c - when the engine is to be ticked next.
 *
 * Three kinds of reasons:
 *
 *	restless	something goes on a little with each tick, or the last one does not
 *			know yet what has changed: as soon as may be
 *	timed		something has a time of its own
 *	neither		what comes next comes as an event
 *
 * A mount that nobody uses is neither, but for its sign of life; one that has
 * no server, not even that.
 *
 * A time may have passed without an effect, for what it was for waits for
 * something else too.  So no tick comes sooner than TICK_MS after the last.
 *
 * Invariant: as long as no event has come and it is not due, a tick changes
 * nothing.
 */
#include "fs/core.h"

enum { TICK_MS = 100 };

void
due_ticked(struct engine *e, bool trimmed)
{
	e->ticked.at = e->now_ms;
	e->ticked.attached = e->attached;
	e->ticked.sessions = e->sessions;
	e->ticked.losses = e->journal.losses;
	e->ticked.trimmed = trimmed;
	e->meta_left = false;
}

/* Something that only a tick looks at is not as the last one left it. */
static bool
changed(const struct engine *e)
{
	bool valid = lease_valid(e);

	return e->ticked.attached != e->attached || e->ticked.sessions != e->sessions ||
	    e->ticked.losses != e->journal.losses || e->meta_left || (valid ? e->expired : !e->expired && !e->offline) ||
	    (!valid && e->credit.told != 0) || (e->kept_long && e->sessions > 1 && !e->offline);
}

/* Without a server none of this gets on. */
static bool
restless_attached(const struct engine *e)
{
	return !TAILQ_EMPTY(&e->flushing) || !TAILQ_EMPTY(&e->unpins) || journal_moves(e) ||
	    (e->settle_until != 0 && e->settle_until <= e->ticked.at);
}

static bool
restless(const struct engine *e)
{
	return changed(e) || !actions_spared(e) || e->sleep != AWAKE || !TAILQ_EMPTY(&e->recalling) ||
	    e->journal.stranded || (e->objects > e->config.objects_max && e->ticked.trimmed) ||
	    (e->attached && restless_attached(e));
}

static void
sooner(uint64_t *due_ms, uint64_t ms)
{
	*due_ms = ms < *due_ms ? ms : *due_ms;
}

/* What the last tick has seen the end of is not due again. */
static void
sooner_once(const struct engine *e, uint64_t *due_ms, uint64_t ms)
{
	if (ms > e->ticked.at)
		sooner(due_ms, ms);
}

static void
timed_attached(const struct engine *e, uint64_t *due_ms)
{
	sooner(due_ms, e->keepalive_at + KEEPALIVE_MS);
	if (e->oids_left == 0 && e->next_oids_left == 0 && !e->allocating && e->alloc_after != 0)
		sooner(due_ms, e->alloc_after);
	if (e->resend_at != 0)
		sooner(due_ms, e->resend_at);
	if (e->error != 0)
		sooner(due_ms, e->retry_at);
}

uint64_t
engine_due(const struct engine *e)
{
	uint64_t due_ms = restless(e) ? 0 : UINT64_MAX;

	if (due_ms != 0) {
		if (e->attached)
			timed_attached(e, &due_ms);
		if (lease_valid(e))
			sooner(&due_ms, e->lease_until);
		if (e->reread_at != 0)
			sooner(&due_ms, e->reread_at);
		if (e->dirty_since != 0 && e->settle_until == 0)
			sooner(&due_ms, e->dirty_since + e->config.commit_ms);
		sooner_once(e, &due_ms, e->settle_until);
		sooner_once(e, &due_ms, e->again_at);
		sooner(&due_ms, credit_due(e));
		sooner(&due_ms, offline_due(e));
	}
	return due_ms > e->ticked.at + TICK_MS ? due_ms : e->ticked.at + TICK_MS;
}
