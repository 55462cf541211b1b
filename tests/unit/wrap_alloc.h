/*
 * wrap_alloc.h - allocations that fail when the test's own fails(), which is
 * defined before this is included, says so; with the linker's --wrap.  One out
 * of an arena is one too: any of them may be the one that needs a new piece.
 */
#ifndef TESTS_UNIT_WRAP_ALLOC_H
#define TESTS_UNIT_WRAP_ALLOC_H

#include <stddef.h>

#include "proto/message.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_arena_alloc(struct arena *a, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_arena_alloc(struct arena *a, size_t size);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *
__wrap_arena_alloc(struct arena *a, size_t size)
{
	return fails() ? NULL : __real_arena_alloc(a, size);
}

#endif
