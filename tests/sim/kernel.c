/*
 * kernel.c - see kernel.h.
 *
 * Each call takes all its locks at once or waits in a queue that nobody with
 * a conflicting claim overtakes; so there is no deadlock in here, and what
 * waits longest gets on.  A lock is an inode's (i_rwsem) or that of its pages.
 *
 * As in fs/fuse, a reply's attributes are dropped when the inode changed
 * after the request was sent (attr_version).
 */
#include "tests/sim/kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "tests/sim/check.h"
#include "tests/sim/client.h"

enum { PAGE = 4096 };

struct node {
	TAILQ_ENTRY(node) link;
	uint64_t	 ino, lookups, version;
	unsigned	 holds, files;
	bool		 attr_valid;
	struct attr	 attr;
	uint64_t	 attr_done;		/* when the answer they came with was made */
	uint32_t	 mode;
	uint64_t	 size;			/* i_size */
	uint8_t		**pages;		/* NULL where none is cached */
	size_t		 pages_count;
};

struct dentry {
	TAILQ_ENTRY(dentry) link;
	uint64_t	 parent, child;		/* 0: known not to exist */
	uint8_t		 name;
	bool		 valid;
};

struct kernel {
	struct mount		*mount;
	struct sim		*sim;
	bool			 dead;
	uint64_t		 version;
	TAILQ_HEAD(, node)	 nodes;
	TAILQ_HEAD(, dentry)	 dentries;
	struct file		*files;
	struct call		*waiting, **waiting_end, *active;
	size_t			 busy;
	bool			 running;
};

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

/* ---- nodes, pages, dentries ---- */

static struct node *
node_find(const struct kernel *k, uint64_t ino)
{
	struct node *n;

	TAILQ_FOREACH(n, &k->nodes, link)
		if (n->ino == ino)
			return n;
	return NULL;
}

static struct node *
node_get(struct kernel *k, uint64_t ino)
{
	struct node *n = node_find(k, ino);

	if (n == NULL) {
		n = sim_alloc(sizeof *n);
		n->ino = ino;
		TAILQ_INSERT_TAIL(&k->nodes, n, link);
	}
	return n;
}

static void
pages_drop(struct node *n, uint64_t from, uint64_t to)
{
	for (size_t i = from / PAGE; i < n->pages_count && i * PAGE < to; i++) {
		free(n->pages[i]);
		n->pages[i] = NULL;
	}
}

static uint8_t *
page_make(struct node *n, size_t index)
{
	if (index >= n->pages_count) {
		size_t count = index + 1;

		if ((n->pages = realloc(n->pages, count * sizeof *n->pages)) == NULL)
			abort();
		memset(n->pages + n->pages_count, 0, (count - n->pages_count) * sizeof *n->pages);
		n->pages_count = count;
	}
	if (n->pages[index] == NULL)
		n->pages[index] = sim_alloc(PAGE);
	return n->pages[index];
}

static void
node_free(struct kernel *k, struct node *n)
{
	TAILQ_REMOVE(&k->nodes, n, link);
	pages_drop(n, 0, UINT64_MAX);
	free(n->pages);
	free(n);
}

static struct dentry *
dentry_find(const struct kernel *k, uint64_t parent, uint8_t name)
{
	struct dentry *d;

	TAILQ_FOREACH(d, &k->dentries, link)
		if (d->parent == parent && d->name == name)
			return d;
	return NULL;
}

static void
dentry_remove(struct kernel *k, uint64_t parent, uint8_t name)
{
	struct dentry *d = dentry_find(k, parent, name);

	if (d == NULL)
		return;
	TAILQ_REMOVE(&k->dentries, d, link);
	free(d);
}

static void
dentry_set(struct kernel *k, uint64_t parent, uint8_t name, uint64_t child, bool valid)
{
	struct dentry *d = dentry_find(k, parent, name);

	if (!valid) {
		dentry_remove(k, parent, name);
		return;
	}
	if (d == NULL) {
		d = sim_alloc(sizeof *d);
		d->parent = parent;
		d->name = name;
		TAILQ_INSERT_TAIL(&k->dentries, d, link);
	}
	d->child = child;
	d->valid = valid;
}

/* Something changed: attributes that are on their way are too old. */
static void
attr_spoil(struct kernel *k, uint64_t ino)
{
	struct node *n = node_find(k, ino);

	if (n == NULL)
		return;
	n->attr_valid = false;
	n->version = ++k->version;
}

static void
attr_take(struct kernel *k, uint64_t ino, const struct call *c, bool always)
{
	struct node *n = node_find(k, ino);

	if (n != NULL && c->has_attr)
		n->mode = c->got.mode;
	/*
	 * The real kernel would let an older answer overtake a newer one here; for a moment, for answers leave in
	 * microseconds there.  Not what is to be tested.
	 */
	if (n == NULL || !c->has_attr || (!always && (n->version > c->attr_version || n->attr_done > c->done)))
		return;
	n->attr_done = c->done;
	n->attr = c->got;
	n->attr_valid = c->cacheable && c->type != OP_LINK;	/* the mount answers LINK with a timeout of 0 */
	if (S_ISREG(c->got.mode)) {
		if (c->got.size < n->size)
			pages_drop(n, c->got.size, UINT64_MAX);
		n->size = c->got.size;
	}
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

static uint64_t
inode_lock(uint64_t ino)
{
	return ino * 2;
}

static uint64_t
pages_lock(uint64_t ino)
{
	return ino * 2 + 1;
}

/* What the VFS and fs/fuse hold while the request is on its way. */
static void
locks_choose(struct call *c)
{
	c->locks_count = 0;
	switch (c->type) {
	case OP_LOOKUP: case OP_READDIR:
		lock_add(c, inode_lock(c->ino), false);
		break;
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE:
		lock_add(c, inode_lock(c->ino), true);
		break;
	case OP_UNLINK: case OP_RMDIR:
		lock_add(c, inode_lock(c->ino), true);
		lock_add(c, inode_lock(c->victim), true);
		break;
	case OP_RENAME:
		lock_add(c, inode_lock(c->ino), true);
		lock_add(c, inode_lock(c->ino2), true);
		lock_add(c, inode_lock(c->victim), true);
		lock_add(c, inode_lock(c->victim2), true);
		break;
	case OP_LINK:
		lock_add(c, inode_lock(c->ino), true);
		lock_add(c, inode_lock(c->ino2), true);
		break;
	case OP_SETATTR: case OP_WRITE: case OP_FALLOCATE:
		lock_add(c, inode_lock(c->ino), true);
		lock_add(c, pages_lock(c->ino), true);
		break;
	case OP_FSYNC: case OP_FSYNCDIR: case OP_SETXATTR: case OP_REMOVEXATTR:
		lock_add(c, inode_lock(c->ino), true);
		break;
	case OP_OPEN:
		if (c->flags & O_TRUNC) {
			lock_add(c, inode_lock(c->ino), true);
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

/* ---- answers from the cache ---- */

static bool
read_cached(const struct node *n, struct call *c)
{
	uint64_t end;

	if (n == NULL || c->file == NULL || c->file->direct_io ||
	    (!n->attr_valid && c->offset + c->size > n->size))
		return false;
	end = c->offset + c->size < n->size ? c->offset + c->size : n->size;
	for (uint64_t at = c->offset; at < end; at += PAGE - at % PAGE)
		if (at / PAGE >= n->pages_count || n->pages[at / PAGE] == NULL)
			return false;
	c->len = c->offset >= end ? 0 : end - c->offset;
	c->bytes = sim_alloc(c->len);
	for (size_t at = 0; at < c->len; ) {
		size_t in_page = (c->offset + at) % PAGE, part = PAGE - in_page < c->len - at ? PAGE - in_page : c->len - at;

		memcpy(c->bytes + at, n->pages[(c->offset + at) / PAGE] + in_page, part);
		at += part;
	}
	return true;
}

/* True when the kernel needs nobody's help. */
static bool
served(struct kernel *k, struct call *c)
{
	const struct dentry *d;
	const struct node *n;

	switch (c->type) {
	case OP_LOOKUP:
		if ((d = dentry_find(k, c->ino, c->name)) == NULL || !d->valid)
			return false;
		c->child = d->child;
		c->error = d->child == 0 ? -ENOENT : 0;
		return true;
	case OP_GETATTR:
		if ((n = node_find(k, c->ino)) == NULL || !n->attr_valid)
			return false;
		c->got = n->attr;
		c->has_attr = true;
		return true;
	case OP_READ:
		return read_cached(node_find(k, c->ino), c);
	default:
		return false;
	}
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
}

static void run_queue(struct kernel *k);

/* The call is over: its locks are free and its caller goes on. */
static void
finish(struct kernel *k, struct call *c)
{
	struct call **at = &k->active;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->next = NULL;
	k->busy--;
	sim_after(k->sim, 1 + rng_below(&k->sim->misc, 10), tell, c, 0);
	run_queue(k);
}

static uint64_t
looked_up(const struct kernel *k, uint64_t parent, uint8_t name, uint64_t before)
{
	const struct dentry *d = dentry_find(k, parent, name);

	return d == NULL ? before : d->child;
}

static void
start(struct kernel *k, struct call *c)
{
	c->waiting = false;
	c->invoked = ++k->sim->step;
	c->invoked_ns = sim_real_ns(k->sim);
	c->attr_version = k->version;
	/* The kernel looks names up again under the lock. */
	if (c->type == OP_UNLINK || c->type == OP_RMDIR || c->type == OP_RENAME) {
		c->victim = looked_up(k, c->ino, c->name, c->victim);
		c->victim2 = c->type == OP_RENAME ? looked_up(k, c->ino2, c->name2, c->victim2) : 0;
	}
	c->next = k->active;
	k->active = c;
	if (!served(k, c)) {
		judge_begun(k->sim, c);
		mount_submit(k->mount, c);
		return;
	}
	c->by_kernel = true;
	judge_done(k->sim, c);
	judge_responded(k->sim, c);
	finish(k, c);
}

static void
run_queue(struct kernel *k)
{
	bool any = true;

	if (k->running)
		return;
	k->running = true;
	while (any && !k->dead) {
		any = false;
		for (struct call **at = &k->waiting; *at != NULL && !any; at = &(*at)->next) {
			struct call *c = *at;

			locks_choose(c);
			if (!locks_free(k, c))
				continue;
			if ((*at = c->next) == NULL)
				k->waiting_end = at;
			start(k, c);
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
	locks_choose(c);
	*k->waiting_end = c;
	k->waiting_end = &c->next;
	k->busy++;
	run_queue(k);
}

/* ---- what replies leave behind ---- */

static void
take_entry(struct kernel *k, struct call *c, uint64_t parent)
{
	if (c->error == 0 && c->child != 0) {
		node_get(k, c->child)->lookups++;
		dentry_set(k, parent, c->name, c->child, c->name_cacheable);
		attr_take(k, c->child, c, c->type == OP_CREATE || c->type == OP_LINK);
	} else if (c->type == OP_LOOKUP && (c->error == 0 || c->error == -ENOENT))
		dentry_set(k, parent, c->name, 0, c->name_cacheable);
}

static void
take_file(struct kernel *k, struct call *c, uint64_t ino)
{
	struct node *n = node_get(k, ino);
	struct file *f = sim_alloc(sizeof *f);

	*f = (struct file){ .ino = ino, .handle = c->op.handle, .flags = c->flags, .direct_io = c->direct_io,
	    .next = k->files };
	k->files = f;
	n->files++;
	c->file = f;
	if (!c->keep_cache)
		pages_drop(n, 0, UINT64_MAX);
	if (c->flags & O_TRUNC) {
		pages_drop(n, 0, UINT64_MAX);
		n->size = 0;
		attr_spoil(k, ino);
	}
}

static void
drop_file(struct kernel *k, struct file *f)
{
	struct file **at = &k->files;
	struct node *n = node_find(k, f->ino);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	if (n != NULL)
		n->files--;
	free(f);
}

/* The pages a reply fills: whole ones, and the last one up to the end of the file. */
static void
take_pages(struct kernel *k, struct call *c)
{
	struct node *n = node_find(k, c->ino);
	bool end = c->len < c->size;

	if (n == NULL || c->error != 0 || c->file == NULL || c->file->direct_io || c->skipped || c->offset % PAGE != 0)
		return;
	if (end) {
		if (n->version > c->attr_version)
			return;
		if (c->offset + c->len < n->size || c->len > 0)
			n->size = c->offset + c->len;
	}
	for (size_t at = 0; at < c->len; at += PAGE) {
		size_t part = PAGE < c->len - at ? PAGE : c->len - at;
		uint8_t *page;

		if (part < PAGE && !end)
			break;
		page = page_make(n, (c->offset + at) / PAGE);
		memcpy(page, c->bytes + at, part);
		memset(page + part, 0, PAGE - part);
	}
}

static void
wrote_pages(struct kernel *k, struct call *c)
{
	struct node *n = node_find(k, c->ino);
	uint64_t end = c->offset + c->written;

	if (n == NULL || c->error != 0)
		return;
	attr_spoil(k, c->ino);
	if (c->file == NULL || c->file->direct_io || c->skipped) {
		pages_drop(n, c->file != NULL && c->file->direct_io ? 0 : c->offset, UINT64_MAX);
		n->size = end > n->size ? end : n->size;
		return;
	}
	for (uint64_t at = c->offset; at < end; ) {
		size_t in_page = at % PAGE, part = PAGE - in_page < end - at ? PAGE - in_page : (size_t)(end - at);
		bool whole = part == PAGE, cached = at / PAGE < n->pages_count && n->pages[at / PAGE] != NULL;

		if (whole || cached)
			pattern_fill(c->tag, c->origin + (at - c->offset), page_make(n, at / PAGE) + in_page, part);
		at += part;
	}
	n->size = end > n->size ? end : n->size;
}

static void
moved(struct kernel *k, struct call *c)
{
	struct dentry *from = dentry_find(k, c->ino, c->name), *to = dentry_find(k, c->ino2, c->name2);
	uint64_t from_child = from == NULL ? 0 : from->child, to_child = to == NULL ? 0 : to->child;
	bool from_valid = from != NULL && from->valid, to_valid = to != NULL && to->valid;

	if (c->error != 0) {
		dentry_remove(k, c->ino, c->name);
		dentry_remove(k, c->ino2, c->name2);
		return;
	}
	if (c->flags & RENAME_EXCHANGE)
		dentry_set(k, c->ino, c->name, to_child, to_valid && to_child != 0);
	else
		dentry_remove(k, c->ino, c->name);
	dentry_set(k, c->ino2, c->name2, from_child, from_valid && from_child != 0);
	attr_spoil(k, c->victim);
	attr_spoil(k, c->victim2);
	attr_spoil(k, c->ino);
	attr_spoil(k, c->ino2);
}

static void
learn(struct kernel *k, struct call *c)
{
	struct node *n;

	switch (c->type) {
	case OP_LOOKUP:
		take_entry(k, c, c->ino);
		break;
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE:
		attr_spoil(k, c->ino);
		take_entry(k, c, c->ino);
		if (c->type == OP_CREATE && c->error == 0)
			take_file(k, c, c->child);
		break;
	case OP_LINK:
		attr_spoil(k, c->ino2);
		attr_spoil(k, c->ino);
		take_entry(k, c, c->ino2);
		break;
	case OP_UNLINK: case OP_RMDIR:
		if (c->error != 0 && c->error != -ENOENT)
			break;
		dentry_remove(k, c->ino, c->name);
		attr_spoil(k, c->victim);
		attr_spoil(k, c->ino);
		break;
	case OP_RENAME:
		moved(k, c);
		break;
	case OP_GETATTR:
		attr_take(k, c->ino, c, false);
		break;
	case OP_SETATTR:
		if ((n = node_find(k, c->ino)) == NULL || c->error != 0)
			break;
		n->version = ++k->version;
		attr_take(k, c->ino, c, true);
		for (struct call *a = k->active; a != NULL; a = a->next)
			a->skipped |= (c->set & SET_SIZE) && a->type == OP_READ && a->ino == c->ino;
		break;
	case OP_OPEN: case OP_OPENDIR:
		if (c->error == 0)
			take_file(k, c, c->ino);
		break;
	case OP_RELEASE: case OP_RELEASEDIR:
		drop_file(k, c->file);
		c->file = NULL;
		break;
	case OP_READ:
		take_pages(k, c);
		break;
	case OP_WRITE:
		wrote_pages(k, c);
		break;
	case OP_FALLOCATE:
		attr_spoil(k, c->ino);
		if ((n = node_find(k, c->ino)) == NULL || c->error != 0)
			break;
		pages_drop(n, c->offset, UINT64_MAX);
		if (!(c->flags & FALLOC_FL_KEEP_SIZE) && c->offset + c->size > n->size)
			n->size = c->offset + c->size;
		break;
	case OP_SETXATTR: case OP_REMOVEXATTR:
		attr_spoil(k, c->ino);
		break;
	default:
		break;
	}
}

void
kernel_replied(struct kernel *k, struct call *c)
{
	learn(k, c);
	finish(k, c);
}

/* ---- invalidation ---- */

int
kernel_invalidate(struct kernel *k, uint64_t ino, bool directory, bool pages)
{
	struct node *n = node_find(k, ino);
	struct dentry *d, *next;
	bool locked = false;

	for (const struct call *c = k->active; c != NULL; c = c->next)
		for (unsigned i = 0; i < c->locks_count; i++)
			locked |= c->locks[i].id == inode_lock(ino);
	if (directory)
		/* One name after the other, unless a request of ours holds the directory: then all names there are. */
		for (d = TAILQ_FIRST(&k->dentries); d != NULL; d = next) {
			next = TAILQ_NEXT(d, link);
			if (locked || d->parent == ino) {
				TAILQ_REMOVE(&k->dentries, d, link);
				free(d);
			}
		}
	if (n == NULL)
		return ino == OID_ROOT ? 0 : -ENOENT;
	attr_spoil(k, ino);
	if (!pages)
		return 0;
	pages_drop(n, 0, UINT64_MAX);
	/* Pages of requests the engine has parked are locked; they are dropped when those are answered. */
	for (struct call *c = k->active; c != NULL; c = c->next)
		if (c->ino == ino && c->type == OP_WRITE && c->done == 0)
			c->skipped = true;
	return 0;
}

uint32_t
kernel_mode(const struct kernel *k, uint64_t ino)
{
	const struct node *n = node_find(k, ino);

	return n == NULL ? 0 : n->mode;
}

/* ---- memory ---- */

void
kernel_hold(struct kernel *k, uint64_t ino)
{
	node_get(k, ino)->holds++;
}

void
kernel_drop(struct kernel *k, uint64_t ino)
{
	struct node *n = node_find(k, ino);

	if (n != NULL && n->holds > 0)
		n->holds--;
}

static bool
in_use(const struct kernel *k, const struct node *n)
{
	const struct dentry *d;

	if (n->ino == OID_ROOT || n->holds > 0 || n->files > 0)
		return true;
	for (const struct call *c = k->active; c != NULL; c = c->next)
		if (c->ino == n->ino || c->ino2 == n->ino || c->child == n->ino)
			return true;
	for (const struct call *c = k->waiting; c != NULL; c = c->next)
		if (c->ino == n->ino || c->ino2 == n->ino)
			return true;
	TAILQ_FOREACH(d, &k->dentries, link)
		if (d->parent == n->ino)
			return true;
	return false;
}

void
kernel_shrink(struct kernel *k, unsigned per_mille)
{
	struct node *n, *next;
	struct dentry *d, *next_d;

	for (d = TAILQ_FIRST(&k->dentries); d != NULL; d = next_d) {
		next_d = TAILQ_NEXT(d, link);
		if (rng_chance(&k->sim->misc, per_mille)) {
			TAILQ_REMOVE(&k->dentries, d, link);
			free(d);
		}
	}
	for (n = TAILQ_FIRST(&k->nodes); n != NULL; n = next) {
		next = TAILQ_NEXT(n, link);
		if (!rng_chance(&k->sim->misc, per_mille))
			continue;
		pages_drop(n, 0, UINT64_MAX);
		if (in_use(k, n) || n->lookups == 0)
			continue;
		TAILQ_FOREACH(d, &k->dentries, link)
			if (d->child == n->ino)
				break;
		if (d != NULL)
			continue;
		mount_forget(k->mount, n->ino, n->lookups);
		node_free(k, n);
	}
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
	struct node *n;
	struct dentry *d;
	struct file *next;

	if (k == NULL)
		return;
	while ((n = TAILQ_FIRST(&k->nodes)) != NULL)
		node_free(k, n);
	while ((d = TAILQ_FIRST(&k->dentries)) != NULL) {
		TAILQ_REMOVE(&k->dentries, d, link);
		free(d);
	}
	for (struct file *f = k->files; f != NULL; f = next) {
		next = f->next;
		free(f);
	}
	free(k);
}
