/*
 * test_client_again.c - single operations out of the journal, done again by a
 * mount before a real server: the verdict on each, and what has become of the
 * names.  A journal that holds them is test_client_conflicts.c's matter.
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

#define NAME(text) { (const uint8_t *)(text), strlen(text) }
#define BESIDE "beside"

static struct op
run(struct mount *m, struct op op)
{
	op.error = mount_do(m, &op);
	return op;
}

#define does(m, ...) run(m, (struct op){ __VA_ARGS__ })

/* What is done again, and how it went. */
static struct journal_entry entry;
static struct replaying p;

/* Its arguments are the entry's; what else is known of it stands in p. */
static int
again(void)
{
	struct op op = { .type = (enum op_type)entry.type, .ino = entry.ino, .ino2 = entry.ino2, .name = entry.name, .name2 = entry.name2,
	    .flags = entry.flags, .set = entry.set, .attr = entry.attr, .data = entry.data, .victim = entry.victim,
	    .moved = entry.type == OP_RENAME ? entry.child : 0, .replay = &p };

	entry.kind = JOURNAL_OP;
	p.entry = &entry;
	p.beside = (struct bytes)NAME(BESIDE);
	return run(here, op).error;
}

/* Sets both to what they are before each; the fields of the entry. */
#define AGAIN(...) (p = (struct replaying){ 0 }, entry = (struct journal_entry){ __VA_ARGS__ }, again())
#define BECOMES(verdict_, ...) (AGAIN(__VA_ARGS__) == 0 && p.verdict == (verdict_))

static uint64_t
lookup(struct mount *m, uint64_t dir, const char *name)
{
	struct op op = does(m, .type = OP_LOOKUP, .ino = dir, .name = NAME(name));

	return op.error == 0 ? op.child : 0;
}

static uint64_t
make(struct mount *m, enum op_type type, const char *name)
{
	return does(m, .type = type, .ino = OID_ROOT, .name = NAME(name), .name2 = NAME("target"),
	    .attr.mode = type == OP_MKDIR ? S_IFDIR | 0755 : S_IFREG | 0644).child;
}

static void
begin(const struct engine_config *config)
{
	whole_init(&all);
	if (mount_start(here, config) < 0 || engine_format(here->engine, 0, 0, 0755) < 0)
		abort();
	does(here, .type = OP_SYNC);
	mount_start(there, NULL);
}

static void
end(void)
{
	ok(does(here, .type = OP_SYNC).error == 0 && whole_sane(&all), "the invariants hold");
	whole_done(&all);
}

static int
full(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data, (void)sync;
	return -ENOSPC;
}

static bool
noted(uint8_t kind, uint64_t ino)
{
	struct journal_entry n;

	for (size_t i = 0; i < here->notes_count; i++)
		if (journal_decode(&n, (struct bytes){ here->notes[i].bytes, here->notes[i].len }) == 0 && n.kind == kind && n.ino == ino)
			return true;
	return false;
}

/* ---- making ---- */

static void
made_where(void)
{
	uint64_t f, d, h;

	begin(NULL);
	f = make(here, OP_MKNOD, "f");
	d = make(here, OP_MKDIR, "d");
	h = does(here, .type = OP_OPENDIR, .ino = d).handle;
	does(here, .type = OP_RMDIR, .ino = OID_ROOT, .name = NAME("d"));
	ok(BECOMES(REPLAY_GONE, .type = OP_MKDIR, .ino = f, .child = 900, .name = NAME("x")), "where a file is nothing is made");
	ok(BECOMES(REPLAY_GONE, .type = OP_MKDIR, .ino = d, .child = 900, .name = NAME("x")), "nor in a directory that is removed, though it is open");
	does(here, .type = OP_RELEASEDIR, .ino = d, .handle = h);
	end();
}

/* An attempt that was cut short may have done it. */
static void
made_before(void)
{
	uint64_t f, g, h, again_f;

	begin(NULL);
	f = make(here, OP_MKNOD, "f");
	does(here, .type = OP_RENAME, .ino = OID_ROOT, .name = NAME("f"), .ino2 = OID_ROOT, .name2 = NAME("moved"));
	p = (struct replaying){ .again = true, .keep_oids = true };
	entry = (struct journal_entry){ .type = OP_MKNOD, .ino = OID_ROOT, .child = f, .name = NAME("f"), .attr.mode = S_IFREG | 0644 };
	ok(again() == 0 && p.verdict == REPLAY_THERE && lookup(there, OID_ROOT, "f") == 0, "what is there under another name is not made again");
	p = (struct replaying){ .again = true };
	ok(again() == 0 && p.verdict == REPLAY_DONE && lookup(there, OID_ROOT, "f") != f, "but it is in a session that has other ids");
	g = make(here, OP_MKNOD, "g");
	h = does(here, .type = OP_OPEN, .ino = g, .flags = O_RDWR).handle;
	does(here, .type = OP_UNLINK, .ino = OID_ROOT, .name = NAME("g"));
	p = (struct replaying){ .again = true, .keep_oids = true };
	entry.child = g;
	entry.name = (struct bytes)NAME("g");
	again_f = again() == 0 ? lookup(there, OID_ROOT, "g") : 0;
	ok(p.verdict == REPLAY_DONE && again_f != 0 && again_f != g, "what was removed since, and is open, is made again as another");
	does(here, .type = OP_RELEASE, .ino = g, .handle = h);
	end();
}

static void
made_beside(void)
{
	uint64_t own;

	begin(NULL);
	make(there, OP_MKNOD, "f");
	own = make(here, OP_MKNOD, BESIDE);
	ok(BECOMES(REPLAY_THERE, .type = OP_MKNOD, .ino = OID_ROOT, .child = own, .name = NAME("f"), .attr.mode = S_IFREG | 0644),
	    "what an earlier attempt made beside is there");
	ok(BECOMES(REPLAY_TAKEN, .type = OP_MKNOD, .ino = OID_ROOT, .child = 900, .name = NAME("f"), .attr.mode = S_IFREG | 0644),
	    "another's is in the way");
	does(here, .type = OP_UNLINK, .ino = OID_ROOT, .name = NAME(BESIDE));
	make(there, OP_SYMLINK, "s");
	ok(BECOMES(REPLAY_SAME, .type = OP_SYMLINK, .ino = OID_ROOT, .child = 900, .name = NAME("s"), .name2 = NAME("target")),
	    "of two symbolic links to the same there is one");
	ok(BECOMES(REPLAY_BESIDE, .type = OP_SYMLINK, .ino = OID_ROOT, .child = 900, .name = NAME("s"), .name2 = NAME("tarGet")) &&
	    lookup(there, OID_ROOT, BESIDE) != 0, "of two to names of one length, both");
	end();
}

/* ---- links and renames ---- */

static void
linked(void)
{
	uint64_t f;

	begin(NULL);
	f = make(here, OP_MKNOD, "f");
	does(here, .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, .name = NAME("l"));
	ok(BECOMES(REPLAY_THERE, .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, .name = NAME("l")), "a link that is there is");
	make(there, OP_MKNOD, "other");
	ok(BECOMES(REPLAY_BESIDE, .type = OP_LINK, .ino = f, .ino2 = OID_ROOT, .name = NAME("other")) && lookup(there, OID_ROOT, BESIDE) == f,
	    "one whose name is another's is made beside");
	ok(BECOMES(REPLAY_DONE, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = f, .name = NAME("f"), .name2 = NAME("l")) &&
	    lookup(there, OID_ROOT, "f") == f, "of two names of one file none replaces the other");
	end();
}

static void
replaced(void)
{
	uint64_t a, b, c, x;

	begin(NULL);
	a = make(here, OP_MKDIR, "a");
	b = make(here, OP_MKDIR, "b");
	ok(BECOMES(REPLAY_DONE, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = a, .victim = b, .name = NAME("a"),
	    .name2 = NAME("b")) && lookup(there, OID_ROOT, "b") == a, "a directory replaces an empty one");
	c = make(here, OP_MKDIR, "c");
	lookup(there, OID_ROOT, "c");
	does(there, .type = OP_MKNOD, .ino = c, .name = NAME("new"), .attr.mode = S_IFREG | 0644);
	ok(BECOMES(REPLAY_BESIDE, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = a, .victim = c, .name = NAME("b"),
	    .name2 = NAME("c")) && lookup(there, OID_ROOT, BESIDE) == a, "and goes beside one in which somebody has made something");
	does(here, .type = OP_RENAME, .ino = OID_ROOT, .name = NAME(BESIDE), .ino2 = OID_ROOT, .name2 = NAME("b"));
	x = does(here, .type = OP_MKDIR, .ino = a, .name = NAME("x"), .attr.mode = S_IFDIR | 0755).child;
	make(there, OP_MKNOD, "taken");
	does(here, .type = OP_SYNC);
	/* The lease that moves of directories need was not asked for yet. */
	ok(BECOMES(REPLAY_BESIDE, .type = OP_RENAME, .ino = a, .ino2 = OID_ROOT, .child = x, .name = NAME("x"), .name2 = NAME("taken")) &&
	    lookup(there, OID_ROOT, BESIDE) == x, "one that moves beside asks for all of it first");
	end();
}

static void
exchanged(void)
{
	uint64_t a, b;

	begin(NULL);
	a = make(here, OP_MKNOD, "a");
	b = make(there, OP_MKNOD, "b");
	ok(BECOMES(REPLAY_CHANGED, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = a, .victim = b, .flags = RENAME_EXCHANGE,
	    .name = NAME("a"), .name2 = NAME("none")), "what is gone is not exchanged");
	ok(BECOMES(REPLAY_CHANGED, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = a, .victim = b + 1, .flags = RENAME_EXCHANGE,
	    .name = NAME("a"), .name2 = NAME("b")), "nor what is another by now");
	ok(BECOMES(REPLAY_DONE, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = a, .victim = b, .flags = RENAME_EXCHANGE,
	    .name = NAME("a"), .name2 = NAME("b")) && lookup(there, OID_ROOT, "a") == b && lookup(there, OID_ROOT, "b") == a,
	    "the same two are");
	ok(p.victim.found && !p.it.found && noted(JOURNAL_FOREIGN, b) && !noted(JOURNAL_FOREIGN, a),
	    "which one somebody else changed is written down");
	end();
}

/* ---- whose it is ---- */

/* What somebody else changed stays theirs: that must be written down first. */
static void
not_written_down(void)
{
	static const struct journal_entry tries[] = {
		{ .type = OP_LINK, .ino2 = OID_ROOT, .name = NAME("l") },
		{ .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 },
		{ .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .name = NAME("f"), .name2 = NAME("g") },
		{ .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .name = NAME("own"), .name2 = NAME("f"), .flags = RENAME_EXCHANGE },
	};

	for (unsigned i = 0; i < sizeof tries / sizeof tries[0]; i++) {
		int (*append)(void *, uint64_t, struct bytes, struct bytes, bool);
		uint64_t f, own;

		begin(NULL);
		f = make(there, OP_MKNOD, "f");
		own = make(here, OP_MKNOD, "own");
		does(here, .type = OP_SYNC);
		entry = tries[i];
		if (entry.ino == 0)
			entry.ino = f;
		entry.child = entry.type != OP_RENAME ? 0 : i == 2 ? f : own;
		entry.victim = i == 3 ? f : 0;
		p = (struct replaying){ 0 };
		append = here->sink.append;
		here->sink.append = full;
		ok(again() == -ENOBUFS && lookup(there, OID_ROOT, "f") == f && lookup(there, OID_ROOT, "l") == 0 &&
		    does(there, .type = OP_GETATTR, .ino = f).attr.mode == (S_IFREG | 0644),
		    "what cannot be written down first is not done to another's");
		here->sink.append = append;
		end();
	}
}

static void
born_here(void)
{
	struct op op;

	begin(NULL);
	op = does(here, .type = OP_CREATE, .ino = OID_ROOT, .name = NAME("n"), .attr.mode = S_IFREG | 0644, .flags = O_RDWR);
	p = (struct replaying){ .it.base = 77 };
	entry = (struct journal_entry){ .type = OP_WRITE, .ino = op.child, .data = NAME("text") };
	ok(again() == 0 && p.verdict == REPLAY_DONE, "what the server has not heard of is nobody else's");
	does(here, .type = OP_RELEASE, .ino = op.child, .handle = op.handle);
	ok(does(there, .type = OP_GETATTR, .ino = lookup(there, OID_ROOT, "n")).attr.size == 4, "and is written to");
	end();
}

int
main(void)
{
	made_where();
	made_before();
	made_beside();
	linked();
	replaced();
	exchanged();
	not_written_down();
	born_here();
	return tap_done();
}
