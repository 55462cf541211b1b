/* frame.c - see frame.h. */
#include "proto/frame.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "proto/aead.h"

_Static_assert((int)FRAME_TAG == (int)AEAD_TAG, "tag");

void
frame_keys_init(struct frame_keys *keys, const uint8_t key[KEY_SIZE])
{
	memcpy(keys->key, key, KEY_SIZE);
	keys->counter = 0;
}

void
frame_keys_done(struct frame_keys *keys)
{
	sodium_memzero(keys, sizeof *keys);
}

/* REKEY(k) = the first 32 bytes of ENCRYPT(k, 2^64 - 1, nothing, 32 zeros). */
static int
rekey(uint8_t key[KEY_SIZE])
{
	static const uint8_t zeros[KEY_SIZE];
	uint8_t sealed[KEY_SIZE + AEAD_TAG];
	int r = aead_seal(key, UINT64_MAX, NULL, 0, zeros, KEY_SIZE, sealed);

	if (r == 0)
		memcpy(key, sealed, KEY_SIZE);
	sodium_memzero(sealed, sizeof sealed);
	return r;
}

/*
 * The key changes before the first frame under the new one, not after the
 * last under the old: then a failure leaves nothing half done.
 */
static int
prepare(struct frame_keys *keys, uint8_t key[KEY_SIZE])
{
	memcpy(key, keys->key, KEY_SIZE);
	return keys->counter > 0 && keys->counter % FRAME_REKEY == 0 ? rekey(key) : 0;
}

static void
advance(struct frame_keys *keys, const uint8_t key[KEY_SIZE])
{
	memcpy(keys->key, key, KEY_SIZE);
	keys->counter++;
}

ssize_t
frame_seal(struct frame_keys *keys, struct bytes body, struct bytes payload, uint8_t *to)
{
	struct cursor c = cursor_over(to, FRAME_HEADER);
	struct bytes ad[] = { { to, FRAME_HEADER }, payload };
	uint8_t key[KEY_SIZE];
	int r;

	if (body.len > FRAME_BODY_MAX || payload.len > FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	cursor_put_u32(&c, body.len + FRAME_TAG);
	cursor_put_u32(&c, payload.len);
	if ((r = prepare(keys, key)) == 0)
		r = aead_seal(key, keys->counter, ad, 2, body.data, body.len, to + FRAME_HEADER);
	if (r == 0)
		advance(keys, key);
	sodium_memzero(key, sizeof key);
	return r < 0 ? r : (ssize_t)(FRAME_HEADER + body.len + FRAME_TAG);
}

int
frame_header_decode(const uint8_t header[FRAME_HEADER], size_t *ret_sealed, size_t *ret_payload)
{
	struct cursor c = cursor_read(header, FRAME_HEADER);
	uint32_t sealed = cursor_get_u32(&c), payload = cursor_get_u32(&c);

	if (sealed < FRAME_TAG || sealed > FRAME_BODY_MAX + FRAME_TAG || payload > FRAME_PAYLOAD_MAX)
		return -EBADMSG;
	*ret_sealed = sealed;
	*ret_payload = payload;
	return 0;
}

int
frame_open(struct frame_keys *keys, const uint8_t header[FRAME_HEADER], uint8_t *sealed,
    size_t sealed_len, struct bytes payload, struct bytes *ret_body)
{
	struct bytes ad[] = { { header, FRAME_HEADER }, payload };
	uint8_t key[KEY_SIZE];
	int r = prepare(keys, key);

	if (r == 0)
		r = aead_open(key, keys->counter, ad, 2, (struct bytes){ sealed, sealed_len }, sealed);
	if (r == 0) {
		advance(keys, key);
		*ret_body = (struct bytes){ sealed, sealed_len - FRAME_TAG };
	}
	sodium_memzero(key, sizeof key);
	return r;
}
