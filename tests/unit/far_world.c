/* far_world.c - see far_world.h. */
#include "tests/unit/far_world.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ANSWERS = 64, RECORDS = FAR_NAMES + 2 };

static struct far_object *objects;
static uint64_t next_grant;

void
far_begin(struct far_object *now)
{
	objects = now;
	next_grant = 1000;
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
add_names(struct records *r, const struct far_object *o, const struct msg_want *want)
{
	for (const struct far_name *n = o->names; n < o->names + FAR_NAMES && n->name != NULL; n++) {
		uint32_t i = r->count;
		uint8_t token[TOKEN_SIZE];

		name_token(w.keys, o->oid, world_text(n->name), token);
		if (memcmp(token, want->from.data, TOKEN_SIZE) < 0 || memcmp(token, want->to.data, TOKEN_SIZE) > 0)
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
add_attributes(struct records *r, const struct far_object *o)
{
	struct attr attr = { .mode = o->mode, .nlink = o->nlink, .size = o->size };

	r->at[r->count++] = (struct msg_record){ .kind = KIND_ATTR, .version = 1,
	    .value = { r->values[0], (size_t)attr_encode(&attr, r->values[0], sizeof r->values[0]) } };
	if (o->parent == DAMAGED_PARENT)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_PARENT, .version = 1 };
	else if (o->parent != NO_PARENT)
		r->at[r->count++] = (struct msg_record){ .kind = KIND_PARENT, .version = 1,
		    .value = { r->values[1], (size_t)parent_encode(o->parent, r->values[1], sizeof r->values[1]) } };
}

void
far_answer(void)
{
	static struct records records[ANSWERS];
	static struct msg_answer answers[ANSWERS];
	uint32_t count = w.read.wants.count < ANSWERS ? w.read.wants.count : ANSWERS;

	for (uint32_t i = 0; i < count; i++) {
		const struct msg_want *want = &w.wants[i];
		const struct far_object *o = far_of(want->oid);
		struct records *r = &records[i];

		r->count = 0;
		answers[i] = (struct msg_answer){ .oid = want->oid, .mode = want->mode, .grant = next_grant, .version = 1,
		    .pinned = o != NULL && o->pinned };
		if (o != NULL && o->freed)
			answers[i] = (struct msg_answer){ .oid = want->oid, .status = STATUS_NOENT };
		else if (o != NULL && want->kind == KIND_ENTRY)
			add_names(r, o, want);
		else if (o != NULL && want->kind == KIND_ATTR)
			add_attributes(r, o);
		answers[i].records.at = r->at;
		answers[i].records.count = r->count;
	}
	next_grant++;
	world_grant(w.last_read, 1, answers, count);
}

int
far_do(struct op *op)
{
	unsigned before = w.reply_count;
	uint64_t asked = w.last_read;
	bool done = world_submit(op);

	for (unsigned i = 0; i < 50 && !done && w.reply_count == before; i++) {
		if (w.last_read != asked) {
			asked = w.last_read;
			far_answer();
		} else {
			world_answer_all();
			world_pass(100);
		}
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
