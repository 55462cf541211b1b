/*
 * logind.h - the machine's sleep and shutdown, as systemd-logind (or elogind)
 * tells of them on the system bus.  The only room that knows D-Bus.
 *
 * A thread of its own keeps a delay inhibitor there, so that the machine
 * waits for what is called here, but not for long.  Without a bus, or a
 * logind on it, nothing is ever called; should they come, or come again, they
 * are found within a few seconds.  See https://systemd.io/INHIBITOR_LOCKS.
 */
#ifndef FS_LOGIND_H
#define FS_LOGIND_H

struct logind;
struct logind_calls {
	/* The machine will sleep `ms` from now, or when the call returns if that is sooner. */
	void	(*sleep)(void *context, unsigned ms);
	/* It woke up; or logind went away, and nobody would say so. */
	void	(*wake)(void *context);
	/* As sleep(), but it will be shut down. */
	void	(*shutdown)(void *context, unsigned ms);
};

enum logind_state {
	LOGIND_ABSENT,		/* nobody there, or not built in */
	LOGIND_REFUSED,		/* sleep is told of, but does not wait for us */
	LOGIND_HEARD,		/* the inhibitor is held, or was given back for a sleep under way */
};

/* `calls` and `context` are borrowed; calls come from the thread alone.  0 or -errno. */
int	logind_new(struct logind **ret, const struct logind_calls *calls, void *context);
/* Ends the thread, after a call under way. */
void	logind_stop(struct logind *l);
void	logind_free(struct logind *l);		/* NULL is fine */
enum logind_state logind_state(const struct logind *l);	/* any thread; NULL is fine: absent */

#endif
