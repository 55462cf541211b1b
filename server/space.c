/*
 * space.c - how much space a store on disk has left, and whether more will come.
 *
 * Space comes back by whole segments: one without live blocks goes with a
 * checkpoint, and compaction makes such ones of those in which much has died.
 * Of what the file system has, some is kept:
 *
 *	new data	leaves the reserve
 *	trades, and	leave three segments, counting what is free in the current one:
 *	what was	for frees to fill one and start the next, without which the
 *	promised	full one cannot go, however little of it is live; or for
 *			compaction to move another one to
 *	frees		leave one, which the store needs to be opened again
 *
 * A reserve that is too small for that, as by default on less than half a
 * gigabyte, has but one segment: trades leave it, and frees leave nothing.
 *
 * The records' file never shrinks, but what is free in it is used again.
 */
#include "server/diskstore_room.h"

enum {
	SEGMENTS_WANTED	= 64,	/* in a full store, at least, if they need not be too small for that */
	KEPT_RESERVE	= 4,	/* segments of the reserve, */
	KEPT_TRADES	= 3,	/* and what is left of them, */
	KEPT_PART	= 8,	/* if by default that is no more than this part of all */
};

/* What the store takes from its file system now. */
static uint64_t
space_used(struct diskstore *d)
{
	struct segment *const *segments;
	uint64_t used = log_dropped(d->log) * d->config.segment_size + kv_size_bytes(d->kv);
	size_t count;

	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++)
		used += segments[i]->size;
	return used;
}

/* Learns how much space there is; on failure what was known stays. */
void
space_refresh(struct diskstore *d)
{
	uint64_t total, left, map_left, used = space_used(d);

	d->since_space = 0;
	if (d->config.disk->space(d->config.disk, d->dir, &total, &left) != 0)
		return;
	if (d->config.capacity != 0 && d->config.capacity < total)
		total = d->config.capacity;
	if (d->config.capacity != 0 && left > total - (used < total ? used : total))
		left = total - (used < total ? used : total);
	map_left = kv_size_bytes(d->kv) < kv_map_bytes(d->kv) ? kv_map_bytes(d->kv) - kv_size_bytes(d->kv) : 0;
	if (map_left < left)
		left = map_left;
	d->cramped &= left <= d->space_left;
	d->space_total = total;
	d->space_left = left;
	d->reserve = d->config.reserve;
	if (d->reserve == 0) {
		/* What is said above, and what committing those changes takes. */
		d->reserve = KEPT_RESERVE * (uint64_t)d->config.segment_size;
		if (d->reserve > total / KEPT_PART)
			d->reserve = d->config.segment_size;
		d->reserve += d->config.dirty_max / 4;
		if (d->reserve < total / 100)
			d->reserve = total / 100;
	}
	log_set_ahead(d->log, left > d->reserve + 2 * (uint64_t)d->config.segment_size + d->config.dirty_max);
}

/* What a batch of `len` bytes may add to the records' file, beyond what is free in it. */
static uint64_t
records_growth(struct diskstore *d, uint64_t len)
{
	uint64_t dirty = kv_dirty_bytes(d->kv) + len, free_bytes = kv_free_bytes(d->kv);

	return dirty > free_bytes ? dirty - free_bytes : 0;
}

/*
 * What is to be left after an entry, beside the current segment, which has its space already.  Of the
 * reserve some segments are for the log; the rest is for the records, and may as well be free in their file.
 */
static uint64_t
space_kept(struct diskstore *d, uint64_t len, uint64_t record_len, unsigned flags)
{
	const struct segment *current = log_current(d->log);
	uint64_t size = d->config.segment_size, used, spare, tail, kept;
	bool wide = d->reserve >= KEPT_RESERVE * size;

	/* If others have taken that one, frees are all the more wanted. */
	if (flags & STORE_FREES)
		return wide && d->space_left >= size ? size : 0;
	if (!(flags & (STORE_TRADES | STORE_PROMISED))) {
		kept = wide ? KEPT_RESERVE * size : size;
		used = kv_dirty_bytes(d->kv) + record_len;
		spare = kv_free_bytes(d->kv) > used ? kv_free_bytes(d->kv) - used : 0;
		return d->reserve <= kept ? d->reserve : spare > d->reserve - kept ? kept : d->reserve - spare;
	}
	kept = wide ? KEPT_TRADES * size : size;
	tail = log_growth(d->log, len) > 0 ? size - SEGMENT_HEADER : current->size - current->end;
	tail -= len < tail ? len : tail;
	return kept - (tail < size ? tail : size);
}

/*
 * Is there space for an entry of `len` bytes, `record_len` of which are for the
 * records, so that these can be committed?
 */
bool
space_enough(struct diskstore *d, uint64_t len, uint64_t record_len, unsigned flags)
{
	uint64_t need = log_growth(d->log, len) + records_growth(d, record_len) + space_kept(d, len, record_len, flags);

	d->since_space = d->since_space > UINT64_MAX - len ? UINT64_MAX : d->since_space + len;
	if (log_growth(d->log, len) > 0 || d->since_space > SPACE_STALE || need > d->space_left)
		space_refresh(d);
	return need <= d->space_left;
}

bool
space_for_records(struct diskstore *d, uint64_t beside)
{
	uint64_t total, left, need = records_growth(d, 0);

	return need == 0 || d->config.disk->space(d->config.disk, d->dir, &total, &left) != 0 || need + beside <= left;
}

uint64_t
space_ready(struct diskstore *d)
{
	uint64_t kept = space_kept(d, 0, 0, 0) + records_growth(d, 0);

	return d->space_left < kept ? 0 :
	    log_ready(d->log) + (d->space_left - kept) / d->config.segment_size * d->config.segment_size;
}

/* A sealed segment without live blocks, which goes with a checkpoint, or once nobody uses it. */
bool
space_spent(const struct segment *s)
{
	return s->sealed && !s->missing && s->live == 0;
}

/*
 * Judged by what died in it, not by what is live: of small blocks, much of a
 * segment is their entries' heads, and moving them would gain nothing.
 */
struct segment *
space_worst(struct diskstore *d, unsigned percent)
{
	struct segment *const *segments, *worst = NULL;
	size_t count;

	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++) {
		struct segment *s = segments[i];
		bool full = s->sealed || (percent == COMPACT_FULL && s->size - s->end < s->size / 8);

		if (!full || s->stuck || s->missing || space_spent(s) || s->waste * 100 <= (uint64_t)s->size * (100 - percent))
			continue;
		if (worst == NULL || s->waste * worst->size > worst->waste * s->size)
			worst = s;
	}
	return worst;
}

/* True if space will come of what is dead. */
bool
space_to_come(struct diskstore *d)
{
	struct segment *const *segments;
	size_t count;

	if (log_dropped(d->log) > 0)
		return true;
	segments = log_segments(d->log, &count);
	for (size_t i = 0; i < count; i++)
		if (space_spent(segments[i]))
			return true;
	return !d->cramped && space_worst(d, COMPACT_FULL) != NULL;
}

/* A segment is the grain in which space comes back: a small store has small ones. */
void
space_choose_segment(struct diskstore *d)
{
	uint64_t total, left, size = SEGMENT_SIZE;

	if (d->config.disk->space(d->config.disk, d->dir, &total, &left) == 0) {
		if (d->config.capacity != 0 && d->config.capacity < total)
			total = d->config.capacity;
		size = total / SEGMENTS_WANTED / SEGMENT_SIZE_SMALL * SEGMENT_SIZE_SMALL;
	}
	d->config.segment_size = size < SEGMENT_SIZE_SMALL ? SEGMENT_SIZE_SMALL : size > SEGMENT_SIZE ? SEGMENT_SIZE : size;
}
