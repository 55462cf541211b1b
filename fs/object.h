/*
 * object.h - cached objects and their records, with what is leased of them.
 *
 * An object is what the server has under one oid: a sorted map of records.
 * Here it is the part this client knows, under its lease.  All calls are made
 * under the engine's lock.
 */
#ifndef FS_OBJECT_H
#define FS_OBJECT_H

#include <sys/queue.h>

#include "fs/engine.h"

struct span;

/* A record in plaintext, or the knowledge that there is none (absent). */
struct rec {
	struct rec	*left, *right;		/* treap by (kind, subkey) */
	uint32_t	 priority;
	uint8_t		 kind, subkey_len;
	uint8_t		 subkey[SUBKEY_MAX];
	bool		 absent;
	bool		 damaged;		/* did not open: EIO */
	bool		 dirty;			/* not in any commit yet */
	bool		 stored;		/* the server has it, or a commit under way will put it there */
	uint64_t	 sequence;		/* of the last commit that carried it */
	uint64_t	 oref;			/* ENTRY: the child; 0: none */
	uint8_t		(*brefs)[ID_SIZE];
	uint32_t	 brefs_count;
	uint8_t		*value;
	uint32_t	 value_len;
	TAILQ_ENTRY(rec) dirty_link;
};

/* Up to which subkey all records of a kind are known. */
struct cover {
	bool		 all;
	bool		 some;			/* the prefix up to `upto`, inclusive */
	uint8_t		 upto[SUBKEY_MAX];
};

/*
 * A recall in steps: WAIT until no operation older than the one that wants the
 * object needs it any more (R6); DRAIN waits until replies the kernel may cache have
 * left; SWEEP until the kernel has dropped what it caches (operations are
 * still served: the sweep may need them); FLUSH until data and records are
 * durable (operations wait); then RELEASE is sent.
 */
enum recall_state { RECALL_NONE, RECALL_WAIT, RECALL_DRAIN, RECALL_SWEEP, RECALL_FLUSH };

/* What a second sweep is to take from the kernel. */
enum late { LATE_NOTHING, LATE_ATTRIBUTES, LATE_ALL };

struct object {
	uint64_t	 oid;
	struct object	*hash_next;
	TAILQ_ENTRY(object) lru_link;

	/* lease */
	uint8_t		 mode;			/* enum mode; held since `grant` */
	uint64_t	 grant;
	uint64_t	 leased_since;		/* number of this stretch of holding it */
	uint64_t	 hold_until;		/* no recall to NONE is followed before (caller.c, need.c) */
	bool		 turn;			/* ... but for the first change of a name */
	uint64_t	 demand_until;		/* names are not left to the kernel before */
	uint64_t	 changed_ms;		/* a name in it was made or removed here */
	uint64_t	 version;		/* base for commits */
	uint64_t	 writer;		/* the session that made it */
	bool		 born;			/* made here; the server has not acknowledged it */
	bool		 adopted;		/* claimed for a killed mount, and not given away since */
	bool		 dead;			/* the server says there is no such object */
	bool		 pinned_elsewhere;
	bool		 pinned;		/* our PIN was sent */
	bool		 pinned_before;		/* maybe, by us or the mount whose session this was; once it is gone */
	bool		 unpinned;		/* we said so; a server that crashed may not know */
	bool		 unpin;			/* to be taken back when the commits so far are acknowledged */
	uint64_t	 unpin_after;
	bool		 unpin_sent;		/* it was, but perhaps not heard yet */
	uint64_t	 unpin_request;		/* the last request before it */
	TAILQ_ENTRY(object) unpin_link;
	enum recall_state recall;		/* on the engine's list unless NONE */
	TAILQ_ENTRY(object) recall_link;
	uint8_t		 recall_mode;
	uint64_t	 recall_ticket;		/* of the oldest operation elsewhere that wants it; 0: unknown */
	uint64_t	 recall_after;		/* DRAIN: replies up to this number */
	/*
	 * Our last RELEASE: answers to READs sent before it may still tell of the
	 * grant it gave back, and are then cut down to what was kept.
	 */
	bool		 released;
	uint8_t		 released_mode;
	uint64_t	 released_grant, released_request;
	uint64_t	 early_grant;		/* a RECALL that overtook its grant */
	uint8_t		 early_mode;
	uint64_t	 early_ticket;
	uint32_t	 sweeps, light_sweeps;	/* INVALIDATE actions under way; those of them without pages */
	bool		 light_asked;		/* one was added since the DRAIN */
	enum late	 late;			/* what is swept once more, when the replies up to late_after have left */
	uint64_t	 late_after;
	TAILQ_ENTRY(object) late_link;
	uint32_t	 unknown;		/* times in a row that the kernel did not know it then */
	uint64_t	 cached_replies;	/* that leave pages or moved names in the kernel, since the DRAIN began */

	/* what is known */
	bool		 attr_known, attr_damaged;
	bool		 attr_dirty;
	bool		 parents_known;		/* PARENT .. INLINE were read too */
	/*
	 * It has, or had, several names.  The kernel counts one less by itself when
	 * a name goes, even when our answer knew of that already: its count is not
	 * to be kept.
	 */
	bool		 linked;
	struct attr	 attr;			/* attr.size is the local size, ahead of the server's */
	struct rec	*root;
	struct cover	 entries, regions, xattrs;
	TAILQ_HEAD(, rec) dirty_recs;

	/* use */
	uint64_t	 lookups;		/* the kernel's count */
	bool		 looked_into;		/* a name in it was looked up */
	uint64_t	 kept;			/* the last round of the pins that it was kept for; 0: none */
	uint32_t	 opens, writers;	/* handles; those of them that may write, also through a map */
	bool		 gone;			/* its last name was removed */
	int		 error;			/* writes lost: reported once to each handle */
	uint64_t	 error_seq;
	uint64_t	 hint_parent;		/* a name it had, for messages */
	char		*hint_name;

	/* transaction */
	bool		 dirty;			/* on the engine's dirty list */
	bool		 ordered;		/* its data goes into the same commit (renamed over another, or named while it is written anew) */
	uint64_t	 over;			/* the commit that renames it over another; 0: none */
	TAILQ_ENTRY(object) dirty_link;
	uint64_t	 sequence;		/* last commit that changed it */
	uint32_t	 inflight;		/* commits under way that change it */
	uint64_t	 sync_sequence;		/* the commit that its last FSYNC waits for */

	/* content */
	TAILQ_HEAD(, span) spans;		/* bytes not yet on the server */
	TAILQ_ENTRY(object) flush_link, data_link;
	bool		 on_flush_list, on_data_list;
	bool		 unsaved;		/* on the dirty list, or on that of content */
	uint64_t	 stable_size;		/* the size a commit may state */
	uint64_t	 stated_size, told_size;	/* in the ATTR last frozen; in the one last acknowledged */
	uint32_t	 stated_flags, told_flags;
	bool		 tail_tidy;		/* no record speaks of bytes behind the end */
	uint32_t	 stable_flags;
	bool		 hold;			/* truncated, not rewritten yet: keep the old content */
	uint64_t	 hold_ms;		/* when it was truncated last */
	uint64_t	 hold_number;		/* the span number of that moment */
	bool		 hold_clean;		/* all that was truncated away was in a commit */
	bool		 wipe;			/* regions from wipe_from on are deleted */
	uint64_t	 wipe_from;
	uint64_t	 next_read;		/* where a sequential reader goes on */

	/* journal */
	uint64_t	 journaled;		/* last entry that speaks of it, and may be live; 0: none */
	bool		 marked;		/* had content on its way at the journal's mark, and */
	uint64_t	 mark_size;		/* this size */
	uint32_t	 scouted, scouted_bytes;	/* brought ahead and not used yet (scout.c) */
	bool		 waits;			/* it was lost with changes, which the journal will bring again, and */
	bool		 changed;		/* was changed before it did */
	uint64_t	 lost_version;		/* the version that it had then */
	uint8_t		 relists;		/* times its children were asked for again */
};

int	object_key_compare(const struct rec *r, uint8_t kind, const uint8_t *subkey, size_t len);
/* NULL when unknown. */
struct rec *object_rec(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len);
/* Makes an unknown one, absent and clean; NULL when out of memory. */
struct rec *object_rec_make(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len);
/* First record at or after the key. */
struct rec *object_rec_from(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len);
struct rec *object_rec_after(struct object *o, const struct rec *r);
void	object_rec_remove(struct object *o, struct rec *r);
/* Copies; -ENOMEM leaves the record as it was. */
int	object_rec_fill(struct rec *r, struct bytes value, uint64_t oref,
	    const uint8_t (*brefs)[ID_SIZE], uint32_t brefs_count);
/* Forgets all records and attributes (not the lease, not dirty content). */
void	object_forget(struct object *o);
bool	object_covered(const struct cover *c, const uint8_t *subkey, size_t len);
/* Is it known whether this record exists? */
bool	object_knows(struct object *o, uint8_t kind, const uint8_t *subkey, size_t len);

int	object_set_attr(struct object *o, const struct attr *a);	/* copies the symlink target */

struct object *object_new(uint64_t oid);
void	object_free(struct object *o);

#endif
