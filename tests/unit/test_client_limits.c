/*
 * test_client_limits.c - the client engine when it is refused, and when more
 * waits for the server than may.  Nothing is answered by itself: each case
 * says what the server did.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static void
begin(void)
{
	world_setup();
	w.reply_count = 0;
}

static void
refused_read(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR };
	struct message m = { .type = MSG_done, .done.status = STATUS_IO };

	begin();
	world_submit(&op);
	m.id = w.last_read;
	engine_received(w.engine, &m);
	world_collect();
	ok(w.reply_count == 1 && op.error == -EIO, "a READ that is refused is an error of who waits for it");
	world_replied(&op);
	op = (struct op){ .type = OP_GETATTR, .ino = FAR };
	world_submit(&op);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 5, 1, &world_file));
	ok(w.reply_count == 2 && op.error == 0 && op.attr.size == 100, "and not of who asks again");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static void
refused_commit(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h;

	begin();
	op.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, 10);
	world_submit(&op);
	world_answer(STATUS_IO);
	ok(w.reply_count == 1 && op.error == -EIO, "a commit for which the server has no good word is an error of fsync");
	world_replied(&op);
	for (unsigned i = 0; i < 100 && w.commit_count == 0; i++)
		world_pass(100);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], op.ino, KIND_INLINE), "and is tried again, with all its content");
	world_answer(STATUS_OK);
	ok(world_run(OP_FSYNC, op.ino, h) == 0, "until the server takes it");
	world_run(OP_RELEASE, op.ino, h);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static void
full_transaction(void)
{
	enum { MOST = 10000 };
	struct op op;
	unsigned n;

	begin();
	for (n = 0; n < MOST && world_make_link(&op, n) == 0; n++)
		continue;
	ok(n > 1000 && n < MOST, "after %u names that no answer comes for, the next waits", n);
	ok(world_sane(), "the invariants hold");
	world_pass(100);
	ok(w.reply_count == 0, "as long as none comes");
	world_answer_all();
	ok(w.reply_count == 1 && op.error == 0, "then it goes on");
	world_replied(&op);
	world_sync();
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* ---- a journal that holds little ---- */

static size_t kept;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)sync;
	kept += arguments.len + data.len;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
	kept = 0;
}

static void
full_journal(void)
{
	enum { MOST = 100 };
	static const struct engine_journal small = { .append = append, .trim = trim, .next = 1, .max = 4000 };
	struct op op;
	unsigned n;

	kept = 0;
	world_setup_as(&(struct engine_config){ .journal = &small });
	w.reply_count = 0;
	for (n = 0; n < MOST && world_make_link(&op, n) == 0; n++)
		continue;
	ok(n > 0 && n < 10, "after %u names the journal has no room, and the next waits", n);
	for (unsigned i = 0; i < 100 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && op.error == 0 && kept <= 4000, "until the server has what is in it, without being asked to");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

int
main(void)
{
	world_begin();
	refused_read();
	refused_commit();
	full_transaction();
	full_journal();
	return tap_done();
}
