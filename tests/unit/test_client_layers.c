/*
 * test_client_layers.c - records of content that do not fit what they speak of,
 * as another member or a faulty client might have left them: an error of who
 * reads there, and nothing else.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { SIZE = 900 };

static const struct attr inlined = { .mode = S_IFREG | 0644, .nlink = 1, .size = SIZE, .flags = ATTR_INLINE };
static const struct attr in_blocks = { .mode = S_IFREG | 0644, .nlink = 1, .size = SIZE };

/* Answers READs of FAR with this one record of that kind, or none, until op is answered or wants content. */
static void
answer(struct op *op, const struct attr *attr, uint8_t kind, struct msg_record *record)
{
	struct msg_answer answers[WANTS_MAX];

	w.reply_count = w.fetch_count = 0;
	if (world_submit(op))
		return;
	for (unsigned n = 0; n < 8 && w.reply_count == 0 && w.fetch_count == 0; n++) {
		for (uint32_t i = 0; i < w.read.wants.count; i++) {
			answers[i] = world_object(FAR, MODE_SHARED, 7, 1, attr);
			if (w.wants[i].kind == kind) {
				answers[i].records.at = record;
				answers[i].records.count = record != NULL;
			} else if (w.wants[i].kind != KIND_ATTR)
				answers[i].records.count = 0;
		}
		world_grant(w.last_read, 1, answers, w.read.wants.count);
	}
}

static struct op
a_read(void)
{
	return (struct op){ .type = OP_READ, .ino = FAR, .size = 100 };
}

static struct msg_record
region(struct extent extent, uint8_t value[200])
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };

	return (struct msg_record){ .kind = KIND_REGION, .subkey = { subkey, sizeof subkey }, .brefs = { ids, 1 },
	    .value = { value, (size_t)region_encode(&extent, 1, value, 200) } };
}

/* A cell of so many bytes comes. */
static void
fetched(size_t len)
{
	struct fetch *f = w.fetches[0];

	for (unsigned i = 0; i < f->count; i++) {
		f->cells[i] = buffer_new(CELL_SIZE);
		memset(f->cells[i]->data, 'x', len);
		f->cells[i]->size = len;
	}
	w.fetch_count = 0;
	engine_fetched(w.engine, f, 0);
	world_collect();
}

static void
without_record(void)
{
	struct op op = a_read();

	world_setup();
	answer(&op, &inlined, KIND_INLINE, NULL);
	ok(op.error == -EIO && w.fetch_count == 0, "content that should be in a record of the file, and is not, is an error");
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static void
extents(void)
{
	static const struct { const char *what; struct extent extent; size_t cell; int error; } cases[] = {
		{ "an extent of a block that the record does not name is an error", { .length = SIZE, .ref = 1 }, 0, -EIO },
		{ "one beyond the end of its block is", { .length = SIZE }, SIZE - 1, -EIO },
		{ "one in it is read", { .length = SIZE }, SIZE, 0 },
	};

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t value[200];
		struct msg_record record = region(cases[i].extent, value);
		struct op op = a_read();

		op.size = SIZE;
		world_setup();
		answer(&op, &in_blocks, KIND_REGION, &record);
		if (cases[i].cell > 0 && w.fetch_count > 0)
			fetched(cases[i].cell);
		ok(w.reply_count == 1 && op.error == cases[i].error && (op.error < 0 || op.pieces[0].len == SIZE), "%s", cases[i].what);
		world_replied(&op);
		ok(world_sane(), "the invariants hold");
		world_teardown();
	}
}

int
main(void)
{
	world_begin();
	without_record();
	extents();
	return tap_done();
}
