/*
 * noise_internal.h - a handshake with a given ephemeral key, for the tests
 * that compare with published vectors.  noise.h draws it fresh.
 */
#ifndef PROTO_NOISE_INTERNAL_H
#define PROTO_NOISE_INTERNAL_H

#include "proto/noise.h"

void	noise_set_ephemeral(struct noise *n, const uint8_t secret[KEY_SIZE]);

#endif
