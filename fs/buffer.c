/* buffer.c - see buffer.h. */
#include "fs/buffer.h"

#include <stdlib.h>

struct buffer *
buffer_new(size_t capacity)
{
	struct buffer *b = malloc(sizeof *b);

	if (b == NULL)
		return NULL;
	/* Large zeroed allocations come from the kernel untouched: a sparse region stays sparse. */
	*b = (struct buffer){ .refs = 1, .capacity = capacity, .data = calloc(1, capacity) };
	if (b->data == NULL) {
		free(b);
		return NULL;
	}
	return b;
}

struct buffer *
buffer_get(struct buffer *b)
{
	b->refs++;
	return b;
}

void
buffer_put(struct buffer *b)
{
	if (b != NULL && --b->refs == 0) {
		free(b->data);
		free(b);
	}
}
