/*
 * action.c - what the engine wants done: a queue that its shell empties.
 *
 * A message, an answer or a sweep that could not be asked for would never be
 * missed, and somebody wait for it for ever: so some actions are always spare,
 * for when there is no memory.
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
action_spares(struct engine *e)
{
	struct action *a;

	while (e->spare_count < SPARE_ACTIONS && (a = calloc(1, sizeof *a)) != NULL) {
		a->next = e->spare;
		e->spare = a;
		e->spare_count++;
	}
	return e->spare_count == SPARE_ACTIONS;
}

void
action_no_spares(struct engine *e)
{
	struct action *a;

	while ((a = take_spare(e)) != NULL)
		action_free(a);
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
