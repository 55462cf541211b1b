/* test_store.c - the store on disk does what a store must, and gives back the space it no longer needs. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "tests/unit/store_script.h"

/* `count` records of 1000 bytes, each in a batch of its own. */
static void
put_records(struct store *s, unsigned count)
{
	static const uint8_t value[1000];
	char key[16];

	for (unsigned n = 0; n < count; n++) {
		struct batch b = { 0 };

		snprintf(key, sizeof key, "%u", n);
		batch_init(&b);
		batch_put(&b, (struct bytes){ (uint8_t *)key, strlen(key) }, (struct bytes){ value, sizeof value });
		apply(s, &b, 0);
		batch_done(&b);
	}
}

static void
test_conform(void)
{
	struct diskstore_config config;
	struct store *s = NULL, *second;

	diskstore_config_init(&config);
	ok(diskstore_open(clean("s"), &config, &s) == -ENOENT, "a store is not made unless told to");
	config.create = true;
	ok(diskstore_open(clean("s"), &config, &s) == 0, "a new store");
	ok(diskstore_open(path_of((char[1024]){ 0 }, "s", ""), &config, &second) == -EBUSY, "a second opener is refused");
	conform(s, "disk");
	ok(holds(s, "a", "1"), "it holds this");
	ok(store_close(s) == 0, "it closes");
	config.create = false;
	ok(diskstore_open(path_of((char[1024]){ 0 }, "s", ""), &config, &s) == 0 && holds(s, "a", "1") &&
	    holds(s, "sync", "2") && holds_block(s, 2, BLOCK_SEALED_MAX) && holds_block(s, 4, 5000),
	    "and holds it still when opened again");
	store_close(s);
	ok(diskstore_check(path_of((char[1024]){ 0 }, "s", ""), &config) == 0, "the check finds nothing wrong");
}

static void
test_script(void)
{
	struct store *s, *model = memstore_new(0);
	struct diskstore_config config = small_config(NULL);

	clean("s");
	s = open_small("s", NULL);
	script(s, STEPS);
	script(model, STEPS);
	ok(same(s, model), "disk and memory agree");
	ok(store_close(s) == 0, "closed");
	s = open_small("s", NULL);
	ok(same(s, model), "and agree after it was opened again");
	diskstore_abandon(s);
	store_close(model);
	ok(diskstore_check(path_of((char[1024]){ 0 }, "s", ""), &config) == 0, "the check finds nothing wrong");
}

/* Random changes to disk and memory alike, with crashes back to the last sync in between. */
static void
test_random(void)
{
	struct store *model = memstore_new(0), *s;
	uint64_t start = seed, rng = seed, synced;
	struct batch b = { 0 };
	bool good = true;
	char key[8], value[5000];
	uint8_t id[ID_SIZE];

	clean("s");
	s = open_small("s", NULL);
	for (int i = 0; i < 3000 && good; i++) {
		for (unsigned n = 1 + random_next(&rng) % 6; n > 0; n--) {
			unsigned what = random_next(&rng) % 16;
			uint64_t block = random_next(&rng) % STEPS;
			uint8_t *data = block_bytes(block, 3000);

			sprintf(key, "k%03d", (int)(random_next(&rng) % 300));
			memset(value, 'a' + i % 26, sizeof value);
			value[random_next(&rng) % (random_next(&rng) % 8 == 0 ? STORE_VALUE_MAX : 300)] = 0;
			block_id(id, block);
			if (what < 9)
				batch_put(&b, text(key), text(value));
			else if (what < 12)
				batch_delete(&b, text(key));
			else if (what == 12)
				batch_delete_range(&b, text(key), text("k299"));
			else if (what < 15)
				batch_block_put(&b, id, (struct bytes){ data, 3000 });
			else
				batch_block_free(&b, id);
			free(data);
		}
		good = (store_apply(s, &b, 0, &synced) == 0) && (store_apply(model, &b, 0, &synced) == 0);
		batch_clear(&b);
		if (random_next(&rng) % 50 == 0)
			good = good && store_checkpoint(s) == 0;
		if (random_next(&rng) % 100 == 0) {
			/* A crash: what the model had synced is what the disk has. */
			good = good && store_sync(s, &synced) == 0 && store_sync(model, &synced) == 0;
			if (random_next(&rng) % 2 == 0) {
				put(s, "lost", "x");
				diskstore_abandon(s);
			} else
				good = good && store_close(s) == 0;
			s = open_small("s", NULL);
			good = good && s != NULL && same(s, model);
		}
	}
	ok(good && same(s, model), "3000 random batches: disk and memory agree (NUAGE_SEED=%" PRIu64 ")", start);
	batch_done(&b);
	store_close(s);
	store_close(model);
}

static void
test_space(void)
{
	struct faultdisk f;
	struct store *s;
	struct batch b = { 0 };
	uint8_t id[ID_SIZE];
	uint64_t total, left, n, before, synced;
	int64_t rc = 0;

	clean("s");
	faultdisk_init(&f);
	s = open_small("s", &f.disk);
	f.space_total = 10 << 20;
	f.space_free = (1 << 20) + (300 << 10);
	for (n = 0; n < 1000; n++) {
		rc = put_large(s, n, LARGE);
		if (rc < 0)
			break;
		f.space_free = (1 << 20) + (300 << 10) - (uint64_t)(segments("s") - 1) * SMALL_SEGMENT;
	}
	ok(rc == -ENOSPC && n > 3 && n < 20, "blocks are refused when space is short");
	ok(holds_block(s, n, 0) && holds_block(s, n - 1, LARGE), "and nothing changes");
	store_space(s, &total, &left);
	ok(total == 10 << 20 && left < 600 << 10, "space is told");
	before = left;
	for (uint64_t i = 0; i < n; i++) {
		block_id(id, i);
		batch_block_free(&b, id);
	}
	ok(apply(s, &b, STORE_FREES) > 0, "frees are taken");
	store_space(s, &total, &left);
	ok(left > before + n * LARGE / 2, "and count as space");
	store_checkpoint(s);
	store_sync(s, &synced);
	f.space_free = (1 << 20) + (300 << 10) - (uint64_t)(segments("s") - 1) * SMALL_SEGMENT;
	ok(put_large(s, 100, LARGE) > 0 && put_large(s, 101, LARGE) > 0, "which new blocks take");
	f.fail_at = 1;
	f.calls = 0;
	f.error = -ENOSPC;
	f.space_free = 5 << 20;
	for (n = 200; n < 210 && rc != -EIO; n++)
		rc = put_large(s, n, 1000);
	ok(rc == -EIO && store_failed(s) != NULL, "a disk that is full in spite of all fails the store: %s", store_failed(s));
	diskstore_abandon(s);
	f.fail_at = 0;
	s = open_small("s", &f.disk);
	ok(s != NULL, "which opens again");
	store_close(s);
	batch_done(&b);
	faultdisk_done(&f);

	/* What its records were to have is taken by others: it waits for it. */
	clean("s");
	faultdisk_init(&f);
	s = open_small("s", &f.disk);
	f.space_total = f.space_free = 10 << 20;
	put_records(s, 1000);
	f.space_free = 0;
	ok(store_checkpoint(s) == -ENOSPC && store_failed(s) == NULL, "a disk that others have filled fails nothing");
	for (n = 0; n < 100000 && (rc = put(s, "a", "1")) > 0; n++)
		continue;
	ok(rc == -ENOSPC && store_failed(s) == NULL, "but what comes is refused");
	f.space_free = 10 << 20;
	ok(put(s, "a", "1") > 0 && store_checkpoint(s) == 0, "until there is some again");
	store_close(s);
	faultdisk_done(&f);

	/* No space for a new segment changes nothing and fails nothing. */
	clean("s");
	faultdisk_init(&f);
	s = open_small("s", &f.disk);
	put_large(s, 1, 40000);
	f.fail_at = f.calls + 1;
	f.error = -ENOSPC;
	ok(put_large(s, 2, 40000) == -ENOSPC && store_failed(s) == NULL, "no space for a segment is no failure");
	f.fail_at = 0;
	ok(put_large(s, 2, 40000) > 0 && holds_block(s, 2, 40000), "and passes");
	ok(store_close(s) == 0, "closed");
	faultdisk_done(&f);
}

/* A store cannot be opened on a disk that others have filled, but that takes nothing of what is made free there. */
static void
test_full_unopened(void)
{
	struct faultdisk f;
	struct store *s;
	uint64_t before, synced;

	clean("s");
	faultdisk_init(&f);
	s = open_small("s", &f.disk);
	f.space_total = f.space_free = 10 << 20;
	put_records(s, 300);
	store_sync(s, &synced);
	diskstore_abandon(s);
	f.space_free = 100 << 10;
	before = segments("s");
	ok(open_small("s", &f.disk) == NULL && open_small("s", &f.disk) == NULL && open_small("s", &f.disk) == NULL,
	    "what the log holds needs space when it is opened");
	ok((uint64_t)segments("s") <= before + 1, "which is not taken by opening it: %u segments, then %u", (unsigned)before,
	    (unsigned)segments("s"));
	f.space_free = 10 << 20;
	s = open_small("s", &f.disk);
	ok(s != NULL && put(s, "a", "1") > 0, "and all is there when there is some");
	store_close(s);
	faultdisk_done(&f);
}

/* Nor with less than a segment, as long as something can be removed. */
static void
test_little_room_to_open(void)
{
	struct diskstore_config config;
	struct faultdisk f;
	struct store *s = NULL;
	struct batch b = { 0 };
	uint64_t pos, synced;

	clean("s");
	faultdisk_init(&f);
	config = small_config(&f.disk);
	config.segment_size = 16 * SMALL_SEGMENT;
	ok(diskstore_open(path_of((char[1024]){ 0 }, "s", ""), &config, &s) == 0, "a store of larger segments");
	f.space_total = f.space_free = 10 << 20;
	put_records(s, 100);
	store_sync(s, &synced);
	diskstore_abandon(s);
	f.space_free = 10 * SMALL_SEGMENT;
	ok(diskstore_open(path_of((char[1024]){ 0 }, "s", ""), &config, &s) == 0, "opens on a disk that has less than one left");
	f.space_free = SMALL_SEGMENT;
	batch_init(&b);
	batch_delete(&b, text("5"));
	ok(store_apply(s, &b, STORE_FREES, &pos) == 0 && store_get(s, text("5"), &(struct bytes){ 0 }) == -ENOENT,
	    "where what is there can be removed");
	batch_done(&b);
	batch_init(&b);
	batch_put(&b, text("more"), text("1"));
	ok(store_apply(s, &b, 0, &pos) == -ENOSPC, "but nothing is added");
	batch_done(&b);
	store_close(s);
	f.space_free = 10 << 20;
	ok(diskstore_open(path_of((char[1024]){ 0 }, "s", ""), &config, &s) == 0 && put(s, "a", "1") > 0 &&
	    store_get(s, text("5"), &(struct bytes){ 0 }) == -ENOENT, "and with room all goes on");
	store_close(s);
	faultdisk_done(&f);
}

enum { FULL_SEGMENT = 512 << 10, FULL_TOTAL = 24 << 20 };

/* Of a disk that has nothing else on it. */
static int
space_alone(struct disk *disk, int fd, uint64_t *ret_total, uint64_t *ret_free)
{
	char path[1024];
	struct stat st = { 0 };
	uint64_t used;

	(void)disk;
	(void)fd;
	stat(path_of(path, "s", "records.mdb"), &st);
	used = (uint64_t)segments("s") * FULL_SEGMENT + (uint64_t)st.st_blocks * 512;
	*ret_total = FULL_TOTAL;
	*ret_free = used < FULL_TOTAL ? FULL_TOTAL - used : 0;
	return 0;
}

/* On a full disk changes that take nothing go on for ever, and the store opens again. */
static void
test_full_opens(void)
{
	static uint8_t value[3000];
	struct diskstore_config config;
	struct faultdisk f;
	struct store *s;
	struct batch b;
	char path[1024];
	uint64_t n = 0, synced, total, left, least = FULL_TOTAL;
	int64_t rc = 0;
	int i, opened = 0;

	clean("s");
	faultdisk_init(&f);
	config = small_config(&f.disk);
	config.reserve = 0;
	config.segment_size = FULL_SEGMENT;
	config.dirty_max = 1 << 20;
	f.disk.space = space_alone;
	if (diskstore_open(path_of(path, "s", ""), &config, &s) != 0)
		abort();
	for (int again = 0; again < 20; again += rc < 0) {
		rc = put_large(s, n, 10 * LARGE);
		n += rc > 0;
		store_sync(s, &synced);
	}
	ok(rc == -ENOSPC && n > 80, "%u blocks fill it", (unsigned)n);
	for (i = 0, rc = 1; i < 6000 && rc > 0; i++) {
		char key[16];

		snprintf(key, sizeof key, "%d", i % 20);
		value[0] = (uint8_t)i;
		batch_init(&b);
		batch_put(&b, text(key), (struct bytes){ value, sizeof value });
		rc = apply(s, &b, STORE_FREES);
		batch_done(&b);
		store_sync(s, &synced);
		space_alone(&f.disk, -1, &total, &left);
		if (left + FULL_SEGMENT / 2 > least || rc <= 0)
			continue;
		least = left;
		if (opened % 2 == 0)
			diskstore_abandon(s);
		else
			store_close(s);
		if (left < FULL_SEGMENT || diskstore_open(path, &config, &s) != 0) {
			s = NULL;
			break;
		}
		opened++;
	}
	ok(rc > 0 && i == 6000, "what takes nothing goes on for ever: %d times", i);
	ok(s != NULL && opened > 3, "and it opens again each time that less is left: %d times", opened);
	if (s != NULL)
		store_close(s);
	faultdisk_done(&f);
}

/* Compacts all there is. */
static void
compact(struct store *s)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	while (diskstore_compact(s, &lock, COMPACT_FULL, 1 << 20) == 1)
		;
}

/* Puts blocks from `first` on until that fails; their number, and the error. */
static unsigned
fill(struct store *s, uint64_t first, int64_t *ret_rc)
{
	unsigned n = 0;

	while ((*ret_rc = put_large(s, first + n, LARGE)) > 0)
		n++;
	return n;
}

/* A store that is full says whether there is space to come, and gets at all of it. */
static void
test_full(void)
{
	struct diskstore_config config = small_config(NULL);
	struct store *s = NULL;
	struct batch b = { 0 };
	uint8_t id[ID_SIZE];
	char path[1024];
	unsigned n, more;
	bool good = true;
	int64_t rc;

	config.capacity = 12 * SMALL_SEGMENT + 100000;
	config.reserve = 2 * SMALL_SEGMENT;
	clean("s");
	diskstore_open(path_of(path, "s", ""), &config, &s);
	n = fill(s, 0, &rc);
	ok(rc == -ENOSPC && n >= 27, "%u blocks fill it", n);
	for (uint64_t i = 0; i < n; i++)
		if (i % 3 != 0) {
			block_id(id, i);
			batch_block_free(&b, id);
		}
	ok(apply(s, &b, STORE_FREES) > 0, "most are freed, some of each segment");
	batch_clear(&b);
	ok(put_large(s, 100, LARGE) == -EAGAIN, "it says that there will be space");
	compact(s);
	more = fill(s, 100, &rc);
	ok(rc == -ENOSPC && more + 3 >= n * 2 / 3, "and so there is: for %u", more);
	/* The last ones are in the segment that is still written to. */
	for (uint64_t i = more - 2; i < more; i++) {
		block_id(id, 100 + i);
		batch_block_free(&b, id);
	}
	ok(apply(s, &b, STORE_FREES) > 0 && put_large(s, 200, LARGE) == -EAGAIN, "also when the last ones go");
	batch_clear(&b);
	compact(s);
	ok(put_large(s, 200, LARGE) > 0 && put_large(s, 201, LARGE) > 0, "and others can take their place");
	for (uint64_t i = 0; i < n; i += 3)
		good &= holds_block(s, i, LARGE);
	for (uint64_t i = 0; i < more - 2; i++)
		good &= holds_block(s, 100 + i, LARGE);
	ok(good, "nothing else was lost");
	fill(s, 300, &rc);
	compact(s);
	ok(rc == -ENOSPC && put_large(s, 400, LARGE) == -ENOSPC, "there is an end to it");
	batch_put(&b, text("trade"), text("1"));
	ok(apply(s, &b, 0) > 0 || apply(s, &b, STORE_TRADES) > 0, "but what frees more than it takes is taken");
	ok(store_close(s) == 0 && diskstore_check(path_of(path, "s", ""), &config) == 0, "the check finds nothing wrong");
	batch_done(&b);
}

/* Puts records until there is no space to come; their number. */
static unsigned
fill_records(struct store *s, int64_t *ret_rc)
{
	static char value[3000];
	struct batch b = { 0 };
	unsigned n = 0;
	char key[16];

	memset(value, 'v', sizeof value - 1);
	do {
		sprintf(key, "r%05u", n++);
		batch_put(&b, text(key), text(value));
		for (unsigned tries = 0; (*ret_rc = apply(s, &b, 0)) == -EAGAIN && tries < 3; tries++)
			compact(s);
		batch_clear(&b);
	} while (*ret_rc > 0);
	batch_done(&b);
	return n - 1;
}

static int
slow_commit(struct disk *disk)
{
	(void)disk;
	usleep(50000);
	return 0;
}

/* Puts records until a checkpoint is due, and makes it; how many those were. */
static unsigned
until_due(struct store *s, unsigned from)
{
	static char value[3000];
	struct batch b = { 0 };
	uint64_t synced;
	unsigned n = 0;
	char key[16];

	memset(value, 'v', sizeof value - 1);
	while (!diskstore_due(s) && n < 100000) {
		sprintf(key, "d%07u", from + n++);
		batch_put(&b, text(key), text(value));
		apply(s, &b, 0);
		batch_clear(&b);
	}
	store_sync(s, &synced);
	store_checkpoint(s);
	batch_done(&b);
	return n;
}

/* A checkpoint is due when it would be short: the slower the disk, the sooner, within bounds. */
static void
test_due(void)
{
	struct disk slow = *disk_system();
	struct diskstore_config config = small_config(NULL);
	struct store *s = NULL;
	unsigned first, later = 0, many = 0;
	char path[1024];

	config.segment_size = 16 << 20;
	config.map_size = 1 << 30;
	slow.commit = slow_commit;
	config.disk = &slow;
	clean("s");
	diskstore_open(path_of(path, "s", ""), &config, &s);
	first = until_due(s, 0);
	for (unsigned i = 0; i < 3; i++)
		later = until_due(s, many += 10000);
	ok(first > 300 && first < 3000 && !diskstore_due(s), "a checkpoint is due after %u records", first);
	ok(later <= first * 5 / 4 && later > 300, "and on a slow disk after no more: %u", later);
	store_close(s);
}

/* Records leave free pages behind, which are space too. */
static void
test_full_records(void)
{
	struct diskstore_config config = small_config(NULL);
	struct store *s = NULL;
	struct batch b = { 0 };
	char path[1024];
	unsigned n, again;
	int64_t rc;

	config.capacity = 4 << 20;
	clean("s");
	diskstore_open(path_of(path, "s", ""), &config, &s);
	n = fill_records(s, &rc);
	ok(rc == -ENOSPC && n > 300, "%u records fill it", n);
	batch_delete_range(&b, text("r"), text("s"));
	ok(apply(s, &b, STORE_FREES) > 0, "all are removed");
	again = fill_records(s, &rc);
	ok(again >= n * 8 / 10, "and %u find room again", again);
	ok(store_close(s) == 0 && diskstore_check(path_of(path, "s", ""), &config) == 0, "the check finds nothing wrong");
	batch_done(&b);
}

static void
test_segments(void)
{
	struct store *s;
	struct batch b = { 0 };
	uint8_t id[ID_SIZE];
	struct block_ref *ref;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct diskstore_config config = small_config(NULL);
	uint8_t byte;
	int before, rc;
	uint64_t synced;
	bool good = true;

	clean("s");
	s = open_small("s", NULL);
	for (uint64_t n = 0; n < BLOCKS; n++)
		put_large(s, n, LARGE);
	before = segments("s");
	block_id(id, 0);
	store_block_find(s, id, &ref);
	for (uint64_t n = 0; n < BLOCKS; n++) {
		block_id(id, n);
		if (n % 8 != 7)
			batch_block_free(&b, id);
	}
	apply(s, &b, STORE_FREES);
	store_checkpoint(s);
	store_sync(s, &synced);
	ok(segments("s") < before - 5, "dead segments are freed: %d of %d are left", segments("s"), before);
	ok(store_block_read(ref, 0, 1, &byte) == 0, "but not one that is being read");
	store_block_put_ref(ref);
	before = segments("s");
	while ((rc = diskstore_compact(s, &lock, 60, 2 * LARGE)) == 1)
		;
	store_checkpoint(s);
	store_sync(s, &synced);
	ok(rc == 0 && segments("s") < before, "compaction empties sparse ones: %d of %d are left", segments("s"), before);
	for (uint64_t n = 7; n < BLOCKS; n += 8)
		good &= holds_block(s, n, LARGE);
	ok(good, "and moves their blocks");
	store_close(s);
	s = open_small("s", NULL);
	for (uint64_t n = 7; n < BLOCKS; n += 8)
		good &= holds_block(s, n, LARGE);
	ok(good, "durably");
	store_close(s);
	ok(diskstore_check(path_of((char[1024]){ 0 }, "s", ""), &config) == 0, "the check finds nothing wrong");
	batch_done(&b);
}

struct crew {
	struct store	*s;
	pthread_mutex_t	 lock;
	atomic_bool	 stop;
	atomic_uint	 bad;
	atomic_uint	 next;
};

static void *
crew_sync(void *arg)
{
	struct crew *c = arg;
	uint64_t synced;

	while (!atomic_load(&c->stop)) {
		if (store_sync(c->s, &synced) != 0)
			atomic_fetch_add(&c->bad, 1);
		if (diskstore_compact(c->s, &c->lock, 50, 4 * LARGE) < 0)
			atomic_fetch_add(&c->bad, 1);
	}
	return NULL;
}

/* Puts a block, reads it back and frees the one before. */
static void *
crew_work(void *arg)
{
	struct crew *c = arg;
	uint64_t last = 0, pos;
	struct batch b = { 0 };
	uint8_t id[ID_SIZE], *got = malloc(LARGE);

	for (unsigned n; (n = 1 + atomic_fetch_add(&c->next, 1)) < 600;) {
		struct block_ticket *ticket = NULL;
		struct block_ref *ref = NULL;
		uint8_t *data = block_bytes(n, LARGE);
		int rc;

		block_id(id, n);
		pthread_mutex_lock(&c->lock);
		rc = store_block_reserve(c->s, id, LARGE, 0, &ticket);
		pthread_mutex_unlock(&c->lock);
		if (rc == 0)
			rc = store_block_write(ticket, data);
		pthread_mutex_lock(&c->lock);
		rc = rc != 0 ? rc : store_block_finish(ticket, true, &pos);
		rc = rc != 0 ? rc : store_block_find(c->s, id, &ref);
		if (last != 0) {
			block_id(id, last);
			batch_block_free(&b, id);
			rc = rc != 0 ? rc : store_apply(c->s, &b, STORE_FREES, &pos);
			batch_clear(&b);
		}
		if (n % 50 == 0)
			rc = rc != 0 ? rc : store_checkpoint(c->s);
		pthread_mutex_unlock(&c->lock);
		rc = rc != 0 ? rc : store_block_read(ref, 0, LARGE, got);
		if (rc != 0 || memcmp(got, data, LARGE) != 0)
			atomic_fetch_add(&c->bad, 1);
		store_block_put_ref(ref);
		free(data);
		last = n % 5 == 0 ? 0 : n;
	}
	batch_done(&b);
	free(got);
	return NULL;
}

static void
test_threads(void)
{
	struct crew c = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct diskstore_config config = small_config(NULL);
	pthread_t sync, workers[3];
	unsigned missing = 0;

	clean("s");
	c.s = open_small("s", NULL);
	pthread_create(&sync, NULL, crew_sync, &c);
	for (int i = 0; i < 3; i++)
		pthread_create(&workers[i], NULL, crew_work, &c);
	for (int i = 0; i < 3; i++)
		pthread_join(workers[i], NULL);
	atomic_store(&c.stop, true);
	pthread_join(sync, NULL);
	for (uint64_t n = 5; n < 600; n += 5)
		missing += !holds_block(c.s, n, LARGE);
	ok(c.bad == 0 && missing == 0, "threads write, read, free, sync and compact");
	ok(store_close(c.s) == 0, "closed");
	ok(diskstore_check(path_of((char[1024]){ 0 }, "s", ""), &config) == 0, "the check finds nothing wrong");
}

/* A process may be given less address space than the map would like to have. */
static void
test_little_address_space(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip("sanitizers need all there is", "a store opens in little address space");
#else
	struct diskstore_config config;
	struct rlimit old, limit;
	struct store *s = NULL;

	diskstore_config_init(&config);
	config.create = true;
	getrlimit(RLIMIT_AS, &old);
	limit = (struct rlimit){ (rlim_t)16 << 30, old.rlim_max };
	setrlimit(RLIMIT_AS, &limit);
	ok(diskstore_open(clean("s"), &config, &s) == 0, "a store opens in little address space");
	conform(s, "in little address space");
	ok(store_close(s) == 0, "and closes");
	setrlimit(RLIMIT_AS, &old);
#endif
}

int
main(void)
{
	script_begin();
	test_conform();
	test_little_address_space();
	test_script();
	test_random();
	test_space();
	test_full_unopened();
	test_little_room_to_open();
	test_full_opens();
	test_full();
	test_full_records();
	test_due();
	test_segments();
	test_threads();
	return script_end();
}
