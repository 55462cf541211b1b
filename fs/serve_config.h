/*
 * serve_config.h - the configuration of a shell for a volume of this home,
 * which mounting, creating and inviting share.
 */
#ifndef FS_SERVE_CONFIG_H
#define FS_SERVE_CONFIG_H

#include "fs/home.h"
#include "fs/shell.h"

/* The keys are in locked memory; serve_secrets_done() frees them once the shell is gone. */
struct serve_secrets {
	uint8_t	*device, *volume_key;
};
/* 0, or -errno with a sentence in why. */
int	serve_configure(struct shell_config *to, struct serve_secrets *secrets, struct home *home,
	    const struct home_server *server, const struct home_volume *volume, char *why, size_t size);
void	serve_secrets_done(struct serve_secrets *secrets);

#endif
