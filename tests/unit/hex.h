/* hex.h - hexadecimal text for tests that carry bytes. */
#ifndef TESTS_HEX_H
#define TESTS_HEX_H

#include <sodium.h>
#include <string.h>

#include "proto/cursor.h"

/* The bytes written as hex in `text`, in to[]; empty when they do not fit or are not hex. */
__attribute__((unused)) static struct bytes
unhex(const char *text, void *to, size_t size)
{
	size_t len = 0;

	if (sodium_hex2bin(to, size, text, strlen(text), NULL, &len, NULL) != 0)
		len = 0;
	return (struct bytes){ to, len };
}

__attribute__((unused)) static bool
is_hex(struct bytes b, const char *text)
{
	char hex[2 * 4096 + 1];

	return b.len <= 4096 && strcmp(sodium_bin2hex(hex, sizeof hex, b.data, b.len), text) == 0;
}

#endif
