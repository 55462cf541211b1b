/*
 * recovery.c - see recovery.h.
 *
 * Two passes over the segments from the checkpoint on.  The first walks all
 * valid entries, also those beyond a gap, to find where the unbroken run
 * ends and the highest position that any entry says was durable.  If the
 * run ends before that, the log is damaged.  The second applies the run.
 */
#include "server/recovery.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct recovery {
	struct ledger	*ledger;
	int		 dir;
	uint64_t	 seed;
	uint64_t	 end;		/* the last position of the run */
	uint64_t	 durable;	/* the highest known to have been durable */
	bool		 ended;
	uint64_t	 segment;	/* where the run ends */
	uint64_t	 offset;
};

static int
find_segment(struct ledger *l, int dir, uint64_t seed, uint64_t number)
{
	struct segment *segment;
	uint32_t size;
	int fd, rc = segment_open(dir, number, seed, &size, &fd);

	if (rc != 0) {
		ledger_say(l, "segment %016" PRIx64 ": %s", number,
		    rc == -EBADMSG ? "its header is damaged or of another store" : strerror(-rc));
		return rc;
	}
	close(fd);
	segment = calloc(1, sizeof *segment);
	if (segment == NULL)
		return -ENOMEM;
	*segment = (struct segment){ .number = number, .size = size, .end = size, .fd = -1, .sealed = true,
		.written = size };
	rc = log_add(l->log, segment);
	if (rc != 0)
		free(segment);
	return rc;
}

int
recovery_find(struct ledger *l, int dir, uint64_t seed, bool fresh)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	uint64_t number;

	if (listing == NULL) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0 && (errno = 0, entry = readdir(listing)) != NULL) {
		if (!segment_name_parse(entry->d_name, &number))
			continue;
		if (fresh)
			ledger_say(l, "records: they are missing, but the log is there: %s", entry->d_name);
		rc = fresh ? -EBADMSG : find_segment(l, dir, seed, number);
	}
	if (rc == 0 && errno != 0)
		rc = -errno;
	closedir(listing);
	return rc;
}

/* Notes a valid entry; it extends the run if it is the next. */
static void
note_entry(struct recovery *r, const struct entry *e, uint64_t segment, uint64_t offset)
{
	if (e->synced > r->durable)
		r->durable = e->synced;
	if (!r->ended && e->pos == r->end + 1) {
		r->end = e->pos;
		r->segment = segment;
		r->offset = offset + entry_size(e->len);
	} else
		r->ended = true;
}

static int
reader_open(struct recovery *r, const struct segment *segment, struct segment_reader *reader)
{
	uint32_t size;
	int fd, rc = segment_open(r->dir, segment->number, r->seed, &size, &fd);

	if (rc == 0)
		*reader = (struct segment_reader){ .fd = fd, .seed = r->seed, .number = segment->number, .size = size };
	return rc;
}

static void
reader_close(struct segment_reader *reader)
{
	segment_reader_done(reader);
	close(reader->fd);
}

/* The first pass over one segment. */
static int
survey(struct recovery *r, const struct segment *segment, uint64_t offset)
{
	struct segment_reader reader;
	struct entry e;
	int rc = reader_open(r, segment, &reader);

	if (rc != 0)
		return rc;
	for (;;) {
		struct bytes body;
		uint64_t at = offset;

		rc = segment_read(&reader, offset, &e, &body);
		if (rc == 0) {
			/* Entries behind a gap do not continue the run, whatever their position. */
			rc = segment_seek(&reader, offset + ENTRY_ALIGN, &e, &at);
			if (rc == 1)
				r->ended = true;
		}
		if (rc <= 0)
			break;
		note_entry(r, &e, segment->number, at);
		offset = at + entry_size(e.len);
	}
	reader_close(&reader);
	return rc;
}

/* True if the bytes of the blocks that a batch refers to are where it says. */
static int
blocks_present(struct recovery *r, struct bytes batch)
{
	struct cursor c = cursor_read(batch.data, batch.len);
	struct batch_op op;
	int rc, fd = -1, present = 1;

	while (present == 1 && (rc = batch_next(&c, &op)) == 1) {
		struct segment *segment = op.place.len > 0 ? log_find(r->ledger->log, op.place.segment) : NULL;
		uint8_t *data;

		if (op.type != BATCH_BLOCK_AT && op.type != BATCH_BLOCK_MOVED)
			continue;
		data = malloc(op.place.len);
		if (data == NULL)
			return -ENOMEM;
		present = segment != NULL && !segment->missing &&
		    log_read(r->ledger->log, segment, op.place.offset, op.place.len, data, &fd) == 0 &&
		    block_sum((struct bytes){ data, op.place.len }) == op.place.sum;
		free(data);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	return present;
}

/* The second pass over one segment. */
static int
replay(struct recovery *r, const struct segment *segment, uint64_t offset, uint64_t *pos)
{
	struct segment_reader reader;
	struct bytes body;
	struct entry e;
	int rc = reader_open(r, segment, &reader);

	if (rc != 0)
		return rc;
	while (*pos < r->end && (rc = segment_read(&reader, offset, &e, &body)) == 1 && e.pos == *pos + 1) {
		if (e.type == ENTRY_BATCH) {
			rc = e.pos <= r->durable ? 1 : blocks_present(r, body);
			if (rc == 0)
				r->end = *pos;
			if (rc <= 0)
				break;
			rc = ledger_apply(r->ledger, body, segment->number, (uint32_t)offset + ENTRY_HEADER);
			if (rc != 0) {
				ledger_say(r->ledger, "segment %016" PRIx64 " offset %" PRIu64 ": entry %" PRIu64
				    " cannot be applied: %s", segment->number, offset, e.pos, strerror(-rc));
				break;
			}
		}
		*pos = e.pos;
		offset += entry_size(e.len);
	}
	reader_close(&reader);
	return rc < 0 ? rc : 0;
}

/* Runs one pass over the segments from the checkpoint's on. */
static int
each_segment(struct recovery *r, const struct checkpoint *from, uint64_t *pos)
{
	struct segment *const *segments;
	size_t count;
	int rc = 0;

	for (size_t i = 0; rc == 0; i++) {
		uint64_t offset;

		/* Replay may add missing segments: one seen again is harmless, its entries are behind. */
		segments = log_segments(r->ledger->log, &count);
		if (i >= count)
			break;
		if (segments[i]->number < from->segment || segments[i]->missing)
			continue;
		offset = segments[i]->number == from->segment ? from->offset : SEGMENT_HEADER;
		rc = pos == NULL ? survey(r, segments[i], offset) : replay(r, segments[i], offset, pos);
	}
	return rc;
}

int
recovery_replay(struct ledger *l, int dir, const struct checkpoint *from, uint64_t *ret_pos)
{
	struct recovery r = { .ledger = l, .dir = dir, .seed = from->seed, .end = from->pos,
		.segment = from->segment, .offset = from->offset };
	struct segment *first = log_find(l->log, from->segment);
	uint64_t pos = from->pos;
	int rc;

	if (from->segment != 0 && (first == NULL || first->missing)) {
		ledger_say(l, "segment %016" PRIx64 " is missing: the log after entry %" PRIu64 " is there",
		    from->segment, from->pos);
		return -EBADMSG;
	}
	rc = each_segment(&r, from, NULL);
	if (rc != 0)
		return rc;
	if (r.end < r.durable) {
		ledger_say(l, "segment %016" PRIx64 " offset %" PRIu64 ": entry %" PRIu64
		    " is damaged or missing, but entries up to %" PRIu64 " had been durable",
		    r.segment, r.offset, r.end + 1, r.durable);
		return -EBADMSG;
	}
	rc = each_segment(&r, from, &pos);
	if (rc == 0 && pos != r.end)
		rc = -EIO;	/* what could be read a moment ago cannot now */
	if (rc == 0)
		*ret_pos = pos;
	return rc;
}
