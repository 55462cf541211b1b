/* test_memstore.c - the simulator's store does what a store must, and crashes as told. */
#include "tests/sim/memstore.h"

#include "tests/unit/conform.h"

static void
test_crash(void)
{
	struct store *s = memstore_new(0);
	struct batch b = { 0 };
	struct block_ref *ref;
	struct block_ticket *ticket;
	uint8_t id[ID_SIZE], byte;
	uint64_t synced, pos = 0;
	int64_t middle;

	put(s, "a", "1");
	put(s, "b", "1");
	put_large(s, 1, 100);
	store_sync(s, &synced);
	put(s, "a", "2");
	batch_delete(&b, text("b"));
	block_id(id, 1);
	batch_block_free(&b, id);
	store_block_find(s, id, &ref);
	middle = apply(s, &b, 0);
	put(s, "a", "3");
	put(s, "c", "3");
	put_large(s, 2, 100);
	block_id(id, 3);
	store_block_reserve(s, id, 1, 0, &ticket);
	memstore_crash(s, (uint64_t)middle);
	ok(holds(s, "a", "2") && holds(s, "b", NULL) && holds(s, "c", NULL) && holds_block(s, 1, 0) &&
	    holds_block(s, 2, 0) && store_end(s) == (uint64_t)middle, "a crash takes back what came after");
	put(s, "a", "4");
	memstore_crash(s, store_synced(s));
	ok(holds(s, "a", "2") && store_synced(s) == (uint64_t)middle, "what it left is durable");
	ok(store_block_read(ref, 0, 1, &byte) == 0, "a reference survives");
	ok(store_block_finish(ticket, true, &pos) == -EIO && holds_block(s, 3, 0), "a ticket does not");
	store_block_put_ref(ref);
	batch_done(&b);
	store_close(s);

	s = memstore_new(0);
	put(s, "a", "1");
	put_large(s, 1, 100);
	store_sync(s, &synced);
	put(s, "a", "2");
	batch_delete(&b, text("a"));
	block_id(id, 1);
	batch_block_free(&b, id);
	apply(s, &b, 0);
	memstore_crash(s, synced);
	ok(holds(s, "a", "1") && holds_block(s, 1, 100), "a crash back to the last sync");
	batch_done(&b);
	store_close(s);
}

static void
test_full(void)
{
	struct store *s = memstore_new(1000);
	struct batch b = { 0 };
	uint64_t total, left;

	ok(put_large(s, 1, 900) > 0 && put_large(s, 2, 900) == -ENOSPC && holds_block(s, 2, 0), "capacity bounds it");
	batch_delete(&b, text("a"));
	ok(put(s, "a", "1") > 0 && apply(s, &b, STORE_FREES) > 0, "frees are taken");
	store_space(s, &total, &left);
	ok(total == 1000 && left == 68, "space is counted");
	memstore_set_full(s, true);
	ok(put(s, "a", "1") == -ENOSPC, "the switch fills it");
	memstore_set_full(s, false);
	memstore_fail(s, "disk on fire");
	ok(put(s, "a", "1") == -EIO && store_failed(s) != NULL, "a failed store takes nothing");
	memstore_fail(s, NULL);
	ok(put(s, "a", "1") > 0, "and works again when mended");
	batch_done(&b);
	store_close(s);
}

int
main(void)
{
	struct store *s = memstore_new(0);

	conform(s, "memory");
	store_close(s);
	test_crash();
	test_full();
	return tap_done();
}
