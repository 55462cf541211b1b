/* cmd_status.c - what the mounts of this home are doing. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cmd.h"
#include "fs/control.h"

struct fact {
	char	word[32];
	char	rest[512];
};
struct facts {
	struct fact	list[32];
	size_t		count;
};

struct listing {
	struct home	*home;
	bool		 json;
	unsigned	 shown, troubled;
};

static bool
collect(void *context, const char *word, const char *rest)
{
	struct facts *f = context;

	if (f->count == sizeof f->list / sizeof *f->list)
		return true;
	snprintf(f->list[f->count].word, sizeof f->list[0].word, "%s", word);
	snprintf(f->list[f->count++].rest, sizeof f->list[0].rest, "%s", rest);
	return true;
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
show_json(const struct listing *s, const struct facts *f)
{
	static const char *const texts[] = { "volume", "directory", "address", "trouble", "error" };

	fputs(s->shown > 0 ? ",\n  {" : "\n  {", stdout);
	for (size_t i = 0; i < f->count; i++) {
		const struct fact *at = &f->list[i];
		bool text = false;

		for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
			text |= strcmp(at->word, texts[j]) == 0;
		printf("%s\"%s\": ", i > 0 ? ", " : " ", at->word);
		if (text)
			cmd_json(stdout, at->rest);
		else if (strcmp(at->word, "connected") == 0 || strcmp(at->word, "busy") == 0)
			fputs(at->rest[0] == '1' ? "true" : "false", stdout);
		else
			fputs(at->rest, stdout);
	}
	fputs(" }", stdout);
}

static void
show_text(const struct facts *f)
{
	unsigned long long dirty = strtoull(fact(f, "dirty_bytes"), NULL, 10);
	unsigned long long objects = strtoull(fact(f, "dirty_objects"), NULL, 10);

	printf("%s on %s\n", fact(f, "volume"), fact(f, "directory"));
	if (fact(f, "connected")[0] == '1')
		printf("    connected to %s; mounted %s time%s\n", fact(f, "address"), fact(f, "sessions"),
		    strcmp(fact(f, "sessions"), "1") == 0 ? "" : "s");
	else
		printf("    NOT CONNECTED: %s\n", fact(f, "trouble"));
	if (fact(f, "busy")[0] == '1')
		puts("    the server is busy: what it did not take is tried again");
	if (objects == 0 && dirty == 0)
		puts("    everything is on the server");
	else
		printf("    not on the server yet: %llu file%s, %llu bytes of content\n", objects,
		    objects == 1 ? "" : "s", dirty);
	if (fact(f, "error")[0] != '\0')
		printf("    nothing can be saved now: %s\n", fact(f, "error"));
	if (fact(f, "lost_objects")[0] != '0')
		printf("    changes of %s files were lost\n", fact(f, "lost_objects"));
}

static int
show(void *context, const struct home_volume *v)
{
	struct listing *s = context;
	struct facts f = { .count = 0 };
	char path[PATH_MAX];
	int fd;

	if (home_socket(s->home, v->id, path, sizeof path) < 0 || (fd = control_ask(path, "status")) < 0)
		return 0;
	if (cmd_hear(&cmd_status, fd, collect, &f) == CMD_OK) {
		if (s->json)
			show_json(s, &f);
		else
			show_text(&f);
		s->shown++;
		s->troubled += fact(&f, "connected")[0] != '1';
	}
	close(fd);
	return 0;
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
		else
			home_each_volume(s.home, show, &s);
		if (s.json)
			puts(s.shown > 0 ? "\n]" : "]");
		else if (s.shown == 0)
			fputs("Nothing is mounted.\n", stderr);
		r = s.troubled > 0 ? CMD_UNREACHABLE : argc - optind == 1 && s.shown == 0 ? CMD_FAILED : CMD_OK;
	}
	home_close(s.home);
	return r;
}

const struct cmd cmd_status = {
	"status", status, "show what mounts are doing",
	"status [--json] [DIRECTORY | [SERVER/]VOLUME]\n"
	"\n"
	"For each mount of this home: whether the server can be reached, and what is\n"
	"not on it yet. Exits with 3 when a server cannot be reached.\n"
	"\n"
	"  -j, --json   an array of objects, for programs\n"
	"  -h, --help   show this text\n"
};
