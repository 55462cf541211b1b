/*
 * server_world.h - one server engine over a store in memory, and clients
 * that are nothing but connection numbers.  Aborts when memory runs out.
 */
#ifndef TESTS_UNIT_SERVER_WORLD_H
#define TESTS_UNIT_SERVER_WORLD_H

#include "server/engine.h"
#include "server/store.h"

enum { LOGS = 4096 };

struct mail {			/* what the server sent, or a close (type 0) */
	struct mail		*next;
	struct server_action	*action;
};

struct world {
	struct store		*store;
	struct server		*server;
	struct server_config	 config;
	uint64_t		 now_ms, boot, random, next_conn, next_request;
	uint64_t		 events;	/* that the server was told of */
	bool			 no_sync;	/* sync only when told */
	bool			 no_pump;	/* leave all actions in the engine */
	uint64_t		 refused;	/* bits of the connections that were not taken, modulo 64 */
	bool			 no_write;	/* leave WRITE_BLOCKs in `writes` */
	struct mail		*mail;
	struct server_action	*writes;
	char			 log[LOGS];	/* the last lines */
};

/* A client: its connection and what it was told of its session. */
struct client {
	struct world		*w;
	uint8_t			 device[KEY_SIZE];
	uint64_t		 control, bulk;
	struct msg_attached	 at;
	uint32_t		 generation;
	uint64_t		 sequence;	/* the last one used */
	uint64_t		 next_oid;
	uint64_t		 known;		/* first_oid of the attach that it last heard reclaimed after */
};

extern const uint8_t world_volume[VOLUME_ID_SIZE];

/* A server that nobody has ever asked for anything. */
void	world_open(struct world *w, const struct server_config *config);
/* One with one volume that clients' devices 1 to 9 are members of. */
void	world_init(struct world *w, const struct server_config *config);
void	world_done(struct world *w);
/* Stops and starts it; entries after `keep` are lost (UINT64_MAX: none). */
void	world_restart(struct world *w, uint64_t keep);
/* Carries out actions until there is none. */
void	world_pump(struct world *w);
void	world_sync(struct world *w);
void	world_pass(struct world *w, uint64_t ms);	/* in steps of 100 ms, with a tick when it is due */
bool	world_check(struct world *w);			/* server_check, and its text as a TAP comment */
/* Through the codec; the request id used. */
uint64_t world_send(struct world *w, uint64_t conn, struct message *m);
uint64_t world_connect(struct world *w, uint8_t device);
void	world_disconnect(struct world *w, uint64_t conn);
/* The oldest mail of this type for conn, which stays valid until the world is done; NULL if there is none. */
const struct message *world_take(struct world *w, uint64_t conn, uint16_t type);
/* A secret's proof for conn. */
void	world_proof(uint64_t conn, const uint8_t secret[SECRET_SIZE], uint8_t proof[PROOF_SIZE]);
bool	world_closed(struct world *w, uint64_t conn);
void	world_forget(struct world *w);			/* all mail */

/* ---- clients ---- */

struct client client_new(struct world *w, uint8_t device);	/* connected, attached anew, bulk lane too */
/* A new connection and generation; reclaims nothing by itself.  The status, OK when attached. */
enum status client_attach(struct client *c);
void	client_reclaim(struct client *c, const struct msg_lease *leases, uint32_t count, struct msg_reclaimed *ret);
uint64_t client_read(struct client *c, uint64_t ticket, const struct msg_want *wants, uint32_t count);
/* One object; the answer, or NULL when it waits. */
const struct msg_answer *client_lease(struct client *c, uint64_t oid, uint8_t mode);
void	client_release(struct client *c, uint64_t oid, uint8_t mode, uint64_t grant);
void	client_pin(struct client *c, uint64_t oid, bool on);
/* The next sequence; the answer or NULL. */
const struct msg_committed *client_commit(struct client *c, const struct msg_base *bases, uint32_t base_count,
	    struct msg_change *changes, uint32_t change_count);
enum status client_put(struct client *c, uint8_t id);		/* a block {id, id, ...}, through the bulk lane */

/* Changes to hand to client_commit(). */
struct msg_change change_attr(uint64_t oid);
struct msg_change change_entry(uint64_t oid, uint8_t name, uint64_t child);
struct msg_change change_unlink(uint64_t oid, uint8_t name);
struct msg_change change_region(uint64_t oid, uint8_t index, uint8_t block);	/* block 0: no reference */
struct msg_change change_cut(uint64_t oid, uint8_t kind);			/* all records of a kind */
const uint8_t *block_name(uint8_t id);

/* The root and `files` entries in it, made by a, which then holds all of it EXCLUSIVE. */
void	client_make_tree(struct client *a, unsigned files);

#endif
