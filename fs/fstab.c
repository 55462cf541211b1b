/*
 * fstab.c - see fstab.h.
 *
 * mount(8) finds a line of fstab(5) whose type is nuage, and runs
 *
 *	mount.nuage SOURCE DIRECTORY [-fnrsvw] [-o LIST] [-t TYPE] [-N NAMESPACE]
 *
 * which is `nuage mount -o LIST SOURCE DIRECTORY` but for its letters, and for
 * what its exit statuses mean.  There is no such helper of umount(8): it would
 * be that of every FUSE mount.
 */
#include "fs/fstab.h"

#include <getopt.h>
#include <stdio.h>

#include "fs/cmd.h"

/* mount(8), EXIT STATUS */
enum { MOUNT_OK = 0, MOUNT_USAGE = 1, MOUNT_FAILED = 32 };

int
fstab_mount(int argc, char **argv)
{
	char *call[16] = { argv[0] };
	int c, n = 1, r;
	bool fake = false;

	/* mount(8) puts what is no option first. */
	while ((c = getopt(argc, argv, "fnrsvwo:t:N:")) != -1) {
		if (c == '?')
			return MOUNT_USAGE;
		fake |= c == 'f';
		if (n + 5 > (int)(sizeof call / sizeof *call)) {
			fprintf(stderr, "%s: too many options\n", FSTAB_NAME);
			return MOUNT_USAGE;
		}
		if (c == 'v')
			call[n++] = "-v";
		if (c == 'r' || c == 'w' || c == 'o') {
			call[n++] = "-o";
			call[n++] = c == 'r' ? "ro" : c == 'w' ? "rw" : optarg;
		}
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: %s VOLUME DIRECTORY [-o OPTIONS]; see nuage(1)\n", FSTAB_NAME);
		return MOUNT_USAGE;
	}
	if (fake)
		return MOUNT_OK;
	call[n++] = "--";
	call[n++] = argv[optind];
	call[n++] = argv[optind + 1];
	optind = 0;		/* begin anew */
	r = cmd_mount.run(n, call);
	return r == CMD_OK ? MOUNT_OK : r == CMD_USAGE ? MOUNT_USAGE : MOUNT_FAILED;
}
