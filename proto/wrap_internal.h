/* wrap_internal.h - wrapping with a given nonce, for golden bytes; wrap.h draws it fresh. */
#ifndef PROTO_WRAP_INTERNAL_H
#define PROTO_WRAP_INTERNAL_H

#include "proto/wrap.h"

enum { WRAP_NONCE = 24 };

void	wrap_seal_with(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
	    const uint8_t volume_key[KEY_SIZE], const uint8_t nonce[WRAP_NONCE], uint8_t to[WRAP_SIZE]);

#endif
