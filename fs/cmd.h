/*
 * cmd.h - what the commands of `nuage` share.
 *
 * Answers go to stdout, everything said to a person to stderr.
 */
#ifndef FS_CMD_H
#define FS_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "fs/home.h"
#include "fs/link.h"

/* Exit codes, as nuage(1) documents them. */
enum cmd_exit {
	CMD_OK		= 0,
	CMD_FAILED	= 1,
	CMD_USAGE	= 2,
	CMD_UNREACHABLE	= 3,		/* the server, now */
	CMD_REFUSED	= 4,		/* by the server, or by us to protect data */
};

struct option;
struct cmd {
	const char	*name;
	int		(*run)(int argc, char **argv);
	const char	*summary;	/* one line of `nuage --help` */
	const char	*usage;		/* all of `nuage NAME --help`, without the first word */
};
extern const struct cmd cmd_join, cmd_create, cmd_invite, cmd_recover, cmd_mount, cmd_login, cmd_sync,
    cmd_status, cmd_volumes, cmd_umount, cmd_pin, cmd_unpin;

/*
 * getopt_long() for a command: -1 at the end, the option's letter, or '?'
 * when it was unknown (said).  --help is answered here: the function does not
 * return.
 */
int	cmd_option(const struct cmd *cmd, int argc, char **argv, const char *letters,
	    const struct option *options);

/* Says "nuage NAME: ..." and returns `code`. */
__attribute__((format(printf, 3, 4)))
int	cmd_fail(const struct cmd *cmd, int code, const char *format, ...);
/* The same with "try 'nuage NAME --help'" behind it; CMD_USAGE. */
int	cmd_usage(const struct cmd *cmd, const char *wrong);
/* The exit code for an errno of link_open() and link_call(). */
int	cmd_exit_of(int error);

/* The home, or an exit code, said. */
int	cmd_home(const struct cmd *cmd, struct home **ret);
/* The volume of that name and its server, or an exit code, said. */
int	cmd_find(const struct cmd *cmd, struct home *home, const char *text, struct home_volume *volume,
	    struct home_server *server);

/* One request to a server, with this device's key; frees nothing it did not take. */
struct cmd_call {
	struct message		 answer;
	struct arena		 arena;
	struct buffer		*frame;
	char			 why[320];
};
/* Connects; 0 or -errno with call->why. */
int	cmd_connect(struct link **ret, const char *addresses, const uint8_t key[KEY_SIZE],
	    const uint8_t *device, char *why, size_t size);
/* As link_call(), again for some seconds if the server is too busy; cmd_call_done() afterwards, also after failures. */
int	cmd_call(struct link *link, struct message *request, uint16_t expect, struct cmd_call *call);
void	cmd_call_done(struct cmd_call *call);

/* ---- ssh:// (cmd_ssh.c) ---- */

struct cmd_ssh_options {
	const char	*nuaged;	/* the far side's command, or NULL */
	const char	*name;		/* what to call the server, or NULL */
	bool		 create;	/* make what is missing without asking */
	bool		 install;	/* copy a nuaged there if there is none, without asking */
};
bool	cmd_is_ssh(const char *text);
/* Makes this device known to the nuaged at ssh://...; 0, or an exit code, said. */
int	cmd_ssh_join(const struct cmd *cmd, struct home *home, const char *text, const struct cmd_ssh_options *o,
	    struct home_server *server);
/* The same, and the volume after '#'; makes both. */
int	cmd_ssh_find(const struct cmd *cmd, struct home *home, const char *text, const struct cmd_ssh_options *o,
	    struct home_volume *volume, struct home_server *server);
/* For a server that is reached by SSH: asks now what must be asked, while there is a terminal. */
int	cmd_ssh_warm(const struct cmd *cmd, struct home *home, const struct home_server *server,
	    const struct cmd_ssh_options *o);

/* A new volume on a known server, with its recovery code on stdout; 0, or an exit code, said (cmd_create.c). */
int	cmd_create_volume(const struct cmd *cmd, struct home *home, const struct home_server *server,
	    const char *name);

/* One line of stdin, or of the terminal without echo, into to[]; -ENODATA when there is none. */
int	cmd_read_secret(const char *prompt, char *to, size_t size);
/* Names may come from others: without what a terminal would obey. */
void	cmd_plain(FILE *to, const char *text);
/* Text as a JSON string, quotes included. */
void	cmd_json(FILE *to, const char *text);

/*
 * Reads a mount's answer to its last line, which gives the exit code; each()
 * gets the lines before, and ends the hearing by false: CMD_FAILED.
 */
int	cmd_hear(const struct cmd *cmd, int fd, bool (*each)(void *context, const char *word, const char *rest),
	    void *context);

/* A mounted volume, found by any path in it, by its mount point or by its name. */
struct cmd_mounted {
	char		directory[PATH_MAX];	/* empty: not mounted, but perhaps a process still flushes */
	char		source[16 + 2 * HOME_NAME];
	char		socket[PATH_MAX];
	struct home_volume volume;
	bool		below;			/* what was asked for is in it, not the mount point */
};
int	cmd_find_mounted(const struct cmd *cmd, struct home *home, const char *text, struct cmd_mounted *to);
/* The same, when the one argument left names it. */
int	cmd_only_mounted(const struct cmd *cmd, int argc, char **argv, struct cmd_mounted *to);
/* Sends its process a request of up to 40 bytes: a descriptor to hear the answer from, or -errno. */
int	cmd_ask(const struct cmd_mounted *m, const char *verb);
/* Nobody answers on m's socket: says why, CMD_FAILED. */
int	cmd_unserved(const struct cmd *cmd, const struct cmd_mounted *m);

#endif
