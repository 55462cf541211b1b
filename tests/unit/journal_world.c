/* journal_world.c - see journal_world.h. */
#include "tests/unit/journal_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct journal_note notes[NOTES_MAX];
size_t notes_count;
struct replay *replay;
bool refuses, refuses_notes;

/* ---- the journal ---- */

static int
append(void *context, uint64_t number, struct bytes arguments, struct bytes data, bool sync)
{
	(void)context, (void)number, (void)sync;
	if (refuses_notes || notes_count == NOTES_MAX || arguments.len + data.len > sizeof notes[0].bytes)
		return -ENOSPC;
	memcpy(notes[notes_count].bytes, arguments.data, arguments.len);
	if (data.len > 0)
		memcpy(notes[notes_count].bytes + arguments.len, data.data, data.len);
	notes[notes_count++].len = arguments.len + data.len;
	return 0;
}

static void
trim(void *context, uint64_t upto)
{
	(void)context, (void)upto;
}

struct engine_journal sink = { .append = append, .trim = trim, .max = 1 << 20 };

void
write_down(struct journal_entry n)
{
	uint8_t arguments[JOURNAL_ARGUMENTS_MAX];
	ssize_t len = journal_encode(&n, arguments);

	append(NULL, 0, (struct bytes){ arguments, (size_t)len }, n.data, false);
}

void
attached_to(uint64_t session, uint64_t boot)
{
	write_down((struct journal_entry){ .kind = JOURNAL_SESSION, .ino = session, .version = boot });
}

unsigned
times_noted(uint8_t kind, uint64_t ino)
{
	struct journal_entry n;
	unsigned times = 0;

	for (size_t i = 0; i < notes_count; i++)
		times += journal_decode(&n, (struct bytes){ notes[i].bytes, notes[i].len }) == 0 && n.kind == kind && n.ino == ino;
	return times;
}

bool
noted(uint8_t kind, uint64_t ino)
{
	return times_noted(kind, ino) > 0;
}

/* FAR, of version 1 then, was cut off. */
void
cut_off(void)
{
	write_down((struct journal_entry){ .kind = JOURNAL_OP, .type = OP_SETATTR, .ino = FAR, .set = SET_SIZE, .version = 1,
	    .nlink = 1 });
}

void
mark(uint8_t kind, uint64_t sequence)
{
	write_down((struct journal_entry){ .kind = kind, .sequence = sequence });
}

void
forget(void)
{
	notes_count = 0;
	attached_to(SESSION, BOOT + 1);		/* of a server that has started anew since: nothing is claimed */
}

/* ---- running it again ---- */

void
load(const char *device)
{
	replay_new(&replay, device, true);
	for (size_t i = 0; i < notes_count; i++)
		if (replay_add(replay, i + 1, (struct bytes){ notes[i].bytes, notes[i].len }) < 0)
			abort();
}

/* `landed`: the last commit of the session, which goes on; 0: there is another one. */
void
mount(uint64_t landed)
{
	sink.next = notes_count + 1;
	world_setup_unattached(&(struct engine_config){ .journal = &sink });
	load("here");
	replay_adopt(replay, w.engine);
	world_attach(landed == 0, landed, false);
	if (landed > 0) {
		struct msg_lease far = { .oid = FAR };
		struct message all = { .type = MSG_reclaimed, .reclaimed.lost = { &far, refuses } };

		engine_received(w.engine, &all);
		world_collect();
	}
	replay_begin(replay, w.engine, (struct timespec){ .tv_sec = 1 });
}

/* By the mount that lost it. */
void
again_alive(void)
{
	world_setup_unattached(NULL);
	load("here");
	replay_redo(replay, w.engine, (struct timespec){ .tv_sec = 1 }, 0, true);
}

void
unmount(void)
{
	replay_free(replay);
	world_teardown();
}

/* The next operation succeeds: a LOOKUP finds a file of five bytes, a READ brings `text`. */
enum op_type
says(uint64_t child, const char *text)
{
	struct op op = *replay_next(replay, w.engine);
	struct piece piece = { .data = (const uint8_t *)text, .len = strlen(text) };

	op.child = child;
	op.attr = (struct attr){ .mode = S_IFREG | 0644, .size = 5 };
	op.pieces = &piece;
	op.pieces_count = 1;
	replay_answered(replay, &op);
	return op.type;
}

enum op_type
says_error(int error)
{
	struct op op = *replay_next(replay, w.engine);

	op.error = error;
	replay_answered(replay, &op);
	return op.type;
}

enum op_type
changed_by_others(void)
{
	struct op op = *replay_next(replay, w.engine);

	op.replay->verdict = REPLAY_CHANGED;
	replay_answered(replay, &op);
	return op.type;
}

/* After all that is to be run: was a copy begun instead? */
bool
copies(void)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == OP_GETATTR && op->ino == FAR;
}

bool
done(void)
{
	const struct op *op = replay_next(replay, w.engine);

	return op != NULL && op->type == OP_SYNC;
}
