/*
 * test_client_leases.c - the client engine under leases: how they come, what
 * may be done under them, what must be done before they go, and when they are
 * over.  The rules are DESIGN's; each case names its own.
 */
#include "tests/unit/client_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static int
released(uint64_t oid)
{
	return world_find(ACTION_SEND, MSG_release, oid);
}

/* ---- R1: what the kernel keeps ---- */

static void
test_sweep(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("a") };
	struct op read = { .type = OP_READ, .size = 4096 }, attr = { .type = OP_GETATTR };
	uint64_t h, a;

	world_setup();
	attr.ino = read.ino = a = world_create("a", &h);
	read.handle = h;
	world_sync();
	world_submit(&look);
	world_replied(&look);
	w.no_sweep = true;
	world_forget();
	world_recall(a, 0, MODE_NONE, 9);
	ok(world_find(ACTION_INVALIDATE, 0, a) == 0 && w.said[0].mode == 2, "the pages of a file are swept");
	ok(released(a) < 0, "before it is given back");
	world_submit(&attr);
	ok(attr.error == 0 && !attr.cacheable, "what is told of it meanwhile is not to be kept");
	world_replied(&attr);
	world_submit(&read);
	world_replied(&read);
	world_forget();
	world_invalidated(a, true, 0);
	ok(world_find(ACTION_INVALIDATE, 0, a) >= 0 && released(a) < 0, "and again when pages came back meanwhile");
	world_forget();
	world_invalidated(a, true, -ENOENT);
	ok(world_find(ACTION_INVALIDATE, 0, a) >= 0 && released(a) < 0, "or when the kernel has not taken it in yet");
	world_invalidated(a, true, 0);
	ok(released(a) >= 0, "until it has, and none did");
	world_teardown();
}

/* The kernel moves what it knows of a name, and will believe it as long as before. */
static void
test_moved_name(void)
{
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT, .name2 = world_text("b") };
	uint64_t h;

	world_setup();
	world_create("a", &h);
	world_sync();
	w.no_sweep = true;
	world_recall(OID_ROOT, 0, MODE_NONE, 9);
	ok(world_submit(&move) && move.error == 0, "a name is moved while its directory is swept");
	world_replied(&move);
	world_forget();
	world_invalidated(OID_ROOT, false, 0);
	world_answer_all();
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0 && released(OID_ROOT) < 0, "it is swept again");
	world_invalidated(OID_ROOT, false, 0);
	world_answer_all();
	ok(released(OID_ROOT) >= 0, "and then given back");
	world_teardown();
}

/* Nobody sees a change while the kernel here still shows what was before it. */
static void
test_answer_under_way(void)
{
	struct op mode = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 }, later = mode;
	uint64_t g, h, a;

	world_setup();
	mode.ino = a = world_create("a", &h);
	world_sync();
	ok(world_submit(&mode) && mode.error == 0, "a file is changed");
	world_sync();
	world_forget();
	world_recall(a, 0, MODE_SHARED, 9);
	ok(released(a) < 0, "it is not shared while the answer to that is on its way");
	world_replied(&mode);
	ok(released(a) >= 0, "but then");
	world_teardown();

	/* One that is shared along with its directory. */
	world_setup();
	a = world_create("a", &g);
	mode.ino = world_create("b", &h);
	world_sync();
	world_run(OP_RELEASE, a, g);
	world_run(OP_RELEASE, mode.ino, h);
	world_submit(&mode);
	world_recall(OID_ROOT, 0, MODE_SHARED, 9);
	later.ino = a;
	world_submit(&later);
	world_sync();
	world_forget();
	world_replied(&mode);
	ok(released(OID_ROOT) >= 0 && released(mode.ino) >= 0, "what is in a shared directory goes with it");
	ok(released(a) < 0, "but not while an answer is on its way");
	world_replied(&later);
	world_teardown();
}

/* The sweep waits for pages that a READ of ours has locked, and the READ for a lease.  So may a WRITE, for the recall's end. */
static void
test_locked_pages(void)
{
	struct op open = { .type = OP_OPEN, .ino = FAR, .flags = O_RDWR }, read = { .type = OP_READ, .ino = FAR, .size = 4096 };
	struct op mode = { .type = OP_SETATTR, .ino = FAR, .set = SET_MODE }, write = { .type = OP_WRITE, .ino = FAR, .data = world_text("x") };

	world_setup();
	world_lease_far(MODE_SHARED, 7);
	world_submit(&open);
	read.handle = open.handle;
	world_replied(&open);
	ok(!world_submit(&read), "a READ waits for a record");
	w.no_sweep = true;
	world_recall(FAR, 7, MODE_NONE, 9);
	ok(world_swept(FAR, 2) && world_swept(FAR, 0) && released(FAR) < 0, "its pages and its attributes are swept");
	world_invalidated(FAR, false, 0);
	ok(released(FAR) >= 0, "the lease is given back when its attributes are, without waiting for the pages");
	world_invalidated(FAR, true, 0);
	ok(world_sane(), "and all is well");
	world_teardown();

	world_setup();
	world_lease_far(MODE_EXCLUSIVE, 7);
	world_submit(&open);
	write.handle = open.handle;
	world_replied(&open);
	world_submit(&mode);
	world_replied(&mode);
	world_recall(FAR, 7, MODE_SHARED, 9);
	ok(w.commit_count == 1 && !world_submit(&write), "a WRITE waits for a lease that is being shared");
	w.no_sweep = true;
	world_forget();
	world_recall(FAR, 7, MODE_NONE, 9);
	world_answer(STATUS_OK);
	world_invalidated(FAR, false, 0);
	ok(world_swept(FAR, 2) && world_swept(FAR, 0) && released(FAR) >= 0 && world_sane(), "all of it is given back so, too");
	world_teardown();
}

/* The kernel may have looked the name up when it led elsewhere. */
static void
test_changed_by_name(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, attr = { .type = OP_GETATTR };
	uint64_t h, a;

	world_setup();
	attr.ino = a = world_make_shared("a", &h);
	world_submit(&attr);
	ok(!world_submit(&op) && world_wanted(a, MODE_EXCLUSIVE), "removing a name waits for what it leads to");
	world_forget();
	world_grant_one(4, (struct msg_answer){ .oid = a, .mode = MODE_EXCLUSIVE, .grant = 6, .version = 3 });
	ok(op.error == 0 && world_find(ACTION_INVALIDATE, 0, a) >= 0, "whose attributes the kernel then forgets");
	world_invalidated(a, false, 0);
	world_forget();
	world_replied(&attr);
	ok(world_find(ACTION_INVALIDATE, 0, a) >= 0, "and once more when an answer from before it has left");
	world_replied(&op);
	world_teardown();
}

/* A link is read under a lease, as all is. */
static void
test_readlink(void)
{
	struct op op = { .type = OP_READLINK, .ino = FAR };

	world_setup();
	ok(!world_submit(&op) && world_wanted(FAR, MODE_SHARED), "what a link says is asked for");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	ok(op.error == -EINTR && world_sane(), "and not waited for by who gives up");
	world_replied(&op);
	world_teardown();
}

/* ---- R2: pins ---- */

static void
test_unpin(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, end = { .type = OP_RELEASE };
	uint64_t a, h;
	int on, off;

	world_setup();
	end.ino = a = world_create("a", &end.handle);
	world_sync();
	world_forget();
	world_submit(&op);
	world_replied(&op);
	on = world_find(ACTION_SEND, MSG_pin, a);
	ok(on >= 0 && w.said[on].mode == 1, "what is removed while open is pinned");
	world_pass(3000);
	world_pass(1000);
	ok(w.commit_count == 1, "the removal is on its way");
	world_forget();
	world_submit(&end);
	world_replied(&end);
	world_pass(100);
	ok(world_find(ACTION_SEND, MSG_pin, a) < 0, "when it is closed the pin stays for the commit");
	world_create("b", &h);
	world_pass(3000);
	world_pass(1000);
	world_answer(STATUS_OK);
	off = world_find(ACTION_SEND, MSG_pin, a);
	ok(off >= 0 && w.said[off].mode == 0 && w.commit_count == 1, "and is taken back then, though another is on its way");
	world_answer(STATUS_OK);
	engine_detached(w.engine);
	world_forget();
	world_attach(false, 100, false);
	off = world_find(ACTION_SEND, MSG_pin, a);
	ok(off >= 0 && w.said[off].mode == 0, "whose answer does not tell that this was heard");
	world_teardown();
}

/* ---- R3: losses ---- */

static void
test_loss(void)
{
	struct engine_status status;
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_lose(a);
	engine_status(w.engine, &status);
	ok(status.lost_objects == 1, "a loss is counted");
	ok(world_run(OP_FLUSH, a, h) == -EIO, "a handle is told of it");
	ok(world_run(OP_FLUSH, a, h) == 0, "once");
	ok(world_run(OP_SYNC, OID_ROOT, 0) == -EIO, "so is who syncs all");
	ok(world_run(OP_SYNC, OID_ROOT, 0) == 0, "once");
	ok(world_sane(), "and all is well");
	world_teardown();
}

/* Cut off, a file waits for what is written anew (R4): also one that was a hole, and has no record that would wait. */
static void
test_loss_of_a_cut(void)
{
	struct op hole = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 100000 };
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, other;

	world_setup();
	hole.ino = cut.ino = world_create("a", &h);
	world_submit(&hole);
	world_replied(&hole);
	world_sync();
	world_create("b", &other);
	world_pass(1500);
	world_submit(&cut);
	world_replied(&cut);
	world_pass(600);
	ok(w.commit_count == 1, "a commit tells of a file that was cut off");
	world_answer_all();
	world_lose(cut.ino);
	ok(world_run(OP_FLUSH, cut.ino, h) == -EIO, "that it was is lost, and told");
	world_pass(10000);
	ok(world_sane(), "and there is no word of it any more");
	world_answer_all();
	world_teardown();
}

/* The removal of a name is lost with the lease of what it led to: that is there still. */
static void
test_lost_removal(void)
{
	struct op drop = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, stat = { .type = OP_GETATTR };
	uint64_t h, a;

	world_setup();
	stat.ino = a = world_create("a", &h);
	world_sync();
	world_run(OP_RELEASE, a, h);
	world_submit(&drop);
	ok(drop.error == 0, "a file is removed");
	world_replied(&drop);
	world_lose(a);
	ok(!world_submit(&stat) && world_wanted(a, MODE_SHARED), "when that is lost it is asked for again");
	world_grant_one(1, world_object(a, MODE_SHARED, 30, 3, &world_file));
	ok(stat.error == 0 && stat.attr.nlink == 1, "and found");
	world_replied(&stat);
	world_teardown();
}

static uint64_t
make_directory(const char *name)
{
	struct op op = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text(name), .attr.mode = 0755 };

	world_submit(&op);
	world_replied(&op);
	return op.child;
}

static void
test_half_an_operation(void)
{
	struct op op = { .type = OP_RENAME, .name = world_text("x"), .name2 = world_text("y") };
	struct op make = { .type = OP_MKNOD, .name = world_text("x"), .attr.mode = S_IFREG | 0644 };
	unsigned bad = 0;

	world_setup();
	op.ino = make.ino = make_directory("from");
	op.ino2 = make_directory("to");
	world_submit(&make);
	world_replied(&make);
	world_sync();
	world_submit(&op);
	ok(op.error == 0, "a file moves from one directory to another");
	world_replied(&op);
	world_lose(op.ino);
	for (unsigned i = 0; i < 50; i++) {
		world_pass(100);
		for (; w.commit_count > 0; world_answer(STATUS_OK))
			bad += world_commit_has(w.commits[0], op.ino2, KIND_ENTRY);
	}
	ok(bad == 0 && world_sane(), "when one is lost the other does not show it");
	world_teardown();
}

/* ---- R5: grants, recalls and releases in order ---- */

static void
test_early_recall(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	ok(!world_submit(&op) && world_wanted(FAR, MODE_SHARED), "an object is asked for");
	world_recall(FAR, 7, MODE_NONE, 9);
	ok(released(FAR) < 0, "a recall overtakes its grant");
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_file));
	ok(op.error == 0 && w.reply_count > 0 && released(FAR) < 0, "the grant serves who waited");
	world_replied(&op);
	ok(released(FAR) >= 0, "and goes back when the answer has left");
	world_teardown();
}

static void
test_late_answer(void)
{
	struct op look = { .type = OP_GETATTR, .ino = FAR }, set = { .type = OP_SETATTR, .ino = FAR };
	struct op again = { .type = OP_SETATTR, .ino = FAR };
	struct msg_answer old = world_object(FAR, MODE_SHARED, 8, 1, &world_file);
	uint64_t first;

	world_setup();
	world_submit(&look);
	first = w.last_read;
	world_submit(&set);
	world_grant_one(2, world_object(FAR, MODE_EXCLUSIVE, 9, 1, &world_file));
	world_grant(first, 1, &old, 1);
	ok(world_submit(&again) && world_sane(), "a late answer does not undo a newer grant");
	world_replied(&look);
	world_replied(&set);
	world_replied(&again);
	world_answer_all();
	world_teardown();
}

/* What was lost is given back, too: an answer that was under way then is of that lease. */
static void
test_answer_after_loss(void)
{
	struct op set = { .type = OP_SETATTR, .ino = FAR, .set = SET_MODE }, get = { .type = OP_GETATTR, .ino = FAR + 1 };
	struct msg_answer late = world_object(FAR, MODE_EXCLUSIVE, 9, 1, &world_file);
	uint64_t asked;

	world_setup();
	world_submit(&set);
	world_grant_one(2, late);
	ok(set.error == 0 && engine_lease(w.engine, FAR) == MODE_EXCLUSIVE, "a file is changed");
	world_replied(&set);
	world_pass(3000);
	ok(w.commit_count == 1, "that is on its way");
	ok(!world_submit(&get), "while something else is asked for");
	asked = w.last_read;
	world_answer(STATUS_REJECTED);
	late.records.count = 0;
	world_grant(asked, 3, &late, 1);		/* as it is when a READ wants several objects */
	ok(engine_lease(w.engine, FAR) == MODE_NONE, "the answer does not bring back a lease that was lost meanwhile");
	world_grant_one(4, world_object(FAR + 1, MODE_SHARED, 10, 7, &world_file));
	ok(get.error == 0 && world_sane(), "and all else goes on");
	world_replied(&get);
	world_teardown();
}

static void
test_rename_lease(void)
{
	struct op op = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .name2 = world_text("a") };

	world_setup();
	make_directory("a");
	op.ino2 = make_directory("b");
	world_sync();
	ok(!world_submit(&op) && world_wanted(OID_RENAME, MODE_EXCLUSIVE), "a directory moves under the rename lease");
	world_grant_one(3, (struct msg_answer){ .oid = OID_RENAME, .mode = MODE_EXCLUSIVE, .grant = 5 });
	ok(op.error == 0 && w.reply_count > 0, "and moves when it is there");
	world_replied(&op);
	world_forget();
	world_recall(OID_RENAME, 5, MODE_NONE, 9);
	ok(w.commit_count == 1 && released(OID_RENAME) < 0, "that is kept while the move is on its way");
	world_answer_all();
	ok(released(OID_RENAME) >= 0, "and given back when it is durable");
	world_teardown();
}

/* ---- R6: turns ---- */

static void
test_turns(void)
{
	struct op op = { .type = OP_LINK, .ino = FAR, .ino2 = OID_ROOT, .name = world_text("l") };

	world_setup();
	world_submit(&op);
	ok(world_wanted(FAR, MODE_EXCLUSIVE) && world_wanted(OID_ROOT, MODE_EXCLUSIVE), "a READ names what is held, too");
	world_grant(w.last_read, 5, NULL, 0);
	ok(w.read.ticket == 5, "and keeps its ticket");
	world_forget();
	world_recall(OID_ROOT, 0, MODE_NONE, 9);
	ok(released(OID_ROOT) < 0, "an older operation that waits keeps what it has");
	world_recall(OID_ROOT, 0, MODE_NONE, 3);
	ok(released(OID_ROOT) >= 0, "but not from one that is older still");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	world_replied(&op);
	world_teardown();
}

/* A server that has started again may give the same ticket to another operation: neither is older then. */
static void
test_turns_anew(void)
{
	struct op op = { .type = OP_LINK, .ino = FAR, .ino2 = OID_ROOT, .name = world_text("l") };
	struct msg_attached again = { .session = 1, .boot = 2, .term_ms = TERM_MS, .sessions = 2, .credit = CREDIT_MAX, .sequence = 1000 };

	world_setup();
	world_submit(&op);
	world_grant(w.last_read, 5, NULL, 0);
	engine_detached(w.engine);
	engine_attached(w.engine, &again, false);
	world_collect();
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_collect();
	ok(world_wanted(FAR, MODE_EXCLUSIVE) && w.read.ticket == 0, "an operation has no ticket of a server that has started again");
	world_forget();
	world_recall(OID_ROOT, 0, MODE_NONE, 9);
	ok(released(OID_ROOT) >= 0, "and is older than nobody there");
	world_grant(w.last_read, 10, NULL, 0);
	ok(w.read.ticket == 10, "before it is given one");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	world_replied(&op);
	world_teardown();
}

/* Two that make names in one directory by turns: each asks once a turn, and keeps it until the name is made. */
static void
test_by_turns(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("n") };
	struct op read = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("m") };
	uint64_t h;

	world_setup();
	world_create("a", &h);
	world_sync();
	world_recall(OID_ROOT, 0, MODE_NONE, 9);
	world_submit(&look);
	ok(world_wanted(OID_ROOT, MODE_EXCLUSIVE) && w.read.wants.count == 2,
	    "who made a name lately asks EXCLUSIVE for the next look-up, and for the name with it (%u)", w.read.wants.count);
	world_grant_one(10, world_object(OID_ROOT, MODE_EXCLUSIVE, 7, 9, &world_directory));
	world_recall(OID_ROOT, 7, MODE_NONE, 11);
	world_grant_one(10, (struct msg_answer){ .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 7, .version = 9 });
	world_forget();
	world_pass(1);
	ok(released(OID_ROOT) < 0 && engine_hurry(w.engine), "a recall waits for the name, for a moment");
	world_replied(&look);
	world_create("n", &h);
	world_answer_all();
	ok(released(OID_ROOT) >= 0, "and goes on when it is made");
	world_submit(&read);
	world_grant_one(12, world_object(OID_ROOT, MODE_EXCLUSIVE, 8, 10, &world_directory));
	world_grant_one(12, (struct msg_answer){ .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 8, .version = 10 });
	world_replied(&read);
	world_forget();
	world_recall(OID_ROOT, 8, MODE_NONE, 13);
	world_pass(1);
	ok(released(OID_ROOT) < 0, "it waits again");
	world_pass(10);
	ok(released(OID_ROOT) >= 0, "but not long, if nothing is made");
	world_pass(2000);
	world_teardown();
}

static void
test_served_while_flushing(void)
{
	struct op op = { .type = OP_GETATTR };
	uint64_t h, a;

	world_setup();
	op.ino = a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 100000);
	world_recall(a, 0, MODE_NONE, 9);
	ok(w.store_count == 1 && !world_submit(&op), "behind its last sweep an object is not served any more");
	world_forget();
	world_answer_all();
	ok(released(a) >= 0, "until it is given back");
	world_grant_one(10, world_object(a, MODE_SHARED, 7, 9, &world_file));
	ok(op.error == 0 && op.attr.size == 100, "and come again");
	world_replied(&op);
	world_teardown();
}

static void
test_stronger_recall(void)
{
	uint64_t h, a;
	int at;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 100000);
	world_forget();
	world_recall(a, 0, MODE_SHARED, 9);
	world_recall(a, 0, MODE_NONE, 9);
	world_answer_all();
	world_pass(100);
	world_answer_all();
	at = released(a);
	ok(at >= 0 && w.said[at].mode == MODE_NONE, "a recall that wants more than the first is obeyed");
	world_teardown();
}

/* ---- R8: blocks ---- */

static void
test_resupply(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h;

	world_setup();
	op.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, REGION_SIZE);
	world_write(op.ino, h, REGION_SIZE, REGION_SIZE);
	world_submit(&op);
	world_stored(world_take_store());
	world_stored(world_take_store());
	world_answer(STATUS_MISSING);
	ok(w.store_count == 2, "two blocks are stored again");
	world_stored(world_take_store());
	ok(w.commit_count == 0, "the commit waits for both");
	world_stored(world_take_store());
	ok(w.commit_count == 1, "and is sent again then");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* ---- R9: the term ---- */

static void
at(uint64_t ms)
{
	w.now_ms = ms;
	engine_clock(w.engine, ms, (struct timespec){ 0 });
}

static void
alive(uint64_t request)
{
	struct message m = { .type = MSG_alive, .id = request, .alive.sessions = 1 };

	engine_received(w.engine, &m);
	world_collect();
}

static bool
served(void)
{
	struct op op = { .type = OP_GETATTR, .ino = OID_ROOT };
	bool done = world_submit(&op);

	if (!done) {
		engine_detached(w.engine);
		engine_interrupt(w.engine, &op);
		world_collect();
	}
	world_replied(&op);
	return done;
}

static void
test_term(void)
{
	uint64_t begun, first, second;

	world_setup();
	begun = w.now_ms;
	at(begun + TERM_MS / 2);
	ok(served(), "within the term objects are served");
	at(begun + TERM_MS - TERM_MS / 8);
	ok(!served(), "which began before the answer to ATTACH came");
	world_teardown();

	world_setup();
	begun = w.now_ms;
	world_pass(KEEPALIVE_MS);
	first = w.last_keepalive;
	at(begun + 20000);
	alive(first);
	at(begun + KEEPALIVE_MS + TERM_MS - 1000);
	ok(served(), "a sign of life extends it");
	at(begun + KEEPALIVE_MS + TERM_MS + 1000);
	ok(!served(), "from when it left");
	world_teardown();

	world_setup();
	begun = w.now_ms;
	world_pass(KEEPALIVE_MS);
	first = w.last_keepalive;
	world_pass(KEEPALIVE_MS);
	second = w.last_keepalive;
	alive(first);
	at(begun + TERM_MS);
	ok(first != second && !served(), "an answer to an older one does not tell of the newer");
	world_teardown();

	world_setup();
	engine_detached(w.engine);
	world_forget();
	world_pass(TERM_MS / 2);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) < 0, "within it the kernel goes on");
	world_pass(TERM_MS);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0, "when it is over it is told");
	world_teardown();
}

/* The server has forgotten who was given what we held. */
static void
test_restart_after_term(void)
{
	struct msg_attached a = { .session = 1, .credit = CREDIT_MAX, .boot = 2, .term_ms = TERM_MS, .first_oid = 9000000, .oid_count = 60000,
	    .sessions = 1, .sequence = 1000000 };
	uint64_t h, g, kept, clean;

	world_setup();
	clean = world_create("clean", &g);
	kept = world_create("kept", &h);
	world_sync();
	world_write(kept, h, 0, 10);
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	world_forget();
	engine_attached(w.engine, &a, false);
	world_collect();
	ok(released(clean) >= 0 && released(kept) < 0,
	    "a term that was over and a server that restarted: only what is unsaved is reclaimed");
	ok(world_find(ACTION_SEND, MSG_reclaim, 0) > released(clean) && world_sane(), "and all is well");
	world_teardown();
}

/* ---- R10: a full server ---- */

/* At once, or when the server has been asked again and has said the same. */
static bool
refused(struct op *op)
{
	unsigned before = w.reply_count;
	bool done = world_submit(op);

	while (!done && w.reply_count == before && w.commit_count > 0)
		world_answer(STATUS_NOSPC);
	done |= w.reply_count > before;
	if (done)
		world_replied(op);
	return done && op->error == -ENOSPC;
}

static void
test_full(void)
{
	struct op grow = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 3000 };
	struct op make = { .type = OP_CREATE, .ino = OID_ROOT, .name = world_text("new"), .flags = O_RDWR };
	struct op remove = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("7") };
	uint64_t h;
	char name[16];

	world_setup();
	for (unsigned i = 0; i < 6000; i++) {
		struct op end = { .type = OP_RELEASE };

		snprintf(name, sizeof name, "%u", i);
		grow.ino = end.ino = world_create(name, &h);
		end.handle = h;
		world_submit(&end);
		world_replied(&end);
	}
	ok(w.commit_count > 1, "much work is on its way");
	world_answer(STATUS_NOSPC);
	ok(refused(&grow), "on a full server, asked anew, a file does not grow");
	ok(refused(&make), "nor is one made");
	ok(world_submit(&remove) && remove.error == 0, "one is removed, however much waits");
	world_replied(&remove);
	ok(world_sane(), "and all is well");
	world_teardown();
}

/* Who removed the last name did not bring the content of a file that nobody had open. */
static void
test_removed_elsewhere(void)
{
	struct attr removed = world_file;
	struct op stat = { .type = OP_GETATTR, .ino = FAR }, again = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	removed.nlink = 0;
	world_submit(&stat);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &removed));
	ok(stat.error == -ESTALE, "its size is not told, for it may never have arrived");
	world_replied(&stat);
	removed.mode = S_IFDIR | 0755;
	world_teardown();
	world_setup();
	world_submit(&again);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &removed));
	ok(again.error == 0 && again.attr.nlink == 0, "a directory has nothing that could be missing");
	world_replied(&again);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_removed_elsewhere();
	test_sweep();
	test_moved_name();
	test_answer_under_way();
	test_locked_pages();
	test_changed_by_name();
	test_readlink();
	test_unpin();
	test_loss();
	test_loss_of_a_cut();
	test_lost_removal();
	test_half_an_operation();
	test_early_recall();
	test_late_answer();
	test_answer_after_loss();
	test_rename_lease();
	test_turns();
	test_turns_anew();
	test_by_turns();
	test_served_while_flushing();
	test_stronger_recall();
	test_resupply();
	test_term();
	test_restart_after_term();
	test_full();
	return tap_done();
}
