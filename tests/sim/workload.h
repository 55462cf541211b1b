/*
 * workload.h - the processes on every client: each makes one system call
 * after the other, at random, on a few names in a few directories, so that
 * they get into each other's way.
 */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "tests/sim/sim.h"

void	workload_start(struct sim *sim);
/* sim->stopping is set, and everything begun has ended. */
bool	workload_idle(struct sim *sim);
/* Every client looks at the whole tree, file by file; workload_idle() tells the end. */
void	workload_inspect(struct sim *sim);

/* A client's processes died with it; end what they do and close their files; begin anew. */
void	workload_killed(struct sim *sim, unsigned client);
void	workload_leaving(struct sim *sim, unsigned client);
void	workload_mounted(struct sim *sim, unsigned client);
/* None of them is about to open or change something. */
bool	workload_only_looks(struct sim *sim, unsigned client);
/* After workload_leaving(): they have. */
bool	workload_quiet(struct sim *sim, unsigned client);
/* What they do now leaves nothing behind. */
bool	workload_looks(struct sim *sim, unsigned client);
void	workload_free(struct sim *sim);

#endif
