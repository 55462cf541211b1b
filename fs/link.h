/*
 * link.h - one authenticated connection to a server.
 *
 * Opens the byte stream, sends the preamble, proves both sides (Noise IK, see
 * proto/noise.h) and then carries messages in frames.  One thread at a time
 * may send and one may receive; link_shutdown() may come from any thread and
 * makes both fail.  A link that failed stays failed: open another.
 *
 * Errors of opening, with a sentence for a person in `why`:
 *
 *	-ENXIO		the name does not resolve
 *	-ECONNREFUSED -EHOSTUNREACH -ENETUNREACH -ETIMEDOUT
 *	-EKEYREJECTED	it is not the server whose key we hold
 *	-EPROTONOSUPPORT	its protocol version is not ours
 */
#ifndef FS_LINK_H
#define FS_LINK_H

#include "fs/buffer.h"
#include "proto/message.h"

enum {
	LINK_PORT		= 7440,		/* when an address names none */
	LINK_CONNECT_MS		= 5000,		/* an address */
	LINK_HANDSHAKE_MS	= 5000,
	LINK_ANSWER_MS		= 10000,	/* a peer that owes an answer longer is dead */
};

struct link;
struct sockaddr;
struct link_target {
	const char	*addresses;		/* "host[:port]", "unix:/path", "ssh://...", separated by commas */
	uint8_t		 server_key[KEY_SIZE];
	const uint8_t	*device_secret;		/* KEY_SIZE bytes, borrowed for the call */
	int		 connect_ms, handshake_ms;	/* 0: the above */
	bool		 bulk;			/* tune the socket for blocks */
	bool		 quiet;			/* -ENOKEY where a person would have to be asked */
	const int	*cancel_fd;		/* opening ends with -ECANCELED when that is readable; NULL: none */
};

int	link_open(struct link **ret, const struct link_target *to, char *why, size_t size);
void	link_close(struct link *l);		/* no thread may be inside; NULL is fine */
void	link_shutdown(struct link *l);
/* Of the list, the address it is connected to; borrowed. */
const char *link_address(const struct link *l);

/*
 * Another link beside it might carry more: it is an SSH connection that takes
 * most of a core, or has about as much on its way as its windows allow.  As of
 * the last second; never true of others.
 */
bool	link_strained(const struct link *l);

/* What shows that we know a session's secret, on this link alone. */
void	link_proof(const struct link *l, const uint8_t secret[SECRET_SIZE], uint8_t ret_proof[PROOF_SIZE]);

/* Frames m and buffers it; what is buffered leaves with link_flush() or when it has grown large. */
int	link_put(struct link *l, const struct message *m);
int	link_flush(struct link *l);
/*
 * The next message, decoded.  It borrows from *frame, one reference of which
 * becomes the caller's, and from `a`.  timeout_ms < 0 waits for ever.
 * -ETIMEDOUT leaves the link good; every other error ends it.
 */
int	link_receive(struct link *l, struct message *m, struct arena *a, struct buffer **frame,
	    int timeout_ms);

/*
 * For a link without other traffic: sends `request` and waits for its answer,
 * of type `expect` or MSG_done.  A `done` with a status other than OK becomes
 * the negative errno of link_errno(), its text goes to `why`.
 */
int	link_call(struct link *l, struct message *request, uint16_t expect, struct message *answer,
	    struct arena *a, struct buffer **frame, char *why, size_t size);

/* What fs/ssh shares: a connected socket, and the options for one. */
int	link_connect(const struct sockaddr *address, unsigned len, int timeout_ms, int cancel_fd, int *ret_fd);
void	link_tune(int fd, bool bulk);

/* The negative errno a status of the wire stands for. */
int	link_errno(enum status status);

#endif
