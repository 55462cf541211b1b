/*
 * kv.c - see kv.h.  The one file that knows LMDB.
 *
 *	value		XXH3-64 u64 big-endian, over the value with that of the key as its seed
 *			value bytes
 *
 * LMDB tells nobody how many pages a transaction has dirtied, so the pages
 * are counted by the addresses of what was put or deleted in them: a bitmap
 * over hashed page numbers, whose set bits estimate the distinct ones.
 */
#include "server/kv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { SUM_SIZE = 8, PAGE_SHIFT = 12, TOUCHED_BITS = 1 << 18, MAP_LEAST = 1 << 28 };

/*
 * Invariants:
 *  1. txn is NULL exactly when broken.
 *  2. dirty_pages counts the bits set in touched, and the overflow pages.
 */
struct kv {
	MDB_env		*env;
	MDB_txn		*txn;
	MDB_dbi		 dbi;
	bool		 broken;
	uint64_t	 map_size;
	uint64_t	 dirty_pages;
	uint64_t	 free_pages;	/* on LMDB's free list, as of the last commit */
	uint64_t	*touched;	/* TOUCHED_BITS */
};

static int
kv_errno(int rc)
{
	if (rc == 0)
		return 0;
	if (rc > 0)
		return -rc;
	switch (rc) {
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

/* An LMDB failure inside a transaction poisons it. */
static int
kv_failed(struct kv *kv, int rc)
{
	if (rc == 0)
		return 0;
	if (rc != MDB_NOTFOUND) {
		kv->broken = true;
		if (kv->txn != NULL)
			mdb_txn_abort(kv->txn);
		kv->txn = NULL;
	}
	return kv_errno(rc);
}

static MDB_val
kv_val(struct bytes b)
{
	return (MDB_val){ .mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data };
}

uint64_t
kv_sum(struct bytes key, struct bytes value)
{
	return XXH3_64bits_withSeed(value.data, value.len, XXH3_64bits(key.data, key.len));
}

/* Counts the page that holds these bytes as dirty. */
static void
kv_touch(struct kv *kv, const void *at, size_t len)
{
	uint64_t page = (uintptr_t)at >> PAGE_SHIFT;
	uint64_t bit = page * UINT64_C(0x9e3779b97f4a7c15) >> 46;
	uint64_t *word = &kv->touched[bit / 64], mask = UINT64_C(1) << bit % 64;

	if ((*word & mask) == 0)
		kv->dirty_pages++;
	*word |= mask;
	kv->dirty_pages += len >> PAGE_SHIFT;
}

/*
 * LMDB's free list is the database 0, which only a reader may open: for each
 * transaction that freed pages a list of their numbers, its length first.
 */
static int
count_free(struct kv *kv)
{
	MDB_txn *txn;
	MDB_cursor *cursor = NULL;
	MDB_val k, v;
	int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	kv->free_pages = 0;
	rc = mdb_cursor_open(txn, 0, &cursor);
	while (rc == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		size_t count = 0;

		if (v.mv_size >= sizeof count)
			memcpy(&count, v.mv_data, sizeof count);
		kv->free_pages += count;
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
kv_begin(struct kv *kv)
{
	int rc = count_free(kv);

	memset(kv->touched, 0, TOUCHED_BITS / 8);
	kv->dirty_pages = 0;
	return kv_failed(kv, rc != 0 ? rc : mdb_txn_begin(kv->env, NULL, 0, &kv->txn));
}

static int
env_open(struct kv *kv, const char *path)
{
	int rc = kv_errno(mdb_env_create(&kv->env));

	if (rc == 0)
		rc = kv_errno(mdb_env_set_mapsize(kv->env, kv->map_size));
	/* Our own lock keeps other processes out, and there are no readers but the writer. */
	if (rc == 0)
		rc = kv_errno(mdb_env_open(kv->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0600));
	return rc;
}

/*
 * Opens the environment and its first transaction.  Where so much address
 * space is not to be had (a limit on the process, a crowded address space),
 * less of it will do: LMDB maps no less than the file in any case.
 */
static int
kv_start(struct kv *kv, const char *path, uint64_t map_size)
{
	MDB_envinfo info;
	int rc;

	kv->map_size = map_size;
	while ((rc = env_open(kv, path)) == -ENOMEM && kv->map_size / 2 >= MAP_LEAST) {
		mdb_env_close(kv->env);
		kv->env = NULL;
		kv->map_size /= 2;
	}
	if (rc != 0)
		return rc;
	mdb_env_info(kv->env, &info);
	kv->map_size = info.me_mapsize;
	rc = kv_begin(kv);
	if (rc != 0)
		return rc;
	return kv_failed(kv, mdb_dbi_open(kv->txn, NULL, 0, &kv->dbi));
}

static struct kv *
kv_new(void)
{
	struct kv *kv = calloc(1, sizeof *kv);

	if (kv == NULL)
		return NULL;
	kv->touched = calloc(TOUCHED_BITS / 64, sizeof *kv->touched);
	if (kv->touched != NULL)
		return kv;
	free(kv);
	return NULL;
}

int
kv_open(const char *path, uint64_t map_size, struct kv **ret_kv)
{
	struct kv *kv = kv_new();
	int rc = kv == NULL ? -ENOMEM : kv_start(kv, path, map_size);

	if (rc == 0)
		*ret_kv = kv;
	else
		kv_free(kv);
	return rc;
}

/* The file is made under another name, and given its own once it is whole. */
int
kv_create(const char *path, uint64_t map_size, struct bytes key, struct bytes value, struct kv **ret_kv)
{
	char temporary[PATH_MAX];
	struct kv *kv;
	int rc;

	if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
		return -ENAMETOOLONG;
	if (unlink(temporary) != 0 && errno != ENOENT)
		return -errno;
	rc = kv_open(temporary, map_size, &kv);
	if (rc != 0)
		return rc;
	rc = kv_put(kv, key, value);
	if (rc == 0)
		rc = kv_commit(kv);
	if (rc == 0 && rename(temporary, path) != 0)
		rc = -errno;
	if (rc == 0)
		*ret_kv = kv;
	else
		kv_free(kv);
	return rc;
}

void
kv_free(struct kv *kv)
{
	if (kv == NULL)
		return;
	if (kv->txn != NULL)
		mdb_txn_abort(kv->txn);
	if (kv->env != NULL)
		mdb_env_close(kv->env);
	free(kv->touched);
	free(kv);
}

/* Splits a stored value from its checksum, verified. */
static int
kv_verify(struct bytes key, const MDB_val *stored, struct bytes *ret_value)
{
	struct cursor c = cursor_read(stored->mv_data, stored->mv_size);
	uint64_t sum = cursor_get_u64(&c);
	struct bytes value = cursor_get_bytes(&c, cursor_left(&c));

	if (!cursor_ok(&c) || sum != kv_sum(key, value))
		return -EBADMSG;
	*ret_value = value;
	return 0;
}

int
kv_get(struct kv *kv, struct bytes key, struct bytes *ret_value)
{
	MDB_val k = kv_val(key), v;
	int rc;

	if (kv->broken)
		return -EIO;
	rc = kv_failed(kv, mdb_get(kv->txn, kv->dbi, &k, &v));
	return rc != 0 ? rc : kv_verify(key, &v, ret_value);
}

static bool
val_after(const MDB_val *v, struct bytes key)
{
	int order = memcmp(v->mv_data, key.data, v->mv_size < key.len ? v->mv_size : key.len);

	return order > 0 || (order == 0 && v->mv_size > key.len);
}

int
kv_scan(struct kv *kv, struct bytes from, struct bytes to, kv_visit *visit, void *arg)
{
	MDB_cursor *cursor;
	MDB_val k = kv_val(from), v;
	int rc;

	if (kv->broken)
		return -EIO;
	rc = kv_failed(kv, mdb_cursor_open(kv->txn, kv->dbi, &cursor));
	if (rc != 0)
		return rc;
	for (MDB_cursor_op op = MDB_SET_RANGE;; op = MDB_NEXT) {
		struct bytes key, value = { NULL, 0 };

		rc = mdb_cursor_get(cursor, &k, &v, op);
		if (rc != 0 || val_after(&k, to)) {
			mdb_cursor_close(cursor);
			return rc == MDB_NOTFOUND ? 0 : kv_failed(kv, rc);
		}
		key = (struct bytes){ k.mv_data, k.mv_size };
		rc = kv_verify(key, &v, &value);
		if (rc == 0)
			rc = visit(arg, key, value);
		else
			visit(arg, key, value);
		if (rc != 0)
			break;
	}
	mdb_cursor_close(cursor);
	return rc;
}

int
kv_put(struct kv *kv, struct bytes key, struct bytes value)
{
	MDB_val k = kv_val(key), v = { .mv_size = SUM_SIZE + value.len };
	struct cursor c;
	int rc;

	assert(key.len >= 1 && key.len <= KV_KEY_MAX && value.len <= KV_VALUE_MAX);
	if (kv->broken)
		return -EIO;
	rc = kv_failed(kv, mdb_put(kv->txn, kv->dbi, &k, &v, MDB_RESERVE));
	if (rc != 0)
		return rc;
	kv_touch(kv, v.mv_data, v.mv_size);
	c = cursor_over(v.mv_data, v.mv_size);
	cursor_put_u64(&c, kv_sum(key, value));
	cursor_put(&c, value.data, value.len);
	assert(cursor_done(&c));
	return 0;
}

int
kv_delete(struct kv *kv, struct bytes key)
{
	return kv_delete_range(kv, key, key);
}

int
kv_delete_range(struct kv *kv, struct bytes from, struct bytes to)
{
	MDB_cursor *cursor;
	MDB_val k = kv_val(from), v;
	bool found = false;
	int rc;

	if (kv->broken)
		return -EIO;
	rc = kv_failed(kv, mdb_cursor_open(kv->txn, kv->dbi, &cursor));
	if (rc != 0)
		return rc;
	for (MDB_cursor_op op = MDB_SET_RANGE;; op = MDB_NEXT) {
		rc = mdb_cursor_get(cursor, &k, &v, op);
		if (rc != 0 || val_after(&k, to))
			break;
		found = true;
		kv_touch(kv, v.mv_data, 0);
		rc = mdb_cursor_del(cursor, 0);
		if (rc != 0)
			break;
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return kv_failed(kv, rc);
	return found ? 0 : -ENOENT;
}

int
kv_commit(struct kv *kv)
{
	MDB_txn *txn = kv->txn;
	int rc;

	if (kv->broken)
		return -EIO;
	kv->txn = NULL;		/* gone, whatever comes back */
	rc = kv_failed(kv, mdb_txn_commit(txn));
	return rc != 0 ? rc : kv_begin(kv);
}

uint64_t
kv_dirty_bytes(const struct kv *kv)
{
	return kv->dirty_pages << PAGE_SHIFT;
}

uint64_t
kv_size_bytes(const struct kv *kv)
{
	MDB_envinfo info;
	MDB_stat stat;

	if (mdb_env_info(kv->env, &info) != 0 || mdb_env_stat(kv->env, &stat) != 0)
		return 0;
	return (info.me_last_pgno + 1) * stat.ms_psize;
}

uint64_t
kv_map_bytes(const struct kv *kv)
{
	return kv->map_size;
}

uint64_t
kv_free_bytes(const struct kv *kv)
{
	return kv->free_pages << PAGE_SHIFT;
}
