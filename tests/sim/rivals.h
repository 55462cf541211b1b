/*
 * rivals.h - two clients that serve one object, of which one may change it.
 * The server must not let that come to be, restarted or not: state.h knows
 * what it has given, and this what clients may still live by (DESIGN R7, R9).
 */
#ifndef TESTS_SIM_RIVALS_H
#define TESTS_SIM_RIVALS_H

#include "tests/sim/client.h"

/* Nobody else serves against what this mount serves. */
void	rivals_check(struct mount *m);

#endif
