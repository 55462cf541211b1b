/*
 * net.h - connections: ordered, delayed, and cut when least convenient.
 *
 * Every message is really encoded, and decoded on arrival, so engines share
 * nothing.  A cut loses what is on its way to the client; what is on its way
 * to the server may still arrive, late, as long as the server has not heard
 * of the cut: perhaps after the client has come back on another connection.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include <sys/queue.h>

#include "tests/sim/sim.h"

struct parcel;
TAILQ_HEAD(parcels, parcel);

struct conn {
	struct sim	*sim;
	struct mount	*mount;
	enum lane	 lane;
	uint64_t	 id;
	uint64_t	 session;		/* attached to */
	bool		 client_open, server_open;
	struct parcels	 up, down;		/* on their way */
	uint64_t	 up_us, down_us;	/* when the last of them arrives */
	uint64_t	 heard_us;		/* when the client last heard from the server */
	struct conn	*next;			/* of all there ever were */
};

void	net_new(struct sim *sim);
/* Begins a handshake; daemon_connected() and client_connected() follow, or client_lost(). */
struct conn	*net_connect(struct mount *m, enum lane lane);
/* NULL when there never was one. */
struct conn	*net_find(struct sim *sim, uint64_t id);
/* Queues a message; nothing happens on a closed connection. */
void	net_to_server(struct conn *c, const struct message *m);
void	net_to_client(struct conn *c, const struct message *m);
/* The network breaks: the client notices now, the server some time later. */
void	net_cut(struct conn *c);
/* One side closes; the other is told after what was sent before. */
void	net_close_by_server(struct conn *c);
void	net_close_by_client(struct conn *c);
/* The server is gone: its ends are closed, what was on its way to it is lost. */
void	net_server_died(struct sim *sim);
void	net_free(struct sim *sim);

#endif
