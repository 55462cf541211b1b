/*
 * test_client_cells.c - the cache of opened cells (fs/cell.c) with more cells
 * than its table is made for at first, and with no memory when one is to be
 * added.
 *
 * Linked with --wrap for the allocator.
 */
#include "tests/unit/client_world.h"

#include <assert.h>
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
	bool		armed;
	unsigned	count, fail_at;		/* since it was set; the one that fails */
} allocator;

static bool starving;			/* as cells come */
static unsigned again;			/* times that one had to be fetched twice */

static bool
fails(void)
{
	return allocator.armed && ++allocator.count == allocator.fail_at;
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

int
main(void)
{
	world_begin();
	make_far();
	test_many();
	test_starved(0, "a first table");
	test_starved(TABLE / EXTENTS_MAX, "one that grows");
	volume_keys_free(w.keys);
	return tap_done();
}
