/* pin.c - see pin.h. */
#include "server/pin.h"

#include <errno.h>
#include <stdlib.h>

#include "server/conn.h"
#include "server/object.h"
#include "server/outbox.h"
#include "server/reap.h"

static struct pin *
pin_find(const struct session *n, uint64_t oid)
{
	struct object *o = object_find(n->volume, oid);
	struct pin *p;

	if (o != NULL)
		LIST_FOREACH(p, &o->pins, of_object)
			if (p->session == n)
				return p;
	return NULL;
}

int
pin_add(struct session *n, uint64_t oid)
{
	struct pin *p = calloc(1, sizeof *p);
	struct object *o = p == NULL ? NULL : object_get(n->volume, oid);

	if (o == NULL) {
		free(p);
		return -ENOMEM;
	}
	p->object = o;
	p->session = n;
	LIST_INSERT_HEAD(&o->pins, p, of_object);
	LIST_INSERT_HEAD(&n->pins, p, of_session);
	n->pin_count++;
	return 0;
}

static void
pin_drop(struct server *s, struct pin *p)
{
	struct object *o = p->object;

	LIST_REMOVE(p, of_object);
	LIST_REMOVE(p, of_session);
	p->session->pin_count--;
	free(p);
	reap_consider(s, o);
	object_kick(s, o);
}

void
pin_drop_all(struct server *s, struct session *n)
{
	while (!LIST_EMPTY(&n->pins))
		pin_drop(s, LIST_FIRST(&n->pins));
}

static bool
pinnable(struct server *s, const struct session *n, uint64_t oid)
{
	struct object *o = object_find(n->volume, oid);

	return n->pin_count < s->config.leases_max && (o == NULL || !o->dying);
}

/* One pin at a time: the log makes one entry of each, and memory follows it. */
static int
pin_set(struct server *s, struct session *n, uint64_t oid, bool on)
{
	struct pin *p = pin_find(n, oid);
	struct key key = key_pin(n->volume->number, session_id(n), oid);
	struct batch b;
	uint64_t pos;
	int r;

	if (on == (p != NULL) || (on && !pinnable(s, n, oid)))
		return 0;
	if (on && (r = pin_add(n, oid)) < 0)
		return r;
	batch_init(&b);
	if (on)
		batch_put(&b, key_bytes(&key), (struct bytes){ key.data, 0 });
	else
		batch_delete(&b, key_bytes(&key));
	r = store_apply(s->store, &b, STORE_FREES, &pos);
	batch_done(&b);
	/* Whoever is granted the object next may remove its last name: not before the pin is durable. */
	if (r == 0 && on)
		object_touch(s, pin_find(n, oid)->object, pos);
	if (r < 0 && on)
		pin_drop(s, pin_find(n, oid));
	else if (r == 0 && !on)
		pin_drop(s, p);
	return r;
}

void
pin_message(struct server *s, struct conn *c, const struct message *m)
{
	int r = 0;

	for (uint32_t i = 0; i < m->pin.pins.count && r == 0; i++)
		r = pin_set(s, c->session, m->pin.pins.at[i].oid, m->pin.pins.at[i].on != 0);
	if (r < 0)	/* nothing answers a PIN: the client sends it again when it is back */
		conn_doom(s, c);
}
