/*
 * engine.c - the passive server: events in, actions out.
 *
 * What each message asks and what it is answered is in nuage-protocol(5);
 * the rules that keep it true are at the head of the room that owns them:
 *
 *	conn.c		connections, as far as the engine knows them
 *	account.c	devices, invitations, volumes, memberships
 *	session.c	ATTACH, fencing, oid ranges, BYE, the grace after a restart
 *	wait.c read.c	READ: whose turn it is, and the answer
 *	lease.c		RECALL, RELEASE, RECLAIM, eviction
 *	commit.c	COMMIT, RESET;  tally.c: the reference counts they change
 *	pin.c reap.c	PIN; freeing what nobody references or pins
 *	block.c		PUT, HAVE, GET; freeing idle blocks
 *	credit.c	STATFS: space promised to sessions
 *	outbox.c	what waits for the log, and what is due
 *	check.c		all of the invariants
 *
 * Each event ends in settle(): objects that were kicked get their grants and
 * recalls, doomed connections are closed.  An answer that tells of a change
 * is held until the log is durable that far; READs of what nobody touched
 * lately are not.
 *
 * The gate: a message whose type, sender or lane is wrong, or that needs a
 * session its connection has not, is answered INVALID and the connection
 * closed; from a device that is not enrolled all but REDEEM is DENIED and
 * closed.  A handler never sees either.
 */
#include "config.h"
#include "server/engine.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/account.h"
#include "server/block.h"
#include "server/commit.h"
#include "server/conn.h"
#include "server/credit.h"
#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/pin.h"
#include "server/reap.h"
#include "server/session.h"
#include "server/wait.h"

enum { TICK_MS = 100, SESSIONS_MAX = 4096, LEASES_MAX = 1000 * 1000, IDLE_MS = 60 * 1000, FRESH_MS = 600 * 1000 };

typedef void handler(struct server *s, struct conn *c, const struct message *m);

/* ---- small messages ---- */

static void
keepalive(struct server *s, struct conn *c, const struct message *m)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_alive, m->id);

	if (a != NULL) {
		a->message.alive.version = c->session->volume->state.version;
		a->message.alive.sessions = session_present(s, c->session->volume);
	}
	outbox_send(s, c, a, 0);
}

static void
statfs(struct server *s, struct conn *c, const struct message *m)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_space, m->id);

	if (a != NULL) {
		a->message.space.more = credit_state(s, c->session, m->statfs.keep, m->statfs.want);
		a->message.space.credit = c->session->credit;
		store_space(s->store, &a->message.space.total_bytes, &a->message.space.free_bytes);
		a->message.space.ready_bytes = store_ready(s->store);
		a->message.space.objects = c->session->volume->state.objects;
	}
	outbox_send(s, c, a, 0);
}

/* ---- the gate ---- */

static handler *const handlers[MSG_COUNT] = {
	[MSG_redeem] = account_redeem, [MSG_volume_create] = account_create,
	[MSG_volume_list] = account_list, [MSG_volume_invite] = account_invite,
	[MSG_wrap_get] = account_wrap, [MSG_device_add] = account_add,
	[MSG_attach] = session_attach, [MSG_alloc] = session_alloc, [MSG_bye] = session_bye,
	[MSG_reclaim] = lease_reclaim, [MSG_release] = lease_release, [MSG_read] = wait_read,
	[MSG_pin] = pin_message, [MSG_commit] = commit_message, [MSG_reset] = commit_reset,
	[MSG_keepalive] = keepalive, [MSG_statfs] = statfs,
	[MSG_put] = block_put, [MSG_have] = block_have, [MSG_get] = block_get,
};

static bool
passes(const struct conn *c, const struct message *m)
{
	const struct message_info *info = message_info(m->type);

	if (info == NULL || !(info->from & FROM_CLIENT) || handlers[m->type] == NULL)
		return false;
	if (info->lane == ON_ANY)
		return true;
	return c->session != NULL && info->lane == (c->lane == LANE_CONTROL ? ON_CONTROL : ON_BULK);
}

static void
settle(struct server *s)
{
	bool room;

	s->answered = 0;
	do {
		room = wait_run(s);
		conn_close_doomed(s);
	} while (room && !TAILQ_EMPTY(&s->kicked));
	if (!TAILQ_EMPTY(&s->kicked))
		due_soon(s);	/* too much for one event, and perhaps there is no other */
#ifdef NUAGE_CHECKS
	char why[256];

	if (!server_check(s, why, sizeof why)) {
		fprintf(stderr, "server_check: %s\n", why);
		abort();
	}
#endif
}

void
server_received(struct server *s, uint64_t conn, const struct message *m)
{
	struct conn *c = conn_find(s, conn);

	if (c == NULL || c->doomed)
		return;
	c->seen_ms = s->now_ms;
	if (c->session != NULL && c->session->control == c)
		c->session->seen_ms = s->now_ms;
	if (!passes(c, m)) {
		outbox_done(s, c, m->id, STATUS_INVALID, "not here", 0);
		conn_doom(s, c);
	} else if (m->type != MSG_redeem && !account_enrolled(s, c->device, NULL)) {
		account_stranger(s, c->device, message_info(m->type)->name);
		outbox_done(s, c, m->id, STATUS_DENIED, "device not enrolled", 0);
		conn_doom(s, c);
	} else {
		handlers[m->type](s, c, m);
	}
	settle(s);
}

/* ---- other events ---- */

void
server_disconnected(struct server *s, uint64_t conn)
{
	struct conn *c = conn_find(s, conn);

	if (c == NULL)
		return;
	conn_gone(s, c);
	settle(s);
}

void
server_synced(struct server *s, uint64_t pos)
{
	if (pos > s->synced)
		s->synced = pos;
	object_synced(s);
	outbox_synced(s);
}

void
server_block_written(struct server *s, struct server_action *a, int result)
{
	assert(a->kind == SERVER_WRITE_BLOCK && a->ticket != NULL);
	block_written(s, a, result);
	settle(s);
}

void
server_clock(struct server *s, uint64_t now_ms)
{
	if (now_ms > s->now_ms)
		s->now_ms = now_ms;
	if (s->started)
		return;
	s->started = true;
	s->grace_end_ms = s->now_ms + s->config.term_ms + s->config.skew_ms;
	session_start(s);
	block_start(s);
	account_prune(s);
}

void
server_tick(struct server *s)
{
	const char *failed = store_failed(s->store);

	s->ticked_ms = s->now_ms;
	s->due_ms = UINT64_MAX;
	if (failed != NULL && !s->failed) {
		s->failed = true;
		outbox_log(s, "event=store-failed error=\"%s\"", failed);
	}
	session_tick(s);
	lease_tick(s);
	conn_tick(s);
	if (failed == NULL) {
		reap_tick(s);
		block_tick(s);
	}
	settle(s);
}

uint64_t
server_due(const struct server *s)
{
	uint64_t least_ms = s->ticked_ms + TICK_MS;
	bool untold = !s->failed && store_failed(s->store) != NULL;

	return s->due_ms > least_ms && !untold ? s->due_ms : least_ms;
}

void
server_stats(const struct server *s, struct server_stats *to)
{
	*to = s->stats;
}

/* ---- life ---- */

static int
load_head(struct server *s)
{
	struct key key = key_table(ROW_SERVER);
	struct bytes value;
	struct cursor c;
	int r = store_get(s->store, key_bytes(&key), &value);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	c = cursor_read(value.data, value.len);
	if (cursor_get_u32(&c) != LAYOUT_FORMAT)
		return -ENOTSUP;
	s->next_volume = cursor_get_u32(&c);
	return cursor_done(&c) ? 0 : -EBADMSG;
}

int
server_new(struct server **ret, const struct server_config *config, struct store *store)
{
	struct server *s = calloc(1, sizeof *s);
	uint64_t seed;
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->config = *config;
	s->config.term_ms = config->term_ms != 0 ? config->term_ms : TERM_MS;
	s->config.skew_ms = config->skew_ms != 0 ? config->skew_ms : SKEW_MS;
	s->config.leases_max = config->leases_max != 0 ? config->leases_max : LEASES_MAX;
	s->config.sessions_max = config->sessions_max != 0 ? config->sessions_max : SESSIONS_MAX;
	s->config.idle_ms = config->idle_ms != 0 ? config->idle_ms : IDLE_MS;
	s->config.fresh_ms = config->fresh_ms != 0 ? config->fresh_ms : FRESH_MS;
	s->store = store;
	s->synced = store_synced(store);
	s->next_volume = 1;
	s->last = &s->first;
	s->config.random(s->config.context, &seed, sizeof seed);
	s->config.random(s->config.context, s->hash_key, sizeof s->hash_key);
	table_init(&s->conns, seed);
	table_init(&s->sessions, seed);
	table_init(&s->volumes, seed);
	table_init(&s->writing, seed);
	table_init(&s->idle_table, seed);
	TAILQ_INIT(&s->kicked);
	TAILQ_INIT(&s->touched);
	TAILQ_INIT(&s->dying);
	TAILQ_INIT(&s->idle_fresh);
	TAILQ_INIT(&s->idle_dead);
	TAILQ_INIT(&s->held);
	r = load_head(s);
	if (r == 0)
		r = account_load(s);
	if (r == 0)
		r = session_load(s);
	if (r == 0)
		r = reap_load(s);
	if (r == 0)
		r = block_load(s);
	if (r < 0) {
		server_free(s);
		return r;
	}
	wait_run(s);
	*ret = s;
	return 0;
}

static void
volume_free(struct server *s, struct volume *v)
{
	struct session *n, *next_session;
	size_t slot = 0;
	struct table_node *node, *next;

	TAILQ_EACH_SAFE(n, &v->sessions, of_volume, next_session) {
		struct pin *p, *next_pin;

		lease_drop_all(s, n);
		LIST_EACH_SAFE(p, &n->pins, of_session, next_pin)
			free(p);
		session_free(s, n);
	}
	for (node = table_walk(&v->objects, &slot, NULL); node != NULL; node = next) {
		next = table_walk(&v->objects, &slot, node);
		free(container_of(node, struct object, node));
	}
	table_done(&v->objects);
	table_done(&v->ranges);
	free(v);
}

void
server_free(struct server *s)
{
	size_t slot = 0;
	struct table_node *n, *next;

	if (s == NULL)
		return;
	for (n = table_walk(&s->conns, &slot, NULL); n != NULL; n = next) {
		next = table_walk(&s->conns, &slot, n);
		conn_gone(s, container_of(n, struct conn, node));
	}
	outbox_free(s);
	block_free_all(s);
	slot = 0;
	for (n = table_walk(&s->volumes, &slot, NULL); n != NULL; n = next) {
		next = table_walk(&s->volumes, &slot, n);
		volume_free(s, container_of(n, struct volume, node));
	}
	table_done(&s->conns);
	table_done(&s->sessions);
	table_done(&s->volumes);
	table_done(&s->writing);
	table_done(&s->idle_table);
	sodium_memzero(s->hash_key, sizeof s->hash_key);
	free(s);
}
