/*
 * client.h - the mounts: what the shell around a client engine does.
 *
 * A client is a machine; it has one mount at a time, and a new one after a
 * crash or an unmount.  A mount has an engine, a kernel in front of it, a
 * control connection and bulk ones behind it; it seals, moves blocks, carries
 * out actions with random delays, and reconnects.
 */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include "proto/noise.h"
#include "tests/sim/kernel.h"
#include "tests/sim/net.h"

enum { BULK_LANES = 2, UID = 1000, MOUNT_TICK_US = 100000 };

enum mount_state {
	MOUNT_CONNECTING,	/* no control connection, or not attached on it */
	MOUNT_UP,
	MOUNT_LEAVING,		/* clean unmount: everything is to be synced, then BYE */
	MOUNT_GONE,
};

struct redo;
struct shelf;
struct transfer;
TAILQ_HEAD(transfers, transfer);

struct mount {
	struct client	*client;
	struct sim	*sim;
	struct mount	*next;			/* of all this client ever had */
	struct engine	*engine;
	struct kernel	*kernel;
	enum mount_state state;
	struct conn	*control, *bulk[BULK_LANES];
	bool		 bulk_up[BULK_LANES];
	uint64_t	 session;
	uint8_t		 secret[SECRET_SIZE];
	uint32_t	 generation;
	bool		 mounted;		/* the engine was attached at least once */
	bool		 killed, formatted, leaving, said_bye, again;
	bool		 draining;
	uint64_t	 replaces;		/* a session this one ends, with its secret */
	uint8_t		 replaces_secret[SECRET_SIZE];
	uint64_t	 resumes;		/* a dead mount's session, to run its journal again */
	bool		 replays;		/* it is there to run a journal again, and for nothing else */
	unsigned	 setup;			/* steps done of making the volume; client 0 alone */
	struct transfers transfers;
	uint64_t	 requests;
	uint64_t	 stalled_until_us;
	uint64_t	 late_until_us;		/* a stall was cut short: what was to arrive after it still does then */
	uint64_t	 overslept_until_us;
	bool		 dozing;		/* the engine was told that the machine is about to sleep */
	bool		 reading;		/* its processes change nothing, and keep nothing open */
	uint64_t	 deaf_until_us;		/* hears no RECALL, and serves on */
	uint64_t	 unchecked;		/* events since the last engine_check() */
	struct bytes	 verified;		/* ids of blocks this client wrote, one after the other */
	bool		 offline;		/* at the last tick */
	struct redo	*redo;			/* runs again what it lost (apart.c); NULL: nothing */
	/* for the judge */
	struct ledger	*ledger;
};

struct client {
	struct sim	*sim;
	unsigned	 index;
	struct mount	*mount;			/* NULL while there is none */
	struct mount	*mounts;
	struct diary	*diary;
	uint64_t	 unreachable_until_us;
	uint64_t	 away_us;		/* between unmounting and mounting again */
	uint64_t	 back_us;		/* when it is there again after its last death, if that is to come */
	bool		 looking;		/* its processes open and change nothing */
	struct shelf	*shelf;			/* what its disk holds of blocks (transfer.c); NULL: nothing is kept there */
};

void	clients_start(struct sim *sim);
/* The volume is made and every client has mounted it. */
bool	client_volume_ready(struct sim *sim);
/* The mount that lives in this session, or NULL. */
struct mount	*client_of(struct sim *sim, uint64_t session);
/* All are attached, with nothing unsaved and nothing under way. */
bool	client_all_clean(struct sim *sim);
void	clients_unmount(struct sim *sim);
bool	clients_gone(struct sim *sim);
void	clients_report(struct sim *sim);
void	client_describe_stuck(struct sim *sim, char *to, size_t size);
void	clients_free(struct sim *sim);
void	client_device(const struct mount *m, uint8_t device[KEY_SIZE]);
/* What stands for the hash of its handshake: another for each connection. */
void	client_hash(const struct conn *c, uint8_t hash[NOISE_HASH]);

/* Faults: kill -9 and mount again later; unmount and mount again; no network; no CPU. */
/* False: not just now, try a moment later. */
bool	client_kill(struct client *c, uint64_t down_us);
void	client_remount(struct client *c, uint64_t away_us);
void	client_partition(struct client *c, uint64_t for_us);
void	client_stall(struct client *c, uint64_t for_us);
/* The machine sleeps for so long; its engine is told before and after. */
void	client_nap(struct client *c, uint64_t for_us);
/*
 * Its mount hears no RECALL for a while, but serves on from what it has; `saved`: once nothing of it is
 * unsaved, and until it is over its processes only look.
 */
void	client_deafen(struct client *c, bool saved);
/* It hears again. */
void	client_hear(struct mount *m);
/* It has nothing unsaved or open, and does nothing but look. */
bool	client_only_looks(const struct client *c);

/* From the network. */
void	client_connected(struct mount *m, struct conn *c);
void	client_lost(struct mount *m, struct conn *c);
void	client_received(struct mount *m, struct conn *c, struct message *msg);

/* An event: connects, unless it is connected or gone. */
void	client_connect(struct sim *sim, void *mount, uint64_t number);
void	client_close_bulk(struct mount *m, unsigned lane);
/* The session is to end; client_unmounted() follows. */
void	client_say_bye(struct mount *m);
void	client_unmounted(struct mount *m);
bool	client_replays(const struct mount *m);
/* Of a mount that was for the journal alone: it is done, or tried again later by another. */
void	client_leave(struct mount *m);
void	client_give_up(struct mount *m);

/* From the kernel: hands the call to the engine; kernel_replied() follows. */
void	mount_submit(struct mount *m, struct call *c);
void	mount_forget(struct mount *m, uint64_t ino, uint64_t lookups);
/* A signal for the caller of a call that the engine has parked. */
void	mount_interrupt(struct mount *m, struct call *c);

/* The engine, told the time; every action it asks for carried out; its invariants checked. */
struct engine	*mount_clocked(struct mount *m);
void	mount_drain(struct mount *m);
void	mount_check(struct mount *m);
/* An event: the engine's tick, again and again. */
void	mount_tick(struct sim *sim, void *mount, uint64_t number);

unsigned	 mount_client(const struct mount *m);
struct sim	*mount_sim(const struct mount *m);
bool		 mount_unreachable(const struct mount *m);
/* How much longer a message takes now because of a partition; how long nothing runs there. */
uint64_t	 mount_held_us(const struct mount *m);
uint64_t	 mount_stalled_us(const struct mount *m);
/*
 * It stood still while its term ended, and so could not tell the kernel to forget what it has cached: until it
 * runs again, and has had as much time for that as it has when it does not stand still.
 */
bool		 mount_overslept(struct mount *m);

#endif
