/*
 * disk.h - a disk that keeps for sure only what was synced, over a directory.
 *
 * A disk shows what was done; its backing directory holds what is durable.
 * Bytes and sizes get there by node_sync() of the file, names by node_sync() of
 * their directory.  disk_cut() is the power cut: nothing unsynced gets there any
 * more.  Modes, owners and times are written through.
 *
 * For one thread.  Calls return 0 or a negative errno.  A node is borrowed from
 * the disk; who keeps one takes a reference.
 */
#ifndef TESTS_TOOLS_DISK_H
#define TESTS_TOOLS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct disk;
struct node;

struct disk_options {
	bool keep_some;		/* at the cut a coin keeps or loses each page, size and directory */
	uint64_t seed;		/* of the coin */
	uint64_t cut_at;	/* cut by itself in place of the sync of that number; 0: never */
	void (*on_cut)(void);	/* after a cut, or NULL */
};

/* Opens over an existing directory and sweeps what an earlier cut left there. */
int disk_open(const char *backing, const struct disk_options *options, struct disk **ret_disk);

/* Frees all; without a disk_sync() before, that is a cut that keeps nothing. */
void disk_free(struct disk *d);

struct node *disk_root(struct disk *d);
void disk_cut(struct disk *d);
bool disk_is_cut(const struct disk *d);
uint64_t disk_syncs(const struct disk *d);

/* Everything becomes durable, as by an orderly end. */
int disk_sync(struct disk *d);

void node_ref(struct node *n);
void node_unref(struct disk *d, struct node *n, uint64_t count);

/* A descriptor of it in the backing directory, O_PATH for special files.  Borrowed. */
int node_fd(const struct node *n);
int node_stat(struct node *n, struct stat *ret_st);

int node_find(struct disk *d, struct node *dir, const char *name, struct node **ret_node);
int node_make(struct disk *d, struct node *dir, const char *name, const struct stat *st, struct node **ret_node);
int node_link(struct disk *d, struct node *dir, const char *name, struct node *n);
int node_unlink(struct disk *d, struct node *dir, const char *name);

/* Inside one directory, so that its names are one thing to sync; flags as renameat2's. */
int node_rename(struct disk *d, struct node *dir, const char *name, const char *new_name, unsigned flags);

/* Calls each for every name; stops when it returns false. */
void node_list(struct disk *d, struct node *dir, bool (*each)(void *arg, const char *name, struct node *n), void *arg);

/* Reads what there is of size bytes; the count goes to *ret_size. */
int node_read(struct node *n, void *buf, size_t size, off_t offset, size_t *ret_size);

/* A NULL buf writes zeroes.  The file grows if need be. */
int node_write(struct node *n, const void *buf, size_t size, off_t offset);
int node_truncate(struct node *n, off_t size);

/* The file's bytes and size, or the directory's names; -EIO once the power is cut. */
int node_sync(struct disk *d, struct node *n);

#endif
