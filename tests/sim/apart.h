/*
 * apart.h - worlds in which clients are cut off for longer than their term
 * with unsaved work, while others want it (nuage-sim --apart).
 *
 * What such a client shows cannot be one order of calls: it goes back to the
 * server's state, and its work comes again later, perhaps beside.  So the
 * judge (check.h) is silent here, and this is asked at the end:
 *
 *   - the bytes of every answered write, unless somebody may have overwritten
 *     or removed them, are in a file that has a name;
 *   - every file with a conflict's name was told of.
 *
 * It stands for the process that runs what was lost again, beside a mount.
 */
#ifndef TESTS_SIM_APART_H
#define TESTS_SIM_APART_H

#include "tests/sim/client.h"

struct replay;

/* From the mount's tick: begins to run again what its engine lost. */
void	apart_tick(struct mount *m);
/* The mount is about to end. */
void	apart_drop(struct mount *m);
/* A call that apart_tick() made is done. */
void	apart_answer(struct call *c);
/* The conflicts of a journal that was run again: told of. */
void	apart_listed(struct sim *sim, const struct replay *r);
/* Everything is at rest. */
void	apart_check(struct sim *sim);
void	apart_free(struct sim *sim);

#endif
