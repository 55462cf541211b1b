/* client_world.c - see client_world.h. */
#include "tests/unit/client_world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tap.h"

struct client_world w;
const struct attr world_file = { .mode = S_IFREG | 0644, .nlink = 1, .size = 100 };
const struct attr world_directory = { .mode = S_IFDIR | 0755, .nlink = 2 };
static const uint8_t bytes[2 * REGION_SIZE];

static void
note(const struct action *a)
{
	struct said s = { .kind = a->kind, .oid = a->oid };
	const struct message *m = &a->message;

	if (a->kind == ACTION_INVALIDATE)
		s.mode = a->directory | a->pages << 1;
	if (a->kind == ACTION_SEND)
		s.type = m->type;
	if (a->kind == ACTION_SEND && m->type == MSG_release && m->release.leases.count > 0) {
		s.oid = m->release.leases.at[0].oid;
		s.grant = m->release.leases.at[0].grant;
		s.mode = m->release.leases.at[0].mode;
	} else if (a->kind == ACTION_SEND && m->type == MSG_pin && m->pin.pins.count > 0) {
		s.oid = m->pin.pins.at[0].oid;
		s.mode = m->pin.pins.at[0].on;
		w.pins += s.mode;
	}
	if (w.said_count < SAID_MAX)
		w.said[w.said_count++] = s;
	for (uint32_t i = 1; a->kind == ACTION_SEND && m->type == MSG_release && i < m->release.leases.count; i++) {
		const struct msg_lease *l = &m->release.leases.at[i];

		if (w.said_count < SAID_MAX)
			w.said[w.said_count++] = (struct said){ .kind = a->kind, .type = m->type, .oid = l->oid,
			    .grant = l->grant, .mode = l->mode };
	}
}

static void
note_message(const struct message *m)
{
	w.sent[m->type]++;
	if (m->type == MSG_alloc)
		w.last_alloc = m->id;
	else if (m->type == MSG_statfs) {
		w.last_statfs = m->id;
		w.kept_credit = m->statfs.keep;
	}
	else if (m->type == MSG_reclaim)
		w.known_oid = m->reclaim.known;
	else if (m->type == MSG_keepalive)
		w.last_keepalive = m->id;
	else if (m->type == MSG_read) {
		w.last_read = m->id;
		w.read = m->read;
		memcpy(w.wants, m->read.wants.at, m->read.wants.count * sizeof w.wants[0]);
		w.read.wants.at = w.wants;
		if (w.heard != NULL)
			w.heard(m);
		for (uint32_t i = 0; i < m->read.wants.count; i++) {
			struct msg_want *want = &w.wants[i];

			if (want->from.len > 0)
				want->from.data = memcpy(w.keys_of[i][0], want->from.data, want->from.len);
			if (want->to.len > 0)
				want->to.data = memcpy(w.keys_of[i][1], want->to.data, want->to.len);
		}
	}
}

void
world_collect(void)
{
	struct action *a;

	while ((a = engine_next(w.engine)) != NULL) {
		note(a);
		if (a->kind == ACTION_COMMIT)
			w.commits[w.commit_count++] = a->commit;
		else if (a->kind == ACTION_STORE)
			w.stores[w.store_count++] = a->flush;
		else if (a->kind == ACTION_FETCH && w.fetch_count < QUEUE_MAX)
			w.fetches[w.fetch_count++] = a->fetch;
		else if (a->kind == ACTION_INVALIDATE && !w.no_sweep)
			engine_invalidated(w.engine, a->oid, a->pages, 0);
		else if (a->kind == ACTION_REPLY)
			w.reply_count++;
		else if (a->kind == ACTION_SEND)
			note_message(&a->message);
		action_free(a);
	}
}

struct engine_status
world_status(void)
{
	struct engine_status s;

	engine_status(w.engine, &s);
	return s;
}

void
world_pass(uint64_t ms)
{
	w.now_ms += ms;
	engine_clock(w.engine, w.now_ms, (struct timespec){ .tv_sec = w.now_ms / 1000 });
	engine_tick(w.engine);
	world_collect();
}

/* Answers the commit that was sent first; `missing`: a block, or NULL. */
void
world_answer_with(enum status status, const uint8_t (*missing)[ID_SIZE])
{
	struct commit *c = w.commits[0];
	struct message m = { .type = MSG_committed, .id = UINT64_C(1) << 63 | c->sequence, .committed = {
	    .sequence = c->sequence, .status = status, .version = ++w.version, .credit = w.credit,
	    .missing = { missing, missing != NULL } } };

	memmove(w.commits, w.commits + 1, --w.commit_count * sizeof w.commits[0]);
	engine_received(w.engine, &m);
	commit_put(c);
	world_collect();
}

void
world_answer(enum status status)
{
	world_answer_with(status, NULL);
}

void
world_stored(struct flush *f)
{
	memset(f->id, 0, ID_SIZE);
	w.blocks++;
	memcpy(f->id, &w.blocks, sizeof w.blocks);
	engine_stored(w.engine, f, 0);
	world_collect();
}

struct flush *
world_take_store(void)
{
	struct flush *f = w.stores[0];

	memmove(w.stores, w.stores + 1, --w.store_count * sizeof w.stores[0]);
	return f;
}

bool
world_submit(struct op *op)
{
	bool done = engine_submit(w.engine, op);

	world_collect();
	return done;
}

void
world_replied(struct op *op)
{
	engine_replied(w.engine, op);
	world_collect();
}

void
world_sync(void)
{
	struct op op = { .type = OP_SYNC };
	unsigned before = w.reply_count;
	bool done = world_submit(&op);

	for (unsigned i = 0; i < 50 && !done; i++) {
		while (w.store_count > 0)
			world_stored(world_take_store());
		while (w.commit_count > 0)
			world_answer(STATUS_OK);
		done = w.reply_count > before;
		if (!done)
			world_pass(100);
	}
	world_replied(&op);
}

void
world_attach(bool fresh, uint64_t sequence, bool rejected)
{
	static uint64_t first = 100;
	struct msg_attached a = { .session = 1, .boot = 1, .term_ms = TERM_MS, .first_oid = w.attached_oid = first += 70000,
	    .oid_count = 60000, .sessions = 1, .credit = w.credit, .sequence = sequence, .rejected = rejected, .version = w.version };

	engine_attached(w.engine, &a, fresh);
	world_collect();
}

void
world_setup_unattached(const struct engine_config *config)
{
	w.now_ms = 100000;
	w.credit = CREDIT_MAX;
	w.store_count = w.commit_count = w.reply_count = w.pins = 0;
	w.no_sweep = false;
	w.heard = NULL;
	engine_new(&w.engine, config != NULL ? config : &(struct engine_config){ 0 }, w.keys);
	engine_clock(w.engine, w.now_ms, (struct timespec){ 0 });
	memset(w.sent, 0, sizeof w.sent);
	world_forget();
}

static void
setup_bare(const struct engine_config *config)
{
	world_setup_unattached(config);
	world_attach(true, 0, false);
	memset(w.sent, 0, sizeof w.sent);
	world_forget();
}

void
world_setup_bare(void)
{
	setup_bare(NULL);
}

void
world_setup(void)
{
	world_setup_as(NULL);
}

void
world_setup_as(const struct engine_config *config)
{
	setup_bare(config);
	engine_format(w.engine, 0, 0, 0755);
	world_sync();
	memset(w.sent, 0, sizeof w.sent);
	world_forget();
}

void
world_teardown(void)
{
	while (w.commit_count > 0)
		commit_put(w.commits[--w.commit_count]);
	engine_free(w.engine);
}

uint64_t
world_create(const char *name, uint64_t *ret_handle)
{
	struct op op = { .type = OP_CREATE, .ino = OID_ROOT, .name = { (const uint8_t *)name, strlen(name) },
	    .attr.mode = S_IFREG | 0644, .flags = O_RDWR };
	uint64_t ino = world_submit(&op) && op.error == 0 ? op.child : 0;

	*ret_handle = op.handle;
	world_replied(&op);
	return ino;
}

void
world_write(uint64_t ino, uint64_t handle, uint64_t offset, size_t len)
{
	struct op op = { .type = OP_WRITE, .ino = ino, .handle = handle, .offset = offset, .data = { bytes, len } };

	world_submit(&op);
	world_replied(&op);
}

/* The size that a commit states for an object; UINT64_MAX when it says nothing of it. */
uint64_t
world_committed_size(const struct commit *c, uint64_t oid)
{
	struct attr attr;

	for (uint32_t i = 0; i < c->changes_count; i++)
		if (c->changes[i].oid == oid && c->changes[i].kind == KIND_ATTR &&
		    attr_decode(&attr, c->changes[i].value) == 0)
			return attr.size;
	return UINT64_MAX;
}

/* The flush of so many bytes, out of those that wait. */
struct flush *
world_take_store_of(size_t len)
{
	for (unsigned i = 0; i < w.store_count; i++)
		if (w.stores[i]->len == len) {
			struct flush *f = w.stores[i];

			memmove(w.stores + i, w.stores + i + 1, (--w.store_count - i) * sizeof w.stores[0]);
			return f;
		}
	ok(false, "%zu bytes are on their way", len);
	exit(tap_done());
}

/* Answers commits until op is replied to, or nothing happens any more; the last size stated for an object. */
uint64_t
world_answer_until(unsigned replies, uint64_t oid)
{
	uint64_t size = UINT64_MAX;

	for (unsigned i = 0; i < 50 && w.reply_count < replies; i++) {
		while (w.commit_count > 0) {
			uint64_t now = world_committed_size(w.commits[0], oid);

			size = now == UINT64_MAX ? size : now;
			world_answer(STATUS_OK);
		}
		world_pass(100);
	}
	return size;
}

/* ---- leases ---- */

struct msg_answer
world_object(uint64_t oid, uint8_t mode, uint64_t grant, uint64_t version, const struct attr *attr)
{
	static struct { struct msg_record record; uint8_t value[512]; } kept[8];
	static unsigned next;
	unsigned i = next++ % 8;

	kept[i].record = (struct msg_record){ .kind = KIND_ATTR, .version = version,
	    .value = { kept[i].value, (size_t)attr_encode(attr, kept[i].value, sizeof kept[i].value) } };
	return (struct msg_answer){ .oid = oid, .mode = mode, .grant = grant, .version = version,
	    .records = { &kept[i].record, 1 } };
}

void
world_grant(uint64_t request, uint64_t ticket, struct msg_answer *answers, uint32_t count)
{
	struct message m = { .type = MSG_granted, .id = request, .granted = { .ticket = ticket, .answers = { answers, count } } };

	engine_received(w.engine, &m);
	world_collect();
}

void
world_recall(uint64_t oid, uint64_t grant, uint8_t mode, uint64_t ticket)
{
	struct message m = { .type = MSG_recall, .recall = { .oid = oid, .grant = grant, .mode = mode, .ticket = ticket } };

	engine_received(w.engine, &m);
	world_collect();
}

/* ---- for short ---- */

struct bytes
world_text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

bool
world_sane(void)
{
	char why[200];

	if (engine_check(w.engine, why, sizeof why))
		return true;
	printf("# %s\n", why);
	return false;
}

bool
world_wanted(uint64_t oid, uint8_t mode)
{
	for (uint32_t i = 0; i < w.read.wants.count; i++)
		if (w.wants[i].oid == oid && w.wants[i].mode == mode)
			return true;
	return false;
}

/* Answers the last READ with one object alone. */
void
world_grant_one(uint64_t ticket, struct msg_answer answer)
{
	world_grant(w.last_read, ticket, &answer, 1);
}

/* FAR, a file of 100 bytes, is leased. */
void
world_lease_far(uint8_t mode, uint64_t grant)
{
	struct op op = { .type = mode == MODE_SHARED ? OP_GETATTR : OP_SETATTR, .ino = FAR };

	world_submit(&op);
	world_grant_one(1, world_object(FAR, mode, grant, 1, &world_file));
	world_replied(&op);
	world_forget();
}

bool
world_serve(struct op *op, const struct attr *attr, const struct msg_record *records, uint32_t count)
{
	static struct msg_record told[WANTS_MAX][SERVED_MAX];
	struct msg_answer answers[WANTS_MAX];
	unsigned before = w.reply_count;
	bool done = world_submit(op);

	for (unsigned n = 0; n < 10 && !done && w.last_read != 0; n++) {
		for (uint32_t i = 0; i < w.read.wants.count; i++) {
			const struct msg_want *want = &w.wants[i];
			struct msg_answer a = world_object(want->oid, MODE_EXCLUSIVE, 7, 1, attr);
			uint32_t k = 0;

			if (want->kind <= KIND_ATTR && want->limit > 0)
				told[i][k++] = a.records.at[0];
			for (uint32_t r = 0; r < count && want->limit > 0; r++)
				if (records[r].kind >= want->kind && records[r].kind <= want->last_kind &&
				    (want->from.len == 0 || (memcmp(records[r].subkey.data, want->from.data, want->from.len) >= 0 &&
				    memcmp(records[r].subkey.data, want->to.data, want->to.len) <= 0)))
					told[i][k++] = records[r];
			answers[i] = a;
			answers[i].records.at = told[i];
			answers[i].records.count = k;
		}
		world_grant(w.last_read, 1, answers, w.read.wants.count);
		done = w.reply_count > before;
	}
	return done;
}

/* A file that is made, committed and then only SHARED. */
uint64_t
world_make_shared(const char *name, uint64_t *ret_handle)
{
	uint64_t ino = world_create(name, ret_handle);

	world_sync();
	world_recall(ino, 0, MODE_SHARED, 1);
	world_forget();
	return ino;
}

void
world_answer_all(void)
{
	while (w.store_count > 0)
		world_stored(world_take_store());
	while (w.commit_count > 0)
		world_answer(STATUS_OK);
}

int
world_at_once(struct op *op)
{
	if (!world_submit(op))
		return 1;
	world_replied(op);
	return op->error;
}

int
world_make_link(struct op *op, unsigned number)
{
	static char name[16], target[1000];

	memset(target, 'x', sizeof target);
	snprintf(name, sizeof name, "%u", number);
	*op = (struct op){ .type = OP_SYMLINK, .ino = OID_ROOT, .name = world_text(name),
	    .name2 = { (const uint8_t *)target, sizeof target } };
	return world_at_once(op);
}

void
world_hear(struct message m)
{
	engine_received(w.engine, &m);
	world_collect();
}

void
world_lose(uint64_t oid)
{
	struct msg_lease lost = { .oid = oid };

	engine_detached(w.engine);
	world_attach(false, 1000000, false);
	world_hear((struct message){ .type = MSG_reclaimed, .reclaimed.lost = { &lost, 1 } });
}

int
world_run(enum op_type type, uint64_t ino, uint64_t handle)
{
	struct op op = { .type = type, .ino = ino, .handle = handle };
	unsigned before = w.reply_count;
	bool done = world_submit(&op);

	for (unsigned i = 0; i < 50 && !done && w.reply_count == before; i++) {
		world_answer_all();
		world_pass(100);
	}
	world_replied(&op);
	return op.error;
}

/* ---- what it did ---- */

bool
world_commit_has(const struct commit *c, uint64_t oid, uint8_t kind)
{
	for (uint32_t i = 0; i < c->changes_count; i++)
		if (c->changes[i].oid == oid && c->changes[i].kind == kind)
			return true;
	return false;
}

bool
world_commit_names(const struct commit *c, const uint8_t id[ID_SIZE])
{
	for (uint32_t i = 0; i < c->changes_count; i++)
		for (uint32_t k = 0; k < c->changes[i].brefs.count; k++)
			if (memcmp(c->changes[i].brefs.at[k], id, ID_SIZE) == 0)
				return true;
	return false;
}

int
world_find(enum action_kind kind, uint16_t type, uint64_t oid)
{
	for (unsigned i = 0; i < w.said_count; i++)
		if (w.said[i].kind == kind && w.said[i].type == type && (oid == 0 || w.said[i].oid == oid))
			return (int)i;
	return -1;
}

bool
world_swept(uint64_t oid, unsigned what)
{
	for (unsigned i = 0; i < w.said_count; i++)
		if (w.said[i].kind == ACTION_INVALIDATE && w.said[i].oid == oid && w.said[i].mode == what)
			return true;
	return false;
}

void
world_invalidated(uint64_t oid, bool pages, int error)
{
	engine_invalidated(w.engine, oid, pages, error);
	world_collect();
}

void
world_forget(void)
{
	w.said_count = 0;
}

void
world_begin(void)
{
	static const uint8_t key[KEY_SIZE] = { 1 }, volume[VOLUME_ID_SIZE] = { 2 };

	w.keys = volume_keys_new(key, volume);
}
