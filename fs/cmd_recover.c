/*
 * cmd_recover.c - a volume back from its recovery code, on a device that never
 * saw it.  The code makes a device key of its own, known to the server since
 * the volume was created; with it this device is added.
 */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>

#include "fs/cmd.h"
#include "proto/invite.h"
#include "proto/noise.h"

struct recover_secrets {
	char			text[INVITE_RECOVERY_TEXT];
	struct recovery_code	code;
	uint8_t			recovery_device[KEY_SIZE], wrap_key[KEY_SIZE], volume_key[KEY_SIZE];
};

/* The volume's id, name and key, by the recovery device's link. */
static int
get_key(const struct cmd *cmd, struct link *link, struct recover_secrets *s, struct home_volume *v)
{
	struct message m = { .type = MSG_wrap_get };
	struct cmd_call call;
	int r;

	r = cmd_call(link, &m, MSG_wrap, &call);
	if (r == -EACCES || r == -ENOENT) {
		r = cmd_fail(cmd, CMD_REFUSED, "the server knows no volume of this code");
	} else if (r < 0) {
		r = cmd_fail(cmd, cmd_exit_of(r), "the server refused: %s", call.why);
	} else {
		memcpy(v->id, call.answer.wrap.volume, VOLUME_ID_SIZE);
		snprintf(v->name, sizeof v->name, "%.*s", (int)call.answer.wrap.name.len,
		    (const char *)call.answer.wrap.name.data);
		wrap_key_of_recovery(s->code.secret, s->wrap_key);
		if (!home_name_valid(v->name) || wrap_open(s->wrap_key, v->id, call.answer.wrap.wrap, s->volume_key) < 0)
			r = cmd_fail(cmd, CMD_REFUSED, "the server sent a volume key that is not of this code");
	}
	cmd_call_done(&call);
	return r;
}

static int
recover_with(const struct cmd *cmd, struct home *home, struct recover_secrets *s)
{
	struct home_server server = { 0 };
	struct home_volume v = { .formatted = true };
	struct message m = { .type = MSG_device_add };
	struct link *link = NULL;
	uint8_t *device = NULL;
	struct cmd_call call;
	char why[640];
	int r;

	wrap_recovery_device(s->code.secret, s->recovery_device);
	r = cmd_connect(&link, s->code.address, s->code.server, s->recovery_device, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	if ((r = get_key(cmd, link, s, &v)) != 0)
		goto out;
	r = home_device(home, true, &device);
	if (r < 0) {
		r = cmd_fail(cmd, CMD_FAILED, "this device's key in %s: %s", home_config(home), strerror(-r));
		goto out;
	}
	memcpy(m.device_add.volume, v.id, VOLUME_ID_SIZE);
	noise_public(device, m.device_add.device);
	r = cmd_call(link, &m, MSG_done, &call);
	if (r < 0)
		r = cmd_fail(cmd, cmd_exit_of(r), "the server refused this device: %s", call.why);
	cmd_call_done(&call);
	if (r != 0)
		goto out;
	strcpy(server.addresses, s->code.address);
	memcpy(server.key, s->code.server, KEY_SIZE);
	r = home_server_save(home, &server, NULL);
	if (r == 0) {
		strcpy(v.server, server.name);
		wrap_key_of_device(device, s->wrap_key);
		wrap_seal(s->wrap_key, v.id, s->volume_key, v.wrap);
		r = home_volume_save(home, &v);
	}
	if (r < 0)
		r = cmd_fail(cmd, CMD_FAILED, "the volume cannot be kept: %s", strerror(-r));
	else
		fprintf(stderr, "%s/%s is recovered. Mount it with:\n\n    nuage mount %s/%s DIRECTORY\n\n",
		    v.server, v.name, v.server, v.name);
out:
	link_close(link);
	sodium_free(device);
	return r;
}

static int
recover(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	const struct cmd *cmd = &cmd_recover;
	struct recover_secrets *s;
	struct home *home = NULL;
	int r;

	while (cmd_option(cmd, argc, argv, "h", options) != -1)
		return cmd_usage(cmd, NULL);
	if (argc != optind)
		return cmd_usage(cmd, "the code is asked for, not given as an argument, where others could see it");
	s = sodium_malloc(sizeof *s);
	if (s == NULL)
		return cmd_fail(cmd, CMD_FAILED, "out of locked memory");
	memset(s, 0, sizeof *s);
	if (cmd_read_secret("Recovery code: ", s->text, sizeof s->text) < 0) {
		r = cmd_usage(cmd, "no recovery code given");
		goto out;
	}
	r = invite_parse_recovery(&s->code, s->text);
	if (r == -EBADMSG)
		r = cmd_fail(cmd, CMD_FAILED, "the code is mistyped or incomplete: compare it with what was written down");
	else if (r == -ENOTSUP)
		r = cmd_fail(cmd, CMD_FAILED, "the code was made by a newer nuage: update this one");
	else if (r < 0)
		r = cmd_fail(cmd, CMD_FAILED, "this is not a recovery code: one begins with nuage-recover-");
	if (r == 0 && (r = cmd_home(cmd, &home)) == 0)
		r = recover_with(cmd, home, s);
out:
	home_close(home);
	sodium_free(s);
	return r;
}

const struct cmd cmd_recover = {
	"recover", recover, "get a volume back by its recovery code",
	"recover\n"
	"\n"
	"Asks for the code that nuage create printed, without showing it, or reads it\n"
	"from standard input when that is no terminal. This device becomes a member of\n"
	"the volume.\n"
	"\n"
	"  -h, --help   show this text\n"
};
