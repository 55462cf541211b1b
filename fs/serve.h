/*
 * serve.h - the process behind one mounted volume, from start to last flush.
 *
 * serve_run() takes the volume's lock, connects, mounts, and then lives until
 * the mount is gone: unmounted by `nuage umount`, by anybody else, or by
 * SIGTERM.  Then it brings what is left to the server before it returns.
 */
#ifndef FS_SERVE_H
#define FS_SERVE_H

#include "fs/engine.h"
#include "fs/home.h"
#include "fs/mount.h"
#include "fs/shell.h"

struct serve_options {
	struct home		*home;
	struct home_server	 server;
	struct home_volume	 volume;
	struct mount_options	 mount;
	struct engine_config	 engine;
	bool			 no_journal;
	bool			 disk_default;	/* else at most so many bytes of cached blocks, 0: none */
	uint64_t		 disk_max;
};

/*
 * ready() is called once: with 0 when the mount can be used, or with an exit
 * code (cmd.h) and a sentence, in which case serve_run() returns it too.
 * Before that perhaps with SERVE_WAITING, and what it waits for.
 */
enum { SERVE_WAITING = -1 };
int	serve_run(const struct serve_options *options,
	    void (*ready)(void *context, int code, const char *why), void *context);

#endif
