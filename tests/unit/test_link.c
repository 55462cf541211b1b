/*
 * test_link.c - links against a responder in the same process that does all
 * that a server can do wrong: another key, a torn handshake, silence, another
 * version, damaged frames; and a channel that outlives all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fs/channel.h"
#include "fs/log.h"
#include "fs/mover.h"
#include "proto/noise.h"
#include "proto/preamble.h"
#include "proto/seal.h"
#include "tests/tap.h"

enum behaviour {
	HONEST,			/* echoes keepalives and blocks, until the client leaves */
	HANG_UP,		/* closes before it says anything */
	TORN,			/* closes in the middle of message 2 */
	SILENT,			/* accepts and says nothing */
	GARBAGE,		/* answers message 1 with noise of the other kind */
	OTHER_VERSION,		/* has no version in common */
	MUTE,			/* an honest handshake, then nothing */
	BAD_FRAME,		/* an honest handshake, then a frame with one bit flipped */
	HUGE_FRAME,		/* a header that announces more than the limits */
	CLIENT_TALK,		/* sends a message that only clients send */
	CUT,			/* answers one message, then hangs up */
	STORE,			/* takes blocks and has none; too busy for the first few */
};

struct responder {
	int			 fd, port;
	_Atomic int		 behaviour;
	_Atomic unsigned	 links, puts, busy, busy_said;
	_Atomic bool		 full;		/* busy, but for GETs */
	uint8_t			 secret[KEY_SIZE], public[KEY_SIZE];
	pthread_t		 thread;
};

static bool
take(int fd, void *to, size_t len)
{
	return recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

static void
give(int fd, const void *from, size_t len)
{
	if (send(fd, from, len, MSG_NOSIGNAL) < 0)
		return;
}

/* The server's side of the handshake; false when it ends the link. */
static bool
shake(struct responder *r, int fd, struct frame_keys *to_client, struct frame_keys *from_client)
{
	uint8_t first[PREAMBLE_SIZE + NOISE_MESSAGE_1], second[NOISE_MESSAGE_2 + 2], hash[NOISE_HASH];
	uint8_t version[2] = { 0, PROTOCOL_HIGHEST }, nothing[1];
	int behaviour = r->behaviour;
	struct noise *n = NULL;
	bool good = false;

	if (behaviour == HANG_UP || !take(fd, first, sizeof first))
		return false;
	if (behaviour == SILENT) {
		take(fd, nothing, 1);
		return false;
	}
	if (behaviour == GARBAGE) {
		randombytes_buf(second, sizeof second);
		give(fd, second, sizeof second);
		return false;
	}
	n = noise_responder_new(r->secret, (struct bytes){ first, PREAMBLE_SIZE });
	if (noise_read(n, (struct bytes){ first + PREAMBLE_SIZE, NOISE_MESSAGE_1 }, nothing, sizeof nothing) < 0)
		goto out;		/* the client meant another server */
	if (behaviour == OTHER_VERSION)
		version[1] = 0;
	noise_write(n, (struct bytes){ version, 2 }, second, sizeof second);
	noise_split(n, to_client, from_client, hash);
	give(fd, second, behaviour == TORN ? 20 : sizeof second);
	good = behaviour != TORN && behaviour != OTHER_VERSION;
out:
	noise_free(n);
	return good;
}

static void
say(int fd, struct frame_keys *keys, const struct message *m, bool flip)
{
	size_t body = message_size(m), len = FRAME_HEADER + body + FRAME_TAG;
	uint8_t *frame = malloc(len);
	struct cursor c = cursor_over(frame + FRAME_HEADER, body);

	message_encode(m, &c);
	frame_seal(keys, (struct bytes){ frame + FRAME_HEADER, body }, m->payload, frame);
	if (flip)
		frame[len - 1] ^= 1;
	give(fd, frame, len);
	give(fd, m->payload.data, m->payload.len);
	free(frame);
}

/* Answers one message as the behaviour says; false ends the link. */
static bool
respond(struct responder *r, int fd, struct frame_keys *to_client, struct frame_keys *from_client)
{
	static const uint8_t huge[FRAME_HEADER] = { 0x7f, 0xff, 0xff, 0xff };
	uint8_t header[FRAME_HEADER], *rest = NULL;
	struct message m, answer = { .type = MSG_alive };
	struct arena arena = { 0 };
	size_t sealed, payload;
	struct bytes body;
	bool go_on = false;

	if (!take(fd, header, sizeof header) || frame_header_decode(header, &sealed, &payload) < 0)
		return false;
	rest = malloc(sealed + payload);
	if (!take(fd, rest, sealed + payload) ||
	    frame_open(from_client, header, rest, sealed, (struct bytes){ rest + sealed, payload }, &body) < 0 ||
	    message_decode(&m, body, &arena) < 0)
		goto out;
	answer.id = m.id;
	r->puts += m.type == MSG_put;
	go_on = true;
	switch (r->behaviour) {
	case MUTE:
		break;
	case BAD_FRAME:
		say(fd, to_client, &answer, true);
		break;
	case HUGE_FRAME:
		give(fd, huge, sizeof huge);
		break;
	case CLIENT_TALK:
		answer.type = MSG_keepalive;
		say(fd, to_client, &answer, false);
		break;
	case STORE:
		if (r->busy > 0 || (r->full && m.type == MSG_put)) {
			r->busy -= r->busy > 0;
			r->busy_said++;
			answer.type = m.type == MSG_put ? MSG_stored : MSG_block;
			answer.stored.status = answer.block.status = STATUS_BUSY;
		} else if (m.type == MSG_put) {
			answer.type = MSG_stored;
		} else {
			answer.type = MSG_block;
			answer.block.status = STATUS_NOENT;
		}
		if (m.type == MSG_get && answer.block.status == STATUS_BUSY)
			answer = (struct message){ .type = MSG_done, .id = m.id, .done.status = STATUS_BUSY };
		say(fd, to_client, &answer, false);
		break;
	default:
		if (m.type == MSG_put) {
			answer.type = MSG_block;
			answer.payload = (struct bytes){ rest + sealed, payload };
		} else if (m.type == MSG_volume_list) {
			answer.type = MSG_done;
			answer.done.status = STATUS_DENIED;
			answer.done.detail = (struct bytes){ (const uint8_t *)"not you", 7 };
		}
		say(fd, to_client, &answer, false);
		go_on = r->behaviour != CUT;
	}
out:
	arena_free(&arena);
	free(rest);
	return go_on;
}

static void *
responder_main(void *argument)
{
	struct responder *r = argument;
	struct frame_keys *keys = sodium_malloc(2 * sizeof *keys);
	int fd;

	while ((fd = accept(r->fd, NULL, NULL)) >= 0) {
		r->links++;
		if (shake(r, fd, &keys[0], &keys[1]))
			while (respond(r, fd, &keys[0], &keys[1]))
				continue;
		close(fd);
	}
	sodium_free(keys);
	return NULL;
}

static bool
responder_start(struct responder *r)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;

	noise_keypair(r->secret, r->public);
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&a, len) < 0 || listen(r->fd, 16) < 0 ||
	    getsockname(r->fd, (struct sockaddr *)&a, &len) < 0)
		return false;
	r->port = ntohs(a.sin_port);
	return pthread_create(&r->thread, NULL, responder_main, r) == 0;
}

static char address[64];
static uint8_t device[KEY_SIZE];

static struct link_target
target_of(const struct responder *r)
{
	struct link_target t = { .addresses = address, .device_secret = device, .connect_ms = 300, .handshake_ms = 300 };

	snprintf(address, sizeof address, "127.0.0.1:%d", r->port);
	memcpy(t.server_key, r->public, KEY_SIZE);
	return t;
}

static int
try(struct responder *r, enum behaviour behaviour, const struct link_target *t, char *why)
{
	struct link *l = NULL;
	int error;

	r->behaviour = behaviour;
	error = link_open(&l, t, why, 256);
	link_close(l);
	return error;
}

static void
opening(struct responder *r)
{
	struct link_target t = target_of(r), u = t;
	char why[256];
	int error;

	ok(try(r, HONEST, &t, why) == 0, "an honest server");
	u.server_key[0] ^= 1;
	ok((error = try(r, HONEST, &u, why)) == -EKEYREJECTED, "another key than the server's: %s", why);
	ok(try(r, HANG_UP, &t, why) == -EKEYREJECTED, "a server that hangs up");
	ok(try(r, TORN, &t, why) == -EKEYREJECTED, "a handshake torn in the middle");
	ok(try(r, GARBAGE, &t, why) == -EKEYREJECTED, "one that answers nonsense");
	ok(try(r, SILENT, &t, why) == -ETIMEDOUT, "one that is silent: %s", why);
	ok(try(r, OTHER_VERSION, &t, why) == -EPROTONOSUPPORT, "one of another version: %s", why);
	u = t;
	u.addresses = "127.0.0.1:1";
	ok(try(r, HONEST, &u, why) == -ECONNREFUSED && strstr(why, "refused") != NULL, "a port where nobody listens: %s", why);
	u.addresses = "no-such-host.invalid";
	ok(try(r, HONEST, &u, why) == -ENXIO, "a name that is none: %s", why);
	u.addresses = "";
	ok(try(r, HONEST, &u, why) == -ENXIO, "no address at all");
	u.addresses = "unix:/nonexistent/socket";
	ok(try(r, HONEST, &u, why) == -ENOENT, "no such socket: %s", why);
	char list[128];
	snprintf(list, sizeof list, "127.0.0.1:1,%s", address);
	u.addresses = list;
	ok(try(r, HONEST, &u, why) == 0, "the second address of a list");
}

/* Sends a keepalive and waits for what comes. */
static int
exchange(struct responder *r, enum behaviour behaviour, const struct link_target *t, int timeout_ms)
{
	struct message m = { .type = MSG_keepalive, .id = 5 }, got = { 0 };
	struct buffer *frame = NULL;
	struct arena arena = { 0 };
	struct link *l = NULL;
	char why[256];
	int error;

	r->behaviour = behaviour;
	error = link_open(&l, t, why, sizeof why);
	if (error == 0 && (error = link_put(l, &m)) == 0 && (error = link_flush(l)) == 0)
		error = link_receive(l, &got, &arena, &frame, timeout_ms);
	if (error == 0 && (got.type != MSG_alive || got.id != 5))
		error = -EILSEQ;
	arena_free(&arena);
	buffer_put(frame);
	link_close(l);
	return error;
}

static void
frames(struct responder *r)
{
	struct link_target t = target_of(r);

	ok(exchange(r, HONEST, &t, 2000) == 0, "a message and its answer");
	ok(exchange(r, MUTE, &t, 100) == -ETIMEDOUT, "no answer");
	ok(exchange(r, BAD_FRAME, &t, 2000) == -EBADMSG, "a damaged frame");
	ok(exchange(r, HUGE_FRAME, &t, 2000) == -EBADMSG, "a frame over the limits");
	ok(exchange(r, CLIENT_TALK, &t, 2000) == -EBADMSG, "a message that only clients send");
}

static void
calls(struct responder *r)
{
	struct link_target t = target_of(r);
	struct message request = { .type = MSG_volume_list }, answer;
	struct buffer *frame = NULL;
	struct arena arena = { 0 };
	struct link *l = NULL;
	char why[256] = "";

	r->behaviour = HONEST;
	ok(link_open(&l, &t, why, sizeof why) == 0 &&
	    link_call(l, &request, MSG_volumes, &answer, &arena, &frame, why, sizeof why) == -EACCES &&
	    strcmp(why, "not you") == 0, "a refusal comes with its text");
	arena_free(&arena);
	buffer_put(frame);
	link_close(l);
}

/* Blocks of every awkward size go out, come back, and stay while later ones are received. */
static void
blocks(struct responder *r)
{
	static const size_t sizes[] = { 1, 100, 65536, 131072, 131073, 500000, BLOCK_SEALED_MAX, 7, BLOCK_SEALED_MAX };
	enum { COUNT = sizeof sizes / sizeof *sizes };
	struct link_target t = target_of(r);
	uint8_t *data = malloc(BLOCK_SEALED_MAX);
	struct buffer *kept[COUNT] = { NULL };
	struct bytes payload[COUNT];
	struct arena arena = { 0 };
	struct link *l = NULL;
	struct message m;
	char why[256];
	bool good;

	randombytes_buf(data, BLOCK_SEALED_MAX);
	r->behaviour = HONEST;
	good = link_open(&l, &t, why, sizeof why) == 0;
	for (int i = 0; good && i < COUNT; i++) {
		m = (struct message){ .type = MSG_put, .id = (uint64_t)i + 1, .payload = { data, sizes[i] } };
		good = link_put(l, &m) == 0 && link_flush(l) == 0 &&
		    link_receive(l, &m, &arena, &kept[i], 5000) == 0 && m.type == MSG_block && m.id == (uint64_t)i + 1;
		payload[i] = m.payload;
	}
	ok(good, "blocks come back");
	for (int i = 0; good && i < COUNT; i++)
		good = payload[i].len == sizes[i] && memcmp(payload[i].data, data, sizes[i]) == 0;
	ok(good, "and none was overwritten by a later one");
	for (int i = 0; i < COUNT; i++)
		buffer_put(kept[i]);
	arena_free(&arena);
	link_close(l);
	free(data);
}

static void *
shut_down(void *argument)
{
	usleep(100000);
	link_shutdown(argument);
	return NULL;
}

static void
shutting_down(struct responder *r)
{
	struct link_target t = target_of(r);
	struct buffer *frame = NULL;
	struct arena arena = { 0 };
	struct link *l = NULL;
	struct message m;
	pthread_t thread;
	char why[256];

	r->behaviour = MUTE;
	if (link_open(&l, &t, why, sizeof why) < 0 || pthread_create(&thread, NULL, shut_down, l) != 0) {
		ok(false, "a link to shut down");
		return;
	}
	ok(link_receive(l, &m, &arena, &frame, -1) < 0, "another thread's shutdown ends a receive that waits for ever");
	pthread_join(thread, NULL);
	ok(link_put(l, &(struct message){ .type = MSG_keepalive }) == -ECONNRESET, "and later sending");
	link_close(l);
}

/* ---- a name server that does not answer ---- */

static _Atomic bool answering;
static _Atomic unsigned asked, answered;

/* The C library's, as far as numbers go. */
int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret)
{
	static const struct sockaddr_in loopback = { .sin_family = AF_INET };
	struct addrinfo *a;

	if (hints->ai_flags & AI_NUMERICHOST && strcmp(host, "127.0.0.1") != 0)
		return EAI_NONAME;
	if (!(hints->ai_flags & AI_NUMERICHOST)) {
		asked++;
		while (!answering)
			usleep(1000);
		answered++;
		if (strcmp(host, "elsewhere.test") != 0)
			return EAI_NONAME;
	}
	a = calloc(1, sizeof *a + sizeof loopback);
	*a = (struct addrinfo){ .ai_family = AF_INET, .ai_addr = (struct sockaddr *)(a + 1), .ai_addrlen = sizeof loopback };
	memcpy(a->ai_addr, &loopback, sizeof loopback);
	((struct sockaddr_in *)a->ai_addr)->sin_port = htons(atoi(port));
	((struct sockaddr_in *)a->ai_addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*ret = a;
	return 0;
}

void
freeaddrinfo(struct addrinfo *a)
{
	free(a);
}

/* ---- a channel ---- */

struct user {
	_Atomic unsigned attached, lost, heard, filled, outside;
	_Atomic bool	 up;
	struct channel	*channel;
};

static int
user_attach(void *context, struct link *link, char *why, size_t size)
{
	struct user *u = context;

	(void)link;
	(void)why;
	(void)size;
	u->outside += u->up;
	u->up = true;
	u->attached++;
	return 0;
}

static void
user_received(void *context, const struct message *m, struct buffer *frame)
{
	struct user *u = context;

	(void)m;
	(void)frame;
	u->outside += !u->up;
	u->heard++;
}

static int
user_fill(void *context, struct link *link)
{
	struct user *u = context;

	u->outside += !u->up;
	u->filled++;
	return link_put(link, &(struct message){ .type = MSG_keepalive, .id = u->filled });
}

static void
user_lost(void *context)
{
	struct user *u = context;

	u->outside += !u->up;
	u->up = false;
	u->lost++;
}

static bool
reaches(_Atomic unsigned *number, unsigned value)
{
	for (int i = 0; i < 600 && *number < value; i++)
		usleep(10000);
	return *number >= value;
}

static void
channels(struct responder *r)
{
	static const struct channel_calls calls = { user_attach, user_received, user_fill, user_lost };
	struct link_target t = target_of(r);
	struct user u = { .attached = 0 };
	unsigned heard;
	char why[256];

	r->behaviour = HONEST;
	ok(channel_new(&u.channel, "test", &t, &calls, &u) == 0 && channel_try(u.channel, why, sizeof why) == 0 &&
	    channel_start(u.channel) == 0, "a channel is up");
	ok(reaches(&u.heard, 1), "what was queued before it was up leaves");
	heard = u.heard;
	channel_kick(u.channel);
	ok(reaches(&u.heard, heard + 1), "a kick is answered");
	channel_break(u.channel);
	ok(reaches(&u.attached, 2) && u.lost == 1, "a broken link is opened again");
	r->behaviour = CUT;
	channel_kick(u.channel);
	ok(reaches(&u.attached, 4), "and again, when the server hangs up after each answer");
	r->behaviour = SILENT;
	channel_break(u.channel);
	usleep(800000);
	channel_trouble(u.channel, why, sizeof why);
	ok(!channel_up(u.channel) && strstr(why, "timed out") != NULL, "a silent server is named: %s", why);
	r->behaviour = HONEST;
	heard = u.attached;
	channel_hurry(u.channel);
	ok(reaches(&u.attached, heard + 1), "and found again");
	channel_trouble(u.channel, why, sizeof why);
	channel_stop(u.channel);
	ok(u.attached == u.lost && !u.up, "every attach is followed by a loss");
	ok(u.outside == 0, "nothing is called outside of attach and loss");
	channel_free(u.channel);
}

/* Whatever the reader waits for, the end of the channel does not. */
static void
ends_at_once(struct responder *r, enum behaviour behaviour, const char *host, const char *what)
{
	static const struct channel_calls calls = { user_attach, user_received, user_fill, user_lost };
	struct link_target t = target_of(r);
	_Atomic unsigned *count = behaviour == SILENT ? &r->links : &asked;
	unsigned began = *count;
	struct user u = { .attached = 0 };
	char where[64];

	snprintf(where, sizeof where, "%s:%d", host, r->port);
	t.addresses = where;
	t.handshake_ms = t.connect_ms = 600 * 1000;
	r->behaviour = behaviour;
	ok(channel_new(&u.channel, "test", &t, &calls, &u) == 0 && channel_start(u.channel) == 0 &&
	    reaches(count, began + 1), "a channel");
	channel_free(u.channel);	/* would take ten minutes, or for ever */
	ok(u.attached == 0 && answered == 0, "ends while %s", what);
}

static void
names(struct responder *r)
{
	struct link_target t = target_of(r);
	struct link *l = NULL;
	char where[64], why[256];
	unsigned began;

	ends_at_once(r, SILENT, "127.0.0.1", "a server is silent");
	ends_at_once(r, HONEST, "elsewhere.test", "no name server answers");
	answering = true;
	for (int i = 0; i < 600 && answered == 0; i++)
		usleep(10000);		/* the thread that was left behind */
	began = asked;
	snprintf(where, sizeof where, "nowhere.test,elsewhere.test:%d", r->port);
	t.addresses = where;
	r->behaviour = HONEST;
	ok(link_open(&l, &t, why, sizeof why) == 0 && asked == began + 2, "a name is looked up%s", why);
	link_close(l);
	t.addresses = "nowhere.test";
	ok(link_open(&l, &t, why, sizeof why) == -ENXIO && strstr(why, "no such host") != NULL, "or not known: %s", why);
}

/* ---- a server that is too busy ---- */

struct movement {
	_Atomic unsigned stored, fetched;
	int		 store_error, fetch_error;
	_Atomic bool	 look;
	bool		 restless;
	struct mover	*mover;
	struct channel	*channel;
};

static void
note_stored(void *context, struct flush *flush, int error)
{
	struct movement *v = context;

	(void)flush;
	v->store_error = error;
	v->stored++;
}

static void
note_fetched(void *context, struct fetch *fetch, int error)
{
	struct movement *v = context;

	(void)fetch;
	v->fetch_error = error;
	v->fetched++;
}

static void
kick_mover(void *context, bool light)
{
	struct movement *v = context;

	(void)light;
	channel_kick(v->channel);
}

static void
look(void *context)
{
	struct movement *v = context;

	v->look = true;
}

/* If it is to come, and as long as it is. */
static void
tick(struct movement *v)
{
	if (atomic_exchange(&v->look, false) || v->restless)
		v->restless = !mover_tick(v->mover);
}

static int
mover_attach(void *context, struct link *link, char *why, size_t size)
{
	(void)context, (void)link, (void)why, (void)size;
	return 0;
}

static int
mover_fill(void *context, struct link *link)
{
	return mover_channel_fill(((struct movement *)context)->mover, 0, link);
}

static void
mover_received(void *context, const struct message *m, struct buffer *frame)
{
	mover_channel_received(((struct movement *)context)->mover, m, frame);
}

static void
mover_lost(void *context)
{
	mover_channel_lost(((struct movement *)context)->mover, 0);
}

static void
busy_server(struct responder *r)
{
	static const struct channel_calls channel_calls = { mover_attach, mover_received, mover_fill, mover_lost };
	static const struct mover_calls calls = { note_stored, note_fetched, kick_mover, look };
	struct link_target t = target_of(r);
	struct volume_keys *keys = volume_keys_new((uint8_t[KEY_SIZE]){ 1 }, (uint8_t[VOLUME_ID_SIZE]){ 2 });
	struct movement v = { .stored = 0 };
	struct flush flush = { .buffer = buffer_new(1000), .len = 1000 };
	struct fetch fetch = { .count = 1 };
	struct workers *workers = NULL;
	bool good, busy;

	r->behaviour = STORE;
	r->busy = 6;
	good = workers_new(&workers, 1) == 0 && mover_new(&v.mover, workers, NULL, keys, &calls, &v) == 0 &&
	    channel_new(&v.channel, "test", &t, &channel_calls, &v) == 0 && channel_start(v.channel) == 0;
	ok(good, "a mover");
	mover_store(v.mover, &flush, false);
	mover_fetch(v.mover, &fetch);
	ok(reaches(&r->busy_said, 1), "a server says that it is busy");
	for (int i = 0; i < 600 && !mover_busy(v.mover); i++)
		usleep(1000);
	busy = mover_busy(v.mover);
	for (int i = 0; i < 1500 && (v.stored == 0 || v.fetched == 0); i++) {
		usleep(10000);
		tick(&v);
	}
	ok(busy && v.stored == 1 && v.store_error == 0 && v.fetched == 1 && v.fetch_error == -ENOENT && r->busy_said == 6,
	    "both transfers are said again until it is not");
	ok(!mover_busy(v.mover), "and that is over then");
	for (int i = 0; i < 10; i++)
		tick(&v);
	ok(!v.restless, "with nothing left to look at");
	r->full = true;
	mover_store(v.mover, &flush, false);
	for (int i = 0; i < 5000 && !mover_busy(v.mover); i++)
		usleep(1000);
	busy = mover_busy(v.mover);
	mover_fetch(v.mover, &fetch);
	for (int i = 0; i < 5000 && v.fetched == 1; i++)
		usleep(1000);
	ok(busy && v.stored == 1 && v.fetched == 2, "while it is too busy to store, blocks are fetched");
	r->full = false;
	for (int i = 0; i < 1500 && v.stored == 1; i++) {
		usleep(10000);
		tick(&v);
	}
	ok(v.stored == 2 && v.store_error == 0, "and the other is stored in the end");
	mover_stop(v.mover);
	channel_stop(v.channel);
	workers_free(workers);
	mover_free(v.mover);
	channel_free(v.channel);
	volume_keys_free(keys);
	buffer_put(flush.buffer);
}

/* ---- two lanes ---- */

static void
no_kick(void *context, bool light)
{
	(void)context, (void)light;
}

enum { BLOCKS = 10, FIRST = 4 };	/* the first lane has that many when it leads; see LEAD in mover.c */

static void
lanes(struct responder *r)
{
	static const struct mover_calls calls = { note_stored, note_fetched, no_kick, look };
	struct volume_keys *keys = volume_keys_new((uint8_t[KEY_SIZE]){ 1 }, (uint8_t[VOLUME_ID_SIZE]){ 2 });
	struct responder other = { .behaviour = MUTE };
	struct flush flush[BLOCKS] = { { .len = 0 } };
	struct link *link[2] = { NULL, NULL };
	struct buffer *buffer = buffer_new(BLOCK_SIZE);
	struct movement v = { .stored = 0 };
	struct workers *workers = NULL;
	struct link_target t;
	char why[256];
	bool good;

	r->behaviour = MUTE;
	r->puts = 0;
	t = target_of(r);
	good = responder_start(&other) && link_open(&link[0], &t, why, sizeof why) == 0;
	t = target_of(&other);
	good = good && link_open(&link[1], &t, why, sizeof why) == 0 && workers_new(&workers, 1) == 0 &&
	    mover_new(&v.mover, workers, NULL, keys, &calls, &v) == 0;
	ok(good && mover_channel_fill(v.mover, 0, link[0]) == 0 && mover_channel_fill(v.mover, 1, link[1]) == 0, "two lanes");
	randombytes_buf(buffer->data, BLOCK_SIZE);
	for (unsigned i = 0; i < BLOCKS; i++) {
		flush[i] = (struct flush){ .buffer = buffer, .len = BLOCK_SIZE };
		mover_store(v.mover, &flush[i], true);
	}
	ok(mover_channel_fill(v.mover, 0, link[0]) == 0 && reaches(&r->puts, FIRST) &&
	    mover_channel_fill(v.mover, 1, link[1]) == 0 && reaches(&other.puts, BLOCKS - FIRST) && r->puts == FIRST,
	    "the first takes no more than a lead, and the second the rest");
	mover_channel_lost(v.mover, 1);
	ok(mover_channel_fill(v.mover, 0, link[0]) == 0 && reaches(&r->puts, BLOCKS), "what one had sent goes to the other");
	for (unsigned id = 1; id <= 2 * BLOCKS - FIRST; id++)
		mover_channel_received(v.mover, &(struct message){ .type = MSG_stored, .id = id }, NULL);
	ok(v.stored == BLOCKS && v.store_error == 0, "each block is stored once, whoever is asked twice");
	mover_channel_lost(v.mover, 0);
	mover_store(v.mover, &flush[0], true);
	ok(mover_tick(v.mover), "without a lane nothing is looked after");
	v.look = false;
	ok(mover_channel_fill(v.mover, 0, link[0]) == 0 && v.look && !mover_tick(v.mover), "until there is one");
	link_close(link[0]);
	link_close(link[1]);
	workers_free(workers);
	mover_free(v.mover);
	volume_keys_free(keys);
	buffer_put(buffer);
	shutdown(other.fd, SHUT_RDWR);
	pthread_join(other.thread, NULL);
	close(other.fd);
}

int
main(void)
{
	struct responder r = { .behaviour = HONEST };

	if (sodium_init() < 0 || !responder_start(&r))
		return 1;
	log_set_level(LOG_AT_ERROR);
	randombytes_buf(device, sizeof device);
	opening(&r);
	frames(&r);
	calls(&r);
	blocks(&r);
	shutting_down(&r);
	channels(&r);
	names(&r);
	busy_server(&r);
	lanes(&r);
	shutdown(r.fd, SHUT_RDWR);
	pthread_join(r.thread, NULL);
	close(r.fd);
	return tap_done();
}
