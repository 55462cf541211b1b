/*
 * listen.h - the sockets that clients connect to.
 */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "server/settings.h"

struct home;
struct sockaddr_un;

#define LISTEN_SOCKET "nuaged.sock"

enum { LISTEN_SOCKETS = SETTINGS_LISTEN_MAX * 4 + 1 };

struct listener {
	int		fds[LISTEN_SOCKETS];
	unsigned	count;
};

/*
 * Binds what the configuration names, or all interfaces (IPv6 and IPv4):
 * ADDR:PORT, where ADDR is a name, an address, one in brackets, or nothing
 * for all; unix:/PATH; or "none".  And DIR/nuaged.sock, for the data
 * directory's owner alone: the caller owns the store's lock.  false after it said on stderr what is wrong.
 */
bool	listen_open(struct listener *l, const struct settings *config, const struct home *home);
void	listen_close(struct listener *l);
void	listen_local_unlink(const struct home *home);	/* the end of that one */

/*
 * A Unix socket in a directory that is open, whose path may be longer than a
 * socket's: what to connect to, whether somebody answers there, and listening,
 * made anew (the descriptor or a negative errno; sets the umask for a moment).
 */
void	listen_address_beside(int dir, const char *name, struct sockaddr_un *to);
bool	listen_probe(int dir, const char *name);
int	listen_beside(int dir, const char *name, mode_t mode);
/* The next connection of a socket that is ready, and its peer's address as text; or a negative errno. */
int	listen_accept(int fd, char *peer, size_t size);
/*
 * An address that clients may reach this server by, for invitations: the
 * configured one, that listened on if it names a host, or this machine's.
 */
void	listen_advertise(const struct settings *config, char *text, size_t size);
/* "ADDR:PORT" of a bound socket. */
void	listen_name(int fd, char *text, size_t size);

#endif
