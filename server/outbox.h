/*
 * outbox.h - what the engine hands out: actions, some of them held back.
 *
 * An answer that speaks of changes waits until the log is durable up to its
 * position; everything else is due at once.  Among held answers of one
 * connection those that need the same position keep the order in which they
 * were posted.  Under the caller's lock like all of the engine.
 */
#ifndef SERVER_OUTBOX_H
#define SERVER_OUTBOX_H

#include "server/state.h"

/* A SEND of an empty message of this type to conn; NULL when out of memory. */
struct server_action *outbox_message(uint64_t conn, uint16_t type, uint64_t request);
/*
 * Takes the action, or NULL for one that could not be had: its connection is
 * doomed then, for a request without an answer would hang its sender.
 * `need` is the position that must be durable first; 0 for none.
 */
void	outbox_send(struct server *s, struct conn *c, struct server_action *a, uint64_t need);
void	outbox_done(struct server *s, struct conn *c, uint64_t request, enum status status, const char *detail,
	    uint64_t need);
/* The status that tells of a store's errno; one that is full is noted, and space is sought (block_tick()). */
enum status outbox_status(struct server *s, int error);
/* Takes an action that is due now. */
void	outbox_post(struct server *s, struct server_action *a);
__attribute__((format(printf, 2, 3)))
void	outbox_log(struct server *s, const char *format, ...);
/* Drops what is held for a connection that is no more. */
void	outbox_forget(struct server *s, uint64_t conn);
/* Lets go of what needed no more than s->synced. */
void	outbox_synced(struct server *s);
void	outbox_free(struct server *s);

#endif
