/*
 * conflicts.h - the list of the copies that running a volume's journals again has made: a path a line.
 *
 * In a path a backslash is written as two, and a newline as a backslash and an
 * n.  A line without its end is what a crash left of one, and none.
 */
#ifndef FS_CONFLICTS_H
#define FS_CONFLICTS_H

#include <stddef.h>

/* Calls each() for every path, from the volume's root; 0 or a negative errno.  No file: none is listed. */
int	conflicts_each(const char *file, void (*each)(void *context, const char *path), void *context);
/*
 * Lists those that are not yet: all of them, durably, and then calls added() for
 * each; or none, and a negative errno.
 */
int	conflicts_add(const char *file, const char *const *paths, size_t count, void (*added)(const char *path));

#endif
