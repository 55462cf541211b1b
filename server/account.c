/*
 * account.c - see account.h.
 *
 *	invitation to the server	nuaged invite; REDEEM enrols, may create volumes
 *	invitation to a volume		VOLUME_INVITE by a member; REDEEM enrols, makes a member and
 *					hands over the wrapped volume key, which is deleted here
 *	DEVICE_ADD			by a member: enrols and makes a member
 *	VOLUME_CREATE			creator and recovery device become members; the latter may
 *					fetch its wrap
 *
 * An invitation is known by the hash of its token and serves once.
 */
#include "server/account.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wrap.h"
#include "server/conn.h"
#include "server/outbox.h"
#include "server/session.h"

enum {
	STRANGER_LOG_MS	= 1000,			/* between lines about strangers */
	VALID_MAX_S	= 366 * 24 * 60 * 60,	/* of an invitation */
	KEPT_S		= 30 * 24 * 60 * 60,	/* after it expired */
	PRUNE_BYTES	= 1 << 20,		/* of deletions at one start */
};

static const uint8_t zeros[KEY_SIZE];

/* ---- volumes ---- */

static struct volume *
volume_new(struct server *s, uint32_t number, const uint8_t id[VOLUME_ID_SIZE], struct bytes name)
{
	struct volume *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	v->number = number;
	memcpy(v->id, id, VOLUME_ID_SIZE);
	memcpy(v->name, name.data, name.len);
	v->name_len = name.len;
	table_init(&v->objects, s->conns.seed);
	table_init(&v->ranges, s->conns.seed);
	TAILQ_INIT(&v->sessions);
	table_insert(&s->volumes, &v->node, number);
	return v;
}

static int
load_volume(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct volume_row row;
	struct bytes state;
	struct volume *v;
	struct key state_key;
	uint32_t number;
	int r;

	if (key_split(key, &number, NULL, NULL) < 0 || volume_row_decode(&row, value) < 0)
		return -EBADMSG;
	v = volume_new(s, number, row.id, row.name);
	if (v == NULL)
		return -ENOMEM;
	if (number >= s->next_volume)
		s->next_volume = number + 1;
	state_key = key_volume(ROW_STATE, number);
	r = store_get(s->store, key_bytes(&state_key), &state);
	return r < 0 ? (r == -ENOENT ? -EBADMSG : r) : state_row_decode(&v->state, state);
}

int
account_load(struct server *s)
{
	struct key from = key_table(ROW_VOLUME), to = key_table_last(ROW_VOLUME);

	return store_scan(s->store, key_bytes(&from), key_bytes(&to), load_volume, s);
}

static bool
name_taken(const struct server *s, struct bytes name)
{
	size_t slot = 0;
	struct table_node *n = NULL;

	while ((n = table_walk(&s->volumes, &slot, n)) != NULL) {
		struct volume *v = container_of(n, struct volume, node);

		if (v->name_len == name.len && memcmp(v->name, name.data, name.len) == 0)
			return true;
	}
	return false;
}

static bool
name_valid(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] == '/' || name.data[i] == 0x7f)
			return false;
	return name.len > 0;
}

/* ---- devices and members ---- */

bool
account_enrolled(struct server *s, const uint8_t device[KEY_SIZE], uint8_t *ret_flags)
{
	struct key key = key_hash(ROW_DEVICE, device);
	struct bytes value;

	if (store_get(s->store, key_bytes(&key), &value) < 0 || value.len != 1)
		return false;
	if (ret_flags != NULL)
		*ret_flags = value.data[0];
	return true;
}

/* ROLE_MEMBER, ROLE_RECOVERY, or 0 for one that is not a member. */
static uint8_t
role_of(struct server *s, const uint8_t device[KEY_SIZE], const struct volume *v)
{
	struct key key = key_member(device, v->number);
	struct bytes value;

	return store_get(s->store, key_bytes(&key), &value) < 0 || value.len != 1 ? 0 : value.data[0];
}

bool
account_member(struct server *s, const uint8_t device[KEY_SIZE], const struct volume *v)
{
	return role_of(s, device, v) != 0;
}

static void
device_row(struct server *s, struct batch *b, const uint8_t device[KEY_SIZE], uint8_t flags)
{
	struct key key = key_hash(ROW_DEVICE, device);
	uint8_t had = 0;

	account_enrolled(s, device, &had);
	flags |= had;
	batch_put(b, key_bytes(&key), (struct bytes){ &flags, 1 });
}

static void
member_row(struct batch *b, const uint8_t device[KEY_SIZE], uint32_t vol, uint8_t role)
{
	struct key key = key_member(device, vol);

	batch_put(b, key_bytes(&key), (struct bytes){ &role, 1 });
}

void
account_stranger(struct server *s, const uint8_t device[KEY_SIZE], const char *request)
{
	char hex[KEY_SIZE * 2 + 1];

	for (unsigned i = 0; i < STRANGERS; i++)
		if (memcmp(s->strangers[i], device, KEY_SIZE) == 0)
			return;
	if (s->stranger_ms != 0 && s->now_ms - s->stranger_ms < STRANGER_LOG_MS)
		return;
	s->stranger_ms = s->now_ms;
	memcpy(s->strangers[s->stranger_next++ % STRANGERS], device, KEY_SIZE);
	outbox_log(s, "event=stranger device=%s request=%s",
	    sodium_bin2hex(hex, sizeof hex, device, KEY_SIZE), request);
}

/* ---- redeeming ---- */

struct redemption {
	struct invitation_row	 row;
	const char		*refusal;		/* for a person; NULL: none */
	uint8_t			 wrap[WRAP_MAX];	/* copied: the batch outlives the row's bytes */
	struct volume		*volume;		/* NULL: an invitation to the server */
};

static enum status
look_up_token(struct server *s, const uint8_t hash[KEY_SIZE], struct redemption *r)
{
	struct key key = key_hash(ROW_INVITATION, hash);
	struct table_node *n;
	struct bytes value;
	int error = store_get(s->store, key_bytes(&key), &value);

	if (error == -ENOENT) {
		r->refusal = "the server does not know it";
		return STATUS_DENIED;
	}
	if (error < 0 || invitation_row_decode(&r->row, value) < 0)
		return STATUS_IO;
	r->refusal = r->row.used ? "it was used before" : calendar_s(s) >= r->row.expiry_s ? "it has expired" : NULL;
	if (r->refusal != NULL)
		return STATUS_USED;
	memcpy(r->wrap, r->row.wrap.data, r->row.wrap.len);
	r->row.wrap.data = r->wrap;
	if (r->row.vol == 0)
		return STATUS_OK;
	n = table_find(&s->volumes, r->row.vol);
	if (n == NULL)
		return STATUS_NOENT;
	r->volume = container_of(n, struct volume, node);
	return STATUS_OK;
}

static struct server_action *
redeemed(struct conn *c, uint64_t request, const struct redemption *r)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_redeemed, request);
	struct msg_redeemed *to = a == NULL ? NULL : &a->message.redeemed;
	uint8_t *text;

	if (a == NULL || r->volume == NULL)
		return a;
	text = arena_alloc(&a->arena, VOLUME_NAME_MAX + WRAP_MAX);
	if (text == NULL) {
		server_action_free(a);
		return NULL;
	}
	memcpy(to->volume, r->volume->id, VOLUME_ID_SIZE);
	memcpy(text, r->volume->name, r->volume->name_len);
	to->name = (struct bytes){ text, r->volume->name_len };
	memcpy(text + VOLUME_NAME_MAX, r->wrap, r->row.wrap.len);
	to->wrap = (struct bytes){ text + VOLUME_NAME_MAX, r->row.wrap.len };
	return a;
}

void
account_redeem(struct server *s, struct conn *c, const struct message *m)
{
	struct redemption r = { .volume = NULL };
	uint8_t hash[KEY_SIZE];
	enum status status;
	uint64_t pos = 0;
	struct batch b;

	wrap_token_hash(m->redeem.token, hash);
	status = look_up_token(s, hash, &r);
	if (status == STATUS_OK) {
		struct invitation_row used = { .used = 1, .expiry_s = r.row.expiry_s, .vol = r.row.vol };

		batch_init(&b);
		device_row(s, &b, c->device, r.volume == NULL ? DEVICE_MAY_CREATE : 0);
		if (r.volume != NULL && role_of(s, c->device, r.volume) == 0)
			member_row(&b, c->device, r.volume->number, ROLE_MEMBER);
		invitation_row_put(&b, hash, &used);
		status = outbox_status(s, store_apply(s->store, &b, 0, &pos));
		batch_done(&b);
	}
	if (status == STATUS_OK)
		outbox_send(s, c, redeemed(c, m->id, &r), pos);
	else
		outbox_done(s, c, m->id, status, r.refusal, 0);
	sodium_memzero(&r, sizeof r);
}

int
server_invite(struct server *s, const uint8_t token_hash[KEY_SIZE], uint64_t valid_s, uint64_t *pos)
{
	struct invitation_row row = { .expiry_s = calendar_s(s) + (valid_s < VALID_MAX_S ? valid_s : VALID_MAX_S) };
	struct batch b;
	int r;

	batch_init(&b);
	invitation_row_put(&b, token_hash, &row);
	r = store_apply(s->store, &b, 0, pos);
	batch_done(&b);
	return r;
}

/* ---- old invitations ---- */

struct pruning {
	struct batch	batch;
	uint64_t	before_s;
};

static int
prune_row(void *arg, struct bytes key, struct bytes value)
{
	struct pruning *p = arg;
	struct invitation_row row;

	if (invitation_row_decode(&row, value) == 0 && row.expiry_s < p->before_s)
		batch_delete(&p->batch, key);
	return p->batch.len > PRUNE_BYTES;
}

void
account_prune(struct server *s)
{
	struct key from = key_table(ROW_INVITATION), to = key_table_last(ROW_INVITATION);
	struct pruning p = { .before_s = calendar_s(s) > KEPT_S ? calendar_s(s) - KEPT_S : 0 };
	uint64_t pos;

	if (store_scan(s->store, key_bytes(&from), key_bytes(&to), prune_row, &p) >= 0 && p.batch.len > 0)
		store_apply(s->store, &p.batch, STORE_FREES, &pos);
	batch_done(&p.batch);
}

/* ---- making and listing volumes ---- */

static int
create_rows(struct server *s, struct conn *c, const struct msg_volume_create *m, uint32_t number, uint64_t *ret_pos)
{
	struct volume_row row = { .name = m->name, .wrap = m->wrap };
	struct state_row state = { 0 };
	struct key key = key_table(ROW_SERVER);
	uint8_t head[8];
	struct cursor cursor = cursor_over(head, sizeof head);
	struct batch b;
	int r;

	memcpy(row.id, m->volume, VOLUME_ID_SIZE);
	memcpy(row.recovery, m->recovery, KEY_SIZE);
	cursor_put_u32(&cursor, LAYOUT_FORMAT);
	cursor_put_u32(&cursor, number + 1);
	batch_init(&b);
	batch_put(&b, key_bytes(&key), (struct bytes){ head, sizeof head });
	volume_row_put(&b, number, &row);
	state_row_put(&b, number, &state);
	if (memcmp(m->recovery, zeros, KEY_SIZE) != 0) {
		device_row(s, &b, m->recovery, 0);
		member_row(&b, m->recovery, number, ROLE_RECOVERY);
	}
	member_row(&b, c->device, number, ROLE_MEMBER);
	r = store_apply(s->store, &b, 0, ret_pos);
	batch_done(&b);
	return r;
}

void
account_create(struct server *s, struct conn *c, const struct message *m)
{
	const struct msg_volume_create *create = &m->volume_create;
	enum status status = STATUS_OK;
	uint8_t flags = 0;
	uint64_t pos = 0;

	account_enrolled(s, c->device, &flags);
	if (!(flags & DEVICE_MAY_CREATE))
		status = STATUS_DENIED;
	else if (!name_valid(create->name) || memcmp(create->volume, zeros, VOLUME_ID_SIZE) == 0 ||
	    memcmp(create->recovery, c->device, KEY_SIZE) == 0)
		status = STATUS_INVALID;
	else if (name_taken(s, create->name) || volume_find(s, create->volume) != NULL)
		status = STATUS_EXIST;
	else if (s->next_volume == UINT32_MAX)
		status = STATUS_BUSY;
	else
		status = outbox_status(s, create_rows(s, c, create, s->next_volume, &pos));
	if (status == STATUS_OK) {
		if (volume_new(s, s->next_volume, create->volume, create->name) == NULL)
			status = STATUS_BUSY;	/* stored; the next start finds it */
		s->next_volume++;
		outbox_log(s, "event=volume-create volume=%.*s", (int)create->name.len, (const char *)create->name.data);
	}
	outbox_done(s, c, m->id, status, NULL, pos);
}

struct listing {
	struct server		*server;
	struct msg_volumes	*to;
	struct arena		*arena;
};

static int
list_member(void *arg, struct bytes key, struct bytes value)
{
	struct listing *l = arg;
	struct cursor c = cursor_read(key.data, key.len);
	struct msg_volume_info *info;
	struct table_node *n;
	struct volume *v;

	(void)value;
	cursor_get_bytes(&c, 1 + KEY_SIZE);
	n = table_find(&l->server->volumes, cursor_get_u32(&c));
	if (!cursor_done(&c) || n == NULL)
		return 0;
	if (l->to->list.count == VOLUMES_MAX)
		return 1;
	v = container_of(n, struct volume, node);
	info = &l->to->list.at[l->to->list.count++];
	*info = (struct msg_volume_info){ .version = v->state.version, .objects = v->state.objects,
	    .sessions = session_present(l->server, v) };
	memcpy(info->volume, v->id, VOLUME_ID_SIZE);
	info->name = (struct bytes){ v->name, v->name_len };
	return 0;
}

void
account_list(struct server *s, struct conn *c, const struct message *m)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_volumes, m->id);
	struct key from = key_member(c->device, 0), to = key_member(c->device, UINT32_MAX);
	size_t count = s->volumes.count < VOLUMES_MAX ? s->volumes.count : VOLUMES_MAX;
	struct listing l = { s, a == NULL ? NULL : &a->message.volumes, a == NULL ? NULL : &a->arena };
	int r = 0;

	if (a != NULL && count > 0) {
		l.to->list.at = arena_alloc(l.arena, count * sizeof *l.to->list.at);
		if (l.to->list.at != NULL)
			r = store_scan(s->store, key_bytes(&from), key_bytes(&to), list_member, &l);
		else
			r = -ENOMEM;
	}
	if (r < 0) {
		server_action_free(a);
		outbox_done(s, c, m->id, outbox_status(s, r), NULL, 0);
		return;
	}
	outbox_send(s, c, a, 0);
}

void
account_invite(struct server *s, struct conn *c, const struct message *m)
{
	const struct msg_volume_invite *invite = &m->volume_invite;
	struct volume *v = volume_find(s, invite->volume);
	struct key key = key_hash(ROW_INVITATION, invite->token_hash);
	struct invitation_row row = { .wrap = invite->wrap };
	enum status status = STATUS_OK;
	struct bytes value;
	struct batch b;
	uint64_t pos = 0;

	if (v == NULL || role_of(s, c->device, v) == 0)
		status = STATUS_DENIED;
	else if (invite->valid_s == 0 || invite->valid_s > VALID_MAX_S)
		status = STATUS_INVALID;
	else if (store_get(s->store, key_bytes(&key), &value) != -ENOENT)
		status = STATUS_EXIST;
	if (status == STATUS_OK) {
		row.vol = v->number;
		row.expiry_s = calendar_s(s) + invite->valid_s;
		batch_init(&b);
		invitation_row_put(&b, invite->token_hash, &row);
		status = outbox_status(s, store_apply(s->store, &b, 0, &pos));
		batch_done(&b);
	}
	outbox_done(s, c, m->id, status, NULL, pos);
}

/* ---- recovery ---- */

static int
find_recovery(void *arg, struct bytes key, struct bytes value)
{
	uint32_t *vol = arg;
	struct cursor c = cursor_read(key.data, key.len);

	cursor_get_bytes(&c, 1 + KEY_SIZE);
	if (value.len != 1 || value.data[0] != ROLE_RECOVERY)
		return 0;
	*vol = cursor_get_u32(&c);
	return 1;
}

/* The volume that the device may recover: the one named, or with zeros the first. */
static struct volume *
recoverable(struct server *s, const uint8_t device[KEY_SIZE], const uint8_t id[VOLUME_ID_SIZE])
{
	struct key from = key_member(device, 0), to = key_member(device, UINT32_MAX);
	struct table_node *n;
	struct volume *v;
	uint32_t vol = 0;

	if (memcmp(id, zeros, VOLUME_ID_SIZE) != 0) {
		v = volume_find(s, id);
		return v != NULL && role_of(s, device, v) == ROLE_RECOVERY ? v : NULL;
	}
	if (store_scan(s->store, key_bytes(&from), key_bytes(&to), find_recovery, &vol) != 1)
		return NULL;
	n = table_find(&s->volumes, vol);
	return n == NULL ? NULL : container_of(n, struct volume, node);
}

void
account_wrap(struct server *s, struct conn *c, const struct message *m)
{
	struct volume *v = recoverable(s, c->device, m->wrap_get.volume);
	struct server_action *a;
	struct volume_row row;
	struct bytes value;
	struct key key;
	uint8_t *text;

	if (v == NULL) {
		outbox_done(s, c, m->id, STATUS_NOENT, NULL, 0);
		return;
	}
	key = key_volume(ROW_VOLUME, v->number);
	if (store_get(s->store, key_bytes(&key), &value) < 0 || volume_row_decode(&row, value) < 0) {
		outbox_done(s, c, m->id, STATUS_IO, NULL, 0);
		return;
	}
	a = outbox_message(conn_id(c), MSG_wrap, m->id);
	text = a == NULL ? NULL : arena_alloc(&a->arena, value.len);
	if (text == NULL) {
		server_action_free(a);
		outbox_send(s, c, NULL, 0);
		return;
	}
	memcpy(text, value.data, value.len);
	memcpy(a->message.wrap.volume, row.id, VOLUME_ID_SIZE);
	a->message.wrap.name = (struct bytes){ text + (row.name.data - value.data), row.name.len };
	a->message.wrap.wrap = (struct bytes){ text + (row.wrap.data - value.data), row.wrap.len };
	outbox_send(s, c, a, 0);
}

void
account_add(struct server *s, struct conn *c, const struct message *m)
{
	struct volume *v = volume_find(s, m->device_add.volume);
	enum status status = STATUS_OK;
	struct batch b;
	uint64_t pos = 0;

	if (v == NULL || role_of(s, c->device, v) == 0)
		status = STATUS_DENIED;
	if (status == STATUS_OK) {
		batch_init(&b);
		device_row(s, &b, m->device_add.device, 0);
		if (role_of(s, m->device_add.device, v) == 0)
			member_row(&b, m->device_add.device, v->number, ROLE_MEMBER);
		status = outbox_status(s, store_apply(s->store, &b, 0, &pos));
		batch_done(&b);
	}
	outbox_done(s, c, m->id, status, NULL, pos);
}
