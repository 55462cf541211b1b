/* test_value.c - record values come back as they were; what a decoder must refuse, it refuses. */
#include "proto/value.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

#define TEXT(s) ((struct bytes){ (const uint8_t *)(s), sizeof (s) - 1 })

static uint8_t space[VALUE_MAX];

static struct bytes
value(ssize_t len)
{
	return (struct bytes){ space, len < 0 ? 0 : len };
}

static bool
same(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* One decoder of each kind behind one type, to try the same damage on all. */
static int
as_attr(struct bytes b)
{
	struct attr a;

	return attr_decode(&a, b);
}

static int
as_entry(struct bytes b)
{
	struct bytes name;
	uint8_t type;

	return entry_decode(&name, &type, b);
}

static int
as_parent(struct bytes b)
{
	uint64_t oid;

	return parent_decode(&oid, b);
}

static int
as_region(struct bytes b)
{
	struct extent e[EXTENTS_MAX];
	size_t count;

	return region_decode(e, &count, b);
}

static int
as_xattr(struct bytes b)
{
	struct bytes name, v;

	return xattr_decode(&name, &v, b);
}

static int
as_inline(struct bytes b)
{
	struct bytes content;

	return inline_decode(&content, b);
}

static int
as_meta(struct bytes b)
{
	struct meta m;

	return meta_decode(&m, b);
}

/* space[] holds `len` bytes of a good value; `open_ended` values have no end of their own. */
static void
check_damage(const char *what, int (*decode)(struct bytes), ssize_t len, bool open_ended)
{
	bool refused = true;

	ok(len > 0 && decode(value(len)) == 0, "%s decodes", what);
	for (ssize_t cut = open_ended ? 0 : len - 1; cut >= 0; cut--)
		refused &= decode(value(cut)) == -EBADMSG;
	ok(refused, "every truncation of %s is refused", what);
	if (!open_ended) {
		space[len] = 0;
		ok(decode(value(len + 1)) == -EBADMSG, "a trailing byte after %s is refused", what);
	}
	space[0] = 2;
	ok(decode(value(len)) == -ENOTSUP, "%s of an unknown format is not supported", what);
	space[0] = 1;
}

static void
test_attr(void)
{
	struct attr a = { .mode = S_IFREG | 0644, .uid = 1000, .gid = 100, .nlink = 2,
	    .size = UINT64_C(1) << 40, .rdev = 0x801, .flags = ATTR_INLINE,
	    .atime = { -1, 999999999 }, .mtime = { 2, 0 }, .ctime = { 3, 1 }, .btime = { 4, 2 } }, b;
	char target[SYMLINK_MAX + 1];
	ssize_t len = attr_encode(&a, space, sizeof space);

	ok(attr_decode(&b, value(len)) == 0 && b.mode == a.mode && b.uid == a.uid && b.gid == a.gid &&
	    b.nlink == a.nlink && b.size == a.size && b.rdev == a.rdev && b.flags == a.flags &&
	    b.atime.tv_sec == -1 && b.atime.tv_nsec == 999999999 && b.mtime.tv_sec == 2 &&
	    b.ctime.tv_nsec == 1 && b.btime.tv_sec == 4 && b.symlink.len == 0, "attributes come back");
	check_damage("ATTR", as_attr, len, false);
	ok(attr_encode(&a, space, len - 1) == -EMSGSIZE, "attributes need their room");

	a.mtime.tv_nsec = 1000000000;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a second has a thousand million nanoseconds");
	a.mtime.tv_nsec = 0;
	a.mode = 0644;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a file has a type");
	a.mode = 0x10000 | S_IFREG | 0644;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a mode has sixteen bits");
	a.mode = S_IFREG | 0644;
	a.size = UINT64_C(1) << 63;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a size fits off_t");
	a.size = 0;
	a.symlink = TEXT("target");
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a regular file has no target");

	memset(target, 't', sizeof target);
	a.mode = S_IFLNK | 0777;
	a.symlink = (struct bytes){ (uint8_t *)target, SYMLINK_MAX };
	len = attr_encode(&a, space, sizeof space);
	ok(attr_decode(&b, value(len)) == 0 && same(a.symlink, b.symlink), "the longest target comes back");
	check_damage("ATTR of a symbolic link", as_attr, len, false);
	a.symlink.len++;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a longer target is refused");
	a.symlink.len = 0;
	ok(attr_encode(&a, space, sizeof space) == -EINVAL, "a symbolic link has a target");
}

static void
test_reserved(void)
{
	struct attr a = { .mode = S_IFDIR | 0755 }, b;
	ssize_t len = attr_encode(&a, space, sizeof space);

	memset(space + len - 2 - 32, 0xff, 32);
	ok(attr_decode(&b, value(len)) == 0, "a newer client's reserved bytes do not stop an older one");
	memset(space + len - 2 - 32 - 4, 0xff, 4);
	ok(attr_decode(&b, value(len)) == -EBADMSG, "nanoseconds are checked when decoding too");
}

static void
test_entry(void)
{
	char name[NAME_MAX_BYTES + 1];
	struct bytes longest = { (uint8_t *)name, NAME_MAX_BYTES }, back;
	uint8_t type;
	ssize_t len, lengths[2];

	memset(name, 'n', sizeof name);
	for (size_t n = 1; n <= NAME_MAX_BYTES; n++) {
		struct bytes b = { (uint8_t *)name, n };

		len = entry_encode(b, n % 16, space, sizeof space);
		if (len < 0 || len % 64 != 0 || entry_decode(&back, &type, value(len)) < 0 ||
		    !same(b, back) || type != n % 16)
			ok(false, "a name of %zu bytes comes back", n);
	}
	ok(true, "names of every length come back, padded to 64");
	check_damage("ENTRY", as_entry, len, false);
	space[len - 1] = 1;
	ok(as_entry(value(len)) == -EBADMSG, "padding is zero");
	longest.len++;
	ok(entry_encode(longest, 8, space, sizeof space) == -EINVAL, "a longer name is refused");
	lengths[0] = entry_encode(TEXT("a"), 8, space, sizeof space);
	lengths[1] = entry_encode(TEXT("a much longer name"), 8, space, sizeof space);
	ok(lengths[0] == lengths[1], "the length hides the name's");
	memset(space + 64, 0, 64);
	ok(as_entry(value(128)) == -EBADMSG, "more padding than needed is refused");

	ok(entry_encode(TEXT(""), 8, space, sizeof space) == -EINVAL &&
	    entry_encode(TEXT("."), 8, space, sizeof space) == -EINVAL &&
	    entry_encode(TEXT(".."), 8, space, sizeof space) == -EINVAL &&
	    entry_encode(TEXT("a/b"), 8, space, sizeof space) == -EINVAL &&
	    entry_encode(TEXT("a\0b"), 8, space, sizeof space) == -EINVAL, "no entry leads elsewhere");
	len = entry_encode(TEXT("..."), 8, space, sizeof space);
	ok(as_entry(value(len)) == 0, "three dots are a name");
	space[2] = 2;
	space[5] = 0;
	ok(as_entry(value(len)) == -EBADMSG, "a hostile member's .. is refused");
	memcpy(space + 3, "a/", 2);
	ok(as_entry(value(len)) == -EBADMSG, "a hostile member's slash is refused");
	ok(entry_encode(TEXT("abc"), 8, space, 63) == -EMSGSIZE, "an entry needs room for its padding");
}

static void
test_region(void)
{
	struct extent e[EXTENTS_MAX + 1], back[EXTENTS_MAX];
	size_t count = 0;
	ssize_t len;
	bool all = true;

	for (unsigned i = 0; i <= EXTENTS_MAX; i++)
		e[i] = (struct extent){ i * 1000, 1000 - i, 7 * i, i % REFS_MAX };
	len = region_encode(e, EXTENTS_MAX, space, sizeof space);
	ok(region_decode(back, &count, value(len)) == 0 && count == EXTENTS_MAX, "a full region comes back");
	for (unsigned i = 0; i < EXTENTS_MAX; i++)
		all &= back[i].offset == e[i].offset && back[i].length == e[i].length &&
		    back[i].block_offset == e[i].block_offset && back[i].ref == e[i].ref;
	ok(all, "with every extent");
	check_damage("REGION", as_region, len, false);
	ok(region_encode(e, EXTENTS_MAX + 1, space, sizeof space) == -EINVAL, "one extent more is refused");
	ok(region_encode(e, 2, space, 20) == -EMSGSIZE, "a region needs its room");
	ok(region_encode(e, 0, space, sizeof space) == 2 && as_region(value(2)) == 0, "a region may be a hole");

	const struct { const char *what; struct extent e[2]; } bad[] = {
		{ "an empty extent", { { 0, 1, 0, 0 }, { 1, 0, 0, 0 } } },
		{ "an overlap", { { 0, 2, 0, 0 }, { 1, 2, 0, 0 } } },
		{ "a wrong order", { { 5, 2, 0, 0 }, { 1, 2, 0, 0 } } },
		{ "an end beyond the region", { { 0, 2, 0, 0 }, { 2, REGION_SIZE - 1, 0, 0 } } },
		{ "a start beyond the region", { { 0, 2, 0, 0 }, { REGION_SIZE, 1, 0, 0 } } },
		{ "a length that wraps", { { 0, 2, 0, 0 }, { 2, UINT32_MAX, 0, 0 } } },
		{ "an end beyond the block", { { 0, 2, 0, 0 }, { 2, 2, BLOCK_SIZE - 1, 0 } } },
		{ "a reference beyond the limit", { { 0, 2, 0, 0 }, { 2, 2, 0, REFS_MAX } } },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct cursor c = cursor_over(space, sizeof space);

		cursor_put_u8(&c, 1);
		cursor_put_u8(&c, 2);
		for (int k = 0; k < 2; k++) {
			cursor_put_u32(&c, bad[i].e[k].offset);
			cursor_put_u32(&c, bad[i].e[k].length);
			cursor_put_u32(&c, bad[i].e[k].block_offset);
			cursor_put_u8(&c, bad[i].e[k].ref);
		}
		ok(as_region(value(c.pos)) == -EBADMSG, "%s is not decoded", bad[i].what);
		ok(region_encode(bad[i].e, 2, space, sizeof space) == -EINVAL, "%s is not encoded", bad[i].what);
	}
	e[0] = (struct extent){ 0, REGION_SIZE, 0, 0 };
	len = region_encode(e, 1, space, sizeof space);
	ok(as_region(value(len)) == 0, "one extent can be the whole region");
}

static void
test_rest(void)
{
	static uint8_t big[INLINE_MAX + 1];
	struct bytes name, v, content;
	struct meta m = { .incompat = 1, .ro_compat = 0x80000000, .created_s = UINT64_C(1) << 40 }, n;
	uint64_t oid;
	ssize_t len;

	len = parent_encode(UINT64_MAX, space, sizeof space);
	ok(parent_decode(&oid, value(len)) == 0 && oid == UINT64_MAX, "a parent comes back");
	check_damage("PARENT", as_parent, len, false);
	ok(parent_encode(0, space, sizeof space) == -EINVAL, "no object has the id 0");

	memset(big, 0xa5, sizeof big);
	len = xattr_encode(TEXT("user.x"), (struct bytes){ big, XATTR_VALUE_MAX }, space, sizeof space);
	ok(xattr_decode(&name, &v, value(len)) == 0 && same(name, TEXT("user.x")) &&
	    same(v, (struct bytes){ big, XATTR_VALUE_MAX }), "the largest attribute comes back");
	check_damage("XATTR", as_xattr, len, false);
	ok(xattr_encode(TEXT("user.x"), (struct bytes){ big, XATTR_VALUE_MAX + 1 }, space, sizeof space) == -EINVAL,
	    "a larger one is refused");
	ok(xattr_encode(TEXT(""), v, space, sizeof space) == -EINVAL, "so is one without a name");
	len = xattr_encode(TEXT("user.x"), TEXT(""), space, sizeof space);
	ok(xattr_decode(&name, &v, value(len)) == 0 && v.len == 0, "an empty attribute comes back");

	len = inline_encode((struct bytes){ big, INLINE_MAX }, space, sizeof space);
	ok(inline_decode(&content, value(len)) == 0 && same(content, (struct bytes){ big, INLINE_MAX }),
	    "the largest small file comes back");
	ok(inline_encode((struct bytes){ big, INLINE_MAX + 1 }, space, sizeof space) == -EINVAL, "a larger one is refused");
	space[len] = 0;
	ok(as_inline(value(len + 1)) == -EBADMSG, "a larger one is not decoded");
	len = inline_encode((struct bytes){ NULL, 0 }, space, sizeof space);
	ok(inline_decode(&content, value(len)) == 0 && content.len == 0, "an empty one comes back");
	check_damage("INLINE", as_inline, len, true);

	len = meta_encode(&m, space, sizeof space);
	ok(meta_decode(&n, value(len)) == 0 && n.incompat == m.incompat && n.ro_compat == m.ro_compat &&
	    n.created_s == m.created_s, "a volume's settings come back");
	check_damage("META", as_meta, len, false);
}

int
main(void)
{
	test_attr();
	test_reserved();
	test_entry();
	test_region();
	test_rest();
	return tap_done();
}
