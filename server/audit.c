/*
 * audit.c - the executable twin of the invariants in state.h, and of
 * check.c's over the store below.
 */
#include "server/state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

struct audit {
	char	*why;
	size_t	 size;
	bool	 fine;
};

__attribute__((format(printf, 2, 3))) static void
broken(struct audit *a, const char *format, ...)
{
	va_list ap;

	if (!a->fine)
		return;		/* the first is told */
	a->fine = false;
	va_start(ap, format);
	vsnprintf(a->why, a->size, format, ap);
	va_end(ap);
}

static void
report(void *context, const char *text)
{
	broken(context, "%s", text);
}

/* A READ waits that conflicts with l. */
static bool
is_wanted(const struct lease *l)
{
	struct wait_node *w;

	TAILQ_FOREACH(w, &l->object->waits, of_object)
		if (w->wait->session != l->session && modes_conflict(l->mode, w->mode))
			return true;
	return false;
}

static void
audit_object(struct audit *a, const struct object *o)
{
	struct lease *l, *other;
	struct pin *p;
	uint64_t oid = object_oid(o);

	LIST_FOREACH(l, &o->leases, of_object) {
		for (other = LIST_NEXT(l, of_object); other != NULL; other = LIST_NEXT(other, of_object)) {
			if (other->session == l->session)
				broken(a, "object %" PRIu64 ": two leases of one session", oid);
			if (modes_conflict(l->mode, other->mode))
				broken(a, "object %" PRIu64 ": leases conflict", oid);
		}
		if (!o->kicked && l->wanted != is_wanted(l))
			broken(a, "object %" PRIu64 ": a lease is wanted and is not", oid);
	}
	LIST_FOREACH(p, &o->pins, of_object)
		if (o->dying || p->object != o)
			broken(a, "object %" PRIu64 ": dying though pinned", oid);
	if (o->dying && !LIST_EMPTY(&o->leases))
		broken(a, "object %" PRIu64 ": leased though dying", oid);
	if (o->orphan && !o->dying && LIST_EMPTY(&o->pins))
		broken(a, "object %" PRIu64 ": an orphan that nobody pins lives", oid);
	if (LIST_EMPTY(&o->leases) && TAILQ_EMPTY(&o->waits) && LIST_EMPTY(&o->pins) && o->pos == 0 &&
	    !o->dying && !o->kicked)
		broken(a, "object %" PRIu64 ": nobody needs it", oid);
}

static int
count_row(void *arg, struct bytes key, struct bytes value)
{
	(void)key;
	(void)value;
	++*(uint32_t *)arg;
	return 0;
}

static void
audit_session(struct audit *a, struct server *s, struct session *n)
{
	uint8_t row[SESSION_ROW_SIZE];
	struct key key = key_u64(ROW_SESSION, n->volume->number, session_id(n));
	struct key from = key_pin(n->volume->number, session_id(n), 0);
	struct key to = key_pin(n->volume->number, session_id(n), UINT64_MAX);
	struct bytes value;
	struct lease *l;
	uint32_t leases = 0, pins = 0;

	session_row_encode(&n->row, row);
	if (store_get(s->store, key_bytes(&key), &value) < 0 || value.len != sizeof row ||
	    memcmp(value.data, row, sizeof row) != 0)
		broken(a, "session %016" PRIx64 ": differs from its row", session_id(n));
	LIST_FOREACH(l, &n->leases, of_session)
		leases++;
	if (leases != n->lease_count)
		broken(a, "session %016" PRIx64 ": %u leases counted", session_id(n), (unsigned)leases);
	if (store_scan(s->store, key_bytes(&from), key_bytes(&to), count_row, &pins) < 0 || pins != n->pin_count)
		broken(a, "session %016" PRIx64 ": %u pins stored", session_id(n), (unsigned)pins);
	if (!LIST_EMPTY(&n->waits) && n->control == NULL)
		broken(a, "session %016" PRIx64 ": waits without a connection", session_id(n));
}

static void
audit_volume(struct audit *a, struct server *s, struct volume *v)
{
	struct key key = key_volume(ROW_STATE, v->number);
	struct state_row state;
	struct bytes value;
	struct session *n;
	struct table_node *node = NULL;
	size_t slot = 0;
	uint32_t awaited = 0, astray = 0;

	if (store_get(s->store, key_bytes(&key), &value) < 0 || state_row_decode(&state, value) < 0 ||
	    memcmp(&state, &v->state, sizeof state) != 0)
		broken(a, "volume %u: differs from its state", (unsigned)v->number);
	TAILQ_FOREACH(n, &v->sessions, of_volume) {
		audit_session(a, s, n);
		awaited += n->awaited;
		astray += n->astray;
	}
	if (awaited != v->unreclaimed)
		broken(a, "volume %u: %u sessions awaited", (unsigned)v->number, (unsigned)awaited);
	if (astray != v->astray)
		broken(a, "volume %u: %u sessions astray", (unsigned)v->number, (unsigned)astray);
	while ((node = table_walk(&v->objects, &slot, node)) != NULL)
		audit_object(a, container_of(node, struct object, node));
}

static void
audit_credits(struct audit *a, const struct server *s)
{
	struct table_node *node = NULL;
	uint64_t promised = 0;
	uint32_t unstated = 0, controls = 0;
	size_t slot = 0;

	while ((node = table_walk(&s->sessions, &slot, node)) != NULL) {
		const struct session *n = container_of(node, struct session, node);

		promised += n->credit;
		unstated += n->unstated;
		controls += n->control != NULL;
		if (n->credit > CREDIT_MAX || (n->unstated && n->credit > 0))
			broken(a, "session %016" PRIx64 ": a credit of %" PRIu64 " bytes", session_id(n), n->credit);
	}
	if (promised != s->promised || unstated != s->unstated || controls != s->controls)
		broken(a, "credits are miscounted: %" PRIu64 " bytes, %u to be stated, of %u connected", promised,
		    (unsigned)unstated, (unsigned)controls);
}

bool
server_check(struct server *s, char *why, size_t size)
{
	struct audit a = { why, size, true };
	struct table_node *node = NULL;
	size_t slot = 0;

	if (size > 0)
		why[0] = '\0';
	/* What a failed store would show is not what the engine did. */
	if (store_failed(s->store) != NULL)
		return true;
	while ((node = table_walk(&s->volumes, &slot, node)) != NULL)
		audit_volume(&a, s, container_of(node, struct volume, node));
	audit_credits(&a, s);
	if (a.fine)
		server_check_store(s->store, report, &a);
	return a.fine;
}
