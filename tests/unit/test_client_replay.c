/*
 * test_client_replay.c - whose content is it that the journal, run again,
 * finds?  Ours: it is changed.  Somebody else's: a copy is made beside it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/replay.h"
#include "tests/tap.h"
#include "tests/unit/client_world.h"

enum { NOTES_MAX = 40, SESSION = 1, BOOT = 1, OTHERS = 99 };

/* ---- the journal ---- */

static struct {
	uint8_t	 bytes[JOURNAL_ARGUMENTS_MAX];
	size_t	 len;
} notes[NOTES_MAX];
static size_t notes_count;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)sync;
	if (notes_count == NOTES_MAX || data.len > 0)
		return -ENOSPC;
	memcpy(notes[notes_count].bytes, arguments.data, arguments.len);
	notes[notes_count++].len = arguments.len;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static void
write_down(struct journal_entry n)
{
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, arguments);

	append(NULL, 0, (struct bytes){ arguments, (size_t)len }, (struct bytes){ NULL, 0 }, false);
}

static bool
noted(uint8_t kind, uint64_t ino)
{
	struct journal_entry n;

	for (size_t i = 0; i < notes_count; i++)
		if (journal_decode(&n, (struct bytes){ notes[i].bytes, notes[i].len }) == 0 && n.kind == kind && n.ino == ino)
			return true;
	return false;
}

static void
attached_to(uint64_t session, uint64_t boot)
{
	write_down((struct journal_entry){ .kind = JOURNAL_SESSION, .ino = session, .version = boot });
}

/* FAR, of version 1 then, was cut off. */
static void
cut_off(void)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1 });
}

static void
made_readable(void)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_MODE,
	    .attr.mode = 0644, .version = 1, .nlink = 1 });
}

static void
moved(void)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT,
	    .child = FAR, .name = world_text("a"), .name2 = world_text("b"), .sequence = 5 });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = notes_count });
}

static void
lost(void)
{
	write_down((struct journal_entry){ .kind = JOURNAL_LOSS, .ino = FAR, .sequence = UINT64_MAX });
	write_down((struct journal_entry){ .kind = JOURNAL_LOSS, .sequence = 3 });
}

/* Entry `number` was, by an entry that stands for it now. */
static void
redone(uint64_t number)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1, .upto = number });
}

static void
mark(uint8_t kind, uint64_t sequence)
{
	write_down((struct journal_entry){ .kind = kind, .sequence = sequence });
}

/* ---- running it again ---- */

static struct engine_journal sink = { .append = append, .trim = trim, .max = 1 << 20 };
static struct replay *replay;
static bool refuses;		/* the server, what the mount claims of FAR */

/* `landed`: the last commit of the session, which goes on; 0: there is another one. */
static void
mount(uint64_t landed)
{
	sink.next = notes_count + 1;
	world_setup_unattached(&sink);
	replay_new(&replay, "here", true);
	for (size_t i = 0; i < notes_count; i++)
		if (replay_add(replay, i + 1, (struct bytes){ notes[i].bytes, notes[i].len }) < 0)
			abort();
	replay_adopt(replay, w.engine);
	world_attach(landed == 0, landed, false);
	if (landed > 0) {
		struct msg_lease far = { .oid = FAR };
		struct message all = { .type = MSG_reclaimed, .reclaimed.lost = { &far, refuses } };

		engine_received(w.engine, &all);
		world_collect();
	}
	replay_begin(replay, w.engine, (struct timespec){ .tv_sec = 1 });
}

/* Runs the next operation; the server says of FAR that `writer` changed it last. */
static void
run(uint64_t writer)
{
	struct op op = *replay_next(replay, w.engine);
	struct msg_answer far;

	if (!world_submit(&op)) {
		far = world_object(FAR, MODE_EXCLUSIVE, 6, 9, &world_file);
		far.writer = writer;
		world_grant_one(1, far);
	}
	replay_answered(replay, &op);
	world_replied(&op);
}

/* After all that is to be run: was a copy begun instead? */
static bool
copies(void)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == OP_GETATTR && op->ino == FAR;
}

static bool
done(void)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == OP_SYNC;
}

static void
unmount(void)
{
	replay_free(replay);
	world_teardown();
}

static void
forget(void)
{
	notes_count = 0;
	attached_to(SESSION, BOOT + 1);		/* of a server that has started anew since: nothing is claimed */
}

/* One journal, one answer. */
static bool
taken_for_ours(uint64_t landed, uint64_t writer)
{
	bool ours;

	mount(landed);
	run(writer);
	ours = done();
	if (ours == copies())
		abort();
	unmount();
	return ours;
}

static void
whose(void)
{
	forget();
	cut_off();
	ok(taken_for_ours(3, SESSION), "what our own commit changed, though its answer never came, is ours");
	forget();
	cut_off();
	ok(!taken_for_ours(3, OTHERS), "what another session changed is not");
	forget();
	cut_off();
	ok(taken_for_ours(0, SESSION), "in a session of its own, too, it is ours");
	forget();
	attached_to(7, BOOT);
	cut_off();
	ok(taken_for_ours(0, SESSION), "as is what a session before the last one changed");
	forget();
	attached_to(7, BOOT);
	cut_off();
	mount(0);
	unmount();
	ok(noted(JOURNAL_SESSION, SESSION), "and what an attempt in a session of its own did");
}

/* What the mount did after a loss did not build upon what was lost: there it is somebody else. */
static void
after_a_loss(void)
{
	forget();
	cut_off();
	lost();
	ok(taken_for_ours(5, SESSION), "what was committed before a loss is ours");
	forget();
	cut_off();
	lost();
	cut_off();
	mount(5);
	run(SESSION);
	run(SESSION);
	ok(copies(), "what the mount made of it afterwards is not");
	unmount();
	forget();
	cut_off();
	lost();
	moved();
	mount(5);
	run(SESSION);
	ok(copies(), "nor when it only got another name");
	unmount();
	forget();
	cut_off();
	lost();
	redone(2);
	mount(5);
	run(SESSION);
	ok(done(), "what was run again in time for it is");
	unmount();
}

static void
foreign(void)
{
	forget();
	made_readable();
	cut_off();
	mount(3);
	run(OTHERS);
	ok(noted(JOURNAL_FOREIGN, FAR), "attributes go to what is another's, but that is written down");
	run(SESSION);
	ok(copies(), "and its content does not");
	unmount();
	mount(4);
	run(SESSION);
	run(SESSION);
	ok(copies(), "nor in the next attempt, when our attributes have landed");
	unmount();
}

/* The attempt that was refused has the lease of its session by then, so the server would not refuse the next. */
static void
refused_once(void)
{
	forget();
	cut_off();
	refuses = true;
	mount(5);
	refuses = false;
	ok(noted(JOURNAL_AWAY, FAR), "that a claim was refused is written down");
	unmount();
	mount(5);
	run(OTHERS);
	ok(copies(), "and the next attempt does not take for ours what others made of it");
	unmount();
}

/* No content of it was lost, for it had none to lose any more; what was written follows the making all the same. */
static void
made_and_removed(void)
{
	const struct op *op;

	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_CREATE, .ino = OID_ROOT, .child = FAR,
	    .name = world_text("a"), .attr.mode = S_IFREG | 0644 });
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_FALLOCATE, .ino = FAR, .nlink = 1, .size = 9 });
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = OID_ROOT, .victim = FAR,
	    .name = world_text("a") });
	write_down((struct journal_entry){ .kind = JOURNAL_LOSS, .sequence = 3 });
	mount(5);
	op = replay_next(replay, w.engine);
	ok(op != NULL && op->type == OP_MKNOD, "what was made and removed before a loss is made before it is written");
	unmount();
}

/* A commit of the run itself is refused: nobody else would do that part again. */
static void
lost_again(void)
{
	forget();
	made_readable();
	mount(3);
	run(SESSION);
	world_pass(3000);
	world_pass(600);
	world_answer(STATUS_REJECTED);
	ok(replay_next(replay, w.engine) == NULL && replay_error(replay) == -EAGAIN, "what is lost while it runs is not the end of it");
	unmount();
}

/* The next operation succeeds: a LOOKUP finds a file of five bytes, a READ brings `text`. */
static enum op_type
says(uint64_t child, const char *text)
{
	struct op op = *replay_next(replay, w.engine);
	struct piece piece = { .data = (const uint8_t *)text, .len = strlen(text) };

	op.child = child;
	op.attr = (struct attr){ .mode = S_IFREG | 0644, .size = 5 };
	op.pieces = &piece;
	op.pieces_count = 1;
	replay_answered(replay, &op);
	return op.type;
}

/* A copy that an earlier attempt made, held against the original. */
static bool
dropped(const char *original, const char *copy)
{
	const struct op *op;
	bool is;

	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .parent = OID_ROOT, .name = world_text("file"),
	    .name2 = world_text("file (conflict)") });
	mount(3);
	if (says(20, "") != OP_LOOKUP || says(21, "") != OP_LOOKUP || says(20, original) != OP_READ ||
	    says(21, copy) != OP_READ)
		abort();
	op = replay_next(replay, w.engine);
	is = op->type == OP_UNLINK && op->name.len == strlen("file (conflict)");
	unmount();
	return is;
}

static void
copies_compared(void)
{
	ok(dropped("equal", "equal"), "a copy that is equal is removed");
	ok(!dropped("equal", "equaL"), "one that is not is kept");
	ok(!dropped("equal", "equ"), "nor one of which less can be read");
}

/* Commit 5, frozen before a death, did not land; an attempt made another commit 5, and died. */
static void
numbers_used_again(void)
{
	const struct op *op;

	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = OID_ROOT, .child = 200,
	    .name = world_text("a") });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = 2 });
	mark(JOURNAL_RESUMED, 4);
	mark(JOURNAL_FREEZE, 5);
	mount(5);
	op = replay_next(replay, w.engine);
	ok(op->type == OP_MKDIR, "what was in a commit that did not land is run, though another one got its number");
	unmount();
}

static enum op_type
says_error(int error)
{
	struct op op = *replay_next(replay, w.engine);

	op.error = error;
	replay_answered(replay, &op);
	return op.type;
}

static enum op_type
changed_by_others(void)
{
	struct op op = *replay_next(replay, w.engine);

	op.replay->verdict = REPLAY_CHANGED;
	replay_answered(replay, &op);
	return op.type;
}

static void
gone(void)
{
	struct op op = *replay_next(replay, w.engine);

	op.replay->verdict = REPLAY_GONE;
	replay_answered(replay, &op);
}

/* By the mount that lost it. */
static void
again_alive(void)
{
	world_setup_unattached(NULL);
	replay_new(&replay, "here", true);
	for (size_t i = 0; i < notes_count; i++)
		if (replay_add(replay, i + 1, (struct bytes){ notes[i].bytes, notes[i].len }) < 0)
			abort();
	replay_redo(replay, w.engine, (struct timespec){ .tv_sec = 1 }, 0, true);
}

static void
made_directory(const char *name, uint64_t child, uint64_t upto)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKDIR, .ino = OID_ROOT, .child = child,
	    .name = world_text(name), .attr.mode = S_IFDIR | 0755, .upto = upto });
}

/* The commit that removed its last name landed, and whoever had it open has closed it. */
static void
removed_alive(void)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_WRITE, .ino = FAR, .size = 1, .version = 1, .nlink = 1 });
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = OID_ROOT, .victim = FAR,
	    .name = world_text("a") });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 2, .upto = notes_count });
	lost();
	again_alive();
	gone();
	ok(replay_next(replay, w.engine) == NULL && replay_error(replay) == 0,
	    "what was written to a file that was removed since, and is gone, has no copy");
	unmount();
}

/* What was run again is lost in turn, together with what a process did meanwhile: all of it keeps the order it was done in. */
static void
by_turns(void)
{
	char order[6] = "";

	forget();
	made_directory("a", FAR, 0);
	made_directory("b", FAR + 1, 0);
	made_directory("c", FAR + 2, 0);
	mark(JOURNAL_LOSS, 1);
	made_directory("d", FAR + 3, 0);
	made_directory("a", FAR, 2);
	mark(JOURNAL_LOSS, 1);
	made_directory("e", FAR + 4, 0);
	made_directory("a", FAR, 7);
	made_directory("b", FAR + 1, 3);
	mark(JOURNAL_LOSS, 1);
	again_alive();
	for (size_t i = 0; i < sizeof order - 1; i++) {
		order[i] = (char)replay_next(replay, w.engine)->name.data[0];
		says(FAR + 5 + i, "");
	}
	ok(strcmp(order, "abcde") == 0, "what was lost more than once keeps its turn (%s)", order);
	unmount();
}

static void
alive(void)
{
	const struct op *op;

	forget();
	cut_off();
	cut_off();
	lost();
	again_alive();
	if (changed_by_others() != OP_SETATTR || says(FAR, "") != OP_GETATTR || says_error(-ENOENT) != OP_LOOKUP ||
	    says(300, "") != OP_MKNOD || says(FAR, "bytes") != OP_READ || says(300, "") != OP_WRITE)
		abort();
	op = replay_next(replay, w.engine);
	ok(op->type == OP_FSYNC && op->ino == 300, "a copy is on the server before the journal relies on it");
	says(300, "");
	op = replay_next(replay, w.engine);
	ok(op->type == OP_SETATTR && op->ino == 300, "then what was lost goes to it");
	says(300, "");
	ok(replay_error(replay) == -EINTR, "who stops before the end has not done it all");
	unmount();
}

static void
unlinked_and_open(void)
{
	const struct op *op;

	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1 });
	lost();
	again_alive();
	op = replay_next(replay, w.engine);
	ok(op != NULL && op->type == OP_SETATTR, "a file without a name may be open in the mount that lost its content");
	unmount();
	mount(5);
	ok(done(), "but not in the next one");
	unmount();
}

/* The name is free by now, or it is done under another: what it replaced then has lost no name, and is written on. */
static void
replaced_nothing(void)
{
	struct op move = { .type = OP_RENAME, .ino = OID_ROOT, .name = world_text("a"), .ino2 = OID_ROOT,
	    .name2 = world_text("b"), .victim = FAR };
	uint64_t h;

	world_setup();
	world_create("a", &h);
	ok(world_submit(&move) && move.error == 0 && move.victim == 0, "a rename to a free name replaces nothing");
	world_replied(&move);
	world_teardown();
}

/* READ and the others say nothing when they are given up. */
static void
given_up(void)
{
	forget();
	cut_off();
	mount(3);
	if (changed_by_others() != OP_SETATTR || says(FAR, "") != OP_GETATTR || says_error(-ENOENT) != OP_LOOKUP ||
	    says(300, "") != OP_MKNOD || says_error(-EINTR) != OP_READ)
		abort();
	ok(replay_next(replay, w.engine) == NULL && replay_error(replay) == -EINTR,
	    "a copy has no holes where a read was given up");
	unmount();
}

static void
sessions(void)
{
	notes_count = 0;
	sink.next = 1;
	world_setup_unattached(&sink);
	world_attach(true, 0, false);
	ok(noted(JOURNAL_SESSION, SESSION), "the journal says whose it is");
	notes_count = 0;
	world_attach(false, 0, false);
	ok(!noted(JOURNAL_SESSION, SESSION), "and again only when that changes");
	world_teardown();
}

/* ---- a full server ---- */

static void
name(enum op_type type, const char *called, uint64_t child, uint64_t victim)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = (uint8_t)type, .ino = OID_ROOT, .child = child,
	    .victim = victim, .name = world_text(called), .nlink = victim == 0, .attr.mode = S_IFREG | 0644 });
}

/* The next operation, and what becomes of it. */
static bool
goes(enum op_type type, const char *called, int error)
{
	const struct op *next = replay_next(replay, w.engine);
	struct op op;
	bool right;

	if (next == NULL)
		return false;
	op = *next;
	right = op.type == type && (called == NULL || (op.name.len == strlen(called) && memcmp(op.name.data, called, op.name.len) == 0));
	op.error = error;
	op.replay->verdict = REPLAY_DONE;
	replay_answered(replay, &op);
	return right;
}

static bool
no_room(void)
{
	return replay_next(replay, w.engine) == NULL && replay_error(replay) == -ENOSPC;
}

/* What makes room is not put off for what wants it; unless it comes after that for another reason. */
static void
removals_first(void)
{
	enum { NEW = 900, OLD, DIR };

	forget();
	name(OP_MKNOD, "new", NEW, 0);
	name(OP_UNLINK, "old", 0, OLD);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT,
	    .child = NEW, .name = world_text("new"), .name2 = world_text("old") });
	name(OP_UNLINK, "old", 0, NEW);
	name(OP_UNLINK, "new", 0, OLD + 10);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_MKNOD, .ino = DIR, .child = NEW + 20,
	    .name = world_text("inside"), .attr.mode = S_IFREG | 0644 });
	name(OP_RMDIR, "dir", 0, DIR);
	name(OP_UNLINK, "last", 0, OLD + 30);
	mark(JOURNAL_LOSS, 1);
	again_alive();
	ok(goes(OP_MKNOD, "new", -ENOSPC) && goes(OP_UNLINK, "old", 0) && goes(OP_UNLINK, "last", 0) && no_room(),
	    "on a full server removals go ahead, but for those of what waits, of its names and of directories that it is in");
	unmount();
	again_alive();
	ok(goes(OP_MKNOD, "new", 0) && goes(OP_UNLINK, "old", 0) && goes(OP_RENAME, "new", 0) && goes(OP_UNLINK, "old", 0) &&
	    goes(OP_UNLINK, "new", 0) && goes(OP_MKNOD, "inside", 0) && goes(OP_RMDIR, "dir", 0) &&
	    goes(OP_UNLINK, "last", 0) && replay_next(replay, w.engine) == NULL && replay_error(replay) == 0,
	    "and with room all of it goes in its order");
	unmount();
}

/* A mount takes the journal over; the session of it goes on if something `landed`. */
static void
take_over(uint64_t landed)
{
	struct message all = { .type = MSG_reclaimed };

	sink.next = notes_count + 1;
	world_setup_unattached(&sink);
	replay_new(&replay, "here", true);
	for (size_t i = 0; i < notes_count; i++)
		if (replay_add(replay, i + 1, (struct bytes){ notes[i].bytes, notes[i].len }) < 0)
			abort();
	world_attach(landed == 0, landed, false);
	if (landed > 0)
		engine_received(w.engine, &all);
	world_collect();
	ok(replay_leave(replay, w.engine) == 0 && world_sane(), "a journal that did not fit is taken over");
	unmount();
}

static void
left(uint64_t landed)
{
	forget();
	name(OP_MKNOD, "landed", FAR, 0);
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 3, .upto = notes_count });
	mark(JOURNAL_ACK, 3);
	cut_off();
	name(OP_UNLINK, "gone", 0, FAR + 1);
	take_over(landed);
	ok(noted(JOURNAL_LOSS, FAR), "what waits in it counts as lost");
	/* Commits are counted anew in another session; this one does not land. */
	name(OP_UNLINK, "late", 0, FAR + 2);
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = landed + 1, .upto = notes_count });
	take_over(landed);
	again_alive();
	ok(goes(OP_SETATTR, NULL, 0) && goes(OP_UNLINK, "gone", 0) && goes(OP_UNLINK, "late", 0) && replay_next(replay, w.engine) == NULL &&
	    replay_error(replay) == 0, "also by the next mount, and all of it is run again, but nothing that had landed");
	unmount();
}

int
main(void)
{
	world_begin();
	whose();
	after_a_loss();
	foreign();
	refused_once();
	made_and_removed();
	lost_again();
	copies_compared();
	numbers_used_again();
	alive();
	removed_alive();
	by_turns();
	unlinked_and_open();
	replaced_nothing();
	given_up();
	sessions();
	removals_first();
	left(3);
	left(0);
	return tap_done();
}
