/*
 * test_client_events.c - events that come at an odd moment, or more than once:
 * interrupts, forgetting, connections, answers nobody waits for; and engines
 * configured otherwise.  The client engine alone.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

/* ---- a journal that can be full ---- */

static struct { size_t bytes; int fails; } kept;

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)sync;
	if (kept.fails == 0)
		kept.bytes += arguments.len + data.len;
	return kept.fails;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static const struct engine_journal large = { .append = append, .trim = trim, .next = 1, .max = 64 << 20 };
static const struct engine_journal small = { .append = append, .trim = trim, .next = 1, .max = 4000 };

static void
begin(enum offline offline, const struct engine_journal *journal)
{
	kept.bytes = 0;
	kept.fails = 0;
	world_setup_as(&(struct engine_config){ .journal = journal, .redo = true, .offline = offline });
	w.reply_count = 0;
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static void
sleep_now(bool on)
{
	engine_sleep(w.engine, on);
	world_collect();
}

static void
cut_off(void)
{
	engine_detached(w.engine);
	world_pass(TERM_MS + 1000);
}

/* ---- interrupts ---- */

static void
test_interrupt(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR }, own = { .type = OP_GETATTR, .ino = FAR + 1, .redo = true };

	begin(OFFLINE_NEVER, &large);
	ok(world_at_once(&op) == 1 && world_at_once(&own) == 1, "two operations wait for the server");
	engine_interrupt(w.engine, &op);
	engine_interrupt(w.engine, &own);
	world_collect();
	ok(w.reply_count == 1 && own.error == -EINTR, "which will not be long: only the driver of the journal's is let go");
	world_replied(&own);
	engine_interrupt(w.engine, &own);
	world_hear((struct message){ .type = MSG_granted, .id = w.last_read + 1000 });
	world_grant(w.last_read - 1, 1, &(struct msg_answer){ .oid = FAR, .status = STATUS_NOENT }, 1);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	ok(w.reply_count == 2 && op.error == -ESTALE, "what is answered already is not interrupted");
	world_replied(&op);
	end();
}

static void
test_forget(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("a") };
	uint64_t h, a;
	size_t all;

	begin(OFFLINE_NEVER, &large);
	a = world_create("a", &h);
	world_run(OP_RELEASE, a, h);
	world_sync();
	world_submit(&look);
	world_replied(&look);
	world_recall(a, 0, MODE_NONE, 9);
	all = world_status().objects;
	engine_forget(w.engine, FAR + 77, 1);
	engine_forget(w.engine, a, 1);
	ok(world_status().objects == all, "the kernel has looked it up twice, and forgets it once");
	engine_forget(w.engine, a, 5);
	ok(world_status().objects == all - 1, "then for good");
	end();
}

/* ---- connections ---- */

static void
test_resumed(void)
{
	uint64_t h;

	world_setup_unattached(NULL);
	world_attach(false, 5, true);
	ok(w.sent[MSG_reset] == 1 && world_status().sequence == 5, "a session whose last commit was refused, unheard, is reset");
	end();

	begin(OFFLINE_NEVER, NULL);
	world_create("a", &h);
	world_pass(3000);
	world_pass(1000);
	ok(w.commit_count == 1 && w.commits[0]->sequence == 2, "a commit is on its way");
	engine_detached(w.engine);
	world_attach(false, 1, true);
	ok(w.sent[MSG_reset] == 1, "one before it was refused: so is that");
	engine_detached(w.engine);
	memset(w.sent, 0, sizeof w.sent);
	world_attach(false, 2, true);
	ok(w.sent[MSG_reset] == 1, "or it itself, once");
	end();
}

/* Alone from a term after the connection broke, however often that is said. */
static void
test_detached_twice(void)
{
	begin(OFFLINE_ALWAYS, &large);
	engine_detached(w.engine);
	world_pass(TERM_MS / 2);
	engine_detached(w.engine);
	world_pass(TERM_MS / 2 + 1000);
	ok(world_status().offline, "a connection breaks once");
	end();
}

static void
test_unknown(void)
{
	uint64_t h, a;

	begin(OFFLINE_NEVER, &large);
	a = world_create("a", &h);
	world_sync();
	world_forget();
	world_hear((struct message){ .type = MSG_stored });
	world_invalidated(FAR + 5, true, 0);
	world_invalidated(a, false, 0);
	world_invalidated(a, true, 0);
	ok(w.said_count == 0 && engine_lease(w.engine, a) == MODE_EXCLUSIVE, "what nobody asked for changes nothing");
	end();
}

/* ---- configuration ---- */

static void
test_commit_max(void)
{
	struct op op;
	unsigned n;

	world_setup_as(&(struct engine_config){ .commit_max = 64 << 20 });
	for (n = 0; n < 3000 && w.commit_count == 0; n++)
		world_make_link(&op, n);
	ok(n > 500 && n < 1100, "a commit is no larger than may be (%u names)", n);
	world_answer_all();
	end();
}

static void
test_read_ahead(void)
{
	enum { REGIONS = 4 };
	static const uint8_t ids[REGIONS][ID_SIZE] = { { 1 }, { 2 }, { 3 }, { 4 } };
	struct attr attr = { .mode = S_IFREG | 0644, .nlink = 1, .size = REGIONS * REGION_SIZE };
	struct extent whole = { .length = REGION_SIZE };
	uint8_t value[64], subkeys[REGIONS][8] = { { 0 } };
	struct msg_record regions[REGIONS];
	struct op op = { .type = OP_READ, .ino = FAR, .size = 65536 };
	unsigned seen = 0;

	world_setup_as(&(struct engine_config){ .read_ahead = 1 });
	for (unsigned i = 0; i < REGIONS; i++) {
		subkeys[i][7] = (uint8_t)i;
		regions[i] = (struct msg_record){ .kind = KIND_REGION, .version = 1, .subkey = { subkeys[i], 8 },
		    .value = { value, (size_t)region_encode(&whole, 1, value, sizeof value) }, .brefs = { &ids[i], 1 } };
	}
	world_submit(&op);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 5, 1, &attr));
	world_grant(w.last_read, 1, (struct msg_answer[]){
	    { .oid = FAR, .mode = MODE_SHARED, .grant = 5, .version = 1, .records = { regions, 1 } },
	    { .oid = FAR, .mode = MODE_SHARED, .grant = 5, .version = 1, .records = { regions, REGIONS } } }, 2);
	for (unsigned i = 0; i < w.fetch_count; i++)
		seen |= 1u << w.fetches[i]->id[0];
	ok(seen == (1u << 1 | 1u << 2), "as many blocks are read ahead as is said: one (%x)", seen);
	while (w.fetch_count > 0)
		engine_fetched(w.engine, w.fetches[--w.fetch_count], -EIO);
	world_collect();
	ok(op.error == -EIO, "who reads hears of it");
	world_replied(&op);
	end();
}

/* ---- what no journal keeps ---- */

static void
test_through(void)
{
	struct op make = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("d"), .attr.mode = 0755 }, again = make;

	begin(OFFLINE_NEVER, &large);
	kept.fails = -ENOSPC;
	ok(world_at_once(&make) == 1 && make.through, "what no journal keeps waits for the server");
	engine_detached(w.engine);
	kept.fails = 0;
	world_attach(true, 0, false);
	ok(w.reply_count == 1 && make.error == -EIO, "lost with its session, it has failed");
	world_replied(&make);
	end();

	begin(OFFLINE_NEVER, &large);
	kept.fails = -ENOSPC;
	ok(world_at_once(&again) == 1, "another one");
	engine_detached(w.engine);
	sleep_now(true);
	ok(w.reply_count == 1 && again.error == -EHOSTDOWN, "is not waited for when the machine goes to sleep");
	world_replied(&again);
	end();
}

/* ---- what was lost ---- */

static void
test_waits(void)
{
	struct op stat = { .type = OP_GETATTR }, own = { .type = OP_GETATTR, .redo = true }, sync = { .type = OP_FSYNC };
	uint64_t h, g, a, b;

	begin(OFFLINE_ALWAYS, &large);
	a = world_create("a", &h);
	b = world_create("b", &g);
	world_sync();
	w.reply_count = 0;
	world_write(b, g, 0, 100000);
	sync.ino = b;
	sync.handle = g;
	ok(world_at_once(&sync) == 1, "a sync waits for a file");
	world_write(a, h, 0, 10);
	world_run(OP_RELEASE, a, h);
	world_lose(a);
	ok(world_status().waiting_objects > 0, "another is lost, and waits for the journal");
	engine_forget(w.engine, a, 1);
	stat.ino = own.ino = a;
	ok(world_status().waiting_objects > 0 && world_at_once(&stat) == 1, "also when the kernel has forgotten it");
	w.reply_count = 0;
	cut_off();
	ok(world_status().offline && stat.error == -EHOSTDOWN, "offline it is not served as it was");
	world_replied(&stat);
	stat = (struct op){ .type = OP_GETATTR, .ino = FAR };
	ok(world_at_once(&own) == 1, "who runs the journal again waits");
	own = (struct op){ .type = OP_GETATTR, .ino = FAR + 1, .redo = true };
	ok(world_at_once(&stat) == -EHOSTDOWN && world_sane(), "and nobody else");
	world_teardown();
}

/* ---- offline ---- */

/* What this machine has no room for fails, as it may not wait. */
static void
test_offline_room(void)
{
	struct msg_attached few = { .session = 1, .credit = CREDIT_MAX, .term_ms = TERM_MS, .first_oid = 5000, .oid_count = 3,
	    .sessions = 1 };
	struct op op, own = { .type = OP_SETATTR, .set = SET_MODE, .redo = true };
	uint64_t h;
	unsigned n;

	begin(OFFLINE_ALWAYS, NULL);
	cut_off();
	for (n = 0; n < 10000 && world_make_link(&op, n) == 0; n++)
		continue;
	ok(n > 1000 && op.error == -ENOSPC, "offline as much is changed as memory has room for (%u names)", n);
	own.ino = OID_ROOT;
	ok(world_at_once(&own) != -ENOSPC, "which who runs the journal again is not told");
	ok(engine_journal_sync(w.engine) == 0, "there is no journal to be safe");
	world_teardown();

	begin(OFFLINE_ALWAYS, &small);
	cut_off();
	for (n = 0; n < 100 && world_make_link(&op, n) == 0; n++)
		continue;
	ok(n > 1 && n < 10 && op.error == -ENOSPC, "or as the journal has (%u)", n);
	world_teardown();

	world_setup_unattached(&(struct engine_config){ .offline = OFFLINE_ALWAYS });
	engine_attached(w.engine, &few, true);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	cut_off();
	for (char name[] = "a"; name[0] < 'd'; name[0]++)
		world_create(name, &h);
	op = (struct op){ .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text("x"), .attr.mode = 0644 };
	ok(world_at_once(&op) == -ENOSPC, "or as there are ids");
	world_teardown();
}

/* A recall is void: who wanted it has it by then, or asks again. */
static void
test_offline_recall(void)
{
	struct op stat = { .type = OP_GETATTR };
	uint64_t h, a;

	begin(OFFLINE_ALWAYS, &large);
	stat.ino = a = world_create("a", &h);
	world_sync();
	w.no_sweep = true;
	world_recall(a, 0, MODE_NONE, 9);
	cut_off();
	ok(world_status().offline && world_at_once(&stat) == 0 && stat.cacheable, "offline a recall is void");
	ok(engine_lease(w.engine, a) == MODE_NONE, "though nothing is held");
	world_forget();
	world_invalidated(a, true, 0);
	ok(world_find(ACTION_SEND, MSG_release, a) < 0, "and its end gives nothing back");
	end();
}

/* The kernel is told for long what it may keep: with somebody else there it forgets that only when the server is. */
static void
test_offline_in_company(void)
{
	struct op stat = { .type = OP_GETATTR, .ino = OID_ROOT };

	begin(OFFLINE_ALWAYS, &large);
	world_pass(5000);
	world_hear((struct message){ .type = MSG_alive, .id = w.last_keepalive, .alive.sessions = 2 });
	cut_off();
	ok(world_status().offline && world_at_once(&stat) == 0 && stat.keep_ms == UINT32_MAX, "offline the kernel may keep things");
	world_forget();
	world_pass(1000);
	ok(!world_swept(OID_ROOT, 1), "whoever else there was");
	world_attach(false, 1, false);
	world_pass(100);
	ok(world_swept(OID_ROOT, 1), "back, it forgets them");
	end();
}

/* While a journal is run again nothing is served without the server; and a short term is no reason to wait longer. */
static void
test_offline_begins(void)
{
	struct msg_attached brief = { .session = 1, .credit = CREDIT_MAX, .term_ms = 4000, .first_oid = 5000, .oid_count = 300,
	    .sessions = 1 };
	struct op redo = { .type = OP_GETATTR, .ino = FAR, .redo = true };
	struct journal_entry entry = { .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR + 1 };
	struct replaying p = { .entry = &entry };
	struct op replay = { .type = OP_SETATTR, .ino = FAR + 1, .replay = &p };

	begin(OFFLINE_ALWAYS, &large);
	engine_replaying(w.engine, true);
	cut_off();
	ok(!world_status().offline, "while a journal is run again its mount waits for the server");
	engine_replaying(w.engine, false);
	world_pass(100);
	ok(world_status().offline, "but not then");
	ok(world_at_once(&redo) == 1 && world_at_once(&replay) == 1, "only who runs one waits");
	engine_interrupt(w.engine, &redo);
	engine_interrupt(w.engine, &replay);
	world_collect();
	world_replied(&redo);
	world_replied(&replay);
	end();

	world_setup_unattached(&(struct engine_config){ .offline = OFFLINE_ALWAYS });
	engine_attached(w.engine, &brief, true);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	sleep_now(true);
	w.now_ms += 3600 * 1000;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	sleep_now(false);
	engine_detached(w.engine);
	world_pass(3000);
	ok(!world_status().offline, "awake, the network has a while to come back");
	world_pass(1500);
	ok(world_status().offline, "but no longer than a term");
	end();
}

/* ---- what is told ---- */

static char paths[4][5000];
static unsigned path_count;

static void
note_path(void *context, const char *at, bool lost)
{
	(void)context, (void)lost;
	if (path_count < 4)
		snprintf(paths[path_count++], sizeof paths[0], "%s", at);
}

static void
test_paths(void)
{
	enum { DEEP = 300, LONG = 250 };
	static struct far_object tree[] = { { .oid = FAR, .mode = S_IFREG | 0644, .nlink = 1 }, { .oid = 0 } };
	char name[LONG + 1];
	uint64_t at = OID_ROOT;

	/* A file whose name nobody looked up; its changes; and the root. */
	begin(OFFLINE_NEVER, NULL);
	far_begin(tree);
	far_done((struct op){ .type = OP_SETATTR, .ino = FAR, .set = SET_MODE, .attr.mode = 0600 });
	far_done((struct op){ .type = OP_SETATTR, .ino = OID_ROOT, .set = SET_MODE, .attr.mode = 0700 });
	path_count = 0;
	engine_unsaved(w.engine, note_path, NULL);
	ok(path_count == 2 && strcmp(paths[0], "/?") == 0 && strcmp(paths[1], "/") == 0, "what is not saved is told by its path, if that is known: %s and %s",
	    paths[0], paths[1]);
	end();

	for (unsigned kind = 0; kind < 2; kind++) {
		at = OID_ROOT;
		begin(OFFLINE_NEVER, NULL);
		memset(name, 'x', LONG);
		name[kind == 0 ? 1 : LONG] = '\0';
		for (unsigned i = 0; i < DEEP; i++) {
			struct op op = { .type = OP_MKDIR, .ino = at, .name = world_text(name), .attr.mode = 0755 };

			world_submit(&op);
			at = op.child;
			world_replied(&op);
		}
		world_sync();
		far_done((struct op){ .type = OP_SETATTR, .ino = at, .set = SET_MODE, .attr.mode = 0700 });
		path_count = 0;
		engine_unsaved(w.engine, note_path, NULL);
		ok(path_count == 1 && strlen(paths[0]) > 500 && strlen(paths[0]) < 4096 && paths[0][0] == '/' &&
		    strlen(paths[0]) % (strlen(name) + 1) == 0, "of a long one its end: %zu bytes", strlen(paths[0]));
		end();
	}
}

/* Lost, with a journal that will bring it again, it is told of as what waits. */
static void
test_waiting_path(void)
{
	uint64_t h, a;

	begin(OFFLINE_NEVER, &large);
	a = world_create("a", &h);
	world_sync();
	world_write(a, h, 0, 10);
	world_lose(a);
	path_count = 0;
	engine_unsaved(w.engine, note_path, NULL);
	ok(path_count >= 1 && strcmp(paths[0], "/a") == 0, "what was lost, and waits, is told of: %s", paths[0]);
	end();
}

int
main(void)
{
	world_begin();
	test_interrupt();
	test_forget();
	test_resumed();
	test_detached_twice();
	test_unknown();
	test_commit_max();
	test_read_ahead();
	test_through();
	test_waits();
	test_offline_room();
	test_offline_recall();
	test_offline_in_company();
	test_offline_begins();
	test_paths();
	test_waiting_path();
	return tap_done();
}
