/*
 * ssh_ask.h - questions to the person who logs in, and the answers that were
 * good, kept so that a reconnect does not ask again.
 *
 * A question goes to the terminal, or to $SSH_ASKPASS as ssh(1) does; once
 * ssh_ask_nobody() was said, to nobody, or to whom ssh_ask_through() names.
 * One attempt to log in asks at a time: who asks has the turn until
 * ssh_ask_done(), and another's question waits, and may then have its answer
 * already.  Kept answers live in locked memory until the process ends, a forked
 * child's too.  Any thread; asking blocks.
 */
#ifndef FS_SSH_ASK_H
#define FS_SSH_ASK_H

#include <stdbool.h>
#include <stddef.h>

enum { SSH_SECRET = 256 };

/*
 * A line without echo; -ENODATA: nobody is there, or would not say.  An answer
 * that was kept for `what` while the turn was waited for will do, if it is not
 * the one that to[] holds, which was refused (empty: none).
 */
int	ssh_ask_secret(const char *what, const char *prompt, char to[SSH_SECRET]);
/* The same with echo, for prompts of a server that ask for no secret. */
int	ssh_ask_line(const char *prompt, char to[SSH_SECRET]);
/* True for "yes"; -ENODATA when nobody is there. */
int	ssh_ask_yes(const char *prompt, bool *ret_yes);
void	ssh_ask_nobody(void);
/* This thread asks nobody, whoever could be; kept answers will do. */
void	ssh_ask_quietly(bool on);
/* A question at the terminal is given up when that socket's other side is gone. */
void	ssh_ask_while(int fd);
/* Whether it is worth asking: false is certain. */
bool	ssh_ask_possible(void);
/* Takes the turn before there is a question: what another attempt learnt meanwhile can be looked at again. */
void	ssh_ask_turn(void);
/* The attempt is over, with 0, or with an error and a sentence: the turn is the next one's. */
void	ssh_ask_done(int error, const char *why);

struct ssh_asker {
	/* Asks one question; as ssh_ask_secret() or, with echo, ssh_ask_line(). */
	int	(*ask)(void *context, const char *prompt, bool echo, char to[SSH_SECRET]);
	/* An attempt that asked is over. */
	void	(*over)(void *context, int error, const char *why);
	void	*context;
};
/*
 * Where there is nobody, this one is asked.  NULL: not any more; waits for a
 * call that is under way, which the caller makes end.  -EBUSY: there is one.
 */
int	ssh_ask_through(const struct ssh_asker *asker);

/* `what` names a key's file or a user at a host. */
void	ssh_keep(const char *what, const char *secret);
bool	ssh_kept(const char *what, char to[SSH_SECRET]);
void	ssh_forget(const char *what);
/* It was refused: once may be the server's trouble, but three times in a row it is forgotten. */
void	ssh_doubt(const char *what);

#endif
