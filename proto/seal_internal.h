/*
 * seal_internal.h - what seal.c, record.c and block.c share, and sealing with
 * a given nonce or salt, for the tests that compare with golden bytes.
 *
 * Production code seals through seal.h, which draws them fresh: two sealings
 * under one nonce would give both plaintexts away.
 */
#ifndef PROTO_SEAL_INTERNAL_H
#define PROTO_SEAL_INTERNAL_H

#include "proto/seal.h"

enum { RECORD_NONCE = 24 };

struct volume_keys {
	uint8_t		volume[VOLUME_ID_SIZE];
	uint8_t		token[KEY_SIZE];	/* name tokens */
	uint8_t		id[KEY_SIZE];		/* block ids */
	uint32_t	epoch;			/* of the two below */
	uint8_t		content[KEY_SIZE];	/* cells */
	uint8_t		record[KEY_SIZE];
};

ssize_t	record_seal_with(const struct volume_keys *keys, const struct record_context *context,
	    uint64_t writer, const uint8_t nonce[RECORD_NONCE], struct bytes plain,
	    uint8_t *to, size_t size);
ssize_t	block_seal_with(const struct volume_keys *keys, const uint8_t *plain, size_t len,
	    int level, const uint8_t salt[SALT_SIZE], uint8_t id[ID_SIZE], uint8_t *to);

#endif
