/*
 * resolve.c - see resolve.h.
 *
 * A lookup has two references, the caller's and the thread's; who drops the
 * second frees it.  The thread writes the result, then sets `done`, then makes
 * `done_fd` readable; the caller reads the result only if `done` is set.
 */
#include "fs/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/clock.h"

struct lookup {
	atomic_int	 refs;
	atomic_bool	 done;
	int		 done_fd;
	int		 error;		/* of getaddrinfo() */
	struct addrinfo	*list;
	char		*host, *port;
};

static const struct addrinfo any_stream = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };

static void
lookup_put(struct lookup *l)
{
	if (atomic_fetch_sub(&l->refs, 1) > 1)
		return;
	if (l->done_fd >= 0)
		close(l->done_fd);
	if (l->list != NULL)
		freeaddrinfo(l->list);
	free(l->host);
	free(l->port);
	free(l);
}

static void *
lookup_main(void *argument)
{
	struct lookup *l = argument;

	l->error = getaddrinfo(l->host, l->port, &any_stream, &l->list);
	l->done = true;
	eventfd_write(l->done_fd, 1);
	lookup_put(l);
	return NULL;
}

static struct lookup *
lookup_start(const char *host, const char *port)
{
	struct lookup *l = calloc(1, sizeof *l);
	pthread_t thread;

	if (l == NULL)
		return NULL;
	atomic_init(&l->refs, 2);
	l->done_fd = eventfd(0, EFD_CLOEXEC);
	l->host = strdup(host);
	l->port = strdup(port);
	if (l->done_fd >= 0 && l->host != NULL && l->port != NULL &&
	    pthread_create(&thread, NULL, lookup_main, l) == 0) {
		pthread_detach(thread);
		return l;
	}
	l->refs = 1;
	lookup_put(l);
	return NULL;
}

int
resolve(const char *host, const char *port, int cancel_fd, struct addrinfo **ret)
{
	struct addrinfo numbers = any_stream;
	struct lookup *l;
	int r;

	numbers.ai_flags |= AI_NUMERICHOST;
	if (getaddrinfo(host, port, &numbers, ret) == 0)
		return 0;
	l = lookup_start(host, port);
	if (l == NULL)
		return -ENOMEM;
	r = resolve_wait(l->done_fd, POLLIN, clock_ms(CLOCK_MONOTONIC) + RESOLVE_MS, cancel_fd);
	if (r == -ETIMEDOUT || (r == 0 && (!l->done || l->error != 0)))
		r = -ENXIO;
	if (r == 0) {
		*ret = l->list;
		l->list = NULL;
	}
	lookup_put(l);
	return r;
}

int
resolve_wait(int fd, short events, uint64_t deadline_ms, int cancel_fd)
{
	struct pollfd p[] = { { .fd = fd, .events = events }, { .fd = cancel_fd, .events = POLLIN } };
	uint64_t now;
	int r, left = -1;

	for (;;) {
		if (deadline_ms != 0) {
			now = clock_ms(CLOCK_MONOTONIC);
			left = now >= deadline_ms ? 0 : (int)(deadline_ms - now);
		}
		r = poll(p, 2, left);	/* passes over a negative fd */
		if (r > 0)
			return p[1].revents != 0 ? -ECANCELED : 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}
