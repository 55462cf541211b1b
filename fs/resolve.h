/*
 * resolve.h - the addresses of a host, without waiting longer than wanted.
 *
 * getaddrinfo() may take half a minute when no name server answers, and
 * cannot be called off.  So it runs in a thread of its own, which is left
 * behind when its answer is not wanted any more.  Numbers need no thread.
 */
#ifndef FS_RESOLVE_H
#define FS_RESOLVE_H

#include <stdint.h>

struct addrinfo;

enum { RESOLVE_MS = 20 * 1000 };

/*
 * 0, with a list for freeaddrinfo(); -ENXIO: there is no such host, or nobody
 * said so in RESOLVE_MS; -ECANCELED: `cancel_fd` (-1: none) became readable.
 */
int	resolve(const char *host, const char *port, int cancel_fd, struct addrinfo **ret);

/*
 * 0 once `events` came on fd, -ETIMEDOUT at the deadline (clock_ms() of
 * CLOCK_MONOTONIC; 0: none), -ECANCELED as above, or another -errno.
 */
int	resolve_wait(int fd, short events, uint64_t deadline_ms, int cancel_fd);

#endif
