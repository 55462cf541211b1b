/*
 * mount_room.h - what mount.c, request.c and answer.c share; the one place
 * that knows libfuse's and the kernel's FUSE headers.
 *
 * m->lock guards the pool, a request's `armed`, `ready` and `interrupted`,
 * and the list of interrupted requests; it is never held across a call of
 * libfuse or the shell.
 */
#ifndef FS_MOUNT_ROOM_H
#define FS_MOUNT_ROOM_H

#define FUSE_USE_VERSION 314
#include "fs/mount.h"
#include "fs/lock.h"
#include "fs/shell.h"	/* before <sys/mount.h> and <linux/fs.h>, whose BLOCK_SIZE is a macro */

#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include "fs/mount_locks.h"

enum {
	MOUNT_THREADS_MAX	= 8,
	MOUNT_EPOCH_MINOR	= 44,		/* protocol that has FUSE_NOTIFY_INC_EPOCH */
	MOUNT_ROOT		= 1,		/* the kernel's number of OID_ROOT */
};

/*
 * One request of the kernel.  Taken from a pool and never freed while
 * mounted, so that an interrupt which comes too late finds memory it can
 * judge.  Its life:
 *
 *	spare	a FUSE thread holds it for the next request it will read
 *	running	inside shell_submit()
 *	parked	names and data moved to its own memory; the interrupt
 *		function is set, and only then `armed`: a reply that came
 *		before is left to the thread that arms
 *	done	answered; back in the pool, or spare again
 */
struct request {
	struct call		 call;		/* first */
	struct mount		*mount;
	fuse_req_t		 req;
	pid_t			 pid;
	uint64_t		 serial;
	void			*kept;		/* memory of a parked request */
	bool			 parked, armed, ready, interrupted;
	struct request		*next;		/* in the pool */
	struct request		*next_interrupted;
};

struct mount {
	pthread_mutex_t		 lock;
	struct request		*pool, *interrupted;

	const struct mount_options *options;
	struct fuse_session	*session;
	struct shell		*shell;
	struct mount_locks	*locks;		/* NULL: left to the kernel */
	_Atomic bool		 mounted;
	_Atomic uint64_t	 init_unique;	/* of the INIT request; 0 once answered */
	_Atomic uint32_t	 kernel_minor;	/* the notifier asks for it, perhaps before INIT */
	unsigned		 count;
	pthread_t		 threads[MOUNT_THREADS_MAX];
};

/* What one FUSE thread has at hand; libfuse gives its callbacks no context of a thread. */
struct hand {
	struct mount		*mount;
	struct request		*spare;
	struct fuse_buf		 buf;
};
extern _Thread_local struct hand *request_hand;

static inline uint64_t
oid_of(fuse_ino_t ino)
{
	return ino == MOUNT_ROOT ? OID_ROOT : ino;
}

static inline fuse_ino_t
ino_of(uint64_t oid)
{
	return oid == OID_ROOT ? MOUNT_ROOT : oid;
}

/* request.c: what libfuse calls, but for init; a request from the pool or new, NULL: out of memory. */
extern const struct fuse_lowlevel_ops request_operations;
struct request *request_get(struct mount *m);
/* Lets go of interrupted requests whose caller is being killed, or when the server is away. */
bool	request_judge(struct mount *m);	/* false: there are none */

/* answer.c: answers a request that is done, by its op's type and error. */
void	answer(struct request *r);

#endif
