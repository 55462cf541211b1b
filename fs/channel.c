/*
 * channel.c - see channel.h.
 *
 * The link belongs to the reader.  The writer borrows it while `writing` is
 * set, and the reader waits for that to clear before it closes; a blocked
 * send is freed by link_shutdown().  Lock: channel->lock guards everything below
 * it; no callback runs under it.
 */
#include "fs/channel.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"

enum { BACKOFF_STEP_MS = 100, BACKOFF_MAX_MS = 2000, REFUSED_MS = 10 * 1000, SETTLED_MS = 2000 };

struct channel {
	pthread_mutex_t		 lock;
	pthread_cond_t		 change;	/* up, kicked, stopping, writing */
	struct link		*link;
	bool			 up, kicked, writing, ending, stopping, hurry;
	bool			 opening;	/* and may be called off by cancel_fd */
	char			 trouble[256];
	unsigned		 failures;
	int			 error;		/* of the last attempt */

	const char		*name;
	struct link_target	 target;
	int			 cancel_fd;	/* readable: no new link, or not this one */
	const struct channel_calls	*calls;
	void			*context;
	bool			 started;
	pthread_t		 reader, writer;
	_Atomic uint64_t	 heard_ms;
};

int
channel_new(struct channel **ret, const char *name, const struct link_target *target,
    const struct channel_calls *calls, void *context)
{
	struct channel *channel = calloc(1, sizeof *channel);

	if (channel == NULL)
		return -ENOMEM;
	channel->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (channel->cancel_fd < 0) {
		free(channel);
		return -errno;
	}
	lock_init(&channel->lock);
	lock_cond_init(&channel->change);
	channel->name = name;
	channel->target = *target;
	channel->target.cancel_fd = &channel->cancel_fd;
	channel->calls = calls;
	channel->context = context;
	*ret = channel;
	return 0;
}

static _Thread_local bool reading;	/* this thread is the reader of some channel */

static bool
stopping(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	return channel->stopping || (channel->ending && !channel->up);
}

static bool
ending(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	return channel->stopping || channel->ending;
}

/* Not again, unless it was called off for good. */
static void
opened(struct channel *channel)
{
	eventfd_t times;

	LOCK_SCOPE(&channel->lock);
	channel->opening = false;
	if (!channel->stopping && !channel->ending)
		eventfd_read(channel->cancel_fd, &times);
}

int
channel_try(struct channel *channel, char *why, size_t size)
{
	struct link *link = NULL;
	int r;

	{
		LOCK_SCOPE(&channel->lock);
		channel->opening = true;
	}
	r = link_open(&link, &channel->target, why, size);
	opened(channel);
	if (r == 0) {
		{
			/* Visible before attach, so that channel_break() and channel_free() reach it. */
			LOCK_SCOPE(&channel->lock);
			channel->link = link;
			if (channel->stopping)
				link_shutdown(link);
		}
		r = channel->calls->attach(channel->context, link, why, size);
	}
	{
		LOCK_SCOPE(&channel->lock);
		channel->heard_ms = clock_ms(CLOCK_BOOTTIME);
		channel->error = r;
		if (r == 0) {
			channel->up = channel->kicked = true;
			channel->trouble[0] = '\0';
			pthread_cond_broadcast(&channel->change);
			return 0;
		}
		channel->failures++;
		channel->link = NULL;
		if (r == -ECANCELED)
			why[0] = '\0';
		else
			strncpy(channel->trouble, why, sizeof channel->trouble - 1);
	}
	link_close(link);
	return r;
}

/* The link failed: waits for the writer to let go of it, then forgets it. */
static void
drop(struct channel *channel)
{
	struct link *link;

	{
		LOCK_SCOPE(&channel->lock);
		channel->up = false;
		link = channel->link;
		link_shutdown(link);
		while (channel->writing)
			pthread_cond_wait(&channel->change, &channel->lock);
		channel->link = NULL;
	}
	channel->calls->lost(channel->context);
	link_close(link);
}

static void
receive_all(struct channel *channel)
{
	struct buffer *frame;
	struct message m;
	struct arena arena;
	int r;

	for (;;) {
		arena = (struct arena){ 0 };
		frame = NULL;
		r = link_receive(channel->link, &m, &arena, &frame, -1);
		if (r == 0) {
			channel->heard_ms = clock_ms(CLOCK_BOOTTIME);
			channel->calls->received(channel->context, &m, frame);
		}
		arena_free(&arena);
		buffer_put(frame);
		if (r < 0)
			break;
	}
	if (!ending(channel))
		log_info("%s channel lost (%s), connecting again", channel->name, strerror(-r));
}

static unsigned
longer(unsigned wait_ms)
{
	return wait_ms + BACKOFF_STEP_MS < BACKOFF_MAX_MS ? wait_ms + BACKOFF_STEP_MS : BACKOFF_MAX_MS;
}

static void
back_off(struct channel *channel, unsigned wait_ms)
{
	LOCK_SCOPE(&channel->lock);
	while (!channel->stopping && !channel->ending && !channel->hurry)
		if (lock_wait_ms(&channel->change, &channel->lock, wait_ms) == ETIMEDOUT)
			break;
	channel->hurry = false;
}

static void *
reader_main(void *argument)
{
	struct channel *channel = argument;
	char why[256], said[256] = "";
	unsigned wait_ms = 0;
	uint64_t since;
	int r;

	reading = true;
	while (!stopping(channel)) {
		if (!channel_up(channel)) {
			why[0] = '\0';
			if ((r = channel_try(channel, why, sizeof why)) < 0) {
				if (why[0] != '\0' && strcmp(why, said) != 0)
					log_warning("%s channel: %s", channel->name, why);
				memcpy(said, why, sizeof said);
				wait_ms = longer(wait_ms);
				back_off(channel, r == -ENOKEY || r == -EACCES ? REFUSED_MS : wait_ms);
				continue;
			}
			if (said[0] != '\0' || wait_ms != 0)
				log_info("%s channel is up again", channel->name);
			said[0] = '\0';
		}
		since = clock_ms(CLOCK_BOOTTIME);
		receive_all(channel);
		drop(channel);
		/* A link that breaks as soon as it is up is as bad as none. */
		if (clock_ms(CLOCK_BOOTTIME) - since > SETTLED_MS) {
			wait_ms = 0;
		} else {
			wait_ms = longer(wait_ms);
			back_off(channel, wait_ms);
		}
	}
	return NULL;
}

/* By whoever set `writing`. */
static void
fill(struct channel *channel, struct link *link)
{
	int r = channel->calls->fill(channel->context, link);

	if (r == 0)
		r = link_flush(link);
	if (r < 0)
		link_shutdown(link);
}

static void *
writer_main(void *argument)
{
	struct channel *channel = argument;
	struct link *link;

	for (;;) {
		{
			LOCK_SCOPE(&channel->lock);
			while (!channel->stopping && !(channel->up && channel->kicked && !channel->writing))
				pthread_cond_wait(&channel->change, &channel->lock);
			if (channel->stopping)
				return NULL;
			channel->kicked = false;
			channel->writing = true;
			link = channel->link;
		}
		fill(channel, link);
		LOCK_SCOPE(&channel->lock);
		channel->writing = false;
		pthread_cond_broadcast(&channel->change);
	}
}

int
channel_start(struct channel *channel)
{
	{
		LOCK_SCOPE(&channel->lock);
		if (channel->stopping) {
			channel->stopping = channel->hurry = false;
			channel->failures = 0;
			eventfd_read(channel->cancel_fd, &(eventfd_t){ 0 });
		}
	}
	if (pthread_create(&channel->reader, NULL, reader_main, channel) != 0)
		return -EAGAIN;
	if (pthread_create(&channel->writer, NULL, writer_main, channel) != 0) {
		{
			LOCK_SCOPE(&channel->lock);
			channel->stopping = true;
			link_shutdown(channel->link);
			pthread_cond_broadcast(&channel->change);
		}
		pthread_join(channel->reader, NULL);
		return -EAGAIN;
	}
	channel->started = true;
	return 0;
}

void
channel_end(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	channel->ending = true;
	eventfd_write(channel->cancel_fd, 1);
	pthread_cond_broadcast(&channel->change);
}

void
channel_stop(struct channel *channel)
{
	if (channel == NULL)
		return;
	{
		LOCK_SCOPE(&channel->lock);
		channel->stopping = true;
		link_shutdown(channel->link);
		eventfd_write(channel->cancel_fd, 1);
		pthread_cond_broadcast(&channel->change);
	}
	if (channel->started) {
		pthread_join(channel->reader, NULL);
		pthread_join(channel->writer, NULL);
		channel->started = false;
	}
}

void
channel_free(struct channel *channel)
{
	if (channel == NULL)
		return;
	channel_stop(channel);
	link_close(channel->link);
	close(channel->cancel_fd);
	pthread_cond_destroy(&channel->change);
	pthread_mutex_destroy(&channel->lock);
	free(channel);
}

void
channel_kick(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	channel->kicked = true;
	if (channel->up && !channel->writing)
		pthread_cond_broadcast(&channel->change);
}

void
channel_send(struct channel *channel)
{
	struct link *link;

	{
		LOCK_SCOPE(&channel->lock);
		if (!channel->up || channel->writing || reading) {
			channel->kicked = true;
			if (channel->up && !channel->writing)
				pthread_cond_broadcast(&channel->change);
			return;
		}
		channel->writing = true;
		link = channel->link;
	}
	fill(channel, link);
	LOCK_SCOPE(&channel->lock);
	channel->writing = false;
	/* The reader may wait for it, or the writer have been kicked meanwhile. */
	if (channel->kicked || !channel->up)
		pthread_cond_broadcast(&channel->change);
}

void
channel_hurry(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	channel->hurry = true;
	pthread_cond_broadcast(&channel->change);
}

void
channel_renew(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	channel->hurry = true;
	if (channel->opening)
		eventfd_write(channel->cancel_fd, 1);
	else if (!channel->up)
		link_shutdown(channel->link);
	pthread_cond_broadcast(&channel->change);
}

void
channel_break(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	link_shutdown(channel->link);
}

bool
channel_up(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	return channel->up;
}

bool
channel_strained(struct channel *channel)
{
	LOCK_SCOPE(&channel->lock);
	return channel->up && link_strained(channel->link);
}

unsigned
channel_silence_ms(struct channel *channel)
{
	return channel_up(channel) ? (unsigned)(clock_ms(CLOCK_BOOTTIME) - channel->heard_ms) : 0;
}

void
channel_trouble(struct channel *channel, char *to, size_t size)
{
	LOCK_SCOPE(&channel->lock);
	strncpy(to, channel->up ? "" : channel->trouble, size - 1);
	to[size - 1] = '\0';
}

unsigned
channel_failures(struct channel *channel, int *ret_error)
{
	LOCK_SCOPE(&channel->lock);
	*ret_error = channel->error;
	return channel->failures;
}

void
channel_address(struct channel *channel, char *to, size_t size)
{
	LOCK_SCOPE(&channel->lock);
	strncpy(to, channel->up ? link_address(channel->link) : "", size - 1);
	to[size - 1] = '\0';
}
