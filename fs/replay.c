/*
 * replay.c - see replay.h.
 *
 * For each entry that is to be run (replay_plan.c): RUN, again with another
 * name while the conflict name is taken; or, when its content has no place
 * any more, a copy is made (replay_beside.c), then RUN on that.  Then the
 * conflicts, then SYNC.
 *
 * Where the server is full, and the mount lives, what adds something waits for
 * the next attempt, with all that builds upon it; but removals go ahead: they
 * may be what it waits for.
 */
#include "fs/replay_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t
stands_for(struct replay *r, uint64_t oid)
{
	const struct fact *f = fact_known(r, oid);

	return f->to == 0 ? oid : f->to;
}

/* The same for names: they go on to speak of the original where content goes to a copy. */
static uint64_t
named(struct replay *r, uint64_t oid)
{
	const struct fact *f = fact_find(r, oid);

	return f == NULL || f->to == 0 || f->copied ? oid : f->to;
}

/* ---- an entry ---- */

/* Only what bears content is worth a copy; an attribute of what is gone is not. */
static bool
bears_content(const struct journal_entry *n)
{
	return n->type == OP_WRITE || n->type == OP_OPEN || n->type == OP_FALLOCATE ||
	    (n->type == OP_SETATTR && (n->set & SET_SIZE));
}

static void
begin_entry(struct replay *r)
{
	struct item *t = &r->items[r->at];

	item_decode(&r->entry, t);
	r->entry.number = t->number;
	r->step = RUN;
	r->nth = 0;
	r->on_root = false;
	next_beside(r);
	r->report.run++;
}

/* Content of what has lost its last name meanwhile need not be run, unless somebody may still have it open. */
static bool
due(struct replay *r, const struct item *t)
{
	const struct fact *f = t->name || !t->run ? NULL : fact_find(r, t->ino);

	return t->run && (f == NULL || !f->unlinked || r->live);
}

/* ---- a full server ---- */

static size_t
name_bit(uint64_t directory, struct bytes name)
{
	return XXH3_64bits_withSeed(name.data, name.len, directory) % WAITING_BITS;
}

static void
name_set_waiting(struct replay *r, uint64_t directory, struct bytes name)
{
	size_t bit = name_bit(directory, name);

	r->waiting[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool
name_waits(const struct replay *r, uint64_t directory, struct bytes name)
{
	size_t bit = name_bit(directory, name);

	return (r->waiting[bit / 64] >> bit % 64 & 1) != 0;
}

static void
set_waiting(struct replay *r, uint64_t oid, bool in_it)
{
	struct fact *f = oid == 0 ? NULL : fact_find(r, oid);

	if (f == NULL)
		return;
	f->names_wait |= in_it;
	f->waits |= !in_it;
}

static void
wait_for_room(struct replay *r, struct item *t)
{
	struct journal_entry n;

	item_decode(&n, t);
	set_waiting(r, n.ino, t->name && n.type != OP_LINK);
	set_waiting(r, n.ino2, true);
	set_waiting(r, n.child, false);
	set_waiting(r, n.victim, false);
	if (t->name && n.type != OP_LINK)
		name_set_waiting(r, n.ino, n.name);
	if (n.ino2 != 0)
		name_set_waiting(r, n.ino2, n.type == OP_LINK ? n.name : n.name2);
}

/* A removal makes room, and is not put off if nothing that waits comes before it. */
static bool
runs_ahead(struct replay *r, const struct item *t)
{
	const struct fact *f;
	struct journal_entry n;

	item_decode(&n, t);
	if (n.type != OP_UNLINK && n.type != OP_RMDIR)
		return false;
	if (fact_known(r, n.ino)->waits || ((f = fact_find(r, n.victim)) != NULL && f->waits))
		return false;
	return !name_waits(r, n.ino, n.name) && !(n.type == OP_RMDIR && f != NULL && f->names_wait);
}

static bool
put_off(struct replay *r, struct item *t)
{
	if (!r->no_room || runs_ahead(r, t))
		return false;
	wait_for_room(r, t);
	return true;
}

/* ---- one entry after the other ---- */

static void
next_entry(struct replay *r, bool first)
{
	if (!first)
		r->at++;
	while (r->at < r->count && (!due(r, &r->items[r->at]) || put_off(r, &r->items[r->at])))
		r->at++;
	if (r->at < r->count)
		begin_entry(r);
	else if (r->no_room)
		r->error = -ENOSPC;
	else {
		r->at = 0;
		r->step = FIND_ORIGINAL;
	}
}

static struct changed
changed(struct replay *r, const struct item *t, uint64_t oid, uint64_t base)
{
	const struct fact *f = fact_find(r, oid);

	if (f == NULL)
		return (struct changed){ 0 };
	return (struct changed){ .base = t->stranded ? base : f->base,
	    .foreign = t->number < f->foreign || (t->stranded && f->since) };
}

static void
set_run(struct replay *r)
{
	const struct journal_entry *n = &r->entry;
	const struct item *t = &r->items[r->at];
	struct op *op = &r->op;

	r->replaying = (struct replaying){ .entry = n, .keep_oids = r->resumed, .beside = replay_text(r->beside),
	    .trusted = fact_known(r, n->ino)->copied, .live = r->live, .again = t->stranded && !r->live,
	    .it = changed(r, t, t->it, t->base), .victim = changed(r, t, t->victim, t->victim_base) };
	*op = (struct op){ .type = n->type == OP_CREATE ? OP_MKNOD : n->type, .uid = n->uid, .gid = n->gid,
	    .flags = n->flags, .set = n->set, .attr = n->attr, .offset = n->offset, .size = n->size, .name = n->name,
	    .name2 = n->name2, .data = n->data, .replay = &r->replaying };
	op->ino = r->on_root ? OID_ROOT : journal_is_name(n) ? named(r, n->ino) : stands_for(r, n->ino);
	op->ino2 = named(r, n->ino2);
	op->victim = named(r, n->victim);
	op->moved = n->type == OP_RENAME ? named(r, n->child) : 0;
	if (n->type == OP_OPEN) {	/* no handle: what it did was to truncate */
		op->type = OP_SETATTR;
		op->set = SET_SIZE;
		op->attr.size = 0;
	}
}

static void
unfit(struct replay *r)
{
	if (!journal_is_name(&r->entry) && bears_content(&r->entry))
		r->to_tell = r->entry.ino;
	r->report.unfit++;
	next_entry(r, false);
}

static void
ran(struct replay *r, const struct op *done)
{
	const struct journal_entry *n = &r->entry;
	struct fact *f;

	f = fact_find(r, n->child);
	if (f != NULL && done->made && done->child != n->child)
		f->to = done->child;
	if (done->victim != 0 && done->victim_nlink == 0)
		fact_known(r, n->victim)->unlinked = true;
	if (r->replaying.verdict == REPLAY_BESIDE &&
	    conflict_add(r, r->on_root ? OID_ROOT : n->type == OP_RENAME || n->type == OP_LINK ? done->ino2 : done->ino,
	    name_of(r), replay_text(r->beside)) < 0)
		r->error = -ENOMEM;
	else if (r->replaying.verdict == REPLAY_BESIDE)
		r->to_note = &r->conflicts[r->conflicts_count - 1];
	next_entry(r, false);
}

static void
found_foreign(struct replay *r)
{
	const struct item *t = &r->items[r->at];

	if (r->replaying.it.found)
		fact_known(r, t->it)->foreign = UINT64_MAX;
	if (r->replaying.victim.found)
		fact_known(r, t->victim)->foreign = UINT64_MAX;
}

static void
answered_run(struct replay *r, const struct op *done)
{
	const struct journal_entry *n = &r->entry;
	bool name = journal_is_name(n), makes = n->child != 0 && n->type != OP_RENAME;
	struct fact *f = name ? NULL : fact_known(r, n->ino);

	found_foreign(r);
	/* Damaged, say: what was written goes beside it. */
	if (done->error < 0 && !name && bears_content(n) && !f->copied) {
		begin_copy(r, true);
		return;
	}
	if (done->error < 0) {
		unfit(r);
		return;
	}
	switch (r->replaying.verdict) {
	case REPLAY_DONE: case REPLAY_BESIDE:
		ran(r, done);
		break;
	case REPLAY_THERE:
		next_entry(r, false);
		break;
	case REPLAY_SAME:
		fact_known(r, n->child)->to = r->replaying.found;
		next_entry(r, false);
		break;
	case REPLAY_TAKEN:
		next_beside(r);
		break;
	case REPLAY_CHANGED:
		if (!name)		/* so it bears content */
			begin_copy(r, n->type != OP_OPEN);
		else
			unfit(r);
		break;
	default:	/* GONE */
		if (makes && !r->on_root)
			r->on_root = true;
		else if (n->type == OP_WRITE && !f->unlinked)
			begin_copy(r, false);
		else
			unfit(r);
		break;
	}
}

/* ---- the door ---- */

/* So that another attempt finds what was made instead of making it again. */
static void
note(struct replay *r, struct engine *e)
{
	const struct conflict *c = r->to_note;
	int error = 0;

	if (r->live && r->to_note_ino != 0)
		engine_redo_beside(e, r->to_note_ino);
	if (r->live && r->to_tell != 0)
		engine_redo_beside(e, r->to_tell);
	if (c != NULL)
		error = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_CONFLICT, .ino = r->to_note_ino,
		    .child = r->to_note_copy, .parent = c->parent, .name = replay_text(c->name), .name2 = replay_text(c->copy) });
	if (r->error == 0)
		r->error = error == -ENOSPC ? -ENOBUFS : error;		/* here, not there */
	r->to_note = NULL;
	r->to_note_ino = r->to_note_copy = r->to_tell = 0;
}

struct op *
replay_next(struct replay *r, struct engine *e)
{
	uint64_t losses;
	bool keep;

	if (r->at == 0 && r->step == RUN && r->entry.kind == 0)
		next_entry(r, true);
	note(r, e);
	engine_redo_due(e, &losses, &keep);
	/* What is lost now would be done again by nobody. */
	if (r->error == 0 && losses != r->losses)
		r->error = -EAGAIN;
	for (;;) {
		if (r->error != 0 || r->step == END) {
			if (!r->live)
				engine_replaying(e, false);
			return NULL;
		}
		if (r->step == FIND_ORIGINAL && r->conflicts_count == 0)
			r->step = SYNC;
		if (r->step == SYNC && r->live) {
			r->step = END;		/* it is in the journal again, as any work */
			continue;
		}
		if (r->step != UP || r->climb[r->depth] != OID_ROOT)
			break;
		end_path(r);
	}
	if (r->step == RUN)
		set_run(r);
	else if (r->step < FIND_ORIGINAL)
		set_copying(r);
	else if (r->step < SYNC)
		set_conflict(r);
	else
		r->op = (struct op){ .type = OP_SYNC, .ino = OID_ROOT };
	r->op.redo = r->live;
	return &r->op;
}

void
replay_answered(struct replay *r, const struct op *done)
{
	if (done->error == -ENOSPC && r->live && r->step < FIND_ORIGINAL) {
		r->no_room = true;
		wait_for_room(r, &r->items[r->at]);
		next_entry(r, false);
	}
	/* These say nothing of what is there: whoever begins again will find it. */
	else if (done->error == -EINTR || done->error == -ENOMEM || done->error == -ENOSPC || done->error == -ENOBUFS)
		r->error = done->error;
	else if (r->step == RUN)
		answered_run(r, done);
	else if (r->step < FIND_ORIGINAL)
		answered_copying(r, done);
	else if (r->step < SYNC)
		answered_conflict(r, done);
	else {
		r->error = done->error;
		r->step = END;
	}
}

int
replay_error(const struct replay *r)
{
	return r->error != 0 || r->step == END ? r->error : -EINTR;
}

void
replay_report(const struct replay *r, struct replay_report *to)
{
	*to = r->report;
}

bool
replay_conflict(const struct replay *r, size_t i, const char **ret_path)
{
	size_t n = 0;

	for (size_t k = 0; k < r->conflicts_count; k++)
		if (r->conflicts[k].path != NULL && n++ == i) {
			*ret_path = r->conflicts[k].path;
			return true;
		}
	return false;
}

int
replay_new(struct replay **ret, const char *device, bool whole)
{
	struct replay *r = calloc(1, sizeof *r);

	if (r == NULL || (r->chunk = malloc(2 * CHUNK)) == NULL) {
		free(r);
		return -ENOMEM;
	}
	r->whole = whole;
	/* A device's name becomes part of file names. */
	snprintf(r->device, sizeof r->device, "%s", device);
	for (char *at = r->device; *at != '\0'; at++)
		if (*at == '/' || (unsigned char)*at < ' ')
			*at = '_';
	*ret = r;
	return 0;
}

void
replay_free(struct replay *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->conflicts_count; i++) {
		free(r->conflicts[i].name);
		free(r->conflicts[i].copy);
		free(r->conflicts[i].path);
	}
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		free(r->names[i]);
	free(r->items);
	free(r->facts);
	free(r->conflicts);
	free(r->own);
	free(r->chunk);
	free(r);
}
