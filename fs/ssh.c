/*
 * ssh.c - see ssh.h.
 *
 *	resolved -> connected -> keys exchanged -> host known -> logged in -> bridge speaks -> pumping
 *
 * All but the last in the caller's thread, each wait of it with a deadline and
 * called off by cancel_fd; then the session is the pump's (ssh_pump.c) until
 * the stream's end has joined that.  No lock.
 */
#include "config.h"
#include "fs/ssh.h"

#include <errno.h>
#include <stdio.h>

#ifdef HAVE_LIBSSH2

#include <ctype.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/link.h"
#include "fs/log.h"
#include "fs/resolve.h"
#include "fs/ssh_ask.h"
#include "fs/ssh_cipher.h"
#include "fs/ssh_install.h"
#include "fs/ssh_session.h"

enum {
	OPEN_MS		= 20 * 1000,		/* all of it, questions aside */
	BRIDGE_MS	= 30 * 1000,		/* for a nuaged to start and recover */
	WINDOW		= 2 * 1024 * 1024,	/* as OpenSSH's own; sshd's buffer grows to it by small steps, copied at each */
	NOISE_MAX	= 64 * 1024,		/* of a login shell, before the marker */
	LAST_WORDS	= 160,
	CLEAR_MS	= 2000,
	CLEAR_STEP_MS	= 50,
	PROXY_END_MS	= 1000,
	PROXY_LOOK_MS	= 10,
	FREE_TRIES	= 1000,
	TRIES		= 3,
	REST_MS		= 1000,
};

static const char marker[] = "\nnuage-bridge 1 ";

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
start_library(void)
{
	libssh2_init(0);
}

int
ssh_wait(struct ssh *s)
{
	int directions = libssh2_session_block_directions(s->session);
	short events = (short)((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0 ? POLLOUT : 0);

	if (events == 0 || (directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0)
		events |= POLLIN;
	return resolve_wait(s->fd, events, s->deadline_ms, s->cancel_fd);
}

void
ssh_more_time(struct ssh *s)
{
	s->deadline_ms = clock_ms(CLOCK_MONOTONIC) + OPEN_MS;
}

static const char *
last_error(struct ssh *s)
{
	char *text = NULL;

	libssh2_session_last_error(s->session, &text, NULL, 0);
	return text != NULL ? text : "";
}

/* ---- the byte stream ---- */

static int
connect_host(struct ssh *s, char *why, size_t size)
{
	const struct ssh_config *c = &s->config;
	struct addrinfo *list = NULL;
	char port[12];
	int r;

	snprintf(port, sizeof port, "%u", c->port);
	r = resolve(c->host, port, s->cancel_fd, &list);
	if (r == 0)
		r = -ENXIO;
	for (struct addrinfo *a = list; a != NULL && r != 0 && r != -ECANCELED; a = a->ai_next)
		r = link_connect(a->ai_addr, a->ai_addrlen, c->connect_s != 0 ? (int)c->connect_s * 1000 :
		    LINK_CONNECT_MS, s->cancel_fd, &s->fd);
	if (list != NULL)
		freeaddrinfo(list);
	if (r == 0)
		link_tune(s->fd, true);
	else
		snprintf(why, size, "%s port %u: %s", c->host, c->port, r == -ENXIO ? "no such host" :
		    r == -ECONNREFUSED ? "connection refused: no SSH server listens there" : strerror(-r));
	return r;
}

/* A process that reaches the SSH server for us. */
static int
spawn_proxy(struct ssh *s, char *const argv[], const char *command)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s->proxy = fork();
	if (s->proxy == 0) {
		sigset_t none;

		sigemptyset(&none);
		pthread_sigmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		dup2(fds[1], STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		if (command != NULL)
			execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		else
			execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	if (s->proxy < 0) {
		close(fds[0]);
		s->proxy = 0;
		return -EAGAIN;
	}
	s->fd = fds[0];
	return 0;
}

static int
connect_proxy(struct ssh *s, char *why, size_t size)
{
	const struct ssh_config *c = &s->config;
	char expanded[SSH_PROXY], command[SSH_PROXY + 8], to[SSH_HOST + 16], jumps[SSH_PROXY], *last;
	const char *file = getenv("NUAGE_SSH_CONFIG");
	char *argv[10];
	int argc = 0, r;

	if (c->fdpass) {
		snprintf(why, size, "%s: ProxyUseFdpass is nothing that nuage does", c->host);
		return -EPROTONOSUPPORT;
	}
	if (c->proxy_command[0] != '\0') {
		r = ssh_config_expand(c, &s->place, c->proxy_command, expanded, sizeof expanded);
		if (r < 0) {
			snprintf(why, size, "ProxyCommand %.120s: a %%-word in it is not understood here", c->proxy_command);
			return r;
		}
		snprintf(command, sizeof command, "exec %s", expanded);
		r = spawn_proxy(s, NULL, command);
	} else {
		snprintf(to, sizeof to, strchr(c->host, ':') != NULL ? "[%s]:%u" : "%s:%u", c->host, c->port);
		snprintf(jumps, sizeof jumps, "%s", c->proxy_jump);
		last = strrchr(jumps, ',');
		argv[argc++] = "ssh";
		if (file != NULL && *file != '\0') {
			argv[argc++] = "-F";
			argv[argc++] = (char *)(uintptr_t)file;
		}
		if (last != NULL) {
			*last = '\0';
			argv[argc++] = "-J";
			argv[argc++] = jumps;
		}
		argv[argc++] = "-W";
		argv[argc++] = to;
		argv[argc++] = "--";
		argv[argc++] = last != NULL ? last + 1 : jumps;
		argv[argc] = NULL;
		r = spawn_proxy(s, argv, NULL);
	}
	if (r < 0)
		snprintf(why, size, "the proxy cannot be started: %s", strerror(-r));
	return r;
}

/* ---- the session ---- */

static int
begin_session(struct ssh *s, char *why, size_t size)
{
	int r, wait = 0;

	pthread_once(&once, start_library);
	s->session = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
	if (s->session == NULL) {
		snprintf(why, size, "out of memory");
		return -ENOMEM;
	}
	libssh2_session_set_blocking(s->session, 0);
	if ((r = ssh_host_prefer(s, why, size)) < 0)
		return r;
	SSH_DRIVE(r, wait, s, libssh2_session_handshake(s->session, s->fd));
	if (r == 0)
		return ssh_host_check(s, why, size);
	if (wait == -ECANCELED)
		return wait;
	if (r == LIBSSH2_ERROR_KEX_FAILURE || r == LIBSSH2_ERROR_METHOD_NONE) {
		snprintf(why, size, "%s: it has no algorithms in common with libssh2 " LIBSSH2_VERSION " and the configuration of "
		    "SSH (%s)%s", s->config.host, last_error(s), LIBSSH2_VERSION_NUM < 0x010b00 ?
		    "; a host whose only key is RSA needs an ed25519 or ecdsa key too" : "");
		return -EPROTONOSUPPORT;
	}
	snprintf(why, size, "%s port %u: no SSH connection: %s", s->config.host, s->config.port,
	    wait == -ETIMEDOUT ? "no answer" : last_error(s));
	return wait < 0 ? wait : -ECONNRESET;
}

static int
lost(struct ssh *s, int wait, const char *what, char *why, size_t size)
{
	if (wait != -ECANCELED)
		snprintf(why, size, "%s: %s: %s", s->config.host, what, wait == -ETIMEDOUT ? "no answer" : last_error(s));
	return wait < 0 ? wait : -ECONNRESET;
}

/*
 * A server that allows one channel only (MaxSessions 1) may not yet have cleared
 * away the last one, though both sides have closed it.
 */
int
ssh_exec(struct ssh *s, const char *command, char *why, size_t size)
{
	uint64_t until = clock_ms(CLOCK_MONOTONIC) + (s->had_channel ? CLEAR_MS : 0);
	int wait = 0, r;

	do {
		s->channel = libssh2_channel_open_ex(s->session, "session", strlen("session"), WINDOW,
		    LIBSSH2_CHANNEL_PACKET_DEFAULT, NULL, 0);
		r = s->channel != NULL ? 0 : libssh2_session_last_errno(s->session);
		if (r == LIBSSH2_ERROR_CHANNEL_FAILURE && clock_ms(CLOCK_MONOTONIC) < until) {
			wait = resolve_wait(-1, 0, clock_ms(CLOCK_MONOTONIC) + CLEAR_STEP_MS, s->cancel_fd);
			wait = wait == -ETIMEDOUT ? 0 : wait;
		} else if (r != 0) {
			wait = r == LIBSSH2_ERROR_EAGAIN ? ssh_wait(s) : -ECONNRESET;
		}
	} while (s->channel == NULL && wait == 0);
	if (s->channel == NULL)
		return lost(s, wait, "the SSH server opens no session", why, size);
	s->had_channel = true;
	SSH_DRIVE(r, wait, s, libssh2_channel_process_startup(s->channel, "exec", strlen("exec"), command,
	    (unsigned)strlen(command)));
	return r == 0 ? 0 : lost(s, wait, "the SSH server starts no command", why, size);
}

static int
start_bridge(struct ssh *s, bool create, char *why, size_t size)
{
	char command[SSH_COMMAND];
	int r = (s->restricted ? ssh_place_plain : ssh_place_command)(&s->place, create, command);

	if (r == 0)
		return ssh_exec(s, command, why, size);
	snprintf(why, size, "the path is too long");
	return r;
}

/* ---- what the bridge says ---- */

static void
clean(char *text)
{
	for (; *text != '\0'; text++)
		if (!isprint((unsigned char)*text))
			*text = '?';
}

struct talk {
	char	text[NOISE_MAX + 1];
	size_t	len;
	char	last[LAST_WORDS];	/* of stderr */
	size_t	last_len;
};

static void
hear_errors(struct ssh *s, struct talk *t)
{
	char text[1024];
	ssize_t n;

	while ((n = libssh2_channel_read_ex(s->channel, SSH_EXTENDED_DATA_STDERR, text, sizeof text)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] != '\n' && t->last_len > 0 && t->last[t->last_len - 1] == '\n')
				t->last_len = 0;
			if (t->last_len < sizeof t->last - 1)
				t->last[t->last_len++] = (char)(text[i] == '\n' || isprint((unsigned char)text[i]) ? text[i] : '?');
		}
	t->last[t->last_len] = '\0';
}

/* What a bridge that ends says on stderr may come behind what it says on stdout. */
static void
hear_rest(struct ssh *s, struct talk *t)
{
	char waste[512];

	s->deadline_ms = clock_ms(CLOCK_MONOTONIC) + REST_MS;
	do {
		hear_errors(s, t);
		while (libssh2_channel_read_ex(s->channel, 0, waste, sizeof waste) > 0)
			continue;
	} while (!libssh2_channel_eof(s->channel) && ssh_wait(s) == 0);
}

/* Some shells say on stdout why they are none. */
static void
take_last_line(struct talk *t)
{
	char *line;

	while (t->len > 0 && strchr("\r\n", t->text[t->len - 1]) != NULL)
		t->text[--t->len] = '\0';
	line = strrchr(t->text, '\n');
	snprintf(t->last, sizeof t->last, "%.*s", LAST_WORDS - 1, line != NULL ? line + 1 : t->text);
	clean(t->last);
}

static int
explain_end(struct ssh *s, struct talk *t, struct ssh_answer *a, char *why, size_t size)
{
	bool named = s->place.nuaged[0] != '\0';
	const char *said = t->last, *shell;
	int wait = 0, r, status;

	SSH_DRIVE(r, wait, s, libssh2_channel_close(s->channel));
	hear_errors(s, t);
	t->last[strcspn(t->last, "\n")] = '\0';
	if (t->last[0] == '\0')
		take_last_line(t);
	s->restricted = strstr(t->last, "restricted") != NULL;
	status = libssh2_channel_get_exit_status(s->channel);
	a->lacking = status == 127 && !named;
	if (a->lacking) {
		snprintf(why, size, "%s: there is no nuaged on its PATH; install nuage there, say where it is with --nuaged "
		    "COMMAND, or have it copied by nuage mount --install-server", s->config.host);
	} else if (status == 127 || status == 126) {
		/* The shell that could not calls itself what our script is called. */
		if ((shell = strstr(said, "exec: ")) != NULL)
			said = shell + strlen("exec: ");
		snprintf(why, size, "%s: %s cannot be run there%s%s", s->config.host, named ? s->place.nuaged : "its nuaged",
		    *said != '\0' ? ": " : "", said);
	} else {
		snprintf(why, size, "%s: `nuaged bridge` did not start there (status %d)%s%s", s->config.host, status,
		    *said != '\0' ? ": " : "", said);
	}
	return -ENOEXEC;
}

/* Until `begin` was said, and a newline after it; the line behind it, in place. */
static int
hear_line(struct ssh *s, struct talk *t, const char *begin, struct ssh_answer *a, char **ret_line, char *why,
    size_t size)
{
	int wait;

	for (;;) {
		char *line = strstr(t->text, begin), *end = line != NULL ? strchr(line + strlen(begin), '\n') : NULL;
		ssize_t n;

		if (end != NULL) {
			*end = '\0';
			*ret_line = line + strlen(begin);
			return 0;
		}
		/* Noise without an end: only its last bytes may begin the marker. */
		if (t->len == NOISE_MAX && line == NULL) {
			memmove(t->text, t->text + NOISE_MAX - sizeof marker, sizeof marker);
			t->len = sizeof marker;
			t->text[t->len] = '\0';
		} else if (t->len == NOISE_MAX)
			goto noise;
		n = libssh2_channel_read_ex(s->channel, 0, t->text + t->len, NOISE_MAX - t->len);
		if (n > 0) {
			for (ssize_t i = 0; i < n; i++)
				if (t->text[t->len + (size_t)i] == '\0')
					t->text[t->len + (size_t)i] = '?';
			t->len += (size_t)n;
			t->text[t->len] = '\0';
			continue;
		}
		hear_errors(s, t);
		if (n == 0 && libssh2_channel_eof(s->channel))
			return explain_end(s, t, a, why, size);
		if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
			return lost(s, 0, "the connection broke", why, size);
		if ((wait = ssh_wait(s)) < 0)
			return lost(s, wait, "waiting for nuaged", why, size);
	}
noise:
	snprintf(why, size, "%s: what came is not the answer of a nuaged, but what a login shell says", s->config.host);
	return -EBADMSG;
}

static bool
take_hex(const char *text, uint8_t *to, size_t len)
{
	size_t n;

	return strlen(text) >= 2 * len && sodium_hex2bin(to, len, text, 2 * len, NULL, &n, NULL) == 0 && n == len;
}

static int
ask_token(struct ssh *s, struct talk *t, struct ssh_answer *a, char *why, size_t size)
{
	static const char enroll[] = "enroll\n";
	int wait = 0;
	char *line;
	ssize_t n;
	int r;

	SSH_DRIVE(n, wait, s, libssh2_channel_write_ex(s->channel, 0, enroll, sizeof enroll - 1));
	if (n != sizeof enroll - 1)
		return lost(s, wait, "the connection broke", why, size);
	t->len = 0;
	t->text[0] = '\0';
	if ((r = hear_line(s, t, "", a, &line, why, size)) < 0)
		return r;
	clean(line);
	if (strncmp(line, "token ", 6) != 0 || !take_hex(line + 6, a->token, SECRET_SIZE)) {
		snprintf(why, size, "%s does not let this device in: %.200s", s->config.host, strncmp(line, "error ", 6) == 0 ?
		    line + 6 : line);
		return -EACCES;
	}
	line += 6 + 2 * SECRET_SIZE;
	snprintf(a->address, sizeof a->address, "%s", *line == ' ' ? line + 1 : "");
	return 0;
}

static int
hear_bridge(struct ssh *s, struct ssh_answer *a, char *why, size_t size)
{
	struct talk *t = calloc(1, sizeof *t);
	char *line;
	int r;

	if (t == NULL) {
		snprintf(why, size, "out of memory");
		return -ENOMEM;
	}
	s->deadline_ms = clock_ms(CLOCK_MONOTONIC) + BRIDGE_MS;
	r = hear_line(s, t, marker, a, &line, why, size);
	if (r < 0)
		goto out;
	clean(line);
	if (strncmp(line, "absent ", 7) == 0) {
		a->absent = true;
		snprintf(why, size, "%s: there is no store at %.200s; nuage mount makes one, with --create or after a question",
		    s->config.host, line + 7);
		r = -ENOENT;
	} else if (strncmp(line, "ok ", 3) != 0 || !take_hex(line + 3, a->server_key, KEY_SIZE)) {
		bool more;

		/* On stderr it may have said more; but so does whoever started it. */
		hear_rest(s, t);
		t->last[strcspn(t->last, "\n")] = '\0';
		more = strncmp(t->last, "nuaged: ", 8) == 0;
		snprintf(why, size, "%s: %.400s%s%.150s", s->config.host, strncmp(line, "error ", 6) == 0 ? line + 6 : line,
		    more ? ": " : "", more ? t->last + 8 : "");
		r = -EIO;
	} else if (a->enroll) {
		r = ask_token(s, t, a, why, size);
	}
out:
	if (t != NULL)
		sodium_memzero(t, sizeof *t);
	free(t);
	return r;
}

/* ---- all of it ---- */

/* A restricted shell runs nothing but what its PATH has: nuaged, perhaps. */
static int
start_plainly(struct ssh *s, struct ssh_answer *a, char *why, size_t size)
{
	int wait = 0, r;

	ssh_more_time(s);
	SSH_DRIVE(r, wait, s, libssh2_channel_free(s->channel));
	if (wait < 0)
		return lost(s, wait, "the SSH server closes no channel", why, size);
	s->channel = NULL;
	if ((r = start_bridge(s, a->create, why, size)) < 0)
		return r;
	return hear_bridge(s, a, why, size);
}

static int
open_session(struct ssh *s, struct ssh_answer *a, char *why, size_t size)
{
	bool proxied;
	int r;

	if ((r = ssh_config_load(&s->config, &s->place, s->cancel_fd, why, size)) < 0)
		return r;
	proxied = s->config.proxy_command[0] != '\0' || s->config.proxy_jump[0] != '\0';
	if ((r = proxied ? connect_proxy(s, why, size) : connect_host(s, why, size)) < 0)
		return r;
	snprintf(a->host, sizeof a->host, "%s", proxied ? "" : s->config.host);
	s->deadline_ms = clock_ms(CLOCK_MONOTONIC) + (s->config.connect_s != 0 ? s->config.connect_s * UINT64_C(1000) : OPEN_MS);
	if ((r = begin_session(s, why, size)) < 0)
		return r;
	ssh_more_time(s);
	if ((r = ssh_auth(s, why, size)) < 0 ||
	    (a->install && s->place.nuaged[0] == '\0' && (r = ssh_install(s, why, size)) < 0))
		return r;
	ssh_more_time(s);
	if ((r = start_bridge(s, a->create, why, size)) == 0)
		r = hear_bridge(s, a, why, size);
	if (r == -ENOEXEC && s->restricted)
		r = start_plainly(s, a, why, size);
	return r;
}

/* It may take no notice. */
static void
end_proxy(pid_t pid)
{
	pid_t done = 0;

	kill(pid, SIGTERM);
	for (unsigned ms = 0; done == 0 && ms < PROXY_END_MS; ms += PROXY_LOOK_MS) {
		done = waitpid(pid, NULL, WNOHANG);
		if (done == 0)
			usleep(PROXY_LOOK_MS * 1000);
	}
	if (done != 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* For another session, or none. */
static void
disconnect(struct ssh *s)
{
	if (s->session != NULL) {
		/* Not worth waiting for: closing the socket says the same. */
		libssh2_session_disconnect_ex(s->session, SSH_DISCONNECT_BY_APPLICATION, "", "");
		if (s->fd >= 0)
			shutdown(s->fd, SHUT_RDWR);
		/* Over a closed socket it ends at once; were it not so, a leak is better than a spin. */
		for (unsigned i = 0; i < FREE_TRIES && libssh2_session_free(s->session) == LIBSSH2_ERROR_EAGAIN; i++)
			continue;
	}
	if (s->fd >= 0)
		close(s->fd);
	if (s->proxy > 0)
		end_proxy(s->proxy);
	s->session = NULL;
	s->channel = NULL;
	s->had_channel = false;
	s->fd = -1;
	s->proxy = 0;
}

static void
end(struct ssh *s)
{
	if (s->pumping) {
		duct_shut(s->duct);
		pthread_join(s->pump, NULL);
	}
	disconnect(s);
	duct_free(s->duct);
	free(s);
}

/* ---- the stream ---- */

static struct ssh *
ssh_of(struct stream *s)
{
	return (struct ssh *)s;
}

static int
stream_out(struct stream *s, struct iovec *iov, int count)
{
	return duct_send(ssh_of(s)->duct, iov, count);
}

static ssize_t
stream_in(struct stream *s, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd)
{
	return duct_receive(ssh_of(s)->duct, to, least, most, deadline_ms, cancel_fd);
}

static void
stream_end(struct stream *s)
{
	duct_shut(ssh_of(s)->duct);
}

static bool
is_strained(const struct stream *s)
{
	return ((const struct ssh *)s)->strained;
}

static void
stream_free(struct stream *s)
{
	end(ssh_of(s));
}

static const struct stream_calls calls = {
	.send = stream_out, .receive = stream_in, .shut = stream_end, .strained = is_strained, .close = stream_free,
};

int
ssh_open(struct stream **ret, const char *url, int cancel_fd, struct ssh_answer *answer, char *why, size_t size)
{
	struct ssh_answer none = { .create = false };
	struct ssh *s = calloc(1, sizeof *s);
	void *before;
	int r;

	if (s == NULL)
		return -ENOMEM;
	before = ssh_cipher_enter();
	s->stream.calls = &calls;
	ssh_ask_quietly(answer != NULL && answer->quiet);
	s->fd = -1;
	s->cancel_fd = cancel_fd;
	why[0] = '\0';
	if ((r = ssh_place_parse(&s->place, url)) < 0 || s->place.path[0] == '\0') {
		snprintf(why, size, "%.200s: it should be ssh://[USER@]HOST[:PORT]/PATH", url);
		r = -EINVAL;
		goto out;
	}
	/*
	 * dropbear, up to 2024.86, may take a command for ended when it begins as
	 * another one ends, and breaks the connection (its issue 321).
	 */
	for (unsigned tries = 1;; tries++) {
		r = open_session(s, answer != NULL ? answer : &none, why, size);
		if (r != -ECONNRESET || !s->had_channel || tries == TRIES)
			break;
		disconnect(s);
	}
	if (r < 0 || (r = duct_new(&s->duct)) < 0)
		goto out;
	libssh2_channel_handle_extended_data2(s->channel, LIBSSH2_CHANNEL_EXTENDED_DATA_IGNORE);
	r = ssh_pump_start(s);
out:
	ssh_cipher_leave(before);
	if (r < 0 && why[0] == '\0' && r != -ECANCELED)
		snprintf(why, size, "%.200s: %s", url, strerror(-r));
	ssh_ask_done(r, why);
	ssh_ask_quietly(false);
	if (r < 0) {
		end(s);
		return r;
	}
	*ret = &s->stream;
	return 0;
}

#else

int
ssh_open(struct stream **ret, const char *url, int cancel_fd, struct ssh_answer *answer, char *why, size_t size)
{
	(void)ret;
	(void)cancel_fd;
	(void)answer;
	snprintf(why, size, "%.200s: this nuage was built without libssh2", url);
	return -EPROTONOSUPPORT;
}

#endif
