/*
 * kernel.c - see kernel.h: calls and the locks they hold.
 *
 * Each call takes all its locks at once or waits in a queue that nobody with
 * a conflicting claim overtakes; so there is no deadlock in here, and what
 * waits longest gets on.  Only a rename that looks its names up holds its
 * directories while it waits for what they lead to, and that for requests on
 * their way alone.  A lock is an inode's (i_rwsem) or that of its pages.
 */
#include "tests/sim/kernel_room.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#include "tests/sim/check.h"
#include "tests/sim/client.h"

struct kernel *
kernel_new(struct mount *m)
{
	struct kernel *k = sim_alloc(sizeof *k);

	k->mount = m;
	k->sim = m->sim;
	TAILQ_INIT(&k->nodes);
	TAILQ_INIT(&k->dentries);
	k->waiting_end = &k->waiting;
	return k;
}

/* ---- locks ---- */

static void
lock_add(struct call *c, uint64_t id, bool exclusive)
{
	if (id / 2 == 0)
		return;
	for (unsigned i = 0; i < c->locks_count; i++)
		if (c->locks[i].id == id) {
			c->locks[i].exclusive |= exclusive;
			return;
		}
	assert(c->locks_count < CALL_LOCKS_MAX);
	c->locks[c->locks_count].id = id;
	c->locks[c->locks_count++].exclusive = exclusive;
}

uint64_t
kernel_inode_lock(uint64_t ino)
{
	return ino * 2;
}

static uint64_t
pages_lock(uint64_t ino)
{
	return ino * 2 + 1;
}

/* The kernel looks names up again under the directory's lock. */
static void
find_victims(const struct kernel *k, struct call *c)
{
	if (c->pair_waits || (c->type != OP_UNLINK && c->type != OP_RMDIR && c->type != OP_RENAME))
		return;
	c->victim = cache_looked_up(k, c->ino, c->name, c->victim);
	c->victim2 = c->type == OP_RENAME ? cache_looked_up(k, c->ino2, c->name2, c->victim2) : 0;
}

/* Names that it has forgotten it looks up, whatever the task says. */
static bool
is_pair(const struct kernel *k, const struct call *c)
{
	return c->pair || cache_looked_up(k, c->ino, c->name, UINT64_MAX) == UINT64_MAX ||
	    cache_looked_up(k, c->ino2, c->name2, UINT64_MAX) == UINT64_MAX;
}

/* What the VFS and fs/fuse hold while the request is on its way. */
static void
locks_choose(const struct kernel *k, struct call *c)
{
	find_victims(k, c);
	c->locks_count = 0;
	switch (c->type) {
	case OP_LOOKUP: case OP_READDIR:
		lock_add(c, kernel_inode_lock(c->ino), false);
		break;
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		lock_add(c, kernel_inode_lock(c->ino), true);
		break;
	case OP_CREATE:
		lock_add(c, kernel_inode_lock(c->ino), true);
		/* The real kernel opens what it knows to be there, and cuts it by a SETATTR. */
		if ((c->flags & O_TRUNC) && !(c->flags & O_EXCL)) {
			lock_add(c, kernel_inode_lock(cache_looked_up(k, c->ino, c->name, c->known)), true);
			lock_add(c, pages_lock(cache_looked_up(k, c->ino, c->name, c->known)), true);
		}
		break;
	case OP_UNLINK: case OP_RMDIR:
		lock_add(c, kernel_inode_lock(c->ino), true);
		lock_add(c, kernel_inode_lock(c->victim), true);
		break;
	case OP_RENAME:
		lock_add(c, kernel_inode_lock(c->ino), true);
		lock_add(c, kernel_inode_lock(c->ino2), true);
		if (is_pair(k, c) && c->pair_stage < 2)
			break;
		lock_add(c, kernel_inode_lock(c->victim), true);
		lock_add(c, kernel_inode_lock(c->victim2), true);
		break;
	case OP_LINK:
		lock_add(c, kernel_inode_lock(c->ino), true);
		lock_add(c, kernel_inode_lock(c->ino2), true);
		break;
	case OP_SETATTR: case OP_WRITE: case OP_FALLOCATE:
		lock_add(c, kernel_inode_lock(c->ino), true);
		lock_add(c, pages_lock(c->ino), true);
		break;
	case OP_FSYNC: case OP_FSYNCDIR: case OP_SETXATTR: case OP_REMOVEXATTR:
		lock_add(c, kernel_inode_lock(c->ino), true);
		break;
	case OP_OPEN:
		if (c->flags & O_TRUNC) {
			lock_add(c, kernel_inode_lock(c->ino), true);
			lock_add(c, pages_lock(c->ino), true);
		}
		break;
	case OP_READ:
		lock_add(c, pages_lock(c->ino), false);
		break;
	default:
		break;
	}
}

static bool
locks_conflict(const struct call *a, const struct call *b)
{
	for (unsigned i = 0; i < a->locks_count; i++)
		for (unsigned j = 0; j < b->locks_count; j++)
			if (a->locks[i].id == b->locks[j].id && (a->locks[i].exclusive || b->locks[j].exclusive))
				return true;
	return false;
}

static bool
locks_free(const struct kernel *k, const struct call *c)
{
	for (const struct call *a = k->active; a != NULL; a = a->next)
		if (locks_conflict(a, c))
			return false;
	for (const struct call *w = k->waiting; w != c; w = w->next)
		if (locks_conflict(w, c))
			return false;
	return true;
}

/* ---- calls ---- */

struct call *
kernel_new_call(struct kernel *k, unsigned proc, enum op_type type, uint64_t ino)
{
	struct call *c = judge_new_call(k->sim);

	c->mount = k->mount;
	c->client = (uint8_t)k->mount->client->index;
	c->proc = (uint8_t)proc;
	c->type = type;
	c->ino = ino;
	c->name = c->name2 = NAME_NONE;
	return c;
}

static void
tell(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;

	(void)sim;
	(void)number;
	if (c->then != NULL && !c->mount->killed)
		c->then(c);
	if (c->kept)
		kernel_drop(c->mount->kernel, c->child);
}

static void run_queue(struct kernel *k);

void
kernel_finish(struct kernel *k, struct call *c)
{
	struct call **at = &k->active;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->next = NULL;
	k->busy--;
	/* The process has hold of what it is told of before the call ends. */
	if ((c->kept = kernel_mode(k, c->child) != 0))
		kernel_hold(k, c->child);
	sim_after(k->sim, 1 + rng_below(&k->sim->misc, 10), tell, c, 0);
	run_queue(k);
}

static void
start(struct kernel *k, struct call *c, bool again)
{
	c->waiting = false;
	c->invoked = ++k->sim->step;
	c->invoked_ns = sim_real_ns(k->sim);
	c->attr_version = k->version;
	c->pair = c->type == OP_RENAME && is_pair(k, c);
	c->next = k->active;
	k->active = c;
	if (c->pair) {
		pair_begin(k, c);
		return;
	}
	if (again || !cache_served(k, c)) {
		judge_begun(k->sim, c);
		mount_submit(k->mount, c);
		return;
	}
	c->by_kernel = true;
	judge_done(k->sim, c);
	judge_responded(k->sim, c);
	kernel_finish(k, c);
}

void
kernel_start(struct kernel *k, struct call *c, bool again)
{
	k->busy++;
	start(k, c, again);
}

/* Renames that wait as it does are not waited for: in what order they may is lock_rename()'s care, and not modelled. */
static bool
victims_free(const struct kernel *k, const struct call *c)
{
	for (const struct call *a = k->active; a != NULL; a = a->next)
		if (a != c && !a->pair_waits && locks_conflict(a, c))
			return false;
	return true;
}

/* Those that have looked their names up go to the engine. */
static void
run_pairs(struct kernel *k)
{
	for (struct call *c = k->active; c != NULL; c = c->next)
		if (c->pair_waits && c->pair_stage == 2 && victims_free(k, c)) {
			c->pair_waits = false;
			mount_submit(k->mount, c);
		}
}

void
kernel_lock_victims(struct kernel *k, struct call *c)
{
	locks_choose(k, c);
	run_queue(k);
}

static void
run_queue(struct kernel *k)
{
	bool any = true;

	if (k->running)
		return;
	k->running = true;
	run_pairs(k);
	while (any && !k->dead) {
		any = false;
		for (struct call **at = &k->waiting; *at != NULL && !any; at = &(*at)->next) {
			struct call *c = *at;

			locks_choose(k, c);
			if (!locks_free(k, c))
				continue;
			if ((*at = c->next) == NULL)
				k->waiting_end = at;
			start(k, c, false);
			any = true;
			break;
		}
	}
	k->running = false;
}

void
kernel_call(struct kernel *k, struct call *c)
{
	if (k->dead)
		return;
	c->waiting = true;
	c->next = NULL;
	locks_choose(k, c);
	*k->waiting_end = c;
	k->waiting_end = &c->next;
	k->busy++;
	run_queue(k);
}

void
kernel_replied(struct kernel *k, struct call *c)
{
	cache_learn(k, c);
	kernel_finish(k, c);
}

void
kernel_lost(struct kernel *k, uint64_t ino, uint64_t step)
{
	for (struct file *f = k->files; f != NULL; f = f->next) {
		f->doubted |= ino == 0;
		f->owes |= f->ino == ino && f->told_step < step;
	}
}

bool
kernel_pages_locked(const struct kernel *k, uint64_t ino)
{
	for (const struct call *c = k->active; c != NULL; c = c->next)
		if (c->ino == ino && (c->type == OP_READ || c->type == OP_WRITE) && c->file != NULL && !c->file->direct_io)
			return true;
	return false;
}

/* Its RELEASE was done, and the answer is on its way. */
static bool
is_closed(const struct kernel *k, const struct file *f)
{
	for (const struct call *c = k->active; c != NULL; c = c->next)
		if (c->type == OP_RELEASE && c->file == f && c->done != 0)
			return true;
	return false;
}

bool
kernel_has_open(const struct kernel *k, uint64_t ino)
{
	for (const struct file *f = k->files; f != NULL; f = f->next)
		if (f->ino == ino && !is_closed(k, f))
			return true;
	return false;
}

static bool
looks(const struct call *c)
{
	return c->type == OP_LOOKUP || c->type == OP_GETATTR || c->type == OP_READLINK;
}

bool
kernel_only_looks(const struct kernel *k)
{
	for (const struct call *c = k->active; c != NULL; c = c->next)
		if (!looks(c))
			return false;
	for (const struct call *c = k->waiting; c != NULL; c = c->next)
		if (!looks(c))
			return false;
	return k->files == NULL;
}

size_t
kernel_busy(const struct kernel *k)
{
	return k->busy;
}

void
kernel_abort(struct kernel *k)
{
	k->dead = true;
	for (struct call *c = k->active; c != NULL; c = c->next)
		judge_forget(k->sim, c);
	k->active = k->waiting = NULL;
	k->busy = 0;
}

void
kernel_describe(const struct kernel *k, char *to, size_t size)
{
	const struct call *c = k->active != NULL ? k->active : k->waiting;

	if (c == NULL)
		to[0] = 0;
	else
		call_text(c, to, size);
}

void
kernel_free(struct kernel *k)
{
	struct file *next;

	if (k == NULL)
		return;
	cache_free(k);
	for (struct file *f = k->files; f != NULL; f = next) {
		next = f->next;
		free(f);
	}
	free(k);
}
