/*
 * proc.h - a process: what workload.c, task.c and inspect.c share.
 *
 * It has one call under way at most, and none while it thinks.  Its states:
 * THINKING -> BUSY -> THINKING ...; QUIET when its mount is leaving or the run
 * is ending and its files are closed; DEAD with its mount.
 *
 * Not included outside these files.
 */
#ifndef TESTS_SIM_PROC_H
#define TESTS_SIM_PROC_H

#include "tests/sim/kernel.h"
#include "tests/sim/workload.h"

enum {
	FILES_MAX	= 3,
	HELD_MAX	= 24,
	DEPTH_MAX	= 2,
	QUEUE_MAX	= 256,
};

enum proc_state { PROC_THINKING, PROC_BUSY, PROC_QUIET, PROC_DEAD };

struct path {
	uint8_t		 components[DEPTH_MAX];
	unsigned	 depth;
	uint8_t		 name;			/* the last one; NAME_NONE: the directory itself is meant */
	uint64_t	 dir, child;		/* found; child 0: no such name */
};

struct proc;
typedef void proc_step(struct proc *p);

struct proc {
	struct sim	*sim;
	unsigned	 client, index;
	enum proc_state	 state;
	uint64_t	 life;			/* events of an earlier one mean nothing */
	struct mount	*mount;
	struct kernel	*kernel;
	struct file	*files[FILES_MAX];
	unsigned	 slot;			/* of files[], for the task */
	uint64_t	 held[HELD_MAX];
	unsigned	 held_count;
	/* the task */
	bool		 looks;			/* and opens and changes nothing */
	struct path	 path[2];
	unsigned	 paths, walking, component;
	proc_step	*act;
	unsigned	 stage, count;
	uint64_t	 offset;
	struct file	*file;
	/* looking at everything */
	bool		 inspecting;
	uint64_t	 queue[QUEUE_MAX];
	size_t		 queue_at, queue_count;
};

/* ---- workload.c ---- */
struct rng	*proc_dice(struct proc *p);
uint64_t	 proc_roll(struct proc *p, uint64_t n);
uint32_t	 proc_tag(struct proc *p);
bool		 proc_is_type(struct proc *p, uint64_t ino, mode_t type);
/* Makes ready a call; then(call) continues. */
struct call	*proc_begin(struct proc *p, enum op_type type, uint64_t ino, void (*then)(struct call *));
/* The task is over. */
void		 proc_rest(struct proc *p);

/* ---- task.c: each begins a task ---- */
void		 task_close(struct proc *p, unsigned slot);
void		 task_fsync(struct proc *p, struct file *f);
void		 task_fsyncdir(struct proc *p);
void		 task_sync(struct proc *p);
void		 task_statfs(struct proc *p);
void		 task_on_file(struct proc *p);		/* that in p->slot */
void		 task_named(struct proc *p);
void		 task_looking(struct proc *p);		/* one that opens and changes nothing */

/* ---- inspect.c ---- */
void		 inspect_next(struct proc *p);

#endif
