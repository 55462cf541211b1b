/*
 * noise.h - the handshake: Noise_IK_25519_ChaChaPoly_SHA256, revision 34 of
 * the Noise specification (noiseprotocol.org).
 *
 *	client				server
 *	noise_initiator_new		noise_responder_new
 *	noise_write    -- message 1 -->	noise_read, then noise_peer: who is it?
 *	noise_read    <-- message 2 --	noise_write
 *	noise_split			noise_split
 *
 * The client knows the server's public key beforehand.  Message 1 can be
 * replayed by anyone who saw it, so the server gives it no effect: the client
 * is proved only by its first frame.  Calls out of this order are bugs of the
 * caller and assert.  After a failure the handshake is dead: every later call
 * fails too.  One thread at a time.
 */
#ifndef PROTO_NOISE_H
#define PROTO_NOISE_H

#include <sys/types.h>

#include "proto/cursor.h"
#include "proto/frame.h"
#include "proto/limits.h"

enum {
	NOISE_TAG	= 16,
	NOISE_MESSAGE_1	= KEY_SIZE + KEY_SIZE + NOISE_TAG + NOISE_TAG,	/* with an empty payload */
	NOISE_MESSAGE_2	= KEY_SIZE + NOISE_TAG,
	NOISE_HASH	= 32,
};

/* Opaque, in locked memory. */
struct noise;
/*
 * The static secret is copied; the prologue (the preamble, as sent) is hashed.
 * NULL: out of locked memory.  noise_free accepts NULL.
 */
struct noise *noise_initiator_new(const uint8_t secret[KEY_SIZE], const uint8_t server[KEY_SIZE],
	    struct bytes prologue);
struct noise *noise_responder_new(const uint8_t secret[KEY_SIZE], struct bytes prologue);
void	noise_free(struct noise *n);

/*
 * Writes this side's message; returns its length, -EMSGSIZE when to[] is too
 * small, or -EBADMSG (dead, or the peer's key is a degenerate point).
 */
ssize_t	noise_write(struct noise *n, struct bytes payload, uint8_t *to, size_t size);
/*
 * Reads the peer's message; returns the length of its payload, now at to[],
 * -EMSGSIZE when that is too small, or -EBADMSG (not the server we know,
 * another prologue, damage).
 */
ssize_t	noise_read(struct noise *n, struct bytes message, uint8_t *to, size_t size);

/* The peer's static public key, borrowed; on the server, after noise_read. */
const uint8_t *noise_peer(const struct noise *n);
/*
 * After both messages: the keys of each direction, and the hash both sides
 * share and no other handshake has.  0 or -EBADMSG when dead.
 */
int	noise_split(struct noise *n, struct frame_keys *ret_send, struct frame_keys *ret_receive,
	    uint8_t ret_hash[NOISE_HASH]);

/*
 * What an ATTACH shows instead of a session's secret: keyed BLAKE2b over that
 * hash, so it is worth nothing on another connection (nuage-protocol(5),
 * SESSIONS).
 */
void	noise_proof(const uint8_t secret[SECRET_SIZE], const uint8_t hash[NOISE_HASH], uint8_t ret_proof[PROOF_SIZE]);

/* A static key pair: fresh, and the public half of one. */
void	noise_keypair(uint8_t ret_secret[KEY_SIZE], uint8_t ret_public[KEY_SIZE]);
void	noise_public(const uint8_t secret[KEY_SIZE], uint8_t ret_public[KEY_SIZE]);

#endif
