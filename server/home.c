/* home.c - see home.h. */
#include "server/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/noise.h"

static const char key_file[] = "server.key", key_new[] = "server.key.new", key_head[] = "nuaged-key 1 ";

enum { KEY_TEXT = sizeof key_head - 1 + KEY_SIZE * 2 + 1 };

static bool
complain(const char *path, const char *name, const char *what)
{
	fprintf(stderr, "nuaged: %s%s%s: %s\n", path, *name != '\0' ? "/" : "", name, what);
	return false;
}

/* A directory that was just made for us, like the root of a fresh file system, we close to others. */
static bool
close_to_others(const struct home *h)
{
	DIR *dir = fdopendir(openat(h->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	bool empty = dir != NULL;

	while (empty && (e = readdir(dir)) != NULL)
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    strcmp(e->d_name, "lost+found") == 0;
	if (dir != NULL)
		closedir(dir);
	return empty && fchmod(h->fd, 0700) == 0;
}

static bool
write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	for (; len > 0; text += n, len -= n) {
		n = write(fd, text, len);
		if (n < 0)
			return false;
	}
	return true;
}

/* Durable before anybody can have seen the public half. */
static bool
make_key(struct home *h)
{
	char text[KEY_TEXT + 1], hex[KEY_SIZE * 2 + 1];
	int fd = openat(h->fd, key_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool fine;

	if (fd < 0)
		return complain(h->path, key_new, strerror(errno));
	noise_keypair(h->secret, h->public);
	sodium_bin2hex(hex, sizeof hex, h->secret, KEY_SIZE);
	snprintf(text, sizeof text, "%s%s\n", key_head, hex);
	fine = write_all(fd, text, KEY_TEXT) && fsync(fd) == 0;
	sodium_memzero(text, sizeof text);
	sodium_memzero(hex, sizeof hex);
	fine = close(fd) == 0 && fine && renameat(h->fd, key_new, h->fd, key_file) == 0 && fsync(h->fd) == 0;
	return fine || complain(h->path, key_file, strerror(errno));
}

static bool
load_key(struct home *h, bool create)
{
	char text[KEY_TEXT + 1] = "";
	int fd = openat(h->fd, key_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t len = 0;
	ssize_t n;
	bool fine;

	if (fd < 0 && errno == ENOENT && create)
		return make_key(h);
	if (fd < 0)
		return complain(h->path, key_file, errno == ENOENT ? "no server was ever started here" : strerror(errno));
	n = read(fd, text, sizeof text);
	close(fd);
	fine = n == KEY_TEXT && text[KEY_TEXT - 1] == '\n' && memcmp(text, key_head, sizeof key_head - 1) == 0 &&
	    sodium_hex2bin(h->secret, KEY_SIZE, text + sizeof key_head - 1, KEY_SIZE * 2, NULL, &len, NULL) == 0 &&
	    len == KEY_SIZE;
	sodium_memzero(text, sizeof text);
	if (!fine)
		return complain(h->path, key_file, "damaged; restore it from a backup, for clients trust no other key");
	noise_public(h->secret, h->public);
	return true;
}

/*
 * Of two that find no key one makes it, and the other reads that.  Where there is
 * one nobody waits: whoever may read the directory could hold that lock.
 */
static bool
load_key_alone(struct home *h, bool create)
{
	bool alone = create && faccessat(h->fd, key_file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT, fine;

	while (alone && flock(h->fd, LOCK_EX) < 0 && errno == EINTR)
		continue;
	fine = load_key(h, create);
	if (alone)
		flock(h->fd, LOCK_UN);
	return fine;
}

bool
home_open(struct home *h, const char *path, bool create)
{
	struct stat st = { 0 };

	*h = (struct home){ .fd = -1, .path = strdup(path), .secret = sodium_malloc(KEY_SIZE) };
	if (h->path == NULL || h->secret == NULL || asprintf(&h->store, "%s/store", path) < 0) {
		h->store = NULL;
		home_close(h);
		return complain(path, "", "out of memory");
	}
	if (create && mkdir(path, 0700) < 0 && errno != EEXIST) {
		complain(path, "", strerror(errno));
		home_close(h);
		return false;
	}
	h->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->fd < 0 || fstat(h->fd, &st) < 0)
		complain(path, "", strerror(errno));
	else if (st.st_uid != geteuid() && (create || geteuid() != 0))
		complain(path, "", "belongs to another user");
	else if ((st.st_mode & 022) != 0 && !(create && close_to_others(h)))
		complain(path, "", "others may write here; chmod go-w it");
	else if (create && mkdir(h->store, 0700) < 0 && errno != EEXIST)
		complain(path, "store", strerror(errno));
	else if (load_key_alone(h, create)) {
		h->foreign = st.st_uid != geteuid();
		return true;
	}
	home_close(h);
	return false;
}

void
home_close(struct home *h)
{
	if (h->fd >= 0)
		close(h->fd);
	sodium_free(h->secret);
	free(h->store);
	free(h->path);
	*h = (struct home){ .fd = -1 };
}

bool
home_store_held(const struct home *h)
{
	int fd = openat(h->fd, "store/lock", O_RDONLY | O_CLOEXEC);
	bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return held;
}
