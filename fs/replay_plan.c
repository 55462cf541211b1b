/*
 * replay_plan.c - what the journal says, and which of its entries are run.
 *
 *	names		those that are in no commit that landed
 *	content		all that are live, in order, but for what is written over
 *
 * (journal.h says what the entries mean.)  When the tail of the journal was
 * lost with the power, the server may have commits of which no FREEZE entry
 * tells.  All names that are left came before those commits, so they landed.
 */
#include "fs/replay_room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is known ---- */

struct fact *
fact_find(struct replay *r, uint64_t oid)
{
	size_t at;

	if (r->facts_size == 0)
		return NULL;
	for (at = oid * UINT64_C(0x9e3779b97f4a7c15) % r->facts_size; r->facts[at].oid != 0; at = (at + 1) % r->facts_size)
		if (r->facts[at].oid == oid)
			return &r->facts[at];
	return NULL;
}

struct fact *
fact_of(struct replay *r, uint64_t oid)
{
	struct fact *f = fact_find(r, oid), *old = r->facts;
	size_t old_size = r->facts_size, at;

	if (f != NULL)
		return f;
	if (2 * (r->facts_count + 1) > r->facts_size) {
		r->facts_size = old_size == 0 ? 256 : old_size * 2;
		if ((r->facts = calloc(r->facts_size, sizeof *r->facts)) == NULL) {
			r->facts = old;
			r->facts_size = old_size;
			return NULL;
		}
		r->facts_count = 0;
		for (size_t i = 0; i < old_size; i++)
			if (old[i].oid != 0)
				*fact_of(r, old[i].oid) = old[i];
		free(old);
	}
	for (at = oid * UINT64_C(0x9e3779b97f4a7c15) % r->facts_size; r->facts[at].oid != 0;)
		at = (at + 1) % r->facts_size;
	r->facts_count++;
	r->facts[at].oid = oid;
	return &r->facts[at];
}

static int
see(struct replay *r, uint64_t oid, uint64_t version)
{
	struct fact *f;

	if (oid == 0)
		return 0;
	if ((f = fact_of(r, oid)) == NULL)
		return -ENOMEM;
	f->named = r->count;
	f->base = version > f->base ? version : f->base;
	return 0;
}

static void *
room(void *list, size_t count, size_t *size, size_t each)
{
	void *more;

	if (count < *size)
		return list;
	if ((more = realloc(list, (*size * 2 + 64) * each)) != NULL)
		*size = *size * 2 + 64;
	return more;
}

int
conflict_add(struct replay *r, uint64_t parent, struct bytes name, struct bytes copy)
{
	struct conflict *list = room(r->conflicts, r->conflicts_count, &r->conflicts_size, sizeof *list);
	struct conflict *c;

	if (list == NULL)
		return -ENOMEM;
	r->conflicts = list;
	c = &list[r->conflicts_count];
	*c = (struct conflict){ .parent = parent, .name = strndup((const char *)name.data, name.len),
	    .copy = strndup((const char *)copy.data, copy.len) };
	if (c->name == NULL || c->copy == NULL) {
		free(c->name);
		free(c->copy);
		return -ENOMEM;
	}
	r->conflicts_count++;
	return 0;
}

/* ---- reading the journal ---- */

static void
froze(struct replay *r, uint64_t sequence, uint64_t upto)
{
	if (sequence > r->last_freeze)
		r->last_freeze = sequence;
	for (size_t i = r->count; i-- > 0;) {
		struct item *t = &r->items[i];

		if (!t->name || t->stranded || t->number > upto)
			continue;
		if (t->sequence != 0 && t->sequence <= sequence)
			break;
		t->sequence = sequence;
	}
}

/* What had been frozen above it did not land, whatever gets those numbers now. */
static void
resumed(struct replay *r, uint64_t sequence)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->items[i].sequence > sequence)
			r->items[i].sequence = 0;
	if (r->last_freeze > sequence)
		r->last_freeze = sequence;
}

static void
lost(struct replay *r, uint64_t sequence)
{
	r->loss_at = r->count;
	for (size_t i = 0; i < r->count; i++) {
		struct item *t = &r->items[i];
		const struct fact *f = fact_find(r, t->ino);

		if (t->name)
			t->stranded |= t->sequence == 0 || t->sequence >= sequence;
		else
			t->stranded |= t->number >= r->floor && (f == NULL || f->cleaned <= i);
	}
}

static int
operation(struct replay *r, const struct journal_entry *n, struct bytes entry)
{
	struct item *list = room(r->items, r->count, &r->size, sizeof *list);
	bool name = journal_is_name(n);
	struct fact *f;

	if (list == NULL)
		return -ENOMEM;
	r->items = list;
	if (see(r, n->ino, n->version) < 0 || see(r, n->victim, n->victim_version) < 0 || see(r, n->child, 0) < 0 ||
	    see(r, n->ino2, 0) < 0)
		return -ENOMEM;
	if (n->child != 0 && n->type != OP_RENAME && (f = fact_find(r, n->child)) != NULL)
		f->made = true;
	list[r->count++] = (struct item){ .entry = entry, .number = n->number, .ino = n->ino, .name = name };
	return 0;
}

static int
conflicted(struct replay *r, const struct journal_entry *n)
{
	struct fact *f = n->ino == 0 ? NULL : fact_of(r, n->ino);

	if (n->ino != 0 && f == NULL)
		return -ENOMEM;
	if (f != NULL) {
		f->copy = n->child;
		f->copy_parent = n->parent;
		f->copy_name = n->name2;
	}
	return conflict_add(r, n->parent, n->name, n->name2);
}

int
replay_add(struct replay *r, uint64_t number, struct bytes entry)
{
	struct journal_entry n;
	struct fact *f;
	uint64_t *own;
	int e = journal_decode(&n, entry);

	if (e < 0)
		return e;
	n.number = r->last_number = number;
	switch (n.kind) {
	case JOURNAL_OP:
		return operation(r, &n, entry);
	case JOURNAL_FREEZE:
		froze(r, n.sequence, n.upto);
		break;
	case JOURNAL_ACK:
		if ((own = room(r->own, r->own_count, &r->own_size, sizeof *own)) == NULL)
			return -ENOMEM;
		r->own = own;
		own[r->own_count++] = n.version;
		r->last_ack = n.sequence;
		break;
	case JOURNAL_TRIM:
		r->floor = n.upto > r->floor ? n.upto : r->floor;
		r->last_freeze = n.sequence > r->last_freeze ? n.sequence : r->last_freeze;
		break;
	case JOURNAL_CLEAN:
		if ((f = fact_of(r, n.ino)) == NULL)
			return -ENOMEM;
		f->cleaned = r->count;
		break;
	case JOURNAL_AWAY:
		if ((f = fact_of(r, n.ino)) == NULL)
			return -ENOMEM;
		f->away = true;
		break;
	case JOURNAL_LOSS:
		lost(r, n.sequence);
		break;
	case JOURNAL_CONFLICT:
		return conflicted(r, &n);
	case JOURNAL_RESUMED:
		resumed(r, n.sequence);
		break;
	}
	return 0;
}

static bool
live(struct replay *r, size_t i)
{
	const struct item *t = &r->items[i];
	const struct fact *f = fact_find(r, t->ino);

	return t->stranded || (t->number >= r->floor && (t->name || f == NULL || f->cleaned <= i));
}

/*
 * What is written over later is not run: all of it may have arrived, and the
 * file would go back to it, for others to see.
 */
static void
skip_overwritten(struct replay *r)
{
	for (size_t i = r->count; i-- > 0;) {
		struct item *t = &r->items[i];
		struct fact *f = t->run && !t->name ? fact_find(r, t->ino) : NULL;
		struct journal_entry n;
		uint64_t end;

		if (f == NULL || journal_decode(&n, t->entry) < 0 || n.type != OP_WRITE || n.data.len == 0)
			continue;
		end = n.offset + n.data.len;
		if (n.offset >= f->over_from && end <= f->over_to) {
			t->run = false;
			r->report.landed++;
		} else if (n.offset <= f->over_to && end >= f->over_from && f->over_to > 0) {
			f->over_from = n.offset < f->over_from ? n.offset : f->over_from;
			f->over_to = end > f->over_to ? end : f->over_to;
		} else if (end - n.offset > f->over_to - f->over_from) {
			f->over_from = n.offset;
			f->over_to = end;
		}
	}
}

bool
replay_needed(const struct replay *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (live((struct replay *)(uintptr_t)r, i))
			return true;
	return r->conflicts_count > 0;
}

uint64_t
replay_waiting(const struct replay *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		n += live((struct replay *)(uintptr_t)r, i);
	return n;
}

int
replay_adopt(struct replay *r, struct engine *e)
{
	int error = 0;

	/* Only what was leased at the end: who claims more may get what another still holds. */
	for (size_t i = 0; i < r->facts_size && error == 0; i++) {
		const struct fact *f = &r->facts[i];

		if (r->whole && f->oid >= OID_ROOT && !f->away && (f->base != 0 || f->made) && f->named < r->count &&
		    r->items[f->named].number >= r->floor && f->named >= f->cleaned && f->named >= r->loss_at)
			error = engine_adopt(e, f->oid, f->base);
	}
	return error;
}

int
replay_begin(struct replay *r, struct engine *e, struct timespec now)
{
	uint64_t landed;
	bool all;
	int error = 0;

	r->now = now;
	if (!(r->resumed = engine_resumed(e, &landed)))
		landed = r->last_ack;
	all = r->resumed && landed > r->last_freeze;
	for (size_t i = 0; i < r->own_count && error == 0; i++)
		error = engine_own(e, r->own[i]);
	engine_replaying(e, true);
	if (r->resumed && error == 0)
		error = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_RESUMED, .sequence = landed });
	if (all && error == 0)
		error = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = landed,
		    .upto = r->last_number });
	for (size_t i = 0; i < r->count && error == 0; i++) {
		struct item *t = &r->items[i];
		struct journal_entry n;
		struct fact *f;

		t->run = live(r, i) && (!t->name || t->stranded || (!all && (t->sequence == 0 || t->sequence > landed)));
		if (t->run || !t->name || journal_decode(&n, t->entry) < 0)
			continue;
		r->report.landed++;
		if (n.victim != 0 && n.nlink == 0 && (f = fact_find(r, n.victim)) != NULL)
			f->unlinked = true;
	}
	/* What has lost its last name on the server goes with the session. */
	for (size_t i = 0; i < r->count; i++) {
		const struct fact *f = r->items[i].name ? NULL : fact_find(r, r->items[i].ino);

		r->items[i].run &= f == NULL || !f->unlinked;
	}
	skip_overwritten(r);
	r->error = error;
	return error;
}
