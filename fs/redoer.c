/* redoer.c - see redoer.h. */
#include "fs/redoer.h"

#include <errno.h>

#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "fs/serve_journal.h"

enum {
	MORE_MS		= 200,		/* after more was lost meanwhile, */
	AGAIN_MS	= 5 * 1000,	/* after an attempt that failed */
	NOTE_MS		= 1000,		/* between calls of note() */
};

void
redoer_init(struct redoer *r)
{
	lock_init(&r->lock);
	lock_cond_init(&r->change);
}

void
redoer_want(struct redoer *r)
{
	LOCK_SCOPE(&r->lock);
	if (!r->wanted)
		pthread_cond_signal(&r->change);
	r->wanted = true;
}

/* Sleeps for ms; < 0: until there may be something to do. */
static void
rest(struct redoer *r, int ms)
{
	uint64_t now_ms = clock_ms(CLOCK_MONOTONIC), end_ms = now_ms + (uint64_t)(ms < 0 ? 0 : ms);

	LOCK_SCOPE(&r->lock);
	while (ms < 0 && !r->stop && !r->wanted)
		pthread_cond_wait(&r->change, &r->lock);
	r->wanted = false;
	for (; now_ms < end_ms && !r->stop; now_ms = clock_ms(CLOCK_MONOTONIC))
		lock_wait_ms(&r->change, &r->lock, (unsigned)(end_ms - now_ms));
}

/* To the end of the last flush. */
static void *
thread_main(void *argument)
{
	struct redoer *r = argument;
	int said = 0, error, rest_ms;

	while (!r->stop) {
		error = serve_journal_redo(r->home, r->volume, r->journal, r->shell, &r->stop);
		if (error != -EAGAIN && error != -EINTR && error != said) {
			said = error;
			if (error < 0)
				log_warning("what is to be done again waits in the journal: %s", serve_journal_reason(error));
		}
		rest_ms = error == 0 ? -1 : error == -EAGAIN ? MORE_MS : AGAIN_MS;
		if (!r->note(r->context) && (rest_ms < 0 || rest_ms > NOTE_MS))
			rest_ms = NOTE_MS;
		rest(r, rest_ms);
	}
	return NULL;
}

int
redoer_start(struct redoer *r, struct home *home, const uint8_t *volume, struct journal_file *journal, struct shell *shell,
    bool (*note)(void *context), void *context)
{
	r->home = home;
	r->volume = volume;
	r->journal = journal;
	r->shell = shell;
	r->note = note;
	r->context = context;
	r->started = pthread_create(&r->thread, NULL, thread_main, r) == 0;
	return r->started ? 0 : -EAGAIN;
}

void
redoer_stop(struct redoer *r)
{
	{
		LOCK_SCOPE(&r->lock);
		r->stop = true;
		pthread_cond_signal(&r->change);
	}
	if (r->started)
		pthread_join(r->thread, NULL);
	r->started = false;
}
