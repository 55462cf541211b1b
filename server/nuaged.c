/*
 * nuaged.c - the storage server's program: nuaged(8).
 *
 *	nuaged [options]		serves
 *	nuaged invite [options]		prints an invitation to the server
 *	nuaged check [options]		verifies a store at rest
 *	nuaged bridge [options]		joins stdin and stdout to the nuaged of a directory
 *
 * Exit status: 0; 1 failed; 2 wrong usage.  Of check: 0 clean; 1 damage; 2 it
 * could not look.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "proto/invite.h"
#include "server/admin.h"
#include "server/bridge.h"
#include "server/settings.h"
#include "server/daemon.h"
#include "server/door.h"
#include "server/event.h"
#include "server/home.h"
#include "server/inspect.h"
#include "server/listen.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, PAUSE_MS = 100, DAY_S = 24 * 60 * 60, DAYS_MAX = 365 };

static const char usage[] =
"usage: nuaged --data DIR [--listen ADDR:PORT]... [--config FILE] [--log-level LEVEL]\n"
"              [--idle SECONDS] [--admit USER|@GROUP]... [--door DIR]\n"
"       nuaged invite DIR [--valid DAYS] [--address HOST:PORT] [--config FILE]\n"
"       nuaged check DIR [--json] [--config FILE]\n"
"       nuaged bridge DIR [--create] [--idle SECONDS] [--door DIR]\n"
"       nuaged --version | --help\n"
"\n"
"nuaged stores the encrypted volumes of nuage.  Without a command it serves; invite\n"
"prints an invitation that lets one device use the server; check verifies the data\n"
"of a server that does not run; bridge is what nuage starts over SSH.  nuaged(8)\n"
"says more.\n";

enum { OPT_DATA = 256, OPT_LISTEN, OPT_CONFIG, OPT_LOG_LEVEL, OPT_VALID, OPT_ADDRESS, OPT_JSON,
	OPT_IDLE, OPT_CREATE, OPT_ADMIT, OPT_DOOR, OPT_VERSION };

static const struct option options[] = {
	{ "data", required_argument, NULL, OPT_DATA },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "valid", required_argument, NULL, OPT_VALID },
	{ "address", required_argument, NULL, OPT_ADDRESS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "idle", required_argument, NULL, OPT_IDLE },
	{ "create", no_argument, NULL, OPT_CREATE },
	{ "admit", required_argument, NULL, OPT_ADMIT },
	{ "door", required_argument, NULL, OPT_DOOR },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct request {
	const char	*command;	/* "serve", "invite", "check", "bridge" */
	struct settings	 config;
	unsigned	 valid_days;
	bool		 json, create;
};

/* ---- the command line ---- */

static bool
set_option(struct request *r, const char *key, const char *value)
{
	char why[160];

	if (settings_set(&r->config, key, value, why, sizeof why))
		return true;
	fprintf(stderr, "nuaged: %s\n", why);
	return false;
}

static bool
set_days(struct request *r, const char *text)
{
	char *end;
	unsigned long days = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || days < 1 || days > DAYS_MAX) {
		fprintf(stderr, "nuaged: --valid takes a number of days from 1 to %d, not '%s'\n", DAYS_MAX, text);
		return false;
	}
	r->valid_days = days;
	return true;
}

/* The file first: options go over it. */
static bool
load_file(struct request *r, int argc, char **argv)
{
	bool fine = true;
	int c;

	opterr = 0;
	optind = 1;
	while (fine && (c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == OPT_CONFIG)
			fine = settings_load(&r->config, optarg);
	opterr = 1;
	optind = 1;
	return fine;
}

static void
forget_listen(struct settings *c)
{
	while (c->listen_count > 0) {
		free(c->listen[--c->listen_count]);
		c->listen[c->listen_count] = NULL;
	}
}

static bool
is_command(const char *word)
{
	return strcmp(word, "serve") == 0 || strcmp(word, "invite") == 0 || strcmp(word, "check") == 0 ||
	    strcmp(word, "bridge") == 0;
}

/* The parts of a request; false when an exit status is settled in *status. */
static bool
parse(struct request *r, int argc, char **argv, int *status)
{
	bool fine = load_file(r, argc, argv), listens = false;
	int c;

	*status = fine ? EXIT_USAGE : EXIT_FAILED;
	while (fine && (c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (c) {
		case OPT_DATA: fine = set_option(r, "data", optarg); break;
		case OPT_LISTEN:
			if (!listens)
				forget_listen(&r->config);
			listens = true;
			fine = set_option(r, "listen", optarg);
			break;
		case OPT_CONFIG: break;
		case OPT_LOG_LEVEL: fine = set_option(r, "log_level", optarg); break;
		case OPT_VALID: fine = set_days(r, optarg); break;
		case OPT_ADDRESS: fine = set_option(r, "address", optarg); break;
		case OPT_JSON: r->json = true; break;
		case OPT_IDLE: fine = set_option(r, "idle_s", optarg); break;
		case OPT_CREATE: r->create = true; break;
		case OPT_ADMIT: fine = set_option(r, "admit", optarg); break;
		case OPT_DOOR: fine = set_option(r, "door", optarg); break;
		case OPT_VERSION:
			printf("nuaged %s\n", PACKAGE_VERSION);
			*status = EXIT_FINE;
			return false;
		case 'h':
			fputs(usage, stdout);
			*status = EXIT_FINE;
			return false;
		default:
			fputs("nuaged: try nuaged --help\n", stderr);
			return false;
		}
	if (!fine)
		return false;
	r->command = optind < argc ? argv[optind] : "serve";
	if (!is_command(r->command)) {
		fprintf(stderr, "nuaged: no command '%s'; %s\n", r->command, strchr(r->command, '/') != NULL ?
		    "to serve a directory say nuaged --data DIR" : "try nuaged --help");
		return false;
	}
	if (argc - optind > 2 || (argc - optind == 2 && r->config.data != NULL)) {
		fprintf(stderr, "nuaged: unexpected argument '%s'\n", argv[argc - 1]);
		return false;
	}
	if (argc - optind == 2 && !set_option(r, "data", argv[optind + 1]))
		return false;
	if (r->config.data == NULL) {
		fputs("nuaged: where is the data?  Give --data DIR, or data in the configuration file\n", stderr);
		return false;
	}
	return true;
}

/* ---- serving ---- */

/* The connection stays in the backlog; others must end first. */
static void
pause_accepting(int error)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000 * 1000 };
	static time_t logged;

	if (time(NULL) > logged + 1)
		event_log(EVENT_WARNING, "event=refused reason=\"%s\"", strerror(-error));
	logged = time(NULL);
	nanosleep(&pause, NULL);
}

/* As many files as we may have: each connection is one, and each segment of the log. */
static void
raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* What a serving nuaged has open. */
struct service {
	struct home	 home;
	struct listener	 listener;
	struct door	 door;
	struct admin	*admin;
	struct daemon	*daemon;
	int		 signals;
};

static void
take(struct service *s, int listening)
{
	char peer[64];
	uid_t uid;
	int fd = listen_accept(listening, peer, sizeof peer);

	if (fd >= 0 && listening == s->door.serving && !door_admits(&s->door, fd, &uid))
		close(fd);
	else if (fd >= 0)
		daemon_accept(s->daemon, fd, peer);
	else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		pause_accepting(fd);
}

/* Is it over, for nobody has been connected for idle_s (0: that is no reason)?  If not, *patience_ms is no longer than that takes. */
static bool
is_over(struct daemon *d, uint32_t idle_s, int *patience_ms)
{
	uint64_t idle_ms, most_ms = idle_s * UINT64_C(1000);

	if (idle_s == 0 || !daemon_idle(d, &idle_ms))
		return false;
	if (idle_ms >= most_ms) {
		event_log(EVENT_INFO, "event=stop idle=%us", (unsigned)idle_s);
		return true;
	}
	/* A long one is waited for in parts. */
	most_ms = most_ms - idle_ms < INT_MAX ? most_ms - idle_ms : INT_MAX;
	if (*patience_ms < 0 || (int)most_ms < *patience_ms)
		*patience_ms = (int)most_ms;
	return false;
}

/*
 * Accepts, ticks and serves the admin sockets until a signal comes, the store
 * fails, or nobody has been connected for idle_s.  Who connects just then is
 * refused, and comes again to the next nuaged.
 */
static void
run(struct service *s, uint32_t idle_s)
{
	struct pollfd p[2 + LISTEN_SOCKETS + 1 + ADMIN_POLLS];
	struct signalfd_siginfo info;
	unsigned count = 2;
	int patience_ms = 0;

	p[0] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = daemon_alarm(s->daemon), .events = POLLIN };
	for (unsigned i = 0; i < s->listener.count; i++)
		p[count++] = (struct pollfd){ .fd = s->listener.fds[i], .events = POLLIN };
	p[count++] = (struct pollfd){ .fd = s->door.serving, .events = POLLIN };
	while (!daemon_failed(s->daemon)) {
		if (poll(p, count + admin_poll(s->admin, p + count), patience_ms) > 0) {
			for (unsigned i = 2; i < count; i++)
				if (p[i].revents != 0)
					take(s, p[i].fd);
			if (p[0].revents != 0 && read(s->signals, &info, sizeof info) == sizeof info) {
				event_log(EVENT_INFO, "event=stop signal=%s", strsignal(info.ssi_signo));
				return;
			}
			if (p[1].revents != 0)
				daemon_tick(s->daemon);
		}
		admin_serve(s->admin, s->daemon);
		patience_ms = admin_patience(s->admin);
		if (is_over(s->daemon, idle_s, &patience_ms))
			return;
	}
}

static int
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void
announce(const struct service *s, const struct settings *config)
{
	char key[KEY_SIZE * 2 + 1], name[64];

	sodium_bin2hex(key, sizeof key, s->home.public, KEY_SIZE);
	event_log(EVENT_INFO, "event=start version=%s data=%s key=%s", PACKAGE_VERSION, s->home.path, key);
	for (unsigned i = 0; i < s->listener.count; i++) {
		listen_name(s->listener.fds[i], name, sizeof name);
		event_log(EVENT_INFO, "event=listen address=%s", name);
	}
	if (s->door.fd >= 0)
		event_log(EVENT_INFO, "event=door path=%s admits=\"%s\"", door_path(config), s->door.admitted);
}

static int
serve(const struct settings *config)
{
	struct service s = { .door = { .fd = -1, .serving = -1 } };
	int status = EXIT_FAILED, r;

	event_set_level(config->log_level);
	if (!home_open(&s.home, config->data, true))
		return EXIT_FAILED;
	raise_files();
	s.signals = block_signals();
	/* Whoever reaches the port finds the admin socket too. */
	if (daemon_open(&s.daemon, config, &s.home) && door_open(&s.door, config)) {
		r = admin_open(&s.admin, &s.home, &s.door);
		if (r < 0)
			fprintf(stderr, "nuaged: %s/%s: %s\n", s.home.path, ADMIN_SOCKET, strerror(-r));
	}
	if (s.admin != NULL && listen_open(&s.listener, config, &s.home)) {
		announce(&s, config);
		run(&s, config->idle_s);
		status = EXIT_FINE;
	}
	listen_close(&s.listener);
	if (s.admin != NULL)
		listen_local_unlink(&s.home);
	admin_close(s.admin);
	door_close(&s.door);
	if (s.daemon != NULL && !daemon_close(s.daemon))
		status = EXIT_FAILED;
	if (status == EXIT_FINE)
		event_log(EVENT_INFO, "event=stopped");
	home_close(&s.home);
	return status;
}

/* ---- inviting ---- */

enum { START_TRIES = 100 };	/* a tenth of a second each, for one that is just starting */

/* Through the running daemon, or else with the store to ourselves; the address to print, unless one was given. */
static bool
enter_invitation(const struct settings *config, const struct home *home, const uint8_t hash[KEY_SIZE],
    uint64_t valid_s, char *address, size_t size)
{
	struct daemon *d = NULL;
	int r;

	for (unsigned tries = 0;; tries++) {
		r = admin_invite(home, hash, valid_s, address, size);
		if ((r != -ENOENT && r != -ECONNREFUSED) || tries == START_TRIES || !home_store_held(home))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	}
	if (r == 0)
		return true;
	if (r == -EACCES || (home->foreign && (r == -ENOENT || r == -ECONNREFUSED))) {
		fprintf(stderr, "nuaged: %s: ask as the user who owns it\n", home->path);
		return false;
	}
	if (r != -ENOENT && r != -ECONNREFUSED) {
		fprintf(stderr, "nuaged: %s\n", r == -EPROTO || r == -EIO ? address : strerror(-r));
		return false;
	}
	if (!daemon_open(&d, config, home))
		return false;
	r = daemon_invite(d, hash, valid_s);
	snprintf(address, size, "%s", daemon_address(d));
	if (r < 0)
		fprintf(stderr, "nuaged: the invitation could not be stored: %s\n", strerror(-r));
	return daemon_close(d) && r == 0;
}

static int
invite(const struct settings *config, unsigned valid_days)
{
	struct invitation i = { .kind = INVITE_SERVER };
	uint8_t token[SECRET_SIZE], hash[KEY_SIZE];
	char text[INVITE_TEXT];
	struct home home;
	bool fine;

	if (!home_open(&home, config->data, false))
		return EXIT_FAILED;
	event_set_level(EVENT_ERROR);
	randombytes_buf(i.secret, sizeof i.secret);
	wrap_token(i.secret, token);
	wrap_token_hash(token, hash);
	memcpy(i.server, home.public, KEY_SIZE);
	fine = enter_invitation(config, &home, hash, valid_days * UINT64_C(1) * DAY_S, i.address, sizeof i.address);
	if (fine && config->address != NULL)
		snprintf(i.address, sizeof i.address, "%s", config->address);
	if (fine && invite_print(&i, text) < 0) {
		fprintf(stderr, "nuaged: '%s' is no address to put into an invitation\n", i.address);
		fine = false;
	}
	if (fine && (puts(text) < 0 || fflush(stdout) != 0))
		fine = false;
	sodium_memzero(&i, sizeof i);
	sodium_memzero(text, sizeof text);
	sodium_memzero(token, sizeof token);
	home_close(&home);
	return fine ? EXIT_FINE : EXIT_FAILED;
}

int
main(int argc, char **argv)
{
	struct request r = { .valid_days = 7 };
	int status;

	if (sodium_init() < 0) {
		fputs("nuaged: libsodium does not start\n", stderr);
		return EXIT_FAILED;
	}
	settings_init(&r.config);
	if (parse(&r, argc, argv, &status)) {
		if (strcmp(r.command, "serve") == 0) {
			status = serve(&r.config);
		} else if (strcmp(r.command, "invite") == 0) {
			status = invite(&r.config, r.valid_days);
		} else if (strcmp(r.command, "check") == 0) {
			status = inspect(&r.config, r.json);
		} else {
			status = bridge(&r.config, r.create);
		}
	}
	settings_done(&r.config);
	return status;
}
