/*
 * redo.c - work that was lost with its leases, run again by the mount that
 * did it.
 *
 * A session that was away for longer than its term loses what others wanted
 * meanwhile, and with it every change that is in no commit the server took.
 * The changes are in the journal.  The engine drops them (lease.c, txn.c), and
 * a driver beside it runs the journal again, operation by operation, through
 * the engine (replay.h).  Each is logged anew when it is done, naming the
 * entry it stands for: so a death in the middle leaves nothing twice.
 *
 *	WHOLE	-> LOST		a commit was refused, or a dirty object's lease is gone: LOSS is
 *				logged, objects that lost something `wait`
 *	LOST	-> LOST		more is lost: what the driver did by then may be among it; it begins
 *				again, with the journal as it is now
 *	LOST	-> WHOLE	the driver came to the end and nothing was lost since: REDONE
 *	LOST	-> stuck	the driver cannot go on, for now: syncs fail with its reason;
 *	stuck	-> LOST		it tries again
 *	(new)	-> LOST		the last mount's journal did not fit the server (replay.h): it is
 *				taken for lost here, so that the volume can be used meanwhile,
 *				to remove what is in the way
 *
 * Operations of others on an object that waits are parked, so that nobody
 * builds on its old state: as long as the driver gets on, which is that it
 * never takes longer than GATE_MS from one operation to the next, however
 * slow the machine; for the length of a term at most after the loss, and
 * never while the driver is stuck.  A gate that has opened stays open till
 * the next loss.  Who gets through then may change the object, which makes it
 * `changed`: what the journal brings goes beside it.  A parked one holds
 * nothing and counts nothing in the order of tickets (R6), for the driver's
 * operations may need what a recall takes from here.
 *
 * Invariants:
 * 1. An object waits, or is changed, only while the journal is stranded.
 * 2. Nothing is trimmed meanwhile: what the driver reads stays.
 * 3. FSYNC of what waits, and SYNC, succeed only in WHOLE.
 */
#include "fs/core.h"

enum { GATE_MS = 10 * 1000 };

static bool
waiting(const struct engine *e)
{
	return e->config.redo && e->journal.stranded;
}

bool
redo_strand(struct engine *e, struct object *o)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_LOSS, .ino = o->oid, .sequence = UINT64_MAX };

	if (!journal_keeps(e) || (!j->replaying && j->last_op < j->floor))
		return false;
	/* The entry that speaks of the commits follows, and is synced. */
	if (journal_append(e, &n, false) < 0)
		return false;
	if (!e->config.redo)
		return false;
	o->waits = true;
	o->changed = false;
	o->lost_version = o->version;
	return true;
}

void
redo_lost(struct engine *e, bool noted)
{
	struct journal *j = &e->journal;

	if (!j->stranded)
		j->keep_oids = true;
	j->stranded = true;
	j->losses++;
	j->lost_upto = e->sequence > j->lost_upto ? e->sequence : j->lost_upto;
	j->untold |= !noted;
	j->redo_error = j->untold ? -EIO : 0;
	j->gate_until = e->now_ms + GATE_MS;
	j->gate_most = e->now_ms + (e->term_ms > GATE_MS ? e->term_ms : GATE_MS);
}

static bool
gated(const struct engine *e)
{
	return waiting(e) && e->journal.redo_error == 0 && e->now_ms < e->journal.gate_until;
}

void
redo_progress(struct engine *e)
{
	struct journal *j = &e->journal;

	if (gated(e))
		j->gate_until = e->now_ms + GATE_MS < j->gate_most ? e->now_ms + GATE_MS : j->gate_most;
}

int
redo_gate(struct engine *e, struct op *op, const struct object *o)
{
	if (!o->waits || op->redo || op->replay != NULL || !gated(e))
		return 0;
	op->state->missing = true;
	return park(op, WAIT_REDO, 0);
}

int
redo_sync(struct engine *e, struct op *op, const struct object *o)
{
	if (!waiting(e) || op->redo || (o != NULL && !o->waits))
		return 0;
	return e->journal.redo_error != 0 ? e->journal.redo_error : park(op, WAIT_REDO, 0);
}

void
redo_changed(struct engine *e, uint64_t ino)
{
	struct object *o = waiting(e) ? object_find(e, ino) : NULL;

	if (o != NULL)
		o->changed |= o->waits;
}

void
redo_committed(struct engine *e, struct object *o)
{
	o->changed |= o->waits && o->version != o->lost_version && !journal_own(e, o->writer);
}

/* The kernel did not see it done; of what waits it knows nothing. */
static void
sweep(struct engine *e, uint64_t oid)
{
	struct object *o = oid == 0 ? NULL : object_find(e, oid);

	if (o != NULL && !(o->waits && gated(e)) && (o->lookups > 0 || o->oid == OID_ROOT))
		lease_sweep(e, o);
}

void
redo_done(struct engine *e, const struct journal_entry *n)
{
	sweep(e, n->ino);
	sweep(e, n->ino2);
	sweep(e, n->child);
	sweep(e, n->victim);
}

void
redo_tick(struct engine *e)
{
	if (waiting(e) && !gated(e))
		wake(e, WAIT_REDO, 0);
}

/* Commits from before the loss may be refused as well. */
static bool
settled(const struct engine *e)
{
	const struct commit_state *s = TAILQ_FIRST(&e->inflight);

	return s == NULL || s->commit->sequence > e->journal.lost_upto;
}

bool
engine_redo_due(const struct engine *e, uint64_t *ret_losses, bool *ret_keep)
{
	*ret_losses = e->journal.losses;
	*ret_keep = e->journal.keep_oids;
	return waiting(e) && !e->journal.untold && settled(e);
}

int
engine_redo_end(struct engine *e, uint64_t losses, int error)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_REDONE, .upto = j->next };
	struct object *o, *next;

	if (j->losses != losses)
		return -EAGAIN;
	if (error == 0)
		error = journal_append(e, &n, true);
	j->redo_error = error;
	if (error == 0) {
		j->stranded = false;
		j->lost_upto = 0;
		for (o = TAILQ_FIRST(&e->lru); o != NULL; o = next) {
			next = TAILQ_NEXT(o, lru_link);
			if (!o->waits)
				continue;
			o->waits = o->changed = false;
			object_drop(e, o);
		}
		journal_step(e);
	}
	wake(e, WAIT_REDO, 0);
	run_all(e);
	return error;
}

int
engine_leave(struct engine *e, uint64_t ino, uint64_t version)
{
	struct object *o = object_get(e, ino);
	struct journal_entry n = { .kind = JOURNAL_LOSS, .ino = ino, .sequence = UINT64_MAX };
	int r = o == NULL ? -ENOMEM : journal_append(e, &n, false);

	if (r < 0)
		return r;
	o->waits = true;
	o->lost_version = version;
	return 0;
}

int
engine_left(struct engine *e, uint64_t sequence)
{
	struct journal *j = &e->journal;
	struct journal_entry names = { .kind = JOURNAL_LOSS, .sequence = sequence };
	struct journal_entry rest = { .kind = JOURNAL_TRIM, .sequence = e->sequence, .ino = e->session, .version = e->boot };
	int r = journal_append(e, &names, false);

	/* What was not lost has landed; and commits are counted anew, if the session is another. */
	rest.upto = j->next;
	if (r == 0)
		r = journal_append(e, &rest, true);
	if (r < 0)
		return r;
	redo_lost(e, true);
	j->keep_oids = e->resumed;
	j->session = e->session;
	j->boot = e->boot;
	return 0;
}

void
engine_redo_beside(struct engine *e, uint64_t ino)
{
	struct object *o = object_find(e, ino);

	if (o == NULL)
		return;
	o->error = -EIO;
	o->error_seq = ++e->error_counter;
}
