/*
 * journal_file.h - the journal's segments on this machine's disk.
 *
 *	DIRECTORY/0, 1, 2 ...	preallocated, mapped, used again when dead; mode 0600
 *
 * An append copies into a shared mapping: what was appended is in the page
 * cache, where a kill -9 does not reach it, without a system call.  A thread
 * of its own keeps empty segments ready and brings what lives longer than
 * some seconds to the disk, so that a power cut loses no more than these, and
 * never something from the middle.
 *
 * The directory belongs to whoever holds the volume's lock (home_lock()).
 */
#ifndef FS_JOURNAL_FILE_H
#define FS_JOURNAL_FILE_H

#include "fs/journal.h"

struct journal_file;

/* Reads what is there.  0, -ENOTSUP (of another version), or -errno. */
int	journal_file_open(struct journal_file **ret, const char *directory, const uint8_t volume[VOLUME_ID_SIZE]);
void	journal_file_close(struct journal_file *j);

/* Each entry there is, in order, until each() returns non-zero; appending waits meanwhile. */
int	journal_file_each(struct journal_file *j, int (*each)(void *context, uint64_t number, struct bytes entry),
	    void *context);
/* Entries there were. */
uint64_t journal_file_count(const struct journal_file *j);
/* The machine has not been started anew since the last of them. */
bool	journal_file_whole(const struct journal_file *j);
/* The session they are of. */
uint64_t journal_file_session(const struct journal_file *j);

/* Where the engine appends; behind what is there. */
const struct engine_journal *journal_file_sink(struct journal_file *j);
/* From now on entries are of this session.  Any thread. */
void	journal_file_begin(struct journal_file *j, uint64_t session);
/* Nothing in it is live. 0 or -errno. */
int	journal_file_reset(struct journal_file *j);
/* All of it to the disk. */
int	journal_file_sync(struct journal_file *j);

#endif
