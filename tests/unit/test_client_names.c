/* test_client_names.c - names of a directory in the client engine: how they are sent, and listed in stretches. */
#include "tests/unit/client_world.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

static void
test_cancelled(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("t") }, end = { .type = OP_RELEASE };
	unsigned entries = 0;

	world_setup();
	end.ino = world_create("t", &end.handle);
	world_submit(&end);
	world_replied(&end);
	world_submit(&op);
	world_replied(&op);
	world_create("k", &end.handle);
	world_pass(3000);
	world_pass(1000);
	for (uint32_t i = 0; w.commit_count > 0 && i < w.commits[0]->changes_count; i++)
		entries += w.commits[0]->changes[i].kind == KIND_ENTRY;
	ok(entries == 1, "a name made and removed is not spoken of (%u)", entries);
	world_answer_all();
	world_teardown();
}

static void
test_long_listing(void)
{
	struct op op = { .type = OP_READDIR, .ino = FAR, .size = 4096 }, more = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	uint8_t token[TOKEN_SIZE], value[64];
	struct msg_record name = { .kind = KIND_ENTRY, .subkey = { token, TOKEN_SIZE }, .orefs = { (uint64_t[]){ 77 }, 1 } };
	struct msg_answer answer = { .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .more = 1, .records = { &name, 1 } };

	world_setup();
	name_token(w.keys, FAR, world_text("one"), token);
	name.value = (struct bytes){ value, (size_t)entry_encode(world_text("one"), DT_REG, value, sizeof value) };
	world_submit(&op);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_directory));
	world_grant_one(1, answer);
	ok(op.error == 0 && op.entries_count == 3, "the first stretch of a listing is told");
	more.offset = op.entries_count == 3 ? op.entries[2].offset : 0;
	world_replied(&op);
	ok(!world_submit(&more) && world_wanted(FAR, MODE_SHARED), "and the next one asked for");
	answer.more = 0;
	answer.records.count = 0;
	world_grant_one(1, answer);
	ok(more.error == 0 && more.entries_count == 0 && w.reply_count > 1, "until there is none");
	world_replied(&more);
	world_teardown();
}

/* Two names of FAR, in the order that the server has. */
static void
name_two(struct msg_record names[2], uint8_t tokens[2][TOKEN_SIZE], uint8_t values[2][64], const char *texts[2])
{
	bool swapped;

	name_token(w.keys, FAR, world_text("one"), tokens[0]);
	name_token(w.keys, FAR, world_text("two"), tokens[1]);
	swapped = memcmp(tokens[0], tokens[1], TOKEN_SIZE) > 0;
	for (unsigned i = 0; i < 2; i++) {
		texts[i] = (i == 1) != swapped ? "two" : "one";
		name_token(w.keys, FAR, world_text(texts[i]), tokens[i]);
		names[i].subkey = (struct bytes){ tokens[i], TOKEN_SIZE };
		names[i].value = (struct bytes){ values[i], (size_t)entry_encode(world_text(texts[i]), DT_REG, values[i], 64) };
	}
}

/* The names known so far were removed: that is not the end. */
static void
test_listing_of_removed(void)
{
	struct op list = { .type = OP_READDIR, .ino = FAR, .size = 4096 }, more = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	struct op remove = { .type = OP_UNLINK, .ino = FAR };
	uint8_t tokens[2][TOKEN_SIZE], values[2][64];
	struct msg_record names[2] = { { .kind = KIND_ENTRY, .orefs = { (uint64_t[]){ FAR + 1 }, 1 } },
	    { .kind = KIND_ENTRY, .orefs = { (uint64_t[]){ FAR + 2 }, 1 } } };
	struct msg_answer answer = { .oid = FAR, .mode = MODE_EXCLUSIVE, .grant = 7, .version = 1, .more = 1,
	    .records = { names, 2 } };
	const char *texts[2];

	world_setup();
	name_two(names, tokens, values, texts);
	world_submit(&list);
	world_grant_one(1, world_object(FAR, MODE_EXCLUSIVE, 7, 1, &world_directory));
	world_grant_one(1, answer);
	ok(list.entries_count == 4, "two names are known");
	more.offset = list.entries_count == 4 ? list.entries[2].offset : 0;
	world_replied(&list);
	remove.name = world_text(texts[1]);
	world_submit(&remove);
	world_grant_one(1, world_object(FAR + 2, MODE_EXCLUSIVE, 8, 1, &world_file));
	ok(remove.error == 0 && w.reply_count > 1, "the second is removed");
	world_replied(&remove);
	ok(!world_submit(&more), "behind the first the listing goes on with what is not known");
	answer.more = 0;
	answer.records.count = 0;
	world_grant_one(1, answer);
	ok(more.error == 0 && more.entries_count == 0, "and ends when nothing is there");
	world_replied(&more);
	world_answer_all();
	world_teardown();
}

/* Who is told what is known will want the rest. */
static void
test_listing_ahead(void)
{
	struct op list = { .type = OP_READDIR, .ino = FAR, .size = 100 }, more = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	struct op last = more;
	uint8_t tokens[2][TOKEN_SIZE], values[2][64];
	struct msg_record names[2] = { { .kind = KIND_ENTRY, .orefs = { (uint64_t[]){ FAR + 1 }, 1 } },
	    { .kind = KIND_ENTRY, .orefs = { (uint64_t[]){ FAR + 2 }, 1 } } };
	struct msg_answer answer = { .oid = FAR, .mode = MODE_SHARED, .grant = 7, .version = 1, .more = 1,
	    .records = { names, 2 } };
	const char *texts[2];
	unsigned reads;

	world_setup();
	name_two(names, tokens, values, texts);
	world_submit(&list);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, &world_directory));
	world_grant_one(1, answer);
	ok(list.entries_count == 3, "a listing has room for one of two names");
	more.offset = list.entries_count == 3 ? list.entries[2].offset : 0;
	world_replied(&list);
	reads = w.sent[MSG_read];
	ok(world_submit(&more) && more.entries_count == 1, "the other one is told at once");
	ok(w.sent[MSG_read] == reads + 1 && w.wants[0].kind == KIND_ENTRY && w.wants[0].limit > 1,
	    "and what comes behind it is asked for");
	last.offset = more.entries_count == 1 ? more.entries[0].offset : 0;
	world_replied(&more);
	answer.more = 0;
	answer.records.count = 0;
	world_grant_one(1, answer);
	ok(world_submit(&last) && last.error == 0 && last.entries_count == 0, "so that nobody waits for the end");
	world_replied(&last);
	world_teardown();
}

/* That its pin was taken back a server may forget in a crash: then it keeps the file, for others to find without a name. */
static void
test_once_pinned(void)
{
	struct op op = { .type = OP_UNLINK, .ino = OID_ROOT, .name = world_text("a") };
	struct message m = { .type = MSG_reclaimed };
	uint64_t h, a;

	world_setup();
	a = world_create("a", &h);
	world_sync();
	engine_detached(w.engine);
	world_pass(1001 * TERM_MS);
	world_attach(false, 100, false);
	engine_received(w.engine, &m);
	world_run(OP_RELEASE, a, h);
	ok(w.pins == 1 && w.said[w.said_count - 1].type == MSG_pin && w.said[w.said_count - 1].mode == 0, "a pin is taken back");
	ok(world_submit(&op) && op.error == 0, "and the file removed");
	world_replied(&op);
	world_pass(3000);
	world_pass(1000);
	ok(w.commit_count == 1 && world_commit_has(w.commits[0], a, KIND_ATTR), "the commit tells that it has no name all the same");
	world_teardown();
}

int
main(void)
{
	world_begin();
	test_cancelled();
	test_long_listing();
	test_listing_of_removed();
	test_listing_ahead();
	test_once_pinned();
	return tap_done();
}
