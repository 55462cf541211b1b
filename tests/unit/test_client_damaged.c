/*
 * test_client_damaged.c - content whose records are damaged, are not there, or
 * are of a kind that is not known: what cannot be done changes nothing.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

enum { REGIONS = 4, PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

static const uint8_t subkeys[REGIONS][8] = { { 0 }, { [7] = 1 }, { [7] = 2 }, { [7] = 3 } };
static const uint8_t ids[REGIONS][ID_SIZE] = { { 9 }, { 10 }, { 11 }, { 12 } };
static uint8_t values[REGIONS][200], content[VALUE_MAX];

static struct attr far;
static struct msg_record records[REGIONS + 1];
static uint32_t count;

/* FAR: so many regions of which each has its first 1,000 bytes, or a content in its record. */
static void
begin(unsigned regions, uint64_t size, uint32_t flags)
{
	static const struct extent first = { .length = 1000 };

	world_setup();
	w.reply_count = 0;
	far = (struct attr){ .mode = S_IFREG | 0644, .nlink = 1, .size = size, .flags = flags };
	for (count = 0; count < regions; count++)
		records[count] = (struct msg_record){ .kind = KIND_REGION, .subkey = { subkeys[count], 8 },
		    .brefs = { (const uint8_t (*)[ID_SIZE])&ids[count], 1 },
		    .value = { values[count], (size_t)region_encode(&first, 1, values[count], sizeof values[count]) } };
	if (flags & ATTR_INLINE)
		records[count++] = (struct msg_record){ .kind = KIND_INLINE,
		    .value = { content, (size_t)inline_encode((struct bytes){ (const uint8_t *)"0123456789", 10 }, content, sizeof content) } };
}

static struct op
serve(struct op op)
{
	op.ino = FAR;
	if (!world_serve(&op, &far, records, count))
		op.error = -ETIME;
	return op;
}

static int
does(struct op op)
{
	op = serve(op);
	world_replied(&op);
	return op.error;
}

/* ---- what cannot be done ---- */

static const struct trial {
	const char	*what;
	unsigned	 regions;	/* the first of which is damaged; 0: the record */
	uint64_t	 size;
	struct op	 op;
} trials[] = {
	{ "written to behind its end", 1, 100, { .type = OP_WRITE, .offset = 3000, .data = { (const uint8_t *)"more", 4 } } },
	{ "made longer", 1, 100, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 5000 } },
	{ "cut", 3, 3 * REGION_SIZE, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 50 } },
	{ "punched", 3, 3 * REGION_SIZE, { .type = OP_FALLOCATE, .size = 2 * REGION_SIZE, .flags = PUNCH } },
	{ "looked through", 3, 3 * REGION_SIZE, { .type = OP_LSEEK, .flags = SEEK_DATA } },
	{ "kept", 3, 3 * REGION_SIZE, { .type = OP_KEEP, .round = 1 } },
	{ "punched", 0, 10, { .type = OP_FALLOCATE, .offset = 2, .size = 2, .flags = PUNCH } },
	{ "cut", 0, 10, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 5 } },
	{ "made longer than it holds", 0, 10, { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 5000 } },
};

enum damage { NOT_OPENED, GARBLED, NO_SUCH_BLOCK };	/* the last: it names a block that the record has not */

static void
test_damage(const struct trial *t, enum damage damage)
{
	struct op look = { .type = OP_GETATTR };
	int error;

	begin(t->regions, t->size, t->regions == 0 ? ATTR_INLINE : 0);
	if (damage == NO_SUCH_BLOCK)
		records[0].brefs.count = 0;
	else
		records[0].value = damage == GARBLED ? (struct bytes){ (const uint8_t *)"\377\377\377", 3 } : (struct bytes){ NULL, 0 };
	error = does(t->op);
	ok(error == -EIO, "a damaged %s cannot be %s: %d", t->regions == 0 ? "record" : "region", t->what, error);
	look = serve(look);
	world_pass(10000);
	ok(look.attr.size == t->size && w.store_count == 0 && (w.commit_count == 0 || !world_commit_has(w.commits[0], FAR, KIND_REGION)),
	    "and stays as it is");
	world_replied(&look);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* What is damaged behind what is read is not fetched ahead of need. */
static void
test_ahead(void)
{
	struct op op = { .type = OP_READ, .ino = FAR, .size = 128 * 1024 };

	begin(REGIONS, REGIONS * REGION_SIZE, 0);
	records[1].value.data = NULL;
	records[2].value = (struct bytes){ (const uint8_t *)"\377\377\377", 3 };
	records[3].brefs.count = 0;
	w.fetch_count = 0;
	world_serve(&op, &far, records, count);
	ok(w.fetch_count == 1 && memcmp(w.fetches[0]->id, ids[0], ID_SIZE) == 0, "a reader goes on to regions that are damaged, and only the good one is fetched");
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], -EIO);
	world_collect();
	ok(w.reply_count == 1 && op.error == -EIO && world_sane(), "and fails if that fails");
	world_replied(&op);
	world_teardown();
}

/* ---- what is not there ---- */

/* Its attributes say that the content is in a record, and there is none. */
static void
test_no_record(void)
{
	begin(0, 100, ATTR_INLINE);
	count = 0;
	ok(does((struct op){ .type = OP_READ, .size = 10 }) == -EIO, "a content that is not there cannot be read");
	ok(does((struct op){ .type = OP_FALLOCATE, .offset = 10, .size = 10, .flags = PUNCH }) == 0, "but punched,");
	ok(does((struct op){ .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 50 }) == 0, "cut,");
	ok(does((struct op){ .type = OP_SETATTR, .set = SET_SIZE }) == 0, "emptied");
	ok(does((struct op){ .type = OP_WRITE, .data = world_text("new") }) == 0 && world_run(OP_FSYNC, FAR, 0) == 0, "and written anew");
	ok(does((struct op){ .type = OP_READ, .size = 10 }) == 0 && world_status().dirty_bytes == 0 && world_sane(), "and then it can");
	world_teardown();
}

/* FAR has a record of a kind that this client does not know, behind its regions: told before what else it has, which would be all. */
static void
give_unknown_kind(void)
{
	struct msg_record gift = { .kind = KIND_PATCH, .subkey = { subkeys[0], 8 }, .value = { content, 1 } };
	struct msg_answer answer = { .oid = FAR, .mode = MODE_EXCLUSIVE, .grant = 7, .version = 1, .records = { &gift, 1 } };

	world_grant(1000000, 0, &answer, 1);
}

/* A kind that this client does not know stands behind the regions. */
static void
test_unknown_kind(void)
{
	bool range = false, patch = false;

	begin(1, 1000, 0);
	give_unknown_kind();
	ok(does((struct op){ .type = OP_GETATTR }) == 0, "a file");
	ok(does((struct op){ .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 0 }) == 0, "is emptied that has a record of an unknown kind");
	world_pass(10000);
	for (unsigned i = 0; i < w.commit_count; i++) {
		patch |= world_commit_has(w.commits[i], FAR, KIND_PATCH);
		range |= world_commit_has(w.commits[i], FAR, KIND_REGION);
	}
	ok(range && !patch, "its regions go, and that is left alone");
	world_answer_all();
	world_teardown();
}

/* Of a file that is kept, only blocks that it still names, and none of what follows its regions. */
static void
test_kept(void)
{
	struct op op;

	begin(3, 3 * REGION_SIZE, 0);
	give_unknown_kind();
	ok(does((struct op){ .type = OP_GETATTR }) == 0, "a file");
	ok(does((struct op){ .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 2 * REGION_SIZE }) == 0 &&
	    does((struct op){ .type = OP_FALLOCATE, .offset = REGION_SIZE, .size = 1000, .flags = PUNCH }) == 0, "is cut and punched");
	op = serve((struct op){ .type = OP_KEEP, .round = 1 });
	ok(op.error == 0 && op.pieces[0].len == sizeof(struct kept_block) &&
	    memcmp(((const struct kept_block *)(const void *)op.pieces[0].data)->id, ids[0], ID_SIZE) == 0,
	    "and only the block that is left is kept");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* It has no region, but a record of an unknown kind: what is written goes into its record all the same. */
static void
test_small(void)
{
	bool region = false, record = false;

	begin(0, 0, 0);
	give_unknown_kind();
	ok(does((struct op){ .type = OP_GETATTR }) == 0, "an empty file");
	ok(does((struct op){ .type = OP_WRITE, .data = world_text("new") }) == 0, "is written to that has a record of an unknown kind");
	world_pass(10000);
	for (unsigned i = 0; i < w.commit_count; i++) {
		region |= world_commit_has(w.commits[i], FAR, KIND_REGION);
		record |= world_commit_has(w.commits[i], FAR, KIND_INLINE);
	}
	ok(record && !region && w.store_count == 0 && world_sane(), "its content is in its record");
	world_answer_all();
	world_teardown();
}

/* ---- what is next to nothing ---- */

static void
test_nothing(void)
{
	struct op op = { .type = OP_READ };

	begin(0, 10, ATTR_INLINE);
	op = serve(op);
	ok(op.error == 0 && op.pieces_count == 0, "nothing is read");
	world_replied(&op);
	op = serve((struct op){ .type = OP_WRITE, .offset = 5, .data = { (const uint8_t *)"", 0 } });
	ok(op.error == 0 && op.written == 0 && !engine_holds_content(w.engine, FAR), "and nothing written");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* A content in its record is written over by a whole region, which leaves at once. */
static void
test_whole_region(void)
{
	static const uint8_t whole[REGION_SIZE + 10] = { 'w' };
	bool region = false, record = false;
	uint64_t size = 0;

	for (unsigned more = 0; more <= 10; more += 10) {
		begin(0, 10, ATTR_INLINE);
		ok(does((struct op){ .type = OP_WRITE, .data = { whole, REGION_SIZE + more } }) == 0 && w.store_count == 1,
		    "a region is written over a record");
		world_stored(world_take_store());
		world_pass(10000);
		while (w.store_count > 0)
			world_stored(world_take_store());
		for (unsigned i = 0; i < 50; i++) {
			if (w.commit_count > 0) {
				region |= world_commit_has(w.commits[0], FAR, KIND_REGION);
				record |= world_commit_has(w.commits[0], FAR, KIND_INLINE);
				size = world_committed_size(w.commits[0], FAR);
			}
			world_answer_all();
			world_pass(100);
		}
		ok(region && record && size == REGION_SIZE + more && world_sane(), "and takes its place");
		world_teardown();
	}
}

int
main(void)
{
	world_begin();
	for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++)
		for (enum damage d = NOT_OPENED; d <= (trials[i].regions == 0 ? GARBLED : NO_SUCH_BLOCK); d++)
			test_damage(&trials[i], d);
	test_ahead();
	test_no_record();
	test_unknown_kind();
	test_kept();
	test_small();
	test_nothing();
	test_whole_region();
	volume_keys_free(w.keys);
	return tap_done();
}
