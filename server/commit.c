/*
 * commit.c - applying COMMITs.
 *
 * A session's sequences are consumed in order, each once; the outcome is in
 * the session's row, which is written by the same batch as the changes:
 *
 *	sequence			row rejected	answer
 *	<= last consumed		any		the outcome stored: OK or REJECTED
 *	last + 1			no		OK, REJECTED (consumed); MISSING, NOSPC, INVALID,
 *							IO, BUSY (not consumed, nothing changed)
 *	last + 1			yes		SEQUENCE, until RESET
 *	above				any		SEQUENCE
 *
 * A commit is judged whole before anything is written.  Its changes are
 * walked in order and leave, for each record touched, what is live at the
 * end; references that came and went are summed up by a tally.  Then:
 *
 *  - the session holds EXCLUSIVE on each stored object whose records or
 *    reference count change, and each whose records change is in `bases`;
 *  - each base is the object's version, or the object was last written by
 *    this session (whose later commits were on their way);
 *  - an object that is not stored is born: by a PUT, in a range of the
 *    session's or reserved, never freed before, leased to nobody else;
 *  - what is referenced exists or is born here; blocks are stored or carried;
 *  - what still has ENTRY records keeps a reference, unless reserved.
 */
#include "server/commit.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "server/block.h"
#include "server/conn.h"
#include "server/credit.h"
#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/reap.h"
#include "server/session.h"
#include "server/tally.h"

enum {
	WORK_MAX	= 1 << 20,	/* records looked at for the sake of ranges */
	GAIN_OBJECTS	= 1024,		/* looked at for what freeing them gains */
};

/* A record that this commit changes. */
struct touched {
	struct table_node	 node;
	struct touched		*next;		/* of the object */
	struct tally_object	*object;
	uint8_t			 kind;
	struct bytes		 subkey;
	const struct msg_change	*live;		/* the PUT that stands, or NULL */
};

struct commit {
	struct server			*server;
	struct session			*session;
	const struct msg_commit		*m;
	struct tally			 tally;
	struct batch			 batch;
	struct table			 touched;
	struct tally_object		*object;	/* whose range is being deleted */
	uint64_t			 version;
	int64_t				 grown;		/* bytes of values, more or less */
	uint32_t			 births, carried, work;
	uint32_t			 refused, missing;
};

/* ---- form ---- */

static const struct kind_rule {
	uint8_t	subkey_len;
	bool	known, orefs, brefs, reserved_only;
} rules[KIND_MAX + 1] = {
	[KIND_ATTR]   = { .known = true },
	[KIND_PARENT] = { .known = true },
	[KIND_META]   = { .known = true, .orefs = true, .reserved_only = true },
	[KIND_INLINE] = { .known = true },
	[KIND_XATTR]  = { .known = true, .subkey_len = TOKEN_SIZE, .brefs = true },
	[KIND_ENTRY]  = { .known = true, .subkey_len = TOKEN_SIZE, .orefs = true },
	[KIND_REGION] = { .known = true, .subkey_len = 8, .brefs = true },
};

static int
compare(struct bytes a, struct bytes b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int r = common == 0 ? 0 : memcmp(a.data, b.data, common);

	return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

static bool
change_valid(const struct msg_change *c)
{
	const struct kind_rule *rule = c->kind > KIND_MAX ? NULL : &rules[c->kind];

	if (rule == NULL || !rule->known || c->oid == 0)
		return false;
	if (c->op == CHANGE_DELETE_RANGE)
		return compare(c->subkey, c->to) <= 0 && c->orefs.count + c->brefs.count == 0 && c->value.len == 0;
	if (c->subkey.len != rule->subkey_len || c->to.len != 0)
		return false;
	if (c->op == CHANGE_DELETE)
		return c->orefs.count + c->brefs.count == 0 && c->value.len == 0;
	return c->op == CHANGE_PUT && (rule->orefs || c->orefs.count == 0) && (rule->brefs || c->brefs.count == 0) &&
	    !(rule->reserved_only && c->oid >= OID_RESERVED) && record_size(c) <= STORE_VALUE_MAX;
}

static bool
commit_valid(const struct msg_commit *m)
{
	for (uint32_t i = 0; i < m->changes.count; i++)
		if (!change_valid(&m->changes.at[i]))
			return false;
	for (uint32_t i = 0; i < m->blocks.count; i++)
		if (m->blocks.at[i].data.len == 0)
			return false;
	return true;
}

/* ---- records ---- */

static uint64_t
touched_hash(const struct commit *c, uint64_t oid, uint8_t kind, struct bytes subkey)
{
	struct key key = key_record(0, oid, kind, subkey);
	uint8_t hash[crypto_shorthash_BYTES];
	struct cursor cursor = cursor_read(hash, sizeof hash);

	crypto_shorthash(hash, key.data, key.len, c->server->hash_key);
	return cursor_get_u64(&cursor);
}

static struct touched *
touched_find(const struct commit *c, const struct tally_object *o, uint8_t kind, struct bytes subkey)
{
	struct table_node *n = table_find(&c->touched, touched_hash(c, o->node.key, kind, subkey));

	for (; n != NULL; n = table_again(n)) {
		struct touched *t = container_of(n, struct touched, node);

		if (t->object == o && t->kind == kind && compare(t->subkey, subkey) == 0)
			return t;
	}
	return NULL;
}

/* Notes a record as touched and what is stored of it (NULL: nothing) as gone. */
static struct touched *
touched_add(struct commit *c, struct tally_object *o, uint8_t kind, struct bytes subkey, const struct bytes *stored)
{
	struct touched *t = arena_alloc(&c->tally.arena, sizeof *t + subkey.len);
	struct record_row row;

	if (t == NULL) {
		c->tally.error = -ENOMEM;
		return NULL;
	}
	t->object = o;
	t->kind = kind;
	if (subkey.len > 0)
		memcpy(t + 1, subkey.data, subkey.len);
	t->subkey = (struct bytes){ (uint8_t *)(t + 1), subkey.len };
	t->next = o->touched;
	o->touched = t;
	table_insert(&c->touched, &t->node, touched_hash(c, o->node.key, kind, subkey));
	if (stored == NULL)
		return t;
	if (record_decode(&row, *stored) < 0) {
		c->tally.error = -EBADMSG;
		return NULL;
	}
	c->grown -= stored->len;
	o->entries -= kind == KIND_ENTRY;
	tally_record(&c->tally, &row, -1);
	return t;
}

static struct touched *
touch(struct commit *c, struct tally_object *o, const struct msg_change *change, const struct key *key)
{
	struct touched *t = touched_find(c, o, change->kind, change->subkey);
	struct bytes value;
	int r;

	if (t != NULL)
		return t;
	r = o->exists ? store_get(c->server->store, key_bytes(key), &value) : -ENOENT;
	if (r < 0 && r != -ENOENT) {
		c->tally.error = r;
		return NULL;
	}
	return touched_add(c, o, change->kind, change->subkey, r == 0 ? &value : NULL);
}

/* A PUT of this commit is undone by a later change of it. */
static void
kill_live(struct commit *c, struct tally_object *o, struct touched *t)
{
	if (t->live == NULL)
		return;
	c->grown -= record_size(t->live);
	o->entries -= t->kind == KIND_ENTRY;
	tally_change(&c->tally, t->live, -1);
	t->live = NULL;
}

static void
apply_one(struct commit *c, struct tally_object *o, const struct msg_change *change)
{
	struct key key = key_record(c->session->volume->number, change->oid, change->kind, change->subkey);
	struct touched *t = touch(c, o, change, &key);

	if (t == NULL)
		return;
	kill_live(c, o, t);
	if (change->op == CHANGE_DELETE) {
		batch_delete(&c->batch, key_bytes(&key));
		return;
	}
	t->live = change;
	o->put = true;
	c->grown += record_size(change);
	o->entries += change->kind == KIND_ENTRY;
	tally_change(&c->tally, change, 1);
	record_put(&c->batch, &key, c->version, change);
}

static int
range_record(void *arg, struct bytes key, struct bytes value)
{
	struct commit *c = arg;
	struct bytes rest, subkey;
	uint32_t vol;
	uint64_t oid;

	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1)
		return -EBADMSG;
	if (++c->work > WORK_MAX)
		return -E2BIG;
	subkey = (struct bytes){ rest.data + 1, rest.len - 1 };
	if (touched_find(c, c->object, rest.data[0], subkey) == NULL)
		touched_add(c, c->object, rest.data[0], subkey, &value);
	return c->tally.error;
}

static void
apply_range(struct commit *c, struct tally_object *o, const struct msg_change *change)
{
	uint32_t vol = c->session->volume->number;
	struct key from = key_record(vol, change->oid, change->kind, change->subkey);
	struct key to = key_record(vol, change->oid, change->kind, change->to);
	int r = 0;

	for (struct touched *t = o->touched; t != NULL; t = t->next) {
		if (++c->work > WORK_MAX)
			r = -E2BIG;
		if (t->kind == change->kind && compare(t->subkey, change->subkey) >= 0 &&
		    compare(t->subkey, change->to) <= 0)
			kill_live(c, o, t);
	}
	c->object = o;
	if (r == 0 && o->exists)
		r = store_scan(c->server->store, key_bytes(&from), key_bytes(&to), range_record, c);
	if (r < 0)
		c->tally.error = r;
	batch_delete_range(&c->batch, key_bytes(&from), key_bytes(&to));
}

/* ---- judgement ---- */

static void
refuse(struct commit *c, struct tally_object *o)
{
	c->refused += !o->refused;
	o->refused = true;
}

static void
check_bases(struct commit *c)
{
	for (uint32_t i = 0; i < c->m->bases.count && c->tally.error == 0; i++) {
		struct tally_object *o = tally_object(&c->tally, c->m->bases.at[i].oid);

		if (o == NULL)
			return;
		o->listed = true;
		if (o->was.version != c->m->bases.at[i].version && o->was.writer != session_id(c->session))
			refuse(c, o);
	}
}

bool
commit_unborn(struct server *s, const struct session *n, uint64_t oid)
{
	struct object *o = object_find(n->volume, oid);
	struct header h;

	return session_owns(n, oid) && !(o != NULL && o->dying) &&
	    object_header(s, n->volume, oid, &h) == -ENOENT && !reap_used(s, n->volume, oid);
}

static bool
may_be_born(const struct commit *c, const struct tally_object *o)
{
	uint64_t oid = o->node.key;

	return o->put && !lease_conflicts(o->object, c->session, MODE_EXCLUSIVE) &&
	    (oid < OID_RESERVED || commit_unborn(c->server, c->session, oid));
}

static bool
is_exclusive(const struct commit *c, const struct tally_object *o)
{
	struct lease *l = lease_of(o->object, c->session);

	return l != NULL && l->mode == MODE_EXCLUSIVE;
}

static void
check_objects(struct commit *c)
{
	for (struct tally_object *o = c->tally.first_object; o != NULL; o = o->next) {
		bool fine = true;

		if (o->changed && o->exists)
			fine = o->listed && is_exclusive(c, o);
		else if (o->changed)
			fine = may_be_born(c, o);
		else if (o->count != 0)
			fine = o->exists && is_exclusive(c, o);
		if (!fine || (o->is.count == 0 && o->is.entries > 0 && o->node.key >= OID_RESERVED))
			refuse(c, o);
		c->births += o->changed && !o->exists;
	}
}

/* Newly named blocks are stored or carried; 0, -EEXIST for a block of another volume, or an error. */
static int
check_blocks(struct commit *c)
{
	for (struct tally_block *b = c->tally.first_block; b != NULL; b = b->next) {
		int r;

		if (b->count <= 0 && b->carried == NULL)
			continue;
		r = store_block_exists(c->server->store, b->id);
		if (r < 0)
			return r;
		if (!b->known && r > 0)
			return -EEXIST;
		b->write = r == 0 && b->carried != NULL;
		c->missing += r == 0 && b->carried == NULL;
		c->carried += b->write;
	}
	return 0;
}

static void
note_changes(struct commit *c)
{
	for (uint32_t i = 0; i < c->m->blocks.count && c->tally.error == 0; i++) {
		struct tally_block *b = tally_block(&c->tally, c->m->blocks.at[i].id);

		if (b != NULL)
			b->carried = &c->m->blocks.at[i];
	}
	for (uint32_t i = 0; i < c->m->changes.count && c->tally.error == 0; i++) {
		const struct msg_change *change = &c->m->changes.at[i];
		struct tally_object *o = tally_object(&c->tally, change->oid);

		if (o == NULL)
			return;
		o->changed = true;
		if (change->op == CHANGE_DELETE_RANGE)
			apply_range(c, o, change);
		else
			apply_one(c, o, change);
	}
}

static enum status
judge(struct commit *c)
{
	int r;

	if (!commit_valid(c->m))
		return STATUS_INVALID;
	check_bases(c);
	note_changes(c);
	if (c->tally.error != 0 || !tally_sum(&c->tally))
		return outbox_status(c->server, c->tally.error);
	check_objects(c);
	if (c->refused > 0)
		return STATUS_REJECTED;
	r = check_blocks(c);
	return r < 0 ? outbox_status(c->server, r) : c->missing > 0 ? STATUS_MISSING : STATUS_OK;
}

/* ---- outcome ---- */

/* What it takes, in the currency of credits. */
static uint64_t
cost_of(const struct commit *c)
{
	uint64_t cost = (uint64_t)c->births * OBJECT_COST + (c->grown > 0 ? (uint64_t)c->grown : 0);

	for (const struct tally_block *b = c->tally.first_block; b != NULL; b = b->next)
		if (b->write)
			cost += b->carried->data.len + BLOCK_COST;
	return cost;
}

/*
 * What the commit takes is less than what becomes free by it.  A client's
 * changes leave it in order, so that the removal for which a full server waits
 * may come together with work that nobody promised it room for (R10).
 */
static bool
pays(const struct commit *c, uint64_t cost)
{
	uint64_t gain = 0;
	unsigned looked = 0;

	for (const struct tally_block *b = c->tally.first_block; b != NULL && gain < cost; b = b->next)
		if (b->count < 0 && b->is == 0 && ++looked < GAIN_OBJECTS)
			gain += reap_gain_block(c->server, c->session->volume, b->id, b->was);
	for (const struct tally_object *o = c->tally.first_object; o != NULL && gain < cost; o = o->next)
		if (o->exists && o->count < 0 && o->is.count == 0 && o->node.key >= OID_RESERVED &&
		    LIST_EMPTY(&o->object->pins) && ++looked < GAIN_OBJECTS)
			gain += reap_gain(c->server, c->session->volume, o->node.key, cost - gain);
	return gain > 0 && gain >= cost;
}

static enum status
write_changes(struct commit *c, uint64_t *ret_pos)
{
	struct session *n = c->session;
	struct volume *v = n->volume;
	struct session_row row = n->row;
	struct state_row state = v->state;
	uint64_t cost = cost_of(c);
	unsigned flags = STORE_FREES;
	int r;

	for (struct tally_object *o = c->tally.first_object; o != NULL; o = o->next)
		if (o->changed) {
			o->is.version = c->version;
			o->is.writer = session_id(n);
			o->is.sequence = c->m->sequence;
		}
	tally_rows(&c->tally, &c->batch);
	row.sequence = c->m->sequence;
	row.version = c->version;
	row.seen_s = calendar_s(c->server);
	session_row_put(&c->batch, n, &row);
	state.version = c->version;
	state.objects += c->births;
	state_row_put(&c->batch, v->number, &state);
	r = cost == 0 ? 0 : credit_cover(c->server, n, cost, &flags);
	if (r == 0)
		r = store_apply(c->server->store, &c->batch, flags, ret_pos);
	if ((r == -ENOSPC || r == -EAGAIN) && cost > 0 && pays(c, cost)) {
		r = store_apply(c->server->store, &c->batch, STORE_TRADES, ret_pos);
		cost = 0;	/* paid: the credit is for what the client has yet to send */
	}
	if (r < 0)
		return outbox_status(c->server, r);
	n->row = row;
	n->outcome_pos = *ret_pos;
	n->progress_ms = c->server->now_ms;
	v->state = state;
	credit_spend(c->server, n, cost);
	credit_renew(c->server, n);
	tally_applied(&c->tally, *ret_pos);
	c->server->stats.commits++;
	return STATUS_OK;
}

/* What is born belongs to its parent. */
static void
lease_births(struct commit *c, struct conn *conn, uint64_t pos)
{
	for (struct tally_object *o = c->tally.first_object; o != NULL; o = o->next) {
		struct lease *l;

		if (!o->changed || o->exists || o->object->dying)
			continue;
		l = lease_birth(c->server, c->session, o->object);
		if (l == NULL)
			conn_doom(c->server, conn);	/* RECLAIM brings it */
		else
			l->told_pos = pos;	/* no position is later */
	}
}

static enum status
write_rejection(struct commit *c, uint64_t *ret_pos)
{
	struct session *n = c->session;
	struct session_row row = n->row;
	int r;

	row.sequence = c->m->sequence;
	row.version = n->volume->state.version;
	row.last_rejected = c->m->sequence;
	row.rejected = 1;
	batch_clear(&c->batch);
	session_row_put(&c->batch, n, &row);
	r = store_apply(c->server->store, &c->batch, STORE_FREES, ret_pos);
	if (r < 0)
		return outbox_status(c->server, r);
	n->row = row;
	n->outcome_pos = *ret_pos;
	c->server->stats.rejected++;
	outbox_log(c->server, "event=reject volume=%.*s session=%016" PRIx64 " sequence=%" PRIu64 " objects=%u",
	    n->volume->name_len, (const char *)n->volume->name, session_id(n), c->m->sequence, (unsigned)c->refused);
	return STATUS_REJECTED;
}

static struct server_action *
committed(const struct conn *conn, const struct message *m, enum status status, uint64_t version)
{
	const struct session *n = conn->session;
	struct server_action *a = outbox_message(conn_id(conn), MSG_committed, m->id);

	if (a != NULL) {
		a->message.committed.sequence = m->commit.sequence;
		a->message.committed.status = status;
		a->message.committed.version = version;
		a->message.committed.credit = n->credit;
	}
	return a;
}

static bool
list_refused(const struct commit *c, struct server_action *a)
{
	struct msg_committed *to = &a->message.committed;

	to->rejected.at = arena_alloc(&a->arena, BASES_MAX * sizeof *to->rejected.at);
	for (const struct tally_object *o = c->tally.first_object; o != NULL && to->rejected.at != NULL; o = o->next)
		if (o->refused && to->rejected.count < BASES_MAX)
			to->rejected.at[to->rejected.count++] = o->node.key;
	return to->rejected.at != NULL;
}

static bool
list_missing(const struct commit *c, struct server_action *a)
{
	struct msg_committed *to = &a->message.committed;
	uint32_t room = c->missing < IDS_MAX ? c->missing : IDS_MAX;
	uint8_t (*ids)[ID_SIZE] = arena_alloc(&a->arena, room * ID_SIZE);

	for (const struct tally_block *b = c->tally.first_block; b != NULL && ids != NULL; b = b->next)
		if (b->count > 0 && b->carried == NULL && to->missing.count < room &&
		    store_block_exists(c->server->store, b->id) <= 0)
			memcpy(ids[to->missing.count++], b->id, ID_SIZE);
	to->missing.at = (const uint8_t (*)[ID_SIZE])ids;
	return ids != NULL;
}

static void
commit_fresh(struct server *s, struct conn *conn, const struct message *m)
{
	struct session *n = conn->session;
	struct commit c = { .server = s, .session = n, .m = &m->commit, .version = n->volume->state.version + 1 };
	struct server_action *a;
	enum status status;
	uint64_t pos = 0;

	tally_init(&c.tally, s, n->volume);
	table_init(&c.touched, 0);
	status = judge(&c);
	if (status == STATUS_OK && (status = write_changes(&c, &pos)) == STATUS_OK)
		lease_births(&c, conn, pos);
	else if (status == STATUS_REJECTED)
		status = write_rejection(&c, &pos);
	a = committed(conn, m, status, status == STATUS_OK ? c.version : n->volume->state.version);
	if (a != NULL && ((status == STATUS_REJECTED && !list_refused(&c, a)) ||
	    (status == STATUS_MISSING && !list_missing(&c, a)))) {
		server_action_free(a);
		a = NULL;
	}
	s->stats.missing += status == STATUS_MISSING;
	if (status == STATUS_NOSPC || status == STATUS_BUSY)
		n->progress_ms = s->now_ms;	/* that it cannot give its leases back is not its fault */
	table_done(&c.touched);
	tally_done(&c.tally);
	batch_done(&c.batch);
	outbox_send(s, conn, a, pos);
}

void
commit_message(struct server *s, struct conn *conn, const struct message *m)
{
	const struct session_row *row = &conn->session->row;
	uint64_t sequence = m->commit.sequence;

	if (sequence <= row->sequence) {
		enum status status = sequence == row->last_rejected ? STATUS_REJECTED : STATUS_OK;

		s->stats.replays++;
		outbox_send(s, conn, committed(conn, m, status, sequence == row->sequence ? row->version : 0),
		    conn->session->outcome_pos);
	} else if (row->rejected || sequence != row->sequence + 1) {
		outbox_send(s, conn, committed(conn, m, STATUS_SEQUENCE, 0), 0);
	} else {
		commit_fresh(s, conn, m);
	}
}

void
commit_reset(struct server *s, struct conn *c, const struct message *m)
{
	struct session *n = c->session;
	struct session_row row = n->row;
	struct batch b;
	uint64_t pos = 0;
	int r = 0;

	row.rejected = 0;
	batch_init(&b);
	session_row_put(&b, n, &row);
	if (n->row.rejected)
		r = store_apply(s->store, &b, STORE_FREES, &pos);
	batch_done(&b);
	if (r == 0)
		n->row = row;
	outbox_done(s, c, m->id, outbox_status(s, r), NULL, pos);
}
