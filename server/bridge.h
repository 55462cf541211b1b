/*
 * bridge.h - `nuaged bridge`: the far end of an SSH channel.
 *
 * Whoever can log in and open the store's directory can use it: the bridge
 * finds the nuaged that serves the directory, or starts one, and joins its
 * own stdin and stdout to that nuaged's socket.  What it says first:
 *
 *	<newline> nuage-bridge 1 ok <server key, hex> <newline>
 *	<newline> nuage-bridge 1 absent <directory> <newline>	and ends
 *	<newline> nuage-bridge 1 error <sentence> <newline>	and ends
 *
 * The newline in front and the words set it off from what a login shell's
 * start-up files print.  The client answers with the protocol's preamble, or
 * first with the line "enroll", to which the bridge says
 *
 *	token <one-time token, hex> <address to reach the server by> <newline>
 *	error <sentence> <newline>
 *
 * The token is an invitation to the server like one of `nuaged invite`, which
 * the same user could have called.
 */
#ifndef SERVER_BRIDGE_H
#define SERVER_BRIDGE_H

#include <stdbool.h>

#include "server/settings.h"

/*
 * The exit status: 0, or 1.  `create`: makes the store if there is none.
 * A nuaged that it starts listens on no port, and leaves when nobody has been
 * connected for config->idle_s (or BRIDGE_IDLE_S when that is 0).
 */
enum { BRIDGE_IDLE_S = 600 };
int	bridge(const struct settings *config, bool create);

#endif
