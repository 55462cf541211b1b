/*
 * fuzz_ssh.c - what is read of others' texts about SSH: known_hosts, the
 * output of `ssh -G`, and ssh:// addresses.  The first byte chooses.  A key
 * that is added to a file is found in it; an address that parses prints, and
 * what was printed parses to the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ssh_config.h"
#include "fs/ssh_known.h"
#include "fs/ssh_place.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "ssh";

enum { LINE_SIZE = 64 * 1024 };

/* An ed25519 key on the wire, of zeros. */
static const uint8_t key[51] = "\0\0\0\13ssh-ed25519\0\0\0\40";

static void
read_known(const char *text, size_t len)
{
	struct ssh_known k = { .key = key, .key_len = sizeof key }, types = { .key = NULL };

	ssh_known_name(k.name, "host.example", 2222);
	ssh_known_name(types.name, "host.example", 22);
	ssh_known_read(&k, text, len, "known_hosts");
	ssh_known_read(&types, text, len, "known_hosts");
	promise(!types.same && !types.other && !types.revoked);
	promise(!(k.same || k.other || k.other_type) || k.types[0] != '\0');
	promise(!(k.other || k.revoked) || k.where[0] != '\0');
}

static void
read_config(const char *text)
{
	struct ssh_place place = { .host = "host.example", .user = "me" };
	char command[SSH_PROXY];
	struct ssh_config c;

	ssh_config_defaults(&c, &place);
	if (ssh_config_read(&c, text) < 0)
		return;
	promise(c.host[0] != '\0' && c.host[0] != '-' && c.port >= 1 && c.port <= 65535);
	promise(c.connect_s <= 10000 && strlen(c.ciphers) < SSH_LIST && strlen(c.host_keys) < SSH_LIST);
	promise(c.identities.count <= SSH_FILES && c.known.count <= SSH_FILES && c.known_global.count <= SSH_FILES);
	if (ssh_config_expand(&c, &place, c.proxy_command, command, sizeof command) == 0)
		promise(strlen(command) < sizeof command);
}

static void
read_place(const char *text)
{
	char printed[SSH_URL], again[SSH_URL], command[SSH_COMMAND];
	struct ssh_place p, q;

	if (ssh_place_parse(&p, text) < 0)
		return;
	promise(p.host[0] != '\0' && p.host[0] != '-' && p.user[0] != '-');
	if (ssh_place_print(&p, printed) < 0)
		return;
	promise(strpbrk(printed, ", \t\n#'\"") == NULL);
	promise(ssh_place_parse(&q, printed) == 0 && ssh_place_print(&q, again) == 0 && strcmp(printed, again) == 0);
	promise(strcmp(p.path, q.path) == 0 && strcmp(p.user, q.user) == 0 && strcmp(p.nuaged, q.nuaged) == 0);
	promise(ssh_place_command(&p, true, command) == 0 && ssh_place_plain(&p, true, command) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0 || size > LINE_SIZE || (text = malloc(size)) == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 'k')
		read_known(text, size - 1);
	else if (data[0] == 'c')
		read_config(text);
	else
		read_place(text);
	free(text);
	return 0;
}
