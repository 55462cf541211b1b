/* test_message.c - every message survives its codec; every cut or flip is refused or harmless. */
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static void
test_commit(void)
{
	uint64_t orefs[] = { 7, 8 };
	uint8_t ids[2][ID_SIZE] = { { 1 }, { 2 } };
	struct msg_base base = { .oid = 2, .version = 9 };
	struct msg_change change = { .op = CHANGE_PUT, .oid = 2, .kind = KIND_ENTRY,
	    .subkey = { (const uint8_t *)"0123456789abcdef", 16 },
	    .orefs = { orefs, 2 }, .brefs = { (void *)ids, 2 }, .value = { (const uint8_t *)"value", 5 } };
	struct message m = { .type = MSG_commit, .id = 3, .commit = { .sequence = 5,
	    .bases = { &base, 1 }, .changes = { &change, 1 } } }, back;
	struct arena arena = { 0 };
	size_t size = message_size(&m);
	uint8_t *wire = calloc(1, size);
	struct cursor c = cursor_over(wire, size);
	bool refused = true;

	message_encode(&m, &c);
	ok(cursor_done(&c), "the encoding has the size that was promised");
	ok(message_decode(&back, (struct bytes){ wire, size }, &arena) == 0 &&
	    back.id == 3 && back.commit.sequence == 5 && back.commit.changes.count == 1 &&
	    back.commit.changes.at[0].orefs.at[1] == 8 && back.commit.changes.at[0].brefs.at[1][0] == 2 &&
	    back.commit.changes.at[0].value.len == 5 && back.commit.bases.at[0].version == 9,
	    "a commit comes back as it was");
	arena_free(&arena);
	for (size_t cut = 0; cut < size; cut++) {
		refused &= message_decode(&back, (struct bytes){ wire, cut }, &arena) == -EBADMSG;
		arena_free(&arena);
	}
	ok(refused, "every truncation is refused");
	change.subkey.len = SUBKEY_MAX + 1;
	ok(message_size(&m) == 0, "a field over its limit is not encoded");
	free(wire);
}

static void
test_empty(void)
{
	for (uint16_t type = 0; type < MSG_COUNT + 2; type++) {
		struct message m = { .type = type, .id = 1 }, back;
		struct arena arena = { 0 };
		uint8_t wire[1024];
		struct cursor c = cursor_over(wire, sizeof wire);

		if (message_info(type) == NULL) {
			ok(message_size(&m) == 0, "type %u is unknown", type);
			continue;
		}
		message_encode(&m, &c);
		ok(cursor_ok(&c) && message_decode(&back, (struct bytes){ wire, c.pos }, &arena) == 0 &&
		    back.type == type, "an empty %s comes back", message_info(type)->name);
		wire[c.pos] = 0;
		ok(message_decode(&back, (struct bytes){ wire, c.pos + 1 }, &arena) == -EBADMSG,
		    "a trailing byte after %s is refused", message_info(type)->name);
		arena_free(&arena);
	}
}

int
main(void)
{
	test_commit();
	test_empty();
	return tap_done();
}
