/*
 * ssh_config.h - what ~/.ssh/config says of a host, as OpenSSH evaluates it.
 *
 * `ssh -G` prints every option that holds for a host, a line each; that is
 * read.  Where ssh is not installed OpenSSH's defaults hold.  $NUAGE_SSH_CONFIG
 * names another file than ~/.ssh/config.
 */
#ifndef FS_SSH_CONFIG_H
#define FS_SSH_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "fs/ssh_place.h"

enum {
	SSH_FILES	= 12,		/* identities, or files of known hosts */
	SSH_PROXY	= 1024,
	SSH_LIST	= 1024,		/* of algorithms */
};

enum ssh_strict { SSH_ASK, SSH_STRICT, SSH_ACCEPT_NEW };

struct ssh_files {
	char		path[SSH_FILES][PATH_MAX];
	unsigned	count;
};

struct ssh_config {
	char		host[SSH_HOST];		/* to connect to */
	char		user[SSH_USER];
	unsigned	port;
	char		alias[SSH_HOST];	/* what known_hosts calls it; empty: host */
	char		proxy_command[SSH_PROXY], proxy_jump[SSH_PROXY];	/* empty: none */
	char		agent[PATH_MAX];	/* socket; empty: $SSH_AUTH_SOCK; "none" */
	char		certificate[PATH_MAX];	/* the first one, which libssh2 cannot use; empty */
	struct ssh_files identities, known, known_global;
	enum ssh_strict	strict;
	/* Each with commas; empty: as libssh2 likes. */
	char		ciphers[SSH_LIST], macs[SSH_LIST], kex[SSH_LIST], host_keys[SSH_LIST], methods[SSH_LIST];
	bool		fdpass;			/* ProxyUseFdpass */
	bool		hash_known, identities_only, public_key, password, interactive, batch;
	unsigned	connect_s;		/* 0: our own */
};

/* Without ssh(1): OpenSSH's defaults. */
void	ssh_config_defaults(struct ssh_config *c, const struct ssh_place *place);
/* Reads what `ssh -G` printed, over the defaults; -EINVAL when it is no such text. */
int	ssh_config_read(struct ssh_config *c, const char *text);
/* Both; 0, or a negative errno and a sentence: -ECANCELED: cancel_fd (-1: none) became readable. */
int	ssh_config_load(struct ssh_config *c, const struct ssh_place *place, int cancel_fd, char *why, size_t size);
/* A ProxyCommand's %h %p %r %n %%; -EINVAL: another one. */
int	ssh_config_expand(const struct ssh_config *c, const struct ssh_place *place, const char *from, char *to,
	    size_t size);

#endif
