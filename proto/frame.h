/*
 * frame.h - how messages travel once a handshake gave us keys.
 *
 *	u32 sealed length, u32 payload length	FRAME_HEADER bytes, clear
 *	sealed body				ChaCha20-Poly1305, tag last
 *	payload					clear: a block, sealed already
 *
 * Associated data is the header and the payload, so all of a frame is
 * authenticated, but a block is neither encrypted twice nor copied: the
 * sender gathers header + sealed body and the payload with writev.  Nonces
 * count the frames of a direction, so a frame that is lost, repeated or out
 * of order does not open.  After each FRAME_REKEY frames both sides replace
 * the key by REKEY(key) of the Noise specification (11.3); the count goes on.
 *
 * One direction of one connection: one thread at a time.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <sys/types.h>

#include "proto/cursor.h"
#include "proto/limits.h"

enum {
	FRAME_HEADER	= 8,
	FRAME_TAG	= 16,
	FRAME_REKEY	= 1 << 16,
};

/* Keep it where secrets are kept (sodium_malloc); frame_keys_done wipes it. */
struct frame_keys {
	uint8_t		key[KEY_SIZE];
	uint64_t	counter;		/* frames so far: the next one's nonce */
};
void	frame_keys_init(struct frame_keys *keys, const uint8_t key[KEY_SIZE]);
void	frame_keys_done(struct frame_keys *keys);

/*
 * Writes header and sealed body: FRAME_HEADER + body.len + FRAME_TAG bytes at
 * to[].  The body may lie at to + FRAME_HEADER already.  The payload, which
 * the caller sends right behind them, must not change before it is sent.
 * Returns the length written, -EMSGSIZE (over the limits) or -ENOMEM, which
 * leaves the keys as they were.
 */
ssize_t	frame_seal(struct frame_keys *keys, struct bytes body, struct bytes payload, uint8_t *to);

/* Lengths of what follows a header; 0, or -EBADMSG when they are over the limits. */
int	frame_header_decode(const uint8_t header[FRAME_HEADER], size_t *ret_sealed, size_t *ret_payload);
/*
 * Opens the `sealed_len` bytes at sealed[] in place; 0 with the body in
 * ret_body, borrowed from there.  Any failure (-EBADMSG, -ENOMEM) ends the
 * connection: there is no way to find the next frame.
 */
int	frame_open(struct frame_keys *keys, const uint8_t header[FRAME_HEADER], uint8_t *sealed,
	    size_t sealed_len, struct bytes payload, struct bytes *ret_body);

#endif
