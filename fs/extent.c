/*
 * extent.c - REGION records: where the bytes of a region are.
 *
 * A map is a record unpacked: extents sorted by offset, each with the id of
 * its block.  Stored, equal ids become one reference.
 */
#include "fs/content.h"

#include <assert.h>

int
extent_load(struct region_map *m, struct object *o, uint64_t region)
{
	uint8_t subkey[8];
	size_t count;
	struct rec *r;

	m->count = 0;
	data_region_subkey(region, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent)
		return 0;
	if (r->damaged || region_decode(m->extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return -EIO;
	for (size_t i = 0; i < count; i++) {
		if (m->extents[i].ref >= r->brefs_count)
			return -EIO;
		memcpy(m->ids[i], r->brefs[m->extents[i].ref], ID_SIZE);
	}
	m->count = count;
	return 0;
}

/* Removes [from, to); then, when id is given, puts an extent there. */
void
extent_set(struct region_map *m, uint32_t from, uint32_t to, const uint8_t *id, uint32_t block_offset)
{
	struct region_map old = *m;
	bool placed = id == NULL;

	m->count = 0;
	for (unsigned i = 0; i <= old.count; i++) {
		struct extent x = i < old.count ? old.extents[i] : (struct extent){ .offset = UINT32_MAX };
		uint32_t end = i < old.count ? x.offset + x.length : UINT32_MAX;

		if (i < old.count && x.offset < from) {
			m->extents[m->count] = x;
			if (end > from)
				m->extents[m->count].length = from - x.offset;
			memcpy(m->ids[m->count++], old.ids[i], ID_SIZE);
		}
		if (!placed && (i == old.count || end > from)) {
			m->extents[m->count] = (struct extent){ .offset = from, .length = to - from, .block_offset = block_offset };
			memcpy(m->ids[m->count++], id, ID_SIZE);
			placed = true;
		}
		if (i < old.count && end > to) {
			uint32_t start = x.offset > to ? x.offset : to;

			m->extents[m->count] = (struct extent){ .offset = start, .length = end - start,
			    .block_offset = x.block_offset + (start - x.offset) };
			memcpy(m->ids[m->count++], old.ids[i], ID_SIZE);
		}
	}
}

int
extent_store(struct engine *e, struct object *o, uint64_t region, struct region_map *m)
{
	uint8_t ids[EXTENTS_MAX][ID_SIZE], value[VALUE_MAX], subkey[8];
	unsigned refs = 0, k;
	ssize_t len;

	data_region_subkey(region, subkey);
	if (m->count == 0)
		return txn_delete(e, o, KIND_REGION, subkey, sizeof subkey);
	if (m->count > EXTENTS_MAX)
		return -EFBIG;
	for (unsigned i = 0; i < m->count; i++) {
		for (k = 0; k < refs && memcmp(ids[k], m->ids[i], ID_SIZE) != 0; k++)
			continue;
		if (k == refs)
			memcpy(ids[refs++], m->ids[i], ID_SIZE);
		m->extents[i].ref = k;
	}
	if ((len = region_encode(m->extents, m->count, value, sizeof value)) < 0)
		return len;	/* it cannot be: they are in order, and so many fit */
	return txn_put(e, o, KIND_REGION, subkey, sizeof subkey, (struct bytes){ value, len }, 0,
	    (const uint8_t (*)[ID_SIZE])ids, refs);
}

bool
extent_any(struct object *o)
{
	uint8_t zero[8] = { 0 };
	struct rec *r = object_rec_from(o, KIND_REGION, zero, sizeof zero);

	for (; r != NULL && r->kind == KIND_REGION; r = object_rec_after(o, r))
		if (!r->absent)
			return true;
	return false;
}

unsigned
extent_count(struct object *o, uint64_t region)
{
	struct extent extents[EXTENTS_MAX];
	uint8_t subkey[8];
	size_t count = 0;
	struct rec *r;

	data_region_subkey(region, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent || region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return 0;
	return count;
}

int
data_blocks(struct object *o, int (*each)(void *context, const uint8_t id[ID_SIZE], uint32_t from, uint32_t to),
    void *context)
{
	uint8_t zero[8] = { 0 };
	struct rec *r = object_rec_from(o, KIND_REGION, zero, sizeof zero);
	int e = 0;

	for (; e == 0 && r != NULL && r->kind == KIND_REGION; r = object_rec_after(o, r)) {
		uint32_t from[EXTENTS_MAX], to[EXTENTS_MAX] = { 0 };
		struct extent extents[EXTENTS_MAX];
		size_t count;

		assert(r->brefs_count <= EXTENTS_MAX);	/* messages and journal hold no more (REFS_MAX) */
		if (r->absent)
			continue;
		if (r->damaged || region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
			return -EIO;
		for (size_t i = 0; i < count; i++) {
			const struct extent *x = &extents[i];

			if (x->ref >= r->brefs_count)
				return -EIO;
			if (to[x->ref] == 0 || x->block_offset < from[x->ref])
				from[x->ref] = x->block_offset;
			if (x->block_offset + x->length > to[x->ref])
				to[x->ref] = x->block_offset + x->length;
		}
		for (uint32_t i = 0; e == 0 && i < r->brefs_count; i++)
			if (to[i] > 0)
				e = each(context, r->brefs[i], from[i], to[i]);
	}
	return e;
}
