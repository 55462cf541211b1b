/*
 * check.h - the judge: everything the clients saw must be what one file
 * system could have shown them, one call after the other.
 *
 * The history is a sequence of letters in the order in which the engines
 * said their calls were done; that order is tried first.  A call that does
 * not fit there may fit at another point between its beginning and its
 * answer: then the calls around it are permuted within their intervals, and
 * only when no order fits is the run wrong.  fate.c adds what crashes do.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/client.h"
#include "tests/sim/model.h"

enum letter_kind { LETTER_CALL, LETTER_DEATH, LETTER_ABSENCE, LETTER_ADOPT };

struct letter {
	enum letter_kind kind;
	struct call	*call;		/* CALL */
	struct mount	*mount;		/* DEATH, ABSENCE, ADOPT: whose */
	uint64_t	 step;		/* ... and when */
	bool		 over;		/* ABSENCE, ADOPT: it was decided for good */
	struct inode	*as;		/* ADOPT: content and size of a file as found after the death */
	bool		 found;		/* ... and that had been decided when its mount came back */
};

enum { SNAPSHOTS = 512 };

struct offsets {			/* of a directory's names in listings, as far as seen */
	struct offsets	*next;
	uint64_t	 ino, at[NAMES];
};

struct judge {
	struct sim	*sim;
	struct letter	*letters;
	size_t		 count, size, verified;
	struct model	*base, *model;	/* at the beginning; after the verified letters */
	struct model	*before[SNAPSHOTS];	/* before letter i, at i % SNAPSHOTS */
	struct call	**calls;	/* all there ever were */
	size_t		 calls_count, calls_size;
	struct call	**pending;	/* begun, not done */
	size_t		 pending_count, pending_size;
	struct offsets	*offsets;
	uint64_t	 looked_us;
	uint64_t	 was_version, was_sequence;	/* before a commit was handled */
	bool		 deciding;
};

void		 judge_new(struct sim *sim);
void		 judge_free(struct sim *sim);
/* The volume is made: the model begins with its root. */
void		 judge_begin(struct sim *sim);

struct call	*judge_new_call(struct sim *sim);
void		 judge_begun(struct sim *sim, struct call *c);
/* Its mount died: there will be no answer. */
void		 judge_forget(struct sim *sim, struct call *c);
void		 judge_done(struct sim *sim, struct call *c);
void		 judge_responded(struct sim *sim, struct call *c);
const uint64_t	*judge_learn_offsets(struct sim *sim, const struct call *c);

/* Verifies as many letters as it can. */
void		 judge_advance(struct judge *j);
/* Replays all letters from the beginning; false: *ret_at does not fit. */
bool		 judge_replay(struct judge *j, size_t *ret_at, char *why, size_t size);
void		 judge_append(struct judge *j, struct letter l);

/* Nothing is under way or unsaved: store and model are the same. */
void		 judge_settled(struct sim *sim);
/* All sessions have ended; what nothing leads to is gone. */
bool		 judge_all_freed(struct sim *sim);
void		 judge_end(struct sim *sim);

#endif
