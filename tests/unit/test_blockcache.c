/* test_blockcache.c - blocks on disk: bounded, in the order of use, and never worse than a miss. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/blockcache.h"
#include "tests/scratch.h"
#include "tests/tap.h"

enum { MIB = 1 << 20 };

static char root[256], directory[512];
static struct volume_keys *keys;

struct block {
	uint8_t		 id[ID_SIZE];
	struct buffer	*sealed;
	struct block_header header;
	uint8_t		*plain;
	size_t		 len;
};

/* A new directory for each case. */
static void
afresh(const char *name)
{
	snprintf(directory, sizeof directory, "%s/%s", root, name);
}

static struct blockcache *
open_cache(uint64_t max, bool keep_all)
{
	struct blockcache *c = NULL;
	int r = blockcache_open(&c, directory, max, keep_all);

	if (r < 0) {
		printf("Bail out! the cache does not open: %s\n", strerror(-r));
		exit(1);
	}
	blockcache_settle(c);
	return c;
}

static struct block
make(size_t len)
{
	struct block b = { .len = len, .plain = malloc(len), .sealed = buffer_new(len + SEALED_OVERHEAD) };

	randombytes_buf(b.plain, len);
	b.sealed->size = (size_t)block_seal(keys, b.plain, len, 1, b.id, b.sealed->data);
	block_header_decode(&b.header, (struct bytes){ b.sealed->data, b.sealed->size });
	return b;
}

static void
drop(struct block *b)
{
	free(b->plain);
	buffer_put(b->sealed);
}

/* The answer to a GET of those cells. */
static struct buffer *
part(const struct block *b, unsigned first, unsigned count)
{
	size_t offset, size;
	struct buffer *to;

	block_cells(&b->header, first, count, &offset, &size);
	to = buffer_new(b->header.size + size);
	memcpy(to->data, b->sealed->data, b->header.size);
	memcpy(to->data + b->header.size, b->sealed->data + offset, size);
	to->size = b->header.size + size;
	return to;
}

static void
offer(struct blockcache *c, const struct block *b, unsigned first, unsigned count)
{
	struct buffer *p = part(b, first, count);

	blockcache_offer(c, b->id, first, count, p, (struct bytes){ p->data, p->size });
	buffer_put(p);
	blockcache_settle(c);
}

static void
done(void *context, int error)
{
	*(int *)context = error;
}

static int
keep(struct blockcache *c, const struct block *b, uint64_t round)
{
	int result = 1;

	blockcache_keep(c, b->id, 0, b->header.cells, round, b->sealed, (struct bytes){ b->sealed->data, b->sealed->size },
	    done, &result);
	blockcache_settle(c);
	return result;
}

struct reading {
	const struct block *block;
	unsigned	 cells, runs;
	bool		 wrong;
};

static int
use(void *context, const struct block_header *h, unsigned first, unsigned count, struct bytes cells)
{
	struct reading *r = context;
	size_t base, offset, size;
	uint8_t plain[CELL_SIZE];
	ssize_t n;

	r->runs++;
	if (block_cells(h, first, count, &base, &size) < 0 || size != cells.len)
		return -EBADMSG;
	for (unsigned i = first; i < first + count; i++) {
		if (block_cells(h, i, 1, &offset, &size) < 0)
			return -EBADMSG;
		n = cell_open(keys, r->block->id, h, i, (struct bytes){ cells.data + (offset - base), size }, plain);
		if (n < 0)
			return (int)n;
		r->wrong |= memcmp(plain, r->block->plain + (size_t)i * CELL_SIZE, (size_t)n) != 0;
		r->cells++;
	}
	return 0;
}

/* How many of the cells came, -1 when one is wrong or the result does not say so. */
static int
reads(struct blockcache *c, const struct block *b, unsigned first, unsigned count)
{
	struct reading r = { .block = b };
	int e = blockcache_read(c, b->id, first, count, use, &r);

	return r.wrong || (e == 0) != (r.cells == count) || (e != 0 && e != -ENOENT) ? -1 : (int)r.cells;
}

static bool
whole(struct blockcache *c, const struct block *b)
{
	return blockcache_has(c, b->id, 0, b->header.cells) && reads(c, b, 0, b->header.cells) == b->header.cells;
}

/* Calls each() for every file of runs; their number. */
static unsigned
each_file(void (*each)(const char *path, void *context), void *context)
{
	unsigned count = 0;

	for (unsigned top = 0; top < 256; top++) {
		char path[1024], file[2048];
		struct dirent *e;
		DIR *d;

		snprintf(path, sizeof path, "%s/%02x", directory, top);
		if ((d = opendir(path)) == NULL)
			continue;
		while ((e = readdir(d)) != NULL)
			if (e->d_name[0] != '.') {
				snprintf(file, sizeof file, "%s/%s", path, e->d_name);
				if (each != NULL)
					each(file, context);
				count++;
			}
		closedir(d);
	}
	return count;
}

static void
add_size(const char *path, void *context)
{
	struct stat st;

	if (stat(path, &st) == 0)
		*(uint64_t *)context += blockcache_charge((uint64_t)st.st_size);
}

static uint64_t
on_disk(void)
{
	uint64_t bytes = 0;

	each_file(add_size, &bytes);
	return bytes;
}

static void
note_path(const char *path, void *context)
{
	strcpy(context, path);
}

/* ---- the cases ---- */

static void
cells(void)
{
	struct block b = make(5 * CELL_SIZE + 100), other = make(1000);
	struct blockcache *c;
	struct reading r = { .block = &b };

	afresh("cells");
	c = open_cache(16 * MIB, false);
	ok(!blockcache_has(c, b.id, 0, 1) && reads(c, &b, 0, 6) == 0, "an empty cache has nothing");
	offer(c, &b, 1, 2);
	offer(c, &b, 4, 2);
	ok(blockcache_has(c, b.id, 1, 2) && blockcache_has(c, b.id, 5, 1) && !blockcache_has(c, b.id, 0, 2) &&
	    !blockcache_has(c, b.id, 2, 3), "it knows which cells it has");
	ok(reads(c, &b, 2, 1) == 1 && reads(c, &b, 1, 2) == 2 && reads(c, &b, 5, 1) == 1, "cells come, alone and together");
	ok(reads(c, &b, 0, 6) == 4, "of a block that is here in part, the part comes");
	offer(c, &b, 3, 1);
	ok(blockcache_has(c, b.id, 1, 5) && reads(c, &b, 1, 5) == 5, "runs are put together");
	ok(blockcache_read(c, b.id, 1, 5, use, &r) == 0 && r.runs == 3, "from three files");
	offer(c, &b, 0, 6);
	ok(each_file(NULL, NULL) == 1 && whole(c, &b), "the whole block replaces them");
	offer(c, &b, 2, 2);
	ok(each_file(NULL, NULL) == 1, "what is here is not stored again");
	ok(!blockcache_has(c, other.id, 0, 1), "another block is not here");
	offer(c, &other, 0, 1);
	blockcache_close(c);
	c = open_cache(16 * MIB, false);
	ok(whole(c, &b) && whole(c, &other), "all is found again");
	blockcache_close(c);
	drop(&b);
	drop(&other);
}

static void
bound(void)
{
	struct block b[40];
	struct blockcache_status s;
	struct blockcache *c;
	bool within = true;
	unsigned here = 0;

	afresh("bound");
	c = open_cache(4 * MIB, false);
	for (unsigned i = 0; i < 40; i++) {
		b[i] = make(256 * 1024 + randombytes_uniform(100000));
		offer(c, &b[i], 0, b[i].header.cells);
		blockcache_status(c, &s);
		within &= on_disk() <= 4 * MIB && s.bytes == on_disk();
		whole(c, &b[0]);
	}
	for (unsigned i = 0; i < 40; i++)
		here += whole(c, &b[i]);
	ok(within, "never more than its size, and it knows how much");
	ok(here == each_file(NULL, NULL) && here >= 10 && s.evicted == 40 - here, "%u of 40 blocks are here", here);
	ok(whole(c, &b[0]), "what is used stays");
	ok(whole(c, &b[39]) && !blockcache_has(c, b[1].id, 0, 1), "what was not used for longest went");
	blockcache_close(c);
	c = open_cache(1 * MIB, false);
	ok(on_disk() <= 1 * MIB && on_disk() > MIB / 2, "opened with less it shrinks");
	blockcache_close(c);
	for (unsigned i = 0; i < 40; i++)
		drop(&b[i]);
}

static void
age(const char *path, void *context)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - 10000 }, { .tv_sec = time(NULL) - 10000 } };

	(void)context;
	utimensat(AT_FDCWD, path, times, 0);
}

static void
order(void)
{
	struct block a = make(900000), b = make(900000), d = make(900000);
	struct blockcache *c;

	afresh("order");
	c = open_cache(2 * MIB, false);
	offer(c, &a, 0, a.header.cells);
	blockcache_close(c);
	each_file(age, NULL);
	c = open_cache(2 * MIB, false);
	offer(c, &b, 0, b.header.cells);
	ok(whole(c, &a), "an old one is read");
	blockcache_close(c);
	each_file(NULL, NULL);
	/* The file of b is the older one now. */
	c = open_cache(2 * MIB, false);
	blockcache_close(c);
	{
		char path[2048];
		struct timespec times[2] = { { .tv_sec = time(NULL) - 5000 }, { .tv_sec = time(NULL) - 5000 } };
		char hex[2 * ID_SIZE + 1];

		sodium_bin2hex(hex, sizeof hex, b.id, ID_SIZE);
		snprintf(path, sizeof path, "%s/%.2s/%s.0-d", directory, hex, hex + 2);
		ok(utimensat(AT_FDCWD, path, times, 0) == 0, "its file is where it should be");
	}
	c = open_cache(2 * MIB, false);
	offer(c, &d, 0, d.header.cells);
	ok(whole(c, &a) && whole(c, &d) && !blockcache_has(c, b.id, 0, 1), "the order of use outlives the mount");
	blockcache_close(c);
	drop(&a);
	drop(&b);
	drop(&d);
}

/* Cuts the file, or changes a byte of it. */
static void
spoil(const char *path, long at, bool cut)
{
	int fd = open(path, O_RDWR);
	uint8_t byte = 0;

	if (cut)
		ok(ftruncate(fd, at) == 0, "cut to %ld bytes", at);
	else if (pread(fd, &byte, 1, at) == 1) {
		byte ^= 1;
		if (pwrite(fd, &byte, 1, at) != 1)
			ok(false, "the file cannot be changed");
	}
	close(fd);
}

static void
damage(void)
{
	static const long changes[] = { 0, 2, 6, 10, 20, 43, 46, 60, 200, 70000, 90000 };
	static const long cuts[] = { 0, 1, 30, 43, 50, 1000, 65536 };
	struct block b = make(100000), other = make(100000);
	struct blockcache *c;
	struct blockcache_status s;
	bool missed = true, gone = true, back = true;
	char path[2048];
	int fd;

	afresh("damage");
	c = open_cache(16 * MIB, false);
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		offer(c, &b, 0, 2);
		each_file(note_path, path);
		spoil(path, changes[i], false);
		missed &= reads(c, &b, 0, 2) < 2 && reads(c, &b, 0, 2) == 0;
		gone &= access(path, F_OK) < 0 && !blockcache_has(c, b.id, 0, 1);
	}
	ok(missed, "no changed byte is handed out");
	ok(gone, "and the file goes");
	blockcache_status(c, &s);
	ok(s.damaged == sizeof changes / sizeof *changes && s.bytes == 0, "each is counted once");
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		offer(c, &b, 0, 2);
		each_file(note_path, path);
		spoil(path, cuts[i], true);
		back &= reads(c, &b, 0, 2) == 0;
		offer(c, &b, 0, 2);
		back &= whole(c, &b);
		/* Nor when it is found so. */
		spoil(path, cuts[i], true);
		blockcache_close(c);
		c = open_cache(16 * MIB, false);
		back &= reads(c, &b, 0, 2) == 0 && each_file(NULL, NULL) == 0;
	}
	ok(back, "torn files are misses, and stored again");
	offer(c, &b, 0, 2);
	each_file(note_path, path);
	fd = open(path, O_WRONLY | O_TRUNC);
	ok(write(fd, other.sealed->data, other.sealed->size) == (ssize_t)other.sealed->size, "another block under its name");
	close(fd);
	ok(reads(c, &b, 0, 2) == 0, "is a miss");
	offer(c, &b, 0, 2);
	each_file(note_path, path);
	unlink(path);
	ok(blockcache_has(c, b.id, 0, 2) && reads(c, &b, 0, 2) == 0 && !blockcache_has(c, b.id, 0, 2), "a file that was removed is a miss");
	blockcache_close(c);
	drop(&b);
	drop(&other);
}

/* What others put there stays theirs, and is no run. */
static void
foreign(void)
{
	struct block b = make(5000);
	struct blockcache *c;
	struct blockcache_status s;
	char path[1024];
	int fd;

	afresh("foreign");
	c = open_cache(16 * MIB, false);
	offer(c, &b, 0, 1);
	blockcache_close(c);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const names[] = { "new", "00", "00/notes.txt", "README" };

		snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		if (i == 1)
			mkdir(path, 0700);
		else if ((fd = open(path, O_WRONLY | O_CREAT, 0600)) >= 0) {
			if (write(fd, "text", 4) != 4)
				ok(false, "a file cannot be written");
			close(fd);
		}
	}
	c = open_cache(16 * MIB, false);
	blockcache_status(c, &s);
	snprintf(path, sizeof path, "%s/new", directory);
	ok(s.runs == 1 && whole(c, &b) && access(path, F_OK) < 0, "what a killed mount was writing goes");
	snprintf(path, sizeof path, "%s/00/notes.txt", directory);
	ok(access(path, F_OK) == 0, "other files are left alone");
	blockcache_close(c);
	drop(&b);
}

static void
killed(void)
{
	struct block b[8];
	struct blockcache *c;
	unsigned wrong = 0, over = 0, found = 0;

	afresh("killed");
	for (unsigned i = 0; i < 8; i++)
		b[i] = make(700000);
	for (unsigned round = 0; round < 25; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (blockcache_open(&c, directory, 3 * MIB, false) < 0)
				_exit(1);
			for (unsigned i = 0;; i++)
				offer(c, &b[i % 8], 0, b[i % 8].header.cells);
		}
		usleep(2000 + randombytes_uniform(15000) + 1000 * round);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		over += on_disk() > 3 * MIB;
		c = open_cache(3 * MIB, false);
		for (unsigned i = 0; i < 8; i++)
			if (blockcache_has(c, b[i].id, 0, b[i].header.cells)) {
				found++;
				wrong += !whole(c, &b[i]);
			}
		blockcache_close(c);
	}
	ok(found > 0 && wrong == 0, "killed while it stores: %u blocks found, all of them whole", found);
	ok(over == 0, "and within its size");
	for (unsigned i = 0; i < 8; i++)
		drop(&b[i]);
}

static void
full(void)
{
	struct block small = make(30000), large = make(500000);
	struct rlimit before, limit;
	struct blockcache_status s;
	struct blockcache *c;

	afresh("full");
	c = open_cache(16 * MIB, false);
	offer(c, &small, 0, 1);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 100000;
	setrlimit(RLIMIT_FSIZE, &limit);
	ok(keep(c, &large, 2) < 0, "a disk that takes no more is said to whoever asks");
	blockcache_status(c, &s);
	ok(s.error < 0 && s.runs == 1 && s.bytes == on_disk() && each_file(NULL, NULL) == 1, "and nothing is left behind");
	ok(whole(c, &small), "what is there is still read");
	offer(c, &large, 0, large.header.cells);
	blockcache_status(c, &s);
	ok(s.passed_over == 1, "offers are passed over for a while");
	setrlimit(RLIMIT_FSIZE, &before);
	ok(keep(c, &large, 2) == 0 && whole(c, &large), "with room again all is well");
	blockcache_status(c, &s);
	ok(s.error == 0, "and it says so");
	blockcache_close(c);
	drop(&small);
	drop(&large);
}

static void
users(void)
{
	struct block b = make(5000);
	struct blockcache *c, *second = NULL;
	int status = 0;
	pid_t pid;

	afresh("users");
	c = open_cache(16 * MIB, false);
	ok(blockcache_open(&second, directory, 16 * MIB, false) == -EBUSY && second == NULL, "a second user is refused");
	pid = fork();
	if (pid == 0)
		_exit(blockcache_open(&second, directory, 1 * MIB, false) == -EBUSY ? 7 : 0);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "in another process, too");
	offer(c, &b, 0, 1);
	ok(whole(c, &b), "and does no harm");
	blockcache_close(c);
	ok(blockcache_open(&second, directory, 16 * MIB, false) == 0, "then it is the second one's turn");
	blockcache_settle(second);
	ok(whole(second, &b), "with what the first one left");
	blockcache_close(second);
	afresh("none/where");
	ok(blockcache_open(&second, directory, 16 * MIB, false) == -ENOENT, "a directory that cannot be made is an error");
	drop(&b);
}

static void
kept(void)
{
	struct block pinned[3], b[10], large = make(MIB);
	struct blockcache_status s;
	struct blockcache *c;
	unsigned here = 0;

	afresh("kept");
	c = open_cache(3 * MIB, false);
	for (unsigned i = 0; i < 10; i++)
		b[i] = make(500000);
	for (unsigned i = 0; i < 3; i++) {
		pinned[i] = make(500000);
		if (i > 0)
			offer(c, &pinned[i], 0, pinned[i].header.cells);
	}
	ok(keep(c, &pinned[0], 2) == 0, "one is stored to be kept");
	ok(blockcache_mark(c, pinned[1].id, 0, 8, 2) && blockcache_mark(c, pinned[2].id, 3, 2, 2), "two are here already");
	ok(!blockcache_mark(c, b[0].id, 0, 8, 2), "one is not");
	blockcache_round(c, 2);
	for (unsigned i = 0; i < 10; i++)
		offer(c, &b[i], 0, 8);
	for (unsigned i = 0; i < 3; i++)
		here += whole(c, &pinned[i]);
	blockcache_status(c, &s);
	ok(here == 3 && s.kept_bytes == 3 * blockcache_charge(pinned[0].sealed->size), "what is kept stays");
	ok(keep(c, &large, 3) == 0 && keep(c, &b[0], 3) == 0 && keep(c, &b[1], 3) == -ENOSPC && on_disk() <= 3 * MIB, "more than its size is refused");
	blockcache_close(c);
	c = open_cache(3 * MIB, true);
	for (unsigned i = 0; i < 10; i++)
		offer(c, &b[i], 0, 8);
	ok(whole(c, &pinned[0]) && whole(c, &pinned[1]) && whole(c, &pinned[2]) && whole(c, &large) && on_disk() <= 3 * MIB,
	    "opened anew, all stays until a round has ended");
	ok(blockcache_mark(c, pinned[1].id, 0, 8, 2), "one of them is kept for it");
	blockcache_round(c, 2);
	for (unsigned i = 0; i < 10; i++)
		offer(c, &b[i], 0, 8);
	ok(whole(c, &pinned[1]) && !blockcache_has(c, pinned[0].id, 0, 8) && !blockcache_has(c, large.id, 0, 16),
	    "the others go, when it is their turn");
	blockcache_status(c, &s);
	ok(s.kept_bytes == blockcache_charge(pinned[1].sealed->size), "and are not counted as kept");
	blockcache_close(c);
	for (unsigned i = 0; i < 3; i++)
		drop(&pinned[i]);
	for (unsigned i = 0; i < 10; i++)
		drop(&b[i]);
	drop(&large);
}

static void
flood(void)
{
	struct block b = make(MIB);
	struct blockcache_status s;
	struct blockcache *c;

	afresh("flood");
	c = open_cache(64 * MIB, false);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t id[ID_SIZE];

		randombytes_buf(id, sizeof id);
		blockcache_offer(c, id, 0, 16, b.sealed, (struct bytes){ b.sealed->data, b.sealed->size });
	}
	blockcache_settle(c);
	blockcache_status(c, &s);
	ok(s.stored + s.passed_over == 200 && s.stored >= 16, "of a flood what can be taken is: %u", (unsigned)s.stored);
	ok(b.sealed->refs == 1, "and no buffer is held on to");
	blockcache_close(c);
	drop(&b);
}

struct crowd {
	struct blockcache *cache;
	struct block	*blocks;
	unsigned	 count;
	atomic_uint	 wrong, whole;
	atomic_bool	 stop;
};

static void *
reader(void *argument)
{
	struct crowd *x = argument;

	while (!x->stop) {
		struct block *b = &x->blocks[randombytes_uniform(x->count)];
		unsigned first = randombytes_uniform(b->header.cells);
		int n = reads(x->cache, b, first, b->header.cells - first);

		x->wrong += n < 0;
		x->whole += n == (int)(b->header.cells - first);
		if (n == 0 && randombytes_uniform(2))
			blockcache_offer(x->cache, b->id, 0, b->header.cells, b->sealed,
			    (struct bytes){ b->sealed->data, b->sealed->size });
		else if (n == 0)
			offer(x->cache, b, first, b->header.cells - first);
	}
	return NULL;
}

static void
crowd(void)
{
	struct block b[12];
	struct crowd x = { .blocks = b, .count = 12 };
	struct blockcache_status s;
	pthread_t threads[3];

	afresh("crowd");
	for (unsigned i = 0; i < 12; i++)
		b[i] = make(300000);
	x.cache = open_cache(2 * MIB, false);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, reader, &x);
	for (unsigned i = 0; i < 100; i++) {
		usleep(5000);
		blockcache_mark(x.cache, b[i % 12].id, 0, 5, i + 2);
		blockcache_round(x.cache, i + 2);
	}
	x.stop = true;
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	blockcache_settle(x.cache);
	blockcache_status(x.cache, &s);
	ok(x.wrong == 0 && x.whole > 20, "three readers at once: %u reads, none wrong", x.whole);
	ok(s.bytes == on_disk() && s.bytes <= 2 * MIB, "and the books agree with the disk");
	blockcache_close(x.cache);
	for (unsigned i = 0; i < 12; i++)
		drop(&b[i]);
}

int
main(void)
{
	uint8_t key[KEY_SIZE] = { 1 }, volume[VOLUME_ID_SIZE] = { 2 };
	char command[300];
	int r;

	if (sodium_init() < 0 || mkdtemp(scratch(root, sizeof root, "blockcache")) == NULL ||
	    (keys = volume_keys_new(key, volume)) == NULL) {
		printf("Bail out! no directory, or no keys\n");
		return 1;
	}
	cells();
	bound();
	order();
	damage();
	foreign();
	killed();
	full();
	users();
	kept();
	flood();
	crowd();
	volume_keys_free(keys);
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	r = system(command);
	ok(r == 0, "the directory is removed");
	return tap_done();
}
