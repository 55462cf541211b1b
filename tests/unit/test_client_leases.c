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

enum { FAR = 5000000 };		/* an object that this client has not made */

static const struct attr file = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100 };
static const struct attr directory = { .mode = S_IFDIR | 0755, .nlink = 2 };

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static bool
sane(void)
{
	char why[200];

	if (engine_check(w.engine, why, sizeof why))
		return true;
	printf("# %s\n", why);
	return false;
}

static bool
wanted(uint64_t oid, uint8_t mode)
{
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		if (w.wants[i].oid == oid && w.wants[i].mode == mode)
			return true;
	return false;
}

static int
released(uint64_t oid)
{
	return world_find(ACTION_SEND, MSG_release, oid);
}

/* Answers the last READ with one object alone. */
static void
grant_one(uint64_t ticket, struct msg_answer answer)
{
	world_grant(w.last_read, ticket, &answer, 1);
}

/* FAR, a file of 100 bytes, is leased. */
static void
lease_far(uint8_t mode, uint64_t grant)
{
	struct op op = { .type = mode == MODE_SHARED ? OP_GETATTR : OP_SETATTR, .ino = FAR };

	world_submit(&op);
	grant_one(1, world_object(FAR, mode, grant, 1, &file));
	world_replied(&op);
	world_forget();
}

/* A file that is made, committed and then only SHARED. */
static uint64_t
make_shared(const char *name, uint64_t *ret_handle)
{
	uint64_t ino = world_create(name, ret_handle);

	world_sync();
	world_recall(ino, 0, MODE_SHARED, 1);
	world_forget();
	return ino;
}

static void
answer_all(void)
{
	while (w.store_count > 0)
		world_stored(world_take_store());
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
}

/* ---- R1: what the kernel keeps ---- */

static void
test_sweep(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = text("a") };
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
	engine_invalidated(w.engine, a, 0);
	world_collect();
	ok(world_find(ACTION_INVALIDATE, 0, a) >= 0 && released(a) < 0, "and again when pages came back meanwhile");
	engine_invalidated(w.engine, a, 0);
	world_collect();
	ok(released(a) >= 0, "until none did");
	world_teardown();
}

/* The sweep waits for pages that a READ of ours has locked, and the READ for a lease. */
static void
test_locked_pages(void)
{
	struct op open = { .type = OP_OPEN, .ino = FAR, .flags = O_RDWR }, read = { .type = OP_READ, .ino = FAR, .size = 4096 };

	world_setup();
	lease_far(MODE_SHARED, 7);
	world_submit(&open);
	read.handle = open.handle;
	world_replied(&open);
	ok(!world_submit(&read), "a READ waits for a record");
	w.no_sweep = true;
	world_recall(FAR, 7, MODE_NONE, 9);
	ok(world_find(ACTION_INVALIDATE, 0, FAR) >= 0 && released(FAR) >= 0,
	    "the lease of its pages is given back without waiting for the sweep");
	engine_invalidated(w.engine, FAR, 0);
	world_collect();
	ok(sane(), "and all is well");
	world_teardown();
}

/* The kernel may have looked the name up when it led elsewhere. */
static void
test_changed_by_name(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("a") };
	uint64_t h, a;

	world_setup();
	a = make_shared("a", &h);
	ok(!world_submit(&op) && wanted(a, MODE_EXCLUSIVE), "removing a name waits for what it leads to");
	world_forget();
	grant_one(4, (struct msg_answer){ .oid = a, .mode = MODE_EXCLUSIVE, .grant = 6, .version = 3 });
	ok(op.error == 0 && world_find(ACTION_INVALIDATE, 0, a) >= 0, "whose attributes the kernel then forgets");
	world_replied(&op);
	world_teardown();
}

/* ---- R2: pins ---- */

static void
test_unpin(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("a") }, end = { .type = OP_RELEASE };
	uint64_t a;
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
	world_answer(STATUS_OK);
	off = world_find(ACTION_SEND, MSG_pin, a);
	ok(off >= 0 && w.said[off].mode == 0, "and is taken back then");
	world_teardown();
}

/* ---- R3: losses ---- */

static void
lose(uint64_t oid)
{
	struct msg_lease lost = { .oid = oid };
	struct message m = { .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } };

	engine_detached(w.engine);
	world_attach(false, 1000000, false);
	engine_received(w.engine, &m);
	world_collect();
}

static int
run(enum op_type type, uint64_t ino, uint64_t handle)
{
	struct op op = { .type = type, .ino = ino, .handle = handle };
	unsigned before = w.reply_count;
	bool done = world_submit(&op);

	for (unsigned i = 0; i < 50 && !done && w.reply_count == before; i++) {
		answer_all();
		world_pass(100);
	}
	world_replied(&op);
	return op.error;
}

static void
test_loss(void)
{
	struct engine_status status;
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	lose(a);
	engine_status(w.engine, &status);
	ok(status.lost_objects == 1, "a loss is counted");
	ok(run(OP_FLUSH, a, h) == -EIO, "a handle is told of it");
	ok(run(OP_FLUSH, a, h) == 0, "once");
	ok(run(OP_SYNC, OID_ROOT, 0) == -EIO, "so is who syncs all");
	ok(run(OP_SYNC, OID_ROOT, 0) == 0, "once");
	ok(sane(), "and all is well");
	world_teardown();
}

static uint64_t
make_directory(const char *name)
{
	struct op op = { .type = OP_MKDIR, .ino = OID_ROOT, .name = text(name), .attr.mode = 0755 };

	world_submit(&op);
	world_replied(&op);
	return op.child;
}

static void
test_half_an_operation(void)
{
	struct op op = { .type = OP_RENAME, .name = text("x"), .name2 = text("y") };
	struct op make = { .type = OP_MKNOD, .name = text("x"), .attr.mode = S_IFREG | 0644 };
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
	lose(op.ino);
	for (unsigned i = 0; i < 50; i++) {
		world_pass(100);
		for (; w.commit_count > 0; world_answer(STATUS_OK))
			bad += world_commit_has(w.commits[0], op.ino2, KIND_ENTRY);
	}
	ok(bad == 0 && sane(), "when one is lost the other does not show it");
	world_teardown();
}

/* ---- R4: content ---- */

/* What arrives first lies behind what has not. */
static void
test_gap(void)
{
	uint64_t h, a, size = 1;
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT };

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 0, 100);
	world_write(a, h, REGION_SIZE, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	world_submit(&op);
	if (w.commit_count > 0)
		size = world_committed_size(w.commits[0], a);
	ok(size == 0, "a commit states no size with bytes missing before it");
	answer_all();
	world_replied(&op);
	world_teardown();
}

/* Truncated to be written anew, when what had arrived was in no commit yet. */
static void
test_held_size(void)
{
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, a;

	world_setup();
	cut.ino = a = world_create("a", &h);
	world_write(a, h, 0, 5000);
	world_sync();
	world_write(a, h, 0, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, 0, 16);
	world_submit(&op);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 5000,
	    "a file that is written anew keeps the size of a commit, not one of content that no commit has");
	answer_all();
	world_replied(&op);
	world_teardown();
}

/* A SYNC waits for what was written before it, while others write on. */
static void
test_sync_beside_writers(void)
{
	struct op op = { .type = OP_SYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, a, b;

	world_setup();
	a = world_create("a", &h);
	cut.ino = b = world_create("b", &g);
	world_write(b, g, 0, 5000);
	world_sync();
	world_write(a, h, 0, 5000);
	world_submit(&op);
	world_write(a, h, 100000, 16);
	world_submit(&cut);
	world_replied(&cut);
	world_write(b, g, 0, 16);
	world_stored(world_take_store_of(5000));
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) <= 100000, "its commit states no size of what has not arrived");
	ok(world_committed_size(w.commits[0], b) == 5000, "and keeps what another writes anew");
	answer_all();
	world_replied(&op);
	world_teardown();
}

/* Another has the file open: it will be freed when that one closes it. */
static void
test_removed_elsewhere_open(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("a") }, sync = { .type = OP_FSYNCDIR, .ino = OID_ROOT };
	struct op write = { .type = OP_WRITE, .data = text("content") };
	struct msg_answer answer = { .mode = MODE_EXCLUSIVE, .grant = 6, .version = 3, .pinned = 1 };
	uint64_t h;

	world_setup();
	write.ino = answer.oid = make_shared("a", &h);
	write.handle = h;
	world_submit(&write);
	grant_one(4, answer);
	world_replied(&write);
	run(OP_RELEASE, write.ino, h);
	world_submit(&op);
	ok(op.error == 0, "a file that another has open is removed");
	world_replied(&op);
	world_submit(&sync);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], OID_ROOT, KIND_ENTRY) &&
	    world_commit_has(w.commits[0], write.ino, KIND_INLINE), "what was written into it goes with the name");
	answer_all();
	world_replied(&sync);
	world_teardown();
}

static struct msg_record
region_record(uint8_t *value, size_t size, uint32_t length)
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };
	struct extent extent = { .offset = 0, .length = length };

	return (struct msg_record){ .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 1 },
	    .value = { value, (size_t)region_encode(&extent, 1, value, size) } };
}

/* Who wrote the file died when content had arrived and the size had not. */
static void
test_old_tail(void)
{
	struct op op = { .type = OP_WRITE, .ino = FAR, .offset = 3000, .data = text("more") };
	uint8_t value[200];
	struct msg_record record = region_record(value, sizeof value, 5000);
	struct msg_answer answers[WANTS_MAX];
	struct extent extents[EXTENTS_MAX];
	size_t count = 0;

	world_setup();
	lease_far(MODE_EXCLUSIVE, 7);
	ok(!world_submit(&op), "a write behind the end asks for the regions");
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_EXCLUSIVE, .grant = 7, .version = 1 };
		if (w.wants[i].kind == KIND_REGION)
			answers[i].records.at = &record, answers[i].records.count = 1;
	}
	world_grant(w.last_read, 1, answers, w.read.wants.count);
	ok(op.error == 0 && w.reply_count > 0, "and is done then");
	world_replied(&op);
	for (unsigned n = 0; n < 50; n++) {
		world_pass(100);
		while (w.store_count > 0)
			world_stored(world_take_store());
		for (; w.commit_count > 0; world_answer(STATUS_OK))
			for (uint32_t i = 0; i < w.commits[0]->changes_count; i++)
				if (w.commits[0]->changes[i].kind == KIND_REGION)
					region_decode(extents, &count, w.commits[0]->changes[i].value);
	}
	ok(count == 2 && extents[0].length == 100 && extents[1].offset == 3000, "what stood behind the end is not shown");
	world_teardown();
}

/* ---- R5: grants, recalls and releases in order ---- */

static void
test_early_recall(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	ok(!world_submit(&op) && wanted(FAR, MODE_SHARED), "an object is asked for");
	world_recall(FAR, 7, MODE_NONE, 9);
	ok(released(FAR) < 0, "a recall overtakes its grant");
	grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &file));
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
	struct msg_answer old = world_object(FAR, MODE_SHARED, 8, 1, &file);
	uint64_t first;

	world_setup();
	world_submit(&look);
	first = w.last_read;
	world_submit(&set);
	grant_one(2, world_object(FAR, MODE_EXCLUSIVE, 9, 1, &file));
	world_grant(first, 1, &old, 1);
	ok(world_submit(&again) && sane(), "a late answer does not undo a newer grant");
	world_replied(&look);
	world_replied(&set);
	world_replied(&again);
	answer_all();
	world_teardown();
}

static void
test_rename_lease(void)
{
	struct op op = { .type = OP_RENAME, .ino = OID_ROOT, .name = text("a"), .name2 = text("a") };

	world_setup();
	make_directory("a");
	op.ino2 = make_directory("b");
	world_sync();
	ok(!world_submit(&op) && wanted(OID_RENAME, MODE_EXCLUSIVE), "a directory moves under the rename lease");
	grant_one(3, (struct msg_answer){ .oid = OID_RENAME, .mode = MODE_EXCLUSIVE, .grant = 5 });
	ok(op.error == 0 && w.reply_count > 0, "and moves when it is there");
	world_replied(&op);
	world_forget();
	world_recall(OID_RENAME, 5, MODE_NONE, 9);
	ok(w.commit_count == 1 && released(OID_RENAME) < 0, "that is kept while the move is on its way");
	answer_all();
	ok(released(OID_RENAME) >= 0, "and given back when it is durable");
	world_teardown();
}

/* ---- R6: turns ---- */

static void
test_turns(void)
{
	struct op op = { .type = OP_LINK, .ino = FAR, .ino2 = OID_ROOT, .name = text("l") };

	world_setup();
	world_submit(&op);
	ok(wanted(FAR, MODE_EXCLUSIVE) && wanted(OID_ROOT, MODE_EXCLUSIVE), "a READ names what is held, too");
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
	answer_all();
	ok(released(a) >= 0, "until it is given back");
	grant_one(10, world_object(a, MODE_SHARED, 7, 9, &file));
	ok(op.error == 0 && op.attr.size == 100, "and come again");
	world_replied(&op);
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
	answer_all();
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
	struct msg_attached a = { .session = 1, .boot = 2, .term_ms = TERM_MS, .first_oid = 9000000, .oid_count = 60000,
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
	ok(world_find(ACTION_SEND, MSG_reclaim, 0) > released(clean) && sane(), "and all is well");
	world_teardown();
}

/* ---- R10: a full server ---- */

static void
test_full(void)
{
	struct op grow = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 1000000 };
	struct op make = { .type = OP_CREATE, .ino = OID_ROOT, .name = text("new"), .flags = O_RDWR };
	struct op remove = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("7") };
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
	ok(world_submit(&grow) && grow.error == -ENOSPC, "on a full server a file does not grow");
	world_replied(&grow);
	ok(world_submit(&make) && make.error == -ENOSPC, "nor is one made");
	world_replied(&make);
	ok(world_submit(&remove) && remove.error == 0, "one is removed, however much waits");
	world_replied(&remove);
	ok(sane(), "and all is well");
	world_teardown();
}

/* ---- names ---- */

static void
test_cancelled(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("t") }, end = { .type = OP_RELEASE };
	unsigned entries = 0;

	world_setup();
	end.ino = world_create("t", &end.handle);
	world_submit(&end);
	world_replied(&end);
	world_submit(&op);
	world_replied(&op);
	world_create("k", &end.handle);
	world_pass(3000);
	world_pass(1000);
	for (uint32_t i = 0; w.commit_count > 0 && i < w.commits[0]->changes_count; i++)
		entries += w.commits[0]->changes[i].kind == KIND_ENTRY;
	ok(entries == 1, "a name made and removed is not spoken of (%u)", entries);
	answer_all();
	world_teardown();
}

static void
test_long_listing(void)
{
	struct op op = { .type = OP_READDIR, .ino = FAR, .size = 4096 }, more = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	uint8_t token[TOKEN_SIZE], value[64];
	struct msg_record name = { .kind = KIND_ENTRY, .subkey = { token, TOKEN_SIZE }, .orefs = { (uint64_t[]){ 77 }, 1 } };
	struct msg_answer answer = { .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .more = 1, .records = { &name, 1 } };

	world_setup();
	name_token(w.keys, FAR, text("one"), token);
	name.value = (struct bytes){ value, (size_t)entry_encode(text("one"), DT_REG, value, sizeof value) };
	world_submit(&op);
	grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &directory));
	grant_one(1, answer);
	ok(op.error == 0 && op.entries_count == 3, "the first stretch of a listing is told");
	more.offset = op.entries_count == 3 ? op.entries[2].offset : 0;
	world_replied(&op);
	ok(!world_submit(&more) && wanted(FAR, MODE_SHARED), "and the next one asked for");
	answer.more = 0;
	answer.records.count = 0;
	grant_one(1, answer);
	ok(more.error == 0 && more.entries_count == 0 && w.reply_count > 1, "until there is none");
	world_replied(&more);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_sweep();
	test_locked_pages();
	test_changed_by_name();
	test_unpin();
	test_loss();
	test_half_an_operation();
	test_gap();
	test_held_size();
	test_sync_beside_writers();
	test_removed_elsewhere_open();
	test_old_tail();
	test_early_recall();
	test_late_answer();
	test_rename_lease();
	test_turns();
	test_served_while_flushing();
	test_resupply();
	test_term();
	test_restart_after_term();
	test_full();
	test_cancelled();
	test_long_listing();
	return tap_done();
}
