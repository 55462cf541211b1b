/*
 * log.h - the log: segments in order, entries appended to memory and written
 * and synced in groups.
 *
 * LOCKED calls are made under the store's caller's lock, one at a time;
 * UNLOCKED ones from any thread, at best without it.  Positions count
 * entries: 1, 2, 3 and so on.  A failed write or sync fails the log for
 * good.
 */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include "server/segment.h"

struct log;

/* An empty log over a directory (the descriptor is borrowed), at a position. */
int	log_new(struct disk *disk, int dir, uint32_t segment_size, uint64_t seed, struct log **ret_log);
/* Forgets what is not written.  NULL is accepted. */
void	log_free(struct log *log);

/* LOCKED.  Adds a segment that was found, in order of number; `segment` is then the log's. */
int	log_add(struct log *log, struct segment *segment);
/* LOCKED.  Starts appending after `pos`, in a new segment of `size` bytes; those after it have the log's size. */
int	log_start(struct log *log, uint64_t pos, uint32_t size);

/* LOCKED.  By number, or NULL. */
struct segment *log_find(struct log *log, uint64_t number);
/* LOCKED.  All of them, in order; valid until a segment is made or dropped. */
struct segment *const *log_segments(struct log *log, size_t *ret_count);
struct segment *log_current(struct log *log);

/* LOCKED.  What log_room() would take from the disk: the size of a new segment, or 0. */
uint64_t log_growth(struct log *log, uint64_t body_len);
/* LOCKED.  Bytes, with their heads, for which nothing more is taken from it. */
uint64_t log_ready(struct log *log);
/* LOCKED.  Makes sure that an entry fits the current segment; may make a segment.  -E2BIG, -ENOSPC or failure. */
int	log_room(struct log *log, uint64_t body_len);
/*
 * LOCKED, after log_room().  Appends an entry: `body` is a batch, nothing (a mark), or a block's id with
 * room for `block_len` bytes after it.  Returns where the body is.  -ENOMEM changes nothing.
 */
int	log_append(struct log *log, enum entry_type type, struct bytes body, uint32_t block_len, uint32_t *ret_offset);
/* UNLOCKED.  Writes into the room of a block entry, reserved and not yet finished. */
int	log_write(struct log *log, struct segment *segment, uint32_t offset, const uint8_t *data, uint32_t len);
/* LOCKED.  The write above is over; the next sync covers it. */
void	log_written(struct log *log, struct segment *segment);
/* UNLOCKED.  Reads bytes of a segment that is referenced; `fd` is -1, or was set by an earlier call. */
int	log_read(struct log *log, struct segment *segment, uint32_t offset, uint32_t len, uint8_t *to, int *fd);

/* LOCKED.  The position of the last batch, which somebody may wait for; and of the last entry. */
uint64_t log_end(const struct log *log);
uint64_t log_last(const struct log *log);
/* UNLOCKED */
uint64_t log_synced(const struct log *log);
/* UNLOCKED.  Makes everything appended so far durable, makes a spare segment, and removes dropped ones. */
int	log_sync(struct log *log, uint64_t *ret_synced);
/* LOCKED.  Whether there is space for log_sync() to make a spare segment ahead of need. */
void	log_set_ahead(struct log *log, bool wanted);
/*
 * LOCKED.  Forgets a sealed, unreferenced, synced segment.  Its file is reused or removed once all that has
 * been appended is durable: append a mark before, so that the log itself says that the entries in it were
 * synced, and a record store that went back to an older state is found out.
 */
void	log_drop(struct log *log, struct segment *segment);
/* LOCKED.  Files that log_drop() has left so far. */
size_t	log_dropped(struct log *log);
/* LOCKED, after a sync and with none to follow.  Cuts the current segment to what is in it and takes no more. */
int	log_seal(struct log *log);

/* UNLOCKED.  Fails the log: the first reason stays.  NULL, or that reason. */
void	log_fail(struct log *log, const char *what, int error);
const char *log_failed(struct log *log);

#endif
