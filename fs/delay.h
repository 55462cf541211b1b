/*
 * delay.h - named points at which a build for tests waits, so that races come to pass.
 *
 * In nuage itself a point is nothing at all.  tests/tools/nuage-delay is the
 * same program, its files that have points compiled once more with
 * NUAGE_DELAYS.  Its environment variable NUAGE_DELAY names a file of lines
 * "POINT=MILLISECONDS" or "SETTING=NUMBER", read anew at each point; a wait is logged before
 * it begins.  A point is passed by the thread at hand, with no lock held:
 *
 *	submit-OP	a request is in user space, the engine has not seen it
 *	reply-OP	it is done, the kernel has not seen the answer
 *	sweep		the kernel is about to be told to forget
 *	swept		it was, and the engine does not know yet
 *	recalled	a RECALL came, and the engine does not know yet
 *	pump-rest	nothing moves between a link and SSH, and its thread is about to sleep
 *
 * OP is the name of enum op_type in small letters: reply-getattr.
 */
#ifndef FS_DELAY_H
#define FS_DELAY_H

#include "fs/engine.h"

#ifdef NUAGE_DELAYS
void	delay_point(const char *name);
void	delay_op(const char *where, enum op_type type);
/* *to is the setting's value if there is one. */
void	delay_setting(const char *name, uint32_t *to);
/* Has a thread of its own do it: one that waits must not hold up what others wait for. */
bool	delay_apart(void (*what)(void *argument), void *argument);
# define DELAY_POINT(name)		delay_point(name)
# define DELAY_OP(where, type)		delay_op(where, type)
# define DELAY_SETTING(name, to)	delay_setting(name, to)
# define DELAY_APART(what, argument)	delay_apart(what, argument)
#else
# define DELAY_POINT(name)		((void)0)
# define DELAY_OP(where, type)		((void)0)
# define DELAY_SETTING(name, to)	((void)0)
# define DELAY_APART(what, argument)	((void)(what), false)
#endif

#endif
