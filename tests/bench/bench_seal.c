/*
 * bench_seal.c - how fast one core seals and opens, against SHA-256 alone,
 * the one cost that no design of ours avoids.
 *
 * Each line: what, MB/s (10^6 bytes of plaintext), ratio to SHA-256 of the
 * same run.  An argument is the seconds spent on each line (default 1).
 */
#include "proto/seal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/aead.h"
#include "proto/frame.h"
#include "proto/scratch.h"

static struct volume_keys *keys;
static uint8_t *plain, *sealed, *back;
static size_t plain_len;
static uint8_t id[ID_SIZE];
static double seconds = 1, sha_rate;

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
report(const char *what, void (*work)(void))
{
	double start = now_s(), end;
	double done = 0, rate;

	do {
		for (int i = 0; i < 8; i++, done += plain_len)
			work();
		end = now_s();
	} while (end - start < seconds);
	rate = done / (end - start) / 1e6;
	if (sha_rate == 0)
		sha_rate = rate;
	printf("%-36s %8.0f MB/s  %5.2f x SHA-256\n", what, rate, rate / sha_rate);
	fflush(stdout);
}

static void
hash(void)
{
	EVP_Digest(plain, plain_len, id, NULL, scratch_get()->sha256, NULL);
}

static void
name(void)
{
	block_id(keys, plain, plain_len, id);
}

static void
encrypt(void)
{
	aead_seal(id, 0, NULL, 0, plain, plain_len, sealed);
}

static void
copy(void)
{
	memcpy(back, plain, plain_len);
}

static void
seal_raw(void)
{
	block_seal(keys, plain, plain_len, 0, id, sealed);
}

static void
seal(void)
{
	block_seal(keys, plain, plain_len, 1, id, sealed);
}

static void
open_cells(void)
{
	struct block_header h;
	size_t offset, size;

	if (block_header_decode(&h, (struct bytes){ sealed, BLOCK_SEALED_MAX }) < 0)
		abort();
	for (unsigned i = 0; i < h.cells; i++) {
		block_cells(&h, i, 1, &offset, &size);
		if (cell_open(keys, id, &h, i, (struct bytes){ sealed + offset, size },
		    back + (size_t)i * CELL_SIZE) < 0)
			abort();
	}
}

/* A frame as PUT sends it: a small body, the block beside it. */
static void
frame_block(void)
{
	static struct frame_keys send;
	uint8_t wire[FRAME_HEADER + 42 + FRAME_TAG];

	if (frame_seal(&send, (struct bytes){ id, 32 }, (struct bytes){ plain, plain_len }, wire) < 0)
		abort();
}

static void
seal_records(void)
{
	const struct record_context context = { .oid = 1, .kind = 1 };

	for (size_t done = 0; done < plain_len; done += 128)
		record_seal(keys, &context, 1, (struct bytes){ plain, 128 }, sealed, VALUE_MAX);
}

static void
random_content(void)
{
	randombytes_buf(plain, BLOCK_SIZE);
}

/* Half random, half text: shrinks about 2:1. */
static void
mixed_content(void)
{
	for (size_t i = 0; i < BLOCK_SIZE; i += 64) {
		randombytes_buf(plain + i, 32);
		memcpy(plain + i + 32, "the quick brown fox jumps over a", 32);
	}
}

int
main(int argc, char **argv)
{
	const uint8_t key[KEY_SIZE] = { 1 };

	if (argc > 1)
		seconds = atof(argv[1]);
	plain = malloc(BLOCK_SIZE), sealed = malloc(BLOCK_SEALED_MAX), back = malloc(BLOCK_SIZE);
	if (plain == NULL || sealed == NULL || back == NULL || (keys = volume_keys_new(key, key)) == NULL)
		return 1;
	plain_len = BLOCK_SIZE;
	random_content();
	report("SHA-256", hash);
	report("block id", name);
	report("ChaCha20-Poly1305", encrypt);
	report("memcpy", copy);
	report("seal, random, level 0", seal_raw);
	report("seal, random, level 1", seal);
	report("open, random", open_cells);
	report("frame with a block beside it", frame_block);
	mixed_content();
	report("seal, 2:1, level 1", seal);
	report("open, 2:1", open_cells);
	plain_len = 4096;
	random_content();
	report("seal 4 KiB blocks, random, level 1", seal);
	report("open 4 KiB blocks, random", open_cells);
	plain_len = 1024 * 128;
	report("seal records of 128 bytes", seal_records);
	volume_keys_free(keys);
	free(plain);
	free(sealed);
	free(back);
	return 0;
}
