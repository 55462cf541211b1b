/*
 * ssh_install.h - puts a nuaged into the cache of a user who can log in to a
 * machine that has none.
 *
 * It goes to ${XDG_CACHE_HOME:-~/.cache}/nuage under a name of its own and is
 * renamed when its digest was verified there and it has run; so a name that
 * ssh_place_command() finds is a whole program.  Others there, of other
 * versions, are then removed: whoever used one finds this.
 */
#ifndef FS_SSH_INSTALL_H
#define FS_SSH_INSTALL_H

#include <stddef.h>

struct ssh;

/*
 * Over a session that is logged in and has no channel.  0 also when nuaged is
 * on the far side's PATH or was copied before; or a negative errno and a
 * sentence, with nothing left there.
 */
int	ssh_install(struct ssh *s, char *why, size_t size);

#endif
