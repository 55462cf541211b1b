/* test_journal.c - entries and their file: what was appended is found after a kill, up to where it is torn. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/journal_file.h"
#include "fs/replay.h"
#include "proto/seal.h"
#include "tests/scratch.h"
#include "tests/tap.h"

enum { SEGMENT_SIZE = 8 * 1024 * 1024, SEGMENT_HEAD = 64 };

static char root[256];
static const uint8_t volume[VOLUME_ID_SIZE] = "some volume";

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* ---- entries ---- */

static struct journal_entry
full_entry(void)
{
	return (struct journal_entry){ .kind = JOURNAL_OP, .type = OP_WRITE, .uid = 1, .gid = 2, .flags = 3, .set = 4,
	    .nlink = 5, .ino = 6, .ino2 = 7, .child = 8, .victim = 9, .version = 10, .victim_version = 11, .offset = 12,
	    .size = 13, .parent = 14, .sequence = 15, .upto = 16, .when = { 17, 18 },
	    .attr = { .mode = 19, .uid = 20, .gid = 21, .rdev = 22, .size = 23, .atime = { 24, 25 }, .mtime = { 26, 27 },
	    .ctime = { 28, 29 } }, .name = text("name"), .name2 = text("other"), .hint = text("hint"), .data = text("data") };
}

static bool
same(struct bytes a, struct bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static void
entries(void)
{
	struct journal_entry n = full_entry(), m;
	uint8_t bytes[JOURNAL_ARGUMENTS_MAX + 16], again[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, bytes);
	bool refused = true;

	ok(len == JOURNAL_HEAD + 4 + 5 + 4, "an entry has the length it should");
	memcpy(bytes + len, "data", 4);
	ok(journal_decode(&m, (struct bytes){ bytes, (size_t)len + 4 }) == 0 && same(m.name, n.name) &&
	    same(m.name2, n.name2) && same(m.hint, n.hint) && same(m.data, n.data) && m.upto == 16 && m.attr.ctime.tv_nsec == 29 &&
	    m.victim_version == 11 && journal_encode(&m, again) == len && memcmp(bytes, again, (size_t)len) == 0,
	    "and comes back as it was");
	for (size_t cut = 0; cut < (size_t)len + 4; cut++)
		refused &= journal_decode(&m, (struct bytes){ bytes, cut }) == -EBADMSG;
	ok(refused && journal_decode(&m, (struct bytes){ bytes, (size_t)len + 5 }) == -EBADMSG, "shorter or longer ones are refused");
	bytes[0] = 0;
	ok(journal_decode(&m, (struct bytes){ bytes, (size_t)len + 4 }) == -EBADMSG, "and so is one of no kind");
	n.attr.ctime.tv_nsec = 1000000000;
	len = journal_encode(&n, bytes);
	memcpy(bytes + len, "data", 4);
	ok(journal_decode(&m, (struct bytes){ bytes, (size_t)len + 4 }) == -EBADMSG, "or of no time");
	bytes[0] = JOURNAL_OP;
	bytes[1] = OP_COUNT;
	ok(journal_decode(&m, (struct bytes){ bytes, (size_t)len + 4 }) == -EBADMSG, "or of an unknown operation");
}

static void
names(void)
{
	char to[NAME_MAX_BYTES + 1], longest[NAME_MAX_BYTES + 1];
	struct timespec when = { .tv_sec = 86400 * 365 };

	replay_name(text("a.txt"), "laptop", when, 1, to);
	ok(strcmp(to, "a.txt (conflict laptop 1971-01-01)") == 0, "the name of a conflict");
	replay_name(text("a.txt"), "laptop", when, 3, to);
	ok(strcmp(to, "a.txt (conflict laptop 1971-01-01 3)") == 0, "and of the third one");
	for (size_t i = 0; i + 1 < sizeof longest; i += 2)
		memcpy(longest + i, "\xc3\xa9", 2);
	longest[NAME_MAX_BYTES - 1] = 'x';
	longest[NAME_MAX_BYTES] = '\0';
	replay_name(text(longest), "laptop", when, 1, to);
	ok(strlen(to) <= NAME_MAX_BYTES && strstr(to, "\xc3 ") == NULL && strstr(to, " (conflict laptop 1971-01-01)") != NULL,
	    "a long one is cut between characters");
	memset(longest, 0x80, NAME_MAX_BYTES);
	replay_name(text(longest), "laptop", when, 1, to);
	ok(strcmp(to, " (conflict laptop 1971-01-01)") == 0, "and what has no characters has none");
}

/* Lengths that no entry has: written, and read. */
static void
lengths(void)
{
	static uint8_t large[JOURNAL_DATA_MAX + 1];
	static const struct { unsigned at, bytes; size_t most; const char *what; } fields[] = {
		{ 2, 2, NAME_MAX_BYTES, "a name" }, { 4, 2, SYMLINK_MAX, "another" }, { 6, 2, NAME_MAX_BYTES, "a hint" },
		{ 8, 4, JOURNAL_DATA_MAX, "data" },
	};
	static uint8_t bytes[JOURNAL_ARGUMENTS_MAX + JOURNAL_DATA_MAX];

	for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct journal_entry n = { .kind = JOURNAL_OP, .type = OP_WRITE, .ino = 1 }, m;
		struct bytes *field[] = { &n.name, &n.name2, &n.hint, &n.data };
		ssize_t len;
		bool most;

		*field[i] = (struct bytes){ large, fields[i].most };
		len = journal_encode(&n, bytes);
		if (i < 3)
			most = len > 0 && journal_decode(&m, (struct bytes){ bytes, (size_t)len }) == 0;
		else
			most = len == JOURNAL_HEAD && journal_decode(&m, (struct bytes){ bytes, (size_t)len + JOURNAL_DATA_MAX }) == 0;
		field[i]->len++;
		ok(most && journal_encode(&n, large) == -EINVAL, "%s may be of %zu bytes and no more", fields[i].what, fields[i].most);
		for (unsigned k = 0; k < fields[i].bytes; k++)
			bytes[fields[i].at + k] = (uint8_t)((fields[i].most + 1) >> 8 * (fields[i].bytes - 1 - k));
		ok(journal_decode(&m, (struct bytes){ bytes, JOURNAL_HEAD + fields[i].most + 1 }) == -EBADMSG, "nor on a disk");
	}
	bytes[8] = bytes[9] = bytes[10] = bytes[11] = 0;
	bytes[0] = JOURNAL_KINDS;
	ok(journal_decode(&(struct journal_entry){ 0 }, (struct bytes){ bytes, JOURNAL_HEAD }) == -EBADMSG, "nor is there a kind after the last");
}

/* ---- the file ---- */

static const char *
directory(void)
{
	static char path[300];

	snprintf(path, sizeof path, "%s/journal", root);
	return path;
}

static struct journal_file *
opened(void)
{
	struct journal_file *j = NULL;
	int r = journal_file_open(&j, directory(), volume);

	if (r < 0)
		printf("# %s: %s\n", directory(), strerror(-r));
	return r < 0 ? NULL : j;
}

/* Entry `number` is an OP whose uid is its number, with that much data behind it. */
static int
append(struct journal_file *j, uint64_t number, size_t data_len, bool sync)
{
	static uint8_t data[1 << 20];
	struct journal_entry n = { .kind = JOURNAL_OP, .type = OP_WRITE, .uid = (uint32_t)number, .data = { data, data_len } };
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, arguments);
	const struct engine_journal *sink = journal_file_sink(j);

	memset(data, (int)number, data_len);
	return sink->append(sink->context, number, (struct bytes){ arguments, (size_t)len }, n.data, sync);
}

struct found {
	uint64_t	first, count;
	bool		good;
};

static int
look(void *context, uint64_t number, struct bytes entry)
{
	struct found *f = context;
	struct journal_entry n;

	if (f->count++ == 0)
		f->first = number;
	f->good &= number == f->first + f->count - 1 && journal_decode(&n, entry) == 0 &&
	    (n.kind != JOURNAL_OP || (n.uid == number && (n.data.len == 0 || n.data.data[n.data.len - 1] == (uint8_t)number)));
	return 0;
}

static struct found
read_all(struct journal_file *j)
{
	struct found f = { .good = true };

	journal_file_each(j, look, &f);
	return f;
}

/* A process appends until it is killed, telling of each one. */
static void
killed(void)
{
	struct journal_file *j;
	struct found f;
	int told[2], status;
	uint64_t last = 0, number;
	pid_t pid;

	if (pipe(told) < 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		j = opened();
		journal_file_begin(j, 77);
		for (number = 1;; number++) {
			append(j, number, number * 997 % 20000, false);
			if (write(told[1], &number, sizeof number) < 0)
				_exit(1);
		}
	}
	close(told[1]);
	for (unsigned i = 0; i < 3000 && read(told[0], &number, sizeof number) == sizeof number; i++)
		last = number;
	kill(pid, SIGKILL);
	while (read(told[0], &number, sizeof number) == sizeof number)
		last = number;
	waitpid(pid, &status, 0);
	close(told[0]);
	j = opened();
	f = read_all(j);
	printf("# told of %llu, found %llu\n", (unsigned long long)last, (unsigned long long)f.count);
	ok(f.good && f.first == 1 && (f.count == last || f.count == last + 1), "after a kill -9 every entry is there");
	ok(journal_file_session(j) == 77 && journal_file_whole(j) && journal_file_count(j) == f.count,
	    "and it is known whose they are, and that none is missing");
	ok(append(j, f.count + 1, 10, true) == 0 && append(j, f.count + 1, 10, true) == -EINVAL,
	    "it goes on behind them, with the number that is due");
	journal_file_close(j);
	j = opened();
	ok(read_all(j).count == f.count + 1, "and finds them all once more");
	ok(journal_file_reset(j) == 0 && read_all(j).count == 0, "emptied, it is empty");
	journal_file_close(j);
	j = opened();
	ok(read_all(j).count == 0, "also when it is opened again");
	journal_file_close(j);
}

static uint8_t *
map_segment(unsigned name, int *fd)
{
	char path[320];

	snprintf(path, sizeof path, "%s/%u", directory(), name);
	*fd = open(path, O_RDWR);
	return mmap(NULL, SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
}

/* The one with entries: the thread that makes spare ones may have been faster, or slower, than the first entry. */
static unsigned
live_segment(void)
{
	static const uint8_t none[4];
	unsigned name = 0;

	for (bool live = false; !live; name++) {
		int fd;
		uint8_t *map = map_segment(name, &fd);

		if (map == MAP_FAILED && name > 100)
			abort();
		live = map != MAP_FAILED && memcmp(map + SEGMENT_HEAD, none, sizeof none) != 0;
		if (map != MAP_FAILED)
			munmap(map, SEGMENT_SIZE);
		close(fd);
	}
	return name - 1;
}

/* Bytes of an entry are changed: it and what follows are gone, what stands before is not. */
static void
torn(void)
{
	struct journal_file *j = opened();
	struct found f;
	uint8_t *map, *copy = malloc(SEGMENT_SIZE);
	const size_t size = (24 + JOURNAL_HEAD + 100 + 7) & ~(size_t)7, head = SEGMENT_HEAD;
	unsigned name;
	bool good = true, header = true;
	int fd;

	for (uint64_t n = 1; n <= 20; n++)
		append(j, n, 100, false);
	journal_file_close(j);
	name = live_segment();
	map = map_segment(name, &fd);
	memcpy(copy, map, SEGMENT_SIZE);
	for (size_t at = head; at < head + 20 * size; at += 13) {
		memcpy(map, copy, SEGMENT_SIZE);
		map[at] ^= 0x40;
		j = opened();
		f = read_all(j);
		journal_file_close(j);
		/* The padding of an entry is nobody's. */
		good &= f.good && (f.count == (at - head) / size || (f.count == 20 && (at - head) % size >= 24 + JOURNAL_HEAD + 100));
	}
	ok(good, "a damaged entry ends the journal, and no other");
	for (size_t at = 0; at < head; at++) {
		memcpy(map, copy, SEGMENT_SIZE);
		map[at] ^= 1;
		j = NULL;
		header &= journal_file_open(&j, directory(), volume) == -ENOTSUP || (j != NULL && read_all(j).count == 0);
		journal_file_close(j);
		munmap(map, SEGMENT_SIZE);
		close(fd);
		map = map_segment(name, &fd);
		if (map == MAP_FAILED)		/* it was taken for an empty one, and removed */
			break;
	}
	ok(header, "a segment whose head is damaged is none");
	if (map != MAP_FAILED)
		munmap(map, SEGMENT_SIZE);
	close(fd);
	free(copy);
}

/* Segments are used again: what is dead does not come back. */
static void
recycled(void)
{
	struct journal_file *j = opened();
	const struct engine_journal *sink = journal_file_sink(j);
	uint64_t number = sink->next, first;
	struct found f;
	struct stat st;
	char path[320];
	unsigned files = 0;

	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < 2; k++)
			append(j, number++, 1 << 20, false);
		sink->trim(sink->context, number - 1);
	}
	first = number - 1;
	f = read_all(j);
	ok(f.good && f.first <= first && f.first + f.count == number, "what is live is there, in order");
	for (unsigned i = 0; i < 64; i++) {
		snprintf(path, sizeof path, "%s/%u", directory(), i);
		files += stat(path, &st) == 0;
		if (stat(path, &st) == 0 && (st.st_mode & 0777) != 0600)
			files += 100;
	}
	ok(files <= 12, "200 MiB of it took %u segments, for their owner alone", files);
	journal_file_close(j);
	j = opened();
	f = read_all(j);
	ok(f.good && f.first <= first && f.first + f.count == number, "and read back");
	ok(append(j, number, 1 << 20, true) == 0, "and continued");
	journal_file_reset(j);
	journal_file_close(j);
}

static void
another_volume(void)
{
	static const uint8_t other[VOLUME_ID_SIZE] = "another volume";
	struct journal_file *j = opened();

	append(j, journal_file_sink(j)->next, 10, true);
	journal_file_close(j);
	ok(journal_file_open(&j, directory(), other) == -ENXIO, "another volume's journal is refused");
	j = opened();
	ok(read_all(j).count == 1, "and left alone");
	journal_file_close(j);
}

/* ---- what is to be run ---- */

static void
add(struct replay *r, uint64_t number, struct journal_entry n)
{
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, arguments);
	static uint8_t kept[64][JOURNAL_ARGUMENTS_MAX];

	memcpy(kept[number], arguments, (size_t)len);
	if (len < 0 || replay_add(r, number, (struct bytes){ kept[number], (size_t)len }) < 0)
		abort();
}

#define NAME(ino_)	((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = 2, .child = ino_ })
#define CONTENT(ino_)	((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_WRITE, .ino = ino_, .version = 1 })
#define SESSION(id_, boot_) ((struct journal_entry){ .kind = JOURNAL_SESSION, .ino = id_, .version = boot_ })
#define LOST(ino_)	((struct journal_entry){ .kind = JOURNAL_LOSS, .ino = ino_ })
#define MARK(kind_, sequence_, upto_) ((struct journal_entry){ .kind = kind_, .sequence = sequence_, .upto = upto_ })

static void
plans(void)
{
	struct replay *r;

	replay_new(&r, "here", true);
	ok(!replay_needed(r), "an empty journal needs nothing");
	add(r, 1, NAME(20));
	add(r, 2, CONTENT(20));
	add(r, 3, MARK(JOURNAL_FREEZE, 1, 2));
	ok(replay_needed(r) && replay_waiting(r) == 2, "what is not known to be dead is needed");
	add(r, 4, MARK(JOURNAL_TRIM, 1, 4));
	ok(!replay_needed(r), "trimmed, it is not");
	add(r, 5, CONTENT(20));
	add(r, 6, CONTENT(21));
	add(r, 7, (struct journal_entry){ .kind = JOURNAL_CLEAN, .ino = 20 });
	ok(replay_waiting(r) == 1, "what is clean is not needed");
	add(r, 8, LOST(21));
	add(r, 9, MARK(JOURNAL_LOSS, 2, 0));
	add(r, 10, (struct journal_entry){ .kind = JOURNAL_CLEAN, .ino = 21 });
	ok(replay_waiting(r) == 1, "what was lost is not made clean by what came later");
	add(r, 11, (struct journal_entry){ .kind = JOURNAL_OP, .type = OP_WRITE, .ino = 21, .upto = 6 });
	ok(replay_waiting(r) == 1, "run again it is there once, under another number");
	add(r, 12, (struct journal_entry){ .kind = JOURNAL_CLEAN, .ino = 21 });
	ok(replay_waiting(r) == 0, "and dies as that does");
	replay_free(r);
	replay_new(&r, "here", true);
	add(r, 1, NAME(20));
	add(r, 2, CONTENT(21));
	add(r, 3, CONTENT(22));
	add(r, 4, LOST(21));
	add(r, 5, MARK(JOURNAL_LOSS, 1, 0));
	add(r, 6, CONTENT(22));
	add(r, 7, MARK(JOURNAL_REDONE, 0, 7));
	ok(replay_waiting(r) == 2, "once all of it was run again what was lost is dead, and nothing else");
	add(r, 8, CONTENT(21));
	add(r, 9, LOST(21));
	add(r, 10, MARK(JOURNAL_LOSS, 1, 0));
	add(r, 11, MARK(JOURNAL_TRIM, 1, 11));
	ok(replay_waiting(r) == 1, "what is lost after that is lost anew");
	replay_free(r);
	replay_new(&r, "here", true);
	add(r, 1, NAME(20));
	add(r, 2, MARK(JOURNAL_FREEZE, 5, 1));
	add(r, 3, NAME(21));
	add(r, 4, MARK(JOURNAL_FREEZE, 6, 3));
	add(r, 5, MARK(JOURNAL_FREEZE, 5, 3));
	add(r, 6, MARK(JOURNAL_LOSS, 6, 0));
	add(r, 7, MARK(JOURNAL_TRIM, 5, 7));
	ok(replay_waiting(r) == 0, "what was in a commit that was taken back is in the one that has its place");
	replay_free(r);
}

static void
fill(void *context, void *to, size_t len)
{
	(void)context;
	memset(to, 7, len);
}

/* The leases that a new engine claims, as bits of their object ids. */
static uint64_t
claims(struct replay *r)
{
	static const uint8_t key[KEY_SIZE] = { 1 };
	struct engine_config config = { .random = fill };
	struct volume_keys *keys = volume_keys_new(key, volume);
	struct msg_attached a = { .session = 5, .credit = CREDIT_MAX, .boot = 3, .term_ms = TERM_MS, .first_oid = 1000, .oid_count = 1000, .sessions = 1 };
	struct engine *e = NULL;
	struct action *action;
	uint64_t bits = 0;

	if (keys == NULL || engine_new(&e, &config, keys) < 0 || replay_adopt(r, e) < 0)
		abort();
	engine_clock(e, 1000, (struct timespec){ 0 });
	engine_attached(e, &a, false);
	while ((action = engine_next(e)) != NULL) {
		for (uint32_t i = 0; action->kind == ACTION_SEND && action->message.type == MSG_reclaim &&
		    i < action->message.reclaim.leases.count; i++)
			bits |= UINT64_C(1) << action->message.reclaim.leases.at[i].oid;
		action_free(action);
	}
	engine_free(e);
	volume_keys_free(keys);
	return bits;
}

static void
leases(void)
{
	struct replay *r;

	replay_new(&r, "here", true);
	add(r, 1, SESSION(5, 3));
	add(r, 2, CONTENT(20));
	add(r, 3, CONTENT(21));
	add(r, 4, CONTENT(22));
	add(r, 5, (struct journal_entry){ .kind = JOURNAL_CLEAN, .ino = 21 });
	add(r, 6, (struct journal_entry){ .kind = JOURNAL_AWAY, .ino = 22 });
	ok(claims(r) == UINT64_C(1) << 20, "what was given away is not claimed");
	add(r, 7, CONTENT(21));
	ok(claims(r) == (UINT64_C(1) << 20 | UINT64_C(1) << 21), "unless it was leased again");
	add(r, 8, SESSION(5, 2));
	ok(claims(r) == 0, "nor what a server that has started anew may have given to others");
	add(r, 9, SESSION(5, 3));
	add(r, 10, MARK(JOURNAL_LOSS, 1, 0));
	ok(claims(r) == 0, "nor what may have been lost");
	replay_free(r);
	replay_new(&r, "here", false);
	add(r, 1, SESSION(5, 3));
	add(r, 2, CONTENT(20));
	ok(claims(r) == 0, "nor anything when the journal's end may be missing");
	replay_free(r);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

int
main(void)
{
	if (mkdtemp(scratch(root, sizeof root, "nuage-journal")) == NULL)
		return 99;
	entries();
	lengths();
	names();
	killed();
	torn();
	recycled();
	another_volume();
	plans();
	leases();
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
