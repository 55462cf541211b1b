/*
 * invite.c - see invite.h.
 *
 *	invitation	u8 format (1), u8 kind, 32 bytes server key, 32 bytes
 *			secret, u8 length, address, checksum
 *	recovery code	u8 format (1), 32 bytes server key, 16 bytes secret,
 *			u8 length, address, checksum
 *
 * The checksum is the first 4 bytes of BLAKE2b-128 over all before it.  It
 * stands last in every format to come, and is checked first: else a typing
 * error in the format byte would pass for a newer version.
 */
#include "proto/invite.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "proto/cursor.h"

enum {
	FORMAT		= 1,
	CHECKSUM	= 4,
	INVITE_BYTES	= 1 + 1 + KEY_SIZE + SECRET_SIZE + 1 + INVITE_ADDRESS_MAX + CHECKSUM,
	RECOVERY_BYTES	= 1 + KEY_SIZE + RECOVERY_SECRET + 1 + INVITE_ADDRESS_MAX + CHECKSUM,
	GROUP		= 5,		/* characters between two dashes */
};

static const char invite_prefix[] = "nuage-invite-", recovery_prefix[] = "nuage-recover-";
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";	/* Crockford: no i, l, o, u */
static const char space[] = " \t\r\n";

_Static_assert(sizeof invite_prefix + (INVITE_BYTES * 8 + 5) / 6 <= INVITE_TEXT, "room for an invitation");
_Static_assert(sizeof recovery_prefix + (RECOVERY_BYTES * 8 + 4) / 5 * (GROUP + 1) / GROUP <=
    INVITE_RECOVERY_TEXT, "room for a recovery code");

/* ---- bytes ---- */

static uint32_t
checksum(const uint8_t *data, size_t len)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	struct cursor c;

	crypto_generichash(hash, sizeof hash, data, len, NULL, 0);
	c = cursor_read(hash, sizeof hash);
	return cursor_get_u32(&c);
}

/* A leading dash would pass for an option of whatever program is given the address. */
static bool
address_valid(const char *address, size_t len)
{
	if (len == 0 || len > INVITE_ADDRESS_MAX || address[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (address[i] <= ' ' || address[i] > '~')
			return false;
	return true;
}

/* A port in figures that is none: of host:port and [host]:port, not of a bare IPv6 address. */
static bool
port_impossible(const char *address)
{
	const char *colon = strrchr(address, ':');
	unsigned long port = 0;

	if (colon == NULL || (strchr(address, ':') != colon && colon[-1] != ']') || colon[1] == '\0')
		return false;
	for (const char *at = colon + 1; *at != '\0' && port <= UINT16_MAX; at++) {
		if (*at < '0' || *at > '9')
			return false;
		port = 10 * port + (unsigned)(*at - '0');
	}
	return port == 0 || port > UINT16_MAX;
}

static int
put_address(struct cursor *c, const char address[INVITE_ADDRESS_MAX + 1])
{
	size_t len = strnlen(address, INVITE_ADDRESS_MAX + 1);

	if (!address_valid(address, len) || port_impossible(address))
		return -EINVAL;
	cursor_put_u8(c, len);
	cursor_put(c, address, len);
	return 0;
}

static void
put_checksum(struct cursor *c)
{
	cursor_put_u32(c, checksum(c->base, c->pos));
}

/* 0 with the cursor behind the format byte and `from` without its checksum. */
static int
begin(struct cursor *c, const uint8_t *from, size_t len)
{
	struct cursor end;

	if (len < 1 + CHECKSUM)
		return -EBADMSG;
	end = cursor_read(from + len - CHECKSUM, CHECKSUM);
	if (cursor_get_u32(&end) != checksum(from, len - CHECKSUM))
		return -EBADMSG;
	*c = cursor_read(from, len - CHECKSUM);
	return cursor_get_u8(c) == FORMAT ? 0 : -ENOTSUP;
}

/* The address, and nothing behind it. */
static int
get_address(struct cursor *c, char address[INVITE_ADDRESS_MAX + 1])
{
	struct bytes b = cursor_get_bytes(c, cursor_get_u8(c));

	if (!cursor_done(c) || !address_valid((const char *)b.data, b.len))
		return -EBADMSG;
	memcpy(address, b.data, b.len);
	address[b.len] = '\0';
	return port_impossible(address) ? -EBADMSG : 0;
}

/* What follows the prefix, in any case; or NULL. */
static const char *
after_prefix(const char *text, const char *prefix)
{
	text += strspn(text, space);
	return strncasecmp(text, prefix, strlen(prefix)) == 0 ? text + strlen(prefix) : NULL;
}

/* ---- invitations ---- */

int
invite_print(const struct invitation *i, char to[INVITE_TEXT])
{
	uint8_t bytes[INVITE_BYTES];
	struct cursor c = cursor_over(bytes, sizeof bytes);
	size_t prefix = sizeof invite_prefix - 1;
	int r;

	if (i->kind != INVITE_SERVER && i->kind != INVITE_VOLUME)
		return -EINVAL;
	cursor_put_u8(&c, FORMAT);
	cursor_put_u8(&c, i->kind);
	cursor_put(&c, i->server, KEY_SIZE);
	cursor_put(&c, i->secret, SECRET_SIZE);
	if ((r = put_address(&c, i->address)) == 0) {
		put_checksum(&c);
		memcpy(to, invite_prefix, prefix);
		sodium_bin2base64(to + prefix, INVITE_TEXT - prefix, bytes, c.pos,
		    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	}
	sodium_memzero(bytes, sizeof bytes);
	return r;
}

int
invite_parse(struct invitation *i, const char *text)
{
	uint8_t bytes[INVITE_BYTES];
	const char *code = after_prefix(text, invite_prefix), *end = NULL;
	struct invitation got = { 0 };
	struct cursor c;
	size_t len = 0;
	int r;

	if (code == NULL)
		return -EINVAL;
	if (sodium_base642bin(bytes, sizeof bytes, code, strlen(code), space, &len, &end,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 || *end != '\0') {
		r = -EBADMSG;
		goto out;
	}
	if ((r = begin(&c, bytes, len)) < 0)
		goto out;
	got.kind = cursor_get_u8(&c);
	cursor_get(&c, got.server, KEY_SIZE);
	cursor_get(&c, got.secret, SECRET_SIZE);
	r = get_address(&c, got.address);
	if (r == 0 && got.kind != INVITE_SERVER && got.kind != INVITE_VOLUME)
		r = -ENOTSUP;
	if (r == 0)
		*i = got;
out:
	sodium_memzero(bytes, sizeof bytes);
	sodium_memzero(&got, sizeof got);
	return r;
}

/* ---- recovery codes ---- */

static void
print_base32(const uint8_t *bytes, size_t len, char *to)
{
	size_t bits = len * 8, digits = (bits + 4) / 5;

	for (size_t d = 0; d < digits; d++) {
		unsigned digit = 0;

		for (size_t bit = d * 5; bit < d * 5 + 5; bit++)
			digit = digit << 1 | (bit < bits ? bytes[bit / 8] >> (7 - bit % 8) & 1 : 0);
		if (d > 0 && d % GROUP == 0)
			*to++ = '-';
		*to++ = alphabet[digit];
	}
	*to = '\0';
}

/* The value of a character, -1 for a separator, -2 for what does not belong. */
static int
digit_of(char c)
{
	const char *at;

	if (c == '-' || strchr(space, c) != NULL)
		return -1;
	if (c >= 'A' && c <= 'Z')
		c += 'a' - 'A';
	if (c == 'o')
		c = '0';
	if (c == 'i' || c == 'l')
		c = '1';
	at = strchr(alphabet, c);
	return at == NULL ? -2 : (int)(at - alphabet);
}

/* The number of bytes at to[], or -EBADMSG: a wrong character, too many, or bits left over. */
static ssize_t
parse_base32(const char *text, uint8_t *to, size_t size)
{
	size_t len = 0;
	uint32_t held = 0;
	unsigned bits = 0;

	for (; *text != '\0'; text++) {
		int digit = digit_of(*text);

		if (digit == -1)
			continue;
		if (digit < 0)
			return -EBADMSG;
		held = (held << 5 | (unsigned)digit) & 0xfff;
		bits += 5;
		if (bits < 8)
			continue;
		if (len == size)
			return -EBADMSG;
		bits -= 8;
		to[len++] = held >> bits;
	}
	return bits < 5 && (held & ((1u << bits) - 1)) == 0 ? (ssize_t)len : -EBADMSG;
}

int
invite_print_recovery(const struct recovery_code *r, char to[INVITE_RECOVERY_TEXT])
{
	uint8_t bytes[RECOVERY_BYTES];
	struct cursor c = cursor_over(bytes, sizeof bytes);
	int error;

	cursor_put_u8(&c, FORMAT);
	cursor_put(&c, r->server, KEY_SIZE);
	cursor_put(&c, r->secret, RECOVERY_SECRET);
	if ((error = put_address(&c, r->address)) == 0) {
		put_checksum(&c);
		memcpy(to, recovery_prefix, sizeof recovery_prefix - 1);
		print_base32(bytes, c.pos, to + sizeof recovery_prefix - 1);
	}
	sodium_memzero(bytes, sizeof bytes);
	return error;
}

int
invite_parse_recovery(struct recovery_code *r, const char *text)
{
	uint8_t bytes[RECOVERY_BYTES];
	const char *code = after_prefix(text, recovery_prefix);
	struct recovery_code got = { 0 };
	struct cursor c;
	ssize_t len;
	int error;

	if (code == NULL)
		return -EINVAL;
	len = parse_base32(code, bytes, sizeof bytes);
	error = len < 0 ? (int)len : begin(&c, bytes, len);
	if (error == 0) {
		cursor_get(&c, got.server, KEY_SIZE);
		cursor_get(&c, got.secret, RECOVERY_SECRET);
		error = get_address(&c, got.address);
	}
	if (error == 0)
		*r = got;
	sodium_memzero(bytes, sizeof bytes);
	sodium_memzero(&got, sizeof got);
	return error;
}
