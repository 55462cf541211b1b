/* server_world.c - see server_world.h. */
#include "tests/unit/server_world.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/memstore.h"

const uint8_t world_volume[VOLUME_ID_SIZE] = "volume-of-tests";

enum { DEVICES = 9, BLOCK_LEN = 100 };

static void
random_bytes(void *context, void *to, size_t len)
{
	struct world *w = context;
	uint8_t *p = to;

	while (len-- > 0) {
		w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
		*p++ = w->random >> 56;
	}
}

static void
start(struct world *w)
{
	int r;

	w->events++;
	w->config.boot = ++w->boot;
	w->config.random = random_bytes;
	w->config.context = w;
	r = server_new(&w->server, &w->config, w->store);
	if (r < 0) {
		fprintf(stderr, "server_new: %s\n", strerror(-r));
		abort();
	}
	server_clock(w->server, w->now_ms);
}

/* ---- actions ---- */

static void
keep_mail(struct world *w, struct server_action *a)
{
	struct mail *m = calloc(1, sizeof *m), **last = &w->mail;

	m->action = a;
	while (*last != NULL)
		last = &(*last)->next;
	*last = m;
}

static void
write_block(struct world *w, struct server_action *a)
{
	int r = store_block_write(a->ticket, a->message.payload.data);

	server_block_written(w->server, a, r);
	server_action_free(a);
}

static void
read_block(struct world *w, struct server_action *a)
{
	uint8_t *data = arena_alloc(&a->arena, a->ref->len);
	int r = store_block_read(a->ref, 0, a->ref->len, data);

	a->message.block.status = r == 0 ? STATUS_OK : STATUS_IO;
	a->message.payload = (struct bytes){ data, a->ref->len };
	store_block_put_ref(a->ref);
	keep_mail(w, a);
}

static void
note_log(struct world *w, struct server_action *a)
{
	size_t had = strlen(w->log), more = strlen(a->text) + 1;

	if (had + more >= sizeof w->log)
		had = 0;
	snprintf(w->log + had, sizeof w->log - had, "%s\n", a->text);
	server_action_free(a);
}

void
world_pump(struct world *w)
{
	struct server_action *a;

	for (;;) {
		while ((a = server_next(w->server)) != NULL)
			switch (a->kind) {
			case SERVER_SEND: keep_mail(w, a); break;
			case SERVER_CLOSE:
				a->message.type = 0;
				keep_mail(w, a);
				break;
			case SERVER_WRITE_BLOCK:
				if (w->no_write) {
					a->next = w->writes;
					w->writes = a;
				} else {
					write_block(w, a);
				}
				break;
			case SERVER_READ_BLOCK: read_block(w, a); break;
			case SERVER_LOG: note_log(w, a); break;
			}
		if (w->no_sync || store_failed(w->store) != NULL || store_synced(w->store) == store_end(w->store))
			return;
		world_sync(w);
	}
}

void
world_sync(struct world *w)
{
	uint64_t pos;

	w->events++;
	if (store_sync(w->store, &pos) == 0)
		server_synced(w->server, pos);
	if (w->no_sync)
		world_pump(w);
}

void
world_pass(struct world *w, uint64_t ms)
{
	uint64_t end = w->now_ms + ms;

	w->events++;
	while (w->now_ms < end) {
		w->now_ms += end - w->now_ms < 100 ? end - w->now_ms : 100;
		server_clock(w->server, w->now_ms);
		if (server_due(w->server) <= w->now_ms)
			server_tick(w->server);
		world_pump(w);
	}
}

bool
world_check(struct world *w)
{
	char why[256];

	if (server_check(w->server, why, sizeof why))
		return true;
	printf("# %s\n", why);
	return false;
}

uint64_t
world_send(struct world *w, uint64_t conn, struct message *m)
{
	size_t size = message_size(m);
	uint8_t *wire = malloc(size);
	struct cursor c = cursor_over(wire, size);
	struct arena arena = { 0 };
	struct message back;

	if (m->id == 0)
		m->id = ++w->next_request;
	message_encode(m, &c);
	if (size == 0 || message_decode(&back, (struct bytes){ wire, size }, &arena) < 0)
		abort();
	back.payload = m->payload;
	w->events++;
	server_received(w->server, conn, &back);
	if (!w->no_pump)
		world_pump(w);
	arena_free(&arena);
	free(wire);
	return m->id;
}

/* Of the handshake that there was not. */
static void
hash_of(uint64_t conn, uint8_t hash[NOISE_HASH])
{
	memset(hash, 0, NOISE_HASH);
	memcpy(hash, &conn, sizeof conn);
}

void
world_proof(uint64_t conn, const uint8_t secret[SECRET_SIZE], uint8_t proof[PROOF_SIZE])
{
	uint8_t hash[NOISE_HASH];

	hash_of(conn, hash);
	noise_proof(secret, hash, proof);
}

uint64_t
world_connect(struct world *w, uint8_t device)
{
	uint8_t key[KEY_SIZE] = { device }, hash[NOISE_HASH];

	w->events++;
	hash_of(++w->next_conn, hash);
	if (!server_connected(w->server, w->next_conn, key, hash))
		w->refused |= UINT64_C(1) << w->next_conn % 64;
	return w->next_conn;
}

void
world_disconnect(struct world *w, uint64_t conn)
{
	w->events++;
	server_disconnected(w->server, conn);
}

/* Mail taken is kept at the end of the list, addressed to nobody. */
const struct message *
world_take(struct world *w, uint64_t conn, uint16_t type)
{
	for (struct mail *m = w->mail; m != NULL; m = m->next)
		if (m->action->conn == conn && m->action->message.type == type) {
			m->action->conn = 0;
			return &m->action->message;
		}
	return NULL;
}

bool
world_closed(struct world *w, uint64_t conn)
{
	return world_take(w, conn, 0) != NULL;
}

void
world_forget(struct world *w)
{
	struct mail *next;

	for (struct mail *m = w->mail; m != NULL; m = next) {
		next = m->next;
		server_action_free(m->action);
		free(m);
	}
	w->mail = NULL;
}

/* ---- life ---- */

static void
enrol(struct world *w, uint8_t device)
{
	uint8_t token[SECRET_SIZE] = { device, 1 }, hash[KEY_SIZE];
	struct message redeem = { .type = MSG_redeem }, add = { .type = MSG_device_add };
	struct message create = { .type = MSG_volume_create, .volume_create = {
	    .name = { (const uint8_t *)"tests", 5 }, .recovery = { 99 }, .wrap = { (const uint8_t *)"wrap", 4 } } };
	uint64_t conn = world_connect(w, device), pos;

	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	server_invite(w->server, hash, 1000, &pos);
	memcpy(redeem.redeem.token, token, sizeof token);
	world_send(w, conn, &redeem);
	memcpy(create.volume_create.volume, world_volume, VOLUME_ID_SIZE);
	world_send(w, conn, &create);
	memcpy(add.device_add.volume, world_volume, VOLUME_ID_SIZE);
	for (uint8_t i = 2; i <= DEVICES; i++) {
		add.device_add.device[0] = i;
		add.id = 0;
		world_send(w, conn, &add);
	}
	server_disconnected(w->server, conn);
	world_pump(w);
	world_forget(w);
}

void
world_open(struct world *w, const struct server_config *config)
{
	if (sodium_init() < 0)
		abort();
	*w = (struct world){ .random = 1, .now_ms = 1000, .store = memstore_new(0) };
	if (config != NULL)
		w->config = *config;
	start(w);
}

void
world_init(struct world *w, const struct server_config *config)
{
	world_open(w, config);
	enrol(w, 1);
}

static void
drop_writes(struct world *w)
{
	struct server_action *a;
	uint64_t pos;

	while ((a = w->writes) != NULL) {
		w->writes = a->next;
		store_block_finish(a->ticket, false, &pos);
		server_action_free(a);
	}
}

void
world_done(struct world *w)
{
	world_forget(w);
	drop_writes(w);
	server_free(w->server);
	store_close(w->store);
}

void
world_restart(struct world *w, uint64_t keep)
{
	drop_writes(w);
	server_free(w->server);
	memstore_crash(w->store, keep == UINT64_MAX ? store_end(w->store) : keep);
	start(w);
	world_pump(w);
}

/* ---- clients ---- */

static void
attach_bulk(struct client *c)
{
	struct message m = { .type = MSG_attach, .attach = { .lane = LANE_BULK, .session = c->at.session,
	    .generation = c->generation } };

	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	c->bulk = world_connect(c->w, c->device[0]);
	world_proof(c->bulk, c->at.secret, m.attach.proof);
	world_send(c->w, c->bulk, &m);
	world_take(c->w, c->bulk, MSG_attached);
}

enum status
client_attach(struct client *c)
{
	struct message m = { .type = MSG_attach, .attach = { .lane = LANE_CONTROL, .session = c->at.session,
	    .generation = ++c->generation } };
	const struct message *back;

	memcpy(m.attach.volume, world_volume, VOLUME_ID_SIZE);
	c->control = world_connect(c->w, c->device[0]);
	world_proof(c->control, c->at.secret, m.attach.proof);
	world_send(c->w, c->control, &m);
	if (c->w->no_sync)
		world_sync(c->w);
	back = world_take(c->w, c->control, MSG_attached);
	if (back == NULL) {
		back = world_take(c->w, c->control, MSG_done);
		return back == NULL ? STATUS_COUNT : back->done.status;
	}
	c->at = back->attached;
	c->next_oid = c->at.first_oid;
	c->sequence = c->at.sequence;
	attach_bulk(c);
	return STATUS_OK;
}

struct client
client_new(struct world *w, uint8_t device)
{
	struct client c = { .w = w, .device = { device } };

	if (client_attach(&c) != STATUS_OK)
		abort();
	c.known = c.at.first_oid;
	return c;
}

void
client_reclaim(struct client *c, const struct msg_lease *leases, uint32_t count, struct msg_reclaimed *ret)
{
	struct message m = { .type = MSG_reclaim, .reclaim = { .last = 1, .known = c->known,
	    .leases = { (struct msg_lease *)(uintptr_t)leases, count } } };
	const struct message *back;

	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_reclaimed);
	if (back != NULL)
		c->known = c->at.first_oid;
	if (ret != NULL)
		*ret = back == NULL ? (struct msg_reclaimed){ 0 } : back->reclaimed;
}

uint64_t
client_read(struct client *c, uint64_t ticket, const struct msg_want *wants, uint32_t count)
{
	struct message m = { .type = MSG_read, .read = { .ticket = ticket,
	    .wants = { (struct msg_want *)(uintptr_t)wants, count } } };

	return world_send(c->w, c->control, &m);
}

const struct msg_answer *
client_lease(struct client *c, uint64_t oid, uint8_t mode)
{
	static const uint8_t last[SUBKEY_MAX] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff };
	struct msg_want want = { .oid = oid, .mode = mode, .last_kind = KIND_MAX, .to = { last, sizeof last },
	    .limit = 100 };
	const struct message *back;

	client_read(c, 0, &want, 1);
	back = world_take(c->w, c->control, MSG_granted);
	return back == NULL ? NULL : back->granted.answers.at;
}

void
client_release(struct client *c, uint64_t oid, uint8_t mode, uint64_t grant)
{
	struct msg_lease lease = { .oid = oid, .mode = mode, .grant = grant };
	struct message m = { .type = MSG_release, .release = { .leases = { &lease, 1 } } };

	world_send(c->w, c->control, &m);
}

void
client_pin(struct client *c, uint64_t oid, bool on)
{
	struct msg_pinning pin = { .oid = oid, .on = on };
	struct message m = { .type = MSG_pin, .pin = { .pins = { &pin, 1 } } };

	world_send(c->w, c->control, &m);
}

const struct msg_committed *
client_commit(struct client *c, const struct msg_base *bases, uint32_t base_count, struct msg_change *changes,
    uint32_t change_count)
{
	struct message m = { .type = MSG_commit, .commit = { .sequence = ++c->sequence,
	    .bases = { (struct msg_base *)(uintptr_t)bases, base_count }, .changes = { changes, change_count } } };
	const struct message *back;

	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_committed);
	return back == NULL ? NULL : &back->committed;
}

enum status
client_put(struct client *c, uint8_t id)
{
	uint8_t data[BLOCK_LEN];
	struct message m = { .type = MSG_put, .payload = { data, sizeof data } };
	const struct message *back;

	memset(data, id, sizeof data);
	memset(m.put.id, id, ID_SIZE);
	world_send(c->w, c->bulk, &m);
	back = world_take(c->w, c->bulk, MSG_stored);
	return back == NULL ? STATUS_COUNT : back->stored.status;
}

/* ---- changes ---- */

const uint8_t *
block_name(uint8_t id)
{
	static uint8_t names[256][ID_SIZE];

	memset(names[id], id, ID_SIZE);
	return names[id];
}

static uint64_t *
one_oref(uint64_t oid)
{
	static uint64_t orefs[1024];
	static unsigned next;
	uint64_t *at = &orefs[next++ % 1024];

	*at = oid;
	return at;
}

struct msg_change
change_attr(uint64_t oid)
{
	return (struct msg_change){ .op = CHANGE_PUT, .oid = oid, .kind = KIND_ATTR,
	    .value = { (const uint8_t *)"attributes", 10 } };
}

struct msg_change
change_entry(uint64_t oid, uint8_t name, uint64_t child)
{
	return (struct msg_change){ .op = CHANGE_PUT, .oid = oid, .kind = KIND_ENTRY,
	    .subkey = { block_name(name), TOKEN_SIZE }, .orefs = { one_oref(child), 1 },
	    .value = { (const uint8_t *)"name", 4 } };
}

struct msg_change
change_unlink(uint64_t oid, uint8_t name)
{
	return (struct msg_change){ .op = CHANGE_DELETE, .oid = oid, .kind = KIND_ENTRY,
	    .subkey = { block_name(name), TOKEN_SIZE } };
}

struct msg_change
change_region(uint64_t oid, uint8_t index, uint8_t block)
{
	return (struct msg_change){ .op = CHANGE_PUT, .oid = oid, .kind = KIND_REGION,
	    .subkey = { block_name(index), 8 },
	    .brefs = { (const uint8_t (*)[ID_SIZE])block_name(block), block != 0 },
	    .value = { (const uint8_t *)"extents", 7 } };
}

struct msg_change
change_cut(uint64_t oid, uint8_t kind)
{
	return (struct msg_change){ .op = CHANGE_DELETE_RANGE, .oid = oid, .kind = kind,
	    .to = { block_name(255), SUBKEY_MAX } };
}

void
client_make_tree(struct client *a, unsigned files)
{
	struct msg_change changes[64] = { change_attr(OID_ROOT) };
	const struct msg_committed *done;

	client_lease(a, OID_ROOT, MODE_EXCLUSIVE);
	for (unsigned i = 0; i < files; i++) {
		changes[1 + i * 2] = change_attr(a->at.first_oid + i);
		changes[2 + i * 2] = change_entry(OID_ROOT, i + 1, a->at.first_oid + i);
	}
	done = client_commit(a, NULL, 0, changes, 1 + files * 2);
	if (done == NULL || done->status != STATUS_OK) {
		fprintf(stderr, "a tree of %u files cannot be made\n", files);
		abort();
	}
}
