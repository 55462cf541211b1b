/*
 * test_client_engine.c - the client engine alone: a stand-in server that
 * acknowledges every commit and keeps every block, and a random walk over one
 * file's content compared with plain memory.  Seed: argv[1].
 */
#include "fs/engine.h"
#include "proto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

enum { BLOCKS_MAX = 100000, FILE_MAX = 12 * REGION_SIZE };

static struct volume_keys *keys;
static struct engine *engine;
static struct { uint8_t id[ID_SIZE]; uint8_t *data; size_t len; } blocks[BLOCKS_MAX];
static size_t blocks_count;
static uint64_t now_ms = 1000, version = 1, state;
static int store_error;			/* what STORE and COMMIT answer: 0 or -ENOSPC */
static unsigned busy;			/* so many times a COMMIT is answered BUSY instead */
static bool commits_pass;		/* store_error is for STOREs only, and a removal ends it */
static unsigned commits;

static uint64_t
draw(uint64_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

static void
tick(void)
{
	struct timespec real = { .tv_sec = now_ms / 1000 };

	engine_clock(engine, now_ms, real);
}

static size_t
find_block(const uint8_t id[ID_SIZE])
{
	for (size_t i = blocks_count; i-- > 0;)
		if (memcmp(blocks[i].id, id, ID_SIZE) == 0)
			return i;
	return SIZE_MAX;
}

static void
do_store(struct flush *f)
{
	size_t n = blocks_count;
	int error = store_error;

	if (error == 0 && n < BLOCKS_MAX) {
		memset(blocks[n].id, 0, ID_SIZE);
		memcpy(blocks[n].id, &n, sizeof n);
		blocks[n].data = malloc(f->len);
		memcpy(blocks[n].data, f->buffer->data + f->start, f->len);
		blocks[n].len = f->len;
		memcpy(f->id, blocks[n].id, ID_SIZE);
		blocks_count++;
	}
	engine_stored(engine, f, error);
}

static enum status
commit_status(const struct commit *c)
{
	if (busy > 0) {
		busy--;
		return STATUS_BUSY;
	}
	for (uint32_t i = 0; i < c->changes_count && commits_pass; i++)
		if (c->changes[i].op == CHANGE_DELETE)
			store_error = 0;
	return store_error == 0 || commits_pass ? STATUS_OK : STATUS_NOSPC;
}

static void
do_fetch(struct fetch *f)
{
	size_t n = find_block(f->id);
	int error = n == SIZE_MAX ? -ENOENT : 0;

	for (unsigned i = 0; i < f->count && error == 0; i++) {
		size_t at = (size_t)(f->first + i) * CELL_SIZE;
		size_t len = at >= blocks[n].len ? 0 : blocks[n].len - at < CELL_SIZE ? blocks[n].len - at : CELL_SIZE;

		f->cells[i] = buffer_new(len > 0 ? len : 1);
		memcpy(f->cells[i]->data, blocks[n].data + at, len);
		f->cells[i]->size = len;
	}
	engine_fetched(engine, f, error);
}

/* Everything is made here, so only reserved objects are ever asked for. */
static void
answer_read(const struct message *read)
{
	struct msg_answer answers[WANTS_MAX] = { 0 };
	struct message m = { .type = MSG_granted, .id = read->id, .granted.ticket = 1 };

	for (uint32_t i = 0; i < read->read.wants.count; i++) {
		answers[i].oid = read->read.wants.at[i].oid;
		answers[i].status = answers[i].oid < OID_RESERVED ? STATUS_OK : STATUS_NOENT;
		answers[i].mode = answers[i].status == STATUS_OK ? MODE_EXCLUSIVE : MODE_NONE;
		answers[i].grant = 1;
	}
	m.granted.answers.at = answers;
	m.granted.answers.count = read->read.wants.count;
	engine_received(engine, &m);
}

/* Carries out all actions; true when `op` was among the replies. */
static bool
pump(const struct op *op)
{
	struct action *a;
	bool replied = false;

	while ((a = engine_next(engine)) != NULL) {
		struct message m = { 0 };

		switch (a->kind) {
		case ACTION_COMMIT:
			m.type = MSG_committed;
			m.committed.sequence = a->commit->sequence;
			m.committed.status = commit_status(a->commit);
			m.committed.version = ++version;
			m.committed.credit = CREDIT_MAX;
			commits++;
			commit_put(a->commit);
			engine_received(engine, &m);
			break;
		case ACTION_STORE:
			do_store(a->flush);
			break;
		case ACTION_FETCH:
			do_fetch(a->fetch);
			break;
		case ACTION_INVALIDATE:
			engine_invalidated(engine, a->oid, a->pages, 0);
			break;
		case ACTION_REPLY:
			replied |= a->op == op;
			break;
		case ACTION_SEND:
			if (a->message.type == MSG_read)
				answer_read(&a->message);
			break;
		}
		action_free(a);
	}
	return replied;
}

/* Runs an op to its end; the caller reads results before done(). */
static int
run(struct op *op)
{
	bool finished;

	tick();
	finished = engine_submit(engine, op);
	for (unsigned i = 0; i < 200; i++) {
		finished |= pump(op);
		if (finished)
			return op->error;
		now_ms += 100;
		tick();
		engine_tick(engine);
	}
	return -ETIME;
}

static void
done(struct op *op)
{
	engine_replied(engine, op);
	pump(NULL);
}

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void
setup(void)
{
	struct engine_config config = { .cache_max = 1 };
	struct msg_attached attached = { .session = 1, .credit = CREDIT_MAX, .boot = 1, .term_ms = 1000000000,
	    .first_oid = 100, .oid_count = 60000, .sessions = 1 };

	engine_new(&engine, &config, keys);
	tick();
	engine_attached(engine, &attached, true);
	engine_format(engine, 0, 0, 0755);
	pump(NULL);
	store_error = 0;
}

static void
teardown(void)
{
	engine_free(engine);
	for (size_t i = 0; i < blocks_count; i++)
		free(blocks[i].data);
	blocks_count = 0;
}

static uint64_t
create(const char *name, uint64_t *ret_handle)
{
	struct op op = { .type = OP_CREATE, .ino = OID_ROOT, .name = text(name), .attr.mode = S_IFREG | 0644,
	    .flags = O_RDWR | O_CREAT };
	uint64_t ino;

	if (run(&op) < 0)
		return 0;
	ino = op.child;
	*ret_handle = op.handle;
	done(&op);
	return ino;
}

static int
simple(enum op_type type, uint64_t ino, uint64_t handle)
{
	struct op op = { .type = type, .ino = ino, .handle = handle };
	int r = run(&op);

	done(&op);
	return r;
}

static int
write_at(uint64_t ino, uint64_t handle, uint64_t offset, const uint8_t *data, size_t len)
{
	struct op op = { .type = OP_WRITE, .ino = ino, .handle = handle, .offset = offset, .data = { data, len } };
	int r = run(&op);

	done(&op);
	return r;
}

static int
truncate_to(uint64_t ino, uint64_t size)
{
	struct op op = { .type = OP_SETATTR, .ino = ino, .set = SET_SIZE, .attr.size = size };
	int r = run(&op);

	done(&op);
	return r;
}

/* Compares [offset, offset + len) with what memory says. */
static bool
same(uint64_t ino, uint64_t handle, const uint8_t *shadow, size_t size, size_t offset, size_t len)
{
	struct op op = { .type = OP_READ, .ino = ino, .handle = handle, .offset = offset, .size = len };
	size_t at = offset, want = offset >= size ? 0 : size - offset < len ? size - offset : len;
	bool equal = run(&op) == 0;

	for (size_t i = 0; i < op.pieces_count && equal; i++) {
		equal = at + op.pieces[i].len <= offset + want &&
		    memcmp(shadow + at, op.pieces[i].data, op.pieces[i].len) == 0;
		at += op.pieces[i].len;
	}
	equal = equal && at == offset + want;
	if (!equal)
		printf("# read %zu+%zu of %zu: error %d, got %zu\n", offset, len, size, op.error, at - offset);
	done(&op);
	return equal;
}

static size_t
pick_size(void)
{
	static const size_t near[] = { 0, 1, INLINE_MAX, CELL_SIZE, REGION_SIZE, 2 * REGION_SIZE, 4096, 32768 };

	if (draw(2) == 0)
		return near[draw(sizeof near / sizeof near[0])] + draw(3);
	return draw(draw(2) ? 8192 : FILE_MAX - 70000);
}

static bool
walk(uint64_t seed, unsigned steps)
{
	uint8_t *shadow = calloc(1, FILE_MAX), *data = malloc(FILE_MAX);
	uint64_t handle, ino;
	size_t size = 0;
	bool good = true;
	char why[200];

	state = seed;
	setup();
	ino = create("f", &handle);
	for (unsigned i = 0; i < steps && good; i++) {
		size_t offset = pick_size(), len = draw(3) == 0 ? pick_size() % (REGION_SIZE + 5000) : draw(9000);
		unsigned what = draw(12);

		switch (what) {
		case 0: case 1: case 2: case 3: case 4:
			len = offset + len > FILE_MAX ? FILE_MAX - offset : len;
			for (size_t k = 0; k < len; k++)
				data[k] = draw(256);
			good = len == 0 || write_at(ino, handle, offset, data, len) == 0;
			if (len > 0) {
				memcpy(shadow + offset, data, len);
				size = offset + len > size ? offset + len : size;
			}
			break;
		case 5:
			offset = draw(3) == 0 ? 0 : offset;
			good = truncate_to(ino, offset) == 0;
			if (offset < size)
				memset(shadow + offset, 0, size - offset);
			size = offset;
			break;
		case 6: {
			struct op op = { .type = OP_FALLOCATE, .ino = ino, .handle = handle, .offset = offset, .size = len + 1,
			    .flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

			good = run(&op) == 0;
			done(&op);
			if (offset < size)
				memset(shadow + offset, 0, size - offset < len + 1 ? size - offset : len + 1);
			break;
		}
		case 7:
			good = simple(OP_FSYNC, ino, handle) == 0;
			break;
		case 8:
			now_ms += draw(4000);
			tick();
			engine_tick(engine);
			if (draw(2))
				pump(NULL);
			break;
		default:
			good = same(ino, handle, shadow, size, offset, len + 1);
			break;
		}
		if (good && !engine_check(engine, why, sizeof why)) {
			printf("# %s\n", why);
			good = false;
		}
		if (!good)
			printf("# seed %" PRIu64 " step %u what %u offset %zu len %zu size %zu\n", seed, i, what, offset, len, size);
	}
	for (size_t at = 0; at <= size && good; at += 300000)
		good = same(ino, handle, shadow, size, at, 300000);
	good = good && simple(OP_RELEASE, ino, handle) == 0 && simple(OP_SYNC, OID_ROOT, 0) == 0;
	if (good) {
		struct engine_status status;

		engine_status(engine, &status);
		good = status.dirty_bytes == 0 && status.dirty_objects == 0 && status.commits_pending == 0;
		if (!good)
			printf("# seed %" PRIu64 " left %zu bytes, %zu objects, %zu commits\n", seed, status.dirty_bytes,
			    status.dirty_objects, status.commits_pending);
	}
	teardown();
	free(shadow);
	free(data);
	return good;
}

static void
test_names(void)
{
	static const uint8_t long_name[256] = "a name that goes on with what no name has";
	struct op op = { 0 };
	uint64_t handle, ino, dir;
	unsigned linked = 0;

	setup();
	ino = create("a", &handle);
	ok(ino != 0, "a file is created");
	op = (struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = text("a") };
	ok(run(&op) == 0 && op.child == ino && op.cacheable && op.name_cacheable, "and found");
	done(&op);
	op = (struct op){ .type = OP_LOOKUP, .ino = OID_ROOT, .name = text("b") };
	ok(run(&op) == -ENOENT && op.name_cacheable, "a missing name is known to be missing");
	done(&op);
	op = (struct op){ .type = OP_MKDIR, .ino = OID_ROOT, .name = text("d"), .attr.mode = 0755 };
	ok(run(&op) == 0 && op.attr.nlink == 2, "a directory is made");
	dir = op.child;
	done(&op);
	op = (struct op){ .type = OP_RENAME, .ino = OID_ROOT, .ino2 = dir, .name = text("a"), .name2 = text("b") };
	ok(run(&op) == 0, "a file moves into it");
	done(&op);
	op = (struct op){ .type = OP_RMDIR, .ino = OID_ROOT, .name = text("d") };
	ok(run(&op) == -ENOTEMPTY, "a full directory is not removed");
	done(&op);
	op = (struct op){ .type = OP_RENAME, .ino = OID_ROOT, .ino2 = dir, .name = text("d"), .name2 = text("x") };
	ok(run(&op) == -EINVAL, "a directory does not move into itself");
	done(&op);
	op = (struct op){ .type = OP_RENAME, .ino = OID_ROOT, .ino2 = OID_ROOT, .name = text("d"), .name2 = { long_name, 256 } };
	ok(run(&op) == -ENAMETOOLONG, "nor under a name that is too long");
	done(&op);
	op = (struct op){ .type = OP_LINK, .ino = ino, .ino2 = OID_ROOT, .name = text("l") };
	ok(run(&op) == 0 && op.attr.nlink == 2, "a second name");
	done(&op);
	op = (struct op){ .type = OP_UNLINK, .ino = dir, .name = text("b") };
	ok(run(&op) == 0, "the first goes");
	done(&op);
	op = (struct op){ .type = OP_GETATTR, .ino = ino };
	ok(run(&op) == 0 && op.attr.nlink == 1, "one is left");
	done(&op);
	for (unsigned i = 0; i < 2; i++) {
		op = (struct op){ .type = OP_READDIR, .ino = OID_ROOT, .size = 1, .offset = i };
		ok(run(&op) == 0 && op.entries_count == 0, "a listing without room for one entry has none");
		done(&op);
	}
	op = (struct op){ .type = OP_READDIR, .ino = OID_ROOT, .size = 4096 };
	ok(run(&op) == 0 && op.entries_count == 4, "a listing has four entries");
	done(&op);
	op = (struct op){ .type = OP_READDIR, .ino = OID_ROOT, .size = 4096, .plus = true };
	ok(run(&op) == 0 && op.entries_count == 4 && op.entries[0].attr == NULL && op.entries[1].attr == NULL,
	    "with children it brings neither of the dots");
	for (size_t i = 2; i < 4; i++)
		if (op.entries[i].ino == ino)
			linked += op.entries[i].attr->nlink == 1 && !op.entries[i].cacheable && op.entries[i].name_cacheable;
		else
			linked += op.entries[i].ino == dir && S_ISDIR(op.entries[i].attr->mode) && op.entries[i].cacheable;
	ok(linked == 2, "but what is known of the others");
	done(&op);
	op = (struct op){ .type = OP_READDIR, .ino = OID_ROOT, .size = 3 * 160, .plus = true };
	ok(run(&op) == 0 && op.entries_count == 3, "as many as have room");
	done(&op);
	op = (struct op){ .type = OP_READDIR, .ino = dir, .size = 4096, .plus = true };
	ok(run(&op) == 0 && op.entries_count == 2, "an empty directory has the dots");
	done(&op);
	op = (struct op){ .type = OP_CREATE, .ino = OID_ROOT, .name = text("l"), .flags = O_CREAT | O_EXCL };
	ok(run(&op) == -EEXIST, "an exclusive create of it fails");
	done(&op);
	ok(simple(OP_RELEASE, ino, handle) == 0 && simple(OP_SYNC, OID_ROOT, 0) == 0, "everything is synced");
	teardown();
}

/* With actions that nobody has taken, a commit among them. */
static void
test_end_amid_work(void)
{
	struct action *a;
	uint64_t handle;

	setup();
	create("a", &handle);
	for (unsigned i = 0; i < 2; i++) {
		now_ms += 10000;
		tick();
		engine_tick(engine);
	}
	a = engine_next(engine);
	ok(a != NULL && a->kind == ACTION_SEND, "an engine has something to say, and ends");
	action_free(a);
	teardown();
}

static void
test_cancel(void)
{
	struct op op;
	uint64_t handle, ino;
	uint8_t data[5000] = { 1 };
	unsigned before;

	setup();
	simple(OP_SYNC, OID_ROOT, 0);
	ino = create("t", &handle);
	write_at(ino, handle, 0, data, sizeof data);
	simple(OP_RELEASE, ino, handle);
	op = (struct op){ .type = OP_UNLINK, .ino = OID_ROOT, .name = text("t") };
	ok(run(&op) == 0, "a new file is removed at once");
	done(&op);
	before = blocks_count;
	simple(OP_SYNC, OID_ROOT, 0);
	ok(blocks_count == before, "its content never left");
	engine_forget(engine, ino, 1);
	teardown();
}

static void
test_no_space(void)
{
	uint64_t handle, ino;
	uint8_t data[100000], shadow[100000];

	memset(data, 7, sizeof data);
	memset(shadow, 7, sizeof shadow);
	setup();
	simple(OP_SYNC, OID_ROOT, 0);
	ino = create("full", &handle);
	ok(write_at(ino, handle, 0, data, sizeof data) == 0, "written into the cache");
	store_error = -ENOSPC;
	ok(simple(OP_FSYNC, ino, handle) == -ENOSPC, "fsync says that the server is full");
	ok(write_at(ino, handle, 0, data, sizeof data) == -ENOSPC, "so does the next write");
	ok(same(ino, handle, shadow, sizeof shadow, 0, sizeof shadow), "nothing is lost meanwhile");
	store_error = 0;
	ok(simple(OP_FSYNC, ino, handle) == 0, "with space again fsync succeeds");
	ok(write_at(ino, handle, 5, data, 10) == 0, "and so does a write");
	store_error = -ENOSPC;
	ok(simple(OP_FSYNC, ino, handle) == -ENOSPC, "full once more");
	store_error = 0;
	ok(write_at(ino, handle, 5, data, 10) == 0, "a write asks anew, and does not tell of an old refusal");
	store_error = -ENOSPC;
	ok(simple(OP_FSYNC, ino, handle) == -ENOSPC, "full once more");
	store_error = 0;
	ok(truncate_to(ino, sizeof data + 1) == 0, "so does a truncate that grows");
	simple(OP_RELEASE, ino, handle);
	teardown();
}

static void
test_busy(void)
{
	uint64_t handle, ino, second;
	uint8_t data[100000];
	struct op unlink = { .type = OP_UNLINK, .ino = OID_ROOT, .name = text("old") };
	unsigned made;

	memset(data, 7, sizeof data);
	setup();
	simple(OP_SYNC, OID_ROOT, 0);
	ino = create("new", &handle);
	ok(write_at(ino, handle, 0, data, sizeof data) == 0 && simple(OP_FSYNC, ino, handle) == 0, "a file is synced");
	made = commits;
	for (unsigned i = 0; i < 3; i++)
		ok(write_at(ino, handle, i, data, 10) == 0, "written");
	busy = 3;
	ok(simple(OP_FSYNC, ino, handle) == 0 && commits == made + 4, "a commit is sent again until there is room for it");

	/* What follows a removal finds its space. */
	ino = create("old", &second);
	ok(write_at(ino, second, 0, data, sizeof data) == 0 && simple(OP_FSYNC, ino, second) == 0, "an old file");
	simple(OP_RELEASE, ino, second);
	commits_pass = true;
	store_error = -ENOSPC;
	ok(run(&unlink) == 0, "is removed when the server is full");
	done(&unlink);
	ino = create("next", &second);
	ok(write_at(ino, second, 0, data, sizeof data) == 0 && simple(OP_FSYNC, ino, second) == 0,
	    "and the next one takes its place");
	store_error = -ENOSPC;
	ok(write_at(ino, second, 0, data, sizeof data) == 0 && simple(OP_FSYNC, ino, second) == -ENOSPC,
	    "with nothing removed there is no room");
	commits_pass = false;
	store_error = 0;
	simple(OP_RELEASE, ino, second);
	simple(OP_RELEASE, 0, handle);
	teardown();
}

int
main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	static const uint8_t key[KEY_SIZE] = { 1 }, volume[VOLUME_ID_SIZE] = { 2 };
	unsigned walks = argc > 1 ? 1 : 12;

	keys = volume_keys_new(key, volume);
	test_names();
	test_end_amid_work();
	test_cancel();
	test_no_space();
	test_busy();
	for (unsigned i = 0; i < walks; i++)
		ok(walk(first + i, 400), "a walk of 400 steps, seed %" PRIu64, first + i);
	volume_keys_free(keys);
	return tap_done();
}
