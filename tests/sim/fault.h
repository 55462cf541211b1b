/*
 * fault.h - what goes wrong, and when: cuts, partitions, dead servers and
 * clients, full and slow disks, machines that stand still.
 */
#ifndef TESTS_SIM_FAULT_H
#define TESTS_SIM_FAULT_H

#include "tests/sim/sim.h"

/* Which kinds are to happen, as bits; do some of them take work from mounts that live on? */
uint32_t fault_choose(struct sim *sim);
bool	fault_loses(const struct sim *sim);
/* Faults happen from now on, at random. */
void	fault_start(struct sim *sim);
/* After each call: is it time for the next one? */
void	fault_poll(struct sim *sim);
/*
 * This client was evicted, or goes on without the server.  In some worlds of --apart the server restarts soon, and it
 * is back first.
 */
void	fault_alone(struct sim *sim, struct client *c);
/* As many as the plan wants have happened. */
bool	fault_enough(const struct sim *sim);
/* The last of them ends: the server comes up, networks and disks work. */
void	fault_heal(struct sim *sim);

#endif
