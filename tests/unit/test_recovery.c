/* test_recovery.c - what is synced survives, in order, whatever fails. */
#include "tests/unit/store_script.h"

/* A reservation that is never finished does not stand in the way of anything. */
static void
test_unfinished(void)
{
	struct store *s;
	struct block_ticket *ticket;
	uint8_t id[ID_SIZE], *data = block_bytes(50, LARGE);
	uint64_t synced;

	clean("s");
	s = open_small("s", NULL);
	block_id(id, 50);
	store_block_reserve(s, id, LARGE, 0, &ticket);
	put(s, "a", "1");
	ok(store_sync(s, &synced) == 0 && synced >= store_end(s), "a sync does not wait for an unfinished block");
	store_block_write(ticket, data);
	diskstore_abandon(s);
	s = open_small("s", NULL);
	ok(s != NULL && holds(s, "a", "1") && holds_block(s, 50, 0), "what came after it survives, and it does not");
	store_close(s);
	free(ticket);
	free(data);
}

/* Every I/O call in turn is the last that works. */
static void
test_fail_each(void)
{
	unsigned n, bad = 0;
	bool finished = false;

	for (n = 1; !finished; n++) {
		struct faultdisk f;
		struct store *s;
		int durable = -1;

		clean("s");
		faultdisk_init(&f);
		f.fail_at = n;
		s = open_small("s", &f.disk);
		if (s != NULL) {
			durable = script(s, STEPS);
			if (f.calls >= n && (put(s, "x", "y") != -EIO || store_failed(s) == NULL)) {
				printf("# call %u failed and the store did not\n", n);
				bad++;
			}
			diskstore_abandon(s);
		}
		finished = f.calls < n;
		if (!survives(durable)) {
			printf("# after call %u failed\n", n);
			bad++;
		}
		faultdisk_done(&f);
	}
	ok(bad == 0 && n > 50, "any of %u I/O calls fails: the store stops, and holds all that was durable", n - 1);
}

/* The power fails at a random call, and unsynced writes are lost in part. */
static void
test_forgetful(void)
{
	unsigned bad = 0;

	for (int round = 0; round < 300; round++) {
		uint64_t start = seed, rng = seed++;
		struct faultdisk f;
		struct store *s;
		int durable = -1;

		clean("s");
		faultdisk_init(&f);
		f.remembers = true;
		f.fail_at = 1 + random_next(&rng) % 150;
		s = open_small("s", &f.disk);
		if (s != NULL) {
			durable = script(s, STEPS);
			diskstore_abandon(s);
		}
		faultdisk_forget(&f, &rng);
		if (!survives(durable)) {
			printf("# NUAGE_SEED=%" PRIu64 "\n", start);
			bad++;
		}
		faultdisk_done(&f);
	}
	ok(bad == 0, "a forgetful disk: what was synced is there, in order, and nothing else");
}

/* A log cut or overwritten at its end. */
static void
test_torn(void)
{
	char path[1024];
	struct store *s;
	struct stat st;
	unsigned bad = 0;
	int fd;

	clean("s");
	s = open_small("s", NULL);
	put(s, "step", "0");
	diskstore_abandon(s);	/* not even written */
	s = open_small("s", NULL);
	ok(s != NULL && holds(s, "step", NULL), "what was not synced may be lost");
	store_close(s);

	clean("t");
	s = open_small("t", NULL);
	script(s, 3);		/* ends with a sync */
	put(s, "step", "3");
	put(s, "tail", "1");
	holds_block(s, 1001, LARGE);
	diskstore_abandon(s);
	path_of(path, "t", "log.0000000000000001");
	stat(path, &st);
	for (off_t cut = 64; cut < 26000; cut += 97) {
		copy("t", "s");
		fd = open(path_of(path, "s", "log.0000000000000001"), O_RDWR);
		if (ftruncate(fd, cut) != 0)
			bad++;
		close(fd);
		s = open_small("s", NULL);
		/* Nothing after the cut says that what was cut had been durable. */
		if (s == NULL || !is_prefix(s, -1, true)) {
			printf("# cut at %ld\n", (long)cut);
			bad++;
		}
		store_close(s);
	}
	ok(bad == 0, "a log that is cut anywhere ends before the cut");
}

static void
test_damaged_log(void)
{
	struct store *s;
	uint64_t synced;
	char path[1024];
	int fd;

	clean("s");
	s = open_small("s", NULL);
	put(s, "a", "1");
	store_sync(s, &synced);
	put(s, "b", "1");
	store_sync(s, &synced);
	diskstore_abandon(s);
	fd = open(path_of(path, "s", "log.0000000000000001"), O_RDWR);
	if (pwrite(fd, "!", 1, 64 + 45) != 1)
		abort();
	close(fd);
	reported = 0;
	ok(open_small("s", NULL) == NULL && reported == 1 && strstr(last_report, "segment 0000000000000001 offset 64") != NULL,
	    "damage before something durable is named, not taken for the end: %s", last_report);
	unlink(path);
	ok(open_small("s", NULL) == NULL && strstr(last_report, "missing") != NULL, "so is a missing segment: %s", last_report);
	clean("s");
	s = open_small("s", NULL);
	put(s, "a", "1");
	store_close(s);
	unlink(path_of(path, "s", "records.mdb"));
	ok(open_small("s", NULL) == NULL && strstr(last_report, "records") != NULL, "so are missing records: %s", last_report);
}

/* The records go back to an older state, as a lost write of their meta page would make them. */
static void
test_gone_back(void)
{
	struct store *s;
	char from[1024], to[1024];

	clean("s");
	clean("t");
	s = open_small("s", NULL);
	script(s, STEPS / 2);
	store_checkpoint(s);
	copy_file(path_of(from, "s", "records.mdb"), path_of(to, "t", "records.mdb"));
	for (int i = STEPS / 2; i < STEPS; i++) {
		step_large(s, i);
		step_batch(s, i);
	}
	diskstore_abandon(s);
	copy_file(path_of(from, "t", "records.mdb"), path_of(to, "s", "records.mdb"));
	s = open_small("s", NULL);
	ok(s != NULL && is_prefix(s, STEPS / 2 - 1, true), "older records with their log");
	store_close(s);

	clean("s");
	s = open_small("s", NULL);
	put(s, "a", "1");
	store_checkpoint(s);
	copy_file(path_of(from, "s", "records.mdb"), path_of(to, "t", "records.mdb"));
	script(s, STEPS);
	store_close(s);
	copy_file(path_of(from, "t", "records.mdb"), path_of(to, "s", "records.mdb"));
	reported = 0;
	ok(open_small("s", NULL) == NULL && reported > 0, "older records without their log are refused: %s", last_report);
}

int
main(void)
{
	script_begin();
	compacting = true;
	test_unfinished();
	test_fail_each();
	test_forgetful();
	test_torn();
	test_damaged_log();
	test_gone_back();
	return script_end();
}
