/*
 * kernel.h - the kernel in front of a mount: it answers from its caches what
 * the real one would, asks the engine for the rest, and serialises as the
 * real one does: directories by i_rwsem, inodes and their pages by locks.
 *
 * Names and attributes are kept while their reply was cacheable, for as long
 * as it said, and no invalidation was carried out since; pages while their
 * file was opened with keep_cache, and for ever.  A reply that was on its way while an invalidation ran is kept
 * all the same: that is the race the engine has to be right about.
 */
#ifndef TESTS_SIM_KERNEL_H
#define TESTS_SIM_KERNEL_H

#include "tests/sim/sim.h"

struct kernel;

/* An open file or directory. */
struct file {
	struct file	*next;
	uint64_t	 ino, handle;
	uint32_t	 flags;
	bool		 direct_io;
	bool		 doubted, owes, told;	/* a loss may, must be, was told through it */
	uint64_t	 told_step;		/* ... when last */
};

struct kernel	*kernel_new(struct mount *m);
void		 kernel_free(struct kernel *k);

/* A call of one type, zeroed but for what is known; owned by the judge until the run ends. */
struct call	*kernel_new_call(struct kernel *k, unsigned proc, enum op_type type, uint64_t ino);
/* Makes it; c->then(c) follows when it is answered, never from within. */
void		 kernel_call(struct kernel *k, struct call *c);
/* Content of an inode, of that step, was lost: each open file of it is to tell, or has since.  0: of any one, perhaps. */
void		 kernel_lost(struct kernel *k, uint64_t ino, uint64_t step);
/* The engine's answer has arrived. */
void		 kernel_replied(struct kernel *k, struct call *c);
/* 0, or -ENOENT when the kernel does not know the inode. */
int		 kernel_invalidate(struct kernel *k, uint64_t ino, bool directory, bool pages);

/* The mode it knows an inode by, or 0. */
uint32_t	 kernel_mode(const struct kernel *k, uint64_t ino);
/* While held, an inode is not forgotten. */
void		 kernel_hold(struct kernel *k, uint64_t ino);
void		 kernel_drop(struct kernel *k, uint64_t ino);
/* Memory is short: forgets some of what nobody uses. */
void		 kernel_shrink(struct kernel *k, unsigned per_mille);
/* Has a request locked pages of the inode?  An invalidation of them does not return before it is answered. */
bool		 kernel_pages_locked(const struct kernel *k, uint64_t ino);
bool		 kernel_has_open(const struct kernel *k, uint64_t ino);
/* No file is open, and no call but those that look at names and attributes is under way. */
bool		 kernel_only_looks(const struct kernel *k);
/*
 * Is it a look-up that its system call is to begin anew for?  The same answer may come once more, to who asks for
 * the same name next: the kernel may take the first for something else.
 */
bool		 pair_begins_anew(struct kernel *k, const struct call *c);
/* Which name of a rename(2) does this process look up? */
enum rename_part pair_part(const struct kernel *k, uint32_t proc, struct bytes name);
/* Calls not answered yet. */
size_t		 kernel_busy(const struct kernel *k);
/* The mount is dead: no call is answered any more. */
void		 kernel_abort(struct kernel *k);
/* For reports of what hangs. */
void		 kernel_describe(const struct kernel *k, char *to, size_t size);

#endif
