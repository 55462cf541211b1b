/*
 * session.h - a client's presence on a volume, which outlives connections,
 * restarts of the server and, for 30 days, the client.
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "server/state.h"

struct volume *volume_find(const struct server *s, const uint8_t id[VOLUME_ID_SIZE]);

/* Loads what is stored of all volumes' sessions, their ranges and pins; 0 or a negative errno. */
int	session_load(struct server *s);
void	session_attach(struct server *s, struct conn *c, const struct message *m);
void	session_alloc(struct server *s, struct conn *c, const struct message *m);
void	session_bye(struct server *s, struct conn *c, const struct message *m);
/* Appends the session's row as it would be with `row`. */
void	session_row_put(struct batch *b, const struct session *n, const struct session_row *row);
/* How many were heard of within term and skew, or are awaited after a restart. */
uint32_t session_present(const struct server *s, const struct volume *v);
/* No other is, nor has leases left. */
bool	session_alone(const struct server *s, const struct session *n);
/* After a restart: some session may still reclaim, nothing new is granted. */
bool	session_grace(const struct volume *v);
/*
 * It lost its leases without knowing, by eviction or with a restart: what it had open under them is not pinned
 * until it is back, which it says before it reclaims.  Until then any object may be open there.
 */
void	session_stray(struct session *n, bool astray);
/*
 * Its leases are about to be given to others: stores that, and closes its connection, so that it hears of it when it
 * attaches again.  False when that cannot be stored now.
 */
bool	session_evict(struct server *s, struct session *n);
/* It has reclaimed, or ends: the grace need not wait for it. */
void	session_heard_of(struct server *s, struct session *n);
/* The oid's range is this session's. */
bool	session_owns(const struct session *n, uint64_t oid);
/* The first clock reading: what was loaded counts as seen now. */
void	session_start(struct server *s);
/* Ends the grace, forgets those unseen for 30 days. */
void	session_tick(struct server *s);
/* Frees a session and all of it in memory, for the end of the server. */
void	session_free(struct server *s, struct session *n);

#endif
