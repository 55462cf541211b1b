/*
 * op_replay.c - operations out of the journal, run again.
 *
 * Each first asks whether it still fits: do the names lead to the objects
 * they led to then, and has nobody else changed what it is about?  All under
 * the leases that the operation itself needs, in the same attempt.  If it
 * fits, the ordinary retry function runs, at the time of then.  If not, it
 * is done beside, under the conflict name, or the driver (replay.c) is told.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs/core.h"

typedef int run_op(struct engine *e, struct op *op);

/* True: nobody else changed o since the journal's operations saw it; nor did we, but later. */
static bool
ours(const struct engine *e, const struct object *o, const struct changed *c)
{
	return !o->changed && !c->foreign && (o->adopted || o->born || o->version == c->base || journal_own(e, o->writer));
}

/*
 * What somebody else changed is about to be changed by us all the same, in a
 * way that does not touch content.  That must not make it ours, for the
 * content that comes next, nor for another attempt.
 */
static int
stays_foreign(struct engine *e, const struct object *o, struct changed *c)
{
	int r;

	if (!S_ISREG(o->attr.mode) || c->foreign || ours(e, o, c))
		return 0;
	r = engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_FOREIGN, .ino = o->oid });
	c->foreign = c->found = r == 0;
	return r == -ENOSPC ? -ENOBUFS : r;		/* here, not there */
}

/* Ours from now on, until its lease is given away. */
static void
take(struct engine *e, uint64_t oid)
{
	struct object *o = object_find(e, oid);

	if (o != NULL && o->mode == MODE_EXCLUSIVE)
		o->adopted = true;
}

static int
verdict(struct op *op, enum verdict v)
{
	op->replay->verdict = v;
	return 0;
}

/* The directory; NULL with *ret: -EAGAIN, or the verdict that it is gone. */
static struct object *
directory(struct engine *e, struct op *op, uint64_t oid, int *ret)
{
	struct object *o = need_object(e, op, oid, MODE_EXCLUSIVE);

	*ret = -EAGAIN;
	if (o == NULL && op->state->fail == -ESTALE) {
		op->state->fail = 0;
		*ret = verdict(op, REPLAY_GONE);
	} else if (o != NULL && (o->gone || !S_ISDIR(o->attr.mode))) {
		*ret = verdict(op, REPLAY_GONE);
		o = NULL;
	}
	return o;
}

/* The conflict name: free, ours already, or taken. */
static int
beside(struct engine *e, struct op *op, struct object *dir, struct bytes *name, uint64_t oid, run_op *run)
{
	struct bytes asked = *name;
	struct entry entry;
	int r = op_find_entry(e, op, dir, op->replay->beside, &entry);

	if (r < 0)
		return r;
	if (entry.rec != NULL)
		return verdict(op, entry.rec->oref == oid ? REPLAY_THERE : REPLAY_TAKEN);
	*name = op->replay->beside;
	if ((r = run(e, op)) == 0)
		verdict(op, REPLAY_BESIDE);
	else
		*name = asked;		/* it is tried again, from the beginning */
	return r;
}

static int
replay_make(struct engine *e, struct op *op, run_op *run)
{
	struct replaying *p = op->replay;
	struct object *dir, *other;
	struct entry entry;
	int r;

	/* Wherever it is now. */
	if (p->again && p->keep_oids) {
		if ((other = need_object(e, op, p->entry->child, MODE_SHARED)) == NULL && op->state->fail != -ESTALE)
			return -EAGAIN;
		op->state->fail = 0;
		if (other != NULL && !other->gone)
			return verdict(op, REPLAY_THERE);
	}
	if ((dir = directory(e, op, op->ino, &r)) == NULL || (r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec == NULL)
		return run(e, op);
	p->found = entry.rec->oref;
	if (p->found == p->entry->child)
		return verdict(op, REPLAY_THERE);
	if (op->type == OP_MKDIR && entry.type == DT_DIR)
		return verdict(op, REPLAY_SAME);
	if (op->type == OP_SYMLINK && entry.type == DT_LNK) {
		if ((other = op_need_child(e, op, dir, &entry, MODE_SHARED)) == NULL)
			return -EAGAIN;
		if (other->attr.symlink.len == op->name2.len &&
		    memcmp(other->attr.symlink.data, op->name2.data, op->name2.len) == 0)
			return verdict(op, REPLAY_SAME);
	}
	return beside(e, op, dir, &op->name, p->entry->child, run);
}

static int
replay_link(struct engine *e, struct op *op, run_op *run)
{
	struct object *dir, *o;
	struct entry entry;
	int r;

	if ((dir = directory(e, op, op->ino2, &r)) == NULL)
		return r;
	if ((o = need_object(e, op, op->ino, MODE_EXCLUSIVE)) == NULL) {
		if (op->state->fail != -ESTALE)
			return -EAGAIN;
		op->state->fail = 0;
		return verdict(op, REPLAY_GONE);
	}
	if ((r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if ((entry.rec == NULL || entry.rec->oref != op->ino) && (r = stays_foreign(e, o, &op->replay->it)) < 0)
		return r;
	if (entry.rec == NULL)
		return run(e, op);
	return entry.rec->oref == op->ino ? verdict(op, REPLAY_THERE) : beside(e, op, dir, &op->name, op->ino, run);
}

static int
replay_unlink(struct engine *e, struct op *op, run_op *run)
{
	struct replaying *p = op->replay;
	struct object *dir, *o;
	struct entry entry;
	int r;

	if ((dir = directory(e, op, op->ino, &r)) == NULL || (r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec == NULL || entry.rec->oref != op->victim)
		return verdict(op, REPLAY_THERE);
	if ((o = op_need_child(e, op, dir, &entry, MODE_EXCLUSIVE)) == NULL)
		return -EAGAIN;
	/* Who changed it meanwhile wants it. */
	if (!S_ISDIR(o->attr.mode) && !ours(e, o, &p->victim))
		return verdict(op, REPLAY_CHANGED);
	r = run(e, op);
	return r == -ENOTEMPTY ? verdict(op, REPLAY_CHANGED) : r;
}

static int
replay_rename(struct engine *e, struct op *op, run_op *run)
{
	struct replaying *p = op->replay;
	struct object *from, *to, *o;
	struct entry source, target;
	int r;

	if ((from = directory(e, op, op->ino, &r)) == NULL || (to = directory(e, op, op->ino2, &r)) == NULL)
		return r;
	if ((r = op_find_entry(e, op, from, op->name, &source)) < 0 ||
	    (r = op_find_entry(e, op, to, op->name2, &target)) < 0)
		return r;
	if (source.rec == NULL || source.rec->oref != op->moved)
		return verdict(op, REPLAY_THERE);
	if ((op->flags & RENAME_EXCHANGE) && (target.rec == NULL || target.rec->oref != op->victim))
		return verdict(op, REPLAY_CHANGED);
	if ((o = op_need_child(e, op, from, &source, MODE_EXCLUSIVE)) == NULL)
		return -EAGAIN;
	if ((r = stays_foreign(e, o, &p->it)) < 0)
		return r;
	if (op->flags & RENAME_EXCHANGE) {
		if ((o = op_need_child(e, op, to, &target, MODE_EXCLUSIVE)) == NULL)
			return -EAGAIN;
		return (r = stays_foreign(e, o, &p->victim)) < 0 ? r : run(e, op);
	}
	if (target.rec == NULL || target.rec->oref == op->moved)
		return run(e, op);
	if (target.rec->oref == op->victim) {
		if ((o = op_need_child(e, op, to, &target, MODE_EXCLUSIVE)) == NULL)
			return -EAGAIN;
		if (S_ISDIR(o->attr.mode) || ours(e, o, &p->victim)) {
			r = run(e, op);
			if (r != -ENOTEMPTY)
				return r;
		}
	}
	return beside(e, op, to, &op->name2, op->moved, run);
}

static bool
changes_content(const struct op *op)
{
	return op->type == OP_WRITE || op->type == OP_FALLOCATE || (op->type == OP_SETATTR && (op->set & SET_SIZE));
}

/* Content and attributes of one object. */
static int
replay_content(struct engine *e, struct op *op, run_op *run)
{
	struct replaying *p = op->replay;
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	int r;

	if (o == NULL) {
		if (op->state->fail != -ESTALE)
			return -EAGAIN;
		op->state->fail = 0;
		return verdict(op, REPLAY_GONE);
	}
	if (S_ISREG(o->attr.mode) && !p->trusted && !ours(e, o, &p->it)) {
		if (changes_content(op))
			return verdict(op, REPLAY_CHANGED);
		if ((r = stays_foreign(e, o, &p->it)) < 0)	/* attributes: the last one wins */
			return r;
	}
	return run(e, op);
}

int
op_replay(struct engine *e, struct op *op, run_op *run)
{
	const struct replaying *p = op->replay;
	struct timespec now = e->real;
	int r;

	op->replay->verdict = REPLAY_DONE;
	e->real = p->entry->when;
	switch (op->type) {
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		r = replay_make(e, op, run);
		break;
	case OP_LINK:
		r = replay_link(e, op, run);
		break;
	case OP_UNLINK: case OP_RMDIR:
		r = replay_unlink(e, op, run);
		break;
	case OP_RENAME:
		r = replay_rename(e, op, run);
		break;
	default:
		r = replay_content(e, op, run);
		break;
	}
	e->real = now;
	if (r == 0 && !p->trusted && !p->it.foreign && (p->verdict == REPLAY_DONE || p->verdict == REPLAY_BESIDE))
		take(e, op->type == OP_RENAME ? op->moved : op->made ? op->child : journal_is_name(p->entry) &&
		    op->type != OP_LINK ? op->victim : op->ino);
	return r;
}
