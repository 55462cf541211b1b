/*
 * forgetfs - a disk that loses at a power cut what was not synced, and no less.
 *
 *   forgetfs [-f] [-o OPTIONS] [--keep-some] [--seed N] [--cut-at N] BACKING DIR
 *
 * DIR shows what was done, BACKING what is durable (disk.h says when what is).
 * SIGUSR1 cuts the power: the rest is forgotten, "cut" is printed, and every
 * request is answered EIO until DIR is unmounted and BACKING mounted anew.
 * An orderly unmount makes all durable and prints how many syncs there were.
 *
 * --keep-some      at the cut each unsynced 4 KiB page, size and directory is
 *                  kept or lost by the toss of a coin, as real disks do
 * --seed N         of that coin
 * --cut-at N       cuts by itself in place of the Nth sync since the mount
 *
 * It has what a log and LMDB use: files of any size with holes, shared maps,
 * fallocate, locks (the kernel's own), sockets.  A rename to another directory
 * is refused with EXDEV.  Pages the kernel has may still be read after a cut; the
 * process that could is to be killed first.  One thread, so that a cut falls
 * between requests.
 */
#define FUSE_USE_VERSION 314
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/tools/disk.h"

enum { IO_MAX = 1024 * 1024 };

static volatile sig_atomic_t cut_wanted;

static void
on_cut_signal(int sig)
{
	(void)sig;
	cut_wanted = 1;
}

static struct disk *
disk_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* A node's number is its address. */
static struct node *
node_at(fuse_req_t req, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? disk_root(disk_of(req)) : (struct node *)(uintptr_t)ino;
}

/* Answers a new reference to the node, or the error r. */
static void
reply_node(fuse_req_t req, int r, struct node *n, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = { .ino = (uintptr_t)n };

	if (r == 0)
		r = node_stat(n, &e.attr);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	node_ref(n);
	if (fi == NULL)
		fuse_reply_entry(req, &e);
	else {
		fi->keep_cache = 1;
		fuse_reply_create(req, &e, fi);
	}
}

static void
fs_init(void *user, struct fuse_conn_info *conn)
{
	(void)user;
	conn->max_write = IO_MAX;
	conn->want &= ~(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want |= conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA;
}

static void
fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *n = NULL;
	int r = node_find(disk_of(req), node_at(req, parent), name, &n);

	reply_node(req, r, n, NULL);
}

static void
fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	node_unref(disk_of(req), node_at(req, ino), count);
	fuse_reply_none(req);
}

static void
fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = node_stat(node_at(req, ino), &st);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, 0);
}

static void
fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	struct node *n = node_at(req, ino);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	char path[32];
	int r = 0;

	snprintf(path, sizeof path, "/proc/self/fd/%d", node_fd(n));
	if (set & FUSE_SET_ATTR_ATIME)
		times[0] = st->st_atim;
	if (set & FUSE_SET_ATTR_MTIME)
		times[1] = st->st_mtim;
	if (set & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	if ((set & FUSE_SET_ATTR_MODE && chmod(path, st->st_mode & 07777) < 0) ||
	    (set & FUSE_SET_ATTR_UID && chown(path, st->st_uid, -1) < 0) ||
	    (set & FUSE_SET_ATTR_GID && chown(path, -1, st->st_gid) < 0) ||
	    utimensat(AT_FDCWD, path, times, 0) < 0)
		r = -errno;
	if (r == 0 && set & FUSE_SET_ATTR_SIZE)
		r = node_truncate(n, st->st_size);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fs_getattr(req, ino, fi);
}

static void
make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev, struct fuse_file_info *fi)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct stat st = { .st_mode = mode, .st_rdev = rdev, .st_uid = ctx->uid, .st_gid = ctx->gid };
	struct node *n = NULL;
	int r = node_make(disk_of(req), node_at(req, parent), name, &st, &n);

	reply_node(req, r, n, fi);
}

static void
fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode, rdev, NULL);
}

static void
fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, mode | S_IFDIR, 0, NULL);
}

static void
fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	make(req, parent, name, mode, 0, fi);
}

static void
fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct node *n = node_at(req, ino);
	int r = node_link(disk_of(req), node_at(req, parent), name, n);

	reply_node(req, r, n, NULL);
}

static void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -node_unlink(disk_of(req), node_at(req, parent), name));
}

static void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
    const char *new_name, unsigned flags)
{
	int r = parent != new_parent ? -EXDEV :
	    node_rename(disk_of(req), node_at(req, parent), name, new_name, flags);

	fuse_reply_err(req, -r);
}

static void
fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void
fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	char *buf = malloc(size + 1);
	int r = buf == NULL ? -ENOMEM : node_read(node_at(req, ino), buf, size, offset, &size);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, buf, size);
	free(buf);
}

static void
fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
    struct fuse_file_info *fi)
{
	int r = node_write(node_at(req, ino), buf, size, offset);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_write(req, size);
}

static void
fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
    struct fuse_file_info *fi)
{
	struct node *n = node_at(req, ino);
	off_t end = offset + length;
	struct stat st;
	int r = node_stat(n, &st);

	(void)fi;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		r = -EOPNOTSUPP;
	if (r == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && offset < st.st_size)
		r = node_write(n, NULL, (end < st.st_size ? end : st.st_size) - offset, offset);
	if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > st.st_size)
		r = node_truncate(n, end);
	fuse_reply_err(req, -r);
}

static void
fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync, (void)fi;
	fuse_reply_err(req, -node_sync(disk_of(req), node_at(req, ino)));
}

/* A listing is what the names were when it was opened. */
struct listing {
	size_t count;
	struct listed {
		char name[NAME_MAX + 1];
		struct stat st;
	} *at;
};

static bool
listing_add(void *arg, const char *name, struct node *n)
{
	struct listing *l = arg;
	struct listed *more = realloc(l->at, (l->count + 1) * sizeof *more);

	if (more == NULL)
		return false;
	l->at = more;
	snprintf(more[l->count].name, sizeof more->name, "%s", name);
	return node_stat(n, &more[l->count++].st) == 0;
}

static void
fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = calloc(1, sizeof *l);

	if (l == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	node_list(disk_of(req), node_at(req, ino), listing_add, l);
	fi->fh = (uintptr_t)l;
	fuse_reply_open(req, fi);
}

static void
fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;
	char *buf = malloc(size);
	size_t used = 0;

	(void)ino;
	for (size_t i = offset; buf != NULL && i < l->count; i++) {
		size_t len = fuse_add_direntry(req, buf + used, size - used, l->at[i].name, &l->at[i].st, i + 1);

		if (len > size - used)
			break;
		used += len;
	}
	if (buf == NULL)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, buf, used);
	free(buf);
}

static void
fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;

	(void)ino;
	free(l->at);
	free(l);
	fuse_reply_err(req, 0);
}

static void
fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	if (fstatvfs(node_fd(node_at(req, ino)), &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops ops = {
	.init = fs_init, .lookup = fs_lookup, .forget = fs_forget, .getattr = fs_getattr,
	.setattr = fs_setattr, .mknod = fs_mknod, .mkdir = fs_mkdir, .create = fs_create,
	.link = fs_link, .unlink = fs_unlink, .rmdir = fs_unlink, .rename = fs_rename,
	.open = fs_open, .read = fs_read, .write = fs_write, .fallocate = fs_fallocate,
	.fsync = fs_fsync, .fsyncdir = fs_fsync, .opendir = fs_opendir, .readdir = fs_readdir,
	.releasedir = fs_releasedir, .statfs = fs_statfs,
};

/* Answers a request that came after the cut; those that want no answer get none. */
static void
refuse(int fd, const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;
	struct fuse_out_header out = { .len = sizeof out, .error = -EIO, .unique = in->unique };

	if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
		return;
	if (write(fd, &out, sizeof out) < 0 && errno != ENOENT)
		warn("answering");
}

static int
serve(struct disk *d, struct fuse_session *se)
{
	struct pollfd fd = { .fd = fuse_session_fd(se), .events = POLLIN };
	struct fuse_buf buf = { 0 };
	sigset_t blocked, while_waiting;
	int r = 0;

	/* The signal comes through while waiting only, so that none is overlooked. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
	sigdelset(&while_waiting, SIGUSR1);
	while (!fuse_session_exited(se)) {
		if (ppoll(&fd, 1, NULL, &while_waiting) < 0 && errno == EINTR)
			fd.revents = 0;
		if (cut_wanted)
			disk_cut(d);
		if (fd.revents == 0)
			continue;
		r = fuse_session_receive_buf(se, &buf);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		if (disk_is_cut(d))
			refuse(fd.fd, &buf);
		else
			fuse_session_process_buf(se, &buf);
	}
	free(buf.mem);
	return r == -ENODEV || r > 0 ? 0 : r;
}

static void
say_cut(void)
{
	puts("cut");
	fflush(stdout);
}

struct options {
	struct disk_options disk;
	int keep_some;
	char *backing;
};

static int
take_backing(void *data, const char *arg, int key, struct fuse_args *out)
{
	struct options *o = data;

	(void)out;
	if (key != FUSE_OPT_KEY_NONOPT || o->backing != NULL)
		return 1;
	o->backing = strdup(arg);
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct fuse_opt opts[] = {
		{ "--keep-some", offsetof(struct options, keep_some), 1 },
		{ "--seed %lu", offsetof(struct options, disk.seed), 0 },
		{ "--cut-at %lu", offsetof(struct options, disk.cut_at), 0 },
		FUSE_OPT_END,
	};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts cmd = { 0 };
	struct fuse_session *se = NULL;
	struct options o = { .disk.on_cut = say_cut };
	struct rlimit files;
	struct disk *d = NULL;
	int r, ret = 1;

	if (fuse_opt_parse(&args, &o, opts, take_backing) < 0 || fuse_parse_cmdline(&args, &cmd) < 0 ||
	    o.backing == NULL || cmd.mountpoint == NULL)
		errx(2, "usage: forgetfs [-f] [-o OPTIONS] [--keep-some] [--seed N] [--cut-at N] BACKING DIR");
	o.disk.keep_some = o.keep_some;
	/* Each node holds a descriptor. */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	umask(0);
	if ((r = disk_open(o.backing, &o.disk, &d)) < 0)
		errx(1, "%s: %s", o.backing, strerror(-r));
	se = fuse_session_new(&args, &ops, sizeof ops, d);
	if (se == NULL || fuse_set_signal_handlers(se) < 0 || fuse_session_mount(se, cmd.mountpoint) < 0)
		goto out;
	fuse_daemonize(cmd.foreground);
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_cut_signal }, NULL);
	ret = serve(d, se) < 0;
	if (!disk_is_cut(d))
		ret |= disk_sync(d) < 0;
	printf("%llu syncs\n", (unsigned long long)disk_syncs(d));
	fflush(stdout);
	fuse_session_unmount(se);
out:
	if (se != NULL) {
		fuse_remove_signal_handlers(se);
		fuse_session_destroy(se);
	}
	disk_free(d);
	free(cmd.mountpoint);
	free(o.backing);
	fuse_opt_free_args(&args);
	return ret;
}
