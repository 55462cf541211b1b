/*
 * facts.h - what becomes of inodes when a mount dies: for fate.c, and orphan.c.
 *
 * What the store says of an inode counts only while the dead mount was the
 * last to change it: then nobody else can have anything unsaved of it.
 */
#ifndef TESTS_SIM_FACTS_H
#define TESTS_SIM_FACTS_H

#include "tests/sim/fate.h"

struct version {
	struct inode	*inode;
	uint64_t	 step;			/* when the call that made it was done */
};

struct fact {
	uint64_t	 ino;
	const struct mount *changer;		/* the last one */
	bool		 built_on;		/* changed, or seen by others, after the death */
	bool		 doubtful;		/* touched by void calls of the dead mount */
	struct version	*versions;		/* states since its content was last certain, oldest first */
	size_t		 versions_count, versions_size;
};

struct facts {
	struct mount	*dead;			/* whose unsaved work is looked at */
	bool		 over;			/* its death has been passed */
	struct fact	*at;
	size_t		 count, size;
	struct model	*model, *now;		/* at the moment of death; of the last letter */
};

/* Walks the history; f->model is left at the death.  False when what others saw does not fit any more. */
bool	facts_gather(struct judge *j, struct facts *f, char *why, size_t size);
/*
 * orphan.c: the states that an inode had since its content was last certain, of the mount that touched it last, which is
 * f->dead, dead or not.  NULL when there is none, or the history does not fit.
 */
struct fact *facts_of(struct judge *j, uint64_t ino, struct facts *f);
bool	facts_changes_content(const struct call *c);
void	facts_free(struct facts *f);

/*
 * remains.c.  One inode that the dead mount was the last to change: is it in
 * the store as it may be?  The inode to adopt in *ret, or NULL when it is as
 * it was.
 */
bool	remains_judge(const struct image *image, const struct mount *m, struct fact *f, const struct inode *i,
	    struct inode **ret, char *why, size_t size);
/* The same of an orphan: can it have a size in [least, most]; can it hold these bytes, and zeros where it was cut off? */
bool	remains_size(const struct mount *m, const struct fact *f, uint64_t least, uint64_t most);
bool	remains_piece(const struct fact *f, uint64_t offset, const uint8_t *data, size_t len);
/* Of what was adopted, content or times: does the store have others by now? */
bool	remains_differ(const struct image *image, const struct inode *as);

#endif
