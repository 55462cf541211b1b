/*
 * journal_world.h - for tests of a journal that is run again: its entries, kept
 * in memory, and a replay of them against the engine of client_world.h.
 */
#ifndef TESTS_UNIT_JOURNAL_WORLD_H
#define TESTS_UNIT_JOURNAL_WORLD_H

#include "fs/replay.h"
#include "tests/unit/client_world.h"

enum { NOTES_MAX = 3000, SESSION = 1, BOOT = 1, OTHERS = 99 };

/* The entries, and where an engine appends them. */
extern struct journal_note {
	uint8_t	 bytes[JOURNAL_ARGUMENTS_MAX];
	size_t	 len;
} notes[NOTES_MAX];
extern size_t notes_count;
extern struct engine_journal sink;

void	forget(void);			/* all but whose it is: nothing of a server that has started anew since is claimed */
void	write_down(struct journal_entry n);
void	attached_to(uint64_t session, uint64_t boot);
void	mark(uint8_t kind, uint64_t sequence);
void	cut_off(void);			/* FAR, of version 1 then */
bool	noted(uint8_t kind, uint64_t ino);
unsigned times_noted(uint8_t kind, uint64_t ino);

extern struct replay *replay;
extern bool refuses;			/* the server, what the mount claims of FAR */
extern bool refuses_notes;		/* the client's disk, whatever is to be written down */

/* All entries into `replay`, which is new. */
void	load(const char *device);
/* A new mount runs it; `landed`: the last commit of the session, which goes on; 0: there is another one. */
void	mount(uint64_t landed);
/* The mount that lost it does. */
void	again_alive(void);
void	unmount(void);
/* The next operation succeeds: a LOOKUP finds a file of five bytes, a READ brings `text`.  Or it fails. */
enum op_type says(uint64_t child, const char *text);
enum op_type says_error(int error);
enum op_type changed_by_others(void);
/* After all that is to be run: was a copy begun instead? */
bool	copies(void);
bool	done(void);

#endif
