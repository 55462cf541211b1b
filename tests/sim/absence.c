/*
 * absence.c - mounts that were given up and come back: see fate.h.
 *
 * While a mount is absent what it has unsaved is void.  When it is back with
 * all of it, it never was away; but others may have looked meanwhile, and
 * changed nothing.  So either what it did is moved behind what they saw, or
 * what they saw is past.
 */
#include "tests/sim/fate_room.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/diary.h"

/* A commit that was under way brought other content or times of a file than were found, and nobody else changed that. */
static bool
has_landed(const struct judge *j, const struct mount *m, const struct inode *as)
{
	struct image image;
	bool differs;

	for (size_t i = 0; i < j->verified; i++) {
		const struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (c != NULL && c->mount != m && !c->voided && !c->idle && c->done > m->ledger->left_step && fate_changed(c, as->ino))
			return false;
	}
	image_read(j->sim, &image);
	differs = remains_differ(&image, as);
	image_free(&image);
	return differs;
}

/*
 * It came back with all it had: it never was away.  Or with some content that it has still, or that has landed since: as
 * if that had been there.
 */
static void
forget_absence(struct judge *j, struct mount *m, bool all)
{
	size_t count = 0, verified = j->verified;

	for (size_t i = 0; i < j->count; i++) {
		struct letter *l = &j->letters[i];

		if ((l->kind != LETTER_ABSENCE && l->kind != LETTER_ADOPT) || l->mount != m || l->over ||
		    (!all && (l->kind != LETTER_ADOPT ||
		    (!engine_holds_content(m->engine, l->as->ino) && !has_landed(j, m, l->as))))) {
			j->letters[count++] = *l;
			continue;
		}
		if (l->kind == LETTER_ADOPT && m->ledger->unlanded_count < UNLANDED_MAX)
			m->ledger->unlanded[m->ledger->unlanded_count++] = l->as->ino;
		if (l->kind == LETTER_ADOPT)
			fate_free_inode(l->as);
		verified -= i < j->verified;
	}
	j->count = count;
	j->verified = verified;
}

static bool
is_unlanded(const struct ledger *l, const struct call *c)
{
	for (unsigned i = 0; i < l->unlanded_count; i++)
		if (l->unlanded[i] == c->ino || l->unlanded[i] == c->child)
			return true;
	return false;
}

/* It was done before m left, and no commit that the server had then holds it. */
static bool
came_later(const struct call *c, const struct mount *m)
{
	return c->done <= m->ledger->left_step && fate_effect(c) > m->ledger->left_bound && !c->through;
}

/* What changed something takes effect later; what only looked was right when it did, and that is past. */
static bool
held_over(const struct letter *l, const struct mount *m)
{
	struct call *c = l->kind == LETTER_CALL && l->call->mount == m ? l->call : NULL;

	if (l->kind == LETTER_DEATH)
		return l->mount == m && l->step < m->ledger->back_step;	/* its commit was on its way, and came */
	if (c == NULL || c->lost || c->past || !came_later(c, m) || fate_closes(c))
		return false;
	if (c->voided)
		return true;	/* a dead one's commit that holds it may come yet */
	c->past = c->voided = c->error != 0 || c->idle || !fate_changes_something(c);
	return !c->past;
}

/* While it was away it did this with what it had changed before, and had still: behind that. */
static bool
follows(const struct letter *l, const struct mount *m, const struct letter *held, size_t count)
{
	const struct call *c = l->kind == LETTER_CALL && l->call->mount == m ? l->call : NULL;

	if (c == NULL || c->lost || c->past || c->through || fate_closes(c) || c->done <= m->ledger->left_step ||
	    c->done > m->ledger->back_step)
		return false;
	for (size_t i = 0; i < count; i++)
		if (held[i].kind == LETTER_CALL && fate_changed(held[i].call, c->ino))
			return true;
	return false;
}

/* It closes what one of those opens: the file is not open for ever because it is made later. */
static bool
closes(const struct letter *l, const struct mount *m, const struct letter *held, size_t count)
{
	const struct call *c = l->kind == LETTER_CALL && l->call->mount == m && l->call->type == OP_RELEASE ? l->call : NULL;
	size_t open = 0;

	if (c == NULL || c->done > m->ledger->back_step)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct call *h = held[i].kind == LETTER_CALL ? held[i].call : NULL;

		if (h == NULL || h->error != 0)
			continue;
		open += h->type == OP_CREATE ? h->child == c->ino : h->type == OP_OPEN && h->ino == c->ino;
		open -= h->type == OP_RELEASE && h->ino == c->ino;
	}
	return open > 0;
}

/*
 * Others may have looked, and changed nothing: what it had not brought yet came only when it was back (R7).  Returns the
 * place behind that.
 */
static size_t
hold_over(struct judge *j, const struct mount *m)
{
	struct letter *held = sim_alloc((j->count + 1) * sizeof *held);
	size_t count = 0, kept = 0, at;

	for (size_t i = 0; i < j->count; i++) {
		const struct letter *l = &j->letters[i];

		if (held_over(l, m) || follows(l, m, held, count) || closes(l, m, held, count))
			held[count++] = *l;
		else
			j->letters[kept++] = *l;
	}
	for (at = 0; at < kept; at++)
		if (at + count >= j->verified || (j->letters[at].kind == LETTER_CALL ? j->letters[at].call->done :
		    j->letters[at].step) > m->ledger->back_step)
			break;
	memmove(j->letters + at + count, j->letters + at, (kept - at) * sizeof *held);
	memcpy(j->letters + at, held, count * sizeof *held);
	free(held);
	return at + count;
}

/*
 * Of a file that this one had changed, another's leaving found what was there without that, for it comes only now.  In its
 * old place it fits all the same, as what is found takes the place of all before; but it belongs behind.
 */
static bool
found_without(const struct judge *j, const struct mount *m)
{
	for (size_t i = 0; i < j->verified; i++) {
		const struct letter *found = &j->letters[i];

		if (found->kind != LETTER_ADOPT || found->mount == m || found->step > m->ledger->back_step)
			continue;
		for (size_t k = 0; k < i; k++) {
			const struct call *c = j->letters[k].kind == LETTER_CALL ? j->letters[k].call : NULL;

			if (c != NULL && c->mount == m && !c->voided && !c->idle && came_later(c, m) && fate_changed(c, found->as->ino))
				return true;
		}
	}
	return false;
}

/*
 * Content that its commits do not bring comes later than they (R4).  Who looked in between saw what the store had
 * of it then, which was verified, and is past.
 */
static void
pass_over(struct judge *j, const struct mount *m)
{
	const struct ledger *l = m->ledger;

	for (size_t i = 0; i < j->verified; i++) {
		struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (c == NULL || c->mount == m || c->voided || c->done <= l->left_step || c->done > l->back_step || !is_unlanded(l, c))
			continue;
		c->attr_unseen = true;
		if (c->error != 0 || !fate_changes_something(c))
			c->past = c->voided = true;
	}
}

/*
 * Who has not been answered since the server was started again may have done what does not go with all that: under
 * leases that were taken from who is back, and which the server does not know of any more.  They are that one's again.
 */
static void
others_leave(struct sim *sim, const struct mount *m)
{
	struct engine_status s;

	for (unsigned i = 0; i < sim->plan.clients; i++) {
		struct mount *other = sim->clients[i] == NULL ? NULL : sim->clients[i]->mount;

		if (other == NULL || other == m || other->engine == NULL)
			continue;
		engine_status(other->engine, &s);
		if (!s.attached || s.reclaiming)
			fate_gone(other);
	}
}

void
absence_try_all_again(struct judge *j, const struct mount *m, const char *what)
{
	const struct ledger *l = m->ledger;
	size_t at, verified = j->verified;
	char why[1024];

	if (judge_replay(j, &at, why, sizeof why))
		return;
	j->verified = verified;
	if (l->was_absent && l->back_step > l->left_step) {
		pass_over(j, m);
		if (judge_replay(j, &at, why, sizeof why))
			return;
		j->verified = verified;
		hold_over(j, m);
	}
	if (!l->absent && !l->dead) {
		if (judge_replay(j, &at, why, sizeof why))
			return;
		j->verified = verified;
		others_leave(j->sim, m);
	}
	fate_try_all_again(j, m, what);
}

/*
 * It came back, brought some of what it had, and died before it heard what it has still: as if it never had been away,
 * but behind what others saw meanwhile; and, if that does not explain it yet, with content that came later still.
 */
bool
absence_died_back(struct judge *j, struct mount *m, bool content)
{
	const struct ledger *l = m->ledger;

	if (!l->dead || !l->absent || l->back_step <= l->left_step)
		return false;
	if (content)
		pass_over(j, m);
	else {
		forget_absence(j, m, true);
		hold_over(j, m);
	}
	return true;
}

/* The judge has come as far as its leaving: what the store has of its work can be told from others'. */
static bool
leaving_verified(const struct judge *j, const struct mount *m)
{
	for (size_t i = j->verified; i < j->count; i++)
		if (j->letters[i].kind == LETTER_ABSENCE && j->letters[i].mount == m && !j->letters[i].over)
			return false;
	return true;
}

/* What was found at the leaving, and not by an attempt to explain the return, was so until then. */
static void
note_found(struct judge *j, const struct mount *m)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->letters[i].kind == LETTER_ADOPT && j->letters[i].mount == m)
			j->letters[i].found = true;
}

/*
 * What came when it was back, behind what others saw, did not bring all of its content either (R4), and that may be given up:
 * the store is held against it as if the mount had left at the letter `at`, behind that.
 */
static void
leave_at(struct judge *j, struct mount *m, size_t at)
{
	struct letter anew = { .kind = LETTER_ABSENCE, .mount = m, .step = m->ledger->back_step };
	size_t count = 0, verified = j->verified, place = at;

	for (size_t i = 0; i < j->count; i++) {
		struct letter *l = &j->letters[i];

		if (l->kind == LETTER_ADOPT && l->mount == m && !l->over && !l->found) {
			fate_free_inode(l->as);
			verified -= i < j->verified;
			place -= i < at;
			continue;
		}
		l->over |= l->kind != LETTER_CALL && l->mount == m;
		j->letters[count++] = *l;
	}
	j->count = count;
	judge_append(j, anew);
	memmove(j->letters + place + 1, j->letters + place, (j->count - place - 1) * sizeof *j->letters);
	j->letters[place] = anew;
	j->verified = verified + (verified >= place);
}

/* What it gave up is void, and of content the store has what it may; the rest comes as in absence_try_all_again(). */
static void
give_up(struct judge *j, struct mount *m, bool held)
{
	char why[1024] = "";

	note_found(j, m);
	if (held)
		leave_at(j, m, hold_over(j, m));
	if (fate_try_boundary(j, m, UINT64_MAX, why, sizeof why))
		return;
	pass_over(j, m);
	if (fate_try_boundary(j, m, UINT64_MAX, why, sizeof why))
		return;
	if (!held)
		leave_at(j, m, hold_over(j, m));
	if (!fate_try_boundary(j, m, UINT64_MAX, why, sizeof why))
		sim_fail(j->sim, "after client %u gave work up: %s", m->client->index, why);
}

/* What it gave up is void for good; the rest stays, also what it did since. */
void
absence_over(struct mount *m)
{
	struct judge *j = m->sim->judge;
	struct ledger *l = m->ledger;
	bool all = !l->gave_up || !leaving_verified(j, m), held;

	if (l->back_step == 0)
		l->back_step = ++j->sim->step;
	l->absent = l->stale = false;
	fate_void_after(j, m, UINT64_MAX);
	held = found_without(j, m);
	forget_absence(j, m, all);
	if (!l->gave_up)
		diary_returned(m->client->diary);
	if (!all)
		give_up(j, m, held);
	else if (held)
		hold_over(j, m);
	for (size_t i = 0; i < j->count; i++)
		if (j->letters[i].mount == m)
			j->letters[i].over = true;
	l->gave_up = false;
	sim_trace(j->sim, "judge: client %u is back", m->client->index);
	absence_try_all_again(j, m, "return");
	l->back_step = 0;	/* what comes now is in its place */
	judge_advance(j);
}
