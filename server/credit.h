/*
 * credit.h - space that is promised to sessions (R10).
 *
 * A client answers a write before the server has it.  So that what it answered
 * fits later, it only does so within its session's credit: bytes that nobody
 * else is given meanwhile.  What a commit or a block costs is said in
 * nuage-protocol(5); the states and invariants are at the head of credit.c.
 */
#ifndef SERVER_CREDIT_H
#define SERVER_CREDIT_H

#include "server/state.h"

/* Raises the session's credit to its share of what there is. */
void	credit_renew(struct server *s, struct session *n);
/*
 * STATFS: all of the credit but `keep` may be taken back; it is to be `want` at least.  Returns true if it is
 * less, but more will come.
 */
bool	credit_state(struct server *s, struct session *n, uint64_t keep, uint64_t want);
/*
 * May the session add what costs so much?  0, and *ret_flags for the store; else as store_seek(): it has not
 * the credit, and what is left is promised to others.
 */
int	credit_cover(struct server *s, const struct session *n, uint64_t cost, unsigned *ret_flags);
void	credit_spend(struct server *s, struct session *n, uint64_t cost);
/* The session has none, until it is given some anew. */
void	credit_void(struct server *s, struct session *n);

#endif
