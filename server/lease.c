/*
 * lease.c - granting, recalling, reclaiming and losing leases.
 *
 * A lease as its holder is asked for it:
 *
 *	quiet    -> wanted    a READ that conflicts begins to wait: RECALL, unless
 *	                      the session has no connection or has yet to reclaim
 *	wanted   -> quiet     no such READ waits any more
 *	either   -> weaker or gone    RELEASE, RECLAIM without it, eviction, session end, free
 *
 * A holder that is connected but does nothing about a recall may go on serving
 * under its lease until its term ends, whatever we decide.  So nothing is
 * granted to others before: it is fenced.  Its connection is cut and no other
 * accepted, and when a term and the skew have passed since it was last heard,
 * it is evicted like one that was silent (DESIGN R9).
 *
 *	live  -> fenced   no progress on a recall for a term
 *	fenced -> evicted term and skew since the last receipt, and somebody waits
 *	fenced -> live    the same, and nobody waits any more; by a restart
 *	live  -> evicted  silent for term and skew, and somebody waits
 *	live  -> evicted  not back when the grace after a restart is over
 *
 * What an evicted session claims is judged by the leases of others.  After a
 * restart those are not known until all are back: it could be first, and get
 * what another was given and serves from until his term ends.  So its row
 * tells that it was evicted, durably before any grant is told, and it is
 * refused while others are awaited; but not once it has heard what it lost.
 * It tells whether it has (RECLAIM's `known`): what a server believes to have
 * told may have died on the way.  So it does for a client that changed, while
 * it was offline, what it had only shared: it claims more than it ever held.
 *
 *	a grant was told after an eviction => the evicted session's row says so
 *	known <= row.evicted => what it claims may be another's
 *
 * RELEASE takes effect at once though commits before it may not be durable:
 * the answer to any READ of an object waits for the object's last change to
 * be synced, so nobody can tell the difference, and a RELEASE that crosses a
 * READ of the same session cannot take away what that READ was granted.
 */
#include "server/lease.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "server/commit.h"
#include "server/conn.h"
#include "server/credit.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/session.h"
#include "server/wait.h"

struct lease *
lease_of(const struct object *o, const struct session *n)
{
	struct lease *l;

	LIST_FOREACH(l, &o->leases, of_object)
		if (l->session == n)
			return l;
	return NULL;
}

bool
lease_conflicts(const struct object *o, const struct session *n, uint8_t mode)
{
	struct lease *l;

	LIST_FOREACH(l, &o->leases, of_object)
		if (l->session != n && modes_conflict(l->mode, mode))
			return true;
	return false;
}

static void
quiet(struct lease *l)
{
	if (l->wanted)
		TAILQ_REMOVE(&l->session->wanted, l, of_wanted);
	l->wanted = false;
}

static struct lease *
lease_new(struct server *s, struct session *n, struct object *o, uint8_t mode, uint64_t grant)
{
	struct lease *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->object = o;
	l->session = n;
	l->mode = mode;
	l->grant = grant;
	l->claim = n->claim;
	LIST_INSERT_HEAD(&o->leases, l, of_object);
	LIST_INSERT_HEAD(&n->leases, l, of_session);
	n->lease_count++;
	s->stats.leases++;
	return l;
}

struct lease *
lease_grant(struct server *s, struct session *n, struct object *o, uint8_t mode)
{
	struct lease *l = lease_of(o, n);

	if (l == NULL)
		return lease_new(s, n, o, mode, ++n->grants);
	if (l->mode < mode) {
		l->mode = mode;
		l->grant = ++n->grants;
		l->recalled = false;
	}
	return l;
}

struct lease *
lease_birth(struct server *s, struct session *n, struct object *o)
{
	struct lease *l = lease_of(o, n);

	if (l == NULL)
		return lease_new(s, n, o, MODE_EXCLUSIVE, 0);
	l->mode = MODE_EXCLUSIVE;
	return l;
}

void
lease_drop(struct server *s, struct lease *l)
{
	quiet(l);
	LIST_REMOVE(l, of_object);
	LIST_REMOVE(l, of_session);
	l->session->lease_count--;
	s->stats.leases--;
	object_kick(s, l->object);
	free(l);
}

void
lease_drop_all(struct server *s, struct session *n)
{
	while (!LIST_EMPTY(&n->leases))
		lease_drop(s, LIST_FIRST(&n->leases));
}

void
lease_weaken(struct server *s, struct lease *l, uint8_t mode)
{
	l->mode = mode;
	object_kick(s, l->object);
}

/* The mode l may keep for the sake of those who wait, and the oldest of them that conflicts. */
static uint8_t
mode_kept(const struct lease *l, uint64_t *ret_ticket)
{
	uint8_t keep = l->mode;
	struct wait_node *w;

	*ret_ticket = UINT64_MAX;
	TAILQ_FOREACH(w, &l->object->waits, of_object) {
		uint8_t left = w->mode == MODE_SHARED ? MODE_SHARED : MODE_NONE;

		if (w->wait->session == l->session || !modes_conflict(l->mode, w->mode))
			continue;
		if (left < keep)
			keep = left;
		if (w->wait->ticket < *ret_ticket)
			*ret_ticket = w->wait->ticket;
	}
	return keep;
}

void
lease_recall(struct server *s, struct object *o)
{
	struct lease *l;

	LIST_FOREACH(l, &o->leases, of_object) {
		struct session *n = l->session;
		struct server_action *a;
		uint64_t ticket;
		uint8_t keep = mode_kept(l, &ticket);

		if (keep == l->mode) {
			quiet(l);
			continue;
		}
		if (!l->wanted) {
			l->wanted = true;
			l->wanted_ms = s->now_ms;
			TAILQ_INSERT_TAIL(&n->wanted, l, of_wanted);
			due_soon(s);
		}
		if (!n->reclaimed || n->control == NULL ||
		    (l->recalled && l->recall_mode <= keep && l->recall_ticket <= ticket))
			continue;
		l->recall_mode = l->recalled && l->recall_mode < keep ? l->recall_mode : keep;
		l->recalled = true;
		l->recall_ticket = ticket;
		s->stats.recalls++;
		a = outbox_message(conn_id(n->control), MSG_recall, 0);
		if (a != NULL)
			a->message.recall = (struct msg_recall){ .oid = object_oid(o), .grant = l->grant,
			    .mode = l->recall_mode, .ticket = ticket };
		outbox_send(s, n->control, a, l->told_pos);
	}
}

void
lease_release(struct server *s, struct conn *c, const struct message *m)
{
	struct session *n = c->session;

	for (uint32_t i = 0; i < m->release.leases.count; i++) {
		const struct msg_lease *given = &m->release.leases.at[i];
		struct object *o = object_find(n->volume, given->oid);
		struct lease *l = o == NULL ? NULL : lease_of(o, n);

		if (l == NULL || l->grant != given->grant || given->mode >= l->mode)
			continue;
		n->progress_ms = s->now_ms;
		if (given->mode == MODE_NONE)
			lease_drop(s, l);
		else
			lease_weaken(s, l, given->mode);
	}
}

/* ---- reclaim ---- */

/* Nobody else changed the object since the session knew it at `base`. */
static bool
unchanged(struct server *s, struct session *n, uint64_t oid, uint64_t base)
{
	struct header h = { 0 };
	int r = object_header(s, n->volume, oid, &h);

	if (r < 0 && !(r == -ENOENT && oid < OID_RESERVED))
		return false;
	return h.version == base || h.writer == session_id(n);
}

/* True when the session holds what it claims from now on, or may go on without. */
static bool
claim(struct server *s, struct session *n, uint64_t known, const struct msg_lease *claimed)
{
	struct object *o = object_find(n->volume, claimed->oid);
	struct lease *l = o == NULL ? NULL : lease_of(o, n);

	if (claimed->mode != MODE_SHARED && claimed->mode != MODE_EXCLUSIVE)
		return false;
	if (l == NULL || l->mode < claimed->mode) {
		if (commit_unborn(s, n, claimed->oid))
			return true;	/* its birth is still on the way and brings the lease */
		if (known <= n->row.evicted && n->volume->unreclaimed > n->awaited)
			return false;	/* who was given it since may not be back yet */
		/* No cap here: births may have gone beyond it, and unsaved work hangs on each. */
		if ((o != NULL && lease_conflicts(o, n, claimed->mode)) ||
		    !unchanged(s, n, claimed->oid, claimed->base))
			return false;
		o = object_get(n->volume, claimed->oid);
		l = o == NULL ? NULL : lease_grant(s, n, o, claimed->mode);
		if (l == NULL) {
			if (o != NULL)
				object_kick(s, o);
			return false;
		}
		s->stats.reclaims++;
	} else if (l->mode > claimed->mode) {
		lease_weaken(s, l, claimed->mode);
	}
	l->grant = claimed->grant;
	l->claim = n->claim;
	l->recalled = false;
	if (n->grants < claimed->grant)
		n->grants = claimed->grant;
	return true;
}

/* The list is complete: what it left out is gone, and recalls go out again. */
static void
reclaim_done(struct server *s, struct session *n)
{
	struct lease *l, *next;

	LIST_EACH_SAFE(l, &n->leases, of_session, next) {
		l->recalled = false;
		l->told_pos = n->volume->evicted_pos;
		if (l->claim != n->claim)
			lease_drop(s, l);
		else
			object_kick(s, l->object);
	}
	n->reclaimed = true;
	session_stray(n, false);
	session_heard_of(s, n);
	wait_kick_all(s, n);
}

void
lease_reclaim(struct server *s, struct conn *c, const struct message *m)
{
	struct session *n = c->session;
	struct server_action *a = outbox_message(conn_id(c), MSG_reclaimed, m->id);
	struct msg_reclaimed *r = a == NULL ? NULL : &a->message.reclaimed;
	uint32_t count = m->reclaim.leases.count;

	if (n->reclaimed) {
		server_action_free(a);
		outbox_done(s, c, m->id, STATUS_INVALID, "reclaimed already", 0);
		conn_doom(s, c);
		return;
	}
	if (a != NULL && count > 0) {
		r->lost.at = arena_alloc(&a->arena, count * sizeof *r->lost.at);
		if (r->lost.at == NULL) {
			server_action_free(a);
			a = NULL;
		}
	}
	for (uint32_t i = 0; a != NULL && i < count; i++)
		if (!claim(s, n, m->reclaim.known, &m->reclaim.leases.at[i]))
			r->lost.at[r->lost.count++] = m->reclaim.leases.at[i];
	if (a != NULL && m->reclaim.last)
		reclaim_done(s, n);
	outbox_send(s, c, a, n->volume->evicted_pos);
}

/* ---- eviction ---- */

/*
 * A live holder may wait, with what is recalled in hand, for one that is dead:
 * it has its turn when that one is evicted, and time then.
 */
enum { PATIENCE = 2 };		/* times what a silent one gets */

static void
evict(struct server *s, struct session *n, const char *why)
{
	if (!session_evict(s, n))
		return;
	outbox_log(s, "event=evict volume=%.*s session=%016" PRIx64 " leases=%u reason=%s", n->volume->name_len,
	    (const char *)n->volume->name, session_id(n), (unsigned)n->lease_count, why);
	s->stats.evictions++;
	session_stray(n, true);
	lease_drop_all(s, n);
	credit_void(s, n);
	n->fenced = false;
}

/* It is heard no more from here on, so that its term runs out. */
static void
fence(struct server *s, struct session *n)
{
	outbox_log(s, "event=fence volume=%.*s session=%016" PRIx64 " leases=%u", n->volume->name_len,
	    (const char *)n->volume->name, session_id(n), (unsigned)n->lease_count);
	n->fenced = true;
	conn_close(s, n->control);
}

void
lease_tick(struct server *s)
{
	size_t slot = 0;
	struct table_node *node = NULL;

	while ((node = table_walk(&s->sessions, &slot, node)) != NULL) {
		struct session *n = container_of(node, struct session, node);
		struct lease *oldest = TAILQ_FIRST(&n->wanted);
		uint64_t since, silent_ms = s->config.term_ms + s->config.skew_ms;
		bool over = s->now_ms - n->seen_ms > silent_ms;

		if (oldest == NULL) {
			n->fenced &= !over;
		} else {
			since = oldest->wanted_ms > n->progress_ms ? oldest->wanted_ms : n->progress_ms;
			if (over)
				evict(s, n, n->fenced ? "no-progress" : "silent");
			else if (n->control != NULL && s->now_ms - since > PATIENCE * silent_ms)
				fence(s, n);
			if (n->control != NULL)
				due_by(s, since + PATIENCE * silent_ms + 1);
		}
		if (n->fenced || !TAILQ_EMPTY(&n->wanted))
			due_by(s, n->seen_ms + silent_ms + 1);
	}
}
