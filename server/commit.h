/*
 * commit.h - COMMIT and RESET: the only way records change.
 */
#ifndef SERVER_COMMIT_H
#define SERVER_COMMIT_H

#include "server/state.h"

void	commit_message(struct server *s, struct conn *c, const struct message *m);
void	commit_reset(struct server *s, struct conn *c, const struct message *m);
/* The session may give birth to this oid: it is its own, is not stored and never was. */
bool	commit_unborn(struct server *s, const struct session *n, uint64_t oid);

#endif
