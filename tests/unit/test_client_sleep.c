/*
 * test_client_sleep.c - the client engine while the machine goes to sleep, and
 * when it wakes up; and what the kernel may keep while the engine is stopped.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

static unsigned entries, synced;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data;
	entries++;
	if (sync)
		synced = entries;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static struct engine_journal sink = { append, trim, NULL, 1, 64 << 20 };

static void
begin(void)
{
	struct engine_config config = { .journal = &sink, .redo = true, .offline = OFFLINE_ALONE };

	world_setup_as(&config);
}

static void
sleep_now(bool on)
{
	engine_sleep(w.engine, on);
	world_collect();
}

static void
test_doze(void)
{
	struct op getattr = { .type = OP_GETATTR, .ino = FAR }, lookup = { .type = OP_LOOKUP, .name = world_text("a"),
	    .ino = OID_ROOT }, read = { .type = OP_GETATTR, .ino = FAR }, late = { .type = OP_GETATTR, .ino = FAR + 1 };
	struct op own = { .type = OP_SYNC, .ino = OID_ROOT, .own = true };
	uint64_t h, a;

	begin();
	a = world_create("a", &h);
	world_forget();
	ok(world_at_once(&lookup) == 0 && lookup.cacheable && lookup.name_cacheable, "awake, the kernel may keep names and attributes");
	sleep_now(true);
	ok(world_status().asleep && world_find(ACTION_INVALIDATE, 0, a) >= 0 && world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0,
	    "before the machine sleeps the kernel is told to forget them");
	ok(w.said[world_find(ACTION_INVALIDATE, 0, a)].mode == 0, "but not pages, of which a program may be run");
	lookup = (struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("a") };
	ok(world_at_once(&lookup) == 0 && !lookup.cacheable && !lookup.name_cacheable, "and may keep none it is told meanwhile");
	ok(world_at_once(&getattr) == 1, "a server that answers is waited for,");
	world_grant_one(1, world_object(FAR, MODE_SHARED, 1, 1, &world_file));
	world_collect();
	ok(getattr.error == 0 && getattr.attr.size == 100, "and nothing fails");
	world_replied(&getattr);
	ok(world_at_once(&read) == 0, "what is here is served");
	ok(world_at_once(&late) == 1, "another waits");
	world_submit(&own);
	w.reply_count = 0;
	world_pass(100);
	ok(w.reply_count == 0, "for a moment");
	world_pass(200);
	ok(w.reply_count == 1 && late.error == -EHOSTDOWN, "but not for long: the host is down");
	world_replied(&late);
	late = (struct op){ .type = OP_GETATTR, .ino = FAR + 1 };
	w.sent[MSG_read] = 0;
	ok(world_at_once(&late) == -EHOSTDOWN && w.sent[MSG_read] == 0, "from then on nothing waits, nor asks for what it will not take");
	read = (struct op){ .type = OP_GETATTR, .ino = FAR };
	ok(world_at_once(&read) == 0 && !read.cacheable, "what is here is served still");
	ok(world_status().ops_parked == 1, "an operation of the shell's own waits on");
	sleep_now(false);
	late = (struct op){ .type = OP_GETATTR, .ino = FAR + 1 };
	ok(!world_status().asleep && world_at_once(&late) == 1, "awake, the server is waited for again");
	w.last_keepalive = 0;
	world_pass(1);
	ok(w.last_keepalive != 0, "and asked at once whether it is there");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &late);
	engine_interrupt(w.engine, &own);
	world_collect();
	world_replied(&late);
	world_replied(&own);
	ok(world_sane(), "the engine is as it should be");
	world_teardown();
}

static void
test_away(void)
{
	struct op waits = { .type = OP_GETATTR, .ino = FAR }, more = { .type = OP_GETATTR, .ino = FAR };
	uint64_t h, a;

	begin();
	a = world_create("a", &h);
	world_write(a, h, 0, 1000);
	engine_detached(w.engine);
	world_submit(&waits);
	w.reply_count = 0;
	sleep_now(true);
	ok(w.reply_count == 1 && waits.error == -EHOSTDOWN, "without a server who waits is told so at once");
	world_replied(&waits);
	ok(world_at_once(&more) == -EHOSTDOWN, "and whoever would");
	entries++;
	ok(engine_journal_sync(w.engine) == 0 && synced == entries, "what is to be saved is on this machine's disk");
	for (unsigned s = 0; s < 59; s++)
		world_pass(1000);
	ok(world_status().asleep, "it stays so");
	world_pass(2000);
	ok(!world_status().asleep, "but not for ever, if nobody says that the machine woke up");
	world_teardown();
}

/* The machine slept for longer than the term, and woke up without its network. */
static void
test_wake(void)
{
	struct op waits = { .type = OP_GETATTR, .ino = FAR }, stale;
	uint64_t h, a;

	begin();
	a = world_create("a", &h);
	world_sync();
	sleep_now(true);
	w.now_ms += 3600 * 1000;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	ok(!world_status().asleep, "that the machine woke up nobody need say");
	sleep_now(false);
	world_forget();
	stale = (struct op){ .type = OP_GETATTR, .ino = a };
	ok(world_at_once(&stale) == 1, "after the term nothing is served that may have changed");
	world_pass(100);
	ok(world_status().lapsed && world_find(ACTION_INVALIDATE, 0, a) >= 0 && w.said[world_find(ACTION_INVALIDATE, 0, a)].mode == 2,
	    "and the kernel forgets pages, too");
	engine_detached(w.engine);
	w.reply_count = 0;
	world_pass(9000);
	ok(!world_status().offline, "the network has a while to come back");
	world_pass(2000);
	ok(world_status().offline && w.reply_count == 1 && stale.error == 0, "but not another term until the mount goes on alone");
	world_replied(&stale);
	ok(world_at_once(&waits) == -EHOSTDOWN, "which says what it does not have");
	world_attach(false, 1, false);
	engine_detached(w.engine);
	world_pass(44 * 1000);
	ok(!world_status().offline, "found again, the server is missed for a whole term as before");
	ok(world_sane(), "the engine is as it should be");
	world_teardown();
}

static void
hear(uint32_t sessions)
{
	struct message m = { .type = MSG_alive, .id = w.last_keepalive, .alive = { .sessions = sessions } };

	engine_received(w.engine, &m);
	world_collect();
}

static void
test_stopped(void)
{
	struct op look = { .type = OP_GETATTR, .ino = OID_ROOT };

	begin();
	world_pass(5000);
	hear(1);
	world_forget();
	ok(world_at_once(&look) == 0 && look.keep_ms == UINT32_MAX, "alone, the kernel may keep things for long");
	world_pass(5000);
	hear(2);
	world_pass(0);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0, "when somebody comes it forgets them");
	world_pass(4000);
	look = (struct op){ .type = OP_GETATTR, .ino = OID_ROOT };
	ok(world_at_once(&look) == 0 && look.cacheable && look.keep_ms == TERM_MS - 4000, "in company it may until the term ends");
	world_forget();
	world_pass(1000);
	hear(3);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) < 0, "and need not forget when more come");
	world_teardown();
}

/* Who runs the journal again is not the kernel's; and a term may end while the machine lies down. */
static void
test_term_over(void)
{
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + 1 };
	struct replaying p = { .entry = &entry };
	struct op redo = { .type = OP_GETATTR, .ino = FAR, .redo = true }, replay = { .type = OP_SETATTR, .ino = FAR + 1, .replay = &p };
	struct op stat = { .type = OP_GETATTR, .ino = FAR + 2 };

	begin();
	w.reply_count = 0;
	ok(world_at_once(&redo) == 1 && world_at_once(&replay) == 1, "the journal is run again");
	sleep_now(true);
	sleep_now(true);
	world_pass(1000);
	ok(w.reply_count == 0 && world_at_once(&stat) == 1, "which nobody waits for when the machine lies down: it dozes");
	sleep_now(true);
	w.now_ms += 300;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	world_pass(0);
	ok(w.reply_count == 1 && stat.error == -EHOSTDOWN, "but somebody else may, for a moment");
	world_replied(&stat);
	sleep_now(true);
	stat = (struct op){ .type = OP_GETATTR, .ino = FAR + 2 };
	ok(world_at_once(&stat) == -EHOSTDOWN && world_status().asleep, "told once more, it sleeps on");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &redo);
	engine_interrupt(w.engine, &replay);
	world_collect();
	world_replied(&redo);
	world_replied(&replay);
	world_teardown();

	begin();
	for (unsigned i = 0; i < TERM_MS / 2000 - 1; i++)
		world_pass(2000);			/* and the server says nothing */
	sleep_now(true);
	for (unsigned i = 0; i < 4; i++)
		world_pass(2000);
	stat = (struct op){ .type = OP_GETATTR, .ino = OID_ROOT };
	ok(world_at_once(&stat) == -EHOSTDOWN, "nobody waits for a server whose term is over, whether its connection is there or not");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_doze();
	test_away();
	test_wake();
	test_stopped();
	test_term_over();
	return tap_done();
}
