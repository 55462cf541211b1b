/*
 * table.c - chained hashing; the table doubles when it holds as many nodes
 * as slots.
 */
#include "server/table.h"

#include <stdlib.h>
#include <string.h>

static struct table_node **
slots_of(const struct table *t)
{
	return t->slots != NULL ? t->slots : (struct table_node **)(uintptr_t)t->few;
}

/* The finalizer of MurmurHash3 over the seeded key. */
static size_t
slot_of(const struct table *t, uint64_t key)
{
	uint64_t h = key ^ t->seed;

	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h & (t->size - 1);
}

void
table_init(struct table *t, uint64_t seed)
{
	*t = (struct table){ .size = TABLE_FEW, .seed = seed };
}

void
table_done(struct table *t)
{
	free(t->slots);
	table_init(t, t->seed);
}

static void
grow(struct table *t)
{
	struct table_node **old = slots_of(t), **fresh = calloc(t->size * 2, sizeof(struct table_node *)), *next;
	size_t size = t->size;

	if (fresh == NULL)
		return;
	t->size *= 2;
	for (size_t i = 0; i < size; i++)
		for (struct table_node *n = old[i]; n != NULL; n = next) {
			struct table_node **head = &fresh[slot_of(t, n->key)];

			next = n->next;
			n->next = *head;
			*head = n;
		}
	free(t->slots);
	t->slots = fresh;
}

void
table_insert(struct table *t, struct table_node *n, uint64_t key)
{
	struct table_node **head;

	if (t->count >= t->size)
		grow(t);
	head = &slots_of(t)[slot_of(t, key)];
	n->key = key;
	n->next = *head;
	*head = n;
	t->count++;
}

void
table_remove(struct table *t, struct table_node *n)
{
	struct table_node **at = &slots_of(t)[slot_of(t, n->key)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
}

struct table_node *
table_find(const struct table *t, uint64_t key)
{
	struct table_node *n = slots_of(t)[slot_of(t, key)];

	while (n != NULL && n->key != key)
		n = n->next;
	return n;
}

struct table_node *
table_again(const struct table_node *n)
{
	uint64_t key = n->key;
	struct table_node *m = n->next;

	while (m != NULL && m->key != key)
		m = m->next;
	return m;
}

struct table_node *
table_walk(const struct table *t, size_t *slot, struct table_node *n)
{
	if (n != NULL)
		n = n->next;
	while (n == NULL && *slot < t->size)
		n = slots_of(t)[(*slot)++];
	return n;
}
