/*
 * alarm.h - one thread sleeps until the earliest time that any asked for.
 *
 * Judged by CLOCK_BOOTTIME: a time that comes while the machine sleeps rings
 * as soon as it has woken up.
 */
#ifndef FS_ALARM_H
#define FS_ALARM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct alarm {
	pthread_mutex_t		 lock;
	int			 fd;
	_Atomic uint64_t	 at_ms;		/* it rings then; UINT64_MAX: it does not.  Written under the lock */
};

int	alarm_init(struct alarm *a);		/* 0 or a negative errno */
void	alarm_done(struct alarm *a);
/* It rings then (milliseconds of CLOCK_BOOTTIME), if not before.  Any thread; costs nothing when it changes nothing. */
void	alarm_by(struct alarm *a, uint64_t ms);
/*
 * Waits until it rings; then it is not set any more.  What was changed before
 * an alarm_by() is seen behind the wait that it ends.
 */
void	alarm_wait(struct alarm *a);

#endif
