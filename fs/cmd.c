/* cmd.c - see cmd.h. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/mounts.h"

enum { BUSY_MS = 10 * 1000, BUSY_STEP_MS = 200 };	/* how long a command is patient with a server that is busy */

int
cmd_option(const struct cmd *cmd, int argc, char **argv, const char *letters, const struct option *options)
{
	char *verb = argv[0], name[32];
	int c;

	snprintf(name, sizeof name, "nuage %s", cmd->name);
	argv[0] = name;		/* what getopt says begins with it; "mount:" would be mount(8) */
	c = getopt_long(argc, argv, letters, options, NULL);
	argv[0] = verb;
	if (c == 'h') {
		printf("usage: nuage %s", cmd->usage);
		exit(CMD_OK);
	}
	return c;
}

int
cmd_fail(const struct cmd *cmd, int code, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "nuage %s: ", cmd->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

int
cmd_usage(const struct cmd *cmd, const char *wrong)
{
	if (wrong != NULL)
		fprintf(stderr, "nuage %s: %s\n", cmd->name, wrong);
	fprintf(stderr, "Try 'nuage %s --help'.\n", cmd->name);
	return CMD_USAGE;
}

int
cmd_exit_of(int error)
{
	switch (-error) {
	case 0:
		return CMD_OK;
	case ENXIO: case ECONNREFUSED: case EHOSTUNREACH: case ENETUNREACH: case ETIMEDOUT:
	case ECONNRESET: case EPIPE: case ENOTCONN: case ENETDOWN: case EHOSTDOWN:
		return CMD_UNREACHABLE;
	case EACCES: case ENOKEY: case EKEYREJECTED: case EKEYEXPIRED: case ESTALE: case EPROTONOSUPPORT:
		return CMD_REFUSED;
	default:
		return CMD_FAILED;
	}
}

int
cmd_home(const struct cmd *cmd, struct home **ret)
{
	int r = home_open(ret);

	if (r == -EINVAL)
		return cmd_fail(cmd, CMD_FAILED, "NUAGE_HOME must be an absolute path");
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "no home: set HOME or NUAGE_HOME");
	return 0;
}

int
cmd_find(const struct cmd *cmd, struct home *home, const char *text, struct home_volume *volume,
    struct home_server *server)
{
	int r = home_volume_find(home, text, volume);

	if (r == -ENOENT)
		return cmd_fail(cmd, CMD_FAILED, "%s: this device knows no such volume; nuage volumes lists those it "
		    "knows, an invitation (nuage join) or nuage create makes more known", text);
	if (r == -EMLINK)
		return cmd_fail(cmd, CMD_FAILED, "%s: several servers have a volume of that name; say SERVER/%s", text, text);
	if (r == 0)
		r = home_server_load(home, volume->server, server);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "%s: its file in %s cannot be used: %s", text, home_config(home),
		    r == -EBADMSG ? "it is damaged" : strerror(-r));
	return 0;
}

int
cmd_connect(struct link **ret, const char *addresses, const uint8_t key[KEY_SIZE], const uint8_t *device,
    char *why, size_t size)
{
	struct link_target target = { .addresses = addresses, .device_secret = device };

	memcpy(target.server_key, key, KEY_SIZE);
	return link_open(ret, &target, why, size);
}

int
cmd_call(struct link *link, struct message *request, uint16_t expect, struct cmd_call *call)
{
	int r;

	/* On a full server what is being freed will be space soon. */
	for (unsigned ms = 0;; ms += BUSY_STEP_MS) {
		memset(call, 0, sizeof *call);
		r = link_call(link, request, expect, &call->answer, &call->arena, &call->frame, call->why, sizeof call->why);
		if (r != -EBUSY || ms >= BUSY_MS)
			return r;
		cmd_call_done(call);
		usleep(BUSY_STEP_MS * 1000);
	}
}

void
cmd_call_done(struct cmd_call *call)
{
	arena_free(&call->arena);
	buffer_put(call->frame);
	call->frame = NULL;
	sodium_memzero(&call->answer, sizeof call->answer);
}

static volatile sig_atomic_t caught;

static void
note_signal(int sig)
{
	caught = sig;
}

/*
 * A line from the terminal.  Signals are let in only while waiting, where none
 * can slip by between a look at `caught` and the sleep.
 */
static char *
read_quietly(char *to, size_t size)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	const struct sigaction note = { .sa_handler = note_signal };
	struct sigaction before[sizeof signals / sizeof *signals];
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	struct termios old, quiet;
	sigset_t set, open;
	char *line = NULL;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, &open);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &note, &before[i]);
	if (tcgetattr(STDIN_FILENO, &old) == 0) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
		if (ppoll(&input, 1, NULL, &open) > 0)
			line = fgets(to, (int)size, stdin);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &open, NULL);
	if (caught != 0)
		raise(caught);
	return line;
}

int
cmd_read_secret(const char *prompt, char *to, size_t size)
{
	char *line;

	if (isatty(STDIN_FILENO)) {
		fprintf(stderr, "%s", prompt);
		line = read_quietly(to, size);
	} else
		line = fgets(to, (int)size, stdin);
	if (line == NULL)
		return -ENODATA;
	to[strcspn(to, "\r\n")] = '\0';
	return to[0] != '\0' ? 0 : -ENODATA;
}

void
cmd_plain(FILE *to, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) {	/* of the second set, in UTF-8 */
			fputc('?', to);
			at++;
		} else
			fputc(*at < 0x20 || *at == 0x7f ? '?' : *at, to);
}

void
cmd_json(FILE *to, const char *text)
{
	fputc('"', to);
	for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\')
			fprintf(to, "\\%c", *at);
		else if (*at < 0x20)
			fprintf(to, "\\u%04x", *at);
		else
			fputc(*at, to);
	}
	fputc('"', to);
}

int
cmd_hear(const struct cmd *cmd, int fd, bool (*each)(void *context, const char *word, const char *rest),
    void *context)
{
	char line[CONTROL_LINE], *rest;

	while (control_hear(fd, line)) {
		rest = strchr(line, ' ');
		if (rest != NULL)
			*rest++ = '\0';
		else
			rest = line + strlen(line);
		if (strcmp(line, "ok") == 0)
			return CMD_OK;
		if (strcmp(line, "refused") == 0)
			return cmd_fail(cmd, CMD_REFUSED, "%s", rest);
		if (strcmp(line, "failed") == 0)
			return cmd_fail(cmd, CMD_FAILED, "%s", rest);
		if (strcmp(line, "unreachable") == 0)
			return cmd_fail(cmd, CMD_UNREACHABLE, "%s", rest);
		if (each != NULL && !each(context, line, rest))
			return CMD_FAILED;
	}
	return cmd_fail(cmd, CMD_FAILED, "the mount's process ended without an answer; see its log");
}

/* ---- mounted volumes ---- */

struct mount_search {
	const char	*path;		/* absolute, or NULL */
	const char	*source;	/* or this, */
	dev_t		 device;	/* best on this device */
	struct cmd_mounted *to;
};

static void
found(struct mount_search *search, const struct mounts_entry *e)
{
	snprintf(search->to->directory, sizeof search->to->directory, "%s", e->directory);
	snprintf(search->to->source, sizeof search->to->source, "%s", e->source);
}

/* The mount whose directory is the longest beginning of the path; the last wins, being on top. */
static void
compare_path(void *context, const struct mounts_entry *e)
{
	struct mount_search *search = context;
	size_t len = strlen(e->directory);

	if (strncmp(search->path, e->directory, len) == 0 && (search->path[len] == '\0' || search->path[len] == '/') &&
	    len >= strlen(search->to->directory))
		found(search, e);
}

/* Our own, or a live one of another home; what died in another home is not ours to find. */
static void
compare_source(void *context, const struct mounts_entry *e)
{
	struct mount_search *search = context;

	if (strcmp(e->source, search->source) == 0 && (e->device == search->device ||
	    (search->to->directory[0] == '\0' && !mounts_dead(e->directory))))
		found(search, e);
}

int
cmd_unserved(const struct cmd *cmd, const struct cmd_mounted *m)
{
	if (m->directory[0] == '\0')
		return cmd_fail(cmd, CMD_FAILED, "%s/%s is not mounted", m->volume.server, m->volume.name);
	if (mounts_dead(m->directory))
		return cmd_fail(cmd, CMD_FAILED, "%s: its process is gone; nuage umount %s clears it", m->directory,
		    m->directory);
	return cmd_fail(cmd, CMD_FAILED, "%s is a mount of another home: set NUAGE_HOME as it was when that was mounted, "
	    "or unmount it with fusermount3 -u", m->directory);
}

/* realpath() of the directory above, so that a dead mount itself is not touched. */
static bool
absolute(const char *text, char *to)
{
	char copy[PATH_MAX], *slash;
	size_t len = strlen(text);

	if (len == 0 || len >= sizeof copy)
		return false;
	strcpy(copy, text);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	if (strcmp(copy, ".") == 0 || strcmp(copy, "..") == 0 || strcmp(copy, "/") == 0)
		return realpath(copy, to) != NULL;
	slash = strrchr(copy, '/');
	if (slash == NULL) {
		if (realpath(".", to) == NULL)
			return false;
		slash = copy - 1;
	} else {
		*slash = '\0';
		if (realpath(slash == copy ? "/" : copy, to) == NULL)
			return false;
	}
	len = strlen(to);
	return snprintf(to + len, PATH_MAX - len, "%s%s", len > 1 ? "/" : "", slash + 1) < (int)(PATH_MAX - len);
}

/* Where the volume is mounted by this home, if it is; another home's mount of it has the same name. */
static void
ask_directory(struct cmd_mounted *m)
{
	char line[CONTROL_LINE];
	int fd = control_ask(m->socket, "status");

	if (fd < 0)
		return;
	while (control_hear(fd, line) && strcmp(line, "ok") != 0)
		if (strncmp(line, "directory ", strlen("directory ")) == 0)
			snprintf(m->directory, sizeof m->directory, "%.*s", (int)sizeof m->directory - 1,
			    line + strlen("directory "));
	close(fd);
}

int
cmd_find_mounted(const struct cmd *cmd, struct home *home, const char *text, struct cmd_mounted *to)
{
	char path[PATH_MAX], source[16 + 2 * HOME_NAME];
	struct mount_search search = { .path = path, .source = source, .to = to };
	bool by_path;
	int r;

	memset(to, 0, sizeof *to);
	if (absolute(text, path))
		mounts_each(compare_path, &search);
	by_path = to->directory[0] != '\0';
	if (by_path) {
		to->below = strcmp(path, to->directory) != 0;
		r = home_volume_find(home, to->source + strcspn(to->source, ":") + 1, &to->volume);
		if (r < 0)
			return cmd_fail(cmd, CMD_FAILED, "%s is a mount of %s, which this home (%s) does not know: "
			    "set NUAGE_HOME as it was when it was mounted", to->directory, to->source, home_config(home));
	} else {
		r = home_volume_find(home, text, &to->volume);
		if (r < 0)
			return cmd_fail(cmd, CMD_FAILED, "%s: no nuage volume is mounted there, and none has that name", text);
		snprintf(source, sizeof source, "nuage:%s/%s", to->volume.server, to->volume.name);
		search.device = home_mount(home, to->volume.id);
		mounts_each(compare_source, &search);
	}
	r = home_socket(home, to->volume.id, to->socket, sizeof to->socket);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "the runtime directory cannot be used: %s", strerror(-r));
	if (!by_path)
		ask_directory(to);
	return 0;
}

int
cmd_only_mounted(const struct cmd *cmd, int argc, char **argv, struct cmd_mounted *to)
{
	struct home *home;
	int r;

	if (argc - optind != 1)
		return cmd_usage(cmd, "say one directory or volume");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	r = cmd_find_mounted(cmd, home, argv[optind], to);
	home_close(home);
	return r;
}

int
cmd_ask(const struct cmd_mounted *m, const char *verb)
{
	char request[PATH_MAX + 48];

	snprintf(request, sizeof request, "%s%s%s", verb, m->directory[0] != '\0' ? " " : "", m->directory);
	return control_ask(m->socket, request);
}
