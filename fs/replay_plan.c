/*
 * replay_plan.c - what the journal says, and which of its entries are run.
 *
 *	names		those that are in no commit that landed
 *	content		all that are live, in order, but for what is written over
 *
 * (journal.h says what the entries mean.)  What was lost, and not run again by
 * the mount that lost it, comes last: the server never had it while the rest
 * was done.  An entry that stands for another was logged when that was run
 * again, so the other is dead; if it is lost in turn, it takes the other's turn
 * again: before what of the earlier loss nobody had come to yet, and before
 * what processes did while it was being run again.
 *  When the tail of the journal was
 * lost with the power, the server may have commits of which no FREEZE entry
 * tells.  All names that are left came before those commits, so they landed.
 */
#include "fs/replay_room.h"

#include <assert.h>
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

struct fact *
fact_known(struct replay *r, uint64_t oid)
{
	struct fact *f = fact_find(r, oid);

	assert(f != NULL);
	return f;
}

void
item_decode(struct journal_entry *n, const struct item *t)
{
	int r = journal_decode(n, t->entry);

	(void)r;
	assert(r == 0);
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

/* They were told of. */
static void
conflicts_forget(struct replay *r)
{
	for (size_t i = 0; i < r->conflicts_count; i++) {
		free(r->conflicts[i].name);
		free(r->conflicts[i].copy);
	}
	r->conflicts_count = 0;
}

/* ---- reading the journal ---- */

/* What had been frozen above it did not land, whatever gets those numbers now. */
static void
resumed(struct replay *r, uint64_t sequence)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->items[i].sequence > sequence)
			r->items[i].sequence = 0;
	if (r->last_freeze > sequence)
		r->last_freeze = sequence;
	r->frozen = 0;
}

static void
froze(struct replay *r, uint64_t sequence, uint64_t upto)
{
	/* Commits that the server had no room for are taken back, and all that was in them goes into this one. */
	if (upto != 0 && sequence <= r->last_freeze)
		resumed(r, sequence - 1);
	if (sequence > r->last_freeze)
		r->last_freeze = sequence;
	for (; r->frozen < r->count && r->items[r->frozen].number <= upto; r->frozen++) {
		struct item *t = &r->items[r->frozen];

		if (t->name && !t->stranded && t->sequence == 0)
			t->sequence = sequence;
	}
}

/* From now on it is not as the others: see lost(). */
static void
strand(struct replay *r, struct item *t)
{
	const struct fact *f = fact_find(r, t->it), *victim = fact_find(r, t->victim);

	t->stranded = true;
	t->base = f == NULL ? 0 : f->base;
	t->victim_base = victim == NULL ? 0 : victim->base;
}

static void
mark_content(struct replay *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct item *t = &r->items[i];
		const struct fact *f = t->name || t->dead ? NULL : fact_find(r, t->ino);

		if (f == NULL || i < f->lost_from || i >= f->lost_at || t->stranded)
			continue;
		strand(r, t);
		t->base = f->lost_base;
	}
}

/* What was made and removed again before the loss has no content to lose, but what was written goes with its making. */
static void
follow_makers(struct replay *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct item *t = &r->items[i];
		struct journal_entry n;

		if (t->name && t->stranded && !t->dead) {
			item_decode(&n, t);
			if (n.child != 0 && n.type != OP_RENAME)
				fact_known(r, n.child)->maker = t;
		}
		if (t->name || t->stranded || t->dead || fact_known(r, t->ino)->maker == NULL)
			continue;
		strand(r, t);
	}
}

/* What had begun to be run again is lost in turn: what was still to come comes after that. */
static void
next_round(struct replay *r)
{
	if (!r->redoing)
		return;
	r->redoing = false;
	mark_content(r);
	r->round++;
}

static void
lost_names(struct replay *r, uint64_t sequence)
{
	next_round(r);
	r->loss_at = r->count;
	for (size_t i = 0; i < r->count; i++) {
		struct item *t = &r->items[i];

		if (t->name && !t->stranded && !t->dead && t->number >= r->floor && (t->sequence == 0 || t->sequence >= sequence))
			strand(r, t);
	}
}

static bool
unsettled(const struct fact *f)
{
	return f->lost_at > f->lost_from && f->lost_last != 0;
}

/* There may be many of these: the items are marked at the end. */
static int
lost_content(struct replay *r, uint64_t ino)
{
	struct fact *f = fact_of(r, ino);

	if (f == NULL)
		return -ENOMEM;
	next_round(r);
	while (r->floor_at < r->count && r->items[r->floor_at].number < r->floor)
		r->floor_at++;
	if (!unsettled(f) || f->lost_round != r->round)
		f->lost_from = f->cleaned > r->floor_at ? f->cleaned : r->floor_at;
	f->lost_at = r->loss_at = r->count;
	f->lost_base = f->base;
	f->lost_round = r->round;
	f->lost_last = f->last;
	return 0;
}

/* Everything lost so far was run again, and its conflicts were told of. */
static void
redone(struct replay *r)
{
	mark_content(r);
	for (size_t i = 0; i < r->count; i++)
		r->items[i].dead |= r->items[i].stranded;
	for (size_t i = 0; i < r->facts_size; i++) {
		struct fact *f = &r->facts[i];

		f->to = f->copy = f->copy_parent = f->lost_last = 0;
		f->lost_from = f->lost_at = f->foreign = 0;
		f->copied = f->since = false;
		f->copy_name = (struct bytes){ NULL, 0 };
	}
	conflicts_forget(r);
}

static struct item *
item_find(struct replay *r, uint64_t number)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r->items[mid].number == number)
			return &r->items[mid];
		if (r->items[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* n was done for the entry `upto`, which had been lost; t is its own item. */
static void
replaces(struct replay *r, const struct journal_entry *n, struct item *t)
{
	struct item *other = item_find(r, n->upto);
	struct journal_entry was;
	struct fact *f;

	t->origin = n->upto;
	if (other == NULL || other == t)
		return;
	item_decode(&was, other);
	t->origin = other->origin;
	other->dead = true;
	r->redoing = true;
	if (!t->name) {
		f = fact_known(r, was.ino);
		if (f->lost_last == other->number)
			f->lost_last = 0;
		/* It has a copy, and that is whole. */
		if (n->ino != was.ino) {
			f->to = n->ino;
			f->copied = true;
		}
	}
	if (t->name && was.child != 0 && n->child != was.child && was.type != OP_RENAME)
		fact_known(r, was.child)->to = n->child;
}

/* Does it name what it is about? */
static bool
is_whole(const struct journal_entry *n)
{
	switch (n->kind) {
	case JOURNAL_FOREIGN: case JOURNAL_CLEAN: case JOURNAL_AWAY:
		return n->ino != 0;
	case JOURNAL_OP:
		return n->ino != 0 && (n->ino2 != 0 || (n->type != OP_LINK && n->type != OP_RENAME)) &&
		    (n->child != 0 || (n->type != OP_MKNOD && n->type != OP_MKDIR && n->type != OP_SYMLINK && n->type != OP_CREATE));
	default:
		return true;
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
	if (n->child != 0 && n->type != OP_RENAME)
		fact_known(r, n->child)->made = true;
	/* Its last name had gone before: it went with who had it open. */
	if (!name && n->nlink == 0)
		fact_known(r, n->ino)->unlinked = true;
	list[r->count++] = (struct item){ .entry = entry, .number = n->number, .ino = n->ino,
	    .origin = n->number, .it = n->type == OP_RENAME ? n->child : n->ino, .victim = n->victim, .name = name };
	if (n->upto != 0)
		replaces(r, n, &list[r->count - 1]);
	/* What comes after a loss did not build upon what was lost. */
	if ((!name || n->type == OP_RENAME || n->type == OP_LINK) && (f = fact_find(r, list[r->count - 1].it)) != NULL)
		f->since |= n->upto == 0 && unsettled(f);
	if (n->victim != 0) {
		f = fact_known(r, n->victim);
		f->since |= n->upto == 0 && unsettled(f);
	}
	if (!name)
		fact_known(r, n->ino)->last = n->number;
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

static int
attached(struct replay *r, const struct journal_entry *n)
{
	uint64_t *own;

	if (n->ino == 0)
		return 0;
	r->boot = n->version;
	if (r->own_count > 0 && r->own[r->own_count - 1] == n->ino)
		return 0;
	if ((own = room(r->own, r->own_count, &r->own_size, sizeof *own)) == NULL)
		return -ENOMEM;
	r->own = own;
	own[r->own_count++] = n->ino;
	return 0;
}

int
replay_add(struct replay *r, uint64_t number, struct bytes entry)
{
	struct journal_entry n;
	struct fact *f;
	int e = journal_decode(&n, entry);

	if (e < 0)
		return e;
	if (!is_whole(&n))
		return -EBADMSG;
	n.number = r->last_number = number;
	switch (n.kind) {
	case JOURNAL_OP:
		return operation(r, &n, entry);
	case JOURNAL_FREEZE:
		froze(r, n.sequence, n.upto);
		break;
	case JOURNAL_ACK:
		r->last_ack = n.sequence;
		break;
	case JOURNAL_TRIM:
		r->floor = n.upto > r->floor ? n.upto : r->floor;
		/* Less than before, if the mount that took the journal over has another session. */
		r->last_freeze = n.sequence;
		r->last_ack = r->last_ack < n.sequence ? r->last_ack : n.sequence;
		return attached(r, &n);
	case JOURNAL_SESSION:
		return attached(r, &n);
	case JOURNAL_FOREIGN:
		if ((f = fact_of(r, n.ino)) == NULL)
			return -ENOMEM;
		f->foreign = number;
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
		if (n.ino != 0)
			return lost_content(r, n.ino);
		lost_names(r, n.sequence);
		break;
	case JOURNAL_REDONE:
		redone(r);
		break;
	case JOURNAL_CONFLICT:
		return conflicted(r, &n);
	default:	/* RESUMED */
		resumed(r, n.sequence);
		break;
	}
	return 0;
}

static bool
live(struct replay *r, size_t i)
{
	const struct item *t = &r->items[i];
	const struct fact *f = fact_known(r, t->ino);

	if (t->dead)
		return false;
	if (!t->name && i >= f->lost_from && i < f->lost_at)
		return true;
	return t->stranded || (t->number >= r->floor && (t->name || f->cleaned <= i));
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

		if (f == NULL)
			continue;
		item_decode(&n, t);
		if (n.type != OP_WRITE || n.data.len == 0)
			continue;
		end = n.offset + n.data.len;
		/* What was lost may go beside the file, what was not to it. */
		if (f->over_stranded != t->stranded)
			f->over_from = f->over_to = 0;
		f->over_stranded = t->stranded;
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

	engine_rerun(e, r->boot);
	/* Only what was leased at the end: who claims more may get what another still holds. */
	for (size_t i = 0; i < r->facts_size && error == 0; i++) {
		const struct fact *f = &r->facts[i];

		if (r->whole && f->oid >= OID_ROOT && !f->away && (f->base != 0 || f->made) &&
		    r->items[f->named].number >= r->floor && f->named >= f->cleaned && f->named >= r->loss_at)
			error = engine_adopt(e, f->oid, f->base);
	}
	return error;
}

static int
by_turn(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->stranded != y->stranded)
		return x->stranded ? 1 : -1;
	if (x->stranded && x->origin != y->origin)
		return x->origin < y->origin ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void
put_in_order(struct replay *r)
{
	if (r->loss_at > 0)
		qsort(r->items, r->count, sizeof *r->items, by_turn);
}

/* A name that landed: was it the removal of a last one? */
static void
note_removal(struct replay *r, const struct item *t)
{
	struct journal_entry n;

	item_decode(&n, t);
	if (n.victim != 0 && n.nlink == 0)
		fact_known(r, n.victim)->unlinked = true;
}

int
replay_redo(struct replay *r, struct engine *e, struct timespec now, uint64_t losses, bool keep_oids)
{
	int error = 0;

	r->now = now;
	r->live = true;
	r->losses = losses;
	r->resumed = keep_oids;
	for (size_t i = 0; i < r->own_count && error == 0; i++)
		error = engine_own(e, r->own[i]);
	mark_content(r);
	for (size_t i = 0; i < r->count; i++) {
		struct item *t = &r->items[i];

		t->run = t->stranded && !t->dead;
		if (t->name && !t->stranded && !t->dead)
			note_removal(r, t);
	}
	put_in_order(r);
	r->error = error;
	return error;
}

/* What had landed, and whether that was more than the journal tells of; which is noted. */
static int
attached_again(struct replay *r, struct engine *e, uint64_t *ret_landed, bool *ret_all)
{
	int error = 0;

	if (!(r->resumed = engine_resumed(e, ret_landed)))
		*ret_landed = r->last_ack;
	*ret_all = r->resumed && *ret_landed > r->last_freeze;
	for (size_t i = 0; i < r->own_count && error == 0; i++)
		error = engine_own(e, r->own[i]);
	if (r->resumed && error == 0)
		error = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_RESUMED, .sequence = *ret_landed });
	if (*ret_all && error == 0)
		error = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = *ret_landed,
		    .upto = r->last_number });
	return error;
}

int
replay_leave(struct replay *r, struct engine *e)
{
	uint64_t landed;
	bool all;
	int error = attached_again(r, e, &landed, &all);

	for (size_t i = 0; i < r->count && error == 0; i++) {
		const struct item *t = &r->items[i];
		struct fact *f = t->name || !live(r, i) ? NULL : fact_find(r, t->ino);

		if (f == NULL || f->left)
			continue;
		f->left = true;
		error = engine_leave(e, t->ino, f->base);
	}
	return error == 0 ? engine_left(e, landed + 1) : error;
}

int
replay_begin(struct replay *r, struct engine *e, struct timespec now)
{
	uint64_t landed;
	bool all, keep;
	int error;

	r->now = now;
	engine_redo_due(e, &r->losses, &keep);
	engine_replaying(e, true);
	error = attached_again(r, e, &landed, &all);
	mark_content(r);
	follow_makers(r);
	for (size_t i = 0; i < r->count && error == 0; i++) {
		struct item *t = &r->items[i];

		t->run = live(r, i) && (!t->name || t->stranded || (!all && (t->sequence == 0 || t->sequence > landed)));
		if (t->run || t->dead || !t->name)
			continue;
		r->report.landed++;
		note_removal(r, t);
	}
	/* What has lost its last name on the server goes with the session. */
	for (size_t i = 0; i < r->count; i++) {
		const struct fact *f = r->items[i].name ? NULL : fact_find(r, r->items[i].ino);

		r->items[i].run &= f == NULL || !f->unlinked;
	}
	put_in_order(r);
	skip_overwritten(r);
	r->error = error;
	return error;
}
