/*
 * kvcheck.c - see kvcheck.h.
 *
 * The format is that of LMDB 0.9 (data version 1), in the byte order of the
 * machine that wrote it; numbers are copied out of the pages, never cast.
 *
 *	page		number u64, pad u16, flags u16, lower u16, upper u16; an overflow page has
 *			its count of pages u32 in place of lower and upper
 *			node offsets u16 each, up to lower; free space; nodes from upper to the end
 *	node		low u16, high u16, flags u16, key length u16, key, data
 *			leaf: low and high are the data's length; flag 1: the data is the number u64 of
 *			an overflow page.  branch: low, high and flags are the child's page number
 *	meta page	page header, magic u32, version u32, address u64, map size u64, two trees
 *			(free pages, main), last page u64, transaction u64
 *	tree		pad u32, flags u16, depth u16, branch, leaf and overflow pages u64,
 *			entries u64, root u64; the page size is the free tree's pad
 *	free record	key: transaction u64; data: count u64, page numbers u64, descending
 */
#include "server/kvcheck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/kv.h"

enum {
	PAGE_HEADER = 16, NODE_HEADER = 8, DEPTH_MAX = 32, PAGE_MIN = 512, PAGE_MAX = 32768,
	PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8,
	NODE_BIG = 1,
	META_SIZE = 136, TREE_SIZE = 48, TREE_INTEGER_KEY = 8, TREE_PERSISTENT = 0x4000,
};
static const uint32_t META_MAGIC = 0xBEEFC0DE;
static const uint64_t NO_PAGE = UINT64_MAX;

struct tree {
	uint32_t	pad;
	uint16_t	flags, depth;
	uint64_t	branches, leaves, overflows, entries, root;
};

struct meta {
	struct tree	trees[2];	/* free pages, main */
	uint64_t	last_page, txn;
};

struct check {
	int			 fd;
	uint32_t		 page_size;
	uint64_t		 pages;		/* page numbers are below this */
	uint64_t		 in_file;	/* pages that the file has */
	uint64_t		*used, *free;	/* bitmaps over page numbers */
	struct meta		 meta;
	bool			 main;		/* which tree is being walked */
	struct tree		 found;		/* counted so far in it */
	uint8_t			*level[DEPTH_MAX];	/* the pages on the path */
	uint8_t			*big;		/* an overflow value */
	size_t			 big_size;
	struct kvcheck_result	 result;
	store_report		*report;
	void			*arg;
};

static uint16_t
get16(const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof v);
	return v;
}

static uint32_t
get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof v);
	return v;
}

static uint64_t
get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof v);
	return v;
}

__attribute__((format(printf, 2, 3))) static void
check_say(struct check *c, const char *format, ...)
{
	char line[512];
	va_list ap;
	int len = snprintf(line, sizeof line, "records: ");

	va_start(ap, format);
	vsnprintf(line + len, sizeof line - (size_t)len, format, ap);
	va_end(ap);
	if (c->report != NULL)
		c->report(c->arg, line);
}

#define check_damage(c, ...) ((c)->result.structure++, check_say((c), __VA_ARGS__))

/* Sets a page's bit; false if it was set. */
static bool
bit_set(uint64_t *map, uint64_t page)
{
	uint64_t mask = UINT64_C(1) << page % 64;
	bool fresh = (map[page / 64] & mask) == 0;

	map[page / 64] |= mask;
	return fresh;
}

static bool
bit_get(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> page % 64 & 1;
}

/* Claims a run of pages for the tree; false, reported, if one is out of bounds or taken. */
static bool
check_claim(struct check *c, uint64_t page, uint64_t count)
{
	if (page < 2 || page >= c->pages || count > c->pages - page) {
		check_damage(c, "page %" PRIu64 " is referenced but out of bounds", page);
		return false;
	}
	for (uint64_t i = 0; i < count; i++) {
		if (!bit_set(c->used, page + i)) {
			check_damage(c, "page %" PRIu64 " is used twice", page + i);
			return false;
		}
	}
	return true;
}

/* Reads `len` bytes from the start of a page; short at the end of the file is damage. */
static int
check_read(struct check *c, uint64_t page, size_t len, uint8_t *to)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(c->fd, to + done, len - done, (off_t)(page * c->page_size + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			check_damage(c, "page %" PRIu64 " is beyond the end of the file", page);
			return -EBADMSG;
		}
		done += (size_t)n;
	}
	return 0;
}

static int
check_order(const struct check *c, struct bytes a, struct bytes b)
{
	int order;

	if (!c->main)
		return get64(a.data) < get64(b.data) ? -1 : get64(a.data) > get64(b.data);
	order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
	return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

static void
check_value(struct check *c, uint64_t page, struct bytes key, struct bytes data)
{
	char hex[2 * KV_KEY_MAX + 1] = "";
	struct cursor at = cursor_read(data.data, data.len);
	uint64_t sum = cursor_get_u64(&at);
	struct bytes value = cursor_get_bytes(&at, cursor_left(&at));

	if (cursor_ok(&at) && sum == kv_sum(key, value))
		return;
	for (size_t i = 0; i < key.len && i < KV_KEY_MAX; i++)
		snprintf(hex + 2 * i, 3, "%02x", key.data[i]);
	c->result.values++;
	check_say(c, "page %" PRIu64 ": the checksum of record %s is wrong", page, hex);
}

/* The list of free pages in a record of the free tree. */
static void
check_free(struct check *c, uint64_t page, struct bytes key, struct bytes data)
{
	uint64_t count = data.len < 8 ? UINT64_MAX : get64(data.data), last = UINT64_MAX;

	if (get64(key.data) > c->meta.txn || count > data.len / 8 - 1) {
		check_damage(c, "page %" PRIu64 ": a list of free pages is damaged", page);
		return;
	}
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t freed = get64(data.data + 8 * i);

		if (freed < 2 || freed >= c->pages || freed >= last || !bit_set(c->free, freed)) {
			check_damage(c, "page %" PRIu64 ": a list of free pages is damaged", page);
			return;
		}
		last = freed;
	}
}

/* Reads the overflow pages that hold a node's data. */
static int
check_big(struct check *c, uint64_t page, size_t len, struct bytes *ret_data)
{
	uint64_t need = (PAGE_HEADER - 1 + len) / c->page_size + 1, count;
	uint8_t head[PAGE_HEADER];
	uint8_t *big;
	int rc;

	if (page < 2 || page >= c->pages) {
		check_damage(c, "page %" PRIu64 " is referenced but out of bounds", page);
		return -EBADMSG;
	}
	rc = check_read(c, page, sizeof head, head);
	if (rc != 0)
		return rc;
	count = get32(head + 12);
	if (get64(head) != page || get16(head + 10) != PAGE_OVERFLOW || count < need) {
		check_damage(c, "page %" PRIu64 " is not the overflow page it should be", page);
		return -EBADMSG;
	}
	if (!check_claim(c, page, count))
		return -EBADMSG;
	c->found.overflows += count;
	if (len + PAGE_HEADER > c->big_size) {
		big = realloc(c->big, len + PAGE_HEADER);
		if (big == NULL)
			return -ENOMEM;
		c->big = big;
		c->big_size = len + PAGE_HEADER;
	}
	rc = check_read(c, page, len + PAGE_HEADER, c->big);
	if (rc == 0)
		*ret_data = (struct bytes){ c->big + PAGE_HEADER, len };
	return rc;
}

/* One record of a leaf; its key and inline data are within the page. */
static int
check_record(struct check *c, uint64_t page, const uint8_t *node, struct bytes key)
{
	size_t len = get16(node) | (size_t)get16(node + 2) << 16;
	struct bytes data = { key.data + key.len, len };
	int rc;

	c->found.entries++;
	if (get16(node + 4) & NODE_BIG) {
		if (len / 8 > c->pages + 1 && len > KV_VALUE_MAX + 8) {
			check_damage(c, "page %" PRIu64 ": a record is too long", page);
			return 0;
		}
		rc = check_big(c, get64(data.data), len, &data);
		if (rc != 0)
			return rc == -EBADMSG ? 0 : rc;
	}
	if (c->main)
		check_value(c, page, key, data);
	else
		check_free(c, page, key, data);
	return 0;
}

/*
 * The node a slot points to: in bounds, even, apart from the others.  `taken` has a bit for every two
 * bytes of the page.
 */
static bool
check_node(const struct check *c, const uint8_t *page, unsigned slot, uint64_t *taken, const uint8_t **ret_node,
    struct bytes *ret_key)
{
	bool leaf = get16(page + 10) == PAGE_LEAF;
	size_t at = get16(page + PAGE_HEADER + 2 * slot), size = NODE_HEADER, key_len;
	const uint8_t *node;

	if (at % 2 != 0 || at < get16(page + 14) || at + NODE_HEADER > c->page_size)
		return false;
	node = page + at;
	key_len = get16(node + 6);
	size += key_len;
	if (leaf) {
		if (get16(node + 4) & ~NODE_BIG)
			return false;
		size += get16(node + 4) & NODE_BIG ? 8 : get16(node) | (size_t)get16(node + 2) << 16;
	}
	if (size > c->page_size - at)
		return false;
	if ((leaf || slot > 0) && (c->main ? key_len < 1 || key_len > KV_KEY_MAX : key_len != 8))
		return false;
	for (size_t i = at / 2; i < (at + size + 1) / 2; i++)
		if (!bit_set(taken, i))
			return false;
	*ret_node = node;
	*ret_key = (struct bytes){ node + NODE_HEADER, key_len };
	return true;
}

static bool
check_page_header(struct check *c, uint64_t page, bool leaf, const uint8_t *at)
{
	uint16_t lower = get16(at + 12), upper = get16(at + 14);

	if (get64(at) == page && get16(at + 10) == (leaf ? PAGE_LEAF : PAGE_BRANCH) &&
	    lower > PAGE_HEADER && lower % 2 == 0 && lower <= upper && upper <= c->page_size)
		return true;
	check_damage(c, "the header of page %" PRIu64 " is damaged", page);
	return false;
}

/*
 * Walks the subtree at a page whose keys must lie in [low, high); no data is no bound.  Damage is reported
 * and passed over; an error is one of reading.
 */
static int
check_walk(struct check *c, uint64_t page, unsigned depth, struct bytes low, struct bytes high)
{
	bool leaf = depth + 1 == c->meta.trees[c->main].depth;
	uint64_t taken[PAGE_MAX / 2 / 64] = { 0 };
	const uint8_t *node = NULL, *next_node = NULL;
	struct bytes key = { NULL, 0 }, next = { NULL, 0 };
	uint8_t *at;
	unsigned count;
	int rc;

	if (!check_claim(c, page, 1))
		return 0;
	if (c->level[depth] == NULL)
		c->level[depth] = malloc(c->page_size);
	at = c->level[depth];
	if (at == NULL)
		return -ENOMEM;
	rc = check_read(c, page, c->page_size, at);
	if (rc != 0)
		return rc == -EBADMSG ? 0 : rc;
	if (!check_page_header(c, page, leaf, at))
		return 0;
	*(leaf ? &c->found.leaves : &c->found.branches) += 1;
	count = (get16(at + 12) - PAGE_HEADER) / 2;
	for (unsigned i = 0; i <= count; i++) {
		if (i < count && !check_node(c, at, i, taken, &next_node, &next)) {
			check_damage(c, "page %" PRIu64 ": node %u is damaged", page, i);
			return 0;
		}
		if (i == 0 && !leaf)
			next = low;	/* a branch's first key stands for the least */
		if (i < count && next.data != NULL &&
		    ((low.data != NULL && check_order(c, next, low) < 0) ||
		    (high.data != NULL && check_order(c, next, high) >= 0) ||
		    (i > 0 && key.data != NULL && check_order(c, next, key) <= 0))) {
			check_damage(c, "page %" PRIu64 ": key %u is out of order", page, i);
			return 0;
		}
		/* The node before, now that the one after bounds it. */
		if (i > 0 && leaf)
			rc = check_record(c, page, node, key);
		else if (i > 0)
			rc = check_walk(c, get16(node) | (uint64_t)get16(node + 2) << 16 |
			    (uint64_t)get16(node + 4) << 32, depth + 1, key, i < count ? next : high);
		if (rc != 0)
			return rc;
		node = next_node;
		key = next;
	}
	return 0;
}

static int
check_tree(struct check *c, bool main)
{
	const struct tree *want = &c->meta.trees[main];
	const char *name = main ? "main" : "free";
	unsigned before = c->result.structure;
	int rc = 0;

	c->main = main;
	c->found = (struct tree){ 0 };
	if (want->flags != (main ? 0 : TREE_INTEGER_KEY | TREE_PERSISTENT) || want->depth > DEPTH_MAX ||
	    (want->root == NO_PAGE) != (want->depth == 0) || (main && want->pad != 0)) {
		check_damage(c, "the %s tree's description is damaged", name);
		return 0;
	}
	if (want->root != NO_PAGE)
		rc = check_walk(c, want->root, 0, (struct bytes){ NULL, 0 }, (struct bytes){ NULL, 0 });
	if (rc == 0 && before == c->result.structure &&
	    (want->branches != c->found.branches || want->leaves != c->found.leaves ||
	    want->overflows != c->found.overflows || want->entries != c->found.entries))
		check_damage(c, "the %s tree has %" PRIu64 " entries and should have %" PRIu64
		    ", or its pages are miscounted", name, c->found.entries, want->entries);
	return rc;
}

static struct tree
tree_decode(const uint8_t *at)
{
	return (struct tree){ get32(at), get16(at + 4), get16(at + 6), get64(at + 8), get64(at + 16), get64(at + 24),
		get64(at + 32), get64(at + 40) };
}

/* Decodes meta page `n`; false, reported, if it is damaged. */
static bool
check_meta(struct check *c, uint64_t n, struct meta *ret_meta)
{
	uint8_t at[PAGE_HEADER + META_SIZE];
	const uint8_t *body = at + PAGE_HEADER;

	if (check_read(c, n, sizeof at, at) != 0)
		return false;
	if (get64(at) != n || get16(at + 10) != PAGE_META || get32(body) != META_MAGIC || get32(body + 4) != 1) {
		check_damage(c, "meta page %" PRIu64 " is damaged", n);
		return false;
	}
	*ret_meta = (struct meta){ { tree_decode(body + 24), tree_decode(body + 24 + TREE_SIZE) },
		get64(body + 120), get64(body + 128) };
	return true;
}

/* Finds the meta page that LMDB will take, and prepares for its trees. */
static int
check_metas(struct check *c)
{
	struct meta metas[2];
	struct stat st;
	uint32_t size;

	c->page_size = PAGE_MIN;	/* of which only the first is read so far */
	if (!check_meta(c, 0, &metas[0]))
		return 0;
	size = metas[0].trees[0].pad;
	if (size < PAGE_MIN || size > PAGE_MAX || (size & (size - 1)) != 0) {
		check_damage(c, "the page size is damaged");
		return 0;
	}
	c->page_size = size;
	if (!check_meta(c, 1, &metas[1]))
		return 0;
	if (fstat(c->fd, &st) != 0)
		return -errno;
	c->meta = metas[metas[0].txn < metas[1].txn];
	c->in_file = (uint64_t)st.st_size / size;
	/* The file may be shorter by pages that were never written; not by gigabytes of them. */
	if (c->meta.last_page < 1 || c->meta.last_page > c->in_file + (1 << 20) || metas[1].trees[0].pad != size) {
		check_damage(c, "the newer meta page is damaged");
		return 0;
	}
	c->pages = c->meta.last_page + 1;
	c->used = calloc(c->pages / 64 + 1, sizeof *c->used);
	c->free = calloc(c->pages / 64 + 1, sizeof *c->free);
	return c->used == NULL || c->free == NULL ? -ENOMEM : 0;
}

int
kvcheck(const char *path, store_report *report, void *arg, struct kvcheck_result *ret_result)
{
	struct check c = { .report = report, .arg = arg };
	int rc;

	c.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c.fd < 0)
		return -errno;
	posix_fadvise(c.fd, 0, 0, POSIX_FADV_WILLNEED);
	rc = check_metas(&c);
	for (int main = 0; rc == 0 && main < 2 && c.used != NULL; main++)
		rc = check_tree(&c, main);
	for (uint64_t page = 2; rc == 0 && page < c.pages; page++) {
		if (bit_get(c.used, page) && bit_get(c.free, page))
			check_damage(&c, "page %" PRIu64 " is used and listed as free", page);
		if (page >= c.in_file && !bit_get(c.free, page)) {
			check_damage(&c, "page %" PRIu64 " is beyond the end of the file", page);
			break;
		}
	}
	if (rc == 0)
		*ret_result = c.result;
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		free(c.level[i]);
	free(c.big);
	free(c.used);
	free(c.free);
	close(c.fd);
	return rc;
}
