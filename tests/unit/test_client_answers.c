/*
 * test_client_answers.c - answers to READs that are not what was asked for:
 * damage on the server's disk, records that do not fit, what is known better.
 */
#include "tests/unit/client_world.h"

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
	volume_keys_free(w.keys);
	return tap_done();
}
