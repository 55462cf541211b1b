/*
 * serve_login.h - the mount's side of `nuage login`: while such a command is
 * there, what logging in by SSH must ask goes to it.
 *
 *	mount:		say LINE		in front of a question
 *			ask hidden|shown TEXT
 *	command:	answer TEXT  |  none
 *
 * and at last one of control.h's last lines.
 */
#ifndef FS_SERVE_LOGIN_H
#define FS_SERVE_LOGIN_H

#include <stdatomic.h>

struct shell;

/* Until the mount is connected, or cannot be, the command is gone, or *stop. */
void	serve_login(struct shell *shell, int fd, const atomic_bool *stop);

#endif
