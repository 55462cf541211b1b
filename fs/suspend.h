/*
 * suspend.h - what a mount does when the machine goes to sleep, wakes up, or
 * is shut down: as logind says, or a command.
 */
#ifndef FS_SUSPEND_H
#define FS_SUSPEND_H

struct shell;
struct suspend;

/* Listens to logind, if this program can.  `shell` is borrowed.  0 or -errno. */
int	suspend_new(struct suspend **ret, struct shell *shell);
/* Listens no more, and waits for what is under way: `shell` may go. */
void	suspend_stop(struct suspend *s);
void	suspend_free(struct suspend *s);	/* NULL is fine */

/*
 * Before the machine sleeps: returns within ms (which is to be 500 at least),
 * and then nobody waits for an answer of this mount's that does not come.
 * Any thread, as below.
 */
void	suspend_sleep(struct suspend *s, unsigned ms);
void	suspend_wake(struct suspend *s);

/* For the status: "heard", "refused", "absent", or "off" in a program built without it. */
const char *suspend_logind(const struct suspend *s);

#endif
