/* test_home.c - what is kept on this machine: written whole, found again, damage told from absence. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/home.h"
#include "fs/note.h"
#include "proto/noise.h"
#include "tests/scratch.h"
#include "tests/tap.h"

static char root[256];

static const char *
path(const char *name)
{
	static char text[512];

	snprintf(text, sizeof text, "%s/%s", root, name);
	return text;
}

/* Replaces the first `from` in a file by `to`, of the same length. */
static bool
damage(const char *name, const char *from, const char *to)
{
	char text[8192];
	int fd = open(path(name), O_RDWR);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	char *at = NULL;

	if (n > 0) {
		text[n] = '\0';
		at = strstr(text, from);
	}
	if (at != NULL && pwrite(fd, to, strlen(to), at - text) < 0)
		at = NULL;
	close(fd);
	return at != NULL;
}

static void
notes(void)
{
	uint8_t bytes[5] = { 1, 2, 3, 254, 255 }, back[5];
	struct note n, m;
	uint64_t number;

	note_begin(&n, "test");
	note_add(&n, "text", "with spaces = and more");
	note_add_hex(&n, "bytes", bytes, sizeof bytes);
	note_add_number(&n, "number", UINT64_MAX);
	note_add(&n, "empty", "");
	ok(note_save(&n, path("note")) == 0, "a note is saved");
	ok(note_load(&m, path("note"), "test") == 0, "and loaded");
	ok(note_get(&m, "text") != NULL && strcmp(note_get(&m, "text"), "with spaces = and more") == 0, "a text is the same");
	ok(note_get_hex(&m, "bytes", back, sizeof back) == 0 && memcmp(back, bytes, sizeof back) == 0, "bytes are the same");
	ok(note_get_number(&m, "number", &number) == 0 && number == UINT64_MAX, "the largest number is the same");
	ok(note_get(&m, "empty") != NULL && *note_get(&m, "empty") == '\0', "an empty value is there");
	ok(note_get(&m, "none") == NULL && note_get(&m, "tex") == NULL, "what was not added is not");
	ok(note_get_hex(&m, "bytes", back, 4) == -EBADMSG, "bytes of another length are refused");
	ok(note_get_number(&m, "text", &number) == -EBADMSG, "a text is no number");
	ok(note_load(&m, path("note"), "other") == -EBADMSG, "a note of another type is refused");
	ok(note_load(&m, path("none"), "test") == -ENOENT, "no note is no note");
	note_begin(&n, "test");
	note_add(&n, "text", "two\nlines");
	ok(note_save(&n, path("bad")) == -EINVAL && access(path("bad"), F_OK) < 0, "a line break is refused, nothing is left");
	note_begin(&n, "test");
	for (int i = 0; i < 500; i++)
		note_add(&n, "key", "0123456789");
	ok(note_save(&n, path("bad")) == -EINVAL, "a note that is too long is refused");
	ok(damage("note", "spaces", "spacex") && note_load(&m, path("note"), "test") == -EBADMSG, "damage is found");
	ok(truncate(path("note"), 20) == 0 && note_load(&m, path("note"), "test") == -EBADMSG, "a torn note is found");
	ok(truncate(path("note"), 0) == 0 && note_load(&m, path("note"), "test") == -EBADMSG, "so is an empty one");
}

/* Every prefix and every single damaged byte of a note is refused. */
static void
notes_damaged(void)
{
	char text[NOTE_MAX];
	struct note n, m;
	unsigned accepted = 0;
	ssize_t len;
	int fd;

	note_begin(&n, "test");
	note_add(&n, "key", "value");
	note_save(&n, path("note"));
	fd = open(path("note"), O_RDWR);
	len = read(fd, text, sizeof text);
	for (ssize_t i = 0; i < len; i++) {
		char flipped = text[i] ^ 1;

		if (pwrite(fd, &flipped, 1, i) == 1)
			accepted += note_load(&m, path("note"), "test") == 0;
		if (pwrite(fd, &text[i], 1, i) != 1)
			accepted++;
	}
	ok(accepted == 0, "no flipped bit of %zd bytes is accepted", len);
	for (ssize_t i = 0; i < len; i++)
		if (ftruncate(fd, i) == 0 && pwrite(fd, text, (size_t)i, 0) == i)
			accepted += note_load(&m, path("note"), "test") == 0;
	ok(accepted == 0, "no prefix is accepted");
	close(fd);
}

static void
names(void)
{
	char longest[VOLUME_NAME_MAX + 2];

	memset(longest, 'a', sizeof longest);
	longest[VOLUME_NAME_MAX] = '\0';
	ok(home_name_valid("work") && home_name_valid("a.b_c-D9") && home_name_valid(longest), "names that are good");
	longest[VOLUME_NAME_MAX] = 'a';
	longest[VOLUME_NAME_MAX + 1] = '\0';
	ok(!home_name_valid("") && !home_name_valid("..") && !home_name_valid(".x") && !home_name_valid("-f") &&
	    !home_name_valid("a/b") && !home_name_valid("a b") && !home_name_valid("a\n") &&
	    !home_name_valid(longest), "names that are not");
}

static void
device(void)
{
	uint8_t *a = NULL, *b = NULL;
	struct home *h = NULL;
	struct stat st;

	ok(home_open(&h) == 0, "a home is opened");
	ok(home_device(h, false, &a) == -ENOENT, "there is no device key");
	ok(home_device(h, true, &a) == 0, "one is made");
	ok(home_device(h, true, &b) == 0 && memcmp(a, b, KEY_SIZE) == 0, "only once");
	ok(stat(path("config/device"), &st) == 0 && (st.st_mode & 07777) == 0600, "nobody else may read it");
	ok(stat(path("config"), &st) == 0 && (st.st_mode & 07777) == 0700, "nor look for it");
	sodium_free(a);
	sodium_free(b);
	ok(damage("config/device", "secret ", "secrex ") && home_device(h, true, &a) == -EBADMSG,
	    "a damaged key is not replaced by a new one");
	ok(damage("config/device", "secrex ", "secret "), "the damage is undone");
	home_close(h);
}

/* Devices that are made at once end with one key. */
static void
device_race(void)
{
	enum { PROCESSES = 8 };
	uint8_t first[KEY_SIZE], other[KEY_SIZE], *key;
	struct home *h;
	int fds[2];
	bool same = true;

	unlink(path("config/device"));
	if (pipe(fds) < 0)
		return;
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			if (home_open(&h) < 0 || home_device(h, true, &key) < 0 || write(fds[1], key, KEY_SIZE) != KEY_SIZE)
				_exit(1);
			_exit(0);
		}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		wait(&status);
		same &= status == 0 && read(fds[0], i == 0 ? first : other, KEY_SIZE) == KEY_SIZE;
		same &= i == 0 || memcmp(first, other, KEY_SIZE) == 0;
	}
	ok(same, "eight processes that join at once have one key");
	close(fds[0]);
	close(fds[1]);
}

static void
servers(struct home *h)
{
	struct home_server s = { .addresses = "cloud.example.org:7440" }, t;

	memset(s.key, 1, KEY_SIZE);
	ok(home_server_save(h, &s, NULL) == 0 && strcmp(s.name, "cloud.example.org") == 0, "a server is named after its host");
	ok(home_server_load(h, "cloud.example.org", &t) == 0 && strcmp(t.addresses, s.addresses) == 0 &&
	    memcmp(t.key, s.key, KEY_SIZE) == 0, "and found");
	strcpy(s.addresses, "cloud.example.org:7441");
	ok(home_server_save(h, &s, NULL) == 0 && strcmp(s.name, "cloud.example.org") == 0 &&
	    home_server_load(h, s.name, &t) == 0 && strcmp(t.addresses, s.addresses) == 0, "the same key has a new address");
	memset(s.key, 2, KEY_SIZE);
	ok(home_server_save(h, &s, NULL) == 0 && strcmp(s.name, "cloud.example.org-2") == 0, "another key gets another name");
	memset(s.key, 3, KEY_SIZE);
	ok(home_server_save(h, &s, "cloud.example.org") == -EEXIST, "a wanted name that is taken is refused");
	ok(home_server_save(h, &s, "../x") == -EINVAL, "so is one that is none");
	strcpy(s.addresses, "[2001:db8::1]:7440");
	ok(home_server_save(h, &s, NULL) == 0 && home_name_valid(s.name), "a numeric address makes a name: %s", s.name);
	memset(s.key, 2, KEY_SIZE);
	ok(home_server_by_key(h, s.key, &t) == 0 && strcmp(t.name, "cloud.example.org-2") == 0, "a server is found by its key");
	memset(s.key, 9, KEY_SIZE);
	ok(home_server_by_key(h, s.key, &t) == -ENOENT, "an unknown key is not");
	ok(home_server_load(h, "../device", &t) == -ENOENT, "no path is a name");
}

static int
count(void *context, const struct home_volume *v)
{
	(void)v;
	++*(int *)context;
	return 0;
}

static void
volumes(struct home *h)
{
	struct home_volume v = { .server = "cloud.example.org", .name = "work" }, w;
	int n = 0;

	randombytes_buf(v.id, sizeof v.id);
	randombytes_buf(v.wrap, sizeof v.wrap);
	ok(home_volume_find(h, "work", &w) == -ENOENT, "no volume yet");
	ok(home_volume_save(h, &v) == 0 && home_volume_find(h, "work", &w) == 0 && strcmp(w.server, v.server) == 0 &&
	    memcmp(w.id, v.id, sizeof v.id) == 0 && memcmp(w.wrap, v.wrap, sizeof v.wrap) == 0 && !w.formatted, "one is kept");
	v.formatted = true;
	ok(home_volume_save(h, &v) == 0 && home_volume_find(h, "cloud.example.org/work", &w) == 0 && w.formatted,
	    "and changed, and found by its full name");
	ok(home_volume_by_id(h, v.id, &w) == 0 && strcmp(w.name, "work") == 0, "and by its id");
	strcpy(v.server, "cloud.example.org-2");
	v.id[0] ^= 1;
	ok(home_volume_save(h, &v) == 0 && home_volume_find(h, "work", &w) == -EMLINK, "two of a name are told apart");
	ok(home_volume_find(h, "cloud.example.org-2/work", &w) == 0 && memcmp(w.id, v.id, VOLUME_ID_SIZE) == 0, "by their server");
	ok(home_each_volume(h, count, &n) == 0 && n == 2, "both are listed");
	ok(home_volume_remove(h, &v) == 0 && home_volume_find(h, "work", &w) == 0, "one is removed");
	strcpy(v.name, "../../x");
	ok(home_volume_save(h, &v) == -EINVAL && home_volume_find(h, "cloud.example.org/../../device", &w) == -ENOENT,
	    "no path is a name");
}

static void
state(struct home *h)
{
	struct home_session s = { .id = 77, .generation = 3 }, t;
	uint8_t id[VOLUME_ID_SIZE] = { 5 };
	char socket[512];
	uint64_t version = 1;
	int fd = -1, other = -1, status;

	ok(home_session_load(h, id, &t) == -ENOENT, "no session was left");
	randombytes_buf(s.secret, sizeof s.secret);
	ok(home_session_save(h, id, &s) == 0 && home_session_load(h, id, &t) == 0 && t.id == 77 && t.generation == 3 &&
	    memcmp(s.secret, t.secret, SECRET_SIZE) == 0, "one is");
	ok(home_session_remove(h, id) == 0 && home_session_load(h, id, &t) == -ENOENT &&
	    home_session_remove(h, id) == 0, "and is removed, twice");
	ok(home_version_load(h, id, &version) == 0 && version == 0, "no version was seen");
	ok(home_version_save(h, id, 12345) == 0 && home_version_load(h, id, &version) == 0 && version == 12345, "one is kept");
	ok(home_lock(h, id, &fd) == 0, "the volume is locked");
	ok(home_lock(h, id, &other) == -EBUSY && other == -1, "once");
	if (fork() == 0)
		_exit(home_lock(h, id, &other) == -EBUSY ? 0 : 1);
	wait(&status);
	ok(status == 0, "nor by another process");
	close(fd);
	ok(home_lock(h, id, &fd) == 0, "closing lets go");
	close(fd);
	ok(home_socket(h, id, socket, sizeof socket) == 0 && strncmp(socket, root, strlen(root)) == 0, "the socket has a place");
	ok(home_socket(h, id, socket, 10) == -ENAMETOOLONG, "a short room for its name is told");
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(name);
}

int
main(void)
{
	struct home *h = NULL;

	if (sodium_init() < 0 || mkdtemp(scratch(root, sizeof root, "nuage-home")) == NULL)
		return 1;
	setenv("NUAGE_HOME", root, 1);
	notes();
	notes_damaged();
	names();
	device();
	device_race();
	if (home_open(&h) == 0) {
		servers(h);
		volumes(h);
		state(h);
	}
	home_close(h);
	setenv("NUAGE_HOME", "relative", 1);
	ok(home_open(&h) == -EINVAL, "a relative home is refused");
	unsetenv("NUAGE_HOME");
	unsetenv("XDG_CONFIG_HOME");
	setenv("HOME", "/home/someone", 1);
	ok(home_open(&h) == 0 && strcmp(home_config(h), "/home/someone/.config/nuage") == 0, "without one it is below $HOME");
	home_close(h);
	setenv("XDG_CONFIG_HOME", "/xdg", 1);
	ok(home_open(&h) == 0 && strcmp(home_config(h), "/xdg/nuage") == 0, "or where XDG says");
	home_close(h);
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
