/*
 * home.c - see home.h.
 *
 * Every path is built on the stack from these roots.  Nothing is cached: the
 * files are small and read once a command.
 */
#include "fs/home.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/note.h"
#include "proto/noise.h"

struct home {
	char	config[PATH_MAX], state[PATH_MAX], cache[PATH_MAX], run[PATH_MAX];
};

/* ---- directories ---- */

/* Where the system starts us, as for fstab(5), there is no $HOME. */
static const char *
user_home(void)
{
	const char *home = getenv("HOME");
	const struct passwd *p;

	if (home != NULL && home[0] == '/')
		return home;
	p = getpwuid(geteuid());
	return p != NULL && p->pw_dir != NULL && p->pw_dir[0] == '/' ? p->pw_dir : NULL;
}

/* $NUAGE_HOME/`own`, or $`xdg`/nuage`tail`, or $HOME/`fallback`/nuage`tail`. */
static int
resolve(char *to, const char *own, const char *xdg, const char *fallback, const char *tail)
{
	const char *base = getenv("NUAGE_HOME"), *user = user_home();
	int r;

	if (base != NULL && base[0] == '/')
		r = snprintf(to, PATH_MAX, "%s/%s", base, own);
	else if ((base = getenv(xdg)) != NULL && base[0] == '/')
		r = snprintf(to, PATH_MAX, "%s/nuage%s", base, tail);
	else if (fallback == NULL && geteuid() == 0)
		r = snprintf(to, PATH_MAX, "/run/nuage%s", tail);
	else if (fallback == NULL)
		r = snprintf(to, PATH_MAX, "/tmp/nuage-%u%s", (unsigned)geteuid(), tail);
	else if (user != NULL)
		r = snprintf(to, PATH_MAX, "%s/%s/nuage%s", user, fallback, tail);
	else
		return -ENOENT;
	/* Room for the longest name below. */
	return r > 0 && r < PATH_MAX - 256 ? 0 : -ENAMETOOLONG;
}

static int
make_directories(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof part)
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* A directory in /tmp must be ours alone. */
static int
check_owner(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -EPERM;
}

int
home_open(struct home **ret)
{
	struct home *h = calloc(1, sizeof *h);
	const char *base = getenv("NUAGE_HOME");
	int r;

	if (h == NULL)
		return -ENOMEM;
	if (base != NULL && base[0] != '\0' && base[0] != '/')
		r = -EINVAL;
	else if ((r = resolve(h->config, "config", "XDG_CONFIG_HOME", ".config", "")) == 0 &&
	    (r = resolve(h->state, "state", "XDG_STATE_HOME", ".local/state", "/journal")) == 0 &&
	    (r = resolve(h->cache, "cache", "XDG_CACHE_HOME", ".cache", "")) == 0)
		r = resolve(h->run, "run", "XDG_RUNTIME_DIR", NULL, "");
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void
home_close(struct home *h)
{
	free(h);
}

const char *
home_config(const struct home *h)
{
	return h->config;
}

static void
hex_of(const uint8_t id[VOLUME_ID_SIZE], char to[2 * VOLUME_ID_SIZE + 1])
{
	sodium_bin2hex(to, 2 * VOLUME_ID_SIZE + 1, id, VOLUME_ID_SIZE);
}

/* `directory`/`name` below root, made when `make`; the whole path is in to[PATH_MAX]. */
static int
path_in(const char *root, const char *directory, const char *name, bool make, char *to)
{
	int r, n = snprintf(to, PATH_MAX, "%s/%s", root, directory);

	if (n < 0 || n >= PATH_MAX - 256)
		return -ENAMETOOLONG;
	if (make && (r = make_directories(to)) < 0)
		return r;
	snprintf(to + n, (size_t)(PATH_MAX - n), "%s%s", directory[0] != '\0' ? "/" : "", name);
	return 0;
}

bool
home_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > VOLUME_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

/* ---- the device ---- */

static int
device_make(const char *path, uint8_t *secret)
{
	uint8_t public[KEY_SIZE];
	struct note n;
	int r;

	noise_keypair(secret, public);
	note_begin(&n, "device");
	note_add_hex(&n, "secret", secret, KEY_SIZE);
	note_add_hex(&n, "public", public, KEY_SIZE);
	r = note_save(&n, path);
	note_done(&n);
	return r;
}

static int
device_load(const char *path, uint8_t *secret)
{
	struct note n;
	int r = note_load(&n, path, "device");

	if (r == 0)
		r = note_get_hex(&n, "secret", secret, KEY_SIZE);
	note_done(&n);
	return r;
}

int
home_device(struct home *h, bool make, uint8_t **ret_secret)
{
	char path[PATH_MAX], lock[PATH_MAX];
	uint8_t *secret;
	int r, fd = -1;

	if ((r = path_in(h->config, "", "device", make, path)) < 0 ||
	    (r = path_in(h->config, "", "lock", make, lock)) < 0)
		return r;
	secret = sodium_malloc(KEY_SIZE);
	if (secret == NULL)
		return -ENOMEM;
	r = device_load(path, secret);
	if (r == -ENOENT && make) {
		/* Two joins at once must end with one key. */
		fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || flock(fd, LOCK_EX) < 0)
			r = -errno;
		else if ((r = device_load(path, secret)) == -ENOENT)
			r = device_make(path, secret);
		if (fd >= 0)
			close(fd);
	}
	if (r < 0)
		sodium_free(secret);
	else
		*ret_secret = secret;
	return r;
}

/* ---- servers ---- */

static int
server_read(const char *path, struct home_server *to)
{
	struct note n;
	const char *name, *addresses;
	int r = note_load(&n, path, "server");

	if (r < 0)
		return r;
	name = note_get(&n, "name");
	addresses = note_get(&n, "address");
	if (name == NULL || !home_name_valid(name) || addresses == NULL || strlen(addresses) >= HOME_ADDRESSES)
		return -EBADMSG;
	strcpy(to->name, name);
	strcpy(to->addresses, addresses);
	return note_get_hex(&n, "key", to->key, KEY_SIZE);
}

int
home_server_load(struct home *h, const char *name, struct home_server *to)
{
	char path[PATH_MAX];
	int r;

	if (!home_name_valid(name))
		return -ENOENT;
	r = path_in(h->config, "servers", name, false, path);
	return r < 0 ? r : server_read(path, to);
}

int
home_each_server(struct home *h, int (*each)(void *context, const struct home_server *s), void *context)
{
	char path[PATH_MAX];
	struct home_server s;
	struct dirent *e;
	DIR *d;
	int r = path_in(h->config, "servers", "", false, path);

	if (r < 0)
		return r;
	d = opendir(path);
	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (e = readdir(d)) != NULL)
		if (home_server_load(h, e->d_name, &s) == 0 && strcmp(s.name, e->d_name) == 0)
			r = each(context, &s);
	closedir(d);
	return r;
}

struct key_search {
	const uint8_t		*key;
	struct home_server	*to;
};

static int
compare_key(void *context, const struct home_server *s)
{
	struct key_search *search = context;

	if (memcmp(s->key, search->key, KEY_SIZE) != 0)
		return 0;
	*search->to = *s;
	return 1;
}

int
home_server_by_key(struct home *h, const uint8_t key[KEY_SIZE], struct home_server *to)
{
	int r = home_each_server(h, compare_key, &(struct key_search){ key, to });

	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

/* The host of the address by SSH, as a person wrote that, or of the first one; as a name. */
static void
name_after_host(const char *addresses, char *to)
{
	const char *ssh = strstr(addresses, "ssh://"), *from = addresses;
	size_t n = 0, authority;

	if (ssh != NULL) {
		from = ssh + 6;
		authority = strcspn(from, "/,");
		if (memchr(from, '@', authority) != NULL)
			from = strchr(from, '@') + 1;
	}
	for (const char *at = from; *at != '\0' && *at != ',' && *at != '/' && n < VOLUME_NAME_MAX - 4; at++) {
		if (*at == ':' && strchr(from, ']') == NULL && n > 0)
			break;
		if (isalnum((unsigned char)*at) || (n > 0 && strchr(".-", *at) != NULL))
			to[n++] = *at;
	}
	to[n] = '\0';
	if (n == 0)
		strcpy(to, "server");
}

int
home_server_save(struct home *h, struct home_server *server, const char *wanted)
{
	char path[PATH_MAX], base[HOME_NAME];
	struct home_server there;
	struct note n;
	int r;

	if (wanted != NULL && !home_name_valid(wanted))
		return -EINVAL;
	if (home_server_by_key(h, server->key, &there) == 0) {
		strcpy(server->name, there.name);	/* known already: its address may be new */
	} else {
		if (wanted != NULL)
			strcpy(base, wanted);
		else
			name_after_host(server->addresses, base);
		strcpy(server->name, base);
		for (unsigned i = 2; home_server_load(h, server->name, &there) != -ENOENT; i++) {
			if (wanted != NULL)
				return -EEXIST;
			snprintf(server->name, sizeof server->name, "%.*s-%u", VOLUME_NAME_MAX - 12, base, i);
		}
	}
	if ((r = path_in(h->config, "servers", server->name, true, path)) < 0)
		return r;
	note_begin(&n, "server");
	note_add(&n, "name", server->name);
	note_add(&n, "address", server->addresses);
	note_add_hex(&n, "key", server->key, KEY_SIZE);
	return note_save(&n, path);
}

/* ---- volumes ---- */

static int
volume_path(struct home *h, const char *server, const char *name, bool make, char *to)
{
	char directory[16 + HOME_NAME];

	if (!home_name_valid(server) || !home_name_valid(name))
		return make ? -EINVAL : -ENOENT;
	snprintf(directory, sizeof directory, "volumes/%s", server);
	return path_in(h->config, directory, name, make, to);
}

static int
volume_read(struct home *h, const char *server, const char *name, struct home_volume *to)
{
	char path[PATH_MAX];
	struct note n;
	uint64_t formatted;
	int r = volume_path(h, server, name, false, path);

	if (r == 0)
		r = note_load(&n, path, "volume");
	if (r < 0)
		return r;
	strcpy(to->server, server);
	strcpy(to->name, name);
	if ((r = note_get_hex(&n, "id", to->id, VOLUME_ID_SIZE)) == 0 &&
	    (r = note_get_hex(&n, "wrap", to->wrap, WRAP_SIZE)) == 0 &&
	    (r = note_get_number(&n, "formatted", &formatted)) == 0)
		to->formatted = formatted != 0;
	return r;
}

int
home_volume_save(struct home *h, const struct home_volume *volume)
{
	char path[PATH_MAX];
	struct note n;
	int r = volume_path(h, volume->server, volume->name, true, path);

	if (r < 0)
		return r;
	note_begin(&n, "volume");
	note_add_hex(&n, "id", volume->id, VOLUME_ID_SIZE);
	note_add_hex(&n, "wrap", volume->wrap, WRAP_SIZE);
	note_add_number(&n, "formatted", volume->formatted);
	return note_save(&n, path);
}

int
home_volume_remove(struct home *h, const struct home_volume *volume)
{
	char path[PATH_MAX];
	int r = volume_path(h, volume->server, volume->name, false, path);

	return r < 0 ? r : unlink(path) < 0 ? -errno : 0;
}

static int
each_volume_of(struct home *h, const char *server, int (*each)(void *context, const struct home_volume *v),
    void *context)
{
	char directory[16 + HOME_NAME], path[PATH_MAX];
	struct home_volume v;
	struct dirent *e;
	DIR *d;
	int r;

	snprintf(directory, sizeof directory, "volumes/%.*s", VOLUME_NAME_MAX, server);
	r = path_in(h->config, directory, "", false, path);
	if (r < 0)
		return r;
	d = opendir(path);
	if (d == NULL)
		return 0;
	while (r == 0 && (e = readdir(d)) != NULL)
		if (volume_read(h, server, e->d_name, &v) == 0)
			r = each(context, &v);
	closedir(d);
	return r;
}

int
home_each_volume(struct home *h, int (*each)(void *context, const struct home_volume *v), void *context)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;
	int r = path_in(h->config, "volumes", "", false, path);

	if (r < 0)
		return r;
	d = opendir(path);
	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (e = readdir(d)) != NULL)
		if (home_name_valid(e->d_name))
			r = each_volume_of(h, e->d_name, each, context);
	closedir(d);
	return r;
}

struct volume_search {
	const char		*name;
	const uint8_t		*id;
	unsigned		 found;
	struct home_volume	*to;
};

static int
compare_volume(void *context, const struct home_volume *v)
{
	struct volume_search *search = context;

	if (search->name != NULL ? strcmp(v->name, search->name) != 0 :
	    memcmp(v->id, search->id, VOLUME_ID_SIZE) != 0)
		return 0;
	*search->to = *v;
	search->found++;
	return 0;
}

int
home_volume_find(struct home *h, const char *text, struct home_volume *to)
{
	struct volume_search search = { .name = text, .to = to };
	const char *slash = strchr(text, '/');
	char server[HOME_NAME];
	int r;

	if (slash != NULL) {
		if ((size_t)(slash - text) >= sizeof server)
			return -ENOENT;
		snprintf(server, sizeof server, "%.*s", (int)(slash - text), text);
		return volume_read(h, server, slash + 1, to);
	}
	r = home_each_volume(h, compare_volume, &search);
	return r < 0 ? r : search.found == 0 ? -ENOENT : search.found > 1 ? -EMLINK : 0;
}

int
home_volume_by_id(struct home *h, const uint8_t id[VOLUME_ID_SIZE], struct home_volume *to)
{
	struct volume_search search = { .id = id, .to = to };
	int r = home_each_volume(h, compare_volume, &search);

	return r < 0 ? r : search.found == 0 ? -ENOENT : 0;
}

/* ---- what a mount leaves behind ---- */

static int
state_path(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *name, char *to)
{
	char hex[2 * VOLUME_ID_SIZE + 1];

	hex_of(id, hex);
	return path_in(h->state, hex, name, true, to);
}

int
home_lock(struct home *h, const uint8_t id[VOLUME_ID_SIZE], int *ret_fd)
{
	char path[PATH_MAX];
	int fd, r = state_path(h, id, "lock", path);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int
home_session_load(struct home *h, const uint8_t id[VOLUME_ID_SIZE], struct home_session *to)
{
	char path[PATH_MAX];
	uint64_t generation = 0;
	struct note n;
	int r = state_path(h, id, "session", path);

	if (r == 0)
		r = note_load(&n, path, "session");
	if (r == 0 && (r = note_get_number(&n, "id", &to->id)) == 0 &&
	    (r = note_get_hex(&n, "secret", to->secret, SECRET_SIZE)) == 0)
		r = note_get_number(&n, "generation", &generation);
	to->generation = (uint32_t)generation;
	note_done(&n);
	return r;
}

int
home_session_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const struct home_session *s)
{
	char path[PATH_MAX];
	struct note n;
	int r = state_path(h, id, "session", path);

	if (r < 0)
		return r;
	note_begin(&n, "session");
	note_add_number(&n, "id", s->id);
	note_add_hex(&n, "secret", s->secret, SECRET_SIZE);
	note_add_number(&n, "generation", s->generation);
	r = note_save(&n, path);
	note_done(&n);
	return r;
}

static int
state_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *name)
{
	char path[PATH_MAX];
	int r = state_path(h, id, name, path);

	return r < 0 ? r : unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int
home_session_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE])
{
	return state_remove(h, id, "session");
}

/* One number under that key, 0 when there is no such file. */
static int
number_load(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *name, const char *key, uint64_t *to)
{
	char path[PATH_MAX];
	struct note n;
	int r = state_path(h, id, name, path);

	if (r == 0)
		r = note_load(&n, path, name);
	if (r == -ENOENT) {
		*to = 0;
		return 0;
	}
	return r < 0 ? r : note_get_number(&n, key, to);
}

static int
number_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *name, const char *key, uint64_t number)
{
	char path[PATH_MAX];
	struct note n;
	int r = state_path(h, id, name, path);

	if (r < 0)
		return r;
	note_begin(&n, name);
	note_add_number(&n, key, number);
	return note_save(&n, path);
}

int
home_version_load(struct home *h, const uint8_t id[VOLUME_ID_SIZE], uint64_t *to)
{
	return number_load(h, id, "version", "highest", to);
}

int
home_version_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], uint64_t version)
{
	return number_save(h, id, "version", "highest", version);
}

dev_t
home_mount(struct home *h, const uint8_t id[VOLUME_ID_SIZE])
{
	uint64_t device;

	return number_load(h, id, "mount", "device", &device) == 0 ? (dev_t)device : 0;
}

int
home_mount_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], dev_t device)
{
	return number_save(h, id, "mount", "device", device);
}

int
home_mount_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE])
{
	return state_remove(h, id, "mount");
}

static int
state_file(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *name, char *to, size_t size)
{
	char path[PATH_MAX];
	int r = state_path(h, id, name, path);

	return r < 0 ? r : snprintf(to, size, "%s", path) < (int)size ? 0 : -ENAMETOOLONG;
}

int
home_journal(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size)
{
	return state_file(h, id, "journal", to, size);
}

int
home_conflicts(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size)
{
	return state_file(h, id, "conflicts", to, size);
}

/* The file of one pin; path NULL: their directory. */
static int
pin_path(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *path, char to[PATH_MAX])
{
	uint8_t hash[VOLUME_ID_SIZE];
	int r = state_path(h, id, "pins", to);
	size_t len = strlen(to);

	if (r < 0 || path == NULL)
		return r;
	if (mkdir(to, 0700) < 0 && errno != EEXIST)
		return -errno;
	crypto_generichash(hash, sizeof hash, (const uint8_t *)path, strlen(path), NULL, 0);
	if (len + 2 + 2 * sizeof hash > PATH_MAX)
		return -ENAMETOOLONG;
	to[len++] = '/';
	hex_of(hash, to + len);
	return 0;
}

int
home_pin_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *path)
{
	char file[PATH_MAX];
	struct note n;
	int r = strchr(path, '\n') != NULL ? -EINVAL : pin_path(h, id, path, file);

	if (r < 0)
		return r;
	note_begin(&n, "pin");
	note_add(&n, "path", path);
	r = note_save(&n, file);
	return r == -EINVAL ? -ENAMETOOLONG : r;
}

int
home_pin_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *path)
{
	char file[PATH_MAX];
	int r = pin_path(h, id, path, file);

	return r < 0 ? r : unlink(file) < 0 ? -errno : 0;
}

int
home_each_pin(struct home *h, const uint8_t id[VOLUME_ID_SIZE], void (*each)(void *context, const char *path),
    void *context)
{
	char path[PATH_MAX], file[PATH_MAX + 256];
	struct dirent *e;
	struct note n;
	DIR *d;
	int r = pin_path(h, id, NULL, path);

	if (r < 0)
		return r;
	if ((d = opendir(path)) == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d)) != NULL) {
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		if (strlen(e->d_name) == 2 * VOLUME_ID_SIZE && note_load(&n, file, "pin") == 0 && note_get(&n, "path") != NULL)
			each(context, note_get(&n, "path"));
	}
	closedir(d);
	return 0;
}

int
home_cache(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size)
{
	char hex[2 * VOLUME_ID_SIZE + 1], path[PATH_MAX];
	int r = make_directories(h->cache);

	hex_of(id, hex);
	if (r == 0)
		r = path_in(h->cache, "", hex, false, path);
	return r < 0 ? r : snprintf(to, size, "%s", path) < (int)size ? 0 : -ENAMETOOLONG;
}

int
home_each_state(struct home *h, void (*each)(void *context, const uint8_t id[VOLUME_ID_SIZE]), void *context)
{
	uint8_t id[VOLUME_ID_SIZE];
	char path[PATH_MAX];
	struct dirent *e;
	size_t len;
	DIR *d;
	int r = path_in(h->state, "", "", false, path);

	if (r < 0)
		return r;
	d = opendir(path);
	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d)) != NULL)
		if (strlen(e->d_name) == 2 * VOLUME_ID_SIZE &&
		    sodium_hex2bin(id, sizeof id, e->d_name, 2 * VOLUME_ID_SIZE, NULL, &len, NULL) == 0 && len == sizeof id)
			each(context, id);
	closedir(d);
	return 0;
}

int
home_socket(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size)
{
	char hex[2 * VOLUME_ID_SIZE + 1], path[PATH_MAX];
	int r = make_directories(h->run);

	if (r == 0)
		r = check_owner(h->run);
	hex_of(id, hex);
	if (r == 0)
		r = path_in(h->run, "", hex, false, path);
	if (r == 0 && snprintf(to, size, "%s", path) >= (int)size)
		r = -ENAMETOOLONG;
	return r;
}
