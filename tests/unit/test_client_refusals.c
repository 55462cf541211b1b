/*
 * test_client_refusals.c - what a mount refuses by itself: names, sizes, flags
 * and kinds that do not do, each by its errno, and nothing has changed.
 */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static struct whole all;
static struct mount *const here = &all.mounts[0];
static uint64_t f, d, s, gone_dir, gone_file, open_dir, open_file;
static char longer[SYMLINK_MAX + 2], value[XATTR_VALUE_MAX + 1];

static struct op
run(struct op op)
{
	op.error = mount_do(here, &op);
	return op;
}

#define does(...) run((struct op){ __VA_ARGS__ })
#define NAMED(text) .name = { (const uint8_t *)(text), sizeof (text) - 1 }
#define NAMED2(text) .name2 = { (const uint8_t *)(text), sizeof (text) - 1 }
#define LONG(size) { (const uint8_t *)longer, (size) }
#define refuses(error_, what, ...) do { \
	struct op op_ = does(__VA_ARGS__); \
	ok(op_.error == -(error_), "%s: %s", what, op_.error == 0 ? "done" : strerrorname_np(-op_.error)); \
} while (0)

static void
begin(void)
{
	whole_init(&all);
	if (mount_start(here, NULL) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	f = does(.type = OP_MKNOD, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644).child;
	d = does(.type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	s = does(.type = OP_SYMLINK, .ino = OID_ROOT, NAMED("s"), NAMED2("target")).child;
	gone_dir = does(.type = OP_MKDIR, .ino = OID_ROOT, NAMED("x"), .attr.mode = 0755).child;
	gone_file = does(.type = OP_MKNOD, .ino = OID_ROOT, NAMED("y"), .attr.mode = S_IFREG | 0644).child;
	open_dir = does(.type = OP_OPENDIR, .ino = gone_dir).handle;
	open_file = does(.type = OP_OPEN, .ino = gone_file, .flags = O_RDWR).handle;
	does(.type = OP_RMDIR, .ino = OID_ROOT, NAMED("x"));
	does(.type = OP_UNLINK, .ino = OID_ROOT, NAMED("y"));
	does(.type = OP_SYNC);
}

static void
test_names(void)
{
	static const struct bytes bad[] = { { (const uint8_t *)"", 0 }, LONG(NAME_MAX_BYTES + 1) };
	static const int errors[] = { ENOENT, ENAMETOOLONG };

	for (unsigned i = 0; i < 2; i++) {
		refuses(errors[i], "a look-up", .type = OP_LOOKUP, .ino = OID_ROOT, .name = bad[i]);
		refuses(errors[i], "a file", .type = OP_MKNOD, .ino = OID_ROOT, .name = bad[i], .attr.mode = S_IFREG);
		refuses(errors[i], "a link", .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, .name = bad[i]);
		refuses(errors[i], "a name removed", .type = OP_UNLINK, .ino = OID_ROOT, .name = bad[i]);
		refuses(errors[i], "a name moved", .type = OP_RENAME, .ino = OID_ROOT, .name = bad[i], .ino2 = OID_ROOT, NAMED2("g"));
		refuses(errors[i], "moved to one", .type = OP_RENAME, .ino = OID_ROOT, NAMED("f"), .ino2 = OID_ROOT, .name2 = bad[i]);
	}
	refuses(ENAMETOOLONG, "a target", .type = OP_SYMLINK, .ino = OID_ROOT, NAMED("t"), .name2 = LONG(SYMLINK_MAX + 1));
	refuses(EINVAL, "flags of a rename", .type = OP_RENAME, .ino = OID_ROOT, NAMED("f"), .ino2 = OID_ROOT, NAMED2("g"), .flags = 4);
	refuses(EPERM, "a link to a directory", .type = OP_LINK, .ino = d, .ino2 = OID_ROOT, NAMED("e"));
	refuses(EEXIST, "a name that is taken", .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, NAMED("s"));
	refuses(ENOENT, "a link into a removed directory", .type = OP_LINK, .ino = f, .ino2 = gone_dir, NAMED("e"));
	refuses(ENOENT, "a link to a removed file", .type = OP_LINK, .ino = gone_file, .ino2 = OID_ROOT, NAMED("e"));
	refuses(ENOENT, "a rename into one", .type = OP_RENAME, .ino = OID_ROOT, NAMED("f"), .ino2 = gone_dir, NAMED2("e"));
	refuses(ENOENT, "a file in one", .type = OP_MKNOD, .ino = gone_dir, NAMED("e"), .attr.mode = S_IFREG);
	refuses(ENOENT, "a name that is not there", .type = OP_UNLINK, .ino = OID_ROOT, NAMED("none"));
	refuses(EISDIR, "a directory unlinked", .type = OP_UNLINK, .ino = OID_ROOT, NAMED("d"));
	refuses(ENOTDIR, "a file removed as one", .type = OP_RMDIR, .ino = OID_ROOT, NAMED("f"));
}

static void
test_content(void)
{
	uint64_t h = does(.type = OP_OPEN, .ino = f, .flags = O_RDWR).handle;

	refuses(EOPNOTSUPP, "another fallocate", .type = OP_FALLOCATE, .ino = f, .handle = h, .size = 1, .flags = 64);
	refuses(EINVAL, "of nothing", .type = OP_FALLOCATE, .ino = f, .handle = h);
	refuses(EINVAL, "beyond 64 bits", .type = OP_FALLOCATE, .ino = f, .handle = h, .offset = UINT64_MAX, .size = 2);
	refuses(EINVAL, "beyond 63", .type = OP_FALLOCATE, .ino = f, .handle = h, .offset = INT64_MAX, .size = 1);
	refuses(ENODEV, "of a directory", .type = OP_FALLOCATE, .ino = d, .size = 1);
	refuses(EFBIG, "a write beyond 63 bits", .type = OP_WRITE, .ino = f, .handle = h, .offset = INT64_MAX,
	    .data = { (const uint8_t *)"xy", 2 });
	refuses(EFBIG, "beyond 64", .type = OP_WRITE, .ino = f, .handle = h, .offset = UINT64_MAX, .data = { (const uint8_t *)"xy", 2 });
	refuses(EFBIG, "a size", .type = OP_SETATTR, .ino = f, .set = SET_SIZE, .attr.size = UINT64_MAX);
	ok(does(.type = OP_GETATTR, .ino = f).attr.size == 0, "and the file is as empty as before");
	refuses(ENXIO, "data behind the end", .type = OP_LSEEK, .ino = f, .handle = h, .offset = 5, .flags = SEEK_DATA);
	does(.type = OP_RELEASE, .ino = f, .handle = h);
	refuses(ENOTDIR, "a list of a file", .type = OP_READDIR, .ino = f, .size = 1000);
	h = does(.type = OP_OPENDIR, .ino = OID_ROOT).handle;
	ok(does(.type = OP_READDIR, .ino = OID_ROOT, .handle = h, .size = 1000, .offset = UINT64_MAX).error == 0 && here->told_len == 0,
	    "a list has nothing behind its end");
	does(.type = OP_RELEASEDIR, .ino = OID_ROOT, .handle = h);
	refuses(ENOSYS, "an operation that is none", .type = OP_COUNT, .ino = f);
}

static void
test_attributes(void)
{
	static const struct bytes names[] = { { (const uint8_t *)"user.", 5 }, { (const uint8_t *)"trusted.x", 9 },
	    { (const uint8_t *)"x", 1 } };

	for (unsigned i = 0; i < 3; i++) {
		refuses(EOPNOTSUPP, "an attribute of others", .type = OP_SETXATTR, .ino = f, .name = names[i]);
		ok(does(.type = OP_GETXATTR, .ino = f, .name = names[i], .size = 9).error < 0, "there is none");
		ok(does(.type = OP_REMOVEXATTR, .ino = f, .name = names[i]).error < 0, "to be removed");
	}
	memcpy(longer, "user.", 5);
	refuses(ERANGE, "a long name", .type = OP_SETXATTR, .ino = f, .name = LONG(NAME_MAX_BYTES + 1));
	refuses(ENOSPC, "a large value", .type = OP_SETXATTR, .ino = f, NAMED("user.a"),
	    .data = { (const uint8_t *)value, XATTR_VALUE_MAX + 1 });
	refuses(ENODATA, "one that is not there", .type = OP_GETXATTR, .ino = f, NAMED("user.a"), .size = 9);
	refuses(ENODATA, "replaced", .type = OP_SETXATTR, .ino = f, NAMED("user.a"), .flags = 2);
	does(.type = OP_SETXATTR, .ino = f, NAMED("user.a"), .data = { (const uint8_t *)"abc", 3 });
	refuses(EEXIST, "made again", .type = OP_SETXATTR, .ino = f, NAMED("user.a"), .flags = 1);
	ok(does(.type = OP_SETATTR, .ino = f, .set = SET_CTIME | SET_MODE, .attr.mode = 0600, .attr.ctime.tv_sec = 5).attr.ctime.tv_sec == 5,
	    "a change time that is given is taken");
}

/* Whoever has nothing may free it. */
static void
test_nothing(void)
{
	engine_free(NULL);
	action_free(NULL);
	commit_put(NULL);
	ok(true, "nothing is freed");
}

int
main(void)
{
	memset(longer, 'x', sizeof longer);
	begin();
	test_names();
	test_content();
	test_attributes();
	test_nothing();
	does(.type = OP_RELEASEDIR, .ino = gone_dir, .handle = open_dir);
	does(.type = OP_RELEASE, .ino = gone_file, .handle = open_file);
	ok(does(.type = OP_SYNC).error == 0 && whole_sane(&all), "the invariants hold");
	whole_done(&all);
	return tap_done();
}
