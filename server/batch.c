/*
 * batch.c - the encoding of batches: the body of a log entry.
 *
 *	operation	type u8, then
 *	PUT		key length u8, value length u16, key, value
 *	DELETE		key length u8, key
 *	DELETE_RANGE	first length u8, last length u8, first, last
 *	BLOCK_PUT	id [32], length u32, bytes
 *	BLOCK_FREE	id [32]
 *	BLOCK_AT	id [32], segment u64, offset u32, length u32, XXH3-64 u64
 *	BLOCK_MOVED	the same
 *
 * A batch is its operations, one after the other, and at least one.
 */
#include "server/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
batch_init(struct batch *b)
{
	*b = (struct batch){ 0 };
}

void
batch_done(struct batch *b)
{
	free(b->data);
	batch_init(b);
}

void
batch_clear(struct batch *b)
{
	b->len = 0;
	b->error = 0;
}

int
batch_error(const struct batch *b)
{
	return b->error;
}

/* Room for one more operation of `len` bytes with its type filled in; a failed cursor if there is none. */
static struct cursor
batch_extend(struct batch *b, enum batch_type type, size_t len)
{
	struct cursor c = cursor_over(NULL, 0);
	size_t size = b->size == 0 ? 1024 : b->size;
	uint8_t *data;

	cursor_fail(&c);
	if (b->error != 0)
		return c;
	if (len + 1 > BATCH_MAX - b->len) {
		b->error = -E2BIG;
		return c;
	}
	while (size < b->len + len + 1)
		size *= 2;
	if (size != b->size) {
		data = realloc(b->data, size);
		if (data == NULL) {
			b->error = -ENOMEM;
			return c;
		}
		b->data = data;
		b->size = size;
	}
	c = cursor_over(b->data + b->len, len + 1);
	cursor_put_u8(&c, type);
	b->len += len + 1;
	return c;
}

static bool
key_valid(struct bytes key)
{
	return key.len >= 1 && key.len <= STORE_KEY_MAX;
}

static bool
range_valid(struct bytes from, struct bytes to)
{
	size_t common = from.len < to.len ? from.len : to.len;
	int order;

	if (!key_valid(from) || !key_valid(to))
		return false;
	order = memcmp(from.data, to.data, common);
	return order < 0 || (order == 0 && from.len <= to.len);
}

static void
batch_refuse(struct batch *b)
{
	if (b->error == 0)
		b->error = -EINVAL;
}

void
batch_put(struct batch *b, struct bytes key, struct bytes value)
{
	struct cursor c;

	if (!key_valid(key) || value.len > STORE_VALUE_MAX) {
		batch_refuse(b);
		return;
	}
	c = batch_extend(b, BATCH_PUT, 3 + key.len + value.len);
	cursor_put_u8(&c, (uint8_t)key.len);
	cursor_put_u16(&c, (uint16_t)value.len);
	cursor_put(&c, key.data, key.len);
	cursor_put(&c, value.data, value.len);
}

void
batch_delete(struct batch *b, struct bytes key)
{
	struct cursor c;

	if (!key_valid(key)) {
		batch_refuse(b);
		return;
	}
	c = batch_extend(b, BATCH_DELETE, 1 + key.len);
	cursor_put_u8(&c, (uint8_t)key.len);
	cursor_put(&c, key.data, key.len);
}

void
batch_delete_range(struct batch *b, struct bytes from, struct bytes to)
{
	struct cursor c;

	if (!range_valid(from, to)) {
		batch_refuse(b);
		return;
	}
	c = batch_extend(b, BATCH_DELETE_RANGE, 2 + from.len + to.len);
	cursor_put_u8(&c, (uint8_t)from.len);
	cursor_put_u8(&c, (uint8_t)to.len);
	cursor_put(&c, from.data, from.len);
	cursor_put(&c, to.data, to.len);
}

void
batch_block_put(struct batch *b, const uint8_t id[ID_SIZE], struct bytes data)
{
	struct cursor c;

	if (data.len == 0 || data.len > BLOCK_SEALED_MAX) {
		batch_refuse(b);
		return;
	}
	c = batch_extend(b, BATCH_BLOCK_PUT, ID_SIZE + 4 + data.len);
	cursor_put(&c, id, ID_SIZE);
	cursor_put_u32(&c, (uint32_t)data.len);
	cursor_put(&c, data.data, data.len);
}

void
batch_block_free(struct batch *b, const uint8_t id[ID_SIZE])
{
	struct cursor c = batch_extend(b, BATCH_BLOCK_FREE, ID_SIZE);

	cursor_put(&c, id, ID_SIZE);
}

void
batch_block_at(struct batch *b, enum batch_type type, const uint8_t id[ID_SIZE], struct block_place place)
{
	struct cursor c = batch_extend(b, type, ID_SIZE + 24);

	assert(type == BATCH_BLOCK_AT || type == BATCH_BLOCK_MOVED);
	cursor_put(&c, id, ID_SIZE);
	cursor_put_u64(&c, place.segment);
	cursor_put_u32(&c, place.offset);
	cursor_put_u32(&c, place.len);
	cursor_put_u64(&c, place.sum);
}

/* True if the operation just decoded could have been built above. */
static bool
op_valid(const struct batch_op *op)
{
	switch (op->type) {
	case BATCH_PUT:
		return key_valid(op->key) && op->value.len <= STORE_VALUE_MAX;
	case BATCH_DELETE:
		return key_valid(op->key);
	case BATCH_DELETE_RANGE:
		return range_valid(op->key, op->value);
	case BATCH_BLOCK_PUT:
		return op->value.len >= 1 && op->value.len <= BLOCK_SEALED_MAX;
	case BATCH_BLOCK_FREE:
		return true;
	case BATCH_BLOCK_AT:
	case BATCH_BLOCK_MOVED:
		return op->place.len >= 1 && op->place.len <= BLOCK_SEALED_MAX;
	}
	return false;
}

int
batch_next(struct cursor *c, struct batch_op *ret_op)
{
	struct batch_op op = { 0 };
	size_t key_len = ID_SIZE, value_len = 0;

	if (cursor_done(c))
		return 0;
	op.type = cursor_get_u8(c);
	switch (op.type) {
	case BATCH_PUT:
		key_len = cursor_get_u8(c);
		value_len = cursor_get_u16(c);
		break;
	case BATCH_DELETE:
		key_len = cursor_get_u8(c);
		break;
	case BATCH_DELETE_RANGE:
		key_len = cursor_get_u8(c);
		value_len = cursor_get_u8(c);
		break;
	default:
		break;
	}
	op.key = cursor_get_bytes(c, key_len);
	if (op.type == BATCH_BLOCK_PUT)
		value_len = cursor_get_u32(c);
	op.value = cursor_get_bytes(c, value_len);
	if (op.type == BATCH_BLOCK_AT || op.type == BATCH_BLOCK_MOVED) {
		op.place.segment = cursor_get_u64(c);
		op.place.offset = cursor_get_u32(c);
		op.place.len = cursor_get_u32(c);
		op.place.sum = cursor_get_u64(c);
	}
	if (!cursor_ok(c) || !op_valid(&op))
		return -EBADMSG;
	*ret_op = op;
	return 1;
}
