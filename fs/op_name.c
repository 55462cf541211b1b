/*
 * op_name.c - operations on names: lookup, make, link, remove, rename.
 *
 * Each is a retry function: it states all it needs, returns -EAGAIN while
 * something is missing and has then changed nothing; otherwise it runs to its
 * end and returns 0 or a negative errno.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs/core.h"

static int
check_name(struct bytes name)
{
	if (name.len == 0)
		return -ENOENT;
	return name.len > NAME_MAX_BYTES ? -ENAMETOOLONG : 0;
}

int
op_find_entry(struct engine *e, struct op *op, struct object *dir, struct bytes name, struct entry *entry)
{
	struct bytes stored;

	name_token(e->keys, dir->oid, name, entry->token);
	if (!need_record(e, op, dir, KIND_ENTRY, entry->token, TOKEN_SIZE, &entry->rec))
		return -EAGAIN;
	entry->type = DT_UNKNOWN;
	if (entry->rec == NULL)
		return 0;
	if (entry->rec->damaged || entry->rec->oref == 0 ||
	    entry_decode(&stored, &entry->type, (struct bytes){ entry->rec->value, entry->rec->value_len }) < 0)
		return -EIO;
	return 0;
}

/* The directory is asked for; what is known of the name only under its lease comes along. */
static int
foresee_entry(struct engine *e, struct op *op, uint64_t oid, struct bytes name)
{
	struct object *dir = object_find(e, oid);
	struct entry entry;

	if (dir != NULL && dir->mode == MODE_NONE)
		op_find_entry(e, op, dir, name, &entry);
	return -EAGAIN;
}

/*
 * The object a name leads to, leased; NULL as need_object().  A name whose
 * object is gone can only be an old one: it is forgotten and asked for again,
 * once.
 */
struct object *
op_need_child(struct engine *e, struct op *op, struct object *dir, const struct entry *entry, enum mode mode)
{
	uint64_t oid = entry->rec->oref;
	struct object *o = object_find(e, oid);
	struct rec *again;

	if (o != NULL && o->dead && !op->state->rechecked && entry->rec->stored && !entry->rec->dirty) {
		op->state->rechecked = true;
		object_rec_remove(dir, entry->rec);
		dir->entries = (struct cover){ 0 };
		need_record(e, op, dir, KIND_ENTRY, entry->token, TOKEN_SIZE, &again);
		return NULL;
	}
	return need_object(e, op, oid, mode);
}

static bool
set_hint(struct object *o, const struct object *dir, struct bytes name)
{
	if (o->hint_parent == dir->oid && o->hint_name != NULL && strlen(o->hint_name) == name.len &&
	    memcmp(o->hint_name, name.data, name.len) == 0)
		return true;
	free(o->hint_name);
	o->hint_name = strndup((const char *)name.data, name.len);
	o->hint_parent = dir->oid;
	return o->hint_name != NULL;
}

static void
touch_directory(struct engine *e, struct object *dir, int nlink)
{
	dir->attr.mtime = dir->attr.ctime = e->real;
	dir->attr.nlink += nlink;
	dir->changed_ms = e->now_ms;
	if (dir->turn) {
		dir->turn = false;
		dir->hold_until = 0;	/* a recall goes on when the event is settled */
	}
	txn_touch_attr(e, dir);
}

/* The answer of operations that give the kernel a name and its inode. */
static void
answer_entry(const struct engine *e, struct op *op, const struct object *dir, struct object *o)
{
	op_answer(op, o);
	op->child = o->oid;
	op->cacheable = op->cacheable && dir->recall == RECALL_NONE;
	op->name_cacheable = o->recall == RECALL_NONE && dir->recall == RECALL_NONE && names_quiet(e, dir);
	o->lookups++;
}

int
op_lookup(struct engine *e, struct op *op)
{
	struct object *dir = need_object(e, op, op->ino, MODE_SHARED), *o;
	struct entry entry;
	int r, r2;

	if ((r = check_name(op->name)) < 0)
		return r;
	if ((r = caller_looks_up(e, op)) == -ESTALE)
		return r;
	if (dir == NULL)
		return foresee_entry(e, op, op->ino, op->name);
	if ((r2 = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r2;
	o = entry.rec == NULL ? NULL : op_need_child(e, op, dir, &entry, MODE_SHARED);
	if (r < 0 || (entry.rec != NULL && o == NULL))
		return -EAGAIN;
	if (o == NULL) {
		op->error = -ENOENT;
		op->name_cacheable = dir->recall == RECALL_NONE && names_quiet(e, dir);
	} else {
		op->error = 0;
		set_hint(o, dir, op->name);
		answer_entry(e, op, dir, o);
	}
	dir->looked_into = true;
	caller_looked_up(e, op, dir);
	return op->error;
}

/* ---- making ---- */

static int
add_entry(struct engine *e, struct object *dir, const struct entry *entry, struct bytes name, uint8_t type, uint64_t oid)
{
	uint8_t value[512];
	ssize_t len = entry_encode(name, type, value, sizeof value);

	if (len < 0)
		return len;	/* it cannot be: check_name() has looked at it */
	return txn_put(e, dir, KIND_ENTRY, entry->token, TOKEN_SIZE, (struct bytes){ value, len }, oid, NULL, 0);
}

static int
set_parent(struct engine *e, struct object *o, uint64_t parent)
{
	uint8_t value[64];
	ssize_t len = parent_encode(parent, value, sizeof value);

	return len < 0 ? (int)len : txn_put(e, o, KIND_PARENT, NULL, 0, (struct bytes){ value, len }, 0, NULL, 0);
}

/* One out of the journal keeps its id, which the session still owns. */
static uint64_t
chosen_oid(struct engine *e, const struct op *op)
{
	uint64_t oid = op->replay != NULL && op->replay->keep_oids ? op->replay->entry->child : 0;
	struct object *o = object_find(e, oid);

	/* It may have been claimed, and even given away, before it is born. */
	if (o != NULL && o->adopted && !o->attr_known) {
		o->adopted = false;
		o->mode = MODE_NONE;
	}
	if (o != NULL && o->mode == MODE_NONE) {
		o->grant = o->version = 0;	/* as of any that is born */
		o->released = false;
	}
	return oid != 0 && (o == NULL || (o->mode == MODE_NONE && !o->attr_known && !o->dead)) ? oid : oid_new(e);
}

static struct object *
birth(struct engine *e, struct op *op, const struct object *dir, uint32_t mode)
{
	uint64_t oid = chosen_oid(e, op);
	struct object *o = oid == 0 || (op->replay == NULL && object_find(e, oid) != NULL) ? NULL : object_get(e, oid);
	struct attr a = { .mode = mode, .uid = op->uid, .gid = op->gid, .nlink = S_ISDIR(mode) ? 2 : 1,
	    .rdev = op->attr.rdev, .atime = e->real, .mtime = e->real, .ctime = e->real, .btime = e->real };

	if (o == NULL)
		return NULL;
	if (dir->attr.mode & S_ISGID) {
		a.gid = dir->attr.gid;
		if (S_ISDIR(mode))
			a.mode |= S_ISGID;
	}
	if (S_ISLNK(mode)) {
		a.symlink = op->name2;
		a.size = op->name2.len;
	}
	if (object_set_attr(o, &a) < 0) {
		object_drop(e, o);
		return NULL;
	}
	lease_taken(e, o, MODE_EXCLUSIVE);
	o->born = o->parents_known = true;
	o->gone = o->linked = false;	/* it may have been here before, and lost (redo.c) */
	o->entries.all = o->regions.all = o->xattrs.all = o->tail_tidy = true;
	txn_touch_attr(e, o);
	return o;
}

/* There was no memory for all of it. */
static void
unborn(struct engine *e, struct object *o)
{
	txn_clean(e, o);
	o->mode = MODE_NONE;
	o->born = false;
	object_forget(o);
	object_drop(e, o);
}

static int
open_existing(struct engine *e, struct op *op, struct object *dir, const struct entry *entry)
{
	bool truncate = op->flags & O_TRUNC;
	struct object *o = op_need_child(e, op, dir, entry, truncate ? MODE_EXCLUSIVE : MODE_SHARED);
	int r;

	if (o == NULL)
		return -EAGAIN;
	if (S_ISDIR(o->attr.mode))
		return -EISDIR;
	if (!S_ISREG(o->attr.mode))
		return -ESTALE;		/* another client made it meanwhile: the kernel looks it up again and follows */
	if (truncate) {
		if ((r = data_truncate(e, op, o, 0)) < 0)
			return r;
		o->attr.mtime = o->attr.ctime = e->real;
	}
	if (op_open_handle(e, op, o) == NULL)
		return -ENOMEM;
	set_hint(o, dir, op->name);
	answer_entry(e, op, dir, o);
	/* The kernel takes attributes that come with CREATE for the newest, even on a file it knows better. */
	op->cacheable = op->name_cacheable = false;
	return 0;
}

int
op_make(struct engine *e, struct op *op)
{
	uint32_t mode = op->type == OP_MKDIR ? (op->attr.mode & 07777) | S_IFDIR :
	    op->type == OP_SYMLINK ? S_IFLNK | 0777 :
	    op->type == OP_CREATE || (op->attr.mode & S_IFMT) == 0 ? (op->attr.mode & 07777) | S_IFREG : op->attr.mode;
	struct object *dir = need_object(e, op, op->ino, MODE_EXCLUSIVE), *o;
	struct entry entry;
	int r;

	if ((r = check_name(op->name)) < 0)
		return r;
	if (op->type == OP_SYMLINK && op->name2.len > SYMLINK_MAX)
		return -ENAMETOOLONG;
	if (dir == NULL)
		return foresee_entry(e, op, op->ino, op->name);
	if ((r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec != NULL && op->type == OP_CREATE && !(op->flags & O_EXCL))
		return open_existing(e, op, dir, &entry);
	if (entry.rec != NULL)
		return -EEXIST;
	if (dir->gone)
		return -ENOENT;
	if ((r = credit_room(e, op, OBJECT_COST + NAME_COST + 2 * ATTR_BYTES + RECORD_BYTES + op->name2.len)) < 0)
		return r;
	if (e->oids_left == 0 && e->next_oids_left == 0)
		return park(op, WAIT_OIDS, 0);
	if ((o = birth(e, op, dir, mode)) == NULL)
		return -ENOMEM;
	if (!set_hint(o, dir, op->name) || (S_ISDIR(mode) && set_parent(e, o, dir->oid) < 0) ||
	    add_entry(e, dir, &entry, op->name, IFTODT(mode), o->oid) < 0) {
		unborn(e, o);
		return -ENOMEM;
	}
	if (op->type == OP_CREATE && op_open_handle(e, op, o) == NULL) {
		txn_delete(e, dir, KIND_ENTRY, entry.token, TOKEN_SIZE);
		unborn(e, o);
		return -ENOMEM;
	}
	touch_directory(e, dir, S_ISDIR(mode) ? 1 : 0);
	answer_entry(e, op, dir, o);
	op->made = true;
	return 0;
}

/* Under a new name it must not be found with what it had before it was truncated, as the last commit has it still (R4). */
static void
named_anew(struct engine *e, struct object *o)
{
	if (o->hold)
		txn_order(e, o);
}

int
op_link(struct engine *e, struct op *op)
{
	struct object *dir = need_object(e, op, op->ino2, MODE_EXCLUSIVE);
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	struct entry entry;
	int r;

	if ((r = check_name(op->name)) < 0)
		return r;
	if (dir == NULL || o == NULL)
		return -EAGAIN;
	if ((r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec != NULL)
		return -EEXIST;
	if (S_ISDIR(o->attr.mode))
		return -EPERM;
	if (dir->gone || o->gone)
		return -ENOENT;
	if ((r = credit_room(e, op, NAME_COST)) < 0)
		return r;
	if ((r = add_entry(e, dir, &entry, op->name, IFTODT(o->attr.mode), o->oid)) < 0)
		return r;
	o->attr.nlink++;
	o->linked = true;
	o->attr.ctime = e->real;
	txn_touch_attr(e, o);
	named_anew(e, o);
	touch_directory(e, dir, 0);
	answer_entry(e, op, dir, o);
	return 0;
}

/* ---- removing ---- */

/* 0: empty; -ENOTEMPTY, -EAGAIN. */
static int
check_empty(struct engine *e, struct op *op, struct object *dir)
{
	static const uint8_t low[TOKEN_SIZE];
	struct rec *r = object_rec_from(dir, KIND_ENTRY, low, sizeof low);

	for (; r != NULL && r->kind == KIND_ENTRY; r = object_rec_after(dir, r))
		if (!r->absent)
			return -ENOTEMPTY;
	return need_cover(e, op, dir, KIND_ENTRY) ? 0 : -EAGAIN;
}

/* One name of o is gone. */
static void
drop_name(struct engine *e, struct object *o)
{
	if (S_ISDIR(o->attr.mode))
		o->attr.nlink = 0;
	else if (o->attr.nlink > 0)
		o->attr.nlink--;
	o->attr.ctime = e->real;
	txn_touch_attr(e, o);
	if (o->attr.nlink > 0)
		return;
	o->gone = true;
	o->pinned_before = o->unpinned || (e->resumed && !o->born);
	if (o->opens > 0) {
		if (!o->pinned)
			object_pin(e, o, true);
	} else if (!o->pinned_elsewhere)
		data_moot(e, o);
	else if (data_dirty(o) || o->hold)
		o->ordered = true;	/* who has it open elsewhere may close it: later is too late */
}

/* For the journal. */
static void
note_victim(struct op *op, const struct object *o)
{
	op->victim = o->oid;
	op->victim_version = o->version;
	op->victim_nlink = o->attr.nlink;
}

int
op_unlink(struct engine *e, struct op *op)
{
	struct object *dir = need_object(e, op, op->ino, MODE_EXCLUSIVE), *o;
	bool rmdir = op->type == OP_RMDIR;
	struct entry entry;
	int r;

	if ((r = check_name(op->name)) < 0)
		return r;
	if (dir == NULL)
		return -EAGAIN;
	if ((r = op_find_entry(e, op, dir, op->name, &entry)) < 0)
		return r;
	if (entry.rec == NULL)
		return -ENOENT;
	if ((o = op_need_child(e, op, dir, &entry, MODE_EXCLUSIVE)) == NULL)
		return -EAGAIN;
	if (S_ISDIR(o->attr.mode) != rmdir)
		return rmdir ? -ENOTDIR : -EISDIR;
	/* A copy that somebody here has open will not stay what it is. */
	if (op->redo && op->replay == NULL && o->opens > 0)
		return -EBUSY;
	if (rmdir && (r = check_empty(e, op, o)) < 0)
		return r;
	txn_delete(e, dir, KIND_ENTRY, entry.token, TOKEN_SIZE);
	touch_directory(e, dir, rmdir ? -1 : 0);
	drop_name(e, o);
	note_victim(op, o);
	lease_changed(e, op, o);
	return 0;
}

/* ---- renaming ---- */

/* -EINVAL when `oid` is `dir` or lies above it; all on the way up is leased. */
static int
check_not_above(struct engine *e, struct op *op, uint64_t oid, struct object *dir)
{
	uint64_t at = dir->oid;

	for (unsigned depth = 0; depth < NEEDS_MAX; depth++) {
		struct object *o;
		struct rec *r;

		if (at == oid)
			return -EINVAL;
		if (at == OID_ROOT)
			return 0;
		if ((o = need_object(e, op, at, MODE_SHARED)) == NULL ||
		    !need_record(e, op, o, KIND_PARENT, NULL, 0, &r))
			return -EAGAIN;
		if (r == NULL || r->damaged || parent_decode(&at, (struct bytes){ r->value, r->value_len }) < 0)
			return o->gone ? -ENOENT : -EIO;
	}
	return -ELOOP;
}

struct renaming {
	struct object	*from, *to;		/* directories */
	struct entry	 source, target;
	struct object	*moved, *replaced;	/* replaced: NULL when the new name is free */
	bool		 exchange;
};

static int
rename_gather(struct engine *e, struct op *op, struct renaming *n)
{
	int r, r2;

	n->from = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	n->to = op->ino2 == op->ino ? n->from : need_object(e, op, op->ino2, MODE_EXCLUSIVE);
	if (n->from == NULL || n->to == NULL)
		return -EAGAIN;
	r = op_find_entry(e, op, n->from, op->name, &n->source);
	r2 = op_find_entry(e, op, n->to, op->name2, &n->target);
	if (r < 0 || r2 < 0)
		return r < 0 ? r : r2;
	if (n->source.rec == NULL)
		return -ENOENT;
	if (n->target.rec != NULL && op->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (n->target.rec == NULL && n->exchange)
		return -ENOENT;
	if (n->to->gone)
		return -ENOENT;
	n->moved = op_need_child(e, op, n->from, &n->source, MODE_EXCLUSIVE);
	if (n->target.rec != NULL)
		n->replaced = op_need_child(e, op, n->to, &n->target, MODE_EXCLUSIVE);
	return n->moved == NULL || (n->target.rec != NULL && n->replaced == NULL) ? -EAGAIN : 0;
}

static int
rename_check(struct engine *e, struct op *op, struct renaming *n)
{
	bool moved_dir = S_ISDIR(n->moved->attr.mode);
	bool other_dir = n->replaced != NULL && S_ISDIR(n->replaced->attr.mode);
	int r;

	if (n->replaced != NULL && !n->exchange) {
		if (moved_dir != other_dir)
			return moved_dir ? -ENOTDIR : -EISDIR;
		if (other_dir && (r = check_empty(e, op, n->replaced)) < 0)
			return r;
	}
	if (n->from == n->to || !(moved_dir || (n->exchange && other_dir)))
		return 0;
	/* Moves of directories are serialised, or two of them could make a loop. */
	if (need_lease(e, op, OID_RENAME, MODE_EXCLUSIVE) == NULL)
		return -EAGAIN;
	if (moved_dir && (r = check_not_above(e, op, n->moved->oid, n->to)) < 0)
		return r;
	if (n->exchange && other_dir && (r = check_not_above(e, op, n->replaced->oid, n->from)) < 0)
		return r;
	return 0;
}

/* The name in `dir` that `entry` stands for leads to o from now on.  -ENOMEM: nothing is changed. */
static int
place(struct engine *e, struct object *dir, const struct entry *entry, struct bytes name, struct object *o,
    const struct object *from)
{
	bool moved = from != dir && S_ISDIR(o->attr.mode);
	int r = moved ? set_parent(e, o, dir->oid) : 0;

	if (r < 0)
		return r;
	if ((r = add_entry(e, dir, entry, name, IFTODT(o->attr.mode), o->oid)) < 0) {
		if (moved)
			set_parent(e, o, from->oid);	/* of the same size, so that it cannot fail */
		return r;
	}
	o->attr.ctime = e->real;
	txn_touch_attr(e, o);
	set_hint(o, dir, name);
	return 0;
}

int
op_rename(struct engine *e, struct op *op)
{
	struct renaming n = { .exchange = op->flags & RENAME_EXCHANGE };
	bool across, moved_dir, other_dir;
	int r;

	if ((r = check_name(op->name)) < 0 || (r = check_name(op->name2)) < 0)
		return r;
	if (op->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if ((r = rename_gather(e, op, &n)) < 0)
		return r;
	/* Two names of one file: nothing to do. */
	if (n.moved != n.replaced && (r = rename_check(e, op, &n)) < 0)
		return r;
	/* Out of the journal it comes with the one it replaced then. */
	if (n.moved == n.replaced || n.replaced == NULL)
		op->victim = 0;
	if (n.moved == n.replaced)
		return 0;
	if ((r = credit_room(e, op, (n.exchange ? 2 : 1) * (NAME_COST + ATTR_BYTES + RECORD_BYTES))) < 0)
		return r;
	lease_changed(e, op, n.moved);
	if (n.replaced != NULL)
		lease_changed(e, op, n.replaced);
	op->moved = n.moved->oid;
	/* The kernel moves what it knows of the names, with the time they are valid for. */
	n.from->cached_replies += n.exchange;
	n.to->cached_replies++;
	if (n.exchange)
		note_victim(op, n.replaced);
	across = n.from != n.to;
	moved_dir = S_ISDIR(n.moved->attr.mode);
	other_dir = n.replaced != NULL && S_ISDIR(n.replaced->attr.mode);
	if ((r = place(e, n.to, &n.target, op->name2, n.moved, n.from)) < 0)
		return r;
	named_anew(e, n.moved);
	if (n.exchange) {
		if ((r = place(e, n.from, &n.source, op->name, n.replaced, n.to)) < 0) {
			/* Back, by records of the same sizes: that cannot fail. */
			place(e, n.to, &n.target, op->name2, n.replaced, n.to);
			if (moved_dir)
				set_parent(e, n.moved, n.from->oid);
			return r;
		}
		named_anew(e, n.replaced);
		touch_directory(e, n.from, across ? other_dir - moved_dir : 0);
		touch_directory(e, n.to, across ? moved_dir - other_dir : 0);
		return 0;
	}
	txn_delete(e, n.from, KIND_ENTRY, n.source.token, TOKEN_SIZE);
	touch_directory(e, n.from, moved_dir ? -1 : 0);
	touch_directory(e, n.to, moved_dir - other_dir);
	if (n.replaced == NULL)
		return 0;
	drop_name(e, n.replaced);
	note_victim(op, n.replaced);
	/* The old content must not go before the new has arrived (R4). */
	n.moved->over = e->sequence + 1;
	if (data_dirty(n.moved))
		txn_order(e, n.moved);
	return 0;
}
