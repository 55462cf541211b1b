/*
 * conn.h - connections, as the engine knows them: a proven device key, and
 * after ATTACH a session and a lane.
 */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include "server/state.h"

struct conn *conn_find(struct server *s, uint64_t id);
/* Binds to a session; the caller has fenced and checked. */
void	conn_attach(struct server *s, struct conn *c, struct session *n, uint8_t lane);
/*
 * Unbinds: READs of the session that wait die with its control connection,
 * its leases stay.  Answers still held for c are kept.
 */
void	conn_detach(struct server *s, struct conn *c);
/* Detaches, drops held answers, asks the caller to close, and frees c. */
void	conn_close(struct server *s, struct conn *c);
/* Closes it when the event ends, for those who are amid a walk: nothing vanishes under them. */
void	conn_doom(struct server *s, struct conn *c);
void	conn_close_doomed(struct server *s);
/* The same for a connection that is gone already. */
void	conn_gone(struct server *s, struct conn *c);
/* Closes strangers and unattached connections that say nothing. */
void	conn_tick(struct server *s);

#endif
