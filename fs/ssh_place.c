/* ssh_place.c - see ssh_place.h. */
#include "config.h"
#include "fs/ssh_place.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char scheme[] = "ssh://";

bool
ssh_place_is(const char *text)
{
	return strncmp(text, scheme, sizeof scheme - 1) == 0;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* Printable throughout, for it is shown; never empty by a NUL. */
static int
decode(const char *from, size_t len, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = from[i];

		if (c == '%') {
			if (i + 2 >= len || hex_digit(from[i + 1]) < 0 || hex_digit(from[i + 2]) < 0)
				return -EINVAL;
			c = (char)(hex_digit(from[i + 1]) << 4 | hex_digit(from[i + 2]));
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			return -EINVAL;
		if (n + 1 >= size)
			return -ENAMETOOLONG;
		to[n++] = c;
	}
	to[n] = '\0';
	return 0;
}

/* Neither an option of ssh(1) nor anything that a %h in a ProxyCommand could turn into a command. */
static bool
plain(const char *text, const char *more)
{
	if (*text == '\0' || *text == '-')
		return false;
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr(more, *text) == NULL)
			return false;
	return true;
}

unsigned
ssh_place_port(const char *text)
{
	size_t len = strlen(text);
	unsigned long port = strtoul(text, NULL, 10);

	return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && port <= 65535 ? (unsigned)port : 0;
}

static int
parse_host(struct ssh_place *to, const char *at, size_t len)
{
	const char *colon = NULL, *end = at + len;
	size_t host_len = len;
	char port[8];

	if (len > 0 && *at == '[') {
		const char *close = memchr(at, ']', len);

		if (close == NULL || (close + 1 < end && close[1] != ':'))
			return -EINVAL;
		colon = close + 1 < end ? close + 1 : NULL;
		at++;
		host_len = (size_t)(close - at);
	} else if ((colon = memchr(at, ':', len)) != NULL) {
		host_len = (size_t)(colon - at);
	}
	if (host_len >= sizeof to->host)
		return -ENAMETOOLONG;
	memcpy(to->host, at, host_len);
	to->host[host_len] = '\0';
	for (char *c = to->host; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!plain(to->host, ".-_:"))
		return -EINVAL;
	if (colon == NULL)
		return 0;
	colon++;
	if (end - colon < 1 || end - colon > 5)
		return -EINVAL;
	memcpy(port, colon, (size_t)(end - colon));
	port[end - colon] = '\0';
	to->port = ssh_place_port(port);
	return to->port != 0 ? 0 : -EINVAL;
}

int
ssh_place_parse(struct ssh_place *to, const char *text)
{
	static const char query[] = "?nuaged=";
	const char *at = text + sizeof scheme - 1, *path, *question, *user;
	struct ssh_place p = { .port = 0 };
	int r;

	if (!ssh_place_is(text))
		return -EINVAL;
	path = at + strcspn(at, "/?");
	question = path + strcspn(path, "?");
	user = memchr(at, '@', (size_t)(path - at));
	if (user != NULL) {
		r = decode(at, (size_t)(user - at), p.user, sizeof p.user);
		if (r < 0 || !plain(p.user, "._-+@"))
			return r < 0 ? r : -EINVAL;
		at = user + 1;
	}
	if ((r = parse_host(&p, at, (size_t)(path - at))) < 0)
		return r;
	if (strncmp(path, "/~/", 3) == 0 || (question - path == 2 && strncmp(path, "/~", 2) == 0))
		path++;
	if (question - path > 1 && (r = decode(path, (size_t)(question - path), p.path, sizeof p.path)) < 0)
		return r;
	if (*question != '\0') {
		if (strncmp(question, query, sizeof query - 1) != 0)
			return -EINVAL;
		question += sizeof query - 1;
		r = decode(question, strlen(question), p.nuaged, sizeof p.nuaged);
		if (r < 0 || p.nuaged[0] == '\0' || p.nuaged[0] == '-')
			return r < 0 ? r : -EINVAL;
	}
	*to = p;
	return 0;
}

/* ---- printing ---- */

struct text {
	char	*at;
	size_t	 left;
	bool	 full;
};

static void
put(struct text *t, const char *bytes, size_t len)
{
	if (len >= t->left) {
		t->full = true;
		return;
	}
	memcpy(t->at, bytes, len);
	t->at += len;
	t->left -= len;
	*t->at = '\0';
}

static void
put_text(struct text *t, const char *text)
{
	put(t, text, strlen(text));
}

static void
put_encoded(struct text *t, const char *text, const char *more)
{
	char code[4];

	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) || strchr(more, *text) != NULL) {
			put(t, text, 1);
		} else {
			snprintf(code, sizeof code, "%%%02X", (unsigned char)*text);
			put_text(t, code);
		}
}

int
ssh_place_print(const struct ssh_place *p, char to[SSH_URL])
{
	struct text t = { to, SSH_URL, false };
	bool v6 = strchr(p->host, ':') != NULL;
	char port[12];

	put_text(&t, scheme);
	if (p->user[0] != '\0') {
		put_encoded(&t, p->user, "._-");
		put_text(&t, "@");
	}
	put_text(&t, v6 ? "[" : "");
	put_text(&t, p->host);
	put_text(&t, v6 ? "]" : "");
	if (p->port != 0) {
		snprintf(port, sizeof port, ":%u", p->port);
		put_text(&t, port);
	}
	if (p->path[0] == '~')
		put_text(&t, "/");
	put_encoded(&t, p->path, "/._-~+=@:");
	if (p->nuaged[0] != '\0') {
		put_text(&t, "?nuaged=");
		put_encoded(&t, p->nuaged, "/._-~+=@:");
	}
	return t.full ? -ENAMETOOLONG : 0;
}

/* In single quotes, which every shell understands; one inside stands alone, behind a backslash. */
static void
put_quoted(struct text *t, const char *word)
{
	put_text(t, " '");
	for (; *word != '\0'; word++)
		if (*word == '\'')
			put_text(t, "'\\''");
		else
			put(t, word, 1);
	put_text(t, "'");
}

static void
put_script(struct text *t, const char *script)
{
	put_text(t, "exec sh -c");
	put_quoted(t, script);
}

int
ssh_place_script(const char *script, const char *const *arguments, char to[SSH_COMMAND])
{
	struct text t = { to, SSH_COMMAND, false };

	put_script(&t, script);
	put_text(&t, " sh");
	for (; arguments != NULL && *arguments != NULL; arguments++)
		put_quoted(&t, *arguments);
	return t.full ? -ENAMETOOLONG : 0;
}

static void
put_arguments(struct text *t, const struct ssh_place *p, bool create)
{
	put_text(t, create ? " bridge --create --data" : " bridge --data");
	put_quoted(t, p->path);
}

int
ssh_place_command(const struct ssh_place *p, bool create, char to[SSH_COMMAND])
{
	static const char named[] = "PATH=$PATH:" SSH_PLACE_PATH "; "
	    "n=$0; case $n in \"~/\"*) n=$HOME/${n#??};; esac; exec \"$n\" \"$@\"";
	static const char find[] = "PATH=$PATH:" SSH_PLACE_PATH "; command -v nuaged >/dev/null && exec nuaged \"$@\"; "
	    "m=$(uname -m); d=${XDG_CACHE_HOME:-$HOME/.cache}/nuage; "
	    "for f in \"$d\"/nuaged-*-\"$m\"-* \"$d\"/nuaged-\"$0\"-\"$m\"-*; do [ -x \"$f\" ] && n=$f; done; "
	    "exec \"${n:-nuaged}\" \"$@\"";
	struct text t = { to, SSH_COMMAND, false };

	put_script(&t, p->nuaged[0] != '\0' ? named : find);
	put_quoted(&t, p->nuaged[0] != '\0' ? p->nuaged : PACKAGE_VERSION);
	put_arguments(&t, p, create);
	return t.full ? -ENAMETOOLONG : 0;
}

int
ssh_place_plain(const struct ssh_place *p, bool create, char to[SSH_COMMAND])
{
	struct text t = { to, SSH_COMMAND, false };

	put_quoted(&t, p->nuaged[0] != '\0' ? p->nuaged : "nuaged");
	put_arguments(&t, p, create);
	return t.full ? -ENAMETOOLONG : 0;
}
