/*
 * noise.c - see noise.h.
 *
 *	IK:
 *	  <- s
 *	  ...
 *	  -> e, es, s, ss
 *	  <- e, ee, se
 *
 * The names are the specification's: h is the hash of all that was said, ck
 * the chaining key, k and n key and nonce of the handshake's cipher.  Every
 * step is the same function on both sides but for who encrypts.
 */
#include "proto/noise_internal.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

_Static_assert(crypto_scalarmult_BYTES == KEY_SIZE && crypto_scalarmult_SCALARBYTES == KEY_SIZE, "DH");
_Static_assert(crypto_hash_sha256_BYTES == NOISE_HASH && crypto_auth_hmacsha256_KEYBYTES == NOISE_HASH, "hash");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == NOISE_TAG, "tag");

enum step { MESSAGE_1, MESSAGE_2, COMPLETE, DEAD };

struct noise {
	enum step	step;
	bool		initiator;
	uint8_t		h[NOISE_HASH], ck[NOISE_HASH], k[KEY_SIZE];
	uint64_t	n;
	uint8_t		s[KEY_SIZE], e[KEY_SIZE];	/* our secrets */
	uint8_t		s_public[KEY_SIZE], e_public[KEY_SIZE];
	uint8_t		rs[KEY_SIZE], re[KEY_SIZE];	/* the peer's public keys */
};

/* ---- symmetric state ---- */

static void
mix_hash(struct noise *n, const uint8_t *data, size_t len)
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, n->h, NOISE_HASH);
	crypto_hash_sha256_update(&state, data, len);
	crypto_hash_sha256_final(&state, n->h);
}

/* HKDF with two outputs; `first` may be ck itself. */
static void
hkdf(const uint8_t ck[NOISE_HASH], const uint8_t *input, size_t len,
    uint8_t first[NOISE_HASH], uint8_t second[NOISE_HASH])
{
	uint8_t key[NOISE_HASH], block[NOISE_HASH + 1];

	crypto_auth_hmacsha256(key, input, len, ck);
	block[0] = 1;
	crypto_auth_hmacsha256(first, block, 1, key);
	memcpy(block, first, NOISE_HASH);
	block[NOISE_HASH] = 2;
	crypto_auth_hmacsha256(second, block, sizeof block, key);
	sodium_memzero(key, sizeof key);
	sodium_memzero(block, sizeof block);
}

/* MixKey(DH(secret, public)); a degenerate result is refused. */
static int
mix_dh(struct noise *n, const uint8_t secret[KEY_SIZE], const uint8_t public[KEY_SIZE])
{
	uint8_t shared[KEY_SIZE];
	int r = crypto_scalarmult(shared, secret, public);

	/* libsodium refuses low-order points; that no zeros pass does not rest on it alone. */
	if (r != 0 || sodium_is_zero(shared, sizeof shared))
		return -EBADMSG;
	hkdf(n->ck, shared, sizeof shared, n->ck, n->k);
	n->n = 0;
	sodium_memzero(shared, sizeof shared);
	return 0;
}

static void
next_nonce(struct noise *n, uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
	for (int i = 0; i < (int)crypto_aead_chacha20poly1305_ietf_NPUBBYTES; i++)
		nonce[i] = i < 4 ? 0 : n->n >> 8 * (i - 4);
	n->n++;
}

/* to[] has room for a tag more than the plaintext. */
static void
encrypt_and_hash(struct noise *n, struct bytes plain, uint8_t *to)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

	next_nonce(n, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(to, NULL, plain.data, plain.len,
	    n->h, NOISE_HASH, NULL, nonce, n->k);
	mix_hash(n, to, plain.len + NOISE_TAG);
}

static int
decrypt_and_hash(struct noise *n, struct bytes sealed, uint8_t *to)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

	next_nonce(n, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(to, NULL, NULL, sealed.data, sealed.len,
	    n->h, NOISE_HASH, nonce, n->k) != 0)
		return -EBADMSG;
	mix_hash(n, sealed.data, sealed.len);
	return 0;
}

/* ---- handshake state ---- */

static struct noise *
noise_new(bool initiator, const uint8_t secret[KEY_SIZE], struct bytes prologue)
{
	static const char name[] = "Noise_IK_25519_ChaChaPoly_SHA256";
	struct noise *n;

	_Static_assert(sizeof name - 1 == NOISE_HASH, "a name of the hash's length is the first hash");
	if (sodium_init() < 0 || (n = sodium_malloc(sizeof *n)) == NULL)
		return NULL;
	memset(n, 0, sizeof *n);
	n->initiator = initiator;
	memcpy(n->h, name, NOISE_HASH);
	memcpy(n->ck, name, NOISE_HASH);
	mix_hash(n, prologue.data, prologue.len);
	memcpy(n->s, secret, KEY_SIZE);
	noise_public(secret, n->s_public);
	noise_keypair(n->e, n->e_public);
	return n;
}

struct noise *
noise_initiator_new(const uint8_t secret[KEY_SIZE], const uint8_t server[KEY_SIZE], struct bytes prologue)
{
	struct noise *n = noise_new(true, secret, prologue);

	if (n != NULL) {
		memcpy(n->rs, server, KEY_SIZE);
		mix_hash(n, server, KEY_SIZE);
	}
	return n;
}

struct noise *
noise_responder_new(const uint8_t secret[KEY_SIZE], struct bytes prologue)
{
	struct noise *n = noise_new(false, secret, prologue);

	if (n != NULL)
		mix_hash(n, n->s_public, KEY_SIZE);
	return n;
}

void
noise_free(struct noise *n)
{
	sodium_free(n);
}

void
noise_set_ephemeral(struct noise *n, const uint8_t secret[KEY_SIZE])
{
	memcpy(n->e, secret, KEY_SIZE);
	noise_public(secret, n->e_public);
}

static ssize_t
die(struct noise *n, int error)
{
	n->step = DEAD;
	return error;
}

/* -> e, es, s, ss */
static int
write_1(struct noise *n, struct cursor *c)
{
	cursor_put(c, n->e_public, KEY_SIZE);
	mix_hash(n, n->e_public, KEY_SIZE);
	if (mix_dh(n, n->e, n->rs) < 0)
		return -EBADMSG;
	encrypt_and_hash(n, (struct bytes){ n->s_public, KEY_SIZE }, cursor_reserve(c, KEY_SIZE + NOISE_TAG));
	return mix_dh(n, n->s, n->rs);
}

static int
read_1(struct noise *n, struct cursor *c)
{
	cursor_get(c, n->re, KEY_SIZE);
	mix_hash(n, n->re, KEY_SIZE);
	if (mix_dh(n, n->s, n->re) < 0 ||
	    decrypt_and_hash(n, cursor_get_bytes(c, KEY_SIZE + NOISE_TAG), n->rs) < 0)
		return -EBADMSG;
	return mix_dh(n, n->s, n->rs);
}

/* <- e, ee, se */
static int
write_2(struct noise *n, struct cursor *c)
{
	cursor_put(c, n->e_public, KEY_SIZE);
	mix_hash(n, n->e_public, KEY_SIZE);
	return mix_dh(n, n->e, n->re) < 0 ? -EBADMSG : mix_dh(n, n->e, n->rs);
}

static int
read_2(struct noise *n, struct cursor *c)
{
	cursor_get(c, n->re, KEY_SIZE);
	mix_hash(n, n->re, KEY_SIZE);
	return mix_dh(n, n->e, n->re) < 0 ? -EBADMSG : mix_dh(n, n->s, n->re);
}

ssize_t
noise_write(struct noise *n, struct bytes payload, uint8_t *to, size_t size)
{
	size_t overhead = n->initiator ? NOISE_MESSAGE_1 : NOISE_MESSAGE_2;
	struct cursor c = cursor_over(to, size);
	int r;

	if (n->step == DEAD)
		return -EBADMSG;
	assert(n->step == (n->initiator ? MESSAGE_1 : MESSAGE_2));
	if (size < overhead || payload.len > size - overhead)
		return -EMSGSIZE;
	r = n->initiator ? write_1(n, &c) : write_2(n, &c);
	if (r < 0)
		return die(n, r);
	encrypt_and_hash(n, payload, cursor_reserve(&c, payload.len + NOISE_TAG));
	n->step++;
	return c.pos;
}

ssize_t
noise_read(struct noise *n, struct bytes message, uint8_t *to, size_t size)
{
	size_t overhead = n->initiator ? NOISE_MESSAGE_2 : NOISE_MESSAGE_1;
	struct cursor c = cursor_read(message.data, message.len);
	int r;

	if (n->step == DEAD)
		return -EBADMSG;
	assert(n->step == (n->initiator ? MESSAGE_2 : MESSAGE_1));
	if (message.len < overhead)
		return die(n, -EBADMSG);
	if (message.len - overhead > size)
		return die(n, -EMSGSIZE);
	r = n->initiator ? read_2(n, &c) : read_1(n, &c);
	if (r == 0)
		r = decrypt_and_hash(n, cursor_get_bytes(&c, cursor_left(&c)), to);
	if (r < 0)
		return die(n, r);
	n->step++;
	return message.len - overhead;
}

const uint8_t *
noise_peer(const struct noise *n)
{
	assert(n->initiator || n->step == MESSAGE_2 || n->step == COMPLETE);
	return n->rs;
}

int
noise_split(struct noise *n, struct frame_keys *ret_send, struct frame_keys *ret_receive,
    uint8_t ret_hash[NOISE_HASH])
{
	uint8_t first[KEY_SIZE], second[KEY_SIZE];

	if (n->step == DEAD)
		return -EBADMSG;
	assert(n->step == COMPLETE);
	hkdf(n->ck, NULL, 0, first, second);
	frame_keys_init(ret_send, n->initiator ? first : second);
	frame_keys_init(ret_receive, n->initiator ? second : first);
	memcpy(ret_hash, n->h, NOISE_HASH);
	sodium_memzero(first, sizeof first);
	sodium_memzero(second, sizeof second);
	return 0;
}

void
noise_proof(const uint8_t secret[SECRET_SIZE], const uint8_t hash[NOISE_HASH], uint8_t ret_proof[PROOF_SIZE])
{
	static const char label[] = "nuage session proof";
	uint8_t input[sizeof label - 1 + NOISE_HASH];

	memcpy(input, label, sizeof label - 1);
	memcpy(input + sizeof label - 1, hash, NOISE_HASH);
	crypto_generichash(ret_proof, PROOF_SIZE, input, sizeof input, secret, SECRET_SIZE);
}

void
noise_keypair(uint8_t ret_secret[KEY_SIZE], uint8_t ret_public[KEY_SIZE])
{
	randombytes_buf(ret_secret, KEY_SIZE);
	noise_public(ret_secret, ret_public);
}

void
noise_public(const uint8_t secret[KEY_SIZE], uint8_t ret_public[KEY_SIZE])
{
	crypto_scalarmult_base(ret_public, secret);
}
