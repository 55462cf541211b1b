/* blockfile.c - see blockfile.h. */
#include "fs/blockfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NAME_SIZE	= 2 * ID_SIZE + 1 + 4 + 1,	/* "XX/YYYY.F-L" */
	HEADER_MAX	= 64 + 4 * CELLS_MAX,		/* a header is never longer */
};
#define NEW_NAME "new"

static void
name_of(const struct blockfile *f, char to[NAME_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *at = to;

	for (unsigned i = 0; i < ID_SIZE; i++) {
		*at++ = digits[f->id[i] >> 4];
		*at++ = digits[f->id[i] & 15];
		if (i == 0)
			*at++ = '/';
	}
	*at++ = '.';
	*at++ = digits[f->first & 15];
	*at++ = '-';
	*at++ = digits[(f->first + f->count - 1) & 15];
	*at = '\0';
}

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The name in directory `top`; false when it is none of ours. */
static bool
name_parse(unsigned top, const char *name, struct blockfile *to)
{
	size_t hex = 2 * (ID_SIZE - 1);
	int first, last;

	if (strlen(name) != hex + 4 || name[hex] != '.' || name[hex + 2] != '-')
		return false;
	to->id[0] = top;
	for (size_t i = 0; i < hex; i += 2) {
		int high = digit(name[i]), low = digit(name[i + 1]);

		if (high < 0 || low < 0)
			return false;
		to->id[1 + i / 2] = high << 4 | low;
	}
	first = digit(name[hex + 1]);
	last = digit(name[hex + 3]);
	if (first < 0 || last < first)
		return false;
	to->first = first;
	to->count = last - first + 1;
	return true;
}

void
blockfile_remove(int dir, const struct blockfile *f)
{
	char name[NAME_SIZE];

	name_of(f, name);
	unlinkat(dir, name, 0);
}

int
blockfile_read(int dir, const struct blockfile *f, unsigned first, unsigned count, bool stamp,
    struct block_header *h, struct buffer **ret)
{
	uint8_t head[HEADER_MAX];
	size_t base, whole, offset, size;
	char name[NAME_SIZE];
	struct buffer *b = NULL;
	struct stat st;
	ssize_t n;
	int fd, e = -EBADMSG;

	name_of(f, name);
	if ((fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
		return -errno;
	n = pread(fd, head, sizeof head, 0);
	if (n > 0 && fstat(fd, &st) == 0 && block_header_decode(h, (struct bytes){ head, (size_t)n }) == 0 &&
	    block_cells(h, f->first, f->count, &base, &whole) == 0 && (uint64_t)st.st_size == h->size + whole &&
	    block_cells(h, first, count, &offset, &size) == 0) {
		b = buffer_new_raw(size);
		e = b == NULL ? -ENOMEM : 0;
	}
	if (e == 0 && pread(fd, b->data, size, (off_t)(h->size + (offset - base))) != (ssize_t)size)
		e = -EBADMSG;
	if (e == 0) {
		b->size = size;
		if (stamp)
			futimens(fd, NULL);
		*ret = b;
	} else
		buffer_put(b);
	close(fd);
	return e;
}

int
blockfile_write(int dir, const struct blockfile *f, struct bytes payload)
{
	char name[NAME_SIZE], directory[3];
	int e = 0, fd;
	ssize_t n;

	fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; e == 0 && at < payload.len; at += (size_t)n) {
		n = write(fd, payload.data + at, payload.len - at);
		if (n < 0)
			e = -errno;
	}
	if (close(fd) < 0 && e == 0)
		e = -errno;
	name_of(f, name);
	snprintf(directory, sizeof directory, "%.2s", name);
	if (e == 0 && renameat(dir, NEW_NAME, dir, name) < 0)
		e = errno != ENOENT ? -errno : mkdirat(dir, directory, 0700) < 0 && errno != EEXIST ? -errno :
		    renameat(dir, NEW_NAME, dir, name) < 0 ? -errno : 0;
	if (e < 0)
		unlinkat(dir, NEW_NAME, 0);
	return e;
}

static bool
each_in(int dir, unsigned top, bool (*each)(void *context, const struct blockfile *f, uint64_t size, int64_t used_s),
    void *context)
{
	bool going = true;
	char name[3];
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	snprintf(name, sizeof name, "%02x", top);
	if ((fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return true;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return true;
	}
	while (going && (e = readdir(d)) != NULL) {
		struct blockfile f;

		if (!name_parse(top, e->d_name, &f) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (st.st_size < 1 || st.st_size > BLOCK_SEALED_MAX)
			unlinkat(fd, e->d_name, 0);
		else
			going = each(context, &f, (uint64_t)st.st_size, st.st_mtime);
	}
	closedir(d);
	return going;
}

void
blockfile_each(int dir, bool (*each)(void *context, const struct blockfile *f, uint64_t size, int64_t used_s),
    void *context)
{
	unlinkat(dir, NEW_NAME, 0);
	for (unsigned top = 0; top < 256; top++)
		if (!each_in(dir, top, each, context))
			return;
}
