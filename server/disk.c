/* disk.c - see disk.h. */
#include "server/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int
system_write(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset)
{
	const uint8_t *from = data;

	(void)disk;
	while (len > 0) {
		ssize_t n = pwrite(fd, from, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int
system_sync(struct disk *disk, int fd)
{
	(void)disk;
	/* Never again after a failure: the kernel forgets which pages it could not write. */
	return fdatasync(fd) != 0 ? -errno : 0;
}

static int
system_allocate(struct disk *disk, int fd, uint64_t len)
{
	int rc;

	(void)disk;
	do
		rc = posix_fallocate(fd, 0, (off_t)len);
	while (rc == EINTR);
	return -rc;
}

static int
system_space(struct disk *disk, int fd, uint64_t *ret_total, uint64_t *ret_free)
{
	struct statvfs fs;

	(void)disk;
	if (fstatvfs(fd, &fs) != 0)
		return -errno;
	*ret_total = (uint64_t)fs.f_blocks * fs.f_frsize;
	*ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

static int
system_commit(struct disk *disk)
{
	(void)disk;
	return 0;
}

struct disk *
disk_system(void)
{
	static struct disk disk = { system_write, system_sync, system_allocate, system_space, system_commit };

	return &disk;
}
