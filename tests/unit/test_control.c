/* test_control.c - what a mount's process says is heard as it was meant, whatever names are in it. */
#include "fs/control.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/tap.h"

static bool
hears(int fd, const char *wanted)
{
	char line[CONTROL_LINE];

	return control_hear(fd, line) && strcmp(line, wanted) == 0;
}

int
main(void)
{
	char line[CONTROL_LINE], name[2 * CONTROL_LINE];
	int fds[2];

	if (!ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "a connection"))
		return tap_done();
	ok(control_say(fds[0], "unsaved %s", "/a") && hears(fds[1], "unsaved /a"), "a line");
	ok(control_say(fds[0], "unsaved %s", "/a\nready\nok\n") && hears(fds[1], "unsaved /a?ready?ok?"),
	    "a file's name says nothing for itself");
	memset(name, '\n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	ok(control_say(fds[0], "%s", name) && control_say(fds[0], "ok") && control_hear(fds[1], line) && line[0] == '?' &&
	    hears(fds[1], "ok"), "nor does one that is cut");
	close(fds[0]);
	ok(!control_hear(fds[1], line), "and then nothing comes");
	close(fds[1]);
	return tap_done();
}
