/*
 * lanes.c - what the shell says and hears on its lanes.
 *
 * The control lane carries the engine's messages in their order.  Its writer
 * seals the values of a commit, its reader opens those of granted records,
 * both outside the lock.  The bulk lanes carry the mover's blocks; they are of
 * the session's present generation and start again when that changes.
 *
 * A session is begun by the first ATTACH, resumed by later ones with a higher
 * generation each, and begun anew when the server has forgotten it.
 */
#include "fs/shell_room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/delay.h"
#include "fs/log.h"
#include "fs/mover.h"
#include "proto/seal.h"

enum {
	ATTACH_TRIES	= 3,
	BYE_MS		= 2000,
};
/* Ids of our own requests on the control lane, apart from the engine's. */
#define OWN_ID		(UINT64_C(1) << 63)

/* ---- the control lane: sending ---- */

/* Seals the values of a commit into the writer's scratch and puts it on the link. */
static int
put_commit(struct shell *s, struct link *link, const struct commit *c)
{
	struct message m = { .type = MSG_commit, .id = OWN_ID | c->sequence };
	struct msg_change *changes = NULL;
	struct msg_small_block *blocks = NULL;
	size_t need = 0, at = 0;
	ssize_t n;
	int r = -ENOMEM;

	for (uint32_t i = 0; i < c->changes_count; i++)
		need += c->changes[i].value.len + RECORD_OVERHEAD;
	if (need > s->sealing_size) {
		free(s->sealing);
		s->sealing_size = 0;
		s->sealing = malloc(need);
		if (s->sealing == NULL)
			return -ENOMEM;
		s->sealing_size = need;
	}
	changes = calloc(c->changes_count + 1, sizeof *changes);
	blocks = calloc(c->blocks_count + 1, sizeof *blocks);
	if (changes == NULL || blocks == NULL)
		goto out;
	for (uint32_t i = 0; i < c->changes_count; i++) {
		struct msg_change *to = &changes[i];

		*to = c->changes[i];
		if (to->op != CHANGE_PUT)
			continue;
		n = record_seal(s->keys, &(struct record_context){ to->oid, to->kind, to->subkey,
		    to->orefs.at, to->orefs.count, to->brefs.at, to->brefs.count },
		    s->config.writer, to->value, s->sealing + at, s->sealing_size - at);
		if (n < 0) {
			log_error("object %" PRIu64 ", record of kind %u, %zu bytes: %s", to->oid, to->kind,
			    to->value.len, strerror((int)-n));
			r = (int)n;
			goto out;
		}
		to->value = (struct bytes){ s->sealing + at, (size_t)n };
		at += (size_t)n;
	}
	for (uint32_t i = 0; i < c->blocks_count; i++) {
		memcpy(blocks[i].id, c->blocks[i]->id, ID_SIZE);
		blocks[i].data = (struct bytes){ c->blocks[i]->sealed->data, c->blocks[i]->sealed->size };
	}
	m.commit.sequence = c->sequence;
	m.commit.bases.at = c->bases;
	m.commit.bases.count = c->bases_count;
	m.commit.changes.at = changes;
	m.commit.changes.count = c->changes_count;
	m.commit.blocks.at = blocks;
	m.commit.blocks.count = c->blocks_count;
	r = link_put(link, &m);
	if (r == -EMSGSIZE)
		log_error("commit %" PRIu64 " is too large: %zu bytes, %" PRIu32 " records, %" PRIu32 " blocks",
		    c->sequence, message_size(&m), c->changes_count, c->blocks_count);
out:
	free(changes);
	free(blocks);
	return r;
}

static int
control_fill(void *context, struct link *link)
{
	struct shell *s = context;
	struct action *a;
	bool bye;
	int r = 0;

	while (r == 0) {
		{
			LOCK_SCOPE(&s->queue_lock);
			a = actions_take(&s->queue);
			bye = s->bye_due && a == NULL;
			if (bye)
				s->bye_due = false;
		}
		if (bye)
			r = link_put(link, &(struct message){ .type = MSG_bye, .id = OWN_ID });
		if (a == NULL)
			break;
		if (r == 0)
			r = a->kind == ACTION_COMMIT ? put_commit(s, link, a->commit) : link_put(link, &a->message);
		if (r < 0 && r != -ECONNRESET && r != -EPIPE)
			log_error("sending %s: %s", a->kind == ACTION_COMMIT ? "a commit" :
			    message_info(a->message.type)->name, strerror(-r));
		action_drop(a);
	}
	return r;
}

/* ---- the control lane: attaching and receiving ---- */

static int
refuse_older(struct shell *s, uint64_t version, char *why, size_t size)
{
	LOCK_SCOPE(&s->lock);
	if (version >= s->highest)
		return 0;
	snprintf(why, size, "the server shows an older state of the volume than this device has seen "
	    "(version %" PRIu64 ", seen %" PRIu64 "): it was restored from a backup, or somebody rolls it back; "
	    "nothing was changed", version, s->highest);
	return -ESTALE;
}

static int
say_attach(struct shell *s, struct link *link, enum lane lane, struct message *answer,
    struct arena *a, struct buffer **frame, char *why, size_t size)
{
	struct message m = { .type = MSG_attach };

	memcpy(m.attach.volume, s->config.volume, VOLUME_ID_SIZE);
	m.attach.lane = (uint8_t)lane;
	{
		LOCK_SCOPE(&s->lock);
		if (lane == LANE_CONTROL)
			s->generation++;
		m.attach.session = s->session;
		m.attach.generation = s->generation;
		if (s->session != 0)
			link_proof(link, s->secret, m.attach.proof);
	}
	if (m.attach.session == 0 && s->replaces != 0) {
		m.attach.replaces = s->replaces;
		link_proof(link, s->config.replaces_secret, m.attach.replaces_proof);
	}
	return link_call(link, &m, MSG_attached, answer, a, frame, why, size);
}

static void
adopt(struct shell *s, const struct msg_attached *a)
{
	struct engine_status status;
	uint32_t generation;
	bool fresh;

	EVENT(s,
		shell_drop_queue(s);
		fresh = s->session != a->session;
		s->session = a->session;
		memcpy(s->secret, a->secret, SECRET_SIZE);
		generation = s->generation;
		s->attached = true;
		if (a->version > s->highest)
			s->highest = a->version;
		mover_away(s->mover, false);
		engine_attached(s->engine, a, fresh);
		engine_status(s->engine, &status);
		s->alone = status.alone
	);
	s->replaces = 0;
	if (s->config.keeper != NULL)
		s->config.keeper->session(s->config.keeper_context, a->session, a->secret, generation);
}

/* The next generation that is tried is further away each time; false: there is none. */
static bool
step_up(struct shell *s, uint32_t *step)
{
	LOCK_SCOPE(&s->lock);
	if (*step == 0 || *step > UINT32_MAX - 1 - s->generation)
		return false;
	s->generation += *step - 1;
	*step *= 2;
	return true;
}

static int
control_attach(void *context, struct link *link, char *why, size_t size)
{
	struct shell *s = context;
	struct message answer;
	struct buffer *frame;
	struct arena arena;
	char said[200];
	uint32_t step = 1;
	int r;

	for (unsigned tries = 0;; tries++) {
		arena = (struct arena){ 0 };
		frame = NULL;
		r = say_attach(s, link, LANE_CONTROL, &answer, &arena, &frame, why, size);
		if (r == 0)
			r = refuse_older(s, answer.attached.version, why, size);
		if (r == 0)
			adopt(s, &answer.attached);
		arena_free(&arena);
		buffer_put(frame);
		/* An older attempt of ours came after it; or the session is gone, and a new one is begun. */
		if (r == -ENOENT && s->session != 0 && tries < ATTACH_TRIES) {
			log_warning("the server has forgotten this mount's session, beginning a new one");
			LOCK_SCOPE(&s->lock);
			s->session = 0;
			s->generation = 0;
			memset(s->secret, 0, SECRET_SIZE);
			continue;
		}
		/* Or this device's note of it is behind, for want of room: by any number of connections. */
		if (r == -ESTALE && answer.type == MSG_done && step_up(s, &step))
			continue;
		if (r == -EBUSY && strcmp(why, status_text(STATUS_BUSY)) != 0) {
			snprintf(said, sizeof said, "%s", why);
			snprintf(why, size, "the server is busy: %s; try again later", said);
		}
		break;
	}
	if (r == 0) {
		/* The bulk lanes belong to the generation before. */
		bulk_break(s->bulk);
		bulk_hurry(s->bulk);
	}
	return r;
}

/* Opens the values of GRANTED records; one that does not open loses its value. */
static int
open_records(struct shell *s, struct message *m)
{
	struct msg_granted *g = &m->granted;
	size_t need = 0, at = 0;
	ssize_t n;

	for (uint32_t i = 0; i < g->answers.count; i++)
		for (uint32_t j = 0; j < g->answers.at[i].records.count; j++)
			need += g->answers.at[i].records.at[j].value.len;
	if (need > s->opening_size) {
		free(s->opening);
		s->opening_size = 0;
		s->opening = malloc(need);
		if (s->opening == NULL)
			return -ENOMEM;
		s->opening_size = need;
	}
	for (uint32_t i = 0; i < g->answers.count; i++) {
		struct msg_answer *answer = &g->answers.at[i];

		for (uint32_t j = 0; j < answer->records.count; j++) {
			struct msg_record *r = &answer->records.at[j];

			n = record_open(s->keys, &(struct record_context){ answer->oid, r->kind, r->subkey,
			    r->orefs.at, r->orefs.count, r->brefs.at, r->brefs.count },
			    r->value, s->opening + at, need - at);
			if (n < 0)
				log_error("object %" PRIu64 ", record of kind %u: %s", answer->oid, r->kind,
				    n == -EBADMSG ? "damaged or forged, its seal does not open" : strerror((int)-n));
			r->value = (struct bytes){ n < 0 ? NULL : s->opening + at, n < 0 ? 0 : (size_t)n };
			at += r->value.len;
		}
	}
	return 0;
}

static void
control_received(void *context, const struct message *received, struct buffer *frame)
{
	struct shell *s = context;
	struct message m = *received;

	(void)frame;
	if (m.type == MSG_granted && open_records(s, &m) < 0) {
		log_error("out of memory for the server's answer");
		channel_break(s->control);
		return;
	}
	if (m.type == MSG_done && m.id == OWN_ID) {
		LOCK_SCOPE(&s->bye_lock);
		s->bye_answered = true;
		pthread_cond_broadcast(&s->bye_done);
		return;
	}
	if (m.type == MSG_recall)
		DELAY_POINT("recalled");
	EVENT(s, engine_received(s->engine, &m));
}

static void
control_lost(void *context)
{
	struct shell *s = context;

	EVENT(s,
		s->attached = false;
		engine_detached(s->engine);
		shell_drop_queue(s)
	);
	LOCK_SCOPE(&s->bye_lock);
	pthread_cond_broadcast(&s->bye_done);
}

const struct channel_calls lanes_control = { control_attach, control_received, control_fill, control_lost };

/* ---- the bulk lanes ---- */

static int
blocks_attach(void *context, struct link *link, char *why, size_t size)
{
	struct shell *s = context;
	struct arena arena = { 0 };
	struct buffer *frame = NULL;
	struct message answer;
	int r;

	{
		LOCK_SCOPE(&s->lock);
		if (!s->attached)
			return -ENOTCONN;
	}
	r = say_attach(s, link, LANE_BULK, &answer, &arena, &frame, why, size);
	arena_free(&arena);
	buffer_put(frame);
	return r;
}

static int
blocks_fill(void *context, unsigned lane, struct link *link)
{
	struct shell *s = context;

	return mover_channel_fill(s->mover, lane, link);
}

static void
blocks_received(void *context, const struct message *m, struct buffer *frame)
{
	struct shell *s = context;

	mover_channel_received(s->mover, m, frame);
}

static void
blocks_lost(void *context, unsigned lane)
{
	struct shell *s = context;

	mover_channel_lost(s->mover, lane);
}

const struct bulk_calls lanes_bulk = { blocks_attach, blocks_received, blocks_fill, blocks_lost };

bool
lanes_say_bye(struct shell *s)
{
	{
		LOCK_SCOPE(&s->queue_lock);
		s->bye_due = true;
	}
	channel_kick(s->control);
	LOCK_SCOPE(&s->bye_lock);
	if (!s->bye_answered && channel_up(s->control))
		lock_wait_ms(&s->bye_done, &s->bye_lock, BYE_MS);
	return s->bye_answered;
}
