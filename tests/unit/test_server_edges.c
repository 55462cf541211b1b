/*
 * test_server_edges.c - what the server meets at the edge of its rules: forms
 * of changes that are none, blocks whose ids begin alike or that come in two
 * ways, sessions that are of another volume or too many, claims of what there
 * is not or that come in parts.
 */
#include "tests/unit/server_world.h"

#include <string.h>

#include "tests/tap.h"

enum {
	WAITS	= 1024,			/* server/wait.c: reads of one session that wait */
	WORK	= 1 << 20,		/* server/commit.c: records looked at for the sake of a commit's ranges */
};

static struct world w;
static struct client a, b;

static enum status
attach(uint8_t device, struct msg_attach how)
{
	struct message m = { .type = MSG_attach, .attach = how };
	uint64_t conn = world_connect(&w, device);
	const struct message *done;

	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	world_send(&w, conn, &m);
	if (world_take(&w, conn, MSG_attached) != NULL)
		return STATUS_OK;
	done = world_take(&w, conn, MSG_done);
	return done == NULL ? STATUS_COUNT : done->done.status;
}

/* The status of a commit of one change, by a client that has nothing else to do. */
static enum status
form(struct msg_change change)
{
	const struct msg_committed *done;
	enum status status;

	a = client_new(&w, 1);
	done = client_commit(&a, NULL, 0, &change, 1);
	status = done != NULL ? done->status : world_closed(&w, a.control) ? STATUS_INVALID : STATUS_COUNT;
	return status;
}

static void
test_forms(void)
{
	static const uint8_t large[VALUE_MAX], blocks[REFS_MAX][ID_SIZE];
	struct msg_change change;

	world_init(&w, NULL);
	change = change_cut(OID_ROOT, KIND_XATTR);
	change.value = (struct bytes){ large, 1 };
	ok(form(change) == STATUS_INVALID, "a range that is deleted has no value");
	change = change_cut(OID_ROOT, KIND_XATTR);
	change.brefs.at = (const void *)block_name(5);
	change.brefs.count = 1;
	ok(form(change) == STATUS_INVALID, "nor references");
	change = change_cut(OID_ROOT, KIND_XATTR);
	change.subkey = (struct bytes){ block_name(9), TOKEN_SIZE };
	change.to = (struct bytes){ block_name(8), TOKEN_SIZE };
	ok(form(change) == STATUS_INVALID, "and does not end before it begins");
	change = change_attr(OID_ROOT);
	change.to = (struct bytes){ block_name(9), TOKEN_SIZE };
	ok(form(change) == STATUS_INVALID, "a record is no range");
	change = change_unlink(OID_ROOT, 1);
	change.value = (struct bytes){ large, 1 };
	ok(form(change) == STATUS_INVALID, "one that is deleted has no value");
	change = change_unlink(OID_ROOT, 1);
	change.orefs.at = &(uint64_t){ OID_ROOT };
	change.orefs.count = 1;
	ok(form(change) == STATUS_INVALID, "and refers to nothing");
	change = change_attr(OID_ROOT);
	change.brefs.at = (const uint8_t (*)[ID_SIZE])blocks;
	change.brefs.count = 1;
	ok(form(change) == STATUS_INVALID, "attributes have no blocks");
	change = change_attr(OID_ROOT);
	change.orefs.at = &(uint64_t){ OID_ROOT };
	change.orefs.count = 1;
	ok(form(change) == STATUS_INVALID, "attributes refer to nothing");
	change = change_region(OID_ROOT, 0, 5);
	change.brefs.at = (const uint8_t (*)[ID_SIZE])blocks;
	change.brefs.count = REFS_MAX;
	change.value = (struct bytes){ large, VALUE_MAX };
	ok(form(change) == STATUS_INVALID, "nor is a record larger than its row");
	ok(form(change_attr(OID_ROOT)) == STATUS_OK && world_check(&w), "one that is right is taken");
	world_done(&w);
}

/* A range between records that the same commit writes. */
static void
test_range(void)
{
	struct msg_want all = { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .to = { block_name(255), SUBKEY_MAX },
	    .limit = 100 };
	const struct message *m;
	struct msg_change changes[5], cut = change_cut(OID_ROOT, KIND_XATTR);
	const struct msg_committed *done;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	changes[0] = change_attr(OID_ROOT);
	for (uint8_t i = 1; i <= 3; i++)
		changes[i] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_XATTR,
		    .subkey = { block_name(i), TOKEN_SIZE }, .value = { (const uint8_t *)"value", i < 3 ? 5 : 0 } };
	cut.subkey = cut.to = (struct bytes){ block_name(2), TOKEN_SIZE };
	changes[4] = cut;
	done = client_commit(&a, NULL, 0, changes, 5);
	ok(done != NULL && done->status == STATUS_OK, "records, and a range that is one of them");
	ok(client_lease(&a, OID_ROOT, MODE_EXCLUSIVE)->records.count == 3, "what is beside the range stays, be it empty");
	world_send(&w, a.control, &(struct message){ .type = MSG_read, .read = { .budget = UINT32_MAX, .wants = { &all, 1 } } });
	m = world_take(&w, a.control, MSG_granted);
	ok(m != NULL && m->granted.answers.count == 1, "whoever has room for more than there may be gets it all");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Ranges over so many stored attributes of the root, one after the other in one commit; its status. */
static enum status
cut_again(unsigned stored, unsigned times)
{
	static uint8_t subkeys[1024][TOKEN_SIZE];
	static struct msg_change changes[1025];
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	const struct msg_committed *done;
	enum status status;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	changes[0] = change_attr(OID_ROOT);
	for (unsigned i = 0; i < stored; i++) {
		subkeys[i][0] = i >> 8;
		subkeys[i][1] = i;
		changes[1 + i] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_XATTR,
		    .subkey = { subkeys[i], TOKEN_SIZE }, .value = { (const uint8_t *)"value", 5 } };
	}
	done = client_commit(&a, NULL, 0, changes, 1 + stored);
	if (done == NULL || done->status != STATUS_OK)
		return STATUS_COUNT;
	for (unsigned i = 0; i < times; i++)
		changes[i] = change_cut(OID_ROOT, KIND_XATTR);
	done = client_commit(&a, &base, 1, changes, times);
	status = done == NULL ? STATUS_COUNT : done->status;
	if (!world_check(&w) || client_lease(&a, OID_ROOT, MODE_EXCLUSIVE)->version != (status == STATUS_OK ? 2 : 1))
		status = STATUS_COUNT;
	world_done(&w);
	return status;
}

/*
 * The first range looks at what is stored, each after it at that twice: at what is touched already, and at what is
 * stored.  1,024 of these are WORK exactly before the last range looks at the first that is stored; with 1,023 that
 * range looks at one that is touched when it becomes too much.
 */
static void
test_work(void)
{
	ok(cut_again(1024, WORK / 2 / 1024) == STATUS_OK, "ranges over what is stored, up to a limit");
	ok(cut_again(1024, WORK / 2 / 1024 + 1) == STATUS_INVALID, "and no more of them: nothing has changed");
	ok(cut_again(1023, WORK / 2 / 1024 + 1) == STATUS_OK && cut_again(1023, WORK / 2 / 1024 + 2) == STATUS_INVALID,
	    "what the commit itself has touched counts as well");
}

/* A commit that is wrong in more ways than its answer has room for. */
static void
test_lists(void)
{
	enum { MANY = BASES_MAX + 100, BLOCKS = IDS_MAX + 100 };
	static struct msg_change changes[MANY];
	static uint8_t ids[BLOCKS][ID_SIZE];
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_small_block block = { .data = { block_name(8), 20 } };
	struct message m = { .type = MSG_commit, .commit = { .sequence = 2, .bases = { &base, 1 }, .changes = { changes, 0 },
	    .blocks = { &block, 1 } } };
	const struct msg_committed *done;
	const struct message *back;
	uint32_t count = 0;
	bool here = false;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 1);
	client_put(&a, 7);
	memcpy(ids[0], block_name(7), ID_SIZE);
	for (unsigned i = 1; i < BLOCKS; i++) {
		ids[i][0] = i >> 8;
		ids[i][1] = i;
	}
	for (unsigned at = 0; at < BLOCKS; at += REFS_MAX) {
		changes[count] = change_region(OID_ROOT, count, 1);
		changes[count].brefs.at = (const uint8_t (*)[ID_SIZE])ids[at];
		changes[count++].brefs.count = BLOCKS - at < REFS_MAX ? BLOCKS - at : REFS_MAX;
	}
	memcpy(block.id, ids[1], ID_SIZE);
	m.commit.changes.count = count;
	world_send(&w, a.control, &m);
	back = world_take(&w, a.control, MSG_committed);
	ok(back != NULL && back->committed.status == STATUS_MISSING && back->committed.missing.count == IDS_MAX,
	    "of blocks that are missing some are told");
	for (uint32_t i = 0; back != NULL && i < back->committed.missing.count; i++)
		for (unsigned k = 0; k < 2; k++)
			here |= memcmp(back->committed.missing.at[i], ids[k], ID_SIZE) == 0;
	ok(!here, "none that is stored among them, and none that the commit carries");
	for (unsigned i = 0; i < MANY; i++)
		changes[i] = change_attr((UINT64_C(1) << 40) + i);
	done = client_commit(&a, NULL, 0, changes, MANY);
	ok(done != NULL && done->status == STATUS_REJECTED && done->rejected.count == BASES_MAX,
	    "and some of the objects that stand against it");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_alike(void)
{
	struct msg_change changes[4];
	struct msg_small_block blocks[2] = { { .data = { block_name(1), 20 } }, { .data = { block_name(2), 20 } } };
	struct message m = { .type = MSG_commit, .commit = { .sequence = 1, .changes = { changes, 4 }, .blocks = { blocks, 2 } } };
	const struct message *done;
	uint8_t one[ID_SIZE] = { 7, 7, 7, 7, 7, 7, 7, 7, 1 }, two[ID_SIZE] = { 7, 7, 7, 7, 7, 7, 7, 7, 2 };
	static uint8_t both[2][ID_SIZE];

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	memcpy(blocks[0].id, one, ID_SIZE);
	memcpy(blocks[1].id, two, ID_SIZE);
	changes[0] = change_attr(OID_ROOT);
	changes[1] = change_attr(a.at.first_oid);
	changes[2] = change_entry(OID_ROOT, 1, a.at.first_oid);
	changes[3] = change_region(a.at.first_oid, 0, 1);
	memcpy(both[0], one, ID_SIZE);
	memcpy(both[1], two, ID_SIZE);
	changes[3].brefs.at = (const uint8_t (*)[ID_SIZE])both;
	changes[3].brefs.count = 2;
	world_send(&w, a.control, &m);
	done = world_take(&w, a.control, MSG_committed);
	ok(done != NULL && done->committed.status == STATUS_OK && world_check(&w), "blocks whose ids begin alike are two");
	world_done(&w);
}

/* ---- blocks that come in more than one way ---- */

static enum status
get(uint8_t id)
{
	struct message m = { .type = MSG_get, .get = { .count = 1 } };
	const struct message *back;

	memcpy(m.get.id, block_name(id), ID_SIZE);
	world_send(&w, a.bulk, &m);
	back = world_take(&w, a.bulk, MSG_block);
	return back == NULL ? STATUS_COUNT : back->block.status;
}

/* The status of a's next commit, which carries a block. */
static enum status
carry(uint8_t id, struct msg_base base, struct msg_change change)
{
	struct msg_small_block block = { .data = { block_name(id), ID_SIZE } };
	struct message m = { .type = MSG_commit, .commit = { .sequence = ++a.sequence, .bases = { &base, 1 },
	    .changes = { &change, 1 }, .blocks = { &block, 1 } } };
	const struct message *back;

	memcpy(block.id, block_name(id), ID_SIZE);
	world_send(&w, a.control, &m);
	back = world_take(&w, a.control, MSG_committed);
	return back == NULL ? STATUS_COUNT : back->committed.status;
}

/* One mount puts what another's commit carries, and names, before it is written. */
static void
test_meanwhile(void)
{
	struct message put = { .type = MSG_put, .payload = { block_name(7), ID_SIZE } };
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	const struct message *stored;
	struct server_action *write;

	world_init(&w, &(struct server_config){ .idle_ms = 1000, .fresh_ms = 1000 });
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_make_tree(&a, 0);
	memcpy(put.put.id, block_name(7), ID_SIZE);
	w.no_write = true;
	world_send(&w, b.bulk, &put);
	ok(w.writes != NULL && carry(7, base, change_region(OID_ROOT, 0, 7)) == STATUS_OK && world_check(&w),
	    "a commit brings what is about to be written");
	write = w.writes;
	w.writes = NULL;
	server_block_written(w.server, write, store_block_write(write->ticket, block_name(7)));
	server_action_free(write);
	world_pump(&w);
	stored = world_take(&w, b.bulk, MSG_stored);
	ok(stored != NULL && stored->stored.status == STATUS_OK && world_check(&w), "who put it is told that it is there");
	world_pass(&w, 5000);
	ok(get(7) == STATUS_OK && world_check(&w), "and it stays, for it is named");
	world_done(&w);
}

/* A region, and its removal, in one commit. */
static void
test_undone(void)
{
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change changes[] = { change_region(OID_ROOT, 0, 200), change_cut(OID_ROOT, KIND_REGION) };
	const struct msg_committed *done;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	done = client_commit(&a, &base, 1, changes, 2);
	ok(done != NULL && done->status == STATUS_OK && world_check(&w), "a block that is not named at the end need not be there");
	ok(get(200) == STATUS_NOENT, "and is not");
	world_done(&w);
}

/* The disk has lost a block, but not its row. */
static void
test_brought_back(void)
{
	struct msg_base base = { .oid = OID_ROOT, .version = 1 };
	struct msg_change region = change_region(OID_ROOT, 0, 7);
	struct batch batch;
	uint64_t pos;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_make_tree(&a, 0);
	client_put(&a, 7);
	batch_init(&batch);
	batch_block_free(&batch, block_name(7));
	store_apply(w.store, &batch, STORE_FREES, &pos);
	batch_done(&batch);
	ok(get(7) == STATUS_NOENT, "a block whose bytes are gone is not there");
	ok(carry(7, base, change_attr(OID_ROOT)) == STATUS_OK && get(7) == STATUS_OK && world_check(&w),
	    "a commit that carries it brings it back, though it does not name it");
	ok(client_commit(&a, &base, 1, &region, 1)->status == STATUS_OK && world_check(&w), "and the next may do that");
	world_done(&w);
}

/* ---- leases ---- */

/* How many are lost. */
static uint32_t
reclaim(struct client *c, struct msg_lease claim, bool last)
{
	struct message m = { .type = MSG_reclaim, .reclaim = { .last = last, .known = c->known, .leases = { &claim, 1 } } };
	const struct message *back;

	world_send(&w, c->control, &m);
	back = world_take(&w, c->control, MSG_reclaimed);
	return back == NULL ? UINT32_MAX : back->reclaimed.lost.count;
}

/* Of who has more leases than a message holds. */
static void
test_parts(void)
{
	struct msg_lease root = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 1, .base = 1 };
	struct msg_lease file = { .mode = MODE_EXCLUSIVE, .grant = 2, .base = 1 };
	const struct message *one, *two;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_make_tree(&a, 1);
	file.oid = a.at.first_oid;
	world_restart(&w, UINT64_MAX);
	client_attach(&b);
	client_reclaim(&b, NULL, 0, NULL);
	client_attach(&a);
	ok(reclaim(&a, root, false) == 0, "leases are claimed in parts");
	client_lease(&b, OID_ROOT, MODE_SHARED);
	client_lease(&b, file.oid, MODE_SHARED);
	ok(world_take(&w, a.control, MSG_recall) == NULL && world_take(&w, b.control, MSG_granted) == NULL && world_check(&w),
	    "before the last nothing is given to others, nor asked for");
	ok(reclaim(&a, file, true) == 0, "the last says that it is");
	one = world_take(&w, a.control, MSG_recall);
	two = world_take(&w, a.control, MSG_recall);
	ok(one != NULL && two != NULL && one->recall.oid != two->recall.oid && world_take(&w, b.control, MSG_granted) == NULL &&
	    world_check(&w), "then what others want is asked for, of all parts");
	world_done(&w);
}

/* Who wanted all of an object is gone, and one who waits longer wants less. */
static void
test_recall_again(void)
{
	struct msg_want all = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE }, some = { .oid = OID_ROOT, .mode = MODE_SHARED };
	const struct message *recall;
	struct client c;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	c = client_new(&w, 3);
	client_make_tree(&a, 0);
	client_read(&b, 10, &all, 1);
	recall = world_take(&w, a.control, MSG_recall);
	ok(recall != NULL && recall->recall.mode == MODE_NONE && recall->recall.ticket == 10, "a lease is recalled");
	server_disconnected(w.server, b.control);
	client_read(&c, 5, &some, 1);
	recall = world_take(&w, a.control, MSG_recall);
	ok(recall != NULL && recall->recall.mode == MODE_NONE && recall->recall.ticket == 5,
	    "and again for the sake of an older READ, which leaves no more of it");
	client_release(&a, OID_ROOT, MODE_NONE, recall == NULL ? 0 : recall->recall.grant);
	ok(world_take(&w, c.control, MSG_granted) != NULL && world_check(&w), "which is then answered");
	world_done(&w);
}

static void
test_sessions(void)
{
	struct message create = { .type = MSG_volume_create, .volume_create = { .name = { (const uint8_t *)"more", 4 },
	    .volume = { 20 }, .recovery = { 98 }, .wrap = { (const uint8_t *)"wrap", 4 } } };
	struct message other = { .type = MSG_attach, .attach = { .generation = 9 } };
	struct msg_attach replaces = { .lane = LANE_CONTROL };
	struct msg_reclaimed told;
	struct msg_lease claims[] = { { .oid = OID_ROOT, .mode = MODE_NONE } };
	const struct message *done;
	uint64_t conn;

	world_init(&w, &(struct server_config){ .sessions_max = 2 });
	ok(attach(1, (struct msg_attach){ .lane = LANE_BULK, .generation = 1 }) == STATUS_INVALID, "the bulk lane makes no session");
	ok(attach(1, (struct msg_attach){ .lane = LANE_BULK + 1, .generation = 1 }) == STATUS_INVALID, "and there is no third");
	a = client_new(&w, 1);
	world_send(&w, a.control, &(struct message){ .type = MSG_attach, .attach = { .generation = 5 } });
	ok(world_closed(&w, a.control), "a connection is attached once");
	client_attach(&a);
	client_reclaim(&a, claims, 1, &told);
	ok(told.lost.count == 1, "nobody claims by a mode that is none");
	b = client_new(&w, 2);
	ok(attach(3, (struct msg_attach){ .lane = LANE_CONTROL, .generation = 1 }) == STATUS_BUSY, "sessions have a limit");
	replaces.replaces = a.at.session;
	ok(attach(1, replaces) == STATUS_DENIED, "who ends one proves that it was his");
	conn = w.next_conn + 1;
	world_proof(conn, a.at.secret, replaces.replaces_proof);
	ok(attach(1, replaces) == STATUS_OK, "one that ends another is none more");
	create.id = 0;
	conn = world_connect(&w, 1);
	world_send(&w, conn, &create);
	other.attach.session = b.at.session;
	memcpy(other.attach.volume, create.volume_create.volume, VOLUME_ID_SIZE);
	conn = world_connect(&w, 1);
	world_send(&w, conn, &other);
	done = world_take(&w, conn, MSG_done);
	ok(done != NULL && done->done.status == STATUS_NOENT, "a session is of one volume");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* A server of whom too much is asked, and which ends with a block, and an answer, in its hands. */
static void
test_much(void)
{
	struct message put = { .type = MSG_put, .payload = { block_name(5), ID_SIZE } };
	struct message want = { .type = MSG_statfs, .statfs = { .want = UINT64_MAX } };
	const struct message *m;
	bool waits = true;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	world_send(&w, b.control, &want);
	m = world_take(&w, b.control, MSG_space);
	ok(m != NULL && m->space.credit < UINT64_MAX && !m->space.more, "nobody is promised all there is, nor told to wait");
	for (unsigned i = 0; i < WAITS; i++) {
		client_lease(&b, OID_ROOT, MODE_SHARED);
		waits &= world_take(&w, b.control, MSG_done) == NULL;
	}
	client_lease(&b, OID_ROOT, MODE_SHARED);
	m = world_take(&w, b.control, MSG_done);
	ok(waits && m != NULL && m->done.status == STATUS_BUSY, "so many reads of one session wait, and no more");
	memcpy(put.put.id, block_name(5), ID_SIZE);
	w.no_pump = true;
	world_send(&w, a.bulk, &put);
	world_send(&w, a.control, &(struct message){ .type = MSG_statfs });
	ok(world_check(&w), "and all is well");
	w.no_pump = false;
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&a) == STATUS_OK && get(5) == STATUS_NOENT && world_check(&w), "a block that it had in its hands at its end is not there");
	world_done(&w);
}

int
main(void)
{
	test_forms();
	test_range();
	test_work();
	test_lists();
	test_alike();
	test_meanwhile();
	test_undone();
	test_brought_back();
	test_parts();
	test_recall_again();
	test_sessions();
	test_much();
	return tap_done();
}
