/* test_invite.c - wraps open for the right key alone; texts survive people. */
#include "proto/invite.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "proto/noise.h"
#include "proto/wrap.h"
#include "tests/tap.h"

static const uint8_t volume[VOLUME_ID_SIZE] = { 1 }, other_volume[VOLUME_ID_SIZE] = { 2 };
static const uint8_t secret[SECRET_SIZE] = { 3 }, volume_key[KEY_SIZE] = { 4, 5, 6 };

/* ---- wraps ---- */

static void
test_wrap(void)
{
	uint8_t key[KEY_SIZE], wrap[WRAP_SIZE + 1], again[WRAP_SIZE], back[KEY_SIZE] = { 0 };
	struct bytes w = { wrap, WRAP_SIZE };
	bool refused = true;

	wrap_key_of_invitation(secret, key);
	wrap_seal(key, volume, volume_key, wrap);
	ok(wrap_open(key, volume, w, back) == 0 && memcmp(back, volume_key, KEY_SIZE) == 0, "a volume key comes back");
	wrap_seal(key, volume, volume_key, again);
	ok(memcmp(wrap, again, WRAP_SIZE) != 0, "no two wraps are alike");
	memset(back, 9, sizeof back);
	for (unsigned bit = 0; bit < WRAP_SIZE * 8; bit++) {
		wrap[bit / 8] ^= 1 << bit % 8;
		refused &= wrap_open(key, volume, w, back) == (bit < 8 ? -ENOTSUP : -EBADMSG);
		wrap[bit / 8] ^= 1 << bit % 8;
	}
	ok(refused, "every flipped bit is refused");
	for (w.len = 0; w.len < WRAP_SIZE; w.len++)
		refused &= wrap_open(key, volume, w, back) == -EBADMSG;
	ok(refused, "every truncation is refused");
	w.len = WRAP_SIZE + 1;
	ok(wrap_open(key, volume, w, back) == -EBADMSG, "a trailing byte is refused");
	w.len = WRAP_SIZE;
	ok(wrap_open(key, other_volume, w, back) == -EBADMSG, "another volume's id is refused");
	key[0] ^= 1;
	ok(wrap_open(key, volume, w, back) == -EBADMSG, "another key is refused");
	ok(back[0] == 9 && back[KEY_SIZE - 1] == 9, "a refusal leaves the result alone");
}

static void
test_derivation(void)
{
	uint8_t keys[6][KEY_SIZE], again[KEY_SIZE];
	bool distinct = true;

	wrap_key_of_device(secret, keys[0]);
	wrap_key_of_invitation(secret, keys[1]);
	wrap_key_of_recovery(secret, keys[2]);
	wrap_token(secret, keys[3]);
	wrap_token_hash(keys[3], keys[4]);
	wrap_recovery_device(secret, keys[5]);
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < i; k++)
			distinct &= memcmp(keys[i], keys[k], KEY_SIZE) != 0;
	ok(distinct, "one secret gives a key for each purpose");
	wrap_token(secret, again);
	ok(memcmp(again, keys[3], KEY_SIZE) == 0, "and always the same");
	noise_public(keys[5], again);
	ok(!sodium_is_zero(again, sizeof again), "the recovery device has a public key");
}

/* ---- invitations ---- */

static struct invitation
sample(enum invite_kind kind, const char *address)
{
	struct invitation i = { .kind = kind };

	strncpy(i.address, address, INVITE_ADDRESS_MAX);
	randombytes_buf(i.server, KEY_SIZE);
	randombytes_buf(i.secret, SECRET_SIZE);
	return i;
}

static bool
same(const struct invitation *a, const struct invitation *b)
{
	return a->kind == b->kind && strcmp(a->address, b->address) == 0 &&
	    memcmp(a->server, b->server, KEY_SIZE) == 0 && memcmp(a->secret, b->secret, SECRET_SIZE) == 0;
}

static void
test_invitation(void)
{
	struct invitation i = sample(INVITE_VOLUME, "drive.example.org:7400"), back;
	char text[INVITE_TEXT], copy[2 * INVITE_TEXT];
	size_t len;
	bool refused = true;

	ok(invite_print(&i, text) == 0 && strncmp(text, "nuage-invite-", 13) == 0 &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(text),
	    "an invitation can be pasted anywhere");
	ok(invite_parse(&back, text) == 0 && same(&i, &back), "and comes back");
	len = strlen(text);
	snprintf(copy, sizeof copy, "  %.30s\n%s\r\n", text, text + 30);
	ok(invite_parse(&back, copy) == 0 && same(&i, &back), "white space and a broken line do no harm");
	for (size_t at = 13; at < len; at++)
		for (int c = '!'; c <= '~'; c++) {
			if (c == text[at])
				continue;
			strcpy(copy, text);
			copy[at] = c;
			refused &= invite_parse(&back, copy) == -EBADMSG;
		}
	ok(refused, "every mistyped character is noticed");
	for (size_t cut = 13; cut < len; cut++) {
		snprintf(copy, sizeof copy, "%.*s", (int)cut, text);
		refused &= invite_parse(&back, copy) == -EBADMSG;
	}
	ok(refused, "and every missing end");
	snprintf(copy, sizeof copy, "%sA", text);
	ok(invite_parse(&back, copy) == -EBADMSG, "and every addition");
	ok(invite_parse(&back, "") == -EINVAL && invite_parse(&back, "nuage-invit") == -EINVAL &&
	    invite_parse(&back, "nuage-recover-00000") == -EINVAL, "other texts are told apart");
	memset(copy, 'A', sizeof copy - 1);
	memcpy(copy, "nuage-invite-", 13);
	copy[sizeof copy - 1] = '\0';
	ok(invite_parse(&back, copy) == -EBADMSG, "an endless one is refused");
}

static void
test_addresses(void)
{
	char text[INVITE_TEXT], recovery_text[INVITE_RECOVERY_TEXT], longest[INVITE_ADDRESS_MAX + 1] = "";
	const char *bad[] = { "", "-oProxyCommand=x", "host name:1", "host\n:1", "h\xc3\xb6st:1", "host:\x7f",
	    "host:0", "host:65536", "[::1]:99999", "host:18446744073709551617" };
	const char *good[] = { "host", "host:65535", "[fe80::1]:1", "fe80::0", "unix:/run/s", "ssh://h:22/~/d", "h:nuage" };
	struct invitation i, back;
	struct recovery_code r = { 0 }, r_back;

	memset(longest, 'h', INVITE_ADDRESS_MAX);
	i = sample(INVITE_SERVER, longest);
	ok(invite_print(&i, text) == 0 && invite_parse(&back, text) == 0 && same(&i, &back),
	    "the longest address comes back");
	memset(i.secret, 0xff, sizeof i.secret);
	memset(i.server, 0xff, sizeof i.server);
	memcpy(r.address, longest, sizeof longest);
	ok(invite_print_recovery(&r, recovery_text) == 0 && strlen(recovery_text) < INVITE_RECOVERY_TEXT &&
	    invite_parse_recovery(&r_back, recovery_text) == 0 && strcmp(r_back.address, longest) == 0,
	    "in a recovery code too");
	memset(i.address, 'h', sizeof i.address);
	ok(invite_print(&i, text) == -EINVAL, "an address without end is refused");
	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
		i = sample(INVITE_SERVER, bad[k]);
		strcpy(r.address, bad[k]);
		ok(invite_print(&i, text) == -EINVAL && invite_print_recovery(&r, recovery_text) == -EINVAL,
		    "bad address %zu is refused", k + 1);
	}
	for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
		i = sample(INVITE_SERVER, good[k]);
		ok(invite_print(&i, text) == 0, "%s is taken", good[k]);
	}
	i = sample(3, "host:1");
	ok(invite_print(&i, text) == -EINVAL, "there is no third kind");
}

/* Texts with a right checksum that no printer of ours makes. */
static int
parse_bytes(const uint8_t *bytes, size_t len)
{
	uint8_t whole[400], hash[16];
	char text[INVITE_TEXT + 100] = "nuage-invite-";
	struct invitation back;

	memcpy(whole, bytes, len);
	crypto_generichash(hash, sizeof hash, bytes, len, NULL, 0);
	memcpy(whole + len, hash, 4);
	sodium_bin2base64(text + 13, sizeof text - 13, whole, len + 4, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return invite_parse(&back, text);
}

static void
test_hostile(void)
{
	uint8_t b[120] = { 1, 1 };
	const size_t address = 2 + 32 + 32;

	b[address] = 6;
	memcpy(b + address + 1, "host:1", 6);
	ok(parse_bytes(b, address + 7) == 0, "the test makes good bytes");
	ok(parse_bytes(b, address + 8) == -EBADMSG, "bytes behind the address are refused");
	ok(parse_bytes(b, address + 6) == -EBADMSG, "an address beyond the end is refused");
	ok(parse_bytes(b, 1) == -EBADMSG && parse_bytes(b, 0) == -EBADMSG, "so is almost nothing");
	b[1] = 3;
	ok(parse_bytes(b, address + 7) == -ENOTSUP, "a kind to come is not supported");
	b[1] = 1, b[0] = 2;
	ok(parse_bytes(b, address + 7) == -ENOTSUP, "nor a format to come");
	b[0] = 1, b[address + 1] = '-';
	ok(parse_bytes(b, address + 7) == -EBADMSG, "an address that is an option is refused");
	b[address + 1] = 0;
	ok(parse_bytes(b, address + 7) == -EBADMSG, "and one with a zero");
	b[address] = 0;
	ok(parse_bytes(b, address + 1) == -EBADMSG, "and none");
}

/* ---- recovery codes ---- */

static void
test_recovery(void)
{
	struct recovery_code r = { .address = "drive.example.org:7400" }, back;
	char text[INVITE_RECOVERY_TEXT], copy[2 * INVITE_RECOVERY_TEXT];
	bool refused = true, groups = true;
	size_t len;
	char *c;

	randombytes_buf(r.server, KEY_SIZE);
	randombytes_buf(r.secret, RECOVERY_SECRET);
	ok(invite_print_recovery(&r, text) == 0 && strncmp(text, "nuage-recover-", 14) == 0, "a recovery code is printed");
	len = strlen(text);
	for (size_t at = 14; at < len; at++)
		groups &= (text[at] == '-') == ((at - 14) % 6 == 5) && strchr("ilou", text[at]) == NULL;
	ok(groups, "in groups of five, without i, l, o, u");
	ok(invite_parse_recovery(&back, text) == 0 && memcmp(&back, &r, sizeof r) == 0, "it comes back");

	c = copy;
	for (size_t at = 0; at < len; at++) {
		if (at >= 14 && text[at] == '-')
			*c++ = at % 3 ? ' ' : '\n';
		else if (at >= 14 && text[at] == '0')
			*c++ = at % 2 ? 'o' : 'O';
		else if (at >= 14 && text[at] == '1')
			*c++ = "iIlL"[at % 4];
		else
			*c++ = toupper((unsigned char)text[at]);
	}
	*c = '\0';
	ok(invite_parse_recovery(&back, copy) == 0 && memcmp(&back, &r, sizeof r) == 0, "as a person would type it");

	for (size_t at = 14; at < len; at++)
		for (const char *x = "0123456789abcdefghjkmnpqrstvwxyzu!"; *x != '\0' && text[at] != '-'; x++) {
			if (*x == text[at])
				continue;
			strcpy(copy, text);
			copy[at] = *x;
			refused &= invite_parse_recovery(&back, copy) == -EBADMSG;
		}
	ok(refused, "every mistyped character is noticed");
	for (size_t at = 14; at + 1 < len; at++) {
		if (text[at] == text[at + 1] || text[at] == '-' || text[at + 1] == '-')
			continue;
		strcpy(copy, text);
		copy[at] = text[at + 1], copy[at + 1] = text[at];
		refused &= invite_parse_recovery(&back, copy) == -EBADMSG;
	}
	ok(refused, "and every exchange of neighbours");
	for (size_t cut = 14; cut < len; cut++) {
		snprintf(copy, sizeof copy, "%.*s", (int)cut, text);
		refused &= invite_parse_recovery(&back, copy) == -EBADMSG;
	}
	ok(refused, "and every missing end");
	snprintf(copy, sizeof copy, "%s0", text);
	ok(invite_parse_recovery(&back, copy) == -EBADMSG, "and every addition");
	ok(invite_parse_recovery(&back, "nuage-invite-AAAA") == -EINVAL && invite_parse_recovery(&back, "") == -EINVAL,
	    "other texts are told apart");
	memset(copy, '0', sizeof copy - 1);
	memcpy(copy, "nuage-recover-", 14);
	copy[sizeof copy - 1] = '\0';
	ok(invite_parse_recovery(&back, copy) == -EBADMSG, "an endless one is refused");
}

int
main(void)
{
	if (sodium_init() < 0)
		return 1;
	test_wrap();
	test_derivation();
	test_invitation();
	test_addresses();
	test_hostile();
	test_recovery();
	return tap_done();
}
