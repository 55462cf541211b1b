/*
 * check.c - what must be true of a store at rest, counted anew.
 *
 * One pass over each table fills three hash tables (objects, blocks,
 * sessions); what the records say is then compared with what the headers,
 * counts and lists say.  audit.c adds what is in memory.
 */
#include "server/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "server/layout.h"
#include "server/store.h"
#include "server/table.h"

struct seen_volume {
	struct table_node	 node;		/* by number */
	struct state_row	 state;
	uint64_t		 objects;
};

struct seen_object {
	struct table_node	 node;		/* by oid */
	uint32_t		 vol;
	bool			 stored, orphan;
	struct header		 header;
	uint64_t		 oid, refs, entries, newest;
};

struct seen_block {
	struct table_node	 node;		/* by the first bytes of the id */
	uint32_t		 vol;
	uint8_t			 id[ID_SIZE];
	bool			 stored, idle;
	uint64_t		 count, refs;
};

struct seen_session {
	struct table_node	 node;
	uint32_t		 vol;
};

struct check {
	struct store	*store;
	void		(*report)(void *context, const char *text);
	void		*context;
	uint64_t	 damages;
	struct arena	 arena;
	struct table	 volumes, objects, blocks, sessions;
};

__attribute__((format(printf, 2, 3))) static void
damage(struct check *c, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	c->damages++;
	c->report(c->context, text);
}

static struct seen_volume *
volume_of(struct check *c, uint32_t vol)
{
	struct table_node *n = table_find(&c->volumes, vol);

	return n == NULL ? NULL : container_of(n, struct seen_volume, node);
}

static struct seen_object *
object_of(struct check *c, uint32_t vol, uint64_t oid)
{
	struct seen_object *o;

	for (struct table_node *n = table_find(&c->objects, oid); n != NULL; n = table_again(n)) {
		o = container_of(n, struct seen_object, node);
		if (o->vol == vol)
			return o;
	}
	o = arena_alloc(&c->arena, sizeof *o);
	if (o != NULL) {
		o->vol = vol;
		o->oid = oid;
		table_insert(&c->objects, &o->node, oid);
	}
	return o;
}

static struct seen_block *
block_of(struct check *c, uint32_t vol, const uint8_t id[ID_SIZE])
{
	struct cursor head = cursor_read(id, 8);
	uint64_t key = cursor_get_u64(&head);
	struct seen_block *b;

	for (struct table_node *n = table_find(&c->blocks, key); n != NULL; n = table_again(n)) {
		b = container_of(n, struct seen_block, node);
		if (b->vol == vol && memcmp(b->id, id, ID_SIZE) == 0)
			return b;
	}
	b = arena_alloc(&c->arena, sizeof *b);
	if (b != NULL) {
		b->vol = vol;
		memcpy(b->id, id, ID_SIZE);
		table_insert(&c->blocks, &b->node, key);
	}
	return b;
}

static bool
session_of(struct check *c, uint32_t vol, uint64_t id)
{
	struct table_node *n = table_find(&c->sessions, id);

	return n != NULL && container_of(n, struct seen_session, node)->vol == vol;
}

/* ---- a visitor a table ---- */

static int
see_volume(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_volume *v = arena_alloc(&c->arena, sizeof *v);
	struct volume_row row;
	uint32_t vol = 0;

	if (v == NULL)
		return -ENOMEM;
	if (key_split(key, &vol, NULL, NULL) < 0 || volume_row_decode(&row, value) < 0)
		damage(c, "volume %" PRIu32 ": unreadable row", vol);
	table_insert(&c->volumes, &v->node, vol);
	return 0;
}

static int
see_state(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_volume *v;
	uint32_t vol = 0;

	if (key_split(key, &vol, NULL, NULL) < 0 || (v = volume_of(c, vol)) == NULL ||
	    state_row_decode(&v->state, value) < 0)
		damage(c, "volume %" PRIu32 ": state without volume, or unreadable", vol);
	return 0;
}

static int
see_session(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_session *n = arena_alloc(&c->arena, sizeof *n);
	struct session_row row = { 0 };
	uint64_t id = 0;

	if (n == NULL)
		return -ENOMEM;
	if (key_split(key, &n->vol, &id, NULL) < 0 || session_row_decode(&row, value) < 0 ||
	    volume_of(c, n->vol) == NULL)
		damage(c, "session %016" PRIx64 ": unreadable, or without volume", id);
	else if (row.last_rejected > row.sequence || (row.rejected && row.last_rejected != row.sequence))
		damage(c, "session %016" PRIx64 ": sequence %" PRIu64 " but %" PRIu64 " rejected", id, row.sequence,
		    row.last_rejected);
	table_insert(&c->sessions, &n->node, id);
	return 0;
}

static int
see_range(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_volume *v;
	uint64_t number = 0, owner = 0;
	uint32_t vol = 0;

	if (key_split(key, &vol, &number, NULL) < 0 || u64_row_decode(&owner, value) < 0 ||
	    (v = volume_of(c, vol)) == NULL || !session_of(c, vol, owner) || number >= v->state.next_range)
		damage(c, "volume %" PRIu32 ": range %" PRIu64 " without session, or not handed out yet", vol, number);
	return 0;
}

static int
see_pin(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct bytes oid;
	uint64_t owner = 0;
	uint32_t vol = 0;

	(void)value;
	if (key_split(key, &vol, &owner, &oid) < 0 || oid.len != sizeof(uint64_t) || !session_of(c, vol, owner))
		damage(c, "volume %" PRIu32 ": pin of session %016" PRIx64 ", which is not there", vol, owner);
	return 0;
}

static int
see_orphan(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_object *o;
	uint64_t oid = 0;
	uint32_t vol = 0;

	(void)value;
	if (key_split(key, &vol, &oid, NULL) < 0)
		damage(c, "orphan: unreadable key");
	o = object_of(c, vol, oid);
	if (o == NULL)
		return -ENOMEM;
	o->orphan = true;
	return 0;
}

static int
see_record(struct check *c, struct seen_object *o, struct bytes rest, const struct record_row *row)
{
	if (row->version > o->newest)
		o->newest = row->version;
	o->entries += rest.data[0] == KIND_ENTRY;
	for (unsigned i = 0; i < row->orefs_count; i++) {
		struct seen_object *to = object_of(c, o->vol, record_oref(row, i));

		if (to == NULL)
			return -ENOMEM;
		to->refs++;
	}
	for (unsigned i = 0; i < row->brefs_count; i++) {
		struct seen_block *to = block_of(c, o->vol, row->brefs[i]);

		if (to == NULL)
			return -ENOMEM;
		to->refs++;
	}
	return 0;
}

static int
see_object(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_volume *v;
	struct seen_object *o;
	struct record_row row;
	struct bytes rest;
	uint64_t oid = 0;
	uint32_t vol = 0;

	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1) {
		damage(c, "object: unreadable key");
		return 0;
	}
	o = object_of(c, vol, oid);
	if (o == NULL)
		return -ENOMEM;
	if (rest.data[0] == 0) {
		o->stored = header_decode(&o->header, value) == 0;
		v = volume_of(c, vol);
		if (v != NULL)
			v->objects++;
		if (!o->stored)
			damage(c, "volume %" PRIu32 " object %" PRIu64 ": unreadable header", vol, oid);
		return 0;
	}
	if (record_decode(&row, value) == 0)
		return see_record(c, o, rest, &row);
	damage(c, "volume %" PRIu32 " object %" PRIu64 ": unreadable record of kind %u", vol, oid, rest.data[0]);
	return 0;
}

static int
see_block(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_block *b;
	struct bytes rest;
	uint32_t vol = 0;

	if (key_split(key, &vol, NULL, &rest) < 0 || rest.len != ID_SIZE) {
		damage(c, "block: unreadable key");
		return 0;
	}
	b = block_of(c, vol, rest.data);
	if (b == NULL)
		return -ENOMEM;
	b->stored = true;
	if (u64_row_decode(&b->count, value) < 0)
		damage(c, "volume %" PRIu32 ": unreadable count of block %02x%02x..", vol, b->id[0], b->id[1]);
	return 0;
}

static int
see_idle(void *arg, struct bytes key, struct bytes value)
{
	struct check *c = arg;
	struct seen_block *b;
	struct bytes rest;
	uint32_t vol = 0;

	(void)value;
	if (key_split(key, &vol, NULL, &rest) < 0 || rest.len != ID_SIZE) {
		damage(c, "idle block: unreadable key");
		return 0;
	}
	b = block_of(c, vol, rest.data);
	if (b == NULL)
		return -ENOMEM;
	b->idle = true;
	return 0;
}

/* ---- comparison ---- */

static void
judge_object(struct check *c, const struct seen_object *o)
{
	const struct seen_volume *v = volume_of(c, o->vol);
	const struct header *h = &o->header;
	bool reserved = o->oid < OID_RESERVED;

	if (v == NULL) {
		damage(c, "volume %" PRIu32 ": objects, but no volume", o->vol);
		return;
	}
	if (!o->stored) {
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": %" PRIu64 " references and %s, but it is not there",
		    o->vol, o->oid, o->refs, o->orphan ? "an orphan row" : "records");
		return;
	}
	if (h->count != o->refs)
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": count %" PRIu64 ", but %" PRIu64 " references", o->vol,
		    o->oid, h->count, o->refs);
	if (h->entries != o->entries)
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": %" PRIu64 " entries noted, %" PRIu64 " there", o->vol,
		    o->oid, h->entries, o->entries);
	if (o->newest > h->version || h->version > v->state.version)
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": a version from the future", o->vol, o->oid);
	if (o->orphan != (h->count == 0 && !reserved) || (h->count == 0 && h->entries > 0 && !reserved))
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": count %" PRIu64 ", %" PRIu64 " entries, %s orphan", o->vol,
		    o->oid, h->count, h->entries, o->orphan ? "an" : "not an");
	if (!reserved && (o->oid - OID_RESERVED) / RANGE_SIZE >= v->state.next_range)
		damage(c, "volume %" PRIu32 " object %" PRIu64 ": beyond all ranges", o->vol, o->oid);
}

static void
judge_block(struct check *c, const struct seen_block *b)
{
	if (!b->stored)
		damage(c, "volume %" PRIu32 " block %02x%02x%02x%02x..: %" PRIu64 " references, but it is not there",
		    b->vol, b->id[0], b->id[1], b->id[2], b->id[3], b->refs);
	else if (b->count != b->refs || b->idle != (b->count == 0))
		damage(c, "volume %" PRIu32 " block %02x%02x%02x%02x..: count %" PRIu64 ", but %" PRIu64 " references%s",
		    b->vol, b->id[0], b->id[1], b->id[2], b->id[3], b->count, b->refs, b->idle ? ", idle" : "");
	if (b->refs > 0 && store_block_exists(c->store, b->id) != 1)
		damage(c, "volume %" PRIu32 " block %02x%02x%02x%02x..: its bytes are not there", b->vol, b->id[0],
		    b->id[1], b->id[2], b->id[3]);
}

static void
judge(struct check *c)
{
	size_t slot = 0;
	struct table_node *n = NULL;

	while ((n = table_walk(&c->objects, &slot, n)) != NULL)
		judge_object(c, container_of(n, struct seen_object, node));
	slot = 0;
	while ((n = table_walk(&c->blocks, &slot, n)) != NULL)
		judge_block(c, container_of(n, struct seen_block, node));
	slot = 0;
	while ((n = table_walk(&c->volumes, &slot, n)) != NULL) {
		struct seen_volume *v = container_of(n, struct seen_volume, node);

		if (v->state.objects != v->objects)
			damage(c, "volume %" PRIu64 ": %" PRIu64 " objects noted, %" PRIu64 " there", n->key,
			    v->state.objects, v->objects);
	}
}

uint64_t
server_check_store(struct store *store, void (*report)(void *context, const char *text), void *context)
{
	/* Volumes before all that names them, sessions before what they own. */
	static const struct {
		enum row	 row;
		const char	*name;
		store_visit	*visit;
	} tables[] = {
		{ ROW_VOLUME, "volumes", see_volume }, { ROW_STATE, "states", see_state },
		{ ROW_SESSION, "sessions", see_session }, { ROW_RANGE, "ranges", see_range },
		{ ROW_PIN, "pins", see_pin }, { ROW_ORPHAN, "orphans", see_orphan },
		{ ROW_OBJECT, "objects", see_object }, { ROW_BLOCK, "blocks", see_block },
		{ ROW_IDLE, "idle blocks", see_idle },
	};
	struct check c = { .store = store, .report = report, .context = context };
	int r = 0;

	table_init(&c.volumes, 0);
	table_init(&c.objects, 0);
	table_init(&c.blocks, 0);
	table_init(&c.sessions, 0);
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		struct key from = key_table(tables[i].row), to = key_table_last(tables[i].row);
		int failed = store_scan(store, key_bytes(&from), key_bytes(&to), tables[i].visit, &c);

		if (failed < 0) {
			damage(&c, "table of %s: %s", tables[i].name, strerror(-failed));
			r = failed;
		}
	}
	if (r == 0)
		judge(&c);
	table_done(&c.volumes);
	table_done(&c.objects);
	table_done(&c.blocks);
	table_done(&c.sessions);
	arena_free(&c.arena);
	return c.damages;
}
