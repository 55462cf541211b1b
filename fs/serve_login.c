/*
 * serve_login.c - see serve_login.h.  Questions come on the threads of the
 * shell's channels, one at a time (ssh_ask.h); the request's own thread looks on.
 * Lock: l->lock, for how an attempt that asked has ended.
 */
#include "fs/serve_login.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/lock.h"
#include "fs/shell.h"
#include "fs/ssh_ask.h"

enum { LOOK_MS = 50 };

struct login {
	pthread_mutex_t	 lock;
	int		 error;		/* of an attempt that asked; the first one counts */
	char		 why[CONTROL_LINE / 2];

	int		 fd;
};

static bool
has_failed(struct login *l)
{
	LOCK_SCOPE(&l->lock);
	return l->error < 0;
}

/* The command's answer, by way of locked memory. */
static int
hear_answer(int fd, char to[SSH_SECRET])
{
	static const char answer[] = "answer ";
	char *line = sodium_malloc(CONTROL_LINE);
	int r = -ENODATA;

	if (line == NULL)
		return -ENOMEM;
	if (control_hear(fd, line) && strncmp(line, answer, sizeof answer - 1) == 0 &&
	    strlen(line) - (sizeof answer - 1) < SSH_SECRET) {
		strcpy(to, line + sizeof answer - 1);
		r = 0;
	}
	sodium_free(line);
	return r;
}

static int
ask(void *context, const char *prompt, bool echo, char to[SSH_SECRET])
{
	struct login *l = context;
	char line[CONTROL_LINE / 2];
	size_t len;

	/* Another lane's attempt must not ask what the command has been told the end of. */
	if (has_failed(l))
		return -ENODATA;
	for (; strchr(prompt, '\n') != NULL; prompt += len + 1) {
		len = strcspn(prompt, "\n");
		snprintf(line, sizeof line, "%.*s", (int)len, prompt);
		control_say(l->fd, "say %s", line);
	}
	return control_say(l->fd, "ask %s %s", echo ? "shown" : "hidden", prompt) ? hear_answer(l->fd, to) : -ENODATA;
}

static void
over(void *context, int error, const char *why)
{
	struct login *l = context;

	LOCK_SCOPE(&l->lock);
	if (l->error == 0)
		snprintf(l->why, sizeof l->why, "%s", why);
	l->error = l->error == 0 ? error : l->error;
}

/* It may be a thief's or another's: what is said here is a secret. */
static bool
is_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static void
watch(struct login *l, struct shell *shell, const atomic_bool *stop)
{
	char trouble[256];
	struct engine_status status;
	struct shell_lanes lanes;
	unsigned failures;

	shell_lanes(shell, &lanes);
	failures = lanes.failures;
	while (!control_gone(l->fd) && !*stop) {
		shell_lanes(shell, &lanes);
		shell_status(shell, &status, trouble, sizeof trouble);
		if (lanes.up && status.attached) {
			control_say(l->fd, "ok");
			return;
		}
		if (has_failed(l)) {
			control_say(l->fd, "refused %s", l->why);
			return;
		}
		/* The first of either lane may have begun before there was somebody to ask. */
		if (lanes.failures - failures > 2 && trouble[0] != '\0') {
			control_say(l->fd, "unreachable %s", trouble);
			return;
		}
		usleep(LOOK_MS * 1000);
	}
}

void
serve_login(struct shell *shell, int fd, const atomic_bool *stop)
{
	struct login l = { .fd = fd };

	if (!is_ours(fd)) {
		control_say(fd, "refused only the user who mounted it may log in");
		return;
	}
	lock_init(&l.lock);
	if (ssh_ask_through(&(struct ssh_asker){ ask, over, &l }) < 0) {
		control_say(fd, "failed another nuage login is asking already");
	} else {
		shell_hurry(shell);
		watch(&l, shell, stop);
		shutdown(fd, SHUT_RDWR);	/* ends a question that is under way */
		ssh_ask_through(NULL);
	}
	pthread_mutex_destroy(&l.lock);
}
