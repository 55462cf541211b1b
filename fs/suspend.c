/*
 * suspend.c - see suspend.h.
 *
 * First what there is to save is saved: on the server, if it takes it soon,
 * and on this machine's disk in any case.  Only then is anybody told that the
 * server does not answer (fs/sleep.c): most who wait are served by then.
 */
#include "fs/suspend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "fs/log.h"
#include "fs/logind.h"
#include "fs/shell.h"

enum {
	FLUSH_MS	= 3 * 1000,	/* the server gets at most */
	LAST_MS		= 400,		/* afterwards, for those who still wait for it */
	STEP_MS		= 20,
};

struct suspend {
	struct shell	*shell;
	struct logind	*logind;
};

/* Returns within ms. */
static void
save(struct suspend *s, unsigned ms, const char *what)
{
	struct engine_status status;
	char trouble[256];
	int r = 0, kept;

	shell_status(s->shell, &status, trouble, sizeof trouble);
	if (status.attached)
		r = shell_sync(s->shell, (int)(ms < FLUSH_MS ? ms : FLUSH_MS));
	kept = shell_journal_sync(s->shell);
	shell_status(s->shell, &status, trouble, sizeof trouble);
	if (kept < 0)
		log_error("%s: the journal cannot be brought to the disk: %s", what, strerror(-kept));
	if (r < 0 || status.dirty_objects > 0)
		log_warning("%s: changes of %zu files are not on the server", what, status.dirty_objects);
	else
		log_info("%s: everything is on the server", what);
}

void
suspend_sleep(struct suspend *s, unsigned ms)
{
	struct engine_status status;
	char trouble[8];

	save(s, ms > 2 * LAST_MS ? ms - 2 * LAST_MS : 0, "the machine goes to sleep");
	shell_sleep(s->shell, true);
	for (unsigned left_ms = LAST_MS; left_ms > 0; left_ms -= STEP_MS) {
		shell_status(s->shell, &status, trouble, sizeof trouble);
		if (status.ops_parked == 0)
			break;
		usleep(STEP_MS * 1000);
	}
}

void
suspend_wake(struct suspend *s)
{
	shell_sleep(s->shell, false);
	log_info("the machine woke up");
}

#ifdef HAVE_LOGIND

static void
sleep_comes(void *context, unsigned ms)
{
	suspend_sleep(context, ms);
}

static void
sleep_ended(void *context)
{
	suspend_wake(context);
}

/* The mount is ended by its own SIGTERM; there may not be much time left then. */
static void
shutdown_comes(void *context, unsigned ms)
{
	save(context, ms > LAST_MS ? ms - LAST_MS : 0, "the machine is shut down");
}

static const struct logind_calls calls = { sleep_comes, sleep_ended, shutdown_comes };

#endif

int
suspend_new(struct suspend **ret, struct shell *shell)
{
	struct suspend *s = calloc(1, sizeof *s);
	int r = 0;

	if (s == NULL)
		return -ENOMEM;
	s->shell = shell;
#ifdef HAVE_LOGIND
	r = logind_new(&s->logind, &calls, s);
#endif
	if (r < 0)
		free(s);
	else
		*ret = s;
	return r;
}

void
suspend_stop(struct suspend *s)
{
#ifdef HAVE_LOGIND
	logind_stop(s->logind);
#else
	(void)s;
#endif
}

void
suspend_free(struct suspend *s)
{
	if (s == NULL)
		return;
#ifdef HAVE_LOGIND
	logind_free(s->logind);
#endif
	free(s);
}

const char *
suspend_logind(const struct suspend *s)
{
#ifdef HAVE_LOGIND
	switch (logind_state(s->logind)) {
	case LOGIND_HEARD:
		return "heard";
	case LOGIND_REFUSED:
		return "refused";
	default:
		return "absent";
	}
#else
	(void)s;
	return "off";
#endif
}
