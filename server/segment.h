/*
 * segment.h - one file of the log: its format, how it is made and read.
 *
 * A segment is a preallocated file of entries.  This room knows bytes and
 * files; what entries mean, when they are durable and which segments are
 * needed is the log's and the store's business.  No locks; every function
 * blocks but the inline ones.  Errors: 0 or a negative errno.
 */
#ifndef SERVER_SEGMENT_H
#define SERVER_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/cursor.h"
#include "server/disk.h"

enum {
	SEGMENT_SIZE	= 64 * 1024 * 1024,	/* unless configured, or the store is small */
	SEGMENT_SIZE_SMALL = 16 * 1024 * 1024,	/* takes the largest batch */
	SEGMENT_SIZE_MIN = 64 * 1024,
	SEGMENT_HEADER	= 64,
	ENTRY_HEADER	= 40,
	ENTRY_ALIGN	= 8,
	SEGMENT_NAME_MAX = 32,
};

enum entry_type {
	ENTRY_BATCH = 1,	/* the body is a batch, checksummed with the header */
	ENTRY_BLOCK = 2,	/* the body is a block's id, checksummed, and room for its bytes, which are not */
	ENTRY_MARK = 3,		/* no body: only says what is synced */
};

struct entry {
	enum entry_type	type;
	uint32_t	len;		/* of the body */
	uint64_t	pos;		/* one more than that of the entry before */
	uint64_t	synced;		/* what was known to be durable when this was written */
};

/* See log.c for who guards what. */
struct segment {
	uint64_t	number;
	uint32_t	size;		/* of the file as made; never beyond it */
	uint32_t	end;		/* where the next entry goes */
	int		fd;		/* for writing, or -1 */
	bool		sealed;		/* takes no more entries */
	atomic_bool	dirty;		/* written or to be written since its last sync */
	bool		stuck;		/* compaction could not empty it */
	bool		missing;	/* referred to, but there is no file */
	bool		changed;	/* live differs from what the record store has */
	unsigned	reservations;	/* blocks being written into it */
	uint64_t	live;		/* bytes of the blocks in it */
	uint64_t	waste;		/* bytes that died in it: blocks freed, records; found at the start, all but live */
	atomic_uint	written;	/* entries below this are in the file */
	atomic_uint	refs;		/* readers */
};

/* The bytes an entry takes. */
static inline uint64_t
entry_size(uint64_t body_len)
{
	return (ENTRY_HEADER + body_len + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN;
}

void	segment_name(uint64_t number, char ret_name[SEGMENT_NAME_MAX]);
/* True and the number if this is a segment's file name. */
bool	segment_name_parse(const char *name, uint64_t *ret_number);

/*
 * Makes the file `log.<number>`, durable, and opens it; `recycle`, if not NULL, is a file to be used up
 * for it.  -ENOSPC leaves nothing behind.
 */
int	segment_make(struct disk *disk, int dir, uint64_t number, uint32_t size, uint64_t seed, const char *recycle,
	    int *ret_fd);
/*
 * Opens for reading and verifies the header: -EBADMSG if it is not that of this segment.  The size is what
 * there is of the file.
 */
int	segment_open(int dir, uint64_t number, uint64_t seed, uint32_t *ret_size, int *ret_fd);

/*
 * Writes the header of an entry at `at`, whose checked body bytes follow it there: all of it, or the id.
 * `seed` and `number` tie it to its store and segment.
 */
void	entry_seal(uint8_t *at, size_t checked_len, const struct entry *e, uint64_t seed, uint64_t number);

/* The checksum of a block's bytes: XXH3-64. */
uint64_t block_sum(struct bytes data);

/* Reads a segment's entries through a window.  Zero but for the first four fields to begin. */
struct segment_reader {
	int		 fd;		/* the caller's */
	uint64_t	 seed, number;
	uint32_t	 size;
	uint8_t		*window;
	uint64_t	 window_at;
	size_t		 window_len, window_size;
};

void	segment_reader_done(struct segment_reader *r);
/*
 * The entry at an offset: 1, with its checked body (borrowed until the next call), or 0 if there is no
 * valid one, or an error.
 */
int	segment_read(struct segment_reader *r, uint64_t offset, struct entry *ret_entry, struct bytes *ret_body);
/* The first valid entry at or after an offset: 1 with its offset, 0 if there is none, or an error. */
int	segment_seek(struct segment_reader *r, uint64_t offset, struct entry *ret_entry, uint64_t *ret_offset);

#endif
