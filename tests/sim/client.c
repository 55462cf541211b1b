/*
 * client.c - see client.h.
 *
 * A mount's control connection is what it hangs on: when it is lost the bulk
 * ones are closed too, and all come back with the next generation.  Whatever
 * an event started for a mount that has died meanwhile finds it MOUNT_GONE
 * and does nothing.
 */
#include "tests/sim/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/blocks.h"
#include "tests/sim/daemon.h"
#include "tests/sim/fate.h"
#include "tests/sim/transfer.h"
#include "tests/sim/workload.h"

enum {
	TICK_US		= 100000,
	SILENCE_US	= 15 * 1000000,		/* after which a connection is given up */
	UID		= 1000,
	ATTACH_ID	= UINT16_MAX,
	BYE_ID		= ATTACH_ID - 1,
	UNSAVED_TEXT	= 200,
};

static const uint8_t volume[VOLUME_ID_SIZE] = "simulated volum";

unsigned
mount_client(const struct mount *m)
{
	return m->client->index;
}

struct sim *
mount_sim(const struct mount *m)
{
	return m->sim;
}

void
client_device(const struct mount *m, uint8_t device[KEY_SIZE])
{
	memset(device, 0x40 + (int)m->client->index, KEY_SIZE);
}

bool
mount_unreachable(const struct mount *m)
{
	return m->client->unreachable_until_us > m->sim->now_us;
}

uint64_t
mount_held_us(const struct mount *m)
{
	return mount_unreachable(m) ? m->client->unreachable_until_us - m->sim->now_us : 0;
}

uint64_t
mount_stalled_us(const struct mount *m)
{
	return m->stalled_until_us > m->sim->now_us ? m->stalled_until_us - m->sim->now_us : 0;
}

static void
engine_random(void *context, void *to, size_t len)
{
	struct mount *m = context;

	rng_fill(&m->sim->engines, to, len);
}

struct engine *
mount_clocked(struct mount *m)
{
	engine_clock(m->engine, m->sim->now_us / 1000, sim_real(m->sim));
	return m->engine;
}

void
mount_check(struct mount *m)
{
	char why[256] = "";

	m->unchecked = 0;
	if (m->engine != NULL && !engine_check(m->engine, why, sizeof why))
		sim_fail(m->sim, "engine_check of client %u: %s", m->client->index, why);
}

/* ---- connections ---- */

static void
connect_again(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)number;
	if (m->state == MOUNT_GONE || m->control != NULL)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), connect_again, m, 0);
		return;
	}
	m->control = net_connect(m, LANE_CONTROL);
}

static void
close_bulk(struct mount *m, unsigned lane)
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

static void
send_attach(struct mount *m, struct conn *c)
{
	struct message msg = { .type = MSG_attach, .id = ATTACH_ID };

	memcpy(msg.attach.volume, volume, sizeof volume);
	msg.attach.lane = (uint8_t)c->lane;
	msg.attach.session = m->session;
	memcpy(msg.attach.secret, m->secret, SECRET_SIZE);
	if (c->lane == LANE_CONTROL)
		m->generation++;
	msg.attach.generation = m->generation;
	if (m->session == 0) {
		msg.attach.replaces = m->replaces;
		memcpy(msg.attach.replaces_secret, m->replaces_secret, SECRET_SIZE);
	}
	net_to_server(c, &msg);
}

static void mount_gone(struct mount *m);
static void leave(struct sim *sim, void *what, uint64_t number);

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
		close_bulk(m, i);
	if (m->said_bye)
		m->state = MOUNT_CONNECTING;	/* it may be lost: to be said again, without the engine */
	else if (m->state != MOUNT_CONNECTING) {
		m->state = MOUNT_CONNECTING;
		engine_detached(mount_clocked(m));
		mount_drain(m);
	}
	sim_after(sim, rng_between(&sim->net, 1000, rng_chance(&sim->net, 200) ? 5000000 : 300000), connect_again, m, 0);
}

static void
say_bye(struct mount *m)
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
		say_bye(m);
		return;
	}
	m->session = msg->attached.session;
	memcpy(m->secret, msg->attached.secret, SECRET_SIZE);
	if (fresh && m->mounted)
		fate_session_lost(m);
	m->control->session = m->session;
	m->state = m->leaving ? MOUNT_LEAVING : MOUNT_UP;
	sim_trace(m->sim, "c%u: attached, session %" PRIu64 "%s", m->client->index, m->session, fresh ? ", new" : "");
	engine_attached(mount_clocked(m), &msg->attached, fresh);
	if (!m->mounted && m->client->index == 0 && m->replaces == 0 && m->client->mounts == m && m->next == NULL &&
	    !m->formatted) {
		m->formatted = true;
		if (engine_format(m->engine, UID, UID, 0755) < 0)
			sim_fail(m->sim, "engine_format failed");
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
		mount_gone(m);		/* BYE was heard, and its answer lost */
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
		mount_gone(m);
		return;
	}
	if (msg->type == MSG_granted)
		open_values(m, &msg->granted, &arena);
	engine_received(mount_clocked(m), msg);
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

/* ---- calls ---- */

static void
copy_pieces(struct call *c)
{
	size_t at = 0;

	for (size_t i = 0; i < c->op.pieces_count; i++)
		c->len += c->op.pieces[i].len;
	c->bytes = sim_alloc(c->len);
	for (size_t i = 0; i < c->op.pieces_count; i++) {
		const struct piece *p = &c->op.pieces[i];

		if (p->data != NULL)
			memcpy(c->bytes + at, p->data, p->len);
		at += p->len;
	}
}

static void
copy_entries(struct call *c)
{
	c->entries = sim_alloc(c->op.entries_count * sizeof *c->entries);
	for (size_t i = 0; i < c->op.entries_count; i++) {
		const struct dirent_out *d = &c->op.entries[i];
		struct bytes name = { (const uint8_t *)d->name, d->name_len };

		c->next_offset = d->offset;
		if ((name.len == 1 && name.data[0] == '.') || (name.len == 2 && memcmp(name.data, "..", 2) == 0))
			continue;
		c->entries[c->entries_count++] = (struct listed){ d->ino, d->offset, name_number(name), d->type };
	}
	c->listed_end = c->op.entries_count == 0;
	c->offsets = judge_learn_offsets(c->mount->sim, c);
}

/* What the engine answered, in memory of the call's own. */
static void
take_results(struct call *c)
{
	const struct op *op = &c->op;

	c->error = op->error;
	c->child = op->error == 0 ? op->child : 0;
	c->cacheable = op->cacheable;
	c->name_cacheable = op->name_cacheable;
	c->keep_cache = op->keep_cache;
	c->direct_io = op->direct_io;
	c->written = op->written;
	c->got = op->attr;
	c->got.symlink = (struct bytes){ NULL, 0 };
	c->has_attr = op->error == 0 && (c->type == OP_LOOKUP || c->type == OP_GETATTR || c->type == OP_SETATTR ||
	    c->type == OP_MKNOD || c->type == OP_MKDIR || c->type == OP_SYMLINK || c->type == OP_CREATE ||
	    c->type == OP_LINK);
	if (op->error == 0)
		copy_pieces(c);
	if (c->type == OP_READDIR && op->error == 0)
		copy_entries(c);
	if (c->type == OP_LOOKUP && op->error == 0 && op->child == 0) {
		c->error = -ENOENT;
		c->has_attr = false;
	}
}

static void
reply_arrives(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;
	struct mount *m = c->mount;

	(void)number;
	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), reply_arrives, c, 0);
		return;
	}
	judge_responded(sim, c);
	engine_replied(mount_clocked(m), &c->op);
	c->in_engine = false;
	free((void *)(uintptr_t)c->op.data.data);
	if (c->internal) {
		if (c->then != NULL)
			c->then(c);
	} else
		kernel_replied(m->kernel, c);
	mount_drain(m);
}

static void
done(struct mount *m, struct call *c)
{
	c->parked = false;
	take_results(c);
	judge_done(m->sim, c);
	sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.reply_max_us), reply_arrives, c, 0);
}

static void
fill_op(struct call *c)
{
	struct op *op = &c->op;
	bool xattr = c->type == OP_SETXATTR || c->type == OP_GETXATTR || c->type == OP_REMOVEXATTR;
	const char *name = xattr ? xattr_text(c->name) : name_text(c->name), *name2 = name_text(c->name2);

	*op = (struct op){ .type = c->type, .ino = c->ino, .ino2 = c->ino2, .uid = UID, .gid = UID, .flags = c->flags,
	    .set = c->set, .attr = c->attr, .offset = c->offset, .size = c->size,
	    .handle = c->file == NULL ? 0 : c->file->handle };
	if (c->name != NAME_NONE)
		op->name = (struct bytes){ (const uint8_t *)name, strlen(name) };
	if (c->name2 != NAME_NONE)
		op->name2 = (struct bytes){ (const uint8_t *)name2, strlen(name2) };
	if (c->type == OP_WRITE || c->type == OP_SETXATTR) {
		uint8_t *data = sim_alloc(c->size);

		pattern_fill(c->tag, c->origin, data, c->size);
		op->data = (struct bytes){ data, c->size };
	}
}

static void
submit_later(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;

	(void)sim;
	(void)number;
	if (c->mount->state != MOUNT_GONE)
		mount_submit(c->mount, c);
}

void
mount_submit(struct mount *m, struct call *c)
{
	if (mount_stalled_us(m) > 0) {
		sim_after(m->sim, mount_stalled_us(m), submit_later, c, 0);
		return;
	}
	fill_op(c);
	c->in_engine = c->parked = true;
	if (engine_submit(mount_clocked(m), &c->op))
		done(m, c);
	mount_drain(m);
}

void
mount_forget(struct mount *m, uint64_t ino, uint64_t lookups)
{
	engine_forget(mount_clocked(m), ino, lookups);
	mount_drain(m);
}

void
mount_interrupt(struct mount *m, struct call *c)
{
	if (!c->parked || mount_stalled_us(m) > 0)
		return;
	c->excuses |= EXCUSE_INTR;
	sim_trace(m->sim, "c%u: interrupt #%" PRIu64, m->client->index, c->number);
	engine_interrupt(mount_clocked(m), &c->op);
	mount_drain(m);
}

/* ---- actions ---- */

static void
send_commit(struct mount *m, struct commit *commit, uint64_t id)
{
	struct message msg = { .type = MSG_commit, .id = id };
	struct arena arena = { 0 };
	struct msg_change *changes = arena_alloc(&arena, commit->changes_count * sizeof *changes + 1);
	struct msg_small_block *blocks = arena_alloc(&arena, commit->blocks_count * sizeof *blocks + 1);

	for (uint32_t i = 0; i < commit->changes_count; i++) {
		changes[i] = commit->changes[i];
		if (changes[i].op == CHANGE_PUT)
			changes[i].value = blocks_seal_record(m->sim, &commit->changes[i], &arena);
	}
	for (uint32_t i = 0; i < commit->blocks_count; i++) {
		struct flush *f = commit->blocks[i];

		memcpy(blocks[i].id, f->id, ID_SIZE);
		blocks[i].data = (struct bytes){ f->sealed->data, f->sealed->size };
	}
	msg.commit.sequence = commit->sequence;
	msg.commit.bases.at = commit->bases;
	msg.commit.bases.count = commit->bases_count;
	msg.commit.changes.at = changes;
	msg.commit.changes.count = commit->changes_count;
	msg.commit.blocks.at = blocks;
	msg.commit.blocks.count = commit->blocks_count;
	if (m->control != NULL)
		net_to_server(m->control, &msg);
	arena_free(&arena);
}

static void
swept(struct sim *sim, void *what, uint64_t oid)
{
	struct mount *m = what;

	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), swept, m, oid);
		return;
	}
	engine_invalidated(mount_clocked(m), oid, 0);
	mount_drain(m);
}

enum { SWEEP_DIRECTORY = 1, SWEEP_PAGES = 2, SWEEP_BITS = 2 };

/* The notification is written, and takes effect; its return comes a little later. */
static void
sweep(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	uint64_t oid = number >> SWEEP_BITS;
	int r;

	if (m->state == MOUNT_GONE)
		return;
	r = kernel_invalidate(m->kernel, oid, number & SWEEP_DIRECTORY, number & SWEEP_PAGES);
	sim_trace(sim, "c%u: invalidated %" PRIu64 "%s", m->client->index, oid, r < 0 ? ", unknown" : "");
	if (r < 0) {
		engine_invalidated(mount_clocked(m), oid, r);
		mount_drain(m);
	} else
		sim_after(sim, 1 + rng_below(&sim->misc, sim->plan.invalidate_max_us), swept, m, oid);
}

/* message_print() shows the first few objects; for finding out what went wrong one needs all. */
static void
trace_objects(struct mount *m, const struct action *a)
{
	const struct msg_lease *l = a->kind == ACTION_SEND && a->message.type == MSG_reclaim ? a->message.reclaim.leases.at : NULL;
	uint32_t count = a->kind == ACTION_COMMIT ? a->commit->bases_count : l != NULL ? a->message.reclaim.leases.count : 0;
	char text[500];
	size_t at = 0;

	for (uint32_t i = 0; i < count && at < sizeof text - 32; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, " %" PRIu64,
		    l != NULL ? l[i].oid : a->commit->bases[i].oid);
	if (count > 0)
		sim_trace(m->sim, "c%u: %s%s", m->client->index, l != NULL ? "reclaims" : "changes", text);
}

static void
carry_out(struct mount *m, struct action *a)
{
	if (m->sim->options.trace)
		trace_objects(m, a);
	switch (a->kind) {
	case ACTION_SEND:
		if (m->control != NULL && m->state != MOUNT_CONNECTING)
			net_to_server(m->control, &a->message);
		break;
	case ACTION_COMMIT:
		send_commit(m, a->commit, fate_frozen(m, a->commit));
		commit_put(a->commit);
		break;
	case ACTION_STORE:
		transfer_store(m, a->flush);
		break;
	case ACTION_FETCH:
		transfer_fetch(m, a->fetch);
		break;
	case ACTION_INVALIDATE:
		/* Stale attributes that an operation leaves behind are shown for a moment; not here. */
		if (!a->directory && !a->pages)
			kernel_invalidate(m->kernel, a->oid, false, false);
		sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.invalidate_max_us), sweep, m,
		    a->oid << SWEEP_BITS | (a->directory ? SWEEP_DIRECTORY : 0) | (a->pages ? SWEEP_PAGES : 0));
		break;
	case ACTION_REPLY:
		done(m, (struct call *)((char *)a->op - offsetof(struct call, op)));
		break;
	}
	action_free(a);
}

void
mount_drain(struct mount *m)
{
	struct action *a;

	if (m->draining)
		return;
	m->draining = true;
	while (m->engine != NULL && !m->sim->report.failed && (a = engine_next(m->engine)) != NULL) {
		/* Calls done before the commit was frozen come before it in the queue. */
		if (a->kind == ACTION_COMMIT)
			fate_watch(m);
		carry_out(m, a);
	}
	if (m->engine != NULL)
		fate_watch(m);
	m->draining = false;
	if (++m->unchecked >= m->sim->options.check_every)
		mount_check(m);
}

static void
tick(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)number;
	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) == 0) {
		engine_tick(mount_clocked(m));
		mount_drain(m);
		if (m->control != NULL && m->state != MOUNT_CONNECTING && sim->now_us - m->control->heard_us > SILENCE_US) {
			struct conn *c = m->control;

			sim_trace(sim, "c%u: nothing heard, giving up the connection", m->client->index);
			net_close_by_client(c);
			client_lost(m, c);
		}
	}
	if (m->state != MOUNT_GONE)
		sim_after(sim, TICK_US, tick, m, 0);
}

/* ---- lives ---- */

static struct mount *
mount_new(struct client *c, const struct mount *replaced)
{
	struct sim *sim = c->sim;
	struct mount *m = sim_alloc(sizeof *m);
	struct engine_config config = {
		.commit_ms = sim->plan.commit_ms, .dirty_max = sim->plan.dirty_max, .cache_max = sim->plan.cache_max,
		.objects_max = sim->plan.objects_max, .commit_max = sim->plan.commit_max,
		.random = engine_random, .context = m,
	};

	*m = (struct mount){ .client = c, .sim = sim, .next = c->mounts };
	c->mounts = c->mount = m;
	TAILQ_INIT(&m->transfers);
	if (replaced != NULL && replaced->session != 0) {
		m->replaces = replaced->session;
		memcpy(m->replaces_secret, replaced->secret, SECRET_SIZE);
	}
	m->setup = replaced == NULL ? 0 : UINT16_MAX;
	m->kernel = kernel_new(m);
	fate_mount(m);
	if (engine_new(&m->engine, &config, blocks_keys(sim)) < 0)
		sim_fail(sim, "engine_new failed");
	else {
		mount_clocked(m);
		connect_again(sim, m, 0);
		sim_after(sim, TICK_US, tick, m, 0);
	}
	return m;
}

static void
collect(struct mount *m)
{
	struct engine_status s;

	if (m->engine == NULL)
		return;
	engine_status(m->engine, &s);
	m->sim->report.replays += s.replays;
	m->sim->report.lost += s.lost_objects;
}

/* What the engine had of calls that will not be answered. */
static void
free_calls(struct mount *m)
{
	struct judge *j = m->sim->judge;

	for (size_t i = 0; i < j->calls_count; i++) {
		struct call *c = j->calls[i];

		if (c->mount != m || !c->in_engine)
			continue;
		judge_forget(m->sim, c);
		for (size_t n = 0; n < c->op.pieces_count; n++)
			buffer_put(c->op.pieces[n].buffer);
		arena_free(&c->op.arena);
		free(c->op.state);
		free((void *)(uintptr_t)c->op.data.data);
		c->in_engine = false;
	}
}

/* No event finds it alive after this. */
static void
mount_end(struct mount *m)
{
	m->state = MOUNT_GONE;
	if (m->client->mount == m)
		m->client->mount = NULL;
	collect(m);
	kernel_abort(m->kernel);
	engine_free(m->engine);
	m->engine = NULL;
	transfer_free_all(m);
	free_calls(m);
	if (m->control != NULL)
		net_close_by_client(m->control);
	for (unsigned i = 0; i < BULK_LANES; i++)
		close_bulk(m, i);
	m->control = NULL;
}

static void
mount_again(struct sim *sim, void *what, uint64_t number)
{
	struct mount *old = what;
	struct client *c = old->client;

	(void)number;
	sim_trace(sim, "c%u: mounting again", c->index);
	if (c->mount == NULL)
		mount_new(c, old->killed ? old : &(struct mount){ .session = 0 });
	workload_mounted(sim, c->index);
}

bool
client_kill(struct client *c, uint64_t down_us)
{
	struct mount *m = c->mount;

	if (m == NULL || m->state == MOUNT_GONE || !m->mounted)
		return true;
	if (!fate_decided(c->sim))
		return false;
	c->sim->report.crashes++;
	sim_trace(c->sim, "c%u: killed, session %" PRIu64, c->index, m->session);
	mount_check(m);
	m->killed = true;
	workload_killed(c->sim, c->index);
	mount_end(m);
	fate_killed(m);
	sim_after(c->sim, down_us, mount_again, m, 0);
	return true;
}

/* ---- a clean end ---- */

static void
mount_gone(struct mount *m)
{
	sim_trace(m->sim, "c%u: unmounted", m->client->index);
	mount_end(m);
	if (m->again)
		sim_after(m->sim, 1000, mount_again, m, 0);
}

static void
synced(struct call *c)
{
	struct mount *m = c->mount;
	struct engine_status s;

	engine_status(m->engine, &s);
	if (c->error != 0 || m->state != MOUNT_LEAVING || s.dirty_objects > 0 || s.commits_pending > 0) {
		sim_after(m->sim, 500000, leave, m, 0);
		return;
	}
	say_bye(m);
}

static void
leave(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	struct call *c;

	(void)number;
	if (m->state == MOUNT_GONE || m->said_bye)
		return;
	if (m->state == MOUNT_CONNECTING || kernel_busy(m->kernel) > 0 || !workload_quiet(sim, m->client->index)) {
		sim_after(sim, 100000, leave, m, 0);
		return;
	}
	m->state = MOUNT_LEAVING;
	c = kernel_new_call(m->kernel, 0, OP_SYNC, 0);
	c->internal = true;
	c->then = synced;
	c->invoked = ++sim->step;
	c->invoked_ns = sim_real_ns(sim);
	judge_begun(sim, c);
	mount_submit(m, c);
}

void
client_remount(struct client *c)
{
	struct mount *m = c->mount;

	if (m == NULL || m->leaving || m->state == MOUNT_GONE || !m->mounted)
		return;
	c->sim->report.remounts++;
	sim_trace(c->sim, "c%u: unmounting", c->index);
	m->leaving = m->again = true;
	workload_leaving(c->sim, c->index);
	leave(c->sim, m, 0);
}

void
client_partition(struct client *c, uint64_t for_us)
{
	c->sim->report.partitions++;
	sim_trace(c->sim, "c%u: partitioned for %" PRIu64 " ms", c->index, for_us / 1000);
	c->unreachable_until_us = c->sim->now_us + for_us;
}

void
client_stall(struct client *c, uint64_t for_us)
{
	if (c->mount == NULL)
		return;
	c->sim->report.stalls++;
	sim_trace(c->sim, "c%u: stalled for %" PRIu64 " ms", c->index, for_us / 1000);
	c->mount->stalled_until_us = c->sim->now_us + for_us;
}

/* ---- all of them ---- */

void
clients_start(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		struct client *c = sim_alloc(sizeof *c);

		*c = (struct client){ .sim = sim, .index = i };
		sim->clients[i] = c;
	}
	if (!sim->report.failed)
		mount_new(sim->clients[0], NULL);
}

bool
client_volume_ready(struct sim *sim)
{
	struct engine_status s;

	if (!client_all_clean(sim) || !sim->clients[0]->mount->formatted)
		return false;
	engine_status(sim->clients[0]->mount->engine, &s);
	if (s.version == 0)
		return false;
	for (unsigned i = 1; i < sim->plan.clients; i++)
		if (sim->clients[i]->mounts == NULL)
			mount_new(sim->clients[i], &(struct mount){ .session = 0 });
	return client_all_clean(sim) && sim->clients[sim->plan.clients - 1]->mount != NULL &&
	    sim->clients[sim->plan.clients - 1]->mount->mounted;
}

/* Why this one is not at rest, or NULL. */
static const char *
unrest(const struct client *c)
{
	struct engine_status s;

	if (c->mounts == NULL)
		return NULL;
	if (c->mount == NULL)
		return "not mounted";
	if (c->mount->state != MOUNT_UP)
		return "not attached";
	if (kernel_busy(c->mount->kernel) > 0)
		return "calls unanswered";
	if (!TAILQ_EMPTY(&c->mount->transfers))
		return "transfers under way";
	engine_status(c->mount->engine, &s);
	if (s.ops_parked > 0)
		return "operations parked";
	return s.dirty_bytes > 0 || s.dirty_objects > 0 || s.commits_pending > 0 ? "unsaved changes" : NULL;
}

bool
client_all_clean(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++)
		if (unrest(sim->clients[i]) != NULL)
			return false;
	return true;
}

static void
describe_unsaved(void *context, const char *path, bool lost)
{
	char *to = context;
	size_t at = strlen(to);

	snprintf(to + at, UNSAVED_TEXT - at, " %s%s", path, lost ? " (lost)" : "");
}

void
client_describe_stuck(struct sim *sim, char *to, size_t size)
{
	to[0] = 0;
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		struct client *c = sim->clients[i];
		const char *why = c == NULL ? NULL : unrest(c);
		size_t at = strlen(to);
		char call[200] = "", unsaved[UNSAVED_TEXT] = "";
		struct engine_status s = { 0 };

		if (why == NULL)
			continue;
		if (c->mount != NULL && c->mount->engine != NULL) {
			kernel_describe(c->mount->kernel, call, sizeof call);
			engine_status(c->mount->engine, &s);
			engine_unsaved(c->mount->engine, describe_unsaved, unsaved);
		}
		snprintf(to + at, size - at, "c%u %s %s (%zu dirty bytes, %zu objects:%s, %zu commits, %zu ops); ", i, why, call,
		    s.dirty_bytes, s.dirty_objects, unsaved, s.commits_pending, s.ops_parked);
	}
}

void
clients_unmount(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients && !sim->report.failed; i++) {
		struct mount *m = sim->clients[i]->mount;

		if (m == NULL)
			continue;
		m->again = false;
		if (m->leaving)
			continue;
		m->leaving = true;
		workload_leaving(sim, i);
		leave(sim, m, 0);
	}
}

bool
clients_gone(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++)
		if (sim->clients[i]->mount != NULL)
			return false;
	return true;
}

void
clients_report(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++)
		for (struct mount *m = sim->clients[i] == NULL ? NULL : sim->clients[i]->mounts; m != NULL; m = m->next)
			collect(m);
}

void
clients_free(struct sim *sim)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = sim->clients[i];
		struct mount *next;

		for (struct mount *m = c == NULL ? NULL : c->mounts; m != NULL; m = next) {
			next = m->next;
			if (m->state != MOUNT_GONE)
				mount_end(m);
			kernel_free(m->kernel);
			free((void *)(uintptr_t)m->verified.data);
			fate_mount_free(m);
			free(m);
		}
		free(c);
	}
}
