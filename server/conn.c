/*
 * conn.c - the life of a connection in the engine.
 *
 *	connected -> (redeem, volume requests) -> attached(control | bulk)
 *	any state -> closed: by the peer, by a broken rule, by fencing
 *
 * Closed means forgotten: what a closed connection still delivers finds no
 * struct conn and is ignored, which is what fencing rests on.
 */
#include "server/conn.h"

#include <stdlib.h>
#include <string.h>

#include "server/account.h"
#include "server/outbox.h"
#include "server/wait.h"

enum { STRANGER_IDLE_MS = 10 * 1000, UNATTACHED_IDLE_MS = 60 * 1000 };

bool
server_connected(struct server *s, uint64_t id, const uint8_t device[KEY_SIZE], const uint8_t hash[NOISE_HASH])
{
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL || (c->closing = outbox_message(id, 0, 0)) == NULL) {
		free(c);
		return false;
	}
	c->closing->kind = SERVER_CLOSE;
	memcpy(c->device, device, KEY_SIZE);
	memcpy(c->hash, hash, NOISE_HASH);
	c->seen_ms = s->now_ms;
	table_insert(&s->conns, &c->node, id);
	due_by(s, s->now_ms + STRANGER_IDLE_MS + 1);
	return true;
}

struct conn *
conn_find(struct server *s, uint64_t id)
{
	struct table_node *n = table_find(&s->conns, id);

	return n == NULL ? NULL : container_of(n, struct conn, node);
}

void
conn_attach(struct server *s, struct conn *c, struct session *n, uint8_t lane)
{
	c->session = n;
	c->lane = lane;
	LIST_INSERT_HEAD(&n->conns, c, of_session);
	if (lane == LANE_CONTROL) {
		s->controls += n->control == NULL;
		n->control = c;
		n->seen_ms = s->now_ms;
		n->progress_ms = s->now_ms;
	}
	due_soon(s);
}

void
conn_detach(struct server *s, struct conn *c)
{
	struct session *n = c->session;

	if (n == NULL)
		return;
	LIST_REMOVE(c, of_session);
	c->session = NULL;
	due_soon(s);
	if (n->control == c) {
		n->control = NULL;
		s->controls--;
		wait_drop_all(s, n);
	}
}

void
conn_gone(struct server *s, struct conn *c)
{
	conn_detach(s, c);
	outbox_forget(s, conn_id(c));
	table_remove(&s->conns, &c->node);
	server_action_free(c->closing);
	free(c);
}

void
conn_close(struct server *s, struct conn *c)
{
	outbox_post(s, c->closing);
	c->closing = NULL;
	conn_gone(s, c);
}

void
conn_doom(struct server *s, struct conn *c)
{
	c->doomed = true;
	s->doomed = true;
}

void
conn_close_doomed(struct server *s)
{
	size_t slot = 0;
	struct table_node *n = s->doomed ? table_walk(&s->conns, &slot, NULL) : NULL, *next;

	s->doomed = false;
	for (; n != NULL; n = next) {
		struct conn *c = container_of(n, struct conn, node);

		next = table_walk(&s->conns, &slot, n);
		if (c->doomed)
			conn_close(s, c);
	}
}

void
conn_tick(struct server *s)
{
	size_t slot = 0;
	struct table_node *n = table_walk(&s->conns, &slot, NULL), *next;

	for (; n != NULL; n = next) {
		struct conn *c = container_of(n, struct conn, node);
		uint64_t idle_ms = s->now_ms - c->seen_ms;

		next = table_walk(&s->conns, &slot, n);
		if (c->session != NULL)
			continue;
		if (idle_ms > STRANGER_IDLE_MS && (idle_ms > UNATTACHED_IDLE_MS || !account_enrolled(s, c->device, NULL)))
			conn_close(s, c);
		else
			due_by(s, c->seen_ms + (idle_ms > STRANGER_IDLE_MS ? UNATTACHED_IDLE_MS : STRANGER_IDLE_MS) + 1);
	}
}
