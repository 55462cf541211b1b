/*
 * shell.c - see shell.h.
 *
 * One event is: take the lock, set the engine's clock, call the engine, take
 * its actions, drop the lock, carry the actions out.  SEND and COMMIT must
 * leave in the order in which the engine made them, so they are queued under
 * the lock; the control writer seals and sends.  The others go to the mover,
 * the notifier, or, a reply, are done by the thread at hand, which then
 * enters again to say so.
 *
 * What was queued for a link that broke is thrown away in the same hold that
 * tells the engine: it issues again what still matters once it is attached.
 */
#include "fs/shell_room.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "fs/bulk.h"
#include "fs/clock.h"
#include "fs/log.h"
#include "fs/mover.h"
#include "fs/notifier.h"
#include "fs/replay.h"
#include "fs/workers.h"
#include "proto/seal.h"

enum {
	LOOK_MS		= 100,			/* between ticks while blocks are on their way, or something is to be judged */
	WAKE_ANSWER_MS	= 2 * 1000,		/* after the machine woke up a link that lived answers by then */
	SOON_MS		= 5,			/* until the next one, when something is held up for a moment */
	LANES_MS	= 1000,			/* between looks whether there are too many or too few lanes */
	VERSION_MS	= 10 * 1000,		/* between savings of the highest version */
	WORKERS		= 2,
	/* What is less is sealed and sent by the thread at hand: dearer to hand over. */
	LIGHT_CHANGES	= 32,
	LIGHT_BYTES	= 16 * 1024,
};

void
actions_init(struct actions *list)
{
	list->first = NULL;
	list->last = &list->first;
}

void
actions_add(struct actions *list, struct action *a)
{
	a->next = NULL;
	*list->last = a;
	list->last = &a->next;
}

struct action *
actions_take(struct actions *list)
{
	struct action *a = list->first;

	if (a != NULL) {
		list->first = a->next;
		if (list->first == NULL)
			list->last = &list->first;
	}
	return a;
}

void
action_drop(struct action *a)
{
	if (a->kind == ACTION_COMMIT)
		commit_put(a->commit);
	action_free(a);
}

void
shell_drop_queue(struct shell *s)
{
	struct action *a;

	LOCK_SCOPE(&s->queue_lock);
	while ((a = actions_take(&s->queue)) != NULL)
		action_drop(a);
}

/* ---- events ---- */

void
shell_enter(struct shell *s)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	engine_clock(s->engine, clock_ms(CLOCK_BOOTTIME), real);
}

void
shell_leave(struct shell *s, struct outcome *o)
{
	uint64_t due_ms = engine_due(s->engine);
	struct action *a;

#ifdef NUAGE_CHECKS
	char why[256] = "";
	if (!engine_check(s->engine, why, sizeof why)) {
		log_error("engine: %s", why);
		abort();
	}
#endif
	if (engine_hurry(s->engine))
		due_ms = clock_ms(CLOCK_BOOTTIME) + SOON_MS;
	o->due_ms = due_ms < o->due_ms ? due_ms : o->due_ms;
	while ((a = engine_next(s->engine)) != NULL) {
		if (a->kind == ACTION_REPLY)
			((struct call *)a->op)->parked = false;
		o->stores += a->kind == ACTION_STORE;
		o->heavy |= a->kind == ACTION_COMMIT && a->commit->changes_count > LIGHT_CHANGES;
		if (a->kind != ACTION_SEND && a->kind != ACTION_COMMIT) {
			actions_add(&o->rest, a);
			continue;
		}
		LOCK_SCOPE(&s->queue_lock);
		actions_add(&s->queue, a);
		o->kick = true;
	}
}

void
shell_carry_out(struct shell *s, struct outcome *o)
{
	struct action *a;
	struct call *c;
	int r;

	for (;;) {
		alarm_by(&s->alarm, o->due_ms);
		o->due_ms = UINT64_MAX;
		if (o->kick && o->heavy)
			channel_kick(s->control);
		else if (o->kick)
			channel_send(s->control);
		o->kick = o->heavy = false;
		a = actions_take(&o->rest);
		if (a == NULL)
			break;
		switch (a->kind) {
		case ACTION_STORE:
			mover_store(s->mover, a->flush, o->stores == 1 && a->flush->len <= LIGHT_BYTES);
			o->stores--;
			shell_look(s);
			break;
		case ACTION_FETCH:
			mover_fetch(s->mover, a->fetch);
			shell_look(s);
			break;
		case ACTION_INVALIDATE:
			r = s->notifier == NULL ? 0 :
			    notifier_add(s->notifier, a->oid, a->directory, a->pages, a->again);
			if (s->notifier == NULL || r < 0)
				AGAIN(s, o, engine_invalidated(s->engine, a->oid, a->pages, r));
			break;
		case ACTION_REPLY:
			c = (struct call *)a->op;
			if (!c->reply(c))
				break;
			AGAIN(s, o, engine_replied(s->engine, &c->op));
			if (c->finish != NULL)
				c->finish(c);
			break;
		default:
			break;
		}
		action_free(a);
	}
}

bool
shell_submit(struct shell *s, struct call *c, uint64_t *ret_serial)
{
	bool done;

	EVENT(s,
		*ret_serial = c->serial = ++s->serial;
		done = engine_submit(s->engine, &c->op);
		c->parked = !done;
		if (!done && c->park != NULL)
			c->park(c)
	);
	return done;
}

void
shell_replied(struct shell *s, struct call *c)
{
	EVENT(s, engine_replied(s->engine, &c->op));
	if (c->finish != NULL)
		c->finish(c);
}

void
shell_interrupt(struct shell *s, struct call *c, uint64_t serial)
{
	EVENT(s,
		if (c->parked && c->serial == serial)
			engine_interrupt(s->engine, &c->op)
	);
}

void
shell_forget(struct shell *s, const struct forget *list, size_t count)
{
	EVENT(s,
		for (size_t i = 0; i < count; i++)
			engine_forget(s->engine, list[i].oid, list[i].n)
	);
}

/* Outcomes from the mover and the notifier. */
static void
stored(void *context, struct flush *flush, int error)
{
	struct shell *s = context;

	EVENT(s, engine_stored(s->engine, flush, error));
}

static void
fetched(void *context, struct fetch *fetch, int error)
{
	struct shell *s = context;

	EVENT(s, engine_fetched(s->engine, fetch, error));
}

static void
kick_bulk(void *context, bool light)
{
	struct shell *s = context;

	bulk_kick(s->bulk, light);
}

static void
look(void *context)
{
	shell_look(context);
}

static void
invalidated(void *context, uint64_t oid, bool pages, int error)
{
	struct shell *s = context;

	EVENT(s, engine_invalidated(s->engine, oid, pages, error));
}

static int
forget_names(void *context)
{
	struct shell *s = context;

	return s->config.kernel->forget_names(s->config.kernel_context);
}

static int
forget_inode(void *context, uint64_t oid, bool pages)
{
	struct shell *s = context;

	return s->config.kernel->forget_inode(s->config.kernel_context, oid, pages);
}

static const struct mover_calls mover_calls = { stored, fetched, kick_bulk, look };
static const struct notifier_calls notifier_calls = { forget_names, forget_inode, invalidated };

/* ---- the machine's sleep ---- */

void
shell_sleep(struct shell *s, bool on)
{
	EVENT(s,
		engine_sleep(s->engine, on);
		s->asleep = on
	);
	if (on) {
		/* Who waits for a lock, too. */
		if (s->config.kernel != NULL)
			s->config.kernel->tick(s->config.kernel_context);
		return;
	}
	s->woken_ms = clock_ms(CLOCK_BOOTTIME);
	alarm_by(&s->alarm, s->woken_ms + WAKE_ANSWER_MS);
	channel_renew(s->control);
	bulk_renew(s->bulk);
}

bool
shell_asleep(const struct shell *s)
{
	return s->asleep;
}

/* How long may the server be silent? */
static unsigned
patience_ms(struct shell *s)
{
	uint64_t woken_ms = s->woken_ms, now_ms = clock_ms(CLOCK_BOOTTIME);

	if (woken_ms == 0 || now_ms - woken_ms < WAKE_ANSWER_MS)
		return woken_ms == 0 ? LINK_ANSWER_MS : UINT_MAX;
	s->woken_ms = 0;
	return (unsigned)(now_ms - woken_ms);
}

/* ---- the ticker ---- */

/* What a ticker remembers. */
struct ticker {
	uint64_t	 saved_ms, saved;	/* the highest version that was kept, and when */
};

static void
sooner(uint64_t *due_ms, uint64_t ms)
{
	*due_ms = ms < *due_ms ? ms : *due_ms;
}

/* All that is judged by what the engine says of itself.  Returns the highest version seen. */
static uint64_t
tick_engine(struct shell *s)
{
	struct engine_status status;
	bool began, ended, redo, meta, keep;
	uint64_t losses, highest;

	EVENT(s,
		engine_tick(s->engine);
		engine_status(s->engine, &status);
		s->alone = status.alone;
		s->lapsed = status.lapsed;
		s->asleep = status.asleep;
		began = status.offline && !s->offline;
		ended = !status.offline && s->offline;
		s->offline = status.offline;
		mover_away(s->mover, status.offline);
		if (status.version > s->highest)
			s->highest = status.version;
		highest = s->highest;
		redo = engine_redo_due(s->engine, &losses, &keep);
		meta = engine_lease(s->engine, OID_META) == MODE_NONE
	);
	if (began)
		log_warning("the server is away: going on without it, with what is cached");
	if (ended)
		log_info("the server is back: it gets what was done without it");
	if ((redo || meta) && s->config.keeper != NULL && s->config.keeper->look != NULL)
		s->config.keeper->look(s->config.keeper_context, redo, meta);
	return highest;
}

/* The engine asks for a sign of life every five seconds, and when the machine woke up. */
static void
judge_silence(struct shell *s, uint64_t now_ms, uint64_t *due_ms)
{
	unsigned silence_ms = channel_silence_ms(s->control), patience = patience_ms(s);

	if (silence_ms > patience) {
		log_warning("the server has not answered for %u s", silence_ms / 1000);
		channel_break(s->control);
		bulk_break(s->bulk);
	}
	if (s->woken_ms != 0)
		sooner(due_ms, s->woken_ms + WAKE_ANSWER_MS);
	else if (channel_up(s->control) && silence_ms <= patience)
		sooner(due_ms, now_ms + patience - silence_ms + 1);
}

/* Returns when the next one is due, if no event says otherwise before. */
static uint64_t
tick(struct shell *s, struct ticker *t)
{
	uint64_t due_ms = UINT64_MAX, highest = tick_engine(s), now_ms;
	bool again = false;

	now_ms = clock_ms(CLOCK_BOOTTIME);
	again |= !mover_tick(s->mover);
	if (!bulk_tick(s->bulk))
		sooner(&due_ms, now_ms + LANES_MS);
	judge_silence(s, now_ms, &due_ms);
	if (highest > t->saved && s->config.keeper != NULL) {
		if (now_ms - t->saved_ms >= VERSION_MS) {
			t->saved_ms = now_ms;
			t->saved = highest;
			s->config.keeper->version(s->config.keeper_context, t->saved);
		} else
			sooner(&due_ms, t->saved_ms + VERSION_MS);
	}
	if (s->config.kernel != NULL)
		again |= s->config.kernel->tick(s->config.kernel_context);
	if (again)
		sooner(&due_ms, now_ms + LOOK_MS);
	return due_ms;
}

static void *
ticker_main(void *argument)
{
	struct shell *s = argument;
	struct ticker t = { .saved_ms = clock_ms(CLOCK_BOOTTIME), .saved = s->config.version };

	while (!s->stopping) {
		uint64_t due_ms = tick(s, &t);

		alarm_by(&s->alarm, due_ms);
		alarm_wait(&s->alarm);
	}
	return NULL;
}

void
shell_look(struct shell *s)
{
	alarm_by(&s->alarm, clock_ms(CLOCK_BOOTTIME) + LOOK_MS);
}

/* ---- life ---- */

static void
fill_random(void *context, void *to, size_t len)
{
	(void)context;
	randombytes_buf(to, len);
}

static int
start(struct shell *s, char *why, size_t size)
{
	struct engine_config config = s->config.engine;
	int r;

	config.random = fill_random;
	config.stocked = s->config.blockcache != NULL;
	s->keys = volume_keys_new(s->config.volume_key, s->config.volume);
	if (s->keys == NULL)
		return -ENOMEM;
	if ((r = engine_new(&s->engine, &config, s->keys)) < 0 ||
	    (s->config.replay != NULL && (r = replay_adopt(s->config.replay, s->engine)) < 0) ||
	    (r = workers_new(&s->workers, WORKERS)) < 0 ||
	    (r = mover_new(&s->mover, s->workers, s->config.blockcache, s->keys, &mover_calls, s)) < 0 ||
	    (s->config.kernel != NULL && (r = notifier_new(&s->notifier, &notifier_calls, s)) < 0) ||
	    (r = channel_new(&s->control, "control", &s->control_target, &lanes_control, s)) < 0 ||
	    (r = bulk_new(&s->bulk, &s->bulk_target, &lanes_bulk, s)) < 0)
		return r;
	r = channel_try(s->control, why, size);
	if (r < 0)
		return r;
	if ((r = channel_start(s->control)) < 0 || (r = bulk_start(s->bulk)) < 0)
		return r;
	if (pthread_create(&s->ticker, NULL, ticker_main, s) != 0)
		return -EAGAIN;
	s->ticking = true;
	return 0;
}

int
shell_new(struct shell **ret, const struct shell_config *config, char *why, size_t size)
{
	struct shell *s = calloc(1, sizeof *s);
	int r;

	if (s == NULL)
		return -ENOMEM;
	if ((r = alarm_init(&s->alarm)) < 0) {
		snprintf(why, size, "%s", strerror(-r));
		free(s);
		return r;
	}
	lock_init(&s->lock);
	lock_init(&s->queue_lock);
	lock_init(&s->bye_lock);
	lock_cond_init(&s->bye_done);
	actions_init(&s->queue);
	s->config = *config;
	s->highest = config->version;
	s->replaces = config->replaces;
	s->session = config->session;
	s->generation = config->generation;
	memcpy(s->secret, config->secret, SECRET_SIZE);
	s->control_target = (struct link_target){ .addresses = config->addresses,
	    .device_secret = config->device_secret };
	memcpy(s->control_target.server_key, config->server_key, KEY_SIZE);
	s->bulk_target = s->control_target;
	s->bulk_target.bulk = true;
	why[0] = '\0';
	r = start(s, why, size);
	if (r < 0) {
		if (why[0] == '\0')
			snprintf(why, size, "%s", strerror(-r));
		shell_free(s, false);
		return r;
	}
	*ret = s;
	return 0;
}

void
shell_free(struct shell *s, bool bye)
{
	bool ended;

	if (s == NULL)
		return;
	if (s->ticking) {
		s->stopping = true;
		alarm_by(&s->alarm, 0);
		pthread_join(s->ticker, NULL);
	}
	bulk_stop(s->bulk);
	if (bye && s->ticking) {
		channel_end(s->control);
		ended = lanes_say_bye(s);
		if (s->config.keeper != NULL) {
			s->config.keeper->version(s->config.keeper_context, s->highest);
			if (ended)
				s->config.keeper->session(s->config.keeper_context, 0, s->secret, 0);
		}
	}
	if (s->mover != NULL)
		mover_stop(s->mover);
	/* The lanes' threads call the mover, its jobs the engine, and all of them the notifier. */
	channel_stop(s->control);
	workers_free(s->workers);
	notifier_free(s->notifier);
	mover_free(s->mover);
	channel_free(s->control);
	bulk_free(s->bulk);
	shell_drop_queue(s);
	if (s->errands > 0)
		return;			/* the engine still holds them; the process ends soon */
	engine_free(s->engine);
	volume_keys_free(s->keys);
	free(s->sealing);
	free(s->opening);
	pthread_cond_destroy(&s->bye_done);
	pthread_mutex_destroy(&s->bye_lock);
	alarm_done(&s->alarm);
	pthread_mutex_destroy(&s->queue_lock);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int
shell_sync(struct shell *s, int timeout_ms)
{
	struct op op = { .type = OP_SYNC, .ino = OID_ROOT };

	return shell_run(s, &op, timeout_ms);
}

int
shell_format(struct shell *s, uint32_t uid, uint32_t gid, uint32_t mode)
{
	int r;

	EVENT(s, r = engine_format(s->engine, uid, gid, mode));
	return r == 0 ? shell_sync(s, LINK_ANSWER_MS) : r;
}

void
shell_address(struct shell *s, char *to, size_t size)
{
	channel_address(s->control, to, size);
}

void
shell_status(struct shell *s, struct engine_status *to, char *trouble, size_t size)
{
	{
		LOCK_SCOPE(&s->lock);
		shell_enter(s);		/* by the clock of now: it may have been stopped since the last event */
		engine_status(s->engine, to);
	}
	to->busy |= mover_busy(s->mover);
	channel_trouble(s->control, trouble, size);
}

void
shell_keep_block(struct shell *s, const struct kept_block *block, uint64_t round,
    void (*done)(void *context, int error), void *context)
{
	mover_keep(s->mover, block, round, done, context);
	shell_look(s);
}

void
shell_keep_round(struct shell *s, uint64_t round, bool any)
{
	mover_pins(s->mover, any);
	LOCK_SCOPE(&s->lock);
	engine_keep_round(s->engine, round);
}

uint64_t
shell_keep_due(struct shell *s)
{
	LOCK_SCOPE(&s->lock);
	return engine_keep_due(s->engine);
}

void
shell_hurry(struct shell *s)
{
	channel_hurry(s->control);
	bulk_hurry(s->bulk);
}

void
shell_lanes(struct shell *s, struct shell_lanes *to)
{
	int control, bulk;

	to->failures = channel_failures(s->control, &control) + bulk_failures(s->bulk, &bulk);
	to->up = channel_up(s->control) && bulk_up(s->bulk);
	to->unanswered = control == -ENOKEY || bulk == -ENOKEY;
}

bool
shell_alone(const struct shell *s)
{
	return s->alone;
}

bool
shell_lapsed(const struct shell *s)
{
	return s->lapsed;
}

void
shell_unsaved(struct shell *s, void (*report)(void *context, const char *path, bool lost), void *context)
{
	LOCK_SCOPE(&s->lock);
	engine_unsaved(s->engine, report, context);
}
