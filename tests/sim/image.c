/* image.c - see image.h. */
#include "tests/sim/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/value.h"
#include "server/layout.h"
#include "server/store.h"
#include "tests/sim/blocks.h"
#include "tests/sim/daemon.h"

enum { VOLUME = 1, ORDER = 64 };

__attribute__((format(printf, 2, 3))) static void
wrong(struct image *image, const char *format, ...)
{
	va_list ap;

	if (image->wrong[0] != 0)
		return;
	va_start(ap, format);
	vsnprintf(image->wrong, sizeof image->wrong, format, ap);
	va_end(ap);
}

static struct image_object *
find(const struct image *image, uint64_t oid)
{
	size_t low = 0, high = image->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (image->objects[mid].oid < oid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < image->count && image->objects[low].oid == oid ? &image->objects[low] : NULL;
}

const struct image_object *
image_find(const struct image *image, uint64_t oid)
{
	return find(image, oid);
}

static uint8_t *
copied(struct bytes from)
{
	uint8_t *to = sim_alloc(from.len);

	if (from.len > 0)
		memcpy(to, from.data, from.len);
	return to;
}

/* ---- records ---- */

static void
take_region(struct image *image, struct image_object *o, struct bytes subkey, struct bytes plain,
    const struct record_row *row)
{
	struct cursor c = cursor_read(subkey.data, subkey.len);
	uint64_t region = cursor_get_u64(&c);
	struct extent extents[EXTENTS_MAX];
	size_t count = EXTENTS_MAX;

	if (!cursor_done(&c) || region_decode(extents, &count, plain) < 0) {
		wrong(image, "a region of %" PRIu64 " does not decode", o->oid);
		return;
	}
	o->pieces = realloc(o->pieces, (o->pieces_count + count) * sizeof *o->pieces);
	for (size_t i = 0; i < count; i++) {
		struct piece_of_region *p = &o->pieces[o->pieces_count++];

		*p = (struct piece_of_region){ .region = region, .extent = extents[i] };
		if (extents[i].ref >= row->brefs_count)
			wrong(image, "a region of %" PRIu64 " names no block", o->oid);
		else
			memcpy(p->block, row->brefs[extents[i].ref], ID_SIZE);
	}
}

static void
take_entry(struct image *image, struct image_object *o, struct bytes plain, const struct record_row *row)
{
	struct bytes name;
	uint8_t type, n;

	if (entry_decode(&name, &type, plain) < 0 || (n = name_number(name)) == NAME_NONE || row->orefs_count != 1) {
		wrong(image, "an entry of %" PRIu64 " does not decode", o->oid);
		return;
	}
	if (o->entries[n] != 0)
		wrong(image, "directory %" PRIu64 " has %.8s twice", o->oid, name_text(n));
	o->entries[n] = record_oref(row, 0);
}

static void
take_record(struct image *image, struct image_object *o, uint8_t kind, struct bytes subkey, struct bytes plain,
    const struct record_row *row)
{
	struct bytes name, value;
	struct meta meta;
	bool good = true;
	uint8_t n;

	switch (kind) {
	case KIND_ATTR:
		good = attr_decode(&o->attr, plain) == 0;
		o->has_attr = good;
		o->target = good && S_ISLNK(o->attr.mode) ? name_number(o->attr.symlink) : NAME_NONE;
		o->attr.symlink.data = NULL;
		break;
	case KIND_PARENT:
		good = parent_decode(&o->parent, plain) == 0;
		o->has_parent = good;
		break;
	case KIND_META:
		good = meta_decode(&meta, plain) == 0 && row->orefs_count == 1;
		image->meta_root = good ? record_oref(row, 0) : 0;
		break;
	case KIND_INLINE:
		good = inline_decode(&value, plain) == 0;
		o->has_inline = good;
		o->content = good ? copied(value) : NULL;
		o->content_len = value.len;
		break;
	case KIND_XATTR:
		good = xattr_decode(&name, &value, plain) == 0 && (n = xattr_number(name)) != NAME_NONE;
		if (good) {
			o->xattrs[n].set = true;
			o->xattrs[n].value = copied(value);
			o->xattrs[n].len = value.len;
		}
		break;
	case KIND_ENTRY:
		take_entry(image, o, plain, row);
		break;
	case KIND_REGION:
		take_region(image, o, subkey, plain, row);
		break;
	default:
		good = false;
	}
	if (!good)
		wrong(image, "a record of kind %u of %" PRIu64 " does not decode", kind, o->oid);
}

static int
visit(void *arg, struct bytes key, struct bytes value)
{
	struct image *image = arg;
	struct image_object *o;
	struct record_row row;
	struct header header;
	struct bytes rest, plain, subkey;
	struct arena arena = { 0 };
	uint64_t oid, orefs[REFS_MAX];
	uint32_t vol;

	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1) {
		wrong(image, "a key of the store does not decode");
		return 0;
	}
	if (image->count == 0 || image->objects[image->count - 1].oid != oid) {
		if (image->count == image->size) {
			image->size = image->size * 2 + 32;
			image->objects = realloc(image->objects, image->size * sizeof *image->objects);
		}
		image->objects[image->count++] = (struct image_object){ .oid = oid, .target = NAME_NONE };
	}
	o = &image->objects[image->count - 1];
	if (rest.data[0] == 0) {
		if (header_decode(&header, value) == 0)
			o->count = header.count;
		return 0;
	}
	subkey = (struct bytes){ rest.data + 1, rest.len - 1 };
	if (record_decode(&row, value) < 0) {
		wrong(image, "a row of %" PRIu64 " does not decode", oid);
		return 0;
	}
	for (uint32_t i = 0; i < row.orefs_count; i++)
		orefs[i] = record_oref(&row, i);
	plain = blocks_open_record(image->sim, oid, rest.data[0], subkey, orefs, row.orefs_count, row.brefs,
	    row.brefs_count, row.value, &arena);
	if (plain.data == NULL)
		wrong(image, "a record of %" PRIu64 " does not open", oid);
	else
		take_record(image, o, rest.data[0], subkey, plain, &row);
	arena_free(&arena);
	return 0;
}

void
image_read(struct sim *sim, struct image *image)
{
	struct key from = key_volume(ROW_OBJECT, VOLUME), to = key_volume_last(ROW_OBJECT, VOLUME);

	*image = (struct image){ .sim = sim };
	if (store_scan(sim->daemon->store, key_bytes(&from), key_bytes(&to), visit, image) < 0)
		wrong(image, "the store cannot be read");
}

void
image_free(struct image *image)
{
	for (size_t i = 0; i < image->count; i++) {
		struct image_object *o = &image->objects[i];

		free(o->content);
		free(o->pieces);
		for (unsigned x = 0; x < XATTRS; x++)
			free(o->xattrs[x].value);
	}
	free(image->objects);
	*image = (struct image){ 0 };
}

/* ---- is it a tree ---- */

static void
check_directory(struct image *image, const struct image_object *o)
{
	uint32_t directories = 0;

	for (unsigned n = 0; n < NAMES; n++) {
		struct image_object *child = o->entries[n] == 0 ? NULL : find(image, o->entries[n]);

		if (o->entries[n] == 0)
			continue;
		if (child == NULL || !child->has_attr) {
			wrong(image, "%.8s in %" PRIu64 " leads to %" PRIu64 ", which is not there", name_text(n), o->oid,
			    o->entries[n]);
			continue;
		}
		child->names++;
		if (!S_ISDIR(child->attr.mode))
			continue;
		directories++;
		if (!child->has_parent || child->parent != o->oid)
			wrong(image, "the parent of %" PRIu64 " is said to be %" PRIu64 ", but is %" PRIu64, child->oid,
			    child->parent, o->oid);
	}
	if (o->attr.nlink != 0 && o->attr.nlink != 2 + directories)
		wrong(image, "directory %" PRIu64 " has nlink %u, but %u subdirectories", o->oid, o->attr.nlink, directories);
}

static void
check_object(struct image *image, const struct image_object *o)
{
	uint64_t at = o->oid;
	unsigned depth = 0;

	if (o->oid == OID_ROOT || o->oid < OID_RESERVED)
		return;
	if (o->names != o->count)
		wrong(image, "%" PRIu64 " has %" PRIu64 " names, but its count is %" PRIu64, o->oid, o->names, o->count);
	if (!o->has_attr || o->names == 0)
		return;
	if (!S_ISDIR(o->attr.mode) && o->attr.nlink != o->names)
		wrong(image, "%" PRIu64 " has %" PRIu64 " names, but nlink %u", o->oid, o->names, o->attr.nlink);
	if (S_ISDIR(o->attr.mode) && o->names != 1)
		wrong(image, "directory %" PRIu64 " has %" PRIu64 " names", o->oid, o->names);
	for (const struct image_object *up = o; S_ISDIR(o->attr.mode) && at != OID_ROOT; at = up->parent)
		if ((up = find(image, at)) == NULL || ++depth > image->count) {
			wrong(image, "directory %" PRIu64 " does not lead to the root", o->oid);
			break;
		}
}

bool
image_check(struct image *image)
{
	for (size_t i = 0; i < image->count; i++)
		image->objects[i].names = 0;
	for (size_t i = 0; i < image->count; i++)
		if (image->objects[i].has_attr && S_ISDIR(image->objects[i].attr.mode))
			check_directory(image, &image->objects[i]);
	for (size_t i = 0; i < image->count; i++)
		check_object(image, &image->objects[i]);
	return image->wrong[0] == 0;
}

/* ---- content ---- */

/* A whole block, opened; NULL when it is not there. */
static uint8_t *
fetch(const struct image *image, const uint8_t id[ID_SIZE], size_t *ret_len)
{
	struct store *store = image->sim->daemon->store;
	struct block_ref *ref;
	uint8_t *sealed, *plain = NULL;
	ssize_t len = -1;

	if (store_block_find(store, id, &ref) < 0)
		return NULL;
	sealed = sim_room(ref->len);
	plain = sim_room(BLOCK_SIZE + CELL_SIZE);
	if (store_block_read(ref, 0, ref->len, sealed) == 0)
		len = blocks_open(image->sim, id, (struct bytes){ sealed, ref->len }, plain);
	store_block_put_ref(ref);
	free(sealed);
	if (len < 0) {
		free(plain);
		return NULL;
	}
	*ret_len = (size_t)len;
	return plain;
}

bool
image_content(const struct image *image, const struct image_object *o, uint8_t *to)
{
	uint8_t last[ID_SIZE] = { 0 }, *plain = NULL;
	uint64_t size = o->attr.size;
	size_t len = 0;
	bool whole = true;

	memset(to, 0, size);
	if (o->attr.flags & ATTR_INLINE)
		memcpy(to, o->content, o->content_len < size ? o->content_len : size);
	for (size_t i = 0; i < o->pieces_count && whole && !(o->attr.flags & ATTR_INLINE); i++) {
		const struct piece_of_region *p = &o->pieces[i];
		uint64_t at = p->region * REGION_SIZE + p->extent.offset, n = p->extent.length;

		if (plain == NULL || memcmp(last, p->block, ID_SIZE) != 0) {
			free(plain);
			plain = fetch(image, p->block, &len);
			memcpy(last, p->block, ID_SIZE);
		}
		if (plain == NULL || p->extent.block_offset + n > len)
			whole = false;
		else if (at < size)
			memcpy(to + at, plain + p->extent.block_offset, n < size - at ? n : size - at);
	}
	free(plain);
	return whole;
}

/* ---- sessions and garbage ---- */

bool
image_session(struct sim *sim, uint64_t session, uint64_t *ret_sequence, bool *ret_rejected)
{
	struct key key = key_u64(ROW_SESSION, VOLUME, session);
	struct session_row row;
	struct bytes value;

	if (store_get(sim->daemon->store, key_bytes(&key), &value) < 0 || session_row_decode(&row, value) < 0)
		return false;
	*ret_sequence = row.sequence;
	*ret_rejected = row.sequence != 0 && row.sequence == row.last_rejected;
	return true;
}

uint64_t
image_version(struct sim *sim)
{
	struct key key = key_volume(ROW_STATE, VOLUME);
	struct state_row row;
	struct bytes value;

	return store_get(sim->daemon->store, key_bytes(&key), &value) < 0 || state_row_decode(&row, value) < 0 ? 0 :
	    row.version;
}

static int
count_idle(void *arg, struct bytes key, struct bytes value)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return 0;
}

static int
show_pin(void *arg, struct bytes key, struct bytes value)
{
	struct bytes rest;
	uint64_t session;
	uint32_t vol;

	(void)value;
	if (key_split(key, &vol, &session, &rest) == 0) {
		struct cursor c = cursor_read(rest.data, rest.len);

		sim_trace(arg, "image: session %" PRIu64 " pins %" PRIu64, session, cursor_get_u64(&c));
	}
	return 0;
}

size_t
image_garbage(struct sim *sim, size_t *ret_blocks)
{
	struct key from = key_volume(ROW_IDLE, VOLUME), to = key_volume_last(ROW_IDLE, VOLUME);
	struct key first_pin = key_volume(ROW_PIN, VOLUME), last_pin = key_volume_last(ROW_PIN, VOLUME);
	struct image image;
	size_t objects = 0;

	if (sim->options.trace)
		store_scan(sim->daemon->store, key_bytes(&first_pin), key_bytes(&last_pin), show_pin, sim);
	*ret_blocks = 0;
	store_scan(sim->daemon->store, key_bytes(&from), key_bytes(&to), count_idle, ret_blocks);
	image_read(sim, &image);
	image_check(&image);
	for (size_t i = 0; i < image.count; i++)
		if (image.objects[i].oid >= OID_RESERVED && image.objects[i].names == 0) {
			struct key orphan = key_u64(ROW_ORPHAN, VOLUME, image.objects[i].oid);
			struct bytes value;

			sim_trace(sim, "image: %" PRIu64 " has no name, count %" PRIu64 "%s", image.objects[i].oid,
			    image.objects[i].count, store_get(sim->daemon->store, key_bytes(&orphan), &value) == 0 ? ", orphan" : "");
			objects++;
		}
	image_free(&image);
	return objects;
}
