/* listen.c - see listen.h. */
#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/home.h"

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
	/* getaddrinfo() takes 65537 for 1. */
	return **ret_port != '\0' && ((*ret_port)[strspn(*ret_port, "0123456789")] != '\0' ||
	    (strlen(*ret_port) <= 5 && strtoul(*ret_port, NULL, 10) <= UINT16_MAX));
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

/* A socket whose path is left from before is taken over, unless somebody answers there. */
static int
bind_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, probe, r = 0;
	struct stat st;

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (struct sockaddr *)&address, sizeof address) == 0)
		r = -EADDRINUSE;
	if (probe >= 0)
		close(probe);
	fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return r < 0 ? r : -errno;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static bool
bind_path(struct listener *l, const char *path)
{
	int r = bind_unix(path);

	if (r >= 0)
		l->fds[l->count++] = r;
	else
		fprintf(stderr, "nuaged: cannot listen on unix:%s: %s\n", path, strerror(-r));
	return r >= 0;
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

/* By way of /proc: a socket's own path may have 107 bytes only. */
void
listen_address_beside(int dir, const char *name, struct sockaddr_un *to)
{
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s", dir, name);
}

bool
listen_probe(int dir, const char *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to;
	bool answers;

	listen_address_beside(dir, name, &to);
	answers = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
	if (fd >= 0)
		close(fd);
	return answers;
}

int
listen_beside(int dir, const char *name, mode_t mode)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	struct sockaddr_un address;
	mode_t mask;

	if (fd < 0)
		return -errno;
	listen_address_beside(dir, name, &address);
	unlinkat(dir, name, 0);
	mask = umask(0777 & ~mode);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
		error = errno;
	umask(mask);
	if (error == 0)
		return fd;
	close(fd);
	return -error;
}

void
listen_local_unlink(const struct home *home)
{
	unlinkat(home->fd, LISTEN_SOCKET, 0);
}

static bool
bind_local(struct listener *l, const struct home *home)
{
	int r = listen_beside(home->fd, LISTEN_SOCKET, 0600);

	if (r >= 0)
		l->fds[l->count++] = r;
	else
		fprintf(stderr, "nuaged: %s/%s: %s\n", home->path, LISTEN_SOCKET, strerror(-r));
	return r >= 0;
}

bool
listen_open(struct listener *l, const struct settings *config, const struct home *home)
{
	bool fine;

	l->count = 0;
	fine = bind_local(l, home);
	if (fine && config->listen_count == 0) {
		fine = bind_all(l, "[::]:7440", true);
		if (fine && l->count == 1)	/* no IPv6 here */
			fine = bind_all(l, "0.0.0.0:7440", false);
	}
	for (unsigned i = 0; i < config->listen_count && fine; i++)
		fine = strcmp(config->listen[i], "none") == 0 ? true :
		    strncmp(config->listen[i], "unix:", 5) == 0 ? bind_path(l, config->listen[i] + 5) :
		    bind_all(l, config->listen[i], false);
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

	if (address->ss_family == AF_UNIX)
		snprintf(text, size, "unix");
	else if (getnameinfo((const struct sockaddr *)address, len, host, sizeof host, port, sizeof port,
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

static bool
is_wildcard(const char *host)
{
	return *host == '\0' || strcmp(host, "*") == 0 || strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
}

/* The host's name if it means something, or the address that faces the world. */
static void
own_name(char *host, size_t size)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct sockaddr_in far = { .sin_family = AF_INET, .sin_port = htons(9) }, near;
	socklen_t len = sizeof near;
	int fd;

	if (gethostname(host, size) == 0 && getaddrinfo(host, NULL, &hints, &list) == 0) {
		freeaddrinfo(list);
		return;
	}
	snprintf(host, size, "localhost");
	far.sin_addr.s_addr = htonl(0xc0000201);	/* 192.0.2.1, RFC 5737: nothing is sent there */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&far, sizeof far) == 0 &&
	    getsockname(fd, (struct sockaddr *)&near, &len) == 0)
		getnameinfo((struct sockaddr *)&near, len, host, size, NULL, 0, NI_NUMERICHOST);
	if (fd >= 0)
		close(fd);
}

void
listen_advertise(const struct settings *config, char *text, size_t size)
{
	const char *listen = config->listen_count > 0 ? config->listen[0] : "[::]:7440";
	char *copy = strdup(listen), *host, *port, own[200] = "";

	if (config->address != NULL || copy == NULL || strncmp(listen, "unix:", 5) == 0 ||
	    strcmp(listen, "none") == 0 || !split(copy, &host, &port)) {
		snprintf(text, size, "%s", config->address != NULL ? config->address : listen);
	} else if (is_wildcard(host)) {
		own_name(own, sizeof own - 1);
		snprintf(text, size, "%s:%s", own, port);
	} else {
		snprintf(text, size, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
	}
	free(copy);
}
