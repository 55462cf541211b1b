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
static uint64_t last_alloc;
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

/* Answers the commit that was sent first. */
static void
answer(enum status status)
{
	struct commit *c = commits[0];
	struct message m = { .type = MSG_committed, .committed = { .sequence = c->sequence, .status = status,
	    .version = ++version } };

	memmove(commits, commits + 1, --commit_count * sizeof commits[0]);
	engine_received(engine, &m);
	commit_put(c);
	collect();
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

static void
test_fsync_beside_writers(bool truncated)
{
	struct op op = { .type = OP_FSYNC };
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, a, size = 0;
	unsigned before;

	setup();
	a = create("a", &h);
	if (truncated) {
		write_at(a, h, 0, 5000);
		sync_all();
		cut.ino = a;
		submit(&cut);
		replied(&cut);
	}
	write_at(a, h, 0, REGION_SIZE);
	op.ino = a;
	op.handle = h;
	before = reply_count;
	submit(&op);
	/* Another writer, while the first bytes are on their way. */
	write_at(a, h, truncated ? REGION_SIZE : 0, 16);
	for (unsigned i = 0; i < 50 && reply_count == before; i++) {
		while (store_count > 0) {
			struct flush *f = take_store();

			if (f->len == REGION_SIZE)
				stored(f);
		}
		while (commit_count > 0) {
			uint64_t now = committed_size(commits[0], a);

			size = now == UINT64_MAX ? size : now;
			answer(STATUS_OK);
		}
		pass(100);
	}
	ok(op.error == 0 && reply_count > before && size >= REGION_SIZE,
	    "fsync beside a writer has committed the size%s", truncated ? ", after a truncation too" : "");
	replied(&op);
	teardown();
}

static void
test_fresh_session(void)
{
	struct op op = { .type = OP_GETATTR, .ino = OID_ROOT };

	setup();
	engine_detached(engine);
	pass(1000);
	attach(true, 0, false);
	memset(sent, 0, sizeof sent);
	ok(!submit(&op) && sent[MSG_read] == 1, "a new session asks again for what the old one held");
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
	ok(again == sent_once && waited >= 1600, "both go again and again, in their order, after %u ms at last", waited);
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
	test_fsync_beside_writers(false);
	test_fsync_beside_writers(true);
	test_fresh_session();
	test_lost_open_file();
	test_refused_alloc();
	test_missing_twice();
	test_busy();
	test_hostile_range();
	return tap_done();
}
