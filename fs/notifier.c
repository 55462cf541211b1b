/*
 * notifier.c - see notifier.h.
 *
 * A notice is in one of three queues; a thread takes the oldest of those that it
 * makes the calls of.  They may be long: a notice for each object.
 *
 * The lookout makes no call.  While notices for pages wait and none of those was
 * taken for STUCK_MS, however many others were, every thread that takes them is
 * in a call that is stuck, and it begins another: so what waits never waits for
 * calls that have nothing to do with it.  There are about as many stuck calls as
 * requests of ours that lock pages, and libfuse has a limit to those.
 *
 * Lock: n->lock, for the queues; no callback under it.
 */
#include "fs/notifier.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "fs/delay.h"
#include "fs/lock.h"

enum {
	THREADS		= 4,		/* from the beginning */
	LIGHT		= 1,		/* which of them makes no call for pages */
	THREADS_MAX	= 64,
	STUCK_MS	= 20,
	AGAIN_US	= 1000,
};

enum queue { NAMES, ATTRIBUTES, PAGES, QUEUES };

struct notice {
	uint64_t	 oid, number;		/* in the order of their coming */
	bool		 pages, again;
	STAILQ_ENTRY(notice) link;
};
STAILQ_HEAD(notices, notice);

struct notifier {
	pthread_mutex_t	 lock;
	pthread_cond_t	 added, ended;
	struct notices	 queues[QUEUES];
	uint64_t	 numbers;
	bool		 stopping;

	const struct notifier_calls *calls;
	void		*context;
	unsigned	 count;
	pthread_t	 lookout, threads[THREADS_MAX];
};

/* The first notice of the queues up to `last`; when it is of a directory, all of directories.  False: there is none. */
static bool
take(struct notifier *n, enum queue last, struct notices *to, bool *ret_names)
{
	struct notices *oldest = NULL;
	struct notice *first;

	for (enum queue q = NAMES; q <= last; q++)
		if ((first = STAILQ_FIRST(&n->queues[q])) != NULL &&
		    (oldest == NULL || first->number < STAILQ_FIRST(oldest)->number))
			oldest = &n->queues[q];
	if (oldest == NULL)
		return false;
	*ret_names = oldest == &n->queues[NAMES];
	if (*ret_names) {
		STAILQ_CONCAT(to, oldest);
		return true;
	}
	first = STAILQ_FIRST(oldest);
	STAILQ_REMOVE_HEAD(oldest, link);
	STAILQ_INSERT_TAIL(to, first, link);
	return true;
}

static void
carry_out(struct notifier *n, enum queue last)
{
	struct notices list = STAILQ_HEAD_INITIALIZER(list);
	struct notice *notice;
	bool of_names = false;
	int r, names;

	for (;;) {
		{
			LOCK_SCOPE(&n->lock);
			while (!n->stopping && !take(n, last, &list, &of_names))
				pthread_cond_wait(&n->added, &n->lock);
			if (n->stopping)
				return;
		}
		DELAY_POINT("sweep");
		names = of_names ? n->calls->forget_names(n->context) : 0;
		while ((notice = STAILQ_FIRST(&list)) != NULL) {
			STAILQ_REMOVE_HEAD(&list, link);
			if (notice->again)
				usleep(AGAIN_US);
			r = n->calls->forget_inode(n->context, notice->oid, notice->pages);
			DELAY_POINT("swept");
			n->calls->done(n->context, notice->oid, notice->pages, names < 0 ? names : r);
			free(notice);
		}
	}
}

static void *
notifier_main(void *argument)
{
	carry_out(argument, PAGES);
	return NULL;
}

static void *
light_main(void *argument)
{
	carry_out(argument, ATTRIBUTES);
	return NULL;
}

static void *
lookout_main(void *argument)
{
	struct notifier *n = argument;
	const struct notice *first;
	uint64_t oldest;

	LOCK_SCOPE(&n->lock);
	while (!n->stopping) {
		if ((first = STAILQ_FIRST(&n->queues[PAGES])) == NULL) {
			pthread_cond_wait(&n->added, &n->lock);
			continue;
		}
		oldest = first->number;
		lock_wait_ms(&n->ended, &n->lock, STUCK_MS);
		first = STAILQ_FIRST(&n->queues[PAGES]);
		if (!n->stopping && first != NULL && first->number == oldest && n->count < THREADS_MAX &&
		    pthread_create(&n->threads[n->count], NULL, notifier_main, n) == 0)
			n->count++;
	}
	return NULL;
}

static void
stop(struct notifier *n)
{
	LOCK_SCOPE(&n->lock);
	n->stopping = true;
	pthread_cond_broadcast(&n->added);
	pthread_cond_broadcast(&n->ended);
}

/* The lookout, which begins threads, is gone, or never was. */
static void
end(struct notifier *n)
{
	struct notice *notice;

	stop(n);
	for (unsigned i = 0; i < n->count; i++)
		pthread_join(n->threads[i], NULL);
	for (enum queue q = NAMES; q < QUEUES; q++)
		while ((notice = STAILQ_FIRST(&n->queues[q])) != NULL) {
			STAILQ_REMOVE_HEAD(&n->queues[q], link);
			free(notice);
		}
	pthread_cond_destroy(&n->ended);
	pthread_cond_destroy(&n->added);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

int
notifier_new(struct notifier **ret, const struct notifier_calls *calls, void *context)
{
	struct notifier *n = calloc(1, sizeof *n);

	if (n == NULL)
		return -ENOMEM;
	lock_init(&n->lock);
	lock_cond_init(&n->added);
	lock_cond_init(&n->ended);
	for (enum queue q = NAMES; q < QUEUES; q++)
		STAILQ_INIT(&n->queues[q]);
	n->calls = calls;
	n->context = context;
	for (; n->count < THREADS; n->count++)
		if (pthread_create(&n->threads[n->count], NULL, n->count == LIGHT ? light_main : notifier_main, n) != 0)
			break;
	if (n->count < THREADS || pthread_create(&n->lookout, NULL, lookout_main, n) != 0) {
		end(n);
		return -EAGAIN;
	}
	*ret = n;
	return 0;
}

void
notifier_free(struct notifier *n)
{
	if (n == NULL)
		return;
	stop(n);
	pthread_join(n->lookout, NULL);
	end(n);
}

int
notifier_add(struct notifier *n, uint64_t oid, bool directory, bool pages, bool again)
{
	enum queue q = directory ? NAMES : pages ? PAGES : ATTRIBUTES;
	struct notice *notice = malloc(sizeof *notice);

	if (notice == NULL)
		return -ENOMEM;
	*notice = (struct notice){ .oid = oid, .pages = pages, .again = again };
	{
		LOCK_SCOPE(&n->lock);
		notice->number = ++n->numbers;
		STAILQ_INSERT_TAIL(&n->queues[q], notice, link);
	}
	pthread_cond_broadcast(&n->added);	/* not every thread takes every notice */
	return 0;
}
