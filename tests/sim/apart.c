/* apart.c - see apart.h. */
#include "tests/sim/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "fs/replay.h"
#include "tests/sim/check.h"
#include "tests/sim/diary.h"
#include "tests/sim/image.h"

enum { AGAIN_US = 2 * 1000000 };

/* A mount's driver, while it runs. */
struct redo {
	struct mount	*mount;
	struct replay	*replay;
	uint64_t	 losses, again_us;	/* not before, after a failure */
};

struct apart {
	char		**listed;		/* names of conflicts, without their directories */
	size_t		 count, size;
};

static struct apart *
apart_of(struct sim *sim)
{
	if (sim->apart == NULL)
		sim->apart = sim_alloc(sizeof *sim->apart);
	return sim->apart;
}

void
apart_listed(struct sim *sim, const struct replay *r)
{
	struct apart *a = apart_of(sim);
	const char *path;

	for (size_t i = 0; replay_conflict(r, i, &path); i++) {
		sim_trace(sim, "told of %s", path);
		if (a->count == a->size) {
			a->size = a->size * 2 + 16;
			if ((a->listed = realloc(a->listed, a->size * sizeof *a->listed)) == NULL)
				abort();
		}
		if ((a->listed[a->count++] = strdup(strrchr(path, '/') + 1)) == NULL)
			abort();
	}
}

void
apart_free(struct sim *sim)
{
	struct apart *a = sim->apart;

	if (a == NULL)
		return;
	for (size_t i = 0; i < a->count; i++)
		free(a->listed[i]);
	free(a->listed);
	free(a);
}

/* ---- running it again ---- */

static void
finished(struct redo *r)
{
	struct mount *m = r->mount;
	int error = replay_error(r->replay);
	struct replay_report report;

	replay_report(r->replay, &report);
	if (error == 0) {
		apart_listed(m->sim, r->replay);
		m->sim->report.redone++;
		m->sim->report.rerun += report.run;
		m->sim->report.conflicts += report.conflicts;
		m->sim->report.equal += report.equal;
	}
	error = engine_redo_end(mount_clocked(m), r->losses, error);
	sim_trace(m->sim, "c%u: done again: %" PRIu64 " operations, %" PRIu64 " unfit, %" PRIu64 " conflicts, error %d",
	    m->client->index, report.run, report.unfit, report.conflicts, error);
	replay_free(r->replay);
	r->replay = NULL;
	if (error != 0 && error != -EAGAIN)
		r->again_us = m->sim->now_us + AGAIN_US;
	if (error != 0 && error != -EAGAIN && error != -ENOSPC)
		sim_fail(m->sim, "client %u: what it lost cannot be done again: %s", m->client->index, strerrorname_np(-error));
	mount_drain(m);
}

static void
step(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	struct redo *r = m->redo;
	struct call *c;
	struct op *op;

	(void)number;
	if (m->state == MOUNT_GONE || r == NULL || r->replay == NULL || sim->report.failed)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), step, m, 0);
		return;
	}
	op = replay_next(r->replay, mount_clocked(m));
	mount_drain(m);
	if (op == NULL) {
		finished(r);
		return;
	}
	c = kernel_new_call(m->kernel, 0, op->type, op->ino);
	diary_describe(c, op);
	c->internal = c->redo = true;
	c->then = NULL;
	c->context = m;
	c->invoked = ++sim->step;
	judge_begun(sim, c);
	mount_submit(m, c);
}

void
apart_answer(struct call *c)
{
	struct mount *m = c->context;

	if (m->state == MOUNT_GONE || m->redo == NULL || m->redo->replay == NULL)
		return;
	replay_answered(m->redo->replay, &c->op);
	sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.reply_max_us), step, m, 0);
}

void
apart_tick(struct mount *m)
{
	struct redo *r = m->redo;
	uint64_t losses;
	bool keep;

	if (!m->sim->options.apart || m->replays || !engine_redo_due(m->engine, &losses, &keep))
		return;
	if (r == NULL) {
		r = m->redo = sim_alloc(sizeof *r);
		r->mount = m;
	}
	if (r->replay != NULL || m->sim->now_us < r->again_us)
		return;
	sim_trace(m->sim, "c%u: does again what it lost", m->client->index);
	r->losses = losses;
	r->replay = diary_load(m->client->diary);
	if (replay_redo(r->replay, mount_clocked(m), sim_real(m->sim), losses, keep) < 0)
		abort();
	mount_drain(m);
	step(m->sim, m, 0);
}

void
apart_drop(struct mount *m)
{
	if (m->redo != NULL)
		replay_free(m->redo->replay);
	free(m->redo);
	m->redo = NULL;
}

/* ---- the check ---- */

/* A file that got the bytes of a write: by that itself, or by a journal that was run again. */
struct holder {
	uint64_t	 ino, since;
};
enum { HOLDERS_MAX = 16 };

/* Did somebody perhaps overwrite or remove what h holds of c? */
static bool
changes(const struct call *c, const struct holder *h, const struct call *by)
{
	if (by == c || by->given || by->error != 0 || by->done == 0)
		return false;
	/* A file without a name owes nothing, whenever it lost that. */
	if ((by->type == OP_UNLINK || by->type == OP_RENAME) && by->op.victim == h->ino)
		return true;
	if (by->done < h->since)
		return false;
	switch (by->type) {
	case OP_WRITE:
		return by->ino == h->ino && by->op.offset < c->op.offset + c->size && c->op.offset < by->op.offset + by->size;
	case OP_FALLOCATE:
		return by->ino == h->ino;
	case OP_SETATTR:
		return by->ino == h->ino && (by->set & SET_SIZE);
	case OP_OPEN: case OP_CREATE:
		return (by->flags & O_TRUNC) && (by->ino == h->ino || by->child == h->ino);
	default:
		return false;
	}
}

static bool
carries(const struct call *c, const struct call *by)
{
	uint64_t skip = c->op.offset - by->op.offset;
	uint8_t *bytes;
	bool same;

	if (by->type != OP_WRITE || !by->given || by->error != 0 || by->done <= c->invoked || by->op.offset > c->op.offset ||
	    by->size < skip + c->size)
		return false;
	bytes = sim_alloc(c->size);
	pattern_fill(by->tag, skip, bytes, c->size);
	same = pattern_compare(c->tag, c->origin, bytes, c->size) == c->size;
	free(bytes);
	return same;
}

static bool
owes(const struct judge *j, const struct call *c)
{
	struct holder holders[HOLDERS_MAX] = { { c->ino, c->invoked } };
	unsigned count = 1;

	/* A few tags come again and again. */
	if (c->type != OP_WRITE || c->given || c->error != 0 || c->done == 0 || c->tag <= 10 || c->size == 0)
		return false;
	for (size_t i = 0; i < j->calls_count && count < HOLDERS_MAX; i++)
		if (carries(c, j->calls[i]))
			holders[count++] = (struct holder){ j->calls[i]->ino, j->calls[i]->invoked };
	for (size_t i = 0; i < j->calls_count; i++)
		for (unsigned k = 0; k < count; k++)
			if (changes(c, &holders[k], j->calls[i]))
				return false;
	return true;
}

static bool
holds(const struct image *image, const struct image_object *o, const struct call *c)
{
	uint8_t *content;
	bool good;

	if (o->names == 0 || !o->has_attr || !S_ISREG(o->attr.mode) || o->attr.size < c->op.offset + c->size)
		return false;
	content = sim_alloc(o->attr.size);
	good = image_content(image, o, content) &&
	    pattern_compare(c->tag, c->origin, content + c->op.offset, c->size) == c->size;
	free(content);
	return good;
}

static bool
is_listed(const struct apart *a, const char *name)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->listed[i], name) == 0)
			return true;
	return false;
}

void
apart_check(struct sim *sim)
{
	struct judge *j = sim->judge;
	struct image image;
	char text[300];

	image_read(sim, &image);
	if (!image_check(&image))
		sim_fail(sim, "the store at rest: %s", image.wrong);
	for (size_t i = 0; i < j->calls_count && !sim->report.failed; i++) {
		const struct call *c = j->calls[i];
		const struct image_object *own;
		bool found;

		if (!owes(j, c))
			continue;
		own = image_find(&image, c->ino);
		found = own != NULL && holds(&image, own, c);
		sim->report.owed++;
		sim->report.beside += !found;
		for (size_t n = 0; n < image.count && !found; n++)
			found = holds(&image, &image.objects[n], c);
		if (!found) {
			call_text(c, text, sizeof text);
			sim_fail(sim, "answered, and nowhere: %s", text);
		}
	}
	for (size_t i = 0; i < image.count; i++)
		for (unsigned n = NAMES_MADE; S_ISDIR(image.objects[i].attr.mode) && n < NAMES; n++)
			if (image.objects[i].entries[n] != 0 && !is_listed(apart_of(sim), name_text(n)))
				sim_fail(sim, "nobody was told of %s, %" PRIu64 " in %" PRIu64, name_text(n), image.objects[i].entries[n],
				    image.objects[i].oid);
	image_free(&image);
}
