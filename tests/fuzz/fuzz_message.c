/* fuzz_message.c - what decodes encodes to the same bytes, and costs memory in proportion. */
#include "proto/message.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "message";

/* An element of a list takes at most so many times its size on the wire, and a chunk more. */
enum { GROWTH = 8, CHUNK = 16384 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	struct arena arena = { 0 };
	struct message m;

	if (null == NULL && (null = fopen("/dev/null", "w")) == NULL)
		abort();
	if (message_decode(&m, (struct bytes){ data, size }, &arena) == 0) {
		uint8_t *again = malloc(size);
		struct cursor c = cursor_over(again, size);

		promise(again != NULL && message_info(m.type) != NULL && message_size(&m) == size);
		message_encode(&m, &c);
		promise(cursor_done(&c) && memcmp(again, data, size) == 0);
		message_print(&m, null);
		free(again);
	}
	promise(arena.used <= GROWTH * size + 2 * CHUNK);
	arena_free(&arena);
	return 0;
}
