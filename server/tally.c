/* tally.c - see tally.h. */
#include "server/tally.h"

#include <errno.h>
#include <string.h>

#include "server/block.h"
#include "server/object.h"
#include "server/reap.h"

void
tally_init(struct tally *t, struct server *s, struct volume *v)
{
	*t = (struct tally){ .server = s, .volume = v };
	t->last_object = &t->first_object;
	t->last_block = &t->first_block;
	table_init(&t->objects, s->conns.seed);
	table_init(&t->blocks, 0);
}

void
tally_done(struct tally *t)
{
	for (struct tally_object *o = t->first_object; o != NULL; o = o->next)
		object_kick(t->server, o->object);
	table_done(&t->objects);
	table_done(&t->blocks);
	arena_free(&t->arena);
}

struct tally_object *
tally_object(struct tally *t, uint64_t oid)
{
	struct table_node *n = table_find(&t->objects, oid);
	struct tally_object *o;
	struct object *object;
	int r;

	if (n != NULL)
		return container_of(n, struct tally_object, node);
	o = arena_alloc(&t->arena, sizeof *o);
	object = o == NULL ? NULL : object_get(t->volume, oid);
	if (object == NULL) {
		t->error = -ENOMEM;
		return NULL;
	}
	o->object = object;
	r = object_header(t->server, t->volume, oid, &o->was);
	o->exists = r == 0;
	o->damaged = r < 0 && r != -ENOENT;
	if (o->damaged)
		t->error = r;
	o->is = o->was;
	table_insert(&t->objects, &o->node, oid);
	*t->last_object = o;
	t->last_object = &o->next;
	return o;
}

struct tally_block *
tally_block(struct tally *t, const uint8_t id[ID_SIZE])
{
	uint64_t hash = block_hash(t->server, t->volume, id);
	struct tally_block *b = NULL;
	struct bytes value;
	struct key key;
	int r;

	for (struct table_node *n = table_find(&t->blocks, hash); n != NULL; n = table_again(n)) {
		b = container_of(n, struct tally_block, node);
		if (memcmp(b->id, id, ID_SIZE) == 0)
			return b;
	}
	b = arena_alloc(&t->arena, sizeof *b);
	if (b == NULL) {
		t->error = -ENOMEM;
		return NULL;
	}
	memcpy(b->id, id, ID_SIZE);
	key = key_block(ROW_BLOCK, t->volume->number, id);
	r = store_get(t->server->store, key_bytes(&key), &value);
	if (r == 0)
		r = u64_row_decode(&b->was, value);
	b->known = r == 0;
	if (r < 0 && r != -ENOENT)
		t->error = r;
	table_insert(&t->blocks, &b->node, hash);
	*t->last_block = b;
	t->last_block = &b->next;
	return b;
}

static void
add_object(struct tally *t, uint64_t oid, int sign)
{
	struct tally_object *o = tally_object(t, oid);

	if (o != NULL)
		o->count += sign;
}

static void
add_block(struct tally *t, const uint8_t id[ID_SIZE], int sign)
{
	struct tally_block *b = tally_block(t, id);

	if (b != NULL)
		b->count += sign;
}

void
tally_change(struct tally *t, const struct msg_change *change, int sign)
{
	for (uint32_t i = 0; i < change->orefs.count; i++)
		add_object(t, change->orefs.at[i], sign);
	for (uint32_t i = 0; i < change->brefs.count; i++)
		add_block(t, change->brefs.at[i], sign);
}

void
tally_record(struct tally *t, const struct record_row *row, int sign)
{
	for (unsigned i = 0; i < row->orefs_count; i++)
		add_object(t, record_oref(row, i), sign);
	for (unsigned i = 0; i < row->brefs_count; i++)
		add_block(t, row->brefs[i], sign);
}

bool
tally_sum(struct tally *t)
{
	for (struct tally_object *o = t->first_object; o != NULL; o = o->next) {
		o->is.count = o->was.count + o->count;
		o->is.entries = o->was.entries + o->entries;
		if ((o->count < 0 && o->was.count < (uint64_t)-o->count) ||
		    (o->entries < 0 && o->was.entries < (uint64_t)-o->entries))
			t->error = -EBADMSG;
	}
	for (struct tally_block *b = t->first_block; b != NULL; b = b->next) {
		b->is = b->was + b->count;
		if (b->count < 0 && b->was < (uint64_t)-b->count)
			t->error = -EBADMSG;
	}
	return t->error == 0;
}

/* Stored, without reference, and not reserved. */
static bool
is_orphan(const struct tally_object *o)
{
	return o->is.count == 0 && o->node.key >= OID_RESERVED;
}

static void
object_rows(struct tally *t, const struct tally_object *o, struct batch *b)
{
	uint8_t row[HEADER_ROW_SIZE];
	struct key key = key_header(t->volume->number, o->node.key);

	if (!o->changed && o->count == 0)
		return;
	header_encode(&o->is, row);
	batch_put(b, key_bytes(&key), (struct bytes){ row, sizeof row });
	key = key_u64(ROW_ORPHAN, t->volume->number, o->node.key);
	if (is_orphan(o) && !o->object->orphan)
		batch_put(b, key_bytes(&key), (struct bytes){ row, 0 });
	else if (!is_orphan(o) && o->object->orphan)
		batch_delete(b, key_bytes(&key));
}

static bool
was_idle(const struct tally_block *x)
{
	return x->known && x->was == 0;
}

static void
block_rows(struct tally *t, const struct tally_block *x, struct batch *b)
{
	struct key key = key_block(ROW_BLOCK, t->volume->number, x->id);
	struct key idle = key_block(ROW_IDLE, t->volume->number, x->id);

	if (x->write)
		batch_block_put(b, x->id, x->carried->data);
	if (x->count != 0 || (x->write && !x->known))
		put_u64_row(b, &key, x->is);
	if (x->is == 0 && (x->known || x->write) && !was_idle(x))
		batch_put(b, key_bytes(&idle), (struct bytes){ x->id, 0 });
	else if (x->is > 0 && was_idle(x))
		batch_delete(b, key_bytes(&idle));
}

void
tally_rows(struct tally *t, struct batch *b)
{
	for (const struct tally_object *o = t->first_object; o != NULL; o = o->next)
		object_rows(t, o, b);
	for (const struct tally_block *x = t->first_block; x != NULL; x = x->next)
		block_rows(t, x, b);
}

void
tally_applied(struct tally *t, uint64_t pos)
{
	for (struct tally_object *o = t->first_object; o != NULL; o = o->next) {
		if (!o->changed && o->count == 0)
			continue;
		o->object->orphan = is_orphan(o);
		object_touch(t->server, o->object, pos);
		reap_consider(t->server, o->object);
	}
	for (struct tally_block *x = t->first_block; x != NULL; x = x->next) {
		if (x->is > 0)
			block_busy(t->server, t->volume, x->id);
		else if (x->known || x->write)
			block_idle(t->server, t->volume, x->id, x->was == 0);
	}
}
