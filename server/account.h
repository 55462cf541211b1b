/*
 * account.h - who may do what: devices, volumes, memberships, invitations.
 *
 * A device is a static public key.  It is enrolled by redeeming an
 * invitation or by a member of a volume; until then redeeming is all it may
 * do.  Being a member of a volume is what attaching asks for.
 */
#ifndef SERVER_ACCOUNT_H
#define SERVER_ACCOUNT_H

#include "server/state.h"

int	account_load(struct server *s);		/* the volumes */
/* Enrolled, with its DEVICE_ flags (may be NULL). */
bool	account_enrolled(struct server *s, const uint8_t device[KEY_SIZE], uint8_t *ret_flags);
bool	account_member(struct server *s, const uint8_t device[KEY_SIZE], const struct volume *v);
/* Forgets invitations that expired a month ago; at the start, when the clock is set. */
void	account_prune(struct server *s);
/* Notes a stranger in the log, once a key and not too often. */
void	account_stranger(struct server *s, const uint8_t device[KEY_SIZE], const char *request);

void	account_redeem(struct server *s, struct conn *c, const struct message *m);
void	account_create(struct server *s, struct conn *c, const struct message *m);
void	account_list(struct server *s, struct conn *c, const struct message *m);
void	account_invite(struct server *s, struct conn *c, const struct message *m);
void	account_wrap(struct server *s, struct conn *c, const struct message *m);
void	account_add(struct server *s, struct conn *c, const struct message *m);

#endif
