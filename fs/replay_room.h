/*
 * replay_room.h - what replay.c, replay_plan.c and replay_beside.c share, and
 * nobody else.
 */
#ifndef FS_REPLAY_ROOM_H
#define FS_REPLAY_ROOM_H

#include "fs/replay.h"

enum {
	CHUNK		= 256 * 1024,
	LISTING		= 64 * 1024,
	DEPTH_MAX	= 128,
	SUFFIX_MAX	= 1000,
	WAITING_BITS	= 1024 * 1024,
};

enum step {
	RUN, STAT, LOOK, MAKE, CLEAR, READ, WRITE, FLUSH,		/* an entry */
	FIND_ORIGINAL, FIND_COPY, READ_ORIGINAL, READ_COPY, DROP, UP, DOWN,	/* a conflict */
	SYNC, END
};

struct item {
	struct bytes	 entry;
	uint64_t	 number, ino, sequence;	/* sequence: of the commit a name is in; 0: none */
	uint64_t	 origin;		/* the entry it stands for in the end, or itself: when it was wanted */
	uint64_t	 it, victim;		/* whose content it is, or what is moved or linked; unlinked or replaced */
	uint64_t	 base, victim_base;	/* stranded: the versions of them that were seen by then */
	bool		 name, stranded, dead, run;
};

/* What is known of an object id of the journal. */
struct fact {
	uint64_t	 oid;			/* 0: free */
	uint64_t	 to;			/* what stands for it now; 0: itself */
	uint64_t	 base;			/* highest version seen of it */
	size_t		 cleaned;		/* content items before this one are dead, and its lease may be given away */
	size_t		 named;			/* the last item that speaks of it */
	uint64_t	 foreign;		/* to entries before this one it is another's, whoever changed it last */
	uint64_t	 over_from, over_to;	/* bytes that later items write, */
	bool		 over_stranded;		/* of those that are stranded, or of the others */
	bool		 made, unlinked, copied, away;
	bool		 left;			/* its content is to the mount that begins: replay_leave() */
	bool		 waits;			/* what made, moved, removed or wrote it waits for space */
	bool		 names_wait;		/* a directory: so does something in it */
	size_t		 lost_from, lost_at;	/* content items from, and before, these were lost */
	uint64_t	 last;			/* the last content item's number */
	unsigned	 lost_round;
	uint64_t	 lost_base, lost_last;	/* base by then; the last of those items' number, until that is run again */
	const struct item *maker;		/* made by it, which was lost */
	bool		 since;			/* changed after that, before they were run again */
	uint64_t	 copy, copy_parent;	/* an earlier attempt made a copy there, of this name */
	struct bytes	 copy_name;
};

struct conflict {
	uint64_t	 parent;
	char		*name, *copy;
	char		*path;			/* NULL: not kept */
};

struct replay {
	char		 device[64];
	struct item	*items;
	size_t		 count, size;
	size_t		 frozen;		/* items before it are in commits as far as is known */
	struct fact	*facts;
	size_t		 facts_count, facts_size;
	struct conflict	*conflicts;
	size_t		 conflicts_count, conflicts_size;
	uint64_t	*own;			/* the sessions it is of */
	size_t		 own_count, own_size;
	uint64_t	 boot;			/* of the server that gave the last leases */
	size_t		 loss_at;		/* leases of items before this one may be lost */
	uint64_t	 floor, last_number, last_freeze, last_ack;
	struct timespec	 now;
	bool		 live;			/* run by the mount that lost it: only what is stranded */
	bool		 no_room;		/* the server is full: only removals are run */
	uint64_t	 waiting[WAITING_BITS / 64];	/* a bit for each name that what waits makes, moves or removes; and for others, few */
	uint64_t	 losses;
	unsigned	 round;
	bool		 redoing;		/* something has been, since the last loss */
	size_t		 floor_at;		/* the first item that is not before the floor */
	bool		 whole, resumed, on_root;	/* on_root: the directory is gone, the root takes its place */
	/* where it is */
	enum step	 step;
	size_t		 at;			/* item, or conflict */
	unsigned	 nth;
	struct journal_entry entry;
	struct replaying replaying;
	struct op	 op;
	char		 beside[NAME_MAX_BYTES + 1];
	uint64_t	 parent;		/* of the copy */
	uint64_t	 original, copy, offset, length;
	uint32_t	 mode;
	bool		 noted;
	uint8_t		*chunk;
	size_t		 chunk_len;
	uint64_t	 climb[DEPTH_MAX];
	char		*names[DEPTH_MAX];
	unsigned	 depth;
	const struct conflict *to_note;		/* made by an operation just now, */
	uint64_t	 to_note_ino, to_note_copy;	/* as a copy of this */
	uint64_t	 to_tell;		/* its content has no place any more */
	int		 error;
	struct replay_report report;
};

/* ---- replay_plan.c ---- */

/* NULL when nothing is known. */
struct fact	*fact_find(struct replay *r, uint64_t oid);
/* Makes it; NULL when out of memory.  Pointers to facts do not outlive this call. */
struct fact	*fact_of(struct replay *r, uint64_t oid);
/* Of an id, not 0, that an operation of the journal names: so there is one. */
struct fact	*fact_known(struct replay *r, uint64_t oid);
/* The entry, which replay_add() has read before. */
void		 item_decode(struct journal_entry *entry, const struct item *t);
int		 conflict_add(struct replay *r, uint64_t parent, struct bytes name, struct bytes copy);

/* ---- replay_beside.c: copies of what has no place any more, and what becomes of them ---- */

struct bytes	 replay_text(const char *s);
/* The name that is asked for, of the entry. */
struct bytes	 name_of(const struct replay *r);
/* The next name beside it. */
void		 next_beside(struct replay *r);
void		 begin_copy(struct replay *r, bool with_content);
void		 set_copying(struct replay *r);
void		 answered_copying(struct replay *r, const struct op *done);
void		 set_conflict(struct replay *r);
void		 answered_conflict(struct replay *r, const struct op *done);
/* The directory's path is known. */
void		 end_path(struct replay *r);

#endif
