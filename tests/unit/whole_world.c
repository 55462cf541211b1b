/* whole_world.c - see whole_world.h. */
#include "tests/unit/whole_world.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/seal.h"

enum { STEP_MS = 100, PATIENCE_MS = 60000 };

bool whole_in_engine;

/* One event of a client's engine, its clock set. */
#define EVENT(m, call) do { \
	engine_clock((m)->engine, (m)->whole->server.now_ms, \
	    (struct timespec){ .tv_sec = (time_t)((m)->whole->server.now_ms / 1000) }); \
	whole_in_engine = true; \
	call; \
	whole_in_engine = false; \
} while (0)

static void pump(struct whole *all);

/* ---- its journal ---- */

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	struct mount *m = context;
	struct note *n;

	(void)number;
	(void)sync;
	whole_in_engine = false;
	m->notes = realloc(m->notes, (m->notes_count + 1) * sizeof *m->notes);
	n = &m->notes[m->notes_count++];
	n->len = arguments.len + data.len;
	n->bytes = malloc(n->len + 1);
	memcpy(n->bytes, arguments.data, arguments.len);
	if (data.len > 0)
		memcpy(n->bytes + arguments.len, data.data, data.len);
	whole_in_engine = true;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context;
	(void)upto;
}

static void
forget_notes(struct mount *m)
{
	for (size_t i = 0; i < m->notes_count; i++)
		free(m->notes[i].bytes);
	free(m->notes);
	m->notes = NULL;
	m->notes_count = 0;
}

/* ---- what an engine asks for ---- */

static void
send_commit(struct mount *m, struct commit *c)
{
	struct message msg = { .type = MSG_commit, .commit = { .sequence = c->sequence,
	    .bases = { c->bases, c->bases_count }, .changes = { c->changes, c->changes_count } } };
	struct msg_small_block *blocks = calloc(c->blocks_count + 1, sizeof *blocks);

	for (uint32_t i = 0; i < c->blocks_count; i++) {
		memcpy(blocks[i].id, c->blocks[i]->id, ID_SIZE);
		blocks[i].data = (struct bytes){ c->blocks[i]->sealed->data, c->blocks[i]->sealed->size };
	}
	msg.commit.blocks.at = blocks;
	msg.commit.blocks.count = c->blocks_count;
	world_send(&m->whole->server, m->at.control, &msg);
	free(blocks);
	commit_put(c);
}

static void
store(struct mount *m, struct flush *f)
{
	const uint8_t *data = f->buffer->data + f->start;
	struct message put = { .type = MSG_put, .payload = { data, f->len } };
	const struct message *back;
	int r = 0;

	crypto_generichash(f->id, ID_SIZE, data, f->len, NULL, 0);
	if (f->carried) {
		buffer_put(f->sealed);
		f->sealed = buffer_new(f->len);
		memcpy(f->sealed->data, data, f->len);
		f->sealed->size = f->len;
	} else {
		memcpy(put.put.id, f->id, ID_SIZE);
		world_send(&m->whole->server, m->at.bulk, &put);
		back = world_take(&m->whole->server, m->at.bulk, MSG_stored);
		r = back == NULL ? -EIO : back->stored.status == STATUS_OK ? 0 :
		    back->stored.status == STATUS_NOSPC ? -ENOSPC : -EIO;
	}
	EVENT(m, engine_stored(m->engine, f, r));
}

static void
fetch(struct mount *m, struct fetch *f)
{
	struct message get = { .type = MSG_get, .get = { .first = f->first, .count = f->count } };
	const struct message *back;
	int r;

	memcpy(get.get.id, f->id, ID_SIZE);
	world_send(&m->whole->server, m->at.bulk, &get);
	back = world_take(&m->whole->server, m->at.bulk, MSG_block);
	r = back == NULL || back->block.status != STATUS_OK ? -ENOENT : m->whole->no_cells ? -EIO : 0;
	for (unsigned i = 0; i < f->count && r == 0; i++) {
		size_t from = (size_t)(f->first + i) * CELL_SIZE;
		size_t left = from < back->payload.len ? back->payload.len - from : 0;

		f->cells[i] = buffer_new(CELL_SIZE);
		f->cells[i]->size = left < CELL_SIZE ? left : CELL_SIZE;
		memcpy(f->cells[i]->data, back->payload.data + from, f->cells[i]->size);
	}
	EVENT(m, engine_fetched(m->engine, f, r));
}

/* What it asks for while its connection is gone is lost, but blocks, which are asked for again and again. */
static void
carry_out(struct mount *m, struct action *a)
{
	struct op *op = a->op;

	switch (a->kind) {
	case ACTION_SEND:
		if (m->up)
			world_send(&m->whole->server, m->at.control, &a->message);
		break;
	case ACTION_COMMIT:
		if (m->up)
			send_commit(m, a->commit);
		else
			commit_put(a->commit);
		break;
	case ACTION_STORE: store(m, a->flush); break;
	case ACTION_FETCH: fetch(m, a->fetch); break;
	case ACTION_INVALIDATE: EVENT(m, engine_invalidated(m->engine, a->oid, a->pages, 0)); break;
	case ACTION_REPLY: op->next = op; break;	/* a mark: answered */
	}
	action_free(a);
}

static void
drain(struct mount *m)
{
	struct action *a;

	while (m->engine != NULL && (a = engine_next(m->engine)) != NULL)
		carry_out(m, a);
}

static void
spoil(const struct whole *all, const struct message *m)
{
	for (uint32_t i = 0; m->type == MSG_granted && i < m->granted.answers.count; i++)
		for (uint32_t k = 0; k < m->granted.answers.at[i].records.count; k++) {
			struct msg_record *r = &m->granted.answers.at[i].records.at[k];

			if (all->unopened >> r->kind & 1)
				r->value.data = NULL;
			if (all->garbled >> r->kind & 1)
				r->value = (struct bytes){ (const uint8_t *)"\377\377\377", 3 };
		}
}

/* Hands on what the server said, in order. */
static void
pump(struct whole *all)
{
	struct mail *mail;

	for (unsigned i = 0; i < MOUNTS; i++)
		drain(&all->mounts[i]);
	while ((mail = all->server.mail) != NULL) {
		all->server.mail = mail->next;
		for (unsigned i = 0; i < MOUNTS; i++) {
			struct mount *m = &all->mounts[i];

			if (m->engine == NULL || !m->up || mail->action->conn != m->at.control)
				continue;
			spoil(all, &mail->action->message);
			if (mail->action->message.type == 0) {
				mount_cut(m);
				m->closed = true;
			} else
				EVENT(m, engine_received(m->engine, &mail->action->message));
			drain(m);
		}
		server_action_free(mail->action);
		free(mail);
	}
}

void
whole_pass(struct whole *all, unsigned ms)
{
	for (unsigned done = 0; done < ms; done += STEP_MS) {
		world_pass(&all->server, STEP_MS);
		for (unsigned i = 0; i < MOUNTS; i++) {
			if (all->mounts[i].engine != NULL && all->mounts[i].closed)
				mount_join(&all->mounts[i]);
			if (all->mounts[i].engine != NULL)
				EVENT(&all->mounts[i], engine_tick(all->mounts[i].engine));
		}
		pump(all);
	}
}

/* ---- operations ---- */

static void
remember(struct mount *m, struct op *op)
{
	if (op->type != OP_READ && op->type != OP_READLINK && op->type != OP_READDIR && op->type != OP_GETXATTR &&
	    op->type != OP_LISTXATTR && op->type != OP_KEEP)
		return;
	m->told_len = 0;
	for (size_t i = 0; i < op->pieces_count && op->error == 0; i++) {
		const struct piece *p = &op->pieces[i];

		if (p->data != NULL)
			memcpy(m->told + m->told_len, p->data, p->len);
		else
			memset(m->told + m->told_len, 0, p->len);
		m->told_len += p->len;
	}
	for (size_t i = 0; i < op->entries_count && op->error == 0; i++) {
		memcpy(m->told + m->told_len, op->entries[i].name, op->entries[i].name_len);
		m->told_len += op->entries[i].name_len;
		m->told[m->told_len++] = '/';
		op->offset = op->entries[i].offset;
	}
}

bool
mount_submit(struct mount *m, struct op *op)
{
	bool done;

	op->next = NULL;
	EVENT(m, done = engine_submit(m->engine, op));
	if (done)
		op->next = op;
	pump(m->whole);
	return op->next != NULL;
}

void
mount_replied(struct mount *m, struct op *op)
{
	remember(m, op);
	op->next = NULL;
	EVENT(m, engine_replied(m->engine, op));
	pump(m->whole);
}

int
mount_do(struct mount *m, struct op *op)
{
	bool done = mount_submit(m, op);

	for (unsigned ms = 0; ms < PATIENCE_MS && !done; ms += STEP_MS) {
		whole_pass(m->whole, STEP_MS);
		done = op->next != NULL;
	}
	if (!done)
		return -ETIME;
	mount_replied(m, op);
	return op->error;
}

/* ---- connections ---- */

void
mount_cut(struct mount *m)
{
	m->up = false;
	world_disconnect(&m->whole->server, m->at.control);
	world_disconnect(&m->whole->server, m->at.bulk);
	EVENT(m, engine_detached(m->engine));
	pump(m->whole);
}

void
mount_join(struct mount *m)
{
	bool fresh = m->at.at.session == 0;

	if (client_attach(&m->at) != STATUS_OK) {
		m->at.at.session = m->at.generation = 0;
		fresh = true;
		if (client_attach(&m->at) != STATUS_OK)
			abort();
	}
	m->up = true;
	m->closed = false;
	if (m->whole->oids != 0)
		m->at.at.oid_count = m->whole->oids;
	EVENT(m, engine_attached(m->engine, &m->at.at, fresh));
	pump(m->whole);
}

void
whole_restart(struct whole *all)
{
	for (unsigned i = 0; i < MOUNTS; i++)
		if (all->mounts[i].up)
			mount_cut(&all->mounts[i]);
	world_restart(&all->server, UINT64_MAX);
	for (unsigned i = 0; i < MOUNTS; i++)
		if (all->mounts[i].engine != NULL)
			mount_join(&all->mounts[i]);
}

/* ---- lives ---- */

static int
make_engine(struct mount *m, const struct engine_config *config)
{
	struct engine_config own = config == NULL ? (struct engine_config){ 0 } : *config;
	int r;

	m->sink = (struct engine_journal){ .append = append, .trim = trim, .context = m, .next = m->notes_count + 1, .max = 1 << 24 };
	own.journal = &m->sink;
	whole_in_engine = true;
	r = engine_new(&m->engine, &own, m->whole->keys);
	whole_in_engine = false;
	if (r < 0)
		m->engine = NULL;
	return r;
}

int
mount_start(struct mount *m, const struct engine_config *config)
{
	int r = make_engine(m, config);

	if (r == 0)
		mount_join(m);
	return r;
}

/* The journal so far; replay_free() takes what there is. */
static int
load(struct mount *m, struct replay **ret)
{
	int error;

	*ret = NULL;
	whole_in_engine = true;
	error = replay_new(ret, "here", true);
	for (size_t i = 0; i < m->notes_count && error == 0; i++)
		error = replay_add(*ret, i + 1, (struct bytes){ m->notes[i].bytes, m->notes[i].len });
	whole_in_engine = false;
	return error;
}

static int
run_again(struct mount *m, struct replay *r)
{
	struct op *lent, op;

	for (;;) {
		EVENT(m, lent = replay_next(r, m->engine));
		pump(m->whole);
		if (lent == NULL)
			return replay_error(r);
		op = *lent;
		if (!mount_submit(m, &op))
			for (unsigned ms = 0; ms < PATIENCE_MS && op.next == NULL; ms += STEP_MS)
				whole_pass(m->whole, STEP_MS);
		if (op.next == NULL)
			return -ETIME;
		whole_in_engine = true;
		replay_answered(r, &op);
		whole_in_engine = false;
		mount_replied(m, &op);
	}
}

int
mount_replay(struct mount *m)
{
	struct replay *r = NULL;
	int error = make_engine(m, NULL);

	if (error == 0)
		error = load(m, &r);
	if (error == 0) {
		whole_in_engine = true;
		error = replay_adopt(r, m->engine);
		whole_in_engine = false;
	}
	if (error == 0) {
		mount_join(m);
		EVENT(m, error = replay_begin(r, m->engine, (struct timespec){ .tv_sec = 1 }));
	}
	if (error == 0)
		error = run_again(m, r);
	replay_free(r);
	if (error == 0)
		mount_stop(m);
	else
		mount_kill(m);
	return error;
}

int
mount_redo(struct mount *m)
{
	struct replay *r = NULL;
	uint64_t losses;
	bool keep;
	int error;

	if (!engine_redo_due(m->engine, &losses, &keep))
		return 0;
	error = load(m, &r);
	if (error == 0)
		EVENT(m, error = replay_redo(r, m->engine, (struct timespec){ .tv_sec = 1 }, losses, keep));
	if (error == 0)
		error = run_again(m, r);
	EVENT(m, error = engine_redo_end(m->engine, losses, error));
	pump(m->whole);
	replay_free(r);
	return error;
}

void
mount_kill(struct mount *m)
{
	if (m->engine == NULL)
		return;
	if (m->up) {
		m->up = false;
		world_disconnect(&m->whole->server, m->at.control);
		world_disconnect(&m->whole->server, m->at.bulk);
	}
	drain(m);
	engine_free(m->engine);
	m->engine = NULL;
}

void
mount_stop(struct mount *m)
{
	struct message bye = { .type = MSG_bye };

	if (m->up)
		world_send(&m->whole->server, m->at.control, &bye);
	mount_kill(m);
	forget_notes(m);
	m->at.at.session = m->at.generation = 0;
}

bool
whole_sane(struct whole *all)
{
	char why[200];

	for (unsigned i = 0; i < MOUNTS; i++)
		if (all->mounts[i].engine != NULL && !engine_check(all->mounts[i].engine, why, sizeof why)) {
			printf("# mount %u: %s\n", i, why);
			return false;
		}
	/* One that was told of nothing is as it was. */
	if (all->server.events != all->sane_at && !world_check(&all->server))
		return false;
	all->sane_at = all->server.events;
	return true;
}

void
whole_init(struct whole *all)
{
	static const uint8_t key[KEY_SIZE] = { 1 };

	world_init(&all->server, NULL);
	all->keys = volume_keys_new(key, world_volume);
	for (unsigned i = 0; i < MOUNTS; i++)
		all->mounts[i] = (struct mount){ .whole = all, .at = { .w = &all->server, .device = { (uint8_t)(i + 1) } },
		    .told = malloc(TOLD_MAX) };
}

void
whole_done(struct whole *all)
{
	for (unsigned i = 0; i < MOUNTS; i++) {
		mount_stop(&all->mounts[i]);
		free(all->mounts[i].told);
	}
	world_done(&all->server);
	volume_keys_free(all->keys);
}
