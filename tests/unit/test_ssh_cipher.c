/*
 * test_ssh_cipher.c - our AES in counter mode is AES in counter mode: NIST's
 * vectors, and libcrypto's own for pieces of any size.
 */
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ssh_cipher.h"
#include "tests/tap.h"
#include "tests/unit/hex.h"

/* SP 800-38A, F.5: the same text and counter for all. */
static const char text[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
static const char counter[] = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
static const struct { const char *name, *key, *sealed; } vectors[] = {
	{ "AES-128-CTR", "2b7e151628aed2a6abf7158809cf4f3c",
	  "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
	  "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee" },
	{ "AES-192-CTR", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
	  "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
	  "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050" },
};

static bool
run(EVP_CIPHER *cipher, bool sealing, const uint8_t *key, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len,
    size_t piece)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	bool fine = EVP_CipherInit_ex2(c, cipher, key, iv, sealing, NULL) == 1;

	for (size_t at = 0; at < len && fine; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		/* As libssh2 does. */
		fine = EVP_Cipher(c, out + at, in + at, (unsigned)n) >= 0;
	}
	EVP_CIPHER_CTX_free(c);
	return fine;
}

static void
test_vectors(void)
{
	uint8_t key[32], iv[16], plain[64], sealed[64], got[64];

	unhex(text, plain, sizeof plain);
	unhex(counter, iv, sizeof iv);
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, vectors[i].name, NULL);

		ok(cipher != NULL && strcmp(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "nuage") == 0,
		    "%s is ours", vectors[i].name);
		unhex(vectors[i].key, key, sizeof key);
		unhex(vectors[i].sealed, sealed, sizeof sealed);
		ok(run(cipher, true, key, iv, plain, got, sizeof plain, 16) && memcmp(got, sealed, sizeof sealed) == 0 &&
		    run(cipher, false, key, iv, sealed, got, sizeof plain, 16) && memcmp(got, plain, sizeof plain) == 0,
		    "its vector, both ways");
		EVP_CIPHER_free(cipher);
	}
}

/* Long enough for several pieces of the stream; the counter overflows. */
static void
test_pieces(void)
{
	enum { LEN = 3 * 4096 + 100 };
	static const size_t pieces[] = { 1, 15, 16, 17, 4095, 4096, 4097, LEN };
	static uint8_t in[LEN], want[LEN], got[LEN];
	EVP_CIPHER *ours = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	EVP_CIPHER *theirs = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	uint8_t key[16] = { 1 }, iv[16];
	bool same = true, in_place;

	memset(iv, 0xff, sizeof iv);
	for (size_t i = 0; i < LEN; i++)
		in[i] = (uint8_t)(i * 7);
	run(theirs, true, key, iv, in, want, LEN, LEN);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		same &= run(ours, true, key, iv, in, got, LEN, pieces[i]) && memcmp(got, want, LEN) == 0;
	ok(same, "pieces of any size are as libcrypto's");
	in_place = run(ours, true, key, iv, in, in, LEN, 16) && memcmp(in, want, LEN) == 0;
	ok(in_place, "in place, too");
	ok(EVP_CIPHER_get_key_length(ours) == 16 && EVP_CIPHER_get_iv_length(ours) == 16 &&
	    EVP_CIPHER_get_block_size(ours) == 1 && EVP_CIPHER_get_mode(ours) == EVP_CIPH_CTR_MODE, "it says what it is");
	EVP_CIPHER_free(ours);
	EVP_CIPHER_free(theirs);
}

static void
test_again(void)
{
	EVP_CIPHER *ours = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	const uint8_t key[16] = { 1 }, other[16] = { 2 }, iv[16] = { 3 }, in[100] = { 4 };
	uint8_t first[100], got[100];

	run(ours, true, other, iv, in, first, sizeof in, 16);
	EVP_CipherInit_ex2(c, ours, key, iv, true, NULL);
	EVP_Cipher(c, got, in, sizeof in);
	ok(EVP_CipherInit_ex2(c, NULL, other, iv, true, NULL) == 1 && EVP_Cipher(c, got, in, sizeof in) >= 0 &&
	    memcmp(got, first, sizeof got) == 0, "a context can be used again");
	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(ours);
}

static void
test_others(void)
{
	EVP_CIPHER *other = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	EVP_MD *digest = EVP_MD_fetch(NULL, "SHA2-256", NULL);

	ok(other != NULL && digest != NULL, "what is not ours is found as before");
	EVP_CIPHER_free(other);
	EVP_MD_free(digest);
}

int
main(void)
{
	ssh_cipher_register();
	test_vectors();
	test_pieces();
	test_again();
	test_others();
	return tap_done();
}
