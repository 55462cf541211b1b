/* test_server_commit.c - commits, references, pins and blocks, by the rules of nuage-protocol(5). */
#include "tests/unit/server_world.h"

#include <string.h>

#include "tests/sim/memstore.h"
#include "tests/tap.h"

enum { F = 0, G, D, E };	/* oids of a client, above its first */
#define NOWHERE (UINT64_C(1) << 40)

static uint64_t
oid(const struct client *c, unsigned n)
{
	return c->at.first_oid + n;
}

/* root { 1: F, 2: G, 3: D { } }, all leased to c. */
static void
make_tree(struct client *c)
{
	struct msg_change changes[] = { change_attr(OID_ROOT), change_attr(oid(c, F)), change_attr(oid(c, G)),
	    change_attr(oid(c, D)), change_entry(OID_ROOT, 1, oid(c, F)), change_entry(OID_ROOT, 2, oid(c, G)),
	    change_entry(OID_ROOT, 3, oid(c, D)) };
	const struct msg_committed *done;

	client_lease(c, OID_ROOT, MODE_EXCLUSIVE);
	done = client_commit(c, NULL, 0, changes, sizeof changes / sizeof *changes);
	if (done == NULL || done->status != STATUS_OK)
		ok(false, "a tree is made");
}

/* A commit of one or two changes whose bases are right by the rule of the last writer. */
static enum status
commit(struct client *c, struct msg_change one, struct msg_change two)
{
	struct msg_base bases[] = { { .oid = one.oid }, { .oid = two.oid } };
	struct msg_change changes[] = { one, two };
	const struct msg_committed *done = client_commit(c, bases, two.oid == 0 ? 1 : 2, changes, two.oid == 0 ? 1 : 2);

	return done == NULL ? STATUS_COUNT : done->status;
}

static const struct msg_change nothing;

static void
reset(struct client *c)
{
	struct message m = { .type = MSG_reset };
	const struct message *back;

	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_done);
	ok(back != NULL && back->done.status == STATUS_OK, "RESET is done");
}

/* ---- sequences ---- */

static void
test_sequences(void)
{
	struct msg_change bad = change_attr(NOWHERE), good = change_attr(OID_ROOT);
	const struct msg_committed *done;
	struct world w;
	struct client a;
	uint64_t version;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	version = a.sequence;
	a.sequence--;
	done = client_commit(&a, NULL, 0, &bad, 1);
	ok(done->status == STATUS_OK && done->version == version, "a replay is answered as it was, and not applied");
	a.sequence++;
	ok(commit(&a, good, nothing) == STATUS_SEQUENCE, "a gap is out of sequence");
	a.sequence = 1;
	ok(commit(&a, bad, nothing) == STATUS_REJECTED, "a commit that breaks a rule is rejected");
	ok(commit(&a, good, nothing) == STATUS_SEQUENCE, "and all after it");
	a.sequence = 1;
	ok(commit(&a, good, nothing) == STATUS_REJECTED, "its replay too");
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&a) == STATUS_OK && a.at.rejected == 1 && a.at.sequence == 2, "even after a restart");
	client_reclaim(&a, &(struct msg_lease){ .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1 }, 1, NULL);
	ok(commit(&a, good, nothing) == STATUS_SEQUENCE, "until RESET");
	reset(&a);
	a.sequence = 1;
	ok(commit(&a, good, nothing) == STATUS_REJECTED, "after which the rejected stays rejected");
	ok(commit(&a, good, nothing) == STATUS_OK, "and the next is taken");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* What is not synced when the server dies was never promised, and applies once when sent again. */
static void
test_crash(void)
{
	struct msg_lease claim = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1 };
	const struct msg_answer *root;
	struct world w;
	struct client a;
	uint64_t synced;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	w.no_sync = true;
	synced = store_synced(w.store);
	ok(commit(&a, change_unlink(OID_ROOT, 1), nothing) == STATUS_COUNT, "a commit waits for the log");
	world_restart(&w, synced);
	w.no_sync = false;
	client_attach(&a);
	ok(a.at.sequence == 1, "what the crash took is not consumed");
	client_reclaim(&a, &claim, 1, NULL);
	claim.oid = oid(&a, F);
	ok(commit(&a, change_unlink(OID_ROOT, 1), nothing) == STATUS_REJECTED, "it needs the leases it had");
	reset(&a);
	client_lease(&a, oid(&(struct client){ .at.first_oid = OID_RESERVED }, F), MODE_EXCLUSIVE);
	ok(commit(&a, change_unlink(OID_ROOT, 1), nothing) == STATUS_OK, "and is applied");
	root = client_lease(&a, OID_ROOT, MODE_SHARED);
	ok(root->records.count == 3, "once");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- checks at apply ---- */

static void
test_leases(void)
{
	struct msg_change changes[2];
	struct msg_base base = { .oid = OID_ROOT, .version = 0 };
	const struct msg_answer *root;
	const struct msg_committed *done;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	b = client_new(&w, 2);
	client_lease(&b, OID_ROOT, MODE_SHARED);
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	base.version = 1;
	changes[0] = change_attr(OID_ROOT);
	done = client_commit(&b, &base, 1, changes, 1);
	ok(done->status == STATUS_REJECTED && done->rejected.count == 1 && done->rejected.at[0] == OID_ROOT,
	    "a SHARED lease does not suffice");
	reset(&b);
	ok(commit(&a, change_attr(OID_ROOT), nothing) == STATUS_REJECTED, "not even the last writer");
	reset(&a);
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	client_release(&a, OID_ROOT, MODE_NONE, 1);
	root = &world_take(&w, b.control, MSG_granted)->granted.answers.at[0];
	base.version = root->version - 1;
	ok(client_commit(&b, &base, 1, changes, 1)->status == STATUS_REJECTED, "a base that passed is refused");
	reset(&b);
	ok(client_commit(&b, NULL, 0, changes, 1)->status == STATUS_REJECTED, "and one that is not named");
	reset(&b);
	base.version = root->version;
	changes[1] = change_unlink(OID_ROOT, 1);
	ok(client_commit(&b, &base, 1, changes, 2)->status == STATUS_REJECTED,
	    "the target of a reference that goes must be leased");
	reset(&b);
	ok(client_commit(&b, &base, 1, changes, 1)->status == STATUS_OK, "otherwise it is applied");
	base.version = 0;
	ok(client_commit(&b, &base, 1, changes, 1)->status == STATUS_OK, "and more of it may be on its way");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_births(void)
{
	struct world w;
	struct client a, b;
	struct message alloc = { .type = MSG_alloc };
	const struct message *back;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	b = client_new(&w, 2);
	ok(commit(&a, change_entry(OID_ROOT, 9, oid(&a, E)), nothing) == STATUS_REJECTED,
	    "a reference to what does not exist is refused");
	reset(&a);
	ok(commit(&a, change_attr(oid(&b, E)), change_entry(OID_ROOT, 9, oid(&b, E))) == STATUS_REJECTED,
	    "a birth in another's range too");
	reset(&a);
	world_send(&w, a.control, &alloc);
	back = world_take(&w, a.control, MSG_allocated);
	ok(back != NULL && back->allocated.oid_count == 65536, "ALLOC brings another range");
	ok(commit(&a, change_attr(back->allocated.first_oid), change_entry(OID_ROOT, 9, back->allocated.first_oid)) ==
	    STATUS_OK, "in which births are fine");
	ok(commit(&a, change_attr(oid(&a, E)), nothing) == STATUS_OK, "so is one without a reference");
	world_pass(&w, 300);
	ok(client_lease(&a, oid(&a, E), MODE_SHARED)->status == STATUS_NOENT, "which dies at once if nobody pins it");
	ok(commit(&a, change_attr(oid(&a, E)), change_entry(OID_ROOT, 10, oid(&a, E))) == STATUS_REJECTED,
	    "and never comes back");
	reset(&a);
	ok(commit(&a, change_cut(oid(&a, E + 1), KIND_REGION), nothing) == STATUS_REJECTED, "nothing is born by a DELETE");
	reset(&a);
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_form(void)
{
	static const struct msg_change wrong[] = {
		{ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_ATTR, .subkey = { (const uint8_t *)"x", 1 } },
		{ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_ENTRY },
		{ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_PATCH },
		{ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = 0 },
		{ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = 200 },
		{ .op = CHANGE_PUT, .oid = 0, .kind = KIND_ATTR },
		{ .op = CHANGE_PUT, .oid = OID_RESERVED, .kind = KIND_META },
		{ .op = 0, .oid = OID_ROOT, .kind = KIND_ATTR },
		{ .op = CHANGE_DELETE, .oid = OID_ROOT, .kind = KIND_ATTR, .value = { (const uint8_t *)"x", 1 } },
		{ .op = CHANGE_DELETE_RANGE, .oid = OID_ROOT, .kind = KIND_ENTRY, .subkey = { (const uint8_t *)"b", 1 },
		    .to = { (const uint8_t *)"a", 1 } },
	};
	static uint8_t ids[REFS_MAX][ID_SIZE], value[VALUE_MAX];
	struct msg_change big = change_region(OID_ROOT, 1, 0), attr = change_attr(OID_ROOT);
	struct world w;
	struct client a;
	uint64_t child;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		a.sequence = 1;
		ok(commit(&a, wrong[i], nothing) == STATUS_INVALID, "malformed change %u is refused, not consumed", i);
	}
	a.sequence = 1;
	child = oid(&a, F);
	attr.orefs.at = &child;
	attr.orefs.count = 1;
	ok(commit(&a, attr, nothing) == STATUS_INVALID, "a reference in a kind that has none too");
	a.sequence = 1;
	big.brefs.at = (const uint8_t (*)[ID_SIZE])ids;
	big.brefs.count = REFS_MAX;
	big.value = (struct bytes){ value, sizeof value };
	ok(commit(&a, big, nothing) == STATUS_INVALID, "and a record too large to store");
	a.sequence = 1;
	ok(commit(&a, change_attr(OID_ROOT), nothing) == STATUS_OK, "then a good one is next");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Within one commit the last value wins, and only what is live at its end counts. */
static void
test_overlay(void)
{
	struct msg_change changes[] = { change_entry(OID_ROOT, 5, 0), change_unlink(OID_ROOT, 5),
	    change_cut(OID_ROOT, KIND_ENTRY), change_entry(OID_ROOT, 6, 0), change_entry(OID_ROOT, 7, 0),
	    change_entry(OID_ROOT, 6, 0), change_attr(0) };
	struct msg_base base = { .oid = OID_ROOT };
	const struct msg_answer *got;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	changes[0].orefs.at[0] = oid(&a, F);
	changes[3].orefs.at[0] = oid(&a, F);
	changes[4].orefs.at[0] = oid(&a, E);
	changes[5].orefs.at[0] = oid(&a, D);
	changes[6].oid = oid(&a, E);
	ok(client_commit(&a, &base, 1, changes, 7)->status == STATUS_OK, "changes of one record follow each other");
	got = client_lease(&a, OID_ROOT, MODE_SHARED);
	ok(got->records.count == 3, "two entries are left");
	world_pass(&w, 300);
	ok(client_lease(&a, oid(&a, F), MODE_SHARED)->status == STATUS_NOENT &&
	    client_lease(&a, oid(&a, G), MODE_SHARED)->status == STATUS_NOENT, "what they do not name is freed");
	ok(client_lease(&a, oid(&a, D), MODE_SHARED)->status == STATUS_OK, "what they name is not");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_directories(void)
{
	struct msg_change changes[2];
	struct msg_base bases[2] = { { .oid = OID_ROOT } };
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	ok(commit(&a, change_attr(oid(&a, E)), change_entry(oid(&a, D), 1, oid(&a, E))) == STATUS_OK, "a file in a directory");
	ok(commit(&a, change_unlink(OID_ROOT, 3), nothing) == STATUS_REJECTED, "which cannot go while it has an entry");
	reset(&a);
	changes[0] = change_unlink(OID_ROOT, 3);
	changes[1] = change_unlink(oid(&a, D), 1);
	bases[1].oid = oid(&a, D);
	ok(client_commit(&a, bases, 2, changes, 2)->status == STATUS_OK, "but together with it");
	client_pin(&a, oid(&a, G), true);
	ok(commit(&a, change_unlink(OID_ROOT, 2), nothing) == STATUS_OK, "a pinned orphan");
	ok(commit(&a, change_entry(oid(&a, G), 1, oid(&a, F)), nothing) == STATUS_REJECTED, "gets no entries either");
	reset(&a);
	world_pass(&w, 300);
	ok(client_lease(&a, oid(&a, E), MODE_SHARED)->status == STATUS_NOENT, "what was in it is freed");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* A record that is changed and then falls into a range is taken away once. */
static void
test_range_after_change(void)
{
	struct msg_change changes[] = { change_unlink(OID_ROOT, 1), change_entry(OID_ROOT, 2, 0),
	    change_cut(OID_ROOT, KIND_ENTRY) };
	struct msg_base base = { .oid = OID_ROOT };
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	changes[1].orefs.at[0] = oid(&a, F);
	ok(client_commit(&a, &base, 1, changes, 3)->status == STATUS_OK && world_check(&w), "a range after single changes");
	world_pass(&w, 300);
	ok(client_lease(&a, oid(&a, D), MODE_SHARED)->status == STATUS_NOENT && world_check(&w), "takes all once");
	world_done(&w);
}

/* ---- pins ---- */

static void
test_pins(void)
{
	const struct msg_answer *got;
	struct world w;
	struct client a, b;
	uint64_t f, g;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	f = oid(&a, F);
	g = oid(&a, G);
	b = client_new(&w, 2);
	client_pin(&b, f, true);
	client_pin(&b, f, true);
	client_pin(&a, f, true);
	ok(commit(&a, change_unlink(OID_ROOT, 1), change_unlink(OID_ROOT, 2)) == STATUS_OK, "both files are unlinked");
	world_pass(&w, 300);
	got = client_lease(&a, f, MODE_SHARED);
	ok(got->status == STATUS_OK && got->records.count == 1, "the pinned one lives");
	ok(client_lease(&a, g, MODE_SHARED)->status == STATUS_NOENT, "the other does not");
	client_pin(&a, f, false);
	world_restart(&w, UINT64_MAX);
	world_pass(&w, 300);
	client_attach(&a);
	client_reclaim(&a, NULL, 0, NULL);
	world_pass(&w, TERM_MS + SKEW_MS + 200);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	got = client_lease(&a, f, MODE_EXCLUSIVE);
	ok(got->status == STATUS_OK && got->pinned == 1, "a pin outlives the server, whoever sleeps");
	ok(commit(&a, change_entry(OID_ROOT, 4, f), nothing) == STATUS_OK &&
	    commit(&a, change_unlink(OID_ROOT, 4), nothing) == STATUS_OK, "a pinned orphan may be linked again");
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	client_pin(&b, f, false);
	ok(client_lease(&a, f, MODE_SHARED)->status == STATUS_NOENT, "with the last pin it is gone");
	client_pin(&b, f, true);
	world_pass(&w, 300);
	ok(client_lease(&a, f, MODE_SHARED)->status == STATUS_NOENT, "and no pin saves it any more");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* PIN is taken in order with COMMITs: what is pinned before its birth lives without a reference. */
static void
test_pin_before_birth(void)
{
	struct message bye = { .type = MSG_bye };
	struct server_stats stats;
	struct world w;
	struct client a, b;
	uint64_t e;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	e = oid(&a, E);
	client_pin(&a, e, true);
	commit(&a, change_attr(e), nothing);
	world_pass(&w, 300);
	ok(client_lease(&a, e, MODE_SHARED)->status == STATUS_OK, "a temporary file lives by its pin");
	world_send(&w, a.control, &bye);
	world_pass(&w, 300);
	server_stats(w.server, &stats);
	ok(stats.frees == 1, "and dies with its session");
	b = client_new(&w, 2);
	ok(client_lease(&b, e, MODE_SHARED)->status == STATUS_NOENT, "for all");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- blocks ---- */

static bool
has(struct client *c, uint8_t id)
{
	struct message m = { .type = MSG_have, .have = { .ids = { (const uint8_t (*)[ID_SIZE])block_name(id), 1 } } };
	const struct message *back;

	world_send(c->w, c->bulk, &m);
	back = world_take(c->w, c->bulk, MSG_having);
	return back != NULL && back->having.present.len == 1 && back->having.present.data[0] == 1;
}

static enum status
get(struct client *c, uint8_t id)
{
	struct message m = { .type = MSG_get, .get = { .count = 1 } };
	const struct message *back;

	memset(m.get.id, id, ID_SIZE);
	world_send(c->w, c->bulk, &m);
	back = world_take(c->w, c->bulk, MSG_block);
	return back == NULL ? STATUS_COUNT : back->block.status;
}

static void
test_blocks(void)
{
	const struct server_config config = { .idle_ms = 2000, .fresh_ms = 5000 };
	struct msg_change changes[1];
	struct msg_base base;
	const struct msg_committed *done;
	struct world w;
	struct client a;
	uint64_t f;

	world_init(&w, &config);
	a = client_new(&w, 1);
	make_tree(&a);
	f = oid(&a, F);
	base = (struct msg_base){ .oid = f };
	changes[0] = change_region(f, 0, 7);
	done = client_commit(&a, &base, 1, changes, 1);
	ok(done->status == STATUS_MISSING && done->missing.count == 1 && done->missing.at[0][5] == 7,
	    "a block that is not here is MISSING");
	a.sequence--;
	ok(client_put(&a, 7) == STATUS_OK && has(&a, 7) && !has(&a, 8) && get(&a, 7) == STATUS_OK &&
	    get(&a, 8) == STATUS_NOENT, "until it was put");
	ok(client_put(&a, 7) == STATUS_OK, "once more does no harm");
	ok(client_commit(&a, &base, 1, changes, 1)->status == STATUS_OK, "the sequence was not consumed");
	world_pass(&w, 6000);
	ok(has(&a, 7), "a block that is named stays");
	ok(commit(&a, change_region(f, 1, 7), change_cut(f, KIND_REGION)) == STATUS_OK, "its last name goes");
	world_pass(&w, 1500);
	ok(has(&a, 7), "but not at once: HAVE gives it another while");
	world_pass(&w, 3000);
	ok(commit(&a, change_region(f, 0, 7), nothing) == STATUS_OK && has(&a, 7), "in which it may be named again");
	world_pass(&w, 6000);
	ok(has(&a, 7), "and stays again");
	commit(&a, change_unlink(OID_ROOT, 1), nothing);
	world_pass(&w, 2500);
	ok(!has(&a, 7) && get(&a, 7) == STATUS_NOENT, "a file's blocks go with it, after the delay");
	client_put(&a, 9);
	world_pass(&w, 4500);
	ok(has(&a, 9), "an upload waits longer for its commit");
	world_restart(&w, UINT64_MAX);
	client_attach(&a);
	ok(has(&a, 9), "and over a restart");
	world_pass(&w, 5500);
	ok(!has(&a, 9), "but not for ever");
	client_put(&a, 11);
	world_pass(&w, 4000);
	client_put(&a, 11);
	world_pass(&w, 4000);
	ok(get(&a, 11) == STATUS_OK, "a second upload counts from anew");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_carried(void)
{
	uint8_t data[] = "small";
	struct msg_small_block blocks[2] = { { .data = { data, 5 } }, { .data = { data, 5 } } };
	struct msg_change change;
	struct msg_base base;
	struct message m = { .type = MSG_commit };
	const struct message *back;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	memset(blocks[0].id, 7, ID_SIZE);
	memset(blocks[1].id, 8, ID_SIZE);
	change = change_region(oid(&a, F), 0, 7);
	base = (struct msg_base){ .oid = oid(&a, F) };
	m.commit = (struct msg_commit){ .sequence = ++a.sequence, .bases = { &base, 1 }, .changes = { &change, 1 },
	    .blocks = { blocks, 2 } };
	world_send(&w, a.control, &m);
	back = world_take(&w, a.control, MSG_committed);
	ok(back != NULL && back->committed.status == STATUS_OK, "a commit may carry the blocks it names");
	ok(has(&a, 7) && get(&a, 7) == STATUS_OK && has(&a, 8), "and others");
	world_pass(&w, 601 * 1000);
	ok(has(&a, 7) && !has(&a, 8), "which do not stay");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* PUT and HAVE speak of what is durable only. */
static void
test_block_durable(void)
{
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	w.no_sync = true;
	ok(client_put(&a, 7) == STATUS_COUNT && world_take(&w, a.bulk, MSG_stored) == NULL, "STORED waits for the log");
	ok(!has(&a, 7), "so does HAVING");
	ok(client_put(&a, 7) == STATUS_COUNT, "and STORED of what was put before");
	world_sync(&w);
	ok(world_take(&w, a.bulk, MSG_stored) != NULL && world_take(&w, a.bulk, MSG_having) != NULL &&
	    world_take(&w, a.bulk, MSG_stored) != NULL, "then all are told");
	w.no_sync = false;
	w.no_write = true;
	client_put(&a, 8);
	server_disconnected(w.server, a.bulk);
	ok(!has(&a, 8), "a block half written is not there");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_volumes_apart(void)
{
	struct message create = { .type = MSG_volume_create, .volume_create = { .volume = { 9 },
	    .name = { (const uint8_t *)"other", 5 } } };
	struct message attach = { .type = MSG_attach, .attach = { .volume = { 9 } } };
	struct message put = { .type = MSG_put, .payload = { (const uint8_t *)"stolen", 6 } };
	const struct message *back;
	struct world w;
	struct client a, b;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_put(&a, 7);
	b = (struct client){ .w = &w, .device = { 1 }, .control = world_connect(&w, 1) };
	world_send(&w, b.control, &create);
	world_send(&w, b.control, &attach);
	b.at = world_take(&w, b.control, MSG_attached)->attached;
	attach.id = 0;
	attach.attach.lane = LANE_BULK;
	attach.attach.session = b.at.session;
	b.bulk = world_connect(&w, 1);
	world_proof(b.bulk, b.at.secret, attach.attach.proof);
	world_send(&w, b.bulk, &attach);
	ok(world_take(&w, b.bulk, MSG_attached) != NULL, "a second volume");
	ok(!has(&b, 7) && get(&b, 7) == STATUS_NOENT, "does not see the first one's blocks");
	memset(put.put.id, 7, ID_SIZE);
	world_send(&w, b.bulk, &put);
	back = world_take(&w, b.bulk, MSG_stored);
	ok(back != NULL && back->stored.status == STATUS_DENIED, "nor takes their names");
	client_lease(&b, OID_ROOT, MODE_EXCLUSIVE);
	ok(commit(&b, change_region(OID_ROOT, 1, 7), nothing) == STATUS_INVALID, "nor refers to them");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- space ---- */

static void
test_space(void)
{
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	memstore_set_full(w.store, true);
	ok(client_put(&a, 7) == STATUS_NOSPC, "a full server takes no block");
	ok(commit(&a, change_attr(oid(&a, E)), change_entry(OID_ROOT, 5, oid(&a, E))) == STATUS_NOSPC, "and no new file");
	a.sequence--;
	ok(commit(&a, change_unlink(OID_ROOT, 1), nothing) == STATUS_OK, "an unlink it takes; no sequence was consumed");
	world_pass(&w, 300);
	ok(client_lease(&a, oid(&a, F), MODE_SHARED)->status == STATUS_NOENT, "and frees what it can");
	ok(commit(&a, change_attr(NOWHERE), nothing) == STATUS_REJECTED, "a rejection is remembered even then");
	ok(client_attach(&a) == STATUS_OK && a.at.rejected == 1, "and clients come back");
	memstore_set_full(w.store, false);
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Removes a name of `dir` and makes a new file there. */
static enum status
replace(struct client *c, uint64_t dir, uint8_t name, unsigned file)
{
	struct msg_base bases[] = { { .oid = dir }, { .oid = oid(c, file) } };
	struct msg_change changes[] = { change_unlink(dir, name), change_attr(oid(c, file)),
	    change_entry(dir, 9, oid(c, file)) };
	const struct msg_committed *done = client_commit(c, bases, 2, changes, 3);

	return done == NULL ? STATUS_COUNT : done->status;
}

/* Makes a file of that many blocks, named from `first` on. */
static void
fill_file(struct client *c, unsigned file, uint8_t first, unsigned blocks)
{
	for (unsigned i = 0; i < blocks; i++) {
		client_put(c, first + i);
		if (commit(c, change_region(oid(c, file), i, first + i), nothing) != STATUS_OK)
			ok(false, "a file is filled");
	}
}

/* Of the credit, all but `keep` is given back. */
static uint64_t
credit(struct client *c, uint64_t keep)
{
	struct message m = { .type = MSG_statfs, .statfs = { .keep = keep } };
	const struct message *back;

	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_space);
	return back == NULL ? UINT64_MAX : back->space.credit;
}

/* Work that leaves together with a removal is taken if the removal makes room for it (R10). */
static void
test_trade(void)
{
	struct world w;
	struct client a;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_tree(&a);
	fill_file(&a, F, 10, 1);
	fill_file(&a, G, 20, 12);
	memstore_set_full(w.store, true);
	ok(replace(&a, OID_ROOT, 1, E) == STATUS_NOSPC, "a new file is not taken for the removal of a smaller one");
	a.sequence--;
	ok(credit(&a, 100) == 100 && replace(&a, OID_ROOT, 2, E) == STATUS_OK, "but for that of a larger one");
	ok(credit(&a, UINT64_MAX) == 100, "at no cost to what was promised space for something else");
	ok(client_put(&a, 8) == STATUS_BUSY, "what it frees is awaited");
	world_pass(&w, 5000);
	ok(client_put(&a, 8) == STATUS_NOSPC, "and then no more");
	memstore_set_full(w.store, false);
	ok(world_check(&w), "and all is well");

	memstore_set_hopeful(w.store, true);
	memstore_set_full(w.store, true);
	ok(client_put(&a, 8) == STATUS_BUSY, "while the store makes space, a block is to be sent again");
	ok(commit(&a, change_attr(oid(&a, E + 1)), change_entry(OID_ROOT, 6, oid(&a, E + 1))) == STATUS_BUSY, "and a commit");
	memstore_set_full(w.store, false);
	a.sequence--;
	ok(commit(&a, change_attr(oid(&a, E + 1)), change_entry(OID_ROOT, 6, oid(&a, E + 1))) == STATUS_OK,
	    "whose sequence was not consumed");
	world_done(&w);
}

/* Records that the checker must find wanting: it is the judge of the random tests. */
static void
test_checker(void)
{
	static const struct {
		const char	*what;
		uint8_t		 key[16], key_len, value[24], value_len;
	} wrongs[] = {
		{ "a pin of nobody", { 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9 }, 13, { 0 }, 0 },
		{ "an orphan that is not there", { 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99 }, 13, { 0 }, 0 },
		{ "a record of no object", { 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99, 1 }, 14, { 0 }, 10 },
		{ "a reference nobody counted", { 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 3 }, 14,
		    { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 16 }, 18 },
		{ "a version from the future", { 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 3 }, 14, { 1 }, 10 },
	};
	struct world w;
	struct client a;
	struct batch b;
	uint64_t pos;

	for (unsigned i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
		world_init(&w, NULL);
		a = client_new(&w, 1);
		make_tree(&a);
		batch_init(&b);
		batch_put(&b, (struct bytes){ wrongs[i].key, wrongs[i].key_len },
		    (struct bytes){ wrongs[i].value, wrongs[i].value_len });
		store_apply(w.store, &b, 0, &pos);
		batch_done(&b);
		ok(!world_check(&w), "the checker finds %s", wrongs[i].what);
		world_done(&w);
	}
}

int
main(void)
{
	test_sequences();
	test_crash();
	test_leases();
	test_births();
	test_form();
	test_overlay();
	test_range_after_change();
	test_directories();
	test_pins();
	test_pin_before_birth();
	test_blocks();
	test_carried();
	test_block_durable();
	test_volumes_apart();
	test_space();
	test_trade();
	test_checker();
	return tap_done();
}
