/*
 * duct.c - see duct.h.
 *
 * Two rings, each of which one thread fills and one empties.  Bytes are copied
 * without the lock, which guards the positions: what lies between `out` and `in`
 * belongs to the emptier, the rest to the filler.  A ring is mapped twice, one
 * copy behind the other, so that no piece of it ends at the wrap.
 *
 * A piece larger than half of it is a loan beside the ring:
 *
 *	none -> lent (by the link's thread, which sleeps) -> none (by the carrier)
 *
 * Only the carrier ends one: when it has done what was wanted; when it is told
 * that the duct is shut, or ends it, for then it has nothing in hand; or, of one
 * inwards, when it has put bytes into the ring that it had been shown before,
 * which go first.  A sender lends behind what is in the ring, a receiver only
 * when nothing is.
 *
 * Who has to wait says for how many bytes, and is woken when there are so many,
 * not for each that comes: nearly all of a link's bytes are in frames longer than
 * what SSH carries at once, and to wake a thread costs as much as to copy 30 KiB.
 *
 * Each of the three sleeps on an eventfd of his own, not a condition, for he may
 * have more to wait for.  `need` is 0 while he does not sleep.
 *
 *	open -> shut (by the link) | ended (by the carrier)
 *
 * Invariants:
 *	1. in - out <= DUCT_SIZE, of each ring.
 *	2. No loan is made when shut or ended.
 *	3. Who has lent sleeps until the loan is none.
 */
#include "fs/duct.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/lock.h"
#include "fs/resolve.h"

enum {
	HALF		= DUCT_SIZE / 2,
	ROOM_LEAST	= 32 * 1024,		/* what one packet of SSH brings */
};

struct ring {
	char		*base;		/* 2 * DUCT_SIZE, the same twice */
	uint64_t	 in, out;	/* all that ever was put in, and taken out */
};

struct loan {
	char		*at;		/* NULL: none */
	size_t		 len, done;
	size_t		 enough;	/* done, and it is over */
};

struct sleeper {
	int		 fd;
	size_t		 need;
};

struct duct {
	pthread_mutex_t	 lock;
	struct ring	 outward, inward;
	struct loan	 lent, wanted;		/* outwards, inwards */
	bool		 room_is_loan;		/* that the carrier was shown */
	bool		 shut, ended;
	struct sleeper	 sender, receiver;	/* for room outwards, for bytes inwards */
	struct sleeper	 carrier;		/* for bytes outwards; */
	size_t		 carrier_room;		/* and for room inwards */
};

/* ---- life ---- */

/* To map no bytes of what is shared anew, elsewhere, maps all of it there too: mremap(2). */
static int
ring_init(struct ring *r)
{
	char *base = mmap(NULL, 2 * DUCT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int error;

	if (base == MAP_FAILED)
		return -errno;
	if (mremap(base, 0, DUCT_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, base + DUCT_SIZE) == MAP_FAILED) {
		error = errno;
		munmap(base, 2 * DUCT_SIZE);
		return -error;
	}
	r->base = base;
	return 0;
}

static void
ring_done(struct ring *r)
{
	if (r->base != NULL)
		munmap(r->base, 2 * DUCT_SIZE);
}

static void
sleeper_done(struct sleeper *s)
{
	if (s->fd >= 0)
		close(s->fd);
}

int
duct_new(struct duct **ret)
{
	struct duct *d = calloc(1, sizeof *d);
	int r;

	if (d == NULL)
		return -ENOMEM;
	lock_init(&d->lock);
	d->sender.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->receiver.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->carrier.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = d->sender.fd < 0 || d->receiver.fd < 0 || d->carrier.fd < 0 ? -errno : ring_init(&d->outward);
	if (r == 0)
		r = ring_init(&d->inward);
	if (r < 0) {
		duct_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void
duct_free(struct duct *d)
{
	if (d == NULL)
		return;
	sleeper_done(&d->sender);
	sleeper_done(&d->receiver);
	sleeper_done(&d->carrier);
	ring_done(&d->outward);
	ring_done(&d->inward);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* ---- under the lock ---- */

static size_t
held(const struct ring *r)
{
	return (size_t)(r->in - r->out);
}

static size_t
room(const struct ring *r)
{
	return DUCT_SIZE - held(r);
}

static void
wake(struct sleeper *s)
{
	s->need = 0;
	eventfd_write(s->fd, 1);
}

static void
wake_carrier(struct duct *d)
{
	d->carrier_room = 0;
	wake(&d->carrier);
}

static void
wake_all(struct duct *d)
{
	wake(&d->sender);
	wake(&d->receiver);
	wake_carrier(d);
}

/* ---- the link's ---- */

/* Waits until one more look is due. */
static int
sleep_on(struct sleeper *s, uint64_t deadline_ms, int cancel_fd)
{
	int r = resolve_wait(s->fd, POLLIN, deadline_ms, cancel_fd);
	eventfd_t times;

	if (r == 0)
		eventfd_read(s->fd, &times);
	return r;
}

static bool
is_over(struct duct *d, const struct loan *l)
{
	LOCK_SCOPE(&d->lock);
	return l->at == NULL;
}

/* Whatever a wait says, the memory is the carrier's until then. */
static void
await_return(struct duct *d, const struct loan *l, struct sleeper *s)
{
	while (!is_over(d, l))
		sleep_on(s, 0, -1);
}

static int
lend(struct duct *d, const struct iovec *v)
{
	{
		LOCK_SCOPE(&d->lock);
		if (d->shut || d->ended)
			return -EPIPE;
		d->lent = (struct loan){ v->iov_base, v->iov_len, 0, v->iov_len };
		if (d->carrier.need > 0)
			wake_carrier(d);
	}
	await_return(d, &d->lent, &d->sender);
	return d->lent.done == v->iov_len ? 0 : -EPIPE;
}

/* 1: there is room for `len`; 0: it is to be waited for; or a negative errno. */
static int
find_room(struct duct *d, size_t len)
{
	LOCK_SCOPE(&d->lock);
	if (d->shut || d->ended)
		return -EPIPE;
	if (room(&d->outward) >= len)
		return 1;
	d->sender.need = len;
	return 0;
}

static int
put_out(struct duct *d, const struct iovec *v)
{
	int r;

	while ((r = find_room(d, v->iov_len)) == 0)
		if ((r = sleep_on(&d->sender, 0, -1)) < 0)
			return r;
	if (r < 0)
		return r;
	memcpy(d->outward.base + d->outward.in % DUCT_SIZE, v->iov_base, v->iov_len);
	LOCK_SCOPE(&d->lock);
	d->outward.in += v->iov_len;
	if (d->carrier.need > 0)
		wake_carrier(d);
	return 0;
}

int
duct_send(struct duct *d, struct iovec *iov, int count)
{
	int r = 0;

	for (int i = 0; i < count && r == 0; i++)
		if (iov[i].iov_len > 0)
			r = iov[i].iov_len > HALF ? lend(d, &iov[i]) : put_out(d, &iov[i]);
	return r;
}

/* How many there are, and whether more of them are to be waited for: with a loan, if there are none, or without. */
static size_t
find_bytes(struct duct *d, const struct loan *loan, size_t least, bool *ret_wait)
{
	size_t enough = loan != NULL ? 1 : least < HALF ? least : HALF, have;

	LOCK_SCOPE(&d->lock);
	have = d->shut ? 0 : held(&d->inward);
	*ret_wait = have < enough && !d->shut && !d->ended;
	if (*ret_wait && loan != NULL)
		d->wanted = *loan;
	else if (*ret_wait)
		d->receiver.need = enough;
	return have;
}

static ssize_t
take_in(struct duct *d, uint8_t *to, size_t len)
{
	memcpy(to, d->inward.base + d->inward.out % DUCT_SIZE, len);
	LOCK_SCOPE(&d->lock);
	d->inward.out += len;
	if (d->carrier_room > 0 && room(&d->inward) >= d->carrier_room)
		wake_carrier(d);
	return (ssize_t)len;
}

ssize_t
duct_receive(struct duct *d, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd)
{
	const struct loan loan = { (char *)to, most, 0, least };
	/* One that may be called off could not be taken back. */
	bool lends = least > HALF && deadline_ms == 0 && cancel_fd < 0, wait;
	int r;

	for (;;) {
		size_t have = find_bytes(d, lends ? &loan : NULL, least, &wait);

		if (!wait)
			return take_in(d, to, have < most ? have : most);
		if (!lends && (r = sleep_on(&d->receiver, deadline_ms, cancel_fd)) < 0)
			return r;
		if (lends)
			await_return(d, &d->wanted, &d->receiver);
		if (lends && d->wanted.done > 0)
			return (ssize_t)d->wanted.done;
	}
}

void
duct_shut(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	d->shut = true;
	wake_all(d);
}

/* ---- the carrier's ---- */

static void
end_loan(struct loan *l, struct sleeper *s)
{
	if (l->at == NULL)
		return;
	l->at = NULL;
	wake(s);
}

static void
do_loan(struct loan *l, size_t len, struct sleeper *s)
{
	l->done += len;
	if (l->done >= l->enough)
		end_loan(l, s);
}

/* The carrier has nothing in hand. */
static void
let_go(struct duct *d)
{
	end_loan(&d->lent, &d->sender);
	end_loan(&d->wanted, &d->receiver);
}

size_t
duct_outward(struct duct *d, const char **ret_at)
{
	size_t len;

	LOCK_SCOPE(&d->lock);
	*ret_at = d->outward.base + d->outward.out % DUCT_SIZE;
	len = held(&d->outward);
	if (len == 0 && d->lent.at != NULL) {
		*ret_at = d->lent.at + d->lent.done;
		len = d->lent.len - d->lent.done;
	}
	return len;
}

void
duct_took(struct duct *d, size_t len)
{
	LOCK_SCOPE(&d->lock);
	if (held(&d->outward) == 0) {
		do_loan(&d->lent, len, &d->sender);
		return;
	}
	d->outward.out += len;
	if (d->sender.need > 0 && room(&d->outward) >= d->sender.need)
		wake(&d->sender);
}

size_t
duct_room(struct duct *d, char **ret_at)
{
	LOCK_SCOPE(&d->lock);
	d->room_is_loan = d->wanted.at != NULL;
	*ret_at = d->room_is_loan ? d->wanted.at + d->wanted.done : d->inward.base + d->inward.in % DUCT_SIZE;
	return d->room_is_loan ? d->wanted.len - d->wanted.done : room(&d->inward) >= ROOM_LEAST ? room(&d->inward) : 0;
}

void
duct_put(struct duct *d, size_t len)
{
	LOCK_SCOPE(&d->lock);
	if (d->room_is_loan) {
		do_loan(&d->wanted, len, &d->receiver);
		return;
	}
	d->inward.in += len;
	end_loan(&d->wanted, &d->receiver);
	if (d->receiver.need > 0 && held(&d->inward) >= d->receiver.need)
		wake(&d->receiver);
}

bool
duct_is_shut(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	if (d->shut)
		let_go(d);
	return d->shut;
}

void
duct_end(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	d->ended = true;
	let_go(d);
	wake_all(d);
}

int
duct_bell(const struct duct *d)
{
	return d->carrier.fd;
}

bool
duct_rest(struct duct *d, bool for_outward, bool for_room)
{
	LOCK_SCOPE(&d->lock);
	if ((for_outward && (held(&d->outward) > 0 || d->lent.at != NULL || d->shut)) ||
	    (for_room && (d->wanted.at != NULL || room(&d->inward) >= HALF)))
		return false;
	d->carrier.need = for_outward ? 1 : 0;
	d->carrier_room = for_room ? HALF : 0;
	return true;
}

void
duct_rested(struct duct *d)
{
	eventfd_t times;

	LOCK_SCOPE(&d->lock);
	d->carrier.need = 0;
	d->carrier_room = 0;
	eventfd_read(d->carrier.fd, &times);
}
