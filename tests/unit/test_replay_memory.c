/*
 * test_replay_memory.c - a journal that is run again when memory runs out: each
 * allocation of the driver's fails once.  It says so, and the next attempt does
 * all of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/journal_world.h"

/* ---- the allocator ---- */

static struct {
	bool		armed;
	unsigned	count, fail_at;
} allocator;

static bool
fails(void)
{
	return allocator.armed && ++allocator.count == allocator.fail_at;
}

#include "tests/unit/wrap_alloc.h"

char *__real_strndup(const char *s, size_t size);
char *__wrap_strndup(const char *s, size_t size);

char *
__wrap_strndup(const char *s, size_t size)
{
	return fails() ? NULL : __real_strndup(s, size);
}

/* ---- the table of what is known ---- */

/* The first table takes so many objects; with one more it grows. */
enum { OBJECTS = 128 };

static int
add(struct replay *r, uint64_t number, struct journal_entry n)
{
	static uint8_t bytes[OBJECTS + 10][JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, bytes[number]);

	return replay_add(r, number, (struct bytes){ bytes[number], (size_t)len });
}

static void
growing(void)
{
	enum { FIRST = 7000, NEW = 9000 };
	static const struct journal_entry last[] = {
		{ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = NEW },
		{ .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = FIRST, .victim = NEW },
		{ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = FIRST, .child = NEW },
		{ .kind = JOURNAL_OP, .type = OP_LINK, .ino = FIRST, .ino2 = NEW },
		{ .kind = JOURNAL_FOREIGN, .ino = NEW }, { .kind = JOURNAL_CLEAN, .ino = NEW }, { .kind = JOURNAL_AWAY, .ino = NEW },
		{ .kind = JOURNAL_LOSS, .ino = NEW }, { .kind = JOURNAL_CONFLICT, .ino = NEW },
	};
	unsigned refused = 0, taken = 0;

	for (unsigned i = 0; i < sizeof last / sizeof last[0]; i++) {
		struct replay *r = NULL;

		replay_new(&r, "here", true);
		for (unsigned k = 0; k < OBJECTS; k++)
			add(r, k + 1, (struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FIRST + k });
		allocator.count = 0;
		/* The list of items is made longer before. */
		for (allocator.fail_at = 1; allocator.fail_at < 3; allocator.fail_at++) {
			allocator.count = 0;
			allocator.armed = true;
			refused += add(r, OBJECTS + 1, last[i]) == -ENOMEM;
			allocator.armed = false;
		}
		taken += add(r, OBJECTS + 1, last[i]) == 0 && replay_waiting(r) >= OBJECTS;
		replay_free(r);
	}
	ok(refused >= sizeof last / sizeof last[0], "no entry is taken whose object there is no memory for");
	ok(taken == sizeof last / sizeof last[0], "each is when there is some");
}

/* ---- all of it ---- */

enum { DIR = 200, COPY = 300, OPS_MAX = 60 };
enum way { NEXT_MOUNT, SAME_MOUNT, LEFT };	/* who runs it; or it is only taken over */

/* The names beside others that the server has by now. */
static char made[8][NAME_MAX_BYTES + 1];
static unsigned made_count;

/* Of two sessions: a name that is taken, content that is another's, in a directory, and a copy that an attempt noted. */
static void
write_journal(enum way way)
{
	forget();
	attached_to(SESSION + 5, BOOT + 1);
	attached_to(SESSION, BOOT + 1);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = OID_ROOT, .child = FAR + 5,
	    .name = world_text("taken"), .attr.mode = S_IFDIR | 0755 });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = notes_count });
	for (uint64_t i = 0; i < 2; i++)
		write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + i, .set = SET_SIZE, .version = 1,
		    .nlink = 1, .parent = DIR, .hint = world_text("file") });
	write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .parent = DIR, .name = world_text("old"),
	    .name2 = world_text("old (conflict)") });
	for (uint64_t i = 0; way == SAME_MOUNT && i < 2; i++)
		write_down((struct journal_entry){ .kind = JOURNAL_LOSS, .ino = FAR + i, .sequence = UINT64_MAX });
	if (way == SAME_MOUNT)
		mark(JOURNAL_LOSS, 5);
	strcpy(made[0], "old (conflict)");
	made_count = 1;
}

static unsigned
made_as(struct bytes name)
{
	unsigned i = 0;

	while (i < made_count && (strlen(made[i]) != name.len || memcmp(made[i], name.data, name.len) != 0))
		i++;
	return i;
}

static void
make(struct bytes name)
{
	memcpy(made[made_count], name.data, name.len);
	made[made_count++][name.len] = '\0';
}

/* What the server and those who changed all of it meanwhile make of an operation. */
static void
answer(struct op *op)
{
	static struct dirent_out dots[2], root[1];
	unsigned i = made_as(op->name);

	switch (op->type) {
	case OP_MKDIR:
		op->replay->verdict = made_as(op->replay->beside) < made_count ? REPLAY_THERE : REPLAY_BESIDE;
		if (op->replay->verdict == REPLAY_BESIDE)
			make(op->replay->beside);
		break;
	case OP_SETATTR:
		if (op->replay != NULL)
			op->replay->verdict = op->ino >= FAR ? REPLAY_CHANGED : REPLAY_DONE;
		break;
	case OP_GETATTR:
		op->attr = (struct attr){ .mode = S_IFREG | 0644 };
		break;
	case OP_LOOKUP:		/* no copy is as large as what it is beside */
		op->child = COPY + i;
		op->attr = (struct attr){ .mode = S_IFREG | 0644, .size = i };
		if (i == made_count && memchr(op->name.data, '(', op->name.len) != NULL)
			op->error = -ENOENT;
		break;
	case OP_MKNOD:
		op->child = COPY + i;
		make(op->name);
		break;
	case OP_READDIR:
		dots[0] = (struct dirent_out){ .ino = op->ino, .name = ".", .name_len = 1 };
		dots[1] = (struct dirent_out){ .ino = OID_ROOT, .name = "..", .name_len = 2 };
		root[0] = (struct dirent_out){ .ino = DIR, .name = "dir", .name_len = 3 };
		op->entries = op->ino == OID_ROOT ? root : dots;
		op->entries_count = op->ino == OID_ROOT ? 1 : 2;
		break;
	default:
		break;
	}
}

static int
run_all(char *done)
{
	unsigned n = 0;

	for (;;) {
		struct op *next, op;

		allocator.armed = true;
		next = replay_next(replay, w.engine);
		allocator.armed = false;
		if (next == NULL || n == OPS_MAX)
			break;
		op = *next;
		done[n++] = (char)('A' + op.type);
		answer(&op);
		allocator.armed = true;
		replay_answered(replay, &op);
		allocator.armed = false;
	}
	done[n] = '\0';
	return replay_error(replay);
}

/* One attempt, by a mount of the session, or of the one that lost it.  What it did goes to done[OPS_MAX + 1]. */
static int
attempt(enum way way, char *done, unsigned *ret_kept)
{
	struct message all = { .type = MSG_reclaimed };
	const char *path;
	int error;

	sink.next = notes_count + 1;
	world_setup_unattached(&(struct engine_config){ .journal = &sink });
	replay = NULL;
	done[0] = '\0';
	allocator.armed = true;
	error = replay_new(&replay, "here", true);
	for (size_t i = 0, count = notes_count; i < count && error == 0; i++)
		error = replay_add(replay, i + 1, (struct bytes){ notes[i].bytes, notes[i].len });
	if (error == 0 && way == NEXT_MOUNT)
		error = replay_adopt(replay, w.engine);
	allocator.armed = false;
	if (error == 0 && way != SAME_MOUNT) {
		world_attach(false, 4, false);
		engine_received(w.engine, &all);
		world_collect();
	}
	allocator.armed = true;
	if (error == 0)
		error = way == LEFT ? replay_leave(replay, w.engine) : way == NEXT_MOUNT ?
		    replay_begin(replay, w.engine, (struct timespec){ .tv_sec = 1 }) :
		    replay_redo(replay, w.engine, (struct timespec){ .tv_sec = 1 }, 0, true);
	allocator.armed = false;
	if (error == 0 && way != LEFT)
		error = run_all(done);
	for (*ret_kept = 0; replay != NULL && replay_conflict(replay, *ret_kept, &path);)
		++*ret_kept;
	replay_free(replay);
	world_teardown();
	return error;
}

/* From the beginning, with the nth allocation failing; then once more, from where that ended. */
static void
every_allocation(enum way way, const char *what)
{
	char all_of_it[OPS_MAX + 1], begun[OPS_MAX + 1], done[OPS_MAX + 1];
	unsigned most, kept, n = 0, wrong = 0;
	int error;

	allocator.fail_at = 0;
	write_journal(way);
	ok(attempt(way, all_of_it, &most) == 0 && (way == LEFT) == (all_of_it[0] == '\0') && (way == LEFT || most == 4),
	    "with memory all of it is %s (%s)", what, all_of_it);
	for (;;) {
		write_journal(way);
		allocator.count = 0;
		allocator.fail_at = ++n;
		error = attempt(way, begun, &kept);
		if (allocator.count < n)
			break;
		wrong += error != -ENOMEM || strncmp(all_of_it, begun, strlen(begun)) != 0;
		allocator.fail_at = 0;
		/* What was made beside and could not be noted is there, but is not told of. */
		wrong += attempt(way, done, &kept) != 0 || (way != LEFT && kept < most - (strlen(begun) == 1));
	}
	ok(wrong == 0 && n > 5, "any of %u allocations may fail, and the next attempt has it %s", n - 1, what);
}

int
main(void)
{
	world_begin();
	growing();
	every_allocation(NEXT_MOUNT, "run again");
	every_allocation(SAME_MOUNT, "run again by who lost it");
	every_allocation(LEFT, "left to the next mount");
	return tap_done();
}
