/*
 * fate.c - see fate.h.
 *
 * Steps of the world tell which calls a commit can hold: those done before
 * it was frozen.  Calls done in the very event that froze it may be on either
 * side; each boundary there is tried.
 *
 * What the store says of an inode counts only while the dead mount was the
 * last to change it: then nobody else can have anything unsaved of it.
 */
#include "tests/sim/fate.h"

#define XXH_INLINE_ALL
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/store.h"
#include "tests/sim/daemon.h"

struct freeze {
	uint64_t	 sequence, hash;	/* of its changes: one sent again is the same */
	uint64_t	 step, event;
};

struct applied {
	uint64_t	 pos, sequence, step, event;
};

struct ledger {
	struct { uint64_t step, event; bool taken; } *made;	/* when each sequence was last frozen: [sequence - 1] */
	uint64_t	 sequence, made_size;
	struct freeze	*frozen;		/* message id - 1 is the index */
	size_t		 frozen_count, frozen_size;
	struct applied	*applied;		/* in order */
	size_t		 applied_count, applied_size;
	uint64_t	 acked_step;		/* calls up to here were promised to stay */
	bool		 dead, stale;		/* stale: its fate is to be found out anew */
	bool		 settled;		/* nothing can change it any more */
};

/* ---- lives ---- */

void
fate_mount(struct mount *m)
{
	m->ledger = sim_alloc(sizeof *m->ledger);
}

void
fate_mount_free(struct mount *m)
{
	free(m->ledger->made);
	free(m->ledger->frozen);
	free(m->ledger->applied);
	free(m->ledger);
}

void
fate_session_lost(struct mount *m)
{
	sim_fail(m->sim, "client %u: the server does not know its session", m->client->index);
}

void
fate_killed(struct mount *m)
{
	struct judge *j = m->sim->judge;

	for (size_t i = 0; i < j->calls_count; i++)
		if (j->calls[i]->mount == m && j->calls[i]->responded == 0)
			j->calls[i]->responded = UINT64_MAX;
	m->ledger->dead = m->ledger->stale = true;
	judge_append(j, (struct letter){ .kind = LETTER_DEATH, .mount = m });
	judge_advance(j);
}

/* ---- commits ---- */

static uint64_t
hash_bytes(uint64_t h, struct bytes b)
{
	return XXH3_64bits_withSeed(b.data, b.len, h + b.len);
}

static uint64_t
commit_hash(const struct commit *c)
{
	uint64_t h = c->sequence;

	for (uint32_t i = 0; i < c->changes_count; i++) {
		const struct msg_change *m = &c->changes[i];

		h = rng_mix(rng_mix(h ^ m->oid) ^ ((uint64_t)m->op << 8 | m->kind));
		h = hash_bytes(hash_bytes(hash_bytes(h, m->subkey), m->to), m->value);
		h = hash_bytes(h, (struct bytes){ (const uint8_t *)m->orefs.at, m->orefs.count * sizeof *m->orefs.at });
		h = hash_bytes(h, (struct bytes){ (const uint8_t *)m->brefs.at, (size_t)m->brefs.count * ID_SIZE });
	}
	return h;
}

void
fate_watch(struct mount *m)
{
	struct ledger *l = m->ledger;
	struct engine_status s;

	engine_status(m->engine, &s);
	if (s.sequence > l->made_size) {
		l->made_size = s.sequence * 2 + 16;
		if ((l->made = realloc(l->made, l->made_size * sizeof *l->made)) == NULL)
			abort();
	}
	if (s.sequence > l->sequence)
		m->sim->step++;
	for (; l->sequence < s.sequence; l->sequence++) {
		l->made[l->sequence].step = m->sim->step;
		l->made[l->sequence].event = m->sim->report.events;
		l->made[l->sequence].taken = false;
	}
	l->sequence = s.sequence;
}

uint64_t
fate_frozen(struct mount *m, const struct commit *commit)
{
	struct ledger *l = m->ledger;
	struct freeze f = { commit->sequence, commit_hash(commit), ++m->sim->step, m->sim->report.events };

	for (size_t i = 0; i < l->frozen_count; i++)
		if (l->frozen[i].sequence == f.sequence && l->frozen[i].hash == f.hash)
			return i + 1;
	if (l->frozen_count == l->frozen_size) {
		l->frozen_size = l->frozen_size * 2 + 16;
		if ((l->frozen = realloc(l->frozen, l->frozen_size * sizeof *l->frozen)) == NULL)
			abort();
	}
	/* It may have been frozen long before it could be sent. */
	if (f.sequence <= l->sequence && !l->made[f.sequence - 1].taken) {
		f.step = l->made[f.sequence - 1].step;
		f.event = l->made[f.sequence - 1].event;
		l->made[f.sequence - 1].taken = true;
	}
	l->frozen[l->frozen_count++] = f;
	sim_trace(m->sim, "c%u: froze commit %" PRIu64 " of %u changes", m->client->index, f.sequence, commit->changes_count);
	return l->frozen_count;
}

void
fate_before(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct judge *j = sim->judge;

	if (m->type != MSG_commit)
		return;
	j->was_version = image_version(sim);
	j->was_sequence = 0;
	image_session(sim, c->session, &j->was_sequence, &(bool){ false });
}

void
fate_after(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct judge *j = sim->judge;
	struct ledger *l = c->mount->ledger;
	uint64_t sequence = 0;
	bool rejected = false, applied;
	const struct freeze *f;

	if (m->type != MSG_commit || sim->report.failed)
		return;
	image_session(sim, c->session, &sequence, &rejected);
	applied = sequence > j->was_sequence && !rejected;
	if (sequence > j->was_sequence + 1 || (sequence != j->was_sequence && sequence != m->commit.sequence))
		sim_fail(sim, "the server went from sequence %" PRIu64 " to %" PRIu64 " at commit %" PRIu64,
		    j->was_sequence, sequence, m->commit.sequence);
	if (image_version(sim) != j->was_version && !applied)
		sim_fail(sim, "a commit of sequence %" PRIu64 " was applied after %" PRIu64 " was", m->commit.sequence,
		    j->was_sequence);
	if (!applied)
		return;
	assert(m->id >= 1 && m->id <= l->frozen_count);
	f = &l->frozen[m->id - 1];
	if (l->applied_count == l->applied_size) {
		l->applied_size = l->applied_size * 2 + 16;
		if ((l->applied = realloc(l->applied, l->applied_size * sizeof *l->applied)) == NULL)
			abort();
	}
	l->applied[l->applied_count++] = (struct applied){ store_end(sim->daemon->store), sequence, f->step, f->event };
	if (l->dead && l->settled)
		sim_fail(sim, "a commit of a session that had ended was applied");
	l->stale = l->dead;
	judge_advance(j);
}

void
fate_server_sends(struct sim *sim, const struct conn *c, const struct message *m)
{
	struct ledger *l = c->mount->ledger;

	if (m->type == MSG_committed && m->committed.status == STATUS_OK)
		for (size_t i = 0; i < l->applied_count; i++)
			if (l->applied[i].sequence == m->committed.sequence && l->applied[i].step > l->acked_step)
				l->acked_step = l->applied[i].step;
	if (m->type == MSG_attached && c->lane == LANE_CONTROL && c->mount->replaces != 0)
		for (struct mount *old = c->mount->client->mounts; old != NULL; old = old->next)
			if (old->session == c->mount->replaces)
				old->ledger->settled = true;
	(void)sim;
}

uint64_t
fate_crash_position(struct sim *sim, uint64_t synced, uint64_t end)
{
	return rng_chance(&sim->faults, 400) ? synced : rng_chance(&sim->faults, 150) ? end :
	    rng_between(&sim->faults, synced, end);
}

void
fate_crashed(struct sim *sim, uint64_t kept)
{
	struct image image;

	for (unsigned i = 0; i < sim->plan.clients; i++)
		for (struct mount *m = sim->clients[i]->mounts; m != NULL; m = m->next) {
			struct ledger *l = m->ledger;
			size_t count = l->applied_count;

			while (count > 0 && l->applied[count - 1].pos > kept)
				count--;
			if (count == l->applied_count)
				continue;
			l->applied_count = count;
			if (l->acked_step > (count == 0 ? 0 : l->applied[count - 1].step))
				sim_fail(sim, "an acknowledged commit of client %u is lost", i);
			l->stale = l->dead;
		}
	image_read(sim, &image);
	if (!image_check(&image))
		sim_fail(sim, "the store after a crash: %s", image.wrong);
	image_free(&image);
	judge_advance(sim->judge);
}

/* ---- promises ---- */

static bool
changes_something(const struct call *c)
{
	switch (c->type) {
	case OP_RENAME: case OP_SETATTR: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_CREATE: case OP_LINK: case OP_UNLINK:
	case OP_RMDIR: case OP_WRITE: case OP_FALLOCATE: case OP_SETXATTR: case OP_REMOVEXATTR:
		return true;
	default:
		return c->type == OP_OPEN && (c->flags & O_TRUNC);
	}
}

static bool
promised(const struct call *sync, const struct call *c)
{
	if (!changes_something(c))
		return false;
	switch (sync->type) {
	case OP_SYNC:
		return true;
	case OP_FSYNC:
		return c->ino == sync->ino || c->child == sync->ino || c->victim == sync->ino;
	default:
		return (c->ino == sync->ino || c->ino2 == sync->ino) && c->type != OP_SETATTR;
	}
}

/* Content without a name need not survive. */
static bool
unlinked(const struct model *m, const struct call *c)
{
	const struct inode *i = model_find(m, c->ino);

	return i != NULL && i->nlink == 0;
}

void
fate_done(struct sim *sim, struct call *c)
{
	struct judge *j = sim->judge;

	if (c->error != 0 || (c->type != OP_FSYNC && c->type != OP_FSYNCDIR && c->type != OP_SYNC))
		return;
	for (size_t i = 0; i < j->count; i++) {
		struct call *old = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (old != NULL && old->mount == c->mount && old->error == 0 && old->done < c->invoked && promised(c, old) &&
		    !unlinked(j->model, old))
			old->durable = true;
	}
}

/* ---- what a call touches ---- */

enum { TOUCHED_MAX = 6 };

static void
touch(uint64_t *to, unsigned *count, uint64_t ino)
{
	if (ino != 0)
		to[(*count)++] = ino;
}

static uint64_t
named(const struct model *m, uint64_t dir, uint8_t name)
{
	const struct inode *i = model_find(m, dir);

	return i == NULL || i->entries == NULL || name == NAME_NONE ? 0 : i->entries[name];
}

void
fate_weigh(const struct model *before, struct call *c)
{
	if (c->type == OP_CREATE)
		c->idle = model_find(before, c->child) != NULL && !(c->flags & O_TRUNC);
	if (c->type == OP_RENAME)
		c->idle = named(before, c->ino, c->name) == named(before, c->ino2, c->name2);
}

/* The inodes it changes in this state. */
static unsigned
touches(const struct model *m, const struct call *c, uint64_t to[TOUCHED_MAX])
{
	unsigned count = 0;

	if (c->error != 0)
		return 0;
	switch (c->type) {
	case OP_SETATTR: case OP_WRITE: case OP_FALLOCATE: case OP_SETXATTR: case OP_REMOVEXATTR:
		touch(to, &count, c->ino);
		break;
	case OP_OPEN:
		touch(to, &count, (c->flags & O_TRUNC) ? c->ino : 0);
		break;
	case OP_CREATE:
		if (model_find(m, c->child) != NULL) {
			touch(to, &count, (c->flags & O_TRUNC) ? c->child : 0);
			break;
		}
		/* fall through */
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		touch(to, &count, c->ino);
		touch(to, &count, c->child);
		break;
	case OP_LINK:
		touch(to, &count, c->ino);
		touch(to, &count, c->ino2);
		break;
	case OP_UNLINK: case OP_RMDIR:
		touch(to, &count, c->ino);
		touch(to, &count, named(m, c->ino, c->name));
		break;
	case OP_RENAME:
		touch(to, &count, c->ino);
		touch(to, &count, c->ino2);
		touch(to, &count, named(m, c->ino, c->name));
		touch(to, &count, named(m, c->ino2, c->name2));
		break;
	default:
		break;
	}
	return count;
}

static bool
changes_content(const struct call *c)
{
	return c->type == OP_WRITE || c->type == OP_FALLOCATE || (c->type == OP_SETATTR && (c->set & SET_SIZE)) ||
	    ((c->type == OP_OPEN || c->type == OP_CREATE) && (c->flags & O_TRUNC));
}

/* ---- facts about inodes, gathered along the history ---- */

struct version {
	struct inode	*inode;
	uint64_t	 step;			/* when the call that made it was done */
};

struct fact {
	uint64_t	 ino;
	const struct mount *changer;		/* the last one */
	bool		 doubtful;		/* touched by void calls of the dead mount */
	struct version	*versions;		/* states since its content was last certain, oldest first */
	size_t		 versions_count, versions_size;
};

struct facts {
	struct mount	*dead;
	struct fact	*at;
	size_t		 count, size;
	struct model	*model;			/* at the moment of death */
};

void
fate_free_inode(struct inode *i)
{
	if (i != NULL && --i->refs == 0) {
		free(i->entries);
		free(i->runs);
		free(i);
	}
}

static struct fact *
fact_of(struct facts *f, uint64_t ino)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->at[i].ino == ino)
			return &f->at[i];
	if (f->count == f->size) {
		f->size = f->size * 2 + 64;
		if ((f->at = realloc(f->at, f->size * sizeof *f->at)) == NULL)
			abort();
	}
	f->at[f->count] = (struct fact){ .ino = ino };
	return &f->at[f->count++];
}

/* Keeps only the versions from the one that stood at `step`. */
static void
forget_versions(struct fact *fact, uint64_t step)
{
	size_t keep = 0;

	for (size_t i = 0; i < fact->versions_count; i++)
		if (fact->versions[i].step <= step)
			keep = i;
	for (size_t i = 0; i < keep; i++)
		fate_free_inode(fact->versions[i].inode);
	if (keep > 0)
		memmove(fact->versions, fact->versions + keep, (fact->versions_count - keep) * sizeof *fact->versions);
	fact->versions_count -= keep;
}

static void
drop_versions(struct fact *fact)
{
	while (fact->versions_count > 0)
		fate_free_inode(fact->versions[--fact->versions_count].inode);
}

static void
add_version(struct facts *f, uint64_t ino, uint64_t step)
{
	struct inode *i = (struct inode *)(uintptr_t)model_find(f->model, ino);
	struct fact *fact = fact_of(f, ino);

	if (i == NULL || !S_ISREG(i->mode))
		return;
	if (fact->versions_count == fact->versions_size) {
		fact->versions_size = fact->versions_size * 2 + 8;
		fact->versions = realloc(fact->versions, fact->versions_size * sizeof *fact->versions);
		if (fact->versions == NULL)
			abort();
	}
	i->refs++;
	fact->versions[fact->versions_count++] = (struct version){ i, step };
}

/* Another session was shown this inode, so all of it had arrived. */
static void
shown(struct facts *f, const struct call *c, uint64_t ino)
{
	struct fact *fact;

	if (ino == 0 || c->mount == f->dead || model_find(f->model, ino) == NULL)
		return;
	fact = fact_of(f, ino);
	if (fact->versions_count > 1)
		forget_versions(fact, UINT64_MAX);
}

/* Before the call: versions there were; after it: the version it makes. */
static void
follow(struct facts *f, const struct call *c, bool after)
{
	uint64_t inos[TOUCHED_MAX], moved = named(f->model, c->ino, c->name), replaced = named(f->model, c->ino2, c->name2);
	unsigned count;

	if (c->voided) {
		uint64_t doubt[] = { c->ino, c->ino2, c->child, c->victim, c->victim2 };

		for (unsigned i = 0; !after && c->error == 0 && i < sizeof doubt / sizeof *doubt; i++)
			if (doubt[i] != 0 && c->type != OP_READ && c->type != OP_LOOKUP && c->type != OP_GETATTR)
				fact_of(f, doubt[i])->doubtful = true;
		return;
	}
	/* A name may be known without its inode being leased; attributes and content may not. */
	if (c->error == 0 && (c->has_attr || c->type == OP_READ || c->type == OP_LSEEK || changes_content(c))) {
		shown(f, c, c->type == OP_LOOKUP ? 0 : c->ino);
		shown(f, c, c->child);
	}
	if (after) {
		uint64_t ino = c->type == OP_CREATE ? c->child : c->ino;

		if (c->error == 0 && c->mount == f->dead && changes_content(c))
			add_version(f, ino, c->done);
		return;
	}
	count = touches(f->model, c, inos);
	for (unsigned i = 0; i < count; i++) {
		struct fact *fact = fact_of(f, inos[i]);

		fact->changer = c->mount;
		if (c->mount != f->dead)
			drop_versions(fact);
		else if (fact->versions_count == 0)
			add_version(f, inos[i], 0);
	}
	if (c->mount != f->dead || c->error != 0)
		return;
	if (c->type == OP_FSYNC)
		forget_versions(fact_of(f, c->ino), c->invoked);
	if (c->type == OP_SYNC)
		for (size_t i = 0; i < f->count; i++)
			forget_versions(&f->at[i], c->invoked);
	if (c->type == OP_RENAME && replaced != 0 && replaced != moved && moved != 0 && !(c->flags & RENAME_EXCHANGE))
		forget_versions(fact_of(f, moved), UINT64_MAX);
}

static void
facts_free(struct facts *f)
{
	for (size_t i = 0; i < f->count; i++) {
		for (size_t v = 0; v < f->at[i].versions_count; v++)
			fate_free_inode(f->at[i].versions[v].inode);
		free(f->at[i].versions);
	}
	free(f->at);
	model_free(f->model);
}

/* Walks the history; f->model is left at the death. False when what others saw does not fit any more. */
static bool
gather(struct judge *j, struct facts *f, char *why, size_t size)
{
	struct model *at_death = NULL;
	bool fits = true;

	f->model = model_copy(j->base);
	for (size_t i = 0; i < j->verified && fits; i++) {
		const struct letter *l = &j->letters[i];

		switch (l->kind) {
		case LETTER_CALL:
			follow(f, l->call, false);
			if (!l->call->voided && !model_apply(f->model, l->call, why, size)) {
				char text[400];
				size_t at = strlen(why);

				call_text(l->call, text, sizeof text);
				snprintf(why + at, size - at, ": %s", text);
				fits = false;
			}
			follow(f, l->call, true);
			break;
		case LETTER_DEATH:
			model_close_all(f->model, l->mount->client->index);
			if (l->mount == f->dead)
				at_death = model_copy(f->model);
			break;
		case LETTER_ADOPT:
			model_adopt(f->model, l->as);
			break;
		}
	}
	model_free(f->model);
	f->model = at_death;
	return fits && at_death != NULL;
}

/* ---- comparing with the store ---- */

bool
fate_same_object(const struct inode *i, const struct image_object *o)
{
	if (o->attr.mode != i->mode || o->attr.nlink != i->nlink || o->attr.uid != i->uid || o->attr.gid != i->gid)
		return false;
	if (S_ISDIR(i->mode) && (memcmp(o->entries, i->entries, sizeof o->entries) != 0 ||
	    (i->ino != OID_ROOT && o->parent != i->parent)))
		return false;
	if (S_ISLNK(i->mode) && o->target != i->target)
		return false;
	for (unsigned x = 0; x < XATTRS; x++)
		if (o->xattrs[x].set != i->xattrs[x].set || (o->xattrs[x].set && (o->xattrs[x].len != i->xattrs[x].size ||
		    pattern_compare(i->xattrs[x].tag, 0, o->xattrs[x].value, o->xattrs[x].len) < o->xattrs[x].len)))
			return false;
	return true;
}

static int64_t
ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static bool
within(struct timespec ts, struct when when)
{
	return ns_of(ts) >= when.low && ns_of(ts) <= when.high;
}

/* Edges of runs, between which a file's bytes come from one call. */
static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t
edges_of(const struct fact *f, uint64_t size, uint64_t **ret)
{
	size_t count = 2, most = 2 + size / REGION_SIZE;
	uint64_t *edges;

	for (size_t v = 0; v < f->versions_count; v++)
		most += 1 + 2 * f->versions[v].inode->runs_count;
	edges = sim_alloc(most * sizeof *edges);
	edges[1] = size;
	for (uint64_t at = REGION_SIZE; at <= size; at += REGION_SIZE)
		edges[count++] = at;	/* regions arrive one by one */
	for (size_t v = 0; v < f->versions_count; v++) {
		const struct inode *i = f->versions[v].inode;

		edges[count++] = i->size < size ? i->size : size;
		for (size_t r = 0; r < i->runs_count; r++) {
			uint64_t end = i->runs[r].start + i->runs[r].len;

			edges[count++] = i->runs[r].start < size ? i->runs[r].start : size;
			edges[count++] = end < size ? end : size;
		}
	}
	qsort(edges, count, sizeof *edges, by_value);
	*ret = edges;
	return count;
}

/* The run of an inode that covers the byte at `at`, or NULL for a hole. */
static const struct run *
run_at(const struct inode *i, uint64_t at)
{
	for (size_t r = 0; r < i->runs_count; r++)
		if (i->runs[r].start <= at && at < i->runs[r].start + i->runs[r].len)
			return &i->runs[r];
	return NULL;
}

/* Every byte must be from some version; `as` becomes what is there. */
static bool
take_content(const struct fact *f, const uint8_t *content, uint64_t size, struct inode *as, char *why, size_t why_size)
{
	uint64_t *edges;
	size_t count = edges_of(f, size, &edges);
	bool good = true;

	runs_cut(as, 0, UINT64_MAX);
	as->size = size;
	for (size_t e = 0; e + 1 < count && good; e++) {
		uint64_t from = edges[e], to = edges[e + 1];
		size_t v = f->versions_count;

		if (from == to)
			continue;
		while (v-- > 0 && runs_compare(f->versions[v].inode, from, content + from, to - from) < to - from)
			continue;
		if ((good = v != SIZE_MAX)) {
			const struct run *r = run_at(f->versions[v].inode, from);

			if (r != NULL)
				runs_write(as, (struct run){ from, to - from, r->origin + (from - r->start), r->tag });
		} else
			snprintf(why, why_size, "bytes %" PRIu64 "..%" PRIu64 " of %" PRIu64 " were never there", from, to, f->ino);
	}
	free(edges);
	return good;
}

static struct inode *
duplicate(const struct inode *i)
{
	struct inode *to = sim_alloc(sizeof *to);

	*to = *i;
	to->refs = 1;
	to->entries = NULL;
	to->runs = sim_alloc(i->runs_count * sizeof *i->runs);
	if (i->runs_count > 0)
		memcpy(to->runs, i->runs, i->runs_count * sizeof *i->runs);
	return to;
}

static bool
size_possible(const struct fact *f, uint64_t size)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (size_t v = 0; v < f->versions_count; v++) {
		low = f->versions[v].inode->size < low ? f->versions[v].inode->size : low;
		high = f->versions[v].inode->size > high ? f->versions[v].inode->size : high;
	}
	return size >= low && size <= high;
}

/* One inode the dead mount was the last to change. The inode to adopt in *ret, or NULL when it is as it was. */
static bool
judge_inode(const struct image *image, struct fact *f, const struct inode *i, struct inode **ret, char *why, size_t size)
{
	const struct image_object *o = image_find(image, i->ino);
	uint8_t *content;
	struct inode *as;
	bool good;

	if (o == NULL || !o->has_attr) {
		snprintf(why, size, "%" PRIu64 " is lost", i->ino);
		return false;
	}
	if (!fate_same_object(i, o)) {
		snprintf(why, size, "%" PRIu64 " is not as its commits left it: mode %o nlink %u parent %" PRIu64
		    ", but expected %o %u %" PRIu64, i->ino, o->attr.mode, o->attr.nlink, o->parent, i->mode, i->nlink, i->parent);
		for (unsigned n = 0; i->entries != NULL && n < NAMES; n++)
			if (i->entries[n] != o->entries[n])
				snprintf(why + strlen(why), size - strlen(why), " %.8s is %" PRIu64 " not %" PRIu64, name_text(n),
				    o->entries[n], i->entries[n]);
		return false;
	}
	if (!within(o->attr.mtime, i->mtime) || !within(o->attr.ctime, i->ctime)) {
		snprintf(why, size, "%" PRIu64 " has other times than its commits left", i->ino);
		return false;
	}
	if (!S_ISREG(i->mode))
		return true;
	if (f->versions_count == 0) {
		f->versions = sim_alloc(sizeof *f->versions);
		f->versions[0] = (struct version){ duplicate(i), 0 };
		f->versions_count = f->versions_size = 1;
	}
	content = sim_alloc(o->attr.size);
	as = duplicate(i);
	as->mtime = (struct when){ ns_of(o->attr.mtime), ns_of(o->attr.mtime) };
	as->ctime = (struct when){ ns_of(o->attr.ctime), ns_of(o->attr.ctime) };
	if (!(good = size_possible(f, o->attr.size)))
		snprintf(why, size, "%" PRIu64 " has size %" PRIu64 ", but it had %zu others, %" PRIu64 " to %" PRIu64, i->ino,
		    o->attr.size, f->versions_count, f->versions[0].inode->size,
		    f->versions[f->versions_count - 1].inode->size);
	else if (!(good = image_content(image, o, content)))
		snprintf(why, size, "%" PRIu64 " misses a block", i->ino);
	else
		good = take_content(f, content, o->attr.size, as, why, size);
	free(content);
	if (good && f->versions_count > 1)
		*ret = as;
	else
		fate_free_inode(as);
	return good;
}

/* ---- deciding ---- */

static void
remove_adopted(struct judge *j, const struct mount *m, const struct facts *f)
{
	size_t count = 0, verified = j->verified;

	for (size_t i = 0; i < j->count; i++) {
		struct letter *l = &j->letters[i];
		bool mine = l->kind == LETTER_ADOPT && l->mount == m;

		for (size_t n = 0; mine && n < f->count; n++)
			if (f->at[n].ino == l->as->ino && f->at[n].changer != m)
				mine = false;	/* somebody built on it */
		if (!mine) {
			j->letters[count++] = *l;
			continue;
		}
		fate_free_inode(l->as);
		verified -= i < j->verified;
	}
	j->count = count;
	j->verified = verified;
}

static void
insert_adopted(struct judge *j, struct mount *m, struct inode *as)
{
	size_t at = 0;

	while (j->letters[at].kind != LETTER_DEATH || j->letters[at].mount != m)
		at++;
	judge_append(j, (struct letter){ .kind = LETTER_ADOPT });
	memmove(j->letters + at + 2, j->letters + at + 1, (j->count - at - 2) * sizeof *j->letters);
	j->letters[at + 1] = (struct letter){ .kind = LETTER_ADOPT, .mount = m, .as = as };
	if (j->verified > at)
		j->verified++;
}

static void
void_after(struct judge *j, const struct mount *m, uint64_t step)
{
	for (size_t i = 0; i < j->count; i++) {
		struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;

		if (c != NULL && c->mount == m)
			c->voided = c->done > step;
	}
}

/* Without a name, and nobody has it open. */
static bool
is_gone(const struct inode *i)
{
	for (unsigned c = 0; c < CLIENTS_MAX; c++)
		if (i->opens[c] > 0)
			return false;
	return i->nlink == 0;
}

/* One boundary between what stayed and what is void: does it explain everything? */
static bool
try_boundary(struct judge *j, struct mount *m, uint64_t step, char *why, size_t size)
{
	struct facts facts = { .dead = m };
	struct image image;
	bool good;

	void_after(j, m, step);
	image_read(j->sim, &image);
	good = gather(j, &facts, why, size);
	if (good)
		remove_adopted(j, m, &facts);
	for (size_t n = 0; good && n < facts.count; n++) {
		struct fact *f = &facts.at[n];
		const struct inode *i = model_find(facts.model, f->ino);
		struct inode *as = NULL;

		if (i == NULL || is_gone(i) || (f->changer != m && !(f->doubtful && f->changer == NULL)))
			continue;
		good = judge_inode(&image, f, i, &as, why, size);
		if (as != NULL)
			insert_adopted(j, m, as);
	}
	image_free(&image);
	facts_free(&facts);
	return good;
}

static bool
promises_kept(struct judge *j, const struct mount *m, char *why, size_t size)
{
	for (size_t i = 0; i < j->count; i++) {
		struct call *c = j->letters[i].kind == LETTER_CALL ? j->letters[i].call : NULL;
		char text[400];

		if (c == NULL || c->mount != m || !c->voided || !c->durable || c->idle)
			continue;
		call_text(c, text, sizeof text);
		snprintf(why, size, "synced work is lost: %s", text);
		return false;
	}
	return true;
}

static void
decide(struct judge *j, struct mount *m)
{
	struct ledger *l = m->ledger;
	const struct applied *last = l->applied_count == 0 ? NULL : &l->applied[l->applied_count - 1];
	uint64_t step = last == NULL ? 0 : last->step, tried = step;
	char why[1024] = "", again[1024] = "";
	bool good;
	size_t at;

	l->stale = false;
	good = try_boundary(j, m, step, why, sizeof why);
	for (size_t i = 0; !good && last != NULL && i < j->calls_count; i++) {
		const struct call *c = j->calls[i];

		if (c->mount != m || c->done == 0 || c->done_event != last->event)
			continue;
		/* Just before, and with, each call of the event that froze the commit. */
		if ((good = try_boundary(j, m, c->done - 1, again, sizeof again)) ||
		    (good = try_boundary(j, m, c->done, again, sizeof again)))
			tried = c->done;
	}
	if (!good || !promises_kept(j, m, why, sizeof why)) {
		try_boundary(j, m, step, again, sizeof again);
		sim_fail(j->sim, "after the death of client %u with %zu commits applied: %s", m->client->index, l->applied_count, why);
		return;
	}
	for (size_t i = 0; i < j->calls_count; i++)
		j->sim->report.voided += j->calls[i]->mount == m && j->calls[i]->voided;
	if (!judge_replay(j, &at, why, sizeof why)) {
		call_text(j->letters[at].call, again, sizeof again);
		sim_fail(j->sim, "after the death of client %u: %s: %s", m->client->index, why, again);
	}
	sim_trace(j->sim, "judge: client %u lost what came after step %" PRIu64, m->client->index, tried);
}

void
fate_poll(struct judge *j)
{
	struct sim *sim = j->sim;

	if (j->deciding || j->model == NULL || j->verified < j->count)
		return;
	j->deciding = true;
	for (unsigned i = 0; i < sim->plan.clients && !sim->report.failed; i++)
		for (struct mount *m = sim->clients[i] == NULL ? NULL : sim->clients[i]->mounts; m != NULL; m = m->next)
			if (m->ledger->stale && !sim->report.failed)
				decide(j, m);
	j->deciding = false;
}

bool
fate_decided(const struct sim *sim)
{
	const struct judge *j = sim->judge;

	return j->verified == j->count;
}
