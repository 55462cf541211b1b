/*
 * test_client_commits.c - commits whose answers come in another order, or not
 * at all, and what a server without space makes of them.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static uint64_t a, ha;

/* "a", of so many whole regions, all of them saved. */
static void
begin(unsigned regions)
{
	world_setup();
	a = world_create("a", &ha);
	for (unsigned i = 0; i < regions; i++) {
		world_write(a, ha, (uint64_t)i * REGION_SIZE, REGION_SIZE);
		world_stored(world_take_store());
	}
	world_sync();
	w.reply_count = 0;
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* An operation that waits for a commit. */
static struct op
begins(enum op_type type, uint64_t ino, uint64_t handle)
{
	return (struct op){ .type = type, .ino = ino, .handle = handle };
}

/* The commit sent second is answered first. */
static void
answer_second(enum status status, const uint8_t (*missing)[ID_SIZE])
{
	struct commit *first = w.commits[0];

	w.commits[0] = w.commits[1];
	w.commits[1] = first;
	world_answer_with(status, missing);
}

/* A block of before that the server has lost is missed by a commit behind another. */
static void
test_missing_behind(bool with_attribute, bool forgotten)
{
	struct op dir = begins(OP_FSYNCDIR, OID_ROOT, 0), sync, set, look = { .type = OP_GETATTR, .ino = FAR };
	uint8_t lost[1][ID_SIZE];
	struct flush *f;
	uint64_t h;

	world_setup();
	a = world_create("a", &ha);
	world_write(a, ha, 0, REGION_SIZE);
	f = world_take_store();
	world_stored(f);
	memcpy(lost[0], f->id, ID_SIZE);
	if (with_attribute) {
		set = (struct op){ .type = OP_SETXATTR, .ino = a, .name = world_text("user.a"), .data = world_text("v") };
		world_submit(&set);
		world_replied(&set);
	}
	world_sync();
	world_submit(&look);
	world_create("b", &h);
	world_submit(&dir);
	world_write(a, ha, 0, REGION_SIZE / 2);
	sync = begins(OP_FSYNC, a, ha);
	world_submit(&sync);
	world_stored(world_take_store());
	if (forgotten)
		engine_forget(w.engine, a, 1);
	ok(w.commit_count == 2 && world_commit_names(w.commits[1], lost[0]), "the second of two commits names a block of before");
	answer_second(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])lost);
	ok(w.commit_count == 1 && world_status().lost_objects == 0, "that it is missed for good is believed when it is the first");
	world_answer(STATUS_OK);
	ok(w.commit_count == 1 && world_commit_names(w.commits[0], lost[0]), "which it is sent as once more");
	world_forget();
	world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])lost);
	ok(world_status().lost_objects == 1 && (w.commit_count == 0 || !world_commit_names(w.commits[0], lost[0])), "then its file is what the server has of it");
	ok(world_swept(a, 2) == !forgotten, "of which the kernel is told if it knows it");
	world_answer_all();
	world_pass(3000);
	world_answer_all();
	ok(sync.error == -EIO && dir.error == 0, "and who waits");
	world_replied(&sync);
	world_replied(&dir);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &look);
	world_collect();
	world_replied(&look);
	world_run(OP_RELEASE, a, ha);
	end();
}

/* The server frees a file that a commit under way speaks of, and then refuses that. */
static void
test_freed_under_way(enum status status)
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };
	static const struct attr attr = { .mode = S_IFREG | 0644, .nlink = 1, .size = 1000 };
	static const struct extent extent = { .length = 1000 };
	uint8_t value[100];
	struct msg_record record = { .kind = KIND_REGION, .subkey = { subkey, 8 }, .brefs = { ids, 1 },
	    .value = { value, (size_t)region_encode(&extent, 1, value, sizeof value) } };
	struct op write = { .type = OP_WRITE, .ino = FAR, .offset = 10, .data = world_text("new") }, sync = begins(OP_FSYNCDIR, OID_ROOT, 0);
	struct msg_answer gone = { .oid = FAR, .status = STATUS_NOENT };
	uint64_t h, b;

	begin(0);
	ok(world_serve(&write, &attr, &record, 1) && write.error == 0, "a file is written to");
	world_replied(&write);
	b = world_create("b", &h);
	world_run(OP_FLUSH, FAR, 0);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_submit(&sync);
	ok(w.commit_count == 1 && world_commit_names(w.commits[0], ids[0]), "and is on its way");
	world_grant(1000000, 0, &gone, 1);
	world_answer_with(status, status == STATUS_MISSING ? ids : NULL);
	world_pass(2000);
	ok(w.commit_count == 1 && !world_commit_has(w.commits[0], FAR, KIND_REGION) && world_commit_has(w.commits[0], b, KIND_ATTR),
	    "freed meanwhile, nothing is said of it again, but the rest");
	world_answer_all();
	world_pass(100);
	world_answer_all();
	world_replied(&sync);
	ok(world_status().dirty_bytes == 0 && world_status().dirty_objects == 0, "all of it is there");
	end();
}

/* The same of one whose removal is under way. */
static void
test_freed_removal(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, sync = begins(OP_FSYNCDIR, OID_ROOT, 0);
	struct msg_answer gone = { .status = STATUS_NOENT };

	begin(1);
	world_run(OP_RELEASE, a, ha);
	world_submit(&op);
	world_replied(&op);
	world_submit(&sync);
	gone.oid = a;
	ok(w.commit_count == 1, "a removal is on its way");
	world_grant(1000000, 0, &gone, 1);
	world_answer(STATUS_NOSPC);
	world_replied(&sync);
	world_pass(1500);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], OID_ROOT, KIND_ENTRY), "refused, it goes again though the file is freed");
	world_answer_all();
	ok(world_status().dirty_objects == 0, "and is done");
	end();
}

/* Blocks of a commit are being stored again when it is acknowledged all the same. */
static void
test_acknowledged_meanwhile(int error)
{
	struct op sync = begins(OP_FSYNC, 0, 0);
	uint8_t id[1][ID_SIZE];
	struct flush *f;
	uint64_t sequence;

	begin(0);
	sync.ino = a;
	sync.handle = ha;
	world_write(a, ha, 0, 100000);
	world_submit(&sync);
	f = world_take_store();
	world_stored(f);
	memcpy(id[0], f->id, ID_SIZE);
	sequence = w.commits[0]->sequence;
	world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])id);
	ok(w.store_count == 1 && w.commit_count == 0, "a block is missed, and stored again");
	f = world_take_store();
	if (error != 0) {
		engine_stored(w.engine, f, error);
		world_collect();
	}
	engine_received(w.engine, &(struct message){ .type = MSG_committed, .committed = { .sequence = sequence,
	    .status = STATUS_OK, .version = ++w.version, .credit = w.credit } });
	world_collect();
	if (error == 0)
		world_stored(f);
	world_pass(5000);
	world_answer_all();
	ok(world_status().dirty_bytes == 0 && world_status().commits_pending == 0 && world_status().error == 0,
	    "and is nobody's when the commit turns out to be there");
	world_replied(&sync);
	end();
}

/* Nothing is sent while the connection is gone, and all that is missing when it is back. */
static void
test_missing_detached(void)
{
	struct op sync = begins(OP_FSYNC, 0, 0);
	uint8_t id[1][ID_SIZE];
	struct flush *f;
	uint64_t sequence;

	begin(0);
	sync.ino = a;
	sync.handle = ha;
	world_write(a, ha, 0, 100000);
	world_submit(&sync);
	f = world_take_store();
	world_stored(f);
	memcpy(id[0], f->id, ID_SIZE);
	sequence = w.commits[0]->sequence;
	world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])id);
	engine_detached(w.engine);
	world_stored(world_take_store());
	ok(w.commit_count == 0, "a block comes again after the connection went: its commit is not sent");
	world_attach(false, sequence - 1, false);
	ok(w.commit_count > 0 && w.commits[0]->sequence == sequence, "until there is another");
	world_answer_all();
	ok(w.reply_count == 1 && sync.error == 0, "and then it is done");
	world_replied(&sync);
	end();
}

/* Two commits under way: what becomes of the second, and of the first, when the second is refused. */
static void
test_second_refused(enum status status, bool by_attach)
{
	struct op one = begins(OP_FSYNCDIR, OID_ROOT, 0), two = one, look = { .type = OP_GETATTR, .ino = FAR };
	uint64_t h, sequence;
	unsigned rejected;

	begin(0);
	world_create("b", &h);
	world_submit(&one);
	world_create("c", &h);
	world_submit(&two);
	world_submit(&look);
	ok(w.commit_count == 2, "two commits are on their way");
	rejected = (unsigned)world_status().rejected;
	sequence = w.commits[1]->sequence;
	if (by_attach) {
		engine_detached(w.engine);
		world_attach(false, sequence, true);
		engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
		world_collect();
	} else
		answer_second(status, NULL);
	if (status == STATUS_NOSPC) {
		world_pass(1500);
		ok(w.commit_count == 1 && w.commits[0]->sequence == sequence - 1, "it is not tried again before the first is answered");
	}
	if (!by_attach)
		world_answer(STATUS_OK);
	/* Who names no file is told of any loss. */
	ok(one.error == (status == STATUS_REJECTED ? -EIO : 0) && world_status().commits_pending <= 1, "the first is done");
	if (status == STATUS_REJECTED)
		ok(world_status().rejected == rejected + 1 && world_status().dirty_objects == 0, "the second is lost");
	else {
		world_pass(1500);
		ok(w.commit_count == 1 && w.commits[0]->sequence == sequence, "the second goes again");
		world_answer(STATUS_OK);
	}
	engine_detached(w.engine);
	engine_interrupt(w.engine, &look);
	world_collect();
	world_replied(&look);
	world_replied(&one);
	world_replied(&two);
	end();
}

/* It was refused, and the server forgot that; what had been shown as lost does not come back. */
static void
test_doomed(void)
{
	struct op one = begins(OP_FSYNCDIR, OID_ROOT, 0);
	struct msg_lease lost = { .oid = OID_ROOT };
	uint64_t h, sequence;

	begin(0);
	world_create("b", &h);
	world_submit(&one);
	ok(w.commit_count == 1, "a commit is on its way");
	sequence = w.commits[0]->sequence;
	engine_detached(w.engine);
	world_attach(false, sequence - 1, false);
	ok(w.commit_count > 0 && w.commits[w.commit_count - 1]->sequence == sequence, "it is sent again on the next connection");
	world_hear((struct message){ .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } });
	world_forget();
	w.commit_count = 0;
	engine_detached(w.engine);
	world_attach(false, sequence - 1, false);
	world_hear((struct message){ .type = MSG_reclaimed });
	ok(w.commit_count == 0 && one.error == -EIO, "but not on the one after that: what it changes was lost");
	world_replied(&one);
	end();
}

/* A commit that cut a file comes back when more of it is cut, or less. */
static void
test_cut_again(unsigned first, unsigned second, bool rewritten)
{
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE }, sync = begins(OP_FSYNC, 0, 0), later = sync;
	uint64_t from = UINT64_MAX;

	begin(4);
	cut.ino = sync.ino = later.ino = a;
	cut.attr.size = first * REGION_SIZE;
	world_submit(&cut);
	world_replied(&cut);
	world_submit(&sync);
	ok(w.commit_count == 1, "the end of a file is cut away");
	if (rewritten) {
		world_write(a, ha, second * REGION_SIZE, REGION_SIZE);
		world_stored(world_take_store());
		world_submit(&later);
	}
	cut = (struct op){ .type = OP_SETATTR, .ino = a, .set = SET_SIZE, .attr.size = second * REGION_SIZE };
	world_submit(&cut);
	world_replied(&cut);
	world_answer(STATUS_NOSPC);
	while (w.commit_count > 0)
		commit_put(w.commits[--w.commit_count]);
	world_pass(1500);
	for (uint32_t i = 0; w.commit_count > 0 && i < w.commits[0]->changes_count; i++)
		if (w.commits[0]->changes[i].op == CHANGE_DELETE_RANGE)
			from = w.commits[0]->changes[i].subkey.data[7];
	ok(from == (first < second ? first : second), "from where both did it is cut away in the end: %u", (unsigned)from);
	world_answer_all();
	world_replied(&sync);
	if (rewritten)
		world_replied(&later);
	ok(world_status().dirty_bytes == 0, "and no block is kept");
	end();
}

/* The server frees a directory, and a removal in it with that. */
static void
test_freed_directory(void)
{
	struct op op = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = 0755 };
	struct msg_answer gone = { .status = STATUS_NOENT };
	uint64_t f;

	begin(0);
	world_submit(&op);
	gone.oid = op.child;
	world_replied(&op);
	op = (struct op){ .type = OP_MKNOD, .ino = gone.oid, .name = world_text("f"), .attr.mode = S_IFREG | 0644 };
	world_submit(&op);
	f = op.child;
	world_replied(&op);
	world_sync();
	op = (struct op){ .type = OP_UNLINK, .ino = gone.oid, .name = world_text("f") };
	ok(world_submit(&op) && op.error == 0, "a name is removed");
	world_replied(&op);
	world_grant(1000000, 0, &gone, 1);
	engine_forget(w.engine, f, 1);
	world_pass(3000);
	world_pass(1000);
	ok(w.commit_count == 0 && world_status().dirty_objects == 0, "from a directory that is freed: there is nothing to say any more");
	end();
}

static void
test_store_fails(void)
{
	struct op sync = begins(OP_FSYNC, 0, 0);

	begin(0);
	sync.ino = a;
	sync.handle = ha;
	world_write(a, ha, 0, 100000);
	world_submit(&sync);
	engine_stored(w.engine, world_take_store(), -ECONNRESET);
	world_collect();
	ok(w.reply_count == 1 && sync.error == -EIO && world_status().error == -EIO, "a block that cannot be stored is an error of fsync");
	world_replied(&sync);
	world_pass(1100);
	ok(w.store_count == 1, "and is tried again");
	world_stored(world_take_store());
	ok(world_run(OP_FSYNC, a, ha) == 0, "until it is there");
	end();
}

/* Several are written on while a SYNC waits for what was before. */
static void
test_sync_beside(void)
{
	struct op sync = begins(OP_SYNC, 0, 0);

	begin(0);
	world_write(a, ha, 0, 5000);
	world_submit(&sync);
	world_write(a, ha, 2 * REGION_SIZE, 16);
	world_write(a, ha, REGION_SIZE, 16);
	world_stored(world_take_store());
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) <= REGION_SIZE, "it tells no size beyond what has yet to come");
	world_answer_all();
	world_replied(&sync);
	end();
}

int
main(void)
{
	world_begin();
	test_missing_behind(false, false);
	test_missing_behind(true, true);
	test_freed_under_way(STATUS_MISSING);
	test_freed_under_way(STATUS_NOSPC);
	test_freed_removal();
	test_acknowledged_meanwhile(0);
	test_acknowledged_meanwhile(-EIO);
	test_missing_detached();
	test_second_refused(STATUS_NOSPC, false);
	test_second_refused(STATUS_REJECTED, false);
	test_second_refused(STATUS_REJECTED, true);
	test_doomed();
	test_cut_again(3, 1, false);
	test_cut_again(1, 2, true);
	test_freed_directory();
	test_store_fails();
	test_sync_beside();
	volume_keys_free(w.keys);
	return tap_done();
}
