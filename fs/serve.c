/*
 * serve.c - see serve.h.
 *
 * The life of the process, in the order of `stage`:
 *
 *	STAGE_MOUNTED	the kernel sends requests
 *	STAGE_GONE	it does not any more: unmounted, or told to end
 *	STAGE_FLUSHED	everything is on the server, or given up and named
 *
 * A waiter thread sees the kernel let go; a signal thread takes SIGTERM; each
 * command on the control socket has a thread.  The main thread waits for
 * STAGE_GONE and flushes.  What a full disk kept from being noted down is noted
 * by the thread that does lost work again.  Lock: s->lock, for stage, force and
 * the list of what was lost.
 */
#include "fs/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/cmd.h"
#include "fs/control.h"
#include "fs/features.h"
#include "fs/guard.h"
#include "fs/handover.h"
#include "fs/journal_file.h"
#include "fs/lock.h"
#include "fs/log.h"
#include "fs/mounts.h"
#include "fs/peek.h"
#include "fs/redoer.h"
#include "fs/serve_cache.h"
#include "fs/serve_config.h"
#include "fs/serve_journal.h"
#include "fs/serve_login.h"
#include "fs/serve_status.h"
#include "fs/suspend.h"

enum {
	STEP_MS		= 1000,		/* between looks at a flush */
	PATIENCE_MS	= 6 * 1000,	/* a server away this long is called unreachable */
	TIMEOUT_MS	= 10 * 1000,	/* the same when the mount is to end and the journal keeps what is left */
	LAST_KEPT_MS	= 60 * 1000,	/* the last flush then, when nobody waits for it */
	FORCE_MS	= 5 * 1000,	/* even a forced end tries this long, when connected */
	LINGER_MS	= 5 * 1000,	/* after SIGTERM, for open files to be closed */
	SLEEP_MS	= 5 * 1000,	/* the longest that a command to go to sleep takes */
	LAST_MS		= 10 * 60 * 1000,	/* the last flush, when nobody waits for it */
	FEATURES_MS	= 1000,		/* between looks whether the volume's features are known */
};

enum stage { STAGE_MOUNTED, STAGE_GONE, STAGE_FLUSHED };

struct serve {
	pthread_mutex_t		 lock;
	pthread_cond_t		 change;
	enum stage		 stage;
	bool			 force, released;	/* released: no request comes any more */
	bool			 leave_it;	/* what is left is left to the journal */
	struct serve_unsaved	 lost;
	bool			 kept;		/* they wait in the journal */
	unsigned		 users;		/* requests that use the shell */
	bool			 unleased;	/* META was found to be */

	pthread_mutex_t		 session_lock;	/* while its note is written; after s->lock */
	struct home_session	 session;
	bool			 unkept;	/* the note is not as the session */

	const struct serve_options *options;
	void			(*ready)(void *context, int code, const char *why);
	void			*ready_context;
	struct shell		*shell;
	struct mount		*mount;
	struct guard		*guard;		/* NULL: without */
	struct control		*control;
	struct suspend		*suspend;
	struct journal_file	*journal;	/* NULL: without */
	bool			 takes_over;	/* what the last mount left in it */
	struct serve_cache	*cache;		/* on disk */
	int			 lock_fd;
	struct redoer		 redoer;
	pthread_t		 waiter, signals;
	bool			 started;	/* the kernel sends requests */
	atomic_bool		 over;	/* over: no request may use the shell any more */
};

static void
advance(struct serve *s, enum stage to, bool force)
{
	LOCK_SCOPE(&s->lock);
	if (to > s->stage)
		s->stage = to;
	s->force |= force;
	pthread_cond_broadcast(&s->change);
}

/* False: not within ms. */
static bool
wait_stage(struct serve *s, enum stage stage, int ms)
{
	LOCK_SCOPE(&s->lock);
	while (s->stage < stage) {
		if (ms < 0)
			pthread_cond_wait(&s->change, &s->lock);
		else if (lock_wait_ms(&s->change, &s->lock, (unsigned)ms) == ETIMEDOUT)
			return s->stage >= stage;
	}
	return true;
}

static bool
forced(struct serve *s)
{
	LOCK_SCOPE(&s->lock);
	return s->force;
}

/* ---- what outlives the process ---- */

/* session_lock held, as long as it is written: what is older never comes last. */
static int
session_write(struct serve *s)
{
	const struct serve_options *o = s->options;
	int r = s->session.id == 0 ? home_session_remove(o->home, o->volume.id) :
	    home_session_save(o->home, o->volume.id, &s->session);

	s->unkept = r < 0;
	return r;
}

static void
look(void *context, bool redo, bool meta)
{
	struct serve *s = context;

	if (redo)
		redoer_want(&s->redoer);
	if (!meta)
		return;
	LOCK_SCOPE(&s->lock);
	if (!s->unleased)
		pthread_cond_broadcast(&s->change);
	s->unleased = true;
}

static void
keep_session(void *context, uint64_t id, const uint8_t secret[SECRET_SIZE], uint32_t generation)
{
	struct serve *s = context;
	int r;

	{
		LOCK_SCOPE(&s->session_lock);
		s->session = (struct home_session){ .id = id, .generation = generation };
		memcpy(s->session.secret, secret, SECRET_SIZE);
		r = session_write(s);
	}
	if (r < 0) {
		log_error("the session cannot be kept: %s", strerror(-r));
		redoer_want(&s->redoer);
	}
	if (id != 0 && s->journal != NULL)
		journal_file_begin(s->journal, id);
}

/* Without it the next mount would have to guess what of the journal had arrived.  False: it cannot be yet. */
static bool
keep_session_again(void *context)
{
	struct serve *s = context;
	bool late, kept;

	{
		LOCK_SCOPE(&s->session_lock);
		late = s->unkept && session_write(s) == 0;
		kept = !s->unkept;
	}
	if (late)
		log_info("the session can be kept again");
	return kept;
}

static void
keep_version(void *context, uint64_t highest)
{
	const struct serve *s = context;
	const struct serve_options *o = s->options;
	int r = home_version_save(o->home, o->volume.id, highest);

	if (r < 0)
		log_error("the version seen cannot be kept: %s", strerror(-r));
}

static const struct keeper_calls keeper_calls = { keep_session, keep_version, look };

/* ---- flushing ---- */

/*
 * Until everything is on the server: 0.  Or a negative errno once the server
 * was away for patience_ms, or took nothing for that long, or most_ms have
 * passed, or the end is forced; fd (or -1) hears how it goes.
 */
static int
flush(struct serve *s, unsigned patience_ms, uint64_t most_ms, int fd)
{
	uint64_t began_ms = clock_ms(CLOCK_BOOTTIME);
	struct op op = { .type = OP_SYNC, .ino = OID_ROOT };
	struct errand *sync = NULL;
	struct engine_status status;
	unsigned away_ms = 0;
	char trouble[256];
	int r = 0;

	while (sync != NULL || (sync = shell_begin(s->shell, &op)) != NULL) {
		if (shell_wait(sync, STEP_MS)) {
			r = shell_end(s->shell, sync, &op);
			sync = NULL;
			if (r == 0)
				return 0;
			usleep(STEP_MS * 1000);		/* it was refused: tried again, but not at once */
		}
		shell_status(s->shell, &status, trouble, sizeof trouble);
		away_ms = sync != NULL && status.attached ? 0 : away_ms + STEP_MS;
		if (away_ms >= patience_ms || clock_ms(CLOCK_BOOTTIME) - began_ms >= most_ms || forced(s) || s->over)
			break;
		if (fd >= 0 && !control_say(fd, "progress %zu", status.dirty_bytes))
			break;
	}
	if (sync == NULL)
		return r < 0 ? r : -ENOMEM;
	return shell_end(s->shell, sync, &op);
}

/* ---- the control socket ---- */

/* False: the shell is about to end.  Else it lives until used(). */
static bool
use(struct serve *s)
{
	LOCK_SCOPE(&s->lock);
	s->users += !s->over;
	return !s->over;
}

static void
used(struct serve *s)
{
	LOCK_SCOPE(&s->lock);
	s->users--;
	pthread_cond_broadcast(&s->change);
}

/* The last flush is over: nothing is worth asking for any more. */
static void
users_end(struct serve *s)
{
	LOCK_SCOPE(&s->lock);
	s->over = true;
	while (s->users > 0)
		pthread_cond_wait(&s->change, &s->lock);
}

/* Says how a flush ended, unless it went well. */
static void
say_failure(struct serve *s, int fd, int error)
{
	struct engine_status status;
	char trouble[256];

	shell_status(s->shell, &status, trouble, sizeof trouble);
	if (!status.attached)
		control_say(fd, "unreachable %s", trouble[0] != '\0' ? trouble : "the server does not answer");
	else if (error == -ENOSPC || status.error == -ENOSPC)
		control_say(fd, "failed the server is out of space");
	else
		control_say(fd, "failed %s", strerror(-error));
}

/* Will the next mount find everything that is not on the server? */
static bool
kept_here(struct serve *s)
{
	struct engine_status status;
	char trouble[8];

	shell_status(s->shell, &status, trouble, sizeof trouble);
	return s->journal != NULL && !status.journal_full;
}

static bool
left(struct serve *s)
{
	LOCK_SCOPE(&s->lock);
	return s->leave_it;
}

static void
leave_it(struct serve *s, bool on)
{
	LOCK_SCOPE(&s->lock);
	s->leave_it = on;
}

/*
 * Unmounted here, a mount may live on in other mount namespaces: in each that
 * was made meanwhile, whether anybody there knows it or not.  It ends there too.
 */
static void
end_elsewhere(struct serve *s, unsigned since_ms)
{
	const char *directory = s->options->mount.directory;

	if (since_ms < LINGER_MS || wait_stage(s, STAGE_GONE, 0) || mounts_has(directory))
		return;
	log_warning("%s is unmounted, but not in another mount namespace (a container?): ended there too", directory);
	advance(s, STAGE_GONE, false);
}

/* timeout_ms 0: as long as the server takes something.  False: it must not end, and it was said why. */
static bool
save(struct serve *s, int fd, bool force, uint64_t timeout_ms)
{
	int r = 0;
	bool goes;

	if (!use(s))
		return true;		/* it ends already */
	if (force)
		advance(s, STAGE_MOUNTED, true);
	else if (timeout_ms > 0)
		r = flush(s, timeout_ms < UINT_MAX ? (unsigned)timeout_ms : UINT_MAX, timeout_ms, fd);
	else
		r = flush(s, TIMEOUT_MS, UINT64_MAX, fd);
	if ((goes = r == 0 || kept_here(s)))
		leave_it(s, r < 0);
	else {
		serve_unsaved_say(s->shell, fd);
		say_failure(s, fd, r);
	}
	used(s);
	return goes;
}

static void
serve_umount(struct serve *s, int fd, bool force, uint64_t timeout_ms)
{
	if (!save(s, fd, force, timeout_ms))
		return;
	control_say(fd, "ready");
	if (force) {
		/* The command detaches the mount; whoever still uses it loses it. */
		wait_stage(s, STAGE_GONE, LINGER_MS);
		advance(s, STAGE_GONE, true);
	}
	for (unsigned ms = 0; !wait_stage(s, STAGE_FLUSHED, STEP_MS); ms += STEP_MS) {
		if (control_gone(fd)) {
			leave_it(s, false);	/* it is in use, and stays */
			return;
		}
		end_elsewhere(s, ms);
	}
	for (size_t i = 0; i < s->lost.count; i++)
		control_say(fd, "%s %s", s->kept ? "kept" : "lost", s->lost.path[i]);
	if (s->lost.more > 0)
		control_say(fd, "%s ... and %zu more", s->kept ? "kept" : "lost", s->lost.more);
	control_say(fd, "ok");
}

static void
serve_sync(struct serve *s, int fd)
{
	int r = flush(s, PATIENCE_MS, UINT64_MAX, fd);

	if (r == 0)
		control_say(fd, "ok");
	else
		say_failure(s, fd, r);
}

static bool
is_verb(const char *request, size_t len, const char *verb)
{
	return strlen(verb) == len && memcmp(request, verb, len) == 0;
}

/* What neither ends the mount nor outlives its shell. */
static void
serve_other(struct serve *s, int fd, const char *request, size_t verb)
{
	if (is_verb(request, verb, "status"))
		serve_status_say(fd, s->options, s->shell, s->suspend, s->cache, s->journal != NULL);
	else if (is_verb(request, verb, "sync"))
		serve_sync(s, fd);
	else if (is_verb(request, verb, "login"))
		serve_login(s->shell, fd, &s->over);
	else if (is_verb(request, verb, "sleep")) {
		suspend_sleep(s->suspend, SLEEP_MS);
		control_say(fd, "ok");
	} else if (is_verb(request, verb, "wake")) {
		suspend_wake(s->suspend);
		control_say(fd, "ok");
	} else if (!serve_cache_request(s->cache, fd, request, verb))
		control_say(fd, "failed this mount's process does not know that request");
}

/*
 * "VERB" or "VERB DIRECTORY": the latter must be ours, for another home may
 * have mounted the same volume.  "umount:MS" gives it so much time in all.
 */
static void
serve_request(void *context, int fd, const char *request)
{
	struct serve *s = context;
	size_t verb = strcspn(request, " ");
	const char *directory = request[verb] != '\0' ? request + verb + 1 : s->options->mount.directory;

	if (strcmp(directory, s->options->mount.directory) != 0)
		control_say(fd, "failed this home has mounted the volume on %s: for %s set NUAGE_HOME as it was when "
		    "that was mounted", s->options->mount.directory, directory);
	else if (is_verb(request, verb, "umount"))
		serve_umount(s, fd, false, 0);
	else if (strncmp(request, "umount:", strlen("umount:")) == 0)
		serve_umount(s, fd, false, strtoull(request + strlen("umount:"), NULL, 10));
	else if (is_verb(request, verb, "discard"))
		serve_umount(s, fd, true, 0);
	else if (!use(s))
		control_say(fd, "failed the volume is being unmounted");
	else {
		serve_other(s, fd, request, verb);
		used(s);
	}
}

/* ---- threads ---- */

static void *
waiter_main(void *argument)
{
	struct serve *s = argument;

	mount_wait(s->mount);
	{
		LOCK_SCOPE(&s->lock);
		s->released = true;
	}
	advance(s, STAGE_GONE, false);
	return NULL;
}

static void
end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* As `nuage umount`, but nobody is there to be refused. */
static void
leave(struct serve *s)
{
	mount_detach(s->mount);
	wait_stage(s, STAGE_GONE, LINGER_MS);
	advance(s, STAGE_GONE, false);
}

/* The first SIGTERM leaves, a second one ends at once. */
static void *
signals_main(void *argument)
{
	struct serve *s = argument;
	unsigned times = 0;
	sigset_t set;
	int sig;

	end_signals(&set);
	for (;;) {
		if (sigwait(&set, &sig) != 0 || (sig == SIGHUP && times == 0))
			continue;
		if (++times > 1) {
			log_warning("told to end twice: giving up what is not saved");
			advance(s, STAGE_GONE, true);
			continue;
		}
		log_info("told to end: unmounting %s", s->options->mount.directory);
		leave(s);
	}
	return NULL;
}

/* Waits until the features are to be looked at, or for an answer about them.  False: the mount is gone. */
static bool
wait_features(struct serve *s, bool asked)
{
	LOCK_SCOPE(&s->lock);
	while (s->stage < STAGE_GONE && !s->unleased)
		if (!asked)
			pthread_cond_wait(&s->change, &s->lock);
		else if (lock_wait_ms(&s->change, &s->lock, FEATURES_MS) == ETIMEDOUT)
			break;
	s->unleased = false;
	return s->stage < STAGE_GONE;
}

/* The life of the mount, in which the volume may become one that this program must not touch. */
static void
attend(struct serve *s)
{
	struct errand *errand = NULL;
	char why[320];

	while (wait_features(s, errand != NULL))
		if (features_watch(s->shell, &errand, s->options->mount.read_only, why, sizeof why) < 0) {
			log_error("unmounting %s: %s", s->options->mount.directory, why);
			leave(s);
		}
	if (errand != NULL)
		shell_end(s->shell, errand, &(struct op){ .type = OP_META });
}

/* ---- the beginning ---- */

/* The mount can wait for a while; whoever waits for the mount hears why. */
static void
waiting(void *context, const char *what)
{
	struct serve *s = context;

	log_warning("%s", what);
	s->ready(s->ready_context, SERVE_WAITING, what);
}

/* Before there are keys, threads and a mount. */
static void
begin_guard(struct serve *s)
{
	int r = guard_new(&s->guard, s->options->mount.directory);

	if (r < 0)
		log_warning("no guard can be started: %s", strerror(-r));
}

static void
watch(struct serve *s, dev_t device)
{
	int r = s->guard == NULL ? 0 : guard_watch(s->guard, device);

	if (r < 0)
		log_warning("no guard: should this process be killed the mount may hang (its connection of fusectl: %s)",
		    strerror(-r));
}

/* What the last mount left, and a journal for this one. */
static int
begin_journal(struct serve *s, struct shell_config *config, char *why, size_t size)
{
	const struct serve_options *o = s->options;
	bool ran;
	int r;

	if ((r = serve_journal_open(o->home, o->volume.id, &s->journal, why, size)) < 0)
		return r;
	r = serve_journal_replay(o->home, o->volume.id, s->journal, *config, !o->mount.read_only, &ran, why, size);
	if (r == -ENOSPC && !o->no_journal) {
		waiting(s, why);
		s->takes_over = true;
		serve_journal_take_over(o->home, o->volume.id, s->journal, config);
	} else if (r < 0)
		return r;
	else if (ran)
		config->replaces = 0;		/* it has ended */
	if (o->mount.read_only || o->no_journal) {
		journal_file_close(s->journal);
		s->journal = NULL;
	} else
		config->engine.journal = journal_file_sink(s->journal);
	config->engine.redo = s->journal != NULL;
	/* Changes would be lost with the process. */
	if (s->journal == NULL && !o->mount.read_only)
		config->engine.offline = OFFLINE_NEVER;
	return 0;
}

static int
begin(struct serve *s, struct serve_secrets *secrets, char *why, size_t size)
{
	const struct serve_options *o = s->options;
	struct shell_config config;
	char path[PATH_MAX];
	struct stat st;
	int r;

	begin_guard(s);
	if ((r = handover(o->home, &o->volume, waiting, s, &s->lock_fd, why, size)) < 0)
		return r;
	if ((r = serve_configure(&config, secrets, o->home, &o->server, &o->volume, why, size)) < 0)
		return r;
	config.engine = o->engine;
	config.keeper = &keeper_calls;
	config.keeper_context = s;
	if ((r = begin_journal(s, &config, why, size)) < 0)
		return r;
	if ((r = serve_cache_open(&s->cache, o->home, o->volume.id, o->disk_default, o->disk_max)) < 0)
		return r;
	config.blockcache = serve_cache_blocks(s->cache);
	config.engine.renames = peek_renames;
	if ((r = mount_new(&s->mount, &o->mount)) < 0)
		return r;
	config.kernel = &mount_kernel_calls;
	config.kernel_context = s->mount;
	if ((r = shell_new(&s->shell, &config, why, size)) < 0 ||
	    (r = features_check(s->shell, o->mount.read_only, waiting, s, why, size)) < 0 ||
	    (s->takes_over && (r = serve_journal_leave(s->journal, s->shell, why, size)) < 0) ||
	    (r = suspend_new(&s->suspend, s->shell)) < 0)
		return r;
	r = home_socket(o->home, o->volume.id, path, sizeof path);
	if (r == 0)
		r = control_listen(&s->control, path, serve_request, s);
	if (r < 0) {
		snprintf(why, size, "the control socket %.256s: %s", path, strerror(-r));
		return r;
	}
	if ((r = mount_start(s->mount, s->shell, why, size)) < 0)
		return r;
	s->started = true;
	if ((r = serve_cache_start(s->cache, s->shell, config.engine.objects_max)) < 0)
		return r;
	if ((s->journal != NULL && redoer_start(&s->redoer, o->home, o->volume.id, s->journal, s->shell, keep_session_again, s) < 0) ||
	    pthread_create(&s->waiter, NULL, waiter_main, s) != 0 ||
	    pthread_create(&s->signals, NULL, signals_main, s) != 0) {
		snprintf(why, size, "no thread can be started");
		return -EAGAIN;
	}
	pthread_detach(s->signals);
	/* The first request answered: the mount can be used. */
	if (stat(o->mount.directory, &st) < 0)
		return -errno;
	watch(s, st.st_dev);
	if ((r = home_mount_save(o->home, o->volume.id, st.st_dev)) < 0)
		log_warning("what would be left of this mount should its process be killed cannot be noted: %s", strerror(-r));
	mount_read_ahead(st.st_dev);
	return 0;
}

/* ---- the end ---- */

/* Everything is on the server. */
static void
end_journal(struct serve *s)
{
	int r = 0;

	if (s->journal != NULL) {
		shell_journal_end(s->shell);	/* its clock might reach a mark just now */
		r = journal_file_reset(s->journal);
	}
	if (r < 0)
		log_error("the journal cannot be emptied: %s", strerror(-r));
	shell_free(s->shell, true);
	s->shell = NULL;
	serve_cache_close(s->cache);
	s->cache = NULL;
	journal_file_close(s->journal);
	s->journal = NULL;
}

static void
finish(struct serve *s)
{
	struct serve_unsaved u = { .count = 0 };
	struct engine_status status;
	char trouble[256];
	bool clean;
	int r;

	serve_cache_stop(s->cache);
	shell_status(s->shell, &status, trouble, sizeof trouble);
	if (forced(s) || left(s))
		r = status.attached ? shell_sync(s->shell, FORCE_MS) : -ENOTCONN;
	else if (kept_here(s))
		r = flush(s, TIMEOUT_MS, LAST_KEPT_MS, -1);
	else
		r = flush(s, LAST_MS, UINT64_MAX, -1);
	suspend_stop(s->suspend);
	redoer_stop(&s->redoer);
	users_end(s);
	shell_status(s->shell, &status, trouble, sizeof trouble);
	if (r < 0) {
		serve_unsaved(s->shell, &u);
		log_error("ending with changes that are not on the server (%s): %zu files%s",
		    strerror(-r), u.count + u.more, s->journal != NULL ? "; the journal keeps them for the next mount" : "");
		for (size_t i = 0; i < u.count; i++)
			log_error("%s: %s", s->journal != NULL ? "kept" : "lost", u.path[i]);
	}
	{
		LOCK_SCOPE(&s->lock);
		s->lost = u;
		s->kept = s->journal != NULL && !status.journal_full;
	}
	/*
	 * A clean end frees everything.  After a forced one, or while somebody
	 * has files open, requests may still come or be parked: only the end of
	 * the process ends them.  Commands hear the outcome, and the lock is
	 * free for the next mount, when all is done.
	 */
	{
		LOCK_SCOPE(&s->lock);
		clean = r == 0 && !s->force && s->released;
	}
	if (clean)
		end_journal(s);
	else
		shell_journal_end(s->shell);
	home_mount_remove(s->options->home, s->options->volume.id);
	control_hide(s->control);
	close(s->lock_fd);
	advance(s, STAGE_FLUSHED, false);
	control_free(s->control);
	suspend_free(s->suspend);
	log_info("%s is unmounted", s->options->mount.directory);
}

int
serve_run(const struct serve_options *options, void (*ready)(void *context, int code, const char *why),
    void *context)
{
	struct serve s = { .options = options, .ready = ready, .ready_context = context, .lock_fd = -1 };
	struct serve_secrets secrets = { 0 };
	char why[512] = "";
	sigset_t set;
	int r;

	lock_init(&s.lock);
	lock_init(&s.session_lock);
	redoer_init(&s.redoer);
	lock_cond_init(&s.change);
	signal(SIGPIPE, SIG_IGN);
	end_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = begin(&s, &secrets, why, sizeof why);
	if (r < 0) {
		if (s.started) {
			/* Requests may be under way: the end of the process ends them. */
			mount_detach(s.mount);
			redoer_stop(&s.redoer);
		} else {
			control_free(s.control);
			suspend_free(s.suspend);
			serve_cache_stop(s.cache);
			/* Its clock ticks for the mount. */
			shell_free(s.shell, true);
			mount_free(s.mount);
			serve_cache_close(s.cache);
			journal_file_close(s.journal);
			guard_free(s.guard);
			serve_secrets_done(&secrets);
		}
		ready(context, cmd_exit_of(r), why[0] != '\0' ? why : strerror(-r));
		return cmd_exit_of(r);
	}
	log_info("%s/%s is mounted on %s", options->server.name, options->volume.name, options->mount.directory);
	ready(context, CMD_OK, "");
	attend(&s);
	finish(&s);
	if (s.shell == NULL) {
		pthread_join(s.waiter, NULL);
		mount_free(s.mount);
		guard_free(s.guard);
		serve_secrets_done(&secrets);
		sodium_memzero(&s.session, sizeof s.session);
	} else
		pthread_detach(s.waiter);
	return s.lost.count > 0 && !s.kept ? CMD_FAILED : CMD_OK;
}
