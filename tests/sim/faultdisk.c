/* faultdisk.c - see faultdisk.h. */
#include "tests/sim/faultdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

struct undo_write {
	struct undo_write	*next;
	int			 fd;		/* our own */
	dev_t			 dev;
	ino_t			 ino;
	uint64_t		 offset;
	size_t			 len;
	uint8_t			 old[];
};

uint64_t
random_next(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Counts a call; 0 or its failure. */
static int
fault_call(struct faultdisk *f)
{
	f->calls++;
	if (f->fail_at == 0 || f->calls < f->fail_at || (f->once && f->calls > f->fail_at))
		return 0;
	return f->error;
}

static void
fault_remember(struct faultdisk *f, int fd, size_t len, uint64_t offset)
{
	struct undo_write *u = calloc(1, sizeof *u + len);
	struct stat st;

	if (u == NULL || fstat(fd, &st) != 0)
		abort();
	u->fd = dup(fd);
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	u->offset = offset;
	u->len = len;
	if (pread(fd, u->old, len, (off_t)offset) < 0)
		abort();
	u->next = f->undo;
	f->undo = u;
}

static int
fault_write(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset)
{
	struct faultdisk *f = (struct faultdisk *)disk;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = fault_call(f);
	/* A write that fails may still have been done in part. */
	if (f->remembers && (rc == 0 || len > 1))
		fault_remember(f, fd, len, offset);
	if (rc == 0)
		rc = disk_system()->write(disk_system(), fd, data, len, offset);
	else if (f->remembers && len > 1)
		disk_system()->write(disk_system(), fd, data, len / 2, offset);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int
fault_sync(struct disk *disk, int fd)
{
	struct faultdisk *f = (struct faultdisk *)disk;
	struct stat st;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = fault_call(f);
	if (rc == 0 && fstat(fd, &st) != 0)
		rc = -errno;
	for (struct undo_write **at = &f->undo; rc == 0 && *at != NULL;) {
		struct undo_write *u = *at;

		if (u->dev != st.st_dev || u->ino != st.st_ino) {
			at = &u->next;
			continue;
		}
		*at = u->next;
		close(u->fd);
		free(u);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int
fault_allocate(struct disk *disk, int fd, uint64_t len)
{
	struct faultdisk *f = (struct faultdisk *)disk;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = fault_call(f);
	pthread_mutex_unlock(&f->lock);
	return rc != 0 ? rc : disk_system()->allocate(disk_system(), fd, len);
}

static int
fault_space(struct disk *disk, int fd, uint64_t *ret_total, uint64_t *ret_free)
{
	struct faultdisk *f = (struct faultdisk *)disk;

	if (f->space_total == 0)
		return disk_system()->space(disk_system(), fd, ret_total, ret_free);
	*ret_total = f->space_total;
	*ret_free = f->space_free;
	return 0;
}

static int
fault_commit(struct disk *disk)
{
	struct faultdisk *f = (struct faultdisk *)disk;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = fault_call(f);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

void
faultdisk_init(struct faultdisk *f)
{
	*f = (struct faultdisk){
		.disk = { fault_write, fault_sync, fault_allocate, fault_space, fault_commit },
		.error = -EIO,
	};
	pthread_mutex_init(&f->lock, NULL);
}

void
faultdisk_done(struct faultdisk *f)
{
	while (f->undo != NULL) {
		struct undo_write *u = f->undo;

		f->undo = u->next;
		close(u->fd);
		free(u);
	}
	pthread_mutex_destroy(&f->lock);
}

void
faultdisk_forget(struct faultdisk *f, uint64_t *seed)
{
	while (f->undo != NULL) {
		struct undo_write *u = f->undo;
		unsigned choice = random_next(seed) % 3;

		for (size_t at = 0; at < u->len && choice > 0; at += SECTOR) {
			size_t n = u->len - at < SECTOR ? u->len - at : SECTOR;

			if (choice == 1 || random_next(seed) % 2 == 0)
				disk_system()->write(disk_system(), u->fd, u->old + at, n, u->offset + at);
		}
		f->undo = u->next;
		close(u->fd);
		free(u);
	}
}
