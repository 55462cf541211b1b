/*
 * test_server_evicted.c - what a session that lost its leases gets back after
 * a restart of the server, which has forgotten who was given them.
 */
#include "tests/unit/server_world.h"

#include <string.h>

#include "server/layout.h"
#include "tests/tap.h"

static const struct msg_answer *
granted(struct client *c)
{
	const struct message *m = world_take(c->w, c->control, MSG_granted);

	return m == NULL ? NULL : m->granted.answers.at;
}

static uint32_t
lost(struct client *c, const struct msg_lease *claims, uint32_t count)
{
	struct msg_reclaimed told;

	client_reclaim(c, claims, count, &told);
	return told.lost.count;
}

/* The first made the root and one file, and is cut off; the second waits for the root. */
static void
cut_off(struct world *w, struct client *a, struct client *b)
{
	world_init(w, NULL);
	*a = client_new(w, 1);
	client_make_tree(a, 1);
	*b = client_new(w, 2);
	server_disconnected(w->server, a->control);
	client_lease(b, OID_ROOT, MODE_SHARED);
	world_pass(w, TERM_MS + SKEW_MS - 1000);
}

/* It is not back yet who has the root now. */
static void
test_first_back(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 1 };
	struct msg_lease theirs = { .oid = OID_ROOT, .mode = MODE_SHARED, .base = 1 };
	const struct msg_answer *got;
	struct world w;
	struct client a, b;

	cut_off(&w, &a, &b);
	world_pass(&w, 2000);
	got = granted(&b);
	ok(got != NULL, "a silent session is evicted");
	theirs.grant = got->grant;
	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	ok(lost(&a, &claim, 1) == 1, "and after a restart, first to come back, does not get what another was given");
	client_attach(&b);
	ok(lost(&b, &theirs, 1) == 0, "who has it still");
	ok(world_check(&w), "and all is well");

	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	ok(lost(&b, NULL, 0) == 0, "when all others are back");
	client_attach(&a);
	a.known = 0;
	ok(lost(&a, &claim, 1) == 0, "it gets what they do not have");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* It came back before the restart, and was told what it lost: or was not, for the answer died with the server. */
static void
test_told(void)
{
	struct msg_lease claims[2] = { { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 1 } };
	struct world w;
	struct client a, b;
	uint64_t before;

	cut_off(&w, &a, &b);
	claims[1] = (struct msg_lease){ .oid = a.at.first_oid, .mode = MODE_EXCLUSIVE, .base = 1 };
	before = a.known;
	world_pass(&w, 2000);
	client_attach(&a);
	ok(lost(&a, claims, 2) == 1, "back while the server is up it loses what others have");
	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	ok(lost(&a, claims + 1, 1) == 0, "and after a restart has what it was left, whoever is back");

	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	a.known = before;
	ok(lost(&a, claims, 2) == 2, "but not if it did not hear what that was");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_lapsed(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 1 };
	struct world w;
	struct client a, b;

	cut_off(&w, &a, &b);
	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	client_attach(&a);
	world_pass(&w, 2 * (TERM_MS + SKEW_MS) + 200);
	ok(granted(&b) != NULL && world_closed(&w, a.control), "who reclaims nothing in the grace has to attach again");
	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	ok(lost(&a, &claim, 1) == 1, "and counts as evicted after the next restart");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Who was evicted, and has not been back since, need not be noted once more. */
static void
test_noted(void)
{
	struct message bye = { .type = MSG_bye };
	struct world w;
	struct client a, b;
	uint64_t end;

	cut_off(&w, &a, &b);
	world_pass(&w, 2000);
	ok(granted(&b) != NULL, "a silent session is evicted");
	world_send(&w, b.control, &bye);
	world_restart(&w, UINT64_MAX);
	end = store_end(w.store);
	world_pass(&w, TERM_MS + SKEW_MS + 200);
	ok(strstr(w.log, "event=lapse") != NULL && store_end(w.store) == end && world_check(&w),
	    "its grace after a restart ends without a change");
	world_done(&w);
}

static void
test_durable(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 1 };
	struct world w;
	struct client a, b;

	cut_off(&w, &a, &b);
	w.no_sync = true;
	world_pass(&w, 2000);
	ok(strstr(w.log, "event=evict") != NULL && granted(&b) == NULL, "no grant is told before the eviction is durable");
	world_sync(&w);
	ok(granted(&b) != NULL, "and each when it is");

	world_restart(&w, UINT64_MAX);
	w.no_sync = false;
	client_attach(&a);
	ok(lost(&a, &claim, 1) == 1, "for the next life of the server has to know");
	world_done(&w);
}

/* Rows of before there was a last field. */
static void
test_old_row(void)
{
	struct session_row row = { .generation = 3, .seen_s = 77, .evicted = 5 }, back = { .evicted = 9 };
	uint8_t bytes[SESSION_ROW_SIZE];

	session_row_encode(&row, bytes);
	ok(session_row_decode(&back, (struct bytes){ bytes, sizeof bytes }) == 0 && back.evicted == 5 && back.seen_s == 77,
	    "a session's row tells of its eviction");
	ok(session_row_decode(&back, (struct bytes){ bytes, sizeof bytes - 8 }) == 0 && back.evicted == 0 && back.seen_s == 77,
	    "one of an earlier version of none");
	ok(session_row_decode(&back, (struct bytes){ bytes, sizeof bytes - 7 }) < 0, "and half a field is damage");
}

int
main(void)
{
	test_first_back();
	test_told();
	test_lapsed();
	test_noted();
	test_durable();
	test_old_row();
	return tap_done();
}
