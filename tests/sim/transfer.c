/* transfer.c - see transfer.h. */
#include "tests/sim/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/blocks.h"
#include "tests/sim/damage.h"

enum { BUSY_US = 200000, HAVE_PER_MILLE = 700, SHELF_RUNS = 24, DISK_US = 3000 };

struct transfer {
	TAILQ_ENTRY(transfer) link;
	struct mount	*mount;
	struct flush	*flush;		/* or fetch */
	struct fetch	*fetch;
	struct buffer	*sealed;
	struct conn	*conn;		/* it is on its way there, or NULL */
	uint64_t	 request;
	bool		 ready;		/* sealed; or not (any more) in the hands of the disk */
	bool		 ask;		/* HAVE first */
	bool		 over;		/* the engine has been told, or its mount is dead */
};

static struct transfer *
transfer_new(struct mount *m)
{
	struct transfer *t = sim_alloc(sizeof *t);

	t->mount = m;
	TAILQ_INSERT_TAIL(&m->transfers, t, link);
	return t;
}

static void
transfer_end(struct transfer *t)
{
	TAILQ_REMOVE(&t->mount->transfers, t, link);
	buffer_put(t->sealed);
	free(t);
}

/* ---- the ids this device may trust HAVE for ---- */

static bool
verified(const struct mount *m, const uint8_t id[ID_SIZE])
{
	for (size_t at = 0; at < m->verified.len; at += ID_SIZE)
		if (memcmp(m->verified.data + at, id, ID_SIZE) == 0)
			return true;
	return false;
}

static void
verify(struct mount *m, const uint8_t id[ID_SIZE])
{
	uint8_t *ids = (uint8_t *)(uintptr_t)m->verified.data;

	if (verified(m, id))
		return;
	if ((ids = realloc(ids, m->verified.len + ID_SIZE)) == NULL)
		abort();
	memcpy(ids + m->verified.len, id, ID_SIZE);
	m->verified = (struct bytes){ ids, m->verified.len + ID_SIZE };
}

/* ---- sending ---- */

static struct conn *
free_lane(const struct mount *m)
{
	unsigned first = (unsigned)rng_below(&m->sim->misc, BULK_LANES);

	for (unsigned i = 0; i < BULK_LANES; i++)
		if (m->bulk_up[(first + i) % BULK_LANES])
			return m->bulk[(first + i) % BULK_LANES];
	return NULL;
}

static void
send_one(struct transfer *t)
{
	struct mount *m = t->mount;
	struct message msg = { .id = 0 };
	uint8_t id[1][ID_SIZE];

	if (!t->ready || t->conn != NULL || (t->conn = free_lane(m)) == NULL)
		return;
	msg.id = t->request = ++m->requests;
	if (t->fetch != NULL) {
		msg.type = MSG_get;
		memcpy(msg.get.id, t->fetch->id, ID_SIZE);
		msg.get.first = t->fetch->first;
		msg.get.count = t->fetch->count;
	} else if (t->ask) {
		msg.type = MSG_have;
		memcpy(id[0], t->flush->id, ID_SIZE);
		msg.have.ids.at = (const uint8_t (*)[ID_SIZE])id;
		msg.have.ids.count = 1;
	} else {
		msg.type = MSG_put;
		memcpy(msg.put.id, t->flush->id, ID_SIZE);
		msg.payload = (struct bytes){ t->sealed->data, t->sealed->size };
	}
	net_to_server(t->conn, &msg);
}

void
transfer_send_all(struct mount *m)
{
	struct transfer *t;

	TAILQ_FOREACH(t, &m->transfers, link)
		send_one(t);
}

void
transfer_lost(struct mount *m, const struct conn *c)
{
	struct transfer *t;

	TAILQ_FOREACH(t, &m->transfers, link)
		if (c != NULL && t->conn == c)
			t->conn = NULL;
	transfer_send_all(m);
}

/* ---- storing ---- */

static void
stored(struct transfer *t, int error)
{
	struct mount *m = t->mount;
	struct flush *f = t->flush;

	if (error == 0)
		verify(m, f->id);
	transfer_end(t);
	engine_stored(mount_clocked(m), f, error);
	mount_drain(m);
}

static void
sealed(struct sim *sim, void *what, uint64_t number)
{
	struct transfer *t = what;
	struct mount *m = t->mount;
	struct flush *f = t->flush;

	(void)number;
	if (t->over) {
		free(t);
		return;
	}
	t->sealed = buffer_new(f->len + SEALED_OVERHEAD);
	t->sealed->size = blocks_seal(sim, f->buffer->data + f->start, f->len, f->id, t->sealed->data);
	t->ready = true;
	if (f->carried) {
		buffer_put(f->sealed);
		f->sealed = t->sealed;
		t->sealed = NULL;
		transfer_end(t);
		engine_stored(mount_clocked(m), f, 0);
		mount_drain(m);
		return;
	}
	t->ask = verified(m, f->id) && rng_chance(&sim->misc, HAVE_PER_MILLE);
	send_one(t);
}

void
transfer_store(struct mount *m, struct flush *f)
{
	struct transfer *t = transfer_new(m);

	t->flush = f;
	sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.seal_max_us), sealed, t, 0);
}

/* ---- the disk: the last answers to GETs, in the order they came ---- */

struct shelf {
	struct { uint8_t id[ID_SIZE]; unsigned first, count; struct buffer *cut; } run[SHELF_RUNS];
	unsigned	 next;
};

struct shelf *
shelf_new(void)
{
	return sim_alloc(sizeof(struct shelf));
}

void
shelf_free(struct shelf *shelf)
{
	if (shelf != NULL)
		for (unsigned i = 0; i < SHELF_RUNS; i++)
			buffer_put(shelf->run[i].cut);
	free(shelf);
}

static void
shelf_put(struct shelf *shelf, const struct fetch *f, struct bytes cut)
{
	unsigned i = shelf->next++ % SHELF_RUNS;

	buffer_put(shelf->run[i].cut);
	if ((shelf->run[i].cut = buffer_new(cut.len)) == NULL)
		return;
	memcpy(shelf->run[i].cut->data, cut.data, cut.len);
	shelf->run[i].cut->size = cut.len;
	memcpy(shelf->run[i].id, f->id, ID_SIZE);
	shelf->run[i].first = f->first;
	shelf->run[i].count = f->count;
}

/* The cells that are there; how many. */
static unsigned
shelf_get(struct sim *sim, const struct shelf *shelf, struct fetch *f)
{
	unsigned got = 0;

	for (unsigned i = 0; i < SHELF_RUNS; i++)
		for (unsigned j = 0; shelf->run[i].cut != NULL && j < shelf->run[i].count; j++) {
			unsigned at = shelf->run[i].first + j - f->first;
			const struct buffer *cut = shelf->run[i].cut;
			struct buffer *b;
			ssize_t n;

			if (memcmp(shelf->run[i].id, f->id, ID_SIZE) != 0 || shelf->run[i].first + j < f->first ||
			    at >= f->count || f->cells[at] != NULL)
				continue;
			b = buffer_new(CELL_SIZE);
			n = blocks_open_cell(sim, f->id, shelf->run[i].first, j, (struct bytes){ cut->data, cut->size }, b->data);
			if (n < 0)
				sim_fail(sim, "a cell from the disk does not open: %s", strerrorname_np((int)-n));
			b->size = n < 0 ? 0 : (size_t)n;
			f->cells[at] = b;
			got++;
		}
	return got;
}

/* The disk answers. */
static void
looked(struct sim *sim, void *what, uint64_t number)
{
	struct transfer *t = what;
	struct mount *m = t->mount;
	struct fetch *f = t->fetch;
	struct engine_status status;
	unsigned got;

	(void)number;
	if (t->over) {
		free(t);
		return;
	}
	got = shelf_get(sim, m->client->shelf, f);
	engine_status(mount_clocked(m), &status);
	if (got < f->count && !status.offline) {
		for (unsigned i = 0; i < f->count; i++) {
			buffer_put(f->cells[i]);
			f->cells[i] = NULL;
		}
		t->ready = true;
		send_one(t);
		return;
	}
	transfer_end(t);
	engine_fetched(mount_clocked(m), f, got == f->count ? 0 : -EHOSTDOWN);
	mount_drain(m);
}

static void
look(struct transfer *t)
{
	t->ready = false;
	sim_after(t->mount->sim, 1 + rng_below(&t->mount->sim->misc, DISK_US), looked, t, 0);
}

void
transfer_offline(struct mount *m)
{
	struct transfer *t;

	if (m->client->shelf != NULL)
		TAILQ_FOREACH(t, &m->transfers, link)
			if (t->fetch != NULL && t->ready && t->conn == NULL)
				look(t);
}

/* ---- fetching ---- */

void
transfer_fetch(struct mount *m, struct fetch *f)
{
	struct transfer *t = transfer_new(m);

	t->fetch = f;
	t->ready = true;
	if (m->client->shelf != NULL)
		look(t);
	else
		send_one(t);
}

static void
fetched(struct transfer *t, const struct message *msg)
{
	struct mount *m = t->mount;
	struct fetch *f = t->fetch;
	int error = msg->block.status == STATUS_OK ? 0 : msg->block.status == STATUS_NOENT ? -ENOENT : -EIO;

	if (error != 0)
		damage_heard(m->sim, f->id);
	for (unsigned i = 0; i < f->count && error == 0; i++) {
		struct buffer *b = buffer_new(CELL_SIZE);
		ssize_t n = blocks_open_cell(m->sim, f->id, f->first, i, msg->payload, b->data);

		if (n < 0) {
			sim_fail(m->sim, "a cell does not open: %s", strerrorname_np((int)-n));
			error = -EIO;
		} else
			b->size = (size_t)n;
		f->cells[i] = b;
	}
	if (error == 0 && m->client->shelf != NULL)
		shelf_put(m->client->shelf, f, msg->payload);
	transfer_end(t);
	engine_fetched(mount_clocked(m), f, error);
	mount_drain(m);
}

/* ---- answers ---- */

static void
try_again(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)sim;
	(void)number;
	if (m->state != MOUNT_GONE)
		transfer_send_all(m);
}

void
transfer_answered(struct mount *m, struct conn *c, const struct message *msg)
{
	struct transfer *t;
	enum status status = msg->type == MSG_stored ? msg->stored.status : msg->type == MSG_block ?
	    msg->block.status : msg->type == MSG_done ? msg->done.status : STATUS_OK;

	TAILQ_FOREACH(t, &m->transfers, link)
		if (t->conn == c && t->request == msg->id)
			break;
	if (t == NULL)
		return;
	if (msg->type == MSG_done && status != STATUS_BUSY) {
		sim_fail(m->sim, "the server answered a transfer with: %s", status_text(status));
		return;
	}
	t->conn = NULL;
	if (status == STATUS_BUSY)
		sim_after(m->sim, BUSY_US, try_again, m, 0);
	else if (msg->type == MSG_having && msg->having.present.len == 1 && msg->having.present.data[0] != 1) {
		t->ask = false;
		send_one(t);
	} else if (msg->type == MSG_having || msg->type == MSG_stored)
		stored(t, status == STATUS_OK ? 0 : status == STATUS_NOSPC ? -ENOSPC : -EIO);
	else if (msg->type == MSG_block)
		fetched(t, msg);
}

void
transfer_free_all(struct mount *m)
{
	struct transfer *t;

	while ((t = TAILQ_FIRST(&m->transfers)) != NULL) {
		if (!t->ready) {
			/* Its sealing, or the disk, is an event still to come, which frees it. */
			TAILQ_REMOVE(&m->transfers, t, link);
			t->over = true;
		} else
			transfer_end(t);
	}
}
