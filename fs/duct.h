/*
 * duct.h - bytes both ways through memory: between the threads of a link, which
 * wait, and one thread that waits for other things too, the carrier.
 *
 * Outwards is from the link to the carrier, inwards the other way; DUCT_SIZE
 * each, and who finds it full waits.  What is in it is always in one piece.  A
 * large piece is not put in, but lent: the carrier takes it from where it lies,
 * or puts it where it is wanted, while the link's thread sleeps.
 */
#ifndef FS_DUCT_H
#define FS_DUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { DUCT_SIZE = 256 * 1024 };

struct duct;

/* 0 or a negative errno. */
int	duct_new(struct duct **ret);
void	duct_free(struct duct *d);	/* no thread may be inside; NULL is fine */

/* ---- the link's: as stream_send(), stream_receive() and stream_shut() ---- */

/* -EPIPE after duct_shut() or duct_end(). */
int	duct_send(struct duct *d, struct iovec *iov, int count);
ssize_t	duct_receive(struct duct *d, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd);
/* Any thread.  What is on its way outwards stays there for the carrier. */
void	duct_shut(struct duct *d);

/*
 * ---- the carrier's, one thread; none of them waits ----
 *
 * What duct_outward() and duct_room() point to stays as it is until the carrier calls
 * duct_took() or duct_put(), finds that the duct is shut, or ends it.
 */

/* What is to be carried outwards. */
size_t	duct_outward(struct duct *d, const char **ret_at);
void	duct_took(struct duct *d, size_t len);
/* Where bytes that came may be put, and how many at most; 0 as long as it is too few to care. */
size_t	duct_room(struct duct *d, char **ret_at);
void	duct_put(struct duct *d, size_t len);
bool	duct_is_shut(struct duct *d);
/* Nothing comes inwards any more: the link gets what is there, and the end behind it. */
void	duct_end(struct duct *d);

/*
 * Readable once what duct_rest() was told of has come: bytes outwards or the
 * shutting, or half of all room inwards.  False if it is there already, and there is
 * nothing to wait for.  duct_rested() is called behind the wait.
 */
int	duct_bell(const struct duct *d);
bool	duct_rest(struct duct *d, bool for_outward, bool for_room);
void	duct_rested(struct duct *d);

#endif
