/*
 * mover.c - see mover.h.
 *
 * Sealed blocks cost memory, and a slow lane must not pile them up: at most
 * SEALED_MAX bytes of blocks are sealing, ready or sent; the others wait as
 * plaintext, which the engine holds anyway.  A block counts as SLOT_BYTES at
 * least, so that small ones fill a long lane and are still not without number.  GETs go before PUTs, because somebody waits
 * for them.  Small blocks that a COMMIT carries are only sealed.
 *
 * Lock: m->lock, for the lists; no callback and no sealing under it.
 */
#include "fs/mover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "proto/seal.h"

enum {
	SEALED_MAX	= 24 * BLOCK_SIZE,	/* bytes of blocks sealed and not yet acknowledged */
	SENT_MAX	= 16 * BLOCK_SIZE,	/* bytes of PUTs without an answer */
	SLOT_BYTES	= 32 * 1024,
	LEAD		= 4 * BLOCK_SIZE,	/* of a lane over the one with the least on its way */
	BUSY_MIN_MS	= 100,			/* how long all wait when the server is too busy for one, */
	BUSY_MAX_MS	= 1000,			/* twice as long each time, until it takes one */
	INLINE_CELLS	= 2,			/* opened by the reader itself: dearer to hand over */
	ZSTD_LEVEL	= 1,
};

/* One PUT or one GET. */
struct transfer {
	struct job	 job;
	struct mover	*mover;
	struct transfer	*next;
	uint64_t	 id;			/* of the request */
	unsigned	 lane;			/* sent: by which */
	struct flush	*flush;			/* a PUT, or */
	struct fetch	*fetch;			/* a GET */
	struct fetch	 own;			/* a GET for the pins: *fetch, and */
	uint64_t	 round;			/* != 0 then */
	void		(*done)(void *context, int error);
	void		*context;
	struct buffer	*bytes;			/* PUT: the sealed block; GET: the answer's frame */
	struct bytes	 payload;		/* GET: in bytes */
};

struct transfers {
	struct transfer	*first, **last;
};

struct mover {
	pthread_mutex_t		 lock;
	struct transfers	 waiting, puts, gets, late, sent;	/* late: GETs for the pins */
	size_t			 sealed, puts_sent;	/* bytes of flushes, as slot_bytes() counts */
	struct {
		bool	up;				/* it has asked for work since it was lost */
		size_t	sent;				/* bytes without an answer, as lane_bytes() counts */
	} lanes[MOVER_LANES];
	unsigned		 busy_ms;		/* 0: the last answer was not BUSY */
	uint64_t		 busy_until;		/* nothing is said before, but GETs unless one of them */
	bool			 busy_gets;		/* was answered BUSY; 0: now */
	uint64_t		 next_id;
	bool			 stopping;
	bool			 away, pins;

	struct workers		*workers;
	struct blockcache	*cache;		/* NULL: none */
	const struct volume_keys *keys;
	const struct mover_calls *calls;
	void			*context;
};

static void
list_init(struct transfers *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void
list_add(struct transfers *list, struct transfer *t)
{
	t->next = NULL;
	*list->last = t;
	list->last = &t->next;
}

/* Takes the one with that id out of the list, or the first one when id is 0. */
static struct transfer *
list_take(struct transfers *list, uint64_t id)
{
	struct transfer **at, *t;

	for (at = &list->first; (t = *at) != NULL; at = &t->next) {
		if (id != 0 && t->id != id)
			continue;
		*at = t->next;
		if (*at == NULL)
			list->last = at;
		t->next = NULL;
		return t;
	}
	return NULL;
}

/* Behind what `to` has. */
static void
move_all(struct transfers *to, struct transfers *from)
{
	struct transfer *t;

	while ((t = list_take(from, 0)) != NULL)
		list_add(to, t);
}

static void
transfer_free(struct transfer *t)
{
	if (t != NULL)
		buffer_put(t->bytes);
	free(t);
}

int
mover_new(struct mover **ret, struct workers *workers, struct blockcache *cache, const struct volume_keys *keys,
    const struct mover_calls *calls, void *context)
{
	struct mover *m = calloc(1, sizeof *m);

	if (m == NULL)
		return -ENOMEM;
	lock_init(&m->lock);
	list_init(&m->waiting);
	list_init(&m->puts);
	list_init(&m->gets);
	list_init(&m->late);
	list_init(&m->sent);
	m->next_id = 1;
	m->workers = workers;
	m->cache = cache;
	m->keys = keys;
	m->calls = calls;
	m->context = context;
	*ret = m;
	return 0;
}

static void
list_free(struct transfers *list)
{
	struct transfer *t;

	while ((t = list_take(list, 0)) != NULL)
		transfer_free(t);
}

void
mover_free(struct mover *m)
{
	if (m == NULL)
		return;
	list_free(&m->waiting);
	list_free(&m->puts);
	list_free(&m->gets);
	list_free(&m->late);
	list_free(&m->sent);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void
mover_stop(struct mover *m)
{
	LOCK_SCOPE(&m->lock);
	m->stopping = true;
}

/* ---- storing ---- */

static size_t
slot_bytes(const struct flush *f)
{
	return f->len < SLOT_BYTES ? SLOT_BYTES : f->len;
}

/* Room for a sealed block came free: the next ones in line are sealed. */
static void
seal_next(struct mover *m)
{
	struct transfer *t;

	do {
		{
			LOCK_SCOPE(&m->lock);
			t = m->sealed < SEALED_MAX && !m->stopping ? list_take(&m->waiting, 0) : NULL;
			if (t != NULL)
				m->sealed += slot_bytes(t->flush);
		}
		if (t != NULL)
			workers_add(m->workers, &t->job, false);
	} while (t != NULL);
}

/* Ends a put that took a slot. */
static void
put_done(struct mover *m, struct transfer *t, int error)
{
	struct flush *flush = t->flush;

	transfer_free(t);
	{
		LOCK_SCOPE(&m->lock);
		m->sealed -= slot_bytes(flush);
	}
	m->calls->stored(m->context, flush, error);
	seal_next(m);
}

/* Sealed and written here: what is pinned need not be fetched again. */
static void
offer_stored(struct mover *m, const struct flush *f, struct buffer *sealed)
{
	bool pins;

	{
		LOCK_SCOPE(&m->lock);
		pins = m->pins;
	}
	if (pins && m->cache != NULL)
		blockcache_offer(m->cache, f->id, 0, (unsigned)(f->len + CELL_SIZE - 1) / CELL_SIZE, sealed,
		    (struct bytes){ sealed->data, sealed->size });
}

static void
seal(struct job *job)
{
	struct transfer *t = (struct transfer *)job;
	struct mover *m = t->mover;
	struct flush *flush = t->flush;
	struct buffer *sealed = NULL;
	ssize_t len = -ENOMEM;

	/* Sealed already when it was to be carried and no commit had room for it. */
	if (flush->sealed != NULL) {
		sealed = buffer_get(flush->sealed);
		len = (ssize_t)sealed->size;
	} else if ((sealed = buffer_new_raw(flush->len + SEALED_OVERHEAD)) != NULL) {
		len = block_seal(m->keys, flush->buffer->data + flush->start, flush->len, ZSTD_LEVEL,
		    flush->id, sealed->data);
	}
	if (len < 0) {
		buffer_put(sealed);
		put_done(m, t, (int)len);
		return;
	}
	sealed->size = (size_t)len;
	if (flush->carried && flush->sealed != NULL) {
		buffer_put(sealed);
		put_done(m, t, 0);
		return;
	}
	if (flush->carried) {
		offer_stored(m, flush, sealed);
		flush->sealed = sealed;
		put_done(m, t, 0);
		return;
	}
	t->bytes = sealed;
	{
		LOCK_SCOPE(&m->lock);
		list_add(&m->puts, t);
	}
	m->calls->kick(m->context, false);
}

void
mover_store(struct mover *m, struct flush *flush, bool here)
{
	struct transfer *t = calloc(1, sizeof *t);
	bool now;

	if (t == NULL) {
		m->calls->stored(m->context, flush, -ENOMEM);
		return;
	}
	*t = (struct transfer){ .job.run = seal, .mover = m, .flush = flush };
	{
		LOCK_SCOPE(&m->lock);
		/* A carried block is small and gives its slot back at once. */
		now = (flush->carried || m->sealed < SEALED_MAX) && !m->stopping;
		if (now)
			m->sealed += slot_bytes(flush);
		else
			list_add(&m->waiting, t);
	}
	if (now && here)
		seal(&t->job);
	else if (now)
		workers_add(m->workers, &t->job, false);
}

/* ---- fetching ---- */

/* Opens cells [first, first + count), whose sealed bytes these are, into the fetch. */
static int
open_run(void *context, const struct block_header *h, unsigned first, unsigned count, struct bytes sealed)
{
	struct transfer *t = context;
	struct fetch *f = t->fetch;
	size_t base, offset, size;
	struct buffer *b;
	ssize_t len;

	if (block_cells(h, first, count, &base, &size) < 0 || sealed.len != size)
		return -EBADMSG;
	for (unsigned i = first; i < first + count; i++) {
		if (block_cells(h, i, 1, &offset, &size) < 0)
			return -EBADMSG;
		if ((b = buffer_new_raw(cell_length(h, i))) == NULL)
			return -ENOMEM;
		len = cell_open(t->mover->keys, f->id, h, i, (struct bytes){ sealed.data + (offset - base), size }, b->data);
		if (len < 0) {
			buffer_put(b);
			return (int)len;
		}
		b->size = (size_t)len;
		buffer_put(f->cells[i - f->first]);	/* of a run that was damaged farther on */
		f->cells[i - f->first] = b;
	}
	return 0;
}

static int
open_cells(struct transfer *t)
{
	struct fetch *f = t->fetch;
	struct block_header header;
	int r = block_header_decode(&header, t->payload);

	if (r < 0)
		return r;
	return open_run(t, &header, f->first, f->count,
	    (struct bytes){ t->payload.data + header.size, t->payload.len - header.size });
}

static void
drop_cells(struct fetch *f)
{
	for (unsigned i = 0; i < f->count && i < CELLS_MAX; i++) {
		buffer_put(f->cells[i]);
		f->cells[i] = NULL;
	}
}

static void
get_done(struct mover *m, struct transfer *t, int error)
{
	struct fetch *f = t->fetch;
	char name[2 * 8 + 1];

	if (error < 0 && error != -EHOSTDOWN) {
		drop_cells(f);
		for (unsigned i = 0; i < 8; i++)
			snprintf(name + 2 * i, 3, "%02x", f->id[i]);
		if (error != -ENOENT)
			log_error("block %s..., cells %u to %u: %s", name, f->first, f->first + f->count - 1u,
			    error == -EBADMSG ? "damaged or forged, its seal does not open" : strerror(-error));
	}
	if (error == 0 && t->bytes != NULL && m->cache != NULL)
		blockcache_offer(m->cache, f->id, f->first, f->count, t->bytes, t->payload);
	transfer_free(t);
	m->calls->fetched(m->context, f, error);
}

static void
keep_done(struct mover *m, struct transfer *t, int error)
{
	const struct fetch *f = &t->own;

	drop_cells(&t->own);
	if (error == 0)
		blockcache_keep(m->cache, f->id, f->first, f->count, t->round, t->bytes, t->payload, t->done, t->context);
	else
		t->done(t->context, error);
	transfer_free(t);
}

static void
open_job(struct job *job)
{
	struct transfer *t = (struct transfer *)job;

	if (t->round != 0)
		keep_done(t->mover, t, open_cells(t));
	else
		get_done(t->mover, t, open_cells(t));
}

/* From the server, then. */
static void
ask(struct mover *m, struct transfer *t)
{
	bool light, away;

	t->job.run = open_job;
	{
		LOCK_SCOPE(&m->lock);
		list_add(&m->gets, t);
		light = m->puts.first == NULL;
		away = m->away;		/* by now: as what was asked for before that */
	}
	if (away)
		m->calls->look(m->context);
	else
		m->calls->kick(m->context, light);
}

static bool
is_away(struct mover *m)
{
	LOCK_SCOPE(&m->lock);
	return m->away;
}

static void
read_job(struct job *job)
{
	struct transfer *t = (struct transfer *)job;
	struct mover *m = t->mover;
	struct fetch *f = t->fetch;
	int r = blockcache_read(m->cache, f->id, f->first, f->count, open_run, t);

	if (r == 0)
		get_done(m, t, 0);
	else if (is_away(m))
		get_done(m, t, -EHOSTDOWN);
	else {
		drop_cells(f);
		ask(m, t);
	}
}

void
mover_fetch(struct mover *m, struct fetch *fetch)
{
	struct transfer *t = calloc(1, sizeof *t);

	if (t == NULL) {
		m->calls->fetched(m->context, fetch, -ENOMEM);
		return;
	}
	*t = (struct transfer){ .job.run = read_job, .mover = m, .fetch = fetch };
	if (m->cache != NULL && (blockcache_has(m->cache, fetch->id, fetch->first, fetch->count) || is_away(m)))
		workers_add(m->workers, &t->job, true);
	else
		ask(m, t);
}

void
mover_keep(struct mover *m, const struct kept_block *block, uint64_t round, void (*done)(void *context, int error),
    void *context)
{
	struct transfer *t = calloc(1, sizeof *t);

	if (t == NULL) {
		done(context, -ENOMEM);
		return;
	}
	*t = (struct transfer){ .job.run = open_job, .mover = m, .fetch = &t->own, .round = round, .done = done,
	    .context = context };
	memcpy(t->own.id, block->id, ID_SIZE);
	t->own.first = block->first;
	t->own.count = block->count;
	{
		LOCK_SCOPE(&m->lock);
		list_add(&m->late, t);
	}
	m->calls->kick(m->context, false);
}

void
mover_pins(struct mover *m, bool any)
{
	LOCK_SCOPE(&m->lock);
	m->pins = any;
}

void
mover_away(struct mover *m, bool away)
{
	LOCK_SCOPE(&m->lock);
	m->away = away && m->cache != NULL;
}

/* What was asked for when the server went away: now the disk is all there is. */
static void
recall_gets(struct mover *m)
{
	struct transfer *t;

	do {
		{
			LOCK_SCOPE(&m->lock);
			t = m->away ? list_take(&m->gets, 0) : NULL;
			if (t == NULL && m->away)
				t = list_take(&m->late, 0);
		}
		if (t != NULL && t->round != 0)
			keep_done(m, t, -EHOSTDOWN);
		else if (t != NULL) {
			t->job.run = read_job;
			workers_add(m->workers, &t->job, true);
		}
	} while (t != NULL);
}

/* ---- the bulk lanes ---- */

/* What a transfer is to its lane. */
static size_t
lane_bytes(const struct transfer *t)
{
	return t->flush != NULL ? slot_bytes(t->flush) : (size_t)t->fetch->count * CELL_SIZE;
}

/* Under the lock.  A lane alone never does. */
static bool
lane_leads(const struct mover *m, unsigned lane)
{
	size_t least = SIZE_MAX;

	for (unsigned i = 0; i < MOVER_LANES; i++)
		if (m->lanes[i].up && m->lanes[i].sent < least)
			least = m->lanes[i].sent;
	return m->lanes[lane].sent >= least + LEAD;
}

/* The next transfer to say, now counted as sent; *hold keeps its bytes while they leave. */
static struct transfer *
next_ready(struct mover *m, unsigned lane, struct message *request, struct buffer **hold)
{
	struct transfer *t;

	LOCK_SCOPE(&m->lock);
	if (lane_leads(m, lane))
		return NULL;
	t = m->busy_until != 0 && m->busy_gets ? NULL : list_take(&m->gets, 0);
	if (t == NULL && m->busy_until == 0)
		t = list_take(&m->late, 0);
	if (t == NULL && m->busy_until == 0 && m->puts_sent < SENT_MAX) {
		t = list_take(&m->puts, 0);
		if (t != NULL)
			m->puts_sent += slot_bytes(t->flush);
	}
	if (t == NULL)
		return NULL;
	t->id = m->next_id++;
	t->lane = lane;
	m->lanes[lane].sent += lane_bytes(t);
	*request = (struct message){ .id = t->id };
	if (t->fetch != NULL) {
		request->type = MSG_get;
		memcpy(request->get.id, t->fetch->id, ID_SIZE);
		request->get.first = t->fetch->first;
		request->get.count = t->fetch->count;
		*hold = NULL;
	} else {
		request->type = MSG_put;
		memcpy(request->put.id, t->flush->id, ID_SIZE);
		request->payload = (struct bytes){ t->bytes->data, t->bytes->size };
		*hold = buffer_get(t->bytes);
	}
	list_add(&m->sent, t);
	return t;
}

int
mover_channel_fill(struct mover *m, unsigned lane, struct link *link)
{
	struct message request;
	struct buffer *hold;
	bool came_up;
	int r = 0;

	{
		LOCK_SCOPE(&m->lock);
		came_up = !m->lanes[lane].up;
		m->lanes[lane].up = true;
	}
	if (came_up)
		m->calls->look(m->context);
	while (r == 0 && next_ready(m, lane, &request, &hold) != NULL) {
		r = link_put(link, &request);
		buffer_put(hold);
	}
	return r;
}

/* Under the lock: the server is too busy for t, which is said again later, as is all else. */
static void
back_off(struct mover *m, struct transfer *t)
{
	list_add(t->flush != NULL ? &m->puts : t->round != 0 ? &m->late : &m->gets, t);
	m->busy_gets |= t->fetch != NULL;
	if (m->busy_until != 0)
		return;			/* said in the same breath as another */
	m->busy_ms = m->busy_ms == 0 ? BUSY_MIN_MS : m->busy_ms * 2 < BUSY_MAX_MS ? m->busy_ms * 2 : BUSY_MAX_MS;
	m->busy_until = clock_ms(CLOCK_MONOTONIC) + m->busy_ms;
}

bool
mover_busy(struct mover *m)
{
	LOCK_SCOPE(&m->lock);
	return m->busy_ms != 0;
}

/* Under the lock.  Without a lane nothing moves. */
static bool
is_idle(const struct mover *m)
{
	bool up = false;

	for (unsigned i = 0; i < MOVER_LANES; i++)
		up |= m->lanes[i].up;
	return m->sent.first == NULL &&
	    (!up || (m->gets.first == NULL && m->late.first == NULL && m->puts.first == NULL));
}

bool
mover_tick(struct mover *m)
{
	bool idle, over;

	recall_gets(m);
	{
		LOCK_SCOPE(&m->lock);
		over = m->busy_until != 0 && clock_ms(CLOCK_MONOTONIC) >= m->busy_until;
		if (over) {
			m->busy_until = 0;
			m->busy_gets = false;
		}
		idle = m->busy_until == 0 && is_idle(m);
	}
	if (over)
		m->calls->kick(m->context, false);
	return idle;
}

void
mover_channel_received(struct mover *m, const struct message *answer, struct buffer *frame)
{
	struct transfer *t;
	enum status status;
	bool busy;

	if (answer->type == MSG_stored)
		status = answer->stored.status;
	else if (answer->type == MSG_block)
		status = answer->block.status;
	else if (answer->type == MSG_done)
		status = answer->done.status != STATUS_OK ? answer->done.status : STATUS_INVALID;
	else
		return;
	{
		LOCK_SCOPE(&m->lock);
		t = answer->id != 0 ? list_take(&m->sent, answer->id) : NULL;
		if (t != NULL)
			m->lanes[t->lane].sent -= lane_bytes(t);
		if (t != NULL && t->flush != NULL)
			m->puts_sent -= slot_bytes(t->flush);
		busy = t != NULL && status == STATUS_BUSY;
		if (busy)
			back_off(m, t);
		else if (t != NULL && (t->flush != NULL || m->busy_gets))
			m->busy_ms = 0;
	}
	if (busy)
		m->calls->look(m->context);
	if (t == NULL || busy)
		return;
	if (t->flush != NULL) {
		if (answer->type == MSG_block)
			status = STATUS_INVALID;
		if (status == STATUS_OK)
			offer_stored(m, t->flush, t->bytes);
		put_done(m, t, link_errno(status));
		m->calls->kick(m->context, false);
		return;
	}
	if (status == STATUS_OK && answer->type != MSG_block)
		status = STATUS_INVALID;
	if (status != STATUS_OK && t->round != 0)
		keep_done(m, t, link_errno(status));
	else if (status != STATUS_OK)
		get_done(m, t, link_errno(status));
	if (status != STATUS_OK)
		return;
	t->bytes = buffer_get(frame);
	t->payload = answer->payload;
	if (t->fetch->count <= INLINE_CELLS)
		open_job(&t->job);
	else
		workers_add(m->workers, &t->job, t->round == 0);
}

void
mover_channel_lost(struct mover *m, unsigned lane)
{
	struct transfers puts, gets, late, others;
	struct transfer *t;

	list_init(&puts);
	list_init(&gets);
	list_init(&late);
	list_init(&others);
	LOCK_SCOPE(&m->lock);
	while ((t = list_take(&m->sent, 0)) != NULL)
		if (t->lane != lane) {
			list_add(&others, t);
		} else {
			m->puts_sent -= t->flush != NULL ? slot_bytes(t->flush) : 0;
			list_add(t->flush != NULL ? &puts : t->round != 0 ? &late : &gets, t);
		}
	move_all(&m->sent, &others);
	move_all(&late, &m->late);
	move_all(&m->late, &late);
	move_all(&puts, &m->puts);
	move_all(&m->puts, &puts);
	move_all(&gets, &m->gets);
	move_all(&m->gets, &gets);
	m->lanes[lane].up = false;
	m->lanes[lane].sent = 0;
}
