/*
 * facts.c - what the history says of each inode: who changed it last, and
 * which contents it had since it was last certain.
 */
#include "tests/sim/fate_room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what a call touches ---- */

enum { TOUCHED_MAX = 6 };

static void
touch(uint64_t *to, unsigned *count, uint64_t ino)
{
	if (ino != 0)
		to[(*count)++] = ino;
}

static uint64_t
named(const struct model *m, uint64_t dir, uint8_t name)
{
	const struct inode *i = model_find(m, dir);

	return i == NULL || i->entries == NULL || name == NAME_NONE ? 0 : i->entries[name];
}

void
fate_weigh(const struct model *before, struct call *c)
{
	if (c->type == OP_CREATE)
		c->idle = model_find(before, c->child) != NULL && !(c->flags & O_TRUNC);
	if (c->type == OP_RENAME)
		c->idle = named(before, c->ino, c->name) == named(before, c->ino2, c->name2);
}

/* The inodes it changes in this state. */
static unsigned
touches(const struct model *m, const struct call *c, uint64_t to[TOUCHED_MAX])
{
	unsigned count = 0;

	if (c->error != 0)
		return 0;
	switch (c->type) {
	case OP_SETATTR: case OP_WRITE: case OP_FALLOCATE: case OP_SETXATTR: case OP_REMOVEXATTR:
		touch(to, &count, c->ino);
		break;
	case OP_OPEN:
		touch(to, &count, (c->flags & O_TRUNC) ? c->ino : 0);
		break;
	case OP_CREATE:
		if (model_find(m, c->child) != NULL) {
			touch(to, &count, (c->flags & O_TRUNC) ? c->child : 0);
			break;
		}
		/* fall through */
	case OP_MKNOD: case OP_MKDIR: case OP_SYMLINK:
		touch(to, &count, c->ino);
		touch(to, &count, c->child);
		break;
	case OP_LINK:
		touch(to, &count, c->ino);
		touch(to, &count, c->ino2);
		break;
	case OP_UNLINK: case OP_RMDIR:
		touch(to, &count, c->ino);
		touch(to, &count, named(m, c->ino, c->name));
		break;
	case OP_RENAME:
		if (named(m, c->ino, c->name) == named(m, c->ino2, c->name2))
			break;		/* done, and nothing of it */
		touch(to, &count, c->ino);
		touch(to, &count, c->ino2);
		touch(to, &count, named(m, c->ino, c->name));
		touch(to, &count, named(m, c->ino2, c->name2));
		break;
	default:
		break;
	}
	return count;
}

bool
facts_changes_content(const struct call *c)
{
	return c->type == OP_WRITE || c->type == OP_FALLOCATE || (c->type == OP_SETATTR && (c->set & SET_SIZE)) ||
	    ((c->type == OP_OPEN || c->type == OP_CREATE) && (c->flags & O_TRUNC));
}

/* ---- facts about inodes, gathered along the history ---- */

void
fate_free_inode(struct inode *i)
{
	if (i != NULL && --i->refs == 0) {
		free(i->entries);
		free(i->runs);
		free(i);
	}
}

static struct fact *
fact_of(struct facts *f, uint64_t ino)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->at[i].ino == ino)
			return &f->at[i];
	if (f->count == f->size) {
		f->size = f->size * 2 + 64;
		if ((f->at = realloc(f->at, f->size * sizeof *f->at)) == NULL)
			abort();
	}
	f->at[f->count] = (struct fact){ .ino = ino };
	return &f->at[f->count++];
}

/* Keeps only the versions from the one that stood at `step`. */
static void
forget_versions(struct fact *fact, uint64_t step)
{
	size_t keep = 0;

	for (size_t i = 0; i < fact->versions_count; i++)
		if (fact->versions[i].step <= step)
			keep = i;
	for (size_t i = 0; i < keep; i++)
		fate_free_inode(fact->versions[i].inode);
	if (keep > 0)
		memmove(fact->versions, fact->versions + keep, (fact->versions_count - keep) * sizeof *fact->versions);
	fact->versions_count -= keep;
}

static void
drop_versions(struct fact *fact)
{
	while (fact->versions_count > 0)
		fate_free_inode(fact->versions[--fact->versions_count].inode);
}

static void
add_version(struct facts *f, uint64_t ino, uint64_t step)
{
	struct inode *i = (struct inode *)(uintptr_t)model_find(f->model, ino);
	struct fact *fact = fact_of(f, ino);

	if (i == NULL || !S_ISREG(i->mode))
		return;
	if (fact->versions_count == fact->versions_size) {
		fact->versions_size = fact->versions_size * 2 + 8;
		fact->versions = realloc(fact->versions, fact->versions_size * sizeof *fact->versions);
		if (fact->versions == NULL)
			abort();
	}
	i->refs++;
	fact->versions[fact->versions_count++] = (struct version){ i, step };
}

/* Another session was shown this inode, so all of it had arrived. */
static void
shown(struct facts *f, const struct call *c, uint64_t ino)
{
	struct fact *fact;

	if (ino == 0 || c->mount == f->dead || model_find(f->model, ino) == NULL)
		return;
	fact = fact_of(f, ino);
	if (f->over)
		fact->built_on = true;	/* what was found then is what it is */
	else if (fact->versions_count > 1)
		forget_versions(fact, UINT64_MAX);
}

/* Before the call: versions there were; after it: the version it makes. */
static void
follow(struct facts *f, const struct call *c, bool after)
{
	uint64_t inos[TOUCHED_MAX], moved = named(f->model, c->ino, c->name), replaced = named(f->model, c->ino2, c->name2);
	unsigned count;

	if (c->voided) {
		uint64_t doubt[] = { c->ino, c->ino2, c->child, c->victim, c->victim2 };

		for (unsigned i = 0; !after && c->error == 0 && i < sizeof doubt / sizeof *doubt; i++)
			if (doubt[i] != 0 && c->type != OP_READ && c->type != OP_LOOKUP && c->type != OP_GETATTR)
				fact_of(f, doubt[i])->doubtful = true;
		return;
	}
	/* A name may be known without its inode being leased; attributes and content may not.  ENXIO tells of content, too. */
	if ((c->error == 0 && (c->has_attr || c->type == OP_READ || c->type == OP_LSEEK || facts_changes_content(c))) ||
	    (c->error == -ENXIO && c->type == OP_LSEEK)) {
		shown(f, c, c->type == OP_LOOKUP ? 0 : c->ino);
		shown(f, c, c->child);
	}
	if (after) {
		uint64_t ino = c->type == OP_CREATE ? c->child : c->ino;

		if (c->error == 0 && c->mount == f->dead && facts_changes_content(c) && !f->over)
			add_version(f, ino, c->done);
		return;
	}
	count = touches(f->model, c, inos);
	for (unsigned i = 0; i < count; i++) {
		struct fact *fact = fact_of(f, inos[i]);

		if (f->over) {
			fact->built_on = true;
			continue;
		}
		fact->changer = c->mount;
		if (c->mount != f->dead)
			drop_versions(fact);
		else if (fact->versions_count == 0)
			add_version(f, inos[i], 0);
	}
	if (c->mount != f->dead || c->error != 0 || f->over)
		return;
	if (c->type == OP_FSYNC)
		forget_versions(fact_of(f, c->ino), c->invoked);
	if (c->type == OP_SYNC)
		for (size_t i = 0; i < f->count; i++)
			forget_versions(&f->at[i], c->invoked);
	if (c->type == OP_RENAME && replaced != 0 && replaced != moved && moved != 0 && !(c->flags & RENAME_EXCHANGE))
		forget_versions(fact_of(f, moved), UINT64_MAX);
}

void
facts_free(struct facts *f)
{
	for (size_t i = 0; i < f->count; i++) {
		for (size_t v = 0; v < f->at[i].versions_count; v++)
			fate_free_inode(f->at[i].versions[v].inode);
		free(f->at[i].versions);
	}
	free(f->at);
	model_free(f->model);
	model_free(f->now);
}

/* Applies it; what it is a change of, or shows, is only followed when asked for. */
static bool
take_call(struct facts *f, const struct call *c, bool followed, char *why, size_t size)
{
	bool fits;

	if (followed)
		follow(f, c, false);
	fits = c->voided || model_apply(f->model, c, why, size);
	if (!fits) {
		char text[400];
		size_t at = strlen(why);

		call_text(c, text, sizeof text);
		snprintf(why + at, size - at, ": %s", text);
	}
	if (followed)
		follow(f, c, true);
	return fits;
}

bool
facts_gather(struct judge *j, struct facts *f, char *why, size_t size)
{
	struct model *at_death = NULL;
	bool fits = true;

	f->model = model_copy(j->base);
	for (size_t i = 0; i < j->verified && fits; i++) {
		const struct letter *l = &j->letters[i];

		switch (l->kind) {
		case LETTER_CALL:
			fits = take_call(f, l->call, true, why, size);
			break;
		case LETTER_DEATH: case LETTER_ABSENCE:
			if (l->kind == LETTER_DEATH)
				model_close_all(f->model, l->mount->client->index);
			if (l->mount == f->dead && !l->over && at_death == NULL) {
				at_death = model_copy(f->model);
				f->over = true;
			}
			break;
		case LETTER_ADOPT:
			model_adopt(f->model, l->as);
			if (l->over)
				drop_versions(fact_of(f, l->as->ino));
			break;
		}
	}
	f->now = f->model;
	f->model = at_death;
	if (at_death != NULL && f->dead->state == MOUNT_GONE)
		model_close_all(at_death, f->dead->client->index);	/* it may have died while it was absent */
	return fits && at_death != NULL;
}

/* Who is shown some of a file that nobody has open and nobody can name does not make the rest of it certain. */
static bool
looks_at_orphan(const struct facts *f, const struct call *c, uint64_t ino)
{
	return c->ino == ino && !fate_changes_something(c) && model_is_orphan(model_find(f->model, ino));
}

static bool
follow_all(struct judge *j, uint64_t ino, struct facts *f)
{
	char why[1024] = "";

	f->model = model_copy(j->base);
	for (size_t i = 0; i < j->verified; i++) {
		const struct letter *l = &j->letters[i];

		if (l->kind == LETTER_CALL && !take_call(f, l->call, !looks_at_orphan(f, l->call, ino), why, sizeof why))
			return false;
		if (l->kind == LETTER_DEATH)
			model_close_all(f->model, l->mount->client->index);
		if (l->kind != LETTER_ADOPT)
			continue;
		model_adopt(f->model, l->as);
		if (l->as->ino == ino)
			drop_versions(fact_of(f, ino));
	}
	return true;
}

struct fact *
facts_of(struct judge *j, uint64_t ino, struct facts *f)
{
	const struct mount *changer;

	*f = (struct facts){ 0 };
	changer = follow_all(j, ino, f) ? fact_of(f, ino)->changer : NULL;
	facts_free(f);
	*f = (struct facts){ .dead = (struct mount *)(uintptr_t)changer };
	return changer != NULL && follow_all(j, ino, f) ? fact_of(f, ino) : NULL;
}
