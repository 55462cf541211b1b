/*
 * daemon.c - see daemon.h.
 *
 * A sync is under way or not: what was applied when it ends is durable, and
 * the next begins if more has come.  Work of an earlier life of the server
 * finds another boot number and ends without effect.
 */
#include "tests/sim/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/seal.h"
#include "server/engine.h"
#include "server/store.h"
#include "tests/sim/blocks.h"
#include "tests/sim/client.h"
#include "tests/sim/damage.h"
#include "tests/sim/fate.h"
#include "tests/sim/fault.h"
#include "tests/sim/memstore.h"

enum { TICK_US = 100000, INVITED_S = 3600 };

const uint8_t daemon_token[SECRET_SIZE] = "the simulator's only invitation";

/* A block action under way, in one life of the server. */
struct work {
	struct daemon		*daemon;
	uint64_t		 boot;
	struct conn		*conn;
	struct server_action	*action;
	uint8_t			*data;		/* to write */
	size_t			 len;
};

static void drain(struct daemon *d);

static void
engine_random(void *context, void *to, size_t len)
{
	struct daemon *d = context;

	rng_fill(&d->sim->engines, to, len);
}

static struct daemon *
clocked(struct daemon *d)
{
	server_clock(d->server, d->sim->now_us / 1000);
	return d;
}

/* ---- the disk ---- */

static void
sync_done(struct sim *sim, void *what, uint64_t boot)
{
	struct daemon *d = what;
	uint64_t pos;

	(void)sim;
	if (d->server == NULL || d->boot != boot)
		return;
	d->syncing = false;
	if (store_sync(d->store, &pos) == 0)
		server_synced(clocked(d)->server, pos);
	drain(d);
}

static uint64_t
disk_delay(struct daemon *d)
{
	uint64_t most = d->sim->plan.sync_max_us * (d->slow ? 20 : 1);

	return rng_below(&d->sim->misc, most + 1);
}

static void
work_done(struct sim *sim, void *what, uint64_t number)
{
	struct work *w = what;
	struct daemon *d = w->daemon;
	struct server_action *a = w->action;
	bool alive = d->server != NULL && d->boot == w->boot;
	uint64_t pos;

	(void)number;
	if (a->kind == SERVER_WRITE_BLOCK) {
		int r = store_block_write(a->ticket, w->data);

		if (alive)
			server_block_written(clocked(d)->server, a, r);
		else
			store_block_finish(a->ticket, false, &pos);
	} else {
		struct message m = { .type = MSG_block, .id = a->request };
		uint8_t *block = sim_room(a->ref->len), *cells = sim_room(a->ref->len);
		size_t len;
		enum status damage = damage_status(sim, a->text);

		if (damage != STATUS_OK)
			m.block.status = damage;
		else if (store_block_read(a->ref, 0, a->ref->len, block) < 0 ||
		    blocks_cut(sim, (struct bytes){ block, a->ref->len }, a->first, a->count, cells, &len) < 0)
			m.block.status = STATUS_IO;
		else
			m.payload = (struct bytes){ cells, len };
		if (alive)
			net_to_client(w->conn, &m);
		store_block_put_ref(a->ref);
		free(block);
		free(cells);
	}
	free(w->data);
	server_action_free(a);
	free(w);
	if (alive)
		drain(d);
}

/* ---- what the engine asks for ---- */

static struct conn *
conn_of(struct daemon *d, uint64_t id)
{
	struct conn *c = net_find(d->sim, id);

	if (c == NULL)
		sim_fail(d->sim, "the server speaks to connection %" PRIu64, id);
	return c;
}

static void
begin_work(struct daemon *d, struct server_action *a)
{
	struct work *w = sim_alloc(sizeof *w);

	*w = (struct work){ .daemon = d, .boot = d->boot, .conn = conn_of(d, a->conn), .action = a };
	if (a->kind == SERVER_WRITE_BLOCK) {
		w->len = a->message.payload.len;
		w->data = sim_room(w->len);
		memcpy(w->data, a->message.payload.data, w->len);
	}
	sim_after(d->sim, disk_delay(d) / 4, work_done, w, 0);
}

/* What clients answered for is within their credits, and is never refused. */
static void
check_promise(struct daemon *d, const struct message *m)
{
	enum status status = m->type == MSG_committed ? m->committed.status : m->type == MSG_stored ? m->stored.status : STATUS_OK;

	if (d->sim->options.tight && (status == STATUS_NOSPC || status == STATUS_BUSY))
		sim_fail(d->sim, "%s, though space for it was promised: %s", m->type == MSG_stored ? "a block" : "a commit",
		    status_text(status));
}

/* Its leases may be given away from now on. */
static void
gone(struct daemon *d, const char *text)
{
	const char *session = strstr(text, "session=");

	struct mount *m;

	if (session == NULL || (strncmp(text, "event=evict ", 12) != 0 && strncmp(text, "event=lapse ", 12) != 0))
		return;
	m = client_of(d->sim, strtoull(session + strlen("session="), NULL, 16));
	if (m == NULL)
		return;
	fate_gone(m);
	fault_alone(d->sim, m->client);
}

static void
carry_out(struct daemon *d, struct server_action *a)
{
	struct conn *c;

	switch (a->kind) {
	case SERVER_SEND:
		if ((c = conn_of(d, a->conn)) != NULL) {
			check_promise(d, &a->message);
			fate_server_sends(d->sim, c, &a->message);
			net_to_client(c, &a->message);
		}
		break;
	case SERVER_CLOSE:
		if ((c = conn_of(d, a->conn)) != NULL)
			net_close_by_server(c);
		break;
	case SERVER_WRITE_BLOCK:
	case SERVER_READ_BLOCK:
		begin_work(d, a);
		return;
	case SERVER_LOG:
		sim_trace(d->sim, "server: %s", a->text);
		gone(d, a->text);
		break;
	}
	server_action_free(a);
}

void
daemon_check(struct daemon *d)
{
	char why[256] = "";

	d->unchecked = 0;
	if (d->server != NULL && !server_check(d->server, why, sizeof why))
		sim_fail(d->sim, "server_check: %s", why);
}

static void
drain(struct daemon *d)
{
	struct server_action *a;

	while (d->server != NULL && !d->sim->report.failed && (a = server_next(d->server)) != NULL)
		carry_out(d, a);
	if (!d->syncing && d->server != NULL && store_synced(d->store) < store_end(d->store)) {
		d->syncing = true;
		sim_after(d->sim, 1 + disk_delay(d), sync_done, d, d->boot);
	}
	if (++d->unchecked >= d->sim->options.check_every)
		daemon_check(d);
}

/* ---- events ---- */

void
daemon_connected(struct daemon *d, struct conn *c)
{
	uint8_t device[KEY_SIZE], hash[NOISE_HASH];

	client_device(c->mount, device);
	client_hash(c, hash);
	if (!server_connected(clocked(d)->server, c->id, device, hash))
		net_close_by_server(c);
	drain(d);
}

void
daemon_received(struct daemon *d, struct conn *c, const struct message *m)
{
	fate_before(d->sim, c, m);
	server_received(clocked(d)->server, c->id, m);
	fate_after(d->sim, c, m);
	drain(d);
}

void
daemon_disconnected(struct daemon *d, struct conn *c)
{
	server_disconnected(clocked(d)->server, c->id);
	drain(d);
}

static void
tick(struct sim *sim, void *what, uint64_t boot)
{
	struct daemon *d = what;

	if (d->server == NULL || d->boot != boot)
		return;
	/* Only then: a time that the engine does not tell is missed here, too. */
	if (server_due(clocked(d)->server) <= sim->now_us / 1000)
		server_tick(d->server);
	drain(d);
	sim_after(sim, TICK_US, tick, d, boot);
}

/* ---- lives ---- */

static void
start(struct sim *sim, void *what, uint64_t number)
{
	struct daemon *d = what;
	struct server_config config = {
		.term_ms = sim->plan.term_ms, .skew_ms = sim->plan.skew_ms, .leases_max = sim->plan.leases_max,
		.idle_ms = sim->plan.idle_ms, .fresh_ms = sim->plan.fresh_ms,
		.boot = ++d->boot, .calendar_ms = (uint64_t)(sim_real_ns(sim) / 1000000 - (int64_t)(sim->now_us / 1000)),
		.random = engine_random, .context = d,
	};
	int r = server_new(&d->server, &config, d->store);

	(void)number;
	if (r < 0) {
		sim_fail(sim, "server_new: %s", strerrorname_np(-r));
		return;
	}
	sim_trace(sim, "server: up, boot %" PRIu64, d->boot);
	clocked(d);
	drain(d);
	daemon_check(d);
	sim_after(sim, TICK_US, tick, d, d->boot);
}

void
daemon_start(struct sim *sim)
{
	struct daemon *d = sim_alloc(sizeof *d);
	uint8_t hash[KEY_SIZE];
	uint64_t pos;
	int r;

	*d = (struct daemon){ .sim = sim, .store = memstore_new(sim->plan.capacity) };
	sim->daemon = d;
	start(sim, d, 0);
	if (sim->report.failed)
		return;
	blocks_token_hash(daemon_token, hash);
	if ((r = server_invite(d->server, hash, INVITED_S, &pos)) < 0)
		sim_fail(sim, "server_invite: %s", strerrorname_np(-r));
	drain(d);
}

static void
count(struct daemon *d)
{
	struct server_stats s;

	if (d->server == NULL)
		return;
	server_stats(d->server, &s);
	d->recalls += s.recalls;
	d->evictions += s.evictions;
	d->commits += s.commits;
	d->rejected += s.rejected;
	d->missing += s.missing;
}

bool
daemon_crash(struct daemon *d, uint64_t down_us)
{
	uint64_t synced = store_synced(d->store), end = store_end(d->store), kept;

	if (d->server == NULL)
		return true;
	if (!fate_decided(d->sim))
		return false;
	d->sim->report.restarts++;
	daemon_check(d);
	count(d);
	kept = synced == end ? end : fate_crash_position(d->sim, synced, end);
	sim_trace(d->sim, "server: crash, synced %" PRIu64 ", end %" PRIu64 ", kept %" PRIu64, synced, end, kept);
	server_free(d->server);
	d->server = NULL;
	d->syncing = false;
	memstore_crash(d->store, kept);
	fate_crashed(d->sim, kept);
	net_server_died(d->sim);
	sim_after(d->sim, down_us, start, d, 0);
	return true;
}

void
daemon_set_full(struct daemon *d, bool full, bool hopeful)
{
	if (d->full && !d->hopeful && !full)
		d->full_until_us = d->sim->now_us;
	d->full = full;
	d->hopeful = hopeful;
	memstore_set_full(d->store, full);
	memstore_set_hopeful(d->store, hopeful);
}

void
daemon_report(struct daemon *d)
{
	struct sim_report *r = &d->sim->report;

	count(d);
	r->recalls = d->recalls;
	r->evictions = d->evictions;
	r->commits = d->commits;
	r->rejected = d->rejected;
	r->missing = d->missing;
}

void
daemon_free(struct daemon *d)
{
	if (d == NULL)
		return;
	server_free(d->server);
	store_close(d->store);
	free(d);
}
