/*
 * preamble.h - the sixteen clear bytes a client sends first.
 *
 *	8 bytes "NUAGE\0\r\n", u16 lowest version, u16 highest version,
 *	u8 mode, 3 bytes zero
 *
 * Both sides use these very bytes as prologue of the handshake, so whoever
 * changes them on the way (to force an old version) breaks it.  The server
 * puts the version it chose, as u16, into the payload of message 2; 0 says
 * that none is in common.  Pure functions, any thread.
 */
#ifndef PROTO_PREAMBLE_H
#define PROTO_PREAMBLE_H

#include <stdint.h>

enum {
	PREAMBLE_SIZE		= 16,
	PROTOCOL_LOWEST		= 1,
	PROTOCOL_HIGHEST	= 1,
};
enum preamble_mode { PREAMBLE_SEALED = 0 };	/* frames as in frame.h */

struct preamble {
	uint16_t	lowest, highest;
	uint8_t		mode;		/* enum preamble_mode */
};

void	preamble_encode(const struct preamble *p, uint8_t to[PREAMBLE_SIZE]);
/* 0, -EBADMSG (another protocol, or no sane range), -ENOTSUP (a mode not known here). */
int	preamble_decode(struct preamble *p, const uint8_t from[PREAMBLE_SIZE]);
/* The highest version that both speak, or 0. */
uint16_t preamble_choose(const struct preamble *theirs);

#endif
