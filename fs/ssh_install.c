/*
 * ssh_install.c - see ssh_install.h.
 *
 *	asked what it is -> (there already) | copied -> verified -> tried -> renamed
 *
 * Each step is a command of the far side's shell in a channel of its own, one
 * after the other: a server that allows one session (MaxSessions 1) is enough.
 * Only the copying is SFTP's, or cat's where the server has no SFTP.  Progress
 * moves the deadline on.
 */
#include "fs/ssh_install.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/clock.h"
#include "fs/resolve.h"
#include "fs/ssh_parcel.h"
#include "fs/ssh_session.h"

enum {
	SAID_MAX	= 4096,
	ERROR_MAX	= 160,
	CACHE_MAX	= 512,		/* the name of the directory there */
	FILE_PATH	= CACHE_MAX + SSH_PARCEL_NAME + 32,
	CHUNK		= 128 * 1024,
	CLEAR_MS	= 100,
};

/* What a command said, and how it ended. */
struct said {
	char	text[SAID_MAX];
	size_t	len;
	char	error[ERROR_MAX];	/* the last line of stderr */
	size_t	error_len;
	int	status;
};

struct far {
	struct ssh	*ssh;
	char		 system[64], machine[64];
	char		 cache[CACHE_MAX];
	char		 partial[FILE_PATH], final[FILE_PATH];
	bool		 on_path;
	char		*why;
	size_t		 size;
};

/* `text` is a clause about the far side. */
static int
refuse(struct far *f, int error, const char *text)
{
	snprintf(f->why, f->size, "%s: %s", f->ssh->config.host, text);
	return error;
}

/* ---- commands ---- */

static void
keep_line(struct said *to, const char *text, ssize_t len)
{
	for (ssize_t i = 0; i < len; i++) {
		if (text[i] != '\n' && to->error_len > 0 && to->error[to->error_len - 1] == '\n')
			to->error_len = 0;
		if (to->error_len < sizeof to->error - 1)
			to->error[to->error_len++] = (char)(text[i] == '\n' || isprint((unsigned char)text[i]) ? text[i] : '?');
	}
	to->error[to->error_len] = '\0';
}

/* Start-up files may say much first: the end is kept. */
static void
keep(struct said *to, const char *text, ssize_t len)
{
	for (ssize_t i = 0; i < len; i++) {
		if (to->len == sizeof to->text - 1) {
			to->len /= 2;
			memmove(to->text, to->text + sizeof to->text - 1 - to->len, to->len);
		}
		to->text[to->len++] = (char)(text[i] == '\n' || isprint((unsigned char)text[i]) ? text[i] : '?');
	}
	to->text[to->len] = '\0';
}

/* What has come in by now: 1 something, 0 nothing, -1 the connection broke. */
static int
hear(struct ssh *s, struct said *to)
{
	char text[1024];
	int heard = 0;
	ssize_t n;

	while ((n = libssh2_channel_read_ex(s->channel, 0, text, sizeof text)) > 0) {
		keep(to, text, n);
		heard = 1;
	}
	if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
		return -1;
	while ((n = libssh2_channel_read_ex(s->channel, SSH_EXTENDED_DATA_STDERR, text, sizeof text)) > 0) {
		keep_line(to, text, n);
		heard = 1;
	}
	return n < 0 && n != LIBSSH2_ERROR_EAGAIN ? -1 : heard;
}

/* Feeds `in` (of len bytes) to the command, and hears it to its end. */
static int
carry(struct ssh *s, const uint8_t *in, size_t len, struct said *to)
{
	bool ended = false;
	ssize_t n;
	int r;

	while (!libssh2_channel_eof(s->channel)) {
		bool moved = false;

		if (len > 0) {
			n = libssh2_channel_write_ex(s->channel, 0, (const char *)in, len < CHUNK ? len : CHUNK);
			moved = n > 0;
			if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
				len = 0;	/* it takes no more, and will say why */
			else if (n > 0) {
				in += n;
				len -= (size_t)n;
			}
		} else if (!ended) {
			ended = libssh2_channel_send_eof(s->channel) != LIBSSH2_ERROR_EAGAIN;
			moved = ended;
		}
		r = hear(s, to);
		if (r < 0)
			return -ECONNRESET;
		if (moved || r > 0)
			ssh_more_time(s);
		else if (!libssh2_channel_eof(s->channel) && (r = ssh_wait(s)) < 0)
			return r;
	}
	return 0;
}

/*
 * The next command needs its place: some servers give one channel only, and
 * free it when the command was waited for.  So the far side closes first.
 */
static int
end_channel(struct ssh *s, int *ret_status)
{
	int wait = 0, r;

	SSH_DRIVE(r, wait, s, libssh2_channel_send_eof(s->channel));
	if (wait == 0)
		SSH_DRIVE(r, wait, s, libssh2_channel_wait_closed(s->channel));
	*ret_status = libssh2_channel_get_exit_status(s->channel);
	/* Closes it too. */
	if (wait == 0)
		SSH_DRIVE(r, wait, s, libssh2_channel_free(s->channel));
	if (wait == 0)
		s->channel = NULL;
	return wait;
}

/* `script` for the far side's sh, with its arguments $1..., and `in` for its input. */
static int
run(struct far *f, const char *script, const char *const *arguments, const uint8_t *in, size_t len, struct said *to)
{
	char command[SSH_COMMAND];
	int r;

	memset(to, 0, sizeof *to);
	if (ssh_place_script(script, arguments, command) < 0)
		return refuse(f, -ENAMETOOLONG, "the name of its directory is too long");
	ssh_more_time(f->ssh);
	if ((r = ssh_exec(f->ssh, command, f->why, f->size)) < 0)
		return r;
	r = carry(f->ssh, in, len, to);
	ssh_more_time(f->ssh);
	if (r == 0)
		r = end_channel(f->ssh, &to->status);
	to->error[strcspn(to->error, "\n")] = '\0';
	return r < 0 ? refuse(f, r, "the connection broke while nuaged was copied there") : 0;
}

/* A command that said no; its own words are the best there are. */
static int
refuse_said(struct far *f, const char *what, const struct said *said)
{
	snprintf(f->why, f->size, "%s: %s%s%s", f->ssh->config.host, what, said->error[0] != '\0' ? ": " : "", said->error);
	return -EIO;
}

/* ---- what it is ---- */

static const char probe[] = "\nnuage-host ";

static int
ask_what(struct far *f)
{
	static const char script[] = "PATH=$PATH:" SSH_PLACE_PATH "; w=none; command -v nuaged >/dev/null && w=path; echo; "
	    "echo \"nuage-host $(uname -sm) $w ${XDG_CACHE_HOME:-$HOME/.cache}/nuage\"";
	struct said said;
	char have[8], *line, *end;
	int at = 0, r = run(f, script, NULL, NULL, 0, &said);

	if (r < 0)
		return r;
	line = strstr(said.text, probe);
	end = line != NULL ? strchr(line + 1, '\n') : NULL;
	if (end == NULL)
		return refuse_said(f, "no command can be run there, so nothing can be copied", &said);
	*end = '\0';
	if (sscanf(line + sizeof probe - 1, "%63s %63s %7s %n", f->system, f->machine, have, &at) != 3 || at == 0 ||
	    snprintf(f->cache, sizeof f->cache, "%s", line + sizeof probe - 1 + at) >= (int)sizeof f->cache ||
	    f->cache[0] != '/')
		return refuse(f, -EIO, "it does not say what machine it is, and where its user's cache");
	f->on_path = strcmp(have, "path") == 0;
	return 0;
}

/* 1: the file there has that digest; 0: there is none, or it has another. */
static int
has_digest(struct far *f, const char *path, const char *digest)
{
	char line[SSH_PARCEL_DIGEST + 3];
	struct said said;
	int r = run(f, "echo; [ ! -e \"$1\" ] || sha256sum <\"$1\"", (const char *[]){ path, NULL }, NULL, 0, &said);

	if (r == 0 && said.status != 0)
		r = refuse_said(f, "what was copied there cannot be verified", &said);
	snprintf(line, sizeof line, "\n%s ", digest);
	return r < 0 ? r : strstr(said.text, line) != NULL;
}

/* ---- copying ---- */

/* OpenSSH has no word for a full disk. */
static int
refuse_write(struct far *f, LIBSSH2_SFTP *sftp, size_t left)
{
	LIBSSH2_SFTP_STATVFS space = { 0 };
	unsigned long code = libssh2_sftp_last_error(sftp);
	bool full = code == LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM || code == LIBSSH2_FX_QUOTA_EXCEEDED;
	int r, wait = 0;

	if (!full) {
		SSH_DRIVE(r, wait, f->ssh, libssh2_sftp_statvfs(sftp, f->cache, strlen(f->cache), &space));
		full = wait == 0 && r == 0 && space.f_bavail * space.f_frsize < left;
	}
	if (full)
		snprintf(f->why, f->size, "%s: no space left on its disk for nuaged, in %.200s", f->ssh->config.host, f->cache);
	else
		snprintf(f->why, f->size, "%s: nuaged cannot be written to %.200s (SFTP error %lu)", f->ssh->config.host, f->cache,
		    code);
	return full ? -ENOSPC : -EIO;
}

static int
write_file(struct far *f, LIBSSH2_SFTP *sftp, const struct ssh_parcel *p)
{
	LIBSSH2_SFTP_HANDLE *file;
	struct ssh *s = f->ssh;
	int wait = 0, r = 0;
	size_t at = 0;
	ssize_t n;

	do
		file = libssh2_sftp_open_ex(sftp, f->partial, (unsigned)strlen(f->partial),
		    LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL, 0700, LIBSSH2_SFTP_OPENFILE);
	while (file == NULL && libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_EAGAIN && (wait = ssh_wait(s)) == 0);
	if (file == NULL && wait == 0)
		return refuse_write(f, sftp, p->len);
	while (wait == 0 && r == 0 && at < p->len) {
		SSH_DRIVE(n, wait, s, libssh2_sftp_write(file, (const char *)p->data + at, p->len - at < CHUNK ? p->len - at : CHUNK));
		if (wait == 0 && n < 0)
			r = refuse_write(f, sftp, p->len - at);
		at += n > 0 ? (size_t)n : 0;
		ssh_more_time(s);
	}
	if (wait == 0 && file != NULL) {
		int closed;

		SSH_DRIVE(closed, wait, s, libssh2_sftp_close_handle(file));
		if (closed < 0 && wait == 0 && r == 0)
			r = refuse_write(f, sftp, 0);
	}
	return wait < 0 ? refuse(f, wait, "the connection broke while nuaged was copied there") : r;
}

/* 1: there is no SFTP. */
static int
copy_by_sftp(struct far *f, const struct ssh_parcel *p)
{
	struct ssh *s = f->ssh;
	LIBSSH2_SFTP *sftp;
	int wait = 0, r, closed;

	/* It cannot be told a server without SFTP from one that has not cleared the last channel away yet. */
	resolve_wait(-1, 0, clock_ms(CLOCK_MONOTONIC) + CLEAR_MS, s->cancel_fd);
	ssh_more_time(s);
	do
		sftp = libssh2_sftp_init(s->session);
	while (sftp == NULL && libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_EAGAIN && (wait = ssh_wait(s)) == 0);
	if (wait < 0)
		return refuse(f, wait, "the connection broke while nuaged was copied there");
	if (sftp == NULL)
		return 1;
	r = write_file(f, sftp, p);
	ssh_more_time(s);
	if (r != -ECONNRESET && r != -ETIMEDOUT && r != -ECANCELED)
		SSH_DRIVE(closed, wait, s, libssh2_sftp_shutdown(sftp));
	return r;
}

static int
copy(struct far *f, const struct ssh_parcel *p)
{
	struct said said;
	int r = run(f, "umask 077 && mkdir -p \"$1\"", (const char *[]){ f->cache, NULL }, NULL, 0, &said);

	if (r == 0 && said.status != 0)
		r = refuse_said(f, "nuaged cannot be copied there", &said);
	if (r == 0)
		r = copy_by_sftp(f, p);
	if (r == 1) {
		r = run(f, "umask 077 && cat >\"$1\"", (const char *[]){ f->partial, NULL }, p->data, p->len, &said);
		if (r == 0 && said.status != 0)
			r = refuse_said(f, "nuaged cannot be copied there", &said);
	}
	return r;
}

/* ---- all of it ---- */

static int
verify(struct far *f, const struct ssh_parcel *p)
{
	struct said said;
	int r = has_digest(f, f->partial, p->digest);

	if (r == 0)
		r = refuse(f, -EBADMSG, "what arrived there is not the nuaged that was sent");
	if (r == 1)
		r = run(f, "echo; chmod 700 \"$1\" && exec \"$1\" --version", (const char *[]){ f->partial, NULL }, NULL, 0, &said);
	if (r == 0 && (said.status != 0 || strstr(said.text, "\nnuaged ") == NULL))
		r = refuse_said(f, "the nuaged that was copied there does not run", &said);
	return r;
}

/* Others of this machine's kind go, and what broken copies left more than an hour ago. */
static int
settle(struct far *f)
{
	static const char script[] = "mv -f \"$1\" \"$2\" || exit; d=${2%/*}; "
	    "for f in \"$d\"/nuaged-*-\"$3\"-*; do [ \"$f\" = \"$2\" ] || rm -f \"$f\"; done; "
	    "find \"$d\" -name '.nuaged-*' -mmin +60 -exec rm -f {} + 2>/dev/null; [ -x \"$2\" ]";
	struct said said;
	int r = run(f, script, (const char *[]){ f->partial, f->final, f->machine, NULL }, NULL, 0, &said);

	if (r == 0 && said.status != 0)
		r = refuse_said(f, "nuaged cannot be kept there", &said);
	return r;
}

static int
install(struct far *f, const struct ssh_parcel *p)
{
	char why[SAID_MAX];
	struct said said;
	int r;

	snprintf(f->final, sizeof f->final, "%s/%s", f->cache, p->name);
	snprintf(f->partial, sizeof f->partial, "%s/.%s.%08x", f->cache, p->name, randombytes_random());
	r = has_digest(f, f->final, p->digest);
	if (r != 0)
		return r < 0 ? r : 0;
	r = copy(f, p);
	if (r == 0)
		r = verify(f, p);
	if (r == 0)
		r = settle(f);
	if (r < 0 && r != -ECONNRESET && r != -ETIMEDOUT && r != -ECANCELED) {
		snprintf(why, sizeof why, "%s", f->why);
		run(f, "rm -f \"$1\"", (const char *[]){ f->partial, NULL }, NULL, 0, &said);
		snprintf(f->why, f->size, "%s", why);
	}
	return r;
}

int
ssh_install(struct ssh *s, char *why, size_t size)
{
	struct far f = { .ssh = s, .why = why, .size = size };
	struct ssh_parcel p;
	char clause[512];
	int r;

	if ((r = ask_what(&f)) < 0 || f.on_path)
		return r;
	r = ssh_parcel_load(&p, f.system, f.machine, clause, sizeof clause);
	if (r < 0)
		return refuse(&f, r, clause);
	r = install(&f, &p);
	ssh_parcel_done(&p);
	return r;
}
