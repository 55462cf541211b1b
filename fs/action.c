/*
 * action.c - what the engine asks of its shell, in order.
 *
 * A message, an answer or a sweep that could not be asked for would never be
 * missed, and somebody wait for it for ever.  So some actions are made ahead,
 * for when there is no memory, and made up for at each tick.
 */
#include "fs/core.h"

enum { SPARE_ACTIONS = 64 };

static struct action *
take_spare(struct engine *e)
{
	struct action *a = e->spare;

	if (a == NULL)
		return NULL;
	e->spare = a->next;
	e->spare_count--;
	a->next = NULL;
	return a;
}

bool
actions_spare(struct engine *e)
{
	struct action *a;

	while (e->spare_count < SPARE_ACTIONS && (a = calloc(1, sizeof *a)) != NULL) {
		a->next = e->spare;
		e->spare = a;
		e->spare_count++;
	}
	return e->spare_count == SPARE_ACTIONS;
}

bool
actions_spared(const struct engine *e)
{
	return e->spare_count == SPARE_ACTIONS;
}

struct action *
action_add(struct engine *e, enum action_kind kind)
{
	struct action *a = calloc(1, sizeof *a);

	if (a == NULL && (a = take_spare(e)) == NULL)
		return NULL;
	a->kind = kind;
	*e->last = a;
	e->last = &a->next;
	e->releasing = NULL;
	return a;
}

struct action *
send_message(struct engine *e, uint16_t type, uint64_t id)
{
	struct action *a = e->attached ? action_add(e, ACTION_SEND) : NULL;

	if (a == NULL)
		return NULL;
	a->message.type = type;
	a->message.id = id;
	return a;
}

struct action *
engine_next(struct engine *e)
{
	struct action *a = e->first;

	if (a == NULL)
		return NULL;
	e->first = a->next;
	if (e->first == NULL)
		e->last = &e->first;
	if (e->releasing == a)
		e->releasing = NULL;
	a->next = NULL;
	return a;
}

void
action_free(struct action *a)
{
	if (a == NULL)
		return;
	arena_free(&a->arena);
	free(a);
}

void
actions_free(struct engine *e)
{
	struct action *a;

	while ((a = engine_next(e)) != NULL) {
		if (a->kind == ACTION_COMMIT)
			commit_put(a->commit);
		action_free(a);
	}
	while ((a = take_spare(e)) != NULL)
		action_free(a);
}
