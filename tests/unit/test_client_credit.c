/* test_client_credit.c - the client engine does no more than the server has promised it space for (R10). */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/tap.h"

static unsigned
asked(void)
{
	return w.sent[MSG_statfs];
}

/* What the server says to the last STATFS. */
static void
tell(uint64_t credit, bool more)
{
	struct message m = { .type = MSG_space, .id = w.last_statfs, .space = { .total_bytes = 1 << 30, .free_bytes = credit,
	    .ready_bytes = credit, .credit = credit, .more = more } };

	engine_received(w.engine, &m);
	world_collect();
}

/* Nothing is done that has no space; one of these at a time. */
static void
test_credit(void)
{
	static const uint8_t data[100000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } }, remove = { .type = OP_UNLINK, .ino = OID_ROOT,
	    .name = world_text("b") }, make = { .type = OP_CREATE, .ino = OID_ROOT, .name = world_text("c"), .flags = O_RDWR };
	uint64_t h, g;

	world_setup();
	write.ino = world_create("a", &h);
	write.handle = h;
	world_create("b", &g);
	world_sync();
	w.credit = 150000;
	world_write(write.ino, h, 0, 1);
	world_sync();		/* tells of the credit */
	tell(150000, false);
	ok(world_submit(&write) && write.error == 0, "what the server has promised space for is done at once");
	world_replied(&write);
	write.offset = 100000;
	w.reply_count = 0;
	ok(!world_submit(&write) && w.store_count > 0, "what is beyond waits, and all that is done is sent");
	w.credit = 40000;
	world_answer_all();
	world_pass(100);
	world_answer_all();
	ok(w.reply_count == 0 && w.commit_count == 0 && asked() > 0, "when that is there the server is asked for more");
	tell(40000, true);
	ok(w.reply_count == 0, "if there will be some the write waits on");
	world_pass(200);
	tell(150000, false);
	ok(w.reply_count == 1 && write.error == 0, "and is done when there is");
	world_replied(&write);
	write.offset = 200000;
	w.reply_count = 0;
	world_submit(&write);
	w.credit = 0;
	world_answer_all();
	world_pass(100);
	world_answer_all();
	tell(0, false);
	ok(w.reply_count == 1 && write.error == -ENOSPC, "if there will be none the write is told so, and nothing else is");
	world_replied(&write);
	ok(world_run(OP_SYNC, 0, 0) == 0, "for what was done is there");
	w.reply_count = 0;
	ok(!world_submit(&make), "nothing is made either");
	world_pass(100);
	tell(0, false);
	ok(w.reply_count == 1 && make.error == -ENOSPC, "without space");
	world_replied(&make);
	ok(world_submit(&remove) && remove.error == 0 && world_sane(), "but what is not wanted can be removed");
	world_replied(&remove);
	world_teardown();
}

/* Answers cross: what a commit tells is older than a question that left after it. */
static void
test_credit_crossed(void)
{
	static const uint8_t data[100000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } };
	uint64_t h;

	world_setup();
	write.ino = world_create("a", &h);
	write.handle = h;
	world_pass(3000);
	ok(w.commit_count == 1, "a commit is on its way");
	tell(1000, false);
	world_pass(600);	/* little is left, so it is asked again */
	tell(1000, false);
	w.credit = CREDIT_MAX;
	world_answer(STATUS_OK);
	w.reply_count = 0;
	ok(!world_submit(&write), "what it says of a credit that was given back since is not believed");
	world_answer_all();
	world_pass(100);
	world_answer_all();
	tell(0, false);
	ok(w.reply_count == 1 && write.error == -ENOSPC, "nor acted upon");
	world_replied(&write);

	/* A question whose answer is lost may have been heard. */
	world_pass(600);
	tell(500000, false);
	world_pass(600);
	ok(asked() > 0, "it is asked whether the credit may be kept");
	engine_detached(w.engine);
	w.reply_count = 0;
	ok(!world_submit(&write), "what it may have taken back is not counted on");
	w.credit = UINT64_MAX;
	world_attach(false, 1000, false);
	tell(500000, false);
	ok(w.reply_count == 1 && write.error == 0 && world_sane(), "before it says so");
	world_replied(&write);
	world_teardown();
}

/* The last that was on its way to the server is not wanted any more when it has arrived there. */
static void
test_cut_away(void)
{
	static const uint8_t data[100000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	struct flush *f;
	uint64_t h, g;
	unsigned before;

	world_setup();
	cut.ino = world_create("a", &h);
	write.ino = world_create("b", &g);
	write.handle = g;
	world_sync();
	tell(150000, false);
	world_write(cut.ino, h, 0, 100000);
	w.reply_count = 0;
	ok(!world_submit(&write) && w.store_count == 1, "a write waits for another to arrive");
	f = world_take_store();
	ok(world_submit(&cut) && cut.error == 0, "which is cut away meanwhile");
	world_replied(&cut);
	w.credit = 0;
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	before = asked();
	world_stored(f);
	ok(w.reply_count == 0 && asked() > before, "when it has, the server is asked at once");
	tell(150000, false);
	ok(w.reply_count == 1 && write.error == 0 && world_sane(), "and the write is done when that is answered");
	world_replied(&write);
	world_teardown();
}

/* What a commit has spent is not there any more, though what it tells is too old to be believed. */
static void
test_settled(void)
{
	static const uint8_t data[50000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } };
	char name[] = "user.a";
	uint64_t h;

	world_setup();
	write.ino = world_create("a", &h);
	write.handle = h;
	world_sync();
	tell(300000, false);
	for (; name[5] < 'a' + 20; name[5]++) {
		struct op set = { .type = OP_SETXATTR, .ino = write.ino, .name = world_text(name), .data = { data, 3000 } };

		world_submit(&set);
		world_replied(&set);
	}
	world_pass(3000);
	tell(300000, false);
	world_pass(600);
	ok(w.commit_count == 1 && asked() > 1, "a question leaves after a commit");
	w.credit = 300000;
	world_answer(STATUS_OK);
	w.reply_count = 0;
	ok(!world_submit(&write), "what the commit took is not counted on until it is answered");
	tell(220000, false);
	ok(w.reply_count == 1 && write.error == 0 && world_sane(), "and then what that says");
	world_replied(&write);
	world_teardown();
}

/* A region of many small pieces is brought as a whole, which must fit as well. */
static void
test_pieces(void)
{
	struct op write = { .type = OP_WRITE, .data = world_text("x") };
	unsigned n = 0;
	uint64_t h;

	world_setup();
	write.ino = world_create("a", &h);
	write.handle = h;
	world_sync();
	tell(300000, false);
	while (n < 40 && world_submit(&write)) {
		world_replied(&write);
		write.offset = ++n * 8000;
	}
	ok(n > 20 && n < 40, "small pieces are written until their region has too many");
	w.reply_count = 0;
	world_answer_all();
	world_pass(100);
	world_answer_all();
	tell(CREDIT_MAX, false);
	for (unsigned i = 0; i < 20 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && write.error == 0 && world_sane(), "and more with space for all of it");
	world_replied(&write);
	world_teardown();
}

/* The server takes a block that is on its way whether its bytes are still wanted or not. */
static void
test_cut(uint64_t size)
{
	static const uint8_t data[100000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } }, sync = { .type = OP_FSYNC },
	    cut = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = size };
	uint64_t h;

	world_setup();
	write.ino = sync.ino = cut.ino = world_create("a", &h);
	write.handle = sync.handle = h;
	world_sync();
	tell(300000, false);
	world_submit(&write);
	world_replied(&write);
	ok(!world_submit(&sync) && w.store_count > 0, "a block is on its way");
	ok(world_submit(&cut) && cut.error == 0, "and cut to %u bytes,", (unsigned)size);
	world_replied(&cut);
	ok(world_submit(&write) && write.error == 0, "or replaced");
	world_replied(&write);
	write.offset = sizeof data;
	w.reply_count = 0;
	ok(!world_submit(&write) && world_sane(), "it takes from the credit all the same");
	w.credit = CREDIT_MAX;
	for (unsigned i = 0; i < 20 && w.reply_count < 2; i++) {
		world_answer_all();
		world_pass(100);
		tell(CREDIT_MAX, false);
	}
	ok(w.reply_count == 2 && write.error == 0 && world_sane(), "until it is there");
	world_replied(&write);
	world_replied(&sync);
	world_teardown();
}

/* A file that is written anew keeps its old content until the new is there, if there is space for both (R4). */
static void
test_written_anew(void)
{
	static const uint8_t data[100000];
	struct op write = { .type = OP_WRITE, .data = { data, sizeof data } }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, other;
	bool emptied = false;

	world_setup();
	write.ino = cut.ino = world_create("a", &h);
	write.handle = h;
	world_write(write.ino, h, 0, 5000);
	other = world_create("b", &g);
	world_sync();
	tell(50000, false);
	world_write(other, g, 0, 5000);
	world_submit(&cut);
	world_replied(&cut);
	w.reply_count = 0;
	ok(!world_submit(&write) && w.store_count == 1, "what is to be written waits for what was, and for space,");
	world_stored(world_take_store());
	world_pass(100);
	for (unsigned i = 0; i < w.commit_count; i++)
		emptied |= world_committed_size(w.commits[i], write.ino) == 0;
	ok(w.commit_count > 0 && !emptied, "and so does what it replaces");
	w.credit = 1000;
	world_answer_all();
	world_pass(100);
	tell(300000, false);
	ok(w.reply_count == 1 && write.error == 0 && w.commit_count == 0, "then it comes first");
	world_replied(&write);
	w.credit = 1000;
	world_sync();
	world_submit(&cut);
	world_replied(&cut);
	w.reply_count = 0;
	world_submit(&write);
	tell(1000, false);
	ok(w.reply_count == 0 && w.commit_count == 1 && world_committed_size(w.commits[0], write.ino) == 0,
	    "if there is no space what it replaces makes some");
	w.credit = 1000;
	world_answer_all();
	world_pass(100);
	tell(300000, false);
	ok(w.reply_count == 1 && write.error == 0 && world_sane(), "for it");
	world_replied(&write);
	world_teardown();
}

/* A block that no commit names yet dies with the server, and needs its space again. */
static void
test_restarted(void)
{
	struct msg_attached again = { .session = 1, .boot = 2, .term_ms = TERM_MS, .sessions = 1, .credit = UINT64_MAX };
	struct op sync = { .type = OP_SYNC };
	uint64_t h, a, kept;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	tell(70000, false);
	world_write(a, h, 0, 50000);
	world_submit(&sync);
	world_stored(world_take_store());
	ok(w.commit_count == 1, "the block is there, and its commit under way");
	again.sequence = w.commits[0]->sequence - 1;
	engine_detached(w.engine);
	engine_attached(w.engine, &again, false);
	world_collect();
	ok(w.kept_credit >= 50000 && world_sane(), "a server that was killed is asked to keep space for it");
	kept = w.kept_credit;
	again.boot = 3;
	engine_detached(w.engine);
	engine_attached(w.engine, &again, false);
	world_collect();
	ok(w.kept_credit == kept && world_sane(), "no more of it when it is killed again");
	w.credit = 1000;
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	tell(1000, false);
	world_pass(10000);
	ok(w.kept_credit < 50000 && world_sane(), "until that is answered");
	world_replied(&sync);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_credit();
	test_credit_crossed();
	test_cut_away();
	test_settled();
	test_pieces();
	test_cut(0);
	test_cut(10);
	test_written_anew();
	test_restarted();
	volume_keys_free(w.keys);
	return tap_done();
}
