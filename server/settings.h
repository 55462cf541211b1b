/*
 * settings.h - nuaged.conf(5) and the options that go over it.
 *
 * The file has lines `key = value`; blank lines and those that begin with #
 * are passed over.  What is wrong is said on stderr with file and line.
 */
#ifndef SERVER_SETTINGS_H
#define SERVER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/event.h"

enum { SETTINGS_LISTEN_MAX = 16, SETTINGS_PORT = 7440, SETTINGS_ADMIT_MAX = 32 };

struct settings {
	char		*data;				/* directory; NULL until given */
	char		*listen[SETTINGS_LISTEN_MAX];	/* ADDR:PORT */
	unsigned	 listen_count;
	char		*address;			/* HOST:PORT put into invitations, or NULL */
	char		*door;				/* directory (door.h), or NULL */
	char		*admit[SETTINGS_ADMIT_MAX];	/* there: USER, @GROUP or * */
	unsigned	 admit_count;
	uint32_t	 term_ms, skew_ms, block_delay_ms, sessions_max, connections_max;
	uint64_t	 reserve_bytes, capacity_bytes;
	uint32_t	 segment_bytes;
	uint32_t	 idle_s;			/* without a connection, then it ends; 0: never */
	enum event_level log_level;
};

void	settings_init(struct settings *c);		/* the defaults; zero leaves one to its room */
void	settings_done(struct settings *c);
/* false after it said on stderr what is wrong. */
bool	settings_load(struct settings *c, const char *path);
/* One key, as a line of the file would set it; false and a sentence in why[]. */
bool	settings_set(struct settings *c, const char *key, const char *value, char *why, unsigned size);

#endif
