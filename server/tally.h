/*
 * tally.h - what one batch does to reference counts.
 *
 * References are added and taken away in any order while the batch is made;
 * only the sums count.  Then the sums become rows, and once the batch is
 * applied, memory follows: orphans, objects to be freed, idle blocks.
 *
 *	init -> object, block, change, record ... -> sum -> rows -> applied -> done
 *
 * The first failure sticks in `error`; -ENOENT is not one.
 */
#ifndef SERVER_TALLY_H
#define SERVER_TALLY_H

#include "server/state.h"

struct tally_object {
	struct table_node	 node;		/* by oid */
	struct tally_object	*next;
	struct object		*object;
	struct header		 was, is;	/* `is` becomes the row; set by sum and by the caller */
	int64_t			 count, entries;	/* what is added to them */
	bool			 exists;	/* stored and not being freed */
	bool			 damaged;	/* its header cannot be read */
	bool			 changed;	/* its records are: the caller's */
	bool			 put;		/* a record of it is written: the caller's */
	bool			 listed;	/* its base version was given: the caller's */
	bool			 refused;	/* the caller's */
	struct touched		*touched;	/* records changed: the caller's */
};

struct tally_block {
	struct table_node	 node;		/* by keyed hash of the id */
	struct tally_block	*next;
	uint8_t			 id[ID_SIZE];
	uint64_t		 was, is;	/* references */
	int64_t			 count;		/* what is added */
	bool			 known;		/* has a row: belongs to the volume */
	const struct msg_small_block *carried;	/* by the commit, or NULL: the caller's */
	bool			 write;		/* is not stored and to be written: the caller's */
};

struct tally {
	struct server		*server;
	struct volume		*volume;
	struct arena		 arena;		/* for the caller's use too */
	struct table		 objects, blocks;
	struct tally_object	*first_object, **last_object;
	struct tally_block	*first_block, **last_block;
	int			 error;
};

void	tally_init(struct tally *t, struct server *s, struct volume *v);
/* Frees it; objects it looked at are kicked. */
void	tally_done(struct tally *t);
/* Finds or loads; NULL and t->error when out of memory. */
struct tally_object *tally_object(struct tally *t, uint64_t oid);
struct tally_block *tally_block(struct tally *t, const uint8_t id[ID_SIZE]);
/* Adds (+1) or takes away (-1) the references of a record. */
void	tally_change(struct tally *t, const struct msg_change *change, int sign);
void	tally_record(struct tally *t, const struct record_row *row, int sign);
/* Sets the new counts; false, and -EBADMSG in error, when one falls below zero: the store is damaged. */
bool	tally_sum(struct tally *t);
/* Appends headers of objects that exist or are born (`put`), orphans and counts of blocks. */
void	tally_rows(struct tally *t, struct batch *b);
/* The batch is in the log at `pos`. */
void	tally_applied(struct tally *t, uint64_t pos);

#endif
