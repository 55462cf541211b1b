/*
 * block.c - see block.h.
 *
 *	absent -> writing   PUT
 *	writing -> writing  PUT again, of a client that lost the connection: both are answered, one is paid for
 *	writing -> idle     written; or absent, if that failed
 *	absent -> idle      carried by a COMMIT that does not name it
 *	absent -> busy      carried by a COMMIT that names it
 *	idle  <-> busy      references come and go with commits
 *	idle   -> absent    the delay passed
 */
#include "server/block.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/conn.h"
#include "server/credit.h"
#include "server/outbox.h"

enum {
	FREE_BATCH	= 64,		/* blocks freed by one batch; one batch a tick and list */
	PRESSED_MS	= 30 * 1000,	/* since space was refused: hurry for so long */
	HURRY_MS	= 2 * 1000,	/* then the delay after the last reference is no longer than this */
};

uint64_t
block_hash(const struct server *s, const struct volume *v, const uint8_t id[ID_SIZE])
{
	struct key key = key_block(ROW_BLOCK, v->number, id);
	uint8_t hash[crypto_shorthash_BYTES];
	struct cursor c = cursor_read(hash, sizeof hash);

	crypto_shorthash(hash, key.data, key.len, s->hash_key);
	return cursor_get_u64(&c);
}

/* ---- the free list ---- */

static struct idle *
idle_find(const struct server *s, const struct volume *v, const uint8_t id[ID_SIZE])
{
	struct table_node *n = table_find(&s->idle_table, block_hash(s, v, id));

	for (; n != NULL; n = table_again(n)) {
		struct idle *i = container_of(n, struct idle, node);

		if (i->volume == v && memcmp(i->id, id, ID_SIZE) == 0)
			return i;
	}
	return NULL;
}

static struct idle_list *
list_of(struct server *s, const struct idle *i)
{
	return i->fresh ? &s->idle_fresh : &s->idle_dead;
}

static void
idle_free(struct server *s, struct idle *i)
{
	TAILQ_REMOVE(list_of(s, i), i, of_list);
	table_remove(&s->idle_table, &i->node);
	free(i);
}

/* How much sooner than due a block goes. */
static uint64_t
hurry_ms(const struct server *s)
{
	bool pressed = s->full_ms != 0 && s->now_ms - s->full_ms < PRESSED_MS;

	return pressed && s->config.idle_ms > HURRY_MS ? s->config.idle_ms - HURRY_MS : 0;
}

void
block_idle(struct server *s, struct volume *v, const uint8_t id[ID_SIZE], bool fresh)
{
	struct idle *i = idle_find(s, v, id);

	if (i == NULL) {
		i = calloc(1, sizeof *i);
		if (i == NULL)
			return;		/* the next start finds its row */
		i->volume = v;
		memcpy(i->id, id, ID_SIZE);
		table_insert(&s->idle_table, &i->node, block_hash(s, v, id));
	} else {
		TAILQ_REMOVE(list_of(s, i), i, of_list);
	}
	i->fresh = fresh;
	i->due_ms = s->now_ms + (fresh ? s->config.fresh_ms : s->config.idle_ms);
	TAILQ_INSERT_TAIL(list_of(s, i), i, of_list);
	due_by(s, i->due_ms - (fresh ? 0 : hurry_ms(s)));
}

void
block_busy(struct server *s, struct volume *v, const uint8_t id[ID_SIZE])
{
	struct idle *i = idle_find(s, v, id);

	if (i != NULL)
		idle_free(s, i);
}

/* ---- being written ---- */

static struct writing *
writing_find(const struct server *s, const struct volume *v, const uint8_t id[ID_SIZE])
{
	struct table_node *n = table_find(&s->writing, block_hash(s, v, id));

	for (; n != NULL; n = table_again(n)) {
		struct writing *w = container_of(n, struct writing, node);

		if (w->volume == v && memcmp(w->id, id, ID_SIZE) == 0)
			return w;
	}
	return NULL;
}

static struct writing *
writing_add(struct server *s, struct volume *v, const uint8_t id[ID_SIZE])
{
	struct writing *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->volume = v;
	memcpy(w->id, id, ID_SIZE);
	table_insert(&s->writing, &w->node, block_hash(s, v, id));
	return w;
}

/* NULL is accepted. */
static void
writing_free(struct server *s, struct writing *w)
{
	struct waiting_put *p;

	if (w == NULL)
		return;
	while ((p = w->waiting) != NULL) {
		w->waiting = p->next;
		free(p);
	}
	table_remove(&s->writing, &w->node);
	free(w);
}

static int
writing_await(struct writing *w, uint64_t conn, uint64_t request)
{
	struct waiting_put *p = malloc(sizeof *p);

	if (p == NULL)
		return -ENOMEM;
	*p = (struct waiting_put){ w->waiting, conn, request };
	w->waiting = p;
	return 0;
}

void
block_free_all(struct server *s)
{
	struct table_node *n;
	size_t slot;

	while (slot = 0, (n = table_walk(&s->writing, &slot, NULL)) != NULL)
		writing_free(s, container_of(n, struct writing, node));
	while (!TAILQ_EMPTY(&s->idle_fresh))
		idle_free(s, TAILQ_FIRST(&s->idle_fresh));
	while (!TAILQ_EMPTY(&s->idle_dead))
		idle_free(s, TAILQ_FIRST(&s->idle_dead));
}

static int
load_idle(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct table_node *n;
	struct bytes rest;
	uint32_t vol;

	(void)value;
	if (key_split(key, &vol, NULL, &rest) < 0 || rest.len != ID_SIZE ||
	    (n = table_find(&s->volumes, vol)) == NULL)
		return -EBADMSG;
	block_idle(s, container_of(n, struct volume, node), rest.data, true);
	return 0;
}

int
block_load(struct server *s)
{
	struct key from = key_table(ROW_IDLE), to = key_table_last(ROW_IDLE);

	return store_scan(s->store, key_bytes(&from), key_bytes(&to), load_idle, s);
}

void
block_start(struct server *s)
{
	struct idle *i;

	TAILQ_FOREACH(i, &s->idle_fresh, of_list)
		i->due_ms = s->now_ms + s->config.fresh_ms;
}

/* Frees what is due at the head of a list, at most a batch of it. */
static void
free_due(struct server *s, struct idle_list *list, uint64_t early_ms)
{
	struct idle *i = TAILQ_FIRST(list);
	unsigned count = 0;
	struct batch b;
	uint64_t pos;
	int r;

	batch_init(&b);
	for (; i != NULL && i->due_ms <= s->now_ms + early_ms && count < FREE_BATCH; i = TAILQ_NEXT(i, of_list), count++) {
		struct key row = key_block(ROW_BLOCK, i->volume->number, i->id);
		struct key idle = key_block(ROW_IDLE, i->volume->number, i->id);

		batch_delete(&b, key_bytes(&row));
		batch_delete(&b, key_bytes(&idle));
		batch_block_free(&b, i->id);
	}
	r = count == 0 ? 0 : store_apply(s->store, &b, STORE_FREES, &pos);
	batch_done(&b);
	if (count > 0)
		s->stuck = r == -ENOSPC;
	while (r == 0 && count-- > 0)
		idle_free(s, TAILQ_FIRST(list));
}

void
block_tick(struct server *s)
{
	uint64_t early_ms = hurry_ms(s);

	free_due(s, &s->idle_dead, early_ms);
	free_due(s, &s->idle_fresh, 0);
	if (!TAILQ_EMPTY(&s->idle_dead))
		due_by(s, TAILQ_FIRST(&s->idle_dead)->due_ms - early_ms);
	if (!TAILQ_EMPTY(&s->idle_fresh))
		due_by(s, TAILQ_FIRST(&s->idle_fresh)->due_ms);
}

/* ---- messages ---- */

/* 1: the volume has it; 0: not; or a negative errno. */
static int
is_stored(struct server *s, const struct volume *v, const uint8_t id[ID_SIZE])
{
	struct key key = key_block(ROW_BLOCK, v->number, id);
	struct bytes value;
	int r = store_get(s->store, key_bytes(&key), &value);

	return r == -ENOENT ? 0 : r < 0 ? r : store_block_exists(s->store, id);
}

static void
stored(struct server *s, struct conn *c, uint64_t request, enum status status, uint64_t need)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_stored, request);

	if (a != NULL)
		a->message.stored.status = status;
	outbox_send(s, c, a, need);
}

/* Its life goes on for a while, for the sake of the COMMIT that is to name it. */
static void
refresh(struct server *s, struct volume *v, const uint8_t id[ID_SIZE])
{
	if (idle_find(s, v, id) != NULL)
		block_idle(s, v, id, true);
}

void
block_put(struct server *s, struct conn *c, const struct message *m)
{
	struct volume *v = c->session->volume;
	const uint8_t *id = m->put.id;
	struct block_ticket *ticket = NULL;
	struct writing *w;
	struct server_action *a;
	unsigned flags = 0;
	int r;

	if (m->payload.len == 0 || m->payload.len > BLOCK_SEALED_MAX) {
		stored(s, c, m->id, STATUS_INVALID, 0);
		return;
	}
	r = is_stored(s, v, id);
	if (r > 0) {
		refresh(s, v, id);
		stored(s, c, m->id, STATUS_OK, store_end(s->store));
		return;
	}
	if (r == 0 && store_block_exists(s->store, id) > 0) {
		stored(s, c, m->id, STATUS_DENIED, 0);
		return;
	}
	if (r == 0 && (w = writing_find(s, v, id)) != NULL) {
		if (writing_await(w, conn_id(c), m->id) < 0)
			stored(s, c, m->id, STATUS_BUSY, 0);
		return;
	}
	a = outbox_message(conn_id(c), MSG_put, m->id);
	w = r < 0 ? NULL : writing_add(s, v, id);
	if (r == 0)
		r = a == NULL || w == NULL ? -ENOMEM : credit_cover(s, c->session, m->payload.len + BLOCK_COST, &flags);
	if (r == 0)
		r = store_block_reserve(s->store, id, m->payload.len, flags, &ticket);
	if (r == 0)
		credit_spend(s, c->session, m->payload.len + BLOCK_COST);
	if (r < 0) {
		writing_free(s, w);
		server_action_free(a);
		if (r == -ENOSPC || r == -EAGAIN)
			c->session->progress_ms = s->now_ms;	/* as for a COMMIT */
		stored(s, c, m->id, outbox_status(s, r), 0);
		return;
	}
	a->kind = SERVER_WRITE_BLOCK;
	a->ticket = ticket;
	a->request = m->id;
	a->volume = v->number;
	a->message.payload = m->payload;
	memcpy(a->message.put.id, id, ID_SIZE);
	outbox_post(s, a);
}

/* The rows of a block that has just been written, unless a commit brought it meanwhile. */
static int
written_rows(struct server *s, struct volume *v, const uint8_t id[ID_SIZE])
{
	struct key row = key_block(ROW_BLOCK, v->number, id), idle = key_block(ROW_IDLE, v->number, id);
	struct bytes value;
	struct batch b;
	uint64_t pos;
	int r = store_get(s->store, key_bytes(&row), &value);

	if (r != -ENOENT)
		return r;
	batch_init(&b);
	put_u64_row(&b, &row, 0);
	batch_put(&b, key_bytes(&idle), (struct bytes){ id, 0 });
	r = store_apply(s->store, &b, STORE_FREES, &pos);	/* the block has its space already */
	batch_done(&b);
	if (r == 0)
		block_idle(s, v, id, true);
	return r;
}

static void
answer_put(struct server *s, uint64_t conn, uint64_t request, int result, uint64_t pos)
{
	struct conn *c = conn_find(s, conn);

	if (c == NULL)
		return;
	/* Who uploads what a recall waits for is getting on.  A bulk lane is its session's until it is closed. */
	if (result == 0)
		c->session->progress_ms = s->now_ms;
	stored(s, c, request, outbox_status(s, result), result == 0 ? pos : 0);
}

void
block_written(struct server *s, struct server_action *a, int result)
{
	struct volume *v = container_of(table_find(&s->volumes, a->volume), struct volume, node);
	struct writing *w = writing_find(s, v, a->message.put.id);
	uint64_t pos = 0;
	int r;

	if (result == 0)
		result = written_rows(s, v, a->message.put.id);
	r = store_block_finish(a->ticket, result == 0, &pos);
	a->ticket = NULL;
	if (result == 0)
		result = r;
	answer_put(s, a->conn, a->request, result, pos);
	for (const struct waiting_put *p = w->waiting; p != NULL; p = p->next)
		answer_put(s, p->conn, p->request, result, pos);
	writing_free(s, w);
}

void
block_have(struct server *s, struct conn *c, const struct message *m)
{
	struct volume *v = c->session->volume;
	struct server_action *a = outbox_message(conn_id(c), MSG_having, m->id);
	uint32_t count = m->have.ids.count;
	uint8_t *present = a == NULL || count == 0 ? NULL : arena_alloc(&a->arena, count);

	for (uint32_t i = 0; present != NULL && i < count; i++) {
		present[i] = is_stored(s, v, m->have.ids.at[i]) > 0;
		if (present[i])
			refresh(s, v, m->have.ids.at[i]);
	}
	if (present != NULL) {
		a->message.having.present = (struct bytes){ present, count };
	} else if (count > 0) {
		server_action_free(a);
		a = NULL;
	}
	outbox_send(s, c, a, store_end(s->store));
}

void
block_get(struct server *s, struct conn *c, const struct message *m)
{
	struct block_ref *ref = NULL;
	struct server_action *a = outbox_message(conn_id(c), MSG_block, m->id);
	int r = is_stored(s, c->session->volume, m->get.id);

	if (r > 0 && a != NULL)
		r = store_block_find(s->store, m->get.id, &ref);
	else if (r == 0)
		r = -ENOENT;
	if (a == NULL || r < 0) {
		if (a != NULL)
			a->message.block.status = r == -ENOENT ? STATUS_NOENT : STATUS_IO;
		outbox_send(s, c, a, 0);
		return;
	}
	a->kind = SERVER_READ_BLOCK;
	a->request = m->id;
	a->ref = ref;
	a->first = m->get.first;
	a->count = m->get.count;
	sodium_bin2hex(a->text, sizeof a->text, m->get.id, ID_SIZE);	/* for who finds it damaged */
	outbox_post(s, a);
}
