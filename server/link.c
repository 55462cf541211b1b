/*
 * link.c - see link.h.
 *
 *	accepted -> shaking hands -> open -> closing -> gone
 *
 * Until the peer has attached, its frames may be small only.  Closing: the
 * writer has sent all and shut its side; the reader drops what still comes,
 * until the daemon cuts it, so that the last answer is not lost to a reset.
 */
#include "server/link.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "proto/noise.h"
#include "proto/preamble.h"
#include "server/daemon.h"
#include "server/engine.h"
#include "server/event.h"
#include "server/fetch.h"
#include "server/store.h"

enum {
	HANDSHAKE_MS	= 10 * 1000,
	SEND_TIMEOUT_S	= 30,
	KEEPALIVE_S	= 60,			/* of silence, before the kernel asks whether the peer is there */
	KEEPALIVE_EVERY_S = 15,
	KEEPALIVE_COUNT	= 4,
	STRANGE_BODY	= 64 * 1024,		/* a frame's body before ATTACH */
	PAUSE_BYTES	= 8 * 1024 * 1024,	/* queued: the reader waits */
	PAUSE_COUNT	= 4096,
	CUT_BYTES	= 128 * 1024 * 1024,	/* queued: the peer is cut */
	CUT_COUNT	= 1 << 18,
	OUT_SIZE	= 256 * 1024,		/* frames gathered for one write */
	IN_SIZE		= 64 * 1024,
	LIGHT_FRAME	= 16 * 1024,		/* received, or */
	LIGHT_BYTES	= 64 * 1024,		/* queued: the reader itself syncs or sends, dearer to hand over */
	LIGHT_COUNT	= 32,
	FAR_US		= 10 * 1000,		/* a round trip that calls for another congestion control */
	STACK_SIZE	= 1024 * 1024,
};

struct link_keys {
	struct frame_keys	send, receive;
};

struct link {
	pthread_mutex_t		 lock;
	pthread_cond_t		 more, less;	/* to send; queued */
	struct server_action	*first, **last;
	size_t			 queued_bytes, queued;
	bool			 failed, stopping, closing, attached;
	bool			 writing;	/* some thread takes from the queue and sends, without the lock */

	/* Constant, or one thread's. */
	struct link_place	 place;
	struct daemon		*daemon;
	int			 fd;
	char			 peer[64];
	struct link_keys	*keys;		/* locked memory */
	pthread_t		 writer;
	uint8_t			*in;		/* the reader's buffer */
	size_t			 in_pos, in_len;
	unsigned		 light;		/* messages since the last rest, that was not given to other threads */
	bool			 unsynced;
	uint8_t			*out;		/* the writer's */
	size_t			 out_len;
};

/* ---- life ---- */

struct link *
link_new(struct daemon *d, int fd, uint64_t id, const char *peer)
{
	struct link *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->more, NULL);
	pthread_cond_init(&l->less, NULL);
	l->last = &l->first;
	l->daemon = d;
	l->fd = fd;
	l->place.node.key = id;
	l->place.link = l;
	strncpy(l->peer, peer, sizeof l->peer - 1);
	l->keys = sodium_malloc(sizeof *l->keys);
	l->in = malloc(IN_SIZE);
	if (l->keys == NULL || l->in == NULL) {
		l->fd = -1;
		link_free(l);
		return NULL;
	}
	return l;
}

static void
discard(struct server_action *a)
{
	if (a->kind == SERVER_READ_BLOCK)
		store_block_put_ref(a->ref);
	server_action_free(a);
}

void
link_free(struct link *l)
{
	struct server_action *a;

	if (l == NULL)
		return;
	while ((a = l->first) != NULL) {
		l->first = a->next;
		discard(a);
	}
	if (l->fd >= 0)
		close(l->fd);
	sodium_free(l->keys);
	free(l->in);
	free(l->out);
	pthread_cond_destroy(&l->less);
	pthread_cond_destroy(&l->more);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

struct link_place *
link_place(struct link *l)
{
	return &l->place;
}

const char *
link_peer(const struct link *l)
{
	return l->peer;
}

void
link_cut(struct link *l)
{
	shutdown(l->fd, SHUT_RDWR);
}

/* Ends the writer's work and the reader's pause. */
static void
fail(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->failed = true;
	pthread_cond_broadcast(&l->less);
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);
	link_cut(l);
}

/* TCP's options fail on a Unix socket, which needs none. */
static void
tune(int fd)
{
	static const struct { int level, option, value; } options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
	};
	struct timeval send = { .tv_sec = SEND_TIMEOUT_S };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof options[i].value);
}

/* Over a long way BBR fills the pipe where loss-based control does not; not all kernels have it. */
static void
tune_far(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_rtt > FAR_US)
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
}

static _Thread_local const struct link *own;	/* whose reader this thread is */

/* The reader sends it by itself before it sleeps: see take_bytes(). */
static bool
is_light(const struct link *l, const struct server_action *a)
{
	return l == own && !l->writing && a->kind == SERVER_SEND && l->queued_bytes <= LIGHT_BYTES &&
	    l->queued <= LIGHT_COUNT;
}

void
link_post(struct link *l, struct server_action *a)
{
	bool cut, fresh = false;

	pthread_mutex_lock(&l->lock);
	if (a->kind == SERVER_SEND && a->message.type == MSG_attached && !l->attached)
		l->attached = fresh = true;
	a->next = NULL;
	*l->last = a;
	l->last = &a->next;
	l->queued++;
	l->queued_bytes += sizeof *a + a->arena.used;
	cut = !l->failed && (l->queued_bytes > CUT_BYTES || l->queued > CUT_COUNT);
	l->failed |= cut;
	if (!is_light(l, a) || cut)
		pthread_cond_signal(&l->more);
	else
		l->light++;
	pthread_mutex_unlock(&l->lock);
	if (fresh)
		tune_far(l->fd);
	if (cut) {
		event_log(EVENT_WARNING, "event=cut peer=%s reason=slow-reader", l->peer);
		link_cut(l);
	}
}

/* Every message, for who looks for the cause of a standstill. */
static void
trace(const struct link *l, const char *direction, const struct message *m)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	if (!event_enabled(EVENT_DEBUG) || (f = open_memstream(&text, &size)) == NULL)
		return;
	message_print(m, f);
	if (fclose(f) == 0)
		event_log(EVENT_DEBUG, "event=%s conn=%" PRIu64 " message=\"%s\"", direction, l->place.node.key, text);
	free(text);
}

/* ---- sending ---- */

static bool
send_all(struct link *l, struct iovec *iov, int count)
{
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = count };

	while (h.msg_iovlen > 0) {
		ssize_t n = sendmsg(l->fd, &h, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		for (; h.msg_iovlen > 0 && (size_t)n >= h.msg_iov->iov_len; h.msg_iov++, h.msg_iovlen--)
			n -= h.msg_iov->iov_len;
		if (h.msg_iovlen > 0) {
			h.msg_iov->iov_base = (uint8_t *)h.msg_iov->iov_base + n;
			h.msg_iov->iov_len -= n;
		}
	}
	return true;
}

static bool
flush(struct link *l)
{
	struct iovec iov = { l->out, l->out_len };
	bool fine = l->out_len == 0 || send_all(l, &iov, 1);

	l->out_len = 0;
	return fine;
}

/* Seals the message, whose body is `size` bytes, at to[]; the frame's length without payload, or a negative errno. */
static ssize_t
seal(struct link *l, const struct message *m, size_t size, struct bytes payload, uint8_t *to)
{
	struct cursor c = cursor_over(to + FRAME_HEADER, size);

	message_encode(m, &c);
	if (!cursor_done(&c))
		return -EMSGSIZE;
	return frame_seal(&l->keys->send, (struct bytes){ to + FRAME_HEADER, size }, payload, to);
}

static bool
send_message(struct link *l, const struct message *m)
{
	size_t size = message_size(m), frame = FRAME_HEADER + size + FRAME_TAG;
	struct iovec iov;
	ssize_t len;
	uint8_t *big;
	bool fine;

	if (size == 0)
		return false;
	trace(l, "send", m);
	if (frame <= OUT_SIZE) {
		if (l->out_len + frame > OUT_SIZE && !flush(l))
			return false;
		len = seal(l, m, size, (struct bytes){ NULL, 0 }, l->out + l->out_len);
		if (len > 0)
			l->out_len += len;
		return len > 0;
	}
	big = flush(l) ? malloc(frame) : NULL;
	len = big == NULL ? -ENOMEM : seal(l, m, size, (struct bytes){ NULL, 0 }, big);
	iov = (struct iovec){ big, len > 0 ? (size_t)len : 0 };
	fine = len > 0 && send_all(l, &iov, 1);
	free(big);
	return fine;
}

/* Reads the cells asked for, and sends them as they are stored. */
static bool
send_block(struct link *l, struct server_action *a)
{
	struct message m = { .type = MSG_block, .id = a->request };
	struct bytes payload = { NULL, 0 };
	uint8_t *data = NULL, head[64];
	struct iovec iov[2];
	ssize_t len;
	bool fine;
	int r = fetch_cells(a->ref, a->first, a->count, &data, &payload.len);

	if (r == -EIO && daemon_failed(l->daemon))
		return false;
	payload.data = data;
	m.block.status = r == 0 ? STATUS_OK : r == -EINVAL ? STATUS_INVALID : r == -ENOMEM ? STATUS_BUSY : STATUS_IO;
	if (m.block.status == STATUS_IO)
		event_log(EVENT_ERROR, "event=damage what=block block=%s error=\"%s\"", a->text, strerror(-r));
	trace(l, "send", &m);
	len = flush(l) ? seal(l, &m, message_size(&m), payload, head) : -EPIPE;
	iov[0] = (struct iovec){ head, len > 0 ? (size_t)len : 0 };
	iov[1] = (struct iovec){ data, payload.len };
	fine = len > 0 && send_all(l, iov, payload.len > 0 ? 2 : 1);
	free(data);
	return fine;
}

static void
begin_closing(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->closing = true;
	pthread_mutex_unlock(&l->lock);
	shutdown(l->fd, SHUT_WR);
}

static bool
send_action(struct link *l, struct server_action *a)
{
	bool fine;

	switch (a->kind) {
	case SERVER_SEND:
		return send_message(l, &a->message);
	case SERVER_READ_BLOCK:
		return send_block(l, a);
	default:
		fine = flush(l);
		begin_closing(l);
		return fine;
	}
}

/* Everything queued, or NULL when the link ends; the writer waits for it, the reader does not. */
static struct server_action *
take_queue(struct link *l, bool wait)
{
	struct server_action *all;

	pthread_mutex_lock(&l->lock);
	while (wait && (l->first == NULL || l->writing) && !l->stopping && !l->failed)
		pthread_cond_wait(&l->more, &l->lock);
	all = l->stopping || l->failed || l->writing ? NULL : l->first;
	if (all != NULL) {
		l->first = NULL;
		l->last = &l->first;
		l->writing = true;
	}
	pthread_mutex_unlock(&l->lock);
	return all;
}

static void
account_sent(struct link *l, const struct server_action *a)
{
	pthread_mutex_lock(&l->lock);
	l->queued--;
	l->queued_bytes -= sizeof *a + a->arena.used;
	pthread_cond_signal(&l->less);
	pthread_mutex_unlock(&l->lock);
}

static void
send_queue(struct link *l, struct server_action *a)
{
	struct server_action *next;
	bool fine = true;

	for (; a != NULL; a = next) {
		next = a->next;
		fine = fine && send_action(l, a);
		account_sent(l, a);
		discard(a);
	}
	if (!fine || !flush(l))
		fail(l);
	pthread_mutex_lock(&l->lock);
	l->writing = false;
	if (l->first != NULL || l->stopping || l->failed)
		pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
}

static void *
writer(void *arg)
{
	struct link *l = arg;
	struct server_action *a;

	while ((a = take_queue(l, true)) != NULL)
		send_queue(l, a);
	return NULL;
}

/* ---- receiving ---- */

/*
 * The reader's bytes.  Before it sleeps, or has gone on for long without, it
 * does what it kept from the other threads, for waking one costs more than a
 * small sync or message itself.
 */
static ssize_t
take_bytes(struct link *l, uint8_t *to, size_t len)
{
	struct server_action *a;
	ssize_t n;

	if (l->light > 0 || l->unsynced) {
		if (l->light < LIGHT_COUNT) {
			n = recv(l->fd, to, len, MSG_DONTWAIT);
			if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
				return n;
		}
		if (l->unsynced)
			daemon_settle(l->daemon);
		a = take_queue(l, false);
		if (a != NULL)
			send_queue(l, a);
		l->light = 0;
		l->unsynced = false;
	}
	return recv(l->fd, to, len, 0);
}

/* 0, -ECONNRESET at the end of the stream, or a negative errno. */
static int
receive(struct link *l, uint8_t *to, size_t len)
{
	while (len > 0) {
		size_t had = l->in_len - l->in_pos;
		ssize_t n;

		if (had > 0) {
			had = had < len ? had : len;
			memcpy(to, l->in + l->in_pos, had);
			l->in_pos += had;
			to += had;
			len -= had;
			continue;
		}
		if (len >= IN_SIZE)
			n = take_bytes(l, to, len);
		else
			n = take_bytes(l, l->in, IN_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : -errno;
		if (len >= IN_SIZE) {
			to += n;
			len -= n;
		} else {
			l->in_pos = 0;
			l->in_len = n;
		}
	}
	return 0;
}

static uint64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

/* Not buffered: what follows the handshake is for receive(). */
static int
receive_by(struct link *l, uint8_t *to, size_t len, uint64_t deadline_ms)
{
	while (len > 0) {
		uint64_t now_ms = monotonic_ms();
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		int ready = now_ms >= deadline_ms ? 0 : poll(&p, 1, deadline_ms - now_ms);
		ssize_t n;

		if (ready == 0)
			return -ETIMEDOUT;
		n = ready < 0 ? -1 : recv(l->fd, to, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : -errno;
		to += n;
		len -= n;
	}
	return 0;
}

static int
shake_hands(struct link *l, uint8_t ret_device[KEY_SIZE], uint8_t ret_hash[NOISE_HASH])
{
	uint64_t deadline_ms = monotonic_ms() + HANDSHAKE_MS;
	uint8_t first[PREAMBLE_SIZE], one[NOISE_MESSAGE_1], two[NOISE_MESSAGE_2 + 2], none[1];
	struct noise *n = NULL;
	struct preamble theirs;
	struct iovec iov;
	uint8_t version[2];
	ssize_t len;
	int r;

	if ((r = receive_by(l, first, sizeof first, deadline_ms)) < 0 || (r = preamble_decode(&theirs, first)) < 0)
		return r;
	if ((r = receive_by(l, one, sizeof one, deadline_ms)) < 0)
		return r;
	n = noise_responder_new(daemon_secret(l->daemon), (struct bytes){ first, sizeof first });
	if (n == NULL)
		return -ENOMEM;
	len = noise_read(n, (struct bytes){ one, sizeof one }, none, sizeof none);
	r = len < 0 ? (int)len : len > 0 ? -EBADMSG : 0;
	if (r < 0)
		goto out;
	memcpy(ret_device, noise_peer(n), KEY_SIZE);
	version[0] = preamble_choose(&theirs) >> 8;
	version[1] = preamble_choose(&theirs) & 0xff;
	len = noise_write(n, (struct bytes){ version, sizeof version }, two, sizeof two);
	iov = (struct iovec){ two, len > 0 ? (size_t)len : 0 };
	if (len < 0)
		r = len;
	else if (!send_all(l, &iov, 1))
		r = -errno;
	else if (preamble_choose(&theirs) == 0)
		r = -EPROTONOSUPPORT;
	else
		r = noise_split(n, &l->keys->send, &l->keys->receive, ret_hash);
out:
	noise_free(n);
	return r;
}

/* Waits while too much is queued; false when the link has failed. */
static bool
may_read(struct link *l, bool *ret_attached)
{
	bool fine;

	pthread_mutex_lock(&l->lock);
	while (!l->failed && (l->queued_bytes > PAUSE_BYTES || l->queued > PAUSE_COUNT))
		pthread_cond_wait(&l->less, &l->lock);
	fine = !l->failed;
	*ret_attached = l->attached;
	pthread_mutex_unlock(&l->lock);
	return fine;
}

static int
handle(struct link *l, const uint8_t header[FRAME_HEADER], uint8_t *frame, size_t sealed, size_t payload)
{
	const struct message_info *info;
	struct arena arena = { 0 };
	struct message m;
	struct bytes body;
	bool closing;
	int r = frame_open(&l->keys->receive, header, frame, sealed, (struct bytes){ frame + sealed, payload }, &body);

	if (r == 0)
		r = message_decode(&m, body, &arena);
	if (r == 0) {
		info = message_info(m.type);
		if (payload > 0 && !info->payload)
			r = -EBADMSG;
		m.payload = (struct bytes){ frame + sealed, payload };
	}
	pthread_mutex_lock(&l->lock);
	closing = l->closing;
	pthread_mutex_unlock(&l->lock);
	if (r == 0)
		trace(l, "receive", &m);
	if (r == 0 && !closing && daemon_received(l->daemon, l, &m, sealed + payload <= LIGHT_FRAME && payload == 0)) {
		l->unsynced = true;
		l->light++;
	}
	arena_free(&arena);
	return r;
}

static int
read_frame(struct link *l)
{
	uint8_t header[FRAME_HEADER], *frame;
	size_t sealed, payload;
	bool attached;
	int r;

	if (!may_read(l, &attached))
		return -EPIPE;
	if ((r = receive(l, header, sizeof header)) < 0 || (r = frame_header_decode(header, &sealed, &payload)) < 0)
		return r;
	if (!attached && (sealed > STRANGE_BODY || payload > 0)) {
		/* ATTACHED may have been sent since. */
		may_read(l, &attached);
		if (!attached)
			return -EMSGSIZE;
	}
	frame = malloc(sealed + payload);
	if (frame == NULL)
		return -ENOMEM;
	r = receive(l, frame, sealed + payload);
	if (r == 0)
		r = handle(l, header, frame, sealed, payload);
	free(frame);
	return r;
}

static void
serve(struct link *l)
{
	int r;

	l->out = malloc(OUT_SIZE);
	if (l->out == NULL || pthread_create(&l->writer, NULL, writer, l) != 0) {
		event_log(EVENT_ERROR, "event=disconnect peer=%s reason=\"out of memory or threads\"", l->peer);
		daemon_disconnected(l->daemon, l);
		return;
	}
	own = l;
	do
		r = read_frame(l);
	while (r == 0);
	own = NULL;
	if (l->unsynced)
		daemon_settle(l->daemon);
	event_log(r == -ECONNRESET ? EVENT_DEBUG : EVENT_INFO, "event=disconnect peer=%s conn=%" PRIu64 " reason=\"%s\"",
	    l->peer, l->place.node.key, r == -ECONNRESET ? "end of stream" : strerror(-r));
	daemon_disconnected(l->daemon, l);
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	link_cut(l);
	pthread_join(l->writer, NULL);
	frame_keys_done(&l->keys->send);
	frame_keys_done(&l->keys->receive);
}

static void *
reader(void *arg)
{
	struct link *l = arg;
	struct daemon *d = l->daemon;
	uint8_t device[KEY_SIZE], hash[NOISE_HASH];
	int r;

	tune(l->fd);
	r = shake_hands(l, device, hash);
	if (r == 0 && !daemon_connected(d, l, device, hash))
		r = -ENOMEM;
	if (r == 0) {
		serve(l);
	} else {
		event_log(EVENT_INFO, "event=handshake-failed peer=%s error=\"%s\"", l->peer, strerror(-r));
		daemon_disconnected(d, l);
	}
	link_free(l);
	daemon_gone(d);
	return NULL;
}

int
link_start(struct link *l)
{
	pthread_attr_t attr;
	pthread_t id;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&id, &attr, reader, l);
	pthread_attr_destroy(&attr);
	return -r;
}
