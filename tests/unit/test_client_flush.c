/*
 * test_client_flush.c - the way of bytes to the server: what is frozen with
 * what, what waits for room in the transaction, and what cannot go there.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

enum { REGION_RECORDS = 4 };

static const uint8_t region_zero[8];

/* ---- a file that is somebody else's ---- */

/* What the server has of FAR. */
static struct attr far;
static struct msg_record records[REGION_RECORDS];
static uint32_t records_count;

static bool
serve(struct op *op)
{
	return world_serve(op, &far, records, records_count);
}

/* Opens FAR and writes to it: the handle; 0 if that fails. */
static uint64_t
serve_write(uint64_t offset, size_t len)
{
	static const uint8_t bytes[REGION_SIZE] = { 'x' };
	struct op op = { .type = OP_OPEN, .ino = FAR, .flags = O_RDWR };
	uint64_t handle = serve(&op) && op.error == 0 ? op.handle : 0;

	world_replied(&op);
	op = (struct op){ .type = OP_WRITE, .ino = FAR, .handle = handle, .offset = offset, .data = { bytes, len } };
	if (!serve(&op) || op.error != 0)
		handle = 0;
	world_replied(&op);
	return handle;
}

static void
begin_far(uint64_t size, uint32_t flags)
{
	world_setup();
	far = world_file;
	far.size = size;
	far.flags = flags;
	records_count = 0;
}

static void
add_inline(size_t len)
{
	static uint8_t value[VALUE_MAX];
	static const uint8_t content[INLINE_MAX];

	records[records_count++] = (struct msg_record){ .kind = KIND_INLINE,
	    .value = { value, (size_t)inline_encode((struct bytes){ content, len }, value, sizeof value) } };
}

static void
test_empty_record(void)
{
	struct op cut = { .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .attr.size = 5000 };
	struct op read = { .type = OP_READ, .ino = FAR, .size = 6000 };
	size_t len = 0;

	begin_far(0, ATTR_INLINE);
	add_inline(0);
	ok(serve(&cut) && cut.error == 0 && cut.attr.size == 5000, "a file whose record holds nothing grows");
	world_replied(&cut);
	ok(serve(&read) && read.error == 0, "and is read");
	for (size_t i = 0; i < read.pieces_count; i++)
		len += read.pieces[i].len;
	ok(len == 5000, "as zeros");
	world_replied(&read);
	ok(world_run(OP_FSYNC, FAR, 0) == 0 && world_sane(), "and saved");
	world_teardown();
}

/* What is written into a file that does not open cannot be put together with the rest. */
static void
test_damaged_record(size_t len)
{
	uint64_t h;

	begin_far(100, ATTR_INLINE);
	records[records_count++] = (struct msg_record){ .kind = KIND_INLINE };
	ok((h = serve_write(0, len)) != 0, "%zu bytes are written into a record that does not open", len);
	ok(world_status().lost_objects == 0 && world_run(OP_FSYNC, FAR, h) == -EIO, "fsync says that they are not saved");
	ok(world_status().lost_objects == 1 && world_status().dirty_bytes == 0 && world_sane(), "and they are not tried again");
	world_run(OP_RELEASE, FAR, h);
	world_teardown();
}

/* Extents in order, the last of a block that the record does not name. */
static void
test_damaged_reference(void)
{
	static const uint8_t ids[1][ID_SIZE] = { { 9 } };
	static uint8_t value[2000];
	struct extent extents[EXTENTS_MAX];
	uint64_t h;

	begin_far(CELL_SIZE, 0);
	for (uint32_t i = 0; i < EXTENTS_MAX; i++)
		extents[i] = (struct extent){ .offset = 1000 * i, .length = 900, .block_offset = 1000 * i, .ref = i == EXTENTS_MAX - 1 };
	records[records_count++] = (struct msg_record){ .kind = KIND_REGION, .subkey = { region_zero, sizeof region_zero },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 1 },
	    .value = { value, (size_t)region_encode(extents, EXTENTS_MAX, value, sizeof value) } };
	ok((h = serve_write(50, 3)) != 0, "a region is written to that has too many pieces, and one of a block without a name");
	ok(world_run(OP_FSYNC, FAR, h) == -EIO && world_status().lost_objects == 1 && w.fetch_count == 0,
	    "fsync says that it cannot be made whole, and nothing is fetched for that");
	ok(world_sane(), "the invariants hold");
	world_run(OP_RELEASE, FAR, h);
	world_teardown();
}

/* ---- what was cut meanwhile ---- */

/* The attributes that a commit states for an object. */
static struct attr
attr_of(const struct commit *c, uint64_t oid)
{
	struct attr attr = { .size = UINT64_MAX };

	for (uint32_t i = 0; c != NULL && i < c->changes_count; i++)
		if (c->changes[i].oid == oid && c->changes[i].kind == KIND_ATTR)
			attr_decode(&attr, c->changes[i].value);
	return attr;
}

static void
truncate_to(uint64_t ino, uint64_t size)
{
	struct op op = { .type = OP_SETATTR, .ino = ino, .set = SET_SIZE, .attr.size = size };

	ok(world_submit(&op) && op.error == 0, "it is cut to %u bytes", (unsigned)size);
	world_replied(&op);
}

/* A file outgrows its record, and is small again before the block is there. */
static void
test_cut_on_its_way(bool written)
{
	struct op sync = { .type = OP_FSYNC };
	struct attr attr;
	uint64_t h, a;
	bool both = false;

	world_setup();
	sync.ino = a = world_create("a", &h);
	world_write(a, h, 0, 100);
	world_sync();
	world_write(a, h, 0, 8000);
	ok(!world_submit(&sync) && w.store_count == 1, "a file that outgrew its record is on its way");
	truncate_to(a, 50);
	if (written)
		world_write(a, h, 20, 10);
	world_stored(world_take_store());
	for (unsigned i = 0; i < 50 && !both; i++) {
		both = w.commit_count > 0 && world_commit_has(w.commits[0], a, KIND_REGION);
		if (!both && w.commit_count > 0)
			world_answer(STATUS_OK);
		if (!both)
			world_pass(100);
	}
	attr = attr_of(both ? w.commits[0] : NULL, a);
	ok(both && attr.size == 50 && !(attr.flags & ATTR_INLINE) && world_commit_has(w.commits[0], a, KIND_INLINE),
	    "the commit that has its block says so, tells its size, and removes the record");
	world_answer_all();
	world_replied(&sync);
	ok(world_run(OP_FSYNC, a, h) == 0 && world_status().dirty_bytes == 0 && world_sane(), "and what was written since then comes too");
	world_teardown();
}

/* Content goes to the server, and then its file goes. */
static void
test_removed_after(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") }, sync = { .type = OP_SYNC };
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 0, REGION_SIZE);
	world_stored(world_take_store());
	world_run(OP_RELEASE, a, h);
	engine_forget(w.engine, a, 1);
	ok(world_submit(&op) && op.error == 0, "a file is removed whose content was stored, and no commit names");
	world_replied(&op);
	world_submit(&sync);
	ok(w.commit_count == 1 && !world_commit_has(w.commits[0], a, KIND_REGION), "no commit tells of it");
	world_answer_all();
	world_replied(&sync);
	ok(world_status().dirty_bytes == 0 && world_sane(), "and its bytes are not kept");
	world_teardown();
}

/* ---- what is being read ---- */

static struct buffer *
read_buffer(struct op *op, uint64_t ino, uint64_t handle)
{
	*op = (struct op){ .type = OP_READ, .ino = ino, .handle = handle, .offset = 1000, .size = 10 };
	return world_submit(op) && op->pieces_count == 1 ? op->pieces[0].buffer : NULL;
}

static void
test_beside_reader(void)
{
	struct op first, now;
	struct buffer *b;
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 1000, 10);
	b = read_buffer(&first, a, h);
	world_write(a, h, 900, 50);
	world_write(a, h, 2000, 50);
	ok(b != NULL && read_buffer(&now, a, h) == b, "bytes before and behind those that are being read are written where they are");
	world_replied(&now);
	world_write(a, h, 1005, 10);
	ok(read_buffer(&now, a, h) != b, "but not those");
	world_replied(&now);
	world_replied(&first);
	world_teardown();
}

/* ---- no room in the transaction ---- */

static struct op waiting;

/* Makes names until so many commits are under way; with 0 until the transaction takes no more, and one waits. */
static void
fill(unsigned commits)
{
	static uint8_t target[1000];
	static char name[16];
	static unsigned number;
	unsigned n = 0;

	memset(target, 'x', sizeof target);
	do {
		snprintf(name, sizeof name, "%u", number++);
		waiting = (struct op){ .type = OP_SYMLINK, .ino = OID_ROOT, .name = world_text(name), .name2 = { target, sizeof target } };
		if (!world_submit(&waiting))
			break;
		world_replied(&waiting);
	} while (++n < 10000 && (commits == 0 || w.commit_count < commits));
	ok(n > 100 && n < 10000, "%u names and then %s", n, commits > 0 ? "some commits are under way" : "the transaction takes no more");
}

/* Until so many operations were replied to, or nothing happens; was a record of that kind in a commit? */
static bool
drain(unsigned replies, uint64_t oid, uint8_t kind)
{
	bool had = false;

	for (unsigned i = 0; i < 100 && w.reply_count < replies; i++) {
		while (w.store_count > 0)
			world_stored(world_take_store());
		had |= w.commit_count > 0 && world_commit_has(w.commits[0], oid, kind);
		if (w.commit_count > 0)
			world_answer(STATUS_OK);
		else
			world_pass(100);
	}
	return had;
}

static void
test_no_room(size_t len, bool stored_late, uint8_t kind, bool waits)
{
	struct op sync = { .type = OP_FSYNC };
	struct flush *f = NULL;
	uint64_t h, a;

	world_setup();
	w.reply_count = 0;
	sync.ino = a = world_create("a", &h);
	sync.handle = h;
	world_write(a, h, 0, len);
	if (stored_late) {
		world_submit(&sync);
		f = world_take_store();
	}
	fill(0);
	if (stored_late)
		world_stored(f);
	else
		world_submit(&sync);
	ok(engine_holds_content(w.engine, a) == waits && w.reply_count == 0, "%zu bytes %s", len,
	    waits ? "wait with it" : "for which there is room go all the same");
	ok(drain(2, a, kind) && sync.error == 0 && waiting.error == 0 && world_status().dirty_bytes == 0,
	    "and are there when they are said to be");
	world_replied(&sync);
	world_replied(&waiting);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* What waits for room is lost with the session. */
static void
test_no_room_lost(void)
{
	struct op sync = { .type = OP_FSYNC };
	uint64_t h, a;

	world_setup();
	w.reply_count = 0;
	sync.ino = a = world_create("a", &h);
	sync.handle = h;
	world_sync();
	world_write(a, h, 0, 10);
	fill(0);
	world_submit(&sync);
	ok(engine_holds_content(w.engine, a), "content waits for room");
	engine_detached(w.engine);
	world_attach(true, 0, false);
	world_pass(100);
	ok(!engine_holds_content(w.engine, a) && world_status().dirty_bytes == 0 && world_sane(), "it goes with the session");
	drain(2, 0, KIND_ATTR);
	world_replied(&sync);
	ok(sync.error == -EIO, "of which who wanted it saved is told");
	world_replied(&waiting);
	world_teardown();
}

/* A small block goes ahead of a commit that has no room for it. */
static void
test_no_room_to_carry(void)
{
	struct op sync = { .type = OP_FSYNC };
	uint64_t h;

	world_setup();
	w.reply_count = 0;
	sync.ino = world_create("a", &h);
	sync.handle = h;
	fill(0);
	world_write(sync.ino, h, 0, 10000);
	world_submit(&sync);
	ok(w.store_count == 1 && !w.stores[0]->carried, "a small block does not travel in the commit");
	drain(2, 0, KIND_ATTR);
	ok(sync.error == 0 && world_status().dirty_bytes == 0 && world_sane(), "and is there");
	world_replied(&sync);
	world_replied(&waiting);
	world_teardown();
}

/* What was renamed over another, and is written anew, cannot wait: the transaction does not leave without it. */
static void
test_no_room_but_ordered(void)
{
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT, .name2 = world_text("b") };
	struct op sync = { .type = OP_FSYNC }, open = { .type = OP_OPEN, .flags = O_RDWR | O_TRUNC };
	uint64_t h, a;

	world_setup();
	world_create("b", &h);
	open.ino = sync.ino = a = world_create("a", &h);
	world_write(a, h, 0, 100);
	world_sync();
	w.reply_count = 0;
	fill(3);
	ok(world_submit(&move) && move.error == 0, "a file is renamed over another");
	world_replied(&move);
	fill(0);
	ok(world_submit(&open) && open.error == 0, "and opened to be written anew");
	sync.handle = open.handle;
	world_replied(&open);
	world_write(a, sync.handle, 0, 10);
	world_submit(&sync);
	ok(!engine_holds_content(w.engine, a), "its content goes into the transaction that is full");
	drain(2, 0, KIND_ATTR);
	ok(sync.error == 0 && waiting.error == 0 && world_status().dirty_bytes == 0 && world_sane(), "which then leaves");
	world_replied(&sync);
	world_replied(&waiting);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_empty_record();
	test_damaged_record(10);
	test_damaged_record(5000);
	test_damaged_reference();
	test_cut_on_its_way(false);
	test_cut_on_its_way(true);
	test_removed_after();
	test_beside_reader();
	test_no_room(10, false, KIND_INLINE, true);
	test_no_room(100000, true, KIND_REGION, true);
	test_no_room(10000, true, KIND_REGION, false);
	test_no_room_lost();
	test_no_room_to_carry();
	test_no_room_but_ordered();
	volume_keys_free(w.keys);
	return tap_done();
}
