/*
 * wait.h - READs and their turn.
 *
 * A READ names all an operation needs and is granted whole or not at all:
 * when no other session holds a conflicting lease on any of its objects and
 * no older READ of another session wants one.  Tickets are ages: the lower
 * the older; the session id breaks ties.
 */
#ifndef SERVER_WAIT_H
#define SERVER_WAIT_H

#include "server/state.h"

void	wait_read(struct server *s, struct conn *c, const struct message *m);
/* The READs of a session whose control connection is gone; the client sends them again. */
void	wait_drop_all(struct server *s, struct session *n);
void	wait_drop(struct server *s, struct wait *w);
/* Objects these wait for are looked at again: of one session, or of a volume whose grace is over. */
void	wait_kick_all(struct server *s, struct session *n);
void	wait_kick_volume(struct server *s, struct volume *v);
enum { ANSWERED_MAX = 32 * 1024 * 1024 };	/* bytes of answers made in one event */
/* Grants, recalls and tidies until no object is kicked any more, or that many answers are made: false then. */
bool	wait_run(struct server *s);

#endif
