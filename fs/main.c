/* main.c - the `nuage` command: finds the subcommand and runs it. */
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
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

/* What people type who know other programs. */
static const struct {
	const char	*typed, *meant;
} habits[] = {
	{ "unmount", "umount" }, { "ls", "volumes" }, { "list", "volumes" }, { "mounts", "status" }, { "info", "status" },
	{ "flush", "sync" }, { "new", "create" }, { "mkvolume", "create" }, { "share", "invite" },
	{ "restore", "recover" }, { "accept", "join" },
};

/* Do they differ by one letter more, less or other, or by two that changed places? */
static bool
nearly(const char *typed, const char *name)
{
	size_t same = 0, typed_len = strlen(typed), name_len = strlen(name), end = 0;

	while (typed[same] != '\0' && typed[same] == name[same])
		same++;
	while (end < typed_len - same && end < name_len - same &&
	    typed[typed_len - 1 - end] == name[name_len - 1 - end])
		end++;
	typed_len -= same + end;
	name_len -= same + end;
	return (typed_len <= 1 && name_len <= 1) || (typed_len == 2 && name_len == 2 &&
	    typed[same] == name[same + 1] && typed[same + 1] == name[same]);
}

/* The command that was meant by a word that is none, or NULL. */
static const char *
meant(const char *typed)
{
	for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
		if (strcmp(typed, habits[i].typed) == 0)
			return habits[i].meant;
	for (int i = 0; i < COMMANDS; i++)
		if (nearly(typed, commands[i]->name))
			return commands[i]->name;
	return NULL;
}

static int
no_command(const char *typed)
{
	const char *instead = meant(typed);

	fprintf(stderr, "nuage: there is no command '%s'", typed);
	if (instead != NULL)
		fprintf(stderr, "; did you mean 'nuage %s'?", instead);
	fputs("\nTry 'nuage --help'.\n", stderr);
	return CMD_USAGE;
}

static const struct cmd *
find_command(const char *name)
{
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(name, commands[i]->name) == 0)
			return commands[i];
	return NULL;
}

/* nuage help [COMMAND] */
static int
help_on(const char *name)
{
	const struct cmd *cmd = name != NULL ? find_command(name) : NULL;

	if (name == NULL)
		help(stdout);
	else if (cmd == NULL)
		return no_command(name);
	else
		printf("usage: nuage %s", cmd->usage);
	return CMD_OK;
}

int
main(int argc, char **argv)
{
	const struct cmd *cmd;

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
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help_on(NULL);
	if (strcmp(argv[1], "help") == 0)
		return help_on(argv[2]);
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "version") == 0) {
		puts(PACKAGE_STRING);
		return CMD_OK;
	}
	cmd = find_command(argv[1]);
	return cmd != NULL ? cmd->run(argc - 1, argv + 1) : no_command(argv[1]);
}
