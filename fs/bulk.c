/*
 * bulk.c - see bulk.h.
 *
 *	lanes 0 .. open - 1 are started; the others are not
 *
 * One is opened when all that are open have been strained for STRAINED_MS.
 * The last one is closed when it has been silent for IDLE_MS; when it does not
 * come up, and then none is opened for REFUSED_MS; or when one of those beside
 * the first does not come up again, and then none for LOST_MS.  So who lets
 * nobody in any more is left in peace.  Each lane is a channel with threads of
 * its own.
 *
 * Only bulk_tick() and bulk_stop() change `open`, and one thread calls them.
 */
#include "fs/bulk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "fs/log.h"
#include "fs/mover.h"

enum {
	STRAINED_MS	= 2000,
	IDLE_MS		= 30 * 1000,
	REFUSED_MS	= 30 * 60 * 1000,	/* a server may count attempts that fail */
	LOST_MS		= 10 * 1000,
};

struct bulk {
	struct bulk_lane {
		struct bulk	*bulk;
		unsigned	 number;
		struct channel	*channel;
	} lanes[MOVER_LANES];
	_Atomic unsigned	 open;
	bool			 came_up;	/* the last of them has */
	uint64_t		 strained_ms;	/* since when they are; 0: not */
	uint64_t		 refused_ms;	/* none is opened before; 0: now */
	const struct bulk_calls	*calls;
	void			*context;
};

/* ---- the channels' calls ---- */

static int
attach(void *context, struct link *link, char *why, size_t size)
{
	struct bulk_lane *l = context;

	return l->bulk->calls->attach(l->bulk->context, link, why, size);
}

static void
received(void *context, const struct message *m, struct buffer *frame)
{
	struct bulk_lane *l = context;

	l->bulk->calls->received(l->bulk->context, m, frame);
}

static int
fill(void *context, struct link *link)
{
	struct bulk_lane *l = context;

	return l->bulk->calls->fill(l->bulk->context, l->number, link);
}

/* What it had sent the others take. */
static void
lost(void *context)
{
	struct bulk_lane *l = context;

	l->bulk->calls->lost(l->bulk->context, l->number);
	bulk_kick(l->bulk, false);
}

static const struct channel_calls channel_calls = { attach, received, fill, lost };

/* ---- life ---- */

int
bulk_new(struct bulk **ret, const struct link_target *target, const struct bulk_calls *calls, void *context)
{
	struct bulk *b = calloc(1, sizeof *b);
	struct link_target quiet = *target;
	int r = b != NULL ? 0 : -ENOMEM;

	quiet.quiet = true;
	for (unsigned i = 0; i < MOVER_LANES && r == 0; i++) {
		b->lanes[i] = (struct bulk_lane){ .bulk = b, .number = i };
		r = channel_new(&b->lanes[i].channel, i == 0 ? "bulk" : "another bulk", i == 0 ? target : &quiet, &channel_calls,
		    &b->lanes[i]);
	}
	if (r < 0) {
		bulk_free(b);
		return r;
	}
	b->calls = calls;
	b->context = context;
	*ret = b;
	return 0;
}

int
bulk_start(struct bulk *b)
{
	int r = channel_start(b->lanes[0].channel);

	if (r == 0)
		b->open = 1;
	return r;
}

void
bulk_stop(struct bulk *b)
{
	for (unsigned i = b == NULL ? 0 : MOVER_LANES; i-- > 0;)
		channel_stop(b->lanes[i].channel);
}

void
bulk_free(struct bulk *b)
{
	if (b == NULL)
		return;
	for (unsigned i = 0; i < MOVER_LANES; i++)
		channel_free(b->lanes[i].channel);
	free(b);
}

/* ---- more and fewer ---- */

/* Those before it have come up: or it would not have been opened. */
static void
close_last(struct bulk *b)
{
	b->open--;
	channel_stop(b->lanes[b->open].channel);
	b->came_up = true;
}

static bool
one_fails(struct bulk *b)
{
	int error;

	for (unsigned i = 1; i < b->open; i++)
		if (!channel_up(b->lanes[i].channel) && channel_failures(b->lanes[i].channel, &error) > 0)
			return true;
	return false;
}

static bool
all_strained(struct bulk *b)
{
	for (unsigned i = 0; i < b->open; i++)
		if (!channel_strained(b->lanes[i].channel))
			return false;
	return true;
}

static void
consider_more(struct bulk *b, uint64_t now_ms)
{
	if (!all_strained(b)) {
		b->strained_ms = 0;
		return;
	}
	if (b->strained_ms == 0)
		b->strained_ms = now_ms;
	if (now_ms - b->strained_ms < STRAINED_MS || now_ms < b->refused_ms || b->open == MOVER_LANES)
		return;
	b->strained_ms = 0;
	log_info("one more SSH connection is opened for blocks: with %u they go no faster", b->open);
	b->came_up = false;
	if (channel_start(b->lanes[b->open].channel) == 0)
		b->open++;
	else
		b->refused_ms = now_ms + REFUSED_MS;
}

bool
bulk_tick(struct bulk *b)
{
	uint64_t now_ms = clock_ms(CLOCK_BOOTTIME);
	struct channel *last = b->lanes[b->open - 1].channel;
	bool up = channel_up(last), idle = up && channel_silence_ms(last) > IDLE_MS;

	b->came_up |= up;
	if (one_fails(b)) {
		b->refused_ms = now_ms + (b->came_up ? LOST_MS : REFUSED_MS);
		close_last(b);
	} else if (b->open > 1 && idle) {
		close_last(b);
	} else {
		consider_more(b, now_ms);
	}
	return b->open == 1 && b->strained_ms == 0;
}

/* ---- as of channels ---- */

void
bulk_kick(struct bulk *b, bool light)
{
	if (light && b->open == 1)
		channel_send(b->lanes[0].channel);
	else
		for (unsigned i = 0; i < b->open; i++)
			channel_kick(b->lanes[i].channel);
}

void
bulk_break(struct bulk *b)
{
	for (unsigned i = 0; i < b->open; i++)
		channel_break(b->lanes[i].channel);
}

void
bulk_hurry(struct bulk *b)
{
	for (unsigned i = 0; i < b->open; i++)
		channel_hurry(b->lanes[i].channel);
}

void
bulk_renew(struct bulk *b)
{
	for (unsigned i = 0; i < b->open; i++)
		channel_renew(b->lanes[i].channel);
}

bool
bulk_up(struct bulk *b)
{
	return channel_up(b->lanes[0].channel);
}

unsigned
bulk_failures(struct bulk *b, int *ret_error)
{
	return channel_failures(b->lanes[0].channel, ret_error);
}
