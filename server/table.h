/*
 * table.h - an intrusive hash table over 64-bit keys.
 *
 * Nodes are embedded in the structures they find, so insertion allocates
 * nothing that can fail: when a larger table cannot be had, chains grow
 * longer.  Keys may repeat; a caller whose keys are hashes of something
 * longer compares the rest.  The seed keeps peers from choosing collisions.
 * No locks: one owner.
 */
#ifndef SERVER_TABLE_H
#define SERVER_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_node {
	struct table_node	*next;
	uint64_t		 key;
};

enum { TABLE_FEW = 4 };

struct table {
	struct table_node	**slots;	/* NULL while `few` serves */
	struct table_node	 *few[TABLE_FEW];
	size_t			  size, count;	/* slots, a power of two; nodes */
	uint64_t		  seed;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

void	table_init(struct table *t, uint64_t seed);
/* Frees the slots, not the nodes. */
void	table_done(struct table *t);
void	table_insert(struct table *t, struct table_node *n, uint64_t key);
void	table_remove(struct table *t, struct table_node *n);
/* The first node with this key, and the one after it; NULL when there is none. */
struct table_node *table_find(const struct table *t, uint64_t key);
struct table_node *table_again(const struct table_node *n);
/*
 * Walks all nodes, in no order: start with *slot = 0 and n = NULL.  The node
 * returned last may be removed only after the next one was asked for.
 */
struct table_node *table_walk(const struct table *t, size_t *slot, struct table_node *n);

#endif
