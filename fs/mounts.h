/*
 * mounts.h - the nuage mounts of this mount namespace, whoever made them, as
 * /proc/self/mountinfo lists them (proc(5)).
 */
#ifndef FS_MOUNTS_H
#define FS_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

struct mounts_entry {
	const char	*directory;
	const char	*source;	/* nuage:SERVER/VOLUME, by its home's names */
	dev_t		 device;	/* no two mounts have the same at a time */
};

/* Calls each() for every one, those on top of others later.  0 or -errno. */
int	mounts_each(void (*each)(void *context, const struct mounts_entry *e), void *context);
/* Is one there?  Yes also if there is no telling. */
bool	mounts_has(const char *directory);
/* Its process is gone for good.  A live one may be slow to say that it is not; it gets a few seconds. */
bool	mounts_dead(const char *directory);

#endif
