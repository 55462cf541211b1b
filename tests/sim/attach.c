/*
 * attach.c - the connections of a mount.
 *
 * Its control connection is what it hangs on: when that is lost the bulk ones
 * are closed too, and all come back with the next generation.
 */
#include "tests/sim/client.h"

#include <inttypes.h>
#include <string.h>

#include "tests/sim/blocks.h"
#include "tests/sim/daemon.h"
#include "tests/sim/diary.h"
#include "tests/sim/fate.h"
#include "tests/sim/rivals.h"
#include "tests/sim/transfer.h"

enum {
	ATTACH_ID	= UINT16_MAX,
	BYE_ID		= ATTACH_ID - 1,
};

static const uint8_t volume[VOLUME_ID_SIZE] = "simulated volum";

void
client_connect(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)number;
	if (m->state == MOUNT_GONE || m->control != NULL)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), client_connect, m, 0);
		return;
	}
	m->control = net_connect(m, LANE_CONTROL);
}

void
client_close_bulk(struct mount *m, unsigned lane)
{
	struct conn *c = m->bulk[lane];

	m->bulk[lane] = NULL;
	m->bulk_up[lane] = false;
	if (c == NULL)
		return;
	net_close_by_client(c);
	transfer_lost(m, c);
}

static void
connect_bulk(struct sim *sim, void *what, uint64_t lane)
{
	struct mount *m = what;

	(void)sim;
	if ((m->state == MOUNT_UP || m->state == MOUNT_LEAVING) && m->bulk[lane] == NULL)
		m->bulk[lane] = net_connect(m, LANE_BULK);
}

void
client_hash(const struct conn *c, uint8_t hash[NOISE_HASH])
{
	memset(hash, 0, NOISE_HASH);
	memcpy(hash, &c->id, sizeof c->id);
}

static void
send_attach(struct mount *m, struct conn *c)
{
	struct message msg = { .type = MSG_attach, .id = ATTACH_ID };
	uint8_t hash[NOISE_HASH];

	memcpy(msg.attach.volume, volume, sizeof volume);
	msg.attach.lane = (uint8_t)c->lane;
	msg.attach.session = m->session;
	client_hash(c, hash);
	if (m->session != 0)
		noise_proof(m->secret, hash, msg.attach.proof);
	if (c->lane == LANE_CONTROL)
		m->generation++;
	msg.attach.generation = m->generation;
	if (m->session == 0) {
		msg.attach.replaces = m->replaces;
		noise_proof(m->replaces_secret, hash, msg.attach.replaces_proof);
	}
	net_to_server(c, &msg);
}

/* Client 0 makes the volume first, step by step: true while there is a step left. */
static bool
make_volume(struct mount *m)
{
	struct message msg = { .id = 1 + m->setup };
	unsigned others = m->setup - 2;

	if (m->client->index != 0 || m->mounted || m->replaces != 0)
		return false;
	if (m->setup == 0) {
		msg.type = MSG_redeem;
		memcpy(msg.redeem.token, daemon_token, SECRET_SIZE);
	} else if (m->setup == 1) {
		msg.type = MSG_volume_create;
		memcpy(msg.volume_create.volume, volume, sizeof volume);
		msg.volume_create.name = (struct bytes){ (const uint8_t *)"home", 4 };
		memset(msg.volume_create.recovery, 0x77, KEY_SIZE);
		msg.volume_create.wrap = (struct bytes){ (const uint8_t *)"wrapped", 7 };
	} else if (others + 1 < m->sim->plan.clients) {
		msg.type = MSG_device_add;
		memcpy(msg.device_add.volume, volume, sizeof volume);
		memset(msg.device_add.device, 0x40 + (int)others + 1, KEY_SIZE);
	} else
		return false;
	m->setup++;
	net_to_server(m->control, &msg);
	return true;
}

void
client_connected(struct mount *m, struct conn *c)
{
	if (c == m->control && make_volume(m))
		return;
	send_attach(m, c);
}

void
client_lost(struct mount *m, struct conn *c)
{
	struct sim *sim = m->sim;

	if (m->state == MOUNT_GONE)
		return;
	for (unsigned i = 0; i < BULK_LANES; i++)
		if (c == m->bulk[i]) {
			m->bulk[i] = NULL;
			m->bulk_up[i] = false;
			transfer_lost(m, c);
			sim_after(sim, rng_between(&sim->net, 1000, 300000), connect_bulk, m, i);
		}
	if (c != m->control)
		return;
	m->control = NULL;
	for (unsigned i = 0; i < BULK_LANES; i++)
		client_close_bulk(m, i);
	if (m->said_bye)
		m->state = MOUNT_CONNECTING;	/* it may be lost: to be said again, without the engine */
	else if (m->state != MOUNT_CONNECTING) {
		m->state = MOUNT_CONNECTING;
		engine_detached(mount_clocked(m));
		mount_drain(m);
	}
	sim_after(sim, rng_between(&sim->net, 1000, rng_chance(&sim->net, 200) ? 5000000 : 300000), client_connect, m, 0);
}

void
client_say_bye(struct mount *m)
{
	struct message msg = { .type = MSG_bye, .id = BYE_ID };

	m->said_bye = true;
	net_to_server(m->control, &msg);
}

static void
attached(struct mount *m, const struct message *msg)
{
	bool fresh = m->session != msg->attached.session;

	if (m->said_bye) {
		m->state = MOUNT_LEAVING;
		client_say_bye(m);
		return;
	}
	m->session = msg->attached.session;
	memcpy(m->secret, msg->attached.secret, SECRET_SIZE);
	if (fresh && m->mounted)
		fate_session_lost(m);
	m->control->session = m->session;
	m->state = m->leaving ? MOUNT_LEAVING : MOUNT_UP;
	sim_trace(m->sim, "c%u: attached, session %" PRIu64 "%s", m->client->index, m->session, fresh ? ", new" : "");
	fate_attached(m);
	engine_attached(mount_clocked(m), &msg->attached, fresh);
	if (!m->mounted && m->client->index == 0 && m->replaces == 0 && m->client->mounts == m && m->next == NULL &&
	    !m->formatted) {
		m->formatted = true;
		if (engine_format(m->engine, UID, UID, 0755) < 0)
			sim_fail(m->sim, "engine_format failed");
	}
	if (m->replays && !m->mounted) {
		m->mounted = true;
		diary_attached(m->client->diary, m);
	}
	m->mounted = true;
	mount_drain(m);
	for (unsigned i = 0; i < BULK_LANES; i++)
		connect_bulk(m->sim, m, i);
}

/* The server does not want this attachment. */
static void
refused(struct mount *m, struct conn *c, const struct message *msg)
{
	sim_trace(m->sim, "c%u: attach refused: %s", m->client->index, status_text(msg->done.status));
	if (msg->done.status == STATUS_NOENT && c == m->control && m->leaving) {
		client_unmounted(m);		/* BYE was heard, and its answer lost */
		return;
	}
	if (msg->done.status == STATUS_NOENT && c == m->control) {
		/* The session is no more: a new one for the same engine. */
		m->session = m->replaces = 0;
		m->generation = 0;
		memset(m->secret, 0, SECRET_SIZE);
	} else if (msg->done.status != STATUS_STALE && msg->done.status != STATUS_BUSY && c == m->control)
		sim_fail(m->sim, "attach refused: %s", status_text(msg->done.status));
	net_close_by_client(c);
	client_lost(m, c);
}

static void
open_values(struct mount *m, struct msg_granted *g, struct arena *arena)
{
	for (uint32_t i = 0; i < g->answers.count; i++)
		for (uint32_t j = 0; j < g->answers.at[i].records.count; j++) {
			struct msg_record *r = &g->answers.at[i].records.at[j];

			r->value = blocks_open_record(m->sim, g->answers.at[i].oid, r->kind, r->subkey, r->orefs.at,
			    r->orefs.count, r->brefs.at, r->brefs.count, r->value, arena);
			if (r->value.data == NULL)
				sim_fail(m->sim, "a record of %" PRIu64 " does not open", g->answers.at[i].oid);
		}
}

static void
received_control(struct mount *m, struct conn *c, struct message *msg)
{
	struct arena arena = { 0 };

	if (m->state == MOUNT_CONNECTING) {
		if (msg->type == MSG_attached)
			attached(m, msg);
		else if (msg->id == ATTACH_ID)
			refused(m, c, msg);
		else if (msg->type == MSG_done && msg->done.status != STATUS_OK)
			sim_fail(m->sim, "setup: %s", status_text(msg->done.status));
		else if (!make_volume(m))
			send_attach(m, c);
		return;
	}
	if (m->said_bye && msg->type == MSG_done && msg->id == BYE_ID) {
		client_unmounted(m);
		return;
	}
	if (msg->type == MSG_recall && m->deaf_until_us > m->sim->now_us)
		return;
	if (msg->type == MSG_granted)
		open_values(m, &msg->granted, &arena);
	engine_received(mount_clocked(m), msg);
	if (msg->type == MSG_reclaimed)
		rivals_check(m);
	arena_free(&arena);
	mount_drain(m);
}

void
client_received(struct mount *m, struct conn *c, struct message *msg)
{
	if (m->state == MOUNT_GONE)
		return;
	if (c == m->control) {
		received_control(m, c, msg);
		return;
	}
	for (unsigned i = 0; i < BULK_LANES; i++)
		if (c == m->bulk[i]) {
			if (msg->type == MSG_attached) {
				m->bulk_up[i] = true;
				transfer_send_all(m);
			} else if (msg->id == ATTACH_ID)
				refused(m, c, msg);
			else
				transfer_answered(m, c, msg);
			mount_drain(m);
			return;
		}
}
