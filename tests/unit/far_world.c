/* far_world.c - see far_world.h. */
#include "tests/unit/far_world.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ANSWERS = 64, RECORDS = FAR_NAMES + 2, READS = 16 };

static struct far_object *objects;
static uint64_t next_grant;

/* READs that are not answered yet. */
static struct asked {
	uint64_t	 request;
	uint32_t	 count;
	struct msg_want	 wants[ANSWERS];
	uint8_t		 from[ANSWERS][SUBKEY_MAX], to[ANSWERS][SUBKEY_MAX];
} reads[READS];
static unsigned reads_count;

static void
hear(const struct message *m)
{
	struct asked *a = &reads[reads_count];

	if (reads_count == READS)
		abort();
	reads_count++;
	a->request = m->id;
	a->count = m->read.wants.count < ANSWERS ? m->read.wants.count : ANSWERS;
	for (uint32_t i = 0; i < a->count; i++) {
		a->wants[i] = m->read.wants.at[i];
		if (a->wants[i].from.len > 0) {
			memcpy(a->from[i], a->wants[i].from.data, a->wants[i].from.len);
			memcpy(a->to[i], a->wants[i].to.data, a->wants[i].to.len);
		}
		a->wants[i].from.data = a->from[i];
		a->wants[i].to.data = a->to[i];
	}
}

void
far_begin(struct far_object *now)
{
	objects = now;
	for (struct far_object *o = now; o->oid != 0; o++)
		o->held = MODE_NONE;
	next_grant = 1000;
	reads_count = 0;
	w.heard = hear;
}

struct far_object *
far_of(uint64_t oid)
{
	for (struct far_object *o = objects; o->oid != 0; o++)
		if (o->oid == oid)
			return o;
	return NULL;
}

struct records {
	struct msg_record at[RECORDS];
	uint8_t		 subkeys[RECORDS][TOKEN_SIZE], values[RECORDS][512];
	uint64_t	 orefs[RECORDS];
	uint32_t	 count;
};

static void
add_names(struct records *r, const struct far_object *o, const uint8_t *from, const uint8_t *to)
{
	for (const struct far_name *n = o->names; n < o->names + FAR_NAMES && n->name != NULL; n++) {
		uint32_t i = r->count;
		uint8_t token[TOKEN_SIZE];

		name_token(w.keys, o->oid, world_text(n->name), token);
		if (memcmp(token, from, TOKEN_SIZE) < 0 || memcmp(token, to, TOKEN_SIZE) > 0)
			continue;
		for (; i > 0 && memcmp(r->subkeys[i - 1], token, TOKEN_SIZE) > 0; i--) {
			memcpy(r->subkeys[i], r->subkeys[i - 1], TOKEN_SIZE);
			memcpy(r->values[i], r->values[i - 1], sizeof r->values[i]);
			r->orefs[i] = r->orefs[i - 1];
			r->at[i].value.len = r->at[i - 1].value.len;
		}
		memcpy(r->subkeys[i], token, TOKEN_SIZE);
		r->at[i].value.len = (size_t)entry_encode(world_text(n->name), DT_UNKNOWN, r->values[i], sizeof r->values[i]);
		r->orefs[i] = n->child;
		r->count++;
	}
	for (uint32_t i = 0; i < r->count; i++)
		r->at[i] = (struct msg_record){ .kind = KIND_ENTRY, .version = 1, .subkey = { r->subkeys[i], TOKEN_SIZE },
		    .value = { r->values[i], r->at[i].value.len }, .orefs = { &r->orefs[i], r->orefs[i] != 0 } };
}

static void
add_region(struct records *r)
{
	static const uint8_t subkey[8];

	r->at[r->count++] = (struct msg_record){ .kind = KIND_REGION, .version = 1, .subkey = { subkey, sizeof subkey } };
}

static void
add_attributes(struct records *r, const struct far_object *o)
{
	struct attr attr = { .mode = o->mode, .nlink = o->nlink, .size = o->size, .flags = o->in_record ? ATTR_INLINE : 0 };

	r->at[r->count++] = (struct msg_record){ .kind = KIND_ATTR, .version = 1,
	    .value = { r->values[0], (size_t)attr_encode(&attr, r->values[0], sizeof r->values[0]) } };
	if (o->parent == DAMAGED_PARENT)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_PARENT, .version = 1 };
	else if (o->parent == GARBLED_PARENT)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_PARENT, .version = 1, .value = world_text("x") };
	else if (o->parent != NO_PARENT)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_PARENT, .version = 1,
		    .value = { r->values[1], (size_t)parent_encode(o->parent, r->values[1], sizeof r->values[1]) } };
	if (o->in_record)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_INLINE, .version = 1 };
}

bool
far_answer(void)
{
	static struct records records[ANSWERS];
	static struct msg_answer answers[ANSWERS];
	static struct asked asked;

	if (reads_count == 0)
		return false;
	asked = reads[0];
	memmove(reads, reads + 1, --reads_count * sizeof reads[0]);
	for (uint32_t i = 0; i < asked.count; i++) {
		const struct msg_want *want = &asked.wants[i];
		struct far_object *o = far_of(want->oid);
		struct records *r = &records[i];

		r->count = 0;
		answers[i] = (struct msg_answer){ .oid = want->oid, .mode = want->mode, .grant = next_grant, .version = 1,
		    .pinned = o != NULL && o->pinned };
		if (o != NULL && o->freed)
			answers[i] = (struct msg_answer){ .oid = want->oid, .status = STATUS_NOENT };
		else if (o != NULL && want->kind == KIND_ENTRY)
			add_names(r, o, asked.from[i], asked.to[i]);
		else if (o != NULL && want->kind == KIND_ATTR)
			add_attributes(r, o);
		if (o != NULL && o->region && (want->kind == KIND_ENTRY || want->kind == KIND_REGION))
			add_region(r);
		if (o != NULL && !o->freed) {
			o->grant = next_grant;
			answers[i].mode = o->held = want->mode > o->held ? want->mode : o->held;
		}
		answers[i].records.at = r->at;
		answers[i].records.count = r->count;
	}
	next_grant++;
	world_grant(asked.request, 1, answers, asked.count);
	return true;
}

int
far_do(struct op *op)
{
	unsigned before = w.reply_count;
	bool done = world_submit(op);

	for (unsigned i = 0; i < 50 && !done && w.reply_count == before; i++)
		if (!far_answer()) {
			world_answer_all();
			world_pass(100);
		}
	return op->error;
}

int
far_done(struct op op)
{
	int r = far_do(&op);

	world_replied(&op);
	return r;
}
