/* cursor.c - see cursor.h. */
#include "proto/cursor.h"

#include <endian.h>
#include <string.h>

struct cursor
cursor_over(void *data, size_t size)
{
	return (struct cursor){ .base = data, .size = size };
}

struct cursor
cursor_read(const void *data, size_t size)
{
	/* The get calls never write, so dropping const here is safe. */
	return (struct cursor){ .base = (uint8_t *)(uintptr_t)data, .size = size };
}

bool
cursor_ok(const struct cursor *c)
{
	return !c->failed;
}

bool
cursor_done(const struct cursor *c)
{
	return !c->failed && c->pos == c->size;
}

size_t
cursor_left(const struct cursor *c)
{
	return c->failed ? 0 : c->size - c->pos;
}

void
cursor_fail(struct cursor *c)
{
	c->failed = true;
}

/* The one place where the bound is checked. */
uint8_t *
cursor_reserve(struct cursor *c, size_t len)
{
	uint8_t *at;

	if (c->failed || len > c->size - c->pos) {
		c->failed = true;
		return NULL;
	}
	at = c->base + c->pos;
	c->pos += len;
	return at;
}

/* Most of what a message costs is here: whole words, not byte by byte. */
static inline uint64_t
get_be(struct cursor *c, size_t len)
{
	const uint8_t *p = cursor_reserve(c, len);
	uint64_t v = 0;

	if (p != NULL)
		memcpy((uint8_t *)&v + sizeof v - len, p, len);
	return be64toh(v);
}

static inline void
put_be(struct cursor *c, uint64_t v, size_t len)
{
	uint8_t *p = cursor_reserve(c, len);

	v = htobe64(v);
	if (p != NULL)
		memcpy(p, (uint8_t *)&v + sizeof v - len, len);
}

uint8_t
cursor_get_u8(struct cursor *c)
{
	return get_be(c, 1);
}

uint16_t
cursor_get_u16(struct cursor *c)
{
	return get_be(c, 2);
}

uint32_t
cursor_get_u32(struct cursor *c)
{
	return get_be(c, 4);
}

uint64_t
cursor_get_u64(struct cursor *c)
{
	return get_be(c, 8);
}

void
cursor_get(struct cursor *c, void *to, size_t len)
{
	const uint8_t *p = cursor_reserve(c, len);

	if (p == NULL)
		memset(to, 0, len);
	else if (len > 0)
		memcpy(to, p, len);
}

struct bytes
cursor_get_bytes(struct cursor *c, size_t len)
{
	const uint8_t *p = cursor_reserve(c, len);

	return p == NULL ? (struct bytes){ NULL, 0 } : (struct bytes){ p, len };
}

void
cursor_put_u8(struct cursor *c, uint8_t v)
{
	put_be(c, v, 1);
}

void
cursor_put_u16(struct cursor *c, uint16_t v)
{
	put_be(c, v, 2);
}

void
cursor_put_u32(struct cursor *c, uint32_t v)
{
	put_be(c, v, 4);
}

void
cursor_put_u64(struct cursor *c, uint64_t v)
{
	put_be(c, v, 8);
}

void
cursor_put(struct cursor *c, const void *from, size_t len)
{
	uint8_t *p = cursor_reserve(c, len);

	if (p != NULL && len > 0)
		memcpy(p, from, len);
}
