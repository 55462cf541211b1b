/*
 * disk.h - the system calls that can fail when a disk does, injectable.
 *
 * The store writes its log only through these; tests put their own in
 * front to fail the nth call, to run out of space or to forget what was not
 * synced.  Each returns 0 or a negative errno and may block.
 */
#ifndef SERVER_DISK_H
#define SERVER_DISK_H

#include <stddef.h>
#include <stdint.h>

struct disk {
	/* Writes all of it. */
	int	(*write)(struct disk *, int fd, const void *data, size_t len, uint64_t offset);
	/* Makes a file's data, or a directory's names, durable. */
	int	(*sync)(struct disk *, int fd);
	/* Gives a file its size and all the space for it. */
	int	(*allocate)(struct disk *, int fd, uint64_t len);
	/* The size of the file system, and what is free of it for us, in bytes. */
	int	(*space)(struct disk *, int fd, uint64_t *ret_total, uint64_t *ret_free);
	/* Asked before the records are committed by LMDB, which does its own I/O; a failure prevents it. */
	int	(*commit)(struct disk *);
};

/* The machine's own; lives for ever. */
struct disk *disk_system(void);

#endif
