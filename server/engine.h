/*
 * engine.h - the server: sessions, leases, pins and commits.
 *
 * The engine is passive: events go in, actions come out.  It has no thread,
 * clock, socket or file; time and randomness come from the caller, what is
 * durable goes through the store (server/store.h).  All calls are made under
 * one lock of the caller's, none blocks, and none keeps a borrowed pointer.
 * After each event the caller takes actions until there is none.
 *
 * nuage-protocol(5) says what each message does; the head of engine.c has the
 * states, events and invariants.
 */
#ifndef SERVER_ENGINE_H
#define SERVER_ENGINE_H

#include "proto/message.h"
#include "proto/noise.h"

struct store;
struct block_ticket;
struct block_ref;
struct server;

struct server_config {
	uint32_t	 term_ms, skew_ms;	/* DESIGN R9; 0 = limits.h */
	uint32_t	 leases_max;		/* a session's; 0 = one million */
	uint32_t	 sessions_max;		/* attached or remembered; 0 = 4096 */
	uint64_t	 boot;			/* differs at each start */
	uint64_t	 calendar_ms;		/* since 1970 when the clock was 0, for what outlives a restart */
	uint32_t	 idle_ms;		/* a block lives so long after its last reference; 0 = 60 s */
	uint32_t	 fresh_ms;		/* and so long without a first; 0 = 600 s */
	void		(*random)(void *context, void *to, size_t len);
	void		*context;
};

enum server_action_kind {
	SERVER_SEND,		/* encode `message` and send it to `conn`, in order */
	SERVER_CLOSE,		/* drop `conn` after what was sent before */
	SERVER_WRITE_BLOCK,	/* store_block_write(ticket, message.payload), then server_block_written() */
	SERVER_READ_BLOCK,	/* store_block_read(ref, ...), send MSG_block to conn, store_block_put_ref */
	SERVER_LOG,		/* `text`: one structured line for the log */
};

struct server_action {
	enum server_action_kind	 kind;
	uint64_t		 conn;
	struct message		 message;	/* SEND; its lists and bytes live in `arena`.  WRITE_BLOCK: the
						   payload as received, which the caller keeps until then */
	uint64_t		 request;	/* WRITE_BLOCK, READ_BLOCK: id to answer */
	struct block_ticket	*ticket;
	struct block_ref	*ref;
	uint8_t			 first, count;	/* READ_BLOCK: cells */
	uint32_t		 volume;	/* WRITE_BLOCK: the engine's */
	char			 text[256];
	struct arena		 arena;
	struct server_action	*next;
};

/* `store` is borrowed.  Loads sessions, devices and volumes; 0 or a negative errno. */
int	server_new(struct server **ret, const struct server_config *config, struct store *store);
void	server_free(struct server *s);

/* Sets the clock that later events are judged by (CLOCK_BOOTTIME in production). */
void	server_clock(struct server *s, uint64_t now_ms);

/* A handshake ended well: `device` is the peer's proven static key. */
/* `hash` is that of the handshake: what proofs of secrets are bound to.  False: there is no memory; close it. */
bool	server_connected(struct server *s, uint64_t conn, const uint8_t device[KEY_SIZE],
	    const uint8_t hash[NOISE_HASH]);
/* One decoded message, already passed by the gate of message_info(). Borrowed for the call. */
void	server_received(struct server *s, uint64_t conn, const struct message *m);
void	server_disconnected(struct server *s, uint64_t conn);
/* The log is durable up to pos: held answers go out. */
void	server_synced(struct server *s, uint64_t pos);
/* A WRITE_BLOCK was carried out with this result (0 or a negative errno). */
void	server_block_written(struct server *s, struct server_action *a, int result);
/* Lets time pass: terms, evictions, grace, background frees in bounded steps. */
void	server_tick(struct server *s);
/*
 * Asked after any event: server_tick() is to come then, or earlier if this says
 * so after an event before that; UINT64_MAX: not before one.  No sooner than
 * 100 ms after the last.
 */
uint64_t server_due(const struct server *s);

/* The next action, owned by the caller until server_action_free(); NULL when there is none. */
struct server_action *server_next(struct server *s);
void	server_action_free(struct server_action *a);

/* A single-use invitation to the server: stores the hash of `token`; durable at *pos. */
int	server_invite(struct server *s, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s, uint64_t *pos);

/* Checks every invariant (recounts references and pins, conflicting leases); false and a text when one fails. */
bool	server_check(struct server *s, char *why, size_t size);
/* The same over a store at rest, for `nuaged check`: calls report() a damage; returns their number. */
uint64_t server_check_store(struct store *store, void (*report)(void *context, const char *text), void *context);

/* Counters for tests, the simulator and the log. */
struct server_stats {
	uint64_t	commits, rejected, missing, replays, recalls, evictions, reclaims, sessions, leases, frees;
	uint64_t	nospc;		/* refusals for lack of space, those included that say that some is on its way */
};
void	server_stats(const struct server *s, struct server_stats *to);

#endif
