/*
 * walk.c - the way a reader of a tree is likely to take.
 *
 * Behind where it is: the rest of the directory, down into each directory
 * that is met, then what follows in the directory above.  Siblings come in the
 * order of a listing (find, grep -r), of inode numbers (cp -r), or of names
 * (git, rsync, the shell); which of them is the scout's to say.  Programs keep
 * to none for sure, so what stands before the reader is looked at too, though
 * not below.
 *
 * It goes only over what is known and changes nothing but the READ it fills
 * and the fetches it starts; at most STEPS_MAX entries are looked at, under
 * the engine's lock.
 */
#include "fs/ahead.h"

enum {
	STEPS_MAX	= 4096,			/* entries looked at */
	LISTING_LIMIT	= 512,			/* entries asked for of one directory */
	SORTED_MAX	= 2048,			/* entries of a directory gone through in order of ids */
	DEPTH_MAX	= 24,
	RELISTS_MAX	= 3,
};

static const uint8_t low_key[SUBKEY_MAX];

struct walk {
	struct engine		*engine;
	struct scout_read	*to;		/* NULL: only cells may be fetched */
	unsigned		 steps;		/* left */
	bool			 content;
	bool			 found;		/* something was asked for */
};

static bool
is_done(const struct walk *w)
{
	const struct engine *e = w->engine;
	bool listings = w->to != NULL && w->to->listings < AHEAD_LISTINGS;	/* then these are all that is wanted */

	return w->steps == 0 || (w->content ? !ahead_wants_content(e) : !listings);
}

static void
want_listing(struct walk *w, struct object *dir)
{
	const struct cover *c = &dir->entries;
	uint8_t from[SUBKEY_MAX];

	if (w->to == NULL || w->to->listings >= AHEAD_LISTINGS || w->to->count >= WANTS_MAX || dir->born || c->all ||
	    ahead_asked(w->engine, w->to, dir->oid, KIND_ENTRY))
		return;
	memcpy(from, c->some ? c->upto : low_key, sizeof from);
	for (size_t i = TOKEN_SIZE; c->some && ++from[--i] == 0;)
		continue;
	ahead_want(w->to, dir, KIND_ENTRY, from, TOKEN_SIZE, LISTING_LIMIT);
	w->found = true;
}

/* Children from r on were left out of an answer: lists them again, but not for ever what is not to be had. */
static void
want_children(struct walk *w, struct object *dir, const struct rec *r)
{
	if (w->to == NULL || w->to->listings >= AHEAD_LISTINGS || w->to->count >= WANTS_MAX || dir->born ||
	    dir->relists >= RELISTS_MAX || ahead_asked(w->engine, w->to, dir->oid, KIND_ENTRY))
		return;
	dir->relists++;
	ahead_want(w->to, dir, KIND_ENTRY, r->subkey, TOKEN_SIZE, LISTING_LIMIT);
	w->found = true;
}

/* The cells that the beginning of a file lies in. */
bool
walk_fetch(struct engine *e, struct object *o)
{
	struct extent extents[EXTENTS_MAX];
	struct action **before = e->last;
	uint8_t subkey[8];
	size_t count;
	struct rec *r;

	data_region_subkey(0, subkey);
	r = object_rec(o, KIND_REGION, subkey, sizeof subkey);
	if (r == NULL || r->absent || r->damaged ||
	    region_decode(extents, &count, (struct bytes){ r->value, r->value_len }) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		uint32_t first = extents[i].block_offset / CELL_SIZE, len = extents[i].length;

		if (extents[i].offset >= AHEAD_BYTES || extents[i].ref >= r->brefs_count)
			continue;
		len = len < AHEAD_BYTES - extents[i].offset ? len : AHEAD_BYTES - extents[i].offset;
		cell_fetch(e, r->brefs[extents[i].ref], first, (extents[i].block_offset + len - 1) / CELL_SIZE - first + 1, true);
	}
	return e->last != before;
}

static void
visit_file(struct walk *w, struct object *o)
{
	struct engine *e = w->engine;
	bool in_record = o->attr.flags & ATTR_INLINE;
	uint8_t subkey[8];

	if (!w->content || !ahead_wants_content(e) || !S_ISREG(o->attr.mode) || o->attr.size == 0 || o->born ||
	    ahead_is(e, o) || o->next_read > 0 || data_dirty(o))
		return;
	data_region_subkey(0, subkey);
	if (!object_knows(o, in_record ? KIND_INLINE : KIND_REGION, subkey, in_record ? 0 : sizeof subkey)) {
		if (w->to == NULL || w->to->count >= WANTS_MAX ||
		    ahead_asked(e, w->to, o->oid, in_record ? KIND_INLINE : KIND_REGION))
			return;
		ahead_want(w->to, o, in_record ? KIND_INLINE : KIND_REGION, subkey, in_record ? 0 : sizeof subkey, 1);
	} else if (in_record || !walk_fetch(e, o))
		return;
	ahead_count(e, o);
	w->found = true;
}

static struct rec *
first_entry(struct object *dir)
{
	return object_rec_from(dir, KIND_ENTRY, low_key, TOKEN_SIZE);
}

static bool
is_entry(const struct object *dir, const struct rec *r)
{
	return r != NULL && r->kind == KIND_ENTRY && object_covered(&dir->entries, r->subkey, TOKEN_SIZE);
}

struct object *
walk_above(struct engine *e, const struct object *o, struct rec **ret)
{
	struct object *up = o->hint_name == NULL ? NULL : object_find(e, o->hint_parent);
	uint8_t token[TOKEN_SIZE];

	if (!ahead_known(up) || up == o)
		return NULL;
	name_token(e->keys, up->oid, (struct bytes){ (const uint8_t *)o->hint_name, strlen(o->hint_name) }, token);
	*ret = object_rec(up, KIND_ENTRY, token, TOKEN_SIZE);
	return *ret != NULL && !(*ret)->absent && (*ret)->oref == o->oid ? up : NULL;
}

/* One entry: its child, if it is a directory to go into. */
static struct object *
visit(struct walk *w, struct object *dir, struct rec *r)
{
	struct object *o = r->absent || r->damaged || r->oref == 0 ? NULL : object_find(w->engine, r->oref);

	w->steps--;
	if (r->absent || r->damaged)
		return NULL;
	if (o == NULL || o->mode == MODE_NONE) {
		want_children(w, dir, r);
		return NULL;
	}
	if (!ahead_known(o))
		return NULL;
	if (!S_ISDIR(o->attr.mode)) {
		visit_file(w, o);
		return NULL;
	}
	if (o->entries.all || o->entries.some)
		return o;
	want_listing(w, o);
	return NULL;
}

struct item {
	struct rec	*rec;
	struct bytes	 name;		/* only in the order of names */
};

/* A directory on the way, and where in it the walk is. */
struct frame {
	struct object	*dir;
	struct rec	*at;		/* the last one visited, NULL before the first */
	struct item	*list;		/* sorted; NULL: as they stand, by token */
	unsigned	 count, next;
};

static int
by_oid(const void *a, const void *b)
{
	const struct rec *x = ((const struct item *)a)->rec, *y = ((const struct item *)b)->rec;

	return x->oref < y->oref ? -1 : x->oref > y->oref;
}

static int
by_name(const void *a, const void *b)
{
	struct bytes x = ((const struct item *)a)->name, y = ((const struct item *)b)->name;
	size_t n = x.len < y.len ? x.len : y.len;
	int c = n == 0 ? 0 : memcmp(x.data, y.data, n);

	return c != 0 ? c : x.len < y.len ? -1 : x.len > y.len;
}

static struct item
item_of(const struct walk *w, struct rec *r)
{
	struct item i = { .rec = r };
	uint8_t type;

	if (w->engine->scout.order == ORDER_NAMES && !r->absent && !r->damaged)
		entry_decode(&i.name, &type, (struct bytes){ r->value, r->value_len });
	return i;
}

/* Begins dir behind `after`, or at its first entry. */
static void
frame_begin(const struct walk *w, struct frame *f, struct object *dir, struct rec *after)
{
	int (*compare)(const void *, const void *) = w->engine->scout.order == ORDER_OIDS ? by_oid : by_name;
	struct item last;

	*f = (struct frame){ .dir = dir, .at = after };
	if (w->engine->scout.order == ORDER_TOKENS || (f->list = malloc(SORTED_MAX * sizeof *f->list)) == NULL)
		return;
	for (struct rec *r = first_entry(dir); is_entry(dir, r); r = object_rec_after(dir, r)) {
		if (f->count == SORTED_MAX) {
			free(f->list);
			f->list = NULL;
			return;
		}
		f->list[f->count++] = item_of(w, r);
	}
	qsort(f->list, f->count, sizeof *f->list, compare);
	if (after != NULL)
		last = item_of(w, after);
	while (after != NULL && f->next < f->count && compare(&f->list[f->next], &last) <= 0)
		f->next++;
}

static struct rec *
frame_next(struct frame *f)
{
	struct rec *r;

	if (f->list != NULL)
		return f->next < f->count ? f->list[f->next++].rec : NULL;
	r = f->at == NULL ? first_entry(f->dir) : object_rec_after(f->dir, f->at);
	if (!is_entry(f->dir, r))
		return NULL;
	f->at = r;
	return r;
}

/* What is in dir itself, behind `from` (NULL: from its beginning) and before `upto` (NULL: to its end). */
static void
walk_flat(struct walk *w, struct object *dir, struct rec *from, const struct rec *upto)
{
	struct frame f;
	struct rec *r;

	frame_begin(w, &f, dir, from);
	while (!is_done(w) && (r = frame_next(&f)) != NULL && r != upto)
		visit(w, dir, r);
	free(f.list);
}

/* From behind `after` (NULL: from the first) in dir on: down into each directory, then up. */
static void
walk(struct walk *w, struct object *dir, struct rec *after)
{
	struct frame way[DEPTH_MAX];
	struct object *down;
	unsigned depth = 0;
	struct rec *r;

	frame_begin(w, &way[0], dir, after);
	while (!is_done(w)) {
		struct frame *f = &way[depth];

		if ((r = frame_next(f)) != NULL) {
			if ((down = visit(w, f->dir, r)) != NULL && depth + 1 < DEPTH_MAX)
				frame_begin(w, &way[++depth], down, NULL);
			continue;
		}
		want_listing(w, f->dir);
		free(f->list);
		f->list = NULL;
		if (depth > 0) {
			depth--;
			continue;
		}
		if ((dir = walk_above(w->engine, f->dir, &r)) == NULL)
			break;
		walk_flat(w, dir, NULL, r);
		frame_begin(w, f, dir, r);
	}
	for (unsigned i = 0; i <= depth; i++)
		free(way[i].list);
}

bool
walk_ahead(struct engine *e, struct scout_read *to, struct object *dir, struct rec *after, bool content)
{
	struct walk w = { .engine = e, .to = to, .steps = STEPS_MAX, .content = content };

	if (content) {
		e->scout.at_home = true;
		walk_flat(&w, dir, after, NULL);
		walk_flat(&w, dir, NULL, after);
		e->scout.at_home = false;
	}
	walk(&w, dir, after);
	return w.found;
}
