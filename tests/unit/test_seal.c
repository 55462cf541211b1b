/* test_seal.c - what is sealed comes back; damaged, cut, moved or grafted it does not. */
#include "proto/seal_internal.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/aead.h"
#include "proto/scratch.h"
#include "tests/tap.h"

#define TEXT(s) ((struct bytes){ (const uint8_t *)(s), sizeof (s) - 1 })

static const uint8_t volume_key[KEY_SIZE] = { 1 }, volume[VOLUME_ID_SIZE] = { 2 };
static struct volume_keys *keys;

/* ---- names ---- */

static void
test_token(void)
{
	uint8_t a[TOKEN_SIZE], b[TOKEN_SIZE];

	name_token(keys, 7, TEXT("name"), a);
	name_token(keys, 7, TEXT("name"), b);
	ok(memcmp(a, b, TOKEN_SIZE) == 0, "a name has one token in a directory");
	name_token(keys, 8, TEXT("name"), b);
	ok(memcmp(a, b, TOKEN_SIZE) != 0, "and another in another");
	name_token(keys, 7, TEXT("namf"), b);
	ok(memcmp(a, b, TOKEN_SIZE) != 0, "another name has another");
}

/* ---- records ---- */

static bool
opens(const struct volume_keys *with, const struct record_context *context, struct bytes sealed)
{
	uint8_t plain[VALUE_MAX];

	return record_open(with, context, sealed, plain, sizeof plain) >= 0;
}

static void
test_record_damage(const struct record_context *context)
{
	uint8_t sealed[256];
	ssize_t len = record_seal(keys, context, 5, TEXT("a small value"), sealed, sizeof sealed);
	bool refused = true;

	for (ssize_t bit = 0; bit < len * 8; bit++) {
		sealed[bit / 8] ^= 1 << bit % 8;
		refused &= !opens(keys, context, (struct bytes){ sealed, len });
		sealed[bit / 8] ^= 1 << bit % 8;
	}
	ok(refused && opens(keys, context, (struct bytes){ sealed, len }), "every flipped bit of a record is refused");
	for (ssize_t cut = 0; cut < len; cut++)
		refused &= !opens(keys, context, (struct bytes){ sealed, cut });
	ok(refused, "every truncation of a record is refused");
	sealed[len] = 0;
	ok(!opens(keys, context, (struct bytes){ sealed, len + 1 }), "a trailing byte is refused");
	sealed[0] = 2;
	ok(record_open(keys, context, (struct bytes){ sealed, len }, sealed, 256) == -ENOTSUP,
	    "an unknown format is not supported");
}

static void
test_record_moved(const struct record_context *context)
{
	uint8_t sealed[256];
	ssize_t len = record_seal(keys, context, 5, TEXT("a small value"), sealed, sizeof sealed);
	struct bytes s = { sealed, len };
	struct record_context c;
	uint64_t orefs[2] = { context->orefs[1], context->orefs[0] };
	uint8_t brefs[2][ID_SIZE] = { { 10 }, { 12 } }, other[KEY_SIZE] = { 3 };
	struct volume_keys *elsewhere = volume_keys_new(volume_key, other);
	struct volume_keys *stranger = volume_keys_new(other, volume);

	c = *context, c.oid++;
	ok(!opens(keys, &c, s), "a record does not open at another object");
	c = *context, c.kind++;
	ok(!opens(keys, &c, s), "nor as another kind");
	c = *context, c.subkey = TEXT("subkez");
	ok(!opens(keys, &c, s), "nor at another subkey");
	c = *context, c.subkey.len--;
	ok(!opens(keys, &c, s), "nor at a shorter one");
	c = *context, c.orefs = orefs;
	ok(!opens(keys, &c, s), "nor with its object references exchanged");
	c = *context, c.orefs_count--;
	ok(!opens(keys, &c, s), "nor with one less");
	c = *context, c.brefs = brefs;
	ok(!opens(keys, &c, s), "nor with another block");
	c = *context, c.brefs_count = 0;
	ok(!opens(keys, &c, s), "nor without its blocks");
	ok(!opens(elsewhere, context, s), "nor in another volume");
	ok(!opens(stranger, context, s), "nor under another key");
	c = *context, c.subkey.len = SUBKEY_MAX + 1;
	ok(!opens(keys, &c, s), "a context against the limits is refused");
	c = *context, c.orefs_count = UINT32_MAX;
	ok(record_seal(keys, &c, 5, s, sealed, sizeof sealed) == -EINVAL, "and not sealed for");
	volume_keys_free(elsewhere);
	volume_keys_free(stranger);
}

static void
test_record(void)
{
	static uint8_t big[VALUE_MAX + 1], sealed[VALUE_MAX + 1], back[VALUE_MAX];
	uint64_t orefs[] = { 7, 8 };
	uint8_t brefs[2][ID_SIZE] = { { 10 }, { 11 } };
	struct record_context context = { .oid = 6, .kind = 3, .subkey = TEXT("subkey"),
	    .orefs = orefs, .orefs_count = 2, .brefs = (const void *)brefs, .brefs_count = 2 };
	struct bytes largest = { big, VALUE_MAX - RECORD_OVERHEAD };
	ssize_t len = record_seal(keys, &context, 5, largest, sealed, VALUE_MAX);

	ok(len == VALUE_MAX && record_open(keys, &context, (struct bytes){ sealed, len }, back, sizeof back) ==
	    (ssize_t)largest.len && memcmp(back, big, largest.len) == 0, "the largest value comes back");
	ok(record_open(keys, &context, (struct bytes){ sealed, len }, back, largest.len - 1) == -EMSGSIZE,
	    "opening needs its room");
	ok(record_seal(keys, &context, 5, largest, back, VALUE_MAX - 1) == -EMSGSIZE, "so does sealing");
	largest.len++;
	ok(record_seal(keys, &context, 5, largest, sealed, sizeof sealed) == -EMSGSIZE, "a larger value is refused");
	len = record_seal(keys, &context, 5, (struct bytes){ NULL, 0 }, sealed, RECORD_OVERHEAD);
	ok(len == RECORD_OVERHEAD && record_open(keys, &context, (struct bytes){ sealed, len }, back, 0) == 0,
	    "an empty value comes back");
	record_seal(keys, &context, 5, TEXT("twice"), sealed, sizeof sealed);
	record_seal(keys, &context, 5, TEXT("twice"), back, sizeof back);
	ok(memcmp(sealed + 13, back + 13, 24) != 0, "no two sealings share a nonce");
	test_record_damage(&context);
	test_record_moved(&context);
}

/* ---- blocks ---- */

/* Every third cell is random, so that raw and compressed ones mix. */
static void
fill(uint8_t *plain, size_t len)
{
	for (size_t i = 0; i < len; i++)
		plain[i] = i / 100;
	for (size_t i = 0; i < len; i += 3 * CELL_SIZE)
		randombytes_buf(plain + i, len - i < CELL_SIZE ? len - i : CELL_SIZE);
}

/* The length of what opens to exactly plain[], cell by cell; or -1. */
static ssize_t
open_block(struct bytes sealed, const uint8_t id[ID_SIZE], const uint8_t *plain)
{
	static uint8_t cell[CELL_SIZE];
	struct block_header h;
	size_t offset, size, done = 0, end = 0;

	if (block_header_decode(&h, sealed) < 0)
		return -1;
	for (unsigned i = 0; i < h.cells; i++) {
		ssize_t n;

		if (block_cells(&h, i, 1, &offset, &size) < 0 || offset + size > sealed.len)
			return -1;
		n = cell_open(keys, id, &h, i, (struct bytes){ sealed.data + offset, size }, cell);
		if (n < 0 || memcmp(cell, plain + done, n) != 0)
			return -1;
		done += n;
		end = offset + size;
	}
	return end == sealed.len && done == h.length ? (ssize_t)done : -1;
}

static void
test_block(uint8_t *plain, uint8_t *sealed)
{
	static const size_t lengths[] = { 1, 40, 4096, CELL_SIZE - 1, CELL_SIZE, CELL_SIZE + 1,
	    BLOCK_SIZE - 1, BLOCK_SIZE };
	static const int levels[] = { 0, 1, 3, -1 };
	uint8_t id[ID_SIZE], again[ID_SIZE];
	ssize_t len = 0;

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (size_t k = 0; k < sizeof levels / sizeof *levels; k++) {
			fill(plain, lengths[i]);
			len = block_seal(keys, plain, lengths[i], levels[k], id, sealed);
			ok(len > 0 && (size_t)len <= lengths[i] + SEALED_OVERHEAD &&
			    open_block((struct bytes){ sealed, len }, id, plain) == (ssize_t)lengths[i],
			    "a block of %zu bytes comes back from level %d, as %zd", lengths[i], levels[k], len);
			ok(block_id(keys, plain, lengths[i], again) == 0 && memcmp(id, again, ID_SIZE) == 0,
			    "and has the id it was promised");
		}
	ok(block_seal(keys, plain, BLOCK_SIZE + 1, 1, id, sealed) == -EINVAL, "a larger block is refused");
	ok(block_seal(keys, plain, 0, 1, id, sealed) == -EINVAL && block_id(keys, plain, 0, id) == -EINVAL,
	    "so is an empty one");
	memset(plain, 0, BLOCK_SIZE);
	ok(block_seal(keys, plain, BLOCK_SIZE, 1, id, sealed) < 2048, "zeros shrink");
}

static void
test_block_id(uint8_t *plain)
{
	uint8_t a[ID_SIZE], b[ID_SIZE];
	const uint8_t key[KEY_SIZE] = { 9 };
	struct volume_keys *stranger = volume_keys_new(key, volume);

	memset(plain, 0, BLOCK_SIZE);
	block_id(keys, plain, CELL_SIZE, a);
	block_id(keys, plain, CELL_SIZE - 1, b);
	ok(memcmp(a, b, ID_SIZE) != 0, "the id depends on the length");
	plain[CELL_SIZE / 2] = 1;
	block_id(keys, plain, CELL_SIZE, b);
	ok(memcmp(a, b, ID_SIZE) != 0, "and on the content");
	block_id(stranger, plain, CELL_SIZE, a);
	ok(memcmp(a, b, ID_SIZE) != 0, "and on the volume's key: outsiders cannot guess content");
	volume_keys_free(stranger);
}

/* Opens cell 0 of a copy of the header; everything the header says must match the sealing. */
static void
test_cell_damage(uint8_t *plain, uint8_t *sealed)
{
	static uint8_t cell[CELL_SIZE];
	uint8_t id[ID_SIZE];
	struct block_header h, x;
	size_t offset, size;
	ssize_t len;
	bool refused = true;

	memset(plain, 'a', 2 * CELL_SIZE);
	len = block_seal(keys, plain, CELL_SIZE + 100, 1, id, sealed);
	for (ssize_t bit = 0; bit < len * 8; bit++) {
		sealed[bit / 8] ^= 1 << bit % 8;
		if (open_block((struct bytes){ sealed, len }, id, plain) >= 0)
			refused = false;
		sealed[bit / 8] ^= 1 << bit % 8;
	}
	ok(refused && open_block((struct bytes){ sealed, len }, id, plain) == CELL_SIZE + 100,
	    "every flipped bit of a block is refused");
	for (ssize_t cut = 0; cut < len; cut++)
		refused &= open_block((struct bytes){ sealed, cut }, id, plain) < 0;
	ok(refused, "every truncation of a block is refused");

	block_header_decode(&h, (struct bytes){ sealed, len });
	block_cells(&h, 0, 1, &offset, &size);
	const struct bytes first = { sealed + offset, size };
	ok(cell_open(keys, id, &h, 0, first, cell) == CELL_SIZE, "the cell opens alone");
	ok(cell_open(keys, id, &h, 2, first, cell) == -EBADMSG, "there is no third cell");
	x = h, x.epoch = 1;
	ok(cell_open(keys, id, &x, 0, first, cell) == -ENOTSUP, "another epoch's key is not known");
	x = h, x.length++;
	ok(cell_open(keys, id, &x, 0, first, cell) == -EBADMSG, "the block's length is bound");
	x = h, x.cells++;
	ok(cell_open(keys, id, &x, 0, first, cell) == -EBADMSG, "the count of cells is bound");
	x = h, x.raw[0] = true;
	ok(cell_open(keys, id, &x, 0, first, cell) == -EBADMSG, "the raw flag is bound");
	x = h, x.stored[1] = size;
	ok(cell_open(keys, id, &x, 1, first, cell) == -EBADMSG, "a cell does not open in another's place");
	x = h, x.salt[0] ^= 1;
	ok(cell_open(keys, id, &x, 0, first, cell) == -EBADMSG, "the salt is bound");
	id[0] ^= 1;
	ok(cell_open(keys, id, &h, 0, first, cell) == -EBADMSG, "the block's id is bound");

	/* Raw, so that it would be opened where the caller wants it, which has no room for more. */
	len = block_seal(keys, plain, 100, 0, id, sealed);
	block_header_decode(&h, (struct bytes){ sealed, len });
	block_cells(&h, 0, 1, &offset, &size);
	memset(cell, 7, sizeof cell);
	refused = cell_open(keys, id, &h, 0, (struct bytes){ sealed + offset, size + 1000 }, cell) == -EBADMSG;
	for (size_t i = 100; i < sizeof cell; i++)
		refused &= cell[i] == 7;
	ok(refused, "a cell that is longer than its header says is not touched");
}

/*
 * What a hostile member could seal: compressed bytes that expand to `real`
 * bytes under a header that says `told`.  Returns what cell_open says, or 1
 * when it wrote beyond `told`.
 */
static int
open_hostile(size_t told, size_t real, bool garbage)
{
	static uint8_t plain[CELL_SIZE], packed[CELL_SIZE], sealed[CELL_SIZE + AEAD_TAG], to[CELL_SIZE];
	const uint8_t id[ID_SIZE] = { 1 };
	uint8_t key[KEY_SIZE], input[ID_SIZE + SALT_SIZE] = { 1 }, ad_space[64];
	struct cursor c = cursor_over(ad_space, sizeof ad_space);
	struct block_header h = { .length = told, .cells = 1 };
	size_t len = ZSTD_compress(packed, sizeof packed, plain, real, 1);
	struct bytes ad;
	int r;

	if (garbage)
		packed[len / 2] ^= 0xff;
	crypto_generichash(key, sizeof key, input, sizeof input, keys->content, KEY_SIZE);
	cursor_put_u8(&c, 1);
	cursor_put_u32(&c, 0);
	cursor_put(&c, id, ID_SIZE);
	cursor_put_u32(&c, told);
	cursor_put_u16(&c, 0);
	cursor_put_u16(&c, 1);
	cursor_put_u32(&c, told);
	cursor_put_u8(&c, false);
	ad = (struct bytes){ ad_space, c.pos };
	aead_seal(key, 0, &ad, 1, packed, len, sealed);
	h.stored[0] = len + AEAD_TAG;
	memset(to, 0xee, sizeof to);
	r = cell_open(keys, id, &h, 0, (struct bytes){ sealed, h.stored[0] }, to);
	for (size_t i = told; i < sizeof to; i++)
		if (to[i] != 0xee)
			return 1;
	return r;
}

static void
test_hostile_member(void)
{
	ok(open_hostile(1000, 1000, false) == 1000, "the test seals as we do");
	ok(open_hostile(1000, 999, false) == -EBADMSG, "a cell that expands to less is refused");
	ok(open_hostile(1000, 1001, false) == -EBADMSG, "so is one that expands to more, and nothing overflows");
	ok(open_hostile(1000, CELL_SIZE, false) == -EBADMSG, "so is one that expands to much more");
	ok(open_hostile(1000, 1000, true) == -EBADMSG, "so is one that does not expand");
}

static void
test_salt(uint8_t *plain, uint8_t *sealed)
{
	static uint8_t second[2 * CELL_SIZE + SEALED_OVERHEAD];
	uint8_t id[2][ID_SIZE];
	struct block_header h;
	ssize_t a, b;

	fill(plain, CELL_SIZE);
	a = block_seal(keys, plain, CELL_SIZE, 0, id[0], sealed);
	b = block_seal(keys, plain, CELL_SIZE, 0, id[1], second);
	block_header_decode(&h, (struct bytes){ sealed, a });
	ok(a == b && memcmp(id[0], id[1], ID_SIZE) == 0 &&
	    memcmp(sealed + h.size, second + h.size, a - h.size) != 0,
	    "two sealings of one block share the id and not a key");
}

static void
test_header_limits(void)
{
	uint8_t sealed[256];
	struct block_header h;
	size_t offset, size;
	struct { const char *what; uint32_t length; uint16_t cells; uint32_t entry; int result; } cases[] = {
		{ "a compressed cell", 100, 1, 17, 0 },
		{ "a raw cell", 100, 1, 0x80000000 | 116, 0 },
		{ "the largest block", BLOCK_SIZE, 16, 17, 0 },
		{ "an empty block", 0, 0, 17, -EBADMSG },
		{ "a block over the limit", BLOCK_SIZE + 1, 17, 17, -EBADMSG },
		{ "a cell too few", CELL_SIZE + 1, 1, 17, -EBADMSG },
		{ "a cell too many", CELL_SIZE, 2, 17, -EBADMSG },
		{ "a tag without a cell", 100, 1, 16, -EBADMSG },
		{ "a cell that grew", 100, 1, 116, -EBADMSG },
		{ "a huge cell", 100, 1, 0x7fffffff, -EBADMSG },
		{ "a raw cell that is short", 100, 1, 0x80000000 | 115, -EBADMSG },
		{ "a raw cell that is long", 100, 1, 0x80000000 | 117, -EBADMSG },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cursor c = cursor_over(sealed, sizeof sealed);

		cursor_put_u8(&c, 1);
		cursor_put_u32(&c, 0);
		cursor_put_u32(&c, cases[i].length);
		cursor_put_u16(&c, cases[i].cells);
		memset(cursor_reserve(&c, SALT_SIZE), 0, SALT_SIZE);
		for (unsigned k = 0; k < cases[i].cells; k++)
			cursor_put_u32(&c, cases[i].entry);
		ok(block_header_decode(&h, (struct bytes){ sealed, c.pos }) == cases[i].result,
		    "a header with %s is %s", cases[i].what, cases[i].result == 0 ? "taken" : "refused");
	}
	block_header_decode(&h, (struct bytes){ sealed, 0 });
	h = (struct block_header){ .cells = 3, .size = 50, .stored = { 10, 20, 30 } };
	ok(block_cells(&h, 1, 2, &offset, &size) == 0 && offset == 60 && size == 50, "cells have their range");
	ok(block_cells(&h, 0, 3, &offset, &size) == 0 && offset == 50 && size == 60, "all of them too");
	ok(block_cells(&h, 0, 0, &offset, &size) == -EINVAL && block_cells(&h, 1, 3, &offset, &size) == -EINVAL &&
	    block_cells(&h, 3, 1, &offset, &size) == -EINVAL &&
	    block_cells(&h, 1, UINT32_MAX, &offset, &size) == -EINVAL, "and no others");
}

static void *
seal_elsewhere(void *to)
{
	static uint8_t plain[2 * CELL_SIZE], sealed[2 * CELL_SIZE + SEALED_OVERHEAD];
	uint8_t id[ID_SIZE];
	ssize_t len = block_seal(keys, plain, sizeof plain, 1, id, sealed);

	*(bool *)to = open_block((struct bytes){ sealed, len }, id, plain) == sizeof plain;
	return NULL;
}

int
main(void)
{
	uint8_t *plain = malloc(BLOCK_SIZE), *sealed = malloc(BLOCK_SEALED_MAX);
	pthread_t thread;
	bool there = false;

	keys = volume_keys_new(volume_key, volume);
	test_token();
	test_record();
	test_block(plain, sealed);
	test_block_id(plain);
	test_cell_damage(plain, sealed);
	test_hostile_member();
	test_salt(plain, sealed);
	test_header_limits();
	pthread_create(&thread, NULL, seal_elsewhere, &there);
	pthread_join(thread, NULL);
	ok(there, "another thread seals with a scratch of its own");
	volume_keys_free(keys);
	free(plain);
	free(sealed);
	return tap_done();
}
