/*
 * test_client_apart.c - the client engine without its server, and after it
 * lost what it had not committed.  The journal is a few counters: what is in
 * it, test_journal.c and the simulator see to.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

static struct {
	unsigned	entries, synced, of_kind[JOURNAL_KINDS];
	uint64_t	trimmed;
	int		fails;
} kept;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)data;
	if (kept.fails != 0)
		return kept.fails;
	kept.entries++;
	kept.of_kind[arguments.data[0]]++;
	if (sync)
		kept.synced = kept.entries;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context;
	kept.trimmed = upto;
}

static struct engine_journal sink = { append, trim, NULL, 1, 64 << 20 };

static void
begin(enum offline offline)
{
	struct engine_config config = { .journal = &sink, .redo = true, .offline = offline };

	memset(&kept, 0, sizeof kept);
	world_setup_as(&config);
}

static void
cut_off(void)
{
	engine_detached(w.engine);
	world_pass(TERM_MS + 1000);
}

/* One operation that is to be answered at once: its error; 1: it waits, and is given up. */
static int
now(struct op op)
{
	if (!world_submit(&op)) {
		engine_interrupt(w.engine, &op);
		world_collect();
		world_replied(&op);
		return 1;
	}
	world_replied(&op);
	return op.error;
}

static int
look(uint64_t ino)
{
	return now((struct op){ .type = OP_GETATTR, .ino = ino });
}

static void
test_begins(void)
{
	struct op waiting = { .type = OP_GETATTR, .ino = FAR }, sync = { .type = OP_SYNC, .ino = OID_ROOT };
	uint64_t h, a;

	begin(OFFLINE_ALWAYS);
	a = world_create("a", &h);
	engine_detached(w.engine);
	w.reply_count = 0;
	world_submit(&waiting);
	world_submit(&sync);
	world_pass(1000);
	ok(!world_status().offline && w.reply_count == 0, "within its term a mount without a server waits for it");
	w.reply_count = 0;
	world_pass(TERM_MS);
	ok(world_status().offline && world_status().offline_since.tv_sec > 0 && !world_status().lapsed && world_status().alone,
	    "after it, it is offline, and says since when");
	ok(w.reply_count == 1 && waiting.error == -EHOSTDOWN, "who waited is told that the host is down");
	world_replied(&waiting);
	ok(look(a) == 0 && look(OID_ROOT) == 0, "what it has it serves");
	ok(look(FAR) == -EHOSTDOWN && now((struct op){ .type = OP_LOOKUP, .ino = FAR, .name = world_text("x") }) == -EHOSTDOWN,
	    "what it does not have fails at once");
	ok(now((struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("none") }) == -ENOENT,
	    "a name that is known not to be there is not");
	ok(world_find(ACTION_INVALIDATE, 0, a) < 0, "the kernel keeps what it has");
	world_attach(false, 1, false);
	ok(!world_status().offline && w.sent[MSG_reclaim] > 0, "attached again it claims what it had");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &sync);
	world_replied(&sync);
	ok(sync.error == -EINTR, "a sync of everything went on waiting");
	world_teardown();
	begin(OFFLINE_ALWAYS);
	for (unsigned i = 0; i < 3; i++)
		world_pass(TERM_MS);		/* silence */
	engine_detached(w.engine);
	world_pass(1000);
	ok(!world_status().offline, "nor at once when the term had run out before the connection broke");
	world_teardown();
}

static void
test_who_may(void)
{
	struct message m = { .type = MSG_alive, .alive = { .sessions = 2 } };
	uint64_t h, a;

	begin(OFFLINE_ALONE);
	a = world_create("a", &h);
	cut_off();
	ok(world_status().offline && look(a) == 0, "by default a mount that is alone goes on");
	world_teardown();
	begin(OFFLINE_ALONE);
	a = world_create("a", &h);
	world_pass(5000);
	m.id = w.last_keepalive;
	engine_received(w.engine, &m);
	cut_off();
	ok(!world_status().offline && world_status().lapsed && look(a) == 1, "one that is not waits");
	world_teardown();
	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	cut_off();
	ok(!world_status().offline && look(a) == 1, "and one that must not waits too");
	world_teardown();
	begin(OFFLINE_ALWAYS);
	kept.fails = -ENOSPC;
	world_create("a", &h);
	cut_off();
	ok(!world_status().offline, "without room for its journal it does not go on");
	world_teardown();
}

static void
test_changes(void)
{
	struct op again = { .type = OP_MKNOD, .ino = OID_ROOT, .attr.mode = S_IFREG | 0644 };
	char name[16];
	uint64_t h, a;
	unsigned before, made = 0;
	int r;

	begin(OFFLINE_ALWAYS);
	a = world_create("a", &h);
	world_sync();
	world_recall(OID_ROOT, 0, MODE_SHARED, 1);
	world_answer_all();
	world_pass(100);
	cut_off();
	ok(now((struct op){ .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = 0755 }) == 0,
	    "offline, what is shared can be changed");
	before = kept.entries;
	world_write(a, h, 0, 100);
	ok(kept.entries == before + 1 && kept.synced < kept.entries, "a change is in the journal");
	ok(now((struct op){ .type = OP_FSYNC, .ino = a, .handle = h }) == 0 && kept.synced == kept.entries,
	    "fsync brings it to this machine's disk");
	ok(world_sane(), "and all is in order");
	for (r = 0; r == 0; made++) {
		snprintf(name, sizeof name, "f%u", made);
		again.name = world_text(name);
		r = now(again);
	}
	ok(r == -ENOSPC && made > 1000, "after %u files there is no room, and that is said at once", made);
	ok(look(a) == 0 && world_status().ops_parked == 0 && world_sane(), "it goes on serving");
	kept.fails = -ENOSPC;
	ok(now((struct op){ .type = OP_WRITE, .ino = a, .handle = h, .data = world_text("more") }) == -ENOSPC &&
	    now((struct op){ .type = OP_SETATTR, .ino = a, .set = SET_MODE }) == -ENOSPC,
	    "what the journal cannot keep is refused");
	world_teardown();
}

static void
test_unjournaled(void)
{
	struct op get = { .type = OP_GETATTR };
	uint64_t h, a;

	begin(OFFLINE_ALWAYS);
	a = world_create("a", &h);
	world_sync();
	cut_off();
	kept.fails = -ENOSPC;
	now((struct op){ .type = OP_SETATTR, .ino = a, .set = SET_MODE, .attr.mode = 0640 });	/* that is how it is found out */
	ok(now((struct op){ .type = OP_SETATTR, .ino = a, .set = SET_MODE, .attr.mode = 0600 }) == -ENOSPC,
	    "once the journal is broken, changes are refused");
	get.ino = a;
	world_submit(&get);
	ok(get.error == 0 && (get.attr.mode & 07777) == 0640, "before they are made");
	world_replied(&get);
	world_teardown();
}

/* What the journal kept of earlier would undo it. */
static void
test_through(void)
{
	struct op first = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 }, second = first;
	unsigned kept_before;
	uint64_t h;

	begin(OFFLINE_NEVER);
	second.ino = first.ino = world_create("a", &h);
	world_sync();
	now((struct op){ .type = OP_SETATTR, .ino = first.ino, .set = SET_MODE, .attr.mode = 0640 });
	kept_before = kept.entries;
	kept.fails = -ENOSPC;
	w.reply_count = 0;
	ok(!world_submit(&first) && !world_submit(&second) && kept.trimmed <= kept_before && w.commit_count == 2,
	    "changes that the journal cannot keep wait");
	world_answer(STATUS_OK);
	ok(w.reply_count == 1 && first.error == 0 && kept.trimmed > kept_before,
	    "when one is answered, nothing from before it is left in the journal");
	world_replied(&first);
	world_answer(STATUS_OK);
	world_replied(&second);
	world_teardown();
}

/* No room here, and none there: what is on neither disk is not done. */
static void
test_through_to_full(void)
{
	struct op make = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = 0755 };

	begin(OFFLINE_NEVER);
	kept.fails = -ENOSPC;
	w.reply_count = 0;
	ok(!world_submit(&make) && make.through && world_status().journal_full && w.commit_count == 1,
	    "what the journal cannot keep goes to the server before it is answered, and status says why");
	world_answer(STATUS_BUSY);
	world_pass(1000);
	ok(w.reply_count == 0 && w.commit_count == 1, "again, when that is too busy");
	world_answer(STATUS_NOSPC);
	ok(w.reply_count == 1 && make.error == -ENOSPC, "when that refuses it, it has failed");
	world_replied(&make);
	world_teardown();
}

/* Others see what it did before it is answered: the kernel must not go on telling of before. */
static void
test_through_seen(void)
{
	struct op link = { .type = OP_LINK, .ino2 = OID_ROOT, .name = world_text("b") };
	uint64_t h;

	begin(OFFLINE_NEVER);
	link.ino = world_create("a", &h);
	world_sync();
	kept.fails = -ENOSPC;
	world_forget();
	ok(!world_submit(&link) && link.through && world_find(ACTION_INVALIDATE, 0, link.ino) >= 0 &&
	    world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0, "what waits for the server is asked for again");
	world_answer(STATUS_OK);
	ok(link.error == 0, "and is answered");
	world_replied(&link);
	world_teardown();
}

/* What is refused is lost, and waits for the journal to be run again. */
static void
test_gate(void)
{
	struct op write = { .type = OP_WRITE, .data = world_text("more") }, fsync = { .type = OP_FSYNC };
	uint64_t h, a, b, g, losses, more;
	bool keep;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	b = world_create("b", &g);
	world_sync();
	ok(!engine_redo_due(w.engine, &losses, &keep), "nothing is to be done again where nothing was lost");
	world_write(a, h, 0, 10);
	fsync.ino = write.ino = a;
	fsync.handle = write.handle = h;
	world_submit(&fsync);
	w.reply_count = 0;
	world_answer(STATUS_REJECTED);
	ok(w.reply_count == 0 && kept.of_kind[JOURNAL_LOSS] > 1 && kept.synced > 0 && world_status().lost_objects == 0,
	    "a refused commit is noted in the journal, and its fsync waits");
	ok(engine_redo_due(w.engine, &losses, &keep) && keep && world_status().journal_stranded && world_status().waiting_objects == 1,
	    "it is to be done again, in the same session");
	ok(!world_submit(&write) && w.sent[MSG_read] == 0, "who wants to change what was lost waits, and asks the server nothing");
	ok(look(b) == 0, "other files are as they were");
	ok(engine_redo_end(w.engine, losses - 1, 0) == -EAGAIN && world_status().journal_stranded, "an older loss is not this one");
	ok(engine_redo_end(w.engine, losses, -ENOSPC) == -ENOSPC, "it may fail");
	world_collect();
	ok(w.reply_count == 1 && fsync.error == -ENOSPC, "then fsync says why");
	world_replied(&fsync);
	ok(world_wanted(a, MODE_EXCLUSIVE), "and others go on");
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 5, 2, &world_file));
	engine_interrupt(w.engine, &write);
	world_replied(&write);
	world_pass(100);
	engine_redo_due(w.engine, &losses, &keep);
	ok(world_sane() && engine_redo_end(w.engine, losses, 0) == 0 && kept.of_kind[JOURNAL_REDONE] == 1 &&
	    !engine_redo_due(w.engine, &more, &keep) && !world_status().journal_stranded && world_sane(), "until it is done");
	world_teardown();
}

/* The driver removes a copy that is equal to the original, unless somebody has it open. */
static void
test_open_copy(void)
{
	struct op drop = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a"), .redo = true };
	uint64_t h;
	unsigned before;

	begin(OFFLINE_NEVER);
	world_create("a", &h);
	world_sync();
	ok(now(drop) != 0, "a copy that is open is not removed");
	now((struct op){ .type = OP_RELEASE, .handle = h });
	before = kept.of_kind[JOURNAL_OP];
	ok(now(drop) == 0, "but is when it is closed");
	ok(kept.of_kind[JOURNAL_OP] == before + 1, "which is in the journal, or a kill would bring it back");
	world_teardown();
}

/* This machine's disk is full while lost work waits: it ends once there is room, not at the next mount. */
static void
test_full_while_lost(void)
{
	struct op mode = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };
	uint64_t h, g, a, losses;
	bool keep;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	mode.ino = world_create("b", &g);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	kept.fails = -ENOSPC;
	ok(!world_submit(&mode) && world_status().journal_full && world_status().journal_stranded,
	    "a change that the journal has no room for waits for the server");
	w.reply_count = 0;
	for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && mode.error == 0, "and is answered then");
	world_replied(&mode);
	engine_redo_due(w.engine, &losses, &keep);
	ok(engine_redo_end(w.engine, losses, 0) == -ENOSPC && world_status().journal_stranded, "the end of what was lost has no room either");
	kept.fails = 0;
	ok(engine_redo_end(w.engine, losses, 0) == 0 && !world_status().journal_stranded, "until there is some");
	for (unsigned i = 0; i < 20 && world_status().journal_full; i++) {
		world_pass(1000);
		world_answer_all();
	}
	ok(!world_status().journal_full && world_sane(), "and then the journal is as before");
	world_teardown();
}

/* The journal grew too large with what was lost: nobody's work is kept in it any more, but its end is. */
static void
test_filled(void)
{
	struct op write = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };
	uint64_t h, a, losses;
	bool keep;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	engine_redo_due(w.engine, &losses, &keep);
	engine_redo_end(w.engine, losses, -ENOSPC);
	sink.max = 1;
	write.ino = a;
	world_submit(&write);
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 5, 2, &world_file));
	ok(kept.of_kind[JOURNAL_FOREIGN] == 1 && world_status().ops_parked == 1,
	    "a change of what was lost is answered by the server, and said to be one");
	ok(engine_redo_end(w.engine, losses, 0) == 0 && kept.of_kind[JOURNAL_REDONE] == 1, "that all was done again fits too");
	sink.max = 64 << 20;
	engine_detached(w.engine);
	engine_interrupt(w.engine, &write);
	world_replied(&write);
	world_teardown();
}

/* Somebody else changed it, then we did, though not its content: it is not ours. */
static void
test_changed_elsewhere(struct op chmod)
{
	struct journal_entry n = { .kind = JOURNAL_OP, .type = OP_WRITE, .version = 2 };
	struct replaying p = { .entry = &n, .it.base = 2 };
	struct op again = { .type = OP_WRITE, .data = world_text("lost"), .replay = &p, .redo = true };
	struct msg_answer theirs;
	uint64_t h, a, losses;
	bool keep;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	engine_redo_due(w.engine, &losses, &keep);
	engine_redo_end(w.engine, losses, -ENOSPC);
	theirs = world_object(a, MODE_EXCLUSIVE, 5, 30, &world_file);
	theirs.writer = 99;
	chmod.ino = again.ino = n.ino = a;
	kept.fails = -ENOSPC;			/* not as the journal tells it */
	world_submit(&chmod);
	world_grant_one(1, theirs);
	kept.fails = 0;
	world_pass(3000);
	world_pass(600);
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	world_replied(&chmod);
	world_submit(&again);
	ok(p.verdict == REPLAY_CHANGED, "what another had changed is not ours because we changed it last");
	world_replied(&again);
	world_teardown();
}

static void
test_changed_here(void)
{
	struct op chmod = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };
	struct journal_entry n = { .kind = JOURNAL_OP, .type = OP_WRITE, .version = 2 };
	struct replaying p = { .entry = &n, .it.base = 2 };
	struct op again = { .type = OP_WRITE, .data = world_text("lost"), .replay = &p, .redo = true };
	uint64_t h, a, losses;
	bool keep;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	engine_redo_due(w.engine, &losses, &keep);
	engine_redo_end(w.engine, losses, -ENOSPC);
	chmod.ino = again.ino = n.ino = a;
	world_submit(&chmod);
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 5, 2, &world_file));
	world_replied(&chmod);
	world_submit(&again);
	ok(p.verdict == REPLAY_CHANGED, "nor is what we changed since it was lost, though no commit tells");
	world_replied(&again);
	world_teardown();
}

/* What nobody had before is made again, and in a commit before its content is. */
static void
test_made_again(void)
{
	struct journal_entry made = { .kind = JOURNAL_OP, .type = OP_CREATE, .ino = OID_ROOT, .name = world_text("a") };
	struct journal_entry n = { .kind = JOURNAL_OP, .type = OP_WRITE };
	struct replaying q = { .entry = &made, .keep_oids = true, .live = true }, p = { .entry = &n, .live = true };
	struct op make = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("a"), .attr.mode = S_IFREG | 0600,
	    .replay = &q, .redo = true };
	struct op again = { .type = OP_WRITE, .data = world_text("lost"), .replay = &p, .redo = true };
	const struct attr root = { .mode = S_IFDIR | 0755, .nlink = 2 };
	struct msg_answer none = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE, .grant = 5, .version = 30 };
	uint64_t h, a;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	made.child = n.ino = again.ino = a;
	world_pass(3000);
	world_pass(600);
	world_answer(STATUS_REJECTED);
	world_submit(&make);
	world_grant_one(1, world_object(OID_ROOT, MODE_EXCLUSIVE, 5, 30, &root));
	world_grant_one(1, none);
	ok(make.error == 0 && make.made && make.child == a && q.verdict == REPLAY_DONE, "a lost file is made again");
	world_replied(&make);
	world_pass(3000);
	world_pass(600);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], a, KIND_ATTR), "and goes to the server");
	world_answer_all();
	world_submit(&again);
	ok(p.verdict == REPLAY_DONE && again.error == 0, "it is ours then, and gets its content");
	world_replied(&again);
	world_teardown();
}

static void
test_gate_opens(void)
{
	struct op look_at = { .type = OP_GETATTR };
	struct commit *c;
	uint64_t h, a;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	world_sync();
	w.version = 40;			/* as a resumed commit may have made believe */
	world_write(a, h, 0, 10);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	look_at.ino = a;
	w.sent[MSG_read] = 0;
	world_submit(&look_at);
	world_pass(9000);
	ok(w.sent[MSG_read] == 0, "the gate is shut for ten seconds");
	world_pass(1500);
	ok(w.sent[MSG_read] == 1, "and no longer");
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 5, 3, &world_file));
	ok(look_at.error == 0 && look_at.attr.size == 100, "then there is what the server has");
	world_replied(&look_at);
	now((struct op){ .type = OP_GETATTR, .ino = OID_ROOT, .redo = true });
	ok(look(a) == 0, "nor is it shut again");
	now((struct op){ .type = OP_SETATTR, .ino = a, .set = SET_MODE, .attr.mode = 0600 });
	world_pass(3000);
	world_pass(600);
	c = w.commit_count > 0 ? w.commits[0] : NULL;
	ok(c != NULL && c->bases_count == 1 && c->bases[0].version == 3, "which is what a change builds on");
	world_teardown();
}

/* The server answers, and the driver does something, every few seconds: did it at once? */
static bool
get_on(void)
{
	struct message alive = { .type = MSG_alive, .alive.sessions = 1 };

	world_pass(8000);
	alive.id = w.last_keepalive;
	engine_received(w.engine, &alive);
	world_collect();
	return now((struct op){ .type = OP_GETATTR, .ino = OID_ROOT, .redo = true }) == 0;
}

/* As long as the driver does anything nobody builds on what is there without it; a term at most. */
static void
test_gate_waits_for_progress(void)
{
	struct op look_at = { .type = OP_GETATTR };
	uint64_t h, a;
	bool shut = true;

	begin(OFFLINE_NEVER);
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_pass(3000);
	while (w.store_count > 0)
		world_stored(world_take_store());
	world_pass(600);
	world_answer(STATUS_REJECTED);
	look_at.ino = a;
	w.sent[MSG_read] = 0;
	world_submit(&look_at);
	for (unsigned ms = 0; ms + 8000 < TERM_MS; ms += 8000)
		shut &= get_on() && w.sent[MSG_read] == 0;
	ok(shut, "the gate is shut while the driver gets on");
	ok(get_on() && w.sent[MSG_read] == 1, "for a term");
	world_grant_one(1, world_object(a, MODE_EXCLUSIVE, 5, 2, &world_file));
	ok(look_at.error == 0 && world_sane(), "and then it opens");
	world_replied(&look_at);
	world_teardown();
}

/* A directory's lease is lost while the commit of a new name in it is on its way, and then there is no room for that. */
static void
test_half_lost(void)
{
	struct msg_lease lost = { .oid = OID_ROOT, .mode = MODE_EXCLUSIVE };
	struct message m = { .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } };
	uint64_t h, b, losses, sequence;
	bool keep;

	begin(OFFLINE_NEVER);
	b = world_create("b", &h);
	world_pass(3000);
	world_pass(600);
	sequence = w.commits[0]->sequence;
	ok(world_commit_has(w.commits[0], OID_ROOT, KIND_ENTRY) && world_commit_has(w.commits[0], b, KIND_ATTR),
	    "a file and its name go in one commit");
	engine_detached(w.engine);
	world_attach(false, sequence - 1, false);
	engine_received(w.engine, &m);
	world_collect();
	while (w.commit_count > 0)
		world_answer(STATUS_NOSPC);
	for (unsigned i = 0; i < 20; i++)
		world_pass(1000);
	ok(w.commit_count == 0 && world_status().dirty_objects == 0, "without the name the file does not go either");
	ok(engine_redo_due(w.engine, &losses, &keep) && world_status().waiting_objects == 2 && world_sane(),
	    "both are done again");
	world_teardown();
}

/* FAR is a file of 100 bytes in a block that is not here. */
static void
far_block(void)
{
	static const uint8_t subkey[8], ids[1][ID_SIZE] = { { 9 } };
	static uint8_t value[200];
	struct extent extent = { .length = 100 };
	struct msg_record record = { .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 1 } };
	struct op op = { .type = OP_READ, .ino = FAR, .size = 100 };
	struct msg_answer answers[WANTS_MAX];

	record.value = (struct bytes){ value, (size_t)region_encode(&extent, 1, value, sizeof value) };
	world_lease_far(MODE_SHARED, 7);
	world_submit(&op);
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_SHARED, .grant = 7, .version = 1 };
		if (w.wants[i].kind == KIND_REGION)
			answers[i].records.at = &record, answers[i].records.count = 1;
	}
	w.fetch_count = 0;
	world_grant(w.last_read, 1, answers, w.read.wants.count);
	world_collect();
	ok(w.fetch_count == 1 && w.fetches[0]->count == 1, "a file's cell is asked for");
	engine_fetched(w.engine, w.fetches[0], -ENOENT);	/* nor does it stay */
	world_collect();
	world_replied(&op);
	w.fetch_count = 0;
}

/* Who reads it now; the disk answers with so many bytes, or -errno. */
static int
read_far(int bytes)
{
	struct op op = { .type = OP_READ, .ino = FAR, .size = 100 };
	struct buffer *b = bytes > 0 ? buffer_new(CELL_SIZE) : NULL;
	bool done = world_submit(&op);
	int error;

	if (done || w.fetch_count != 1) {
		buffer_put(b);
		if (!done) {
			engine_interrupt(w.engine, &op);
			world_collect();
		}
		world_replied(&op);
		return done ? op.error : 1;
	}
	if (b != NULL)
		b->size = (size_t)bytes;
	w.fetches[0]->cells[0] = b;
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], bytes > 0 ? 0 : bytes);
	world_collect();
	error = op.error;
	world_replied(&op);
	return error;
}

/* Offline, with and without blocks on this machine's disk. */
static void
test_stocked(void)
{
	struct engine_config config = { .journal = &sink, .redo = true, .offline = OFFLINE_ALWAYS, .stocked = true };
	struct fetch *late;
	struct op op = { .type = OP_READ, .ino = FAR, .size = 100 };

	begin(OFFLINE_ALWAYS);
	far_block();
	cut_off();
	ok(world_status().offline && read_far(100) == -EHOSTDOWN && world_status().ops_parked == 0, "without a cache on disk it fails at once");
	world_teardown();
	begin(OFFLINE_ALWAYS);
	engine_free(w.engine);
	engine_new(&w.engine, &config, w.keys);
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	world_attach(true, 0, false);
	far_block();
	engine_detached(w.engine);
	world_submit(&op);
	late = w.fetches[0];
	world_pass(TERM_MS + 1000);
	w.reply_count = 0;
	engine_fetched(w.engine, late, -EHOSTDOWN);
	world_collect();
	ok(world_status().offline && w.reply_count == 1 && op.error == -EHOSTDOWN, "who waited for the server is told");
	world_replied(&op);
	w.fetch_count = 0;
	ok(read_far(-EHOSTDOWN) == -EHOSTDOWN && world_status().ops_parked == 0, "what the disk does not have fails so");
	op = (struct op){ .type = OP_READ, .ino = FAR, .size = 100 };
	world_submit(&op);
	late = w.fetches[0];
	w.fetch_count = 0;
	world_attach(false, 0, false);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	engine_fetched(w.engine, late, -EHOSTDOWN);
	world_collect();
	ok(w.fetch_count == 1, "a failure that the server's return overtook is nobody's: the cell is asked for again");
	engine_fetched(w.engine, w.fetches[0], -EIO);
	world_collect();
	ok(op.error == -EIO, "and what the server says counts");
	world_replied(&op);
	w.fetch_count = 0;
	cut_off();
	ok(world_status().offline && read_far(100) == 0 && read_far(0) == 0, "what it has comes, and stays");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_begins();
	test_who_may();
	test_changes();
	test_unjournaled();
	test_through();
	test_through_to_full();
	test_through_seen();
	test_gate();
	test_open_copy();
	test_full_while_lost();
	test_filled();
	test_changed_elsewhere((struct op){ .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 });
	test_changed_elsewhere((struct op){ .type = OP_LINK, .ino2 = OID_ROOT, .name = world_text("b") });
	test_changed_here();
	test_made_again();
	test_gate_opens();
	test_gate_waits_for_progress();
	test_half_lost();
	test_stocked();
	return tap_done();
}
