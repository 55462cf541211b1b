/*
 * replay_beside.c - copies beside the original, and what becomes of them.
 *
 * A copy is made in steps: STAT the original, LOOK whether the name is free,
 * MAKE it (or CLEAR what an earlier attempt made), READ and WRITE by turns.
 * The live mount's journal says nothing of that, so it FLUSHes the copy before
 * an entry may rely on it.
 * At the end each is held against the original: FIND both, COMPARE, DROP the
 * copy if it is equal, else go UP and DOWN for the path by which it is told.
 */
#include "fs/replay_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

void
replay_name(struct bytes name, const char *device, struct timespec when, unsigned nth, char *to)
{
	char mark[128];
	struct tm tm;
	size_t len = name.len;
	int n;

	gmtime_r(&when.tv_sec, &tm);
	n = snprintf(mark, sizeof mark, " (conflict %.60s %04d-%02d-%02d", device, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	if (nth > 1)
		n += snprintf(mark + n, sizeof mark - (size_t)n, " %u", nth);
	n += snprintf(mark + n, sizeof mark - (size_t)n, ")");
	if (len > NAME_MAX_BYTES - (size_t)n) {
		len = NAME_MAX_BYTES - (size_t)n;
		while (len > 0 && (name.data[len] & 0xc0) == 0x80)
			len--;		/* not inside a character */
	}
	snprintf(to, NAME_MAX_BYTES + 1, "%.*s%s", (int)len, (const char *)name.data, mark);
}

struct bytes
replay_text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

struct bytes
name_of(const struct replay *r)
{
	const struct journal_entry *n = &r->entry;

	if (journal_is_name(n))
		return n->type == OP_RENAME ? n->name2 : n->name;
	return n->hint.len > 0 ? n->hint : replay_text("unnamed");
}

void
next_beside(struct replay *r)
{
	if (++r->nth > SUFFIX_MAX)
		r->error = -EEXIST;
	replay_name(name_of(r), r->device, r->now, r->nth, r->beside);
}

/* ---- making ---- */

void
begin_copy(struct replay *r, bool with_content)
{
	const struct fact *f = fact_known(r, r->entry.ino), *parent = fact_find(r, r->entry.parent);

	r->original = with_content ? r->entry.ino : 0;
	r->offset = r->length = 0;
	r->mode = S_IFREG | 0600;
	r->noted = f->copy_name.len > 0;
	r->parent = r->entry.parent != 0 ? r->entry.parent : OID_ROOT;
	if (parent != NULL && parent->to != 0)
		r->parent = parent->to;
	r->nth = 0;
	next_beside(r);
	if (r->noted) {
		r->parent = f->copy_parent;
		snprintf(r->beside, sizeof r->beside, "%.*s", (int)f->copy_name.len, (const char *)f->copy_name.data);
	}
	r->step = with_content ? STAT : LOOK;
}

/* The directory is gone. */
static void
to_root(struct replay *r)
{
	r->parent = OID_ROOT;
	r->noted = false;
	r->step = LOOK;
}

static void
answered_look(struct replay *r, const struct op *done)
{
	if (done->error == -ENOENT)
		r->step = MAKE;
	else if (done->error < 0 && r->parent != OID_ROOT)
		to_root(r);
	else if (done->error < 0)
		r->error = done->error;
	else if (r->noted && done->child == fact_known(r, r->entry.ino)->copy) {
		r->copy = done->child;
		r->step = CLEAR;
	} else
		next_beside(r);
}

/* The copy is there: from now on the content of the object goes to it. */
static void
copied(struct replay *r)
{
	struct fact *f = fact_known(r, r->entry.ino);

	f->to = r->copy;
	f->copied = true;
	r->step = RUN;
}

static void
complete(struct replay *r)
{
	if (r->live)
		r->step = FLUSH;
	else
		copied(r);
}

static void
take_chunk(struct replay *r, const struct op *done, uint8_t *to)
{
	r->chunk_len = 0;
	for (size_t i = 0; i < done->pieces_count; i++) {
		const struct piece *p = &done->pieces[i];
		size_t len = p->len < CHUNK - r->chunk_len ? p->len : CHUNK - r->chunk_len;

		memcpy(to + r->chunk_len, p->data, len);
		r->chunk_len += len;
	}
}

void
answered_copying(struct replay *r, const struct op *done)
{
	switch (r->step) {
	case STAT:
		if (done->error == 0 && S_ISREG(done->attr.mode)) {
			r->mode = done->attr.mode;
			r->length = done->attr.size;
		}
		r->step = LOOK;
		return;
	case LOOK:
		answered_look(r, done);
		return;
	case READ:
		if (done->error < 0) {		/* damaged, or gone meanwhile: our own bytes count all the same */
			if ((r->offset += CHUNK) >= r->length)
				complete(r);
			return;
		}
		take_chunk(r, done, r->chunk);
		if (r->chunk_len == 0)		/* it has been cut off */
			complete(r);
		else
			r->step = WRITE;
		return;
	default:
		break;
	}
	/* Somebody was faster. */
	if (r->step == MAKE && done->error == -EEXIST) {
		r->step = LOOK;
		return;
	}
	if (r->step == MAKE && done->error != 0 && r->parent != OID_ROOT) {
		to_root(r);
		return;
	}
	if (done->error < 0) {
		r->error = done->error;
		return;
	}
	if (r->step == FLUSH) {
		copied(r);
		return;
	}
	if (r->step == MAKE) {
		r->copy = done->child;
		if (conflict_add(r, r->parent, name_of(r), replay_text(r->beside)) < 0) {
			r->error = -ENOMEM;
			return;
		}
		/* So that another attempt finds it instead of making a second one. */
		r->to_note = &r->conflicts[r->conflicts_count - 1];
		r->to_note_ino = r->entry.ino;
		r->to_note_copy = r->copy;
	}
	if (r->step == WRITE)
		r->offset += r->chunk_len;
	if (r->original == 0 || r->offset >= r->length)
		complete(r);
	else
		r->step = READ;
}

void
set_copying(struct replay *r)
{
	struct op *op = &r->op;

	*op = (struct op){ .uid = r->entry.uid, .gid = r->entry.gid };
	switch (r->step) {
	case STAT:
		op->type = OP_GETATTR;
		op->ino = r->original;
		break;
	case LOOK: case MAKE:
		op->type = r->step == LOOK ? OP_LOOKUP : OP_MKNOD;
		op->ino = r->parent;
		op->name = replay_text(r->beside);
		op->attr.mode = r->mode;
		break;
	case CLEAR:
		op->type = OP_SETATTR;
		op->ino = r->copy;
		op->set = SET_SIZE;
		break;
	case READ:
		op->type = OP_READ;
		op->ino = r->original;
		op->offset = r->offset;
		op->size = CHUNK;
		break;
	case FLUSH:
		op->type = OP_FSYNC;
		op->ino = r->copy;
		break;
	default:
		op->type = OP_WRITE;
		op->ino = r->copy;
		op->offset = r->offset;
		op->data = (struct bytes){ r->chunk, r->chunk_len };
		op->size = r->chunk_len;
		break;
	}
}

/* ---- the conflicts ---- */

static void
next_conflict(struct replay *r)
{
	r->step = ++r->at < r->conflicts_count ? FIND_ORIGINAL : SYNC;
}

/* It is kept: where is it? */
static void
keep(struct replay *r)
{
	r->report.conflicts++;
	r->depth = 0;
	r->climb[0] = r->conflicts[r->at].parent;
	r->step = UP;
}

void
end_path(struct replay *r)
{
	struct conflict *c = &r->conflicts[r->at];
	size_t size = strlen(c->copy) + 2, len = 0;

	for (unsigned i = 0; i < r->depth; i++)
		size += strlen(r->names[i]) + 1;
	if ((c->path = malloc(size)) == NULL)
		r->error = -ENOMEM;
	for (unsigned i = r->depth; i-- > 0;) {
		if (c->path != NULL)
			len += (size_t)snprintf(c->path + len, size - len, "/%s", r->names[i]);
		free(r->names[i]);
		r->names[i] = NULL;
	}
	if (c->path != NULL)
		snprintf(c->path + len, size - len, "/%s", c->copy);
	r->depth = 0;
	next_conflict(r);
}

static void
answered_climb(struct replay *r, const struct op *done)
{
	uint64_t child = r->climb[r->depth];

	if (r->step == UP && done->error == 0 && done->entries_count > 1 && r->depth + 1 < DEPTH_MAX) {
		r->climb[r->depth + 1] = done->entries[1].ino;
		r->offset = 0;
		r->step = DOWN;
		return;
	}
	for (size_t i = 0; r->step == DOWN && done->error == 0 && i < done->entries_count; i++) {
		const struct dirent_out *d = &done->entries[i];

		r->offset = d->offset;
		if (d->ino != child || (d->name_len <= 2 && d->name[0] == '.' && (d->name_len == 1 || d->name[1] == '.')))
			continue;
		if ((r->names[r->depth] = strndup(d->name, d->name_len)) == NULL) {
			r->error = -ENOMEM;
			return;
		}
		r->depth++;
		r->step = UP;
		return;
	}
	if (r->step == DOWN && done->error == 0 && done->entries_count > 0)
		return;			/* more of the listing */
	end_path(r);
}

void
answered_conflict(struct replay *r, const struct op *done)
{
	size_t before = r->chunk_len;

	switch (r->step) {
	case UP: case DOWN:
		answered_climb(r, done);
		break;
	case FIND_ORIGINAL:
		r->original = done->error == 0 && S_ISREG(done->attr.mode) ? done->child : 0;
		r->length = done->attr.size;
		r->step = FIND_COPY;
		break;
	case FIND_COPY:
		r->copy = done->child;
		r->offset = 0;
		if (done->error == -ENOENT)
			next_conflict(r);	/* it was not made, or is gone */
		else if (done->error < 0 || r->original == 0 || !S_ISREG(done->attr.mode) || done->attr.size != r->length ||
		    r->copy == r->original)
			keep(r);
		else
			r->step = r->length == 0 ? DROP : READ_ORIGINAL;
		break;
	case READ_ORIGINAL:
		if (done->error < 0) {
			keep(r);
			break;
		}
		take_chunk(r, done, r->chunk);
		r->step = READ_COPY;
		break;
	case READ_COPY:
		take_chunk(r, done, r->chunk + CHUNK);
		if (done->error < 0 || r->chunk_len != before || r->chunk_len == 0 ||
		    memcmp(r->chunk, r->chunk + CHUNK, r->chunk_len) != 0) {
			keep(r);
			break;
		}
		r->offset += r->chunk_len;
		r->step = r->offset >= r->length ? DROP : READ_ORIGINAL;
		break;
	default:	/* DROP */
		if (done->error == -EBUSY) {
			keep(r);
			break;
		}
		if (done->error == 0)
			r->report.equal++;
		next_conflict(r);
		break;
	}
}

void
set_conflict(struct replay *r)
{
	const struct conflict *c = &r->conflicts[r->at];
	struct op *op = &r->op;

	*op = (struct op){ .type = OP_LOOKUP, .ino = c->parent };
	switch (r->step) {
	case FIND_ORIGINAL:
		op->name = replay_text(c->name);
		break;
	case FIND_COPY: case DROP:
		op->type = r->step == DROP ? OP_UNLINK : OP_LOOKUP;
		op->name = replay_text(c->copy);
		break;
	case READ_ORIGINAL: case READ_COPY:
		op->type = OP_READ;
		op->ino = r->step == READ_COPY ? r->copy : r->original;
		op->offset = r->offset;
		op->size = CHUNK;
		break;
	default:
		op->type = OP_READDIR;
		op->ino = r->step == UP ? r->climb[r->depth] : r->climb[r->depth + 1];
		op->offset = r->step == UP ? 0 : r->offset;
		op->size = LISTING;
		break;
	}
}
