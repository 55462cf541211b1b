/*
 * engine.c - the client engine: events in, actions out.
 *
 * An operation is run when it is submitted.  When something it needs is not
 * here it changes nothing, is parked with what it waits for, and is run again
 * from its beginning when that has come.  So no operation holds anything while
 * it waits, and every one sees one consistent state.
 *
 * Events:  submit, replied, interrupt, forget, attached, detached, received,
 *          stored, fetched, invalidated, sleep, tick.  After each, what became
 *          runnable runs, the transaction is looked after, recalls go on.
 *
 * Invariants (engine_check()):
 * 1. An object without a lease has no records, no attributes, nothing dirty.
 * 2. Dirty records belong to objects on the dirty list, and these are leased
 *    EXCLUSIVE.
 * 3. dirty_bytes is the sum of all spans and of all kept flushes.
 * 4. Sequences of commits under way are consecutive and end with `sequence`.
 * 5. Recalling objects, and only those, are on the recall list.
 * Those of the rooms stand in lease.c, txn.c and data.c.
 */
#include "fs/core.h"

enum { CACHE_MIN = 8 * 1024 * 1024, COMMIT_MAX = 1024 * 1024, BUSY_MIN_MS = 100, BUSY_MAX_MS = 1000 };

/* ---- objects ---- */

static size_t
slot_of(const struct engine *e, uint64_t oid)
{
	return (oid * 0x9e3779b97f4a7c15u >> 20) & (e->table_size - 1);
}

struct object *
object_find(struct engine *e, uint64_t oid)
{
	struct object *o = e->table[slot_of(e, oid)];

	while (o != NULL && o->oid != oid)
		o = o->hash_next;
	return o;
}

static void
grow_table(struct engine *e)
{
	size_t size = e->table_size * 2, old_size = e->table_size;
	struct object **table = calloc(size, sizeof *table), **old = e->table, *next;

	if (table == NULL)
		return;		/* longer chains, nothing worse */
	e->table = table;
	e->table_size = size;
	for (size_t i = 0; i < old_size; i++)
		for (struct object *o = old[i]; o != NULL; o = next) {
			next = o->hash_next;
			o->hash_next = table[slot_of(e, o->oid)];
			table[slot_of(e, o->oid)] = o;
		}
	free(old);
}

struct object *
object_get(struct engine *e, uint64_t oid)
{
	struct object *o = object_find(e, oid);

	if (o != NULL)
		return o;
	if ((o = object_new(oid)) == NULL)
		return NULL;
	if (++e->objects > e->table_size)
		grow_table(e);
	o->hash_next = e->table[slot_of(e, oid)];
	e->table[slot_of(e, oid)] = o;
	TAILQ_INSERT_TAIL(&e->lru, o, lru_link);
	return o;
}

static void
object_unlink(struct engine *e, struct object *o)
{
	struct object **at = &e->table[slot_of(e, o->oid)];

	while (*at != o)
		at = &(*at)->hash_next;
	*at = o->hash_next;
	scout_forgotten(e, o);
	lease_late_over(e, o);
	TAILQ_REMOVE(&e->lru, o, lru_link);
	e->objects--;
	object_free(o);
}

/* An answer under way may speak of the lease that was given back: see object.h. */
static bool
answers_expected(const struct engine *e, const struct object *o)
{
	const struct op_state *s;

	if (o->released)
		TAILQ_FOREACH(s, &e->parked, link)
			if (s->wait == WAIT_READ && s->request <= o->released_request)
				return true;
	return o->released && scout_expects(e, o->released_request);
}

void
object_drop(struct engine *e, struct object *o)
{
	bool useless = o->mode == MODE_NONE || (o->gone && !o->pinned_elsewhere);

	if (useless && o->lookups == 0 && o->opens == 0 && o->inflight == 0 && !o->dirty && !data_dirty(o) &&
	    !o->hold && !o->on_flush_list && o->recall == RECALL_NONE && o->sweeps == 0 && !o->unpin &&
	    o->early_grant == 0 && e->now_ms >= o->demand_until && !o->waits && o->oid != OID_ROOT && !answers_expected(e, o))
		object_unlink(e, o);
}

uint64_t
oid_new(struct engine *e)
{
	struct action *a;

	if (e->oids_left == 0) {
		e->next_oid = e->next_range;
		e->oids_left = e->next_oids_left;
		e->next_oids_left = 0;
	}
	if (e->oids_left < 4096 && e->next_oids_left == 0 && !e->allocating && e->now_ms >= e->alloc_after &&
	    (a = send_message(e, MSG_alloc, ++e->next_request)) != NULL) {
		e->allocating = true;
		e->alloc_request = e->next_request;
	}
	if (e->oids_left == 0)
		return 0;
	e->oids_left--;
	return e->next_oid++;
}

static void
take_range(struct engine *e, uint64_t first, uint32_t count)
{
	/* Ids below, or given out before, are not the server's to give. */
	if (first < OID_RESERVED || first < e->highest_oid || first + count < first)
		count = 0;
	if (count > 0)
		e->highest_oid = first + count;
	if (e->oids_left == 0) {
		e->next_oid = first;
		e->oids_left = count;
	} else {
		e->next_range = first;
		e->next_oids_left = count;
	}
	e->allocating = false;
	wake(e, WAIT_OIDS, 0);
}

/* ---- operations ---- */

static int (*const run_op[OP_COUNT])(struct engine *e, struct op *op) = {
	[OP_LOOKUP] = op_lookup, [OP_GETATTR] = op_getattr, [OP_SETATTR] = op_setattr,
	[OP_READLINK] = op_readlink, [OP_MKNOD] = op_make, [OP_MKDIR] = op_make,
	[OP_SYMLINK] = op_make, [OP_CREATE] = op_make, [OP_LINK] = op_link,
	[OP_UNLINK] = op_unlink, [OP_RMDIR] = op_unlink, [OP_RENAME] = op_rename,
	[OP_OPEN] = op_open, [OP_READ] = op_read, [OP_WRITE] = op_write, [OP_FLUSH] = op_flush,
	[OP_FSYNC] = op_fsync, [OP_RELEASE] = op_release, [OP_OPENDIR] = op_open,
	[OP_READDIR] = op_readdir, [OP_FSYNCDIR] = op_fsync, [OP_RELEASEDIR] = op_release,
	[OP_STATFS] = op_statfs, [OP_GETXATTR] = op_getxattr, [OP_SETXATTR] = op_setxattr,
	[OP_LISTXATTR] = op_listxattr, [OP_REMOVEXATTR] = op_setxattr,
	[OP_FALLOCATE] = op_fallocate, [OP_LSEEK] = op_lseek, [OP_SYNC] = op_fsync,
	[OP_META] = op_meta, [OP_KEEP] = op_keep,
};

int
park(struct op *op, enum wait_kind wait, uint64_t key)
{
	op->state->wait = wait;
	op->state->key = key;
	return -EAGAIN;
}

static bool
matches(const struct op_state *s, enum wait_kind wait, uint64_t key)
{
	if (s->wait != wait)
		return false;
	switch (wait) {
	case WAIT_COMMIT:
		return s->key <= key;
	case WAIT_READ:
		return key == 0 || s->request == key;
	case WAIT_OBJECT:
	case WAIT_FLUSH:
		return key == 0 || s->key == key || s->key == 0;
	default:
		return true;
	}
}

void
wake(struct engine *e, enum wait_kind wait, uint64_t key)
{
	struct op_state *s, *next;

	for (s = TAILQ_FIRST(&e->parked); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (!matches(s, wait, key))
			continue;
		TAILQ_REMOVE(&e->parked, s, link);
		TAILQ_INSERT_TAIL(&e->runnable, s, link);
		s->wait = WAIT_NONE;
		e->parked_count--;
	}
}

void
engine_busy(struct engine *e)
{
	e->busy_ms = e->busy_ms == 0 ? BUSY_MIN_MS : e->busy_ms * 2 < BUSY_MAX_MS ? e->busy_ms * 2 : BUSY_MAX_MS;
	e->busy_until = e->now_ms + BUSY_MAX_MS;
}

/* Adds to the running transaction, and can be made to wait for it. */
static bool
adds_changes(enum op_type type)
{
	switch (type) {
	case OP_SETATTR: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK:
	case OP_UNLINK: case OP_RMDIR: case OP_RENAME: case OP_SETXATTR: case OP_REMOVEXATTR:
		return true;
	default:
		return false;
	}
}

/* Done here, but not in the journal: true when the server has it, or will not. */
static bool
went_through(struct engine *e, struct op *op)
{
	/* What was lost and is not in the journal does not come again. */
	int r = op->state->losses != e->journal.losses ? -EIO : journal_through(e, op);

	if (r == -EAGAIN && offline_error(e, op) < 0)
		r = -ENOSPC;
	if (r == -EAGAIN && sleep_error(e, op) < 0)
		r = sleep_error(e, op);
	if (r != -EAGAIN)
		op->error = r;
	return r != -EAGAIN;
}

/* Runs op once.  True when it is done. */
static bool
attempt_once(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;
	int r;

	if (s->finished)
		return true;
	s->wants_count = s->held_count = 0;
	s->missing = false;
	s->fail = 0;
	s->wait = WAIT_NONE;
	op->cacheable = op->name_cacheable = op->killed = false;
	op->entries_count = 0;
	if (s->through)
		return went_through(e, op);
	/* What the steps so far have seen to was lost. */
	if (s->losses != e->journal.losses)
		s->step = 0;
	s->losses = e->journal.losses;
	if ((r = offline_room(e, op)) < 0) {
		op->error = r;
		return true;
	}
	/* On a full server nothing leaves, but removing must go on. */
	if (adds_changes(op->type) && txn_full(e) && e->error == 0) {
		e->freeze_wanted = true;
		park(op, WAIT_ROOM, 0);
	} else if (journal_full(e, op))
		park(op, WAIT_ROOM, 0);
	if (s->wait != WAIT_NONE)
		return (op->error = wait_error(e, op)) != 0;
	r = op->type >= OP_COUNT ? -ENOSYS : op->replay != NULL ? op_replay(e, op, run_op[op->type]) :
	    run_op[op->type](e, op);
	if (s->fail != 0)
		r = s->fail;
	if (r == -EAGAIN && s->refused != 0)
		r = s->refused;
	if (r == -EAGAIN && wait_error(e, op) < 0)
		r = wait_error(e, op);
	if (r == 0 && !journal_op(e, op)) {
		s->through = op->through = true;
		e->stats.journal_through++;
		lease_foretold(e, op);
		return went_through(e, op);
	}
	if (r != -EAGAIN) {
		op->error = r;
		if (r == 0)
			scout_served(e, op);
		return true;
	}
	if (s->wait == WAIT_FETCH)
		scout_missed(e, op);
	if (s->wait != WAIT_NONE)
		return false;
	if (e->attached && lease_valid(e)) {
		s->wait = WAIT_READ;
		if ((s->request = scout_brings(e, op)) == 0 && (op->error = lease_send_read(e, op)) < 0)
			return true;
		scout_missed(e, op);
	} else
		s->wait = WAIT_ATTACH;
	return false;
}

static bool
attempt(struct engine *e, struct op *op)
{
	bool done = attempt_once(e, op);

	if (!done)
		return false;
	op->state->wait = WAIT_NONE;
	op->keep_ms = lease_keep_ms(e);
	sleep_answer(e, op);
	return true;
}

static void
to_parked(struct engine *e, struct op_state *s)
{
	TAILQ_INSERT_TAIL(&e->parked, s, link);
	e->parked_count++;
}

static void
to_replying(struct engine *e, struct op_state *s)
{
	s->reply_number = ++e->replies;
	TAILQ_INSERT_TAIL(&e->replying, s, link);
}

static void
finish_parked(struct engine *e, struct op_state *s)
{
	struct action *a = action_add(e, ACTION_REPLY);

	if (a == NULL) {
		s->finished = true;	/* it must not be run again; a tick is due, for what was set aside is used up */
		s->wait = WAIT_REPLY;
		to_parked(e, s);
		return;
	}
	to_replying(e, s);
	a->op = s->op;
}

void
run_all(struct engine *e)
{
	struct op_state *s;

	while ((s = TAILQ_FIRST(&e->runnable)) != NULL) {
		TAILQ_REMOVE(&e->runnable, s, link);
		if (attempt(e, s->op))
			finish_parked(e, s);
		else
			to_parked(e, s);
	}
}

void
engine_settle(struct engine *e)
{
	do {
		run_all(e);
		txn_step(e);
		if (!TAILQ_EMPTY(&e->recalling))
			lease_step_all(e);
	} while (!TAILQ_EMPTY(&e->runnable));
}

bool
engine_submit(struct engine *e, struct op *op)
{
	struct op_state *s = calloc(1, sizeof *s);
	bool done;

	op->state = s;
	op->error = 0;
	if (s == NULL) {
		op->error = -ENOMEM;
		return true;
	}
	s->op = op;
	s->began_ms = e->now_ms;
	s->losses = e->journal.losses;
	caller_arrived(e, op);
	done = attempt(e, op);
	if (done)
		to_replying(e, s);
	else
		to_parked(e, s);
	engine_settle(e);
	return done;
}

void
engine_replied(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;

	for (size_t i = 0; i < op->pieces_count; i++)
		buffer_put(op->pieces[i].buffer);
	op->pieces_count = 0;
	arena_free(&op->arena);
	op->state = NULL;
	if (op->redo)
		redo_progress(e);
	if (s == NULL)
		return;
	TAILQ_REMOVE(&e->replying, s, link);
	free(s);
	lease_replied(e);
	if (!TAILQ_EMPTY(&e->recalling)) {
		lease_step_all(e);
		engine_settle(e);
	}
}

void
engine_interrupt(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;

	/* With the server there the wait is short; giving up would only confuse the application. */
	if (s == NULL || (e->attached && !op->redo) || s->wait == WAIT_NONE || s->finished)
		return;
	TAILQ_REMOVE(&e->parked, s, link);
	e->parked_count--;
	s->wait = WAIT_NONE;
	op->error = -EINTR;
	finish_parked(e, s);
}

void
engine_forget(struct engine *e, uint64_t ino, uint64_t n)
{
	struct object *o = object_find(e, ino);

	if (o == NULL)
		return;
	o->lookups -= n < o->lookups ? n : o->lookups;
	if (o->lookups == 0)
		object_drop(e, o);
}

/* ---- the server ---- */

static void
extend_term(struct engine *e, uint64_t sent_ms)
{
	if (sent_ms + e->term_ms > e->lease_until)
		e->lease_until = sent_ms + e->term_ms;
}

void
engine_attached(struct engine *e, const struct msg_attached *a, bool fresh)
{
	bool had_session = e->had_session;
	uint64_t boot = e->boot;

	e->boot = a->boot;
	if (a->boot != boot)
		need_renumber(e);
	e->attached = true;
	credit_attached(e, a->credit, fresh);
	e->woken_at = 0;
	offline_end(e);
	e->term_ms = a->term_ms;
	/* The request left at most one connection attempt ago.  Leases count again when they are reclaimed. */
	e->attached_at = e->now_ms - (a->term_ms / 4 < e->now_ms ? a->term_ms / 4 : e->now_ms);
	if (fresh)
		extend_term(e, e->attached_at);
	e->keepalive_at = e->now_ms;
	e->sessions = a->sessions;
	if (a->version > e->version)
		e->version = a->version;
	e->allocating = false;
	if (!fresh && !e->had_session) {
		e->resumed = true;
		e->resumed_landed = a->rejected ? a->sequence - 1 : a->sequence;
		e->sequence = e->acknowledged = a->sequence;
	}
	e->had_session = true;
	if (fresh) {
		if (had_session)
			lease_lose_session(e);
		else
			journal_unadopt(e);
		e->oids_left = e->next_oids_left = 0;
	}
	e->session = a->session;
	if (fresh)
		journal_attached(e);
	take_range(e, a->first_oid, a->oid_count);
	e->attached_oid = a->first_oid;
	if (fresh)
		e->known_oid = a->first_oid;
	pins_resume(e);		/* before leases that protect open files are given up */
	if (!fresh) {
		if (a->boot != boot)
			credit_restarted(e);
		lease_reclaim(e, a->boot != boot);
		if (a->rejected && (TAILQ_EMPTY(&e->inflight) ||
		    TAILQ_FIRST(&e->inflight)->commit->sequence > a->sequence))
			send_message(e, MSG_reset, ++e->next_request);
		txn_resume(e, a->sequence, a->rejected, a->outcome);
	}
	credit_ask(e, 0);
	wake(e, WAIT_READ, 0);
	wake(e, WAIT_ATTACH, 0);
	wake(e, WAIT_ROOM, 0);
	engine_settle(e);
}

void
engine_detached(struct engine *e)
{
	if (e->attached)
		e->detached_at = e->now_ms;
	e->attached = false;
	credit_detached(e);
	e->reclaiming = e->unclaimed = false;
	scout_lost(e);	/* theirs, too, are not answered any more */
}

void
engine_received(struct engine *e, const struct message *m)
{
	if (m->type != MSG_committed)		/* its ids are numbers of another kind */
		unpin_heard(e, m->id);
	switch (m->type) {
	case MSG_granted:
		lease_granted(e, m);
		break;
	case MSG_recall:
		lease_recalled(e, &m->recall);
		break;
	case MSG_committed:
		txn_committed(e, &m->committed);
		break;
	case MSG_reclaimed:
		lease_reclaimed(e, &m->reclaimed);
		if ((e->reclaims > 0 && --e->reclaims > 0) || e->unclaimed)
			break;
		e->reclaiming = false;
		e->known_oid = e->attached_oid;
		extend_term(e, e->attached_at);
		journal_attached(e);
		wake(e, WAIT_ATTACH, 0);
		break;
	case MSG_allocated:
		take_range(e, m->allocated.first_oid, m->allocated.oid_count);
		break;
	case MSG_alive:
		/* It may come before we hear that a lease is lost: then it counts from that. */
		if (m->id == e->keepalive_request && e->reclaiming)
			e->attached_at = e->keepalive_sent;
		else if (m->id == e->keepalive_request)
			extend_term(e, e->keepalive_sent);
		e->woken_at = 0;
		e->sessions = m->alive.sessions;
		if (m->alive.version > e->version)
			e->version = m->alive.version;
		wake(e, WAIT_ATTACH, 0);
		break;
	case MSG_space:
		credit_heard(e, m->id, &m->space);
		break;
	case MSG_done:
		lease_refused(e, m->id, m->done.status);
		break;
	default:
		break;
	}
	engine_settle(e);
}

void
engine_stored(struct engine *e, struct flush *f, int error)
{
	data_stored(e, f->state, error);
	engine_settle(e);
}

void
engine_fetched(struct engine *e, struct fetch *f, int error)
{
	cell_fetched(e, f, error);
	wake(e, WAIT_FETCH, 0);
	if (!TAILQ_EMPTY(&e->flushing))
		data_flush_step(e);
	engine_settle(e);
	cell_forget_failed(e);
}

void
engine_invalidated(struct engine *e, uint64_t oid, bool pages, int error)
{
	struct object *o = object_find(e, oid);

	if (o != NULL && !(error == -ENOENT && lease_sweep_again(e, o, pages)))
		lease_swept(e, o, pages);
	engine_settle(e);
}

void
engine_clock(struct engine *e, uint64_t now_ms, struct timespec real)
{
	uint64_t before_ms = e->now_ms;

	e->now_ms = now_ms;
	e->real = real;
	sleep_clock(e, before_ms);
}

void
engine_tick(struct engine *e)
{
	struct action *a;
	bool trimmed;

	actions_spare(e);
	wake(e, WAIT_REPLY, 0);
	if (e->attached && e->now_ms - e->keepalive_at >= KEEPALIVE_MS) {
		e->keepalive_at = e->keepalive_sent = e->now_ms;
		e->keepalive_request = ++e->next_request;
		if ((a = send_message(e, MSG_keepalive, e->keepalive_request)) == NULL)
			e->keepalive_at = 0;
		/* In the same breath. */
		credit_ask(e, KEEPALIVE_MS / 2);
	}
	if (lease_valid(e))
		e->expired = false;
	else if (!offline_tick(e) && !e->expired) {
		e->expired = true;
		lease_expired(e);
	}
	if (e->oids_left == 0 && e->next_oids_left == 0 && !e->allocating && e->alloc_after != 0 &&
	    e->now_ms >= e->alloc_after && e->attached && send_message(e, MSG_alloc, ++e->next_request) != NULL) {
		e->allocating = true;
		e->alloc_request = e->next_request;
	}
	credit_tick(e);
	lease_tick(e);
	sleep_tick(e);
	data_flush_step(e);
	unpin_step(e);
	journal_step(e);
	redo_tick(e);
	trimmed = e->objects > e->config.objects_max && trim_step(e);
	engine_settle(e);
	due_ticked(e, trimmed);
}

/* ---- life ---- */

int
engine_new(struct engine **ret, const struct engine_config *config, const struct volume_keys *keys)
{
	struct engine *e = calloc(1, sizeof *e);

	if (e == NULL)
		return -ENOMEM;
	e->config = *config;
	if (e->config.commit_ms == 0)
		e->config.commit_ms = 2000;
	if (e->config.dirty_max == 0)
		e->config.dirty_max = 96 * 1024 * 1024;
	if (e->config.cache_max == 0)
		e->config.cache_max = 64 * 1024 * 1024;
	/* One read of fragmented regions must fit, or it would never see all its cells at once. */
	if (e->config.cache_max < CACHE_MIN)
		e->config.cache_max = CACHE_MIN;
	if (e->config.objects_max == 0)
		e->config.objects_max = 200000;
	if (e->config.commit_max == 0 || e->config.commit_max > COMMIT_MAX)
		e->config.commit_max = COMMIT_MAX;
	if (e->config.read_ahead == 0)
		e->config.read_ahead = 8;
	if ((e->journal.sink = config->journal) != NULL)
		e->journal.next = e->journal.floor = config->journal->next;
	e->keys = keys;
	e->table_size = 1024;
	e->last = &e->first;
	e->table = calloc(e->table_size, sizeof *e->table);
	scout_init(e);
	TAILQ_INIT(&e->lru);
	TAILQ_INIT(&e->recalling);
	TAILQ_INIT(&e->late);
	TAILQ_INIT(&e->parked);
	TAILQ_INIT(&e->runnable);
	TAILQ_INIT(&e->replying);
	TAILQ_INIT(&e->dirty);
	TAILQ_INIT(&e->inflight);
	TAILQ_INIT(&e->carried);
	TAILQ_INIT(&e->flushing);
	TAILQ_INIT(&e->flushes);
	TAILQ_INIT(&e->with_data);
	TAILQ_INIT(&e->unpins);
	TAILQ_INIT(&e->cell_lru);
	TAILQ_INIT(&e->fetches);
	if (e->table == NULL || !actions_spare(e)) {
		engine_free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

void
engine_free(struct engine *e)
{
	struct commit_state *s;
	struct flush_state *f;
	struct object *o;

	if (e == NULL)
		return;
	actions_free(e);
	scout_lost(e);
	while ((o = TAILQ_FIRST(&e->lru)) != NULL) {
		data_drop(e, o);
		object_unlink(e, o);
	}
	while ((s = TAILQ_FIRST(&e->inflight)) != NULL) {
		TAILQ_REMOVE(&e->inflight, s, link);
		commit_put(s->commit);
	}
	while ((f = TAILQ_FIRST(&e->flushes)) != NULL)
		flush_free(e, f);
	cell_free_all(e);
	free(e->journal.own);
	free(e->table);
	free(e);
}

int
engine_format(struct engine *e, uint32_t uid, uint32_t gid, uint32_t mode)
{
	struct object *meta = object_get(e, OID_META), *root = object_get(e, OID_ROOT);
	struct attr a = { .mode = S_IFDIR | (mode & 07777), .uid = uid, .gid = gid, .nlink = 2,
	    .atime = e->real, .mtime = e->real, .ctime = e->real, .btime = e->real };
	struct meta m = { .created_s = e->real.tv_sec };
	uint8_t value[VALUE_MAX];
	ssize_t len = meta_encode(&m, value, sizeof value);

	if (meta == NULL || root == NULL || len < 0 || object_set_attr(root, &a) < 0)
		return -ENOMEM;
	lease_taken(e, meta, MODE_EXCLUSIVE);
	lease_taken(e, root, MODE_EXCLUSIVE);
	meta->born = root->born = root->parents_known = meta->parents_known = true;
	root->entries.all = root->xattrs.all = root->regions.all = true;
	txn_touch_attr(e, root);
	return txn_put(e, meta, KIND_META, NULL, 0, (struct bytes){ value, len }, OID_ROOT, NULL, 0);
}
