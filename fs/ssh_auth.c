/*
 * ssh_auth.c - logging in: agent, key files, password, keyboard-interactive,
 * in that order, each only if the server and the configuration allow it.
 *
 * What libssh2 cannot do is gathered in `notes` and named when all has failed:
 * RSA keys before 1.11 (it signs with SHA-1, which servers refuse), keys on
 * security tokens, certificates.
 */
#include "fs/ssh_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/link.h"
#include "fs/resolve.h"
#include "fs/ssh_ask.h"
#include "fs/ssh_known.h"

enum { AGENT_MS = 5000, TRIES = 3, KEY_FILE_MAX = 64 * 1024, NOTES = 400, WHAT = 384, PROMPT = 512 };

struct auth {
	struct ssh	*ssh;
	char		 notes[NOTES];	/* what could not be done, a clause each */
	bool		 unanswered;	/* somebody should have been asked, and nobody was there */
	int		 wait;		/* an error of the connection, which ends all */
	/* Of this try of keyboard-interactive: */
	unsigned	 asked;		/* hidden prompts */
	bool		 try_kept, used_kept;
	char		 password[SSH_SECRET];	/* the first hidden answer; wiped */
};

__attribute__((format(printf, 2, 3)))
static void
note(struct auth *a, const char *format, ...)
{
	size_t len = strlen(a->notes);
	char text[200];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (strstr(a->notes, text) == NULL)
		snprintf(a->notes + len, sizeof a->notes - len, "; %s", text);
}

/* Whether this libssh2 can sign with a key of that type; if not it is noted by name. */
static bool
can_sign(struct auth *a, const char *type, const char *name)
{
	if (strcmp(type, "ssh-rsa") == 0 && LIBSSH2_VERSION_NUM < 0x010b00) {
		note(a, "RSA key %.80s is not used, for libssh2 " LIBSSH2_VERSION " signs RSA with SHA-1 only: take an "
		    "ed25519 key", name);
		return false;
	}
	if (strncmp(type, "sk-", 3) == 0 || strstr(type, "-cert-") != NULL) {
		note(a, "key %.80s is not used, for libssh2 cannot sign with %.60s", name, type);
		return false;
	}
	return true;
}

/* ---- key files ---- */

struct key_file {
	char	type[64];	/* empty: unknown */
	bool	encrypted;
	uint8_t	blob[4096];	/* the public key */
	size_t	blob_len;
};

/* openssh-key-v1: magic, cipher, kdf, options, count, public key, private part. */
static void
look_inside(struct key_file *k, const uint8_t *data, size_t len)
{
	static const char magic[] = "openssh-key-v1";
	size_t at = sizeof magic, n;

	if (len < at || memcmp(data, magic, sizeof magic) != 0)
		return;
	for (unsigned field = 0; field < 5; field++) {
		if (len - at < 4)
			return;
		n = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
		at += 4;
		if (field == 3)
			continue;	/* the count */
		if (n > len - at)
			return;
		if (field == 0)
			k->encrypted = n != 4 || memcmp(data + at, "none", 4) != 0;
		if (field == 4 && n <= sizeof k->blob) {
			memcpy(k->blob, data + at, n);
			k->blob_len = n;
			ssh_known_type(k->blob, n, k->type, sizeof k->type);
		}
		at += n;
	}
}

static int
read_key_file(struct key_file *k, const char *path)
{
	static const char head[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = NULL;
	char *text, *body;
	size_t len = 0;
	ssize_t n;

	memset(k, 0, sizeof *k);
	if (fd < 0)
		return -errno;
	text = sodium_malloc(KEY_FILE_MAX);
	n = text == NULL ? -1 : read(fd, text, KEY_FILE_MAX - 1);
	close(fd);
	if (n > 0) {
		text[n] = '\0';
		body = strstr(text, head);
		if (body != NULL && (data = sodium_malloc(KEY_FILE_MAX)) != NULL) {
			body += sizeof head - 1;
			if (sodium_base642bin(data, KEY_FILE_MAX, body, strcspn(body, "-"), "\r\n ", &len, NULL,
			    sodium_base64_VARIANT_ORIGINAL) == 0)
				look_inside(k, data, len);
		} else {
			k->encrypted = strstr(text, "ENCRYPTED") != NULL;
			if (strstr(text, "BEGIN RSA ") != NULL)
				strcpy(k->type, "ssh-rsa");
		}
	}
	sodium_free(data);
	sodium_free(text);
	return n > 0 ? 0 : -EIO;
}

static int
try_passphrase(struct auth *a, const char *path, const char *passphrase)
{
	const struct ssh_config *c = &a->ssh->config;
	int r;

	SSH_DRIVE(r, a->wait, a->ssh, libssh2_userauth_publickey_fromfile_ex(a->ssh->session, c->user,
	    (unsigned)strlen(c->user), NULL, path, passphrase));
	return r;
}

/* True: logged in. */
static bool
try_key_file(struct auth *a, const char *path)
{
	char passphrase[SSH_SECRET] = "", prompt[PROMPT];
	struct key_file k;
	int r = read_key_file(&k, path);

	if (r < 0) {
		if (r != -ENOENT)
			note(a, "key %.80s: %s", path, strerror(-r));
		return false;
	}
	if (!can_sign(a, k.type, path))
		return false;
	if (!k.encrypted)
		return try_passphrase(a, path, NULL) == 0;
	if (ssh_kept(path, passphrase)) {
		r = try_passphrase(a, path, passphrase);
		sodium_memzero(passphrase, sizeof passphrase);
		return r == 0;
	}
	snprintf(prompt, sizeof prompt, "Enter passphrase for key '%.300s': ", path);
	for (unsigned tries = 0; tries < TRIES && a->wait == 0; tries++) {
		if (ssh_ask_secret(path, prompt, passphrase) < 0) {
			a->unanswered = true;
			sodium_memzero(passphrase, sizeof passphrase);
			note(a, "key %.80s has a passphrase", path);
			return false;
		}
		ssh_more_time(a->ssh);
		if (passphrase[0] == '\0')
			return false;
		r = try_passphrase(a, path, passphrase);
		if (r == 0)
			ssh_keep(path, passphrase);
		if (r == 0 || r == LIBSSH2_ERROR_AUTHENTICATION_FAILED || r == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED)
			sodium_memzero(passphrase, sizeof passphrase);
		if (r == 0)
			return true;
		if (r == LIBSSH2_ERROR_AUTHENTICATION_FAILED || r == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED)
			return false;		/* opened, and not wanted there */
	}
	sodium_memzero(passphrase, sizeof passphrase);
	note(a, "the passphrase of %.80s was wrong", path);
	return false;
}

/* ---- the agent ---- */

static bool
is_named_identity(const struct ssh_config *c, const struct libssh2_agent_publickey *key)
{
	struct key_file k;

	for (unsigned i = 0; i < c->identities.count; i++)
		if (read_key_file(&k, c->identities.path[i]) == 0 && k.blob_len == key->blob_len &&
		    memcmp(k.blob, key->blob, k.blob_len) == 0)
			return true;
	return false;
}

/*
 * Whether it lists its keys in time.  libssh2 would wait for ever for an agent
 * that hangs, as one behind a dead connection does; what it then waits for is a
 * signature, which a person may have to confirm.
 */
static bool
agent_answers(struct auth *a, const char *path)
{
	static const uint8_t list[] = { 0, 0, 0, 1, 11 };	/* SSH_AGENTC_REQUEST_IDENTITIES */
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	uint8_t answer[5];
	bool fine = false;
	int fd;

	if (strlen(path) >= sizeof to.sun_path)
		return false;
	strcpy(to.sun_path, path);
	if (link_connect((struct sockaddr *)&to, sizeof to, AGENT_MS, a->ssh->cancel_fd, &fd) < 0)
		return false;
	fine = send(fd, list, sizeof list, MSG_NOSIGNAL) == sizeof list &&
	    resolve_wait(fd, POLLIN, clock_ms(CLOCK_MONOTONIC) + AGENT_MS, a->ssh->cancel_fd) == 0 &&
	    recv(fd, answer, sizeof answer, MSG_DONTWAIT) == sizeof answer;
	close(fd);
	return fine;
}

static bool
try_agent(struct auth *a)
{
	const struct ssh_config *c = &a->ssh->config;
	const char *path = c->agent[0] == '\0' ? getenv("SSH_AUTH_SOCK") : c->agent[0] == '$' ? getenv(c->agent + 1) : c->agent;
	struct libssh2_agent_publickey *key = NULL, *before = NULL;
	LIBSSH2_AGENT *agent;
	char type[64];
	int r = -1;

	if (path == NULL || *path == '\0' || strcmp(path, "none") == 0)
		return false;
	if (!agent_answers(a, path)) {
		note(a, "the agent does not answer");
		return false;
	}
	agent = libssh2_agent_init(a->ssh->session);
	if (agent == NULL)
		return false;
	libssh2_agent_set_identity_path(agent, path);
	if (libssh2_agent_connect(agent) != 0) {
		note(a, "the agent does not answer");
		libssh2_agent_free(agent);	/* it would close what is not open, and call that a lost connection */
		return false;
	}
	if (libssh2_agent_list_identities(agent) != 0)
		goto out;
	while (r != 0 && a->wait == 0 && libssh2_agent_get_identity(agent, &key, before) == 0) {
		before = key;
		ssh_known_type(key->blob, key->blob_len, type, sizeof type);
		if ((c->identities_only && !is_named_identity(c, key)) ||
		    !can_sign(a, type, key->comment != NULL ? key->comment : "of the agent"))
			continue;
		SSH_DRIVE(r, a->wait, a->ssh, libssh2_agent_userauth(agent, c->user, key));
	}
out:
	libssh2_agent_disconnect(agent);
	libssh2_agent_free(agent);
	return r == 0;
}

/* ---- what a person knows ---- */

static void
name_account(const struct auth *a, char to[WHAT])
{
	snprintf(to, WHAT, "%s@%s", a->ssh->config.user, a->ssh->config.host);
}

/* What is kept is tried once; were it not good any more, a person knows better. */
static bool
try_password(struct auth *a)
{
	const struct ssh_config *c = &a->ssh->config;
	char what[WHAT], prompt[PROMPT], password[SSH_SECRET] = "";
	int r = -1;

	name_account(a, what);
	snprintf(prompt, sizeof prompt, "%s's password: ", what);
	for (unsigned tries = 0; tries < TRIES && r != 0 && a->wait == 0; tries++) {
		bool first = tries == 0 && ssh_kept(what, password);

		if (!first && ssh_ask_secret(what, prompt, password) < 0) {
			a->unanswered = true;
			break;
		}
		if (!first)
			ssh_more_time(a->ssh);
		SSH_DRIVE(r, a->wait, a->ssh, libssh2_userauth_password_ex(a->ssh->session, c->user,
		    (unsigned)strlen(c->user), password, (unsigned)strlen(password), NULL));
		if (r == 0)
			ssh_keep(what, password);
		else if (first && a->wait == 0)
			ssh_doubt(what);
	}
	sodium_memzero(password, sizeof password);
	return r == 0;
}

/*
 * libssh2 calls this for each round of questions.  The one hidden answer of a
 * login is its password, and kept as that; others are asked each time.
 */
static void
answer_questions(const char *name, int name_len, const char *text, int text_len, int count,
    const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts, LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses, void **abstract)
{
	struct auth *a = *abstract;
	char prompt[PROMPT], answer[SSH_SECRET], what[WHAT];

	(void)name;
	(void)name_len;
	(void)text;
	(void)text_len;
	name_account(a, what);
	for (int i = 0; i < count; i++) {
		bool hidden = prompts[i].echo == 0, first = hidden && a->asked == 0;

		responses[i].text = NULL;
		responses[i].length = 0;
		snprintf(prompt, sizeof prompt, "(%s) %.*s", what, (int)prompts[i].length, prompts[i].text);
		for (char *at = prompt; *at != '\0'; at++)
			if ((unsigned char)*at < ' ' || *at == 0x7f)
				*at = '?';
		if (first && a->try_kept && ssh_kept(what, answer)) {
			a->used_kept = true;
		} else {
			snprintf(answer, sizeof answer, "%s", first ? a->password : "");
			if ((hidden ? ssh_ask_secret(first ? what : NULL, prompt, answer) :
			    ssh_ask_line(prompt, answer)) < 0) {
				a->unanswered = true;
				answer[0] = '\0';
			}
			ssh_more_time(a->ssh);
		}
		if (first)
			memcpy(a->password, answer, sizeof a->password);
		a->asked += hidden;
		responses[i].text = strdup(answer);
		responses[i].length = responses[i].text != NULL ? (unsigned)strlen(answer) : 0;
		sodium_memzero(answer, sizeof answer);
	}
}

/* Were nobody there to answer, an empty answer would be one more wrong password to the server. */
static bool
try_interactive(struct auth *a)
{
	const struct ssh_config *c = &a->ssh->config;
	char what[WHAT];
	int r = -1;

	name_account(a, what);
	*libssh2_session_abstract(a->ssh->session) = a;
	for (unsigned tries = 0; tries < TRIES && r != 0 && a->wait == 0 && !a->unanswered; tries++) {
		a->asked = 0;
		a->used_kept = false;
		a->try_kept = tries == 0;
		if (!ssh_ask_possible() && !(a->try_kept && ssh_kept(what, a->password))) {
			a->unanswered = true;
			break;
		}
		SSH_DRIVE(r, a->wait, a->ssh, libssh2_userauth_keyboard_interactive_ex(a->ssh->session, c->user,
		    (unsigned)strlen(c->user), answer_questions));
		if (r == 0 && a->asked > 0 && a->password[0] != '\0')
			ssh_keep(what, a->password);
		else if (r != 0 && a->wait == 0 && a->used_kept)
			ssh_doubt(what);
	}
	sodium_memzero(a->password, sizeof a->password);
	*libssh2_session_abstract(a->ssh->session) = NULL;
	return r == 0;
}

/* ---- all of it ---- */

static bool
offers(const char *methods, const char *method)
{
	size_t len = strlen(method);
	const char *at = methods;

	while ((at = strstr(at, method)) != NULL) {
		if ((at == methods || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return true;
		at += len;
	}
	return false;
}

static bool
try_method(struct auth *a, const char *method)
{
	const struct ssh_config *c = &a->ssh->config;

	if (c->public_key && strcmp(method, "publickey") == 0) {
		if (try_agent(a))
			return true;
		for (unsigned i = 0; i < c->identities.count && a->wait == 0; i++)
			if (try_key_file(a, c->identities.path[i]))
				return true;
	}
	if (c->password && !c->batch && strcmp(method, "password") == 0)
		return try_password(a);
	return c->interactive && !c->batch && strcmp(method, "keyboard-interactive") == 0 && try_interactive(a);
}

static bool
try_all(struct auth *a, const char *methods)
{
	const struct ssh_config *c = &a->ssh->config;
	char copy[SSH_LIST], *rest = copy, *method;
	bool in = false;

	snprintf(copy, sizeof copy, "%s", c->methods[0] != '\0' ? c->methods : "publickey,password,keyboard-interactive");
	while (!in && a->wait == 0 && (method = strsep(&rest, ",")) != NULL)
		in = offers(methods, method) && try_method(a, method);
	return in;
}

int
ssh_auth(struct ssh *s, char *why, size_t size)
{
	const struct ssh_config *c = &s->config;
	struct auth a = { .ssh = s };
	char *methods, copy[256];

	do
		methods = libssh2_userauth_list(s->session, c->user, (unsigned)strlen(c->user));
	while (methods == NULL && libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_EAGAIN &&
	    (a.wait = ssh_wait(s)) == 0);
	if (methods == NULL && libssh2_userauth_authenticated(s->session))
		return 0;
	snprintf(copy, sizeof copy, "%s", methods != NULL ? methods : "");
	if (methods != NULL && try_all(&a, copy))
		return 0;
	if (a.wait == 0 && libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_SOCKET_DISCONNECT)
		a.wait = -ECONNRESET;
	if (a.wait < 0) {
		snprintf(why, size, "%s: the connection was lost while logging in (%s)", c->host, strerror(-a.wait));
		return a.wait;
	}
	if (c->certificate[0] != '\0')
		note(&a, "the certificate %.80s is not used, for libssh2 has none", c->certificate);
	snprintf(why, size, "%s@%s: permission denied (the server takes %s)%s%s", c->user, c->host, copy,
	    a.unanswered ? "; no terminal or SSH_ASKPASS to ask at" : "", a.notes);
	return a.unanswered ? -ENOKEY : -EACCES;
}
