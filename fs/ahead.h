/*
 * ahead.h - what the rooms that look ahead share.
 *
 * scout.c    how far ahead, when, and what becomes of it
 * walk.c     the way there, and what is unknown on it
 *
 * Not included outside these files.
 */
#ifndef FS_AHEAD_H
#define FS_AHEAD_H

#include "fs/core.h"

enum {
	AHEAD_LISTINGS	= 64,			/* directories in one READ */
	AHEAD_BYTES	= 256 * 1024,		/* of one file; read_ahead() does the rest */
};

/* A READ for nobody yet. */
struct scout_read {
	TAILQ_ENTRY(scout_read) link;
	uint64_t	 request;
	uint16_t	 kinds;
	uint32_t	 listings;		/* among the wants */
	struct series	*series;		/* for the children alone; NULL: not so */
	uint32_t	 count;
	struct msg_want	 wants[WANTS_MAX];
	uint8_t		 from[WANTS_MAX][SUBKEY_MAX];
};

/* ---- scout.c ---- */
bool		 ahead_wants_content(const struct engine *e);	/* the window of files is open */
bool		 ahead_is(const struct engine *e, const struct object *o);	/* brought ahead, and unused */
void		 ahead_count(struct engine *e, struct object *o);	/* a file, from now on */
bool		 ahead_known(const struct object *o);		/* leased, with attributes, and not about to go */
/* Is that kind of oid's records in a READ already, this one or one under way? */
bool		 ahead_asked(const struct engine *e, const struct scout_read *r, uint64_t oid, uint8_t kind);
/* Adds a want, from the key to the end of the kind; there is room. */
void		 ahead_want(struct scout_read *r, const struct object *o, uint8_t kind, const uint8_t *from, size_t len,
		    uint32_t limit);

/* ---- walk.c ---- */
/*
 * From behind the entry `after` in dir (NULL: from its first) on: adds what is
 * unknown to `to` (NULL: nothing).  With content, files too, as long as their
 * window is open; their cells are fetched at once.  True when it found anything.
 */
bool		 walk_ahead(struct engine *e, struct scout_read *to, struct object *dir, struct rec *after, bool content);
/* Fetches the cells that the beginning of a file lies in; true if any were missing. */
bool		 walk_fetch(struct engine *e, struct object *o);

#endif
