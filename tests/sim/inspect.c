/* inspect.c - looking at everything: directory by directory, every name there might be. */
#include "tests/sim/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/sim/client.h"

static void
inspect_over(struct proc *p)
{
	p->stage++;
	inspect_next(p);
}

static void
inspected(struct call *c)
{
	inspect_over(c->context);
}

static void
inspect_closed(struct call *c)
{
	inspect_over(c->context);
}

static void
inspect_read(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->type == OP_OPEN) {
		if (c->error != 0) {
			inspect_over(p);
			return;
		}
		p->file = c->file;
		p->offset = 0;
	} else
		p->offset += c->len;
	if (c->type == OP_OPEN || (c->error == 0 && c->len == c->size)) {
		r = proc_begin(p, OP_READ, c->ino, inspect_read);
		r->offset = p->offset;
		r->size = 128 << 10;
	} else
		r = proc_begin(p, OP_RELEASE, c->ino, inspect_closed);
	r->file = p->file;
	kernel_call(p->kernel, r);
}

static void
inspect_attr(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (proc_is_type(p, c->ino, S_IFDIR) && p->queue_count < QUEUE_MAX)
		p->queue[p->queue_count++] = c->ino;
	if (proc_is_type(p, c->ino, S_IFREG)) {
		r = proc_begin(p, OP_OPEN, c->ino, inspect_read);
		r->flags = O_RDONLY;
	} else if (proc_is_type(p, c->ino, S_IFLNK))
		r = proc_begin(p, OP_READLINK, c->ino, inspected);
	else {
		r = proc_begin(p, OP_LISTXATTR, c->ino, inspected);
		r->size = 4096;
	}
	kernel_call(p->kernel, r);
}

static void
inspect_found(struct call *c)
{
	struct proc *p = c->context;

	if (c->error != 0)
		inspect_over(p);
	else
		kernel_call(p->kernel, proc_begin(p, OP_GETATTR, c->child, inspect_attr));
}

static void
inspect_listed(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->type == OP_OPENDIR) {
		if (c->error != 0) {
			inspect_over(p);
			return;
		}
		p->file = c->file;
	}
	if (c->type == OP_OPENDIR || (c->error == 0 && !c->listed_end)) {
		r = proc_begin(p, OP_READDIR, c->ino, inspect_listed);
		r->offset = c->type == OP_READDIR ? c->next_offset : 0;
		r->size = 4096;
	} else
		r = proc_begin(p, OP_RELEASEDIR, c->ino, inspected);
	r->file = p->file;
	kernel_call(p->kernel, r);
}

void
inspect_next(struct proc *p)
{
	uint64_t dir;
	struct call *c;

	if (p->stage > p->sim->plan.names) {
		p->stage = 0;
		p->queue_at++;
	}
	if (p->queue_at == p->queue_count) {
		p->inspecting = false;
		proc_rest(p);
		return;
	}
	dir = p->queue[p->queue_at];
	if (p->stage == p->sim->plan.names) {
		kernel_call(p->kernel, proc_begin(p, OP_OPENDIR, dir, inspect_listed));
		return;
	}
	c = proc_begin(p, OP_LOOKUP, dir, inspect_found);
	c->name = (uint8_t)p->stage;
	kernel_call(p->kernel, c);
}
