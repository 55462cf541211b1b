/*
 * layout.c - the codecs of the rows; the table of rows is in layout.h.
 */
#include "server/layout.h"

#include <errno.h>
#include <string.h>

#include "proto/message.h"

static struct cursor
key_start(struct key *k, enum row row)
{
	struct cursor c = cursor_over(k->data, sizeof k->data);

	cursor_put_u8(&c, row);
	return c;
}

struct key
key_table(enum row row)
{
	struct key k = { .data = { row }, .len = 1 };

	return k;
}

static void
fill_last(struct key *k)
{
	memset(k->data + k->len, 0xff, sizeof k->data - k->len);
	k->len = sizeof k->data;
}

struct key
key_table_last(enum row row)
{
	struct key k = key_table(row);

	fill_last(&k);
	return k;
}

struct key
key_volume(enum row row, uint32_t vol)
{
	struct key k;
	struct cursor c = key_start(&k, row);

	cursor_put_u32(&c, vol);
	k.len = c.pos;
	return k;
}

struct key
key_volume_last(enum row row, uint32_t vol)
{
	struct key k = key_volume(row, vol);

	fill_last(&k);
	return k;
}

struct key
key_u64(enum row row, uint32_t vol, uint64_t n)
{
	struct key k;
	struct cursor c = key_start(&k, row);

	cursor_put_u32(&c, vol);
	cursor_put_u64(&c, n);
	k.len = c.pos;
	return k;
}

struct key
key_pin(uint32_t vol, uint64_t session, uint64_t oid)
{
	struct key k;
	struct cursor c = key_start(&k, ROW_PIN);

	cursor_put_u32(&c, vol);
	cursor_put_u64(&c, session);
	cursor_put_u64(&c, oid);
	k.len = c.pos;
	return k;
}

struct key
key_hash(enum row row, const uint8_t hash[KEY_SIZE])
{
	struct key k;
	struct cursor c = key_start(&k, row);

	cursor_put(&c, hash, KEY_SIZE);
	k.len = c.pos;
	return k;
}

struct key
key_member(const uint8_t device[KEY_SIZE], uint32_t vol)
{
	struct key k;
	struct cursor c = key_start(&k, ROW_MEMBER);

	cursor_put(&c, device, KEY_SIZE);
	cursor_put_u32(&c, vol);
	k.len = c.pos;
	return k;
}

struct key
key_block(enum row row, uint32_t vol, const uint8_t id[ID_SIZE])
{
	struct key k;
	struct cursor c = key_start(&k, row);

	cursor_put_u32(&c, vol);
	cursor_put(&c, id, ID_SIZE);
	k.len = c.pos;
	return k;
}

struct key
key_header(uint32_t vol, uint64_t oid)
{
	return key_record(vol, oid, 0, (struct bytes){ NULL, 0 });
}

struct key
key_record(uint32_t vol, uint64_t oid, uint8_t kind, struct bytes subkey)
{
	struct key k;
	struct cursor c = key_start(&k, ROW_OBJECT);

	cursor_put_u32(&c, vol);
	cursor_put_u64(&c, oid);
	cursor_put_u8(&c, kind);
	if (subkey.len > 0)
		cursor_put(&c, subkey.data, subkey.len);
	k.len = c.pos;
	return k;
}

struct key
key_object_last(uint32_t vol, uint64_t oid)
{
	struct key k = key_u64(ROW_OBJECT, vol, oid);

	fill_last(&k);
	return k;
}

int
key_split(struct bytes key, uint32_t *ret_vol, uint64_t *ret_n, struct bytes *ret_rest)
{
	struct cursor c = cursor_read(key.data, key.len);

	cursor_get_u8(&c);
	*ret_vol = cursor_get_u32(&c);
	if (ret_n != NULL)
		*ret_n = cursor_get_u64(&c);
	if (ret_rest != NULL)
		*ret_rest = cursor_get_bytes(&c, cursor_left(&c));
	return cursor_done(&c) ? 0 : -EBADMSG;
}

void
header_encode(const struct header *h, uint8_t to[HEADER_ROW_SIZE])
{
	struct cursor c = cursor_over(to, HEADER_ROW_SIZE);

	cursor_put_u64(&c, h->count);
	cursor_put_u64(&c, h->version);
	cursor_put_u64(&c, h->writer);
	cursor_put_u64(&c, h->sequence);
	cursor_put_u64(&c, h->entries);
}

int
header_decode(struct header *h, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	h->count = cursor_get_u64(&c);
	h->version = cursor_get_u64(&c);
	h->writer = cursor_get_u64(&c);
	h->sequence = cursor_get_u64(&c);
	h->entries = cursor_get_u64(&c);
	return cursor_done(&c) ? 0 : -EBADMSG;
}

uint64_t
record_oref(const struct record_row *r, unsigned index)
{
	struct cursor c = cursor_read(r->orefs + index * 8, 8);

	return cursor_get_u64(&c);
}

int
record_decode(struct record_row *r, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	r->version = cursor_get_u64(&c);
	r->orefs_count = cursor_get_u8(&c);
	r->brefs_count = cursor_get_u8(&c);
	r->orefs = cursor_get_bytes(&c, r->orefs_count * 8).data;
	r->brefs = (const void *)cursor_get_bytes(&c, r->brefs_count * ID_SIZE).data;
	r->value = cursor_get_bytes(&c, cursor_left(&c));
	return cursor_ok(&c) && r->orefs_count <= REFS_MAX && r->brefs_count <= REFS_MAX &&
	    r->value.len <= VALUE_MAX ? 0 : -EBADMSG;
}

size_t
record_size(const struct msg_change *change)
{
	return RECORD_ROW_HEAD + change->orefs.count * 8 + change->brefs.count * ID_SIZE + change->value.len;
}

void
record_put(struct batch *b, const struct key *key, uint64_t version, const struct msg_change *change)
{
	uint8_t row[RECORD_ROW_HEAD + REFS_MAX * (8 + ID_SIZE) + VALUE_MAX];
	struct cursor c = cursor_over(row, sizeof row);

	cursor_put_u64(&c, version);
	cursor_put_u8(&c, change->orefs.count);
	cursor_put_u8(&c, change->brefs.count);
	for (uint32_t i = 0; i < change->orefs.count; i++)
		cursor_put_u64(&c, change->orefs.at[i]);
	if (change->brefs.count > 0)
		cursor_put(&c, change->brefs.at, (size_t)change->brefs.count * ID_SIZE);
	if (change->value.len > 0)
		cursor_put(&c, change->value.data, change->value.len);
	batch_put(b, key_bytes(key), (struct bytes){ row, c.pos });
}

void
session_row_encode(const struct session_row *r, uint8_t to[SESSION_ROW_SIZE])
{
	struct cursor c = cursor_over(to, SESSION_ROW_SIZE);

	cursor_put(&c, r->secret, SECRET_SIZE);
	cursor_put(&c, r->device, KEY_SIZE);
	cursor_put_u32(&c, r->generation);
	cursor_put_u8(&c, r->rejected);
	cursor_put_u64(&c, r->sequence);
	cursor_put_u64(&c, r->version);
	cursor_put_u64(&c, r->last_rejected);
	cursor_put_u64(&c, r->seen_s);
	cursor_put_u64(&c, r->evicted);
}

int
session_row_decode(struct session_row *r, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	cursor_get(&c, r->secret, SECRET_SIZE);
	cursor_get(&c, r->device, KEY_SIZE);
	r->generation = cursor_get_u32(&c);
	r->rejected = cursor_get_u8(&c);
	r->sequence = cursor_get_u64(&c);
	r->version = cursor_get_u64(&c);
	r->last_rejected = cursor_get_u64(&c);
	r->seen_s = cursor_get_u64(&c);
	r->evicted = cursor_left(&c) > 0 ? cursor_get_u64(&c) : 0;	/* rows of earlier versions end before it */
	return cursor_done(&c) ? 0 : -EBADMSG;
}

void
volume_row_put(struct batch *b, uint32_t vol, const struct volume_row *r)
{
	uint8_t row[VOLUME_ID_SIZE + KEY_SIZE + 1 + VOLUME_NAME_MAX + WRAP_MAX];
	struct cursor c = cursor_over(row, sizeof row);
	struct key key = key_volume(ROW_VOLUME, vol);

	cursor_put(&c, r->id, VOLUME_ID_SIZE);
	cursor_put(&c, r->recovery, KEY_SIZE);
	cursor_put_u8(&c, r->name.len);
	cursor_put(&c, r->name.data, r->name.len);
	if (r->wrap.len > 0)
		cursor_put(&c, r->wrap.data, r->wrap.len);
	batch_put(b, key_bytes(&key), (struct bytes){ row, c.pos });
}

int
volume_row_decode(struct volume_row *r, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	cursor_get(&c, r->id, VOLUME_ID_SIZE);
	cursor_get(&c, r->recovery, KEY_SIZE);
	r->name = cursor_get_bytes(&c, cursor_get_u8(&c));
	r->wrap = cursor_get_bytes(&c, cursor_left(&c));
	return cursor_ok(&c) && r->name.len <= VOLUME_NAME_MAX && r->wrap.len <= WRAP_MAX ? 0 : -EBADMSG;
}

void
state_row_put(struct batch *b, uint32_t vol, const struct state_row *r)
{
	uint8_t row[3 * 8];
	struct cursor c = cursor_over(row, sizeof row);
	struct key key = key_volume(ROW_STATE, vol);

	cursor_put_u64(&c, r->version);
	cursor_put_u64(&c, r->next_range);
	cursor_put_u64(&c, r->objects);
	batch_put(b, key_bytes(&key), (struct bytes){ row, c.pos });
}

int
state_row_decode(struct state_row *r, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	r->version = cursor_get_u64(&c);
	r->next_range = cursor_get_u64(&c);
	r->objects = cursor_get_u64(&c);
	return cursor_done(&c) ? 0 : -EBADMSG;
}

void
invitation_row_put(struct batch *b, const uint8_t hash[KEY_SIZE], const struct invitation_row *r)
{
	uint8_t row[1 + 8 + 4 + WRAP_MAX];
	struct cursor c = cursor_over(row, sizeof row);
	struct key key = key_hash(ROW_INVITATION, hash);

	cursor_put_u8(&c, r->used);
	cursor_put_u64(&c, r->expiry_s);
	cursor_put_u32(&c, r->vol);
	if (r->wrap.len > 0)
		cursor_put(&c, r->wrap.data, r->wrap.len);
	batch_put(b, key_bytes(&key), (struct bytes){ row, c.pos });
}

int
invitation_row_decode(struct invitation_row *r, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	r->used = cursor_get_u8(&c);
	r->expiry_s = cursor_get_u64(&c);
	r->vol = cursor_get_u32(&c);
	r->wrap = cursor_get_bytes(&c, cursor_left(&c));
	return cursor_ok(&c) && r->wrap.len <= WRAP_MAX ? 0 : -EBADMSG;
}

void
put_u64_row(struct batch *b, const struct key *key, uint64_t n)
{
	uint8_t row[8];
	struct cursor c = cursor_over(row, sizeof row);

	cursor_put_u64(&c, n);
	batch_put(b, key_bytes(key), (struct bytes){ row, sizeof row });
}

int
u64_row_decode(uint64_t *ret_n, struct bytes value)
{
	struct cursor c = cursor_read(value.data, value.len);

	*ret_n = cursor_get_u64(&c);
	return cursor_done(&c) ? 0 : -EBADMSG;
}
