/*
 * progress.h - the sums of many seeds, and a file by which a long run goes on
 * where it was stopped.
 *
 * The file is text: what it is of (this very program, its options and its
 * range), the next seed, the sums so far, the seeds that failed and why.  It
 * is replaced as a whole after each batch; of another program, or of other
 * options, it counts for nothing.
 */
#ifndef TESTS_SIM_PROGRESS_H
#define TESTS_SIM_PROGRESS_H

#include "tests/sim/sim.h"

struct progress {
	struct sim_report	 sum;
	uint64_t		 next;		/* seed */
	uint64_t		 seeds, failed;
	uint64_t		 seconds;	/* that it took so far */
	struct failure		*failures;	/* oldest first */
	size_t			 size;
	char			 of[256];	/* what makes a file of another run worthless */
};

struct failure {
	uint64_t	 seed;
	char		 reason[160];
};

/* Of seeds from..to with these options.  Aborts when memory runs out, as only tests may. */
void	progress_init(struct progress *p, const struct sim_options *options, uint64_t from, uint64_t to);
void	progress_done(struct progress *p);
void	progress_add(struct progress *p, const struct sim_report *r);
void	progress_failed(struct progress *p, uint64_t seed, const char *reason);
/* 1: it goes on; 0: there is no such file, or it is of something else; a negative errno. */
int	progress_load(struct progress *p, const char *path);
int	progress_save(const struct progress *p, const char *path);
/* The sums, each line behind `prefix`; and the seeds that failed. */
void	progress_print(const struct sim_report *sum, const char *prefix);
void	progress_print_failures(const struct progress *p);

#endif
