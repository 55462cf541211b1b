/*
 * ssh.h - a connection to a nuaged by way of SSH.
 *
 * Connects as ~/.ssh/config says, checks the host's key, logs in, and runs
 * `nuaged bridge` there; what that says first is read, and then a stream
 * carries what it carries.  Every link has an SSH connection of its own: a
 * server that allows one session for each (MaxSessions 1) is enough,
 * control does not queue behind blocks, and several cores can seal.
 */
#ifndef FS_SSH_H
#define FS_SSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/ssh_place.h"
#include "proto/limits.h"

enum { SSH_ANSWER_ADDRESS = 256 };

struct stream;

/* What the far side's bridge says; see server/bridge.h. */
struct ssh_answer {
	/* Asked for. */
	bool		create;		/* make the store if there is none */
	bool		enroll;		/* a token to be redeemed by this device */
	bool		quiet;		/* ask nobody: -ENOKEY where one would have to be */
	bool		install;	/* copy a nuaged there if there is none (ssh_install.h) */
	/* The answer. */
	bool		lacking;	/* there is no nuaged, and one may be copied; -ENOEXEC */
	bool		absent;		/* there is no store; -ENOENT */
	uint8_t		server_key[KEY_SIZE];
	uint8_t		token[SECRET_SIZE];
	char		address[SSH_ANSWER_ADDRESS];	/* where it listens, as it thinks */
	char		host[SSH_HOST];		/* where SSH connected to, if not by a proxy; else empty */
};

/*
 * `url` as ssh_place.h has it.  A negative errno and a sentence; besides those of
 * connecting -EACCES: the host's key, or we, are not accepted; -ENOKEY: somebody
 * had to be asked and nobody was there; -ENOENT: see absent.
 */
int	ssh_open(struct stream **ret, const char *url, int cancel_fd, struct ssh_answer *answer, char *why, size_t size);

#endif
