/* buffer.c - see buffer.h. */
#include "fs/buffer.h"

#include <stdlib.h>

static struct buffer *
adopt(uint8_t *data, size_t capacity)
{
	struct buffer *b = data != NULL ? malloc(sizeof *b) : NULL;

	if (b == NULL) {
		free(data);
		return NULL;
	}
	*b = (struct buffer){ .refs = 1, .capacity = capacity, .data = data };
	return b;
}

struct buffer *
buffer_new(size_t capacity)
{
	/* Large zeroed allocations come from the kernel untouched: a sparse region stays sparse. */
	return adopt(calloc(1, capacity), capacity);
}

struct buffer *
buffer_new_raw(size_t capacity)
{
	return adopt(malloc(capacity), capacity);
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
