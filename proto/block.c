/*
 * block.c - sealed blocks; see seal.h.
 *
 *	u8 format (1), u32 epoch, u32 plain length, u16 cells, 32 bytes salt,
 *	cells x u32: top bit = stored raw, the rest = sealed length;
 *	then the sealed cells, one after another
 *
 * Every cell but the last holds CELL_SIZE bytes of plaintext.  A cell is
 * compressed by zstd, or raw where that gains too little, then sealed with
 * ChaCha20-Poly1305 under the block's cell key, keyed BLAKE2b(content key;
 * block id, salt); its nonce is its index and its associated data
 *
 *	u8 format, u32 epoch, 32 bytes block id, u32 block length, u16 index,
 *	u16 cells, u32 plain length, u8 raw
 *
 * The salt is fresh for every sealing: another zstd would compress the same
 * plaintext to other bytes, and two ciphertexts under one key and nonce would
 * give both away.
 */
#include "proto/seal_internal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "proto/aead.h"
#include "proto/scratch.h"

#define RAW_FLAG UINT32_C(0x80000000)

enum {
	FORMAT		= 1,
	FIXED_SIZE	= 1 + 4 + 4 + 2 + SALT_SIZE,	/* of the header, before the cell table */
	AD_SIZE		= 1 + 4 + ID_SIZE + 4 + 2 + 2 + 4 + 1,
	HASH_SIZE	= crypto_hash_sha256_BYTES,
	WORTH		= 16,	/* compression must save one part in so many, or reading pays for nothing */
};

_Static_assert(crypto_auth_hmacsha256_KEYBYTES == KEY_SIZE, "id key");
_Static_assert(crypto_auth_hmacsha256_BYTES == ID_SIZE, "block id");
_Static_assert(FIXED_SIZE + CELLS_MAX * (4 + AEAD_TAG) <= SEALED_OVERHEAD, "overhead");

static unsigned
cells_of(size_t len)
{
	return (len + CELL_SIZE - 1) / CELL_SIZE;
}

static size_t
plain_of(size_t len, unsigned index)
{
	size_t left = len - (size_t)index * CELL_SIZE;

	return left < CELL_SIZE ? left : CELL_SIZE;
}

/* ---- names and keys ---- */

/* HMAC-SHA256(id key; u32 length, SHA-256 of each cell); 0 or -ENOMEM. */
static int
name_block(const struct volume_keys *keys, const uint8_t *plain, size_t len, uint8_t id[ID_SIZE])
{
	struct scratch *s = scratch_get();
	uint8_t hashes[4 + CELLS_MAX * HASH_SIZE];
	struct cursor c = cursor_over(hashes, sizeof hashes);

	if (s == NULL)
		return -ENOMEM;
	cursor_put_u32(&c, len);
	for (unsigned i = 0; i < cells_of(len); i++)
		if (EVP_DigestInit_ex2(s->digest, s->sha256, NULL) != 1 ||
		    EVP_DigestUpdate(s->digest, plain + (size_t)i * CELL_SIZE, plain_of(len, i)) != 1 ||
		    EVP_DigestFinal_ex(s->digest, cursor_reserve(&c, HASH_SIZE), NULL) != 1)
			return -ENOMEM;
	crypto_auth_hmacsha256(id, hashes, c.pos, keys->id);
	return 0;
}

static void
cell_key(const struct volume_keys *keys, const uint8_t id[ID_SIZE], const uint8_t salt[SALT_SIZE],
    uint8_t key[KEY_SIZE])
{
	uint8_t input[ID_SIZE + SALT_SIZE];

	memcpy(input, id, ID_SIZE);
	memcpy(input + ID_SIZE, salt, SALT_SIZE);
	crypto_generichash(key, KEY_SIZE, input, sizeof input, keys->content, KEY_SIZE);
}

static struct bytes
associate(const struct block_header *h, const uint8_t id[ID_SIZE], unsigned index,
    uint8_t to[AD_SIZE])
{
	struct cursor c = cursor_over(to, AD_SIZE);

	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, h->epoch);
	cursor_put(&c, id, ID_SIZE);
	cursor_put_u32(&c, h->length);
	cursor_put_u16(&c, index);
	cursor_put_u16(&c, h->cells);
	cursor_put_u32(&c, plain_of(h->length, index));
	cursor_put_u8(&c, h->raw[index]);
	return (struct bytes){ to, c.pos };
}

/* ---- header ---- */

static void
header_encode(const struct block_header *h, uint8_t *to)
{
	struct cursor c = cursor_over(to, h->size);

	cursor_put_u8(&c, FORMAT);
	cursor_put_u32(&c, h->epoch);
	cursor_put_u32(&c, h->length);
	cursor_put_u16(&c, h->cells);
	cursor_put(&c, h->salt, SALT_SIZE);
	for (unsigned i = 0; i < h->cells; i++)
		cursor_put_u32(&c, h->stored[i] | (h->raw[i] ? RAW_FLAG : 0));
}

int
block_header_decode(struct block_header *h, struct bytes from)
{
	struct cursor c = cursor_read(from.data, from.len);
	struct block_header b = { 0 };
	uint8_t format = cursor_get_u8(&c);

	b.epoch = cursor_get_u32(&c);
	b.length = cursor_get_u32(&c);
	b.cells = cursor_get_u16(&c);
	cursor_get(&c, b.salt, SALT_SIZE);
	if (!cursor_ok(&c))
		return -EBADMSG;
	if (format != FORMAT)
		return -ENOTSUP;
	if (b.length == 0 || b.length > BLOCK_SIZE || b.cells != cells_of(b.length))
		return -EBADMSG;
	for (unsigned i = 0; i < b.cells; i++) {
		uint32_t entry = cursor_get_u32(&c), raw_size = plain_of(b.length, i) + AEAD_TAG;

		b.raw[i] = (entry & RAW_FLAG) != 0;
		b.stored[i] = entry & ~RAW_FLAG;
		if (b.raw[i] ? b.stored[i] != raw_size
		    : b.stored[i] <= AEAD_TAG || b.stored[i] >= raw_size)
			return -EBADMSG;
	}
	if (!cursor_ok(&c))
		return -EBADMSG;
	b.size = c.pos;
	*h = b;
	return 0;
}

int
block_cells(const struct block_header *h, unsigned first, unsigned count,
    size_t *ret_offset, size_t *ret_size)
{
	size_t offset = h->size, size = 0;

	if (count == 0 || first >= h->cells || count > h->cells - first)
		return -EINVAL;
	for (unsigned i = 0; i < first; i++)
		offset += h->stored[i];
	for (unsigned i = first; i < first + count; i++)
		size += h->stored[i];
	*ret_offset = offset;
	*ret_size = size;
	return 0;
}

/* ---- sealing ---- */

/* Seals one cell at to[], which has room for it raw; its length and flag go into the header. */
static int
seal_cell(struct scratch *s, struct block_header *h, const uint8_t id[ID_SIZE],
    const uint8_t key[KEY_SIZE], unsigned index, const uint8_t *plain, int level, uint8_t *to)
{
	uint8_t ad_space[AD_SIZE];
	struct bytes ad;
	size_t len = plain_of(h->length, index), packed = 0;

	if (level != 0) {
		packed = ZSTD_compressCCtx(s->compress, to, len - len / WORTH - 1, plain, len, level);
		if (ZSTD_isError(packed))
			packed = 0;
	}
	h->raw[index] = packed == 0;
	h->stored[index] = (packed == 0 ? len : packed) + AEAD_TAG;
	ad = associate(h, id, index, ad_space);
	return aead_seal(key, index, &ad, 1, packed == 0 ? plain : to, packed == 0 ? len : packed, to);
}

ssize_t
block_seal_with(const struct volume_keys *keys, const uint8_t *plain, size_t len,
    int level, const uint8_t salt[SALT_SIZE], uint8_t id[ID_SIZE], uint8_t *to)
{
	struct scratch *s = scratch_get();
	struct block_header h = { .epoch = keys->epoch, .length = len, .cells = cells_of(len) };
	uint8_t key[KEY_SIZE];
	size_t at;
	int r;

	if (len == 0 || len > BLOCK_SIZE)
		return -EINVAL;
	if (s == NULL)
		return -ENOMEM;
	if ((r = name_block(keys, plain, len, id)) < 0)
		return r;
	memcpy(h.salt, salt, SALT_SIZE);
	cell_key(keys, id, salt, key);
	at = h.size = FIXED_SIZE + 4 * h.cells;
	for (unsigned i = 0; i < h.cells && r == 0; i++) {
		r = seal_cell(s, &h, id, key, i, plain + (size_t)i * CELL_SIZE, level, to + at);
		at += h.stored[i];
	}
	sodium_memzero(key, sizeof key);
	if (r < 0)
		return r;
	header_encode(&h, to);
	return at;
}

ssize_t
block_seal(const struct volume_keys *keys, const uint8_t *plain, size_t len,
    int level, uint8_t id[ID_SIZE], uint8_t *to)
{
	uint8_t salt[SALT_SIZE];

	randombytes_buf(salt, sizeof salt);
	return block_seal_with(keys, plain, len, level, salt, id, to);
}

int
block_id(const struct volume_keys *keys, const uint8_t *plain, size_t len, uint8_t id[ID_SIZE])
{
	return len == 0 || len > BLOCK_SIZE ? -EINVAL : name_block(keys, plain, len, id);
}

/* ---- opening ---- */

size_t
cell_length(const struct block_header *h, unsigned index)
{
	return plain_of(h->length, index);
}

ssize_t
cell_open(const struct volume_keys *keys, const uint8_t id[ID_SIZE],
    const struct block_header *h, unsigned index, struct bytes cell, uint8_t *to)
{
	struct scratch *s = scratch_get();
	uint8_t key[KEY_SIZE], ad_space[AD_SIZE];
	struct bytes ad;
	size_t len;
	int r;

	if (index >= h->cells || cell.len != h->stored[index])
		return -EBADMSG;
	if (h->epoch != keys->epoch)
		return -ENOTSUP;
	if (s == NULL)
		return -ENOMEM;
	len = plain_of(h->length, index);
	cell_key(keys, id, h->salt, key);
	ad = associate(h, id, index, ad_space);
	r = aead_open(key, index, &ad, 1, cell, h->raw[index] ? to : s->packed);
	sodium_memzero(key, sizeof key);
	if (r < 0)
		return r;
	/* A member sealed it, but perhaps a hostile one: zstd is held to len bytes. */
	if (!h->raw[index] &&
	    ZSTD_decompressDCtx(s->expand, to, len, s->packed, cell.len - AEAD_TAG) != len)
		return -EBADMSG;
	return len;
}
