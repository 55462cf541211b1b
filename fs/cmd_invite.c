/* cmd_invite.c - an invitation for one more device of a volume. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cmd.h"
#include "fs/serve_config.h"
#include "proto/invite.h"

enum { VALID_DAYS = 7, VALID_DAYS_MAX = 365, DAY_S = 24 * 60 * 60 };

struct invite_secrets {
	struct invitation	invitation;
	char			text[INVITE_TEXT];
	uint8_t			wrap_key[KEY_SIZE], token[SECRET_SIZE];
};

/* An address that means another machine elsewhere. */
static bool
only_here(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost", 9) == 0 ||
	    strncmp(address, "[::1]", 5) == 0 || strncmp(address, "unix:", 5) == 0;
}

static int
offer(const struct cmd *cmd, const struct home_server *server, const struct home_volume *v,
    const struct serve_secrets *keys, struct invite_secrets *s, unsigned days)
{
	struct message m = { .type = MSG_volume_invite };
	uint8_t wrap[WRAP_SIZE];
	struct link *link = NULL;
	struct cmd_call call;
	char why[640];
	int r;

	memcpy(s->invitation.server, server->key, KEY_SIZE);
	randombytes_buf(s->invitation.secret, SECRET_SIZE);
	if (invite_print(&s->invitation, s->text) < 0)
		return cmd_fail(cmd, CMD_USAGE, "'%s' is no address for an invitation", s->invitation.address);
	wrap_key_of_invitation(s->invitation.secret, s->wrap_key);
	wrap_seal(s->wrap_key, v->id, keys->volume_key, wrap);
	wrap_token(s->invitation.secret, s->token);
	wrap_token_hash(s->token, m.volume_invite.token_hash);
	memcpy(m.volume_invite.volume, v->id, VOLUME_ID_SIZE);
	m.volume_invite.wrap = (struct bytes){ wrap, sizeof wrap };
	m.volume_invite.valid_s = days * DAY_S;
	r = cmd_connect(&link, server->addresses, server->key, keys->device, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	r = cmd_call(link, &m, MSG_done, &call);
	if (r < 0)
		cmd_fail(cmd, 0, "the server refused: %s", call.why);
	cmd_call_done(&call);
	link_close(link);
	if (r < 0)
		return cmd_exit_of(r);
	fprintf(stderr, "Hand this invitation to one device, within %u day%s, by a way that nobody else reads.\n"
	    "There it is used with: nuage join\n\n", days, days == 1 ? "" : "s");
	if (only_here(s->invitation.address))
		fprintf(stderr, "It says that the server is at %s, which holds on this machine alone; for another one\n"
		    "make it with --address.\n\n", s->invitation.address);
	printf("%s\n", s->text);
	return CMD_OK;
}

static int
invite(int argc, char **argv)
{
	static const struct option options[] = {
		{ "valid", required_argument, NULL, 'v' }, { "address", required_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_invite;
	const char *address = NULL;
	struct serve_secrets keys = { 0 };
	struct invite_secrets *s = NULL;
	struct shell_config config;
	struct home_server server;
	struct home_volume v;
	struct home *home = NULL;
	unsigned long days = VALID_DAYS;
	char why[256], *end;
	int c, r;

	while ((c = cmd_option(cmd, argc, argv, "v:a:h", options)) != -1) {
		if (c == 'v') {
			days = strtoul(optarg, &end, 10);
			if (*end != '\0' || days < 1 || days > VALID_DAYS_MAX)
				return cmd_usage(cmd, "--valid takes 1 to 365 days");
		} else if (c == 'a') {
			address = optarg;
		} else {
			return cmd_usage(cmd, NULL);
		}
	}
	if (argc - optind != 1)
		return cmd_usage(cmd, "say one volume");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	if ((r = cmd_find(cmd, home, argv[optind], &v, &server)) != 0)
		goto out;
	if (serve_configure(&config, &keys, home, &server, &v, why, sizeof why) < 0) {
		r = cmd_fail(cmd, CMD_FAILED, "%s", why);
		goto out;
	}
	s = sodium_malloc(sizeof *s);
	if (s == NULL) {
		r = cmd_fail(cmd, CMD_FAILED, "out of locked memory");
		goto out;
	}
	s->invitation.kind = INVITE_VOLUME;
	snprintf(s->invitation.address, sizeof s->invitation.address, "%.*s",
	    address != NULL ? (int)strlen(address) : (int)strcspn(server.addresses, ","),
	    address != NULL ? address : server.addresses);
	r = offer(cmd, &server, &v, &keys, s, (unsigned)days);
out:
	sodium_free(s);
	serve_secrets_done(&keys);
	home_close(home);
	return r;
}

const struct cmd cmd_invite = {
	"invite", invite, "make an invitation to a volume for another device",
	"invite [--valid DAYS] [--address HOST[:PORT]] [SERVER/]VOLUME\n"
	"\n"
	"Prints an invitation that one device can use once. Whoever uses it can read\n"
	"and change the volume, and invite others.\n"
	"\n"
	"  -v, --valid DAYS             how long it can be used; default 7\n"
	"  -a, --address HOST[:PORT]    where that device finds the server, when it is\n"
	"                               not where this one does\n"
	"  -h, --help                   show this text\n"
};
