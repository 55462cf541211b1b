/* alarm.c - see alarm.h. */
#include "fs/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "fs/lock.h"

int
alarm_init(struct alarm *a)
{
	a->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	if (a->fd < 0)
		return -errno;
	a->at_ms = UINT64_MAX;
	lock_init(&a->lock);
	return 0;
}

void
alarm_done(struct alarm *a)
{
	close(a->fd);
	pthread_mutex_destroy(&a->lock);
}

void
alarm_by(struct alarm *a, uint64_t ms)
{
	struct itimerspec at = { .it_value = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 } };

	if (ms >= a->at_ms)
		return;
	if (ms == 0)
		at.it_value.tv_nsec = 1;	/* nothing at all would stop it */
	LOCK_SCOPE(&a->lock);
	if (ms >= a->at_ms)
		return;
	a->at_ms = ms;
	timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void
alarm_wait(struct alarm *a)
{
	uint64_t times;

	while (read(a->fd, &times, sizeof times) < 0 && errno == EINTR)
		continue;
	LOCK_SCOPE(&a->lock);
	a->at_ms = UINT64_MAX;
}
