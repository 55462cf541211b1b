/*
 * benchop - the loops of the benchmark, without a shell's or Python's cost in them.
 *
 *   benchop write FILE SOURCE	 SOURCE, first read into memory, to a new FILE by 1 MiB; fsync
 *   benchop read FILE		 by 1 MiB
 *   benchop create DIR N	 files of 4 KiB, no two alike
 *   benchop stat DIR N
 *   benchop open DIR N		 open, read, close
 *   benchop rename DIR N	 each to another name and back
 *   benchop unlink DIR N
 *   benchop sync FILE N	 4 KiB at a random place, fsync, N times
 *
 * Prints the seconds that the loop took.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 4096, LARGE = 1024 * 1024, PATH_SIZE = 4096 };

static uint64_t
random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void
random_fill(uint64_t *state, void *buf, size_t size)
{
	for (size_t at = 0; at < size; at += sizeof *state) {
		random_next(state);
		memcpy((char *)buf + at, state, sizeof *state);
	}
}

static uint64_t
random_seed(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ((uint64_t)t.tv_sec << 30 ^ (uint64_t)t.tv_nsec << 8 ^ (uint64_t)getpid()) | 1;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int
open_or_die(const char *path, int flags)
{
	int fd = open(path, flags, 0644);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void
write_all(int fd, const char *buf, size_t size, const char *path)
{
	while (size > 0) {
		ssize_t n = write(fd, buf, size < LARGE ? size : LARGE);

		if (n < 0)
			err(1, "%s", path);
		buf += n;
		size -= n;
	}
}

static double
run_write(const char *path, const char *source)
{
	int from = open_or_die(source, O_RDONLY), to;
	struct stat st;
	char *data;
	double start;
	ssize_t n;

	fstat(from, &st);
	if ((data = malloc(st.st_size)) == NULL)
		err(1, "memory");
	for (off_t at = 0; at < st.st_size; at += n)
		if ((n = read(from, data + at, st.st_size - at)) <= 0)
			err(1, "%s", source);
	start = now();
	to = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
	write_all(to, data, st.st_size, path);
	if (fsync(to) < 0 || close(to) < 0)
		err(1, "%s", path);
	return now() - start;
}

static double
run_read(const char *path)
{
	char *data = malloc(LARGE);
	double start = now();
	int fd = open_or_die(path, O_RDONLY);
	ssize_t n;

	if (data == NULL)
		err(1, "memory");
	while ((n = read(fd, data, LARGE)) > 0)
		;
	if (n < 0)
		err(1, "%s", path);
	close(fd);
	return now() - start;
}

static double
run_sync(const char *path, long count)
{
	uint64_t random = random_seed();
	char data[SMALL];
	int fd = open_or_die(path, O_RDWR);
	struct stat st;
	double start;

	if (fstat(fd, &st) < 0 || st.st_size < SMALL)
		errx(1, "%s is too small", path);
	start = now();
	for (long i = 0; i < count; i++) {
		off_t at = (off_t)(random_next(&random) % (st.st_size / SMALL)) * SMALL;

		random_fill(&random, data, SMALL);
		if (pwrite(fd, data, SMALL, at) != SMALL || fsync(fd) < 0)
			err(1, "%s", path);
	}
	return now() - start;
}

/* ---- small files ---- */

static void
do_create(const char *path)
{
	static uint64_t random;
	char data[SMALL];
	int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);

	if (random == 0)
		random = random_seed();
	random_fill(&random, data, SMALL);
	write_all(fd, data, SMALL, path);
	if (close(fd) < 0)
		err(1, "%s", path);
}

static void
do_stat(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		err(1, "%s", path);
}

static void
do_open(const char *path)
{
	char data[SMALL];
	int fd = open_or_die(path, O_RDONLY);

	if (read(fd, data, SMALL) != SMALL)
		err(1, "%s", path);
	close(fd);
}

static void
do_rename(const char *path)
{
	char other[PATH_SIZE];

	snprintf(other, sizeof other, "%s.renamed", path);
	if (rename(path, other) < 0 || rename(other, path) < 0)
		err(1, "%s", path);
}

static void
do_unlink(const char *path)
{
	if (unlink(path) < 0)
		err(1, "%s", path);
}

static const struct {
	const char *name;
	void (*each)(const char *path);
} small[] = {
	{ "create", do_create }, { "stat", do_stat }, { "open", do_open }, { "rename", do_rename },
	{ "unlink", do_unlink },
};

static double
run_small(void (*each)(const char *path), const char *dir, long count)
{
	char path[PATH_SIZE - 16];
	double start = now();

	for (long i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/file-%06ld", dir, i);
		each(path);
	}
	return now() - start;
}

int
main(int argc, char **argv)
{
	double seconds = -1;

	if (argc == 4 && strcmp(argv[1], "write") == 0)
		seconds = run_write(argv[2], argv[3]);
	else if (argc == 3 && strcmp(argv[1], "read") == 0)
		seconds = run_read(argv[2]);
	else if (argc == 4 && strcmp(argv[1], "sync") == 0)
		seconds = run_sync(argv[2], atol(argv[3]));
	for (size_t i = 0; argc == 4 && i < sizeof small / sizeof *small; i++)
		if (strcmp(argv[1], small[i].name) == 0)
			seconds = run_small(small[i].each, argv[2], atol(argv[3]));
	if (seconds < 0)
		errx(2, "see the head of benchop.c");
	printf("%.6f\n", seconds);
	return 0;
}
