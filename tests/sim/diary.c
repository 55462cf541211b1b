/*
 * diary.c - see diary.h.
 *
 * A kill leaves every entry; a power cut leaves those that were synced, and
 * of the others a beginning.  What is older than SYNC_US is synced.
 *
 * For the check, what the dead mount's processes saw at its death is kept:
 * `view`, with every call in it that may turn out void.  While the journal is
 * run again each of its files' bytes that came of void calls must be seen in
 * some inode; at the end that inode has a name, or somebody else, or an equal
 * original, took it.
 */
#include "tests/sim/diary.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/replay.h"
#include "tests/sim/apart.h"
#include "tests/sim/check.h"
#include "tests/sim/fate.h"

enum {
	SYNC_US		= 5 * 1000000,
	LIVE_MAX	= 3 << 20, LIVE_MAX_APART = 64 << 20,
	SYNC_EVERY_US	= 1000000,
};

struct note {
	uint64_t	 number, step, at_us;
	uint8_t		*data;
	size_t		 len;
};

/* Bytes that must turn up. */
struct owed {
	uint64_t	 ino, start, len, origin;
	uint32_t	 tag;
	uint64_t	 found;			/* the inode they were seen in */
};

/* A file that somebody else changed before the journal was run again. */
struct theirs {
	uint64_t	 ino;
	const struct call *by;
	bool		 ours;			/* the journal came first */
};

struct diary {
	struct client	*client;
	struct sim	*sim;
	struct note	*notes;
	size_t		 count, size, synced;	/* synced: of those there are */
	uint64_t	 next;
	struct engine_journal sink;
	uint64_t	 full_until_us;		/* nothing is appended before */
	bool		 refused;		/* something was not, in this event */
	uint64_t	 session;		/* of the mount that wrote it; 0: not remembered */
	uint8_t		 secret[SECRET_SIZE];
	uint32_t	 generation;
	/* of the death */
	struct mount	*dead, *last;		/* whose work is owed; the last one to die */
	uint64_t	 death;
	struct model	*view;
	uint64_t	 cutoff;		/* calls done later have no entry */
	/* running it again */
	struct mount	*mount;
	struct replay	*replay;
	struct owed	*owed;
	size_t		 owed_count, owed_size;
	struct theirs	*theirs;
	size_t		 theirs_count, theirs_size;
	bool		 weighed, cut;
	uint64_t	 frozen;		/* the last commit that it tells of, as the death left it */
	bool		 lost;			/* what is owed was given up by a mount that lived on */
	uint64_t	 loss;			/* the step at which it began to lose what it has not done again; 0: nothing */
};

/* ---- the file ---- */

static bool
changes(const struct call *c)
{
	switch (c->type) {
	case OP_SETATTR: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK: case OP_UNLINK:
	case OP_RMDIR: case OP_RENAME: case OP_WRITE: case OP_SETXATTR: case OP_REMOVEXATTR: case OP_FALLOCATE: case OP_OPEN:
		return true;
	default:
		return false;
	}
}

static bool
speaks_of(const struct call *c, uint64_t ino)
{
	/* What it replaced or removed need not be what the kernel had looked up. */
	return c->ino == ino || c->ino2 == ino || c->child == ino || c->victim == ino || c->victim2 == ino ||
	    c->op.victim == ino || c->op.moved == ino;
}

/*
 * Did anybody else change it, or its names, ever?  Or what it was made in, so
 * that the making was given up?  Or we, after we had lost what comes now?
 */
static bool
touched(const struct diary *d, uint64_t ino)
{
	const struct judge *j = d->sim->judge;

	for (size_t i = 0; i < j->calls_count; i++) {
		const struct call *c = j->calls[i];
		bool own = c->mount->client == d->client;

		/* Run again, the journal speaks on of what it made by the number of the first time. */
		if (own && c->error == 0 && c->type != OP_LOOKUP && c->made == ino && c->child > ino && touched(d, c->child))
			return true;
		if (c->error != 0 || !changes(c) || !speaks_of(c, ino))
			continue;
		if (!own || (c->lost && c->child == ino) || (d->loss != 0 && !c->given && c->done >= d->loss))
			return true;
	}
	return false;
}

/* A copy beside `ino` is made; that is only right when somebody else changed it. */
static void
copy_made(struct diary *d, struct bytes entry)
{
	struct journal_entry n;

	if (journal_decode(&n, entry) < 0)
		return;
	if (n.kind == JOURNAL_LOSS && d->loss == 0)
		d->loss = d->sim->step;
	if (n.kind == JOURNAL_REDONE)
		d->loss = 0;
	if (n.kind != JOURNAL_CONFLICT || n.ino == 0 || d->cut || (d->mount != NULL && d->mount->resumes == 0))
		return;
	if (!touched(d, n.ino))
		sim_fail(d->sim, "client %u: a copy of %" PRIu64 " was made, which nobody else changed", d->client->index, n.ino);
}

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	struct diary *d = context;
	struct note n = { .number = number, .step = d->sim->step, .at_us = d->sim->now_us,
	    .len = arguments.len + data.len };

	if (number != d->next)
		sim_fail(d->sim, "journal entry %" PRIu64 " after %" PRIu64, number, d->next - 1);
	if (d->sim->now_us < d->full_until_us && d->mount == NULL) {
		d->refused = true;
		d->sim->report.refused++;
		return -ENOSPC;
	}
	d->next = number + 1;
	if (d->count == d->size) {
		d->size = d->size * 2 + 64;
		if ((d->notes = realloc(d->notes, d->size * sizeof *d->notes)) == NULL)
			abort();
	}
	n.data = sim_alloc(n.len);
	memcpy(n.data, arguments.data, arguments.len);
	if (data.len > 0)
		memcpy(n.data + arguments.len, data.data, data.len);
	d->notes[d->count++] = n;
	if (sync)
		d->synced = d->count;
	copy_made(d, (struct bytes){ arguments.data, arguments.len });
	return 0;
}

static void
drop_front(struct diary *d, size_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		free(d->notes[i].data);
	memmove(d->notes, d->notes + n, (d->count - n) * sizeof *d->notes);
	d->count -= n;
	d->synced -= n < d->synced ? n : d->synced;
}

/* Segments: some of the dead stay a while. */
static void
trim(void *context, uint64_t upto)
{
	struct diary *d = context;
	size_t n = 0;

	while (n < d->count && d->notes[n].number < upto)
		n++;
	if (n == d->count)
		drop_front(d, n);
	else if (n > 0)
		drop_front(d, rng_below(&d->sim->misc, n + 1));
}

static void
sync_old(struct sim *sim, void *what, uint64_t number)
{
	struct diary *d = what;
	size_t n = d->synced;

	(void)number;
	while (n < d->count && sim->now_us - d->notes[n].at_us >= SYNC_US)
		n++;
	if (n > d->synced)
		d->synced = d->count;
	sim_after(sim, SYNC_EVERY_US, sync_old, d, 0);
}

void
diary_fill(struct diary *d, uint64_t for_us)
{
	d->full_until_us = d->sim->now_us + for_us;
	sim_trace(d->sim, "c%u: no room for its journal for %" PRIu64 " ms", d->client->index, for_us / 1000);
}

void
diary_check(struct diary *d, const struct mount *m)
{
	struct engine_status s;

	if (!d->refused)
		return;
	d->refused = false;
	engine_status(m->engine, &s);
	if (!s.journal_full)
		sim_fail(d->sim, "client %u: an entry did not fit into its journal, and it does not say so", d->client->index);
}

struct diary *
diary_new(struct client *c)
{
	struct diary *d = sim_alloc(sizeof *d);

	d->client = c;
	d->sim = c->sim;
	d->next = 1;
	d->sink = (struct engine_journal){ append, trim, d, 1, c->sim->options.apart ? LIVE_MAX_APART : LIVE_MAX };
	sim_after(c->sim, SYNC_EVERY_US, sync_old, d, 0);
	return d;
}

void
diary_empty(struct diary *d)
{
	drop_front(d, d->count);
	d->synced = 0;
	model_free(d->view);
	d->view = NULL;
	d->dead = NULL;
	d->lost = false;
	d->loss = 0;
	d->owed_count = d->theirs_count = 0;
}

void
diary_free(struct diary *d)
{
	if (d == NULL)
		return;
	replay_free(d->replay);
	diary_empty(d);
	free(d->notes);
	free(d->owed);
	free(d->theirs);
	free(d);
}

const struct engine_journal *
diary_sink(struct diary *d)
{
	d->sink.next = d->next;
	return &d->sink;
}

/* ---- a death ---- */

void
diary_dying(struct diary *d, const struct mount *m)
{
	if (d->mount == m || d->lost)
		return;
	model_free(d->view);
	d->view = d->sim->judge->model == NULL ? NULL : model_copy(d->sim->judge->model);
}

void
diary_returned(struct diary *d)
{
	if (d->mount != NULL || d->lost)
		return;
	model_free(d->view);
	d->view = NULL;
}

void
diary_lost(struct diary *d, struct mount *m)
{
	if (d->mount == m || d->lost)
		return;
	d->lost = true;
	d->dead = m;
	d->theirs_count = 0;
	d->death = d->sim->step;
	d->cutoff = UINT64_MAX;
}

/* The last commit that the journal tells of. */
static uint64_t
last_frozen(const struct diary *d)
{
	struct journal_entry n;
	uint64_t last = 0;

	for (size_t i = 0; i < d->count; i++)
		if (journal_decode(&n, (struct bytes){ d->notes[i].data, d->notes[i].len }) == 0 &&
		    (n.kind == JOURNAL_FREEZE || n.kind == JOURNAL_TRIM) && n.sequence > last)
			last = n.sequence;
	return last;
}

void
diary_killed(struct diary *d, struct mount *m)
{
	struct sim *sim = d->sim;
	bool power = rng_chance(&sim->faults, 300) && !sim->options.apart;

	/* A session of its own did not write into it, nor what copies it made: apart, that would be a copy nobody tells of. */
	d->session = (rng_chance(&sim->faults, 50) && !sim->options.apart) || (m->replays && m->resumes == 0) ? 0 : m->session;
	memcpy(d->secret, m->secret, SECRET_SIZE);
	d->generation = m->generation;
	d->last = m;
	/* A death while it was run again: what is owed is owed still, by the first dead. */
	if (d->mount == m)
		diary_unmount(d);
	else if (!d->lost) {
		d->dead = m;
		d->theirs_count = 0;
		d->death = sim->step;
		d->cutoff = UINT64_MAX;
	}
	d->cut = power || (d->cut && m->replays);
	if (power) {
		size_t keep = rng_between(&sim->faults, d->synced, d->count);

		if (keep < d->count && d->dead == m)
			d->cutoff = d->notes[keep].step;
		sim_trace(sim, "c%u: power cut, %zu of %zu journal entries left, %zu synced", d->client->index, keep, d->count,
		    d->synced);
		while (d->count > keep)
			free(d->notes[--d->count].data);
		d->next = d->count == 0 ? d->next : d->notes[d->count - 1].number + 1;
	}
	d->frozen = last_frozen(d);
}

/* ---- running it again ---- */

struct replay *
diary_load(struct diary *d)
{
	char device[8];
	struct replay *r;

	snprintf(device, sizeof device, "c%u", d->client->index);
	if (replay_new(&r, device, !d->cut) < 0)
		abort();
	for (size_t i = 0; i < d->count; i++) {
		if (d->sim->options.trace) {
			struct journal_entry n;

			if (journal_decode(&n, (struct bytes){ d->notes[i].data, d->notes[i].len }) == 0)
				sim_trace(d->sim, "c%u: journal %" PRIu64 " kind=%u %s ino=%" PRIu64 " child=%" PRIu64 " victim=%" PRIu64
				    " nlink=%u version=%" PRIu64 " sequence=%" PRIu64 " upto=%" PRIu64, d->client->index,
				    d->notes[i].number, n.kind, n.kind == JOURNAL_OP ? op_text(n.type) : "", n.ino, n.child, n.victim,
				    n.nlink, n.version, n.sequence, n.upto);
		}
		if (replay_add(r, d->notes[i].number, (struct bytes){ d->notes[i].data, d->notes[i].len }) < 0)
			sim_fail(d->sim, "journal entry %" PRIu64 " cannot be read", d->notes[i].number);
	}
	return r;
}

bool
diary_needed(struct diary *d)
{
	struct replay *r = diary_load(d);
	bool needed = replay_needed(r);

	replay_free(r);
	if (!needed)
		diary_empty(d);
	return needed;
}

void
diary_mount(struct diary *d, struct mount *m)
{
	d->mount = m;
	m->replays = true;
	d->replay = diary_load(d);
	d->weighed = false;
	d->synced = d->count;		/* what is built upon is synced first */
	if (d->session != 0) {
		m->session = m->resumes = d->session;
		memcpy(m->secret, d->secret, SECRET_SIZE);
		m->generation = d->generation;
		m->replaces = 0;
	}
	if (replay_adopt(d->replay, m->engine) < 0)
		abort();
}

void
diary_unmount(struct diary *d)
{
	replay_free(d->replay);
	d->replay = NULL;
	d->mount = NULL;
}

static bool
holds(const struct inode *i, const struct owed *o)
{
	uint8_t *bytes;
	bool same;

	if (i == NULL || i->size < o->start + o->len)
		return false;
	bytes = sim_alloc(o->len);
	pattern_fill(o->tag, o->origin, bytes, o->len);
	same = runs_compare(i, o->start, bytes, o->len) == o->len;
	free(bytes);
	return same;
}

static bool
changes_content(const struct call *c)
{
	return c->error == 0 && (c->type == OP_WRITE || c->type == OP_FALLOCATE || (c->type == OP_SETATTR && (c->set & SET_SIZE)) ||
	    ((c->type == OP_OPEN || c->type == OP_CREATE) && (c->flags & O_TRUNC)));
}

static uint64_t
content_of(const struct call *c)
{
	return c->type == OP_CREATE ? c->child : c->ino;
}

/* Was this piece of a file written by a call that is void now, and had an entry? */
static bool
is_owed(const struct diary *d, uint64_t ino, uint32_t tag)
{
	const struct judge *j = d->sim->judge;
	uint64_t written = 0, changed = 0;

	/*
	 * Some tags are used more than once: then it cannot be told whose bytes
	 * they are.  Content may be missing although its call is not void: unless
	 * somebody else changed the file later, who then saw it.
	 */
	for (size_t i = 0; i < j->calls_count; i++) {
		const struct call *c = j->calls[i];
		bool it = c->type == OP_WRITE && c->tag == tag;

		if (c->done == 0 || content_of(c) != ino || !changes_content(c))
			continue;
		if (c->mount != d->dead ? it : c->done > d->death || (it && c->done > d->cutoff))
			return false;	/* or it wrote there again, on what was left of it */
		if (c->mount != d->dead)
			changed = c->done > changed ? c->done : changed;
		else if (it)
			written = c->done > written ? c->done : written;
	}
	return written > changed;
}

/* What the dead mount's processes saw that is not in the volume by itself. */
static void
weigh(struct diary *d)
{
	d->weighed = true;
	d->owed_count = 0;
	for (size_t n = 0; d->view != NULL && n < d->view->count; n++) {
		const struct inode *i = d->view->inodes[n];

		for (size_t r = 0; i->nlink > 0 && r < i->runs_count; r++) {
			const struct run *run = &i->runs[r];

			if (!is_owed(d, i->ino, run->tag) || holds(model_find(d->sim->judge->model, i->ino),
			    &(struct owed){ i->ino, run->start, run->len, run->origin, run->tag, 0 }))
				continue;
			if (d->owed_count == d->owed_size) {
				d->owed_size = d->owed_size * 2 + 16;
				if ((d->owed = realloc(d->owed, d->owed_size * sizeof *d->owed)) == NULL)
					abort();
			}
			d->owed[d->owed_count++] = (struct owed){ i->ino, run->start, run->len, run->origin, run->tag, 0 };
		}
	}
}

/* Whose is this file, after the death: the journal's, or somebody else's? */
static void
watch_content(struct diary *d, const struct call *c)
{
	bool ours = c->mount == d->mount;

	if (d->dead == NULL || !changes_content(c) || (ours && !c->rerun))
		return;
	for (size_t i = 0; i < d->theirs_count; i++) {
		const struct theirs *t = &d->theirs[i];

		if (t->ino != content_of(c))
			continue;
		if (ours && !t->ours && !t->by->voided && t->by->mount->state != MOUNT_GONE)
			sim_fail(d->sim, "client %u: its journal changed %" PRIu64 ", which somebody else had changed",
			    d->client->index, content_of(c));
		return;
	}
	if (d->theirs_count == d->theirs_size) {
		d->theirs_size = d->theirs_size * 2 + 16;
		if ((d->theirs = realloc(d->theirs, d->theirs_size * sizeof *d->theirs)) == NULL)
			abort();
	}
	d->theirs[d->theirs_count++] = (struct theirs){ content_of(c), c, ours };
}

void
diary_saw(struct sim *sim, const struct model *after, const struct call *c)
{
	struct diary *d = sim->clients[c->client]->diary;

	for (unsigned i = 0; i < sim->plan.clients; i++)
		if (sim->clients[i]->diary != NULL && (sim->clients[i]->diary->mount == c->mount || i != c->client))
			watch_content(sim->clients[i]->diary, c);

	if (d == NULL || d->mount == NULL || d->mount != c->mount || !d->weighed)
		return;
	for (size_t i = 0; i < d->owed_count; i++)
		if (d->owed[i].found == 0 && holds(model_find(after, c->ino), &d->owed[i]))
			d->owed[i].found = c->ino;
}

/* The inode still has a name, or lost it to somebody else or to an equal one. */
static bool
accounted(const struct diary *d, const struct owed *o)
{
	const struct judge *j = d->sim->judge;
	const struct inode *i = model_find(j->model, o->found);

	if (i != NULL && i->nlink > 0)
		return true;
	for (size_t n = 0; n < j->calls_count; n++) {
		const struct call *c = j->calls[n];

		if (c->error != 0 || c->done <= d->death || (c->mount == d->mount && !c->rerun))
			continue;
		if (c->type == OP_UNLINK || c->type == OP_RENAME)
			return true;	/* taken by somebody, as far as can be told */
	}
	/* A copy that was dropped: the original is the same. */
	for (size_t n = 0; n < j->model->count; n++)
		if (j->model->inodes[n]->nlink > 0 && holds(j->model->inodes[n], o))
			return true;
	return false;
}

/*
 * A process of the mount that had lost it removed the file's last name, before
 * it was done again: who removes a file does not want what was written to it
 * before, and nothing is made of that.
 */
static bool
removed(const struct diary *d, const struct owed *o)
{
	const struct judge *j = d->sim->judge;
	const struct inode *i = model_find(j->model, o->ino);

	for (size_t n = 0; n < j->calls_count && (i == NULL || i->nlink == 0); n++) {
		const struct call *c = j->calls[n];

		if (c->mount == d->dead && c->error == 0 && !c->given && c->done > d->death && c->done <= d->cutoff &&
		    (c->type == OP_UNLINK || c->type == OP_RENAME) && c->op.victim == o->ino && c->op.victim_nlink == 0)
			return true;
	}
	return false;
}

/* Every file that was made, and still had a name, is there under its number. */
static void
look_for_files(const struct diary *d)
{
	const struct judge *j = d->sim->judge;
	uint64_t landed;

	/* In another session all get other numbers, and what was lost does where the server was asked for it. */
	if (d->loss != 0 || d->view == NULL || !engine_resumed(d->mount->engine, &landed))
		return;
	/* After a power cut it may not tell of a commit that landed, with what was done before; content goes beside then. */
	for (size_t n = 0; n < j->calls_count && (!d->cut || landed <= d->frozen); n++) {
		const struct call *c = j->calls[n];
		const struct inode *i;

		if (c->mount != d->dead || !c->voided || c->done == 0 || c->done > d->cutoff || c->error != 0 ||
		    (c->type != OP_CREATE && c->type != OP_MKNOD))
			continue;
		i = model_find(d->view, c->child);
		if (i != NULL && i->nlink > 0 && model_find(j->model, c->child) == NULL)
			sim_fail(d->sim, "client %u: %" PRIu64 " was made and is nowhere", d->client->index, c->child);
	}
}

static void
settle(struct diary *d)
{
	struct replay_report r;

	replay_report(d->replay, &r);
	d->sim->report.journals++;
	d->sim->report.rerun += r.run;
	d->sim->report.conflicts += r.conflicts;
	d->sim->report.equal += r.equal;
	d->sim->report.owed += d->owed_count;
	sim_trace(d->sim, "c%u: the journal was run again: %" PRIu64 " operations, %" PRIu64 " had landed, %" PRIu64
	    " did not fit, %" PRIu64 " conflicts, %" PRIu64 " equal; %zu pieces were owed", d->client->index, r.run, r.landed,
	    r.unfit, r.conflicts, r.equal, d->owed_count);
	look_for_files(d);
	for (size_t i = 0; i < d->owed_count; i++)
		if ((d->owed[i].found == 0 || !accounted(d, &d->owed[i])) && !removed(d, &d->owed[i]))
			sim_fail(d->sim, "client %u: %" PRIu64 "+%" PRIu64 " of %" PRIu64 " (tag %u) was answered and is nowhere",
			    d->client->index, d->owed[i].start, d->owed[i].len, d->owed[i].ino, d->owed[i].tag);
}

static void
finished(struct diary *d)
{
	struct mount *m = d->mount;
	int error = replay_error(d->replay);

	/* As the next mount would: again, from the beginning. */
	if (error == -ENOSPC || error == -ENOBUFS || error == -EIO || error == -EAGAIN || (error == -ESTALE && d->sim->options.apart)) {
		sim_trace(d->sim, "c%u: no room for the journal, or it lost its leases: again later", d->client->index);
		client_give_up(m);
		return;
	}
	if (error != 0) {
		sim_fail(d->sim, "client %u: its journal cannot be run again: %s", d->client->index, strerrorname_np(-error));
		return;
	}
	settle(d);
	apart_listed(d->sim, d->replay);
	diary_unmount(d);
	diary_empty(d);
	client_leave(m);
}

static void step(struct sim *sim, void *what, uint64_t number);

static void
answered(struct call *c)
{
	struct diary *d = c->context;

	if (d->mount == c->mount)
		sim_after(d->sim, 1, step, d, 0);
}

/* The operation as a letter of the history. */
void
diary_describe(struct call *c, const struct op *op)
{
	bool xattr = op->type == OP_SETXATTR || op->type == OP_REMOVEXATTR;

	c->given = true;
	c->op = *op;
	c->type = op->type;
	c->ino = op->ino;
	c->ino2 = op->ino2;
	c->name = op->name.len == 0 ? NAME_NONE : xattr ? xattr_number(op->name) : name_number(op->name);
	c->name2 = op->name2.len == 0 ? NAME_NONE : name_number(op->name2);
	c->flags = op->type == OP_WRITE ? 0 : op->flags;	/* it went where it had gone, appended or not */
	c->set = op->set;
	c->attr = op->attr;
	c->offset = op->offset;
	c->size = op->data.len > 0 ? op->data.len : op->size;
	if (op->type == OP_WRITE || op->type == OP_SETXATTR)
		c->tag = pattern_keep(op->data);
	c->rerun = op->replay != NULL && !op->replay->trusted;
	if (op->replay != NULL) {
		c->made = op->replay->entry->child;
		c->at_ns = op->replay->entry->when.tv_sec * INT64_C(1000000000) + op->replay->entry->when.tv_nsec;
	}
}

static void
step(struct sim *sim, void *what, uint64_t number)
{
	struct diary *d = what;
	struct mount *m = d->mount;
	struct call *c;
	struct op *op;

	(void)number;
	if (m == NULL || m->state == MOUNT_GONE || d->replay == NULL || sim->report.failed)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), step, d, 0);
		return;
	}
	op = replay_next(d->replay, mount_clocked(m));
	mount_drain(m);
	if (op == NULL) {
		/* Every letter must be placed before what became of all can be said. */
		if (!fate_decided(sim))
			sim_after(sim, 1000, step, d, 0);
		else
			finished(d);
		return;
	}
	c = kernel_new_call(m->kernel, 0, op->type, op->ino);
	diary_describe(c, op);
	c->internal = true;
	c->then = answered;
	c->context = d;
	c->invoked = ++sim->step;
	c->invoked_ns = sim_real_ns(sim);
	judge_begun(sim, c);
	mount_submit(m, c);
}

bool
diary_answer(struct call *c)
{
	struct diary *d = c->context;
	const struct replaying *p = c->op.replay;
	bool ghost = c->type == OP_READDIR || (p != NULL && (c->op.error != 0 ||
	    (p->verdict != REPLAY_DONE && p->verdict != REPLAY_BESIDE)));

	if (p != NULL && p->verdict == REPLAY_BESIDE) {
		if (c->type == OP_RENAME)
			c->name2 = name_number(p->beside);
		else
			c->name = name_number(p->beside);
	}
	if (d->replay != NULL && d->mount == c->mount)
		replay_answered(d->replay, &c->op);
	return ghost;
}

static void
begin(struct sim *sim, void *what, uint64_t number)
{
	struct diary *d = what;

	(void)number;
	if (d->mount == NULL || d->mount->state == MOUNT_GONE)
		return;
	/* What the dead mount left must be known before it is built upon. */
	if (!sim->options.apart && (!fate_decided(sim) || fate_open(d->last))) {
		sim_after(sim, 1000, begin, d, 0);
		return;
	}
	weigh(d);
	if (replay_begin(d->replay, mount_clocked(d->mount), sim_real(sim)) < 0)
		abort();
	mount_drain(d->mount);
	step(sim, d, 0);
}

void
diary_attached(struct diary *d, struct mount *m)
{
	(void)m;
	begin(d->sim, d, 0);
}
