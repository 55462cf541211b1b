/*
 * test_duct.c - a duct with its three threads: what goes in comes out, whatever
 * the sizes; who waits is woken by what he waits for, and by nothing less; large
 * pieces are not copied, and come back to who lent them; the two ends of it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/duct.h"
#include "tests/tap.h"

enum { HALF = DUCT_SIZE / 2, PLENTY = 24 << 20, SHORT_MS = 50 };

/* ---- bytes that tell where they belong ---- */

static uint8_t
byte_at(uint64_t position)
{
	return (uint8_t)(position * 167 + (position >> 8) * 31 + (position >> 16));
}

static void
write_bytes(uint8_t *to, uint64_t position, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = byte_at(position + i);
}

static bool
are_bytes(const uint8_t *data, uint64_t position, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != byte_at(position + i))
			return false;
	return true;
}

/* ---- the carrier brings back what goes out ---- */

struct carrier {
	struct duct	*duct;
	pthread_t	 thread;
	bool		 ends;		/* by itself, after `most` */
	uint64_t	 most, carried;
	unsigned	 seed;
};

static void *
carry(void *argument)
{
	struct carrier *c = argument;

	while (!duct_is_shut(c->duct) && !(c->ends && c->carried == c->most)) {
		struct pollfd p = { .fd = duct_bell(c->duct), .events = POLLIN };
		const char *from;
		char *to;
		size_t len = duct_outward(c->duct, &from), room = duct_room(c->duct, &to);
		size_t most = 1 + (size_t)rand_r(&c->seed) % 70000, n = len < room ? len : room;

		n = n < most ? n : most;
		n = c->ends && n > c->most - c->carried ? (size_t)(c->most - c->carried) : n;
		if (n == 0) {
			if (!duct_rest(c->duct, len == 0, len > 0))
				continue;
			poll(&p, 1, -1);
			duct_rested(c->duct);
			continue;
		}
		memcpy(to, from, n);
		duct_put(c->duct, n);
		duct_took(c->duct, n);
		c->carried += n;
	}
	duct_end(c->duct);
	return NULL;
}

static void
start(struct carrier *c, unsigned seed)
{
	*c = (struct carrier){ .duct = c->duct, .ends = c->ends, .most = c->most, .seed = seed };
	if (c->duct == NULL)
		duct_new(&c->duct);
	pthread_create(&c->thread, NULL, carry, c);
}

static void
stop(struct carrier *c)
{
	duct_shut(c->duct);
	pthread_join(c->thread, NULL);
	duct_free(c->duct);
	c->duct = NULL;
}

/* ---- a link's two threads ---- */

struct sender {
	struct duct	*duct;
	uint64_t	 most, sent;
	unsigned	 seed;
	bool		 small;		/* pieces only */
	int		 result;
};

static void *
send_all(void *argument)
{
	struct sender *s = argument;
	uint8_t *data = malloc(1 << 20);

	while (s->sent < s->most && s->result == 0) {
		size_t len = 1 + (size_t)rand_r(&s->seed) % (rand_r(&s->seed) % 4 == 0 && !s->small ? 1 << 20 : 3000), head;
		struct iovec iov[2];

		len = len < s->most - s->sent ? len : (size_t)(s->most - s->sent);
		head = (size_t)rand_r(&s->seed) % (len + 1);
		write_bytes(data, s->sent, len);
		iov[0] = (struct iovec){ data, head };
		iov[1] = (struct iovec){ data + head, len - head };
		s->result = duct_send(s->duct, iov, 2);
		/* It keeps nothing of it. */
		memset(data, 0xee, len);
		if (s->result == 0)
			s->sent += len;
	}
	free(data);
	return NULL;
}

/* Bytes from `at` on, until `most` or the end; how many were right. */
static uint64_t
receive_all(struct duct *d, uint64_t at, uint64_t most, unsigned seed, ssize_t *ret_last)
{
	uint8_t *data = malloc(1 << 20);
	uint64_t from = at;

	*ret_last = 1;
	while (at < most) {
		size_t want = 1 + (size_t)rand_r(&seed) % (1 << 20), least;

		want = want < most - at ? want : (size_t)(most - at);
		least = 1 + (size_t)rand_r(&seed) % want;
		*ret_last = duct_receive(d, data, least, want, 0, -1);
		if (*ret_last <= 0 || !are_bytes(data, at, (size_t)*ret_last))
			break;
		at += (uint64_t)*ret_last;
	}
	free(data);
	return at - from;
}

static void
test_plenty(void)
{
	unsigned seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	struct carrier c = { 0 };
	struct sender s = { .most = PLENTY, .seed = seed + 1 };
	pthread_t thread;
	ssize_t last;
	uint64_t n;

	start(&c, seed);
	s.duct = c.duct;
	pthread_create(&thread, NULL, send_all, &s);
	n = receive_all(c.duct, 0, PLENTY, seed + 2, &last);
	if (n != PLENTY)
		duct_shut(c.duct);
	pthread_join(thread, NULL);
	ok(n == PLENTY && s.sent == PLENTY && c.carried == PLENTY, "plenty, both ways at once (SEED=%u)", seed);
	stop(&c);
}

/* ---- one step at a time, in one thread ---- */

static bool
puts_in(struct duct *d, uint64_t position, size_t len)
{
	char *to;

	if (duct_room(d, &to) < len)
		return false;
	write_bytes((uint8_t *)to, position, len);
	duct_put(d, len);
	return true;
}

static bool
takes_out(struct duct *d, uint64_t position, size_t len)
{
	const char *from;

	if (duct_outward(d, &from) < len || !are_bytes((const uint8_t *)from, position, len))
		return false;
	duct_took(d, len);
	return true;
}

static bool
sends(struct duct *d, uint64_t position, size_t len)
{
	uint8_t *data = malloc(len);
	struct iovec iov = { data, len };
	int r;

	write_bytes(data, position, len);
	r = duct_send(d, &iov, 1);
	free(data);
	return r == 0;
}

static bool
rings(struct duct *d)
{
	struct pollfd p = { .fd = duct_bell(d), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static uint64_t
soon(void)
{
	return clock_ms(CLOCK_MONOTONIC) + SHORT_MS;
}

static void
test_wrap(void)
{
	static uint8_t data[DUCT_SIZE];
	struct duct *d = NULL;
	uint64_t at = 0;
	bool fine;

	duct_new(&d);
	for (fine = true; fine && at < UINT64_C(5) * DUCT_SIZE; at += 100003)
		fine = puts_in(d, at, 100003) && duct_receive(d, data, 100003, sizeof data, 0, -1) == 100003 &&
		    are_bytes(data, at, 100003);
	ok(fine, "inwards each piece is whole, wherever it lies");
	for (at = 0, fine = true; fine && at < UINT64_C(5) * DUCT_SIZE; at += 100003)
		fine = sends(d, at, 100003) && takes_out(d, at, 100003);
	ok(fine, "and outwards");
	ok(puts_in(d, 0, DUCT_SIZE) && !puts_in(d, 0, 1), "it takes DUCT_SIZE and no more");
	duct_free(d);
}

static void
test_receiver(void)
{
	static uint8_t data[DUCT_SIZE];
	int cancel = eventfd(0, EFD_CLOEXEC);
	struct duct *d = NULL;

	duct_new(&d);
	ok(duct_receive(d, data, 1, sizeof data, soon(), -1) == -ETIMEDOUT, "nothing comes: the deadline");
	puts_in(d, 0, 100);
	ok(duct_receive(d, data, 101, sizeof data, soon(), -1) == -ETIMEDOUT, "nor are fewer than wanted anything");
	eventfd_write(cancel, 1);
	ok(duct_receive(d, data, 101, sizeof data, soon(), cancel) == -ECANCELED, "called off");
	ok(duct_receive(d, data, 100, 40, 0, -1) == 40 && duct_receive(d, data, 1, sizeof data, 0, cancel) == 60 &&
	    are_bytes(data, 40, 60), "nothing of that is lost");
	puts_in(d, 0, HALF);
	ok(duct_receive(d, data, 4 * DUCT_SIZE, sizeof data, 0, -1) == HALF, "half of it is enough for who wants more than all");
	puts_in(d, 7, 100);
	duct_end(d);
	ok(duct_receive(d, data, 1000, sizeof data, 0, -1) == 100 && are_bytes(data, 7, 100) &&
	    duct_receive(d, data, 1000, sizeof data, 0, -1) == 0, "what is there before the end, and the end");
	ok(!sends(d, 0, 1), "nobody would carry it");
	close(cancel);
	duct_free(d);
}

static void
test_bell(void)
{
	static uint8_t data[DUCT_SIZE];
	struct duct *d = NULL;

	duct_new(&d);
	ok(duct_rest(d, true, false) && !rings(d), "nothing goes out: the carrier may rest");
	puts_in(d, 0, 10);
	duct_receive(d, data, 1, 10, 0, -1);
	ok(!rings(d), "room inwards is not what it waits for");
	sends(d, 0, 10);
	ok(rings(d), "bytes are");
	duct_rested(d);
	ok(!rings(d) && !duct_rest(d, true, false) && takes_out(d, 0, 10), "there are some: no rest");
	sends(d, 0, 10);
	ok(!rings(d) && takes_out(d, 0, 10), "it is not called while it does not rest");

	puts_in(d, 0, DUCT_SIZE);
	ok(duct_rest(d, false, true), "no room: it may rest");
	duct_receive(d, data, 1, HALF - 1, 0, -1);
	ok(!rings(d), "not for a little room");
	duct_receive(d, data, 1, 1, 0, -1);
	ok(rings(d), "for half of it");
	duct_rested(d);
	ok(!duct_rest(d, false, true), "and then there is no rest");

	ok(duct_rest(d, true, false) && !duct_is_shut(d), "it rests again");
	duct_shut(d);
	ok(rings(d) && duct_is_shut(d), "until the link goes");
	duct_rested(d);
	ok(!duct_rest(d, true, false), "of which it is to know");
	ok(duct_receive(d, data, 1, sizeof data, 0, -1) == 0, "which gets nothing any more");
	duct_free(d);
}

/* What was said before the shutting is still there to be carried. */
static void
test_shut(void)
{
	struct duct *d = NULL;

	duct_new(&d);
	sends(d, 0, 5000);
	duct_shut(d);
	ok(takes_out(d, 0, 5000) && !sends(d, 0, 1), "shut: what was sent stays, nothing follows");
	duct_free(d);
}

/* ---- the ends, while threads wait ---- */

static void
test_carrier_ends(void)
{
	struct carrier c = { .ends = true, .most = 3 << 20 };
	struct sender s = { .most = PLENTY, .seed = 5 };
	pthread_t thread;
	ssize_t last;
	uint64_t n;

	start(&c, 3);
	s.duct = c.duct;
	pthread_create(&thread, NULL, send_all, &s);
	n = receive_all(c.duct, 0, PLENTY, 9, &last);
	pthread_join(thread, NULL);
	ok(last == 0 && n == 3 << 20 && s.result == -EPIPE, "the carrier ends: all it brought, then the end; the sender is told");
	stop(&c);
}

/* ---- large pieces ---- */

struct lender {
	struct duct	*duct;
	bool		 receives;
	size_t		 len;
	ssize_t		 result;
	_Atomic bool	 returned;
	pthread_t	 thread;
	uint8_t		 data[1 << 20];
};

static void *
lend(void *argument)
{
	struct lender *l = argument;
	struct iovec iov = { l->data, l->len };

	l->result = l->receives ? duct_receive(l->duct, l->data, l->len, l->len, 0, -1) : duct_send(l->duct, &iov, 1);
	l->returned = true;
	return NULL;
}

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = SHORT_MS * 1000000 }, NULL);
}

static struct lender *
lender_start(bool receives, size_t len)
{
	struct lender *l = calloc(1, sizeof *l);

	duct_new(&l->duct);
	l->receives = receives;
	l->len = len;
	if (!receives)
		write_bytes(l->data, 0, len);
	pthread_create(&l->thread, NULL, lend, l);
	return l;
}

static ssize_t
lender_end(struct lender *l)
{
	ssize_t result;

	pthread_join(l->thread, NULL);
	result = l->result;
	duct_free(l->duct);
	free(l);
	return result;
}

static bool
is_inside(const struct lender *l, const char *at)
{
	return (const uint8_t *)at >= l->data && (const uint8_t *)at < l->data + sizeof l->data;
}

static void
test_lent(void)
{
	struct lender *l = lender_start(false, 1 << 20);
	bool fine = true, early = false;
	const char *from;
	size_t len, at = 0;

	while (duct_outward(l->duct, &from) == 0)
		nap();
	while (fine && (len = duct_outward(l->duct, &from)) > 0) {
		early |= l->returned;
		fine = is_inside(l, from) && len == l->len - at && are_bytes((const uint8_t *)from, at, len);
		len = len < 30000 ? len : 30000;
		duct_took(l->duct, len);
		at += len;
	}
	ok(fine && at == l->len, "a large piece is taken from where it is");
	ok(!early && lender_end(l) == 0, "and its sender waits for all of it");
}

static void
test_wanted(void)
{
	struct lender *l = lender_start(true, 1 << 20);
	bool fine = true;
	size_t at = 0, n;
	char *to;

	while (duct_room(l->duct, &to) != l->len)
		nap();
	for (; fine && at < l->len; at += n) {
		n = duct_room(l->duct, &to);
		fine = is_inside(l, to) && n == l->len - at && !l->returned;
		n = n < 30000 ? n : 30000;
		write_bytes((uint8_t *)to, at, n);
		duct_put(l->duct, n);
	}
	pthread_join(l->thread, NULL);
	ok(fine && l->result == 1 << 20 && are_bytes(l->data, 0, l->len), "one that is wanted comes to where it is wanted");
	duct_free(l->duct);
	free(l);
}

/* The carrier had been shown the ring, and fills it, while the receiver lends his memory. */
static void
test_crossing(void)
{
	struct lender *l = calloc(1, sizeof *l);
	char *to;

	duct_new(&l->duct);
	l->receives = true;
	l->len = sizeof l->data;
	duct_room(l->duct, &to);
	pthread_create(&l->thread, NULL, lend, l);
	nap();
	write_bytes((uint8_t *)to, 0, 100);
	duct_put(l->duct, 100);
	pthread_join(l->thread, NULL);
	ok(l->result == 100 && are_bytes(l->data, 0, 100), "what was put elsewhere meanwhile comes first");
	pthread_create(&l->thread, NULL, lend, l);
	while (duct_room(l->duct, &to) != l->len)
		nap();
	write_bytes((uint8_t *)to, 100, 300);
	duct_put(l->duct, 300);
	duct_end(l->duct);
	ok(lender_end(l) == 300, "the end: what came is had");
}

/* The carrier may have it in hand. */
static void
test_shut_lent(bool receives)
{
	struct lender *l = lender_start(receives, 1 << 20);
	const char *from;
	bool early;
	char *to;

	while (receives ? duct_room(l->duct, &to) != l->len : duct_outward(l->duct, &from) == 0)
		nap();
	duct_shut(l->duct);
	nap();
	early = l->returned;
	ok(!early && duct_is_shut(l->duct) && lender_end(l) == (receives ? 0 : -EPIPE),
	    "shut: what is lent for %s comes back when the carrier knows", receives ? "receiving" : "sending");
}

/* ---- shut while they wait ---- */

static void *
shut_later(void *duct)
{
	nap();
	duct_shut(duct);
	return NULL;
}

static void
test_shut_while_waiting(void)
{
	struct duct *d = NULL;
	struct sender s = { .most = DUCT_SIZE + HALF, .seed = 5, .small = true };
	pthread_t thread, shutter;
	uint8_t byte;

	duct_new(&d);
	s.duct = d;
	pthread_create(&thread, NULL, send_all, &s);	/* nobody carries: it has to wait */
	pthread_create(&shutter, NULL, shut_later, d);
	ok(duct_receive(d, &byte, 1, 1, 0, -1) == 0, "who waits to receive is let go");
	pthread_join(thread, NULL);
	pthread_join(shutter, NULL);
	ok(s.result == -EPIPE, "and who waits to send");
	duct_free(d);
}

int
main(void)
{
	test_plenty();
	test_wrap();
	test_receiver();
	test_bell();
	test_shut();
	test_carrier_ends();
	test_lent();
	test_wanted();
	test_crossing();
	test_shut_lent(false);
	test_shut_lent(true);
	test_shut_while_waiting();
	return tap_done();
}
