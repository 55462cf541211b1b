/*
 * request.c - what the kernel asks, as operations of the engine.
 *
 * The life of a request stands in mount_room.h.  Names and data lie in the
 * buffer the request was read into; one that is parked takes them along.
 */
#include "fs/mount_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/delay.h"

enum {
	PARK_COPY_MAX	= 16 * 1024,		/* larger requests give their buffer away */
	INTERRUPTED_MAX	= 64,			/* judged at one tick */
};
#define SIGKILL_BIT	(1ull << (9 - 1))

_Thread_local struct hand *request_hand;

/* ---- a request's life ---- */

static void
answer_apart(void *argument)
{
	struct request *r = argument;

	answer(r);
	shell_replied(r->mount->shell, &r->call);
}

static bool
request_reply(struct call *c)
{
	struct request *r = (struct request *)c;

	{
		LOCK_SCOPE(&r->mount->lock);
		r->ready = true;
		if (!r->armed)
			return false;
	}
	if (DELAY_APART(answer_apart, r))
		return false;
	answer(r);
	return true;
}

static void
request_finish(struct call *c)
{
	struct request *r = (struct request *)c, **at;
	struct mount *m = r->mount;
	void *kept = r->kept;

	if (!r->parked)
		return;			/* still its thread's spare */
	{
		LOCK_SCOPE(&m->lock);
		for (at = &m->interrupted; r->interrupted && *at != NULL; at = &(*at)->next_interrupted)
			if (*at == r) {
				*at = r->next_interrupted;
				break;
			}
		r->req = NULL;
		r->next = m->pool;
		m->pool = r;
	}
	free(kept);
}

/* Under the shell's lock: names and data leave the buffer that the next request is read into. */
static void
request_park(struct call *c)
{
	struct request *r = (struct request *)c;
	struct op *op = &c->op;
	struct bytes *borrowed[] = { &op->name, &op->name2, &op->data };
	const uint8_t *from = request_hand->buf.mem;
	size_t size = request_hand->buf.size;

	r->parked = true;
	r->kept = size <= PARK_COPY_MAX ? malloc(size) : NULL;
	if (r->kept == NULL) {
		r->kept = request_hand->buf.mem;
		request_hand->buf.mem = NULL;		/* libfuse gets itself another */
		return;
	}
	memcpy(r->kept, from, size);
	for (size_t i = 0; i < sizeof borrowed / sizeof *borrowed; i++)
		if (borrowed[i]->data >= from && borrowed[i]->data < from + size)
			borrowed[i]->data = (uint8_t *)r->kept + (borrowed[i]->data - from);
}

/* The kernel wants an answer soon; who decides is mount_tick(). */
static void
request_interrupted(fuse_req_t req, void *data)
{
	struct request *r = data;
	struct mount *m = r->mount;

	{
		LOCK_SCOPE(&m->lock);
		if (r->req != req || r->interrupted)
			return;
		r->interrupted = true;
		r->next_interrupted = m->interrupted;
		m->interrupted = r;
	}
	shell_look(m->shell);
}

/* The spare request, made ready for `req`. */
static struct request *
begin(fuse_req_t req, enum op_type type, fuse_ino_t ino)
{
	struct request *r = request_hand->spare;
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct op *op = &r->call.op;

	r->req = req;
	r->pid = ctx->pid;
	r->kept = NULL;
	r->parked = r->armed = r->ready = r->interrupted = false;
	memset(op, 0, sizeof *op);
	op->type = type;
	op->ino = oid_of(ino);
	op->uid = ctx->uid;
	op->gid = ctx->gid;
	op->caller = (uint32_t)ctx->pid;
	return r;
}

static void
submit(struct request *r)
{
	struct shell *s = r->mount->shell;
	bool ready;

	DELAY_OP("submit", r->call.op.type);
	if (shell_submit(s, &r->call, &r->serial)) {
		answer(r);
		shell_replied(s, &r->call);
		return;
	}
	request_hand->spare = NULL;
	fuse_req_interrupt_func(r->req, request_interrupted, r);
	{
		LOCK_SCOPE(&r->mount->lock);
		r->armed = true;
		ready = r->ready;
	}
	if (ready) {
		answer(r);
		shell_replied(s, &r->call);
	}
}

/* What stands behind the header of the request at hand, where libfuse hides a part of it. */
static const void *
request_body(void)
{
	return (const uint8_t *)request_hand->buf.mem + sizeof(struct fuse_in_header);
}

static struct bytes
text(const char *from)
{
	return (struct bytes){ (const uint8_t *)from, strlen(from) };
}

/* ---- operations, as the kernel asks for them ---- */

static void
do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *r = begin(req, OP_LOOKUP, parent);

	r->call.op.name = text(name);
	submit(r);
}

static void
do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	shell_forget(request_hand->mount->shell, &(struct forget){ oid_of(ino), n }, 1);
	fuse_reply_none(req);
}

static void
do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	struct forget some[256];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		some[n++] = (struct forget){ oid_of(list[i].ino), list[i].nlookup };
		if (n == sizeof some / sizeof *some || i + 1 == count) {
			shell_forget(request_hand->mount->shell, some, n);
			n = 0;
		}
	}
	fuse_reply_none(req);
}

static void
do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_GETATTR, ino);

	r->call.op.handle = fi != NULL ? fi->fh : 0;
	submit(r);
}

static void
do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	const struct fuse_setattr_in *in = request_body();
	struct request *r = begin(req, OP_SETATTR, ino);
	struct op *op = &r->call.op;

	/* The first ten bits are the same; ours are named in engine.h. */
	op->set = (uint32_t)set & (SET_MODE | SET_UID | SET_GID | SET_SIZE | SET_ATIME | SET_MTIME |
	    SET_ATIME_NOW | SET_MTIME_NOW);
	if (set & FUSE_SET_ATTR_CTIME)
		op->set |= SET_CTIME;
	if (in->valid & FATTR_KILL_SUIDGID)
		op->set |= SET_KILL_SUID;
	op->attr = (struct attr){ .mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid,
	    .size = (uint64_t)st->st_size, .atime = st->st_atim, .mtime = st->st_mtim, .ctime = st->st_ctim };
	op->handle = fi != NULL ? fi->fh : 0;
	submit(r);
}

static void
do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	submit(begin(req, OP_READLINK, ino));
}

static void
make(fuse_req_t req, enum op_type type, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct request *r = begin(req, type, parent);

	r->call.op.name = text(name);
	r->call.op.attr.mode = mode;
	r->call.op.attr.rdev = rdev;
	submit(r);
}

static void
do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, OP_MKNOD, parent, name, mode, rdev);
}

static void
do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, OP_MKDIR, parent, name, S_IFDIR | (mode & 07777), 0);
}

static void
do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct request *r = begin(req, OP_SYMLINK, parent);

	r->call.op.name = text(name);
	r->call.op.name2 = text(target);
	r->call.op.attr.mode = S_IFLNK | 0777;
	submit(r);
}

static void
do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct request *r = begin(req, OP_LINK, ino);

	r->call.op.ino2 = oid_of(parent);
	r->call.op.name = text(name);
	submit(r);
}

static void
remove_name(fuse_req_t req, enum op_type type, fuse_ino_t parent, const char *name)
{
	struct request *r = begin(req, type, parent);

	r->call.op.name = text(name);
	submit(r);
}

static void
do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, OP_UNLINK, parent, name);
}

static void
do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, OP_RMDIR, parent, name);
}

static void
do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *name2,
    unsigned flags)
{
	struct request *r = begin(req, OP_RENAME, parent);

	r->call.op.name = text(name);
	r->call.op.ino2 = oid_of(to);
	r->call.op.name2 = text(name2);
	r->call.op.flags = flags;
	submit(r);
}

static void
do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_CREATE, parent);

	r->call.op.name = text(name);
	r->call.op.attr.mode = S_IFREG | (mode & 07777);
	r->call.op.flags = (uint32_t)fi->flags;
	submit(r);
}

static void
with_handle(fuse_req_t req, enum op_type type, fuse_ino_t ino, const struct fuse_file_info *fi,
    uint32_t flags)
{
	struct request *r = begin(req, type, ino);

	r->call.op.handle = fi->fh;
	r->call.op.flags = flags;
	submit(r);
}

static void
do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	with_handle(req, OP_OPEN, ino, fi, (uint32_t)fi->flags);
}

static void
do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	with_handle(req, OP_OPENDIR, ino, fi, (uint32_t)fi->flags);
}

static void
do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	mount_locks_flush(request_hand->mount->locks, ino, fi);
	with_handle(req, OP_FLUSH, ino, fi, 0);
}

static void
do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	mount_locks_release(request_hand->mount->locks, ino, fi);
	with_handle(req, OP_RELEASE, ino, fi, (uint32_t)fi->flags);
}

static void
do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	with_handle(req, OP_RELEASEDIR, ino, fi, 0);
}

static void
do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	with_handle(req, OP_FSYNC, ino, fi, (uint32_t)datasync);
}

static void
do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	/* `sync DIR` on the root is the one sync of everything that the kernel passes on. */
	with_handle(req, ino == MOUNT_ROOT ? OP_SYNC : OP_FSYNCDIR, ino, fi, (uint32_t)datasync);
}

static void
do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_READ, ino);

	r->call.op.size = size;
	r->call.op.offset = (uint64_t)offset;
	r->call.op.handle = fi->fh;
	submit(r);
}

static void
list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, const struct fuse_file_info *fi, bool plus)
{
	struct request *r = begin(req, OP_READDIR, ino);

	r->call.op.plus = plus;
	r->call.op.size = size;
	r->call.op.offset = (uint64_t)offset;
	r->call.op.handle = fi->fh;
	submit(r);
}

static void
do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, false);
}

static void
do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, true);
}

static void
do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
    struct fuse_file_info *fi)
{
	const struct fuse_write_in *in = request_body();
	struct request *r = begin(req, OP_WRITE, ino);
	struct op *op = &r->call.op;

	op->data = (struct bytes){ (const uint8_t *)data, size };
	op->size = size;
	op->offset = (uint64_t)offset;
	op->handle = fi->fh;
	op->set = in->write_flags & FUSE_WRITE_KILL_SUIDGID ? SET_KILL_SUID : 0;
	submit(r);
}

static void
do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	submit(begin(req, OP_STATFS, ino != 0 ? ino : MOUNT_ROOT));
}

static void
do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct request *r = begin(req, OP_SETXATTR, ino);

	r->call.op.name = text(name);
	r->call.op.data = (struct bytes){ (const uint8_t *)value, size };
	r->call.op.flags = (uint32_t)flags;
	submit(r);
}

static void
do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct request *r = begin(req, OP_GETXATTR, ino);

	r->call.op.name = text(name);
	r->call.op.size = size;
	submit(r);
}

static void
do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request *r = begin(req, OP_LISTXATTR, ino);

	r->call.op.size = size;
	submit(r);
}

static void
do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	remove_name(req, OP_REMOVEXATTR, ino, name);
}

static void
do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_FALLOCATE, ino);

	r->call.op.flags = (uint32_t)mode;
	r->call.op.offset = (uint64_t)offset;
	r->call.op.size = (size_t)length;
	r->call.op.handle = fi->fh;
	submit(r);
}

static void
do_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_LSEEK, ino);

	r->call.op.flags = (uint32_t)whence;
	r->call.op.offset = (uint64_t)offset;
	r->call.op.handle = fi->fh;
	submit(r);
}

const struct fuse_lowlevel_ops request_operations = {
	.lookup = do_lookup, .forget = do_forget, .forget_multi = do_forget_multi,
	.getattr = do_getattr, .setattr = do_setattr, .readlink = do_readlink, .mknod = do_mknod,
	.mkdir = do_mkdir, .symlink = do_symlink, .link = do_link, .unlink = do_unlink, .rmdir = do_rmdir,
	.rename = do_rename, .create = do_create, .open = do_open, .read = do_read, .write = do_write,
	.flush = do_flush, .release = do_release, .fsync = do_fsync, .opendir = do_opendir,
	.readdir = do_readdir, .readdirplus = do_readdirplus, .releasedir = do_releasedir, .fsyncdir = do_fsyncdir, .statfs = do_statfs,
	.setxattr = do_setxattr, .getxattr = do_getxattr, .listxattr = do_listxattr,
	.removexattr = do_removexattr, .fallocate = do_fallocate, .lseek = do_lseek,
};

/* ---- the pool, and interrupts ---- */

struct request *
request_get(struct mount *m)
{
	struct request *r;

	{
		LOCK_SCOPE(&m->lock);
		r = m->pool;
		if (r != NULL)
			m->pool = r->next;
	}
	if (r == NULL)
		r = calloc(1, sizeof *r);
	if (r != NULL) {
		r->mount = m;
		r->call = (struct call){ .park = request_park, .reply = request_reply, .finish = request_finish };
	}
	return r;
}

/* True when a SIGKILL waits for the task, or it is gone. */
static bool
being_killed(pid_t pid)
{
	char path[64], line[256];
	unsigned long long set;
	bool killed = false;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT;
	while (!killed && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "SigPnd: %llx", &set) == 1 || sscanf(line, "ShdPnd: %llx", &set) == 1)
			killed = (set & SIGKILL_BIT) != 0;
	fclose(f);
	return killed;
}

/*
 * A signal that a program handles must not make its write() fail, as it does
 * not on a local disk; but a caller that is killed, or stopped by hand while
 * the server is away, must not hang.
 */
bool
request_judge(struct mount *m)
{
	struct { struct request *r; uint64_t serial; pid_t pid; } some[INTERRUPTED_MAX];
	struct engine_status status;
	char trouble[8];
	size_t n = 0;

	{
		LOCK_SCOPE(&m->lock);
		for (struct request *r = m->interrupted; r != NULL && n < INTERRUPTED_MAX; r = r->next_interrupted) {
			some[n].r = r;
			some[n].serial = r->serial;
			some[n++].pid = r->pid;
		}
	}
	if (n == 0)
		return false;
	shell_status(m->shell, &status, trouble, sizeof trouble);
	for (size_t i = 0; i < n; i++)
		if (!status.attached || being_killed(some[i].pid))
			shell_interrupt(m->shell, &some[i].r->call, some[i].serial);
	return true;
}
