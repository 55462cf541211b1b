/*
 * scratch.h - what the libraries want set up before they work, once a thread.
 *
 * zstd's contexts are megabytes, and a libcrypto context costs a fetch and
 * two allocations: too dear for every cell.  So each thread that seals, opens
 * or hashes keeps one set, made at first use and freed when the thread ends.
 * Nothing in a scratch outlives a call in meaning; callers leave it reusable.
 */
#ifndef PROTO_SCRATCH_H
#define PROTO_SCRATCH_H

#include <openssl/evp.h>
#include <stdint.h>
#include <zstd.h>

#include "proto/limits.h"

struct scratch {
	EVP_CIPHER	*cipher;	/* ChaCha20-Poly1305 */
	EVP_CIPHER_CTX	*aead;
	EVP_MD		*sha256;
	EVP_MD_CTX	*digest;
	ZSTD_CCtx	*compress;
	ZSTD_DCtx	*expand;
	uint8_t		 packed[CELL_SIZE];	/* a compressed cell between two steps */
};

/* This thread's own, not to be handed to another; NULL when out of memory. */
struct scratch *scratch_get(void);

#endif
