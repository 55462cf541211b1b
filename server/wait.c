/*
 * wait.c - queues of READs.
 *
 * Each object has a queue of the READs that need it, in order of age.  What
 * can change a READ's chances kicks the object: a lease dropped or weakened,
 * a READ granted or dropped, a birth, a free, a RECLAIM, the end of the grace
 * after a restart.  wait_run() goes through the kicked objects, grants what
 * is grantable, oldest first, and sends the RECALLs that the others call for.
 */
#include "server/wait.h"

#include <stdlib.h>
#include <string.h>

#include "server/conn.h"
#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/read.h"
#include "server/session.h"

enum { WAITS_MAX = 1024 };		/* READs of one session that wait */
#define TICKET_MAX	(UINT64_C(1) << 62)	/* a larger one is nobody's */

/* ---- arrival ---- */

static bool
want_valid(const struct msg_want *w)
{
	return w->oid != 0 && (w->mode == MODE_SHARED || w->mode == MODE_EXCLUSIVE) && w->kind <= w->last_kind;
}

/* One node an object, with the strongest mode; the objects are got, so needed or kicked from here. */
static bool
add_nodes(struct server *s, struct wait *w, struct volume *v)
{
	for (uint32_t i = 0; i < w->want_count; i++) {
		struct want *want = &w->wants[i];
		struct wait_node *node = w->nodes;

		while (node < w->nodes + w->node_count && object_oid(node->object) != want->oid)
			node++;
		if (node == w->nodes + w->node_count) {
			node->object = object_get(v, want->oid);
			if (node->object == NULL)
				return false;
			object_kick(s, node->object);
			node->wait = w;
			w->node_count++;
		}
		if (node->mode < want->mode)
			node->mode = want->mode;
		want->node = node - w->nodes;
	}
	return true;
}

static struct wait *
wait_new(struct server *s, struct session *n, const struct message *m)
{
	uint32_t count = m->read.wants.count;
	struct wait *w = calloc(1, sizeof *w + count * (sizeof *w->wants + sizeof *w->nodes));

	if (w == NULL)
		return NULL;
	w->session = n;
	w->request = m->id;
	w->depth = m->read.depth;
	w->kinds = m->read.kinds;
	w->budget = m->read.budget;
	w->size = m->read.size;
	w->wants = (struct want *)(w + 1);
	w->nodes = (struct wait_node *)(w->wants + count);
	w->want_count = count;
	for (uint32_t i = 0; i < count; i++) {
		const struct msg_want *from = &m->read.wants.at[i];
		struct want *to = &w->wants[i];

		*to = (struct want){ .oid = from->oid, .mode = from->mode, .kind = from->kind,
		    .last_kind = from->last_kind, .limit = from->limit,
		    .from_len = from->from.len, .to_len = from->to.len };
		if (to->from_len > 0)
			memcpy(to->from, from->from.data, to->from_len);
		if (to->to_len > 0)
			memcpy(to->to, from->to.data, to->to_len);
	}
	if (!add_nodes(s, w, n->volume)) {
		free(w);
		return NULL;
	}
	return w;
}

static uint32_t
leases_lacked(const struct wait *w)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w->node_count; i++)
		count += lease_of(w->nodes[i].object, w->session) == NULL;
	return count;
}

static bool
is_older(const struct wait *a, const struct wait *b)
{
	if (a->ticket != b->ticket)
		return a->ticket < b->ticket;
	return session_id(a->session) < session_id(b->session);
}

static void
enqueue(struct wait *w)
{
	for (struct wait_node *n = w->nodes; n < w->nodes + w->node_count; n++) {
		struct wait_node *before = TAILQ_LAST(&n->object->waits, wait_queue);

		while (before != NULL && is_older(w, before->wait))
			before = TAILQ_PREV(before, wait_queue, of_object);
		if (before == NULL)
			TAILQ_INSERT_HEAD(&n->object->waits, n, of_object);
		else
			TAILQ_INSERT_AFTER(&n->object->waits, before, n, of_object);
	}
	LIST_INSERT_HEAD(&w->session->waits, w, of_session);
	w->session->wait_count++;
}

void
wait_read(struct server *s, struct conn *c, const struct message *m)
{
	struct session *n = c->session;
	struct volume *v = n->volume;
	bool valid = m->read.wants.count > 0;
	struct wait *w;

	for (uint32_t i = 0; valid && i < m->read.wants.count; i++)
		valid = want_valid(&m->read.wants.at[i]);
	if (!valid) {
		outbox_done(s, c, m->id, STATUS_INVALID, "malformed READ", 0);
		conn_doom(s, c);
		return;
	}
	w = n->wait_count >= WAITS_MAX ? NULL : wait_new(s, n, m);
	if (w == NULL || n->lease_count + leases_lacked(w) > s->config.leases_max) {
		free(w);
		outbox_done(s, c, m->id, STATUS_BUSY, "too many leases or reads", 0);
		return;
	}
	/* Who keeps one of the boot before makes all new ones younger; it could be another's. */
	w->ticket = m->read.ticket;
	if (w->ticket == 0 || w->ticket > TICKET_MAX)
		w->ticket = ++v->ticket;
	else if (w->ticket > v->ticket)
		v->ticket = w->ticket;
	enqueue(w);
}

/* ---- leaving ---- */

void
wait_drop(struct server *s, struct wait *w)
{
	for (struct wait_node *n = w->nodes; n < w->nodes + w->node_count; n++) {
		TAILQ_REMOVE(&n->object->waits, n, of_object);
		object_kick(s, n->object);
	}
	LIST_REMOVE(w, of_session);
	w->session->wait_count--;
	free(w);
}

void
wait_drop_all(struct server *s, struct session *n)
{
	while (!LIST_EMPTY(&n->waits))
		wait_drop(s, LIST_FIRST(&n->waits));
}

void
wait_kick_all(struct server *s, struct session *n)
{
	struct wait *w;

	LIST_FOREACH(w, &n->waits, of_session)
		object_kick(s, w->nodes[0].object);
}

void
wait_kick_volume(struct server *s, struct volume *v)
{
	size_t slot = 0;
	struct table_node *n = NULL;

	while ((n = table_walk(&v->objects, &slot, n)) != NULL)
		object_kick(s, container_of(n, struct object, node));
}

/* ---- granting ---- */

/*
 * A lease that is held already is not asked of anybody: the READ may stand
 * in the way of older ones, whose RECALL waits for what its holder has to
 * finish under it.
 */
static bool
is_grantable(const struct wait *w)
{
	const struct session *n = w->session;
	bool grace = session_grace(n->volume);

	if (!n->reclaimed || n->control == NULL || n->control->doomed)
		return false;
	for (const struct wait_node *node = w->nodes; node < w->nodes + w->node_count; node++) {
		struct lease *l = lease_of(node->object, n);
		struct wait_node *older;

		if (l != NULL && l->mode >= node->mode)
			continue;
		if (grace || lease_conflicts(node->object, n, node->mode))
			return false;
		TAILQ_FOREACH(older, &node->object->waits, of_object) {
			if (older == node)
				break;
			if (older->wait->session != n && modes_conflict(older->mode, node->mode))
				return false;
		}
	}
	return true;
}

/* What is too much for one event stays kicked for the next: a hostile member asks for more than memory holds. */
bool
wait_run(struct server *s)
{
	struct object *o;
	struct wait_node *n, *next;

	while ((o = TAILQ_FIRST(&s->kicked)) != NULL && s->answered < ANSWERED_MAX) {
		TAILQ_REMOVE(&s->kicked, o, of_kicked);
		o->kicked = false;
		TAILQ_EACH_SAFE(n, &o->waits, of_object, next)
			if (s->answered < ANSWERED_MAX && is_grantable(n->wait)) {
				read_answer(s, n->wait);
				wait_drop(s, n->wait);
			}
		lease_recall(s, o);
		if (s->answered < ANSWERED_MAX)
			object_tidy(o);
		else
			object_kick(s, o);
	}
	return s->answered < ANSWERED_MAX;
}
