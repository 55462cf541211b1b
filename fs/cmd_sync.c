/* cmd_sync.c - wait until all changes of a mount are on the server. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"

static int
sync_volume(int argc, char **argv)
{
	static const struct option options[] = {
		{ "sleep", no_argument, NULL, 's' }, { "wake", no_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_sync;
	const char *verb = "sync";
	struct cmd_mounted mounted;
	int c, r, fd;

	while ((c = cmd_option(cmd, argc, argv, "swh", options)) != -1) {
		if (c != 's' && c != 'w')
			return cmd_usage(cmd, NULL);
		verb = c == 's' ? "sleep" : "wake";
	}
	if ((r = cmd_only_mounted(cmd, argc, argv, &mounted)) != 0)
		return r;
	fd = cmd_ask(&mounted, verb);
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
