/* through.c - see through.h. */
#include "tests/sim/through.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/sim/check.h"
#include "tests/sim/fate_room.h"
#include "tests/sim/image.h"

void
through_watch(struct mount *m)
{
	struct judge *j = m->sim->judge;

	for (size_t i = 0; i < j->pending_count; i++) {
		struct call *c = j->pending[i];

		if (c->mount != m || !c->op.through || c->effect != 0)
			continue;
		c->effect = ++m->sim->step;
		c->effect_event = m->sim->report.events;
	}
}

bool
through_pending(const struct sim *sim)
{
	const struct judge *j = sim->judge;

	for (size_t i = 0; i < j->pending_count; i++)
		if (j->pending[i]->effect != 0)
			return true;
	return false;
}

bool
through_landed(const struct judge *j, const struct mount *m, uint64_t ino)
{
	for (size_t i = 0; i < j->pending_count; i++) {
		const struct call *c = j->pending[i];
		const struct ledger *l = c->mount->ledger;
		const struct applied *last = l->applied_count == 0 ? NULL : &l->applied[l->applied_count - 1];

		/* One of the event that froze that commit may be in it, or not. */
		if (c->mount != m && c->effect != 0 && last != NULL && (c->effect <= last->step || c->effect_event == last->event) &&
		    (fate_changed(c, ino) || (fate_changes_something(c) && c->op.child == ino)))
			return true;
	}
	return false;
}

/* Is something under way, or was done, that may have changed the same since? */
static bool
overtaken(const struct judge *j, const struct call *c)
{
	for (size_t i = 0; i < j->calls_count; i++) {
		const struct call *p = j->calls[i];

		if (p != c && p->invoked != 0 && (p->done == 0 || p->done > c->effect) && fate_changes_something(p))
			return true;
	}
	return false;
}

static bool
holds(const struct image *image, const struct call *c)
{
	const struct image_object *o = image_find(image, c->ino);
	uint8_t *content;
	bool good;

	if ((c->flags & O_APPEND) || c->written == 0 || o == NULL || o->names == 0)
		return true;	/* where it went is not known; or nobody can find it */
	if (o->attr.size < c->offset + c->written)
		return false;
	content = sim_room(o->attr.size);
	good = image_content(image, o, content) &&
	    pattern_compare(c->tag, c->origin, content + c->offset, c->written) == c->written;
	free(content);
	return good;
}

static bool
is_there(const struct image *image, const struct call *c)
{
	const struct image_object *dir = image_find(image, c->type == OP_RENAME || c->type == OP_LINK ? c->ino2 : c->ino);

	switch (c->type) {
	case OP_CREATE: case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		return dir != NULL && dir->entries[c->name] == c->child;
	case OP_UNLINK: case OP_RMDIR:
		return dir == NULL || dir->entries[c->name] == 0;
	case OP_RENAME:
		return c->op.moved == 0 || (dir != NULL && dir->entries[c->name2] == c->op.moved);
	case OP_WRITE:
		return holds(image, c);
	default:
		return true;
	}
}

void
through_check(struct sim *sim, const struct call *c)
{
	struct image image;
	char text[400];

	if (c->given || overtaken(sim->judge, c))
		return;
	image_read(sim, &image);
	if (!is_there(&image, c)) {
		call_text(c, text, sizeof text);
		sim_fail(sim, "neither in a journal nor on the server when it was answered: %s", text);
	}
	image_free(&image);
}
