/* reap.c - see reap.h. */
#include "server/reap.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "server/lease.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/tally.h"

enum {
	STEP_RECORDS	= 256,		/* in one batch */
	GAIN_RECORDS	= 1024,		/* looked at to see whether an object is worth freeing */
	TICK_STEPS	= 8,
};

static int
load_orphan(void *arg, struct bytes key, struct bytes value)
{
	struct server *s = arg;
	struct table_node *n;
	struct object *o;
	uint32_t vol;
	uint64_t oid;

	(void)value;
	if (key_split(key, &vol, &oid, NULL) < 0 || (n = table_find(&s->volumes, vol)) == NULL)
		return -EBADMSG;
	o = object_get(container_of(n, struct volume, node), oid);
	if (o == NULL)
		return -ENOMEM;
	o->orphan = true;
	reap_consider(s, o);
	return 0;
}

int
reap_load(struct server *s)
{
	struct key from = key_table(ROW_ORPHAN), to = key_table_last(ROW_ORPHAN);

	return store_scan(s->store, key_bytes(&from), key_bytes(&to), load_orphan, s);
}

void
reap_consider(struct server *s, struct object *o)
{
	if (!o->orphan || !LIST_EMPTY(&o->pins))
		return;
	assert(!o->dying);	/* else it was there for nobody, to take a reference or a pin away */
	o->dying = true;
	TAILQ_INSERT_TAIL(&s->dying, o, of_dying);
	due_soon(s);
	while (!LIST_EMPTY(&o->leases))
		lease_drop(s, LIST_FIRST(&o->leases));
	object_kick(s, o);
}

/* ---- used oids ---- */

static struct key
used_key(const struct volume *v, uint64_t oid)
{
	return key_u64(ROW_USED, v->number, (oid - OID_RESERVED) / USED_CHUNK);
}

static int
used_bits(struct server *s, const struct volume *v, uint64_t oid, uint8_t bits[USED_CHUNK / 8])
{
	struct key key = used_key(v, oid);
	struct bytes value;
	int r = store_get(s->store, key_bytes(&key), &value);

	memset(bits, 0, USED_CHUNK / 8);
	if (r == 0 && value.len == USED_CHUNK / 8)
		memcpy(bits, value.data, USED_CHUNK / 8);
	else if (r == 0)
		r = -EBADMSG;
	return r == -ENOENT ? 0 : r;
}

bool
reap_used(struct server *s, const struct volume *v, uint64_t oid)
{
	uint8_t bits[USED_CHUNK / 8];
	unsigned bit = (oid - OID_RESERVED) % USED_CHUNK;

	return used_bits(s, v, oid, bits) < 0 || (bits[bit / 8] >> (bit % 8) & 1);
}

/* ---- steps ---- */

struct step {
	struct tally	*tally;
	struct batch	*batch;
	unsigned	 records;
};

static int
reap_record(void *arg, struct bytes key, struct bytes value)
{
	struct step *step = arg;
	struct record_row row;
	struct bytes rest;
	uint32_t vol;
	uint64_t oid;

	if (step->records == STEP_RECORDS)
		return 1;
	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1)
		return -EBADMSG;
	if (rest.data[0] == 0)	/* the header goes last */
		return 0;
	if (record_decode(&row, value) < 0)
		return -EBADMSG;
	step->records++;
	tally_record(step->tally, &row, -1);
	batch_delete(step->batch, key);
	return step->tally->error;
}

/* The last rows of an object whose records are all in the batch. */
static int
reap_last(struct server *s, struct object *o, struct batch *b)
{
	struct volume *v = o->volume;
	struct state_row state = v->state;
	uint64_t oid = object_oid(o);
	struct key header = key_header(v->number, oid), orphan = key_u64(ROW_ORPHAN, v->number, oid);
	uint8_t bits[USED_CHUNK / 8];
	unsigned bit = (oid - OID_RESERVED) % USED_CHUNK;
	int r = 0;

	state.objects--;
	state_row_put(b, v->number, &state);
	batch_delete(b, key_bytes(&header));
	batch_delete(b, key_bytes(&orphan));
	if (table_find(&v->ranges, (oid - OID_RESERVED) / RANGE_SIZE) != NULL) {
		struct key used = used_key(v, oid);

		r = used_bits(s, v, oid, bits);
		bits[bit / 8] |= 1 << (bit % 8);
		batch_put(b, key_bytes(&used), (struct bytes){ bits, sizeof bits });
	}
	return r;
}

/* One batch of o's records; 1 when o is gone, 0 when more are left, or a negative errno. */
static int
reap_step(struct server *s, struct object *o)
{
	struct tally t;
	struct batch b;
	struct step step = { .tally = &t, .batch = &b };
	struct key from = key_header(o->volume->number, object_oid(o));
	struct key to = key_object_last(o->volume->number, object_oid(o));
	uint64_t pos;
	int r, more;

	tally_init(&t, s, o->volume);
	batch_init(&b);
	more = store_scan(s->store, key_bytes(&from), key_bytes(&to), reap_record, &step);
	r = more < 0 ? more : more > 0 ? 0 : reap_last(s, o, &b);
	if (r == 0 && !tally_sum(&t))
		r = t.error;
	if (r == 0) {
		tally_rows(&t, &b);
		r = store_apply(s->store, &b, STORE_FREES, &pos);
	}
	if (r == 0) {
		tally_applied(&t, pos);
		object_touch(s, o, pos);
	}
	tally_done(&t);
	batch_done(&b);
	return r < 0 ? r : more == 0;
}

/* ---- what it gains ---- */

struct gain {
	struct server		*server;
	const struct volume	*volume;
	uint64_t		 bytes, enough;
	unsigned		 records;
};

static int
gain_record(void *arg, struct bytes key, struct bytes value)
{
	struct gain *g = arg;
	struct record_row row;
	struct bytes rest;
	uint32_t vol;
	uint64_t oid;

	if (key_split(key, &vol, &oid, &rest) < 0 || rest.len < 1)
		return -EBADMSG;
	g->bytes += key.len + value.len;
	if (rest.data[0] != 0 && record_decode(&row, value) == 0)
		for (unsigned i = 0; i < row.brefs_count; i++)
			g->bytes += reap_gain_block(g->server, g->volume, row.brefs[i], 1);
	return g->bytes >= g->enough || ++g->records >= GAIN_RECORDS;
}

uint64_t
reap_gain_block(struct server *s, const struct volume *v, const uint8_t id[ID_SIZE], uint64_t references)
{
	struct key key = key_block(ROW_BLOCK, v->number, id);
	struct block_ref *ref = NULL;
	struct bytes value;
	uint64_t count, len = 0;

	if (store_get(s->store, key_bytes(&key), &value) == 0 && u64_row_decode(&count, value) == 0 &&
	    count <= references && store_block_find(s->store, id, &ref) == 0)
		len = ref->len;
	store_block_put_ref(ref);
	return len;
}

uint64_t
reap_gain(struct server *s, const struct volume *v, uint64_t oid, uint64_t enough)
{
	struct gain g = { .server = s, .volume = v, .enough = enough };
	struct key from = key_header(v->number, oid), to = key_object_last(v->number, oid);

	store_scan(s->store, key_bytes(&from), key_bytes(&to), gain_record, &g);
	return g.bytes;
}

static void
reap_some(struct server *s)
{
	for (unsigned i = 0; i < TICK_STEPS && !TAILQ_EMPTY(&s->dying); i++) {
		struct object *o = TAILQ_FIRST(&s->dying);
		int r = reap_step(s, o);

		s->stuck = r == -ENOSPC;
		if (r == 0)
			continue;
		if (r == -ENOSPC || r == -ENOMEM)
			return;
		/* Gone; or damaged, then it stays an orphan until the next start tries again. */
		TAILQ_REMOVE(&s->dying, o, of_dying);
		if (r < 0) {
			outbox_log(s, "event=damage volume=%.*s oid=%llu what=free error=\"%s\"", o->volume->name_len,
			    (const char *)o->volume->name, (unsigned long long)object_oid(o), strerror(-r));
			return;
		}
		o->volume->state.objects--;
		o->orphan = false;
		o->dying = false;
		s->stats.frees++;
		object_kick(s, o);
	}
}

void
reap_tick(struct server *s)
{
	reap_some(s);
	if (!TAILQ_EMPTY(&s->dying))
		due_soon(s);
}
