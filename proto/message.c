/*
 * message.c - one codec for every message, driven by tables made from the
 * lists in message.h.  The walk is the same for size, encoding, decoding and
 * printing, so the four cannot disagree.
 */
#include "proto/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum field_kind { FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_FIXED, FIELD_BYTES, FIELD_NUMS, FIELD_IDS, FIELD_LIST };

struct field {
	const char		*name;
	enum field_kind		 kind;
	size_t			 offset;
	size_t			 max;
	const struct shape	*of;
};

struct shape {
	size_t			 size;
	const struct field	*fields;	/* ends with a NULL name */
};

#define OF_U8(...)	NULL
#define OF_U16(...)	NULL
#define OF_U32(...)	NULL
#define OF_U64(...)	NULL
#define OF_FIXED(...)	NULL
#define OF_BYTES(...)	NULL
#define OF_NUMS(...)	NULL
#define OF_IDS(...)	NULL
#define OF_LIST(max, of) &shape_##of
#define MAX_OF(max, ...) max
#define DESCRIBE(S, type, name, ...) \
	{ #name, FIELD_##type, offsetof(struct S, name), MAX_OF(__VA_ARGS__, 0), OF_##type(__VA_ARGS__) },
#define SHAPE(this) \
	static const struct field fields_##this[] = { SHAPE_##this(DESCRIBE, msg_##this) { .name = NULL } }; \
	static const struct shape shape_##this = { sizeof(struct msg_##this), fields_##this };
PARTS(SHAPE)
#define SHAPE_OF_MESSAGE(name, number, from, lane, payload) SHAPE(name)
MESSAGES(SHAPE_OF_MESSAGE)

static const struct {
	struct message_info	 info;
	const struct shape	*shape;
} table[MSG_COUNT] = {
#define ROW(name, number, from_, lane_, payload_) \
	[number] = { { #name, FROM_##from_, ON_##lane_, payload_ }, &shape_##name },
	MESSAGES(ROW)
};

/* NUMS, IDS and LIST share this layout: a pointer, then a count. */
struct counted {
	void		*at;
	uint32_t	 count;
};

enum { HEADER_SIZE = 2 + 8 };

static const struct shape *
shape_of(uint16_t type)
{
	return type < MSG_COUNT ? table[type].shape : NULL;
}

const struct message_info *
message_info(uint16_t type)
{
	return shape_of(type) == NULL ? NULL : &table[type].info;
}

const char *
status_text(enum status status)
{
	static const char *const text[STATUS_COUNT] = {
		[STATUS_OK] = "ok", [STATUS_NOENT] = "no such thing",
		[STATUS_EXIST] = "exists already", [STATUS_DENIED] = "not allowed",
		[STATUS_INVALID] = "invalid request", [STATUS_STALE] = "fenced by a newer connection",
		[STATUS_REJECTED] = "rejected", [STATUS_MISSING] = "blocks missing",
		[STATUS_SEQUENCE] = "out of sequence", [STATUS_NOSPC] = "no space left on the server",
		[STATUS_IO] = "damaged on the server", [STATUS_USED] = "invitation used or expired",
		[STATUS_BUSY] = "server busy",
	};

	return (unsigned)status < STATUS_COUNT ? text[status] : "unknown status";
}

/* ---- arena ---- */

enum { ARENA_FIRST = 1024, ARENA_MORE = 16384 };	/* most messages and operations need little */

struct arena_chunk {
	struct arena_chunk	*next;
	_Alignas(max_align_t) uint8_t data[];
};

void *
arena_alloc(struct arena *a, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	uint8_t *p;

	size = (size + align - 1) / align * align;
	if (size > a->left) {
		size_t least = a->used == 0 ? ARENA_FIRST : ARENA_MORE, want = size > least ? size : least;
		struct arena_chunk *chunk = calloc(1, sizeof *chunk + want);

		if (chunk == NULL)
			return NULL;
		chunk->next = a->chunks;
		a->chunks = chunk;
		a->next = chunk->data;
		a->left = want;
		a->used += want;
	}
	p = a->next;
	a->next += size;
	a->left -= size;
	return p;
}

void
arena_free(struct arena *a)
{
	struct arena_chunk *next;

	for (struct arena_chunk *c = a->chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	*a = (struct arena){ 0 };
}

/* ---- encoding ---- */

static size_t
length_size(const struct field *f)
{
	return f->max > UINT16_MAX ? 4 : 2;
}

static size_t
size_shape(const struct shape *shape, const uint8_t *s, bool *ret_valid)
{
	size_t size = 0;

	for (const struct field *f = shape->fields; f->name != NULL; f++) {
		const struct bytes *b = (const void *)(s + f->offset);
		const struct counted *list = (const void *)(s + f->offset);

		switch (f->kind) {
		case FIELD_U8:  size += 1; break;
		case FIELD_U16: size += 2; break;
		case FIELD_U32: size += 4; break;
		case FIELD_U64: size += 8; break;
		case FIELD_FIXED: size += f->max; break;
		case FIELD_BYTES:
			*ret_valid &= b->len <= f->max;
			size += length_size(f) + b->len;
			break;
		case FIELD_NUMS:
			*ret_valid &= list->count <= f->max;
			size += 4 + (size_t)list->count * 8;
			break;
		case FIELD_IDS:
			*ret_valid &= list->count <= f->max;
			size += 4 + (size_t)list->count * ID_SIZE;
			break;
		case FIELD_LIST:
			*ret_valid &= list->count <= f->max;
			size += 4;
			for (uint32_t i = 0; i < list->count && *ret_valid; i++)
				size += size_shape(f->of, (uint8_t *)list->at + i * f->of->size, ret_valid);
			break;
		}
	}
	return size;
}

static void
encode_shape(const struct shape *shape, const uint8_t *s, struct cursor *c)
{
	for (const struct field *f = shape->fields; f->name != NULL; f++) {
		const void *v = s + f->offset;
		const struct bytes *b = v;
		const struct counted *list = v;

		switch (f->kind) {
		case FIELD_U8:  cursor_put_u8(c, *(const uint8_t *)v); break;
		case FIELD_U16: cursor_put_u16(c, *(const uint16_t *)v); break;
		case FIELD_U32: cursor_put_u32(c, *(const uint32_t *)v); break;
		case FIELD_U64: cursor_put_u64(c, *(const uint64_t *)v); break;
		case FIELD_FIXED: cursor_put(c, v, f->max); break;
		case FIELD_BYTES:
			if (length_size(f) == 4)
				cursor_put_u32(c, b->len);
			else
				cursor_put_u16(c, b->len);
			cursor_put(c, b->data, b->len);
			break;
		case FIELD_NUMS:
			cursor_put_u32(c, list->count);
			for (uint32_t i = 0; i < list->count; i++)
				cursor_put_u64(c, ((uint64_t *)list->at)[i]);
			break;
		case FIELD_IDS:
			cursor_put_u32(c, list->count);
			cursor_put(c, list->at, (size_t)list->count * ID_SIZE);
			break;
		case FIELD_LIST:
			cursor_put_u32(c, list->count);
			for (uint32_t i = 0; i < list->count; i++)
				encode_shape(f->of, (uint8_t *)list->at + i * f->of->size, c);
			break;
		}
	}
}

size_t
message_size(const struct message *m)
{
	const struct shape *shape = shape_of(m->type);
	bool valid = shape != NULL;
	size_t size = valid ? HEADER_SIZE + size_shape(shape, (const uint8_t *)&m->done, &valid) : 0;

	return valid ? size : 0;
}

void
message_encode(const struct message *m, struct cursor *c)
{
	size_t size = message_size(m);

	if (size == 0 || size > cursor_left(c)) {
		cursor_fail(c);
		return;
	}
	cursor_put_u16(c, m->type);
	cursor_put_u64(c, m->id);
	encode_shape(shape_of(m->type), (const uint8_t *)&m->done, c);
}

/* ---- decoding ---- */

static int decode_shape(const struct shape *shape, uint8_t *s, struct cursor *c, struct arena *a);

/* Fewest bytes an element can take: bounds a count before memory is spent on it. */
static size_t
least_size(const struct shape *shape)
{
	size_t size = 0;

	for (const struct field *f = shape->fields; f->name != NULL; f++)
		switch (f->kind) {
		case FIELD_U8:  size += 1; break;
		case FIELD_U16: size += 2; break;
		case FIELD_U32: size += 4; break;
		case FIELD_U64: size += 8; break;
		case FIELD_FIXED: size += f->max; break;
		case FIELD_BYTES: size += length_size(f); break;
		case FIELD_NUMS: case FIELD_IDS: case FIELD_LIST: size += 4; break;
		}
	return size;
}

static int
decode_counted(const struct field *f, struct counted *list, struct cursor *c, struct arena *a)
{
	uint32_t count = cursor_get_u32(c);
	size_t each = f->kind == FIELD_NUMS ? 8 : f->kind == FIELD_IDS ? ID_SIZE : least_size(f->of);
	int r = 0;

	if (!cursor_ok(c) || count > f->max || count > cursor_left(c) / each)
		return -EBADMSG;
	list->count = count;
	if (count == 0)
		return 0;
	if (f->kind == FIELD_IDS) {
		list->at = (void *)(uintptr_t)cursor_get_bytes(c, (size_t)count * ID_SIZE).data;
		return 0;
	}
	list->at = arena_alloc(a, count * (f->kind == FIELD_NUMS ? 8 : f->of->size));
	if (list->at == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && r == 0; i++)
		if (f->kind == FIELD_NUMS)
			((uint64_t *)list->at)[i] = cursor_get_u64(c);
		else
			r = decode_shape(f->of, (uint8_t *)list->at + i * f->of->size, c, a);
	return r;
}

static int
decode_shape(const struct shape *shape, uint8_t *s, struct cursor *c, struct arena *a)
{
	for (const struct field *f = shape->fields; f->name != NULL; f++) {
		void *v = s + f->offset;
		size_t len;
		int r;

		switch (f->kind) {
		case FIELD_U8:  *(uint8_t *)v = cursor_get_u8(c); break;
		case FIELD_U16: *(uint16_t *)v = cursor_get_u16(c); break;
		case FIELD_U32: *(uint32_t *)v = cursor_get_u32(c); break;
		case FIELD_U64: *(uint64_t *)v = cursor_get_u64(c); break;
		case FIELD_FIXED: cursor_get(c, v, f->max); break;
		case FIELD_BYTES:
			len = length_size(f) == 4 ? cursor_get_u32(c) : cursor_get_u16(c);
			if (len > f->max)
				return -EBADMSG;
			*(struct bytes *)v = cursor_get_bytes(c, len);
			break;
		case FIELD_NUMS: case FIELD_IDS: case FIELD_LIST:
			if ((r = decode_counted(f, v, c, a)) < 0)
				return r;
			break;
		}
	}
	return cursor_ok(c) ? 0 : -EBADMSG;
}

int
message_decode(struct message *m, struct bytes body, struct arena *a)
{
	struct cursor c = cursor_read(body.data, body.len);
	const struct shape *shape;
	int r;

	memset(m, 0, sizeof *m);
	m->type = cursor_get_u16(&c);
	m->id = cursor_get_u64(&c);
	if (!cursor_ok(&c) || (shape = shape_of(m->type)) == NULL)
		return -EBADMSG;
	if ((r = decode_shape(shape, (uint8_t *)&m->done, &c, a)) < 0)
		return r;
	return cursor_done(&c) ? 0 : -EBADMSG;
}

/* ---- printing ---- */

enum { SHOWN_BYTES = 8, SHOWN_ITEMS = 4 };

static void
print_bytes(const uint8_t *data, size_t len, FILE *to)
{
	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++)
		fprintf(to, "%02x", data[i]);
	if (len > SHOWN_BYTES)
		fprintf(to, "..(%zu)", len);
}

static void
print_shape(const struct shape *shape, const uint8_t *s, FILE *to)
{
	for (const struct field *f = shape->fields; f->name != NULL; f++) {
		const void *v = s + f->offset;
		const struct bytes *b = v;
		const struct counted *list = v;
		uint32_t shown = 0;

		fprintf(to, " %s=", f->name);
		switch (f->kind) {
		case FIELD_U8:  fprintf(to, "%u", *(const uint8_t *)v); break;
		case FIELD_U16: fprintf(to, "%u", *(const uint16_t *)v); break;
		case FIELD_U32: fprintf(to, "%" PRIu32, *(const uint32_t *)v); break;
		case FIELD_U64: fprintf(to, "%" PRIu64, *(const uint64_t *)v); break;
		case FIELD_FIXED:
			if (strstr(f->name, "secret") != NULL || strcmp(f->name, "token") == 0)
				fputs("(secret)", to);
			else
				print_bytes(v, f->max, to);
			break;
		case FIELD_BYTES: print_bytes(b->data, b->len, to); break;
		case FIELD_NUMS: case FIELD_IDS: case FIELD_LIST:
			shown = list->count < SHOWN_ITEMS ? list->count : SHOWN_ITEMS;
			fprintf(to, "%" PRIu32 "[", list->count);
			for (uint32_t i = 0; i < shown; i++) {
				if (f->kind == FIELD_NUMS)
					fprintf(to, " %" PRIu64, ((uint64_t *)list->at)[i]);
				else if (f->kind == FIELD_IDS)
					print_bytes((uint8_t *)list->at + i * ID_SIZE, ID_SIZE, to);
				else {
					fputs(" {", to);
					print_shape(f->of, (uint8_t *)list->at + i * f->of->size, to);
					fputs(" }", to);
				}
			}
			fputs(shown < list->count ? " ...]" : " ]", to);
			break;
		}
	}
}

void
message_print(const struct message *m, FILE *to)
{
	const struct shape *shape = shape_of(m->type);

	fprintf(to, "%s id=%" PRIu64, shape == NULL ? "unknown" : table[m->type].info.name, m->id);
	if (shape != NULL)
		print_shape(shape, (const uint8_t *)&m->done, to);
	if (m->payload.len > 0)
		fprintf(to, " payload=%zu", m->payload.len);
}
