/* test_notifier.c - calls that block in the kernel, and those that must not wait for them. */
#include "fs/notifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tests/tap.h"

enum { STUCK = 20, PATIENCE_S = 10 };

/* A kernel that has all pages locked. */
static struct {
	pthread_mutex_t	 lock;
	pthread_cond_t	 changed;
	bool		 free;			/* pages are not locked any more */
	unsigned	 pages, light, names;	/* done; names: calls for them */
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
	(void)oid;
	pthread_mutex_lock(&k.lock);
	while (pages && !k.free)
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

int
main(void)
{
	static const struct notifier_calls calls = { forget_names, forget_inode, done };
	struct notifier *n;

	if (notifier_new(&n, &calls, NULL) < 0)
		return 1;
	for (uint64_t oid = 1; oid <= STUCK; oid++)
		notifier_add(n, oid, false, true, false);
	for (uint64_t oid = STUCK + 1; oid <= STUCK + 3; oid++)
		notifier_add(n, oid, oid == STUCK + 2, false, false);
	ok(reached(&k.light, 3) && k.names == 1, "names and attributes are forgotten while pages are locked");
	ok(k.pages == 0, "which are waited for");
	pthread_mutex_lock(&k.lock);
	k.free = true;
	pthread_cond_broadcast(&k.changed);
	pthread_mutex_unlock(&k.lock);
	ok(reached(&k.pages, STUCK), "until they are not");
	notifier_free(n);
	return tap_done();
}
