/*
 * test_client_conflicts.c - a journal run again after others changed what it
 * is about, before a real server: what is merged, what stays beside it and
 * where.
 */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static struct whole all;
static struct mount *const here = &all.mounts[0], *const there = &all.mounts[1];

#define CONFLICT " (conflict here 1970-01-01)"

static struct op
run(struct mount *m, struct op op)
{
	op.error = mount_do(m, &op);
	return op;
}

#define does(m, ...) run(m, (struct op){ __VA_ARGS__ })
#define NAME(text) { (const uint8_t *)(text), strlen(text) }

static void
begin(void)
{
	whole_init(&all);
	if (mount_start(here, NULL) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	does(here, .type = OP_SYNC);
}

/* The journal is run again; then `there` alone is left. */
static bool
back(void)
{
	does(there, .type = OP_SYNC);
	return mount_replay(here) == 0;
}

static void
end(void)
{
	ok(whole_sane(&all), "the invariants hold");
	whole_done(&all);
}

static uint64_t
lookup(struct mount *m, uint64_t dir, const char *name)
{
	struct op op = does(m, .type = OP_LOOKUP, .ino = dir, .name = NAME(name));

	return op.error == 0 ? op.child : 0;
}

static uint64_t
make_dir(struct mount *m, uint64_t dir, const char *name)
{
	return does(m, .type = OP_MKDIR, .ino = dir, .name = NAME(name), .attr.mode = 0755).child;
}

/* Made if it is not there. */
static uint64_t
put(struct mount *m, uint64_t dir, const char *name, const char *text)
{
	struct op op = does(m, .type = OP_CREATE, .ino = dir, .name = NAME(name), .attr.mode = S_IFREG | 0644,
	    .flags = O_RDWR | O_TRUNC);
	uint64_t ino = op.child, handle = op.handle;

	does(m, .type = OP_WRITE, .ino = ino, .handle = handle, .data = NAME(text));
	does(m, .type = OP_RELEASE, .ino = ino, .handle = handle);
	return ino;
}

static bool
holds(uint64_t dir, const char *name, const char *text)
{
	uint64_t ino = lookup(there, dir, name), handle;

	if (ino == 0)
		return false;
	handle = does(there, .type = OP_OPEN, .ino = ino).handle;
	does(there, .type = OP_READ, .ino = ino, .handle = handle, .size = 1000);
	does(there, .type = OP_RELEASE, .ino = ino, .handle = handle);
	return there->told_len == strlen(text) && memcmp(there->told, text, strlen(text)) == 0;
}

static size_t
names_in(uint64_t dir)
{
	uint64_t handle = does(there, .type = OP_OPENDIR, .ino = dir).handle;
	size_t n = 0;

	does(there, .type = OP_READDIR, .ino = dir, .handle = handle, .size = 65536);
	does(there, .type = OP_RELEASEDIR, .ino = dir, .handle = handle);
	for (size_t i = 0; i < there->told_len; i++)
		n += there->told[i] == '/';
	return n - 2;
}

/* ---- both made the same name ---- */

static void
same_names(void)
{
	uint64_t d;

	begin();
	make_dir(here, OID_ROOT, "d");
	put(here, lookup(here, OID_ROOT, "d"), "mine", "mine");
	does(here, .type = OP_SYMLINK, .ino = OID_ROOT, .name = NAME("same"), .name2 = NAME("target"));
	does(here, .type = OP_SYMLINK, .ino = OID_ROOT, .name = NAME("other"), .name2 = NAME("one"));
	put(here, OID_ROOT, "equal", "the same");
	put(here, OID_ROOT, "file", "mine");
	mount_kill(here);
	mount_start(there, NULL);
	d = make_dir(there, OID_ROOT, "d");
	put(there, d, "yours", "yours");
	does(there, .type = OP_SYMLINK, .ino = OID_ROOT, .name = NAME("same"), .name2 = NAME("target"));
	does(there, .type = OP_SYMLINK, .ino = OID_ROOT, .name = NAME("other"), .name2 = NAME("another"));
	put(there, OID_ROOT, "equal", "the same");
	put(there, OID_ROOT, "file", "yours");
	ok(back(), "a journal is run again where others have been");
	ok(holds(d, "mine", "mine") && holds(d, "yours", "yours"), "two directories of a name become one");
	ok(lookup(there, OID_ROOT, "same" CONFLICT) == 0, "of two equal symbolic links there is one");
	ok(does(there, .type = OP_READLINK, .ino = lookup(there, OID_ROOT, "other" CONFLICT)).error == 0 &&
	    there->told_len == 3, "of two different ones, both");
	ok(holds(OID_ROOT, "file", "yours") && holds(OID_ROOT, "file" CONFLICT, "mine"), "so of two files");
	ok(holds(OID_ROOT, "equal", "the same") && lookup(there, OID_ROOT, "equal" CONFLICT) == 0, "unless they are equal");
	ok(names_in(OID_ROOT) == 7, "and that is all");
	end();
}

/* ---- what it was written to is gone ---- */

static void
gone(void)
{
	uint64_t d, f;

	begin();
	d = make_dir(here, OID_ROOT, "d");
	f = put(here, d, "f", "old");
	put(here, OID_ROOT, "g", "old");
	make_dir(here, OID_ROOT, "e");
	does(here, .type = OP_SYNC);
	put(here, d, "f", "written");
	put(here, OID_ROOT, "g", "written");
	put(here, lookup(here, OID_ROOT, "e"), "new", "made");
	mount_kill(here);
	mount_start(there, NULL);
	lookup(there, d, "f");
	does(there, .type = OP_UNLINK, .ino = d, .name = NAME("f"));
	does(there, .type = OP_RMDIR, .ino = OID_ROOT, .name = NAME("d"));
	does(there, .type = OP_UNLINK, .ino = OID_ROOT, .name = NAME("g"));
	does(there, .type = OP_RMDIR, .ino = OID_ROOT, .name = NAME("e"));
	does(there, .type = OP_SYNC);
	ok(names_in(OID_ROOT) == 0 && f != 0, "all of it is removed elsewhere");
	ok(back(), "its journal is run again all the same");
	ok(holds(OID_ROOT, "g" CONFLICT, "written"), "what was written to a file that is gone is where that was");
	ok(holds(OID_ROOT, "f" CONFLICT, "written"), "or in the root, if its directory is gone too");
	ok(holds(OID_ROOT, "new" CONFLICT, "made") || holds(OID_ROOT, "new", "made"), "and so is what was made in such a one");
	ok(names_in(OID_ROOT) == 3, "and that is all");
	end();
}

/* ---- names ---- */

static void
long_names(void)
{
	char name[256] = "x", beside[512] = "";
	size_t cut = 255 - strlen(CONFLICT);	/* even, so inside one of these characters of two bytes */

	begin();
	for (size_t i = 1; i < 255; i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	name[255] = 0;
	put(here, OID_ROOT, name, "mine");
	mount_kill(here);
	mount_start(there, NULL);
	put(there, OID_ROOT, name, "yours");
	ok(back(), "a name as long as can be");
	memcpy(beside, name, cut - 1);
	strcat(beside, CONFLICT);
	ok(cut % 2 == 0 && holds(OID_ROOT, beside, "mine"), "is cut between two characters");
	ok(names_in(OID_ROOT) == 2 && holds(OID_ROOT, name, "yours"), "and stays as it is for the other");
	end();
}

/* The conflict name is taken by somebody else. */
static void
taken(void)
{
	begin();
	put(here, OID_ROOT, "f", "old");
	does(here, .type = OP_SYNC);
	put(here, OID_ROOT, "f", "mine");
	mount_kill(here);
	mount_start(there, NULL);
	put(there, OID_ROOT, "f", "yours");
	put(there, OID_ROOT, "f" CONFLICT, "not yours");
	ok(back(), "where the conflict name is taken");
	ok(holds(OID_ROOT, "f", "yours") && holds(OID_ROOT, "f" CONFLICT, "not yours"), "that is left alone");
	ok(holds(OID_ROOT, "f (conflict here 1970-01-01 2)", "mine"), "and the next is used");
	end();
}

int
main(void)
{
	same_names();
	gone();
	long_names();
	taken();
	return tap_done();
}
