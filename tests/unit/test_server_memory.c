/*
 * test_server_memory.c - every allocation of the engine's fails once: a
 * request is answered all the same or its connection closed, and the
 * invariants hold.
 *
 * Linked with --wrap for the allocator and the engine's doors; the store's
 * own allocations, and the test's, do not fail.
 */
#include "tests/unit/server_world.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static struct {
	bool		armed;		/* inside the engine, outside the store */
	unsigned	count, fail_at;	/* allocations since the start; the one that fails */
} allocator;

static bool
fails(void)
{
	return allocator.armed && ++allocator.count == allocator.fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

/* ---- doors ---- */

void __real_server_received(struct server *s, uint64_t conn, const struct message *m);
void __wrap_server_received(struct server *s, uint64_t conn, const struct message *m);
void __real_server_tick(struct server *s);
void __wrap_server_tick(struct server *s);

static bool arming;		/* the events of the part under test */

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

static int
guarded_get(struct store *s, struct bytes key, struct bytes *value)
{
	bool armed = allocator.armed;
	int r;

	allocator.armed = false;
	r = real->get(s, key, value);
	allocator.armed = armed;
	return r;
}

static int
guarded_apply(struct store *s, const struct batch *b, unsigned flags, uint64_t *pos)
{
	bool armed = allocator.armed;
	int r;

	allocator.armed = false;
	r = real->apply(s, b, flags, pos);
	allocator.armed = armed;
	return r;
}

static int
guarded_reserve(struct store *s, const uint8_t id[ID_SIZE], uint32_t len, unsigned flags, struct block_ticket **ticket)
{
	bool armed = allocator.armed;
	int r;

	allocator.armed = false;
	r = real->block_reserve(s, id, len, flags, ticket);
	allocator.armed = armed;
	return r;
}

static int
guarded_find(struct store *s, const uint8_t id[ID_SIZE], struct block_ref **ref)
{
	bool armed = allocator.armed;
	int r;

	allocator.armed = false;
	r = real->block_find(s, id, ref);
	allocator.armed = armed;
	return r;
}

/* ---- the script ---- */

/* True when the request was answered or its connection is closed. */
static bool
say(struct world *w, uint64_t conn, struct message m)
{
	uint64_t id = world_send(w, conn, &m);
	bool one_way = m.type == MSG_release || m.type == MSG_pin || m.type == MSG_read;

	for (const struct mail *mail = w->mail; mail != NULL; mail = mail->next)
		if (mail->action->conn == conn && (mail->action->message.id == id || mail->action->message.type == 0 ||
		    (mail->action->kind == SERVER_READ_BLOCK && mail->action->request == id)))
			return true;
	return one_way;
}

static bool
script(struct world *w, struct client *a, struct client *b)
{
	uint64_t f = a->at.first_oid, g = f + 1;
	struct msg_want wants[] = { { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .limit = 100 },
	    { .oid = f, .mode = MODE_EXCLUSIVE } };
	struct msg_change changes[] = { change_attr(g), change_entry(OID_ROOT, 2, g), change_region(f, 0, 7),
	    change_cut(f, KIND_XATTR), change_attr(UINT64_C(1) << 40) };
	struct msg_base bases[] = { { .oid = OID_ROOT }, { .oid = f } };
	struct msg_lease leases[] = { { .oid = OID_ROOT, .mode = MODE_NONE, .grant = 1 }, { .oid = f } };
	struct msg_pinning pins[] = { { .oid = f, .on = 1 } };
	struct message m = { .type = MSG_put, .payload = { block_name(7), ID_SIZE } };
	bool fine = true;

	memset(m.put.id, 7, ID_SIZE);
	fine &= say(w, a->bulk, m);
	fine &= say(w, a->bulk, (struct message){ .type = MSG_have, .have = { .ids = {
	    (const uint8_t (*)[ID_SIZE])block_name(7), 1 } } });
	m = (struct message){ .type = MSG_get, .get = { .count = 1 } };
	memset(m.get.id, 7, ID_SIZE);
	fine &= say(w, a->bulk, m);
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 1,
	    .bases = { bases, 2 }, .changes = { changes, 4 } } });
	fine &= say(w, b->control, (struct message){ .type = MSG_read, .read = { .depth = 2, .kinds = 0xffff, .size = 99999, .wants = { wants, 2 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_pin, .pin = { .pins = { pins, 1 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_release, .release = { .leases = { leases, 2 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_commit, .commit = { .sequence = a->sequence + 2,
	    .changes = { changes + 4, 1 } } });
	fine &= say(w, a->control, (struct message){ .type = MSG_reset });
	fine &= say(w, a->control, (struct message){ .type = MSG_alloc });
	fine &= say(w, a->control, (struct message){ .type = MSG_statfs });
	fine &= say(w, b->control, (struct message){ .type = MSG_keepalive });
	fine &= say(w, world_connect(w, 3), (struct message){ .type = MSG_volume_list });
	m = (struct message){ .type = MSG_attach, .attach = { .session = b->at.session, .generation = 2 } };
	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	b->control = world_connect(w, 2);
	world_proof(b->control, b->at.secret, m.attach.proof);
	fine &= say(w, b->control, m);
	leases[0].mode = MODE_SHARED;
	fine &= say(w, b->control, (struct message){ .type = MSG_reclaim, .reclaim = { .last = 1, .leases = { leases, 1 } } });
	world_pass(w, 300);
	fine &= say(w, a->control, (struct message){ .type = MSG_bye });
	world_pass(w, 300);
	return fine;
}

/* False when allocation `n` was never reached. */
static bool
run(unsigned n, bool *ret_fine)
{
	struct store_ops ops;
	struct world w;
	struct client a, b;
	struct msg_change changes[] = { change_attr(OID_ROOT), change_attr(0), change_entry(OID_ROOT, 1, 0) };
	bool reached;

	world_init(&w, NULL);
	real = w.store->ops;
	ops = *real;
	ops.get = guarded_get;
	ops.apply = guarded_apply;
	ops.block_reserve = guarded_reserve;
	ops.block_find = guarded_find;
	w.store->ops = &ops;
	a = client_new(&w, 1);
	b = client_new(&w, 2);
	client_lease(&a, OID_ROOT, MODE_EXCLUSIVE);
	changes[1].oid = changes[2].orefs.at[0] = a.at.first_oid;
	client_commit(&a, NULL, 0, changes, 3);
	allocator.count = 0;
	allocator.fail_at = n;
	arming = true;
	*ret_fine = script(&w, &a, &b);
	arming = false;
	reached = allocator.count >= n;
	*ret_fine &= world_check(&w);
	w.store->ops = real;
	world_done(&w);
	return reached;
}

int
main(void)
{
	unsigned n = 0;
	bool fine = true;

	while (fine && run(++n, &fine))
		;
	ok(fine, "each of %u allocations may fail", n);
	ok(n > 40, "and these are all");
	return tap_done();
}
