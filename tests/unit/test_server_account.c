/*
 * test_server_account.c - what devices ask of the server beside file systems:
 * each request that it refuses, and why; lists and logs that have an end.
 */
#include "tests/unit/server_world.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/layout.h"
#include "tests/tap.h"

enum { OWNER = 1, MEMBER = 2, STRANGER = 50, RECOVERY = 98, FIRST_RECOVERY = 99 };

static struct world w;

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* The status that is answered, on a new connection. */
static enum status
ask(uint8_t device, struct message m)
{
	uint64_t conn = world_connect(&w, device);
	const struct message *done;
	enum status status;

	world_send(&w, conn, &m);
	done = world_take(&w, conn, MSG_done);
	status = done == NULL ? STATUS_COUNT : done->done.status;
	server_disconnected(w.server, conn);
	return status;
}

static enum status
create(const char *name, uint8_t id, uint8_t recovery)
{
	return ask(OWNER, (struct message){ .type = MSG_volume_create, .volume_create = { .volume = { id },
	    .recovery = { recovery }, .name = text(name), .wrap = text("wrap") } });
}

static void
test_names(void)
{
	static const char *const bad[] = { "", "a b", "a/b", "a\177", "\n" };
	bool refused = true;

	world_init(&w, NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refused &= create(bad[i], 20, RECOVERY) == STATUS_INVALID;
	ok(refused, "a volume's name is a word");
	ok(create("zeros", 0, RECOVERY) == STATUS_INVALID, "its id is not zero");
	ok(create("own", 20, OWNER) == STATUS_INVALID, "who makes it is not its recovery device");
	ok(create("good", 20, RECOVERY) == STATUS_OK && create("good", 21, RECOVERY) == STATUS_EXIST, "so is its name");
	ok(create("later", 20, RECOVERY) == STATUS_EXIST, "an id is taken once");
	world_done(&w);
}

static struct message
invitation(uint8_t token, uint64_t valid_s)
{
	struct message m = { .type = MSG_volume_invite, .volume_invite = { .valid_s = valid_s, .wrap = text("for you") } };
	uint8_t bytes[SECRET_SIZE] = { token };

	memcpy(m.volume_invite.volume, world_volume, VOLUME_ID_SIZE);
	crypto_generichash(m.volume_invite.token_hash, KEY_SIZE, bytes, sizeof bytes, NULL, 0);
	return m;
}

static enum status
redeem(uint8_t device, uint8_t token)
{
	struct message m = { .type = MSG_redeem, .redeem = { .token = { token } } };
	uint64_t conn = world_connect(&w, device);
	const struct message *done;

	world_send(&w, conn, &m);
	if (world_take(&w, conn, MSG_redeemed) != NULL)
		return STATUS_OK;
	done = world_take(&w, conn, MSG_done);
	return done == NULL ? STATUS_COUNT : done->done.status;
}

static void
test_invitations(void)
{
	struct message nowhere = invitation(7, 60);

	world_init(&w, NULL);
	nowhere.volume_invite.volume[0] ^= 1;
	ok(ask(MEMBER, nowhere) == STATUS_DENIED, "nobody is invited to a volume that is not there");
	ok(ask(FIRST_RECOVERY, invitation(7, 60)) == STATUS_OK, "whoever is a member invites");
	create("other", 20, RECOVERY);
	memset(nowhere.volume_invite.volume, 0, VOLUME_ID_SIZE);
	nowhere.volume_invite.volume[0] = 20;
	ok(ask(MEMBER, nowhere) == STATUS_DENIED, "and nobody else");
	ok(ask(MEMBER, invitation(8, 0)) == STATUS_INVALID && ask(MEMBER, invitation(8, 367 * 24 * 3600)) == STATUS_INVALID,
	    "for some time, for a year at most");
	ok(ask(MEMBER, invitation(7, 60)) == STATUS_EXIST, "with a token that is new");
	ok(redeem(MEMBER, 7) == STATUS_OK, "a member may use it");
	ok(redeem(STRANGER, 7) == STATUS_USED, "then nobody any more");
	ok(redeem(STRANGER, 9) == STATUS_DENIED, "one that was never given is none");
	ok(ask(MEMBER, invitation(10, 1)) == STATUS_OK, "one is given for a second");
	world_pass(&w, 2000);
	ok(redeem(STRANGER, 10) == STATUS_USED, "then it is too late");
	world_done(&w);
}

static enum status
recover(uint8_t device, const uint8_t volume[VOLUME_ID_SIZE])
{
	struct message m = { .type = MSG_wrap_get };
	uint64_t conn = world_connect(&w, device);
	const struct message *done;

	memcpy(m.wrap_get.volume, volume, VOLUME_ID_SIZE);
	world_send(&w, conn, &m);
	if (world_take(&w, conn, MSG_wrap) != NULL)
		return STATUS_OK;
	done = world_take(&w, conn, MSG_done);
	return done == NULL ? STATUS_COUNT : done->done.status;
}

static void
test_recovery(void)
{
	static const uint8_t first[VOLUME_ID_SIZE], other[VOLUME_ID_SIZE] = { 20 }, none[VOLUME_ID_SIZE] = { 21 };
	struct message add = { .type = MSG_device_add };

	world_init(&w, NULL);
	create("other", 20, RECOVERY);
	ok(recover(RECOVERY, first) == STATUS_OK && recover(RECOVERY, other) == STATUS_OK, "a volume's recovery device gets its wrap");
	ok(recover(RECOVERY, world_volume) == STATUS_NOENT && recover(RECOVERY, none) == STATUS_NOENT &&
	    recover(OWNER, other) == STATUS_NOENT && recover(OWNER, first) == STATUS_NOENT, "of no other, nor does a member");
	memcpy(add.device_add.volume, other, VOLUME_ID_SIZE);
	add.device_add.device[0] = 60;
	ok(ask(MEMBER, add) == STATUS_DENIED, "who is no member adds nobody");
	memcpy(add.device_add.volume, none, VOLUME_ID_SIZE);
	ok(ask(OWNER, add) == STATUS_DENIED, "nobody is added to what is not there");
	memcpy(add.device_add.volume, other, VOLUME_ID_SIZE);
	add.device_add.device[0] = RECOVERY;
	ok(ask(OWNER, add) == STATUS_OK && recover(RECOVERY, other) == STATUS_OK, "a recovery device that is added stays one");
	world_done(&w);
}

static void
test_strangers(void)
{
	struct message list = { .type = MSG_volume_list };
	unsigned lines;

	world_init(&w, NULL);
	for (uint8_t i = 0; i < 2; i++)
		ask(STRANGER + i, list);
	ok(strstr(w.log, "event=stranger device=32") != NULL && strstr(w.log, "device=33") == NULL, "one stranger a second is logged");
	world_pass(&w, 1500);
	ask(STRANGER + 1, list);
	ok(strstr(w.log, "device=33") != NULL, "then the next");
	w.log[0] = '\0';
	world_pass(&w, 1500);
	ask(STRANGER + 1, list);
	lines = strstr(w.log, "event=stranger") != NULL;
	ok(lines == 0, "each once");
	world_done(&w);
}

static void
test_list(void)
{
	struct message list = { .type = MSG_volume_list };
	const struct message *m;
	char name[16];
	uint64_t conn;
	bool made = true;

	world_init(&w, NULL);
	for (unsigned i = 0; i < VOLUMES_MAX; i++) {
		struct message more = { .type = MSG_volume_create, .volume_create = {
		    .volume = { 30, (uint8_t)(i >> 8), (uint8_t)i }, .recovery = { RECOVERY }, .wrap = text("wrap") } };

		snprintf(name, sizeof name, "v%u", i);
		more.volume_create.name = text(name);
		made &= ask(OWNER, more) == STATUS_OK;
		if (i % 64 == 0)
			world_forget(&w);
	}
	conn = world_connect(&w, OWNER);
	world_send(&w, conn, &list);
	m = world_take(&w, conn, MSG_volumes);
	ok(made && m != NULL && m->volumes.list.count == VOLUMES_MAX, "a list of volumes has an end");
	world_done(&w);
}

/* Without a volume there is nothing to list. */
static void
test_none(void)
{
	static const uint8_t token[SECRET_SIZE] = { 12 };
	struct message list = { .type = MSG_volume_list };
	const struct message *m;
	uint8_t hash[KEY_SIZE];
	uint64_t conn, pos;

	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	world_open(&w, NULL);
	ok(server_invite(w.server, hash, 60, &pos) == 0 && redeem(OWNER, 12) == STATUS_OK, "a new server invites its first device");
	conn = world_connect(&w, OWNER);
	world_send(&w, conn, &list);
	m = world_take(&w, conn, MSG_volumes);
	ok(m != NULL && m->volumes.list.count == 0, "which finds no volume");
	ok(create("first", 20, RECOVERY) == STATUS_OK, "and makes one");
	list.id = 0;
	world_send(&w, conn, &list);
	m = world_take(&w, conn, MSG_volumes);
	ok(m != NULL && m->volumes.list.count == 1, "and finds that");
	world_done(&w);
}

static const struct store_ops *real;

static int
scan_no_invitations(struct store *s, struct bytes from, struct bytes to, store_visit *visit, void *arg)
{
	return from.data[0] == ROW_INVITATION ? -EIO : real->scan(s, from, to, visit, arg);
}

static void
test_prune(void)
{
	const uint64_t year_s = 366 * 24 * 3600;
	static const uint8_t token[SECRET_SIZE] = { 11 };
	uint8_t hash[KEY_SIZE];
	struct store_ops ops;
	uint64_t pos;

	crypto_generichash(hash, sizeof hash, token, sizeof token, NULL, 0);
	world_init(&w, &(struct server_config){ .calendar_ms = UINT64_C(1700000000000) });
	ok(ask(MEMBER, invitation(10, 60)) == STATUS_OK && server_invite(w.server, hash, 2 * year_s, &pos) == 0,
	    "one for a minute, and one for as long as may be");
	w.config.calendar_ms += (year_s - 1000) * 1000;
	real = w.store->ops;
	ops = *real;
	ops.scan = scan_no_invitations;
	w.store->ops = &ops;
	world_restart(&w, UINT64_MAX);
	w.store->ops = real;
	ok(redeem(STRANGER, 10) == STATUS_USED && world_check(&w), "a server that cannot look for old invitations starts, and keeps them");
	world_restart(&w, UINT64_MAX);
	world_pass(&w, 1000);
	ok(redeem(STRANGER, 10) == STATUS_DENIED, "an old invitation is forgotten a month after its end");
	w.config.calendar_ms += 2000 * 1000;
	world_restart(&w, UINT64_MAX);
	ok(redeem(STRANGER, 11) == STATUS_USED, "a year is the longest");
	world_done(&w);
}

int
main(void)
{
	test_names();
	test_invitations();
	test_recovery();
	test_strangers();
	test_list();
	test_none();
	test_prune();
	return tap_done();
}
