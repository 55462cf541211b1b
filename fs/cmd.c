/* cmd.c - see cmd.h. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "fs/control.h"

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
	memset(call, 0, sizeof *call);
	return link_call(link, request, expect, &call->answer, &call->arena, &call->frame, call->why, sizeof call->why);
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

/* \040 and the like, as /proc/self/mountinfo writes them. */
static void
unescape(char *text)
{
	char *to = text;
	unsigned c;

	for (char *at = text; *at != '\0'; to++) {
		if (at[0] == '\\' && sscanf(at + 1, "%3o", &c) == 1 && strlen(at) >= 4) {
			*to = (char)c;
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

int
cmd_each_mount(void (*each)(void *context, const char *directory, const char *source), void *context)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *directory, *source, *tail, *save;
	size_t size = 0;

	if (f == NULL)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		tail = strstr(line, " - fuse.nuage ");
		if (tail == NULL)
			continue;
		*tail = '\0';
		source = strtok_r(tail + strlen(" - fuse.nuage "), " \n", &save);
		directory = strtok_r(line, " ", &save);
		for (int i = 0; directory != NULL && i < 4; i++)
			directory = strtok_r(NULL, " ", &save);
		if (directory == NULL || source == NULL)
			continue;
		unescape(directory);
		unescape(source);
		each(context, directory, source);
	}
	free(line);
	fclose(f);
	return 0;
}

static void
look_for(void *context, const char *directory, const char *source)
{
	const char **wanted = context;

	(void)source;
	if (*wanted != NULL && strcmp(directory, *wanted) == 0)
		*wanted = NULL;
}

bool
cmd_is_mounted(const char *directory)
{
	const char *wanted = directory;

	return cmd_each_mount(look_for, &wanted) < 0 || wanted == NULL;
}

struct mount_search {
	const char	*path;		/* absolute, or NULL */
	const char	*source;	/* or this */
	struct cmd_mounted *to;
};

/* The mount whose directory is the longest beginning of the path; the last wins, being on top. */
static void
compare_mount(void *context, const char *directory, const char *source)
{
	struct mount_search *search = context;
	size_t len = strlen(directory);

	if (search->path != NULL && (strncmp(search->path, directory, len) != 0 ||
	    (search->path[len] != '\0' && search->path[len] != '/') || len < strlen(search->to->directory)))
		return;
	if (search->path == NULL && strcmp(source, search->source) != 0)
		return;
	snprintf(search->to->directory, sizeof search->to->directory, "%s", directory);
	snprintf(search->to->source, sizeof search->to->source, "%s", source);
}

bool
cmd_mount_dead(const char *directory)
{
	int status = 0;
	pid_t pid, done = 0;

	/*
	 * A child, because a live mount may not answer for long, and nothing else
	 * can be given up.  Attributes the kernel may still remember.
	 */
	fflush(stdout);		/* or the child, as some runtimes have it, writes it too */
	pid = fork();
	if (pid == 0) {
		close_range(0, ~0U, 0);		/* or who reads our output waits for it */
		_exit(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == ENOTCONN);
	}
	for (int i = 0; pid > 0 && done == 0 && i < 30; i++) {
		done = waitpid(pid, &status, WNOHANG);
		if (done == 0)
			usleep(100 * 1000);
	}
	if (pid > 0 && done == 0) {
		kill(pid, SIGKILL);	/* it ends when the mount answers; init sees to it */
		return false;
	}
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int
cmd_unserved(const struct cmd *cmd, const struct cmd_mounted *m)
{
	if (m->directory[0] == '\0')
		return cmd_fail(cmd, CMD_FAILED, "%s/%s is not mounted", m->volume.server, m->volume.name);
	if (cmd_mount_dead(m->directory))
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
	bool by_path;
	int r;

	memset(to, 0, sizeof *to);
	if (absolute(text, path))
		cmd_each_mount(compare_mount, &(struct mount_search){ .path = path, .to = to });
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
		cmd_each_mount(compare_mount, &(struct mount_search){ .source = source, .to = to });
	}
	r = home_socket(home, to->volume.id, to->socket, sizeof to->socket);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "the runtime directory cannot be used: %s", strerror(-r));
	if (!by_path)
		ask_directory(to);
	return 0;
}
