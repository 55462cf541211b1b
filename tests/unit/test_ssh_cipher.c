/* test_ssh_cipher.c - libssh2's AES in counter mode: the standard's vectors, and whatever the pieces, what libcrypto's own makes. */
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "fs/ssh_cipher.h"
#include "tests/tap.h"
#include "tests/unit/hex.h"

enum { LEN = 40000 };

static uint8_t plain[LEN], ours[LEN], theirs[LEN];
static const uint8_t key[32] = "thirty-two bytes that are a key", iv[16] = { [8] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0 };

/* As libssh2 does: by the old names, a piece at a time, in place. */
static bool
by_pieces(const EVP_CIPHER *cipher, bool seals, unsigned seed)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	bool fine = c != NULL && EVP_CipherInit(c, cipher, key, iv, seals) == 1;

	for (size_t at = 0, n; fine && at < LEN; at += n) {
		seed = seed * 1103515245 + 12345;
		n = seed % 4 == 0 ? seed >> 8 & 8191 : 16;
		if (n > LEN - at)
			n = LEN - at;
		fine = EVP_Cipher(c, ours + at, ours + at, (unsigned)n) == (int)n;
	}
	EVP_CIPHER_CTX_free(c);
	return fine;
}

static bool
at_once(const char *name)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, "provider=default");
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;
	bool fine = cipher != NULL && EVP_EncryptInit_ex2(c, cipher, key, iv, NULL) == 1 &&
	    EVP_EncryptUpdate(c, theirs, &n, plain, LEN) == 1 && n == LEN;

	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(cipher);
	return fine;
}

static void
same(const char *name, const EVP_CIPHER *cipher)
{
	for (unsigned seed = 1; seed < 5; seed++) {
		memcpy(ours, plain, LEN);
		ok(by_pieces(cipher, true, seed) && at_once(name) && memcmp(ours, theirs, LEN) == 0, "%s, in pieces %u", name, seed);
		ok(by_pieces(cipher, false, seed + 9) && memcmp(ours, plain, LEN) == 0, "and back");
	}
}

static const char *
provider_of(const char *name)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
	const char *found = cipher != NULL ? OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)) : "none";

	EVP_CIPHER_free(cipher);
	return found;
}

/* NIST SP 800-38A, F.5.1; and the stream begins anew with each key or counter. */
static void
standard(void)
{
	static const char text[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
	static const char sealed[] = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff";
	uint8_t k[16], counter[16], in[32], want[32], out[32];
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t random[64] = { 0 };
	int n = 0, end = 0;

	unhex("2b7e151628aed2a6abf7158809cf4f3c", k, sizeof k);
	unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", counter, sizeof counter);
	unhex(text, in, sizeof in);
	unhex(sealed, want, sizeof want);
	ok(strcmp(provider_of("AES-128-CTR"), "nuage") == 0, "who asks for AES-CTR gets ours");
	ok(EVP_CIPHER_get_key_length(cipher) == 16 && EVP_CIPHER_get_iv_length(cipher) == 16 &&
	    EVP_CIPHER_get_block_size(cipher) == 1 && EVP_CIPHER_get_mode(cipher) == EVP_CIPH_CTR_MODE, "which says what it is");
	ok(EVP_EncryptInit_ex2(c, cipher, k, counter, NULL) == 1 && EVP_EncryptUpdate(c, out, &n, in, sizeof in) == 1 &&
	    EVP_EncryptFinal_ex(c, out + n, &end) == 1 && n == sizeof out && end == 0 && memcmp(out, want, sizeof out) == 0,
	    "it makes the standard's text");
	ok(EVP_DecryptInit_ex2(c, NULL, NULL, counter, NULL) == 1 && EVP_DecryptUpdate(c, out, &n, want, sizeof want) == 1 &&
	    memcmp(out, in, sizeof in) == 0, "and from it the plain one, from a counter set anew");
	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(cipher);
	ok(strcmp(provider_of("AES-128-GCM"), "default") == 0, "all else is libcrypto's own");
	ok(RAND_bytes(random, sizeof random) == 1 && !sodium_is_zero(random, sizeof random), "and there are random numbers");
}

static void *
other_thread(void *argument)
{
	(void)argument;
	return (void *)(uintptr_t)(strcmp(provider_of("AES-128-CTR"), "default") == 0);
}

int
main(void)
{
	pthread_t thread;
	void *before, *fine = NULL;

	for (size_t i = 0; i < LEN; i++)
		plain[i] = (uint8_t)(i * 7 + i / 251);
	if (EVP_default_properties_is_fips_enabled(NULL)) {
		skip("FIPS", "ours is no validated one");
		return tap_done();
	}
	before = ssh_cipher_enter();
	ok(before != NULL, "it is taken");
	standard();
	same("AES-128-CTR", EVP_aes_128_ctr());
	same("AES-192-CTR", EVP_aes_192_ctr());
	same("AES-256-CTR", EVP_aes_256_ctr());
	ok(pthread_create(&thread, NULL, other_thread, NULL) == 0 && pthread_join(thread, &fine) == 0 && fine != NULL,
	    "another thread gets what it always did");
	ssh_cipher_leave(before);
	ok(strcmp(provider_of("AES-128-CTR"), "default") == 0, "and so does this one afterwards");
	return tap_done();
}
