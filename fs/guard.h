/*
 * guard.h - a process that ends what a killed mount leaves hanging.
 *
 * A mount's thread that tells the kernel to forget pages of a memory map
 * waits in the kernel until these are written back, by the very process of
 * which it is one.  SIGKILL, or a crash, then ends all threads but that one,
 * which keeps /dev/fuse open: the kernel goes on waiting for answers, and with
 * it whoever uses the mount.  Only an abort of the connection ends that, and
 * nobody in the dying process can do it any more.
 *
 * The guard can.  It is there from before the mount until after it, holds
 * nothing but the connection's abort file, sleeps, and aborts when the mount's
 * process was killed or crashes.  The mount then is as dead as any whose
 * process is gone: ENOTCONN.  It is not unmounted, lest programs write below
 * it.
 */
#ifndef FS_GUARD_H
#define FS_GUARD_H

#include <sys/types.h>

#define GUARD_NAME "nuage-guard"	/* its argv[0] */

struct guard;

/*
 * Starts one for a mount on the directory, which is only shown.  To be called
 * by the main thread of the process that is to be guarded, with SIGPIPE
 * ignored; other threads do not matter.  0 or -errno.
 */
int	guard_new(struct guard **ret, const char *directory);
/*
 * The connection that is mounted now as that device is guarded from now on:
 * that one, not a later one of the same number; a signal that kills with a
 * core is handled then, to tell the guard first.  0, or -errno when it cannot
 * be (its abort file is out of reach), and the guard is idle.
 */
int	guard_watch(struct guard *g, dev_t device);
/* Ends it, the connection untouched; NULL is fine. */
void	guard_free(struct guard *g);

/* What the guard's own process is; what it returns is its exit status. */
int	guard_main(int argc, char **argv);

#endif
