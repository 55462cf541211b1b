/* remains.c - what the store holds of an inode, against the facts about it. */
#include "tests/sim/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool
fate_same_object(const struct inode *i, const struct image_object *o)
{
	if (o->attr.mode != i->mode || o->attr.nlink != i->nlink || o->attr.uid != i->uid || o->attr.gid != i->gid)
		return false;
	if (S_ISDIR(i->mode) && (memcmp(o->entries, i->entries, sizeof o->entries) != 0 ||
	    (i->ino != OID_ROOT && o->parent != i->parent)))
		return false;
	if (S_ISLNK(i->mode) && o->target != i->target)
		return false;
	for (unsigned x = 0; x < XATTRS; x++)
		if (o->xattrs[x].set != i->xattrs[x].set || (o->xattrs[x].set && (o->xattrs[x].len != i->xattrs[x].size ||
		    pattern_compare(i->xattrs[x].tag, 0, o->xattrs[x].value, o->xattrs[x].len) < o->xattrs[x].len)))
			return false;
	return true;
}

static int64_t
ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static bool
within(struct timespec ts, struct when when)
{
	return ns_of(ts) >= when.low && ns_of(ts) <= when.high;
}

/* Edges of runs, between which a file's bytes come from one call. */
static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t
edges_of(const struct fact *f, uint64_t size, uint64_t **ret)
{
	size_t count = 2, most = 2 + size / REGION_SIZE;
	uint64_t *edges;

	for (size_t v = 0; v < f->versions_count; v++)
		most += 1 + 2 * f->versions[v].inode->runs_count;
	edges = sim_alloc(most * sizeof *edges);
	edges[1] = size;
	for (uint64_t at = REGION_SIZE; at <= size; at += REGION_SIZE)
		edges[count++] = at;	/* regions arrive one by one */
	for (size_t v = 0; v < f->versions_count; v++) {
		const struct inode *i = f->versions[v].inode;

		edges[count++] = i->size < size ? i->size : size;
		for (size_t r = 0; r < i->runs_count; r++) {
			uint64_t end = i->runs[r].start + i->runs[r].len;

			edges[count++] = i->runs[r].start < size ? i->runs[r].start : size;
			edges[count++] = end < size ? end : size;
		}
	}
	qsort(edges, count, sizeof *edges, by_value);
	*ret = edges;
	return count;
}

/* The run of an inode that covers the byte at `at`, or NULL for a hole. */
static const struct run *
run_at(const struct inode *i, uint64_t at)
{
	for (size_t r = 0; r < i->runs_count; r++)
		if (i->runs[r].start <= at && at < i->runs[r].start + i->runs[r].len)
			return &i->runs[r];
	return NULL;
}

/* The latest version with these bytes there, or NULL.  Nothing stood behind the end of a version, not even zeros. */
static const struct inode *
version_with(const struct fact *f, uint64_t from, const uint8_t *data, size_t len)
{
	for (size_t v = f->versions_count; v-- > 0; ) {
		const struct inode *i = f->versions[v].inode;

		if (i->size > from && runs_compare(i, from, data, len) == len)
			return i;
	}
	return NULL;
}

/* Every byte must be from some version; `as` becomes what is there. */
static bool
take_content(const struct fact *f, const uint8_t *content, uint64_t size, struct inode *as, char *why, size_t why_size)
{
	uint64_t *edges;
	size_t count = edges_of(f, size, &edges);
	bool good = true;

	runs_cut(as, 0, UINT64_MAX);
	as->size = size;
	for (size_t e = 0; e + 1 < count && good; e++) {
		uint64_t from = edges[e], to = edges[e + 1];
		const struct inode *i;

		if (from == to)
			continue;
		if ((good = (i = version_with(f, from, content + from, to - from)) != NULL)) {
			const struct run *r = run_at(i, from);

			if (r != NULL)
				runs_write(as, (struct run){ from, to - from, r->origin + (from - r->start), r->tag });
		} else
			snprintf(why, why_size, "bytes %" PRIu64 "..%" PRIu64 " of the %" PRIu64 " of %" PRIu64 " were never there (%s)",
			    from, to, size, f->ino, content[from] == 0 ? "zeros, it seems" : "others");
	}
	free(edges);
	return good;
}

/* It had something at `at`, and was cut off before it; what came there later need not have stayed. */
static bool
cut_off(const struct fact *f, uint64_t at)
{
	bool had = false;

	for (size_t v = 0; v < f->versions_count; v++)
		if (f->versions[v].inode->size > at)
			had = true;
		else if (had)
			return true;
	return false;
}

static bool
zeros(const uint8_t *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

bool
remains_piece(const struct fact *f, uint64_t offset, const uint8_t *data, size_t len)
{
	uint64_t *edges;
	size_t count = edges_of(f, offset + len, &edges);
	bool good = true;

	for (size_t e = 0; e + 1 < count && good; e++) {
		uint64_t from = edges[e] > offset ? edges[e] : offset, to = edges[e + 1];
		const uint8_t *at = data + (from - offset);

		good = from >= to || version_with(f, from, at, to - from) != NULL || (cut_off(f, from) && zeros(at, to - from));
	}
	free(edges);
	return good;
}

static struct inode *
duplicate(const struct inode *i)
{
	struct inode *to = sim_alloc(sizeof *to);

	*to = *i;
	to->refs = 1;
	to->entries = NULL;
	to->runs = sim_alloc(i->runs_count * sizeof *i->runs);
	if (i->runs_count > 0)
		memcpy(to->runs, i->runs, i->runs_count * sizeof *i->runs);
	return to;
}

/* Who syncs an empty file, or is about to when it is truncated, may find it empty. */
static bool
synced(const struct mount *m, uint64_t ino, uint64_t from, uint64_t to)
{
	const struct judge *j = m->sim->judge;

	for (size_t i = 0; i < j->calls_count; i++) {
		const struct call *c = j->calls[i];

		if (c->mount == m && c->invoked != 0 && c->invoked < to && (c->done == 0 || c->done >= from) &&
		    (c->type == OP_SYNC || c->op.through || (c->type == OP_FSYNC && c->ino == ino)))
			return true;
	}
	return false;
}

/* Truncated to be written anew, with no commit or sync in between: nobody finds it empty. */
static bool
passing(const struct mount *m, const struct fact *f, size_t v)
{
	uint64_t next = v + 1 < f->versions_count ? f->versions[v + 1].step : UINT64_MAX;

	return v > 0 && f->versions[v].inode->size == 0 && f->versions[v - 1].inode->size > 0 &&
	    !fate_froze(m, f->versions[v].step, next) && !synced(m, f->ino, f->versions[v].step, next);
}

bool
remains_size(const struct mount *m, const struct fact *f, uint64_t least, uint64_t most)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (size_t v = 0; v < f->versions_count; v++) {
		if (passing(m, f, v))
			continue;
		low = f->versions[v].inode->size < low ? f->versions[v].inode->size : low;
		high = f->versions[v].inode->size > high ? f->versions[v].inode->size : high;
	}
	return most >= low && least <= high;
}

bool
remains_judge(const struct image *image, const struct mount *m, struct fact *f, const struct inode *i, struct inode **ret,
    char *why, size_t size)
{
	const struct image_object *o = image_find(image, i->ino);
	uint8_t *content;
	struct inode *as;
	bool good;

	if (o == NULL || !o->has_attr) {
		snprintf(why, size, "%" PRIu64 " is lost", i->ino);
		return false;
	}
	if (!fate_same_object(i, o)) {
		snprintf(why, size, "%" PRIu64 " is not as its commits left it: mode %o nlink %u parent %" PRIu64
		    ", but expected %o %u %" PRIu64, i->ino, o->attr.mode, o->attr.nlink, o->parent, i->mode, i->nlink, i->parent);
		for (unsigned n = 0; i->entries != NULL && n < NAMES; n++)
			if (i->entries[n] != o->entries[n])
				snprintf(why + strlen(why), size - strlen(why), " %.8s is %" PRIu64 " not %" PRIu64, name_text(n),
				    o->entries[n], i->entries[n]);
		return false;
	}
	if (!within(o->attr.mtime, i->mtime) || !within(o->attr.ctime, i->ctime)) {
		snprintf(why, size, "%" PRIu64 " has other times than its commits left", i->ino);
		return false;
	}
	if (!S_ISREG(i->mode))
		return true;
	if (f->versions_count == 0) {
		f->versions = sim_alloc(sizeof *f->versions);
		f->versions[0] = (struct version){ duplicate(i), 0 };
		f->versions_count = f->versions_size = 1;
	}
	content = sim_room(o->attr.size);
	as = duplicate(i);
	as->mtime = (struct when){ ns_of(o->attr.mtime), ns_of(o->attr.mtime) };
	as->ctime = (struct when){ ns_of(o->attr.ctime), ns_of(o->attr.ctime) };
	if (!(good = remains_size(m, f, o->attr.size, o->attr.size)))
		snprintf(why, size, "%" PRIu64 " has size %" PRIu64 ", but it had %zu others, %" PRIu64 " to %" PRIu64, i->ino,
		    o->attr.size, f->versions_count, f->versions[0].inode->size,
		    f->versions[f->versions_count - 1].inode->size);
	else if (!(good = image_content(image, o, content)))
		snprintf(why, size, "%" PRIu64 " misses a block", i->ino);
	else
		good = take_content(f, content, o->attr.size, as, why, size);
	free(content);
	if (good && f->versions_count > 1)
		*ret = as;
	else
		fate_free_inode(as);
	return good;
}

bool
remains_differ(const struct image *image, const struct inode *as)
{
	const struct image_object *o = image_find(image, as->ino);
	uint8_t *content;
	bool differs;

	if (o == NULL || !o->has_attr)
		return false;
	if (o->attr.size != as->size || !within(o->attr.mtime, as->mtime) || !within(o->attr.ctime, as->ctime))
		return true;
	content = sim_room(o->attr.size);
	differs = image_content(image, o, content) && runs_compare(as, 0, content, as->size) < as->size;
	free(content);
	return differs;
}
