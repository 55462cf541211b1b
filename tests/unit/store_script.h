/*
 * store_script.h - what the tests of the store on disk share: a directory to
 * break, a script of changes, and the question whether a store holds a
 * prefix of it.  All static, as conform.h.
 *
 * The random cases print their seed; NUAGE_SEED=n repeats one.
 */
#ifndef TESTS_UNIT_STORE_SCRIPT_H
#define TESTS_UNIT_STORE_SCRIPT_H

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/diskstore.h"
#include "tests/sim/faultdisk.h"
#include "tests/sim/memstore.h"
#include "tests/scratch.h"
#include "tests/unit/conform.h"

enum { SMALL_SEGMENT = 64 * 1024, STEPS = 40, LARGE = 20000, BLOCKS = 64 };

#define SHARED_MEMORY "/dev/shm"	/* a file system in memory, on Linux: shm_overview(7) */

static char directory[512];	/* the store under test is in a subdirectory "s" of it */
static uint64_t seed;

UNUSED static char *
path_of(char *to, const char *sub, const char *name)
{
	sprintf(to, "%s/%s%s%s", directory, sub, name[0] ? "/" : "", name);
	return to;
}

/* Empties or makes a subdirectory. */
UNUSED static const char *
clean(const char *sub)
{
	static char path[1024];
	char file[1024];
	struct dirent *e;
	DIR *dir;

	mkdir(path_of(path, sub, ""), 0700);
	dir = opendir(path);
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			unlink(path_of(file, sub, e->d_name));
	closedir(dir);
	return path;
}

UNUSED static void
copy_file(const char *from, const char *to)
{
	static uint8_t data[1 << 16];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	while ((n = read(in, data, sizeof data)) > 0)
		if (write(out, data, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

/* Copies the files of a store. */
UNUSED static void
copy(const char *from, const char *to)
{
	char a[1024], b[1024];
	struct dirent *e;
	DIR *dir;

	clean(to);
	dir = opendir(path_of(a, from, ""));
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			copy_file(path_of(a, from, e->d_name), path_of(b, to, e->d_name));
	closedir(dir);
}

/* The number of log segments. */
UNUSED static int
segments(const char *sub)
{
	char path[1024];
	struct dirent *e;
	DIR *dir = opendir(path_of(path, sub, ""));
	int n = 0;

	while ((e = readdir(dir)) != NULL)
		n += strncmp(e->d_name, "log.0", 5) == 0;
	closedir(dir);
	return n;
}

static unsigned reported;
static char last_report[512];

UNUSED static void
count_report(void *arg, const char *line)
{
	(void)arg;
	reported++;
	snprintf(last_report, sizeof last_report, "%s", line);
}

UNUSED static struct diskstore_config
small_config(struct disk *disk)
{
	struct diskstore_config config;

	diskstore_config_init(&config);
	config.create = true;
	config.segment_size = SMALL_SEGMENT;
	config.map_size = 64 << 20;
	config.reserve = 1 << 20;
	config.report = count_report;
	if (disk != NULL)
		config.disk = disk;
	return config;
}

UNUSED static struct store *
open_small(const char *sub, struct disk *disk)
{
	struct diskstore_config config = small_config(disk);
	struct store *s = NULL;
	char path[1024];
	int rc = diskstore_open(path_of(path, sub, ""), &config, &s);

	return rc == 0 ? s : NULL;
}

/* Step `i` of the script first puts a large block (sometimes), as an entry of its own. */
UNUSED static int64_t
step_large(struct store *s, int i)
{
	return i % 3 == 1 ? put_large(s, 1000 + (uint64_t)i, LARGE) : 0;
}

/* Then a batch that says which step it is, and changes this and that. */
UNUSED static int64_t
step_batch(struct store *s, int i)
{
	struct batch b = { 0 };
	uint64_t rng = (uint64_t)i * 7919;
	char key[32], value[400];
	uint8_t id[ID_SIZE], *data;
	int64_t pos;

	sprintf(value, "%d", i);
	batch_put(&b, text("step"), text(value));
	for (int n = 0; n < 6; n++) {
		memset(value, 'a' + i % 26, sizeof value);
		value[random_next(&rng) % (sizeof value - 1)] = 0;
		sprintf(key, "k%02d", (int)(random_next(&rng) % 50));
		if (random_next(&rng) % 4 == 0)
			batch_delete(&b, text(key));
		else
			batch_put(&b, text(key), text(value));
	}
	if (i % 7 == 3)
		batch_delete_range(&b, text("k10"), text("k19"));
	block_id(id, (uint64_t)i);
	data = block_bytes((uint64_t)i, 3000);
	if (i % 2 == 0)
		batch_block_put(&b, id, (struct bytes){ data, 3000 });
	free(data);
	if (i >= 10) {
		block_id(id, (uint64_t)i - 10);
		batch_block_free(&b, id);
		block_id(id, 1000 + (uint64_t)i - 10);
		batch_block_free(&b, id);
	}
	pos = apply(s, &b, 0);
	batch_done(&b);
	return pos;
}

static bool compacting;		/* the script compacts too; only on disk */

/* Runs the script, syncing now and then; returns the last step known to be durable, -1 for none. */
UNUSED static int
script(struct store *s, int steps)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int durable = -1;
	uint64_t synced;

	for (int i = 0; i < steps; i++) {
		if (step_large(s, i) < 0 || step_batch(s, i) < 0)
			break;
		if (i % 4 == 2 && store_sync(s, &synced) != 0)
			break;
		if (i % 16 == 13 && store_checkpoint(s) != 0)
			break;
		if (i % 4 == 2 || i % 16 == 13)
			durable = i;
		if (compacting && i % 8 == 7 && diskstore_compact(s, &lock, 90, 2 * LARGE) < 0)
			break;
	}
	return durable;
}

struct dump {
	uint8_t	data[1 << 16];
	size_t	len;
};

UNUSED static int
dump_visit(void *arg, struct bytes key, struct bytes value)
{
	struct dump *d = arg;

	memcpy(d->data + d->len, key.data, key.len);
	d->len += key.len;
	if (value.len > 0)
		memcpy(d->data + d->len, value.data, value.len);
	d->len += value.len;
	return 0;
}

/* True if both hold the same keys and values. */
UNUSED static bool
same_keys(struct store *a, struct store *b)
{
	static struct dump da, db;

	da.len = db.len = 0;
	return store_scan(a, text("a"), text("zz"), dump_visit, &da) == 0 &&
	    store_scan(b, text("a"), text("zz"), dump_visit, &db) == 0 &&
	    da.len == db.len && memcmp(da.data, db.data, da.len) == 0;
}

/* And the same of the script's blocks. */
UNUSED static bool
same(struct store *a, struct store *b)
{
	uint8_t id[ID_SIZE];

	if (!same_keys(a, b))
		return false;
	for (int i = 0; i < STEPS; i++) {
		block_id(id, (uint64_t)i);
		if (!holds_block(a, (uint64_t)i, store_block_exists(b, id) == 1 ? 3000 : 0))
			return false;
		block_id(id, 1000 + (uint64_t)i);
		if (!holds_block(a, 1000 + (uint64_t)i, store_block_exists(b, id) == 1 ? LARGE : 0))
			return false;
	}
	return true;
}

/* The last step in the store, or -1. */
UNUSED static int
last_step(struct store *s)
{
	struct bytes value;
	char number[16] = "";

	if (store_get(s, text("step"), &value) != 0 || value.len >= sizeof number)
		return -1;
	memcpy(number, value.data, value.len);
	return atoi(number);
}

/* True if the store is exactly what the script makes of it up to some step, and that is not before `durable`. */
UNUSED static bool
is_prefix(struct store *s, int durable, bool blocks)
{
	struct store *model = memstore_new(0);
	int step = last_step(s);
	bool good;

	for (int i = 0; i <= step; i++) {
		step_large(model, i);
		step_batch(model, i);
	}
	good = blocks ? same(s, model) : same_keys(s, model);
	if (!good && step_large(model, step + 1) > 0)
		good = same(s, model);	/* the next one's large block may be there already */
	if (!good || step < durable)
		printf("# step %d, durable %d, %s\n", step, durable, good ? "whole" : "not a prefix");
	store_close(model);
	return good && step >= durable;
}

/* Opens what a crash left and tells whether all is there; then goes on with it. */
UNUSED static bool
survives(int durable)
{
	struct store *s = open_small("s", NULL);
	bool good;

	if (s == NULL) {
		printf("# not opened: %s\n", last_report);
		return false;
	}
	good = is_prefix(s, durable, true);
	/* Life goes on: what is written now survives the next crash, and nothing old comes back. */
	good = good && put(s, "after", "1") > 0 && store_checkpoint(s) == 0 && put(s, "after", "2") > 0;
	diskstore_abandon(s);
	s = open_small("s", NULL);
	good = good && s != NULL && (holds(s, "after", "1") || holds(s, "after", "2"));
	return store_close(s) == 0 && good;
}

/* Makes the directory, in memory if there is some: there will be thousands of syncs. */
static void
script_begin(void)
{
	const char *given = getenv("NUAGE_SEED");

	seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 1000003;
	scratch_below(access(SHARED_MEMORY, W_OK) == 0 ? SHARED_MEMORY : P_tmpdir, directory, sizeof directory, "nuage-store");
	if (mkdtemp(directory) == NULL)
		abort();
	printf("# NUAGE_SEED=%" PRIu64 "\n", seed);
}

static int
script_end(void)
{
	rmdir(clean("s"));
	rmdir(clean("t"));
	rmdir(directory);
	return tap_done();
}

#endif
