/*
 * serve_cache.c - see serve_cache.h.
 *
 * What is pinned is noted in the home first, then given to the pinner; a pin
 * that does not fit is taken back from both.
 *
 * Lock: c->lock, for `pinner`, `serving` and `stopping`: a request that uses
 * the pinner is let end before the shell below that is freed.
 */
#include "fs/serve_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "fs/pinner.h"

enum {
	DEFAULT_PART	= 10,
	STEP_MS		= 200,			/* between looks at a pin's progress */
	AWAY_MS		= 5000,			/* then the server is called unreachable */
	PINS_MAX	= 1024,			/* listed */
	OBJECTS		= 200000,		/* the engine's own default */
};
#define DEFAULT_MAX (UINT64_C(2) << 30)
/* What is less is not worth its files. */
#define DEFAULT_LEAST (UINT64_C(16) << 20)

struct serve_cache {
	struct home	*home;
	uint8_t		 id[VOLUME_ID_SIZE];
	struct blockcache *blocks;		/* NULL: none */
	struct pinner	*pinner;		/* NULL: none, or not started */

	pthread_mutex_t	 lock;
	pthread_cond_t	 idle;
	unsigned	 serving;		/* requests that use the pinner */
	bool		 stopping;
};

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

static void
count(void *context, const char *path)
{
	(void)path;
	++*(unsigned *)context;
}

int
serve_cache_open(struct serve_cache **ret, struct home *home, const uint8_t id[VOLUME_ID_SIZE], bool by_default,
    uint64_t max)
{
	struct serve_cache *c = calloc(1, sizeof *c);
	char path[PATH_MAX];
	unsigned pins = 0;
	int r;

	if (c == NULL)
		return -ENOMEM;
	*ret = c;
	lock_init(&c->lock);
	lock_cond_init(&c->idle);
	c->home = home;
	memcpy(c->id, id, sizeof c->id);
	if (!by_default && max == 0)
		return 0;
	home_each_pin(home, id, count, &pins);
	r = home_cache(home, id, path, sizeof path);
	if (r == 0 && by_default && (max = default_size(path)) == 0)
		r = -ENOSPC;
	if (r == 0)
		r = blockcache_open(&c->blocks, path, max, pins > 0);
	if (r == -EBUSY)
		log_warning("no cache on disk: another mount of the volume uses %s", path);
	else if (r < 0)
		log_warning("no cache on disk: %s", strerror(-r));
	return 0;
}

struct blockcache *
serve_cache_blocks(struct serve_cache *c)
{
	return c->blocks;
}

static void
pin_again(void *context, const char *path)
{
	if (pinner_add(context, path) < 0)
		log_error("%s is not pinned: out of memory", path);
}

int
serve_cache_start(struct serve_cache *c, struct shell *shell, size_t objects_max)
{
	struct pinner *p;
	int r;

	if (c->blocks == NULL)
		return 0;
	if ((r = pinner_new(&p, shell, c->blocks, objects_max != 0 ? objects_max : OBJECTS)) < 0)
		return r;
	home_each_pin(c->home, c->id, pin_again, p);
	/* Requests are served already. */
	LOCK_SCOPE(&c->lock);
	c->pinner = p;
	return 0;
}

void
serve_cache_stop(struct serve_cache *c)
{
	if (c == NULL)
		return;
	{
		LOCK_SCOPE(&c->lock);
		c->stopping = true;
		while (c->serving > 0)
			pthread_cond_wait(&c->idle, &c->lock);
	}
	pinner_stop(c->pinner);
}

/* The pinner may be used until leave(). */
static bool
enter(struct serve_cache *c)
{
	LOCK_SCOPE(&c->lock);
	c->serving += !c->stopping && c->pinner != NULL;
	return !c->stopping && c->pinner != NULL;
}

static void
leave(struct serve_cache *c)
{
	LOCK_SCOPE(&c->lock);
	c->serving--;
	pthread_cond_broadcast(&c->idle);
}

static bool
stopping(struct serve_cache *c)
{
	LOCK_SCOPE(&c->lock);
	return c->stopping;
}

void
serve_cache_close(struct serve_cache *c)
{
	if (c == NULL)
		return;
	blockcache_close(c->blocks);
	pinner_free(c->pinner);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- what is said of it ---- */

static const char *const state_names[] = {
	[PIN_LOOKING] = "looking", [PIN_FETCHING] = "fetching", [PIN_WAITING] = "waiting", [PIN_COMPLETE] = "complete",
	[PIN_MISSING] = "missing", [PIN_TOO_LARGE] = "too-large", [PIN_FAILED] = "failed",
};

/* Pins, copied: nothing is said with the pinner's lock held. */
struct pins {
	struct pin_report list[PINS_MAX];
	size_t		 count;
};

static void
copy(void *context, const struct pin_report *pin)
{
	struct pins *p = context;

	if (p->count == PINS_MAX)
		return;
	p->list[p->count] = *pin;
	if ((p->list[p->count].path = strdup(pin->path)) != NULL)
		p->count++;
}

static struct pins *
pins_of(struct serve_cache *c)
{
	struct pins *p = calloc(1, sizeof *p);

	if (p != NULL && enter(c)) {
		pinner_each(c->pinner, copy, p);
		leave(c);
	}
	return p;
}

static void
pins_free(struct pins *p)
{
	for (size_t i = 0; p != NULL && i < p->count; i++)
		free((char *)(uintptr_t)p->list[i].path);
	free(p);
}

void
serve_cache_say(struct serve_cache *c, int fd)
{
	struct blockcache_status s = { 0 };
	struct pins *p = pins_of(c);
	uint64_t fetched = 0;
	size_t complete = 0;

	if (c->blocks != NULL)
		blockcache_status(c->blocks, &s);
	for (size_t i = 0; p != NULL && i < p->count; i++)
		complete += p->list[i].state == PIN_COMPLETE;
	control_say(fd, "disk_max %" PRIu64, s.bytes_max);
	control_say(fd, "disk_bytes %" PRIu64, s.bytes);
	control_say(fd, "disk_kept %" PRIu64, s.kept_bytes);
	control_say(fd, "disk_hits %" PRIu64, s.hits);
	control_say(fd, "disk_damaged %" PRIu64, s.damaged);
	if (s.error != 0)
		control_say(fd, "disk_error %s", strerror(-s.error));
	control_say(fd, "pins %zu", p != NULL ? p->count : 0);
	control_say(fd, "pins_complete %zu", complete);
	if (enter(c)) {
		fetched = pinner_fetched(c->pinner);
		leave(c);
	}
	control_say(fd, "pins_fetched %" PRIu64, fetched);
	pins_free(p);
}

static void
say_pins(struct serve_cache *c, int fd)
{
	struct pins *p = pins_of(c);

	for (size_t i = 0; p != NULL && i < p->count; i++) {
		const struct pin_report *r = &p->list[i];

		control_say(fd, "pin %s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s",
		    state_names[r->state], -r->error, r->files, r->bytes, r->here, r->blocks, r->needs, r->path);
	}
	pins_free(p);
	control_say(fd, "ok");
}

/* ---- pin and unpin ---- */

static void
unpin(struct serve_cache *c, const char *path)
{
	int r = home_pin_remove(c->home, c->id, path);

	if (r < 0 && r != -ENOENT)
		log_error("the pin of %s cannot be forgotten: %s", path, strerror(-r));
	pinner_remove(c->pinner, path);
}

/* It does not fit: how large is the cache to be? */
static void
say_too_large(struct serve_cache *c, int fd, const char *path, const struct pin_report *pin)
{
	struct blockcache_status s;

	blockcache_status(c->blocks, &s);
	if (pin->needs > s.bytes_max)
		control_say(fd, "failed %s needs more than the cache on this machine's disk may take, %" PRIu64
		    " MiB; mount with a larger -o diskcache=", path, s.bytes_max >> 20);
	else if (pin->needs + s.kept_bytes > s.bytes_max)
		control_say(fd, "failed %s needs %" PRIu64 " MiB, more than the other pins leave of the cache on this "
		    "machine's disk, %" PRIu64 " MiB; mount with a larger -o diskcache=", path, (pin->needs >> 20) + 1, s.bytes_max >> 20);
	else
		control_say(fd, "failed %s holds more files than a mount can keep in memory", path);
}

/* True: that is the end of it. */
static bool
say_progress(struct serve_cache *c, int fd, const char *path, unsigned *away_ms)
{
	struct pin_report pin;

	if (stopping(c) || !pinner_find(c->pinner, path, &pin)) {
		control_say(fd, "failed %s: %s", path, stopping(c) ? "the volume is being unmounted" : "it was unpinned meanwhile");
		return true;
	}
	*away_ms = pin.state == PIN_WAITING ? *away_ms + STEP_MS : 0;
	if (pin.state == PIN_COMPLETE)
		control_say(fd, "ok");
	else if (pin.state == PIN_MISSING) {
		unpin(c, path);
		control_say(fd, "failed %s: no such file or directory in the volume", path);
	} else if (pin.state == PIN_TOO_LARGE) {
		unpin(c, path);
		say_too_large(c, fd, path, &pin);
	} else if (pin.state == PIN_FAILED)
		control_say(fd, "failed %s is pinned, but cannot be kept completely now: %s", path, strerror(-pin.error));
	else if (*away_ms >= AWAY_MS)
		control_say(fd, "unreachable %s is pinned, and fetched when the server is back", path);
	else
		return !control_say(fd, "progress %" PRIu64 " %" PRIu64, pin.here, pin.blocks) || control_gone(fd);
	return true;
}

static void
serve_pin(struct serve_cache *c, int fd, const char *path)
{
	unsigned away_ms = 0;
	int r = home_pin_save(c->home, c->id, path);

	if (r == -EINVAL)
		control_say(fd, "failed a path with a line break cannot be pinned");
	else if (r < 0)
		control_say(fd, "failed the pin cannot be noted: %s", strerror(-r));
	else if ((r = pinner_add(c->pinner, path)) < 0)
		control_say(fd, "failed %s", strerror(-r));
	else
		while (!say_progress(c, fd, path, &away_ms))
			usleep(STEP_MS * 1000);
}

static void
serve_unpin(struct serve_cache *c, int fd, const char *path)
{
	struct pin_report pin;

	if (!pinner_find(c->pinner, path, &pin)) {
		control_say(fd, "failed %s is not pinned; nuage pin lists what is", path);
		return;
	}
	unpin(c, path);
	control_say(fd, "ok");
}

bool
serve_cache_request(struct serve_cache *c, int fd, const char *verb, size_t len)
{
	bool pin = strncmp(verb, "pin", len) == 0 && len == 3, unpins = strncmp(verb, "unpin", len) == 0 && len == 5;
	char path[CONTROL_LINE];

	if (len == 4 && strncmp(verb, "pins", len) == 0) {
		say_pins(c, fd);
		return true;
	}
	if (!pin && !unpins)
		return false;
	if (!control_hear(fd, path) || path[0] != '/')
		control_say(fd, "failed no path came with the request");
	else if (c->blocks == NULL)
		control_say(fd, "failed this mount has no cache on disk; see -o diskcache= of nuage mount, and the mount's log");
	else if (!enter(c))
		control_say(fd, "failed the volume is being mounted, or unmounted; try again");
	else {
		if (pin)
			serve_pin(c, fd, path);
		else
			serve_unpin(c, fd, path);
		leave(c);
	}
	return true;
}
