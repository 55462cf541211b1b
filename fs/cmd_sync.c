/* cmd_sync.c - wait until all changes of a mount are on the server. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/control.h"

static int
sync_volume(int argc, char **argv)
{
	static const struct option options[] = {
		{ "sleep", no_argument, NULL, 's' }, { "wake", no_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_sync;
	const char *verb = "sync";
	char request[PATH_MAX + 16];
	struct cmd_mounted mounted;
	struct home *home = NULL;
	int c, r, fd;

	while ((c = cmd_option(cmd, argc, argv, "swh", options)) != -1) {
		if (c != 's' && c != 'w')
			return cmd_usage(cmd, NULL);
		verb = c == 's' ? "sleep" : "wake";
	}
	if (argc - optind != 1)
		return cmd_usage(cmd, "say one directory or volume");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	r = cmd_find_mounted(cmd, home, argv[optind], &mounted);
	home_close(home);
	if (r != 0)
		return r;
	snprintf(request, sizeof request, "%s%s%s", verb, mounted.directory[0] != '\0' ? " " : "", mounted.directory);
	fd = control_ask(mounted.socket, request);
	if (fd < 0)
		return cmd_unserved(cmd, &mounted);
	r = cmd_hear(cmd, fd, NULL, NULL);
	close(fd);
	return r;
}

const struct cmd cmd_sync = {
	"sync", sync_volume, "wait until all changes are on the server",
	"sync [--sleep | --wake] DIRECTORY | [SERVER/]VOLUME\n"
	"\n"
	"DIRECTORY is a mount point or anything below it. sync(1) does not reach a\n"
	"mounted volume, except as `sync DIRECTORY` on the mount point itself.\n"
	"\n"
	"  -s, --sleep  the machine is about to sleep: take a few seconds at most, and then let\n"
	"               nobody wait for the server; where logind is heard this goes by itself\n"
	"  -w, --wake   it woke up\n"
	"  -h, --help   show this text\n"
};
