/*
 * control.h - the Unix socket by which `nuage` commands speak to a mount.
 *
 * Lines of text both ways: a command sends one request line; the mount
 * answers with lines "WORD rest", the last of which is "ok", "refused TEXT",
 * "failed TEXT" or "unreachable TEXT".  A connection that ends without one
 * of these means that the mount's process died.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

enum { CONTROL_LINE = 8192 };

/* ---- the mount's side ---- */

struct control;
/*
 * Listens at `path` (replacing what a killed mount left there) and calls
 * serve() for each request, each in a thread of its own; fd is closed after.
 */
int	control_listen(struct control **ret, const char *path,
	    void (*serve)(void *context, int fd, const char *request), void *context);
/* Removes the socket: a command that comes later finds nobody, or the next mount. */
void	control_hide(struct control *c);
/* Stops listening, removes the socket if it was not hidden, and waits for requests being served; NULL is fine. */
void	control_free(struct control *c);
/*
 * One line: the line break is added, and one that is in it becomes a '?'.  False
 * when the other side is gone, or the mount's is a command that has not read for long.
 */
__attribute__((format(printf, 2, 3)))
bool	control_say(int fd, const char *format, ...);
/* True once the command hung up. */
bool	control_gone(int fd);

/* ---- the commands' side ---- */

/* A connection to the mount at `path`, its request sent; -errno: nobody lives there. */
int	control_ask(const char *path, const char *request);
/* The next line without its break, in to[CONTROL_LINE]; false at the end. */
bool	control_hear(int fd, char *to);

#endif
