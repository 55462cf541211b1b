/*
 * ledger.c - see ledger.h.  The records, by their first byte:
 *
 *	'k' key			value
 *	'b' id [32]		segment u64, offset u32, length u32, XXH3-64 of the block's bytes u64
 *	'c'			version u32, zero u32, seed u64, position u64, segment u64, offset u32
 *	's' segment u64		live bytes u64
 */
#include "server/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_VERSION = 1, NAME_MAX_LEN = 1 + STORE_KEY_MAX };

/* The record name of a key: a byte that says what it is, and the key. */
struct name {
	uint8_t	bytes[NAME_MAX_LEN];
	size_t	len;
};

static struct bytes
name_make(struct name *name, uint8_t what, struct bytes key)
{
	assert(key.len <= STORE_KEY_MAX);
	name->bytes[0] = what;
	if (key.len > 0)
		memcpy(name->bytes + 1, key.data, key.len);
	name->len = 1 + key.len;
	return (struct bytes){ name->bytes, name->len };
}

static struct bytes
name_segment(struct name *name, uint64_t segment)
{
	uint8_t number[8];
	struct cursor c = cursor_over(number, sizeof number);

	cursor_put_u64(&c, segment);
	return name_make(name, 's', (struct bytes){ number, sizeof number });
}

void
ledger_say(const struct ledger *l, const char *format, ...)
{
	char line[512];
	va_list ap;

	if (l->report == NULL)
		return;
	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	l->report(l->arg, line);
}

static void
say_record(const struct ledger *l, struct bytes name)
{
	char hex[2 * NAME_MAX_LEN + 1] = "";

	for (size_t i = 0; i < name.len && i < NAME_MAX_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", name.data[i]);
	ledger_say(l, "records: the checksum of record %s is wrong", hex);
}

static int
record_get(struct ledger *l, struct bytes name, struct bytes *ret_value)
{
	int rc = kv_get(l->kv, name, ret_value);

	if (rc == -EBADMSG)
		say_record(l, name);
	return rc;
}

/* Adds to a segment's live bytes; a segment without a file is remembered as missing. */
static int
live_add(struct ledger *l, uint64_t number, int64_t bytes)
{
	struct segment *segment = log_find(l->log, number);
	int rc;

	if (segment == NULL) {
		segment = calloc(1, sizeof *segment);
		if (segment == NULL)
			return -ENOMEM;
		*segment = (struct segment){ .number = number, .fd = -1, .sealed = true, .missing = true };
		rc = log_add(l->log, segment);
		if (rc != 0) {
			free(segment);
			return rc;
		}
	}
	segment->live += (uint64_t)bytes;
	segment->waste += bytes < 0 ? (uint64_t)-bytes : 0;
	segment->changed = true;
	return 0;
}

static struct block_place
place_decode(struct bytes value, bool *ret_valid)
{
	struct cursor c = cursor_read(value.data, value.len);
	struct block_place place;

	place.segment = cursor_get_u64(&c);
	place.offset = cursor_get_u32(&c);
	place.len = cursor_get_u32(&c);
	place.sum = cursor_get_u64(&c);
	*ret_valid = cursor_done(&c);
	return place;
}

int
ledger_block(struct ledger *l, const uint8_t id[ID_SIZE], struct block_place *ret_place)
{
	struct name name;
	struct bytes value;
	bool valid = false;
	int rc = record_get(l, name_make(&name, 'b', (struct bytes){ id, ID_SIZE }), &value);

	if (rc != 0)
		return rc;
	*ret_place = place_decode(value, &valid);
	return valid ? 0 : -EBADMSG;
}

static int
block_put(struct ledger *l, const uint8_t *id, struct block_place place)
{
	uint8_t value[24];
	struct cursor c = cursor_over(value, sizeof value);
	struct name name;
	int rc;

	cursor_put_u64(&c, place.segment);
	cursor_put_u32(&c, place.offset);
	cursor_put_u32(&c, place.len);
	cursor_put_u64(&c, place.sum);
	assert(cursor_done(&c));
	rc = kv_put(l->kv, name_make(&name, 'b', (struct bytes){ id, ID_SIZE }), (struct bytes){ value, sizeof value });
	return rc != 0 ? rc : live_add(l, place.segment, place.len);
}

/* Takes a block out of the index; of a damaged record, the segment's live bytes cannot be told and stay. */
static int
block_free(struct ledger *l, const uint8_t *id)
{
	struct block_place old;
	struct name name;
	int rc = ledger_block(l, id, &old);

	if (rc == 0)
		rc = live_add(l, old.segment, -(int64_t)old.len);
	if (rc != 0 && rc != -EBADMSG)
		return rc;
	return kv_delete(l->kv, name_make(&name, 'b', (struct bytes){ id, ID_SIZE }));
}

static int
ledger_op(struct ledger *l, const struct batch_op *op, struct block_place place)
{
	struct name name, last;
	struct block_place old;
	int rc;

	switch (op->type) {
	case BATCH_PUT:
		return kv_put(l->kv, name_make(&name, 'k', op->key), op->value);
	case BATCH_DELETE:
		return kv_delete(l->kv, name_make(&name, 'k', op->key));
	case BATCH_DELETE_RANGE:
		return kv_delete_range(l->kv, name_make(&name, 'k', op->key), name_make(&last, 'k', op->value));
	case BATCH_BLOCK_PUT:
	case BATCH_BLOCK_AT:
		rc = ledger_block(l, op->key.data, &old);
		return rc == 0 ? 0 : rc == -ENOENT || rc == -EBADMSG ? block_put(l, op->key.data, place) : rc;
	case BATCH_BLOCK_MOVED:
		rc = block_free(l, op->key.data);
		return rc != 0 ? rc : block_put(l, op->key.data, place);
	case BATCH_BLOCK_FREE:
		return block_free(l, op->key.data);
	}
	return -EBADMSG;
}

int
ledger_apply(struct ledger *l, struct bytes batch, uint64_t segment, uint32_t offset)
{
	struct cursor c = cursor_read(batch.data, batch.len);
	struct batch_op op;
	int rc;

	while ((rc = batch_next(&c, &op)) == 1) {
		struct block_place place = op.place;

		if (op.type == BATCH_BLOCK_PUT)
			place = (struct block_place){ segment, offset + (uint32_t)(op.value.data - batch.data),
				(uint32_t)op.value.len, block_sum(op.value) };
		rc = ledger_op(l, &op, place);
		if (rc != 0 && rc != -ENOENT)
			break;
	}
	return rc;
}

int
ledger_get(struct ledger *l, struct bytes key, struct bytes *ret_value)
{
	struct name name;

	if (key.len > STORE_KEY_MAX)
		return -ENOENT;
	return record_get(l, name_make(&name, 'k', key), ret_value);
}

struct scan {
	struct ledger		*ledger;
	ledger_visit		*visit;
	ledger_visit_block	*visit_block;
	void			*arg;
};

static int
scan_record(void *arg, struct bytes name, struct bytes value)
{
	struct scan *scan = arg;

	if (value.data == NULL) {
		say_record(scan->ledger, name);
		return -EBADMSG;
	}
	return scan->visit(scan->arg, (struct bytes){ name.data + 1, name.len - 1 }, value);
}

int
ledger_scan(struct ledger *l, struct bytes from, struct bytes to, ledger_visit *visit, void *arg)
{
	struct scan scan = { .ledger = l, .visit = visit, .arg = arg };
	struct name first, last;

	if (from.len > STORE_KEY_MAX || to.len > STORE_KEY_MAX)
		return -EINVAL;
	return kv_scan(l->kv, name_make(&first, 'k', from), name_make(&last, 'k', to), scan_record, &scan);
}

static int
scan_block(void *arg, struct bytes name, struct bytes value)
{
	struct scan *scan = arg;
	struct block_place place;
	bool valid = false;

	if (value.data != NULL)
		place = place_decode(value, &valid);
	if (!valid || name.len != 1 + ID_SIZE) {
		say_record(scan->ledger, name);
		return -EBADMSG;
	}
	return scan->visit_block(scan->arg, name.data + 1, place);
}

int
ledger_scan_blocks(struct ledger *l, ledger_visit_block *visit, void *arg)
{
	struct scan scan = { .ledger = l, .visit_block = visit, .arg = arg };
	uint8_t least[ID_SIZE] = { 0 }, most[ID_SIZE];
	struct name first, last;

	memset(most, 0xff, sizeof most);
	return kv_scan(l->kv, name_make(&first, 'b', (struct bytes){ least, ID_SIZE }),
	    name_make(&last, 'b', (struct bytes){ most, ID_SIZE }), scan_block, &scan);
}

static const struct bytes checkpoint_name = { (const uint8_t *)"c", 1 };

enum { CHECKPOINT_SIZE = 36 };

static struct bytes
checkpoint_encode(uint8_t to[CHECKPOINT_SIZE], const struct checkpoint *checkpoint)
{
	struct cursor c = cursor_over(to, CHECKPOINT_SIZE);

	cursor_put_u32(&c, STORE_VERSION);
	cursor_put_u32(&c, 0);
	cursor_put_u64(&c, checkpoint->seed);
	cursor_put_u64(&c, checkpoint->pos);
	cursor_put_u64(&c, checkpoint->segment);
	cursor_put_u32(&c, checkpoint->offset);
	assert(cursor_done(&c));
	return (struct bytes){ to, CHECKPOINT_SIZE };
}

int
ledger_create(const char *path, uint64_t map_size, const struct checkpoint *checkpoint, struct kv **ret_kv)
{
	uint8_t value[CHECKPOINT_SIZE];

	return kv_create(path, map_size, checkpoint_name, checkpoint_encode(value, checkpoint), ret_kv);
}

int
ledger_load_checkpoint(struct kv *kv, struct checkpoint *ret_checkpoint)
{
	struct checkpoint found;
	struct bytes value;
	struct cursor c;
	uint32_t version;
	int rc = kv_get(kv, checkpoint_name, &value);

	if (rc != 0)
		return rc == -ENOENT ? -EBADMSG : rc;
	c = cursor_read(value.data, value.len);
	version = cursor_get_u32(&c);
	cursor_get_u32(&c);
	found.seed = cursor_get_u64(&c);
	found.pos = cursor_get_u64(&c);
	found.segment = cursor_get_u64(&c);
	found.offset = cursor_get_u32(&c);
	if (version != STORE_VERSION)
		return -ENOTSUP;
	if (!cursor_done(&c))
		return -EBADMSG;
	*ret_checkpoint = found;
	return 0;
}

static int
load_live(void *arg, struct bytes name, struct bytes value)
{
	struct cursor n = cursor_read(name.data, name.len), v = cursor_read(value.data, value.len);
	struct ledger *l = arg;
	uint64_t number, live;

	cursor_get_u8(&n);
	number = cursor_get_u64(&n);
	live = cursor_get_u64(&v);
	if (!cursor_done(&n) || !cursor_done(&v)) {
		say_record(l, name);
		return -EBADMSG;
	}
	return live_add(l, number, (int64_t)live);
}

int
ledger_load_live(struct ledger *l)
{
	struct name first, last;

	return kv_scan(l->kv, name_segment(&first, 0), name_segment(&last, UINT64_MAX), load_live, l);
}

int
ledger_commit(struct ledger *l, const struct checkpoint *checkpoint)
{
	uint8_t value[CHECKPOINT_SIZE];
	struct segment *const *segments;
	struct name name;
	size_t count;
	int rc;

	rc = kv_put(l->kv, checkpoint_name, checkpoint_encode(value, checkpoint));
	segments = log_segments(l->log, &count);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint8_t live[8];
		struct cursor at = cursor_over(live, sizeof live);

		if (!segments[i]->changed)
			continue;
		cursor_put_u64(&at, segments[i]->live);
		rc = kv_put(l->kv, name_segment(&name, segments[i]->number), (struct bytes){ live, sizeof live });
		segments[i]->changed = false;
	}
	return rc != 0 ? rc : kv_commit(l->kv);
}

int
ledger_forget(struct ledger *l, uint64_t segment)
{
	struct name name;
	int rc = kv_delete(l->kv, name_segment(&name, segment));

	return rc == -ENOENT ? 0 : rc;
}
