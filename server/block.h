/*
 * block.h - blocks: stored, looked for, fetched, and freed when nothing
 * references them.
 *
 * A volume's blocks have a BLOCK row each, written before the block so that
 * none is without; those without reference have an IDLE row too and are freed
 * after a delay: config.idle_ms after the last reference went, fresh_ms when
 * there was none yet; sooner while space is short.  Ids are secret-keyed by each volume's clients, so one
 * that is stored for another volume is refused.
 */
#ifndef SERVER_BLOCK_H
#define SERVER_BLOCK_H

#include "server/state.h"

int	block_load(struct server *s);
/* The first clock reading. */
void	block_start(struct server *s);
void	block_tick(struct server *s);
void	block_free_all(struct server *s);	/* from memory, at the end */
uint64_t block_hash(const struct server *s, const struct volume *v, const uint8_t id[ID_SIZE]);
/* Keeps the free list right: it has no reference (`fresh`: had none before), or has one. */
void	block_idle(struct server *s, struct volume *v, const uint8_t id[ID_SIZE], bool fresh);
void	block_busy(struct server *s, struct volume *v, const uint8_t id[ID_SIZE]);

/* A WRITE_BLOCK was carried out, with this result. */
void	block_written(struct server *s, struct server_action *a, int result);
void	block_put(struct server *s, struct conn *c, const struct message *m);
void	block_have(struct server *s, struct conn *c, const struct message *m);
void	block_get(struct server *s, struct conn *c, const struct message *m);

#endif
