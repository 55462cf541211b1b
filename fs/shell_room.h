/*
 * shell_room.h - what shell.c, lanes.c and errand.c share, and nobody else.
 *
 * s->lock guards the engine, the session and `attached`; s->queue_lock the
 * control queue, and is taken inside it.
 */
#ifndef FS_SHELL_ROOM_H
#define FS_SHELL_ROOM_H

#include "fs/alarm.h"
#include "fs/bulk.h"
#include "fs/channel.h"
#include "fs/lock.h"
#include "fs/shell.h"

struct mover;
struct notifier;
struct workers;

struct actions {
	struct action	*first, **last;
};

struct shell {
	pthread_mutex_t		 lock;
	struct engine		*engine;
	bool			 attached;
	uint64_t		 session;
	uint8_t			 secret[SECRET_SIZE];
	uint32_t		 generation;
	uint64_t		 highest;	/* version seen */
	uint64_t		 serial;	/* of the last op submitted */
	unsigned		 errands;	/* under way */
	bool			 offline;	/* as of the last tick */
	_Atomic bool		 alone, lapsed, asleep;	/* written under the lock */
	_Atomic uint64_t	 woken_ms;	/* the server is to answer soon after that; 0: it may take its time */

	pthread_mutex_t		 queue_lock;
	struct actions		 queue;		/* SEND and COMMIT */
	bool			 bye_due;

	struct shell_config	 config;
	struct volume_keys	*keys;
	struct link_target	 control_target, bulk_target;
	struct channel		*control;
	struct bulk		*bulk;
	struct mover		*mover;
	struct notifier		*notifier;
	struct workers		*workers;
	uint64_t		 replaces;
	uint8_t			*sealing;	/* the control writer's scratch */
	size_t			 sealing_size;
	uint8_t			*opening;	/* the control reader's */
	size_t			 opening_size;

	pthread_t		 ticker;
	bool			 ticking;
	struct alarm		 alarm;		/* of the ticker */
	atomic_bool		 stopping;
	pthread_mutex_t		 bye_lock;
	pthread_cond_t		 bye_done;
	bool			 bye_answered;
};

void	actions_init(struct actions *list);
void	actions_add(struct actions *list, struct action *a);
struct action *actions_take(struct actions *list);	/* NULL when empty */
/* Drops all; s->queue_lock must not be held. */
void	shell_drop_queue(struct shell *s);
/* Frees an action that is not carried out. */
void	action_drop(struct action *a);

/* What one event asked for, to be carried out once the lock is dropped. */
struct outcome {
	struct actions	 rest;
	bool		 kick;			/* something was queued for the control lane ... */
	bool		 heavy;			/* ... that takes long to seal */
	uint64_t	 due_ms;		/* the next tick is to come then */
	unsigned	 stores;		/* STOREs in rest */
};

/* Sets the engine's clock; s->lock held, as for shell_leave(). */
void	shell_enter(struct shell *s);
/* Takes what is to be done, behind what the outcome holds already. */
void	shell_leave(struct shell *s, struct outcome *o);
/* Does it; no lock held. */
void	shell_carry_out(struct shell *s, struct outcome *o);

/* Within an event's outcome, another one. */
#define AGAIN(s, outcome, statement) do { \
	LOCK_SCOPE(&(s)->lock); \
	shell_enter(s); \
	statement; \
	shell_leave(s, outcome); \
} while (0)

/* One event: the statement runs under the lock, its actions after it. */
#define EVENT(s, statement) do { \
	struct outcome outcome_ = { .rest.last = &outcome_.rest.first, .due_ms = UINT64_MAX }; \
	{ \
		LOCK_SCOPE(&(s)->lock); \
		shell_enter(s); \
		statement; \
		shell_leave(s, &outcome_); \
	} \
	shell_carry_out(s, &outcome_); \
} while (0)

/* What is spoken on the control and on the bulk lane (lanes.c). */
extern const struct channel_calls lanes_control;
extern const struct bulk_calls lanes_bulk;
/* Tells the server that the session is over, and waits a moment for its answer: true when it came. */
bool	lanes_say_bye(struct shell *s);

#endif
