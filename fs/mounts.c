/* mounts.c - see mounts.h. */
#include "fs/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* \040 and the like. */
static void
unescape(char *text)
{
	char *to = text;
	unsigned c;

	for (char *at = text; *at != '\0'; to++) {
		if (at[0] == '\\' && sscanf(at + 1, "%3o", &c) == 1 && strlen(at) >= 4) {
			*to = (char)c;
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

/* The fields: id, parent, major:minor, root, directory, options; after a dash type, source and more. */
static bool
parse(char *line, struct mounts_entry *to)
{
	char *tail = strstr(line, " - fuse.nuage "), *save, *source, *directory = NULL;
	unsigned major, minor;

	if (tail == NULL || sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
		return false;
	*tail = '\0';
	source = strtok_r(tail + strlen(" - fuse.nuage "), " \n", &save);
	for (int i = 0; i < 5; i++)
		directory = strtok_r(i == 0 ? line : NULL, " ", &save);
	if (directory == NULL || source == NULL)
		return false;
	unescape(directory);
	unescape(source);
	*to = (struct mounts_entry){ directory, source, makedev(major, minor) };
	return true;
}

int
mounts_each(void (*each)(void *context, const struct mounts_entry *e), void *context)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct mounts_entry e;
	char *line = NULL;
	size_t size = 0;

	if (f == NULL)
		return -errno;
	while (getline(&line, &size, f) > 0)
		if (parse(line, &e))
			each(context, &e);
	free(line);
	fclose(f);
	return 0;
}

static void
look_for(void *context, const struct mounts_entry *e)
{
	const char **wanted = context;

	if (*wanted != NULL && strcmp(e->directory, *wanted) == 0)
		*wanted = NULL;
}

bool
mounts_has(const char *directory)
{
	const char *wanted = directory;

	return mounts_each(look_for, &wanted) < 0 || wanted == NULL;
}

bool
mounts_dead(const char *directory)
{
	int status = 0;
	pid_t pid, done = 0;

	/*
	 * A child, because a live mount may not answer for long, and nothing else
	 * can be given up.  Attributes the kernel may still remember.
	 */
	fflush(stdout);		/* or the child, as some runtimes have it, writes it too */
	pid = fork();
	if (pid == 0) {
		close_range(0, ~0U, 0);		/* or who reads our output waits for it */
		_exit(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == ENOTCONN);
	}
	for (int i = 0; pid > 0 && done == 0 && i < 30; i++) {
		done = waitpid(pid, &status, WNOHANG);
		if (done == 0)
			usleep(100 * 1000);
	}
	if (pid > 0 && done == 0) {
		kill(pid, SIGKILL);	/* it ends when the mount answers; init sees to it */
		return false;
	}
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}
