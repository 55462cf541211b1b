/*
 * read.c - building GRANTED.
 *
 * The answer is computed at the moment the whole set is granted: the records,
 * the versions and which objects do not exist all belong to one point of the
 * volume's history.  First every want is looked up, then leases are given for
 * what was found, then children are added as far as the budget, the size of a
 * frame and other sessions allow.  An object whose rows are damaged is
 * answered IO, without a lease, and does not hold up the others.
 *
 * The walk over children is breadth first.  A child's ENTRYs are added when
 * the walk goes into it, together with its own children: names alone are of
 * little use to who asked.  Who holds a lease on a child knows it; so it is
 * not told again, and a ring of references, or a child of two parents, ends
 * the walk there.  A call costs at most CHILDREN_MAX children beside its wants.
 */
#include "server/read.h"

#include <errno.h>
#include <string.h>

#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/session.h"

enum {
	REPLY_MAX	= FRAME_BODY_MAX - 64 * 1024,	/* room for one more record and the frame's own */
	ANSWER_SIZE	= 8 + 1 + 1 + 3 * 8 + 1 + 1 + 4,
	RECORD_SIZE	= 1 + 2 + 8 + 4 + 4 + 2,	/* without its bytes and references */
	ANSWERS_FIRST	= 16,
	CHILD_LEAST	= 512,		/* left of `size`, or no child of a deeper level is begun */
};

static const uint8_t high_subkey[SUBKEY_MAX] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};

struct reply {
	struct server		*server;
	struct session		*session;
	struct arena		*arena;
	struct msg_granted	*granted;
	uint32_t		 answers_size;	/* allocated */
	uint32_t		 records, budget, children;
	size_t			 size, deep;	/* deep: left for more than direct children's ATTR and PARENT */
	unsigned		 level;		/* of the children being added */
	uint32_t		*parents;	/* answers to children with ENTRYs, to be gone into */
	uint32_t		 parents_count, parents_size;
	uint64_t		 need;
	bool			 alone, no_memory;
	bool			 exclusive;	/* children are to be, if they can */
};

/* The ranges being read into one answer. */
struct fill {
	struct reply		*reply;
	struct msg_answer	*answer;
	uint32_t		 limit, size;	/* records at most; allocated */
	bool			 child, probe;	/* probe: only says by `more` whether there is any */
};

/* ---- answers and their records ---- */

static void *
grown(struct arena *a, const void *old, uint32_t count, uint32_t *size, uint32_t first, size_t each)
{
	uint32_t wider = *size == 0 ? first : *size * 2;
	void *fresh = arena_alloc(a, (size_t)wider * each);

	if (fresh != NULL) {
		if (count > 0)
			memcpy(fresh, old, (size_t)count * each);
		*size = wider;
	}
	return fresh;
}

/* A new answer at the end of the list, valid until the next one is added; NULL when there is no room. */
static struct msg_answer *
add_answer(struct reply *r, uint64_t oid, enum status status, const struct header *h)
{
	struct msg_answer *a, *at = r->granted->answers.at;
	uint32_t count = r->granted->answers.count;

	if (count == ANSWERS_MAX)
		return NULL;
	if (count == r->answers_size) {
		at = grown(r->arena, at, count, &r->answers_size, ANSWERS_FIRST, sizeof *at);
		if (at == NULL) {
			r->no_memory = true;
			return NULL;
		}
		r->granted->answers.at = at;
	}
	a = &at[r->granted->answers.count++];
	*a = (struct msg_answer){ .oid = oid, .status = status, .version = h->version, .writer = h->writer };
	r->size += ANSWER_SIZE;
	return a;
}

static bool
copy_record(struct arena *a, struct msg_record *to, const struct record_row *row, uint8_t kind, struct bytes subkey)
{
	size_t orefs = row->orefs_count * sizeof(uint64_t), brefs = (size_t)row->brefs_count * ID_SIZE;
	uint8_t *p = arena_alloc(a, orefs + brefs + subkey.len + row->value.len);

	if (p == NULL)
		return false;
	*to = (struct msg_record){ .kind = kind, .version = row->version };
	to->orefs.at = (uint64_t *)(void *)p;
	to->orefs.count = row->orefs_count;
	for (unsigned i = 0; i < row->orefs_count; i++)
		to->orefs.at[i] = record_oref(row, i);
	p += orefs;
	to->brefs.at = (const void *)p;
	to->brefs.count = row->brefs_count;
	if (brefs > 0)
		memcpy(p, row->brefs, brefs);
	p += brefs;
	to->subkey = (struct bytes){ p, subkey.len };
	if (subkey.len > 0)
		memcpy(p, subkey.data, subkey.len);
	p += subkey.len;
	to->value = (struct bytes){ p, row->value.len };
	if (row->value.len > 0)
		memcpy(p, row->value.data, row->value.len);
	return true;
}

/* The visitor of fill_range(): 1 when the range was cut. */
static int
fill_record(void *arg, struct bytes key, struct bytes value)
{
	struct fill *f = arg;
	struct reply *r = f->reply;
	struct msg_answer *a = f->answer;
	struct record_row row;
	struct msg_record *at = a->records.at;
	struct bytes rest;
	uint32_t vol;
	uint64_t oid;
	size_t size;

	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1 || record_decode(&row, value) < 0)
		return -EBADMSG;
	size = RECORD_SIZE + rest.len + row.orefs_count * 8 + row.brefs_count * ID_SIZE + row.value.len;
	if (f->probe || a->records.count >= f->limit || r->records >= r->budget || r->size + size > REPLY_MAX ||
	    (f->child && rest.data[0] > KIND_PARENT && size > r->deep)) {
		a->more = 1;
		return 1;
	}
	if (a->records.count == f->size) {
		at = grown(r->arena, at, a->records.count, &f->size, f->limit < 4 ? f->limit : 4, sizeof *at);
		if (at == NULL)
			return -ENOMEM;
		a->records.at = at;
	}
	if (!copy_record(r->arena, &at[a->records.count], &row, rest.data[0],
	    (struct bytes){ rest.data + 1, rest.len - 1 }))
		return -ENOMEM;
	a->records.count++;
	r->records++;
	r->size += size;
	if (f->child && (rest.data[0] > KIND_PARENT || r->level > 1))
		r->deep -= size < r->deep ? size : r->deep;
	return 0;
}

/* Adds the records of a range of keys to the last answer; 0, -ENOMEM, or that of the damage. */
static int
fill_range(struct fill *f, struct key from, struct key to)
{
	struct reply *r = f->reply;
	int result;

	if (f->limit == 0)
		return 0;
	result = store_scan(r->server->store, key_bytes(&from), key_bytes(&to), fill_record, f);
	if (result == -ENOMEM)
		r->no_memory = true;
	return result < 0 ? result : 0;
}

static int
fill_whole_kinds(struct fill *f, uint8_t first, uint8_t last)
{
	uint32_t number = f->reply->session->volume->number;
	uint64_t oid = f->answer->oid;

	return fill_range(f, key_record(number, oid, first, (struct bytes){ NULL, 0 }),
	    key_record(number, oid, last, (struct bytes){ high_subkey, sizeof high_subkey }));
}

/* The answer that was added last is one to go into.  0 or -ENOMEM. */
static int
add_parent(struct reply *r)
{
	uint32_t *at = r->parents;

	if (r->parents_count == r->parents_size) {
		at = grown(r->arena, at, r->parents_count, &r->parents_size, ANSWERS_FIRST, sizeof *at);
		if (at == NULL) {
			r->no_memory = true;
			return -ENOMEM;
		}
		r->parents = at;
	}
	at[r->parents_count++] = r->granted->answers.count - 1;
	return 0;
}

/*
 * What a child brings at first: its records of those kinds in their order,
 * until it is cut, of REGION the first.  One with ENTRYs is cut before them.
 */
static int
fill_kinds(struct reply *r, struct msg_answer *a, uint16_t kinds)
{
	struct fill f = { .reply = r, .answer = a, .child = true };
	int result = 0;

	for (uint8_t kind = KIND_ATTR, last; kind <= KIND_MAX && result == 0 && !a->more; kind = last + 1) {
		last = kind;
		if (!(kinds >> kind & 1))
			continue;
		f.probe = kind == KIND_ENTRY;
		/* Neighbours are one range. */
		while (last + 1 < KIND_ENTRY && kinds >> (last + 1) & 1)
			last++;
		f.limit = kind == KIND_REGION ? a->records.count + 1 : UINT32_MAX;
		result = fill_whole_kinds(&f, kind, last);
		if (f.probe && a->more)
			result = add_parent(r);
	}
	return result;
}

static void
damaged(struct reply *r, struct msg_answer *a)
{
	if (!r->no_memory)
		outbox_log(r->server, "event=damage volume=%.*s oid=%llu what=record", r->session->volume->name_len,
		    (const char *)r->session->volume->name, (unsigned long long)a->oid);
	r->records -= a->records.count;
	a->status = STATUS_IO;
	a->more = 0;
	a->records.count = 0;
}

static void
sees(struct reply *r, const struct object *o)
{
	if (o->pos > r->need)
		r->need = o->pos;
}

static uint8_t
pinned_elsewhere(const struct object *o, const struct session *n)
{
	struct pin *p;

	LIST_FOREACH(p, &o->pins, of_object)
		if (p->session != n)
			return 1;
	return n->volume->astray > n->astray;
}

/* ---- the wants ---- */

static enum status
look_up(struct server *s, struct volume *v, uint64_t oid, struct header *ret_header)
{
	int r = object_header(s, v, oid, ret_header);

	if (r == -ENOENT) {
		*ret_header = (struct header){ 0 };
		return oid < OID_RESERVED ? STATUS_OK : STATUS_NOENT;
	}
	return r < 0 ? STATUS_IO : STATUS_OK;
}

static void
answer_want(struct reply *r, struct wait *w, const struct want *want)
{
	struct volume *v = r->session->volume;
	struct object *o = w->nodes[want->node].object;
	struct bytes from = { want->from, want->from_len }, to = { want->to, want->to_len };
	struct header h = { 0 };
	enum status status = look_up(r->server, v, want->oid, &h);
	struct msg_answer *a = add_answer(r, want->oid, status, &h);
	struct fill f = { .reply = r, .answer = a, .limit = want->limit };

	sees(r, o);
	if (a == NULL)
		return;
	a->pinned = pinned_elsewhere(o, r->session);
	if (status == STATUS_IO)
		damaged(r, a);
	if (status != STATUS_OK)
		return;
	/* Kind 0 is the header, which is not a record. */
	if (fill_range(&f, want->kind == 0 ? key_record(v->number, want->oid, 1, (struct bytes){ NULL, 0 }) :
	    key_record(v->number, want->oid, want->kind, from),
	    key_record(v->number, want->oid, want->last_kind, to)) < 0)
		damaged(r, a);
}

/* Gives the leases of the nodes whose wants were all answered OK, and notes them in the answers. */
static void
give_leases(struct reply *r, struct wait *w)
{
	struct msg_answer *answers = r->granted->answers.at;

	for (uint32_t i = 0; i < w->node_count; i++) {
		struct object *o = w->nodes[i].object;
		uint8_t mode = w->nodes[i].mode;
		bool fine = true;
		struct lease *l;

		for (uint32_t k = 0; k < w->want_count; k++)
			fine &= w->wants[k].node != i || answers[k].status == STATUS_OK;
		if (!fine)
			continue;
		if (r->alone)
			mode = MODE_EXCLUSIVE;
		l = lease_grant(r->server, r->session, o, mode);
		if (l == NULL) {
			r->no_memory = true;
			return;
		}
		for (uint32_t k = 0; k < w->want_count; k++)
			if (w->wants[k].node == i) {
				answers[k].mode = l->mode;
				answers[k].grant = l->grant;
			}
	}
}

/* ---- children ---- */

/*
 * A lease on a child is a gift: only where nobody else holds or awaits
 * anything, and while the session has a quarter of its leases left to ask for.
 * The mode to give; NONE, and the child is not told of.
 */
static uint8_t
child_mode(const struct reply *r, const struct object *o)
{
	struct session *n = r->session;
	struct lease *l = lease_of(o, n);
	uint8_t mode = r->alone || r->exclusive ? MODE_EXCLUSIVE : MODE_SHARED;
	uint32_t most = r->server->config.leases_max;

	if (!TAILQ_EMPTY(&o->waits) || session_grace(n->volume))
		return MODE_NONE;
	if (l == NULL && n->lease_count >= most - most / 4)
		return MODE_NONE;
	if (lease_conflicts(o, n, mode)) {
		mode = MODE_SHARED;
		if (lease_conflicts(o, n, mode))
			return MODE_NONE;
	}
	return l != NULL && l->mode >= mode ? MODE_NONE : mode;		/* who holds it knows it */
}

/* The lease comes last: a child that is damaged is not told of, and what the session holds of it stays as it is. */
static void
answer_child(struct reply *r, uint64_t oid, uint16_t kinds)
{
	struct server *s = r->server;
	struct volume *v = r->session->volume;
	struct msg_answer *a;
	struct header h;
	struct object *o;
	struct lease *l;
	uint8_t mode;

	if (object_header(s, v, oid, &h) < 0)
		return;
	o = object_get(v, oid);
	if (o == NULL)
		return;
	object_kick(s, o);
	mode = child_mode(r, o);
	if (mode == MODE_NONE || (a = add_answer(r, oid, STATUS_OK, &h)) == NULL)
		return;
	r->children++;
	if (r->level > 1)
		r->deep -= ANSWER_SIZE < r->deep ? ANSWER_SIZE : r->deep;
	sees(r, o);
	a->pinned = pinned_elsewhere(o, r->session);
	if (fill_kinds(r, a, kinds) < 0) {
		damaged(r, a);
		r->granted->answers.count--;
		return;
	}
	l = lease_grant(s, r->session, o, mode);
	if (l == NULL) {
		r->no_memory = true;
		return;
	}
	a->mode = l->mode;
	a->grant = l->grant;
}

/* Two records and an answer must still fit. */
static bool
is_full(const struct reply *r)
{
	return r->no_memory || r->budget - r->records < 2 || r->children >= CHILDREN_MAX ||
	    r->granted->answers.count == ANSWERS_MAX ||
	    r->size + ANSWER_SIZE + 2 * (RECORD_SIZE + STORE_VALUE_MAX) > REPLY_MAX ||
	    (r->level > 1 && r->deep < CHILD_LEAST);
}

/* Adds what the ENTRYs of an answer refer to; false when there is no room for more. */
static bool
answer_children(struct reply *r, uint32_t parent, uint16_t kinds)
{
	for (uint32_t k = 0; k < r->granted->answers.at[parent].records.count; k++) {
		const struct msg_record *record = &r->granted->answers.at[parent].records.at[k];

		for (uint32_t j = 0; record->kind == KIND_ENTRY && j < record->orefs.count; j++) {
			if (is_full(r))
				return false;
			answer_child(r, record->orefs.at[j], kinds);
		}
	}
	return true;
}

static void
add_entries(struct reply *r, uint32_t parent)
{
	struct msg_answer *a = &r->granted->answers.at[parent];
	struct fill f = { .reply = r, .answer = a, .limit = UINT32_MAX, .size = a->records.count, .child = true };

	a->more = 0;
	if (fill_whole_kinds(&f, KIND_ENTRY, KIND_ENTRY) < 0)
		a->more = 1;		/* who asks for them by name is told of the damage */
}

static void
answer_levels(struct reply *r, uint32_t wants, unsigned depth, uint16_t kinds)
{
	uint32_t next = 0, end;

	r->level = 1;
	for (uint32_t i = 0; depth > 0 && i < wants; i++)
		if (!answer_children(r, i, kinds))
			return;
	while (++r->level <= depth && next < r->parents_count)
		for (end = r->parents_count; next < end; next++) {
			if (is_full(r))
				return;
			add_entries(r, r->parents[next]);
			if (!answer_children(r, r->parents[next], kinds))
				return;
		}
}

/* Leases given late still wait for all that the answer shows. */
static void
note_told(struct reply *r, struct wait *w)
{
	for (uint32_t i = 0; r->need > r->server->synced && i < r->granted->answers.count; i++) {
		struct object *o = object_find(w->session->volume, r->granted->answers.at[i].oid);
		struct lease *l = o == NULL ? NULL : lease_of(o, w->session);

		if (l != NULL && l->told_pos < r->need)
			l->told_pos = r->need;
	}
}

void
read_answer(struct server *s, struct wait *w)
{
	struct session *n = w->session;
	struct server_action *a = outbox_message(n->control->node.key, MSG_granted, w->request);
	struct reply r = { .server = s, .session = n, .alone = session_alone(s, n),
	    .exclusive = w->kinds & KINDS_EXCLUSIVE, .need = n->volume->evicted_pos,
	    .budget = w->budget == 0 || w->budget > RECORDS_MAX ? RECORDS_MAX : w->budget,
	    .deep = w->size < DEEP_MAX ? w->size : DEEP_MAX };

	if (a != NULL) {
		r.arena = &a->arena;
		r.granted = &a->message.granted;
		r.granted->ticket = w->ticket;
		r.size = 64;
		for (uint32_t i = 0; i < w->want_count && !r.no_memory; i++)
			answer_want(&r, w, &w->wants[i]);
		if (!r.no_memory)
			give_leases(&r, w);
		if (!r.no_memory)
			answer_levels(&r, w->want_count, w->depth, w->kinds);
		note_told(&r, w);
	}
	if (r.no_memory) {
		server_action_free(a);
		a = NULL;
	}
	s->answered += r.size;
	outbox_send(s, n->control, a, r.need);
}
