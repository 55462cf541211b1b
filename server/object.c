/* object.c - see object.h. */
#include "server/object.h"

#include <errno.h>
#include <stdlib.h>

struct object *
object_find(const struct volume *v, uint64_t oid)
{
	struct table_node *n = table_find(&v->objects, oid);

	return n == NULL ? NULL : container_of(n, struct object, node);
}

struct object *
object_get(struct volume *v, uint64_t oid)
{
	struct object *o = object_find(v, oid);

	if (o != NULL)
		return o;
	o = calloc(1, sizeof *o);
	if (o == NULL)
		return NULL;
	o->volume = v;
	TAILQ_INIT(&o->waits);
	table_insert(&v->objects, &o->node, oid);
	return o;
}

void
object_kick(struct server *s, struct object *o)
{
	if (!o->kicked) {
		o->kicked = true;
		TAILQ_INSERT_TAIL(&s->kicked, o, of_kicked);
	}
}

void
object_touch(struct server *s, struct object *o, uint64_t pos)
{
	if (o->pos != 0)
		TAILQ_REMOVE(&s->touched, o, of_touched);
	o->pos = pos;
	TAILQ_INSERT_TAIL(&s->touched, o, of_touched);
}

void
object_synced(struct server *s)
{
	struct object *o;

	while ((o = TAILQ_FIRST(&s->touched)) != NULL && o->pos <= s->synced) {
		TAILQ_REMOVE(&s->touched, o, of_touched);
		o->pos = 0;
		object_tidy(o);
	}
}

void
object_tidy(struct object *o)
{
	if (LIST_EMPTY(&o->leases) && TAILQ_EMPTY(&o->waits) && LIST_EMPTY(&o->pins) &&
	    o->pos == 0 && !o->dying && !o->kicked)
		object_free(o);
}

void
object_free(struct object *o)
{
	table_remove(&o->volume->objects, &o->node);
	free(o);
}

int
object_header(struct server *s, struct volume *v, uint64_t oid, struct header *ret_header)
{
	struct object *o = object_find(v, oid);
	struct key key = key_header(v->number, oid);
	struct bytes value;
	int r;

	if (o != NULL && o->dying)
		return -ENOENT;
	r = store_get(s->store, key_bytes(&key), &value);
	return r < 0 ? r : header_decode(ret_header, value);
}
