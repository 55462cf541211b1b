/*
 * shell_replay.c - the journal of a killed mount, run again by the shell.
 *
 * One operation at a time.  What replay_answered() reads of an answer must be
 * read before the engine takes its memory back, so by whoever has the answer.
 * Lock: w->lock, alone; the replay is the waiting thread's while no operation
 * is under way, and else the answering one's.
 */
#include "fs/shell_room.h"

#include <errno.h>

#include "fs/replay.h"

enum { STEP_MS = 1000, PATIENCE_S = 30, BUSY_PATIENCE_S = 60 };

struct worker {
	struct call	 call;
	struct replay	*replay;
	pthread_mutex_t	 lock;
	pthread_cond_t	 change;
	bool		 finished;
};

static bool
answered(struct call *c)
{
	struct worker *w = (struct worker *)c;

	replay_answered(w->replay, &c->op);
	return true;
}

static void
finish(struct call *c)
{
	struct worker *w = (struct worker *)c;

	LOCK_SCOPE(&w->lock);
	w->finished = true;
	pthread_cond_signal(&w->change);
}

static struct op *
next(struct shell *s, struct replay *r)
{
	struct op *op;

	EVENT(s, op = replay_next(r, s->engine));
	return op;
}

/*
 * Waits for the operation; gives it up when the server stays away, or too busy
 * for it.  An operation ends unfinished only when the server is away: so from
 * a busy one we part.  True if we did.
 */
static bool
await(struct worker *w, struct shell *s, uint64_t serial)
{
	struct engine_status status;
	unsigned away_s = 0, busy_s = 0;
	char trouble[8];
	bool finished = false;

	while (!finished) {
		{
			LOCK_SCOPE(&w->lock);
			if (!w->finished)
				lock_wait_ms(&w->change, &w->lock, STEP_MS);
			finished = w->finished;
		}
		shell_status(s, &status, trouble, sizeof trouble);
		away_s = status.attached ? 0 : away_s + 1;
		busy_s = status.busy ? busy_s + 1 : 0;
		if (!finished && busy_s > BUSY_PATIENCE_S)
			channel_stop(s->control);
		if (!finished && (away_s > PATIENCE_S || busy_s > BUSY_PATIENCE_S))
			shell_interrupt(s, &w->call, serial);
	}
	return busy_s > BUSY_PATIENCE_S;
}

void
shell_journal_end(struct shell *s)
{
	LOCK_SCOPE(&s->lock);
	engine_journal_end(s->engine);
}

int
shell_replay(struct shell *s, struct replay *r)
{
	struct worker w = { .call = { .reply = answered, .finish = finish }, .replay = r };
	struct timespec now;
	uint64_t serial;
	struct op *op;
	bool busy = false;
	int error;

	lock_init(&w.lock);
	lock_cond_init(&w.change);
	clock_gettime(CLOCK_REALTIME, &now);
	EVENT(s, error = replay_begin(r, s->engine, now));
	while (error == 0 && (op = next(s, r)) != NULL) {
		w.call.op = *op;
		w.finished = false;
		if (shell_submit(s, &w.call, &serial)) {
			answered(&w.call);
			shell_replied(s, &w.call);
		}
		busy |= await(&w, s, serial);
	}
	pthread_cond_destroy(&w.change);
	pthread_mutex_destroy(&w.lock);
	if (error == 0)
		error = replay_error(r);
	return error != 0 && busy ? -EBUSY : error;
}
