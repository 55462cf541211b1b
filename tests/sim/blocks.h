/*
 * blocks.h - sealing, as the shells do it: for real with --crypto, or by a
 * cheap stand-in that copies bytes and adds a checksum over what a seal
 * binds.  The stand-in is what makes thousands of seeds quick; it still
 * notices a record moved to another place, or a block under a wrong id.
 */
#ifndef TESTS_SIM_BLOCKS_H
#define TESTS_SIM_BLOCKS_H

#include "proto/message.h"
#include "proto/seal.h"
#include "tests/sim/sim.h"

void	blocks_new(struct sim *sim);
void	blocks_free(struct sim *sim);
/* The volume's keys, which the client engine needs for name tokens. */
const struct volume_keys *blocks_keys(const struct sim *sim);
void	blocks_token_hash(const uint8_t token[SECRET_SIZE], uint8_t hash[KEY_SIZE]);

/* Seals a change's value into the arena. */
struct bytes	blocks_seal_record(struct sim *sim, const struct msg_change *m, struct arena *arena);
/* Opens one; .data is NULL when it would not. */
struct bytes	blocks_open_record(struct sim *sim, uint64_t oid, uint8_t kind, struct bytes subkey,
		    const uint64_t *orefs, uint32_t orefs_count, const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count,
		    struct bytes sealed, struct arena *arena);
/* Seals a block: room for BLOCK_SEALED_MAX at to[].  The sealed length, and the id. */
size_t	blocks_seal(struct sim *sim, const uint8_t *plain, size_t len, uint8_t id[ID_SIZE], uint8_t *to);
/* The server's part of GET: header and cells [first, first + count). 0 or a negative errno. */
int	blocks_cut(struct sim *sim, struct bytes block, unsigned first, unsigned count, uint8_t *to, size_t *ret_len);
/* Opens cell first + index of what blocks_cut() gave.  The plain length, or a negative errno. */
ssize_t	blocks_open_cell(struct sim *sim, const uint8_t id[ID_SIZE], unsigned first, unsigned index,
	    struct bytes cut, uint8_t to[CELL_SIZE]);
/* A whole block at once. to[] has BLOCK_SIZE; its plain length, or a negative errno. */
ssize_t	blocks_open(struct sim *sim, const uint8_t id[ID_SIZE], struct bytes block, uint8_t *to);

#endif
