/*
 * bulk.h - the bulk lanes of a mount: one that it always has, and over SSH
 * others while that is not enough.
 *
 * An SSH connection is sealed by one thread on each side, and sshd lets only so
 * much be on its way; so one can be the limit where machine and network are not
 * (link_strained()).  Whoever is to be asked for a second
 * login, or a server that wants no more connections, is left with one.
 */
#ifndef FS_BULK_H
#define FS_BULK_H

#include "fs/channel.h"

struct bulk;
struct bulk_calls {
	/* As channel_calls, and which lane: 0 to MOVER_LANES - 1. */
	int	(*attach)(void *context, struct link *link, char *why, size_t size);
	void	(*received)(void *context, const struct message *m, struct buffer *frame);
	int	(*fill)(void *context, unsigned lane, struct link *link);
	void	(*lost)(void *context, unsigned lane);
};

/* `context` and what `target` points to are borrowed for its life.  Starts nothing yet. */
int	bulk_new(struct bulk **ret, const struct link_target *target, const struct bulk_calls *calls, void *context);
int	bulk_start(struct bulk *b);
/* Ends all threads; NULL is fine, and so is twice.  Not while bulk_tick() runs. */
void	bulk_stop(struct bulk *b);
void	bulk_free(struct bulk *b);
/* About once a second, one thread: opens and closes lanes.  True: no need to come again before there are blocks. */
bool	bulk_tick(struct bulk *b);

/* As of channels; any thread. */
void	bulk_kick(struct bulk *b, bool light);
void	bulk_break(struct bulk *b);
void	bulk_hurry(struct bulk *b);
void	bulk_renew(struct bulk *b);
/* Of the lane that a mount always has. */
bool	bulk_up(struct bulk *b);
unsigned bulk_failures(struct bulk *b, int *ret_error);

#endif
