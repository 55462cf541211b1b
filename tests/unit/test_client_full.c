/* test_client_full.c - a server without space: when that is news, and what comes of what it refused. */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { LARGE = 100000 };

static const uint8_t bytes[LARGE];
static uint64_t a, ha, c, hc;
static struct op sync_a, sync_dir;

/* "a", "b" and "c" are saved. */
static void
begin(void)
{
	uint64_t h;

	world_setup();
	a = world_create("a", &ha);
	world_create("b", &h);
	c = world_create("c", &hc);
	world_write(c, hc, 0, 5000);
	world_sync();
	w.reply_count = 0;
	sync_a = (struct op){ .type = OP_FSYNC, .ino = a, .handle = ha };
	sync_dir = (struct op){ .type = OP_FSYNCDIR, .ino = OID_ROOT };
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static void
refuse(struct flush *f)
{
	engine_stored(w.engine, f, -ENOSPC);
	world_collect();
}

static void
remove_b(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("b") };

	world_submit(&op);
	world_replied(&op);
}

/* A block is refused by a server that has not heard of a removal yet, or that heard of it after the block. */
static void
test_no_news(bool heard)
{
	begin();
	remove_b();
	world_submit(&sync_dir);
	world_write(a, ha, 0, LARGE);
	world_submit(&sync_a);
	ok(w.commit_count >= 1 && w.store_count == 1, "a removal is on its way, and a block");
	if (heard)
		while (w.commit_count > 0)
			world_answer(STATUS_OK);
	w.reply_count = 0;
	refuse(world_take_store());
	ok(w.reply_count == 0 && world_status().error == 0, "that there is no space for that is no news");
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	world_pass(200);
	ok(w.store_count == 1, "and it is stored again");
	world_answer_all();
	world_pass(100);
	world_answer_all();
	ok(sync_a.error == 0 && sync_dir.error == 0 && world_status().dirty_bytes == 0, "which is enough");
	world_replied(&sync_a);
	world_replied(&sync_dir);
	end();
}

/* The removal cannot go before content that there is not even any of. */
static void
test_held_back(void)
{
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("c"), .ino2 = OID_ROOT, .name2 = world_text("b") };
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE };

	begin();
	cut.ino = c;
	world_write(a, ha, 0, LARGE);
	world_submit(&sync_a);
	world_submit(&move);
	world_replied(&move);
	world_submit(&cut);
	world_replied(&cut);
	w.reply_count = 0;
	refuse(world_take_store());
	ok(w.reply_count == 1 && sync_a.error == -ENOSPC, "a removal that waits for content makes no space, and that there is none is news");
	world_replied(&sync_a);
	world_pass(5000);
	world_answer_all();
	world_pass(3000);
	world_answer_all();
	ok(world_run(OP_SYNC, 0, 0) == 0 && world_status().dirty_bytes == 0, "with space all goes");
	end();
}

static struct op
write_c(void)
{
	return (struct op){ .type = OP_WRITE, .ino = c, .handle = hc, .data = { bytes, LARGE } };
}

static void
begin_refused(void)
{
	begin();
	world_write(a, ha, 0, LARGE);
	world_submit(&sync_a);
	refuse(world_take_store());
	ok(sync_a.error == -ENOSPC, "a block is refused");
	world_replied(&sync_a);
}

/* Who adds something is told at once where nobody can be asked. */
static void
test_detached(void)
{
	struct op op;

	begin_refused();
	engine_detached(w.engine);
	op = write_c();
	ok(world_submit(&op) && op.error == -ENOSPC, "without a connection that stands");
	world_replied(&op);
	world_attach(false, 1000, false);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_pass(1500);
	world_answer_all();
	ok(world_run(OP_FSYNC, a, ha) == 0, "and with one it is tried again");
	end();
}

/* Each fsync asks anew, and is told what became of that. */
static void
test_synced_again(void)
{
	begin_refused();
	w.reply_count = 0;
	ok(!world_submit(&sync_a) && w.store_count == 1, "who syncs again waits for what becomes of it now");
	refuse(world_take_store());
	ok(w.reply_count == 1 && sync_a.error == -ENOSPC, "which is no better");
	world_replied(&sync_a);
	w.reply_count = 0;
	ok(!world_submit(&sync_a) && w.store_count == 1, "and once more");
	world_answer_all();
	world_pass(100);
	world_answer_all();
	ok(w.reply_count == 1 && sync_a.error == 0 && world_status().dirty_bytes == 0, "until there is space");
	world_replied(&sync_a);
	end();
}

/* Of two blocks of a file that were refused the smaller is stored, and the other not yet; nor is a commit answered. */
static void
test_synced_in_turn(void)
{
	struct op make = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = S_IFREG | 0644 };

	begin();
	world_submit(&make);
	world_replied(&make);
	world_submit(&sync_dir);
	world_write(a, ha, 0, LARGE);
	world_write(a, ha, REGION_SIZE, LARGE / 2);
	world_submit(&sync_a);
	ok(w.store_count == 2 && w.commit_count == 1, "two blocks are stored");
	refuse(world_take_store());
	refuse(world_take_store());
	ok(sync_a.error == -ENOSPC, "and refused");
	world_replied(&sync_a);
	w.reply_count = 0;
	ok(!world_submit(&sync_a) && w.store_count == 1 && w.stores[0]->len < LARGE, "the smaller is tried first");
	world_stored(world_take_store());
	ok(w.reply_count == 0 && w.store_count == 0, "that it is there says nothing of the other yet");
	world_pass(100);
	ok(w.reply_count == 0 && w.store_count == 1, "which comes next");
	world_answer_all();
	world_pass(100);
	world_answer_all();
	ok(w.reply_count == 2 && sync_a.error == 0 && world_status().dirty_bytes == 0, "and with that all is there");
	world_replied(&sync_a);
	world_replied(&sync_dir);
	end();
}

/* Nothing is waiting but the block itself; or nothing at all, for its file is freed. */
static void
test_retried(bool gone)
{
	struct msg_answer freed = { .status = STATUS_NOENT };
	struct op op;

	begin();
	freed.oid = a;
	world_write(a, ha, 0, LARGE);
	world_submit(&sync_a);
	world_submit(&sync_dir);
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	refuse(world_take_store());
	ok(sync_a.error == -ENOSPC && world_status().commits_pending == 0, "a block is refused, with no commit on its way");
	world_replied(&sync_a);
	if (gone)
		world_grant(1000000, 0, &freed, 1);
	w.reply_count = 0;
	op = write_c();
	if (gone)
		ok(world_submit(&op) && op.error == 0, "gone with its file, it is in nobody's way");
	else {
		ok(!world_submit(&op) && w.store_count == 1, "who adds something asks for it anew");
		world_stored(world_take_store());
		ok(w.reply_count == 1 && op.error == 0, "and goes on when there is space");
	}
	world_replied(&op);
	world_replied(&sync_dir);
	world_sync();
	ok(world_status().dirty_bytes == 0, "all is there");
	end();
}

/* What the server says to a question that was put on a connection of before. */
static void
test_old_answer(void)
{
	struct message m = { .type = MSG_space, .space = { .total_bytes = 1 << 30, .free_bytes = 1000, .ready_bytes = 1000, .credit = 1000 } };
	struct op op;

	begin();
	m.id = w.last_statfs;
	engine_received(w.engine, &m);
	world_pass(600);
	m.id = w.last_statfs - 1;
	m.space.credit = CREDIT_MAX;
	engine_received(w.engine, &m);
	op = write_c();
	w.reply_count = 0;
	ok(!world_submit(&op), "an answer to another question promises nothing");
	m.id = w.last_statfs;
	engine_received(w.engine, &m);
	world_collect();
	for (unsigned i = 0; i < 10 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
		m.id = w.last_statfs;
		engine_received(w.engine, &m);
		world_collect();
	}
	ok(w.reply_count == 1 && op.error == 0, "the one that is waited for does");
	world_replied(&op);
	end();
}

/* A block whose bytes were cut away is still on its way, and takes its space. */
static void
test_cut_under_way(void)
{
	struct message m = { .type = MSG_space, .space = { .total_bytes = 1 << 30, .free_bytes = 190000, .ready_bytes = 190000, .credit = 190000 } };
	struct op op, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	unsigned asked;

	begin();
	cut.ino = a;
	m.id = w.last_statfs;
	engine_received(w.engine, &m);
	w.credit = 190000;
	world_write(a, ha, 0, LARGE);
	world_submit(&sync_a);
	world_submit(&cut);
	world_replied(&cut);
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	ok(sync_a.error == 0 && w.store_count == 1 && world_status().commits_pending == 0, "a block is on its way, whose bytes nobody wants");
	world_replied(&sync_a);
	asked = w.sent[MSG_statfs];
	w.reply_count = 0;
	op = write_c();
	ok(!world_submit(&op) && w.sent[MSG_statfs] == asked, "there is no space besides it, and no asking for more before it is there");
	world_stored(world_take_store());
	for (unsigned i = 0; i < 60 && w.reply_count == 0; i++) {
		world_pass(100);
		world_answer_all();
		m.id = w.last_statfs;
		m.space.credit = CREDIT_MAX;
		engine_received(w.engine, &m);
		world_collect();
	}
	ok(w.reply_count == 1 && op.error == 0, "then there is");
	world_replied(&op);
	end();
}

int
main(void)
{
	world_begin();
	test_no_news(false);
	test_no_news(true);
	test_held_back();
	test_detached();
	test_synced_again();
	test_synced_in_turn();
	test_retried(false);
	test_retried(true);
	test_old_answer();
	test_cut_under_way();
	volume_keys_free(w.keys);
	return tap_done();
}
