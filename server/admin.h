/*
 * admin.h - how `nuaged invite` speaks to a running daemon: lines of text
 * over a Unix socket in the data directory, which only its owner may enter.
 *
 *	invite <hash of the token, hex> <valid for, seconds>
 *	ok <address to print into the invitation>  |  error <sentence>
 */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

struct daemon;
struct home;

/* The listening socket, made anew: the caller owns the store's lock.  Or a negative errno. */
int	admin_listen(const struct home *home);
void	admin_unlink(const struct home *home);
/* Serves one waiting client; gives up on one that dawdles. */
void	admin_serve(int fd, struct daemon *d);
/*
 * Asks a running daemon.  0 with its address, -ENOENT or -ECONNREFUSED when
 * none runs, another negative errno with a sentence in address[].
 */
int	admin_invite(const struct home *home, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s,
	    char *address, size_t size);

#endif
