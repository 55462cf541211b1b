/*
 * locks.c - see locks.h.
 *
 * The locks of a file hang unordered below the file, which exists as long as
 * it has any.  A change first makes sure of the memory it may need (one range
 * put into the middle of another makes two more), then cannot fail.
 *
 * Waits stand in one list in the order of their coming.  Whatever frees a
 * range tries those of the file again in that order; who comes later may
 * overtake, as in the kernel.
 *
 * Invariants:
 *  1. Two locks of a file that are of one kind and overlap have different
 *     owners, and both are shared.
 *  2. An owner's ranges of one mode do not touch: they would be one.
 *  3. A range has start <= end; an flock covers the whole file.
 *  4. No file is without locks.
 *  5. For each wait a lock stands in its way, and none waits while refusing.
 */
#include "fs/locks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	BUCKETS		= 256,
	CHAIN_MAX	= 32,		/* owners waiting for each other, looked at */
};

struct lock {
	struct lock_spec	 spec;
	struct lock		*next;
};

struct file {
	uint64_t		 ino;
	struct lock		*locks;
	struct file		*next;
};

struct locks {
	struct file		*buckets[BUCKETS];
	struct lock_wait	*waits, *done;
	bool			 refusing;
};

/* ---- files ---- */

static struct file **
file_at(const struct locks *l, uint64_t ino)
{
	struct file **at = (struct file **)&l->buckets[(ino * 0x9e3779b97f4a7c15u) >> 56];

	while (*at != NULL && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static void
file_settle(struct locks *l, uint64_t ino)
{
	struct file **at = file_at(l, ino), *f = *at;

	if (f != NULL && f->locks == NULL) {
		*at = f->next;
		free(f);
	}
}

/* ---- one lock against another ---- */

static bool
overlap(const struct lock_spec *a, const struct lock_spec *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool
touch(const struct lock_spec *a, const struct lock_spec *b)
{
	return a->start <= b->end + 1 && b->start <= a->end + 1;
}

static bool
same_owner(const struct lock_spec *a, const struct lock_spec *b)
{
	return a->kind == b->kind && a->owner == b->owner;
}

static const struct lock_spec *
conflict(const struct locks *l, const struct lock_spec *want)
{
	const struct file *f = *file_at(l, want->ino);

	if (want->mode == LOCK_NONE || f == NULL)
		return NULL;
	for (const struct lock *k = f->locks; k != NULL; k = k->next)
		if (k->spec.kind == want->kind && k->spec.owner != want->owner && overlap(&k->spec, want) &&
		    (k->spec.mode == LOCK_EXCLUSIVE || want->mode == LOCK_EXCLUSIVE))
			return &k->spec;
	return NULL;
}

/* Would `want`, waiting, wait for itself? */
static bool
deadlock(const struct locks *l, const struct lock_spec *want)
{
	const struct lock_spec *in_way = want->kind == LOCK_RANGE ? conflict(l, want) : NULL;
	const struct lock_wait *w;

	for (unsigned i = 0; in_way != NULL && i < CHAIN_MAX; i++) {
		for (w = l->waits; w != NULL && !same_owner(&w->spec, in_way); w = w->next)
			continue;
		if (w == NULL)
			return false;
		in_way = conflict(l, &w->spec);
		if (in_way != NULL && in_way->owner == want->owner)
			return true;
	}
	return false;
}

/* ---- changing what one owner holds ---- */

/*
 * Puts `want` over the owner's other locks.  Takes from *spare what it needs:
 * one lock for a mode, one more when a lock is cut in two.
 */
static void
apply(struct file *f, const struct lock_spec *want, struct lock *spare[2])
{
	struct lock **at = &f->locks, *k, *new = NULL;
	struct lock_spec whole = *want;

	if (want->mode != LOCK_NONE) {
		new = spare[0];
		spare[0] = NULL;
	}
	while ((k = *at) != NULL) {
		struct lock_spec *had = &k->spec;
		bool before = had->start < want->start, behind = had->end > want->end;

		if (!same_owner(had, want) || !(had->mode == want->mode ? touch(had, want) : overlap(had, want))) {
			at = &k->next;
		} else if (had->mode == want->mode) {
			whole.start = had->start < whole.start ? had->start : whole.start;
			whole.end = had->end > whole.end ? had->end : whole.end;
			*at = k->next;
			free(k);
		} else if (before && behind) {
			*spare[1] = (struct lock){ *had, k->next };
			spare[1]->spec.start = want->end + 1;
			had->end = want->start - 1;
			k->next = spare[1];
			at = &spare[1]->next;
			spare[1] = NULL;	/* no other lock of the owner overlaps */
		} else if (before) {
			had->end = want->start - 1;
			at = &k->next;
		} else if (behind) {
			had->start = want->end + 1;
			at = &k->next;
		} else {
			*at = k->next;
			free(k);
		}
	}
	if (new != NULL) {
		*new = (struct lock){ whole, f->locks };
		f->locks = new;
	}
}

/* `want` is in nobody's way. */
static int
change(struct locks *l, const struct lock_spec *want)
{
	struct lock *spare[2] = { NULL, NULL };
	struct file **at = file_at(l, want->ino), *f = *at;
	int r = -ENOMEM;

	if (f == NULL && want->mode == LOCK_NONE)
		return 0;
	if ((spare[0] = malloc(sizeof *spare[0])) == NULL || (spare[1] = malloc(sizeof *spare[1])) == NULL)
		goto out;
	if (f == NULL) {
		if ((f = calloc(1, sizeof *f)) == NULL)
			goto out;
		f->ino = want->ino;
		*at = f;
	}
	apply(f, want, spare);
	file_settle(l, want->ino);
	r = 0;
out:
	free(spare[0]);
	free(spare[1]);
	return r;
}

/* ---- waits ---- */

static void
end_wait(struct locks *l, struct lock_wait **at, int error)
{
	struct lock_wait *w = *at, **last = &l->done;

	*at = w->next;
	while (*last != NULL)
		last = &(*last)->next;
	w->error = error;
	w->next = NULL;
	*last = w;
}

/* After something of the file was given back. */
static void
retry(struct locks *l, uint64_t ino)
{
	struct lock_wait **at = &l->waits, *w;

	while ((w = *at) != NULL) {
		if (w->spec.ino == ino && conflict(l, &w->spec) == NULL) {
			end_wait(l, at, change(l, &w->spec));
			/* Taking may give back too: a range that becomes shared. */
			at = &l->waits;
		} else {
			at = &w->next;
		}
	}
}

struct lock_wait *
locks_done(struct locks *l)
{
	struct lock_wait *w = l->done;

	if (w != NULL)
		l->done = w->next;
	return w;
}

bool
locks_cancel(struct locks *l, struct lock_wait *w)
{
	for (struct lock_wait **at = &l->waits; *at != NULL; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			return true;
		}
	return false;
}

/* ---- the door ---- */

int
locks_new(struct locks **ret)
{
	struct locks *l = calloc(1, sizeof *l);

	if (l == NULL)
		return -ENOMEM;
	*ret = l;
	return 0;
}

void
locks_free(struct locks *l)
{
	struct file *f;
	struct lock *k;

	for (size_t i = 0; l != NULL && i < BUCKETS; i++)
		while ((f = l->buckets[i]) != NULL) {
			l->buckets[i] = f->next;
			while ((k = f->locks) != NULL) {
				f->locks = k->next;
				free(k);
			}
			free(f);
		}
	free(l);
}

bool
locks_test(const struct locks *l, const struct lock_spec *want, struct lock_spec *ret_conflict)
{
	const struct lock_spec *found = conflict(l, want);

	if (found == NULL)
		return false;
	*ret_conflict = *found;
	return true;
}

int
locks_set(struct locks *l, const struct lock_spec *want)
{
	int r;

	if (want->mode != LOCK_NONE && l->refusing)
		return -ENOLCK;
	if (conflict(l, want) != NULL) {
		/* A conversion first gives back, so that two who hold it shared do not wait for each other. */
		if (want->kind == LOCK_WHOLE)
			locks_drop_owner(l, LOCK_WHOLE, want->ino, want->owner);
		return -EAGAIN;
	}
	r = change(l, want);
	retry(l, want->ino);
	return r;
}

bool
locks_wait(struct locks *l, struct lock_wait *w)
{
	struct lock_wait **last = &l->waits;

	w->error = locks_set(l, &w->spec);
	if (w->error == -EAGAIN && deadlock(l, &w->spec))
		w->error = -EDEADLK;
	if (w->error != -EAGAIN)
		return true;
	while (*last != NULL)
		last = &(*last)->next;
	w->next = NULL;
	*last = w;
	return false;
}

static void
drop(struct locks *l, uint64_t ino, bool (*meant)(const struct lock_spec *had, const struct lock_spec *which),
    const struct lock_spec *which)
{
	struct file *f = *file_at(l, ino);
	struct lock **at, *k;

	if (f == NULL)
		return;
	for (at = &f->locks; (k = *at) != NULL;) {
		if (meant(&k->spec, which)) {
			*at = k->next;
			free(k);
		} else {
			at = &k->next;
		}
	}
	file_settle(l, ino);
	retry(l, ino);
}

static bool
same_handle(const struct lock_spec *a, const struct lock_spec *b)
{
	return a->handle == b->handle;
}

void
locks_drop_owner(struct locks *l, enum lock_kind kind, uint64_t ino, uint64_t owner)
{
	drop(l, ino, same_owner, &(struct lock_spec){ .kind = kind, .owner = owner });
}

void
locks_drop_handle(struct locks *l, uint64_t ino, uint64_t handle)
{
	drop(l, ino, same_handle, &(struct lock_spec){ .handle = handle });
}

bool
locks_any(const struct locks *l)
{
	/* No file is without locks. */
	for (unsigned i = 0; i < BUCKETS; i++)
		if (l->buckets[i] != NULL)
			return true;
	return false;
}

void
locks_refuse(struct locks *l, bool refuse)
{
	l->refusing = refuse;
	while (refuse && l->waits != NULL)
		end_wait(l, &l->waits, -ENOLCK);
}

/* ---- the invariants as code ---- */

static const char *
check_pair(const struct lock_spec *a, const struct lock_spec *b)
{
	if (a->kind != b->kind)
		return NULL;
	if (overlap(a, b) && (a->owner == b->owner || a->mode == LOCK_EXCLUSIVE || b->mode == LOCK_EXCLUSIVE))
		return "two locks that exclude each other";
	if (a->owner == b->owner && a->mode == b->mode && touch(a, b))
		return "two ranges that should be one";
	return NULL;
}

static const char *
check_file(const struct file *f)
{
	const char *wrong = f->locks == NULL ? "a file without locks" : NULL;

	for (const struct lock *k = f->locks; k != NULL && wrong == NULL; k = k->next) {
		if (k->spec.ino != f->ino || k->spec.mode == LOCK_NONE || k->spec.start > k->spec.end)
			wrong = "a lock that is none";
		if (k->spec.kind == LOCK_WHOLE && (k->spec.start != 0 || k->spec.end != LOCK_END))
			wrong = "an flock of a part";
		for (const struct lock *o = k->next; o != NULL && wrong == NULL; o = o->next)
			wrong = check_pair(&k->spec, &o->spec);
	}
	return wrong;
}

bool
locks_check(const struct locks *l, char *why, size_t size)
{
	const char *wrong = NULL;

	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct file *f = l->buckets[i]; f != NULL && wrong == NULL; f = f->next)
			wrong = check_file(f);
	for (const struct lock_wait *w = l->waits; w != NULL && wrong == NULL; w = w->next)
		if (l->refusing || conflict(l, &w->spec) == NULL)
			wrong = "a wait for nothing";
	if (wrong != NULL)
		snprintf(why, size, "%s", wrong);
	return wrong == NULL;
}
