/* ssh_config.c - see ssh_config.h. */
#include "fs/ssh_config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/resolve.h"

enum { OUTPUT_MAX = 256 * 1024, ANSWER_MS = 10 * 1000, CONNECT_MAX_S = 10000 };

static bool
is_yes(const char *value)
{
	return strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
}

static void
copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", strcmp(from, "none") == 0 ? "" : from);
}

static const char *
home_directory(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw != NULL ? pw->pw_dir : "/";
}

/* "~/", and the tokens that stand in names of files. */
static int
expand_path(const struct ssh_config *c, const char *from, char to[PATH_MAX])
{
	const char *below = home_directory();
	char number[12];
	size_t n = 0;

	if (strncmp(from, "~/", 2) == 0)
		n = (size_t)snprintf(to, PATH_MAX, "%s/", below);
	from += n > 0 ? 2 : 0;
	for (; *from != '\0'; from++) {
		char one[2] = { *from, '\0' };
		const char *piece = one;

		if (*from == '%') {
			const struct passwd *pw = getpwuid(geteuid());

			snprintf(number, sizeof number, "%u", from[1] == 'p' ? c->port : (unsigned)geteuid());
			switch (*++from) {
			case 'd': piece = below; break;
			case 'h': piece = c->host; break;
			case 'r': piece = c->user; break;
			case 'u': piece = pw != NULL ? pw->pw_name : ""; break;
			case 'i': case 'p': piece = number; break;
			case '%': break;
			default: return -EINVAL;
			}
			one[0] = '%';
		}
		if (n + strlen(piece) >= PATH_MAX)
			return -ENAMETOOLONG;
		strcpy(to + n, piece);
		n += strlen(piece);
	}
	to[n] = '\0';
	return 0;
}

static void
add_file(const struct ssh_config *c, struct ssh_files *f, const char *name)
{
	if (f->count < SSH_FILES && *name != '\0' && strcmp(name, "none") != 0 &&
	    expand_path(c, name, f->path[f->count]) == 0)
		f->count++;
}

static void
add_files(const struct ssh_config *c, struct ssh_files *f, char *names)
{
	char *save, *name;

	f->count = 0;
	for (name = strtok_r(names, " ", &save); name != NULL; name = strtok_r(NULL, " ", &save))
		add_file(c, f, name);
}

void
ssh_config_defaults(struct ssh_config *c, const struct ssh_place *place)
{
	static const char *const identities[] = { "~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519" };
	const struct passwd *pw = getpwuid(geteuid());

	memset(c, 0, sizeof *c);
	snprintf(c->host, sizeof c->host, "%s", place->host);
	snprintf(c->user, sizeof c->user, "%s", place->user[0] != '\0' ? place->user : pw != NULL ? pw->pw_name : "");
	c->port = place->port != 0 ? place->port : 22;
	c->public_key = c->password = c->interactive = true;
	for (size_t i = 0; i < sizeof identities / sizeof *identities; i++)
		add_file(c, &c->identities, identities[i]);
	add_file(c, &c->known, "~/.ssh/known_hosts");
	add_file(c, &c->known, "~/.ssh/known_hosts2");
	add_file(c, &c->known_global, "/etc/ssh/ssh_known_hosts");
	add_file(c, &c->known_global, "/etc/ssh/ssh_known_hosts2");
}

/* One option; what is not named here is OpenSSH's own affair. */
static void
take(struct ssh_config *c, const char *key, char *value, bool *identities)
{
	if (strcmp(key, "hostname") == 0)
		copy(c->host, sizeof c->host, value);
	else if (strcmp(key, "user") == 0)
		copy(c->user, sizeof c->user, value);
	else if (strcmp(key, "port") == 0)
		c->port = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(key, "hostkeyalias") == 0)
		copy(c->alias, sizeof c->alias, value);
	else if (strcmp(key, "proxycommand") == 0)
		copy(c->proxy_command, sizeof c->proxy_command, value);
	else if (strcmp(key, "proxyjump") == 0)
		copy(c->proxy_jump, sizeof c->proxy_jump, value);
	else if (strcmp(key, "certificatefile") == 0 && c->certificate[0] == '\0')
		copy(c->certificate, sizeof c->certificate, value);
	else if (strcmp(key, "identityagent") == 0)
		snprintf(c->agent, sizeof c->agent, "%s", strcmp(value, "SSH_AUTH_SOCK") == 0 ? "" : value);
	else if (strcmp(key, "identityfile") == 0) {
		if (!*identities)
			c->identities.count = 0;
		*identities = true;
		add_file(c, &c->identities, value);
	} else if (strcmp(key, "userknownhostsfile") == 0)
		add_files(c, &c->known, value);
	else if (strcmp(key, "globalknownhostsfile") == 0)
		add_files(c, &c->known_global, value);
	else if (strcmp(key, "stricthostkeychecking") == 0)
		c->strict = is_yes(value) ? SSH_STRICT : strcmp(value, "ask") == 0 ? SSH_ASK : SSH_ACCEPT_NEW;
	else if (strcmp(key, "hashknownhosts") == 0)
		c->hash_known = is_yes(value);
	else if (strcmp(key, "identitiesonly") == 0)
		c->identities_only = is_yes(value);
	else if (strcmp(key, "pubkeyauthentication") == 0)
		c->public_key = strcmp(value, "no") != 0 && strcmp(value, "false") != 0;
	else if (strcmp(key, "passwordauthentication") == 0)
		c->password = is_yes(value);
	else if (strcmp(key, "kbdinteractiveauthentication") == 0)
		c->interactive = is_yes(value);
	else if (strcmp(key, "batchmode") == 0)
		c->batch = is_yes(value);
	else if (strcmp(key, "ciphers") == 0)
		copy(c->ciphers, sizeof c->ciphers, value);
	else if (strcmp(key, "macs") == 0)
		copy(c->macs, sizeof c->macs, value);
	else if (strcmp(key, "kexalgorithms") == 0)
		copy(c->kex, sizeof c->kex, value);
	else if (strcmp(key, "hostkeyalgorithms") == 0)
		copy(c->host_keys, sizeof c->host_keys, value);
	else if (strcmp(key, "preferredauthentications") == 0)
		copy(c->methods, sizeof c->methods, value);
	else if (strcmp(key, "proxyusefdpass") == 0)
		c->fdpass = is_yes(value);
	else if (strcmp(key, "connecttimeout") == 0)
		c->connect_s = strtoul(value, NULL, 10) < CONNECT_MAX_S ? (unsigned)strtoul(value, NULL, 10) : CONNECT_MAX_S;
}

int
ssh_config_read(struct ssh_config *c, const char *text)
{
	char *all = strdup(text), *rest = all, *line, *value;
	bool identities = false, host = false;

	if (all == NULL)
		return -ENOMEM;
	/* Names of files hold tokens that stand for these. */
	for (unsigned round = 0; round < 2; round++) {
		rest = all;
		if (round > 0)
			memcpy(all, text, strlen(text) + 1);
		while ((line = strsep(&rest, "\n")) != NULL) {
			value = strchr(line, ' ');
			if (value == NULL)
				continue;
			*value++ = '\0';
			for (char *end = value + strlen(value); end > value && (end[-1] == '\r' || end[-1] == ' '); end--)
				end[-1] = '\0';
			if ((strcmp(line, "hostname") == 0 || strcmp(line, "user") == 0 || strcmp(line, "port") == 0) ==
			    (round == 0))
				take(c, line, value, &identities);
			host |= strcmp(line, "hostname") == 0;
		}
	}
	free(all);
	return host && c->host[0] != '\0' && c->host[0] != '-' && c->port >= 1 && c->port <= 65535 ? 0 : -EINVAL;
}

int
ssh_config_expand(const struct ssh_config *c, const struct ssh_place *place, const char *from, char *to, size_t size)
{
	char port[12];
	size_t n = 0;

	snprintf(port, sizeof port, "%u", c->port);
	for (; *from != '\0'; from++) {
		char one[2] = { *from, '\0' };
		const char *piece = one;

		if (*from == '%')
			switch (*++from) {
			case 'h': piece = c->host; break;
			case 'p': piece = port; break;
			case 'r': piece = c->user; break;
			case 'n': piece = place->host; break;
			case '%': break;
			default: return -EINVAL;
			}
		if (n + strlen(piece) >= size)
			return -ENAMETOOLONG;
		strcpy(to + n, piece);
		n += strlen(piece);
	}
	to[n] = '\0';
	return 0;
}

/* ---- asking ssh(1) ---- */

/* All that comes until its end; -EFBIG, -ETIMEDOUT, -ECANCELED. */
static int
hear_all(int fd, int cancel_fd, char *text, size_t size)
{
	uint64_t deadline = clock_ms(CLOCK_MONOTONIC) + ANSWER_MS;
	size_t len = 0;
	ssize_t n = 1;
	int r = 0;

	while (n > 0 && len < size - 1 && (r = resolve_wait(fd, POLLIN, deadline, cancel_fd)) == 0) {
		n = read(fd, text + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	return r < 0 ? r : n < 0 ? -errno : n > 0 ? -EFBIG : 0;
}

/* Its whole output, to be freed, and its status as of wait(); a `Match exec` of the configuration may hang it. */
static int
ask_ssh(const struct ssh_place *place, int cancel_fd, char **ret_text, int *ret_status)
{
	const char *file = getenv("NUAGE_SSH_CONFIG");
	char port[12], *argv[12], *text = malloc(OUTPUT_MAX);
	int fds[2], argc = 0, r;
	pid_t pid;

	argv[argc++] = "ssh";
	argv[argc++] = "-GT";
	if (file != NULL && *file != '\0') {
		argv[argc++] = "-F";
		argv[argc++] = (char *)(uintptr_t)file;
	}
	if (place->port != 0) {
		snprintf(port, sizeof port, "%u", place->port);
		argv[argc++] = "-p";
		argv[argc++] = port;
	}
	if (place->user[0] != '\0') {
		argv[argc++] = "-l";
		argv[argc++] = (char *)(uintptr_t)place->user;
	}
	argv[argc++] = "--";
	argv[argc++] = (char *)(uintptr_t)place->host;
	argv[argc] = NULL;
	if (text == NULL || pipe2(fds, O_CLOEXEC) < 0) {
		free(text);
		return text == NULL ? -ENOMEM : -errno;
	}
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);		/* what it started ends with it */
		dup2(fds[1], STDOUT_FILENO);
		execvp("ssh", argv);
		_exit(127);
	}
	close(fds[1]);
	r = pid < 0 ? -EAGAIN : hear_all(fds[0], cancel_fd, text, OUTPUT_MAX);
	close(fds[0]);
	if (pid > 0 && r < 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	if (pid > 0 && waitpid(pid, ret_status, 0) != pid && r == 0)
		r = -ECHILD;
	if (r < 0)
		free(text);
	else
		*ret_text = text;
	return r;
}

int
ssh_config_load(struct ssh_config *c, const struct ssh_place *place, int cancel_fd, char *why, size_t size)
{
	char *text = NULL;
	int status = 0, r;

	ssh_config_defaults(c, place);
	r = ask_ssh(place, cancel_fd, &text, &status);
	if (r < 0) {
		snprintf(why, size, r == -ETIMEDOUT ? "ssh -G %s says nothing; is there a Match exec in the configuration of SSH "
		    "that hangs?" : "ssh -G %s cannot be run: %s", place->host, strerror(-r));
		return r == -ECANCELED ? r : -EIO;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		r = 0;		/* not installed */
	else if (status != 0 || ssh_config_read(c, text) < 0)
		r = -EINVAL;
	free(text);
	if (r < 0)
		snprintf(why, size, "%s: ssh -G %s does not accept the configuration of SSH; mend it first", place->host,
		    place->host);
	return r;
}
