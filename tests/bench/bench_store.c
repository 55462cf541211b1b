/*
 * bench_store.c - how fast the store is, next to plain I/O on the same disk.
 *
 *	make tests/bench/bench_store && tests/bench/bench_store DIR
 *
 * DIR must be empty and is left so.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/diskstore.h"

enum { BATCHES = 300000, KEYS = 5, OBJECTS = 100000, BLOCKS = 512, BLOCK = 1024 * 1024, COMMITS = 20000, THREADS_MAX = 32 };

struct bench {
	struct store	*s;
	pthread_mutex_t	 lock;
	pthread_cond_t	 applied, synced;
	atomic_bool	 stop;
	atomic_int	 left;
};

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "bench_store: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static uint64_t
next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Five records of 100 to 300 bytes: of one object (near), or of any (far). */
static void
fill(struct batch *b, uint64_t *rng, bool far)
{
	static const uint8_t value[300];
	uint8_t key[26];
	uint64_t oid = next(rng) % OBJECTS;

	batch_clear(b);
	for (int i = 0; i < KEYS; i++) {
		struct cursor c = cursor_over(key, sizeof key);

		cursor_put_u8(&c, 1);
		cursor_put_u64(&c, far ? next(rng) % OBJECTS : oid);
		cursor_put_u8(&c, (uint8_t)i);
		cursor_put_u64(&c, next(rng) % 4);
		cursor_put_u64(&c, 0);
		batch_put(b, (struct bytes){ key, sizeof key }, (struct bytes){ value, 100 + next(rng) % 200 });
	}
}

static void *
sync_thread(void *arg)
{
	struct bench *b = arg;
	uint64_t synced;

	pthread_mutex_lock(&b->lock);
	while (!atomic_load(&b->stop)) {
		if (store_end(b->s) <= store_synced(b->s)) {
			pthread_cond_wait(&b->applied, &b->lock);
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		must(store_sync(b->s, &synced), "sync");
		pthread_mutex_lock(&b->lock);
		pthread_cond_broadcast(&b->synced);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

static double
bench_apply(struct bench *bench, bool far)
{
	struct batch b = { 0 };
	uint64_t rng = 88172645463325252, pos;
	double start = now_s();

	for (int i = 0; i < BATCHES; i++) {
		fill(&b, &rng, far);
		must(store_apply(bench->s, &b, 0, &pos), "apply");
	}
	batch_done(&b);
	return BATCHES / (now_s() - start);
}

/* The same bytes written by one pwrite a batch. */
static double
bench_plain(int fd)
{
	struct batch b = { 0 };
	uint64_t rng = 88172645463325252;
	off_t at = 0;
	double start = now_s();

	for (int i = 0; i < BATCHES; i++) {
		fill(&b, &rng, false);
		if (pwrite(fd, b.data, b.len, at) < 0)
			must(-errno, "write");
		at += (off_t)b.len;
	}
	batch_done(&b);
	return BATCHES / (now_s() - start);
}

static void *
commit_thread(void *arg)
{
	struct bench *b = arg;
	struct batch batch = { 0 };
	uint64_t rng = 88172645463325252 + (uintptr_t)&batch, pos;

	while (atomic_fetch_sub(&b->left, 1) > 0) {
		fill(&batch, &rng, false);
		pthread_mutex_lock(&b->lock);
		must(store_apply(b->s, &batch, 0, &pos), "apply");
		pthread_cond_signal(&b->applied);
		while (store_synced(b->s) < pos)
			pthread_cond_wait(&b->synced, &b->lock);
		pthread_mutex_unlock(&b->lock);
	}
	batch_done(&batch);
	return NULL;
}

static double
bench_commit(struct bench *b, int threads)
{
	pthread_t t[THREADS_MAX];
	double start = now_s();

	atomic_store(&b->left, COMMITS);
	for (int i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, commit_thread, b);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	return COMMITS / (now_s() - start);
}

static double
bench_plain_commit(int fd)
{
	static const uint8_t data[1200];
	double start = now_s();
	int n = COMMITS / 10;

	for (int i = 0; i < n; i++)
		if (pwrite(fd, data, sizeof data, (off_t)i * (off_t)sizeof data) < 0 || fdatasync(fd) != 0)
			must(-errno, "write");
	return n / (now_s() - start);
}

static double
bench_blocks(struct bench *b, const uint8_t *data)
{
	double start = now_s();
	uint8_t id[ID_SIZE] = { 0 };
	uint64_t pos = 0;

	for (int i = 0; i < BLOCKS; i++) {
		struct block_ticket *t;

		memcpy(id, &i, sizeof i);
		must(store_block_reserve(b->s, id, BLOCK, 0, &t), "reserve");
		must(store_block_write(t, data), "block");
		must(store_block_finish(t, true, &pos), "finish");
	}
	must(store_sync(b->s, &pos), "sync");
	return BLOCKS / (now_s() - start);
}

static double
bench_read(struct bench *b, uint8_t *data)
{
	double start = now_s();
	uint8_t id[ID_SIZE] = { 0 };

	for (int i = 0; i < BLOCKS; i++) {
		struct block_ref *r;

		memcpy(id, &i, sizeof i);
		must(store_block_find(b->s, id, &r), "find");
		must(store_block_read(r, 0, BLOCK, data), "read");
		store_block_put_ref(r);
	}
	return BLOCKS / (now_s() - start);
}

static double
bench_plain_blocks(int fd, uint8_t *data, bool write)
{
	double start = now_s();

	if (write && ftruncate(fd, 0) != 0)
		must(-errno, "truncate");
	if (write && posix_fallocate(fd, 0, (off_t)BLOCKS * BLOCK) != 0)
		must(-ENOSPC, "allocate");
	for (int i = 0; i < BLOCKS; i++)
		if ((write ? pwrite(fd, data, BLOCK, (off_t)i * BLOCK) : pread(fd, data, BLOCK, (off_t)i * BLOCK)) != BLOCK)
			must(-errno, "block");
	if (write && fdatasync(fd) != 0)
		must(-errno, "sync");
	return BLOCKS / (now_s() - start);
}

static struct store *
fresh(const char *path)
{
	struct diskstore_config config;
	char file[4096];
	struct dirent *e;
	DIR *dir = opendir(path);
	struct store *s;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		if (strncmp(e->d_name, "log.", 4) == 0 || strncmp(e->d_name, "records.mdb", 11) == 0 ||
		    strcmp(e->d_name, "lock") == 0 || strcmp(e->d_name, "plain") == 0)
			unlink(file);
	}
	if (dir != NULL)
		closedir(dir);
	diskstore_config_init(&config);
	config.create = true;
	must(diskstore_open(path, &config, &s), path);
	return s;
}

int
main(int argc, char **argv)
{
	struct bench b = { .lock = PTHREAD_MUTEX_INITIALIZER, .applied = PTHREAD_COND_INITIALIZER,
	    .synced = PTHREAD_COND_INITIALIZER };
	struct diskstore_config config;
	uint8_t *data = malloc(BLOCK);
	char file[4096];
	pthread_t sync;
	double plain, commit, start;
	int fd;

	if (argc != 2)
		return 2;
	memset(data, 7, BLOCK);
	b.s = fresh(argv[1]);
	snprintf(file, sizeof file, "%s/plain", argv[1]);
	fd = open(file, O_RDWR | O_CREAT, 0600);
	plain = bench_plain(fd);
	printf("batches applied, %d records of one object: %.0f/s", KEYS, commit = bench_apply(&b, false));
	printf(" (%.2f of plain writes at %.0f/s)\n", commit / plain, plain);
	printf("batches applied, %d records anywhere: %.0f/s\n", KEYS, bench_apply(&b, true));
	start = now_s();
	must(store_checkpoint(b.s), "checkpoint");
	printf("a checkpoint: %.1f ms\n", 1e3 * (now_s() - start));
	pthread_create(&sync, NULL, sync_thread, &b);
	plain = bench_plain_commit(fd);
	for (int threads = 1; threads <= THREADS_MAX; threads *= THREADS_MAX) {
		commit = bench_commit(&b, threads);
		printf("commits, %d at a time: %.0f/s (%.2f of a plain write and sync at %.0f/s)\n", threads, commit,
		    commit / plain, plain);
	}
	pthread_mutex_lock(&b.lock);
	atomic_store(&b.stop, true);
	pthread_cond_signal(&b.applied);
	pthread_mutex_unlock(&b.lock);
	pthread_join(sync, NULL);
	store_close(b.s);
	start = now_s();
	diskstore_config_init(&config);
	must(diskstore_open(argv[1], &config, &b.s), "open");
	printf("opened again, all records verified: %.0f ms\n", 1e3 * (now_s() - start));
	store_close(b.s);
	b.s = fresh(argv[1]);
	fd = open(file, O_RDWR | O_CREAT, 0600);
	commit = bench_blocks(&b, data);
	plain = bench_plain_blocks(fd, data, true);
	printf("blocks written: %.0f MiB/s (%.2f of plain at %.0f)\n", commit, commit / plain, plain);
	commit = bench_read(&b, data);
	plain = bench_plain_blocks(fd, data, false);
	printf("blocks read: %.0f MiB/s (%.2f of plain at %.0f)\n", commit, commit / plain, plain);
	store_close(b.s);
	start = now_s();
	b.s = NULL;
	store_close(fresh(argv[1]));
	printf("make, open and close: %.1f ms\n", 1e3 * (now_s() - start));
	return 0;
}
