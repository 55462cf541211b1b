/* door.c - see door.h. */
#include "server/door.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/listen.h"

const char *
door_path(const struct settings *config)
{
	return config->door != NULL ? config->door : DOOR_USUAL;
}

/* ---- who is admitted ---- */

/* NAME, @GROUP or *. */
static bool
admit(struct door *d, const char *name)
{
	const struct passwd *user = NULL;
	const struct group *group = NULL;
	size_t len = strlen(d->admitted);

	if (strcmp(name, "*") == 0)
		d->all = true;
	else if (*name == '@' && (group = getgrnam(name + 1)) != NULL)
		d->groups[d->group_count++] = group->gr_gid;
	else if (*name != '@' && (user = getpwnam(name)) != NULL)
		d->users[d->user_count++] = user->pw_uid;
	else {
		fprintf(stderr, "nuaged: admit %s: there is no such %s\n", name, *name == '@' ? "group" : "user");
		return false;
	}
	if (len + strlen(name) + 8 < sizeof d->admitted)
		snprintf(d->admitted + len, sizeof d->admitted - len, "%s%s", len > 0 ? ", " : "", name);
	else if (strstr(d->admitted, "...") == NULL)
		strcpy(d->admitted + len, ", ...");
	return true;
}

static bool
in_group(const struct door *d, gid_t gid)
{
	for (unsigned i = 0; i < d->group_count; i++)
		if (d->groups[i] == gid)
			return true;
	return false;
}

/* The kernel tells how many there are, if asked for too few. */
static bool
in_groups(const struct door *d, int fd)
{
	gid_t *groups = NULL;
	socklen_t len = 0;
	bool found = false;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (groups == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		len = 0;
	for (size_t i = 0; i < len / sizeof *groups && !found; i++)
		found = in_group(d, groups[i]);
	free(groups);
	return found;
}

bool
door_admits(const struct door *d, int fd, uid_t *ret_uid)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	*ret_uid = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	*ret_uid = peer.uid;
	if (d->all || in_group(d, peer.gid))
		return true;
	for (unsigned i = 0; i < d->user_count; i++)
		if (d->users[i] == peer.uid)
			return true;
	return in_groups(d, fd);
}

/* ---- the directory ---- */

static bool
complain(const char *path, const char *what)
{
	fprintf(stderr, "nuaged: the door %s: %s\n", path, what);
	return false;
}

/* Ours, so that nobody can put a socket of his own there. */
static bool
enter(struct door *d, const char *path)
{
	bool made = mkdir(path, 0755) == 0;
	struct stat st;

	if (!made && errno != EEXIST)
		return complain(path, strerror(errno));
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (d->fd < 0 || (made && fchmod(d->fd, 0755) < 0) || fstat(d->fd, &st) < 0)
		return complain(path, strerror(errno));
	if (st.st_uid != geteuid())
		return complain(path, "belongs to another user");
	if ((st.st_mode & 022) != 0)
		return complain(path, "others may write here; chmod go-w it");
	return true;
}

bool
door_open(struct door *d, const struct settings *config)
{
	const char *path = door_path(config);
	int r;

	*d = (struct door){ .fd = -1, .serving = -1 };
	for (unsigned i = 0; i < config->admit_count; i++)
		if (!admit(d, config->admit[i]))
			return false;
	if (config->admit_count == 0)
		return true;
	if (!enter(d, path))
		return false;
	r = listen_probe(d->fd, ADMIN_SOCKET) ? -EADDRINUSE : listen_beside(d->fd, LISTEN_SOCKET, 0666);
	if (r < 0)
		return complain(path, r == -EADDRINUSE ? "another nuaged has it; say door in its configuration" : strerror(-r));
	d->serving = r;
	return true;
}

void
door_close(struct door *d)
{
	if (d->serving >= 0) {
		unlinkat(d->fd, LISTEN_SOCKET, 0);
		close(d->serving);
	}
	if (d->fd >= 0)
		close(d->fd);
	d->fd = d->serving = -1;
}
