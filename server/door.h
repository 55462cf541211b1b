/*
 * door.h - where users of this machine find a nuaged whose data directory they cannot enter.
 *
 * The data directory of a system's nuaged is closed to everybody else.  Its door
 * is a directory that all can enter, /run/nuage unless told otherwise, with two
 * sockets in it:
 *
 *	DOOR/admin.sock		who it is, and an invitation (admin.h)
 *	DOOR/nuaged.sock	serves, as that of the data directory does
 *
 * There is one only if the administrator admits somebody, by `admit` in
 * nuaged.conf(5).  Who is at the door the kernel says, as it was when he
 * connected: his user, his group and his other groups.  Neither names nor
 * groups are asked for again, so a user who has just come into a group is
 * admitted with his next login, as everywhere.
 *
 * Who is admitted may enrol devices, as somebody with an invitation may; what is
 * in a volume is open to its members alone.
 */
#ifndef SERVER_DOOR_H
#define SERVER_DOOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/settings.h"

#define DOOR_USUAL "/run/nuage"

struct door {
	int		 fd;		/* the directory; -1: there is no door */
	int		 serving;	/* DOOR/nuaged.sock */
	bool		 all;
	uid_t		 users[SETTINGS_ADMIT_MAX];
	gid_t		 groups[SETTINGS_ADMIT_MAX];
	unsigned	 user_count, group_count;
	char		 admitted[256];	/* what to say of who is; with an ellipsis if there are many */
};

/* Where it is, or would be. */
const char *door_path(const struct settings *config);
/* Nothing if nobody is admitted.  false after it said on stderr what is wrong. */
bool	door_open(struct door *d, const struct settings *config);
void	door_close(struct door *d);
/* Is the peer of this connection admitted?  And who is it (-1: unknown). */
bool	door_admits(const struct door *d, int fd, uid_t *ret_uid);

#endif
