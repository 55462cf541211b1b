/*
 * cmd_ssh.c - what join and mount do with ssh://: make this device known to the
 * nuaged behind it, and find or make the volume.  Who can log in as the owner
 * of a store needs no invitation.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/ssh.h"
#include "fs/stream.h"
#include "fs/ssh_ask.h"
#include "fs/ssh_place.h"

static const char volume_unnamed[] = "drive";

bool
cmd_is_ssh(const char *text)
{
	return ssh_place_is(text);
}

/* ---- which server is it? ---- */

struct url_search {
	const char		*url;
	struct home_server	*to;
};

static bool
has_address(const char *addresses, const char *url)
{
	size_t len = strlen(url);

	for (const char *at = addresses; *at != '\0'; at += strcspn(at, ", "), at += strspn(at, ", "))
		if (strcspn(at, ", ") == len && memcmp(at, url, len) == 0)
			return true;
	return false;
}

static int
compare_url(void *context, const struct home_server *s)
{
	struct url_search *search = context;

	if (!has_address(s->addresses, search->url))
		return 0;
	*search->to = *s;
	return 1;
}

/*
 * Where it says it listens, on the host that SSH connected to (the address's own
 * name may be for SSH alone); then by SSH.  All it may say is the port.
 */
static int
make_addresses(struct home_server *server, const struct ssh_place *place, const char *url, const struct ssh_answer *a)
{
	const char *colon = strrchr(a->address, ':'), *host = a->host[0] != '\0' ? a->host : place->host;
	bool direct = colon != NULL && strncmp(a->address, "unix:", 5) != 0 && ssh_place_port(colon + 1) != 0;
	char address[HOME_ADDRESSES] = "";

	if (direct)
		snprintf(address, sizeof address, strchr(host, ':') != NULL ? "[%s]%s," : "%s%s,", host, colon);
	return snprintf(server->addresses, sizeof server->addresses, "%s%s", address, url) <
	    (int)sizeof server->addresses ? 0 : -ENAMETOOLONG;
}

static int
add_address(struct home_server *server, const char *before, const char *url)
{
	size_t len = strlen(before), more = strlen(url);

	if (len + 1 + more >= sizeof server->addresses)
		return -ENAMETOOLONG;
	memcpy(server->addresses, before, len);
	server->addresses[len] = ',';
	memcpy(server->addresses + len + 1, url, more + 1);
	return 0;
}

static int
make_known(const struct cmd *cmd, const char *url, const struct ssh_answer *a,
    const uint8_t *device)
{
	struct message m = { .type = MSG_redeem };
	struct link *link = NULL;
	struct cmd_call call;
	char why[640];
	int r;

	r = cmd_connect(&link, url, a->server_key, device, why, sizeof why);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	memcpy(m.redeem.token, a->token, SECRET_SIZE);
	r = cmd_call(link, &m, MSG_redeemed, &call);
	sodium_memzero(&m, sizeof m);
	if (r < 0)
		r = cmd_fail(cmd, cmd_exit_of(r), "the server refused: %s", call.why);
	cmd_call_done(&call);
	link_close(link);
	return r;
}

/* Whether to do what is missing there; 0, or an exit code, said. */
static int
ask_leave(const struct cmd *cmd, const char *prompt, const char *lacking)
{
	bool yes = false;
	int r = ssh_ask_yes(prompt, &yes);

	ssh_ask_done(r, lacking);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "%s", lacking);
	return yes ? 0 : cmd_fail(cmd, CMD_FAILED, "nothing was made");
}

/*
 * Speaks to the bridge, for a token if `enroll`; a nuaged that is not there, or
 * a store, is made if that is wanted.
 */
static int
ask_bridge(const struct cmd *cmd, const char *url, bool enroll, const struct cmd_ssh_options *o, struct ssh_answer *a)
{
	bool create = o->create, install = o->install, again;
	char why[640], prompt[700], lacking[400];
	struct stream *stream = NULL;
	int r;

	do {
		*a = (struct ssh_answer){ .enroll = enroll, .create = create, .install = install };
		r = ssh_open(&stream, url, -1, a, why, sizeof why);
		again = false;
		if (r == -ENOEXEC && a->lacking && !install) {
			int refused;

			snprintf(prompt, sizeof prompt, "nuaged is not installed at %s.\n"
			    "Copy it there, to ~/.cache/nuage (yes/no)? ", url);
			if ((refused = ask_leave(cmd, prompt, why)) != 0)
				return refused;
			again = install = true;
		} else if (r == -ENOENT && a->absent && !create && enroll) {
			int refused;

			snprintf(prompt, sizeof prompt, "There is no store at %s yet.\nMake one (yes/no)? ", url);
			snprintf(lacking, sizeof lacking, "%s: there is no store yet; --create makes one", url);
			if ((refused = ask_leave(cmd, prompt, lacking)) != 0)
				return refused;
			again = create = true;
		}
	} while (again);
	if (r < 0)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	stream_close(stream);
	return 0;
}

int
cmd_ssh_join(const struct cmd *cmd, struct home *home, const char *text, const struct cmd_ssh_options *o,
    struct home_server *server)
{
	struct home_server there;
	struct ssh_place place;
	struct ssh_answer a;
	char url[SSH_URL];
	uint8_t *device = NULL;
	int r;

	r = ssh_place_parse(&place, text);
	if (r == 0 && place.path[0] == '\0')
		strcpy(place.path, "/var/lib/nuage");
	if (r == 0 && o->nuaged != NULL && snprintf(place.nuaged, sizeof place.nuaged, "%s", o->nuaged) >=
	    (int)sizeof place.nuaged)
		r = -ENAMETOOLONG;
	if (r == 0)
		r = ssh_place_print(&place, url);
	if (r < 0)
		return cmd_usage(cmd, r == -ENAMETOOLONG ? "that address is too long" :
		    "an address is ssh://[USER@]HOST[:PORT]/PATH");
	memset(server, 0, sizeof *server);
	if (home_each_server(home, compare_url, &(struct url_search){ url, server }) == 1)
		return 0;
	r = home_device(home, true, &device);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "this device's key in %s: %s", home_config(home), strerror(-r));
	r = ask_bridge(cmd, url, true, o, &a);
	if (r == 0)
		r = make_known(cmd, url, &a, device);
	sodium_free(device);
	if (r != 0)
		return r;
	memcpy(server->key, a.server_key, KEY_SIZE);
	r = make_addresses(server, &place, url, &a);
	/* Known by another address: this one is added. */
	if (r == 0 && home_server_by_key(home, a.server_key, &there) == 0)
		r = add_address(server, there.addresses, url);
	if (r == 0)
		r = home_server_save(home, server, o->name);
	sodium_memzero(&a, sizeof a);
	if (r < 0)
		return cmd_fail(cmd, CMD_FAILED, "the server cannot be kept: %s", r == -EEXIST ?
		    "another one has that name; say --name" : strerror(-r));
	return 0;
}

/* ---- which volume? ---- */

struct volume_search {
	const char		*server;
	struct home_volume	*to;
	unsigned		 count;
};

static int
count_volume(void *context, const struct home_volume *v)
{
	struct volume_search *search = context;

	if (strcmp(v->server, search->server) == 0 && search->count++ == 0)
		*search->to = *v;
	return 0;
}

static int
make_volume(const struct cmd *cmd, struct home *home, const struct home_server *server, const char *name, bool create)
{
	char prompt[200 + 2 * HOME_NAME], lacking[200 + 2 * HOME_NAME];
	int r;

	snprintf(prompt, sizeof prompt, "This device has no volume %s/%s.\nMake it (yes/no)? ", server->name, name);
	snprintf(lacking, sizeof lacking, "this device has no volume %s/%s: --create makes it, or a device that is a "
	    "member of it invites this one (nuage invite)", server->name, name);
	if (!create && (r = ask_leave(cmd, prompt, lacking)) != 0)
		return r;
	return cmd_create_volume(cmd, home, server, name);
}

int
cmd_ssh_find(const struct cmd *cmd, struct home *home, const char *text, const struct cmd_ssh_options *o,
    struct home_volume *volume, struct home_server *server)
{
	char *url = strdup(text), full[2 * HOME_NAME], *name;
	struct volume_search search = { .to = volume };
	int r;

	if (url == NULL)
		return cmd_fail(cmd, CMD_FAILED, "out of memory");
	name = strchr(url, '#');
	if (name != NULL)
		*name++ = '\0';
	if (name != NULL && !home_name_valid(name)) {
		r = cmd_usage(cmd, "a volume's name is 1 to 64 letters, digits, '.', '_' and '-'");
		goto out;
	}
	if ((r = cmd_ssh_join(cmd, home, url, o, server)) != 0)
		goto out;
	search.server = server->name;
	if (name == NULL) {
		home_each_volume(home, count_volume, &search);
		if (search.count > 1) {
			r = cmd_fail(cmd, CMD_USAGE, "this device has several volumes there: say %s#VOLUME", url);
			goto out;
		}
		snprintf(full, sizeof full, "%s/%s", server->name, search.count == 1 ? volume->name : volume_unnamed);
	} else {
		snprintf(full, sizeof full, "%s/%s", server->name, name);
	}
	r = home_volume_find(home, full, volume);
	if (r == -ENOENT || (r == 0 && !volume->formatted)) {
		if ((r = make_volume(cmd, home, server, strchr(full, '/') + 1, o->create || r == 0)) != 0)
			goto out;
		r = home_volume_find(home, full, volume);
	}
	if (r < 0)
		r = cmd_fail(cmd, CMD_FAILED, "%s: its file in %s cannot be used: %s", full, home_config(home), strerror(-r));
out:
	free(url);
	return r;
}

/* Of a list of addresses, the one by SSH. */
static bool
ssh_address(const char *addresses, char to[SSH_URL])
{
	const char *at = strstr(addresses, "ssh://");

	return at != NULL && snprintf(to, SSH_URL, "%.*s", (int)strcspn(at, ", "), at) < SSH_URL;
}

int
cmd_ssh_warm(const struct cmd *cmd, struct home *home, const struct home_server *server,
    const struct cmd_ssh_options *o)
{
	char why[640], url[SSH_URL];
	struct link *link = NULL;
	struct ssh_answer a;
	uint8_t *device = NULL;
	int r;

	if (!ssh_address(server->addresses, url))
		return o->install ? cmd_usage(cmd, "--install-server goes with a server that is reached by ssh://") : 0;
	if (o->install && (r = ask_bridge(cmd, url, false, o, &a)) != 0)
		return r;
	if (home_device(home, false, &device) < 0)
		return 0;
	r = cmd_connect(&link, server->addresses, server->key, device, why, sizeof why);
	/* It was there once. */
	if (r == -ENOEXEC && !o->install) {
		r = ask_bridge(cmd, url, false, o, &a);
		if (r == 0)
			r = cmd_connect(&link, server->addresses, server->key, device, why, sizeof why);
	}
	sodium_free(device);
	link_close(link);
	/* What is only away for now is the mount's own affair. */
	if (r < 0 && cmd_exit_of(r) != CMD_UNREACHABLE)
		return cmd_fail(cmd, cmd_exit_of(r), "%s", why);
	return r > 0 ? r : 0;
}
