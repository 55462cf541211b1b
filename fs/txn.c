/*
 * txn.c - the running transaction and the commits under way.
 *
 * The running transaction is the set of dirty records of dirty objects: the
 * last value wins, and what was created and removed in between cancels.  To
 * freeze it is to copy it, in plaintext, into a commit with the next sequence
 * number; frozen commits go out in order and are acknowledged in order.
 *
 * Invariants:
 * 1. A record is dirty only in an object on the dirty list.
 * 2. A REGION, and the size it brings, is made dirty only when its block is on
 *    the server or travels in the same commit (R4).
 * 3. An object that is `ordered` has no dirty span when the transaction that
 *    holds its rename is frozen.
 * 4. The data of every block a commit names is kept until it is acknowledged.
 * 5. The server consumes sequences in order: the first unacknowledged commit
 *    is the one the next answer is about.
 * 6. A commit of which an object was lost is refused, or not sent again.
 */
#include "fs/core.h"

#include <assert.h>

enum {
	INFLIGHT_MAX	= 8,
	/*
	 * Sizes on the wire.  A commit leaves at commit_max; what would bring it over
	 * FULL waits; WINDOW are under way at most.  FULL and WINDOW together fit
	 * one frame: a server without space sends all of them back, and they
	 * become one commit.
	 */
	FULL_BYTES	= 3 * 1024 * 1024,
	WINDOW_BYTES	= 4 * 1024 * 1024,
	CARRIED_BLOCK_MAX = 32 * 1024,		/* a larger one goes ahead of the commit */
	SETTLE_MS	= 500,
	ATTR_SIZE_MAX	= 256 + SYMLINK_MAX,
};

bool
txn_pending(const struct engine *e, const struct object *o)
{
	(void)e;
	return o->dirty || o->inflight > 0 || data_dirty(o) || o->hold;
}

void
txn_count(struct engine *e, struct object *o)
{
	bool unsaved = o->dirty || o->on_data_list;

	if (unsaved != o->unsaved)
		e->unsaved += unsaved ? 1 : -1;
	o->unsaved = unsaved;
}

void
txn_touch(struct engine *e, struct object *o)
{
	keep_changed(e, o);
	if (o->dirty)
		return;
	o->dirty = true;
	TAILQ_INSERT_TAIL(&e->dirty, o, dirty_link);
	txn_count(e, o);
	if (e->dirty_since == 0)
		e->dirty_since = e->now_ms;
}

void
txn_touch_attr(struct engine *e, struct object *o)
{
	if (!o->attr_dirty)
		e->running_bytes += ATTR_BYTES + o->attr.symlink.len;
	o->attr_dirty = true;
	txn_touch(e, o);
}

static size_t
rec_bytes(const struct rec *r)
{
	return RECORD_BYTES + (r->absent ? 0 : r->value_len + r->brefs_count * ID_SIZE);
}

static void
rec_dirty(struct engine *e, struct object *o, struct rec *r)
{
	if (!r->dirty) {
		r->dirty = true;
		TAILQ_INSERT_TAIL(&o->dirty_recs, r, dirty_link);
	}
	e->running_bytes += rec_bytes(r);
	txn_touch(e, o);
}

int
txn_put(struct engine *e, struct object *o, uint8_t kind, const uint8_t *subkey, size_t len,
    struct bytes value, uint64_t oref, const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count)
{
	struct rec *r = object_rec_make(o, kind, subkey, len);

	if (r == NULL || object_rec_fill(r, value, oref, brefs, brefs_count) < 0)
		return -ENOMEM;
	rec_dirty(e, o, r);
	return 0;
}

int
txn_delete(struct engine *e, struct object *o, uint8_t kind, const uint8_t *subkey, size_t len)
{
	struct rec *r = object_rec(o, kind, subkey, len);

	if (r == NULL)
		return 0;
	r->absent = true;
	r->oref = 0;
	/* A commit under way may be refused, and what it did to this record must then be done once more. */
	if (r->stored || r->sequence > e->acknowledged)
		rec_dirty(e, o, r);
	else
		object_rec_remove(o, r);	/* created and removed: cancelled */
	return 0;
}

static void
undirty(struct engine *e, struct object *o)
{
	if (!o->dirty)
		return;
	o->dirty = o->ordered = false;
	TAILQ_REMOVE(&e->dirty, o, dirty_link);
	txn_count(e, o);
}

void
txn_clean(struct engine *e, struct object *o)
{
	struct rec *r;

	while ((r = TAILQ_FIRST(&o->dirty_recs)) != NULL) {
		r->dirty = false;
		TAILQ_REMOVE(&o->dirty_recs, r, dirty_link);
	}
	o->attr_dirty = false;
	o->hold = o->wipe = false;
	o->over = 0;
	undirty(e, o);
}

void
txn_keep(struct engine *e, struct flush_state *f)
{
	f->kept = true;
	txn_uncarry(e, f);
	TAILQ_INSERT_TAIL(&e->carried, f, link);
	e->kept_bytes += f->flush.len;
	if (f->flush.carried) {
		e->running_bytes += RECORD_BYTES + credit_block(f->flush.len);
		e->carried_count++;
	}
}

/* ---- freezing ---- */

bool
txn_held_back(const struct object *o, const struct rec *r)
{
	return o->hold && (r->kind == KIND_REGION || r->kind == KIND_INLINE);
}

/*
 * The server frees it when the removal of its last name is applied: its own
 * changes are moot.  But not the removal of names in a directory, which is
 * only freed empty, unless the server never heard of it.
 */
static bool
moot(const struct object *o)
{
	/* While our own pin holds it others may still read it: it must not look as if it had a name. */
	if (!o->gone || o->opens > 0 || o->pinned_elsewhere || o->pinned || o->pinned_before)
		return false;
	return !S_ISDIR(o->attr.mode) || (o->born && o->sequence == 0);
}

static size_t
count_changes(const struct object *o)
{
	const struct rec *r;
	size_t n = 0;

	if (moot(o))
		return 0;
	TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
		n += !txn_held_back(o, r);
	return n + o->attr_dirty + (o->wipe && !o->hold);
}

static struct msg_change *
add_change(struct commit *c, uint8_t op, const struct object *o, uint8_t kind,
    const uint8_t *subkey, size_t len, const void *value, size_t value_len)
{
	struct msg_change *m = &c->changes[c->changes_count];
	uint8_t *copy = arena_alloc(&c->arena, len + value_len + 1);

	if (copy == NULL)
		return NULL;
	*m = (struct msg_change){ .op = op, .oid = o->oid, .kind = kind };
	if (len > 0)
		memcpy(copy, subkey, len);
	if (value_len > 0)
		memcpy(copy + len, value, value_len);
	m->subkey = (struct bytes){ copy, len };
	m->value = (struct bytes){ copy + len, value_len };
	c->changes_count++;
	return m;
}

static int
freeze_record(struct commit *c, const struct object *o, const struct rec *r)
{
	struct msg_change *m;

	if (r->absent)
		return add_change(c, CHANGE_DELETE, o, r->kind, r->subkey, r->subkey_len, NULL, 0) == NULL ? -ENOMEM : 0;
	m = add_change(c, CHANGE_PUT, o, r->kind, r->subkey, r->subkey_len, r->value, r->value_len);
	if (m == NULL)
		return -ENOMEM;
	if (r->oref != 0) {
		if ((m->orefs.at = arena_alloc(&c->arena, sizeof(uint64_t))) == NULL)
			return -ENOMEM;
		m->orefs.at[0] = r->oref;
		m->orefs.count = 1;
	}
	if (r->brefs_count > 0) {
		uint8_t (*refs)[ID_SIZE] = arena_alloc(&c->arena, r->brefs_count * sizeof *refs);

		if (refs == NULL)
			return -ENOMEM;
		memcpy(refs, r->brefs, r->brefs_count * sizeof *refs);
		m->brefs.at = (const uint8_t (*)[ID_SIZE])refs;
		m->brefs.count = r->brefs_count;
	}
	return 0;
}

static int
freeze_object(struct commit *c, const struct object *o)
{
	static const uint8_t last[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t value[ATTR_SIZE_MAX], from[8];
	const struct rec *r;
	struct msg_change *m;
	struct attr attr = o->attr;
	ssize_t len;

	c->bases[c->bases_count++] = (struct msg_base){ .oid = o->oid, .version = o->version };
	/* Listed without changes, to be kept, leased, until its removal is acknowledged. */
	if (moot(o))
		return 0;
	if (o->attr_dirty) {
		attr.size = S_ISREG(attr.mode) ? o->stable_size : attr.size;
		attr.flags = (attr.flags & ~(uint32_t)ATTR_INLINE) | (o->stable_flags & ATTR_INLINE);
		if ((len = attr_encode(&attr, value, sizeof value)) < 0 ||
		    add_change(c, CHANGE_PUT, o, KIND_ATTR, NULL, 0, value, len) == NULL)
			return -ENOMEM;
	}
	if (o->wipe && !o->hold) {
		data_region_subkey(o->wipe_from, from);
		if ((m = add_change(c, CHANGE_DELETE_RANGE, o, KIND_REGION, from, sizeof from, NULL, 0)) == NULL)
			return -ENOMEM;
		m->to = (struct bytes){ last, sizeof last };
	}
	TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
		if (!txn_held_back(o, r) && freeze_record(c, o, r) < 0)
			return -ENOMEM;
	return 0;
}

/* What was held back of it. */
static size_t
left_bytes(const struct object *o)
{
	const struct rec *r;
	size_t n = 0;

	TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
		n += rec_bytes(r);
	return n;
}

/* After the copy is made: what it holds is no longer dirty. */
static void
mark_frozen(struct engine *e, struct object *o, uint64_t sequence)
{
	struct rec *r, *next;

	for (r = TAILQ_FIRST(&o->dirty_recs); r != NULL; r = next) {
		next = TAILQ_NEXT(r, dirty_link);
		if (txn_held_back(o, r))
			continue;
		r->dirty = false;
		r->stored = !r->absent;
		r->sequence = sequence;
		TAILQ_REMOVE(&o->dirty_recs, r, dirty_link);
	}
	if (o->attr_dirty) {
		o->stated_size = o->stable_size;
		o->stated_flags = o->stable_flags;
	}
	o->attr_dirty = false;
	if (!o->hold)
		o->wipe = false;
	o->sequence = sequence;
	o->inflight++;
	o->ordered = false;
	if (TAILQ_EMPTY(&o->dirty_recs) && !o->wipe)
		undirty(e, o);
}

/*
 * What is left, content not yet flushed included, goes on ageing; but after
 * its time came once it has time again, or it would be flushed at every step.
 */
static void
begin_age(struct engine *e)
{
	if (TAILQ_EMPTY(&e->dirty) && TAILQ_EMPTY(&e->with_data))
		e->dirty_since = 0;
	else if (e->settle_until != 0 || e->dirty_since == 0)
		e->dirty_since = e->now_ms;
	e->settle_until = 0;
}

/* Nothing that could be sent now: what is dirty waits for content. */
bool
txn_all_sent(const struct engine *e)
{
	const struct object *o;

	TAILQ_FOREACH(o, &e->dirty, dirty_link)
		if (count_changes(o) > 0)
			return false;
	return true;
}

static void
clean_moot(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->dirty); o != NULL; o = next) {
		next = TAILQ_NEXT(o, dirty_link);
		if (moot(o)) {
			txn_clean(e, o);
			object_drop(e, o);
		}
	}
}

static void
freeze(struct engine *e)
{
	struct object *o, *next;
	struct flush_state *f, *nextf;
	struct commit *c;
	size_t changes = 0, objects = 0;

	for (o = TAILQ_FIRST(&e->dirty); o != NULL; o = next) {
		size_t n = count_changes(o);

		next = TAILQ_NEXT(o, dirty_link);
		if (moot(o) && o->born && o->sequence == 0) {
			txn_clean(e, o);	/* the server never heard of it */
			object_drop(e, o);
			continue;
		}
		changes += n;
		objects += n > 0 || moot(o);
	}
	e->freeze_wanted = false;
	if (changes == 0) {
		clean_moot(e);
		e->running_bytes = 0;
		begin_age(e);
		wake(e, WAIT_COMMIT, UINT64_MAX);	/* what was waited for will not come */
		return;
	}
	if ((c = commit_new(e, changes, objects)) == NULL) {
		e->freeze_wanted = true;	/* tried again at the next tick */
		return;
	}
	for (o = TAILQ_FIRST(&e->dirty); o != NULL; o = TAILQ_NEXT(o, dirty_link))
		if ((count_changes(o) > 0 || moot(o)) && freeze_object(c, o) < 0) {
			commit_put(c);
			e->freeze_wanted = true;	/* tried again at the next tick */
			return;
		}
	c->sequence = ++e->sequence;
	journal_froze(e, c->sequence);
	for (o = TAILQ_FIRST(&e->dirty); o != NULL; o = next) {
		next = TAILQ_NEXT(o, dirty_link);
		if (moot(o)) {
			txn_clean(e, o);
			o->sequence = c->sequence;
			o->inflight++;
		} else if (count_changes(o) > 0)
			mark_frozen(e, o, c->sequence);
	}
	c->state->bytes = e->running_bytes;
	e->inflight_bytes += e->running_bytes;
	e->running_bytes = e->carried_count = e->kept_bytes = 0;
	for (f = TAILQ_FIRST(&e->carried); f != NULL; f = nextf) {
		nextf = TAILQ_NEXT(f, link);
		o = object_find(e, f->oid);
		if (o != NULL && o->hold) {	/* its record is held back, so it is not named yet */
			e->kept_bytes += f->flush.len;
			e->running_bytes += f->flush.carried ? credit_block(f->flush.len) : 0;
			e->carried_count += f->flush.carried;
			continue;
		}
		TAILQ_REMOVE(&e->carried, f, link);
		TAILQ_INSERT_TAIL(&c->state->kept, f, link);
		if (f->flush.carried)
			c->blocks[c->blocks_count++] = &f->flush;
	}
	TAILQ_FOREACH(o, &e->dirty, dirty_link)
		e->running_bytes += left_bytes(o);
	begin_age(e);
	TAILQ_INSERT_TAIL(&e->inflight, c->state, link);
	e->inflight_count++;
	if (e->attached)
		commit_send(e, c);
}

/* True when every object that must travel with its data is ready to. */
static bool
ordered_ready(struct engine *e)
{
	struct object *o;
	bool ready = true;

	TAILQ_FOREACH(o, &e->dirty, dirty_link)
		if (o->ordered && (data_dirty(o) || o->hold)) {
			data_flush(e, o);
			ready &= !data_dirty(o);
		}
	return ready;
}

bool
txn_full(const struct engine *e)
{
	return e->running_bytes + e->carrying > FULL_BYTES;
}

bool
txn_carry(struct engine *e, struct flush_state *f)
{
	if (f->flush.len > CARRIED_BLOCK_MAX || e->running_bytes + e->carrying + f->flush.len > FULL_BYTES)
		return false;
	f->reserved = true;
	e->carrying += f->flush.len;
	return true;
}

void
txn_uncarry(struct engine *e, struct flush_state *f)
{
	if (f->reserved)
		e->carrying -= f->flush.len;
	f->reserved = false;
}

/*
 * The transaction cannot leave without the content of ordered objects, so
 * theirs does not wait for room: it is kept here.
 */
void
txn_order(struct engine *e, struct object *o)
{
	if (!o->ordered)
		e->running_bytes += RECORD_BYTES + INLINE_MAX;
	o->ordered = true;
}

static bool
window_open(const struct engine *e)
{
	return e->inflight_count == 0 || (e->inflight_count < INFLIGHT_MAX &&
	    e->inflight_bytes + e->running_bytes <= WINDOW_BYTES);
}

void
txn_commit(struct engine *e)
{
	e->freeze_wanted = true;
	txn_step(e);
}

/* Nothing names the block any more.  One that is being stored again is freed when that has ended. */
static void
let_go(struct engine *e, struct flush_state *f)
{
	e->dirty_bytes -= f->flush.len;
	f->kept = false;
	if (f->stored || f->failed)
		flush_free(e, f);
}

/* What named these blocks was cut away or removed again before it came into a commit. */
static void
forget_carried(struct engine *e)
{
	struct flush_state *f;

	while ((f = TAILQ_FIRST(&e->carried)) != NULL) {
		TAILQ_REMOVE(&e->carried, f, link);
		let_go(e, f);
	}
	e->running_bytes = e->carried_count = e->kept_bytes = 0;
	wake(e, WAIT_ROOM, 0);
}

void
txn_step(struct engine *e)
{
	if (e->resend_at != 0 && e->now_ms >= e->resend_at && e->attached)
		commit_send_all(e);
	if (e->error != 0 && e->now_ms >= e->retry_at && e->attached && e->inflight_count == 0) {
		data_flush_step(e);	/* blocks that were refused: an event may bring us here, and no tick be due */
		e->error = 0;
		e->freeze_wanted = true;
	}
	if (e->running_bytes > e->config.commit_max || e->kept_bytes > e->config.dirty_max / 4)
		e->freeze_wanted = true;
	/* Also when a commit is wanted that what is held back keeps empty. */
	if (e->dirty_since != 0 && e->now_ms - e->dirty_since >= e->config.commit_ms) {
		if (e->settle_until == 0) {
			/* Let the content written so far come along, but not for long (R4). */
			e->settle_until = e->now_ms + SETTLE_MS;
			data_flush_written(e);
		}
		if (e->storing == 0 || e->now_ms >= e->settle_until)
			e->freeze_wanted = true;
	}
	if (TAILQ_EMPTY(&e->dirty) && !TAILQ_EMPTY(&e->carried))
		forget_carried(e);
	if (e->freeze_wanted && e->error == 0 && window_open(e) && ordered_ready(e)) {
		if (e->settle_until != 0)
			data_settle_all(e);
		freeze(e);
		if (!TAILQ_EMPTY(&e->flushing))
			data_flush_step(e);	/* what waited for room */
	}
}

/* ---- answers ---- */

static void
unlink_commit(struct engine *e, struct commit_state *s)
{
	TAILQ_REMOVE(&e->inflight, s, link);
	e->inflight_count--;
	e->inflight_bytes -= s->bytes;
}

static void
acknowledge(struct engine *e, struct commit_state *s, uint64_t version)
{
	struct commit *c = s->commit;
	struct flush_state *f;

	unlink_commit(e, s);
	e->busy_ms = 0;
	e->acknowledged = e->inflight_count == 0 ? e->sequence : c->sequence;
	e->stats.commits++;
	e->credit.settled += s->bytes;
	full_committed(e, c);
	if (version > e->version)
		e->version = version;
	for (uint32_t i = 0; i < c->changes_count; i++) {
		const struct msg_change *m = &c->changes[i];
		struct object *o = m->op == CHANGE_DELETE || m->kind == KIND_ATTR ? object_find(e, m->oid) : NULL;
		struct rec *r = o == NULL ? NULL : object_rec(o, m->kind, m->subkey.data, m->subkey.len);

		if (o != NULL && m->kind == KIND_ATTR)
			data_told(o, m->value);
		/* A removed name need not be remembered where all names are known. */
		if (r != NULL && r->absent && !r->dirty && r->sequence == c->sequence && m->kind == KIND_ENTRY && o->entries.all)
			object_rec_remove(o, r);
	}
	for (uint32_t i = 0; i < c->bases_count; i++) {
		struct object *o = object_find(e, c->bases[i].oid);

		assert(o != NULL && o->inflight > 0);	/* which keeps it */
		o->born = false;
		redo_committed(e, o);
		o->writer = e->session;
		if (version > o->version)
			o->version = version;
		o->inflight--;
		if (o->recall == RECALL_FLUSH)
			lease_step(e, o);
		object_drop(e, o);
	}
	while ((f = TAILQ_FIRST(&s->kept)) != NULL) {
		TAILQ_REMOVE(&s->kept, f, link);
		let_go(e, f);
	}
	unpin_step(e);
	supply_step(e);
	wake(e, WAIT_COMMIT, e->acknowledged);
	wake(e, WAIT_ROOM, 0);
	if (!TAILQ_EMPTY(&e->flushing))
		data_flush_step(e);
	commit_put(c);
	journal_step(e);
}

/*
 * A commit that was not applied becomes part of the running transaction again.
 * False: but for what an object lost with its lease meanwhile.
 */
static bool
thaw(struct engine *e, struct commit_state *s)
{
	struct commit *c = s->commit;
	struct flush_state *f;
	bool whole = true;

	unlink_commit(e, s);
	for (uint32_t i = 0; i < c->changes_count; i++) {
		const struct msg_change *m = &c->changes[i];
		struct object *o = object_find(e, m->oid);
		struct rec *r;

		assert(o != NULL && o->inflight > 0);	/* which keeps it */
		if (o->mode == MODE_NONE) {
			whole &= o->dead;
			continue;
		}
		if (m->kind == KIND_ATTR) {
			if (o->hold)
				data_reorder(e, o);
			data_thawed(e, o);
			txn_touch_attr(e, o);
		} else if (m->op == CHANGE_DELETE_RANGE) {
			uint64_t from = 0;

			for (size_t k = 0; k < 8; k++)
				from = from << 8 | m->subkey.data[k];
			o->wipe_from = o->wipe && o->wipe_from < from ? o->wipe_from : from;
			o->wipe = true;
			txn_touch(e, o);
		} else if ((r = object_rec(o, m->kind, m->subkey.data, m->subkey.len)) != NULL && r->sequence == c->sequence) {
			r->stored = true;	/* it may have been there before: a delete must say so */
			rec_dirty(e, o, r);
		}
	}
	for (uint32_t i = 0; i < c->bases_count; i++) {
		struct object *o = object_find(e, c->bases[i].oid);

		o->inflight--;
		if (o->gone && o->mode == MODE_EXCLUSIVE)
			txn_touch(e, o);	/* to be listed again */
	}
	while ((f = TAILQ_FIRST(&s->kept)) != NULL) {
		TAILQ_REMOVE(&s->kept, f, link);
		txn_keep(e, f);
	}
	commit_put(c);
	return whole;
}

/* s and those after it: the server has consumed none of their sequences. */
void
txn_thaw(struct engine *e, struct commit_state *s)
{
	struct commit_state *next;
	bool whole = true;

	e->sequence = s->commit->sequence - 1;
	for (; s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		whole &= thaw(e, s);
	}
	/* Half of an operation is none. */
	if (!whole)
		txn_lose_running(e);
}

void
txn_refreeze(struct engine *e)
{
	struct op_state *s;

	/* What waits for a later one waits for the next: all that is left goes into it. */
	TAILQ_FOREACH(s, &e->parked, link)
		if (s->wait == WAIT_COMMIT)
			s->key = s->sequence = e->sequence + 1;
	txn_commit(e);
	wake(e, WAIT_COMMIT, UINT64_MAX);
}

void
txn_lose_running(struct engine *e)
{
	struct object *o;

	journal_lost(e, e->sequence + 1);
	while ((o = TAILQ_FIRST(&e->dirty)) != NULL) {
		lease_lost(e, o);
		txn_clean(e, o);
	}
	begin_age(e);
}

/* What is in s, and after it, was changed without a lease: the server refused it for good, or would. */
static void
lose_from(struct engine *e, struct commit_state *s, bool refused)
{
	if (s != NULL) {
		journal_lost(e, s->commit->sequence);
		txn_thaw(e, s);
		e->sequence += refused;	/* its sequence is consumed then, those after it are not */
	}
	txn_lose_running(e);
	if (e->inflight_count == 0)
		e->acknowledged = e->sequence;
	e->stats.rejected++;
	send_message(e, MSG_reset, ++e->next_request);
	wake(e, WAIT_COMMIT, UINT64_MAX);
}

void
txn_lose_all(struct engine *e)
{
	lose_from(e, TAILQ_FIRST(&e->inflight), true);
}

void
txn_postpone(struct engine *e, struct commit_state *s, int error)
{
	txn_thaw(e, s);
	full_refused(e, error);
}

/* OK waits for the server's disk, other answers do not: they may come before those of earlier commits. */
void
txn_committed(struct engine *e, const struct msg_committed *m)
{
	struct commit_state *s = TAILQ_FIRST(&e->inflight);

	while (s != NULL && s->commit->sequence != m->sequence)
		s = TAILQ_NEXT(s, link);
	if (s == NULL)
		return;		/* about one that was resent or thawed meanwhile */
	switch (m->status) {
	case STATUS_OK:
		journal_acked(e, m->sequence);
		credit_committed(e, s, m->credit);
		acknowledge(e, s, m->version);
		break;
	case STATUS_MISSING:
		supply_missing(e, s, m);
		break;
	case STATUS_REJECTED:
		lose_from(e, s, true);
		break;
	case STATUS_NOSPC:
		txn_postpone(e, s, -ENOSPC);
		break;
	case STATUS_BUSY:
		engine_busy(e);		/* not consumed: it goes again, with all behind it */
		e->resend_at = e->now_ms + e->busy_ms;
		break;
	case STATUS_SEQUENCE:
		break;		/* follows one that was refused; settled with that */
	default:
		txn_postpone(e, s, -EIO);
		break;
	}
}

void
txn_resume(struct engine *e, uint64_t sequence, bool rejected, uint64_t outcome)
{
	struct commit_state *s;

	while ((s = TAILQ_FIRST(&e->inflight)) != NULL && s->commit->sequence <= sequence) {
		if (rejected && s->commit->sequence == sequence) {
			txn_lose_all(e);
			return;
		}
		/* What those before it made is not known; that it was this session will do. */
		acknowledge(e, s, s->commit->sequence == sequence ? outcome : 0);
	}
	if ((s = commit_doomed(e)) != NULL)
		lose_from(e, s, false);
	commit_send_all(e);
}
