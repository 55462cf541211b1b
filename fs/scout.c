/*
 * scout.c - what will be needed next, asked for ahead of need.
 *
 * Far from the server each directory and each small file would cost a round
 * trip.  Programs that go through a tree (find, grep -r, cp -r, git status)
 * touch what is near: the rest of the directory, its subdirectories, what
 * follows in the directory above.  The scout goes that way over what is known
 * and asks for what is not: listings, with as much below them as fits into
 * `deep` bytes, the records of files, and the first cells of their blocks.
 *
 * Both windows open as TCP's does: by each listing or file brought ahead that
 * is then used.  They close by half when one is given back unused.  One miss
 * opens nothing, a second one near it does.  When as many files have been used
 * as were ahead at the last turn, what was ahead then and still is was passed
 * by, and is given up; so is everything when nothing was used for AGE_MS.
 *
 *	dir->scouted	its listing came ahead, and nobody has asked for it yet
 *	file->scouted	the same of its content: counted in files_ahead, bytes_ahead
 *
 * A scout's READ asks only for objects whose lease is held, so it waits for
 * nobody and nobody waits for it; children are gifts.  It names no ticket.  An
 * operation that misses what a READ of the scout is about to bring waits for
 * that answer, and asks itself if it did not come.
 *
 * A directory whose names are known may have children that are not: another
 * client held them when it was listed.  When they are missed one after the
 * other (ls -l, rm -r), the listing is asked for again, a part at a time, for
 * the children's sake; less and less often while that brings few.
 *
 * Invariants: at most READS_MAX of our READs are unanswered; they end with the
 * connection.  files_ahead counts the files with `scouted` of the present turn
 * or the last, files_old those of the last; and so for bytes.
 */
#include "fs/ahead.h"

enum {
	READS_MAX	= 4,
	LISTING_AHEAD	= 2048,			/* of one long listing */
	BUDGET		= 8192,
	DEEP_LEAST	= 8 * 1024,
	DEEP_FIRST	= 40 * 1024,		/* with what it comes with, two flights of a new connection */
	DEEP_HIT	= 8 * 1024,
	FILES_FIRST	= 32,
	FILES_HIT	= 2,
	HITS_LEAST	= 4,			/* for each time a miss opens the window further */
	FILES_MAX	= 1024,
	BYTES_MAX	= 8 * 1024 * 1024,	/* or a quarter of the cache */
	STEPS_REST	= 16,			/* uses between vain looks */
	SERIES_PART	= 512,			/* entries whose children are asked for together */
	SERIES_FIRST	= 2,			/* misses before that; twice as many after a try that brought few */
	SERIES_WORTH	= 16,			/* these are not few: a part costs as much as so many misses */
	SERIES_REST	= 64,			/* at most */
	AGE_MS		= 5000,
	ORDER_MAX	= 32,
};

static const uint8_t high_key[SUBKEY_MAX] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};

/* ---- how far ahead ---- */

void
scout_init(struct engine *e)
{
	TAILQ_INIT(&e->scout.reads);
	e->scout.deep = DEEP_FIRST;
	e->scout.count = 2;
	if (e->config.eager)
		e->scout.window = FILES_FIRST;
}

/* Room for what may come: leases that would be given back at once are not worth asking for. */
static bool
has_room(const struct engine *e)
{
	size_t least = e->config.objects_max / 4 < CHILDREN_MAX ? e->config.objects_max / 4 : CHILDREN_MAX;

	return e->objects + least <= e->config.objects_max && e->now_ms >= e->scout.quiet_until;
}

/* What a reader of a tree made wide is narrow again for the next one. */
static size_t
deep_now(const struct engine *e)
{
	const struct scout *s = &e->scout;

	return s->deep > DEEP_FIRST && e->now_ms - s->deep_ms > AGE_MS ? DEEP_FIRST : s->deep;
}

size_t
scout_deep(const struct engine *e)
{
	return has_room(e) ? deep_now(e) : 0;
}

static size_t
bytes_max(const struct engine *e)
{
	return e->config.cache_max / 4 < BYTES_MAX ? e->config.cache_max / 4 : BYTES_MAX;
}

bool
ahead_wants_content(const struct engine *e)
{
	const struct scout *s = &e->scout;

	return s->window > 0 && s->files_ahead < s->window + (s->at_home ? FILES_FIRST : 0) &&
	    s->bytes_ahead < bytes_max(e) * (s->at_home ? 2 : 1);
}

uint16_t
scout_kinds(const struct engine *e)
{
	uint16_t kinds = 1 << KIND_ATTR | 1 << KIND_PARENT;

	if (scout_deep(e) > 0)
		kinds |= 1 << KIND_ENTRY | 1 << KIND_REGION;
	if (scout_deep(e) > 0 && ahead_wants_content(e))
		kinds |= 1 << KIND_INLINE;
	return kinds;
}

/* Gives up what was ahead at the last turn already. */
static void
turn(struct engine *e)
{
	struct scout *s = &e->scout;

	s->window -= s->files_old / 2 < s->window ? s->files_old / 2 : s->window;
	s->files_ahead -= s->files_old;
	s->bytes_ahead -= s->bytes_old;
	s->files_old = s->files_ahead;
	s->bytes_old = s->bytes_ahead;
	s->turn_hits = s->files_ahead;
	s->count++;
}

static void
age(struct engine *e)
{
	struct scout *s = &e->scout;

	if (s->files_ahead == 0 || e->now_ms - s->hit_ms <= AGE_MS)
		return;
	turn(e);
	turn(e);
	s->window = e->config.eager ? FILES_FIRST : 0;
}

bool
ahead_is(const struct engine *e, const struct object *o)
{
	return o->scouted != 0 && (S_ISDIR(o->attr.mode) || o->scouted + 1 >= e->scout.count);
}

bool
ahead_known(const struct object *o)
{
	return o != NULL && o->mode != MODE_NONE && o->attr_known && !o->gone && o->recall == RECALL_NONE;
}

static size_t
bytes_of(const struct object *o)
{
	return o->attr.size < AHEAD_BYTES ? o->attr.size : AHEAD_BYTES;
}

static void
uncount(struct engine *e, struct object *o)
{
	struct scout *s = &e->scout;

	if (ahead_is(e, o) && !S_ISDIR(o->attr.mode)) {
		s->files_ahead--;
		s->bytes_ahead -= o->scouted_bytes;
		if (o->scouted != s->count) {
			s->files_old--;
			s->bytes_old -= o->scouted_bytes;
		}
	}
	o->scouted = 0;
}

void
ahead_count(struct engine *e, struct object *o)
{
	if (ahead_is(e, o))
		return;
	if (e->scout.files_ahead == 0)
		e->scout.hit_ms = e->now_ms;
	o->scouted = e->scout.count;
	o->scouted_bytes = bytes_of(o);
	e->scout.files_ahead++;
	e->scout.bytes_ahead += o->scouted_bytes;
}

void
scout_forgotten(struct engine *e, struct object *o)
{
	struct scout *s = &e->scout;

	if (o->scouted == 0)
		return;
	if (S_ISDIR(o->attr.mode))
		s->deep = s->deep / 2 > DEEP_LEAST ? s->deep / 2 : DEEP_LEAST;
	else if (ahead_is(e, o))
		s->window /= 2;
	uncount(e, o);
}

/* ---- READs ---- */

static struct scout_read *
read_of(struct engine *e, uint64_t request)
{
	struct scout_read *r;

	TAILQ_FOREACH(r, &e->scout.reads, link)
		if (r->request == request)
			return r;
	return NULL;
}

static void
read_end(struct engine *e, struct scout_read *r)
{
	TAILQ_REMOVE(&e->scout.reads, r, link);
	e->scout.reads_count--;
	free(r);
}

void
scout_lost(struct engine *e)
{
	while (!TAILQ_EMPTY(&e->scout.reads))
		read_end(e, TAILQ_FIRST(&e->scout.reads));
}

bool
scout_refused(struct engine *e, uint64_t request)
{
	struct scout_read *r = read_of(e, request);

	if (r == NULL)
		return false;
	e->scout.quiet_until = e->now_ms + AGE_MS;
	read_end(e, r);
	wake(e, WAIT_READ, request);
	return true;
}

bool
scout_expects(const struct engine *e, uint64_t upto)
{
	const struct scout_read *r;

	TAILQ_FOREACH(r, &e->scout.reads, link)
		if (r->request <= upto)
			return true;
	return false;
}

static bool
brings(const struct scout_read *r, const struct msg_want *w)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct msg_want *have = &r->wants[i];

		if (have->oid == w->oid && have->mode >= w->mode && have->last_kind >= w->last_kind &&
		    /* Who asks for INLINE by the range from ATTR on knows the rest: see ahead_known(). */
		    (have->kind <= w->kind || have->kind == KIND_INLINE) &&
		    w->limit > 0 && have->from.len == w->from.len &&
		    (w->from.len == 0 || (memcmp(have->from.data, w->from.data, w->from.len) <= 0 &&
		    memcmp(have->to.data, w->to.data, w->to.len) >= 0)))
			return true;
	}
	return false;
}

/* Does it list the directory that leads to the child that is wanted? */
static bool
lists(struct engine *e, const struct scout_read *r, const struct op *op, const struct msg_want *w)
{
	uint8_t token[TOKEN_SIZE];
	const struct object *o = object_find(e, w->oid);

	if (op->type != OP_LOOKUP || w->kind != KIND_ATTR || w->mode > MODE_SHARED || o == NULL || o->mode != MODE_NONE)
		return false;
	name_token(e->keys, op->ino, op->name, token);
	for (uint32_t i = 0; i < r->count; i++)
		if (r->wants[i].oid == op->ino && r->wants[i].kind == KIND_ENTRY &&
		    memcmp(r->wants[i].from.data, token, sizeof token) <= 0)
			return true;
	return false;
}

uint64_t
scout_brings(struct engine *e, const struct op *op)
{
	const struct op_state *s = op->state;
	const struct scout_read *r;

	if (s->wants_count == 0)
		return 0;
	TAILQ_FOREACH(r, &e->scout.reads, link) {
		uint32_t n = 0, count = s->wants_count;

		while (n < count && (brings(r, &s->wants[n]) || lists(e, r, op, &s->wants[n])))
			n++;
		if (n == count)
			return r->request;
	}
	return 0;
}

static struct scout_read *
read_begin(struct engine *e)
{
	struct scout_read *r;

	if (!e->attached || !lease_valid(e) || e->reclaiming || !has_room(e) || e->scout.reads_count >= READS_MAX)
		return NULL;
	if ((r = malloc(sizeof *r)) == NULL)
		return NULL;
	r->count = r->listings = 0;
	r->series = NULL;
	r->kinds = scout_kinds(e);
	if (!ahead_wants_content(e))
		r->kinds &= (uint16_t)~(1 << KIND_REGION);	/* who only lists opens few of them */
	return r;
}

/* Is it in a READ already, this one or one under way? */
bool
ahead_asked(const struct engine *e, const struct scout_read *r, uint64_t oid, uint8_t kind)
{
	const struct scout_read *other;

	for (uint32_t i = 0; i < r->count; i++)
		if (r->wants[i].oid == oid)
			return true;
	TAILQ_FOREACH(other, &e->scout.reads, link)
		for (uint32_t i = 0; i < other->count; i++)
			if (other->wants[i].oid == oid && other->wants[i].kind == kind)
				return true;
	return false;
}

void
ahead_want(struct scout_read *r, const struct object *o, uint8_t kind, const uint8_t *from, size_t len, uint32_t limit)
{
	uint32_t i = r->count++;

	if (len > 0)
		memcpy(r->from[i], from, len);
	r->wants[i] = (struct msg_want){ .oid = o->oid, .mode = o->mode, .kind = kind, .last_kind = kind,
	    .from = { r->from[i], len }, .to = { high_key, len }, .limit = limit };
	r->listings += kind == KIND_ENTRY;
}

/* Sends it, or drops it when it asks for nothing. True: sent. */
static bool
read_send(struct engine *e, struct scout_read *r)
{
	struct action *a = r == NULL || r->count == 0 ? NULL : send_message(e, MSG_read, e->next_request + 1);
	struct msg_read *m;
	uint8_t *keys;

	if (a == NULL) {
		free(r);
		return false;
	}
	e->stats.reads++;
	r->request = ++e->next_request;
	TAILQ_INSERT_TAIL(&e->scout.reads, r, link);
	e->scout.reads_count++;
	m = &a->message.read;
	m->wants.at = arena_alloc(&a->arena, r->count * sizeof *m->wants.at);
	keys = arena_alloc(&a->arena, (size_t)r->count * SUBKEY_MAX);
	if (m->wants.at == NULL || keys == NULL)
		return true;		/* an empty READ: the connection ends, as when it is lost */
	m->depth = r->listings > 0 ? UINT8_MAX : 0;
	m->kinds = r->kinds;
	m->budget = e->config.objects_max - e->objects < BUDGET ? e->config.objects_max - e->objects : BUDGET;
	m->size = deep_now(e);
	memcpy(m->wants.at, r->wants, r->count * sizeof *r->wants);
	m->wants.count = r->count;
	memcpy(keys, r->from, (size_t)r->count * SUBKEY_MAX);
	for (uint32_t i = 0; i < r->count; i++)
		m->wants.at[i].from.data = keys + i * SUBKEY_MAX;
	return true;
}

static void
go(struct engine *e, struct object *dir, struct rec *after, bool content)
{
	struct scout *s = &e->scout;
	struct scout_read *r;
	bool found;

	if (s->rest > 0) {
		s->rest--;
		return;
	}
	/* Files at hand need their cells whether or not another READ may leave. */
	if ((r = read_begin(e)) == NULL && !content)
		return;
	found = walk_ahead(e, r, dir, after, content);
	read_send(e, r);
	if (!found)
		s->rest = STEPS_REST;
}

/* ---- what leads it ---- */

enum { NEAR = 3 };

static uint64_t
parent_oid(struct engine *e, uint64_t oid)
{
	const struct object *o = object_find(e, oid);

	return o == NULL || o->hint_name == NULL ? 0 : o->hint_parent;
}

/* Have two directories one above them in common, at most two levels up? */
static bool
is_near(struct engine *e, uint64_t a, uint64_t b)
{
	for (unsigned i = 0; i < NEAR && a != 0; i++, a = parent_oid(e, a)) {
		uint64_t at = b;

		for (unsigned j = 0; j < NEAR && at != 0; j++, at = parent_oid(e, at))
			if (at == a)
				return true;
	}
	return false;
}

/* Which order does the reader go in? */
static void
judge_order(struct engine *e, uint64_t before, const struct object *o)
{
	struct scout *s = &e->scout;
	const struct object *last = object_find(e, before);
	struct rec *a, *b;
	bool in[3];

	if (last == NULL || last == o || last->hint_parent != o->hint_parent || walk_above(e, last, &a) == NULL ||
	    walk_above(e, o, &b) == NULL)
		return;
	in[ORDER_TOKENS] = memcmp(a->subkey, b->subkey, TOKEN_SIZE) < 0;
	in[ORDER_NAMES] = strcmp(last->hint_name, o->hint_name) < 0;
	in[ORDER_OIDS] = last->oid < o->oid;
	s->order = ORDER_TOKENS;
	for (unsigned i = 0; i < 3; i++) {
		s->in_order[i] = in[i] ? s->in_order[i] + (s->in_order[i] < ORDER_MAX) : s->in_order[i] / 2;
		if (s->in_order[i] > s->in_order[s->order])
			s->order = i;
	}
}

static void
lead_dir(struct engine *e, struct object *dir, bool missing, bool listing)
{
	struct scout *s = &e->scout;
	bool hit = dir->scouted != 0, near, descent;

	if (!hit && (!missing || s->last_dir == dir->oid))
		return;
	near = s->last_dir != 0 && is_near(e, dir->oid, s->last_dir);
	/* Who only walks down a path has no use for what is beside it. */
	descent = !listing && s->last_dir == dir->hint_parent;
	judge_order(e, s->last_dir, dir);
	s->last_dir = dir->oid;
	if (hit) {
		dir->scouted = 0;
		s->deep = deep_now(e) + DEEP_HIT < DEEP_MAX ? deep_now(e) + DEEP_HIT : DEEP_MAX;
		s->deep_ms = e->now_ms;
	} else if (near)
		s->rest = 0;
	if (((hit || near) && !descent) || e->config.eager)
		go(e, dir, NULL, false);
}

/* The next part of a long listing that is being read. */
static void
lead_listing(struct engine *e, struct object *dir)
{
	struct scout_read *r = dir->born ? NULL : read_begin(e);
	uint8_t from[TOKEN_SIZE];

	if (r == NULL || !dir->entries.some || dir->entries.all || dir->recall != RECALL_NONE ||
	    ahead_asked(e, r, dir->oid, KIND_ENTRY)) {
		free(r);
		return;
	}
	memcpy(from, dir->entries.upto, sizeof from);
	for (size_t i = TOKEN_SIZE; i-- > 0 && ++from[i] == 0;)
		continue;
	ahead_want(r, dir, KIND_ENTRY, from, TOKEN_SIZE, LISTING_AHEAD);
	read_send(e, r);
}

/* What it brought must be worth what it cost. */
static void
series_judge(struct series *s, uint32_t children)
{
	if (children < SERIES_WORTH)
		s->rest = s->rest < SERIES_REST ? s->rest * 2 : SERIES_REST;
	else if (s->rest > 1)
		s->rest /= 2;
}

static void
lead_children(struct engine *e, struct object *dir, const struct rec *at, enum mode mode)
{
	struct series *s = &e->scout.series[mode == MODE_EXCLUSIVE];
	struct scout_read *r;

	if (s->dir != dir->oid)
		*s = (struct series){ .dir = dir->oid, .rest = SERIES_FIRST };
	if (++s->misses < s->rest || dir->born || dir->recall != RECALL_NONE || (r = read_begin(e)) == NULL)
		return;
	if (ahead_asked(e, r, dir->oid, KIND_ENTRY)) {
		free(r);
		return;
	}
	r->series = s;
	r->kinds = 1 << KIND_ATTR | 1 << KIND_PARENT | (mode == MODE_EXCLUSIVE ? KINDS_EXCLUSIVE : 0);
	ahead_want(r, dir, KIND_ENTRY, at->subkey, TOKEN_SIZE, SERIES_PART);
	read_send(e, r);
	s->misses = 0;
}

/* An operation waits for one child of a known directory. */
static void
missed_child(struct engine *e, const struct op *op)
{
	const struct op_state *s = op->state;
	struct object *dir = object_find(e, op->ino);
	uint8_t token[TOKEN_SIZE];
	struct rec *at;

	if (s->wait != WAIT_READ || s->wants_count == 0 || !ahead_known(dir))
		return;
	name_token(e->keys, dir->oid, op->name, token);
	at = object_rec(dir, KIND_ENTRY, token, TOKEN_SIZE);
	for (uint32_t i = 0; at != NULL && !at->absent && i < s->wants_count; i++)
		if (s->wants[i].oid == at->oref)
			lead_children(e, dir, at, s->wants[i].mode);
}

/* It is, each time it is run again until what it waits for is there. */
static bool
missed_lately(struct scout *s, uint64_t oid)
{
	for (unsigned i = 0; i < SCOUT_MISSES; i++)
		if (s->missed[i] == oid)
			return true;
	s->missed[s->missed_next++ % SCOUT_MISSES] = oid;
	return false;
}

static void
from_file(struct engine *e, struct object *o)
{
	struct rec *at;
	struct object *dir = walk_above(e, o, &at);

	if (dir != NULL)
		go(e, dir, at, true);
}

static void
lead_file(struct engine *e, struct object *o, bool missing)
{
	struct scout *s = &e->scout;
	bool hit, near;

	age(e);
	hit = ahead_is(e, o);
	if (!hit && (!missing || missed_lately(s, o->oid)))
		return;
	judge_order(e, s->last_file, o);
	s->last_file = o->oid;
	near = s->last_home != 0 && is_near(e, o->hint_parent, s->last_home);
	s->last_home = o->hint_name == NULL ? 0 : o->hint_parent;
	if (hit) {
		uncount(e, o);
		s->hit_ms = e->now_ms;
		s->window = s->window + FILES_HIT < FILES_MAX ? s->window + FILES_HIT : FILES_MAX;
		s->hits++;
		if (s->turn_hits == 0 || --s->turn_hits == 0)
			turn(e);
	} else if (near) {
		s->rest = 0;
		/* The guess was good, but for the place: look here too. */
		if (s->hits >= HITS_LEAST) {
			s->hits = 0;
			if (s->window < s->files_ahead + FILES_FIRST)
				s->window = s->files_ahead + FILES_FIRST < FILES_MAX ? s->files_ahead + FILES_FIRST : FILES_MAX;
		}
		if (s->window < FILES_FIRST)
			s->window = FILES_FIRST;
	}
	/* Half of the window at a time: few READs with many wants. */
	if (s->window > 0 && ((s->files_ahead <= s->window / 2 && s->bytes_ahead <= bytes_max(e) / 2) || !hit) &&
	    (hit || near || e->config.eager))
		from_file(e, o);
}

void
scout_served(struct engine *e, const struct op *op)
{
	struct object *o;

	if ((op->type != OP_READDIR && op->type != OP_LOOKUP && op->type != OP_READ) ||
	    (o = object_find(e, op->ino)) == NULL)
		return;
	if (op->type == OP_READ) {
		if (o->scouted != 0)
			lead_file(e, o, false);
		return;
	}
	if (o->scouted != 0)
		lead_dir(e, o, false, op->type == OP_READDIR);
	if (op->type == OP_READDIR && op->offset > 0 && !o->entries.all)
		lead_listing(e, o);
}

void
scout_missed(struct engine *e, const struct op *op)
{
	const struct op_state *s = op->state;
	struct object *o;

	if (op->type == OP_LOOKUP || op->type == OP_UNLINK)
		missed_child(e, op);
	if ((op->type != OP_READDIR && op->type != OP_LOOKUP && op->type != OP_READ) ||
	    (o = object_find(e, op->ino)) == NULL || !ahead_known(o))
		return;
	if (op->type == OP_READ) {
		if (op->offset == 0)
			lead_file(e, o, true);
		return;
	}
	for (uint32_t i = 0; i < s->wants_count; i++)
		if (s->wants[i].kind == KIND_ENTRY && s->wants[i].oid == o->oid) {
			lead_dir(e, o, true, op->type == OP_READDIR);
			return;
		}
}

/* ---- answers ---- */

const struct msg_want *
scout_want(const struct engine *e, uint64_t request, uint32_t i, uint16_t *ret_kinds)
{
	const struct scout_read *r;

	TAILQ_FOREACH(r, &e->scout.reads, link)
		if (r->request == request) {
			*ret_kinds = r->kinds;
			return i < r->count ? &r->wants[i] : NULL;
		}
	return NULL;
}

void
scout_took(struct engine *e, struct object *o, bool asked_for)
{
	if (!ahead_known(o))
		return;
	if (S_ISDIR(o->attr.mode)) {
		if (o->scouted == 0 && !asked_for && o->entries.some)
			o->scouted = 1;
		return;
	}
	if (!S_ISREG(o->attr.mode) || o->attr.size == 0 || o->born || e->scout.window == 0)
		return;
	if (ahead_is(e, o))
		walk_fetch(e, o);	/* its record was asked for on its behalf */
	else if (!asked_for && (o->attr.flags & ATTR_INLINE ? o->parents_known : walk_fetch(e, o)))
		ahead_count(e, o);
}

void
scout_answered(struct engine *e, uint64_t request, uint32_t objects)
{
	struct scout_read *r = read_of(e, request);
	struct object *o;
	bool alone;

	if (r == NULL)
		return;
	alone = r->series != NULL;
	if (alone && r->series->dir == r->wants[0].oid)
		series_judge(r->series, objects - (objects < r->count ? objects : r->count));
	read_end(e, r);
	wake(e, WAIT_READ, request);
	if (alone)
		return;
	e->scout.rest = 0;
	/* On from where the reader is: the answer has made more of the way known. */
	if ((o = object_find(e, e->scout.last_file)) != NULL && ahead_wants_content(e) && ahead_known(o))
		from_file(e, o);
}
