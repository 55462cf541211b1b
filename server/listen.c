/* listen.c - see listen.h. */
#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128 };

/* Splits "HOST:PORT", "[HOST]:PORT", ":PORT" or "HOST" in place. */
static bool
split(char *text, char **ret_host, char **ret_port)
{
	static char port[] = "7440";
	char *colon = strrchr(text, ':'), *close = strrchr(text, ']');

	*ret_host = text;
	*ret_port = port;
	if (*text == '[') {
		if (close == NULL || (close[1] != '\0' && close[1] != ':'))
			return false;
		*ret_host = text + 1;
		*close = '\0';
		colon = close[1] == ':' ? close + 1 : NULL;
	} else if (colon != NULL && strchr(text, ':') != colon) {
		return false;		/* a bare IPv6 address: which colon is the port's? */
	}
	if (colon != NULL) {
		*colon = '\0';
		*ret_port = colon + 1;
	}
	return **ret_port != '\0';
}

/* A listening socket, or a negative errno. */
static int
bind_one(const struct addrinfo *ai, bool dual)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0, error;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual ? &off : &on, sizeof on);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* All addresses of one name; quiet about families the machine has not, if `lenient`. */
static bool
bind_all(struct listener *l, const char *text, bool lenient)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
	char *copy = strdup(text), *host, *port;
	unsigned had = l->count;
	int r = 0, failed;

	if (copy == NULL || !split(copy, &host, &port)) {
		fprintf(stderr, "nuaged: listen address '%s' is not ADDR:PORT\n", text);
		free(copy);
		return false;
	}
	failed = getaddrinfo(*host == '\0' || strcmp(host, "*") == 0 ? "::" : host, port, &hints, &list);
	for (struct addrinfo *ai = list; failed == 0 && ai != NULL && l->count < LISTEN_SOCKETS; ai = ai->ai_next) {
		r = bind_one(ai, strcmp(host, "::") == 0 || *host == '\0' || strcmp(host, "*") == 0);
		if (r >= 0)
			l->fds[l->count++] = r;
		else if (r == -EADDRINUSE || r == -EACCES)
			break;
	}
	if (list != NULL)
		freeaddrinfo(list);
	free(copy);
	if (l->count > had && r != -EADDRINUSE && r != -EACCES)
		return true;
	if (!lenient || r == -EADDRINUSE || r == -EACCES)
		fprintf(stderr, "nuaged: cannot listen on %s: %s\n", text,
		    failed != 0 ? gai_strerror(failed) : r < 0 ? strerror(-r) : "no address");
	return r == -EADDRINUSE || r == -EACCES ? false : lenient;
}

bool
listen_open(struct listener *l, const struct settings *config)
{
	bool fine = true;

	l->count = 0;
	if (config->listen_count == 0) {
		fine = bind_all(l, "[::]:7440", true);
		if (fine && l->count == 0)	/* no IPv6 here */
			fine = bind_all(l, "0.0.0.0:7440", false);
	}
	for (unsigned i = 0; i < config->listen_count && fine; i++)
		fine = bind_all(l, config->listen[i], false);
	if (!fine)
		listen_close(l);
	return fine;
}

void
listen_close(struct listener *l)
{
	while (l->count > 0)
		close(l->fds[--l->count]);
}

static void
name_of(const struct sockaddr_storage *address, socklen_t len, char *text, size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo((const struct sockaddr *)address, len, host, sizeof host, port, sizeof port,
	    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, size, "unknown");
	else
		snprintf(text, size, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

void
listen_name(int fd, char *text, size_t size)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof address;

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		len = 0;
	name_of(&address, len, text, size);
}

int
listen_accept(int fd, char *peer, size_t size)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof address;
	int client = accept4(fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC);

	if (client < 0)
		return -errno;
	name_of(&address, len, peer, size);
	return client;
}
