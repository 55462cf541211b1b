/* admin.c - see admin.h. */
#include "server/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/daemon.h"
#include "server/home.h"

enum { LINE_MAX_BYTES = 512, PATIENCE_S = 2 };

/* By way of /proc: a socket's own path may have 107 bytes only. */
static void
address_of(const struct home *home, struct sockaddr_un *to)
{
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/admin.sock", home->fd);
}

void
admin_unlink(const struct home *home)
{
	unlinkat(home->fd, "admin.sock", 0);
}

int
admin_listen(const struct home *home)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;
	struct sockaddr_un address;
	mode_t mask;

	if (fd < 0)
		return -errno;
	address_of(home, &address);
	admin_unlink(home);
	mask = umask(0177);
	error = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0 ? errno : 0;
	umask(mask);
	if (error == 0)
		return fd;
	close(fd);
	return -error;
}

/* One line without its newline; its length or -1. */
static int
read_line(int fd, char line[LINE_MAX_BYTES])
{
	size_t len = 0;
	ssize_t n;

	while (len < LINE_MAX_BYTES - 1 && (n = read(fd, line + len, LINE_MAX_BYTES - 1 - len)) > 0) {
		char *end;

		len += n;
		line[len] = '\0';
		end = strchr(line, '\n');
		if (end != NULL) {
			*end = '\0';
			return end - line;
		}
	}
	return -1;
}

static void
answer(struct daemon *d, const char *line, char *to, size_t size)
{
	char hex[KEY_SIZE * 2 + 1];
	uint8_t hash[KEY_SIZE];
	uint64_t valid_s;
	int r;

	if (sscanf(line, "invite %64[0-9a-f] %" SCNu64, hex, &valid_s) != 2 ||
	    sodium_hex2bin(hash, sizeof hash, hex, strlen(hex), NULL, NULL, NULL) != 0 || strlen(hex) != KEY_SIZE * 2) {
		snprintf(to, size, "error no such request\n");
		return;
	}
	r = daemon_invite(d, hash, valid_s);
	if (r < 0)
		snprintf(to, size, "error %s\n", strerror(-r));
	else
		snprintf(to, size, "ok %s\n", daemon_address(d));
}

static void
set_patience(int fd)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void
admin_serve(int fd, struct daemon *d)
{
	char line[LINE_MAX_BYTES], reply[LINE_MAX_BYTES];
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return;
	set_patience(client);
	if (read_line(client, line) >= 0) {
		answer(d, line, reply, sizeof reply);
		send(client, reply, strlen(reply), MSG_NOSIGNAL);
	}
	close(client);
}

int
admin_invite(const struct home *home, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s, char *address, size_t size)
{
	char line[LINE_MAX_BYTES], hex[KEY_SIZE * 2 + 1];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;
	struct sockaddr_un to;

	if (fd < 0)
		return -errno;
	address_of(home, &to);
	set_patience(fd);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		r = -errno;
		goto out;
	}
	snprintf(line, sizeof line, "invite %s %" PRIu64 "\n",
	    sodium_bin2hex(hex, sizeof hex, token_hash, KEY_SIZE), valid_s);
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || read_line(fd, line) < 0) {
		r = -EIO;
		snprintf(address, size, "the running nuaged does not answer");
	} else if (strncmp(line, "ok ", 3) == 0) {
		snprintf(address, size, "%s", line + 3);
	} else {
		r = -EPROTO;
		snprintf(address, size, "%s", strncmp(line, "error ", 6) == 0 ? line + 6 : line);
	}
out:
	close(fd);
	return r;
}
