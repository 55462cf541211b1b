/*
 * seal.c - the keys of a volume; see seal.h, and record.c and block.c for
 * what they seal.
 *
 * Each purpose has its own key, derived from the volume key by crypto_kdf
 * (BLAKE2b keyed with it; context = purpose, subkey = epoch), so that nothing
 * made for one can be taken for another.
 */
#include "proto/seal_internal.h"

#include <sodium.h>
#include <string.h>

_Static_assert(crypto_kdf_KEYBYTES == KEY_SIZE, "a volume key is a master key of crypto_kdf");

static void
derive(uint8_t to[KEY_SIZE], const char purpose[crypto_kdf_CONTEXTBYTES], uint32_t epoch,
    const uint8_t volume_key[KEY_SIZE])
{
	crypto_kdf_derive_from_key(to, KEY_SIZE, epoch, purpose, volume_key);
}

struct volume_keys *
volume_keys_new(const uint8_t volume_key[KEY_SIZE], const uint8_t volume[VOLUME_ID_SIZE])
{
	struct volume_keys *keys;

	if (sodium_init() < 0 || (keys = sodium_malloc(sizeof *keys)) == NULL)
		return NULL;
	memcpy(keys->volume, volume, VOLUME_ID_SIZE);
	keys->epoch = 0;
	derive(keys->token, "nuagetok", 0, volume_key);
	derive(keys->id, "nuageid_", 0, volume_key);
	derive(keys->content, "nuagecel", keys->epoch, volume_key);
	derive(keys->record, "nuagerec", keys->epoch, volume_key);
	sodium_mprotect_readonly(keys);
	return keys;
}

void
volume_keys_free(struct volume_keys *keys)
{
	sodium_free(keys);
}

void
name_token(const struct volume_keys *keys, uint64_t oid, struct bytes name,
    uint8_t token[TOKEN_SIZE])
{
	crypto_generichash_state state;
	uint8_t be[8];
	struct cursor c = cursor_over(be, sizeof be);

	cursor_put_u64(&c, oid);
	crypto_generichash_init(&state, keys->token, KEY_SIZE, TOKEN_SIZE);
	crypto_generichash_update(&state, be, sizeof be);
	crypto_generichash_update(&state, name.data, name.len);
	crypto_generichash_final(&state, token, TOKEN_SIZE);
	sodium_memzero(&state, sizeof state);
}
