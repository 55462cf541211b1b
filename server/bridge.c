/*
 * bridge.c - see bridge.h.
 *
 *	looking -> (starting -> looking)* -> joined -> over
 *
 * Two bridges that start at once may both start a nuaged; the store's lock
 * lets one live, the other ends, and both bridges find the socket of the one
 * that lives.  A socket that refuses is one whose nuaged is gone, or is
 * leaving: it is looked at again.  When a nuaged that we started has ended and
 * nobody holds the store, another is started, STARTS_MAX in all; then what the
 * last one said is the answer, at once.  While somebody holds it he is waited
 * for: he may have a log to recover from.
 *
 * A directory that is somebody else's is not entered: the nuaged that serves it
 * may have a door (door.h), and then all goes on by the sockets there.
 *
 * Joined: the main thread carries from the socket to stdout, a second one from
 * stdin to the socket; by splice() where stdin and stdout are pipes, as sshd's
 * are.  The end of stdin closes the socket's sending side, upon which nuaged
 * hangs up; the end of the socket ends the process.  No lock.
 */
#include "server/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/wrap.h"
#include "server/admin.h"
#include "server/door.h"
#include "server/home.h"
#include "server/listen.h"

enum {
	LOOK_MS		= 50,
	LOOKS_MAX	= 25 * 1000 / LOOK_MS,
	STARTS_MAX	= 3,
	ENROLL_S	= 600,			/* a token lives so long */
	CHUNK		= 256 * 1024,
	PIPE		= 256 * 1024,		/* of 64 MiB that all of a user's may hold */
	LOG_MAX		= 1 << 20,		/* a log larger than that is begun anew at a start */
	PATH_SIZE	= 4096,
	SAID_SIZE	= 160,
	FULL		= 4 << 20,
};

static const char marker[] = "\nnuage-bridge 1 ", enroll[] = "enroll\n";

static void
wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, -1);
}

static bool
write_all(int fd, const void *data, size_t len)
{
	const char *at = data;
	ssize_t n;

	for (; len > 0; at += n, len -= n) {
		n = write(fd, at, len);
		if (n < 0 && errno == EAGAIN)
			wait_for(fd, POLLOUT);
		else if (n < 0 && errno != EINTR)
			return false;
		if (n < 0)
			n = 0;
	}
	return true;
}

/* One of the last words: what it says, and the exit status. */
static int
refuse(const char *word, const char *text)
{
	char line[PATH_SIZE + SAID_SIZE + 256];
	int n = snprintf(line, sizeof line, "%s%s %s\n", marker, word, text);

	write_all(STDOUT_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
	return 1;
}

/* ---- the directory ---- */

/* "~/..." is below HOME: it comes from another machine, where no shell could expand it. */
static bool
expand(const char *path, char to[PATH_SIZE])
{
	const char *below = getenv("HOME");
	int n;

	if (strcmp(path, "~") == 0 || strncmp(path, "~/", 2) == 0)
		n = below == NULL ? PATH_SIZE : snprintf(to, PATH_SIZE, "%s%s", below, path + 1);
	else
		n = snprintf(to, PATH_SIZE, "%s", path);
	return n < PATH_SIZE;
}

/* The directories above it; what cannot be made is named by who opens it. */
static void
make_above(const char *path)
{
	char copy[PATH_SIZE];

	snprintf(copy, sizeof copy, "%s", path);
	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(copy, 0700);
		*slash = '/';
	}
}

static bool
is_store(const char *path)
{
	char key[PATH_SIZE + 16];

	snprintf(key, sizeof key, "%s/server.key", path);
	return access(key, F_OK) == 0 || errno != ENOENT;
}

/* ---- finding or starting nuaged ---- */

/* A negative errno, or where the next nuaged writes what it has to say; and how much is there, or -1. */
static int
open_log(const struct home *home, off_t *ret_size)
{
	struct stat st;
	int fd = openat(home->fd, "nuaged.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	*ret_size = -1;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || (st.st_size > LOG_MAX && ftruncate(fd, 0) == 0))
		st.st_size = 0;
	*ret_size = st.st_size;
	return fd;
}

/* A nuaged of its own session, holding nothing of ours: sshd waits for whoever holds the channel.  Or a negative errno. */
static pid_t
start(const struct settings *config, const struct home *home, off_t *ret_log_size)
{
	char idle[16], path[PATH_SIZE];
	char *argv[] = { "nuaged", "--data", path, "--listen", "none", "--idle", idle, NULL };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), log = open_log(home, ret_log_size);
	pid_t pid;

	snprintf(idle, sizeof idle, "%u", (unsigned)(config->idle_s != 0 ? config->idle_s : BRIDGE_IDLE_S));
	snprintf(path, sizeof path, "%s", home->path);
	pid = log < 0 ? log : null < 0 || (pid = fork()) < 0 ? -errno : pid;
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		setsid();
		dup2(null, STDIN_FILENO);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		close_range(STDERR_FILENO + 1, ~0U, 0);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (null >= 0)
		close(null);
	if (log >= 0)
		close(log);
	return pid;
}

static int
try_socket(const struct home *home)
{
	struct sockaddr_un to;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	listen_address_beside(home->fd, LISTEN_SOCKET, &to);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* Too full for a nuaged to start, or even to write into its log why it does not. */
static bool
is_full(const struct home *home)
{
	struct statvfs space;

	return fstatvfs(home->fd, &space) == 0 && (uint64_t)space.f_bavail * space.f_frsize < FULL;
}

/* A nuaged that we started. */
struct attempt {
	pid_t	pid;		/* -1: none runs */
	off_t	log_at;		/* how long the log was before; -1: there is none */
	int	status;		/* of the last that ended, as waitpid() has it */
};

/* What the last nuaged that did not start said of it, or how it ended. */
static void
last_words(const struct home *home, const struct attempt *last, char *to, size_t size)
{
	static const char own_name[] = "nuaged: ";
	int fd = openat(home->fd, "nuaged.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0, from = last->log_at;
	ssize_t n;
	char *line;

	if (end - from > (off_t)size - 1)
		from = end - ((off_t)size - 1);
	n = fd >= 0 && end > from ? pread(fd, to, end - from, from) : 0;
	if (fd >= 0)
		close(fd);
	to[n > 0 ? n : 0] = '\0';
	for (n = n > 0 ? n : 0; n > 0 && to[n - 1] == '\n'; n--)
		to[n - 1] = '\0';
	line = strrchr(to, '\n');
	line = line != NULL ? line + 1 : to;
	if (strncmp(line, own_name, strlen(own_name)) == 0)
		line += strlen(own_name);
	memmove(to, line, strlen(line) + 1);
	if (*to == '\0' && WIFSIGNALED(last->status))
		snprintf(to, size, "it was killed: %s", strsignal(WTERMSIG(last->status)));
	else if (*to == '\0')
		snprintf(to, size, "it ended with status %d", WEXITSTATUS(last->status));
}

/*
 * The socket of the nuaged that serves the directory; or a negative errno, and in
 * `said` why that of -ECHILD did not start.
 */
static int
find(const struct settings *config, const struct home *home, char *said, size_t size)
{
	struct attempt last = { .pid = -1 };
	unsigned starts = 0;
	int fd = -1;

	for (unsigned looks = 0; looks < LOOKS_MAX; looks++) {
		fd = try_socket(home);
		if (fd >= 0 || (fd != -ENOENT && fd != -ECONNREFUSED && fd != -EAGAIN))
			return fd;
		if (home->foreign)
			return -ENOENT;
		if (last.pid > 0 && waitpid(last.pid, &last.status, WNOHANG) != 0) {
			last.pid = -1;
			if (is_full(home))
				return -ENOSPC;
		}
		if (last.pid < 0 && !home_store_held(home)) {
			if (starts++ == STARTS_MAX) {
				last_words(home, &last, said, size);
				return -ECHILD;
			}
			if ((last.pid = start(config, home, &last.log_at)) < 0) {
				snprintf(said, size, "%s%s", last.log_at < 0 ? "its log cannot be written: " : "",
				    strerror(-last.pid));
				return -ECHILD;
			}
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000 * 1000 }, NULL);
	}
	return -ETIMEDOUT;
}

/* ---- joined ---- */

static bool
answer_enroll(const struct home *home)
{
	char line[PATH_SIZE], hex[SECRET_SIZE * 2 + 1], address[512] = "";
	uint8_t token[SECRET_SIZE], hash[KEY_SIZE];
	int r;

	randombytes_buf(token, sizeof token);
	wrap_token_hash(token, hash);
	r = admin_invite(home, hash, ENROLL_S, address, sizeof address);
	if (r == 0)
		snprintf(line, sizeof line, "token %s %s\n", sodium_bin2hex(hex, sizeof hex, token, sizeof token), address);
	else
		snprintf(line, sizeof line, "error %s\n", r == -EPROTO || r == -EIO ? address : r == -EACCES ?
		    "only the owner of the store may enrol devices" : strerror(-r));
	sodium_memzero(token, sizeof token);
	sodium_memzero(hex, sizeof hex);
	return write_all(STDOUT_FILENO, line, strlen(line));
}

/* The client's first bytes, behind an "enroll" that is answered here; their number, or -1. */
static ssize_t
first_bytes(const struct home *home, char *to, size_t size)
{
	const size_t word = sizeof enroll - 1;
	size_t len = 0;
	ssize_t n;

	for (;;) {
		n = read(STDIN_FILENO, to + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return len > 0 ? (ssize_t)len : -1;
		len += n;
		if (memcmp(to, enroll, len < word ? len : word) != 0)
			return len;
		if (len < word)
			continue;
		if (!answer_enroll(home))
			return -1;
		len -= word;
		memmove(to, to + word, len);
		if (len > 0)
			return len;
	}
}

struct joint {
	int	fd;
	char	*chunk;
	ssize_t	len;		/* of what is in it already */
};

/*
 * Moves the pages of a pipe, which nobody copies; false when the two are of a
 * kind that is only read and written.  The socket does not block: splice(),
 * which holds the pipe, would wait for it, so sshd for us, and with it the other
 * direction.
 */
static bool
move_all(int from, int to)
{
	ssize_t n;

	do {
		n = splice(from, NULL, to, NULL, PIPE, SPLICE_F_MOVE);
		if (n < 0 && errno == EAGAIN) {
			wait_for(from, POLLIN);
			wait_for(to, POLLOUT);
		}
	} while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	return n == 0 || errno != EINVAL;
}

/* Until the end of either. */
static void
carry(int from, int to, char *chunk)
{
	ssize_t n = -1;

	if (move_all(from, to))
		return;
	while (n != 0) {
		n = read(from, chunk, CHUNK);
		if (n < 0 && errno == EAGAIN)
			wait_for(from, POLLIN);
		else if (n < 0 ? errno != EINTR : !write_all(to, chunk, n))
			break;
	}
}

static void *
carry_in(void *argument)
{
	struct joint *j = argument;

	if (write_all(j->fd, j->chunk, j->len))
		carry(STDIN_FILENO, j->fd, j->chunk);
	shutdown(j->fd, SHUT_WR);
	return NULL;
}

static void
carry_out(int fd)
{
	char *chunk = malloc(CHUNK);

	if (chunk != NULL)
		carry(fd, STDOUT_FILENO, chunk);
	free(chunk);
}

static int
join(const struct home *home, int fd)
{
	char line[64 + KEY_SIZE * 2], hex[KEY_SIZE * 2 + 1];
	struct joint in = { fd, malloc(CHUNK), 0 };
	pthread_t thread;
	int n;

	/* Better, and no condition: stdin and stdout may be no pipes. */
	fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE);
	fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	n = snprintf(line, sizeof line, "%sok %s\n", marker,
	    sodium_bin2hex(hex, sizeof hex, home->public, KEY_SIZE));
	if (in.chunk == NULL || !write_all(STDOUT_FILENO, line, n) ||
	    (in.len = first_bytes(home, in.chunk, CHUNK)) < 0 ||
	    pthread_create(&thread, NULL, carry_in, &in) != 0) {
		free(in.chunk);
		return 1;
	}
	carry_out(fd);
	/* The other thread may be reading stdin for ever: the process ends it. */
	return 0;
}

/* Joins, and ends with that; or says why not. */
static int
join_or_refuse(const struct settings *config, struct home *home, const char *path)
{
	char why[PATH_SIZE + SAID_SIZE + 128], said[SAID_SIZE];
	int fd = find(config, home, said, sizeof said);

	if (fd >= 0)
		exit(join(home, fd));		/* a thread may still use `home` and the chunk */
	if (home->foreign)
		snprintf(why, sizeof why, "%s belongs to another user, and no nuaged runs there", path);
	else if (fd == -ENOSPC)
		snprintf(why, sizeof why, "no space left on the disk of %s", path);
	else if (fd == -EACCES)
		snprintf(why, sizeof why, "%s: only its owner may enter", path);
	else if (fd == -ETIMEDOUT)
		snprintf(why, sizeof why, "the nuaged that has %s does not get ready; its log there is nuaged.log", path);
	else
		snprintf(why, sizeof why, "nuaged does not start for %s: %s", path, fd == -ECHILD ? said : strerror(-fd));
	home_close(home);
	return refuse("error", why);
}

/* ---- the door ---- */

/* Another user's, or behind what we may not enter.  Root goes in all the same. */
static bool
is_foreign(const char *path)
{
	struct stat st;

	if (geteuid() == 0)
		return false;
	return stat(path, &st) == 0 ? st.st_uid != geteuid() : errno == EACCES;
}

static int
refuse_foreign(const char *path, const char *why)
{
	const struct passwd *user = getpwuid(geteuid());
	char text[2 * PATH_SIZE + SAID_SIZE + 512];	/* the reason names a path too */

	snprintf(text, sizeof text, "%s is not open to %s: %s", path, user != NULL ? user->pw_name : "this user", why);
	return refuse("error", text);
}

static void
trim(char *path)
{
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
}

/* Its socket in the door stands for that in the directory. */
static int
by_door(const struct settings *config, char *path)
{
	struct home door = { .fd = open(door_path(config), O_PATH | O_DIRECTORY | O_CLOEXEC), .foreign = true };
	char said[PATH_SIZE + 128], why[PATH_SIZE + 256];
	int r = door.fd < 0 ? -errno : admin_who(&door, door.public, said, sizeof said);

	trim(path);
	if (r == 0)
		trim(said);
	if (r == 0 && strcmp(said, path) == 0)
		return join_or_refuse(config, &door, path);
	if (r == 0)
		snprintf(why, sizeof why, "the nuaged of this machine serves %s", said);
	else if (r == -EPROTO || r == -EIO)
		snprintf(why, sizeof why, "%s", said);
	else if (r == -EACCES)
		snprintf(why, sizeof why, "nor is %s, where its nuaged would be", door_path(config));
	else
		snprintf(why, sizeof why, "it belongs to another user, whose nuaged does not run or admits nobody "
		    "(admit in nuaged.conf)");
	home_close(&door);
	return refuse_foreign(path, why);
}

int
bridge(const struct settings *config, bool create)
{
	char path[PATH_SIZE], why[PATH_SIZE + 64];
	struct home home;

	signal(SIGPIPE, SIG_IGN);
	if (!expand(config->data, path))
		return refuse("error", "the store's path is too long, or HOME is not set");
	if (is_foreign(path))
		return by_door(config, path);
	if (!create && !is_store(path))
		return refuse("absent", path);
	if (create)
		make_above(path);
	if (!home_open(&home, path, create && !is_store(path))) {
		snprintf(why, sizeof why, "%s cannot be used by this user", path);
		return refuse("error", why);
	}
	return join_or_refuse(config, &home, path);
}
