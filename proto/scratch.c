/*
 * scratch.c - see scratch.h.
 *
 * The key of the thread-specific value is the one piece of global state: it
 * is made once and never changes.
 */
#include "proto/scratch.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void
scratch_free(void *of)
{
	struct scratch *s = of;

	if (s == NULL)
		return;
	EVP_CIPHER_CTX_free(s->aead);
	EVP_CIPHER_free(s->cipher);
	EVP_MD_CTX_free(s->digest);
	EVP_MD_free(s->sha256);
	ZSTD_freeCCtx(s->compress);
	ZSTD_freeDCtx(s->expand);
	free(s);
}

static struct scratch *
scratch_new(void)
{
	struct scratch *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	s->aead = EVP_CIPHER_CTX_new();
	s->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	s->digest = EVP_MD_CTX_new();
	s->compress = ZSTD_createCCtx();
	s->expand = ZSTD_createDCtx();
	if (s->cipher == NULL || s->aead == NULL || s->sha256 == NULL ||
	    s->digest == NULL || s->compress == NULL || s->expand == NULL) {
		scratch_free(s);
		return NULL;
	}
	return s;
}

static void
make_key(void)
{
	key_error = pthread_key_create(&key, scratch_free);
}

struct scratch *
scratch_get(void)
{
	struct scratch *s;

	pthread_once(&once, make_key);
	if (key_error != 0)
		return NULL;
	if ((s = pthread_getspecific(key)) != NULL)
		return s;
	if ((s = scratch_new()) != NULL && pthread_setspecific(key, s) != 0) {
		scratch_free(s);
		s = NULL;
	}
	return s;
}
