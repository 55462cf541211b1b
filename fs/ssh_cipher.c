/*
 * ssh_cipher.c - see ssh_cipher.h.
 *
 * libssh2 seals and opens every 16 bytes of a packet by a call of its own, which
 * costs ten times what the cipher does with many at once.  In counter mode the
 * stream that is added to the text does not depend on it: so this is made
 * STREAM bytes at a time, by libcrypto's own cipher, and each call adds what it
 * needs of it.  A provider, by which OpenSSL takes ciphers from elsewhere, built
 * into this program brings it in.
 *
 * Only what libssh2 and EVP ask of such a cipher is here: a key and an IV, which
 * start the stream, then bytes of any number.  Encrypting and decrypting are
 * the same.
 */
#include "fs/ssh_cipher.h"

#include <openssl/opensslv.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L

void
ssh_cipher_register(void)
{
}

#else

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdint.h>
#include <string.h>

enum { STREAM = 4096, IV_SIZE = 16 };

struct cipher {
	EVP_CIPHER	*inner;
	EVP_CIPHER_CTX	*context;	/* of inner; keyed */
	size_t		 at;		/* of the stream is used */
	uint8_t		 stream[STREAM];
};

/* ---- a context's life ---- */

static void
cipher_free(void *context)
{
	struct cipher *c = context;

	if (c == NULL)
		return;
	EVP_CIPHER_CTX_free(c->context);
	EVP_CIPHER_free(c->inner);
	OPENSSL_clear_free(c, sizeof *c);
}

/* libcrypto's own, not this again. */
static void *
cipher_new(const char *name)
{
	struct cipher *c = OPENSSL_zalloc(sizeof *c);

	if (c == NULL)
		return NULL;
	c->at = STREAM;
	c->inner = EVP_CIPHER_fetch(NULL, name, "provider=default");
	c->context = EVP_CIPHER_CTX_new();
	if (c->inner == NULL || c->context == NULL) {
		cipher_free(c);
		return NULL;
	}
	return c;
}

static int
cipher_init(void *context, const unsigned char *key, size_t key_len, const unsigned char *iv, size_t iv_len,
    const OSSL_PARAM params[])
{
	struct cipher *c = context;

	(void)params;
	if ((key != NULL && key_len != (size_t)EVP_CIPHER_get_key_length(c->inner)) || (iv != NULL && iv_len != IV_SIZE))
		return 0;
	c->at = STREAM;
	return EVP_EncryptInit_ex2(c->context, key != NULL ? c->inner : NULL, key, iv, NULL);
}

/* ---- bytes ---- */

static int
more(struct cipher *c)
{
	int n;

	memset(c->stream, 0, STREAM);
	c->at = 0;
	return EVP_EncryptUpdate(c->context, c->stream, &n, c->stream, STREAM) == 1 && n == STREAM;
}

static void
add(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t len)
{
	uint64_t a, b;

	for (; len >= sizeof a; len -= sizeof a, out += sizeof a, in += sizeof a, stream += sizeof a) {
		memcpy(&a, in, sizeof a);
		memcpy(&b, stream, sizeof b);
		a ^= b;
		memcpy(out, &a, sizeof a);
	}
	while (len-- > 0)
		*out++ = *in++ ^ *stream++;
}

static int
cipher_update(void *context, unsigned char *out, size_t *ret_len, size_t size, const unsigned char *in, size_t len)
{
	struct cipher *c = context;
	size_t some;

	if (size < len)
		return 0;
	*ret_len = len;
	for (; len > 0; len -= some, in += some, out += some) {
		if (c->at == STREAM && !more(c))
			return 0;
		some = len < STREAM - c->at ? len : STREAM - c->at;
		add(out, in, c->stream + c->at, some);
		c->at += some;
	}
	return 1;
}

static int
cipher_final(void *context, unsigned char *out, size_t *ret_len, size_t size)
{
	(void)context, (void)out, (void)size;
	*ret_len = 0;
	return 1;
}

/* ---- what it says of itself ---- */

static int
get_params(OSSL_PARAM params[], size_t key_len)
{
	const struct { const char *name; size_t value; } sizes[] = {
		{ OSSL_CIPHER_PARAM_KEYLEN, key_len }, { OSSL_CIPHER_PARAM_IVLEN, IV_SIZE },
		{ OSSL_CIPHER_PARAM_BLOCK_SIZE, 1 },
	};
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);

	if (p != NULL && !OSSL_PARAM_set_uint(p, EVP_CIPH_CTR_MODE))
		return 0;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		if ((p = OSSL_PARAM_locate(params, sizes[i].name)) != NULL && !OSSL_PARAM_set_size_t(p, sizes[i].value))
			return 0;
	return 1;
}

static int
get_context_params(void *context, OSSL_PARAM params[])
{
	const struct cipher *c = context;

	return get_params(params, (size_t)EVP_CIPHER_get_key_length(c->inner));
}

#define CIPHER(bits)									\
	static void *new_##bits(void *provider)						\
	{										\
		(void)provider;								\
		return cipher_new("AES-" #bits "-CTR");					\
	}										\
	static int params_##bits(OSSL_PARAM params[])					\
	{										\
		return get_params(params, bits / 8);					\
	}										\
	static const OSSL_DISPATCH calls_##bits[] = {					\
		{ OSSL_FUNC_CIPHER_NEWCTX, (void (*)(void))new_##bits },		\
		{ OSSL_FUNC_CIPHER_FREECTX, (void (*)(void))cipher_free },		\
		{ OSSL_FUNC_CIPHER_ENCRYPT_INIT, (void (*)(void))cipher_init },		\
		{ OSSL_FUNC_CIPHER_DECRYPT_INIT, (void (*)(void))cipher_init },		\
		{ OSSL_FUNC_CIPHER_UPDATE, (void (*)(void))cipher_update },		\
		{ OSSL_FUNC_CIPHER_CIPHER, (void (*)(void))cipher_update },		\
		{ OSSL_FUNC_CIPHER_FINAL, (void (*)(void))cipher_final },		\
		{ OSSL_FUNC_CIPHER_GET_PARAMS, (void (*)(void))params_##bits },		\
		{ OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (void (*)(void))get_context_params },	\
		{ 0, NULL }								\
	}

/* Not 256, which libcrypto draws its random numbers by; libssh2 asks for 128 first. */

CIPHER(128);
CIPHER(192);

/* ---- the provider ---- */

#define PROVIDER "nuage"

static const OSSL_ALGORITHM *
query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM ciphers[] = {
		{ "AES-128-CTR", "provider=" PROVIDER, calls_128, NULL },
		{ "AES-192-CTR", "provider=" PROVIDER, calls_192, NULL },
		{ NULL, NULL, NULL, NULL }
	};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

static int
start(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **ret_calls, void **ret_provider)
{
	static const OSSL_DISPATCH calls[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
		{ 0, NULL }
	};

	(void)in;
	*ret_calls = calls;
	*ret_provider = (void *)(uintptr_t)core;
	return 1;
}

static OSSL_PROVIDER *loaded;		/* made once; only the end of the process takes it away */

static void
unload(void)
{
	OSSL_PROVIDER_unload(loaded);
}

void
ssh_cipher_register(void)
{
	/* Besides the default provider, which by itself is there only as long as no other is. */
	if (OSSL_PROVIDER_add_builtin(NULL, PROVIDER, start) != 1 ||
	    (loaded = OSSL_PROVIDER_try_load(NULL, PROVIDER, 1)) == NULL)
		return;
	OPENSSL_atexit(unload);
	EVP_set_default_properties(NULL, "?provider=" PROVIDER);
}

#endif
