/* cmd_sync.c - wait until all changes of a mount are on the server. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/control.h"

static int
sync_volume(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	const struct cmd *cmd = &cmd_sync;
	char request[PATH_MAX + 16];
	struct cmd_mounted mounted;
	struct home *home = NULL;
	int r, fd;

	while (cmd_option(cmd, argc, argv, "h", options) != -1)
		return cmd_usage(cmd, NULL);
	if (argc - optind != 1)
		return cmd_usage(cmd, "say one directory or volume");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	r = cmd_find_mounted(cmd, home, argv[optind], &mounted);
	home_close(home);
	if (r != 0)
		return r;
	snprintf(request, sizeof request, "sync%s%s", mounted.directory[0] != '\0' ? " " : "", mounted.directory);
	fd = control_ask(mounted.socket, request);
	if (fd < 0)
		return cmd_unserved(cmd, &mounted);
	r = cmd_hear(cmd, fd, NULL, NULL);
	close(fd);
	return r;
}

const struct cmd cmd_sync = {
	"sync", sync_volume, "wait until all changes are on the server",
	"sync DIRECTORY | [SERVER/]VOLUME\n"
	"\n"
	"DIRECTORY is a mount point or anything below it. sync(1) does not reach a\n"
	"mounted volume, except as `sync DIRECTORY` on the mount point itself.\n"
	"\n"
	"  -h, --help   show this text\n"
};
