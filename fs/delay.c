/* delay.c - see delay.h.  Not part of nuage. */
#include "fs/delay.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/log.h"

enum { LINE = 128 };

static const char *const op_names[OP_COUNT] = {
	[OP_LOOKUP] = "lookup", [OP_GETATTR] = "getattr", [OP_SETATTR] = "setattr", [OP_CREATE] = "create",
	[OP_LINK] = "link", [OP_OPEN] = "open", [OP_READ] = "read", [OP_WRITE] = "write", [OP_READDIR] = "readdir",
	[OP_UNLINK] = "unlink", [OP_RENAME] = "rename",
};

static bool
find(const char *name, unsigned long *ret)
{
	const char *path = getenv("NUAGE_DELAY");
	FILE *f = path == NULL ? NULL : fopen(path, "re");
	size_t len = strlen(name);
	char line[LINE];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
		if ((found = strncmp(line, name, len) == 0 && line[len] == '='))
			*ret = strtoul(line + len + 1, NULL, 10);
	if (f != NULL)
		fclose(f);
	return found;
}

void
delay_point(const char *name)
{
	unsigned long ms;

	if (!find(name, &ms))
		return;
	log_info("delay at %s", name);
	nanosleep(&(struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 }, NULL);
}

void
delay_op(const char *where, enum op_type type)
{
	char name[LINE];

	if (type >= OP_COUNT || op_names[type] == NULL)
		return;
	snprintf(name, sizeof name, "%s-%s", where, op_names[type]);
	delay_point(name);
}

void
delay_setting(const char *name, uint32_t *to)
{
	unsigned long value;

	if (find(name, &value))
		*to = (uint32_t)value;
}

struct apart {
	void	(*what)(void *argument);
	void	*argument;
};

static void *
apart_main(void *argument)
{
	struct apart own = *(struct apart *)argument;

	free(argument);
	own.what(own.argument);
	return NULL;
}

bool
delay_apart(void (*what)(void *argument), void *argument)
{
	struct apart *a = malloc(sizeof *a);
	pthread_t thread;

	if (a == NULL)
		return false;
	*a = (struct apart){ what, argument };
	if (pthread_create(&thread, NULL, apart_main, a) != 0) {
		free(a);
		return false;
	}
	pthread_detach(thread);
	return true;
}
