/*
 * link.h - one network connection: handshake, frames, and a queue of what
 * is to be sent.
 *
 * The reader thread shakes hands, then opens frames and hands messages to
 * the daemon; it carries out this connection's block writes, so a lane is
 * read no faster than it is stored.  The writer thread seals and sends; it
 * reads blocks itself, as late as possible.  What is small and answers its
 * own peer the reader syncs and sends itself before it sleeps: one thread
 * woken for a synced write in place of three.  The queue is bounded twice: the
 * reader pauses while much is queued, and a peer for whom far more piles up,
 * or that takes nothing for SEND_TIMEOUT_S, is cut.
 */
#ifndef SERVER_LINK_H
#define SERVER_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "server/table.h"

struct daemon;
struct server_action;

/* Opaque but for its place in the daemon's table. */
struct link;
struct link_place {
	struct table_node	 node;		/* by connection id */
	TAILQ_ENTRY(link_place)	 of_unproven, of_closing;
	struct link		*link;
	uint64_t		 cut_ms;	/* when it is cut, once a CLOSE was posted; else 0 */
	bool			 connected;	/* the handshake is over */
	bool			 unproven;	/* has not attached, and not been cut for that */
};

/* Takes the socket; NULL when out of memory. */
struct link *link_new(struct daemon *d, int fd, uint64_t id, const char *peer);
/* Starts the reader, which ends with daemon_disconnected(), frees the link, and says daemon_gone(); 0 or a negative errno. */
int	link_start(struct link *l);
/* Without a running reader. */
void	link_free(struct link *l);
struct link_place *link_place(struct link *l);
const char *link_peer(const struct link *l);
/* Takes a SEND, READ_BLOCK or CLOSE; never blocks.  Under the daemon's lock. */
void	link_post(struct link *l, struct server_action *a);
/* Breaks the connection: the reader will end.  Any thread that knows l lives. */
void	link_cut(struct link *l);

#endif
