/*
 * record.c - sealed record values; see seal.h.
 *
 *	u8 format (1), u32 epoch, u64 writer, 24 bytes nonce,
 *	XChaCha20-Poly1305 ciphertext, 16 bytes tag
 *
 * The associated data says where the record stands and what it refers to:
 *
 *	u8 format, u32 epoch, u64 writer, 16 bytes volume, u64 oid, u8 kind,
 *	u8 length, subkey, u32 count, u64 object each, u32 count, 32 bytes block each
 *
 * so the server can neither move a value to another key or volume nor change
 * the references it counts.  The nonce is random: 24 bytes are enough for any
 * number of records.
 */
#include "proto/seal_internal.h"

#include <errno.h>
#include <sodium.h>

enum {
	FORMAT		= 1,
	HEADER_SIZE	= RECORD_OVERHEAD - crypto_aead_xchacha20poly1305_ietf_ABYTES,
	AD_MAX		= 1 + 4 + 8 + VOLUME_ID_SIZE + 8 + 1 + 1 + SUBKEY_MAX +
			  4 + REFS_MAX * 8 + 4 + REFS_MAX * ID_SIZE,
};

_Static_assert(RECORD_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");

/* A cursor over to[] that failed if the context is against the limits. */
static struct cursor
associate(const struct volume_keys *keys, const struct record_context *context,
    uint64_t writer, uint8_t to[AD_MAX])
{
	struct cursor c = cursor_over(to, AD_MAX);

	if (context->subkey.len > SUBKEY_MAX || context->orefs_count > REFS_MAX ||
	    context->brefs_count > REFS_MAX) {
		cursor_fail(&c);
		return c;
	}
	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, keys->epoch);
	cursor_put_u64(&c, writer);
	cursor_put(&c, keys->volume, VOLUME_ID_SIZE);
	cursor_put_u64(&c, context->oid);
	cursor_put_u8(&c, context->kind);
	cursor_put_u8(&c, context->subkey.len);
	cursor_put(&c, context->subkey.data, context->subkey.len);
	cursor_put_u32(&c, context->orefs_count);
	for (uint32_t i = 0; i < context->orefs_count; i++)
		cursor_put_u64(&c, context->orefs[i]);
	cursor_put_u32(&c, context->brefs_count);
	cursor_put(&c, context->brefs, (size_t)context->brefs_count * ID_SIZE);
	return c;
}

ssize_t
record_seal_with(const struct volume_keys *keys, const struct record_context *context,
    uint64_t writer, const uint8_t nonce[RECORD_NONCE], struct bytes plain,
    uint8_t *to, size_t size)
{
	uint8_t ad_space[AD_MAX];
	struct cursor ad = associate(keys, context, writer, ad_space), c;

	if (!cursor_ok(&ad))
		return -EINVAL;
	if (plain.len > VALUE_MAX - RECORD_OVERHEAD || size < RECORD_OVERHEAD + plain.len)
		return -EMSGSIZE;
	c = cursor_over(to, size);
	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, keys->epoch);
	cursor_put_u64(&c, writer);
	cursor_put(&c, nonce, RECORD_NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(to + HEADER_SIZE, NULL, plain.data, plain.len,
	    ad_space, ad.pos, NULL, nonce, keys->record);
	return RECORD_OVERHEAD + plain.len;
}

ssize_t
record_seal(const struct volume_keys *keys, const struct record_context *context,
    uint64_t writer, struct bytes plain, uint8_t *to, size_t size)
{
	uint8_t nonce[RECORD_NONCE];

	randombytes_buf(nonce, sizeof nonce);
	return record_seal_with(keys, context, writer, nonce, plain, to, size);
}

ssize_t
record_open(const struct volume_keys *keys, const struct record_context *context,
    struct bytes sealed, uint8_t *to, size_t size)
{
	uint8_t ad_space[AD_MAX];
	struct cursor ad, c = cursor_read(sealed.data, sealed.len);
	struct bytes nonce, body;
	uint32_t epoch;
	uint64_t writer;

	if (sealed.len < RECORD_OVERHEAD)
		return -EBADMSG;
	if (cursor_get_u8(&c) != FORMAT)
		return -ENOTSUP;
	epoch = cursor_get_u32(&c);
	writer = cursor_get_u64(&c);
	nonce = cursor_get_bytes(&c, RECORD_NONCE);
	body = cursor_get_bytes(&c, cursor_left(&c));
	if (epoch != keys->epoch)
		return -ENOTSUP;
	if (size < sealed.len - RECORD_OVERHEAD)
		return -EMSGSIZE;
	ad = associate(keys, context, writer, ad_space);
	if (!cursor_ok(&ad) || crypto_aead_xchacha20poly1305_ietf_decrypt(to, NULL, NULL,
	    body.data, body.len, ad_space, ad.pos, nonce.data, keys->record) != 0)
		return -EBADMSG;
	return sealed.len - RECORD_OVERHEAD;
}
