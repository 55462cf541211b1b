/*
 * test_client_whole.c - the client engine before a real server: what does not
 * open, rules of attributes, ids that run out, writes in many pieces.
 */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { LARGE = 200000 };

static struct whole all;
static struct mount *const here = &all.mounts[0], *const there = &all.mounts[1];
static uint8_t large[LARGE];

/* The operation, done; its error in op.error. */
static struct op
run(struct mount *m, struct op op)
{
	op.error = mount_do(m, &op);
	return op;
}

#define does(m, ...) run(m, (struct op){ __VA_ARGS__ })
#define NAMED(text) .name = { (const uint8_t *)(text), sizeof (text) - 1 }
#define NAMED2(text) .name2 = { (const uint8_t *)(text), sizeof (text) - 1 }
#define BYTES(from, size) .data = { (const uint8_t *)(from), size }

static void
begin(void)
{
	whole_init(&all);
	if (mount_start(here, NULL) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	does(here, .type = OP_SYNC);
}

static void
end(void)
{
	ok(whole_sane(&all), "the invariants hold");
	whole_done(&all);
}

static uint64_t
make_file(const char *name, const void *data, size_t len)
{
	struct op op = run(here, (struct op){ .type = OP_CREATE, .ino = OID_ROOT, .attr.mode = S_IFREG | 0644, .flags = O_RDWR,
	    .name = { (const uint8_t *)name, strlen(name) } });
	uint64_t handle = op.handle, ino = op.child;

	does(here, .type = OP_WRITE, .ino = ino, .handle = handle, BYTES(data, len));
	does(here, .type = OP_RELEASE, .ino = ino, .handle = handle);
	return ino;
}

static int
read_error(struct mount *m, uint64_t ino)
{
	struct op op = does(m, .type = OP_OPEN, .ino = ino);
	uint64_t handle = op.handle;

	if (op.error != 0)
		return op.error;
	op = does(m, .type = OP_READ, .ino = ino, .handle = handle, .size = 2 * LARGE);
	does(m, .type = OP_RELEASE, .ino = ino, .handle = handle);
	return op.error;
}

static int
list_error(struct mount *m, uint64_t ino)
{
	struct op op = does(m, .type = OP_OPENDIR, .ino = ino);
	uint64_t handle = op.handle;

	op = does(m, .type = OP_READDIR, .ino = ino, .handle = handle, .size = 65536);
	if (op.error == 0)
		op = does(m, .type = OP_READDIR, .ino = ino, .handle = handle, .size = 65536, .offset = 2);
	does(m, .type = OP_RELEASEDIR, .ino = ino, .handle = handle);
	return op.error;
}

/* ---- what does not open ---- */

static bool garbled;		/* not sealed by another key, but something else */

/* A mount that knows nothing, to which records of a kind, or cells, do not open. */
static void
blind(uint32_t kinds, bool no_cells)
{
	if (there->engine != NULL) {
		all.unopened = all.garbled = 0;
		all.no_cells = false;
		does(there, .type = OP_SYNC);
		mount_stop(there);
	}
	all.unopened = garbled ? 0 : kinds;
	all.garbled = garbled ? kinds : 0;
	all.no_cells = no_cells;
	mount_start(there, NULL);
}

static void
damaged(bool garbled_ones)
{
	uint64_t small, big, d, h;

	garbled = garbled_ones;
	begin();
	small = make_file("small", "hello", 5);
	big = make_file("big", large, LARGE);
	d = does(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	does(here, .type = OP_MKDIR, .ino = d, NAMED("e"), .attr.mode = 0755);
	does(here, .type = OP_SETXATTR, .ino = small, NAMED("user.a"), BYTES("value", 5));
	does(here, .type = OP_SYNC);

	blind(1 << KIND_ATTR, false);
	ok(does(there, .type = OP_GETATTR, .ino = small).error == -EIO, "attributes that do not open are an error of the file");
	ok(does(there, .type = OP_SETATTR, .ino = small, .set = SET_MODE).error == -EIO, "and are not written over");
	blind(1 << KIND_ENTRY, false);
	ok(does(there, .type = OP_LOOKUP, .ino = OID_ROOT, NAMED("small")).error == -EIO, "so is an entry, for who looks it up");
	ok(does(there, .type = OP_MKNOD, .ino = OID_ROOT, NAMED("small"), .attr.mode = S_IFREG | 0644).error == -EIO,
	    "makes it anew");
	ok(list_error(there, OID_ROOT) == -EIO, "or lists it");
	ok(does(there, .type = OP_GETATTR, .ino = small).error == 0, "but not of the file it leads to");
	blind(1 << KIND_INLINE, false);
	ok(read_error(there, small) == -EIO, "a content in its record");
	ok(does(there, .type = OP_SETATTR, .ino = small, .set = SET_SIZE, .attr.size = 3).error == -EIO, "is not cut");
	ok(read_error(there, big) == 0, "while another file is read");
	blind(1 << KIND_REGION, false);
	ok(read_error(there, big) == -EIO, "the extents of a content");
	h = does(there, .type = OP_OPEN, .ino = big, .flags = O_RDWR).handle;
	does(there, .type = OP_WRITE, .ino = big, .handle = h, .offset = 100, BYTES("new", 3));
	ok(does(there, .type = OP_FSYNC, .ino = big, .handle = h).error == -EIO, "on which nothing can be written");
	ok(does(there, .type = OP_FSYNC, .ino = big, .handle = h).error == 0, "of which each handle hears once");
	does(there, .type = OP_RELEASE, .ino = big, .handle = h);
	blind(1 << KIND_XATTR, false);
	ok(does(there, .type = OP_GETXATTR, .ino = small, NAMED("user.a"), .size = 9).error == -EIO, "an extended attribute");
	ok(does(there, .type = OP_LISTXATTR, .ino = small, .size = 99).error == -EIO, "or a list of them");
	blind(1 << KIND_PARENT, false);
	ok(does(there, .type = OP_RENAME, .ino = OID_ROOT, NAMED("d"), .ino2 = does(there, .type = OP_LOOKUP, .ino = d,
	    NAMED("e")).child, NAMED2("d")).error == -EIO, "where a directory lies: nothing is moved below it");
	blind(1 << KIND_META, false);
	ok(does(there, .type = OP_META).error == (garbled ? -ENOTSUP : -EBADMSG), "the volume's features");
	blind(0, true);
	ok(read_error(there, big) == -EIO, "a block that does not open");
	all.no_cells = false;
	ok(read_error(there, big) == 0 && there->told_len == LARGE && memcmp(there->told, large, LARGE) == 0,
	    "is asked for again, and may have been mended");
	blind(0, false);
	ok(read_error(there, small) == 0 && there->told_len == 5 && does(there, .type = OP_META).error == 0,
	    "nothing of all that was written over");
	end();
}

/* ---- attributes ---- */

static uint32_t
mode_of(uint64_t ino)
{
	return does(here, .type = OP_GETATTR, .ino = ino).attr.mode & 07777;
}

static void
attributes(void)
{
	struct op op;
	uint64_t f, d, s;

	begin();
	d = does(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	does(here, .type = OP_SETATTR, .ino = d, .set = SET_MODE | SET_GID, .attr.mode = 02775, .attr.gid = 7);
	op = does(here, .type = OP_MKNOD, .ino = d, NAMED("f"), .attr.mode = S_IFREG | 04755, .uid = 1, .gid = 1);
	f = op.child;
	ok(op.attr.gid == 7 && op.attr.uid == 1, "a file in a set-group-id directory gets its group");
	op = does(here, .type = OP_MKDIR, .ino = d, NAMED("e"), .attr.mode = 0755, .gid = 1);
	ok(op.attr.gid == 7 && (op.attr.mode & 07777) == 02755, "a directory, the bit as well");
	op = does(here, .type = OP_SETATTR, .ino = f, .set = SET_UID, .attr.uid = 2);
	ok(mode_of(f) == 0755 && op.killed && op.attr.uid == 2, "a new owner ends set-user-id");
	does(here, .type = OP_SETATTR, .ino = f, .set = SET_MODE, .attr.mode = 06755);
	op = does(here, .type = OP_OPEN, .ino = f, .flags = O_RDWR);
	ok(does(here, .type = OP_WRITE, .ino = f, .handle = op.handle, .set = SET_KILL_SUID, BYTES("x", 1)).killed &&
	    mode_of(f) == 0755, "and so does a write that is to end it, and set-group-id");
	does(here, .type = OP_SETATTR, .ino = f, .set = SET_MODE, .attr.mode = 02644);
	ok(!does(here, .type = OP_WRITE, .ino = f, .handle = op.handle, .set = SET_KILL_SUID, BYTES("x", 1)).killed &&
	    mode_of(f) == 02644, "which without group execution is something else");
	does(here, .type = OP_RELEASE, .ino = f, .handle = op.handle);
	does(here, .type = OP_SETATTR, .ino = d, .set = SET_UID, .attr.uid = 2);
	ok(mode_of(d) == 02775, "a directory keeps its bits");
	s = does(here, .type = OP_SYMLINK, .ino = d, NAMED("s"), NAMED2("target")).child;
	ok(does(here, .type = OP_SETATTR, .ino = d, .set = SET_SIZE).error == -EISDIR &&
	    does(here, .type = OP_SETATTR, .ino = s, .set = SET_SIZE).error == -EINVAL, "only files can be cut");
	ok(does(here, .type = OP_READLINK, .ino = f).error == -EINVAL, "only symbolic links have targets");
	end();
}

/* ---- limits ---- */

static void
ids(void)
{
	enum { FILES = 20 };
	uint64_t made[FILES], same = 0, lost = 0;
	char name[8];

	whole_init(&all);
	all.oids = 3;
	mount_start(here, NULL);
	engine_format(here->engine, 0, 0, 0755);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "%u", i);
		made[i] = make_file(name, "x", 1);
		lost += made[i] == 0;
		for (unsigned k = 0; k < i; k++)
			same += made[k] == made[i];
	}
	ok(lost == 0 && same == 0, "who has no ids left asks for more, and uses each once");
	ok(does(here, .type = OP_SYNC).error == 0, "they are the session's");
	end();
}

/* More pieces than a region's dirty bytes may be in. */
static void
pieces(void)
{
	enum { STEP = 64, COUNT = LARGE / STEP };
	static uint8_t should[LARGE];
	unsigned errors = 0;
	uint64_t f, h;

	begin();
	f = make_file("f", large, LARGE);
	does(here, .type = OP_SYNC);
	memcpy(should, large, LARGE);
	h = does(here, .type = OP_OPEN, .ino = f, .flags = O_RDWR).handle;
	for (unsigned i = 0; i < COUNT; i++) {
		should[i * STEP] = (uint8_t)i;
		errors += does(here, .type = OP_WRITE, .ino = f, .handle = h, .offset = i * STEP, BYTES(should + i * STEP, 1)).error != 0;
	}
	ok(errors == 0 && does(here, .type = OP_FSYNC, .ino = f, .handle = h).error == 0, "%u writes of a byte each", COUNT);
	for (unsigned i = 0; i < COUNT; i += 2) {
		memset(should + i * STEP + 5, 0, 10);
		errors += does(here, .type = OP_FALLOCATE, .ino = f, .handle = h, .offset = i * STEP + 5, .size = 10,
		    .flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE).error != 0;
	}
	ok(errors == 0 && does(here, .type = OP_FSYNC, .ino = f, .handle = h).error == 0, "and holes of ten");
	does(here, .type = OP_RELEASE, .ino = f, .handle = h);
	mount_start(there, NULL);
	ok(read_error(there, f) == 0 && there->told_len == LARGE && memcmp(there->told, should, LARGE) == 0,
	    "are all there for another client");
	end();
}

/* ---- what is told ---- */

static char unsaved[4096];

static void
note_unsaved(void *context, const char *path, bool lost)
{
	(void)context;
	(void)lost;
	if (strcmp(path, "/") != 0)
		snprintf(unsaved, sizeof unsaved, "%s", path);
}

static void
told(void)
{
	uint64_t d, f, h, notes;

	begin();
	d = does(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("d"), .attr.mode = 0755).child;
	d = does(here, .type = OP_MKDIR, .ino = d, NAMED("e"), .attr.mode = 0755).child;
	does(here, .type = OP_SYNC);
	f = make_file("f", "hello", 5);
	does(here, .type = OP_SYNC);
	does(here, .type = OP_RENAME, .ino = OID_ROOT, NAMED("f"), .ino2 = d, NAMED2("g"));
	does(here, .type = OP_SYNC);
	ok(!engine_holds_content(here->engine, f) && !engine_holds_content(here->engine, 999999), "what is saved is not held");
	h = does(here, .type = OP_OPEN, .ino = f, .flags = O_RDWR).handle;
	does(here, .type = OP_WRITE, .ino = f, .handle = h, BYTES("x", 1));
	engine_unsaved(here->engine, note_unsaved, NULL);
	ok(engine_holds_content(here->engine, f) && strcmp(unsaved, "/d/e/g") == 0, "what is not is told by its path: %s", unsaved);
	notes = here->notes_count;
	engine_journal_end(here->engine);
	does(here, .type = OP_MKDIR, .ino = OID_ROOT, NAMED("x"), .attr.mode = 0755);
	ok(here->notes_count == notes, "a journal that is somebody else's is not written to");
	does(here, .type = OP_RELEASE, .ino = f, .handle = h);
	does(here, .type = OP_SYNC);
	end();
}

int
main(void)
{
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7 + i / 251);
	damaged(false);
	damaged(true);
	attributes();
	ids();
	pieces();
	told();
	return tap_done();
}
