/*
 * test_server_read.c - how far a READ goes: down among children, and up to what
 * one answer holds; and what it says of objects whose rows are damaged.
 */
#include "tests/unit/server_world.h"

#include <string.h>

#include "server/layout.h"
#include "tests/tap.h"

enum { VOLUME = 1 };		/* the world's one, by number */

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

/* ---- what one answer holds ---- */

static const struct msg_granted *
read_wants(struct client *c, struct msg_want *wants, uint32_t count, struct msg_read how)
{
	struct message m = { .type = MSG_read, .read = how };
	const struct message *back;

	m.read.wants.at = wants;
	m.read.wants.count = count;
	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_granted);
	return back == NULL ? NULL : &back->granted;
}

/* `count` large records of the root, and a file in it. */
static void
make_large(struct client *a, unsigned count)
{
	static const uint8_t value[VALUE_MAX - 100];
	static uint8_t names[1024][TOKEN_SIZE];
	static struct msg_change changes[1024];
	struct msg_base base = { .oid = OID_ROOT };
	const struct msg_committed *done;

	client_make_tree(a, 1);
	for (unsigned made = 0, part; made < count; made += part) {
		for (part = 0; part < 1024 && made + part < count; part++) {
			names[part][0] = (uint8_t)((made + part) >> 8);
			names[part][1] = (uint8_t)(made + part);
			changes[part] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_XATTR,
			    .subkey = { names[part], TOKEN_SIZE }, .value = { value, sizeof value } };
		}
		base.version = a->sequence;
		done = client_commit(a, &base, 1, changes, part);
		if (done == NULL || done->status != STATUS_OK)
			ok(false, "an object is made larger than an answer");
	}
}

static void
test_frame(void)
{
	enum { COUNT = 2500 };
	static const uint8_t high[TOKEN_SIZE] = { 0xff };
	struct msg_want wants[2] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .kind = KIND_ENTRY, .last_kind = KIND_ENTRY,
	    .to = { high, sizeof high }, .limit = UINT32_MAX }, { .oid = OID_ROOT, .mode = MODE_SHARED, .kind = KIND_XATTR,
	    .last_kind = KIND_XATTR, .to = { high, sizeof high }, .limit = UINT32_MAX } };
	struct msg_read how = { .depth = 1, .kinds = 1 << KIND_ATTR };
	const struct msg_granted *back;
	const struct msg_record *last;
	uint8_t next[TOKEN_SIZE];
	struct message whole = { .type = MSG_granted };
	struct world w;
	struct client a;
	uint32_t had;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_large(&a, COUNT);
	start_anew(&a);
	back = read_wants(&a, wants, 2, how);
	ok(back != NULL && back->answers.at[1].more == 1 && back->answers.at[1].records.count < COUNT, "what fits no frame is cut");
	whole.granted = *back;
	ok(message_size(&whole) <= FRAME_BODY_MAX && message_size(&whole) > FRAME_BODY_MAX - 128 * 1024, "where it is full");
	ok(back->answers.count == 2 && back->answers.at[0].records.count == 1, "and no child comes along that has no room");
	had = back->answers.at[1].records.count;
	last = &back->answers.at[1].records.at[had - 1];
	memcpy(next, last->subkey.data, sizeof next);
	next[sizeof next - 1]++;
	wants[1].from = (struct bytes){ next, sizeof next };
	back = read_wants(&a, wants, 2, how);
	ok(back->answers.at[1].more == 0 && had + back->answers.at[1].records.count == COUNT, "the rest comes when it is asked for");
	ok(back->answers.count == 3 && back->answers.at[2].oid != OID_ROOT, "and the child with it");
	wants[1].from = (struct bytes){ high, sizeof high };
	wants[1].to = (struct bytes){ next, sizeof next };
	back = read_wants(&a, wants, 2, how);
	ok(back->answers.at[1].status == STATUS_OK && back->answers.at[1].records.count == 0 && back->answers.at[1].more == 0,
	    "a range that ends before it begins has nothing in it");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* A directory of more children than come along at once. */
static void
test_most_children(void)
{
	enum { COUNT = CHILDREN_MAX + 10 };
	static uint8_t names[COUNT][TOKEN_SIZE];
	static uint64_t oids[COUNT];
	static struct msg_change changes[1 + 2 * COUNT];
	static const uint8_t high[TOKEN_SIZE] = { 0xff };
	struct msg_want want = { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_ENTRY, .to = { high, sizeof high },
	    .limit = UINT32_MAX };
	struct msg_read how = { .depth = 1, .kinds = 1 << KIND_ATTR };
	const struct msg_committed *done;
	const struct msg_granted *back;
	struct server_stats stats;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	changes[0] = change_attr(OID_ROOT);
	for (unsigned i = 0; i < COUNT; i++) {
		names[i][0] = (uint8_t)(i >> 8);
		names[i][1] = (uint8_t)i;
		oids[i] = a.at.first_oid + i;
		changes[1 + 2 * i] = change_attr(oids[i]);
		changes[2 + 2 * i] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_ENTRY,
		    .subkey = { names[i], TOKEN_SIZE }, .orefs = { &oids[i], 1 }, .value = { names[i], 4 } };
	}
	done = client_commit(&a, NULL, 0, changes, 1 + 2 * COUNT);
	ok(done != NULL && done->status == STATUS_OK, "a directory of %d files is made", COUNT);
	start_anew(&a);
	back = read_wants(&a, &want, 1, how);
	ok(back != NULL && back->answers.count == 1 + CHILDREN_MAX && back->answers.at[0].records.count == 1 + COUNT,
	    "all of its names are told, and no more of its children than may come along");
	ok(back->answers.at[CHILDREN_MAX].oid == oids[CHILDREN_MAX - 1] && back->answers.at[CHILDREN_MAX].records.count == 1,
	    "the first of them, each whole");
	server_stats(w.server, &stats);
	ok(stats.leases == 1 + CHILDREN_MAX, "the others are not leased");
	back = read_wants(&a, &want, 1, how);
	ok(back->answers.count == 1 + COUNT - CHILDREN_MAX && back->answers.at[1].oid == oids[CHILDREN_MAX], "and come the next time");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- after a restart ---- */

/* While others may come back, and have it, nobody is given more of a child than he has. */
static void
test_grace(void)
{
	struct msg_read how = { .depth = 1, .kinds = 1 << KIND_ATTR | KINDS_EXCLUSIVE };
	struct msg_lease held[2] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .grant = 1, .base = 1 },
	    { .mode = MODE_SHARED, .grant = 0, .base = 1 } };
	const struct msg_granted *back;
	struct msg_reclaimed lost;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_make_tree(&a, 2);
	held[1].oid = a.at.first_oid;
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	client_release(&a, a.at.first_oid, MODE_SHARED, 0);
	client_release(&a, a.at.first_oid + 1, MODE_NONE, 0);
	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	client_reclaim(&a, held, 2, &lost);
	ok(lost.lost.count == 0, "a session has back what it held");
	back = read_below(&a, &how);
	ok(back != NULL && back->answers.count == 1, "while another may yet come back no child is leased, nor EXCLUSIVE what was SHARED");
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	back = read_below(&a, &how);
	ok(back->answers.count == 3 && back->answers.at[1].mode == MODE_EXCLUSIVE && back->answers.at[2].mode == MODE_EXCLUSIVE,
	    "and then both are");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- damage ---- */

/* Makes a row three bytes long, and whole again. */
static struct {
	struct key	 key;
	uint8_t		 value[STORE_VALUE_MAX];
	size_t		 len;
} damaged;

static void
put_row(struct world *w, struct bytes value)
{
	struct batch b;
	uint64_t pos;

	batch_init(&b);
	batch_put(&b, key_bytes(&damaged.key), value);
	store_apply(w->store, &b, 0, &pos);
	batch_done(&b);
	world_sync(w);
}

static void
damage(struct world *w, struct key key)
{
	struct bytes value;

	damaged.key = key;
	if (store_get(w->store, key_bytes(&key), &value) < 0)
		ok(false, "the row to be damaged is there");
	memcpy(damaged.value, value.data, value.len);
	damaged.len = value.len;
	put_row(w, (struct bytes){ damaged.value, 3 });
}

static void
mend(struct world *w)
{
	put_row(w, (struct bytes){ damaged.value, damaged.len });
}

static uint64_t
leases(struct world *w)
{
	struct server_stats stats;

	server_stats(w->server, &stats);
	return stats.leases;
}

/* Its lease stays as it was told: a stronger one nobody could give back. */
static void
test_damaged_child(void)
{
	struct msg_read how = { .depth = 1, .kinds = 1 << KIND_ATTR };
	const struct msg_answer *answer;
	const struct msg_granted *back;
	const struct message *recall;
	struct world w;
	struct client a, b;
	uint64_t f, grant;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	f = a.at.first_oid;
	client_make_tree(&a, 3);
	start_anew(&a);
	b = client_new(&w, 2);
	damage(&w, key_record(VOLUME, f + 2, KIND_ATTR, (struct bytes){ NULL, 0 }));
	back = read_below(&b, &how);
	ok(back != NULL && back->answers.count == 3 && leases(&w) == 3, "a child that is damaged does not come along, and is not leased");
	ok(strstr(w.log, "event=damage") != NULL, "which the log tells");
	mend(&w);
	grant = back->answers.at[1].grant;
	damage(&w, key_record(VOLUME, f, KIND_ATTR, (struct bytes){ NULL, 0 }));
	how.kinds |= KINDS_EXCLUSIVE;
	back = read_below(&b, &how);
	ok(back->answers.count == 3 && back->answers.at[1].oid == f + 1 && back->answers.at[1].mode == MODE_EXCLUSIVE &&
	    back->answers.at[2].oid == f + 2, "nor one that is held SHARED, where the others become EXCLUSIVE");
	answer = client_lease(&a, f, MODE_SHARED);
	ok(answer != NULL && answer->status == STATUS_IO, "others still share it, and are told of the damage");
	ok(world_take(&w, b.control, MSG_recall) == NULL, "and nobody is asked for it");
	mend(&w);
	ok(client_lease(&a, f, MODE_EXCLUSIVE) == NULL && (recall = world_take(&w, b.control, MSG_recall)) != NULL &&
	    recall->recall.grant == grant, "it is recalled by the grant that was told");
	client_release(&b, f, MODE_NONE, grant);
	ok(world_take(&w, a.control, MSG_granted) != NULL, "and given back by that");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Of a directory that comes along, what is whole before the damage. */
static void
test_damaged_entry(void)
{
	struct msg_read how = { .depth = 3, .kinds = 1 << KIND_ATTR | 1 << KIND_ENTRY, .size = 100000 };
	const struct msg_answer *answer;
	const struct msg_granted *back;
	struct msg_change changes[8];
	const struct msg_committed *done;
	struct world w;
	struct client a;
	uint64_t d;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	d = a.at.first_oid;
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	changes[0] = change_attr(OID_ROOT);
	changes[1] = change_entry(OID_ROOT, 1, d);
	for (uint8_t i = 0; i < 3; i++) {
		changes[2 + 2 * i] = change_attr(d + i);
		changes[3 + 2 * i] = change_entry(d, i + 1, d + 1 + i % 2);
	}
	done = client_commit(&a, NULL, 0, changes, 8);
	ok(done != NULL && done->status == STATUS_OK, "a directory of three names is made");
	start_anew(&a);
	damage(&w, key_record(VOLUME, d, KIND_ENTRY, (struct bytes){ block_name(2), TOKEN_SIZE }));
	back = read_below(&a, &how);
	ok(back != NULL && back->answers.count == 3 && back->answers.at[1].oid == d && back->answers.at[1].status == STATUS_OK &&
	    back->answers.at[1].records.count == 2 && back->answers.at[1].more == 1, "it comes along with what is before a damaged name");
	ok(back->answers.at[2].oid == d + 1, "and whom that refers to");
	answer = client_lease(&a, d, MODE_SHARED);
	ok(answer != NULL && answer->status == STATUS_IO, "who asks for it is told of the damage");
	mend(&w);
	ok(client_lease(&a, d, MODE_SHARED)->records.count == 4 && world_check(&w), "and all is well when it is mended");
	world_done(&w);
}

int
main(void)
{
	test_levels();
	test_children();
	test_frame();
	test_most_children();
	test_grace();
	test_damaged_child();
	test_damaged_entry();
	return tap_done();
}
