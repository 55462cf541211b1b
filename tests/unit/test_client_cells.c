/*
 * test_client_cells.c - the cache of opened cells (fs/cell.c): more of them
 * than its table is made for at first, no memory when one is to be added, and
 * what is asked for of a block of which some are here.
 *
 * Linked with --wrap for the allocator.
 */
#include "tests/unit/client_world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum {
	TABLE	= 1024,			/* fs/cell.c: of the first table */
	PIECE	= 16,			/* bytes of a block, of which each record names as many as it can */
	REGIONS	= TABLE / EXTENTS_MAX + 3,
};

static struct {
	bool		armed, none;		/* none: all fail */
	unsigned	count, fail_at;		/* since it was set; the one that fails */
} allocator;

static bool starving;			/* as cells come */
static unsigned again;			/* times that one had to be fetched twice */

static bool
fails(void)
{
	return allocator.none || (allocator.armed && ++allocator.count == allocator.fail_at);
}

#include "tests/unit/wrap_alloc.h"

static uint8_t ids[REGIONS][EXTENTS_MAX][ID_SIZE], subkeys[REGIONS][8], values[REGIONS][VALUE_MAX];
static struct msg_record records[REGIONS];
static const struct attr far = { .mode = S_IFREG | 0644, .nlink = 1, .size = (uint64_t)REGIONS * REGION_SIZE };

static_assert((int)REGIONS <= (int)SERVED_MAX && (int)EXTENTS_MAX <= (int)QUEUE_MAX, "the world has room for a file and what is fetched of it");

/* The bytes of a block begin as its id, which is spread like a real one. */
static void
make_far(void)
{
	struct extent extents[EXTENTS_MAX];
	uint64_t random = 1;

	for (unsigned i = 0; i < REGIONS; i++) {
		for (unsigned k = 0; k < EXTENTS_MAX; k++) {
			for (unsigned b = 0; b < ID_SIZE; b++) {
				random = random * 6364136223846793005u + 1442695040888963407u;
				ids[i][k][b] = random >> 56;
			}
			extents[k] = (struct extent){ .offset = k * PIECE, .length = PIECE, .ref = k };
		}
		subkeys[i][7] = i;
		records[i] = (struct msg_record){ .kind = KIND_REGION, .subkey = { subkeys[i], 8 },
		    .brefs = { (const uint8_t (*)[ID_SIZE])ids[i], EXTENTS_MAX },
		    .value = { values[i], (size_t)region_encode(extents, EXTENTS_MAX, values[i], sizeof values[i]) } };
	}
}

/* All that was asked for comes; so many cells. */
static unsigned
bring(void)
{
	struct fetch *asked[QUEUE_MAX];
	unsigned count = w.fetch_count;

	memcpy(asked, w.fetches, count * sizeof asked[0]);
	w.fetch_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct buffer *b = buffer_new(PIECE);

		memcpy(b->data, asked[i]->id, PIECE);
		b->size = PIECE;
		asked[i]->cells[0] = b;
		allocator.armed = starving;
		engine_fetched(w.engine, asked[i], 0);
		allocator.armed = false;
	}
	world_collect();
	return count;
}

/* Reads the pieces of a region; the cells that had to be fetched, or UINT32_MAX when the bytes are wrong. */
static unsigned
read_region(unsigned region)
{
	struct op op = { .type = OP_READ, .ino = FAR, .offset = (uint64_t)region * REGION_SIZE, .size = EXTENTS_MAX * PIECE };
	unsigned fetched = 0;
	bool fine, done = world_serve(&op, &far, records, REGIONS);

	w.reply_count = 0;
	for (unsigned i = 0; i < 10 && !done; i++) {
		fetched += bring();
		done = w.reply_count > 0;
	}
	fine = done && op.error == 0 && op.pieces_count == EXTENTS_MAX;
	for (unsigned k = 0; fine && k < EXTENTS_MAX; k++)
		fine = op.pieces[k].len == PIECE && memcmp(op.pieces[k].data, ids[region][k], PIECE) == 0;
	world_replied(&op);
	return fine ? fetched : UINT32_MAX;
}

/* Reads all of it from region `from` on. */
static unsigned
read_from(unsigned from)
{
	unsigned fetched = 0;

	for (unsigned i = from; i < REGIONS; i++) {
		unsigned more = read_region(i);

		if (more == UINT32_MAX)
			return more;
		fetched += more;
	}
	return fetched;
}

static void
test_many(void)
{
	world_setup();
	ok(read_from(0) == REGIONS * EXTENTS_MAX, "a file of %u blocks is fetched, each of them once", REGIONS * EXTENTS_MAX);
	ok(read_from(0) == 0, "and all of them are found then");
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* As cells come for which the table is made, or grows, allocation n fails; false: there are not so many. */
static bool
starve(unsigned full, unsigned n, bool *fine)
{
	unsigned fetched;

	world_setup();
	for (unsigned i = 0; i < full; i++)
		*fine &= read_region(i) == EXTENTS_MAX;
	allocator.count = 0;
	allocator.fail_at = n;
	starving = true;
	fetched = read_region(full);
	starving = false;
	if (fetched == UINT32_MAX)	/* told so: it is asked again */
		fetched = read_region(full);
	*fine &= fetched < 2 * EXTENTS_MAX && read_from(full) < REGIONS * EXTENTS_MAX && read_from(0) == 0 && world_sane();
	again += fetched == EXTENTS_MAX + 1;
	world_teardown();
	return allocator.count >= n;
}

static void
test_starved(unsigned full, const char *what)
{
	bool fine = true;
	unsigned n = 1;

	again = 0;
	while (n < 1000 && starve(full, n, &fine))
		n++;
	ok(fine && again > 0, "%s: each of %u allocations may fail; a cell that there was no memory for is asked for again", what, n - 1);
}

/* ---- one block of several cells ---- */

enum { CELLS = 4 };

static struct attr wide = { .mode = S_IFREG | 0644, .nlink = 1, .size = CELLS * CELL_SIZE };
static struct msg_record block;

static bool
read_cells(struct op *op, unsigned first, unsigned count)
{
	*op = (struct op){ .type = OP_READ, .ino = FAR, .offset = first * CELL_SIZE, .size = count * CELL_SIZE };
	return world_serve(op, &wide, &block, 1);
}

/* The first of what was asked for is answered, with these of its cells (a bit each). */
static void
answer(unsigned which, int error)
{
	struct fetch *f = w.fetches[0];

	memmove(w.fetches, w.fetches + 1, --w.fetch_count * sizeof w.fetches[0]);
	for (unsigned i = 0; i < f->count; i++)
		if (which >> i & 1) {
			f->cells[i] = buffer_new(CELL_SIZE);
			memset(f->cells[i]->data, 'a' + f->first + (int)i, CELL_SIZE);
			f->cells[i]->size = CELL_SIZE;
		}
	engine_fetched(w.engine, f, error);
	world_collect();
}

static bool
asked(unsigned at, unsigned first, unsigned count)
{
	return w.fetch_count > at && w.fetches[at]->first == first && w.fetches[at]->count == count;
}

static bool
bytes_of(const struct op *op, unsigned first, unsigned count)
{
	bool fine = op->error == 0 && op->pieces_count == count;

	for (unsigned i = 0; fine && i < count; i++)
		fine = op->pieces[i].len == CELL_SIZE && op->pieces[i].data[0] == 'a' + first + i;
	return fine;
}

static void
begin_block(void)
{
	static const struct extent all = { .length = CELLS * CELL_SIZE };

	world_setup();
	block = (struct msg_record){ .kind = KIND_REGION, .subkey = { subkeys[0], 8 }, .brefs = { (const uint8_t (*)[ID_SIZE])ids[0], 1 },
	    .value = { values[0], (size_t)region_encode(&all, 1, values[0], sizeof values[0]) } };
	w.fetch_count = w.reply_count = 0;
}

/* Only what is neither here nor on its way is asked for. */
static void
test_between(void)
{
	struct op one, other, all;

	begin_block();
	ok(!read_cells(&one, 1, 1) && asked(0, 1, 1) && w.fetch_count == 1, "a cell is asked for");
	ok(!read_cells(&other, 2, 1) && asked(1, 2, 1) && w.fetch_count == 2, "and another");
	answer(1, 0);
	ok(w.reply_count == 1 && bytes_of(&one, 1, 1), "the first comes");
	world_replied(&one);
	ok(!read_cells(&all, 0, CELLS) && asked(1, 0, 1) && asked(2, 3, 1) && w.fetch_count == 3, "a cell that is here is not asked for again,");
	answer(1, 0);
	world_replied(&other);
	answer(1, 0);
	answer(1, 0);
	ok(bytes_of(&all, 0, CELLS), "which is read with those that were not");
	world_replied(&all);
	ok(world_sane(), "the invariants hold");
	world_teardown();

	begin_block();
	read_cells(&one, 1, 1);
	ok(!read_cells(&all, 0, CELLS) && asked(1, 0, 1) && asked(2, 2, 2) && w.fetch_count == 3, "nor is one that is on its way");
	while (w.fetch_count > 0)
		answer(3, 0);
	ok(w.reply_count == 2 && bytes_of(&one, 1, 1) && bytes_of(&all, 0, CELLS), "all of them are read when all are here");
	world_replied(&one);
	world_replied(&all);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* One cell of an answer is not there, or did not open: those beside it are good. */
static void
test_part(int error)
{
	struct op op;

	begin_block();
	ok(!read_cells(&op, 0, CELLS) && asked(0, 0, CELLS) && w.fetch_count == 1, "all cells are asked for");
	answer(8 | 4 | 1, error);
	ok(w.reply_count == 1 && op.error == -EIO, "without one of them it is an error");
	world_replied(&op);
	ok(read_cells(&op, 2, 1) && bytes_of(&op, 2, 1), "what came is here,");
	world_replied(&op);
	w.reply_count = 0;
	ok(!read_cells(&op, 0, CELLS) && asked(0, 1, 1) && w.fetch_count == 1, "and what did not is asked for again");
	answer(1, 0);
	ok(w.reply_count == 1 && bytes_of(&op, 0, CELLS), "by the next who reads it");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* Another looks at a cell that came beside the one that did not. */
static void
test_beside(void)
{
	struct op all, one;

	begin_block();
	read_cells(&all, 0, CELLS);
	ok(!read_cells(&one, 3, 1) && w.fetch_count == 1, "two wait for one answer");
	answer(8 | 4 | 1, -EIO);
	ok(w.reply_count == 2 && all.error == -EIO && bytes_of(&one, 3, 1), "who does not need the cell that did not come is not failed");
	world_replied(&all);
	world_replied(&one);
	w.reply_count = 0;
	ok(!read_cells(&all, 0, CELLS) && asked(0, 1, 1) && w.fetch_count == 1, "and the next asks for that again");
	answer(1, 0);
	ok(w.reply_count == 1 && bytes_of(&all, 0, CELLS), "and gets it");
	world_replied(&all);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* Nobody waits any more for an answer of which a part did not come. */
static void
test_interrupted(void)
{
	struct op op;

	begin_block();
	read_cells(&op, 0, CELLS);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	ok(w.reply_count == 1 && op.error == -EINTR, "a reader gives up as the server is away");
	world_replied(&op);
	w.reply_count = 0;
	answer(8 | 4 | 1, -EIO);
	ok(!read_cells(&op, 0, CELLS) && asked(0, 1, 1) && w.fetch_count == 1, "the cell that did not come is asked for again, and no other");
	answer(1, 0);
	ok(w.reply_count == 1 && bytes_of(&op, 0, CELLS), "and all are read");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* Actions that were made ahead go for sweeps that nobody needs. */
static void
use_up_spares(void)
{
	allocator.none = true;
	for (unsigned i = 0; i < 100; i++) {
		engine_sleep(w.engine, true);
		engine_sleep(w.engine, false);
		world_collect();
	}
	allocator.none = false;
}

/* With nothing set aside, allocation n of a READ that has to fetch a cell fails; false: there are not so many. */
static bool
unasked(unsigned n, bool *fine)
{
	struct op one, op = { .type = OP_READ, .ino = FAR, .offset = CELL_SIZE, .size = CELL_SIZE };
	bool reached, done;

	begin_block();
	read_cells(&one, 3, 1);
	answer(1, 0);
	world_replied(&one);
	use_up_spares();
	allocator.count = 0;
	allocator.fail_at = n;
	allocator.armed = true;
	done = world_submit(&op);
	allocator.armed = false;
	reached = allocator.count >= n;
	*fine &= reached ? done && op.error == -ENOMEM && w.fetch_count == 0 : !done;
	if (done) {
		world_replied(&op);
		*fine &= !world_submit(&op);
	}
	w.reply_count = 0;
	*fine &= asked(0, 1, 1) && w.fetch_count == 1;
	answer(1, 0);
	world_pass(100);
	*fine &= w.reply_count == 1 && bytes_of(&op, 1, 1) && world_sane();
	world_replied(&op);
	world_teardown();
	return reached;
}

static void
test_unasked(void)
{
	bool fine = true;
	unsigned n = 1;

	while (n < 100 && unasked(n, &fine))
		n++;
	ok(fine && n > 2 && n < 100, "a cell that there is no memory for asking for is asked for by the next (%u allocations)", n - 1);
}

int
main(void)
{
	world_begin();
	make_far();
	test_many();
	test_starved(0, "a first table");
	test_starved(TABLE / EXTENTS_MAX, "one that grows");
	test_between();
	test_part(-EIO);
	test_part(0);
	test_beside();
	test_interrupted();
	test_unasked();
	volume_keys_free(w.keys);
	return tap_done();
}
