/*
 * sim.h - a world of one server and a few clients in one thread, all of it
 * drawn from one seed: FoundationDB's way of testing.
 *
 * The world has a clock that jumps from event to event, and a heap of events.
 * Everything that happens, happens in an event; two runs of a seed are the
 * same, step by step.  The rooms: net.h carries messages, daemon.h is nuaged
 * around the server engine, client.h the mount around the client engine,
 * kernel.h the kernel's caches, workload.h the processes that use them,
 * check.h the judge.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "tests/sim/call.h"
#include "tests/sim/rng.h"

struct apart;
struct daemon;
struct damaged;
struct judge;
struct client;
struct net;
struct sealing;
struct workload;

struct sim_options {
	uint64_t	 seed;
	uint32_t	 ops;			/* at least; 0 = 500 */
	bool		 trace;			/* print every event */
	bool		 crypto;		/* really seal records and blocks */
	bool		 calm;			/* no faults at all */
	uint32_t	 check_every;		/* events of an engine, after which its invariants are checked; 0 = 97 */
	bool		 apart;			/* clients are cut off with unsaved work (apart.h) */
	bool		 tight;			/* the server has little space: what it promised must do */
	uint32_t	 faults;		/* bits of the kinds to use; 0: by chance */
};

/* What a run did; sums of runs are meaningful. */
struct sim_report {
	bool		 failed;
	char		 reason[1024];
	uint64_t	 hash;			/* of everything that happened */
	uint64_t	 ops, from_kernel, events, messages;
	uint64_t	 commits, recalls, replays, evictions, rejected, missing, voided, given_up, searched, lost;
	uint64_t	 journals, rerun, conflicts, equal, owed;	/* run again; of those: calls, copies, pieces */
	uint64_t	 refused, through;	/* journal entries that did not fit; calls answered when the server had them */
	uint64_t	 offline;		/* mounts that went on without a server */
	uint64_t	 redone, beside;	/* losses done again; pieces that are in another file than they were written to */
	uint64_t	 restarts, cuts, partitions, crashes, remounts, full, stalls, naps, deafs;
	uint64_t	 damages, denied;	/* blocks that the server's disk gave back wrong, or not; calls that it failed */
	uint64_t	 no_space;		/* calls that found none */
	uint64_t	 cutoffs, stops;	/* past the term, with work unsaved */
	uint64_t	 simulated_ms;
};

/* What this seed's world is like: drawn once, so that each seed stresses something else. */
struct plan {
	unsigned	 clients, processes;
	unsigned	 names, directories;	/* how many are in use */
	uint32_t	 net_min_us, net_max_us, lan_us;
	uint32_t	 sync_max_us, reply_max_us, invalidate_max_us, seal_max_us;
	uint32_t	 think_us;
	uint32_t	 term_ms, skew_ms;
	uint32_t	 commit_ms;
	size_t		 dirty_max, cache_max, objects_max, commit_max;
	unsigned	 leases_max;
	bool		 eager;
	uint64_t	 file_max;		/* bytes */
	unsigned	 big;			/* per mille of writes that are large */
	unsigned	 fsync;			/* per mille */
	unsigned	 faults_min;
	uint32_t	 fault_mask;		/* the kinds that happen */
	bool		 journal;		/* mounts have one */
	uint32_t	 fault_gap_ms;		/* a fault comes within this time */
	uint64_t	 capacity;		/* of the server, bytes; 0: without bound */
	uint32_t	 idle_ms, fresh_ms;	/* how long blocks without reference live */
};

struct sim;
typedef void sim_event(struct sim *sim, void *what, uint64_t number);

struct sim {
	struct sim_options	 options;
	struct sim_report	 report;
	struct plan		 plan;
	struct rng		 net, work, faults, engines, misc;
	uint64_t		 now_us;
	uint64_t		 step;		/* grows with all that is worth ordering */
	bool			 calm;		/* no more faults */
	unsigned		 faults_done;
	uint64_t		 next_fault_ops, next_fault_us;
	bool			 stopping;	/* processes begin nothing new */
	struct net		*wires;
	struct sealing		*sealing;
	struct daemon		*daemon;
	struct client		*clients[CLIENTS_MAX];
	struct judge		*judge;
	struct apart		*apart;		/* what was told of; NULL: nothing */
	struct workload		*workload;
	struct damaged		*damaged;	/* damage.h; the last ones of `damages` */
	uint64_t		 damages;
	struct { struct timer *timers; size_t count, size; uint64_t sequence; } heap;
};

/* Runs one seed to its end, or to the first thing that is wrong. */
void	sim_run(const struct sim_options *options, struct sim_report *ret_report);

/* Calls event(sim, what, number) after `delay_us`; what must live until then. */
void	sim_after(struct sim *sim, uint64_t delay_us, sim_event *event, void *what, uint64_t number);
/* CLOCK_REALTIME, one for all. */
struct timespec	sim_real(const struct sim *sim);
int64_t	sim_real_ns(const struct sim *sim);
/* The first failure is kept and ends the run. */
void	sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For --trace; the hash gets numbers whether or not it is on. */
void	sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void	sim_note(struct sim *sim, uint64_t number);

/* Zeroed memory or none at all: only tests may give up like this; the second, what is in it is anybody's. */
void	*sim_alloc(size_t size);
void	*sim_room(size_t size);

#endif
