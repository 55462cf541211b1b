/*
 * test_client_scout.c - what the client engine asks for ahead of need, and what
 * it makes of the answers: the ways that the simulator does not lead it.
 */
#include "tests/unit/far_world.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

enum { CHILD = FAR + 1, CHILDREN = 200 };

static uint8_t tokens[CHILDREN][TOKEN_SIZE], values[CHILDREN][64];
static uint64_t orefs[CHILDREN];
static struct msg_record names[CHILDREN];

static void
name_of(unsigned i, char name[16])
{
	snprintf(name, 16, "n%u", i);
}

/* The names of FAR, in the order of a listing; each leads to one of CHILD and those behind it. */
static void
name_all(unsigned count)
{
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		unsigned at = i;
		uint8_t token[TOKEN_SIZE];

		name_of(i, name);
		name_token(w.keys, FAR, world_text(name), token);
		for (; at > 0 && memcmp(tokens[at - 1], token, TOKEN_SIZE) > 0; at--) {
			memcpy(tokens[at], tokens[at - 1], TOKEN_SIZE);
			memcpy(values[at], values[at - 1], sizeof values[at]);
			names[at].value.len = names[at - 1].value.len;
			orefs[at] = orefs[at - 1];
		}
		memcpy(tokens[at], token, TOKEN_SIZE);
		names[at].value.len = (size_t)entry_encode(world_text(name), DT_REG, values[at], sizeof values[at]);
		orefs[at] = CHILD + i;
	}
	for (unsigned i = 0; i < count; i++)
		names[i] = (struct msg_record){ .kind = KIND_ENTRY, .version = 1, .subkey = { tokens[i], TOKEN_SIZE },
		    .value = { values[i], names[i].value.len }, .orefs = { &orefs[i], 1 } };
}

/* FAR is listed by one call of so many bytes: the server tells of `count` names, and that there may be more. */
static void
list(struct op *op, unsigned count, bool more)
{
	struct msg_answer answer = { .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .more = more, .records = { names, count } };

	world_submit(op);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_directory));
	world_grant_one(1, answer);
}

static bool
asked_ahead(unsigned before)
{
	return w.sent[MSG_read] > before;
}

/* The READ of a listing that is asked for ahead, while the answer to the one before is given out. */
static uint64_t
listing_ahead(void)
{
	struct op first = { .type = OP_READDIR, .ino = FAR, .size = 100 }, next = { .type = OP_READDIR, .ino = FAR, .size = 4096 };

	name_all(2);
	list(&first, 2, true);
	next.offset = first.entries_count > 0 ? first.entries[first.entries_count - 1].offset : 0;
	world_replied(&first);
	world_submit(&next);
	world_replied(&next);
	return w.last_read;
}

/* ---- a listing ahead ---- */

static void
test_listing(void)
{
	struct op first = { .type = OP_READDIR, .ino = FAR, .size = 100 }, again, whole = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	unsigned reads;

	world_setup();
	listing_ahead();
	reads = w.sent[MSG_read];
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
	world_submit(&again);
	ok(again.error == 0 && again.entries_count == 3 && !asked_ahead(reads), "what is asked for already is not asked for again");
	world_replied(&again);
	engine_detached(w.engine);
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
	world_submit(&again);
	ok(again.entries_count == 3 && !asked_ahead(reads), "nor anything while the connection is gone");
	world_replied(&again);
	world_attach(false, 1000000, false);
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
	world_submit(&again);
	ok(again.entries_count == 3 && !asked_ahead(reads), "or it is not known yet what of it is left");
	world_replied(&again);
	engine_received(w.engine, &(struct message){ .type = MSG_reclaimed });
	world_collect();
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
	world_submit(&again);
	ok(again.entries_count == 3 && asked_ahead(reads), "then it is, as the answer to the first will not come");
	world_replied(&again);
	ok(world_sane(), "the invariants hold");
	world_teardown();

	/* Where the reader stands nobody may be told more of it. */
	world_setup();
	name_all(2);
	list(&first, 2, true);
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096,
	    .offset = first.entries_count > 0 ? first.entries[first.entries_count - 1].offset : 0 };
	w.no_sweep = true;
	world_recall(FAR, 7, MODE_NONE, 9);
	reads = w.sent[MSG_read];
	world_submit(&again);
	ok(again.error == 0 && again.entries_count == 1 && !asked_ahead(reads), "nothing of a directory that is being given back");
	world_replied(&again);
	world_replied(&first);
	world_teardown();

	/* All of it is known, or made here. */
	world_setup();
	name_all(2);
	list(&whole, 2, false);
	again = (struct op){ .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
	world_replied(&whole);
	reads = w.sent[MSG_read];
	world_submit(&again);
	ok(again.entries_count == 3 && !asked_ahead(reads), "nothing of what is known to its end");
	world_replied(&again);
	world_teardown();
}

/* The last name's token ends in bytes that are full: the next one begins behind them; or it is the last that can be, and all is known. */
static void
test_carry(void)
{
	static const uint8_t full[2][TOKEN_SIZE] = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xff },
	    { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

	for (unsigned i = 0; i < 2; i++) {
		struct op first = { .type = OP_READDIR, .ino = FAR, .size = 4096 }, again = { .type = OP_READDIR, .ino = FAR, .size = 4096, .offset = 1 };
		unsigned reads;

		world_setup();
		name_all(1);
		memcpy(tokens[0], full[i], TOKEN_SIZE);
		list(&first, 1, true);
		world_replied(&first);
		reads = w.sent[MSG_read];
		world_submit(&again);
		ok(i == 0 ? asked_ahead(reads) && w.wants[0].kind == KIND_ENTRY && w.read.wants.count == 1 : !asked_ahead(reads),
		    "a listing goes on behind any name but the last");
		world_replied(&again);
		world_teardown();
	}
}

/* Of a file made here nobody knows more, whoever tells of it. */
static void
test_born(void)
{
	struct op set = { .type = OP_SETATTR, .set = SET_SIZE, .attr.size = 100000 };
	uint64_t h;

	world_setup_as(&(struct engine_config){ .eager = true });
	set.ino = world_create("a", &h);
	world_submit(&set);
	world_replied(&set);
	world_grant(w.last_read + 1000, 0, &(struct msg_answer){ .oid = set.ino, .mode = MODE_SHARED, .grant = 5, .version = 9 }, 1);
	ok(engine_lease(w.engine, set.ino) == MODE_EXCLUSIVE && w.fetch_count == 0 && world_sane(), "what others tell of a new file is not so");
	world_teardown();
}

/* Directories that came with a listing, and are then listed one after the other: more comes along each time, to a limit. */
static void
test_deeper(void)
{
	enum { DIRS = 150 };
	static struct msg_answer gifts[DIRS + 2];
	struct op whole = { .type = OP_READDIR, .ino = FAR, .size = 65536 }, one;
	uint64_t most = 0;
	unsigned hits = 0;

	world_setup();
	name_all(DIRS);
	world_submit(&whole);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_directory));
	gifts[0] = (struct msg_answer){ .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .records = { names, DIRS } };
	for (unsigned i = 0; i < DIRS; i++) {
		gifts[i + 1] = world_object(CHILD, MODE_SHARED, 8 + i, 1, &world_directory);
		gifts[i + 1].oid = CHILD + i;
	}
	/* All of them have the same attributes, of which world_object() keeps eight. */
	world_grant(w.last_read, 1, gifts, DIRS + 1);
	ok(whole.error == 0 && whole.entries_count == DIRS + 2, "a directory is listed, and what is in it comes along");
	world_replied(&whole);
	for (unsigned i = 0; i < DIRS; i++) {
		one = (struct op){ .type = OP_READDIR, .ino = CHILD + i, .size = 4096 };
		hits += world_submit(&one) && one.error == 0;
		world_replied(&one);
	}
	one = (struct op){ .type = OP_READDIR, .ino = FAR + 100000, .size = 4096 };
	world_submit(&one);
	world_grant_one(1, world_object(FAR + 100000, MODE_SHARED, 9999, 1, &world_directory));
	most = w.read.size;
	ok(hits == DIRS && most == 1024 * 1024, "the next listing may bring so much: %llu bytes", (unsigned long long)most);
	engine_detached(w.engine);
	engine_interrupt(w.engine, &one);
	world_collect();
	world_replied(&one);
	world_teardown();
}

/* So many READs ahead at a time. */
static void
test_many_ahead(void)
{
	enum { DIRS = 6, MOST = 4 };
	unsigned asked = 0;

	world_setup();
	name_all(1);
	for (unsigned i = 0; i < DIRS; i++) {
		uint64_t dir = FAR + 10000 + i;
		struct op first = { .type = OP_READDIR, .ino = dir, .size = 4096 }, again = { .type = OP_READDIR, .ino = dir, .size = 4096, .offset = 1 };
		struct msg_answer answer = { .oid = dir, .mode = MODE_SHARED, .grant = 7, .version = 1, .more = 1, .records = { names, 1 } };
		unsigned reads;

		world_submit(&first);
		world_grant_one(1, world_object(dir, MODE_SHARED, 7, 1, &world_directory));
		world_grant_one(1, answer);
		world_replied(&first);
		reads = w.sent[MSG_read];
		world_submit(&again);
		asked += w.sent[MSG_read] - reads;
		world_replied(&again);
	}
	ok(asked == MOST, "of %u listings %u are asked for ahead at a time", DIRS, asked);
	world_teardown();
}

/* ---- answers that are late ---- */

/* It was asked for when the lease was here; given back meanwhile, it does not come back with the answer. */
static void
test_late_answer(void)
{
	uint64_t request;
	size_t objects;

	world_setup();
	request = listing_ahead();
	world_recall(FAR, 7, MODE_NONE, 9);
	ok(engine_lease(w.engine, FAR) == MODE_NONE, "a directory is given back while more of it is asked for");
	objects = world_status().objects;
	world_grant(request, 0, &(struct msg_answer){ .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .records = { names, 2 } }, 1);
	ok(engine_lease(w.engine, FAR) == MODE_NONE && world_sane(), "the answer does not bring it back");
	ok(world_status().objects <= objects, "nor anything else");
	world_teardown();
}

/* ---- children that are missed one after the other ---- */

static int
look(unsigned i, unsigned missing)
{
	char name[16];
	struct op op = { .type = OP_LOOKUP, .ino = FAR };
	struct msg_answer answer;
	uint64_t asked, own;

	name_of(i, name);
	op.name = world_text(name);
	own = w.last_read;
	if (world_submit(&op)) {
		world_replied(&op);
		return 1;
	}
	/* Its own READ, and perhaps one of the scout's behind it, which brings so many children. */
	asked = w.last_read;
	answer = world_object(CHILD + i, MODE_SHARED, 20 + i, 1, &world_file);
	world_grant(own + 1, 1, &answer, 1);
	if (asked != own + 1) {
		static struct msg_answer all[CHILDREN + 1];

		all[0] = (struct msg_answer){ .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1 };
		for (unsigned n = 0; n < missing; n++)
			all[n + 1] = (struct msg_answer){ .oid = CHILD + 1000 + n, .mode = MODE_SHARED, .grant = 500, .version = 1 };
		world_grant(asked, 0, all, missing + 1);
	}
	world_replied(&op);
	return asked != own + 1 ? 2 : op.error;
}

/* How often the rest of the directory is asked for, by so many misses; an answer brings so many. */
static unsigned
series(unsigned misses, unsigned brings)
{
	struct op whole = { .type = OP_READDIR, .ino = FAR, .size = 65536 };
	unsigned asked = 0;

	world_setup();
	name_all(CHILDREN - 1);
	list(&whole, CHILDREN - 1, false);
	world_replied(&whole);
	for (unsigned i = 0; i < misses; i++)
		asked += look(i, brings) == 2;
	ok(world_sane(), "the invariants hold");
	world_teardown();
	return asked;
}

static void
test_series(void)
{
	unsigned few = series(CHILDREN - 1, 1), many = series(CHILDREN - 1, 50);

	ok(few >= 3 && few < 12, "children that are missed are asked for together, less and less often if few come (%u)", few);
	ok(many > 2 * few, "and more often if many do (%u)", many);
}

/* Contents that are asked for ahead bring no extended attributes: who wants those asks himself. */
static void
test_other_kind(void)
{
	enum { FILES = 5 };
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100, .flags = ATTR_INLINE | ATTR_HAS_XATTRS };
	struct op whole = { .type = OP_READDIR, .ino = FAR, .size = 65536 }, get = { .type = OP_GETXATTR, .name = world_text("user.a") };
	struct op reads[2];
	uint64_t ahead;
	struct msg_answer gifts[FILES + 1];
	char name[16];

	world_setup();
	name_all(FILES);
	world_submit(&whole);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_directory));
	gifts[0] = (struct msg_answer){ .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .records = { names, FILES } };
	for (unsigned i = 0; i < FILES; i++)
		gifts[i + 1] = world_object(CHILD + i, MODE_SHARED, 8 + i, 1, &small);
	world_grant(w.last_read, 1, gifts, FILES + 1);
	world_replied(&whole);
	for (unsigned i = 0; i < FILES; i++) {
		struct op look = { .type = OP_LOOKUP, .ino = FAR };

		name_of(i, name);
		look.name = world_text(name);
		world_submit(&look);
		world_replied(&look);
	}
	for (unsigned i = 0; i < 2; i++) {
		reads[i] = (struct op){ .type = OP_READ, .ino = CHILD + i, .size = 4096 };
		world_submit(&reads[i]);
	}
	ok(w.read.wants.count >= 2 && w.wants[0].kind == KIND_INLINE && w.wants[0].oid >= CHILD + 2,
	    "who reads one small file after the other is brought the next ones");
	get.ino = w.wants[0].oid;
	ahead = w.last_read;
	ok(!world_submit(&get) && world_wanted(get.ino, MODE_SHARED) && w.wants[0].kind == KIND_XATTR, "what is not among that is asked for");
	/* Its answer comes when the term is over: nothing more is asked for. */
	w.now_ms += 2 * TERM_MS;
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	memset(w.sent, 0, sizeof w.sent);
	world_grant(ahead, 0, NULL, 0);
	ok(w.sent[MSG_read] == 0, "nothing is asked for ahead under leases that are over");
	engine_detached(w.engine);
	engine_interrupt(w.engine, &get);
	engine_interrupt(w.engine, &reads[0]);
	engine_interrupt(w.engine, &reads[1]);
	world_collect();
	world_replied(&get);
	world_replied(&reads[0]);
	world_replied(&reads[1]);
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_listing();
	test_carry();
	test_many_ahead();
	test_born();
	test_deeper();
	test_late_answer();
	test_series();
	test_other_kind();
	return tap_done();
}
