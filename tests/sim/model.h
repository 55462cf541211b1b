/*
 * model.h - the file system nuage has to look like: a plain sequential POSIX
 * tree of inodes, cheap to copy.
 *
 * model_apply() answers the only question asked of it: could this call, with
 * the result it had, have happened in this state?  If so the state moves on.
 * Inode numbers are taken from results, so a model says nothing about how
 * they are chosen.  Inodes are counted and copied on write; a copy of a model
 * costs an array of pointers.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "tests/sim/call.h"

/* An instant known to lie in this interval of CLOCK_REALTIME, in ns. */
struct when {
	int64_t		 low, high;
};

/* Bytes [start, start + len) of a file are pattern(tag) from origin on. */
struct run {
	uint64_t	 start, len, origin;
	uint32_t	 tag;
};

struct inode {
	unsigned	 refs;
	uint64_t	 ino;
	uint32_t	 mode, nlink, uid, gid;
	uint64_t	 size;
	struct when	 mtime, ctime;
	uint16_t	 opens[CLIENTS_MAX];
	uint64_t	 parent;		/* of a directory */
	uint64_t	*entries;		/* of a directory: NAMES numbers, 0 where there is none */
	uint8_t		 target;		/* of a symbolic link: a name's number */
	struct run	*runs;			/* of a file: sorted, apart; holes are zeros */
	size_t		 runs_count;
	struct { bool set; uint32_t tag; size_t size; } xattrs[XATTRS];
};

struct model {
	struct inode	**inodes;		/* sorted by number; the unlinked stay, with nlink 0 */
	size_t		 count, size;
};

struct model	*model_new(uint32_t uid, uint32_t gid, uint32_t mode);	/* a root directory alone */
struct model	*model_copy(const struct model *m);
void		 model_free(struct model *m);

/* NULL when there never was one.  Read only. */
const struct inode *model_find(const struct model *m, uint64_t ino);

/* Its last name is gone, and nobody has it open. */
bool		 model_is_orphan(const struct inode *i);

/* The inode, which is there, fit to be changed; a new one. */
struct inode	*model_own(struct model *m, uint64_t ino);
struct inode	*model_add(struct model *m, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid);

/* posix.c.  True: c fits here, and m is the state after it.  False: m is as before, and why[] says what differs. */
bool		 model_apply(struct model *m, const struct call *c, char *why, size_t size);
/* Everything a client held open is closed: it died. */
void		 model_close_all(struct model *m, unsigned client);
/* Makes a file's content and sizes what was found after a crash. */
void		 model_adopt(struct model *m, const struct inode *as);

/* Equal for equal states; for remembering the states a search has been in. */
uint64_t	 model_hash(const struct model *m);
/* The whole tree, for people. */
void		 model_print(const struct model *m, FILE *to);

/* Runs as a room of their own, for what check.c reconstructs from the store. */
void		 runs_write(struct inode *i, struct run run);
void		 runs_cut(struct inode *i, uint64_t from, uint64_t to);
/* Offset of the first byte where `data`, the file's bytes from `offset` on, differs; or len. */
size_t		 runs_compare(const struct inode *i, uint64_t offset, const uint8_t *data, size_t len);

#endif
