/*
 * session.c - attaching, fencing and ending sessions.
 *
 *	ATTACH session=0	a new session: id, secret and a range of oids, durable before the answer
 *	ATTACH with a session	shows a proof of its secret that holds for this connection alone
 *	ATTACH control		generation above the stored one: older connections are closed first and
 *				what they still deliver is ignored; RECLAIM is due
 *	ATTACH bulk		the current generation
 *	BYE, replaces, 30 days	its leases, pins, ranges and row go in one batch
 *
 * A range of oids belongs to one session until it ends; which of its oids
 * were freed is kept in USED rows as long (reap.c), so that none is born
 * twice.
 */
#include "server/session.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/account.h"
#include "server/conn.h"
#include "server/credit.h"
#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/pin.h"
#include "server/wait.h"

enum { DAY_S = 24 * 60 * 60, UNSEEN_MAX_S = 30 * DAY_S, BULK_LANES_MAX = 16 };
#define RANGES_MAX (UINT64_C(1) << 46)

struct volume *
volume_find(const struct server *s, const uint8_t id[VOLUME_ID_SIZE])
{
	size_t slot = 0;
	struct table_node *n = NULL;

	while ((n = table_walk(&s->volumes, &slot, n)) != NULL) {
		struct volume *v = container_of(n, struct volume, node);

		if (memcmp(v->id, id, VOLUME_ID_SIZE) == 0)
			return v;
	}
	return NULL;
}

static struct session *
session_find(const struct server *s, uint64_t id)
{
	struct table_node *n = table_find(&s->sessions, id);

	return n == NULL ? NULL : container_of(n, struct session, node);
}

static struct session *
session_new(struct volume *v, const struct session_row *row)
{
	struct session *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	n->volume = v;
	n->row = *row;
	TAILQ_INIT(&n->wanted);
	return n;
}

static void
session_add(struct server *s, struct session *n, uint64_t id)
{
	table_insert(&s->sessions, &n->node, id);
	TAILQ_INSERT_TAIL(&n->volume->sessions, n, of_volume);
	s->stats.sessions++;
}

static void
range_add(struct session *n, struct range *r, uint64_t number)
{
	r->session = n;
	table_insert(&n->volume->ranges, &r->node, number);
	LIST_INSERT_HEAD(&n->ranges, r, of_session);
}

bool
session_owns(const struct session *n, uint64_t oid)
{
	struct table_node *node = oid < OID_RESERVED ? NULL :
	    table_find(&n->volume->ranges, (oid - OID_RESERVED) / RANGE_SIZE);

	return node != NULL && container_of(node, struct range, node)->session == n;
}

void
session_row_put(struct batch *b, const struct session *n, const struct session_row *row)
{
	uint8_t value[SESSION_ROW_SIZE];
	struct key key = key_u64(ROW_SESSION, n->volume->number, session_id(n));

	session_row_encode(row, value);
	batch_put(b, key_bytes(&key), (struct bytes){ value, sizeof value });
}

/* ---- loading ---- */

static struct volume *
volume_numbered(const struct server *s, uint32_t number)
{
	struct table_node *n = table_find(&s->volumes, number);

	return n == NULL ? NULL : container_of(n, struct volume, node);
}

static int
load_session(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct session_row row;
	struct session *n;
	struct volume *v;
	uint32_t vol;
	uint64_t id;

	if (key_split(key, &vol, &id, NULL) < 0 || session_row_decode(&row, value) < 0 ||
	    (v = volume_numbered(s, vol)) == NULL)
		return -EBADMSG;
	n = session_new(v, &row);
	if (n == NULL)
		return -ENOMEM;
	n->awaited = n->unstated = true;
	s->unstated++;
	v->unreclaimed++;
	session_stray(n, true);
	session_add(s, n, id);
	return 0;
}

static int
load_range(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct session *n;
	struct range *r;
	uint32_t vol;
	uint64_t number, owner;

	if (key_split(key, &vol, &number, NULL) < 0 || u64_row_decode(&owner, value) < 0 ||
	    (n = session_find(s, owner)) == NULL || n->volume->number != vol)
		return -EBADMSG;
	r = calloc(1, sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	range_add(n, r, number);
	return 0;
}

static int
load_pin(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct session *n;
	struct bytes rest;
	struct cursor c;
	uint32_t vol;
	uint64_t id, oid;

	(void)value;
	if (key_split(key, &vol, &id, &rest) < 0 || (n = session_find(s, id)) == NULL || n->volume->number != vol)
		return -EBADMSG;
	c = cursor_read(rest.data, rest.len);
	oid = cursor_get_u64(&c);
	if (!cursor_done(&c))
		return -EBADMSG;
	return pin_add(n, oid);
}

static int
load_table(struct server *s, enum row row, store_visit *visit)
{
	struct key from = key_table(row), to = key_table_last(row);

	return store_scan(s->store, key_bytes(&from), key_bytes(&to), visit, s);
}

int
session_load(struct server *s)
{
	int r = load_table(s, ROW_SESSION, load_session);

	if (r == 0)
		r = load_table(s, ROW_RANGE, load_range);
	if (r == 0)
		r = load_table(s, ROW_PIN, load_pin);
	return r;
}

void
session_start(struct server *s)
{
	size_t slot = 0;
	struct table_node *n = NULL;

	while ((n = table_walk(&s->sessions, &slot, n)) != NULL)
		container_of(n, struct session, node)->seen_ms = s->now_ms;
}

/* ---- ending ---- */

static void
end_rows(struct batch *b, const struct session *n)
{
	uint32_t vol = n->volume->number;
	struct key row = key_u64(ROW_SESSION, vol, session_id(n));
	struct key from = key_pin(vol, session_id(n), 0), to = key_pin(vol, session_id(n), UINT64_MAX);
	struct range *r;

	batch_delete(b, key_bytes(&row));
	batch_delete_range(b, key_bytes(&from), key_bytes(&to));
	LIST_FOREACH(r, &n->ranges, of_session) {
		const uint64_t chunks = RANGE_SIZE / USED_CHUNK;

		row = key_u64(ROW_RANGE, vol, r->node.key);
		from = key_u64(ROW_USED, vol, r->node.key * chunks);
		to = key_u64(ROW_USED, vol, r->node.key * chunks + chunks - 1);
		batch_delete(b, key_bytes(&row));
		batch_delete_range(b, key_bytes(&from), key_bytes(&to));
	}
}

static void
close_conns(struct server *s, struct session *n, const struct conn *but)
{
	struct conn *c, *next;

	LIST_EACH_SAFE(c, &n->conns, of_session, next)
		if (c != but)
			conn_close(s, c);
}

/* After its rows are gone from the store at `pos`. */
static void
session_ended(struct server *s, struct session *n, const struct conn *keep)
{
	struct conn *c, *next;

	close_conns(s, n, keep);
	LIST_EACH_SAFE(c, &n->conns, of_session, next)
		conn_detach(s, c);
	lease_drop_all(s, n);
	pin_drop_all(s, n);
	session_heard_of(s, n);
	session_free(s, n);
}

void
session_free(struct server *s, struct session *n)
{
	struct range *r, *next_range;

	LIST_EACH_SAFE(r, &n->ranges, of_session, next_range) {
		table_remove(&n->volume->ranges, &r->node);
		free(r);
	}
	session_stray(n, false);
	credit_void(s, n);
	table_remove(&s->sessions, &n->node);
	TAILQ_REMOVE(&n->volume->sessions, n, of_volume);
	s->stats.sessions--;
	sodium_memzero(n->row.secret, sizeof n->row.secret);
	free(n);
}

static int
end_alone(struct server *s, struct session *n, const struct conn *keep, uint64_t *ret_pos)
{
	struct batch b;
	int r;

	batch_init(&b);
	end_rows(&b, n);
	r = store_apply(s->store, &b, STORE_FREES, ret_pos);
	batch_done(&b);
	if (r == 0)
		session_ended(s, n, keep);
	return r;
}

void
session_bye(struct server *s, struct conn *c, const struct message *m)
{
	uint64_t pos = 0;
	int r = end_alone(s, c->session, c, &pos);

	outbox_done(s, c, m->id, r == 0 ? STATUS_OK : STATUS_IO, NULL, pos);
}

/* ---- attaching ---- */

static struct server_action *
attached(struct server *s, struct conn *c, const struct session *n, uint64_t request)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_attached, request);
	struct msg_attached *to = a == NULL ? NULL : &a->message.attached;

	if (a == NULL)
		return NULL;
	to->session = session_id(n);
	memcpy(to->secret, n->row.secret, SECRET_SIZE);
	to->boot = s->config.boot;
	to->sequence = n->row.sequence;
	to->rejected = n->row.rejected;
	to->outcome = n->row.version;
	to->version = n->volume->state.version;
	to->term_ms = s->config.term_ms;
	to->sessions = session_present(s, n->volume);
	to->credit = n->unstated ? UINT64_MAX : n->credit;
	return a;
}

static void
attach_bulk(struct server *s, struct conn *c, struct session *n, const struct message *m)
{
	struct conn *lane;
	unsigned lanes = 0;

	LIST_FOREACH(lane, &n->conns, of_session)
		lanes++;
	if (m->attach.generation != n->row.generation || lanes > BULK_LANES_MAX) {
		outbox_done(s, c, m->id, m->attach.generation != n->row.generation ? STATUS_STALE : STATUS_BUSY, NULL, 0);
		return;
	}
	conn_attach(s, c, n, LANE_BULK);
	outbox_send(s, c, attached(s, c, n, m->id), n->outcome_pos);
}

/* Appends a fresh range for the session; the volume's counter moves when the batch is applied. */
static void
range_rows(struct batch *b, const struct volume *v, uint64_t session)
{
	struct state_row state = v->state;
	struct key key = key_u64(ROW_RANGE, v->number, state.next_range++);

	put_u64_row(b, &key, session);
	state_row_put(b, v->number, &state);
}

/* 0, or the status to answer; NULL session: unknown, whatever the reason. */
static enum status
attach_lookup(struct server *s, struct conn *c, struct volume *v, uint64_t id, const uint8_t *proof,
    struct session **ret_session)
{
	struct session *n = session_find(s, id);
	uint8_t expected[PROOF_SIZE];

	*ret_session = NULL;
	if (n == NULL || n->volume != v)
		return STATUS_NOENT;
	noise_proof(n->row.secret, c->hash, expected);
	if (memcmp(n->row.device, c->device, KEY_SIZE) != 0 ||
	    sodium_memcmp(expected, proof, PROOF_SIZE) != 0)
		return STATUS_DENIED;
	*ret_session = n;
	return STATUS_OK;
}

static uint64_t
fresh_id(struct server *s)
{
	uint8_t random[8];
	struct cursor c;
	uint64_t id;

	do {
		s->config.random(s->config.context, random, sizeof random);
		c = cursor_read(random, sizeof random);
		id = cursor_get_u64(&c);
	} while (id == 0 || session_find(s, id) != NULL);
	return id;
}

/* Makes the session, or moves it to the new generation, in one batch with its range and the end of `dead`. */
static int
attach_apply(struct server *s, struct session *n, const struct session_row *row, struct session *dead,
    uint64_t *ret_pos)
{
	struct batch b;
	int r;

	batch_init(&b);
	if (dead != NULL)
		end_rows(&b, dead);
	session_row_put(&b, n, row);
	range_rows(&b, n->volume, session_id(n));
	r = store_apply(s->store, &b, STORE_FREES, ret_pos);
	batch_done(&b);
	return r;
}

static void
attach_control(struct server *s, struct conn *c, struct session *n, bool is_new, struct session *dead,
    const struct message *m)
{
	struct session_row row = n->row;
	struct range *range = calloc(1, sizeof *range);
	struct server_action *a;
	uint64_t pos = 0;
	int r;

	row.generation = m->attach.generation;
	row.seen_s = calendar_s(s);
	r = range == NULL ? -ENOMEM : attach_apply(s, n, &row, dead, &pos);
	if (r < 0) {
		free(range);
		if (is_new)
			free(n);
		outbox_done(s, c, m->id, outbox_status(s, r), NULL, 0);
		return;
	}
	if (dead != NULL)
		session_ended(s, dead, NULL);
	if (is_new)
		session_add(s, n, session_id(n));
	close_conns(s, n, NULL);
	n->row = row;
	n->outcome_pos = pos;
	n->claim++;
	n->reclaimed = is_new;
	range_add(n, range, n->volume->state.next_range++);
	conn_attach(s, c, n, LANE_CONTROL);
	credit_renew(s, n);
	a = attached(s, c, n, m->id);
	if (a != NULL) {
		a->message.attached.first_oid = OID_RESERVED + range->node.key * RANGE_SIZE;
		a->message.attached.oid_count = RANGE_SIZE;
	}
	outbox_send(s, c, a, pos);
	outbox_log(s, "event=attach volume=%.*s session=%016" PRIx64 " generation=%u conn=%" PRIu64,
	    n->volume->name_len, (const char *)n->volume->name, session_id(n), (unsigned)row.generation, conn_id(c));
}

static void
attach_new(struct server *s, struct conn *c, struct volume *v, const struct message *m)
{
	struct session_row row = { 0 };
	struct session *n, *dead = NULL;
	enum status status = STATUS_OK;
	const char *why = NULL;

	if (m->attach.replaces != 0)
		status = attach_lookup(s, c, v, m->attach.replaces, m->attach.replaces_proof, &dead);
	if (status == STATUS_NOENT)	/* ended already */
		status = STATUS_OK;
	if (status == STATUS_OK && m->attach.lane != LANE_CONTROL)
		status = STATUS_INVALID;
	if (status == STATUS_OK && s->stats.sessions >= s->config.sessions_max && dead == NULL) {
		status = STATUS_BUSY;
		why = "it has as many mounts as it takes";
	}
	memcpy(row.device, c->device, KEY_SIZE);
	s->config.random(s->config.context, row.secret, SECRET_SIZE);
	n = status != STATUS_OK ? NULL : session_new(v, &row);
	if (n == NULL) {
		outbox_done(s, c, m->id, status == STATUS_OK ? STATUS_BUSY : status, why, 0);
		return;
	}
	n->node.key = fresh_id(s);
	attach_control(s, c, n, true, dead, m);
}

void
session_attach(struct server *s, struct conn *c, const struct message *m)
{
	struct volume *v = volume_find(s, m->attach.volume);
	struct session *n = NULL;
	enum status status = STATUS_OK;
	const char *why = NULL;

	if (c->session != NULL || m->attach.lane > LANE_BULK) {
		outbox_done(s, c, m->id, STATUS_INVALID, "attached already", 0);
		conn_doom(s, c);
		return;
	}
	if (v == NULL || !account_member(s, c->device, v))
		status = STATUS_DENIED;
	else if (v->state.next_range >= RANGES_MAX) {
		status = STATUS_BUSY;
		why = "the volume has no numbers left for new files";
	} else if (m->attach.session != 0)
		status = attach_lookup(s, c, v, m->attach.session, m->attach.proof, &n);
	if (status == STATUS_OK && n != NULL && m->attach.lane == LANE_CONTROL &&
	    m->attach.generation <= n->row.generation)
		status = STATUS_STALE;
	else if (status == STATUS_OK && n != NULL && n->fenced) {
		status = STATUS_BUSY;
		why = "this mount did not give back what others wait for, and is cut off until they have it";
	}
	/* That a session has ended is believed, so it must be durable. */
	if (status != STATUS_OK)
		outbox_done(s, c, m->id, status, why, status == STATUS_NOENT ? store_end(s->store) : 0);
	else if (n == NULL)
		attach_new(s, c, v, m);
	else if (m->attach.lane == LANE_BULK)
		attach_bulk(s, c, n, m);
	else
		attach_control(s, c, n, false, NULL, m);
}

void
session_alloc(struct server *s, struct conn *c, const struct message *m)
{
	struct session *n = c->session;
	struct range *range = calloc(1, sizeof *range);
	struct server_action *a = outbox_message(conn_id(c), MSG_allocated, m->id);
	struct batch b;
	unsigned flags = 0;
	uint64_t pos = 0;
	int r;

	batch_init(&b);
	range_rows(&b, n->volume, session_id(n));
	r = range == NULL || a == NULL || n->volume->state.next_range >= RANGES_MAX ? -ENOMEM : 0;
	/* Who has credit for files gets their numbers; else they could use up what removals need. */
	if (r == 0)
		r = credit_cover(s, n, OBJECT_COST, &flags);
	if (r == 0)
		r = store_apply(s->store, &b, flags, &pos);
	batch_done(&b);
	if (r < 0) {
		free(range);
		server_action_free(a);
		outbox_done(s, c, m->id, outbox_status(s, r), NULL, 0);
		return;
	}
	range_add(n, range, n->volume->state.next_range++);
	a->message.allocated.first_oid = OID_RESERVED + range->node.key * RANGE_SIZE;
	a->message.allocated.oid_count = RANGE_SIZE;
	outbox_send(s, c, a, pos);
}

/* ---- presence ---- */

/* Its client may still serve under leases, as far as anybody here knows. */
static bool
present(const struct server *s, const struct session *n)
{
	return n->awaited || s->now_ms - n->seen_ms <= s->config.term_ms + s->config.skew_ms;
}

bool
session_alone(const struct server *s, const struct session *n)
{
	struct session *other;

	TAILQ_FOREACH(other, &n->volume->sessions, of_volume)
		if (other != n && (!LIST_EMPTY(&other->leases) || present(s, other)))
			return false;
	return true;
}

uint32_t
session_present(const struct server *s, const struct volume *v)
{
	const struct session *n;
	uint32_t count = 0;

	TAILQ_FOREACH(n, &v->sessions, of_volume)
		count += present(s, n);
	return count;
}

bool
session_grace(const struct volume *v)
{
	return v->unreclaimed > 0;
}

void
session_stray(struct session *n, bool astray)
{
	n->volume->astray += astray - n->astray;
	n->astray = astray;
}

void
session_heard_of(struct server *s, struct session *n)
{
	if (!n->awaited)
		return;
	n->awaited = false;
	if (--n->volume->unreclaimed == 0)
		wait_kick_volume(s, n->volume);
}

/*
 * When the grace is over for it.  Who has come back by then may not know it
 * yet: the answer waits for our own disk, or is on its way.  He is given as
 * long again, to reclaim what he holds; and no longer, for all others wait for
 * him.
 */
static uint64_t
grace_end_ms(const struct server *s, const struct session *n)
{
	uint64_t more = n->control != NULL ? s->config.term_ms + s->config.skew_ms : 0;

	return s->grace_end_ms + more;
}

/* When one of these is over, or a day, of the calendar. */
static void
tell_due(struct server *s, const struct session *n)
{
	uint64_t silent_ms = s->config.term_ms + s->config.skew_ms, now_s = calendar_s(s);
	uint64_t seen_s = n->row.seen_s + (n->control != NULL ? DAY_S : UNSEEN_MAX_S);

	if (n->awaited || n->unstated)
		due_by(s, grace_end_ms(s, n));
	if (!n->unstated && n->credit > 0)
		due_by(s, n->seen_ms + silent_ms + 1);
	due_by(s, s->now_ms + (seen_s >= now_s ? seen_s + 1 - now_s : 0) * 1000);
}

static bool
lapsed(const struct server *s, const struct session *n)
{
	return s->now_ms >= grace_end_ms(s, n);
}

static int
rewrite(struct server *s, struct session *n, const struct session_row *row, uint64_t *ret_pos)
{
	struct batch b;
	int r;

	batch_init(&b);
	session_row_put(&b, n, row);
	r = store_apply(s->store, &b, STORE_FREES, ret_pos);
	batch_done(&b);
	if (r == 0)
		n->row = *row;
	return r;
}

/* The day a connected session was last seen. */
static void
note_day(struct server *s, struct session *n)
{
	struct session_row row = n->row;
	uint64_t pos;

	row.seen_s = calendar_s(s);
	rewrite(s, n, &row, &pos);
}

bool
session_evict(struct server *s, struct session *n)
{
	struct session_row row = n->row;

	row.evicted = OID_RESERVED + n->volume->state.next_range * RANGE_SIZE - 1;
	if (row.evicted != n->row.evicted && rewrite(s, n, &row, &n->volume->evicted_pos) < 0)
		return false;
	if (n->control != NULL)
		conn_close(s, n->control);
	return true;
}

/* One that nobody has seen for so long; true when it is gone. */
static bool
expire(struct server *s, struct session *n)
{
	const struct volume *v = n->volume;
	uint64_t id = session_id(n), pos;

	if (end_alone(s, n, NULL, &pos) < 0)
		return false;
	outbox_log(s, "event=expire volume=%.*s session=%016" PRIx64, v->name_len, (const char *)v->name, id);
	return true;
}

void
session_tick(struct server *s)
{
	size_t slot = 0;
	struct table_node *node = table_walk(&s->sessions, &slot, NULL), *next;
	uint64_t today_s = calendar_s(s);

	for (; node != NULL; node = next) {
		struct session *n = container_of(node, struct session, node);
		uint64_t unseen_s = today_s > n->row.seen_s ? today_s - n->row.seen_s : 0;

		next = table_walk(&s->sessions, &slot, node);
		if (n->awaited && lapsed(s, n) && session_evict(s, n)) {
			outbox_log(s, "event=lapse volume=%.*s session=%016" PRIx64, n->volume->name_len,
			    (const char *)n->volume->name, session_id(n));
			session_heard_of(s, n);
		}
		if (n->unstated ? lapsed(s, n) : n->credit > 0 && !present(s, n))
			credit_void(s, n);
		if (n->control != NULL && unseen_s > DAY_S)
			note_day(s, n);
		if (n->control != NULL || unseen_s <= UNSEEN_MAX_S || !expire(s, n))
			tell_due(s, n);
	}
}
