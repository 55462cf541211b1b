/*
 * mount.c - see mount.h.
 *
 * A request is taken from a pool and never freed while mounted, so that an
 * interrupt which comes too late finds memory it can judge.  Its life:
 *
 *	spare	a FUSE thread holds it for the next request it will read
 *	running	inside shell_submit()
 *	parked	names and data moved to its own memory; the interrupt
 *		function is set, and only then `armed`: a reply that came
 *		before is left to the thread that arms
 *	done	answered; back in the pool, or spare again
 *
 * m->lock guards the pool, `armed`, `ready` and the list of interrupted
 * requests; it is never held across a call of libfuse or the shell.
 *
 * libfuse before 3.17.1 does not tell the kernel PARALLEL_DIROPS and knows
 * no HANDLE_KILLPRIV_V2: device_writev() adds both to the reply to INIT.
 */
#include "fs/mount.h"
#include "fs/mount_locks.h"
#include "fs/shell.h"	/* before <sys/mount.h>, whose BLOCK_SIZE is a macro */

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/lock.h"

enum {
	THREADS		= 4,
	PARK_COPY_MAX	= 16 * 1024,		/* larger requests give their buffer away */
	BLOCK_SHOWN	= 64 * 1024,		/* st_blksize */
	TIMEOUT_S	= 3600,			/* of what is cacheable: until we say otherwise */
	EPOCH_MINOR	= 44,			/* protocol that has FUSE_NOTIFY_INC_EPOCH */
	NOTIFY_INC_EPOCH = 8,
	INTERRUPTED_MAX	= 64,			/* judged at one tick */
	ROOT		= 1,
};
#define SIGKILL_BIT	(1ull << (9 - 1))

struct mount;
struct request {
	struct call		 call;		/* first */
	struct mount		*mount;
	fuse_req_t		 req;
	pid_t			 pid;
	uint64_t		 serial;
	void			*kept;		/* memory of a parked request */
	bool			 parked, armed, ready, interrupted;
	struct request		*next;		/* in the pool */
	struct request		*next_interrupted;
};

struct mount {
	pthread_mutex_t		 lock;
	struct request		*pool, *interrupted;

	const struct mount_options *options;
	struct fuse_session	*session;
	struct shell		*shell;
	struct mount_locks	*locks;		/* NULL: left to the kernel */
	_Atomic bool		 mounted;
	uint64_t		 init_unique;	/* of the INIT request; 0 once answered */
	uint32_t		 kernel_minor;
	unsigned		 count;
	pthread_t		 threads[THREADS];
};

/* What one FUSE thread has at hand; libfuse gives its callbacks no context of a thread. */
struct hand {
	struct mount		*mount;
	struct request		*spare;
	struct fuse_buf		 buf;
};
static _Thread_local struct hand *hand;

static const uint8_t zeros[64 * 1024];

static uint64_t
oid_of(fuse_ino_t ino)
{
	return ino == ROOT ? OID_ROOT : ino;
}

static fuse_ino_t
ino_of(uint64_t oid)
{
	return oid == OID_ROOT ? ROOT : oid;
}

/* ---- answers ---- */

static double
attr_timeout(const struct op *op)
{
	return op->cacheable && op->type != OP_LINK ? TIMEOUT_S : 0;
}

static double
entry_timeout(const struct mount *m, const struct op *op)
{
	if (!op->cacheable)
		return 0;
	return m->kernel_minor >= EPOCH_MINOR ? TIMEOUT_S : 1;
}

static void
fill_stat(const struct mount *m, uint64_t oid, const struct attr *attr, struct stat *to)
{
	*to = (struct stat){
		.st_ino = ino_of(oid), .st_mode = attr->mode, .st_nlink = attr->nlink,
		.st_uid = m->options->raw_ids ? attr->uid : m->options->uid,
		.st_gid = m->options->raw_ids ? attr->gid : m->options->gid,
		.st_rdev = attr->rdev, .st_size = (off_t)attr->size, .st_blksize = BLOCK_SHOWN,
		.st_blocks = (blkcnt_t)((attr->size + 511) / 512),
		.st_atim = attr->atime, .st_mtim = attr->mtime, .st_ctim = attr->ctime,
	};
}

static void
fill_entry(const struct mount *m, const struct op *op, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){ .ino = ino_of(op->child),
	    .attr_timeout = attr_timeout(op), .entry_timeout = entry_timeout(m, op) };
	fill_stat(m, op->child, &op->attr, &e->attr);
}

static void
fill_file(const struct mount *m, const struct op *op, struct fuse_file_info *fi)
{
	/* A close gives back ranges that the process locked, through other handles too. */
	*fi = (struct fuse_file_info){ .fh = op->handle, .keep_cache = op->keep_cache, .direct_io = op->direct_io,
	    .noflush = m->locks == NULL && (op->flags & O_ACCMODE) == O_RDONLY };
}

static void
answer_entry(struct request *r)
{
	struct op *op = &r->call.op;
	struct fuse_entry_param e;

	fill_entry(r->mount, op, &e);
	/* The caller is gone and the kernel did not count this lookup. */
	if (fuse_reply_entry(r->req, &e) == -ENOENT)
		shell_forget(r->mount->shell, &(struct forget){ op->child, 1 }, 1);
}

static bool
abandoned_reply(struct call *c)
{
	(void)c;
	return true;
}

static void
abandoned_finish(struct call *c)
{
	free(c);
}

/* A file that was opened for nobody. */
static void
abandon(struct mount *m, enum op_type type, uint64_t oid, uint64_t handle, uint32_t flags)
{
	struct call *c = calloc(1, sizeof *c);
	uint64_t serial;

	if (c == NULL)
		return;
	*c = (struct call){ .op = { .type = type, .ino = oid, .handle = handle, .flags = flags },
	    .reply = abandoned_reply, .finish = abandoned_finish };
	if (shell_submit(m->shell, c, &serial))
		shell_replied(m->shell, c);
}

static void
answer_create(struct request *r)
{
	struct op *op = &r->call.op;
	struct fuse_entry_param e;
	struct fuse_file_info fi;

	fill_entry(r->mount, op, &e);
	fill_file(r->mount, op, &fi);
	if (fuse_reply_create(r->req, &e, &fi) == -ENOENT) {
		abandon(r->mount, OP_RELEASE, op->child, op->handle, op->flags);
		shell_forget(r->mount->shell, &(struct forget){ op->child, 1 }, 1);
	}
}

static void
answer_open(struct request *r)
{
	struct op *op = &r->call.op;
	struct fuse_file_info fi;

	fill_file(r->mount, op, &fi);
	if (fuse_reply_open(r->req, &fi) == -ENOENT)
		abandon(r->mount, op->type == OP_OPEN ? OP_RELEASE : OP_RELEASEDIR, op->ino, op->handle, op->flags);
}

static void
answer_attr(struct request *r)
{
	struct op *op = &r->call.op;
	struct stat st;

	fill_stat(r->mount, op->ino, &op->attr, &st);
	fuse_reply_attr(r->req, &st, attr_timeout(op));
}

static void
answer_error(struct request *r)
{
	fuse_reply_err(r->req, -r->call.op.error);
}

static void
answer_written(struct request *r)
{
	fuse_reply_write(r->req, r->call.op.written);
}

static void
answer_lseek(struct request *r)
{
	fuse_reply_lseek(r->req, (off_t)r->call.op.written);
}

static size_t
pieces_len(const struct op *op)
{
	size_t len = 0;

	for (size_t i = 0; i < op->pieces_count; i++)
		len += op->pieces[i].len;
	return len;
}

/* One run of bytes, with a zero behind it; the caller frees it. */
static uint8_t *
pieces_flat(const struct op *op)
{
	uint8_t *flat = calloc(1, pieces_len(op) + 1), *at = flat;

	for (size_t i = 0; flat != NULL && i < op->pieces_count; at += op->pieces[i++].len)
		if (op->pieces[i].data != NULL)
			memcpy(at, op->pieces[i].data, op->pieces[i].len);
	return flat;
}

static void
answer_flat(struct request *r)
{
	struct op *op = &r->call.op;
	uint8_t *flat = pieces_flat(op);

	if (flat == NULL)
		fuse_reply_err(r->req, ENOMEM);
	else if (op->type == OP_READLINK)
		fuse_reply_readlink(r->req, (char *)flat);
	else
		fuse_reply_buf(r->req, (char *)flat, pieces_len(op));
	free(flat);
}

static void
answer_xattr(struct request *r)
{
	struct op *op = &r->call.op;
	size_t len = pieces_len(op);

	if (op->size == 0)
		fuse_reply_xattr(r->req, len);
	else if (len > op->size)
		fuse_reply_err(r->req, ERANGE);
	else
		answer_flat(r);
}

static void
answer_read(struct request *r)
{
	enum { IOV_SOME = 256 };
	struct op *op = &r->call.op;
	struct iovec iov[IOV_SOME];
	size_t left, n, count = 0;

	for (size_t i = 0; i < op->pieces_count; i++) {
		const struct piece *p = &op->pieces[i];

		for (left = p->len; left > 0; left -= n, count++) {
			if (count == IOV_SOME) {
				answer_flat(r);
				return;
			}
			n = p->data == NULL && left > sizeof zeros ? sizeof zeros : left;
			iov[count] = (struct iovec){ (void *)(uintptr_t)(p->data != NULL ? p->data : zeros), n };
		}
	}
	fuse_reply_iov(r->req, iov, (int)count);
}

static void
answer_readdir(struct request *r)
{
	struct op *op = &r->call.op;
	uint8_t *buf = malloc(op->size);
	size_t at = 0, need;

	if (buf == NULL) {
		fuse_reply_err(r->req, ENOMEM);
		return;
	}
	for (size_t i = 0; i < op->entries_count; i++) {
		const struct dirent_out *from = &op->entries[i];
		struct fuse_dirent *to = (struct fuse_dirent *)(buf + at);

		need = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + from->name_len);
		if (at + need > op->size)
			break;
		memset((uint8_t *)to + need - 8, 0, 8);
		to->ino = ino_of(from->ino);
		to->off = from->offset;
		to->namelen = from->name_len;
		to->type = from->type;
		memcpy(to->name, from->name, from->name_len);
		at += need;
	}
	fuse_reply_buf(r->req, (char *)buf, at);
	free(buf);
}

static void
answer_statfs(struct request *r)
{
	struct op *op = &r->call.op;
	struct statvfs v = { .f_bsize = BLOCK_SHOWN, .f_frsize = 4096, .f_namemax = NAME_MAX_BYTES,
	    .f_blocks = op->space.total_bytes / 4096, .f_bfree = op->space.free_bytes / 4096,
	    .f_bavail = op->space.free_bytes / 4096, .f_files = op->space.objects,
	    .f_ffree = op->space.free_bytes / 4096, .f_favail = op->space.free_bytes / 4096 };

	v.f_files += v.f_ffree;
	fuse_reply_statfs(r->req, &v);
}

/* What a well-done operation is answered with; the others with their error, or 0. */
static void (*const answers[OP_COUNT])(struct request *r) = {
	[OP_LOOKUP] = answer_entry, [OP_MKNOD] = answer_entry, [OP_MKDIR] = answer_entry,
	[OP_SYMLINK] = answer_entry, [OP_LINK] = answer_entry, [OP_CREATE] = answer_create,
	[OP_GETATTR] = answer_attr, [OP_SETATTR] = answer_attr, [OP_READLINK] = answer_flat,
	[OP_OPEN] = answer_open, [OP_OPENDIR] = answer_open, [OP_READ] = answer_read,
	[OP_WRITE] = answer_written, [OP_READDIR] = answer_readdir, [OP_STATFS] = answer_statfs,
	[OP_GETXATTR] = answer_xattr, [OP_LISTXATTR] = answer_xattr, [OP_LSEEK] = answer_lseek,
};

static void
answer(struct request *r)
{
	struct op *op = &r->call.op;

	if (op->error == -ENOENT && op->type == OP_LOOKUP && op->cacheable) {
		/* The kernel remembers that the name is not there. */
		fuse_reply_entry(r->req, &(struct fuse_entry_param){ .entry_timeout = entry_timeout(r->mount, op) });
	} else if (op->error != 0 || answers[op->type] == NULL) {
		answer_error(r);
	} else {
		answers[op->type](r);
	}
}

/* ---- a request's life ---- */

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
	const uint8_t *from = hand->buf.mem;
	size_t size = hand->buf.size;

	r->parked = true;
	r->kept = size <= PARK_COPY_MAX ? malloc(size) : NULL;
	if (r->kept == NULL) {
		r->kept = hand->buf.mem;
		hand->buf.mem = NULL;		/* libfuse gets itself another */
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

	LOCK_SCOPE(&m->lock);
	if (r->req != req || r->interrupted)
		return;
	r->interrupted = true;
	r->next_interrupted = m->interrupted;
	m->interrupted = r;
}

/* The spare request, made ready for `req`. */
static struct request *
begin(fuse_req_t req, enum op_type type, fuse_ino_t ino)
{
	struct request *r = hand->spare;
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
	return r;
}

static void
submit(struct request *r)
{
	struct shell *s = r->mount->shell;
	bool ready;

	if (shell_submit(s, &r->call, &r->serial)) {
		answer(r);
		shell_replied(s, &r->call);
		return;
	}
	hand->spare = NULL;
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
	shell_forget(hand->mount->shell, &(struct forget){ oid_of(ino), n }, 1);
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
			shell_forget(hand->mount->shell, some, n);
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
	struct request *r = begin(req, OP_SETATTR, ino);
	struct op *op = &r->call.op;

	/* The first ten bits are the same; ours are named in engine.h. */
	op->set = (uint32_t)set & (SET_MODE | SET_UID | SET_GID | SET_SIZE | SET_ATIME | SET_MTIME |
	    SET_ATIME_NOW | SET_MTIME_NOW);
	if (set & FUSE_SET_ATTR_CTIME)
		op->set |= SET_CTIME;
	if (set & (FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID))
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
	mount_locks_flush(hand->mount->locks, ino, fi);
	with_handle(req, OP_FLUSH, ino, fi, 0);
}

static void
do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	mount_locks_release(hand->mount->locks, ino, fi);
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
	with_handle(req, ino == ROOT ? OP_SYNC : OP_FSYNCDIR, ino, fi, (uint32_t)datasync);
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
do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct request *r = begin(req, OP_READDIR, ino);

	r->call.op.size = size;
	r->call.op.offset = (uint64_t)offset;
	r->call.op.handle = fi->fh;
	submit(r);
}

static void
do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
    struct fuse_file_info *fi)
{
	const struct fuse_write_in *in = (const void *)((uint8_t *)hand->buf.mem + sizeof(struct fuse_in_header));
	struct request *r = begin(req, OP_WRITE, ino);
	struct op *op = &r->call.op;

	op->data = (struct bytes){ (const uint8_t *)data, size };
	op->size = size;
	op->offset = (uint64_t)offset;
	op->handle = fi->fh;
	/* libfuse hides this flag of HANDLE_KILLPRIV_V2. */
	op->set = in->write_flags & FUSE_WRITE_KILL_SUIDGID ? SET_KILL_SUID : 0;
	submit(r);
}

static void
do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	submit(begin(req, OP_STATFS, ino != 0 ? ino : ROOT));
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

static void
do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
	    FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
	    FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want |= conn->capable & (FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ASYNC_READ);
	conn->max_write = 1024 * 1024;
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	conn->time_gran = 1;
}

struct mount_locks *
mount_locks_of(fuse_req_t req)
{
	return ((struct mount *)fuse_req_userdata(req))->locks;
}

static const struct fuse_lowlevel_ops operations = {
	.init = do_init, .lookup = do_lookup, .forget = do_forget, .forget_multi = do_forget_multi,
	.getattr = do_getattr, .setattr = do_setattr, .readlink = do_readlink, .mknod = do_mknod,
	.mkdir = do_mkdir, .symlink = do_symlink, .link = do_link, .unlink = do_unlink, .rmdir = do_rmdir,
	.rename = do_rename, .create = do_create, .open = do_open, .read = do_read, .write = do_write,
	.flush = do_flush, .release = do_release, .fsync = do_fsync, .opendir = do_opendir,
	.readdir = do_readdir, .releasedir = do_releasedir, .fsyncdir = do_fsyncdir, .statfs = do_statfs,
	.setxattr = do_setxattr, .getxattr = do_getxattr, .listxattr = do_listxattr,
	.removexattr = do_removexattr, .fallocate = do_fallocate, .lseek = do_lseek,
};

/* ---- the device ---- */

static ssize_t
device_read(int fd, void *to, size_t len, void *userdata)
{
	struct mount *m = userdata;
	ssize_t n = read(fd, to, len);
	const struct fuse_in_header *h = to;

	if (m->kernel_minor == 0 && n >= (ssize_t)(sizeof *h + sizeof(struct fuse_init_in)) &&
	    h->opcode == FUSE_INIT) {
		m->kernel_minor = ((const struct fuse_init_in *)(h + 1))->minor;
		m->init_unique = h->unique;
	}
	return n;
}

static ssize_t
device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct mount *m = userdata;
	const struct fuse_out_header *h = iov[0].iov_base;

	if (m->init_unique != 0 && h->unique == m->init_unique && count == 2 && h->error == 0 &&
	    iov[1].iov_len >= offsetof(struct fuse_init_out, max_write)) {
		((struct fuse_init_out *)iov[1].iov_base)->flags |= FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2;
		m->init_unique = 0;
	}
	return writev(fd, iov, count);
}

static int
forget_all_names(void *context)
{
	const struct fuse_out_header notice = { .len = sizeof notice, .error = NOTIFY_INC_EPOCH };
	struct mount *m = context;

	if (!m->mounted)
		return 0;
	if (m->kernel_minor < EPOCH_MINOR) {
		sleep(1);	/* no name is kept longer than that */
		return 0;
	}
	return write(fuse_session_fd(m->session), &notice, sizeof notice) < 0 ? -errno : 0;
}

static int
forget_one_inode(void *context, uint64_t oid, bool pages)
{
	struct mount *m = context;

	if (!m->mounted)
		return 0;
	return fuse_lowlevel_notify_inval_inode(m->session, ino_of(oid), pages ? 0 : -1, 0);
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
static void
tick(void *context)
{
	struct { struct request *r; uint64_t serial; pid_t pid; } some[INTERRUPTED_MAX];
	struct mount *m = context;
	struct engine_status status;
	char trouble[8];
	size_t n = 0;

	if (!m->mounted)
		return;
	mount_locks_tick(m->locks);
	{
		LOCK_SCOPE(&m->lock);
		for (struct request *r = m->interrupted; r != NULL && n < INTERRUPTED_MAX; r = r->next_interrupted) {
			some[n].r = r;
			some[n].serial = r->serial;
			some[n++].pid = r->pid;
		}
	}
	if (n == 0)
		return;
	shell_status(m->shell, &status, trouble, sizeof trouble);
	for (size_t i = 0; i < n; i++)
		if (!status.attached || being_killed(some[i].pid))
			shell_interrupt(m->shell, &some[i].r->call, some[i].serial);
}

const struct kernel_calls mount_kernel_calls = { forget_all_names, forget_one_inode, tick };

/* ---- threads ---- */

static struct request *
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

static void *
fuse_main(void *argument)
{
	struct hand own = { .mount = argument };
	struct fuse_session *session = own.mount->session;
	int n;

	hand = &own;
	while (!fuse_session_exited(session)) {
		while (own.spare == NULL && (own.spare = request_get(own.mount)) == NULL)
			usleep(10000);
		n = fuse_session_receive_buf(session, &own.buf);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(session, &own.buf);
	}
	fuse_session_exit(session);
	free(own.spare);
	free(own.buf.mem);
	return NULL;
}

int
mount_new(struct mount **ret, const struct mount_options *options)
{
	struct mount *m = calloc(1, sizeof *m);

	if (m == NULL)
		return -ENOMEM;
	lock_init(&m->lock);
	m->options = options;
	*ret = m;
	return 0;
}

static char mount_said[256];	/* libfuse explains itself only to a function without context */

static void
hear_libfuse(enum fuse_log_level level, const char *format, va_list ap)
{
	if (level <= FUSE_LOG_WARNING)
		vsnprintf(mount_said, sizeof mount_said, format, ap);
	mount_said[strcspn(mount_said, "\n")] = '\0';
}

int
mount_start(struct mount *m, struct shell *shell, char *why, size_t size)
{
	static const struct fuse_custom_io io = { .writev = device_writev, .read = device_read };
	const struct mount_options *o = m->options;
	struct fuse_lowlevel_ops ops = operations;
	char options[512];
	char *argv[] = { "nuage", "-o", options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	int r;

	m->shell = shell;
	fuse_set_log_func(hear_libfuse);
	snprintf(options, sizeof options, "default_permissions,fsname=%s,subtype=nuage%s%s%s", o->source,
	    o->read_only ? ",ro" : "", o->allow_other ? ",allow_other" : "", o->noatime ? ",noatime" : "");
	if (!o->local_locks) {
		mount_locks_install(&ops);
		r = mount_locks_new(&m->locks, shell);
		if (r < 0) {
			snprintf(why, size, "%s", strerror(-r));
			return r;
		}
	}
	m->session = fuse_session_new(&args, &ops, sizeof ops, m);
	if (m->session == NULL) {
		snprintf(why, size, "%s", mount_said[0] != '\0' ? mount_said : "libfuse refuses to start");
		return -EINVAL;
	}
	if (fuse_session_mount(m->session, o->directory) != 0) {
		snprintf(why, size, "%s: %s", o->directory,
		    mount_said[0] != '\0' ? mount_said : "the kernel refuses to mount");
		return -EPERM;
	}
	m->mounted = true;
	r = fuse_session_custom_io(m->session, &io, fuse_session_fd(m->session));
	if (r < 0) {
		snprintf(why, size, "libfuse: %s", strerror(-r));
		return r;
	}
	for (; m->count < THREADS; m->count++)
		if (pthread_create(&m->threads[m->count], NULL, fuse_main, m) != 0)
			break;
	if (m->count == 0) {
		snprintf(why, size, "no thread can be started");
		return -EAGAIN;
	}
	return 0;
}

void
mount_wait(struct mount *m)
{
	for (unsigned i = 0; i < m->count; i++)
		pthread_join(m->threads[i], NULL);
	m->count = 0;
	m->mounted = false;
}

void
mount_detach(struct mount *m)
{
	pid_t pid;

	if (umount2(m->options->directory, MNT_DETACH) == 0)
		return;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-q", "-u", "-z", "--", m->options->directory, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void
mount_abort(struct mount *m)
{
	/* Readers of the device see the end; what the kernel still asks fails with ENOTCONN. */
	fuse_session_exit(m->session);
	mount_detach(m);
}

void
mount_free(struct mount *m)
{
	struct request *r;

	if (m == NULL)
		return;
	if (m->session != NULL) {
		if (m->mounted)
			fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
	}
	mount_locks_free(m->locks);
	while ((r = m->pool) != NULL) {
		m->pool = r->next;
		free(r);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}
