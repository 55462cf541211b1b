/*
 * serve_journal.h - a volume's journal around the life of a mount.
 */
#ifndef FS_SERVE_JOURNAL_H
#define FS_SERVE_JOURNAL_H

#include "fs/home.h"
#include "fs/shell.h"

struct journal_file;

/*
 * What the last mount left behind, brought to the server before the volume
 * can be used: resumes its session, runs the journal again, ends the session.
 * `config` is complete but for the kernel's side; *ret_ran: there was
 * something.  After an error nothing is lost and it can be tried again.
 */
int	serve_journal_replay(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file,
	    struct shell_config config, bool writable, bool *ret_ran, char *why, size_t size);
/*
 * After -ENOSPC: the mount begins all the same, with the journal as something
 * that it lost itself.  Before its shell is made; and when it is.
 */
void	serve_journal_take_over(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file,
	    struct shell_config *config);
int	serve_journal_leave(struct journal_file *file, struct shell *shell, char *why, size_t size);
/* What the live mount lost with its leases, if anything, until *stop: 0 or why it waits on. */
int	serve_journal_redo(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file,
	    struct shell *shell, const atomic_bool *stop);
/* Opens it; the volume's lock is held. */
int	serve_journal_open(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file **ret,
	    char *why, size_t size);
/*
 * Operations that wait for the next mount; 0 while the volume is mounted.
 * Negative errno: it cannot be read.
 */
int64_t	serve_journal_waiting(struct home *home, const uint8_t id[VOLUME_ID_SIZE]);
/* Each line of the list of conflicts: the path of a copy, from the volume's root. */
void	serve_journal_conflicts(struct home *home, const uint8_t id[VOLUME_ID_SIZE],
	    void (*each)(void *context, const char *path), void *context);

/* Why what is in it could not be run again: an errno as the functions above return it, in words. */
const char *serve_journal_reason(int error);

#endif
