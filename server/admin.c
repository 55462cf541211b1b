/*
 * admin.c - see admin.h.
 *
 *	accepted -> (its line has come | PATIENCE_MS are over) -> answered, or not; closed
 *
 * All in the main thread, which also accepts connections, so that nobody is
 * waited for.  Guests may be GUESTS_MAX at a time, and leave room for the owner.
 */
#include "server/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/daemon.h"
#include "server/door.h"
#include "server/event.h"
#include "server/home.h"
#include "server/listen.h"

enum {
	LINE_SIZE	= 512,		/* of a request */
	ANSWER_SIZE	= 4096 + 256,	/* a path may be in it */
	PATIENCE_MS	= 2000,
	CLIENTS_MAX	= ADMIN_POLLS - 2,
	GUESTS_MAX	= CLIENTS_MAX - 2,
	HEX_KEY		= KEY_SIZE * 2,
	NAMED_MS	= 60 * 1000,	/* who is refused is named in the log so often, at most */
};

struct client {
	int		fd;
	bool		guest;
	uid_t		uid;		/* of a guest */
	uint64_t	until_ms;
	size_t		len;
	char		line[LINE_SIZE];
};

struct admin {
	int			 own, guests;	/* where they connect; guests -1: there is no door */
	const struct home	*home;
	const struct door	*door;
	struct client		 clients[CLIENTS_MAX];
	unsigned		 count, guest_count;
	uint64_t		 named_ms;
};

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

int
admin_open(struct admin **ret, const struct home *home, const struct door *door)
{
	struct admin *a = calloc(1, sizeof *a);
	int r = -ENOMEM;

	if (a == NULL)
		return r;
	*a = (struct admin){ .own = -1, .guests = -1, .home = home, .door = door };
	r = a->own = listen_beside(home->fd, ADMIN_SOCKET, 0600);
	if (r >= 0 && door->fd >= 0)
		r = a->guests = listen_beside(door->fd, ADMIN_SOCKET, 0666);
	if (r < 0) {
		admin_close(a);
		return r;
	}
	*ret = a;
	return 0;
}

static void
end(int fd, int dir)
{
	if (fd < 0)
		return;
	unlinkat(dir, ADMIN_SOCKET, 0);
	close(fd);
}

void
admin_close(struct admin *a)
{
	if (a == NULL)
		return;
	end(a->own, a->home->fd);
	end(a->guests, a->door->fd);
	while (a->count > 0)
		close(a->clients[--a->count].fd);
	free(a);
}

unsigned
admin_poll(const struct admin *a, struct pollfd p[ADMIN_POLLS])
{
	unsigned n = 0;

	if (a->count < CLIENTS_MAX)
		p[n++] = (struct pollfd){ .fd = a->own, .events = POLLIN };
	if (a->count < CLIENTS_MAX && a->guest_count < GUESTS_MAX && a->guests >= 0)
		p[n++] = (struct pollfd){ .fd = a->guests, .events = POLLIN };
	for (unsigned i = 0; i < a->count; i++)
		p[n++] = (struct pollfd){ .fd = a->clients[i].fd, .events = POLLIN };
	return n;
}

int
admin_patience(const struct admin *a)
{
	uint64_t now = now_ms(), until = UINT64_MAX;

	for (unsigned i = 0; i < a->count; i++)
		until = a->clients[i].until_ms < until ? a->clients[i].until_ms : until;
	return a->count == 0 ? -1 : until > now ? (int)(until - now) : 0;
}

/* ---- answering ---- */

static void
say(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
refuse(struct admin *a, int fd, uid_t uid)
{
	char text[LINE_SIZE];

	snprintf(text, sizeof text, "error its administrator admits %s\n", a->door->admitted);
	say(fd, text);
	if (a->named_ms == 0 || now_ms() - a->named_ms > NAMED_MS) {
		event_log(EVENT_WARNING, "event=refused peer=unix uid=%u reason=\"not admitted\"", (unsigned)uid);
		a->named_ms = now_ms();
	}
}

static void
answer_invite(const struct client *c, struct daemon *d, char *to, size_t size)
{
	char hex[HEX_KEY + 1];
	uint8_t hash[KEY_SIZE];
	uint64_t valid_s;
	int r;

	if (sscanf(c->line, "invite %64[0-9a-f] %" SCNu64, hex, &valid_s) != 2 || strlen(hex) != HEX_KEY ||
	    sodium_hex2bin(hash, sizeof hash, hex, HEX_KEY, NULL, NULL, NULL) != 0) {
		snprintf(to, size, "error no such request\n");
		return;
	}
	if (c->guest && valid_s > ADMIN_GUEST_S)
		valid_s = ADMIN_GUEST_S;
	r = daemon_invite(d, hash, valid_s);
	if (r < 0) {
		snprintf(to, size, "error %s\n", strerror(-r));
		return;
	}
	if (c->guest)
		event_log(EVENT_INFO, "event=invite uid=%u", (unsigned)c->uid);
	snprintf(to, size, "ok %s\n", daemon_address(d));
}

static void
answer(const struct admin *a, const struct client *c, struct daemon *d)
{
	char text[ANSWER_SIZE], hex[HEX_KEY + 1];

	if (strcmp(c->line, "who") == 0)
		snprintf(text, sizeof text, "ok %s %s\n", sodium_bin2hex(hex, sizeof hex, a->home->public, KEY_SIZE),
		    a->home->path);
	else
		answer_invite(c, d, text, sizeof text);
	say(c->fd, text);
}

/* Has it said all, or too much, or nothing for too long? */
static bool
hear(const struct admin *a, struct client *c, struct daemon *d)
{
	ssize_t n = recv(c->fd, c->line + c->len, LINE_SIZE - 1 - c->len, MSG_DONTWAIT);
	char *newline;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return now_ms() >= c->until_ms;
	if (n <= 0)
		return true;
	c->len += n;
	c->line[c->len] = '\0';
	newline = strchr(c->line, '\n');
	if (newline == NULL)
		return c->len == LINE_SIZE - 1 || now_ms() >= c->until_ms;
	*newline = '\0';
	answer(a, c, d);
	return true;
}

static void
take(struct admin *a, bool guest)
{
	uid_t uid = 0;
	int fd;

	for (unsigned i = 0; i < CLIENTS_MAX && a->count < CLIENTS_MAX && (!guest || a->guest_count < GUESTS_MAX); i++) {
		fd = accept4(guest ? a->guests : a->own, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (guest && !door_admits(a->door, fd, &uid)) {
			refuse(a, fd, uid);
			close(fd);
			continue;
		}
		a->clients[a->count++] = (struct client){ .fd = fd, .guest = guest, .uid = uid,
		    .until_ms = now_ms() + PATIENCE_MS };
		a->guest_count += guest;
	}
}

void
admin_serve(struct admin *a, struct daemon *d)
{
	take(a, false);
	if (a->guests >= 0)
		take(a, true);
	for (unsigned i = a->count; i-- > 0;)
		if (hear(a, &a->clients[i], d)) {
			close(a->clients[i].fd);
			a->guest_count -= a->clients[i].guest;
			a->clients[i] = a->clients[--a->count];
		}
}

/* ---- asking ---- */

/* One line without its newline, or false. */
static bool
read_line(int fd, char *line, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, line + len, size - 1 - len)) > 0) {
		char *newline;

		len += n;
		line[len] = '\0';
		newline = strchr(line, '\n');
		if (newline != NULL) {
			*newline = '\0';
			return true;
		}
	}
	return false;
}

/* 0 and what follows "ok ", or an error as admin.h has it. */
static int
ask(const struct home *home, const char *request, char *text, size_t size)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;
	char line[ANSWER_SIZE];
	struct sockaddr_un to;

	if (fd < 0)
		return -errno;
	listen_address_beside(home->fd, ADMIN_SOCKET, &to);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		r = -errno;
		goto out;
	}
	/* Who is not admitted has been told so, and it takes nothing from him. */
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	if (!read_line(fd, line, sizeof line)) {
		r = -EIO;
		snprintf(text, size, "the running nuaged does not answer");
	} else if (strncmp(line, "ok ", 3) == 0) {
		snprintf(text, size, "%s", line + 3);
	} else {
		r = -EPROTO;
		snprintf(text, size, "%s", strncmp(line, "error ", 6) == 0 ? line + 6 : line);
	}
out:
	close(fd);
	return r;
}

int
admin_invite(const struct home *home, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s, char *text, size_t size)
{
	char request[LINE_SIZE], hex[HEX_KEY + 1];

	snprintf(request, sizeof request, "invite %s %" PRIu64 "\n",
	    sodium_bin2hex(hex, sizeof hex, token_hash, KEY_SIZE), valid_s);
	return ask(home, request, text, size);
}

int
admin_who(const struct home *home, uint8_t ret_key[KEY_SIZE], char *text, size_t size)
{
	char said[ANSWER_SIZE];
	int r = ask(home, "who\n", said, sizeof said);

	if (r == 0 && (strlen(said) < HEX_KEY + 2 || said[HEX_KEY] != ' ' ||
	    sodium_hex2bin(ret_key, KEY_SIZE, said, HEX_KEY, NULL, NULL, NULL) != 0)) {
		snprintf(said, sizeof said, "what came is not the answer of a nuaged");
		r = -EPROTO;
	}
	snprintf(text, size, "%s", r == 0 ? said + HEX_KEY + 1 : said);
	return r;
}
