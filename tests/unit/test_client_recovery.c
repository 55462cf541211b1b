/*
 * test_client_recovery.c - the client engine when answers are lost, late or
 * refused.  Nothing is answered by itself: each case says what the server did.
 */
#include "fs/engine.h"
#include "proto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { QUEUE_MAX = 64 };

static struct volume_keys *keys;
static struct engine *engine;
static uint64_t now_ms, version, blocks;
static struct flush *stores[QUEUE_MAX];
static struct commit *commits[QUEUE_MAX];
static unsigned store_count, commit_count, reply_count, pins, sent[MSG_COUNT];
static uint64_t last_alloc, last_read;
static const uint8_t bytes[2 * REGION_SIZE];

static void
collect(void)
{
	struct action *a;

	while ((a = engine_next(engine)) != NULL) {
		if (a->kind == ACTION_COMMIT)
			commits[commit_count++] = a->commit;
		else if (a->kind == ACTION_STORE)
			stores[store_count++] = a->flush;
		else if (a->kind == ACTION_INVALIDATE)
			engine_invalidated(engine, a->oid, 0);
		else if (a->kind == ACTION_REPLY)
			reply_count++;
		else if (a->kind == ACTION_SEND) {
			sent[a->message.type]++;
			if (a->message.type == MSG_alloc)
				last_alloc = a->message.id;
			if (a->message.type == MSG_read)
				last_read = a->message.id;
			pins += a->message.type == MSG_pin && a->message.pin.pins.at[0].on;
		}
		action_free(a);
	}
}

static void
pass(uint64_t ms)
{
	now_ms += ms;
	engine_clock(engine, now_ms, (struct timespec){ .tv_sec = now_ms / 1000 });
	engine_tick(engine);
	collect();
}

/* Answers the commit that was sent first; `missing`: a block, or NULL. */
static void
answer_with(enum status status, const uint8_t (*missing)[ID_SIZE])
{
	struct commit *c = commits[0];
	struct message m = { .type = MSG_committed, .committed = { .sequence = c->sequence, .status = status,
	    .version = ++version, .missing = { missing, missing != NULL } } };

	memmove(commits, commits + 1, --commit_count * sizeof commits[0]);
	engine_received(engine, &m);
	commit_put(c);
	collect();
}

static void
answer(enum status status)
{
	answer_with(status, NULL);
}

static void
stored(struct flush *f)
{
	memset(f->id, 0, ID_SIZE);
	blocks++;
	memcpy(f->id, &blocks, sizeof blocks);
	engine_stored(engine, f, 0);
	collect();
}

static struct flush *
take_store(void)
{
	struct flush *f = stores[0];

	memmove(stores, stores + 1, --store_count * sizeof stores[0]);
	return f;
}

static bool
submit(struct op *op)
{
	bool done = engine_submit(engine, op);

	collect();
	return done;
}

static void
replied(struct op *op)
{
	engine_replied(engine, op);
	collect();
}

static void
sync_all(void)
{
	struct op op = { .type = OP_SYNC };
	unsigned before = reply_count;
	bool done = submit(&op);

	for (unsigned i = 0; i < 50 && !done; i++) {
		while (store_count > 0)
			stored(take_store());
		while (commit_count > 0)
			answer(STATUS_OK);
		done = reply_count > before;
		if (!done)
			pass(100);
	}
	replied(&op);
}

static void
attach(bool fresh, uint64_t sequence, bool rejected)
{
	static uint64_t first = 100;
	struct msg_attached a = { .session = 1, .boot = 1, .term_ms = TERM_MS, .first_oid = first += 70000,
	    .oid_count = 60000, .sessions = 1, .sequence = sequence, .rejected = rejected, .version = version };

	engine_attached(engine, &a, fresh);
	collect();
}

static void
setup(void)
{
	struct engine_config config = { 0 };

	now_ms = 100000;
	store_count = commit_count = reply_count = pins = 0;
	engine_new(&engine, &config, keys);
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	attach(true, 0, false);
	engine_format(engine, 0, 0, 0755);
	sync_all();
	memset(sent, 0, sizeof sent);
}

static void
teardown(void)
{
	while (commit_count > 0)
		commit_put(commits[--commit_count]);
	engine_free(engine);
}

static uint64_t
create(const char *name, uint64_t *ret_handle)
{
	struct op op = { .type = OP_CREATE, .ino = OID_ROOT, .name = { (const uint8_t *)name, strlen(name) },
	    .attr.mode = S_IFREG | 0644, .flags = O_RDWR };
	uint64_t ino = submit(&op) && op.error == 0 ? op.child : 0;

	*ret_handle = op.handle;
	replied(&op);
	return ino;
}

static void
write_at(uint64_t ino, uint64_t handle, uint64_t offset, size_t len)
{
	struct op op = { .type = OP_WRITE, .ino = ino, .handle = handle, .offset = offset, .data = { bytes, len } };

	submit(&op);
	replied(&op);
}

/* The size that a commit states for an object; UINT64_MAX when it says nothing of it. */
static uint64_t
committed_size(const struct commit *c, uint64_t oid)
{
	struct attr attr;

	for (uint32_t i = 0; i < c->changes_count; i++)
		if (c->changes[i].oid == oid && c->changes[i].kind == KIND_ATTR &&
		    attr_decode(&attr, c->changes[i].value) == 0)
			return attr.size;
	return UINT64_MAX;
}

static void
test_lost_reset(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h, g, a, b, sequence;

	setup();
	a = create("a", &h);
	b = create("b", &g);
	sync_all();
	write_at(a, h, 0, 10);
	op.ino = a;
	op.handle = h;
	submit(&op);
	sequence = commits[0]->sequence;
	answer(STATUS_REJECTED);
	ok(op.error == -EIO, "an fsync whose commit was refused says so");
	replied(&op);
	engine_detached(engine);
	write_at(b, g, 0, 10);
	pass(3000);
	pass(600);
	memset(sent, 0, sizeof sent);
	attach(false, sequence, true);
	ok(sent[MSG_reset] == 1, "RESET is sent again although another commit waits");
	teardown();
}

/* The flush of so many bytes, out of those that wait. */
static struct flush *
take_store_of(size_t len)
{
	for (unsigned i = 0; i < store_count; i++)
		if (stores[i]->len == len) {
			struct flush *f = stores[i];

			memmove(stores + i, stores + i + 1, (--store_count - i) * sizeof stores[0]);
			return f;
		}
	ok(false, "%zu bytes are on their way", len);
	exit(tap_done());
}

/* Answers commits until op is replied to, or nothing happens any more; the last size stated for an object. */
static uint64_t
answer_until(unsigned replies, uint64_t oid)
{
	uint64_t size = UINT64_MAX;

	for (unsigned i = 0; i < 50 && reply_count < replies; i++) {
		while (commit_count > 0) {
			uint64_t now = committed_size(commits[0], oid);

			size = now == UINT64_MAX ? size : now;
			answer(STATUS_OK);
		}
		pass(100);
	}
	return size;
}

/* What arrives last was frozen first, when the file was shorter; and somebody writes on below it. */
static void
test_fsync_out_of_order(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h, a, size;

	setup();
	a = create("a", &h);
	write_at(a, h, 0, REGION_SIZE);
	write_at(a, h, REGION_SIZE, 5000);
	op.ino = a;
	op.handle = h;
	reply_count = 0;
	submit(&op);
	write_at(a, h, 0, 16);
	stored(take_store_of(5000));
	stored(take_store_of(REGION_SIZE));
	size = answer_until(1, a);
	ok(op.error == 0 && reply_count == 1 && size != UINT64_MAX && size >= REGION_SIZE + 5000,
	    "fsync has committed the size of its moment, whatever arrived last");
	replied(&op);
	teardown();
}

/* Content is held back as a whole; what fsync waits for has arrived, what was written later has not. */
static void
test_fsync_held_back(void)
{
	struct op op = { .type = OP_FSYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, a, size;

	setup();
	a = create("a", &h);
	write_at(a, h, 0, 5000);
	sync_all();
	cut.ino = a;
	submit(&cut);
	replied(&cut);
	write_at(a, h, REGION_SIZE, 300);
	write_at(a, h, 0, REGION_SIZE);
	write_at(a, h, 0, 100);		/* leaves when the region has arrived, with what is written until then */
	op.ino = a;
	op.handle = h;
	reply_count = 0;
	submit(&op);
	write_at(a, h, 2 * REGION_SIZE, 16);
	stored(take_store_of(REGION_SIZE));
	stored(take_store_of(300));
	stored(take_store_of(100));
	size = answer_until(1, a);
	ok(op.error == 0 && reply_count == 1 && size != UINT64_MAX && size >= REGION_SIZE + 300,
	    "fsync of a file written anew has committed it, though more is written");
	replied(&op);
	teardown();
}

/* The root is leased, clean and not of this session's making when the session is gone. */
static void
test_fresh_session(void)
{
	struct op op = { .type = OP_GETATTR, .ino = OID_ROOT };
	struct attr attr = { .mode = S_IFDIR | 0755, .nlink = 2 };
	uint8_t value[512];
	struct msg_record record = { .kind = KIND_ATTR, .value = { value, attr_encode(&attr, value, sizeof value) } };
	struct msg_answer root = { .oid = OID_ROOT, .mode = MODE_SHARED, .grant = 7, .version = 1, .records = { &record, 1 } };
	struct message m = { .type = MSG_granted, .granted = { .ticket = 1, .answers = { &root, 1 } } };
	struct engine_config config = { 0 };

	setup();
	teardown();
	engine_new(&engine, &config, keys);
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	attach(true, 0, false);
	submit(&op);
	m.id = last_read;
	engine_received(engine, &m);
	collect();
	ok(op.error == 0, "the root is read");
	replied(&op);
	engine_detached(engine);
	pass(1000);
	attach(true, 0, false);
	memset(sent, 0, sizeof sent);
	ok(!submit(&op) && sent[MSG_read] == 1, "a new session asks again for what the old one held");
	m.id = last_read;
	engine_received(engine, &m);
	collect();
	replied(&op);
	teardown();
}

static void
test_lost_open_file(void)
{
	struct msg_lease lost = { 0 };
	struct message m = { .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } };
	uint64_t h;

	setup();
	lost.oid = create("a", &h);
	sync_all();
	engine_detached(engine);
	attach(false, 100, false);
	engine_received(engine, &m);
	collect();
	ok(pins == 1, "a lost object is pinned while it is open");
	teardown();
}

static void
test_refused_alloc(void)
{
	struct message m = { .type = MSG_done, .done.status = STATUS_NOSPC };
	struct msg_attached few = { .session = 1, .term_ms = 1000 * TERM_MS, .first_oid = 5000000, .oid_count = 3, .sessions = 1 };
	struct engine_config config = { 0 };
	uint64_t h;

	setup();
	teardown();
	engine_new(&engine, &config, keys);
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	engine_attached(engine, &few, true);
	engine_format(engine, 0, 0, 0755);
	sync_all();
	memset(sent, 0, sizeof sent);
	create("1", &h);
	m.id = last_alloc;
	engine_received(engine, &m);
	collect();
	create("2", &h);
	create("3", &h);
	for (unsigned i = 0; i < 100; i++)
		pass(1000);
	ok(sent[MSG_alloc] >= 2, "a refused ALLOC is asked again (%u times)", sent[MSG_alloc]);
	teardown();
}

/* Answers the commits that were sent, the first so and those behind it as a server then must; their sequences. */
static uint64_t
answer_all(enum status status)
{
	uint64_t list = 0;
	bool first = true;

	for (unsigned count = commit_count; count > 0; count--) {
		list = list * 10 + commits[0]->sequence % 10;
		answer(first || status == STATUS_OK ? status : STATUS_SEQUENCE);
		first = false;
	}
	return list;
}

static void
test_busy(void)
{
	struct op op = { .type = OP_FSYNC };
	struct engine_status status;
	unsigned before = reply_count, waited = 0;
	uint64_t h, g, sent_once, again = 0;

	setup();
	op.ino = create("a", &h);
	op.handle = h;
	write_at(op.ino, h, 0, 10);
	pass(3000);
	pass(600);
	create("b", &g);
	before = reply_count;
	submit(&op);
	while (store_count > 0)
		stored(take_store());
	ok(commit_count == 2, "two commits are under way");
	sent_once = answer_all(STATUS_BUSY);
	engine_status(engine, &status);
	ok(reply_count == before && status.busy && status.error == 0 && commit_count == 0,
	    "when the server is busy fsync waits, and status says it");
	for (unsigned i = 0; i < 5; i++) {
		for (waited = 0; waited < 6000 && commit_count == 0; waited += 100)
			pass(100);
		again = answer_all(STATUS_BUSY);
	}
	ok(again == sent_once && waited >= 800, "both go again and again, in their order, after %u ms at last", waited);
	for (waited = 0; waited < 6000 && commit_count == 0; waited += 100)
		pass(100);
	again = answer_all(STATUS_OK);
	ok(again == sent_once && reply_count == before + 1 && op.error == 0, "until they are taken, and fsync is done");
	pass(6000);
	engine_status(engine, &status);
	ok(!status.busy && commit_count == 0, "and nothing is said of it any more");
	replied(&op);
	teardown();
}

static void
test_missing_twice(void)
{
	struct op op = { .type = OP_FSYNC };
	struct commit *c;
	struct flush *f;
	uint64_t h;

	setup();
	op.ino = create("a", &h);
	op.handle = h;
	write_at(op.ino, h, 0, REGION_SIZE);
	submit(&op);
	stored(take_store());
	c = commits[0];
	c->refs++;
	answer(STATUS_MISSING);
	ok(store_count == 1, "a missing block is stored again");
	commits[commit_count++] = c;
	answer(STATUS_MISSING);
	ok(store_count == 1, "but once, however often it is missed");
	f = take_store();
	stored(f);
	while (commit_count > 0)
		answer(STATUS_OK);
	ok(op.error == 0, "and then the commit passes");
	replied(&op);
	teardown();
}

static bool
commit_names(const struct commit *c, const uint8_t id[ID_SIZE])
{
	for (uint32_t i = 0; i < c->changes_count; i++)
		for (uint32_t k = 0; k < c->changes[i].brefs.count; k++)
			if (memcmp(c->changes[i].brefs.at[k], id, ID_SIZE) == 0)
				return true;
	return false;
}

/* The content of one file is held back, and that of another committed in between. */
static void
test_held_blocks(void)
{
	struct op other = { .type = OP_FSYNC }, op = { .type = OP_FSYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g;

	setup();
	op.ino = create("a", &h);
	op.handle = h;
	other.ino = create("b", &g);
	other.handle = g;
	write_at(op.ino, h, 0, 5000);
	sync_all();
	cut.ino = op.ino;
	submit(&cut);
	replied(&cut);
	write_at(op.ino, h, REGION_SIZE, 5000);
	write_at(op.ino, h, 0, REGION_SIZE);
	stored(take_store_of(REGION_SIZE));
	write_at(other.ino, g, 0, 10);
	submit(&other);
	while (commit_count > 0)
		answer(STATUS_OK);
	ok(other.error == 0, "another file is committed meanwhile");
	replied(&other);
	submit(&op);
	stored(take_store_of(5000));
	answer(STATUS_MISSING);
	ok(store_count == 1 && stores[0]->len == REGION_SIZE, "what was held back is still here to be stored again");
	while (store_count > 0)
		stored(take_store());
	while (commit_count > 0)
		answer(STATUS_OK);
	ok(op.error == 0, "and then its commit passes");
	replied(&op);
	teardown();
}

static unsigned lost_count;

static void
count_lost(void *context, const char *path, bool lost)
{
	lost_count += lost && strcmp(path, context) == 0;
}

/* The server has lost a block of before, which a record still names besides a new one. */
static void
test_missing_for_good(void)
{
	struct op op = { .type = OP_FSYNC }, again = { .type = OP_FSYNC }, look = { .type = OP_GETATTR };
	struct engine_status status;
	uint8_t lost[1][ID_SIZE];
	uint64_t h, g, b;
	unsigned rounds = 0;
	bool entered = false;
	struct flush *f;
	char why[200] = "", name[] = "/a";

	setup();
	op.ino = again.ino = look.ino = create("a", &h);
	op.handle = again.handle = h;
	write_at(op.ino, h, 0, REGION_SIZE);
	f = take_store_of(REGION_SIZE);
	stored(f);
	memcpy(lost[0], f->id, ID_SIZE);
	sync_all();
	b = create("b", &g);
	write_at(op.ino, h, 0, REGION_SIZE / 2);
	write_at(op.ino, h, REGION_SIZE, 16);
	submit(&op);
	while (store_count > 0)
		stored(take_store());
	ok(commit_count == 1 && commit_names(commits[0], lost[0]), "a commit names a block of before");
	for (; rounds < 20 && commit_count > 0 && commit_names(commits[0], lost[0]); rounds++) {
		answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])lost);
		while (store_count > 0)
			stored(take_store());
		pass(100);
	}
	ok(rounds < 3, "that nobody has any more is not asked for again and again (%u times)", rounds);
	for (unsigned i = 0; i < 50 && commit_count > 0; i++) {
		entered |= committed_size(commits[0], b) == 0;
		answer(STATUS_OK);
	}
	ok(op.error == -EIO, "who waits is told that the content is lost");
	replied(&op);
	submit(&again);
	sync_all();
	ok(again.error == 0, "once");
	replied(&again);
	engine_status(engine, &status);
	engine_unsaved(engine, count_lost, name);
	ok(status.lost_objects == 1 && lost_count == 1, "and the status tells of it");
	ok(entered && status.commits_pending == 0 && status.dirty_objects == 0, "all else is committed");
	submit(&look);
	ok(look.attr.size == REGION_SIZE && look.attr.nlink == 1, "the file is what the server has of it");
	replied(&look);
	ok(engine_check(engine, why, sizeof why), "and all is well %s", why);
	teardown();
}

/* A server that misses a block however often it gets it. */
static void
test_missing_for_ever(void)
{
	struct op op = { .type = OP_FSYNC };
	uint8_t id[1][ID_SIZE];
	uint64_t h;
	unsigned rounds = 0;
	struct flush *f;

	setup();
	op.ino = create("a", &h);
	op.handle = h;
	write_at(op.ino, h, 0, REGION_SIZE);
	submit(&op);
	f = take_store_of(REGION_SIZE);
	stored(f);
	memcpy(id[0], f->id, ID_SIZE);
	for (reply_count = 0; rounds < 20 && reply_count == 0 && commit_count > 0; rounds++) {
		answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])id);
		while (store_count > 0) {
			f = take_store();
			engine_stored(engine, f, 0);
			collect();
		}
	}
	ok(rounds < 10 && op.error == -EIO, "a server that misses a block for ever fails the fsync (after %u times)", rounds);
	replied(&op);
	sync_all();
	ok(commit_count == 0, "and is tried again later");
	teardown();
}

/* More leases than one RECLAIM holds. */
static void
test_part_of_reclaim(void)
{
	struct message m = { .type = MSG_reclaimed };
	struct op op = { .type = OP_GETATTR };
	struct op end = { .type = OP_RELEASE };
	char name[16];

	setup();
	for (unsigned i = 0; i < LEASE_LIST_MAX + 100; i++) {
		snprintf(name, sizeof name, "%u", i);
		op.ino = end.ino = create(name, &end.handle);
		submit(&end);
		replied(&end);
		if (i % 1000 == 0)
			sync_all();
	}
	sync_all();
	engine_detached(engine);
	pass(2 * TERM_MS);
	memset(sent, 0, sizeof sent);
	attach(false, 1000000, false);
	ok(sent[MSG_reclaim] == 2, "two RECLAIMs ask for all leases");
	engine_received(engine, &m);
	collect();
	reply_count = 0;
	ok(!submit(&op), "the answer to one of them revives none");
	engine_received(engine, &m);
	collect();
	ok(reply_count == 1 && op.error == 0, "the answer to the last revives all");
	replied(&op);
	teardown();
}

static void
test_hostile_range(void)
{
	struct msg_attached hostile = { .session = 1, .term_ms = TERM_MS, .first_oid = OID_ROOT, .oid_count = 3, .sessions = 1 };
	struct engine_config config = { 0 };
	uint64_t h;

	now_ms = 100000;
	engine_new(&engine, &config, keys);
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	engine_attached(engine, &hostile, true);
	engine_format(engine, 0, 0, 0755);
	collect();
	ok(create("f", &h) == 0, "ids that are not the server's to give are not used");
	while (commit_count > 0)
		commit_put(commits[--commit_count]);
}

int
main(void)
{
	static const uint8_t key[KEY_SIZE] = { 1 }, volume[VOLUME_ID_SIZE] = { 2 };

	keys = volume_keys_new(key, volume);
	test_lost_reset();
	test_fsync_out_of_order();
	test_fsync_held_back();
	test_fresh_session();
	test_lost_open_file();
	test_refused_alloc();
	test_missing_twice();
	test_held_blocks();
	test_missing_for_good();
	test_missing_for_ever();
	test_part_of_reclaim();
	test_busy();
	test_hostile_range();
	return tap_done();
}
