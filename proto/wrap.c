/* wrap.c - see wrap.h. */
#include "proto/wrap_internal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum { FORMAT = 1, PREFIX = 10, AD_SIZE = PREFIX + 1 + VOLUME_ID_SIZE };

_Static_assert(WRAP_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(WRAP_SIZE == 1 + WRAP_NONCE + KEY_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES, "size");
_Static_assert((int)WRAP_SIZE <= (int)WRAP_MAX, "a wrap fits its message");
_Static_assert(RECOVERY_SECRET >= (int)crypto_generichash_KEYBYTES_MIN, "a recovery secret keys BLAKE2b");

static void
derive(const uint8_t *secret, size_t len, const char *purpose, uint8_t ret[KEY_SIZE])
{
	crypto_generichash(ret, KEY_SIZE, (const uint8_t *)purpose, strlen(purpose), secret, len);
}

void
wrap_key_of_device(const uint8_t device_secret[KEY_SIZE], uint8_t ret_key[KEY_SIZE])
{
	derive(device_secret, KEY_SIZE, "nuage device wrap key", ret_key);
}

void
wrap_key_of_invitation(const uint8_t secret[SECRET_SIZE], uint8_t ret_key[KEY_SIZE])
{
	derive(secret, SECRET_SIZE, "nuage invitation wrap key", ret_key);
}

void
wrap_key_of_recovery(const uint8_t secret[RECOVERY_SECRET], uint8_t ret_key[KEY_SIZE])
{
	derive(secret, RECOVERY_SECRET, "nuage recovery wrap key", ret_key);
}

void
wrap_token(const uint8_t secret[SECRET_SIZE], uint8_t ret_token[SECRET_SIZE])
{
	_Static_assert((int)SECRET_SIZE == (int)KEY_SIZE, "a token is as long as a key");
	derive(secret, SECRET_SIZE, "nuage invitation token", ret_token);
}

void
wrap_token_hash(const uint8_t token[SECRET_SIZE], uint8_t ret_hash[KEY_SIZE])
{
	crypto_generichash(ret_hash, KEY_SIZE, token, SECRET_SIZE, NULL, 0);
}

void
wrap_recovery_device(const uint8_t secret[RECOVERY_SECRET], uint8_t ret_secret[KEY_SIZE])
{
	derive(secret, RECOVERY_SECRET, "nuage recovery device", ret_secret);
}

static void
associate(const uint8_t volume[VOLUME_ID_SIZE], uint8_t to[AD_SIZE])
{
	struct cursor c = cursor_over(to, AD_SIZE);

	cursor_put(&c, "nuage wrap", PREFIX);
	cursor_put_u8(&c, FORMAT);
	cursor_put(&c, volume, VOLUME_ID_SIZE);
}

void
wrap_seal_with(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
    const uint8_t volume_key[KEY_SIZE], const uint8_t nonce[WRAP_NONCE], uint8_t to[WRAP_SIZE])
{
	uint8_t ad[AD_SIZE];

	associate(volume, ad);
	to[0] = FORMAT;
	memcpy(to + 1, nonce, WRAP_NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(to + 1 + WRAP_NONCE, NULL, volume_key, KEY_SIZE,
	    ad, sizeof ad, NULL, nonce, key);
}

void
wrap_seal(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
    const uint8_t volume_key[KEY_SIZE], uint8_t to[WRAP_SIZE])
{
	uint8_t nonce[WRAP_NONCE];

	randombytes_buf(nonce, sizeof nonce);
	wrap_seal_with(key, volume, volume_key, nonce, to);
}

int
wrap_open(const uint8_t key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE],
    struct bytes wrap, uint8_t ret_volume_key[KEY_SIZE])
{
	uint8_t ad[AD_SIZE], opened[KEY_SIZE];
	int r;

	if (wrap.len == 0)
		return -EBADMSG;
	if (wrap.data[0] != FORMAT)
		return -ENOTSUP;
	if (wrap.len != WRAP_SIZE)
		return -EBADMSG;
	associate(volume, ad);
	r = crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, wrap.data + 1 + WRAP_NONCE,
	    KEY_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES, ad, sizeof ad, wrap.data + 1, key);
	if (r == 0)
		memcpy(ret_volume_key, opened, KEY_SIZE);
	sodium_memzero(opened, sizeof opened);
	return r == 0 ? 0 : -EBADMSG;
}
