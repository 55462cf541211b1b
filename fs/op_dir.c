/*
 * op_dir.c - listings, extended attributes, and the state of the volume.
 * Retry functions, as in op_name.c.
 *
 * A listing's offsets are made of name tokens: 0 and 1 and 2 stand before
 * ".", before ".." and before the first name; a name's own offset is 3 plus
 * the first 62 bits of its token.  They stay true whatever else changes.
 */
#include <dirent.h>
#include <sys/xattr.h>

#include "fs/core.h"

static uint64_t
offset_of(const struct rec *r)
{
	struct cursor c = cursor_read(r->subkey, sizeof r->subkey);

	return (cursor_get_u64(&c) >> 2) + 3;
}

/* What the entry takes in a reply: struct fuse_dirent or fuse_direntplus, padded. */
static size_t
reply_size(const struct op *op, size_t name_len)
{
	return ((op->plus ? 152 : 24) + name_len + 7) / 8 * 8;
}

struct listing {
	struct op	*op;
	size_t		 room, size;
};

/* 1; 0 when there is no room left, or -ENOMEM. */
static int
list_add(struct listing *l, uint64_t ino, uint64_t offset, uint8_t type, struct bytes name)
{
	struct op *op = l->op;
	char *copy;

	if (reply_size(op, name.len) > l->room)
		return 0;
	if (op->entries_count == l->size) {
		size_t size = l->size == 0 ? 64 : l->size * 2;
		struct dirent_out *more = arena_alloc(&op->arena, size * sizeof *more);

		if (more == NULL)
			return -ENOMEM;
		if (op->entries_count > 0)
			memcpy(more, op->entries, op->entries_count * sizeof *more);
		op->entries = more;
		l->size = size;
	}
	if ((copy = arena_alloc(&op->arena, name.len + 1)) == NULL)
		return -ENOMEM;
	memcpy(copy, name.data, name.len);
	op->entries[op->entries_count++] = (struct dirent_out){ .ino = ino, .offset = offset, .type = type,
	    .name_len = name.len, .name = copy };
	l->room -= reply_size(op, name.len);
	return 1;
}

/* What goes wrong after the first entry is for the next call: an empty reply would mean the end. */
static int
list_end(const struct op *op, int error)
{
	return op->entries_count > 0 ? 0 : error;
}

static uint64_t
parent_of(struct object *dir)
{
	struct rec *r = object_rec(dir, KIND_PARENT, NULL, 0);
	uint64_t oid;

	return r == NULL || r->absent || r->damaged ||
	    parent_decode(&oid, (struct bytes){ r->value, r->value_len }) < 0 ? dir->oid : oid;
}

/*
 * The entry just added brings its child along, as a LOOKUP would: once names
 * in the directory are looked up at all, and if nothing has to be asked for.
 */
static void
add_child(struct engine *e, struct op *op, const struct object *dir)
{
	struct dirent_out *d = &op->entries[op->entries_count - 1];
	struct object *o = op->plus && dir->looked_into ? object_find(e, d->ino) : NULL;
	struct attr *attr;

	if (o == NULL || o->mode == MODE_NONE || !o->attr_known || o->gone || o->recall != RECALL_NONE ||
	    (attr = arena_alloc(&op->arena, sizeof *attr)) == NULL)
		return;
	*attr = o->attr;
	attr->symlink = (struct bytes){ NULL, 0 };
	d->attr = attr;
	d->cacheable = dir->recall == RECALL_NONE && !o->linked;
	d->name_cacheable = dir->recall == RECALL_NONE && names_quiet(e, dir);
	o->lookups++;
}

int
op_readdir(struct engine *e, struct op *op)
{
	struct object *dir = need_object(e, op, op->ino, MODE_SHARED);
	struct listing l = { .op = op, .room = op->size };
	uint8_t from[TOKEN_SIZE] = { 0 };
	struct cursor c = cursor_over(from, sizeof from);
	struct bytes name;
	uint8_t type;
	int error;

	if (dir == NULL)
		return -EAGAIN;
	if (!S_ISDIR(dir->attr.mode))
		return -ENOTDIR;
	if (op->offset >= 3)
		cursor_put_u64(&c, (op->offset - 3 + 1) << 2);
	if (op->offset >= 3 + (UINT64_MAX >> 2))
		return 0;
	if (!dir->entries.all && !object_covered(&dir->entries, from, sizeof from)) {
		need_cover(e, op, dir, KIND_ENTRY);
		return -EAGAIN;
	}
	if (op->offset < 1 && (error = list_add(&l, dir->oid, 1, DT_DIR, (struct bytes){ (const uint8_t *)".", 1 })) <= 0)
		return list_end(op, error);
	if (op->offset < 2 && (error = list_add(&l, parent_of(dir), 2, DT_DIR, (struct bytes){ (const uint8_t *)"..", 2 })) <= 0)
		return list_end(op, error);
	for (struct rec *r = object_rec_from(dir, KIND_ENTRY, from, sizeof from);
	    r != NULL && r->kind == KIND_ENTRY; r = object_rec_after(dir, r)) {
		if (!object_covered(&dir->entries, r->subkey, TOKEN_SIZE))
			break;
		if (r->absent)
			continue;
		if (r->damaged || entry_decode(&name, &type, (struct bytes){ r->value, r->value_len }) < 0)
			return list_end(op, -EIO);
		if ((error = list_add(&l, r->oref, offset_of(r), type, name)) <= 0)
			return list_end(op, error);
		add_child(e, op, dir);
	}
	/* An empty reply means the end: go on reading instead. */
	if (!dir->entries.all && op->entries_count == 0) {
		need_cover(e, op, dir, KIND_ENTRY);
		return -EAGAIN;
	}
	return 0;
}

/* ---- extended attributes ---- */

static bool
is_user(struct bytes name)
{
	return name.len > 5 && memcmp(name.data, "user.", 5) == 0;
}

int
op_getxattr(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);
	uint8_t token[TOKEN_SIZE];
	struct bytes name, value;
	struct rec *r;

	if (!is_user(op->name))
		return -EOPNOTSUPP;
	if (o == NULL)
		return -EAGAIN;
	if (!(o->attr.flags & ATTR_HAS_XATTRS))
		return -ENODATA;
	name_token(e->keys, o->oid, op->name, token);
	if (!need_record(e, op, o, KIND_XATTR, token, sizeof token, &r))
		return -EAGAIN;
	if (r == NULL)
		return -ENODATA;
	if (r->damaged || xattr_decode(&name, &value, (struct bytes){ r->value, r->value_len }) < 0)
		return -EIO;
	return op_copy(op, value.data, value.len);
}

int
op_setxattr(struct engine *e, struct op *op)
{
	struct object *o = need_object(e, op, op->ino, MODE_EXCLUSIVE);
	uint8_t token[TOKEN_SIZE], value[VALUE_MAX];
	struct rec *rec;
	ssize_t len;
	int r;

	if (!is_user(op->name))
		return -EOPNOTSUPP;
	if (op->name.len > NAME_MAX_BYTES)
		return -ERANGE;
	if (op->data.len > XATTR_VALUE_MAX)
		return -ENOSPC;
	if (o == NULL)
		return -EAGAIN;
	name_token(e->keys, o->oid, op->name, token);
	if (!need_record(e, op, o, KIND_XATTR, token, sizeof token, &rec))
		return -EAGAIN;
	if (rec == NULL && (op->type == OP_REMOVEXATTR || op->flags & XATTR_REPLACE))
		return -ENODATA;
	if (rec != NULL && op->type == OP_SETXATTR && op->flags & XATTR_CREATE)
		return -EEXIST;
	if (op->type == OP_REMOVEXATTR)
		r = txn_delete(e, o, KIND_XATTR, token, sizeof token);
	else {
		if ((r = credit_room(e, op, ATTR_BYTES + RECORD_BYTES + VALUE_MAX)) < 0)
			return r;
		if ((len = xattr_encode(op->name, op->data, value, sizeof value)) < 0)
			return -ENOSPC;
		r = txn_put(e, o, KIND_XATTR, token, sizeof token, (struct bytes){ value, len }, 0, NULL, 0);
		o->attr.flags |= ATTR_HAS_XATTRS;
	}
	o->attr.ctime = e->real;
	txn_touch_attr(e, o);
	return r;
}

int
op_listxattr(struct engine *e, struct op *op)
{
	static const uint8_t low[TOKEN_SIZE];
	struct object *o = need_object(e, op, op->ino, MODE_SHARED);
	struct bytes name, value;
	struct rec *r;
	uint8_t *list, *at;
	size_t size = 0;

	if (o == NULL)
		return -EAGAIN;
	if (!(o->attr.flags & ATTR_HAS_XATTRS))
		return op_copy(op, NULL, 0);
	if (!need_cover(e, op, o, KIND_XATTR))
		return -EAGAIN;
	for (r = object_rec_from(o, KIND_XATTR, low, sizeof low); r != NULL && r->kind == KIND_XATTR; r = object_rec_after(o, r))
		size += r->value_len + 1;
	if ((list = at = arena_alloc(&op->arena, size + 1)) == NULL)
		return -ENOMEM;
	for (r = object_rec_from(o, KIND_XATTR, low, sizeof low); r != NULL && r->kind == KIND_XATTR; r = object_rec_after(o, r)) {
		if (r->absent)
			continue;
		if (r->damaged || xattr_decode(&name, &value, (struct bytes){ r->value, r->value_len }) < 0)
			return -EIO;
		memcpy(at, name.data, name.len);
		at[name.len] = 0;
		at += name.len + 1;
	}
	return op_copy(op, list, at - list);
}

int
op_statfs(struct engine *e, struct op *op)
{
	credit_ask(e, 1000);
	/* Never waits: the last answer will do. */
	op->space.total_bytes = e->space.total_bytes;
	op->space.free_bytes = e->space.free_bytes;
	op->space.objects = e->space.objects;
	return 0;
}

/*
 * Reads META and keeps it leased: who changes the volume's format recalls it
 * first.  The root, which is needed next, comes in the same round trip.
 */
int
op_meta(struct engine *e, struct op *op)
{
	bool leased = need_lease(e, op, OID_META, MODE_SHARED) != NULL;
	struct object *o = object_find(e, OID_META);
	struct rec *rec = NULL;
	struct meta meta;
	int r;

	if (o == NULL || !need_record(e, op, o, KIND_META, NULL, 0, &rec))
		leased = false;
	if (leased && rec == NULL)
		return -ENOENT;
	if (need_object(e, op, OID_ROOT, MODE_SHARED) == NULL || !leased)
		return -EAGAIN;
	if (rec->damaged || (r = meta_decode(&meta, (struct bytes){ rec->value, rec->value_len })) == -EBADMSG)
		return -EBADMSG;
	if (r < 0)
		return r;
	op->features.incompat = meta.incompat;
	op->features.ro_compat = meta.ro_compat;
	return 0;
}
