/*
 * replay.c - runs one fuzz target over its committed corpus, without
 * libFuzzer: each input whole, then each of its beginnings.
 *
 * With arguments it runs these files instead, to look at a finding.
 */
#include <dirent.h>
#include <limits.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/tap.h"

enum { INPUT_MAX = 1 << 20, BEGINNINGS_MAX = 2048 };

/* A copy of exactly the input's size, so that a sanitizer sees the first byte behind it. */
static void
run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static bool
replay(const char *path)
{
	static uint8_t data[INPUT_MAX];
	FILE *f = fopen(path, "r");
	size_t size;

	if (f == NULL)
		return false;
	size = fread(data, 1, sizeof data, f);
	fclose(f);
	run(data, size);
	for (size_t len = 0; len < size && len < BEGINNINGS_MAX; len++)
		run(data, len);
	return true;
}

int
main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir");
	char path[PATH_MAX], dir[PATH_MAX];
	unsigned count = 0;
	bool all = true;
	DIR *d;

	for (int i = 1; i < argc; i++)
		ok(replay(argv[i]), "%s: %s", fuzz_target, argv[i]);
	if (argc > 1)
		return tap_done();
	snprintf(dir, sizeof dir, "%.2048s/tests/fuzz/corpus/%.64s", top == NULL ? "." : top, fuzz_target);
	if ((d = opendir(dir)) != NULL) {
		for (struct dirent *e; (e = readdir(d)) != NULL;) {
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%.2400s/%s", dir, e->d_name);
			all &= replay(path);
			count++;
		}
		closedir(d);
	}
	ok(all && count > 0, "%s: %u inputs are harmless", fuzz_target, count);
	return tap_done();
}
