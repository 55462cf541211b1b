/* test_settings.c - nuaged.conf: what is taken, and how what is wrong is told. */
#include "server/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/scratch.h"
#include "tests/tap.h"

static bool
load(struct settings *s, const char *text)
{
	char path[256];
	int fd = mkstemp(scratch(path, sizeof path, "nuage-settings"));
	bool fine = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	settings_init(s);
	fine = fine && settings_load(s, path);
	unlink(path);
	return fine;
}

static void
refused(const char *key, const char *value, const char *expected)
{
	struct settings s;
	char why[160] = "";

	settings_init(&s);
	ok(!settings_set(&s, key, value, why, sizeof why) && strstr(why, expected) != NULL, "%s = %s: %s", key, value, why);
	settings_done(&s);
}

int
main(void)
{
	struct settings s;

	ok(load(&s, "# a comment\n\n  data = /var/lib/nuage  \nlisten=[::]:1\nlisten = :2\nterm_ms = 5000\n"
	    "reserve_bytes = 2G\nlog_level = debug"), "a file is read");
	ok(strcmp(s.data, "/var/lib/nuage") == 0 && s.listen_count == 2 && strcmp(s.listen[1], ":2") == 0 &&
	    s.term_ms == 5000 && s.reserve_bytes == UINT64_C(2) << 30 && s.log_level == EVENT_DEBUG, "with all it says");
	ok(s.connections_max > 0 && s.address == NULL, "the rest has its default");
	settings_done(&s);
	ok(load(&s, "admit = alice\nadmit = @staff\ndoor = /run/other\n") && s.admit_count == 2 &&
	    strcmp(s.admit[1], "@staff") == 0 && strcmp(s.door, "/run/other") == 0, "whom it admits, and where");
	settings_done(&s);
	ok(load(&s, "") && s.admit_count == 0 && s.door == NULL, "an empty file too");
	settings_done(&s);
	ok(!load(&s, "data = /x\nterm = 5\n"), "an unknown key is an error");
	settings_done(&s);
	ok(!load(&s, "data\n"), "so is a line that is no setting");
	settings_done(&s);
	refused("bogus", "1", "unknown key");
	refused("term_ms", "", "needs a value");
	refused("term_ms", "12x", "must be a number");
	refused("term_ms", "-5", "must be a number");
	refused("term_ms", "999", "from 1000");
	refused("reserve_bytes", "99999999999999999999", "must be a number");
	refused("reserve_bytes", "9999999999T", "must be a number");
	refused("segment_bytes", "1M", "from 33554432");
	refused("log_level", "loud", "log_level is");
	settings_init(&s);
	for (unsigned i = 0; i < SETTINGS_LISTEN_MAX; i++) {
		char why[160];

		settings_set(&s, "listen", ":1", why, sizeof why);
	}
	refused("listen", "", "needs a value");
	settings_done(&s);
	return tap_done();
}
