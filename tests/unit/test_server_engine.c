/* test_server_engine.c - devices, sessions, leases and the order of READs, by the rules of nuage-protocol(5). */
#include "tests/unit/server_world.h"

#include <sodium.h>
#include <string.h>

#include "tests/tap.h"

static const struct msg_answer *
granted(struct client *c)
{
	const struct message *m = world_take(c->w, c->control, MSG_granted);

	return m == NULL ? NULL : m->granted.answers.at;
}

static const struct msg_recall *
recalled(struct client *c)
{
	const struct message *m = world_take(c->w, c->control, MSG_recall);

	return m == NULL ? NULL : &m->recall;
}

/* ---- devices ---- */

static enum status
done_status(struct world *w, uint64_t conn)
{
	const struct message *m = world_take(w, conn, MSG_done);

	return m == NULL ? STATUS_COUNT : m->done.status;
}

static enum status
redeem(struct world *w, uint64_t conn, const uint8_t *token, const struct message **ret)
{
	struct message m = { .type = MSG_redeem };

	memcpy(m.redeem.token, token, SECRET_SIZE);
	world_send(w, conn, &m);
	*ret = world_take(w, conn, MSG_redeemed);
	return *ret != NULL ? STATUS_OK : done_status(w, conn);
}

static void
test_strangers(void)
{
	struct message list = { .type = MSG_volume_list }, attach = { .type = MSG_attach };
	const struct message *back;
	uint8_t token[SECRET_SIZE] = { 77 }, hash[KEY_SIZE];
	struct world w;
	uint64_t conn, pos;

	world_init(&w, NULL);
	conn = world_connect(&w, 50);
	world_send(&w, conn, &list);
	ok(done_status(&w, conn) == STATUS_DENIED && world_closed(&w, conn), "a stranger is refused and closed");
	ok(strstr(w.log, "event=stranger") != NULL, "and noted");
	w.log[0] = '\0';
	conn = world_connect(&w, 50);
	list.id = 0;
	world_send(&w, conn, &list);
	ok(strstr(w.log, "event=stranger") == NULL, "once");
	conn = world_connect(&w, 50);
	ok(redeem(&w, conn, token, &back) == STATUS_DENIED, "a token nobody gave is refused");
	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	server_invite(w.server, hash, 10, &pos);
	ok(redeem(&w, conn, token, &back) == STATUS_OK && back->redeemed.wrap.len == 0, "an invitation enrols");
	conn = world_connect(&w, 51);
	ok(redeem(&w, conn, token, &back) == STATUS_USED, "once");
	token[0]++;
	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	server_invite(w.server, hash, 10, &pos);
	world_pass(&w, 9000);
	conn = world_connect(&w, 51);
	world_pass(&w, 2000);
	ok(redeem(&w, conn, token, &back) == STATUS_USED, "and in time");
	conn = world_connect(&w, 50);
	list.id = 0;
	world_send(&w, conn, &list);
	back = world_take(&w, conn, MSG_volumes);
	ok(back != NULL && back->volumes.list.count == 0, "an enrolled device lists the volumes it is a member of: none");
	memcpy(attach.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_send(&w, conn, &attach);
	ok(done_status(&w, conn) == STATUS_DENIED, "and may not attach to another");
	world_done(&w);
}

static void
test_volumes(void)
{
	struct message create = { .type = MSG_volume_create, .volume_create = { .volume = { 8 }, .recovery = { 98 },
	    .name = { (const uint8_t *)"tests", 5 }, .wrap = { (const uint8_t *)"secret", 6 } } };
	struct message wrap = { .type = MSG_wrap_get };
	struct message invite = { .type = MSG_volume_invite, .volume_invite = { .valid_s = 60,
	    .wrap = { (const uint8_t *)"for you", 7 } } };
	struct message list = { .type = MSG_volume_list };
	uint8_t token[SECRET_SIZE] = { 78 };
	const struct message *back;
	struct world w;
	uint64_t conn;

	world_init(&w, NULL);
	conn = world_connect(&w, 1);
	world_send(&w, conn, &create);
	ok(done_status(&w, conn) == STATUS_EXIST, "a volume's name is taken once");
	create.id = 0;
	create.volume_create.name = (struct bytes){ (const uint8_t *)"other", 5 };
	conn = world_connect(&w, 2);
	world_send(&w, conn, &create);
	ok(done_status(&w, conn) == STATUS_DENIED, "a device that was only added makes no volumes");
	conn = world_connect(&w, 1);
	create.id = 0;
	world_send(&w, conn, &create);
	ok(done_status(&w, conn) == STATUS_OK, "one that was invited to the server does");
	conn = world_connect(&w, 98);
	world_send(&w, conn, &wrap);
	back = world_take(&w, conn, MSG_wrap);
	ok(back != NULL && back->wrap.wrap.len == 6 && back->wrap.name.len == 5 && back->wrap.volume[0] == 8,
	    "its recovery device finds volume and wrap");
	conn = world_connect(&w, 1);
	wrap.id = 0;
	world_send(&w, conn, &wrap);
	ok(done_status(&w, conn) == STATUS_NOENT, "other members do not");

	crypto_generichash(invite.volume_invite.token_hash, KEY_SIZE, token, sizeof token, NULL, 0);
	invite.volume_invite.volume[0] = 8;
	conn = world_connect(&w, 2);
	world_send(&w, conn, &invite);
	ok(done_status(&w, conn) == STATUS_DENIED, "only a member invites to a volume");
	conn = world_connect(&w, 1);
	invite.id = 0;
	world_send(&w, conn, &invite);
	ok(done_status(&w, conn) == STATUS_OK, "as one does");
	world_restart(&w, UINT64_MAX);
	conn = world_connect(&w, 60);
	ok(redeem(&w, conn, token, &back) == STATUS_OK && back->redeemed.wrap.len == 7 && back->redeemed.volume[0] == 8,
	    "the invited gets the wrap, even after a restart");
	ok(redeem(&w, conn, token, &back) == STATUS_USED, "once");
	world_send(&w, conn, &list);
	back = world_take(&w, conn, MSG_volumes);
	ok(back != NULL && back->volumes.list.count == 1 && back->volumes.list.at[0].name.len == 5, "and is a member");
	world_done(&w);
}

static void
test_old_invitations(void)
{
	uint8_t token[SECRET_SIZE] = { 79 }, hash[KEY_SIZE];
	const struct message *back;
	struct world w;
	uint64_t pos;

	world_init(&w, NULL);
	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	server_invite(w.server, hash, 10, &pos);
	w.now_ms += 1000 * UINT64_C(86400) * 29;
	world_restart(&w, UINT64_MAX);
	ok(redeem(&w, world_connect(&w, 51), token, &back) == STATUS_USED, "an expired invitation is known for a while");
	w.now_ms += 1000 * UINT64_C(86400) * 2;
	world_restart(&w, UINT64_MAX);
	ok(redeem(&w, world_connect(&w, 51), token, &back) == STATUS_DENIED, "but not for ever");
	world_done(&w);
}

/* ---- the gate ---- */

static void
test_gate(void)
{
	static const uint16_t wrong[] = { MSG_granted, MSG_done, MSG_put, MSG_attach };
	struct world w;
	struct client a;
	uint64_t conn;

	world_init(&w, NULL);
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct message m = { .type = wrong[i] };

		a = client_new(&w, 1);
		world_send(&w, a.control, &m);
		ok(done_status(&w, a.control) == STATUS_INVALID && world_closed(&w, a.control),
		    "%s on the control lane breaks the rules", message_info(wrong[i])->name);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct message m = { .type = MSG_keepalive };

		a = client_new(&w, 1);
		conn = i == 0 ? world_connect(&w, 1) : a.bulk;
		world_send(&w, conn, &m);
		ok(done_status(&w, conn) == STATUS_INVALID && world_closed(&w, conn), "keepalive %s too",
		    i == 0 ? "before attaching" : "on a bulk lane");
	}
	world_done(&w);
}

/* ---- sessions ---- */

static void
test_fencing(void)
{
	struct message alive = { .type = MSG_keepalive }, m;
	struct world w;
	struct client a, old;
	uint64_t conn;
	struct msg_change changes[] = { change_attr(OID_ROOT) };

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	old = a;
	ok(client_attach(&a) == STATUS_OK && a.at.session == old.at.session, "a session outlives its connection");
	ok(world_closed(&w, old.control) && world_closed(&w, old.bulk), "older connections are closed");
	ok(a.at.first_oid == old.at.first_oid + 65536, "each attach brings a fresh range");
	ok(client_commit(&old, NULL, 0, changes, 1) == NULL && a.at.sequence == 1, "what they still deliver is ignored");
	a.generation = 0;
	ok(client_attach(&a) == STATUS_STALE, "a generation passed is stale");
	a.generation = 9;
	a.at.secret[3] ^= 1;
	ok(client_attach(&a) == STATUS_DENIED, "the secret is asked for");
	a.at.secret[3] ^= 1;
	m = (struct message){ .type = MSG_attach, .attach = { .session = a.at.session, .generation = 20 } };
	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_proof(a.control, a.at.secret, m.attach.proof);
	conn = world_connect(&w, 1);
	world_send(&w, conn, &m);
	ok(done_status(&w, conn) == STATUS_DENIED, "a proof of it counts on its own connection only");
	a.device[0] = 2;
	ok(client_attach(&a) == STATUS_DENIED, "and the device");
	a.at.session++;
	a.device[0] = 1;
	ok(client_attach(&a) == STATUS_NOENT, "an unknown session is to start anew");
	a = client_new(&w, 1);
	ok(a.at.session != old.at.session, "as another");
	world_send(&w, a.control, &alive);
	ok(world_take(&w, a.control, MSG_alive)->alive.sessions == 2, "the first is still counted");
	for (unsigned i = 0; i < 11; i++) {
		world_pass(&w, 5000);
		world_send(&w, a.control, &alive);
	}
	world_forget(&w);
	world_send(&w, a.control, &alive);
	ok(world_take(&w, a.control, MSG_alive)->alive.sessions == 1, "but not when its term is over");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_attach_durable(void)
{
	struct world w;
	struct client a = { .w = &w, .device = { 1 } };
	struct message m = { .type = MSG_attach };

	world_init(&w, NULL);
	w.no_sync = true;
	a.control = world_connect(&w, 1);
	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_send(&w, a.control, &m);
	ok(world_take(&w, a.control, MSG_attached) == NULL, "ATTACHED waits until the session is durable");
	world_sync(&w);
	ok(world_take(&w, a.control, MSG_attached) != NULL, "and goes out then");
	world_done(&w);
}

static void
test_ends(void)
{
	struct message bye = { .type = MSG_bye }, attach = { .type = MSG_attach };
	struct server_stats stats;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	client_pin(&a, a.at.first_oid, true);
	memcpy(attach.attach.volume, world_volume, VOLUME_ID_SIZE);
	attach.attach.replaces = a.at.session;
	b = (struct client){ .w = &w, .device = { 1 }, .control = world_connect(&w, 1) };
	world_proof(b.control, a.at.secret, attach.attach.replaces_proof);
	world_send(&w, b.control, &attach);
	b.at = world_take(&w, b.control, MSG_attached)->attached;
	ok(b.at.sessions == 1 && world_closed(&w, a.control), "a new session replaces its dead one");
	ok(client_lease(&b, OID_ROOT, MODE_SHARED)->mode == MODE_EXCLUSIVE, "whose leases are free");
	ok(client_attach(&a) == STATUS_NOENT, "and which is not known any more");
	world_send(&w, b.control, &bye);
	ok(done_status(&w, b.control) == STATUS_OK, "BYE ends a session");
	world_restart(&w, UINT64_MAX);
	server_stats(w.server, &stats);
	ok(stats.sessions == 0, "for good");
	a = client_new(&w, 1);
	server_disconnected(w.server, a.control);
	w.now_ms += UINT64_C(31) * 24 * 3600 * 1000;
	world_pass(&w, 1000);
	server_stats(w.server, &stats);
	ok(stats.sessions == 0, "and so do thirty days of silence");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- leases ---- */

static void
test_lease(void)
{
	const struct msg_answer *got;
	const struct msg_recall *recall;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	got = client_lease(&a, OID_ROOT, MODE_SHARED);
	ok(got->status == STATUS_OK && got->version == 0 && got->records.count == 0, "a reserved object is leased unborn");
	ok(got->mode == MODE_EXCLUSIVE && got->grant == 1, "to a lone session EXCLUSIVE");
	got = client_lease(&a, 12345678, MODE_SHARED);
	ok(got->status == STATUS_NOENT && got->mode == MODE_NONE, "an object that is not there gives no lease");
	client_make_tree(&a, 1);
	ok(client_lease(&a, OID_ROOT, MODE_EXCLUSIVE)->grant == 1, "a lease that suffices keeps its number");
	b = client_new(&w, 2);
	ok(client_lease(&b, OID_ROOT, MODE_SHARED) == NULL, "a READ that conflicts waits");
	recall = recalled(&a);
	ok(recall != NULL && recall->mode == MODE_SHARED && recall->grant == 1, "its holder may keep SHARED");
	client_release(&a, OID_ROOT, MODE_NONE, 7);
	ok(granted(&b) == NULL, "a RELEASE of another grant does nothing");
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	got = granted(&b);
	ok(got != NULL && got->mode == MODE_SHARED && got->records.count == 2, "a downgrade lets it through");
	ok(client_lease(&b, a.at.first_oid, MODE_SHARED) == NULL, "what was born is leased to its parent");
	recall = recalled(&a);
	ok(recall != NULL && recall->grant == 0, "by grant 0");
	client_release(&a, a.at.first_oid, MODE_NONE, 0);
	got = granted(&b);
	ok(got->mode == MODE_SHARED, "which is released by its number too");
	client_lease(&a, a.at.first_oid, MODE_SHARED);
	client_release(&b, a.at.first_oid, MODE_EXCLUSIVE, got->grant);
	ok(world_check(&w), "a RELEASE never makes more of a lease");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Two hold SHARED and both want more: the older wins, the younger yields. */
static void
test_upgraders(void)
{
	const struct msg_recall *recall;
	const struct msg_answer *got;
	struct world w;
	struct client a, b;
	uint64_t grant_a, grant_b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	grant_a = client_lease(&a, OID_ROOT, MODE_SHARED)->grant;
	grant_b = client_lease(&b, OID_ROOT, MODE_SHARED)->grant;
	ok(client_lease(&a, OID_ROOT, MODE_EXCLUSIVE) == NULL, "an upgrade waits for the other holder");
	ok(client_lease(&b, OID_ROOT, MODE_EXCLUSIVE) == NULL, "and so does his");
	recall = recalled(&b);
	ok(recall->grant == grant_b && recall->mode == MODE_NONE && recall->ticket == 3, "he is asked by the older");
	recall = recalled(&a);
	ok(recall->grant == grant_a && recall->mode == MODE_NONE && recall->ticket == 4, "and asks in turn");
	client_release(&b, OID_ROOT, MODE_NONE, grant_b);
	got = granted(&a);
	ok(got != NULL && got->mode == MODE_EXCLUSIVE && got->grant != grant_a, "the older gets a new, stronger grant");
	recall = recalled(&a);
	ok(recall != NULL && recall->grant == got->grant, "which the younger asks for");
	client_release(&a, OID_ROOT, MODE_NONE, got->grant);
	ok(granted(&b)->mode == MODE_EXCLUSIVE, "and gets");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
want(struct msg_want *w, uint64_t oid, uint8_t mode)
{
	*w = (struct msg_want){ .oid = oid, .mode = mode };
}

/* The whole set or nothing, and no younger READ past an older. */
static void
test_order(void)
{
	struct msg_want wants[2];
	const struct msg_recall *recall;
	const struct message *m;
	struct world w;
	struct client a, b, c, d;
	uint64_t x, y;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 2);
	x = a.at.first_oid;
	y = x + 1;
	b = client_new(&w, 2);
	c = client_new(&w, 3);
	d = client_new(&w, 4);
	client_release(&a, y, MODE_NONE, 0);
	want(&wants[0], x, MODE_SHARED);
	want(&wants[1], y, MODE_EXCLUSIVE);
	client_read(&b, 0, wants, 2);
	ok(granted(&b) == NULL, "a set waits whole for one of its objects");
	want(&wants[0], y, MODE_SHARED);
	client_read(&c, 0, wants, 1);
	ok(granted(&c) == NULL, "and a younger READ waits behind it for the other");
	client_read(&d, 1, wants, 1);
	ok(granted(&d) != NULL, "an older one by its ticket does not");
	recall = recalled(&a);
	ok(recall != NULL && recall->oid == x, "the holder is asked");
	ok(recalled(&a) == NULL, "once");
	client_release(&a, x, MODE_SHARED, 0);
	ok(granted(&b) == NULL, "the set still waits for what the older took");
	ok((recall = recalled(&d)) != NULL && recall->oid == y, "who is asked for it");
	client_release(&d, y, MODE_NONE, recall->grant);
	m = world_take(&w, b.control, MSG_granted);
	ok(m != NULL && m->granted.answers.count == 2 && m->granted.answers.at[0].oid == x &&
	    m->granted.answers.at[1].mode == MODE_EXCLUSIVE, "then it is granted, an answer a want in order");
	ok(granted(&c) == NULL, "before the younger one");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* An older operation that joins those who wait is told to the holder: only he may be kept waiting by a younger. */
static void
test_older_joins(void)
{
	struct msg_want wants[1];
	const struct msg_recall *recall;
	struct world w;
	struct client a, b, c;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	b = client_new(&w, 2);
	c = client_new(&w, 3);
	want(&wants[0], OID_ROOT, MODE_SHARED);
	client_read(&b, 9, wants, 1);
	recall = recalled(&a);
	ok(recall != NULL && recall->ticket == 9, "a RECALL carries the ticket of who waits");
	client_read(&c, 12, wants, 1);
	ok(recalled(&a) == NULL, "a younger one changes nothing");
	client_read(&c, 4, wants, 1);
	recall = recalled(&a);
	ok(recall != NULL && recall->ticket == 4, "an older one is told");
	want(&wants[0], OID_ROOT, MODE_EXCLUSIVE);
	client_read(&b, 0, wants, 1);
	recall = recalled(&a);
	ok(recall != NULL && recall->mode == MODE_NONE && recall->ticket == 4, "and one that wants more");
	world_done(&w);
}

/* What a holder reads under its lease does not wait for who wants it. */
static void
test_under_lease(void)
{
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	b = client_new(&w, 2);
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	ok(client_lease(&a, OID_ROOT, MODE_EXCLUSIVE) != NULL, "a holder goes on reading under recall");
	ok(client_lease(&a, OID_ROOT, MODE_SHARED)->mode == MODE_EXCLUSIVE, "and keeps what it has");
	world_done(&w);
}

static uint16_t
first_type(const struct world *w, uint64_t conn)
{
	for (const struct mail *m = w->mail; m != NULL; m = m->next)
		if (m->action->conn == conn)
			return m->action->message.type;
	return 0;
}

/* GRANTED waits for the log, and the RECALL of its grant behind it. */
static void
test_unsynced(void)
{
	struct msg_change changes[] = { change_attr(OID_ROOT) };
	struct msg_base base = { .oid = OID_ROOT };
	struct msg_want wants[1];
	struct world w;
	struct client a, b;
	uint64_t grant;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	w.no_sync = true;
	client_commit(&a, &base, 1, changes, 1);
	ok(world_take(&w, a.control, MSG_committed) == NULL, "COMMITTED waits for the log");
	client_release(&a, OID_ROOT, MODE_NONE, 1);
	client_release(&a, a.at.first_oid, MODE_NONE, 0);
	ok(client_lease(&b, a.at.first_oid, MODE_SHARED) != NULL, "READs of untouched objects do not");
	ok(client_lease(&b, OID_ROOT, MODE_EXCLUSIVE) == NULL, "those of the changed do");
	want(&wants[0], OID_ROOT, MODE_SHARED);
	client_read(&a, 0, wants, 1);
	ok(recalled(&b) == NULL, "a RECALL does not overtake its grant");
	world_sync(&w);
	ok(world_take(&w, a.control, MSG_committed) != NULL, "once synced, the commit is told");
	ok(first_type(&w, b.control) == MSG_granted, "and the grant");
	grant = granted(&b)->grant;
	ok(recalled(&b)->grant == grant, "and then its recall");
	world_done(&w);
}

static void
test_end_amid_work(void)
{
	struct message get = { .type = MSG_get, .get = { .count = 1 } }, put = { .type = MSG_put, .payload = { block_name(6), ID_SIZE } };
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_put(&a, 5);
	w.no_pump = true;
	memset(get.get.id, 5, ID_SIZE);
	memset(put.put.id, 6, ID_SIZE);
	world_send(&w, a.bulk, &get);
	world_send(&w, a.bulk, &put);
	server_free(w.server);
	w.server = NULL;
	ok(store_block_exists(w.store, block_name(5)) == 1 && store_block_exists(w.store, block_name(6)) == 0,
	    "a server that ends gives back the blocks that it was about to read and write");
	world_done(&w);
}

/* ---- reclaim, grace, eviction ---- */

static void
test_reclaim(void)
{
	struct msg_lease leases[3] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .grant = 1 } };
	struct msg_reclaimed lost;
	const struct msg_recall *recall;
	struct world w;
	struct client a, b;
	uint64_t f;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	f = a.at.first_oid;
	b = client_new(&w, 2);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	client_lease(&b, f, MODE_SHARED);
	recalled(&a);
	recalled(&a);
	client_attach(&a);
	client_lease(&b, f, MODE_EXCLUSIVE);
	ok(granted(&b) == NULL && recalled(&a) == NULL, "until it has reclaimed, leases stay and no RECALL is sent");
	ok(client_lease(&a, OID_RENAME, MODE_SHARED) == NULL, "and its own READs wait");
	client_reclaim(&a, leases, 1, &lost);
	ok(lost.lost.count == 0 && granted(&a) != NULL, "what it still holds is not lost");
	ok(granted(&b) != NULL && granted(&b) != NULL && granted(&b) != NULL,
	    "what it claims less of, or not, goes to who waits");
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	ok((recall = recalled(&a)) != NULL && recall->grant == 1, "and recalls go on");
	client_attach(&a);
	client_reclaim(&a, leases, 1, &lost);
	ok((recall = recalled(&a)) != NULL && recall->grant == 1, "pending ones are sent again");
	client_reclaim(&a, leases, 1, &lost);
	ok(world_closed(&w, a.control), "who has said that this is all is not heard once more");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_restart(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 5, .base = 0 };
	struct msg_reclaimed lost;
	const struct msg_answer *got;
	struct world w;
	struct client a, b, c;
	uint64_t boot, first;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	boot = b.at.boot;
	first = b.at.first_oid;
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&b) == STATUS_OK && b.at.boot != boot && b.at.first_oid > first + 1,
	    "sessions and ranges outlive the server");
	client_reclaim(&b, NULL, 0, &lost);
	ok(client_lease(&b, OID_ROOT, MODE_SHARED) == NULL, "nothing is granted while somebody may reclaim");
	c = client_new(&w, 3);
	ok(client_lease(&c, OID_RENAME, MODE_SHARED) == NULL, "not to new sessions either");
	ok(client_attach(&a) == STATUS_OK && a.at.sequence == 1, "nor are sequences lost");
	client_reclaim(&a, &claim, 1, &lost);
	ok(lost.lost.count == 0, "the holder gets back what nobody changed but him");
	ok(granted(&c) != NULL, "then waiting READs are granted");
	ok(granted(&b) == NULL && recalled(&a)->grant == 5, "or the reclaimed is recalled, by its number");
	ok(world_check(&w), "and all is well");

	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, &lost);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	world_pass(&w, TERM_MS + SKEW_MS + 200);
	ok((got = granted(&b)) != NULL && got->pinned == 1, "after a term the others have lapsed, with what they have open");
	client_attach(&a);
	client_reclaim(&a, &claim, 1, &lost);
	ok(lost.lost.count == 1 && lost.lost.at[0].oid == OID_ROOT, "a late reclaim that conflicts is lost");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Who attached in time, and reads the answer late: the server's disk was slow. */
static void
test_late_answer(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 5, .base = 0 };
	struct msg_reclaimed lost;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, &lost);
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	world_pass(&w, TERM_MS + SKEW_MS - 1000);
	client_attach(&a);
	world_pass(&w, TERM_MS);
	ok(granted(&b) == NULL, "who is back when the grace ends is waited for");
	client_reclaim(&a, &claim, 1, &lost);
	ok(lost.lost.count == 0, "and has lost nothing");

	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, &lost);
	client_attach(&a);
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	world_pass(&w, 2 * (TERM_MS + SKEW_MS) + 200);
	ok(granted(&b) != NULL, "but not for ever");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* A reclaim after somebody changed the object is lost, conflict or not. */
static void
test_changed_since(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_SHARED, .grant = 1 };
	struct msg_change changes[] = { change_attr(OID_ROOT) };
	struct msg_base base = { .oid = OID_ROOT };
	struct msg_reclaimed lost;
	const struct msg_answer *got;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_make_tree(&b, 0);
	client_lease(&a, OID_ROOT, MODE_SHARED);
	client_release(&b, OID_ROOT, MODE_SHARED, 1);
	got = granted(&a);
	claim.grant = got->grant;
	claim.base = got->version;
	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	world_pass(&w, TERM_MS + SKEW_MS + 200);
	got = client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	base.version = got->version;
	ok(client_commit(&b, &base, 1, changes, 1)->status == STATUS_OK, "the other changes the object");
	client_release(&b, OID_ROOT, MODE_NONE, got->grant);
	client_attach(&a);
	client_reclaim(&a, &claim, 1, &lost);
	ok(lost.lost.count == 1, "so it cannot be reclaimed");
	world_done(&w);
}

static void
test_eviction(void)
{
	struct msg_change changes[] = { change_attr(OID_ROOT) };
	struct msg_base base = { .oid = OID_ROOT };
	struct message alive = { .type = MSG_keepalive };
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 0 };
	const struct msg_committed *done;
	struct msg_reclaimed lost;
	struct server_stats stats;
	const struct msg_answer *got;
	struct world w;
	struct client a, b;
	uint64_t heard_ms;
	bool good = true;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	server_disconnected(w.server, a.control);
	b = client_new(&w, 2);
	world_pass(&w, 2 * (TERM_MS + SKEW_MS));
	server_stats(w.server, &stats);
	ok(stats.evictions == 0, "a silent session nobody waits for keeps its leases");
	client_lease(&b, OID_ROOT, MODE_SHARED);
	world_pass(&w, 200);
	got = granted(&b);
	ok(got != NULL, "and loses them once somebody does");
	ok(got != NULL && got->pinned == 1, "who learns that it may have open what it lost");
	client_release(&b, OID_ROOT, MODE_NONE, got->grant);
	client_attach(&a);
	base.version = 1;
	done = client_commit(&a, &base, 1, changes, 1);
	ok(done->status == STATUS_REJECTED && done->rejected.count == 1, "its later commits are rejected");
	client_reclaim(&a, &claim, 1, &lost);
	ok(lost.lost.count == 0, "but it can reclaim what nobody touched");
	got = client_lease(&b, OID_RENAME, MODE_SHARED);
	ok(got != NULL && got->pinned == 0, "and is known to have open no more than it pins");

	client_lease(&b, OID_ROOT, MODE_SHARED);
	for (unsigned i = 0; i < 2 * (TERM_MS + SKEW_MS) / KEEPALIVE_MS; i++) {
		world_pass(&w, KEEPALIVE_MS);
		alive.id = 0;
		world_send(&w, a.control, &alive);
		alive.id = 0;
		world_send(&w, b.control, &alive);
	}
	heard_ms = w.now_ms;
	world_pass(&w, 200);
	ok(world_closed(&w, a.control), "a holder that lives but does nothing about a recall is cut off");
	ok(strstr(w.log, "event=fence") != NULL, "which the log tells");
	while (w.now_ms + KEEPALIVE_MS < heard_ms + TERM_MS + SKEW_MS) {
		world_pass(&w, KEEPALIVE_MS);
		alive.id = 0;
		world_send(&w, b.control, &alive);
		good &= granted(&b) == NULL && client_attach(&a) == STATUS_BUSY;
	}
	ok(good, "until its term is over nobody is granted its leases, nor is it let in");
	world_pass(&w, 2 * KEEPALIVE_MS);
	ok(granted(&b) != NULL && strstr(w.log, "reason=no-progress") != NULL, "then it is evicted");
	ok(client_attach(&a) == STATUS_OK, "and may come back");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_pinned_elsewhere(void)
{
	const struct msg_answer *got;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	b = client_new(&w, 2);
	client_pin(&a, a.at.first_oid, true);
	client_release(&a, a.at.first_oid, MODE_SHARED, 0);
	got = client_lease(&b, a.at.first_oid, MODE_SHARED);
	ok(got != NULL && got->pinned == 1, "a READ tells that another session has the object open");
	got = client_lease(&a, a.at.first_oid, MODE_SHARED);
	ok(got != NULL && got->pinned == 0, "but not of one's own");
	world_done(&w);
}

int
main(void)
{
	test_strangers();
	test_volumes();
	test_old_invitations();
	test_gate();
	test_fencing();
	test_attach_durable();
	test_ends();
	test_lease();
	test_upgraders();
	test_order();
	test_older_joins();
	test_under_lease();
	test_unsynced();
	test_end_amid_work();
	test_reclaim();
	test_restart();
	test_late_answer();
	test_changed_since();
	test_eviction();
	test_pinned_elsewhere();
	return tap_done();
}
