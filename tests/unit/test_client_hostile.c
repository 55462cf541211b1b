/*
 * test_client_hostile.c - what no honest server says: names that lead nowhere
 * or to what is not there, counts that do not fit, ids that are not its to
 * give.  The client engine alone, before the objects of a table.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/replay.h"
#include "tests/tap.h"

enum { DIR = FAR, A, B, C };

static struct far_object tree[5];

static void
begin(void)
{
	const struct far_object honest[5] = {
		{ .oid = DIR, .mode = S_IFDIR | 0755, .nlink = 2, .parent = OID_ROOT, .names = { { "a", A }, { "b", B } } },
		{ .oid = A, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = B, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = C, .mode = S_IFDIR | 0755, .nlink = 2, .parent = DIR },
	};

	memcpy(tree, honest, sizeof tree);
	world_setup();
	far_begin(tree);
}

static void
end(void)
{
	while (w.store_count > 0)
		world_stored(world_take_store());
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static int
look(uint64_t dir, const char *name, uint64_t *ret_child)
{
	struct op op = { .type = OP_LOOKUP, .ino = dir, .name = world_text(name) };
	int r = far_do(&op);

	*ret_child = op.child;
	world_replied(&op);
	return r;
}

/* Says of an object, unasked, that it is no more. */
static void
say_freed(uint64_t oid)
{
	world_grant(w.last_read + 1000, 0, &(struct msg_answer){ .oid = oid, .status = STATUS_NOENT }, 1);
}

static uint64_t
make(enum op_type type, uint64_t dir, const char *name, uint32_t mode)
{
	struct op op = { .type = type, .ino = dir, .name = world_text(name), .attr.mode = mode };
	uint64_t child = far_do(&op) == 0 ? op.child : 0;

	world_replied(&op);
	return child;
}

/* ---- names ---- */

static void
test_nowhere(void)
{
	uint64_t child;

	begin();
	tree[0].names[0].child = 0;
	ok(look(DIR, "a", &child) == -EIO && look(DIR, "b", &child) == 0, "a name that leads nowhere is damaged, and no other");
	end();
}

/* Its object is gone: the name is an old one, and asked for again. */
static void
test_old_names(void)
{
	struct op op = { .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") };
	uint64_t child;

	begin();
	tree[1].freed = true;
	w.reply_count = 0;
	world_submit(&op);
	for (unsigned i = 0; i < 10 && w.reply_count == 0; i++) {
		bool told = world_wanted(A, MODE_SHARED);

		far_answer();
		if (told)
			tree[0].names[0].child = B;	/* as another client has it by then */
	}
	ok(op.error == 0 && op.child == B, "a name whose object is gone is asked for again, and leads elsewhere by now");
	world_replied(&op);
	end();

	begin();
	tree[1].freed = true;
	ok(look(DIR, "a", &child) == -ESTALE, "if it leads there still, that is told");
	ok(look(DIR, "b", &child) == 0, "of no other");
	end();

	/* Names that we gave it ourselves are no old ones. */
	begin();
	ok(far_done((struct op){ .type = OP_LINK, .ino = A, .ino2 = OID_ROOT, .name = world_text("l") }) == 0, "a name is made here");
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("b") });
	ok(far_done((struct op){ .type = OP_RENAME, .ino = DIR, .ino2 = DIR, .name = world_text("a"), .name2 = world_text("b") }) == 0,
	    "another changed");
	say_freed(A);
	w.sent[MSG_read] = 0;
	ok(look(OID_ROOT, "l", &child) == -ESTALE && look(DIR, "b", &child) == -ESTALE && w.sent[MSG_read] == 0,
	    "of what they lead to the server says that it is gone: nothing is asked again");
	end();
}

/* More names than it counts. */
static void
test_miscounted(void)
{
	struct op open = { .type = OP_OPEN, .ino = A, .flags = O_RDWR }, stat = { .type = OP_GETATTR, .ino = A };

	begin();
	tree[0].names[1].child = A;
	far_do(&open);
	world_replied(&open);
	ok(far_done((struct op){ .type = OP_UNLINK, .ino = DIR, .name = world_text("a") }) == 0, "the one name of a file goes");
	/* It has one more, which is not shared along: nobody may know what it leads to. */
	world_sync();
	world_forget();
	world_recall(DIR, 1001, MODE_SHARED, 9);
	world_answer_all();
	ok(far_done((struct op){ .type = OP_UNLINK, .ino = DIR, .name = world_text("b") }) == 0, "and another one");
	ok(far_do(&stat) == 0 && stat.attr.nlink == 0, "but there are never less than none (%u)", stat.attr.nlink);
	world_replied(&stat);
	far_done((struct op){ .type = OP_RELEASE, .ino = A, .handle = open.handle });
	end();
}

/* ---- where directories lie ---- */

static void
test_parents(void)
{
	enum { DEEP = 200 };
	uint64_t at = OID_ROOT, child;
	struct op op = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("m"), .name2 = world_text("m") };

	begin();
	make(OP_MKDIR, OID_ROOT, "m", 0755);
	for (unsigned i = 0; i < DEEP; i++)
		at = make(OP_MKDIR, at, "d", 0755);
	op.ino2 = at;
	ok(far_done(op) == -ELOOP && look(OID_ROOT, "m", &child) == 0, "nothing moves deeper than can be looked up");
	op.ino2 = C;
	tree[0].parent = NO_PARENT;
	ok(far_done(op) == -EIO && look(OID_ROOT, "m", &child) == 0, "nor below what lies nowhere");
	end();
	begin();
	make(OP_MKDIR, OID_ROOT, "m", 0755);
	tree[0].parent = NO_PARENT;
	tree[0].nlink = 0;
	ok(far_done(op) == -ENOENT && look(OID_ROOT, "m", &child) == 0, "or is gone");
	tree[3].parent = OID_ROOT;
	end();
}

/* A directory is empty, whatever else is known of it. */
static void
test_empty(void)
{
	uint64_t d;

	begin();
	d = make(OP_MKDIR, OID_ROOT, "d", 0755);
	ok(far_done((struct op){ .type = OP_SETXATTR, .ino = d, .name = world_text("user.a"), .data = world_text("x") }) == 0 &&
	    far_done((struct op){ .type = OP_RMDIR, .ino = OID_ROOT, .name = world_text("d") }) == 0,
	    "an empty directory is removed with its extended attributes");
	tree[0].names[0].child = C;
	tree[3].region = true;
	ok(far_done((struct op){ .type = OP_RMDIR, .ino = DIR, .name = world_text("a") }) == 0, "or with what no directory has");
	end();
}

/* ---- content ---- */

/* Who has it open elsewhere may close it as soon as it has no name: that it was cut off goes along. */
static void
test_cut_and_removed(void)
{
	struct op cut = { .type = OP_SETATTR, .ino = A, .set = SET_SIZE };

	begin();
	tree[1].pinned = true;
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") });
	ok(far_done(cut) == 0, "a file that is open elsewhere is cut off");
	ok(far_done((struct op){ .type = OP_UNLINK, .ino = DIR, .name = world_text("a") }) == 0, "and removed");
	for (unsigned i = 0; i < 50 && w.commit_count == 0; i++)
		world_pass(100);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], DIR, KIND_ENTRY) && world_committed_size(w.commits[0], A) == 0,
	    "one commit tells of both");
	world_answer_all();
	end();
}

/* ---- ids ---- */

static void
attach_with(uint64_t first_oid, uint32_t count)
{
	struct msg_attached a = { .session = 1, .credit = CREDIT_MAX, .term_ms = 1000 * TERM_MS, .first_oid = first_oid,
	    .oid_count = count, .sessions = 1 };

	world_setup_unattached(NULL);
	engine_attached(w.engine, &a, true);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
}

static void
test_ids(void)
{
	const struct { uint64_t first; uint32_t count; } ranges[] = { { 400, 3 }, { 5002, 9 }, { UINT64_MAX - 1, 9 }, { 3, 9 } };
	struct op op = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("n"), .attr.mode = 0640 };
	uint64_t first;

	begin();
	far_done((struct op){ .type = OP_GETATTR, .ino = A });
	world_teardown();
	attach_with(A, 10);
	far_begin(tree);
	far_done((struct op){ .type = OP_GETATTR, .ino = A });
	ok(make(OP_MKNOD, OID_ROOT, "x", 0644) == 0, "an id of what is known already is nobody else's");
	ok(make(OP_MKNOD, OID_ROOT, "x", 0644) == A + 1, "the next one is");
	end();

	attach_with(5000, 3);
	make(OP_MKNOD, OID_ROOT, "a", 0644);
	engine_received(w.engine, &(struct message){ .type = MSG_allocated, .allocated = { .first_oid = 7000, .oid_count = 5 } });
	make(OP_MKNOD, OID_ROOT, "b", 0644);
	make(OP_MKNOD, OID_ROOT, "c", 0644);
	memset(w.sent, 0, sizeof w.sent);
	world_pass(100);
	ok(w.sent[MSG_alloc] == 0 && make(OP_MKNOD, OID_ROOT, "d", 0644) == 7000, "a range is used up, and another one is there");
	end();

	attach_with(5000, 3);
	for (char name[] = "a"; name[0] < 'd'; name[0]++)
		first = make(OP_MKNOD, OID_ROOT, name, 0644);
	ok(first == 5002 && !world_submit(&op), "there are no more ids");
	w.reply_count = 0;
	world_pass(100);
	ok(w.sent[MSG_alloc] == 1, "more are asked for once");
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
		struct message m = { .type = MSG_allocated, .allocated = { .first_oid = ranges[i].first, .oid_count = ranges[i].count } };

		engine_received(w.engine, &m);
		world_collect();
	}
	ok(w.reply_count == 0, "nor by ranges that were given before, or that are not the server's, or none");
	engine_received(w.engine, &(struct message){ .type = MSG_allocated, .allocated = { .first_oid = 6000, .oid_count = 2 } });
	world_collect();
	ok(w.reply_count == 1 && op.child == 6000 && op.attr.mode == (S_IFREG | 0640), "but by one that is: a file, as no other type is said");
	world_replied(&op);
	end();
}

/* ---- the journal's operations ---- */

static void
test_chosen_ids(void)
{
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_MKNOD, .ino = OID_ROOT, .child = A };
	struct replaying p = { .entry = &entry, .keep_oids = true, .beside = world_text("y"), .it.base = 1 };
	struct op op = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("n"), .attr.mode = 0644, .replay = &p }, made = op;
	struct op set = { .type = OP_SETATTR, .ino = A, .set = SET_MODE, .attr.mode = 0600, .replay = &p };

	begin();
	far_done((struct op){ .type = OP_GETATTR, .ino = A });
	ok(far_do(&op) == 0 && op.child != A && op.child != 0, "what is run again takes no id that is something else");
	world_replied(&op);
	p.entry = &(struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = A };
	ok(far_done(set) == 0 && p.verdict == REPLAY_DONE, "what is done to that is done,");
	p.entry = &entry;
	made.name = world_text("m");
	ok(far_do(&made) == 0 && made.child != A && made.child != op.child, "which does not give it up either");
	world_replied(&made);
	end();
}

/* Removed by the journal, it may be open; but not by who only tidies up. */
static void
test_removed_again(void)
{
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = DIR, .victim = A };
	struct replaying p = { .entry = &entry, .beside = world_text("y"), .victim.base = 1 };
	struct op drop = { .type = OP_UNLINK, .ino = DIR, .name = world_text("a"), .redo = true, .victim = A }, open = { .type = OP_OPEN, .ino = A };

	begin();
	far_do(&open);
	world_replied(&open);
	ok(far_done(drop) == -EBUSY, "a file that is open is not tidied up");
	drop.replay = &p;
	ok(far_done(drop) == 0 && p.verdict == REPLAY_DONE, "what was removed before is removed again, if it is open or not");
	far_done((struct op){ .type = OP_RELEASE, .ino = A, .handle = open.handle });
	end();
}

int
main(void)
{
	world_begin();
	test_nowhere();
	test_old_names();
	test_miscounted();
	test_parents();
	test_empty();
	test_cut_and_removed();
	test_ids();
	test_chosen_ids();
	test_removed_again();
	return tap_done();
}
