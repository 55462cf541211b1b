/*
 * test_client_keep.c - what the pins keep in the engine: asked for whole, not
 * given back for want of room, given away like anything else, and counted.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { FEW = 40 };

/* An engine for a few objects only. */
static void
begin(void)
{
	struct engine_config config = { .objects_max = FEW, .commit_ms = 1000000 };

	world_setup_as(&config);
}

static struct op
keep(uint64_t oid, uint64_t round)
{
	return (struct op){ .type = OP_KEEP, .ino = oid, .round = round };
}

static bool
wanted(uint8_t kind)
{
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		if (w.wants[i].oid == FAR && w.wants[i].kind <= kind && kind <= w.wants[i].last_kind && w.wants[i].limit > 0)
			return true;
	return false;
}

/* Answers the last READ: FAR is a file of 100 bytes in one block, a part of it. */
static void
answer(uint64_t grant)
{
	static const uint8_t subkey[8], ids[2][ID_SIZE] = { { 9 }, { 8 } };
	static uint8_t value[200];
	struct extent extents[3] = { { .length = 10, .block_offset = 70000 }, { .offset = 10, .length = 50, .block_offset = 5, .ref = 1 },
	    { .offset = 60, .length = 40, .block_offset = 140000 } };
	struct msg_record region = { .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 2 } };
	struct msg_answer answers[WANTS_MAX], attr = world_object(FAR, MODE_SHARED, grant, 1, &world_file);

	region.value = (struct bytes){ value, (size_t)region_encode(extents, 3, value, sizeof value) };
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_SHARED, .grant = grant, .version = 1 };
		if (w.wants[i].kind == KIND_ATTR)
			answers[i].records = attr.records;
		if (w.wants[i].kind == KIND_REGION)
			answers[i].records.at = &region, answers[i].records.count = 1;
	}
	world_grant(w.last_read, 1, answers, w.read.wants.count);
}

/* Keeps FAR for the round; the operation is left for the caller to look at. */
static bool
keep_far(struct op *op, uint64_t round, uint64_t grant)
{
	*op = keep(FAR, round);
	if (world_submit(op))
		return true;
	w.reply_count = 0;
	for (unsigned n = 0; n < 4 && w.reply_count == 0; n++)
		answer(grant);
	return w.reply_count == 1;
}

static bool
known(uint64_t oid)
{
	struct op op = { .type = OP_GETATTR, .ino = oid };
	bool done = world_submit(&op);

	if (!done) {
		engine_detached(w.engine);
		engine_interrupt(w.engine, &op);
		world_collect();
	}
	world_replied(&op);
	return done;
}

/* Files come and go until there are too many. */
static void
crowd(void)
{
	for (unsigned n = 0; n < 2 * FEW; n++) {
		char name[16];
		uint64_t h, ino;

		snprintf(name, sizeof name, "%u", n);
		ino = world_create(name, &h);
		world_run(OP_RELEASE, ino, h);
		world_sync();
		engine_forget(w.engine, ino, 1);
	}
	for (unsigned n = 0; n < 5; n++)
		world_pass(100);
}

static unsigned
objects(void)
{
	struct engine_status s;

	engine_status(w.engine, &s);
	return (unsigned)s.objects;
}

static void
test_file(void)
{
	const struct kept_block *b;
	struct op op;

	begin();
	op = keep(FAR, 1);
	ok(!world_submit(&op) && wanted(KIND_ATTR), "what is not here is asked for");
	answer(7);
	ok(wanted(KIND_REGION) && wanted(KIND_XATTR) && w.read.wants.count < 8, "all of its content and its attributes");
	answer(7);
	ok(op.error == 0 && S_ISREG(op.attr.mode) && op.attr.size == 100 && !op.unsaved, "then it is kept");
	ok(op.pieces_count == 1 && op.pieces[0].len == 2 * sizeof *b, "it names the blocks, each once");
	b = (const void *)op.pieces[0].data;
	ok(b[0].id[0] == 9 && b[0].first == 1 && b[0].count == 2 && b[0].bytes == 140040 - CELL_SIZE && b[1].id[0] == 8 &&
	    b[1].first == 0 && b[1].count == 1 && b[1].bytes == 55, "and the cells of them that the file needs");
	world_replied(&op);
	ok(w.fetch_count == 0 && world_sane(), "no content is fetched for it");
	op = keep(FAR, 2);
	ok(world_submit(&op) && op.error == 0, "another round finds it here");
	world_replied(&op);
	world_teardown();
}

/* Extents of one block may lie in it in another order than in the file, and a record name blocks that it does not use. */
static void
test_extents(void)
{
	static const struct extent extents[] = { { .length = 10, .block_offset = 140000 }, { .offset = 10, .length = 50, .block_offset = 5 } };
	static const uint8_t subkey[8], ids[2][ID_SIZE] = { { 9 }, { 8 } };
	struct attr attr = world_file;
	struct op op = keep(FAR, 1);
	const struct kept_block *b;
	uint8_t value[200];
	struct msg_record region = { .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 2 } };

	region.value = (struct bytes){ value, (size_t)region_encode(extents, 2, value, sizeof value) };
	attr.size = 60;
	begin();
	ok(world_serve(&op, &attr, &region, 1) && op.error == 0 && op.pieces[0].len == sizeof *b, "what a file does not use is not kept");
	b = (const void *)op.pieces[0].data;
	ok(b->id[0] == 9 && b->first == 0 && b->count == 3 && b->bytes == 140010, "and of what it does, from the first byte to the last");
	world_replied(&op);
	world_teardown();
}

static void
test_directory(void)
{
	struct op op, way = keep(OID_ROOT, 1);
	uint64_t h, a, b;
	const uint64_t *oids;

	begin();
	a = world_create("a", &h);
	b = world_create("b", &h);
	op = keep(OID_ROOT, 1);
	ok(world_submit(&op) && op.error == 0 && S_ISDIR(op.attr.mode) && op.pieces[0].len == 2 * sizeof *oids, "a directory");
	oids = (const void *)op.pieces[0].data;
	ok((oids[0] == a && oids[1] == b) || (oids[0] == b && oids[1] == a), "names its children");
	world_replied(&op);
	way.name = world_text("b");
	ok(world_submit(&way) && way.error == 0 && way.child == b, "or the one of that name");
	world_replied(&way);
	way = keep(OID_ROOT, 1);
	way.name = world_text("c");
	ok(world_submit(&way) && way.error == -ENOENT, "or that there is none");
	world_replied(&way);
	way = keep(a, 1);
	way.name = world_text("c");
	ok(world_submit(&way) && way.error == -ENOTDIR, "a file has none");
	world_replied(&way);
	world_teardown();
}

static void
test_stays(void)
{
	struct op op;

	begin();
	keep_far(&op, 1, 7);
	world_replied(&op);
	engine_keep_round(w.engine, 1);
	crowd();
	ok(objects() <= FEW + 2 && known(FAR), "it is not given back when there are too many");
	world_attach(false, w.version, false);
	world_teardown();
	begin();
	keep_far(&op, 1, 7);
	world_replied(&op);
	engine_keep_round(w.engine, 2);
	crowd();
	ok(objects() <= FEW + 2 && !known(FAR), "but once a round has passed it by");
	world_teardown();
}

static void
test_due(void)
{
	uint64_t due, h, a;
	struct op op, set = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };

	begin();
	a = world_create("a", &h);
	world_sync();
	due = engine_keep_due(w.engine);
	world_write(a, h, 0, 10);
	ok(engine_keep_due(w.engine) == due, "what is not kept is not counted");
	op = keep(a, 1);
	ok(world_submit(&op) && op.error == 0 && op.unsaved, "of a file just written it is said that some is on its way");
	world_replied(&op);
	world_sync();
	op = keep(a, 1);
	world_submit(&op);
	ok(!op.unsaved, "and then that it is not");
	world_replied(&op);
	due = engine_keep_due(w.engine);
	set.ino = a;
	world_submit(&set);
	world_replied(&set);
	ok(engine_keep_due(w.engine) > due, "a change here is counted");
	keep_far(&op, 1, 7);
	world_replied(&op);
	due = engine_keep_due(w.engine);
	world_forget();
	world_recall(FAR, 7, MODE_NONE, 1);
	ok(engine_keep_due(w.engine) > due && world_find(ACTION_SEND, MSG_release, FAR) >= 0, "one that another client wants goes, and is counted");
	ok(keep_far(&op, 2, 8) && op.error == 0, "the next round fetches it again");
	world_replied(&op);
	engine_keep_round(w.engine, 3);
	due = engine_keep_due(w.engine);
	world_recall(FAR, 8, MODE_NONE, 1);
	ok(engine_keep_due(w.engine) == due && world_sane(), "what no round keeps any more is not counted");
	world_teardown();
}

/* Other things that may be in a pinned tree. */
static void
test_kinds(void)
{
	static struct far_object tree[] = {
		{ .oid = FAR, .mode = S_IFDIR | 0755, .nlink = 2, .parent = OID_ROOT, .names = { { "a", FAR + 1 }, { "nowhere", 0 } }, .region = true },
		{ .oid = FAR + 1, .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .region = true },
		{ .oid = FAR + 2, .mode = S_IFIFO | 0644, .nlink = 1 },
		{ .oid = FAR + 3, .mode = S_IFDIR | 0755, .nlink = 2, .parent = FAR },
		{ .oid = FAR + 4, .mode = S_IFDIR | 0755, .nlink = 2, .parent = FAR, .names = { { "b", FAR + 5 }, { "c", FAR + 1 } } },
		{ .oid = FAR + 5, .mode = S_IFREG | 0644, .nlink = 1 },
		{ .oid = 0 },
	};
	struct op op = keep(FAR, 1);

	begin();
	far_begin(tree);
	ok(far_do(&op) == 0 && op.pieces[0].len == sizeof(uint64_t) && *(const uint64_t *)(const void *)op.pieces[0].data == FAR + 1,
	    "a name that leads nowhere is no child, nor is what is no name");
	world_replied(&op);
	op = keep(FAR, 1);
	op.name = world_text("nowhere");
	ok(far_do(&op) == -EIO, "who asks for it is told that it is damaged");
	world_replied(&op);
	op = keep(FAR + 1, 1);
	ok(far_do(&op) == -EIO, "a file whose extents do not open cannot be kept");
	world_replied(&op);
	op = keep(FAR + 2, 1);
	ok(far_do(&op) == 0 && S_ISFIFO(op.attr.mode) && op.pieces[0].len == 0, "a fifo is");
	world_replied(&op);
	op = keep(FAR + 3, 1);
	ok(far_do(&op) == 0 && op.pieces[0].len == 0, "and a directory that is empty");
	world_replied(&op);
	far_done((struct op){ .type = OP_UNLINK, .ino = FAR + 4, .name = world_text("b") });
	op = keep(FAR + 4, 1);
	ok(far_do(&op) == 0 && op.pieces[0].len == sizeof(uint64_t), "what was removed is no child");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* A server that is too busy for more leases is given some back: what is kept, only if there is nothing else. */
static void
test_shed(void)
{
	struct message busy = { .type = MSG_done, .done.status = STATUS_BUSY };
	struct op op, stat = { .type = OP_GETATTR, .ino = FAR + 1 };

	begin();
	keep_far(&op, 1, 7);
	world_replied(&op);
	engine_keep_round(w.engine, 1);
	world_submit(&stat);
	world_grant_one(1, world_object(FAR + 1, MODE_SHARED, 8, 1, &world_file));
	world_replied(&stat);
	world_forget();
	for (unsigned i = 0; i < 2; i++) {
		stat = (struct op){ .type = OP_GETATTR, .ino = FAR + 2 };
		world_submit(&stat);
		busy.id = w.last_read;
		engine_received(w.engine, &busy);
		world_collect();
		if (i == 0)
			ok(world_find(ACTION_SEND, MSG_release, FAR + 1) >= 0 && world_find(ACTION_SEND, MSG_release, FAR) < 0,
			    "a busy server gets back what is not kept");
		else
			ok(world_find(ACTION_SEND, MSG_release, FAR) >= 0, "and what is, when there is nothing else");
		world_pass(2000);
		world_grant_one(1, world_object(FAR + 2, MODE_SHARED, 9 + i, 1, &world_file));
		world_replied(&stat);
		world_recall(FAR + 2, 9 + i, MODE_NONE, 1);
	}
	world_teardown();
}

/* What the kernel knows is not given back, however old and many; it does not stand in the way of what is behind it. */
static void
test_in_use(void)
{
	enum { MANY = 300 };		/* more than one step of fs/trim.c looks at */
	static uint64_t inos[MANY];
	unsigned before, there = 0;

	begin();
	for (unsigned n = 0; n < MANY; n++) {
		char name[16];
		uint64_t h;

		snprintf(name, sizeof name, "old%u", n);
		inos[n] = world_create(name, &h);
		world_run(OP_RELEASE, inos[n], h);
		world_sync();
	}
	before = objects();
	crowd();
	ok(before >= MANY && objects() <= before, "of too many objects those go that nobody uses, wherever they are");
	ok(engine_due(w.engine) > w.now_ms + 1000, "and then it rests");
	for (unsigned n = 0; n < MANY; n++)
		there += known(inos[n]);
	ok(there == MANY, "those that the kernel knows stay");
	for (unsigned n = 0; n < MANY; n++)
		engine_forget(w.engine, inos[n], 1);
	for (unsigned n = 0; n < 5; n++)
		world_pass(100);
	ok(objects() <= FEW + 2 && world_sane(), "as long as it does");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_file();
	test_extents();
	test_directory();
	test_stays();
	test_in_use();
	test_due();
	test_kinds();
	test_shed();
	return tap_done();
}
