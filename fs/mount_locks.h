/*
 * mount_locks.h - lock calls as the kernel passes them on, and who waits.
 *
 * There is never a second silent world of locks: they are granted here as
 * long as this session is the only one of its volume, and refused (ENOLCK)
 * otherwise.  A wait is parked and holds no thread.  Any thread may call.
 */
#ifndef FS_MOUNT_LOCKS_H
#define FS_MOUNT_LOCKS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct mount_locks;
struct shell;

int	mount_locks_new(struct mount_locks **ret, struct shell *shell);	/* shell is borrowed; -ENOMEM */
void	mount_locks_free(struct mount_locks *t);		/* no call may be under way; NULL is fine */

/* The handlers of lock calls.  mount.c says whose locks a request means. */
void	mount_locks_install(struct fuse_lowlevel_ops *ops);
struct mount_locks *mount_locks_of(fuse_req_t req);

/* What the rest does when locks are handled here; with NULL nothing. */
void	mount_locks_flush(struct mount_locks *t, fuse_ino_t ino, const struct fuse_file_info *fi);
void	mount_locks_release(struct mount_locks *t, fuse_ino_t ino, const struct fuse_file_info *fi);
void	mount_locks_tick(struct mount_locks *t);	/* ends waits when another session came */

#endif
