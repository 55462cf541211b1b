/* test_batch.c - every batch comes back as it was built; every cut or flip is refused or harmless. */
#include "server/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void
build(struct batch *b)
{
	static const uint8_t id[ID_SIZE] = { 9, 8, 7 };

	batch_init(b);
	batch_put(b, text("key"), text("value"));
	batch_put(b, text("empty"), (struct bytes){ NULL, 0 });
	batch_delete(b, text("key2"));
	batch_delete_range(b, text("a"), text("ab"));
	batch_block_put(b, id, text("block"));
	batch_block_free(b, id);
	batch_block_at(b, BATCH_BLOCK_AT, id, (struct block_place){ 1, 2, 3, 4 });
	batch_block_at(b, BATCH_BLOCK_MOVED, id, (struct block_place){ 5, 6, 7, 8 });
}

/* Reads all operations; how many, or a negative errno. */
static int
count(const uint8_t *data, size_t len)
{
	struct cursor c = cursor_read(data, len);
	struct batch_op op;
	int n = 0, rc;

	while ((rc = batch_next(&c, &op)) == 1)
		n++;
	return rc < 0 ? rc : n;
}

int
main(void)
{
	static const enum batch_type types[] = { BATCH_PUT, BATCH_PUT, BATCH_DELETE, BATCH_DELETE_RANGE, BATCH_BLOCK_PUT,
		BATCH_BLOCK_FREE, BATCH_BLOCK_AT, BATCH_BLOCK_MOVED };
	struct batch b;
	struct cursor c;
	struct batch_op op;
	bool good = true;
	size_t n = 0;

	build(&b);
	ok(batch_error(&b) == 0, "built");
	c = cursor_read(b.data, b.len);
	while (batch_next(&c, &op) == 1)
		good &= n < 8 && op.type == types[n++];
	ok(good && n == 8 && op.place.segment == 5 && op.place.offset == 6 && op.place.len == 7 && op.place.sum == 8,
	    "all operations come back in order");
	for (size_t cut = 0; cut < b.len; cut++) {
		/* Exactly that long, so that a sanitizer sees every byte read beyond it. */
		uint8_t *part = malloc(cut + 1);

		memcpy(part + 1, b.data, cut);
		n = (size_t)count(part + 1, cut);
		good &= n < 8 || (int)n == -EBADMSG;
		free(part);
	}
	ok(good, "every truncation is refused or ends between operations");
	for (size_t at = 0; at < b.len; at++)
		for (unsigned v = 0; v < 256; v++) {
			uint8_t old = b.data[at];

			b.data[at] = (uint8_t)v;
			good &= count(b.data, b.len) <= 64;
			b.data[at] = old;
		}
	ok(good, "no byte does harm");
	batch_clear(&b);
	batch_put(&b, text(""), text("x"));
	batch_put(&b, text("k"), text("x"));
	ok(batch_error(&b) == -EINVAL && b.len == 0, "the first failure sticks");
	batch_clear(&b);
	batch_put(&b, text("k"), text("x"));
	ok(batch_error(&b) == 0 && count(b.data, b.len) == 1, "until it is cleared");
	batch_done(&b);
	return tap_done();
}
