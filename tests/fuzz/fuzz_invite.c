/*
 * fuzz_invite.c - a text that parses prints, and what was printed parses to
 * the same.  As no fuzzer guesses a checksum, an input that begins with a
 * byte below 2 is the inside of a text, and gets one.
 */
#include "proto/invite.h"

#include <sodium.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "invite";

enum { INSIDE_MAX = 400, TEXT_MAX = 1024 };

static void
parse(const char *text)
{
	char printed[INVITE_RECOVERY_TEXT];
	struct invitation i = { 0 }, i_again = { 0 };
	struct recovery_code r = { 0 }, r_again = { 0 };

	if (invite_parse(&i, text) == 0) {
		promise(invite_print(&i, printed) == 0 && strlen(printed) < INVITE_TEXT);
		promise(invite_parse(&i_again, printed) == 0 && memcmp(&i, &i_again, sizeof i) == 0);
	}
	if (invite_parse_recovery(&r, text) == 0) {
		promise(invite_print_recovery(&r, printed) == 0 && strlen(printed) < INVITE_RECOVERY_TEXT);
		promise(invite_parse_recovery(&r_again, printed) == 0 && memcmp(&r, &r_again, sizeof r) == 0);
	}
}

static void
print_base32(const uint8_t *data, size_t size, char *to)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	unsigned held = 0, bits = 0;

	for (size_t i = 0; i < size; i++) {
		held = (held << 8 | data[i]) & 0xffff;
		for (bits += 8; bits >= 5; bits -= 5)
			*to++ = digits[held >> (bits - 5) & 31];
	}
	if (bits > 0)
		*to++ = digits[held << (5 - bits) & 31];
	*to = '\0';
}

static void
parse_inside(const uint8_t *data, size_t size, unsigned which)
{
	uint8_t inside[INSIDE_MAX + 4], hash[16];
	char text[TEXT_MAX];

	memcpy(inside, data, size);
	crypto_generichash(hash, sizeof hash, data, size, NULL, 0);
	memcpy(inside + size, hash, 4);
	if (which == 0) {
		strcpy(text, "nuage-invite-");
		sodium_bin2base64(text + strlen(text), sizeof text - strlen(text), inside, size + 4,
		    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	} else {
		strcpy(text, "nuage-recover-");
		print_base32(inside, size + 4, text + strlen(text));
	}
	parse(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX];

	if (size > 0 && data[0] < 2) {
		if (size - 1 <= INSIDE_MAX)
			parse_inside(data + 1, size - 1, data[0]);
	} else if (size < sizeof text) {
		memcpy(text, data, size);
		text[size] = '\0';
		parse(text);
	}
	return 0;
}
