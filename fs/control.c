/* control.c - see control.h.  Lock: c->lock, for the number of requests being served. */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/lock.h"

enum { PATIENCE_S = 5 };	/* for a command that says nothing, or does not read: one that is stopped must not hold up the end */

struct control {
	pthread_mutex_t	 lock;
	pthread_cond_t	 served;
	unsigned	 serving;

	int		 fd;
	char		 path[PATH_MAX];
	bool		 hidden;
	void		(*serve)(void *context, int fd, const char *request);
	void		*context;
	pthread_t	 thread;
};

struct request {
	struct control	*control;
	int		 fd;
};

/* Calls bind() or connect() on a path of any length, by way of its directory's descriptor. */
static int
at_path(int (*call)(int, const struct sockaddr *, socklen_t), int fd, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char copy[PATH_MAX], copy2[PATH_MAX];
	int dir, r;

	if (strlen(path) >= sizeof copy)
		return -ENAMETOOLONG;
	strcpy(copy, path);
	strcpy(copy2, path);
	dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/%s", dir, basename(copy2)) >=
	    (int)sizeof un.sun_path)
		r = -ENAMETOOLONG;
	else
		r = call(fd, (struct sockaddr *)&un, sizeof un) < 0 ? -errno : 0;
	close(dir);
	return r;
}

bool
control_say(int fd, const char *format, ...)
{
	char line[CONTROL_LINE];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof line - 1, format, ap);
	va_end(ap);
	if (n < 0)
		return false;
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	/* A file's name may hold an end of line: what is behind it would be heard as another word. */
	for (char *at = line; (at = memchr(at, '\n', (size_t)(line + n - at))) != NULL;)
		*at = '?';
	line[n++] = '\n';
	for (int at = 0; at < n;) {
		ssize_t sent = send(fd, line + at, (size_t)(n - at), MSG_NOSIGNAL);

		if (sent < 0) {
			shutdown(fd, SHUT_RDWR);	/* what comes behind the gap would mislead, and wait in vain, too */
			return false;
		}
		at += (int)sent;
	}
	return true;
}

bool
control_gone(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

bool
control_hear(int fd, char *to)
{
	/* A byte at a time: lines are few, and nothing is read that is not asked for. */
	for (size_t n = 0; n < CONTROL_LINE; n++) {
		if (recv(fd, to + n, 1, 0) != 1)
			return false;
		if (to[n] == '\n') {
			to[n] = '\0';
			return true;
		}
	}
	return false;
}

/* seconds 0: without end. */
static void
be_patient(int fd, int option, long seconds)
{
	setsockopt(fd, SOL_SOCKET, option, &(struct timeval){ .tv_sec = seconds }, sizeof(struct timeval));
}

static void *
request_main(void *argument)
{
	struct request *r = argument;
	struct control *c = r->control;
	char line[CONTROL_LINE];
	bool heard;

	be_patient(r->fd, SO_SNDTIMEO, PATIENCE_S);
	be_patient(r->fd, SO_RCVTIMEO, PATIENCE_S);
	heard = control_hear(r->fd, line);
	be_patient(r->fd, SO_RCVTIMEO, 0);	/* a person may take her time */
	if (heard)
		c->serve(c->context, r->fd, line);
	close(r->fd);
	free(r);
	LOCK_SCOPE(&c->lock);
	c->serving--;
	pthread_cond_broadcast(&c->served);
	return NULL;
}

static void *
accept_main(void *argument)
{
	struct control *c = argument;
	struct request *r;
	pthread_t thread;
	int fd;

	for (;;) {
		fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EMFILE))
			continue;
		if (fd < 0)
			return NULL;		/* shut down */
		r = malloc(sizeof *r);
		if (r == NULL) {
			close(fd);
			continue;
		}
		*r = (struct request){ c, fd };
		{
			LOCK_SCOPE(&c->lock);
			c->serving++;
		}
		if (pthread_create(&thread, NULL, request_main, r) == 0) {
			pthread_detach(thread);
		} else {
			LOCK_SCOPE(&c->lock);
			c->serving--;
			close(fd);
			free(r);
		}
	}
}

int
control_listen(struct control **ret, const char *path,
    void (*serve)(void *context, int fd, const char *request), void *context)
{
	struct control *c = calloc(1, sizeof *c);
	int r = -ENOMEM;

	if (c == NULL)
		return r;
	lock_init(&c->lock);
	lock_cond_init(&c->served);
	c->serve = serve;
	c->context = context;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		r = -errno;
		goto out;
	}
	snprintf(c->path, sizeof c->path, "%s", path);
	unlink(c->path);
	r = at_path(bind, c->fd, c->path);
	if (r == 0 && chmod(c->path, 0600) < 0)
		r = -errno;
	if (r == 0 && listen(c->fd, 16) < 0)
		r = -errno;
	if (r == 0 && pthread_create(&c->thread, NULL, accept_main, c) != 0)
		r = -EAGAIN;
out:
	if (r < 0) {
		if (c->fd >= 0)
			close(c->fd);
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
control_hide(struct control *c)
{
	unlink(c->path);
	c->hidden = true;
}

void
control_free(struct control *c)
{
	if (c == NULL)
		return;
	if (!c->hidden)
		unlink(c->path);
	shutdown(c->fd, SHUT_RDWR);
	pthread_join(c->thread, NULL);
	close(c->fd);
	{
		LOCK_SCOPE(&c->lock);
		while (c->serving > 0)
			pthread_cond_wait(&c->served, &c->lock);
	}
	pthread_cond_destroy(&c->served);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int
control_ask(const char *path, const char *request)
{
	int r, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	r = at_path(connect, fd, path);
	if (r == 0 && !control_say(fd, "%s", request))
		r = -EPIPE;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
