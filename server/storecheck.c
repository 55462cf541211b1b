/* storecheck.c - diskstore_check(): verifies a store that nobody has open. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/diskstore_room.h"

struct live {
	uint64_t	segment;
	uint64_t	bytes;
};

struct storecheck {
	struct diskstore	*d;
	unsigned		 damages;
	struct live		*live;		/* recounted, one for each of the log's segments, in order */
	size_t			 count;
};

static int
live_order(const void *a, const void *b)
{
	uint64_t x = ((const struct live *)a)->segment, y = ((const struct live *)b)->segment;

	return x < y ? -1 : x > y;
}

static void
id_text(const uint8_t id[ID_SIZE], char ret_text[2 * ID_SIZE + 1])
{
	for (size_t i = 0; i < ID_SIZE; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", id[i]);
}

/* Reads a block and counts it as live. */
static int
check_block(void *arg, const uint8_t id[ID_SIZE], struct block_place place)
{
	struct storecheck *c = arg;
	char text[2 * ID_SIZE + 1];
	struct block_ref *ref = NULL;
	struct live *live;
	uint8_t *data = NULL;
	int rc = place.len > BLOCK_SEALED_MAX ? -EIO : store_block_find(&c->d->store, id, &ref);

	if (rc == 0) {
		data = malloc(place.len);
		rc = data == NULL ? -ENOMEM : store_block_read(ref, 0, place.len, data);
	}
	free(data);
	store_block_put_ref(ref);
	if (rc == -ENOMEM)
		return rc;
	live = bsearch(&(struct live){ place.segment, 0 }, c->live, c->count, sizeof *c->live, live_order);
	if (live != NULL)
		live->bytes += place.len;
	if (rc != 0) {
		id_text(id, text);
		ledger_say(&c->d->ledger, "block %s: %s", text, strerror(-rc));
		c->damages++;
	}
	return 0;
}

/* Compares the recounted live bytes with the stored ones. */
static void
check_live(struct storecheck *c)
{
	struct segment *const *segments;
	size_t count;

	segments = log_segments(c->d->log, &count);
	for (size_t i = 0; i < count && i < c->count; i++) {
		if (segments[i]->live == c->live[i].bytes)
			continue;
		ledger_say(&c->d->ledger, "segment %016" PRIx64 ": %" PRIu64 " live bytes are counted, but there are %" PRIu64,
		    segments[i]->number, segments[i]->live, c->live[i].bytes);
		c->damages++;
	}
}

static int
check_record(void *arg, struct bytes key, struct bytes value)
{
	(void)arg, (void)key, (void)value;
	return 0;
}

int
diskstore_check(const char *path, const struct diskstore_config *config)
{
	uint8_t most[STORE_KEY_MAX];
	struct storecheck c = { 0 };
	struct segment *const *segments;
	struct store *s = NULL;
	int rc = diskstore_open_counted(path, config, &s, &c.damages);

	if (rc != 0)
		return rc == -EBADMSG ? (int)c.damages : rc;
	c.d = diskstore_of(s);
	memset(most, 0xff, sizeof most);
	segments = log_segments(c.d->log, &c.count);
	c.live = calloc(c.count, sizeof *c.live);
	rc = c.live == NULL ? -ENOMEM : 0;
	for (size_t i = 0; rc == 0 && i < c.count; i++)
		c.live[i].segment = segments[i]->number;
	if (rc == 0)
		rc = ledger_scan(&c.d->ledger, (struct bytes){ NULL, 0 }, (struct bytes){ most, sizeof most },
		    check_record, NULL);
	if (rc == 0)
		rc = ledger_scan_blocks(&c.d->ledger, check_block, &c);
	if (rc == 0)
		check_live(&c);
	else if (rc == -EBADMSG && c.damages == 0)
		c.damages++;
	free(c.live);
	/* What was found damaged is no reason to write anything more. */
	if (c.damages > 0)
		diskstore_abandon(s);
	else if (rc == 0)
		rc = store_close(s);
	else
		store_close(s);
	return rc != 0 && rc != -EBADMSG ? rc : (int)c.damages;
}
