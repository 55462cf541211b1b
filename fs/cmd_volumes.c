/* cmd_volumes.c - the volumes of each server, and which of them this device can open. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "fs/cmd.h"

struct volumes {
	struct home		*home;
	const uint8_t		*device;
	bool			 json;
	unsigned		 servers, shown;
	int			 code;
	/* of the server at hand */
	const struct home_server *server;
	const struct msg_volumes *listed;	/* NULL: it cannot be reached */
};

static void
show(struct volumes *s, const char *name, const struct msg_volume_info *info, bool member)
{
	if (!s->json) {
		printf("%s/%s", s->server->name, name);
		if (info != NULL)
			printf("\t%" PRIu64 " object%s\tmounted %" PRIu32 " time%s", info->objects,
			    info->objects == 1 ? "" : "s", info->sessions, info->sessions == 1 ? "" : "s");
		puts(member ? "" : "\tno key on this device");
		s->shown++;
		return;
	}
	printf("%s  { \"server\": ", s->shown++ > 0 ? ",\n" : "\n");
	cmd_json(stdout, s->server->name);
	fputs(", \"name\": ", stdout);
	cmd_json(stdout, name);
	printf(", \"member\": %s", member ? "true" : "false");
	if (info != NULL)
		printf(", \"version\": %" PRIu64 ", \"objects\": %" PRIu64 ", \"sessions\": %" PRIu32,
		    info->version, info->objects, info->sessions);
	fputs(" }", stdout);
}

/* A volume this device has the key of, whether the server lists it or not. */
static int
show_known(void *context, const struct home_volume *v)
{
	struct volumes *s = context;
	const struct msg_volume_info *info = NULL;

	if (strcmp(v->server, s->server->name) != 0)
		return 0;
	for (uint32_t i = 0; s->listed != NULL && i < s->listed->list.count; i++)
		if (memcmp(s->listed->list.at[i].volume, v->id, VOLUME_ID_SIZE) == 0)
			info = &s->listed->list.at[i];
	show(s, v->name, info, true);
	return 0;
}

static int
show_server(void *context, const struct home_server *server)
{
	struct volumes *s = context;
	struct message m = { .type = MSG_volume_list };
	struct cmd_call call = { 0 };
	struct link *link = NULL;
	struct home_volume v;
	char why[640], name[HOME_NAME];
	int r;

	s->servers++;
	s->server = server;
	s->listed = NULL;
	r = cmd_connect(&link, server->addresses, server->key, s->device, why, sizeof why);
	if (r == 0) {
		r = cmd_call(link, &m, MSG_volumes, &call);
		if (r == 0)
			s->listed = &call.answer.volumes;
		else
			snprintf(why, sizeof why, "%s", call.why);
	}
	if (r < 0)
		s->code = cmd_fail(&cmd_volumes, cmd_exit_of(r), "%s: %s", server->name, why);
	home_each_volume(s->home, show_known, s);
	for (uint32_t i = 0; s->listed != NULL && i < s->listed->list.count; i++) {
		const struct msg_volume_info *info = &s->listed->list.at[i];

		if (home_volume_by_id(s->home, info->volume, &v) == 0)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)info->name.len, (const char *)info->name.data);
		show(s, home_name_valid(name) ? name : "?", info, false);
	}
	cmd_call_done(&call);
	link_close(link);
	return 0;
}

static int
volumes(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_volumes;
	struct volumes s = { 0 };
	uint8_t *device = NULL;
	int c, r;

	while ((c = cmd_option(cmd, argc, argv, "jh", options)) != -1) {
		if (c != 'j')
			return cmd_usage(cmd, NULL);
		s.json = true;
	}
	if (argc != optind)
		return cmd_usage(cmd, "it takes no argument");
	if ((r = cmd_home(cmd, &s.home)) != 0)
		return r;
	r = home_device(s.home, false, &device);
	if (r < 0 && r != -ENOENT) {
		r = cmd_fail(cmd, CMD_FAILED, "this device's key: %s", strerror(-r));
		goto out;
	}
	s.device = device;
	if (s.json)
		fputs("[", stdout);
	if (r == 0)
		home_each_server(s.home, show_server, &s);
	if (s.json)
		puts(s.shown > 0 ? "\n]" : "]");
	else if (s.servers == 0)
		fputs("This device knows no server yet; an invitation (nuage join) makes one known.\n", stderr);
	else if (s.shown == 0 && s.code == 0)
		fputs("There is no volume yet; nuage create makes one.\n", stderr);
	r = s.code;
out:
	sodium_free(device);
	home_close(s.home);
	return r;
}

const struct cmd cmd_volumes = {
	"volumes", volumes, "list volumes",
	"volumes [--json]\n"
	"\n"
	"The volumes of every server this device knows.\n"
	"\n"
	"  -j, --json   an array of objects, for programs\n"
	"  -h, --help   show this text\n"
};
