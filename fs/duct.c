/*
 * duct.c - see duct.h.
 *
 * Two rings, each of which one thread fills and one empties.  Bytes are copied
 * without the lock, which guards the positions: what lies between `out` and `in`
 * belongs to the emptier, the rest to the filler.  A ring is mapped twice, one
 * copy behind the other, so that no piece of it ends at the wrap.
 *
 * Who has to wait says for how many bytes, and is woken when there are so many,
 * not for each that comes: nearly all of a link's frames are longer than
 * what SSH carries at once, and to wake a thread costs as much as to copy 30 KiB.
 *
 * Each of the three sleeps on an eventfd of his own, not a condition, for he may
 * have more to wait for.  `need` is 0 while he does not sleep.
 *
 *	open -> shut (by the link) | ended (by the carrier)
 *
 * Invariants:
 *	1. in - out <= DUCT_SIZE, of each ring.
 *	2. need > 0 only if, when it was set, fewer bytes were there than it says.
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

enum { HALF = DUCT_SIZE / 2 };

struct ring {
	char		*base;		/* 2 * DUCT_SIZE, the same twice */
	uint64_t	 in, out;	/* all that ever was put in, and taken out */
};

struct sleeper {
	int		 fd;
	size_t		 need;
};

struct duct {
	pthread_mutex_t	 lock;
	struct ring	 outward, inward;
	bool		 shut, ended;
	struct sleeper	 sender, receiver;	/* for room outwards, for bytes inwards */
	struct sleeper	 carrier;		/* for bytes outwards; */
	size_t		 carrier_room;		/* and for room inwards */
};

/* ---- life ---- */

static int
ring_init(struct ring *r)
{
	int fd = memfd_create("nuage-duct", MFD_CLOEXEC), error = 0;
	char *base = MAP_FAILED;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, DUCT_SIZE) == 0)
		base = mmap(NULL, 2 * DUCT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2 && base != MAP_FAILED && error == 0; i++)
		if (mmap(base + i * DUCT_SIZE, DUCT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			error = errno;
	if (base == MAP_FAILED)
		error = errno;
	else if (error != 0)
		munmap(base, 2 * DUCT_SIZE);
	else
		r->base = base;
	close(fd);
	return -error;
}

static void
ring_done(struct ring *r)
{
	if (r->base != NULL)
		munmap(r->base, 2 * DUCT_SIZE);
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
	const struct sleeper *all[] = { &d->sender, &d->receiver, &d->carrier };

	if (d == NULL)
		return;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i]->fd >= 0)
			close(all[i]->fd);
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

/* As much of iov[] as there is room for; its length.  What is left is moved to the front. */
static size_t
fill(struct ring *r, size_t space, struct iovec **iov, int *count)
{
	char *at = r->base + r->in % DUCT_SIZE;
	size_t all = 0, n;

	for (; *count > 0 && all < space; all += n) {
		struct iovec *v = *iov;

		n = v->iov_len < space - all ? v->iov_len : space - all;
		memcpy(at + all, v->iov_base, n);
		v->iov_base = (char *)v->iov_base + n;
		v->iov_len -= n;
		if (v->iov_len == 0) {
			++*iov;
			--*count;
		}
	}
	return all;
}

/* The room there is, for `len` or half of the ring at least; 0: it is to be waited for. */
static int
find_room(struct duct *d, size_t len, size_t *ret)
{
	LOCK_SCOPE(&d->lock);
	if (d->shut || d->ended)
		return -EPIPE;
	*ret = room(&d->outward);
	if (*ret < len && *ret < HALF) {
		d->sender.need = len < HALF ? len : HALF;
		*ret = 0;
	}
	return 0;
}

int
duct_send(struct duct *d, struct iovec *iov, int count)
{
	size_t len = 0, space = 0, n;
	int r = 0;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	while (len > 0) {
		if ((r = find_room(d, len, &space)) < 0 || (space == 0 && (r = sleep_on(&d->sender, 0, -1)) < 0))
			return r;
		if (space == 0)
			continue;
		n = fill(&d->outward, space, &iov, &count);
		len -= n;
		LOCK_SCOPE(&d->lock);
		d->outward.in += n;
		if (d->carrier.need > 0)
			wake_carrier(d);
	}
	return 0;
}

/* How many there are, and whether more of them are to be waited for. */
static size_t
find_bytes(struct duct *d, size_t least, bool *ret_wait)
{
	size_t enough = least < HALF ? least : HALF, have;

	LOCK_SCOPE(&d->lock);
	have = d->shut ? 0 : held(&d->inward);
	*ret_wait = have < enough && !d->shut && !d->ended;
	if (*ret_wait)
		d->receiver.need = enough;
	return have;
}

ssize_t
duct_receive(struct duct *d, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd)
{
	size_t have;
	bool wait;
	int r;

	for (;;) {
		have = find_bytes(d, least, &wait);
		if (!wait)
			break;
		if ((r = sleep_on(&d->receiver, deadline_ms, cancel_fd)) < 0)
			return r;
	}
	if (have > most)
		have = most;
	memcpy(to, d->inward.base + d->inward.out % DUCT_SIZE, have);
	LOCK_SCOPE(&d->lock);
	d->inward.out += have;
	if (d->carrier_room > 0 && room(&d->inward) >= d->carrier_room)
		wake_carrier(d);
	return (ssize_t)have;
}

void
duct_shut(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	d->shut = true;
	wake_all(d);
}

/* ---- the carrier's ---- */

size_t
duct_outward(struct duct *d, const char **ret_at)
{
	LOCK_SCOPE(&d->lock);
	*ret_at = d->outward.base + d->outward.out % DUCT_SIZE;
	return held(&d->outward);
}

void
duct_took(struct duct *d, size_t len)
{
	LOCK_SCOPE(&d->lock);
	d->outward.out += len;
	if (d->sender.need > 0 && room(&d->outward) >= d->sender.need)
		wake(&d->sender);
}

size_t
duct_room(struct duct *d, char **ret_at)
{
	LOCK_SCOPE(&d->lock);
	*ret_at = d->inward.base + d->inward.in % DUCT_SIZE;
	return room(&d->inward);
}

void
duct_put(struct duct *d, size_t len)
{
	LOCK_SCOPE(&d->lock);
	d->inward.in += len;
	if (d->receiver.need > 0 && held(&d->inward) >= d->receiver.need)
		wake(&d->receiver);
}

bool
duct_is_shut(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	return d->shut;
}

void
duct_end(struct duct *d)
{
	LOCK_SCOPE(&d->lock);
	d->ended = true;
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
	if ((for_outward && (held(&d->outward) > 0 || d->shut)) || (for_room && room(&d->inward) >= HALF))
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
