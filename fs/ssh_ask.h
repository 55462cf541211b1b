/*
 * ssh_ask.h - questions to the person who logs in, and the answers that were
 * good, kept so that a reconnect does not ask again.
 *
 * A question goes to the terminal, or to $SSH_ASKPASS as ssh(1) does; once
 * ssh_ask_nobody() was said, to nobody.  Kept answers live in locked memory
 * until the process ends, a forked child's too.  Any thread; asking blocks.
 */
#ifndef FS_SSH_ASK_H
#define FS_SSH_ASK_H

#include <stdbool.h>
#include <stddef.h>

enum { SSH_SECRET = 256 };

/* A line without echo; -ENODATA: nobody is there, or would not say. */
int	ssh_ask_secret(const char *prompt, char to[SSH_SECRET]);
/* The same with echo, for prompts of a server that ask for no secret. */
int	ssh_ask_line(const char *prompt, char to[SSH_SECRET]);
/* True for "yes"; -ENODATA when nobody is there. */
int	ssh_ask_yes(const char *prompt, bool *ret_yes);
void	ssh_ask_nobody(void);

/* `what` names a key's file or a user at a host. */
void	ssh_keep(const char *what, const char *secret);
bool	ssh_kept(const char *what, char to[SSH_SECRET]);
void	ssh_forget(const char *what);

#endif
