/*
 * test_client_due.c - the client engine is ticked when it says, and only then.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static void
hear(uint32_t sessions)
{
	struct message alive = { .type = MSG_alive, .id = w.last_keepalive, .alive = { .sessions = sessions } };
	struct message space = { .type = MSG_space, .id = w.last_statfs, .space = { .total_bytes = UINT64_C(1) << 40,
	    .free_bytes = UINT64_C(1) << 39, .ready_bytes = UINT64_C(1) << 39, .credit = w.credit } };

	engine_received(w.engine, &alive);
	engine_received(w.engine, &space);
	world_collect();
}

/* Ticks when they are due until `ms` have passed, and `each` after it; their number. */
static unsigned
pass_idly(uint64_t ms, void (*each)(void))
{
	uint64_t end = w.now_ms + ms;
	unsigned ticks = 0;

	for (; engine_due(w.engine) <= end; ticks++) {
		world_pass(engine_due(w.engine) > w.now_ms ? engine_due(w.engine) - w.now_ms : 0);
		if (each != NULL)
			each();
	}
	w.now_ms = end;
	engine_clock(w.engine, end, (struct timespec){ .tv_sec = (time_t)(end / 1000) });
	return ticks;
}

static uint64_t
rest(void)
{
	return engine_due(w.engine) > w.now_ms ? engine_due(w.engine) - w.now_ms : 0;
}

/* A journal that keeps nothing. */
static uint64_t trimmed;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data, (void)sync;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context;
	trimmed = upto;
}

static struct engine_journal sink = { append, trim, NULL, 1, 64 << 20 };

static void
alone(void)
{
	hear(1);
}

static void
idle(enum offline offline)
{
	struct engine_config config = { .offline = offline, .journal = &sink, .redo = true };

	world_setup_as(&config);
	hear(1);
	pass_idly(30 * 1000, alone);
	world_forget();
}

static void
test_idle(void)
{
	unsigned before;
	uint64_t left;

	idle(OFFLINE_NEVER);
	before = w.sent[MSG_keepalive];
	ok(pass_idly(60 * 1000, alone) == 12 && w.sent[MSG_keepalive] == before + 12, "an idle minute takes a tick for each sign of life");
	ok(world_find(ACTION_SEND, MSG_statfs, 0) >= 0, "and space is asked for in the same breath");
	pass_idly(1000, alone);
	world_forget();
	left = rest();
	for (unsigned i = 0; i < 10; i++)
		world_pass(100);
	ok(w.said_count == 0, "a tick that is not due does nothing");
	ok(left > 1000 && rest() == left - 1000, "and puts nothing off");
	pass_idly(rest(), NULL);
	world_pass(0);
	ok(rest() > 1000 && world_find(ACTION_SEND, MSG_keepalive, 0) >= 0, "to its time");
	world_teardown();
}

static void
test_work(void)
{
	uint64_t ino, handle;
	unsigned ticks;

	idle(OFFLINE_NEVER);
	ino = world_create("a", &handle);
	world_write(ino, handle, 0, 1000);
	world_run(OP_RELEASE, ino, handle);
	ok(rest() <= 2000, "work has a time by which it is to be committed");
	pass_idly(2000, NULL);
	world_answer_all();
	pass_idly(2000, NULL);
	world_answer_all();
	ok(world_status().dirty_objects == 0 && world_status().commits_pending == 0, "and is, by ticks that are due");
	pass_idly(6000, alone);
	ticks = pass_idly(60 * 1000, alone);
	ok(ticks == 12, "then it is idle again");
	trimmed = 0;
	ino = world_create("b", &handle);
	world_run(OP_RELEASE, ino, handle);
	pass_idly(2000, NULL);
	world_answer_all();
	pass_idly(300, NULL);
	ok(trimmed > 0, "when the server has what was done the journal hears of it soon");
	hear(2);
	ok(rest() <= 100, "that another session came is looked at soon");
	world_forget();
	world_pass(100);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0 && rest() > 1000, "once");
	hear(1);
	ok(rest() <= 100, "and that it has gone");
	world_pass(100);
	w.no_sweep = true;
	world_recall(OID_ROOT, 0, MODE_NONE, 1);
	pass_idly(1000, NULL);
	ok(rest() <= 100 && world_status().recalls == 1, "a recall is looked at again and again");
	world_invalidated(OID_ROOT, false, 0);
	pass_idly(2000, NULL);
	ok(rest() > 1000, "until it has ended");
	world_teardown();
}

static void
test_cut_off(void)
{
	uint64_t since;

	idle(OFFLINE_NEVER);
	engine_detached(w.engine);
	since = w.now_ms;
	ok(rest() <= 100, "that the connection broke is looked at soon");
	world_pass(100);
	ok(rest() > 1000 && engine_due(w.engine) <= since + TERM_MS, "then the end of the term is what comes next");
	pass_idly(TERM_MS, NULL);
	ok(world_status().lapsed && world_swept(OID_ROOT, 1), "at which the kernel is told to forget");
	pass_idly(60 * 1000, NULL);
	ok(engine_due(w.engine) == UINT64_MAX, "and then nothing, as long as there is no server");
	world_attach(false, 1, false);
	ok(rest() <= 100, "until it is back");
	world_teardown();
}

static void
test_offline(void)
{
	uint64_t ino, handle;

	idle(OFFLINE_ALWAYS);
	pass_idly(2000, alone);
	engine_detached(w.engine);
	pass_idly(TERM_MS + 200, NULL);
	ok(world_status().offline, "a mount goes offline when the term is over");
	ok(pass_idly(3600 * 1000, NULL) < 3 && engine_due(w.engine) == UINT64_MAX, "and an hour offline takes no ticks");
	ino = world_create("a", &handle);
	world_run(OP_RELEASE, ino, handle);
	ok(rest() <= 2000, "what is done there has its time, too");
	ok(pass_idly(3600 * 1000, NULL) < 10 && engine_due(w.engine) == UINT64_MAX, "after which it waits for the server");
	engine_sleep(w.engine, true);
	world_collect();
	ok(rest() <= 100, "a machine that goes to sleep is watched");
	pass_idly(70 * 1000, NULL);
	ok(!world_status().asleep && engine_due(w.engine) == UINT64_MAX, "until it does not, after all");
	world_teardown();
}

/* Without a journal, which would be looked after all the time. */
static void
test_refused(void)
{
	struct engine_config config = { .offline = OFFLINE_NEVER };
	uint64_t ino, handle;

	world_setup_as(&config);
	ino = world_create("a", &handle);
	world_sync();
	hear(1);
	world_write(ino, handle, 0, 100000);
	pass_idly(2000, NULL);
	ok(w.store_count == 1, "content goes to the server in its time");
	engine_stored(w.engine, world_take_store(), -ENOSPC);
	world_collect();
	ok(world_status().error == -ENOSPC && rest() <= 1000, "what it has no space for is tried again soon,");
	pass_idly(100, NULL);
	hear(1);
	pass_idly(100, NULL);
	ok(w.store_count == 1, "and at once when it says that there is some");
	world_stored(world_take_store());
	world_answer_all();
	world_teardown();
}

/* Three ids are used up, and more were asked for; and came, after the first. */
static void
use_up_ids(const struct message *more)
{
	struct msg_attached few = { .session = 1, .credit = CREDIT_MAX, .term_ms = 1000 * TERM_MS, .first_oid = 5000, .oid_count = 3,
	    .sessions = 1 };
	uint64_t h;

	world_setup_unattached(&(struct engine_config){ .offline = OFFLINE_NEVER });
	engine_attached(w.engine, &few, true);
	engine_format(w.engine, 0, 0, 0755);
	for (char name[] = "a"; name[0] < 'd'; name[0]++) {
		uint64_t ino = world_create(name, &h);

		world_run(OP_RELEASE, ino, h);
		if (more != NULL && name[0] == 'a')
			world_hear(*more);
	}
	world_sync();
	pass_idly(1000, alone);
	ok(w.sent[MSG_alloc] == 1, "ids are used up, and more asked for");
	hear(1);
}

static void
test_ids(void)
{
	struct message none = { .type = MSG_allocated }, some = { .type = MSG_allocated, .allocated = { .first_oid = 7000, .oid_count = 5 } };
	struct message refused = { .type = MSG_done, .done.status = STATUS_NOSPC };

	use_up_ids(NULL);
	ok(rest() > 2000, "as long as that is not answered there is nothing to do");
	refused.id = w.last_alloc;
	world_hear(refused);
	ok(rest() > 500 && rest() <= 1000, "when it is refused, a second later");
	pass_idly(1100, alone);
	ok(w.sent[MSG_alloc] == 2 && rest() > 2000, "they are asked for again");
	world_hear(some);
	pass_idly(100, alone);
	ok(rest() > 2000, "and come");
	world_teardown();
	memset(w.sent, 0, sizeof w.sent);

	use_up_ids(NULL);
	world_hear(none);
	pass_idly(200, alone);
	ok(w.sent[MSG_alloc] == 1 && rest() > 2000, "a server that gives none is asked again by who needs one");
	world_teardown();
	memset(w.sent, 0, sizeof w.sent);

	use_up_ids(&some);
	ok(w.sent[MSG_alloc] == 1 && rest() > 2000, "those of the next range need not be asked for");
	world_teardown();
}

/* The volume may have become one that this program must not touch. */
static void
test_meta(void)
{
	idle(OFFLINE_NEVER);
	hear(2);
	pass_idly(200, NULL);
	ok(engine_lease(w.engine, OID_META) != MODE_NONE && rest() > 1000, "what the volume is is known, and nothing due");
	world_recall(OID_META, 0, MODE_NONE, 1);
	ok(engine_lease(w.engine, OID_META) == MODE_NONE && rest() <= 100, "that somebody wants it is looked at soon");
	pass_idly(200, NULL);
	ok(rest() > 1000, "once");
	world_teardown();
}

/* Of many the smallest asks for all. */
static void
test_many_refused(void)
{
	struct engine_config config = { .offline = OFFLINE_NEVER };
	uint64_t ino, handle;
	struct flush *f;

	world_setup_as(&config);
	ino = world_create("a", &handle);
	world_sync();
	hear(1);
	for (unsigned i = 0; i < 5; i++)
		world_write(ino, handle, (uint64_t)i << 20, i == 3 ? 100000 : 200000);
	pass_idly(2000, NULL);
	ok(w.store_count == 5, "five blocks go to the server,");
	while (w.store_count > 0) {
		engine_stored(w.engine, world_take_store(), -ENOSPC);
		world_collect();
	}
	pass_idly(1100, NULL);
	ok(w.store_count == 1 && w.stores[0]->len == 100000, "and when it has refused them the smallest is tried again");
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	engine_stored(w.engine, world_take_store(), -ENOSPC);
	world_collect();
	pass_idly(900, NULL);
	ok(w.store_count == 0, "after a while");
	pass_idly(300, NULL);
	f = w.store_count == 1 ? world_take_store() : NULL;
	ok(f != NULL && f->len == 100000, "once more");
	pass_idly(2000, NULL);
	ok(w.store_count == 4, "while it does not say a thing the others do not wait for it for long");
	while (w.store_count > 0) {
		engine_stored(w.engine, world_take_store(), -ENOSPC);
		world_collect();
	}
	engine_stored(w.engine, f, -ENOSPC);
	world_collect();
	pass_idly(1100, NULL);
	world_stored(world_take_store());
	pass_idly(200, NULL);
	ok(w.store_count == 4, "and when it is taken all go");
	world_answer_all();
	pass_idly(2000, NULL);
	world_answer_all();
	ok(world_status().dirty_objects == 0 && world_sane(), "and are");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_idle();
	test_work();
	test_cut_off();
	test_offline();
	test_refused();
	test_many_refused();
	test_meta();
	test_ids();
	return tap_done();
}
