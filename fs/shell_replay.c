/*
 * shell_replay.c - a journal, run again by the shell.
 *
 * One operation at a time.  What replay_answered() reads of an answer must be
 * read before the engine takes its memory back, so by whoever has the answer.
 * Lock: w->lock, alone; the replay is the waiting thread's while no operation
 * is under way, and else the answering one's.
 */
#include "fs/shell_room.h"

#include <errno.h>

#include "fs/replay.h"

enum { STEP_MS = 500, PATIENCE_MS = 30 * 1000, BUSY_PATIENCE_MS = 60 * 1000 };

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
 * Waits for the operation.  Without `stop` it gives it up when the server stays
 * away, or too busy for it: an operation ends unfinished only when the server
 * is away, so from a busy one we part.  True if we did.
 */
static bool
await(struct worker *w, struct shell *s, uint64_t serial, const atomic_bool *stop)
{
	struct engine_status status;
	unsigned away_ms = 0, busy_ms = 0;
	bool busy = false, give_up;
	char trouble[8];
	bool finished = false;

	while (!finished) {
		{
			LOCK_SCOPE(&w->lock);
			if (!w->finished)
				lock_wait_ms(&w->change, &w->lock, STEP_MS);
			finished = w->finished;
		}
		if (finished)
			break;
		shell_status(s, &status, trouble, sizeof trouble);
		away_ms = status.attached ? 0 : away_ms + STEP_MS;
		busy_ms = status.busy ? busy_ms + STEP_MS : 0;
		give_up = stop == NULL ? away_ms > PATIENCE_MS || busy_ms > BUSY_PATIENCE_MS : *stop;
		busy |= give_up && stop == NULL && busy_ms > BUSY_PATIENCE_MS;
		if (busy)
			channel_stop(s->control);
		if (give_up)
			shell_interrupt(s, &w->call, serial);
	}
	return busy;
}

void
shell_journal_end(struct shell *s)
{
	LOCK_SCOPE(&s->lock);
	engine_journal_end(s->engine);
}

int
shell_journal_sync(struct shell *s)
{
	int r;

	EVENT(s, r = engine_journal_sync(s->engine));
	return r;
}

static int
run(struct shell *s, struct replay *r, const atomic_bool *stop)
{
	struct worker w = { .call = { .reply = answered, .finish = finish }, .replay = r };
	uint64_t serial;
	struct op *op;
	bool busy = false;
	int error;

	lock_init(&w.lock);
	lock_cond_init(&w.change);
	while ((stop == NULL || !*stop) && (op = next(s, r)) != NULL) {
		w.call.op = *op;
		w.finished = false;
		if (shell_submit(s, &w.call, &serial)) {
			answered(&w.call);
			shell_replied(s, &w.call);
		}
		busy |= await(&w, s, serial, stop);
	}
	pthread_cond_destroy(&w.change);
	pthread_mutex_destroy(&w.lock);
	error = replay_error(r);
	return error == 0 ? 0 : busy ? -EBUSY : stop != NULL && *stop ? -EINTR : error;
}

int
shell_replay(struct shell *s, struct replay *r)
{
	struct timespec now;
	int error;

	clock_gettime(CLOCK_REALTIME, &now);
	EVENT(s, error = replay_begin(r, s->engine, now));
	return error != 0 ? error : run(s, r, NULL);
}

int
shell_take_over(struct shell *s, struct replay *r)
{
	int error;

	EVENT(s, error = replay_leave(r, s->engine));
	return error;
}

bool
shell_redo_due(struct shell *s, uint64_t *ret_losses, bool *ret_keep)
{
	LOCK_SCOPE(&s->lock);
	return engine_redo_due(s->engine, ret_losses, ret_keep);
}

int
shell_redo(struct shell *s, struct replay *r, uint64_t losses, bool keep, const atomic_bool *stop)
{
	struct timespec now;
	int error;

	clock_gettime(CLOCK_REALTIME, &now);
	EVENT(s, error = replay_redo(r, s->engine, now, losses, keep));
	return error != 0 ? error : run(s, r, stop);
}

int
shell_redo_end(struct shell *s, uint64_t losses, int error)
{
	int r;

	EVENT(s, r = engine_redo_end(s->engine, losses, error));
	return r;
}
