/*
 * ssh_session.h - what the rooms of one SSH connection share.
 *
 * The libssh2 session is never blocking.  It belongs to the thread that opens
 * it, and from ssh_pump_start() on to the pump's.
 */
#ifndef FS_SSH_SESSION_H
#define FS_SSH_SESSION_H

#include <libssh2.h>
#include <libssh2_sftp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/duct.h"
#include "fs/ssh_config.h"
#include "fs/ssh_place.h"
#include "fs/stream.h"

struct ssh {
	struct stream	 stream;	/* what the link knows of it */
	LIBSSH2_SESSION	*session;
	LIBSSH2_CHANNEL	*channel;
	bool		 restricted;	/* the login's shell is: scripts are nothing for it */
	bool		 had_channel;	/* this, or another before */
	int		 fd;		/* to the SSH server, or to a proxy's process */
	pid_t		 proxy;		/* 0: none */
	int		 cancel_fd;	/* while opening; -1: none */
	uint64_t	 deadline_ms;	/* while opening */
	struct ssh_place  place;
	struct ssh_config config;

	struct duct	*duct;		/* between the link and the pump */
	bool		 pumping;
	_Atomic bool	 strained;	/* by the pump's last look; see link_strained() */
	pthread_t	 pump;
};

/* Waits until the session can go on; 0, -ETIMEDOUT, -ECANCELED or another -errno. */
int	ssh_wait(struct ssh *s);
/* Repeats a libssh2 call until it has an outcome; r is that, or an error of waiting in *wait. */
#define SSH_DRIVE(r, wait, s, call)						\
	do									\
		(r) = (call);							\
	while ((r) == LIBSSH2_ERROR_EAGAIN && ((wait) = ssh_wait(s)) == 0)

/* Before keys are exchanged, and after (ssh_host.c); 0, or a negative errno and a sentence. */
int	ssh_host_prefer(struct ssh *s, char *why, size_t size);
int	ssh_host_check(struct ssh *s, char *why, size_t size);

/* Logs in; 0, or a negative errno and a sentence: -EACCES the server refuses, -ENOKEY somebody must be asked. */
int	ssh_auth(struct ssh *s, char *why, size_t size);
/* More time, for a person was asked. */
void	ssh_more_time(struct ssh *s);

/* Runs a command in s->channel, which is new then; 0, or a negative errno and a sentence. */
int	ssh_exec(struct ssh *s, const char *command, char *why, size_t size);

/* Starts the thread that carries bytes between channel and duct. */
int	ssh_pump_start(struct ssh *s);

#endif
