/*
 * ledger.h - what the log's entries mean: records, the index of blocks, and
 * the live bytes of each segment, kept in the record store.
 *
 * The ledger is at some position of the log; applying the next entry, now or
 * at recovery, brings it one further by the same code.  No locks of its own:
 * the caller's.  Errors: 0 or a negative errno; -EIO and -ENOSPC from the
 * record store lose its transaction.
 */
#ifndef SERVER_LEDGER_H
#define SERVER_LEDGER_H

#include "server/batch.h"
#include "server/kv.h"
#include "server/kvcheck.h"
#include "server/log.h"

/* Where the log stood when the records were last committed. */
struct checkpoint {
	uint64_t	seed;		/* of the log's checksums, drawn when the store was made */
	uint64_t	pos;		/* the records hold the entries up to here */
	uint64_t	segment;	/* the next one is here; 0: there is no log yet */
	uint32_t	offset;
};

struct ledger {
	struct kv	*kv;		/* borrowed, as the log is */
	struct log	*log;
	store_report	*report;	/* is told of damage */
	void		*arg;
};

typedef int ledger_visit(void *arg, struct bytes key, struct bytes value);
typedef int ledger_visit_block(void *arg, const uint8_t id[ID_SIZE], struct block_place place);

/* Says that something is damaged, in one line. */
void	ledger_say(const struct ledger *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Applies an encoded batch whose body is at this place of the log. */
int	ledger_apply(struct ledger *l, struct bytes batch, uint64_t segment, uint32_t offset);

int	ledger_get(struct ledger *l, struct bytes key, struct bytes *ret_value);
int	ledger_scan(struct ledger *l, struct bytes from, struct bytes to, ledger_visit *visit, void *arg);
/* -ENOENT; -EBADMSG, reported, if the index record is damaged. */
int	ledger_block(struct ledger *l, const uint8_t id[ID_SIZE], struct block_place *ret_place);
int	ledger_scan_blocks(struct ledger *l, ledger_visit_block *visit, void *arg);

/* Makes the record store, empty, with a checkpoint. */
int	ledger_create(const char *path, uint64_t map_size, const struct checkpoint *checkpoint, struct kv **ret_kv);
/* -ENOTSUP from a store of another version. */
int	ledger_load_checkpoint(struct kv *kv, struct checkpoint *ret_checkpoint);
/* Sets the segments' live bytes from the records; segments without a file are added as missing. */
int	ledger_load_live(struct ledger *l);
/* Puts the checkpoint and the live bytes among the records and commits them. */
int	ledger_commit(struct ledger *l, const struct checkpoint *checkpoint);
/* Forgets the live bytes of a segment that is dropped. */
int	ledger_forget(struct ledger *l, uint64_t segment);

#endif
