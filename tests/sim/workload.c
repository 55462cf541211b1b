/*
 * workload.c - see workload.h: the lives of processes, and what each does
 * next.
 */
#include "tests/sim/proc.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "tests/sim/client.h"

struct workload {
	struct proc	 procs[CLIENTS_MAX][PROCS_MAX];
	uint32_t	 tags;
	bool		 started;
};

static void next_task(struct proc *p);

/* ---- one process ---- */

struct rng *
proc_dice(struct proc *p)
{
	return &p->sim->work;
}

uint64_t
proc_roll(struct proc *p, uint64_t n)
{
	return rng_below(proc_dice(p), n);
}

static void
think(struct sim *sim, void *what, uint64_t life)
{
	struct proc *p = what;

	(void)sim;
	if (p->life == life && p->state == PROC_THINKING)
		next_task(p);
}

/* The task is over. */
void
proc_rest(struct proc *p)
{
	while (p->held_count > 0)
		kernel_drop(p->kernel, p->held[--p->held_count]);
	p->state = PROC_THINKING;
	sim_after(p->sim, rng_below(proc_dice(p), p->sim->plan.think_us * UINT64_C(2)) + 1, think, p, p->life);
}

/* Makes a call; then(call) continues. */
struct call *
proc_begin(struct proc *p, enum op_type type, uint64_t ino, void (*then)(struct call *))
{
	struct call *c = kernel_new_call(p->kernel, p->index, type, ino);

	c->then = then;
	c->context = p;
	return c;
}

bool
proc_is_type(struct proc *p, uint64_t ino, mode_t type)
{
	return ino != 0 && (kernel_mode(p->kernel, ino) & S_IFMT) == type;
}

uint32_t
proc_tag(struct proc *p)
{
	/* A few tags come again and again, so that blocks meet their duplicates. */
	return rng_chance(proc_dice(p), 100) ? 1 + (uint32_t)proc_roll(p, 3) : ++p->sim->workload->tags;
}

static bool
ending(struct proc *p)
{
	return p->sim->stopping || p->mount->leaving;
}

bool
workload_looks(struct sim *sim, unsigned client)
{
	bool all = true;

	for (unsigned i = 0; i < sim->plan.processes; i++)
		all &= sim->workload->procs[client][i].looks;
	return all;
}

static struct file *
any_file(struct proc *p, unsigned *ret_slot)
{
	for (*ret_slot = 0; *ret_slot < FILES_MAX; (*ret_slot)++)
		if (p->files[*ret_slot] != NULL)
			return p->files[*ret_slot];
	return NULL;
}

static void
next_task(struct proc *p)
{
	unsigned slot;

	p->state = PROC_BUSY;
	if (p->inspecting) {
		inspect_next(p);
		return;
	}
	p->looks = false;
	if (ending(p) || p->mount->client->looking || p->mount->reading) {
		if (any_file(p, &slot) != NULL)
			task_close(p, slot);
		else if (ending(p))
			p->state = PROC_QUIET;
		else {
			p->looks = true;
			task_looking(p);
		}
		return;
	}
	p->slot = (unsigned)proc_roll(p, FILES_MAX);
	if (rng_chance(proc_dice(p), p->sim->plan.fsync)) {
		if (p->files[p->slot] != NULL && rng_chance(proc_dice(p), 600))
			task_fsync(p, p->files[p->slot]);
		else if (rng_chance(proc_dice(p), 800))
			task_fsyncdir(p);
		else
			task_sync(p);
	} else if (rng_chance(proc_dice(p), 5))
		task_statfs(p);
	else if (p->files[p->slot] != NULL && rng_chance(proc_dice(p), 600))
		task_on_file(p);
	else
		task_named(p);
}

/* ---- lives ---- */

static void
shrink_now_and_then(struct sim *sim, void *what, uint64_t number)
{
	struct client *c = sim->clients[rng_below(&sim->work, sim->plan.clients)];

	(void)what;
	(void)number;
	if (sim->stopping)
		return;
	if (c->mount != NULL && c->mount->mounted)
		kernel_shrink(c->mount->kernel, (unsigned)rng_below(&sim->work, 1001));
	sim_after(sim, sim->plan.think_us * UINT64_C(50) + rng_below(&sim->work, 500000), shrink_now_and_then, NULL, 0);
}

void
workload_inspect(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients && !sim->report.failed; i++) {
		struct proc *p = &sim->workload->procs[i][0];

		if (rng_chance(&sim->work, 500))
			kernel_shrink(p->kernel, 1000);
		p->inspecting = true;
		p->queue[0] = OID_ROOT;
		p->queue_at = 0;
		p->queue_count = 1;
		p->stage = 0;
		p->state = PROC_THINKING;
		sim_after(sim, 1 + rng_below(&sim->work, 1000000), think, p, p->life);
	}
}

void
workload_mounted(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		struct proc *p = &sim->workload->procs[client][i];
		uint64_t life = p->life + 1;

		*p = (struct proc){ .sim = sim, .client = client, .index = i, .life = life,
		    .mount = sim->clients[client]->mount };
		p->kernel = p->mount->kernel;
		proc_rest(p);
	}
}

void
workload_killed(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		sim->workload->procs[client][i].state = PROC_DEAD;
		sim->workload->procs[client][i].life++;
	}
}

void
workload_leaving(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		struct proc *p = &sim->workload->procs[client][i];

		if (p->state == PROC_QUIET)
			continue;
		if (p->state == PROC_THINKING) {
			p->life++;
			sim_after(sim, 1, think, p, p->life);
		}
	}
}

bool
workload_only_looks(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++)
		if (sim->workload->procs[client][i].state == PROC_BUSY && !sim->workload->procs[client][i].looks)
			return false;
	return true;
}

bool
workload_quiet(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++)
		if (sim->workload->procs[client][i].state != PROC_QUIET && sim->workload->procs[client][i].state != PROC_DEAD)
			return false;
	return true;
}

bool
workload_idle(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++)
		for (unsigned j = 0; j < sim->plan.processes; j++)
			if (sim->workload->procs[i][j].state != PROC_QUIET)
				return false;
	return true;
}

void
workload_start(struct sim *sim)
{
	if (sim->report.failed)
		return;
	sim->workload = sim_alloc(sizeof *sim->workload);
	sim->workload->tags = 10;
	for (unsigned i = 0; i < sim->plan.clients; i++)
		workload_mounted(sim, i);
	sim_after(sim, 100000, shrink_now_and_then, NULL, 0);
}

void
workload_free(struct sim *sim)
{
	free(sim->workload);
}
