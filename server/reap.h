/*
 * reap.h - freeing objects that nobody references or pins any more.
 *
 * A dying object is gone for everybody at once and freed in bounded steps:
 * its records go a batch at a time, the header and the orphan row last, so a
 * restart goes on where it stopped.  The oid is noted as used while the
 * session lives that could give birth to it again.
 */
#ifndef SERVER_REAP_H
#define SERVER_REAP_H

#include "server/state.h"

int	reap_load(struct server *s);
/* Begins to free o if it is an orphan without pins. */
void	reap_consider(struct server *s, struct object *o);
/* Frees a bounded number of records. */
void	reap_tick(struct server *s);
/*
 * About how many bytes freeing a stored object would free in the end; stops counting at `enough`, or when
 * that takes long.
 */
uint64_t reap_gain(struct server *s, const struct volume *v, uint64_t oid, uint64_t enough);
/* The same of a block, if it has no more than so many references. */
uint64_t reap_gain_block(struct server *s, const struct volume *v, const uint8_t id[ID_SIZE], uint64_t references);
/* Noted as freed: must not be born again. */
bool	reap_used(struct server *s, const struct volume *v, uint64_t oid);

#endif
