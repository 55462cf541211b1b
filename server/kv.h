/*
 * kv.h - the record store: an ordered map in one LMDB file.
 *
 * One write transaction is open all the time and all reads go through it;
 * kv_commit() makes it durable and opens the next.  What was changed since
 * then is lost at a crash: the log has it.  Each value carries an XXH3-64
 * over key and value, verified by every read.
 *
 * Not thread-safe: the caller's lock.  Errors: 0 or a negative errno, never
 * an LMDB code; -EBADMSG is a damaged value, and the others but -ENOENT mean
 * that the transaction is lost, and everything is -EIO from then on.
 */
#ifndef SERVER_KV_H
#define SERVER_KV_H

#include <stdbool.h>

#include "proto/cursor.h"

struct kv;

enum { KV_KEY_MAX = 128, KV_VALUE_MAX = 8192 };

typedef int kv_visit(void *arg, struct bytes key, struct bytes value);

/*
 * Opens the file, which must have passed kvcheck().  The map is address space
 * only: the file's ceiling.  It is smaller where that much is not to be had.
 */
int	kv_open(const char *path, uint64_t map_size, struct kv **ret_kv);
/* Makes the file, with one record in it: it is there whole, or not at all.  The directory is not synced. */
int	kv_create(const char *path, uint64_t map_size, struct bytes key, struct bytes value, struct kv **ret_kv);
/* Drops what is not committed.  NULL is accepted. */
void	kv_free(struct kv *kv);

/* Values are borrowed until the next change. */
int	kv_get(struct kv *kv, struct bytes key, struct bytes *ret_value);
/*
 * Visits from <= key <= to in memcmp order; ends with what the visitor returns if not 0.  The visitor may
 * get, not change.  A damaged value ends it with -EBADMSG and its key is visited with no data (NULL).
 */
int	kv_scan(struct kv *kv, struct bytes from, struct bytes to, kv_visit *visit, void *arg);
int	kv_put(struct kv *kv, struct bytes key, struct bytes value);
int	kv_delete(struct kv *kv, struct bytes key);	/* -ENOENT changes nothing */
int	kv_delete_range(struct kv *kv, struct bytes from, struct bytes to);
/* Durable when it returns 0. */
int	kv_commit(struct kv *kv);

/* About how much a commit would write. */
uint64_t kv_dirty_bytes(const struct kv *kv);
/* The file's ceiling, as it became. */
uint64_t kv_map_bytes(const struct kv *kv);
/* The size of the file, as of the last commit; and what is free in it, for values to come. */
uint64_t kv_size_bytes(const struct kv *kv);
uint64_t kv_free_bytes(const struct kv *kv);

/* The checksum that is stored in front of each value. */
uint64_t kv_sum(struct bytes key, struct bytes value);

#endif
