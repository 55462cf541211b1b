/*
 * fuzz_noise.c - the input as message 1 to a server and as message 2 to a
 * client, with all keys fixed; its first sixteen bytes as a preamble.
 */
#include "proto/noise_internal.h"

#include <string.h>

#include "proto/preamble.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "noise";

static const uint8_t client[KEY_SIZE] = { 1 }, server[KEY_SIZE] = { 2 }, ephemeral[KEY_SIZE] = { 3 };

/* After a refusal everything is refused; after success the handshake goes on. */
static void
finish(struct noise *n, ssize_t r, bool writes)
{
	struct frame_keys send, receive;
	uint8_t message[NOISE_MESSAGE_2], hash[NOISE_HASH];

	if (r < 0 || !writes)
		promise((noise_split(n, &send, &receive, hash) == 0) == (r >= 0));
	if (r < 0)
		promise(noise_write(n, (struct bytes){ NULL, 0 }, message, sizeof message) < 0);
	else if (writes) {
		noise_peer(n);
		/* The peer's ephemeral passed one DH, so it passes the others. */
		promise(noise_write(n, (struct bytes){ NULL, 0 }, message, sizeof message) == NOISE_MESSAGE_2);
		promise(noise_split(n, &send, &receive, hash) == 0);
	}
	noise_free(n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t payload[64], public[KEY_SIZE], message[NOISE_MESSAGE_1], wire[PREAMBLE_SIZE];
	struct bytes input = { data, size }, none = { NULL, 0 };
	struct preamble p;
	struct noise *n;

	if (size >= PREAMBLE_SIZE && preamble_decode(&p, data) == 0) {
		preamble_encode(&p, wire);
		promise(memcmp(wire, data, PREAMBLE_SIZE) == 0 && preamble_choose(&p) <= p.highest);
	}
	if ((n = noise_responder_new(server, none)) == NULL)
		abort();
	noise_set_ephemeral(n, ephemeral);
	finish(n, noise_read(n, input, payload, sizeof payload), true);

	noise_public(server, public);
	if ((n = noise_initiator_new(client, public, none)) == NULL)
		abort();
	noise_set_ephemeral(n, ephemeral);
	promise(noise_write(n, none, message, sizeof message) == NOISE_MESSAGE_1);
	finish(n, noise_read(n, input, payload, sizeof payload), false);
	return 0;
}
