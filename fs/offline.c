/*
 * offline.c - work without a server.
 *
 *	ONLINE	-> OFFLINE	there has been no connection for a term, and the mount may
 *				(engine_config.offline): either always, or because it was
 *				the only one when the server was last heard
 *	OFFLINE	-> ONLINE	attached again
 *
 * A term that ran out while the machine slept counts, too: then the network
 * has WAKE_MS to come back.
 *
 * OFFLINE, what is cached is served as if its lease were held, and changed as
 * if it were EXCLUSIVE: changes go to the journal and the running transaction
 * as ever.  Cells are asked for if this machine's disk may have them
 * (engine_config.stocked), and that answers at once, or says -EHOSTDOWN.
 * Whatever would wait for the server fails at once, so nothing else is parked
 * but errands of our own.  A sync of a file or directory brings the
 * journal to this machine's disk.  The kernel keeps what it has.
 *
 * Nothing of that is a promise by the server.  Back, the engine claims what it
 * pretended, and says so; what others changed, or have, is lost with all that hangs on it,
 * and done again from the journal (redo.c): in place where nobody changed the
 * same object, beside it where somebody did.
 *
 * Invariants:
 * 1. OFFLINE the journal takes every change, or there is none to take: a
 *    change that it could not take fails.
 * 2. OFFLINE nobody waits but SYNC, the driver's operations, and who waits for
 *    cells from this machine's disk.
 * 3. No recall is under way: the other side has what it wanted, or asks again.
 */
#include "fs/core.h"

enum { WAKE_MS = 10 * 1000 };

/* Where a change would go. */
static bool
kept(const struct engine *e)
{
	return !journal_keeps(e) || !e->journal.broken;
}

static bool
may(const struct engine *e)
{
	return e->config.offline == OFFLINE_ALWAYS || (e->config.offline == OFFLINE_ALONE && e->sessions <= 1);
}

void
wake_all(struct engine *e)
{
	static const enum wait_kind waits[] = { WAIT_READ, WAIT_OBJECT, WAIT_COMMIT, WAIT_FLUSH, WAIT_ROOM, WAIT_FETCH,
	    WAIT_ATTACH, WAIT_OIDS, WAIT_REDO };

	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		wake(e, waits[i], waits[i] == WAIT_COMMIT ? UINT64_MAX : 0);
}

/* Then it has been looked for long enough. */
uint64_t
offline_due(const struct engine *e)
{
	uint64_t since = e->detached_at > e->woken_at ? e->detached_at : e->woken_at;
	uint32_t patience_ms = e->woken_at != 0 && WAKE_MS < e->term_ms ? WAKE_MS : e->term_ms;

	if (e->offline || e->attached || !e->had_session || lease_valid(e) || !may(e) || !kept(e) || e->journal.replaying)
		return UINT64_MAX;
	/* A short term may have run out before the connection broke. */
	return since + patience_ms;
}

bool
offline_tick(struct engine *e)
{
	struct object *o;

	if (offline_due(e) > e->now_ms)
		return e->offline;
	e->offline = true;
	e->offline_since = e->real;
	while ((o = TAILQ_FIRST(&e->recalling)) != NULL)
		recall_set(e, o, RECALL_NONE);
	wake_all(e);
	return true;
}

void
offline_end(struct engine *e)
{
	e->offline = false;
}

/* May o be used as if it were leased so? */
bool
offline_has(struct engine *e, struct object *o, enum mode mode)
{
	if (!e->offline || o->mode == MODE_NONE || o->waits)
		return false;
	if (o->mode < mode) {
		o->mode = mode;
		e->known_oid = 0;
	}
	return true;
}

/* Of an operation that would have to wait: 0 if it may. */
int
offline_error(const struct engine *e, const struct op *op)
{
	if (!e->offline || op->redo || op->replay != NULL || op->type == OP_SYNC)
		return 0;
	switch (op->state->wait) {
	case WAIT_ROOM: case WAIT_OIDS: case WAIT_FLUSH:
		return journal_wants(op) ? -ENOSPC : -EHOSTDOWN;
	case WAIT_FETCH:
		return e->config.stocked ? 0 : -EHOSTDOWN;
	default:
		return -EHOSTDOWN;
	}
}

/* Before op: is there room for what it adds? */
int
offline_room(struct engine *e, const struct op *op)
{
	if (!e->offline || op->redo || !journal_wants(op))
		return 0;
	if (txn_full(e)) {
		e->freeze_wanted = true;
		txn_step(e);
	}
	return !kept(e) || txn_full(e) || journal_full(e, op) ? -ENOSPC : 0;
}

/* A file or directory is to be safe: this machine's disk is all there is. */
int
offline_sync(struct engine *e)
{
	/* Any entry that says nothing new. */
	struct journal_entry n = { .kind = JOURNAL_FREEZE, .sequence = e->sequence };

	return journal_keeps(e) ? journal_append(e, &n, true) : 0;
}

int
engine_journal_sync(struct engine *e)
{
	return offline_sync(e);
}
