/* check.c - see check.h. */
#include "tests/sim/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/engine.h"
#include "tests/sim/apart.h"
#include "tests/sim/daemon.h"
#include "tests/sim/damage.h"
#include "tests/sim/diary.h"
#include "tests/sim/fate_room.h"
#include "tests/sim/image.h"
#include "tests/sim/orphan.h"

enum {
	WINDOW_MAX	= 60,		/* calls that are permuted at once */
	TRIES_MAX	= 200000,
	SEEN_MAX	= 1 << 14,
	NOSPC_US	= 10 * 1000000,	/* how long a client may take to notice that there is room again */
	LOOK_US		= 1000000,
};

void
judge_new(struct sim *sim)
{
	sim->judge = sim_alloc(sizeof *sim->judge);
	sim->judge->sim = sim;
}

/* ---- calls ---- */

struct call *
judge_new_call(struct sim *sim)
{
	struct judge *j = sim->judge;
	struct call *c = sim_alloc(sizeof *c);

	if (j->calls_count == j->calls_size) {
		j->calls_size = j->calls_size * 2 + 256;
		if ((j->calls = realloc(j->calls, j->calls_size * sizeof *j->calls)) == NULL)
			abort();
	}
	j->calls[j->calls_count++] = c;
	c->number = j->calls_count;
	return c;
}

void
judge_begun(struct sim *sim, struct call *c)
{
	struct judge *j = sim->judge;

	if (j->pending_count == j->pending_size) {
		j->pending_size = j->pending_size * 2 + 16;
		if ((j->pending = realloc(j->pending, j->pending_size * sizeof *j->pending)) == NULL)
			abort();
	}
	j->pending[j->pending_count++] = c;
	if (sim->options.trace) {
		char text[300];

		call_text(c, text, sizeof text);
		sim_trace(sim, "begin %s", text);
	}
}

void
judge_forget(struct sim *sim, struct call *c)
{
	struct judge *j = sim->judge;

	for (size_t i = 0; i < j->pending_count; i++)
		if (j->pending[i] == c)
			j->pending[i] = j->pending[--j->pending_count];
}

static void
trace_call(struct sim *sim, const char *what, const struct call *c)
{
	char text[600];

	sim_note(sim, (uint64_t)c->number << 20 ^ (uint64_t)(unsigned)c->error ^ c->child << 32 ^ c->len);
	if (!sim->options.trace)
		return;
	call_text(c, text, sizeof text);
	sim_trace(sim, "%s %s", what, text);
}

const uint64_t *
judge_learn_offsets(struct sim *sim, const struct call *c)
{
	struct offsets *o = sim->judge->offsets;

	while (o != NULL && o->ino != c->ino)
		o = o->next;
	if (o == NULL) {
		o = sim_alloc(sizeof *o);
		o->ino = c->ino;
		o->next = sim->judge->offsets;
		sim->judge->offsets = o;
	}
	for (size_t i = 0; i < c->entries_count; i++) {
		const struct listed *e = &c->entries[i];

		if (e->name == NAME_NONE)
			continue;
		if (o->at[e->name] != 0 && o->at[e->name] != e->offset)
			sim_fail(sim, "the offset of %.8s in %" PRIu64 " changed", name_text(e->name), c->ino);
		o->at[e->name] = e->offset;
	}
	return o->at;
}

/* Where space is little only what adds something may be refused, and nothing that was answered. */
static void
check_space(struct sim *sim, struct call *c)
{
	if (!sim->options.tight)
		return;
	c->excuses |= EXCUSE_NOSPC;
	if (c->error != -ENOSPC)
		return;
	sim->report.no_space++;
	switch (c->type) {
	case OP_WRITE: case OP_CREATE: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK: case OP_LINK: case OP_RENAME:
	case OP_SETXATTR: case OP_SETATTR: case OP_FALLOCATE:
		break;
	default:
		sim_fail(sim, "%s for want of space", op_text(c->type));
	}
}

static void place_effect(struct judge *j);

void
judge_done(struct sim *sim, struct call *c)
{
	uint64_t began_us;

	c->done = ++sim->step;
	c->done_ns = sim_real_ns(sim);
	c->done_event = sim->report.events;
	judge_forget(sim, c);
	began_us = sim->now_us - (c->invoked_ns == 0 ? 0 : (uint64_t)(c->done_ns - c->invoked_ns) / 1000);
	if ((sim->daemon->full && !sim->daemon->hopeful) ||
	    (sim->daemon->full_until_us != 0 && sim->daemon->full_until_us + NOSPC_US > began_us))
		c->excuses |= EXCUSE_NOSPC;
	if (c->error == -EIO && damage_excuses(sim, c)) {
		c->excuses |= EXCUSE_DAMAGE;
		sim->report.denied++;
	}
	check_space(sim, c);
	fate_excuse(c);
	trace_call(sim, "done ", c);
	sim->report.ops++;
	sim->report.from_kernel += c->by_kernel;
	if (sim->judge->model == NULL)
		return;			/* before the beginning */
	judge_append(sim->judge, (struct letter){ .kind = LETTER_CALL, .call = c });
	if (c->effect != 0)
		place_effect(sim->judge);
	fate_done(sim, c);
	judge_advance(sim->judge);
}

void
judge_responded(struct sim *sim, struct call *c)
{
	c->responded = ++sim->step;
	if (sim->judge->model != NULL && sim->judge->verified < sim->judge->count)
		judge_advance(sim->judge);
}

/* ---- letters ---- */

void
judge_append(struct judge *j, struct letter l)
{
	if (j->count == j->size) {
		j->size = j->size * 2 + 256;
		if ((j->letters = realloc(j->letters, j->size * sizeof *j->letters)) == NULL)
			abort();
	}
	j->letters[j->count++] = l;
}

static bool
apply(struct model *m, const struct letter *l, char *why, size_t size)
{
	switch (l->kind) {
	case LETTER_CALL:
		return l->call->voided || model_apply(m, l->call, why, size);
	case LETTER_DEATH:
		model_close_all(m, l->mount->client->index);
		break;
	case LETTER_ABSENCE:
		break;
	case LETTER_ADOPT:
		model_adopt(m, l->as);
		break;
	}
	return true;
}

static void
remember(struct judge *j, struct model *before)
{
	struct model **at = &j->before[j->verified % SNAPSHOTS];

	model_free(*at);
	*at = before;
	j->verified++;
}

bool
judge_replay(struct judge *j, size_t *ret_at, char *why, size_t size)
{
	size_t end = j->verified;

	model_free(j->model);
	j->model = model_copy(j->base);
	for (j->verified = 0; j->verified < end; ) {
		struct model *before = model_copy(j->model);

		if (!apply(j->model, &j->letters[j->verified], why, size)) {
			model_free(before);
			*ret_at = j->verified;
			return false;
		}
		remember(j, before);
	}
	return true;
}

/* ---- another order ---- */

struct search {
	struct letter	 letters[WINDOW_MAX];
	unsigned	 count, chosen[WINDOW_MAX], placed;
	uint64_t	 must;				/* those to be placed; the others may follow later */
	uint64_t	 seen[SEEN_MAX];		/* sets and states that lead nowhere */
	unsigned	 tries;
};

static uint64_t
begins(const struct letter *l)
{
	return l->kind == LETTER_CALL ? l->call->invoked : l->step;
}

static uint64_t
ends(const struct letter *l)
{
	return l->kind != LETTER_CALL ? l->step : l->call->responded == 0 ? UINT64_MAX : l->call->responded;
}

static bool
may_be_next(const struct search *s, uint64_t left, unsigned i)
{
	for (unsigned k = 0; k < s->count; k++)
		if ((left >> k & 1) && k != i && ends(&s->letters[k]) < begins(&s->letters[i]))
			return false;
	return true;
}

static bool
try_orders(struct search *s, const struct model *m, uint64_t left, unsigned depth)
{
	uint64_t *seen, key;
	char why[256];

	s->placed = depth;
	if ((left & s->must) == 0)
		return true;
	if (++s->tries > TRIES_MAX)
		return false;
	key = rng_mix(model_hash(m) ^ left * 0x9e3779b97f4a7c15u) | 1;
	seen = &s->seen[key % SEEN_MAX];
	if (*seen == key)
		return false;
	for (unsigned i = 0; i < s->count; i++) {
		struct model *next;
		bool good;

		if (!(left >> i & 1) || !may_be_next(s, left, i))
			continue;
		next = model_copy(m);
		s->chosen[depth] = i;
		good = apply(next, &s->letters[i], why, sizeof why) && try_orders(s, next, left & ~(UINT64_C(1) << i), depth + 1);
		model_free(next);
		if (good)
			return true;
	}
	*seen = key;
	return false;
}

static bool
try_this(struct search *s, const struct model *m, unsigned count)
{
	struct model *at = model_copy(m);
	uint64_t left = (UINT64_C(1) << s->count) - 1;
	char why[256];
	bool good = true;

	for (unsigned k = 0; k < count && good; k++) {
		good = may_be_next(s, left, s->chosen[k]) && apply(at, &s->letters[s->chosen[k]], why, sizeof why);
		left &= ~(UINT64_C(1) << s->chosen[k]);
	}
	model_free(at);
	s->placed = count;
	return good;
}

/* What mostly helps: the one that does not fit, or one done later, belongs further to the front. */
static bool
try_one_earlier(struct search *s, const struct model *m)
{
	unsigned must = 0;

	while (must < s->count && (s->must >> must & 1))
		must++;
	for (unsigned moved = must - 1; moved < s->count; moved++)
		for (unsigned at = must; at-- > 0; ) {
			unsigned count = 0;

			for (unsigned i = 0; i < must; i++) {
				if (i == at)
					s->chosen[count++] = moved;
				if (i != moved)
					s->chosen[count++] = i;
			}
			if (try_this(s, m, count))
				return true;
		}
	return false;
}

/* The letters from `low` on in the order found; those that were not placed follow as they were. */
static void
take_order(struct judge *j, size_t low, const struct search *s, const size_t *from)
{
	struct letter *rest = sim_alloc((j->count - low) * sizeof *rest);
	size_t left = 0;
	char why[256];

	for (size_t i = low; i < j->count; i++) {
		bool placed = false;

		for (unsigned k = 0; k < s->placed; k++)
			placed |= from[s->chosen[k]] == i;
		if (!placed)
			rest[left++] = j->letters[i];
	}
	for (unsigned k = 0; k < s->placed; k++)
		j->letters[low + k] = s->letters[s->chosen[k]];
	memcpy(j->letters + low + s->placed, rest, left * sizeof *rest);
	free(rest);
	if (low < j->verified) {
		model_free(j->model);
		j->model = model_copy(j->before[low % SNAPSHOTS]);
		j->verified = low;
	}
	for (unsigned k = 0; k < s->placed; k++) {
		struct model *before = model_copy(j->model);

		apply(j->model, &j->letters[low + k], why, sizeof why);
		remember(j, before);
	}
}

/* Tries to place the letters [low, verified], and of those after them the ones that began before `end`. */
static bool
permute(struct judge *j, size_t low, uint64_t end)
{
	struct search *s = sim_alloc(sizeof *s);
	size_t from[WINDOW_MAX];
	const struct model *m = low == j->verified ? j->model : j->before[low % SNAPSHOTS];
	bool found;

	for (size_t i = low; i < j->count && s->count < WINDOW_MAX; i++) {
		if (i > j->verified && begins(&j->letters[i]) >= end)
			continue;
		if (i <= j->verified)
			s->must |= UINT64_C(1) << s->count;
		from[s->count] = i;
		s->letters[s->count++] = j->letters[i];
	}
	j->sim->report.searched++;
	found = try_one_earlier(s, m) || try_orders(s, m, (UINT64_C(1) << s->count) - 1, 0);
	sim_trace(j->sim, "judge: %u calls from letter %zu on, %u tries: %s", s->count, low, s->tries, found ? "fit" : "do not fit");
	if (found) {
		sim_trace(j->sim, "judge: another order of %u calls", s->placed);
		take_order(j, low, s, from);
	}
	free(s);
	return found;
}

/* Letter `at` behind the one that does not fit: does all fit then? */
static bool
fits_behind(const struct judge *j, size_t at)
{
	struct model *m = model_copy(j->before[at % SNAPSHOTS]);
	char why[256];
	bool fits = true;

	for (size_t i = at + 1; i <= j->verified && fits; i++)
		fits = begins(&j->letters[i]) <= ends(&j->letters[at]) && apply(m, &j->letters[i], why, sizeof why);
	fits = fits && apply(m, &j->letters[at], why, sizeof why);
	model_free(m);
	return fits;
}

/*
 * A change whose answer is on its way for long belongs behind those who do not
 * see it yet: else each of them would have to be moved over all between.
 */
static bool
move_behind(struct judge *j)
{
	size_t bound = j->verified > SNAPSHOTS - 1 ? j->verified - (SNAPSHOTS - 1) : 0, end = j->verified;
	uint64_t begun = begins(&j->letters[end]);

	for (size_t at = end; at-- > bound; ) {
		struct letter moved = j->letters[at];

		if (moved.kind != LETTER_CALL || ends(&moved) < begun || !fits_behind(j, at))
			continue;
		memmove(j->letters + at, j->letters + at + 1, (end - at) * sizeof *j->letters);
		j->letters[end] = moved;
		model_free(j->model);
		j->model = model_copy(j->before[at % SNAPSHOTS]);
		for (j->verified = at; j->verified <= end; ) {
			struct model *before = model_copy(j->model);
			char why[256];

			apply(j->model, &j->letters[j->verified], why, sizeof why);
			remember(j, before);
		}
		j->sim->report.searched++;
		return true;
	}
	return false;
}

/* As it was before the letter `at`, one of the verified ones: too far back for a snapshot, from the beginning. */
static struct model *
model_before(const struct judge *j, size_t at)
{
	bool far = at + SNAPSHOTS <= j->verified;
	struct model *m = model_copy(at == j->verified ? j->model : far ? j->base : j->before[at % SNAPSHOTS]);
	char why[256];

	for (size_t i = 0; far && i < at; i++)
		apply(m, &j->letters[i], why, sizeof why);
	return m;
}

/* The letter `at` before the verified ones from `to` on: does all fit then? */
static bool
fits_ahead(const struct judge *j, size_t to, size_t at)
{
	struct model *m = model_before(j, to);
	char why[256];
	bool fits = apply(m, &j->letters[at], why, sizeof why);

	for (size_t i = to; i < j->verified && fits; i++)
		fits = apply(m, &j->letters[i], why, sizeof why);
	model_free(m);
	return fits;
}

/* The letter `at` is to be the one `to`; all that were verified are so again. */
static void
move_ahead_to(struct judge *j, size_t to, size_t at)
{
	struct letter moved = j->letters[at];
	struct model *m = model_before(j, to);

	memmove(j->letters + to + 1, j->letters + to, (at - to) * sizeof *j->letters);
	j->letters[to] = moved;
	model_free(j->model);
	j->model = m;
	for (size_t end = j->verified, i = j->verified = to; i < end; i++) {
		struct model *before = model_copy(j->model);
		char why[256];

		apply(j->model, &j->letters[i], why, sizeof why);
		remember(j, before);
	}
	j->sim->report.searched++;
}

/*
 * The last letter went through to the server: it took effect before it was answered, and belongs before those that did so
 * since.  They may not have looked; but whose change was the last one is to be known.  Its place is known, so it need not be
 * searched for: however many others were answered first, it stands there, and all of them are judged anew behind it.
 */
static void
place_effect(struct judge *j)
{
	size_t at = j->count - 1, to = at;
	struct letter moved = j->letters[at];
	struct model *m;

	while (to > 0 && j->letters[to - 1].kind == LETTER_CALL && fate_effect(j->letters[to - 1].call) > moved.call->effect)
		to--;
	if (to >= j->verified) {
		memmove(j->letters + to + 1, j->letters + to, (at - to) * sizeof *j->letters);
		j->letters[to] = moved;
	} else if (fits_ahead(j, to, at)) {
		m = model_before(j, to);
		fate_weigh(m, moved.call);
		model_free(m);
		j->verified++;
		move_ahead_to(j, to, at);
		m = model_before(j, to + 1);
		diary_saw(j->sim, m, moved.call);
		model_free(m);
	}
}

/*
 * One that changed nothing may belong as far to the front as its beginning.  So many others may have been done since
 * that they are not to be permuted; but none of them cares, nor will those whose answers are still to come.
 */
static bool
move_look(struct judge *j)
{
	size_t bound = j->verified > SNAPSHOTS - 1 ? j->verified - (SNAPSHOTS - 1) : 0;
	struct letter moved = j->letters[j->verified];

	for (size_t to = j->verified; to-- > bound && ends(&j->letters[to]) >= begins(&moved); ) {
		struct model *before = j->before[to % SNAPSHOTS], *after = model_copy(before);
		char why[256];
		bool fits = apply(after, &moved, why, sizeof why) && model_hash(after) == model_hash(before);

		model_free(after);
		if (!fits)
			continue;
		j->verified++;
		move_ahead_to(j, to, j->verified - 1);
		return true;
	}
	return false;
}

/*
 * Its kernel learns of its own change when the answer arrives; until then it shows what it has cached of that inode, even
 * when others there have been told what came of the change.  That is as it was just before, nobody has changed it since, and
 * it is past.
 */
static bool
pass_in_kernel(struct judge *j)
{
	size_t bound = j->verified > SNAPSHOTS - 1 ? j->verified - (SNAPSHOTS - 1) : 0, at = j->verified;
	struct call *c = j->letters[at].call, *change = NULL;
	struct model *m;
	char why[256];

	while (c->by_kernel && change == NULL && at-- > bound)
		if (j->letters[at].kind == LETTER_CALL && !j->letters[at].call->voided && fate_changed(j->letters[at].call, c->ino))
			change = j->letters[at].call;
	if (change == NULL || change->mount != c->mount || (change->responded != 0 && change->responded < c->invoked))
		return false;
	m = model_copy(j->before[at % SNAPSHOTS]);
	c->past = c->voided = model_apply(m, c, why, sizeof why);
	model_free(m);
	return c->past;
}

/* The first letter that may have come after something in [low, verified] began. */
static size_t
reach_back(const struct judge *j, size_t low)
{
	size_t first = low, bound = j->verified > SNAPSHOTS - 1 ? j->verified - (SNAPSHOTS - 1) : 0;
	uint64_t begun = UINT64_MAX;

	for (size_t i = low; i <= j->verified; i++)
		begun = begins(&j->letters[i]) < begun ? begins(&j->letters[i]) : begun;
	for (size_t i = low; i-- > bound; )
		if (ends(&j->letters[i]) > begun)
			first = i;
	return first;
}

/* The letter at `verified` does not fit.  1: it does now; 0: too early to say; -1: it never will. */
static int
reorder(struct judge *j)
{
	const struct call *c = j->letters[j->verified].call;
	size_t low = j->verified, last;

	if (move_look(j) || move_behind(j))
		return 1;
	if (c->responded == 0)
		return 0;
	for (size_t i = 0; i < j->pending_count; i++)
		if (j->pending[i]->invoked < c->responded)
			return 0;
	for (unsigned reach = 0; reach < 4; reach++) {
		last = low;
		low = reach_back(j, low);
		if (j->verified - low >= WINDOW_MAX - 1)
			break;
		if ((reach == 0 || low < last) && permute(j, low, c->responded))
			return 1;
	}
	return pass_in_kernel(j) ? 1 : -1;
}

static void
explain(struct judge *j, const char *why)
{
	char text[600];

	call_text(j->letters[j->verified].call, text, sizeof text);
	sim_fail(j->sim, "%s: %s", why, text);
	if (!j->sim->options.trace)
		return;
	printf("the model then:\n");
	model_print(j->model, stdout);
}

void
judge_advance(struct judge *j)
{
	char why[256] = "";

	while (j->verified < j->count && !j->sim->report.failed) {
		struct letter *l = &j->letters[j->verified];
		struct model *before = model_copy(j->model);
		int r;

		if (apply(j->model, l, why, sizeof why)) {
			if (l->kind == LETTER_CALL) {
				fate_weigh(before, l->call);
				diary_saw(j->sim, j->model, l->call);
			}
			remember(j, before);
			/* What follows was seen by those who got its leases. */
			if (l->kind == LETTER_ABSENCE && !l->over)
				fate_decide_absence(j, l->mount);
			continue;
		}
		model_free(before);
		if ((r = reorder(j)) == 0)
			return;
		if (r < 0 && !orphan_looked_at(j, l->call))
			explain(j, why);
	}
	fate_poll(j);
}

/* ---- beginning and end ---- */

void
judge_begin(struct sim *sim)
{
	struct judge *j = sim->judge;
	struct image image;
	const struct image_object *root;

	if (sim->report.failed)
		return;
	image_read(sim, &image);
	root = image_find(&image, OID_ROOT);
	if (root == NULL || image.meta_root != OID_ROOT)
		sim_fail(sim, "the volume has no root");
	else if (!sim->options.apart) {
		j->base = model_new(root->attr.uid, root->attr.gid, root->attr.mode);
		j->model = model_copy(j->base);
	}
	image_free(&image);
}

/* What differs between the store and the model, or nothing. */
static void
compare_object(struct sim *sim, const struct image *image, const struct inode *i)
{
	const struct image_object *o = image_find(image, i->ino);
	uint8_t *content;
	size_t same;

	if (o == NULL || !o->has_attr) {
		sim_fail(sim, "%" PRIu64 " is not in the store", i->ino);
		return;
	}
	if (!fate_same_object(i, o))
		sim_fail(sim, "%" PRIu64 " is not in the store what it is to the clients", i->ino);
	if (!S_ISREG(i->mode) || sim->report.failed)
		return;
	content = sim_room(o->attr.size);
	if (o->attr.size != i->size)
		sim_fail(sim, "%" PRIu64 " has %" PRIu64 " bytes in the store, but %" PRIu64, i->ino, o->attr.size, i->size);
	else if (!image_content(image, o, content))
		sim_fail(sim, "%" PRIu64 " misses a block", i->ino);
	else if ((same = runs_compare(i, 0, content, i->size)) < i->size)
		sim_fail(sim, "%" PRIu64 " differs in the store at %zu", i->ino, same);
	free(content);
}

void
judge_settled(struct sim *sim)
{
	struct judge *j = sim->judge;
	struct image image;

	if (sim->options.apart) {
		daemon_check(sim->daemon);
		apart_check(sim);
		return;
	}
	judge_advance(j);
	if (!sim->report.failed && j->verified < j->count)
		sim_fail(sim, "undecided: %zu of %zu letters", j->verified, j->count);
	fate_poll(j);
	daemon_check(sim->daemon);
	image_read(sim, &image);
	if (!image_check(&image))
		sim_fail(sim, "the store at rest: %s", image.wrong);
	for (size_t i = 0; i < j->model->count && !sim->report.failed; i++)
		if (j->model->inodes[i]->nlink > 0)
			compare_object(sim, &image, j->model->inodes[i]);
	image_free(&image);
}

bool
judge_all_freed(struct sim *sim)
{
	size_t objects, blocks;

	if (sim->now_us - sim->judge->looked_us < LOOK_US)
		return false;
	sim->judge->looked_us = sim->now_us;
	objects = image_garbage(sim, &blocks);
	sim_trace(sim, "judge: %zu objects and %zu blocks are still to be freed", objects, blocks);
	return objects == 0 && blocks == 0;
}

static void
damaged(void *context, const char *text)
{
	sim_fail(context, "server_check_store: %s", text);
}

void
judge_end(struct sim *sim)
{
	judge_settled(sim);
	if (!sim->report.failed)
		server_check_store(sim->daemon->store, damaged, sim);
}

void
judge_free(struct sim *sim)
{
	struct judge *j = sim->judge;
	struct offsets *next;

	for (size_t i = 0; i < j->count; i++)
		if (j->letters[i].kind == LETTER_ADOPT)
			fate_free_inode(j->letters[i].as);
	for (size_t i = 0; i < SNAPSHOTS; i++)
		model_free(j->before[i]);
	model_free(j->base);
	model_free(j->model);
	for (size_t i = 0; i < j->calls_count; i++) {
		free(j->calls[i]->bytes);
		free(j->calls[i]->entries);
		free(j->calls[i]);
	}
	for (struct offsets *o = j->offsets; o != NULL; o = next) {
		next = o->next;
		free(o);
	}
	free(j->calls);
	free(j->pending);
	free(j->letters);
	free(j);
	sim->judge = NULL;
}
