/*
 * diary.h - a client's journal: what a mount of it writes down, what a kill
 * or a power cut leaves of that, and running it again before the next mount.
 *
 * Invariant 8: what a dead mount had answered, and its journal kept, is in the
 * volume when that is done: where it was, or in a copy beside it.
 */
#ifndef TESTS_SIM_DIARY_H
#define TESTS_SIM_DIARY_H

#include "tests/sim/client.h"

struct diary;
struct model;
struct replay;

struct diary	*diary_new(struct client *c);
void		 diary_free(struct diary *d);
/* For the engine of a new mount. */
const struct engine_journal *diary_sink(struct diary *d);
/* A fault: the machine's disk is full.  And after each event of its mount: does that say so? */
void		 diary_fill(struct diary *d, uint64_t for_us);
void		 diary_check(struct diary *d, const struct mount *m);

/* Every letter is verified, and none void yet: what do its processes see? */
void		 diary_dying(struct diary *d, const struct mount *m);
/* It had not died, and lost nothing; it lives on without what its processes saw then. */
void		 diary_returned(struct diary *d);
void		 diary_lost(struct diary *d, struct mount *m);
/* The mount has died, perhaps by a power cut; everything of it is judged up to here. */
void		 diary_killed(struct diary *d, struct mount *m);
/* The client's clean end, or its replay's: nothing in it is live. */
void		 diary_empty(struct diary *d);
/* Is there something to run again?  Then the next mount is for that alone. */
bool		 diary_needed(struct diary *d);
/* Before such a mount's engine is attached. */
void		 diary_mount(struct diary *d, struct mount *m);
/* It is; what was to be run is, then diary_done() of client.h. */
void		 diary_attached(struct diary *d, struct mount *m);
/* Its mount is over. */
void		 diary_unmount(struct diary *d);

/* All that is in it. */
struct replay	*diary_load(struct diary *d);
/* An operation of a replay's as a call. */
void		 diary_describe(struct call *c, const struct op *op);
/* From mount.c: a call of the replay's is done; true when it had no effect that counts. */
bool		 diary_answer(struct call *c);
/* From the judge: a letter of the history was applied. */
void		 diary_saw(struct sim *sim, const struct model *after, const struct call *c);

#endif
