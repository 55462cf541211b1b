/*
 * call.h - one FUSE request as the simulator sees it: what was asked, who
 * answered (the engine, or the modelled kernel from its cache), what came
 * back, and when.  Calls are the letters of the history that check.c judges;
 * they live until the end of the run.
 */
#ifndef TESTS_SIM_CALL_H
#define TESTS_SIM_CALL_H

#include "fs/engine.h"

enum {
	CLIENTS_MAX	= 4,
	PROCS_MAX	= 3,		/* processes a client */
	NAMES_MADE	= 48,		/* names that processes use */
	NAMES		= 128,		/* and those that conflicts make of them */
	NAME_NONE	= 255,
	CALL_LOCKS_MAX	= 5,
	XATTRS		= 4,
};

struct mount;
struct file;

/* One entry of a listing. */
struct listed {
	uint64_t	ino, offset;
	uint8_t		name, type;
};

/* Reasons for which a call may fail without an effect, whatever the model says. */
enum excuse {
	EXCUSE_NOSPC	= 1,		/* the server was full while the call ran */
	EXCUSE_LOST	= 2,		/* this session lost leases or work */
	EXCUSE_TOLD	= 8,		/* its file told of a loss before, and need not do so again */
	EXCUSE_ABSENT	= 16,		/* its session was given up: what it had open and others removed is gone, without PIN */
	EXCUSE_DAMAGE	= 32,		/* a block of its file was damaged on the server */
	EXCUSE_INTR	= 4,		/* its caller was killed */
	EXCUSE_DOWN	= 64,		/* the machine was about to sleep */
};

struct call {
	struct call	*next;			/* in a queue of the kernel's */
	struct mount	*mount;
	uint64_t	 number;		/* in order of creation */
	uint8_t		 client, proc;
	/* asked */
	enum op_type	 type;
	uint64_t	 ino, ino2;
	uint8_t		 name, name2;		/* indices into names; xattr names too */
	uint32_t	 flags, set;
	struct attr	 attr;
	uint64_t	 offset;
	size_t		 size;
	uint32_t	 tag;			/* WRITE, SETXATTR: data is pattern(tag) from `origin` on */
	uint64_t	 origin;
	uint64_t	 victim, victim2;	/* inodes the kernel had looked up under name, name2 */
	uint64_t	 known;			/* CREATE: what its process found under the name, or 0 */
	bool		 pair, pair_again;	/* RENAME: the kernel looks both names up and judges first (pair.c) */
	unsigned	 pair_stage;
	bool		 pair_waits;		/* ... for those, or for the locks of what they lead to */
	struct call	*under;			/* LOOKUP: of that one */
	struct file	*file;			/* open file or directory of the kernel's, or NULL */
	/* answered */
	bool		 by_kernel;
	int		 error;
	uint64_t	 child;
	struct attr	 got;			/* when has_attr */
	bool		 attr_unseen;		/* the kernel threw them away, and showed them to nobody */
	bool		 has_attr, cacheable, name_cacheable, keep_cache, direct_io;
	uint8_t		*bytes;			/* READ, READLINK, GETXATTR, LISTXATTR */
	size_t		 len;
	uint64_t	 written;
	struct listed	*entries;		/* READDIR, without "." and ".." */
	size_t		 entries_count;
	bool		 listed_end;		/* nothing follows */
	const uint64_t	*offsets;		/* READDIR: of the directory's names, as far as they were seen */
	unsigned	 excuses;		/* enum excuse */
	/* when, in steps of the world; 0: not yet */
	uint64_t	 invoked, done, responded;
	int64_t		 invoked_ns, done_ns;	/* CLOCK_REALTIME */
	uint64_t	 done_event;
	uint64_t	 effect, effect_event;	/* when it took effect; of a call that went through to the server earlier than `done` */
	/* fate */
	bool		 voided;		/* lost with its session: as if it never was */
	bool		 past;			/* verified, when what it saw was still so; or nobody could keep it true */
	bool		 lost;			/* ... for good: its mount lives on, and gave it up */
	bool		 idle;			/* it succeeded without changing anything */
	bool		 durable;		/* a later fsync promised that it stays */
	bool		 through;		/* it was on the server when it was answered, for no journal kept it */
	/* machinery */
	bool		 waiting;		/* for locks of the kernel's */
	bool		 parked;		/* in the engine, without an answer */
	bool		 in_engine;		/* until engine_replied() */
	bool		 kept;			/* the kernel's node of `child` is, until it is told */
	bool		 internal;		/* of the mount's own, not the kernel's */
	bool		 given;			/* of the journal: op was made elsewhere */
	bool		 redo;			/* ... of a live mount's (apart.h) */
	bool		 rerun;			/* ... and is an operation of the dead mount, again */
	uint64_t	 made;			/* ... what the first one made; it makes that anew, under another number perhaps */
	int64_t		 at_ns;			/* its effects bear this time; 0: that of now */
	uint64_t	 next_offset;		/* READDIR: where the listing goes on */
	struct { uint64_t id; bool exclusive; } locks[CALL_LOCKS_MAX];	/* of the kernel's */
	unsigned	 locks_count;
	uint64_t	 attr_version;		/* of the kernel when it was sent */
	bool		 skipped;		/* an invalidation went around its pages meanwhile */
	void		(*then)(struct call *c);	/* when responded */
	void		*context;
	struct op	 op;
};

/* Name number i, 1 to 255 bytes; xattr name number i. */
const char	*name_text(unsigned i);
/* Names of conflicts get numbers as they are met; a new run begins without. */
void		 names_forget(void);
const char	*xattr_text(unsigned i);
/* The number of a name, or NAME_NONE. */
uint8_t		 name_number(struct bytes name);
uint8_t		 xattr_number(struct bytes name);
const char	*op_text(enum op_type type);

/* The bytes [from, from + len) of the endless pattern of a tag. */
void		 pattern_fill(uint32_t tag, uint64_t from, uint8_t *to, size_t len);
/* Makes bytes a pattern, from 0 on. */
uint32_t	 pattern_keep(struct bytes data);
/* Index of the first byte of `data` that differs from it, or len. */
size_t		 pattern_compare(uint32_t tag, uint64_t from, const uint8_t *data, size_t len);

/* One line for traces, without newline. */
void		 call_text(const struct call *c, char *to, size_t size);

#endif
