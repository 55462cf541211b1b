/*
 * daemon.c - see daemon.h.
 *
 * Whoever gives the engine an event takes the actions it brings, under the
 * same hold of the lock: so what is for one connection is queued in the order
 * in which the engine said it, and a WRITE_BLOCK is carried out by the reader
 * that has the bytes.
 *
 * A failed store is the end (fail-stop): from then on nothing is answered and
 * every connection is cut, so that clients wait and resume with the next
 * daemon, which recovers.  An answer would tell their applications of an
 * error that is none.
 */
#include "server/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "server/diskstore.h"
#include "server/engine.h"
#include "server/event.h"
#include "server/home.h"
#include "server/link.h"
#include "server/listen.h"

enum {
	UNPROVEN_MAX	= 256,		/* connections that have not attached: beyond, the oldest is cut */
	CLOSING_MS	= 2000,		/* for a peer to take our last words */
	COMPACT_S	= 1,		/* between looks for segments worth compacting, */
	COMPACT_REST_S	= 64,		/* or up to so long when nothing is written */
	COMPACT_PERCENT	= 50,		/* live in a segment: below, it is */
	FULL_S		= 30,		/* so long after it was */
	COMPACT_BYTES	= 16 * 1024 * 1024,
	ADDRESS_MAX	= 256,
};

struct daemon {
	pthread_mutex_t		 lock;
	pthread_cond_t		 changed;	/* the log grew, or the daemon stops */
	pthread_cond_t		 synced_more;
	pthread_cond_t		 links_gone;
	pthread_cond_t		 chore;		/* more refusals, a checkpoint is due, or the daemon stops */
	uint64_t		 refusals;	/* so far */
	bool			 napping;	/* the housekeeper, for longer, if the log does not grow beyond */
	uint64_t		 napped_end;
	uint64_t		 armed_ms;	/* when the alarm rings; UINT64_MAX: not */
	uint64_t		 empty_ms;	/* since when there are no links; 0: nobody has asked yet */
	struct server		*server;
	struct table		 links;		/* struct link_place, by connection id */
	uint64_t		 next_conn, synced;
	TAILQ_HEAD(, link_place) unproven;	/* oldest first */
	TAILQ_HEAD(, link_place) closing;	/* by cut_ms */
	unsigned		 link_count, unproven_count;
	bool			 stopping, failed, hung_up;
	bool			 syncing;	/* some thread is at it, without the lock */

	/* Constant. */
	int			 alarm;		/* a timer of CLOCK_BOOTTIME */
	struct store		*store;
	const struct home	*home;
	uint32_t		 connections_max;
	char			 address[ADDRESS_MAX];
	pthread_t		 syncer, housekeeper;
};

/* What the housekeeper remembers. */
struct housekeeping {
	uint64_t		 refusals, full_until_ms;
	unsigned		 rest_s;
};

/* What an event brought for its caller to do without the lock. */
struct chores {
	struct server_action	*writes, *logs;
};

static uint64_t
clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

static void
random_bytes(void *context, void *to, size_t len)
{
	(void)context;
	randombytes_buf(to, len);
}

/* ---- events and actions ---- */

static struct link *
link_find(const struct daemon *d, uint64_t id)
{
	struct table_node *n = table_find(&d->links, id);

	return n == NULL ? NULL : container_of(n, struct link_place, node)->link;
}

static void
unproven_end(struct daemon *d, struct link_place *p)
{
	if (!p->unproven)
		return;
	p->unproven = false;
	TAILQ_REMOVE(&d->unproven, p, of_unproven);
	d->unproven_count--;
}

/* So who only holds connections open keeps nobody out. */
static void
unproven_begin(struct daemon *d, struct link_place *p)
{
	if (d->unproven_count >= UNPROVEN_MAX) {
		struct link_place *oldest = TAILQ_FIRST(&d->unproven);

		unproven_end(d, oldest);
		link_cut(oldest->link);
	}
	p->unproven = true;
	TAILQ_INSERT_TAIL(&d->unproven, p, of_unproven);
	d->unproven_count++;
}

static void
closing_begin(struct daemon *d, struct link_place *p)
{
	p->cut_ms = clock_ms(CLOCK_BOOTTIME) + CLOSING_MS;
	TAILQ_INSERT_TAIL(&d->closing, p, of_closing);
}

static void
closing_end(struct daemon *d, struct link_place *p)
{
	if (p->cut_ms != 0)
		TAILQ_REMOVE(&d->closing, p, of_closing);
	p->cut_ms = 0;
}

static void
cut_closing(struct daemon *d)
{
	uint64_t now_ms = clock_ms(CLOCK_BOOTTIME);
	struct link_place *p;

	while ((p = TAILQ_FIRST(&d->closing)) != NULL && p->cut_ms <= now_ms) {
		closing_end(d, p);
		link_cut(p->link);
	}
}

static void
route(struct daemon *d, struct server_action *a)
{
	struct link *l = d->hung_up ? NULL : link_find(d, a->conn);

	if (l != NULL) {
		if (a->kind == SERVER_SEND && a->message.type == MSG_attached)
			unproven_end(d, link_place(l));
		if (a->kind == SERVER_CLOSE)
			closing_begin(d, link_place(l));
		link_post(l, a);
		return;
	}
	if (a->kind == SERVER_READ_BLOCK)
		store_block_put_ref(a->ref);
	server_action_free(a);
}

/* The store has failed. */
static void
hang_up(struct daemon *d)
{
	struct table_node *n = NULL;
	size_t slot = 0;

	if (d->hung_up)
		return;
	d->hung_up = true;
	while ((n = table_walk(&d->links, &slot, n)) != NULL)
		link_cut(container_of(n, struct link_place, node)->link);
}

static void
append(struct server_action **list, struct server_action *a)
{
	while (*list != NULL)
		list = &(*list)->next;
	*list = a;
}

static void
wake_at(struct daemon *d, uint64_t ms)
{
	struct itimerspec at = { .it_value = { ms / 1000, ms % 1000 * 1000000 } };

	if (ms == 0)
		at.it_value.tv_nsec = 1;	/* nothing at all would stop it */
	d->armed_ms = ms;
	timerfd_settime(d->alarm, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Under the lock: the main thread is to tick in time. */
static void
arm(struct daemon *d)
{
	uint64_t ms = d->failed || store_failed(d->store) != NULL ? 0 : server_due(d->server);
	struct link_place *p = TAILQ_FIRST(&d->closing);

	if (p != NULL && p->cut_ms < ms)
		ms = p->cut_ms;
	if (ms >= d->armed_ms)
		return;
	wake_at(d, ms);
}

/* The actions that are due, before the lock is let go. */
static void
drain(struct daemon *d, struct chores *chores, bool wake)
{
	struct server_stats stats;
	struct server_action *a;

	/* Looked at after the engine has: what it could not do for that reason is not told. */
	if (store_failed(d->store) != NULL)
		hang_up(d);
	while ((a = server_next(d->server)) != NULL)
		switch (a->kind) {
		case SERVER_WRITE_BLOCK: append(&chores->writes, a); break;
		case SERVER_LOG: append(&chores->logs, a); break;
		default: route(d, a); break;
		}
	if (wake && store_end(d->store) > d->synced && !d->syncing)
		pthread_cond_signal(&d->changed);
	server_stats(d->server, &stats);
	if (stats.nospc != d->refusals || diskstore_due(d->store) || (d->napping && store_end(d->store) != d->napped_end))
		pthread_cond_signal(&d->chore);
	d->refusals = stats.nospc;
	arm(d);
}

static void
enter(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
	server_clock(d->server, clock_ms(CLOCK_BOOTTIME));
}

static void
leave(struct daemon *d, struct chores *chores)
{
	drain(d, chores, true);
	pthread_mutex_unlock(&d->lock);
}

static enum event_level
level_of(const char *text)
{
	static const struct { const char *begins; enum event_level level; } levels[] = {
		{ "event=damage", EVENT_ERROR }, { "event=store-failed", EVENT_ERROR },
		{ "event=evict", EVENT_WARNING }, { "event=fence", EVENT_WARNING },
		{ "event=stranger", EVENT_WARNING }, { "event=reject", EVENT_WARNING },
	};

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (strncmp(text, levels[i].begins, strlen(levels[i].begins)) == 0)
			return levels[i].level;
	return EVENT_INFO;
}

static void
do_chores(struct daemon *d, struct chores *chores)
{
	struct server_action *a;

	while ((a = chores->writes) != NULL) {
		int r = store_block_write(a->ticket, a->message.payload.data);

		chores->writes = a->next;
		enter(d);
		server_block_written(d->server, a, r);
		leave(d, chores);
		server_action_free(a);
	}
	while ((a = chores->logs) != NULL) {
		chores->logs = a->next;
		event_log(level_of(a->text), "%s", a->text);
		server_action_free(a);
	}
}

bool
daemon_connected(struct daemon *d, struct link *l, const uint8_t device[KEY_SIZE], const uint8_t hash[NOISE_HASH])
{
	struct chores chores = { NULL };
	bool connected;

	enter(d);
	link_place(l)->connected = connected = server_connected(d->server, link_place(l)->node.key, device, hash);
	leave(d, &chores);
	do_chores(d, &chores);
	return connected;
}

bool
daemon_received(struct daemon *d, struct link *l, const struct message *m, bool light)
{
	struct chores chores = { NULL };
	bool more;

	enter(d);
	server_received(d->server, link_place(l)->node.key, m);
	drain(d, &chores, !light);
	more = store_end(d->store) > d->synced;
	pthread_mutex_unlock(&d->lock);
	do_chores(d, &chores);
	return light && more;
}

void
daemon_disconnected(struct daemon *d, struct link *l)
{
	struct chores chores = { NULL };

	enter(d);
	if (link_place(l)->connected)
		server_disconnected(d->server, link_place(l)->node.key);
	unproven_end(d, link_place(l));
	closing_end(d, link_place(l));
	table_remove(&d->links, &link_place(l)->node);
	leave(d, &chores);
	do_chores(d, &chores);
}

/* Under the lock. */
static void
count_down(struct daemon *d)
{
	if (--d->link_count > 0)
		return;
	d->empty_ms = clock_ms(CLOCK_BOOTTIME);
	wake_at(d, 0);
}

void
daemon_gone(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
	count_down(d);
	pthread_cond_broadcast(&d->links_gone);
	pthread_mutex_unlock(&d->lock);
}

void
daemon_tick(struct daemon *d)
{
	struct chores chores = { NULL };
	uint64_t times;

	enter(d);
	if (read(d->alarm, &times, sizeof times) < 0 && errno != EAGAIN)
		event_log(EVENT_ERROR, "event=alarm error=\"%s\"", strerror(errno));
	d->armed_ms = UINT64_MAX;
	server_tick(d->server);
	cut_closing(d);
	leave(d, &chores);
	do_chores(d, &chores);
}

int
daemon_alarm(const struct daemon *d)
{
	return d->alarm;
}

bool
daemon_idle(struct daemon *d, uint64_t *ret_ms)
{
	uint64_t now_ms = clock_ms(CLOCK_BOOTTIME);
	bool idle;

	pthread_mutex_lock(&d->lock);
	idle = d->link_count == 0;
	if (d->empty_ms == 0)
		d->empty_ms = now_ms;
	*ret_ms = now_ms - d->empty_ms;
	pthread_mutex_unlock(&d->lock);
	return idle;
}

bool
daemon_failed(struct daemon *d)
{
	bool failed;

	pthread_mutex_lock(&d->lock);
	failed = d->failed;
	pthread_mutex_unlock(&d->lock);
	return failed || store_failed(d->store) != NULL;
}

void
daemon_accept(struct daemon *d, int fd, const char *peer)
{
	struct link *l = NULL;
	const char *why = "out of memory";
	bool room;

	pthread_mutex_lock(&d->lock);
	room = d->link_count < d->connections_max && !d->hung_up;
	if (room)
		l = link_new(d, fd, ++d->next_conn, peer);
	if (l != NULL) {
		table_insert(&d->links, &link_place(l)->node, d->next_conn);
		unproven_begin(d, link_place(l));
		d->link_count++;
		if (link_start(l) < 0) {
			count_down(d);
			unproven_end(d, link_place(l));
			table_remove(&d->links, &link_place(l)->node);
			link_free(l);
			pthread_mutex_unlock(&d->lock);
			event_log(EVENT_WARNING, "event=refused peer=%s reason=\"out of threads\"", peer);
			return;
		}
	}
	pthread_mutex_unlock(&d->lock);
	if (l != NULL)
		return;
	if (!room)
		why = "too many connections";
	event_log(EVENT_WARNING, "event=refused peer=%s reason=\"%s\"", peer, why);
	close(fd);
}

/* ---- sync, checkpoints and compaction ---- */

/* One round, under the lock, which is let go meanwhile.  False when the store failed. */
static bool
sync_round(struct daemon *d)
{
	struct chores chores = { NULL };
	uint64_t pos = 0;
	int r;

	d->syncing = true;
	pthread_mutex_unlock(&d->lock);
	r = store_sync(d->store, &pos);
	enter(d);
	d->syncing = false;
	if (r == 0) {
		d->synced = pos;
		server_synced(d->server, pos);
		drain(d, &chores, false);
	}
	d->failed |= r < 0;
	if (d->failed) {
		hang_up(d);
		wake_at(d, 0);
	}
	pthread_cond_broadcast(&d->synced_more);
	/* What came meanwhile is the sync thread's. */
	if (d->failed || d->stopping || store_end(d->store) > d->synced)
		pthread_cond_signal(&d->changed);
	if (chores.logs != NULL || chores.writes != NULL || r < 0) {
		const char *cause = r < 0 ? store_failed(d->store) : NULL;

		pthread_mutex_unlock(&d->lock);
		do_chores(d, &chores);
		if (r < 0)
			event_log(EVENT_ERROR, "event=sync-failed error=\"%s\" cause=\"%s\"", strerror(-r),
			    cause != NULL ? cause : "");
		pthread_mutex_lock(&d->lock);
	}
	return r == 0;
}

static void *
syncer(void *arg)
{
	struct daemon *d = arg;

	pthread_mutex_lock(&d->lock);
	for (;;) {
		while (!d->failed && (d->syncing || (!d->stopping && store_end(d->store) <= d->synced)))
			pthread_cond_wait(&d->changed, &d->lock);
		if (d->failed || store_end(d->store) <= d->synced || !sync_round(d))
			break;
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

void
daemon_settle(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
	/* Who syncs now began before our bytes were there, or has them: it looks again at its end. */
	if (!d->syncing && !d->failed && store_end(d->store) > d->synced)
		sync_round(d);
	pthread_mutex_unlock(&d->lock);
}

/*
 * Waits a while, but not when space has been refused meanwhile or a checkpoint
 * is due; longer each time when the log does not grow: what kept a segment,
 * somebody who reads from it, may go without a word.  Notes until when to go
 * for the last bytes.  False when the daemon stops.
 */
static bool
rest(struct daemon *d, struct housekeeping *h)
{
	struct timespec until;
	bool go_on;

	pthread_mutex_lock(&d->lock);
	/* Without anybody connected there is no event that does: of the start, and of a store that failed under our hands. */
	arm(d);
	h->rest_s = store_end(d->store) != d->napped_end || clock_ms(CLOCK_BOOTTIME) < h->full_until_ms ? COMPACT_S :
	    h->rest_s < COMPACT_REST_S ? 2 * h->rest_s : COMPACT_REST_S;
	d->napped_end = store_end(d->store);
	d->napping = h->rest_s > COMPACT_S;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += h->rest_s;
	while (!d->stopping && d->refusals == h->refusals && !diskstore_due(d->store) &&
	    (!d->napping || store_end(d->store) == d->napped_end) &&
	    pthread_cond_timedwait(&d->chore, &d->lock, &until) == 0)
		;
	d->napping = false;
	if (d->refusals != h->refusals)
		h->full_until_ms = clock_ms(CLOCK_BOOTTIME) + FULL_S * 1000;
	h->refusals = d->refusals;
	go_on = !d->stopping;
	pthread_mutex_unlock(&d->lock);
	return go_on;
}

static bool
is_due(struct daemon *d)
{
	bool due;

	pthread_mutex_lock(&d->lock);
	due = diskstore_due(d->store);
	pthread_mutex_unlock(&d->lock);
	return due;
}

/* So that the pause is short, what the log has not synced goes first, while others go on. */
static void
checkpoint(struct daemon *d)
{
	uint64_t pos;

	if (!is_due(d) || store_sync(d->store, &pos) < 0)
		return;
	pthread_mutex_lock(&d->lock);
	if (diskstore_due(d->store))
		store_checkpoint(d->store);	/* its failure is the store's */
	pthread_mutex_unlock(&d->lock);
}

static void *
housekeeper(void *arg)
{
	struct daemon *d = arg;
	struct housekeeping h = { .rest_s = COMPACT_S };
	int r;

	while (rest(d, &h)) {
		checkpoint(d);
		do
			r = diskstore_compact(d->store, &d->lock,
			    clock_ms(CLOCK_BOOTTIME) < h.full_until_ms ? COMPACT_FULL : COMPACT_PERCENT, COMPACT_BYTES);
		while (r > 0 && !daemon_failed(d) && !is_due(d));
		if (r < 0 && r != -ENOSPC)
			event_log(EVENT_WARNING, "event=compact error=\"%s\"", strerror(-r));
	}
	return NULL;
}

/* ---- invitations ---- */

int
daemon_invite(struct daemon *d, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s)
{
	struct chores chores = { NULL };
	uint64_t pos = 0;
	int r;

	enter(d);
	r = server_invite(d->server, token_hash, valid_s, &pos);
	drain(d, &chores, true);
	while (r == 0 && !d->failed && d->synced < pos)
		pthread_cond_wait(&d->synced_more, &d->lock);
	if (r == 0 && d->synced < pos)
		r = -EIO;
	pthread_mutex_unlock(&d->lock);
	do_chores(d, &chores);
	return r;
}

const char *
daemon_address(const struct daemon *d)
{
	return d->address;
}

const uint8_t *
daemon_secret(const struct daemon *d)
{
	return d->home->secret;
}

/* ---- life ---- */

static void
report_damage(void *arg, const char *text)
{
	(void)arg;
	event_log(EVENT_ERROR, "event=damage what=store text=\"%s\"", text);
}

/* Who has the store may be a `nuaged invite`, or a nuaged that just leaves: it is given two seconds. */
static bool
open_store(struct daemon *d, const struct settings *config, const struct home *home)
{
	struct diskstore_config store;
	unsigned patience = 20;
	int r;

	diskstore_config_init(&store);
	store.create = true;
	store.accept_damage = true;
	if (config->segment_bytes != 0)
		store.segment_size = config->segment_bytes / 4096 * 4096;
	if (config->reserve_bytes != 0)
		store.reserve = config->reserve_bytes;
	if (config->capacity_bytes != 0)
		store.capacity = config->capacity_bytes;
	store.report = report_damage;
	while ((r = diskstore_open(home->store, &store, &d->store)) == -EBUSY && patience-- > 0)
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	if (r == -EBUSY)
		fprintf(stderr, "nuaged: %s: another nuaged has it\n", home->path);
	else if (r == -EBADMSG)
		fprintf(stderr, "nuaged: %s: damaged; `nuaged check` says more\n", home->store);
	else if (r < 0)
		fprintf(stderr, "nuaged: %s: %s\n", home->store, strerror(-r));
	return r == 0;
}

static bool
open_engine(struct daemon *d, const struct settings *config)
{
	struct server_config engine = { .term_ms = config->term_ms, .skew_ms = config->skew_ms,
	    .sessions_max = config->sessions_max, .idle_ms = config->block_delay_ms, .random = random_bytes };
	int r;

	do
		randombytes_buf(&engine.boot, sizeof engine.boot);
	while (engine.boot == 0);
	engine.calendar_ms = clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_BOOTTIME);
	r = server_new(&d->server, &engine, d->store);
	if (r == -ENOTSUP)
		fprintf(stderr, "nuaged: %s: written by a newer nuaged\n", d->home->store);
	else if (r < 0)
		fprintf(stderr, "nuaged: %s: cannot be loaded: %s; `nuaged check` says more\n", d->home->store,
		    strerror(-r));
	return r == 0;
}

static void
stop(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_broadcast(&d->changed);
	pthread_cond_broadcast(&d->chore);
	pthread_mutex_unlock(&d->lock);
}

static bool
start_threads(struct daemon *d)
{
	if (pthread_create(&d->syncer, NULL, syncer, d) != 0)
		return false;
	if (pthread_create(&d->housekeeper, NULL, housekeeper, d) == 0)
		return true;
	stop(d);
	pthread_join(d->syncer, NULL);
	return false;
}

bool
daemon_open(struct daemon **ret, const struct settings *config, const struct home *home)
{
	struct daemon *d = calloc(1, sizeof *d);
	pthread_condattr_t monotonic;
	uint64_t seed;

	if (d == NULL) {
		fprintf(stderr, "nuaged: out of memory\n");
		return false;
	}
	d->alarm = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->alarm < 0) {
		fprintf(stderr, "nuaged: no timer: %s\n", strerror(errno));
		free(d);
		return false;
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	pthread_cond_init(&d->synced_more, NULL);
	pthread_cond_init(&d->links_gone, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&d->chore, &monotonic);
	pthread_condattr_destroy(&monotonic);
	randombytes_buf(&seed, sizeof seed);
	table_init(&d->links, seed);
	TAILQ_INIT(&d->unproven);
	TAILQ_INIT(&d->closing);
	d->armed_ms = UINT64_MAX;
	d->home = home;
	d->connections_max = config->connections_max;
	listen_advertise(config, d->address, sizeof d->address);
	if (!open_store(d, config, home)) {
		free(d);
		return false;
	}
	d->synced = store_synced(d->store);
	if (!open_engine(d, config)) {
		store_close(d->store);
		free(d);
		return false;
	}
	server_clock(d->server, clock_ms(CLOCK_BOOTTIME));
	if (!start_threads(d)) {
		fprintf(stderr, "nuaged: cannot start threads\n");
		server_free(d->server);
		store_close(d->store);
		free(d);
		return false;
	}
	*ret = d;
	return true;
}

bool
daemon_close(struct daemon *d)
{
	struct table_node *n = NULL;
	size_t slot = 0;
	bool fine = !daemon_failed(d);
	int r;

	pthread_mutex_lock(&d->lock);
	while ((n = table_walk(&d->links, &slot, n)) != NULL)
		link_cut(container_of(n, struct link_place, node)->link);
	while (d->link_count > 0)
		pthread_cond_wait(&d->links_gone, &d->lock);
	pthread_mutex_unlock(&d->lock);
	stop(d);
	pthread_join(d->syncer, NULL);
	pthread_join(d->housekeeper, NULL);
	server_free(d->server);
	r = store_close(d->store);
	if (r < 0)
		event_log(EVENT_ERROR, "event=close-failed error=\"%s\"", strerror(-r));
	table_done(&d->links);
	close(d->alarm);
	free(d);
	return fine && r == 0;
}
