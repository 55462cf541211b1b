/*
 * model.c - see model.h: the tree, and the content of its files.
 *
 * Invariants:
 *  1. Inodes are sorted by number; the root is there.
 *  2. A directory's nlink is 2 + its subdirectories while it has a name, 0 after.
 *  3. A file's nlink is the number of entries that name it.
 */
#include "tests/sim/model.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/rng.h"

/* ---- inodes ---- */

static void *
must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static void
inode_put(struct inode *i)
{
	if (i == NULL || --i->refs > 0)
		return;
	free(i->entries);
	free(i->runs);
	free(i);
}

static size_t
position(const struct model *m, uint64_t ino)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->inodes[mid]->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct inode *
model_find(const struct model *m, uint64_t ino)
{
	size_t at = position(m, ino);

	return at < m->count && m->inodes[at]->ino == ino ? m->inodes[at] : NULL;
}

bool
model_is_orphan(const struct inode *i)
{
	bool open = false;

	for (unsigned c = 0; i != NULL && c < CLIENTS_MAX; c++)
		open |= i->opens[c] > 0;
	return i != NULL && i->nlink == 0 && !open;
}

/* The inode, fit to be changed. */
struct inode *
model_own(struct model *m, uint64_t ino)
{
	size_t at = position(m, ino);
	struct inode *old, *i;

	assert(at < m->count && m->inodes[at]->ino == ino);
	old = m->inodes[at];
	if (old->refs == 1)
		return old;
	i = must(malloc(sizeof *i));
	*i = *old;
	i->refs = 1;
	if (old->entries != NULL) {
		i->entries = must(malloc(NAMES * sizeof *i->entries));
		memcpy(i->entries, old->entries, NAMES * sizeof *i->entries);
	}
	if (old->runs_count > 0) {
		i->runs = must(malloc(old->runs_count * sizeof *i->runs));
		memcpy(i->runs, old->runs, old->runs_count * sizeof *i->runs);
	} else
		i->runs = NULL;
	old->refs--;
	return m->inodes[at] = i;
}

struct inode *
model_add(struct model *m, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid)
{
	size_t at = position(m, ino);
	struct inode *i = must(calloc(1, sizeof *i));

	if (m->count == m->size) {
		m->size = m->size * 2 + 16;
		m->inodes = must(realloc(m->inodes, m->size * sizeof *m->inodes));
	}
	memmove(m->inodes + at + 1, m->inodes + at, (m->count - at) * sizeof *m->inodes);
	m->inodes[at] = i;
	m->count++;
	*i = (struct inode){ .refs = 1, .ino = ino, .mode = mode, .nlink = S_ISDIR(mode) ? 2 : 1,
	    .uid = uid, .gid = gid, .target = NAME_NONE };
	if (S_ISDIR(mode))
		i->entries = must(calloc(NAMES, sizeof *i->entries));
	return i;
}

struct model *
model_new(uint32_t uid, uint32_t gid, uint32_t mode)
{
	struct model *m = must(calloc(1, sizeof *m));

	model_add(m, OID_ROOT, S_IFDIR | (mode & 07777), uid, gid)->parent = OID_ROOT;
	model_own(m, OID_ROOT)->mtime = model_own(m, OID_ROOT)->ctime = (struct when){ INT64_MIN, INT64_MAX };
	return m;
}

struct model *
model_copy(const struct model *m)
{
	struct model *to = must(malloc(sizeof *to));

	*to = (struct model){ .count = m->count, .size = m->count, .inodes = must(malloc(m->count * sizeof *m->inodes)) };
	for (size_t i = 0; i < m->count; i++) {
		to->inodes[i] = m->inodes[i];
		to->inodes[i]->refs++;
	}
	return to;
}

void
model_free(struct model *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->count; i++)
		inode_put(m->inodes[i]);
	free(m->inodes);
	free(m);
}

void
model_close_all(struct model *m, unsigned client)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->inodes[i]->opens[client] != 0)
			model_own(m, m->inodes[i]->ino)->opens[client] = 0;
}

void
model_adopt(struct model *m, const struct inode *as)
{
	struct inode *i;

	if (model_find(m, as->ino) == NULL)
		return;			/* its making turned out to be void */
	i = model_own(m, as->ino);
	i->size = as->size;
	i->mtime = as->mtime;
	i->ctime = as->ctime;
	free(i->runs);
	i->runs = as->runs_count == 0 ? NULL : must(malloc(as->runs_count * sizeof *i->runs));
	if (as->runs_count > 0)
		memcpy(i->runs, as->runs, as->runs_count * sizeof *i->runs);
	i->runs_count = as->runs_count;
}

/* ---- content ---- */

void
runs_cut(struct inode *i, uint64_t from, uint64_t to)
{
	struct run *runs = must(malloc((i->runs_count + 1) * sizeof *runs));
	size_t count = 0;

	for (size_t n = 0; n < i->runs_count; n++) {
		struct run r = i->runs[n];
		uint64_t end = r.start + r.len;

		if (end <= from || r.start >= to) {
			runs[count++] = r;
			continue;
		}
		if (r.start < from)
			runs[count++] = (struct run){ r.start, from - r.start, r.origin, r.tag };
		if (end > to)
			runs[count++] = (struct run){ to, end - to, r.origin + (to - r.start), r.tag };
	}
	free(i->runs);
	i->runs = runs;
	i->runs_count = count;
}

void
runs_write(struct inode *i, struct run run)
{
	size_t at = 0;

	if (run.len == 0)
		return;
	runs_cut(i, run.start, run.start + run.len);
	i->runs = must(realloc(i->runs, (i->runs_count + 1) * sizeof *i->runs));
	while (at < i->runs_count && i->runs[at].start < run.start)
		at++;
	memmove(i->runs + at + 1, i->runs + at, (i->runs_count - at) * sizeof *i->runs);
	i->runs[at] = run;
	i->runs_count++;
}

static size_t
compare_zeros(const uint8_t *data, size_t len)
{
	if (len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0))
		return len;
	for (size_t i = 0; i < len; i++)
		if (data[i] != 0)
			return i;
	return len;
}

size_t
runs_compare(const struct inode *i, uint64_t offset, const uint8_t *data, size_t len)
{
	size_t at = 0, same;

	for (size_t n = 0; n < i->runs_count && at < len; n++) {
		const struct run *r = &i->runs[n];
		size_t hole, part;

		if (r->start + r->len <= offset + at)
			continue;
		hole = r->start > offset + at ? r->start - (offset + at) : 0;
		hole = hole < len - at ? hole : len - at;
		if ((same = compare_zeros(data + at, hole)) < hole)
			return at + same;
		at += hole;
		part = r->start + r->len - (offset + at);
		part = part < len - at ? part : len - at;
		if (at == len)
			break;
		if ((same = pattern_compare(r->tag, r->origin + (offset + at - r->start), data + at, part)) < part)
			return at + same;
		at += part;
	}
	same = compare_zeros(data + at, len - at);
	return at + same;
}

/* ---- comparing and printing ---- */

static uint64_t
mix(uint64_t hash, uint64_t value)
{
	return rng_mix(hash ^ value);
}

uint64_t
model_hash(const struct model *m)
{
	uint64_t h = m->count;

	for (size_t n = 0; n < m->count; n++) {
		const struct inode *i = m->inodes[n];

		h = mix(mix(mix(mix(h, i->ino), i->mode), i->nlink), i->size);
		h = mix(mix(mix(h, (uint64_t)i->mtime.low), (uint64_t)i->ctime.low), (uint64_t)i->uid << 32 | i->gid);
		for (unsigned c = 0; c < CLIENTS_MAX; c++)
			h = mix(h, i->opens[c]);
		for (unsigned e = 0; i->entries != NULL && e < NAMES; e++)
			h = mix(h, i->entries[e]);
		for (size_t r = 0; r < i->runs_count; r++)
			h = mix(mix(mix(h, i->runs[r].start), i->runs[r].len), i->runs[r].origin ^ i->runs[r].tag);
		for (unsigned x = 0; x < XATTRS; x++)
			h = mix(h, i->xattrs[x].set ? i->xattrs[x].tag : 0);
	}
	return h;
}

void
model_print(const struct model *m, FILE *to)
{
	for (size_t n = 0; n < m->count; n++) {
		const struct inode *i = m->inodes[n];

		fprintf(to, "  %" PRIu64 " mode=%o nlink=%u size=%" PRIu64, i->ino, i->mode, i->nlink, i->size);
		for (unsigned c = 0; c < CLIENTS_MAX; c++)
			if (i->opens[c] > 0)
				fprintf(to, " open.c%u=%u", c, i->opens[c]);
		for (unsigned e = 0; i->entries != NULL && e < NAMES; e++)
			if (i->entries[e] != 0)
				fprintf(to, " %.8s=%" PRIu64, name_text(e), i->entries[e]);
		for (size_t r = 0; r < i->runs_count && r < 8; r++)
			fprintf(to, " [%" PRIu64 "+%" PRIu64 " t%u]", i->runs[r].start, i->runs[r].len, i->runs[r].tag);
		fputc('\n', to);
	}
}
