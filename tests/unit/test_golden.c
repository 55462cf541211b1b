/*
 * test_golden.c - every format on the wire and on disk is byte for byte what
 * it was: tests/golden/ keeps what an earlier build wrote.
 *
 * What this build encodes must equal the file, and what the file holds must
 * decode.  A difference is a change of format: it needs a format byte or a
 * protocol version of its own, not a new file.  `test_golden --write` writes
 * the files anew, after a format was added.
 *
 * A compressed block is only opened: another zstd compresses otherwise.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/frame.h"
#include "proto/invite.h"
#include "proto/message.h"
#include "proto/noise_internal.h"
#include "proto/preamble.h"
#include "proto/seal_internal.h"
#include "proto/value.h"
#include "proto/wrap_internal.h"
#include "tests/tap.h"
#include "tests/unit/hex.h"

#define TEXT(s) ((struct bytes){ (const uint8_t *)(s), strlen(s) })

/* ---- the files ---- */

enum { ENTRIES_MAX = 128, LINE_BYTES = 32, WIRE_MAX = 64 * 1024 };

static struct entry {
	const char	*file;
	char		 name[48];
	uint8_t		*data;
	size_t		 len;
	bool		 used;
} entries[ENTRIES_MAX];
static size_t entries_count;

static const char *const files[] = { "messages", "values", "seals", "transport", "texts" };
enum { FILES = sizeof files / sizeof *files };
static bool writing;

static void
path_of(const char *file, char path[PATH_MAX])
{
	const char *top = getenv("top_srcdir");

	snprintf(path, PATH_MAX, "%s/tests/golden/%s.hex", top == NULL ? "." : top, file);
}

static struct entry *
entry_add(const char *file, const char *name)
{
	struct entry *e = &entries[entries_count];

	if (entries_count == ENTRIES_MAX)
		abort();
	entries_count++;
	e->file = file;
	snprintf(e->name, sizeof e->name, "%.47s", name);
	return e;
}

/* "name:" alone on a line, then indented hex; '#' begins a comment. */
static void
load(const char *file)
{
	char path[PATH_MAX], line[256];
	struct entry *e = NULL;
	FILE *f;

	path_of(file, path);
	if ((f = fopen(path, "r")) == NULL) {
		ok(false, "%s.hex is there", file);
		return;
	}
	while (fgets(line, sizeof line, f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		if (!isspace((unsigned char)line[0])) {
			line[strcspn(line, ":")] = '\0';
			e = entry_add(file, line);
			e->data = malloc(WIRE_MAX);
		} else if (e != NULL)
			e->len += unhex(line + 1, e->data + e->len, WIRE_MAX - e->len).len;
	}
	fclose(f);
}

static void
save(const char *file)
{
	char path[PATH_MAX], hex[2 * LINE_BYTES + 1];
	FILE *f;

	path_of(file, path);
	if ((f = fopen(path, "w")) == NULL)
		abort();
	fprintf(f, "# Made by tests/unit/test_golden --write; see there before changing anything.\n");
	for (struct entry *e = entries; e < entries + entries_count; e++) {
		if (strcmp(e->file, file) != 0)
			continue;
		fprintf(f, "%s:\n", e->name);
		for (size_t at = 0; at < e->len; at += LINE_BYTES)
			fprintf(f, "\t%s\n", sodium_bin2hex(hex, sizeof hex, e->data + at,
			    e->len - at < LINE_BYTES ? e->len - at : LINE_BYTES));
	}
	fclose(f);
}

static struct entry *
find(const char *file, const char *name)
{
	for (struct entry *e = entries; e < entries + entries_count; e++)
		if (strcmp(e->file, file) == 0 && strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

/* What the file holds under this name, to be decoded; when writing, what was made. */
static struct bytes
golden(const char *file, const char *name, struct bytes made)
{
	struct entry *e;

	if (writing) {
		e = entry_add(file, name);
		e->data = malloc(made.len + 1);
		if (made.len > 0)
			memcpy(e->data, made.data, made.len);
		e->len = made.len;
	} else if ((e = find(file, name)) == NULL) {
		ok(false, "%s: %s is in the file", file, name);
		return made;
	}
	e->used = true;
	return (struct bytes){ e->data, e->len };
}

static bool
equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* As golden(), and what was made must be the same. */
static struct bytes
same(const char *file, const char *name, struct bytes made)
{
	struct bytes b = golden(file, name, made);

	ok(made.len > 0 && equal(b, made), "%s: %s is written as ever", file, name);
	return b;
}

/* ---- messages: a sample of each, filled by the same lists they are made of ---- */

static uint8_t counter;
static struct arena sample_arena;

static uint64_t
next(size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v = v << 8 | counter++;
	return v;
}

static void *
some(size_t len)
{
	uint8_t *p = arena_alloc(&sample_arena, len);

	for (size_t i = 0; i < len; i++)
		p[i] = next(1);
	return p;
}

static size_t
shorter(size_t max)
{
	return max < 5 ? max : 5;
}

#define FILL_U8(name, ...)	s->name = next(1);
#define FILL_U16(name, ...)	s->name = next(2);
#define FILL_U32(name, ...)	s->name = next(4);
#define FILL_U64(name, ...)	s->name = next(8);
#define FILL_FIXED(name, max)	memcpy(s->name, some(max), max);
#define FILL_BYTES(name, max)	s->name = (struct bytes){ some(shorter(max)), shorter(max) };
#define FILL_IDS(name, max)	s->name.at = some(2 * ID_SIZE); s->name.count = 2;
#define FILL_NUMS(name, max) \
	s->name.at = some(2 * sizeof *s->name.at); s->name.count = 2; \
	for (int i = 0; i < 2; i++) s->name.at[i] = next(8);
#define FILL_LIST(name, max, of) \
	s->name.at = arena_alloc(&sample_arena, 2 * sizeof *s->name.at); s->name.count = 2; \
	for (int i = 0; i < 2; i++) fill_##of(&s->name.at[i]);
#define FILL(S, type, name, ...) FILL_##type(name, __VA_ARGS__)
#define FILLER(this) \
	static void fill_##this(struct msg_##this *s) { (void)s; SHAPE_##this(FILL, msg_##this) }
PARTS(FILLER)
#define FILLER_OF_MESSAGE(name, number, from, lane, payload) FILLER(name)
MESSAGES(FILLER_OF_MESSAGE)

static void
fill(struct message *m)
{
	switch (m->type) {
#define CASE(name, number, from, lane, payload) case number: fill_##name(&m->name); break;
	MESSAGES(CASE)
	}
}

static void
test_messages(void)
{
	static uint8_t wire[WIRE_MAX], again[WIRE_MAX];

	for (uint16_t type = 1; type < MSG_COUNT; type++) {
		struct message m = { .type = type }, back;
		struct arena arena = { 0 };
		struct cursor c = cursor_over(wire, sizeof wire), d = cursor_over(again, sizeof again);
		struct bytes b;

		if (message_info(type) == NULL)
			continue;
		counter = type;
		m.id = next(8);
		fill(&m);
		message_encode(&m, &c);
		b = same("messages", message_info(type)->name, (struct bytes){ wire, cursor_ok(&c) ? c.pos : 0 });
		if (message_decode(&back, b, &arena) == 0)
			message_encode(&back, &d);
		ok(cursor_ok(&d) && equal(b, (struct bytes){ again, d.pos }), "%s comes back", message_info(type)->name);
		arena_free(&arena);
		arena_free(&sample_arena);
	}
}

/* ---- values ---- */

static void
test_attr(const char *name, const struct attr *a)
{
	uint8_t made[VALUE_MAX], again[VALUE_MAX];
	struct attr back;
	struct bytes b = same("values", name, (struct bytes){ made, attr_encode(a, made, sizeof made) });
	ssize_t len = attr_decode(&back, b) < 0 ? 0 : attr_encode(&back, again, sizeof again);

	ok(len > 0 && equal(b, (struct bytes){ again, len }), "%s comes back", name);
}

static void
test_values(void)
{
	const struct timespec at = { 0x0102030405, 123456789 }, before = { -2, 1 };
	struct extent extents[] = { { 0, 4096, 8192, 0 }, { 65536, 0xf0000, 0x1000, 47 } }, e_back[EXTENTS_MAX];
	struct meta meta = { 1, 2, 0x0102030405 }, meta_back;
	uint8_t made[VALUE_MAX], type;
	struct bytes b, name, value;
	uint64_t oid;
	size_t count;

	test_attr("attr-file", &(struct attr){ .mode = S_IFREG | 0640, .uid = 1000, .gid = 100, .nlink = 2,
	    .size = 0x0102030405, .flags = ATTR_HAS_XATTRS, .atime = at, .mtime = before, .ctime = at, .btime = before });
	test_attr("attr-device", &(struct attr){ .mode = S_IFCHR | 0600, .nlink = 1, .rdev = 0x0501 });
	test_attr("attr-symlink", &(struct attr){ .mode = S_IFLNK | 0777, .nlink = 1, .symlink = TEXT("../target") });

	b = same("values", "entry", (struct bytes){ made, entry_encode(TEXT("a name"), 8, made, sizeof made) });
	ok(entry_decode(&name, &type, b) == 0 && equal(name, TEXT("a name")) && type == 8, "entry comes back");
	b = same("values", "parent", (struct bytes){ made, parent_encode(0x0102030405060708, made, sizeof made) });
	ok(parent_decode(&oid, b) == 0 && oid == 0x0102030405060708, "parent comes back");
	b = same("values", "region", (struct bytes){ made, region_encode(extents, 2, made, sizeof made) });
	ok(region_decode(e_back, &count, b) == 0 && count == 2 && e_back[1].length == 0xf0000 && e_back[1].ref == 47,
	    "region comes back");
	b = same("values", "xattr",
	    (struct bytes){ made, xattr_encode(TEXT("user.name"), TEXT("value"), made, sizeof made) });
	ok(xattr_decode(&name, &value, b) == 0 && equal(name, TEXT("user.name")) && equal(value, TEXT("value")),
	    "xattr comes back");
	b = same("values", "inline", (struct bytes){ made, inline_encode(TEXT("content"), made, sizeof made) });
	ok(inline_decode(&value, b) == 0 && equal(value, TEXT("content")), "inline comes back");
	b = same("values", "meta", (struct bytes){ made, meta_encode(&meta, made, sizeof made) });
	ok(meta_decode(&meta_back, b) == 0 && memcmp(&meta, &meta_back, sizeof meta) == 0, "meta comes back");
}

/* ---- seals ---- */

static const uint8_t volume[VOLUME_ID_SIZE] = "volume id 16 by", volume_key[KEY_SIZE] = "volume key of thirty-two bytes.";
static const uint8_t nonce[RECORD_NONCE] = "nonce of twenty-four by", salt[SALT_SIZE] = "salt of thirty-two bytes, fixed";
static const uint8_t secret[SECRET_SIZE] = "a secret of thirty-two bytes...";

static void
test_block(const struct volume_keys *keys, const char *name, const uint8_t *plain, size_t len, int level)
{
	uint8_t *made = malloc(len + SEALED_OVERHEAD), id[ID_SIZE], cell[CELL_SIZE];
	ssize_t sealed = block_seal_with(keys, plain, len, level, salt, id, made);
	struct bytes b = { made, sealed };
	struct block_header h;
	size_t offset, size, done = 0;
	bool whole = true;

	b = level == 0 ? same("seals", name, b) : golden("seals", name, b);
	whole &= block_header_decode(&h, b) == 0 && h.length == len;
	for (unsigned i = 0; whole && i < h.cells; i++) {
		ssize_t n = -1;

		if (block_cells(&h, i, 1, &offset, &size) == 0 && offset + size <= b.len)
			n = cell_open(keys, id, &h, i, (struct bytes){ b.data + offset, size }, cell);
		whole &= n > 0 && memcmp(cell, plain + done, n) == 0;
		done += n > 0 ? n : 0;
	}
	ok(whole && done == len, "%s opens", name);
	free(made);
}

static void
test_seals(void)
{
	static uint8_t plain[CELL_SIZE + 1000];
	struct volume_keys *keys = volume_keys_new(volume_key, volume);
	uint64_t orefs[] = { 7, 0x0102030405060708 };
	uint8_t brefs[1][ID_SIZE] = { "block id of thirty-two bytes..." }, made[VALUE_MAX], back[VALUE_MAX], key[KEY_SIZE];
	struct record_context context = { .oid = 6, .kind = KIND_ENTRY, .subkey = TEXT("subkey"),
	    .orefs = orefs, .orefs_count = 2, .brefs = (const void *)brefs, .brefs_count = 1 };
	struct bytes b;

	name_token(keys, 6, TEXT("name"), made);
	same("seals", "name-token", (struct bytes){ made, TOKEN_SIZE });
	b = same("seals", "record", (struct bytes){ made,
	    record_seal_with(keys, &context, 5, nonce, TEXT("plaintext"), made, sizeof made) });
	ok(record_open(keys, &context, b, back, sizeof back) == 9 && memcmp(back, "plaintext", 9) == 0, "record opens");
	for (size_t i = 0; i < sizeof plain; i++)
		plain[i] = i / 300 * 7;
	block_id(keys, plain, sizeof plain, made);
	same("seals", "block-id", (struct bytes){ made, ID_SIZE });
	test_block(keys, "block-raw", plain, 700, 0);
	test_block(keys, "block-compressed", plain, sizeof plain, 1);

	wrap_key_of_device(secret, key);
	same("seals", "device-wrap-key", (struct bytes){ key, KEY_SIZE });
	wrap_key_of_recovery(secret, key);
	same("seals", "recovery-wrap-key", (struct bytes){ key, KEY_SIZE });
	wrap_recovery_device(secret, key);
	same("seals", "recovery-device", (struct bytes){ key, KEY_SIZE });
	wrap_token(secret, key);
	same("seals", "token", (struct bytes){ key, KEY_SIZE });
	wrap_token_hash(key, made);
	same("seals", "token-hash", (struct bytes){ made, KEY_SIZE });
	wrap_key_of_invitation(secret, key);
	same("seals", "invitation-wrap-key", (struct bytes){ key, KEY_SIZE });
	wrap_seal_with(key, volume, volume_key, nonce, made);
	b = same("seals", "wrap", (struct bytes){ made, WRAP_SIZE });
	ok(wrap_open(key, volume, b, back) == 0 && memcmp(back, volume_key, KEY_SIZE) == 0, "wrap opens");
	volume_keys_free(keys);
}

/* ---- transport ---- */

static void
test_frame(const char *name, const uint8_t key[KEY_SIZE], uint64_t at, struct bytes body, struct bytes payload)
{
	uint8_t made[256], copy[256];
	struct frame_keys keys;
	struct bytes b, got;
	size_t sealed, payload_len;

	frame_keys_init(&keys, key);
	keys.counter = at;
	b = same("transport", name, (struct bytes){ made, frame_seal(&keys, body, payload, made) });
	frame_keys_init(&keys, key);
	keys.counter = at;
	memcpy(copy, b.data, b.len);
	ok(frame_header_decode(copy, &sealed, &payload_len) == 0 && sealed + FRAME_HEADER == b.len &&
	    frame_open(&keys, copy, copy + FRAME_HEADER, sealed, payload, &got) == 0 && equal(got, body), "%s opens", name);
}

static void
test_transport(void)
{
	const uint8_t client[KEY_SIZE] = { 1 }, server[KEY_SIZE] = { 2 }, client_e[KEY_SIZE] = { 3 }, server_e[KEY_SIZE] = { 4 };
	const struct preamble p = { PROTOCOL_LOWEST, PROTOCOL_HIGHEST, PREAMBLE_SEALED };
	uint8_t prologue[PREAMBLE_SIZE], made[256], public[KEY_SIZE], payload[4], hash[NOISE_HASH];
	struct frame_keys send, receive;
	struct preamble p_back;
	struct noise *i, *r;
	struct bytes b;

	preamble_encode(&p, prologue);
	b = same("transport", "preamble", (struct bytes){ prologue, sizeof prologue });
	ok(preamble_decode(&p_back, b.data) == 0 && p_back.highest == p.highest, "preamble comes back");
	noise_public(server, public);
	i = noise_initiator_new(client, public, b);
	r = noise_responder_new(server, b);
	noise_set_ephemeral(i, client_e);
	noise_set_ephemeral(r, server_e);
	b = same("transport", "message-1", (struct bytes){ made, noise_write(i, TEXT(""), made, sizeof made) });
	ok(noise_read(r, b, payload, sizeof payload) == 0, "message 1 is understood");
	b = same("transport", "message-2",
	    (struct bytes){ made, noise_write(r, (struct bytes){ (const uint8_t *)"\0\1", 2 }, made, sizeof made) });
	ok(noise_read(i, b, payload, sizeof payload) == 2 && payload[1] == 1, "message 2 is understood");
	noise_split(i, &send, &receive, hash);
	same("transport", "handshake-hash", (struct bytes){ hash, NOISE_HASH });
	noise_proof(secret, hash, made);
	same("transport", "session-proof", (struct bytes){ made, PROOF_SIZE });
	test_frame("frame", send.key, 0, TEXT("a message"), TEXT(""));
	test_frame("frame-with-payload", receive.key, 1, TEXT("a message"), TEXT("a sealed block"));
	test_frame("frame-after-rekey", send.key, FRAME_REKEY, TEXT("a message"), TEXT(""));
	noise_free(i);
	noise_free(r);
}

static void
test_texts(void)
{
	struct invitation i = { .kind = INVITE_VOLUME, .address = "host.example:7400" }, i_back;
	struct recovery_code r = { .address = "host.example:7400" }, r_back;
	char text[INVITE_RECOVERY_TEXT];
	struct bytes b;

	memcpy(i.secret, secret, SECRET_SIZE);
	memcpy(r.secret, secret, RECOVERY_SECRET);
	memcpy(i.server, salt, KEY_SIZE);
	memcpy(r.server, salt, KEY_SIZE);
	invite_print(&i, text);
	b = same("texts", "invitation", TEXT(text));
	snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.data);
	ok(invite_parse(&i_back, text) == 0 && memcmp(i_back.secret, secret, SECRET_SIZE) == 0 &&
	    strcmp(i_back.address, i.address) == 0, "invitation comes back");
	invite_print_recovery(&r, text);
	b = same("texts", "recovery-code", TEXT(text));
	snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.data);
	ok(invite_parse_recovery(&r_back, text) == 0 && memcmp(&r_back, &r, sizeof r) == 0, "recovery code comes back");
}

int
main(int argc, char **argv)
{
	writing = argc > 1 && strcmp(argv[1], "--write") == 0;
	if (sodium_init() < 0)
		return 1;
	for (size_t f = 0; !writing && f < FILES; f++)
		load(files[f]);
	test_messages();
	test_values();
	test_seals();
	test_transport();
	test_texts();
	for (size_t f = 0; writing && f < FILES; f++)
		save(files[f]);
	for (struct entry *e = entries; e < entries + entries_count; e++) {
		if (!e->used)
			ok(false, "%s: %s is still a format", e->file, e->name);
		free(e->data);
	}
	return tap_done();
}
