/* test_conflicts.c - a list of conflicts outlives crashes, full disks and names of any kind. */
#include "fs/conflicts.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/scratch.h"
#include "tests/tap.h"

static char directory[256], file[300];
static unsigned told;

static void
added(const char *path)
{
	(void)path;
	told++;
}

static int
add(const char *one, const char *other)
{
	const char *const paths[] = { one, other };

	told = 0;
	return conflicts_add(file, paths, other == NULL ? 1 : 2, added);
}

/* A star behind each. */
static void
collect(void *context, const char *path)
{
	char *text = context;

	strcat(strcat(text, path), "*");
}

static bool
lists(const char *wanted)
{
	char text[4096] = "";

	return conflicts_each(file, collect, text) == 0 && strcmp(text, wanted) == 0;
}

static void
append(const char *bytes, size_t len)
{
	int fd = open(file, O_WRONLY | O_APPEND);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		tap_report(false, __FILE__, __LINE__, "what a crash left");
	close(fd);
}

int
main(void)
{
	struct rlimit limit;
	struct stat before, after;
	int r;

	if (!ok(mkdtemp(scratch(directory, sizeof directory, "conflicts")) != NULL, "a directory"))
		return tap_done();
	snprintf(file, sizeof file, "%s/conflicts", directory);
	ok(lists(""), "nothing is listed at first");
	ok(add("/a (conflict x)", "/b (conflict x)") == 0 && told == 2 && lists("/a (conflict x)*/b (conflict x)*"), "two copies");
	ok(add("/b (conflict x)", "/c (conflict x)") == 0 && told == 1 &&
	    lists("/a (conflict x)*/b (conflict x)*/c (conflict x)*"), "what an attempt before had listed is so once");

	append("/d (conf", 8);
	ok(lists("/a (conflict x)*/b (conflict x)*/c (conflict x)*"), "the beginning of a line is none");
	ok(add("/d (conflict x)", NULL) == 0 && told == 1 &&
	    lists("/a (conflict x)*/b (conflict x)*/c (conflict x)*/d (conflict x)*"), "nor does the next one run on from it");
	append("\0\0\0\0", 4);
	ok(add("/e (conflict x)", NULL) == 0 &&
	    lists("/a (conflict x)*/b (conflict x)*/c (conflict x)*/d (conflict x)*/e (conflict x)*"),
	    "nor from what was not written yet when the power failed");

	unlink(file);
	ok(add("/a\n/etc (conflict x)", "/a\\n (conflict x)") == 0 && told == 2 &&
	    lists("/a\n/etc (conflict x)*/a\\n (conflict x)*"), "a name may have a newline in it");
	ok(add("/a\n/etc (conflict x)", "/a\\n (conflict x)") == 0 && told == 0, "and is known again");

	signal(SIGXFSZ, SIG_IGN);
	stat(file, &before);
	getrlimit(RLIMIT_FSIZE, &limit);
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ (rlim_t)before.st_size + 4, limit.rlim_max });
	r = add("/f (conflict x)", "/g (conflict x)");
	setrlimit(RLIMIT_FSIZE, &limit);
	ok(r < 0 && told == 0, "without room nothing is added");
	ok(stat(file, &after) == 0 && after.st_size == before.st_size && lists("/a\n/etc (conflict x)*/a\\n (conflict x)*"),
	    "and nothing is lost");
	unlink(file);
	rmdir(directory);
	return tap_done();
}
