/*
 * serve_cache.h - the cache on disk, and the pins, around the life of a mount.
 *
 * A mount without a cache (-o diskcache=0, or none can be had) has a
 * struct serve_cache all the same, with nothing in it.
 */
#ifndef FS_SERVE_CACHE_H
#define FS_SERVE_CACHE_H

#include "fs/blockcache.h"
#include "fs/home.h"
#include "fs/shell.h"

struct serve_cache;
/*
 * Opens the volume's: of at most `max` bytes, or, by_default, of 2 GiB or a
 * tenth of what is free, if that is less.  When there cannot be one it logs
 * why.  Only -ENOMEM is an error.
 */
int	serve_cache_open(struct serve_cache **ret, struct home *home, const uint8_t id[VOLUME_ID_SIZE], bool by_default,
	    uint64_t max);
struct blockcache *serve_cache_blocks(struct serve_cache *c);	/* NULL: there is none */
/* The volume is served: what was pinned is looked after. 0 or -errno. */
int	serve_cache_start(struct serve_cache *c, struct shell *shell, size_t objects_max);
/* Nothing more is asked of the shell; before it is freed.  NULL is fine, as below. */
void	serve_cache_stop(struct serve_cache *c);
/* When it is. */
void	serve_cache_close(struct serve_cache *c);

/* Its lines of a status. */
void	serve_cache_say(struct serve_cache *c, int fd);
/*
 * "pin" and "unpin", whose path follows in a line of its own, and "pins": answers
 * them and returns true; false: it is another request.
 *
 *	progress HERE BLOCKS
 *	pin STATE ERROR FILES BYTES HERE BLOCKS NEEDS PATH
 */
bool	serve_cache_request(struct serve_cache *c, int fd, const char *verb, size_t len);

#endif
