/* preamble.c - see preamble.h. */
#include "proto/preamble.h"

#include <errno.h>
#include <string.h>

#include "proto/cursor.h"

/* The line end and the zero show a transfer that takes it for text. */
static const uint8_t magic[8] = { 'N', 'U', 'A', 'G', 'E', 0, '\r', '\n' };

enum { RESERVED = 3 };

void
preamble_encode(const struct preamble *p, uint8_t to[PREAMBLE_SIZE])
{
	static const uint8_t zeros[RESERVED];
	struct cursor c = cursor_over(to, PREAMBLE_SIZE);

	cursor_put(&c, magic, sizeof magic);
	cursor_put_u16(&c, p->lowest);
	cursor_put_u16(&c, p->highest);
	cursor_put_u8(&c, p->mode);
	cursor_put(&c, zeros, sizeof zeros);
}

int
preamble_decode(struct preamble *p, const uint8_t from[PREAMBLE_SIZE])
{
	struct cursor c = cursor_read(from, PREAMBLE_SIZE);
	struct bytes head = cursor_get_bytes(&c, sizeof magic);
	struct preamble got = { 0 };
	uint8_t reserved[RESERVED];

	got.lowest = cursor_get_u16(&c);
	got.highest = cursor_get_u16(&c);
	got.mode = cursor_get_u8(&c);
	cursor_get(&c, reserved, sizeof reserved);
	if (memcmp(head.data, magic, sizeof magic) != 0 || got.lowest == 0 || got.lowest > got.highest ||
	    (reserved[0] | reserved[1] | reserved[2]) != 0)
		return -EBADMSG;
	if (got.mode != PREAMBLE_SEALED)
		return -ENOTSUP;
	*p = got;
	return 0;
}

uint16_t
preamble_choose(const struct preamble *theirs)
{
	uint16_t highest = theirs->highest < PROTOCOL_HIGHEST ? theirs->highest : PROTOCOL_HIGHEST;

	return highest >= theirs->lowest && highest >= PROTOCOL_LOWEST ? highest : 0;
}
