/*
 * test_client_recovery.c - the client engine when answers are lost, late or
 * refused.  Nothing is answered by itself: each case says what the server did.
 */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/replay.h"
#include "tests/tap.h"

static void
test_lost_reset(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h, g, a, b, sequence;

	world_setup();
	a = world_create("a", &h);
	b = world_create("b", &g);
	world_sync();
	world_write(a, h, 0, 10);
	op.ino = a;
	op.handle = h;
	world_submit(&op);
	sequence = w.commits[0]->sequence;
	world_answer(STATUS_REJECTED);
	ok(op.error == -EIO, "an fsync whose commit was refused says so");
	world_replied(&op);
	engine_detached(w.engine);
	world_write(b, g, 0, 10);
	world_pass(3000);
	world_pass(600);
	memset(w.sent, 0, sizeof w.sent);
	world_attach(false, sequence, true);
	ok(w.sent[MSG_reset] == 1, "RESET is sent again although another commit waits");
	world_teardown();
}

/* The kernel learns a name from an answer after the sweep that was to take it away. */
static void
test_lost_before_told(void)
{
	struct op make = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = 0755 };
	struct op sync = { .type = OP_SYNC };

	world_setup();
	world_sync();
	world_submit(&make);
	world_submit(&sync);
	world_forget();
	world_answer(STATUS_REJECTED);
	ok(make.error == 0 && world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0, "what is lost is swept");
	world_forget();
	world_replied(&sync);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) < 0, "once");
	world_replied(&make);
	ok(world_find(ACTION_INVALIDATE, 0, OID_ROOT) >= 0 && world_find(ACTION_INVALIDATE, 0, make.child) >= 0,
	    "and again when answers from before it have left");
	world_teardown();
}

/* What arrives last was frozen first, when the file was shorter; and somebody writes on below it. */
static void
test_fsync_out_of_order(void)
{
	struct op op = { .type = OP_FSYNC };
	uint64_t h, a, size;

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 0, REGION_SIZE);
	world_write(a, h, REGION_SIZE, 5000);
	op.ino = a;
	op.handle = h;
	w.reply_count = 0;
	world_submit(&op);
	world_write(a, h, 0, 16);
	world_stored(world_take_store_of(5000));
	world_stored(world_take_store_of(REGION_SIZE));
	size = world_answer_until(1, a);
	ok(op.error == 0 && w.reply_count == 1 && size != UINT64_MAX && size >= REGION_SIZE + 5000,
	    "fsync has committed the size of its moment, whatever arrived last");
	world_replied(&op);
	world_teardown();
}

/* Content is held back as a whole; what fsync waits for has arrived, what was written later has not. */
static void
test_fsync_held_back(void)
{
	struct op op = { .type = OP_FSYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, a, size;

	world_setup();
	a = world_create("a", &h);
	world_write(a, h, 0, 5000);
	world_sync();
	cut.ino = a;
	world_submit(&cut);
	world_replied(&cut);
	world_write(a, h, REGION_SIZE, 300);
	world_write(a, h, 0, REGION_SIZE);
	world_write(a, h, 0, 100);		/* leaves when the region has arrived, with what is written until then */
	op.ino = a;
	op.handle = h;
	w.reply_count = 0;
	world_submit(&op);
	world_write(a, h, 2 * REGION_SIZE, 16);
	world_stored(world_take_store_of(REGION_SIZE));
	world_stored(world_take_store_of(300));
	world_stored(world_take_store_of(100));
	size = world_answer_until(1, a);
	ok(op.error == 0 && w.reply_count == 1 && size != UINT64_MAX && size >= REGION_SIZE + 300,
	    "fsync of a file written anew has committed it, though more is written");
	world_replied(&op);
	world_teardown();
}

/* The root is leased, clean and not of this session's making when the session is gone. */
static void
test_fresh_session(void)
{
	struct op op = { .type = OP_GETATTR, .ino = OID_ROOT };
	struct attr attr = { .mode = S_IFDIR | 0755, .nlink = 2 };
	uint8_t value[512];
	struct msg_record record = { .kind = KIND_ATTR, .value = { value, attr_encode(&attr, value, sizeof value) } };
	struct msg_answer root = { .oid = OID_ROOT, .mode = MODE_SHARED, .grant = 7, .version = 1, .records = { &record, 1 } };
	struct message m = { .type = MSG_granted, .granted = { .ticket = 1, .answers = { &root, 1 } } };
	struct engine_config config = { 0 };

	world_setup();
	world_teardown();
	engine_new(&w.engine, &config, w.keys);
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	world_attach(true, 0, false);
	world_submit(&op);
	m.id = w.last_read;
	engine_received(w.engine, &m);
	world_collect();
	ok(op.error == 0, "the root is read");
	world_replied(&op);
	engine_detached(w.engine);
	world_pass(1000);
	world_attach(true, 0, false);
	memset(w.sent, 0, sizeof w.sent);
	ok(!world_submit(&op) && w.sent[MSG_read] == 1, "a new session asks again for what the old one held");
	m.id = w.last_read;
	engine_received(w.engine, &m);
	world_collect();
	world_replied(&op);
	world_teardown();
}

static void
test_lost_open_file(void)
{
	struct msg_lease lost = { 0 };
	struct message m = { .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } };
	uint64_t h;

	world_setup();
	lost.oid = world_create("a", &h);
	world_sync();
	engine_detached(w.engine);
	world_attach(false, 100, false);
	engine_received(w.engine, &m);
	world_collect();
	ok(w.pins == 1, "a lost object is pinned while it is open");
	world_teardown();
}

/* Whoever has it by then may remove its last name. */
static void
test_open_past_term(void)
{
	uint64_t h, g, open, closed;

	world_setup();
	open = world_create("a", &h);
	closed = world_create("b", &g);
	world_sync();
	world_run(OP_RELEASE, closed, g);
	engine_detached(w.engine);
	world_attach(false, 100, false);
	ok(w.pins == 0, "what is open is not pinned while its lease is sure");
	engine_detached(w.engine);
	world_pass(1001 * TERM_MS);
	world_forget();
	world_attach(false, 100, false);
	ok(w.pins == 1 && world_find(ACTION_SEND, MSG_pin, open) >= 0 &&
	    world_find(ACTION_SEND, MSG_pin, open) < world_find(ACTION_SEND, MSG_reclaim, 0),
	    "when the term is over it is, before the leases are claimed");
	world_teardown();
}

/* Nothing answers a PIN, so that one taken back counts as perhaps unheard for a while. */
static void
test_pinned_anew(void)
{
	struct op open = { .type = OP_OPEN, .flags = O_RDWR }, unlink = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") };
	struct message m = { .type = MSG_reclaimed };
	uint64_t h, a;
	int pin;

	world_setup();
	open.ino = a = world_create("a", &h);
	world_sync();
	engine_detached(w.engine);
	world_pass(1001 * TERM_MS);
	world_attach(false, 100, false);
	engine_received(w.engine, &m);
	world_run(OP_RELEASE, a, h);
	ok(w.pins == 1 && w.said[w.said_count - 1].type == MSG_pin && w.said[w.said_count - 1].mode == 0, "a pin is taken back");
	ok(world_submit(&open) && world_submit(&unlink) && w.pins == 2, "and the file pinned anew, opened again and removed");
	world_replied(&open);
	world_replied(&unlink);
	world_run(OP_RELEASE, a, open.handle);
	engine_detached(w.engine);
	world_forget();
	world_attach(false, 100, false);
	pin = world_find(ACTION_SEND, MSG_pin, a);
	ok(pin >= 0 && w.said[pin].mode == 1, "closed, it is pinned on the next connection: its removal is on its way");
	engine_received(w.engine, &m);
	world_forget();
	world_sync();
	pin = world_find(ACTION_SEND, MSG_pin, a);
	ok(pin >= 0 && w.said[pin].mode == 0 && world_sane(), "and not for ever");
	world_teardown();
}

static void
test_refused_alloc(void)
{
	struct message m = { .type = MSG_done, .done.status = STATUS_NOSPC };
	struct msg_attached few = { .session = 1, .credit = CREDIT_MAX, .term_ms = 1000 * TERM_MS, .first_oid = 5000000, .oid_count = 3, .sessions = 1 };
	struct engine_config config = { 0 };
	uint64_t h;

	world_setup();
	world_teardown();
	engine_new(&w.engine, &config, w.keys);
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	engine_attached(w.engine, &few, true);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	memset(w.sent, 0, sizeof w.sent);
	world_create("1", &h);
	m.id = w.last_alloc;
	engine_received(w.engine, &m);
	world_collect();
	world_create("2", &h);
	world_create("3", &h);
	for (unsigned i = 0; i < 100; i++)
		world_pass(1000);
	ok(w.sent[MSG_alloc] >= 2, "a refused ALLOC is asked again (%u times)", w.sent[MSG_alloc]);
	world_teardown();
}

/* Answers the commits that were sent, the first so and those behind it as a server then must; their sequences. */
static uint64_t
answer_all(enum status status)
{
	uint64_t list = 0;
	bool first = true;

	for (unsigned count = w.commit_count; count > 0; count--) {
		list = list * 10 + w.commits[0]->sequence % 10;
		world_answer(first || status == STATUS_OK ? status : STATUS_SEQUENCE);
		first = false;
	}
	return list;
}

static void
test_busy(void)
{
	struct op op = { .type = OP_FSYNC };
	struct engine_status status;
	unsigned before = w.reply_count, waited = 0;
	uint64_t h, g, sent_once, again = 0;

	world_setup();
	op.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, 10);
	world_pass(3000);
	world_pass(600);
	world_create("b", &g);
	before = w.reply_count;
	world_submit(&op);
	while (w.store_count > 0)
		world_stored(world_take_store());
	ok(w.commit_count == 2, "two commits are under way");
	sent_once = answer_all(STATUS_BUSY);
	engine_status(w.engine, &status);
	ok(w.reply_count == before && status.busy && status.error == 0 && w.commit_count == 0,
	    "when the server is busy fsync waits, and status says it");
	for (unsigned i = 0; i < 5; i++) {
		for (waited = 0; waited < 6000 && w.commit_count == 0; waited += 100)
			world_pass(100);
		again = answer_all(STATUS_BUSY);
	}
	ok(again == sent_once && waited >= 800, "both go again and again, in their order, after %u ms at last", waited);
	for (waited = 0; waited < 6000 && w.commit_count == 0; waited += 100)
		world_pass(100);
	again = answer_all(STATUS_OK);
	ok(again == sent_once && w.reply_count == before + 1 && op.error == 0, "until they are taken, and fsync is done");
	world_pass(6000);
	engine_status(w.engine, &status);
	ok(!status.busy && w.commit_count == 0, "and nothing is said of it any more");
	world_replied(&op);
	world_teardown();
}

static void
read_refused(void)
{
	struct message m = { .type = MSG_done, .id = w.last_read, .done.status = STATUS_BUSY };

	world_forget();
	engine_received(w.engine, &m);
	world_collect();
}

/* A session with too many leases gives some back, and asks again. */
static void
test_busy_read(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR + 1 };
	unsigned sent;
	uint64_t h, b;

	world_setup();
	b = world_create("b", &h);
	world_sync();
	world_lease_far(MODE_SHARED, 7);
	w.no_sweep = true;
	world_recall(b, 0, MODE_NONE, 9);
	world_submit(&op);
	sent = w.sent[MSG_read];
	read_refused();
	ok(world_find(ACTION_SEND, MSG_release, FAR) >= 0 && w.sent[MSG_read] == sent + 1,
	    "a READ refused is sent again as soon as something was given back, whatever else is recalled");
	read_refused();
	ok(w.sent[MSG_read] == sent + 1, "with nothing to give back it waits");
	world_pass(1000);
	ok(w.sent[MSG_read] == sent + 2, "and is sent again all the same");
	world_grant_one(1, world_object(FAR + 1, MODE_SHARED, 8, 1, &world_file));
	ok(op.error == 0 && op.attr.size == world_file.size, "until it is answered");
	world_replied(&op);
	world_teardown();
}

static void
test_missing_twice(void)
{
	struct op op = { .type = OP_FSYNC };
	struct commit *c;
	struct flush *f;
	uint64_t h;

	world_setup();
	op.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, REGION_SIZE);
	world_submit(&op);
	world_stored(world_take_store());
	c = w.commits[0];
	c->refs++;
	world_answer(STATUS_MISSING);
	ok(w.store_count == 1, "a missing block is stored again");
	w.commits[w.commit_count++] = c;
	world_answer(STATUS_MISSING);
	ok(w.store_count == 1, "but once, however often it is missed");
	f = world_take_store();
	world_stored(f);
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	ok(op.error == 0, "and then the commit passes");
	world_replied(&op);
	world_teardown();
}

/* The content of one file is held back, and that of another committed in between. */
static void
test_held_blocks(void)
{
	struct op other = { .type = OP_FSYNC }, op = { .type = OP_FSYNC }, cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g;

	world_setup();
	op.ino = world_create("a", &h);
	op.handle = h;
	other.ino = world_create("b", &g);
	other.handle = g;
	world_write(op.ino, h, 0, 5000);
	world_sync();
	cut.ino = op.ino;
	world_submit(&cut);
	world_replied(&cut);
	world_write(op.ino, h, REGION_SIZE, 5000);
	world_write(op.ino, h, 0, REGION_SIZE);
	world_stored(world_take_store_of(REGION_SIZE));
	world_write(other.ino, g, 0, 10);
	world_submit(&other);
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	ok(other.error == 0, "another file is committed meanwhile");
	world_replied(&other);
	world_submit(&op);
	world_stored(world_take_store_of(5000));
	world_answer(STATUS_MISSING);
	ok(w.store_count == 1 && w.stores[0]->len == REGION_SIZE, "what was held back is still here to be stored again");
	while (w.store_count > 0)
		world_stored(world_take_store());
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
	ok(op.error == 0, "and then its commit passes");
	world_replied(&op);
	world_teardown();
}

static unsigned lost_count;

static void
count_lost(void *context, const char *path, bool lost)
{
	lost_count += lost && strcmp(path, context) == 0;
}

/* The server has lost a block of before, which a record still names besides a new one. */
static void
test_missing_for_good(void)
{
	struct op op = { .type = OP_FSYNC }, again = { .type = OP_FSYNC }, look = { .type = OP_GETATTR };
	struct engine_status status;
	uint8_t lost[1][ID_SIZE];
	uint64_t h, g, b;
	unsigned rounds = 0;
	bool entered = false;
	struct flush *f;
	char why[200] = "", name[] = "/a";

	world_setup();
	op.ino = again.ino = look.ino = world_create("a", &h);
	op.handle = again.handle = h;
	world_write(op.ino, h, 0, REGION_SIZE);
	f = world_take_store_of(REGION_SIZE);
	world_stored(f);
	memcpy(lost[0], f->id, ID_SIZE);
	world_sync();
	b = world_create("b", &g);
	world_write(op.ino, h, 0, REGION_SIZE / 2);
	world_write(op.ino, h, REGION_SIZE, 16);
	world_submit(&op);
	while (w.store_count > 0)
		world_stored(world_take_store());
	ok(w.commit_count == 1 && world_commit_names(w.commits[0], lost[0]), "a commit names a block of before");
	for (; rounds < 20 && w.commit_count > 0 && world_commit_names(w.commits[0], lost[0]); rounds++) {
		world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])lost);
		while (w.store_count > 0)
			world_stored(world_take_store());
		world_pass(100);
	}
	ok(rounds < 3, "that nobody has any more is not asked for again and again (%u times)", rounds);
	for (unsigned i = 0; i < 50 && w.commit_count > 0; i++) {
		entered |= world_committed_size(w.commits[0], b) == 0;
		world_answer(STATUS_OK);
	}
	ok(op.error == -EIO, "who waits is told that the content is lost");
	world_replied(&op);
	world_submit(&again);
	world_sync();
	ok(again.error == 0, "once");
	world_replied(&again);
	engine_status(w.engine, &status);
	engine_unsaved(w.engine, count_lost, name);
	ok(status.lost_objects == 1 && lost_count == 1, "and the status tells of it");
	ok(entered && status.commits_pending == 0 && status.dirty_objects == 0, "all else is committed");
	world_submit(&look);
	ok(look.attr.size == REGION_SIZE && look.attr.nlink == 1, "the file is what the server has of it");
	world_replied(&look);
	ok(engine_check(w.engine, why, sizeof why), "and all is well %s", why);
	world_teardown();
}

/* A server that misses a block however often it gets it. */
static void
test_missing_for_ever(void)
{
	struct op op = { .type = OP_FSYNC };
	uint8_t id[1][ID_SIZE];
	uint64_t h;
	unsigned rounds = 0;
	struct flush *f;

	world_setup();
	op.ino = world_create("a", &h);
	op.handle = h;
	world_write(op.ino, h, 0, REGION_SIZE);
	world_submit(&op);
	f = world_take_store_of(REGION_SIZE);
	world_stored(f);
	memcpy(id[0], f->id, ID_SIZE);
	for (w.reply_count = 0; rounds < 20 && w.reply_count == 0 && w.commit_count > 0; rounds++) {
		world_answer_with(STATUS_MISSING, (const uint8_t (*)[ID_SIZE])id);
		while (w.store_count > 0) {
			f = world_take_store();
			engine_stored(w.engine, f, 0);
			world_collect();
		}
	}
	ok(rounds < 10 && op.error == -EIO, "a server that misses a block for ever fails the fsync (after %u times)", rounds);
	world_replied(&op);
	world_sync();
	ok(w.commit_count == 0, "and is tried again later");
	world_teardown();
}

/* More leases than one RECLAIM holds. */
static void
test_part_of_reclaim(void)
{
	struct message m = { .type = MSG_reclaimed };
	struct op op = { .type = OP_GETATTR };
	struct op end = { .type = OP_RELEASE };
	char name[16];

	world_setup();
	for (unsigned i = 0; i < LEASE_LIST_MAX + 100; i++) {
		snprintf(name, sizeof name, "%u", i);
		op.ino = end.ino = world_create(name, &end.handle);
		world_submit(&end);
		world_replied(&end);
		if (i % 1000 == 0)
			world_sync();
	}
	world_sync();
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	memset(w.sent, 0, sizeof w.sent);
	world_attach(false, 1000000, false);
	ok(w.sent[MSG_reclaim] == 2, "two RECLAIMs ask for all leases");
	engine_received(w.engine, &m);
	world_collect();
	w.reply_count = 0;
	ok(!world_submit(&op), "the answer to one of them revives none");
	engine_received(w.engine, &m);
	world_collect();
	ok(w.reply_count == 1 && op.error == 0, "the answer to the last revives all");
	world_replied(&op);
	world_teardown();
}

/* ---- the journal ---- */

static unsigned kept[JOURNAL_KINDS];

static int
keep(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)data, (void)sync;
	kept[arguments.data[0]]++;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

/* One that has yet to attach. */
static void
new_engine(struct engine_journal *journal)
{
	world_setup_unattached(&(struct engine_config){ .journal = journal });
}

/* Of one file, which is written to meanwhile if `more`, and while another's content is still on its way. */
static int
sync_of(uint64_t ino, uint64_t handle, bool more)
{
	struct op op = { .type = OP_FSYNC, .ino = ino, .handle = handle };
	unsigned before = w.reply_count;
	bool done = world_submit(&op);

	if (more)
		world_write(ino, handle, 100, 100);

	for (unsigned i = 0; i < 50 && !done && w.reply_count == before; i++) {
		while (w.commit_count > 0)
			world_answer(STATUS_OK);
		world_pass(100);
	}
	if (!done && w.reply_count == before)
		return 1;
	world_replied(&op);
	return op.error;
}

static void
test_synced(void)
{
	struct engine_journal journal = { .append = keep, .trim = trim, .next = 1, .max = 1 << 30 };
	uint64_t g, h, a, b;

	new_engine(&journal);
	world_attach(true, 0, false);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	a = world_create("a", &h);
	b = world_create("b", &g);
	world_write(b, g, 0, REGION_SIZE);
	world_write(a, h, 0, 100);
	memset(kept, 0, sizeof kept);
	ok(sync_of(a, h, false) == 0 && kept[JOURNAL_CLEAN] == 1, "what was synced is not run again");
	ok(sync_of(a, h, false) == 0 && kept[JOURNAL_CLEAN] == 1, "which is said once");
	world_write(a, h, 0, 100);
	ok(sync_of(a, h, true) == 0 && kept[JOURNAL_CLEAN] == 1, "but what has been written since would be");
	ok(sync_of(a, h, false) == 0 && kept[JOURNAL_CLEAN] == 2, "until that is synced too");
	world_teardown();
}

/* The offsets of the writes that are run, as digits of base 10. */
static unsigned
run_again(const struct journal_entry *entries, unsigned count)
{
	struct msg_attached a = { .session = 1, .credit = CREDIT_MAX, .term_ms = TERM_MS, .boot = 7, .sequence = 3, .sessions = 1, .version = 40 };
	static uint8_t bytes[8][JOURNAL_ARGUMENTS_MAX + 100];
	struct replay *r = NULL;
	struct op *op, done;
	unsigned found = 0;

	new_engine(NULL);
	if (replay_new(&r, "device", true) < 0)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		ssize_t len = journal_encode(&entries[i], bytes[i]);

		memset(bytes[i] + len, 'x', entries[i].data.len);
		replay_add(r, i + 1, (struct bytes){ bytes[i], (size_t)len + entries[i].data.len });
	}
	replay_adopt(r, w.engine);
	engine_attached(w.engine, &a, false);
	world_collect();
	if (replay_begin(r, w.engine, (struct timespec){ 0 }) == 0)
		while ((op = replay_next(r, w.engine)) != NULL) {
			if (op->type == OP_WRITE)
				found = found * 10 + (unsigned)op->offset + 1;
			done = *op;
			done.error = 0;
			replay_answered(r, &done);
		}
	replay_free(r);
	world_teardown();
	return found;
}

static void
test_written_over(void)
{
	static const uint8_t x[100];
	struct journal_entry first = { .kind = JOURNAL_OP, .type = OP_WRITE, .ino = FAR, .version = 30, .nlink = 1,
	    .data = { x, 10 } };
	struct journal_entry list[3] = { first, first, first };

	list[1].offset = 5;
	list[1].data.len = 2;
	ok(run_again(list, 3) == 1, "what a journal's later write covers is not run again");
	list[2].data.len = 9;
	ok(run_again(list, 3) == 11, "but what it covers in part is");
	list[0].ino++;
	ok(run_again(list, 3) == 11, "and what another file's does");
	list[0].ino--;
	list[1].offset = list[2].offset = 9;
	ok(run_again(list, 3) == 20, "and what it does not touch");
}

static void
test_hostile_range(uint64_t first_oid)
{
	struct msg_attached hostile = { .session = 1, .credit = CREDIT_MAX, .term_ms = TERM_MS, .first_oid = first_oid, .oid_count = 3, .sessions = 1 };
	uint64_t h;

	world_setup_unattached(NULL);
	engine_attached(w.engine, &hostile, true);
	engine_format(w.engine, 0, 0, 0755);
	world_collect();
	ok(world_create("f", &h) == 0, "ids that are not the server's to give are not used (%u)", (unsigned)first_oid);
	while (w.commit_count > 0)
		commit_put(w.commits[--w.commit_count]);
}

/* The server is slow to say what is lost, but well. */
static void
test_alive_before_reclaimed(void)
{
	struct message alive = { .type = MSG_alive, .alive.sessions = 2 }, told = { .type = MSG_reclaimed };
	uint64_t h, ino, attached_ms;

	world_setup();
	ino = world_create("a", &h);
	world_sync();
	ok(engine_lease(w.engine, ino) == MODE_EXCLUSIVE, "a new file is leased");
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	world_attach(false, 100, false);
	attached_ms = w.now_ms;
	while (w.sent[MSG_keepalive] == 0 || alive.id == w.last_keepalive) {
		alive.id = w.last_keepalive;
		world_pass(TERM_MS / 10);
	}
	alive.id = w.last_keepalive;
	engine_received(w.engine, &alive);
	ok(engine_lease(w.engine, ino) == MODE_NONE, "before it is heard what is lost an ALIVE revives no lease");
	engine_received(w.engine, &told);
	ok(engine_lease(w.engine, ino) == MODE_EXCLUSIVE, "what is not lost is revived then");
	world_pass(attached_ms + 9 * TERM_MS / 10 - w.now_ms);	/* without it, three quarters of one */
	ok(engine_lease(w.engine, ino) == MODE_EXCLUSIVE, "for a term from what was answered meanwhile");
	world_teardown();
}

/* It says how far it knows what it holds; or that it claims more, offline. */
static void
test_known(void)
{
	struct engine_config config = { .offline = OFFLINE_ALWAYS };
	struct message told = { .type = MSG_reclaimed };
	struct op change = { .type = OP_SETATTR, .set = SET_MODE, .attr.mode = 0600 };
	uint64_t h, begun, back;

	world_setup_bare();
	engine_free(w.engine);
	engine_new(&w.engine, &config, w.keys);
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	world_attach(true, 0, false);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	change.ino = world_make_shared("f", &h);
	begun = w.attached_oid;
	for (unsigned i = 0; i < 2; i++) {
		engine_detached(w.engine);
		world_attach(false, 1000000, false);
		ok(w.known_oid == begun, "until it has heard what it lost it knows as much as when it began");
	}
	back = w.attached_oid;
	engine_received(w.engine, &told);
	engine_received(w.engine, &told);
	engine_detached(w.engine);
	world_attach(false, 1000000, false);
	ok(w.known_oid == back, "then as much as then");
	engine_received(w.engine, &told);
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	ok(world_submit(&change) && change.error == 0, "offline it changes what it had only shared");
	world_replied(&change);
	world_attach(false, 1000000, false);
	ok(w.known_oid == 0, "and does not claim to know that it may");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_lost_reset();
	test_lost_before_told();
	test_fsync_out_of_order();
	test_fsync_held_back();
	test_fresh_session();
	test_known();
	test_alive_before_reclaimed();
	test_lost_open_file();
	test_open_past_term();
	test_pinned_anew();
	test_refused_alloc();
	test_missing_twice();
	test_held_blocks();
	test_missing_for_good();
	test_missing_for_ever();
	test_part_of_reclaim();
	test_busy();
	test_busy_read();
	test_synced();
	test_written_over();
	test_hostile_range(OID_ROOT);
	test_hostile_range(OID_RESERVED - 3);
	return tap_done();
}
