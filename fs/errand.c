/*
 * errand.c - the shell's own operations: submitted, waited for, given up.
 *
 * An errand has two references: its caller's, and the engine's until the op
 * is done.  Lock: errand->lock, inside no other but taken while s->lock is
 * not held.
 */
#include "fs/shell_room.h"

#include <errno.h>
#include <stdlib.h>

/* Shared by the caller and, until it has replied, the engine's side. */
struct errand {
	struct call	 call;
	pthread_mutex_t	 lock;
	pthread_cond_t	 done;
	bool		 finished;
	void		(*take)(void *context, const struct op *op);	/* NULL: nothing, or given up */
	void		*context;
	unsigned	 refs;
	uint64_t	 serial;
	struct shell	*shell;
};

static void
errand_put(struct errand *e)
{
	{
		LOCK_SCOPE(&e->lock);
		if (--e->refs > 0)
			return;
	}
	pthread_cond_destroy(&e->done);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static bool
errand_reply(struct call *c)
{
	struct errand *e = (struct errand *)c;

	LOCK_SCOPE(&e->lock);
	if (e->take != NULL)
		e->take(e->context, &c->op);
	return true;
}

static void
errand_finish(struct call *c)
{
	struct errand *e = (struct errand *)c;

	{
		LOCK_SCOPE(&e->shell->lock);
		e->shell->errands--;
	}
	{
		LOCK_SCOPE(&e->lock);
		e->finished = true;
		pthread_cond_signal(&e->done);
	}
	errand_put(e);
}

struct errand *
shell_begin(struct shell *s, const struct op *op)
{
	return shell_begin_taking(s, op, NULL, NULL);
}

struct errand *
shell_begin_taking(struct shell *s, const struct op *op, void (*take)(void *context, const struct op *op), void *context)
{
	struct errand *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	lock_init(&e->lock);
	lock_cond_init(&e->done);
	e->call.op = *op;
	e->call.op.own = true;
	e->call.reply = errand_reply;
	e->call.finish = errand_finish;
	e->take = take;
	e->context = context;
	e->refs = 2;
	e->shell = s;
	{
		LOCK_SCOPE(&s->lock);
		s->errands++;
	}
	if (shell_submit(s, &e->call, &e->serial)) {
		errand_reply(&e->call);
		shell_replied(s, &e->call);
	}
	return e;
}

bool
shell_wait(struct errand *e, int ms)
{
	LOCK_SCOPE(&e->lock);
	while (!e->finished) {
		if (ms < 0)
			pthread_cond_wait(&e->done, &e->lock);
		else if (lock_wait_ms(&e->done, &e->lock, (unsigned)ms) == ETIMEDOUT)
			return e->finished;
	}
	return true;
}

int
shell_end(struct shell *s, struct errand *e, struct op *op)
{
	int r = -ETIMEDOUT;

	if (!shell_wait(e, 0)) {
		shell_interrupt(s, &e->call, e->serial);
		if (!shell_wait(e, 0))
			goto out;
		/* It may have been done just now, and then has its own answer. */
		r = e->call.op.error == -EINTR ? -ETIMEDOUT : e->call.op.error;
	} else {
		r = e->call.op.error;
	}
	*op = e->call.op;
out:
	{
		LOCK_SCOPE(&e->lock);
		e->take = NULL;
	}
	errand_put(e);
	return r;
}

int
shell_run(struct shell *s, struct op *op, int timeout_ms)
{
	struct errand *e = shell_begin(s, op);

	if (e == NULL)
		return -ENOMEM;
	shell_wait(e, timeout_ms);
	return shell_end(s, e, op);
}
