/*
 * client_world.h - a client engine and what it asked for.  Nothing is answered
 * by itself: each case says what the server and the kernel did.
 */
#ifndef TESTS_UNIT_CLIENT_WORLD_H
#define TESTS_UNIT_CLIENT_WORLD_H

#include "fs/journal.h"
#include "proto/seal.h"

enum { QUEUE_MAX = 64, SAID_MAX = 512, SERVED_MAX = 80 };
enum { FAR = 5000000 };		/* an object that the client has not made */


/* One thing that it did, in order. */
struct said {
	enum action_kind kind;
	uint16_t	 type;			/* of a message */
	uint64_t	 oid, grant;		/* INVALIDATE, RELEASE, PIN: of the first; COMMIT: none */
	uint8_t		 mode;			/* RELEASE: kept; PIN: on; INVALIDATE: 1 names, 2 pages */
};

struct client_world {
	struct volume_keys *keys;
	struct engine	*engine;
	uint64_t	 now_ms, version, blocks;
	uint64_t	 credit;		/* that the server tells of; set after world_setup() */
	struct flush	*stores[QUEUE_MAX];	/* not stored yet */
	struct commit	*commits[QUEUE_MAX];	/* not answered yet */
	struct fetch	*fetches[QUEUE_MAX];	/* not fetched yet; each case takes care of its own */
	unsigned	 store_count, commit_count, fetch_count, reply_count, pins, sent[MSG_COUNT];
	uint64_t	 last_alloc, last_read, last_keepalive, last_statfs;	/* ids of requests */
	uint64_t	 kept_credit;		/* what the last STATFS keeps */
	uint64_t	 attached_oid, known_oid;	/* first_oid of the last world_attach(); `known` of the last RECLAIM */
	struct msg_read	 read;			/* the last one */
	struct msg_want	 wants[WANTS_MAX];
	void		(*heard)(const struct message *read);	/* of every READ; or NULL */
	uint8_t		 keys_of[WANTS_MAX][2][SUBKEY_MAX];
	bool		 no_sweep;		/* leave INVALIDATEs unanswered */
	struct said	 said[SAID_MAX];
	unsigned	 said_count;
};
extern struct client_world w;

void	world_begin(void);			/* once: the keys */
/* An engine with a formatted volume, all of it committed; and one that knows nothing. */
void	world_setup(void);
void	world_setup_bare(void);
/* The first, configured so; and one that has yet to attach, NULL: as it comes. */
void	world_setup_as(const struct engine_config *config);
void	world_setup_unattached(const struct engine_config *config);
void	world_teardown(void);
void	world_attach(bool fresh, uint64_t sequence, bool rejected);
void	world_collect(void);
void	world_pass(uint64_t ms);		/* and one tick */
struct engine_status world_status(void);

/* Operations. */
bool	world_submit(struct op *op);
void	world_replied(struct op *op);
void	world_sync(void);			/* OP_SYNC, all of it answered */
uint64_t world_create(const char *name, uint64_t *ret_handle);
void	world_write(uint64_t ino, uint64_t handle, uint64_t offset, size_t len);

/* What the server does. */
void	world_answer_with(enum status status, const uint8_t (*missing)[ID_SIZE]);	/* the first commit */
void	world_answer(enum status status);
void	world_stored(struct flush *f);
struct flush *world_take_store(void);			/* the first */
struct flush *world_take_store_of(size_t len);		/* the one of so many bytes, which there is */
/* Answers commits until there were so many replies; the last size stated for an object. */
uint64_t world_answer_until(unsigned replies, uint64_t oid);
/* An answer with the attributes of a file or directory; they live until the next one but seven. */
struct msg_answer world_object(uint64_t oid, uint8_t mode, uint64_t grant, uint64_t version, const struct attr *attr);
void	world_grant(uint64_t request, uint64_t ticket, struct msg_answer *answers, uint32_t count);
void	world_recall(uint64_t oid, uint64_t grant, uint8_t mode, uint64_t ticket);

/* The size that a commit states for an object; UINT64_MAX when it says nothing of it. */
uint64_t world_committed_size(const struct commit *c, uint64_t oid);
bool	world_commit_has(const struct commit *c, uint64_t oid, uint8_t kind);
bool	world_commit_names(const struct commit *c, const uint8_t id[ID_SIZE]);	/* that block */
/* Position of the first such thing since world_forget(), or -1. */
int	world_find(enum action_kind kind, uint16_t type, uint64_t oid);
/* Is the kernel to forget what it has of an object, since then: 0 attributes alone, 1 names, 2 pages? */
bool	world_swept(uint64_t oid, unsigned what);
void	world_invalidated(uint64_t oid, bool pages, int error);	/* it did, if there is no_sweep */
void	world_forget(void);

/* For short. */
extern const struct attr world_file, world_directory;	/* the file is of 100 bytes */
struct bytes world_text(const char *s);
bool	world_sane(void);				/* engine_check(), and its text as a TAP comment */
bool	world_wanted(uint64_t oid, uint8_t mode);	/* by the last READ */
void	world_grant_one(uint64_t ticket, struct msg_answer answer);	/* to the last READ */
void	world_lease_far(uint8_t mode, uint64_t grant);	/* FAR is leased, a file of 100 bytes */
/* Does op, with the server granting what it asks for EXCLUSIVE: an object with those attributes, and these records. */
bool	world_serve(struct op *op, const struct attr *attr, const struct msg_record *records, uint32_t count);
uint64_t world_make_shared(const char *name, uint64_t *ret_handle);	/* made, committed, then recalled to SHARED */
void	world_answer_all(void);				/* stores and commits */
int	world_at_once(struct op *op);			/* its error if it is answered at once; 1: it waits */
int	world_make_link(struct op *op, unsigned number);	/* the same: a name that takes more than a kilobyte of a commit */
void	world_hear(struct message m);			/* from the server */
void	world_lose(uint64_t oid);			/* to somebody else, while the connection was gone */
int	world_run(enum op_type type, uint64_t ino, uint64_t handle);	/* its error, after all the answers it takes */

#endif
