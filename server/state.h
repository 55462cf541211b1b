/*
 * state.h - what the rooms of the engine share in memory.
 *
 * One struct server owns all of it, under the caller's one lock.  Durable
 * facts (sessions, pins, ranges, sequences, volumes) are loaded at start and
 * kept equal to the store; leases, waiting READs and connections live here
 * only.
 *
 * Invariants (server_check() is their executable twin):
 *  1. Of two leases on one object, by two sessions, neither is EXCLUSIVE.
 *  2. A session has at most one lease on an object.
 *  3. An orphan that no session pins is dying.  An object struct exists exactly while somebody needs it: a lease, a
 *     wait, a pin, a change not yet synced, or the free that it is queued for.
 *  4. A lease is on its session's `wanted` list exactly while a READ that
 *     waits on its object conflicts with it; a kicked object is looked at yet.
 *  5. session->waits is empty unless session->control is set.
 *  6. What the store says of sessions, pins and volumes is what is said here.
 *  7. server.promised is the sum of all credits, unstated counts the sessions that have yet to say theirs, and
 *     controls those that are connected.
 */
#ifndef SERVER_STATE_H
#define SERVER_STATE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "server/engine.h"
#include "server/layout.h"
#include "server/store.h"
#include "server/table.h"

/* glibc's <sys/queue.h> has no safe walk. */
#define TAILQ_EACH_SAFE(v, head, field, next) \
	for ((v) = TAILQ_FIRST(head); (v) != NULL && ((next) = TAILQ_NEXT(v, field), true); (v) = (next))
#define LIST_EACH_SAFE(v, head, field, next) \
	for ((v) = LIST_FIRST(head); (v) != NULL && ((next) = LIST_NEXT(v, field), true); (v) = (next))

struct conn {
	struct table_node	 node;		/* server.conns, by conn id */
	struct session		*session;	/* NULL until attached */
	LIST_ENTRY(conn)	 of_session;
	uint8_t			 device[KEY_SIZE];
	uint8_t			 hash[NOISE_HASH];	/* of its handshake */
	uint8_t			 lane;
	bool			 doomed;
	uint64_t		 seen_ms;
	struct server_action	*closing;	/* made ahead: who has no memory can close it still */
};

/* RANGE_SIZE oids that one session may give birth to. */
struct range {
	struct table_node	 node;		/* volume.ranges, by number */
	struct session		*session;
	LIST_ENTRY(range)	 of_session;
};

struct pin {
	struct object		*object;
	struct session		*session;
	LIST_ENTRY(pin)		 of_object, of_session;
};

struct lease {
	struct object		*object;
	struct session		*session;
	LIST_ENTRY(lease)	 of_object, of_session;
	TAILQ_ENTRY(lease)	 of_wanted;
	uint64_t		 grant;
	uint64_t		 told_pos;	/* a RECALL goes out no earlier: the grant does at this position */
	uint64_t		 recall_ticket;	/* of the last RECALL sent */
	uint64_t		 wanted_ms;	/* since when a READ waits for it */
	uint32_t		 claim;		/* the RECLAIM that listed it: session.claim */
	uint8_t			 mode;
	uint8_t			 recall_mode;	/* that the last RECALL sent allows to keep, if recalled */
	bool			 recalled, wanted;
};

struct session {
	struct table_node	 node;		/* server.sessions, by id */
	TAILQ_ENTRY(session)	 of_volume;
	struct volume		*volume;
	struct session_row	 row;
	uint64_t		 grants;	/* the last grant number given */
	uint64_t		 outcome_pos;	/* where the last sequence was consumed, or the attach */
	struct conn		*control;	/* or NULL */
	LIST_HEAD(, conn)	 conns;		/* of both lanes */
	LIST_HEAD(, lease)	 leases;
	TAILQ_HEAD(, lease)	 wanted;
	LIST_HEAD(, wait)	 waits;
	LIST_HEAD(, pin)	 pins;
	LIST_HEAD(, range)	 ranges;
	uint32_t		 lease_count, wait_count, pin_count;
	uint32_t		 claim;		/* counts control ATTACHes */
	bool			 reclaimed;	/* since the last control ATTACH, or new */
	bool			 awaited;	/* loaded at start, counted in volume.unreclaimed */
	bool			 astray;	/* what it has open it has yet to pin: see session_stray() */
	bool			 fenced;	/* made no progress: cut off until nobody can rely on its leases */
	bool			 unstated;	/* loaded at start: what it was promised before is not known yet */
	uint64_t		 credit;	/* bytes promised: credit.c */
	uint64_t		 stated_ms;	/* when it last said what it needs of that */
	uint64_t		 drawn;		/* spent of what was promised, before that was stated */
	uint64_t		 seen_ms, progress_ms;
};

/* One object that a waiting READ needs, in the object's queue. */
struct wait_node {
	TAILQ_ENTRY(wait_node)	 of_object;
	struct wait		*wait;
	struct object		*object;
	uint8_t			 mode;		/* the strongest asked */
};

struct want {
	uint64_t		 oid;
	uint32_t		 limit, node;	/* node: index of its object in wait.nodes */
	uint8_t			 mode, kind, last_kind, from_len, to_len;
	uint8_t			 from[SUBKEY_MAX], to[SUBKEY_MAX];
};

struct wait {
	LIST_ENTRY(wait)	 of_session;
	struct session		*session;
	uint64_t		 request, ticket;
	uint32_t		 budget, size, want_count, node_count;
	uint16_t		 kinds;
	uint8_t			 depth;
	struct want		*wants;
	struct wait_node	*nodes;		/* both in the wait's own memory */
};

struct object {
	struct table_node	 node;		/* volume.objects, by oid */
	struct volume		*volume;
	LIST_HEAD(, lease)	 leases;
	TAILQ_HEAD(wait_queue, wait_node) waits;	/* by ticket */
	LIST_HEAD(, pin)	 pins;
	TAILQ_ENTRY(object)	 of_kicked, of_touched, of_dying;
	uint64_t		 pos;		/* of its last change, while not synced; or 0 */
	bool			 kicked;
	bool			 orphan;	/* stored, not referenced, and its oid is not reserved */
	bool			 dying;		/* an orphan that nobody pins: gone for all but the reaper */
};

struct volume {
	struct table_node	 node;		/* server.volumes, by number */
	uint32_t		 number;
	uint8_t			 id[VOLUME_ID_SIZE];
	uint8_t			 name_len;
	uint8_t			 name[VOLUME_NAME_MAX];
	struct state_row	 state;
	uint64_t		 ticket;	/* the last one assigned or seen */
	struct table		 objects, ranges;
	TAILQ_HEAD(, session)	 sessions;
	uint32_t		 unreclaimed;	/* stored sessions that have not reclaimed since the start */
	uint32_t		 astray;	/* sessions */
	uint64_t		 evicted_pos;	/* of the last eviction: no grant is told before that is durable */
};

/* A block without reference, on its way to being freed. */
struct idle {
	struct table_node	 node;		/* server.idle_table, by a keyed hash of volume and id */
	TAILQ_ENTRY(idle)	 of_list;
	struct volume		*volume;
	uint8_t			 id[ID_SIZE];
	uint64_t		 due_ms;
	bool			 fresh;		/* on the list of those never referenced */
};
TAILQ_HEAD(idle_list, idle);

/* A PUT whose block is being written already. */
struct waiting_put {
	struct waiting_put	*next;
	uint64_t		 conn, request;
};

/* A block that is being written. */
struct writing {
	struct table_node	 node;		/* server.writing, as that of an idle one */
	struct volume		*volume;
	uint8_t			 id[ID_SIZE];
	struct waiting_put	*waiting;
};

TAILQ_HEAD(object_list, object);

/* An action that waits for a log position; or, once due, for the caller. */
struct outgoing {
	TAILQ_ENTRY(outgoing)	 link;
	uint64_t		 need;
	struct server_action	*action;
};
TAILQ_HEAD(outgoing_list, outgoing);

enum { STRANGERS = 64 };

struct server {
	struct server_config	 config;
	struct store		*store;
	uint64_t		 now_ms, started_ms, grace_end_ms;
	bool			 started;	/* the clock was set once */
	uint64_t		 synced;
	uint32_t		 next_volume;
	struct table		 conns, sessions, volumes;
	struct object_list	 kicked;	/* whose waits and recalls are to be looked at */
	size_t			 answered;	/* bytes of answers made in this event */
	struct object_list	 touched;	/* changed and not synced, by position */
	struct object_list	 dying;		/* to be freed */
	struct table		 writing;
	struct table		 idle_table;
	struct idle_list	 idle_fresh, idle_dead;		/* by due time */
	uint8_t			 hash_key[16];	/* of idle_table and writing */
	struct outgoing_list	 held;		/* in order of `need` where it matters */
	struct server_action	*first, **last;	/* due */
	uint8_t			 strangers[STRANGERS][KEY_SIZE];	/* already in the log */
	uint32_t		 stranger_next;
	uint64_t		 stranger_ms;
	uint64_t		 full_ms;	/* when the store last refused for lack of space, or 0 */
	uint64_t		 promised;
	uint64_t		 denied_ms, scarce_ms;	/* when credit was denied last, or 0; since when that goes on */
	uint32_t		 unstated, controls;
	bool			 stuck;		/* there is not even the space to free what is dead */
	bool			 doomed;	/* some connection is */
	bool			 failed;	/* the store's failure is in the log */
	uint64_t		 due_ms, ticked_ms;	/* the next tick, at the latest; the last one */
	struct server_stats	 stats;
};

/*
 * A tick has something to do then.  Each one states anew what is left to wait
 * for; between two, whoever makes something that could come sooner does.
 */
static inline void
due_by(struct server *s, uint64_t ms)
{
	s->due_ms = ms < s->due_ms ? ms : s->due_ms;
}

/* The next one finds out when that is. */
static inline void
due_soon(struct server *s)
{
	s->due_ms = 0;
}

static inline uint64_t
object_oid(const struct object *o)
{
	return o->node.key;
}

static inline uint64_t
session_id(const struct session *n)
{
	return n->node.key;
}

static inline uint64_t
conn_id(const struct conn *c)
{
	return c->node.key;
}

static inline bool
modes_conflict(uint8_t a, uint8_t b)
{
	return a != MODE_NONE && b != MODE_NONE && (a == MODE_EXCLUSIVE || b == MODE_EXCLUSIVE);
}

/* Calendar seconds, for what is kept across restarts. */
static inline uint64_t
calendar_s(const struct server *s)
{
	return (s->config.calendar_ms + s->now_ms) / 1000;
}

#endif
