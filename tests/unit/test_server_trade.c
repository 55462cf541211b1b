/*
 * test_server_trade.c - what a removal is worth to a full server: work that
 * comes with it is taken if it costs less than what becomes free (R10).
 */
#include "tests/unit/server_world.h"

#include <stdlib.h>
#include <string.h>

#include "server/layout.h"
#include "tests/sim/memstore.h"
#include "tests/tap.h"

enum {
	VOLUME		= 1,		/* the world's one, by number */
	BLOCK_LEN	= 100,
	HEADER_BYTES	= 14 + 40,	/* of a key and its value: an object's own row, */
	ATTR_BYTES	= 14 + 20,	/* its attributes, */
	REGION_BYTES	= 22 + 17,	/* a region without blocks, */
	ENTRY_GROWTH	= 10 + 8 + 4,	/* and what counts as growth when they come or go */
	REGION_GROWTH	= 10 + 7,
	LOOKED		= 1024,		/* server/reap.c, server/commit.c: the most records, objects or blocks looked at */
	CHANGES		= 4096,
};

static struct world w;
static struct client a;
static struct msg_change changes[CHANGES];
static uint8_t names[CHANGES][ID_SIZE];		/* that differ */
static uint64_t orefs[CHANGES];

static void
begin(void)
{
	world_init(&w, NULL);
	a = client_new(&w, 1);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	for (unsigned i = 0; i < CHANGES; i++) {
		names[i][0] = 1 + (i >> 8);
		names[i][1] = (uint8_t)i;
	}
}

/* The first changes, which are of these two objects; what this session wrote last has the right version. */
static enum status
commit(uint64_t one, uint64_t two, uint32_t count, struct msg_small_block *blocks, uint32_t block_count)
{
	struct msg_base bases[] = { { .oid = one }, { .oid = two } };
	struct message m = { .type = MSG_commit, .commit = { .sequence = ++a.sequence, .bases = { bases, 2 },
	    .changes = { changes, count }, .blocks = { blocks, block_count } } };
	const struct message *back;

	world_send(&w, a.control, &m);
	back = world_take(&w, a.control, MSG_committed);
	if (back == NULL)
		return STATUS_COUNT;
	if (back->committed.status == STATUS_NOSPC)
		a.sequence--;		/* not consumed */
	return back->committed.status;
}

static void
must(enum status status)
{
	if (status != STATUS_OK) {
		printf("# status %d\n", (int)status);
		abort();
	}
}

/* A file in the root, of `records` regions; each refers to a block of its own if `blocks` are there. */
static void
make_file(uint64_t oid, uint8_t name, unsigned records, bool blocks)
{
	static struct msg_small_block carried[CHANGES];
	static const uint8_t data[BLOCK_LEN];

	changes[0] = change_attr(OID_ROOT);
	changes[1] = change_attr(oid);
	changes[2] = change_entry(OID_ROOT, name, oid);
	for (unsigned i = 0; i < records; i++) {
		changes[3 + i] = change_region(oid, 0, blocks);
		changes[3 + i].subkey.data = names[i];
		changes[3 + i].brefs.at = (const uint8_t (*)[ID_SIZE])names[i];
		memcpy(carried[i].id, names[i], ID_SIZE);
		carried[i].data = (struct bytes){ data, sizeof data };
	}
	must(commit(OID_ROOT, OID_ROOT, 3 + records, carried, blocks ? records : 0));
}

/* The first `count` changes remove something, which counts as `growth` bytes less; the root grows by that, and `cost` more. */
static enum status
trade(uint64_t oid, uint32_t count, uint64_t growth, uint64_t cost)
{
	static const uint8_t value[3000];
	static unsigned name;

	for (uint64_t left = growth + cost, part; left > 0; left -= part) {
		part = left > 2 * sizeof value ? sizeof value : left > sizeof value ? left / 2 : left;
		changes[count++] = (struct msg_change){ .op = CHANGE_PUT, .oid = OID_ROOT, .kind = KIND_XATTR,
		    .subkey = { names[name++ % CHANGES], TOKEN_SIZE }, .value = { value, part - RECORD_ROW_HEAD } };
	}
	return commit(OID_ROOT, oid, count, NULL, 0);
}

static enum status
trade_file(uint8_t name, uint64_t cost)
{
	changes[0] = change_unlink(OID_ROOT, name);
	return trade(OID_ROOT, 1, ENTRY_GROWTH, cost);
}

/* Reaps what was removed and has all as it should be. */
static void
end(void)
{
	memstore_set_full(w.store, false);
	world_pass(&w, 60000);
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* ---- blocks ---- */

enum { BLOCKS = 20, ROWS_ALONE = HEADER_BYTES + ATTR_BYTES + BLOCKS * (REGION_BYTES + ID_SIZE) };

static void
change_rows(void (*change)(struct batch *b, unsigned i))
{
	struct batch b;
	uint64_t pos;

	batch_init(&b);
	for (unsigned i = 0; i < BLOCKS; i++)
		change(&b, i);
	must(store_apply(w.store, &b, STORE_FREES, &pos) < 0 ? STATUS_IO : STATUS_OK);
	batch_done(&b);
	world_sync(&w);
}

static void
lose_row(struct batch *b, unsigned i)
{
	struct key key = key_block(ROW_BLOCK, VOLUME, names[i]);

	batch_delete(b, key_bytes(&key));
}

static void
damage_row(struct batch *b, unsigned i)
{
	struct key key = key_block(ROW_BLOCK, VOLUME, names[i]);

	batch_put(b, key_bytes(&key), (struct bytes){ names[i], 3 });
}

static void
lose_bytes(struct batch *b, unsigned i)
{
	batch_block_free(b, names[i]);
}

static void
damage_record(struct batch *b, unsigned i)
{
	struct key key = key_record(VOLUME, a.at.first_oid, KIND_REGION, (struct bytes){ names[i], 8 });

	batch_put(b, key_bytes(&key), (struct bytes){ names[i], 3 });
}

static void
test_blocks(void)
{
	begin();
	make_file(a.at.first_oid, 1, BLOCKS, true);
	make_file(a.at.first_oid + 1, 2, BLOCKS, true);
	memstore_set_full(w.store, true);
	ok(trade_file(1, ROWS_ALONE + BLOCKS * BLOCK_LEN / 2) == STATUS_NOSPC, "blocks that another file has too are not made free");
	ok(trade_file(1, ROWS_ALONE - 100) == STATUS_OK, "though records are");
	world_pass(&w, 1000);
	ok(trade_file(2, ROWS_ALONE + BLOCKS * BLOCK_LEN + 500) == STATUS_NOSPC, "what costs more than all of a file is refused");
	ok(trade_file(2, ROWS_ALONE + BLOCKS * BLOCK_LEN / 2) == STATUS_OK, "what costs less is taken, when it is the last of them");
	end();
}

/* Where the store is damaged it may refuse more than it has to, but goes on. */
static void
test_damage(void)
{
	static const struct {
		const char	*what;
		void		(*change)(struct batch *b, unsigned i);
		unsigned	 less;		/* that the rows are worth, too */
	} ways[] = {
		{ "without a count of references", lose_row, 0 },
		{ "with one that is damaged", damage_row, 0 },
		{ "whose bytes are gone", lose_bytes, 0 },
		{ "of records that are damaged", damage_record, BLOCKS * (REGION_BYTES + ID_SIZE - 22 - 3) },
	};

	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		begin();
		make_file(a.at.first_oid, 1, BLOCKS, true);
		world_sync(&w);
		change_rows(ways[i].change);
		memstore_set_full(w.store, true);
		ok(trade_file(1, ROWS_ALONE + BLOCKS * BLOCK_LEN / 2) == STATUS_NOSPC, "blocks %s are worth nothing", ways[i].what);
		ok(trade_file(1, ROWS_ALONE - ways[i].less - 100) == STATUS_OK, "the records of their file are");
		world_done(&w);
	}
}

/* The commit itself takes the last reference. */
static void
test_blocks_at_once(void)
{
	enum { COUNT = LOOKED + 76, GROWTH = COUNT * (REGION_GROWTH + ID_SIZE) };

	begin();
	make_file(a.at.first_oid, 1, COUNT, true);
	memstore_set_full(w.store, true);
	changes[0] = change_cut(a.at.first_oid, KIND_REGION);
	ok(trade(a.at.first_oid, 1, GROWTH, (LOOKED + 30) * BLOCK_LEN) == STATUS_NOSPC, "of many blocks not all are looked at");
	changes[0] = change_cut(a.at.first_oid, KIND_REGION);
	ok(trade(a.at.first_oid, 1, GROWTH, (LOOKED - 30) * BLOCK_LEN) == STATUS_OK, "but most of them");
	end();
	begin();
	make_file(a.at.first_oid, 1, BLOCKS, true);
	make_file(a.at.first_oid + 1, 2, 1, true);
	memstore_set_full(w.store, true);
	changes[0] = (struct msg_change){ .op = CHANGE_DELETE, .oid = a.at.first_oid, .kind = KIND_REGION, .subkey = { names[0], 8 } };
	ok(trade(a.at.first_oid, 1, REGION_GROWTH + ID_SIZE, BLOCK_LEN / 2) == STATUS_NOSPC, "a block that is referred to elsewhere is worth nothing");
	changes[0].subkey.data = names[1];
	ok(trade(a.at.first_oid, 1, REGION_GROWTH + ID_SIZE, BLOCK_LEN / 2) == STATUS_OK, "another is");
	changes[0] = change_cut(a.at.first_oid, KIND_REGION);
	ok(trade(a.at.first_oid, 1, (BLOCKS - 1) * (REGION_GROWTH + ID_SIZE), 2 * BLOCK_LEN) == STATUS_OK, "a few of many may do");
	end();
}

/* ---- objects ---- */

/* Counting ends where it takes long. */
static void
test_records(void)
{
	enum { COUNT = LOOKED + 476 };

	begin();
	make_file(a.at.first_oid, 1, COUNT, false);
	memstore_set_full(w.store, true);
	ok(trade_file(1, (LOOKED + 130) * REGION_BYTES) == STATUS_NOSPC, "of many records not all are looked at");
	ok(trade_file(1, (LOOKED - 130) * REGION_BYTES) == STATUS_OK, "but most of them");
	end();
}

static void
test_objects(void)
{
	enum { COUNT = LOOKED + 76, EACH = HEADER_BYTES + ATTR_BYTES };

	begin();
	changes[0] = change_attr(OID_ROOT);
	for (unsigned i = 0; i < COUNT; i++) {
		orefs[i] = a.at.first_oid + i;
		changes[1 + 2 * i] = change_attr(orefs[i]);
		changes[2 + 2 * i] = change_entry(OID_ROOT, 0, 0);
		changes[2 + 2 * i].subkey.data = names[i];
		changes[2 + 2 * i].orefs.at = &orefs[i];
	}
	must(commit(OID_ROOT, OID_ROOT, 1 + 2 * COUNT, NULL, 0));
	memstore_set_full(w.store, true);
	changes[0] = change_cut(OID_ROOT, KIND_ENTRY);
	ok(trade(OID_ROOT, 1, COUNT * ENTRY_GROWTH, (LOOKED + 30) * EACH) == STATUS_NOSPC, "of many files not all are looked at");
	changes[0] = change_cut(OID_ROOT, KIND_ENTRY);
	ok(trade(OID_ROOT, 1, COUNT * ENTRY_GROWTH, (LOOKED - 30) * EACH) == STATUS_OK, "but most of them");
	end();
}

/* Whose name goes, and nothing else. */
static void
test_kept(void)
{
	struct msg_change name;

	begin();
	make_file(a.at.first_oid, 1, BLOCKS, true);
	make_file(a.at.first_oid + 1, 2, BLOCKS, false);
	client_lease(&a, OID_RENAME, MODE_EXCLUSIVE);
	changes[0] = change_attr(OID_RENAME);
	changes[1] = change_entry(OID_ROOT, 3, OID_RENAME);
	changes[2] = change_entry(OID_ROOT, 4, a.at.first_oid + 1);
	must(commit(OID_ROOT, OID_RENAME, 3, NULL, 0));
	client_pin(&a, a.at.first_oid, true);
	memstore_set_full(w.store, true);
	ok(trade_file(1, 10) == STATUS_NOSPC, "a file that is open is not made free");
	ok(trade_file(3, 10) == STATUS_NOSPC, "nor is what always is there");
	name = change_entry(OID_ROOT, 9, a.at.first_oid + 1);
	changes[0] = change_unlink(OID_ROOT, 2);
	changes[1] = name;
	ok(trade(OID_ROOT, 2, 0, 10) == STATUS_NOSPC, "nor what is renamed");
	ok(trade_file(2, 10) == STATUS_NOSPC, "nor what has another name");
	client_pin(&a, a.at.first_oid, false);
	changes[0] = change_unlink(OID_ROOT, 1);
	changes[1] = change_unlink(OID_ROOT, 2);
	changes[2] = change_unlink(OID_ROOT, 4);
	ok(trade(OID_ROOT, 3, 3 * ENTRY_GROWTH, 100) == STATUS_OK, "a file that nobody has is, and the first of two may do");
	end();
}

int
main(void)
{
	test_blocks();
	test_damage();
	test_blocks_at_once();
	test_records();
	test_objects();
	test_kept();
	return tap_done();
}
