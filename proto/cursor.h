/*
 * cursor.h - a bounded cursor over bytes, with a sticky error.
 *
 * A codec is straight lines of get or put calls with one check at the end:
 * after the first access beyond the end every later one does nothing, gets
 * return zeros, and cursor_ok() is false.  Integers are big-endian.
 */
#ifndef PROTO_CURSOR_H
#define PROTO_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. */
struct bytes {
	const uint8_t	*data;
	size_t		 len;
};

struct cursor {
	uint8_t	*base;
	size_t	 pos;
	size_t	 size;
	bool	 failed;
};

/* Reads from (or, for the put calls, writes into) `size` bytes at `data`, borrowed. */
struct cursor cursor_over(void *data, size_t size);
struct cursor cursor_read(const void *data, size_t size);

bool	cursor_ok(const struct cursor *c);
/* True when nothing failed and every byte was consumed: trailing bytes are an error. */
bool	cursor_done(const struct cursor *c);
size_t	cursor_left(const struct cursor *c);
void	cursor_fail(struct cursor *c);

uint8_t  cursor_get_u8(struct cursor *c);
uint16_t cursor_get_u16(struct cursor *c);
uint32_t cursor_get_u32(struct cursor *c);
uint64_t cursor_get_u64(struct cursor *c);
void	 cursor_get(struct cursor *c, void *to, size_t len);
/* A view of the next `len` bytes, valid as long as the buffer; empty on failure. */
struct bytes cursor_get_bytes(struct cursor *c, size_t len);

void	cursor_put_u8(struct cursor *c, uint8_t v);
void	cursor_put_u16(struct cursor *c, uint16_t v);
void	cursor_put_u32(struct cursor *c, uint32_t v);
void	cursor_put_u64(struct cursor *c, uint64_t v);
void	cursor_put(struct cursor *c, const void *from, size_t len);
/* Reserves `len` bytes to be filled in place; NULL on failure. */
uint8_t *cursor_reserve(struct cursor *c, size_t len);

#endif
