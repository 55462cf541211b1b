/* note.c - see note.h.  Loading turns each line's end into a zero, so that values can be borrowed. */
#include "fs/note.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHECK_BYTES = 8, CHECK_MIN = crypto_generichash_BYTES_MIN };
#define CHECK_KEY "checksum "

static void
add_line(struct note *n, const char *key, const char *value)
{
	int r = snprintf(n->text + n->len, NOTE_MAX - n->len, "%s %s\n", key, value);

	if (r < 0 || (size_t)r >= NOTE_MAX - n->len)
		n->overflow = true;
	else
		n->len += (size_t)r;
}

void
note_begin(struct note *n, const char *type)
{
	char value[64];

	n->len = 0;
	n->overflow = false;
	snprintf(value, sizeof value, "%s 1", type);
	add_line(n, "nuage", value);
}

void
note_add(struct note *n, const char *key, const char *value)
{
	if (strchr(value, '\n') != NULL)
		n->overflow = true;
	add_line(n, key, value);
}

void
note_add_hex(struct note *n, const char *key, const uint8_t *from, size_t len)
{
	char hex[1024];

	if (2 * len + 1 > sizeof hex) {
		n->overflow = true;
		return;
	}
	sodium_bin2hex(hex, sizeof hex, from, len);
	add_line(n, key, hex);
	sodium_memzero(hex, sizeof hex);
}

void
note_add_number(struct note *n, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof text, "%" PRIu64, value);
	add_line(n, key, text);
}

static void
checksum(const char *text, size_t len, char hex[2 * CHECK_BYTES + 1])
{
	uint8_t hash[CHECK_MIN];

	crypto_generichash(hash, sizeof hash, (const uint8_t *)text, len, NULL, 0);
	sodium_bin2hex(hex, 2 * CHECK_BYTES + 1, hash, CHECK_BYTES);
}

static int
write_file(const char *path, const char *text, size_t len)
{
	ssize_t n;
	int r = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	for (size_t at = 0; r == 0 && at < len; at += (size_t)n) {
		n = write(fd, text + at, len - at);
		if (n < 0)
			r = -errno;
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

int
note_sync_directory_of(const char *path)
{
	char copy[NOTE_MAX];
	int fd, r = 0;

	snprintf(copy, sizeof copy, "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int
note_save(struct note *n, const char *path)
{
	char check[2 * CHECK_BYTES + 1], beside[NOTE_MAX];
	int r;

	checksum(n->text, n->len, check);
	add_line(n, "checksum", check);
	if (n->overflow || snprintf(beside, sizeof beside, "%s.new%d", path, (int)getpid()) >= (int)sizeof beside)
		return -EINVAL;
	r = write_file(beside, n->text, n->len);
	if (r == 0 && rename(beside, path) < 0)
		r = -errno;
	if (r == 0)
		return note_sync_directory_of(path);
	unlink(beside);
	return r;
}

static int
read_file(const char *path, char *to, size_t size, size_t *ret_len)
{
	size_t len = 0;
	ssize_t n = 1;
	int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (n > 0 && len < size) {
		n = read(fd, to + len, size - len);
		if (n < 0)
			r = -errno;
		else
			len += (size_t)n;
	}
	close(fd);
	*ret_len = len;
	return r;
}

int
note_load(struct note *n, const char *path, const char *type)
{
	char head[64], check[2 * CHECK_BYTES + 1];
	char *last;
	int r;

	r = read_file(path, n->text, NOTE_MAX - 1, &n->len);
	if (r < 0)
		return r;
	n->overflow = false;
	n->text[n->len] = '\0';
	if (n->len == 0 || strlen(n->text) != n->len || n->text[n->len - 1] != '\n')
		return -EBADMSG;
	n->text[n->len - 1] = '\0';
	last = strrchr(n->text, '\n');
	if (last == NULL || strncmp(last + 1, CHECK_KEY, strlen(CHECK_KEY)) != 0)
		return -EBADMSG;
	checksum(n->text, (size_t)(last + 1 - n->text), check);
	if (strcmp(last + 1 + strlen(CHECK_KEY), check) != 0)
		return -EBADMSG;
	snprintf(head, sizeof head, "nuage %s ", type);
	if (strncmp(n->text, head, strlen(head)) != 0)
		return -EBADMSG;
	if (strncmp(n->text + strlen(head), "1\n", 2) != 0)
		return -ENOTSUP;
	for (size_t i = 0; i < n->len; i++)
		if (n->text[i] == '\n')
			n->text[i] = '\0';
	return 0;
}

const char *
note_get(const struct note *n, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = n->text; line < n->text + n->len; line += strlen(line) + 1)
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return line + len + 1;
	return NULL;
}

int
note_get_hex(const struct note *n, const char *key, uint8_t *to, size_t len)
{
	const char *value = note_get(n, key), *end;
	size_t got;

	if (value == NULL || strlen(value) != 2 * len ||
	    sodium_hex2bin(to, len, value, 2 * len, NULL, &got, &end) != 0 || got != len || *end != '\0')
		return -EBADMSG;
	return 0;
}

int
note_get_number(const struct note *n, const char *key, uint64_t *to)
{
	const char *value = note_get(n, key);
	unsigned long long number;
	char *end;

	if (value == NULL || *value < '0' || *value > '9')
		return -EBADMSG;
	errno = 0;
	number = strtoull(value, &end, 10);
	if (errno != 0 || *end != '\0')
		return -EBADMSG;
	*to = number;
	return 0;
}

void
note_done(struct note *n)
{
	sodium_memzero(n, sizeof *n);
}
