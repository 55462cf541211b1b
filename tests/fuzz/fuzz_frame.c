/* fuzz_frame.c - a forged frame does not open; whatever is sealed does, and not a bit beside it. */
#include "proto/frame.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "frame";

static const uint8_t key[KEY_SIZE] = { 1 };

static void
receive(const uint8_t *data, size_t size)
{
	struct frame_keys keys;
	size_t sealed, payload;
	struct bytes body;
	uint8_t *copy;

	if (size < FRAME_HEADER || frame_header_decode(data, &sealed, &payload) < 0)
		return;
	promise(sealed <= FRAME_BODY_MAX + FRAME_TAG && payload <= FRAME_PAYLOAD_MAX);
	if (sealed > size - FRAME_HEADER || payload > size - FRAME_HEADER - sealed)
		return;
	if ((copy = malloc(size)) == NULL)
		abort();
	memcpy(copy, data, size);
	frame_keys_init(&keys, key);
	promise(frame_open(&keys, copy, copy + FRAME_HEADER, sealed,
	    (struct bytes){ copy + FRAME_HEADER + sealed, payload }, &body) < 0 && keys.counter == 0);
	free(copy);
}

/* The input as body and payload; its first two bytes say where to cut and what to flip. */
static void
send_and_receive(const uint8_t *data, size_t size)
{
	struct frame_keys out, in;
	size_t cut = data[0] * (size - 2) / 255, sealed, payload, bit;
	struct bytes body = { data + 2, cut }, p = { data + 2 + cut, size - 2 - cut }, got;
	uint8_t *wire = malloc(FRAME_HEADER + FRAME_TAG + cut);
	ssize_t len;

	promise(wire != NULL);
	frame_keys_init(&out, key);
	frame_keys_init(&in, key);
	len = frame_seal(&out, body, p, wire);
	promise(len == (ssize_t)(FRAME_HEADER + FRAME_TAG + cut));
	promise(frame_header_decode(wire, &sealed, &payload) == 0 && payload == p.len);
	promise(frame_open(&in, wire, wire + FRAME_HEADER, sealed, p, &got) == 0 && got.len == cut);
	promise(cut == 0 || memcmp(got.data, body.data, cut) == 0);

	frame_keys_init(&out, key);
	frame_keys_init(&in, key);
	frame_seal(&out, body, p, wire);
	bit = data[1] * (len * 8 - 1) / 255;
	wire[bit / 8] ^= 1 << bit % 8;
	promise(frame_open(&in, wire, wire + FRAME_HEADER, sealed, p, &got) < 0);
	free(wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	receive(data, size);
	if (size >= 2 && size < FRAME_PAYLOAD_MAX)
		send_and_receive(data, size);
	return 0;
}
