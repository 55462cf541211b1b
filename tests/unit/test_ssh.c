/* test_ssh.c - addresses of SSH, known_hosts, and what `ssh -G` prints. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/ssh_ask.h"
#include "fs/ssh_config.h"
#include "fs/ssh_known.h"
#include "fs/ssh_place.h"
#include "tests/scratch.h"
#include "tests/tap.h"

/* ---- addresses ---- */

static bool
refused(const char *text)
{
	struct ssh_place p;

	return ssh_place_parse(&p, text) < 0;
}

static void
test_place(void)
{
	struct ssh_place p;
	char url[SSH_URL], command[SSH_COMMAND], word[400];

	ok(ssh_place_parse(&p, "ssh://me@Host.Example:2222/srv/my%20store?nuaged=/opt/nuaged") == 0 &&
	    strcmp(p.user, "me") == 0 && strcmp(p.host, "host.example") == 0 && p.port == 2222 &&
	    strcmp(p.path, "/srv/my store") == 0 && strcmp(p.nuaged, "/opt/nuaged") == 0, "all parts of an address");
	ok(ssh_place_print(&p, url) == 0 &&
	    strcmp(url, "ssh://me@host.example:2222/srv/my%20store?nuaged=/opt/nuaged") == 0, "and printed");
	ok(ssh_place_parse(&p, "ssh://[fe80::1]:22/x") == 0 && strcmp(p.host, "fe80::1") == 0 && p.port == 22,
	    "an IPv6 address");
	ok(ssh_place_parse(&p, "ssh://h/~/drive") == 0 && strcmp(p.path, "~/drive") == 0 &&
	    ssh_place_print(&p, url) == 0 && strcmp(url, "ssh://h/~/drive") == 0, "a path below home");
	ok(ssh_place_parse(&p, "ssh://h") == 0 && p.path[0] == '\0', "no path");
	ok(refused("ssh://-oProxyCommand=x/y") && refused("ssh://-l@h/y") && refused("ssh://h;id/y") &&
	    refused("ssh://$(id)@h/y") && refused("ssh://a%60b@h/y"), "nothing that ssh or a shell would take for its own");
	ok(refused("ssh://h/y?nuaged=-x") && refused("ssh://h/y?other=x"), "no other parameters");
	ok(refused("ssh://h:0/") && refused("ssh://h:65536/") && refused("ssh://h:/") && refused("ssh://h:1x/"),
	    "ports are numbers of ports");
	ok(refused("ssh://h/a%00b") && refused("ssh://h/a%0Ab") && refused("ssh://h/%4") && refused("ssh:///x"),
	    "nor what no name holds");
	ok(ssh_place_parse(&p, "ssh://h/it's%2Chere") == 0 && ssh_place_print(&p, url) == 0 &&
	    strpbrk(url, ",' ") == NULL, "a list of addresses does not take it apart");
	ok(ssh_place_command(&p, true, command) == 0 && strstr(command, "'/it'\\''s,here'") != NULL &&
	    strstr(command, " bridge --create --data ") != NULL, "the far side's shell gets one word");
	ok(ssh_place_plain(&p, false, command) == 0 && strcmp(command, " 'nuaged' bridge --data '/it'\\''s,here'") == 0,
	    "a restricted one gets nothing else");
	ok(ssh_place_script("echo \"$1\"", (const char *[]){ "it's", NULL }, command) == 0 &&
	    strcmp(command, "exec sh -c 'echo \"$1\"' sh 'it'\\''s'") == 0, "a script and its argument");
	memset(word, 'x', sizeof word);
	memcpy(word, "ssh://h/", 8);
	word[sizeof word - 1] = '\0';
	ok(ssh_place_parse(&p, word) == -ENAMETOOLONG, "a path has an end");
}

/* ---- known hosts ---- */

static const uint8_t key[51] = "\0\0\0\13ssh-ed25519\0\0\0\40" "one";
static const uint8_t other[51] = "\0\0\0\13ssh-ed25519\0\0\0\40" "two";
#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIG9uZQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER "AAAAC3NzaC1lZDI1NTE5AAAAIHR3bwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct ssh_known
look(const char *name, unsigned port, const char *text)
{
	struct ssh_known k = { .key = key, .key_len = sizeof key };

	ssh_known_name(k.name, name, port);
	ssh_known_read(&k, text, strlen(text), "known");
	return k;
}

static void
test_known(void)
{
	struct ssh_known k;

	ok(look("h.example", 22, "h.example ssh-ed25519 " KEY "\n").same, "a plain name");
	ok(look("H.Example", 22, "a,h.EXAMPLE ssh-ed25519 " KEY " comment").same, "in a list, in any case, at the end of a file");
	ok(!look("h.example", 2222, "h.example ssh-ed25519 " KEY "\n").same &&
	    look("h.example", 2222, "[h.example]:2222 ssh-ed25519 " KEY "\n").same, "another port is another host");
	ok(look("h.example", 22, "*.example ssh-ed25519 " KEY "\n").same &&
	    look("h.example", 22, "?.ex*le ssh-ed25519 " KEY "\n").same &&
	    !look("h.example", 22, "*.exampl ssh-ed25519 " KEY "\n").same, "patterns");
	ok(!look("h.example", 22, "*.example,!h.* ssh-ed25519 " KEY "\n").same, "and what they leave out");
	k = look("h", 22, "# comment\n\nh ssh-ed25519 " OTHER "\n");
	ok(!k.same && k.other && strcmp(k.where, "known:3") == 0, "another key, and where it is");
	k = look("h", 22, "h ssh-ed25519 " OTHER "\nh ssh-ed25519 " KEY "\n");
	ok(k.same && k.other, "one of two keys");
	k = look("h", 22, "h ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=\n");
	ok(!k.same && !k.other && k.other_type && strcmp(k.types, "ecdsa-sha2-nistp256") == 0, "a key of another type");
	k = look("h", 22, "h ssh-ed25519 " KEY "\n@revoked * ssh-ed25519 " KEY "\n");
	ok(k.revoked && strcmp(k.where, "known:2") == 0, "a revoked key");
	ok(!look("h", 22, "@revoked * ssh-ed25519 " OTHER "\n").revoked, "another's revocation");
	k = look("h", 22, "@cert-authority * ssh-ed25519 " KEY "\n");
	ok(k.authority && !k.same, "an authority's key is not the host's");
	ok(!look("h", 22, "@unheard-of h ssh-ed25519 " KEY "\n").same, "an unknown marker makes no host known");
	ok(!look("h", 22, "h ssh-rsa " KEY "\n").same && !look("h", 22, "h ssh-ed25519\n").same &&
	    !look("h", 22, "h ssh-ed25519 AAAA!\n").same, "lines that are none");
}

static void
test_known_file(void)
{
	struct ssh_known k = { .key = key, .key_len = sizeof key }, found;
	char directory[1024], path[2048], folder[1100];

	if (!ok(mkdtemp(scratch(directory, sizeof directory, "ssh")) != NULL, "a directory"))
		return;
	snprintf(folder, sizeof folder, "%s/new", directory);
	snprintf(path, sizeof path, "%s/known_hosts", folder);
	ok(ssh_known_file(&k, path) == 0 && !k.same, "a file that is not there knows nothing");
	ssh_known_name(k.name, "h", 2222);
	ok(ssh_known_add(&k, path, true) == 0, "a hashed entry is added");
	found = k;
	ok(ssh_known_file(&found, path) == 0 && found.same, "and found");
	found = k;
	ssh_known_name(found.name, "h", 2223);
	ok(ssh_known_file(&found, path) == 0 && !found.same, "by its own name alone");
	ok(truncate(path, 100) == 0, "the file loses its end");
	k.key = other;
	ok(ssh_known_add(&k, path, false) == 0, "a plain entry is added");
	found = k;
	found.key = other;
	ok(ssh_known_file(&found, path) == 0 && found.same, "and not run on to a broken line");
	unlink(path);
	rmdir(folder);
	rmdir(directory);
}

/* ---- ssh -G ---- */

static void
test_config(void)
{
	const struct ssh_place place = { .host = "alias" };
	struct ssh_config c;
	char to[100];

	ssh_config_defaults(&c, &place);
	ok(c.port == 22 && strcmp(c.host, "alias") == 0 && c.identities.count == 3 && c.strict == SSH_ASK,
	    "without ssh(1) its defaults");
	ok(ssh_config_read(&c, "identityfile /a/%h-%p\nhostname real\nport 2222\nuser me\nidentityfile /b\n"
	    "stricthostkeychecking accept-new\nhashknownhosts yes\nproxyjump none\nproxycommand nc %h %p\n"
	    "userknownhostsfile /k1 /k2\npasswordauthentication no\nciphers aes128-ctr\nmacs m\nkexalgorithms k\n"
	    "hostkeyalgorithms a,b\npreferredauthentications password\nproxyusefdpass yes\n") == 0, "what ssh -G prints");
	ok(strcmp(c.host, "real") == 0 && c.port == 2222 && strcmp(c.user, "me") == 0, "host, port, user");
	ok(c.identities.count == 2 && strcmp(c.identities.path[0], "/a/real-2222") == 0, "files, with what they are named after");
	ok(c.known.count == 2 && strcmp(c.known.path[1], "/k2") == 0 && c.hash_known && c.strict == SSH_ACCEPT_NEW &&
	    !c.password && c.interactive, "and the rest");
	ok(strcmp(c.ciphers, "aes128-ctr") == 0 && strcmp(c.macs, "m") == 0 && strcmp(c.kex, "k") == 0 &&
	    strcmp(c.host_keys, "a,b") == 0 && strcmp(c.methods, "password") == 0 && c.fdpass, "algorithms");
	ok(c.proxy_jump[0] == '\0' && ssh_config_expand(&c, &place, c.proxy_command, to, sizeof to) == 0 &&
	    strcmp(to, "nc real 2222") == 0, "a proxy's command");
	ok(ssh_config_expand(&c, &place, "%q", to, sizeof to) == -EINVAL &&
	    ssh_config_expand(&c, &place, "%h%h%h", to, 10) == -ENAMETOOLONG, "one that is not understood");
	ok(ssh_config_read(&c, "usage: ssh\n") == -EINVAL && ssh_config_read(&c, "hostname -x\n") == -EINVAL &&
	    ssh_config_read(&c, "hostname h\nport 0\n") == -EINVAL, "what is no configuration");
}

static int
say_yes(void *context, const char *prompt, bool echo, char to[SSH_SECRET])
{
	(void)context, (void)prompt, (void)echo;
	strcpy(to, "yes");
	return 0;
}

static void
say_nothing(void *context, int error, const char *why)
{
	(void)context, (void)error, (void)why;
}

static void
test_kept(void)
{
	char secret[SSH_SECRET];

	ssh_keep("me@h", "one");
	ssh_keep("me@h", "two");
	ok(ssh_kept("me@h", secret) && strcmp(secret, "two") == 0 && !ssh_kept("me@i", secret), "what is kept is given back");
	ssh_forget("me@h");
	ok(!ssh_kept("me@h", secret), "and forgotten");
	ssh_keep("me@h", "three");
	ssh_doubt("me@h");
	ssh_doubt("me@h");
	ok(ssh_kept("me@h", secret), "what was refused twice may be good again");
	ssh_keep("me@h", "three");
	ssh_doubt("me@h");
	ssh_doubt("me@h");
	ok(ssh_kept("me@h", secret), "and when it was, all is forgiven");
	ssh_doubt("me@h");
	ok(!ssh_kept("me@h", secret), "three times in a row is enough");
	ssh_ask_nobody();
	ok(ssh_ask_secret(NULL, "?", secret) == -ENODATA, "nobody is asked any more");
	ssh_ask_through(&(struct ssh_asker){ .ask = say_yes, .over = say_nothing });
	ok(ssh_ask_possible() && ssh_ask_secret(NULL, "?", secret) == 0, "but who answers in their stead");
	ssh_ask_quietly(true);
	ok(!ssh_ask_possible() && ssh_ask_secret(NULL, "?", secret) == -ENODATA, "and not even they by an attempt that is quiet");
	ssh_ask_quietly(false);
	ssh_ask_done(0, "");
	ssh_ask_through(NULL);
}

int
main(void)
{
	if (sodium_init() < 0)
		return 1;
	test_place();
	test_known();
	test_known_file();
	test_config();
	test_kept();
	return tap_done();
}
