/*
 * pair.c - rename(2) as the kernel has it: both directories locked, it looks
 * the two names up, each from its cache or by a request, and then judges by
 * itself: two names of one inode are done, a directory does not replace a file,
 * NOREPLACE finds the name taken.  Only what is left is a request.
 *
 * What it judged is a letter of the history as any: there must have been a
 * moment at which both names were as it found them (fs/caller.c).
 */
#include "tests/sim/kernel_room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/check.h"

static void next(struct kernel *k, struct call *c);

enum rename_part
pair_part(const struct kernel *k, uint32_t proc, struct bytes name)
{
	const struct call *c = proc < PROCS_MAX ? k->pairs[proc] : NULL;
	const char *from = c == NULL ? NULL : name_text(c->name), *to = c == NULL ? NULL : name_text(c->name2);

	if (c == NULL)
		return RENAME_NEITHER;
	return (strlen(from) == name.len && memcmp(from, name.data, name.len) == 0 ? RENAME_OLD : 0) |
	    (strlen(to) == name.len && memcmp(to, name.data, name.len) == 0 ? RENAME_NEW : 0);
}

bool
pair_begins_anew(struct kernel *k, const struct call *c)
{
	bool anew = c->type == OP_LOOKUP && c->error == -ESTALE && !c->internal && (c->under != NULL || k->told[c->proc]);

	if (c->type == OP_LOOKUP && !c->internal && !c->by_kernel)
		k->told[c->proc] = c->under != NULL && c->error == -ESTALE;
	return anew;
}

static void
end(struct kernel *k, struct call *c, int error)
{
	k->pairs[c->proc] = NULL;
	c->pair_waits = false;
	c->error = error;
	c->by_kernel = true;
	judge_done(k->sim, c);
	judge_responded(k->sim, c);
	kernel_finish(k, c);
}

/* It never looked at a pair. */
static void
fail(struct kernel *k, struct call *c, int error)
{
	c->past = c->voided = true;
	end(k, c, error);
}

static void
looked(struct call *look)
{
	struct call *c = look->under;
	struct kernel *k = c->mount->kernel;

	if (c->mount->state == MOUNT_GONE)
		return;
	if (look->error == -ESTALE && !c->pair_again) {
		c->pair_again = true;	/* with names asked for again */
		c->pair_stage = 0;
	} else if (look->error != 0 && look->error != -ENOENT) {
		fail(k, c, look->error);
		return;
	} else if (c->pair_stage == 0 && look->error != 0) {
		end(k, c, -ENOENT);	/* whatever the other leads to */
		return;
	} else if (c->pair_stage++ == 0)
		c->victim = look->child;
	else
		c->victim2 = look->error == 0 ? look->child : 0;
	next(k, c);
}

static void
judge(struct kernel *k, struct call *c)
{
	bool dir = S_ISDIR(kernel_mode(k, c->victim)), onto_dir = S_ISDIR(kernel_mode(k, c->victim2));

	if (c->victim == 0 || (c->victim2 == 0 && (c->flags & RENAME_EXCHANGE)))
		end(k, c, -ENOENT);
	else if (c->victim2 != 0 && (c->flags & RENAME_NOREPLACE))
		end(k, c, -EEXIST);
	else if (c->victim == c->victim2)
		end(k, c, 0);
	else if (c->victim2 != 0 && !(c->flags & RENAME_EXCHANGE) && dir != onto_dir)
		end(k, c, dir ? -ENOTDIR : -EISDIR);
	else {
		k->pairs[c->proc] = NULL;
		kernel_lock_victims(k, c);
	}
}

static void
next(struct kernel *k, struct call *c)
{
	struct call *look;

	if (c->pair_stage == 2) {
		judge(k, c);
		return;
	}
	look = kernel_new_call(k, c->proc, OP_LOOKUP, c->pair_stage == 0 ? c->ino : c->ino2);
	look->name = c->pair_stage == 0 ? c->name : c->name2;
	look->under = c;
	look->then = looked;
	kernel_start(k, look, c->pair_again);
}

void
pair_begin(struct kernel *k, struct call *c)
{
	k->pairs[c->proc] = c;
	c->pair_stage = 0;
	c->pair_waits = true;
	judge_begun(k->sim, c);
	next(k, c);
}
