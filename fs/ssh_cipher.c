/* ssh_cipher.c - see ssh_cipher.h. */
#include "fs/ssh_cipher.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

enum {
	AHEAD	= 4096,		/* bytes of keystream; it should stay in the first cache */
	BLOCK	= 16,
};

/* Our algorithms, those of others, and which are preferred: property(7). */
#define OURS		"provider=nuage"
#define NOT_OURS	"provider!=nuage"
#define RATHER_OURS	"?provider=nuage"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_LIB_CTX *with_ours;		/* for as long as the process lives; NULL: there is none */

struct ahead {
	EVP_CIPHER_CTX	*inner;
	size_t		 key_len;
	size_t		 at;		/* of the stream, what is still unused begins; AHEAD: there is none */
	uint8_t		 stream[AHEAD];
};

static void
ahead_free(void *context)
{
	struct ahead *a = context;

	if (a == NULL)
		return;
	EVP_CIPHER_CTX_free(a->inner);
	OPENSSL_clear_free(a, sizeof *a);
}

static void *
ahead_new(const char *name, size_t key_len)
{
	struct ahead *a = OPENSSL_zalloc(sizeof *a);
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(with_ours, name, NOT_OURS);

	if (a != NULL) {
		a->key_len = key_len;
		a->at = AHEAD;
		a->inner = EVP_CIPHER_CTX_new();
		if (a->inner == NULL || cipher == NULL || EVP_EncryptInit_ex2(a->inner, cipher, NULL, NULL, NULL) != 1) {
			ahead_free(a);
			a = NULL;
		}
	}
	EVP_CIPHER_free(cipher);
	return a;
}

/* To encipher and to decipher is the same. */
static int
ahead_init(void *context, const unsigned char *key, size_t key_len, const unsigned char *iv, size_t iv_len,
    const OSSL_PARAM *params)
{
	struct ahead *a = context;

	(void)params;
	if ((key != NULL && key_len != a->key_len) || (iv != NULL && iv_len != BLOCK))
		return 0;
	OPENSSL_cleanse(a->stream, AHEAD);
	a->at = AHEAD;
	return EVP_EncryptInit_ex2(a->inner, NULL, key, iv, NULL);
}

static int
refill(struct ahead *a)
{
	int len = 0;

	memset(a->stream, 0, AHEAD);
	if (EVP_EncryptUpdate(a->inner, a->stream, &len, a->stream, AHEAD) != 1 || len != AHEAD)
		return 0;
	a->at = 0;
	return 1;
}

/* `to` may be `from`. */
static void
mix(uint8_t *to, const uint8_t *from, const uint8_t *stream, size_t len)
{
	for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t)) {
		uint64_t word, other;

		memcpy(&word, from, sizeof word);
		memcpy(&other, stream, sizeof other);
		word ^= other;
		memcpy(to, &word, sizeof word);
		to += sizeof word;
		from += sizeof word;
		stream += sizeof word;
	}
	for (; len > 0; len--)
		*to++ = *from++ ^ *stream++;
}

static int
ahead_cipher(void *context, unsigned char *to, size_t *ret_len, size_t size, const unsigned char *from, size_t len)
{
	struct ahead *a = context;

	if (size < len)
		return 0;
	*ret_len = len;
	while (len > 0) {
		size_t n = len;

		if (a->at == AHEAD && !refill(a))
			return 0;
		if (n > AHEAD - a->at)
			n = AHEAD - a->at;
		mix(to, from, a->stream + a->at, n);
		a->at += n;
		to += n;
		from += n;
		len -= n;
	}
	return 1;
}

static int
ahead_final(void *context, unsigned char *to, size_t *ret_len, size_t size)
{
	(void)context, (void)to, (void)size;
	*ret_len = 0;
	return 1;
}

/* ---- what libcrypto asks about ---- */

static int
say(OSSL_PARAM params[], const char *name, size_t value)
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, name);

	return p == NULL || OSSL_PARAM_set_size_t(p, value);
}

static int
say_all(OSSL_PARAM params[], size_t key_len)
{
	OSSL_PARAM *mode = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);

	return (mode == NULL || OSSL_PARAM_set_uint(mode, EVP_CIPH_CTR_MODE)) && say(params, OSSL_CIPHER_PARAM_KEYLEN, key_len) &&
	    say(params, OSSL_CIPHER_PARAM_IVLEN, BLOCK) && say(params, OSSL_CIPHER_PARAM_BLOCK_SIZE, 1);
}

static int
say_of_one(void *context, OSSL_PARAM params[])
{
	return say_all(params, ((const struct ahead *)context)->key_len);
}

#define FUNCTION(id, f)	{ id, (void (*)(void))(f) }

/* What differs by the length of the key: a context, and what is said without one. */
#define CIPHER(bits)										\
	static void *new_##bits(void *p) { (void)p; return ahead_new("AES-" #bits "-CTR", bits / 8); }	\
	static int say_##bits(OSSL_PARAM params[]) { return say_all(params, bits / 8); }	\
	static const OSSL_DISPATCH functions_##bits[] = {					\
		FUNCTION(OSSL_FUNC_CIPHER_NEWCTX, new_##bits),					\
		FUNCTION(OSSL_FUNC_CIPHER_FREECTX, ahead_free),					\
		FUNCTION(OSSL_FUNC_CIPHER_ENCRYPT_INIT, ahead_init),				\
		FUNCTION(OSSL_FUNC_CIPHER_DECRYPT_INIT, ahead_init),				\
		FUNCTION(OSSL_FUNC_CIPHER_UPDATE, ahead_cipher),				\
		FUNCTION(OSSL_FUNC_CIPHER_FINAL, ahead_final),					\
		FUNCTION(OSSL_FUNC_CIPHER_CIPHER, ahead_cipher),				\
		FUNCTION(OSSL_FUNC_CIPHER_GET_PARAMS, say_##bits),				\
		FUNCTION(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, say_of_one),				\
		{ 0, NULL },									\
	}

CIPHER(128);
CIPHER(192);
CIPHER(256);

/* ---- the provider ---- */

static const OSSL_ALGORITHM *
query(void *context, int operation, int *ret_no_cache)
{
	static const OSSL_ALGORITHM ciphers[] = {
		{ "AES-128-CTR", OURS, functions_128, NULL },
		{ "AES-192-CTR", OURS, functions_192, NULL },
		{ "AES-256-CTR", OURS, functions_256, NULL },
		{ NULL, NULL, NULL, NULL },
	};

	(void)context;
	*ret_no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

static int
provide(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **ret_out, void **ret_context)
{
	static const OSSL_DISPATCH out[] = {
		FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
		{ 0, NULL },
	};
	static uint8_t nothing;

	(void)handle, (void)in;
	*ret_out = out;
	*ret_context = &nothing;	/* it must be something */
	return 1;
}

/* Its random numbers are made by AES in counter mode too, of which the stream would be a copy that nobody wipes. */
static void
make(void)
{
	OSSL_LIB_CTX *c = EVP_default_properties_is_fips_enabled(NULL) ? NULL : OSSL_LIB_CTX_new();

	/* The provider by default stays, loaded by itself when first asked for. */
	if (c != NULL && RAND_set_DRBG_type(c, NULL, NOT_OURS, NULL, NULL) == 1 &&
	    OSSL_PROVIDER_add_builtin(c, "nuage", provide) == 1 && OSSL_PROVIDER_try_load(c, "nuage", 1) != NULL &&
	    EVP_set_default_properties(c, RATHER_OURS) == 1)
		with_ours = c;
	else
		OSSL_LIB_CTX_free(c);
}

void *
ssh_cipher_enter(void)
{
	pthread_once(&once, make);
	return with_ours == NULL ? NULL : OSSL_LIB_CTX_set0_default(with_ours);
}

void
ssh_cipher_leave(void *before)
{
	if (before != NULL)
		OSSL_LIB_CTX_set0_default(before);
}
