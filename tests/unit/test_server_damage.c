/*
 * test_server_damage.c - a store with rows that are damaged, missing or one too
 * many.  The check of a store at rest sees it, the engine refuses to start
 * or goes on without harm; it never crashes.
 *
 * Each row of a store that has one of every kind is damaged in each way, in a
 * store of its own.
 */
#include "tests/unit/server_world.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/layout.h"
#include "tests/sim/memstore.h"
#include "tests/tap.h"

enum { ROWS_MAX = 200, ENTRIES_END = HEADER_ROW_SIZE - 1 };	/* the last byte of header.entries */

enum damage { GONE, SHORT, LONG, STUMP, OTHER_NUMBER, OTHER_ENTRIES, KEY_SHORT, KEY_LONG, KEY_STUMP, OTHER_VOLUME,
	    OTHER_KEY, DAMAGES };
static const char *const damage_names[DAMAGES] = { "gone", "short", "long", "one byte of it", "another number", "other entries", "a short key",
    "a long key", "a key of five bytes", "another volume", "another number in the key" };

/*
 * Which damages of a row are seen by the check, or at the start.  Not those of
 * devices, members and invitations, which stand alone; nor of a record's
 * sealed value, which its readers see; nor that an entry or a pin is missing.
 */
enum { HEADER = ROW_END, KINDS };		/* a row of OBJECT that speaks of the object itself */
enum { G = 1 << GONE, S = 1 << SHORT, L = 1 << LONG, N = 1 << OTHER_NUMBER, E = 1 << OTHER_ENTRIES, KS = 1 << KEY_SHORT, KL = 1 << KEY_LONG,
       ST = 1 << STUMP, KT = 1 << KEY_STUMP, V = 1 << OTHER_VOLUME, K = 1 << OTHER_KEY };
static const struct {
	const char	*name;
	unsigned	 seen;
} rules[KINDS] = {
	[ROW_SERVER] = { "the server", S | L | ST },
	[ROW_VOLUME] = { "a volume", G | ST | KS | KL | V },
	[ROW_STATE] = { "a volume's state", G | S | L | ST | N | KS | KL | V },
	[ROW_DEVICE] = { "a device", 0 },
	[ROW_MEMBER] = { "a member", 0 },
	[ROW_INVITATION] = { "an invitation", 0 },
	[ROW_SESSION] = { "a session", G | S | L | ST | KS | KL | KT | V | K },
	[ROW_RANGE] = { "a range", S | L | ST | N | KS | KL | KT | V },
	[ROW_PIN] = { "a pin", KS | KL | KT | V | K },
	[ROW_ORPHAN] = { "an orphan", G | KS | KL | KT | V | K },
	[ROW_USED] = { "freed ids", 0 },
	[ROW_OBJECT] = { "a record", ST | KT | V },
	[HEADER] = { "an object", G | S | L | ST | N | E | KS | KT | V | K },
	[ROW_BLOCK] = { "a block", G | S | L | ST | N | KS | KL | KT | V | K },
	[ROW_IDLE] = { "an idle block", G | KS | KL | KT | V | K },
};

/* ---- a store that has everything ---- */

static struct world w;
static struct client a, b;
static uint64_t f;		/* the first file; the second is open and has no name */

static void
make_everything(void)
{
	static const uint8_t token[SECRET_SIZE] = { 7 };
	uint8_t hash[KEY_SIZE];
	struct msg_change changes[4];
	struct msg_base bases[2];
	const struct msg_committed *done;
	uint64_t pos;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	f = a.at.first_oid;
	client_make_tree(&a, 3);
	client_put(&a, 5);
	client_put(&a, 6);
	changes[0] = change_region(f, 0, 5);
	changes[1] = change_region(f + 1, 0, 5);
	bases[0] = (struct msg_base){ .oid = f, .version = 1 };
	bases[1] = (struct msg_base){ .oid = f + 1, .version = 1 };
	done = client_commit(&a, bases, 2, changes, 2);
	if (done == NULL || done->status != STATUS_OK)
		abort();
	/* One is unlinked while it is open, another is freed. */
	client_pin(&a, f + 1, true);
	changes[0] = change_unlink(OID_ROOT, 2);
	changes[1] = change_unlink(OID_ROOT, 3);
	bases[0] = (struct msg_base){ .oid = OID_ROOT, .version = 1 };
	done = client_commit(&a, bases, 1, changes, 2);
	if (done == NULL || done->status != STATUS_OK)
		abort();
	world_pass(&w, 1000);
	b = client_new(&w, 2);
	/* One of a commit that was rejected. */
	changes[0] = change_attr(f);
	client_commit(&b, NULL, 0, changes, 1);
	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	server_invite(w.server, hash, 1000, &pos);
	world_sync(&w);
}

struct row_copy {
	uint8_t	key[STORE_KEY_MAX + 1], value[4200];
	size_t	key_len, value_len;
};

static struct row_copy rows[ROWS_MAX];
static size_t row_count;

static int
copy_row(void *arg, struct bytes key, struct bytes value)
{
	struct row_copy *r = &rows[row_count++];

	(void)arg;
	if (row_count == ROWS_MAX)
		abort();
	memcpy(r->key, key.data, key.len);
	r->key_len = key.len;
	if (value.len > 0)
		memcpy(r->value, value.data, value.len);
	r->value_len = value.len;
	return 0;
}

static void
copy_rows(void)
{
	static const uint8_t last[STORE_KEY_MAX] = { 0xff };
	static const uint8_t first[1] = { 0 };

	row_count = 0;
	store_scan(w.store, (struct bytes){ first, 1 }, (struct bytes){ last, sizeof last }, copy_row, NULL);
}

static unsigned
kind_of(const struct row_copy *r)
{
	return r->key[0] == ROW_OBJECT && r->key_len == 14 && r->key[13] == 0 ? HEADER : r->key[0];
}

/* The last byte of the number of a volume: a member's key begins with the device. */
static uint8_t *
volume_end(struct row_copy *r)
{
	return &r->key[r->key[0] == ROW_MEMBER ? KEY_SIZE + 4 : 4];
}

/* False when this row cannot be damaged so. */
static bool
damage_row(struct row_copy r, enum damage how)
{
	struct batch batch;
	uint64_t pos;

	bool of_volume = r.key_len >= 5 && r.key[0] != ROW_DEVICE && r.key[0] != ROW_INVITATION;

	if ((how == SHORT && r.value_len == 0) || (how == STUMP && r.value_len < 2) || (how == KEY_STUMP && r.key_len < 6) ||
	    (how == OTHER_VOLUME && !of_volume) || (how == OTHER_KEY && (!of_volume || r.key_len < 5 + sizeof(uint64_t))) ||
	    (how == OTHER_NUMBER && r.value_len < 8) || (how == OTHER_ENTRIES && kind_of(&r) != HEADER) || (how == KEY_SHORT && r.key_len < 2) ||
	    (how == KEY_LONG && r.key_len == STORE_KEY_MAX))
		return false;
	batch_init(&batch);
	if (how == GONE || how == KEY_SHORT || how == KEY_LONG || how == KEY_STUMP || how == OTHER_VOLUME || how == OTHER_KEY)
		batch_delete(&batch, (struct bytes){ r.key, r.key_len });
	r.value_len = how == STUMP ? 1 : r.value_len;
	r.key_len = how == KEY_STUMP ? 5 : r.key_len;
	*volume_end(&r) ^= how == OTHER_VOLUME;
	r.key[12] ^= how == OTHER_KEY;
	r.value_len += (how == LONG) - (how == SHORT);
	r.value[7] ^= how == OTHER_NUMBER;
	r.value[ENTRIES_END] ^= how == OTHER_ENTRIES;
	r.key_len += (how == KEY_LONG) - (how == KEY_SHORT);
	if (how != GONE)
		batch_put(&batch, (struct bytes){ r.key, r.key_len }, (struct bytes){ r.value, r.value_len });
	if (store_apply(w.store, &batch, 0, &pos) < 0)
		abort();
	batch_done(&batch);
	store_sync(w.store, &pos);
	return true;
}

/* ---- what is made of it ---- */

static void
report(void *context, const char *text)
{
	(void)text;
	++*(unsigned *)context;
}

/* The root with all that is below it. */
static void
ask_for_tree(void)
{
	struct msg_want want = { .oid = OID_ROOT, .mode = MODE_SHARED, .last_kind = KIND_MAX, .to = { block_name(255), SUBKEY_MAX }, .limit = 100 };
	struct message m = { .type = MSG_read, .read = { .depth = 3, .kinds = 0xffff, .size = 99999, .wants = { &want, 1 } } };

	world_send(&w, a.control, &m);
}

/* Changes to what is damaged, and its removal, which frees what it refers to. */
static void
change_it(void)
{
	const struct msg_answer *root = client_lease(&a, OID_ROOT, MODE_EXCLUSIVE), *file = client_lease(&a, f, MODE_EXCLUSIVE);
	struct msg_base bases[2] = { { .oid = OID_ROOT, .version = root == NULL ? 0 : root->version },
	    { .oid = f, .version = file == NULL ? 0 : file->version } };
	struct msg_change region[] = { change_region(f, 0, 0), change_cut(f, KIND_XATTR) }, unlink = change_unlink(OID_ROOT, 1);
	struct message reset = { .type = MSG_reset };
	const struct msg_committed *done = client_commit(&a, bases + 1, 1, region, 2);

	if (done != NULL && done->status != STATUS_OK)
		world_send(&w, a.control, &reset);
	client_commit(&a, bases, 1, &unlink, 1);
	world_pass(&w, 2000);
}

/* What devices ask for beside the tree. */
static void
ask_for_account(void)
{
	struct message list = { .type = MSG_volume_list }, wrap = { .type = MSG_wrap_get }, redeem = { .type = MSG_redeem,
	    .redeem = { .token = { 7 } } };

	world_send(&w, world_connect(&w, 1), &list);
	world_send(&w, world_connect(&w, 99), &wrap);
	world_send(&w, world_connect(&w, 50), &redeem);
}

/* A client comes and asks for everything; the answers may be what they want. */
static void
ask(void)
{
	struct msg_want want = { .mode = MODE_SHARED, .last_kind = KIND_MAX, .to = { block_name(255), SUBKEY_MAX }, .limit = 100 };

	world_pass(&w, 60000);
	if (client_attach(&a) != STATUS_OK)
		return;
	client_reclaim(&a, NULL, 0, NULL);
	ask_for_tree();
	for (uint64_t oid = OID_ROOT; oid < f + 4; oid = oid == OID_ROOT ? f : oid + 1) {
		want.oid = oid;
		client_read(&a, 0, &want, 1);
	}
	client_pin(&a, f + 1, false);
	client_put(&a, 5);
	ask_for_account();
	change_it();
}

/* True if somebody saw it. */
static bool
try(const struct row_copy *r, enum damage how, bool *ret_tried, bool *ret_sane)
{
	unsigned damages = 0;
	int error;

	make_everything();
	server_free(w.server);
	*ret_tried = damage_row(*r, how);
	server_check_store(w.store, report, &damages);
	w.config.boot = ++w.boot;
	error = server_new(&w.server, &w.config, w.store);
	*ret_sane = error == 0 || error == -EBADMSG || error == -ENOTSUP;
	if (error == 0) {
		server_clock(w.server, w.now_ms);
		ask();
	} else
		w.server = NULL;
	world_done(&w);
	/* Some keys only the engine reads in full. */
	return damages > 0 || (error < 0 && (kind_of(r) == ROW_SERVER || kind_of(r) == ROW_STATE));
}

static unsigned
damages(void)
{
	unsigned count = 0;

	server_check_store(w.store, report, &count);
	return count;
}

static void
test_bytes_gone(void)
{
	struct batch batch;
	uint64_t pos;

	make_everything();
	batch_init(&batch);
	batch_block_free(&batch, block_name(5));
	store_apply(w.store, &batch, STORE_FREES, &pos);
	batch_done(&batch);
	ok(damages() == 1, "a block of which only the row is there is seen");
	world_done(&w);
}

/* What the check says when the session has another last sequence. */
static unsigned
with_sequence(const struct row_copy *r, uint64_t sequence)
{
	uint8_t value[SESSION_ROW_SIZE];
	struct session_row row;
	struct batch batch;
	unsigned seen;
	uint64_t pos;

	make_everything();
	session_row_decode(&row, (struct bytes){ r->value, r->value_len });
	row.sequence = sequence;
	session_row_encode(&row, value);
	batch_init(&batch);
	batch_put(&batch, (struct bytes){ r->key, r->key_len }, (struct bytes){ value, sizeof value });
	store_apply(w.store, &batch, 0, &pos);
	batch_done(&batch);
	seen = damages();
	world_done(&w);
	return seen;
}

/* As if a commit had been rejected that was never sent, or others had come after it before a RESET. */
static void
test_rejected(void)
{
	unsigned sessions = 0, too_many = 0, too_few = 0;

	for (size_t i = 0; i < row_count; i++) {
		struct session_row row = { 0 };

		if (kind_of(&rows[i]) != ROW_SESSION)
			continue;
		session_row_decode(&row, (struct bytes){ rows[i].value, rows[i].value_len });
		sessions++;
		too_many += with_sequence(&rows[i], 0) > 0;
		too_few += with_sequence(&rows[i], row.sequence + 1) > 0;
		if (row.rejected && with_sequence(&rows[i], row.sequence) > 0)
			ok(false, "a session that waits for a RESET is in order");
	}
	ok(sessions == 2 && too_many == 1, "a session with more rejected than sent is seen, of %u", sessions);
	ok(too_few == 1, "and one that has gone on without a RESET");
}

/* ---- a server that runs, over rows that were damaged meanwhile ---- */

static const struct row_copy *
row_of(unsigned kind, uint8_t second)
{
	for (size_t i = 0; i < row_count; i++)
		if (kind_of(&rows[i]) == kind && (second == 0 || rows[i].key[1] == second))
			return &rows[i];
	abort();
}

static void
test_member(void)
{
	static const enum damage ways[] = { GONE, KEY_SHORT, KEY_LONG, OTHER_VOLUME };
	struct message list = { .type = MSG_volume_list };
	unsigned listed = 0, attached = 0, before;
	const struct message *m;
	uint64_t conn;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		make_everything();
		conn = world_connect(&w, 1);
		list.id = 0;
		world_send(&w, conn, &list);
		m = world_take(&w, conn, MSG_volumes);
		before = m == NULL ? 0 : m->volumes.list.count;
		damage_row(*row_of(ROW_MEMBER, 1), ways[i]);
		list.id = 0;
		world_send(&w, conn, &list);
		m = world_take(&w, conn, MSG_volumes);
		listed += before != 1 || m == NULL || m->volumes.list.count != 0;
		attached += client_attach(&a) != STATUS_DENIED;
		world_done(&w);
	}
	ok(listed == 0 && attached == 0, "a membership that cannot be read, or of no volume, is none");
}

static void
test_volume(void)
{
	struct message get = { .type = MSG_wrap_get };
	const struct message *done;
	uint64_t conn;

	make_everything();
	conn = world_connect(&w, 99);
	world_send(&w, conn, &get);
	ok(world_take(&w, conn, MSG_wrap) != NULL, "a recovery device gets what is in a volume's row");
	damage_row(*row_of(ROW_VOLUME, 0), STUMP);
	get.id = 0;
	world_send(&w, conn, &get);
	done = world_take(&w, conn, MSG_done);
	ok(done != NULL && done->done.status == STATUS_IO && world_take(&w, conn, MSG_wrap) == NULL, "and is told when that is damaged");
	ok(client_attach(&a) == STATUS_OK, "a mount does not need it");
	world_done(&w);
}

static int
fail_to_scan(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	(void)s, (void)from, (void)to, (void)visit, (void)arg;
	return -EIO;
}

static void
test_unreadable(void)
{
	struct store_ops ops;
	unsigned count = 0;

	make_everything();
	ops = *w.store->ops;
	ops.scan = fail_to_scan;
	w.store->ops = &ops;
	ok(server_check_store(w.store, report, &count) == 9 && count == 9, "tables that cannot be read are named, each");
	world_done(&w);
}

int
main(void)
{
	unsigned tried = 0, there[KINDS] = { 0 }, unseen[KINDS] = { 0 }, wild = 0, none = 0;

	make_everything();
	copy_rows();
	server_check_store(w.store, report, &none);
	world_done(&w);
	ok(none == 0, "a store without damage has none");
	for (size_t i = 0; i < row_count; i++)
		for (enum damage how = GONE; how < DAMAGES; how++) {
			unsigned kind = kind_of(&rows[i]);
			bool counts, sane, seen = try(&rows[i], how, &counts, &sane);

			if (!counts)
				continue;
			tried++;
			there[kind]++;
			wild += !sane;
			if (seen || !(rules[kind].seen >> how & 1))
				continue;
			unseen[kind]++;
			printf("# row %zu, %s: %s\n", i, rules[kind].name, damage_names[how]);
		}
	for (unsigned kind = ROW_SERVER; kind < KINDS; kind++)
		if (rules[kind].seen != 0)
			ok(there[kind] > 0 && unseen[kind] == 0, "damage to the row of %s is seen", rules[kind].name);
	test_bytes_gone();
	test_rejected();
	test_member();
	test_volume();
	test_unreadable();
	ok(wild == 0, "who does not start says why");
	ok(tried > 200, "%u damages", tried);
	return tap_done();
}
