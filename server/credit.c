/*
 * credit.c - see credit.h.
 *
 *	NONE	 -> PROMISED	control ATTACH: its share
 *	PROMISED -> PROMISED	a PUT or COMMIT spends; what costs more than is left also needs space
 *				that is promised to nobody
 *				COMMIT applied: up to its share again
 *				STATFS: down to what it keeps, or up to what it wants
 *	PROMISED -> NONE	eviction, the end of the session; unseen for a term and skew, after
 *				which its client does not count on it either (R9)
 *	UNSTATED		after a start of the server, as leases: what a stored session had is
 *				known to its client alone
 *	UNSTATED -> PROMISED	its first STATFS says what it keeps; until then what it sends was promised,
 *				up to CREDIT_MAX
 *	UNSTATED -> NONE	the grace is over, or as above
 *
 * Credits are not durable.  A session that has yet to state its own had about
 * half of what others had not, as below: so much nobody is promised meanwhile.
 * Should it have had more, that is taken from what PART leaves.
 *
 * A byte of credit takes up to PART bytes of what is ready: a record is in the
 * log and among the records, whose pages are not full; segments of the log end
 * before the next block would fit.  So all credits together are at most that
 * part of it.  The share of a session is half of what others have not: equal
 * ones in the end, and there is always one left for who comes next.  When
 * somebody was denied what it wants nobody is given one for a while, and the
 * last of the space goes to who wants it first.  Every client says again and
 * again what it needs, and the rest comes back; for who has not said so yet one
 * waits, until it has or a term has passed.
 *
 * Removals spend nothing, nor do changes that leave things as large as they
 * were: of these the store's reserve takes care.
 *
 * Invariants:
 * 1. When a credit grows, PART times all of them is ready.
 * 2. A credit is taken back only as far as its client said, or cannot count on it.
 * 3. What is within a session's credit is never refused for want of space,
 *    unless others than this server fill its disk.
 */
#include "server/credit.h"

#include <errno.h>

#include "server/outbox.h"

enum {
	PART		= 3,
	SCARCE_MS	= 5000,		/* after a denial nobody is given a share for so long */
	UNSTATED_MOST	= 16,
};

/* What all sessions together may be promised now. */
static uint64_t
pool(struct server *s)
{
	return (store_ready(s->store) / PART) >> (s->unstated < UNSTATED_MOST ? s->unstated : UNSTATED_MOST);
}

static void
set(struct server *s, struct session *n, uint64_t credit)
{
	if (n->credit == 0 && credit > 0)
		due_by(s, n->seen_ms + s->config.term_ms + s->config.skew_ms + 1);
	s->promised += credit - n->credit;
	n->credit = credit;
}

/* Up to `want`, if there is so much. */
static void
increase(struct server *s, struct session *n, uint64_t want)
{
	uint64_t all = pool(s), others = s->promised - n->credit, left = all > others ? all - others : 0;

	want = want < CREDIT_MAX ? want : CREDIT_MAX;
	want = want < left ? want : left;
	if (want > n->credit)
		set(s, n, want);
}

void
credit_renew(struct server *s, struct session *n)
{
	uint64_t all = pool(s), others = s->promised - n->credit;

	if (!n->unstated && (s->denied_ms == 0 || s->now_ms - s->denied_ms > SCARCE_MS))
		increase(s, n, all > others ? (all - others) / 2 : 0);
}

void
credit_void(struct server *s, struct session *n)
{
	s->unstated -= n->unstated;
	n->unstated = false;
	set(s, n, 0);
}

/* What it had before the server started is its own, if it is still there. */
static void
restore(struct server *s, struct session *n, uint64_t keep)
{
	uint64_t ready = store_ready(s->store);

	credit_void(s, n);
	ready = ready > s->promised ? ready - s->promised : 0;
	keep = keep < CREDIT_MAX - n->drawn ? keep : CREDIT_MAX - n->drawn;
	set(s, n, keep < ready ? keep : ready);
}

/* Has anybody else a credit, who has not said what he needs of it since space became scarce? */
static bool
some_silent(const struct server *s, const struct session *but)
{
	struct table_node *node = NULL;
	size_t slot = 0;

	while ((node = table_walk(&s->sessions, &slot, node)) != NULL) {
		const struct session *n = container_of(node, struct session, node);

		if (n != but && n->credit > 0 && (n->control == NULL || n->stated_ms <= s->scarce_ms))
			return true;
	}
	return false;
}

/*
 * Somebody is denied what others have, or may have.  For a while they are given no shares, and what they do not
 * need comes back: true if it may yet.
 */
static bool
deny(struct server *s, const struct session *n)
{
	if (s->denied_ms == 0 || s->now_ms - s->denied_ms > SCARCE_MS)
		s->scarce_ms = s->now_ms;
	s->denied_ms = s->now_ms;
	return s->unstated > 0 || (s->promised > n->credit && some_silent(s, n));
}

bool
credit_state(struct server *s, struct session *n, uint64_t keep, uint64_t want)
{
	uint64_t others;
	int r;

	n->stated_ms = s->now_ms;
	if (n->unstated)
		restore(s, n, keep);
	else if (keep < n->credit)
		set(s, n, keep);
	credit_renew(s, n);
	increase(s, n, want);
	if (n->credit >= want)
		return false;
	others = s->promised - n->credit;
	r = want > CREDIT_MAX ? -ENOSPC : store_seek(s->store, PART * (others + want));
	if (r == 0)
		increase(s, n, want);
	if (n->credit >= want)
		return false;
	return outbox_status(s, r == 0 ? -ENOSPC : r) == STATUS_BUSY || (deny(s, n) && want <= CREDIT_MAX);
}

int
credit_cover(struct server *s, const struct session *n, uint64_t cost, unsigned *ret_flags)
{
	uint64_t others = PART * (s->promised - n->credit + s->unstated * (uint64_t)CREDIT_MAX);
	int r;

	*ret_flags = STORE_PROMISED;
	if (cost <= (n->unstated ? CREDIT_MAX - n->drawn : n->credit))
		return 0;
	*ret_flags = 0;
	r = others + cost <= store_ready(s->store) ? 0 : store_seek(s->store, others + cost);
	return r == -ENOSPC && deny(s, n) ? -EAGAIN : r;
}

void
credit_spend(struct server *s, struct session *n, uint64_t cost)
{
	if (n->unstated)
		n->drawn += cost < CREDIT_MAX - n->drawn ? cost : CREDIT_MAX - n->drawn;
	else
		set(s, n, cost < n->credit ? n->credit - cost : 0);
}
