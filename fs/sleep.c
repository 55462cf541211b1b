/*
 * sleep.c - nobody waits for us while the machine goes to sleep.
 *
 * Before it sleeps the kernel freezes every task, and gives the sleep up if
 * one does not come to a stop: and who waits for an answer of ours does not,
 * least of all when we are frozen ourselves.
 *
 *	AWAKE	-> DOZING	the machine is about to sleep
 *	DOZING	-> ASLEEP	the server is away, or somebody has waited for DOZE_MS
 *	any	-> AWAKE	the machine woke up: somebody said so, or we have stood still for FROZEN_MS;
 *				or SLEEP_MS have passed, and it did not sleep
 *
 * DOZING, the server answers, and all goes on as ever.  ASLEEP, what needs
 * nothing from elsewhere is still done; whatever would wait fails at once, as
 * offline: the host is down.  Not with EINTR: many programs call again then,
 * at once and for ever, and so have a request with us most of the time, also
 * when we are frozen: of 20 times a cgroup with one of them froze 6.
 *
 * When the machine wakes up the term is probably over, and the kernel would
 * answer from what it knows until we say so.  So it is told to forget names
 * and attributes before, and is given none to keep meanwhile.  Not pages: to
 * lose them would kill who runs a program from here.
 *
 * Programs may run before anybody says that it woke up, and need the server
 * then: they wait for it as ever.  The clock goes on while the machine sleeps,
 * so the first event after it is a long time after the last one before.
 *
 * Invariants:
 * 1. ASLEEP nobody waits but the driver's operations and the shell's own.
 * 2. But AWAKE no reply is cacheable.
 */
#include "fs/core.h"

enum {
	DOZE_MS		= 200,
	SLEEP_MS	= 60 * 1000,
	FROZEN_MS	= 3000,		/* between events, of which there are several in a second */
};

/* Does nobody of the kernel's wait for it? */
static bool
own(const struct op *op)
{
	return op->own || op->redo || op->replay != NULL;
}

static bool
waits_too_long(const struct engine *e)
{
	const struct op_state *s;

	TAILQ_FOREACH(s, &e->parked, link)
		if (!own(s->op) && e->now_ms - s->began_ms >= DOZE_MS)
			return true;
	return false;
}

static void
doze(struct engine *e)
{
	if (e->sleep != DOZING || (e->attached && lease_valid(e) && !waits_too_long(e)))
		return;
	e->sleep = ASLEEP;
	wake_all(e);
}

static void
wake_up(struct engine *e)
{
	e->sleep = AWAKE;
	e->woken_at = e->now_ms;
	e->keepalive_at = 0;		/* is the server still there? */
}

void
engine_sleep(struct engine *e, bool on)
{
	if (!on && e->sleep != AWAKE)
		wake_up(e);
	if (on) {
		if (e->sleep == AWAKE)
			lease_forget_names(e);
		e->sleep = e->sleep == AWAKE ? DOZING : e->sleep;
		e->sleep_until = e->now_ms + SLEEP_MS;
		doze(e);
	}
	engine_settle(e);
}

void
sleep_clock(struct engine *e, uint64_t before_ms)
{
	if (e->sleep != AWAKE && e->now_ms - before_ms >= FROZEN_MS)
		wake_up(e);
}

void
sleep_tick(struct engine *e)
{
	if (e->sleep != AWAKE && e->now_ms >= e->sleep_until)
		wake_up(e);
	doze(e);
}

int
sleep_error(const struct engine *e, const struct op *op)
{
	return e->sleep == ASLEEP && !own(op) ? -EHOSTDOWN : 0;
}

int
wait_error(const struct engine *e, const struct op *op)
{
	int r = offline_error(e, op);

	return r != 0 ? r : sleep_error(e, op);
}

void
sleep_answer(const struct engine *e, struct op *op)
{
	if (e->sleep == AWAKE)
		return;
	op->cacheable = op->name_cacheable = false;
	for (size_t i = 0; i < op->entries_count; i++)
		op->entries[i].cacheable = op->entries[i].name_cacheable = false;
}
