/*
 * serve_cache.h - the cache on disk around the life of a mount.
 */
#ifndef FS_SERVE_CACHE_H
#define FS_SERVE_CACHE_H

#include "fs/blockcache.h"
#include "fs/home.h"

/*
 * Opens the volume's: of at most `max` bytes, or, by_default, of 2 GiB or a
 * tenth of what is free, if that is less.  keep_all as blockcache_open().
 * NULL: there is to be none, or there cannot be one, which it then logs; the
 * mount does without.
 */
struct blockcache *serve_cache_open(struct home *home, const uint8_t id[VOLUME_ID_SIZE], bool by_default, uint64_t max,
	    bool keep_all);
/* Its lines of a status; cache may be NULL. */
void	serve_cache_say(struct blockcache *cache, int fd);

#endif
