/*
 * guard.c - see guard.h.
 *
 * The mount's process has ended when its main thread has: neither a pidfd of
 * the process nor the end of a pipe would tell as long as another thread is
 * stuck in the kernel.  The parent-death signal does, on every kernel, for it
 * is of the thread that made the child, and that thread is the main one.
 *
 * A process that crashes comes to no end at all by itself: before it writes its
 * core it waits for all its threads.  So it sends that signal itself, first.
 *
 * The guard is this program once more, run anew: so it has none of the
 * mount's memory, in which are keys, and none of its descriptors; it has a
 * session of its own, so that no terminal's signal reaches it; and it blocks
 * all signals.  Its life:
 *
 *	idle		its standard input is a socket, from which it hears what
 *			to watch; the socket's end is its own
 *	watching	it holds the abort file and waits for the signal
 *	done		it has aborted, or was killed by guard_free()
 *
 * An abort file belongs to one connection for ever: once that is gone, writing
 * to it does nothing, whoever has its number since.
 */
#include "fs/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct guard {
	pid_t	pid;
	int	fd;		/* the guard's standard input is the other end */
};

/* ---- in the mount's process ---- */

static volatile sig_atomic_t watching;	/* a signal handler has no other way to know: the guard's pid, or 0 */

/* Queued: others of it cannot hide it. */
static int
sign_of_end(void)
{
	return SIGRTMIN;
}

/* The signal comes again when this returns, and then does what it does by default. */
static void
crash(int number)
{
	if (watching > 0)
		kill((pid_t)watching, sign_of_end());
	raise(number);
}

static void
tell_of_crashes(pid_t pid)
{
	static const int numbers[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS };
	struct sigaction ours = { .sa_handler = crash, .sa_flags = (int)SA_RESETHAND }, was;

	watching = (sig_atomic_t)pid;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (sigaction(numbers[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(numbers[i], &ours, NULL);	/* a sanitizer has its own */
}

static int
spawn(pid_t *ret, int input, const char *directory)
{
	char parent[24];
	char *argv[] = { GUARD_NAME, (char *)(uintptr_t)directory, parent, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all;
	int r;

	snprintf(parent, sizeof parent, "%ld", (long)getpid());
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	if ((r = posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO)) == 0 &&
	    (r = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) == 0 &&
	    (r = posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO)) == 0 &&
	    (r = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1)) == 0 &&
	    (r = posix_spawnattr_setsigmask(&attributes, &all)) == 0 &&
	    (r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK)) == 0)
		r = posix_spawn(ret, "/proc/self/exe", &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

int
guard_new(struct guard **ret, const char *directory)
{
	struct guard *g = calloc(1, sizeof *g);
	int fds[2], r;

	if (g == NULL)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		r = -errno;
		free(g);
		return r;
	}
	r = spawn(&g->pid, fds[1], directory);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		free(g);
		return r;
	}
	g->fd = fds[0];
	*ret = g;
	return 0;
}

int
guard_watch(struct guard *g, dev_t device)
{
	uint32_t connection = minor(device);	/* as the kernel names it */
	ssize_t n;
	int error;

	if (write(g->fd, &connection, sizeof connection) < 0)
		return -errno;
	do
		n = read(g->fd, &error, sizeof error);
	while (n < 0 && errno == EINTR);
	if (n == sizeof error && error == 0)
		tell_of_crashes(g->pid);
	return n < 0 ? -errno : n != sizeof error ? -ECHILD : -error;
}

void
guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	watching = 0;
	kill(g->pid, SIGKILL);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	close(g->fd);
	free(g);
}

/* ---- the guard ---- */

/* The directory of all connections; a mount of it that is nowhere, which only root gets. */
static int
connections(void)
{
	int context = fsopen("fusectl", FSOPEN_CLOEXEC), fd = -1;

	if (context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (context >= 0)
		close(context);
	return fd;
}

/* A descriptor or -errno. */
static int
open_abort(uint32_t connection)
{
	char path[64];
	int fd, error, directory;

	snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", (unsigned)connection);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	error = errno;
	directory = connections();		/* it is not mounted everywhere */
	if (directory < 0)
		return -error;
	snprintf(path, sizeof path, "%u/abort", (unsigned)connection);
	fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(directory);
	return fd;
}

/* Until the mount's main thread has ended, or it says that it will; what others may send is no sign of that. */
static void
wait_for_end(pid_t parent)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sign_of_end());
	do
		info.si_pid = 0;
	while (sigwaitinfo(&set, &info) < 0 || info.si_pid != parent);
}

int
guard_main(int argc, char **argv)
{
	pid_t parent = argc == 3 ? (pid_t)strtol(argv[2], NULL, 10) : 0;
	uint32_t connection;
	int fd, error;

	if (parent <= 0 || prctl(PR_SET_PDEATHSIG, sign_of_end()) < 0 || getppid() != parent || chdir("/") < 0)
		return EXIT_FAILURE;
	prctl(PR_SET_NAME, GUARD_NAME);
	for (;;) {
		if (read(STDIN_FILENO, &connection, sizeof connection) != sizeof connection)
			return EXIT_SUCCESS;	/* gone, and no mount to look after */
		fd = open_abort(connection);
		error = fd < 0 ? -fd : 0;
		if (write(STDIN_FILENO, &error, sizeof error) < 0)
			return EXIT_FAILURE;
		if (fd >= 0)
			break;
	}
	close(STDIN_FILENO);
	wait_for_end(parent);
	return write(fd, "1", 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
