/*
 * test_server_failing.c - a store that refuses changes for a while, in the
 * middle of what the server does by itself: nobody is told what is not so, and
 * it is done when the store can again.
 */
#include "tests/unit/server_world.h"

#include <errno.h>
#include <string.h>

#include "server/layout.h"
#include "tests/sim/memstore.h"
#include "tests/tap.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

static struct world w;
static const struct store_ops *real;
static struct store_ops ops;
static int apply_error;		/* what a change is answered; 0: what the store says */

static int
failing_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *ret_pos)
{
	return apply_error != 0 ? apply_error : real->apply(s, b, flags, ret_pos);
}

static void
begin(const struct server_config *config)
{
	world_init(&w, config);
	real = w.store->ops;
	ops = *real;
	ops.apply = failing_apply;
	w.store->ops = &ops;
	apply_error = 0;
}

static void
end(void)
{
	ok(world_check(&w), "and all is well");
	w.store->ops = real;
	world_done(&w);
}

static bool
granted(struct client *c)
{
	return world_take(&w, c->control, MSG_granted) != NULL;
}

static bool
logged(const char *event)
{
	return strstr(w.log, event) != NULL;
}

static struct server_stats
stats(void)
{
	struct server_stats s;

	server_stats(w.server, &s);
	return s;
}

static bool
due_soon(void)
{
	return server_due(w.server) <= w.now_ms + 100;
}

/* ---- sessions ---- */

static void
test_evict(void)
{
	struct client a, b;

	begin(NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	apply_error = -EIO;
	world_pass(&w, TERM_MS + SKEW_MS + 1000);
	ok(!granted(&b) && stats().evictions == 0 && !logged("event=evict") && !world_closed(&w, a.control),
	    "nobody is evicted while that cannot be stored");
	ok(world_check(&w) && due_soon(), "it is tried again");
	apply_error = 0;
	world_pass(&w, 200);
	ok(granted(&b) && stats().evictions == 1 && logged("event=evict") && world_closed(&w, a.control), "until it is done");
	end();
}

static void
test_lapse(void)
{
	struct client a, b;

	begin(NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	apply_error = -EIO;
	world_pass(&w, TERM_MS + SKEW_MS + 1000);
	ok(!granted(&b) && !logged("event=lapse"), "the grace goes on while its end for one cannot be stored");
	ok(world_check(&w) && due_soon(), "it is tried again");
	apply_error = 0;
	world_pass(&w, 200);
	ok(granted(&b) && logged("event=lapse"), "until it is over");
	end();
}

/* What the store says of when it was last seen. */
static uint64_t
seen_s(const struct client *c)
{
	struct key key = key_u64(ROW_SESSION, 1, c->at.session);
	struct session_row row = { 0 };
	struct bytes value;

	return store_get(w.store, key_bytes(&key), &value) == 0 && session_row_decode(&row, value) == 0 ? row.seen_s : 0;
}

/* Time in one piece, with a tick at its end. */
static void
jump(uint64_t ms, struct client *alive)
{
	struct message m = { .type = MSG_keepalive };

	w.now_ms += ms;
	server_clock(w.server, w.now_ms);
	if (alive != NULL)
		world_send(&w, alive->control, &m);
	server_tick(w.server);
	world_pump(&w);
}

static void
test_day(void)
{
	struct client a;
	uint64_t before;

	begin(NULL);
	a = client_new(&w, 1);
	before = seen_s(&a);
	apply_error = -EIO;
	jump(DAY_MS + 2000, &a);
	ok(before > 0 && seen_s(&a) == before && due_soon(), "that a session was there for a day is not stored, and tried again");
	apply_error = 0;
	world_pass(&w, 200);
	ok(seen_s(&a) > before + DAY_MS / 1000 && !due_soon(), "until it is");
	end();
}

static void
test_expire(void)
{
	struct client a;

	begin(NULL);
	a = client_new(&w, 1);
	server_disconnected(w.server, a.control);
	server_disconnected(w.server, a.bulk);
	apply_error = -EIO;
	jump(31 * (uint64_t)DAY_MS, NULL);
	ok(stats().sessions == 1 && seen_s(&a) > 0 && !logged("event=expire"), "who was away for a month is there while that cannot be stored");
	ok(world_check(&w) && due_soon(), "it is tried again");
	apply_error = 0;
	world_pass(&w, 200);
	ok(stats().sessions == 0 && seen_s(&a) == 0 && logged("event=expire") && !due_soon(), "until it is forgotten");
	ok(client_attach(&a) == STATUS_NOENT, "and not known");
	end();
}

/* ---- blocks ---- */

static enum status
get(struct client *c, uint8_t id)
{
	struct message m = { .type = MSG_get, .get = { .count = 1 } };
	const struct message *back;

	memcpy(m.get.id, block_name(id), ID_SIZE);
	world_send(&w, c->bulk, &m);
	back = world_take(&w, c->bulk, MSG_block);
	return back == NULL ? STATUS_COUNT : back->block.status;
}

static void
test_put(void)
{
	struct client a;

	begin(NULL);
	a = client_new(&w, 1);
	apply_error = -EIO;
	ok(client_put(&a, 7) == STATUS_IO, "a block whose row cannot be written is not stored");
	apply_error = 0;
	ok(get(&a, 7) == STATUS_NOENT && store_block_exists(w.store, block_name(7)) == 0, "nor are its bytes");
	ok(client_put(&a, 7) == STATUS_OK && get(&a, 7) == STATUS_OK, "it is when it comes again");
	end();
}

/* Without the room to note that something is free, nothing will be. */
static void
test_stuck(void)
{
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change two[] = { change_region(OID_ROOT, 1, 7), change_region(OID_ROOT, 2, 9) };
	struct msg_change cut = change_region(OID_ROOT, 1, 0), other = change_region(OID_ROOT, 2, 0);
	struct client a;

	begin(&(struct server_config){ .idle_ms = 60 * 1000, .fresh_ms = 600 * 1000 });
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	client_put(&a, 7);
	client_put(&a, 9);
	ok(client_commit(&a, &base, 1, two, 2)->status == STATUS_OK && client_commit(&a, &base, 1, &cut, 1)->status == STATUS_OK,
	    "a block is named, and no more");
	memstore_set_full(w.store, true);
	ok(client_put(&a, 8) == STATUS_BUSY, "a server that is full will have its space");
	apply_error = -ENOSPC;
	world_pass(&w, 3000);
	ok(client_put(&a, 8) == STATUS_NOSPC && get(&a, 7) == STATUS_OK, "but not if it cannot even free that");
	apply_error = 0;
	world_pass(&w, 200);
	ok(get(&a, 7) == STATUS_NOENT, "it is freed when it can be");
	ok(client_commit(&a, &base, 1, &other, 1)->status == STATUS_OK && client_put(&a, 8) == STATUS_BUSY,
	    "and then the next will have its space again");
	end();
}

int
main(void)
{
	test_evict();
	test_lapse();
	test_day();
	test_expire();
	test_put();
	test_stuck();
	return tap_done();
}
