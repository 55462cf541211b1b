/*
 * mount.c - between the kernel and a client engine: calls go in, actions are
 * carried out.
 */
#include "tests/sim/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/apart.h"
#include "tests/sim/blocks.h"
#include "tests/sim/diary.h"
#include "tests/sim/fate.h"
#include "tests/sim/fault.h"
#include "tests/sim/through.h"
#include "tests/sim/transfer.h"

enum { SILENCE_US = 15 * 1000000 };	/* after which a connection is given up */

/* ---- calls ---- */

static void
copy_pieces(struct call *c)
{
	size_t at = 0;

	for (size_t i = 0; i < c->op.pieces_count; i++)
		c->len += c->op.pieces[i].len;
	c->bytes = sim_room(c->len);
	for (size_t i = 0; i < c->op.pieces_count; i++) {
		const struct piece *p = &c->op.pieces[i];

		if (p->data != NULL)
			memcpy(c->bytes + at, p->data, p->len);
		else
			memset(c->bytes + at, 0, p->len);
		at += p->len;
	}
}

static void
copy_entries(struct call *c)
{
	c->entries = sim_alloc(c->op.entries_count * sizeof *c->entries);
	for (size_t i = 0; i < c->op.entries_count; i++) {
		const struct dirent_out *d = &c->op.entries[i];
		struct bytes name = { (const uint8_t *)d->name, d->name_len };

		c->next_offset = d->offset;
		if ((name.len == 1 && name.data[0] == '.') || (name.len == 2 && memcmp(name.data, "..", 2) == 0))
			continue;
		c->entries[c->entries_count++] = (struct listed){ d->ino, d->offset, name_number(name), d->type };
	}
	c->listed_end = c->op.entries_count == 0;
	c->offsets = judge_learn_offsets(c->mount->sim, c);
}

/* What the engine answered, in memory of the call's own. */
static void
take_results(struct call *c)
{
	const struct op *op = &c->op;

	c->error = op->error;
	if (c->mount->dozing)
		c->excuses |= EXCUSE_DOWN;
	c->child = op->error == 0 ? op->child : 0;
	c->cacheable = op->cacheable;
	c->name_cacheable = op->name_cacheable;
	c->keep_cache = op->keep_cache;
	c->direct_io = op->direct_io;
	c->written = op->written;
	c->got = op->attr;
	c->got.symlink = (struct bytes){ NULL, 0 };
	c->has_attr = op->error == 0 && (c->type == OP_LOOKUP || c->type == OP_GETATTR || c->type == OP_SETATTR ||
	    c->type == OP_MKNOD || c->type == OP_MKDIR || c->type == OP_SYMLINK || c->type == OP_CREATE ||
	    c->type == OP_LINK);
	if (op->error == 0)
		copy_pieces(c);
	if (c->type == OP_READDIR && op->error == 0)
		copy_entries(c);
	if (c->type == OP_LOOKUP && op->error == 0 && op->child == 0) {
		c->error = -ENOENT;
		c->has_attr = false;
	}
}

static void
reply_arrives(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;
	struct mount *m = c->mount;

	(void)number;
	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), reply_arrives, c, 0);
		return;
	}
	judge_responded(sim, c);
	engine_replied(mount_clocked(m), &c->op);
	c->in_engine = false;
	if (!c->given)
		free((void *)(uintptr_t)c->op.data.data);
	if (c->internal) {
		if (c->then != NULL)
			c->then(c);
	} else
		kernel_replied(m->kernel, c);
	mount_drain(m);
}

static void
done(struct mount *m, struct call *c)
{
	c->parked = false;
	take_results(c);
	if (c->redo) {
		apart_answer(c);
		c->done = ++m->sim->step;
		judge_forget(m->sim, c);
	} else if (c->given && diary_answer(c)) {
		c->done = ++m->sim->step;
		judge_forget(m->sim, c);
	} else
		judge_done(m->sim, c);
	sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.reply_max_us), reply_arrives, c, 0);
}

static void
fill_op(struct call *c)
{
	struct op *op = &c->op;
	bool xattr = c->type == OP_SETXATTR || c->type == OP_GETXATTR || c->type == OP_REMOVEXATTR;
	const char *name = xattr ? xattr_text(c->name) : name_text(c->name), *name2 = name_text(c->name2);

	*op = (struct op){ .type = c->type, .ino = c->ino, .ino2 = c->ino2, .uid = UID, .gid = UID, .flags = c->flags,
	    .set = c->set, .attr = c->attr, .offset = c->offset, .size = c->size,
	    .handle = c->file == NULL ? 0 : c->file->handle, .caller = c->internal ? 0 : c->proc + 1 };
	if (c->name != NAME_NONE)
		op->name = (struct bytes){ (const uint8_t *)name, strlen(name) };
	if (c->name2 != NAME_NONE)
		op->name2 = (struct bytes){ (const uint8_t *)name2, strlen(name2) };
	if (c->type == OP_WRITE || c->type == OP_SETXATTR) {
		uint8_t *data = sim_room(c->size);

		pattern_fill(c->tag, c->origin, data, c->size);
		op->data = (struct bytes){ data, c->size };
	}
}

static void
submit_later(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;

	(void)sim;
	(void)number;
	if (c->mount->state != MOUNT_GONE)
		mount_submit(c->mount, c);
}

void
mount_submit(struct mount *m, struct call *c)
{
	if (mount_stalled_us(m) > 0) {
		sim_after(m->sim, mount_stalled_us(m), submit_later, c, 0);
		return;
	}
	if (!c->given)
		fill_op(c);
	c->op.own |= c->internal;
	c->in_engine = c->parked = true;
	if (engine_submit(mount_clocked(m), &c->op))
		done(m, c);
	mount_drain(m);
}

void
mount_forget(struct mount *m, uint64_t ino, uint64_t lookups)
{
	engine_forget(mount_clocked(m), ino, lookups);
	mount_drain(m);
}

void
mount_interrupt(struct mount *m, struct call *c)
{
	if (!c->parked || mount_stalled_us(m) > 0)
		return;
	/* It has been done, and EINTR would not undo it: of that the judge cannot tell. */
	if (c->op.through)
		return;
	c->excuses |= EXCUSE_INTR;
	sim_trace(m->sim, "c%u: interrupt #%" PRIu64, m->client->index, c->number);
	engine_interrupt(mount_clocked(m), &c->op);
	mount_drain(m);
}

/* ---- actions ---- */

static void
send_commit(struct mount *m, struct commit *commit, uint64_t id)
{
	struct message msg = { .type = MSG_commit, .id = id };
	struct arena arena = { 0 };
	struct msg_change *changes = arena_alloc(&arena, commit->changes_count * sizeof *changes + 1);
	struct msg_small_block *blocks = arena_alloc(&arena, commit->blocks_count * sizeof *blocks + 1);

	for (uint32_t i = 0; i < commit->changes_count; i++) {
		changes[i] = commit->changes[i];
		if (changes[i].op == CHANGE_PUT)
			changes[i].value = blocks_seal_record(m->sim, &commit->changes[i], &arena);
	}
	for (uint32_t i = 0; i < commit->blocks_count; i++) {
		struct flush *f = commit->blocks[i];

		memcpy(blocks[i].id, f->id, ID_SIZE);
		blocks[i].data = (struct bytes){ f->sealed->data, f->sealed->size };
	}
	msg.commit.sequence = commit->sequence;
	msg.commit.bases.at = commit->bases;
	msg.commit.bases.count = commit->bases_count;
	msg.commit.changes.at = changes;
	msg.commit.changes.count = commit->changes_count;
	msg.commit.blocks.at = blocks;
	msg.commit.blocks.count = commit->blocks_count;
	if (m->control != NULL)
		net_to_server(m->control, &msg);
	arena_free(&arena);
}

enum { SWEEP_DIRECTORY = 1, SWEEP_PAGES = 2, SWEEP_BITS = 2, PAGES_US = 500 };

static void
swept(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	uint64_t oid = number >> SWEEP_BITS;

	if (m->state == MOUNT_GONE)
		return;
	if (mount_stalled_us(m) > 0) {
		sim_after(sim, mount_stalled_us(m), swept, m, number);
		return;
	}
	if ((number & SWEEP_PAGES) && kernel_pages_locked(m->kernel, oid)) {
		sim_after(sim, PAGES_US, swept, m, number);
		return;
	}
	engine_invalidated(mount_clocked(m), oid, number & SWEEP_PAGES, 0);
	mount_drain(m);
}

/* The notification is written, and takes effect; its return comes a little later. */
static void
sweep(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;
	uint64_t oid = number >> SWEEP_BITS;
	int r;

	if (m->state == MOUNT_GONE)
		return;
	r = kernel_invalidate(m->kernel, oid, number & SWEEP_DIRECTORY, number & SWEEP_PAGES);
	sim_trace(sim, "c%u: invalidated %" PRIu64 "%s", m->client->index, oid, r < 0 ? ", unknown" : "");
	if (r < 0) {
		engine_invalidated(mount_clocked(m), oid, number & SWEEP_PAGES, r);
		mount_drain(m);
	} else
		sim_after(sim, 1 + rng_below(&sim->misc, sim->plan.invalidate_max_us), swept, m, number);
}

/* message_print() shows the first few objects; for finding out what went wrong one needs all. */
static void
trace_objects(struct mount *m, const struct action *a)
{
	const struct msg_lease *l = a->kind == ACTION_SEND && a->message.type == MSG_reclaim ? a->message.reclaim.leases.at : NULL;
	uint32_t count = a->kind == ACTION_COMMIT ? a->commit->bases_count : l != NULL ? a->message.reclaim.leases.count : 0;
	char text[500];
	size_t at = 0;

	for (uint32_t i = 0; i < count && at < sizeof text - 32; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, " %" PRIu64,
		    l != NULL ? l[i].oid : a->commit->bases[i].oid);
	if (count > 0)
		sim_trace(m->sim, "c%u: %s%s", m->client->index, l != NULL ? "reclaims" : "changes", text);
}

static void
carry_out(struct mount *m, struct action *a)
{
	if (m->sim->options.trace)
		trace_objects(m, a);
	switch (a->kind) {
	case ACTION_SEND:
		if (m->control != NULL && m->state != MOUNT_CONNECTING)
			net_to_server(m->control, &a->message);
		break;
	case ACTION_COMMIT:
		send_commit(m, a->commit, fate_frozen(m, a->commit));
		commit_put(a->commit);
		break;
	case ACTION_STORE:
		transfer_store(m, a->flush);
		break;
	case ACTION_FETCH:
		transfer_fetch(m, a->fetch);
		break;
	case ACTION_INVALIDATE:
		/* Stale attributes that an operation leaves behind are shown for a moment; not here. */
		if (!a->directory && !a->pages)
			kernel_invalidate(m->kernel, a->oid, false, false);
		sim_after(m->sim, 1 + rng_below(&m->sim->misc, m->sim->plan.invalidate_max_us), sweep, m,
		    a->oid << SWEEP_BITS | (a->directory ? SWEEP_DIRECTORY : 0) | (a->pages ? SWEEP_PAGES : 0));
		break;
	case ACTION_REPLY:
		done(m, (struct call *)((char *)a->op - offsetof(struct call, op)));
		break;
	}
	action_free(a);
}

void
mount_drain(struct mount *m)
{
	struct action *a;

	if (m->draining)
		return;
	m->draining = true;
	fate_heed(m);
	while (m->engine != NULL && !m->sim->report.failed && (a = engine_next(m->engine)) != NULL) {
		/* Calls done before the commit was frozen come before it in the queue. */
		if (a->kind == ACTION_COMMIT)
			fate_watch(m);
		carry_out(m, a);
	}
	if (m->engine != NULL) {
		fate_watch(m);
		through_watch(m);
		diary_check(m->client->diary, m);
	}
	m->draining = false;
	if (++m->unchecked >= m->sim->options.check_every)
		mount_check(m);
}

static void
count_offline(struct mount *m)
{
	struct engine_status s;

	engine_status(m->engine, &s);
	m->sim->report.offline += s.offline && !m->offline;
	if (s.offline && !m->offline)
		fault_alone(m->sim, m->client);
	m->offline = s.offline;
}

void
mount_tick(struct sim *sim, void *what, uint64_t number)
{
	struct mount *m = what;

	(void)number;
	if (m->state == MOUNT_GONE)
		return;
	mount_overslept(m);
	if (mount_stalled_us(m) == 0) {
		/* Only then: a time that the engine does not tell is missed here, too. */
		if (engine_due(mount_clocked(m)) <= sim->now_us / 1000)
			engine_tick(m->engine);
		mount_drain(m);
		count_offline(m);
		if (m->offline)
			transfer_offline(m);
		apart_tick(m);
		if (m->control != NULL && m->state != MOUNT_CONNECTING && sim->now_us - m->control->heard_us > SILENCE_US) {
			struct conn *c = m->control;

			sim_trace(sim, "c%u: nothing heard, giving up the connection", m->client->index);
			net_close_by_client(c);
			client_lost(m, c);
		}
	}
	if (m->state != MOUNT_GONE)
		sim_after(sim, MOUNT_TICK_US, mount_tick, m, 0);
}
