/* cmd_status.c - what the mounts of this home are doing. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/control.h"
#include "fs/mounts.h"
#include "fs/serve_journal.h"

enum { UNSAVED_MAX = 256, UNSAVED_SHOWN = 20 };

struct fact {
	char	word[32];
	char	rest[512];
};
struct facts {
	struct fact	list[64];
	size_t		count;
	char		*unsaved[UNSAVED_MAX];
	size_t		unsaved_count;
};

struct listing {
	struct home	*home;
	bool		 json;
	unsigned	 shown, troubled, dead;
	const char	*directory;	/* of the mount whose conflicts are listed; NULL: not mounted */
	unsigned	 conflicts;
	const struct home_volume *volume;	/* at hand */
};

static void
collect(struct facts *f, const char *word, const char *rest)
{
	if (strcmp(word, "unsaved") == 0) {
		if (f->unsaved_count < UNSAVED_MAX && (f->unsaved[f->unsaved_count] = strdup(rest)) != NULL)
			f->unsaved_count++;
		return;
	}
	if (f->count == sizeof f->list / sizeof *f->list)
		return;
	snprintf(f->list[f->count].word, sizeof f->list[0].word, "%.*s", (int)sizeof f->list[0].word - 1, word);
	snprintf(f->list[f->count].rest, sizeof f->list[0].rest, "%.*s", (int)sizeof f->list[0].rest - 1, rest);
	f->count++;
}

/* False when the process ends just now. */
static bool
hear_facts(int fd, struct facts *f)
{
	char line[CONTROL_LINE], *rest;

	while (control_hear(fd, line)) {
		if (strcmp(line, "ok") == 0)
			return true;
		rest = strchr(line, ' ');
		if (rest != NULL)
			*rest++ = '\0';
		collect(f, line, rest != NULL ? rest : "");
	}
	return false;
}

static void
facts_done(struct facts *f)
{
	for (size_t i = 0; i < f->unsaved_count; i++)
		free(f->unsaved[i]);
}

static const char *
fact(const struct facts *f, const char *word)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->list[i].word, word) == 0)
			return f->list[i].rest;
	return "";
}

static void
show_file(const char *heading, const char *path)
{
	printf("%s        ", heading);
	cmd_plain(stdout, path);
	putchar('\n');
}

/* A copy that is not there any more has been dealt with. */
static void
show_conflict(void *context, const char *path)
{
	struct listing *s = context;
	char full[2 * PATH_MAX];

	snprintf(full, sizeof full, "%s%s", s->directory != NULL ? s->directory : "", path);
	if (s->directory != NULL && access(full, F_OK) < 0)
		return;
	if (s->json) {
		fputs(s->conflicts > 0 ? ", " : "", stdout);
		cmd_json(stdout, path);
	} else
		show_file(s->conflicts > 0 ? "" : "    changed here and elsewhere; this device's versions:\n", path);
	s->conflicts++;
}

static void
show_conflicts(struct listing *s, const uint8_t *id)
{
	s->conflicts = 0;
	fputs(s->json ? ", \"conflicts\": [" : "", stdout);
	serve_journal_conflicts(s->home, id, show_conflict, s);
	fputs(s->json ? "]" : "", stdout);
}

static bool
is_of(const char *word, const char *const *words)
{
	while (*words != NULL && strcmp(word, *words) != 0)
		words++;
	return *words != NULL;
}

static void
show_json(struct listing *s, const uint8_t *id, const struct facts *f)
{
	static const char *const texts[] = { "volume", "directory", "address", "transport", "trouble", "error", "journal_error",
	    "logind", "journal", "disk_error", NULL };
	static const char *const truths[] = { "connected", "busy", "login", "asleep", "lapsed", "reclaiming", "offline", "journal_full",
	    NULL };

	fputs(s->shown > 0 ? ",\n  {" : "\n  {", stdout);
	for (size_t i = 0; i < f->count; i++) {
		const struct fact *at = &f->list[i];

		printf("%s\"%s\": ", i > 0 ? ", " : " ", at->word);
		if (is_of(at->word, texts))
			cmd_json(stdout, at->rest);
		else if (is_of(at->word, truths))
			fputs(at->rest[0] == '1' ? "true" : "false", stdout);
		else
			fputs(at->rest, stdout);
	}
	fputs(", \"unsaved\": [", stdout);
	for (size_t i = 0; i < f->unsaved_count; i++) {
		fputs(i > 0 ? ", " : "", stdout);
		cmd_json(stdout, f->unsaved[i]);
	}
	fputs("]", stdout);
	show_conflicts(s, id);
	fputs(" }", stdout);
}

static void
show_offline(time_t since)
{
	char text[64];
	struct tm tm;

	localtime_r(&since, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	printf("    OFFLINE since %s: what is cached is served, changes wait in the journal\n", text);
}

static void
show_disk(const struct facts *f)
{
	double mib = 1024 * 1024;

	if (strtoull(fact(f, "disk_max"), NULL, 10) == 0)
		return;
	printf("    cache on disk: %.1f of %.0f MiB\n", strtod(fact(f, "disk_bytes"), NULL) / mib,
	    strtod(fact(f, "disk_max"), NULL) / mib);
	if (strtoull(fact(f, "pins"), NULL, 10) > 0)
		printf("    pinned: %s, complete: %s; %.1f MiB\n", fact(f, "pins"), fact(f, "pins_complete"),
		    strtod(fact(f, "disk_kept"), NULL) / mib);
	if (fact(f, "disk_error")[0] != '\0')
		printf("    the cache on disk takes nothing now: %s\n", fact(f, "disk_error"));
}

static void
show_unsaved(const struct facts *f)
{
	for (size_t i = 0; i < f->unsaved_count && i < UNSAVED_SHOWN; i++)
		show_file(i > 0 ? "" : "    what waits:\n", f->unsaved[i]);
	if (f->unsaved_count > UNSAVED_SHOWN)
		puts("        and more; nuage status --json lists them");
}

static void
show_text(struct listing *s, const uint8_t *id, const struct facts *f)
{
	unsigned long long dirty = strtoull(fact(f, "dirty_bytes"), NULL, 10);
	unsigned long long objects = strtoull(fact(f, "dirty_objects"), NULL, 10);
	unsigned long long parked = strtoull(fact(f, "ops_parked"), NULL, 10);

	if (objects < f->unsaved_count)
		objects = f->unsaved_count;	/* those on their way are listed, not counted */
	printf("%s on %s\n", fact(f, "volume"), fact(f, "directory"));
	if (fact(f, "connected")[0] == '1')
		printf("    connected to %s%s; mounted %s time%s\n", fact(f, "address"),
		    strcmp(fact(f, "transport"), "ssh") == 0 ? " (over SSH)" : "", fact(f, "sessions"),
		    strcmp(fact(f, "sessions"), "1") == 0 ? "" : "s");
	else
		printf("    NOT CONNECTED: %s\n", *fact(f, "trouble") != '\0' ? fact(f, "trouble") : "it is connecting");
	if (fact(f, "connected")[0] != '1' && parked > 0)
		printf("    %llu operation%s of programs wait%s for the server\n", parked, parked == 1 ? "" : "s",
		    parked == 1 ? "s" : "");
	if (fact(f, "login")[0] == '1')
		printf("    it waits for somebody to log in: nuage login %s\n", fact(f, "directory"));
	if (fact(f, "offline")[0] == '1')
		show_offline((time_t)strtoll(fact(f, "offline_since"), NULL, 10));
	if (fact(f, "asleep")[0] == '1')
		puts("    GOING TO SLEEP: what would have to wait for the server fails");
	if (strcmp(fact(f, "logind"), "refused") == 0)
		puts("    logind does not let it delay the machine's sleep");
	if (fact(f, "busy")[0] == '1')
		puts("    the server is busy: what it did not take is tried again");
	if (objects == 0 && dirty == 0)
		puts("    everything is on the server");
	else
		printf("    not on the server yet: %llu file%s, %llu bytes of content\n", objects,
		    objects == 1 ? "" : "s", dirty);
	show_disk(f);
	if (fact(f, "error")[0] != '\0')
		printf("    nothing can be saved now: %s\n", fact(f, "error"));
	if (fact(f, "lost_objects")[0] != '0')
		printf("    changes of %s files were lost\n", fact(f, "lost_objects"));
	if (strcmp(fact(f, "journal"), "stranded") == 0)
		printf("    the server went on without changes of %s files: they wait in the journal, to be done again\n",
		    fact(f, "waiting_objects"));
	if (fact(f, "journal_error")[0] != '\0')
		printf("    what waits there cannot be done again now: %s\n", fact(f, "journal_error"));
	show_unsaved(f);
	if (fact(f, "journal_full")[0] == '1')
		printf("    NO ROOM on this machine's disk for the journal: changes are answered when the server has them\n");
	if (fact(f, "journal_through")[0] != '0')
		printf("    the journal did not fit this machine's disk: %s changes waited for the server\n",
		    fact(f, "journal_through"));
	show_conflicts(s, id);
}

/* A mount of the volume at hand that no process serves any more. */
static void
show_dead(void *context, const struct mounts_entry *e)
{
	struct listing *s = context;
	char source[16 + 2 * HOME_NAME];
	const char *name = source + strlen("nuage:");

	snprintf(source, sizeof source, "nuage:%s/%s", s->volume->server, s->volume->name);
	/* The source too: after a reboot the device's number may be another mount's. */
	if (strcmp(e->source, source) != 0)
		return;
	if (e->device != home_mount(s->home, s->volume->id) || !mounts_dead(e->directory))
		return;
	if (s->json) {
		fputs(s->shown > 0 ? ",\n  { \"volume\": " : "\n  { \"volume\": ", stdout);
		cmd_json(stdout, name);
		fputs(", \"directory\": ", stdout);
		cmd_json(stdout, e->directory);
		fputs(", \"dead\": true }", stdout);
	} else {
		printf("%s on %s\n    ITS PROCESS IS GONE: nuage umount %s clears it\n", name, e->directory, e->directory);
	}
	s->shown++;
	s->dead++;
}

static int
show(void *context, const struct home_volume *v)
{
	struct listing *s = context;
	struct facts f = { .count = 0, .unsaved_count = 0 };
	char path[PATH_MAX];
	int fd;

	s->volume = v;
	if (home_socket(s->home, v->id, path, sizeof path) < 0 || (fd = control_ask(path, "status")) < 0) {
		mounts_each(show_dead, s);
		return 0;
	}
	if (hear_facts(fd, &f)) {
		s->directory = fact(&f, "directory");
		if (s->json)
			show_json(s, v->id, &f);
		else
			show_text(s, v->id, &f);
		s->shown++;
		s->troubled += fact(&f, "connected")[0] != '1';
	} else
		mounts_each(show_dead, s);
	facts_done(&f);
	close(fd);
	return 0;
}

/* A journal without a mount: of a volume that is known, or of one that is not any more. */
static void
show_waiting(void *context, const uint8_t id[VOLUME_ID_SIZE])
{
	struct listing *s = context;
	int64_t waiting = serve_journal_waiting(s->home, id);
	struct home_volume v;
	char name[2 * HOME_NAME + 2 * VOLUME_ID_SIZE] = "", path[PATH_MAX] = "";
	bool known = home_volume_by_id(s->home, id, &v) == 0;

	if (waiting == 0)
		return;
	home_journal(s->home, id, path, sizeof path);
	if (known)
		snprintf(name, sizeof name, "%s/%s", v.server, v.name);
	if (s->json) {
		fputs(s->shown > 0 ? ",\n  { \"volume\": " : "\n  { \"volume\": ", stdout);
		if (known)
			cmd_json(stdout, name);
		else
			fputs("null", stdout);
		fputs(", \"journal\": \"waiting\", \"journal_path\": ", stdout);
		cmd_json(stdout, path);
		printf(", \"journal_operations\": %lld", (long long)(waiting < 0 ? -1 : waiting));
		s->directory = NULL;
		show_conflicts(s, id);
		fputs(" }", stdout);
	} else {
		printf("%s, not mounted\n", known ? name : "a volume that this device does not know any more");
		if (waiting < 0)
			printf("    its journal cannot be read: %s\n    it is kept in %s\n", strerror((int)-waiting), path);
		else
			printf("    %lld operation%s in the journal for the next mount\n    %s kept in %s\n",
			    (long long)waiting, waiting == 1 ? " waits" : "s wait", waiting == 1 ? "it is" : "they are",
			    path);
	}
	s->shown++;
}

static int
status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	const struct cmd *cmd = &cmd_status;
	struct listing s = { 0 };
	struct cmd_mounted mounted;
	int c, r;

	while ((c = cmd_option(cmd, argc, argv, "jh", options)) != -1) {
		if (c != 'j')
			return cmd_usage(cmd, NULL);
		s.json = true;
	}
	if (argc - optind > 1)
		return cmd_usage(cmd, "say one directory or volume, or none for all");
	if ((r = cmd_home(cmd, &s.home)) != 0)
		return r;
	if (argc - optind == 1)
		r = cmd_find_mounted(cmd, s.home, argv[optind], &mounted);
	if (r == 0) {
		if (s.json)
			fputs("[", stdout);
		if (argc - optind == 1)
			show(&s, &mounted.volume);
		else {
			home_each_volume(s.home, show, &s);
			home_each_state(s.home, show_waiting, &s);
		}
		if (s.json)
			puts(s.shown > 0 ? "\n]" : "]");
		if (s.shown == 0 && argc - optind == 1)
			r = cmd_unserved(cmd, &mounted);
		else if (s.shown == 0 && !s.json)
			fputs("Nothing is mounted.\n", stderr);
		if (r == 0)
			r = s.dead > 0 ? CMD_FAILED : s.troubled > 0 ? CMD_UNREACHABLE : CMD_OK;
	}
	home_close(s.home);
	return r;
}

const struct cmd cmd_status = {
	"status", status, "show what mounts are doing",
	"status [--json] [DIRECTORY | [SERVER/]VOLUME]\n"
	"\n"
	"For each mount of this home: whether the server can be reached, and what is\n"
	"not on it yet. Exits with 3 when a server cannot be reached, with 1 when the\n"
	"process of a mount is gone.\n"
	"\n"
	"  -j, --json   an array of objects, for programs\n"
	"  -h, --help   show this text\n"
};
