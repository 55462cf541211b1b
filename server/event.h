/*
 * event.h - the daemon's log: one structured line an event, on stderr.
 *
 *	time=2026-01-31T12:00:00.123Z level=info event=attach volume=home ...
 *
 * A line is one write(2), so lines of several threads never mix.  Any thread.
 */
#ifndef SERVER_EVENT_H
#define SERVER_EVENT_H

#include <stdbool.h>

enum event_level { EVENT_ERROR, EVENT_WARNING, EVENT_INFO, EVENT_DEBUG };

/* Events above this level are dropped; once, before threads start. */
void	event_set_level(enum event_level level);
/* 0, or -EINVAL for a name that is no level. */
int	event_level_parse(const char *name, enum event_level *ret_level);
bool	event_enabled(enum event_level level);
/* `format` gives key=value pairs, the first of them event=. */
__attribute__((format(printf, 2, 3)))
void	event_log(enum event_level level, const char *format, ...);

#endif
