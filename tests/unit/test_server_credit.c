/* test_server_credit.c - space that is promised to sessions: who has how much, what it covers, and when it ends. */
#include <errno.h>

#include "server/credit.h"
#include "tests/sim/memstore.h"
#include "tests/tap.h"
#include "tests/unit/server_world.h"

enum { CAPACITY = 1600 * 1000, PART = 3 };

static uint64_t
ready(struct world *w)
{
	return store_ready(w->store);
}

/* What STATFS tells. */
static struct msg_space
state(struct client *c, uint64_t keep, uint64_t want)
{
	struct message m = { .type = MSG_statfs, .statfs = { .keep = keep, .want = want } };
	const struct message *back;

	world_send(c->w, c->control, &m);
	back = world_take(c->w, c->control, MSG_space);
	return back == NULL ? (struct msg_space){ .credit = UINT64_MAX } : back->space;
}

static uint64_t
credit(struct client *c)
{
	return state(c, UINT64_MAX, 0).credit;
}

static void
begin(struct world *w, struct client *a, struct client *b)
{
	world_init(w, NULL);
	memstore_set_capacity(w->store, CAPACITY);
	*a = client_new(w, 1);
	if (b != NULL)
		*b = client_new(w, 2);
}

static void
test_shares(void)
{
	struct world w;
	struct client a, b;
	struct msg_space s;
	uint64_t all, one = 0, other = 0;

	begin(&w, &a, NULL);
	all = ready(&w) / PART;
	ok(a.at.credit <= all / 2 && a.at.credit > all / 2 - 1000, "who is alone has half of what may be promised");
	b = client_new(&w, 2);
	ok(b.at.credit > all / 4 - 1000, "and who comes later finds half of the rest");
	s = state(&b, 0, all - 1000);
	ok(s.credit < all - 1000 && s.more == 1, "what the other has that one will give back,");
	ok(state(&a, 0, 0).credit == 0 && state(&b, 0, all - 1000).credit == all - 1000, "all that it does not need");
	world_pass(&w, 6000);
	for (unsigned i = 0; i < 20; i++) {
		other = state(&b, 0, 0).credit;
		one = state(&a, 0, 0).credit;
	}
	ok(one <= all / 3 && one > all / 3 - 1000 && other <= one + 1000 && other > one - 1000,
	    "when nobody is in need both have their share, and there is one for a third");
	s = state(&a, one, all);
	world_pass(&w, 2500);
	state(&b, other, 0);
	s = state(&a, one, all);
	ok(s.credit < all && s.more == 0, "what the other needs it does not get");
	ok((one + credit(&b)) * PART <= ready(&w), "all of it is there");
	world_pass(&w, TERM_MS + SKEW_MS - 1000);
	credit(&a);
	world_pass(&w, 2000);
	s = state(&a, one, all);
	ok(s.credit > all - 1000, "what a session had that was not heard of for a term may be another's");
	ok(state(&b, other, 0).credit < 1000, "and is its no more");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* A client that is cut off cannot give back what it does not need. */
static void
test_away(void)
{
	struct world w;
	struct client a, b;
	struct msg_space s;
	uint64_t all;

	begin(&w, &a, &b);
	all = ready(&w) / PART;
	server_disconnected(w.server, a.control);
	world_pump(&w);
	for (unsigned ms = 0; ms < TERM_MS + SKEW_MS - 2000; ms += 1000) {
		s = state(&b, 0, all);
		world_pass(&w, 1000);
	}
	ok(s.credit < all && s.more == 1, "what somebody has who is away may come back, however long that takes");
	world_pass(&w, 3000);
	ok(state(&b, 0, all).credit == all, "and does after a term at the latest");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Until somebody is refused. */
static unsigned
put_all(struct client *c, uint8_t from, unsigned most, enum status *ret)
{
	unsigned n = 0;

	*ret = STATUS_OK;
	while (n < most && (*ret = client_put(c, (uint8_t)(from + n))) == STATUS_OK)
		n++;
	return n;
}

/* New data may take so many bytes now: of the capacity a sixteenth is for removals. */
static void
make_ready(struct world *w, uint64_t bytes)
{
	uint64_t total, left;

	store_space(w->store, &total, &left);
	memstore_set_capacity(w->store, (total - left + bytes) * 16 / 15);
}

static void
test_promises(void)
{
	struct world w;
	struct client a, b;
	enum status status;
	uint64_t before, block;
	unsigned n;

	begin(&w, &a, &b);
	before = credit(&a);
	client_put(&a, 1);
	block = ready(&w);
	client_put(&a, 2);
	block -= ready(&w);
	ok(before - state(&a, before, 0).credit >= 2 * BLOCK_COST && block > 100, "a block is paid for");
	before = credit(&a);
	client_put(&a, 2);
	ok(credit(&a) == before, "but once");
	n = 40;
	before = n * (block + BLOCK_COST);
	make_ready(&w, 0);
	state(&a, 0, 0);
	state(&b, 0, 0);
	make_ready(&w, PART * before + 2000);
	ok(state(&a, 0, before).credit == before, "the last of the space goes to who wants it");
	ok(put_all(&b, 10, n, &status) < n && status == STATUS_BUSY, "others take what is promised to nobody, and no more");
	ok(put_all(&a, 100, n, &status) == n, "what is promised is there");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_restart(void)
{
	struct world w;
	struct client a, b;
	uint64_t had, other;

	begin(&w, &a, &b);
	had = state(&a, 0, 0).credit;
	other = state(&b, 0, 0).credit;
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&b) == STATUS_OK && b.at.credit == UINT64_MAX, "a new server does not know what was promised");
	ok(state(&b, other, other + CAPACITY).credit >= other && credit(&b) <= ready(&w) / PART / 2,
	    "who says so has what it had, but leaves half for who has yet to");
	ok(client_attach(&a) == STATUS_OK && state(&a, had, 0).credit == had, "and so have they");
	world_pass(&w, 6000);
	ok(state(&a, 0, 0).credit > 0 && world_check(&w), "then all is as before");
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&b) == STATUS_OK && state(&b, UINT64_MAX, 0).credit <= ready(&w), "nobody can say that it had more than there is");
	world_pass(&w, TERM_MS + SKEW_MS + 1000);
	ok(client_attach(&a) == STATUS_OK && a.at.credit != UINT64_MAX, "after the grace nothing can be said of before");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

static void
test_end(void)
{
	struct world w;
	struct client a, b;
	struct message bye = { .type = MSG_bye };
	uint64_t had, other;

	begin(&w, &a, &b);
	other = state(&a, 0, 0).credit;
	had = state(&b, 0, 0).credit;
	ok(client_attach(&a) == STATUS_OK && other > 0 && a.at.credit >= other, "a credit outlives the connection");
	world_send(&w, a.control, &bye);
	ok(state(&b, had, CREDIT_MAX).credit > had + had / 2, "but not the session");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Numbers for files take space too, and there is no end of them. */
static void
test_numbers(void)
{
	struct message m = { .type = MSG_alloc };
	const struct message *back;
	struct world w;
	struct client c;

	begin(&w, &c, NULL);
	state(&c, OBJECT_COST, 0);
	make_ready(&w, 0);
	world_send(&w, c.control, &m);
	ok((back = world_take(&w, c.control, MSG_allocated)) != NULL && back->allocated.oid_count > 0,
	    "who has credit for a file gets numbers on a full server");
	state(&c, 0, 0);
	m.id = 0;
	world_send(&w, c.control, &m);
	ok(world_take(&w, c.control, MSG_allocated) == NULL && (back = world_take(&w, c.control, MSG_done)) != NULL &&
	    back->done.status != STATUS_OK, "who has none does not");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

/* Who has yet to state its credit cannot have had more than there is for one. */
static void
test_unstated(void)
{
	struct world w;
	struct client a;
	struct session *n;
	unsigned flags;

	begin(&w, &a, NULL);
	world_restart(&w, UINT64_MAX);
	ok(client_attach(&a) == STATUS_OK && a.at.credit == UINT64_MAX, "a new server does not know what was promised");
	n = container_of(table_find(&w.server->sessions, a.at.session), struct session, node);
	ok(credit_cover(w.server, n, CREDIT_MAX, &flags) == 0 && flags == STORE_PROMISED, "what comes may have been");
	credit_spend(w.server, n, CREDIT_MAX - 100);
	ok(credit_cover(w.server, n, 100, &flags) == 0 && credit_cover(w.server, n, 101, &flags) != 0, "but no more than CREDIT_MAX");
	ok(state(&a, UINT64_MAX, 0).credit == 100 && world_check(&w), "of which it has the rest");
	world_done(&w);
}

/* A client that loses its connection sends its blocks again, maybe before the first of them are written. */
static void
test_put_again(void)
{
	static const uint8_t data[1024];
	struct message m = { .type = MSG_put, .put = { .id = { 7 } }, .payload = { data, sizeof data } };
	struct server_action *a;
	struct world w;
	struct client c;
	uint64_t first, before, end;

	begin(&w, &c, NULL);
	w.no_write = true;
	first = c.bulk;
	before = state(&c, sizeof data + BLOCK_COST, 0).credit;
	world_send(&w, c.bulk, &m);
	ok(client_attach(&c) == STATUS_OK && world_closed(&w, first) && c.bulk != first, "a connection is lost while a block is written");
	before = state(&c, 0, 0).credit;
	make_ready(&w, 0);
	end = store_end(w.store);
	m.id = 0;
	world_send(&w, c.bulk, &m);
	a = w.writes;
	ok(a != NULL && a->next == NULL && store_end(w.store) == end && world_take(&w, c.bulk, MSG_stored) == NULL,
	    "the same block again is not written twice");
	ok(state(&c, UINT64_MAX, 0).credit == before, "nor paid twice");
	w.writes = NULL;
	server_block_written(w.server, a, store_block_write(a->ticket, data));
	server_action_free(a);
	world_pump(&w);
	ok(world_take(&w, c.bulk, MSG_stored)->stored.status == STATUS_OK, "and is there when the first is");
	m.put.id[0] = 8;
	make_ready(&w, 8 * (sizeof data + BLOCK_COST));
	m.id = 0;
	world_send(&w, c.bulk, &m);
	m.id = 0;
	world_send(&w, c.bulk, &m);
	a = w.writes;
	w.writes = NULL;
	server_block_written(w.server, a, -EIO);
	server_action_free(a);
	world_pump(&w);
	ok(world_take(&w, c.bulk, MSG_stored)->stored.status == STATUS_IO && world_take(&w, c.bulk, MSG_stored)->stored.status == STATUS_IO,
	    "when it cannot be written all are told");
	world_send(&w, c.bulk, &m);
	ok(w.writes != NULL && world_check(&w), "and it may be tried again");
	world_done(&w);
}

/* A store that finds space when it is asked to look for some. */
static int
seek_and_find(struct store *s, uint64_t bytes)
{
	(void)bytes;
	memstore_set_capacity(s, 4 * CAPACITY);
	return 0;
}

static void
test_found(void)
{
	struct store_ops ops;
	struct world w;
	struct client a;
	uint64_t all;

	begin(&w, &a, NULL);
	all = ready(&w) / PART;
	ops = *w.store->ops;
	ops.seek = seek_and_find;
	w.store->ops = &ops;
	ok(state(&a, 0, all - 1000).credit == all - 1000 && ready(&w) / PART <= all, "space is not looked for as long as there is enough,");
	ok(state(&a, 0, all + 1000).credit == all + 1000, "and what is found then is promised");
	world_done(&w);
}

int
main(void)
{
	test_shares();
	test_away();
	test_promises();
	test_restart();
	test_end();
	test_put_again();
	test_numbers();
	test_unstated();
	test_found();
	return tap_done();
}
