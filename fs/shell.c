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
 *
 * s->lock guards the engine, the session and `attached`; s->queue_lock the
 * control queue, and is taken inside it.
 */
#include "fs/shell.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "fs/channel.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "fs/mover.h"
#include "fs/notifier.h"
#include "fs/workers.h"
#include "proto/seal.h"

enum {
	TICK_MS		= 100,
	VERSION_MS	= 10 * 1000,		/* between savings of the highest version */
	WORKERS		= 2,
};
/* Ids of our own requests on the control lane, apart from the engine's. */
#define OWN_ID		(UINT64_C(1) << 63)

struct actions {
	struct action	*first, **last;
};

struct shell {
	pthread_mutex_t		 lock;
	struct engine		*engine;
	bool			 attached;
	uint64_t		 session;
	uint8_t			 secret[SECRET_SIZE];
	uint32_t		 generation;
	uint64_t		 highest;	/* version seen */
	uint64_t		 serial;	/* of the last op submitted */
	unsigned		 errands;	/* under way */
	_Atomic bool		 alone;		/* written under the lock */

	pthread_mutex_t		 queue_lock;
	struct actions		 queue;		/* SEND and COMMIT */
	bool			 bye_due;

	struct shell_config	 config;
	struct volume_keys	*keys;
	struct link_target	 control_target, bulk_target;
	struct channel		*control, *bulk;
	struct mover		*mover;
	struct notifier		*notifier;
	struct workers		*workers;
	uint64_t		 replaces;
	uint8_t			*sealing;	/* the control writer's scratch */
	size_t			 sealing_size;
	uint8_t			*opening;	/* the control reader's */
	size_t			 opening_size;

	pthread_t		 ticker;
	bool			 ticking;
	pthread_mutex_t		 tick_lock;
	pthread_cond_t		 tick_stop;
	bool			 stopping;
	pthread_mutex_t		 bye_lock;
	pthread_cond_t		 bye_done;
	bool			 bye_answered;
};

static uint64_t
boot_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
actions_init(struct actions *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void
actions_add(struct actions *list, struct action *a)
{
	a->next = NULL;
	*list->last = a;
	list->last = &a->next;
}

static struct action *
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

static void
action_drop(struct action *a)
{
	if (a->kind == ACTION_COMMIT)
		commit_put(a->commit);
	action_free(a);
}

/* ---- events ---- */

/* What one event asked for, to be carried out once the lock is dropped. */
struct outcome {
	struct actions	 rest;
	bool		 kick;			/* something was queued for the control lane */
};

static void
enter(struct shell *s)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	engine_clock(s->engine, boot_ms(), real);
}

static void
outcome_init(struct outcome *o)
{
	actions_init(&o->rest);
	o->kick = false;
}

/* Takes what is to be done, behind what the outcome holds already. */
static void
leave(struct shell *s, struct outcome *o)
{
	struct action *a;

#ifdef NUAGE_CHECKS
	char why[256] = "";
	if (!engine_check(s->engine, why, sizeof why)) {
		log_error("engine: %s", why);
		abort();
	}
#endif
	while ((a = engine_next(s->engine)) != NULL) {
		if (a->kind == ACTION_REPLY)
			((struct call *)a->op)->parked = false;
		if (a->kind != ACTION_SEND && a->kind != ACTION_COMMIT) {
			actions_add(&o->rest, a);
			continue;
		}
		LOCK_SCOPE(&s->queue_lock);
		actions_add(&s->queue, a);
		o->kick = true;
	}
}

/* Within an event's outcome, another one. */
#define AGAIN(s, outcome, statement) do { \
	LOCK_SCOPE(&(s)->lock); \
	enter(s); \
	statement; \
	leave(s, outcome); \
} while (0)

/* One event: the statement runs under the lock, its actions after it. */
#define EVENT(s, statement) do { \
	struct outcome outcome_; \
	outcome_init(&outcome_); \
	{ \
		LOCK_SCOPE(&(s)->lock); \
		enter(s); \
		statement; \
		leave(s, &outcome_); \
	} \
	carry_out(s, &outcome_); \
} while (0)

static void
carry_out(struct shell *s, struct outcome *o)
{
	struct action *a;
	struct call *c;
	int r;

	for (;;) {
		if (o->kick)
			channel_kick(s->control);
		o->kick = false;
		a = actions_take(&o->rest);
		if (a == NULL)
			break;
		switch (a->kind) {
		case ACTION_STORE:
			mover_store(s->mover, a->flush);
			break;
		case ACTION_FETCH:
			mover_fetch(s->mover, a->fetch);
			break;
		case ACTION_INVALIDATE:
			r = s->notifier == NULL ? 0 :
			    notifier_add(s->notifier, a->oid, a->directory, a->pages);
			if (s->notifier == NULL || r < 0)
				AGAIN(s, o, engine_invalidated(s->engine, a->oid, r));
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
kick_bulk(void *context)
{
	struct shell *s = context;

	channel_kick(s->bulk);
}

static void
invalidated(void *context, uint64_t oid, int error)
{
	struct shell *s = context;

	EVENT(s, engine_invalidated(s->engine, oid, error));
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

static const struct mover_calls mover_calls = { stored, fetched, kick_bulk };
static const struct notifier_calls notifier_calls = { forget_names, forget_inode, invalidated };

/* ---- the control lane: sending ---- */

/* Seals the values of a commit into the writer's scratch and puts it on the link. */
static int
put_commit(struct shell *s, struct link *link, const struct commit *c)
{
	struct message m = { .type = MSG_commit, .id = OWN_ID | c->sequence };
	struct msg_change *changes = NULL;
	struct msg_small_block *blocks = NULL;
	size_t need = 0, at = 0;
	ssize_t n;
	int r = -ENOMEM;

	for (uint32_t i = 0; i < c->changes_count; i++)
		need += c->changes[i].value.len + RECORD_OVERHEAD;
	if (need > s->sealing_size) {
		free(s->sealing);
		s->sealing_size = 0;
		s->sealing = malloc(need);
		if (s->sealing == NULL)
			return -ENOMEM;
		s->sealing_size = need;
	}
	changes = calloc(c->changes_count + 1, sizeof *changes);
	blocks = calloc(c->blocks_count + 1, sizeof *blocks);
	if (changes == NULL || blocks == NULL)
		goto out;
	for (uint32_t i = 0; i < c->changes_count; i++) {
		struct msg_change *to = &changes[i];

		*to = c->changes[i];
		if (to->op != CHANGE_PUT)
			continue;
		n = record_seal(s->keys, &(struct record_context){ to->oid, to->kind, to->subkey,
		    to->orefs.at, to->orefs.count, to->brefs.at, to->brefs.count },
		    s->config.writer, to->value, s->sealing + at, s->sealing_size - at);
		if (n < 0) {
			log_error("object %" PRIu64 ", record of kind %u, %zu bytes: %s", to->oid, to->kind,
			    to->value.len, strerror((int)-n));
			r = (int)n;
			goto out;
		}
		to->value = (struct bytes){ s->sealing + at, (size_t)n };
		at += (size_t)n;
	}
	for (uint32_t i = 0; i < c->blocks_count; i++) {
		memcpy(blocks[i].id, c->blocks[i]->id, ID_SIZE);
		blocks[i].data = (struct bytes){ c->blocks[i]->sealed->data, c->blocks[i]->sealed->size };
	}
	m.commit.sequence = c->sequence;
	m.commit.bases.at = c->bases;
	m.commit.bases.count = c->bases_count;
	m.commit.changes.at = changes;
	m.commit.changes.count = c->changes_count;
	m.commit.blocks.at = blocks;
	m.commit.blocks.count = c->blocks_count;
	r = link_put(link, &m);
	if (r == -EMSGSIZE)
		log_error("commit %" PRIu64 " is too large: %zu bytes, %" PRIu32 " records, %" PRIu32 " blocks",
		    c->sequence, message_size(&m), c->changes_count, c->blocks_count);
out:
	free(changes);
	free(blocks);
	return r;
}

static int
control_fill(void *context, struct link *link)
{
	struct shell *s = context;
	struct action *a;
	bool bye;
	int r = 0;

	while (r == 0) {
		{
			LOCK_SCOPE(&s->queue_lock);
			a = actions_take(&s->queue);
			bye = s->bye_due && a == NULL;
			if (bye)
				s->bye_due = false;
		}
		if (bye)
			r = link_put(link, &(struct message){ .type = MSG_bye, .id = OWN_ID });
		if (a == NULL)
			break;
		if (r == 0)
			r = a->kind == ACTION_COMMIT ? put_commit(s, link, a->commit) : link_put(link, &a->message);
		if (r < 0 && r != -ECONNRESET && r != -EPIPE)
			log_error("sending %s: %s", a->kind == ACTION_COMMIT ? "a commit" :
			    message_info(a->message.type)->name, strerror(-r));
		action_drop(a);
	}
	return r;
}

/* ---- the control lane: attaching and receiving ---- */

static int
refuse_older(struct shell *s, uint64_t version, char *why, size_t size)
{
	LOCK_SCOPE(&s->lock);
	if (version >= s->highest)
		return 0;
	snprintf(why, size, "the server shows an older state of the volume than this device has seen "
	    "(version %" PRIu64 ", seen %" PRIu64 "): it was restored from a backup, or somebody rolls it back; "
	    "nothing was changed", version, s->highest);
	return -ESTALE;
}

static int
say_attach(struct shell *s, struct link *link, enum lane lane, struct message *answer,
    struct arena *a, struct buffer **frame, char *why, size_t size)
{
	struct message m = { .type = MSG_attach };

	memcpy(m.attach.volume, s->config.volume, VOLUME_ID_SIZE);
	m.attach.lane = (uint8_t)lane;
	{
		LOCK_SCOPE(&s->lock);
		if (lane == LANE_CONTROL)
			s->generation++;
		m.attach.session = s->session;
		m.attach.generation = s->generation;
		memcpy(m.attach.secret, s->secret, SECRET_SIZE);
	}
	if (m.attach.session == 0 && s->replaces != 0) {
		m.attach.replaces = s->replaces;
		memcpy(m.attach.replaces_secret, s->config.replaces_secret, SECRET_SIZE);
	}
	return link_call(link, &m, MSG_attached, answer, a, frame, why, size);
}

static void
adopt(struct shell *s, const struct msg_attached *a)
{
	struct engine_status status;
	uint32_t generation;
	struct action *old;
	bool fresh;

	EVENT(s,
		{
			LOCK_SCOPE(&s->queue_lock);
			while ((old = actions_take(&s->queue)) != NULL)
				action_drop(old);
		}
		fresh = s->session != a->session;
		s->session = a->session;
		memcpy(s->secret, a->secret, SECRET_SIZE);
		generation = s->generation;
		s->attached = true;
		if (a->version > s->highest)
			s->highest = a->version;
		engine_attached(s->engine, a, fresh);
		engine_status(s->engine, &status);
		s->alone = status.alone
	);
	s->replaces = 0;
	if (fresh && s->config.keeper != NULL)
		s->config.keeper->session(s->config.keeper_context, a->session, a->secret, generation);
}

static int
control_attach(void *context, struct link *link, char *why, size_t size)
{
	struct shell *s = context;
	struct message answer;
	struct buffer *frame;
	struct arena arena;
	int r;

	for (unsigned tries = 0;; tries++) {
		arena = (struct arena){ 0 };
		frame = NULL;
		r = say_attach(s, link, LANE_CONTROL, &answer, &arena, &frame, why, size);
		if (r == 0)
			r = refuse_older(s, answer.attached.version, why, size);
		if (r == 0)
			adopt(s, &answer.attached);
		arena_free(&arena);
		buffer_put(frame);
		/* An older attempt of ours came after it; or the session is gone, and a new one is begun. */
		if (r == -ENOENT && s->session != 0 && tries < 3) {
			log_warning("the server has forgotten this mount's session, beginning a new one");
			LOCK_SCOPE(&s->lock);
			s->session = 0;
			s->generation = 0;
			memset(s->secret, 0, SECRET_SIZE);
			continue;
		}
		if (r == -ESTALE && answer.type == MSG_done && tries < 3)
			continue;
		break;
	}
	if (r == 0) {
		/* The bulk lane belongs to the generation before. */
		channel_break(s->bulk);
		channel_hurry(s->bulk);
	}
	return r;
}

/* Opens the values of GRANTED records; one that does not open loses its value. */
static int
open_records(struct shell *s, struct message *m)
{
	struct msg_granted *g = &m->granted;
	size_t need = 0, at = 0;
	ssize_t n;

	for (uint32_t i = 0; i < g->answers.count; i++)
		for (uint32_t j = 0; j < g->answers.at[i].records.count; j++)
			need += g->answers.at[i].records.at[j].value.len;
	if (need > s->opening_size) {
		free(s->opening);
		s->opening_size = 0;
		s->opening = malloc(need);
		if (s->opening == NULL)
			return -ENOMEM;
		s->opening_size = need;
	}
	for (uint32_t i = 0; i < g->answers.count; i++) {
		struct msg_answer *answer = &g->answers.at[i];

		for (uint32_t j = 0; j < answer->records.count; j++) {
			struct msg_record *r = &answer->records.at[j];

			n = record_open(s->keys, &(struct record_context){ answer->oid, r->kind, r->subkey,
			    r->orefs.at, r->orefs.count, r->brefs.at, r->brefs.count },
			    r->value, s->opening + at, need - at);
			if (n < 0)
				log_error("object %" PRIu64 ", record of kind %u: %s", answer->oid, r->kind,
				    n == -EBADMSG ? "damaged or forged, its seal does not open" : strerror((int)-n));
			r->value = (struct bytes){ n < 0 ? NULL : s->opening + at, n < 0 ? 0 : (size_t)n };
			at += r->value.len;
		}
	}
	return 0;
}

static void
control_received(void *context, const struct message *received, struct buffer *frame)
{
	struct shell *s = context;
	struct message m = *received;

	(void)frame;
	if (m.type == MSG_granted && open_records(s, &m) < 0) {
		log_error("out of memory for the server's answer");
		channel_break(s->control);
		return;
	}
	if (m.type == MSG_done && m.id == OWN_ID) {
		LOCK_SCOPE(&s->bye_lock);
		s->bye_answered = true;
		pthread_cond_broadcast(&s->bye_done);
		return;
	}
	EVENT(s, engine_received(s->engine, &m));
}

static void
control_lost(void *context)
{
	struct shell *s = context;
	struct action *old;

	EVENT(s,
		s->attached = false;
		engine_detached(s->engine);
		{
			LOCK_SCOPE(&s->queue_lock);
			while ((old = actions_take(&s->queue)) != NULL)
				action_drop(old);
		}
	);
	LOCK_SCOPE(&s->bye_lock);
	pthread_cond_broadcast(&s->bye_done);
}

static const struct channel_calls control_calls = { control_attach, control_received, control_fill, control_lost };

/* ---- the bulk lane ---- */

static int
bulk_attach(void *context, struct link *link, char *why, size_t size)
{
	struct shell *s = context;
	struct arena arena = { 0 };
	struct buffer *frame = NULL;
	struct message answer;
	int r;

	{
		LOCK_SCOPE(&s->lock);
		if (!s->attached)
			return -ENOTCONN;
	}
	r = say_attach(s, link, LANE_BULK, &answer, &arena, &frame, why, size);
	arena_free(&arena);
	buffer_put(frame);
	return r;
}

static int
bulk_fill(void *context, struct link *link)
{
	struct shell *s = context;

	return mover_channel_fill(s->mover, link);
}

static void
bulk_received(void *context, const struct message *m, struct buffer *frame)
{
	struct shell *s = context;

	mover_channel_received(s->mover, m, frame);
}

static void
bulk_lost(void *context)
{
	struct shell *s = context;

	mover_channel_lost(s->mover);
}

static const struct channel_calls bulk_calls = { bulk_attach, bulk_received, bulk_fill, bulk_lost };

/* ---- the ticker ---- */

static void
tick(struct shell *s, unsigned *since_version)
{
	struct engine_status status;

	EVENT(s,
		engine_tick(s->engine);
		engine_status(s->engine, &status);
		s->alone = status.alone;
		if (status.version > s->highest)
			s->highest = status.version
	);
	/* The engine asks for a sign of life every five seconds. */
	if (channel_silence_ms(s->control) > LINK_ANSWER_MS) {
		log_warning("the server has not answered for %d s", LINK_ANSWER_MS / 1000);
		channel_break(s->control);
		channel_break(s->bulk);
	}
	*since_version += TICK_MS;
	if (*since_version >= VERSION_MS && s->config.keeper != NULL) {
		*since_version = 0;
		s->config.keeper->version(s->config.keeper_context, s->highest);
	}
	if (s->config.kernel != NULL)
		s->config.kernel->tick(s->config.kernel_context);
}

static void *
ticker_main(void *argument)
{
	struct shell *s = argument;
	unsigned since_version = 0;

	for (;;) {
		{
			LOCK_SCOPE(&s->tick_lock);
			if (!s->stopping)
				lock_wait_ms(&s->tick_stop, &s->tick_lock, TICK_MS);
			if (s->stopping)
				return NULL;
		}
		tick(s, &since_version);
	}
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
	s->keys = volume_keys_new(s->config.volume_key, s->config.volume);
	if (s->keys == NULL)
		return -ENOMEM;
	if ((r = engine_new(&s->engine, &config, s->keys)) < 0 ||
	    (r = workers_new(&s->workers, WORKERS)) < 0 ||
	    (r = mover_new(&s->mover, s->workers, s->keys, &mover_calls, s)) < 0 ||
	    (s->config.kernel != NULL && (r = notifier_new(&s->notifier, &notifier_calls, s)) < 0) ||
	    (r = channel_new(&s->control, "control", &s->control_target, &control_calls, s)) < 0 ||
	    (r = channel_new(&s->bulk, "bulk", &s->bulk_target, &bulk_calls, s)) < 0)
		return r;
	r = channel_try(s->control, why, size);
	if (r < 0)
		return r;
	if ((r = channel_start(s->control)) < 0 || (r = channel_start(s->bulk)) < 0)
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
	lock_init(&s->lock);
	lock_init(&s->queue_lock);
	lock_init(&s->tick_lock);
	lock_init(&s->bye_lock);
	lock_cond_init(&s->tick_stop);
	lock_cond_init(&s->bye_done);
	actions_init(&s->queue);
	s->config = *config;
	s->highest = config->version;
	s->replaces = config->replaces;
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

/* Tells the server that the session is over, and waits a moment for its answer. */
static void
say_bye(struct shell *s)
{
	{
		LOCK_SCOPE(&s->queue_lock);
		s->bye_due = true;
	}
	channel_kick(s->control);
	LOCK_SCOPE(&s->bye_lock);
	if (!s->bye_answered && channel_up(s->control))
		lock_wait_ms(&s->bye_done, &s->bye_lock, 2000);
}

void
shell_free(struct shell *s, bool bye)
{
	struct action *a;

	if (s == NULL)
		return;
	if (s->ticking) {
		{
			LOCK_SCOPE(&s->tick_lock);
			s->stopping = true;
			pthread_cond_broadcast(&s->tick_stop);
		}
		pthread_join(s->ticker, NULL);
	}
	channel_stop(s->bulk);
	if (bye && s->ticking) {
		channel_end(s->control);
		say_bye(s);
		if (s->config.keeper != NULL) {
			s->config.keeper->version(s->config.keeper_context, s->highest);
			if (s->bye_answered)
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
	channel_free(s->bulk);
	while ((a = actions_take(&s->queue)) != NULL)
		action_drop(a);
	if (s->errands > 0)
		return;			/* the engine still holds them; the process ends soon */
	engine_free(s->engine);
	volume_keys_free(s->keys);
	free(s->sealing);
	free(s->opening);
	pthread_cond_destroy(&s->tick_stop);
	pthread_cond_destroy(&s->bye_done);
	pthread_mutex_destroy(&s->bye_lock);
	pthread_mutex_destroy(&s->tick_lock);
	pthread_mutex_destroy(&s->queue_lock);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- operations of our own ---- */

/* Shared by the caller and, until it has replied, the engine's side. */
struct errand {
	struct call	 call;
	pthread_mutex_t	 lock;
	pthread_cond_t	 done;
	bool		 finished;
	unsigned	 refs;
	uint64_t	 serial;
	struct shell	*shell;
};

static void
errand_put(struct errand *e)
{
	{
		LOCK_SCOPE(&e->lock);
		if (--e->refs > 0)
			return;
	}
	pthread_cond_destroy(&e->done);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static bool
errand_reply(struct call *c)
{
	(void)c;
	return true;
}

static void
errand_finish(struct call *c)
{
	struct errand *e = (struct errand *)c;

	{
		LOCK_SCOPE(&e->shell->lock);
		e->shell->errands--;
	}
	{
		LOCK_SCOPE(&e->lock);
		e->finished = true;
		pthread_cond_signal(&e->done);
	}
	errand_put(e);
}

struct errand *
shell_begin(struct shell *s, const struct op *op)
{
	struct errand *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	lock_init(&e->lock);
	lock_cond_init(&e->done);
	e->call.op = *op;
	e->call.reply = errand_reply;
	e->call.finish = errand_finish;
	e->refs = 2;
	e->shell = s;
	{
		LOCK_SCOPE(&s->lock);
		s->errands++;
	}
	if (shell_submit(s, &e->call, &e->serial))
		shell_replied(s, &e->call);
	return e;
}

bool
shell_wait(struct errand *e, int ms)
{
	LOCK_SCOPE(&e->lock);
	while (!e->finished) {
		if (ms < 0)
			pthread_cond_wait(&e->done, &e->lock);
		else if (lock_wait_ms(&e->done, &e->lock, (unsigned)ms) == ETIMEDOUT)
			return e->finished;
	}
	return true;
}

int
shell_end(struct shell *s, struct errand *e, struct op *op)
{
	int r = -ETIMEDOUT;

	if (!shell_wait(e, 0)) {
		shell_interrupt(s, &e->call, e->serial);
		if (!shell_wait(e, 0))
			goto out;
		/* It may have been done just now, and then has its own answer. */
		r = e->call.op.error == -EINTR ? -ETIMEDOUT : e->call.op.error;
	} else {
		r = e->call.op.error;
	}
	*op = e->call.op;
out:
	errand_put(e);
	return r;
}

int
shell_run(struct shell *s, struct op *op, int timeout_ms)
{
	struct errand *e = shell_begin(s, op);

	if (e == NULL)
		return -ENOMEM;
	shell_wait(e, timeout_ms);
	return shell_end(s, e, op);
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
shell_status(struct shell *s, struct engine_status *to, char *trouble, size_t size)
{
	{
		LOCK_SCOPE(&s->lock);
		engine_status(s->engine, to);
	}
	channel_trouble(s->control, trouble, size);
}

bool
shell_alone(const struct shell *s)
{
	return s->alone;
}

void
shell_unsaved(struct shell *s, void (*report)(void *context, const char *path, bool lost), void *context)
{
	LOCK_SCOPE(&s->lock);
	engine_unsaved(s->engine, report, context);
}
