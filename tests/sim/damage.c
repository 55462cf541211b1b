/* damage.c - see damage.h. */
#include "tests/sim/damage.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"
#include "tests/sim/daemon.h"
#include "tests/sim/image.h"

enum {
	MS		= 1000,
	S		= 1000000,
	HEARD_MAX	= 200,		/* more than all calls of a run make */
};

static void
mend(struct sim *sim, void *what, uint64_t number)
{
	struct damaged *d = &sim->damaged[number % DAMAGED_MAX];

	(void)what;
	if (number + DAMAGED_MAX < sim->damages || d->mended)
		return;		/* its place is another's by now */
	d->mended = true;
	d->until_us = sim->now_us;
	sim_trace(sim, "server: a block is mended");
}

static void
damage(struct sim *sim, const struct image_object *o, uint64_t for_us)
{
	struct damaged *d = &sim->damaged[sim->damages % DAMAGED_MAX];

	if (o->pieces_count == 0 || (sim->damages >= DAMAGED_MAX && !d->mended))
		return;
	*d = (struct damaged){ .lost = rng_chance(&sim->faults, 400), .from_us = sim->now_us, .until_us = sim->now_us };
	memcpy(d->id, o->pieces[rng_below(&sim->faults, o->pieces_count)].block, ID_SIZE);
	sim_trace(sim, "server: a block of %" PRIu64 " is %s", o->oid, d->lost ? "lost" : "damaged");
	sim_after(sim, for_us, mend, NULL, sim->damages);
	sim->damages++;
	sim->report.damages++;
}

/* Several at once, for many are not read in time. */
void
damage_happen(struct sim *sim)
{
	uint64_t for_us = rng_between(&sim->faults, 50 * MS, 10 * S);
	struct image image;

	image_read(sim, &image);
	for (size_t i = 0; i < image.count; i++)
		if (rng_chance(&sim->faults, 500))
			damage(sim, &image.objects[i], for_us);
	image_free(&image);
}

void
damage_heal(struct sim *sim)
{
	for (unsigned i = 0; i < DAMAGED_MAX; i++)
		if (sim->damaged[i].from_us != 0 && !sim->damaged[i].mended) {
			sim->damaged[i].mended = true;
			sim->damaged[i].until_us = sim->now_us;
		}
}

enum status
damage_status(const struct sim *sim, const char *id)
{
	char hex[2 * ID_SIZE + 1];

	for (unsigned i = 0; i < DAMAGED_MAX; i++) {
		const struct damaged *d = &sim->damaged[i];

		if (d->from_us == 0 || d->mended)
			continue;
		sodium_bin2hex(hex, sizeof hex, d->id, ID_SIZE);
		if (strcmp(hex, id) == 0)
			return d->lost ? STATUS_NOENT : STATUS_IO;
	}
	return STATUS_OK;
}

void
damage_heard(struct sim *sim, const uint8_t id[ID_SIZE])
{
	for (unsigned i = 0; i < DAMAGED_MAX; i++)
		if (sim->damaged[i].from_us != 0 && memcmp(sim->damaged[i].id, id, ID_SIZE) == 0) {
			sim->damaged[i].until_us = sim->now_us;
			if (++sim->damaged[i].heard == HEARD_MAX)
				sim_fail(sim, "a damaged block is asked for again and again");
		}
}

static bool
has_block(const struct image_object *o, const uint8_t id[ID_SIZE])
{
	for (size_t i = 0; o != NULL && i < o->pieces_count; i++)
		if (memcmp(o->pieces[i].block, id, ID_SIZE) == 0)
			return true;
	return false;
}

bool
damage_excuses(struct sim *sim, const struct call *c)
{
	uint64_t began_us = sim->now_us - (c->invoked_ns == 0 ? 0 : (uint64_t)(sim_real_ns(sim) - c->invoked_ns) / 1000);
	struct image image;
	bool excused = false;

	if (sim->damages == 0)
		return false;
	image_read(sim, &image);
	for (unsigned i = 0; i < DAMAGED_MAX; i++) {
		const struct damaged *d = &sim->damaged[i];

		if (d->from_us != 0 && (!d->mended || d->until_us >= began_us))
			excused |= has_block(image_find(&image, c->ino), d->id) || has_block(image_find(&image, c->child), d->id);
	}
	image_free(&image);
	return excused;
}
