/* aead.c - see aead.h. */
#include "proto/aead.h"

#include <errno.h>
#include <sodium.h>

#include "proto/scratch.h"

static void
counter_nonce(uint8_t nonce[12], uint64_t counter)
{
	for (int i = 0; i < 12; i++)
		nonce[i] = i < 4 ? 0 : counter >> 8 * (i - 4);
}

/* Sets key, nonce and associated data; NULL when libcrypto has no memory for it. */
static EVP_CIPHER_CTX *
begin(const uint8_t key[KEY_SIZE], uint64_t counter, const struct bytes *ad, size_t ad_count,
    bool sealing)
{
	struct scratch *s = scratch_get();
	uint8_t nonce[12];
	int n;

	counter_nonce(nonce, counter);
	if (s == NULL || EVP_CipherInit_ex2(s->aead, s->cipher, key, nonce, sealing, NULL) != 1)
		return NULL;
	for (size_t i = 0; i < ad_count; i++)
		if (ad[i].len > 0 && EVP_CipherUpdate(s->aead, NULL, &n, ad[i].data, ad[i].len) != 1)
			return NULL;
	return s->aead;
}

int
aead_seal(const uint8_t key[KEY_SIZE], uint64_t counter, const struct bytes *ad,
    size_t ad_count, const uint8_t *plain, size_t len, uint8_t *to)
{
	EVP_CIPHER_CTX *c = begin(key, counter, ad, ad_count, true);
	int n;

	if (c == NULL || (len > 0 && EVP_EncryptUpdate(c, to, &n, plain, len) != 1) ||
	    EVP_EncryptFinal_ex(c, to + len, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, to + len) != 1)
		return -ENOMEM;
	return 0;
}

int
aead_open(const uint8_t key[KEY_SIZE], uint64_t counter, const struct bytes *ad,
    size_t ad_count, struct bytes sealed, uint8_t *to)
{
	EVP_CIPHER_CTX *c;
	uint8_t tag[AEAD_TAG], end[16];
	size_t len;
	int n;

	if (sealed.len < AEAD_TAG)
		return -EBADMSG;
	len = sealed.len - AEAD_TAG;
	for (int i = 0; i < AEAD_TAG; i++)
		tag[i] = sealed.data[len + i];
	if ((c = begin(key, counter, ad, ad_count, false)) == NULL ||
	    (len > 0 && EVP_DecryptUpdate(c, to, &n, sealed.data, len) != 1) ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, tag) != 1)
		return -ENOMEM;
	if (EVP_DecryptFinal_ex(c, end, &n) != 1) {
		sodium_memzero(to, len);
		return -EBADMSG;
	}
	return 0;
}
