/*
 * fault.c - see fault.h.  Each seed has its own taste: some kinds of fault
 * are left out, so that others are met without them.
 */
#include "tests/sim/fault.h"

#include "tests/sim/client.h"
#include "tests/sim/daemon.h"
#include "tests/sim/damage.h"
#include "tests/sim/diary.h"
#include "tests/sim/memstore.h"

enum { MS = 1000, S = 1000000 };

static struct client *
some_client(struct sim *sim)
{
	return sim->clients[rng_below(&sim->faults, sim->plan.clients)];
}

static void
cut_control(struct sim *sim)
{
	struct mount *m = some_client(sim)->mount;

	if (m != NULL && m->control != NULL)
		net_cut(m->control);
}

static void
cut_bulk(struct sim *sim)
{
	struct mount *m = some_client(sim)->mount;
	struct conn *c = m == NULL ? NULL : m->bulk[rng_below(&sim->faults, BULK_LANES)];

	if (c != NULL)
		net_cut(c);
}

static void
partition(struct sim *sim)
{
	uint64_t term = (sim->plan.term_ms + sim->plan.skew_ms) * UINT64_C(1000);
	struct client *c = some_client(sim);

	/* Several short ones in a row would be a long one. */
	if (sim->now_us < c->unreachable_until_us + term / 2)
		return;
	client_partition(c, rng_between(&sim->faults, 100 * MS, term / 3));
}

enum { MOMENT_US = 200 };
#define LONG_US	(UINT64_C(24) * 3600 * S)	/* the faults end before */

static void
crash_server_now(struct sim *sim, void *what, uint64_t down_us)
{
	(void)what;
	if (!daemon_crash(sim->daemon, down_us))
		sim_after(sim, MOMENT_US, crash_server_now, NULL, down_us);
}

static void
crash_server(struct sim *sim)
{
	crash_server_now(sim, NULL, rng_between(&sim->faults, 10 * MS, rng_chance(&sim->faults, 100) ? 8 * S : 500 * MS));
}

static void
kill_now(struct sim *sim, void *what, uint64_t down_us)
{
	if (!client_kill(what, down_us))
		sim_after(sim, MOMENT_US, kill_now, what, down_us);
}

/* Some other is there, and will be. */
static bool
others_stay(struct sim *sim, const struct client *but)
{
	bool one = false;

	for (unsigned i = 0; i < sim->plan.clients; i++) {
		const struct client *c = sim->clients[i];

		if (c->back_us > sim->now_us + LONG_US / 2)
			return false;
		one |= c != but && c->mount != NULL;
	}
	return one;
}

/*
 * Now and then for good: what it had others get all the same.  (Not where space is tight: what it was promised would
 * be another's.)
 */
static void
kill_client(struct sim *sim)
{
	struct client *c = some_client(sim);
	uint64_t down_us = rng_between(&sim->faults, MS, rng_chance(&sim->faults, 200) ? 20 * S : 500 * MS);

	if (down_us > 5 * S && down_us % 3 == 0 && !sim->options.tight && others_stay(sim, c))
		down_us = LONG_US;
	kill_now(sim, c, down_us);
}

/* ---- past the term ---- */

enum { LOOK_US = 20 * MS };

static void
look_no_longer(struct sim *sim, void *what, uint64_t number)
{
	struct client *c = what;

	(void)sim;
	(void)number;
	c->looking = false;
}

static uint64_t
past_term_us(struct sim *sim)
{
	return (sim->plan.term_ms + sim->plan.skew_ms) * UINT64_C(1000) + rng_below(&sim->faults, 20 * S);
}

static void
isolate_now(struct sim *sim, void *what, uint64_t deadline_us)
{
	struct client *c = what;
	uint64_t for_us = past_term_us(sim);

	if (sim->calm || sim->now_us >= deadline_us || sim->now_us < c->unreachable_until_us)
		c->looking = false;
	else if (!client_only_looks(c))
		sim_after(sim, LOOK_US, isolate_now, c, deadline_us);
	else {
		client_partition(c, for_us);
		sim_after(sim, for_us, look_no_longer, c, 0);
	}
}

/* It does what it does, and is cut off or stopped in the midst of that. */
static void
cut_off(struct sim *sim)
{
	struct client *c = some_client(sim);

	if (c->mount == NULL || sim->now_us < c->unreachable_until_us)
		return;
	sim->report.cutoffs++;
	client_partition(c, past_term_us(sim));
}

static void
stop(struct sim *sim)
{
	struct client *c = some_client(sim);

	if (c->mount == NULL || mount_stalled_us(c->mount) > 0)
		return;
	sim->report.stops++;
	client_stall(c, past_term_us(sim));
}

/* It has nothing unsaved then: it must only not show what others change. */
static void
isolate(struct sim *sim)
{
	struct client *c = some_client(sim);

	if (c->looking || c->mount == NULL || c->mount->leaving)
		return;
	if (sim->options.apart) {
		client_partition(c, (sim->plan.term_ms + sim->plan.skew_ms) * UINT64_C(1000) + rng_below(&sim->faults, 20 * S));
		return;
	}
	c->looking = true;
	isolate_now(sim, c, sim->now_us + 60 * S);
}

/* Others find themselves alone when it is away for some time. */
static void
remount(struct sim *sim)
{
	client_remount(some_client(sim), rng_chance(&sim->faults, 400) ? rng_between(&sim->faults, 6 * S, 40 * S) : MS);
}

static void
no_longer_full(struct sim *sim, void *what, uint64_t number)
{
	(void)number;
	daemon_set_full(what, false, false);
	sim_trace(sim, "server: room again");
}

static void
fill(struct sim *sim)
{
	bool hopeful;

	if (sim->daemon->full)
		return;
	sim->report.full++;
	hopeful = rng_chance(&sim->faults, 400);
	sim_trace(sim, hopeful ? "server: full for now" : "server: full");
	daemon_set_full(sim->daemon, true, hopeful);
	sim_after(sim, rng_between(&sim->faults, 50 * MS, 8 * S), no_longer_full, sim->daemon, 0);
}

static void
slow_disk(struct sim *sim)
{
	sim->daemon->slow = !sim->daemon->slow;
}

/* By their place in kinds[]. */
enum {
	CRASH_SERVER = 1 << 3, FILL_SERVER = 1 << 6, LOSING = 1 << 11 | 1 << 12, FILL_CLIENT = 1 << 14,
	/*
	 * What the judge of a tight world can tell: nobody else fills the disk, and no client is away for so long that
	 * what it was promised is another's.
	 */
	TIGHT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8,
};

static void
stall(struct sim *sim)
{
	uint64_t for_us = rng_between(&sim->faults, 10 * MS, rng_chance(&sim->faults, 300) ? 5 * S : 200 * MS);

	/* A call that waits for the server because there is no journal may fail for a nap, and yet be done. */
	(for_us % 3 == 0 && !(sim->plan.fault_mask & FILL_CLIENT) ? client_nap : client_stall)(some_client(sim), for_us);
}

/* ---- who was alone ---- */

enum { SOON_US = 3 * S };

/* The server forgets who has which lease; this one is back at once, and who has them now is not. */
static void
restart_for(struct sim *sim, void *what, uint64_t number)
{
	struct client *c = what;

	(void)number;
	if (sim->calm)
		return;
	for (unsigned i = 0; i < sim->plan.clients; i++)
		if (sim->clients[i] != c && sim->now_us >= sim->clients[i]->unreachable_until_us)
			client_partition(sim->clients[i], rng_between(&sim->faults, 100 * MS,
			    (sim->plan.term_ms + sim->plan.skew_ms) * UINT64_C(1000) / 3));
	c->unreachable_until_us = sim->now_us;
	crash_server_now(sim, NULL, rng_between(&sim->faults, 10 * MS, 500 * MS));
}

void
fault_alone(struct sim *sim, struct client *c)
{
	if (!sim->calm && sim->options.apart && sim->options.seed % 4 == 3 && sim->plan.fault_mask & CRASH_SERVER)
		sim_after(sim, rng_below(&sim->faults, SOON_US), restart_for, c, 0);
}

/* So that no entry fits into its journal. */
static void
fill_client(struct sim *sim)
{
	struct client *c = some_client(sim);

	if (sim->plan.journal && !sim->options.apart && c->mount != NULL)
		diary_fill(c->diary, rng_between(&sim->faults, 50 * MS, 8 * S));
}

static void
deafen(struct sim *sim)
{
	client_deafen(some_client(sim), sim->options.faults == 0);
}

static const struct {
	void		(*happen)(struct sim *);
	unsigned	 weight;
} kinds[] = {
	{ cut_control, 30 }, { cut_bulk, 10 }, { partition, 8 }, { crash_server, 16 }, { kill_client, 12 },
	{ remount, 6 }, { fill, 6 }, { slow_disk, 6 }, { stall, 8 }, { isolate, 6 }, { deafen, 4 },
	{ cut_off, 6 }, { stop, 4 }, { damage_happen, 8 },
	{ fill_client, 6 },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void
something(struct sim *sim, void *what, uint64_t number)
{
	unsigned total = 0, at;

	(void)what;
	(void)number;
	if (sim->calm)
		return;
	if (sim->options.apart && rng_chance(&sim->faults, 400)) {
		isolate(sim);
		sim->faults_done++;
		return;
	}
	for (unsigned i = 0; i < KINDS; i++)
		total += sim->plan.fault_mask >> i & 1 ? kinds[i].weight : 0;
	at = (unsigned)rng_below(&sim->faults, total);
	for (unsigned i = 0; i < KINDS; i++) {
		if (!(sim->plan.fault_mask >> i & 1))
			continue;
		if (at < kinds[i].weight) {
			kinds[i].happen(sim);
			break;
		}
		at -= kinds[i].weight;
	}
	sim->faults_done++;
}

/* The next one comes when some more calls are done, or when nothing moves. */
void
fault_poll(struct sim *sim)
{
	uint64_t part = sim->options.ops / (sim->plan.faults_min + 1);

	if (sim->calm || sim->options.calm || sim->next_fault_us == 0)
		return;
	if (sim->report.ops < sim->next_fault_ops && sim->now_us < sim->next_fault_us)
		return;
	sim->next_fault_ops = sim->report.ops + rng_below(&sim->faults, 2 * part + 1);
	sim->next_fault_us = sim->now_us + rng_between(&sim->faults, 1 * S, 20 * S);
	sim_after(sim, rng_below(&sim->faults, sim->plan.fault_gap_ms * UINT64_C(1000)), something, NULL, 0);
}

/*
 * Drawn twice, so that most kinds happen in most worlds.  What is lost by a
 * mount that lives on is run again from its journal: of that only the judge of
 * apart.h can tell.  So elsewhere it happens in some worlds, without journals.
 */
uint32_t
fault_choose(struct sim *sim)
{
	uint32_t mask = (uint32_t)rng_below(&sim->faults, 1 << KINDS) | (uint32_t)rng_below(&sim->faults, 1 << KINDS);

	if (!rng_chance(&sim->faults, 200) && !sim->options.apart)
		mask &= ~(uint32_t)LOSING;
	/* With no room here nor there a call fails that has been done, and may stay: of that the judge cannot tell. */
	if (mask & FILL_CLIENT)
		mask &= ~(uint32_t)FILL_SERVER;
	mask = sim->options.faults != 0 ? sim->options.faults : mask == 0 ? 1 : mask;
	return sim->options.tight ? mask & TIGHT : mask;
}

bool
fault_loses(const struct sim *sim)
{
	return (sim->plan.fault_mask & LOSING) != 0;
}

void
fault_start(struct sim *sim)
{
	sim->next_fault_ops = sim->report.ops + 20;
	sim->next_fault_us = sim->now_us + 10 * S;
}

bool
fault_enough(const struct sim *sim)
{
	return sim->options.calm || sim->faults_done >= sim->plan.faults_min;
}

void
fault_heal(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		sim->clients[i]->unreachable_until_us = sim->now_us;
		if (sim->clients[i]->mount != NULL) {
			sim->clients[i]->mount->late_until_us = sim->clients[i]->mount->stalled_until_us;
			sim->clients[i]->mount->stalled_until_us = sim->now_us;
			client_hear(sim->clients[i]->mount);
		}
		diary_fill(sim->clients[i]->diary, 0);
	}
	damage_heal(sim);
	sim->daemon->slow = false;
	if (sim->daemon->full)
		daemon_set_full(sim->daemon, false, false);
	/* A journal whose session lost its credit may wait for space: for what its largest call costs, three times. */
	if (sim->options.tight)
		memstore_set_capacity(sim->daemon->store, 4 * sim->plan.capacity + 2 * sim->plan.clients * sim->plan.file_max + (1 << 20));
	sim_trace(sim, "faults end");
}
