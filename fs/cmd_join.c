/* cmd_join.c - redeem an invitation: to a server, or to a volume of one. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>

#include "fs/cmd.h"
#include "proto/invite.h"

/* What the command holds in locked memory. */
struct join_secrets {
	char			text[INVITE_TEXT];
	struct invitation	invitation;
	uint8_t			wrap_key[KEY_SIZE], volume_key[KEY_SIZE];
};

static int
parse(const struct cmd *cmd, struct join_secrets *s)
{
	switch (-invite_parse(&s->invitation, s->text)) {
	case 0:
		return 0;
	case EBADMSG:
		return cmd_fail(cmd, CMD_FAILED, "the invitation is incomplete or mistyped: copy all of it again");
	case ENOTSUP:
		return cmd_fail(cmd, CMD_FAILED, "the invitation was made by a newer nuage: update this one");
	default:
		return cmd_fail(cmd, CMD_FAILED, "this is not an invitation: one begins with nuage-invite-");
	}
}

/* Keeps the volume that came with the invitation. */
static int
keep_volume(const struct cmd *cmd, struct home *home, struct join_secrets *s, const uint8_t *device,
    const struct home_server *server, const struct msg_redeemed *m)
{
	struct home_volume v = { .formatted = true }, there;
	int r;

	if (m->name.len >= sizeof v.name)
		return cmd_fail(cmd, CMD_FAILED, "the server sent a volume without a proper name");
	memcpy(v.name, m->name.data, m->name.len);
	strcpy(v.server, server->name);
	memcpy(v.id, m->volume, VOLUME_ID_SIZE);
	wrap_key_of_invitation(s->invitation.secret, s->wrap_key);
	r = wrap_open(s->wrap_key, v.id, m->wrap, s->volume_key);
	if (r < 0)
		return cmd_fail(cmd, CMD_REFUSED, "the server sent a volume key that is not of this invitation");
	if (!home_name_valid(v.name))
		return cmd_fail(cmd, CMD_FAILED, "the server sent a volume without a proper name");
	if (home_volume_by_id(home, v.id, &there) == 0)
		strcpy(v.name, there.name);	/* a member already: the key is the same */
	wrap_key_of_device(device, s->wrap_key);
	wrap_seal(s->wrap_key, v.id, s->volume_key, v.wrap);
	r = home_volume_save(home, &v);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "the volume cannot be kept: %s", strerror(-r));
	fprintf(stderr, "This device is now a member of %s/%s. Mount it with:\n\n    nuage mount %s/%s DIRECTORY\n\n",
	    v.server, v.name, v.server, v.name);
	return CMD_OK;
}

static int
redeem(const struct cmd *cmd, struct home *home, struct join_secrets *s, const uint8_t *device,
    struct home_server *server, const char *wanted)
{
	static const uint8_t none[VOLUME_ID_SIZE];
	struct message m = { .type = MSG_redeem };
	struct home_server known;
	struct link *link = NULL;
	struct cmd_call call;
	char why[640];
	int r;

	r = cmd_connect(&link, server->addresses, server->key, device, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	wrap_token(s->invitation.secret, m.redeem.token);
	r = cmd_call(link, &m, MSG_redeemed, &call);
	sodium_memzero(&m, sizeof m);
	if (r == -EKEYEXPIRED || r == -EACCES || r == -ENOENT)
		r = cmd_fail(cmd, CMD_REFUSED, "the invitation cannot be used, %s: ask for a new one%s", call.why,
		    home_server_by_key(home, server->key, &known) == 0 ?
		    "; this device knows the server already, and nuage volumes says what it may mount" : "");
	else if (r < 0)
		r = cmd_fail(cmd, cmd_exit_of(r), "the server refused: %s", call.why);
	if (r != 0)
		goto out;
	r = home_server_save(home, server, wanted);
	if (r < 0) {
		r = cmd_fail(cmd, CMD_FAILED, r == -EEXIST ? "another server has the name %s already" :
		    "the server cannot be kept as %s", wanted != NULL ? wanted : server->name);
		goto out;
	}
	if (memcmp(call.answer.redeemed.volume, none, VOLUME_ID_SIZE) != 0)
		r = keep_volume(cmd, home, s, device, server, &call.answer.redeemed);
	else
		fprintf(stderr, "This device is now known to %s (%s). Make a volume on it with:\n\n"
		    "    nuage create %s/NAME\n\n", server->name, server->addresses, server->name);
out:
	cmd_call_done(&call);
	link_close(link);
	return r;
}

static int
join_ssh(const struct cmd *cmd, const char *text, const struct cmd_ssh_options *o)
{
	struct home_server server;
	struct home *home = NULL;
	int r;

	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	r = cmd_ssh_join(cmd, home, text, o, &server);
	if (r == 0)
		fprintf(stderr, "This device is now known to %s (%s). Make a volume on it with:\n\n"
		    "    nuage create %s/NAME\n\n", server.name, server.addresses, server.name);
	home_close(home);
	return r;
}

/* Which program runs on a machine that its owner logs in to is for the owner to say, not for an invitation. */
static bool
names_command(const char *addresses)
{
	return strstr(addresses, "ssh://") != NULL && strchr(addresses, '?') != NULL;
}

static int
join(int argc, char **argv)
{
	static const struct option options[] = {
		{ "name", required_argument, NULL, 'n' }, { "create", no_argument, NULL, 'c' },
		{ "nuaged", required_argument, NULL, 'N' },
		{ "install-server", no_argument, NULL, 'I' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_join;
	struct home_server server = { 0 };
	struct join_secrets *s = NULL;
	struct cmd_ssh_options ssh = { 0 };
	const char *wanted = NULL;
	struct home *home = NULL;
	uint8_t *device = NULL;
	int c, r;

	while ((c = cmd_option(cmd, argc, argv, "n:cN:Ih", options)) != -1) {
		if (c == '?')
			return cmd_usage(cmd, NULL);
		if (c == 'c')
			ssh.create = true;
		else if (c == 'N')
			ssh.nuaged = optarg;
		else if (c == 'I')
			ssh.install = true;
		else
			wanted = optarg;
	}
	if (argc - optind > 1)
		return cmd_usage(cmd, "one invitation at a time");
	if (wanted != NULL && !home_name_valid(wanted))
		return cmd_usage(cmd, "a server's name is made of letters, digits, '.', '_' and '-'");
	if (argc - optind == 1 && cmd_is_ssh(argv[optind])) {
		ssh.name = wanted;
		return join_ssh(cmd, argv[optind], &ssh);
	}
	if (ssh.create || ssh.install || ssh.nuaged != NULL)
		return cmd_usage(cmd, "--create, --nuaged and --install-server go with ssh://HOST");
	s = sodium_malloc(sizeof *s);
	if (s == NULL)
		return cmd_fail(cmd, CMD_FAILED, "out of locked memory");
	memset(s, 0, sizeof *s);
	if (argc - optind == 1 && strcmp(argv[optind], "-") != 0) {
		snprintf(s->text, sizeof s->text, "%s", argv[optind]);
		sodium_memzero(argv[optind], strlen(argv[optind]));	/* out of ps(1) */
	} else if (cmd_read_secret("Invitation: ", s->text, sizeof s->text) < 0) {
		r = cmd_usage(cmd, "no invitation given");
		goto out;
	}
	if ((r = parse(cmd, s)) != 0 || (r = cmd_home(cmd, &home)) != 0)
		goto out;
	snprintf(server.addresses, sizeof server.addresses, "%s", s->invitation.address);
	memcpy(server.key, s->invitation.server, KEY_SIZE);
	if (names_command(server.addresses)) {
		r = cmd_fail(cmd, CMD_REFUSED, "the invitation names a command for an SSH login: join %.*s yourself first",
		    (int)strcspn(server.addresses, "?"), server.addresses);
		goto out;
	}
	r = home_device(home, true, &device);
	if (r < 0) {
		r = cmd_fail(cmd, CMD_FAILED, "this device's key in %s: %s", home_config(home), strerror(-r));
		goto out;
	}
	r = redeem(cmd, home, s, device, &server, wanted);
out:
	sodium_free(device);
	sodium_free(s);
	home_close(home);
	return r;
}

const struct cmd cmd_join = {
	"join", join, "use an invitation: to a server, or to a volume",
	"join [--name SERVER] [INVITATION]\n"
	"       nuage join [--name SERVER] [--create] [--nuaged COMMAND | --install-server]\n"
	"                  ssh://[USER@]HOST[:PORT][/PATH]\n"
	"\n"
	"Makes this device known to the server that the invitation names, and to the\n"
	"volume, when it is an invitation to one. The server's key is kept and checked\n"
	"from now on. Without INVITATION, or with '-', it is read from standard input.\n"
	"\n"
	"With ssh:// the login takes the place of an invitation: the store is the one at\n"
	"PATH, /var/lib/nuage unless given, and must be the login's own, or served by a\n"
	"nuaged that admits it.\n"
	"\n"
	"  -c, --create        make the store if there is none, without asking\n"
	"  -N, --nuaged COMMAND  what to run there; default: nuaged, by its PATH\n"
	"  -I, --install-server  copy a nuaged there, to ~/.cache/nuage, if there is none\n"
	"  -n, --name SERVER   call the server this; default: its host name\n"
	"  -h, --help          show this text\n"
};
