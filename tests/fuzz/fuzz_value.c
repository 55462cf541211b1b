/* fuzz_value.c - the first byte says which value; what decodes encodes to the same bytes. */
#include "proto/value.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "value";

static ssize_t
recode(unsigned which, struct bytes from, uint8_t *to, size_t size)
{
	struct extent extents[EXTENTS_MAX];
	struct bytes a, b;
	struct attr attr;
	struct meta meta;
	uint64_t oid;
	uint8_t type;
	size_t count;

	switch (which) {
	case 0: return attr_decode(&attr, from) < 0 ? -1 : attr_encode(&attr, to, size);
	case 1: return entry_decode(&a, &type, from) < 0 ? -1 : entry_encode(a, type, to, size);
	case 2: return parent_decode(&oid, from) < 0 ? -1 : parent_encode(oid, to, size);
	case 3: return region_decode(extents, &count, from) < 0 ? -1 : region_encode(extents, count, to, size);
	case 4: return xattr_decode(&a, &b, from) < 0 ? -1 : xattr_encode(a, b, to, size);
	case 5: return inline_decode(&a, from) < 0 ? -1 : inline_encode(a, to, size);
	case 6: return meta_decode(&meta, from) < 0 ? -1 : meta_encode(&meta, to, size);
	default: return -1;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[VALUE_MAX];
	unsigned which;
	ssize_t len;

	if (size == 0)
		return 0;
	which = data[0] % 7;
	len = recode(which, (struct bytes){ data + 1, size - 1 }, again, sizeof again);
	if (len == -1)
		return 0;
	promise(len == (ssize_t)size - 1);
	/* Reserved bytes of ATTR are read over and written as zeros. */
	promise(which == 0 || memcmp(again, data + 1, len) == 0);
	promise(recode(which, (struct bytes){ again, len }, again, sizeof again) == len);
	return 0;
}
