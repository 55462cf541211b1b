/*
 * test_client_disk.c - the client's own disk is full, so the journal keeps
 * nothing: what is answered then, and what is said of what is lost.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

static struct {
	unsigned	of_kind[JOURNAL_KINDS], refused[JOURNAL_KINDS];
	int		fails;
} kept;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)data, (void)sync;
	(kept.fails != 0 ? kept.refused : kept.of_kind)[arguments.data[0]]++;
	return kept.fails;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static struct engine_journal sink = { append, trim, NULL, 1, 64 << 20 };
static uint64_t a, h, b, g;

/* Two files, on the server; nothing of them is in the journal any more. */
static void
begin(void)
{
	struct engine_config config = { .journal = &sink, .redo = true };

	memset(&kept, 0, sizeof kept);
	world_setup_as(&config);
	a = world_create("a", &h);
	b = world_create("b", &g);
	for (unsigned i = 0; i < 30; i++) {
		world_pass(1000);
		world_answer_all();
	}
	w.reply_count = 0;
}

static void
end(void)
{
	kept.fails = 0;
	world_run(OP_RELEASE, a, h);
	world_run(OP_RELEASE, b, g);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static uint8_t content[JOURNAL_DATA_MAX + 1];

static struct op
a_write(uint64_t ino, uint64_t handle, uint64_t offset, size_t len)
{
	return (struct op){ .type = OP_WRITE, .ino = ino, .handle = handle, .offset = offset, .data = { content, len } };
}

static void
refuse_store(size_t len)
{
	engine_stored(w.engine, world_take_store_of(len), -ENOSPC);
	world_collect();
}

/* ---- what is answered ---- */

static void
too_large(void)
{
	struct op op;

	begin();
	op = a_write(a, h, 0, sizeof content);
	ok(!world_submit(&op) && kept.of_kind[JOURNAL_OP] == 2 && w.reply_count == 0, "more than an entry holds is not kept, so it waits for the server");
	for (unsigned i = 0; i < 100 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && op.error == 0, "and is answered then");
	world_replied(&op);
	end();
}

/* The server is full as well: who waits for it hears of that. */
static void
both_full(void)
{
	struct op op, other;

	begin();
	kept.fails = -ENOSPC;
	op = a_write(a, h, 0, REGION_SIZE);
	ok(!world_submit(&op) && kept.refused[JOURNAL_OP] == 1, "what the journal has no room for waits for the server");
	other = a_write(b, g, 0, REGION_SIZE / 2);
	world_submit(&other);
	refuse_store(REGION_SIZE);
	ok(w.reply_count == 0, "one block is refused: the other is on its way");
	refuse_store(REGION_SIZE / 2);
	ok(w.reply_count == 2 && op.error == -ENOSPC && other.error == -ENOSPC, "both are: that is the answer");
	world_replied(&op);
	world_replied(&other);
	end();
	begin();
	kept.fails = -ENOSPC;
	op = a_write(a, h, 0, 100);
	ok(!world_submit(&op) && w.commit_count == 1, "a small content waits for its commit");
	other = a_write(b, g, 0, REGION_SIZE);
	world_submit(&other);
	refuse_store(REGION_SIZE);
	ok(w.reply_count == 2 && op.error == -ENOSPC && other.error == -ENOSPC, "and no longer than until the server has no room for another");
	world_replied(&op);
	world_replied(&other);
	world_answer_all();
	end();
}

/* ---- what is lost ---- */

/* Written and on its way in a commit. */
static void
send_content(struct op *op)
{
	*op = a_write(a, h, 0, 10);
	if (world_submit(op))
		world_replied(op);
	for (unsigned i = 0; i < 20 && w.commit_count == 0; i++)
		world_pass(1000);
}

static void
lost_and_not_kept(void)
{
	struct op op;
	uint64_t losses;
	bool keep;

	begin();
	kept.fails = -ENOSPC;
	send_content(&op);
	ok(w.reply_count == 0 && w.commit_count == 1, "a write that is not kept is on its way");
	world_answer(STATUS_REJECTED);
	ok(w.reply_count == 1 && op.error == -EIO, "and is lost: who waits for it is told");
	world_replied(&op);
	ok(kept.refused[JOURNAL_LOSS] == 0 && !engine_redo_due(w.engine, &losses, &keep) && !world_status().journal_stranded,
	    "nothing is to be done again");
	kept.fails = 0;
	ok(world_run(OP_FSYNC, a, h) == -EIO && world_run(OP_FSYNC, a, h) == 0, "nor does fsync take it for saved");
	end();
}

/* It is in the journal, but there is no room to say that it was lost: the next mount would not know either. */
static void
lost_and_not_noted(void)
{
	struct op op;
	uint64_t losses;
	bool keep;

	begin();
	send_content(&op);
	ok(op.error == 0 && w.commit_count == 1, "a write that is kept is on its way");
	kept.fails = -ENOSPC;
	world_answer(STATUS_REJECTED);
	ok(kept.refused[JOURNAL_LOSS] > 1 && world_status().journal_stranded && world_status().journal_error == -EIO,
	    "that it was lost cannot be written down");
	ok(!engine_redo_due(w.engine, &losses, &keep), "so it is not done again");
	ok(world_run(OP_FSYNC, a, h) == -EIO && world_run(OP_SYNC, OID_ROOT, 0) == -EIO, "and not saved");
	end();
}

static void
lose(void)
{
	struct op op;

	begin();
	send_content(&op);
	world_answer(STATUS_REJECTED);
	world_forget();
	memset(w.sent, 0, sizeof w.sent);
}

/* What comes out of the journal waits for nothing that the journal is to bring. */
static void
done_again(void)
{
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };
	struct replaying p = { .entry = &entry, .it.base = 100 };
	struct op waits = { .type = OP_GETATTR }, op = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600, .replay = &p };
	uint64_t losses;
	bool keep;

	lose();
	entry.ino = op.ino = waits.ino = a;
	ok(!world_submit(&waits) && w.sent[MSG_read] == 0, "what was lost is waited for");
	ok(!world_submit(&op) && w.sent[MSG_read] == 1, "but by none of the operations out of a journal");
	kept.fails = -ENOSPC;
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 50, 100, &world_file));
	ok(kept.refused[JOURNAL_OP] == 1 && kept.refused[JOURNAL_FOREIGN] == 0, "one that is not kept is no work of others");
	w.reply_count = 0;
	for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && op.error == 0, "and is answered when the server has it");
	world_replied(&op);
	kept.fails = 0;
	engine_redo_due(w.engine, &losses, &keep);
	ok(engine_redo_end(w.engine, losses, 0) == 0 && (world_collect(), w.reply_count == 2) && waits.error == 0, "in the end the others go on");
	world_replied(&waits);
	end();
}

int
main(void)
{
	world_begin();
	too_large();
	both_full();
	lost_and_not_kept();
	lost_and_not_noted();
	done_again();
	return tap_done();
}
