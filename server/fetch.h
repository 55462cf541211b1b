/*
 * fetch.h - the cells of a stored block that a GET asks for.
 */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include <stddef.h>
#include <stdint.h>

struct block_ref;

/*
 * Reads the block's header and cells [first, first + count), or up to the
 * last, into memory that the caller frees.  Blocks; the reference stays the
 * caller's.  0, -EINVAL (no such cells), -ENOMEM, or that of the damage.
 */
int	fetch_cells(struct block_ref *ref, unsigned first, unsigned count, uint8_t **ret_data, size_t *ret_len);

#endif
