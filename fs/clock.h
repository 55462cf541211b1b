/*
 * clock.h - the two clocks of the client, in milliseconds.
 *
 * Leases and silence are judged by CLOCK_BOOTTIME, which goes on while the
 * machine sleeps; timeouts of one attempt by CLOCK_MONOTONIC.
 */
#ifndef FS_CLOCK_H
#define FS_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#endif
