/*
 * test_client_answers.c - answers to READs that are not what was asked for:
 * damage on the server's disk, records that do not fit, what is known better.
 */
#include "tests/unit/client_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

/* ---- damage on the server's disk ---- */

/* Answers all wants of the last READ so: without a lease, and without records. */
static void
answer_damaged(void)
{
	struct msg_answer answers[WANTS_MAX];

	for (uint32_t i = 0; i < w.read.wants.count; i++)
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .status = STATUS_IO };
	world_grant(w.last_read, 1, answers, w.read.wants.count);
}

static void
test_damage(const char *what, const struct attr *attr, struct op op)
{
	struct op first = { .type = OP_GETATTR, .ino = FAR };
	unsigned before;

	world_setup();
	op.ino = FAR;
	if (attr != NULL) {
		world_submit(&first);
		world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, attr));
		world_replied(&first);
	}
	w.reply_count = 0;
	ok(!world_submit(&op), "%s is asked for", what);
	before = w.sent[MSG_read];
	answer_damaged();
	ok(w.reply_count == 1 && op.error == -EIO && w.sent[MSG_read] == before,
	    "damaged on the server's disk, it is an error, and is neither thought to be empty nor asked for again: %d", op.error);
	if (w.reply_count == 0)
		engine_detached(w.engine), engine_interrupt(w.engine, &op), world_collect();
	world_replied(&op);
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

/* ---- answers that do not fit ---- */

/* All wants of the last READ are granted, with the same records. */
static void
answer_all(struct msg_record *records, uint32_t count, bool more)
{
	struct msg_answer answers[WANTS_MAX];

	for (uint32_t i = 0; i < w.read.wants.count; i++)
		answers[i] = (struct msg_answer){ .oid = w.wants[i].oid, .mode = MODE_SHARED, .grant = 9, .version = 1, .more = more,
		    .records = { records, count } };
	world_grant(w.last_read, 0, answers, w.read.wants.count);
}

/* FAR is known, and nothing that is in it. */
static void
begin(const struct attr *attr)
{
	struct op op = { .type = OP_GETATTR, .ino = FAR };

	world_setup();
	world_submit(&op);
	world_grant_one(1, world_object(FAR, MODE_SHARED, 7, 1, attr));
	world_replied(&op);
	w.reply_count = 0;
}

static void
end(void)
{
	ok(world_sane(), "the invariants hold");
	world_teardown();
}

static struct msg_record
entry(uint8_t *token, size_t len, const char *name, uint64_t child)
{
	static uint8_t values[4][100];
	static uint64_t oids[4];
	static unsigned next;
	unsigned i = next++ % 4;

	oids[i] = child;
	return (struct msg_record){ .kind = KIND_ENTRY, .subkey = { token, len }, .orefs = { &oids[i], 1 },
	    .value = { values[i], (size_t)entry_encode(world_text(name), DT_REG, values[i], sizeof values[i]) } };
}

/* There is more, it says, and tells nothing of it. */
static void
test_more_of_nothing(void)
{
	struct op op = { .type = OP_LOOKUP, .ino = FAR, .name = world_text("x") };

	begin(&world_directory);
	ok(!world_submit(&op), "a name is looked up");
	answer_all(NULL, 0, true);
	ok(w.reply_count == 0, "an answer without records that goes on does not say that there is none");
	answer_all(NULL, 0, false);
	ok(w.reply_count == 1 && op.error == -ENOENT, "one that does not, does");
	world_replied(&op);
	end();
}

/* The last record of a part of a listing has a key of no entry. */
static void
test_short_key(void)
{
	uint8_t token[TOKEN_SIZE] = { 0x80 };
	struct op op = { .type = OP_READDIR, .ino = FAR, .size = 4096 };
	struct msg_record name = entry(token, 8, "a", 77);

	begin(&world_directory);
	ok(!world_submit(&op), "a directory is listed");
	answer_all(&name, 1, true);
	ok(w.reply_count == 0 && w.wants[0].from.data[0] == 0, "a part that ends with no entry's key is asked for again");
	answer_all(NULL, 0, false);
	ok(w.reply_count == 1 && op.error == 0, "until it comes");
	world_replied(&op);
	end();
}

/* Behind the highest key there is nothing, whatever an answer says. */
static void
test_highest_key(void)
{
	uint8_t token[TOKEN_SIZE];
	struct op op = { .type = OP_READDIR, .ino = FAR, .size = 4096 }, rest = { .type = OP_LOOKUP, .ino = FAR, .name = world_text("x") };
	struct msg_record name = entry(token, sizeof token, "last", 77);

	memset(token, 0xff, sizeof token);
	begin(&world_directory);
	world_submit(&op);
	answer_all(&name, 1, true);
	ok(w.reply_count == 1 && op.entries_count == 3, "a list ends with the highest key there is");
	world_replied(&op);
	ok(world_submit(&rest) && rest.error == -ENOENT, "so that all other names are known not to be there");
	world_replied(&rest);
	end();
}

/* The records before the entries may be told in parts. */
static void
test_more_attributes(void)
{
	static const struct attr small = { .mode = S_IFREG | 0644, .nlink = 1, .size = 5, .flags = ATTR_INLINE };
	struct op op = { .type = OP_GETATTR, .ino = FAR }, read = { .type = OP_READ, .ino = FAR, .size = 10 };
	uint8_t value[100];
	struct msg_record record = { .kind = KIND_INLINE, .value = { value, (size_t)inline_encode(world_text("hello"), value, sizeof value) } };
	struct msg_answer answer = world_object(FAR, MODE_SHARED, 7, 1, &small);

	world_setup();
	world_submit(&op);
	answer.more = 1;
	world_grant_one(0, answer);
	ok(op.error == 0 && op.attr.size == 5, "attributes have come, and more is to come");
	world_replied(&op);
	ok(!world_submit(&read), "who needs that asks for it");
	answer_all(&record, 1, false);
	ok(read.error == 0 && read.pieces_count == 1 && read.pieces[0].len == 5, "and gets it");
	world_replied(&read);
	end();
}

/* What comes along unasked. */
static void
test_gifts(void)
{
	uint8_t token[TOKEN_SIZE] = { 0x80 };
	struct op op = { .type = OP_GETATTR, .ino = FAR }, list = { .type = OP_READDIR, .ino = FAR + 1, .size = 4096 };
	struct msg_answer answers[4];
	struct msg_record records[2];

	world_setup();
	world_submit(&op);
	answers[0] = world_object(FAR, MODE_SHARED, 7, 1, &world_directory);
	answers[1] = world_object(FAR + 1, MODE_SHARED, 8, 1, &world_directory);
	records[0] = answers[1].records.at[0];
	records[1] = entry(token, 8, "short", 77);
	answers[1].records.at = records;
	answers[1].records.count = 2;
	answers[1].more = 1;
	/* The same one again: more of it, it says, and no lease. */
	answers[2] = (struct msg_answer){ .oid = FAR + 1, .mode = MODE_SHARED, .grant = 8, .version = 1, .more = 1 };
	answers[3] = (struct msg_answer){ .oid = FAR + 1, .version = 1, .more = 1 };
	world_grant(w.last_read, 1, answers, 4);
	ok(op.error == 0 && w.reply_count > 0, "a directory came along, with a key of no entry, and the promise of more");
	world_replied(&op);
	w.reply_count = 0;
	ok(!world_submit(&list) && world_wanted(FAR + 1, MODE_SHARED), "who lists it has to ask");
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		ok(w.wants[i].kind == KIND_ENTRY, "for the entries alone");
	answer_all(NULL, 0, false);
	ok(w.reply_count == 1 && list.error == 0, "and is told");
	world_replied(&list);
	end();
}

/* A file in its first hour is known here alone. */
static void
test_born(void)
{
	static const struct attr other = { .mode = S_IFREG | 0600, .nlink = 3, .size = 999 };
	struct msg_answer answers[2] = { { .status = STATUS_NOENT } };
	struct op op = { .type = OP_GETATTR };
	uint64_t h;

	world_setup();
	op.ino = answers[0].oid = world_create("a", &h);
	answers[1] = world_object(op.ino, MODE_EXCLUSIVE, 99, 50, &other);
	world_grant(1000000, 0, answers, 2);
	ok(world_submit(&op) && op.error == 0 && op.attr.size == 0 && op.attr.nlink == 1,
	    "of a file that no commit has made nobody is believed anything");
	world_replied(&op);
	ok(world_run(OP_FSYNC, op.ino, h) == 0, "and it is saved");
	end();
}

/* More regions than one READ may ask for. */
static void
test_many_regions(void)
{
	static const struct attr large = { .mode = S_IFREG | 0644, .nlink = 1, .size = UINT64_C(300) * REGION_SIZE };
	struct op op = { .type = OP_READ, .ino = FAR, .size = UINT64_C(300) * REGION_SIZE };

	begin(&large);
	ok(world_submit(&op) && op.error == -ELOOP, "who reads more than can be asked for at once is refused");
	world_replied(&op);
	end();
}

int
main(void)
{
	static const struct attr file = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100000,
	    .flags = ATTR_HAS_XATTRS };

	world_begin();
	test_damage("an object", NULL, (struct op){ .type = OP_GETATTR });
	test_damage("an entry", &world_directory, (struct op){ .type = OP_LOOKUP, .name = world_text("x") });
	test_damage("a list", &world_directory, (struct op){ .type = OP_READDIR, .size = 4096 });
	test_damage("a region", &file, (struct op){ .type = OP_READ, .size = 100 });
	test_damage("an extended attribute", &file, (struct op){ .type = OP_GETXATTR, .name = world_text("user.a"), .size = 100 });
	test_more_of_nothing();
	test_short_key();
	test_highest_key();
	test_more_attributes();
	test_gifts();
	test_born();
	test_many_regions();
	volume_keys_free(w.keys);
	return tap_done();
}
