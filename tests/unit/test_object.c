/* test_object.c - the records of a cached object: order, search, what does not fit. */
#include "fs/object.h"

#include <errno.h>
#include <string.h>

#include "tests/tap.h"

/* Keys in their order: by kind, then by bytes, the shorter one first. */
static const struct { uint8_t kind; const char *subkey; } order[] = {
	{ 1, "" }, { 2, "" }, { 5, "a" }, { 5, "ab" }, { 5, "abc" }, { 5, "b" }, { 6, "" }, { 6, "a" }, { 7, "aa" },
};
enum { COUNT = sizeof order / sizeof order[0] };

static struct rec *
find(struct object *o, size_t i)
{
	return object_rec(o, order[i].kind, (const uint8_t *)order[i].subkey, strlen(order[i].subkey));
}

static void
test_order(void)
{
	struct object *o = object_new(100);
	size_t right = 0;
	struct rec *r;

	for (size_t n = 0; n < COUNT; n++) {
		size_t i = n * 5 % COUNT;

		object_rec_make(o, order[i].kind, (const uint8_t *)order[i].subkey, strlen(order[i].subkey));
	}
	r = object_rec_from(o, 0, NULL, 0);
	for (size_t i = 0; i < COUNT; i++, r = object_rec_after(o, r))
		right += r != NULL && r == find(o, i) && r->kind == order[i].kind && r->subkey_len == strlen(order[i].subkey);
	ok(right == COUNT && r == NULL, "records stand in the order of their keys");
	r = object_rec_make(o, 5, (const uint8_t *)"ab", 2);
	ok(r == find(o, 3), "one that is there is not made again");
	object_rec_remove(o, r);
	ok(find(o, 3) == NULL && find(o, 2) != NULL && find(o, 4) == object_rec_after(o, find(o, 2)), "and is removed alone");
	object_free(o);
}

static void
test_fill(void)
{
	static const uint8_t ids[2][ID_SIZE] = { { 1 }, { 2 } }, key[SUBKEY_MAX + 1] = { 1 };
	struct object *o = object_new(100);
	struct rec *r = object_rec_make(o, 7, key, 8);
	const uint8_t *kept;

	ok(object_rec_make(o, 7, key, sizeof key) == NULL, "a key that is too long is none");
	ok(r->absent && object_rec_fill(r, (struct bytes){ NULL, 0 }, 9, NULL, 0) == 0 && !r->absent && r->value_len == 0 &&
	    r->oref == 9, "a value may be empty");
	ok(object_rec_fill(r, (struct bytes){ (const uint8_t *)"abc", 3 }, 0, NULL, 0) == 0 && r->value_len == 3 &&
	    memcmp(r->value, "abc", 3) == 0, "or not");
	kept = r->value;
	r->damaged = r->absent = true;
	ok(object_rec_fill(r, (struct bytes){ (const uint8_t *)"xyz", 3 }, 7, NULL, 0) == 0 && r->value == kept && r->oref == 7 &&
	    memcmp(r->value, "xyz", 3) == 0 && !r->damaged && !r->absent, "one of the same size takes its place");
	ok(object_rec_fill(r, (struct bytes){ (const uint8_t *)"cde", 3 }, 0, ids, 2) == 0 && r->brefs_count == 2 &&
	    memcmp(r->brefs, ids, sizeof ids) == 0 && memcmp(r->value, "cde", 3) == 0, "blocks come with it");
	ok(object_rec_fill(r, (struct bytes){ (const uint8_t *)"fgh", 3 }, 0, NULL, 0) == 0 && r->brefs_count == 0 && r->brefs == NULL,
	    "and go");
	ok(object_rec_fill(r, (struct bytes){ NULL, 0 }, 0, NULL, 0) == 0 &&
	    object_rec_fill(r, (struct bytes){ NULL, 0 }, 0, NULL, 0) == 0 && r->value_len == 0, "the empty one once more");
	object_free(o);
	object_free(NULL);
}

int
main(void)
{
	test_order();
	test_fill();
	return tap_done();
}
