/*
 * fate_room.h - what fate.c and absence.c share: what is known of a mount's
 * commits, and what becomes of its letters.
 */
#ifndef TESTS_SIM_FATE_ROOM_H
#define TESTS_SIM_FATE_ROOM_H

#include "tests/sim/facts.h"

enum { UNLANDED_MAX = 32 };

struct freeze {
	uint64_t	 sequence, hash;	/* of its changes: one sent again is the same */
	uint64_t	 step, event;
};

struct applied {
	uint64_t	 pos, sequence, step, event;
};

struct ledger {
	struct { uint64_t step, event; bool taken; } *made;	/* when each sequence was last frozen: [sequence - 1] */
	uint64_t	 sequence, made_size;
	struct freeze	*frozen;		/* message id - 1 is the index */
	size_t		 frozen_count, frozen_size;
	struct applied	*applied;		/* in order */
	size_t		 applied_count, applied_size;
	uint64_t	 acked_step;		/* calls up to here were promised to stay */
	/*
	 * Alive, but its leases may be others' by now: what it has unsaved is void
	 * until it comes back with all of them.  What it gives up is lost then.
	 */
	bool		 absent, back;		/* back: it has a connection again */
	bool		 gave_up, was_absent;
	uint64_t	 losses, open;		/* that its engine told of; the last commit under way at the last one */
	uint64_t	 sync_told, told_step;	/* ... and a SYNC of it, when */
	uint64_t	 swept_us;		/* until then the kernel may still have what was lost */
	/* Of the last absence; what was in a commit then; when the first after it landed, or it was over. */
	uint64_t	 left_step, left_bound, back_step;
	uint64_t	 unlanded[UNLANDED_MAX];	/* inodes of which not all content was there then */
	unsigned	 unlanded_count;
	uint64_t	 bound, bound_of;	/* what is void is later than that; of the commit frozen at that step */
	bool		 dead, stale;		/* stale: its fate is to be found out anew */
	bool		 settled;		/* nothing can change it any more */
};

/* ---- fate.c ---- */
bool	fate_changes_something(const struct call *c);
/* Did it change this inode, or a name of it? */
bool	fate_changed(const struct call *c, uint64_t ino);
bool	fate_closes(const struct call *c);
/* Calls of m done after `step` are void, and those that are for other reasons. */
void	fate_void_after(struct judge *j, const struct mount *m, uint64_t step);
/* One boundary between what stayed and what is void: does it explain everything? */
bool	fate_try_boundary(struct judge *j, struct mount *m, uint64_t step, char *why, size_t size);
/* All letters so far, with what is void now; fails the run when they do not fit. */
void	fate_try_all_again(struct judge *j, const struct mount *m, const char *what);

/* ---- absence.c ---- */
/* It is back, and knows what it lost. */
void	absence_over(struct mount *m);
/* A dead one was, and brought something before it died, or as it did: true, its work has its place there now. */
bool	absence_died_back(struct judge *j, struct mount *m, bool content);
/* As fate_try_all_again(), but what an absent mount brought when it was back may come later. */
void	absence_try_all_again(struct judge *j, const struct mount *m, const char *what);

#endif
