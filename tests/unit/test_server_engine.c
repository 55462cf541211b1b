/* test_server_engine.c - sessions, leases and the order of READs, by the rules of nuage-protocol(5). */
#include "tests/unit/server_world.h"

#include <string.h>

#include "tests/tap.h"

/* The root, made by a, which then holds it EXCLUSIVE. */
static void
make_root(struct client *a)
{
	struct msg_change changes[] = { change_attr(OID_ROOT) };
	const struct msg_answer *root = client_lease(a, OID_ROOT, MODE_EXCLUSIVE);
	const struct msg_committed *done;

	ok(root != NULL && root->status == STATUS_OK && root->version == 0 && root->mode == MODE_EXCLUSIVE,
	    "a reserved object is leased unborn");
	done = client_commit(a, NULL, 0, changes, 1);
	ok(done != NULL && done->status == STATUS_OK && done->version == 1, "the root is born");
}

static void
test_smoke(void)
{
	struct world w;
	struct client a, b;
	const struct msg_answer *root;
	const struct message *recall;

	world_init(&w, NULL);
	a = client_new(&w, 1);
	make_root(&a);
	b = client_new(&w, 2);
	ok(client_lease(&b, OID_ROOT, MODE_SHARED) == NULL, "a READ that conflicts waits");
	recall = world_take(&w, a.control, MSG_recall);
	ok(recall != NULL && recall->recall.mode == MODE_SHARED && recall->recall.grant == 1, "its holder is asked");
	client_release(&a, OID_ROOT, MODE_SHARED, 1);
	root = world_take(&w, b.control, MSG_granted)->granted.answers.at;
	ok(root->mode == MODE_SHARED && root->records.count == 1 && root->version == 1, "a downgrade lets it through");
	ok(world_check(&w), "and all is well");
	world_done(&w);
}

int
main(void)
{
	test_smoke();
	return tap_done();
}
