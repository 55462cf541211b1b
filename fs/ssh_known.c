/* ssh_known.c - see ssh_known.h. */
#include "fs/ssh_known.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH = 20, KEY_MAX = 16 * 1024, FILE_MAX = 16 << 20, WORD_MAX = 8192 };

static const char hash_head[] = "|1|";

void
ssh_known_name(char to[SSH_KNOWN_NAME], const char *host, unsigned port)
{
	snprintf(to, SSH_KNOWN_NAME, port == 22 ? "%.253s" : "[%.253s]:%u", host, port);
	for (char *at = to; *at != '\0'; at++)
		*at = (char)tolower((unsigned char)*at);
}

void
ssh_known_type(const uint8_t *key, size_t len, char *to, size_t size)
{
	size_t n = len < 4 ? 0 : (size_t)key[0] << 24 | (size_t)key[1] << 16 | (size_t)key[2] << 8 | key[3];

	to[0] = '\0';
	if (n == 0 || n > len - 4 || n >= size)
		return;
	for (size_t i = 0; i < n; i++)
		if (!isgraph(key[4 + i]) || key[4 + i] == ',')
			return;
	memcpy(to, key + 4, n);
	to[n] = '\0';
}

/* '*' and '?'; the text has no more than a host name's length. */
static bool
matches(const char *pattern, size_t len, const char *text)
{
	const char *star = NULL, *again = NULL, *end = pattern + len;

	while (*text != '\0') {
		if (pattern < end && *pattern == '*') {
			star = ++pattern;
			again = text;
		} else if (pattern < end && (*pattern == '?' || tolower((unsigned char)*pattern) == *text)) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star;
			text = ++again;
		} else {
			return false;
		}
	}
	while (pattern < end && *pattern == '*')
		pattern++;
	return pattern == end;
}

static bool
hash_name(const uint8_t salt[HASH], const char *name, uint8_t to[HASH])
{
	unsigned len = 0;

	return HMAC(EVP_sha1(), salt, HASH, (const uint8_t *)name, strlen(name), to, &len) != NULL && len == HASH;
}

static bool
from_base64(const char *text, size_t len, uint8_t *to, size_t size, size_t *ret_len)
{
	return sodium_base642bin(to, size, text, len, NULL, ret_len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool
hashed_name_matches(const char *text, size_t len, const char *name)
{
	const char *salt_text = text + sizeof hash_head - 1, *end = text + len;
	const char *bar = memchr(salt_text, '|', (size_t)(end - salt_text));
	uint8_t salt[HASH], hash[HASH], ours[HASH];
	size_t n;

	return bar != NULL && from_base64(salt_text, (size_t)(bar - salt_text), salt, HASH, &n) && n == HASH &&
	    from_base64(bar + 1, (size_t)(end - bar - 1), hash, HASH, &n) && n == HASH &&
	    hash_name(salt, name, ours) && memcmp(ours, hash, HASH) == 0;
}

/* A list of patterns; one with '!' in front that matches overrules all. */
static bool
names_match(const char *list, size_t len, const char *name)
{
	bool found = false;

	if (len >= sizeof hash_head - 1 && memcmp(list, hash_head, sizeof hash_head - 1) == 0)
		return hashed_name_matches(list, len, name);
	while (len > 0) {
		const char *comma = memchr(list, ',', len);
		size_t n = comma != NULL ? (size_t)(comma - list) : len;
		bool no = n > 0 && *list == '!';

		if (matches(list + no, n - no, name)) {
			if (no)
				return false;
			found = true;
		}
		list += n + (comma != NULL);
		len -= n + (comma != NULL);
	}
	return found;
}

struct word {
	const char	*at;
	size_t		 len;
};

static struct word
next_word(const char **at, const char *end)
{
	struct word w;

	while (*at < end && (**at == ' ' || **at == '\t'))
		++*at;
	w.at = *at;
	while (*at < end && **at != ' ' && **at != '\t' && **at != '\r')
		++*at;
	w.len = (size_t)(*at - w.at);
	return w;
}

static bool
is(struct word w, const char *text)
{
	return w.len == strlen(text) && memcmp(w.at, text, w.len) == 0;
}

static void
add_type(struct ssh_known *k, const char *type)
{
	size_t len = strlen(k->types);

	if (strstr(k->types, type) == NULL && len + strlen(type) + 2 < sizeof k->types)
		sprintf(k->types + len, "%s%s", len > 0 ? "," : "", type);
}

static void
read_line(struct ssh_known *k, const char *at, const char *end, const char *file, unsigned number)
{
	struct word marker = { .len = 0 }, names = next_word(&at, end), type, text;
	uint8_t key[KEY_MAX];
	char theirs[64], ours[64] = "";
	bool same;
	size_t len;

	if (names.len == 0 || *names.at == '#')
		return;
	if (*names.at == '@') {
		marker = names;
		names = next_word(&at, end);
	}
	type = next_word(&at, end);
	text = next_word(&at, end);
	if (names.len > WORD_MAX || !names_match(names.at, names.len, k->name) ||
	    !from_base64(text.at, text.len, key, sizeof key, &len))
		return;
	ssh_known_type(key, len, theirs, sizeof theirs);
	if (theirs[0] == '\0' || !is(type, theirs))
		return;
	if (k->key != NULL)
		ssh_known_type(k->key, k->key_len, ours, sizeof ours);
	same = k->key != NULL && len == k->key_len && memcmp(key, k->key, len) == 0;
	if (is(marker, "@revoked")) {
		k->revoked |= same;
		if (same)
			snprintf(k->where, sizeof k->where, "%s:%u", file, number);
	} else if (is(marker, "@cert-authority")) {
		k->authority = true;
	} else if (marker.len == 0) {
		k->same |= same;
		if (!same && strcmp(ours, theirs) == 0) {
			k->other = true;
			if (!k->revoked)
				snprintf(k->where, sizeof k->where, "%s:%u", file, number);
		}
		k->other_type |= strcmp(ours, theirs) != 0;
		add_type(k, theirs);
	}
}

void
ssh_known_read(struct ssh_known *k, const char *text, size_t len, const char *file)
{
	const char *end = text + len;

	for (unsigned number = 1; text < end; number++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		if (newline == NULL)
			newline = end;
		read_line(k, text, newline, file, number);
		text = newline + 1;
	}
}

int
ssh_known_file(struct ssh_known *k, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_size > FILE_MAX)
		r = -EFBIG;
	else if ((text = malloc((size_t)st.st_size + 1)) == NULL)
		r = -ENOMEM;
	else if ((n = read(fd, text, (size_t)st.st_size)) < 0)
		r = -errno;
	else
		ssh_known_read(k, text, (size_t)n, path);
	free(text);
	close(fd);
	return r;
}

static void
to_base64(const uint8_t *data, size_t len, char *to, size_t size)
{
	sodium_bin2base64(to, size, data, len, sodium_base64_VARIANT_ORIGINAL);
}

int
ssh_known_add(const struct ssh_known *k, const char *path, bool hashed)
{
	char type[64], salt_text[32], hash_text[32], directory[4096], last = '\n', *key, *line = NULL;
	size_t key_size = sodium_base64_encoded_len(k->key_len, sodium_base64_VARIANT_ORIGINAL);
	uint8_t salt[HASH], hash[HASH];
	char *slash;
	int fd, n, r = 0;

	ssh_known_type(k->key, k->key_len, type, sizeof type);
	key = malloc(key_size);
	if (key == NULL)
		return -ENOMEM;
	to_base64(k->key, k->key_len, key, key_size);
	randombytes_buf(salt, sizeof salt);
	if (hashed && hash_name(salt, k->name, hash)) {
		to_base64(salt, HASH, salt_text, sizeof salt_text);
		to_base64(hash, HASH, hash_text, sizeof hash_text);
		n = asprintf(&line, "\n%s%s|%s %s %s\n", hash_head, salt_text, hash_text, type, key);
	} else {
		n = asprintf(&line, "\n%s %s %s\n", k->name, type, key);
	}
	free(key);
	if (n < 0)
		return -ENOMEM;
	snprintf(directory, sizeof directory, "%s", path);
	slash = strrchr(directory, '/');
	if (slash != NULL && slash > directory) {
		*slash = '\0';
		mkdir(directory, 0700);
	}
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		r = -errno;
	} else {
		off_t size = lseek(fd, 0, SEEK_END);
		/* A last line without its end is not run on. */
		int from = size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n' ? 0 : 1;

		if (write(fd, line + from, (size_t)(n - from)) != n - from)
			r = errno != 0 ? -errno : -EIO;
		close(fd);
	}
	free(line);
	return r;
}

void
ssh_known_fingerprint(const uint8_t *key, size_t len, char to[SSH_FINGERPRINT])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, key, len);
	strcpy(to, "SHA256:");
	sodium_bin2base64(to + 7, SSH_FINGERPRINT - 7, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}
