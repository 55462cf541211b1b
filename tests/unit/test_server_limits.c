/*
 * test_server_limits.c - how long the server waits for whom, what waits for
 * its disk, and how much one session gets: by the rules of nuage-protocol(5).
 */
#include "tests/unit/server_world.h"

#include <stdio.h>
#include <string.h>

#include "server/wait.h"
#include "tests/sim/memstore.h"
#include "tests/tap.h"

static const struct msg_change nothing = { 0 };

static enum status
commit(struct client *a, struct msg_change one, struct msg_change two)
{
	struct msg_change changes[] = { one, two };
	const struct msg_committed *done = client_commit(a, NULL, 0, changes, 1 + (two.oid != 0));

	return done == NULL ? STATUS_COUNT : done->status;
}

/* The root, made by a, which then holds it EXCLUSIVE. */
static void
make_root(struct client *a)
{
	client_lease(a, OID_ROOT, MODE_EXCLUSIVE);
	if (commit(a, change_attr(OID_ROOT), nothing) != STATUS_OK)
		ok(false, "a root is made");
}

static const struct msg_answer *
granted(struct client *c)
{
	const struct message *m = world_take(c->w, c->control, MSG_granted);

	return m == NULL ? NULL : m->granted.answers.at;
}

static void
keepalive(struct client *c)
{
	struct message alive = { .type = MSG_keepalive };

	world_send(c->w, c->control, &alive);
}

static uint64_t
evictions(struct world *w)
{
	struct server_stats stats;

	server_stats(w->server, &stats);
	return stats.evictions;
}

/* Time in which these are alive. */
static void
pass_alive(struct world *w, uint64_t ms, struct client *a, struct client *b)
{
	for (uint64_t at = 0; at < ms; at += 1000) {
		world_pass(w, 1000);
		keepalive(a);
		keepalive(b);
	}
}

/* Of a new volume; the first has made its root. */
static void
two_clients(struct world *w, struct client *a, struct client *b)
{
	world_init(w, NULL);
	*a = client_new(w, 1);
	*b = client_new(w, 2);
	make_root(a);
}

/* ---- how long it waits ---- */

static void
test_term(void)
{
	struct world w;
	struct client a, b;

	two_clients(&w, &a, &b);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	world_pass(&w, TERM_MS + SKEW_MS - 100);
	server_tick(w.server);		/* it may come at any time, for something else */
	world_pump(&w);
	ok(granted(&b) == NULL && evictions(&w) == 0, "a silent holder keeps its leases for term and skew");
	world_pass(&w, 300);
	ok(granted(&b) != NULL && evictions(&w) == 1, "and not longer, when somebody waits");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* One that lives holds back what is recalled until it gets what a dead one holds. */
static void
test_chain(void)
{
	struct world w;
	struct client a, b, c;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	c = client_new(&w, 3);
	make_root(&a);
	pass_alive(&w, 2000, &a, &b);
	client_lease(&c, OID_RENAME, MODE_EXCLUSIVE);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	client_lease(&a, OID_RENAME, MODE_EXCLUSIVE);
	pass_alive(&w, TERM_MS + SKEW_MS + 1000, &a, &b);
	ok(granted(&a) != NULL && evictions(&w) == 1 && !world_closed(&w, a.control),
	    "who waits for a dead one gets its lease before it loses its own");
	world_done(&w);
}

static void
test_progress(void)
{
	const uint64_t patience = 2 * (TERM_MS + SKEW_MS);
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change file[2];
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	file[0] = change_attr(a.at.first_oid);
	file[1] = change_entry(OID_ROOT, 1, a.at.first_oid);
	b = client_new(&w, 2);
	make_root(&a);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	pass_alive(&w, patience - 5000, &a, &b);
	ok(client_put(&a, 7) == STATUS_OK, "a block is uploaded");
	pass_alive(&w, patience - 5000, &a, &b);
	ok(evictions(&w) == 0, "who uploads is getting on");
	memstore_set_full(w.store, true);
	ok(client_commit(&a, &base, 1, file, 2)->status == STATUS_NOSPC, "a commit has no space");
	a.sequence--;
	pass_alive(&w, patience - 5000, &a, &b);
	ok(evictions(&w) == 0, "who cannot commit for want of space is not to blame");
	memstore_set_full(w.store, false);
	pass_alive(&w, 10000, &a, &b);
	ok(world_closed(&w, a.control), "who does nothing is cut off");
	pass_alive(&w, TERM_MS + SKEW_MS, &b, &b);
	ok(evictions(&w) == 1, "and loses its leases when it has to believe so");
	world_done(&w);
}

/* ---- what waits for the disk ---- */

static void
test_replay_waits(void)
{
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_root(&a);
	w.no_sync = true;
	ok(commit(&a, change_attr(OID_RENAME), nothing) == STATUS_COUNT, "a commit waits for the disk");
	a.sequence--;
	ok(commit(&a, change_attr(OID_RENAME), nothing) == STATUS_COUNT, "so does its answer when it is sent again");
	world_sync(&w);
	ok(world_take(&w, a.control, MSG_committed) != NULL && world_take(&w, a.control, MSG_committed) != NULL,
	    "and both come then");
	world_done(&w);
}

static void
test_order_of_answers(void)
{
	struct msg_change change;
	struct world w;
	struct client a, b;
	uint64_t middle;

	two_clients(&w, &a, &b);
	client_lease(&a, OID_RENAME, MODE_EXCLUSIVE);
	w.no_sync = true;
	change = change_attr(OID_ROOT);
	client_commit(&a, &(struct msg_base){ .oid = OID_ROOT, .version = 1 }, 1, &change, 1);
	middle = store_end(w.store);
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	change = change_attr(OID_RENAME);
	client_commit(&a, NULL, 0, &change, 1);
	ok(client_lease(&b, OID_ROOT, MODE_SHARED) == NULL, "a READ waits for what it shows to be durable");
	server_synced(w.server, middle);
	world_pump(&w);
	ok(granted(&b) != NULL, "and for no more than that, though later changes wait before it");
	world_done(&w);
}

static void
test_end_waits(void)
{
	struct message bye = { .type = MSG_bye };
	struct message attach = { .type = MSG_attach, .attach = { .lane = LANE_CONTROL, .generation = 9 } };
	const struct message *back;
	struct world w;
	struct client a;
	uint64_t conn;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	w.no_sync = true;
	world_send(&w, a.control, &bye);
	conn = world_connect(&w, 1);
	memcpy(attach.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_proof(conn, a.at.secret, attach.attach.proof);
	attach.attach.session = a.at.session;
	world_send(&w, conn, &attach);
	ok(world_take(&w, conn, MSG_done) == NULL, "that a session has ended is told when it is durable");
	world_sync(&w);
	back = world_take(&w, conn, MSG_done);
	ok(back != NULL && back->done.status == STATUS_NOENT, "and then it is");
	world_done(&w);
}

static void
test_pin_waits(void)
{
	struct world w;
	struct client a, b;

	two_clients(&w, &a, &b);
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	w.no_sync = true;
	client_pin(&a, OID_ROOT, true);
	ok(client_lease(&b, OID_ROOT, MODE_SHARED) == NULL, "a READ waits for a pin to be durable");
	world_sync(&w);
	ok(granted(&b) != NULL, "and is answered then");
	world_done(&w);
}

/* ---- what one session gets ---- */

static void
test_pins_end(void)
{
	struct message bye = { .type = MSG_bye };
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change file[2], unlink = change_unlink(OID_ROOT, 1);
	struct server_stats stats;
	struct world w;
	struct client a, b;

	two_clients(&w, &a, &b);
	file[0] = change_attr(a.at.first_oid);
	file[1] = change_entry(OID_ROOT, 1, a.at.first_oid);
	ok(client_commit(&a, &base, 1, file, 2)->status == STATUS_OK, "a file is made");
	client_pin(&b, a.at.first_oid, true);
	ok(client_commit(&a, &base, 1, &unlink, 1)->status == STATUS_OK, "and removed while another has it open");
	world_pass(&w, 1000);
	server_stats(w.server, &stats);
	ok(stats.frees == 0 && world_check(&w), "it lives");
	world_send(&w, b.control, &bye);
	world_pass(&w, 1000);
	server_stats(w.server, &stats);
	ok(stats.frees == 1 && world_check(&w), "as long as that session");
	world_done(&w);
}

static enum status
attach_bulk(struct client *c, uint32_t generation)
{
	struct message m = { .type = MSG_attach, .attach = { .lane = LANE_BULK, .session = c->at.session,
	    .generation = generation } };
	uint64_t conn = world_connect(c->w, c->device[0]);
	const struct message *back;

	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_proof(conn, c->at.secret, m.attach.proof);
	world_send(c->w, conn, &m);
	if (world_take(c->w, conn, MSG_attached) != NULL)
		return STATUS_OK;
	back = world_take(c->w, conn, MSG_done);
	return back == NULL ? STATUS_COUNT : back->done.status;
}

static void
test_bulk_lanes(void)
{
	struct world w;
	struct client a;
	unsigned lanes = 0;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_attach(&a);
	ok(attach_bulk(&a, a.generation - 1) == STATUS_STALE, "a bulk lane of an older generation is refused");
	ok(attach_bulk(&a, a.generation + 1) == STATUS_STALE, "and one of a newer");
	while (lanes < 100 && attach_bulk(&a, a.generation) == STATUS_OK)
		lanes++;
	ok(lanes >= 4 && lanes < 32, "a session has a few lanes (%u)", lanes);
	world_done(&w);
}

static void
test_wrap(void)
{
	struct message get = { .type = MSG_wrap_get };
	const struct message *back;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	memcpy(get.wrap_get.volume, world_volume, VOLUME_ID_SIZE);
	world_send(&w, a.control, &get);
	back = world_take(&w, a.control, MSG_done);
	ok(back != NULL && back->done.status == STATUS_NOENT, "a member that names the volume gets no wrap for recovery");
	world_done(&w);
}

/* More answers than memory should hold, all due in one event. */
static void
test_answers(void)
{
	static uint8_t value[3500], names[256][TOKEN_SIZE];
	static struct msg_change changes[128];
	static const uint8_t last[TOKEN_SIZE] = { 0xff, 0xff };
	struct msg_want want = { .oid = OID_ROOT, .mode = MODE_SHARED, .kind = KIND_XATTR, .last_kind = KIND_XATTR,
	    .from = { names[0], TOKEN_SIZE }, .to = { last, sizeof last }, .limit = 1000 };
	struct world w;
	struct client a, b;
	unsigned got = 0, reads = 80;

	two_clients(&w, &a, &b);
	for (unsigned part = 0; part < 2; part++) {
		struct msg_base base = { .oid = OID_ROOT, .version = 1 };
		const struct msg_committed *done;

		for (unsigned i = 0; i < 128; i++) {
			names[part * 128 + i][0] = part;
			names[part * 128 + i][1] = i;
			changes[i] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_XATTR,
			    .subkey = { names[part * 128 + i], TOKEN_SIZE }, .value = { value, sizeof value } };
		}
		done = client_commit(&a, &base, 1, changes, 128);
		if (done == NULL || done->status != STATUS_OK)
			ok(false, "a large object is made");
	}
	for (unsigned i = 0; i < reads; i++)
		client_read(&b, 0, &want, 1);
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	while (world_take(&w, b.control, MSG_granted) != NULL)
		got++;
	ok(got > 0 && got < reads, "one event makes some of the answers (%u of %u)", got, reads);
	ok(world_check(&w), "and all is well");
	world_pass(&w, 1000);
	while (world_take(&w, b.control, MSG_granted) != NULL)
		got++;
	ok(got == reads, "the others follow");
	world_done(&w);
}

/* ---- blocks ---- */

static void
test_twice_named(void)
{
	struct server_config config = { .idle_ms = 1000, .fresh_ms = 1000 };
	struct msg_change two[] = { change_region(OID_ROOT, 1, 7), change_region(OID_ROOT, 2, 7) };
	struct msg_change gone = { .op = CHANGE_DELETE, .oid = OID_ROOT, .kind = KIND_REGION, .subkey = { block_name(1), 8 } };
	struct msg_change third = change_region(OID_ROOT, 3, 7);
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct world w;
	struct client a;

	world_init(&w, &config);
	a = client_new(&w, 1);
	make_root(&a);
	client_put(&a, 7);
	ok(client_commit(&a, &base, 1, two, 2)->status == STATUS_OK && client_commit(&a, &base, 1, &gone, 1)->status == STATUS_OK,
	    "a block is named twice, then once");
	world_pass(&w, 10000);
	ok(client_commit(&a, &base, 1, &third, 1)->status == STATUS_OK && world_check(&w), "and lives");
	world_done(&w);
}

static void
test_hurry(void)
{
	struct server_config config = { .idle_ms = 60000, .fresh_ms = 600000 };
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change region = change_region(OID_ROOT, 1, 7), cut = change_cut(OID_ROOT, KIND_REGION);
	struct world w;
	struct client a;

	world_init(&w, &config);
	a = client_new(&w, 1);
	make_root(&a);
	client_put(&a, 7);
	ok(client_commit(&a, &base, 1, &region, 1)->status == STATUS_OK &&
	    client_commit(&a, &base, 1, &cut, 1)->status == STATUS_OK, "a block is named, and no more");
	world_pass(&w, 5000);
	ok(client_commit(&a, &base, 1, &region, 1)->status == STATUS_OK &&
	    client_commit(&a, &base, 1, &cut, 1)->status == STATUS_OK, "it is there for a while");
	memstore_set_full(w.store, true);
	ok(client_put(&a, 8) == STATUS_BUSY, "until there is no space but that");
	world_pass(&w, 5000);
	memstore_set_full(w.store, false);
	ok(client_commit(&a, &base, 1, &region, 1)->status == STATUS_MISSING, "and then it is gone soon");
	world_done(&w);
}

/* ---- sessions ---- */

/* With a tick an hour, in which those that are there speak. */
static void
days(struct world *w, unsigned n, struct client *there)
{
	for (unsigned hour = 0; hour < n * 24; hour++) {
		w->now_ms += 3600 * 1000;
		server_clock(w->server, w->now_ms);
		if (there != NULL)
			keepalive(there);
		server_tick(w->server);
		world_pump(w);
	}
}

static void
test_days(void)
{
	struct client a, b;
	uint64_t session;
	struct world w;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	session = a.at.session;
	server_disconnected(w.server, b.control);
	server_disconnected(w.server, b.bulk);
	days(&w, 29, &a);
	world_restart(&w, UINT64_MAX);
	days(&w, 3, NULL);
	ok(client_attach(&a) == STATUS_OK && a.at.session == session, "who was there for a month is known after a restart");
	ok(client_attach(&b) != STATUS_OK, "who was away as long is not");
	days(&w, 31, &a);
	ok(world_check(&w) && client_attach(&a) == STATUS_OK && a.at.session == session, "and as long as it stays");
	world_done(&w);
}

static void
test_too_many(void)
{
	struct server_config config = { .sessions_max = 2 };
	struct client a, b, c = { .device = { 3 } };
	struct message bye = { .type = MSG_bye };
	struct world w;

	world_init(&w, &config);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	c.w = &w;
	ok(client_attach(&c) == STATUS_BUSY, "a session more than the server takes is refused");
	ok(client_attach(&a) == STATUS_OK, "one that it has may come back");
	world_send(&w, b.control, &bye);
	c.generation = 0;
	ok(client_attach(&c) == STATUS_OK, "and when another has ended there is room");
	ok(world_check(&w), "the invariants hold");
	world_done(&w);
}

/* More records than one step frees. */
static void
test_much_to_free(void)
{
	enum { RECORDS = 600 };
	static uint8_t keys[RECORDS][8];
	static struct msg_change changes[RECORDS + 2];
	struct msg_base base = { .oid = OID_ROOT };
	const struct msg_committed *done;
	struct server_stats stats;
	struct world w;
	struct client a;
	uint64_t f;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	f = a.at.first_oid;
	make_root(&a);
	client_put(&a, 5);
	changes[0] = change_attr(f);
	changes[1] = change_entry(OID_ROOT, 1, f);
	for (unsigned i = 0; i < RECORDS; i++) {
		keys[i][6] = i >> 8;
		keys[i][7] = i;
		changes[i + 2] = change_region(f, 0, 5);
		changes[i + 2].subkey.data = keys[i];
	}
	base.version = a.sequence;
	done = client_commit(&a, &base, 1, changes, RECORDS + 2);
	ok(done != NULL && done->status == STATUS_OK, "a file of many records is made");
	changes[0] = change_unlink(OID_ROOT, 1);
	base.version = a.sequence;
	client_commit(&a, &base, 1, changes, 1);
	world_pass(&w, 1000);
	server_stats(w.server, &stats);
	ok(stats.frees == 1 && stats.nospc == 0 && world_check(&w), "and removed, it is freed in several steps");
	world_done(&w);
}

/* Each removal of a range looks at all that the same commit has put. */
static void
test_too_much_work(void)
{
	enum { RECORDS = 1500, CUTS = 800 };
	static uint8_t keys[RECORDS][8];
	static struct msg_change changes[RECORDS + CUTS + 2];
	struct msg_base base = { .oid = OID_ROOT };
	const struct msg_committed *done;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_root(&a);
	changes[0] = change_attr(a.at.first_oid);
	changes[1] = change_entry(OID_ROOT, 1, a.at.first_oid);
	for (unsigned i = 0; i < RECORDS; i++) {
		keys[i][6] = i >> 8;
		keys[i][7] = i;
		changes[i + 2] = change_region(a.at.first_oid, 0, 0);
		changes[i + 2].subkey.data = keys[i];
	}
	for (unsigned i = 0; i < CUTS; i++)
		changes[RECORDS + 2 + i] = change_cut(a.at.first_oid, KIND_REGION);
	base.version = a.sequence;
	done = client_commit(&a, &base, 1, changes, RECORDS + 2 + CUTS / 2);
	ok(done != NULL && done->status == STATUS_OK, "many removals of what was put are done");
	base.version = a.sequence;
	for (unsigned i = 0; i < RECORDS + CUTS + 2; i++)
		changes[i].oid = changes[i].kind == KIND_ENTRY ? OID_ROOT : a.at.first_oid + 1;
	changes[1] = change_entry(OID_ROOT, 2, a.at.first_oid + 1);
	done = client_commit(&a, &base, 1, changes, RECORDS + 2 + CUTS);
	ok(done != NULL && done->status == STATUS_INVALID && world_check(&w), "too many are refused");
	world_done(&w);
}

int
main(void)
{
	test_term();
	test_chain();
	test_progress();
	test_replay_waits();
	test_order_of_answers();
	test_end_waits();
	test_pin_waits();
	test_pins_end();
	test_bulk_lanes();
	test_wrap();
	test_answers();
	test_twice_named();
	test_hurry();
	test_days();
	test_too_many();
	test_much_to_free();
	test_too_much_work();
	return tap_done();
}
