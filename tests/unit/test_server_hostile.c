/*
 * test_server_hostile.c - peers that say anything, in any order, over a
 * network and a disk that fail: the engine never crashes, and server_check()
 * holds after each event.
 *
 *	test_server_hostile [seed [steps]]
 */
#include "tests/unit/server_world.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/memstore.h"
#include "tests/tap.h"

enum { CLIENTS = 4, OIDS = 6, NAMES = 5, LISTS = 5, HELD = 8 };

struct dice {
	uint64_t	state;
};

/* What a client believes to hold: half of what it says makes sense. */
static struct held {
	uint64_t	oid[HELD], grant[HELD], version[HELD];
	unsigned	next;
} held[CLIENTS];

/* Of all lives of the server. */
static struct server_stats sum;

static uint64_t
roll(struct dice *d, uint64_t sides)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (d->state >> 11) % sides;
}

/* Memory of one message's lists. */
struct parts {
	struct msg_want		wants[LISTS];
	struct msg_lease	leases[LISTS];
	struct msg_pinning	pins[LISTS];
	struct msg_base		bases[LISTS];
	struct msg_change	changes[LISTS];
	struct msg_small_block	blocks[2];
	uint8_t			ids[LISTS][ID_SIZE];
	uint8_t			bytes[1024];
};

/* Mostly an object that may be there, of any client's, or a reserved one. */
static uint64_t
some_oid(struct dice *d, struct client *clients)
{
	struct client *c = &clients[roll(d, CLIENTS)];

	switch (roll(d, 8)) {
	case 0: return roll(d, OID_RESERVED + 2);
	case 1: return roll(d, 50) == 0 ? d->state : OID_ROOT;
	case 2: return OID_ROOT;
	default: return c->at.first_oid + roll(d, OIDS);
	}
}

static struct bytes
some_bytes(struct dice *d, struct parts *p, size_t len)
{
	for (size_t i = 0; i < sizeof p->bytes; i++)
		p->bytes[i] = 0;
	return (struct bytes){ roll(d, 30) == 0 ? p->bytes : block_name(roll(d, NAMES)), len };
}

static uint8_t
some_mode(struct dice *d)
{
	return roll(d, 20) == 0 ? roll(d, 256) : roll(d, 3);
}

static uint64_t
some_number(struct dice *d, uint64_t likely)
{
	return roll(d, 10) == 0 ? roll(d, 20) : roll(d, 40) == 0 ? d->state : likely;
}

static struct msg_change
some_change(struct dice *d, struct client *clients, struct client *c, struct parts *p)
{
	struct msg_change change;
	uint64_t oid = roll(d, 8) == 0 ? some_oid(d, clients) : roll(d, 3) == 0 ? c->at.first_oid + roll(d, OIDS) :
	    held[c - clients].oid[roll(d, HELD)];

	switch (roll(d, 7)) {
	case 0: change = change_attr(oid); break;
	case 1: change = change_entry(oid, roll(d, NAMES), held[c - clients].oid[roll(d, HELD)]); break;
	case 2: change = change_entry(OID_ROOT, roll(d, NAMES), oid); break;
	case 3: change = change_unlink(roll(d, 2) ? OID_ROOT : oid, roll(d, NAMES)); break;
	case 4: change = change_region(oid, roll(d, NAMES), 1 + roll(d, NAMES)); break;
	case 5: change = change_cut(oid, roll(d, KIND_MAX + 1)); break;
	default: change = change_attr(oid); change.op = CHANGE_DELETE; change.value.len = 0; break;
	}
	if (roll(d, 150) == 0)
		change.kind = roll(d, 12);
	if (roll(d, 150) == 0)
		change.op = roll(d, 5);
	if (roll(d, 150) == 0)
		change.subkey = some_bytes(d, p, roll(d, SUBKEY_MAX + 1));
	if (roll(d, 150) == 0)
		change.value = some_bytes(d, p, ID_SIZE);
	return change;
}

static uint64_t
version_of(const struct held *h, uint64_t oid)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < HELD; i++)
		if (h->oid[i] == oid && h->version[i] > newest)
			newest = h->version[i];
	return newest;
}

static void
fill_commit(struct dice *d, struct client *clients, struct client *c, struct parts *p, struct message *m)
{
	struct msg_commit *commit = &m->commit;

	commit->sequence = some_number(d, c->sequence + 1);
	commit->changes.at = p->changes;
	commit->changes.count = roll(d, roll(d, 2) ? 3 : LISTS + 1);
	commit->bases.at = p->bases;
	for (uint32_t i = 0; i < commit->changes.count; i++) {
		p->changes[i] = some_change(d, clients, c, p);
		if (roll(d, 8) != 0)
			p->bases[commit->bases.count++] = (struct msg_base){ .oid = p->changes[i].oid,
			    .version = some_number(d, version_of(&held[c - clients], p->changes[i].oid)) };
	}
	commit->blocks.at = p->blocks;
	commit->blocks.count = roll(d, 3);
	for (uint32_t i = 0; i < commit->blocks.count; i++) {
		memset(p->blocks[i].id, roll(d, NAMES), ID_SIZE);
		p->blocks[i].data = some_bytes(d, p, roll(d, ID_SIZE));
	}
}

static void
fill_lists(struct dice *d, struct client *clients, struct parts *p, struct message *m)
{
	uint32_t count = roll(d, 2) ? 1 : roll(d, LISTS + 1);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t oid = some_oid(d, clients);

		p->wants[i] = (struct msg_want){ .oid = oid, .mode = 1 + roll(d, 2), .kind = roll(d, 8),
		    .last_kind = roll(d, 200) == 0 ? 0 : 255, .limit = roll(d, 4) };
		if (roll(d, 200) == 0)
			p->wants[i].mode = some_mode(d);
		p->leases[i] = (struct msg_lease){ .oid = oid, .mode = some_mode(d),
		    .grant = some_number(d, roll(d, 12)), .base = some_number(d, roll(d, 40)) };
		p->pins[i] = (struct msg_pinning){ .oid = oid, .on = roll(d, 2) };
		memset(p->ids[i], roll(d, NAMES), ID_SIZE);
	}
	switch (m->type) {
	case MSG_read:
		m->read.wants.at = p->wants;
		m->read.wants.count = count;
		m->read.depth = roll(d, 4);
		m->read.kinds = roll(d, 512);
		m->read.size = roll(d, 2) ? roll(d, 3000) : UINT32_MAX;
		m->read.ticket = some_number(d, 0);
		m->read.budget = roll(d, 8);
		break;
	case MSG_release:
		m->release.leases.at = p->leases;
		m->release.leases.count = count;
		break;
	case MSG_reclaim:
		m->reclaim.leases.at = p->leases;
		m->reclaim.leases.count = count;
		m->reclaim.last = roll(d, 4) != 0;
		break;
	case MSG_pin:
		m->pin.pins.at = p->pins;
		m->pin.pins.count = count;
		break;
	default:
		m->have.ids.at = (const uint8_t (*)[ID_SIZE])p->ids;
		m->have.ids.count = count;
		break;
	}
}

/* Learns what a client would from its mail, and mostly does what it is asked to. */
static void
read_mail(struct dice *d, struct client *clients, struct client *c)
{
	struct held *h = &held[c - clients];
	const struct message *m;

	while ((m = world_take(c->w, c->control, MSG_granted)) != NULL)
		for (uint32_t i = 0; i < m->granted.answers.count; i++) {
			unsigned at = h->next % HELD;

			h->next += m->granted.answers.at[i].mode == MODE_EXCLUSIVE;
			h->oid[at] = m->granted.answers.at[i].oid;
			h->grant[at] = m->granted.answers.at[i].grant;
			h->version[at] = m->granted.answers.at[i].version;
		}
	while ((m = world_take(c->w, c->control, MSG_recall)) != NULL)
		if (roll(d, 4) != 0) {
			client_release(c, m->recall.oid, m->recall.mode, m->recall.grant);
			for (unsigned i = 0; i < HELD; i++)
				if (h->oid[i] == m->recall.oid)
					h->oid[i] = c->at.first_oid + roll(d, OIDS);
		}
	while ((m = world_take(c->w, c->control, MSG_committed)) != NULL) {
		struct message reset = { .type = MSG_reset };

		if (m->committed.status == STATUS_OK || m->committed.status == STATUS_REJECTED)
			c->sequence = m->committed.sequence > c->sequence ? m->committed.sequence : c->sequence;
		if (m->committed.status == STATUS_REJECTED && roll(d, 4) != 0)
			world_send(c->w, c->control, &reset);
	}
	if (roll(d, 20) == 0)
		world_forget(c->w);
}

static void
say_something(struct dice *d, struct client *clients, struct client *c)
{
	static const uint16_t often[] = { MSG_read, MSG_read, MSG_read, MSG_commit, MSG_commit, MSG_commit, MSG_commit,
	    MSG_commit, MSG_release, MSG_release, MSG_pin, MSG_put, MSG_have, MSG_get, MSG_reset, MSG_keepalive };
	struct parts *p = calloc(1, sizeof *p);
	struct message m = { .type = roll(d, 80) == 0 ? 1 + roll(d, MSG_COUNT - 1) :
	    often[roll(d, sizeof often / sizeof *often)] };
	bool bulk = m.type == MSG_put || m.type == MSG_have || m.type == MSG_get;

	if (m.type == MSG_bye && roll(d, 10) != 0)
		m.type = MSG_statfs;
	if (roll(d, 100) == 0)
		bulk = !bulk;
	switch (m.type) {
	case MSG_read: case MSG_release: case MSG_reclaim: case MSG_pin: case MSG_have:
		fill_lists(d, clients, p, &m);
		break;
	case MSG_commit:
		fill_commit(d, clients, c, p, &m);
		break;
	case MSG_put:
		memset(m.put.id, 1 + roll(d, NAMES), ID_SIZE);
		m.payload = some_bytes(d, p, roll(d, ID_SIZE));
		break;
	case MSG_get:
		memset(m.get.id, roll(d, NAMES), ID_SIZE);
		break;
	case MSG_volume_invite: case MSG_device_add:
		memcpy(m.device_add.volume, world_volume, VOLUME_ID_SIZE);
		break;
	default:
		break;
	}
	world_send(c->w, bulk ? c->bulk : c->control, &m);
	read_mail(d, clients, c);
	free(p);
}

static void
reclaim(struct dice *d, const struct held *h, struct client *c)
{
	struct msg_lease leases[HELD];

	for (unsigned i = 0; i < HELD; i++)
		leases[i] = (struct msg_lease){ .oid = h->oid[i], .mode = 1 + roll(d, 2), .grant = h->grant[i],
		    .base = roll(d, c->at.version + 1) };
	client_reclaim(c, leases, roll(d, HELD + 1), NULL);
}

static void
come_back(struct dice *d, struct client *clients, struct client *c)
{
	if (store_failed(c->w->store) != NULL)
		return;
	if (roll(d, 3) == 0)
		server_disconnected(c->w->server, c->control);
	world_pump(c->w);
	switch (client_attach(c)) {
	case STATUS_OK:
		if (roll(d, 4) != 0)
			reclaim(d, &held[c - clients], c);
		break;
	case STATUS_STALE:
		break;
	default:
		*c = client_new(c->w, c->device[0]);
		break;
	}
}

static void
count_stats(struct world *w)
{
	struct server_stats stats;

	server_stats(w->server, &stats);
	sum.commits += stats.commits;
	sum.rejected += stats.rejected;
	sum.recalls += stats.recalls;
	sum.evictions += stats.evictions;
	sum.frees += stats.frees;
	sum.reclaims += stats.reclaims;
	sum.missing += stats.missing;
}

static void
happen(struct dice *d, struct world *w, struct client *clients)
{
	struct client *c = &clients[roll(d, CLIENTS)];
	uint64_t synced;

	if (world_closed(w, c->control))
		come_back(d, clients, c);
	/* A failed disk is mended by a restart only. */
	if (store_failed(w->store) != NULL && roll(d, 20) == 0) {
		count_stats(w);
		world_restart(w, store_synced(w->store));
	}
	switch (roll(d, 60)) {
	case 0: come_back(d, clients, c); break;
	case 1: server_disconnected(w->server, c->bulk); break;
	case 2: world_pass(w, roll(d, 8) == 0 ? 60 * 1000 : roll(d, 3000)); break;
	case 3:
		if (roll(d, 10) == 0) {
			count_stats(w);
			synced = store_synced(w->store);
			world_restart(w, synced + roll(d, store_end(w->store) - synced + 1));
			for (unsigned i = 0; i < CLIENTS; i++)
				if (roll(d, 4) != 0)
					come_back(d, clients, &clients[i]);
		}
		break;
	case 4: memstore_set_full(w->store, roll(d, 2)); break;
	case 5: w->no_sync = roll(d, 2); world_sync(w); break;
	case 6: world_sync(w); break;
	case 7: w->no_write = roll(d, 2); break;
	case 8:
		if (roll(d, 20) == 0)
			memstore_fail(w->store, "the disk is gone");
		break;
	default: say_something(d, clients, c); break;
	}
}

int
main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	unsigned steps = argc > 2 ? strtoul(argv[2], NULL, 0) : 10000, done = 0;
	struct server_config config = { .idle_ms = 2000, .fresh_ms = 3000, .leases_max = 12 };
	struct client clients[CLIENTS];
	struct dice d = { seed * 2654435761u + 1 };
	struct world w;
	bool fine = true;

	printf("# seed %llu\n", (unsigned long long)seed);
	world_init(&w, &config);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = client_new(&w, i + 1);
	for (; done < steps && fine; done++) {
		happen(&d, &w, clients);
		fine = world_check(&w);
	}
	count_stats(&w);
	printf("# %u commits, %u rejected, %u missing, %u recalls, %u evictions, %u reclaims, %u frees\n",
	    (unsigned)sum.commits, (unsigned)sum.rejected, (unsigned)sum.missing, (unsigned)sum.recalls,
	    (unsigned)sum.evictions, (unsigned)sum.reclaims, (unsigned)sum.frees);
	ok(fine, "the invariants hold after each of %u steps", done);
	memstore_set_full(w.store, false);
	world_done(&w);
	return tap_done();
}
