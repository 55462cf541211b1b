/*
 * client.c - see client.h: the lives of mounts, and all clients together.
 *
 * Whatever an event started for a mount that has died meanwhile finds it
 * MOUNT_GONE and does nothing.
 */
#include "tests/sim/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/apart.h"
#include "tests/sim/blocks.h"
#include "tests/sim/diary.h"
#include "tests/sim/fate.h"
#include "tests/sim/rivals.h"
#include "tests/sim/through.h"
#include "tests/sim/transfer.h"
#include "tests/sim/workload.h"

enum {
	UNSAVED_TEXT = 200,
	DOZE_US = 300 * 1000,		/* from the notice to the sleep */
	LOOK_US = 60 * 1000000,		/* for the end of the faults, by one that is gone */
};

struct mount *
client_of(struct sim *sim, uint64_t session)
{
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		struct mount *m = sim->clients[i] == NULL ? NULL : sim->clients[i]->mount;

		if (m != NULL && m->session == session)
			return m;
	}
	return NULL;
}

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

bool
mount_overslept(struct mount *m)
{
	const struct sim *sim = m->sim;
	uint64_t wakes_us = m->stalled_until_us > sim->now_us ? m->stalled_until_us : sim->now_us;
	struct engine_status s;

	wakes_us = m->late_until_us > wakes_us ? m->late_until_us : wakes_us;
	if (m->engine != NULL && sim->now_us <= m->stalled_until_us + MOUNT_TICK_US) {
		engine_status(mount_clocked(m), &s);
		if (s.lapsed)
			m->overslept_until_us = wakes_us + sim->plan.skew_ms * UINT64_C(1000);
	}
	return sim->now_us < m->overslept_until_us;
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
	rivals_check(m);
}

/* ---- lives ---- */

static void
engine_random(void *context, void *to, size_t len)
{
	struct mount *m = context;

	rng_fill(&m->sim->engines, to, len);
}

static enum rename_part
renames(void *context, uint32_t caller, struct bytes name)
{
	const struct mount *m = context;

	return pair_part(m->kernel, caller - 1, name);
}

static struct mount *
mount_new(struct client *c, const struct mount *replaced)
{
	struct sim *sim = c->sim;
	struct mount *m = sim_alloc(sizeof *m);
	bool replays = replaced != NULL && diary_needed(c->diary);
	struct engine_config config = {
		.commit_ms = sim->plan.commit_ms, .dirty_max = sim->plan.dirty_max, .cache_max = sim->plan.cache_max,
		.objects_max = sim->plan.objects_max, .commit_max = sim->plan.commit_max,
		.offline = sim->options.apart && !replays && (sim->options.seed & 1) ? OFFLINE_ALWAYS : OFFLINE_NEVER,
		.stocked = c->shelf != NULL, .eager = sim->plan.eager, .redo = sim->options.apart && !replays,
		.random = engine_random, .renames = renames, .context = m,
		.journal = sim->plan.journal ? diary_sink(c->diary) : NULL,
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
		if (replays)
			diary_mount(c->diary, m);
		client_connect(sim, m, 0);
		sim_after(sim, MOUNT_TICK_US, mount_tick, m, 0);
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
		if (!c->given)
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
	apart_drop(m);
	kernel_abort(m->kernel);
	engine_free(m->engine);
	m->engine = NULL;
	transfer_free_all(m);
	free_calls(m);
	if (m->control != NULL)
		net_close_by_client(m->control);
	for (unsigned i = 0; i < BULK_LANES; i++)
		client_close_bulk(m, i);
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
	if (!client_replays(c->mount))
		workload_mounted(sim, c->index);
}

/* Sooner than was thought, once faults have ended. */
static void
come_back(struct sim *sim, void *what, uint64_t at_us)
{
	if (sim->calm || sim->now_us >= at_us)
		mount_again(sim, what, 0);
	else
		sim_after(sim, at_us - sim->now_us < LOOK_US ? at_us - sim->now_us : LOOK_US, come_back, what, at_us);
}

bool
client_kill(struct client *c, uint64_t down_us)
{
	struct mount *m = c->mount;

	if (m == NULL || m->state == MOUNT_GONE || !m->mounted)
		return true;
	if (!fate_decided(c->sim) || through_pending(c->sim))
		return false;
	c->sim->report.crashes++;
	sim_trace(c->sim, "c%u: killed, session %" PRIu64, c->index, m->session);
	mount_check(m);
	m->killed = true;
	workload_killed(c->sim, c->index);
	diary_dying(c->diary, m);
	mount_end(m);
	fate_killed(m);
	diary_killed(c->diary, m);
	c->back_us = c->sim->now_us + down_us;
	sim_after(c->sim, down_us < LOOK_US ? down_us : LOOK_US, come_back, m, c->back_us);
	return true;
}

/* ---- a clean end ---- */

void
client_unmounted(struct mount *m)
{
	sim_trace(m->sim, "c%u: unmounted", m->client->index);
	mount_end(m);
	if (m->again)
		sim_after(m->sim, m->client->away_us, mount_again, m, 0);
}

static void leave(struct sim *sim, void *what, uint64_t number);

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
	/* What it gave up is in the journal: that is run again at once, in its session. */
	if (s.journal_stranded) {
		client_give_up(m);
		return;
	}
	diary_empty(m->client->diary);
	client_say_bye(m);
}

/* Is it there to run a journal again, and for nothing else? */
bool
client_replays(const struct mount *m)
{
	return m->replays;
}

void
client_leave(struct mount *m)
{
	m->leaving = m->again = true;
	leave(m->sim, m, 0);
}

void
client_give_up(struct mount *m)
{
	m->killed = true;
	mount_end(m);
	fate_killed(m);
	diary_killed(m->client->diary, m);
	sim_after(m->sim, 1000000, mount_again, m, 0);
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
client_remount(struct client *c, uint64_t away_us)
{
	struct mount *m = c->mount;

	if (m == NULL || m->leaving || m->replays || m->state == MOUNT_GONE || !m->mounted)
		return;
	c->sim->report.remounts++;
	sim_trace(c->sim, "c%u: unmounting", c->index);
	m->leaving = m->again = true;
	c->away_us = away_us;
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

static void
look_no_more(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)sim;
	(void)number;
	m->reading = false;
	client_hear(m);
}

void
client_hear(struct mount *m)
{
	if (m->deaf_until_us == 0 || m->state == MOUNT_GONE)
		return;
	m->deaf_until_us = 0;
	/* What it did not hear is said again to who comes back. */
	if (m->control != NULL)
		net_cut(m->control);
}

static void
deafen(struct mount *m)
{
	uint64_t term_us = (m->sim->plan.term_ms + m->sim->plan.skew_ms) * UINT64_C(1000);

	m->sim->report.deafs++;
	sim_trace(m->sim, "c%u: hears no recall", m->client->index);
	m->deaf_until_us = m->sim->now_us + 4 * term_us;
	sim_after(m->sim, 5 * term_us, look_no_more, m, 0);
}

static void
deaf_when_saved(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	struct engine_status s;

	if (m->state == MOUNT_GONE || m->leaving || sim->calm) {
		m->reading = false;
		return;
	}
	engine_status(m->engine, &s);
	if (m->state != MOUNT_UP || s.dirty_objects > 0 || s.commits_pending > 0 || s.ops_parked > 0 ||
	    !workload_looks(sim, m->client->index)) {
		sim_after(sim, 10000, deaf_when_saved, m, number);
		return;
	}
	deafen(m);
}

void
client_deafen(struct client *c, bool saved)
{
	if (c->mount == NULL || c->mount->reading || c->mount->leaving || c->mount->deaf_until_us != 0)
		return;
	if (!saved) {
		deafen(c->mount);
		return;
	}
	c->mount->reading = true;
	deaf_when_saved(c->sim, c->mount, 0);
}

void
client_stall(struct client *c, uint64_t for_us)
{
	if (c->mount == NULL)
		return;
	c->sim->report.stalls++;
	sim_trace(c->sim, "c%u: stalled for %" PRIu64 " ms", c->index, for_us / 1000);
	/* One within another does not end it: what waits for that end would come later than what it is of. */
	if (c->sim->now_us + for_us > c->mount->stalled_until_us)
		c->mount->stalled_until_us = c->sim->now_us + for_us;
}

static void
wake(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)number;
	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), wake, m, 0);
		return;
	}
	sim_trace(sim, "c%u: awake", m->client->index);
	m->dozing = false;
	engine_sleep(mount_clocked(m), false);
	mount_drain(m);
}

static void
fall_asleep(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	if (m->state == MOUNT_GONE || m->client->mount != m)
		return;
	client_stall(m->client, number);
	sim_after(sim, number, wake, m, 0);
}

void
client_nap(struct client *c, uint64_t for_us)
{
	if (c->mount == NULL || c->mount->dozing || mount_stalled_us(c->mount) > 0)
		return;
	sim_trace(c->sim, "c%u: the machine is about to sleep", c->index);
	c->sim->report.naps++;
	c->mount->dozing = true;
	engine_sleep(mount_clocked(c->mount), true);
	mount_drain(c->mount);
	sim_after(c->sim, DOZE_US, fall_asleep, c->mount, for_us);
}

/* ---- all of them ---- */

void
clients_start(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		struct client *c = sim_alloc(sizeof *c);

		*c = (struct client){ .sim = sim, .index = i };
		c->diary = diary_new(c);
		c->shelf = sim->options.apart && sim->options.seed & 2 ? shelf_new() : NULL;
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
	if (c->mount->replays)
		return "running its journal again";
	if (c->mount->state != MOUNT_UP)
		return "not attached";
	if (kernel_busy(c->mount->kernel) > 0)
		return "calls unanswered";
	if (!TAILQ_EMPTY(&c->mount->transfers))
		return "transfers under way";
	engine_status(c->mount->engine, &s);
	if (s.journal_stranded)
		return "what it lost is not done again";
	if (s.journal_full)
		return "its journal is not kept";
	if (s.ops_parked > 0)
		return "operations parked";
	return s.dirty_bytes > 0 || s.dirty_objects > 0 || s.commits_pending > 0 ? "unsaved changes" : NULL;
}

bool
client_only_looks(const struct client *c)
{
	struct engine_status s;

	if (c->mount == NULL || c->mount->state != MOUNT_UP || c->mount->leaving || !TAILQ_EMPTY(&c->mount->transfers) ||
	    !kernel_only_looks(c->mount->kernel) || !workload_only_looks(c->sim, c->index))
		return false;
	engine_status(c->mount->engine, &s);
	return s.dirty_bytes == 0 && s.dirty_objects == 0 && s.commits_pending == 0;
}

/* Faults that lose nothing each may do it together; without a driver (apart.h), the next mount does it again. */
static void
mend(struct mount *m)
{
	struct engine_status s;

	if (m == NULL || m->state != MOUNT_UP || m->leaving || m->sim->options.apart)
		return;
	engine_status(m->engine, &s);
	if (s.journal_stranded)
		client_leave(m);
}

bool
client_all_clean(struct sim *sim)
{
	bool clean = true;

	for (unsigned i = 0; i < sim->plan.clients; i++) {
		if (unrest(sim->clients[i]) == NULL)
			continue;
		clean = false;
		mend(sim->clients[i]->mount);
	}
	return clean;
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
		if (c != NULL)
			diary_free(c->diary);
		if (c != NULL)
			shelf_free(c->shelf);
		free(c);
	}
}
