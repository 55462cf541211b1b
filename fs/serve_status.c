/* serve_status.c - see serve_status.h. */
#include "fs/serve_status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/serve.h"
#include "fs/serve_cache.h"
#include "fs/suspend.h"

static void
add_unsaved(void *context, const char *path, bool lost)
{
	struct serve_unsaved *u = context;

	(void)lost;
	if (u->count == SERVE_NAMED_MAX || (u->path[u->count] = strdup(path)) == NULL)
		u->more++;
	else
		u->count++;
}

void
serve_unsaved(struct shell *shell, struct serve_unsaved *to)
{
	to->count = to->more = 0;
	shell_unsaved(shell, add_unsaved, to);
}

void
serve_unsaved_say(struct shell *shell, int fd)
{
	struct serve_unsaved u;

	serve_unsaved(shell, &u);
	for (size_t i = 0; i < u.count; i++) {
		control_say(fd, "unsaved %s", u.path[i]);
		free(u.path[i]);
	}
	if (u.more > 0)
		control_say(fd, "unsaved ... and %zu more", u.more);
}

void
serve_status_say(int fd, const struct serve_options *o, struct shell *shell, const struct suspend *suspend,
    struct serve_cache *cache, bool journal)
{
	struct engine_status e;
	struct shell_lanes lanes;
	char trouble[256], address[HOME_ADDRESSES];

	shell_lanes(shell, &lanes);
	shell_status(shell, &e, trouble, sizeof trouble);
	shell_address(shell, address, sizeof address);
	control_say(fd, "volume %s/%s", o->server.name, o->volume.name);
	control_say(fd, "directory %s", o->mount.directory);
	control_say(fd, "address %s", address[0] != '\0' ? address : o->server.addresses);
	if (address[0] != '\0')
		control_say(fd, "transport %s", strncmp(address, "ssh:", 4) == 0 ? "ssh" :
		    strncmp(address, "unix:", 5) == 0 ? "unix" : "tcp");
	control_say(fd, "pid %d", (int)getpid());
	control_say(fd, "connected %d", e.attached);
	control_say(fd, "login %d", lanes.unanswered);
	control_say(fd, "offline %d", e.offline);
	if (e.offline)
		control_say(fd, "offline_since %lld", (long long)e.offline_since.tv_sec);
	control_say(fd, "lapsed %d", e.lapsed);
	control_say(fd, "reclaiming %d", e.reclaiming);
	if (trouble[0] != '\0')
		control_say(fd, "trouble %s", trouble);
	if (e.error != 0)
		control_say(fd, "error %s", strerror(-e.error));
	control_say(fd, "busy %d", e.busy);
	control_say(fd, "version %" PRIu64, e.version);
	control_say(fd, "sessions %" PRIu32, e.sessions);
	control_say(fd, "dirty_bytes %zu", e.dirty_bytes);
	control_say(fd, "dirty_objects %zu", e.dirty_objects);
	control_say(fd, "commits_pending %zu", e.commits_pending);
	control_say(fd, "objects %zu", e.objects);
	control_say(fd, "cached_bytes %zu", e.cached_bytes);
	control_say(fd, "ops_parked %zu", e.ops_parked);
	control_say(fd, "reads %" PRIu64, e.reads);
	control_say(fd, "fetches %" PRIu64, e.fetches);
	control_say(fd, "misses %" PRIu64, e.misses);
	control_say(fd, "commits %" PRIu64, e.commits);
	control_say(fd, "recalls %" PRIu64, e.recalls);
	control_say(fd, "replays %" PRIu64, e.replays);
	control_say(fd, "rejected %" PRIu64, e.rejected);
	control_say(fd, "lost_objects %" PRIu64, e.lost_objects);
	control_say(fd, "waiting_objects %zu", e.waiting_objects);
	control_say(fd, "journal_bytes %zu", e.journal_bytes);
	control_say(fd, "journal_through %" PRIu64, e.journal_through);
	if (e.journal_error != 0)
		control_say(fd, "journal_error %s", strerror(-e.journal_error));
	control_say(fd, "asleep %d", e.asleep);
	control_say(fd, "logind %s", suspend_logind(suspend));
	/* What is to be done again is told whatever else there is to tell. */
	control_say(fd, "journal %s", !journal ? "off" : e.journal_stranded ? "stranded" :
	    e.journal_full ? "full" : "on");
	control_say(fd, "journal_full %d", journal && e.journal_full);
	serve_cache_say(cache, fd);
	/* While all goes well they are on their way, and others the next moment. */
	if (!e.attached || e.journal_stranded)
		serve_unsaved_say(shell, fd);
	control_say(fd, "ok");
}
