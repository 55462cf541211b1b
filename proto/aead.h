/*
 * aead.h - ChaCha20-Poly1305 (RFC 8439) for bulk: cells and frames.
 *
 * By libcrypto, three times as fast as libsodium on the same standard.  The
 * nonce is four zero bytes and a 64-bit little-endian counter, as in Noise.
 * Associated data comes in pieces, so that nothing is copied to be
 * authenticated.  Any thread; uses the thread's scratch.
 */
#ifndef PROTO_AEAD_H
#define PROTO_AEAD_H

#include "proto/cursor.h"
#include "proto/limits.h"

enum { AEAD_TAG = 16 };

/* len + AEAD_TAG bytes at to[], which may be plain[] itself.  0 or -ENOMEM. */
int	aead_seal(const uint8_t key[KEY_SIZE], uint64_t counter, const struct bytes *ad,
	    size_t ad_count, const uint8_t *plain, size_t len, uint8_t *to);
/*
 * sealed.len - AEAD_TAG bytes at to[], which may be sealed.data itself.  0,
 * -EBADMSG (to[] is wiped), or -ENOMEM.
 */
int	aead_open(const uint8_t key[KEY_SIZE], uint64_t counter, const struct bytes *ad,
	    size_t ad_count, struct bytes sealed, uint8_t *to);

#endif
