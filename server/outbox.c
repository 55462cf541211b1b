/*
 * outbox.c - two queues: `held`, sorted by the position needed and stable
 * within one position, and the actions that are due.
 */
#include "server/outbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/conn.h"

struct server_action *
outbox_message(uint64_t conn, uint16_t type, uint64_t request)
{
	struct server_action *a = calloc(1, sizeof *a);

	if (a != NULL) {
		a->kind = SERVER_SEND;
		a->conn = conn;
		a->message.type = type;
		a->message.id = request;
	}
	return a;
}

void
outbox_post(struct server *s, struct server_action *a)
{
	a->next = NULL;
	*s->last = a;
	s->last = &a->next;
}

void
outbox_send(struct server *s, struct conn *c, struct server_action *a, uint64_t need)
{
	struct outgoing *out, *before;

	if (a != NULL && need <= s->synced) {
		outbox_post(s, a);
		return;
	}
	out = a == NULL ? NULL : malloc(sizeof *out);
	if (out == NULL) {
		server_action_free(a);
		conn_doom(s, c);
		return;
	}
	*out = (struct outgoing){ .need = need, .action = a };
	before = TAILQ_LAST(&s->held, outgoing_list);
	while (before != NULL && before->need > need)
		before = TAILQ_PREV(before, outgoing_list, link);
	if (before == NULL)
		TAILQ_INSERT_HEAD(&s->held, out, link);
	else
		TAILQ_INSERT_AFTER(&s->held, before, out, link);
}

enum status
outbox_status(struct server *s, int error)
{
	switch (error) {
	case 0: return STATUS_OK;
	case -ENOSPC: case -EAGAIN:
		s->stats.nospc++;
		s->full_ms = s->now_ms;
		due_soon(s);	/* the dead go sooner */
		/* What is being freed will be space soon. */
		return error == -EAGAIN || (!s->stuck && (!TAILQ_EMPTY(&s->dying) || !TAILQ_EMPTY(&s->idle_dead))) ?
		    STATUS_BUSY : STATUS_NOSPC;
	case -ENOMEM: return STATUS_BUSY;
	case -E2BIG: case -EINVAL: case -EEXIST: return STATUS_INVALID;
	default: return STATUS_IO;
	}
}

void
outbox_done(struct server *s, struct conn *c, uint64_t request, enum status status, const char *detail, uint64_t need)
{
	struct server_action *a = outbox_message(conn_id(c), MSG_done, request);
	size_t len = detail == NULL ? 0 : strlen(detail);
	uint8_t *text;

	if (a != NULL) {
		a->message.done.status = status;
		text = len == 0 ? NULL : arena_alloc(&a->arena, len);
		if (text != NULL) {
			memcpy(text, detail, len);
			a->message.done.detail = (struct bytes){ text, len };
		}
	}
	outbox_send(s, c, a, need);
}

void
outbox_log(struct server *s, const char *format, ...)
{
	struct server_action *a = calloc(1, sizeof *a);
	va_list ap;

	if (a == NULL)
		return;
	a->kind = SERVER_LOG;
	va_start(ap, format);
	vsnprintf(a->text, sizeof a->text, format, ap);
	va_end(ap);
	outbox_post(s, a);
}

void
outbox_forget(struct server *s, uint64_t conn)
{
	struct outgoing *out, *next;

	TAILQ_EACH_SAFE(out, &s->held, link, next)
		if (out->action->conn == conn) {
			TAILQ_REMOVE(&s->held, out, link);
			server_action_free(out->action);
			free(out);
		}
}

void
outbox_synced(struct server *s)
{
	struct outgoing *out;

	while ((out = TAILQ_FIRST(&s->held)) != NULL && out->need <= s->synced) {
		TAILQ_REMOVE(&s->held, out, link);
		outbox_post(s, out->action);
		free(out);
	}
}

void
outbox_free(struct server *s)
{
	struct server_action *a;

	s->synced = UINT64_MAX;
	outbox_synced(s);
	while ((a = server_next(s)) != NULL) {
		uint64_t pos;

		if (a->kind == SERVER_READ_BLOCK)
			store_block_put_ref(a->ref);
		else if (a->kind == SERVER_WRITE_BLOCK)
			store_block_finish(a->ticket, false, &pos);
		server_action_free(a);
	}
}

struct server_action *
server_next(struct server *s)
{
	struct server_action *a = s->first;

	if (a != NULL) {
		s->first = a->next;
		if (s->first == NULL)
			s->last = &s->first;
		a->next = NULL;
	}
	return a;
}

void
server_action_free(struct server_action *a)
{
	if (a == NULL)
		return;
	arena_free(&a->arena);
	free(a);
}
