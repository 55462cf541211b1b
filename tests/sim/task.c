/*
 * task.c - what processes do.
 *
 * A task is one system call, or a few that belong together.  It walks its
 * paths as the kernel does, name by name, looks up the last names, and then
 * acts: act_x() makes calls, each continued by its then().
 */
#include "tests/sim/proc.h"

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
	PAGE		= 4096,
	FUSE_IO_MAX	= 1 << 20,
	LISTING_MIN	= 288,		/* room for one entry of any length */
};

static void walk(struct proc *p);

/* ---- small things ---- */

static void
hold(struct proc *p, uint64_t ino)
{
	if (p->held_count < HELD_MAX) {
		p->held[p->held_count++] = ino;
		kernel_hold(p->kernel, ino);
	}
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

static void
make(struct proc *p, struct call *c)
{
	if (rng_chance(proc_dice(p), 10))
		sim_after(p->sim, proc_roll(p, 300000), interrupt, c, 0);
	kernel_call(p->kernel, c);
}

static void
over(struct call *c)
{
	proc_rest(c->context);
}

static unsigned
name_any(struct proc *p)
{
	return (unsigned)proc_roll(p, p->sim->plan.names);
}

static unsigned
name_directory(struct proc *p)
{
	unsigned most = p->sim->plan.directories < p->sim->plan.names ? p->sim->plan.directories : p->sim->plan.names;

	return (unsigned)proc_roll(p, most);
}

/* ---- walking ---- */

static void
walked_last(struct call *c)
{
	struct proc *p = c->context;
	struct path *path = &p->path[p->walking];

	if (c->error != 0 && c->error != -ENOENT) {
		proc_rest(p);
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

	if (c->error != 0 || !proc_is_type(p, c->child, S_IFDIR)) {
		proc_rest(p);
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
		c = proc_begin(p, OP_LOOKUP, path->dir, walked);
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
	c = proc_begin(p, OP_LOOKUP, path->dir, walked_last);
	c->name = path->name;
	make(p, c);
}

static void
choose_path(struct proc *p, struct path *path, unsigned name)
{
	*path = (struct path){ .depth = (unsigned)proc_roll(p, DEPTH_MAX + 1), .name = (uint8_t)name };
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
	proc_rest(c->context);
}

static void
flushed(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = proc_begin(p, OP_RELEASE, c->ino, released);

	r->file = c->file;
	make(p, r);
}

void
task_close(struct proc *p, unsigned slot)
{
	struct file *f = p->files[slot];
	struct call *c = proc_begin(p, OP_FLUSH, f->ino, flushed);

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
	proc_rest(p);
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

	if (rng_chance(proc_dice(p), 150))
		flags |= O_TRUNC;
	if (rng_chance(proc_dice(p), 150))
		flags |= O_APPEND;
	return flags;
}

static void
act_open(struct proc *p)
{
	const struct path *path = &p->path[0];
	bool exclusive = rng_chance(proc_dice(p), 300);
	struct call *c;

	if (proc_is_type(p, path->child, S_IFDIR) || proc_is_type(p, path->child, S_IFLNK)) {
		proc_rest(p);
		return;
	}
	if (path->child != 0 && !rng_chance(proc_dice(p), 150)) {
		c = proc_begin(p, OP_OPEN, path->child, opened);
		c->flags = open_flags(p);
	} else {
		c = proc_begin(p, OP_CREATE, path->dir, opened);
		c->name = path->name;
		c->known = path->child;
		c->flags = open_flags(p) | O_CREAT | (exclusive ? O_EXCL : 0);
		c->attr.mode = S_IFREG | (0600 + (uint32_t)proc_roll(p, 4) * 044 % 0100);
	}
	make(p, c);
}

/* ---- content ---- */

/* Sizes and offsets where something changes are met more often than others. */
static uint64_t
edge(struct proc *p, uint64_t most)
{
	static const uint64_t edges[] = { 0, 1, INLINE_MAX, PAGE, CELL_SIZE, 2 * CELL_SIZE, REGION_SIZE, 2 * REGION_SIZE };
	uint64_t at = edges[proc_roll(p, sizeof edges / sizeof *edges)], near = proc_roll(p, 9);

	at = near < 4 && at >= near ? at - near : at + near - 4;
	if (rng_chance(proc_dice(p), 400))
		at = proc_roll(p, most);
	return at > most ? proc_roll(p, most < 5000 ? most : 5000) : at;
}

static size_t
write_size(struct proc *p)
{
	uint64_t most = p->sim->plan.file_max;

	if (rng_chance(proc_dice(p), p->sim->plan.big))
		return (size_t)(1 + edge(p, most < FUSE_IO_MAX - 8 ? most : FUSE_IO_MAX - 8));
	switch (proc_roll(p, 4)) {
	case 0: return 1 + (size_t)proc_roll(p, 16);
	case 1: return 1 + (size_t)proc_roll(p, 4200);
	case 2: return INLINE_MAX - 4 + (size_t)proc_roll(p, 9);
	default: return 1 + (size_t)proc_roll(p, 20000);
	}
}

static void
do_write(struct proc *p, struct file *f, void (*then)(struct call *))
{
	struct call *c = proc_begin(p, OP_WRITE, f->ino, then);

	c->file = f;
	c->flags = f->flags & O_APPEND;
	c->size = write_size(p);
	c->offset = (f->flags & O_APPEND) ? 0 : proc_roll(p, 3) == 0 ? 0 : edge(p, p->sim->plan.file_max);
	c->tag = proc_tag(p);
	c->origin = rng_chance(proc_dice(p), 500) ? 0 : c->offset;
	make(p, c);
}

static void
do_read(struct proc *p, struct file *f)
{
	struct call *c = proc_begin(p, OP_READ, f->ino, over);
	uint64_t most = p->sim->plan.file_max;

	c->file = f;
	c->offset = proc_roll(p, 2) == 0 ? 0 : edge(p, most);
	c->size = 1 + (size_t)(rng_chance(proc_dice(p), 300) ? edge(p, 128 << 10) : proc_roll(p, 9000));
	if (!f->direct_io) {
		c->offset -= c->offset % PAGE;
		c->size = (c->size + PAGE - 1) / PAGE * PAGE;
	}
	make(p, c);
}

static void
do_truncate(struct proc *p, uint64_t ino, struct file *f)
{
	struct call *c = proc_begin(p, OP_SETATTR, ino, over);

	c->file = f;
	c->set = SET_SIZE;
	c->attr.size = proc_roll(p, 3) == 0 ? 0 : edge(p, p->sim->plan.file_max);
	make(p, c);
}

static void
do_fallocate(struct proc *p, struct file *f)
{
	static const uint32_t modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE };
	struct call *c = proc_begin(p, OP_FALLOCATE, f->ino, over);

	c->file = f;
	c->flags = modes[proc_roll(p, 3)];
	c->offset = edge(p, p->sim->plan.file_max);
	c->size = 1 + (size_t)edge(p, p->sim->plan.file_max);
	make(p, c);
}

void
task_on_file(struct proc *p)
{
	struct file *f = p->files[p->slot];
	struct call *c;

	switch (proc_roll(p, 16)) {
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
		c = proc_begin(p, OP_GETATTR, f->ino, over);
		break;
	case 13:
		if (rng_chance(proc_dice(p), 500)) {
			do_fallocate(p, f);
			return;
		}
		c = proc_begin(p, OP_LSEEK, f->ino, over);
		c->flags = proc_roll(p, 2) ? SEEK_DATA : SEEK_HOLE;
		c->offset = edge(p, p->sim->plan.file_max);
		break;
	default:
		task_close(p, p->slot);
		return;
	}
	c->file = f;
	make(p, c);
}

void
task_fsync(struct proc *p, struct file *f)
{
	struct call *c = proc_begin(p, OP_FSYNC, f->ino, over);

	c->file = f;
	c->flags = (uint32_t)proc_roll(p, 2);
	make(p, c);
}

/* ---- names ---- */

static void
act_stat(struct proc *p)
{
	if (p->path[0].child == 0)
		proc_rest(p);
	else
		make(p, proc_begin(p, OP_GETATTR, p->path[0].child, over));
}

/* The kernel would mostly stop before a call that is bound to fail; races let some through. */
static bool
hopeless(struct proc *p, bool certain)
{
	if (!certain || rng_chance(proc_dice(p), 100))
		return false;
	proc_rest(p);
	return true;
}

/* A new thing of that name. */
static void
make_new(struct proc *p, enum op_type type, uint32_t mode)
{
	struct call *c;

	if (hopeless(p, p->path[0].child != 0))
		return;
	c = proc_begin(p, type, p->path[0].dir, over);
	c->name = p->path[0].name;
	c->attr.mode = mode;
	if (type == OP_SYMLINK)
		c->name2 = (uint8_t)name_any(p);
	make(p, c);
}

static void
act_mkdir(struct proc *p)
{
	make_new(p, OP_MKDIR, S_IFDIR | 0755);
}

static void
act_mknod(struct proc *p)
{
	make_new(p, OP_MKNOD, S_IFREG | 0640);
}

static void
act_symlink(struct proc *p)
{
	make_new(p, OP_SYMLINK, 0);
}

static void
act_remove(struct proc *p)
{
	const struct path *path = &p->path[0];
	bool directory = proc_is_type(p, path->child, S_IFDIR);
	struct call *c;

	if (hopeless(p, path->child == 0))
		return;
	if (rng_chance(proc_dice(p), 30))
		directory = !directory;
	c = proc_begin(p, directory ? OP_RMDIR : OP_UNLINK, path->dir, over);
	c->name = path->name;
	c->victim = path->child;
	make(p, c);
}

static void
act_rename(struct proc *p)
{
	const struct path *from = &p->path[0], *to = &p->path[1];
	uint64_t kind = proc_roll(p, 10);
	struct call *c;

	if (hopeless(p, from->child == 0))
		return;
	c = proc_begin(p, OP_RENAME, from->dir, over);
	c->name = from->name;
	c->ino2 = to->dir;
	c->name2 = to->name;
	c->flags = kind == 0 ? RENAME_NOREPLACE : kind == 1 ? RENAME_EXCHANGE : 0;
	c->victim = from->child;
	c->victim2 = to->child;
	c->pair = rng_chance(proc_dice(p), 700);
	make(p, c);
}

static void
act_link(struct proc *p)
{
	const struct path *from = &p->path[0], *to = &p->path[1];
	struct call *c;

	if (from->child == 0 || proc_is_type(p, from->child, S_IFDIR)) {
		proc_rest(p);
		return;
	}
	if (hopeless(p, to->child != 0))
		return;
	c = proc_begin(p, OP_LINK, from->child, over);
	c->ino2 = to->dir;
	c->name = to->name;
	make(p, c);
}

static void
act_readlink(struct proc *p)
{
	if (!proc_is_type(p, p->path[0].child, S_IFLNK))
		proc_rest(p);
	else
		make(p, proc_begin(p, OP_READLINK, p->path[0].child, over));
}

static void
act_setattr(struct proc *p)
{
	uint64_t ino = p->path[0].child, kind = proc_roll(p, 4);
	struct call *c;

	if (ino == 0 || proc_is_type(p, ino, S_IFLNK)) {
		proc_rest(p);
		return;
	}
	if (kind == 0 && proc_is_type(p, ino, S_IFREG)) {
		do_truncate(p, ino, NULL);
		return;
	}
	c = proc_begin(p, OP_SETATTR, ino, over);
	if (kind == 1) {
		c->set = SET_MTIME | SET_ATIME;
		c->attr.mtime.tv_sec = 1000000000 + (time_t)proc_roll(p, 1000000);
		c->attr.mtime.tv_nsec = (long)proc_roll(p, 1000000000);
		c->attr.atime = c->attr.mtime;
	} else if (kind == 2)
		c->set = SET_MTIME_NOW | SET_ATIME_NOW;
	else {
		c->set = SET_MODE;
		c->attr.mode = 0400 + (uint32_t)proc_roll(p, 256);
	}
	make(p, c);
}

static void
act_xattr(struct proc *p)
{
	uint64_t ino = p->path[0].child, kind = proc_roll(p, 6);
	struct call *c;

	if (ino == 0 || proc_is_type(p, ino, S_IFLNK)) {
		proc_rest(p);
		return;
	}
	if (kind == 0) {
		c = proc_begin(p, OP_LISTXATTR, ino, over);
		c->size = 4096;
		make(p, c);
		return;
	}
	c = proc_begin(p, kind < 3 ? OP_SETXATTR : kind < 5 ? OP_GETXATTR : OP_REMOVEXATTR, ino, over);
	c->name = (uint8_t)proc_roll(p, XATTRS);
	if (c->type == OP_SETXATTR) {
		c->size = (size_t)proc_roll(p, rng_chance(proc_dice(p), 200) ? XATTR_VALUE_MAX : 100);
		c->tag = proc_tag(p);
		c->flags = proc_roll(p, 5) == 0 ? XATTR_CREATE : proc_roll(p, 5) == 0 ? XATTR_REPLACE : 0;
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
			proc_rest(p);
			return;
		}
		p->file = c->file;
	}
	if (c->type != OP_READDIR || (c->error == 0 && !c->listed_end && p->count-- > 0)) {
		r = proc_begin(p, OP_READDIR, c->ino, list_more);
		r->offset = c->type == OP_READDIR ? c->next_offset : 0;
		r->size = LISTING_MIN + (size_t)proc_roll(p, 2000);
	} else
		r = proc_begin(p, OP_RELEASEDIR, c->ino, over);
	r->file = p->file;
	make(p, r);
}

static void
act_list(struct proc *p)
{
	p->count = 40;
	make(p, proc_begin(p, OP_OPENDIR, p->path[0].dir, list_more));
}

static void
synced_dir(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = proc_begin(p, OP_RELEASEDIR, c->ino, over);

	r->file = p->file;
	make(p, r);
}

static void
opened_dir(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->error != 0) {
		proc_rest(p);
		return;
	}
	p->file = c->file;
	r = proc_begin(p, OP_FSYNCDIR, c->ino, synced_dir);
	r->file = c->file;
	make(p, r);
}

static void
act_fsyncdir(struct proc *p)
{
	make(p, proc_begin(p, OP_OPENDIR, p->path[0].dir, opened_dir));
}

/* ---- write to a new file, rename it over the old one ---- */

static void
save_renamed(struct call *c)
{
	struct proc *p = c->context;
	struct call *r = proc_begin(p, OP_RELEASE, p->file->ino, over);

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

	if (c->type == OP_WRITE && p->stage++ < 1 && rng_chance(proc_dice(p), 300)) {
		do_write(p, p->file, save_written);
		return;
	}
	if (c->type == OP_WRITE && rng_chance(proc_dice(p), p->sim->plan.fsync)) {
		r = proc_begin(p, OP_FSYNC, p->file->ino, save_written);
		r->file = p->file;
		make(p, r);
		return;
	}
	r = proc_begin(p, OP_RENAME, path->dir, save_renamed);
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
		proc_rest(p);
		return;
	}
	p->file = c->file;
	p->stage = 0;
	do_write(p, p->file, save_written);
}

static void
act_save(struct proc *p)
{
	struct call *c = proc_begin(p, OP_CREATE, p->path[0].dir, save_created);

	p->count = name_any(p);
	c->name = (uint8_t)p->count;
	c->flags = O_RDWR | O_CREAT | O_EXCL;
	c->attr.mode = S_IFREG | 0644;
	make(p, c);
}

/* ---- write a file anew, in place ---- */

static void
rewritten(struct call *c)
{
	struct proc *p = c->context;
	struct call *r;

	if (c->type == OP_WRITE && p->stage++ < 1 && rng_chance(proc_dice(p), 300)) {
		do_write(p, p->file, rewritten);
		return;
	}
	if (c->type == OP_WRITE && rng_chance(proc_dice(p), p->sim->plan.fsync)) {
		r = proc_begin(p, OP_FSYNC, p->file->ino, rewritten);
		r->file = p->file;
		make(p, r);
		return;
	}
	r = proc_begin(p, OP_RELEASE, p->file->ino, over);
	r->file = p->file;
	make(p, r);
}

static void
rewrite_opened(struct call *c)
{
	struct proc *p = c->context;

	if (c->error != 0) {
		proc_rest(p);
		return;
	}
	p->file = c->file;
	p->stage = 0;
	do_write(p, p->file, rewritten);
}

static void
act_rewrite(struct proc *p)
{
	struct call *c;

	if (!proc_is_type(p, p->path[0].child, S_IFREG)) {
		proc_rest(p);
		return;
	}
	c = proc_begin(p, OP_OPEN, p->path[0].child, rewrite_opened);
	c->flags = O_RDWR | O_TRUNC;
	make(p, c);
}

/* ---- choosing ---- */

void
task_fsyncdir(struct proc *p)
{
	choose_path(p, &p->path[0], NAME_NONE);
	walk_to(p, 1, act_fsyncdir);
}

void
task_sync(struct proc *p)
{
	make(p, proc_begin(p, OP_SYNC, 0, over));
}

void
task_statfs(struct proc *p)
{
	make(p, proc_begin(p, OP_STATFS, OID_ROOT, over));
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
	{ act_rewrite, 6, 1, false, false },
};
enum { TASKS = sizeof tasks / sizeof *tasks };

void
task_named(struct proc *p)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < TASKS; i++)
		total += tasks[i].weight;
	at = (unsigned)proc_roll(p, total);
	for (unsigned i = 0; i < TASKS; i++) {
		if (at >= tasks[i].weight) {
			at -= tasks[i].weight;
			continue;
		}
		for (unsigned n = 0; n < tasks[i].paths; n++)
			choose_path(p, &p->path[n], tasks[i].whole ? NAME_NONE : tasks[i].directory ? name_directory(p) :
			    name_any(p));
		if (tasks[i].act == act_open && !slot_free(p)) {
			task_close(p, (unsigned)proc_roll(p, FILES_MAX));
			return;
		}
		walk_to(p, tasks[i].paths, tasks[i].act);
		return;
	}
}

void
task_looking(struct proc *p)
{
	choose_path(p, &p->path[0], proc_roll(p, 2) ? name_any(p) : name_directory(p));
	walk_to(p, 1, proc_roll(p, 4) == 0 ? act_readlink : act_stat);
}
