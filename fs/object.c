/*
 * object.c - see object.h.  The records of an object are a treap: its shape
 * follows from the keys alone, so a simulation repeats exactly.
 */
#include "fs/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int
key_compare(uint8_t kind_a, const uint8_t *a, size_t a_len, uint8_t kind_b, const uint8_t *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int c;

	if (kind_a != kind_b)
		return kind_a < kind_b ? -1 : 1;
	if (n > 0 && (c = memcmp(a, b, n)) != 0)
		return c;
	return a_len < b_len ? -1 : a_len > b_len;
}

int
object_key_compare(const struct rec *r, uint8_t kind, const uint8_t *subkey, size_t len)
{
	return key_compare(r->kind, r->subkey, r->subkey_len, kind, subkey, len);
}

struct rec *
object_rec(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len)
{
	struct rec *r = o->root;
	int c;

	while (r != NULL && (c = object_key_compare(r, kind, subkey, len)) != 0)
		r = c < 0 ? r->right : r->left;
	return r;
}

struct rec *
object_rec_from(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len)
{
	struct rec *best = NULL;

	for (struct rec *r = o->root; r != NULL;)
		if (object_key_compare(r, kind, subkey, len) >= 0) {
			best = r;
			r = r->left;
		} else
			r = r->right;
	return best;
}

struct rec *
object_rec_after(struct object *o, const struct rec *after)
{
	struct rec *best = NULL;

	for (struct rec *r = o->root; r != NULL;)
		if (object_key_compare(r, after->kind, after->subkey, after->subkey_len) > 0) {
			best = r;
			r = r->left;
		} else
			r = r->right;
	return best;
}

/* FNV-1a, mixed: balance does not depend on how keys are distributed. */
static uint32_t
priority_of(const struct rec *r)
{
	uint32_t h = 2166136261u ^ r->kind;

	for (size_t i = 0; i < r->subkey_len; i++)
		h = (h ^ r->subkey[i]) * 16777619u;
	h ^= h >> 15;
	h *= 0x85ebca6bu;
	return h ^ h >> 13;
}

static struct rec *
insert(struct rec *t, struct rec *r)
{
	struct rec *top;

	if (t == NULL)
		return r;
	if (object_key_compare(t, r->kind, r->subkey, r->subkey_len) < 0) {
		t->right = insert(t->right, r);
		if (t->right->priority <= t->priority)
			return t;
		top = t->right;
		t->right = top->left;
		top->left = t;
	} else {
		t->left = insert(t->left, r);
		if (t->left->priority <= t->priority)
			return t;
		top = t->left;
		t->left = top->right;
		top->right = t;
	}
	return top;
}

static struct rec *
merge(struct rec *a, struct rec *b)
{
	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	if (a->priority > b->priority) {
		a->right = merge(a->right, b);
		return a;
	}
	b->left = merge(a, b->left);
	return b;
}

static void
rec_free(struct rec *r)
{
	free(r->value);
	free(r->brefs);
	free(r);
}

struct rec *
object_rec_make(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len)
{
	struct rec *r = object_rec(o, kind, subkey, len);

	if (r != NULL || len > SUBKEY_MAX)
		return r;
	if ((r = calloc(1, sizeof *r)) == NULL)
		return NULL;
	r->kind = kind;
	r->subkey_len = len;
	if (len > 0)
		memcpy(r->subkey, subkey, len);
	r->absent = true;
	r->priority = priority_of(r);
	o->root = insert(o->root, r);
	return r;
}

void
object_rec_remove(struct object *o, struct rec *r)
{
	struct rec **at = &o->root;

	while (*at != r)
		at = object_key_compare(*at, r->kind, r->subkey, r->subkey_len) < 0 ?
		    &(*at)->right : &(*at)->left;
	*at = merge(r->left, r->right);
	if (r->dirty)
		TAILQ_REMOVE(&o->dirty_recs, r, dirty_link);
	rec_free(r);
}

int
object_rec_fill(struct rec *r, struct bytes value, uint64_t oref,
    const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count)
{
	uint8_t *copy, (*refs)[ID_SIZE];

	/* Of the same size in the same place: that cannot fail (op_rename() relies on it). */
	if (r->value != NULL && value.len > 0 && r->value_len == value.len && brefs_count == 0 && r->brefs_count == 0) {
		memmove(r->value, value.data, value.len);
		r->oref = oref;
		r->absent = r->damaged = false;
		return 0;
	}
	copy = malloc(value.len > 0 ? value.len : 1);
	refs = brefs_count > 0 ? malloc(brefs_count * sizeof *refs) : NULL;
	if (copy == NULL || (brefs_count > 0 && refs == NULL)) {
		free(copy);
		free(refs);
		return -ENOMEM;
	}
	if (value.len > 0)
		memcpy(copy, value.data, value.len);
	if (brefs_count > 0)
		memcpy(refs, brefs, brefs_count * sizeof *refs);
	free(r->value);
	free(r->brefs);
	r->value = copy;
	r->value_len = value.len;
	r->oref = oref;
	r->brefs = refs;
	r->brefs_count = brefs_count;
	r->absent = false;
	r->damaged = false;
	return 0;
}

static void
free_tree(struct rec *r)
{
	if (r == NULL)
		return;
	free_tree(r->left);
	free_tree(r->right);
	rec_free(r);
}

void
object_forget(struct object *o)
{
	free_tree(o->root);
	o->root = NULL;
	TAILQ_INIT(&o->dirty_recs);
	o->entries = o->regions = o->xattrs = (struct cover){ 0 };
	o->attr_known = o->attr_damaged = o->attr_dirty = o->parents_known = false;
	free((void *)(uintptr_t)o->attr.symlink.data);
	o->attr = (struct attr){ 0 };
	o->stable_size = 0;
	o->stable_flags = 0;
	o->tail_tidy = false;
	o->next_read = 0;
	o->scouted = 0;
	o->relists = 0;
}

bool
object_covered(const struct cover *c, const uint8_t *subkey, size_t len)
{
	return c->all || (c->some && key_compare(0, subkey, len, 0, c->upto, len) <= 0);
}

bool
object_knows(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len)
{
	const struct cover *c = kind == KIND_ENTRY ? &o->entries : kind == KIND_REGION ? &o->regions :
	    kind == KIND_XATTR ? &o->xattrs : NULL;

	if (c == NULL)
		return o->parents_known;
	return object_covered(c, subkey, len) || object_rec(o, kind, subkey, len) != NULL;
}

int
object_set_attr(struct object *o, const struct attr *a)
{
	uint8_t *copy = NULL;

	if (a->symlink.len > 0) {
		if ((copy = malloc(a->symlink.len)) == NULL)
			return -ENOMEM;
		memcpy(copy, a->symlink.data, a->symlink.len);
	}
	free((void *)(uintptr_t)o->attr.symlink.data);
	o->attr = *a;
	o->attr.symlink.data = copy;
	o->linked |= !S_ISDIR(a->mode) && a->nlink > 1;
	o->attr_known = true;
	o->attr_damaged = false;
	return 0;
}

struct object *
object_new(uint64_t oid)
{
	struct object *o = calloc(1, sizeof *o);

	if (o != NULL) {
		o->oid = oid;
		TAILQ_INIT(&o->dirty_recs);
		TAILQ_INIT(&o->spans);
	}
	return o;
}

void
object_free(struct object *o)
{
	if (o == NULL)
		return;
	object_forget(o);
	free(o->hint_name);
	free(o);
}
