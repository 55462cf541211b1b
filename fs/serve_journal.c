/*
 * serve_journal.c - see serve_journal.h.
 *
 *	the journal holds		what a mount does first
 *	nothing live			begins it anew; a session left behind is replaced
 *	something, of the session kept	resumes that; runs what had not landed; then the
 *					journal is emptied, then the session ended
 *	something, of another session	the same in a session of its own: what had landed
 *					is told by the names and versions it meets
 *	more than the server has room for	lets the mount begin, which takes it for lost
 *
 * What a mount loses while it lives it runs again itself (serve_journal_redo).
 *
 * It may die between any two of these steps and begins again with the first.
 */
#include "fs/serve_journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/conflicts.h"
#include "fs/features.h"
#include "fs/journal_file.h"
#include "fs/log.h"
#include "fs/replay.h"

enum { CONFLICTS_MAX = 10000 };

int
serve_journal_open(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file **ret, char *why, size_t size)
{
	char path[PATH_MAX];
	int r = home_journal(home, id, path, sizeof path);

	if (r == 0)
		r = journal_file_open(ret, path, id);
	if (r < 0)
		snprintf(why, size, "the journal cannot be opened: %s", r == -ENOTSUP ?
		    "another version of nuage wrote it; mount once with that" : strerror(-r));
	return r;
}

static int
add(void *context, uint64_t number, struct bytes entry)
{
	return replay_add(context, number, entry);
}

static int
load(struct journal_file *file, struct replay **ret)
{
	char device[256] = "";
	struct replay *r;
	int error;

	if (gethostname(device, sizeof device - 1) < 0 || device[0] == '\0')
		strcpy(device, "device");
	device[strcspn(device, ".")] = '\0';
	error = replay_new(&r, device, journal_file_whole(file));
	if (error < 0)
		return error;
	error = journal_file_each(file, add, r);
	if (error < 0)
		replay_free(r);
	else
		*ret = r;
	return error;
}

void
serve_journal_conflicts(struct home *home, const uint8_t id[VOLUME_ID_SIZE],
    void (*each)(void *context, const char *path), void *context)
{
	char file[PATH_MAX];

	if (home_conflicts(home, id, file, sizeof file) == 0)
		conflicts_each(file, each, context);
}

static void
tell(const char *path)
{
	log_warning("changed here and elsewhere: this device's version is %s", path);
}

/* They are listed nowhere else: the journal is not forgotten before. */
static int
keep_conflicts(struct home *home, const uint8_t id[VOLUME_ID_SIZE], const struct replay *r)
{
	const char **copies, *copy;
	char file[PATH_MAX];
	size_t count = 0;
	int error;

	if (!replay_conflict(r, 0, &copy))
		return 0;
	if ((error = home_conflicts(home, id, file, sizeof file)) < 0)
		return error;
	if ((copies = malloc(CONFLICTS_MAX * sizeof *copies)) == NULL)
		return -ENOMEM;
	while (count < CONFLICTS_MAX && replay_conflict(r, count, &copies[count]))
		count++;
	error = conflicts_add(file, copies, count, tell);
	free(copies);
	return error == -ENOSPC ? -ENOBUFS : error;	/* here, not there */
}

const char *
serve_journal_reason(int error)
{
	switch (error) {
	case -EINTR:
		return "the server does not answer";
	case -EBUSY:
		return "the server is too busy";
	case -EAGAIN:
		return "others took what it had begun to change, so it must begin again";
	case -ENOSPC:
		return "the server is out of space";
	case -ENOBUFS:
		return "this machine's disk is full";
	default:
		return strerror(-error);
	}
}

static void
waiting(void *context, const char *what)
{
	(void)context;
	log_warning("%s", what);
}

void
serve_journal_take_over(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file,
    struct shell_config *config)
{
	struct home_session old;

	config->replaces = 0;
	if (home_session_load(home, id, &old) < 0)
		return;
	if (old.id == journal_file_session(file)) {
		config->session = old.id;
		config->generation = old.generation;
		memcpy(config->secret, old.secret, SECRET_SIZE);
	} else {
		config->replaces = old.id;
		memcpy(config->replaces_secret, old.secret, SECRET_SIZE);
	}
}

int
serve_journal_leave(struct journal_file *file, struct shell *shell, char *why, size_t size)
{
	struct replay *r = NULL;
	int error = load(file, &r);

	if (error == 0)
		error = shell_take_over(shell, r);
	if (error < 0)
		snprintf(why, size, "what the last mount had not brought to the server waits in the journal, which cannot "
		    "be taken over: %s", error == -ENOSPC ? "this machine's disk is full" : strerror(-error));
	replay_free(r);
	return error;
}

static int
run(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file, struct replay *r,
    struct shell_config *config, char *why, size_t size)
{
	struct replay_report report;
	struct shell *shell;
	int error;

	serve_journal_take_over(home, id, file, config);
	/* What a killed mount appended may be in memory alone; from now on the server's state builds upon it. */
	if ((error = journal_file_sync(file)) < 0) {
		snprintf(why, size, "the journal cannot be brought to the disk: %s", strerror(-error));
		return error;
	}
	config->engine.journal = journal_file_sink(file);
	config->engine.offline = OFFLINE_NEVER;	/* it waits */
	config->replay = r;
	if ((error = shell_new(&shell, config, why, size)) < 0)
		return error;
	/* May this program still write to the volume? */
	if ((error = features_check(shell, false, waiting, NULL, why, size)) < 0) {
		shell_free(shell, false);
		return error;
	}
	error = shell_replay(shell, r);
	if (error == 0)
		error = keep_conflicts(home, id, r);
	if (error == 0) {
		shell_journal_end(shell);	/* it may be asked to give something back just now, and write that down */
		error = journal_file_reset(file);
	}
	if (error < 0)
		snprintf(why, size, "what the last mount had not brought to the server waits in the journal: %s",
		    serve_journal_reason(error));
	shell_free(shell, error == 0);
	if (error < 0)
		return error;
	replay_report(r, &report);
	log_info("of the last mount's journal %" PRIu64 " operations were run again, %" PRIu64 " had arrived; %" PRIu64
	    " did not fit any more, %" PRIu64 " conflicts, %" PRIu64 " equal", report.run, report.landed, report.unfit,
	    report.conflicts, report.equal);
	return 0;
}

int
serve_journal_replay(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file,
    struct shell_config config, bool writable, bool *ret_ran, char *why, size_t size)
{
	struct replay *r = NULL;
	int error = load(file, &r);

	*ret_ran = false;
	if (error < 0)
		snprintf(why, size, "the journal cannot be read: %s", strerror(-error));
	else if (!replay_needed(r))
		error = journal_file_reset(file);
	else if (!writable) {
		error = -EROFS;
		snprintf(why, size, "what the last mount had not brought to the server waits in the journal: "
		    "mount the volume once without -o ro");
	} else {
		*ret_ran = true;
		error = run(home, id, file, r, &config, why, size);
	}
	replay_free(r);
	return error;
}

int
serve_journal_redo(struct home *home, const uint8_t id[VOLUME_ID_SIZE], struct journal_file *file, struct shell *shell,
    const atomic_bool *stop)
{
	struct replay_report report;
	struct replay *r = NULL;
	uint64_t losses;
	bool keep;
	int error;

	if (!shell_redo_due(shell, &losses, &keep))
		return 0;
	error = load(file, &r);
	if (error == 0)
		error = shell_redo(shell, r, losses, keep, stop);
	if (error == 0)
		error = keep_conflicts(home, id, r);
	if (error == 0) {
		replay_report(r, &report);
		log_info("%" PRIu64 " operations that were lost with their leases were done again, %" PRIu64
		    " did not fit any more; %" PRIu64 " conflicts, %" PRIu64 " equal", report.run, report.unfit, report.conflicts,
		    report.equal);
	}
	replay_free(r);
	if (error == -ENOBUFS) {	/* whose disk is full is nothing to a program */
		shell_redo_end(shell, losses, -ENOSPC);
		return error;
	}
	return shell_redo_end(shell, losses, error);
}

int64_t
serve_journal_waiting(struct home *home, const uint8_t id[VOLUME_ID_SIZE])
{
	struct journal_file *file = NULL;
	struct replay *r = NULL;
	char path[PATH_MAX], why[256];
	int64_t count = 0;
	int fd, error;

	if (home_journal(home, id, path, sizeof path) < 0 || access(path, F_OK) < 0 || home_lock(home, id, &fd) < 0)
		return 0;
	error = serve_journal_open(home, id, &file, why, sizeof why);
	if (error == 0)
		error = load(file, &r);
	if (error == 0 && replay_needed(r))
		count = (int64_t)replay_waiting(r);
	replay_free(r);
	journal_file_close(file);
	close(fd);
	return error < 0 ? error : count;
}
