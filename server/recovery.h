/*
 * recovery.h - brings the ledger from its checkpoint to the end of the log.
 *
 * The log ends at the first entry that is missing or torn, unless another
 * entry says that this one had been durable: then it is damaged, nothing is
 * opened, and the report names segment and offset.  What follows the end was
 * never acknowledged.
 *
 * A block's own bytes are not part of this: damage to them is found when
 * they are read and costs that block only.  But a block that was not yet
 * known to be durable, and whose bytes are not there, ends the log.
 *
 * Damage that cannot be told from a torn write: the entries of the very last
 * sync before a crash, if nothing was written after them.
 */
#ifndef SERVER_RECOVERY_H
#define SERVER_RECOVERY_H

#include "server/ledger.h"

/*
 * Adds the segments found in the directory to the ledger's log.  -EBADMSG, reported, if one is not ours, or
 * if the store is fresh and there is one.
 */
int	recovery_find(struct ledger *l, int dir, uint64_t seed, bool fresh);
/* Replays the entries after the checkpoint and returns the last position.  -EBADMSG, reported, at damage. */
int	recovery_replay(struct ledger *l, int dir, const struct checkpoint *from, uint64_t *ret_pos);

#endif
