/*
 * redoer.h - the thread that does again what this mount has lost (redo.c).
 *
 * It sleeps until it is told to look, and tries again by itself what it could
 * not do.
 */
#ifndef FS_REDOER_H
#define FS_REDOER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct home;
struct journal_file;
struct shell;

/* Embed it; its fields are its own. */
struct redoer {
	pthread_mutex_t		 lock;
	pthread_cond_t		 change;
	bool			 wanted;
	atomic_bool		 stop;		/* written under the lock */
	bool			 started;
	pthread_t		 thread;
	struct home		*home;
	const uint8_t		*volume;
	struct journal_file	*journal;
	struct shell		*shell;
	bool			(*note)(void *context);
	void			*context;
};

void	redoer_init(struct redoer *r);
/*
 * Borrows all until redoer_stop().  note() is called, too, whenever it was told
 * to look, and again each second until it is true.  0 or -EAGAIN.
 */
int	redoer_start(struct redoer *r, struct home *home, const uint8_t *volume, struct journal_file *journal,
	    struct shell *shell, bool (*note)(void *context), void *context);
/* Something may be there to be done.  Any thread, also before it is started: then it looks first of all. */
void	redoer_want(struct redoer *r);
/* Ends it, to the end of an operation; twice is fine. */
void	redoer_stop(struct redoer *r);

#endif
