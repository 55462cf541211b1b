/* conflicts.c - see conflicts.h. */
#include "fs/conflicts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/log.h"
#include "fs/note.h"

static void
unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at != '\0'; at++)
		if (*at == '\\' && at[1] != '\0')
			*to++ = *++at == 'n' ? '\n' : *at;
		else
			*to++ = *at;
	*to = '\0';
}

static void
print_escaped(FILE *to, const char *path)
{
	for (; *path != '\0'; path++)
		if (*path == '\n')
			fputs("\\n", to);
		else if (*path == '\\')
			fputs("\\\\", to);
		else
			fputc(*path, to);
	fputc('\n', to);
}

/* Where the last whole line ends, or a negative errno. */
static off_t
each_line(FILE *f, void (*each)(void *context, const char *path), void *context)
{
	char *line = NULL;
	size_t size = 0;
	off_t end = 0;
	ssize_t n;
	int error;

	while ((n = getline(&line, &size, f)) > 0 && line[n - 1] == '\n') {
		end += n;
		line[n - 1] = '\0';
		unescape(line);
		if (line[0] == '/')
			each(context, line);
	}
	error = n < 0 && !feof(f) ? -errno : 0;
	free(line);
	return error < 0 ? error : end;
}

int
conflicts_each(const char *file, void (*each)(void *context, const char *path), void *context)
{
	FILE *f = fopen(file, "re");
	off_t end;

	if (f == NULL)
		return errno == ENOENT ? 0 : -errno;
	end = each_line(f, each, context);
	fclose(f);
	return end < 0 ? (int)end : 0;
}

/* ---- adding ---- */

struct look {
	const char *const	*paths;
	size_t			 count;
	bool			*listed;	/* of each of them */
};

static void
look_for(void *context, const char *path)
{
	struct look *l = context;

	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->paths[i], path) == 0)
			l->listed[i] = true;
}

/* From `at` on, and nothing behind it. */
static int
write_at(int fd, off_t at, const char *text, size_t len)
{
	ssize_t n;

	if (ftruncate(fd, at) < 0)
		return -errno;
	for (; len > 0; text += n, len -= (size_t)n, at += n)
		if ((n = pwrite(fd, text, len, at)) <= 0)
			return n < 0 ? -errno : -EIO;
	return fsync(fd) < 0 ? -errno : 0;
}

/* The lines of what is not listed; NULL: out of memory. */
static char *
new_lines(const struct look *l, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);
	bool good = f != NULL;

	for (size_t i = 0; i < l->count && f != NULL; i++)
		if (!l->listed[i])
			print_escaped(f, l->paths[i]);
	if (f != NULL) {
		good = !ferror(f);
		good = fclose(f) == 0 && good;
	}
	if (!good) {
		free(text);
		text = NULL;
	}
	return text;
}

int
conflicts_add(const char *file, const char *const *paths, size_t count, void (*added)(const char *path))
{
	struct look l = { paths, count, calloc(count + 1, sizeof *l.listed) };
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600), r = 0;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char *text = NULL;
	size_t len = 0;
	off_t end;

	if (f == NULL || l.listed == NULL) {
		r = fd >= 0 || l.listed == NULL ? -ENOMEM : -errno;
		goto out;
	}
	end = each_line(f, look_for, &l);
	text = end < 0 ? NULL : new_lines(&l, &len);
	r = end < 0 ? (int)end : text == NULL ? -ENOMEM : write_at(fd, end, text, len);
	if (r == 0)
		r = note_sync_directory_of(file);
	if (r < 0 && end >= 0 && ftruncate(fd, end) < 0)
		log_error("the list of conflicts cannot be cut back: %s", strerror(errno));
	for (size_t i = 0; i < count && r == 0; i++)
		if (!l.listed[i])
			added(paths[i]);
out:
	if (f != NULL)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	free(text);
	free(l.listed);
	return r;
}
