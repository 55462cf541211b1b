/*
 * lease.c - how leases go: recall, release, reclaim, loss.
 *
 * A recall goes DRAIN, SWEEP, FLUSH, release (object.h).  Invariants:
 *
 * 1. A dirty object is leased EXCLUSIVE, or was and its loss was reported.
 * 2. Replies that leave during a recall have zero timeouts, so after DRAIN
 *    one sweep is enough for names and attributes; but pages, and names that
 *    a RENAME moved, are swept again while such replies left meanwhile.
 *    RELEASE waits for that sweep; but not for pages that a parked request of
 *    ours has locked.
 * 3. RELEASE leaves when every commit that changes the object is acknowledged.
 * 4. What is lost is swept at once, and again when the replies have left that
 *    were made before: the kernel may have got names by them in between.  So
 *    are attributes that a name changed which led elsewhere when it was looked up.
 *
 * A process that is stopped cannot make the kernel forget anything.  So in
 * company it keeps names and attributes no longer than the term, and what it
 * was given while this session was alone it forgets when that ends.
 *
 * What is weakened to SHARED the kernel may go on caching; but not pages that
 * were changed through a map, which only a sweep makes it write: later that
 * could not be done under the lease, and whole pages would undo what others
 * wrote meanwhile.  So whoever may have mapped a file for writing costs it a
 * sweep then, too.
 */
#include "fs/core.h"

enum {
	UNKNOWN_MAX	= 1000,		/* about a millisecond each */
	SHED_PART	= 8,		/* of all objects, when there are too many leases */
	SHARED_MAX	= 4096,		/* objects below a directory that are shared with it */
	SERIES_LEAST	= 4,		/* recalls of children of one directory, before more are given back */
	SERIES_DOUBLES	= 8,		/* the number given back along is doubled so often */
	SERIES_LOOK	= 4,		/* times as many are looked at */
};

void
recall_set(struct engine *e, struct object *o, enum recall_state state)
{
	if ((o->recall == RECALL_NONE) != (state == RECALL_NONE)) {
		if (state != RECALL_NONE)
			TAILQ_INSERT_TAIL(&e->recalling, o, recall_link);
		else
			TAILQ_REMOVE(&e->recalling, o, recall_link);
	}
	o->recall = state;
}

void
lease_taken(struct engine *e, struct object *o, enum mode mode)
{
	o->mode = mode;
	o->leased_since = ++e->leases_taken;
	o->hold_until = 0;
	o->turn = false;
}

/* Its last name and pin are gone, and the server has freed it: what we still hold of it is moot. */
void
lease_freed(struct engine *e, struct object *o)
{
	o->dead = true;
	if (o->mode == MODE_NONE)
		return;
	journal_clean(e, o);
	data_drop(e, o);
	txn_clean(e, o);
	recall_set(e, o, RECALL_NONE);
	keep_changed(e, o);
	o->mode = MODE_NONE;
	scout_forgotten(e, o);
	object_forget(o);
	wake(e, WAIT_OBJECT, o->oid);
}

/* ---- recall and release ---- */

void
object_pin(struct engine *e, struct object *o, bool on)
{
	struct action *a = send_message(e, MSG_pin, 0);

	o->pinned = on;		/* said again when the connection is back (pins_resume) */
	if (a == NULL)
		return;
	a->one.pinning = (struct msg_pinning){ .oid = o->oid, .on = on };
	a->message.pin.pins.at = &a->one.pinning;
	a->message.pin.pins.count = 1;
}

static void
send_release(struct engine *e, uint64_t oid, uint64_t grant, enum mode kept)
{
	struct action *a = e->releasing;
	uint32_t count = a == NULL ? 0 : a->message.release.leases.count;
	struct msg_lease *more;

	if (a != NULL && count == e->releasing_size) {
		more = count < LEASE_LIST_MAX ? arena_alloc(&a->arena, 2 * count * sizeof *more) : NULL;
		if (more != NULL) {
			memcpy(more, a->message.release.leases.at, count * sizeof *more);
			a->message.release.leases.at = more;
			e->releasing_size = 2 * count;
		} else
			a = NULL;	/* into one of its own */
	}
	if (a == NULL) {
		if ((a = send_message(e, MSG_release, 0)) == NULL)
			return;
		a->message.release.leases.at = &a->one.lease;
		e->releasing = a;
		e->releasing_size = 1;
		count = 0;
	}
	a->message.release.leases.at[count] = (struct msg_lease){ .oid = oid, .mode = kept, .grant = grant };
	a->message.release.leases.count = count + 1;
}

void
lease_refuse(struct engine *e, uint64_t oid, uint64_t grant)
{
	send_release(e, oid, grant, MODE_NONE);
}

/* An answer that was under way then gives nothing of it again. */
static void
give_back(struct engine *e, struct object *o, enum mode kept)
{
	send_release(e, o->oid, o->grant, kept);
	o->released = true;
	o->released_mode = kept;
	o->released_grant = o->grant;
	o->released_request = e->next_request;
}

static void share_below(struct engine *e, struct object *dir);

void
lease_release(struct engine *e, struct object *o, enum mode kept)
{
	if (kept == MODE_SHARED && o->attr_known && S_ISDIR(o->attr.mode))
		share_below(e, o);
	recall_set(e, o, RECALL_NONE);
	journal_clean(e, o);
	if (kept == MODE_NONE && o->opens > 0 && !o->pinned)
		object_pin(e, o, true);
	give_back(e, o, kept);
	o->mode = kept;
	e->meta_left |= o->oid == OID_META;
	if (kept == MODE_NONE) {
		keep_changed(e, o);
		scout_forgotten(e, o);
		object_forget(o);
	}
	wake(e, WAIT_OBJECT, o->oid);
}

static bool
replies_left(const struct engine *e, uint64_t upto)
{
	const struct op_state *s = TAILQ_FIRST(&e->replying);

	return s == NULL || s->reply_number > upto;
}

bool
lease_names(const struct op_state *s, uint64_t oid)
{
	for (uint32_t i = 0; i < s->held_count; i++)
		if (s->held[i].oid == oid)
			return true;
	return need_named(s, oid);
}

/* R6: only an unfinished operation older than the one that wants the object may delay its recall. */
static bool
older_needs(const struct engine *e, const struct object *o)
{
	const struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		if (s->ticket != 0 && s->ticket < o->recall_ticket && s->wait != WAIT_REDO && lease_names(s, o->oid))
			return true;
	TAILQ_FOREACH(s, &e->runnable, link)
		if (s->ticket != 0 && s->ticket < o->recall_ticket && lease_names(s, o->oid))
			return true;
	return false;
}

static bool
named(const struct engine *e, uint64_t oid)
{
	const struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		if (lease_names(s, oid))
			return true;
	TAILQ_FOREACH(s, &e->replying, link)
		if (lease_names(s, oid))
			return true;
	return false;
}

/*
 * Who wants to read a directory will want to read what is in it.  What nobody
 * here is changing is shared at once, before the directory itself: a recall
 * for each of the children would cost the other side two round trips a child.
 */
static void
share_below(struct engine *e, struct object *dir)
{
	static const uint8_t low[TOKEN_SIZE];

	for (struct rec *r = object_rec_from(dir, KIND_ENTRY, low, sizeof low);
	    r != NULL && r->kind == KIND_ENTRY && e->sharing > 0; r = object_rec_after(dir, r)) {
		struct object *o = r->absent || r->oref == 0 ? NULL : object_find(e, r->oref);

		if (o == NULL || o->mode != MODE_EXCLUSIVE || o->born || !o->attr_known || o->gone ||
		    o->recall != RECALL_NONE || txn_pending(e, o) || o->writers > 0 || named(e, o->oid))
			continue;
		e->sharing--;
		lease_release(e, o, MODE_SHARED);
	}
}

static void
drain(struct engine *e, struct object *o)
{
	recall_set(e, o, RECALL_DRAIN);
	o->recall_after = e->replies;
	o->cached_replies = 0;
	o->light_asked = false;
	lease_step(e, o);
}

static bool
sweep(struct engine *e, struct object *o, bool directory, bool pages)
{
	struct action *a = action_add(e, ACTION_INVALIDATE);

	if (a == NULL)
		return false;
	o->sweeps++;
	o->light_sweeps += !pages;
	a->oid = o->oid;
	a->directory = directory;
	a->pages = pages;
	return true;
}

bool
lease_sweep(struct engine *e, struct object *o)
{
	bool directory = !o->attr_known || S_ISDIR(o->attr.mode);

	return sweep(e, o, directory, !directory);
}

void
lease_late_over(struct engine *e, struct object *o)
{
	if (o->late != LATE_NOTHING)
		TAILQ_REMOVE(&e->late, o, late_link);
	o->late = LATE_NOTHING;
}

/* Replies that are on their way would bring back to the kernel what its sweep takes. */
static void
sweep_late(struct engine *e, struct object *o, enum late what)
{
	if (TAILQ_EMPTY(&e->replying))
		return;
	what = what > o->late ? what : o->late;
	lease_late_over(e, o);
	o->late = what;
	o->late_after = e->replies;
	TAILQ_INSERT_TAIL(&e->late, o, late_link);
}

/*
 * An operation that had to wait changed o by a name that may have led the
 * kernel to another inode when it looked: its attributes of o are stale.
 */
void
lease_changed(struct engine *e, const struct op *op, struct object *o)
{
	if (!op->state->waited || o->lookups == 0)
		return;
	sweep(e, o, false, false);
	sweep_late(e, o, LATE_ATTRIBUTES);
}

/*
 * op is done, and answered once the server has it: who looks meanwhile sees it
 * in what the kernel asks for.  What the kernel has must not tell of before.
 */
void
lease_foretold(struct engine *e, const struct op *op)
{
	const uint64_t oids[] = { op->ino, op->ino2, op->victim, op->moved };

	for (size_t i = 0; i < sizeof oids / sizeof *oids; i++) {
		struct object *o = oids[i] == 0 ? NULL : object_find(e, oids[i]);

		if (o != NULL && (o->lookups > 0 || o->oid == OID_ROOT))
			sweep(e, o, false, false);
	}
}

/*
 * Has a parked request locked pages of o in the kernel?  The sweep waits for
 * them, and the request for leases that others get after our release, or for
 * that itself (R1).
 */
static bool
pages_locked(const struct engine *e, const struct object *o)
{
	const struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		if ((s->wait == WAIT_READ || s->wait == WAIT_OBJECT || s->wait == WAIT_ATTACH || s->wait == WAIT_REDO) &&
		    s->op->ino == o->oid && (s->op->type == OP_READ || s->op->type == OP_WRITE))
			return true;
	return false;
}

static bool
attributes_swept(struct engine *e, struct object *o)
{
	if (!o->light_asked)
		o->light_asked = sweep(e, o, false, false);
	return o->light_asked && o->light_sweeps == 0;
}

void
lease_step(struct engine *e, struct object *o)
{
	e->hurry |= o->recall == RECALL_WAIT && o->turn && e->now_ms < o->hold_until;
	if (o->recall == RECALL_WAIT && (o->recall_mode != MODE_NONE || e->now_ms >= o->hold_until) &&
	    !older_needs(e, o)) {
		if (o->recall_mode == MODE_SHARED && o->writers == 0) {
			recall_set(e, o, RECALL_FLUSH);
			o->recall_after = e->replies;
		} else {
			drain(e, o);
			return;
		}
	}
	if (o->recall == RECALL_DRAIN && replies_left(e, o->recall_after)) {
		if (o->lookups == 0 && o->opens == 0 && o->oid != OID_ROOT)
			recall_set(e, o, RECALL_FLUSH);
		else if (lease_sweep(e, o))		/* else there is no memory to ask for it: at the next step */
			recall_set(e, o, RECALL_SWEEP);
	}
	/*
	 * The release does not wait for that sweep; it ends when the request is
	 * answered.  Files opened while others mount the volume have no pages, so
	 * only older handles may see old bytes until then.  Attributes are asked
	 * for by anybody, and have no lock: a sweep of them alone is waited for.
	 */
	if (o->recall == RECALL_SWEEP && pages_locked(e, o) && attributes_swept(e, o))
		recall_set(e, o, RECALL_FLUSH);
	if (o->recall != RECALL_FLUSH)
		return;
	if (data_dirty(o) || o->hold) {
		data_flush(e, o);
		if (data_dirty(o) || o->hold)
			return;
	}
	/* The rename lease is kept until the move itself is durable. */
	if (o->dirty || (o->oid == OID_RENAME && !txn_all_sent(e))) {
		txn_commit(e);
		return;
	}
	/* Until the answer to a change has left the kernel shows what it had before, which nobody may after others saw the new. */
	if (!replies_left(e, o->recall_after))
		return;
	e->sharing = SHARED_MAX;
	if (o->inflight == 0 && (o->oid != OID_RENAME || e->inflight_count == 0))
		lease_release(e, o, o->recall_mode);
}

void
lease_step_all(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->recalling); o != NULL; o = next) {
		next = TAILQ_NEXT(o, recall_link);
		lease_step(e, o);
	}
}

bool
engine_hurry(struct engine *e)
{
	bool hurry = e->hurry;

	e->hurry = false;
	return hurry;
}

/*
 * A reply that has left gives the kernel an inode only when the caller's thread
 * has run: told before, it knows nothing, and keeps what the reply says of it.
 */
bool
lease_sweep_again(struct engine *e, struct object *o, bool pages)
{
	struct action *a;

	if (o->lookups == 0 || o->oid == OID_ROOT || o->unknown >= UNKNOWN_MAX ||
	    (a = action_add(e, ACTION_INVALIDATE)) == NULL)
		return false;
	o->unknown++;
	a->oid = o->oid;
	a->pages = pages;	/* names went with the first */
	a->again = true;
	return true;
}

void
lease_swept(struct engine *e, struct object *o, bool pages)
{
	o->unknown = 0;
	o->light_sweeps -= !pages && o->light_sweeps > 0;
	if (o->sweeps > 0 && --o->sweeps > 0)
		return;
	if (o->recall != RECALL_SWEEP)
		return;
	if (o->cached_replies > 0)
		drain(e, o);	/* pages or names came back meanwhile */
	else {
		recall_set(e, o, RECALL_FLUSH);
		lease_step(e, o);
	}
}

/* Begins to give it back, as if somebody wanted it who is younger than any operation here. */
static void
recall_own(struct engine *e, struct object *o, enum mode kept)
{
	o->recall_mode = kept;
	o->recall_ticket = UINT64_MAX;
	recall_set(e, o, RECALL_WAIT);
	lease_step(e, o);
}

/* One that nobody here would miss at once. */
static bool
recall_idle(struct engine *e, struct object *o, uint64_t dir, enum mode kept)
{
	if (o == NULL || o->hint_name == NULL || o->hint_parent != dir || o->mode <= kept || o->recall != RECALL_NONE ||
	    o->born || o->gone || o->opens > 0 || e->now_ms < o->hold_until || txn_pending(e, o) || named(e, o->oid))
		return false;
	recall_own(e, o, kept);
	return true;
}

/*
 * Who lists or removes what is in a directory wants its children one by one,
 * and would pay two round trips for each.  So with each recall in such a
 * series others are given back along, twice as many each time: those behind it
 * in the listing or, where that is not known here any more, in time of use.
 */
static void
recall_along(struct engine *e, struct object *o, enum mode kept)
{
	uint64_t dir = o->hint_name == NULL ? 0 : o->hint_parent;
	unsigned count, left, look;
	struct object *up, *next;
	struct rec *at;

	if (dir == 0)
		return;
	if (e->series[kept].dir != dir) {
		e->series[kept].dir = dir;
		e->series[kept].count = 0;
	}
	count = ++e->series[kept].count;
	if (count < SERIES_LEAST)
		return;
	left = count < SERIES_LEAST + SERIES_DOUBLES ? SERIES_LEAST << (count - SERIES_LEAST) : SERIES_LEAST << SERIES_DOUBLES;
	look = left * SERIES_LOOK;
	if ((up = walk_above(e, o, &at)) != NULL) {
		while (left > 0 && look-- > 0 && (at = object_rec_after(up, at)) != NULL && at->kind == KIND_ENTRY)
			left -= !at->absent && recall_idle(e, object_find(e, at->oref), dir, kept);
		return;
	}
	for (o = TAILQ_NEXT(o, lru_link); o != NULL && left > 0 && look-- > 0; o = next) {
		next = TAILQ_NEXT(o, lru_link);
		left -= recall_idle(e, o, dir, kept);
	}
}

void
lease_recalled(struct engine *e, const struct msg_recall *m)
{
	struct object *o = object_get(e, m->oid);
	bool along = false;

	if (o == NULL)
		return;
	if (o->mode == MODE_NONE || m->grant != o->grant) {
		if (m->grant > o->grant) {
			o->early_grant = m->grant;
			o->early_mode = m->mode;
			o->early_ticket = m->ticket;
		} else
			object_drop(e, o);
		return;
	}
	if (o->mode <= m->mode)
		return;
	e->stats.recalls++;
	if (m->mode == MODE_NONE && (!o->attr_known || S_ISDIR(o->attr.mode)))
		names_recalled(e, o);
	if (e->sessions < 2)
		e->sessions = 2;	/* somebody is there, whatever the last sign of life said */
	if (o->recall != RECALL_NONE) {
		if (m->ticket < o->recall_ticket)
			o->recall_ticket = m->ticket;
		if (m->mode < o->recall_mode) {
			o->recall_mode = m->mode;
			if (o->recall != RECALL_WAIT) {
				drain(e, o);
				return;
			}
		}
	} else {
		o->recall_mode = m->mode;
		o->recall_ticket = m->ticket;
		recall_set(e, o, RECALL_WAIT);
		along = true;
	}
	lease_step(e, o);
	if (along)
		recall_along(e, o, m->mode);
}

/* Begins to give back what was needed longest ago. */
static void
shed(struct engine *e)
{
	const size_t all = e->objects / SHED_PART + 1;
	size_t left = all;

	/* What is pinned only if there is nothing else. */
	for (int pins = 0; pins < 2 && left == all; pins++)
		for (struct object *o = TAILQ_FIRST(&e->lru), *next; o != NULL && left > 0; o = next) {
			next = TAILQ_NEXT(o, lru_link);
			if (o->mode == MODE_NONE || o->recall != RECALL_NONE || o->oid < OID_RESERVED ||
			    (pins == 0 && keep_holds(e, o)))
				continue;
			left--;
			recall_own(e, o, MODE_NONE);
		}
}

void
lease_refused(struct engine *e, uint64_t request, enum status status)
{
	struct op_state *s;

	if (e->allocating && request == e->alloc_request) {
		e->allocating = false;
		e->alloc_after = e->now_ms + 1000;
	}
	if (scout_refused(e, request))
		return;
	TAILQ_FOREACH(s, &e->parked, link)
		if (s->wait == WAIT_READ && s->request == request)
			break;
	if (s == NULL)
		return;
	if (status != STATUS_BUSY) {
		s->refused = -EIO;
		wake(e, WAIT_READ, request);
		return;
	}
	/*
	 * This session has as many leases as it may, or the server is out of memory: it is asked again when some
	 * are given back, which may be at once, or in a while.  What is being recalled may wait for this operation.
	 */
	engine_busy(e);
	s->wait = WAIT_OBJECT;
	s->key = 0;
	if (e->reread_at == 0)
		e->reread_at = e->now_ms + e->busy_ms;
	shed(e);
}

/* ---- after a new connection ---- */

static bool
unsaved(const struct object *o)
{
	return data_dirty(o) || o->hold || o->dirty || o->inflight > 0;
}

/*
 * Our term was over, so others may have been given what we held; and a server
 * that forgot that with its leases would give it to who asks first.  What is
 * clean is not worth that somebody else loses his work.
 */
static void
abandon_clean(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->lru); o != NULL; o = next) {
		next = TAILQ_NEXT(o, lru_link);
		if (o->mode != MODE_NONE && !unsaved(o) && !o->born)
			lease_lost(e, o);
	}
}

/* Says all that is held; again at the next tick, from the beginning, if there is no memory for that. */
static void
claim_all(struct engine *e)
{
	struct object *o = TAILQ_FIRST(&e->lru);

	e->unclaimed = true;
	do {
		struct action *a = send_message(e, MSG_reclaim, ++e->next_request);
		size_t most = e->objects + 1 < LEASE_LIST_MAX ? e->objects + 1 : LEASE_LIST_MAX;
		struct msg_lease *at = a == NULL ? NULL : arena_alloc(&a->arena, most * sizeof *at);
		uint32_t count = 0;

		if (a == NULL)
			return;
		if (at == NULL) {
			at = &a->one.lease;
			most = 1;
		}
		for (; o != NULL && count < most; o = TAILQ_NEXT(o, lru_link))
			if (o->mode != MODE_NONE)
				at[count++] = (struct msg_lease){ .oid = o->oid, .mode = o->mode,
				    .grant = o->grant, .base = o->version };
		a->message.reclaim.leases.at = at;
		a->message.reclaim.leases.count = count;
		a->message.reclaim.last = o == NULL;
		a->message.reclaim.known = e->known_oid;
		e->reclaims++;
	} while (o != NULL);
	e->unclaimed = false;
}

void
lease_reclaim(struct engine *e, bool restarted)
{
	if (restarted && !lease_valid(e))
		abandon_clean(e);
	e->reclaiming = true;
	e->reclaims = 0;
	claim_all(e);
}

/* The lease is gone without our release: what was not committed under it is lost. */
void
lease_lost(struct engine *e, struct object *o)
{
	if (o->inflight > 0)
		commit_doom(e, o);
	if (unsaved(o)) {
		if (!redo_strand(e, o)) {
			o->error = -EIO;
			o->error_seq = ++e->error_counter;
			e->stats.lost_objects++;
		}
		data_drop(e, o);
		txn_clean(e, o);
	} else
		journal_clean(e, o);
	if (o->opens > 0 && !o->pinned)
		object_pin(e, o, true);
	if (o->mode != MODE_NONE)
		give_back(e, o, MODE_NONE);	/* the server may still count on it */
	keep_changed(e, o);
	names_gone(e, o);
	o->mode = MODE_NONE;
	o->born = o->adopted = o->gone = false;		/* gone: unless the server says so, too */
	recall_set(e, o, RECALL_NONE);
	if (o->lookups > 0 || o->oid == OID_ROOT) {
		lease_sweep(e, o);
		sweep_late(e, o, LATE_ALL);
	}
	scout_forgotten(e, o);
	object_forget(o);
	wake(e, WAIT_OBJECT, o->oid);
}

/* Replies that were on their way when objects were swept have brought the kernel what they had. */
void
lease_replied(struct engine *e)
{
	struct object *o;

	while ((o = TAILQ_FIRST(&e->late)) != NULL && replies_left(e, o->late_after)) {
		enum late what = o->late;

		lease_late_over(e, o);
		if (what == LATE_ALL && (o->lookups > 0 || o->oid == OID_ROOT))
			lease_sweep(e, o);
		else if (what == LATE_ATTRIBUTES && o->lookups > 0)
			sweep(e, o, false, false);
	}
}

void
lease_reclaimed(struct engine *e, const struct msg_reclaimed *m)
{
	bool part = false;

	for (uint32_t i = 0; i < m->lost.count; i++) {
		struct object *o = object_find(e, m->lost.at[i].oid);

		if (o == NULL || o->mode == MODE_NONE || o->born)
			continue;
		if (o->gone && o->opens == 0 && !o->pinned_elsewhere && !unsaved(o)) {
			lease_freed(e, o);	/* as it should be: its removal has landed */
			continue;
		}
		part |= unsaved(o);
		lease_lost(e, o);
	}
	/* Operations change several objects: without one of them the others would not fit together. */
	if (part)
		txn_lose_running(e);
	e->stats.replays++;
}

/* The session is not there any more. */
void
lease_lose_session(struct engine *e)
{
	struct object *o, *next;

	txn_lose_all(e);
	e->journal.keep_oids = false;	/* nor are the ids its own any more, and commits are counted anew */
	e->journal.lost_upto = 0;
	for (o = TAILQ_FIRST(&e->lru); o != NULL; o = next) {
		next = TAILQ_NEXT(o, lru_link);
		o->pinned = false;
		o->sync_sequence = 0;
		if (o->mode != MODE_NONE)
			lease_lost(e, o);
	}
	e->sequence = e->acknowledged = e->sync_sequence = 0;
}

/* The term is over: the kernel must not go on where we may not. */
void
lease_expired(struct engine *e)
{
	struct object *o;

	TAILQ_FOREACH(o, &e->lru, lru_link)
		if (o->mode != MODE_NONE && (o->lookups > 0 || o->oid == OID_ROOT))
			lease_sweep(e, o);
}

void
lease_forget_names(struct engine *e)
{
	struct object *o;

	TAILQ_FOREACH(o, &e->lru, lru_link)
		if (o->lookups > 0 || o->oid == OID_ROOT)
			sweep(e, o, !o->attr_known || S_ISDIR(o->attr.mode), false);
}

uint32_t
lease_keep_ms(struct engine *e)
{
	if (e->sessions <= 1 || e->offline) {
		e->kept_long = true;
		return UINT32_MAX;
	}
	return lease_valid(e) ? (uint32_t)(e->lease_until - e->now_ms) : 0;
}

void
lease_tick(struct engine *e)
{
	if (e->unclaimed && e->attached)
		claim_all(e);
	if (e->reread_at != 0 && e->now_ms >= e->reread_at) {
		e->reread_at = 0;
		wake(e, WAIT_OBJECT, 0);
	}
	if (e->kept_long && e->sessions > 1 && !e->offline) {
		e->kept_long = false;
		lease_forget_names(e);
	}
}
