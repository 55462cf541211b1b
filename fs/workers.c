/* workers.c - see workers.h.  Lock: w->lock, for the queues and `stopping`. */
#include "fs/workers.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/lock.h"

enum { THREADS_MAX = 16 };

struct jobs {
	struct job	*first, **last;
};

struct workers {
	pthread_mutex_t	 lock;
	pthread_cond_t	 added;
	struct jobs	 urgent, plain;
	bool		 stopping;
	unsigned	 count;
	pthread_t	 threads[THREADS_MAX];
};

static struct job *
take(struct jobs *from)
{
	struct job *job = from->first;

	if (job != NULL) {
		from->first = job->next;
		if (from->first == NULL)
			from->last = &from->first;
	}
	return job;
}

static void *
worker_main(void *argument)
{
	struct workers *w = argument;
	struct job *job;

	for (;;) {
		{
			LOCK_SCOPE(&w->lock);
			while ((job = take(&w->urgent)) == NULL && (job = take(&w->plain)) == NULL) {
				if (w->stopping)
					return NULL;
				pthread_cond_wait(&w->added, &w->lock);
			}
		}
		job->run(job);
	}
}

int
workers_new(struct workers **ret, unsigned threads)
{
	struct workers *w = calloc(1, sizeof *w);

	if (w == NULL)
		return -ENOMEM;
	lock_init(&w->lock);
	lock_cond_init(&w->added);
	w->urgent.last = &w->urgent.first;
	w->plain.last = &w->plain.first;
	for (; w->count < threads && w->count < THREADS_MAX; w->count++)
		if (pthread_create(&w->threads[w->count], NULL, worker_main, w) != 0)
			break;
	if (w->count == 0) {
		workers_free(w);
		return -EAGAIN;
	}
	*ret = w;
	return 0;
}

void
workers_free(struct workers *w)
{
	if (w == NULL)
		return;
	{
		LOCK_SCOPE(&w->lock);
		w->stopping = true;
		pthread_cond_broadcast(&w->added);
	}
	for (unsigned i = 0; i < w->count; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->added);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void
workers_add(struct workers *w, struct job *job, bool urgent)
{
	struct jobs *to = urgent ? &w->urgent : &w->plain;

	{
		LOCK_SCOPE(&w->lock);
		job->next = NULL;
		*to->last = job;
		to->last = &job->next;
	}
	pthread_cond_signal(&w->added);
}
