/* test_server_read.c - how far a READ goes down among children. */
#include "tests/unit/server_world.h"

#include "tests/tap.h"

/* A directory `top` in the root, `deep` of them one in the other, and a file with two regions in the last. */
static void
make_chain(struct client *a, unsigned deep)
{
	struct msg_change changes[64] = { change_attr(OID_ROOT), change_entry(OID_ROOT, 1, a->at.first_oid) };
	const struct msg_committed *done;
	uint32_t count = 2;

	client_lease(a, OID_ROOT, MODE_EXCLUSIVE);
	for (unsigned i = 0; i <= deep; i++) {
		changes[count++] = change_attr(a->at.first_oid + i);
		if (i < deep)
			changes[count++] = change_entry(a->at.first_oid + i, 1, a->at.first_oid + i + 1);
	}
	changes[count++] = change_region(a->at.first_oid + deep, 0, 0);
	changes[count++] = change_region(a->at.first_oid + deep, 1, 0);
	done = client_commit(a, NULL, 0, changes, count);
	if (done == NULL || done->status != STATUS_OK)
		ok(false, "a chain of %u directories is made", deep);
}

static const struct msg_granted *
read_below(struct client *c, struct msg_read *how)
{
	struct msg_want wants[1] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .limit = 100 } };
	struct message m = { .type = MSG_read, .read = *how };
	const struct message *back;

	m.read.wants.at = wants;
	m.read.wants.count = 1;
	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_granted);
	return back == NULL ? NULL : &back->granted;
}

/* The session ends, and another begins that holds nothing. */
static void
start_anew(struct client *c)
{
	struct message bye = { .type = MSG_bye };

	world_send(c->w, c->control, &bye);
	*c = client_new(c->w, 1);
}

static void
test_levels(void)
{
	enum { DEEP = 10 };
	struct msg_read how = { .depth = 3, .kinds = 1 << KIND_ATTR | 1 << KIND_ENTRY, .size = 100000 };
	const struct msg_granted *back;
	struct server_stats stats;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_chain(&a, DEEP);
	start_anew(&a);
	back = read_below(&a, &how);
	ok(back != NULL && back->answers.count == 4, "children come along for as many levels as asked");
	ok(back->answers.at[1].records.count == 2 && !back->answers.at[1].more, "with the kinds asked for");
	start_anew(&a);
	how.depth = 255;
	how.kinds |= 1 << KIND_REGION;
	back = read_below(&a, &how);
	ok(back->answers.count == DEEP + 2, "or all of them");
	ok(back->answers.at[DEEP + 1].records.count == 2 && back->answers.at[DEEP + 1].more,
	    "and of regions the first alone");
	server_stats(w.server, &stats);
	ok(stats.leases == DEEP + 2, "each with a lease");
	start_anew(&a);
	how.size = 1000;
	back = read_below(&a, &how);
	ok(back->answers.count > 2 && back->answers.count < DEEP, "as far as the size goes");
	start_anew(&a);
	how.size = 0;
	back = read_below(&a, &how);
	ok(back->answers.count == 2 && back->answers.at[1].records.count == 1 && back->answers.at[1].more,
	    "which does not keep direct children's attributes out");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_children(void)
{
	struct message m = { .type = MSG_read, .read = { .depth = 1, .kinds = 1 << KIND_ATTR | 1 << KIND_PARENT } };
	struct msg_want wants[1] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .limit = 100 } };
	const struct message *back;
	struct world w;
	struct client a, b, c;
	uint64_t grants[4];

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 4);
	b = client_new(&w, 2);
	client_release(&a, OID_ROOT, MODE_NONE, 1);
	client_release(&a, a.at.first_oid + 1, MODE_NONE, 0);
	client_release(&a, a.at.first_oid + 2, MODE_SHARED, 0);
	client_release(&a, a.at.first_oid + 3, MODE_NONE, 0);
	m.read.wants.at = wants;
	m.read.wants.count = 1;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back != NULL && back->granted.answers.count == 4, "children that nobody else has come along");
	ok(back->granted.answers.at[1].oid == a.at.first_oid + 1 && back->granted.answers.at[1].records.count == 1 &&
	    back->granted.answers.at[1].mode == MODE_SHARED, "with a lease and their attributes");
	ok(world_take(&w, a.control, MSG_recall) == NULL, "and nobody is asked for the others");
	for (unsigned i = 1; i < 4; i++)
		grants[i] = back->granted.answers.at[i].grant;
	m.id = 0;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 1, "what the session holds it is not told again");
	c = client_new(&w, 3);
	client_lease(&c, a.at.first_oid + 2, MODE_SHARED);
	client_lease(&a, a.at.first_oid + 2, MODE_EXCLUSIVE);
	for (unsigned i = 1; i < 4; i++)
		client_release(&b, a.at.first_oid + i, MODE_NONE, grants[i]);
	m.id = 0;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 3, "nor is what somebody waits for given away");
	client_release(&b, a.at.first_oid + 1, MODE_NONE, back->granted.answers.at[1].grant);
	client_release(&b, a.at.first_oid + 3, MODE_NONE, back->granted.answers.at[2].grant);
	m.id = 0;
	m.read.budget = 7;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 2 && back->granted.answers.at[0].more == 0, "as far as the budget goes");
	m.id = 0;
	m.read.budget = 3;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 1 && back->granted.answers.at[0].more == 1 &&
	    back->granted.answers.at[0].records.count == 3, "which cuts ranges too");
	m.id = 0;
	m.read.budget = 0;
	m.read.kinds |= KINDS_EXCLUSIVE;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 3 && back->granted.answers.at[1].mode == MODE_EXCLUSIVE &&
	    back->granted.answers.at[2].mode == MODE_EXCLUSIVE, "EXCLUSIVE when that is asked for, held SHARED before or not at all");
	client_lease(&c, a.at.first_oid + 1, MODE_SHARED);
	world_take(&w, b.control, MSG_recall);
	client_release(&b, a.at.first_oid + 1, MODE_SHARED, back->granted.answers.at[1].grant);
	m.id = 0;
	world_send(&w, b.control, &m);
	back = world_take(&w, b.control, MSG_granted);
	ok(back->granted.answers.count == 1, "but not what others hold SHARED");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

int
main(void)
{
	test_levels();
	test_children();
	return tap_done();
}
