/*
 * floorfs - the floor under any FUSE file system: a tree in memory that checks nothing.
 *
 *   floorfs [-f] [-o OPTIONS] [--no-open] DIR
 *
 * It does the least that a libfuse file system can do for a result and so
 * shows what FUSE itself costs: names and attributes stay with the kernel for
 * ever, pages are kept, requests are as large and as parallel as they get, and
 * what the kernel need not ask for again is answered ENOSYS.  Permissions,
 * limits and arguments are nobody's business.  With --no-open the kernel asks
 * no more for OPEN and OPENDIR either, which few real ones can afford.
 *
 * One thread; a node's number is its address.  Nodes live while they have a
 * name or the kernel knows them.
 */
#define FUSE_USE_VERSION 314
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK = 256 * 1024,	/* a file's data; the first one grows by doubling from PAGE */
	PAGE = 4096,
	IO_MAX = 1024 * 1024,
	BUCKETS = 1 << 18,
};

static const double FOR_EVER = 1e9;

struct entry {
	struct entry *next;	/* in its bucket */
	struct node *parent, *child;
	uint32_t hash;
	size_t slot;		/* in parent->entries; its readdir cookie is slot + 1 */
	char name[];
};

/*
 * 1. A regular file holds chunks 0 to chunks_count - 1, some NULL; bytes at or
 *    above st_size in them are zero.
 * 2. entries[] has holes where names went; it shrinks only at its end, so that
 *    a cookie stays good under removal.
 */
struct node {
	struct stat st;
	uint64_t lookups;
	uint8_t **chunks;
	size_t chunks_count, first_size;	/* first_size: bytes allocated in chunk 0 */
	struct entry **entries;
	size_t entries_count, entries_room, entries_live;
	struct node *parent;
	char *target;
};

static struct entry *buckets[BUCKETS];
static struct node *root;
static uint64_t nodes_count;
static int no_open;

static struct node *
node_at(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? root : (struct node *)(uintptr_t)ino;
}

static void
touch(struct node *n)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &n->st.st_mtim);
	n->st.st_ctim = n->st.st_mtim;
}

static struct node *
node_new(struct node *parent, mode_t mode, const struct fuse_ctx *ctx)
{
	struct node *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	n->st = (struct stat){ .st_ino = (uintptr_t)n, .st_mode = mode, .st_blksize = IO_MAX,
	    .st_uid = ctx != NULL ? ctx->uid : getuid(), .st_gid = ctx != NULL ? ctx->gid : getgid() };
	touch(n);
	n->st.st_atim = n->st.st_mtim;
	n->parent = parent;
	nodes_count++;
	return n;
}

static void
node_free_if_unused(struct node *n)
{
	if (n->st.st_nlink != 0 || n->lookups != 0 || n == root)
		return;
	for (size_t i = 0; i < n->chunks_count; i++)
		free(n->chunks[i]);
	free(n->chunks);
	free(n->entries);
	free(n->target);
	free(n);
	nodes_count--;
}

/* FNV-1a, started from the directory. */
static uint32_t
name_hash(const struct node *dir, const char *name)
{
	uint32_t h = 2166136261u ^ (uint32_t)((uintptr_t)dir >> 4);

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

static struct entry **
entry_place(struct node *dir, const char *name)
{
	uint32_t h = name_hash(dir, name);
	struct entry **at = &buckets[h % BUCKETS];

	while (*at != NULL && !((*at)->hash == h && (*at)->parent == dir && strcmp((*at)->name, name) == 0))
		at = &(*at)->next;
	return at;
}

static int
entry_add(struct node *dir, const char *name, struct node *child)
{
	size_t len = strlen(name) + 1;
	struct entry *e = malloc(sizeof *e + len);

	if (e == NULL)
		return -ENOMEM;
	if (dir->entries_count == dir->entries_room) {
		size_t room = dir->entries_room == 0 ? 8 : 2 * dir->entries_room;
		struct entry **more = realloc(dir->entries, room * sizeof *more);

		if (more == NULL) {
			free(e);
			return -ENOMEM;
		}
		dir->entries = more;
		dir->entries_room = room;
	}
	*e = (struct entry){ .parent = dir, .child = child, .hash = name_hash(dir, name),
	    .slot = dir->entries_count };
	memcpy(e->name, name, len);
	e->next = buckets[e->hash % BUCKETS];
	buckets[e->hash % BUCKETS] = e;
	dir->entries[dir->entries_count++] = e;
	dir->entries_live++;
	child->st.st_nlink++;
	if (S_ISDIR(child->st.st_mode)) {
		child->st.st_nlink = 2;
		child->parent = dir;
		dir->st.st_nlink++;
	}
	touch(dir);
	return 0;
}

static void
entry_remove(struct entry **at)
{
	struct entry *e = *at;
	struct node *dir = e->parent, *child = e->child;

	*at = e->next;
	dir->entries[e->slot] = NULL;
	while (dir->entries_count > 0 && dir->entries[dir->entries_count - 1] == NULL)
		dir->entries_count--;
	dir->entries_live--;
	free(e);
	child->st.st_nlink--;
	if (S_ISDIR(child->st.st_mode)) {
		child->st.st_nlink = 0;
		dir->st.st_nlink--;
	}
	touch(dir);
	touch(child);
}

/* The chunk's memory for len bytes from offset; NULL if there is no memory. */
static uint8_t *
chunk_for_write(struct node *n, size_t index, size_t offset, size_t len)
{
	size_t want = index > 0 ? CHUNK : PAGE, have;
	uint8_t *c;

	if (index >= n->chunks_count) {
		size_t count = index + 1 > 2 * n->chunks_count ? index + 1 : 2 * n->chunks_count;
		uint8_t **more = realloc(n->chunks, count * sizeof *more);

		if (more == NULL)
			return NULL;
		memset(more + n->chunks_count, 0, (count - n->chunks_count) * sizeof *more);
		n->chunks = more;
		n->chunks_count = count;
	}
	have = n->chunks[index] == NULL ? 0 : index > 0 ? CHUNK : n->first_size;
	while (want < offset + len)
		want *= 2;
	if (have >= want)
		return n->chunks[index];
	c = realloc(n->chunks[index], want);
	if (c == NULL)
		return NULL;
	/* What the caller is about to write need not be cleared first. */
	if (have < offset)
		memset(c + have, 0, offset - have);
	if (offset + len < want)
		memset(c + offset + len, 0, want - offset - len);
	n->chunks[index] = c;
	if (index == 0)
		n->first_size = want;
	return c;
}

static void
file_truncate(struct node *n, off_t size)
{
	size_t keep = (size + CHUNK - 1) / CHUNK;

	for (size_t i = keep; i < n->chunks_count; i++) {
		free(n->chunks[i]);
		n->chunks[i] = NULL;
	}
	if (size % CHUNK != 0 && keep <= n->chunks_count && n->chunks[keep - 1] != NULL) {
		size_t have = keep > 1 ? CHUNK : n->first_size, from = size % CHUNK;

		if (from < have)
			memset(n->chunks[keep - 1] + from, 0, have - from);
	}
	n->st.st_size = size;
}

static struct fuse_entry_param
param(struct node *n)
{
	n->st.st_blocks = (n->st.st_size + 511) / 512;
	return (struct fuse_entry_param){ .ino = n == root ? FUSE_ROOT_ID : (uintptr_t)n, .attr = n->st,
	    .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER };
}

static void
reply_node(fuse_req_t req, struct node *n)
{
	struct fuse_entry_param e = param(n);

	n->lookups++;
	fuse_reply_entry(req, &e);
}

static void
fs_init(void *user, struct fuse_conn_info *conn)
{
	(void)user;
	conn->max_write = conn->max_readahead = IO_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 64;
	conn->want &= ~(FUSE_CAP_AUTO_INVAL_DATA | (no_open ? FUSE_CAP_ATOMIC_O_TRUNC : 0));
	conn->want |= conn->capable & (FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS |
	    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
}

static void
fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct entry *e = *entry_place(node_at(parent), name);
	struct fuse_entry_param none = { .entry_timeout = FOR_EVER };

	if (e != NULL)
		reply_node(req, e->child);
	else
		fuse_reply_entry(req, &none);
}

static void
forget(fuse_ino_t ino, uint64_t count)
{
	struct node *n = node_at(ino);

	n->lookups -= count;
	node_free_if_unused(n);
}

static void
fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(ino, count);
	fuse_reply_none(req);
}

static void
fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void
fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = param(node_at(ino));

	(void)fi;
	fuse_reply_attr(req, &e.attr, FOR_EVER);
}

static void
fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	struct node *n = node_at(ino);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (set & FUSE_SET_ATTR_MODE)
		n->st.st_mode = (n->st.st_mode & S_IFMT) | (st->st_mode & ~S_IFMT);
	if (set & FUSE_SET_ATTR_UID)
		n->st.st_uid = st->st_uid;
	if (set & FUSE_SET_ATTR_GID)
		n->st.st_gid = st->st_gid;
	if (set & FUSE_SET_ATTR_SIZE) {
		file_truncate(n, st->st_size);
		n->st.st_mtim = now;
	}
	if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		n->st.st_atim = set & FUSE_SET_ATTR_ATIME_NOW ? now : st->st_atim;
	if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		n->st.st_mtim = set & FUSE_SET_ATTR_MTIME_NOW ? now : st->st_mtim;
	n->st.st_ctim = now;
	fs_getattr(req, ino, fi);
}

/* A new node under that name; NULL after the error was answered. */
static struct node *
make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *dir = node_at(parent), *n;

	if (*entry_place(dir, name) != NULL) {
		fuse_reply_err(req, EEXIST);
		return NULL;
	}
	n = node_new(dir, mode, fuse_req_ctx(req));
	if (n == NULL || entry_add(dir, name, n) < 0) {
		free(n);
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	return n;
}

static void
fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct node *n = make(req, parent, name, mode);

	if (n == NULL)
		return;
	n->st.st_rdev = rdev;
	reply_node(req, n);
}

static void
fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *n = make(req, parent, name, mode | S_IFDIR);

	if (n != NULL)
		reply_node(req, n);
}

static void
fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct node *n = make(req, parent, name, S_IFLNK | 0777);

	if (n == NULL)
		return;
	n->target = strdup(target);
	n->st.st_size = strlen(target);
	reply_node(req, n);
}

static void
fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct node *n = make(req, parent, name, mode);
	struct fuse_entry_param e;

	if (n == NULL)
		return;
	n->lookups++;
	e = param(n);
	fi->keep_cache = 1;
	fuse_reply_create(req, &e, fi);
}

static void
fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct node *n = node_at(ino);

	if (*entry_place(node_at(parent), name) != NULL)
		fuse_reply_err(req, EEXIST);
	else if (entry_add(node_at(parent), name, n) < 0)
		fuse_reply_err(req, ENOMEM);
	else
		reply_node(req, n);
}

static void
fs_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, node_at(ino)->target);
}

static void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct entry **at = entry_place(node_at(parent), name);
	struct node *n;

	if (*at == NULL) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	n = (*at)->child;
	if (n->entries_live != 0) {
		fuse_reply_err(req, ENOTEMPTY);
		return;
	}
	entry_remove(at);
	node_free_if_unused(n);
	fuse_reply_err(req, 0);
}

static void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
    const char *new_name, unsigned flags)
{
	struct node *from = node_at(parent), *to = node_at(new_parent), *n, *old = NULL;
	struct entry *target = *entry_place(to, new_name), *source = *entry_place(from, name);
	int error = 0;

	if (source == NULL || (target == NULL && flags & RENAME_EXCHANGE))
		error = ENOENT;
	else if (target != NULL && flags & RENAME_NOREPLACE)
		error = EEXIST;
	else if (target != NULL && !(flags & RENAME_EXCHANGE) && target->child->entries_live != 0)
		error = ENOTEMPTY;
	if (error != 0 || (target != NULL && target->child == source->child)) {
		fuse_reply_err(req, error);
		return;
	}
	n = source->child;
	if (target != NULL) {
		old = target->child;
		old->lookups++;		/* holds it until its new name or its end */
		entry_remove(entry_place(to, new_name));
	}
	n->lookups++;
	entry_remove(entry_place(from, name));
	error = -entry_add(to, new_name, n);
	if (error == 0 && flags & RENAME_EXCHANGE)
		error = -entry_add(from, name, old);
	n->lookups--;
	if (old != NULL) {
		old->lookups--;
		node_free_if_unused(old);
	}
	fuse_reply_err(req, error);
}

static void
fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if (fi->flags & O_TRUNC)
		file_truncate(node_at(ino), 0);
	fi->keep_cache = fi->cache_readdir = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void
fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	static const uint8_t zeroes[CHUNK];
	struct node *n = node_at(ino);
	struct iovec iov[2 * (IO_MAX / CHUNK + 1)];
	int count = 0;

	(void)fi;
	if (offset >= n->st.st_size)
		size = 0;
	else if (offset + (off_t)size > n->st.st_size)
		size = n->st.st_size - offset;
	while (size > 0) {
		size_t i = offset / CHUNK, from = offset % CHUNK, len = CHUNK - from, have = 0;

		if (len > size)
			len = size;
		if (i < n->chunks_count && n->chunks[i] != NULL)
			have = i > 0 ? CHUNK : n->first_size;
		if (from < have) {
			if (len > have - from)
				len = have - from;
			iov[count++] = (struct iovec){ n->chunks[i] + from, len };
		} else
			iov[count++] = (struct iovec){ (void *)(uintptr_t)zeroes, len };
		offset += len;
		size -= len;
	}
	fuse_reply_iov(req, iov, count);
}

static void
fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
    struct fuse_file_info *fi)
{
	struct node *n = node_at(ino);
	size_t done = 0;

	(void)fi;
	while (done < size) {
		size_t i = (offset + done) / CHUNK, from = (offset + done) % CHUNK, len = CHUNK - from;
		uint8_t *c;

		if (len > size - done)
			len = size - done;
		c = chunk_for_write(n, i, from, len);
		if (c == NULL) {
			fuse_reply_err(req, ENOMEM);
			return;
		}
		memcpy(c + from, buf + done, len);
		done += len;
	}
	if (offset + (off_t)size > n->st.st_size)
		n->st.st_size = offset + size;
	touch(n);
	fuse_reply_write(req, size);
}

static void
list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct node *dir = node_at(ino);
	char *buf = malloc(size);
	size_t used = 0;

	/* Cookies 1 and 2 are "." and "..", then slot + 3. */
	for (size_t at = offset; buf != NULL && at < dir->entries_count + 2; at++) {
		struct entry *e = at < 2 ? NULL : dir->entries[at - 2];
		struct node *n = at == 0 ? dir : at == 1 ? dir->parent : e != NULL ? e->child : NULL;
		const char *name = at == 0 ? "." : at == 1 ? ".." : e != NULL ? e->name : "";
		struct fuse_entry_param p;
		size_t len;

		if (n == NULL)
			continue;
		p = param(n);
		len = plus ? fuse_add_direntry_plus(req, buf + used, size - used, name, &p, at + 1) :
		    fuse_add_direntry(req, buf + used, size - used, name, &p.attr, at + 1);
		if (len > size - used)
			break;
		used += len;
		if (plus && at >= 2)
			n->lookups++;
	}
	if (buf == NULL)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, buf, used);
	free(buf);
}

static void
fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, false);
}

static void
fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, true);
}

/* Nothing to do, but a round trip: a file system that promises something cannot spare it. */
static void
fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino, (void)datasync, (void)fi;
	fuse_reply_err(req, 0);
}

static void
fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = PAGE, .f_frsize = PAGE, .f_blocks = 1 << 28, .f_bfree = 1 << 28,
	    .f_bavail = 1 << 28, .f_files = nodes_count, .f_ffree = 1 << 28, .f_namemax = 255 };

	(void)ino;
	fuse_reply_statfs(req, &st);
}

/* No xattr, flush, access, release: answered ENOSYS once, and never asked for again. */
static const struct fuse_lowlevel_ops ops = {
	.init = fs_init, .lookup = fs_lookup, .forget = fs_forget, .forget_multi = fs_forget_multi,
	.getattr = fs_getattr, .setattr = fs_setattr, .mknod = fs_mknod, .mkdir = fs_mkdir,
	.symlink = fs_symlink, .create = fs_create, .link = fs_link, .readlink = fs_readlink,
	.unlink = fs_unlink, .rmdir = fs_unlink, .rename = fs_rename, .open = fs_open,
	.opendir = fs_open, .read = fs_read, .write = fs_write, .readdir = fs_readdir,
	.readdirplus = fs_readdirplus, .statfs = fs_statfs,
	.fsync = fs_fsync, .fsyncdir = fs_fsync,
};

/* libfuse before 3.17 leaves these out of its INIT reply even where the kernel offers them. */
static ssize_t
io_writev(int fd, struct iovec *iov, int count, void *user)
{
	static bool greeted;
	struct fuse_init_out *out = count > 1 ? iov[1].iov_base : NULL;

	(void)user;
	if (!greeted && out != NULL && iov[1].iov_len >= offsetof(struct fuse_init_out, time_gran)) {
		out->flags |= FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2;
		greeted = true;
	}
	return writev(fd, iov, count);
}

static ssize_t
io_read(int fd, void *buf, size_t len, void *user)
{
	(void)user;
	return read(fd, buf, len);
}

/* The kernel starts a FUSE mount at 128 KiB of read-ahead, whatever INIT says; root may raise it. */
static void
raise_readahead(const char *mountpoint)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "r"), *bdi = NULL;
	char line[4096], where[2048], path[64];
	unsigned major, minor;

	while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL)
		if (sscanf(line, "%*d %*d %u:%u %*s %2047s", &major, &minor, where) == 3 &&
		    strcmp(where, mountpoint) == 0) {
			snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
			bdi = fopen(path, "w");
			break;
		}
	if (bdi != NULL) {
		fprintf(bdi, "%d\n", 4 * IO_MAX / 1024);
		fclose(bdi);
	}
	if (mounts != NULL)
		fclose(mounts);
}

int
main(int argc, char **argv)
{
	static const struct fuse_opt opts[] = { { "--no-open", 0, 1 }, FUSE_OPT_END };
	static const struct fuse_custom_io io = { .writev = io_writev, .read = io_read };
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts cmd;
	struct fuse_session *se = NULL;
	char where[4096];
	int ret = 1;

	if (fuse_opt_parse(&args, &no_open, opts, NULL) < 0 || fuse_parse_cmdline(&args, &cmd) < 0 ||
	    cmd.mountpoint == NULL || realpath(cmd.mountpoint, where) == NULL)
		errx(2, "usage: floorfs [-f] [-o OPTIONS] [--no-open] DIR");
	/* Freed memory comes back without page faults. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, INT32_MAX);
	root = node_new(NULL, S_IFDIR | 0755, NULL);
	if (root == NULL)
		err(1, "root");
	root->parent = root;
	root->st.st_nlink = 2;
	se = fuse_session_new(&args, &ops, sizeof ops, NULL);
	if (se == NULL || fuse_set_signal_handlers(se) < 0 || fuse_session_mount(se, where) < 0 ||
	    fuse_session_custom_io(se, &io, fuse_session_fd(se)) < 0)
		goto out;
	raise_readahead(where);
	fuse_daemonize(cmd.foreground);
	ret = fuse_session_loop(se) != 0;
	fuse_session_unmount(se);
out:
	if (se != NULL) {
		fuse_remove_signal_handlers(se);
		fuse_session_destroy(se);
	}
	free(cmd.mountpoint);
	fuse_opt_free_args(&args);
	return ret;
}
