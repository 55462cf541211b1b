/* log.c - see log.h. */
#include "fs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static enum log_level log_level = LOG_AT_INFO;
static int log_fd = STDERR_FILENO;	/* -1: syslog */

int
log_open(const char *target, const char *name)
{
	int fd;

	if (target == NULL) {
		log_fd = STDERR_FILENO;
		return 0;
	}
	if (strcmp(target, "syslog") == 0) {
		openlog(name, LOG_PID, LOG_DAEMON);
		log_fd = -1;
		return 0;
	}
	fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	log_fd = fd;
	return 0;
}

void
log_set_level(enum log_level level)
{
	log_level = level;
}

void
log_say(enum log_level level, const char *format, ...)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	static const char *const word[] = { "error", "warning", "info", "debug" };
	char line[1024];
	size_t n = 0;
	va_list ap;
	int r;

	if (level > log_level)
		return;
	va_start(ap, format);
	if (log_fd < 0) {
		vsyslog(priority[level], format, ap);
	} else {
		struct timespec now;
		struct tm tm;

		clock_gettime(CLOCK_REALTIME, &now);
		if (log_fd != STDERR_FILENO && localtime_r(&now.tv_sec, &tm) != NULL)
			n = strftime(line, sizeof line, "%F %T ", &tm);
		r = snprintf(line + n, sizeof line - n, "nuage: %s: ", word[level]);
		n += (size_t)r;
		r = vsnprintf(line + n, sizeof line - n - 1, format, ap);
		n += r < 0 ? 0 : (size_t)r < sizeof line - n - 1 ? (size_t)r : sizeof line - n - 2;
		line[n++] = '\n';
		/* One write a line, so that lines of several threads do not mix. */
		if (write(log_fd, line, n) < 0)
			n = 0;
	}
	va_end(ap);
}
