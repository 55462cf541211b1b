/*
 * pin.h - "open here": a pinned object outlives its last reference.
 *
 * Pins are durable, idempotent, and die with their session.  An oid need not
 * exist to be pinned; one that is being freed cannot be saved.
 */
#ifndef SERVER_PIN_H
#define SERVER_PIN_H

#include "server/state.h"

/* In memory only, for loading; 0 or -ENOMEM. */
int	pin_add(struct session *n, uint64_t oid);
/* In memory only, when the rows went with the session. */
void	pin_drop_all(struct server *s, struct session *n);
void	pin_message(struct server *s, struct conn *c, const struct message *m);

#endif
