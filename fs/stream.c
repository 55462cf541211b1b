/* stream.c - see stream.h.  Here is the kind that is a socket. */
#include "fs/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/resolve.h"

struct socket_stream {
	struct stream	stream;
	int		fd;
};

static int
fd_of(const struct stream *s)
{
	return ((const struct socket_stream *)s)->fd;
}

static int
socket_send(struct stream *s, struct iovec *iov, int count)
{
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	while (h.msg_iovlen > 0) {
		n = sendmsg(fd_of(s), &h, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (; h.msg_iovlen > 0 && (size_t)n >= h.msg_iov->iov_len; h.msg_iov++, h.msg_iovlen--)
			n -= (ssize_t)h.msg_iov->iov_len;
		if (h.msg_iovlen > 0) {
			h.msg_iov->iov_base = (uint8_t *)h.msg_iov->iov_base + n;
			h.msg_iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static ssize_t
socket_receive(struct stream *s, uint8_t *to, size_t least, size_t most, uint64_t deadline_ms, int cancel_fd)
{
	ssize_t n;
	int r;

	(void)least;
	do {
		if ((deadline_ms != 0 || cancel_fd >= 0) &&
		    (r = resolve_wait(fd_of(s), POLLIN, deadline_ms, cancel_fd)) < 0)
			return r;
		n = recv(fd_of(s), to, most, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void
socket_shut(struct stream *s)
{
	shutdown(fd_of(s), SHUT_RDWR);
}

static void
socket_close(struct stream *s)
{
	close(fd_of(s));
	free(s);
}

static const struct stream_calls socket_calls = {
	.send = socket_send, .receive = socket_receive, .shut = socket_shut, .close = socket_close,
};

int
stream_of_socket(struct stream **ret, int fd)
{
	struct socket_stream *s = malloc(sizeof *s);

	if (s == NULL)
		return -ENOMEM;
	*s = (struct socket_stream){ { &socket_calls }, fd };
	*ret = &s->stream;
	return 0;
}
