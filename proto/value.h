/*
 * value.h - the plaintext of record values: what the client keeps about files.
 *
 * Each begins with a format byte; a value of an unknown format decodes to
 * -ENOTSUP and is never rewritten.  ATTR keeps 32 reserved bytes, zero for
 * now.  ENTRY is padded to a multiple of 64 so that names of one length
 * class look alike.  nuage-protocol(5) has the diagrams.
 *
 * Encoders return the length written, -EMSGSIZE when to[] is too small, or
 * -EINVAL for what a decoder would refuse; decoders 0, -EBADMSG or -ENOTSUP,
 * and change their results only on success (region_decode uses extents[] as
 * it goes).  Decoded bytes are borrowed from the input.
 */
#ifndef PROTO_VALUE_H
#define PROTO_VALUE_H

#include <sys/types.h>
#include <time.h>

#include "proto/cursor.h"
#include "proto/limits.h"

struct attr {
	uint32_t	mode;		/* S_IFMT and permissions, as the kernel has them */
	uint32_t	uid, gid;
	uint32_t	nlink;
	uint64_t	size;
	uint64_t	rdev;
	uint32_t	flags;		/* enum attr_flag */
	struct timespec	atime, mtime, ctime, btime;
	struct bytes	symlink;	/* target, for S_IFLNK */
};
enum attr_flag { ATTR_HAS_XATTRS = 1, ATTR_INLINE = 2 };

/* Where the plaintext bytes of part of a region are. */
struct extent {
	uint32_t	offset;		/* in the region */
	uint32_t	length;
	uint32_t	block_offset;	/* in the block's plaintext */
	uint8_t		ref;		/* index in the record's block references */
};

struct meta {
	uint32_t	incompat, ro_compat;	/* feature flags, used as ext4 does */
	uint64_t	created_s;
};

/* Feature flags of META that this program knows; ext4's rules. */
enum { META_INCOMPAT = 0, META_RO_COMPAT = 0 };

ssize_t	attr_encode(const struct attr *attr, uint8_t *to, size_t size);
int	attr_decode(struct attr *attr, struct bytes from);
/* type is a DT_ number; the child is the record's one object reference. */
ssize_t	entry_encode(struct bytes name, uint8_t type, uint8_t *to, size_t size);
int	entry_decode(struct bytes *name, uint8_t *type, struct bytes from);
ssize_t	parent_encode(uint64_t oid, uint8_t *to, size_t size);
int	parent_decode(uint64_t *oid, struct bytes from);
/* Extents sorted by offset, not overlapping, inside the region: checked both ways. */
ssize_t	region_encode(const struct extent *extents, size_t count, uint8_t *to, size_t size);
int	region_decode(struct extent *extents, size_t *count, struct bytes from);	/* room for EXTENTS_MAX */
ssize_t	xattr_encode(struct bytes name, struct bytes value, uint8_t *to, size_t size);
int	xattr_decode(struct bytes *name, struct bytes *value, struct bytes from);
ssize_t	inline_encode(struct bytes content, uint8_t *to, size_t size);
int	inline_decode(struct bytes *content, struct bytes from);
ssize_t	meta_encode(const struct meta *meta, uint8_t *to, size_t size);
int	meta_decode(struct meta *meta, struct bytes from);

#endif
