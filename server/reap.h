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
/* Noted as freed: must not be born again. */
bool	reap_used(struct server *s, const struct volume *v, uint64_t oid);

#endif
