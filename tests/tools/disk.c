/*
 * disk.c - see disk.h.
 *
 * A node is reached by descriptor, never by path.  New nodes are made in
 * .forgetfs below the backing directory, the nursery, and get their place from
 * there when their directory is synced; what is left there is swept at the next
 * open.  A file's unsynced pages are an overlay in memory.
 */
#include "tests/tools/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NURSERY ".forgetfs"

enum {
	PAGE = 4096,
	GROUP = 512,		/* pages in a group of the overlay */
};

struct entry {
	char *name;
	struct node *node;
};

struct names {
	struct entry *at;
	size_t count;
};

/*
 * 1. refs = node_ref()s + entries naming it, in any now and in any durable.
 * 2. A file's page is read from the overlay, else from the backing file below
 *    valid_size, else it is zero.  valid_size <= size; both equal the backing
 *    file's size when nothing is unsynced.
 * 3. A directory's durable names are those of its backing directory.
 */
struct node {
	struct node *next, **prev;	/* all nodes */
	uint64_t refs;
	mode_t type;
	int fd;				/* O_PATH for what is neither file nor directory */
	struct names now, durable;	/* of a directory, once it is loaded */
	bool loaded;
	int place_fd;			/* of a directory: where it stands in the backing directory */
	char place[NAME_MAX + 1];
	uint8_t ***groups;		/* of a file; a group or page may be NULL */
	size_t groups_count;
	off_t size, valid_size;
};

struct disk {
	struct disk_options options;
	struct node *root, *nodes;
	int nursery_fd;
	uint64_t born;			/* nodes made, for their names in the nursery */
	uint64_t random;		/* xorshift64 state, never 0 */
	uint64_t syncs;
	bool cut;
};

static bool
toss(struct disk *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random >> 40 & 1;
}

static void
path_of_fd(int fd, char path[static 32])
{
	snprintf(path, 32, "/proc/self/fd/%d", fd);
}

/* ---- names ---- */

static struct entry *
names_find(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->at[i].name, name) == 0)
			return &names->at[i];
	return NULL;
}

static int
names_add(struct names *names, const char *name, struct node *n)
{
	struct entry *more = realloc(names->at, (names->count + 1) * sizeof *more);

	if (more == NULL)
		return -ENOMEM;
	names->at = more;
	if ((more[names->count].name = strdup(name)) == NULL)
		return -ENOMEM;
	more[names->count++].node = n;
	n->refs++;
	return 0;
}

static void
names_remove(struct disk *d, struct names *names, struct entry *e)
{
	struct node *n = e->node;

	free(e->name);
	*e = names->at[--names->count];
	node_unref(d, n, 1);
}

static void
names_clear(struct disk *d, struct names *names)
{
	while (names->count > 0)
		names_remove(d, names, &names->at[names->count - 1]);
	free(names->at);
	names->at = NULL;
}

/* ---- nodes ---- */

static struct node *
node_new(struct disk *d, int fd, const struct stat *st)
{
	struct node *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	*n = (struct node){ .fd = fd, .type = st->st_mode & S_IFMT, .size = st->st_size,
	    .valid_size = st->st_size, .next = d->nodes, .prev = &d->nodes };
	if (d->nodes != NULL)
		d->nodes->prev = &n->next;
	d->nodes = n;
	return n;
}

static void
overlay_drop(struct node *n, size_t from_page)
{
	for (size_t g = from_page / GROUP; g < n->groups_count; g++)
		for (size_t i = 0; i < GROUP && n->groups[g] != NULL; i++)
			if (g * GROUP + i >= from_page) {
				free(n->groups[g][i]);
				n->groups[g][i] = NULL;
			}
}

static void
node_free(struct node *n)
{
	*n->prev = n->next;
	if (n->next != NULL)
		n->next->prev = n->prev;
	overlay_drop(n, 0);
	for (size_t g = 0; g < n->groups_count; g++)
		free(n->groups[g]);
	free(n->groups);
	close(n->fd);
	free(n);
}

void
node_ref(struct node *n)
{
	n->refs++;
}

void
node_unref(struct disk *d, struct node *n, uint64_t count)
{
	n->refs -= count;
	if (n->refs > 0)
		return;
	names_clear(d, &n->now);
	names_clear(d, &n->durable);
	node_free(n);
}

int
node_fd(const struct node *n)
{
	return n->fd;
}

int
node_stat(struct node *n, struct stat *ret_st)
{
	if (fstat(n->fd, ret_st) < 0)
		return -errno;
	if (S_ISREG(n->type)) {
		ret_st->st_size = n->size;
		ret_st->st_blocks = (n->size + 511) / 512;
		if (ret_st->st_nlink == 0)
			ret_st->st_nlink = 1;
	}
	return 0;
}

/* The node that already stands for a file with several names in the backing directory. */
static struct node *
node_of_inode(struct disk *d, const struct stat *st)
{
	struct stat other;

	for (struct node *n = d->nodes; n != NULL; n = n->next)
		if (fstat(n->fd, &other) == 0 && other.st_ino == st->st_ino)
			return n;
	return NULL;
}

static int
node_load(struct disk *d, int dir_fd, const char *name, struct node **ret_node)
{
	int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), real = -1, r = 0;
	struct node *n = NULL;
	char path[32];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		goto out;
	}
	if (st.st_nlink > 1 && !S_ISDIR(st.st_mode) && (n = node_of_inode(d, &st)) != NULL)
		goto out;
	path_of_fd(fd, path);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		real = open(path, (S_ISREG(st.st_mode) ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	else {
		real = fd;
		fd = -1;
	}
	if (real < 0) {
		r = -errno;
		goto out;
	}
	if ((n = node_new(d, real, &st)) == NULL) {
		close(real);
		r = -ENOMEM;
		goto out;
	}
	n->place_fd = dir_fd;
	snprintf(n->place, sizeof n->place, "%s", name);
out:
	if (fd >= 0)
		close(fd);
	if (r == 0)
		*ret_node = n;
	return r;
}

static int
dir_load(struct disk *d, struct node *dir)
{
	DIR *stream;
	struct dirent *e;
	int r = 0;

	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	if (dir->loaded)
		return 0;
	stream = fdopendir(openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (stream == NULL)
		return -errno;
	while (r == 0 && (e = readdir(stream)) != NULL) {
		struct node *n;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    (dir == d->root && strcmp(e->d_name, NURSERY) == 0))
			continue;
		if ((r = node_load(d, dir->fd, e->d_name, &n)) < 0)
			break;
		n->refs++;
		r = names_add(&dir->now, e->d_name, n);
		if (r == 0)
			r = names_add(&dir->durable, e->d_name, n);
		node_unref(d, n, 1);
	}
	closedir(stream);
	dir->loaded = r == 0;
	return r;
}

/* ---- names now ---- */

int
node_find(struct disk *d, struct node *dir, const char *name, struct node **ret_node)
{
	struct entry *e;
	int r = dir_load(d, dir);

	if (r < 0)
		return r;
	e = names_find(&dir->now, name);
	if (e == NULL)
		return -ENOENT;
	*ret_node = e->node;
	return 0;
}

int
node_link(struct disk *d, struct node *dir, const char *name, struct node *n)
{
	int r = dir_load(d, dir);

	if (r < 0)
		return r;
	return names_find(&dir->now, name) != NULL ? -EEXIST : names_add(&dir->now, name, n);
}

int
node_make(struct disk *d, struct node *dir, const char *name, const struct stat *st, struct node **ret_node)
{
	char born[32];
	struct node *n;
	int r = dir_load(d, dir);

	if (r < 0)
		return r;
	if (names_find(&dir->now, name) != NULL)
		return -EEXIST;
	snprintf(born, sizeof born, "%llu", (unsigned long long)d->born++);
	r = S_ISDIR(st->st_mode) ? mkdirat(d->nursery_fd, born, 0700) :
	    mknodat(d->nursery_fd, born, st->st_mode, st->st_rdev);
	if (r < 0 || fchownat(d->nursery_fd, born, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(d->nursery_fd, born, st->st_mode & 07777, 0) < 0)
		return -errno;
	if ((r = node_load(d, d->nursery_fd, born, &n)) < 0)
		return r;
	n->refs++;
	r = names_add(&dir->now, name, n);
	node_unref(d, n, 1);
	if (r == 0)
		*ret_node = n;
	return r;
}

/* Whether a name may be taken from a node: 0 unless it is a directory with names. */
static int
node_is_bare(struct disk *d, struct node *n)
{
	int r = S_ISDIR(n->type) ? dir_load(d, n) : 0;

	return r < 0 ? r : n->now.count > 0 ? -ENOTEMPTY : 0;
}

int
node_unlink(struct disk *d, struct node *dir, const char *name)
{
	struct entry *e;
	int r = dir_load(d, dir);

	if (r < 0)
		return r;
	e = names_find(&dir->now, name);
	if (e == NULL)
		return -ENOENT;
	r = node_is_bare(d, e->node);
	if (r == 0)
		names_remove(d, &dir->now, e);
	return r;
}

int
node_rename(struct disk *d, struct node *dir, const char *name, const char *new_name, unsigned flags)
{
	struct entry *from, *to;
	struct node *n;
	int r = dir_load(d, dir);

	if (r < 0)
		return r;
	from = names_find(&dir->now, name);
	to = names_find(&dir->now, new_name);
	if (from == NULL || (to == NULL && flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (to != NULL && flags & RENAME_NOREPLACE)
		return -EEXIST;
	n = from->node;
	if (to == NULL) {
		r = names_add(&dir->now, new_name, n);
		if (r == 0)
			names_remove(d, &dir->now, names_find(&dir->now, name));
	} else if (to->node == n)
		return 0;
	else if (flags & RENAME_EXCHANGE) {
		from->node = to->node;
		to->node = n;
	} else if ((r = node_is_bare(d, to->node)) == 0) {
		from->node = to->node;
		to->node = n;
		names_remove(d, &dir->now, from);
	}
	return r;
}

void
node_list(struct disk *d, struct node *dir, bool (*each)(void *arg, const char *name, struct node *n), void *arg)
{
	if (dir_load(d, dir) < 0)
		return;
	for (size_t i = 0; i < dir->now.count; i++)
		if (!each(arg, dir->now.at[i].name, dir->now.at[i].node))
			return;
}

/* ---- a file's bytes ---- */

static uint8_t *
page_peek(struct node *n, size_t page)
{
	size_t g = page / GROUP;

	return g < n->groups_count && n->groups[g] != NULL ? n->groups[g][page % GROUP] : NULL;
}

/* What the backing file durably has of [offset, offset + len), for a reader of now. */
static int
backing_read(struct node *n, void *buf, size_t len, off_t offset)
{
	size_t below = offset >= n->valid_size ? 0 :
	    (off_t)len < n->valid_size - offset ? len : (size_t)(n->valid_size - offset);
	ssize_t got = below == 0 ? 0 : pread(n->fd, buf, below, offset);

	if (got < 0)
		return -errno;
	memset((uint8_t *)buf + got, 0, len - got);
	return 0;
}

/* The overlay's page, made from the backing file if need be. */
static int
page_own(struct node *n, size_t page, uint8_t **ret_page)
{
	size_t g = page / GROUP;
	uint8_t *p = page_peek(n, page);
	int r;

	if (p == NULL) {
		if (g >= n->groups_count) {
			uint8_t ***more = realloc(n->groups, (g + 1) * sizeof *more);

			if (more == NULL)
				return -ENOMEM;
			memset(more + n->groups_count, 0, (g + 1 - n->groups_count) * sizeof *more);
			n->groups = more;
			n->groups_count = g + 1;
		}
		if (n->groups[g] == NULL && (n->groups[g] = calloc(GROUP, sizeof *n->groups[g])) == NULL)
			return -ENOMEM;
		if ((p = malloc(PAGE)) == NULL)
			return -ENOMEM;
		if ((r = backing_read(n, p, PAGE, (off_t)page * PAGE)) < 0) {
			free(p);
			return r;
		}
		n->groups[g][page % GROUP] = p;
	}
	*ret_page = p;
	return 0;
}

int
node_read(struct node *n, void *buf, size_t size, off_t offset, size_t *ret_size)
{
	int r = 0;

	if (offset >= n->size)
		size = 0;
	else if ((off_t)size > n->size - offset)
		size = n->size - offset;
	for (size_t done = 0, len; r == 0 && done < size; done += len) {
		size_t from = (offset + done) % PAGE;
		uint8_t *page = page_peek(n, (offset + done) / PAGE), *to = (uint8_t *)buf + done;

		len = PAGE - from < size - done ? PAGE - from : size - done;
		if (page != NULL)
			memcpy(to, page + from, len);
		else
			r = backing_read(n, to, len, offset + done);
	}
	if (r == 0)
		*ret_size = size;
	return r;
}

int
node_write(struct node *n, const void *buf, size_t size, off_t offset)
{
	for (size_t done = 0, len; done < size; done += len) {
		size_t from = (offset + done) % PAGE;
		uint8_t *page;
		int r = page_own(n, (offset + done) / PAGE, &page);

		if (r < 0)
			return r;
		len = PAGE - from < size - done ? PAGE - from : size - done;
		if (buf != NULL)
			memcpy(page + from, (const uint8_t *)buf + done, len);
		else
			memset(page + from, 0, len);
	}
	if (offset + (off_t)size > n->size)
		n->size = offset + size;
	return 0;
}

int
node_truncate(struct node *n, off_t size)
{
	uint8_t *page;
	int r;

	if (size < n->size && size % PAGE != 0) {
		if ((r = page_own(n, size / PAGE, &page)) < 0)
			return r;
		memset(page + size % PAGE, 0, PAGE - size % PAGE);
	}
	if (size < n->size)
		overlay_drop(n, (size + PAGE - 1) / PAGE);
	if (size < n->valid_size)
		n->valid_size = size;
	n->size = size;
	return 0;
}

/* Brings the overlay to the backing file; with some, only what the coin keeps. */
static int
file_sync(struct disk *d, struct node *n, bool some)
{
	struct stat st;

	if (fstat(n->fd, &st) < 0)
		return -errno;
	if (st.st_size > n->valid_size && (!some || toss(d)) && ftruncate(n->fd, n->valid_size) < 0)
		return -errno;
	for (size_t page = 0; page < n->groups_count * GROUP; page++) {
		off_t at = (off_t)page * PAGE;
		uint8_t *p = page_peek(n, page);
		size_t len = n->size - at < PAGE ? n->size - at : PAGE;

		if (p == NULL || (some && toss(d)))
			continue;
		if (pwrite(n->fd, p, len, at) != (ssize_t)len)
			return -EIO;
	}
	if ((!some || toss(d)) && ftruncate(n->fd, n->size) < 0)
		return -errno;
	overlay_drop(n, 0);
	n->valid_size = n->size;
	return 0;
}

/* ---- what is durable: names ---- */

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

/* Removes a name of the backing directory with all below it. */
static void
backing_remove(int dir_fd, const char *name)
{
	char fd_path[32], path[PATH_MAX];

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return;
	path_of_fd(dir_fd, fd_path);
	snprintf(path, sizeof path, "%s/%s", fd_path, name);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Whether a name of now is already durable as it is. */
static bool
entry_is_durable(struct node *dir, const struct entry *e)
{
	struct entry *old = names_find(&dir->durable, e->name);

	return old != NULL && old->node == e->node;
}

/* Brings the node of the ith name to the nursery, under a name of its own. */
static int
entry_lift(struct disk *d, const struct entry *e, const char *temporary)
{
	char path[32];

	path_of_fd(e->node->fd, path);
	if (S_ISDIR(e->node->type))
		return renameat(e->node->place_fd, e->node->place, d->nursery_fd, temporary);
	return linkat(AT_FDCWD, path, d->nursery_fd, temporary, AT_SYMLINK_FOLLOW);
}

static int
entry_place(struct disk *d, struct node *dir, const struct entry *e, const char *temporary)
{
	struct stat st;

	if (fstatat(dir->fd, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (S_ISDIR(st.st_mode) || S_ISDIR(e->node->type)))
		backing_remove(dir->fd, e->name);
	if (renameat(d->nursery_fd, temporary, dir->fd, e->name) < 0)
		return -1;
	if (S_ISDIR(e->node->type)) {
		e->node->place_fd = dir->fd;
		snprintf(e->node->place, sizeof e->node->place, "%s", e->name);
	}
	return 0;
}

/*
 * Makes the durable names those of now: each node under a new name is lifted
 * from where it is, then all are placed, and what is left over goes.
 */
static int
dir_sync(struct disk *d, struct node *dir)
{
	char temporary[32];
	int r = dir_load(d, dir);

	for (int step = 0; step < 2 && r == 0; step++)
		for (size_t i = 0; i < dir->now.count && r == 0; i++) {
			struct entry *e = &dir->now.at[i];

			if (entry_is_durable(dir, e))
				continue;
			snprintf(temporary, sizeof temporary, "move-%zu", i);
			if ((step == 0 ? entry_lift(d, e, temporary) : entry_place(d, dir, e, temporary)) < 0)
				r = -errno;
		}
	for (size_t i = 0; i < dir->durable.count && r == 0; i++)
		if (names_find(&dir->now, dir->durable.at[i].name) == NULL)
			backing_remove(dir->fd, dir->durable.at[i].name);
	if (r < 0)
		return r;
	names_clear(d, &dir->durable);
	for (size_t i = 0; i < dir->now.count && r == 0; i++)
		r = names_add(&dir->durable, dir->now.at[i].name, dir->now.at[i].node);
	return r;
}

/* ---- the disk ---- */

void
disk_cut(struct disk *d)
{
	if (d->cut)
		return;
	d->cut = true;
	for (struct node *n = d->nodes; n != NULL && d->options.keep_some; n = n->next) {
		if (S_ISREG(n->type))
			file_sync(d, n, true);
		else if (S_ISDIR(n->type) && toss(d))
			dir_sync(d, n);
	}
	if (d->options.on_cut != NULL)
		d->options.on_cut();
}

bool
disk_is_cut(const struct disk *d)
{
	return d->cut;
}

uint64_t
disk_syncs(const struct disk *d)
{
	return d->syncs;
}

int
node_sync(struct disk *d, struct node *n)
{
	d->syncs++;
	if (d->syncs == d->options.cut_at)
		disk_cut(d);
	if (d->cut)
		return -EIO;
	return S_ISREG(n->type) ? file_sync(d, n, false) : S_ISDIR(n->type) ? dir_sync(d, n) : 0;
}

int
disk_sync(struct disk *d)
{
	int r = d->cut ? -EIO : 0;

	for (struct node *n = d->nodes; n != NULL && r == 0; n = n->next)
		r = S_ISREG(n->type) ? file_sync(d, n, false) : S_ISDIR(n->type) ? dir_sync(d, n) : 0;
	return r;
}

struct node *
disk_root(struct disk *d)
{
	return d->root;
}

void
disk_free(struct disk *d)
{
	if (d == NULL)
		return;
	for (struct node *n = d->nodes; n != NULL; n = n->next)
		for (struct names *names = &n->now; names != NULL; names = names == &n->now ? &n->durable : NULL) {
			for (size_t i = 0; i < names->count; i++)
				free(names->at[i].name);
			free(names->at);
		}
	while (d->nodes != NULL)
		node_free(d->nodes);
	if (d->nursery_fd >= 0)
		close(d->nursery_fd);
	free(d);
}

int
disk_open(const char *backing, const struct disk_options *options, struct disk **ret_disk)
{
	struct disk *d = calloc(1, sizeof *d);
	struct stat st;
	int fd = -1, r = 0;

	if (d == NULL)
		return -ENOMEM;
	/* Neighbouring seeds start far apart, and none at 0. */
	*d = (struct disk){ .options = *options, .nursery_fd = -1,
	    .random = (options->seed + 1) * 0x9e3779b97f4a7c15 };
	fd = open(backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		goto out;
	}
	backing_remove(fd, NURSERY);
	if (mkdirat(fd, NURSERY, 0700) < 0 ||
	    (d->nursery_fd = openat(fd, NURSERY, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		r = -errno;
		goto out;
	}
	if ((d->root = node_new(d, fd, &st)) == NULL) {
		r = -ENOMEM;
		goto out;
	}
	d->root->refs = 1;
	fd = -1;
	*ret_disk = d;
out:
	if (fd >= 0)
		close(fd);
	if (r < 0)
		disk_free(d);
	return r;
}
