/*
 * test_client_memory.c - every allocation of the client engine's fails once:
 * an operation is done all the same or fails with ENOMEM and has changed
 * nothing, the invariants hold, and in the end all that was answered is on
 * the server.
 *
 * Linked with --wrap for the allocator; what the server, the journal's file
 * and the test allocate does not fail.  Each script is run once for each of
 * its allocations, and for spells that begin there in which several fail in a
 * row: the first ones are met by what is set aside.  `test_client_memory SCRIPT N
 * SPELL` shows one run.
 */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

/* ---- the allocator ---- */

static struct {
	bool		armed;
	bool		none;		/* all fail */
	unsigned	count, fail_at;	/* allocations since the start; the first that fails */
	unsigned	spell;		/* so many in a row fail */
} allocator;

/* For a debugger to stop at. */
static __attribute__((noinline)) bool
failing(void)
{
	return true;
}

static bool
fails(void)
{
	if (!whole_in_engine || !(allocator.none || allocator.armed))
		return false;
	allocator.count += allocator.armed;
	return (allocator.none || (allocator.count >= allocator.fail_at && allocator.count - allocator.fail_at < allocator.spell)) &&
	    failing();
}

#include "tests/unit/wrap_alloc.h"

char *__real_strndup(const char *s, size_t size);
char *__wrap_strndup(const char *s, size_t size);

char *
__wrap_strndup(const char *s, size_t size)
{
	return fails() ? NULL : __real_strndup(s, size);
}

/* ---- operations ---- */

enum { LARGE = 300000 };
#define NEVER UINT_MAX

static struct whole all;
static struct mount *const here = &all.mounts[0], *const there = &all.mounts[1], *const judge = &all.mounts[2];
static uint8_t large[LARGE];
static bool fine;		/* so far, in this run */

static void
wrong(const char *what, int got, int line)
{
	if (fine)
		printf("# line %d: %s: %s\n", line, what, got < 0 ? strerrorname_np(-got) : "not so");
	fine = false;
}

#define expect(cond) do { if (!(cond)) wrong(#cond, 0, __LINE__); } while (0)

/* Once more as long as there is no memory; what it answers then is what counts. */
static struct op
run(struct mount *m, struct op op, int error, int line)
{
	struct op first = op;
	int r = mount_do(m, &op);

	for (unsigned i = 0; r == -ENOMEM && allocator.count >= allocator.fail_at && i < allocator.spell; i++) {
		op = first;
		r = mount_do(m, &op);
	}
	if (r != error)
		wrong("an operation's answer", r == 0 ? -ENOMSG : r, line);
	/* Before the first failure all is as in the run in which nothing fails. */
	if (fine && (allocator.fail_at == NEVER || allocator.count >= allocator.fail_at) && !whole_sane(&all))
		wrong("invariants", 0, line);
	return op;
}

#define done(m, ...) run(m, (struct op){ __VA_ARGS__ }, 0, __LINE__)
#define refused(m, error, ...) run(m, (struct op){ __VA_ARGS__ }, -(error), __LINE__)
#define NAMED(text) .name = { (const uint8_t *)(text), sizeof (text) - 1 }
#define NAMED2(text) .name2 = { (const uint8_t *)(text), sizeof (text) - 1 }
#define BYTES(from, size) .data = { (const uint8_t *)(from), size }

static bool
told(const struct mount *m, const void *what, size_t len)
{
	return m->told_len == len && memcmp(m->told, what, len) == 0;
}

static uint64_t
find(struct mount *m, uint64_t dir, const char *name)
{
	return run(m, (struct op){ .type = OP_LOOKUP, .ino = dir, .name = { (const uint8_t *)name, strlen(name) } }, 0, __LINE__).child;
}

/* All of a file as a mount sees it. */
static void
content(struct mount *m, uint64_t ino)
{
	struct op op = done(m, .type = OP_OPEN, .ino = ino, .flags = O_RDONLY);
	uint64_t handle = op.handle;

	done(m, .type = OP_READ, .ino = ino, .handle = handle, .size = 2 * LARGE);
	done(m, .type = OP_RELEASE, .ino = ino, .handle = handle);
}

/* All names of a directory; one answer may hold only some. */
static void
list(struct mount *m, uint64_t ino)
{
	uint64_t handle = done(m, .type = OP_OPENDIR, .ino = ino).handle, at = 0;
	static uint8_t names[LARGE];
	size_t len = 0;

	do {
		at = done(m, .type = OP_READDIR, .ino = ino, .handle = handle, .offset = at, .size = 65536, .plus = true).offset;
		memcpy(names + len, m->told, m->told_len);
		len += m->told_len;
	} while (m->told_len > 0);
	done(m, .type = OP_RELEASEDIR, .ino = ino, .handle = handle);
	memcpy(m->told, names, m->told_len = len);
}

/* ---- scripts ---- */

static void
names(void)
{
	uint64_t d = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	uint64_t f = done(here, .type = OP_MKNOD, .ino = d, NAMED("f"), .attr.mode = S_IFREG | 0644).child;
	uint64_t g, e;

	done(here, .type = OP_SYMLINK, .ino = d, NAMED("s"), NAMED2("target"));
	done(here, .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, NAMED("f2"));
	done(here, .type = OP_SETXATTR, .ino = f, NAMED("user.a"), BYTES("value", 5));
	done(here, .type = OP_FSYNCDIR, .ino = OID_ROOT);
	g = done(here, .type = OP_MKNOD, .ino = d, NAMED("g"), .attr.mode = S_IFREG | 0600).child;
	done(here, .type = OP_RENAME, .ino = d, NAMED("g"), .ino2 = OID_ROOT, NAMED2("f2"));
	done(here, .type = OP_RENAME, .ino = d, NAMED("f"), .ino2 = OID_ROOT, NAMED2("f3"), .flags = RENAME_NOREPLACE);
	e = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("e"), .attr.mode = 0755).child;
	if (mount_do(here, &(struct op){ .type = OP_RENAME, .ino = OID_ROOT, NAMED("e"), .ino2 = d, NAMED2("e") }) < 0) {
		/* It did not move at all, so that the other may move into it. */
		done(here, .type = OP_RENAME, .ino = OID_ROOT, NAMED("d"), .ino2 = e, NAMED2("d"));
		done(here, .type = OP_RENAME, .ino = e, NAMED("d"), .ino2 = OID_ROOT, NAMED2("d"));
		done(here, .type = OP_RENAME, .ino = OID_ROOT, NAMED("e"), .ino2 = d, NAMED2("e"));
	}
	refused(here, ENOTEMPTY, .type = OP_RMDIR, .ino = OID_ROOT, NAMED("d"));
	done(here, .type = OP_RMDIR, .ino = d, NAMED("e"));
	done(here, .type = OP_SETATTR, .ino = g, .set = SET_MODE, .attr.mode = 0444);
	done(here, .type = OP_REMOVEXATTR, .ino = f, NAMED("user.a"));
	done(here, .type = OP_SETXATTR, .ino = f, NAMED("user.b"), BYTES("w", 1));
	done(here, .type = OP_LISTXATTR, .ino = f, .size = 100);
	expect(told(here, "user.b", 7));
	list(here, OID_ROOT);
	done(here, .type = OP_SYNC);
	list(judge, OID_ROOT);
	expect(judge->told_len == strlen("./../d/f2/f3/"));
	expect(find(judge, OID_ROOT, "f2") == g && find(judge, OID_ROOT, "f3") == f);
	done(judge, .type = OP_READLINK, .ino = find(judge, d, "s"));
	expect(told(judge, "target", 6));
	expect(done(judge, .type = OP_GETATTR, .ino = g).attr.mode == (S_IFREG | 0444));
	done(judge, .type = OP_GETXATTR, .ino = f, NAMED("user.b"), .size = 10);
	expect(told(judge, "w", 1));
}

static void
bytes_of_files(void)
{
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle, g, hg;
	static uint8_t should[LARGE];

	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("small", 5));
	done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES(large, LARGE));
	done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = 1000, BYTES("patch", 5));
	done(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = 200000, BYTES("more", 4));
	done(here, .type = OP_READ, .ino = f, .handle = h, .offset = 998, .size = 9);
	expect(here->told_len == 9 && memcmp(here->told + 2, "patch", 5) == 0);
	done(here, .type = OP_FALLOCATE, .ino = f, .handle = h, .offset = 70000, .size = 70000,
	    .flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	done(here, .type = OP_SETATTR, .ino = f, .handle = h, .set = SET_SIZE, .attr.size = LARGE - 100);
	done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	done(here, .type = OP_SETATTR, .ino = f, .set = SET_SIZE, .attr.size = LARGE);
	expect(done(here, .type = OP_LSEEK, .ino = f, .handle = h, .flags = SEEK_DATA).written == 0);
	op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("g.new"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	g = op.child;
	hg = op.handle;
	done(here, .type = OP_WRITE, .ino = g, .handle = hg, BYTES(large, 100000));
	done(here, .type = OP_RENAME, .ino = OID_ROOT, NAMED("g.new"), .ino2 = OID_ROOT, NAMED2("g"));
	done(here, .type = OP_RELEASE, .ino = g, .handle = hg);
	hg = done(here, .type = OP_OPEN, .ino = g, .flags = O_RDWR | O_TRUNC).handle;
	done(here, .type = OP_WRITE, .ino = g, .handle = hg, BYTES("again", 5));
	done(here, .type = OP_RELEASE, .ino = g, .handle = hg);
	done(here, .type = OP_FLUSH, .ino = f, .handle = h);
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	done(here, .type = OP_STATFS, .ino = OID_ROOT);
	done(here, .type = OP_SYNC);
	done(here, .type = OP_KEEP, .ino = f, .round = 1);
	expect(here->told_len > 0 && here->told_len % sizeof(struct kept_block) == 0);
	memcpy(should, large, LARGE);
	memcpy(should + 1000, "patch", 5);
	memcpy(should + 200000, "more", 4);
	memset(should + 70000, 0, 70000);
	memset(should + LARGE - 100, 0, 100);
	content(judge, find(judge, OID_ROOT, "f"));
	expect(told(judge, should, LARGE));
	content(judge, find(judge, OID_ROOT, "g"));
	expect(told(judge, "again", 5));
}

static void
shared(void)
{
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle, other, d;

	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES(large, 100));
	done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755);
	d = find(there, OID_ROOT, "d");
	expect(find(there, OID_ROOT, "f") == f);
	content(there, f);
	expect(told(there, large, 100));
	op = done(there, .type = OP_OPEN, .ino = f, .flags = O_RDWR);
	other = op.handle;
	done(there, .type = OP_WRITE, .ino = f, .handle = other, .offset = 100, BYTES("there", 5));
	done(here, .type = OP_READ, .ino = f, .handle = h, .offset = 99, .size = 100);
	expect(here->told_len == 6 && memcmp(here->told + 1, "there", 5) == 0);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = 105, BYTES(large, 70000));
	done(there, .type = OP_MKNOD, .ino = d, NAMED("a"), .attr.mode = S_IFREG | 0644);
	done(here, .type = OP_RENAME, .ino = d, NAMED("a"), .ino2 = OID_ROOT, NAMED2("a"));
	list(there, d);
	expect(told(there, "./../", 5));
	done(there, .type = OP_UNLINK, .ino = OID_ROOT, NAMED("f"));
	refused(here, ENOENT, .type = OP_LOOKUP, .ino = OID_ROOT, NAMED("f"));
	done(here, .type = OP_READ, .ino = f, .handle = h, .offset = 100, .size = 5);
	expect(told(here, "there", 5));
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	done(there, .type = OP_RELEASE, .ino = f, .handle = other);
	whole_pass(&all, 1000);
	done(here, .type = OP_SYNC);
	done(there, .type = OP_SYNC);
	expect(find(judge, OID_ROOT, "a") != 0);
	refused(judge, ENOENT, .type = OP_LOOKUP, .ino = OID_ROOT, NAMED("f"));
}

static void
connections(void)
{
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle;

	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("one", 3));
	mount_cut(here);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = 3, BYTES("two", 3));
	mount_join(here);
	done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	done(here, .type = OP_UNLINK, .ino = OID_ROOT, NAMED("f"));
	done(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = 6, BYTES("three", 5));
	done(here, .type = OP_MKNOD, .ino = OID_ROOT, NAMED("g"), .attr.mode = S_IFREG | 0644);
	whole_restart(&all);
	done(here, .type = OP_SYNC);
	done(here, .type = OP_READ, .ino = f, .handle = h, .size = 20);
	expect(told(here, "onetwothree", 11));
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	expect(find(judge, OID_ROOT, "g") != 0);
}

/* Killed, while `elsewhere` changes what it held. */
static void
killed(bool elsewhere)
{
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle, d;
	int r;

	d = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("old", 3));
	done(here, .type = OP_SYNC);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("here", 4));
	done(here, .type = OP_SETXATTR, .ino = f, NAMED("user.a"), BYTES("value", 5));
	done(here, .type = OP_MKNOD, .ino = d, NAMED("g"), .attr.mode = S_IFREG | 0644);
	done(here, .type = OP_RENAME, .ino = d, NAMED("g"), .ino2 = OID_ROOT, NAMED2("h"));
	done(here, .type = OP_LINK, .ino = f, .ino2 = d, NAMED("f2"));
	/* Its handle goes with it. */
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	mount_kill(here);
	if (elsewhere) {
		op = done(there, .type = OP_OPEN, .ino = find(there, OID_ROOT, "f"), .flags = O_RDWR);
		done(there, .type = OP_WRITE, .ino = f, .handle = op.handle, BYTES("away", 4));
		done(there, .type = OP_RELEASE, .ino = f, .handle = op.handle);
		done(there, .type = OP_SYNC);
	}
	r = mount_replay(here);
	for (unsigned i = 0; r == -ENOMEM && allocator.count >= allocator.fail_at && i < allocator.spell; i++)
		r = mount_replay(here);
	if (r != 0)
		wrong("the journal run again", r, __LINE__);
	find(judge, OID_ROOT, "h");
	content(judge, find(judge, OID_ROOT, "f"));
	expect(told(judge, elsewhere ? "away" : "here", 4));
	list(judge, OID_ROOT);
	if (elsewhere) {
		content(judge, find(judge, OID_ROOT, "f (conflict here 1970-01-01)"));
		expect(told(judge, "here", 4));
	} else
		expect(find(judge, d, "f2") == f);
}

static void
killed_alone(void)
{
	killed(false);
}

static void
killed_and_changed(void)
{
	killed(true);
}

/* Cut off for longer than the term while somebody else wants what it has. */
static void
evicted(void)
{
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle;
	int r = 0;

	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("old", 3));
	done(here, .type = OP_SYNC);
	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("here", 4));
	mount_cut(here);
	op = done(there, .type = OP_OPEN, .ino = find(there, OID_ROOT, "f"), .flags = O_RDWR);
	done(there, .type = OP_WRITE, .ino = f, .handle = op.handle, BYTES("away", 4));
	done(there, .type = OP_RELEASE, .ino = f, .handle = op.handle);
	done(there, .type = OP_SYNC);
	mount_join(here);
	for (unsigned i = 0; i < 5 + allocator.spell; i++) {
		whole_pass(&all, 300);
		r = mount_redo(here);
	}
	if (r != 0)
		wrong("what was lost run again", r, __LINE__);
	refused(here, EIO, .type = OP_SYNC);	/* it heard that its content is elsewhere now */
	done(here, .type = OP_SYNC);
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	content(judge, find(judge, OID_ROOT, "f"));
	expect(told(judge, "away", 4));
	content(judge, find(judge, OID_ROOT, "f (conflict here 1970-01-01)"));
	/* One that could not be noted down stays, empty. */
	if (judge->told_len == 0)
		content(judge, find(judge, OID_ROOT, "f (conflict here 1970-01-01 2)"));
	expect(told(judge, "here", 4));
}

/* Two directories change places, by a mount that knows neither. */
static void
exchanged(void)
{
	uint64_t a, b, x, y;
	struct op op;

	allocator.armed = false;
	a = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("a"), .attr.mode = 0755).child;
	b = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("b"), .attr.mode = 0755).child;
	x = done(here, .type = OP_MKDIR, .ino = a, NAMED("x"), .attr.mode = 0755).child;
	y = done(here, .type = OP_MKDIR, .ino = b, NAMED("y"), .attr.mode = 0755).child;
	done(here, .type = OP_SYNC);
	allocator.armed = true;
	op = (struct op){ .type = OP_RENAME, .ino = a, NAMED("x"), .ino2 = b, NAMED2("y"), .flags = RENAME_EXCHANGE };
	if (mount_do(there, &op) < 0) {
		expect(find(there, a, "x") == x && find(there, b, "y") == y);
		/* Nothing moved: what lies in b may take in what lies in a, and the other way round. */
		done(there, .type = OP_RENAME, .ino = OID_ROOT, NAMED("a"), .ino2 = y, NAMED2("a"));
		done(there, .type = OP_RENAME, .ino = y, NAMED("a"), .ino2 = OID_ROOT, NAMED2("a"));
		done(there, .type = OP_RENAME, .ino = OID_ROOT, NAMED("b"), .ino2 = x, NAMED2("b"));
		done(there, .type = OP_RENAME, .ino = x, NAMED("b"), .ino2 = OID_ROOT, NAMED2("b"));
		done(there, .type = OP_RENAME, .ino = a, NAMED("x"), .ino2 = b, NAMED2("y"), .flags = RENAME_EXCHANGE);
	}
	done(there, .type = OP_SYNC);
	expect(find(judge, a, "x") == y && find(judge, b, "y") == x);
	refused(judge, EINVAL, .type = OP_RENAME, .ino = OID_ROOT, NAMED("a"), .ino2 = y, NAMED2("a"));
	refused(judge, EINVAL, .type = OP_RENAME, .ino = OID_ROOT, NAMED("b"), .ino2 = x, NAMED2("b"));
}

/* Many names, and a content of many pieces. */
static void
wide(void)
{
	enum { FILES = 70, PIECES = 60, STEP = 3000 };
	struct op op = done(here, .type = OP_CREATE, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	uint64_t f = op.child, h = op.handle, d;
	static uint8_t should[LARGE];
	char name[16];

	memcpy(should, large, LARGE);
	allocator.armed = false;
	d = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "%u", i);
		run(here, (struct op){ .type = OP_MKNOD, .ino = d, .name = { (const uint8_t *)name, strlen(name) },
		    .attr.mode = S_IFREG | 0644 }, 0, __LINE__);
	}
	allocator.armed = true;
	done(here, .type = OP_SYNC);
	allocator.armed = false;
	done(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES(large, LARGE));
	done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	for (unsigned i = 0; i < PIECES; i++) {
		memset(should + i * STEP, (int)i, 100);
		allocator.armed = i >= PIECES - 5;
		run(here, (struct op){ .type = OP_WRITE, .ino = f, .handle = h, .offset = i * STEP,
		    .data = { should + i * STEP, 100 } }, 0, __LINE__);
		done(here, .type = OP_FSYNC, .ino = f, .handle = h);
	}
	allocator.armed = true;
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	done(here, .type = OP_SYNC);
	list(judge, d);
	find(judge, d, "57");
	content(judge, find(judge, OID_ROOT, "f"));
	expect(told(judge, should, LARGE));
}

static const struct script {
	const char	*name;
	void		(*run)(void);
} scripts[] = {
	{ "names", names },
	{ "bytes", bytes_of_files },
	{ "shared", shared },
	{ "connections", connections },
	{ "killed", killed_alone },
	{ "changed", killed_and_changed },
	{ "evicted", evicted },
	{ "exchanged", exchanged },
	{ "wide", wide },
};

/* ---- running them ---- */

static void
start_all(void)
{
	whole_init(&all);
	if (mount_start(here, &(struct engine_config){ .redo = true }) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	done(here, .type = OP_SYNC);
	mount_start(there, NULL);
	mount_start(judge, NULL);
}

/* False when allocation `n`, the first of those that fail, was never reached. */
static bool
run_script(const struct script *s, unsigned n, unsigned spell)
{
	bool reached;

	fine = true;
	start_all();
	allocator.fail_at = n;
	allocator.spell = spell;
	allocator.count = 0;
	allocator.armed = true;
	s->run();
	allocator.armed = false;
	reached = allocator.count >= n;
	whole_done(&all);
	return reached;
}

static void
every_allocation(const struct script *s, unsigned spell)
{
	unsigned n = 0, bad = 0;

	run_script(s, NEVER, 0);
	ok(fine, "%s: without a failure", s->name);
	while (run_script(s, ++n, spell)) {
		bad += !fine;
		if (!fine)
			printf("# again: test_client_memory %s %u %u\n", s->name, n, spell);
	}
	ok(bad == 0 && n > 60, "%s: from each of %u allocations on %u may fail", s->name, n - 1, spell);
}

/* More answers at once than actions are made ahead, and no memory at all. */
static void
many_answers(void)
{
	enum { MANY = 100 };
	static struct op ops[MANY];
	unsigned at_once = 0, answered = 0, out_of_memory = 0;
	uint64_t f;

	start_all();
	f = done(there, .type = OP_MKNOD, .ino = OID_ROOT, NAMED("f"), .attr.mode = S_IFREG | 0644).child;
	done(there, .type = OP_SYNC);
	mount_cut(here);
	for (unsigned i = 0; i < MANY; i++) {
		ops[i] = (struct op){ .type = OP_GETATTR, .ino = f };
		mount_submit(here, &ops[i]);
	}
	allocator.none = true;
	mount_join(here);
	for (unsigned i = 0; i < MANY; i++)
		at_once += ops[i].next != NULL;
	allocator.none = false;
	whole_pass(&all, 200);
	for (unsigned i = 0; i < MANY; i++) {
		answered += ops[i].next != NULL;
		out_of_memory += ops[i].error == -ENOMEM;
		mount_replied(here, &ops[i]);
	}
	ok(at_once > 30 && at_once < MANY, "%u of %u operations are told at once that there is no memory", at_once, MANY);
	ok(answered == MANY && out_of_memory == MANY, "the others, as soon as there is some again");
	fine = true;
	expect(done(here, .type = OP_GETATTR, .ino = f).attr.nlink == 1);
	ok(fine && whole_sane(&all), "and then all goes on");
	whole_done(&all);
}

int
main(int argc, char **argv)
{
	static const unsigned spells[] = { 1, 8, 100 };

	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
		if (argc < 4)
			for (size_t k = 0; k < sizeof spells / sizeof spells[0]; k++)
				every_allocation(&scripts[i], spells[k]);
		else if (strcmp(argv[1], scripts[i].name) == 0) {
			run_script(&scripts[i], (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
			ok(fine, "allocation %s of %s may fail, and %s in all", argv[2], argv[1], argv[3]);
		}
	if (argc < 4)
		many_answers();
	return tap_done();
}
