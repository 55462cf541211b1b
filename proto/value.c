/*
 * value.c - see value.h.
 *
 * All integers big-endian; every value begins with its format, 1.
 *
 *	ATTR	u8 format, u32 mode, u32 uid, u32 gid, u32 nlink, u64 size,
 *		u64 rdev, u32 flags, 4 x (i64 seconds, u32 nanoseconds) for
 *		atime, mtime, ctime, btime, 32 reserved, u16 length, target
 *	ENTRY	u8 format, u8 type, u8 length, name, zeros to a multiple of 64
 *	PARENT	u8 format, u64 oid
 *	REGION	u8 format, u8 count, count x (u32 offset, u32 length,
 *		u32 offset in the block, u8 reference)
 *	XATTR	u8 format, u8 length, name, u16 length, value
 *	INLINE	u8 format, content
 *	META	u8 format, u32 incompat, u32 ro_compat, u64 created
 *
 * A value comes from another member of the volume, who may be hostile or
 * newer: what the kernel must not see (a name with a slash, an extent outside
 * its region) stops here.  Unknown attribute flags pass, and reserved bytes
 * are not looked at: META's feature flags say when they matter.
 */
#include "proto/value.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FORMAT		= 1,
	ATTR_RESERVED	= 32,
	ENTRY_PAD	= 64,
};

static const long nanoseconds = 1000 * 1000 * 1000;

static ssize_t
encoded(const struct cursor *c)
{
	return cursor_ok(c) ? (ssize_t)c->pos : -EMSGSIZE;
}

/* 0 with the cursor behind the format byte, or why the value cannot be read. */
static int
begin(struct cursor *c, struct bytes from)
{
	*c = cursor_read(from.data, from.len);
	if (from.len == 0)
		return -EBADMSG;
	return cursor_get_u8(c) == FORMAT ? 0 : -ENOTSUP;
}

static int
decoded(const struct cursor *c, bool valid)
{
	return cursor_done(c) && valid ? 0 : -EBADMSG;
}

/* ---- ATTR ---- */

static bool
attr_valid(const struct attr *attr)
{
	const struct timespec *times[] = { &attr->atime, &attr->mtime, &attr->ctime, &attr->btime };

	for (size_t i = 0; i < sizeof times / sizeof *times; i++)
		if (times[i]->tv_nsec < 0 || times[i]->tv_nsec >= nanoseconds)
			return false;
	switch (attr->mode & S_IFMT) {
	case S_IFREG: case S_IFDIR: case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		if (attr->symlink.len != 0)
			return false;
		break;
	case S_IFLNK:
		if (attr->symlink.len == 0 || attr->symlink.len > SYMLINK_MAX ||
		    memchr(attr->symlink.data, 0, attr->symlink.len) != NULL)
			return false;
		break;
	default:
		return false;
	}
	return attr->mode >> 16 == 0 && attr->size <= INT64_MAX;
}

static void
put_time(struct cursor *c, const struct timespec *t)
{
	cursor_put_u64(c, (uint64_t)t->tv_sec);
	cursor_put_u32(c, t->tv_nsec);
}

static struct timespec
get_time(struct cursor *c)
{
	struct timespec t;

	t.tv_sec = (int64_t)cursor_get_u64(c);
	t.tv_nsec = cursor_get_u32(c);
	return t;
}

ssize_t
attr_encode(const struct attr *attr, uint8_t *to, size_t size)
{
	static const uint8_t reserved[ATTR_RESERVED];
	struct cursor c = cursor_over(to, size);

	if (!attr_valid(attr))
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, attr->mode);
	cursor_put_u32(&c, attr->uid);
	cursor_put_u32(&c, attr->gid);
	cursor_put_u32(&c, attr->nlink);
	cursor_put_u64(&c, attr->size);
	cursor_put_u64(&c, attr->rdev);
	cursor_put_u32(&c, attr->flags);
	put_time(&c, &attr->atime);
	put_time(&c, &attr->mtime);
	put_time(&c, &attr->ctime);
	put_time(&c, &attr->btime);
	cursor_put(&c, reserved, sizeof reserved);
	cursor_put_u16(&c, attr->symlink.len);
	cursor_put(&c, attr->symlink.data, attr->symlink.len);
	return encoded(&c);
}

int
attr_decode(struct attr *attr, struct bytes from)
{
	struct attr a = { 0 };
	struct cursor c;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	a.mode = cursor_get_u32(&c);
	a.uid = cursor_get_u32(&c);
	a.gid = cursor_get_u32(&c);
	a.nlink = cursor_get_u32(&c);
	a.size = cursor_get_u64(&c);
	a.rdev = cursor_get_u64(&c);
	a.flags = cursor_get_u32(&c);
	a.atime = get_time(&c);
	a.mtime = get_time(&c);
	a.ctime = get_time(&c);
	a.btime = get_time(&c);
	cursor_get_bytes(&c, ATTR_RESERVED);
	a.symlink = cursor_get_bytes(&c, cursor_get_u16(&c));
	if ((r = decoded(&c, attr_valid(&a))) == 0)
		*attr = a;
	return r;
}

/* ---- ENTRY and PARENT ---- */

/* What may stand in a directory; ".", ".." and paths would lead the kernel astray. */
static bool
name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > NAME_MAX_BYTES ||
	    memchr(name.data, 0, name.len) != NULL || memchr(name.data, '/', name.len) != NULL)
		return false;
	return !(name.data[0] == '.' && (name.len == 1 || (name.len == 2 && name.data[1] == '.')));
}

ssize_t
entry_encode(struct bytes name, uint8_t type, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);
	size_t pad;
	uint8_t *zeros;

	if (!name_valid(name))
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u8(&c, type);
	cursor_put_u8(&c, name.len);
	cursor_put(&c, name.data, name.len);
	pad = (ENTRY_PAD - c.pos % ENTRY_PAD) % ENTRY_PAD;
	if ((zeros = cursor_reserve(&c, pad)) != NULL)
		memset(zeros, 0, pad);
	return encoded(&c);
}

int
entry_decode(struct bytes *name, uint8_t *type, struct bytes from)
{
	struct bytes n;
	struct cursor c;
	uint8_t t, padding = 0;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	t = cursor_get_u8(&c);
	n = cursor_get_bytes(&c, cursor_get_u8(&c));
	if (cursor_left(&c) >= ENTRY_PAD)
		return -EBADMSG;
	while (cursor_left(&c) > 0)
		padding |= cursor_get_u8(&c);
	r = decoded(&c, padding == 0 && from.len % ENTRY_PAD == 0 && name_valid(n));
	if (r == 0) {
		*name = n;
		*type = t;
	}
	return r;
}

ssize_t
parent_encode(uint64_t oid, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);

	if (oid == 0)
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u64(&c, oid);
	return encoded(&c);
}

int
parent_decode(uint64_t *oid, struct bytes from)
{
	struct cursor c;
	uint64_t o;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	o = cursor_get_u64(&c);
	if ((r = decoded(&c, o != 0)) == 0)
		*oid = o;
	return r;
}

/* ---- REGION ---- */

/* `end` is where the extent before this one ends. */
static bool
extent_valid(const struct extent *e, uint32_t end)
{
	return e->length > 0 && e->offset >= end && e->offset < REGION_SIZE &&
	    e->length <= REGION_SIZE - e->offset &&
	    e->block_offset < BLOCK_SIZE && e->length <= BLOCK_SIZE - e->block_offset &&
	    e->ref < REFS_MAX;
}

ssize_t
region_encode(const struct extent *extents, size_t count, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);
	uint32_t end = 0;

	if (count > EXTENTS_MAX)
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u8(&c, count);
	for (const struct extent *e = extents; e < extents + count; e++) {
		if (!extent_valid(e, end))
			return -EINVAL;
		cursor_put_u32(&c, e->offset);
		cursor_put_u32(&c, e->length);
		cursor_put_u32(&c, e->block_offset);
		cursor_put_u8(&c, e->ref);
		end = e->offset + e->length;
	}
	return encoded(&c);
}

int
region_decode(struct extent *extents, size_t *count, struct bytes from)
{
	struct cursor c;
	uint32_t end = 0;
	size_t n;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	n = cursor_get_u8(&c);
	if (n > EXTENTS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		struct extent e;

		e.offset = cursor_get_u32(&c);
		e.length = cursor_get_u32(&c);
		e.block_offset = cursor_get_u32(&c);
		e.ref = cursor_get_u8(&c);
		if (!extent_valid(&e, end))
			return -EBADMSG;
		extents[i] = e;
		end = e.offset + e.length;
	}
	if ((r = decoded(&c, true)) == 0)
		*count = n;
	return r;
}

/* ---- XATTR, INLINE, META ---- */

static bool
xattr_valid(struct bytes name, struct bytes value)
{
	return name.len > 0 && name.len <= NAME_MAX_BYTES &&
	    memchr(name.data, 0, name.len) == NULL && value.len <= XATTR_VALUE_MAX;
}

ssize_t
xattr_encode(struct bytes name, struct bytes value, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);

	if (!xattr_valid(name, value))
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u8(&c, name.len);
	cursor_put(&c, name.data, name.len);
	cursor_put_u16(&c, value.len);
	cursor_put(&c, value.data, value.len);
	return encoded(&c);
}

int
xattr_decode(struct bytes *name, struct bytes *value, struct bytes from)
{
	struct bytes n, v;
	struct cursor c;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	n = cursor_get_bytes(&c, cursor_get_u8(&c));
	v = cursor_get_bytes(&c, cursor_get_u16(&c));
	if ((r = decoded(&c, xattr_valid(n, v))) == 0) {
		*name = n;
		*value = v;
	}
	return r;
}

ssize_t
inline_encode(struct bytes content, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);

	if (content.len > INLINE_MAX)
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put(&c, content.data, content.len);
	return encoded(&c);
}

int
inline_decode(struct bytes *content, struct bytes from)
{
	struct bytes b;
	struct cursor c;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	b = cursor_get_bytes(&c, cursor_left(&c));
	if ((r = decoded(&c, b.len <= INLINE_MAX)) == 0)
		*content = b;
	return r;
}

ssize_t
meta_encode(const struct meta *meta, uint8_t *to, size_t size)
{
	struct cursor c = cursor_over(to, size);

	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, meta->incompat);
	cursor_put_u32(&c, meta->ro_compat);
	cursor_put_u64(&c, meta->created_s);
	return encoded(&c);
}

int
meta_decode(struct meta *meta, struct bytes from)
{
	struct meta m;
	struct cursor c;
	int r = begin(&c, from);

	if (r < 0)
		return r;
	m.incompat = cursor_get_u32(&c);
	m.ro_compat = cursor_get_u32(&c);
	m.created_s = cursor_get_u64(&c);
	if ((r = decoded(&c, true)) == 0)
		*meta = m;
	return r;
}
