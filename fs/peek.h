/*
 * peek.h - which system call a thread that waits for us is in.
 *
 * FUSE says who asks, not why, and for one question that matters (caller.c).
 * Only of processes that we may trace (ptrace(2)): for the mounting user his
 * own, for root all.
 */
#ifndef FS_PEEK_H
#define FS_PEEK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/cursor.h"

/* Is it in rename(2), and is this the last part of the new path?  False when that cannot be seen. */
bool	peek_renames(void *context, uint32_t caller, struct bytes name);

#endif
