/*
 * logind.c - see logind.h.
 *
 * The life of one connection to the bus, all of it in the one thread:
 *
 *	asked	matches, Inhibit() and the longest delay are asked for; nothing is
 *		waited for but in poll()
 *	held	PrepareForSleep and PrepareForShutdown say `true`: the call is made,
 *		and when it returns the inhibitor is closed, which lets the machine go on
 *	given	they say `false`: the other call, and Inhibit() again
 *
 * The bus lost, or logind gone from it, ends a sleep that was begun.  A logind
 * that is started again is seen by its name's new owner, and asked anew.
 */
#include "fs/logind.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "fs/log.h"

enum {
	RETRY_MS	= 5 * 1000,
	DELAY_MS	= 5 * 1000,		/* logind's own, unless it says otherwise */
	DELAY_LEAST_MS	= 100,
};

#define LOGIND		"org.freedesktop.login1"
#define LOGIND_PATH	"/org/freedesktop/login1"
#define LOGIND_MANAGER	"org.freedesktop.login1.Manager"

struct logind {
	const struct logind_calls *calls;
	void			*context;
	sd_bus			*bus;
	int			 lock_fd;	/* the inhibitor; -1: none */
	uint64_t		 delay_us;	/* that it gives */
	bool			 asleep;	/* sleep() was called, and wake() not */
	bool			 refused;	/* said so */

	int			 stop_fd;
	pthread_t		 thread;
	bool			 stopped;
	_Atomic enum logind_state state;
};

/* ---- the inhibitor ---- */

static void
let_go(struct logind *l)
{
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	l->lock_fd = -1;
}

static int
inhibited(sd_bus_message *m, void *context, sd_bus_error *ret_error)
{
	struct logind *l = context;
	const sd_bus_error *error = sd_bus_message_get_error(m);
	int fd, r;

	(void)ret_error;
	if (error != NULL) {
		l->state = sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
		    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ? LOGIND_ABSENT : LOGIND_REFUSED;
		if (l->state == LOGIND_REFUSED && !l->refused)
			log_warning("logind does not let this mount delay the machine's sleep: %s",
			    error->message != NULL ? error->message : error->name);
		l->refused = l->state == LOGIND_REFUSED;
		return 0;
	}
	r = sd_bus_message_read(m, "h", &fd);
	if (r >= 0 && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) >= 0) {
		let_go(l);
		l->lock_fd = fd;
		l->state = LOGIND_HEARD;
		l->refused = false;
	}
	return 0;
}

static void
inhibit(struct logind *l)
{
	sd_bus_call_method_async(l->bus, NULL, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "Inhibit", inhibited, l, "ssss",
	    "sleep:shutdown", "nuage", "Changes are brought to the server", "delay");
}

static int
delay_told(sd_bus_message *m, void *context, sd_bus_error *ret_error)
{
	struct logind *l = context;
	uint64_t us;

	(void)ret_error;
	if (sd_bus_message_get_error(m) == NULL && sd_bus_message_read(m, "v", "t", &us) >= 0)
		l->delay_us = us;
	return 0;
}

static void
ask(struct logind *l)
{
	inhibit(l);
	sd_bus_call_method_async(l->bus, NULL, LOGIND, LOGIND_PATH, "org.freedesktop.DBus.Properties", "Get",
	    delay_told, l, "ss", LOGIND_MANAGER, "InhibitDelayMaxUSec");
}

/* ---- what logind says ---- */

static unsigned
delay_ms(const struct logind *l)
{
	uint64_t ms = l->delay_us / 1000;

	return l->lock_fd < 0 || ms < DELAY_LEAST_MS ? DELAY_LEAST_MS : ms > DELAY_MS ? DELAY_MS : (unsigned)ms;
}

static void
wake(struct logind *l)
{
	if (l->asleep)
		l->calls->wake(l->context);
	l->asleep = false;
}

static int
prepare(struct logind *l, sd_bus_message *m, bool shutdown)
{
	int on;

	if (sd_bus_message_read(m, "b", &on) < 0)
		return 0;
	if (!on) {
		wake(l);
		inhibit(l);
		return 0;
	}
	if (shutdown)
		l->calls->shutdown(l->context, delay_ms(l));
	else {
		l->asleep = true;
		l->calls->sleep(l->context, delay_ms(l));
	}
	let_go(l);
	return 0;
}

static int
prepare_for_sleep(sd_bus_message *m, void *context, sd_bus_error *ret_error)
{
	(void)ret_error;
	return prepare(context, m, false);
}

static int
prepare_for_shutdown(sd_bus_message *m, void *context, sd_bus_error *ret_error)
{
	(void)ret_error;
	return prepare(context, m, true);
}

/* logind was started, or ended. */
static int
owner_changed(sd_bus_message *m, void *context, sd_bus_error *ret_error)
{
	const char *name, *old, *new;
	struct logind *l = context;

	(void)ret_error;
	if (sd_bus_message_read(m, "sss", &name, &old, &new) < 0)
		return 0;
	let_go(l);
	wake(l);
	l->state = LOGIND_ABSENT;
	if (new[0] != '\0')
		ask(l);
	return 0;
}

/* ---- the bus ---- */

static int
greet(struct logind *l)
{
	int r = sd_bus_open_system(&l->bus);

	l->delay_us = DELAY_MS * UINT64_C(1000);
	if (r < 0 ||
	    (r = sd_bus_add_match_async(l->bus, NULL, "type='signal',sender='org.freedesktop.DBus',"
	    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" LOGIND "'", owner_changed, NULL, l)) < 0 ||
	    (r = sd_bus_match_signal_async(l->bus, NULL, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep",
	    prepare_for_sleep, NULL, l)) < 0 ||
	    (r = sd_bus_match_signal_async(l->bus, NULL, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForShutdown",
	    prepare_for_shutdown, NULL, l)) < 0)
		return r;
	ask(l);
	return 0;
}

/* The thread is to end: true; false when the bus wants something, or its time has come. */
static bool
await(struct logind *l)
{
	struct pollfd p[2] = { { .fd = l->stop_fd, .events = POLLIN }, { .fd = -1 } };
	struct timespec now, left = { .tv_sec = RETRY_MS / 1000 }, *until = &left;
	uint64_t at_us = UINT64_MAX, now_us;

	if (l->bus != NULL) {
		p[1].fd = sd_bus_get_fd(l->bus);
		p[1].events = (short)sd_bus_get_events(l->bus);
		if (sd_bus_get_timeout(l->bus, &at_us) < 0 || at_us == UINT64_MAX)
			until = NULL;
		clock_gettime(CLOCK_MONOTONIC, &now);
		now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
		at_us = until == NULL || at_us < now_us ? 0 : at_us - now_us;
		left = (struct timespec){ (time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000 };
	}
	return ppoll(p, 2, until, NULL) > 0 && p[0].revents != 0;
}

static void
part(struct logind *l)
{
	let_go(l);
	wake(l);
	l->state = LOGIND_ABSENT;
	l->bus = sd_bus_close_unref(l->bus);
}

static void *
logind_main(void *argument)
{
	struct logind *l = argument;
	int r;

	do {
		r = l->bus == NULL ? greet(l) : 0;
		while (r >= 0 && (r = sd_bus_process(l->bus, NULL)) > 0)
			continue;
		if (r < 0)
			part(l);
	} while (!await(l));
	part(l);
	return NULL;
}

int
logind_new(struct logind **ret, const struct logind_calls *calls, void *context)
{
	struct logind *l = calloc(1, sizeof *l);

	if (l == NULL)
		return -ENOMEM;
	l->calls = calls;
	l->context = context;
	l->lock_fd = -1;
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->stop_fd < 0 || pthread_create(&l->thread, NULL, logind_main, l) != 0) {
		if (l->stop_fd >= 0)
			close(l->stop_fd);
		free(l);
		return -EAGAIN;
	}
	*ret = l;
	return 0;
}

void
logind_stop(struct logind *l)
{
	if (l->stopped)
		return;
	eventfd_write(l->stop_fd, 1);
	pthread_join(l->thread, NULL);
	l->stopped = true;
}

void
logind_free(struct logind *l)
{
	if (l == NULL)
		return;
	logind_stop(l);
	close(l->stop_fd);
	free(l);
}

enum logind_state
logind_state(const struct logind *l)
{
	return l == NULL ? LOGIND_ABSENT : l->state;
}
