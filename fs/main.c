/* main.c - the `nuage` command: finds the subcommand and runs it. */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "fs/cmd.h"
#include "fs/fstab.h"
#include "fs/guard.h"

static const struct cmd *const commands[] = {
	&cmd_join, &cmd_create, &cmd_mount, &cmd_umount, &cmd_sync, &cmd_status, &cmd_pin, &cmd_unpin, &cmd_login,
	&cmd_volumes, &cmd_invite, &cmd_recover,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void
help(FILE *to)
{
	fputs("usage: nuage COMMAND [OPTION]... [ARGUMENT]...\n"
	    "       nuage --help | --version\n"
	    "\n"
	    "An encrypted network drive. Commands:\n"
	    "\n", to);
	for (int i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n"
	    "nuage COMMAND --help says more; so does nuage(1).\n"
	    "\n"
	    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 the server cannot be reached,\n"
	    "4 refused.\n", to);
}

static bool
called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

int
main(int argc, char **argv)
{
	if (argc > 0 && strcmp(argv[0], GUARD_NAME) == 0)
		return guard_main(argc, argv);
	if (sodium_init() < 0) {
		fputs("nuage: libsodium does not start\n", stderr);
		return CMD_FAILED;
	}
	if (argc > 0 && called(argv[0], FSTAB_NAME))
		return fstab_mount(argc, argv);
	if (argc < 2) {
		help(stderr);
		return CMD_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		help(stdout);
		return CMD_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts(PACKAGE_STRING);
		return CMD_OK;
	}
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(argc - 1, argv + 1);
	fprintf(stderr, "nuage: there is no command '%s'\nTry 'nuage --help'.\n", argv[1]);
	return CMD_USAGE;
}
