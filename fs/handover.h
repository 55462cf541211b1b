/*
 * handover.h - from a mount that has ended to the next one of its volume.
 *
 * One process at a time speaks for a volume and its journal: it has the lock
 * of home_lock().  After an unmount it keeps that until what was unsaved is on
 * the server, so who mounts again at once has to wait a moment.
 */
#ifndef FS_HANDOVER_H
#define FS_HANDOVER_H

#include "fs/home.h"

/*
 * Takes the volume's lock; *ret_fd is to be closed.  Waits for a process whose
 * mount is gone, half a minute at most, and calls waiting() when that takes
 * long; SIGINT, SIGTERM and SIGHUP, which are blocked, end it.  0, or -errno
 * with a sentence: -EBUSY, it is mounted.
 */
int	handover(struct home *home, const struct home_volume *volume,
	    void (*waiting)(void *context, const char *what), void *context, int *ret_fd, char *why, size_t size);

#endif
