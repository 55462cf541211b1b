/*
 * read.h - the answer to a READ whose turn has come.
 */
#ifndef SERVER_READ_H
#define SERVER_READ_H

#include "server/state.h"

/*
 * Gives the leases and sends the records of everything w wants; the answer
 * waits for what it shows to be durable.  w stays the caller's.
 */
void	read_answer(struct server *s, struct wait *w);

#endif
