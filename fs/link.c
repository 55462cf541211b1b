/*
 * link.c - see link.h.
 *
 * What a client says first is the preamble and handshake message 1, without
 * waiting; the server answers with message 2, whose payload is the version it
 * chose.  Then frames, both ways.
 *
 * Receiving reads as much as there is into one counted buffer and hands out
 * frames inside it.  A buffer that somebody else still holds is only appended
 * to, never reused, so a block can be opened by a worker while the next one
 * comes in.  Sending gathers small frames in one buffer; a block leaves at
 * once, by writev, uncopied.
 */
#include "fs/link.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/resolve.h"
#include "fs/ssh.h"
#include "fs/ssh_place.h"
#include "fs/stream.h"
#include "proto/noise.h"
#include "proto/preamble.h"

enum {
	RECEIVE_ROOM	= 128 * 1024,		/* smaller frames are read several at once */
	SEND_ROOM	= 256 * 1024,		/* gathered at most before it leaves */
	NOTSENT_LOWAT	= 512 * 1024,
	DEAD_MS		= 10 * 1000,
	HANGUPS_MAX	= 3,			/* in the handshake, until it is called another server */
	HANGUP_WAIT_MS	= 300,
};

/* In locked memory. */
struct link_keys {
	struct frame_keys	 send, receive;
};

struct link {
	struct stream		*stream;
	char			 address[512];
	struct link_keys	*keys;
	uint8_t			 hash[NOISE_HASH];	/* of the handshake */
	struct buffer		*in;
	size_t			 start, end;	/* unread bytes of `in` */
	uint8_t			*out;
	size_t			 out_len, out_size;
	uint64_t		 next_id;
	_Atomic bool		 closed;
};

/* The one table from the wire's codes to errno. */
int
link_errno(enum status status)
{
	static const int table[STATUS_COUNT] = {
		[STATUS_OK] = 0, [STATUS_NOENT] = ENOENT, [STATUS_EXIST] = EEXIST,
		[STATUS_DENIED] = EACCES, [STATUS_INVALID] = EPROTO, [STATUS_STALE] = ESTALE,
		[STATUS_REJECTED] = ESTALE, [STATUS_MISSING] = ENODATA, [STATUS_SEQUENCE] = EILSEQ,
		[STATUS_NOSPC] = ENOSPC, [STATUS_IO] = EIO, [STATUS_USED] = EKEYEXPIRED,
		[STATUS_BUSY] = EBUSY,
	};

	return status < STATUS_COUNT ? -table[status] : -EPROTO;
}

/* ---- connecting ---- */

static int
cancel_of(const struct link_target *to)
{
	return to->cancel_fd != NULL ? *to->cancel_fd : -1;
}

void
link_tune(int fd, bool bulk)
{
	int one = 1, idle = 5, interval = 2, count = 3, timeout = DEAD_MS, lowat = NOTSENT_LOWAT;

	/* Each is an improvement, none a condition: a Unix socket knows none of them. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
	if (bulk) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
	}
}

int
link_connect(const struct sockaddr *address, unsigned len, int timeout_ms, int cancel_fd, int *ret_fd)
{
	socklen_t size = sizeof(int);
	int fd, error = 0, r;

	fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, address, len) < 0 ? -errno : 0;
	if (r == -EINPROGRESS) {
		r = resolve_wait(fd, POLLOUT, clock_ms(CLOCK_MONOTONIC) + (uint64_t)timeout_ms, cancel_fd);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			r = -errno;
		if (r == 0)
			r = -error;
	}
	if (r == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int
connect_to(const struct sockaddr *address, socklen_t len, const struct link_target *to, int *ret_fd)
{
	return link_connect(address, len, to->connect_ms != 0 ? to->connect_ms : LINK_CONNECT_MS, cancel_of(to), ret_fd);
}

/* "host", "host:port", "[v6]:port"; host and port are cut out of text. */
static void
split_address(char *text, char **host, char **port)
{
	char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');

	*host = text;
	*port = NULL;
	if (text[0] == '[' && bracket != NULL) {
		*host = text + 1;
		*bracket = '\0';
		if (bracket[1] == ':')
			*port = bracket + 2;
	} else if (colon != NULL && strchr(text, ':') == colon) {	/* two colons: a bare IPv6 address */
		*colon = '\0';
		*port = colon + 1;
	}
}

static int
connect_unix(const char *path, const struct link_target *to, int *ret_fd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof un.sun_path)
		return -ENAMETOOLONG;
	strcpy(un.sun_path, path);
	return connect_to((struct sockaddr *)&un, sizeof un, to, ret_fd);
}

static int
connect_one(char *text, const struct link_target *to, int *ret_fd)
{
	struct addrinfo *list = NULL, *a;
	char *host, *port, number[8];
	int r;

	if (strncmp(text, "unix:", 5) == 0)
		return connect_unix(text + 5, to, ret_fd);
	split_address(text, &host, &port);
	snprintf(number, sizeof number, "%d", LINK_PORT);
	r = resolve(host, port != NULL ? port : number, cancel_of(to), &list);
	if (r < 0)
		return r;
	r = -ENXIO;
	for (a = list; a != NULL && r != 0 && r != -ECANCELED; a = a->ai_next)
		r = connect_to(a->ai_addr, a->ai_addrlen, to, ret_fd);
	freeaddrinfo(list);
	return r;
}

static int
open_socket(struct stream **ret, char *text, const struct link_target *to)
{
	int fd, r = connect_one(text, to, &fd);

	if (r < 0)
		return r;
	link_tune(fd, to->bulk);
	r = stream_of_socket(ret, fd);
	if (r < 0)
		close(fd);
	return r;
}

/* What went wrong and what to do next, as one sentence. */
static void
explain(int error, const char *address, char *why, size_t size)
{
	static const struct {
		int		 error;
		const char	*text;
	} table[] = {
		{ ENXIO, "%s: no such host; check the name, and that this machine can resolve names" },
		{ ECONNREFUSED, "%s: connection refused; the machine is there, but nothing listens: "
		    "start nuaged on it, or check the port" },
		{ EHOSTUNREACH, "%s: no route to host; check this machine's network, and that the server is on" },
		{ ENETUNREACH, "%s: network is unreachable; this machine is offline: check its network" },
		{ ETIMEDOUT, "%s: no answer (timed out); the server is off, or a firewall drops the connection" },
		{ ENOENT, "%s: no such socket; is nuaged running here?" },
		{ EKEYREJECTED, "%s: it hung up: this is not the server whose key is known here, or another program; "
		    "if the server was set up anew, ask its owner for a new invitation" },
		{ EPROTONOSUPPORT, "%s: the server speaks no protocol version that this client does; update the older" },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].error == -error) {
			snprintf(why, size, table[i].text, address);
			return;
		}
	snprintf(why, size, "%s: %s", address, strerror(-error));
}

/* ---- the handshake ---- */

static int
receive_exactly(struct stream *s, uint8_t *to, size_t len, uint64_t deadline, int cancel_fd)
{
	while (len > 0) {
		ssize_t n = stream_receive(s, to, len, len, deadline, cancel_fd);

		if (n <= 0)
			return n == 0 ? -ECONNRESET : (int)n;
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
handshake(struct link *l, const struct link_target *to, int timeout_ms)
{
	const struct preamble offer = { PROTOCOL_LOWEST, PROTOCOL_HIGHEST, PREAMBLE_SEALED };
	uint8_t first[PREAMBLE_SIZE + NOISE_MESSAGE_1], second[NOISE_MESSAGE_2 + 2], version[2];
	struct iovec iov = { first, sizeof first };
	struct noise *n = NULL;
	ssize_t len;
	int r;

	preamble_encode(&offer, first);
	n = noise_initiator_new(to->device_secret, to->server_key, (struct bytes){ first, PREAMBLE_SIZE });
	if (n == NULL)
		return -ENOMEM;
	len = noise_write(n, (struct bytes){ 0 }, first + PREAMBLE_SIZE, NOISE_MESSAGE_1);
	r = len == NOISE_MESSAGE_1 ? stream_send(l->stream, &iov, 1) : -EKEYREJECTED;
	if (r == 0)
		r = receive_exactly(l->stream, second, sizeof second, clock_ms(CLOCK_MONOTONIC) + (uint64_t)timeout_ms,
		    cancel_of(to));
	/* A server that cannot open message 1 hangs up: it is another one. */
	if (r == -ECONNRESET || r == -EPIPE)
		r = -EKEYREJECTED;
	if (r < 0)
		goto out;
	len = noise_read(n, (struct bytes){ second, sizeof second }, version, sizeof version);
	if (len != sizeof version)
		r = -EKEYREJECTED;
	else if (version[0] != 0 || version[1] != PROTOCOL_HIGHEST)
		r = -EPROTONOSUPPORT;
	else
		r = noise_split(n, &l->keys->send, &l->keys->receive, l->hash);
out:
	noise_free(n);
	return r;
}

static void
hang_up(struct link *l)
{
	stream_close(l->stream);
	l->stream = NULL;
}

/* `why` says something only if it is not for explain() to say. */
static int
open_one(struct link *l, const struct link_target *to, const char *address, char *why, size_t size)
{
	struct ssh_answer answer = { .quiet = to->quiet };
	char text[512];		/* cut up */
	int r;

	snprintf(text, sizeof text, "%s", address);
	r = ssh_place_is(text) ? ssh_open(&l->stream, text, cancel_of(to), &answer, why, size) :
	    open_socket(&l->stream, text, to);
	if (r < 0)
		return r;
	r = handshake(l, to, to->handshake_ms != 0 ? to->handshake_ms : LINK_HANDSHAKE_MS);
	if (r < 0)
		hang_up(l);
	else
		snprintf(l->address, sizeof l->address, "%s", address);
	return r;
}

int
link_open(struct link **ret, const struct link_target *to, char *why, size_t size)
{
	char *list = NULL, *next, *text;
	struct link *l = calloc(1, sizeof *l);
	int r = -ENOMEM;

	if (l != NULL) {
		l->next_id = 1;
		l->keys = sodium_malloc(sizeof *l->keys);
		l->in = buffer_new_raw(RECEIVE_ROOM);
		l->out_size = SEND_ROOM;
		l->out = malloc(l->out_size);
		list = strdup(to->addresses);
	}
	if (l == NULL || l->keys == NULL || l->in == NULL || l->out == NULL || list == NULL) {
		snprintf(why, size, "out of memory");
		goto out;
	}
	r = -ENXIO;
	snprintf(why, size, "no server address");
	for (next = list; r != 0 && r != -ECANCELED && (text = strsep(&next, ", ")) != NULL;) {
		if (*text == '\0')
			continue;
		why[0] = '\0';
		r = open_one(l, to, text, why, size);
		/* It may only have been in a hurry: restarting, or besieged. */
		for (int again = 1; r == -EKEYREJECTED && again < HANGUPS_MAX; again++) {
			r = resolve_wait(-1, 0, clock_ms(CLOCK_MONOTONIC) + HANGUP_WAIT_MS, cancel_of(to));
			if (r == -ETIMEDOUT)
				r = open_one(l, to, text, why, size);
		}
		if (r < 0 && r != -ECANCELED && why[0] == '\0')
			explain(r, text, why, size);
	}
out:
	free(list);
	if (r < 0) {
		link_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

void
link_close(struct link *l)
{
	if (l == NULL)
		return;
	hang_up(l);
	sodium_free(l->keys);
	buffer_put(l->in);
	free(l->out);
	free(l);
}

void
link_shutdown(struct link *l)
{
	if (l == NULL)
		return;
	l->closed = true;
	stream_shut(l->stream);
}

const char *
link_address(const struct link *l)
{
	return l->address;
}

bool
link_strained(const struct link *l)
{
	return stream_strained(l->stream);
}

void
link_proof(const struct link *l, const uint8_t secret[SECRET_SIZE], uint8_t ret_proof[PROOF_SIZE])
{
	noise_proof(secret, l->hash, ret_proof);
}

/* ---- sending ---- */

static int
send_out(struct link *l, struct bytes payload)
{
	struct iovec iov[] = { { l->out, l->out_len }, { (void *)(uintptr_t)payload.data, payload.len } };
	int r;

	if (l->out_len == 0)
		return 0;
	r = stream_send(l->stream, iov, payload.len > 0 ? 2 : 1);
	l->out_len = 0;
	return r;
}

int
link_flush(struct link *l)
{
	return l->closed ? -ECONNRESET : send_out(l, (struct bytes){ 0 });
}

int
link_put(struct link *l, const struct message *m)
{
	size_t body = message_size(m), need = FRAME_HEADER + body + FRAME_TAG;
	struct cursor c;
	uint8_t *grown;
	ssize_t n;
	int r;

	if (body == 0 || body > FRAME_BODY_MAX)
		return -EMSGSIZE;
	if (l->closed)
		return -ECONNRESET;
	if (l->out_len > 0 && l->out_len + need > SEND_ROOM && (r = link_flush(l)) < 0)
		return r;
	if (l->out_len + need > l->out_size) {
		grown = realloc(l->out, l->out_len + need);
		if (grown == NULL)
			return -ENOMEM;
		l->out = grown;
		l->out_size = l->out_len + need;
	}
	c = cursor_over(l->out + l->out_len + FRAME_HEADER, body);
	message_encode(m, &c);
	if (!cursor_done(&c))
		return -EMSGSIZE;
	n = frame_seal(&l->keys->send, (struct bytes){ c.base, body }, m->payload, l->out + l->out_len);
	if (n < 0)
		return (int)n;
	l->out_len += (size_t)n;
	return m->payload.len > 0 ? send_out(l, m->payload) : 0;
}

/* ---- receiving ---- */

/* Makes room for a frame of `need` bytes from l->start on. */
static int
make_room(struct link *l, size_t need)
{
	struct buffer *b = l->in;
	size_t have = l->end - l->start;

	if (l->start + need <= b->capacity)
		return 0;
	if (b->refs == 1 && need <= b->capacity) {
		memmove(b->data, b->data + l->start, have);
	} else {
		b = buffer_new_raw(need > RECEIVE_ROOM ? need : RECEIVE_ROOM);
		if (b == NULL)
			return -ENOMEM;
		memcpy(b->data, l->in->data + l->start, have);
		buffer_put(l->in);
		l->in = b;
	}
	l->start = 0;
	l->end = have;
	return 0;
}

/* Reads until `need` bytes are there. */
static int
gather(struct link *l, size_t need, uint64_t deadline)
{
	ssize_t n;
	size_t room;
	int r;

	r = make_room(l, need);
	if (r < 0)
		return r;
	while (l->end - l->start < need) {
		/* A large frame is read alone, so that nothing behind it must be moved. */
		room = need > RECEIVE_ROOM ? l->start + need - l->end : l->in->capacity - l->end;
		n = stream_receive(l->stream, l->in->data + l->end, l->start + need - l->end, room, deadline, -1);
		if (n <= 0)
			return n == 0 ? -ECONNRESET : (int)n;
		l->end += (size_t)n;
	}
	return 0;
}

int
link_receive(struct link *l, struct message *m, struct arena *a, struct buffer **frame, int timeout_ms)
{
	uint64_t deadline = timeout_ms < 0 ? 0 : clock_ms(CLOCK_MONOTONIC) + (uint64_t)timeout_ms;
	const struct message_info *info;
	struct bytes body, payload;
	size_t sealed, payload_len;
	uint8_t *at;
	int r;

	if (l->closed)
		return -ECONNRESET;
	if (l->start == l->end && l->in->refs == 1)
		l->start = l->end = 0;
	r = gather(l, FRAME_HEADER, deadline);
	if (r < 0)
		return r;
	r = frame_header_decode(l->in->data + l->start, &sealed, &payload_len);
	if (r == 0)
		r = gather(l, FRAME_HEADER + sealed + payload_len, deadline);
	if (r < 0)
		return r;
	at = l->in->data + l->start;
	payload = (struct bytes){ at + FRAME_HEADER + sealed, payload_len };
	r = frame_open(&l->keys->receive, at, at + FRAME_HEADER, sealed, payload, &body);
	if (r == 0)
		r = message_decode(m, body, a);
	if (r < 0)
		return r;
	info = message_info(m->type);
	if ((info->from & FROM_SERVER) == 0 || (payload_len > 0 && !info->payload))
		return -EBADMSG;
	m->payload = payload;
	l->start += FRAME_HEADER + sealed + payload_len;
	*frame = buffer_get(l->in);
	return 0;
}

int
link_call(struct link *l, struct message *request, uint16_t expect, struct message *answer,
    struct arena *a, struct buffer **frame, char *why, size_t size)
{
	int r;

	request->id = l->next_id++;
	r = link_put(l, request);
	if (r == 0)
		r = link_flush(l);
	if (r == 0)
		r = link_receive(l, answer, a, frame, LINK_ANSWER_MS);
	if (r == 0 && (answer->id != request->id || (answer->type != expect && answer->type != MSG_done)))
		r = -EBADMSG;
	if (r < 0) {
		snprintf(why, size, "the server did not answer properly: %s", strerror(-r));
		return r;
	}
	if (answer->type != MSG_done)
		return 0;
	r = link_errno(answer->done.status);
	if (r == 0 && expect != MSG_done)
		r = -EBADMSG;
	snprintf(why, size, "%.*s", (int)answer->done.detail.len,
	    answer->done.detail.len > 0 ? (const char *)answer->done.detail.data : "");
	/* It may be shown on a terminal. */
	for (char *at = why; *at != '\0'; at++)
		if (!isprint((unsigned char)*at))
			*at = '?';
	if (r < 0 && why[0] == '\0')
		snprintf(why, size, "%s", status_text(answer->done.status));
	return r;
}
