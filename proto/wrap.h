/*
 * wrap.h - the volume key under other keys, and what one secret gives.
 *
 * A volume key leaves a client only wrapped: for the device's own file, for
 * whoever redeems an invitation, for whoever has the recovery code.
 *
 *	u8 format (1), 24 bytes nonce, XChaCha20-Poly1305 of the volume key
 *
 * with "nuage wrap", the format and the volume's id as associated data: the
 * server cannot hand out one volume's wrap for another's.  Everything derived
 * from a secret is BLAKE2b keyed with it over a purpose, so no value tells of
 * another: the server sees an invitation's token and not its wrap key.
 *
 * Pure functions, any thread.  The caller keeps secrets and keys in locked
 * memory and wipes them.
 */
#ifndef PROTO_WRAP_H
#define PROTO_WRAP_H

#include "proto/cursor.h"
#include "proto/limits.h"

enum {
	WRAP_SIZE	= 1 + 24 + KEY_SIZE + 16,
	RECOVERY_SECRET	= 16,
};

/* The wrap key of each way a volume key is kept. */
void	wrap_key_of_device(const uint8_t device_secret[KEY_SIZE], uint8_t ret_key[KEY_SIZE]);
void	wrap_key_of_invitation(const uint8_t secret[SECRET_SIZE], uint8_t ret_key[KEY_SIZE]);
void	wrap_key_of_recovery(const uint8_t secret[RECOVERY_SECRET], uint8_t ret_key[KEY_SIZE]);

/* What the redeemer of an invitation shows, and what the server keeps to know it by. */
void	wrap_token(const uint8_t secret[SECRET_SIZE], uint8_t ret_token[SECRET_SIZE]);
void	wrap_token_hash(const uint8_t token[SECRET_SIZE], uint8_t ret_hash[KEY_SIZE]);

/* The static secret of the recovery device; its public half by noise_public(). */
void	wrap_recovery_device(const uint8_t secret[RECOVERY_SECRET], uint8_t ret_secret[KEY_SIZE]);

/* Wraps with a fresh nonce. */
void	wrap_seal(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
	    const uint8_t volume_key[KEY_SIZE], uint8_t to[WRAP_SIZE]);
/* 0, -EBADMSG (another key or volume, damage) or -ENOTSUP (format). */
int	wrap_open(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
	    struct bytes wrap, uint8_t ret_volume_key[KEY_SIZE]);

#endif
