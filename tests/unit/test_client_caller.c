/*
 * test_client_caller.c - the two look-ups of one rename(2), when the directory
 * of the first name is another client's between them (fs/caller.c); and what
 * of names and link counts the kernel may keep.
 */
#include "fs/engine.h"
#include "proto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { CALLER = 7 };

static struct volume_keys *keys;
static struct engine *engine;
static uint64_t now_ms, version, last_read_id;
static unsigned reads, releases;
static struct msg_read last_read;
static struct msg_want last_wants[16];
static bool renaming, alike, untold;	/* untold: nobody says what a caller is about */
static bool sweeping;			/* the kernel is slow to forget */
static uint64_t watched;			/* has any READ wanted it? */
static bool was_wanted;

/* Of x to y; of x to x if they are alike. */
static enum rename_part
renames(void *context, uint32_t caller, struct bytes name)
{
	(void)context;
	if (!renaming || caller != CALLER || name.len != 1)
		return RENAME_NEITHER;
	if (alike)
		return name.data[0] == 'x' ? RENAME_EITHER : RENAME_NEITHER;
	return name.data[0] == 'x' ? RENAME_OLD : name.data[0] == 'y' ? RENAME_NEW : RENAME_NEITHER;
}

/* Every commit is acknowledged, every invalidation carried out; READs are only noted. */
static void
collect(void)
{
	struct action *a;

	while ((a = engine_next(engine)) != NULL) {
		if (a->kind == ACTION_COMMIT) {
			struct message m = { .type = MSG_committed, .committed = { .sequence = a->commit->sequence,
			    .status = STATUS_OK, .version = ++version, .credit = CREDIT_MAX } };

			engine_received(engine, &m);
			commit_put(a->commit);
		} else if (a->kind == ACTION_INVALIDATE && !sweeping)
			engine_invalidated(engine, a->oid, a->pages, 0);
		else if (a->kind == ACTION_SEND && a->message.type == MSG_release)
			releases++;
		else if (a->kind == ACTION_SEND && a->message.type == MSG_read) {
			reads++;
			last_read = a->message.read;
			last_read_id = a->message.id;
			for (uint32_t i = 0; i < last_read.wants.count; i++)
				was_wanted |= last_read.wants.at[i].oid == watched;
			memcpy(last_wants, last_read.wants.at, last_read.wants.count * sizeof last_wants[0]);
		}
		action_free(a);
	}
}

static void
pass(uint64_t ms)
{
	now_ms += ms;
	engine_clock(engine, now_ms, (struct timespec){ .tv_sec = now_ms / 1000 });
	engine_tick(engine);
	collect();
}

static struct op
named(enum op_type type, uint64_t dir, const char *name, mode_t mode)
{
	return (struct op){ .type = type, .ino = dir, .name = { (const uint8_t *)name, strlen(name) },
	    .attr.mode = mode, .caller = CALLER };
}

/* 0 and its inode when it is done at once; its error; 1 when it waits, then forgotten with the engine. */
static int
run(struct op *op)
{
	bool done = engine_submit(engine, op);

	collect();
	if (!done)
		return 1;
	engine_replied(engine, op);
	collect();
	return op->error;
}

static uint64_t
make(enum op_type type, uint64_t dir, const char *name)
{
	struct op op = named(type, dir, name, type == OP_MKDIR ? S_IFDIR | 0755 : S_IFREG | 0644);

	return run(&op) == 0 ? op.child : 0;
}

static int
look_up(uint64_t dir, const char *name)
{
	static struct op ops[16];	/* one that waits stays where it is */
	static unsigned next;
	struct op *op = &ops[next++ % 16];

	*op = named(OP_LOOKUP, dir, name, 0);
	return run(op);
}

static void
recall(uint64_t oid, uint64_t ticket)
{
	struct message m = { .type = MSG_recall, .recall = { .oid = oid, .grant = 0, .mode = MODE_NONE,
	    .ticket = ticket } };

	engine_received(engine, &m);
	collect();
}

static void
lose(uint64_t oid)
{
	struct msg_attached back = { .session = 1, .credit = CREDIT_MAX, .boot = 1, .term_ms = TERM_MS, .sequence = 100, .sessions = 2 };
	struct msg_lease lost = { .oid = oid, .mode = MODE_EXCLUSIVE };
	struct message m = { .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } };

	engine_detached(engine);
	engine_attached(engine, &back, false);
	collect();
	engine_received(engine, &m);
	collect();
}

static uint64_t a, b, x, y;

/* Two directories, a with the file x and b with y. */
static void
setup(void)
{
	struct engine_config config = { .renames = untold ? NULL : renames };
	struct msg_attached m = { .session = 1, .credit = CREDIT_MAX, .boot = 1, .term_ms = TERM_MS, .first_oid = 1000,
	    .oid_count = 60000, .sessions = 2 };
	struct op op;

	now_ms = 100000;
	renaming = true;
	engine_new(&engine, &config, keys);
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	engine_attached(engine, &m, true);
	collect();
	engine_format(engine, 0, 0, 0755);
	a = make(OP_MKDIR, OID_ROOT, "a");
	b = make(OP_MKDIR, OID_ROOT, "b");
	x = make(OP_MKNOD, a, "x");
	y = make(OP_MKNOD, b, "y");
	for (unsigned i = 0; i < 40; i++)
		pass(100);
	op = named(OP_GETATTR, OID_ROOT, "", 0);
	op.caller = 0;
	run(&op);
	reads = releases = 0;
	watched = b;
	was_wanted = false;
}

static bool
wants(uint64_t oid)
{
	for (uint32_t i = 0; i < last_read.wants.count; i++)
		if (last_wants[i].oid == oid)
			return true;
	return false;
}

static void
test_pair(void)
{
	setup();
	ok(a != 0 && b != 0 && x != 0 && y != 0 && look_up(a, "x") == 0 && look_up(b, "y") == 0,
	    "two names are looked up in peace");
	ok(look_up(a, "x") == 0, "the old name is looked up");
	recall(a, 5);
	ok(releases == 1, "its directory is given back");
	ok(look_up(b, "y") == -ESTALE, "the new name cannot be judged with it: begin anew");
	ok(look_up(b, "y") == -ESTALE, "the kernel asking the same at once is told the same");
	ok(look_up(a, "x") == 1 && wants(a) && wants(b), "the second time both directories are asked for as one");
	engine_free(engine);
}

/* Between the two the process, or its machine, stood still. */
static void
test_late(void)
{
	setup();
	look_up(a, "x");
	recall(a, 5);
	pass(20000);
	ok(look_up(b, "y") == -ESTALE, "the new name long after the old one is of the same call all the same");
	pass(20000);
	ok(look_up(b, "y") == -ESTALE, "and so is the kernel's asking again");
	engine_free(engine);

	setup();
	look_up(a, "x");
	recall(a, 5);
	pass(20000);
	ok(look_up(OID_ROOT, "b") == 0 && look_up(b, "y") == 0, "what was looked up long before is no part of a pair");
	engine_free(engine);
}

static void
test_held(void)
{
	setup();
	look_up(a, "x");
	recall(a, 5);
	look_up(b, "y");
	ok(look_up(OID_ROOT, "b") == 0 && look_up(b, "y") == 0, "begun anew it looks again");
	recall(b, 5);
	ok(releases == 1, "where it looked is held for a moment");
	pass(300);
	ok(releases == 2, "and no longer");
	ok(look_up(OID_ROOT, "nothing") == 1 && wants(b), "then it is asked for again with what is looked up next");
	engine_free(engine);

	setup();
	look_up(a, "x");
	recall(a, 5);
	look_up(b, "y");
	look_up(OID_ROOT, "b");
	look_up(b, "y");
	recall(b, 5);
	struct op op = named(OP_GETATTR, y, "", 0);
	run(&op);
	ok(releases == 1, "an attribute asked for is part of the call");
	op = named(OP_RENAME, b, "y", 0);
	op.ino2 = b;
	op.name2 = (struct bytes){ (const uint8_t *)"z", 1 };
	ok(run(&op) == 0 && releases == 2, "the call itself ends the hold");
	engine_free(engine);
}

/* A recall of the new name's directory has begun before that is held. */
static void
test_leaving(void)
{
	setup();
	look_up(a, "x");
	recall(a, 5);
	look_up(b, "y");
	sweeping = true;
	recall(b, 5);
	ok(releases == 1 && look_up(OID_ROOT, "b") == 1, "no name is looked up while the directory of the new one is leaving");
	sweeping = false;
	engine_invalidated(engine, b, false, 0);
	collect();
	ok(releases == 2 && was_wanted, "but when it has left, and been asked for again");
	engine_free(engine);
}

static void
test_gone(void)
{
	struct msg_answer gone = { .status = STATUS_NOENT };
	struct message m = { .type = MSG_granted, .granted = { .ticket = 3, .answers = { &gone, 1 } } };
	struct op op;

	setup();
	look_up(a, "x");
	recall(a, 5);
	look_up(b, "y");
	recall(b, 5);
	op = named(OP_LOOKUP, OID_ROOT, "nothing", 0);
	ok(run(&op) == 1 && wants(b), "the directory of the new name is asked for again");
	gone.oid = b;
	m.id = last_read_id;
	engine_received(engine, &m);
	collect();
	ok(op.error == -ENOENT, "when it was removed, other names have nothing to do with it");
	engine_replied(engine, &op);
	ok(look_up(OID_ROOT, "nothing") == -ENOENT, "nor have later ones");
	engine_free(engine);
}

static void
test_others(void)
{
	setup();
	renaming = false;
	look_up(a, "x");
	recall(a, 5);
	ok(look_up(b, "y") == 0, "who is not in rename(2) is not disturbed");
	engine_free(engine);

	setup();
	look_up(OID_ROOT, "a");
	now_ms += 20;
	engine_clock(engine, now_ms, (struct timespec){ 0 });
	ok(look_up(a, "x") == 0 && look_up(b, "y") == 0, "a walk down and a second path are no pair to worry about");
	recall(a, 5);
	ok(look_up(b, "y") == -ESTALE, "a first recall: the kernel may have used a name it had, unseen");
	engine_free(engine);

	setup();
	lose(a);
	ok(look_up(b, "y") == -ESTALE, "nor is there a name that went with its directory's lease");
	engine_free(engine);
}

static void
test_untold(void)
{
	untold = true;
	setup();
	look_up(a, "x");
	recall(a, 5);
	ok(look_up(b, "y") == 0, "where nobody says who is in rename(2) nothing is begun anew");
	engine_free(engine);
	untold = false;
}

/* Both names are x: which of them is looked up only the look-up before can tell, and of one that was begun anew there is none. */
static void
test_alike(void)
{
	setup();
	alike = true;
	make(OP_MKNOD, b, "x");
	look_up(a, "x");
	recall(a, 5);
	ok(look_up(b, "x") == -ESTALE, "a name like the first one is the second");
	pass(20000);
	ok(look_up(b, "x") == 0, "and long after the call was begun anew, a first one");
	engine_free(engine);
	alike = false;
}

/* Begun anew, in a directory that is not known. */
static void
test_unknown(void)
{
	enum { UNKNOWN = 900000 };

	setup();
	look_up(a, "x");
	recall(a, 5);
	ok(look_up(b, "y") == -ESTALE && look_up(UNKNOWN, "x") == 1 && wants(UNKNOWN) && wants(b),
	    "a directory that is not known is asked for, with that of the new name");
	engine_free(engine);
}

static void
test_kept(void)
{
	struct op op;

	setup();
	op = named(OP_LOOKUP, b, "y", 0);
	ok(run(&op) == 0 && op.cacheable && op.name_cacheable, "a quiet name is the kernel's to keep");
	op = named(OP_LINK, y, "y2", 0);
	op.ino2 = b;
	ok(run(&op) == 0, "a second name");
	op = named(OP_GETATTR, y, "", 0);
	ok(run(&op) == 0 && op.attr.nlink == 2 && !op.cacheable, "with two the count is asked for each time");
	op = named(OP_UNLINK, b, "y2", 0);
	run(&op);
	op = named(OP_GETATTR, y, "", 0);
	ok(run(&op) == 0 && op.attr.nlink == 1 && !op.cacheable, "and still when one has gone");
	engine_free(engine);
}

int
main(void)
{
	static const uint8_t key[KEY_SIZE], volume[VOLUME_ID_SIZE];

	keys = volume_keys_new(key, volume);
	test_pair();
	test_late();
	test_held();
	test_leaving();
	test_gone();
	test_others();
	test_untold();
	test_alike();
	test_unknown();
	test_kept();
	volume_keys_free(keys);
	return tap_done();
}
