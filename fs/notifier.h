/*
 * notifier.h - threads that tell the kernel to forget what it caches.
 *
 * Such a call can block on a lock of the kernel that one of our own parked
 * requests holds (DESIGN R1), so it is made by no thread that anybody waits
 * for.  One for pages can be stuck, and one thread makes none of those: so names
 * and attributes never wait for pages.  Where all threads are stuck more are
 * begun, up to 64: calls that are not stuck do not wait for those that are.
 * Forgetting names is one call for all that were asked for together.
 */
#ifndef FS_NOTIFIER_H
#define FS_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>

struct notifier;
struct notifier_calls {
	int	(*forget_names)(void *context);
	int	(*forget_inode)(void *context, uint64_t oid, bool pages);
	void	(*done)(void *context, uint64_t oid, bool pages, int error);
};

int	notifier_new(struct notifier **ret, const struct notifier_calls *calls, void *context);
/* Calls under way end first: unmount before.  What is queued is dropped.  NULL is fine. */
void	notifier_free(struct notifier *n);
/* 0 or -ENOMEM; done() follows. */
int	notifier_add(struct notifier *n, uint64_t oid, bool directory, bool pages, bool again);

#endif
