/* audit.c - what the engine says of itself: status, unsaved work, invariants. */
#include "fs/core.h"

#include <inttypes.h>
#include <stdio.h>

void
engine_status(const struct engine *e, struct engine_status *to)
{
	const struct object *o;

	*to = e->stats;
	to->attached = e->attached;
	to->version = e->version;
	to->sessions = e->sessions;
	to->offline = e->offline;
	to->offline_since = e->offline_since;
	to->alone = e->sessions == 1 && (lease_valid(e) || e->offline);
	to->busy = e->now_ms < e->busy_until || e->resend_at != 0;
	to->asleep = e->sleep != AWAKE;
	to->lapsed = e->had_session && !lease_valid(e) && !e->offline;
	to->reclaiming = e->reclaiming;
	to->dirty_bytes = e->dirty_bytes;
	to->sequence = e->sequence;
	to->commits_pending = e->inflight_count;
	to->objects = e->objects;
	to->cached_bytes = e->cells_bytes;
	to->ops_parked = e->parked_count;
	to->error = e->error;
	to->dirty_objects = e->unsaved;
	to->journal_bytes = e->journal.bytes - e->journal.dead_bytes;
	to->journal_full = e->journal.broken;
	to->journal_stranded = e->journal.stranded;
	to->journal_error = e->journal.stranded ? e->journal.redo_error : 0;
	if (e->journal.stranded)
		TAILQ_FOREACH(o, &e->lru, lru_link)
			to->waiting_objects += o->waits;
}

static void
path_of(struct engine *e, const struct object *o, char *to, size_t size)
{
	char *at = to + size - 1;

	*at = '\0';
	for (unsigned depth = 0; o != NULL && o->oid != OID_ROOT && depth < 256; depth++) {
		const char *name = o->hint_name != NULL ? o->hint_name : "?";
		size_t len = strlen(name);

		if ((size_t)(at - to) < len + 1)
			break;
		at -= len;
		memcpy(at, name, len);
		*--at = '/';
		o = object_find(e, o->hint_parent);
	}
	if (*at == '\0')
		*--at = '/';
	memmove(to, at, strlen(at) + 1);
}

void
engine_unsaved(struct engine *e, void (*report)(void *context, const char *path, bool lost), void *context)
{
	struct object *o;
	char path[4096];

	TAILQ_FOREACH(o, &e->lru, lru_link)
		if (o->error != 0 || o->waits || txn_pending(e, o)) {
			path_of(e, o, path, sizeof path);
			report(context, path, o->error != 0);
		}
}

bool
engine_holds_content(struct engine *e, uint64_t oid)
{
	const struct object *o = object_find(e, oid);

	return o != NULL && o->on_data_list;
}

uint8_t
engine_lease(struct engine *e, uint64_t oid)
{
	const struct object *o = lease_valid(e) && !e->offline ? object_find(e, oid) : NULL;

	return o == NULL ? MODE_NONE : o->mode;
}

void
engine_leases(struct engine *e, void (*report)(void *context, uint64_t oid, uint8_t mode), void *context)
{
	const struct object *o;

	TAILQ_FOREACH(o, &e->lru, lru_link)
		if (engine_lease(e, o->oid) != MODE_NONE)
			report(context, o->oid, o->mode);
}

static bool
fail_check(char *why, size_t size, const struct object *o, const char *text)
{
	snprintf(why, size, "object %" PRIu64 ": %s", o == NULL ? 0 : o->oid, text);
	return false;
}

bool
engine_check(struct engine *e, char *why, size_t size)
{
	struct object *o;
	struct commit_state *s;
	struct flush_state *f;
	size_t listed = 0, on_dirty = 0, recalling = 0, on_recall = 0;
	uint64_t sequence = e->sequence - e->inflight_count;
	uint64_t unsent = 0, orphaned = 0;
	size_t unsaved = 0, files_ahead = 0, files_old = 0, bytes_ahead = 0;

	TAILQ_FOREACH(o, &e->lru, lru_link) {
		const struct rec *r;

		listed++;
		on_dirty += o->dirty;
		unsaved += o->dirty || o->on_data_list;
		recalling += o->recall != RECALL_NONE;
		if (o->scouted != 0 && o->scouted + 1 >= e->scout.count && !S_ISDIR(o->attr.mode)) {
			files_ahead++;
			files_old += o->scouted < e->scout.count;
			bytes_ahead += o->scouted_bytes;
		}
		if (o->scouted != 0 && !o->attr_known)
			return fail_check(why, size, o, "brought ahead and not known");
		if (o->mode == MODE_NONE && (o->root != NULL || o->attr_known || o->dirty))
			return fail_check(why, size, o, "known without a lease");
		if (o->dirty && o->mode != MODE_EXCLUSIVE)
			return fail_check(why, size, o, "dirty without an exclusive lease");
		if (!o->dirty && (o->attr_dirty || !TAILQ_EMPTY(&o->dirty_recs)))
			return fail_check(why, size, o, "dirty records of a clean object");
		TAILQ_FOREACH(r, &o->dirty_recs, dirty_link)
			if (!r->dirty)
				return fail_check(why, size, o, "a clean record is listed as dirty");
		if (o->on_data_list != (data_dirty(o) || o->hold))
			return fail_check(why, size, o, "its content is not listed");
		if ((o->waits && !e->journal.stranded) || (o->changed && !o->waits))
			return fail_check(why, size, o, "waits for a journal that holds nothing lost");
		if (data_dirty(o) && o->mode != MODE_EXCLUSIVE)
			return fail_check(why, size, o, "content written without an exclusive lease");
		unsent += data_cost(o);
		if (S_ISREG(o->attr.mode) && o->attr_known && !o->hold && o->stable_size > o->attr.size)
			return fail_check(why, size, o, "stable size beyond the end");
	}
	TAILQ_FOREACH(f, &e->flushes, all_link)
		orphaned += f->orphaned;
	if (unsent != e->credit.unsent || orphaned != e->credit.orphaned)
		return fail_check(why, size, NULL, "the cost of content is miscounted");
	if (listed != e->objects || unsaved != e->unsaved)
		return fail_check(why, size, NULL, "objects are miscounted");
	if (files_ahead != e->scout.files_ahead || files_old != e->scout.files_old || bytes_ahead != e->scout.bytes_ahead)
		return fail_check(why, size, NULL, "files brought ahead are miscounted");
	TAILQ_FOREACH(o, &e->dirty, dirty_link)
		on_dirty--;
	TAILQ_FOREACH(o, &e->recalling, recall_link)
		on_recall++;
	if (on_dirty != 0 || on_recall != recalling)
		return fail_check(why, size, NULL, "a list of objects is wrong");
	TAILQ_FOREACH(s, &e->inflight, link)
		if (s->commit->sequence != ++sequence)
			return fail_check(why, size, NULL, "sequences of commits are not consecutive");
	TAILQ_FOREACH(f, &e->flushes, all_link)
		if (f->span == NULL && f->object != NULL)
			return fail_check(why, size, f->object, "a flush without a span");
	return true;
}
