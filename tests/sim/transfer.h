/*
 * transfer.h - blocks between a mount and the server's bulk lanes: PUT, HAVE
 * and GET, repeated on another connection until they are answered.
 */
#ifndef TESTS_SIM_TRANSFER_H
#define TESTS_SIM_TRANSFER_H

#include "tests/sim/client.h"

/* Carry out the engine's actions; engine_stored() and engine_fetched() follow. */
void	transfer_store(struct mount *m, struct flush *f);
void	transfer_fetch(struct mount *m, struct fetch *f);
/* An answer on a bulk lane. */
void	transfer_answered(struct mount *m, struct conn *c, const struct message *msg);
/* A lane is up: sends what is not on its way. A lane is gone: what was on it is to be sent again. */
void	transfer_send_all(struct mount *m);
void	transfer_lost(struct mount *m, const struct conn *c);
void	transfer_free_all(struct mount *m);
/* The engine is offline: what waits for the server gets what the disk has. */
void	transfer_offline(struct mount *m);
struct shelf *shelf_new(void);
void	shelf_free(struct shelf *shelf);

#endif
