/* call.c - see call.h. */
#include "tests/sim/call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/rng.h"

/* Most names are short; the last few are as long as names get. */
static char names[NAMES][NAME_MAX_BYTES + 1];

/* Patterns that are not computed: tag KEPT and higher. */
#define KEPT UINT32_C(0x80000000)
static struct bytes *kept;
static size_t kept_count, kept_size;

static void
names_make(void)
{
	if (names[0][0] != 0)
		return;
	for (unsigned i = 0; i < NAMES_MADE; i++) {
		unsigned len = i < NAMES_MADE - 3 ? 2 + i % 5 : NAME_MAX_BYTES - (NAMES_MADE - 1 - i);

		memset(names[i], 'a' + (int)(i % 26), len);
		names[i][1] = (char)('0' + i / 26);
		names[i][len] = 0;
	}
}

const char *
name_text(unsigned i)
{
	names_make();
	return i < NAMES ? names[i] : "-";
}

void
names_forget(void)
{
	memset(names[NAMES_MADE], 0, (NAMES - NAMES_MADE) * sizeof names[0]);
	while (kept_count > 0)
		free((void *)(uintptr_t)kept[--kept_count].data);
}

uint8_t
name_number(struct bytes name)
{
	names_make();
	for (unsigned i = 0; i < NAMES; i++)
		if (strlen(names[i]) == name.len && memcmp(names[i], name.data, name.len) == 0)
			return (uint8_t)i;
	if (memmem(name.data, name.len, " (conflict ", 11) == NULL)
		return NAME_NONE;
	for (unsigned i = NAMES_MADE; i < NAMES; i++)
		if (names[i][0] == 0) {
			memcpy(names[i], name.data, name.len);
			return (uint8_t)i;
		}
	return NAME_NONE;
}

static const char *const xattrs[XATTRS] = { "user.a", "user.bb", "user.ccc", "user.dddd" };

const char *
xattr_text(unsigned i)
{
	return i < XATTRS ? xattrs[i] : "-";
}

uint8_t
xattr_number(struct bytes name)
{
	for (unsigned i = 0; i < XATTRS; i++)
		if (strlen(xattrs[i]) == name.len && memcmp(xattrs[i], name.data, name.len) == 0)
			return (uint8_t)i;
	return NAME_NONE;
}

const char *
op_text(enum op_type type)
{
	static const char *const text[OP_COUNT] = {
		"lookup", "getattr", "setattr", "readlink", "mknod", "mkdir", "symlink", "create", "link",
		"unlink", "rmdir", "rename", "open", "read", "write", "flush", "fsync", "release",
		"opendir", "readdir", "fsyncdir", "releasedir", "statfs", "getxattr", "setxattr",
		"listxattr", "removexattr", "fallocate", "lseek", "sync",
	};

	return (unsigned)type < OP_COUNT ? text[type] : "?";
}

/* Eight bytes of a pattern at once; the constant makes neighbouring words and tags unlike. */
static uint64_t
pattern_word(uint32_t tag, uint64_t index)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ ((uint64_t)tag << 32 | tag);

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return x ^ x >> 32;
}

uint32_t
pattern_keep(struct bytes data)
{
	uint8_t *copy = malloc(data.len + 1);

	if (kept_count == kept_size) {
		kept_size = kept_size * 2 + 64;
		kept = realloc(kept, kept_size * sizeof *kept);
	}
	if (copy == NULL || kept == NULL)
		abort();
	if (data.len > 0)
		memcpy(copy, data.data, data.len);
	kept[kept_count] = (struct bytes){ copy, data.len };
	return KEPT + (uint32_t)kept_count++;
}

void
pattern_fill(uint32_t tag, uint64_t from, uint8_t *to, size_t len)
{
	if (tag >= KEPT) {
		const struct bytes *b = &kept[tag - KEPT];

		memset(to, 0, len);
		if (from < b->len)
			memcpy(to, b->data + from, len < b->len - from ? len : b->len - from);
		return;
	}
	while (len > 0) {
		uint64_t word = pattern_word(tag, from / 8);
		size_t skip = from % 8, n = 8 - skip < len ? 8 - skip : len;

		memcpy(to, (uint8_t *)&word + skip, n);
		to += n;
		from += n;
		len -= n;
	}
}

size_t
pattern_compare(uint32_t tag, uint64_t from, const uint8_t *data, size_t len)
{
	size_t at = 0;

	if (tag >= KEPT) {
		const struct bytes *b = &kept[tag - KEPT];

		while (at < len && from + at < b->len && b->data[from + at] == data[at])
			at++;
		return at;
	}
	while (at < len) {
		uint64_t word = pattern_word(tag, (from + at) / 8);
		size_t skip = (from + at) % 8, n = 8 - skip < len - at ? 8 - skip : len - at;

		if (memcmp(data + at, (uint8_t *)&word + skip, n) != 0) {
			for (size_t i = 0; i < n; i++)
				if (data[at + i] != ((uint8_t *)&word)[skip + i])
					return at + i;
		}
		at += n;
	}
	return len;
}

void
call_text(const struct call *c, char *to, size_t size)
{
	int n = snprintf(to, size, "#%" PRIu64 " c%u.p%u %s ino=%" PRIu64, c->number, c->client, c->proc,
	    op_text(c->type), c->ino);
#define ADD(...) do { if (n >= 0 && (size_t)n < size) n += snprintf(to + n, size - (size_t)n, __VA_ARGS__); } while (0)

	if (c->name != NAME_NONE)
		ADD(" %.8s", c->type == OP_SETXATTR || c->type == OP_GETXATTR || c->type == OP_REMOVEXATTR ?
		    xattr_text(c->name) : name_text(c->name));
	if (c->ino2 != 0)
		ADD(" ino2=%" PRIu64, c->ino2);
	if (c->name2 != NAME_NONE)
		ADD(" -> %.8s", name_text(c->name2));
	if (c->flags != 0)
		ADD(" flags=%#x", c->flags);
	if (c->type == OP_SETATTR)
		ADD(" set=%#x mode=%o size=%" PRIu64, c->set, c->attr.mode, c->attr.size);
	if (c->type == OP_READ || c->type == OP_WRITE || c->type == OP_READDIR || c->type == OP_FALLOCATE ||
	    c->type == OP_LSEEK)
		ADD(" at=%" PRIu64 "+%zu", c->offset, c->size);
	if (c->type == OP_WRITE || c->type == OP_SETXATTR)
		ADD(" tag=%u", c->tag);
	if (c->done == 0) {
		ADD(" %s", c->waiting ? "(waiting)" : c->parked ? "(parked)" : "");
		return;
	}
	ADD(" = %s%s", c->error == 0 ? "ok" : strerrorname_np(-c->error), c->by_kernel ? " (kernel)" : "");
	if (c->child != 0)
		ADD(" child=%" PRIu64, c->child);
	if (c->has_attr)
		ADD(" mode=%o nlink=%u size=%" PRIu64, c->got.mode, c->got.nlink, c->got.size);
	if (c->type == OP_READ)
		ADD(" len=%zu", c->len);
	if (c->type == OP_WRITE || c->type == OP_LSEEK)
		ADD(" written=%" PRIu64, c->written);
	if (c->type == OP_READDIR) {
		ADD(" [");
		for (size_t i = 0; i < c->entries_count; i++)
			ADD(" %.8s", name_text(c->entries[i].name));
		ADD(" ]%s", c->listed_end ? " end" : "");
	}
	if (c->cacheable)
		ADD(" cacheable");
	if (c->voided)
		ADD(" VOID");
#undef ADD
}
