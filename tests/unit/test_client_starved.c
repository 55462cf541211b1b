/*
 * test_client_starved.c - no memory at one moment: what is asked of the client
 * engine then fails and has changed nothing, or is done a little later.
 *
 * Linked with --wrap for the allocator.  A case is run once for each of the
 * allocations of its moment, which alone fails, and where it says so with none
 * to be had at all, so that what is set aside is used up.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static struct {
	bool		armed, none;		/* none: after the one that fails */
	unsigned	count, fail_at;		/* since armed; the one that fails */
} allocator;

static bool
fails(void)
{
	if (!allocator.armed)
		return false;
	allocator.count++;
	return allocator.none ? allocator.count >= allocator.fail_at : allocator.count == allocator.fail_at;
}

#include "tests/unit/wrap_alloc.h"

static bool
submit_starved(struct op *op)
{
	bool done;

	allocator.armed = true;
	done = engine_submit(w.engine, op);
	allocator.armed = false;
	world_collect();
	return done;
}

/* ---- each allocation of an operation ---- */

static const uint8_t subkey[8], ids[3][ID_SIZE] = { { 9 }, { 10 }, { 11 } };
static uint8_t value[2000], bytes[2 * REGION_SIZE];
static struct msg_record records[2];
static uint32_t records_count;
static struct attr attr;

static void
far_of(uint64_t size, uint32_t flags)
{
	attr = (struct attr){ .mode = S_IFREG | 0644, .nlink = 1, .size = size, .flags = flags };
	records_count = 0;
}

static void
far_regions(uint64_t size, const struct extent *extents, size_t count)
{
	far_of(size, 0);
	records[records_count++] = (struct msg_record){ .kind = KIND_REGION, .subkey = { subkey, 8 }, .brefs = { ids, 1 },
	    .value = { value, (size_t)region_encode(extents, count, value, sizeof value) } };
}

static void
far_inline(void)
{
	far_of(10, ATTR_INLINE);
	records[records_count++] = (struct msg_record){ .kind = KIND_INLINE,
	    .value = { value, (size_t)inline_encode(world_text("0123456789"), value, sizeof value) } };
}

static void
old_tail(void)
{
	static const struct extent extent = { .length = 5000 };

	far_regions(100, &extent, 1);
}

static void
many_extents(void)
{
	struct extent extents[EXTENTS_MAX];

	for (uint32_t i = 0; i < EXTENTS_MAX; i++)
		extents[i] = (struct extent){ .offset = 1000 * i, .length = i == EXTENTS_MAX - 1 ? 300000 : 900, .block_offset = 1000 * i };
	far_regions(REGION_SIZE, extents, EXTENTS_MAX);
}

static const struct trial {
	const char	*what;
	void		(*far)(void);
	struct op	 op;
} trials[] = {
	{ "a write behind an old tail", old_tail, { .type = OP_WRITE, .offset = 3000, .data = { bytes, 10 } } },
	{ "a write to two regions", far_inline, { .type = OP_WRITE, .offset = REGION_SIZE - 5000, .data = { bytes, 10000 } } },
	{ "a record cut", far_inline, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 5 } },
	{ "a record outgrown", far_inline, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 5000 } },
	{ "a record punched", far_inline, { .type = OP_FALLOCATE, .offset = 2, .size = 2, .flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE } },
	{ "a hole that makes too many pieces", many_extents, { .type = OP_FALLOCATE, .offset = 60000, .size = 150000,
	    .flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE } },
};

/* All of FAR is known and leased, and its lease will not end. */
static void
know_far(void)
{
	static const enum op_type all[] = { OP_LSEEK, OP_SETATTR };
	struct op op;

	for (unsigned i = 0; i < 2; i++) {
		op = (struct op){ .type = all[i], .ino = FAR };
		world_serve(&op, &attr, records, records_count);
		world_replied(&op);
	}
}

/* False when so many allocations are not made. */
static bool
try_once(const struct trial *t, unsigned fail_at, bool *fine)
{
	struct op op = t->op, look = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	t->far();
	know_far();
	op.ino = FAR;
	allocator.fail_at = fail_at;
	allocator.count = 0;
	submit_starved(&op);
	if (op.error == -ENOMEM) {
		world_replied(&op);
		world_submit(&look);
		*fine &= look.attr.size == attr.size || op.type == OP_WRITE;
		world_replied(&look);
		op = t->op;
		op.ino = FAR;
		world_submit(&op);
	}
	*fine &= op.error == 0 && world_sane();
	world_replied(&op);
	for (unsigned i = 0; i < 30; i++) {
		world_pass(500);
		world_answer_all();
		w.fetch_count = 0;
	}
	*fine &= world_sane();
	world_teardown();
	return allocator.count >= fail_at;
}

static void
test_each(const struct trial *t)
{
	bool fine = true;
	unsigned n = 1;

	while (n < 1000 && try_once(t, n, &fine))
		n++;
	ok(fine && n > 2, "%s: each of %u allocations may fail", t->what, n - 1);
}

/* ---- each allocation of what an operation sets going ---- */

static uint64_t a, ha;

static void
three_ranges(void)
{
	for (unsigned i = 0; i < 3; i++)
		world_write(a, ha, i * 10000, 100);
}

static void
cut_regions(void)
{
	struct op cut = { .type = OP_SETATTR, .ino = a, .set = SET_SIZE, .attr.size = 10 };

	world_write(a, ha, 0, 2 * REGION_SIZE);
	world_sync();
	world_submit(&cut);
	world_replied(&cut);
}

/* A region of which everything is here, in many pieces, some of them saved. */
static void
many_pieces(void)
{
	world_write(a, ha, 0, REGION_SIZE);
	world_sync();
	for (unsigned i = 0; i < 26; i++) {
		world_write(a, ha, 500000 + i * 1000, 10);
		if (i < 3)
			world_sync();
	}
}

static const struct errand {
	const char	*what;
	void		(*prepare)(void);
	struct op	 op;
} errands[] = {
	{ "three pieces saved", three_ranges, { .type = OP_FSYNC } },
	{ "a cut saved", cut_regions, { .type = OP_FSYNC } },
	{ "one more of many pieces", many_pieces, { .type = OP_WRITE, .offset = 10, .data = { bytes, 10 } } },
};

static bool
send_once(const struct errand *t, unsigned fail_at, bool *fine)
{
	struct op op = t->op;

	world_setup();
	op.ino = a = world_create("a", &ha);
	op.handle = ha;
	world_sync();
	t->prepare();
	w.reply_count = 0;
	allocator.fail_at = fail_at;
	allocator.count = 0;
	if (!submit_starved(&op))
		for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
			world_answer_all();
			world_pass(100);
		}
	if (op.error == -ENOMEM) {
		world_replied(&op);
		op = t->op;
		op.ino = a;
		op.handle = ha;
		world_submit(&op);
		world_answer_all();
	}
	*fine &= op.error == 0 && world_sane();
	world_replied(&op);
	*fine &= world_run(OP_FSYNC, a, ha) == 0 && world_status().dirty_bytes == 0 && world_sane();
	world_teardown();
	return allocator.count >= fail_at;
}

static void
test_errand(const struct errand *t)
{
	bool fine = true;
	unsigned n = 1;

	while (n < 1000 && send_once(t, n, &fine))
		n++;
	ok(fine && n > 2, "%s: each of %u allocations may fail", t->what, n - 1);
}

/* ---- none at all ---- */

enum { MANY = 70 };

/* From allocation `from` on there is no memory. */
static void
starve(unsigned from)
{
	allocator.armed = allocator.none = true;
	allocator.fail_at = from;
	allocator.count = 0;
}

static void
feed(void)
{
	allocator.armed = allocator.none = false;
}

static void
begin(void)
{
	world_setup();
	a = world_create("a", &ha);
	world_sync();
	w.reply_count = 0;
}

/* More blocks of "a" than actions are made ahead cannot be stored. */
static void
refuse_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		world_write(a, ha, (uint64_t)i * REGION_SIZE, REGION_SIZE);
		engine_stored(w.engine, world_take_store(), -EIO);
		world_collect();
	}
}

/* Their time comes when there is no memory: all that was made ahead is used up. */
static void
use_up(void)
{
	w.now_ms += 1100;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	starve(1);
	engine_tick(w.engine);
}

static void
test_stores(void)
{
	unsigned first;

	begin();
	refuse_many();
	use_up();
	feed();
	world_collect();
	first = w.store_count;
	ok(first > 30 && first < MANY, "%u of %u blocks are stored again without memory", first, MANY);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(1100);
	ok(w.store_count == MANY - first, "and the others as soon as there is some");
	world_answer_all();
	ok(world_run(OP_FSYNC, a, ha) == 0 && world_status().dirty_bytes == 0 && world_sane(), "so that all are there");
	world_teardown();
}

/* A commit that cannot be sent, for now: on a new connection it would be the first. */
static void
test_commit(void)
{
	struct op sync = { .type = OP_FSYNCDIR, .ino = OID_ROOT };
	uint64_t h, sequence;

	begin();
	world_create("b", &h);
	world_submit(&sync);
	ok(w.commit_count == 1, "a commit is on its way");
	sequence = w.commits[0]->sequence;
	commit_put(w.commits[--w.commit_count]);
	refuse_many();
	engine_detached(w.engine);
	use_up();
	world_attach(false, sequence - 1, false);
	feed();
	ok(w.commit_count == 0, "it cannot be sent again on the next connection, for lack of memory");
	while (w.store_count > 0)
		world_stored(world_take_store());
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_pass(100);
	ok(w.commit_count > 0 && w.commits[0]->sequence == sequence, "but as soon as there is some");
	world_answer_all();
	ok(world_run(OP_FSYNC, a, ha) == 0 && sync.error == 0 && world_status().dirty_bytes == 0 && world_sane(), "and then all is there");
	world_replied(&sync);
	world_teardown();
}

/* A block that the server misses, and that cannot be stored again for now. */
static void
test_supply(void)
{
	struct op sync = { .type = OP_FSYNC };
	uint8_t id[1][ID_SIZE];
	struct flush *f;
	struct message m = { .type = MSG_committed, .committed = { .status = STATUS_MISSING, .missing = { (const uint8_t (*)[ID_SIZE])id, 1 } } };

	begin();
	sync.ino = world_create("b", &sync.handle);
	world_write(sync.ino, sync.handle, 0, 100000);
	world_submit(&sync);
	f = world_take_store();
	world_stored(f);
	memcpy(id[0], f->id, ID_SIZE);
	ok(w.commit_count == 1, "a commit is on its way");
	m.committed.sequence = w.commits[0]->sequence;
	commit_put(w.commits[--w.commit_count]);
	refuse_many();
	use_up();
	engine_received(w.engine, &m);
	feed();
	world_collect();
	for (unsigned i = 0; i < 50 && w.commit_count == 0; i++) {
		while (w.store_count > 0)
			world_stored(world_take_store());
		world_pass(100);
	}
	ok(w.commit_count > 0 && w.commits[0]->sequence == m.committed.sequence,
	    "a block is missed, and cannot be stored for lack of memory: the commit goes again");
	world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])id);
	world_stored(world_take_store_of(100000));
	world_answer_all();
	ok(world_run(OP_FSYNC, a, ha) == 0 && sync.error == 0 && world_status().dirty_bytes == 0 && world_sane(), "and then all is there");
	world_replied(&sync);
	world_teardown();
}

/* Who waits for the server when it comes back, without memory for asking it. */
static void
test_read(void)
{
	unsigned told = 0, other = 0;

	for (unsigned from = 1; from < 24; from++) {
		struct op op = { .type = OP_GETATTR, .ino = FAR };

		begin();
		refuse_many();
		engine_detached(w.engine);
		world_submit(&op);
		use_up();
		feed();
		world_collect();
		while (w.store_count > 0)
			world_stored(world_take_store());
		starve(from);
		world_attach(false, 1000, false);
		engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
		feed();
		world_collect();
		while (w.store_count > 0)
			world_stored(world_take_store());
		world_pass(100);
		told += w.reply_count == 1 && op.error == -ENOMEM;
		other += w.reply_count == 1 && op.error != -ENOMEM;
		if (w.reply_count == 0) {
			engine_detached(w.engine);
			engine_interrupt(w.engine, &op);
			world_collect();
		}
		world_replied(&op);
		other += !world_sane();
		world_teardown();
	}
	ok(told > 0 && other == 0, "%u of 23 are told that there was no memory", told);
}

/* Of what nobody asked for, and there is no memory for, the lease is given back. */
static void
test_gifts(void)
{
	struct msg_answer answers[2] = { { .oid = FAR }, { .oid = FAR + 1, .mode = MODE_SHARED, .grant = 5 } };
	struct message m = { .type = MSG_granted, .id = 1000000, .granted.answers = { answers, 2 } };

	world_setup();
	starve(1);
	engine_received(w.engine, &m);
	feed();
	world_collect();
	ok(world_find(ACTION_SEND, MSG_release, FAR + 1) >= 0 && world_find(ACTION_SEND, MSG_release, FAR) < 0,
	    "what comes unasked and finds no memory is given back, if it was a lease");
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

int
main(void)
{
	world_begin();
	for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++)
		test_each(&trials[i]);
	for (size_t i = 0; i < sizeof errands / sizeof errands[0]; i++)
		test_errand(&errands[i]);
	test_stores();
	test_commit();
	test_supply();
	test_read();
	test_gifts();
	volume_keys_free(w.keys);
	return tap_done();
}
