/*
 * lock.h - critical sections as visible blocks.
 *
 *	{
 *		LOCK_SCOPE(&shell->lock);
 *		...
 *	}
 *
 * holds the lock to the end of the block, however it is left.
 *
 * The order of the client's locks, outermost first:
 *
 *	shell->lock	the engine and everything that must agree with it
 *	journal_file->lock	inside it
 *	the lock of one queue (channel, mover, sealer, notifier), never two at once
 *	link->send_lock	never held together with a queue's
 *	locks->lock	of mount_locks: alone
 *	blockcache->lock, pinner->lock, serve_cache->lock, errand->lock, duct->lock: each alone
 *
 * The log and libfuse lock inside themselves; nothing of theirs is called
 * with one of ours held.
 */
#ifndef FS_LOCK_H
#define FS_LOCK_H

#include <pthread.h>
#include <time.h>

static inline pthread_mutex_t *
lock_take(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

static inline void
lock_drop(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

#define LOCK_PASTE_(a, b)	a##b
#define LOCK_NAME_(a, b)	LOCK_PASTE_(a, b)
#define LOCK_SCOPE(m) \
	__attribute__((cleanup(lock_drop), unused)) \
	pthread_mutex_t *LOCK_NAME_(lock_scope_, __COUNTER__) = lock_take(m)

/* A mutex that spins a little before it sleeps: its sections are shorter than a sleep. */
static inline void
lock_init(pthread_mutex_t *m)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(m, &attr);
	pthread_mutexattr_destroy(&attr);
}

/* A condition whose timed waits are judged by CLOCK_MONOTONIC. */
static inline void
lock_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

/* Waits, at most `ms`; 0 or ETIMEDOUT. */
static inline int
lock_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(c, m, &until);
}

#endif
