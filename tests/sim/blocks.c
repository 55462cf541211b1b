/*
 * blocks.c - see blocks.h.
 *
 * The stand-ins:	record	sum u64 over what a seal binds, value
 *			block	plain length u32, plain bytes
 * A stand-in's block id is two 128-bit hashes of the bytes.
 */
#include "tests/sim/blocks.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { SUM_SIZE = 8, LENGTH_SIZE = 4, WRITER = 1 };

struct sealing {
	struct volume_keys	*keys;
};

void
blocks_new(struct sim *sim)
{
	uint8_t key[KEY_SIZE], volume[VOLUME_ID_SIZE];

	if (sodium_init() < 0)
		abort();
	memset(key, 1, sizeof key);
	memset(volume, 2, sizeof volume);
	sim->sealing = sim_alloc(sizeof *sim->sealing);
	if ((sim->sealing->keys = volume_keys_new(key, volume)) == NULL)
		abort();
}

void
blocks_free(struct sim *sim)
{
	volume_keys_free(sim->sealing->keys);
	free(sim->sealing);
}

const struct volume_keys *
blocks_keys(const struct sim *sim)
{
	return sim->sealing->keys;
}

void
blocks_token_hash(const uint8_t token[SECRET_SIZE], uint8_t hash[KEY_SIZE])
{
	crypto_generichash(hash, KEY_SIZE, token, SECRET_SIZE, NULL, 0);
}

/* ---- records ---- */

static uint64_t
record_sum(const struct record_context *context, struct bytes value)
{
	uint64_t sum = XXH3_64bits_withSeed(&context->oid, sizeof context->oid, context->kind);

	sum = XXH3_64bits_withSeed(context->subkey.data, context->subkey.len, sum);
	sum = XXH3_64bits_withSeed(context->orefs, context->orefs_count * sizeof *context->orefs, sum);
	sum = XXH3_64bits_withSeed(context->brefs, (size_t)context->brefs_count * ID_SIZE, sum);
	return XXH3_64bits_withSeed(value.data, value.len, sum);
}

static void *
arena_must(struct arena *arena, size_t size)
{
	void *p = arena_alloc(arena, size);

	if (p == NULL)
		abort();
	return p;
}

struct bytes
blocks_seal_record(struct sim *sim, const struct msg_change *m, struct arena *arena)
{
	struct record_context context = { m->oid, m->kind, m->subkey, m->orefs.at, m->orefs.count,
	    m->brefs.at, m->brefs.count };
	uint8_t *to = arena_must(arena, m->value.len + RECORD_OVERHEAD);

	if (sim->options.crypto) {
		ssize_t len = record_seal(sim->sealing->keys, &context, WRITER, m->value, to,
		    m->value.len + RECORD_OVERHEAD);

		if (len < 0)
			sim_fail(sim, "record_seal: %s", strerrorname_np((int)-len));
		return (struct bytes){ to, len < 0 ? 0 : (size_t)len };
	}
	if (m->value.len + RECORD_OVERHEAD > VALUE_MAX)
		sim_fail(sim, "a value of %zu bytes leaves no room for its seal", m->value.len);
	memcpy(to, &(uint64_t){ record_sum(&context, m->value) }, SUM_SIZE);
	if (m->value.len > 0)
		memcpy(to + SUM_SIZE, m->value.data, m->value.len);
	return (struct bytes){ to, SUM_SIZE + m->value.len };
}

struct bytes
blocks_open_record(struct sim *sim, uint64_t oid, uint8_t kind, struct bytes subkey,
    const uint64_t *orefs, uint32_t orefs_count, const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count,
    struct bytes sealed, struct arena *arena)
{
	struct record_context context = { oid, kind, subkey, orefs, orefs_count, brefs, brefs_count };
	struct bytes plain = { NULL, 0 };
	uint64_t sum;

	if (sim->options.crypto) {
		uint8_t *to = arena_must(arena, sealed.len + 1);
		ssize_t len = record_open(sim->sealing->keys, &context, sealed, to, sealed.len + 1);

		return len < 0 ? plain : (struct bytes){ to, (size_t)len };
	}
	if (sealed.len < SUM_SIZE)
		return plain;
	memcpy(&sum, sealed.data, SUM_SIZE);
	plain = (struct bytes){ sealed.data + SUM_SIZE, sealed.len - SUM_SIZE };
	return record_sum(&context, plain) == sum ? plain : (struct bytes){ NULL, 0 };
}

/* ---- blocks ---- */

static void
stand_in_id(const uint8_t *plain, size_t len, uint8_t id[ID_SIZE])
{
	XXH128_hash_t a = XXH3_128bits_withSeed(plain, len, 1);
	uint64_t words[4] = { a.low64, a.high64, rng_mix(a.low64 ^ len), rng_mix(a.high64) };

	memcpy(id, words, ID_SIZE);
}

size_t
blocks_seal(struct sim *sim, const uint8_t *plain, size_t len, uint8_t id[ID_SIZE], uint8_t *to)
{
	if (sim->options.crypto) {
		ssize_t sealed = block_seal(sim->sealing->keys, plain, len, 1, id, to);

		if (sealed < 0)
			sim_fail(sim, "block_seal: %s", strerrorname_np((int)-sealed));
		return sealed < 0 ? 0 : (size_t)sealed;
	}
	stand_in_id(plain, len, id);
	memcpy(to, &(uint32_t){ (uint32_t)len }, LENGTH_SIZE);
	memcpy(to + LENGTH_SIZE, plain, len);
	return LENGTH_SIZE + len;
}

/* Where cells [first, first + count) are in the plain bytes. */
static int
stand_in_range(size_t length, unsigned first, unsigned count, size_t *ret_offset, size_t *ret_size)
{
	size_t offset = (size_t)first * CELL_SIZE, end = offset + (size_t)count * CELL_SIZE;

	if (count == 0 || offset >= length || end >= length + CELL_SIZE)
		return -EINVAL;
	*ret_offset = offset;
	*ret_size = (end < length ? end : length) - offset;
	return 0;
}

int
blocks_cut(struct sim *sim, struct bytes block, unsigned first, unsigned count, uint8_t *to, size_t *ret_len)
{
	size_t head = LENGTH_SIZE, offset, size;
	int r;

	if (sim->options.crypto) {
		struct block_header h;

		if ((r = block_header_decode(&h, block)) < 0 || (r = block_cells(&h, first, count, &offset, &size)) < 0)
			return r;
		head = h.size;
	} else {
		if ((r = stand_in_range(block.len - LENGTH_SIZE, first, count, &offset, &size)) < 0)
			return r;
		offset += LENGTH_SIZE;
	}
	memcpy(to, block.data, head);
	memcpy(to + head, block.data + offset, size);
	*ret_len = head + size;
	return 0;
}

ssize_t
blocks_open_cell(struct sim *sim, const uint8_t id[ID_SIZE], unsigned first, unsigned index, struct bytes cut,
    uint8_t to[CELL_SIZE])
{
	size_t offset, size, base, base_size;
	uint32_t length;
	int r;

	if (sim->options.crypto) {
		struct block_header h;

		if ((r = block_header_decode(&h, cut)) < 0 ||
		    (r = block_cells(&h, first, 1, &base, &base_size)) < 0 ||
		    (r = block_cells(&h, first + index, 1, &offset, &size)) < 0)
			return r;
		offset = h.size + offset - base;
		if (offset + size > cut.len)
			return -EBADMSG;
		return cell_open(sim->sealing->keys, id, &h, first + index, (struct bytes){ cut.data + offset, size }, to);
	}
	if (cut.len < LENGTH_SIZE)
		return -EBADMSG;
	memcpy(&length, cut.data, LENGTH_SIZE);
	if ((r = stand_in_range(length, first, 1, &base, &base_size)) < 0 ||
	    (r = stand_in_range(length, first + index, 1, &offset, &size)) < 0)
		return r;
	offset = LENGTH_SIZE + offset - base;
	if (offset + size > cut.len)
		return -EBADMSG;
	memcpy(to, cut.data + offset, size);
	return (ssize_t)size;
}

ssize_t
blocks_open(struct sim *sim, const uint8_t id[ID_SIZE], struct bytes block, uint8_t *to)
{
	uint8_t check[ID_SIZE];
	size_t len = 0;
	ssize_t n = 0;
	uint32_t length;

	if (!sim->options.crypto) {
		if (block.len < LENGTH_SIZE)
			return -EBADMSG;
		memcpy(&length, block.data, LENGTH_SIZE);
		stand_in_id(block.data + LENGTH_SIZE, block.len - LENGTH_SIZE, check);
		if (length != block.len - LENGTH_SIZE || memcmp(check, id, ID_SIZE) != 0)
			return -EBADMSG;
		memcpy(to, block.data + LENGTH_SIZE, length);
		return length;
	}
	for (unsigned i = 0; i < CELLS_MAX; i++) {
		if ((n = blocks_open_cell(sim, id, 0, i, block, to + len)) == -EINVAL)
			break;
		if (n < 0)
			return n;
		len += (size_t)n;
	}
	return (ssize_t)len;
}
