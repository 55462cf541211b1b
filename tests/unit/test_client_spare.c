/*
 * test_client_spare.c - the client engine when there is no memory: not one
 * allocation fails, as in test_client_memory.c, but a chosen one, or every one
 * from now on, and what was made ahead is used up.
 *
 * Linked with --wrap for the allocator; the test itself allocates nothing.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static struct {
	bool		none;			/* all fail */
	unsigned	count, fail_at;		/* so far; the one that fails, or 0 */
} allocator;

static bool
fails(void)
{
	return allocator.none || (allocator.fail_at != 0 && ++allocator.count == allocator.fail_at);
}

#include "tests/unit/wrap_alloc.h"

char *__real_strndup(const char *s, size_t size);
char *__wrap_strndup(const char *s, size_t size);

char *
__wrap_strndup(const char *s, size_t size)
{
	return fails() ? NULL : __real_strndup(s, size);
}

/* From now on; what is made ahead goes for sweeps that nobody needs. */
static void
no_memory(void)
{
	bool no_sweep = w.no_sweep;

	allocator.none = true;
	w.no_sweep = false;
	for (unsigned i = 0; i < 100; i++) {
		engine_sleep(w.engine, true);
		engine_sleep(w.engine, false);
		world_collect();
	}
	w.no_sweep = no_sweep;
	memset(w.sent, 0, sizeof w.sent);
	world_forget();
}

static void
memory(void)
{
	allocator.none = false;
}

/* The allocation is chosen from the first on, until the operation does not come to it: that many failed it, with ENOMEM alone. */
static unsigned
each_allocation(struct op op, bool *ret_fine)
{
	unsigned n = 0;
	struct op now;

	*ret_fine = true;
	do {
		allocator.count = 0;
		allocator.fail_at = ++n;
		now = op;
		world_submit(&now);
		allocator.fail_at = 0;
		*ret_fine &= (now.error == 0 || now.error == -ENOMEM) && world_sane();
		world_replied(&now);
	} while (allocator.count >= n);
	*ret_fine &= now.error == 0;
	return n - 1;
}

/* ---- what is to be said ---- */

/* A RECLAIM that could not be said is said when there is memory, and nothing counts before. */
static void
test_reclaim(void)
{
	struct message told = { .type = MSG_reclaimed };
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	engine_detached(w.engine);
	world_pass(2 * TERM_MS);
	no_memory();
	world_attach(false, 1000000, false);
	ok(w.sent[MSG_reclaim] == 0, "without memory no lease is claimed");
	world_pass(100);
	engine_received(w.engine, &told);
	ok(w.sent[MSG_reclaim] == 0 && engine_lease(w.engine, a) == MODE_NONE, "and an answer that comes all the same revives none");
	memory();
	world_pass(100);
	ok(w.sent[MSG_reclaim] == 1, "with memory they are");
	engine_received(w.engine, &told);
	ok(engine_lease(w.engine, a) == MODE_EXCLUSIVE && world_sane(), "and held when that is answered");
	world_pass(100);
	ok(w.sent[MSG_reclaim] == 1, "once");
	engine_detached(w.engine);
	no_memory();
	world_attach(false, 1000000, false);
	engine_detached(w.engine);
	memory();
	world_pass(100);
	ok(w.sent[MSG_reclaim] == 0, "but not where the connection is gone by then");
	world_teardown();
}

static void
test_keepalive(void)
{
	world_setup();
	no_memory();
	world_pass(KEEPALIVE_MS);
	ok(w.sent[MSG_keepalive] == 0, "without memory the server hears nothing");
	memory();
	world_pass(100);
	ok(w.sent[MSG_keepalive] == 1, "but at once when there is some");
	world_teardown();
}

/* An engine whose three ids are used up, and that was refused more. */
static void
without_ids(void)
{
	struct msg_attached few = { .session = 1, .credit = CREDIT_MAX, .term_ms = 1000 * TERM_MS, .first_oid = 5000, .oid_count = 3,
	    .sessions = 1 };
	struct message other = { .type = MSG_done, .done.status = STATUS_NOSPC }, m = other;
	uint64_t h;

	world_setup_unattached(NULL);
	engine_attached(w.engine, &few, true);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	world_create("1", &h);
	m.id = w.last_alloc;
	other.id = m.id + 1000;
	engine_received(w.engine, &other);
	world_create("2", &h);
	ok(w.sent[MSG_alloc] == 1, "ids are asked for once, whatever else is refused meanwhile");
	engine_received(w.engine, &m);
	world_create("3", &h);
	ok(w.sent[MSG_alloc] == 1, "and not at once when they were refused");
}

static void
test_ids(void)
{
	uint64_t h;

	without_ids();
	no_memory();
	world_pass(500);
	world_pass(600);
	ok(w.sent[MSG_alloc] == 0, "without memory ids cannot be asked for");
	memory();
	world_pass(100);
	ok(w.sent[MSG_alloc] == 1, "but when there is some");
	world_teardown();
	without_ids();
	engine_detached(w.engine);
	memset(w.sent, 0, sizeof w.sent);
	world_pass(2000);
	ok(w.sent[MSG_alloc] == 0 && world_create("4", &h) == 0, "nor without a connection");
	world_teardown();
}

/* Done, and no memory to say so: nothing interrupts it. */
static void
test_interrupt(void)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	w.reply_count = 0;
	world_submit(&op);
	no_memory();
	world_grant_one(1, (struct msg_answer){ .oid = FAR, .status = STATUS_NOENT });
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	ok(w.reply_count == 0, "without memory nobody is told that he is answered");
	world_pass(100);
	ok(w.reply_count == 0 && engine_due(w.engine) <= w.now_ms + 100, "but it is tried again and again");
	memory();
	world_pass(100);
	ok(w.reply_count == 1 && op.error == -ESTALE, "then he is told that, and not of an interrupt");
	world_replied(&op);
	world_teardown();
}

/* The volume's features, of which nothing is known. */
static void
test_meta(void)
{
	struct op op;
	unsigned n = 0;
	bool waits = false, fine = true;

	while (!waits && ++n < 20) {
		world_setup_bare();
		op = (struct op){ .type = OP_META };
		allocator.count = 0;
		allocator.fail_at = n;
		waits = !world_submit(&op);
		allocator.fail_at = 0;
		fine &= waits || op.error == -ENOMEM;
		engine_detached(w.engine);
		engine_interrupt(w.engine, &op);
		world_collect();
		world_replied(&op);
		world_teardown();
	}
	ok(n > 4 && n < 20 && fine, "the volume's features are asked for, or there is no memory for that (%u allocations)", n - 1);
}

/* ---- recalls ---- */

/* The sweep is asked for as soon as that is possible, and the lease kept till then. */
static void
test_sweep(void)
{
	struct op open = { .type = OP_OPEN, .ino = FAR, .flags = O_RDWR };

	world_setup();
	world_lease_far(MODE_SHARED, 7);
	world_submit(&open);
	world_replied(&open);
	w.no_sweep = true;
	no_memory();
	world_recall(FAR, 7, MODE_NONE, 9);
	world_pass(100);
	ok(!world_swept(FAR, 2) && engine_lease(w.engine, FAR) == MODE_SHARED, "without memory a lease is not given back unswept");
	memory();
	world_pass(100);
	ok(world_swept(FAR, 2) && world_find(ACTION_SEND, MSG_release, FAR) < 0, "but swept when there is some");
	world_invalidated(FAR, true, 0);
	ok(world_find(ACTION_SEND, MSG_release, FAR) >= 0, "and then given back");
	world_teardown();
}

/* The same of the attributes alone, where a READ has locked the pages. */
static void
test_sweep_of_attributes(void)
{
	struct op open = { .type = OP_OPEN, .ino = FAR, .flags = O_RDWR }, read;
	unsigned n = 0, later = 0;
	bool waits = true, fine = true;

	while (++n < 30) {
		world_setup();
		world_lease_far(MODE_SHARED, 7);
		world_submit(&open);
		world_replied(&open);
		no_memory();
		memory();		/* but for this one allocation: nothing is set aside */
		w.no_sweep = true;
		world_recall(FAR, 7, MODE_NONE, 9);
		read = (struct op){ .type = OP_READ, .ino = FAR, .size = 4096, .handle = open.handle };
		allocator.count = 0;
		allocator.fail_at = n;
		waits = !world_submit(&read);
		allocator.fail_at = 0;
		later += waits && !world_swept(FAR, 0);
		world_pass(100);
		fine &= !waits || world_swept(FAR, 0);
		engine_detached(w.engine);
		engine_interrupt(w.engine, &read);
		world_collect();
		world_replied(&read);
		world_teardown();
	}
	ok(fine && later > 0, "a READ that has locked pages lets its lease go when the attributes are swept, sooner or later");
}

/* The kernel did not know it, and cannot be told again. */
static void
test_sweep_again(void)
{
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("a") };
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	world_submit(&look);
	world_replied(&look);
	w.no_sweep = true;
	world_recall(a, 0, MODE_NONE, 9);
	no_memory();
	world_invalidated(a, true, -ENOENT);
	memory();
	ok(engine_lease(w.engine, a) == MODE_NONE && world_sane(), "a recall does not wait for a sweep that nobody was asked for");
	world_teardown();
}

/* There is no memory to note it. */
static void
test_unknown_recall(void)
{
	struct op look = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	no_memory();
	world_recall(FAR, 7, MODE_NONE, 9);
	memory();
	ok(!world_submit(&look), "a recall that overtook its grant is forgotten");
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_file));
	ok(look.error == 0 && engine_lease(w.engine, FAR) == MODE_SHARED && world_sane(), "and the grant taken");
	world_replied(&look);
	world_teardown();
}

/* ---- objects ---- */

static void
test_format(void)
{
	unsigned n = 0;
	int r;

	do {
		world_setup_unattached(NULL);
		world_attach(true, 0, false);
		allocator.count = 0;
		allocator.fail_at = ++n;
		r = engine_format(w.engine, 0, 0, 0755);
		allocator.fail_at = 0;
		if (r != 0 && r != -ENOMEM)
			n = 0;
		world_teardown();
	} while (r != 0 && n != 0);
	ok(n == 5, "a volume is made whole, or there is no memory for it (%u allocations)", n - 1);
}

/* Their table is not made larger: all are found. */
static void
test_table(void)
{
	enum { MANY = 1100 };
	unsigned found = 0, bad = 0;
	char name[16];
	bool fine;

	world_setup();
	for (unsigned i = 0; i < MANY; i++) {
		struct op op = { .type = OP_MKNOD, .ino = OID_ROOT, .name = world_text(name), .attr.mode = 0644 };

		snprintf(name, sizeof name, "%u", i);
		op.name = world_text(name);
		each_allocation(op, &fine);
		/* The one that came last found the name that an earlier one made. */
		bad += !world_sane();
	}
	for (unsigned i = 0; i < MANY; i++) {
		struct op op = { .type = OP_LOOKUP, .ino = OID_ROOT };

		snprintf(name, sizeof name, "%u", i);
		op.name = world_text(name);
		found += world_submit(&op) && op.error == 0 && S_ISREG(op.attr.mode);
		world_replied(&op);
	}
	ok(found == MANY && bad == 0, "of %u objects %u are found whether or not their table could grow", MANY, found);
	world_sync();
	world_teardown();
}

static char path[4096];

static void
note_path(void *context, const char *at, bool lost)
{
	(void)context;
	(void)lost;
	if (strcmp(at, "/") != 0)
		snprintf(path, sizeof path, "%s", at);
}

/* The name an object is told by; and one that is opened by CREATE. */
static void
test_names(void)
{
	struct op link = { .type = OP_LINK, .ino2 = OID_ROOT, .name = world_text("b") };
	struct op look = { .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("b") };
	struct op create = { .type = OP_CREATE, .ino = OID_ROOT, .name = world_text("a"), .flags = O_RDWR };
	unsigned n;
	uint64_t h;
	bool fine;

	world_setup();
	link.ino = world_create("a", &h);
	world_submit(&link);
	world_replied(&link);
	allocator.count = 0;
	allocator.fail_at = 2;		/* behind the operation's own */
	world_submit(&look);
	allocator.fail_at = 0;
	ok(look.error == 0 && look.child == link.ino, "a name is found that there is no memory to note");
	world_replied(&look);
	engine_unsaved(w.engine, note_path, NULL);
	ok(strcmp(path, "/?") == 0, "the object is told of without it: %s", path);
	look = (struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("b") };
	world_submit(&look);
	world_replied(&look);
	engine_unsaved(w.engine, note_path, NULL);
	ok(strcmp(path, "/b") == 0, "until it is found again: %s", path);
	n = each_allocation(create, &fine);
	ok(n > 1 && fine, "a file is opened by CREATE, or there is no memory for it (%u allocations)", n);
	world_teardown();
}

/* ---- what the pins keep ---- */

enum { BLOCKS = 20 };

/* The content of FAR: one region of many blocks. */
static void
answer_blocks(void)
{
	static uint8_t subkey[8], ids[BLOCKS][ID_SIZE], value[VALUE_MAX];
	struct msg_record region = { .kind = KIND_REGION, .subkey = { subkey, sizeof subkey },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, BLOCKS } };
	struct msg_answer answers[WANTS_MAX], attr = world_object(FAR, MODE_SHARED, 7, 1, &world_file);
	struct extent extents[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++) {
		ids[i][0] = (uint8_t)i;
		extents[i] = (struct extent){ .offset = i * 5, .length = 5, .ref = i };
	}
	region.value = (struct bytes){ value, (size_t)region_encode(extents, BLOCKS, value, sizeof value) };
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_SHARED, .grant = 7, .version = 1 };
		if (w.wants[i].kind == KIND_ATTR)
			answers[i].records = attr.records;
		if (w.wants[i].kind == KIND_REGION)
			answers[i].records.at = &region, answers[i].records.count = 1;
	}
	world_grant(w.last_read, 1, answers, w.read.wants.count);
}

static void
test_keep(void)
{
	struct op file = { .type = OP_KEEP, .ino = FAR, .round = 1 }, dir = { .type = OP_KEEP, .ino = OID_ROOT, .round = 1 }, op;
	unsigned n;
	uint64_t h;
	bool fine;

	world_setup();
	world_create("a", &h);
	n = each_allocation(dir, &fine);
	ok(n >= 4 && fine, "a directory is kept, or there is no memory for it (%u allocations)", n);
	op = file;
	w.reply_count = 0;
	world_submit(&op);
	for (unsigned i = 0; i < 4 && w.reply_count == 0; i++)
		answer_blocks();
	ok(w.reply_count == 1 && op.error == 0 && op.pieces[0].len == BLOCKS * sizeof(struct kept_block), "a file of %u blocks", BLOCKS);
	world_replied(&op);
	n = each_allocation(file, &fine);
	ok(n >= 5 && fine, "so is that (%u allocations)", n);
	world_teardown();
}

/* ---- directories whose PARENT does not open, or is not there, so that to change it takes memory ---- */

enum { A = FAR, B, X, Y, F, Z };

static struct far_object tree[] = {
	{ .oid = A, .mode = S_IFDIR | 0755, .nlink = 4, .parent = OID_ROOT, .names = { { "x", X }, { "f", F }, { "z", Z } } },
	{ .oid = B, .mode = S_IFDIR | 0755, .nlink = 3, .parent = OID_ROOT, .names = { { "y", Y }, { "a", A } } },
	{ .oid = X, .mode = S_IFDIR | 0755, .nlink = 2, .parent = DAMAGED_PARENT },
	{ .oid = Y, .mode = S_IFDIR | 0755, .nlink = 2, .parent = NO_PARENT },
	{ .oid = F, .mode = S_IFREG | 0644, .nlink = 1 },
	{ .oid = Z, .mode = S_IFDIR | 0755, .nlink = 2, .parent = A },
	{ .oid = 0 },
};

static uint64_t
leads_to(uint64_t dir, const char *name)
{
	struct op op = { .type = OP_LOOKUP, .ino = dir, .name = world_text(name) };
	uint64_t child = far_do(&op) == 0 ? op.child : 0;

	world_replied(&op);
	return child;
}

/* All that a rename between A and B needs is here, for it or any other. */
static void
begin_tree(void)
{
	world_setup();
	far_begin(tree);
	far_done((struct op){ .type = OP_RENAME, .ino = A, .name = world_text("z"), .ino2 = B, .name2 = world_text("z") });
	far_done((struct op){ .type = OP_RENAME, .ino = B, .name = world_text("z"), .ino2 = A, .name2 = world_text("z") });
	for (uint64_t oid = X; oid <= F; oid++)
		far_done((struct op){ .type = OP_SETATTR, .ino = oid, .set = SET_MODE, .attr.mode = 0700 });
	leads_to(A, "x");
	leads_to(A, "f");
	leads_to(B, "y");
	leads_to(B, "n");
	far_done((struct op){ .type = OP_SYNC });
}

/* With allocation `n` failing it is done whole, or not at all.  Its error. */
static int
move_without(unsigned n, struct op op, bool *ret_fine)
{
	const char *name = (const char *)op.name.data, *name2 = (const char *)op.name2.data;
	struct op list = { .type = OP_READDIR, .ino = Y, .size = 4096 };
	uint64_t source, target;
	int r;

	begin_tree();
	source = leads_to(op.ino, name);
	target = leads_to(op.ino2, name2);
	allocator.count = 0;
	allocator.fail_at = n;
	*ret_fine &= world_submit(&op);
	allocator.fail_at = 0;
	r = op.error;
	world_replied(&op);
	*ret_fine &= (r == 0 || r == -ENOMEM) && world_sane();
	*ret_fine &= leads_to(A, name) == (r == 0 ? target : source);
	*ret_fine &= leads_to(op.ino2, name2) == (r == 0 ? source : target);
	if (r != 0) {
		/* X still lies in A, if it is known where: A does not go into it. */
		int into = far_done((struct op){ .type = OP_RENAME, .ino = B, .name = world_text("a"), .ino2 = X, .name2 = world_text("a") });

		*ret_fine &= into == -EINVAL || into == -EIO;
		far_do(&list);
		*ret_fine &= list.entries_count == 2 && list.entries[1].ino == Y;
		world_replied(&list);
	}
	world_teardown();
	return r;
}

static void
test_parents(void)
{
	static const struct { const char *name, *name2; uint32_t flags; } moves[] = {
		{ "x", "n", 0 }, { "x", "y", RENAME_EXCHANGE }, { "f", "y", RENAME_EXCHANGE },
	};

	for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
		unsigned failed = 0;
		bool fine = true;

		for (unsigned n = 1; n <= 12; n++)
			failed += move_without(n, (struct op){ .type = OP_RENAME, .ino = A, .name = world_text(moves[i].name), .ino2 = B,
			    .name2 = world_text(moves[i].name2), .flags = moves[i].flags }, &fine) != 0;
		ok(fine && failed > 1, "%s moves to %s whole, or not at all (%u of 12 allocations)", moves[i].name, moves[i].name2, failed);
	}
}

int
main(void)
{
	world_begin();
	test_reclaim();
	test_keepalive();
	test_ids();
	test_interrupt();
	test_meta();
	test_sweep();
	test_sweep_of_attributes();
	test_sweep_again();
	test_unknown_recall();
	test_format();
	test_table();
	test_names();
	test_keep();
	test_parents();
	return tap_done();
}
