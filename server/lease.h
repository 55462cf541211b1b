/*
 * lease.h - who may cache and who may change an object.
 *
 * A lease is SHARED or EXCLUSIVE; each grant has a number of its session's,
 * which RECALL and RELEASE name.  A RECALL is sent once for each grant and
 * mode that may be kept, and again when an older operation joins those that
 * wait (only an older one may delay it) or when the session has reclaimed.
 */
#ifndef SERVER_LEASE_H
#define SERVER_LEASE_H

#include "server/state.h"

struct lease *lease_of(const struct object *o, const struct session *n);
/* Another session's lease forbids this mode to n. */
bool	lease_conflicts(const struct object *o, const struct session *n, uint8_t mode);
/*
 * Gives n at least `mode`, which must not conflict.  A lease that suffices
 * keeps its number; a new or stronger one gets the next, or 0 when born by
 * a commit.  NULL when out of memory.
 */
struct lease *lease_grant(struct server *s, struct session *n, struct object *o, uint8_t mode);
struct lease *lease_birth(struct server *s, struct session *n, struct object *o);
void	lease_drop(struct server *s, struct lease *l);
void	lease_drop_all(struct server *s, struct session *n);
/* Sets a weaker mode. */
void	lease_weaken(struct server *s, struct lease *l, uint8_t mode);
/* Sends what RECALLs the object's waiting READs call for, and keeps `wanted` right. */
void	lease_recall(struct server *s, struct object *o);
void	lease_release(struct server *s, struct conn *c, const struct message *m);
void	lease_reclaim(struct server *s, struct conn *c, const struct message *m);
/* Drops the leases of sessions that are silent, or make no progress, while somebody waits. */
void	lease_tick(struct server *s);

#endif
