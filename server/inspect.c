/* inspect.c - see inspect.h. */
#include "server/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "server/settings.h"
#include "server/diskstore.h"
#include "server/engine.h"
#include "server/home.h"

enum { CLEAN = 0, DAMAGED = 1, TROUBLE = 2 };

struct findings {
	pthread_mutex_t	lock;
	bool		json;
	uint64_t	count;
};

static void
print_json_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

static void
found(void *arg, const char *text)
{
	struct findings *f = arg;

	pthread_mutex_lock(&f->lock);
	if (!f->json) {
		puts(text);
	} else {
		fputs(f->count == 0 ? "" : ", ", stdout);
		print_json_text(text);
	}
	f->count++;
	pthread_mutex_unlock(&f->lock);
}

/* The meaning: references, counts, pins; 0 or a negative errno. */
static int
inspect_engine(const char *path, struct diskstore_config *config, struct findings *f)
{
	struct store *store;
	int r;

	config->accept_damage = true;
	config->report = NULL;		/* told already */
	r = diskstore_open(path, config, &store);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	server_check_store(store, found, f);
	return store_close(store);
}

int
inspect(const struct settings *config, bool json)
{
	struct findings f = { .lock = PTHREAD_MUTEX_INITIALIZER, .json = json };
	struct diskstore_config store;
	struct home home;
	int r;

	if (!home_open(&home, config->data, false))
		return TROUBLE;
	if (home.foreign) {
		fprintf(stderr, "nuaged: %s: belongs to another user, who must check it\n", home.path);
		home_close(&home);
		return TROUBLE;
	}
	diskstore_config_init(&store);
	if (config->segment_bytes != 0)
		store.segment_size = config->segment_bytes / 4096 * 4096;
	store.report = found;
	store.report_arg = &f;
	if (json)
		fputs("{\"damage\": [", stdout);
	r = diskstore_check(home.store, &store);
	if (r >= 0)
		r = inspect_engine(home.store, &store, &f);
	if (json)
		printf("], \"damages\": %" PRIu64 ", \"complete\": %s}\n", f.count, r < 0 ? "false" : "true");
	else if (r >= 0 && f.count == 0)
		puts("no damage found");
	else if (r >= 0)
		printf("%" PRIu64 " damages found\n", f.count);
	if (r == -EBUSY)
		fprintf(stderr, "nuaged: %s: a nuaged is running; stop it, then check\n", home.path);
	else if (r < 0)
		fprintf(stderr, "nuaged: %s: cannot be checked: %s\n", home.store, strerror(-r));
	home_close(&home);
	return r < 0 ? TROUBLE : f.count > 0 ? DAMAGED : CLEAN;
}
