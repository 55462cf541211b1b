/*
 * ssh_host.c - which algorithms to offer a host, and whether the key that it
 * shows is its own: known, asked about, or refused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/log.h"
#include "fs/ssh_ask.h"
#include "fs/ssh_known.h"
#include "fs/ssh_session.h"

static int
read_known(struct ssh *s, struct ssh_known *k, char *why, size_t size)
{
	const struct ssh_files *const lists[] = { &s->config.known, &s->config.known_global };
	int r;

	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; j < lists[i]->count; j++) {
			r = ssh_known_file(k, lists[i]->path[j]);
			if (r < 0) {
				snprintf(why, size, "%.200s: %s", lists[i]->path[j], strerror(-r));
				return r;
			}
		}
	return 0;
}

static void
begin_known(const struct ssh *s, struct ssh_known *k)
{
	memset(k, 0, sizeof *k);
	if (s->config.alias[0] != '\0')
		ssh_known_name(k->name, s->config.alias, 22);
	else
		ssh_known_name(k->name, s->config.host, s->config.port);
}

/*
 * Of a list with commas, what libssh2 can do; false: nothing.  (It would leave
 * out the rest itself, but 1.10 moves overlapping memory by memcpy() then.)
 */
static bool
prefer(struct ssh *s, int method, const char *allowed)
{
	char list[SSH_LIST] = "", copy[SSH_LIST], *rest = copy, *name;
	const char **known = NULL;
	int count = libssh2_session_supported_algs(s->session, method, &known);

	snprintf(copy, sizeof copy, "%s", allowed);
	while ((name = strsep(&rest, ",")) != NULL)
		for (int i = 0; i < count; i++)
			if (strcmp(name, known[i]) == 0) {
				size_t len = strlen(list);

				snprintf(list + len, sizeof list - len, "%s%s", len > 0 ? "," : "", name);
				break;
			}
	if (count > 0)
		libssh2_free(s->session, known);
	return list[0] != '\0' && libssh2_session_method_pref(s->session, method, list) == 0;
}

/* What the configuration allows. */
static int
set_methods(struct ssh *s, char *why, size_t size)
{
	const struct ssh_config *c = &s->config;
	const struct {
		int		 method, other;
		const char	*list, *name;
	} table[] = {
		{ LIBSSH2_METHOD_KEX, -1, c->kex, "KexAlgorithms" },
		{ LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC, c->ciphers, "Ciphers" },
		{ LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC, c->macs, "MACs" },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].list[0] != '\0' && (!prefer(s, table[i].method, table[i].list) ||
		    (table[i].other >= 0 && !prefer(s, table[i].other, table[i].list)))) {
			snprintf(why, size, "%s: of the %s that the configuration of SSH allows libssh2 " LIBSSH2_VERSION
			    " can do none: %.120s", c->host, table[i].name, table[i].list);
			return -EPROTONOSUPPORT;
		}
	return 0;
}

/* Types that we hold keys of come first: another key of the same host would look unknown. */
static int
prefer_known(struct ssh *s, char *why, size_t size)
{
	static const char usual[] = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
	    "rsa-sha2-512,rsa-sha2-256";
	const char *allowed = s->config.host_keys[0] != '\0' ? s->config.host_keys : usual;
	char list[SSH_LIST] = "", copy[SSH_LIST], *rest, *type;
	struct ssh_known k;
	int r;

	begin_known(s, &k);
	if ((r = read_known(s, &k, why, size)) < 0)
		return r;
	for (unsigned unknown = 0; unknown < 2; unknown++) {
		snprintf(copy, sizeof copy, "%s", allowed);
		for (rest = copy; (type = strsep(&rest, ",")) != NULL;) {
			const char *key = strncmp(type, "rsa-sha2-", 9) == 0 ? "ssh-rsa" : type;
			size_t len = strlen(list);

			/* It could not check a host's certificate. */
			if (*type != '\0' && strstr(type, "-cert-") == NULL && (strstr(k.types, key) == NULL) == (unknown == 1))
				snprintf(list + len, sizeof list - len, "%s%s", len > 0 ? "," : "", type);
		}
	}
	if (prefer(s, LIBSSH2_METHOD_HOSTKEY, list))
		return 0;
	snprintf(why, size, "%s: of the HostKeyAlgorithms that the configuration of SSH allows libssh2 " LIBSSH2_VERSION
	    " can do none: %.120s", s->config.host, allowed);
	return -EPROTONOSUPPORT;
}

int
ssh_host_prefer(struct ssh *s, char *why, size_t size)
{
	int r = set_methods(s, why, size);

	return r < 0 ? r : prefer_known(s, why, size);
}

static int
accept_unknown(struct ssh *s, const struct ssh_known *k, const char *type, const char *print, char *why, size_t size)
{
	const struct ssh_config *c = &s->config;
	char prompt[1024];
	bool yes = c->strict == SSH_ACCEPT_NEW;
	int r = 0;

	if (c->strict == SSH_STRICT) {
		snprintf(why, size, "%s: its %s key %s is not in known_hosts, and StrictHostKeyChecking is on", k->name, type,
		    print);
		return -EACCES;
	}
	if (c->strict == SSH_ASK) {
		snprintf(prompt, sizeof prompt, "The authenticity of host '%s' can't be established.\n"
		    "Its %s key is %s.\n%s"
		    "Continue connecting (yes/no)? ", k->name, type, print, k->other_type ?
		    "Keys of other types are known for it, but this one is not.\n" : "");
		r = c->batch ? -ENODATA : ssh_ask_yes(prompt, &yes);
		ssh_more_time(s);
	}
	if (r < 0 || !yes) {
		snprintf(why, size, r < 0 ? "%s: its %s key %s is unknown, and there is no terminal to ask at; log in with ssh "
		    "once, or add it to known_hosts" : "%s: its %s key %s was not accepted", k->name, type, print);
		return r < 0 ? -ENOKEY : -EACCES;
	}
	r = c->known.count == 0 ? -ENOENT : ssh_known_add(k, c->known.path[0], c->hash_known);
	if (r < 0)
		log_warning("the key of %s cannot be added to known_hosts: %s", k->name, strerror(-r));
	return 0;
}

static int
look_up_host(struct ssh *s, struct ssh_known *k, char *why, size_t size)
{
	int kind;

	begin_known(s, k);
	k->key = (const uint8_t *)libssh2_session_hostkey(s->session, &k->key_len, &kind);
	if (k->key != NULL)
		return read_known(s, k, why, size);
	snprintf(why, size, "%s: the server shows no key", k->name);
	return -EACCES;
}

int
ssh_host_check(struct ssh *s, char *why, size_t size)
{
	char print[SSH_FINGERPRINT], type[64];
	struct ssh_known k;
	int r;

	if ((r = look_up_host(s, &k, why, size)) < 0)
		return r;
	/* The other lane may be asking about it just now. */
	if (!k.same && !k.other && !k.revoked) {
		ssh_ask_turn();
		if ((r = look_up_host(s, &k, why, size)) < 0)
			return r;
	}
	ssh_known_type(k.key, k.key_len, type, sizeof type);
	ssh_known_fingerprint(k.key, k.key_len, print);
	if (k.revoked)
		snprintf(why, size, "%s: its %s key %s is REVOKED (%.200s)", k.name, type, print, k.where);
	else if (k.same)
		return 0;
	else if (k.other)
		snprintf(why, size, "%s: its %s key HAS CHANGED: it is now %s, another is in %.200s. Somebody may be listening in, "
		    "or the host was set up anew; ask its administrator, and then remove that line with ssh-keygen -R '%s'",
		    k.name, type, print, k.where, k.name);
	else if (k.authority)
		snprintf(why, size, "%s: known_hosts trusts a certificate authority for it, and libssh2 cannot check "
		    "certificates; add the host's own key (%s, %s) to known_hosts", k.name, type, print);
	else
		return accept_unknown(s, &k, type, print, why, size);
	return -EACCES;
}
