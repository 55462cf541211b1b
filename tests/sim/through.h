/*
 * through.h - calls that were answered while the client's disk was full, and
 * no journal kept them: each is on the server by then.
 */
#ifndef TESTS_SIM_THROUGH_H
#define TESTS_SIM_THROUGH_H

#include "tests/sim/sim.h"

struct mount;

/* After an event of the mount: which calls have taken effect, and wait for the server? */
void	through_watch(struct mount *m);
/* Do any, of whomever?  Their effect may be on the server, though nobody was answered: no moment for a death. */
bool	through_pending(const struct sim *sim);
/* Did one of another mount's change this inode, and the server may have the commit that holds it? */
bool	through_landed(const struct judge *j, const struct mount *m, uint64_t ino);
/* One is answered: is it on the server? */
void	through_check(struct sim *sim, const struct call *c);

#endif
