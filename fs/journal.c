/*
 * journal.c - see journal.h: entries as bytes, and when which is written.
 *
 *	event					entry
 *	a change succeeded, before its answer	OP
 *	a transaction is frozen			FREEZE, before its COMMIT leaves
 *	a commit is acknowledged		ACK
 *	a lease is weakened or given back	CLEAN, if a live entry speaks of the object
 *	a file was synced			CLEAN, if nothing newer of it waits
 *	the same while replaying		AWAY
 *	a session begins, or has reclaimed	SESSION
 *	commits or leases are lost		LOSS, and no TRIM before what was lost
 *						has been run again: REDONE (redo.c)
 *	a mark was reached			TRIM
 *
 * A mark is a sync that nobody waits for: it remembers a moment, and is
 * reached when every byte written before it has arrived (CONTENT) and then the
 * next commit is acknowledged (COMMIT).  There is one at a time.
 *
 *	NONE	-> CONTENT	there are live entries
 *	CONTENT	-> COMMIT	no span from before is left, nothing that was held back
 *				then still is, sizes of then may be stated
 *	COMMIT	-> NONE		acknowledged: entries before the mark are dead
 *
 * Invariants:
 * 1. An entry is appended before any effect of its operation is frozen.
 * 2. A FREEZE entry is appended before its commit is sent.
 * 3. Every change not on the server has a live entry, or its operation was not
 *    answered (`through`), or the engine reported it lost.
 *
 * When an entry cannot be kept (the client's disk is full) the journal is
 * broken until all of it is dead: meanwhile no operation is appended, and
 * they are answered once the server has them.  What tells of losses and of
 * their end is tried all the same: the file keeps room for that, and without it
 * what was lost would wait for the next mount.
 *
 * An entry: kind, type (u8), lengths of name, name2, hint (u16), of data (u32),
 * uid, gid, flags, set, nlink (u32), ino, ino2, child, victim, version, victim
 * version, offset, size, parent, sequence, upto (u64), when (s u64, ns u32),
 * mode, uid, gid (u32), rdev, size (u64), atime, mtime, ctime (s u64, ns u32);
 * then name, name2, hint, data.
 */
#include "fs/core.h"

#include <assert.h>
#include <fcntl.h>

enum { HURRY_PART = 4 };	/* of `max`: more live bytes than this and nothing waits for its time */

/* ---- bytes ---- */

static void
put_time(struct cursor *c, struct timespec t)
{
	cursor_put_u64(c, (uint64_t)t.tv_sec);
	cursor_put_u32(c, (uint32_t)t.tv_nsec);
}

static struct timespec
get_time(struct cursor *c)
{
	struct timespec t = { .tv_sec = (time_t)cursor_get_u64(c) };

	t.tv_nsec = cursor_get_u32(c);
	if (t.tv_nsec >= 1000000000)
		cursor_fail(c);
	return t;
}

ssize_t
journal_encode(const struct journal_entry *n, uint8_t *to)
{
	struct cursor c = cursor_over(to, JOURNAL_ARGUMENTS_MAX);

	if (n->name.len > NAME_MAX_BYTES || n->name2.len > SYMLINK_MAX || n->hint.len > NAME_MAX_BYTES ||
	    n->data.len > JOURNAL_DATA_MAX)
		return -EINVAL;
	cursor_put_u8(&c, n->kind);
	cursor_put_u8(&c, n->type);
	cursor_put_u16(&c, (uint16_t)n->name.len);
	cursor_put_u16(&c, (uint16_t)n->name2.len);
	cursor_put_u16(&c, (uint16_t)n->hint.len);
	cursor_put_u32(&c, (uint32_t)n->data.len);
	cursor_put_u32(&c, n->uid);
	cursor_put_u32(&c, n->gid);
	cursor_put_u32(&c, n->flags);
	cursor_put_u32(&c, n->set);
	cursor_put_u32(&c, n->nlink);
	cursor_put_u64(&c, n->ino);
	cursor_put_u64(&c, n->ino2);
	cursor_put_u64(&c, n->child);
	cursor_put_u64(&c, n->victim);
	cursor_put_u64(&c, n->version);
	cursor_put_u64(&c, n->victim_version);
	cursor_put_u64(&c, n->offset);
	cursor_put_u64(&c, n->size);
	cursor_put_u64(&c, n->parent);
	cursor_put_u64(&c, n->sequence);
	cursor_put_u64(&c, n->upto);
	put_time(&c, n->when);
	cursor_put_u32(&c, n->attr.mode);
	cursor_put_u32(&c, n->attr.uid);
	cursor_put_u32(&c, n->attr.gid);
	cursor_put_u64(&c, n->attr.rdev);
	cursor_put_u64(&c, n->attr.size);
	put_time(&c, n->attr.atime);
	put_time(&c, n->attr.mtime);
	put_time(&c, n->attr.ctime);
	cursor_put(&c, n->name.data, n->name.len);
	cursor_put(&c, n->name2.data, n->name2.len);
	cursor_put(&c, n->hint.data, n->hint.len);
	assert(cursor_ok(&c));
	return (ssize_t)c.pos;
}

int
journal_decode(struct journal_entry *n, struct bytes from)
{
	struct cursor c = cursor_read(from.data, from.len);
	size_t name, name2, hint, data;

	*n = (struct journal_entry){ .kind = cursor_get_u8(&c), .type = cursor_get_u8(&c) };
	name = cursor_get_u16(&c);
	name2 = cursor_get_u16(&c);
	hint = cursor_get_u16(&c);
	data = cursor_get_u32(&c);
	n->uid = cursor_get_u32(&c);
	n->gid = cursor_get_u32(&c);
	n->flags = cursor_get_u32(&c);
	n->set = cursor_get_u32(&c);
	n->nlink = cursor_get_u32(&c);
	n->ino = cursor_get_u64(&c);
	n->ino2 = cursor_get_u64(&c);
	n->child = cursor_get_u64(&c);
	n->victim = cursor_get_u64(&c);
	n->version = cursor_get_u64(&c);
	n->victim_version = cursor_get_u64(&c);
	n->offset = cursor_get_u64(&c);
	n->size = cursor_get_u64(&c);
	n->parent = cursor_get_u64(&c);
	n->sequence = cursor_get_u64(&c);
	n->upto = cursor_get_u64(&c);
	n->when = get_time(&c);
	n->attr.mode = cursor_get_u32(&c);
	n->attr.uid = cursor_get_u32(&c);
	n->attr.gid = cursor_get_u32(&c);
	n->attr.rdev = cursor_get_u64(&c);
	n->attr.size = cursor_get_u64(&c);
	n->attr.atime = get_time(&c);
	n->attr.mtime = get_time(&c);
	n->attr.ctime = get_time(&c);
	if (name > NAME_MAX_BYTES || name2 > SYMLINK_MAX || hint > NAME_MAX_BYTES || data > JOURNAL_DATA_MAX ||
	    n->kind == 0 || n->kind >= JOURNAL_KINDS || (n->kind == JOURNAL_OP && n->type >= OP_COUNT))
		return -EBADMSG;
	n->name = cursor_get_bytes(&c, name);
	n->name2 = cursor_get_bytes(&c, name2);
	n->hint = cursor_get_bytes(&c, hint);
	n->data = cursor_get_bytes(&c, data);
	return cursor_done(&c) ? 0 : -EBADMSG;
}

bool
journal_is_name(const struct journal_entry *n)
{
	switch (n->type) {
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK: case OP_UNLINK: case OP_RMDIR:
	case OP_RENAME:
		return true;
	default:
		return false;
	}
}

/* ---- appending ---- */

/* May it go into a broken journal? */
static bool
tells_of_loss(const struct journal_entry *n)
{
	switch (n->kind) {
	case JOURNAL_LOSS: case JOURNAL_REDONE: case JOURNAL_CONFLICT: case JOURNAL_FOREIGN:
		return true;
	default:
		return false;
	}
}

int
journal_append(struct engine *e, struct journal_entry *n, bool sync)
{
	struct journal *j = &e->journal;
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len;
	int r;

	/* With what was lost in it nothing can be trimmed: it must not grow for ever.  What ends that is small. */
	if (!j->broken && j->stranded && n->kind == JOURNAL_OP && j->bytes - j->dead_bytes > j->sink->max)
		j->broken = j->filled = true;
	if (j->broken && (j->filled ? n->kind == JOURNAL_OP : !tells_of_loss(n)))
		return -ENOSPC;
	if ((len = journal_encode(n, arguments)) < 0)
		return (int)len;
	r = j->sink->append(j->sink->context, j->next, (struct bytes){ arguments, (size_t)len }, n->data, sync);
	if (r < 0) {
		j->broken = true;
		j->filled = false;
		j->mark = MARK_NONE;
		return r;
	}
	j->next++;
	j->bytes += (size_t)len + n->data.len;
	return 0;
}

bool
journal_keeps(const struct engine *e)
{
	return e->journal.sink != NULL;
}

/* Will this operation, when it succeeds, have changed something? */
bool
journal_wants(const struct op *op)
{
	switch (op->type) {
	case OP_SETATTR: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK: case OP_UNLINK:
	case OP_RMDIR: case OP_RENAME: case OP_WRITE: case OP_SETXATTR: case OP_REMOVEXATTR: case OP_FALLOCATE:
		return true;
	case OP_OPEN:
		return op->flags & O_TRUNC;
	default:
		return false;
	}
}

/* As it was done: what it opened besides does not outlive the process. */
static void
describe(const struct engine *e, const struct op *op, struct journal_entry *n)
{
	*n = (struct journal_entry){ .kind = JOURNAL_OP, .type = (uint8_t)op->type, .uid = op->uid, .gid = op->gid,
	    .flags = op->flags, .set = op->set, .ino = op->ino, .ino2 = op->ino2, .victim = op->victim,
	    .victim_version = op->victim_version, .nlink = op->victim_nlink, .offset = op->offset, .size = op->size,
	    .when = e->real, .attr = op->attr, .name = op->name, .name2 = op->name2 };
	switch (op->type) {
	case OP_CREATE:
		if (op->made)
			n->child = op->child;
		else {
			n->type = OP_OPEN;
			n->ino = op->child;
			n->name = (struct bytes){ NULL, 0 };
		}
		break;
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		n->child = op->child;
		break;
	case OP_RENAME:
		n->child = op->moved;
		break;
	case OP_SETXATTR:
		n->flags = 0;		/* that it was there, or not, has been seen to */
		/* fall through */
	case OP_WRITE:
		n->data = op->data;
		break;
	default:
		break;
	}
}

/* When its lease goes, that must be said: the next mount claims what this one held. */
static void
speaks_of(struct engine *e, uint64_t oid)
{
	struct object *o = oid == 0 ? NULL : object_find(e, oid);

	if (o != NULL)
		o->journaled = e->journal.last_op;
}

/* True: kept, or need not be.  False: the operation is to be answered when the server has it. */
bool
journal_op(struct engine *e, const struct op *op)
{
	struct journal *j = &e->journal;
	struct journal_entry n;
	struct object *o;

	if (op->replay != NULL && journal_is_name(op->replay->entry) && op->replay->verdict < REPLAY_TAKEN)
		j->replayed = op->replay->entry->number;
	if (!journal_keeps(e) || j->replaying || !journal_wants(op) || (op->type == OP_CREATE && !op->made && !(op->flags & O_TRUNC)))
		return true;
	/* A copy of the driver's is brought to the server at once; that it is dropped is work as any. */
	if (op->replay != NULL ? op->replay->verdict != REPLAY_DONE && op->replay->verdict != REPLAY_BESIDE : op->redo && op->type != OP_UNLINK)
		return true;
	describe(e, op, &n);
	if (op->replay != NULL) {
		n.upto = op->replay->entry->number;
		n.when = op->replay->entry->when;
	} else if (!journal_is_name(&n))
		redo_changed(e, n.ino);
	/* What the operation was asked, not what it answers. */
	if (op->type == OP_SETATTR)
		n.attr = op->state->set_to;
	if ((o = object_find(e, n.ino)) != NULL) {
		n.version = o->version;
		if (!journal_is_name(&n))
			n.nlink = o->attr.nlink;
		if (o->hint_name != NULL && !journal_is_name(&n)) {
			n.parent = o->hint_parent;
			n.hint = (struct bytes){ (const uint8_t *)o->hint_name, strlen(o->hint_name) };
		}
	}
	if (op->redo)
		redo_done(e, &n);
	if (journal_append(e, &n, false) < 0) {
		/* It is not to be taken for what the lost work built upon. */
		if (o != NULL && o->waits && op->replay == NULL)
			journal_append(e, &(struct journal_entry){ .kind = JOURNAL_FOREIGN, .ino = n.ino }, true);
		return false;
	}
	j->last_op = j->next - 1;
	speaks_of(e, n.ino);
	speaks_of(e, n.ino2);
	speaks_of(e, n.child);
	speaks_of(e, n.victim);
	if (j->bytes - j->dead_bytes > j->sink->max / HURRY_PART && j->mark == MARK_NONE)
		journal_step(e);
	return true;
}

void
journal_froze(struct engine *e, uint64_t sequence)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_FREEZE, .sequence = sequence };

	if (!journal_keeps(e))
		return;
	n.upto = j->replaying ? j->replayed : j->last_op;
	journal_append(e, &n, j->replaying);
}

void
journal_acked(struct engine *e, uint64_t sequence)
{
	struct journal_entry n = { .kind = JOURNAL_ACK, .sequence = sequence };

	if (journal_keeps(e))
		journal_append(e, &n, e->journal.replaying);
}

void
journal_attached(struct engine *e)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_SESSION, .ino = e->session, .version = e->boot };

	engine_own(e, e->session);
	/* Who runs it again in a session of its own is not its writer. */
	if (!journal_keeps(e) || (j->rerun && !e->resumed) || (j->session == e->session && j->boot == e->boot))
		return;
	j->session = e->session;
	j->boot = e->boot;
	journal_append(e, &n, false);
}

/*
 * All content of o is on the server, and others may change it from now on.
 * Or, for a journal that is run again: they have.  When our claim of it is
 * refused, before that begins, another attempt must not claim it once more:
 * it may hold the lease by then, but of what others made of it.
 */
void
journal_clean(struct engine *e, struct object *o)
{
	struct journal *j = &e->journal;
	bool again = j->replaying || (j->rerun && e->resumed);
	struct journal_entry n = { .kind = again ? JOURNAL_AWAY : JOURNAL_CLEAN, .ino = o->oid };

	o->adopted = false;
	if (!journal_keeps(e) || (!again && o->journaled < j->floor))
		return;
	journal_append(e, &n, again);
	o->journaled = 0;
}

/*
 * Somebody was told that o is on the server.  Run again, its content would for
 * a while be as it was before that, and others would see it.
 */
void
journal_synced(struct engine *e, struct object *o)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_CLEAN, .ino = o->oid };

	if (!journal_keeps(e) || j->replaying || j->stranded || o->journaled < j->floor || txn_pending(e, o))
		return;
	journal_append(e, &n, false);
	o->journaled = 0;
}

void
journal_lost(struct engine *e, uint64_t sequence)
{
	struct journal_entry n = { .kind = JOURNAL_LOSS, .sequence = sequence };

	e->journal.losses++;		/* of what no journal keeps, too: who waits for the server must hear of it */
	if (!journal_keeps(e) || (!e->journal.replaying && e->journal.last_op < e->journal.floor))
		return;
	redo_lost(e, journal_append(e, &n, true) == 0);
	e->journal.mark = MARK_NONE;
}

int
engine_journal_note(struct engine *e, struct journal_entry *n)
{
	return journal_keeps(e) ? journal_append(e, n, true) : 0;
}

/* ---- marks ---- */

static bool
hurried(const struct engine *e)
{
	const struct journal *j = &e->journal;

	return j->broken || j->bytes - j->dead_bytes > j->sink->max / HURRY_PART;
}

static void
mark(struct engine *e)
{
	struct journal *j = &e->journal;
	struct object *o;

	j->mark = MARK_CONTENT;
	j->mark_upto = j->next;
	j->mark_bytes = j->bytes;
	j->mark_spans = e->span_number;
	TAILQ_FOREACH(o, &e->with_data, data_link) {
		o->marked = true;
		o->mark_size = o->attr.size;
	}
	if (hurried(e))
		data_flush_all(e);
}

/* Has all that was written before the mark arrived? */
static bool
arrived(const struct engine *e, const struct object *o)
{
	uint64_t size = o->mark_size < o->attr.size ? o->mark_size : o->attr.size;

	return !o->hold && data_flushed(o, e->journal.mark_spans) && o->stable_size >= size;
}

static bool
all_arrived(struct engine *e)
{
	struct object *o;

	TAILQ_FOREACH(o, &e->with_data, data_link) {
		if (o->marked && !arrived(e, o))
			return false;
		o->marked = false;
	}
	return true;
}

static void
reached(struct engine *e)
{
	struct journal *j = &e->journal;
	struct journal_entry n = { .kind = JOURNAL_TRIM, .upto = j->mark_upto, .sequence = e->sequence,
	    .ino = j->session, .version = j->boot };

	journal_append(e, &n, false);
	j->mark = MARK_NONE;
	j->floor = j->mark_upto;
	j->dead_bytes = j->mark_bytes;
	j->sink->trim(j->sink->context, j->floor);
	/* Nothing is left in it, so it may begin anew: first with the number of the last commit. */
	if (j->broken && j->floor == j->next) {
		j->broken = j->filled = false;
		journal_append(e, &n, false);
	}
	wake(e, WAIT_ROOM, 0);
}

static bool
alive(const struct journal *j)
{
	return j->last_op >= j->floor || j->broken;
}

bool
journal_moves(const struct engine *e)
{
	const struct journal *j = &e->journal;

	return journal_keeps(e) && !j->replaying && !j->stranded && (j->mark != MARK_NONE || alive(j));
}

void
journal_step(struct engine *e)
{
	struct journal *j = &e->journal;

	if (!journal_moves(e))
		return;
	if (j->mark == MARK_NONE)
		mark(e);
	if (j->mark == MARK_CONTENT && all_arrived(e)) {
		j->mark_sequence = txn_all_sent(e) ? e->sequence : e->sequence + 1;
		j->mark = MARK_COMMIT;
		e->freeze_wanted |= hurried(e) && j->mark_sequence > e->sequence;
	}
	if (j->mark != MARK_COMMIT)
		return;
	/* What there was to send has been cancelled, or is in an earlier commit than was thought. */
	if (j->mark_sequence > e->sequence && !e->freeze_wanted && txn_all_sent(e))
		j->mark_sequence = e->sequence;
	if (e->acknowledged >= j->mark_sequence)
		reached(e);
}

/* The operation must wait until entries are dead. */
bool
journal_full(const struct engine *e, const struct op *op)
{
	const struct journal *j = &e->journal;

	/* With what was lost in it nothing dies, nor does it while the server is away. */
	return journal_keeps(e) && !j->replaying && !j->broken && !j->stranded && e->error == 0 && journal_wants(op) &&
	    j->bytes - j->dead_bytes > j->sink->max;
}

/*
 * What is in the journal came before something that is on the server now, and
 * of which it knows nothing: run again it would undo that.
 */
static void
all_dead(struct engine *e)
{
	struct journal *j = &e->journal;

	if (!j->broken || j->stranded)
		return;
	j->mark_upto = j->next;
	j->mark_bytes = j->bytes;
	reached(e);
}

/* What could not be kept: 0 once the server has it, with all that was done before. */
int
journal_through(struct engine *e, struct op *op)
{
	struct op_state *s = op->state;

	if (s->step == 0) {
		data_flush_all(e);
		s->flush_number = e->span_number;
		s->step = 1;
	}
	if (s->step == 1) {
		if (!data_flushed_all(e, s->flush_number))
			return e->error != 0 && e->storing == 0 ? e->error : park(op, WAIT_FLUSH, 0);
		data_arrived_all(e, s->flush_number);
		s->sequence = e->sequence + 1;
		s->step = 2;
		e->freeze_wanted = true;
		txn_step(e);
	}
	/* Refused, its sequence is another's to come. */
	if (s->sequence > e->sequence && e->error != 0)
		return e->error;
	if (!e->freeze_wanted && s->sequence > e->sequence)
		s->sequence = e->sequence;
	if (e->acknowledged < s->sequence)
		return e->error != 0 ? e->error : park(op, WAIT_COMMIT, s->sequence);
	all_dead(e);
	return 0;
}

/* ---- replaying ---- */

int
engine_adopt(struct engine *e, uint64_t oid, uint64_t version)
{
	struct object *o = object_get(e, oid);

	if (o == NULL)
		return -ENOMEM;
	o->mode = MODE_EXCLUSIVE;
	o->grant = 1;
	o->adopted = true;
	o->version = version > o->version ? version : o->version;
	return 0;
}

void
engine_rerun(struct engine *e, uint64_t boot)
{
	e->journal.rerun = true;
	e->boot = boot;
}

/* The session is not there any more, nor are its leases. */
void
journal_unadopt(struct engine *e)
{
	struct object *o, *next;

	for (o = TAILQ_FIRST(&e->lru); o != NULL; o = next) {
		next = TAILQ_NEXT(o, lru_link);
		if (!o->adopted)
			continue;
		o->adopted = false;
		o->mode = MODE_NONE;
		object_drop(e, o);
	}
}

static size_t
own_index(const struct journal *j, uint64_t session)
{
	size_t i = 0;

	while (i < j->own_count && j->own[i] != session)
		i++;
	return i;
}

int
engine_own(struct engine *e, uint64_t session)
{
	struct journal *j = &e->journal;
	uint64_t *more;

	if (session == 0 || own_index(j, session) < j->own_count)
		return 0;
	if ((more = realloc(j->own, (j->own_count + 1) * sizeof *more)) == NULL)
		return -ENOMEM;
	j->own = more;
	j->own[j->own_count++] = session;
	return 0;
}

bool
journal_own(const struct engine *e, uint64_t session)
{
	return own_index(&e->journal, session) < e->journal.own_count;
}

void
engine_replaying(struct engine *e, bool on)
{
	e->journal.replaying = on;
	/* A session of its own numbers its commits anew: the journal stays what it is. */
	if (on && !e->resumed) {
		engine_journal_note(e, &(struct journal_entry){ .kind = JOURNAL_SESSION, .ino = e->session });
		e->journal.sink = NULL;
	}
}

void
engine_journal_end(struct engine *e)
{
	e->journal.sink = NULL;
}

bool
engine_resumed(const struct engine *e, uint64_t *ret_landed)
{
	*ret_landed = e->resumed_landed;
	return e->resumed;
}
