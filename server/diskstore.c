/*
 * diskstore.c - see diskstore.h.  Ties the log and the ledger together.
 *
 * A batch is appended to the log's memory and applied to the ledger at once;
 * a sync makes the log durable, a checkpoint the ledger.  A checkpoint first
 * syncs the log, for the committed index must not point at blocks that are
 * not there; afterwards segments without live blocks are dropped.
 *
 * Everybody waits for a checkpoint, so it is to be short.  One is due long
 * before it must be: whoever has the time syncs the log first, without the
 * lock, and how much may be dirty then follows from how long it took.
 *
 * All calls are under the engine's lock but those that store.h marks, which
 * touch only the log (it has its own locks) and what their ticket or
 * reference holds.
 */
#include "server/diskstore.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "server/diskstore_room.h"
#include "server/recovery.h"

enum {
	PAUSE_MS	= 20,			/* what a checkpoint should take at most */
	DIRTY_MIN	= 4 * 1024 * 1024,
};

struct disk_ref {
	struct block_ref	 ref;
	struct segment		*segment;
	struct block_place	 place;
	int			 fd;
};

struct disk_ticket {
	struct block_ticket	 ticket;
	struct segment		*segment;
	uint8_t			 id[ID_SIZE];
	struct block_place	 place;
};

void
diskstore_config_init(struct diskstore_config *config)
{
	*config = (struct diskstore_config){
		.map_size = sizeof(void *) > 4 ? UINT64_C(1) << 40 : UINT64_C(1) << 30,
		.dirty_max = UINT64_C(64) << 20,
		.log_max = UINT64_C(1) << 30,
		.disk = disk_system(),
	};
}

static bool
segment_dead(const struct segment *segment)
{
	return segment->sealed && segment->live == 0 && segment->reservations == 0 && segment->refs == 0 &&
	    !segment->dirty;
}

/* Drops the segments that hold nothing any more.  After a checkpoint. */
static int
drop_dead(struct diskstore *d)
{
	struct segment *const *segments;
	size_t count;
	uint32_t offset;
	bool marked = false;
	int rc = 0;

	segments = log_segments(d->log, &count);
	for (size_t i = count; rc == 0 && i > 0; i--) {
		if (!segment_dead(segments[i - 1]))
			continue;
		/* Before the first, a mark that says up to where the log had been synced. */
		if (!marked) {
			rc = log_room(d->log, 0);
			if (rc == 0)
				rc = log_append(d->log, ENTRY_MARK, (struct bytes){ NULL, 0 }, 0, &offset);
			if (rc != 0)
				return rc == -ENOSPC || rc == -ENOMEM ? 0 : rc;
			segments = log_segments(d->log, &count);
			marked = true;
		}
		rc = ledger_forget(&d->ledger, segments[i - 1]->number);
		if (rc == 0)
			log_drop(d->log, segments[i - 1]);
		d->cramped = false;
	}
	return rc;
}

static uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

/* A checkpoint of so many bytes took so long.  One of few bytes tells nothing of the disk but its latency. */
static void
dirty_learn(struct diskstore *d, uint64_t dirty, uint64_t took_ms)
{
	if (dirty < d->dirty_due / 2)
		return;
	if (took_ms > PAUSE_MS && d->dirty_due > DIRTY_MIN)
		d->dirty_due /= 2;
	else if (took_ms < PAUSE_MS / 2 && d->dirty_due < d->config.dirty_max / 2)
		d->dirty_due *= 2;
}

static int
disk_checkpoint(struct store *s)
{
	struct diskstore *d = diskstore_of(s);
	struct checkpoint now = { .seed = d->seed };
	struct segment *current;
	uint64_t synced, dirty = kv_dirty_bytes(d->kv), begun_ms = clock_ms();
	int rc;

	if (log_failed(d->log) != NULL)
		return -EIO;
	/* Of what this store left for its records others may have taken some: then it waits, and nothing more is taken. */
	if (!space_for_records(d, 0))
		return -ENOSPC;
	rc = log_sync(d->log, &synced);
	if (rc != 0)
		return rc;
	current = log_current(d->log);
	now.pos = log_last(d->log);
	now.segment = current->number;
	now.offset = current->end;
	rc = d->config.disk->commit(d->config.disk);
	if (rc == 0)
		rc = ledger_commit(&d->ledger, &now);
	if (rc == 0)
		rc = drop_dead(d);
	if (rc != 0) {
		log_fail(d->log, "committing the records", rc);
		return -EIO;
	}
	d->since_checkpoint = 0;
	d->since_space = UINT64_MAX;
	dirty_learn(d, dirty, clock_ms() - begun_ms);
	return 0;
}

/* True if a checkpoint may make space: it drops dead segments, and shows what the records really take. */
static bool
checkpoint_helps(struct diskstore *d, unsigned flags)
{
	struct segment *const *segments;
	size_t count;

	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++)
		if (space_spent(segments[i]) && segments[i]->reservations == 0 && segments[i]->refs == 0)
			return true;
	return kv_dirty_bytes(d->kv) >= (flags & STORE_FREES ? 1 : SPACE_STALE);
}

/* Drops what is dead.  1 if there may be more space now, 0, or an error. */
static int
tidy(struct diskstore *d, unsigned flags)
{
	bool helps = checkpoint_helps(d, flags);
	uint64_t synced;
	int rc;

	if (!helps && log_dropped(d->log) == 0)
		return 0;
	rc = helps ? disk_checkpoint(&d->store) : 0;
	if (rc == 0)
		rc = log_sync(d->log, &synced);	/* dropped segments go when it is durable that they may */
	return rc != 0 ? rc : 1;
}

/* Makes sure there is space for an entry, if need be by a checkpoint, and room in the log. */
static int
make_room(struct diskstore *d, uint64_t len, uint64_t record_len, unsigned flags)
{
	int rc;

	if (entry_size(len) > d->config.segment_size - SEGMENT_HEADER)
		return -E2BIG;
	if (space_enough(d, len, record_len, flags))
		return log_room(d->log, len);
	rc = tidy(d, flags);
	if (rc < 0)
		return rc;
	if (rc > 0 && space_enough(d, len, record_len, flags))
		return log_room(d->log, len);
	return !(flags & STORE_FREES) && space_to_come(d) ? -EAGAIN : -ENOSPC;
}

int
diskstore_roll(struct diskstore *d)
{
	/* An entry of this size fits no segment that has anything in it. */
	return make_room(d, d->config.segment_size - SEGMENT_HEADER - ENTRY_HEADER - ENTRY_ALIGN, 0, STORE_FREES);
}

/* Where little is left, the records are committed sooner: pages that one commit frees serve the next but one. */
static uint64_t
dirty_max(const struct diskstore *d)
{
	uint64_t max = d->space_left / 4 > SPACE_STALE / 4 ? d->space_left / 4 : SPACE_STALE / 4;

	return max < d->config.dirty_max ? max : d->config.dirty_max;
}

/*
 * Appends the batch, for which there is room, and applies it.  One that only places a block is no waste:
 * it would have to be written again with the block.
 */
static int
enter(struct diskstore *d, struct bytes batch, bool places, uint64_t *ret_pos)
{
	struct segment *current = log_current(d->log);
	uint64_t live = current->live;
	uint32_t offset;
	int rc = log_append(d->log, ENTRY_BATCH, batch, 0, &offset);

	if (rc != 0)
		return rc;
	rc = ledger_apply(&d->ledger, batch, current->number, offset);
	if (rc != 0) {
		/* Half applied: the log may have it, the records must not be read any more. */
		log_fail(d->log, "changing the records", rc);
		d->torn = true;
		return -EIO;
	}
	/* Its records are of no use there once they are committed, but its blocks are. */
	if (!places)
		current->waste += entry_size(batch.len) - (current->live > live ? current->live - live : 0);
	*ret_pos = log_end(d->log);
	d->since_checkpoint += batch.len;
	if (kv_dirty_bytes(d->kv) >= dirty_max(d) || d->since_checkpoint >= d->config.log_max)
		disk_checkpoint(&d->store);	/* its failure is the store's, and found at the next call */
	return 0;
}

static int
disk_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *ret_pos)
{
	struct diskstore *d = diskstore_of(s);
	int rc;

	if (b->error != 0)
		return b->error;
	if (log_failed(d->log) != NULL)
		return -EIO;
	if (b->len == 0) {
		*ret_pos = log_end(d->log);
		return 0;
	}
	rc = make_room(d, b->len, b->len, flags);
	return rc != 0 ? rc : enter(d, (struct bytes){ b->data, b->len }, false, ret_pos);
}

bool
diskstore_due(struct store *s)
{
	struct diskstore *d = diskstore_of(s);

	return log_failed(d->log) == NULL &&
	    (kv_dirty_bytes(d->kv) >= d->dirty_due || d->since_checkpoint >= d->config.log_max / 2);
}

static int
disk_get(struct store *s, struct bytes key, struct bytes *ret_value)
{
	struct diskstore *d = diskstore_of(s);

	return d->torn ? -EIO : ledger_get(&d->ledger, key, ret_value);
}

static int
disk_scan(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	struct diskstore *d = diskstore_of(s);

	return d->torn ? -EIO : ledger_scan(&d->ledger, from, to, visit, arg);
}

static uint64_t
disk_end(struct store *s)
{
	return log_end(diskstore_of(s)->log);
}

static uint64_t
disk_synced(struct store *s)
{
	return log_synced(diskstore_of(s)->log);
}

static int
disk_sync(struct store *s, uint64_t *ret_synced)
{
	return log_sync(diskstore_of(s)->log, ret_synced);
}

static int
disk_block_exists(struct store *s, const uint8_t id[ID_SIZE])
{
	struct diskstore *d = diskstore_of(s);
	struct block_place place;
	int rc = d->torn ? -EIO : ledger_block(&d->ledger, id, &place);

	return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
}

int
diskstore_reserve(struct diskstore *d, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
    struct block_ticket **ret_ticket)
{
	struct disk_ticket *t;
	uint32_t offset = 0;
	int rc;

	if (len == 0 || len > BLOCK_SEALED_MAX)
		return -EINVAL;
	if (log_failed(d->log) != NULL)
		return -EIO;
	t = malloc(sizeof *t);
	if (t == NULL)
		return -ENOMEM;
	rc = make_room(d, ID_SIZE + (uint64_t)len, 0, flags);
	if (rc == 0)
		rc = log_append(d->log, ENTRY_BLOCK, (struct bytes){ id, ID_SIZE }, len, &offset);
	if (rc != 0) {
		free(t);
		return rc;
	}
	t->ticket = (struct block_ticket){ &d->store, len };
	t->segment = log_current(d->log);
	memcpy(t->id, id, ID_SIZE);
	t->place = (struct block_place){ t->segment->number, offset + ID_SIZE, len, 0 };
	d->since_checkpoint += len;
	*ret_ticket = &t->ticket;
	return 0;
}

static int
disk_block_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags,
    struct block_ticket **ret_ticket)
{
	return diskstore_reserve(diskstore_of(s), id, len, flags, ret_ticket);
}

static int
disk_block_write(struct block_ticket *ticket, const uint8_t *data)
{
	struct disk_ticket *t = (struct disk_ticket *)ticket;

	t->place.sum = block_sum((struct bytes){ data, ticket->len });
	return log_write(diskstore_of(ticket->store)->log, t->segment, t->place.offset, data, ticket->len);
}

int
diskstore_finish(struct block_ticket *ticket, bool written, const struct block_place *from, uint64_t *ret_pos)
{
	struct diskstore *d = diskstore_of(ticket->store);
	struct disk_ticket *t = (struct disk_ticket *)ticket;
	struct block_place now;
	struct batch b = { 0 };
	int rc = 0;

	log_written(d->log, t->segment);
	if (written && log_failed(d->log) != NULL)
		rc = -EIO;
	else if (written) {
		rc = ledger_block(&d->ledger, t->id, &now);
		if (rc == -ENOENT || rc == -EBADMSG)
			now = (struct block_place){ 0 };
		rc = rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
	}
	if (rc == 0 && written && (from == NULL ? now.len == 0 :
	    now.segment == from->segment && now.offset == from->offset)) {
		batch_block_at(&b, from == NULL ? BATCH_BLOCK_AT : BATCH_BLOCK_MOVED, t->id, t->place);
		rc = batch_error(&b);
		/* The space was granted when it was reserved. */
		if (rc == 0)
			rc = make_room(d, b.len, b.len, STORE_FREES);
		if (rc == 0)
			rc = enter(d, (struct bytes){ b.data, b.len }, true, ret_pos);
		batch_done(&b);
	} else {
		t->segment->waste += ticket->len;
		if (rc == 0)
			*ret_pos = log_end(d->log);
	}
	free(t);
	return rc;
}

static int
disk_block_finish(struct block_ticket *ticket, bool written, uint64_t *ret_pos)
{
	return diskstore_finish(ticket, written, NULL, ret_pos);
}

static int
disk_block_find(struct store *s, const uint8_t id[ID_SIZE], struct block_ref **ret_ref)
{
	struct diskstore *d = diskstore_of(s);
	struct block_place place;
	struct segment *segment;
	struct disk_ref *r;
	int rc = d->torn ? -EIO : ledger_block(&d->ledger, id, &place);

	if (rc != 0)
		return rc;
	segment = log_find(d->log, place.segment);
	if (segment == NULL || segment->missing || place.offset > segment->size ||
	    place.len > segment->size - place.offset) {
		diskstore_say_block(d, &place, "is not where the index says");
		return -EIO;
	}
	r = malloc(sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	*r = (struct disk_ref){ { s, place.len }, segment, place, -1 };
	atomic_fetch_add(&segment->refs, 1);
	*ret_ref = &r->ref;
	return 0;
}

static int
disk_block_read(struct block_ref *ref, uint32_t offset, uint32_t len, uint8_t *to)
{
	struct diskstore *d = diskstore_of(ref->store);
	struct disk_ref *r = (struct disk_ref *)ref;
	int rc;

	if (offset > r->place.len || len > r->place.len - offset)
		return -EINVAL;
	rc = log_read(d->log, r->segment, r->place.offset + offset, len, to, &r->fd);
	if (rc == 0 && len == r->place.len && block_sum((struct bytes){ to, len }) != r->place.sum)
		rc = -EIO;
	if (rc != 0)
		diskstore_say_block(d, &r->place, rc == -EIO ? "is damaged" : strerror(-rc));
	return rc;
}

static void
disk_block_put_ref(struct block_ref *ref)
{
	struct disk_ref *r = (struct disk_ref *)ref;

	if (r->fd >= 0)
		close(r->fd);
	atomic_fetch_sub(&r->segment->refs, 1);
	free(r);
}

static void
disk_space(struct store *s, uint64_t *ret_total, uint64_t *ret_free)
{
	struct diskstore *d = diskstore_of(s);
	struct segment *const *segments;
	uint64_t free_bytes;
	size_t count;

	space_refresh(d);
	free_bytes = d->space_left + kv_free_bytes(d->kv) + (uint64_t)log_dropped(d->log) * d->config.segment_size;
	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++)
		free_bytes += segments[i]->size > segments[i]->live ? segments[i]->size - segments[i]->live : 0;
	*ret_total = d->space_total;
	*ret_free = free_bytes > d->reserve ? free_bytes - d->reserve : 0;
	if (*ret_free > *ret_total)
		*ret_free = *ret_total;
}

static uint64_t
disk_ready(struct store *s)
{
	return space_ready(diskstore_of(s));
}

static int
disk_seek(struct store *s, uint64_t bytes)
{
	struct diskstore *d = diskstore_of(s);
	int rc;

	if (log_failed(d->log) != NULL)
		return -EIO;
	if (space_ready(d) >= bytes)
		return 0;
	space_refresh(d);
	if (space_ready(d) >= bytes)
		return 0;
	rc = tidy(d, 0);
	if (rc < 0)
		return rc;
	if (rc > 0)
		space_refresh(d);
	return space_ready(d) >= bytes ? 0 : space_to_come(d) ? -EAGAIN : -ENOSPC;
}

static const char *
disk_failed(struct store *s)
{
	return log_failed(diskstore_of(s)->log);
}

void
diskstore_abandon(struct store *s)
{
	struct diskstore *d;

	if (s == NULL)
		return;
	d = diskstore_of(s);
	kv_free(d->kv);
	log_free(d->log);
	if (d->lock >= 0)
		close(d->lock);
	if (d->dir >= 0)
		close(d->dir);
	free(d);
}

static int
disk_close(struct store *s)
{
	struct diskstore *d = diskstore_of(s);
	uint64_t synced;
	int rc = disk_checkpoint(s);

	/* A second sync makes the mark durable, so that the dropped files can go. */
	if (rc == 0)
		rc = log_sync(d->log, &synced);
	if (rc == 0)
		rc = log_seal(d->log);
	diskstore_abandon(s);
	return rc;
}

static const struct store_ops disk_ops = {
	.get = disk_get, .scan = disk_scan, .apply = disk_apply,
	.end = disk_end, .synced = disk_synced, .sync = disk_sync,
	.block_exists = disk_block_exists, .block_reserve = disk_block_reserve,
	.block_write = disk_block_write, .block_finish = disk_block_finish,
	.block_find = disk_block_find, .block_read = disk_block_read, .block_put_ref = disk_block_put_ref,
	.space = disk_space, .ready = disk_ready, .seek = disk_seek,
	.checkpoint = disk_checkpoint, .failed = disk_failed, .close = disk_close,
};

void
diskstore_say_block(const struct diskstore *d, const struct block_place *place, const char *what)
{
	ledger_say(&d->ledger, "segment %016" PRIx64 ": the block of %" PRIu32 " bytes at offset %" PRIu32 " %s",
	    place->segment, place->len, place->offset, what);
}

/* Takes the directory and its lock. */
static int
open_directory(struct diskstore *d, const char *path)
{
	d->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir < 0)
		return -errno;
	d->lock = openat(d->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock < 0)
		return -errno;
	if (flock(d->lock, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

/* Verifies and opens the records. */
static int
open_records(struct diskstore *d, const char *file, struct checkpoint *ret_from)
{
	const struct diskstore_config *c = &d->config;
	struct kvcheck_result damage = { 0 };
	int rc = kvcheck(file, c->report, c->report_arg, &damage);

	d->damages = damage.structure + damage.values;
	if (rc == 0 && (damage.structure > 0 || (damage.values > 0 && !c->accept_damage)))
		return -EBADMSG;
	if (rc == 0)
		rc = kv_open(file, c->map_size, &d->kv);
	d->ledger.kv = d->kv;
	if (rc == 0)
		rc = ledger_load_checkpoint(d->kv, ret_from);
	if (rc != 0)
		ledger_say(&d->ledger, "records: they cannot be opened: %s", strerror(-rc));
	return rc;
}

/* Makes the records of a new store. */
static int
make_records(struct diskstore *d, const char *file, struct checkpoint *ret_from)
{
	int rc;

	*ret_from = (struct checkpoint){ 0 };
	if (getrandom(&ret_from->seed, sizeof ret_from->seed, 0) != sizeof ret_from->seed)
		return -EIO;
	rc = recovery_find(&d->ledger, d->dir, ret_from->seed, true);
	if (rc != 0)
		return rc;
	rc = ledger_create(file, d->config.map_size, ret_from, &d->kv);
	d->ledger.kv = d->kv;
	return rc != 0 ? rc : d->config.disk->sync(d->config.disk, d->dir);
}

/* Blocks in segments that are gone are gone with them; say so before anybody relies on the rest. */
static int
check_missing(struct diskstore *d)
{
	struct segment *const *segments;
	size_t count;
	int rc = 0;

	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++) {
		if (!segments[i]->missing || segments[i]->live == 0)
			continue;
		ledger_say(&d->ledger, "segment %016" PRIx64 " is missing: %" PRIu64 " bytes of blocks were in it",
		    segments[i]->number, segments[i]->live);
		rc = -EBADMSG;
	}
	return rc;
}

/* What died in the segments that were found is not known. */
static void
suspect_waste(struct diskstore *d)
{
	struct segment *const *segments;
	size_t count;

	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++)
		segments[i]->waste = segments[i]->size > segments[i]->live ? segments[i]->size - segments[i]->live : 0;
}

/* Finds the log and brings the ledger to its end. */
static int
open_log(struct diskstore *d, const struct checkpoint *from, uint64_t *ret_pos)
{
	int rc = log_new(d->config.disk, d->dir, d->config.segment_size, from->seed, &d->log);

	if (rc != 0)
		return rc;
	d->ledger.log = d->log;
	rc = recovery_find(&d->ledger, d->dir, from->seed, false);
	if (rc == 0)
		rc = ledger_load_live(&d->ledger);
	if (rc == 0)
		rc = recovery_replay(&d->ledger, d->dir, from, ret_pos);
	if (rc == 0)
		suspect_waste(d);
	return rc != 0 ? rc : check_missing(d);
}

/*
 * Whatever is behind the end must never be replayed: go on in a new segment, and say so durably.  Each start
 * would leave one behind if that could not be said.  On a disk that is all but full it is a small one, for the
 * removals that make room.
 */
static int
begin_log(struct diskstore *d, uint64_t pos)
{
	uint32_t size = d->config.segment_size;
	int rc;

	while (!space_for_records(d, size)) {
		if (size / 2 < SEGMENT_SIZE_MIN)
			return -ENOSPC;
		size = size / 2 / ENTRY_ALIGN * ENTRY_ALIGN;
	}
	rc = log_start(d->log, pos, size);
	return rc != 0 ? rc : disk_checkpoint(&d->store);
}

int
diskstore_open_counted(const char *path, const struct diskstore_config *config, struct store **ret_store,
    unsigned *ret_damages)
{
	struct diskstore *d = calloc(1, sizeof *d);
	struct checkpoint from = { 0 };
	char file[PATH_MAX];
	uint64_t pos = 0;
	int rc;

	*ret_damages = 0;
	if (d == NULL)
		return -ENOMEM;
	d->store.ops = &disk_ops;
	d->config = *config;
	d->dir = d->lock = -1;
	d->since_space = UINT64_MAX;
	d->dirty_due = DIRTY_MIN;
	d->ledger = (struct ledger){ .report = config->report, .arg = config->report_arg };
	rc = open_directory(d, path);
	if (rc == 0 && config->segment_size == 0)
		space_choose_segment(d);
	if (rc == 0 && (d->config.segment_size < SEGMENT_SIZE_MIN || d->config.segment_size % ENTRY_ALIGN != 0))
		rc = -EINVAL;
	if (rc == 0 && snprintf(file, sizeof file, "%s/records.mdb", path) >= (int)sizeof file)
		rc = -ENAMETOOLONG;
	if (rc == 0) {
		bool fresh = access(file, F_OK) != 0 && errno == ENOENT && config->create;

		rc = fresh ? make_records(d, file, &from) : open_records(d, file, &from);
	}
	d->seed = from.seed;
	if (rc == 0)
		rc = open_log(d, &from, &pos);
	if (rc == 0)
		rc = begin_log(d, pos);
	if (rc == -ENOSPC)
		ledger_say(&d->ledger, "the disk is full: what the log holds cannot be committed to the records");
	*ret_damages = d->damages + (rc == -EBADMSG && d->damages == 0);
	if (rc == 0)
		*ret_store = &d->store;
	else
		diskstore_abandon(&d->store);
	return rc;
}

int
diskstore_open(const char *path, const struct diskstore_config *config, struct store **ret_store)
{
	unsigned damages;

	return diskstore_open_counted(path, config, ret_store, &damages);
}
