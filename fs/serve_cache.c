/* serve_cache.c - see serve_cache.h. */
#include "fs/serve_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/control.h"
#include "fs/log.h"

enum { DEFAULT_PART = 10 };
#define DEFAULT_MAX (UINT64_C(2) << 30)
/* What is less is not worth its files. */
#define DEFAULT_LEAST (UINT64_C(16) << 20)

/* By what is free on the file system of `path`, or where that will be. */
static uint64_t
default_size(const char *path)
{
	uint64_t part = 0;
	char above[PATH_MAX];
	struct statvfs st;
	char *slash;

	snprintf(above, sizeof above, "%s", path);
	if ((slash = strrchr(above, '/')) != NULL)
		*slash = '\0';
	if (statvfs(above, &st) == 0)
		part = (uint64_t)st.f_bavail * st.f_frsize / DEFAULT_PART;
	return part < DEFAULT_LEAST ? 0 : part < DEFAULT_MAX ? part : DEFAULT_MAX;
}

struct blockcache *
serve_cache_open(struct home *home, const uint8_t id[VOLUME_ID_SIZE], bool by_default, uint64_t max, bool keep_all)
{
	struct blockcache *c = NULL;
	char path[PATH_MAX];
	int r;

	if (!by_default && max == 0)
		return NULL;
	r = home_cache(home, id, path, sizeof path);
	if (r == 0 && by_default && (max = default_size(path)) == 0)
		r = -ENOSPC;
	if (r == 0)
		r = blockcache_open(&c, path, max, keep_all);
	if (r == -EBUSY)
		log_warning("no cache on disk: another mount of the volume uses %s", path);
	else if (r < 0)
		log_warning("no cache on disk: %s", strerror(-r));
	return c;
}

void
serve_cache_say(struct blockcache *c, int fd)
{
	struct blockcache_status s = { 0 };

	if (c != NULL)
		blockcache_status(c, &s);
	control_say(fd, "disk_max %" PRIu64, s.bytes_max);
	control_say(fd, "disk_bytes %" PRIu64, s.bytes);
	control_say(fd, "disk_kept %" PRIu64, s.kept_bytes);
	control_say(fd, "disk_hits %" PRIu64, s.hits);
	if (s.error != 0)
		control_say(fd, "disk_error %s", strerror(-s.error));
}
