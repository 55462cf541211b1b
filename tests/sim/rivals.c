/* rivals.c - see rivals.h. */
#include "tests/sim/rivals.h"

#include <inttypes.h>

/* Who has said BYE serves nobody. */
static bool
serves(const struct mount *m)
{
	return m != NULL && m->engine != NULL && !m->said_bye;
}

static void
check_lease(void *context, uint64_t oid, uint8_t mode)
{
	const struct mount *m = context;

	for (unsigned i = 0; i < m->sim->plan.clients; i++) {
		struct mount *other = m->sim->clients[i] == NULL ? NULL : m->sim->clients[i]->mount;
		uint8_t theirs = other == m || !serves(other) ? MODE_NONE : engine_lease(mount_clocked(other), oid);

		if (theirs != MODE_NONE && (mode == MODE_EXCLUSIVE || theirs == MODE_EXCLUSIVE))
			sim_fail(m->sim, "clients %u and %u both serve %" PRIu64 ", one of them to change it",
			    m->client->index, i, oid);
	}
}

void
rivals_check(struct mount *m)
{
	if (serves(m))
		engine_leases(mount_clocked(m), check_lease, m);
}
