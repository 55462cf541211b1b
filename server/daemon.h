/*
 * daemon.h - the threads around the engine.
 *
 *	main		accepts, ticks, serves the admin socket
 *	sync		makes the log durable, again and again while there is something new;
 *			a reader does so itself when its peer waits for just that
 *	compact		moves live blocks out of old segments of the log
 *	reader, writer	two for each connection (link.h)
 *
 * Locks, outermost first: daemon.lock (the engine and its store, the table of
 * links), link.lock (one link's queue).  The engine's lock is held for the
 * length of an event; block bytes move, frames are sealed and the log is
 * synced without it.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/noise.h"
#include "server/settings.h"

struct daemon;
struct home;
struct link;
struct message;

/* Opens the store and the engine and starts sync and compact; false after it said on stderr what is wrong. */
bool	daemon_open(struct daemon **ret, const struct settings *config, const struct home *home);
/* Closes all links, syncs, checkpoints, and frees it; false when that failed. */
bool	daemon_close(struct daemon *d);
/* An accepted socket, taken over whatever happens. */
void	daemon_accept(struct daemon *d, int fd, const char *peer);
/* Readable when it is time for daemon_tick(); or when the store has failed, or the last connection has gone. */
int	daemon_alarm(const struct daemon *d);
void	daemon_tick(struct daemon *d);
/* There is no connection, for *ret_ms; counted from the first question on. */
bool	daemon_idle(struct daemon *d, uint64_t *ret_ms);
/* The store has failed: nothing can be made durable any more, a restart may mend it. */
bool	daemon_failed(struct daemon *d);
/* An invitation, durable on return; 0 or a negative errno. */
int	daemon_invite(struct daemon *d, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s);
/* HOST:PORT to print into invitations, borrowed. */
const char *daemon_address(const struct daemon *d);

/* ---- for links; without any lock ---- */

const uint8_t *daemon_secret(const struct daemon *d);
/* False: there is no memory for it. */
bool	daemon_connected(struct daemon *d, struct link *l, const uint8_t device[KEY_SIZE],
	    const uint8_t hash[NOISE_HASH]);
/*
 * Carries out what the message brings, block writes included, which may block.
 * `light`: the caller is l's reader and will daemon_settle() before it sleeps,
 * instead of waking the sync thread.  True when that is called for.
 */
bool	daemon_received(struct daemon *d, struct link *l, const struct message *m, bool light);
/* What was received is durable, or the sync thread sees to it. */
void	daemon_settle(struct daemon *d);
/* Nothing is posted to l any more. */
void	daemon_disconnected(struct daemon *d, struct link *l);
/* A link is freed, with all it referenced. */
void	daemon_gone(struct daemon *d);

#endif
