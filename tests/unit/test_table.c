/* test_table.c - the hash table, with keys that repeat, while it grows and shrinks. */
#include "server/table.h"

#include <stdbool.h>

#include "tests/tap.h"

enum { NODES = 3000, KEYS = 1000 };		/* three nodes a key */

static struct table_node nodes[NODES];
static bool there[NODES];

/* Are exactly the nodes of a key that should be there found under it, once each? */
static bool
right(const struct table *t, uint64_t key)
{
	unsigned found[NODES / KEYS] = { 0 };
	bool good = true;

	for (struct table_node *n = table_find(t, key); n != NULL; n = table_again(n)) {
		good &= n->key == key && (size_t)(n - nodes) % KEYS == key;
		found[(size_t)(n - nodes) / KEYS]++;
	}
	for (unsigned i = 0; i < NODES / KEYS; i++)
		good &= found[i] == there[i * KEYS + key];
	return good;
}

static bool
all_right(const struct table *t)
{
	size_t slot = 0, walked = 0, count = 0;
	struct table_node *n = NULL;
	bool good = true;

	for (uint64_t key = 0; key < KEYS; key++)
		good &= right(t, key);
	while ((n = table_walk(t, &slot, n)) != NULL)
		walked += there[n - nodes];
	for (size_t i = 0; i < NODES; i++)
		count += there[i];
	return good && walked == count && t->count == count;
}

int
main(void)
{
	struct table t;
	bool good;

	table_init(&t, 42);
	ok(table_find(&t, 1) == NULL && all_right(&t), "nothing is in an empty table");
	good = true;
	for (size_t i = 0; i < NODES; i++) {
		table_insert(&t, &nodes[i], i % KEYS);
		there[i] = true;
		good &= right(&t, i % KEYS);
		if (i < 10)
			good &= all_right(&t);
	}
	ok(good && all_right(&t), "all that was put in is found, each under its key");
	for (size_t i = 0; i < NODES; i += 2) {
		table_remove(&t, &nodes[i]);
		there[i] = false;
		good &= right(&t, i % KEYS);
	}
	ok(good && all_right(&t), "what was taken out is not, and the others of its key are");
	table_done(&t);
	return tap_done();
}
