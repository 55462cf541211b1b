/*
 * stream.h - the bytes of a link, whatever carries them: a socket, or, over
 * SSH, the memory that is shared with the thread of that (duct.h).
 *
 * One thread at a time may send and one may receive; stream_shut() may come
 * from any and ends both.
 */
#ifndef FS_STREAM_H
#define FS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;
struct stream_calls {
	int	(*send)(struct stream *s, struct iovec *iov, int count);
	ssize_t	(*receive)(struct stream *s, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd);
	void	(*shut)(struct stream *s);
	bool	(*strained)(const struct stream *s);
	void	(*close)(struct stream *s);
};

/* What each kind begins with. */
struct stream {
	const struct stream_calls	*calls;
};

/* Takes the descriptor over, unless there is no memory. */
int	stream_of_socket(struct stream **ret, int fd);

/* All of it, of which iov[] keeps nothing; waits while it must; 0 or a negative errno. */
static inline int
stream_send(struct stream *s, struct iovec *iov, int count)
{
	return s->calls->send(s, iov, count);
}

/*
 * Some bytes, up to `most`; 0 at the end of the stream.  The caller has no use for
 * less than `least`, and may be left to sleep until so many are there, but also
 * get fewer.  -ETIMEDOUT at the deadline (clock_ms() of CLOCK_MONOTONIC; 0: none),
 * -ECANCELED when cancel_fd (-1: none) is readable, or another negative errno.
 */
static inline ssize_t
stream_receive(struct stream *s, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd)
{
	return s->calls->receive(s, to, least, most, deadline_ms, cancel_fd);
}

static inline void
stream_shut(struct stream *s)
{
	s->calls->shut(s);
}

/* See link_strained(). */
static inline bool
stream_strained(const struct stream *s)
{
	return s->calls->strained != NULL && s->calls->strained(s);
}

/* No thread may be inside; NULL is fine. */
static inline void
stream_close(struct stream *s)
{
	if (s != NULL)
		s->calls->close(s);
}

#endif
