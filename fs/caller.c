/*
 * caller.c - look-ups that belong to one system call.
 *
 * rename(2) looks two names up, each by a request of its own, and then judges
 * by itself, without asking us: two names of one inode are done, a directory
 * does not replace a file, NOREPLACE finds a name taken.  Each answer is true
 * when it is given, but the pair may never have been, when the directory of
 * the first name was another client's in between.  The kernel holds the locks
 * of both directories all the time; on a local disk that is enough.
 *
 * So what a thread looked up last is remembered, with the lease it was
 * answered under.  When it looks up another name, not one below the first:
 *
 *	the lease is still ours    the second look-up names it as a need, so an
 *	                           older operation keeps it (R6), and is answered
 *	it went meanwhile          ESTALE: the kernel begins rename(2) anew, with
 *	                           names asked for again
 *
 * (Asked whether a name it knows is still so, the kernel takes any error for
 * a no, and asks once more, anew: the same answer is given then.)
 *
 * The kernel does so once in a call; a pair that is broken again is answered
 * ESTALE again, and then the application sees it: better an error than a
 * rename that never was.  To make that rare, who is wounded keeps its ticket
 * (R6), needs the directory of the new name from its first look-up on, is not
 * answered while the lease of either is about to go, and what it looks into is
 * held for HOLD_MS against a recall that wants all of the lease.
 *
 * A first name that was answered from the kernel's cache is not seen here.
 * While a directory is in demand its names are not cached (names_quiet());
 * when the first recall of a quiet one has just let names go, or its loss, a
 * look-up that may be such a second one is begun anew too.
 *
 * When a process is stopped, or its machine sleeps, between the two, the second
 * comes late, and the lease has gone: so it is by the call its thread is in that
 * a look-up long after the last is told from one that has nothing to do with it.
 *
 * Other calls judge by one name, and some that make a name (mkdir(2)) would
 * pass ESTALE on at once: so nobody is told it who is not within rename(2).
 * Collisions in the table only lose the memory of somebody.
 */
#include "fs/core.h"

enum {
	PAIR_MS		= 1000,		/* no call takes longer between its look-ups, unless a need waits or we stood still */
	HOLD_MS		= 200,
	DEMAND_MS	= 10000,	/* since its last recall a directory is in demand */
	FRESH_MS	= 5,
};

static struct caller *
caller_at(struct engine *e, uint32_t id)
{
	return id == 0 ? NULL : &e->callers[id % CALLERS_MAX];
}

static struct caller *
caller_find(struct engine *e, const struct op *op)
{
	struct caller *c = caller_at(e, op->caller);

	return c != NULL && c->id == op->caller ? c : NULL;
}

static bool
still_leased(struct engine *e, uint64_t oid, uint64_t since)
{
	const struct object *o = object_find(e, oid);

	return o != NULL && o->mode != MODE_NONE && o->leased_since == since;
}

static void
set_hold(struct engine *e, uint64_t oid, uint64_t until)
{
	struct object *o = oid == 0 ? NULL : object_find(e, oid);

	if (o != NULL)
		o->hold_until = until;
}

static void
hold(struct engine *e, struct caller *c, uint64_t oid)
{
	size_t at = 0, last = sizeof c->held / sizeof *c->held - 1;

	while (at < last && c->held[at] != oid)
		at++;
	if (c->held[at] != oid)
		set_hold(e, c->held[at], 0);
	memmove(c->held + 1, c->held, at * sizeof *c->held);
	c->held[0] = oid;
	set_hold(e, oid, e->now_ms + HOLD_MS);
}

/* Recalls go on when the event is settled. */
static void
unhold(struct engine *e, struct caller *c)
{
	for (size_t i = 0; i < sizeof c->held / sizeof *c->held; i++)
		set_hold(e, c->held[i], 0);
	memset(c->held, 0, sizeof c->held);
}

/* FNV-1a: only to tell one name of a process from its last one. */
static uint64_t
name_digest(struct bytes name)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ name.data[i]) * 1099511628211u;
	return h;
}

/* Never 0. */
static uint64_t
name_mark(const struct op *op)
{
	return (name_digest(op->name) ^ op->ino * 0x9e3779b97f4a7c15u) | 1;
}

/* Is this the second look-up of a rename?  When both names are alike, it is if the first was the look-up before. */
static bool
is_second(struct engine *e, struct op *op, const struct caller *c)
{
	enum rename_part part = e->config.renames == NULL ? RENAME_NEITHER :
	    e->config.renames(e->config.context, op->caller, op->name);

	return part == RENAME_NEW ||
	    (part == RENAME_EITHER && c->id == op->caller && c->dir != 0 && c->name == name_digest(op->name));
}

void
caller_arrived(struct engine *e, struct op *op)
{
	struct caller *c = caller_find(e, op);

	if (c == NULL)
		return;
	if (e->now_ms - c->seen_ms > PAIR_MS && (op->type != OP_LOOKUP || !is_second(e, op, c))) {
		c->id = 0;
		return;
	}
	if (c->wounded)
		op->state->ticket = c->ticket;
	/* Attributes are asked for in between, to judge permissions by. */
	if (op->type == OP_LOOKUP || op->type == OP_GETATTR)
		return;
	unhold(e, c);
	c->id = 0;
}

/* The call is to begin anew; true when it may be told so. */
static bool
wound(struct engine *e, struct op *op)
{
	struct caller *c = caller_at(e, op->caller);

	if (!is_second(e, op, c))
		return false;
	unhold(e, c);
	*c = (struct caller){ .id = op->caller, .wounded = true, .ticket = op->state->ticket,
	    .second = op->ino, .told = name_mark(op), .seen_ms = e->now_ms };
	e->stats.restarts++;
	return true;
}

/* A recall of the directory has gone too far to be held up. */
static bool
leaving(struct engine *e, struct op *op, uint64_t oid)
{
	const struct object *dir = object_find(e, oid);

	if (dir == NULL || dir->recall == RECALL_NONE || dir->recall == RECALL_WAIT)
		return false;
	op->state->missing = true;
	park(op, WAIT_OBJECT, oid);
	return true;
}

/* The second directory, needed from the first look-up on: -EAGAIN while it is missing. */
static int
need_second(struct engine *e, struct op *op, struct caller *c)
{
	if (op->ino == c->second || need_lease(e, op, c->second, MODE_SHARED) != NULL)
		return 0;
	if (op->state->fail != -ESTALE)
		return -EAGAIN;
	/* It was removed meanwhile: that pair comes to nothing, and other names have nothing to do with it. */
	op->state->fail = 0;
	unhold(e, c);
	c->wounded = false;
	return 0;
}

int
caller_looks_up(struct engine *e, struct op *op)
{
	struct caller *c = caller_find(e, op);
	bool again;

	if (op->caller == 0)
		return 0;
	if (c != NULL && c->told != 0) {
		again = c->told == name_mark(op);
		c->told = 0;
		if (again)
			return -ESTALE;
	}
	if (c != NULL && c->wounded && (leaving(e, op, op->ino) || leaving(e, op, c->second) || need_second(e, op, c) < 0))
		return -EAGAIN;
	if (c != NULL && c->dir != 0) {
		if (op->ino == c->child)
			unhold(e, c);	/* a step down: no pair yet */
		else if (still_leased(e, c->dir, c->leased_since))
			need_held(op, c->dir, MODE_SHARED);
		else if (wound(e, op))
			return -ESTALE;
	}
	if (e->names_gone_ms != 0 && e->names_gone_ms + FRESH_MS >= op->state->began_ms &&
	    !(c != NULL && c->wounded) && wound(e, op))
		return -ESTALE;
	return 0;
}

void
caller_looked_up(struct engine *e, struct op *op, const struct object *dir)
{
	struct caller *c = caller_at(e, op->caller);

	if (c == NULL)
		return;
	if (c->id != op->caller)
		*c = (struct caller){ .id = op->caller };
	c->dir = dir->oid;
	c->leased_since = dir->leased_since;
	c->child = op->error == 0 ? op->child : 0;
	c->name = name_digest(op->name);
	c->seen_ms = e->now_ms;
	if (c->wounded) {
		if (c->ticket == 0)
			c->ticket = op->state->ticket;
		hold(e, c, dir->oid);
		hold(e, c, c->second);
	}
}

void
names_gone(struct engine *e, const struct object *o)
{
	if ((!o->attr_known || S_ISDIR(o->attr.mode)) && names_quiet(e, o))
		e->names_gone_ms = e->now_ms;
}

void
names_recalled(struct engine *e, struct object *o)
{
	names_gone(e, o);
	o->demand_until = e->now_ms + DEMAND_MS;
}

bool
names_quiet(const struct engine *e, const struct object *dir)
{
	return e->now_ms >= dir->demand_until;
}
