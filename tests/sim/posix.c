/*
 * posix.c - model_apply(): what POSIX lets a call answer.
 *
 * Each operation first collects every error that would be right: where POSIX
 * leaves the order of checks open, any of them will do.  With none, it must
 * have succeeded, and its effect is applied.
 */
#include "tests/sim/model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- judging ---- */

/* The errors that would be right, and what is wrong with the call. */
struct trial {
	struct model		*model;
	const struct call	*call;
	int			 errors[12];
	size_t			 errors_count;
	char			*why;
	size_t			 why_size;
};

__attribute__((format(printf, 2, 3))) static bool
wrong(struct trial *t, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(t->why, t->why_size, format, ap);
	va_end(ap);
	return false;
}

static void
could(struct trial *t, int error)
{
	if (t->errors_count < sizeof t->errors / sizeof *t->errors)
		t->errors[t->errors_count++] = error;
}

static void
could_gone(struct trial *t)
{
	could(t, -ENOENT);
	could(t, -ESTALE);
}

/* 1: failed as it may, no effect; 0: succeeded as it must; -1: wrong. */
static int
outcome(struct trial *t, bool may_succeed)
{
	int error = t->call->error;

	for (size_t i = 0; i < t->errors_count; i++)
		if (t->errors[i] == error)
			return 1;
	if (error == 0 && (t->errors_count == 0 || may_succeed))
		return 0;
	if ((error == -ENOSPC && (t->call->excuses & EXCUSE_NOSPC)) ||
	    ((error == -EIO || error == -ESTALE) && (t->call->excuses & EXCUSE_LOST)) ||
	    (error == -EIO && (t->call->excuses & EXCUSE_DAMAGE)) ||
	    (error == -EHOSTDOWN && (t->call->excuses & EXCUSE_DOWN)) ||
	    (error == -EINTR && (t->call->excuses & EXCUSE_INTR)))
		return 1;
	if (t->errors_count > 0)
		wrong(t, "%s, but expected %s%s", error == 0 ? "ok" : strerrorname_np(-error),
		    strerrorname_np(-t->errors[0]), t->errors_count > 1 ? " or the like" : "");
	else
		wrong(t, "%s, but expected success", strerrorname_np(-error) ? strerrorname_np(-error) : "?");
	return -1;
}

static void
touch(struct trial *t, struct inode *i, bool modified)
{
	struct when now = { t->call->invoked_ns, t->call->done_ns };

	if (t->call->at_ns != 0)
		now = (struct when){ t->call->at_ns, t->call->at_ns };

	if (modified)
		i->mtime = now;
	i->ctime = now;
}

static int64_t
ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static bool
within(struct timespec ts, struct when when)
{
	return ns_of(ts) >= when.low && ns_of(ts) <= when.high;
}

static bool
attr_fits(struct trial *t, const struct inode *i)
{
	const struct attr *a = &t->call->got;

	if (!t->call->has_attr || t->call->attr_unseen)
		return true;
	if (a->mode != i->mode)
		return wrong(t, "mode %o, but expected %o", a->mode, i->mode);
	if (a->nlink != i->nlink)
		return wrong(t, "nlink %u, but expected %u", a->nlink, i->nlink);
	if (a->uid != i->uid || a->gid != i->gid)
		return wrong(t, "owner %u:%u, but expected %u:%u", a->uid, a->gid, i->uid, i->gid);
	if (S_ISREG(i->mode) && a->size != i->size)
		return wrong(t, "size %" PRIu64 ", but expected %" PRIu64, a->size, i->size);
	if (!within(a->mtime, i->mtime))
		return wrong(t, "mtime %" PRId64 " outside %" PRId64 "..%" PRId64, ns_of(a->mtime),
		    i->mtime.low, i->mtime.high);
	if (!within(a->ctime, i->ctime))
		return wrong(t, "ctime %" PRId64 " outside %" PRId64 "..%" PRId64, ns_of(a->ctime),
		    i->ctime.low, i->ctime.high);
	return true;
}

/* A call on an inode by number: NULL when only failure is right (errors are noted). */
static const struct inode *
target(struct trial *t, uint64_t ino, bool *ret_may_succeed)
{
	const struct inode *i = model_find(t->model, ino);

	*ret_may_succeed = i != NULL;
	if (i == NULL || (i->nlink == 0 && (i->opens[t->call->client] == 0 || (t->call->excuses & EXCUSE_ABSENT))))
		could_gone(t);
	return i;
}

/* A directory in which a name is looked for or made. */
static const struct inode *
parent(struct trial *t, uint64_t ino)
{
	const struct inode *i = model_find(t->model, ino);

	if (i == NULL || i->nlink == 0) {
		could_gone(t);
		return NULL;
	}
	if (i->entries == NULL) {
		could(t, -ENOTDIR);
		return NULL;
	}
	return i;
}

static const struct inode *
entry(struct trial *t, const struct inode *dir, uint8_t name)
{
	return dir == NULL || dir->entries[name] == 0 ? NULL : model_find(t->model, dir->entries[name]);
}

static bool
is_empty(const struct inode *dir)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (dir->entries[i] != 0)
			return false;
	return true;
}

/* Whether `ino` is `above` or lies under it. */
static bool
lies_under(const struct model *m, uint64_t ino, uint64_t above)
{
	for (unsigned depth = 0; depth < 1000; depth++) {
		const struct inode *i = model_find(m, ino);

		if (ino == above)
			return true;
		if (i == NULL || ino == OID_ROOT || i->parent == ino)
			return false;
		ino = i->parent;
	}
	return true;
}

/* Takes one name from an inode. */
static void
drop_name(struct trial *t, uint64_t ino)
{
	struct inode *i = model_own(t->model, ino);

	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	touch(t, i, false);
}

/* ---- operations ---- */

static bool
apply_lookup(struct trial *t)
{
	const struct inode *dir = parent(t, t->call->ino);
	const struct inode *child = entry(t, dir, t->call->name);
	int r;

	if (dir != NULL && child == NULL)
		could(t, -ENOENT);
	if ((r = outcome(t, false)) != 0)
		return r > 0;
	if (t->call->child != child->ino)
		return wrong(t, "child %" PRIu64 ", but expected %" PRIu64, t->call->child, child->ino);
	return attr_fits(t, child);
}

static bool
apply_getattr(struct trial *t)
{
	bool may_succeed;
	const struct inode *i = target(t, t->call->ino, &may_succeed);
	int r = outcome(t, may_succeed);

	return r != 0 ? r > 0 : attr_fits(t, i);
}

static void
set_size(struct inode *i, uint64_t size)
{
	if (size < i->size)
		runs_cut(i, size, UINT64_MAX);
	i->size = size;
}

static bool
apply_setattr(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	const struct inode *was = target(t, c->ino, &may_succeed);
	struct inode *i;
	int r;

	if (was != NULL && (c->set & SET_SIZE) && !S_ISREG(was->mode)) {
		could(t, S_ISDIR(was->mode) ? -EISDIR : -EINVAL);
		may_succeed = false;
	}
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	i = model_own(t->model, c->ino);
	if (c->set & SET_MODE)
		i->mode = (i->mode & S_IFMT) | (c->attr.mode & 07777);
	if (c->set & SET_UID)
		i->uid = c->attr.uid;
	if (c->set & SET_GID)
		i->gid = c->attr.gid;
	touch(t, i, (c->set & (SET_SIZE | SET_MTIME_NOW)) != 0);
	if (c->set & SET_SIZE)
		set_size(i, c->attr.size);
	if (c->set & SET_MTIME)
		i->mtime = (struct when){ ns_of(c->attr.mtime), ns_of(c->attr.mtime) };
	return attr_fits(t, i);
}

/* MKNOD, MKDIR, SYMLINK, CREATE */
static bool
apply_make(struct trial *t)
{
	const struct call *c = t->call;
	const struct inode *dir = parent(t, c->ino), *old = entry(t, dir, c->name);
	bool opens = c->type == OP_CREATE, reuse = opens && old != NULL && (c->flags & O_EXCL) == 0;
	uint32_t mode;
	struct inode *i;
	int r;

	if (old != NULL && !reuse)
		could(t, -EEXIST);
	if (reuse && !S_ISREG(old->mode))
		could(t, S_ISDIR(old->mode) ? -EISDIR : -ESTALE);
	if ((r = outcome(t, false)) != 0)
		return r > 0;
	if (reuse) {
		if (c->child != old->ino)
			return wrong(t, "opened %" PRIu64 ", but expected %" PRIu64, c->child, old->ino);
		i = model_own(t->model, old->ino);
		i->opens[c->client]++;
		if (c->flags & O_TRUNC) {
			set_size(i, 0);
			touch(t, i, true);
		}
		return attr_fits(t, i);
	}
	if (c->child == 0 || model_find(t->model, c->child) != NULL)
		return wrong(t, "made inode %" PRIu64 ", which is not new", c->child);
	mode = c->type == OP_MKDIR ? S_IFDIR | (c->attr.mode & 07777) :
	    c->type == OP_SYMLINK ? S_IFLNK | 0777 :
	    c->type == OP_CREATE || (c->attr.mode & S_IFMT) == 0 ? S_IFREG | (c->attr.mode & 07777) : c->attr.mode;
	i = model_add(t->model, c->child, mode, c->op.uid, c->op.gid);
	i->parent = c->ino;
	touch(t, i, true);
	if (c->type == OP_SYMLINK)
		i->target = c->name2;
	if (opens)
		i->opens[c->client]++;
	if (!attr_fits(t, i))
		return false;
	i = model_own(t->model, c->ino);
	i->entries[c->name] = c->child;
	i->nlink += c->type == OP_MKDIR;
	touch(t, i, true);
	return true;
}

static bool
apply_link(struct trial *t)
{
	const struct call *c = t->call;
	const struct inode *dir = parent(t, c->ino2), *from = model_find(t->model, c->ino);
	struct inode *i;
	int r;

	if (from == NULL || from->nlink == 0)
		could_gone(t);
	else if (S_ISDIR(from->mode))
		could(t, -EPERM);
	if (entry(t, dir, c->name) != NULL)
		could(t, -EEXIST);
	if ((r = outcome(t, false)) != 0)
		return r > 0;
	i = model_own(t->model, c->ino);
	i->nlink++;
	touch(t, i, false);
	if (!attr_fits(t, i))
		return false;
	i = model_own(t->model, c->ino2);
	i->entries[c->name] = c->ino;
	touch(t, i, true);
	return true;
}

/* UNLINK, RMDIR */
static bool
apply_remove(struct trial *t)
{
	const struct call *c = t->call;
	const struct inode *dir = parent(t, c->ino), *old = entry(t, dir, c->name);
	bool directory = c->type == OP_RMDIR;
	struct inode *i;
	int r;

	if (dir != NULL && old == NULL)
		could(t, -ENOENT);
	else if (old != NULL && directory != S_ISDIR(old->mode))
		could(t, directory ? -ENOTDIR : -EISDIR);
	else if (old != NULL && directory && !is_empty(old))
		could(t, -ENOTEMPTY);
	if ((r = outcome(t, false)) != 0)
		return r > 0;
	i = model_own(t->model, c->ino);
	drop_name(t, i->entries[c->name]);
	i->entries[c->name] = 0;
	i->nlink -= directory;
	touch(t, i, true);
	return true;
}

static void
rename_errors(struct trial *t, const struct inode *from_dir, const struct inode *to_dir, const struct inode *from,
    const struct inode *to)
{
	const struct call *c = t->call;
	bool exchange = c->flags & RENAME_EXCHANGE;

	if (from_dir == NULL || to_dir == NULL)
		return;
	if (from == NULL || (exchange && to == NULL))
		could(t, -ENOENT);
	if ((c->flags & RENAME_NOREPLACE) && to != NULL)
		could(t, -EEXIST);
	if (from != NULL && S_ISDIR(from->mode) && lies_under(t->model, c->ino2, from->ino))
		could(t, -EINVAL);
	if (to != NULL && S_ISDIR(to->mode) && lies_under(t->model, c->ino, to->ino))
		could(t, exchange ? -EINVAL : -ENOTEMPTY);
	if (from == NULL || to == NULL || exchange || from == to)
		return;
	if (S_ISDIR(from->mode) && !S_ISDIR(to->mode))
		could(t, -ENOTDIR);
	if (!S_ISDIR(from->mode) && S_ISDIR(to->mode))
		could(t, -EISDIR);
	if (S_ISDIR(to->mode) && !is_empty(to))
		could(t, -ENOTEMPTY);
}

/* An inode stands in another directory from now on. */
static void
moved(struct trial *t, uint64_t ino, uint64_t from, uint64_t to)
{
	struct inode *i = model_own(t->model, ino);

	touch(t, i, false);
	if (!S_ISDIR(i->mode))
		return;
	i->parent = to;
	model_own(t->model, from)->nlink--;
	model_own(t->model, to)->nlink++;
}

static bool
apply_rename(struct trial *t)
{
	const struct call *c = t->call;
	const struct inode *from_dir = parent(t, c->ino), *to_dir = parent(t, c->ino2);
	const struct inode *from = entry(t, from_dir, c->name), *to = entry(t, to_dir, c->name2);
	uint64_t moving, replaced;
	int r;

	rename_errors(t, from_dir, to_dir, from, to);
	if ((r = outcome(t, false)) != 0)
		return r > 0;
	if (from == to)
		return true;
	if (c->by_kernel)	/* it found two names of one inode, and asked for nothing (pair.c) */
		return wrong(t, "ok, but expected two names of one inode");
	moving = from->ino;
	replaced = to == NULL ? 0 : to->ino;
	moved(t, moving, c->ino, c->ino2);
	if (replaced != 0 && (c->flags & RENAME_EXCHANGE))
		moved(t, replaced, c->ino2, c->ino);
	else if (replaced != 0) {
		model_own(t->model, c->ino2)->nlink -= S_ISDIR(model_find(t->model, replaced)->mode);
		drop_name(t, replaced);
	}
	model_own(t->model, c->ino)->entries[c->name] = (c->flags & RENAME_EXCHANGE) ? replaced : 0;
	model_own(t->model, c->ino2)->entries[c->name2] = moving;
	touch(t, model_own(t->model, c->ino), true);
	touch(t, model_own(t->model, c->ino2), true);
	return true;
}

static bool
apply_open(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	const struct inode *was = target(t, c->ino, &may_succeed);
	struct inode *i;
	int r;

	if (was != NULL && S_ISDIR(was->mode) != (c->type == OP_OPENDIR)) {
		could(t, c->type == OP_OPENDIR ? -ENOTDIR : -EISDIR);
		may_succeed = false;
	}
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	i = model_own(t->model, c->ino);
	i->opens[c->client]++;
	if (c->type == OP_OPEN && (c->flags & O_TRUNC)) {
		set_size(i, 0);
		touch(t, i, true);
	}
	return true;
}

static bool
apply_release(struct trial *t)
{
	const struct inode *was = model_find(t->model, t->call->ino);

	if (was != NULL && was->opens[t->call->client] > 0)
		model_own(t->model, t->call->ino)->opens[t->call->client]--;
	return true;
}

static bool
apply_read(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	const struct inode *i = target(t, c->ino, &may_succeed);
	size_t expect, same;
	int r = outcome(t, may_succeed);

	if (r != 0)
		return r > 0;
	expect = c->offset >= i->size ? 0 : i->size - c->offset < c->size ? i->size - c->offset : c->size;
	if (c->len != expect)
		return wrong(t, "read %zu bytes, but expected %zu (size %" PRIu64 ")", c->len, expect, i->size);
	if ((same = runs_compare(i, c->offset, c->bytes, c->len)) < c->len)
		return wrong(t, "wrong byte at %" PRIu64, c->offset + same);
	return true;
}

static bool
apply_write(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	uint64_t at;
	struct inode *i;
	int r;

	target(t, c->ino, &may_succeed);
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	if (c->written == 0 || c->written > c->size || (c->written < c->size && !(c->excuses & EXCUSE_NOSPC)))
		return wrong(t, "wrote %" PRIu64 " of %zu", c->written, c->size);
	i = model_own(t->model, c->ino);
	at = (c->flags & O_APPEND) ? i->size : c->offset;
	runs_write(i, (struct run){ at, c->written, c->origin, c->tag });
	if (at + c->written > i->size)
		i->size = at + c->written;
	touch(t, i, true);
	return true;
}

static bool
apply_fallocate(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	struct inode *i;
	int r;

	if (c->error == -EOPNOTSUPP)
		return true;
	target(t, c->ino, &may_succeed);
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	i = model_own(t->model, c->ino);
	if (c->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		runs_cut(i, c->offset, c->offset + c->size);
	if (!(c->flags & FALLOC_FL_KEEP_SIZE) && c->offset + c->size > i->size)
		i->size = c->offset + c->size;
	touch(t, i, true);
	return true;
}

/* Data may be reported where the model has a hole, never the other way round. */
static bool
apply_lseek(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed, data_after = false;
	const struct inode *i = target(t, c->ino, &may_succeed);
	int r;

	if (i == NULL)
		return outcome(t, false) > 0;
	for (size_t n = 0; n < i->runs_count; n++)
		data_after |= i->runs[n].start + i->runs[n].len > c->offset && i->runs[n].start < i->size;
	if (c->offset >= i->size) {
		could(t, -ENXIO);
		may_succeed = false;
	} else if (c->flags == SEEK_DATA && !data_after)
		could(t, -ENXIO);
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	if (c->written < c->offset || c->written > i->size)
		return wrong(t, "sought to %" PRIu64 " of %" PRIu64, c->written, i->size);
	for (size_t n = 0; n < i->runs_count; n++) {
		const struct run *run = &i->runs[n];

		if (c->flags == SEEK_DATA && c->written > c->offset && run->start < c->written &&
		    run->start + run->len > c->offset)
			return wrong(t, "skipped data at %" PRIu64, run->start);
		if (c->flags == SEEK_HOLE && run->start <= c->written && run->start + run->len > c->written)
			return wrong(t, "a hole in data at %" PRIu64, c->written);
	}
	return true;
}

static bool
apply_readlink(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed;
	const struct inode *i = target(t, c->ino, &may_succeed);
	int r;

	if (i != NULL && !S_ISLNK(i->mode)) {
		could(t, -EINVAL);
		may_succeed = false;
	}
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	if (c->len != strlen(name_text(i->target)) || memcmp(c->bytes, name_text(i->target), c->len) != 0)
		return wrong(t, "wrong link target");
	return true;
}

/* What one chunk of a listing shows must be all there is between its first and last offset. */
static bool
apply_readdir(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed, seen[NAMES] = { false };
	const struct inode *dir = target(t, c->ino, &may_succeed);
	uint64_t last = c->offset;
	int r = outcome(t, may_succeed);

	if (r != 0)
		return r > 0;
	for (size_t n = 0; n < c->entries_count; n++) {
		const struct listed *e = &c->entries[n];
		const struct inode *child;

		if (e->name == NAME_NONE)
			return wrong(t, "listed a name nobody made");
		if (e->offset <= last)
			return wrong(t, "listed %s out of order", name_text(e->name));
		last = e->offset;
		if (dir->entries[e->name] != e->ino)
			return wrong(t, "listed %.8s as %" PRIu64 ", but expected %" PRIu64, name_text(e->name), e->ino,
			    dir->entries[e->name]);
		child = model_find(t->model, e->ino);
		if (e->type != (child->mode >> 12))
			return wrong(t, "listed %.8s with type %u", name_text(e->name), e->type);
		seen[e->name] = true;
	}
	for (unsigned i = 0; i < NAMES; i++) {
		uint64_t offset = c->offsets == NULL ? 0 : c->offsets[i];

		if (dir->entries[i] != 0 && !seen[i] && offset > c->offset && (offset <= last || c->listed_end))
			return wrong(t, "did not list %.8s", name_text(i));
	}
	return true;
}

static bool
apply_xattr(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed, set;
	const struct inode *was = target(t, c->ino, &may_succeed);
	struct inode *i;
	int r;

	set = was != NULL && was->xattrs[c->name].set;
	if (was != NULL && ((c->type != OP_SETXATTR && !set) || ((c->flags & XATTR_REPLACE) && !set))) {
		could(t, -ENODATA);
		may_succeed = false;
	}
	if (was != NULL && (c->flags & XATTR_CREATE) && set) {
		could(t, -EEXIST);
		may_succeed = false;
	}
	if ((r = outcome(t, may_succeed)) != 0)
		return r > 0;
	if (c->type == OP_GETXATTR) {
		if (c->len != was->xattrs[c->name].size ||
		    pattern_compare(was->xattrs[c->name].tag, 0, c->bytes, c->len) < c->len)
			return wrong(t, "wrong value of %s", xattr_text(c->name));
		return true;
	}
	i = model_own(t->model, c->ino);
	i->xattrs[c->name].set = c->type == OP_SETXATTR;
	i->xattrs[c->name].tag = c->tag;
	i->xattrs[c->name].size = c->size;
	touch(t, i, false);
	return true;
}

static bool
apply_listxattr(struct trial *t)
{
	const struct call *c = t->call;
	bool may_succeed, seen[XATTRS] = { false };
	const struct inode *i = target(t, c->ino, &may_succeed);
	int r = outcome(t, may_succeed);

	if (r != 0)
		return r > 0;
	for (size_t at = 0; at < c->len; ) {
		size_t len = strnlen((char *)c->bytes + at, c->len - at);
		uint8_t n = xattr_number((struct bytes){ c->bytes + at, len });

		if (n == NAME_NONE || seen[n] || !i->xattrs[n].set)
			return wrong(t, "listed attribute %.*s", (int)len, (char *)c->bytes + at);
		seen[n] = true;
		at += len + 1;
	}
	for (unsigned n = 0; n < XATTRS; n++)
		if (i->xattrs[n].set && !seen[n])
			return wrong(t, "did not list attribute %s", xattr_text(n));
	return true;
}

/* Flushes of all kinds change nothing; whether they kept their promise shows after a crash. */
static bool
apply_nothing(struct trial *t)
{
	bool may_succeed = true;

	if (t->call->ino != 0)
		target(t, t->call->ino, &may_succeed);
	may_succeed |= (t->call->excuses & EXCUSE_TOLD) || ((t->call->excuses & EXCUSE_LOST) && t->call->type == OP_FLUSH);
	return outcome(t, may_succeed) >= 0;
}

bool
model_apply(struct model *m, const struct call *c, char *why, size_t size)
{
	static bool (*const apply[OP_COUNT])(struct trial *) = {
		[OP_LOOKUP] = apply_lookup, [OP_GETATTR] = apply_getattr, [OP_SETATTR] = apply_setattr,
		[OP_READLINK] = apply_readlink, [OP_MKNOD] = apply_make, [OP_MKDIR] = apply_make,
		[OP_SYMLINK] = apply_make, [OP_CREATE] = apply_make, [OP_LINK] = apply_link,
		[OP_UNLINK] = apply_remove, [OP_RMDIR] = apply_remove, [OP_RENAME] = apply_rename,
		[OP_OPEN] = apply_open, [OP_OPENDIR] = apply_open, [OP_RELEASE] = apply_release,
		[OP_RELEASEDIR] = apply_release, [OP_READ] = apply_read, [OP_WRITE] = apply_write,
		[OP_FALLOCATE] = apply_fallocate, [OP_LSEEK] = apply_lseek, [OP_READDIR] = apply_readdir,
		[OP_GETXATTR] = apply_xattr, [OP_SETXATTR] = apply_xattr, [OP_REMOVEXATTR] = apply_xattr,
		[OP_LISTXATTR] = apply_listxattr, [OP_FLUSH] = apply_nothing, [OP_FSYNC] = apply_nothing,
		[OP_FSYNCDIR] = apply_nothing, [OP_SYNC] = apply_nothing, [OP_STATFS] = apply_nothing,
	};
	struct model *before = model_copy(m);
	struct trial t = { .model = m, .call = c, .why = why, .why_size = size };
	bool fits = apply[c->type](&t);

	if (!fits) {
		struct model spoilt = *m;

		*m = *before;
		*before = spoilt;
	}
	model_free(before);
	return fits;
}
