/*
 * orphan.c - see orphan.h.
 *
 * When a file's last name is gone and its last holder has closed it, nobody
 * can tell what is in it: the client that changed it last drops what it had
 * unsaved.  It may be there for a while, as its removal or a PIN is on its
 * way, and a journal that is run again asks by number, for what it puts
 * beneath the bytes that it keeps beside.  What it finds is not arbitrary:
 * size and bytes are of states since the content was last certain, at an
 * fsync or when another session got it; all else is as in the model.
 */
#include "tests/sim/orphan.h"

#include <inttypes.h>

#include "tests/sim/facts.h"

/* The sizes that what was read tells of. */
static bool
size_read(const struct mount *changer, const struct fact *f, const struct call *c)
{
	uint64_t end = c->offset + c->len;

	if (c->len == c->size)
		return remains_size(changer, f, end, UINT64_MAX);
	return c->len > 0 ? remains_size(changer, f, end, end) : remains_size(changer, f, 0, c->offset);
}

/* All but the size is as it should be, and that is one it had. */
static bool
fits_but_size(const struct judge *j, const struct mount *changer, const struct fact *f, const struct call *c)
{
	struct model *m = model_copy(j->model);
	char why[256];
	bool fits;

	model_own(m, c->ino)->size = c->got.size;
	fits = model_apply(m, c, why, sizeof why) && remains_size(changer, f, c->got.size, c->got.size);
	model_free(m);
	return fits;
}

/* One that was opened by a call that is void is open all the same. */
static bool
is_open(const struct sim *sim, uint64_t ino)
{
	for (unsigned i = 0; i < sim->plan.clients; i++) {
		const struct mount *m = sim->clients[i] == NULL ? NULL : sim->clients[i]->mount;

		if (m != NULL && kernel_has_open(m->kernel, ino))
			return true;
	}
	return false;
}

bool
orphan_looked_at(struct judge *j, struct call *c)
{
	struct facts facts;
	const struct fact *f;

	if (!c->given || c->error != 0 || (c->type != OP_READ && c->type != OP_GETATTR) ||
	    !model_is_orphan(model_find(j->model, c->ino)) || is_open(j->sim, c->ino))
		return false;
	if ((f = facts_of(j, c->ino, &facts)) != NULL && f->versions_count > 1)
		c->past = c->voided = c->type == OP_GETATTR ? fits_but_size(j, facts.dead, f, c) :
		    size_read(facts.dead, f, c) && remains_piece(f, c->offset, c->bytes, c->len);
	facts_free(&facts);
	if (c->past)
		sim_trace(j->sim, "judge: #%" PRIu64 " looked at an orphan", c->number);
	return c->past;
}
