/*
 * test_server_memory.c - every allocation of the engine's fails once, and every
 * call of its store: a request is answered all the same or its connection
 * closed, and the invariants hold.
 *
 * Linked with --wrap for the allocator and the engine's doors; the store's
 * own allocations, and the test's, do not fail.
 */
#include "tests/unit/server_world.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

enum {
	LARGE	= 100,
	MANY	= 20,		/* more children than an answer has room for at first */
};

static struct {
	bool		armed;		/* inside the engine, outside the store */
	unsigned	count, fail_at;	/* allocations since the start; the first that fails */
	unsigned	spell;		/* so many in a row fail */
} allocator;

static bool
fails(void)
{
	return allocator.armed && ++allocator.count >= allocator.fail_at && allocator.count - allocator.fail_at < allocator.spell;
}

#include "tests/unit/wrap_alloc.h"

/* ---- doors ---- */

void __real_server_received(struct server *s, uint64_t conn, const struct message *m);
void __wrap_server_received(struct server *s, uint64_t conn, const struct message *m);
void __real_server_tick(struct server *s);
void __wrap_server_tick(struct server *s);

bool __real_server_connected(struct server *s, uint64_t conn, const uint8_t device[KEY_SIZE], const uint8_t hash[NOISE_HASH]);
bool __wrap_server_connected(struct server *s, uint64_t conn, const uint8_t device[KEY_SIZE], const uint8_t hash[NOISE_HASH]);

static bool arming;		/* the events of the part under test */

bool
__wrap_server_connected(struct server *s, uint64_t conn, const uint8_t device[KEY_SIZE], const uint8_t hash[NOISE_HASH])
{
	bool taken;

	allocator.armed = arming;
	taken = __real_server_connected(s, conn, device, hash);
	allocator.armed = false;
	return taken;
}

void
__wrap_server_received(struct server *s, uint64_t conn, const struct message *m)
{
	allocator.armed = arming;
	__real_server_received(s, conn, m);
	allocator.armed = false;
}

void
__wrap_server_tick(struct server *s)
{
	allocator.armed = arming;
	__real_server_tick(s);
	allocator.armed = false;
}

static const struct store_ops *real;

static struct {
	int		error;		/* what the call returns that fails; 0: none does */
	unsigned	count, fail_at;
} disk;

/* The error of this call, inside the engine; its own allocations do not fail. */
static int
disk_fails(void)
{
	return allocator.armed && disk.error != 0 && ++disk.count == disk.fail_at ? disk.error : 0;
}

#define GUARDED(call) do { \
	bool armed = allocator.armed; \
	int r = disk_fails(); \
	allocator.armed = false; \
	if (r == 0) \
		r = (call); \
	allocator.armed = armed; \
	return r; \
} while (0)

static int
guarded_get(struct store *s, struct bytes key, struct bytes *value)
{
	GUARDED(real->get(s, key, value));
}

/* Its visitor is the engine's again. */
struct visit { store_visit *visit; void *arg; };

static int
visit_armed(void *arg, struct bytes key, struct bytes value)
{
	struct visit *v = arg;
	int r;

	allocator.armed = arming;
	r = v->visit(v->arg, key, value);
	allocator.armed = false;
	return r;
}

static int
guarded_scan(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	struct visit v = { visit, arg };

	if (!allocator.armed)
		return real->scan(s, from, to, visit, arg);
	GUARDED(real->scan(s, from, to, visit_armed, &v));
}

static int
guarded_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *pos)
{
	GUARDED(real->apply(s, b, flags, pos));
}

static int
guarded_exists(struct store *s, const uint8_t id[ID_SIZE])
{
	GUARDED(real->block_exists(s, id));
}

static int
guarded_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags, struct block_ticket **ticket)
{
	GUARDED(real->block_reserve(s, id, len, flags, ticket));
}

static int
guarded_find(struct store *s, const uint8_t id[ID_SIZE], struct block_ref **ref)
{
	GUARDED(real->block_find(s, id, ref));
}

/* ---- the script ---- */

/* True when the request was answered or its connection is closed. */
static bool
say(struct world *w, uint64_t conn, struct message m)
{
	uint64_t id = world_send(w, conn, &m);
	bool sane = world_check(w), one_way = m.type == MSG_release || m.type == MSG_pin || m.type == MSG_read;

	for (const struct mail *mail = w->mail; mail != NULL; mail = mail->next)
		if (mail->action->conn == conn && (mail->action->message.id == id || mail->action->message.type == 0 ||
		    (mail->action->kind == SERVER_READ_BLOCK && mail->action->request == id)))
			return sane;
	return (one_way || w->refused >> conn % 64 & 1) && sane;
}

static bool
accounts(struct world *w)
{
	static const uint8_t token[SECRET_SIZE] = { 9 }, key[KEY_SIZE] = { 77 };
	uint64_t conn = world_connect(w, 3), stranger = world_connect(w, 33), recovery = world_connect(w, 99);
	struct message m = { .type = MSG_volume_invite, .volume_invite = { .wrap = { key, 9 }, .valid_s = 100 } };
	bool fine = say(w, conn, (struct message){ .type = MSG_volume_list });

	memcpy(m.volume_invite.volume, world_volume, VOLUME_ID_SIZE);
	crypto_generichash(m.volume_invite.token_hash, KEY_SIZE, token, sizeof token, NULL, 0);
	fine &= say(w, conn, m);
	m = (struct message){ .type = MSG_redeem };
	memcpy(m.redeem.token, token, sizeof token);
	fine &= say(w, stranger, m);
	m = (struct message){ .type = MSG_device_add };
	memcpy(m.device_add.volume, world_volume, VOLUME_ID_SIZE);
	memcpy(m.device_add.device, key, KEY_SIZE);
	fine &= say(w, conn, m);
	m = (struct message){ .type = MSG_volume_create, .volume_create = { .name = { (const uint8_t *)"more", 4 },
	    .volume = { 5 }, .recovery = { 98 }, .wrap = { key, 9 } } };
	fine &= say(w, world_connect(w, 1), m);
	fine &= say(w, recovery, (struct message){ .type = MSG_wrap_get });
	return fine;
}

static uint64_t root_grant, f_grant;	/* a's */

/* Two mounts put one block at a time: the second waits for the first. */
static bool
same_block(struct world *w, struct client *a, struct client *b)
{
	struct message m = { .type = MSG_put, .payload = { block_name(8), ID_SIZE } };
	bool fine;

	memset(m.put.id, 8, ID_SIZE);
	w->no_write = true;
	fine = world_send(w, a->bulk, &m) > 0 && world_check(w);
	m.id = 0;
	fine &= world_send(w, b->bulk, &m) > 0 && world_check(w);
	w->no_write = false;
	return fine;
}

/* One that takes memory in several pieces. */
static bool
large_commit(struct world *w, struct client *a)
{
	struct msg_change changes[2 * LARGE], cut = change_cut(OID_ROOT, KIND_ENTRY);
	static const uint8_t value[300];
	struct msg_small_block blocks[LARGE];
	struct msg_base bases[] = { { .oid = OID_ROOT, .version = a->sequence }, { .oid = a->at.first_oid, .version = a->sequence } };
	struct message m = { .type = MSG_commit, .commit = { .sequence = a->sequence + 1, .bases = { bases, 2 },
	    .changes = { changes, 2 * LARGE }, .blocks = { blocks, LARGE } } };
	bool fine;

	for (unsigned i = 0; i < LARGE; i++) {
		changes[2 * i] = change_region(a->at.first_oid, i, i + 10);
		changes[2 * i].value = (struct bytes){ value, sizeof value };
		changes[2 * i + 1] = change_entry(OID_ROOT, i + 10, a->at.first_oid);
		blocks[i].data = (struct bytes){ block_name(i + 10), 20 };
		memset(blocks[i].id, i + 10, ID_SIZE);
	}
	fine = say(w, a->control, m);
	cut.subkey = (struct bytes){ block_name(10), TOKEN_SIZE };
	bases[0].version++;
	m = (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 2, .bases = { bases, 1 },
	    .changes = { &cut, 1 } } };
	return fine & say(w, a->control, m);
}

static bool
script(struct world *w, struct client *a, struct client *b)
{
	uint64_t f = a->at.first_oid, g = f + 1;
	struct msg_want wants[] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .limit = 100 },
	    { .oid = f + 50, .mode = MODE_SHARED }, { .oid = f + 51, .mode = MODE_SHARED }, { .oid = f, .mode = MODE_EXCLUSIVE,
	    .last_kind = KIND_MAX, .to = { block_name(255), SUBKEY_MAX }, .limit = 1000 } };
	struct msg_change changes[] = { change_attr(g), change_entry(OID_ROOT, 2, g), change_region(f, 0, 7),
	    change_cut(f, KIND_XATTR), change_attr(UINT64_C(1) << 40) };
	struct msg_base bases[] = { { .oid = OID_ROOT, .version = a->sequence + 2 }, { .oid = f, .version = a->sequence + 1 } };
	struct msg_base named = { .oid = f, .version = a->sequence + 3 }, later = { .oid = f, .version = a->sequence + 4 };
	struct msg_change unlink = change_unlink(f, 5);
	struct msg_change missing = change_region(f, 1, 200);
	struct msg_lease leases[] = { { .oid = OID_ROOT, .mode = MODE_NONE, .grant = root_grant },
	    { .oid = f, .grant = f_grant } };
	struct msg_pinning pins[] = { { .oid = f, .on = 1 }, { .oid = g, .on = 1 } };
	struct message m = { .type = MSG_put, .payload = { block_name(7), ID_SIZE } };
	bool fine = true;

	memset(m.put.id, 7, ID_SIZE);
	fine &= say(w, a->bulk, m);
	fine &= large_commit(w, a);
	fine &= say(w, a->bulk, (struct message){ .type = MSG_have, .have = { .ids = {
	    (const uint8_t (*)[ID_SIZE])block_name(7), 1 } } });
	m = (struct message){ .type = MSG_get, .get = { .count = 1 } };
	memset(m.get.id, 7, ID_SIZE);
	fine &= say(w, a->bulk, m);
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 3,
	    .bases = { bases, 2 }, .changes = { changes, 4 } } });
	/* The last name of a file goes, and the file with the next tick. */
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 4,
	    .bases = { &named, 1 }, .changes = { &unlink, 1 } } });
	/* Of a block that is not there: it is not consumed. */
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 5,
	    .bases = { &later, 1 }, .changes = { &missing, 1 } } });
	fine &= say(w, b->control, (struct message){ .type = MSG_read, .read = { .depth = 2, .kinds = 0xffff, .budget = 1000,
	    .size = 99999, .wants = { wants, 3 } } });
	fine &= say(w, b->control, (struct message){ .type = MSG_read, .read = { .depth = 2, .kinds = 0xffff, .size = 99999,
	    .wants = { wants + 3, 1 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_pin, .pin = { .pins = { pins, 2 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_release, .release = { .leases = { leases, 2 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 5,
	    .changes = { changes + 4, 1 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_reset });
	fine &= say(w, a->control, (struct message){ .type = MSG_alloc });
	fine &= say(w, a->control, (struct message){ .type = MSG_statfs });
	fine &= say(w, b->control, (struct message){ .type = MSG_keepalive });
	fine &= accounts(w);
	fine &= same_block(w, a, b);
	m = (struct message){ .type = MSG_attach, .attach = { .generation = 1 } };
	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	fine &= say(w, world_connect(w, 4), m);
	m = (struct message){ .type = MSG_attach, .attach = { .session = b->at.session, .generation = 2 } };
	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	b->control = world_connect(w, 2);
	world_proof(b->control, b->at.secret, m.attach.proof);
	fine &= say(w, b->control, m);
	/* One that was dropped with the connection, unchanged since. */
	leases[0] = (struct msg_lease){ .oid = OID_ROOT + 1, .mode = MODE_SHARED };
	fine &= say(w, b->control, (struct message){ .type = MSG_reclaim, .reclaim = { .last = 1, .leases = { leases, 1 } } });
	world_pass(w, 300);
	fine &= say(w, a->control, (struct message){ .type = MSG_bye });
	world_pass(w, 1000);
	return fine;
}

/* A tree with a block, a file that was unlinked while it is open, and one that is about to be freed. */
static void
furnish(struct world *w, struct client *a)
{
	struct msg_change changes[3];
	struct msg_base bases[2];

	*a = client_new(w, 1);
	client_make_tree(a, 3);
	client_pin(a, a->at.first_oid + 1, true);
	client_put(a, 5);
	changes[0] = change_region(a->at.first_oid, 0, 5);
	changes[1] = change_unlink(OID_ROOT, 2);
	changes[2] = change_unlink(OID_ROOT, 3);
	bases[0] = (struct msg_base){ .oid = a->at.first_oid, .version = 1 };
	bases[1] = (struct msg_base){ .oid = OID_ROOT, .version = 1 };
	if (client_commit(a, bases, 2, changes, 3)->status != STATUS_OK)
		abort();
	client_put(a, 6);
	world_sync(w);
}

static void
guard(struct world *w, struct store_ops *ops)
{
	real = w->store->ops;
	*ops = *real;
	ops->get = guarded_get;
	ops->scan = guarded_scan;
	ops->apply = guarded_apply;
	ops->block_exists = guarded_exists;
	ops->block_reserve = guarded_reserve;
	ops->block_find = guarded_find;
	w->store->ops = ops;
}

static void
begin(unsigned n, int error)
{
	allocator.count = disk.count = 0;
	allocator.fail_at = error == 0 ? n : 0;
	disk.fail_at = n;
	disk.error = error;
	arming = true;
}

/* False when allocation, or call of the store, `n` was never reached. */
static bool
run(unsigned n, int error, bool *ret_fine)
{
	struct store_ops ops;
	struct world w;
	struct client a, b;
	struct msg_change changes[] = { change_attr(OID_ROOT), change_attr(0), change_entry(OID_ROOT, 1, 0), change_attr(0),
	    change_entry(0, 5, 0) };
	unsigned *count = error == 0 ? &allocator.count : &disk.count;
	bool reached;

	/* Long enough for what the script puts, and not for what it leaves. */
	world_init(&w, &(struct server_config){ .idle_ms = 200, .fresh_ms = 400 });
	guard(&w, &ops);
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	root_grant = client_lease(&a, OID_ROOT, MODE_EXCLUSIVE)->grant;
	changes[1].oid = changes[2].orefs.at[0] = changes[4].oid = a.at.first_oid;
	changes[3].oid = changes[4].orefs.at[0] = a.at.first_oid + 2;
	client_commit(&a, NULL, 0, changes, 5);
	f_grant = client_lease(&a, a.at.first_oid, MODE_EXCLUSIVE)->grant;
	begin(n, error);
	*ret_fine = script(&w, &a, &b);
	arming = false;
	reached = *count >= n;
	*ret_fine &= world_check(&w);
	w.store->ops = real;
	world_done(&w);
	return reached;
}

/* A directory of many, each a directory of one, which nobody holds. */
static void
make_many(struct world *w)
{
	struct client a = client_new(w, 1);
	struct msg_change changes[1 + 3 * MANY] = { change_attr(OID_ROOT) }, *next = changes + 1;
	struct message bye = { .type = MSG_bye };
	uint64_t oid = a.at.first_oid;
	const struct msg_committed *done;

	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	for (uint8_t i = 1; i <= MANY; i++, oid++) {
		*next++ = change_attr(oid);
		*next++ = change_entry(OID_ROOT, i, oid);
		*next++ = change_entry(oid, 1, a.at.first_oid);
	}
	done = client_commit(&a, NULL, 0, changes, sizeof changes / sizeof *changes);
	if (done == NULL || done->status != STATUS_OK)
		abort();
	world_send(w, a.control, &bye);
}

/* A READ of many children: some may not come, and what is lacking is not taken for damage. */
static bool
below(unsigned n, int error, bool *ret_fine)
{
	struct msg_want root = { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .limit = 1000 };
	struct store_ops ops;
	struct world w;
	struct client a;

	world_init(&w, NULL);
	make_many(&w);
	a = client_new(&w, 1);
	guard(&w, &ops);
	begin(n, error);
	*ret_fine = say(&w, a.control, (struct message){ .type = MSG_read, .read = { .depth = 3, .kinds = 0xffff, .size = 99999,
	    .wants = { &root, 1 } } });
	arming = false;
	*ret_fine &= world_check(&w) && strstr(w.log, "event=damage") == NULL;
	w.store->ops = real;
	world_done(&w);
	return allocator.count >= n;
}

/* Starting over what is there. */
static bool
start(unsigned n, int error, bool *ret_fine)
{
	struct store_ops ops;
	struct world w;
	struct client a;
	struct server *s = NULL;
	unsigned *count = error == 0 ? &allocator.count : &disk.count;
	int r;

	world_init(&w, NULL);
	furnish(&w, &a);
	real = w.store->ops;
	ops = *real;
	ops.get = guarded_get;
	ops.scan = guarded_scan;
	w.store->ops = &ops;
	begin(n, error);
	allocator.armed = true;
	r = server_new(&s, &w.config, w.store);
	arming = allocator.armed = false;
	/* A table that cannot grow is only slower. */
	*ret_fine = (r == 0) == (s != NULL) && (r == 0 ? error == 0 || *count < n : *count >= n && r == (error == 0 ? -ENOMEM : error));
	w.store->ops = real;
	server_free(s);
	world_done(&w);
	return *count >= n;
}

static void
count_damage(void *context, const char *text)
{
	unsigned *count = context;

	(void)text;
	++*count;
}

/* `nuaged check` says which table it could not read, and nothing else. */
static bool
examine(unsigned n, int error, bool *ret_fine)
{
	struct store_ops ops;
	struct world w;
	struct client a;
	unsigned damages = 0;
	uint64_t told;

	(void)error;
	world_init(&w, NULL);
	furnish(&w, &a);
	real = w.store->ops;
	ops = *real;
	ops.get = guarded_get;
	ops.scan = guarded_scan;
	ops.block_exists = guarded_exists;
	w.store->ops = &ops;
	allocator.count = 0;
	allocator.fail_at = n;
	disk.error = 0;
	arming = allocator.armed = true;
	told = server_check_store(w.store, count_damage, &damages);
	arming = allocator.armed = false;
	*ret_fine = told == damages && (damages > 0) == (allocator.count >= n);
	w.store->ops = real;
	world_done(&w);
	return allocator.count >= n;
}

static void
every(bool (*attempt)(unsigned n, int error, bool *ret_fine), int error, unsigned spell, const char *what, unsigned least)
{
	unsigned n = 0, bad = 0;
	bool fine, more;

	allocator.spell = spell;
	do {
		more = attempt(++n, error, &fine);
		if (!fine)
			printf("# %s %u\n", what, n);
		bad += !fine;
	} while (more);
	ok(bad == 0 && n > least, "%s: each of %u may fail, and %u in a row", what, n - 1, spell);
}

int
main(void)
{
	every(run, 0, 1, "allocations", 40);
	every(run, 0, 8, "allocations", 40);
	every(run, 0, 40, "allocations", 40);
	every(run, -EIO, 1, "calls of a store that is damaged", 40);
	every(run, -EAGAIN, 1, "calls of a store that will have space", 40);
	every(run, -ENOSPC, 1, "calls of a store that is full", 40);
	every(below, 0, 1, "allocations of a long answer", 100);
	every(below, 0, 2, "allocations of a long answer", 100);
	every(start, 0, 1, "allocations at the start", 5);
	every(start, -EBADMSG, 1, "calls of a damaged store at the start", 5);
	every(examine, 0, 1, "allocations of a check", 5);
	return tap_done();
}
