/* event.c - see event.h. */
#include "server/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum event_level event_level = EVENT_INFO;

static const char *const names[] = { "error", "warning", "info", "debug" };

void
event_set_level(enum event_level level)
{
	event_level = level;
}

int
event_level_parse(const char *name, enum event_level *ret_level)
{
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret_level = i;
			return 0;
		}
	return -EINVAL;
}

bool
event_enabled(enum event_level level)
{
	return level <= event_level;
}

void
event_log(enum event_level level, const char *format, ...)
{
	char line[1024], when[32];
	struct timespec now;
	struct tm tm;
	size_t len;
	va_list ap;

	if (level > event_level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	len = snprintf(line, sizeof line, "time=%s.%03ldZ level=%s ", when, now.tv_nsec / 1000000, names[level]);
	va_start(ap, format);
	vsnprintf(line + len, sizeof line - len, format, ap);
	va_end(ap);
	/* What came from a peer must not begin a line of its own. */
	for (char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	len = strlen(line);
	if (len == sizeof line - 1)
		len--;
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}
