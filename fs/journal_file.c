/*
 * journal_file.c - see journal_file.h.
 *
 *	segment:	magic (8), version (u32), of the machine's start (u32), volume id (16), session (u64),
 *			number of its first entry (u64), of the segment itself (u64),
 *			checksum of these (u64); then entries
 *	entry:		length (u32), 0 (u32), number (u64), checksum of length,
 *			number and body (u64); the body (journal.c); padding to 8
 *
 * Big-endian; checksums are XXH3-64.  The header of an entry is written after
 * its body.  A segment that is used again holds old entries behind its new
 * ones: their numbers are lower than the next one due, which ends reading as
 * a torn entry does.
 *
 * Invariants:
 * 1. Entry numbers are consecutive, within and across live segments.
 * 2. A segment is dead when all its entries are before the floor; its magic is
 *    wiped before it is used again.
 * 3. `live` is in order; its last one is appended to.
 *
 * Lock: j->lock, inside the shell's.  No I/O under it but what append() must
 * do when no segment is ready.
 */
#include "fs/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/clock.h"
#include "fs/lock.h"
#include "fs/log.h"

enum {
	SEGMENT_SIZE	= 8 * 1024 * 1024,
	SEGMENT_HEAD	= 64,
	ENTRY_HEAD	= 24,
	SEGMENTS_MAX	= 4096,
	RESERVE		= 128 * 1024,		/* of a segment, for what is synced: a journal is run again on a full disk too */
	LIVE_MAX	= 256 * 1024 * 1024,	/* bytes of live entries, more or less */
	SPARE_LOW	= 2, SPARE_HIGH = 8,	/* empty segments kept ready: at least, and at most, */
	REST_MS		= 10 * 1000,		/* but not before none was begun for so long: making them anew is dear */
	PAUSE_MS	= 500,
	SYNC_MS		= 5000,			/* what lives longer is brought to the disk */
};

static const char magic[8] = "nuagejnl";

struct segment {
	TAILQ_ENTRY(segment) link;
	unsigned	 name;
	int		 fd;
	uint8_t		*map;
	size_t		 used;
	uint64_t	 first, next;		/* numbers of its first entry, and after its last */
	uint64_t	 serial;
	uint64_t	 unsynced_ms;		/* since when; 0: all of it is on the disk */
	bool		 foreign;		/* of another start of the machine */
};
TAILQ_HEAD(segments, segment);

struct journal_file {
	pthread_mutex_t	 lock;
	pthread_cond_t	 change;
	struct segments	 live, spare;
	unsigned	 spare_count;
	uint8_t		 taken[SEGMENTS_MAX / 8];	/* names in use */
	uint64_t	 next, serial, session, read_session, read_count;
	uint64_t	 floor;
	uint32_t	 boot;			/* tells one start of the machine from another */
	bool		 cut;			/* entries of an earlier one are there */
	bool		 stopping, thread_runs, directory_dirty;
	uint64_t	 begun_ms;		/* when the last segment was begun */
	bool		 waits;			/* the thread does, until there is something to bring to the disk */
	pthread_t	 thread;
	struct engine_journal sink;
	uint8_t		 volume[VOLUME_ID_SIZE];
	char		 directory[];
};

/* ---- segments ---- */

static void
head_put(const struct journal_file *j, const struct segment *s)
{
	struct cursor c = cursor_over(s->map, SEGMENT_HEAD);

	cursor_put(&c, magic, sizeof magic);
	cursor_put_u32(&c, JOURNAL_FORMAT);
	cursor_put_u32(&c, j->boot);
	cursor_put(&c, j->volume, VOLUME_ID_SIZE);
	cursor_put_u64(&c, j->session);
	cursor_put_u64(&c, s->first);
	cursor_put_u64(&c, s->serial);
	cursor_put_u64(&c, XXH3_64bits(s->map, SEGMENT_HEAD - 8));
}

/* 0, -EBADMSG: empty, wiped or damaged; -ENOTSUP; -ENXIO: another volume's. */
static int
head_get(const struct journal_file *j, struct segment *s, uint64_t *ret_session)
{
	struct cursor c = cursor_read(s->map, SEGMENT_HEAD);
	uint8_t found[sizeof magic], volume[VOLUME_ID_SIZE];
	uint32_t version, boot;

	cursor_get(&c, found, sizeof found);
	version = cursor_get_u32(&c);
	boot = cursor_get_u32(&c);
	cursor_get(&c, volume, sizeof volume);
	*ret_session = cursor_get_u64(&c);
	s->first = s->next = cursor_get_u64(&c);
	s->serial = cursor_get_u64(&c);
	if (memcmp(found, magic, sizeof magic) != 0 || cursor_get_u64(&c) != XXH3_64bits(s->map, SEGMENT_HEAD - 8))
		return -EBADMSG;
	if (version != JOURNAL_FORMAT)
		return -ENOTSUP;
	s->foreign = boot != j->boot;
	return memcmp(volume, j->volume, sizeof volume) != 0 ? -ENXIO : 0;
}

static void
path_of(const struct journal_file *j, unsigned name, char *to, size_t size)
{
	snprintf(to, size, "%s/%u", j->directory, name);
}

static void
segment_free(struct journal_file *j, struct segment *s, bool unlink_it)
{
	char path[4096];

	if (s == NULL)
		return;
	if (s->map != NULL)
		munmap(s->map, SEGMENT_SIZE);
	if (s->fd >= 0)
		close(s->fd);
	path_of(j, s->name, path, sizeof path);
	if (unlink_it && unlink(path) < 0 && errno != ENOENT)
		log_error("%s: %s", path, strerror(errno));
	free(s);
}

/* Opens or makes the file of that name, all of its room reserved. */
static int
segment_open(struct journal_file *j, unsigned name, bool make, struct segment **ret)
{
	struct segment *s = calloc(1, sizeof *s);
	char path[4096];
	struct stat st;
	int r = 0;

	if (s == NULL)
		return -ENOMEM;
	s->name = name;
	path_of(j, name, path, sizeof path);
	s->fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (s->fd < 0)
		r = -errno;
	else if (make)
		r = -posix_fallocate(s->fd, 0, SEGMENT_SIZE);
	else if (fstat(s->fd, &st) < 0 || st.st_size != SEGMENT_SIZE)
		r = -EBADMSG;		/* died while it was made */
	if (r == 0) {
		s->map = mmap(NULL, SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
		if (s->map == MAP_FAILED) {
			s->map = NULL;
			r = -errno;
		}
	}
#ifdef MADV_POPULATE_WRITE
	/* So that appends do not fault; and a disk that fails does so here, not by a signal. */
	if (r == 0 && make && madvise(s->map, SEGMENT_SIZE, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		r = -errno;
#endif
	if (r < 0)
		segment_free(j, s, make);
	else
		*ret = s;
	return r;
}

static bool
name_taken(const struct journal_file *j, unsigned name)
{
	return j->taken[name / 8] >> name % 8 & 1;
}

static int
segment_make(struct journal_file *j, struct segment **ret)
{
	unsigned name = 0;
	int r;

	{
		LOCK_SCOPE(&j->lock);
		while (name < SEGMENTS_MAX && name_taken(j, name))
			name++;
		if (name == SEGMENTS_MAX)
			return -ENOSPC;
		j->taken[name / 8] |= (uint8_t)(1 << name % 8);
	}
	r = segment_open(j, name, true, ret);
	LOCK_SCOPE(&j->lock);
	if (r < 0)
		j->taken[name / 8] &= (uint8_t)~(1 << name % 8);
	else
		j->directory_dirty = true;
	return r;
}

/* ---- appending ---- */

/* j->lock held; an empty segment becomes the one that is appended to. */
static void
segment_begin(struct journal_file *j, struct segment *s)
{
	s->first = s->next = j->next;
	s->serial = ++j->serial;
	s->used = SEGMENT_HEAD;
	head_put(j, s);
	s->unsynced_ms = 0;
	j->begun_ms = clock_ms(CLOCK_MONOTONIC);
	TAILQ_INSERT_TAIL(&j->live, s, link);
}

static struct segment *
spare_take(struct journal_file *j)
{
	struct segment *s = TAILQ_FIRST(&j->spare);

	if (s != NULL) {
		TAILQ_REMOVE(&j->spare, s, link);
		j->spare_count--;
	}
	return s;
}

/* Where `need` bytes more can go: the last segment, or the next. */
static int
find_room(struct journal_file *j, size_t need, bool sync, struct segment **ret)
{
	size_t end = SEGMENT_SIZE - (sync ? 0 : RESERVE);
	struct segment *s;
	int r;

	{
		LOCK_SCOPE(&j->lock);
		s = TAILQ_LAST(&j->live, segments);
		if (s == NULL || s->used + need > end) {
			s = spare_take(j);
			if (s != NULL)
				segment_begin(j, s);
			pthread_cond_signal(&j->change);
		}
	}
	if (s == NULL) {
		if ((r = segment_make(j, &s)) < 0)
			return r;
		LOCK_SCOPE(&j->lock);
		segment_begin(j, s);
	}
	*ret = s;
	return 0;
}

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	struct journal_file *j = context;
	size_t len = arguments.len + data.len, need = (ENTRY_HEAD + len + 7) & ~(size_t)7;
	uint8_t head[16], *at;
	struct cursor c = cursor_over(head, sizeof head), h;
	struct segment *s;
	int r;

	if (need > SEGMENT_SIZE - SEGMENT_HEAD - RESERVE)
		return -EFBIG;
	if (number != j->next)
		return -EINVAL;
	if ((r = find_room(j, need, sync, &s)) < 0)
		return r;
	at = s->map + s->used;
	if (arguments.len > 0)
		memcpy(at + ENTRY_HEAD, arguments.data, arguments.len);
	if (data.len > 0)
		memcpy(at + ENTRY_HEAD + arguments.len, data.data, data.len);
	cursor_put_u32(&c, (uint32_t)len);
	cursor_put_u32(&c, 0);
	cursor_put_u64(&c, number);
	h = cursor_over(at, ENTRY_HEAD);
	cursor_put(&h, head, sizeof head);
	cursor_put_u64(&h, XXH3_64bits_withSeed(at + ENTRY_HEAD, len, XXH3_64bits(head, sizeof head)));
	{
		LOCK_SCOPE(&j->lock);
		s->used += need;
		s->next = ++j->next;
		if (s->unsynced_ms == 0) {
			s->unsynced_ms = clock_ms(CLOCK_MONOTONIC);
			if (j->waits)
				pthread_cond_signal(&j->change);
		}
	}
	return sync ? journal_file_sync(j) : 0;
}

static void
trim(void *context, uint64_t upto)
{
	struct journal_file *j = context;
	struct segment *s;

	LOCK_SCOPE(&j->lock);
	j->floor = upto;
	while ((s = TAILQ_FIRST(&j->live)) != NULL && s->next <= upto && (TAILQ_NEXT(s, link) != NULL || s->next == upto)) {
		TAILQ_REMOVE(&j->live, s, link);
		memset(s->map, 0, SEGMENT_HEAD);
		/* Taken first, while its pages are in the processor's caches. */
		TAILQ_INSERT_HEAD(&j->spare, s, link);
		j->spare_count++;
	}
	if (j->spare_count > SPARE_HIGH)
		pthread_cond_signal(&j->change);
}

/* ---- the thread ---- */

/* Syncs what is older than that; 0: all. */
static int
sync_older(struct journal_file *j, uint64_t age_ms)
{
	uint64_t now = clock_ms(CLOCK_MONOTONIC);
	bool directory = false;
	int fds[64], r = 0, fd;
	size_t count = 0;

	{
		LOCK_SCOPE(&j->lock);
		for (struct segment *s = TAILQ_FIRST(&j->live); s != NULL && count < 64; s = TAILQ_NEXT(s, link)) {
			if (s->unsynced_ms == 0 || (age_ms > 0 && count == 0 && now - s->unsynced_ms < age_ms))
				continue;
			/* Another descriptor: the segment may be given up meanwhile. */
			if ((fds[count] = fcntl(s->fd, F_DUPFD_CLOEXEC, 0)) < 0)
				return -errno;
			s->unsynced_ms = 0;
			count++;
		}
		directory = count > 0 && j->directory_dirty;
		if (directory)
			j->directory_dirty = false;
	}
	for (size_t i = 0; i < count; i++) {
		if (fdatasync(fds[i]) < 0)
			r = -errno;
		close(fds[i]);
	}
	if (directory && (fd = open(j->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
		if (fsync(fd) < 0)
			r = -errno;
		close(fd);
	}
	return r;
}

/* Under the lock: there are too many spares. */
static bool
has_excess(const struct journal_file *j)
{
	return j->spare_count > SPARE_HIGH && clock_ms(CLOCK_MONOTONIC) - j->begun_ms >= REST_MS;
}

static void
tend(struct journal_file *j, bool *full)
{
	struct segment *s = NULL;
	unsigned spares;
	int r;

	for (;;) {
		{
			LOCK_SCOPE(&j->lock);
			spares = j->spare_count;
			s = has_excess(j) ? spare_take(j) : NULL;
			if (s != NULL)
				j->taken[s->name / 8] &= (uint8_t)~(1 << s->name % 8);
		}
		if (s != NULL) {
			segment_free(j, s, true);
			continue;
		}
		if (spares >= SPARE_LOW)
			break;
		if ((r = segment_make(j, &s)) < 0) {
			if (!*full)
				log_warning("the journal cannot grow (%s): what does not fit into it is answered when the server has it",
				    strerror(-r));
			*full = true;
			break;
		}
		if (*full)
			log_info("the journal can grow again");
		*full = false;
		LOCK_SCOPE(&j->lock);
		TAILQ_INSERT_TAIL(&j->spare, s, link);
		j->spare_count++;
	}
	if ((r = sync_older(j, SYNC_MS)) < 0)
		log_error("the journal cannot be brought to the disk: %s", strerror(-r));
}

/* Under the lock. */
static bool
is_unsynced(const struct journal_file *j)
{
	const struct segment *s;

	TAILQ_FOREACH(s, &j->live, link)
		if (s->unsynced_ms != 0)
			return true;
	return false;
}

static void *
thread_main(void *argument)
{
	struct journal_file *j = argument;
	bool full = false;

	for (;;) {
		tend(j, &full);
		LOCK_SCOPE(&j->lock);
		j->waits = !full && !is_unsynced(j) && j->spare_count <= SPARE_HIGH;
		if (!j->stopping && (j->spare_count >= SPARE_LOW || full) && !has_excess(j)) {
			if (j->waits)
				pthread_cond_wait(&j->change, &j->lock);
			else
				lock_wait_ms(&j->change, &j->lock, PAUSE_MS);
		}
		j->waits = false;
		if (j->stopping)
			return NULL;
	}
}

int
journal_file_sync(struct journal_file *j)
{
	return sync_older(j, 0);
}

/* ---- reading ---- */

/* The entry at s->used, if it is the one that is due. */
static bool
entry_get(const struct segment *s, struct bytes *ret, size_t *ret_end)
{
	struct cursor c = cursor_read(s->map + s->used, ENTRY_HEAD);
	uint32_t len;
	uint64_t number;

	if (s->used + ENTRY_HEAD > SEGMENT_SIZE)
		return false;
	len = cursor_get_u32(&c);
	cursor_get_u32(&c);
	number = cursor_get_u64(&c);
	if (number != s->next || len > SEGMENT_SIZE - ENTRY_HEAD - s->used)
		return false;
	if (cursor_get_u64(&c) != XXH3_64bits_withSeed(s->map + s->used + ENTRY_HEAD, len,
	    XXH3_64bits(s->map + s->used, 16)))
		return false;
	*ret = (struct bytes){ s->map + s->used + ENTRY_HEAD, len };
	*ret_end = s->used + ((ENTRY_HEAD + len + 7) & ~(size_t)7);
	return true;
}

int
journal_file_each(struct journal_file *j, int (*each)(void *context, uint64_t number, struct bytes entry), void *context)
{
	struct segment *s;
	int r = 0;

	LOCK_SCOPE(&j->lock);
	TAILQ_FOREACH(s, &j->live, link) {
		struct segment at = *s;
		struct bytes entry;
		size_t end;

		at.used = SEGMENT_HEAD;
		at.next = s->first;
		for (; r == 0 && at.next < s->next && entry_get(&at, &entry, &end); at.used = end, at.next++)
			r = each(context, at.next, entry);
	}
	return r;
}

static void
insert_by_first(struct segments *list, struct segment *s)
{
	struct segment *at;

	TAILQ_FOREACH(at, list, link)
		if (at->first > s->first) {
			TAILQ_INSERT_BEFORE(at, s, link);
			return;
		}
	TAILQ_INSERT_TAIL(list, s, link);
}

/* Follows the entries from the first segment to where they end; what lies behind is of no use. */
static void
find_end(struct journal_file *j)
{
	struct segment *s, *next;
	bool ended = false;

	for (s = TAILQ_FIRST(&j->live); s != NULL; s = next) {
		struct bytes entry;
		size_t end;

		next = TAILQ_NEXT(s, link);
		if (j->next != 0 && s->first != j->next)
			ended = true;
		if (ended) {
			log_warning("the journal has a gap before entry %" PRIu64 ": what is behind it cannot be used",
			    s->first);
			TAILQ_REMOVE(&j->live, s, link);
			memset(s->map, 0, SEGMENT_HEAD);
			TAILQ_INSERT_TAIL(&j->spare, s, link);
			j->spare_count++;
			j->cut = true;
			continue;
		}
		s->used = SEGMENT_HEAD;
		while (entry_get(s, &entry, &end)) {
			s->used = end;
			s->next++;
		}
		j->read_count += s->next - s->first;
		j->next = s->next;
		j->serial = s->serial > j->serial ? s->serial : j->serial;
	}
}

static int
load(struct journal_file *j, unsigned name)
{
	struct segment *s;
	uint64_t session;
	int r = segment_open(j, name, false, &s);

	if (r == -EBADMSG)
		return 0;		/* its making was not finished: made again when its name is needed */
	if (r < 0)
		return r;
	j->taken[name / 8] |= (uint8_t)(1 << name % 8);
	r = head_get(j, s, &session);
	if (r == -EBADMSG) {
		TAILQ_INSERT_TAIL(&j->spare, s, link);
		j->spare_count++;
		return 0;
	}
	if (r < 0) {
		segment_free(j, s, false);
		return r;
	}
	s->unsynced_ms = 1;
	insert_by_first(&j->live, s);
	j->cut |= s->foreign;
	if (TAILQ_NEXT(s, link) == NULL)
		j->read_session = session;
	return 0;
}

static int
load_all(struct journal_file *j)
{
	struct dirent *e;
	unsigned name;
	char *end;
	DIR *d;
	int r = 0;

	if (mkdir(j->directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	if ((d = opendir(j->directory)) == NULL)
		return -errno;
	while (r == 0 && (e = readdir(d)) != NULL) {
		name = (unsigned)strtoul(e->d_name, &end, 10);
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && *end == '\0' && name < SEGMENTS_MAX)
			r = load(j, name);
	}
	closedir(d);
	if (r == 0)
		find_end(j);
	return r;
}

/* ---- life ---- */

static uint32_t
boot_number(void)
{
	char id[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (f != NULL && fgets(id, sizeof id, f) == NULL)
		id[0] = '\0';
	if (f != NULL)
		fclose(f);
	return (uint32_t)XXH3_64bits(id, strlen(id));
}

int
journal_file_open(struct journal_file **ret, const char *directory, const uint8_t volume[VOLUME_ID_SIZE])
{
	struct journal_file *j = calloc(1, sizeof *j + strlen(directory) + 1);
	int r;

	if (j == NULL)
		return -ENOMEM;
	strcpy(j->directory, directory);
	memcpy(j->volume, volume, VOLUME_ID_SIZE);
	j->boot = boot_number();
	lock_init(&j->lock);
	lock_cond_init(&j->change);
	TAILQ_INIT(&j->live);
	TAILQ_INIT(&j->spare);
	r = load_all(j);
	if (j->next == 0)
		j->next = 1;
	j->session = j->read_session;
	j->sink = (struct engine_journal){ .append = append, .trim = trim, .context = j, .next = j->next, .max = LIVE_MAX };
	if (r < 0)
		journal_file_close(j);
	else
		*ret = j;
	return r;
}

void
journal_file_close(struct journal_file *j)
{
	struct segment *s;

	if (j == NULL)
		return;
	if (j->thread_runs) {
		{
			LOCK_SCOPE(&j->lock);
			j->stopping = true;
			pthread_cond_signal(&j->change);
		}
		pthread_join(j->thread, NULL);
	}
	while ((s = TAILQ_FIRST(&j->live)) != NULL) {
		TAILQ_REMOVE(&j->live, s, link);
		segment_free(j, s, false);
	}
	while ((s = spare_take(j)) != NULL)
		segment_free(j, s, true);
	pthread_cond_destroy(&j->change);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

uint64_t
journal_file_count(const struct journal_file *j)
{
	return j->read_count;
}

bool
journal_file_whole(const struct journal_file *j)
{
	return !j->cut;
}

uint64_t
journal_file_session(const struct journal_file *j)
{
	return j->read_session;
}

const struct engine_journal *
journal_file_sink(struct journal_file *j)
{
	j->sink.next = j->next;
	/* Without it segments are made when they are needed, and nothing is synced that nobody asks for. */
	if (!j->thread_runs)
		j->thread_runs = pthread_create(&j->thread, NULL, thread_main, j) == 0;
	return &j->sink;
}

void
journal_file_begin(struct journal_file *j, uint64_t session)
{
	struct segment *s;

	LOCK_SCOPE(&j->lock);
	/* What is there is still the other's. */
	if (j->read_count > 0 || j->session == session)
		return;
	j->session = session;
	s = TAILQ_LAST(&j->live, segments);
	if (s != NULL)
		head_put(j, s);
}

int
journal_file_reset(struct journal_file *j)
{
	struct journal_entry all = { .kind = JOURNAL_TRIM, .upto = j->next + 1 };
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&all, arguments);
	struct segment *s;
	int r;

	/* If this is interrupted, the last segment says that what is left is dead. */
	r = TAILQ_EMPTY(&j->live) ? 0 : append(j, j->next, (struct bytes){ arguments, (size_t)len },
	    (struct bytes){ NULL, 0 }, true);
	LOCK_SCOPE(&j->lock);
	while ((s = TAILQ_FIRST(&j->live)) != NULL) {
		TAILQ_REMOVE(&j->live, s, link);
		memset(s->map, 0, SEGMENT_HEAD);
		TAILQ_INSERT_TAIL(&j->spare, s, link);
		j->spare_count++;
	}
	j->read_count = 0;
	return r;
}
