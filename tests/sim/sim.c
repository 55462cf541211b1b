/*
 * sim.c - the world: its clock and events, its plan, its faults, and how a
 * run begins and ends.
 *
 * A run has four parts: a server is set up and the volume made; clients mount
 * and work while faults happen; the faults end, and everything begun must end
 * too within a bounded time; then all clients look at the whole tree, which
 * must be the model's, unmount, and nothing may remain but what is reachable.
 *
 * Invariants: time never goes back; events of one instant happen in the order
 * they were planned; nothing in here looks at an address or at a real clock.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/apart.h"
#include "tests/sim/blocks.h"
#include "tests/sim/check.h"
#include "tests/sim/client.h"
#include "tests/sim/daemon.h"
#include "tests/sim/damage.h"
#include "tests/sim/fault.h"
#include "tests/sim/workload.h"

enum {
	EPOCH_S		= 1700000000,	/* CLOCK_REALTIME at the beginning */
	SETUP_US	= 60 * 1000000,
	HEAL_US		= 600 * 1000000,
	WORK_US		= 3600 * 1000000u,
	CHECK_EVERY	= 97,
};

struct timer {
	uint64_t	 at_us, sequence, number;
	sim_event	*event;
	void		*what;
};

void *
sim_alloc(size_t size)
{
	void *p = calloc(1, size == 0 ? 1 : size);

	if (p == NULL)
		abort();
	return p;
}

void *
sim_room(size_t size)
{
	void *p = malloc(size == 0 ? 1 : size);

	if (p == NULL)
		abort();
	return p;
}

/* ---- the heap of events ---- */

static bool
sooner(const struct timer *a, const struct timer *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

void
sim_after(struct sim *sim, uint64_t delay_us, sim_event *event, void *what, uint64_t number)
{
	struct timer t = { sim->now_us + delay_us, sim->heap.sequence++, number, event, what }, *heap;
	size_t i = sim->heap.count++;

	if (sim->heap.count > sim->heap.size) {
		sim->heap.size = sim->heap.size * 2 + 64;
		sim->heap.timers = realloc(sim->heap.timers, sim->heap.size * sizeof *sim->heap.timers);
		if (sim->heap.timers == NULL)
			abort();
	}
	heap = sim->heap.timers;
	for (; i > 0 && sooner(&t, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = t;
}

static struct timer
take_first(struct sim *sim)
{
	struct timer *heap = sim->heap.timers, first = heap[0], last = heap[--sim->heap.count];
	size_t i = 0, count = sim->heap.count;

	for (size_t child; (child = 2 * i + 1) < count; i = child) {
		if (child + 1 < count && sooner(&heap[child + 1], &heap[child]))
			child++;
		if (!sooner(&heap[child], &last))
			break;
		heap[i] = heap[child];
	}
	heap[i] = last;
	return first;
}

/* Runs events until done(sim), a failure, or the deadline: false then. */
static bool
run_until(struct sim *sim, bool (*done)(struct sim *), uint64_t within_us)
{
	uint64_t deadline = sim->now_us + within_us;

	while (!done(sim)) {
		struct timer t;

		if (sim->report.failed)
			return true;
		if (sim->heap.count == 0 || sim->heap.timers[0].at_us > deadline)
			return false;
		t = take_first(sim);
		sim->now_us = t.at_us;
		sim->step++;
		sim->report.events++;
		sim_note(sim, t.at_us);
		t.event(sim, t.what, t.number);
		fault_poll(sim);
	}
	return true;
}

/* ---- what is told ---- */

struct timespec
sim_real(const struct sim *sim)
{
	return (struct timespec){ EPOCH_S + (time_t)(sim->now_us / 1000000), (long)(sim->now_us % 1000000) * 1000 };
}

int64_t
sim_real_ns(const struct sim *sim)
{
	return (int64_t)EPOCH_S * 1000000000 + (int64_t)sim->now_us * 1000;
}

void
sim_fail(struct sim *sim, const char *format, ...)
{
	va_list ap;

	if (sim->report.failed)
		return;
	sim->report.failed = true;
	va_start(ap, format);
	vsnprintf(sim->report.reason, sizeof sim->report.reason, format, ap);
	va_end(ap);
	sim_trace(sim, "FAILED: %s", sim->report.reason);
}

void
sim_trace(struct sim *sim, const char *format, ...)
{
	va_list ap;

	if (!sim->options.trace)
		return;
	printf("%8" PRIu64 ".%03u ", sim->now_us / 1000, (unsigned)(sim->now_us % 1000));
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

void
sim_note(struct sim *sim, uint64_t number)
{
	sim->report.hash = rng_mix(sim->report.hash ^ number);
}

/* ---- the plan ---- */

static uint64_t
one_of(struct rng *r, const uint64_t *values, size_t count)
{
	return values[rng_below(r, count)];
}
#define ONE_OF(r, ...) one_of(r, (const uint64_t[]){ __VA_ARGS__ }, sizeof (uint64_t[]){ __VA_ARGS__ } / sizeof(uint64_t))

static void
make_plan(struct sim *sim)
{
	struct plan *p = &sim->plan;
	struct rng r;

	rng_seed(&r, sim->options.seed, 1);
	p->clients = (unsigned)ONE_OF(&r, 2, 2, 2, 3, 3, 4);
	p->processes = (unsigned)rng_between(&r, 1, PROCS_MAX);
	p->names = (unsigned)ONE_OF(&r, 3, 5, 8, 16, NAMES_MADE);
	p->directories = (unsigned)rng_between(&r, 1, 4);
	p->net_min_us = (uint32_t)ONE_OF(&r, 20, 100, 1000, 20000);
	p->net_max_us = p->net_min_us * (uint32_t)ONE_OF(&r, 1, 3, 10, 40);
	p->sync_max_us = (uint32_t)ONE_OF(&r, 100, 2000, 50000, 400000);
	p->reply_max_us = (uint32_t)ONE_OF(&r, 20, 200, 5000, 60000);
	p->invalidate_max_us = (uint32_t)ONE_OF(&r, 20, 500, 20000, 100000);
	p->seal_max_us = (uint32_t)ONE_OF(&r, 10, 1000, 50000);
	p->think_us = (uint32_t)ONE_OF(&r, 100, 1000, 10000, 100000);
	p->term_ms = (uint32_t)ONE_OF(&r, 12000, 20000, TERM_MS);
	p->skew_ms = (uint32_t)ONE_OF(&r, 1000, SKEW_MS);
	p->commit_ms = (uint32_t)ONE_OF(&r, 5, 100, 1000, 2000, 5000);
	p->dirty_max = (size_t)ONE_OF(&r, 0, 0, 4 << 20);
	p->cache_max = (size_t)ONE_OF(&r, 0, 0, 256 << 10);
	p->objects_max = (size_t)ONE_OF(&r, 0, 0, 12);
	p->commit_max = (size_t)ONE_OF(&r, 0, 0, 4096);
	p->leases_max = (unsigned)ONE_OF(&r, 0, 0, 0, 24);
	p->eager = ONE_OF(&r, 0, 1, 1);
	p->file_max = ONE_OF(&r, 9000, 200 << 10, 200 << 10, 3 << 20);
	p->big = (unsigned)ONE_OF(&r, 0, 20, 100);
	p->fsync = (unsigned)ONE_OF(&r, 0, 30, 100, 300);
	p->faults_min = (unsigned)rng_between(&r, 5, 9);
	p->fault_gap_ms = (uint32_t)ONE_OF(&r, 1, 50, 1000);
	p->idle_ms = (uint32_t)ONE_OF(&r, 300, 3000, 60000);
	/* A block must outlive the sync that answers for it and the commit that names it. */
	p->fresh_ms = p->sync_max_us > 50000 || p->commit_ms > 1000 ? 60000 : (uint32_t)ONE_OF(&r, 2000, 10000, 60000);
	p->fault_mask = fault_choose(sim);
	p->journal = sim->options.apart || !fault_loses(sim);
	if (sim->options.tight) {
		rng_seed(&r, sim->options.seed, 7);
		p->capacity = ONE_OF(&r, 200 << 10, 500 << 10, 1 << 20, 2 << 20, 4 << 20, 12 << 20);
	}
	if (sim->options.ops == 0)
		sim->options.ops = 500;
	if (sim->options.check_every == 0)
		sim->options.check_every = CHECK_EVERY;
	sim_trace(sim, "plan: %u clients, %u processes, %u names, %u directories, net %u..%u us, sync %u us, "
	    "reply %u us, invalidate %u us, think %u us, commit %u ms, file %" PRIu64,
	    p->clients, p->processes, p->names, p->directories, p->net_min_us, p->net_max_us, p->sync_max_us,
	    p->reply_max_us, p->invalidate_max_us, p->think_us, p->commit_ms, p->file_max);
}

/* ---- a run ---- */

static bool
set_up(struct sim *sim)
{
	return client_volume_ready(sim);
}

static bool
worked(struct sim *sim)
{
	if (sim->report.ops >= sim->options.ops && fault_enough(sim)) {
		sim->stopping = true;
		return true;
	}
	return false;
}

static bool
healed(struct sim *sim)
{
	return workload_idle(sim) && client_all_clean(sim);
}

static void
run_to(struct sim *sim, bool (*done)(struct sim *), uint64_t within_us, const char *what)
{
	if (!sim->report.failed && !run_until(sim, done, within_us)) {
		char stuck[512];

		client_describe_stuck(sim, stuck, sizeof stuck);
		sim_fail(sim, "wedged: %s not after %" PRIu64 " s: %s", what, within_us / 1000000, stuck);
	}
}

void
sim_run(const struct sim_options *options, struct sim_report *ret_report)
{
	struct sim *sim = sim_alloc(sizeof *sim);

	sim->options = *options;
	sim->damaged = sim_alloc(DAMAGED_MAX * sizeof *sim->damaged);
	names_forget();
	rng_seed(&sim->net, options->seed, 2);
	rng_seed(&sim->work, options->seed, 3);
	rng_seed(&sim->faults, options->seed, 4);
	rng_seed(&sim->engines, options->seed, 5);
	rng_seed(&sim->misc, options->seed, 6);
	make_plan(sim);
	sim->now_us = 1000000;
	blocks_new(sim);
	net_new(sim);
	judge_new(sim);
	daemon_start(sim);
	clients_start(sim);
	run_to(sim, set_up, SETUP_US, "setup");
	judge_begin(sim);
	workload_start(sim);
	fault_start(sim);
	run_to(sim, worked, WORK_US, "work");
	sim->calm = true;
	fault_heal(sim);
	run_to(sim, healed, HEAL_US, "quiet");
	if (!sim->report.failed)
		judge_settled(sim);
	workload_inspect(sim);
	run_to(sim, healed, HEAL_US, "the last look");
	clients_unmount(sim);
	run_to(sim, clients_gone, HEAL_US, "unmounting");
	run_to(sim, judge_all_freed, HEAL_US, "freeing");
	if (!sim->report.failed)
		judge_end(sim);
	sim->report.simulated_ms = sim->now_us / 1000;
	daemon_report(sim->daemon);
	clients_report(sim);
	*ret_report = sim->report;
	clients_free(sim);
	daemon_free(sim->daemon);
	net_free(sim);
	blocks_free(sim);
	judge_free(sim);
	apart_free(sim);
	workload_free(sim);
	free(sim->damaged);
	free(sim->heap.timers);
	free(sim);
}
