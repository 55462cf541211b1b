/*
 * blockcache.c - see blockcache.h.
 *
 *	lock			held (flock) by the mount that uses the directory
 *	the rest		files of runs (blockfile.h)
 *
 * A run's states: queued - being written, as `new` - here, once renamed -
 * gone.  The runs of a block may
 * overlap; one that holds all of another replaces it.  Each has a header of
 * its own, so that two sealings of one block never mix.
 *
 * The index is in memory, made from the names when the cache is opened.  A
 * file's time says, to the minute, when it was used last; the order of use
 * so outlives the mount.
 *
 * A thread stores, one run after another, at low priority: it makes room
 * first, so that the files, and `new`, never take more than bytes_max.  At
 * most QUEUE_BYTES of offers wait for it; more are passed over, so that a slow
 * disk delays no reader.  And it takes no more than RATE: a server that brings
 * blocks faster than that is as good as this disk, and storing them would only
 * take the processor from whoever reads.  When the disk takes nothing the thread says so once
 * and lets REST_MS pass before it tries again.
 *
 * Lock: c->lock, for index, lists and queue; no file is touched under it.
 * Invariants, as check() has them:
 * 1. bytes is the sum of what the runs in the index count, and of the one
 *    being written; it is at most bytes_max, once all is loaded.
 * 2. A run is on one list: `kept` if it is kept for some round, else `lru`.
 * 3. No run of the index holds all of another of its block.
 */
#include "fs/blockcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/blockfile.h"
#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"

enum {
	PAGE		= 4096,
	QUEUE_BYTES	= 16 * BLOCK_SEALED_MAX,
	RUNS_MAX	= 256 * 1024,
	REST_MS		= 60 * 1000,
	SAY_MS		= 60 * 60 * 1000,	/* between saying so */
	RATE		= 100 * 1024,		/* bytes a millisecond of offers taken in the long run, */
	BURST		= 32 * BLOCK_SIZE,	/* and at once */
	STAMP_S		= 60,			/* how exact a file's time is */
	NICE		= 10,
	ROUND_LOADED	= 1,
};

struct run {
	struct run	*hash_next;
	TAILQ_ENTRY(run) link;
	struct blockfile file;
	uint32_t	 size;			/* as charged */
	int64_t		 used_s;		/* as its file says */
	uint64_t	 round;			/* that it is kept for; 0: it is not */
};
TAILQ_HEAD(run_list, run);

struct item {
	TAILQ_ENTRY(item) link;
	struct blockfile file;
	uint64_t	 round;
	struct buffer	*buffer;
	struct bytes	 payload;
	void		(*done)(void *context, int error);	/* NULL: an offer */
	void		*context;
};

struct blockcache {
	pthread_mutex_t	 lock;
	pthread_cond_t	 change;
	struct run	**table;
	size_t		 table_size;
	struct run_list	 lru, kept;		/* lru: the least recently used one first */
	uint64_t	 round;			/* the last one that ended */
	TAILQ_HEAD(, item) queue;
	size_t		 queued_bytes;		/* of offers */
	uint64_t	 credit, credit_ms;	/* bytes of offers that RATE allows; as of then */
	bool		 loaded, busy, stopping;
	uint64_t	 rest_until;		/* ms; 0: it takes what comes */
	uint64_t	 said_until;		/* that it takes nothing was said, and is not again before */
	struct blockcache_status stats;

	int		 dir, lock_fd;
	pthread_t	 thread;
	bool		 threaded;
};

uint64_t
blockcache_charge(uint64_t len)
{
	return (len + PAGE - 1) / PAGE * PAGE;
}

/* ---- the index; the lock held ---- */

static struct run **
slot(struct blockcache *c, const uint8_t id[ID_SIZE])
{
	uint64_t h;

	memcpy(&h, id, sizeof h);	/* an id is uniform already */
	return &c->table[h & (c->table_size - 1)];
}

/* The run of the block that holds cell `index` and the most of those behind it; NULL: none. */
static struct run *
find(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned index)
{
	struct run *best = NULL;

	for (struct run *r = *slot(c, id); r != NULL; r = r->hash_next)
		if (r->file.first <= index && index < (unsigned)r->file.first + r->file.count && memcmp(r->file.id, id, ID_SIZE) == 0 &&
		    (best == NULL || r->file.first + r->file.count > best->file.first + best->file.count))
			best = r;
	return best;
}

/* Does it hold all of the other, of the same block? */
static bool
holds(const struct blockfile *f, const struct blockfile *other)
{
	return other->first >= f->first && other->first + other->count <= f->first + f->count &&
	    memcmp(f->id, other->id, ID_SIZE) == 0;
}

/* A run that holds all of f; NULL: none. */
static struct run *
find_all(struct blockcache *c, const struct blockfile *f)
{
	struct run *r = *slot(c, f->id);

	while (r != NULL && !holds(&r->file, f))
		r = r->hash_next;
	return r;
}

static struct run_list *
list_of(struct blockcache *c, const struct run *r)
{
	return r->round != 0 ? &c->kept : &c->lru;
}

/* It was used, and perhaps is kept for another round from now on. */
static void
touch(struct blockcache *c, struct run *r, uint64_t round)
{
	TAILQ_REMOVE(list_of(c, r), r, link);
	if (r->round == 0 && round != 0)
		c->stats.kept_bytes += r->size;
	if (round > r->round)
		r->round = round;
	TAILQ_INSERT_TAIL(list_of(c, r), r, link);
}

static void
grow(struct blockcache *c)
{
	struct run **old = c->table, *next;
	size_t old_size = c->table_size;
	struct run **table = calloc(old_size * 2, sizeof *table);

	if (table == NULL)
		return;		/* longer chains, nothing worse */
	c->table = table;
	c->table_size = old_size * 2;
	for (size_t i = 0; i < old_size; i++)
		for (struct run *r = old[i]; r != NULL; r = next) {
			struct run **at = slot(c, r->file.id);

			next = r->hash_next;
			r->hash_next = *at;
			*at = r;
		}
	free(old);
}

/* Its bytes are counted already. */
static void
insert(struct blockcache *c, struct run *r)
{
	struct run **at;

	if (c->stats.runs >= c->table_size)
		grow(c);
	at = slot(c, r->file.id);
	r->hash_next = *at;
	*at = r;
	TAILQ_INSERT_TAIL(list_of(c, r), r, link);
	if (r->round != 0)
		c->stats.kept_bytes += r->size;
	c->stats.runs++;
}

/* Moves it to `gone`, whose files are then removed without the lock. */
static void
take_out(struct blockcache *c, struct run *r, struct run_list *gone)
{
	struct run **at = slot(c, r->file.id);

	while (*at != r)
		at = &(*at)->hash_next;
	*at = r->hash_next;
	TAILQ_REMOVE(list_of(c, r), r, link);
	if (r->round != 0)
		c->stats.kept_bytes -= r->size;
	c->stats.bytes -= r->size;
	c->stats.runs--;
	TAILQ_INSERT_TAIL(gone, r, link);
}

/* Counts `size` more bytes, and takes out what must go for them.  0 or -ENOSPC. */
static int
reserve(struct blockcache *c, uint64_t size, struct run_list *gone)
{
	struct run *r;

	if (c->stats.kept_bytes + size > c->stats.bytes_max)
		return -ENOSPC;
	while ((c->stats.bytes + size > c->stats.bytes_max || c->stats.runs >= RUNS_MAX) &&
	    (r = TAILQ_FIRST(&c->lru)) != NULL) {
		take_out(c, r, gone);
		c->stats.evicted++;
	}
	if (c->stats.bytes + size > c->stats.bytes_max || c->stats.runs >= RUNS_MAX)
		return -ENOSPC;
	c->stats.bytes += size;
	return 0;
}

#ifdef NUAGE_CHECKS
static void
check(struct blockcache *c, uint64_t writing)
{
	uint64_t bytes = writing, kept = 0, runs = 0;
	struct run *r, *other;

	for (size_t i = 0; i < c->table_size; i++)
		for (r = c->table[i]; r != NULL; r = r->hash_next, runs++) {
			bytes += r->size;
			kept += r->round != 0 ? r->size : 0;
			for (other = c->table[i]; other != NULL; other = other->hash_next)
				if (other != r && holds(&r->file, &other->file))
					abort();
		}
	if (bytes != c->stats.bytes || kept != c->stats.kept_bytes || runs != c->stats.runs ||
	    (c->loaded && bytes > c->stats.bytes_max))
		abort();
}
#else
static void
check(struct blockcache *c, uint64_t writing)
{
	(void)c;
	(void)writing;
}
#endif

static void
remove_all(struct blockcache *c, struct run_list *gone)
{
	struct run *r;

	while ((r = TAILQ_FIRST(gone)) != NULL) {
		TAILQ_REMOVE(gone, r, link);
		blockfile_remove(c->dir, &r->file);
		free(r);
	}
}

/* ---- reading ---- */

bool
blockcache_has(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count)
{
	const struct run *r;

	LOCK_SCOPE(&c->lock);
	for (unsigned at = first; at < first + count; at = r->file.first + r->file.count)
		if ((r = find(c, id, at)) == NULL)
			return false;
	return true;
}

/* The run's file is damaged, or gone. */
static void
throw_away(struct blockcache *c, const struct run *copy, bool damaged)
{
	struct run_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct run *r;

	{
		LOCK_SCOPE(&c->lock);
		for (r = *slot(c, copy->file.id); r != NULL; r = r->hash_next)
			if (holds(&r->file, &copy->file) && holds(&copy->file, &r->file))
				break;
		if (r != NULL)
			take_out(c, r, &gone);
		c->stats.damaged += r != NULL && damaged;
	}
	remove_all(c, &gone);
}

int
blockcache_read(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count,
    int (*use)(void *context, const struct block_header *h, unsigned first, unsigned count, struct bytes cells),
    void *context)
{
	unsigned at = first, n, end = first + count;
	struct block_header header;
	bool missing = false;

	while (at < end) {
		struct buffer *b = NULL;
		bool stamp = false;
		struct run copy;
		int r;

		{
			LOCK_SCOPE(&c->lock);
			struct run *found = find(c, id, at);

			if (found != NULL) {
				copy = *found;
				touch(c, found, 0);
				stamp = time(NULL) - found->used_s > STAMP_S;
				found->used_s = stamp ? time(NULL) : found->used_s;
				c->stats.hits++;
			}
			r = found == NULL ? -ENOENT : 0;
		}
		if (r < 0) {
			missing = true;
			at++;
			continue;
		}
		n = copy.file.first + copy.file.count < end ? copy.file.first + copy.file.count - at : end - at;
		r = blockfile_read(c->dir, &copy.file, at, n, stamp, &header, &b);
		if (r == 0)
			r = use(context, &header, at, n, (struct bytes){ b->data, b->size });
		buffer_put(b);
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return r;
		/* Another run may hold the same cell. */
		if (r < 0)
			throw_away(c, &copy, r != -ENOENT);
		else
			at += n;
	}
	return missing ? -ENOENT : 0;
}

/* ---- storing ---- */

static void
item_free(struct item *i)
{
	buffer_put(i->buffer);
	free(i);
}

/* Under the lock: does an offer of `len` bytes fit into the queue, and RATE? */
static bool
takes(struct blockcache *c, size_t len)
{
	uint64_t now = clock_ms(CLOCK_MONOTONIC);

	c->credit += (now - c->credit_ms) * RATE;
	c->credit = c->credit < BURST ? c->credit : BURST;
	c->credit_ms = now;
	if (now < c->rest_until || c->queued_bytes + len > QUEUE_BYTES || c->credit < len)
		return false;
	c->credit -= len;
	return true;
}

static void
add(struct blockcache *c, const struct item *like)
{
	struct item *i = malloc(sizeof *i);
	bool taken = false;

	if (i != NULL) {
		LOCK_SCOPE(&c->lock);
		*i = *like;
		taken = !c->stopping && (i->done != NULL || takes(c, i->payload.len));
		if (taken) {
			buffer_get(i->buffer);
			c->queued_bytes += i->done == NULL ? i->payload.len : 0;
			TAILQ_INSERT_TAIL(&c->queue, i, link);
			pthread_cond_broadcast(&c->change);
		} else
			c->stats.passed_over++;
	}
	if (!taken && like->done != NULL)
		like->done(like->context, -ECANCELED);
	if (!taken)
		free(i);
}

void
blockcache_offer(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count,
    struct buffer *buffer, struct bytes payload)
{
	struct item i = { .file = { .first = first, .count = count }, .buffer = buffer, .payload = payload };

	memcpy(i.file.id, id, ID_SIZE);
	add(c, &i);
}

void
blockcache_keep(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count, uint64_t round,
    struct buffer *buffer, struct bytes payload, void (*done)(void *context, int error), void *context)
{
	struct item i = { .file = { .first = first, .count = count }, .round = round, .buffer = buffer,
	    .payload = payload, .done = done, .context = context };

	memcpy(i.file.id, id, ID_SIZE);
	add(c, &i);
}

bool
blockcache_mark(struct blockcache *c, const uint8_t id[ID_SIZE], unsigned first, unsigned count, uint64_t round)
{
	struct run *r;

	LOCK_SCOPE(&c->lock);
	for (unsigned at = first; at < first + count; at = r->file.first + r->file.count)
		if ((r = find(c, id, at)) == NULL)
			return false;
	for (unsigned at = first; at < first + count; at = r->file.first + r->file.count)
		touch(c, r = find(c, id, at), round);
	return true;
}

void
blockcache_round(struct blockcache *c, uint64_t round)
{
	struct run *r, *next;

	LOCK_SCOPE(&c->lock);
	c->round = round;
	for (r = TAILQ_FIRST(&c->kept); r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->round >= round)
			continue;
		TAILQ_REMOVE(&c->kept, r, link);
		c->stats.kept_bytes -= r->size;
		r->round = 0;
		TAILQ_INSERT_TAIL(&c->lru, r, link);
	}
}

/* It is here now: what it holds all of goes. */
static void
replace(struct blockcache *c, struct run *new, struct run_list *gone)
{
	struct run *r, *next;

	for (r = *slot(c, new->file.id); r != NULL; r = next) {
		next = r->hash_next;
		if (!holds(&new->file, &r->file))
			continue;
		if (r->round > new->round)
			new->round = r->round;
		take_out(c, r, gone);
	}
	insert(c, new);
}

static int
store(struct blockcache *c, const struct item *i)
{
	struct run_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct run *new = calloc(1, sizeof *new), *r = NULL;
	bool said = true;
	int e = 0;

	if (new == NULL)
		return -ENOMEM;
	*new = (struct run){ .file = i->file, .size = (uint32_t)blockcache_charge(i->payload.len), .used_s = time(NULL),
	    .round = i->round };
	{
		LOCK_SCOPE(&c->lock);
		if ((r = find_all(c, &i->file)) != NULL)
			touch(c, r, i->round);
		else
			e = reserve(c, new->size, &gone);
	}
	remove_all(c, &gone);
	if (r != NULL || e < 0) {
		free(new);
		return e;
	}
	e = blockfile_write(c->dir, &i->file, i->payload);
	{
		LOCK_SCOPE(&c->lock);
		if (e == 0) {
			replace(c, new, &gone);
			c->stats.stored++;
			c->rest_until = 0;
		} else {
			c->stats.bytes -= new->size;
			said = clock_ms(CLOCK_MONOTONIC) < c->said_until;
			c->said_until = said ? c->said_until : clock_ms(CLOCK_MONOTONIC) + SAY_MS;
			c->rest_until = clock_ms(CLOCK_MONOTONIC) + REST_MS;
		}
		c->stats.error = e;
		check(c, 0);
	}
	remove_all(c, &gone);
	if (e < 0)
		free(new);
	if (!said)
		log_warning("the cache on disk takes nothing now: %s", strerror(-e));
	return e;
}

/* ---- loading ---- */

struct found {
	struct run	**list;
	size_t		 count, size;
};

static bool
take(void *context, const struct blockfile *file, uint64_t size, int64_t used_s)
{
	struct found *f = context;
	struct run *r;

	if (f->count == f->size) {
		size_t more = f->size == 0 ? 1024 : f->size * 2;
		struct run **list = realloc(f->list, more * sizeof(struct run *));

		if (list == NULL)
			return false;
		f->list = list;
		f->size = more;
	}
	if ((r = calloc(1, sizeof *r)) == NULL)
		return false;
	*r = (struct run){ .file = *file, .size = (uint32_t)blockcache_charge(size), .used_s = used_s };
	f->list[f->count++] = r;
	return true;
}

static int
older(const void *a, const void *b)
{
	const struct run *x = *(struct run *const *)a, *y = *(struct run *const *)b;

	return x->used_s < y->used_s ? -1 : x->used_s > y->used_s;
}

/* Nothing has been stored yet. */
static void
load(struct blockcache *c)
{
	struct run_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct found f = { .count = 0 };

	blockfile_each(c->dir, take, &f);
	if (f.count > 0)
		qsort(f.list, f.count, sizeof *f.list, older);
	for (size_t i = 0; i < f.count; i++) {
		struct run *r = f.list[i];

		LOCK_SCOPE(&c->lock);
		if (find_all(c, &r->file) != NULL) {
			TAILQ_INSERT_TAIL(&gone, r, link);
			continue;
		}
		r->round = c->round < ROUND_LOADED ? ROUND_LOADED : 0;
		c->stats.bytes += r->size;
		replace(c, r, &gone);
	}
	free(f.list);
	{
		LOCK_SCOPE(&c->lock);
		/* It was larger then. */
		while (c->stats.bytes > c->stats.bytes_max) {
			struct run *r = TAILQ_FIRST(&c->lru) != NULL ? TAILQ_FIRST(&c->lru) : TAILQ_FIRST(&c->kept);

			take_out(c, r, &gone);
		}
		c->loaded = true;
		check(c, 0);
		pthread_cond_broadcast(&c->change);
	}
	remove_all(c, &gone);
}

static void *
thread_main(void *argument)
{
	struct blockcache *c = argument;
	struct item *i;
	int e;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	load(c);
	for (;;) {
		{
			LOCK_SCOPE(&c->lock);
			c->busy = false;
			pthread_cond_broadcast(&c->change);
			while (!c->stopping && TAILQ_EMPTY(&c->queue))
				pthread_cond_wait(&c->change, &c->lock);
			if ((i = TAILQ_FIRST(&c->queue)) == NULL)
				return NULL;
			TAILQ_REMOVE(&c->queue, i, link);
			c->queued_bytes -= i->done == NULL ? i->payload.len : 0;
			c->busy = true;
			e = c->stopping ? -ECANCELED : 0;
		}
		if (e == 0)
			e = store(c, i);
		if (i->done != NULL)
			i->done(i->context, e);
		item_free(i);
	}
}

/* ---- life ---- */

static int
open_directory(struct blockcache *c, const char *directory)
{
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	if ((c->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0 ||
	    (c->lock_fd = openat(c->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
		return -errno;
	if (flock(c->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

int
blockcache_open(struct blockcache **ret, const char *directory, uint64_t bytes_max, bool keep_all)
{
	struct blockcache *c = calloc(1, sizeof *c);
	int r;

	if (c == NULL)
		return -ENOMEM;
	lock_init(&c->lock);
	lock_cond_init(&c->change);
	TAILQ_INIT(&c->lru);
	TAILQ_INIT(&c->kept);
	TAILQ_INIT(&c->queue);
	c->dir = c->lock_fd = -1;
	c->stats.bytes_max = bytes_max;
	c->round = keep_all ? 0 : ROUND_LOADED;
	c->busy = true;
	c->credit = BURST;
	c->credit_ms = clock_ms(CLOCK_MONOTONIC);
	c->table_size = 1024;
	c->table = calloc(c->table_size, sizeof *c->table);
	r = c->table == NULL ? -ENOMEM : open_directory(c, directory);
	if (r == 0) {
		c->threaded = pthread_create(&c->thread, NULL, thread_main, c) == 0;
		r = c->threaded ? 0 : -EAGAIN;
	}
	if (r < 0) {
		blockcache_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
blockcache_close(struct blockcache *c)
{
	if (c == NULL)
		return;
	if (c->threaded) {
		{
			LOCK_SCOPE(&c->lock);
			c->stopping = true;
			pthread_cond_broadcast(&c->change);
		}
		pthread_join(c->thread, NULL);
	}
	for (size_t i = 0; c->table != NULL && i < c->table_size; i++)
		for (struct run *r = c->table[i], *next; r != NULL; r = next) {
			next = r->hash_next;
			free(r);
		}
	free(c->table);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	if (c->dir >= 0)
		close(c->dir);
	pthread_cond_destroy(&c->change);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void
blockcache_status(struct blockcache *c, struct blockcache_status *to)
{
	LOCK_SCOPE(&c->lock);
	*to = c->stats;
}

void
blockcache_await(struct blockcache *c)
{
	LOCK_SCOPE(&c->lock);
	while (!c->loaded)
		pthread_cond_wait(&c->change, &c->lock);
}

void
blockcache_settle(struct blockcache *c)
{
	LOCK_SCOPE(&c->lock);
	while (!c->loaded || c->busy || !TAILQ_EMPTY(&c->queue))
		pthread_cond_wait(&c->change, &c->lock);
}
