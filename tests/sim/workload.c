/*
 * workload.c - see workload.h.
 *
 * A task is one system call, or a few that belong together.  It walks its
 * paths as the kernel does, name by name, looks up the last names, and then
 * acts: act_x() makes calls, each continued by its then().  A process has one
 * call under way at most, and none while it thinks.
 *
 * States of a process: THINKING -> BUSY -> THINKING ...; QUIET when its mount
 * is leaving or the run is ending and its files are closed; DEAD with its
 * mount.
 */
#include "tests/sim/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/sim/client.h"

enum {
	FILES_MAX	= 3,
	HELD_MAX	= 24,
	DEPTH_MAX	= 2,
	PAGE		= 4096,
	FUSE_IO_MAX	= 1 << 20,
	QUEUE_MAX	= 256,
	LISTING_MIN	= 288,		/* room for one entry of any length */
};

enum proc_state { PROC_THINKING, PROC_BUSY, PROC_QUIET, PROC_DEAD };

struct path {
	uint8_t		 components[DEPTH_MAX];
	unsigned	 depth;
	uint8_t		 name;			/* the last one; NAME_NONE: the directory itself is meant */
	uint64_t	 dir, child;		/* found; child 0: no such name */
};

struct proc;
typedef void proc_step(struct proc *p);

struct proc {
	struct sim	*sim;
	unsigned	 client, index;
	enum proc_state	 state;
	uint64_t	 life;			/* events of an earlier one mean nothing */
	struct mount	*mount;
	struct kernel	*kernel;
	struct file	*files[FILES_MAX];
	unsigned	 slot;			/* of files[], for the task */
	uint64_t	 held[HELD_MAX];
	unsigned	 held_count;
	/* the task */
	struct path	 path[2];
	unsigned	 paths, walking, component;
	proc_step	*act;
	unsigned	 stage, count;
	uint64_t	 offset;
	struct file	*file;
	bool		 looks;			/* its task leaves nothing behind */
	/* looking at everything */
	bool		 inspecting;
	uint64_t	 queue[QUEUE_MAX];
	size_t		 queue_at, queue_count;
};

struct workload {
	struct proc	 procs[CLIENTS_MAX][PROCS_MAX];
	uint32_t	 tags;
	bool		 started;
};

static void next_task(struct proc *p);
static void walk(struct proc *p);

/* ---- small things ---- */

static struct rng *
dice(struct proc *p)
{
	return &p->sim->work;
}

static uint64_t
roll(struct proc *p, uint64_t n)
{
	return rng_below(dice(p), n);
}

static void
hold(struct proc *p, uint64_t ino)
{
	if (p->held_count < HELD_MAX) {
		p->held[p->held_count++] = ino;
		kernel_hold(p->kernel, ino);
	}
}

static void
think(struct sim *sim, void *what, uint64_t life)
{
	struct proc *p = what;

	(void)sim;
	if (p->life == life && p->state == PROC_THINKING)
		next_task(p);
}

/* The task is over. */
static void
rest(struct proc *p)
{
	while (p->held_count > 0)
		kernel_drop(p->kernel, p->held[--p->held_count]);
	p->state = PROC_THINKING;
	sim_after(p->sim, rng_below(dice(p), p->sim->plan.think_us * UINT64_C(2)) + 1, think, p, p->life);
}

static void
interrupt(struct sim *sim, void *what, uint64_t number)
{
	struct call *c = what;

	(void)sim;
	(void)number;
	if (c->parked && c->mount->state != MOUNT_GONE)
		mount_interrupt(c->mount, c);
}

/* Makes a call; then(call) continues. */
static struct call *
begin(struct proc *p, enum op_type type, uint64_t ino, void (*then)(struct call *))
{
	struct call *c = kernel_new_call(p->kernel, p->index, type, ino);

	c->then = then;
	c->context = p;
	return c;
}

static void
make(struct proc *p, struct call *c)
{
	if (rng_chance(dice(p), 10))
		sim_after(p->sim, roll(p, 300000), interrupt, c, 0);
	kernel_call(p->kernel, c);
}

static void
over(struct call *c)
{
	rest(c->context);
}

static unsigned
name_any(struct proc *p)
{
	return (unsigned)roll(p, p->sim->plan.names);
}

static unsigned
name_directory(struct proc *p)
{
	unsigned most = p->sim->plan.directories < p->sim->plan.names ? p->sim->plan.directories : p->sim->plan.names;

	return (unsigned)roll(p, most);
}

static uint32_t
new_tag(struct proc *p)
{
	/* A few tags come again and again, so that blocks meet their duplicates. */
	return rng_chance(dice(p), 100) ? 1 + (uint32_t)roll(p, 3) : ++p->sim->workload->tags;
}

static bool
is_type(struct proc *p, uint64_t ino, mode_t type)
{
	return ino != 0 && (kernel_mode(p->kernel, ino) & S_IFMT) == type;
}

/* ---- walking ---- */

static void
walked_last(struct call *c)
{
	struct proc *p = c->context;
	struct path *path = &p->path[p->walking];

	if (c->error != 0 && c->error != -ENOENT) {
		rest(p);
		return;
	}
	path->child = c->error == 0 ? c->child : 0;
	if (path->child != 0)
		hold(p, path->child);
	p->walking++;
	p->component = 0;
	walk(p);
}

static void
walked(struct call *c)
{
	struct proc *p = c->context;

	if (c->error != 0 || !is_type(p, c->child, S_IFDIR)) {
		rest(p);
		return;
	}
	hold(p, c->child);
	p->path[p->walking].dir = c->child;
	p->component++;
	walk(p);
}

static void
walk(struct proc *p)
{
	struct path *path = &p->path[p->walking];
	struct call *c;

	if (p->walking == p->paths) {
		p->act(p);
		return;
	}
	if (p->component == 0)
		path->dir = OID_ROOT;
	if (p->component < path->depth) {
		c = begin(p, OP_LOOKUP, path->dir, walked);
		c->name = path->components[p->component];
		make(p, c);
		return;
	}
	if (path->name == NAME_NONE) {
		path->child = path->dir;
		p->walking++;
		p->component = 0;
		walk(p);
		return;
	}
	c = begin(p, OP_LOOKUP, path->dir, walked_last);
	c->name = path->name;
	make(p, c);
}

static void
choose_path(struct proc *p, struct path *path, unsigned name)
{
	*path = (struct path){ .depth = (unsigned)roll(p, DEPTH_MAX + 1), .name = (uint8_t)name };
	for (unsigned i = 0; i < path->depth; i++)
		path->components[i] = (uint8_t)name_directory(p);
}

static void
walk_to(struct proc *p, unsigned paths, proc_step *act)
{
	p->paths = paths;
	p->walking = p->component = 0;
	p->act = act;
	walk(p);
}

/* ---- open files ---- */

static void
released(struct call *c)
{
	rest(c->context);
}

static void
flushed(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = begin(p, OP_RELEASE, c->ino, released);

	r->file = c->file;
	make(p, r);
}

static void
close_file(struct proc *p, unsigned slot)
{
	struct file *f = p->files[slot];
	struct call *c = begin(p, OP_FLUSH, f->ino, flushed);

	p->files[slot] = NULL;
	c->file = f;
	make(p, c);
}

static void
opened(struct call *c)
{
	struct proc *p = c->context;

	if (c->error == 0)
		p->files[p->slot] = c->file;
	rest(p);
}

static bool
slot_free(struct proc *p)
{
	for (p->slot = 0; p->slot < FILES_MAX; p->slot++)
		if (p->files[p->slot] == NULL)
			return true;
	return false;
}

static uint32_t
open_flags(struct proc *p)
{
	uint32_t flags = O_RDWR;

	if (rng_chance(dice(p), 150))
		flags |= O_TRUNC;
	if (rng_chance(dice(p), 150))
		flags |= O_APPEND;
	return flags;
}

static void
act_open(struct proc *p)
{
	const struct path *path = &p->path[0];
	bool exclusive = rng_chance(dice(p), 300);
	struct call *c;

	if (is_type(p, path->child, S_IFDIR) || is_type(p, path->child, S_IFLNK)) {
		rest(p);
		return;
	}
	if (path->child != 0 && !rng_chance(dice(p), 150)) {
		c = begin(p, OP_OPEN, path->child, opened);
		c->flags = open_flags(p);
	} else {
		c = begin(p, OP_CREATE, path->dir, opened);
		c->name = path->name;
		c->flags = open_flags(p) | O_CREAT | (exclusive ? O_EXCL : 0);
		c->attr.mode = S_IFREG | (0600 + (uint32_t)roll(p, 4) * 044 % 0100);
	}
	make(p, c);
}

/* ---- content ---- */

/* Sizes and offsets where something changes are met more often than others. */
static uint64_t
edge(struct proc *p, uint64_t most)
{
	static const uint64_t edges[] = { 0, 1, INLINE_MAX, PAGE, CELL_SIZE, 2 * CELL_SIZE, REGION_SIZE, 2 * REGION_SIZE };
	uint64_t at = edges[roll(p, sizeof edges / sizeof *edges)], near = roll(p, 9);

	at = near < 4 && at >= near ? at - near : at + near - 4;
	if (rng_chance(dice(p), 400))
		at = roll(p, most);
	return at > most ? roll(p, most < 5000 ? most : 5000) : at;
}

static size_t
write_size(struct proc *p)
{
	uint64_t most = p->sim->plan.file_max;

	if (rng_chance(dice(p), p->sim->plan.big))
		return (size_t)(1 + edge(p, most < FUSE_IO_MAX - 8 ? most : FUSE_IO_MAX - 8));
	switch (roll(p, 4)) {
	case 0: return 1 + (size_t)roll(p, 16);
	case 1: return 1 + (size_t)roll(p, 4200);
	case 2: return INLINE_MAX - 4 + (size_t)roll(p, 9);
	default: return 1 + (size_t)roll(p, 20000);
	}
}

static void
do_write(struct proc *p, struct file *f, void (*then)(struct call *))
{
	struct call *c = begin(p, OP_WRITE, f->ino, then);

	c->file = f;
	c->flags = f->flags & O_APPEND;
	c->size = write_size(p);
	c->offset = (f->flags & O_APPEND) ? 0 : roll(p, 3) == 0 ? 0 : edge(p, p->sim->plan.file_max);
	c->tag = new_tag(p);
	c->origin = rng_chance(dice(p), 500) ? 0 : c->offset;
	make(p, c);
}

static void
do_read(struct proc *p, struct file *f)
{
	struct call *c = begin(p, OP_READ, f->ino, over);
	uint64_t most = p->sim->plan.file_max;

	c->file = f;
	c->offset = roll(p, 2) == 0 ? 0 : edge(p, most);
	c->size = 1 + (size_t)(rng_chance(dice(p), 300) ? edge(p, 128 << 10) : roll(p, 9000));
	if (!f->direct_io) {
		c->offset -= c->offset % PAGE;
		c->size = (c->size + PAGE - 1) / PAGE * PAGE;
	}
	make(p, c);
}

static void
do_truncate(struct proc *p, uint64_t ino, struct file *f)
{
	struct call *c = begin(p, OP_SETATTR, ino, over);

	c->file = f;
	c->set = SET_SIZE;
	c->attr.size = roll(p, 3) == 0 ? 0 : edge(p, p->sim->plan.file_max);
	make(p, c);
}

static void
do_fallocate(struct proc *p, struct file *f)
{
	static const uint32_t modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE };
	struct call *c = begin(p, OP_FALLOCATE, f->ino, over);

	c->file = f;
	c->flags = modes[roll(p, 3)];
	c->offset = edge(p, p->sim->plan.file_max);
	c->size = 1 + (size_t)edge(p, p->sim->plan.file_max);
	make(p, c);
}

static void
act_on_file(struct proc *p)
{
	struct file *f = p->files[p->slot];
	struct call *c;

	switch (roll(p, 16)) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		do_write(p, f, over);
		return;
	case 6: case 7: case 8: case 9: case 10:
		do_read(p, f);
		return;
	case 11:
		do_truncate(p, f->ino, f);
		return;
	case 12:
		c = begin(p, OP_GETATTR, f->ino, over);
		break;
	case 13:
		if (rng_chance(dice(p), 500)) {
			do_fallocate(p, f);
			return;
		}
		c = begin(p, OP_LSEEK, f->ino, over);
		c->flags = roll(p, 2) ? SEEK_DATA : SEEK_HOLE;
		c->offset = edge(p, p->sim->plan.file_max);
		break;
	default:
		close_file(p, p->slot);
		return;
	}
	c->file = f;
	make(p, c);
}

static void
fsync_file(struct proc *p, struct file *f)
{
	struct call *c = begin(p, OP_FSYNC, f->ino, over);

	c->file = f;
	c->flags = (uint32_t)roll(p, 2);
	make(p, c);
}

/* ---- names ---- */

static void
act_stat(struct proc *p)
{
	if (p->path[0].child == 0)
		rest(p);
	else
		make(p, begin(p, OP_GETATTR, p->path[0].child, over));
}

/* The kernel would mostly stop before a call that is bound to fail; races let some through. */
static bool
hopeless(struct proc *p, bool certain)
{
	if (!certain || rng_chance(dice(p), 100))
		return false;
	rest(p);
	return true;
}

static void
act_mkdir(struct proc *p)
{
	struct call *c;

	if (hopeless(p, p->path[0].child != 0))
		return;
	c = begin(p, OP_MKDIR, p->path[0].dir, over);
	c->name = p->path[0].name;
	c->attr.mode = S_IFDIR | 0755;
	make(p, c);
}

static void
act_mknod(struct proc *p)
{
	struct call *c;

	if (hopeless(p, p->path[0].child != 0))
		return;
	c = begin(p, OP_MKNOD, p->path[0].dir, over);
	c->name = p->path[0].name;
	c->attr.mode = S_IFREG | 0640;
	make(p, c);
}

static void
act_symlink(struct proc *p)
{
	struct call *c;

	if (hopeless(p, p->path[0].child != 0))
		return;
	c = begin(p, OP_SYMLINK, p->path[0].dir, over);
	c->name = p->path[0].name;
	c->name2 = (uint8_t)name_any(p);
	make(p, c);
}

static void
act_remove(struct proc *p)
{
	const struct path *path = &p->path[0];
	bool directory = is_type(p, path->child, S_IFDIR);
	struct call *c;

	if (hopeless(p, path->child == 0))
		return;
	if (rng_chance(dice(p), 30))
		directory = !directory;
	c = begin(p, directory ? OP_RMDIR : OP_UNLINK, path->dir, over);
	c->name = path->name;
	c->victim = path->child;
	make(p, c);
}

static void
act_rename(struct proc *p)
{
	const struct path *from = &p->path[0], *to = &p->path[1];
	uint64_t kind = roll(p, 10);
	struct call *c;

	if (hopeless(p, from->child == 0))
		return;
	c = begin(p, OP_RENAME, from->dir, over);
	c->name = from->name;
	c->ino2 = to->dir;
	c->name2 = to->name;
	c->flags = kind == 0 ? RENAME_NOREPLACE : kind == 1 ? RENAME_EXCHANGE : 0;
	c->victim = from->child;
	c->victim2 = to->child;
	make(p, c);
}

static void
act_link(struct proc *p)
{
	const struct path *from = &p->path[0], *to = &p->path[1];
	struct call *c;

	if (from->child == 0 || is_type(p, from->child, S_IFDIR)) {
		rest(p);
		return;
	}
	if (hopeless(p, to->child != 0))
		return;
	c = begin(p, OP_LINK, from->child, over);
	c->ino2 = to->dir;
	c->name = to->name;
	make(p, c);
}

static void
act_readlink(struct proc *p)
{
	if (!is_type(p, p->path[0].child, S_IFLNK))
		rest(p);
	else
		make(p, begin(p, OP_READLINK, p->path[0].child, over));
}

static void
act_setattr(struct proc *p)
{
	uint64_t ino = p->path[0].child, kind = roll(p, 4);
	struct call *c;

	if (ino == 0 || is_type(p, ino, S_IFLNK)) {
		rest(p);
		return;
	}
	if (kind == 0 && is_type(p, ino, S_IFREG)) {
		do_truncate(p, ino, NULL);
		return;
	}
	c = begin(p, OP_SETATTR, ino, over);
	if (kind == 1) {
		c->set = SET_MTIME | SET_ATIME;
		c->attr.mtime.tv_sec = 1000000000 + (time_t)roll(p, 1000000);
		c->attr.mtime.tv_nsec = (long)roll(p, 1000000000);
		c->attr.atime = c->attr.mtime;
	} else if (kind == 2)
		c->set = SET_MTIME_NOW | SET_ATIME_NOW;
	else {
		c->set = SET_MODE;
		c->attr.mode = 0400 + (uint32_t)roll(p, 256);
	}
	make(p, c);
}

static void
act_xattr(struct proc *p)
{
	uint64_t ino = p->path[0].child, kind = roll(p, 6);
	struct call *c;

	if (ino == 0 || is_type(p, ino, S_IFLNK)) {
		rest(p);
		return;
	}
	if (kind == 0) {
		c = begin(p, OP_LISTXATTR, ino, over);
		c->size = 4096;
		make(p, c);
		return;
	}
	c = begin(p, kind < 3 ? OP_SETXATTR : kind < 5 ? OP_GETXATTR : OP_REMOVEXATTR, ino, over);
	c->name = (uint8_t)roll(p, XATTRS);
	if (c->type == OP_SETXATTR) {
		c->size = (size_t)roll(p, rng_chance(dice(p), 200) ? XATTR_VALUE_MAX : 100);
		c->tag = new_tag(p);
		c->flags = roll(p, 5) == 0 ? XATTR_CREATE : roll(p, 5) == 0 ? XATTR_REPLACE : 0;
	} else
		c->size = XATTR_VALUE_MAX + 100;
	make(p, c);
}

/* ---- directories ---- */

static void
list_more(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->type == OP_OPENDIR) {
		if (c->error != 0) {
			rest(p);
			return;
		}
		p->file = c->file;
	}
	if (c->type != OP_READDIR || (c->error == 0 && !c->listed_end && p->count-- > 0)) {
		r = begin(p, OP_READDIR, c->ino, list_more);
		r->offset = c->type == OP_READDIR ? c->next_offset : 0;
		r->size = LISTING_MIN + (size_t)roll(p, 2000);
	} else
		r = begin(p, OP_RELEASEDIR, c->ino, over);
	r->file = p->file;
	make(p, r);
}

static void
act_list(struct proc *p)
{
	p->count = 40;
	make(p, begin(p, OP_OPENDIR, p->path[0].dir, list_more));
}

static void
synced_dir(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = begin(p, OP_RELEASEDIR, c->ino, over);

	r->file = p->file;
	make(p, r);
}

static void
opened_dir(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->error != 0) {
		rest(p);
		return;
	}
	p->file = c->file;
	r = begin(p, OP_FSYNCDIR, c->ino, synced_dir);
	r->file = c->file;
	make(p, r);
}

static void
act_fsyncdir(struct proc *p)
{
	make(p, begin(p, OP_OPENDIR, p->path[0].dir, opened_dir));
}

/* ---- write to a new file, rename it over the old one ---- */

static void
save_renamed(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = begin(p, OP_RELEASE, p->file->ino, over);

	(void)c;
	r->file = p->file;
	make(p, r);
}

static void
save_written(struct call *c)
{
	struct proc *p = c->context;
	const struct path *path = &p->path[0];
	struct call *r;

	if (c->type == OP_WRITE && p->stage++ < 1 && rng_chance(dice(p), 300)) {
		do_write(p, p->file, save_written);
		return;
	}
	if (c->type == OP_WRITE && rng_chance(dice(p), p->sim->plan.fsync)) {
		r = begin(p, OP_FSYNC, p->file->ino, save_written);
		r->file = p->file;
		make(p, r);
		return;
	}
	r = begin(p, OP_RENAME, path->dir, save_renamed);
	r->name = (uint8_t)p->count;
	r->ino2 = path->dir;
	r->name2 = path->name;
	r->victim = p->file->ino;
	r->victim2 = path->child;
	make(p, r);
}

static void
save_created(struct call *c)
{
	struct proc *p = c->context;

	if (c->error != 0) {
		rest(p);
		return;
	}
	p->file = c->file;
	p->stage = 0;
	do_write(p, p->file, save_written);
}

static void
act_save(struct proc *p)
{
	struct call *c = begin(p, OP_CREATE, p->path[0].dir, save_created);

	p->count = name_any(p);
	c->name = (uint8_t)p->count;
	c->flags = O_RDWR | O_CREAT | O_EXCL;
	c->attr.mode = S_IFREG | 0644;
	make(p, c);
}

/* ---- what to do next ---- */

static void
do_sync(struct proc *p)
{
	make(p, begin(p, OP_SYNC, 0, over));
}

static void
do_statfs(struct proc *p)
{
	make(p, begin(p, OP_STATFS, OID_ROOT, over));
}

static const struct {
	proc_step	*act;
	unsigned	 weight, paths;
	bool		 directory;		/* its name is a directory's, rather */
	bool		 whole;			/* the directory itself is meant */
} tasks[] = {
	{ act_stat, 14, 1, false, false }, { act_open, 14, 1, false, false }, { act_mkdir, 8, 1, true, false },
	{ act_mknod, 3, 1, false, false }, { act_symlink, 3, 1, false, false }, { act_remove, 10, 1, false, false },
	{ act_remove, 2, 1, true, false }, { act_rename, 9, 2, false, false }, { act_rename, 3, 2, true, false },
	{ act_link, 5, 2, false, false }, { act_readlink, 3, 1, false, false }, { act_setattr, 8, 1, false, false },
	{ act_xattr, 6, 1, false, false }, { act_list, 6, 1, false, true }, { act_save, 6, 1, false, false },
};
enum { TASKS = sizeof tasks / sizeof *tasks };

static void
named_task(struct proc *p)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < TASKS; i++)
		total += tasks[i].weight;
	at = (unsigned)roll(p, total);
	for (unsigned i = 0; i < TASKS; i++) {
		if (at >= tasks[i].weight) {
			at -= tasks[i].weight;
			continue;
		}
		for (unsigned n = 0; n < tasks[i].paths; n++)
			choose_path(p, &p->path[n], tasks[i].whole ? NAME_NONE : tasks[i].directory ? name_directory(p) :
			    name_any(p));
		if (tasks[i].act == act_open && !slot_free(p)) {
			close_file(p, (unsigned)roll(p, FILES_MAX));
			return;
		}
		walk_to(p, tasks[i].paths, tasks[i].act);
		return;
	}
}

static bool
ending(struct proc *p)
{
	return p->sim->stopping || p->mount->leaving;
}

static void inspect_next(struct proc *p);

/* A task that leaves nothing behind. */
static void
look(struct proc *p)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (p->files[i] != NULL) {
			close_file(p, i);
			return;
		}
	p->looks = true;
	choose_path(p, &p->path[0], name_any(p));
	walk_to(p, 1, roll(p, 8) == 0 ? act_readlink : act_stat);
}

bool
workload_looks(struct sim *sim, unsigned client)
{
	bool all = true;

	for (unsigned i = 0; i < sim->plan.processes; i++)
		all &= sim->workload->procs[client][i].looks;
	return all;
}

static void
next_task(struct proc *p)
{
	bool any_file = false;

	p->state = PROC_BUSY;
	p->looks = false;
	if (p->inspecting) {
		inspect_next(p);
		return;
	}
	for (unsigned i = 0; i < FILES_MAX; i++)
		any_file |= p->files[i] != NULL;
	if (ending(p)) {
		for (unsigned i = 0; i < FILES_MAX; i++)
			if (p->files[i] != NULL) {
				close_file(p, i);
				return;
			}
		p->state = PROC_QUIET;
		return;
	}
	if (p->mount->reading) {
		look(p);
		return;
	}
	p->slot = (unsigned)roll(p, FILES_MAX);
	if (rng_chance(dice(p), p->sim->plan.fsync)) {
		if (p->files[p->slot] != NULL && rng_chance(dice(p), 600))
			fsync_file(p, p->files[p->slot]);
		else if (rng_chance(dice(p), 800)) {
			choose_path(p, &p->path[0], NAME_NONE);
			walk_to(p, 1, act_fsyncdir);
		} else
			do_sync(p);
	} else if (rng_chance(dice(p), 5))
		do_statfs(p);
	else if (p->files[p->slot] != NULL && rng_chance(dice(p), 600))
		act_on_file(p);
	else
		named_task(p);
}

/* ---- looking at everything ---- */

/* Directory by directory, every name there might be. */
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
		r = begin(p, OP_READ, c->ino, inspect_read);
		r->offset = p->offset;
		r->size = 128 << 10;
	} else
		r = begin(p, OP_RELEASE, c->ino, inspect_closed);
	r->file = p->file;
	kernel_call(p->kernel, r);
}

static void
inspect_attr(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (is_type(p, c->ino, S_IFDIR) && p->queue_count < QUEUE_MAX)
		p->queue[p->queue_count++] = c->ino;
	if (is_type(p, c->ino, S_IFREG)) {
		r = begin(p, OP_OPEN, c->ino, inspect_read);
		r->flags = O_RDONLY;
	} else if (is_type(p, c->ino, S_IFLNK))
		r = begin(p, OP_READLINK, c->ino, inspected);
	else {
		r = begin(p, OP_LISTXATTR, c->ino, inspected);
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
		kernel_call(p->kernel, begin(p, OP_GETATTR, c->child, inspect_attr));
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
		r = begin(p, OP_READDIR, c->ino, inspect_listed);
		r->offset = c->type == OP_READDIR ? c->next_offset : 0;
		r->size = 4096;
	} else
		r = begin(p, OP_RELEASEDIR, c->ino, inspected);
	r->file = p->file;
	kernel_call(p->kernel, r);
}

static void
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
		rest(p);
		return;
	}
	dir = p->queue[p->queue_at];
	if (p->stage == p->sim->plan.names) {
		kernel_call(p->kernel, begin(p, OP_OPENDIR, dir, inspect_listed));
		return;
	}
	c = begin(p, OP_LOOKUP, dir, inspect_found);
	c->name = (uint8_t)p->stage;
	kernel_call(p->kernel, c);
}

void
workload_inspect(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients && !sim->report.failed; i++) {
		struct proc *p = &sim->workload->procs[i][0];

		if (rng_chance(&sim->work, 500))
			kernel_shrink(p->kernel, 1000);
		p->inspecting = true;
		p->queue[0] = OID_ROOT;
		p->queue_at = 0;
		p->queue_count = 1;
		p->stage = 0;
		p->state = PROC_THINKING;
		sim_after(sim, 1 + rng_below(&sim->work, 1000000), think, p, p->life);
	}
}

/* ---- lives ---- */

static void
shrink_now_and_then(struct sim *sim, void *what, uint64_t number)
{
	struct client *c = sim->clients[rng_below(&sim->work, sim->plan.clients)];

	(void)what;
	(void)number;
	if (sim->stopping)
		return;
	if (c->mount != NULL && c->mount->mounted)
		kernel_shrink(c->mount->kernel, (unsigned)rng_below(&sim->work, 1001));
	sim_after(sim, sim->plan.think_us * UINT64_C(50) + rng_below(&sim->work, 500000), shrink_now_and_then, NULL, 0);
}

void
workload_mounted(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		struct proc *p = &sim->workload->procs[client][i];
		uint64_t life = p->life + 1;

		*p = (struct proc){ .sim = sim, .client = client, .index = i, .life = life,
		    .mount = sim->clients[client]->mount };
		p->kernel = p->mount->kernel;
		rest(p);
	}
}

void
workload_killed(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		sim->workload->procs[client][i].state = PROC_DEAD;
		sim->workload->procs[client][i].life++;
	}
}

void
workload_leaving(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++) {
		struct proc *p = &sim->workload->procs[client][i];

		if (p->state == PROC_QUIET)
			continue;
		if (p->state == PROC_THINKING) {
			p->life++;
			sim_after(sim, 1, think, p, p->life);
		}
	}
}

bool
workload_quiet(struct sim *sim, unsigned client)
{
	for (unsigned i = 0; sim->workload != NULL && i < sim->plan.processes; i++)
		if (sim->workload->procs[client][i].state != PROC_QUIET && sim->workload->procs[client][i].state != PROC_DEAD)
			return false;
	return true;
}

bool
workload_idle(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan.clients; i++)
		for (unsigned j = 0; j < sim->plan.processes; j++)
			if (sim->workload->procs[i][j].state != PROC_QUIET)
				return false;
	return true;
}

void
workload_start(struct sim *sim)
{
	if (sim->report.failed)
		return;
	sim->workload = sim_alloc(sizeof *sim->workload);
	sim->workload->tags = 10;
	for (unsigned i = 0; i < sim->plan.clients; i++)
		workload_mounted(sim, i);
	sim_after(sim, 100000, shrink_now_and_then, NULL, 0);
}

void
workload_free(struct sim *sim)
{
	free(sim->workload);
}
