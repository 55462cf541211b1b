/*
 * mount.h - the kernel's side of a mounted volume.  The only room that knows
 * libfuse.
 *
 * A few threads read requests from /dev/fuse and put each into the shell as
 * an operation; one that can be done at once is answered by the same thread.
 * A parked operation holds no thread.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount;
struct shell;
struct kernel_calls;

struct mount_options {
	const char	*directory;	/* absolute */
	const char	*source;	/* shown as the device: "nuage:NAME" */
	bool		 read_only, allow_other;
	bool		 suid, dev, noexec;	/* set-id bits and devices count; nothing can be run */
	bool		 local_locks;	/* the kernel's business alone, whoever else mounts the volume */
	bool		 raw_ids;	/* show the numbers stored; else `uid` and `gid` for all */
	uint32_t	 uid, gid;
};

/* Prepares, mounts nothing.  `options` is borrowed for the mount's life. */
int	mount_new(struct mount **ret, const struct mount_options *options);
/* Unmounts if it still is; NULL is fine. */
void	mount_free(struct mount *m);

/* For shell_config: what the shell tells the kernel; the context is the mount. */
extern const struct kernel_calls mount_kernel_calls;

/* Mounts and starts the threads; `shell` is borrowed.  0, or -errno with a sentence in why. */
int	mount_start(struct mount *m, struct shell *shell, char *why, size_t size);
/* Lets the kernel read further ahead on that device, if we may say so. */
void	mount_read_ahead(dev_t device);
/* Waits until the kernel let go: somebody unmounted. */
void	mount_wait(struct mount *m);
/* Takes the mount out of sight (lazily); mount_wait() returns once the last user is gone. */
void	mount_detach(struct mount *m);
/*
 * Unmounts any FUSE mount of the caller's: by the system call, or, for those
 * who may not, by fusermount3.  Lazily also one that is in use.  0, -EBUSY,
 * -ENOENT (fusermount3 is missing), -EINVAL (nothing is mounted), or another.
 */
int	mount_unmount(const char *directory, bool lazy);

#endif
