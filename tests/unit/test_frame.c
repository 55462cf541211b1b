/* test_frame.c - frames arrive whole, in order and once, or not at all. */
#include "proto/frame.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/aead.h"
#include "tests/tap.h"

#define TEXT(s) ((struct bytes){ (const uint8_t *)(s), sizeof (s) - 1 })

static const uint8_t key[KEY_SIZE] = { 7 };

/* 0 when the frame at wire[], in full, opens to `body`; leaves wire[] as it was. */
static int
opens(struct frame_keys *keys, const uint8_t *wire, size_t len, struct bytes payload, struct bytes body)
{
	uint8_t copy[512];
	size_t sealed, payload_len;
	struct bytes got;
	int r;

	if (len < FRAME_HEADER || frame_header_decode(wire, &sealed, &payload_len) < 0)
		return -EBADMSG;
	if (sealed != len - FRAME_HEADER || payload_len != payload.len)
		return -EBADMSG;
	memcpy(copy, wire, len);
	r = frame_open(keys, copy, copy + FRAME_HEADER, sealed, payload, &got);
	if (r == 0 && (got.len != body.len || (got.len > 0 && memcmp(got.data, body.data, got.len) != 0)))
		ok(false, "a frame opened to something else");
	return r;
}

static void
test_damage(void)
{
	uint8_t wire[256], payload[] = "a block, sealed already";
	struct frame_keys send, receive;
	struct bytes p = { payload, sizeof payload }, body = TEXT("a message");
	ssize_t len;
	bool refused = true;

	frame_keys_init(&send, key);
	frame_keys_init(&receive, key);
	len = frame_seal(&send, body, p, wire);
	ok(len == (ssize_t)(FRAME_HEADER + body.len + FRAME_TAG), "a frame has the promised length");
	for (ssize_t bit = 0; bit < len * 8; bit++) {
		wire[bit / 8] ^= 1 << bit % 8;
		refused &= opens(&receive, wire, len, p, body) == -EBADMSG;
		wire[bit / 8] ^= 1 << bit % 8;
	}
	ok(refused, "every flipped bit of header and body is refused");
	for (size_t bit = 0; bit < sizeof payload * 8; bit++) {
		payload[bit / 8] ^= 1 << bit % 8;
		refused &= opens(&receive, wire, len, p, body) == -EBADMSG;
		payload[bit / 8] ^= 1 << bit % 8;
	}
	ok(refused, "every flipped bit of the payload is refused");

	/* The header alone, with body and payload as sent: it is authenticated, not only compared. */
	for (unsigned bit = 0; bit < FRAME_HEADER * 8; bit++) {
		uint8_t header[FRAME_HEADER], copy[256];
		struct bytes got;

		memcpy(header, wire, sizeof header);
		memcpy(copy, wire, len);
		header[bit / 8] ^= 1 << bit % 8;
		refused &= frame_open(&receive, header, copy + FRAME_HEADER, len - FRAME_HEADER, p, &got) == -EBADMSG;
	}
	ok(refused, "the header is authenticated");
	for (ssize_t cut = 0; cut < len - FRAME_HEADER; cut++) {
		uint8_t copy[256];
		struct bytes got;

		memcpy(copy, wire, len);
		refused &= frame_open(&receive, wire, copy + FRAME_HEADER, cut, p, &got) == -EBADMSG;
	}
	ok(refused, "every truncation is refused");
	ok(receive.counter == 0 && opens(&receive, wire, len, p, body) == 0, "the frame itself opens");
	ok(opens(&receive, wire, len, p, body) == -EBADMSG, "but not twice");
}

static void
test_order(void)
{
	uint8_t wire[3][64];
	struct frame_keys send, receive;
	struct bytes none = { NULL, 0 };
	ssize_t len = 0;

	frame_keys_init(&send, key);
	frame_keys_init(&receive, key);
	for (int i = 0; i < 3; i++)
		len = frame_seal(&send, TEXT("same"), none, wire[i]);
	ok(memcmp(wire[0], wire[1], len) != 0, "equal messages do not look alike");
	ok(opens(&receive, wire[1], len, none, TEXT("same")) == -EBADMSG, "the second does not open first");
	ok(opens(&receive, wire[0], len, none, TEXT("same")) == 0 &&
	    opens(&receive, wire[1], len, none, TEXT("same")) == 0 &&
	    opens(&receive, wire[2], len, none, TEXT("same")) == 0, "in order they open");
	len = frame_seal(&send, none, none, wire[0]);
	ok(len == FRAME_HEADER + FRAME_TAG && opens(&receive, wire[0], len, none, none) == 0, "an empty frame opens");
	frame_keys_done(&send);
	ok(sodium_is_zero((const uint8_t *)&send, sizeof send), "keys are wiped");
}

static void
test_rekey(void)
{
	uint8_t wire[64], expected[KEY_SIZE + 16], old[KEY_SIZE];
	/* Nonce 2^64 - 1 as the specification has it, made by the other library. */
	static const uint8_t nonce[12] = { 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255 }, zeros[KEY_SIZE];
	struct frame_keys send, receive;
	struct bytes none = { NULL, 0 };
	bool same = true, all = true;
	ssize_t len;

	frame_keys_init(&send, key);
	frame_keys_init(&receive, key);
	for (uint32_t i = 0; i < FRAME_REKEY; i++) {
		len = frame_seal(&send, TEXT("n"), none, wire);
		all &= opens(&receive, wire, len, none, TEXT("n")) == 0;
		same &= memcmp(send.key, key, KEY_SIZE) == 0;
	}
	ok(all && same && send.counter == FRAME_REKEY, "%d frames travel under the first key", FRAME_REKEY);
	len = frame_seal(&send, TEXT("n"), none, wire);
	crypto_aead_chacha20poly1305_ietf_encrypt(expected, NULL, zeros, KEY_SIZE, NULL, 0, NULL, nonce, key);
	ok(memcmp(send.key, expected, KEY_SIZE) == 0, "the next one under REKEY of it");
	memcpy(old, receive.key, KEY_SIZE);
	wire[FRAME_HEADER] ^= 1;
	ok(opens(&receive, wire, len, none, TEXT("n")) == -EBADMSG && memcmp(old, receive.key, KEY_SIZE) == 0,
	    "a forged frame at the boundary changes nothing");
	wire[FRAME_HEADER] ^= 1;
	ok(opens(&receive, wire, len, none, TEXT("n")) == 0 && memcmp(send.key, receive.key, KEY_SIZE) == 0,
	    "both sides go on");
	send.counter = receive.counter = 2 * (uint64_t)FRAME_REKEY;
	memcpy(old, send.key, KEY_SIZE);
	len = frame_seal(&send, TEXT("n"), none, wire);
	ok(memcmp(old, send.key, KEY_SIZE) != 0 && opens(&receive, wire, len, none, TEXT("n")) == 0,
	    "and again at every multiple");
}

static void
test_limits(void)
{
	size_t sealed, payload;
	const struct { uint32_t sealed, payload; int result; } cases[] = {
		{ FRAME_TAG, 0, 0 },
		{ FRAME_BODY_MAX + FRAME_TAG, FRAME_PAYLOAD_MAX, 0 },
		{ FRAME_TAG - 1, 0, -EBADMSG },
		{ 0, 0, -EBADMSG },
		{ FRAME_BODY_MAX + FRAME_TAG + 1, 0, -EBADMSG },
		{ FRAME_TAG, FRAME_PAYLOAD_MAX + 1, -EBADMSG },
		{ UINT32_MAX, UINT32_MAX, -EBADMSG },
	};
	struct frame_keys keys;
	uint8_t *large = calloc(1, FRAME_BODY_MAX + FRAME_HEADER + FRAME_TAG), *block = calloc(1, FRAME_PAYLOAD_MAX);
	struct bytes body = { large + FRAME_HEADER, FRAME_BODY_MAX }, p = { block, FRAME_PAYLOAD_MAX }, got;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t header[FRAME_HEADER];
		struct cursor c = cursor_over(header, sizeof header);

		cursor_put_u32(&c, cases[i].sealed);
		cursor_put_u32(&c, cases[i].payload);
		ok(frame_header_decode(header, &sealed, &payload) == cases[i].result && (cases[i].result < 0 ||
		    (sealed == cases[i].sealed && payload == cases[i].payload)),
		    "a header of %u and %u bytes is %s", cases[i].sealed, cases[i].payload,
		    cases[i].result == 0 ? "taken" : "refused");
	}
	frame_keys_init(&keys, key);
	body.len++;
	ok(frame_seal(&keys, body, p, large) == -EMSGSIZE, "a body over the limit is not sealed");
	body.len--, p.len++;
	ok(frame_seal(&keys, body, p, large) == -EMSGSIZE, "nor a payload");
	p.len--;
	memset(large + FRAME_HEADER, 'b', FRAME_BODY_MAX);
	ok(keys.counter == 0 && frame_seal(&keys, body, p, large) == FRAME_BODY_MAX + FRAME_HEADER + FRAME_TAG,
	    "the largest frame is sealed in place");
	frame_keys_init(&keys, key);
	ok(frame_open(&keys, large, large + FRAME_HEADER, FRAME_BODY_MAX + FRAME_TAG, p, &got) == 0 &&
	    got.len == FRAME_BODY_MAX && got.data[0] == 'b' && got.data[FRAME_BODY_MAX - 1] == 'b', "and opened in place");
	free(large);
	free(block);
}

/* The two libraries implement one standard; pieces of associated data are as good as one. */
static void
test_aead(void)
{
	enum { LONGEST = 300 };
	uint8_t plain[LONGEST], ad[100], ours[LONGEST + 16], theirs[LONGEST + 16], back[LONGEST], nonce[12];
	bool same = true;

	for (unsigned i = 0; i < LONGEST; i++) {
		struct bytes pieces[] = { { ad, i / 3 % 50 }, { NULL, 0 }, { ad + i / 3 % 50, i / 5 % 50 } };
		uint64_t counter = UINT64_C(0x0102030405060708) * (i + 1);

		randombytes_buf(plain, i);
		randombytes_buf(ad, sizeof ad);
		for (int k = 0; k < 12; k++)
			nonce[k] = k < 4 ? 0 : counter >> 8 * (k - 4);
		aead_seal(key, counter, pieces, 3, plain, i, ours);
		crypto_aead_chacha20poly1305_ietf_encrypt(theirs, NULL, plain, i, ad, pieces[0].len + pieces[2].len,
		    NULL, nonce, key);
		same &= memcmp(ours, theirs, i + 16) == 0 &&
		    aead_open(key, counter, pieces, 3, (struct bytes){ ours, i + 16 }, back) == 0 &&
		    memcmp(back, plain, i) == 0;
	}
	ok(same, "libcrypto and libsodium agree");
	memset(back, 1, sizeof back);
	ok(aead_open(key, 0, NULL, 0, (struct bytes){ ours, LONGEST + 16 }, back) == -EBADMSG &&
	    sodium_is_zero(back, LONGEST), "what is forged leaves no plaintext");
}

int
main(void)
{
	if (sodium_init() < 0)
		return 1;
	test_aead();
	test_damage();
	test_order();
	test_rekey();
	test_limits();
	return tap_done();
}
