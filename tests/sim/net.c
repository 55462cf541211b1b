/*
 * net.c - see net.h.
 *
 * A message on its way is in a queue of its connection, encoded; an event
 * tells when the first of the queue arrives, so order is kept each way.
 */
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/client.h"
#include "tests/sim/daemon.h"

enum { HANDSHAKE_TRIPS = 2 };

struct parcel {
	TAILQ_ENTRY(parcel) link;
	size_t		 len, payload_len;
	uint8_t		 data[];	/* body, then payload */
};

struct net {
	struct conn		*conns;
	uint64_t		 last_id;
};

void
net_new(struct sim *sim)
{
	sim->wires = sim_alloc(sizeof *sim->wires);
}

static uint64_t
delay(struct conn *c)
{
	const struct plan *p = &c->sim->plan;

	return rng_between(&c->sim->net, p->net_min_us, p->net_max_us);
}

static void
print(struct sim *sim, const struct conn *c, const char *arrow, const struct message *m)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f;

	if (!sim->options.trace || (f = open_memstream(&text, &size)) == NULL)
		return;
	message_print(m, f);
	fclose(f);
	sim_trace(sim, "c%u %s %s%llu: %s", mount_client(c->mount), arrow, c->lane == LANE_BULK ? "bulk" : "control",
	    (unsigned long long)c->id, text);
	free(text);
}

/* ---- connecting ---- */

static void
handshake_done(struct sim *sim, void *what, uint64_t number)
{
	struct conn *c = what;

	(void)number;
	if (!c->client_open)
		return;
	if (sim->daemon->server == NULL || mount_unreachable(c->mount)) {
		c->client_open = false;
		client_lost(c->mount, c);
		return;
	}
	c->server_open = true;
	daemon_connected(sim->daemon, c);
	c->heard_us = sim->now_us;
	client_connected(c->mount, c);
}

struct conn *
net_connect(struct mount *m, enum lane lane)
{
	struct sim *sim = mount_sim(m);
	struct conn *c = sim_alloc(sizeof *c);

	*c = (struct conn){ .sim = sim, .mount = m, .lane = lane, .client_open = true, .next = sim->wires->conns,
	    .id = ++sim->wires->last_id };
	TAILQ_INIT(&c->up);
	TAILQ_INIT(&c->down);
	sim->wires->conns = c;
	sim_after(sim, delay(c) * HANDSHAKE_TRIPS, handshake_done, c, 0);
	return c;
}

struct conn *
net_find(struct sim *sim, uint64_t id)
{
	struct conn *c = sim->wires->conns;

	while (c != NULL && c->id != id)
		c = c->next;
	return c;
}

/* ---- messages ---- */

static void
handle(struct conn *c, struct parcel *p, bool up)
{
	struct sim *sim = c->sim;
	struct message m;
	struct arena arena = { 0 };

	if (message_decode(&m, (struct bytes){ p->data, p->len }, &arena) < 0) {
		sim_fail(sim, "a message does not decode");
		arena_free(&arena);
		return;
	}
	m.payload = (struct bytes){ p->data + p->len, p->payload_len };
	sim->report.messages++;
	sim_note(sim, (uint64_t)m.type << 32 ^ m.id);
	print(sim, c, up ? "=>" : "<=", &m);
	if (up)
		daemon_received(sim->daemon, c, &m);
	else {
		c->heard_us = sim->now_us;
		client_received(c->mount, c, &m);
	}
	arena_free(&arena);
}

/* The first message that way has arrived. */
static void
deliver(struct sim *sim, void *what, uint64_t up)
{
	struct conn *c = what;
	struct parcels *queue = up ? &c->up : &c->down;
	struct parcel *p = TAILQ_FIRST(queue);
	uint64_t stalled = up ? 0 : mount_stalled_us(c->mount);

	if (stalled > 0) {
		sim_after(sim, stalled, deliver, c, up);
		return;
	}
	TAILQ_REMOVE(queue, p, link);
	if (up ? c->server_open && sim->daemon->server != NULL : c->client_open)
		handle(c, p, up);
	free(p);
}

/* May it go this way, on this lane? */
static bool
passes(const struct conn *c, const struct message *m, bool up)
{
	const struct message_info *info = message_info(m->type);
	unsigned lanes = ON_ANY | (c->lane == LANE_BULK ? ON_BULK : ON_CONTROL);

	return info != NULL && (info->from & (up ? FROM_CLIENT : FROM_SERVER)) && (info->lane & lanes) &&
	    (info->payload || m->payload.len == 0) && message_size(m) > 0 && message_size(m) <= FRAME_BODY_MAX;
}

static void
send_parcel(struct conn *c, const struct message *m, bool up)
{
	struct sim *sim = c->sim;
	size_t len = message_size(m);
	uint64_t *last = up ? &c->up_us : &c->down_us, arrives;
	struct parcel *p;
	struct cursor cursor;

	if (!passes(c, m, up)) {
		sim_fail(sim, "%s sent an impossible message of type %u", up ? "a client" : "the server", m->type);
		return;
	}
	p = sim_room(sizeof *p + len + m->payload.len);
	p->len = len;
	p->payload_len = m->payload.len;
	cursor = cursor_over(p->data, len);
	message_encode(m, &cursor);
	if (m->payload.len > 0)
		memcpy(p->data + len, m->payload.data, m->payload.len);
	if (up)
		TAILQ_INSERT_TAIL(&c->up, p, link);
	else
		TAILQ_INSERT_TAIL(&c->down, p, link);
	arrives = sim->now_us + delay(c) + mount_held_us(c->mount);
	*last = arrives > *last ? arrives : *last;
	sim_after(sim, *last - sim->now_us, deliver, c, up);
}

void
net_to_server(struct conn *c, const struct message *m)
{
	if (c->client_open)
		send_parcel(c, m, true);
}

void
net_to_client(struct conn *c, const struct message *m)
{
	if (c->server_open && c->client_open)
		send_parcel(c, m, false);
}

/* ---- endings ---- */

static void
server_notices(struct sim *sim, void *what, uint64_t number)
{
	struct conn *c = what;

	(void)number;
	if (!c->server_open)
		return;
	c->server_open = false;
	if (sim->daemon->server != NULL)
		daemon_disconnected(sim->daemon, c);
}

static void
client_notices(struct sim *sim, void *what, uint64_t number)
{
	struct conn *c = what;

	(void)sim;
	(void)number;
	if (!c->client_open)
		return;
	c->client_open = false;
	client_lost(c->mount, c);
}

void
net_cut(struct conn *c)
{
	struct sim *sim = c->sim;
	uint64_t late;

	if (!c->client_open)
		return;
	sim->report.cuts++;
	sim_trace(sim, "c%u: cut %s%llu", mount_client(c->mount), c->lane == LANE_BULK ? "bulk" : "control",
	    (unsigned long long)c->id);
	/* At once, so that the rest is lost; or after some of it, or all, was delivered. */
	late = rng_chance(&sim->net, 400) ? 0 : rng_below(&sim->net, (c->up_us > sim->now_us ? c->up_us - sim->now_us : 0) +
	    (rng_chance(&sim->net, 300) ? 30000000 : 200000));
	c->client_open = false;
	sim_after(sim, late, server_notices, c, 0);
	client_lost(c->mount, c);
}

void
net_close_by_server(struct conn *c)
{
	uint64_t wait = c->down_us > c->sim->now_us ? c->down_us - c->sim->now_us : delay(c);

	c->server_open = false;
	sim_after(c->sim, wait, client_notices, c, 0);
}

void
net_close_by_client(struct conn *c)
{
	uint64_t wait = c->up_us > c->sim->now_us ? c->up_us - c->sim->now_us : delay(c);

	if (!c->client_open)
		return;
	c->client_open = false;
	sim_after(c->sim, wait, server_notices, c, 0);
}

void
net_server_died(struct sim *sim)
{
	for (struct conn *c = sim->wires->conns; c != NULL; c = c->next) {
		if (!c->server_open)
			continue;
		c->server_open = false;
		sim_after(sim, delay(c) + rng_below(&sim->net, 500000), client_notices, c, 0);
	}
}

static void
drop_all(struct parcels *queue)
{
	struct parcel *p;

	while ((p = TAILQ_FIRST(queue)) != NULL) {
		TAILQ_REMOVE(queue, p, link);
		free(p);
	}
}

void
net_free(struct sim *sim)
{
	struct conn *next;

	for (struct conn *c = sim->wires->conns; c != NULL; c = next) {
		next = c->next;
		drop_all(&c->up);
		drop_all(&c->down);
		free(c);
	}
	free(sim->wires);
}
