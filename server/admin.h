/*
 * admin.h - how other programs of this machine ask a running daemon for something:
 * lines of text over Unix sockets.
 *
 *	invite <hash of the token, hex> <valid for, seconds>
 *	ok <address to print into the invitation>  |  error <sentence>
 *
 *	who
 *	ok <the server's key, hex> <its data directory>  |  error <sentence>
 *
 * One socket is in the data directory, which only its owner may enter.  The
 * other is at the door (door.h), for its guests: an invitation of theirs lives
 * ADMIN_GUEST_S at most, and who is not admitted hears an error, whatever he
 * asks.
 */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

#define ADMIN_SOCKET "admin.sock"

enum {
	ADMIN_POLLS	= 10,		/* what it waits for at most */
	ADMIN_GUEST_S	= 600,
};

struct admin;
struct daemon;
struct door;
struct home;

/* The sockets, made anew: the caller owns the store's lock.  A negative errno.  home and door are borrowed. */
int	admin_open(struct admin **ret, const struct home *home, const struct door *door);
void	admin_close(struct admin *a);		/* and removes them; NULL is fine */
/* What it waits for; the number. */
unsigned admin_poll(const struct admin *a, struct pollfd p[ADMIN_POLLS]);
/* And for how long at most, in milliseconds; -1: until one of them. */
int	admin_patience(const struct admin *a);
/* Does what can be done without waiting, and gives up on who dawdles. */
void	admin_serve(struct admin *a, struct daemon *d);

/*
 * Asks a running daemon by the socket that is in the directory home->fd.  0 with
 * its address, -ENOENT or -ECONNREFUSED when none runs; -EPROTO or -EIO with a
 * sentence in text[]; another negative errno.
 */
int	admin_invite(const struct home *home, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s,
	    char *text, size_t size);
/* The same; 0 with the data directory in text[]. */
int	admin_who(const struct home *home, uint8_t ret_key[KEY_SIZE], char *text, size_t size);

#endif
