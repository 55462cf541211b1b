/*
 * op_file.c - operations on one object: attributes, open files, content.
 * Retry functions, as in op_name.c.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fs/core.h"

void
op_answer(struct op *op, const struct object *o)
{
	op->attr = o->attr;
	op->attr.symlink = (struct bytes){ NULL, 0 };
	op->child = o->oid;
	op->cacheable = o->recall == RECALL_NONE && !o->linked;
}

int
op_copy(struct op *op, const void *data, size_t len)
{
	struct buffer *b = buffer_new(len > 0 ? len : 1);

	if (b == NULL || (op->pieces = arena_alloc(&op->arena, sizeof *op->pieces)) == NULL) {
		buffer_put(b);
		return -ENOMEM;
	}
	if (len > 0)
		memcpy(b->data, data, len);
	op->pieces[0] = (struct piece){ b->data, len, b };
	op->pieces_count = op->pieces_size = 1;
	return 0;
}

int
op_getattr(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);

	if (o == NULL)
		return -EAGAIN;
	/* Who removed its last name left its content away: of its size only that client could tell. */
	if (o->gone && o->opens == 0 && S_ISREG(o->attr.mode))
		return -ESTALE;
	op_answer(op, o);
	return 0;
}

/*
 * HANDLE_KILLPRIV_V2 left this to us: the kernel says when a write or a
 * truncation asks for it, and a change of owner always does.
 */
static void
kill_set_ids(struct op *op, struct object *o)
{
	uint32_t before = o->attr.mode;

	o->attr.mode &= ~(uint32_t)(S_ISUID | (o->attr.mode & S_IXGRP ? S_ISGID : 0));
	op->killed = o->attr.mode != before;
}

static struct timespec
pick_time(const struct engine *e, const struct op *op, unsigned now, struct timespec given)
{
	return op->set & now ? e->real : given;
}

int
op_setattr(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	int r;

	if (o == NULL)
		return -EAGAIN;
	if (op->set & SET_SIZE) {
		if (!S_ISREG(o->attr.mode))
			return S_ISDIR(o->attr.mode) ? -EISDIR : -EINVAL;
		if ((r = data_truncate(e, op, o, op->attr.size)) < 0)
			return r;
		o->attr.mtime = e->real;
	}
	if (op->set & SET_KILL_SUID || (op->set & (SET_UID | SET_GID) && !S_ISDIR(o->attr.mode)))
		kill_set_ids(op, o);
	if (op->set & SET_MODE)
		o->attr.mode = (o->attr.mode & S_IFMT) | (op->attr.mode & 07777);
	if (op->set & SET_UID)
		o->attr.uid = op->attr.uid;
	if (op->set & SET_GID)
		o->attr.gid = op->attr.gid;
	if (op->set & (SET_ATIME | SET_ATIME_NOW))
		o->attr.atime = pick_time(e, op, SET_ATIME_NOW, op->attr.atime);
	if (op->set & (SET_MTIME | SET_MTIME_NOW))
		o->attr.mtime = pick_time(e, op, SET_MTIME_NOW, op->attr.mtime);
	o->attr.ctime = op->set & SET_CTIME ? op->attr.ctime : e->real;
	op->state->set_to = op->attr;
	txn_touch_attr(e, o);
	op_answer(op, o);
	return 0;
}

int
op_readlink(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);

	if (o == NULL)
		return -EAGAIN;
	if (!S_ISLNK(o->attr.mode))
		return -EINVAL;
	return op_copy(op, o->attr.symlink.data, o->attr.symlink.len);
}

/* ---- open files ---- */

static bool
writes(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

struct handle *
op_open_handle(struct engine *e, struct op *op, struct object *o)
{
	struct handle *h = calloc(1, sizeof *h);

	if (h == NULL)
		return NULL;
	h->oid = o->oid;
	h->flags = op->flags;
	h->error_seen = o->error_seq;
	o->opens++;
	o->writers += writes(h);
	op->handle = (uintptr_t)h;
	/* Pages of a file that others may change at any time are not worth a sweep for each change. */
	op->direct_io = e->sessions > 1 || (op->flags & O_APPEND && (op->flags & O_ACCMODE) != O_RDONLY);
	op->keep_cache = true;
	return h;
}

static struct handle *
handle_of(const struct op *op)
{
	return (struct handle *)(uintptr_t)op->handle;
}

int
op_open(struct engine *e, struct op *op)
{
	bool truncate = op->type == OP_OPEN && op->flags & O_TRUNC;
	struct object *o = need_object(e, op, op->ino, truncate ? MODE_EXCLUSIVE : MODE_SHARED);
	int r;

	if (o == NULL)
		return -EAGAIN;
	if (o->gone && o->opens == 0)
		return -ESTALE;		/* its last name went while we waited; no PIN keeps it */
	if (truncate && S_ISREG(o->attr.mode)) {
		if ((r = data_truncate(e, op, o, 0)) < 0)
			return r;
		o->attr.mtime = o->attr.ctime = e->real;
	}
	return op_open_handle(e, op, o) == NULL ? -ENOMEM : 0;
}

/* Takes the pin back, and remembers that until the server has surely heard of it. */
static void
unpin(struct engine *e, struct object *o)
{
	object_pin(e, o, false);
	o->unpinned = o->unpin_sent = true;
	o->unpin_request = e->next_request;
}

static void
unpin_end(struct engine *e, struct object *o)
{
	TAILQ_REMOVE(&e->unpins, o, unpin_link);
	o->unpin = o->unpin_sent = false;
	object_drop(e, o);
}

void
unpin_step(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->unpins); o != NULL; o = next) {
		next = TAILQ_NEXT(o, unpin_link);
		if (o->unpin_sent || txn_pending(e, o) ||
		    (o->unpin_after > e->acknowledged && e->inflight_count > 0))
			continue;
		if (o->opens == 0 && o->pinned)
			unpin(e, o);
		else
			unpin_end(e, o);
	}
}

/* Nothing answers a PIN; the answer to a later request tells that it was heard. */
void
unpin_heard(struct engine *e, uint64_t request)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->unpins); o != NULL; o = next) {
		next = TAILQ_NEXT(o, unpin_link);
		if (o->unpin_sent && o->unpin_request < request)
			unpin_end(e, o);
	}
}

/* PINs may have been lost with the connection, or with the server: says all of them again. */
void
pins_resume(struct engine *e)
{
	struct object *o;

	TAILQ_FOREACH(o, &e->lru, lru_link) {
		if (o->unpin_sent && o->opens == 0) {
			unpin(e, o);
			continue;
		}
		/*
		 * A closed one too: commits that speak of it may still be on their way.  And what was opened under a
		 * lease that may be lost, before that is known: who has it now may remove the last name.
		 */
		if (o->pinned || o->unpin_sent || (o->opens > 0 && (o->mode == MODE_NONE || !lease_valid(e))))
			object_pin(e, o, true);
		if (o->unpin_sent)
			unpin_end(e, o);
	}
}

int
op_release(struct engine *e, struct op *op)
{
	struct handle *h = handle_of(op);
	struct object *o = h == NULL ? NULL : object_find(e, h->oid);

	if (o != NULL)
		o->writers -= writes(h);
	free(h);
	op->handle = 0;
	if (o == NULL || --o->opens > 0)
		return 0;
	/* Its records stay listed: the commit that removes its last name keeps its lease. */
	if (o->gone && !o->pinned_elsewhere)
		data_moot(e, o);
	if (o->pinned) {
		/*
		 * Not before commits that still speak of it: the server would have freed it.  Nor is that done by what
		 * was sent before it was pinned anew.
		 */
		if (!o->unpin)
			TAILQ_INSERT_TAIL(&e->unpins, o, unpin_link);
		o->unpin = true;
		o->unpin_sent = false;
		o->unpin_after = e->sequence;
		unpin_step(e);
	} else
		object_drop(e, o);
	return 0;
}

/* An error of earlier write-back: told once to each handle. */
static int
handle_error(struct engine *e, struct handle *h)
{
	const struct object *o = h == NULL ? NULL : object_find(e, h->oid);

	if (o == NULL || h->error_seen == o->error_seq)
		return 0;
	h->error_seen = o->error_seq;
	return o->error;
}

int
op_read(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);
	int r;

	if (o == NULL)
		return -EAGAIN;
	if ((r = data_read(e, op, o, op->offset, op->size)) < 0)
		return r;
	o->cached_replies++;
	return 0;
}

int
op_write(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	struct handle *h = handle_of(op);
	int r;

	if (o == NULL)
		return -EAGAIN;
	if (h != NULL && h->flags & O_APPEND)
		op->offset = o->attr.size;
	if ((r = data_write(e, op, o, op->offset, op->data)) < 0)
		return r;
	if (op->set & SET_KILL_SUID)
		kill_set_ids(op, o);
	o->attr.mtime = o->attr.ctime = e->real;
	o->cached_replies++;	/* the kernel keeps what it wrote */
	op->written = op->data.len;
	return 0;
}

int
op_flush(struct engine *e, struct op *op)
{
	return handle_error(e, handle_of(op));
}

/* The commit it waits for must not keep content older than what is written by now. */
static void
promise(struct engine *e, const struct op *op, struct object *o, uint64_t sequence)
{
	if (o != NULL)
		o->sync_sequence = sequence;
	else if (op->type == OP_SYNC)
		e->sync_sequence = sequence;
}

/*
 * FSYNC, FSYNCDIR and SYNC.  First what is written so far arrives, then the
 * running transaction is committed and acknowledged: with it everything that
 * happened before, names included.
 */
int
op_fsync(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;
	struct object *o = op->type == OP_FSYNC ? object_find(e, op->ino) : NULL;
	int r;

	if ((r = handle_error(e, handle_of(op))) < 0 || (r = redo_sync(e, op, o)) < 0)
		return r;
	if (e->offline && op->type != OP_SYNC && !op->redo)
		return offline_sync(e);
	if (s->step == 0) {
		s->refusals = e->refusals;
		if (e->error != 0)
			full_retry(e);	/* space may be free */
		if (!s->counted)
			s->errors = op->type == OP_SYNC ? e->sync_errors : e->error_counter;
		s->counted = true;
		s->flush_number = e->span_number;
		s->size = o == NULL ? 0 : o->attr.size;
		if (o != NULL && (data_dirty(o) || o->hold))
			data_flush(e, o);
		else if (op->type == OP_SYNC)
			data_flush_all(e);
		s->step = 1;
	}
	if (s->step == 1) {
		if ((o != NULL && !data_flushed(o, s->flush_number)) ||
		    (op->type == OP_SYNC && !data_flushed_all(e, s->flush_number))) {
			if (e->error != 0 && e->storing == 0 && e->refusals != s->refusals)
				return e->error;
			return park(op, WAIT_FLUSH, o != NULL ? o->oid : 0);
		}
		if (o != NULL && (data_dirty(o) || o->hold))
			data_arrived(e, o, s->flush_number, s->size);
		else if (op->type == OP_SYNC)
			data_arrived_all(e, s->flush_number);
		if (TAILQ_EMPTY(&e->dirty))
			s->sequence = e->sequence;
		else {
			s->sequence = e->sequence + 1;
			e->freeze_wanted = true;
			promise(e, op, o, s->sequence);
			txn_step(e);
		}
		s->step = 2;
	}
	if ((r = handle_error(e, handle_of(op))) < 0)
		return r;
	if (s->sequence > e->sequence && e->error != 0 && e->refusals != s->refusals) {
		promise(e, op, o, e->sequence);		/* nobody who waited is told that it is there */
		return e->error;
	}
	if (!e->freeze_wanted && s->sequence > e->sequence) {
		s->sequence = e->sequence;	/* there was nothing to send after all */
		promise(e, op, o, s->sequence);
	}
	if (e->acknowledged < s->sequence)
		return park(op, WAIT_COMMIT, s->sequence);
	/* Without a file to ask, any loss might be what the caller wanted to keep. */
	if (o == NULL && e->error_counter != s->errors) {
		e->sync_errors = e->error_counter;
		return -EIO;
	}
	if (o != NULL)
		journal_synced(e, o);
	return 0;
}

int
op_fallocate(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	uint64_t end = op->offset + op->size;
	int r = 0;

	if (op->flags & ~(unsigned)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (op->size == 0 || end < op->offset || end > INT64_MAX)
		return -EINVAL;
	if (o == NULL)
		return -EAGAIN;
	if (!S_ISREG(o->attr.mode))
		return -ENODEV;
	if (op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && op->offset < o->attr.size)
		r = data_punch(e, op, o, op->offset, op->size);
	if (r == 0 && !(op->flags & FALLOC_FL_KEEP_SIZE) && end > o->attr.size)
		r = data_truncate(e, op, o, end);
	if (r == 0) {
		/* Of this request the kernel does not say whether it asks for that. */
		if (op->uid != 0)
			kill_set_ids(op, o);
		o->attr.ctime = o->attr.mtime = e->real;
		txn_touch_attr(e, o);
	}
	return r;
}

int
op_lseek(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);

	if (o == NULL)
		return -EAGAIN;
	return data_seek(e, op, o, op->offset, op->flags);
}
