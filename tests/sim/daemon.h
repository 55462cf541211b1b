/*
 * daemon.h - nuaged's part around the server engine: syncs the store after a
 * while, carries out block actions, dies and comes back.
 */
#ifndef TESTS_SIM_DAEMON_H
#define TESTS_SIM_DAEMON_H

#include "tests/sim/net.h"

struct server;
struct store;

struct daemon {
	struct sim	*sim;
	struct store	*store;
	struct server	*server;	/* NULL while it is down */
	uint64_t	 boot;		/* one life after the other */
	bool		 syncing, full, hopeful;
	uint64_t	 full_until_us;	/* when it last stopped to be */
	bool		 slow;		/* the disk takes its time */
	uint64_t	 unchecked;	/* events since the last server_check() */
	uint64_t	 recalls, evictions, commits, rejected, missing;	/* of earlier lives */
};

/* An empty store and a running server that has invited the bearer of `token`. */
void	daemon_start(struct sim *sim);
extern const uint8_t daemon_token[SECRET_SIZE];

void	daemon_connected(struct daemon *d, struct conn *c);
void	daemon_received(struct daemon *d, struct conn *c, const struct message *m);
void	daemon_disconnected(struct daemon *d, struct conn *c);
/*
 * Power fails: unsynced entries are lost but for some of the first. Comes back after `down_us`.
 * False: not just now, try a moment later.
 */
bool	daemon_crash(struct daemon *d, uint64_t down_us);
/* While full it takes nothing but what frees space; `hopeful`, it says that there will be some soon, and nobody may fail. */
void	daemon_set_full(struct daemon *d, bool full, bool hopeful);
/* Fails the run when an invariant of the engine does not hold. */
void	daemon_check(struct daemon *d);
void	daemon_report(struct daemon *d);
void	daemon_free(struct daemon *d);

#endif
