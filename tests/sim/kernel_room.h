/* kernel_room.h - what kernel.c, cache.c and pair.c share.  Not included outside these files. */
#ifndef TESTS_SIM_KERNEL_ROOM_H
#define TESTS_SIM_KERNEL_ROOM_H

#include <sys/queue.h>

#include "tests/sim/kernel.h"

struct node;
struct dentry;

struct kernel {
	struct mount		*mount;
	struct sim		*sim;
	bool			 dead;
	uint64_t		 version, evicted;	/* evicted: the version when an inode was forgotten last */
	TAILQ_HEAD(, node)	 nodes;
	TAILQ_HEAD(, dentry)	 dentries;
	struct file		*files;
	struct call		*waiting, **waiting_end, *active;
	size_t			 busy;
	bool			 running;
	struct call		*pairs[PROCS_MAX];	/* renames that are looking names up */
	bool			 told[PROCS_MAX];	/* its last look-up was to begin anew */
};

/* The lock that stands for i_rwsem. */
uint64_t	 kernel_inode_lock(uint64_t ino);

/* Without locks, which somebody holds for it; `again`: whatever the cache says. */
void		 kernel_start(struct kernel *k, struct call *c, bool again);
/* The call is over: its locks are free and its caller goes on. */
void		 kernel_finish(struct kernel *k, struct call *c);

/* A rename has found what it moves and replaces; with their locks it goes to the engine (vfs_rename()). */
void		 kernel_lock_victims(struct kernel *k, struct call *c);

/* pair.c: a rename has its locks. */
void		 pair_begin(struct kernel *k, struct call *c);

/* True when the kernel needs nobody's help: c has its results. */
bool		 cache_served(struct kernel *k, struct call *c);
/* What a name leads to as far as it is known here; else what was found before. */
uint64_t	 cache_looked_up(const struct kernel *k, uint64_t parent, uint8_t name, uint64_t before);
/* What a reply leaves behind. */
void		 cache_learn(struct kernel *k, struct call *c);
void		 cache_free(struct kernel *k);

#endif
