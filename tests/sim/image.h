/*
 * image.h - the file system as the server's store has it, decoded record by
 * record without either engine: what a fresh client would find if all others
 * were gone.
 */
#ifndef TESTS_SIM_IMAGE_H
#define TESTS_SIM_IMAGE_H

#include "tests/sim/model.h"
#include "tests/sim/sim.h"

struct piece_of_region {
	uint64_t	 region;
	struct extent	 extent;
	uint8_t		 block[ID_SIZE];
};

struct image_object {
	uint64_t	 oid, count;		/* count: references the server counts */
	uint64_t	 names;			/* entries that name it */
	bool		 has_attr, has_parent, has_inline, unreadable;
	struct attr	 attr;
	uint64_t	 parent;
	uint64_t	 entries[NAMES];
	uint8_t		*content;		/* of INLINE */
	size_t		 content_len;
	struct piece_of_region *pieces;
	size_t		 pieces_count;
	struct { bool set; uint8_t *value; size_t len; } xattrs[XATTRS];
	uint8_t		 target;		/* a name's number */
};

struct image {
	struct sim	*sim;
	struct image_object *objects;		/* by oid */
	size_t		 count, size;
	uint64_t	 meta_root;
	char		 wrong[256];		/* the first thing that cannot be, or "" */
};

void	image_read(struct sim *sim, struct image *image);
void	image_free(struct image *image);
const struct image_object *image_find(const struct image *image, uint64_t oid);
/* A tree: acyclic, one name a directory, PARENT, nlink and counts agree. False and image->wrong. */
bool	image_check(struct image *image);
/* Bytes of a file; to[] has attr.size. False when a block is missing. */
bool	image_content(const struct image *image, const struct image_object *o, uint8_t *to);
/* Sequence last consumed by a session, and whether it was rejected; false when there is no such session. */
bool	image_session(struct sim *sim, uint64_t session, uint64_t *ret_sequence, bool *ret_rejected);
/* The volume's version. */
uint64_t image_version(struct sim *sim);
/* Objects that no name leads to, but META and pinned ones; and blocks without a reference. */
size_t	image_garbage(struct sim *sim, size_t *ret_blocks);

#endif
