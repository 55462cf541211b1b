/* notifier.c - see notifier.h.  Lock: n->lock, for the queue; no callback under it. */
#include "fs/notifier.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/delay.h"
#include "fs/lock.h"

enum { THREADS = 4, LIGHT = 1, AGAIN_US = 1000 };	/* LIGHT: which of them makes no call that can be stuck */

struct notice {
	uint64_t	 oid;
	bool		 directory, pages, again;
	struct notice	*next;
};

struct notifier {
	pthread_mutex_t	 lock;
	pthread_cond_t	 added;
	struct notice	*first, **last;
	bool		 stopping;

	const struct notifier_calls *calls;
	void		*context;
	unsigned	 count;
	pthread_t	 threads[THREADS];
};

/* The first notice, of those without pages if `light`; when it is of a directory, all of directories that are queued. */
static struct notice *
take(struct notifier *n, bool light)
{
	struct notice *taken = NULL, **tail = &taken, **at, *notice;

	for (at = &n->first; (notice = *at) != NULL;) {
		if (taken != NULL && !taken->directory)
			break;
		if (taken == NULL ? light && notice->pages : !notice->directory) {
			at = &notice->next;
			continue;
		}
		*at = notice->next;
		*tail = notice;
		tail = &notice->next;
	}
	*tail = NULL;
	for (n->last = &n->first; *n->last != NULL;)
		n->last = &(*n->last)->next;
	return taken;
}

static void
carry_out(struct notifier *n, bool light)
{
	struct notice *list = NULL, *notice;
	int r, names;

	for (;;) {
		{
			LOCK_SCOPE(&n->lock);
			while (!n->stopping && (list = take(n, light)) == NULL)
				pthread_cond_wait(&n->added, &n->lock);
			if (n->stopping)
				return;
		}
		DELAY_POINT("sweep");
		names = list->directory ? n->calls->forget_names(n->context) : 0;
		while ((notice = list) != NULL) {
			list = notice->next;
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
	carry_out(argument, false);
	return NULL;
}

static void *
light_main(void *argument)
{
	carry_out(argument, true);
	return NULL;
}

int
notifier_new(struct notifier **ret, const struct notifier_calls *calls, void *context)
{
	struct notifier *n = calloc(1, sizeof *n);

	if (n == NULL)
		return -ENOMEM;
	lock_init(&n->lock);
	lock_cond_init(&n->added);
	n->last = &n->first;
	n->calls = calls;
	n->context = context;
	for (; n->count < THREADS; n->count++)
		if (pthread_create(&n->threads[n->count], NULL, n->count == LIGHT ? light_main : notifier_main, n) != 0)
			break;
	if (n->count == 0) {
		notifier_free(n);
		return -EAGAIN;
	}
	*ret = n;
	return 0;
}

void
notifier_free(struct notifier *n)
{
	struct notice *notice;

	if (n == NULL)
		return;
	{
		LOCK_SCOPE(&n->lock);
		n->stopping = true;
		pthread_cond_broadcast(&n->added);
	}
	for (unsigned i = 0; i < n->count; i++)
		pthread_join(n->threads[i], NULL);
	while ((notice = n->first) != NULL) {
		n->first = notice->next;
		free(notice);
	}
	pthread_cond_destroy(&n->added);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

int
notifier_add(struct notifier *n, uint64_t oid, bool directory, bool pages, bool again)
{
	struct notice *notice = malloc(sizeof *notice);

	if (notice == NULL)
		return -ENOMEM;
	*notice = (struct notice){ .oid = oid, .directory = directory, .pages = pages, .again = again };
	{
		LOCK_SCOPE(&n->lock);
		*n->last = notice;
		n->last = &notice->next;
	}
	pthread_cond_broadcast(&n->added);	/* not every thread takes every notice */
	return 0;
}
