/*
 * answer.c - what the kernel is told when an operation is done.
 *
 * What is cacheable the kernel may keep for as long as the engine says, or until
 * we say otherwise (notifier.h); the rest it asks for again.  A caller that went away makes the reply fail
 * with ENOENT: what the reply would have given it is taken back.
 */
#include "fs/mount_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "fs/delay.h"

enum {
	BLOCK_SHOWN	= 64 * 1024,		/* st_blksize */
	TIMEOUT_MS	= 3600 * 1000,		/* of what is cacheable, at most */
};

static const uint8_t zeros[64 * 1024];

/* In seconds, as libfuse wants it. */
static double
attr_timeout(const struct op *op, bool cacheable)
{
	uint32_t ms = op->keep_ms < TIMEOUT_MS ? op->keep_ms : TIMEOUT_MS;

	return cacheable ? ms / 1000.0 : 0;
}

static double
name_timeout(const struct mount *m, const struct op *op, bool cacheable)
{
	double s = attr_timeout(op, cacheable);

	return m->kernel_minor >= MOUNT_EPOCH_MINOR || s < 1 ? s : 1;
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
	    .attr_timeout = attr_timeout(op, op->cacheable),
	    .entry_timeout = name_timeout(m, op, op->name_cacheable) };
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
	*c = (struct call){ .op = { .type = type, .ino = oid, .handle = handle, .flags = flags, .own = true },
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
	fuse_reply_attr(r->req, &st, attr_timeout(op, op->cacheable));
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
fill_child(const struct mount *m, const struct op *op, const struct dirent_out *from, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){ .attr = { .st_ino = ino_of(from->ino), .st_mode = DTTOIF(from->type) } };
	if (from->attr == NULL)
		return;
	e->ino = ino_of(from->ino);
	e->attr_timeout = attr_timeout(op, from->cacheable);
	e->entry_timeout = name_timeout(m, op, from->name_cacheable);
	fill_stat(m, from->ino, from->attr, &e->attr);
}

static void
answer_readdir(struct request *r)
{
	struct op *op = &r->call.op;
	char *buf = malloc(op->size + 1);
	struct fuse_entry_param e;
	size_t at = 0;

	for (size_t i = 0; buf != NULL && i < op->entries_count; i++) {
		const struct dirent_out *from = &op->entries[i];

		fill_child(r->mount, op, from, &e);
		/* The engine has counted what fits. */
		at += op->plus ? fuse_add_direntry_plus(r->req, buf + at, op->size - at, from->name, &e, (off_t)from->offset) :
		    fuse_add_direntry(r->req, buf + at, op->size - at, from->name, &e.attr, (off_t)from->offset);
	}
	if ((buf == NULL ? fuse_reply_err(r->req, ENOMEM) : fuse_reply_buf(r->req, buf, at)) == -ENOENT || buf == NULL)
		for (size_t i = 0; i < op->entries_count; i++)
			if (op->entries[i].attr != NULL)
				shell_forget(r->mount->shell, &(struct forget){ op->entries[i].ino, 1 }, 1);
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

void
answer(struct request *r)
{
	struct op *op = &r->call.op;

	DELAY_OP("reply", op->type);
	/* Before the writer goes on, and could run what it wrote. Attributes alone: nothing is waited for. */
	if (op->killed && op->type != OP_SETATTR && r->mount->mounted)
		fuse_lowlevel_notify_inval_inode(r->mount->session, ino_of(op->ino), -1, 0);
	if (op->error == -ENOENT && op->type == OP_LOOKUP && op->name_cacheable) {
		/* The kernel remembers that the name is not there. */
		fuse_reply_entry(r->req, &(struct fuse_entry_param){
		    .entry_timeout = name_timeout(r->mount, op, op->name_cacheable) });
	} else if (op->error != 0 || answers[op->type] == NULL) {
		answer_error(r);
	} else {
		answers[op->type](r);
	}
}
