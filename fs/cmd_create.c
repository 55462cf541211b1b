/* cmd_create.c - make a volume: its key, its recovery code, its first two objects. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/log.h"
#include "fs/serve_config.h"
#include "proto/invite.h"
#include "proto/noise.h"

/* What the command holds in locked memory. */
struct create_secrets {
	uint8_t			volume_key[KEY_SIZE], wrap_key[KEY_SIZE], recovery_device[KEY_SIZE];
	struct recovery_code	code;
	char			text[INVITE_RECOVERY_TEXT];
};

static int
count_server(void *context, const struct home_server *s)
{
	struct home_server *first = context;

	if (first->name[0] != '\0')
		return 1;
	*first = *s;
	return 0;
}

/* SERVER/NAME, or NAME when there is one server. */
static int
choose_server(const struct cmd *cmd, struct home *home, const char *text, struct home_server *server,
    struct home_volume *v)
{
	const char *slash = strchr(text, '/');
	const char *name = slash != NULL ? slash + 1 : text;
	char wanted[HOME_NAME];
	int r;

	if (!home_name_valid(name))
		return cmd_usage(cmd, "a volume's name is 1 to 64 letters, digits, '.', '_' and '-'");
	if (slash != NULL) {
		snprintf(wanted, sizeof wanted, "%.*s", (int)(slash - text < VOLUME_NAME_MAX ? slash - text :
		    VOLUME_NAME_MAX), text);
		if (home_server_load(home, wanted, server) < 0)
			return cmd_fail(cmd, CMD_FAILED, "%s: this device knows no such server; use an invitation to it "
			    "with nuage join", wanted);
	} else {
		r = home_each_server(home, count_server, server);
		if (server->name[0] == '\0')
			return cmd_fail(cmd, CMD_FAILED, "this device knows no server yet: use an invitation with nuage join");
		if (r != 0)
			return cmd_fail(cmd, CMD_USAGE, "this device knows several servers: say SERVER/%s", name);
	}
	strcpy(v->server, server->name);
	strcpy(v->name, name);
	return 0;
}

/* VOLUME_CREATE, and the volume's file, which is written first: the key must never be the server's alone. */
static int
register_volume(const struct cmd *cmd, struct home *home, const struct home_server *server,
    struct home_volume *v, struct create_secrets *s, const uint8_t *device)
{
	struct message m = { .type = MSG_volume_create };
	uint8_t wrap[WRAP_SIZE];
	struct link *link = NULL;
	struct cmd_call call;
	char why[640];
	int r;

	randombytes_buf(v->id, sizeof v->id);
	randombytes_buf(s->volume_key, sizeof s->volume_key);
	randombytes_buf(s->code.secret, sizeof s->code.secret);
	snprintf(s->code.address, sizeof s->code.address, "%.*s", (int)strcspn(server->addresses, ","), server->addresses);
	memcpy(s->code.server, server->key, KEY_SIZE);
	if (invite_print_recovery(&s->code, s->text) < 0)
		return cmd_fail(cmd, CMD_FAILED, "the server's address is too long for a recovery code");
	wrap_key_of_device(device, s->wrap_key);
	wrap_seal(s->wrap_key, v->id, s->volume_key, v->wrap);
	wrap_recovery_device(s->code.secret, s->recovery_device);
	noise_public(s->recovery_device, m.volume_create.recovery);
	wrap_key_of_recovery(s->code.secret, s->wrap_key);
	wrap_seal(s->wrap_key, v->id, s->volume_key, wrap);
	memcpy(m.volume_create.volume, v->id, VOLUME_ID_SIZE);
	m.volume_create.name = (struct bytes){ (const uint8_t *)v->name, strlen(v->name) };
	m.volume_create.wrap = (struct bytes){ wrap, sizeof wrap };

	r = cmd_connect(&link, server->addresses, server->key, device, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	r = home_volume_save(home, v);
	if (r < 0) {
		link_close(link);
		return cmd_fail(cmd, CMD_FAILED, "the volume's key cannot be kept in %s: %s",
		    home_config(home), strerror(-r));
	}
	r = cmd_call(link, &m, MSG_done, &call);
	if (r == -EEXIST)
		cmd_fail(cmd, CMD_REFUSED, "%s has a volume named %s already; to use it, have a member's device invite this "
		    "one: nuage invite", server->name, v->name);
	else if (r == -EACCES)
		cmd_fail(cmd, CMD_REFUSED, "this device may not make volumes on %s: that takes an invitation to the server, "
		    "from nuaged invite", server->name);
	else if (r < 0)
		cmd_fail(cmd, cmd_exit_of(r), "the server refused: %s", call.why);
	cmd_call_done(&call);
	link_close(link);
	if (r == 0)
		return 0;
	/* An answer: it was not made. No answer: it may have been, so the key stays. */
	if (r == -EEXIST || cmd_exit_of(r) == CMD_REFUSED)
		home_volume_remove(home, v);
	return r == -EEXIST ? CMD_REFUSED : cmd_exit_of(r);
}

static int
format_volume(const struct cmd *cmd, struct home *home, const struct home_server *server, struct home_volume *v)
{
	struct serve_secrets secrets;
	struct shell_config config;
	struct shell *shell = NULL;
	char why[512] = "";
	int r;

	r = serve_configure(&config, &secrets, home, server, v, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "%s", why);
	log_set_level(LOG_AT_ERROR);	/* its lanes come and go; what matters is in `why` */
	r = shell_new(&shell, &config, why, sizeof why);
	if (r == 0) {
		r = shell_format(shell, geteuid(), getegid(), 0755);
		if (r < 0)
			snprintf(why, sizeof why, "its first commit: %s", strerror(-r));
		shell_free(shell, true);
	}
	serve_secrets_done(&secrets);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "the volume is registered, but its root directory is not made yet "
		    "(%s); say the same command again", why);
	v->formatted = true;
	r = home_volume_save(home, v);
	return r < 0 ? cmd_fail(cmd, CMD_FAILED, "the volume's file: %s", strerror(-r)) : CMD_OK;
}

int
cmd_create_volume(const struct cmd *cmd, struct home *home, const struct home_server *server, const char *name)
{
	struct home_volume v = { 0 }, there;
	struct create_secrets *s = NULL;
	uint8_t *device = NULL;
	char full[2 * HOME_NAME];
	int r;

	strcpy(v.server, server->name);
	snprintf(v.name, sizeof v.name, "%s", name);
	snprintf(full, sizeof full, "%s/%s", v.server, v.name);
	r = home_volume_find(home, full, &there);
	if (r == 0 && there.formatted)
		return cmd_fail(cmd, CMD_REFUSED, "%s is there already", full);
	if (r == 0)
		/* The first attempt got as far as the server, and printed the code. */
		return format_volume(cmd, home, server, &there);
	if (r != -ENOENT)
		return cmd_fail(cmd, CMD_FAILED, "the file of %s is damaged", full);
	s = sodium_malloc(sizeof *s);
	r = s == NULL ? -ENOMEM : home_device(home, false, &device);
	if (r < 0) {
		r = cmd_fail(cmd, CMD_FAILED, "this device's key: %s", strerror(-r));
		goto out;
	}
	if ((r = register_volume(cmd, home, server, &v, s, device)) != 0)
		goto out;
	fprintf(stderr, "The recovery code of %s follows. It is shown this once. Whoever has it can read the volume;\n"
	    "without it, and without any device that is a member, nobody can. Print it or write it down.\n\n", full);
	printf("%s\n", s->text);
	fflush(stdout);
	r = format_volume(cmd, home, server, &v);
out:
	sodium_free(device);
	sodium_free(s);
	return r;
}

static int
create(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	const struct cmd *cmd = &cmd_create;
	struct home_server server = { 0 };
	struct home_volume v = { 0 };
	struct home *home = NULL;
	int r;

	while (cmd_option(cmd, argc, argv, "h", options) != -1)
		return cmd_usage(cmd, NULL);
	if (argc - optind != 1)
		return cmd_usage(cmd, "say one volume's name");
	if ((r = cmd_home(cmd, &home)) != 0)
		return r;
	if ((r = choose_server(cmd, home, argv[optind], &server, &v)) == 0)
		r = cmd_create_volume(cmd, home, &server, v.name);
	if (r == 0)
		fprintf(stderr, "\n%s/%s is made. Mount it with:\n\n    nuage mount %s/%s DIRECTORY\n\n", v.server, v.name,
		    v.server, v.name);
	home_close(home);
	return r;
}

const struct cmd cmd_create = {
	"create", create, "make a volume on a server",
	"create [SERVER/]NAME\n"
	"\n"
	"Makes a volume, and its key on this device. Prints the volume's recovery code,\n"
	"once, on standard output. SERVER may be left out when one server is known.\n"
	"\n"
	"  -h, --help   show this text\n"
};
