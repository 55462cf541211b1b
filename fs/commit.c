/* commit.c - the life of a frozen transaction: made under the lock, given up by any thread. */
#include "fs/core.h"

struct commit *
commit_new(struct engine *e, size_t changes, size_t objects)
{
	struct commit *c = calloc(1, sizeof *c);
	struct commit_state *s = calloc(1, sizeof *s);

	if (c != NULL && s != NULL) {
		c->refs = 1;
		c->state = s;
		s->commit = c;
		TAILQ_INIT(&s->kept);
		c->bases = arena_alloc(&c->arena, (objects + 1) * sizeof *c->bases);
		c->changes = arena_alloc(&c->arena, (changes + 1) * sizeof *c->changes);
		c->blocks = arena_alloc(&c->arena, (e->carried_count + 1) * sizeof(struct flush *));
		if (c->bases != NULL && c->changes != NULL && c->blocks != NULL)
			return c;
		arena_free(&c->arena);
	}
	free(s);
	free(c);
	return NULL;
}

void
commit_send(struct engine *e, struct commit *c)
{
	struct action *a = action_add(e, ACTION_COMMIT);

	if (a == NULL) {
		e->resend_at = e->now_ms;	/* or nobody would, on this connection */
		return;
	}
	c->refs++;
	a->commit = c;
	credit_sent(e, c->state);
}

void
commit_send_all(struct engine *e)
{
	struct commit_state *s;

	e->resend_at = 0;
	TAILQ_FOREACH(s, &e->inflight, link)
		commit_send(e, s->commit);
}

void
commit_doom(struct engine *e, const struct object *o)
{
	struct commit_state *s;

	TAILQ_FOREACH(s, &e->inflight, link)
		for (uint32_t i = 0; i < s->commit->bases_count; i++)
			s->doomed |= s->commit->bases[i].oid == o->oid;
}

/*
 * The server refused it, and may have forgotten that when it crashed; leases that we have again since would let it through.
 * But what was lost has been shown as lost.
 */
struct commit_state *
commit_doomed(struct engine *e)
{
	struct commit_state *s;

	TAILQ_FOREACH(s, &e->inflight, link)
		if (s->doomed)
			break;
	return s;
}

void
commit_put(struct commit *c)
{
	if (c != NULL && --c->refs == 0) {
		arena_free(&c->arena);
		free(c->state);
		free(c);
	}
}
