/*
 * cache.c - what the kernel keeps: inodes with their attributes and pages, and
 * names.
 *
 * As in fs/fuse, a reply's attributes are dropped when the inode changed
 * after the request was sent (attr_version).
 */
#include "tests/sim/kernel_room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/client.h"

enum { PAGE = 4096 };

struct node {
	TAILQ_ENTRY(node) link;
	uint64_t	 ino, lookups, version;
	unsigned	 holds, files;
	uint64_t	 attr_until_us;		/* then they must be asked for again; 0: at once */
	struct attr	 attr;
	uint64_t	 attr_done;		/* when the answer they came with was made */
	uint32_t	 mode;
	uint64_t	 size;			/* i_size */
	bool		 sized;			/* the answer that made it has said so (fuse_init_inode()), if nothing else */
	uint8_t		**pages;		/* NULL where none is cached */
	size_t		 pages_count;
};

struct dentry {
	TAILQ_ENTRY(dentry) link;
	uint64_t	 parent, child;		/* 0: known not to exist */
	uint8_t		 name;
	uint64_t	 until_us;		/* as above */
};

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
		n->version = k->evicted;	/* what is older may be of its last life (evict_ctr) */
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
dentry_set(struct kernel *k, uint64_t parent, uint8_t name, uint64_t child, uint64_t until_us)
{
	struct dentry *d = dentry_find(k, parent, name);

	/* One that must be asked for again still tells what a call under its directory's lock is about. */
	if (until_us == 0 && child == 0) {
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
	d->until_us = until_us;
}

/* What a reply brings may be kept for as long as the lease behind it is sure, from when it arrives. */
static uint64_t
keep_until_us(const struct kernel *k, const struct call *c, bool cacheable)
{
	if (!cacheable || c->op.keep_ms == 0)
		return 0;
	return c->op.keep_ms == UINT32_MAX ? UINT64_MAX : k->sim->now_us + c->op.keep_ms * UINT64_C(1000);
}

static bool
dentry_fresh(const struct kernel *k, const struct dentry *d)
{
	return d != NULL && k->sim->now_us < d->until_us;
}

static bool
attr_fresh(const struct kernel *k, const struct node *n)
{
	return n != NULL && k->sim->now_us < n->attr_until_us;
}

/* Something changed: attributes that are on their way are too old. */
static void
attr_spoil(struct kernel *k, uint64_t ino)
{
	struct node *n = node_find(k, ino);

	if (n == NULL)
		return;
	n->attr_until_us = 0;
	n->version = ++k->version;
}

static void
attr_take(struct kernel *k, uint64_t ino, struct call *c, bool always)
{
	struct node *n = node_find(k, ino);

	if (n != NULL && c->has_attr)
		n->mode = c->got.mode;
	/*
	 * The real kernel would let an older answer overtake a newer one here; for a moment, for answers leave in
	 * microseconds there.  Not what is to be tested.
	 */
	if (n == NULL || !c->has_attr)
		return;
	if (!n->sized)
		n->size = S_ISREG(c->got.mode) ? c->got.size : 0;
	n->sized = true;
	if ((!always && n->version > c->attr_version) || n->attr_done > c->done) {
		c->attr_unseen = c->type == OP_LOOKUP;	/* a GETATTR's go to its caller all the same */
		return;
	}
	n->attr_done = c->done;
	n->attr = c->got;
	/* The mount answers LINK with a timeout of 0. */
	n->attr_until_us = keep_until_us(k, c, c->cacheable && c->type != OP_LINK);
	if (S_ISREG(c->got.mode)) {
		if (c->got.size < n->size)
			pages_drop(n, c->got.size, UINT64_MAX);
		n->size = c->got.size;
	}
}

/* ---- answers from the cache ---- */

static bool
read_cached(const struct kernel *k, struct call *c)
{
	const struct node *n = node_find(k, c->ino);
	uint64_t end;

	if (n == NULL || c->file == NULL || c->file->direct_io ||
	    (!attr_fresh(k, n) && c->offset + c->size > n->size))
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
bool
cache_served(struct kernel *k, struct call *c)
{
	const struct dentry *d;
	const struct node *n;

	switch (c->type) {
	case OP_LOOKUP:
		if (!dentry_fresh(k, d = dentry_find(k, c->ino, c->name)))
			return false;
		c->child = d->child;
		c->error = d->child == 0 ? -ENOENT : 0;
		return true;
	case OP_GETATTR:
		if (!attr_fresh(k, n = node_find(k, c->ino)))
			return false;
		c->got = n->attr;
		c->has_attr = true;
		return true;
	case OP_READ:
		return read_cached(k, c);
	default:
		return false;
	}
}

uint64_t
cache_looked_up(const struct kernel *k, uint64_t parent, uint8_t name, uint64_t before)
{
	const struct dentry *d = dentry_find(k, parent, name);

	return d == NULL ? before : d->child;
}

/* ---- what replies leave behind ---- */

static void
take_entry(struct kernel *k, struct call *c, uint64_t parent)
{
	if (c->error == 0 && c->child != 0) {
		node_get(k, c->child)->lookups++;
		dentry_set(k, parent, c->name, c->child, keep_until_us(k, c, c->name_cacheable));
		attr_take(k, c->child, c, c->type == OP_CREATE || c->type == OP_LINK);
	} else if (c->type == OP_LOOKUP && (c->error == 0 || c->error == -ENOENT))
		dentry_set(k, parent, c->name, 0, keep_until_us(k, c, c->name_cacheable));
}

static void
take_file(struct kernel *k, struct call *c, uint64_t ino)
{
	struct node *n = node_get(k, ino);
	struct file *f = sim_alloc(sizeof *f);

	*f = (struct file){ .ino = ino, .handle = c->op.handle, .flags = c->flags, .direct_io = c->direct_io,
	    .doubted = c->excuses & EXCUSE_LOST, .next = k->files };
	k->files = f;
	n->files++;
	c->file = f;
	if (!c->keep_cache)
		pages_drop(n, 0, UINT64_MAX);
	if (c->flags & O_TRUNC) {
		pages_drop(n, 0, UINT64_MAX);
		n->size = 0;
		attr_spoil(k, ino);
		/* It waits for pages that are under way, and drops them, too; no lock kept them from a CREATE of a name not known. */
		for (struct call *a = k->active; a != NULL; a = a->next)
			a->skipped |= (a->type == OP_READ || a->type == OP_WRITE) && a->ino == ino;
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
	uint64_t from_us = from_child == 0 ? 0 : from->until_us, to_us = to_child == 0 ? 0 : to->until_us;

	if (c->error != 0) {
		dentry_remove(k, c->ino, c->name);
		dentry_remove(k, c->ino2, c->name2);
		return;
	}
	if (c->flags & RENAME_EXCHANGE)
		dentry_set(k, c->ino, c->name, to_child, to_us);
	else
		dentry_remove(k, c->ino, c->name);
	dentry_set(k, c->ino2, c->name2, from_child, from_us);
	attr_spoil(k, c->victim);
	attr_spoil(k, c->victim2);
	attr_spoil(k, c->ino);
	attr_spoil(k, c->ino2);
}

void
cache_learn(struct kernel *k, struct call *c)
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

/* ---- invalidation ---- */

int
kernel_invalidate(struct kernel *k, uint64_t ino, bool directory, bool pages)
{
	struct node *n = node_find(k, ino);
	struct dentry *d, *next;
	bool locked = false;

	for (const struct call *c = k->active; c != NULL; c = c->next)
		for (unsigned i = 0; i < c->locks_count; i++)
			locked |= c->locks[i].id == kernel_inode_lock(ino);
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
		if (c->ino == n->ino || c->ino2 == n->ino || c->child == n->ino || c->victim == n->ino || c->victim2 == n->ino)
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
		k->evicted = ++k->version;
		node_free(k, n);
	}
}

void
cache_free(struct kernel *k)
{
	struct node *n;
	struct dentry *d;

	while ((n = TAILQ_FIRST(&k->nodes)) != NULL)
		node_free(k, n);
	while ((d = TAILQ_FIRST(&k->dentries)) != NULL) {
		TAILQ_REMOVE(&k->dentries, d, link);
		free(d);
	}
}
