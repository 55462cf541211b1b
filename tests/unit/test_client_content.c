/* test_client_content.c - what a commit may say of the content of files (R4). */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

/* What arrives first lies behind what has not. */
static void
test_gap(void)
{
	uint64_t h, a, size = 1;
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT };

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 0, 100);
	world_write(a, h, REGION_SIZE, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	world_submit(&op);
	if (w.commit_count > 0)
		size = world_committed_size(w.commits[0], a);
	ok(size == 0, "a commit states no size with bytes missing before it");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* Truncated to be written anew, when what had arrived was in no commit yet. */
static void
test_held_size(void)
{
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, a;

	world_setup();
	cut.ino = a = world_create("a", &h);
	world_write(a, h, 0, 5000);
	world_sync();
	world_write(a, h, 0, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, 0, 16);
	world_submit(&op);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 5000,
	    "a file that is written anew keeps the size of a commit, not one of content that no commit has");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* The time of a commit comes between truncating a file and writing it anew. */
static void
test_held_over(void)
{
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, a, b;

	world_setup();
	cut.ino = a = world_create("a", &h);
	b = world_create("b", &g);
	world_write(a, h, 0, 5000);
	world_sync();
	world_write(b, g, 0, 5000);
	world_pass(1900);
	world_submit(&cut);
	world_replied(&cut);
	world_pass(200);
	ok(w.store_count == 1 && w.commit_count == 0, "a commit waits for what another file's content needs");
	world_write(a, h, 0, 16);
	world_pass(1000);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) != 0, "and does not tell of a file written anew that it is empty");
	world_answer_all();
	for (unsigned i = 0; i < 3; i++) {
		world_pass(2500);
		world_answer_all();
	}
	world_write(b, g, 0, 16);
	world_pass(1900);
	world_submit(&cut);
	world_replied(&cut);
	world_pass(200);
	world_stored(world_take_store());
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) != 0, "nor when it was truncated just before");
	world_answer_all();
	world_pass(2500);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 0, "only one that stays so for the time of a commit");
	world_answer_all();
	world_teardown();
}

/* What a full server refused is no old content that could be kept; `grown`: by a truncation, and nothing is to arrive. */
static void
test_held_and_refused(bool grown)
{
	struct op op = { .type = OP_SYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	struct op grow = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 1924 };
	uint64_t h, a;

	world_setup();
	grow.ino = cut.ino = a = world_create("a", &h);
	world_write(a, h, 0, 4);
	world_submit(&op);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 4, "a file's first content is on its way");
	world_submit(&cut);
	world_replied(&cut);
	if (grown) {
		world_submit(&grow);
		world_replied(&grow);
	}
	world_answer(STATUS_NOSPC);
	world_replied(&op);
	world_pass(1500);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == grow.attr.size * grown,
	    "refused, and truncated meanwhile, it is not told of again%s", grown ? ", but of the hole that it is now" : "");
	world_answer_all();
	world_teardown();
}

/* What was renamed over another, and is written anew, would have content of before that; refused: by a commit that came back. */
static void
test_renamed_and_emptied(bool fresh, bool refused)
{
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT, .name2 = world_text("b") };
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT }, again = op, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, a;

	world_setup();
	world_create("b", &g);
	world_sync();
	cut.ino = a = world_create("a", &h);
	world_write(a, h, 0, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	if (!fresh)
		world_sync();
	world_submit(&move);
	world_replied(&move);
	if (refused)
		world_submit(&op);
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, 0, 5000);
	if (refused) {
		ok(w.commit_count == 1, "a file is renamed over another, and is written anew");
		world_answer(STATUS_NOSPC);
		world_replied(&op);
		world_pass(1500);
	}
	world_submit(&again);
	ok(w.commit_count == 0 && w.store_count == 1, "the name waits for the new content: what it had then is gone");
	world_stored(world_take_store());
	world_pass(100);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 5000, "and goes with it");
	world_answer_all();
	world_replied(&again);
	world_teardown();
}

/* A file that is written anew gets a name: what it had before must not be found under that. */
static void
test_named_anew(struct op name, const char *what)
{
	struct op op = { .type = OP_FSYNCDIR, .ino = OID_ROOT }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	struct op make = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("e"), .attr.mode = 0755 };
	uint64_t h, a;

	world_setup();
	world_submit(&make);
	world_replied(&make);
	a = world_create("a", &h);
	world_write(a, h, 0, 5000);
	world_sync();
	cut.ino = a;
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, 0, 7000);
	if (name.type == OP_LINK)
		name.ino = a;
	ok(world_submit(&name) && name.error == 0, "%s", what);
	world_replied(&name);
	world_submit(&op);
	ok(w.commit_count == 0 && w.store_count == 1, "the name waits for the new content");
	world_stored(world_take_store_of(7000));
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) == 7000, "and goes with it");
	world_answer_all();
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/*
 * A file is truncated when its new content has arrived for a SYNC or an FSYNC,
 * of this file or another, and the commit that this waits for is to come.
 */
static void
test_emptied_in_sync(enum op_type type, bool other)
{
	struct op op = { .type = type }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("c"), .ino2 = OID_ROOT, .name2 = world_text("d") };
	uint64_t a, b, c, h, g, f, d;

	world_setup();
	cut.ino = a = world_create("a", &h);
	b = world_create("b", &g);
	c = world_create("c", &f);
	world_create("d", &d);
	world_write(a, h, 0, 5000);
	world_sync();
	world_write(a, h, 0, 7000);
	if (other)
		world_write(b, g, 0, 6000);
	op.ino = other ? b : a;
	op.handle = other ? g : h;
	world_submit(&op);
	world_write(c, f, 0, 9000);
	world_submit(&move);
	world_replied(&move);
	world_stored(world_take_store_of(other ? 6000 : 7000));
	ok(w.commit_count == 0, "what was written has arrived, its commit waits for what is renamed over another");
	world_submit(&cut);
	world_replied(&cut);
	world_stored(world_take_store_of(9000));
	ok(w.commit_count == 1 && (world_committed_size(w.commits[0], a) == 0) == !other,
	    "a file truncated meanwhile %s", other ? "keeps its old content: the FSYNC was of another" : "has nothing older than what was promised");
	world_answer_all();
	world_replied(&op);
	/* Kept again, once that is over. */
	world_write(a, h, 0, 8000);
	world_sync();
	world_write(a, h, 0, 7000);
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, 0, 16);
	op = (struct op){ .type = OP_FSYNCDIR, .ino = OID_ROOT };
	world_submit(&op);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) != 0, "after that its content is kept again");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* An FSYNC or a SYNC that a full server refused has promised nothing: what is truncated after that keeps its old content. */
static void
test_emptied_after_refusal(enum op_type type)
{
	struct op op = { .type = type }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h;

	world_setup();
	op.ino = cut.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, 5000);
	world_sync();
	world_write(op.ino, h, 0, 7000);
	world_submit(&op);
	world_stored(world_take_store_of(7000));
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], op.ino) == 7000, "new content is on its way for one who syncs");
	world_answer(STATUS_NOSPC);
	ok(op.error == -ENOSPC, "who is told that it was refused");
	world_replied(&op);
	world_submit(&cut);
	world_replied(&cut);
	world_write(op.ino, h, 0, 100);
	op = (struct op){ .type = OP_FSYNCDIR, .ino = OID_ROOT };
	world_submit(&op);
	world_pass(1500);
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], cut.ino) != 0, "truncated, it is not empty there before it is written anew");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* While an FSYNC waits, a file that was cut and is as long as before: what was cut away is not to come back. */
static void
test_cut_in_sync(void)
{
	struct op op = { .type = OP_FSYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("c"), .ino2 = OID_ROOT, .name2 = world_text("d") };
	static const uint64_t sizes[] = { REGION_SIZE, 2 * REGION_SIZE + 5000 };
	uint64_t h, f, d, c;

	world_setup();
	op.ino = cut.ino = world_create("a", &h);
	op.handle = h;
	c = world_create("c", &f);
	world_create("d", &d);
	world_write(op.ino, h, 2 * REGION_SIZE, 5000);
	world_sync();
	world_write(c, f, 0, 9000);
	world_submit(&move);
	world_replied(&move);
	for (unsigned i = 0; i < 2; i++) {
		cut.attr.size = sizes[i];
		world_submit(&cut);
		world_replied(&cut);
	}
	world_submit(&op);
	ok(w.commit_count == 0, "the commit of a file that was cut waits for what is renamed over another");
	cut.attr.size = 0;
	world_submit(&cut);
	world_replied(&cut);
	world_stored(world_take_store_of(9000));
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], op.ino) == 0, "emptied meanwhile, it has not what was cut away");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* A SYNC waits for what was written before it, while others write on. */
static void
test_sync_beside_writers(void)
{
	struct op op = { .type = OP_SYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, a, b;

	world_setup();
	a = world_create("a", &h);
	cut.ino = b = world_create("b", &g);
	world_write(b, g, 0, 5000);
	world_sync();
	world_write(a, h, 0, 5000);
	world_submit(&op);
	world_write(a, h, 100000, 16);
	world_submit(&cut);
	world_replied(&cut);
	world_write(b, g, 0, 16);
	world_stored(world_take_store_of(5000));
	ok(w.commit_count == 1 && world_committed_size(w.commits[0], a) <= 100000, "its commit states no size of what has not arrived");
	ok(world_committed_size(w.commits[0], b) == 5000, "and keeps what another writes anew");
	world_answer_all();
	world_replied(&op);
	world_teardown();
}

/* Another has the file open: it will be freed when that one closes it. */
static void
test_removed_elsewhere_open(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, sync = { .type = OP_FSYNCDIR, .ino = OID_ROOT };
	struct op write = { .type = OP_WRITE, .data = world_text("content") };
	struct msg_answer answer = { .mode = MODE_EXCLUSIVE, .grant = 6, .version = 3, .pinned = 1 };
	uint64_t h;

	world_setup();
	write.ino = answer.oid = world_make_shared("a", &h);
	write.handle = h;
	world_submit(&write);
	world_grant_one(4, answer);
	world_replied(&write);
	world_run(OP_RELEASE, write.ino, h);
	world_submit(&op);
	ok(op.error == 0, "a file that another has open is removed");
	world_replied(&op);
	world_submit(&sync);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], OID_ROOT, KIND_ENTRY) &&
	    world_commit_has(w.commits[0], write.ino, KIND_INLINE), "what was written into it goes with the name");
	world_answer_all();
	world_replied(&sync);
	world_teardown();
}

/* It was truncated and written anew, and goes before that has arrived; others may yet see it, until our pin is off. */
static void
test_removed_anew(void)
{
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE }, op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") };
	uint64_t h, a;

	world_setup();
	a = cut.ino = world_create("a", &h);
	world_write(a, h, 0, 8);
	world_sync();
	ok(world_at_once(&cut) == 0, "a file is truncated");
	world_write(a, h, 5000, 20);
	ok(world_at_once(&op) == 0, "and removed while it is open");
	world_pass(100);
	world_answer_all();
	world_run(OP_RELEASE, a, h);
	world_recall(a, 0, MODE_SHARED, 5);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], a, KIND_INLINE) &&
	    world_committed_size(w.commits[0], a) == 0, "with the removal of its content goes that it is empty");
	world_answer_all();
	world_teardown();
}

static struct msg_record
region_record(uint8_t *value, size_t size, uint32_t length)
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };
	struct extent extent = { .offset = 0, .length = length };

	return (struct msg_record){ .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 1 },
	    .value = { value, (size_t)region_encode(&extent, 1, value, size) } };
}

/* Who wrote the file died when content had arrived and the size had not. */
static void
test_old_tail(void)
{
	struct op op = { .type = OP_WRITE, .ino = FAR, .offset = 3000, .data = world_text("more") };
	uint8_t value[200];
	struct msg_record record = region_record(value, sizeof value, 5000);
	struct msg_answer answers[WANTS_MAX];
	struct extent extents[EXTENTS_MAX];
	size_t count = 0;

	world_setup();
	world_lease_far(MODE_EXCLUSIVE, 7);
	ok(!world_submit(&op), "a write behind the end asks for the regions");
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_EXCLUSIVE, .grant = 7, .version = 1 };
		if (w.wants[i].kind == KIND_REGION)
			answers[i].records.at = &record, answers[i].records.count = 1;
	}
	world_grant(w.last_read, 1, answers, w.read.wants.count);
	ok(op.error == 0 && w.reply_count > 0, "and is done then");
	world_replied(&op);
	for (unsigned n = 0; n < 50; n++) {
		world_pass(100);
		while (w.store_count > 0)
			world_stored(world_take_store());
		for (; w.commit_count > 0; world_answer(STATUS_OK))
			for (uint32_t i = 0; i < w.commits[0]->changes_count; i++)
				if (w.commits[0]->changes[i].kind == KIND_REGION)
					region_decode(extents, &count, w.commits[0]->changes[i].value);
	}
	ok(count == 2 && extents[0].length == 100 && extents[1].offset == 3000, "what stood behind the end is not shown");
	world_teardown();
}

/* An answer leaves after the lock was dropped: somebody may write meanwhile. */
static void
test_read_beside_writer(void)
{
	struct op read = { .type = OP_READ, .size = 8 }, write = { .type = OP_WRITE, .data = world_text("one two ") };
	uint64_t h;

	world_setup();
	read.ino = write.ino = world_create("a", &h);
	read.handle = write.handle = h;
	world_submit(&write);
	world_replied(&write);
	ok(world_submit(&read) && read.pieces_count == 1 && read.pieces[0].len == 8, "a read of what was just written");
	write = (struct op){ .type = OP_WRITE, .ino = write.ino, .handle = h, .offset = 4, .data = world_text("2 ") };
	world_submit(&write);
	world_replied(&write);
	ok(memcmp(read.pieces[0].data, "one two ", 8) == 0, "does not change when that is written over");
	world_replied(&read);
	read = (struct op){ .type = OP_READ, .ino = write.ino, .handle = h, .size = 8 };
	ok(world_submit(&read) && memcmp(read.pieces[0].data, "one 2 o ", 8) == 0, "the next one does");
	world_replied(&read);
	world_teardown();
}

/* Records of regions that the last READ asks for, in all. */
static uint32_t
regions_wanted(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w.read.wants.count; i++)
		count += w.wants[i].kind == KIND_REGION ? w.wants[i].limit : 0;
	return count;
}

/* Who waits for content gives up before the server says that it cannot be read. */
static void
fetch_for_nobody(struct op *op)
{
	engine_interrupt(w.engine, op);
	world_collect();
	world_replied(op);
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], -EIO);
	world_collect();
}

/* The server tells of the first region, and that there are more. */
static void
test_regions_ahead(void)
{
	struct attr large = { .mode = S_IFREG | 0644, .nlink = 1, .size = UINT64_C(100) * REGION_SIZE };
	struct op read = { .type = OP_READ, .ino = FAR, .size = 10 };
	struct op again = { .type = OP_READ, .ino = FAR, .size = 10 }, last = again;
	struct op far = { .type = OP_READ, .ino = FAR, .size = 10, .offset = UINT64_C(60) * REGION_SIZE };
	struct op next = { .type = OP_READ, .ino = FAR, .size = 10, .offset = REGION_SIZE };
	struct msg_answer answers[WANTS_MAX];
	struct msg_record record;
	uint8_t value[200];
	unsigned n;

	world_setup();
	record = region_record(value, sizeof value, 1000);
	world_submit(&read);
	for (n = 0; n < 4 && (n == 0 || regions_wanted() == 0); n++)
		world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &large));
	ok(regions_wanted() > 32, "who begins to read a file asks for many of its regions at once");
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1 };
		if (w.wants[i].kind == KIND_REGION) {
			answers[i].records.at = &record, answers[i].records.count = 1;
			answers[i].more = w.wants[i].limit > 1;
		}
	}
	world_grant(w.last_read, 1, answers, w.read.wants.count);
	ok(w.fetch_count == 1, "and then for content");
	engine_fetched(w.engine, w.fetches[0], -EIO);
	world_collect();
	ok(read.error == -EIO, "without which there is nothing to read");
	world_replied(&read);
	w.fetch_count = 0;
	world_submit(&far);
	ok(regions_wanted() == 1, "who reads somewhere else asks for that region alone");
	world_submit(&next);
	ok(regions_wanted() > 32, "who reads on, for many again");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &far);
	engine_interrupt(w.engine, &next);
	world_collect();
	world_replied(&far);
	world_replied(&next);
	world_submit(&again);
	fetch_for_nobody(&again);
	world_submit(&last);
	ok(w.fetch_count == 1 && last.error == 0, "what failed for nobody fails nobody later");
	fetch_for_nobody(&last);
	world_teardown();
}

/* ---- more than is taken ---- */

/* Writes of `len` bytes, `step` apart, until one waits, and then until it is done; how many were done before. */
static unsigned
writes_before_one_waits(uint64_t ino, uint64_t handle, uint64_t step, size_t len)
{
	static const uint8_t bytes[REGION_SIZE];
	struct op op = { .type = OP_WRITE, .ino = ino, .handle = handle, .data = { bytes, len } };
	unsigned count = 0, replies;

	while (count < 1000 && world_submit(&op)) {
		world_replied(&op);
		op.offset = ++count * step;
	}
	if (count == 1000)
		return count;
	replies = w.reply_count;
	for (unsigned i = 0; i < 50 && w.reply_count == replies; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == replies + 1 && op.error == 0 && world_sane(), "and goes on when there is room again");
	world_replied(&op);
	world_answer_all();
	return count;
}

static void
test_many_pieces(void)
{
	uint64_t h, a;
	unsigned count;

	world_setup();
	a = world_create("a", &h);
	count = writes_before_one_waits(a, h, 1000, 10);
	ok(count > 30 && count < 100, "a region takes %u pieces, then who writes waits", count);
	world_teardown();
}

static void
test_much_content(void)
{
	uint64_t h, a;
	unsigned count;

	world_setup_as(&(struct engine_config){ .dirty_max = 2 * REGION_SIZE });
	a = world_create("a", &h);
	count = writes_before_one_waits(a, h, REGION_SIZE, REGION_SIZE);
	ok(count == 3, "content beyond the limit waits, after %u regions", count);
	world_teardown();
}

/* ---- offline ---- */

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data, (void)sync;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static struct engine_journal sink = { append, trim, NULL, 1, 64 << 20 };

/* FAR, written to: a file of one region in as many pieces as there may be, so that one more makes it a whole block. */
static void
write_in_pieces(void)
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };
	static uint8_t value[2000];
	struct attr attr = { .mode = S_IFREG | 0644, .nlink = 1, .size = CELL_SIZE };
	struct op op = { .type = OP_WRITE, .ino = FAR, .offset = 50, .data = { (const uint8_t *)"new", 3 } };
	struct msg_record record = { .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 1 } };
	struct msg_answer answers[WANTS_MAX];
	struct extent extents[EXTENTS_MAX];

	for (uint32_t i = 0; i < EXTENTS_MAX; i++)
		extents[i] = (struct extent){ .offset = 1000 * i, .length = 900, .block_offset = 1000 * i };
	record.value = (struct bytes){ value, (size_t)region_encode(extents, EXTENTS_MAX, value, sizeof value) };
	for (bool done = world_submit(&op); !done; done = w.reply_count > 0) {
		w.reply_count = 0;
		for (uint32_t i = 0; i < w.read.wants.count; i++) {
			answers[i] = world_object(w.wants[i].oid, MODE_EXCLUSIVE, 7, 1, &attr);
			if (w.wants[i].kind == KIND_REGION)
				answers[i].records.at = &record, answers[i].records.count = 1;
		}
		world_grant(w.last_read, 1, answers, w.read.wants.count);
	}
	ok(op.error == 0 && op.written == 3, "a file in many pieces is written to");
	world_replied(&op);
}

/* What must be read before it can be sent is not here: what was answered waits for the server, and is not lost. */
static void
test_pieces_elsewhere(bool asked_before)
{
	struct engine_config config = { .journal = &sink, .redo = true, .offline = OFFLINE_ALWAYS, .stocked = true };
	struct op op = { .type = OP_READ, .ino = FAR, .offset = 50, .size = 3 };
	struct buffer *b = buffer_new(CELL_SIZE);
	struct engine_status status;

	world_setup_unattached(&config);
	world_attach(true, 0, false);
	write_in_pieces();
	w.fetch_count = 0;
	if (asked_before)
		world_pass(10000);
	engine_detached(w.engine);
	world_pass(TERM_MS + 1000);
	world_pass(10000);
	engine_status(w.engine, &status);
	ok(status.offline && w.fetch_count <= 1, "offline it is written back");
	if (w.fetch_count == 1) {
		w.fetch_count = 0;
		engine_fetched(w.engine, w.fetches[0], -EHOSTDOWN);
		world_collect();
	}
	engine_status(w.engine, &status);
	ok(status.lost_objects == 0 && status.dirty_bytes > 0 && world_submit(&op) && op.error == 0 && w.fetch_count == 0,
	    "and stays here while what it is written over cannot be read");
	world_replied(&op);
	world_pass(10000);
	ok(w.fetch_count == 0, "for which nobody asks meanwhile");
	world_attach(false, 0, false);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_pass(10000);
	ok(w.fetch_count == 1, "with the server it comes");
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], -ENOMEM);
	world_pass(100);
	engine_status(w.engine, &status);
	ok(status.lost_objects == 0 && w.fetch_count == 1, "and if there is no memory for it, a little later");
	b->size = CELL_SIZE;
	w.fetches[0]->cells[0] = b;
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], 0);
	world_collect();
	ok(w.store_count == 1 && w.stores[0]->len == CELL_SIZE && memcmp(w.stores[0]->buffer->data + w.stores[0]->start + 50, "new", 3) == 0,
	    "and all of it goes there");
	world_answer_all();
	world_teardown();
}

/* What is kept for readers takes no more memory than is counted. */
static void
test_room_of_cells(void)
{
	struct op op = { .type = OP_FSYNC };
	struct engine_status status;
	struct flush *f;
	struct buffer *b;
	uint64_t h;

	world_setup();
	op.ino = world_create("a", &h);
	world_write(op.ino, h, 500000, 50000);
	world_submit(&op);
	f = world_take_store();
	b = buffer_get(f->buffer);
	ok(b->capacity == REGION_SIZE && f->len == 50000, "some bytes in the midst of a region, to be stored");
	world_stored(f);
	world_answer_all();
	world_replied(&op);
	engine_status(w.engine, &status);
	ok(status.cached_bytes >= 50000, "they are kept for readers");
	ok(b->refs == 1, "but not the room of the region");
	buffer_put(b);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_room_of_cells();
	test_gap();
	test_held_size();
	test_held_over();
	test_held_and_refused(false);
	test_held_and_refused(true);
	test_renamed_and_emptied(false, false);
	test_renamed_and_emptied(true, false);
	test_renamed_and_emptied(false, true);
	test_named_anew((struct op){ .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT, .name2 = world_text("b") },
	    "a file that is written anew is renamed");
	test_named_anew((struct op){ .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT, .name2 = world_text("e"),
	    .flags = RENAME_EXCHANGE }, "it changes its name with another");
	test_named_anew((struct op){ .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("e"), .ino2 = OID_ROOT, .name2 = world_text("a"),
	    .flags = RENAME_EXCHANGE }, "another does with it");
	test_named_anew((struct op){ .type = OP_LINK, .ino2 = OID_ROOT, .name = world_text("b") }, "it gets another name");
	test_emptied_in_sync(OP_SYNC, false);
	test_emptied_in_sync(OP_FSYNC, false);
	test_emptied_in_sync(OP_FSYNC, true);
	test_cut_in_sync();
	test_emptied_after_refusal(OP_FSYNC);
	test_emptied_after_refusal(OP_SYNC);
	test_sync_beside_writers();
	test_removed_elsewhere_open();
	test_removed_anew();
	test_old_tail();
	test_read_beside_writer();
	test_regions_ahead();
	test_many_pieces();
	test_much_content();
	test_pieces_elsewhere(false);
	test_pieces_elsewhere(true);
	return tap_done();
}
