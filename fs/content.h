/*
 * content.h - what the rooms of file content share: spans, layers, extents.
 *
 * Content is three layers, later over earlier: what records say (the INLINE
 * record, or the extents of REGION records), the frozen span of a region (on
 * its way to the server), its open span (still being written).  A region has
 * at most one of each.
 *
 * span.c     dirty bytes, frozen and flushed
 * span_cost.c  what they cost
 * layer.c    the layers of a region, painted over a list of segments
 * extent.c   REGION records
 * data.c     reading, writing, truncating
 *
 * Not included outside these files.
 */
#ifndef FS_CONTENT_H
#define FS_CONTENT_H

#include "fs/core.h"

enum {
	SPAN_RANGES	= 24,
	SEGMENTS_MAX	= 512,
	EXTENTS_WORK	= 2 * EXTENTS_MAX + 4 * SPAN_RANGES,
};

/* ---- span.c ---- */

struct range {
	uint32_t	 from, to;
};

struct span {
	TAILQ_ENTRY(span) link;
	uint64_t	 region, number;
	uint64_t	 opened;	/* the file's size when it was */
	struct buffer	*buffer;	/* from the region's beginning */
	struct range	 ranges[SPAN_RANGES + 1];
	unsigned	 count;
	size_t		 cost;		/* in engine.credit.unsent */
	bool		 frozen;
	uint64_t	 newest, size;	/* when it was frozen: the newest span's number, and the file's size */
	unsigned	 pending;	/* flushes not stored yet */
	struct flush_list flushes;
};

bool		 content_inline(const struct object *o);		/* it is in the INLINE record */
int		 content_put_inline(struct engine *e, struct object *o, struct bytes content);	/* INLINE_MAX at most */
size_t		 span_bytes(const struct span *s);
/* Takes [from, to) away; there is room for one more range. */
void		 span_cut(struct engine *e, struct object *o, struct span *s, uint32_t from, uint32_t to);
struct span	*span_find(struct object *o, uint64_t region, bool frozen);
struct span	*span_open(struct engine *e, struct object *o, uint64_t region);	/* the open one, or a new one */
void		 span_free(struct engine *e, struct object *o, struct span *s);
int		 span_write(struct engine *e, struct object *o, struct span *s, uint32_t from, const uint8_t *data, size_t len);
/* Makes it hold its region up to `upto`.  0, 1 (cells are being fetched), or a negative errno. */
int		 span_fill(struct engine *e, struct object *o, struct span *s, uint32_t upto);
/* Freezes it: 0, 1 (later), or a negative errno. */
int		 span_flush(struct engine *e, struct object *o, struct span *s);
void		 data_list(struct engine *e, struct object *o);
/* The size a commit may state follows what has arrived. */
void		 settle_size(struct engine *e, struct object *o);

/* ---- span_cost.c ---- */

/* What s, or nothing if it is NULL, costs with so many bytes, in so many ranges, more. */
size_t		 span_cost(struct object *o, const struct span *s, uint64_t region, size_t bytes, unsigned ranges);
void		 span_recount(struct engine *e, struct object *o, struct span *s);	/* after any change of either */

/* ---- layer.c ---- */

enum source { HOLE, MEMORY, BLOCK };

struct segment {
	uint32_t	 from, to;
	enum source	 source;
	const uint8_t	*memory;	/* of `from` */
	struct buffer	*buffer;
	const uint8_t	*id;
	uint32_t	 block_offset;	/* of `from` */
};

struct canvas {
	struct segment	 at[SEGMENTS_MAX];
	unsigned	 count;
};

/* What [from, to) of a region is made of: 0, -EIO when its records are damaged. */
int		 layer_paint(struct canvas *c, struct object *o, uint64_t region, uint32_t from, uint32_t to);
/*
 * Walks the cells of a BLOCK segment.  Calls use() for each part that is here,
 * in order; asks for those that are not.  1: some are missing; else 0, -EIO or -EHOSTDOWN.
 */
int		 layer_walk(struct engine *e, const struct segment *s,
		    int (*use)(void *context, const uint8_t *data, size_t len, struct buffer *b), void *context);

/* ---- extent.c ---- */

struct region_map {
	struct extent	 extents[EXTENTS_WORK];
	uint8_t		 ids[EXTENTS_WORK][ID_SIZE];	/* one an extent; made unique when stored */
	unsigned	 count;
};

int		 extent_load(struct region_map *m, struct object *o, uint64_t region);
/* Removes [from, to); then, when id is given, puts an extent there. */
void		 extent_set(struct region_map *m, uint32_t from, uint32_t to, const uint8_t *id, uint32_t block_offset);
/* As the region's record; -EFBIG when there are too many. */
int		 extent_store(struct engine *e, struct object *o, uint64_t region, struct region_map *m);
bool		 extent_any(struct object *o);			/* has it a REGION record at all? */
unsigned	 extent_count(struct object *o, uint64_t region);

#endif
