/*
 * test_segments.c - when the log's files are made durable, written, reused and
 * dropped.
 */
#include "tests/unit/store_script.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "server/segment.h"

/* Notes what is synced, and counts writes. */
struct witness {
	struct disk	 disk;		/* first */
	bool		 made, named;	/* a file was synced; then a directory */
	unsigned	 writes;
};

static int
witness_write(struct disk *d, int fd, const void *data, size_t len, uint64_t offset)
{
	((struct witness *)d)->writes++;
	return disk_system()->write(disk_system(), fd, data, len, offset);
}

static int
witness_sync(struct disk *d, int fd)
{
	struct witness *w = (struct witness *)d;
	struct stat st;

	if (fstat(fd, &st) != 0)
		abort();
	w->named |= w->made && S_ISDIR(st.st_mode);
	w->made |= S_ISREG(st.st_mode);
	return disk_system()->sync(disk_system(), fd);
}

static int
witness_allocate(struct disk *d, int fd, uint64_t len)
{
	(void)d;
	return disk_system()->allocate(disk_system(), fd, len);
}

static int
witness_space(struct disk *d, int fd, uint64_t *ret_total, uint64_t *ret_free)
{
	(void)d;
	return disk_system()->space(disk_system(), fd, ret_total, ret_free);
}

static int
witness_commit(struct disk *d)
{
	(void)d;
	return 0;
}

static struct witness
witness(void)
{
	return (struct witness){ .disk = { witness_write, witness_sync, witness_allocate, witness_space, witness_commit } };
}

static void
test_made(void)
{
	struct witness w = witness();
	char path[1024];
	int dir, fd = -1;

	clean("s");
	dir = open(path_of(path, "s", ""), O_RDONLY | O_DIRECTORY);
	ok(segment_make(&w.disk, dir, 1, SMALL_SEGMENT, 7, NULL, &fd) == 0, "a segment is made");
	ok(w.made, "its header is durable");
	ok(w.named, "and then its name");
	close(fd);
	close(dir);
}

/* More than memory should hold, and nobody syncs. */
static void
test_tail(void)
{
	struct witness w = witness();
	struct diskstore_config config = small_config(&w.disk);
	struct store *s = NULL;
	struct batch b = { 0 };
	static uint8_t value[3000];
	char path[1024];
	unsigned before;
	int rc;

	clean("s");
	config.segment_size = 64 << 20;
	config.log_max = config.dirty_max = UINT64_C(1) << 30;
	rc = diskstore_open(path_of(path, "s", ""), &config, &s);
	before = w.writes;
	for (unsigned i = 0; rc == 0 && i < 8000; i++) {
		uint64_t pos;

		batch_init(&b);
		batch_put(&b, (struct bytes){ (const uint8_t *)"key", 3 }, (struct bytes){ value, sizeof value });
		rc = store_apply(s, &b, 0, &pos);
		batch_done(&b);
	}
	ok(rc == 0 && w.writes > before, "a long tail is written though nobody syncs");
	diskstore_abandon(s);
}

/* The names of the log's files, as bits: number n is bit n. */
static uint64_t
names(void)
{
	char path[1024];
	DIR *dir = opendir(path_of(path, "s", ""));
	struct dirent *e;
	uint64_t number, bits = 0;

	while ((e = readdir(dir)) != NULL)
		if (segment_name_parse(e->d_name, &number) && number < 64)
			bits |= UINT64_C(1) << number;
	closedir(dir);
	return bits;
}

static void
free_blocks(struct store *s, uint64_t from, uint64_t to)
{
	struct batch b = { 0 };
	uint8_t id[ID_SIZE];

	for (uint64_t i = from; i < to; i++) {
		block_id(id, i);
		batch_block_free(&b, id);
	}
	if (apply(s, &b, STORE_FREES) <= 0)
		ok(false, "blocks are freed");
	batch_done(&b);
}

static void
test_dropped(void)
{
	struct store *s;
	uint64_t before, synced;

	clean("s");
	s = open_small("s", NULL);
	for (uint64_t n = 0; n < 12; n++)
		put_large(s, n, LARGE);
	store_sync(s, &synced);
	free_blocks(s, 0, 12);
	before = names();
	store_checkpoint(s);
	for (uint64_t n = 20; n < 32; n++)
		put_large(s, n, LARGE);
	ok((names() & before) == before, "a dropped segment's file stays while its end may come back");
	store_sync(s, &synced);
	ok((names() & before) != before, "and goes when that is durable");
	store_close(s);
}

/* Full of what is dead already. */
static void
test_full_of_dead(void)
{
	struct diskstore_config config = small_config(NULL);
	struct store *s = NULL;
	char path[1024];
	uint64_t n = 0, synced;

	clean("s");
	config.capacity = 4 << 20;
	ok(diskstore_open(path_of(path, "s", ""), &config, &s) == 0, "a store of limited size");
	while (n < 1000 && put_large(s, n, LARGE) > 0)
		n++;
	ok(n > 10 && n < 1000, "fills up");
	free_blocks(s, 0, n);
	store_sync(s, &synced);
	ok(put_large(s, 2000, LARGE) > 0, "and has room again as soon as something is dead");
	store_close(s);
}

static void
test_missing(void)
{
	struct store *s;
	char path[1024], name[SEGMENT_NAME_MAX];
	uint64_t bits, number = 0;

	clean("s");
	s = open_small("s", NULL);
	for (uint64_t n = 0; n < 12; n++)
		put_large(s, n, LARGE);
	store_close(s);
	for (bits = names(); (bits >> number & 1) == 0; number++)
		continue;
	segment_name(number, name);
	unlink(path_of(path, "s", name));
	ok(open_small("s", NULL) == NULL && strstr(last_report, "missing") != NULL,
	    "a store without some of its blocks does not open: %s", last_report);
}

/* The records go back behind a segment that was dropped, and only the mark tells of what was in it. */
static void
test_mark(void)
{
	struct store *s;
	char from[1024], to[1024];
	uint64_t synced;

	clean("s");
	clean("t");
	s = open_small("s", NULL);
	put_large(s, 1, LARGE);
	store_sync(s, &synced);
	store_checkpoint(s);
	copy_file(path_of(from, "s", "records.mdb"), path_of(to, "t", "records.mdb"));
	put_large(s, 2, 40000);
	put_large(s, 3, 60000);
	put_large(s, 4, 60000);
	free_blocks(s, 3, 4);
	store_sync(s, &synced);
	store_checkpoint(s);
	store_sync(s, &synced);
	diskstore_abandon(s);
	copy_file(path_of(from, "t", "records.mdb"), path_of(to, "s", "records.mdb"));
	ok(open_small("s", NULL) == NULL, "older records do not open without what was dropped after them: %s", last_report);
}

int
main(void)
{
	script_begin();
	test_made();
	test_tail();
	test_dropped();
	test_full_of_dead();
	test_missing();
	test_mark();
	return script_end();
}
