/*
 * cmd_umount.c - unmount without losing anything: the mount's process first
 * brings all changes to the server, then this command unmounts, then the
 * process brings what the kernel still held, and says so.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/mount.h"
#include "fs/mounts.h"

enum { TIMEOUT_MAX_S = 100 * 24 * 60 * 60 };

struct heard {
	const struct cmd	*cmd;
	const struct cmd_mounted *mounted;
	bool			 force, busy;
	unsigned		 unsaved, lost, kept;
};

static void
name(const char *file)
{
	fputs("    ", stderr);
	cmd_plain(stderr, file);
	fputc('\n', stderr);
}

static bool
hear(void *context, const char *word, const char *rest)
{
	struct heard *h = context;
	int r;

	if (strcmp(word, "unsaved") == 0) {
		if (h->unsaved++ == 0)
			fputs("These files are not on the server yet:\n", stderr);
		name(rest);
	} else if (strcmp(word, "lost") == 0) {
		if (h->lost++ == 0)
			fputs("Changes of these files were lost:\n", stderr);
		name(rest);
	} else if (strcmp(word, "kept") == 0) {
		if (h->kept++ == 0)
			fputs("These files are not on the server yet; the next mount brings them there from the journal:\n", stderr);
		name(rest);
	} else if (strcmp(word, "ready") == 0 && h->mounted->directory[0] != '\0') {
		r = mount_unmount(h->mounted->directory, h->force);
		if (r == -EBUSY) {
			h->busy = true;
			cmd_fail(h->cmd, 0, "%s is in use: programs have files open or work in it; fuser -vm %s names them",
			    h->mounted->directory, h->mounted->directory);
		} else if (r < 0 && r != -EINVAL) {
			h->busy = true;
			cmd_fail(h->cmd, 0, "%s: %s", h->mounted->directory,
			    r == -ENOENT ? "the program fusermount3 is missing" : strerror(-r));
		}
	}
	return !h->busy;
}

/* If the process is gone nothing is left to save, only the dead mount to clear. */
static int
clear_dead(const struct cmd *cmd, const struct cmd_mounted *m)
{
	int r;

	if (m->directory[0] == '\0' || !mounts_dead(m->directory))
		return cmd_unserved(cmd, m);
	r = mount_unmount(m->directory, true);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "%s: %s", m->directory, strerror(-r));
	return cmd_fail(cmd, CMD_FAILED, "%s: its process was gone already; the next mount brings what it had not sent "
	    "to the server from the journal, if it kept one", m->directory);
}

static int
umount_volume(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' }, { "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_umount;
	struct heard heard = { .cmd = cmd };
	char verb[40] = "umount", *end;
	unsigned long timeout_s;
	struct cmd_mounted mounted;
	int c, r, fd;

	while ((c = cmd_option(cmd, argc, argv, "ft:h", options)) != -1)
		if (c == 'f')
			heard.force = true;
		else if (c == 't') {
			timeout_s = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end != '\0' || timeout_s > TIMEOUT_MAX_S)
				return cmd_usage(cmd, "--timeout takes a number of seconds");
			snprintf(verb, sizeof verb, "umount:%lu", timeout_s * 1000 + (timeout_s == 0));
		} else
			return cmd_usage(cmd, NULL);
	if ((r = cmd_only_mounted(cmd, argc, argv, &mounted)) != 0)
		return r;
	if (mounted.below)
		return cmd_fail(cmd, CMD_FAILED, "%s is below a mount, not one; that is %s", argv[optind], mounted.directory);
	heard.mounted = &mounted;
	fd = cmd_ask(&mounted, heard.force ? "discard" : verb);
	if (fd < 0)
		return clear_dead(cmd, &mounted);
	/* A busy mount stays: closing the connection calls the process off. */
	r = cmd_hear(cmd, fd, hear, &heard);
	close(fd);
	if (heard.unsaved > 0)
		fputs("The mount stays until they are; nuage umount --force ends it all the same.\n", stderr);
	return r == CMD_OK && heard.lost > 0 && !heard.force ? CMD_FAILED : r;
}

const struct cmd cmd_umount = {
	"umount", umount_volume, "save everything and unmount",
	"umount [--force] [--timeout SECONDS] DIRECTORY | [SERVER/]VOLUME\n"
	"\n"
	"Brings all changes to the server, then unmounts. When the server cannot be\n"
	"reached for 10 seconds, what is not there waits in the journal for the next\n"
	"mount, and the files concerned are named; with -o nojournal nothing is done.\n"
	"\n"
	"  -t, --timeout SECONDS   give it so much time in all\n"
	"  -f, --force   unmount at once, even when in use, and even when changes that\n"
	"                are not on the server are lost for want of a journal\n"
	"  -h, --help    show this text\n"
};
