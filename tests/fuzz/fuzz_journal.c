/* fuzz_journal.c - an entry of the client's journal: what decodes encodes to the same bytes. */
#include "fs/journal.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "journal";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[JOURNAL_ARGUMENTS_MAX];
	struct journal_entry n;
	ssize_t len;

	if (journal_decode(&n, (struct bytes){ data, size }) < 0)
		return 0;
	len = journal_encode(&n, again);
	promise(len >= 0 && (size_t)len + n.data.len == size && memcmp(again, data, (size_t)len) == 0);
	return 0;
}
