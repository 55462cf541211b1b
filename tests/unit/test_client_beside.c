/*
 * test_client_beside.c - copies beside the original, step by step: how they
 * are made where little goes well, and what they are told by.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/journal_world.h"

enum { DIR = 200, COPY = 300, ORIGINAL = 20, LARGE = 600 * 1024 };

#define BESIDE "file (conflict)"

static bool
ended_with(int error)
{
	return replay_next(replay, w.engine) == NULL && replay_error(replay) == error;
}

static void
expect(bool as_it_should)
{
	if (!as_it_should)
		abort();
}

/* The next operation is such a one, and succeeds with those attributes. */
static enum op_type
shows(uint64_t child, uint32_t mode, uint64_t size)
{
	struct op op = *replay_next(replay, w.engine);

	op.child = child;
	op.attr = (struct attr){ .mode = mode, .size = size };
	replay_answered(replay, &op);
	return op.type;
}

static enum op_type
answers(enum verdict verdict, uint64_t found)
{
	struct op op = *replay_next(replay, w.engine);

	op.replay->verdict = verdict;
	op.replay->found = found;
	replay_answered(replay, &op);
	return op.type;
}

static bool
next_is(enum op_type type, uint64_t ino)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == type && op->ino == ino;
}

static bool
next_is_called(enum op_type type, const char *name)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == type && op->name.len == strlen(name) && memcmp(op->name.data, name, op->name.len) == 0;
}

/* FAR was cut off, in DIR, and is another's now. */
static void
begin(void)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1, .parent = DIR, .hint = world_text("file") });
	mount(3);
	expect(changed_by_others() == OP_SETATTR);
}

/* ---- making ---- */

static void
place(void)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = OID_ROOT, .child = DIR, .name = world_text("d"),
	    .attr.mode = S_IFDIR | 0755 });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = notes_count });
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1, .parent = DIR, .hint = world_text("file") });
	mount(4);
	expect(answers(REPLAY_SAME, DIR + 1) == OP_MKDIR && changed_by_others() == OP_SETATTR && says(FAR, "") == OP_GETATTR);
	ok(next_is(OP_LOOKUP, DIR + 1), "a copy goes to the directory that stands for the one it was in");
	unmount();
}

/* An attempt before this one made a copy, and noted it. */
static void
noted_before(void)
{
	static const struct { uint64_t there; const char *what; } cases[] = {
		{ COPY, "a copy that an earlier attempt made is cleared" },
		{ COPY + 1, "what has its name by now is left alone" },
	};

	for (unsigned i = 0; i < 2; i++) {
		forget();
		cut_off();
		write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .ino = FAR, .child = COPY, .parent = DIR,
		    .name = world_text("file"), .name2 = world_text(BESIDE) });
		mount(3);
		expect(changed_by_others() == OP_SETATTR && says(FAR, "") == OP_GETATTR && next_is_called(OP_LOOKUP, BESIDE));
		expect(says(cases[i].there, "") == OP_LOOKUP);
		ok(i == 0 ? next_is(OP_SETATTR, COPY) : next_is(OP_LOOKUP, DIR) && !next_is_called(OP_LOOKUP, BESIDE), "%s", cases[i].what);
		unmount();
	}
}

/* What can be seen of the original: its mode, and how much is to be copied. */
static void
of_what(void)
{
	static const struct { const char *what; int error; uint32_t mode, copied; bool reads; } cases[] = {
		{ "a copy has the mode of the original, and its content", 0, S_IFREG | 0640, S_IFREG | 0640, true },
		{ "one of what is no file is one, of its owner", 0, S_IFDIR | 0755, S_IFREG | 0600, false },
		{ "so is one of what cannot be seen", -EIO, S_IFREG | 0644, S_IFREG | 0600, false },
	};

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin();
		expect((cases[i].error < 0 ? says_error(cases[i].error) : shows(0, cases[i].mode, 5)) == OP_GETATTR);
		expect(says_error(-ENOENT) == OP_LOOKUP && next_is(OP_MKNOD, DIR));
		ok(replay_next(replay, w.engine)->attr.mode == cases[i].copied && says(COPY, "") == OP_MKNOD &&
		    (cases[i].reads ? next_is(OP_READ, FAR) : next_is(OP_SETATTR, COPY)), "%s", cases[i].what);
		unmount();
	}
}

static void
damaged(void)
{
	uint64_t at[4] = { 0 };
	unsigned reads = 0;

	begin();
	expect(shows(0, S_IFREG | 0644, LARGE) == OP_GETATTR && says_error(-ENOENT) == OP_LOOKUP && says(COPY, "") == OP_MKNOD);
	while (next_is(OP_READ, FAR) && reads < 4) {
		at[reads++] = replay_next(replay, w.engine)->offset;
		says_error(-EIO);
	}
	ok(reads == 3 && at[0] == 0 && at[1] > 0 && at[2] == 2 * at[1] && next_is(OP_SETATTR, COPY),
	    "of a damaged file each part is tried, and what was written goes to its copy all the same");
	ok(says_error(-EIO) == OP_SETATTR && next_is_called(OP_LOOKUP, "file"), "what the copy does not take is passed over");
	unmount();
}

/* ---- what ends an attempt, and what does not ---- */

static void
ends(void)
{
	begin();
	expect(says(FAR, "") == OP_GETATTR && says_error(-ENOENT) == OP_LOOKUP && says(COPY, "") == OP_MKNOD);
	refuses_notes = true;
	ok(ended_with(-ENOBUFS), "a copy that cannot be noted down ends it: this disk is full, not the server's");
	refuses_notes = false;
	unmount();
	begin();
	ok(says_error(-ENOBUFS) == OP_GETATTR && ended_with(-ENOBUFS), "so does a journal that holds no more");
	unmount();
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .parent = OID_ROOT, .name = world_text("file"), .name2 = world_text(BESIDE) });
	again_alive();
	ok(says_error(-ENOSPC) == OP_LOOKUP && ended_with(-ENOSPC), "a server that is full while copies are compared ends it too");
	unmount();
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_MODE, .version = 1, .nlink = 1 });
	mount(3);
	ok(says_error(-EIO) == OP_SETATTR && done(), "attributes of a damaged file need no copy");
	unmount();
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = DIR, .child = FAR, .name = world_text("d"),
	    .attr.mode = S_IFDIR | 0755 });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = notes_count });
	mount(4);
	expect(answers(REPLAY_GONE, 0) == OP_MKDIR);
	ok(next_is(OP_MKDIR, OID_ROOT) && answers(REPLAY_GONE, 0) == OP_MKDIR && done(), "a root that is not there is tried once");
	unmount();
}

/* ---- the conflicts ---- */

/* One that an earlier attempt noted, in DIR. */
static void
begin_conflict(void)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .parent = DIR, .name = world_text("file"), .name2 = world_text(BESIDE) });
	mount(3);
}

/* It is found, and is not the original: kept, and its directory listed. */
static bool
kept(void)
{
	struct replay_report report;
	bool climbs = next_is(OP_READDIR, DIR);

	replay_report(replay, &report);
	return climbs && report.conflicts == 1 && report.equal == 0;
}

static void
compared(void)
{
	static const struct { const char *what; uint64_t copy; int error; const char *original, *read; int read_error; } cases[] = {
		{ "a copy that cannot be looked at is kept", COPY, -EIO, NULL, NULL, 0 },
		{ "one that is the original itself is kept", ORIGINAL, 0, NULL, NULL, 0 },
		{ "one that cannot be read is kept", COPY, 0, "equal", NULL, -EIO },
		{ "one of which nothing can be read, nor of the original, is kept", COPY, 0, "", "", 0 },
	};
	struct replay_report report;

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		begin_conflict();
		expect(says(ORIGINAL, "") == OP_LOOKUP);
		expect((cases[i].error < 0 ? says_error(cases[i].error) : says(cases[i].copy, "")) == OP_LOOKUP);
		if (cases[i].original != NULL)
			expect(says(ORIGINAL, cases[i].original) == OP_READ &&
			    (cases[i].read_error < 0 ? says_error(cases[i].read_error) : says(COPY, cases[i].read)) == OP_READ);
		ok(kept(), "%s", cases[i].what);
		unmount();
	}
	begin_conflict();
	expect(says(ORIGINAL, "") == OP_LOOKUP && says(COPY, "") == OP_LOOKUP && says(ORIGINAL, "equal") == OP_READ && says(COPY, "equal") == OP_READ);
	expect(says_error(-ENOENT) == OP_UNLINK && done());
	replay_report(replay, &report);
	ok(report.equal == 0 && report.conflicts == 0, "one that somebody has removed meanwhile is nobody's work here");
	unmount();
}

/* ---- the path it is told by ---- */

static enum op_type
lists(const struct dirent_out *entries, size_t count, int error)
{
	struct op op = *replay_next(replay, w.engine);
	struct dirent_out copy[4];

	if (count > 0)
		memcpy(copy, entries, count * sizeof copy[0]);
	op.entries = copy;
	op.entries_count = count;
	op.error = error;
	replay_answered(replay, &op);
	return op.type;
}

static struct dirent_out
entry(const char *name, uint64_t ino, uint64_t offset)
{
	return (struct dirent_out){ .name = name, .name_len = strlen(name), .ino = ino, .offset = offset };
}

static void
begin_path(void)
{
	begin_conflict();
	expect(says_error(-ENOENT) == OP_LOOKUP && says(COPY, "") == OP_LOOKUP && next_is(OP_READDIR, DIR));
}

/* The directory `ino` lies in `parent`. */
static bool
lies_in(uint64_t ino, uint64_t parent)
{
	const struct dirent_out dots[] = { entry(".", ino, 1), entry("..", parent, 2) };

	return next_is(OP_READDIR, ino) && lists(dots, 2, 0) == OP_READDIR;
}

static bool
told_as(const char *path)
{
	const char *is = NULL;

	expect(done() && replay_conflict(replay, 0, &is));
	if (strcmp(is, path) == 0)
		return true;
	printf("# %s\n", is);
	return false;
}

static void
names_on_the_way(void)
{
	static const char *const names[] = { "d", ".d", "...", "ab" };
	char path[64];

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		/* A directory that lies in itself, were it not for the name. */
		const struct dirent_out root[] = { entry(".", DIR, 1), entry("..", DIR, 2), entry(names[i], DIR, 3) };

		begin_path();
		expect(lies_in(DIR, OID_ROOT) && next_is(OP_READDIR, OID_ROOT) && lists(root, 3, 0) == OP_READDIR);
		snprintf(path, sizeof path, "/%s/" BESIDE, names[i]);
		ok(told_as(path), "a copy is told by its path, %s", path);
		unmount();
	}
}

static void
long_listing(void)
{
	const struct dirent_out first[] = { entry("a", DIR + 1, 7) }, second[] = { entry("d", DIR, 8) };

	begin_path();
	expect(lies_in(DIR, OID_ROOT) && lists(first, 1, 0) == OP_READDIR);
	ok(next_is(OP_READDIR, OID_ROOT) && replay_next(replay, w.engine)->offset == 7, "a long directory is read on");
	expect(lists(second, 1, 0) == OP_READDIR);
	ok(told_as("/d/" BESIDE), "until the name is found");
	unmount();
	begin_path();
	expect(lies_in(DIR, OID_ROOT) && lists(first, 1, 0) == OP_READDIR && lists(NULL, 0, 0) == OP_READDIR);
	ok(told_as("/" BESIDE), "or has an end without it");
	unmount();
}

static void
lost_ways(void)
{
	const struct dirent_out one[] = { entry(".", DIR, 1) };

	begin_path();
	expect(lists(NULL, 0, -EIO) == OP_READDIR);
	ok(told_as("/" BESIDE), "a copy in a directory that cannot be read is told by its name alone");
	unmount();
	begin_path();
	expect(lists(one, 1, 0) == OP_READDIR);
	ok(told_as("/" BESIDE), "or in one that lies nowhere");
	unmount();
	begin_path();
	expect(lies_in(DIR, OID_ROOT) && lists(NULL, 0, -EIO) == OP_READDIR);
	ok(told_as("/" BESIDE), "or in one whose own cannot be read");
	unmount();
}

/* Each directory lies in the next one, and no end of it. */
static void
deep(void)
{
	unsigned depth = 0;
	const char *is = NULL;

	begin_path();
	while (!done() && depth < 1000) {
		const struct dirent_out here[] = { entry("d", DIR + depth, 3) };

		expect(lies_in(DIR + depth, DIR + depth + 1));
		if (done())
			break;
		expect(lists(here, 1, 0) == OP_READDIR);
		depth++;
	}
	ok(depth > 100 && depth < 1000 && replay_conflict(replay, 0, &is) && strlen(is) == 2 * depth + strlen("/" BESIDE),
	    "of %u directories the copy's path is told, and then enough", depth);
	unmount();
}

int
main(void)
{
	world_begin();
	place();
	noted_before();
	of_what();
	damaged();
	ends();
	compared();
	names_on_the_way();
	long_listing();
	lost_ways();
	deep();
	return tap_done();
}
