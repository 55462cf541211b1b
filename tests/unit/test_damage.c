/*
 * test_damage.c - a store one of whose bytes was changed never crashes and never answers wrongly.
 *
 * NUAGE_SLOW=1 opens the store for every changed byte, not for a sample.
 */
#include "tests/unit/store_script.h"

/* Opens a store one of whose bytes was changed: all it answers is right, or an error. */
static bool
flip_harmless(struct store *model, bool whole)
{
	struct store *s = open_small("s", NULL);
	struct bytes a, b;
	char key[8];
	bool good = true;

	if (s == NULL)
		return reported > 0;
	for (int i = 0; i < 50 && whole; i++) {
		int rc, want;

		sprintf(key, "k%02d", i);
		want = store_get(model, text(key), &b);
		rc = store_get(s, text(key), &a);
		good &= (rc == want && (rc != 0 || bytes_same(a, b))) || rc == -EBADMSG;
	}
	for (uint64_t n = 0; n < STEPS; n++) {
		uint8_t id[ID_SIZE], got[3000], *data = block_bytes(n, 3000);
		struct block_ref *ref;

		block_id(id, n);
		if (store_block_find(s, id, &ref) == 0) {
			int rc = store_block_read(ref, 0, 3000, got);

			good &= rc == -EIO || (rc == 0 && memcmp(got, data, 3000) == 0);
			store_block_put_ref(ref);
		} else
			good &= !whole || store_block_exists(model, id) != 1;
		free(data);
	}
	if (!whole)
		good &= is_prefix(s, 10, false);
	store_close(s);
	return good;
}

/* Changes every byte of a file of the store in "t", one at a time. */
static void
flip_file(const char *name, struct store *model, bool whole)
{
	bool records = strcmp(name, "records.mdb") == 0, slow = getenv("NUAGE_SLOW") != NULL;
	unsigned bad = 0, refused = 0, opened = 0;
	char from[1024], path[1024];
	struct stat st;
	off_t step;

	copy("t", "s");
	stat(path_of(from, "t", name), &st);
	path_of(path, "s", name);
	/* The check of the records is cheap and sees every byte; the whole store is opened for a sample. */
	step = slow || records ? 1 : 1 + st.st_size / 400;
	for (off_t at = slow ? 0 : (off_t)(seed % (uint64_t)step); at < st.st_size; at += step) {
		struct kvcheck_result damage = { 0 };
		uint8_t byte = 0;
		int fd = open(path, O_RDWR);

		if (pread(fd, &byte, 1, at) != 1)
			abort();
		byte ^= (uint8_t)(1 << at % 8);
		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
		reported = 0;
		if (records)
			kvcheck(path, count_report, NULL, &damage);
		if (damage.structure + damage.values > 0) {
			refused++;
			byte ^= (uint8_t)(1 << at % 8);
			if (pwrite(fd, &byte, 1, at) != 1)
				abort();
			close(fd);
			continue;
		}
		close(fd);
		if (records && !slow && at % 101 != 0 && at > 300) {
			copy_file(from, path);
			continue;
		}
		opened++;
		if (!flip_harmless(model, whole)) {
			printf("# %s: byte %ld\n", name, (long)at);
			bad++;
		}
		copy("t", "s");
	}
	ok(bad == 0, "a changed byte in %s (%ld bytes, %u refused, %u opened): never wrong data", name, (long)st.st_size,
	    refused, opened);
}

static void
test_flips(void)
{
	struct store *s, *model = memstore_new(0);
	char path[1024];
	struct dirent *e;
	DIR *dir;

	for (int clean_close = 1; clean_close >= 0; clean_close--) {
		clean("t");
		s = open_small("t", NULL);
		script(s, 15);
		if (clean_close) {
			script(model, 15);
			store_close(s);
		} else
			diskstore_abandon(s);
		dir = opendir(path_of(path, "t", ""));
		while ((e = readdir(dir)) != NULL)
			if (strncmp(e->d_name, "log.", 4) == 0 || strcmp(e->d_name, "records.mdb") == 0)
				flip_file(e->d_name, model, clean_close);
		closedir(dir);
	}
	store_close(model);
}

/* Damage is found by the check, by name. */
static void
test_check(void)
{
	struct diskstore_config config = small_config(NULL);
	struct store *s;
	char path[1024], dir[1024];
	int fd, found;

	clean("s");
	s = open_small("s", NULL);
	put_large(s, 1, LARGE);
	put_large(s, 2, LARGE);
	put(s, "a", "1");
	store_close(s);
	config.create = false;
	path_of(dir, "s", "");
	ok(diskstore_check(dir, &config) == 0, "nothing is wrong");
	fd = open(path_of(path, "s", "log.0000000000000001"), O_RDWR);
	if (pwrite(fd, "!", 1, 5000) != 1)
		abort();
	found = diskstore_check(dir, &config);
	ok(found == 1 && strstr(last_report, "block ") != NULL, "a damaged block is found: %s", last_report);
	s = open_small("s", NULL);
	ok(s != NULL && holds_block(s, 2, LARGE) && !holds_block(s, 1, LARGE) && holds(s, "a", "1"), "and costs no other");
	store_close(s);
	close(fd);
	clean("s");
	ok(diskstore_check(dir, &config) == -ENOENT, "no store is an error");
}

/* A record's value rots: told by name, and on request the rest can still be read. */
static void
test_accept(void)
{
	struct diskstore_config config = small_config(NULL);
	struct store *s = NULL;
	uint8_t data[65536];
	char path[1024];
	struct bytes value;
	ssize_t n;
	int fd;

	clean("s");
	s = open_small("s", NULL);
	put(s, "good", "unharmed");
	put(s, "rotten", "precious");
	store_close(s);
	fd = open(path_of(path, "s", "records.mdb"), O_RDWR);
	n = pread(fd, data, sizeof data, 0);
	for (ssize_t at = 0; at + 8 <= n; at++)
		if (memcmp(data + at, "precious", 8) == 0 && pwrite(fd, "P", 1, at) != 1)
			abort();
	close(fd);
	ok(open_small("s", NULL) == NULL && strstr(last_report, "6b726f7474656e") != NULL,
	    "a rotten value is refused by name: %s", last_report);
	config.accept_damage = true;
	ok(diskstore_open(path_of(path, "s", ""), &config, &s) == 0 && holds(s, "good", "unharmed") &&
	    store_get(s, text("rotten"), &value) == -EBADMSG, "unless it is accepted: then only it cannot be read");
	ok(put(s, "rotten", "new") > 0 && holds(s, "rotten", "new") && store_close(s) == 0, "and it can be replaced");
	s = open_small("s", NULL);
	ok(s != NULL, "after which nothing is wrong any more");
	store_close(s);
}

/* Records full of garbage: the check must see it, and must not be hurt by it. */
static void
test_garbage(void)
{
	uint64_t start = seed, rng = seed;
	struct kvcheck_result damage;
	uint8_t *data = malloc(1 << 20);
	char from[1024], path[1024];
	unsigned passed = 0;
	struct store *s;
	ssize_t n;
	int fd;

	clean("t");
	clean("s");
	s = open_small("t", NULL);
	script(s, 15);
	store_close(s);
	fd = open(path_of(from, "t", "records.mdb"), O_RDONLY);
	n = pread(fd, data, 1 << 20, 0);
	close(fd);
	path_of(path, "s", "records.mdb");
	for (int round = 0; round < 3000; round++) {
		copy_file(from, path);
		fd = open(path, O_RDWR);
		for (unsigned k = 1 + random_next(&rng) % 4; k > 0; k--) {
			static const uint8_t odd[][8] = { { 0 }, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, { 1 },
				{ 0x10 }, { 0, 0x10 }, { 0xfe, 0xff } };
			/* Most often in the first bytes of a page, where its structure is. */
			uint64_t page = random_next(&rng) % (uint64_t)(n / 4096) * 4096;
			uint64_t at = page + random_next(&rng) % (random_next(&rng) % 4 ? 160 : 4088);

			if (pwrite(fd, random_next(&rng) % 2 ? odd[random_next(&rng) % 6] : data + random_next(&rng) % (uint64_t)(n - 8),
			    1 + random_next(&rng) % 8, (off_t)at) < 1)
				abort();
		}
		close(fd);
		damage = (struct kvcheck_result){ 0 };
		if (kvcheck(path, count_report, NULL, &damage) == 0 && damage.structure + damage.values == 0)
			passed++;
	}
	ok(passed > 0 && passed < 2500, "garbage in the records: %u of 3000 harmless (NUAGE_SEED=%" PRIu64 ")", passed, start);
	free(data);
}

int
main(void)
{
	script_begin();
	test_check();
	test_accept();
	test_garbage();
	test_flips();
	return script_end();
}
