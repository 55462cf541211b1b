/*
 * channel.h - a link that is kept up for as long as a volume is mounted.
 *
 * A channel owns two threads.  The reader connects, attaches, receives, and when
 * the link breaks starts again, after 0, 100, 200 ... 2000 ms; after 10 s when it
 * was refused, for that is nothing that passes by itself.  The writer
 * calls fill() whenever the channel was kicked while it is up; so does, in its
 * stead, a thread that calls channel_send().  Both call back
 * without any lock held; for one channel the order is
 *
 *	attach (received | fill)* lost, again and again
 *
 * and fill() never runs outside of it, so that lost() may throw away what was
 * queued for the old link.
 */
#ifndef FS_CHANNEL_H
#define FS_CHANNEL_H

#include "fs/link.h"

struct channel;
struct channel_calls {
	/* Speaks on the fresh link before anybody else; 0 brings the channel up; no `why`: not worth a log line.  Reader. */
	int	(*attach)(void *context, struct link *link, char *why, size_t size);
	/* One message; `frame` is borrowed, take a reference to keep the payload.  Reader. */
	void	(*received)(void *context, const struct message *m, struct buffer *frame);
	/* Puts what is queued on the link, without flushing; a negative errno ends the link.  Writer. */
	int	(*fill)(void *context, struct link *link);
	/* The link is gone.  Reader. */
	void	(*lost)(void *context);
};

/*
 * `context` and what `target` points to are borrowed for the channel's life.
 * Starts nothing yet.
 */
int	channel_new(struct channel **ret, const char *name, const struct link_target *target,
	    const struct channel_calls *calls, void *context);
/* The peer is about to hang up, and that is the end: no new link, no log line. */
void	channel_end(struct channel *channel);
/* Ends both threads (lost() is called when the channel was up); NULL is fine, and so is twice. */
void	channel_stop(struct channel *channel);
void	channel_free(struct channel *channel);

/* Connects and attaches once in the caller's thread, so that the first error has a reader. */
int	channel_try(struct channel *channel, char *why, size_t size);
/* Starts the threads; with the link of channel_try() when that went well.  Again after channel_stop(), too. */
int	channel_start(struct channel *channel);

/* Something is queued: any thread, any lock held but the channel's. */
void	channel_kick(struct channel *channel);
/*
 * The same, for little: when the writer is idle the caller fills and sends
 * itself, which saves waking another thread.  No lock held; it may block as a
 * send does.  A reader, who must not, wakes the writer.
 */
void	channel_send(struct channel *channel);
/* Drops the present link, as if the peer had: any thread. */
void	channel_break(struct channel *channel);
/* Tries to connect now, whatever the backoff says: any thread. */
void	channel_hurry(struct channel *channel);
/* The same, and an attempt under way begins anew: it may be one to an address of yesterday. */
void	channel_renew(struct channel *channel);
bool	channel_up(struct channel *channel);
/* Milliseconds since something last came in; 0 while the channel is down. */
unsigned channel_silence_ms(struct channel *channel);
/* The link is up and is itself the limit; see link_strained(). */
bool	channel_strained(struct channel *channel);
/* The last error of connecting, for the status channel; empty when up. */
void	channel_trouble(struct channel *channel, char *to, size_t size);

/* How many attempts to connect have failed so far, and how the last one did: 0 while up. */
unsigned channel_failures(struct channel *channel, int *ret_error);

/* Of the target's addresses, the one that it is connected to; empty while down. */
void	channel_address(struct channel *channel, char *to, size_t size);

#endif
