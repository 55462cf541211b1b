/*
 * fate.h - what becomes of work when a client dies or the server loses what
 * it had not synced.
 *
 * Every commit frozen by a mount is noted with its place in the history;
 * every commit the server applies with its place in the log.  When a mount is
 * dead its history ends with the last commit that was applied: the calls
 * after it are void, as if they never had been, and everything all clients
 * saw must still fit.  Content may be older than that, each byte from some
 * state since it was last known durable (DESIGN R4); the state found in the
 * store is adopted.  Whatever an fsync, or an acknowledged commit, promised
 * to keep must be there.
 */
#ifndef TESTS_SIM_FATE_H
#define TESTS_SIM_FATE_H

#include "tests/sim/check.h"
#include "tests/sim/image.h"

/* Lives and deaths of mounts. */
void	fate_mount(struct mount *m);
void	fate_mount_free(struct mount *m);
void	fate_killed(struct mount *m);
/* The engine began a new session although it had one. */
void	fate_session_lost(struct mount *m);

/* Is it dead, and its end not known for good? */
bool	fate_open(const struct mount *m);

/* The server gave up waiting for a session; it is attached again; its engine heard something: what is left of its work? */
void	fate_gone(struct mount *m);
void	fate_attached(struct mount *m);
void	fate_heed(struct mount *m);
void	fate_decide_absence(struct judge *j, struct mount *m);

/* The engine has done something: notes which commits it froze. */
void	fate_watch(struct mount *m);
/* A commit is sent: the id its message is to carry. */
uint64_t fate_frozen(struct mount *m, const struct commit *commit);
/* Did it freeze a commit in [from, to)? */
bool	fate_froze(const struct mount *m, uint64_t from, uint64_t to);
/* Around the server's handling of a message. */
void	fate_before(struct sim *sim, const struct conn *c, const struct message *m);
void	fate_after(struct sim *sim, const struct conn *c, const struct message *m);
void	fate_server_sends(struct sim *sim, const struct conn *c, const struct message *m);
/* Where in the log the power fails; then, what became of all that came later. */
uint64_t fate_crash_position(struct sim *sim, uint64_t synced, uint64_t end);
void	fate_crashed(struct sim *sim, uint64_t kept);

/* A call is done: may it tell of a loss?  Then: what does it promise? */
void	fate_excuse(struct call *c);
void	fate_done(struct sim *sim, struct call *c);
/* Does a call, done in this state, change anything? */
void	fate_weigh(const struct model *before, struct call *c);
/* The step at which it took effect. */
uint64_t fate_effect(const struct call *c);
/* Finds out what is to be found out, once every letter is verified. */
void	fate_poll(struct judge *j);
/* Every letter is: a good moment for a death. */
bool	fate_decided(const struct sim *sim);

/* All but content, times and size. */
bool	fate_same_object(const struct inode *i, const struct image_object *o);
void	fate_free_inode(struct inode *i);

#endif
