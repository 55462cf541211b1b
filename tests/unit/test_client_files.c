/*
 * test_client_files.c - open files, their pins and syncs, listings and the
 * volume's features, where an honest client and server seldom lead.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/journal.h"
#include "tests/tap.h"

enum { DIR = FAR, A, B, C, D, E };

static struct far_object tree[7];

static void
begin(void)
{
	const struct far_object now[7] = {
		{ .oid = DIR, .mode = S_IFDIR | 0755, .nlink = 2, .parent = OID_ROOT, .names = { { "a", A }, { "b", B }, { "c", C }, { "d", D } } },
		{ .oid = A, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = B, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = C, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = D, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
		{ .oid = E, .mode = S_IFREG | 0644, .nlink = 1, .size = 100 },
	};

	memcpy(tree, now, sizeof tree);
	world_setup();
	far_begin(tree);
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static uint64_t
open_file(uint64_t ino, uint32_t flags, struct op *ret)
{
	*ret = (struct op){ .type = OP_OPEN, .ino = ino, .flags = flags };
	far_do(ret);
	world_replied(ret);
	return ret->handle;
}

static void
close_file(uint64_t ino, uint64_t handle)
{
	far_done((struct op){ .type = OP_RELEASE, .ino = ino, .handle = handle });
}

static int
said_pins(uint64_t oid, uint8_t on)
{
	int n = 0;

	for (unsigned i = 0; i < w.said_count; i++)
		n += w.said[i].kind == ACTION_SEND && w.said[i].type == MSG_pin && w.said[i].oid == oid && w.said[i].mode == on;
	return n;
}

/* ---- attributes and opening ---- */

static void
test_attributes(void)
{
	struct op set = { .type = OP_SETATTR, .ino = A, .set = SET_MODE, .attr.mode = 06755 }, op;
	uint64_t h;

	begin();
	far_done(set);
	set = (struct op){ .type = OP_SETATTR, .ino = A, .set = SET_SIZE | SET_KILL_SUID, .attr.size = 50 };
	ok(far_do(&set) == 0 && set.killed && (set.attr.mode & 07777) == 0755, "cutting a file off may end its set-id bits");
	world_replied(&set);
	h = open_file(A, O_RDONLY | O_APPEND, &op);
	ok(op.error == 0 && !op.direct_io, "who only reads appends nothing");
	close_file(A, h);
	h = open_file(A, O_WRONLY | O_APPEND, &op);
	ok(op.direct_io, "who appends goes by where the file ends for all");
	close_file(A, h);
	tree[2].mode = S_IFIFO | 0600;
	h = open_file(B, O_RDONLY | O_TRUNC, &op);
	ok(op.error == 0, "a fifo has no content to be cut");
	close_file(B, h);
	ok(far_done((struct op){ .type = OP_RELEASE }) == 0, "who holds nothing may let go of it");
	end();
}

/* ---- pins ---- */

static void
begin_pinned(uint64_t *ret_handle, struct op *open)
{
	begin();
	*ret_handle = open_file(A, O_RDONLY, open);
	world_recall(A, tree[1].grant, MODE_NONE, 9);
}

static void
test_pins(void)
{
	struct op op;
	uint64_t h;

	begin_pinned(&h, &op);
	ok(said_pins(A, 1) == 1, "what is open is pinned before its lease goes");
	world_create("x", &(uint64_t){ 0 });
	world_pass(3000);
	world_pass(1000);
	world_forget();
	world_run(OP_RELEASE, A, h);
	ok(w.commit_count == 1 && said_pins(A, 0) == 0, "closed, it stays so for the commits that are on their way");
	world_answer(STATUS_NOSPC);
	world_pass(100);
	ok(said_pins(A, 0) == 1, "but not for one that the server has no space for, and that comes again");
	world_pass(20000);
	world_answer_all();
	end();

	begin_pinned(&h, &op);
	world_create("x", &(uint64_t){ 0 });
	world_pass(3000);
	world_pass(1000);
	world_run(OP_RELEASE, A, h);
	engine_detached(w.engine);
	world_forget();
	world_attach(true, 0, false);
	world_pass(100);
	ok(said_pins(A, 0) == 0 && said_pins(A, 1) == 0, "of a session that is gone nothing is taken back");
	while (w.commit_count > 0)
		commit_put(w.commits[--w.commit_count]);
	end();

	/* The server says that it is gone, though it is open. */
	begin();
	h = open_file(A, O_RDONLY, &op);
	world_grant(w.last_read + 1000, 0, &(struct msg_answer){ .oid = A, .status = STATUS_NOENT }, 1);
	engine_detached(w.engine);
	world_forget();
	world_attach(false, 100000, false);
	ok(said_pins(A, 1) == 1, "what is open under no lease is pinned when the connection is back");
	close_file(A, h);
	end();
}

/* ---- syncs ---- */

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)arguments, (void)data, (void)sync;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

static void
test_syncs(void)
{
	static const struct engine_journal journal = { .append = append, .trim = trim, .next = 1, .max = 64 << 20 };
	struct op sync = { .type = OP_SYNC, .ino = OID_ROOT }, own = { .type = OP_FSYNC, .redo = true }, op;
	struct op cut = { .type = OP_SETATTR, .set = SET_SIZE };
	uint64_t h, g, a, b;

	/* A loss while all is being synced is told, though it begins anew. */
	world_setup();
	w.reply_count = 0;
	a = world_create("a", &h);
	b = world_create("b", &g);
	world_sync();
	w.reply_count = 0;
	world_write(a, h, 0, 100000);
	world_write(b, g, 0, 10);
	ok(!world_submit(&sync), "all is being synced");
	engine_detached(w.engine);
	world_attach(false, 1000000, false);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed, .reclaimed.lost = { &(struct msg_lease){ .oid = b }, 1 } });
	world_collect();
	for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && sync.error == -EIO, "what is lost meanwhile is told");
	world_replied(&sync);
	world_teardown();

	/* On a server that has no space for a later commit, though there is an earlier one on its way. */
	world_setup();
	a = world_create("a", &h);
	world_pass(3000);
	world_pass(1000);
	b = world_create("b", &g);
	world_pass(3000);
	world_pass(1000);
	ok(w.commit_count == 2, "two commits are on their way");
	engine_received(w.engine, &(struct message){ .type = MSG_committed, .committed = { .sequence = w.commits[1]->sequence,
	    .status = STATUS_NOSPC, .credit = CREDIT_MAX } });
	commit_put(w.commits[--w.commit_count]);
	world_collect();
	w.reply_count = 0;
	op = (struct op){ .type = OP_FSYNC, .ino = b, .handle = g };
	ok(!world_submit(&op) && w.reply_count == 0, "an old refusal is not that of a sync that began after it");
	for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && op.error == 0 && world_sane(), "which waits for its own answer");
	world_replied(&op);
	world_teardown();

	/* Cut off while it is being synced, it has nothing more to be synced. */
	world_setup();
	cut.ino = a = world_create("a", &h);
	world_write(a, h, 0, 100000);
	world_sync();
	world_write(a, h, 0, 100000);
	op = (struct op){ .type = OP_FSYNC, .ino = a, .handle = h };
	w.reply_count = 0;
	ok(!world_submit(&op), "a file is being synced");
	ok(world_submit(&cut) && cut.error == 0, "and cut off");
	world_replied(&cut);
	for (unsigned i = 0; i < 50 && w.reply_count == 0; i++) {
		world_answer_all();
		world_pass(100);
	}
	ok(w.reply_count == 1 && op.error == 0 && world_sane(), "which ends that");
	world_replied(&op);
	world_answer_all();
	world_teardown();

	/* Content whose place does not open is lost when it is flushed, at once. */
	begin();
	tree[1].size = 500000;
	tree[1].region = true;
	h = open_file(A, O_RDWR, &op);
	far_done((struct op){ .type = OP_READ, .ino = A, .handle = h, .size = 10 });
	far_done((struct op){ .type = OP_WRITE, .ino = A, .handle = h, .offset = 10, .data = world_text("x") });
	ok(far_done((struct op){ .type = OP_FSYNC, .ino = A, .handle = h }) == -EIO, "what cannot be written to is told by its own sync");
	ok(far_done((struct op){ .type = OP_FSYNC, .ino = A, .handle = h }) == 0, "once");
	close_file(A, h);
	end();

	begin();
	tree[1].in_record = true;
	h = open_file(A, O_RDWR, &op);
	ok(far_done((struct op){ .type = OP_WRITE, .ino = A, .handle = h, .offset = 10, .data = world_text("x") }) == 0 &&
	    far_done((struct op){ .type = OP_FSYNC, .ino = A, .handle = h }) == -EIO, "so is one in a record");
	close_file(A, h);
	end();

	/* Offline, who runs the journal again wants the server. */
	world_setup_as(&(struct engine_config){ .journal = &journal, .redo = true, .offline = OFFLINE_ALWAYS });
	own.ino = a = world_create("a", &own.handle);
	world_sync();
	engine_detached(w.engine);
	world_pass(TERM_MS + 1000);
	world_write(a, own.handle, 0, 10);
	ok(!world_submit(&own), "offline a sync of the driver's is none of this machine's disk");
	engine_interrupt(w.engine, &own);
	world_collect();
	world_replied(&own);
	world_teardown();
}

/* ---- listings ---- */

static size_t
with_attributes(struct op *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->entries_count; i++)
		n += list->entries[i].attr != NULL;
	return n;
}

/* Children come along that are leased, known, there, and not about to go. */
static void
test_children(void)
{
	struct op list = { .type = OP_READDIR, .ino = DIR, .size = 4096, .plus = true }, op;
	struct op dir = { .type = OP_OPENDIR, .ino = DIR };
	uint64_t h;

	begin();
	tree[0].region = true;
	tree[0].names[4] = (struct far_name){ "gone", A };
	tree[0].names[5] = (struct far_name){ "e", E };
	h = open_file(A, O_RDONLY, &op);
	for (const char *name = "abcde"; *name != '\0'; name++)
		far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = { (const uint8_t *)name, 1 } });
	ok(far_do(&list) == 0 && with_attributes(&list) == 6, "the children of a directory come with it");
	world_replied(&list);
	far_do(&dir);
	world_replied(&dir);
	far_done((struct op){ .type = OP_UNLINK, .ino = DIR, .name = world_text("a") });
	world_recall(B, tree[2].grant, MODE_NONE, 9);
	world_recall(E, tree[5].grant, MODE_NONE, 9);
	world_grant(w.last_read + 1000, 0, &(struct msg_answer){ .oid = B, .mode = MODE_SHARED, .grant = 8000, .version = 1 }, 1);
	w.no_sweep = true;
	world_recall(C, tree[3].grant, MODE_NONE, 9);
	list = (struct op){ .type = OP_READDIR, .ino = DIR, .size = 4096, .plus = true };
	ok(far_do(&list) == 0 && list.entries_count == 7 && with_attributes(&list) == 1,
	    "but not one that is removed or given back, nor one of which nothing is known, nor one that is being given back");
	for (size_t i = 0; i < list.entries_count; i++)
		if (list.entries[i].attr != NULL)
			ok(list.entries[i].ino == D && list.entries[i].cacheable && list.entries[i].name_cacheable, "what comes may be kept");
	world_replied(&list);
	world_recall(DIR, tree[0].grant, MODE_NONE, 9);
	list = (struct op){ .type = OP_READDIR, .ino = DIR, .size = 4096, .plus = true };
	ok(far_do(&list) == 0 && with_attributes(&list) == 1, "of a directory that is being given back, too,");
	for (size_t i = 0; i < list.entries_count; i++)
		if (list.entries[i].attr != NULL)
			ok(!list.entries[i].cacheable && !list.entries[i].name_cacheable, "but not to be kept");
	world_replied(&list);
	world_invalidated(C, true, 0);
	world_invalidated(DIR, false, 0);
	close_file(A, h);
	far_done((struct op){ .type = OP_RELEASEDIR, .ino = DIR, .handle = dir.handle });
	end();

	/* Wanted elsewhere a moment ago, it will be again: names are not left to the kernel. */
	begin();
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") });
	world_recall(DIR, tree[0].grant, MODE_NONE, 9);
	far_done((struct op){ .type = OP_LOOKUP, .ino = DIR, .name = world_text("a") });
	list = (struct op){ .type = OP_READDIR, .ino = DIR, .size = 4096, .plus = true };
	ok(far_do(&list) == 0 && with_attributes(&list) >= 1, "listed again");
	for (size_t i = 0; i < list.entries_count; i++)
		if (list.entries[i].attr != NULL && list.entries[i].ino == A)
			ok(list.entries[i].cacheable && !list.entries[i].name_cacheable, "the kernel may keep attributes, but no names");
	world_replied(&list);
	end();
}

/* ".." of a directory that lies nowhere, or where nobody can tell, is the directory. */
static void
test_parent(void)
{
	static const uint64_t parents[] = { NO_PARENT, DAMAGED_PARENT, GARBLED_PARENT, OID_ROOT };

	for (unsigned i = 0; i < 4; i++) {
		struct op list = { .type = OP_READDIR, .ino = DIR, .size = 4096 };

		begin();
		tree[0].parent = parents[i];
		ok(far_do(&list) == 0 && list.entries_count > 2 && list.entries[1].ino == (i < 3 ? DIR : OID_ROOT), "a directory has a parent");
		world_replied(&list);
		end();
	}
}

/* ---- the volume's features ---- */

/* Answers the last READ: META has this value (NULL: no such record); the root is a directory. */
static int
features(const uint8_t *value, size_t len, bool root_first)
{
	struct msg_record record = { .kind = KIND_META, .version = 1, .value = { value, len }, .orefs = { (uint64_t[]){ OID_ROOT }, 1 } };
	struct op op = { .type = OP_META }, look = { .type = OP_GETATTR, .ino = OID_ROOT };
	struct msg_answer answers[WANTS_MAX];
	unsigned replies;

	world_setup_bare();
	if (root_first) {
		world_submit(&look);
		world_grant_one(1, world_object(OID_ROOT, MODE_SHARED, 3, 1, &world_directory));
		world_replied(&look);
	}
	replies = w.reply_count;
	world_submit(&op);
	for (unsigned n = 0; n < 4 && w.reply_count == replies; n++) {
		for (uint32_t i = 0; i < w.read.wants.count; i++)
			answers[i] = w.wants[i].oid == OID_ROOT ? world_object(OID_ROOT, MODE_SHARED, 3, 1, &world_directory) :
			    (struct msg_answer){ .oid = OID_META, .mode = MODE_SHARED, .grant = 4, .version = 1, .records = { &record, value != NULL } };
		world_grant(w.last_read, 1, answers, w.read.wants.count);
	}
	world_replied(&op);
	world_teardown();
	return op.error;
}

static void
test_features(void)
{
	uint8_t value[VALUE_MAX];
	struct meta m = { .created_s = 1 };
	ssize_t len = meta_encode(&m, value, sizeof value);

	ok(features(value, (size_t)len, false) == 0 && features(value, (size_t)len, true) == 0, "a volume tells of its features");
	ok(features(NULL, 0, false) == -ENOENT, "what has none is no volume");
	ok(features(value, (size_t)len - 1, false) == -EBADMSG, "nor what does not end");
}

int
main(void)
{
	world_begin();
	test_attributes();
	test_pins();
	test_syncs();
	test_children();
	test_parent();
	test_features();
	return tap_done();
}
