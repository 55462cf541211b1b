/*
 * ssh_pump.c - carries bytes between an SSH channel and the duct of a link, up
 * from the link to the channel, and down.
 *
 * One thread, which owns the libssh2 session.  The channel is read only while
 * there is room in the duct, so that the slower one sets the pace.
 *
 * A libssh2 call that could send only a part of its packet must be repeated
 * before any other that sends: `stuck` says which.  It is always resolved in
 * time, for sshd reads whatever it is doing.  Until then libssh2 reads nothing,
 * so what comes is not waited for.
 *
 * Once a second it looks whether the connection is the limit: whether this
 * thread took most of a core, or FAR_BYTES were on their way at any moment, for
 * sshd's window is 2 MiB, and its TCP's may be less.  Not so through a proxy, of
 * which another might ask somebody something.
 *
 *	running -> closing -> over
 *
 * closing: the link has shut the duct; what is in it still goes out, for
 * CLOSING_MS.  over: the far side has ended, has said nothing for SILENCE_MS
 * though it was asked every ASK_MS, or the connection failed: the link
 * sees the end of its stream, and its channel opens another.
 *
 * With nothing to carry it sleeps until it is time to ask.  What is heard in the
 * meantime, a mount's sign of life for one, makes that later.  It asks for
 * something that no server grants once a command runs, a variable for its
 * environment, and takes the refusal: answers to libssh2's own keep-alives
 * nobody ever takes from the list of packets, which each read goes through.
 */
#include "fs/ssh_session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>	/* libc's knows no least round trip */
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/delay.h"
#include "fs/ssh_cipher.h"

enum {
	ASK_MS		= 6 * 1000,		/* of silence; a mount says by itself that it is there, a little more often */
	SILENCE_MS	= 16 * 1000,
	CLOSING_MS	= 1000,
	LOOK_MS		= 1000,
	CORE_PERCENT	= 75,		/* of a core, or */
	FAR_BYTES	= 512 * 1024,	/* in a round trip: strained */
};

enum stuck { STUCK_NOT, STUCK_WRITE, STUCK_READ, STUCK_ASK };

struct pump {
	struct ssh	*ssh;
	enum stuck	 stuck;
	bool		 closing, over;
	bool		 full;		/* was the duct, when bytes were to come down */
	bool		 asking;	/* and the answer has not come */
	uint64_t	 heard_ms, asked_ms, closing_ms;
	uint64_t	 waited_ms;	/* until when it last did */

	uint64_t	 look_ms, core_ms;	/* of the last look: the clock, and this thread's */
	uint64_t	 moved;			/* bytes since then */
};

static uint64_t
now_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

static bool
is_partial(const struct pump *p, ssize_t n)
{
	return n == LIBSSH2_ERROR_EAGAIN &&
	    (libssh2_session_block_directions(p->ssh->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
}

/* Bytes on their way at any moment: those of a round trip that waits in no queue. */
static uint64_t
under_way(const struct pump *p, uint64_t ms)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;

	if (getsockopt(p->ssh->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_min_rtt == UINT32_MAX)
		return 0;	/* or not measured yet */
	return p->moved / ms * info.tcpi_min_rtt / 1000;
}

static void
look(struct pump *p)
{
	uint64_t now = now_ms(), core, ms = now - p->look_ms;

	if (ms < LOOK_MS || p->ssh->proxy > 0)
		return;
	core = clock_ms(CLOCK_THREAD_CPUTIME_ID);
	p->ssh->strained = (core - p->core_ms) * 100 >= ms * CORE_PERCENT || under_way(p, ms) >= FAR_BYTES;
	p->look_ms = now;
	p->core_ms = core;
	p->moved = 0;
}

/* What is to go up; and when the link has shut its end, that is all. */
static size_t
waiting_up(struct pump *p, const char **ret_at)
{
	if (!p->closing && duct_is_shut(p->ssh->duct)) {
		p->closing = true;
		p->closing_ms = now_ms();
	}
	return duct_outward(p->ssh->duct, ret_at);
}

/* Each of these returns whether something moved. */

static bool
send_up(struct pump *p, const char *at, size_t len)
{
	ssize_t n;

	if (len == 0 || (p->stuck != STUCK_NOT && p->stuck != STUCK_WRITE))
		return false;
	n = libssh2_channel_write_ex(p->ssh->channel, 0, at, len);
	p->stuck = is_partial(p, n) ? STUCK_WRITE : STUCK_NOT;
	if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
		p->over = true;
	if (n <= 0)
		return p->over;
	duct_took(p->ssh->duct, (size_t)n);
	p->moved += (size_t)n;
	return true;
}

/* What it brings nobody takes any more, but nothing goes up before it is done. */
static void
finish_read(struct pump *p)
{
	char waste[1024];

	p->stuck = is_partial(p, libssh2_channel_read_ex(p->ssh->channel, 0, waste, sizeof waste)) ? STUCK_READ : STUCK_NOT;
}

static bool
bring_down(struct pump *p)
{
	char *at;
	size_t room = duct_room(p->ssh->duct, &at);
	ssize_t n;

	p->full = p->closing || room == 0;
	if (p->closing && p->stuck == STUCK_READ)
		finish_read(p);
	if (p->full || (p->stuck != STUCK_NOT && p->stuck != STUCK_READ))
		return false;
	n = libssh2_channel_read_ex(p->ssh->channel, 0, at, room);
	p->stuck = is_partial(p, n) ? STUCK_READ : STUCK_NOT;
	if (n == LIBSSH2_ERROR_EAGAIN)
		return false;
	if (n > 0) {
		duct_put(p->ssh->duct, (size_t)n);
		p->moved += (size_t)n;
		return true;
	}
	p->over = n < 0 || libssh2_channel_eof(p->ssh->channel) != 0;
	return p->over;
}

/* Asks, and takes the answer if it has come. */
static void
ask(struct pump *p)
{
	int r;

	if (!p->asking || (p->stuck != STUCK_NOT && p->stuck != STUCK_ASK))
		return;
	r = libssh2_channel_setenv(p->ssh->channel, "NUAGE_ALIVE", "");
	p->stuck = is_partial(p, r) ? STUCK_ASK : STUCK_NOT;
	p->asking = r == LIBSSH2_ERROR_EAGAIN;
	/* A quick answer has been read before anybody could have waited for it. */
	if (r == 0 || r == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
		p->heard_ms = now_ms();
}

/*
 * While it waited for its answer, asking took other packets off the socket,
 * which says no more of them.  A read that is stuck has its packets here too,
 * and waits for the socket all the same.
 */
static bool
is_put_aside(struct pump *p)
{
	return !p->full && p->stuck == STUCK_NOT && libssh2_poll_channel_read(p->ssh->channel, 0) > 0;
}

/* How long nothing is to be done if nothing comes. */
static int
rest_ms(const struct pump *p)
{
	uint64_t now = now_ms(), said = p->heard_ms > p->asked_ms ? p->heard_ms : p->asked_ms;
	uint64_t until = p->heard_ms + SILENCE_MS;

	if (p->closing)
		return 100;
	/* In the middle of a packet nothing can be asked. */
	if (p->stuck == STUCK_NOT && said + ASK_MS < until)
		until = said + ASK_MS;
	/* It is to be seen that it has ended. */
	if (p->ssh->strained && p->look_ms + LOOK_MS < until)
		until = p->look_ms + LOOK_MS;
	return until > now ? (int)(until - now) + 1 : 1;
}

/* What the peer's system, or a proxy, has not taken off the socket yet. */
static int
unsent(const struct pump *p)
{
	int n = 0;

	return ioctl(p->ssh->fd, SIOCOUTQ, &n) < 0 ? 0 : n;
}

/*
 * For what this round could not do: `up` bytes that did not go, or room that
 * there was none of.  What the link does meanwhile duct_rest() sees; to look
 * here for ourselves would be to wait for the network to move what nobody tried.
 */
static void
wait(struct pump *p, size_t up)
{
	struct pollfd f[] = { { .fd = p->ssh->fd }, { .fd = duct_bell(p->ssh->duct), .events = POLLIN } };
	int left = p->stuck != STUCK_NOT ? unsent(p) : 0;

	/* While the duct is full only what the writing waits for is read. */
	f[0].events = (short)(p->stuck != STUCK_NOT ? POLLOUT : !p->full || up > 0 ? POLLIN : 0);
	if (f[0].events == 0)
		f[0].fd = -1;	/* that it has ended is heard when there is room */
	if (!duct_rest(p->ssh->duct, up == 0 && !p->closing, p->full && !p->closing))
		return;
	/* With its hands full it has not listened. */
	if (now_ms() - p->waited_ms > ASK_MS)
		p->heard_ms = now_ms();
	if (poll(f, 2, rest_ms(p)) < 0)
		f[0].revents = 0;
	duct_rested(p->ssh->duct);
	/* That nobody takes what is in the duct is no silence of the peer, nor that much is on a slow way. */
	if (f[0].revents != 0 || f[0].events == 0 || (p->stuck != STUCK_NOT && unsent(p) != left))
		p->heard_ms = now_ms();
	else if (p->stuck == STUCK_NOT && now_ms() - p->heard_ms >= ASK_MS && now_ms() - p->asked_ms >= ASK_MS) {
		p->asked_ms = now_ms();
		p->asking = true;
	}
	p->waited_ms = now_ms();
	if (p->waited_ms - p->heard_ms > SILENCE_MS)
		p->over = true;
}

static bool
has_to_go_on(struct pump *p, size_t waiting)
{
	return !p->over && !(p->closing && (waiting == 0 || now_ms() - p->closing_ms > CLOSING_MS));
}

static void *
pump_main(void *argument)
{
	struct pump *p = argument;
	const char *up;
	size_t len;

	ssh_cipher_enter();	/* for keys that are agreed on anew */
	while (len = waiting_up(p, &up), has_to_go_on(p, len)) {
		bool was_stuck = p->stuck != STUCK_NOT, moved = send_up(p, up, len);

		if (!p->over)
			moved |= bring_down(p);
		ask(p);
		/* What had to wait for that has not been tried. */
		moved |= was_stuck && p->stuck == STUCK_NOT;
		if (!moved && !is_put_aside(p)) {
			DELAY_POINT("pump-rest");
			wait(p, len);
		}
		look(p);
	}
	duct_end(p->ssh->duct);
	free(p);
	return NULL;
}

int
ssh_pump_start(struct ssh *s)
{
	struct pump *p = calloc(1, sizeof *p);

	if (p != NULL) {
		p->ssh = s;
		p->heard_ms = p->look_ms = now_ms();
		s->pumping = pthread_create(&s->pump, NULL, pump_main, p) == 0;
	}
	if (!s->pumping)
		free(p);
	return s->pumping ? 0 : -EAGAIN;
}
