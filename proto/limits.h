/*
 * limits.h - every maximum of the wire and disk formats, in one place.
 *
 * Nothing from a peer is trusted: each length and count is compared with a
 * number from here before anything is allocated for it.
 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

enum {
	ID_SIZE			= 32,		/* block id */
	KEY_SIZE		= 32,		/* any symmetric, public or secret key */
	SALT_SIZE		= 32,
	VOLUME_ID_SIZE		= 16,
	TOKEN_SIZE		= 16,		/* name token, also the subkey of ENTRY and XATTR */
	SUBKEY_MAX		= 16,
	SECRET_SIZE		= 32,		/* session and invitation secrets */
	PROOF_SIZE		= 32,		/* of a session's secret */

	NAME_MAX_BYTES		= 255,
	SYMLINK_MAX		= 1024,		/* inside ATTR; a longer target is refused */
	XATTR_VALUE_MAX		= 3072,
	VOLUME_NAME_MAX		= 64,
	INLINE_MAX		= 3840,		/* content of a small file kept in its record */
	VALUE_MAX		= 4000,		/* sealed value: one LMDB page with its key */

	CELL_SIZE		= 64 * 1024,	/* plaintext: compressed, sealed and read as one */
	CELLS_MAX		= 16,
	BLOCK_SIZE		= CELLS_MAX * CELL_SIZE,	/* plaintext: named and stored as one */
	REGION_SIZE		= BLOCK_SIZE,	/* a file's extents are grouped by this */
	EXTENTS_MAX		= 48,		/* a region with more is rewritten as one block */
	SEALED_OVERHEAD		= 4096,		/* above plaintext: a block's header and tags */
	BLOCK_SEALED_MAX	= BLOCK_SIZE + SEALED_OVERHEAD,

	FRAME_BODY_MAX		= 8 * 1024 * 1024,	/* sealed part of a frame */
	FRAME_PAYLOAD_MAX	= BLOCK_SEALED_MAX,	/* associated part: one sealed block */

	DETAIL_MAX		= 256,
	WRAP_MAX		= 512,		/* a wrapped volume key */
	WANTS_MAX		= 256,		/* objects in one READ */
	ANSWERS_MAX		= 16384,	/* objects in one GRANTED */
	RECORDS_MAX		= 32768,	/* records in one GRANTED or COMMIT */
	CHILDREN_MAX		= 4096,		/* children in one GRANTED */
	DEEP_MAX		= 1024 * 1024,	/* a READ's size counts up to this */
	REFS_MAX		= EXTENTS_MAX,	/* references in one record */
	BASES_MAX		= 16384,	/* objects changed by one COMMIT */
	COMMIT_BLOCKS_MAX	= 4096,		/* blocks carried by one COMMIT */
	LEASE_LIST_MAX		= 16384,	/* leases in one RECLAIM or RELEASE */
	IDS_MAX			= 1024,		/* ids in one HAVE or MISSING */
	VOLUMES_MAX		= 1024,		/* volumes in one listing */

	CREDIT_MAX		= 512 * 1024 * 1024,	/* a session's */
	OBJECT_COST		= 256,		/* what it pays for an object, beside its records, */
	BLOCK_COST		= 128,		/* and for a block, beside its bytes */

	OID_META		= 1,		/* reserved objects; the server leases them unborn */
	OID_ROOT		= 2,
	OID_RENAME		= 3,		/* its EXCLUSIVE lease serialises directory moves */
	OID_RESERVED		= 16,		/* smaller ids are never in a range */

	TERM_MS			= 45 * 1000,
	KEEPALIVE_MS		= 5 * 1000,
	SKEW_MS			= 5 * 1000,
};

#endif
