/*
 * conform.h - what every store must do, whichever stands behind store.h.
 *
 * All of it is static, as tap.h is, so that each test counts its own cases.
 */
#ifndef TESTS_UNIT_CONFORM_H
#define TESTS_UNIT_CONFORM_H

#include "server/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

#define UNUSED __attribute__((unused))

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static bool
bytes_same(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* An id whose bytes all derive from `n`. */
static void
block_id(uint8_t ret_id[ID_SIZE], uint64_t n)
{
	for (int i = 0; i < ID_SIZE; i++, n = n * UINT64_C(6364136223846793005) + 1442695040888963407)
		ret_id[i] = (uint8_t)(n >> 56 ^ n);
}

/* `len` bytes that all derive from `n`; free() them. */
static uint8_t *
block_bytes(uint64_t n, size_t len)
{
	uint8_t *data = malloc(len);

	for (size_t i = 0; data != NULL && i < len; i++, n = n * UINT64_C(6364136223846793005) + 1442695040888963407)
		data[i] = (uint8_t)(n >> 32);
	return data;
}

/* True if the key is there with this value; NULL: if it is absent. */
static bool
holds(struct store *s, const char *key, const char *value)
{
	struct bytes found;
	int rc = store_get(s, text(key), &found);

	return value == NULL ? rc == -ENOENT : rc == 0 && bytes_same(found, text(value));
}

/* True if block `n` is there with its bytes; len 0: if it is absent. */
static bool
holds_block(struct store *s, uint64_t n, uint32_t len)
{
	uint8_t id[ID_SIZE], *want, *got;
	struct block_ref *ref = NULL;
	bool same;

	block_id(id, n);
	if (len == 0)
		return store_block_exists(s, id) == 0 && store_block_find(s, id, &ref) == -ENOENT;
	if (store_block_exists(s, id) != 1 || store_block_find(s, id, &ref) != 0)
		return false;
	want = block_bytes(n, len);
	got = malloc(len);
	same = ref->len == len && store_block_read(ref, 0, len, got) == 0 && memcmp(want, got, len) == 0;
	if (same && len > 2)
		same = store_block_read(ref, 1, len - 2, got) == 0 && memcmp(want + 1, got, len - 2) == 0;
	store_block_put_ref(ref);
	free(want);
	free(got);
	return same;
}

/* Applies and empties the batch; its position or a negative errno. */
static int64_t
apply(struct store *s, struct batch *b, unsigned flags)
{
	uint64_t pos = 0;
	int rc = store_apply(s, b, flags, &pos);

	batch_clear(b);
	return rc < 0 ? rc : (int64_t)pos;
}

UNUSED static int64_t
put(struct store *s, const char *key, const char *value)
{
	struct batch b = { 0 };
	int64_t pos;

	batch_put(&b, text(key), text(value));
	pos = apply(s, &b, 0);
	batch_done(&b);
	return pos;
}

/* Reserves, writes and finishes block `n`; its position or a negative errno. */
static int64_t
put_large(struct store *s, uint64_t n, uint32_t len)
{
	uint8_t id[ID_SIZE], *data = block_bytes(n, len);
	struct block_ticket *ticket;
	uint64_t pos = 0;
	int rc, finished;

	block_id(id, n);
	rc = store_block_reserve(s, id, len, 0, &ticket);
	if (rc == 0) {
		rc = store_block_write(ticket, data);
		finished = store_block_finish(ticket, rc == 0, &pos);
		rc = rc != 0 ? rc : finished;
	}
	free(data);
	return rc < 0 ? rc : (int64_t)pos;
}

struct listing {
	char	 text[1024];	/* "key=value " each */
	size_t	 len;
	int	 left;		/* stop when it reaches 0 */
};

static int
listing_visit(void *arg, struct bytes key, struct bytes value)
{
	struct listing *l = arg;

	l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "%.*s=%.*s ",
	    (int)key.len, (const char *)key.data, (int)value.len, (const char *)value.data);
	return --l->left == 0 ? 7 : 0;
}

/* True if a scan that stops after `most` keys (0: never) lists `want`. */
static bool
lists(struct store *s, const char *from, const char *to, int most, const char *want)
{
	struct listing l = { .left = most };
	int rc = store_scan(s, text(from), text(to), listing_visit, &l);

	l.text[l.len] = 0;
	return rc == (most > 0 ? 7 : 0) && strcmp(l.text, want) == 0;
}

static void
conform_keys(struct store *s, const char *name)
{
	struct batch b = { 0 };
	uint8_t long_key[STORE_KEY_MAX + 1], *value = block_bytes(5, STORE_VALUE_MAX + 1);
	struct bytes found;
	int64_t pos, empty;

	memset(long_key, 0xff, sizeof long_key);
	ok(holds(s, "a", NULL) && lists(s, "a", "z", 0, ""), "%s: empty at first", name);
	batch_put(&b, text("b"), text("2"));
	batch_put(&b, text("a"), text("1"));
	batch_put(&b, text("ab"), text(""));
	batch_put(&b, text("c"), text("old"));
	batch_put(&b, text("c"), text("3"));
	batch_put(&b, text("gone"), text("4"));
	batch_delete(&b, text("gone"));
	batch_delete(&b, text("never"));
	pos = apply(s, &b, 0);
	ok(pos > 0 && holds(s, "a", "1") && holds(s, "ab", "") && holds(s, "c", "3") && holds(s, "gone", NULL),
	    "%s: a batch's operations take effect in order", name);
	ok(lists(s, "a", "c", 0, "a=1 ab= b=2 c=3 ") && lists(s, "aa", "bz", 0, "ab= b=2 ") &&
	    lists(s, "a", "z", 2, "a=1 ab= ") && lists(s, "d", "z", 0, "") && lists(s, "z", "a", 0, ""),
	    "%s: a scan is ordered, bounded and stops when told", name);
	empty = apply(s, &b, 0);
	ok(empty == pos && store_end(s) == (uint64_t)pos, "%s: an empty batch is no entry", name);
	batch_delete_range(&b, text("ab"), text("b"));
	ok(apply(s, &b, STORE_FREES) > pos && lists(s, "a", "z", 0, "a=1 c=3 "), "%s: a range goes, both ends included",
	    name);
	batch_put(&b, (struct bytes){ long_key, STORE_KEY_MAX }, (struct bytes){ value, STORE_VALUE_MAX });
	ok(apply(s, &b, 0) > pos && store_get(s, (struct bytes){ long_key, STORE_KEY_MAX }, &found) == 0 &&
	    bytes_same(found, (struct bytes){ value, STORE_VALUE_MAX }), "%s: the largest key and value", name);
	batch_put(&b, (struct bytes){ long_key, sizeof long_key }, text(""));
	ok(apply(s, &b, 0) == -EINVAL, "%s: a longer key is refused", name);
	batch_put(&b, text("k"), (struct bytes){ value, STORE_VALUE_MAX + 1 });
	ok(apply(s, &b, 0) == -EINVAL, "%s: a longer value is refused", name);
	batch_put(&b, text(""), text(""));
	ok(apply(s, &b, 0) == -EINVAL, "%s: an empty key is refused", name);
	batch_delete_range(&b, text("b"), text("ab"));
	ok(apply(s, &b, 0) == -EINVAL, "%s: a range backwards is refused", name);
	for (int i = 0; i < BATCH_MAX / STORE_VALUE_MAX + 1; i++)
		batch_put(&b, text("k"), (struct bytes){ value, STORE_VALUE_MAX });
	ok(apply(s, &b, 0) == -E2BIG && holds(s, "k", NULL), "%s: a batch over its limit is refused", name);
	batch_done(&b);
	free(value);
}

static void
conform_blocks(struct store *s, const char *name)
{
	struct batch b = { 0 };
	uint8_t id[ID_SIZE], *data = block_bytes(1, 5000), *other = block_bytes(77, 6000), one;
	struct block_ref *ref = NULL;
	struct block_ticket *t1 = NULL, *t2 = NULL;
	uint64_t pos = 0, pos2 = 0;
	int64_t end;

	block_id(id, 1);
	ok(holds_block(s, 1, 0), "%s: no block at first", name);
	batch_block_put(&b, id, (struct bytes){ data, 5000 });
	batch_put(&b, text("with"), text("block"));
	ok(apply(s, &b, 0) > 0 && holds_block(s, 1, 5000), "%s: a small block comes with its batch", name);
	batch_block_put(&b, id, (struct bytes){ other, 6000 });
	ok(apply(s, &b, 0) > 0 && holds_block(s, 1, 5000), "%s: a block that exists stays as it is", name);
	ok(put_large(s, 2, BLOCK_SEALED_MAX) > 0 && holds_block(s, 2, BLOCK_SEALED_MAX), "%s: the largest block", name);
	ok(put_large(s, 3, BLOCK_SEALED_MAX + 1) == -EINVAL && put_large(s, 3, 0) == -EINVAL,
	    "%s: blocks out of bounds are refused", name);

	ok(store_block_find(s, id, &ref) == 0 && store_block_read(ref, 4999, 1, &one) == 0 && one == data[4999] &&
	    store_block_read(ref, 4999, 2, &one) == -EINVAL && store_block_read(ref, 5001, 0, &one) == -EINVAL,
	    "%s: reads stay inside the block", name);
	batch_block_free(&b, id);
	ok(apply(s, &b, STORE_FREES) > 0 && holds_block(s, 1, 0), "%s: a freed block is gone", name);
	ok(store_checkpoint(s) == 0 && store_block_read(ref, 0, 1, &one) == 0 && one == data[0],
	    "%s: and still readable by who holds it", name);
	store_block_put_ref(ref);
	ok(apply(s, &b, 0) >= 0 && (batch_block_free(&b, id), apply(s, &b, STORE_FREES)) > 0,
	    "%s: freeing it again does nothing", name);

	block_id(id, 4);
	ok(store_block_reserve(s, id, 5000, 0, &t1) == 0 && store_block_exists(s, id) == 0,
	    "%s: a reserved block does not exist yet", name);
	ok(store_block_reserve(s, id, 5000, 0, &t2) == 0, "%s: two may write one block", name);
	free(data);
	data = block_bytes(4, 5000);
	ok(store_block_write(t2, data) == 0 && store_block_write(t1, data) == 0 &&
	    store_block_finish(t2, true, &pos2) == 0 && holds_block(s, 4, 5000) &&
	    store_block_finish(t1, true, &pos) == 0 && pos >= pos2 && holds_block(s, 4, 5000),
	    "%s: the first to finish makes it exist", name);
	block_id(id, 5);
	end = (int64_t)store_end(s);
	ok(store_block_reserve(s, id, 5000, 0, &t1) == 0 && store_block_finish(t1, false, &pos) == 0 &&
	    holds_block(s, 5, 0) && (int64_t)store_end(s) >= end, "%s: an unwritten one never exists", name);
	batch_done(&b);
	free(data);
	free(other);
}

static void
conform_sync(struct store *s, const char *name)
{
	uint64_t total = 0, left = 0, synced = 0;
	int64_t pos = put(s, "sync", "1");

	ok(pos > 0 && store_end(s) == (uint64_t)pos && store_synced(s) <= store_end(s), "%s: applied", name);
	ok(store_sync(s, &synced) == 0 && synced == (uint64_t)pos && store_synced(s) == synced, "%s: synced", name);
	ok(store_sync(s, &synced) == 0 && synced == (uint64_t)pos, "%s: a sync of nothing", name);
	pos = put(s, "sync", "2");
	ok(store_checkpoint(s) == 0 && store_synced(s) == (uint64_t)pos && holds(s, "sync", "2"),
	    "%s: a checkpoint syncs too", name);
	store_space(s, &total, &left);
	ok(left <= total && total > 0, "%s: space adds up", name);
	ok(store_failed(s) == NULL, "%s: nothing has failed", name);
}

/* Runs the cases over an empty store, and leaves it with data in it. */
UNUSED static void
conform(struct store *s, const char *name)
{
	conform_keys(s, name);
	conform_blocks(s, name);
	conform_sync(s, name);
}

#endif
