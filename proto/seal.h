/*
 * seal.h - what the server stores but cannot read: keys, records, blocks.
 *
 * Pure functions, any thread; each thread keeps a scratch (scratch.h) of a few
 * megabytes from its first block on.
 */
#ifndef PROTO_SEAL_H
#define PROTO_SEAL_H

#include <sys/types.h>

#include "proto/cursor.h"
#include "proto/limits.h"

/*
 * Everything derived from one volume key.  Opaque, in locked memory
 * (sodium_malloc).  token and id keys live as long as the volume; content
 * and record keys belong to an epoch (0 for now).
 */
struct volume_keys;
struct volume_keys *volume_keys_new(const uint8_t volume_key[KEY_SIZE],
		    const uint8_t volume[VOLUME_ID_SIZE]);	/* NULL: out of locked memory */
void	volume_keys_free(struct volume_keys *keys);

/* 16 bytes of keyed BLAKE2b over (oid, name): the subkey of ENTRY and XATTR. */
void	name_token(const struct volume_keys *keys, uint64_t oid, struct bytes name,
	    uint8_t token[TOKEN_SIZE]);

/* What the server sees of a record, bound into its seal. */
struct record_context {
	uint64_t	oid;
	uint8_t		kind;
	struct bytes	subkey;
	const uint64_t	*orefs;
	uint32_t	orefs_count;
	const uint8_t	(*brefs)[ID_SIZE];
	uint32_t	brefs_count;
};
enum { RECORD_OVERHEAD = 1 + 4 + 8 + 24 + 16 };	/* format, epoch, writer, nonce, tag */

/*
 * Seals with a fresh nonce; returns the sealed length, -EMSGSIZE when to[] or
 * VALUE_MAX is too small, -EINVAL when the context is against the limits.
 */
ssize_t	record_seal(const struct volume_keys *keys, const struct record_context *context,
	    uint64_t writer, struct bytes plain, uint8_t *to, size_t size);
/*
 * Opens into to[]; returns the length, -EBADMSG (forged, moved or damaged),
 * -ENOTSUP (format or epoch not known here) or -EMSGSIZE.
 */
ssize_t	record_open(const struct volume_keys *keys, const struct record_context *context,
	    struct bytes sealed, uint8_t *to, size_t size);

/*
 * Seals `len` (1 to BLOCK_SIZE) bytes as one block with a fresh salt: header,
 * cell table, cells.  Room for len + SEALED_OVERHEAD at to[].  Returns the sealed
 * length and the block's id, or -EINVAL or -ENOMEM.  zstd level 0 stores raw.
 */
ssize_t	block_seal(const struct volume_keys *keys, const uint8_t *plain, size_t len,
	    int level, uint8_t id[ID_SIZE], uint8_t *to);
/* The id alone, without sealing; 0, -EINVAL or -ENOMEM. */
int	block_id(const struct volume_keys *keys, const uint8_t *plain, size_t len, uint8_t id[ID_SIZE]);

/* A block's clear header, as the server and the reader see it. */
struct block_header {
	uint32_t	epoch;
	uint32_t	length;			/* of the plaintext */
	uint16_t	cells;
	uint8_t		salt[SALT_SIZE];
	uint32_t	stored[CELLS_MAX];	/* sealed length of each cell */
	bool		raw[CELLS_MAX];
	size_t		size;			/* of the header itself */
};
/* 0, -EBADMSG or -ENOTSUP; checks every length against limits.h. `from` may go on after the header. */
int	block_header_decode(struct block_header *h, struct bytes from);
/* Byte range of cells [first, first + count) in the sealed block; 0 or -EINVAL. */
int	block_cells(const struct block_header *h, unsigned first, unsigned count,
	    size_t *ret_offset, size_t *ret_size);
/* The plain length of a cell that the block has. */
size_t	cell_length(const struct block_header *h, unsigned index);
/*
 * Opens one cell into to[cell_length()]; returns that length, -EBADMSG,
 * -ENOTSUP (epoch not known here) or -ENOMEM.  `cell` is exactly the sealed
 * cell.  That the block has the id it is asked for by is proved by the tags
 * only against the server; see block_id() for what a member may have stored.
 */
ssize_t	cell_open(const struct volume_keys *keys, const uint8_t id[ID_SIZE],
	    const struct block_header *h, unsigned index, struct bytes cell, uint8_t *to);

#endif
