/* test_client_walk.c - what is looked at ahead of a reader of a tree, and what is passed by. */
#include "tests/unit/client_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { MANY = 5000 };

/* A directory as the server has it, with what comes along of its children. */
static struct tree {
	uint64_t	 dir;
	struct msg_record records[MANY + 1];
	struct msg_answer answers[MANY + 2];
	uint8_t		 tokens[MANY][TOKEN_SIZE], values[MANY][100], attrs[MANY + 1][128];
	struct msg_record attr_records[MANY + 1];
	uint64_t	 oids[MANY];
	uint32_t	 names, children;
	struct msg_record patch;	/* kind 0: none */
	bool		 more;
} t;

static const struct attr link_attr = { .mode = S_IFLNK | 0777, .nlink = 1, .symlink = { (const uint8_t *)"t", 1 }, .size = 1 };

static struct msg_record *
attr_record(uint32_t i, const struct attr *attr)
{
	t.attr_records[i] = (struct msg_record){ .kind = KIND_ATTR, .version = 1,
	    .value = { t.attrs[i], (size_t)attr_encode(attr, t.attrs[i], sizeof t.attrs[i]) } };
	return &t.attr_records[i];
}

static void
begin(uint64_t dir)
{
	t.dir = dir;
	t.names = t.children = 0;
	t.patch.kind = 0;
	t.more = false;
}

/* An entry; attr: its child comes along; NULL: it does not. */
static struct msg_record *
add(const char *name, uint64_t oid, const struct attr *attr)
{
	uint32_t i = t.names++;
	struct msg_record *r = &t.records[i];

	t.oids[i] = oid;
	name_token(w.keys, t.dir, world_text(name), t.tokens[i]);
	*r = (struct msg_record){ .kind = KIND_ENTRY, .subkey = { t.tokens[i], TOKEN_SIZE }, .orefs = { &t.oids[i], 1 },
	    .value = { t.values[i], (size_t)entry_encode(world_text(name), DT_UNKNOWN, t.values[i], sizeof t.values[i]) } };
	if (attr != NULL)
		t.answers[2 + t.children++] = (struct msg_answer){ .oid = oid, .mode = MODE_SHARED, .grant = oid, .version = 1, .more = 1,
		    .records = { attr_record(i, attr), 1 } };
	return r;
}

static int
by_token(const void *a, const void *b)
{
	const struct msg_record *x = a, *y = b;

	return x->kind != y->kind ? x->kind - y->kind : memcmp(x->subkey.data, y->subkey.data, TOKEN_SIZE);
}

/* The directory becomes known so, and what came along. */
static void
tell(void)
{
	struct op op = { .type = OP_GETATTR, .ino = t.dir };
	struct msg_record first[2];

	qsort(t.records, t.names, sizeof t.records[0], by_token);
	ok(!world_submit(&op), "a directory of %u names is not known", (unsigned)t.names);
	first[0] = *attr_record(MANY, &world_directory);
	first[1] = t.patch;
	t.answers[0] = (struct msg_answer){ .oid = t.dir, .mode = MODE_SHARED, .grant = t.dir, .version = 1,
	    .records = { first, t.patch.kind != 0 ? 2 : 1 } };
	t.answers[1] = (struct msg_answer){ .oid = t.dir, .mode = MODE_SHARED, .grant = t.dir, .version = 1, .more = t.more,
	    .records = { t.records, t.names } };
	world_grant(w.last_read, 1, t.answers, 2 + t.children);
	world_replied(&op);
	w.read.wants.count = 0;
}

static void
look_up(uint64_t dir, const char *name)
{
	struct op op = { .type = OP_LOOKUP, .ino = dir, .name = world_text(name) };

	ok(world_submit(&op) && op.error == 0, "%s is known in it", name);
	world_replied(&op);
}

/* Begins to list a directory, or to read a file, that is not known: the last READ is the one ahead of that. */
static void
miss(struct op *op, enum op_type type, uint64_t ino)
{
	*op = (struct op){ .type = type, .ino = ino, .size = 4096 };
	w.sent[MSG_read] = 0;
	ok(!world_submit(op), "what is in %s is not", type == OP_READ ? "a file" : "a directory");
}

static unsigned
wanted_of(uint64_t oid, uint8_t kind)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < w.read.wants.count; i++)
		n += w.wants[i].kind == kind && (oid == 0 || w.wants[i].oid == oid);
	return n;
}

static void
setup(void)
{
	world_setup_as(&(struct engine_config){ .eager = true });
}

static void
end(struct op *op)
{
	engine_detached(w.engine);
	engine_interrupt(w.engine, op);
	world_collect();
	world_replied(op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* ---- */

/* More directories beside the reader's than one READ lists; names that lead nowhere, or in a circle. */
static void
test_wide(enum op_type type)
{
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .flags = ATTR_INLINE };
	char name[16];
	struct op op;

	setup();
	begin(FAR);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "d%u", i);
		add(name, FAR + 100 + i, &world_directory);
		snprintf(name, sizeof name, "u%u", i);
		add(name, FAR + 1000 + i, NULL);
	}
	add("f", FAR + 1, &small);
	add("g", FAR + 2, &small);
	add("link", FAR + 3, &link_attr);
	add("self", FAR, NULL);
	add("dull", FAR + 4, NULL)->value.data = NULL;
	add("nowhere", FAR + 5, NULL)->orefs.count = 0;
	tell();
	look_up(FAR, "d0");
	look_up(FAR, "f");
	look_up(FAR, "self");
	miss(&op, type, type == OP_READ ? FAR + 1 : FAR + 100);
	ok(w.sent[MSG_read] == 2 && wanted_of(0, KIND_ENTRY) == 64, "64 listings are asked for ahead of it: %u", wanted_of(0, KIND_ENTRY));
	ok(type != OP_READ || wanted_of(FAR + 2, KIND_INLINE) == 1, "and the file beside the one that is read");
	ok(wanted_of(FAR + 3, KIND_INLINE) + wanted_of(FAR + 3, KIND_REGION) + wanted_of(FAR + 4, KIND_ATTR) == 0, "but nothing of what has no content");
	end(&op);
}

/* A part of a listing is known, up to a key after which the next is not one more in its last byte. */
static void
test_part(void)
{
	uint8_t token[TOKEN_SIZE];
	struct msg_record *last;
	struct op op, again = { .type = OP_GETATTR, .ino = FAR + 100 };

	setup();
	begin(FAR + 100);
	last = add("last", FAR + 7, &link_attr);
	memset(token, 0x7f, sizeof token);
	token[TOKEN_SIZE - 1] = 0xff;
	last->subkey.data = token;
	t.more = true;
	tell();
	begin(FAR);
	add("a", FAR + 100, NULL);
	add("b", FAR + 101, &world_directory);
	tell();
	ok(world_submit(&again) && again.error == 0, "the one directory is known in part");
	world_replied(&again);
	look_up(FAR, "a");
	look_up(FAR, "b");
	miss(&op, OP_READDIR, FAR + 101);
	ok(wanted_of(FAR + 100, KIND_ENTRY) == 1, "it is gone on with");
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		if (w.wants[i].oid == FAR + 100)
			ok(w.wants[i].from.data[TOKEN_SIZE - 1] == 0 && w.wants[i].from.data[TOKEN_SIZE - 2] == 0x80, "right behind what is known");
	end(&op);
}

/* So deep that the way down is given up. */
static void
test_deep(void)
{
	enum { DEPTH = 40, LIMIT = 24 };
	struct op op;

	setup();
	for (unsigned i = DEPTH; i-- > 0;) {
		begin(FAR + 100 + i);
		add("d", FAR + 101 + i, i == DEPTH - 1 ? &world_directory : NULL);
		tell();
	}
	begin(FAR);
	add("a", FAR + 100, NULL);
	add("b", FAR + 50, &world_directory);
	tell();
	look_up(FAR, "a");
	look_up(FAR, "b");
	miss(&op, OP_READDIR, FAR + 50);
	ok(wanted_of(FAR + 50, KIND_ENTRY) == 1 && wanted_of(FAR + 100 + DEPTH, KIND_ENTRY) == 0,
	    "a directory below %u others is not asked for ahead", DEPTH);
	end(&op);
}

/* Names that go in an order of their own; and more of them than are sorted, or looked at. */
static void
test_long(unsigned names)
{
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .flags = ATTR_INLINE };
	uint8_t one[TOKEN_SIZE], two[TOKEN_SIZE];
	char first[16], second[16], name[16];
	struct op op, next;

	setup();
	begin(FAR);
	/* Two names whose tokens are not in order, nor their numbers. */
	for (unsigned i = 0;; i += 2) {
		snprintf(first, sizeof first, "a%03u", i);
		snprintf(second, sizeof second, "a%03u", i + 1);
		name_token(w.keys, FAR, world_text(first), one);
		name_token(w.keys, FAR, world_text(second), two);
		if (memcmp(one, two, sizeof one) > 0)
			break;
	}
	add(first, FAR + 9, &small);
	add(second, FAR + 8, &small);
	add("b-next", FAR + 7, &small);
	add("b-dull", FAR + 6, NULL)->value.data = NULL;
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof name, "c%u", i);
		add(name, FAR + 100 + i, &link_attr);
	}
	tell();
	look_up(FAR, first);
	look_up(FAR, second);
	miss(&op, OP_READ, FAR + 9);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &op);
	world_collect();
	world_replied(&op);
	world_attach(false, 1000, false);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_pass(6000);
	miss(&next, OP_READ, FAR + 8);
	ok(names > 4000 || wanted_of(FAR + 7, KIND_INLINE) == 1, "the next file is asked for, among %u names", names);
	end(&next);
}

static bool
among_wants(uint64_t oid)
{
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		if (w.wants[i].oid == oid)
			return true;
	return false;
}

/* More files than the window is wide; and again when it is narrow, and they are still asked for. */
static void
test_files(void)
{
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .flags = ATTR_INLINE };
	struct op op, next;
	uint64_t first[WANTS_MAX];
	unsigned n, twice = 0;
	char name[16];

	setup();
	begin(FAR);
	for (unsigned i = 0; i < 120; i++) {
		snprintf(name, sizeof name, "f%u", i);
		add(name, FAR + 100 + i, &small);
	}
	add("d", FAR + 50, &world_directory);
	tell();
	look_up(FAR, "f0");
	look_up(FAR, "f1");
	miss(&op, OP_READ, FAR + 100);
	n = w.read.wants.count;
	ok(n > 50 && n < 70, "%u files are asked for ahead of one", n);
	for (unsigned i = 0; i < n; i++)
		first[i] = w.wants[i].oid;
	world_pass(1000);
	w.now_ms += 6000;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	next = (struct op){ .type = OP_READ, .ino = FAR + 101, .size = 10 };
	w.read.wants.count = 0;
	world_submit(&next);
	for (unsigned i = 0; i < n; i++)
		twice += among_wants(first[i]) && first[i] != FAR + 101;
	ok(twice == 0, "and not again while they may still come: %u", twice);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &next);
	world_collect();
	world_replied(&next);
	end(&op);
}

/* The last READ brings the content of files, and nothing of what else it asks for. */
static void
bring(uint64_t request)
{
	static struct msg_record record;
	static uint8_t value[200];
	static const uint8_t content[100];
	struct msg_answer answers[WANTS_MAX];

	record = (struct msg_record){ .kind = KIND_INLINE,
	    .value = { value, (size_t)inline_encode((struct bytes){ content, sizeof content }, value, sizeof value) } };
	for (uint32_t i = 0; i < w.read.wants.count; i++) {
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .version = 1 };
		if (w.wants[i].kind == KIND_INLINE)
			answers[i].records.at = &record, answers[i].records.count = 1;
		else
			answers[i].more = 1;
	}
	world_grant(request, 1, answers, w.read.wants.count);
}

/* A reader that all of it comes ahead of, until one READ asks for as much as it may. */
static void
test_full_read(void)
{
	enum { FILES = 2000 };
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .flags = ATTR_INLINE };
	static uint64_t order[FILES];
	unsigned most = 0, i, hits = 0;
	char name[16];
	struct op op;

	setup();
	begin(FAR);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "f%u", i);
		add(name, FAR + 10000 + i, &small);
	}
	for (i = 0; i < 60; i++) {
		snprintf(name, sizeof name, "d%u", i);
		add(name, FAR + 100 + i, &world_directory);
		snprintf(name, sizeof name, "u%u", i);
		add(name, FAR + 200 + i, NULL);
	}
	tell();
	for (uint32_t k = i = 0; k < t.names; k++)
		if (t.records[k].orefs.at[0] >= FAR + 10000)
			order[i++] = t.records[k].orefs.at[0];
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "f%u", (unsigned)(order[i] - FAR - 10000));
		op = (struct op){ .type = OP_LOOKUP, .ino = FAR, .name = world_text(name) };
		world_submit(&op);
		world_replied(&op);
	}
	for (i = 0; i < FILES && most < WANTS_MAX; i++) {
		op = (struct op){ .type = OP_READ, .ino = order[i], .size = 10 };
		w.read.wants.count = 0;
		hits += world_submit(&op);
		if (w.read.wants.count > most)
			most = w.read.wants.count;
		if (w.read.wants.count > 0)
			bring(w.last_read);
		if (i == 0) {
			w.read.wants.count = 1;
			w.wants[0] = (struct msg_want){ .oid = order[0], .kind = KIND_INLINE };
			bring(w.last_read - 1);
		}
		world_replied(&op);
	}
	ok(most == WANTS_MAX && hits > i / 2, "a READ asks for %u things ahead at most, after %u files that came so", most, hits);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* A directory that the server has not heard of is not asked for, though what lies in it is gone. */
static void
test_born(void)
{
	struct op op = { .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text("e"), .attr.mode = 0755 };
	struct op link = { .type = OP_LINK, .ino = FAR, .name = world_text("x") };
	struct msg_answer gone = { .oid = FAR, .status = STATUS_NOENT };
	uint8_t of_e[TOKEN_SIZE], token[TOKEN_SIZE];
	char name[2] = "f";
	uint64_t e, d;

	setup();
	/* It stands behind the other, so that the way leads into it. */
	name_token(w.keys, OID_ROOT, world_text("e"), of_e);
	do
		name_token(w.keys, OID_ROOT, world_text(name), token);
	while (memcmp(token, of_e, sizeof token) < 0 && name[0]++ < 'z');
	world_submit(&op);
	e = op.child;
	world_replied(&op);
	world_sync();
	engine_forget(w.engine, e, 1);
	world_recall(e, 0, MODE_NONE, 1);
	world_lease_far(MODE_EXCLUSIVE, 7);
	op = (struct op){ .type = OP_MKDIR, .ino = OID_ROOT, .name = world_text(name), .attr.mode = 0755 };
	world_submit(&op);
	link.ino2 = d = op.child;
	world_replied(&op);
	ok(world_submit(&link) && link.error == 0, "a file is linked into a new directory");
	world_replied(&link);
	world_grant(1000000, 0, &gone, 1);
	op = (struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = world_text("e") };
	world_submit(&op);
	{
		struct msg_answer answer = world_object(e, MODE_SHARED, 50, 1, &world_directory);

		answer.more = 1;
		world_grant_one(1, answer);
	}
	ok(op.error == 0, "the one beside it is known");
	world_replied(&op);
	w.read.wants.count = 0;
	miss(&op, OP_READDIR, e);
	ok(!among_wants(d) && !among_wants(FAR), "who lists that is told nothing ahead of the new one");
	end(&op);
}

/* What comes along of files may be damaged, and of a directory of a kind that is not known. */
static void
test_damaged(void)
{
	static const struct attr file = { .mode = S_IFREG | 0644, .nlink = 1, .size = 1000 };
	static const struct extent extent = { .length = 1000 };
	static const char *const names[] = { "good", "closed", "garbled", "nameless" };
	static const uint8_t subkey[8], ids[4][ID_SIZE] = { { 1 }, { 2 }, { 3 }, { 4 } };
	static struct msg_record told[4][2];
	uint8_t value[100];
	struct op op;

	setup();
	begin(FAR);
	for (unsigned i = 0; i < 4; i++) {
		struct msg_answer *a;

		add(names[i], FAR + 100 + i, &file);
		a = &t.answers[1 + t.children];
		told[i][0] = a->records.at[0];
		told[i][1] = (struct msg_record){ .kind = KIND_REGION, .subkey = { subkey, 8 }, .brefs = { &ids[i], 1 },
		    .value = { value, (size_t)region_encode(&extent, 1, value, sizeof value) } };
		a->records.at = told[i];
		a->records.count = 2;
	}
	told[1][1].value.data = NULL;
	told[2][1].value = (struct bytes){ (const uint8_t *)"\377\377\377", 3 };
	told[3][1].brefs.count = 0;
	add("e", FAR + 50, &world_directory);
	t.patch = (struct msg_record){ .kind = KIND_PATCH, .subkey = { subkey, 8 }, .value = { value, 1 } };
	w.fetch_count = 0;
	tell();
	ok(w.fetch_count == 1 && memcmp(w.fetches[0]->id, ids[0], ID_SIZE) == 0, "of four files the one that is not damaged is fetched");
	look_up(FAR, "e");
	look_up(FAR, "good");
	miss(&op, OP_READDIR, FAR + 50);
	w.fetch_count = 0;
	engine_fetched(w.engine, w.fetches[0], -EIO);
	end(&op);
}

/* What is asked for ahead is damaged on the server's disk: it is left off for a while. */
static void
test_damaged_ahead(void)
{
	struct msg_answer answers[WANTS_MAX];
	unsigned reads;
	struct op op;

	setup();
	begin(FAR);
	add("a", FAR + 100, &world_directory);
	add("b", FAR + 101, &world_directory);
	tell();
	look_up(FAR, "a");
	reads = w.sent[MSG_read];
	ok(wanted_of(FAR + 101, KIND_ENTRY) == 1, "a listing is asked for ahead");
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .status = STATUS_IO };
	world_grant(w.last_read, 0, answers, w.read.wants.count);
	world_pass(1000);
	ok(w.sent[MSG_read] == reads, "damaged, it is not asked for again at once");
	miss(&op, OP_READDIR, FAR + 101);
	ok(w.sent[MSG_read] == 1, "but by who needs it");
	end(&op);
}

int
main(void)
{
	world_begin();
	test_wide(OP_READDIR);
	test_wide(OP_READ);
	test_part();
	test_deep();
	test_long(20);
	test_long(2500);
	test_long(4500);
	test_files();
	test_full_read();
	test_born();
	test_damaged();
	test_damaged_ahead();
	volume_keys_free(w.keys);
	return tap_done();
}
