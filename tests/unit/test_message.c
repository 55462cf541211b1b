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

/* A READ of so many wants, with a subkey of so many bytes in the first; `there` of them are in the body. */
static size_t
hostile_read(uint8_t *to, size_t size, uint32_t wants, uint32_t there, uint16_t subkey)
{
	struct cursor c = cursor_over(to, size);

	cursor_put_u16(&c, MSG_read);
	cursor_put_u64(&c, 1);		/* id */
	cursor_put_u64(&c, 0);		/* ticket */
	cursor_put_u8(&c, 0);		/* depth */
	cursor_put_u16(&c, 0);		/* kinds */
	cursor_put_u32(&c, 0);		/* budget */
	cursor_put_u32(&c, 0);		/* size */
	cursor_put_u32(&c, wants);
	for (uint32_t i = 0; i < there; i++) {
		cursor_put_u64(&c, 2);	/* oid */
		cursor_put_u8(&c, MODE_SHARED);
		cursor_put_u8(&c, 0);	/* kind */
		cursor_put_u16(&c, i == 0 ? subkey : 0);
		for (uint16_t k = 0; i == 0 && k < subkey; k++)
			cursor_put_u8(&c, k);
		cursor_put_u8(&c, 0);	/* last kind */
		cursor_put_u16(&c, 0);
		cursor_put_u32(&c, 0);	/* limit */
	}
	return cursor_ok(&c) ? c.pos : 0;
}

static void
test_ceilings(void)
{
	static uint8_t wire[64 * (WANTS_MAX + 2)];
	struct arena arena = { 0 };
	struct message back;
	size_t size = hostile_read(wire, sizeof wire, 2, 2, SUBKEY_MAX);

	ok(message_decode(&back, (struct bytes){ wire, size }, &arena) == 0, "a list within its ceiling is taken");
	arena_free(&arena);
	size = hostile_read(wire, sizeof wire, WANTS_MAX + 1, WANTS_MAX + 1, 0);
	ok(size > 0 && message_decode(&back, (struct bytes){ wire, size }, &arena) == -EBADMSG, "a longer one is refused");
	arena_free(&arena);
	size = hostile_read(wire, sizeof wire, 1, 1, SUBKEY_MAX + 1);
	ok(message_decode(&back, (struct bytes){ wire, size }, &arena) == -EBADMSG, "so is a field over its own");
	arena_free(&arena);
	size = hostile_read(wire, sizeof wire, WANTS_MAX, 1, 0);
	ok(message_decode(&back, (struct bytes){ wire, size }, &arena) == -EBADMSG && arena.used == 0,
	    "and a list that the body has no room for, before memory is spent on it");
	arena_free(&arena);
}

static const char *
printed(const struct message *m)
{
	static char text[4000];
	FILE *f = fmemopen(text, sizeof text, "w");

	message_print(m, f);
	fclose(f);
	return text;
}

static void
test_secrets(void)
{
	struct message m = { .type = MSG_attached }, redeem = { .type = MSG_redeem };
	const char *text;

	memset(m.attached.secret, 0xab, SECRET_SIZE);
	text = printed(&m);
	ok(strstr(text, "secret=") != NULL && strstr(text, "abab") == NULL, "a secret is not printed");
	memset(redeem.redeem.token, 0xab, SECRET_SIZE);
	text = printed(&redeem);
	ok(strstr(text, "token=") != NULL && strstr(text, "abab") == NULL, "nor is the token of an invitation");
}

static void
test_printed(void)
{
	uint64_t oids[] = { 11, 12, 13, 14, 15 };
	uint8_t ids[2][ID_SIZE] = { { 0xa1 }, { 0xb2 } };
	struct msg_base bases[] = { { .oid = 7, .version = 9 } };
	struct msg_change change = { .op = CHANGE_PUT, .oid = 7, .subkey = { ids[0], 3 }, .orefs = { oids, 5 },
	    .brefs = { (const uint8_t (*)[ID_SIZE])ids, 2 }, .value = { ids[1], 20 } };
	struct message m = { .type = MSG_commit, .id = 5, .commit = { .sequence = 3, .bases = { bases, 1 }, .changes = { &change, 1 } } };
	struct message put = { .type = MSG_put, .payload = { ids[0], 4 } }, done = { .type = MSG_done, .done.status = STATUS_IO };
	struct message unknown = { .type = MSG_COUNT + 3, .id = 6 };
	const char *text = printed(&m);

	ok(strncmp(text, "commit id=5 sequence=3 ", 23) == 0 && strstr(text, "bases=1[ { oid=7 version=9 } ]") != NULL,
	    "a message is printed with its lists");
	ok(strstr(text, "orefs=5[ 11 12 13 14 ...]") != NULL, "of which not all is shown");
	ok(strstr(text, "subkey=a10000 ") != NULL && strstr(text, "value=b200000000000000..(20)") != NULL, "nor of long bytes");
	ok(strstr(text, "brefs=2[a100000000000000..(32)b200000000000000..(32) ]") != NULL, "ids by their first bytes");
	ok(strstr(printed(&put), " payload=4") != NULL, "a payload by its size");
	ok(strstr(printed(&done), "done id=0 status=") != NULL, "a status by its number");
	ok(strcmp(printed(&unknown), "unknown id=6") == 0, "one that is unknown as such");
}

int
main(void)
{
	test_commit();
	test_empty();
	test_ceilings();
	test_secrets();
	test_printed();
	return tap_done();
}
