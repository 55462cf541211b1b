/*
 * blockfile.h - the files of the cache on disk, one a run of a block's cells.
 *
 *	XX/YYYY.F-L	cells F to L (hex digits) of the block whose id is XXYYYY in hex:
 *			its header, then the cells, as BLOCK carries them
 *	new		what is being written, by the one thread that writes
 *
 * Nothing is synced: after a crash of the machine a file may be empty or torn,
 * and then its length, or a seal, tells.  `dir` is the cache's directory.
 */
#ifndef FS_BLOCKFILE_H
#define FS_BLOCKFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/buffer.h"
#include "proto/seal.h"

struct blockfile {
	uint8_t		 id[ID_SIZE];
	uint8_t		 first, count;		/* cells */
};

/* Writes and renames: 0 or -errno, and then there is nothing. */
int	blockfile_write(int dir, const struct blockfile *f, struct bytes payload);
/*
 * Cells [first, first + count), which it has, sealed, into a new buffer, and
 * the header.  -EBADMSG: it is damaged; or another -errno.  `stamp`: its time
 * becomes now.
 */
int	blockfile_read(int dir, const struct blockfile *f, unsigned first, unsigned count, bool stamp,
	    struct block_header *h, struct buffer **ret);
void	blockfile_remove(int dir, const struct blockfile *f);
/*
 * Calls each() for all there are until it returns false, with size and time;
 * removes what a killed mount was writing, and what cannot be whole.
 */
void	blockfile_each(int dir, bool (*each)(void *context, const struct blockfile *f, uint64_t size, int64_t used_s),
	    void *context);

#endif
