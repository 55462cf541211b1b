/*
 * test_client_room.c - a journal that is run again where there is little room:
 * on a full server, and by an engine that may have few objects.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/journal_world.h"

/* An engine that has more objects than it may, all of them in use: what is needed together stays until all of it is here. */
static void
crowded(void)
{
	struct engine_config config = { .objects_max = 4, .commit_ms = 1000000 };
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_MKNOD, .ino = FAR, .child = FAR + 1, .name = world_text("x") };
	struct replaying p = { .entry = &entry, .keep_oids = true, .again = true, .beside = world_text("y") };
	struct op op = { .type = OP_MKNOD, .ino = FAR, .name = world_text("x"), .attr.mode = S_IFREG | 0644, .replay = &p };
	struct attr directory = { .mode = S_IFDIR | 0755, .nlink = 2 };
	struct msg_answer answers[WANTS_MAX];
	uint64_t h;

	world_setup_unattached(&config);
	world_attach(true, 0, false);
	engine_format(w.engine, 0, 0, 0755);
	for (char name[] = "a"; name[0] < 'i'; name[0]++)
		world_create(name, &h);
	world_sync();
	w.reply_count = 0;
	ok(!world_submit(&op), "what is done again looks whether it is there, and for its directory");
	for (unsigned n = 0; n < 8 && w.reply_count == 0; n++) {
		world_pass(100);
		for (uint32_t i = 0; i < w.read.wants.count; i++) {
			answers[i] = world_object(w.wants[i].oid, MODE_EXCLUSIVE, 7, 1, &directory);
			if (w.wants[i].kind != KIND_ATTR)
				answers[i].records.count = 0;
			if (w.wants[i].oid == FAR + 1)
				answers[i] = (struct msg_answer){ .oid = FAR + 1, .status = STATUS_NOENT };
		}
		world_grant(w.last_read, 1, answers, w.read.wants.count);
	}
	ok(w.reply_count == 1 && op.error == 0 && p.verdict == REPLAY_DONE, "and is done, though each alone would be forgotten for the other");
	world_replied(&op);
	world_teardown();
}

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

/* What waits for room takes along what builds upon it, content and links as well as names. */
static void
waits_with_it(void)
{
	enum { NEW = 900, WRITTEN, LINKED, DIR, FREE };

	forget();
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = WRITTEN, .set = SET_SIZE, .version = 1, .nlink = 1 });
	write_down((struct journal_entry){ .kind = JOURNAL_LOSS, .ino = WRITTEN, .sequence = UINT64_MAX });
	name(OP_UNLINK, "written", 0, WRITTEN);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_LINK, .ino = LINKED, .ino2 = OID_ROOT, .name = world_text("link") });
	name(OP_UNLINK, "link", 0, FREE + 1);
	name(OP_UNLINK, "another", 0, LINKED);
	name(OP_MKDIR, "dir", DIR, 0);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_UNLINK, .ino = DIR, .victim = FREE + 2, .name = world_text("in") });
	name(OP_RMDIR, "free", 0, FREE);
	name(OP_UNLINK, "nothing", 0, 0);
	name(OP_RMDIR, "nowhere", 0, 0);
	mark(JOURNAL_LOSS, 1);
	again_alive();
	ok(goes(OP_SETATTR, NULL, -ENOSPC) && goes(OP_RMDIR, "free", 0) && goes(OP_UNLINK, "nothing", 0) && goes(OP_RMDIR, "nowhere", 0) &&
	    no_room(), "what was written, linked or made there waits with it, and so does what removes that");
	unmount();
	again_alive();
	ok(goes(OP_SETATTR, NULL, 0) && goes(OP_UNLINK, "written", 0) && goes(OP_LINK, "link", -ENOSPC) && goes(OP_RMDIR, "free", 0) &&
	    goes(OP_UNLINK, "nothing", 0) && goes(OP_RMDIR, "nowhere", 0) && no_room(), "from where there is no room any more");
	unmount();
}

/* A mount takes the journal over; the session of it goes on if something `landed`. */
static void
take_over(uint64_t landed)
{
	struct message all = { .type = MSG_reclaimed };

	sink.next = notes_count + 1;
	world_setup_unattached(&(struct engine_config){ .journal = &sink });
	load("here");
	world_attach(landed == 0, landed, false);
	if (landed > 0)
		engine_received(w.engine, &all);
	world_collect();
	ok(replay_leave(replay, w.engine) == 0 && world_sane(), "a journal that did not fit is taken over");
	unmount();
}

/* What cannot be written down may not count as lost: this mount would not do it again. */
static void
not_taken_over(void)
{
	static const struct { bool goes_on, note_freeze, content; } cases[] = {
		{ true, false, false }, { true, true, false }, { true, false, true }, { false, false, true }, { false, false, false },
	};
	struct message all = { .type = MSG_reclaimed };

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		forget();
		if (cases[i].note_freeze)
			write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 3, .upto = notes_count });
		if (cases[i].content) {
			cut_off();
			write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + 1, .set = SET_SIZE, .nlink = 1 });
		}
		sink.next = notes_count + 1;
		world_setup_unattached(&(struct engine_config){ .journal = &sink });
		load("here");
		world_attach(!cases[i].goes_on, 3, false);
		if (cases[i].goes_on)
			engine_received(w.engine, &all);
		world_collect();
		refuses_notes = true;
		ok(replay_leave(replay, w.engine) == -ENOSPC && world_sane(), "a journal that this disk has no room for is not taken over");
		refuses_notes = false;
		unmount();
	}
}

static void
left(uint64_t landed)
{
	forget();
	name(OP_MKNOD, "landed", FAR, 0);
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = 3, .upto = notes_count });
	mark(JOURNAL_ACK, 3);
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + 5, .set = SET_SIZE, .version = 1, .nlink = 1 });
	write_down((struct journal_entry){ .kind = JOURNAL_CLEAN, .ino = FAR + 5 });
	cut_off();
	cut_off();
	name(OP_UNLINK, "gone", 0, FAR + 1);
	take_over(landed);
	ok(times_noted(JOURNAL_LOSS, FAR) == 1 && !noted(JOURNAL_LOSS, FAR + 5), "what waits in it counts as lost, once");
	/* Commits are counted anew in another session; this one does not land. */
	name(OP_UNLINK, "late", 0, FAR + 2);
	write_down((struct journal_entry){ .kind = JOURNAL_FREEZE, .sequence = landed + 1, .upto = notes_count });
	take_over(landed);
	again_alive();
	ok(goes(OP_SETATTR, NULL, 0) && goes(OP_SETATTR, NULL, 0) && goes(OP_UNLINK, "gone", 0) && goes(OP_UNLINK, "late", 0) &&
	    replay_next(replay, w.engine) == NULL && replay_error(replay) == 0, "also by the next mount, and all of it is run again, but nothing that had landed");
	unmount();
}

int
main(void)
{
	world_begin();
	crowded();
	removals_first();
	waits_with_it();
	not_taken_over();
	left(3);
	left(0);
	return tap_done();
}
