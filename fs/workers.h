/*
 * workers.h - a few threads for what costs time: sealing and opening blocks.
 *
 * A job is embedded in what it works on and belongs to the workers until its
 * run() is called; run() may free it.  Urgent jobs go first: somebody reads.
 */
#ifndef FS_WORKERS_H
#define FS_WORKERS_H

#include <stdbool.h>

struct job {
	void		(*run)(struct job *job);
	struct job	*next;
};

struct workers;
int	workers_new(struct workers **ret, unsigned threads);
/* Runs what is queued, then ends the threads; NULL is fine. */
void	workers_free(struct workers *w);
void	workers_add(struct workers *w, struct job *job, bool urgent);

#endif
