/*
 * keep.c - what the pins keep: subtrees that are to be here without a server.
 *
 * Someone outside (pinner.c) goes over the pinned subtrees in rounds, the
 * first of which is 1.  A KEEP fetches all there is to know of one object and
 * notes the round in it.  At the end of a round, which names its number, what
 * was kept for an earlier one is let go: it is not in any pinned subtree any
 * more.  What is kept
 *
 *	- is not given back when there are too many objects (trim.c);
 *	- goes as ever when another client wants to change it: no pin may hold
 *	  anybody up.  That it went, or was changed here, is counted, and the
 *	  next round fetches it again.
 *
 * Invariants: a KEEP changes nothing but the object's round; it asks for
 * leases to read, never for more.
 */
#include "fs/core.h"

bool
keep_holds(const struct engine *e, const struct object *o)
{
	return o->kept != 0 && o->kept >= e->keep_round;
}

void
keep_changed(struct engine *e, const struct object *o)
{
	if (keep_holds(e, o))
		e->keep_due++;
}

void
engine_keep_round(struct engine *e, uint64_t round)
{
	e->keep_round = round;
}

uint64_t
engine_keep_due(const struct engine *e)
{
	return e->keep_due;
}

/* ---- the operation ---- */

static int
children(struct op *op, struct object *dir)
{
	static const uint8_t zero[TOKEN_SIZE];
	struct rec *first = object_rec_from(dir, KIND_ENTRY, zero, sizeof zero), *r;
	size_t count = 0, at = 0;
	uint64_t *oids;
	int error;

	for (r = first; r != NULL && r->kind == KIND_ENTRY; r = object_rec_after(dir, r))
		count += !r->absent;
	if ((error = op_copy(op, NULL, 0)) < 0 || count == 0)
		return error;
	buffer_put(op->pieces[0].buffer);
	op->pieces[0] = (struct piece){ NULL, 0, buffer_new(count * sizeof *oids) };
	if (op->pieces[0].buffer == NULL)
		return -ENOMEM;
	oids = (uint64_t *)(void *)op->pieces[0].buffer->data;
	for (r = first; r != NULL && r->kind == KIND_ENTRY; r = object_rec_after(dir, r))
		if (!r->absent && r->oref != 0)
			oids[at++] = r->oref;
	op->pieces[0].data = op->pieces[0].buffer->data;
	op->pieces[0].len = at * sizeof *oids;
	return 0;
}

struct blocks {
	struct kept_block *list;
	size_t		 count, size;
};

static int
add_block(void *context, const uint8_t id[ID_SIZE], uint32_t from, uint32_t to)
{
	struct blocks *b = context;
	struct kept_block *k;

	if (b->count == b->size) {
		size_t size = b->size == 0 ? 16 : 2 * b->size;
		struct kept_block *more = realloc(b->list, size * sizeof *more);

		if (more == NULL)
			return -ENOMEM;
		b->list = more;
		b->size = size;
	}
	k = &b->list[b->count++];
	memcpy(k->id, id, ID_SIZE);
	k->first = from / CELL_SIZE;
	k->count = (to - 1) / CELL_SIZE - k->first + 1;
	k->bytes = to - k->first * CELL_SIZE;
	return 0;
}

static int
blocks(struct op *op, struct object *file)
{
	struct blocks b = { .count = 0 };
	int r = data_blocks(file, add_block, &b);

	if (r == 0)
		r = op_copy(op, b.list, b.count * sizeof *b.list);
	free(b.list);
	return r;
}

static int
keep_entry(struct engine *e, struct op *op, struct object *dir)
{
	struct entry entry;
	int r;

	if (!S_ISDIR(dir->attr.mode))
		return -ENOTDIR;
	if ((r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec == NULL)
		return -ENOENT;
	op->child = entry.rec->oref;
	return 0;
}

int
op_keep(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);
	struct rec *rec;
	int r = 0;

	if (o == NULL)
		return -EAGAIN;
	if (op->name.len == 0) {
		need_cover(e, op, o, KIND_XATTR);
		if (S_ISDIR(o->attr.mode)) {
			need_cover(e, op, o, KIND_ENTRY);
			need_record(e, op, o, KIND_PARENT, NULL, 0, &rec);
		} else if (S_ISREG(o->attr.mode))
			data_need_all(e, op, o);
		if (needs_missing(op))
			return -EAGAIN;
		r = S_ISDIR(o->attr.mode) ? children(op, o) : S_ISREG(o->attr.mode) ? blocks(op, o) : op_copy(op, NULL, 0);
	} else
		r = keep_entry(e, op, o);
	if (r == 0) {
		o->kept = op->round;
		op->attr.mode = o->attr.mode;
		op->attr.size = o->attr.size;
		op->unsaved = data_dirty(o);
	}
	return r;
}
