/*
 * fate.c - see fate.h.
 *
 * Steps of the world tell which calls a commit can hold: those done before
 * it was frozen.  Calls done in the very event that froze it may be on either
 * side; each boundary there is tried.
 */
#include "tests/sim/fate_room.h"

#define XXH_INLINE_ALL
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/store.h"
#include "tests/sim/daemon.h"
#include "tests/sim/diary.h"
#include "tests/sim/through.h"

/* ---- lives ---- */

void
fate_mount(struct mount *m)
{
	m->ledger = sim_alloc(sizeof *m->ledger);
}

void
fate_mount_free(struct mount *m)
{
	free(m->ledger->made);
	free(m->ledger->frozen);
	free(m->ledger->applied);
	free(m->ledger);
}

bool
fate_open(const struct mount *m)
{
	return m->ledger->stale || !m->ledger->settled;
}

void
fate_session_lost(struct mount *m)
{
	sim_fail(m->sim, "client %u: the server does not know its session", m->client->index);
}

void
fate_killed(struct mount *m)
{
	struct judge *j = m->sim->judge;

	uint64_t step = ++m->sim->step;

	for (size_t i = 0; i < j->calls_count; i++)
		if (j->calls[i]->mount == m && j->calls[i]->responded == 0)
			j->calls[i]->responded = step;
	m->ledger->dead = m->ledger->stale = true;
	if (j->model == NULL)
		return;
	judge_append(j, (struct letter){ .kind = LETTER_DEATH, .mount = m, .step = step });
	judge_advance(j);
}

/* ---- calls ---- */

bool
fate_changes_something(const struct call *c)
{
	switch (c->type) {
	case OP_RENAME: case OP_SETATTR: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK: case OP_UNLINK:
	case OP_RMDIR: case OP_WRITE: case OP_FALLOCATE: case OP_SETXATTR: case OP_REMOVEXATTR:
		return true;
	default:
		return c->type == OP_OPEN && (c->flags & O_TRUNC);
	}
}

bool
fate_changed(const struct call *c, uint64_t ino)
{
	return c->error == 0 && fate_changes_something(c) &&
	    (c->ino == ino || c->ino2 == ino || c->child == ino || c->op.victim == ino || c->op.moved == ino);
}

uint64_t
fate_effect(const struct call *c)
{
	return c->effect != 0 ? c->effect : c->done;
}

bool
fate_closes(const struct call *c)
{
	return c->type == OP_RELEASE || c->type == OP_RELEASEDIR;
}

/* ---- absences ---- */

static void
leave(struct mount *m)
{
	struct ledger *l = m->ledger;

	l->back = false;
	if (l->absent || l->dead || m->sim->judge->model == NULL)
		return;
	l->absent = l->stale = l->was_absent = true;
	l->open = 0;
	sim_trace(m->sim, "judge: client %u is absent", m->client->index);
	diary_dying(m->client->diary, m);
	l->left_step = ++m->sim->step;
	l->left_bound = UINT64_MAX;
	l->back_step = 0;
	l->unlanded_count = 0;
	judge_append(m->sim->judge, (struct letter){ .kind = LETTER_ABSENCE, .mount = m, .step = l->left_step });
	judge_advance(m->sim->judge);
}

void
fate_gone(struct mount *m)
{
	leave(m);
}

void
fate_attached(struct mount *m)
{
	m->ledger->back = true;
	m->ledger->back_step = 0;
}

/* Files it has open now that work on them is lost tell so, each once. */
static void
give_up(struct mount *m, struct call *c)
{
	if (!c->lost && c->error == 0 && facts_changes_content(c)) {
		sim_trace(m->sim, "judge: #%" PRIu64 " is lost", c->number);
		kernel_lost(m->kernel, c->ino, c->done);
	}
	m->sim->report.given_up += !c->lost;
	c->lost = c->voided = true;
}

static void
excuse_errors(struct mount *m)
{
	const struct judge *j = m->sim->judge;

	kernel_lost(m->kernel, 0, 0);
	for (size_t i = 0; i < j->calls_count; i++)
		if (j->calls[i]->mount == m && j->calls[i]->in_engine)
			j->calls[i]->excuses |= EXCUSE_LOST;
}

/*
 * Its engine told of a loss: all that was done and is in no commit under way.
 * What becomes of those is known when the last of them is answered.
 */
static void
lose(struct mount *m, const struct engine_status *s)
{
	struct judge *j = m->sim->judge;
	struct ledger *l = m->ledger;
	uint64_t step;

	leave(m);
	l->back = true;
	step = l->applied_count == 0 ? 0 : l->applied[l->applied_count - 1].step;
	step = l->bound_of == step ? l->bound : step;
	if (s->commits_pending > 0 && l->made[s->sequence - 1].step > step)
		step = l->made[s->sequence - 1].step;
	l->open = s->commits_pending > 0 ? s->sequence : 0;
	l->gave_up = true;
	/* The kernel is told at once, and again when replies that were on their way have left: each takes its time. */
	l->swept_us = (m->late_until_us > j->sim->now_us ? m->late_until_us : j->sim->now_us) +
	    2 * j->sim->plan.invalidate_max_us + j->sim->plan.reply_max_us;
	for (size_t i = 0; i < j->calls_count; i++) {
		struct call *c = j->calls[i];

		if (c->mount == m && c->done > step && !fate_closes(c))
			give_up(m, c);
	}
	sim_trace(j->sim, "judge: client %u gave up what came after step %" PRIu64, m->client->index, step);
	diary_lost(m->client->diary, m);
	excuse_errors(m);
	l->stale = true;
	judge_advance(j);
}

/* ---- commits ---- */

static uint64_t
hash_bytes(uint64_t h, struct bytes b)
{
	return XXH3_64bits_withSeed(b.data, b.len, h + b.len);
}

static uint64_t
commit_hash(const struct commit *c)
{
	uint64_t h = c->sequence;

	for (uint32_t i = 0; i < c->changes_count; i++) {
		const struct msg_change *m = &c->changes[i];

		h = rng_mix(rng_mix(h ^ m->oid) ^ ((uint64_t)m->op << 8 | m->kind));
		h = hash_bytes(hash_bytes(hash_bytes(h, m->subkey), m->to), m->value);
		h = hash_bytes(h, (struct bytes){ (const uint8_t *)m->orefs.at, m->orefs.count * sizeof *m->orefs.at });
		h = hash_bytes(h, (struct bytes){ (const uint8_t *)m->brefs.at, (size_t)m->brefs.count * ID_SIZE });
	}
	return h;
}

void
fate_watch(struct mount *m)
{
	struct ledger *l = m->ledger;
	struct engine_status s;

	engine_status(m->engine, &s);
	if (s.sequence > l->made_size) {
		l->made_size = s.sequence * 2 + 16;
		if ((l->made = realloc(l->made, l->made_size * sizeof *l->made)) == NULL)
			abort();
	}
	if (s.sequence > l->sequence)
		m->sim->step++;
	for (; l->sequence < s.sequence; l->sequence++) {
		l->made[l->sequence].step = m->sim->step;
		l->made[l->sequence].event = m->sim->report.events;
		l->made[l->sequence].taken = false;
	}
	l->sequence = s.sequence;
}

uint64_t
fate_frozen(struct mount *m, const struct commit *commit)
{
	struct ledger *l = m->ledger;
	struct freeze f = { commit->sequence, commit_hash(commit), ++m->sim->step, m->sim->report.events };
	/* It may have been frozen long before it could be sent; and anew, with what it had, after it was taken back. */
	bool anew = f.sequence <= l->sequence && !l->made[f.sequence - 1].taken;

	for (size_t i = 0; i < l->frozen_count && !anew; i++)
		if (l->frozen[i].sequence == f.sequence && l->frozen[i].hash == f.hash)
			return i + 1;
	if (l->frozen_count == l->frozen_size) {
		l->frozen_size = l->frozen_size * 2 + 16;
		if ((l->frozen = realloc(l->frozen, l->frozen_size * sizeof *l->frozen)) == NULL)
			abort();
	}
	if (anew) {
		f.step = l->made[f.sequence - 1].step;
		f.event = l->made[f.sequence - 1].event;
		l->made[f.sequence - 1].taken = true;
	}
	l->frozen[l->frozen_count++] = f;
	sim_trace(m->sim, "c%u: froze commit %" PRIu64 " of %u changes", m->client->index, f.sequence, commit->changes_count);
	return l->frozen_count;
}

bool
fate_froze(const struct mount *m, uint64_t from, uint64_t to)
{
	const struct ledger *l = m->ledger;

	for (size_t i = 0; i < l->frozen_count; i++)
		if (l->frozen[i].step >= from && l->frozen[i].step < to)
			return true;
	return false;
}

void
fate_before(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct judge *j = sim->judge;

	if (m->type != MSG_commit)
		return;
	j->was_version = image_version(sim);
	j->was_sequence = 0;
	image_session(sim, c->session, &j->was_sequence, &(bool){ false });
}

void
fate_after(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct judge *j = sim->judge;
	struct ledger *l = c->mount->ledger;
	uint64_t sequence = 0;
	bool rejected = false, applied;
	const struct freeze *f;

	if (m->type != MSG_commit || sim->report.failed)
		return;
	image_session(sim, c->session, &sequence, &rejected);
	applied = sequence > j->was_sequence && !rejected;
	if (sequence > j->was_sequence + 1 || (sequence != j->was_sequence && sequence != m->commit.sequence))
		sim_fail(sim, "the server went from sequence %" PRIu64 " to %" PRIu64 " at commit %" PRIu64,
		    j->was_sequence, sequence, m->commit.sequence);
	if (image_version(sim) != j->was_version && !applied)
		sim_fail(sim, "a commit of sequence %" PRIu64 " was applied after %" PRIu64 " was", m->commit.sequence,
		    j->was_sequence);
	if (!applied)
		return;
	assert(m->id >= 1 && m->id <= l->frozen_count);
	f = &l->frozen[m->id - 1];
	if (l->applied_count == l->applied_size) {
		l->applied_size = l->applied_size * 2 + 16;
		if ((l->applied = realloc(l->applied, l->applied_size * sizeof *l->applied)) == NULL)
			abort();
	}
	if (l->absent && l->back_step == 0)
		l->back_step = ++sim->step;
	l->applied[l->applied_count++] = (struct applied){ store_end(sim->daemon->store), sequence, f->step, f->event };
	if (l->dead && l->settled)
		sim_fail(sim, "a commit of a session that had ended was applied");
	l->stale = l->dead || l->absent;
	judge_advance(j);
}

void
fate_server_sends(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct ledger *l = c->mount->ledger;

	if (m->type == MSG_committed && m->committed.status == STATUS_OK)
		for (size_t i = 0; i < l->applied_count; i++)
			if (l->applied[i].sequence == m->committed.sequence && l->applied[i].step > l->acked_step)
				l->acked_step = l->applied[i].step;
	if (m->type == MSG_attached && c->lane == LANE_CONTROL && (c->mount->replaces != 0 || c->mount->resumes != 0))
		for (struct mount *old = c->mount->client->mounts; old != NULL; old = old->next)
			if (old != c->mount && (old->session == c->mount->replaces || old->session == c->mount->resumes))
				old->ledger->settled = true;
	(void)sim;
}

uint64_t
fate_crash_position(struct sim *sim, uint64_t synced, uint64_t end)
{
	return rng_chance(&sim->faults, 400) ? synced : rng_chance(&sim->faults, 150) ? end :
	    rng_between(&sim->faults, synced, end);
}

void
fate_crashed(struct sim *sim, uint64_t kept)
{
	struct image image;

	for (unsigned i = 0; i < sim->plan.clients; i++)
		for (struct mount *m = sim->clients[i]->mounts; m != NULL; m = m->next) {
			struct ledger *l = m->ledger;
			size_t count = l->applied_count;

			while (count > 0 && l->applied[count - 1].pos > kept)
				count--;
			if (count == l->applied_count)
				continue;
			l->applied_count = count;
			if (l->acked_step > (count == 0 ? 0 : l->applied[count - 1].step))
				sim_fail(sim, "an acknowledged commit of client %u is lost", i);
			l->stale = l->dead || l->absent;
		}
	image_read(sim, &image);
	if (!image_check(&image))
		sim_fail(sim, "the store after a crash: %s", image.wrong);
	image_free(&image);
	judge_advance(sim->judge);
}

/* ---- promises ---- */

static bool
promised(const struct call *sync, const struct call *c)
{
	if (!fate_changes_something(c))
		return false;
	switch (sync->type) {
	case OP_SYNC:
		return true;
	case OP_FSYNC:
		return c->ino == sync->ino || c->child == sync->ino || c->victim == sync->ino;
	default:
		return (c->ino == sync->ino || c->ino2 == sync->ino) && c->type != OP_SETATTR;
	}
}

/* Content without a name need not survive. */
static bool
unlinked(const struct model *m, const struct call *c)
{
	const struct inode *i = model_find(m, c->ino);

	return i != NULL && i->nlink == 0;
}

void
fate_excuse(struct call *c)
{
	const struct ledger *l = c->mount->ledger;

	if (l->absent && !fate_closes(c))
		c->voided = true;	/* for now: until it is known what becomes of its work */
	if (pair_begins_anew(c->mount->kernel, c))
		c->past = c->voided = true;
	if (c->by_kernel && (mount_overslept(c->mount) || c->mount->sim->now_us <= l->swept_us))
		c->past = c->voided = true;
	if ((c->type == OP_SYNC && (l->losses > l->sync_told || c->invoked < l->told_step)) || (c->file != NULL && c->file->doubted &&
	    (c->type == OP_FSYNC || c->type == OP_FSYNCDIR || c->type == OP_FLUSH)))
		c->excuses |= EXCUSE_LOST;
	if (l->was_absent)
		c->excuses |= EXCUSE_ABSENT;
	if (c->file != NULL && c->file->told)
		c->excuses |= EXCUSE_TOLD;
}

void
fate_done(struct sim *sim, struct call *c)
{
	struct judge *j = sim->judge;

	if (c->error == -EIO && (c->excuses & EXCUSE_LOST) && c->type == OP_SYNC)
		c->mount->ledger->sync_told = c->mount->ledger->losses, c->mount->ledger->told_step = sim->step;
	if (c->error == -EIO && (c->excuses & EXCUSE_LOST) && c->file != NULL) {
		c->file->doubted = c->file->owes = false;
		c->file->told = true;
		c->file->told_step = sim->step;
	}
	if (c->error == 0 && c->type == OP_FSYNC && c->file != NULL && c->file->owes)
		sim_fail(sim, "client %u gave up what was written to %" PRIu64 ", and fsync does not say so", c->client, c->ino);
	if (c->op.through && c->error == 0) {
		c->through = true;
		sim->report.through++;
		through_check(sim, c);
	}
	if (c->error != 0 || (c->type != OP_FSYNC && c->type != OP_FSYNCDIR && c->type != OP_SYNC))
		return;
	for (size_t i = 0; i < j->count; i++) {
		struct call *old = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (old != NULL && old->mount == c->mount && old->error == 0 && !old->lost && old->done < c->invoked && promised(c, old) &&
		    !unlinked(j->model, old))
			old->durable = true;
	}
}

/* ---- deciding ---- */

/* Void until its mount has heard what it has still; but some of it has come already. */
static bool
is_coming(const struct call *c)
{
	const struct ledger *l = c->mount->ledger;

	return c->voided && !c->lost && !c->past && l->absent && l->back && l->back_step != 0;
}

/* By somebody else, in what the judge has not come to yet, or what nobody was answered: then the store may have that already. */
static bool
touched_later(const struct judge *j, const struct mount *m, uint64_t ino)
{
	for (size_t i = 0; i < j->count; i++) {
		const struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (c != NULL && c->mount != m && (i >= j->verified || is_coming(c)) && fate_changed(c, ino))
			return true;
	}
	return through_landed(j, m, ino);
}

static void
remove_adopted(struct judge *j, const struct mount *m, const struct facts *f)
{
	size_t count = 0, verified = j->verified;

	for (size_t i = 0; i < j->count; i++) {
		struct letter *l = &j->letters[i];
		bool mine = l->kind == LETTER_ADOPT && l->mount == m && !l->over;

		for (size_t n = 0; mine && n < f->count; n++)
			if (f->at[n].ino == l->as->ino && (f->at[n].built_on || touched_later(j, m, l->as->ino)))
				mine = false;
		if (!mine) {
			j->letters[count++] = *l;
			continue;
		}
		fate_free_inode(l->as);
		verified -= i < j->verified;
	}
	j->count = count;
	j->verified = verified;
}

static void
insert_adopted(struct judge *j, struct mount *m, struct inode *as)
{
	size_t at = 0;

	while ((j->letters[at].kind != LETTER_DEATH && j->letters[at].kind != LETTER_ABSENCE) || j->letters[at].mount != m ||
	    j->letters[at].over)
		at++;
	judge_append(j, (struct letter){ .kind = LETTER_ADOPT });
	memmove(j->letters + at + 2, j->letters + at + 1, (j->count - at - 2) * sizeof *j->letters);
	j->letters[at + 1] = (struct letter){ .kind = LETTER_ADOPT, .mount = m, .step = j->letters[at].step, .as = as };
	if (j->verified > at)
		j->verified++;
}

void
fate_void_after(struct judge *j, const struct mount *m, uint64_t step)
{
	const struct ledger *l = m->ledger;

	for (size_t i = 0; i < j->count; i++) {
		struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (c != NULL && c->mount == m)
			c->voided = c->lost || c->past || ((l->dead || (l->absent && !fate_closes(c))) && fate_effect(c) > step && !c->through);
	}
}

/*
 * Without a name, and nobody has it open; who was given up may have had no PIN.  One that was opened by a call that is
 * void is open all the same.
 */
static bool
is_gone(const struct sim *sim, const struct image *image, const struct inode *i)
{
	if (i == NULL || i->nlink > 0)
		return i == NULL;
	for (unsigned c = 0; c < sim->plan.clients; c++) {
		const struct mount *m = sim->clients[c]->mount;
		bool there = image_find(image, i->ino) != NULL;

		if ((i->opens[c] > 0 && (there || m == NULL || !m->ledger->was_absent)) ||
		    (m != NULL && there && kernel_has_open(m->kernel, i->ino)))
			return false;
	}
	return true;
}

/* One boundary between what stayed and what is void: does it explain everything? */
bool
fate_try_boundary(struct judge *j, struct mount *m, uint64_t step, char *why, size_t size)
{
	struct facts facts = { .dead = m };
	struct image image;
	bool good;

	fate_void_after(j, m, step);
	image_read(j->sim, &image);
	good = facts_gather(j, &facts, why, size);
	if (good)
		remove_adopted(j, m, &facts);
	for (size_t n = 0; good && n < facts.count; n++) {
		struct fact *f = &facts.at[n];
		const struct inode *i = model_find(facts.model, f->ino);
		struct inode *as = NULL;

		if (is_gone(j->sim, &image, i) || is_gone(j->sim, &image, model_find(facts.now, f->ino)) || f->built_on || (f->changer != m && !(f->doubtful && f->changer == NULL)))
			continue;
		if (touched_later(j, m, f->ino))
			continue;
		/* It lives on, and has this still. */
		if (m->ledger->gave_up && !m->ledger->dead && engine_holds_content(m->engine, f->ino))
			continue;
		good = remains_judge(&image, m, f, i, &as, why, size);
		if (as != NULL)
			insert_adopted(j, m, as);
	}
	image_free(&image);
	facts_free(&facts);
	return good;
}

static bool
promises_kept(struct judge *j, const struct mount *m, char *why, size_t size)
{
	for (size_t i = 0; i < j->count; i++) {
		struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;
		char text[400];

		if (c == NULL || c->mount != m || !c->voided || !c->durable || c->idle)
			continue;
		call_text(c, text, sizeof text);
		snprintf(why, size, "synced work is lost: %s", text);
		return false;
	}
	return true;
}

void
fate_try_all_again(struct judge *j, const struct mount *m, const char *what)
{
	char why[1024] = "", text[1024] = "";
	size_t at;

	if (judge_replay(j, &at, why, sizeof why))
		return;
	call_text(j->letters[at].call, text, sizeof text);
	sim_fail(j->sim, "after the %s of client %u: %s: %s", what, m->client->index, why, text);
}

void
fate_heed(struct mount *m)
{
	struct ledger *l = m->ledger;
	struct engine_status s;

	if (m->engine == NULL || m->sim->judge->model == NULL || l->dead)
		return;
	engine_status(m->engine, &s);
	if (s.lost_objects + s.rejected > l->losses) {
		l->losses = s.lost_objects + s.rejected;
		lose(m, &s);
	}
	if (l->absent && l->back && s.attached && !s.reclaiming && s.sequence - s.commits_pending >= l->open)
		absence_over(m);
}

/* Is everything explained, and nothing void that was promised to stay? */
static bool
holds(struct judge *j, struct mount *m, uint64_t step, char *why, size_t size)
{
	return fate_try_boundary(j, m, step, why, size) && promises_kept(j, m, why, size);
}

/* The last commit that was applied, or a boundary within the event that froze it: which one explains everything? */
static bool
find_boundary(struct judge *j, struct mount *m, char *why, size_t size)
{
	struct ledger *l = m->ledger;
	const struct applied *last = l->applied_count == 0 ? NULL : &l->applied[l->applied_count - 1];
	uint64_t step = last == NULL ? 0 : last->step;
	char again[1024] = "";
	bool good = holds(j, m, step, why, size);

	l->bound = l->bound_of = step;
	for (size_t i = 0; !good && last != NULL && i < j->calls_count; i++) {
		const struct call *c = j->calls[i];
		uint64_t effect = fate_effect(c);

		if (c->mount != m || c->done == 0 || (c->effect != 0 ? c->effect_event : c->done_event) != last->event)
			continue;
		/* Just before, and with, each call of the event that froze the commit. */
		for (uint64_t at_step = effect - 1; !good && at_step <= effect; at_step++)
			if ((good = holds(j, m, at_step, again, sizeof again)))
				l->bound = at_step;
	}
	return good;
}

static void
decide(struct judge *j, struct mount *m)
{
	struct ledger *l = m->ledger;
	char why[1024] = "", again[1024] = "";
	bool good;

	/*
	 * What it brings now comes later than what others saw meanwhile: see absence.c.  But the judge may come to its
	 * leaving only now that it is back, having brought nothing yet.
	 */
	if (l->absent && l->back && !l->dead && (l->back_step != 0 || l->left_bound != UINT64_MAX))
		return;
	l->stale = false;
	good = find_boundary(j, m, why, sizeof why);
	good = good || (absence_died_back(j, m, false) && find_boundary(j, m, why, sizeof why)) ||
	    (absence_died_back(j, m, true) && find_boundary(j, m, why, sizeof why));
	if (l->absent && l->left_bound == UINT64_MAX)
		l->left_bound = l->bound;
	if (!good) {
		fate_try_boundary(j, m, l->bound_of, again, sizeof again);
		sim_fail(j->sim, "after the %s of client %u with %zu commits applied: %s", l->dead ? "death" : "absence",
		    m->client->index, l->applied_count, why);
		return;
	}
	for (size_t i = 0; i < j->calls_count; i++)
		j->sim->report.voided += j->calls[i]->mount == m && j->calls[i]->voided;
	absence_try_all_again(j, m, l->dead ? "death" : "absence");
	sim_trace(j->sim, "judge: client %u lost what came after step %" PRIu64, m->client->index, l->bound);
}

void
fate_decide_absence(struct judge *j, struct mount *m)
{
	bool was = j->deciding;

	j->deciding = true;
	if (m->ledger->stale)
		decide(j, m);
	j->deciding = was;
}

void
fate_poll(struct judge *j)
{
	struct sim *sim = j->sim;

	if (j->deciding || j->model == NULL || j->verified < j->count)
		return;
	j->deciding = true;
	for (unsigned i = 0; i < sim->plan.clients && !sim->report.failed; i++)
		for (struct mount *m = sim->clients[i] == NULL ? NULL : sim->clients[i]->mounts; m != NULL; m = m->next)
			if (m->ledger->stale && !sim->report.failed)
				decide(j, m);
	j->deciding = false;
}

bool
fate_decided(const struct sim *sim)
{
	const struct judge *j = sim->judge;

	return j->verified == j->count;
}
