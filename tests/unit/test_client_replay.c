/*
 * test_client_replay.c - whose content is it that the journal, run again,
 * finds?  Ours: it is changed.  Somebody else's: a copy is made beside it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/journal_world.h"

/* ---- the journal ---- */

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

/* ---- running it again ---- */

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
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .child = FAR + 1,
	    .victim = FAR, .nlink = 1, .name = world_text("a"), .name2 = world_text("b"), .sequence = 5 });
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = notes_count });
	mount(5);
	run(SESSION);
	ok(copies(), "nor when one of its names was replaced");
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

/* A server may name no session at all. */
static void
nobody(void)
{
	forget();
	cut_off();
	mount(3);
	ok(engine_own(w.engine, 0) == 0, "no session is one of ours");
	run(0);
	ok(copies(), "so what no session wrote is not ours");
	unmount();
}

/* Another attempt must find it in the journal, and its lease be claimed. */
static void
synced(void)
{
	forget();
	cut_off();
	mount(3);
	run(SESSION);
	ok(world_run(OP_FSYNC, FAR, 0) == 0 && !noted(JOURNAL_CLEAN, FAR), "what is synced while its journal is run again stays in it");
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

static void
gone(void)
{
	struct op op = *replay_next(replay, w.engine);

	op.replay->verdict = REPLAY_GONE;
	replay_answered(replay, &op);
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

/* What was cut off is another's by now: its copy has been asked for, and is to be made in `parent`. */
static void
begin_copy_in(uint64_t parent)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1, .parent = parent, .hint = world_text("file") });
	mount(3);
	if (changed_by_others() != OP_SETATTR || says(FAR, "") != OP_GETATTR)
		abort();
}

static bool
looks_in(uint64_t parent)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == OP_LOOKUP && op->ino == parent;
}

static bool
ended_with(int error)
{
	return replay_next(replay, w.engine) == NULL && replay_error(replay) == error;
}

static void
place_of_a_copy(void)
{
	unsigned taken = 0;

	begin_copy_in(200);
	ok(looks_in(200) && says_error(-ESTALE) == OP_LOOKUP && looks_in(OID_ROOT), "a copy for a directory that is gone goes to the root");
	unmount();
	begin_copy_in(200);
	if (says_error(-ENOENT) != OP_LOOKUP)
		abort();
	ok(says_error(-EACCES) == OP_MKNOD && looks_in(OID_ROOT), "or for one that does not take it");
	ok(says_error(-ENOENT) == OP_LOOKUP && says_error(-EEXIST) == OP_MKNOD && looks_in(OID_ROOT),
	    "where somebody was faster it is looked again");
	if (says_error(-ENOENT) != OP_LOOKUP)
		abort();
	ok(says_error(-EACCES) == OP_MKNOD && ended_with(-EACCES), "a root that does not take it ends it");
	unmount();
	begin_copy_in(OID_ROOT);
	ok(says_error(-EIO) == OP_LOOKUP && ended_with(-EIO), "or cannot be looked at");
	unmount();
	begin_copy_in(OID_ROOT);
	while (looks_in(OID_ROOT) && taken++ < 5000)
		says(77, "");
	ok(taken == 1000 && ended_with(-EEXIST), "a thousand names are tried");
	unmount();
}

static void
content_of_a_copy(void)
{
	begin_copy_in(OID_ROOT);
	if (says_error(-ENOENT) != OP_LOOKUP || says(300, "") != OP_MKNOD)
		abort();
	ok(says(FAR, "") == OP_READ && says(300, "") == OP_SETATTR, "of a file that was cut off meanwhile nothing is copied");
	unmount();
	forget();
	cut_off();
	lost();
	again_alive();
	if (changed_by_others() != OP_SETATTR || says(FAR, "") != OP_GETATTR || says_error(-ENOENT) != OP_LOOKUP ||
	    says(300, "") != OP_MKNOD || says(FAR, "") != OP_READ)
		abort();
	ok(says_error(-EIO) == OP_FSYNC && ended_with(-EIO), "a copy that cannot be kept ends it");
	unmount();
	forget();
	cut_off();
	mount(3);
	ok(says_error(-EIO) == OP_SETATTR && copies(), "what was written to a damaged file goes beside it");
	unmount();
	forget();
	made_directory("a", 200, 0);
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 5, .upto = 2 });
	mount(4);
	ok(says_error(-EIO) == OP_MKDIR && done(), "a name that cannot be made is passed over");
	unmount();
}

/* Of a copy that an earlier attempt noted. */
static void
copy_not_compared(void)
{
	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_CONFLICT, .parent = OID_ROOT, .name = world_text("file"),
	    .name2 = world_text("file (conflict)") });
	mount(3);
	ok(says(20, "") == OP_LOOKUP && says_error(-ENOENT) == OP_LOOKUP && done(), "a copy that was not made is not missed");
	unmount();
	mount(3);
	if (says(20, "") != OP_LOOKUP || says(21, "") != OP_LOOKUP)
		abort();
	ok(says_error(-EIO) == OP_READ && done(), "one of a file that cannot be read stays");
	unmount();
	mount(3);
	if (says(20, "") != OP_LOOKUP || says(21, "") != OP_LOOKUP || says(20, "equal") != OP_READ || says(21, "equal") != OP_READ)
		abort();
	ok(says_error(-EBUSY) == OP_UNLINK && done(), "as does one that somebody has opened");
	unmount();
}

static void
names_of_devices(void)
{
	const struct op *op;

	forget();
	cut_off();
	sink.next = notes_count + 1;
	world_setup_unattached(&(struct engine_config){ .journal = &sink });
	load("a/b\n");
	replay_adopt(replay, w.engine);
	world_attach(false, 3, false);
	replay_begin(replay, w.engine, (struct timespec){ .tv_sec = 1 });
	if (changed_by_others() != OP_SETATTR || says(FAR, "") != OP_GETATTR)
		abort();
	op = replay_next(replay, w.engine);
	ok(op->type == OP_LOOKUP && memmem(op->name.data, op->name.len, " a_b_ ", 6) != NULL, "a copy's name is one, whatever the device's is");
	unmount();
}

static void
many_objects(void)
{
	enum { MANY = 1000 };
	unsigned run = 0;

	forget();
	for (unsigned i = 0; i < MANY; i++)
		write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + i, .set = SET_SIZE,
		    .version = 1, .nlink = 1 });
	mount(3);
	while (run < MANY && replay_next(replay, w.engine)->ino == FAR + run && says(0, "") == OP_SETATTR)
		run++;
	ok(run == MANY && done(), "a thousand objects are told apart");
	unmount();
}

static void
sessions(void)
{
	notes_count = 0;
	sink.next = 1;
	world_setup_unattached(&(struct engine_config){ .journal = &sink });
	world_attach(true, 0, false);
	ok(noted(JOURNAL_SESSION, SESSION), "the journal says whose it is");
	notes_count = 0;
	world_attach(false, 0, false);
	ok(!noted(JOURNAL_SESSION, SESSION), "and again only when that changes");
	world_teardown();
}

/* ---- pins ---- */

/* The mount that died had it open, and its session goes on with the pin. */
static void
pin_left_behind(void)
{
	struct op make = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("a"), .attr.mode = S_IFREG | 0644 };
	struct op again = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") };
	struct message all = { .type = MSG_reclaimed };

	world_setup_unattached(NULL);
	world_attach(false, 3, false);
	engine_received(w.engine, &all);
	world_collect();
	world_submit(&make);
	world_grant_one(1, world_object(OID_ROOT, MODE_EXCLUSIVE, 5, 30, &world_directory));
	world_grant_one(1, (struct msg_answer){ .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 5, .version = 30 });
	world_replied(&make);
	world_sync();
	world_forget();
	world_submit(&again);
	world_replied(&again);
	world_pass(3000);
	world_pass(1000);
	ok(make.error == 0 && again.error == 0 && w.commit_count == 1 && world_commit_has(w.commits[0], make.child, KIND_ATTR),
	    "what a resumed session removes, and may have pinned before, does not look as if it had a name");
	world_answer(STATUS_OK);
	ok(world_sane(), "and is done with when that has landed");
	world_teardown();
}

int
main(void)
{
	world_begin();
	whose();
	after_a_loss();
	foreign();
	nobody();
	synced();
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
	place_of_a_copy();
	content_of_a_copy();
	copy_not_compared();
	names_of_devices();
	many_objects();
	sessions();
	pin_left_behind();
	return tap_done();
}
