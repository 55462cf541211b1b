/*
 * ssh_ask.c - see ssh_ask.h.  This is the one room with state of its own,
 * because it speaks for the process: its terminal, and its person.
 *
 * Locks: `turn` is held by the thread that asks, from its first question to the
 * end of its attempt, over waits for the person and the network; below it
 * `lock`, for everything else, under which nothing is asked.
 */
#include "fs/ssh_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "fs/lock.h"

enum { WHAT_MAX = 512, DOUBTS_MAX = 3 };

struct kept {
	struct kept	*next;
	char		 what[WHAT_MAX], secret[SSH_SECRET];
	unsigned	 doubts;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool my_turn, quietly;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static struct kept *all;		/* each in locked memory */
static bool nobody;
static int while_fd = -1;
static struct ssh_asker asker;		/* asker.ask NULL: none */
static unsigned calling;		/* calls to it that are under way */

void
ssh_ask_nobody(void)
{
	LOCK_SCOPE(&lock);
	nobody = true;
}

void
ssh_ask_quietly(bool on)
{
	quietly = on;
}

void
ssh_ask_while(int fd)
{
	LOCK_SCOPE(&lock);
	while_fd = fd;
}

bool
ssh_ask_possible(void)
{
	LOCK_SCOPE(&lock);
	return !quietly && (!nobody || asker.ask != NULL);
}

/* Whom to ask instead of the terminal, for a call that end_call() ends; false: the terminal. */
static bool
begin_call(struct ssh_asker *to)
{
	LOCK_SCOPE(&lock);
	*to = asker;
	calling += nobody && to->ask != NULL;
	return nobody;
}

static void
end_call(void)
{
	LOCK_SCOPE(&lock);
	calling--;
	pthread_cond_broadcast(&called);
}

int
ssh_ask_through(const struct ssh_asker *to)
{
	LOCK_SCOPE(&lock);
	if (to != NULL && asker.ask != NULL)
		return -EBUSY;
	asker = to != NULL ? *to : (struct ssh_asker){ .ask = NULL };
	while (to == NULL && calling > 0)
		pthread_cond_wait(&called, &lock);
	return 0;
}

void
ssh_ask_done(int error, const char *why)
{
	struct ssh_asker a;

	if (!my_turn)
		return;
	if (begin_call(&a) && a.ask != NULL) {
		a.over(a.context, error, why);
		end_call();
	}
	my_turn = false;
	pthread_mutex_unlock(&turn);
}

/* A byte has come; not so when nobody waits for the answer any more. */
static bool
wait_key(int fd)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .events = POLLRDHUP } };

	{
		LOCK_SCOPE(&lock);
		p[1].fd = while_fd;
	}
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return p[1].revents == 0;
}

/* Byte by byte: an interrupt must find the terminal as it was. */
static int
read_terminal(int fd, const char *prompt, bool echo, char to[SSH_SECRET])
{
	struct termios old, quiet;
	size_t len = 0;
	char c = '\0';

	if (tcgetattr(fd, &old) < 0)
		return -ENODATA;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ICANON | ISIG | (echo ? 0 : ECHO));
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	tcsetattr(fd, TCSAFLUSH, &quiet);
	dprintf(fd, "%s", prompt);
	while (wait_key(fd) && read(fd, &c, 1) == 1 && c != '\n' && c != '\r' && c != 3 && c != 4)
		if (c == 0x7f || c == '\b')
			len -= len > 0;
		else if (len < SSH_SECRET - 1)
			to[len++] = c;
	to[len] = '\0';
	tcsetattr(fd, TCSAFLUSH, &old);
	dprintf(fd, "\n");
	if (c == 3)
		raise(SIGINT);
	return c == '\n' || c == '\r' ? 0 : -ENODATA;
}

/* One line of the helper's output; a refusal is its non-zero status. */
static int
read_askpass(const char *program, const char *prompt, char to[SSH_SECRET])
{
	int fds[2], status = 0;
	size_t len = 0;
	ssize_t n = 1;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execlp(program, program, prompt, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while (pid > 0 && n > 0 && len < SSH_SECRET - 1) {
		n = read(fds[0], to + len, SSH_SECRET - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	close(fds[0]);
	to[len] = '\0';
	to[strcspn(to, "\r\n")] = '\0';
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -ENODATA;
}

static int
ask_terminal(const char *prompt, bool echo, char to[SSH_SECRET])
{
	const char *program = getenv("SSH_ASKPASS"), *require = getenv("SSH_ASKPASS_REQUIRE");
	bool helper = program != NULL && *program != '\0', force = false, prefer = false;
	int fd, r;

	if (require != NULL) {
		helper = helper && strcmp(require, "never") != 0;
		force = strcmp(require, "force") == 0;
		prefer = strcmp(require, "prefer") == 0;
	}
	if (helper && (force || (prefer && getenv("DISPLAY") != NULL)))
		return read_askpass(program, prompt, to);
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return helper && getenv("DISPLAY") != NULL ? read_askpass(program, prompt, to) : -ENODATA;
	r = read_terminal(fd, prompt, echo, to);
	close(fd);
	return r;
}

void
ssh_ask_turn(void)
{
	if (quietly)
		return;
	if (!my_turn)
		pthread_mutex_lock(&turn);
	my_turn = true;
}

static int
ask(const char *what, const char *prompt, bool echo, char to[SSH_SECRET])
{
	char meanwhile[SSH_SECRET];
	struct ssh_asker a;
	int r;

	if (quietly)
		return -ENODATA;
	if (!my_turn) {
		ssh_ask_turn();
		if (what != NULL && ssh_kept(what, meanwhile) && strcmp(meanwhile, to) != 0) {
			strcpy(to, meanwhile);
			sodium_memzero(meanwhile, sizeof meanwhile);
			return 0;
		}
	}
	if (!begin_call(&a))
		return ask_terminal(prompt, echo, to);
	if (a.ask == NULL)
		return -ENODATA;
	r = a.ask(a.context, prompt, echo, to);
	end_call();
	return r;
}

int
ssh_ask_secret(const char *what, const char *prompt, char to[SSH_SECRET])
{
	return ask(what, prompt, false, to);
}

int
ssh_ask_line(const char *prompt, char to[SSH_SECRET])
{
	return ask(NULL, prompt, true, to);
}

int
ssh_ask_yes(const char *prompt, bool *ret_yes)
{
	char answer[SSH_SECRET];
	int r = ask(NULL, prompt, true, answer);

	if (r == 0)
		*ret_yes = strcmp(answer, "yes") == 0;
	return r;
}

/* ---- what was good ---- */

static struct kept **
find(const char *what)
{
	struct kept **at = &all;

	while (*at != NULL && strncmp((*at)->what, what, WHAT_MAX - 1) != 0)
		at = &(*at)->next;
	return at;
}

void
ssh_keep(const char *what, const char *secret)
{
	struct kept *k;

	ssh_forget(what);
	k = sodium_malloc(sizeof *k);
	if (k == NULL)
		return;		/* it will be asked again */
	snprintf(k->what, sizeof k->what, "%s", what);
	snprintf(k->secret, sizeof k->secret, "%s", secret);
	k->doubts = 0;
	LOCK_SCOPE(&lock);
	k->next = all;
	all = k;
}

bool
ssh_kept(const char *what, char to[SSH_SECRET])
{
	LOCK_SCOPE(&lock);
	struct kept *k = *find(what);

	if (k != NULL)
		memcpy(to, k->secret, SSH_SECRET);
	return k != NULL;
}

void
ssh_forget(const char *what)
{
	struct kept *k;

	{
		LOCK_SCOPE(&lock);
		struct kept **at = find(what);

		k = *at;
		if (k != NULL)
			*at = k->next;
	}
	sodium_free(k);
}

void
ssh_doubt(const char *what)
{
	bool enough;

	{
		LOCK_SCOPE(&lock);
		struct kept *k = *find(what);

		enough = k != NULL && ++k->doubts >= DOUBTS_MAX;
	}
	if (enough)
		ssh_forget(what);
}
