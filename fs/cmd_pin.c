/* cmd_pin.c - keep a subtree on this machine, or not any longer; list what is kept. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/control.h"

/* ---- listing ---- */

struct listing {
	struct home	*home;
	bool		 json;
	unsigned	 shown, mounts;
	const struct home_volume *volume;	/* at hand */
	char		 directory[PATH_MAX];
};

struct pin_line {
	char		 state[16];
	int		 error;
	uint64_t	 files, bytes, here, blocks, needs;
	const char	*path;
};

static bool
parse(struct pin_line *p, const char *rest)
{
	int at = 0;

	if (sscanf(rest, "%15s %d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %n", p->state, &p->error,
	    &p->files, &p->bytes, &p->here, &p->blocks, &p->needs, &at) < 7 || at == 0)
		return false;
	p->path = rest + at;
	return p->path[0] == '/';
}

static void
print_json(struct listing *l, const struct pin_line *p)
{
	char name[2 * HOME_NAME];

	snprintf(name, sizeof name, "%s/%s", l->volume->server, l->volume->name);
	fputs(l->shown > 0 ? ",\n  { \"volume\": " : "\n  { \"volume\": ", stdout);
	cmd_json(stdout, name);
	fputs(", \"directory\": ", stdout);
	cmd_json(stdout, l->directory);
	fputs(", \"path\": ", stdout);
	cmd_json(stdout, p->path);
	printf(", \"state\": \"%s\", \"files\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"blocks_here\": %" PRIu64
	    ", \"blocks\": %" PRIu64, p->state, p->files, p->bytes, p->here, p->blocks);
	if (p->error != 0) {
		fputs(", \"error\": ", stdout);
		cmd_json(stdout, strerror(p->error));
	}
	fputs(" }", stdout);
}

static void
print_text(const struct listing *l, const struct pin_line *p)
{
	printf("%s%s: ", l->directory, strcmp(p->path, "/") == 0 ? "" : p->path);
	if (strcmp(p->state, "complete") == 0)
		printf("complete");
	else if (strcmp(p->state, "fetching") == 0)
		printf("fetching, %" PRIu64 " of %" PRIu64 " blocks are here", p->here, p->blocks);
	else if (strcmp(p->state, "waiting") == 0)
		printf("waiting for the server, %" PRIu64 " of %" PRIu64 " blocks are here", p->here, p->blocks);
	else if (strcmp(p->state, "missing") == 0)
		printf("nothing is there now");
	else if (strcmp(p->state, "too-large") == 0)
		printf("does not fit any more; mount with a larger -o diskcache=");
	else if (strcmp(p->state, "failed") == 0)
		printf("%" PRIu64 " of %" PRIu64 " blocks are here: %s", p->here, p->blocks, strerror(p->error));
	else
		printf("being looked at");
	if (p->files > 0)
		printf("; %" PRIu64 " file%s, %.1f MiB", p->files, p->files == 1 ? "" : "s", (double)p->bytes / (1 << 20));
	putchar('\n');
}

static bool
show_pin(void *context, const char *word, const char *rest)
{
	struct listing *l = context;
	struct pin_line p;

	if (strcmp(word, "pin") != 0 || !parse(&p, rest))
		return true;
	if (l->json)
		print_json(l, &p);
	else
		print_text(l, &p);
	l->shown++;
	return true;
}

static bool
take_directory(void *context, const char *word, const char *rest)
{
	struct listing *l = context;

	if (strcmp(word, "directory") == 0)
		snprintf(l->directory, sizeof l->directory, "%s", rest);
	return true;
}

static int
show_volume(void *context, const struct home_volume *v)
{
	struct listing *l = context;
	char path[PATH_MAX];
	int fd;

	l->volume = v;
	l->directory[0] = '\0';
	if (home_socket(l->home, v->id, path, sizeof path) < 0 || (fd = control_ask(path, "status")) < 0)
		return 0;
	cmd_hear(&cmd_pin, fd, take_directory, l);
	close(fd);
	if (l->directory[0] == '\0' || (fd = control_ask(path, "pins")) < 0)
		return 0;
	cmd_hear(&cmd_pin, fd, show_pin, l);
	close(fd);
	l->mounts++;
	return 0;
}

static int
list(struct home *home, bool json)
{
	struct listing l = { .home = home, .json = json };

	if (json)
		fputs("[", stdout);
	home_each_volume(home, show_volume, &l);
	if (json)
		puts(l.shown > 0 ? "\n]" : "]");
	else if (l.shown == 0)
		fputs(l.mounts > 0 ? "Nothing is pinned.\n" : "Nothing is mounted.\n", stderr);
	return CMD_OK;
}

/* ---- pinning and unpinning ---- */

static bool
show_progress(void *context, const char *word, const char *rest)
{
	bool *shown = context;
	uint64_t here, blocks;

	if (strcmp(word, "progress") == 0 && isatty(STDERR_FILENO) &&
	    sscanf(rest, "%" SCNu64 " %" SCNu64, &here, &blocks) == 2 && blocks > 0) {
		fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " blocks are here ", here, blocks);
		*shown = true;
	}
	return true;
}

/* The path as the mount knows it, from its root; 0, or an exit code, said. */
static int
path_inside(const struct cmd *cmd, const char *text, const struct cmd_mounted *m, const char *whole, char *to, size_t size)
{
	size_t len = strlen(m->directory);

	if (strncmp(whole, m->directory, len) != 0 || (whole[len] != '/' && whole[len] != '\0'))
		return cmd_fail(cmd, CMD_FAILED, "%s: not on a nuage mount", text);
	if (snprintf(to, size, "%s", whole[len] == '\0' ? "/" : whole + len) >= (int)size)
		return cmd_fail(cmd, CMD_FAILED, "%s: %s", text, strerror(ENAMETOOLONG));
	return 0;
}

/* What cannot be looked up (any more) can still be unpinned, by the name that it was given. */
static bool
resolve(const struct cmd *cmd, const char *text, char whole[PATH_MAX])
{
	size_t len;

	if (realpath(text, whole) != NULL)
		return true;
	if (cmd != &cmd_unpin)
		return false;
	if (text[0] == '/')
		return snprintf(whole, PATH_MAX, "%s", text) < PATH_MAX;
	if (getcwd(whole, PATH_MAX) == NULL)
		return false;
	len = strlen(whole);
	return snprintf(whole + len, PATH_MAX - len, "/%s", text) < (int)(PATH_MAX - len);
}

static int
change(const struct cmd *cmd, struct home *home, const char *text)
{
	char whole[PATH_MAX], request[PATH_MAX + 16], path[PATH_MAX];
	struct cmd_mounted mounted;
	bool shown = false;
	int r, fd;

	if (!resolve(cmd, text, whole))
		return cmd_fail(cmd, CMD_FAILED, "%s: %s", text, strerror(errno));
	if ((r = cmd_find_mounted(cmd, home, whole, &mounted)) != 0)
		return r;
	if (mounted.directory[0] == '\0')
		return cmd_unserved(cmd, &mounted);
	if ((r = path_inside(cmd, text, &mounted, whole, path, sizeof path)) != 0)
		return r;
	if (strchr(path, '\n') != NULL)
		return cmd_fail(cmd, CMD_FAILED, "%s: a path with a line break cannot be pinned", text);
	snprintf(request, sizeof request, "%s %s", cmd->name, mounted.directory);
	if ((fd = control_ask(mounted.socket, request)) < 0 || !control_say(fd, "%s", path)) {
		if (fd >= 0)
			close(fd);
		return cmd_unserved(cmd, &mounted);
	}
	r = cmd_hear(cmd, fd, show_progress, &shown);
	close(fd);
	if (shown)
		fputc('\n', stderr);
	return r;
}

static int
run(const struct cmd *cmd, int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' }, { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	bool json = false, lists = false;
	struct home *home = NULL;
	int c, r, first = CMD_OK;

	while ((c = cmd_option(cmd, argc, argv, cmd == &cmd_pin ? "ljh" : "h", cmd == &cmd_pin ? options : options + 2)) != -1) {
		if (c != 'l' && c != 'j')
			return cmd_usage(cmd, NULL);
		json |= c == 'j';
		lists = true;
	}
	if (lists && optind < argc)
		return cmd_usage(cmd, "--list and --json take no path");
	if (cmd == &cmd_unpin && optind == argc)
		return cmd_usage(cmd, "say what");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	if (optind == argc)
		first = list(home, json);
	for (; optind < argc; optind++) {
		r = change(cmd, home, argv[optind]);
		first = first == CMD_OK ? r : first;
	}
	home_close(home);
	return first;
}

static int
pin(int argc, char **argv)
{
	return run(&cmd_pin, argc, argv);
}

static int
unpin(int argc, char **argv)
{
	return run(&cmd_unpin, argc, argv);
}

const struct cmd cmd_pin = {
	"pin", pin, "keep files and directories on this machine",
	"pin PATH...\n"
	"       nuage pin [--list] [--json]\n"
	"\n"
	"What stands at PATH in a mounted volume, and all below it, is kept on this\n"
	"machine's disk, sealed: also what is made or changed there later, and by later\n"
	"mounts. Returns when all is here; interrupted, it goes on in the background.\n"
	"Without PATH, lists what is pinned.\n"
	"\n"
	"  -l, --list   list what is pinned\n"
	"  -j, --json   the same, as an array of objects for programs\n"
	"  -h, --help   show this text\n"
};

const struct cmd cmd_unpin = {
	"unpin", unpin, "keep them no longer than others",
	"unpin PATH...\n"
	"\n"
	"What `nuage pin` was told of PATH is forgotten.\n"
	"\n"
	"  -h, --help   show this text\n"
};
