/*
 * segment.c - see segment.h.  All integers are big-endian.
 *
 *	segment		magic "nuagelog" [8], version u32, size u32, number u64, seed u64, zero [24],
 *			XXH3-64 of the above u64, then entries, then zeros or leftovers
 *	entry		XXH3-64 u64 of what follows up to the end of what the type says is checked
 *			magic "entr" [4], type u8, zero [3], body length u32, zero [4],
 *			position u64, synced u64
 *			body, then zeros to a multiple of 8
 *
 * The checksum's seed is drawn once for each store and mixed with the
 * segment's number: the bytes of a recycled file, and bytes that a client
 * made look like an entry inside a block, are never taken for one.
 */
#include "server/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/limits.h"

enum { SEGMENT_VERSION = 1, SUM_SIZE = 8, WINDOW = 256 * 1024 };

static const uint8_t segment_magic[8] = "nuagelog";
static const uint8_t entry_magic[4] = "entr";
static const char new_name[] = "log.new";

void
segment_name(uint64_t number, char ret_name[SEGMENT_NAME_MAX])
{
	snprintf(ret_name, SEGMENT_NAME_MAX, "log.%016" PRIx64, number);
}

bool
segment_name_parse(const char *name, uint64_t *ret_number)
{
	char canonical[SEGMENT_NAME_MAX];
	uint64_t number;

	if (sscanf(name, "log.%16" SCNx64, &number) != 1)
		return false;
	segment_name(number, canonical);
	if (strcmp(name, canonical) != 0)
		return false;
	*ret_number = number;
	return true;
}

static void
header_encode(uint8_t to[SEGMENT_HEADER], uint64_t number, uint32_t size, uint64_t seed)
{
	struct cursor c = cursor_over(to, SEGMENT_HEADER);

	memset(to, 0, SEGMENT_HEADER);
	cursor_put(&c, segment_magic, sizeof segment_magic);
	cursor_put_u32(&c, SEGMENT_VERSION);
	cursor_put_u32(&c, size);
	cursor_put_u64(&c, number);
	cursor_put_u64(&c, seed);
	c.pos = SEGMENT_HEADER - SUM_SIZE;
	cursor_put_u64(&c, XXH3_64bits(to, SEGMENT_HEADER - SUM_SIZE));
}

int
segment_make(struct disk *disk, int dir, uint64_t number, uint32_t size, uint64_t seed, const char *recycle,
    int *ret_fd)
{
	uint8_t header[SEGMENT_HEADER];
	char name[SEGMENT_NAME_MAX];
	int fd = -1, rc = 0;

	segment_name(number, name);
	if (recycle != NULL ? renameat(dir, recycle, dir, new_name) != 0 :
	    unlinkat(dir, new_name, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir, new_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (recycle != NULL && ftruncate(fd, size) != 0)	/* it may have been larger */
		rc = -errno;
	if (rc == 0)
		rc = disk->allocate(disk, fd, size);
	if (rc != 0)
		goto out;
	header_encode(header, number, size, seed);
	rc = disk->write(disk, fd, header, sizeof header, 0);
	if (rc == 0)
		rc = disk->sync(disk, fd);
	if (rc == 0 && renameat(dir, new_name, dir, name) != 0)
		rc = -errno;
	if (rc == 0)
		rc = disk->sync(disk, dir);
out:
	if (rc != 0) {
		close(fd);
		unlinkat(dir, new_name, 0);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Reads up to `len` bytes; fewer at the end of the file. */
static ssize_t
read_at(int fd, uint8_t *to, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, to + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int
segment_open(int dir, uint64_t number, uint64_t seed, uint32_t *ret_size, int *ret_fd)
{
	uint8_t header[SEGMENT_HEADER] = { 0 }, want[SEGMENT_HEADER];
	char name[SEGMENT_NAME_MAX];
	struct cursor c = cursor_read(header, sizeof header);
	struct stat st;
	uint32_t size;
	ssize_t n;
	int fd, rc;

	segment_name(number, name);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read_at(fd, header, sizeof header, 0);
	c.pos = 12;
	size = cursor_get_u32(&c);
	header_encode(want, number, size, seed);
	if (n != sizeof header || memcmp(header, want, sizeof header) != 0 || size < SEGMENT_SIZE_MIN) {
		close(fd);
		return n < 0 ? (int)n : -EBADMSG;
	}
	if (fstat(fd, &st) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret_size = (uint64_t)st.st_size < size ? (uint32_t)st.st_size : size;
	*ret_fd = fd;
	return 0;
}

static uint64_t
entry_sum(const uint8_t *at, size_t checked_len, uint64_t seed, uint64_t number)
{
	return XXH3_64bits_withSeed(at + SUM_SIZE, ENTRY_HEADER - SUM_SIZE + checked_len,
	    seed ^ number * UINT64_C(0x9e3779b97f4a7c15));
}

void
entry_seal(uint8_t *at, size_t checked_len, const struct entry *e, uint64_t seed, uint64_t number)
{
	struct cursor c = cursor_over(at, ENTRY_HEADER);

	c.pos = SUM_SIZE;
	cursor_put(&c, entry_magic, sizeof entry_magic);
	cursor_put_u32(&c, (uint32_t)e->type << 24);
	cursor_put_u32(&c, e->len);
	cursor_put_u32(&c, 0);
	cursor_put_u64(&c, e->pos);
	cursor_put_u64(&c, e->synced);
	c.pos = 0;
	cursor_put_u64(&c, entry_sum(at, checked_len, seed, number));
}

uint64_t
block_sum(struct bytes data)
{
	return XXH3_64bits(data.data, data.len);
}

void
segment_reader_done(struct segment_reader *r)
{
	free(r->window);
	r->window = NULL;
	r->window_len = r->window_size = 0;
}

/* The `len` bytes at an offset within the segment; 1, 0 if the file ends before, or an error. */
static int
reader_bytes(struct segment_reader *r, uint64_t offset, size_t len, const uint8_t **ret_at)
{
	size_t want = len > WINDOW ? len : WINDOW;
	uint8_t *window;
	ssize_t n;

	if (offset > r->size || len > r->size - offset)
		return 0;
	if (offset < r->window_at || offset + len > r->window_at + r->window_len) {
		if (want > r->window_size) {
			window = realloc(r->window, want);
			if (window == NULL)
				return -ENOMEM;
			r->window = window;
			r->window_size = want;
		}
		r->window_len = 0;
		n = read_at(r->fd, r->window, want, offset);
		if (n < 0)
			return (int)n;
		r->window_at = offset;
		r->window_len = (size_t)n;
		if (r->window_len < len)
			return 0;
	}
	*ret_at = r->window + (offset - r->window_at);
	return 1;
}

int
segment_read(struct segment_reader *r, uint64_t offset, struct entry *ret_entry, struct bytes *ret_body)
{
	struct entry e = { 0 };
	const uint8_t *at;
	struct cursor c;
	uint64_t sum;
	size_t checked;
	int rc;

	rc = reader_bytes(r, offset, ENTRY_HEADER, &at);
	if (rc <= 0)
		return rc;
	if (memcmp(at + SUM_SIZE, entry_magic, sizeof entry_magic) != 0)
		return 0;
	c = cursor_read(at, ENTRY_HEADER);
	sum = cursor_get_u64(&c);
	c.pos += sizeof entry_magic;
	e.type = cursor_get_u32(&c) >> 24;
	e.len = cursor_get_u32(&c);
	c.pos += 4;
	e.pos = cursor_get_u64(&c);
	e.synced = cursor_get_u64(&c);
	if (entry_size(e.len) > r->size - offset || e.type < ENTRY_BATCH || e.type > ENTRY_MARK ||
	    (e.type == ENTRY_BLOCK && e.len <= ID_SIZE))
		return 0;
	checked = e.type == ENTRY_BLOCK ? ID_SIZE : e.len;
	rc = reader_bytes(r, offset, ENTRY_HEADER + checked, &at);
	if (rc <= 0)
		return rc;
	if (sum != entry_sum(at, checked, r->seed, r->number))
		return 0;
	*ret_entry = e;
	*ret_body = (struct bytes){ at + ENTRY_HEADER, checked };
	return 1;
}

int
segment_seek(struct segment_reader *r, uint64_t offset, struct entry *ret_entry, uint64_t *ret_offset)
{
	struct bytes body;
	int rc = 0;

	for (; rc == 0 && offset + ENTRY_HEADER <= r->size; offset += ENTRY_ALIGN) {
		rc = segment_read(r, offset, ret_entry, &body);
		if (rc == 1)
			*ret_offset = offset;
	}
	return rc;
}
