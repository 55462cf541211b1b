/* test_notifier.c - calls that block in the kernel, and those that must not wait for them. */
#include "fs/notifier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "tests/tap.h"

enum { STUCK = 20, MORE = 80, LOOSE = 30, PATIENCE_S = 60, FEW = 4000, TIMES = 16 };	/* with MORE: than there may be threads */

/* A kernel that has all pages locked. */
static struct {
	pthread_mutex_t	 lock;
	pthread_cond_t	 changed;
	bool		 free;			/* pages are not locked any more */
	bool		 slow;			/* nothing is done yet */
	unsigned	 pages, loose, light, names;	/* done; loose: pages that were not locked; names: calls for them */
} k = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int
forget_names(void *context)
{
	(void)context;
	pthread_mutex_lock(&k.lock);
	k.names++;
	pthread_mutex_unlock(&k.lock);
	return 0;
}

static int
forget_inode(void *context, uint64_t oid, bool pages)
{
	(void)context;
	pthread_mutex_lock(&k.lock);
	while ((pages && oid <= STUCK && !k.free) || k.slow)
		pthread_cond_wait(&k.changed, &k.lock);
	pthread_mutex_unlock(&k.lock);
	return 0;
}

static void
done(void *context, uint64_t oid, bool pages, int error)
{
	(void)context;
	pthread_mutex_lock(&k.lock);
	k.pages += pages && oid <= STUCK && error == 0;
	k.loose += pages && oid == LOOSE && error == 0;
	k.light += !pages && oid > STUCK && error == 0;
	pthread_cond_broadcast(&k.changed);
	pthread_mutex_unlock(&k.lock);
}

static bool
reached(const unsigned *count, unsigned wanted)
{
	struct timespec until;
	bool good;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&k.lock);
	while (*count < wanted && pthread_cond_timedwait(&k.changed, &k.lock, &until) == 0)
		;
	good = *count == wanted;
	pthread_mutex_unlock(&k.lock);
	return good;
}

static void
change(bool *what, bool to)
{
	pthread_mutex_lock(&k.lock);
	*what = to;
	pthread_cond_broadcast(&k.changed);
	pthread_mutex_unlock(&k.lock);
}

/* CPU time for so many notices that have all to wait; 0: it did not end. */
static double
cost(struct notifier *n, unsigned count, bool pages)
{
	const unsigned *counted = pages ? &k.pages : &k.light, before = *counted;
	struct timespec begin, end;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	change(&k.slow, true);
	for (unsigned i = 0; i < count; i++)
		notifier_add(n, pages ? 1 : STUCK + 1, false, pages, false);
	change(&k.slow, false);
	if (!reached(counted, before + count))
		return 0;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* A second mount, or a lost connection, tells the kernel of every object. */
static void
test_many(struct notifier *n, bool pages)
{
	double few = cost(n, FEW, pages), many = cost(n, FEW * TIMES, pages);

	ok(few > 0 && many > 0 && many < few * TIMES * 4, "%s of many: %d times as many cost %.1f times as much",
	    pages ? "pages" : "attributes", TIMES, many / few);
}

/* Attributes of files that somebody looks at all the time. */
static _Atomic bool looked_at = true;

static void *
look_main(void *argument)
{
	while (looked_at) {
		notifier_add(argument, 1, false, false, false);
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	}
	return NULL;
}

int
main(void)
{
	static const struct notifier_calls calls = { forget_names, forget_inode, done };
	struct notifier *n;
	pthread_t looking;

	if (notifier_new(&n, &calls, NULL) < 0 || pthread_create(&looking, NULL, look_main, n) != 0)
		return 1;
	for (uint64_t oid = 1; oid <= STUCK; oid++)
		notifier_add(n, oid, false, true, false);
	notifier_add(n, LOOSE, false, true, false);
	ok(reached(&k.loose, 1), "pages that are not locked are forgotten while %d calls are stuck, whatever else is taken", STUCK);
	looked_at = false;
	pthread_join(looking, NULL);
	for (unsigned i = 0; i < MORE; i++)
		notifier_add(n, 1, false, true, false);
	for (uint64_t oid = STUCK + 1; oid <= STUCK + 3; oid++)
		notifier_add(n, oid, oid == STUCK + 2, false, false);
	ok(reached(&k.light, 3) && k.names == 1, "names and attributes are forgotten while %d are", STUCK + MORE);
	ok(k.pages == 0, "which are waited for");
	change(&k.free, true);
	ok(reached(&k.pages, STUCK + MORE), "until they are not");
	test_many(n, false);
	test_many(n, true);
	notifier_free(n);
	return tap_done();
}
