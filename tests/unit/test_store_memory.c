/*
 * test_store_memory.c - every allocation of the store on disk fails once: what
 * it was to do is not done or done, and what was synced is there.
 *
 * Linked with --wrap for the allocator; what the test and LMDB allocate does
 * not fail.
 */
#include "tests/unit/store_script.h"

static struct {
	bool		armed;		/* inside the store */
	unsigned	count, fail_at;
} allocator;

static bool
fails(void)
{
	return allocator.armed && ++allocator.count == allocator.fail_at;
}

#include "tests/unit/wrap_alloc.h"

/* ---- doors ---- */

static const struct store_ops *real;
static bool arming;

#define ARMED(call) do { \
	int r; \
	allocator.armed = arming; \
	r = (call); \
	allocator.armed = false; \
	return r; \
} while (0)

static int
armed_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *pos)
{
	ARMED(real->apply(s, b, flags, pos));
}

static int
armed_sync(struct store *s, uint64_t *synced)
{
	ARMED(real->sync(s, synced));
}

static int
armed_checkpoint(struct store *s)
{
	ARMED(real->checkpoint(s));
}

static int
armed_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags, struct block_ticket **ticket)
{
	ARMED(real->block_reserve(s, id, len, flags, ticket));
}

static int
armed_finish(struct block_ticket *t, bool written, uint64_t *pos)
{
	ARMED(real->block_finish(t, written, pos));
}

int __real_diskstore_compact(struct store *s, pthread_mutex_t *lock, unsigned percent, uint64_t bytes);
int __wrap_diskstore_compact(struct store *s, pthread_mutex_t *lock, unsigned percent, uint64_t bytes);

int
__wrap_diskstore_compact(struct store *s, pthread_mutex_t *lock, unsigned percent, uint64_t bytes)
{
	ARMED(__real_diskstore_compact(s, lock, percent, bytes));
}

static struct store *
armed_open(void)
{
	struct store *s;

	allocator.armed = arming;
	s = open_small("s", NULL);
	allocator.armed = false;
	return s;
}

/* ---- */

static bool
whole(int durable)
{
	struct store *s = open_small("s", NULL);
	bool good = s != NULL && is_prefix(s, durable, true);

	store_close(s);
	return good;
}

static void
test_script(void)
{
	struct store_ops ops;
	unsigned n, bad = 0;
	struct store *s;
	int durable;
	bool reached = true;

	compacting = true;
	for (n = 1; reached; n++) {
		clean("s");
		allocator.count = 0;
		allocator.fail_at = n;
		arming = true;
		if ((s = armed_open()) == NULL)
			s = armed_open();
		if (s == NULL) {
			bad++;
			break;
		}
		real = s->ops;
		ops = *real;
		ops.apply = armed_apply;
		ops.sync = armed_sync;
		ops.checkpoint = armed_checkpoint;
		ops.block_reserve = armed_reserve;
		ops.block_finish = armed_finish;
		s->ops = &ops;
		durable = script(s, 20);
		s->ops = real;
		arming = false;
		reached = allocator.count >= n;
		diskstore_abandon(s);
		if (!whole(durable)) {
			printf("# allocation %u\n", n);
			bad++;
		}
	}
	compacting = false;
	ok(bad == 0 && n > 30, "each of %u allocations may fail", n - 2);
}

static void
test_open(void)
{
	unsigned n, bad = 0;
	struct store *s;
	int durable;
	bool reached = true;

	clean("t");
	s = open_small("t", NULL);
	durable = script(s, 20);
	diskstore_abandon(s);
	for (n = 1; reached; n++) {
		copy("t", "s");
		allocator.count = 0;
		allocator.fail_at = n;
		arming = true;
		s = armed_open();
		arming = false;
		reached = allocator.count >= n;
		store_close(s);
		if (!whole(durable)) {
			printf("# allocation %u\n", n);
			bad++;
		}
	}
	ok(bad == 0 && n > 10, "and each of %u of recovery", n - 2);
}

int
main(void)
{
	script_begin();
	test_script();
	test_open();
	return script_end();
}
