/*
 * test_noise.c - the handshake against the published vectors, and against
 * whoever tampers with it.
 *
 * The vector is that of Noise_IK_25519_ChaChaPoly_SHA256 in the cacophony
 * collection, which the Noise wiki names for checking implementations.
 */
#include "proto/noise_internal.h"

#include <errno.h>
#include <string.h>

#include "proto/aead.h"
#include "proto/preamble.h"
#include "tests/tap.h"
#include "tests/unit/hex.h"

static const struct {
	const char	*prologue, *initiator, *initiator_ephemeral, *responder, *responder_public,
			*responder_ephemeral, *hash;
	struct { const char *payload, *ciphertext; } messages[6];
} vector = {
	"4a6f686e2047616c74",
	"e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
	"893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
	"4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
	"31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
	"bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
	"0b0f68fb0c27e03ce9b97565995ed4838cc0581b762ef72b062f6a546419fad7",
	{
		{ "4c756477696720766f6e204d69736573",
		  "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
		  "718da798efbcd91528520204f904b9bd6c7413dccdc214d951e15253e39987f1"
		  "8146e8cd0873654207148333479d4d16c289f0294b29960a72f48e0b7bba2e89"
		  "083169825e59642148d492020664ccf7" },
		{ "4d757272617920526f746862617264",
		  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
		  "5361e70b2ed446e6c9ec387d1d6b3b840f194e373979d241b203c4acafccf5" },
		{ "462e20412e20486179656b",
		  "050e9f3c8fac16b68dbce8f8c4bfbf6617c897f9ada4aa29aa19c8" },
		{ "4361726c204d656e676572",
		  "344233a6cabb7141d80f3da2fedc311d9646bbb0f505afe403a667" },
		{ "4a65616e2d426170746973746520536179",
		  "62cdeeb172ad7ade7aa7d9e069da5790f12331bfa00177787a1d0810c67dc3b2b4" },
		{ "457567656e2042f6686d20766f6e2042617765726b",
		  "029bead1b40992327044d409d9a1f3ad8f36c3c452775d557e18bbeb2e8dfcead32d514024" },
	},
};

/* One side writes message i of the vector, the other reads it. */
static void
exchange(unsigned i, struct noise *from, struct noise *to)
{
	uint8_t payload_space[64], message[256], back[64];
	struct bytes payload = unhex(vector.messages[i].payload, payload_space, sizeof payload_space);
	ssize_t len = noise_write(from, payload, message, sizeof message), got;

	ok(len > 0 && is_hex((struct bytes){ message, len }, vector.messages[i].ciphertext),
	    "message %u is the published one", i + 1);
	got = noise_read(to, (struct bytes){ message, len }, back, sizeof back);
	ok(got == (ssize_t)payload.len && memcmp(back, payload.data, got) == 0, "and is read as it was meant");
}

static void
test_vector(void)
{
	uint8_t prologue[16], is[KEY_SIZE], ie[KEY_SIZE], rs[KEY_SIZE], re[KEY_SIZE], rp[KEY_SIZE], mine[KEY_SIZE];
	uint8_t hash[2][NOISE_HASH], payload_space[64], sealed[80];
	struct bytes p = unhex(vector.prologue, prologue, sizeof prologue);
	struct frame_keys send[2], receive[2];
	struct noise *n[2];

	unhex(vector.initiator, is, KEY_SIZE);
	unhex(vector.initiator_ephemeral, ie, KEY_SIZE);
	unhex(vector.responder, rs, KEY_SIZE);
	unhex(vector.responder_ephemeral, re, KEY_SIZE);
	unhex(vector.responder_public, rp, KEY_SIZE);
	n[0] = noise_initiator_new(is, rp, p);
	n[1] = noise_responder_new(rs, p);
	noise_set_ephemeral(n[0], ie);
	noise_set_ephemeral(n[1], re);
	exchange(0, n[0], n[1]);
	noise_public(is, mine);
	ok(memcmp(noise_peer(n[1]), mine, KEY_SIZE) == 0, "the server knows who it is");
	exchange(1, n[1], n[0]);
	for (int i = 0; i < 2; i++)
		ok(noise_split(n[i], &send[i], &receive[i], hash[i]) == 0 &&
		    is_hex((struct bytes){ hash[i], NOISE_HASH }, vector.hash), "the handshake hash is the published one");
	ok(memcmp(&send[0], &receive[1], sizeof *send) == 0 && memcmp(&send[1], &receive[0], sizeof *send) == 0 &&
	    memcmp(&send[0], &send[1], sizeof *send) != 0, "the two sides agree on two keys");
	/* Transport messages of the vector have no associated data; their cipher is ours. */
	for (unsigned i = 2; i < 6; i++) {
		struct bytes payload = unhex(vector.messages[i].payload, payload_space, sizeof payload_space);

		aead_seal(send[i % 2].key, i / 2 - 1, NULL, 0, payload.data, payload.len, sealed);
		ok(is_hex((struct bytes){ sealed, payload.len + AEAD_TAG }, vector.messages[i].ciphertext),
		    "transport message %u is the published one", i + 1);
	}
	noise_free(n[0]);
	noise_free(n[1]);
}

/* ---- tampering ---- */

struct pair {
	uint8_t		 client[KEY_SIZE], server[KEY_SIZE], client_public[KEY_SIZE], server_public[KEY_SIZE];
	struct noise	*i, *r;
};

static void
pair_start(struct pair *p, const char *client_prologue, const char *server_prologue)
{
	noise_keypair(p->client, p->client_public);
	noise_keypair(p->server, p->server_public);
	p->i = noise_initiator_new(p->client, p->server_public,
	    (struct bytes){ (const uint8_t *)client_prologue, strlen(client_prologue) });
	p->r = noise_responder_new(p->server,
	    (struct bytes){ (const uint8_t *)server_prologue, strlen(server_prologue) });
}

static void
pair_end(struct pair *p)
{
	noise_free(p->i);
	noise_free(p->r);
}

static void
test_flips(void)
{
	uint8_t m[256], payload[16];
	struct frame_keys a, b;
	uint8_t hash[NOISE_HASH];
	struct bytes none = { NULL, 0 };
	bool refused = true, dead = true;
	struct pair p;

	for (unsigned bit = 0; bit < NOISE_MESSAGE_1 * 8; bit++) {
		pair_start(&p, "same", "same");
		noise_write(p.i, none, m, sizeof m);
		m[bit / 8] ^= 1 << bit % 8;
		refused &= noise_read(p.r, (struct bytes){ m, NOISE_MESSAGE_1 }, payload, sizeof payload) == -EBADMSG;
		m[bit / 8] ^= 1 << bit % 8;
		dead &= noise_read(p.r, (struct bytes){ m, NOISE_MESSAGE_1 }, payload, sizeof payload) == -EBADMSG &&
		    noise_write(p.r, none, m, sizeof m) == -EBADMSG && noise_split(p.r, &a, &b, hash) == -EBADMSG;
		pair_end(&p);
	}
	ok(refused, "every flipped bit of message 1 is refused");
	ok(dead, "and the handshake is dead for good");
	refused = true;
	for (unsigned bit = 0; bit < (NOISE_MESSAGE_2 + 2) * 8; bit++) {
		pair_start(&p, "same", "same");
		noise_write(p.i, none, m, sizeof m);
		noise_read(p.r, (struct bytes){ m, NOISE_MESSAGE_1 }, payload, sizeof payload);
		noise_write(p.r, (struct bytes){ (const uint8_t *)"\0\1", 2 }, m, sizeof m);
		m[bit / 8] ^= 1 << bit % 8;
		refused &= noise_read(p.i, (struct bytes){ m, NOISE_MESSAGE_2 + 2 }, payload, sizeof payload) == -EBADMSG;
		pair_end(&p);
	}
	ok(refused, "every flipped bit of message 2 is refused");
	refused = true;
	for (unsigned cut = 0; cut < NOISE_MESSAGE_1; cut++) {
		pair_start(&p, "same", "same");
		noise_write(p.i, none, m, sizeof m);
		refused &= noise_read(p.r, (struct bytes){ m, cut }, payload, sizeof payload) == -EBADMSG;
		pair_end(&p);
	}
	ok(refused, "every truncation of message 1 is refused");
}

static void
test_wrong_peers(void)
{
	uint8_t m[256], payload[16], secret[KEY_SIZE], other[KEY_SIZE];
	struct bytes none = { NULL, 0 }, first = { m, NOISE_MESSAGE_1 };
	struct pair p;
	struct noise *n;

	pair_start(&p, "versions 1 to 2", "versions 1 to 1");
	noise_write(p.i, none, m, sizeof m);
	ok(noise_read(p.r, first, payload, sizeof payload) == -EBADMSG, "a changed preamble breaks the handshake");
	pair_end(&p);

	pair_start(&p, "same", "same");
	noise_keypair(secret, other);
	n = noise_initiator_new(p.client, other, (struct bytes){ (const uint8_t *)"same", 4 });
	noise_write(n, none, m, sizeof m);
	ok(noise_read(p.r, first, payload, sizeof payload) == -EBADMSG, "so does another server's key");
	noise_free(n);
	pair_end(&p);

	pair_start(&p, "same", "same");
	noise_write(p.i, none, m, sizeof m);
	memset(m, 0, KEY_SIZE);
	ok(noise_read(p.r, first, payload, sizeof payload) == -EBADMSG, "an all-zero ephemeral key is refused");
	pair_end(&p);

	memset(other, 0, sizeof other);
	other[0] = 1;
	n = noise_initiator_new(p.client, other, none);
	ok(noise_write(n, none, m, sizeof m) == -EBADMSG, "a server key of low order is refused");
	noise_free(n);
}

static void
test_room(void)
{
	uint8_t m[256], payload[16];
	struct bytes none = { NULL, 0 };
	struct pair p;

	pair_start(&p, "", "");
	ok(noise_write(p.i, none, m, NOISE_MESSAGE_1 - 1) == -EMSGSIZE, "a message needs its room");
	ok(noise_write(p.i, none, m, NOISE_MESSAGE_1) == NOISE_MESSAGE_1, "and no more");
	ok(noise_read(p.r, (struct bytes){ m, NOISE_MESSAGE_1 }, payload, 0) == 0, "an empty payload needs none");
	noise_write(p.r, (struct bytes){ (const uint8_t *)"\0\1", 2 }, m, sizeof m);
	ok(noise_read(p.i, (struct bytes){ m, NOISE_MESSAGE_2 + 2 }, payload, 1) == -EMSGSIZE, "a payload needs its room");
	pair_end(&p);
	noise_free(NULL);
}

/* ---- preamble ---- */

static void
test_preamble(void)
{
	struct preamble p = { .lowest = 1, .highest = 7, .mode = PREAMBLE_SEALED }, q;
	uint8_t wire[PREAMBLE_SIZE];
	bool told = true;

	preamble_encode(&p, wire);
	ok(is_hex((struct bytes){ wire, sizeof wire }, "4e5541474500" "0d0a" "0001" "0007" "00" "000000"),
	    "the preamble is what the manual says");
	ok(preamble_decode(&q, wire) == 0 && q.lowest == 1 && q.highest == 7 && q.mode == PREAMBLE_SEALED,
	    "and comes back");
	/* Versions are not protected here but by the prologue. */
	for (unsigned bit = 0; bit < PREAMBLE_SIZE * 8; bit++) {
		wire[bit / 8] ^= 1 << bit % 8;
		if (bit < 64 || bit >= 96)
			told &= preamble_decode(&q, wire) < 0;
		wire[bit / 8] ^= 1 << bit % 8;
	}
	ok(told, "a flipped bit of magic, mode or reserve is refused");
	p.highest = 0;
	preamble_encode(&p, wire);
	ok(preamble_decode(&q, wire) == -EBADMSG, "so is an empty range");
	p.lowest = 0;
	preamble_encode(&p, wire);
	ok(preamble_decode(&q, wire) == -EBADMSG, "and version 0");
	ok(preamble_choose(&(struct preamble){ 1, 1, 0 }) == 1 && preamble_choose(&(struct preamble){ 1, 9, 0 }) == 1,
	    "the highest common version is chosen");
	ok(preamble_choose(&(struct preamble){ 2, 9, 0 }) == 0, "there may be none");
}

int
main(void)
{
	if (sodium_init() < 0)
		return 1;
	test_vector();
	test_flips();
	test_wrong_peers();
	test_room();
	test_preamble();
	return tap_done();
}
