/*
 * object.h - what is in memory about one object: who leases, awaits and pins
 * it, and whether its last change is durable.
 *
 * Structs come and go with need (state.h, invariant 3).  Whoever takes a
 * need away kicks the object; object_tidy() frees it when its turn comes, so
 * no pointer dies inside the event that still uses it.
 */
#ifndef SERVER_OBJECT_H
#define SERVER_OBJECT_H

#include "server/state.h"

struct object *object_find(const struct volume *v, uint64_t oid);
/* Finds or makes one, which the caller then needs or kicks; NULL when out of memory. */
struct object *object_get(struct volume *v, uint64_t oid);
/* Its waiting READs, its recalls and its need are looked at before the event ends. */
void	object_kick(struct server *s, struct object *o);
/* It changed at this position, which is not synced yet. */
void	object_touch(struct server *s, struct object *o, uint64_t pos);
void	object_synced(struct server *s);
/* Frees it if nobody needs it. */
void	object_tidy(struct object *o);
/* Frees it whatever there is; for the end of the server. */
void	object_free(struct object *o);
/* The stored header; -ENOENT also for an object that is being freed. -EBADMSG or -EIO: damaged. */
int	object_header(struct server *s, struct volume *v, uint64_t oid, struct header *ret_header);

#endif
