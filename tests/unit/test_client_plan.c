/*
 * test_client_plan.c - which entries of a journal are run, in which order, and
 * what stands for what.  Each case is a journal, as an engine would have
 * written it or as a disk may hold it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/journal_world.h"

enum { ENTRIES_MAX = 12 };

#define TEXT(s) { (const uint8_t *)(s), sizeof (s) - 1 }
#define MAKE(called, id, ...) MAKE_IN(OID_ROOT, called, id, __VA_ARGS__)
#define MAKE_IN(dir, called, id, ...) { .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = (dir), .child = (id), .name = TEXT(called), \
    .attr.mode = S_IFDIR | 0755, __VA_ARGS__ }
#define CUT(id, ...) { .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = (id), .set = SET_SIZE, .version = 1, .nlink = 1, __VA_ARGS__ }
#define WRITE(id, at, text) { .kind = JOURNAL_OP, .type = OP_WRITE, .ino = (id), .version = 1, .nlink = 1, .offset = (at), \
    .data = TEXT(text), .size = sizeof (text) - 1 }
#define REMOVE(called, id, ...) { .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = OID_ROOT, .victim = (id), .name = TEXT(called), __VA_ARGS__ }
#define MOVE(from, to, id, ...) { .kind = JOURNAL_OP, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = (id), \
    .name = TEXT(from), .name2 = TEXT(to), __VA_ARGS__ }
#define LOST(id) { .kind = JOURNAL_LOSS, .ino = (id), .sequence = UINT64_MAX }
#define LOST_NAMES { .kind = JOURNAL_LOSS, .sequence = 1 }

static void
write_all(const struct journal_entry *entries)
{
	forget();		/* that is entry 1 */
	for (unsigned i = 0; i < ENTRIES_MAX && entries[i].kind != 0; i++)
		write_down(entries[i]);
}

/* Runs all of it: of names the first letter, of content which object it is done to, after FAR. */
static const char *
order(void)
{
	static char done[ENTRIES_MAX + 1];
	unsigned n = 0;

	while (n < ENTRIES_MAX) {
		const struct op *next = replay_next(replay, w.engine);
		struct op op;

		if (next == NULL || next->type == OP_SYNC)
			break;
		op = *next;
		op.child = op.replay->entry->child;
		done[n++] = op.name.len > 0 ? (char)op.name.data[0] : (char)('0' + op.ino - FAR);
		replay_answered(replay, &op);
	}
	done[n] = '\0';
	return done;
}

static const struct {
	const char	*what, *order;
	bool		 live;		/* by the mount that lost it; or else by the next one */
	struct journal_entry entries[ENTRIES_MAX];
} cases[] = {
	{ "what is lost again while it was being run again keeps its turn", "011", true,
	  { CUT(FAR), CUT(FAR + 1), LOST(FAR), LOST(FAR + 1), LOST_NAMES, CUT(FAR, .upto = 2), CUT(FAR + 1), LOST(FAR),
	    LOST(FAR + 1), LOST_NAMES } },
	{ "what was done again is not done twice", "ab", true, { MAKE("a", FAR), MAKE("a", FAR, .upto = 2), MAKE("b", FAR + 1),
	    LOST_NAMES } },
	{ "nor by the next mount", "ab", false, { MAKE("a", FAR), MAKE("a", FAR, .upto = 2), MAKE("b", FAR + 1), LOST_NAMES } },
	{ "what stands for itself is done", "a", true, { MAKE("a", FAR, .upto = 2), LOST_NAMES } },
	{ "what stands for nothing is done", "a", true, { MAKE("a", FAR, .upto = 99), LOST_NAMES } },
	{ "what was written over is left out, but not for nothing", "001", false, { WRITE(FAR, 0, "old"), WRITE(FAR, 0, "new"),
	    WRITE(FAR, 1, ""), WRITE(FAR + 1, 0, "one") } },
	{ "what is written before a cut and after it is all done", "000", false, { WRITE(FAR, 0, "old"), CUT(FAR), WRITE(FAR, 5, "new") } },
	{ "content of what was renamed anew is its own still", "0", true, { MOVE("r", "s", FAR), CUT(FAR), LOST(FAR), LOST_NAMES,
	    MOVE("r", "s", FAR + 9, .upto = 2) } },
	{ "content goes to the copy that was made for what was before it", "7", true, { CUT(FAR), CUT(FAR), LOST(FAR), LOST_NAMES,
	    CUT(FAR + 7, .upto = 2) } },
	{ "two names of one file, one renamed to the other, name nothing", "r", true, { MOVE("r", "s", 0), LOST_NAMES } },
};

static void
orders(void)
{
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *got;

		write_all(cases[i].entries);
		if (cases[i].live)
			again_alive();
		else
			mount(5);
		got = order();
		ok(strcmp(got, cases[i].order) == 0, "%s (%s)", cases[i].what, got);
		unmount();
	}
}

/* The directory was made again, under another id: what was in it goes there. */
static void
made_anew(void)
{
	static const struct journal_entry entries[ENTRIES_MAX] = { MAKE("a", FAR), MAKE_IN(FAR, "b", FAR + 1), LOST_NAMES,
	    MAKE("a", FAR + 5, .upto = 2) };
	const struct op *op;

	write_all(entries);
	again_alive();
	op = replay_next(replay, w.engine);
	ok(op->type == OP_MKDIR && op->name.data[0] == 'b' && op->ino == FAR + 5, "what was made in a directory goes to the one that stands for it");
	unmount();
}

/* The journal's mount knew of another name; that went too, as is seen when it is run again. */
static void
last_name(void)
{
	static const struct journal_entry entries[ENTRIES_MAX] = { REMOVE("a", FAR, .nlink = 1),
	    { .kind = JOURNAL_FREEZE, .sequence = 5, .upto = 2 }, CUT(FAR) };

	for (unsigned nlink = 0; nlink < 2; nlink++) {
		struct op op;

		write_all(entries);
		mount(4);
		op = *replay_next(replay, w.engine);
		op.victim_nlink = nlink;
		replay_answered(replay, &op);
		ok(op.type == OP_UNLINK && (nlink == 0) == done(), "content of what has %s name is %s", nlink == 0 ? "no" : "another",
		    nlink == 0 ? "left out" : "run");
		unmount();
	}
}

/* Of two that change places one is found to be another's. */
static void
found_foreign(void)
{
	static const struct journal_entry entries[ENTRIES_MAX] = { MOVE("a", "b", FAR, .victim = FAR + 1, .nlink = 1, .flags = 2),
	    { .kind = JOURNAL_FREEZE, .sequence = 5, .upto = 2 }, CUT(FAR), CUT(FAR + 1) };

	for (unsigned which = 0; which < 2; which++) {
		bool foreign[2] = { false, false };

		write_all(entries);
		mount(4);
		for (unsigned i = 0; i < 3; i++) {
			struct op op = *replay_next(replay, w.engine);

			if (i > 0)
				foreign[i - 1] = op.replay->it.foreign;
			op.victim_nlink = 1;
			op.replay->it.found = i == 0 && which == 0;
			op.replay->victim.found = i == 0 && which == 1;
			replay_answered(replay, &op);
		}
		ok(foreign[which] && !foreign[1 - which] && done(), "what is found to be another's stays theirs for the content to come");
		unmount();
	}
}

/* ---- entries that are none ---- */

static void
refused(void)
{
	static const struct journal_entry bad[] = {
		{ .kind = JOURNAL_OP, .type = OP_WRITE },
		{ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = OID_ROOT, .name = TEXT("a") },
		{ .kind = JOURNAL_OP, .type = OP_MKNOD, .ino = OID_ROOT, .name = TEXT("a") },
		{ .kind = JOURNAL_OP, .type = OP_SYMLINK, .ino = OID_ROOT, .name = TEXT("a") },
		{ .kind = JOURNAL_OP, .type = OP_CREATE, .ino = OID_ROOT, .name = TEXT("a") },
		{ .kind = JOURNAL_OP, .type = OP_LINK, .ino = FAR, .name = TEXT("a") },
		{ .kind = JOURNAL_OP, .type = OP_RENAME, .ino = OID_ROOT, .child = FAR, .name = TEXT("a"), .name2 = TEXT("b") },
		{ .kind = JOURNAL_FOREIGN }, { .kind = JOURNAL_CLEAN }, { .kind = JOURNAL_AWAY },
	};
	uint8_t bytes[JOURNAL_ARGUMENTS_MAX];
	unsigned wrong = 0;

	replay_new(&replay, "here", true);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		wrong += replay_add(replay, i + 1, (struct bytes){ bytes, (size_t)journal_encode(&bad[i], bytes) }) != -EBADMSG;
	ok(wrong == 0, "an entry that does not name what it is about is none");
	ok(replay_add(replay, 20, (struct bytes){ bytes, 3 }) == -EBADMSG, "nor is a part of one");
	ok(!replay_needed(replay), "and there is nothing to run");
	replay_free(replay);
}

static void
nobody(void)
{
	notes_count = 0;
	attached_to(0, 0);
	again_alive();
	ok(replay_next(replay, w.engine) == NULL && replay_error(replay) == 0, "a journal of nobody's is run to its end");
	unmount();
}

int
main(void)
{
	world_begin();
	orders();
	made_anew();
	last_name();
	found_foreign();
	refused();
	nobody();
	return tap_done();
}
