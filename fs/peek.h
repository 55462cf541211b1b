/*
 * peek.h - which system call a thread that waits for us is in.
 *
 * FUSE says who asks, not why, and for one question that matters (caller.c).
 * Only of processes that we may trace (ptrace(2)): for the mounting user his
 * own, for root all.
 */
#ifndef FS_PEEK_H
#define FS_PEEK_H

#include <stdint.h>

#include "fs/engine.h"

/* Is it in rename(2), and of which of the two paths is this the last part?  None when that cannot be seen. */
enum rename_part peek_renames(void *context, uint32_t caller, struct bytes name);

#endif
