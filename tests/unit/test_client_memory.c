/*
 * test_client_memory.c - every allocation of the client engine's fails once:
 * an operation is done all the same or fails with ENOMEM and has changed
 * nothing, the invariants hold, and in the end all that was answered is on
 * the server.
 *
 * Linked with --wrap for the allocator; what the server, the journal's file
 * and the test allocate does not fail.  Each script is run once for each of
 * its allocations.  `test_client_memory SCRIPT N` shows one run.
 */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

/* ---- the allocator ---- */

static struct {
	bool		armed;
	unsigned	count, fail_at;	/* allocations since the start; the one that fails */
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
	return allocator.armed && whole_in_engine && ++allocator.count == allocator.fail_at && failing();
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strndup(const char *s, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strndup(const char *s, size_t size);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strndup(const char *s, size_t size)
{
	return fails() ? NULL : __real_strndup(s, size);
}

/* ---- operations ---- */

enum { LARGE = 300000 };

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

/* Once more if there was no memory; what it answers then is what counts. */
static struct op
run(struct mount *m, struct op op, int error, int line)
{
	struct op first = op;
	int r = mount_do(m, &op);

	if (r == -ENOMEM && allocator.count >= allocator.fail_at) {
		op = first;
		r = mount_do(m, &op);
	}
	if (r != error)
		wrong("an operation's answer", r == 0 ? -ENOMSG : r, line);
	if (fine && !whole_sane(&all))
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

static void
list(struct mount *m, uint64_t ino)
{
	struct op op = done(m, .type = OP_OPENDIR, .ino = ino);
	uint64_t handle = op.handle;

	done(m, .type = OP_READDIR, .ino = ino, .handle = handle, .size = 65536);
	done(m, .type = OP_RELEASEDIR, .ino = ino, .handle = handle);
}

/* ---- scripts ---- */

static void
names(void)
{
	uint64_t d = done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	uint64_t f = done(here, .type = OP_MKNOD, .ino = d, NAMED("f"), .attr.mode = S_IFREG | 0644).child;
	uint64_t g;

	done(here, .type = OP_SYMLINK, .ino = d, NAMED("s"), NAMED2("target"));
	done(here, .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, NAMED("f2"));
	done(here, .type = OP_SETXATTR, .ino = f, NAMED("user.a"), BYTES("value", 5));
	done(here, .type = OP_FSYNCDIR, .ino = OID_ROOT);
	g = done(here, .type = OP_MKNOD, .ino = d, NAMED("g"), .attr.mode = S_IFREG | 0600).child;
	done(here, .type = OP_RENAME, .ino = d, NAMED("g"), .ino2 = OID_ROOT, NAMED2("f2"));
	done(here, .type = OP_RENAME, .ino = d, NAMED("f"), .ino2 = OID_ROOT, NAMED2("f3"), .flags = RENAME_NOREPLACE);
	done(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("e"), .attr.mode = 0755);
	done(here, .type = OP_RENAME, .ino = OID_ROOT, NAMED("e"), .ino2 = d, NAMED2("e"));
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
	done(here, .type = OP_OPEN, .ino = g, .flags = O_RDWR | O_TRUNC);
	done(here, .type = OP_WRITE, .ino = g, .handle = hg, BYTES("again", 5));
	done(here, .type = OP_FLUSH, .ino = f, .handle = h);
	done(here, .type = OP_RELEASE, .ino = f, .handle = h);
	done(here, .type = OP_STATFS, .ino = OID_ROOT);
	done(here, .type = OP_SYNC);
	memcpy(should, large, LARGE);
	memcpy(should + 1000, "patch", 5);
	memset(should + 70000, 0, 70000);
	memset(should + LARGE - 100, 0, 100);
	content(judge, find(judge, OID_ROOT, "f"));
	expect(told(judge, should, LARGE));
	content(judge, find(judge, OID_ROOT, "g"));
	expect(told(judge, "again", 5));
}

static const struct script {
	const char	*name;
	void		(*run)(void);
} scripts[] = {
	{ "names", names },
	{ "bytes", bytes_of_files },
};

/* ---- running them ---- */

/* False when allocation `n` was never reached. */
static bool
run_script(const struct script *s, unsigned n)
{
	bool reached;

	fine = true;
	whole_init(&all);
	allocator.fail_at = n;
	allocator.count = 0;
	if (mount_start(here, NULL) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	done(here, .type = OP_SYNC);
	mount_start(there, NULL);
	mount_start(judge, NULL);
	allocator.armed = true;
	s->run();
	allocator.armed = false;
	reached = allocator.count >= n;
	whole_done(&all);
	return reached;
}

static void
every_allocation(const struct script *s)
{
	unsigned n = 0, bad = 0;

	while (run_script(s, ++n)) {
		bad += !fine;
		if (!fine)
			printf("# again: test_client_memory %s %u\n", s->name, n);
	}
	ok(bad == 0, "%s: each of %u allocations may fail", s->name, n - 1);
	ok(n > 100, "%s: and these are all", s->name);
}

int
main(int argc, char **argv)
{
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
		if (argc < 2 || strcmp(argv[1], scripts[i].name) == 0) {
			if (argc < 3)
				every_allocation(&scripts[i]);
			else {
				run_script(&scripts[i], (unsigned)atoi(argv[2]));
				ok(fine, "allocation %s of %s may fail", argv[2], argv[1]);
			}
		}
	return tap_done();
}
