/*
 * orphan.h - files that nobody can name and nobody has open.
 */
#ifndef TESTS_SIM_ORPHAN_H
#define TESTS_SIM_ORPHAN_H

#include "tests/sim/check.h"

/*
 * The call does not fit where the judge has come to: is that because it looks
 * at an orphan, and does it see what it may?  Then nobody could keep it true,
 * and it is past.
 */
bool	orphan_looked_at(struct judge *j, struct call *c);

#endif
