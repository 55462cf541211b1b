/*
 * pinner.c - see pinner.h.
 *
 * A round: for each pin the way to its path, then the subtree below, with
 * WALKERS operations under way; then the blocks that are missing, some at a
 * time.  A round that saw everything ends what earlier rounds kept, in the
 * engine and in the cache; one that did not, because the server went away,
 * ends nothing.
 *
 * A pin counts with the bytes of its files, as if they did not compress: so
 * it can be told at once, before anything is fetched, that it does not fit.
 *
 * Lock: p->lock, for pins and `outstanding`.  A pin is freed between rounds,
 * by the thread; `removed` says that it is to be.  What only the thread
 * touches is said below.
 */
#include "fs/pinner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "fs/blockcache.h"
#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "fs/shell.h"

enum {
	WALKERS		= 48,
	FETCH_BLOCKS	= 48,			/* under way at most, and */
	FETCH_BYTES	= 4 * BLOCK_SIZE,	/* so much of them */
	LOOK_MS		= 200,			/* between looks whether it is to stop */
	AWAIT_MS	= 1000,			/* between looks whether it is time for another round */
	REST_MS		= 2000,			/* between rounds at least, and */
	REST_TIMES	= 20,			/* so many times what the last one took */
	AGAIN_MS	= 60 * 1000,		/* with nothing new: for what was found damaged, or did not fit */
	PARTING_MS	= 2000,			/* for operations under way when it is to stop */
	ROUND_FIRST	= 2,			/* as blockcache.h wants it */
	SEAL_BYTES	= 200,			/* a header and tags, about */
};

struct pin {
	TAILQ_ENTRY(pin) link;
	bool		 removed;
	struct pin_report report;		/* its state is never WAITING here */
	char		 path[];
};

/* A block that is perhaps not here. */
struct want {
	struct pin	*pin;
	struct kept_block block;
};

struct fetching {
	struct pinner	*pinner;
	struct pin	*pin;
	uint32_t	 bytes;
};

/* One KEEP under way. */
struct visit {
	struct errand	*errand;
	struct op	 op;
	uint32_t	 mode;
	uint64_t	 size;
	bool		 unsaved, failed;
	void		*list;			/* of oids, or of kept_blocks */
	size_t		 bytes;
};

struct pinner {
	pthread_mutex_t	 lock;
	pthread_cond_t	 change;
	TAILQ_HEAD(, pin) pins;
	bool		 stopping, kicked;
	uint64_t	 fetched;		/* blocks so far */
	unsigned	 outstanding;		/* those being fetched */
	size_t		 outstanding_bytes;
	/* in this round: the server went; something changed under it; the cache takes no more */
	bool		 undone, again, stuck;

	struct shell	*shell;
	struct blockcache *cache;
	size_t		 objects_max;
	pthread_t	 thread;
	bool		 threaded;

	/* the thread's own */
	uint64_t	 round, seen;		/* seen: what was due when the last whole round began */
	size_t		 visited;
	uint64_t	*stack;			/* oids to be visited */
	size_t		 stack_count, stack_size;
	struct want	*wants;
	size_t		 wants_count, wants_size;
};

static bool
stopping(struct pinner *p)
{
	LOCK_SCOPE(&p->lock);
	return p->stopping;
}

static bool
attached(struct pinner *p)
{
	struct engine_status status;
	char trouble[8];

	shell_status(p->shell, &status, trouble, sizeof trouble);
	return status.attached;
}

/* Room for one more in a growing list. */
static bool
grow(void **list, size_t count, size_t *size, size_t each)
{
	size_t larger = *size == 0 ? 64 : 2 * *size;
	void *more;

	if (count < *size)
		return true;
	if ((more = realloc(*list, larger * each)) == NULL)
		return false;
	*list = more;
	*size = larger;
	return true;
}

/* ---- walking ---- */

static void
take(void *context, const struct op *op)
{
	struct visit *v = context;

	if (op->error != 0 || op->pieces_count == 0)
		return;
	v->mode = op->attr.mode;
	v->size = op->attr.size;
	v->unsaved = op->unsaved;
	v->bytes = op->pieces[0].len;
	v->list = malloc(v->bytes + 1);
	v->failed = v->list == NULL;
	if (v->list != NULL && v->bytes > 0)
		memcpy(v->list, op->pieces[0].data, v->bytes);
}

static bool
visit_begin(struct pinner *p, struct visit *v, uint64_t oid, struct bytes name)
{
	*v = (struct visit){ .op = { .type = OP_KEEP, .ino = oid, .name = name, .round = p->round } };
	v->errand = shell_begin_taking(p->shell, &v->op, take, v);
	return v->errand != NULL;
}

/* Its error; -EINTR: the thread is to stop. */
static int
visit_end(struct pinner *p, struct visit *v)
{
	unsigned parting_ms = 0;
	int r;

	while (!shell_wait(v->errand, LOOK_MS))
		if (stopping(p) && (parting_ms += LOOK_MS) >= PARTING_MS)
			break;
	r = shell_end(p->shell, v->errand, &v->op);
	return r == 0 && v->failed ? -ENOMEM : r;
}

/* The object at a path: 0, -ENOENT, or another -errno. */
static int
find(struct pinner *p, const char *path, uint64_t *ret)
{
	uint64_t oid = OID_ROOT;
	struct visit v;
	int r = 0;

	while (r == 0 && *(path += strspn(path, "/")) != '\0') {
		size_t len = strcspn(path, "/");

		if (!visit_begin(p, &v, oid, (struct bytes){ (const uint8_t *)path, len }))
			return -ENOMEM;
		r = visit_end(p, &v);
		free(v.list);
		oid = v.op.child;
		path += len;
	}
	if (r == 0)
		*ret = oid;
	return r == -ENOTDIR || r == -ESTALE ? -ENOENT : r;
}

static int
push(struct pinner *p, uint64_t oid)
{
	if (!grow((void **)&p->stack, p->stack_count, &p->stack_size, sizeof *p->stack))
		return -ENOMEM;
	p->stack[p->stack_count++] = oid;
	return 0;
}

/* What a file needs is counted, and wanted. */
static int
count_file(struct pinner *p, struct pin *pin, const struct visit *v, struct pin_report *to)
{
	const struct kept_block *blocks = v->list;

	to->files++;
	to->bytes += v->size;
	for (size_t i = 0; i < v->bytes / sizeof *blocks; i++) {
		to->blocks++;
		to->needs += blockcache_charge(blocks[i].bytes + SEAL_BYTES);
		if (!grow((void **)&p->wants, p->wants_count, &p->wants_size, sizeof *p->wants))
			return -ENOMEM;
		p->wants[p->wants_count++] = (struct want){ pin, blocks[i] };
	}
	return 0;
}

static int
visited(struct pinner *p, struct pin *pin, struct visit *v, struct pin_report *to)
{
	int r = visit_end(p, v);
	const uint64_t *oids = v->list;

	/* Gone since its name was read. */
	if (r == -ESTALE || r == -ENOENT) {
		p->again = true;
		return 0;
	}
	/* The rest is kept all the same. */
	if (r == -EIO) {
		to->error = r;
		return 0;
	}
	p->again |= r == 0 && v->unsaved;
	if (r == 0 && S_ISREG(v->mode))
		r = count_file(p, pin, v, to);
	for (size_t i = 0; r == 0 && S_ISDIR(v->mode) && i < v->bytes / sizeof *oids; i++)
		r = push(p, oids[i]);
	if (++p->visited > p->objects_max)
		r = r < 0 ? r : -EFBIG;
	return r;
}

/* All below oid.  0, or the first error; -EFBIG: more than there can be. */
static int
walk(struct pinner *p, struct pin *pin, uint64_t oid, struct pin_report *to, uint64_t bytes_max)
{
	struct visit *ring = calloc(WALKERS, sizeof *ring);
	unsigned first = 0, count = 0;
	int e, r = ring == NULL ? -ENOMEM : 0;

	p->stack_count = 0;
	if (r == 0)
		r = push(p, oid);
	while (count > 0 || (r == 0 && p->stack_count > 0)) {
		if (stopping(p))
			r = -EINTR;
		if (r == 0 && to->needs > bytes_max)
			r = -EFBIG;
		if (r == 0 && count < WALKERS && p->stack_count > 0) {
			if (visit_begin(p, &ring[(first + count) % WALKERS], p->stack[--p->stack_count], (struct bytes){ NULL, 0 }))
				count++;
			else
				r = -ENOMEM;
			continue;
		}
		if (count == 0)
			break;
		e = visited(p, pin, &ring[first], to);
		free(ring[first].list);
		first = (first + 1) % WALKERS;
		count--;
		r = r < 0 ? r : e;
	}
	free(ring);
	return r == 0 && to->needs > bytes_max ? -EFBIG : r;
}

static bool
server_is_away(int error)
{
	return error == -EHOSTDOWN || error == -EINTR || error == -ETIMEDOUT || error == -ECANCELED;
}

/* Is it below another pin, which counts what it needs? */
static bool
below_another(struct pinner *p, const struct pin *pin)
{
	struct pin *other;

	LOCK_SCOPE(&p->lock);
	TAILQ_FOREACH(other, &p->pins, link) {
		size_t len = strlen(other->path);

		if (other != pin && !other->removed && strncmp(other->path, pin->path, len) == 0 &&
		    (pin->path[len] == '/' || strcmp(other->path, "/") == 0) && other->report.state != PIN_TOO_LARGE)
			return true;
	}
	return false;
}

/* What of the last wants, from `first` on, is here: it is kept, and wanted no more. */
static void
keep_here(struct pinner *p, size_t first, struct pin_report *to)
{
	size_t count = first;

	for (size_t i = first; i < p->wants_count; i++) {
		const struct kept_block *b = &p->wants[i].block;

		if (blockcache_mark(p->cache, b->id, b->first, b->count, p->round))
			to->here++;
		else
			p->wants[count++] = p->wants[i];
	}
	p->wants_count = count;
}

/* What a pin is, in `report`; *left is what the cache has room for beside the pins before. */
static void
look_at(struct pinner *p, struct pin *pin, uint64_t all, uint64_t *left)
{
	struct pin_report now = { .path = pin->path, .state = PIN_FETCHING };
	bool counted = below_another(p, pin);
	size_t wants = p->wants_count;
	uint64_t oid;
	int r = find(p, pin->path, &oid);

	if (r == 0)
		r = walk(p, pin, oid, &now, counted ? all : *left);
	if (server_is_away(r)) {
		LOCK_SCOPE(&p->lock);
		p->undone = true;
		return;
	}
	/* One that does not fit keeps nothing from those that do. */
	if (r == -EFBIG)
		p->wants_count = wants;
	keep_here(p, wants, &now);
	if (r < 0)
		p->wants_count = wants;
	if (r == -ENOENT)
		now.state = PIN_MISSING;
	else if (r == -EFBIG)
		now.state = PIN_TOO_LARGE;
	else if (r < 0 || now.error < 0)
		now.state = PIN_FAILED;
	else if (now.here == now.blocks)
		now.state = PIN_COMPLETE;
	now.error = r < 0 ? r : now.error;
	if (r == 0 && !counted)
		*left -= now.needs;
	LOCK_SCOPE(&p->lock);
	pin->report = now;
}

/* ---- fetching ---- */

static void
fetched(void *context, int error)
{
	struct fetching *f = context;
	struct pinner *p = f->pinner;

	{
		LOCK_SCOPE(&p->lock);
		p->outstanding--;
		p->outstanding_bytes -= f->bytes;
		if (error == 0)
			f->pin->report.here++;
		else if (error == -EAGAIN)
			;			/* not asked for */
		else if (server_is_away(error))
			p->undone = true;
		else if (error == -ENOENT)
			p->again = true;	/* it was changed, and the block is gone */
		else {
			f->pin->report.state = PIN_FAILED;
			f->pin->report.error = error;
			p->stuck = true;
		}
		if (f->pin->report.state == PIN_FETCHING && f->pin->report.here == f->pin->report.blocks)
			f->pin->report.state = PIN_COMPLETE;
		pthread_cond_broadcast(&p->change);
	}
	free(f);
}

/* Waits until `want` more bytes may be under way, or none is: false: it is to stop. */
static bool
room(struct pinner *p, bool all, uint32_t bytes)
{
	LOCK_SCOPE(&p->lock);
	while (!p->stopping && p->outstanding > 0 &&
	    (all || p->outstanding >= FETCH_BLOCKS || p->outstanding_bytes + bytes > FETCH_BYTES))
		pthread_cond_wait(&p->change, &p->lock);
	return !p->stopping;
}

static void
fetch_all(struct pinner *p)
{
	for (size_t i = 0; i < p->wants_count && room(p, false, p->wants[i].block.bytes); i++) {
		struct fetching *f = malloc(sizeof *f);
		bool here, skip;

		if (f == NULL)
			break;
		*f = (struct fetching){ p, p->wants[i].pin, p->wants[i].block.bytes };
		here = blockcache_mark(p->cache, p->wants[i].block.id, p->wants[i].block.first, p->wants[i].block.count, p->round);
		{
			LOCK_SCOPE(&p->lock);
			skip = f->pin->removed || p->undone || p->stuck;
			p->outstanding++;
			p->outstanding_bytes += f->bytes;
		}
		if (here || skip) {
			fetched(f, here ? 0 : -EAGAIN);
			continue;
		}
		{
			LOCK_SCOPE(&p->lock);
			p->fetched++;
		}
		shell_keep_block(p->shell, &p->wants[i].block, p->round, fetched, f);
	}
	room(p, true, 0);
}

/* ---- rounds ---- */

/* The next pin of this round; NULL: none.  Those that are removed go, if it is the first. */
static struct pin *
next_pin(struct pinner *p, struct pin *pin)
{
	struct pin *next;

	LOCK_SCOPE(&p->lock);
	if (pin == NULL)
		for (struct pin *each = TAILQ_FIRST(&p->pins); each != NULL; each = next) {
			next = TAILQ_NEXT(each, link);
			if (each->removed) {
				TAILQ_REMOVE(&p->pins, each, link);
				free(each);
			}
		}
	pin = pin == NULL ? TAILQ_FIRST(&p->pins) : TAILQ_NEXT(pin, link);
	while (pin != NULL && pin->removed)
		pin = TAILQ_NEXT(pin, link);
	return p->stopping ? NULL : pin;
}

/* True when it saw everything. */
static bool
round_run(struct pinner *p)
{
	struct blockcache_status cache;
	struct pin *pin = NULL;
	bool undone, any = false;
	uint64_t left;

	blockcache_status(p->cache, &cache);
	left = cache.bytes_max;
	p->round++;
	p->wants_count = p->visited = 0;
	{
		LOCK_SCOPE(&p->lock);
		p->undone = p->again = p->stuck = false;
	}
	for (; (pin = next_pin(p, pin)) != NULL; any = true)
		look_at(p, pin, cache.bytes_max, &left);
	{
		LOCK_SCOPE(&p->lock);
		undone = p->undone || p->stopping;
	}
	if (!undone) {
		shell_keep_round(p->shell, p->round, any);
		blockcache_round(p->cache, p->round);
	}
	if (!undone)
		fetch_all(p);
	LOCK_SCOPE(&p->lock);
	return !undone && !p->undone;
}

/* Waits until the next round is due; false: it is to stop. */
static bool
await(struct pinner *p, uint64_t rest_ms, bool whole)
{
	uint64_t began = clock_ms(CLOCK_MONOTONIC), passed;
	bool due, changed, up;

	for (;;) {
		changed = shell_keep_due(p->shell) != p->seen;
		up = attached(p);
		{
			LOCK_SCOPE(&p->lock);
			if (!p->stopping && !p->kicked && whole && !p->again && TAILQ_EMPTY(&p->pins))
				pthread_cond_wait(&p->change, &p->lock);
			else if (!p->stopping && !(p->kicked && up))
				lock_wait_ms(&p->change, &p->lock, AWAIT_MS);
			if (p->stopping)
				return false;
			passed = clock_ms(CLOCK_MONOTONIC) - began;
			due = p->kicked || (passed >= rest_ms && (!whole || p->again || changed)) ||
			    (passed >= AGAIN_MS && passed >= rest_ms && !TAILQ_EMPTY(&p->pins));
		}
		if (due && attached(p))
			return true;
	}
}

static void *
thread_main(void *argument)
{
	struct pinner *p = argument;
	uint64_t rest_ms = 0;
	bool whole = true;

	blockcache_await(p->cache);	/* or it would be fetched again */
	while (await(p, rest_ms, whole)) {
		uint64_t began = clock_ms(CLOCK_MONOTONIC), due = shell_keep_due(p->shell);

		{
			LOCK_SCOPE(&p->lock);
			p->kicked = false;
		}
		whole = round_run(p);
		p->seen = due;
		rest_ms = (clock_ms(CLOCK_MONOTONIC) - began) * REST_TIMES;
		if (rest_ms < REST_MS)
			rest_ms = REST_MS;
	}
	return NULL;
}

/* ---- life ---- */

int
pinner_new(struct pinner **ret, struct shell *shell, struct blockcache *cache, size_t objects_max)
{
	struct pinner *p = calloc(1, sizeof *p);

	if (p == NULL)
		return -ENOMEM;
	lock_init(&p->lock);
	lock_cond_init(&p->change);
	TAILQ_INIT(&p->pins);
	p->shell = shell;
	p->cache = cache;
	p->objects_max = objects_max / 4 * 3;
	p->round = ROUND_FIRST - 1;
	if (pthread_create(&p->thread, NULL, thread_main, p) != 0) {
		pinner_free(p);
		return -EAGAIN;
	}
	p->threaded = true;
	*ret = p;
	return 0;
}

void
pinner_stop(struct pinner *p)
{
	if (p == NULL || !p->threaded)
		return;
	{
		LOCK_SCOPE(&p->lock);
		p->stopping = true;
		pthread_cond_broadcast(&p->change);
	}
	pthread_join(p->thread, NULL);
	p->threaded = false;
}

void
pinner_free(struct pinner *p)
{
	struct pin *pin;

	if (p == NULL)
		return;
	while ((pin = TAILQ_FIRST(&p->pins)) != NULL) {
		TAILQ_REMOVE(&p->pins, pin, link);
		free(pin);
	}
	free(p->stack);
	free(p->wants);
	pthread_cond_destroy(&p->change);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* Under the lock. */
static struct pin *
pin_of(struct pinner *p, const char *path)
{
	struct pin *pin;

	TAILQ_FOREACH(pin, &p->pins, link)
		if (!pin->removed && strcmp(pin->path, path) == 0)
			break;
	return pin;
}

int
pinner_add(struct pinner *p, const char *path)
{
	size_t len = strlen(path) + 1;
	struct pin *new = calloc(1, sizeof *new + len), *pin;

	if (new == NULL)
		return -ENOMEM;
	memcpy(new->path, path, len);
	new->report.path = new->path;
	LOCK_SCOPE(&p->lock);
	if ((pin = pin_of(p, path)) != NULL) {
		pin->report.state = PIN_LOOKING;
		free(new);
	} else
		TAILQ_INSERT_TAIL(&p->pins, new, link);
	p->kicked = true;
	pthread_cond_broadcast(&p->change);
	return 0;
}

int
pinner_remove(struct pinner *p, const char *path)
{
	struct pin *pin;

	LOCK_SCOPE(&p->lock);
	if ((pin = pin_of(p, path)) == NULL)
		return -ENOENT;
	pin->removed = true;
	p->kicked = true;
	pthread_cond_broadcast(&p->change);
	return 0;
}

static struct pin_report
report(const struct pin *pin, bool away)
{
	struct pin_report r = pin->report;

	if (away && (r.state == PIN_LOOKING || r.state == PIN_FETCHING))
		r.state = PIN_WAITING;
	return r;
}

void
pinner_each(struct pinner *p, void (*each)(void *context, const struct pin_report *pin), void *context)
{
	bool away = !attached(p);
	struct pin *pin;

	LOCK_SCOPE(&p->lock);
	TAILQ_FOREACH(pin, &p->pins, link)
		if (!pin->removed) {
			struct pin_report r = report(pin, away);

			each(context, &r);
		}
}

bool
pinner_find(struct pinner *p, const char *path, struct pin_report *to)
{
	bool away = !attached(p);
	struct pin *pin;

	LOCK_SCOPE(&p->lock);
	if ((pin = pin_of(p, path)) != NULL) {
		*to = report(pin, away);
		to->path = NULL;
	}
	return pin != NULL;
}

uint64_t
pinner_fetched(struct pinner *p)
{
	LOCK_SCOPE(&p->lock);
	return p->fetched;
}
