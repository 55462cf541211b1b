/*
 * cmd_mount.c - mount a volume.  Everything that a person can get wrong is
 * looked at first; then a child becomes the mount's process, and the parent
 * waits on a pipe to hear that the mount can be used, or why not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/log.h"
#include "fs/mounts.h"
#include "fs/serve.h"
#include "fs/ssh_ask.h"

enum { PATIENCE_MS = 3000 };	/* then a person is told why nothing happens */

struct mount_command {
	struct serve_options	 serve;
	bool			 foreground, nonempty;
	const char		*log;
	char			 directory[PATH_MAX];
	char			 source[16 + 2 * HOME_NAME];
};

/* A number with K, M or G behind it; false when it is none. */
static bool
parse_size(const char *text, size_t *to)
{
	unsigned long long n;
	unsigned shift = 0;
	char *end;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end != '\0' && end[1] == '\0')
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (errno != 0 || (*end != '\0' && shift == 0) || n > SIZE_MAX >> (shift + 1))
		return false;
	*to = (size_t)n << shift;
	return true;
}

/* Words of fstab(5) that are for anybody to use, with a value or without. */
static bool
is_comment(const char *name)
{
	return strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0 || strcmp(name, "comment") == 0;
}

/* What fstab(5) says to others, and what is so in any case. */
static bool
no_option_of_ours(const char *name)
{
	static const char *const names[] = {
		"async", "auto", "default_permissions", "defaults", "group", "mand", "noauto", "nofail", "nogroup",
		"nomand", "noowner", "nouser", "nousers", "owner", "relatime", "_netdev",
		"noatime", "nodiratime",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return is_comment(name);
}

/* Options of every file system.  Those that undo another stand last, as mount(8) has it. */
static bool
take_common(struct mount_options *o, const char *name)
{
	if (strcmp(name, "ro") == 0 || strcmp(name, "rw") == 0)
		o->read_only = name[1] == 'o';
	else if (strcmp(name, "suid") == 0 || strcmp(name, "nosuid") == 0)
		o->suid = name[0] == 's';
	else if (strcmp(name, "dev") == 0 || strcmp(name, "nodev") == 0)
		o->dev = name[0] == 'd';
	else if (strcmp(name, "exec") == 0 || strcmp(name, "noexec") == 0)
		o->noexec = name[0] == 'n';
	else if (strcmp(name, "user") == 0 || strcmp(name, "users") == 0) {
		o->suid = o->dev = false;
		o->noexec = true;
	} else
		return no_option_of_ours(name);
	return true;
}

/* One word of -o; NULL, or what is wrong with it. */
static const char *
take_option(struct mount_command *m, const char *name, const char *value)
{
	struct mount_options *o = &m->serve.mount;
	size_t n;

	if (strcmp(name, "commit") == 0) {
		if (!parse_size(value, &n) || n < 1 || n > 3600)
			return "commit= takes 1 to 3600 seconds";
		m->serve.engine.commit_ms = (uint32_t)n * 1000;
	} else if (strcmp(name, "cache") == 0) {
		if (!parse_size(value, &n) || n < 4 << 20)
			return "cache= takes a size of at least 4M";
		m->serve.engine.cache_max = n;
	} else if (strcmp(name, "diskcache") == 0) {
		if (!parse_size(value, &n) || (n != 0 && n < 4 << 20))
			return "diskcache= takes a size of at least 4M, or 0";
		m->serve.disk_default = false;
		m->serve.disk_max = n;
	} else if (strcmp(name, "ids") == 0) {
		if (value == NULL || (strcmp(value, "raw") != 0 && strcmp(value, "mine") != 0))
			return "ids= takes raw or mine";
		o->raw_ids = strcmp(value, "raw") == 0;
	} else if (strcmp(name, "locks") == 0) {
		if (value == NULL || strcmp(value, "local") != 0)
			return "locks= takes local";
		o->local_locks = true;
	} else if (value != NULL) {
		return is_comment(name) ? NULL : "no such option, or it takes no value";
	} else if (strcmp(name, "allow_other") == 0) {
		o->allow_other = true;
	} else if (strcmp(name, "nojournal") == 0) {
		m->serve.no_journal = true;
	} else if (strcmp(name, "offline") == 0 || strcmp(name, "nooffline") == 0) {
		m->serve.engine.offline = name[0] == 'o' ? OFFLINE_ALWAYS : OFFLINE_NEVER;
	} else if (strcmp(name, "nonempty") == 0) {
		m->nonempty = true;
	} else if (!take_common(o, name)) {
		return "no such option";
	}
	return NULL;
}

static int
take_options(const struct cmd *cmd, struct mount_command *m, char *list)
{
	const char *wrong;
	char *word, *value;

	while ((word = strsep(&list, ",")) != NULL) {
		if (*word == '\0')
			continue;
		value = strchr(word, '=');
		if (value != NULL)
			*value++ = '\0';
		wrong = take_option(m, word, value);
		if (wrong != NULL) {
			fprintf(stderr, "nuage %s: -o %s: %s\n", cmd->name, word, wrong);
			return cmd_usage(cmd, NULL);
		}
	}
	return 0;
}

/* ---- what can be wrong with the directory ---- */

static void
match_directory(void *context, const struct mounts_entry *e)
{
	struct mount_command *m = context;

	if (strcmp(e->directory, m->directory) == 0)
		snprintf(m->source, sizeof m->source, "%s", e->source);
}

static int
check_directory(const struct cmd *cmd, struct mount_command *m, const char *volume, const char *text)
{
	struct home_volume known;
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd, error;

	if (realpath(text, m->directory) == NULL) {
		error = errno;
		if (error == ENOENT && stat(volume, &st) == 0 && S_ISDIR(st.st_mode) &&
		    home_volume_find(m->serve.home, volume, &known) < 0)
			return cmd_usage(cmd, "the volume comes first, then the directory");
		return cmd_fail(cmd, CMD_FAILED, "%s: %s", text,
		    error == ENOENT ? "no such directory; make it first" : strerror(error));
	}
	m->source[0] = '\0';
	mounts_each(match_directory, m);
	/* A mount whose process died: there is nothing left in it to lose. */
	if (m->source[0] != '\0' && mounts_dead(m->directory) && mount_unmount(m->directory, true) == 0)
		m->source[0] = '\0';
	if (m->source[0] != '\0')
		return cmd_fail(cmd, CMD_FAILED, "%s: %s is mounted there already", text, m->source);
	if (stat(m->directory, &st) < 0 || !S_ISDIR(st.st_mode))
		return cmd_fail(cmd, CMD_FAILED, "%s: not a directory", text);
	d = opendir(m->directory);
	if (d == NULL)
		return cmd_fail(cmd, CMD_FAILED, "%s: %s", text, strerror(errno));
	while ((e = readdir(d)) != NULL && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0))
		continue;
	closedir(d);
	if (e != NULL && !m->nonempty)
		return cmd_fail(cmd, CMD_FAILED, "%s: the directory is not empty, and the mount would hide what is in it; "
		    "take an empty one, or add -o nonempty", text);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return cmd_fail(cmd, CMD_FAILED, "/dev/fuse: %s; %s", strerror(errno), errno == ENOENT ?
		    "load the kernel module: modprobe fuse" : "ask the administrator for the right to use it");
	close(fd);
	return 0;
}

/* ---- the process ---- */

struct report {
	const struct cmd	*cmd;
	int			 fd;		/* -1: in the foreground */
};

static void
ready(void *context, int code, const char *why)
{
	struct report *r = context;
	char line[640];
	int n;

	if (code == SERVE_WAITING) {
		if (r->fd >= 0)
			cmd_fail(r->cmd, 0, "%s", why);	/* in the foreground the log says it */
		return;
	}
	if (r->fd < 0) {
		if (code != CMD_OK)
			cmd_fail(r->cmd, code, "%s", why);
		return;
	}
	n = snprintf(line, sizeof line, "%c%s", code, why);
	if (write(r->fd, line, (size_t)n) < 0)
		log_error("nobody waits for the mount");
	close(r->fd);
	/* From now on there is no terminal to speak to. */
	n = open("/dev/null", O_RDWR);
	if (n >= 0) {
		dup2(n, STDIN_FILENO);
		dup2(n, STDOUT_FILENO);
		dup2(n, STDERR_FILENO);
		if (n > STDERR_FILENO)
			close(n);
	}
}

static int
run(const struct cmd *cmd, struct mount_command *m, int fd)
{
	struct report report = { cmd, fd };
	int r;

	if (chdir("/") < 0)
		return CMD_FAILED;
	r = log_open(m->log != NULL ? m->log : m->foreground ? NULL : "syslog", "nuage");
	if (r < 0) {
		char why[320];

		snprintf(why, sizeof why, "%.256s: %s", m->log, strerror(-r));
		ready(&report, CMD_FAILED, why);
		return CMD_FAILED;
	}
	return serve_run(&m->serve, ready, &report);
}

static int
run_in_background(const struct cmd *cmd, struct mount_command *m)
{
	char line[640];
	size_t len = 0;
	ssize_t n = 1;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cmd_fail(cmd, CMD_FAILED, "%s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return cmd_fail(cmd, CMD_FAILED, "no process can be started: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		setsid();
		ssh_ask_nobody();
		_exit(run(cmd, m, fds[1]));
	}
	close(fds[1]);
	if (poll(&(struct pollfd){ .fd = fds[0], .events = POLLIN }, 1, PATIENCE_MS) == 0)
		cmd_fail(cmd, 0, "waiting for the server; one that was started just now gives clients from before a minute "
		    "to come back");
	while (n > 0 && len < sizeof line - 1) {
		n = read(fds[0], line + len, sizeof line - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	close(fds[0]);
	line[len] = '\0';
	if (len == 0)
		return cmd_fail(cmd, CMD_FAILED, "the mount's process ended before it was ready; see its log");
	return line[0] == CMD_OK ? CMD_OK : cmd_fail(cmd, line[0], "%s", line + 1);
}

static int
mount_volume(int argc, char **argv)
{
	static const struct option options[] = {
		{ "foreground", no_argument, NULL, 'f' }, { "options", required_argument, NULL, 'o' },
		{ "log", required_argument, NULL, 'l' }, { "verbose", no_argument, NULL, 'v' },
		{ "create", no_argument, NULL, 'c' }, { "nuaged", required_argument, NULL, 'N' },
		{ "install-server", no_argument, NULL, 'I' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct mount_command m = { .serve.mount.raw_ids = geteuid() == 0, .serve.engine.offline = OFFLINE_ALONE,
	    .serve.disk_default = true };
	const struct cmd *cmd = &cmd_mount;
	struct cmd_ssh_options ssh = { 0 };
	char log[PATH_MAX];
	int c, r;

	while ((c = cmd_option(cmd, argc, argv, "fo:l:vcN:Ih", options)) != -1) {
		if (c == 'f')
			m.foreground = true;
		else if (c == 'l')
			m.log = optarg;
		else if (c == 'c')
			ssh.create = true;
		else if (c == 'N')
			ssh.nuaged = optarg;
		else if (c == 'I')
			ssh.install = true;
		else if (c == 'v')
			log_set_level(LOG_AT_DEBUG);
		else if (c != 'o')
			return cmd_usage(cmd, NULL);
		else if ((r = take_options(cmd, &m, optarg)) != 0)
			return r;
	}
	if (argc - optind != 2)
		return cmd_usage(cmd, "say a volume and a directory");
	if (m.serve.engine.offline == OFFLINE_ALWAYS && m.serve.no_journal && !m.serve.mount.read_only)
		return cmd_usage(cmd, "-o offline needs the journal");
	/* The process changes to /, where a relative name would be another file. */
	if (m.log != NULL && m.log[0] != '/' && strcmp(m.log, "syslog") != 0 && getcwd(log, sizeof log) != NULL) {
		size_t len = strlen(log);

		if (snprintf(log + len, sizeof log - len, "/%s", m.log) < (int)(sizeof log - len))
			m.log = log;
	}
	if ((r = cmd_home(cmd, &m.serve.home)) != 0)
		return r;
	if (!cmd_is_ssh(argv[optind]) && (ssh.create || ssh.nuaged != NULL)) {
		r = cmd_usage(cmd, "--create and --nuaged go with ssh://HOST/PATH");
		goto out;
	}
	/* A directory that cannot be mounted on must not leave a store behind. */
	if ((r = check_directory(cmd, &m, argv[optind], argv[optind + 1])) != 0)
		goto out;
	r = cmd_is_ssh(argv[optind]) ?
	    cmd_ssh_find(cmd, m.serve.home, argv[optind], &ssh, &m.serve.volume, &m.serve.server) :
	    cmd_find(cmd, m.serve.home, argv[optind], &m.serve.volume, &m.serve.server);
	if (r != 0 || (r = cmd_ssh_warm(cmd, m.serve.home, &m.serve.server, &ssh)) != 0)
		goto out;
	snprintf(m.source, sizeof m.source, "nuage:%s/%s", m.serve.volume.server, m.serve.volume.name);
	m.serve.mount.directory = m.directory;
	m.serve.mount.source = m.source;
	m.serve.mount.uid = geteuid();
	m.serve.mount.gid = getegid();
	if (m.foreground)
		_exit(run(cmd, &m, -1));	/* threads may be left after a forced end */
	r = run_in_background(cmd, &m);
out:
	home_close(m.serve.home);
	return r;
}

const struct cmd cmd_mount = {
	"mount", mount_volume, "mount a volume on a directory",
	"mount [-fv] [-o OPTION[,OPTION]...] [--log FILE] [SERVER/]VOLUME DIRECTORY\n"
	"       nuage mount [OPTION]... [--create] [--nuaged COMMAND | --install-server]\n"
	"                   ssh://[USER@]HOST[:PORT]/PATH[#VOLUME] DIRECTORY\n"
	"\n"
	"Returns when the volume can be used; a process of its own serves it.\n"
	"\n"
	"With ssh:// the login is enough: the store at PATH is joined, or made, and so is\n"
	"the volume ('drive' unless there is another).\n"
	"\n"
	"  -c, --create            make store and volume without asking\n"
	"  -N, --nuaged COMMAND    what to run there; default: nuaged, by its PATH\n"
	"  -I, --install-server    copy a nuaged there, to ~/.cache/nuage, if there is none\n"
	"  -f, --foreground        do not leave the terminal; log to it\n"
	"  -l, --log FILE          log there; default: the system's log\n"
	"  -v, --verbose           log more\n"
	"  -o, --options LIST      options of the mount, separated by commas:\n"
	"       ro                 nothing can be changed\n"
	"       noatime            nothing new: reading never changes access times\n"
	"       allow_other        other users may use the mount too\n"
	"       suid, dev, noexec  as for any file system; default: nosuid, nodev, exec\n"
	"       nonempty           the directory may hold files, which are hidden\n"
	"       ids=raw|mine       show owners as stored (default for root), or all as\n"
	"                          the mounting user's (default for others)\n"
	"       locks=local        file locks hold on this machine alone; default: they\n"
	"                          fail while another client has the volume mounted\n"
	"       commit=SECONDS     changes go to the server after that at the latest;\n"
	"                          default 2\n"
	"       offline            go on without the server, with what is cached: changes\n"
	"                          wait in the journal; default while no other client has\n"
	"                          the volume mounted\n"
	"       nooffline          wait for the server, always\n"
	"       nojournal          keep no journal: what a killed mount had not brought to\n"
	"                          the server is lost\n"
	"       cache=SIZE         memory for file contents, with K, M or G; default 64M\n"
	"       diskcache=SIZE     sealed file contents kept on this machine's disk; 0: none;\n"
	"                          default 2G, or a tenth of the free space if that is less\n"
	"  -h, --help              show this text\n"
};
