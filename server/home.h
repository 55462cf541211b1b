/*
 * home.h - the data directory: where it is, who may see it, and the
 * server's key in it.
 *
 *	DIR/server.key		the static secret, mode 0600
 *	DIR/admin.sock		where a running daemon listens for `nuaged invite`
 *	DIR/store/		the store (diskstore.h)
 *
 * server.key is text: "nuaged-key 1 ", the secret in hex, a newline.
 */
#ifndef SERVER_HOME_H
#define SERVER_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"

struct home {
	char	*path;			/* of the directory */
	char	*store;			/* of the store's */
	int	 fd;			/* the directory, for paths too long for a socket */
	bool	 foreign;		/* another user's, and we are root: the store is not ours to open */
	uint8_t	*secret;		/* [KEY_SIZE], in locked memory */
	uint8_t	 public[KEY_SIZE];
};

/*
 * Opens the directory, making it (0700) and the key if `create`.  One that others
 * may write to is refused, or closed to them if it is still empty.  false
 * after it said on stderr what is wrong.
 */
bool	home_open(struct home *h, const char *path, bool create);
void	home_close(struct home *h);
/* Is there a nuaged that has the store, though perhaps not its sockets yet, or no longer? */
bool	home_store_held(const struct home *h);

#endif
