/*
 * need.c - what operations need: wants, READ and its answer.
 *
 * An operation names everything it needs, held or not, as one set.  The server
 * grants a set whole, in the order of tickets; so the oldest operation always
 * gets on, and nothing is held while waiting (R6: no deadlock).
 *
 * Invariant: an object with records is leased; mode NONE means nothing is
 * known.  What is known already is at least as new as any answer, and stays.
 */
#include "fs/core.h"

static const uint8_t low_key[SUBKEY_MAX];
static const uint8_t high_key[SUBKEY_MAX] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};

enum {
	LISTING_FIRST = 512,	/* entries read when a directory is first touched */
	LISTING_MORE = 2048,
	REGIONS_FIRST = 64,
	REGIONS_MORE = 2048,
	REGIONS_NEAR = 8,	/* behind those that are known: a reader that goes on */
	READ_BUDGET = 4096,
	WANTS_FIRST = 4,
	TURNS_MS = 1000,	/* since a directory was changed here: it will be again */
	TURN_MS = 5,
};

bool
lease_valid(const struct engine *e)
{
	return e->now_ms < e->lease_until;
}

/* ---- needs ---- */

static bool
wants_grow(struct op *op)
{
	struct op_state *s = op->state;
	uint32_t size = s->wants_size == 0 ? WANTS_FIRST : s->wants_size * 2;
	struct msg_want *wants = arena_alloc(&op->arena, size * sizeof *wants);

	if (wants == NULL)
		return false;
	if (s->wants_count > 0)
		memcpy(wants, s->wants, s->wants_count * sizeof *wants);
	s->wants = wants;
	s->wants_size = size;
	return true;
}

/* Valid until the next one. */
static struct msg_want *
want_add(struct op *op, uint64_t oid, enum mode mode)
{
	struct op_state *s = op->state;
	struct msg_want *w;

	if (s->wants_count == NEEDS_MAX) {
		s->fail = -ELOOP;	/* a path of directories deeper than any we move */
		return NULL;
	}
	if (s->wants_count == s->wants_size && !wants_grow(op)) {
		s->fail = -ENOMEM;
		return NULL;
	}
	w = &s->wants[s->wants_count++];
	*w = (struct msg_want){ .oid = oid, .mode = mode };
	return w;
}

static void
want_range(struct msg_want *w, uint8_t kind, const uint8_t *from, const uint8_t *to, size_t len, uint32_t limit)
{
	if (w == NULL)
		return;
	w->kind = w->last_kind = kind;
	w->from = (struct bytes){ from, len };
	w->to = (struct bytes){ to, len };
	w->limit = limit;
}

static void
want_attributes(struct msg_want *w)
{
	if (w == NULL)
		return;
	w->kind = KIND_ATTR;
	w->last_kind = KIND_INLINE;
	w->limit = 8;
}

/* An object in its first hour: leased here, unknown to the server. */
static bool
only_here(const struct object *o)
{
	return o->born;
}

void
need_held(struct op *op, uint64_t oid, enum mode mode)
{
	struct op_state *s = op->state;

	if (s->held_count == HELD_MAX)
		return;
	s->held[s->held_count].oid = oid;
	s->held[s->held_count++].mode = mode;
}

/*
 * Before a name is made or removed the kernel looks it up.  Who does one after
 * the other in a directory, taking turns with somebody else, asks once for what
 * both will need, and keeps it until the name is made: but not longer than
 * TURN_MS, for it may be that nothing comes behind the look-up.
 */
static bool
takes_turns(const struct engine *e, const struct object *o)
{
	return e->now_ms < o->demand_until && o->changed_ms != 0 && e->now_ms - o->changed_ms < TURNS_MS;
}

static struct object *
need(struct engine *e, struct op *op, uint64_t oid, enum mode mode, bool attributes)
{
	struct object *o = object_get(e, oid);
	struct op_state *s = op->state;
	struct msg_want *w;

	if (o == NULL) {
		s->fail = -ENOMEM;
		return NULL;
	}
	TAILQ_REMOVE(&e->lru, o, lru_link);
	TAILQ_INSERT_TAIL(&e->lru, o, lru_link);
	if (redo_gate(e, op, o) < 0)
		return NULL;
	if (o->recall == RECALL_FLUSH && o->recall_mode < mode) {
		s->wait = WAIT_OBJECT;
		s->key = oid;
		s->missing = true;
		return NULL;
	}
	/* That it is dead, too, must stay known while the rest is asked for (trim.c): a replay goes on. */
	if (o->dead)
		need_held(op, oid, mode);
	/* What has no name and is not open goes with the commit that says so: nothing can be changed after it. */
	if (o->dead || (mode == MODE_EXCLUSIVE && o->gone && o->opens == 0)) {
		s->fail = -ESTALE;
		return NULL;
	}
	if (!lease_valid(e) && !offline_has(e, o, mode)) {
		s->missing = true;
		return NULL;
	}
	need_held(op, oid, mode);
	if (only_here(o) || (o->mode >= mode && (!attributes || o->attr_known)))
		return o;
	if (o->attr_damaged && o->mode >= mode) {
		s->fail = -EIO;
		return NULL;
	}
	s->missing = true;
	w = want_add(op, oid, o->mode == MODE_NONE && takes_turns(e, o) ? MODE_EXCLUSIVE : mode);
	if (attributes && !(o->mode != MODE_NONE && o->attr_known))
		want_attributes(w);
	return NULL;
}

struct object *
need_object(struct engine *e, struct op *op, uint64_t oid, enum mode mode)
{
	return need(e, op, oid, mode, true);
}

struct object *
need_lease(struct engine *e, struct op *op, uint64_t oid, enum mode mode)
{
	return need(e, op, oid, mode, false);
}

bool
needs_missing(const struct op *op)
{
	return op->state->missing;
}

static enum mode
wanted_mode(const struct op *op, uint64_t oid)
{
	const struct op_state *s = op->state;
	enum mode mode = MODE_SHARED;

	for (uint32_t i = 0; i < s->held_count; i++)
		if (s->held[i].oid == oid && s->held[i].mode > mode)
			mode = s->held[i].mode;
	for (uint32_t i = 0; i < op->state->wants_count; i++)
		if (op->state->wants[i].oid == oid && op->state->wants[i].mode > mode)
			mode = op->state->wants[i].mode;
	return mode;
}

static struct cover *
cover_of(struct object *o, uint8_t kind)
{
	return kind == KIND_ENTRY ? &o->entries : kind == KIND_REGION ? &o->regions :
	    kind == KIND_XATTR ? &o->xattrs : NULL;
}

static size_t
subkey_len(uint8_t kind)
{
	return kind == KIND_REGION ? 8 : TOKEN_SIZE;
}

/* The next stretch of a kind that is not known yet. */
static void
want_more(struct op *op, struct object *o, uint8_t kind)
{
	const struct cover *c = cover_of(o, kind);
	size_t len = subkey_len(kind);
	struct msg_want *w = want_add(op, o->oid, wanted_mode(op, o->oid));
	uint8_t *from = arena_alloc(&op->arena, SUBKEY_MAX);
	uint32_t first = kind == KIND_REGION ? REGIONS_FIRST : LISTING_FIRST;

	op->state->missing = true;
	if (from == NULL)
		op->state->fail = -ENOMEM;
	if (w == NULL || from == NULL)
		return;
	if (c->some) {
		memcpy(from, c->upto, len);
		for (size_t i = len; ++from[--i] == 0;)
			continue;
		first = kind == KIND_REGION ? REGIONS_MORE : LISTING_MORE;
	} else
		memcpy(from, low_key, len);
	want_range(w, kind, from, high_key, len, first);
}

/* Are the regions, of which some are, known up to just before this one, or nearly? */
static bool
goes_on(const struct cover *c, uint8_t kind, const uint8_t *subkey)
{
	struct cursor key = cursor_read(subkey, 8), upto = cursor_read(c->upto, 8);

	return kind == KIND_REGION && cursor_get_u64(&key) - cursor_get_u64(&upto) <= REGIONS_NEAR;
}

bool
need_record(struct engine *e, struct op *op, struct object *o, uint8_t kind,
    const uint8_t *subkey, size_t len, struct rec **ret)
{
	struct rec *r;
	struct msg_want *w;
	uint8_t *key;

	*ret = NULL;
	if (object_knows(o, kind, subkey, len)) {
		r = object_rec(o, kind, subkey, len);
		*ret = r == NULL || r->absent ? NULL : r;
		return true;
	}
	op->state->missing = true;
	w = want_add(op, o->oid, wanted_mode(op, o->oid));
	if (cover_of(o, kind) == NULL) {
		want_attributes(w);
		return false;
	}
	if ((key = arena_alloc(&op->arena, SUBKEY_MAX)) == NULL) {
		op->state->fail = -ENOMEM;
		return false;
	}
	memcpy(key, subkey, len);
	want_range(w, kind, key, key, len, 1);
	/* What is near it will be wanted too, but not where it is told anew at each turn. */
	if ((!cover_of(o, kind)->some || goes_on(cover_of(o, kind), kind, subkey)) && e->now_ms >= o->demand_until)
		want_more(op, o, kind);
	return false;
}

bool
need_cover(struct engine *e, struct op *op, struct object *o, uint8_t kind)
{
	const struct cover *c = cover_of(o, kind);

	(void)e;
	if (only_here(o) || c->all)
		return true;
	want_more(op, o, kind);
	return false;
}

/* ---- READ and its answer ---- */

bool
need_named(const struct op_state *s, uint64_t oid)
{
	for (uint32_t i = 0; i < s->wants_count; i++)
		if (s->wants[i].oid == oid)
			return true;
	return false;
}

int
lease_send_read(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;
	struct arena arena = { 0 };
	struct msg_want *wants;
	struct action *a;
	struct msg_read *m;
	uint8_t *keys;

	/* The whole set, held or not (R6): the server keeps held ones from younger operations. */
	for (uint32_t i = 0; i < s->held_count; i++) {
		const struct object *o = object_find(e, s->held[i].oid);

		if (!only_here(o) && o->mode >= s->held[i].mode && !need_named(s, o->oid))
			want_add(op, o->oid, s->held[i].mode);
	}
	wants = arena_alloc(&arena, s->wants_count * sizeof *wants);
	keys = arena_alloc(&arena, s->wants_count * (size_t)(2 * SUBKEY_MAX));
	if (wants == NULL || keys == NULL || (a = send_message(e, MSG_read, ++e->next_request)) == NULL) {
		arena_free(&arena);
		return -ENOMEM;
	}
	a->arena = arena;
	s->request = e->next_request;
	e->stats.reads++;
	e->stats.misses++;
	m = &a->message.read;
	m->ticket = s->ticket;
	m->kinds = s->kinds = scout_kinds(e);
	m->budget = READ_BUDGET;
	memcpy(wants, s->wants, s->wants_count * sizeof *s->wants);
	m->wants.at = wants;
	m->wants.count = s->wants_count;
	for (uint32_t i = 0; i < s->wants_count; i++, keys += 2 * SUBKEY_MAX) {
		struct msg_want *w = &wants[i];

		if (w->kind == KIND_ENTRY && m->depth == 0)
			m->depth = 1;
		/* A listing brings what is below it, too. */
		if (w->kind == KIND_ENTRY && w->limit > 1 && scout_deep(e) > 0) {
			m->depth = UINT8_MAX;
			m->size = scout_deep(e);
		}
		if (w->from.len > 0)
			memcpy(keys, w->from.data, w->from.len);
		if (w->to.len > 0)
			memcpy(keys + SUBKEY_MAX, w->to.data, w->to.len);
		w->from.data = keys;
		w->to.data = keys + SUBKEY_MAX;
	}
	return 0;
}

/* Adds one record; what is known already is at least as new, and stays.  False: there is no memory for it. */
static bool
take_record(struct object *o, const struct msg_record *m)
{
	struct attr attr;
	struct rec *r;

	if (m->kind == KIND_ATTR) {
		if (o->attr_known)
			return true;
		if (m->value.data == NULL || attr_decode(&attr, m->value) < 0)
			o->attr_damaged = true;
		else if (object_set_attr(o, &attr) < 0)
			return false;
		data_told(o, m->value);
		o->gone = o->attr_known && o->attr.nlink == 0;
		o->stable_size = o->attr.size;
		o->stable_flags = o->attr.flags;
		return true;
	}
	if (object_knows(o, m->kind, m->subkey.data, m->subkey.len))
		return true;
	if ((r = object_rec_make(o, m->kind, m->subkey.data, m->subkey.len)) == NULL)
		return false;
	r->stored = true;
	if (m->value.data == NULL) {
		r->absent = false;
		r->damaged = true;
	} else if (object_rec_fill(r, m->value, m->orefs.count > 0 ? m->orefs.at[0] : 0, m->brefs.at, m->brefs.count) < 0) {
		object_rec_remove(o, r);
		return false;
	}
	return true;
}

/* Up to here all records of the kind are known; there is none behind the highest key. */
static void
extend(struct cover *c, const uint8_t *upto, size_t len)
{
	if (c->some && memcmp(upto, c->upto, len) < 0)
		return;
	c->some = true;
	c->all |= memcmp(upto, high_key, len) == 0;
	memcpy(c->upto, upto, len);
}

/* The range of want w, answered by a, is known from now on; as a prefix when it continues one. */
static void
take_cover(struct object *o, const struct msg_want *w, const struct msg_answer *a)
{
	struct cover *c = cover_of(o, w->kind);
	size_t len = c == NULL ? 0 : subkey_len(w->kind);
	const uint8_t *upto = high_key;
	uint8_t next[SUBKEY_MAX];
	struct rec *r;

	if (w->limit == 0)
		return;
	if (c == NULL) {
		if (!a->more)	/* who asks for these asks for all of them */
			o->parents_known = true;
		return;
	}
	if (c->all)
		return;
	if (memcmp(w->from.data, w->to.data, len) == 0) {
		if (a->records.count == 0 && !a->more &&
		    (r = object_rec_make(o, w->kind, w->from.data, len)) != NULL)
			(void)r;	/* a new one is absent: now known to be */
		return;
	}
	if (c->some) {
		memcpy(next, c->upto, len);
		for (size_t i = len; ++next[--i] == 0;)
			continue;
	} else
		memcpy(next, low_key, len);
	if (memcmp(w->from.data, next, len) > 0)
		return;		/* it does not continue what is known now */
	if (a->more) {
		if (a->records.count == 0)
			return;
		upto = a->records.at[a->records.count - 1].subkey.data;
		if (a->records.at[a->records.count - 1].subkey.len != len)
			return;
	}
	extend(c, upto, len);
}

/* A child's records of those kinds are known, up to the last that came if more were left out. */
static void
take_kinds(struct object *o, uint16_t kinds, const struct msg_answer *a)
{
	const struct msg_record *last = a->records.count > 0 ? &a->records.at[a->records.count - 1] : NULL;

	if (!o->attr_known || (a->more && last == NULL))
		return;
	for (uint8_t kind = KIND_ATTR; kind <= KIND_MAX && (!a->more || kind <= last->kind); kind++) {
		struct cover *c = cover_of(o, kind);
		bool whole = !a->more || kind < last->kind || c == NULL;	/* of some kinds there is one at most */

		if (!(kinds >> kind & 1))
			continue;
		if (kind == (S_ISDIR(o->attr.mode) ? KIND_PARENT : KIND_INLINE))
			o->parents_known |= whole;
		if (c != NULL && whole)
			extend(c, high_key, subkey_len(kind));
		else if (c != NULL && last->subkey.len == subkey_len(kind))
			extend(c, last->subkey.data, last->subkey.len);
	}
}

/* False: there was no memory for all of it, so that nothing is known but what is there. */
static bool
take_answer(struct engine *e, uint64_t request, const struct msg_answer *a, const struct msg_want *w, uint16_t kinds)
{
	struct object *o = object_get(e, a->oid);
	uint8_t mode = a->mode;
	bool whole = true;

	if (o == NULL) {
		if (mode != MODE_NONE)
			lease_refuse(e, a->oid, a->grant);
		return false;
	}
	/* Our RELEASE crossed this answer. */
	if (o->released && request <= o->released_request && a->grant <= o->released_grant && mode > o->released_mode)
		mode = o->released_mode;
	if (a->status == STATUS_NOENT) {
		if (!o->born)
			lease_freed(e, o);
		return true;
	}
	if (o->born)
		return true;	/* nobody can know more of it than we do */
	/* It waited for the server's disk, and one about a newer lease came before it. */
	if (o->mode != MODE_NONE && a->mode != MODE_NONE && a->grant < o->grant)
		return true;
	if (mode != MODE_NONE) {
		if (o->mode == MODE_NONE) {
			object_forget(o);
			recall_set(e, o, RECALL_NONE);
			lease_taken(e, o, mode);
			o->version = 0;		/* nothing known before counts, nor what a commit is thought to have made */
			if (mode == MODE_EXCLUSIVE && takes_turns(e, o)) {
				o->turn = true;
				o->hold_until = e->now_ms + TURN_MS;
			}
		}
		if (o->grant != a->grant && o->recall != RECALL_NONE) {
			/* A stronger grant came instead: the recall of the old one is void. */
			recall_set(e, o, RECALL_NONE);
			wake(e, WAIT_OBJECT, o->oid);
		}
		o->mode = mode;
		o->grant = a->grant;
		o->dead = false;
		o->pinned_elsewhere = a->pinned;
	}
	if (o->mode == MODE_NONE)
		return true;
	if (a->version >= o->version) {
		o->version = a->version;
		o->writer = a->writer;
	}
	for (uint32_t i = 0; i < a->records.count; i++)
		whole &= take_record(o, &a->records.at[i]);
	if (whole && w != NULL)
		take_cover(o, w, a);
	else if (whole)
		take_kinds(o, kinds, a);
	return whole;
}

/*
 * The server has started again, and numbers from the beginning: two operations
 * of one ticket, an old one and a new one, would each yield to the other for ever.
 */
void
need_renumber(struct engine *e)
{
	struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		s->ticket = 0;
	for (size_t i = 0; i < CALLERS_MAX; i++)
		e->callers[i].ticket = 0;
}

void
lease_granted(struct engine *e, const struct message *m)
{
	const struct msg_granted *g = &m->granted;
	struct op_state *s = NULL;
	uint16_t kinds = 0;
	bool damaged = false;

	scout_want(e, m->id, 0, &kinds);
	if (kinds == 0)
		TAILQ_FOREACH(s, &e->parked, link)
			if (s->wait == WAIT_READ && s->request == m->id)
				break;
	if (s != NULL) {
		kinds = s->kinds;
		s->waited = true;
		if (g->ticket != 0)
			s->ticket = g->ticket;
	}
	for (uint32_t i = 0; i < g->answers.count; i++) {
		const struct msg_answer *a = &g->answers.at[i];
		const struct msg_want *w = s == NULL ? scout_want(e, m->id, i, &kinds) :
		    i < s->wants_count ? &s->wants[i] : NULL;
		struct object *o;

		/* On the server's disk: nothing is told of it, which is not to say that there is nothing. */
		if (a->status == STATUS_IO) {
			damaged = true;
			continue;
		}
		if (!take_answer(e, m->id, a, w != NULL && w->oid == a->oid ? w : NULL, kinds) && s != NULL)
			s->refused = -ENOMEM;
		if ((o = object_find(e, a->oid)) != NULL)
			scout_took(e, o, s != NULL && w != NULL);
	}
	if (damaged && s != NULL)
		s->refused = -EIO;
	/* Who looks ahead would come upon it again and again. */
	if (!damaged || !scout_refused(e, m->id))
		scout_answered(e, m->id, g->answers.count);
	if (s != NULL)
		wake(e, WAIT_READ, m->id);
	/* What waited for these leases runs before a recall takes them away again. */
	run_all(e);
	for (uint32_t i = 0; i < g->answers.count; i++) {
		struct object *o = object_find(e, g->answers.at[i].oid);

		if (o != NULL && o->mode != MODE_NONE && o->early_grant == o->grant && o->early_grant != 0) {
			struct msg_recall r = { .oid = o->oid, .grant = o->grant, .mode = o->early_mode,
			    .ticket = o->early_ticket };

			o->early_grant = 0;
			lease_recalled(e, &r);
		}
	}
}
