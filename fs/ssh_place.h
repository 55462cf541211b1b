/*
 * ssh_place.h - where a store is that is reached by SSH:
 *
 *	ssh://[user@]host[:port]/path[?nuaged=command]
 *
 * path is absolute, or, after "/~/", below the far side's home.  What an address
 * list or a shell would take apart is written as %XX.  nuaged names the
 * far side's program where its PATH does not.
 */
#ifndef FS_SSH_PLACE_H
#define FS_SSH_PLACE_H

#include <stdbool.h>
#include <stddef.h>

enum {
	SSH_USER	= 64,
	SSH_HOST	= 254,
	SSH_PATH	= 256,
	SSH_URL		= 256,		/* an invitation holds no longer address */
	SSH_COMMAND	= 4096,
};

/* Where a nuaged is looked for besides, as a login without a terminal has a short PATH. */
#define SSH_PLACE_PATH	"/usr/local/sbin:/usr/sbin:/sbin:$HOME/.local/sbin:$HOME/.local/bin"

struct ssh_place {
	char		user[SSH_USER];		/* empty: whom the configuration or the machine names */
	char		host[SSH_HOST];
	unsigned	port;			/* 0: the configuration's */
	char		path[SSH_PATH];		/* empty: none was given */
	char		nuaged[SSH_PATH];	/* empty: found by PATH */
};

bool	ssh_place_is(const char *text);		/* begins as one */
unsigned ssh_place_port(const char *text);	/* of a port in figures, and nothing else; 0: it is none */
/* 0; -EINVAL when it is none; -ENAMETOOLONG. */
int	ssh_place_parse(struct ssh_place *to, const char *text);
/* The one way to write it. -ENAMETOOLONG. */
int	ssh_place_print(const struct ssh_place *p, char to[SSH_URL]);
/*
 * What the far side's login shell, of whatever kind, is to run.  Without
 * p->nuaged it is the nuaged of the PATH there, or one that ssh_install() left:
 * of this version, or else of another.  -ENAMETOOLONG.
 */
int	ssh_place_command(const struct ssh_place *p, bool create, char to[SSH_COMMAND]);
/* For a shell that runs programs of its PATH, and nothing else. */
int	ssh_place_plain(const struct ssh_place *p, bool create, char to[SSH_COMMAND]);
/* The same for a script of sh, and its arguments up to a NULL (or NULL). */
int	ssh_place_script(const char *script, const char *const *arguments, char to[SSH_COMMAND]);

#endif
