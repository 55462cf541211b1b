/*
 * damage.h - blocks that the server's disk gives back wrong, or has lost, for
 * a while (R8).
 *
 * Who reads such a block may be told EIO, by a call that ran while a client
 * could learn of it, and only of a file that has it; nothing else is harmed,
 * and once the disk is mended all is there again.
 */
#ifndef TESTS_SIM_DAMAGE_H
#define TESTS_SIM_DAMAGE_H

#include "tests/sim/sim.h"

enum { DAMAGED_MAX = 16 };

struct damaged {
	uint8_t		 id[ID_SIZE];
	bool		 lost;			/* it is not there, instead of being wrong */
	bool		 mended;
	unsigned	 heard;			/* how often clients were told */
	uint64_t	 from_us, until_us;	/* until: when a client heard of it last, or it was mended */
};

/* A fault: some block of a file is damaged. */
void	damage_happen(struct sim *sim);
/* All are mended. */
void	damage_heal(struct sim *sim);
/* What the server says of a block, by its id in hex: OK, IO or NOENT. */
enum status damage_status(const struct sim *sim, const char *id);
/* A client was told. */
void	damage_heard(struct sim *sim, const uint8_t id[ID_SIZE]);
/* Was a block damaged that the call's file has, while it ran? */
bool	damage_excuses(struct sim *sim, const struct call *c);

#endif
