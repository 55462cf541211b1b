/*
 * far_world.h - a few objects that only the server has, for tests of the client
 * engine alone: READs are answered from a table, honest or not.
 */
#ifndef TESTS_UNIT_FAR_WORLD_H
#define TESTS_UNIT_FAR_WORLD_H

#include "tests/unit/client_world.h"

enum { FAR_NAMES = 8, NO_PARENT = 0, DAMAGED_PARENT = UINT64_MAX, GARBLED_PARENT = UINT64_MAX - 1 };

struct far_name {
	const char	*name;			/* NULL: no more */
	uint64_t	 child;
};

struct far_object {
	uint64_t	 oid;			/* 0: no more */
	uint32_t	 mode, nlink;
	uint64_t	 size, parent;
	bool		 freed;			/* the server says that there is none */
	bool		 pinned;		/* elsewhere */
	bool		 region;		/* a damaged REGION comes with its names, or its content; */
	bool		 in_record;		/* the content is INLINE, and damaged */
	uint64_t	 grant;			/* of the last answer; */
	uint8_t		 held;			/* its mode: the strongest that was wanted so far */
	struct far_name	 names[FAR_NAMES];
};

/* What the server has from now on; borrowed. */
void	far_begin(struct far_object *objects);
struct far_object *far_of(uint64_t oid);
/* Answers the READ that is asked for longest with all it wants, of the modes it wants.  False: there is none. */
bool	far_answer(void);
/* The operation with all the answers and time it takes; its error.  The caller says that it is replied to. */
int	far_do(struct op *op);
/* The same, and it is replied to. */
int	far_done(struct op op);

#endif
