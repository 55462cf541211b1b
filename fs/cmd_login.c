/*
 * cmd_login.c - answer what a mount must ask to log in again by SSH: a
 * passphrase, a password, whether a host is the right one.  The questions are
 * the mount's; answers go from here to there and are kept by neither file nor
 * environment.
 */
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/ssh_ask.h"

enum { WORD = 8 };	/* "answer " */

/* In locked memory, and sent from there. */
static bool
send_answer(int fd, const char *prompt, bool echo)
{
	char *line = sodium_malloc(WORD + SSH_SECRET), *secret = sodium_malloc(SSH_SECRET);
	bool answered = line != NULL && secret != NULL &&
	    (echo ? ssh_ask_line(prompt, secret) : ssh_ask_secret(NULL, prompt, secret)) == 0;
	bool fine = line != NULL && secret != NULL;

	if (fine) {
		int n = answered ? snprintf(line, WORD + SSH_SECRET, "answer %s\n", secret) :
		    snprintf(line, WORD + SSH_SECRET, "none\n");

		fine = send(fd, line, (size_t)n, MSG_NOSIGNAL) == n;
	}
	sodium_free(secret);
	sodium_free(line);
	return fine;
}

static bool
hear(void *context, const char *word, const char *rest)
{
	const int *fd = context;

	if (strcmp(word, "say") == 0)
		fprintf(stderr, "%s\n", rest);
	else if (strcmp(word, "ask") == 0) {
		bool echo = strncmp(rest, "shown ", 6) == 0;

		return send_answer(*fd, rest + (echo ? 6 : strlen("hidden ")), echo);
	}
	return true;
}

static int
login_volume(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	const struct cmd *cmd = &cmd_login;
	struct cmd_mounted mounted;
	int r, fd;

	while (cmd_option(cmd, argc, argv, "h", options) != -1)
		return cmd_usage(cmd, NULL);
	if ((r = cmd_only_mounted(cmd, argc, argv, &mounted)) != 0)
		return r;
	fd = cmd_ask(&mounted, "login");
	if (fd < 0)
		return cmd_unserved(cmd, &mounted);
	ssh_ask_while(fd);
	r = cmd_hear(cmd, fd, hear, &fd);
	close(fd);
	return r;
}

const struct cmd cmd_login = {
	"login", login_volume, "log in again by SSH, for a mount",
	"login DIRECTORY | [SERVER/]VOLUME\n"
	"\n"
	"For a mount whose connection broke and that cannot log in by itself, as nuage\n"
	"status says: connects now, and asks here what must be asked. The answers stay in\n"
	"the memory of the mount's process.\n"
	"\n"
	"  -h, --help   show this text\n"
};
