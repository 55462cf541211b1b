/*
 * test_client_recalls.c - how leases go when much happens at once: several
 * recalls, answers and losses, children by the thousand, old grants and new.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

enum { DIR = FAR, A, B };

static struct far_object tree[4];

static void
begin(void)
{
	const struct far_object now[4] = {
		{ .oid = DIR, .mode = S_IFDIR | 0755, .nlink = 2, .parent = OID_ROOT, .names = { { "a", A }, { "b", B } } },
		{ .oid = A, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = B, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
	};

	memcpy(tree, now, sizeof tree);
	world_setup();
	far_begin(tree);
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static int
released(uint64_t oid)
{
	return world_find(ACTION_SEND, MSG_release, oid);
}

static void
give_up(struct op *op)
{
	engine_detached(w.engine);
	engine_interrupt(w.engine, op);
	world_collect();
	world_replied(op);
}

/* ---- grants ---- */

static void
test_other_grants(void)
{
	struct op set = { .type = OP_SETATTR, .ino = A, .set = SET_MODE, .attr.mode = 0600 };

	begin();
	far_done((struct op){ .type = OP_GETATTR, .ino = A });
	world_forget();
	world_recall(A, tree[1].grant - 1, MODE_NONE, 9);
	ok(engine_lease(w.engine, A) == MODE_SHARED && released(A) < 0, "a recall of an older grant is late");
	world_submit(&set);
	world_recall(A, tree[1].grant + 1, MODE_NONE, 9);
	ok(engine_lease(w.engine, A) == MODE_SHARED && released(A) < 0, "one of a newer is early");
	tree[1].grant++;
	world_grant_one(1, world_object(A, MODE_EXCLUSIVE, tree[1].grant, 1, &world_file));
	ok(set.error == 0 && engine_lease(w.engine, A) == MODE_EXCLUSIVE, "the newer serves who waits for it");
	world_replied(&set);
	world_answer_all();
	ok(released(A) >= 0, "and is given back then");
	end();
}

/* ---- along with a directory ---- */

/* What may be shared along is what is leased alone, known, named and quiet. */
static void
test_shared_along(void)
{
	struct op open = { .type = OP_OPEN, .ino = A, .flags = O_RDONLY };

	begin();
	tree[0].names[2] = (struct far_name){ "again", A };
	tree[0].names[3] = (struct far_name){ "nowhere", 0 };
	tree[0].region = true;
	far_done((struct op){ .type = OP_SETATTR, .ino = B, .set = SET_MODE, .attr.mode = 0600 });
	far_do(&open);
	world_replied(&open);
	far_done((struct op){ .type = OP_UNLINK, .ino = DIR, .name = world_text("a") });
	far_done((struct op){ .type = OP_READDIR, .ino = DIR, .size = 4096 });
	far_done((struct op){ .type = OP_SYNC });
	world_forget();
	world_recall(DIR, tree[0].grant, MODE_SHARED, 9);
	ok(released(DIR) >= 0 && released(B) >= 0 && released(B) < released(DIR), "children go before their directory");
	ok(released(A) < 0, "but not one that has no name any more, whatever another name says");
	far_done((struct op){ .type = OP_RELEASE, .ino = A, .handle = open.handle });
	end();
}

/* There are more than are shared along with one directory. */
static void
test_shared_many(void)
{
	enum { MANY = 4300 };
	unsigned shared = 0;
	uint64_t first = 0, last = 0;
	char name[16];

	world_setup();
	for (unsigned i = 0; i < MANY; i++) {
		struct op op = { .type = OP_MKNOD, .ino = OID_ROOT, .attr.mode = 0644 };

		snprintf(name, sizeof name, "%u", i);
		op.name = world_text(name);
		world_submit(&op);
		last = op.child;
		first = first == 0 ? last : first;
		world_replied(&op);
		if (i % 500 == 0)
			world_sync();
	}
	world_sync();
	world_recall(OID_ROOT, 0, MODE_SHARED, 9);
	for (uint64_t oid = first; oid <= last; oid++)
		shared += engine_lease(w.engine, oid) == MODE_SHARED;
	ok(shared == 4096 && engine_lease(w.engine, OID_ROOT) == MODE_SHARED, "of %u children so many are shared along: %u", MANY, shared);
	world_teardown();
}

/* Who takes the children of a directory one by one gets those behind them in the listing, too. */
static void
test_series(void)
{
	enum { FILES = 40 };
	struct op list = { .type = OP_READDIR, .ino = DIR, .size = 4096 };
	static struct far_object many[FILES + 2];
	static char names[FAR_NAMES][8];
	unsigned left = 0;

	world_setup();
	many[0] = (struct far_object){ .oid = DIR, .mode = S_IFDIR | 0755, .nlink = 2, .parent = OID_ROOT, .region = true };
	for (unsigned i = 0; i < FAR_NAMES; i++) {
		snprintf(names[i], sizeof names[i], "%u", i);
		many[0].names[i] = (struct far_name){ names[i], A + i };
		many[i + 1] = (struct far_object){ .oid = A + i, .mode = S_IFREG | 0644, .nlink = 1 };
	}
	far_begin(many);
	far_done(list);
	for (unsigned i = 0; i < FAR_NAMES; i++)
		far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text(names[i]) });
	for (unsigned i = 0; i < 4; i++)
		world_recall(A + i, many[i + 1].grant, MODE_NONE, 9);
	for (unsigned i = 0; i < FAR_NAMES; i++)
		left += engine_lease(w.engine, A + i) != MODE_NONE;
	ok(left <= FAR_NAMES - 4, "children taken one after the other: %u are left", left);
	end();
}

/* ---- operations that wait ---- */

static struct { unsigned entries; } kept;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data, (void)sync;
	kept.entries++;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static const struct engine_journal journal = { .append = append, .trim = trim, .next = 1, .max = 64 << 20 };

/* One that waits for the journal to be run again holds up nobody: the driver may need what is recalled. */
static void
test_waits_for_redo(void)
{
	struct op link = { .type = OP_LINK, .ino2 = DIR, .name = world_text("l") }, read = { .type = OP_READ, .size = 4096 };
	struct op own = { .type = OP_GETATTR, .redo = true };
	struct msg_answer answer;
	uint64_t h, a;

	begin();
	world_teardown();
	world_setup_as(&(struct engine_config){ .journal = &journal, .redo = true });
	link.ino = read.ino = a = world_create("a", &h);
	read.handle = h;
	world_sync();
	world_write(a, h, 0, 10);
	ok(!world_submit(&link), "a link waits for its directory");
	world_grant(w.last_read, 5, (answer = world_object(DIR, MODE_EXCLUSIVE, 7, 1, &world_directory), &answer), 1);
	ok(w.read.ticket == 5, "and has a ticket");
	world_lose(a);
	world_grant(w.last_read, 5, NULL, 0);
	ok(world_status().waiting_objects > 0, "then what it is to link is lost, and waits for the journal");
	world_forget();
	world_recall(DIR, 7, MODE_NONE, 9);
	ok(released(DIR) >= 0, "the directory goes to who is younger");

	/* The driver has it again, and somebody else wants it: a READ here has locked its pages. */
	ok(!world_submit(&read), "a READ of that waits for the journal, too");
	far_begin(tree);
	own.ino = a;
	world_submit(&own);
	world_grant_one(6, world_object(a, MODE_SHARED, 9, 5, &world_file));
	world_replied(&own);
	w.no_sweep = true;
	world_forget();
	world_recall(a, 9, MODE_NONE, 11);
	world_invalidated(a, false, 0);
	ok(released(a) >= 0, "nor does that keep it");
	give_up(&link);
	give_up(&read);
	end();
}

/* Two that are let go by one recall's end, when another one looks who is older. */
static void
test_two_recalls(void)
{
	struct op young = { .type = OP_LINK, .ino = A, .ino2 = DIR, .name = world_text("x") }, old = young;
	struct op set = { .type = OP_SETATTR, .ino = A, .set = SET_MODE, .attr.mode = 0600 };
	struct msg_answer dir;
	uint64_t first, second;

	begin();
	far_do(&set);
	world_pass(3000);
	world_pass(1000);
	world_answer_all();
	old.name = world_text("y");
	world_submit(&young);
	world_grant(w.last_read, 5, NULL, 0);
	first = w.last_read;
	world_submit(&old);
	world_grant(w.last_read, 2, NULL, 0);
	world_forget();
	world_recall(A, tree[1].grant, MODE_SHARED, 1);
	ok(released(A) < 0, "a file is shared when the answer to its change has left");
	dir = world_object(DIR, MODE_EXCLUSIVE, 5000, 1, &world_directory);
	second = w.last_read;
	world_grant(first, 5, &dir, 1);
	world_grant(second, 2, NULL, 0);
	world_recall(DIR, 5000, MODE_NONE, 3);
	world_replied(&set);
	ok(released(A) >= 0, "two wait for that, to link it");
	ok(released(DIR) < 0, "their directory is kept for the older one, not for the younger");
	give_up(&young);
	give_up(&old);
	end();
}

/* ---- sweeps ---- */

/* A root that a name leads to is looked up, too. */
static void
test_root_by_name(void)
{
	begin();
	tree[0].names[0].child = OID_ROOT;
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") });
	w.no_sweep = true;
	world_recall(OID_ROOT, 0, MODE_NONE, 9);
	world_forget();
	world_invalidated(OID_ROOT, false, -ENOENT);
	ok(!world_swept(OID_ROOT, 0) && released(OID_ROOT) >= 0, "of the root the kernel is told once");
	end();
}

/* Lost while an answer is on its way, and forgotten before that has left. */
static void
test_lost_and_forgotten(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("a") };
	uint64_t h, a, b;

	world_setup();
	a = world_create("a", &h);
	world_run(OP_RELEASE, a, h);
	b = world_create("b", &h);
	world_run(OP_RELEASE, b, h);
	world_sync();
	world_submit(&look);
	w.no_sweep = true;
	world_lose(a);
	world_lose(OID_ROOT);
	engine_forget(w.engine, a, 2);
	world_forget();
	world_replied(&look);
	ok(world_swept(OID_ROOT, 1), "what was lost is swept again when an answer from before has left");
	ok(!world_swept(a, 2) && !world_swept(a, 0), "but not what the kernel has forgotten by then");
	world_invalidated(a, true, 0);
	world_invalidated(OID_ROOT, false, 0);
	world_invalidated(OID_ROOT, false, 0);
	end();
}

/* ---- connections ---- */

/* Made, removed and never heard of by the server: nothing to claim, and nothing that could be lost. */
static void
test_born_and_gone(void)
{
	struct msg_attached anew = { .session = 1, .credit = CREDIT_MAX, .boot = 2, .term_ms = TERM_MS, .first_oid = 9000000,
	    .oid_count = 60000, .sessions = 1, .sequence = 1000000 };
	struct op drop = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") };
	struct msg_lease lost = { 0 };
	uint64_t h;

	world_setup();
	lost.oid = world_create("a", &h);
	world_run(OP_RELEASE, lost.oid, h);
	world_submit(&drop);
	world_replied(&drop);
	world_sync();
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	world_forget();
	engine_attached(w.engine, &anew, false);
	world_collect();
	ok(released(lost.oid) < 0, "what the server never heard of is not given back to it");
	world_hear((struct message){ .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } });
	ok(world_status().lost_objects == 0, "nor lost to it");
	end();
}

static void
test_fresh(void)
{
	begin();
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") });
	world_recall(A, tree[1].grant, MODE_NONE, 9);
	engine_detached(w.engine);
	world_forget();
	world_attach(true, 0, false);
	ok(released(DIR) >= 0 && released(A) < 0, "in a new session all that was held is given back, and nothing else");
	end();
}

/* More leases than one RELEASE holds, when all that is clean is given up. */
static void
test_many_released(void)
{
	enum { MANY = LEASE_LIST_MAX + 500, PART = 8000 };
	struct msg_attached anew = { .session = 1, .credit = CREDIT_MAX, .boot = 2, .term_ms = TERM_MS, .first_oid = 9000000,
	    .oid_count = 60000, .sessions = 1, .sequence = 1000000 };
	struct msg_answer *answers = calloc(PART, sizeof *answers), one = world_object(FAR, MODE_SHARED, 7, 1, &world_file);
	struct op op = { .type = OP_GETATTR, .ino = FAR };
	unsigned held = 0;

	world_setup();
	world_submit(&op);
	world_grant_one(1, one);
	world_replied(&op);
	for (unsigned n = 0; n < MANY; n += PART) {
		unsigned count = MANY - n < PART ? MANY - n : PART;

		for (unsigned i = 0; i < count; i++) {
			answers[i] = one;
			answers[i].oid = FAR + 1 + n + i;
		}
		world_grant(w.last_read + 1000, 0, answers, count);
	}
	free(answers);
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	memset(w.sent, 0, sizeof w.sent);
	engine_attached(w.engine, &anew, false);
	world_collect();
	/* The sweep of the root, which is one of them, stands in between. */
	ok(w.sent[MSG_release] == 3, "so many leases are given back in parts (%u)", w.sent[MSG_release]);
	world_hear((struct message){ .type = MSG_reclaimed });
	for (unsigned i = 0; i < MANY; i++)
		held += engine_lease(w.engine, FAR + i) != MODE_NONE;
	ok(held == 0, "all of them");
	end();
}

int
main(void)
{
	world_begin();
	test_other_grants();
	test_shared_along();
	test_shared_many();
	test_series();
	test_waits_for_redo();
	test_two_recalls();
	test_root_by_name();
	test_lost_and_forgotten();
	test_born_and_gone();
	test_fresh();
	test_many_released();
	return tap_done();
}
