/*
 * test_server_due.c - the server engine is ticked when it says: world_pass()
 * does no more, so every test that lets time pass holds that, too.
 */
#include "tests/unit/server_world.h"

#include <string.h>

#include "tests/tap.h"

static struct world w;

static uint64_t
rest(void)
{
	return server_due(w.server) > w.now_ms ? server_due(w.server) - w.now_ms : 0;
}

/* Ticks when they are due until `ms` have passed; their number. */
static unsigned
pass_idly(uint64_t ms)
{
	uint64_t end = w.now_ms + ms;
	unsigned ticks = 0;

	for (; server_due(w.server) <= end; ticks++) {
		w.now_ms = server_due(w.server) > w.now_ms ? server_due(w.server) : w.now_ms;
		server_clock(w.server, w.now_ms);
		server_tick(w.server);
		world_pump(&w);
	}
	w.now_ms = end;
	server_clock(w.server, end);
	return ticks;
}

static void
test_idle(void)
{
	struct client a;
	struct message alive = { .type = MSG_keepalive };
	unsigned ticks = 0;

	world_init(&w, NULL);
	pass_idly(10 * 1000);
	ok(pass_idly(600 * 1000) == 0, "without clients nothing is due");
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	ok(rest() <= 100, "an attachment is looked at soon");
	pass_idly(1000);
	for (unsigned i = 0; i < 120; i++) {
		ticks += pass_idly(5000);
		world_send(&w, a.control, &alive);
	}
	ok(ticks <= 12, "and ten minutes of signs of life take a tick a term, at most (%u)", ticks);
	server_disconnected(w.server, a.control);
	pass_idly(1000);
	ok(pass_idly(TERM_MS + SKEW_MS + 1000) <= 2, "who is gone is looked at when its term is over");
	ok(pass_idly(23 * 3600 * 1000) <= 1, "and not again that day");
	world_done(&w);
}

static void
test_strangers(void)
{
	uint64_t conn;

	world_init(&w, NULL);
	pass_idly(10 * 1000);
	conn = world_connect(&w, 1);
	ok(rest() > 5000 && rest() <= 10 * 1000 + 1, "who is connected and no more has its time");
	pass_idly(59 * 1000);
	ok(!world_closed(&w, conn), "which is longer for a device that is known,");
	ok(pass_idly(2 * 1000) == 1 && world_closed(&w, conn), "and over when it was told");
	ok(pass_idly(600 * 1000) == 0, "then nothing is due");
	world_done(&w);
}

static void
test_wanted(void)
{
	struct client a, b;
	struct server_stats stats;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	pass_idly(1000);
	server_disconnected(w.server, a.control);
	pass_idly(TERM_MS - 1000);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	ok(rest() <= 100, "that somebody wants what another has is looked at soon");
	pass_idly(100);
	ok(rest() > 1000 && rest() <= SKEW_MS + 1000, "and again when that one has been silent for its term");
	pass_idly(SKEW_MS + 1000);
	server_stats(w.server, &stats);
	ok(stats.evictions == 1, "when it is evicted");
	world_done(&w);
}

static void
test_grace(void)
{
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	world_restart(&w, UINT64_MAX);
	pass_idly(1000);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, &(struct msg_reclaimed){ 0 });
	client_lease(&b, OID_ROOT, MODE_SHARED);
	pass_idly(TERM_MS + SKEW_MS + 1000);
	ok(world_take(&w, b.control, MSG_granted) != NULL, "who does not come back after a restart is waited for, for a term");
	world_done(&w);
}

static void
test_many(void)
{
	enum { FILES = 30 };
	struct msg_change unlinks[FILES];
	struct msg_base bases[FILES + 1] = { { .oid = OID_ROOT, .version = 1 } };
	struct server_stats stats;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, FILES);
	pass_idly(1000);
	for (unsigned i = 0; i < FILES; i++) {
		unlinks[i] = change_unlink(OID_ROOT, (uint8_t)(i + 1));
		bases[i + 1] = (struct msg_base){ .oid = a.at.first_oid + i, .version = 1 };
	}
	ok(client_commit(&a, bases, FILES + 1, unlinks, FILES)->status == STATUS_OK, "many files are removed");
	pass_idly(3000);
	server_stats(w.server, &stats);
	ok(stats.frees == FILES, "and freed, a few with each tick (%u)", (unsigned)stats.frees);
	world_done(&w);
}

static void
test_blocks(void)
{
	struct client a;
	unsigned ticks;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	server_disconnected(w.server, a.control);
	pass_idly(TERM_MS + SKEW_MS + 1000);
	ok(client_put(&a, 7) == STATUS_OK, "a block that nothing names");
	ok(rest() <= 600 * 1000, "is due to be freed");
	ticks = pass_idly(610 * 1000);
	ok(ticks <= 4 && rest() > 600 * 1000, "and is, when it is (%u)", ticks);
	world_done(&w);
}

static bool
is_there(struct client *c, uint8_t id)
{
	struct message m = { .type = MSG_get, .get = { .count = 1 } };
	const struct message *back;

	memcpy(m.get.id, block_name(id), ID_SIZE);
	world_send(&w, c->bulk, &m);
	back = world_take(&w, c->bulk, MSG_block);
	return back != NULL && back->block.status == STATUS_OK;
}

static unsigned
count_there(struct client *c, unsigned blocks)
{
	unsigned there = 0;

	for (unsigned i = 1; i <= blocks; i++)
		there += is_there(c, (uint8_t)i);
	return there;
}

/* More blocks than one batch frees, all due at once. */
static void
test_many_blocks(void)
{
	enum { BLOCKS = 70, BATCH = 64 };	/* server/block.c */
	struct client a;
	bool stored = true;

	world_init(&w, &(struct server_config){ .fresh_ms = 5000 });
	a = client_new(&w, 1);
	for (unsigned i = 1; i <= BLOCKS; i++)
		stored &= client_put(&a, (uint8_t)i) == STATUS_OK;
	pass_idly(4900);
	ok(stored && count_there(&a, BLOCKS) == BLOCKS, "blocks that nothing names are there for their time");
	w.now_ms += 200;
	server_clock(w.server, w.now_ms);
	server_tick(w.server);
	world_pump(&w);
	ok(count_there(&a, BLOCKS) == BLOCKS - BATCH && !is_there(&a, BATCH) && is_there(&a, BATCH + 1),
	    "then one tick frees some, the oldest first");
	ok(rest() <= 100 && pass_idly(1000) == 1 && count_there(&a, BLOCKS) == 0 && world_check(&w), "and the next the others");
	world_done(&w);
}

int
main(void)
{
	test_idle();
	test_strangers();
	test_wanted();
	test_grace();
	test_many();
	test_blocks();
	test_many_blocks();
	return tap_done();
}
