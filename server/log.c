/*
 * log.c - see log.h.
 *
 * Entries are appended to memory, as chunks that each belong at one place of
 * one segment.  A flush swaps that tail for an empty one and writes the
 * chunks; a sync flushes, then syncs every dirty segment, and what had been
 * appended when it swapped is durable.  A block entry's bytes are written by
 * their owner straight into the file, beside the tail: the entry only makes
 * room for them, so nothing appended later waits for them.
 *
 * Locks, in this order: the caller's; sync_lock (one sync at a time);
 * write_lock (chunks are written in order); make_lock (one segment is made at a
 * time); lock (everything below it in the struct; no I/O inside).
 */
#include <config.h>

#include "server/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A tail this large is written by whoever appends, so that memory stays bounded. */
enum { TAIL_MAX = 16 * 1024 * 1024, TAIL_KEEP = 4 * 1024 * 1024 };

struct chunk {
	struct segment	*segment;
	uint32_t	 offset;
	uint32_t	 next;		/* where the entry after its last one goes: beyond a block's room */
	size_t		 at, len;	/* in the tail's data */
};

struct tail {
	uint8_t		*data;
	size_t		 len, size;
	struct chunk	*chunks;
	size_t		 count, room;
};

struct dropped {
	uint64_t	number;
	uint64_t	pos;		/* once this is synced */
};

/*
 * Invariants:
 *  1. segments are sorted by number; all but the last are sealed, and the last is until log_start().
 *  2. synced <= end; batch <= end, and what follows it are blocks and marks, which nobody waits for.
 *  3. A segment with a chunk in the tail, or bytes not synced, is dirty; a dirty or reserved one has its fd.
 *  4. A dropped segment is in no list, and only its number is left.
 */
struct log {
	struct disk	*disk;
	int		 dir;
	uint32_t	 segment_size;
	uint64_t	 seed;
	pthread_mutex_t	 sync_lock, write_lock, make_lock;
	struct tail	 writing;	/* under write_lock */
	int		 spare_fd;	/* under make_lock: the file of the next segment, or -1 */
	_Atomic uint64_t spare;		/* its number, or 0 */
	_Atomic uint64_t synced;
	_Atomic(const char *) failed;

	pthread_mutex_t	 lock;
	struct tail	 tail;
	struct segment	**segments;
	size_t		 count, room;
	uint64_t	 next_number;
	uint64_t	 end;
	uint64_t	 batch;		/* the last batch */
	struct dropped	*dropped;	/* files no longer needed, oldest first */
	size_t		 dropped_count, dropped_room;
	bool		 ahead;
	char		 why[160];
};

static void
lock_release(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *
lock_take(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

/* Holds a lock to the end of the enclosing block. */
#define WITH(lock, name) \
	pthread_mutex_t *name __attribute__((cleanup(lock_release), unused)) = lock_take(lock)

/* The invariants, but for what only a caller knows. */
__attribute__((unused)) static void
log_check(const struct log *log)
{
	for (size_t i = 0; i + 1 < log->count; i++) {
		assert(log->segments[i]->number < log->segments[i + 1]->number);
		assert(log->segments[i]->sealed);
	}
	for (size_t i = 0; i < log->count; i++) {
		const struct segment *s = log->segments[i];

		assert(s->fd >= 0 || (!s->dirty && s->reservations == 0));
		assert(s->written <= s->end || s->missing);
	}
	for (size_t i = 0; i < log->tail.count; i++)
		assert(log->tail.chunks[i].segment->dirty);
	assert(atomic_load(&log->synced) <= log->end && log->batch <= log->end);
}

static void
log_release(struct log **log)
{
#ifdef NUAGE_CHECKS
	log_check(*log);
#endif
	pthread_mutex_unlock(&(*log)->lock);
}

static struct log *
log_take(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	return log;
}

/* Holds the log's inner lock to the end of the enclosing block. */
#define HOLD(log) \
	struct log *held __attribute__((cleanup(log_release), unused)) = log_take(log)

static void
segment_free(struct segment *segment)
{
	if (segment == NULL)
		return;
	if (segment->fd >= 0)
		close(segment->fd);
	free(segment);
}

/* The array, grown if need be to hold one more; NULL, the old one untouched, if memory is short. */
static void *
grow(void *array, size_t count, size_t *room, size_t item)
{
	size_t want = *room == 0 ? 16 : 2 * *room;
	void *grown;

	if (count < *room)
		return array;
	grown = realloc(array, want * item);
	if (grown != NULL)
		*room = want;
	return grown;
}

int
log_new(struct disk *disk, int dir, uint32_t segment_size, uint64_t seed, struct log **ret_log)
{
	struct log *log = calloc(1, sizeof *log);

	if (log == NULL)
		return -ENOMEM;
	log->disk = disk;
	log->dir = dir;
	log->segment_size = segment_size;
	log->seed = seed;
	log->spare_fd = -1;
	log->next_number = 1;
	pthread_mutex_init(&log->sync_lock, NULL);
	pthread_mutex_init(&log->write_lock, NULL);
	pthread_mutex_init(&log->make_lock, NULL);
	pthread_mutex_init(&log->lock, NULL);
	*ret_log = log;
	return 0;
}

static void
tail_done(struct tail *tail)
{
	free(tail->data);
	free(tail->chunks);
}

void
log_free(struct log *log)
{
	if (log == NULL)
		return;
	for (size_t i = 0; i < log->count; i++)
		segment_free(log->segments[i]);
	free(log->segments);
	free(log->dropped);
	tail_done(&log->tail);
	tail_done(&log->writing);
	if (log->spare_fd >= 0)
		close(log->spare_fd);
	pthread_mutex_destroy(&log->sync_lock);
	pthread_mutex_destroy(&log->write_lock);
	pthread_mutex_destroy(&log->make_lock);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

void
log_fail(struct log *log, const char *what, int error)
{
	HOLD(log);

	if (atomic_load(&log->failed) != NULL)
		return;
	snprintf(log->why, sizeof log->why, "%s: %s", what, strerror(-error));
	atomic_store(&log->failed, log->why);
}

const char *
log_failed(struct log *log)
{
	return atomic_load(&log->failed);
}

int
log_add(struct log *log, struct segment *segment)
{
	HOLD(log);
	struct segment **segments = grow(log->segments, log->count, &log->room, sizeof(struct segment *));
	size_t at = log->count;

	if (segments == NULL)
		return -ENOMEM;
	log->segments = segments;
	for (; at > 0 && log->segments[at - 1]->number > segment->number; at--)
		log->segments[at] = log->segments[at - 1];
	log->segments[at] = segment;
	log->count++;
	if (segment->number >= log->next_number)
		log->next_number = segment->number + 1;
	return 0;
}

struct segment *
log_find(struct log *log, uint64_t number)
{
	size_t low = 0, high = log->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (log->segments[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < log->count && log->segments[low]->number == number ? log->segments[low] : NULL;
}

struct segment *const *
log_segments(struct log *log, size_t *ret_count)
{
	*ret_count = log->count;
	return log->segments;
}

struct segment *
log_current(struct log *log)
{
	return log->segments[log->count - 1];
}

/* Takes the number of a dropped file that may go, or 0. */
static uint64_t
dropped_take(struct log *log)
{
	HOLD(log);
	uint64_t number;

	if (log->dropped_count == 0 || log->dropped[0].pos > atomic_load(&log->synced))
		return 0;
	number = log->dropped[0].number;
	memmove(log->dropped, log->dropped + 1, --log->dropped_count * sizeof *log->dropped);
	return number;
}

/* Makes the next segment's file; make_lock is held. */
static int
spare_make(struct log *log)
{
	uint64_t number, old = dropped_take(log);
	char recycle[SEGMENT_NAME_MAX];
	int rc, fd;

	{
		HOLD(log);

		number = log->next_number++;
	}
	segment_name(old, recycle);
	rc = segment_make(log->disk, log->dir, number, log->segment_size, log->seed, old != 0 ? recycle : NULL, &fd);
	if (rc != 0)
		return rc;
	log->spare_fd = fd;
	atomic_store(&log->spare, number);
	return 0;
}

/* Appends a segment to the list, its file made ahead or now. */
static int
log_roll(struct log *log)
{
	struct segment *segment = calloc(1, sizeof *segment);
	int rc = 0;

	if (segment == NULL)
		return -ENOMEM;
	segment->fd = -1;
	{
		WITH(&log->make_lock, held);

		if (log->spare_fd < 0)
			rc = spare_make(log);
		if (rc == 0) {
			*segment = (struct segment){ .number = atomic_load(&log->spare), .fd = log->spare_fd,
				.size = log->segment_size, .end = SEGMENT_HEADER, .written = SEGMENT_HEADER };
			log->spare_fd = -1;
			atomic_store(&log->spare, 0);
		}
	}
	if (rc != 0 && rc != -ENOSPC && rc != -ENOMEM)
		log_fail(log, "making a log segment", rc);
	if (rc == 0 && log->count > 0) {
		HOLD(log);

		log_current(log)->sealed = true;
	}
	if (rc == 0)
		rc = log_add(log, segment);
	if (rc != 0)
		segment_free(segment);
	return rc;
}

int
log_start(struct log *log, uint64_t pos, uint32_t size)
{
	uint32_t usual = log->segment_size;
	int rc;

	log->end = log->batch = pos;
	atomic_store(&log->synced, pos);
	log->segment_size = size;
	rc = log_roll(log);
	log->segment_size = usual;
	return rc;
}

uint64_t
log_growth(struct log *log, uint64_t body_len)
{
	struct segment *current = log_current(log);

	if (!current->sealed && entry_size(body_len) <= current->size - current->end)
		return 0;
	if (atomic_load(&log->spare) != 0 || log_dropped(log) > 0)
		return 0;
	return log->segment_size;
}

uint64_t
log_ready(struct log *log)
{
	struct segment *current = log_current(log);

	return (current->sealed ? 0 : current->size - current->end) +
	    ((atomic_load(&log->spare) != 0) + (uint64_t)log_dropped(log)) * log->segment_size;
}

int
log_room(struct log *log, uint64_t body_len)
{
	struct segment *current = log_current(log);

	if (entry_size(body_len) > log->segment_size - SEGMENT_HEADER)
		return -E2BIG;
	if (atomic_load(&log->failed) != NULL)
		return -EIO;
	if (!current->sealed && entry_size(body_len) <= current->size - current->end)
		return 0;
	return log_roll(log);
}

static int
tail_reserve(struct tail *tail, size_t len)
{
	size_t size = tail->size == 0 ? 65536 : tail->size;
	struct chunk *chunks;
	uint8_t *data;

	while (size < tail->len + len)
		size *= 2;
	if (size != tail->size) {
		data = realloc(tail->data, size);
		if (data == NULL)
			return -ENOMEM;
		tail->data = data;
		tail->size = size;
	}
	chunks = grow(tail->chunks, tail->count, &tail->room, sizeof *chunks);
	if (chunks == NULL)
		return -ENOMEM;
	tail->chunks = chunks;
	return 0;
}

/* Room in the tail for `len` bytes at the end of the current segment, as part of the last chunk if they adjoin. */
static uint8_t *
tail_extend(struct tail *tail, struct segment *segment, size_t len)
{
	struct chunk *last = tail->count > 0 ? &tail->chunks[tail->count - 1] : NULL;
	uint8_t *at = tail->data + tail->len;

	if (last != NULL && last->segment == segment && last->offset + last->len == segment->end)
		last->len += len;
	else
		tail->chunks[tail->count++] = (struct chunk){ segment, segment->end, 0, tail->len, len };
	tail->len += len;
	return at;
}

/* The segments to sync, no longer dirty: a NULL-terminated list to be freed, or NULL.  The lock is held. */
static struct segment **
dirty_take(struct log *log)
{
	struct segment **list = malloc((log->count + 1) * sizeof(struct segment *));
	size_t n = 0;

	for (size_t i = 0; list != NULL && i < log->count; i++) {
		if (!log->segments[i]->dirty)
			continue;
		log->segments[i]->dirty = false;
		list[n++] = log->segments[i];
	}
	if (list != NULL)
		list[n] = NULL;
	return list;
}

/*
 * Swaps the tail for an empty one and writes it; write_lock is held.  For a sync, also takes what is dirty
 * at that moment, and the position: neither may include anything appended later.
 */
static int
log_flush(struct log *log, struct segment ***ret_dirty, uint64_t *ret_end)
{
	struct tail *t = &log->writing, swap;
	int rc = 0;

	if (log_failed(log) != NULL)
		return -EIO;	/* what it did not write is gone */
	{
		HOLD(log);

		if (ret_dirty != NULL) {
			*ret_dirty = dirty_take(log);
			if (*ret_dirty == NULL)
				return -ENOMEM;
			*ret_end = log->end;
		}
		swap = log->tail;
		log->tail = *t;
		*t = swap;
	}
	for (size_t i = 0; i < t->count && rc == 0; i++) {
		struct chunk *c = &t->chunks[i];

		rc = log->disk->write(log->disk, c->segment->fd, t->data + c->at, c->len, c->offset);
		if (rc == 0)
			atomic_store(&c->segment->written, c->next);
	}
	t->len = t->count = 0;
	if (t->size > TAIL_KEEP) {
		free(t->data);
		t->data = NULL;
		t->size = 0;
	}
	if (rc != 0)
		log_fail(log, "writing the log", rc);
	return rc;
}

int
log_append(struct log *log, enum entry_type type, struct bytes body, uint32_t block_len, uint32_t *ret_offset)
{
	struct entry e = { .type = type, .len = (uint32_t)body.len + block_len };
	size_t size = entry_size(e.len), held_len = block_len > 0 ? ENTRY_HEADER + body.len : size;
	struct segment *current = log_current(log);
	bool full;

	assert(size <= current->size - current->end && (type == ENTRY_BLOCK) == (block_len > 0));
	{
		HOLD(log);
		int rc = tail_reserve(&log->tail, held_len);
		uint8_t *at;

		if (rc != 0)
			return rc;
		e.pos = ++log->end;
		if (type == ENTRY_BATCH)
			log->batch = e.pos;
		e.synced = atomic_load(&log->synced);
		at = tail_extend(&log->tail, current, held_len);
		if (body.len > 0)
			memcpy(at + ENTRY_HEADER, body.data, body.len);
		memset(at + ENTRY_HEADER + body.len, 0, held_len - ENTRY_HEADER - body.len);
		entry_seal(at, body.len, &e, log->seed, current->number);
		*ret_offset = current->end + ENTRY_HEADER;
		current->end += (uint32_t)size;
		log->tail.chunks[log->tail.count - 1].next = current->end;
		current->dirty = true;
		if (block_len > 0)
			current->reservations++;
		full = log->tail.len > TAIL_MAX;
	}
	if (full) {
		WITH(&log->write_lock, held);

		log_flush(log, NULL, NULL);	/* its failure is the log's, and found by the next call */
	}
	return 0;
}

int
log_write(struct log *log, struct segment *segment, uint32_t offset, const uint8_t *data, uint32_t len)
{
	int rc = log->disk->write(log->disk, segment->fd, data, len, offset);

	if (rc == 0)
		return 0;
	log_fail(log, "writing a block", rc);
	return -EIO;
}

void
log_written(struct log *log, struct segment *segment)
{
	HOLD(log);

	assert(segment->reservations > 0);
	segment->reservations--;
	segment->dirty = true;
}

int
log_read(struct log *log, struct segment *segment, uint32_t offset, uint32_t len, uint8_t *to, int *fd)
{
	char name[SEGMENT_NAME_MAX];

	if (offset + (uint64_t)len > atomic_load(&segment->written)) {
		WITH(&log->write_lock, held);
		int rc = log_flush(log, NULL, NULL);

		if (rc != 0)
			return rc;
	}
	if (*fd < 0) {
		segment_name(segment->number, name);
		*fd = openat(log->dir, name, O_RDONLY | O_CLOEXEC);
		if (*fd < 0)
			return -errno;
	}
	while (len > 0) {
		ssize_t n = pread(*fd, to, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		to += n;
		offset += (uint32_t)n;
		len -= (uint32_t)n;
	}
	return 0;
}

uint64_t
log_end(const struct log *log)
{
	return log->batch;
}

uint64_t
log_last(const struct log *log)
{
	return log->end;
}

uint64_t
log_synced(const struct log *log)
{
	return atomic_load(&log->synced);
}

void
log_set_ahead(struct log *log, bool wanted)
{
	HOLD(log);

	log->ahead = wanted;
}

/* Closes what will not be written again. */
static void
dirty_release(struct log *log, struct segment **list)
{
	HOLD(log);

	for (; *list != NULL; list++) {
		if (!(*list)->sealed || (*list)->dirty || (*list)->reservations > 0)
			continue;
		close((*list)->fd);
		(*list)->fd = -1;
	}
}

/* Keeps one segment made ahead, out of dropped ones if there are; removes the rest. */
static void
log_tidy(struct log *log)
{
	char name[SEGMENT_NAME_MAX];
	uint64_t number;
	bool wanted;
	int rc = 0;

	{
		HOLD(log);

		wanted = log->ahead && log_current(log)->end > log_current(log)->size / 4;
	}
	if (wanted && atomic_load(&log->spare) == 0) {
		WITH(&log->make_lock, held);

		if (log->spare_fd < 0)
			rc = spare_make(log);
	}
	if (rc != 0 && rc != -ENOSPC && rc != -ENOMEM)
		log_fail(log, "making a log segment", rc);
	while ((number = dropped_take(log)) != 0) {
		segment_name(number, name);
		unlinkat(log->dir, name, 0);	/* left over, it is found and dropped at the next start */
	}
}

int
log_sync(struct log *log, uint64_t *ret_synced)
{
	WITH(&log->sync_lock, held);
	struct segment **dirty = NULL;
	uint64_t end;
	int rc;

	if (log_failed(log) != NULL)
		return -EIO;
	{
		WITH(&log->write_lock, no_other_writes);

		rc = log_flush(log, &dirty, &end);
	}
	for (struct segment **s = dirty; rc == 0 && *s != NULL; s++) {
		rc = log->disk->sync(log->disk, (*s)->fd);
		if (rc != 0)
			log_fail(log, "syncing the log", rc);
	}
	if (rc == 0) {
		atomic_store(&log->synced, end);
		dirty_release(log, dirty);
		log_tidy(log);
		*ret_synced = end;
	}
	free(dirty);
	return rc == 0 || rc == -ENOMEM ? rc : -EIO;
}

void
log_drop(struct log *log, struct segment *segment)
{
	WITH(&log->sync_lock, no_sync_sees_it);
	HOLD(log);
	struct dropped *dropped;
	size_t at = 0;

	assert(segment->sealed && !segment->dirty && segment->reservations == 0 && segment->refs == 0);
	dropped = grow(log->dropped, log->dropped_count, &log->dropped_room, sizeof *dropped);
	if (dropped == NULL)
		return;		/* it stays and may be dropped another time */
	log->dropped = dropped;
	if (!segment->missing)
		log->dropped[log->dropped_count++] = (struct dropped){ segment->number, log->end };
	while (log->segments[at] != segment)
		at++;
	log->count--;
	memmove(&log->segments[at], &log->segments[at + 1], (log->count - at) * sizeof(struct segment *));
	segment_free(segment);
}

size_t
log_dropped(struct log *log)
{
	HOLD(log);

	return log->dropped_count;
}

int
log_seal(struct log *log)
{
	struct segment *current = log_current(log);
	char name[SEGMENT_NAME_MAX];

	{
		HOLD(log);

		current->sealed = true;
	}
	if (log->spare_fd >= 0) {
		segment_name(atomic_load(&log->spare), name);
		unlinkat(log->dir, name, 0);
	}
	return current->fd >= 0 && ftruncate(current->fd, current->end) != 0 ? -errno : 0;
}
