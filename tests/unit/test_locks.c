/*
 * test_locks.c - the table of locks: what each call does, and walks at random
 * against a model that keeps a mode for each byte.
 *
 *	test_locks [seed [steps]]
 */
#include "fs/locks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/tap.h"

static struct lock_spec
range(uint64_t owner, enum lock_mode mode, uint64_t start, uint64_t end)
{
	return (struct lock_spec){ .ino = 7, .owner = owner, .handle = owner, .pid = (pid_t)(100 + owner),
	    .start = start, .end = end, .kind = LOCK_RANGE, .mode = mode };
}

static struct lock_spec
whole(uint64_t owner, enum lock_mode mode)
{
	struct lock_spec s = range(owner, mode, 0, LOCK_END);

	s.kind = LOCK_WHOLE;
	return s;
}

static int
set(struct locks *l, struct lock_spec want)
{
	return locks_set(l, &want);
}

/* What `owner` would meet: the pid of who is in the way, or 0. */
static int
met(struct locks *l, uint64_t owner, uint64_t start, uint64_t end)
{
	struct lock_spec want = range(owner, LOCK_EXCLUSIVE, start, end), found;

	return locks_test(l, &want, &found) ? found.pid : 0;
}

static bool
sound(struct locks *l)
{
	char why[80] = "";

	if (locks_check(l, why, sizeof why))
		return true;
	printf("# %s\n", why);
	return false;
}

static struct locks *
fresh(void)
{
	struct locks *l;

	if (locks_new(&l) < 0)
		abort();
	return l;
}

static void
ranges(void)
{
	struct locks *l = fresh();
	struct lock_spec want, found;

	ok(set(l, range(1, LOCK_EXCLUSIVE, 10, 29)) == 0, "an exclusive range");
	ok(set(l, range(2, LOCK_SHARED, 29, 40)) == -EAGAIN && set(l, range(2, LOCK_SHARED, 30, 40)) == 0,
	    "excludes to its last byte and no further");
	ok(set(l, range(1, LOCK_NONE, 15, 19)) == 0 && met(l, 3, 15, 19) == 0 && met(l, 3, 14, 14) == 101 &&
	    met(l, 3, 20, 20) == 101, "unlocking the middle leaves both sides");
	ok(set(l, range(1, LOCK_EXCLUSIVE, 15, 19)) == 0, "and locking it again");
	want = range(3, LOCK_EXCLUSIVE, 17, 17);
	ok(locks_test(l, &want, &found) && found.start == 10 && found.end == 29 && found.pid == 101,
	    "makes them one, which the test of a range tells with its pid");
	ok(set(l, range(1, LOCK_SHARED, 20, 24)) == 0 && set(l, range(2, LOCK_SHARED, 20, 24)) == 0,
	    "a part that becomes shared lets others share it");
	ok(set(l, range(1, LOCK_EXCLUSIVE, 20, 24)) == -EAGAIN && set(l, range(3, LOCK_SHARED, 20, 24)) == 0,
	    "and stays shared when it cannot be exclusive again");
	ok(set(l, range(9, LOCK_EXCLUSIVE, 1000, LOCK_END)) == 0 && met(l, 1, LOCK_END, LOCK_END) == 109,
	    "to the end of all files");
	ok(set(l, whole(5, LOCK_EXCLUSIVE)) == 0, "flock takes no notice of ranges");
	locks_drop_owner(l, LOCK_RANGE, 7, 1);
	ok(met(l, 3, 10, 19) == 0 && met(l, 3, 20, 24) == 102 && set(l, whole(6, LOCK_SHARED)) == -EAGAIN,
	    "a close drops the ranges of one owner and no more");
	locks_drop_handle(l, 7, 9);
	ok(met(l, 1, 1000, 1000) == 0, "a release drops what was taken through the handle");
	ok(sound(l), "sound");
	locks_free(l);
}

static void
wholes(void)
{
	struct locks *l = fresh();

	ok(set(l, whole(1, LOCK_SHARED)) == 0 && set(l, whole(2, LOCK_SHARED)) == 0, "flock is shared");
	ok(set(l, whole(1, LOCK_EXCLUSIVE)) == -EAGAIN && set(l, whole(2, LOCK_EXCLUSIVE)) == 0,
	    "a conversion that fails has given up what was held");
	ok(set(l, whole(2, LOCK_SHARED)) == 0 && set(l, whole(1, LOCK_SHARED)) == 0, "exclusive becomes shared");
	ok(set(l, whole(2, LOCK_NONE)) == 0 && set(l, whole(1, LOCK_EXCLUSIVE)) == 0 && sound(l), "and alone exclusive");
	locks_free(l);
}

static void
waits(void)
{
	struct locks *l = fresh();
	struct lock_wait a = { .spec = range(2, LOCK_EXCLUSIVE, 0, 9) }, b = { .spec = range(3, LOCK_SHARED, 5, 5) };

	set(l, range(1, LOCK_EXCLUSIVE, 0, 99));
	ok(!locks_wait(l, &a) && !locks_wait(l, &b) && locks_done(l) == NULL, "two wait");
	set(l, range(1, LOCK_NONE, 0, 5));
	ok(locks_done(l) == &b && b.error == 0 && locks_done(l) == NULL, "who can gets on when a part is free");
	locks_drop_owner(l, LOCK_RANGE, 7, 1);
	ok(locks_done(l) == NULL, "the other still waits for the one that got on");
	set(l, range(3, LOCK_NONE, 0, LOCK_END));
	ok(locks_done(l) == &a && a.error == 0 && met(l, 1, 0, 0) == 102, "and gets on after it");
	b.spec = range(3, LOCK_EXCLUSIVE, 0, 0);
	ok(!locks_wait(l, &b) && locks_cancel(l, &b) && !locks_cancel(l, &b), "a wait is cancelled once");
	set(l, range(2, LOCK_NONE, 0, LOCK_END));
	ok(locks_done(l) == NULL && met(l, 1, 0, LOCK_END) == 0, "and then never granted");

	set(l, range(1, LOCK_EXCLUSIVE, 0, 0));
	set(l, range(2, LOCK_EXCLUSIVE, 1, 1));
	a.spec = range(1, LOCK_EXCLUSIVE, 1, 1);
	b.spec = range(2, LOCK_EXCLUSIVE, 0, 0);
	ok(!locks_wait(l, &a) && locks_wait(l, &b) && b.error == -EDEADLK, "owners who would wait for each other are told");

	locks_refuse(l, true);
	ok(locks_done(l) == &a && a.error == -ENOLCK, "refusing ends waits");
	ok(set(l, range(3, LOCK_SHARED, 50, 50)) == -ENOLCK && locks_wait(l, &a) && a.error == -ENOLCK &&
	    set(l, whole(3, LOCK_SHARED)) == -ENOLCK, "and grants nothing");
	ok(met(l, 3, 0, 0) == 101 && set(l, range(1, LOCK_NONE, 0, 0)) == 0 && met(l, 3, 0, 0) == 0,
	    "what is held stays, and can be given back");
	locks_refuse(l, false);
	ok(set(l, range(3, LOCK_SHARED, 50, 50)) == 0 && sound(l), "until it ends");
	locks_free(l);
}

/* ---- the walk ---- */

enum { OWNERS = 4, BYTES = 24, WAITS = 6 };	/* the last byte stands for all behind it */

struct model {
	enum lock_mode	 at[2][OWNERS][BYTES];		/* by kind */
};

static uint64_t
roll(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t
last_of(const struct lock_spec *s)
{
	return s->end < BYTES ? s->end : BYTES - 1;
}

static bool
model_free(const struct model *m, const struct lock_spec *s)
{
	for (uint64_t o = 0; o < OWNERS; o++)
		for (uint64_t i = s->start; o != s->owner && s->mode != LOCK_NONE && i <= last_of(s); i++) {
			enum lock_mode had = m->at[s->kind][o][i];

			if (had == LOCK_EXCLUSIVE || (had == LOCK_SHARED && s->mode == LOCK_EXCLUSIVE))
				return false;
		}
	return true;
}

static void
model_put(struct model *m, const struct lock_spec *s)
{
	for (uint64_t i = s->start; i <= last_of(s); i++)
		m->at[s->kind][s->owner][i] = s->mode;
}

static bool
same(struct locks *l, const struct model *m)
{
	struct lock_spec found, s;

	for (unsigned n = 0; n < 2 * 2 * OWNERS * BYTES; n++) {
		s = range(n % OWNERS, n / OWNERS % 2 ? LOCK_SHARED : LOCK_EXCLUSIVE, n / OWNERS / 4, n / OWNERS / 4);
		s.kind = n / OWNERS / 2 % 2 ? LOCK_WHOLE : LOCK_RANGE;
		if (locks_test(l, &s, &found) == model_free(m, &s))
			return false;
	}
	return true;
}

static struct lock_spec
any_spec(uint64_t *rng)
{
	uint64_t owner = roll(rng) % OWNERS, a = roll(rng) % (BYTES - 1), b = roll(rng) % (BYTES - 1);
	enum lock_mode mode = roll(rng) % 3;

	if (roll(rng) % 4 == 0)
		return whole(owner, mode);
	return range(owner, mode, a < b ? a : b, roll(rng) % 8 == 0 ? LOCK_END : a < b ? b : a);
}

/* One step; what the table says must follow from the model. */
static bool
step(struct locks *l, struct model *m, struct lock_wait *waits, bool *waiting, uint64_t *rng)
{
	struct lock_spec s = any_spec(rng);
	unsigned i = roll(rng) % WAITS;
	struct lock_wait *w;
	bool good = true, free_now = model_free(m, &s);
	int r = 0;

	switch (roll(rng) % 8) {
	case 0:
		locks_drop_owner(l, LOCK_RANGE, 7, s.owner);
		memset(m->at[LOCK_RANGE][s.owner], 0, sizeof m->at[0][0]);
		break;
	case 1:
		locks_drop_handle(l, 7, s.owner);
		memset(m->at[LOCK_RANGE][s.owner], 0, sizeof m->at[0][0]);
		memset(m->at[LOCK_WHOLE][s.owner], 0, sizeof m->at[0][0]);
		break;
	case 2:
		good = locks_cancel(l, &waits[i]) == waiting[i];
		waiting[i] = false;
		break;
	case 3:
	case 4:
		if (waiting[i])
			break;
		waits[i].spec = s;
		waiting[i] = !locks_wait(l, &waits[i]);
		r = waiting[i] ? -EAGAIN : waits[i].error;
		good = r == 0 ? free_now : !free_now && (waiting[i] || (r == -EDEADLK && s.kind == LOCK_RANGE));
		goto taken;
	default:
		r = locks_set(l, &s);
		good = r == (free_now ? 0 : -EAGAIN);
	taken:
		if (r == 0)
			model_put(m, &s);
		else if (s.kind == LOCK_WHOLE)
			memset(m->at[LOCK_WHOLE][s.owner], 0, sizeof m->at[0][0]);
	}
	while ((w = locks_done(l)) != NULL) {
		good = good && waiting[w - waits] && w->error == 0 && model_free(m, &w->spec);
		waiting[w - waits] = false;
		model_put(m, &w->spec);
	}
	for (i = 0; i < WAITS; i++)
		good = good && !(waiting[i] && model_free(m, &waits[i].spec));
	return good && sound(l) && same(l, m);
}

static bool
walk(uint64_t seed, unsigned steps)
{
	struct locks *l = fresh();
	struct model m = { 0 };
	struct lock_wait waits[WAITS] = { 0 };
	bool waiting[WAITS] = { false }, good = true;
	uint64_t rng = seed;

	for (unsigned i = 0; i < steps && good; i++) {
		good = step(l, &m, waits, waiting, &rng);
		if (!good)
			printf("# seed %" PRIu64 " step %u\n", seed, i);
	}
	locks_free(l);
	return good;
}

int
main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) | 1;
	unsigned steps = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 2000;

	ranges();
	wholes();
	waits();
	for (uint64_t i = 0; i < 10; i++)
		ok(walk(first + i * 2, steps), "a walk of %u steps, seed %" PRIu64, steps, first + i * 2);
	return tap_done();
}
