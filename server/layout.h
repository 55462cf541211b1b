/*
 * layout.h - what the server keeps in its ordered store, row by row.
 *
 * A key is a table byte, mostly a volume's number, and big-endian parts, so
 * that memcmp order is the order of the parts.  Values have fixed fields
 * first and at most one tail of bytes.
 *
 *	SERVER		-				format u32, next volume u32
 *	VOLUME		vol u32				id [16], recovery device [32], name u8 + bytes, wrap
 *	STATE		vol u32				version u64, next range u64, objects u64
 *	DEVICE		key [32]			flags u8
 *	MEMBER		key [32], vol u32		role u8
 *	INVITATION	token hash [32]			used u8, expiry s u64, vol u32 (0: the server), wrap
 *	SESSION		vol u32, session u64		struct session_row, in order
 *	RANGE		vol u32, range u64		session u64
 *	PIN		vol u32, session u64, oid u64	-
 *	ORPHAN		vol u32, oid u64		-
 *	USED		vol u32, chunk u64		[256] a bit for each freed oid of a range in use
 *	OBJECT		vol u32, oid u64, 0		struct header, in order
 *	OBJECT		vol u32, oid u64, kind u8, subkey
 *							version u64, orefs u8, brefs u8, refs, sealed value
 *	BLOCK		vol u32, block id [32]		references u64
 *	IDLE		vol u32, block id [32]		-	blocks without reference
 *
 * Pure functions.  Decoders return 0 or -EBADMSG and borrow from the value.
 */
#ifndef SERVER_LAYOUT_H
#define SERVER_LAYOUT_H

#include "proto/cursor.h"
#include "proto/limits.h"
#include "server/batch.h"

enum { LAYOUT_FORMAT = 1 };

enum row {
	ROW_SERVER = 1, ROW_VOLUME, ROW_STATE, ROW_DEVICE, ROW_MEMBER, ROW_INVITATION, ROW_SESSION,
	ROW_RANGE, ROW_PIN, ROW_ORPHAN, ROW_USED, ROW_OBJECT, ROW_BLOCK, ROW_IDLE, ROW_END
};

enum {
	RANGE_SIZE	= 1 << 16,		/* oids handed out at once */
	USED_CHUNK	= 2048,			/* oids in one USED row */
	HEADER_ROW_SIZE	= 5 * 8,
	RECORD_ROW_HEAD	= 8 + 1 + 1,
	DEVICE_MAY_CREATE = 1,
	ROLE_MEMBER	= 1,
	ROLE_RECOVERY	= 2,
};

struct key {
	uint8_t	data[STORE_KEY_MAX];
	size_t	len;
};
static inline struct bytes
key_bytes(const struct key *k)
{
	return (struct bytes){ k->data, k->len };
}

/* A table's first and last possible key, alone or within a volume. */
struct key key_table(enum row row);
struct key key_table_last(enum row row);
struct key key_volume(enum row row, uint32_t vol);		/* VOLUME, STATE, or a prefix */
struct key key_volume_last(enum row row, uint32_t vol);
struct key key_u64(enum row row, uint32_t vol, uint64_t n);	/* SESSION, RANGE, ORPHAN, USED */
struct key key_pin(uint32_t vol, uint64_t session, uint64_t oid);
struct key key_hash(enum row row, const uint8_t hash[KEY_SIZE]);	/* DEVICE, INVITATION */
struct key key_member(const uint8_t device[KEY_SIZE], uint32_t vol);
struct key key_block(enum row row, uint32_t vol, const uint8_t id[ID_SIZE]);	/* BLOCK, IDLE */
struct key key_header(uint32_t vol, uint64_t oid);
struct key key_record(uint32_t vol, uint64_t oid, uint8_t kind, struct bytes subkey);
struct key key_object_last(uint32_t vol, uint64_t oid);
/* The parts after the table byte of a key met in a scan; one that has more than what is asked for is damaged. */
int	key_split(struct bytes key, uint32_t *ret_vol, uint64_t *ret_n, struct bytes *ret_rest);

/* What is kept about an object besides its records. */
struct header {
	uint64_t	count;		/* live references to it */
	uint64_t	version;	/* the commit that last changed its records */
	uint64_t	writer;		/* the session of that commit */
	uint64_t	sequence;	/* and its sequence there */
	uint64_t	entries;	/* ENTRY records: a directory that has some is not freed */
};
void	header_encode(const struct header *h, uint8_t to[HEADER_ROW_SIZE]);
int	header_decode(struct header *h, struct bytes value);

struct record_row {
	uint64_t	version;
	uint8_t		orefs_count, brefs_count;
	const uint8_t	*orefs;			/* big-endian, 8 bytes each */
	const uint8_t	(*brefs)[ID_SIZE];
	struct bytes	value;
};
uint64_t record_oref(const struct record_row *r, unsigned index);
int	record_decode(struct record_row *r, struct bytes value);
/* Appends to the batch; a row over STORE_VALUE_MAX leaves -EINVAL there. */
struct msg_change;
void	record_put(struct batch *b, const struct key *key, uint64_t version, const struct msg_change *change);
size_t	record_size(const struct msg_change *change);

struct session_row {
	uint8_t		secret[SECRET_SIZE];
	uint8_t		device[KEY_SIZE];
	uint32_t	generation;
	uint8_t		rejected;	/* the last one consumed was rejected, and no RESET came since */
	uint64_t	sequence;	/* last one consumed */
	uint64_t	version;	/* that its commit got, or that of the volume when rejected */
	uint64_t	last_rejected;	/* the last sequence that was rejected, or 0 */
	uint64_t	seen_s;		/* calendar time; behind by a day at most while it is connected */
	uint64_t	evicted;	/* the last oid given when it was evicted: ATTACHes since gave later ones; or 0 */
};
enum { SESSION_ROW_SIZE = SECRET_SIZE + KEY_SIZE + 4 + 1 + 8 + 8 + 8 + 8 + 8 };
void	session_row_encode(const struct session_row *r, uint8_t to[SESSION_ROW_SIZE]);
int	session_row_decode(struct session_row *r, struct bytes value);

struct volume_row {
	uint8_t		id[VOLUME_ID_SIZE];
	uint8_t		recovery[KEY_SIZE];	/* zeros: none */
	struct bytes	name, wrap;
};
void	volume_row_put(struct batch *b, uint32_t vol, const struct volume_row *r);
int	volume_row_decode(struct volume_row *r, struct bytes value);

struct state_row {
	uint64_t	version, next_range, objects;
};
void	state_row_put(struct batch *b, uint32_t vol, const struct state_row *r);
int	state_row_decode(struct state_row *r, struct bytes value);

struct invitation_row {
	uint8_t		used;
	uint64_t	expiry_s;
	uint32_t	vol;
	struct bytes	wrap;
};
void	invitation_row_put(struct batch *b, const uint8_t hash[KEY_SIZE], const struct invitation_row *r);
int	invitation_row_decode(struct invitation_row *r, struct bytes value);

/* Fixed big-endian numbers. */
void	put_u64_row(struct batch *b, const struct key *key, uint64_t n);
int	u64_row_decode(uint64_t *ret_n, struct bytes value);

#endif
