/*
 * message.h - the messages of the nuage protocol, described once.
 *
 * Each SHAPE_x lists the fields of one structure in wire order; from it come
 * the C struct, the encoder, the decoder and the printed form.  MESSAGES
 * lists the messages: what they are called, their number, who may send them,
 * on which lane, and whether the sender needs an attached session.  Field
 * kinds on the wire, all big-endian:
 *
 *	U8 U16 U32 U64	that many bytes
 *	FIXED(n)	n bytes
 *	BYTES(max)	u16 or (max > 65535) u32 length, then the bytes
 *	LIST(of, max)	u32 count, then the elements of shape `of`
 *	NUMS(max)	u32 count, then u64 each
 *	IDS(max)	u32 count, then 32 bytes each
 *
 * A message on the wire is u16 type, u64 request id, fields.  An answer
 * carries the id of its request; what the server says unasked has id 0.
 * nuage-protocol(5) gives the meaning of each.
 *
 * A decoded message borrows BYTES, IDS and FIXED contents from the frame and
 * lists from its arena; both must outlive it.  Pure functions, any thread.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <stdio.h>

#include "proto/cursor.h"
#include "proto/limits.h"

/* Status codes of the wire; the client maps them to errno in one table. */
enum status {
	STATUS_OK = 0,
	STATUS_NOENT,		/* object, block, volume or session unknown */
	STATUS_EXIST,		/* a volume of that name is there already */
	STATUS_DENIED,		/* device not enrolled, or not a member of the volume */
	STATUS_INVALID,		/* well-formed but against the rules */
	STATUS_STALE,		/* older connection or session generation: fenced */
	STATUS_REJECTED,	/* COMMIT: lease missing or base version passed; sequence consumed */
	STATUS_MISSING,		/* COMMIT: blocks named are not here; sequence not consumed */
	STATUS_SEQUENCE,	/* COMMIT: after a rejection, until RESET; or a gap */
	STATUS_NOSPC,		/* server out of space; nothing was changed, sequence not consumed */
	STATUS_IO,		/* damaged on the server's disk */
	STATUS_USED,		/* invitation already used or expired */
	STATUS_BUSY,		/* a limit of the server is reached; try later */
	STATUS_COUNT
};
const char *status_text(enum status status);

/* Kinds of records, ordered as they are stored. */
enum kind {
	KIND_ATTR = 1, KIND_PARENT = 2, KIND_META = 3, KIND_INLINE = 4,
	KIND_XATTR = 5, KIND_ENTRY = 6, KIND_REGION = 7, KIND_PATCH = 8,
	KIND_MAX = KIND_PATCH
};

enum mode { MODE_NONE = 0, MODE_SHARED = 1, MODE_EXCLUSIVE = 2 };
/* In a READ's kinds: children come EXCLUSIVE where nobody else holds them. */
enum { KINDS_EXCLUSIVE = 1 << 0 };
enum lane { LANE_CONTROL = 0, LANE_BULK = 1 };
enum change_op { CHANGE_PUT = 1, CHANGE_DELETE = 2, CHANGE_DELETE_RANGE = 3 };

/* ---- parts ---- */

#define SHAPE_record(_, S) \
	_(S, U8,    kind,    0) \
	_(S, BYTES, subkey,  SUBKEY_MAX) \
	_(S, U64,   version, 0) \
	_(S, NUMS,  orefs,   REFS_MAX) \
	_(S, IDS,   brefs,   REFS_MAX) \
	_(S, BYTES, value,   VALUE_MAX)

/* From and to are inclusive keys (kind, subkey), compared as bytes, a prefix first. */
#define SHAPE_want(_, S) \
	_(S, U64,   oid,      0) \
	_(S, U8,    mode,     0) \
	_(S, U8,    kind,     0) \
	_(S, BYTES, from,     SUBKEY_MAX) \
	_(S, U8,    last_kind, 0) \
	_(S, BYTES, to,       SUBKEY_MAX) \
	_(S, U32,   limit,    0)	/* records at most; 0 = only the lease */

#define SHAPE_answer(_, S) \
	_(S, U64,   oid,     0) \
	_(S, U8,    status,  0) 	/* OK, NOENT (no lease), IO */ \
	_(S, U8,    mode,    0)		/* held from now on */ \
	_(S, U64,   grant,   0) \
	_(S, U64,   version, 0)		/* of the object: its last commit */ \
	_(S, U64,   writer,  0)		/* the session of that commit */ \
	_(S, U8,    more,    0)		/* 1: the range goes on after the last record */ \
	_(S, U8,    pinned,  0)		/* 1: another session pins the object */ \
	_(S, LIST,  records, RECORDS_MAX, record)

#define SHAPE_lease(_, S) \
	_(S, U64,   oid,     0) \
	_(S, U8,    mode,    0)		/* RECLAIM: held; RELEASE: kept */ \
	_(S, U64,   grant,   0) \
	_(S, U64,   base,    0)		/* RECLAIM: version known */

#define SHAPE_pinning(_, S) \
	_(S, U64,   oid,     0) \
	_(S, U8,    on,      0)

#define SHAPE_base(_, S) \
	_(S, U64,   oid,     0) \
	_(S, U64,   version, 0)

#define SHAPE_change(_, S) \
	_(S, U8,    op,      0) \
	_(S, U64,   oid,     0) \
	_(S, U8,    kind,    0) \
	_(S, BYTES, subkey,  SUBKEY_MAX) \
	_(S, BYTES, to,      SUBKEY_MAX)	/* DELETE_RANGE: inclusive, same kind */ \
	_(S, NUMS,  orefs,   REFS_MAX) \
	_(S, IDS,   brefs,   REFS_MAX) \
	_(S, BYTES, value,   VALUE_MAX)

#define SHAPE_small_block(_, S) \
	_(S, FIXED, id,      ID_SIZE) \
	_(S, BYTES, data,    BLOCK_SEALED_MAX)

#define SHAPE_volume_info(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, BYTES, name,    VOLUME_NAME_MAX) \
	_(S, U64,   version, 0) \
	_(S, U64,   objects, 0) \
	_(S, U32,   sessions, 0)

/* ---- messages ---- */

#define SHAPE_done(_, S) \
	_(S, U16,   status,  0) \
	_(S, BYTES, detail,  DETAIL_MAX)	/* text for a person; may be empty */

#define SHAPE_redeem(_, S) \
	_(S, FIXED, token,   SECRET_SIZE)

#define SHAPE_redeemed(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE)	/* zeros: an invitation to the server alone */ \
	_(S, BYTES, name,    VOLUME_NAME_MAX) \
	_(S, BYTES, wrap,    WRAP_MAX)

#define SHAPE_volume_create(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, BYTES, name,    VOLUME_NAME_MAX) \
	_(S, FIXED, recovery, KEY_SIZE)		/* the recovery device's public key */ \
	_(S, BYTES, wrap,    WRAP_MAX)		/* the volume key, wrapped for it */

#define SHAPE_volume_list(_, S)

#define SHAPE_volumes(_, S) \
	_(S, LIST,  list,    VOLUMES_MAX, volume_info)

#define SHAPE_volume_invite(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, FIXED, token_hash, KEY_SIZE)	/* BLAKE2b-256 of the token */ \
	_(S, BYTES, wrap,    WRAP_MAX) \
	_(S, U32,   valid_s, 0)

#define SHAPE_wrap_get(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE)	/* zeros: the one this recovery device is for */

#define SHAPE_wrap(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, BYTES, name,    VOLUME_NAME_MAX) \
	_(S, BYTES, wrap,    WRAP_MAX)

#define SHAPE_device_add(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, FIXED, device,  KEY_SIZE)

#define SHAPE_attach(_, S) \
	_(S, FIXED, volume,  VOLUME_ID_SIZE) \
	_(S, U8,    lane,    0) \
	_(S, U64,   session, 0)			/* 0: a new one */ \
	_(S, FIXED, proof,   PROOF_SIZE)	/* of its secret: noise_proof() */ \
	_(S, U32,   generation, 0)		/* control: above all before; bulk: the current one */ \
	_(S, U64,   replaces, 0)		/* a dead session of this device, ended by this; or 0 */ \
	_(S, FIXED, replaces_proof, PROOF_SIZE)

#define SHAPE_attached(_, S) \
	_(S, U64,   session, 0) \
	_(S, FIXED, secret,  SECRET_SIZE) \
	_(S, U64,   boot,    0)			/* changes when the server restarts */ \
	_(S, U64,   sequence, 0)		/* last one consumed */ \
	_(S, U8,    rejected, 0)		/* it was rejected: RESET first */ \
	_(S, U64,   outcome, 0)			/* version of the volume that it made, or found when rejected */ \
	_(S, U64,   version, 0)			/* of the volume */ \
	_(S, U32,   term_ms, 0) \
	_(S, U64,   first_oid, 0)		/* a range of object ids, this session's own */ \
	_(S, U32,   oid_count, 0) \
	_(S, U32,   sessions, 0)		/* of this volume, this one included */ \
	_(S, U64,   credit,  0)			/* bytes that it has; UINT64_MAX: what a STATFS says that it had */

#define SHAPE_reclaim(_, S) \
	_(S, U8,    last,    0)			/* 1: the list is complete */ \
	_(S, U64,   known,   0)			/* first_oid of the ATTACHED whose RECLAIMED it heard last; 0: claims what it never held */ \
	_(S, LIST,  leases,  LEASE_LIST_MAX, lease)

#define SHAPE_reclaimed(_, S) \
	_(S, LIST,  lost,    LEASE_LIST_MAX, lease)

#define SHAPE_read(_, S) \
	_(S, U64,   ticket,  0)			/* 0: none yet */ \
	_(S, U8,    depth,   0)			/* levels of children, named by returned ENTRYs, to bring too */ \
	_(S, U16,   kinds,   0)			/* of the records that children bring: 1 << kind each; KINDS_EXCLUSIVE */ \
	_(S, U32,   budget,  0)			/* records at most in all */ \
	_(S, U32,   size,    0)			/* bytes that what is not a direct child's ATTR or PARENT may fill */ \
	_(S, LIST,  wants,   WANTS_MAX, want)

#define SHAPE_granted(_, S) \
	_(S, U64,   ticket,  0) \
	_(S, LIST,  answers, ANSWERS_MAX, answer)

#define SHAPE_recall(_, S) \
	_(S, U64,   oid,     0) \
	_(S, U64,   grant,   0) \
	_(S, U8,    mode,    0)			/* that may be kept */ \
	_(S, U64,   ticket,  0)			/* of the operation that wants it */

#define SHAPE_release(_, S) \
	_(S, LIST,  leases,  LEASE_LIST_MAX, lease)

#define SHAPE_pin(_, S) \
	_(S, LIST,  pins,    LEASE_LIST_MAX, pinning)

#define SHAPE_commit(_, S) \
	_(S, U64,   sequence, 0) \
	_(S, LIST,  bases,   BASES_MAX, base) \
	_(S, LIST,  changes, RECORDS_MAX, change) \
	_(S, LIST,  blocks,  COMMIT_BLOCKS_MAX, small_block)

#define SHAPE_committed(_, S) \
	_(S, U64,   sequence, 0) \
	_(S, U16,   status,  0) \
	_(S, U64,   version, 0) \
	_(S, IDS,   missing, IDS_MAX) \
	_(S, NUMS,  rejected, BASES_MAX) \
	_(S, U64,   credit,  0)			/* OK: what is left of it, or was added */

#define SHAPE_reset(_, S)
#define SHAPE_alloc(_, S)

#define SHAPE_allocated(_, S) \
	_(S, U64,   first_oid, 0) \
	_(S, U32,   oid_count, 0)

#define SHAPE_keepalive(_, S)

#define SHAPE_alive(_, S) \
	_(S, U64,   version, 0) \
	_(S, U32,   sessions, 0)

#define SHAPE_statfs(_, S) \
	_(S, U64,   keep,    0)			/* of its credit, what the sender counts on */ \
	_(S, U64,   want,    0)			/* what it would need in all; 0: nothing more */

#define SHAPE_space(_, S) \
	_(S, U64,   total_bytes, 0) \
	_(S, U64,   free_bytes, 0) \
	_(S, U64,   ready_bytes, 0)		/* of those: what new data may take now, of whatever kind it is */ \
	_(S, U64,   objects, 0) \
	_(S, U64,   credit,  0) \
	_(S, U8,    more,    0)			/* 1: less than was wanted, but ask again soon */

#define SHAPE_bye(_, S)

#define SHAPE_put(_, S) \
	_(S, FIXED, id,      ID_SIZE)		/* the sealed block is the frame's payload */

#define SHAPE_stored(_, S) \
	_(S, U16,   status,  0)

#define SHAPE_have(_, S) \
	_(S, IDS,   ids,     IDS_MAX)

#define SHAPE_having(_, S) \
	_(S, BYTES, present, IDS_MAX)		/* a byte an id: 1 when stored here */

#define SHAPE_get(_, S) \
	_(S, FIXED, id,      ID_SIZE) \
	_(S, U8,    first,   0)			/* cells */ \
	_(S, U8,    count,   0)

#define SHAPE_block(_, S) \
	_(S, U16,   status,  0)			/* the payload: block header, then the cells asked for */

/* name, number, from (CLIENT or SERVER), lanes (ANY: before ATTACH), payload */
#define MESSAGES(_) \
	_(done,		 1, EITHER, ANY,     0) \
	_(redeem,	 2, CLIENT, ANY,     0) \
	_(redeemed,	 3, SERVER, ANY,     0) \
	_(volume_create, 4, CLIENT, ANY,     0) \
	_(volume_list,	 5, CLIENT, ANY,     0) \
	_(volumes,	 6, SERVER, ANY,     0) \
	_(volume_invite, 7, CLIENT, ANY,     0) \
	_(wrap_get,	 8, CLIENT, ANY,     0) \
	_(wrap,		 9, SERVER, ANY,     0) \
	_(device_add,	10, CLIENT, ANY,     0) \
	_(attach,	11, CLIENT, ANY,     0) \
	_(attached,	12, SERVER, ANY,     0) \
	_(reclaim,	13, CLIENT, CONTROL, 0) \
	_(reclaimed,	14, SERVER, CONTROL, 0) \
	_(read,		15, CLIENT, CONTROL, 0) \
	_(granted,	16, SERVER, CONTROL, 0) \
	_(recall,	17, SERVER, CONTROL, 0) \
	_(release,	18, CLIENT, CONTROL, 0) \
	_(pin,		19, CLIENT, CONTROL, 0) \
	_(commit,	20, CLIENT, CONTROL, 0) \
	_(committed,	21, SERVER, CONTROL, 0) \
	_(reset,	22, CLIENT, CONTROL, 0) \
	_(alloc,	23, CLIENT, CONTROL, 0) \
	_(allocated,	24, SERVER, CONTROL, 0) \
	_(keepalive,	25, CLIENT, CONTROL, 0) \
	_(alive,	26, SERVER, CONTROL, 0) \
	_(statfs,	27, CLIENT, CONTROL, 0) \
	_(space,	28, SERVER, CONTROL, 0) \
	_(bye,		29, CLIENT, CONTROL, 0) \
	_(put,		30, CLIENT, BULK,    1) \
	_(stored,	31, SERVER, BULK,    0) \
	_(have,		32, CLIENT, BULK,    0) \
	_(having,	33, SERVER, BULK,    0) \
	_(get,		34, CLIENT, BULK,    0) \
	_(block,	35, SERVER, BULK,    1)

/* ---- the structs and numbers that follow from the lists ---- */

#define DECLARE_U8(name, max, ...)	uint8_t name;
#define DECLARE_U16(name, max, ...)	uint16_t name;
#define DECLARE_U32(name, max, ...)	uint32_t name;
#define DECLARE_U64(name, max, ...)	uint64_t name;
#define DECLARE_FIXED(name, max, ...)	uint8_t name[max];
#define DECLARE_BYTES(name, max, ...)	struct bytes name;
#define DECLARE_NUMS(name, max, ...)	struct { uint64_t *at; uint32_t count; } name;
#define DECLARE_IDS(name, max, ...)	struct { const uint8_t (*at)[ID_SIZE]; uint32_t count; } name;
#define DECLARE_LIST(name, max, of)	struct { struct msg_##of *at; uint32_t count; } name;
#define DECLARE(S, type, name, ...)	DECLARE_##type(name, __VA_ARGS__)

#define PARTS(_) \
	_(record) _(want) _(answer) _(lease) _(pinning) _(base) _(change) \
	_(small_block) _(volume_info)

/* An empty message still has a byte: C has no empty structs. */
#define DECLARE_STRUCT(name) struct msg_##name { uint8_t unused_; SHAPE_##name(DECLARE, msg_##name) };
PARTS(DECLARE_STRUCT)
#define DECLARE_MESSAGE(name, number, from, lane, payload) DECLARE_STRUCT(name)
MESSAGES(DECLARE_MESSAGE)

enum message_type {
#define NUMBER(name, number, from, lane, payload) MSG_##name = number,
	MESSAGES(NUMBER)
#undef NUMBER
	MSG_COUNT
};

enum { FROM_CLIENT = 1, FROM_SERVER = 2, FROM_EITHER = 3 };
enum { ON_ANY = 1, ON_CONTROL = 2, ON_BULK = 4 };

struct message {
	uint16_t	type;		/* enum message_type */
	uint64_t	id;
	struct bytes	payload;	/* a sealed block, for put and block */
	union {
#define MEMBER(name, number, from, lane, payload) struct msg_##name name;
		MESSAGES(MEMBER)
#undef MEMBER
	};
};

/* Memory for the lists of one decoded message, freed at once. */
struct arena {
	struct arena_chunk	*chunks;
	size_t			 left, used;
	uint8_t			*next;
};
/* Zeroed memory, aligned for any type; NULL when out of memory.  arena_free(a) frees all. */
void	*arena_alloc(struct arena *a, size_t size);
void	 arena_free(struct arena *a);

/* What the gate in front of the handlers needs to know; NULL for unknown types. */
struct message_info {
	const char	*name;
	uint8_t		 from, lane, payload;
};
const struct message_info *message_info(uint16_t type);

/* Size of the encoding, without payload; 0 when a field exceeds its maximum. */
size_t	message_size(const struct message *m);
/* Encodes into c; the cursor fails when it is too small or m is invalid. */
void	message_encode(const struct message *m, struct cursor *c);
/*
 * Decodes exactly the bytes of `body`; 0, -EBADMSG (malformed, over a limit,
 * trailing bytes, unknown type) or -ENOMEM.  The payload is left alone.
 */
int	message_decode(struct message *m, struct bytes body, struct arena *a);
/* One line a message, for logs and tests; values and secrets are shortened. */
void	message_print(const struct message *m, FILE *to);

#endif
