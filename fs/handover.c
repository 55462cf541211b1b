/*
 * handover.c - see handover.h.
 *
 * Who has the lock is asked where it is mounted, and /proc/mounts whether that
 * is still so: other homes may have mounted a volume of the same name.
 */
#include "fs/handover.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/mounts.h"

enum { MOST_MS = 30 * 1000, SAID_MS = 2 * 1000, STEP_MS = 100, SILENT_S = 5 };

/*
 * One that refuses to answer is just beginning or just ending; one that keeps
 * silent is stopped, and will go on: of that the directory stays empty.
 */
static bool
is_mounted(const char *path, char directory[CONTROL_LINE])
{
	const struct timeval patience = { .tv_sec = SILENT_S };
	int fd = control_ask(path, "status");
	char line[CONTROL_LINE];
	bool mounted = false;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	errno = 0;
	while (control_hear(fd, line) && strcmp(line, "ok") != 0)
		if (strncmp(line, "directory ", 10) == 0 && mounts_has(line + 10)) {
			snprintf(directory, CONTROL_LINE, "%s", line + 10);
			mounted = true;
		}
	mounted |= errno == EAGAIN;
	close(fd);
	return mounted;
}

int
handover(struct home *home, const struct home_volume *volume, void (*waiting)(void *context, const char *what),
    void *context, int *ret_fd, char *why, size_t size)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
	char socket[PATH_MAX], journal[PATH_MAX] = "", directory[CONTROL_LINE] = "";
	bool mounted = false;
	sigset_t set;
	int r = home_socket(home, volume->id, socket, sizeof socket);

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	for (unsigned ms = 0; r == 0 && (r = home_lock(home, volume->id, ret_fd)) == -EBUSY; ms += STEP_MS) {
		if ((mounted = is_mounted(socket, directory)) || ms >= MOST_MS || sigtimedwait(&set, NULL, &step) > 0)
			break;
		if (ms == SAID_MS)
			waiting(context, "its last mount still brings its changes to the server; waiting for it");
		r = 0;
	}
	if (r == -EBUSY && directory[0] != '\0')
		snprintf(why, size, "%s/%s is mounted already, on %s", volume->server, volume->name, directory);
	else if (r == -EBUSY)
		snprintf(why, size, "%s/%s %s; see nuage status", volume->server, volume->name, mounted ?
		    "is mounted already, by a process that does not answer" :
		    "is not free yet: its last mount still brings its changes to the server");
	else if (r < 0) {
		home_journal(home, volume->id, journal, sizeof journal);
		snprintf(why, size, "the volume's lock, beside its journal %s, cannot be taken: %s", journal, strerror(-r));
	}
	return r;
}
