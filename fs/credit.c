/*
 * credit.c - space that the server has promised (R10).
 *
 * What is answered here must fit there later.  So an operation that adds
 * something is done only when what it will cost, with all that is done and not
 * there yet, is within the session's credit: bytes that the server keeps for
 * it.  Else everything is sent, which shows what it really takes, and the
 * operation waits for more credit; when the server has no more it is refused.
 * Removals never wait.
 *
 *	outstanding	done, and not known to be on the server: spans, the running
 *			transaction, commits under way; what each costs at most.  Also
 *			blocks on their way that nobody needs any more: the server
 *			does not know that; and those of commits under way that it
 *			had when it was started anew, and may have lost
 *	settled		what the server is known to have taken, summed up
 *	told		the credit as the server last said it, with what was settled
 *			when it can have been computed at the earliest
 *	held		told - what was settled since then: no more than there is
 *
 *	event			told
 *	attached, anew		what the server says
 *	attached, resumed	the less of held and of what it says; it knows of evictions, not
 *				what it said before it was started again
 *	commit acknowledged	what is said with it, unless a question left after it: their
 *				answers may cross
 *	question		may take back all but `keep`: from then on held is no more
 *	answered		what is said
 *	detached meanwhile	it may have been taken
 *	the term is over	nothing (R9)
 *
 * While much is ready the server is told to leave us what we have, and answers
 * only refill it.  When that is little, we keep what is outstanding alone.
 *
 * Offline, and out of a journal, credit cannot be had: see full.c for what is
 * refused then.
 *
 * Invariants:
 * 1. A change is done only if outstanding and its cost are within held, or it
 *    is done offline, or removes something.
 * 2. held is never more than what the server keeps for us, less what it has
 *    taken that we do not know of: that is outstanding still.
 */
#include "fs/core.h"

enum {
	AGAIN_MS	= 100,
	SPACE_MS	= 5000,			/* between questions, */
	SPACE_SOON_MS	= 500,			/* or when little is ready: */
	SPACE_LITTLE	= 1 << 30,
	BLOCK_HEAD	= 256,			/* of a sealed block, */
	CELL_HEAD	= 32,			/* and of each cell */
};

size_t
credit_block(size_t len)
{
	return BLOCK_COST + BLOCK_HEAD + len + (len / CELL_SIZE + 1) * CELL_HEAD;
}

static uint64_t
less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t
outstanding(const struct engine *e)
{
	return e->credit.unsent + e->credit.orphaned + e->running_bytes + e->inflight_bytes;
}

static uint64_t
held(const struct engine *e)
{
	const struct credit *c = &e->credit;
	uint64_t told = less(c->told, c->settled - c->told_at), keep = less(c->keep, c->settled - c->keep_at);

	return c->asking && keep < told ? keep : told;
}

static bool
little(const struct engine *e)
{
	return e->space.total_bytes != 0 && e->space.ready_bytes < SPACE_LITTLE;
}

/* ---- waiting for it ---- */

static void
ask(struct engine *e, uint64_t want)
{
	struct credit *c = &e->credit;
	uint64_t has = held(e), out = outstanding(e);
	struct action *a = c->asking ? NULL : send_message(e, MSG_statfs, ++e->next_request);

	if (a == NULL)
		return;
	e->space_at = e->now_ms;
	/* What is outstanding it keeps for us, even if held, which may count some of that twice, is less. */
	c->keep = little(e) || out > has ? out : has;
	c->keep_at = c->settled;
	c->request = e->next_request;
	c->asking = true;
	c->asks++;
	a->message.statfs.keep = c->keep;
	a->message.statfs.want = want;
}

/*
 * All that was written is on the server, and all commits; so what is still outstanding costs next to nothing.
 * What was cut away and is held back, for what replaces it to be there first, may be held back still.
 */
static bool
all_there(const struct engine *e)
{
	const struct object *o;

	TAILQ_FOREACH(o, &e->with_data, data_link)
		if (data_dirty(o))
			return false;
	return e->inflight_count == 0 && e->storing == 0;
}

int
credit_room(struct engine *e, struct op *op, size_t cost)
{
	struct credit *c = &e->credit;
	struct op_state *s = op->state;

	if (e->error == -ENOSPC)
		return full_room(e, op);
	if (e->offline || (lease_valid(e) && outstanding(e) + cost <= held(e)))
		return 0;
	/* Mostly it is just being asked whether we may keep it. */
	if (!e->attached || (c->asking && outstanding(e) + cost <= less(c->told, c->settled - c->told_at)))
		return park(op, WAIT_ROOM, 0);
	/* A denial is no news while the server has yet to hear of a removal. */
	if (!all_there(e) || full_freeing(e)) {
		s->question = 0;
		data_flush_written(e);
		e->freeze_wanted = true;
		return park(op, WAIT_ROOM, 0);
	}
	if (s->question != 0 && s->question == c->answered) {
		if (!c->more && TAILQ_EMPTY(&e->with_data))
			return -ENOSPC;
		if (!c->more) {
			/* There is no space for what was cut away and for what replaces it. */
			s->question = 0;
			data_flush_all(e);
			e->freeze_wanted = true;
			return park(op, WAIT_ROOM, 0);
		}
		s->question = 0;
		c->again_at = e->now_ms + AGAIN_MS;
	}
	if (!c->asking && c->again_at == 0) {
		ask(e, outstanding(e) + cost);
		s->question = c->asks;
	}
	return park(op, WAIT_ROOM, 0);
}

/* ---- events ---- */

void
credit_ask(struct engine *e, uint64_t rest_ms)
{
	if (e->attached && e->now_ms - e->space_at >= rest_ms)
		ask(e, 0);
}

void
credit_tick(struct engine *e)
{
	struct credit *c = &e->credit;

	if (!lease_valid(e))
		c->told = 0;
	credit_ask(e, little(e) ? SPACE_SOON_MS : SPACE_MS);
	if (c->again_at == 0 || e->now_ms < c->again_at)
		return;
	c->again_at = 0;
	wake(e, WAIT_ROOM, 0);
}

uint64_t
credit_due(const struct engine *e)
{
	uint64_t due_ms = e->attached ? e->space_at + (little(e) ? SPACE_SOON_MS : SPACE_MS) : UINT64_MAX;

	return e->credit.again_at != 0 && e->credit.again_at < due_ms ? e->credit.again_at : due_ms;
}

static void
tell(struct engine *e, uint64_t told, uint64_t at)
{
	e->credit.told = told;
	e->credit.told_at = at;
}

void
credit_heard(struct engine *e, uint64_t request, const struct msg_space *m)
{
	struct credit *c = &e->credit;

	e->space = *m;
	if (e->error == -ENOSPC && m->free_bytes > 0)
		e->retry_at = e->now_ms;
	if (!c->asking || request != c->request)
		return;
	tell(e, m->credit, c->keep_at);
	c->asking = false;
	c->answered = c->asks;
	c->more = m->more;
	wake(e, WAIT_ROOM, 0);
}

void
credit_sent(struct engine *e, struct commit_state *s)
{
	s->settled = e->credit.settled;
	s->asks = e->credit.asks;
}

void
credit_committed(struct engine *e, const struct commit_state *s, uint64_t credit)
{
	if (s->asks == e->credit.asks)
		tell(e, credit, s->settled);
}

void
credit_stored(struct engine *e, struct flush_state *f)
{
	e->credit.settled += f->flush.carried ? 0 : credit_block(f->flush.len);
	e->credit.orphaned -= f->orphaned;
	f->orphaned = 0;
}

void
credit_attached(struct engine *e, uint64_t credit, bool fresh)
{
	uint64_t has = fresh || !lease_valid(e) ? UINT64_MAX : held(e);

	if (credit == UINT64_MAX && has == UINT64_MAX)
		credit = 0;
	tell(e, credit < has ? credit : has, e->credit.settled);
	e->credit.asking = false;
}

/*
 * A server that was killed may have lost blocks that no commit names yet: they
 * are stored again if it misses them, and until then the space is wanted.
 */
void
credit_restarted(struct engine *e)
{
	struct flush_state *f;

	TAILQ_FOREACH(f, &e->flushes, all_link)
		if (f->stored && f->span == NULL && !f->flush.carried && f->orphaned == 0) {
			f->orphaned = credit_block(f->flush.len);
			e->credit.orphaned += f->orphaned;
		}
}

void
credit_detached(struct engine *e)
{
	if (e->credit.asking)
		tell(e, held(e), e->credit.settled);
	e->credit.asking = false;
}
