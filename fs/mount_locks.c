/*
 * mount_locks.c - see mount_locks.h.
 *
 * The life of a wait, all under t->lock:
 *
 *	entering	in the list `parked`, so that an interrupt finds it by
 *			its request; the table does not know it yet
 *	waiting		kept by the table
 *	done		out of both; whoever took it out answers and frees it
 *
 * An interrupt must not answer while the request enters: libfuse may hold
 * it, and looks at it again afterwards.  So it leaves a mark, and the thread
 * that enters judges it.
 *
 * A client that is cut off for longer than its term counts no more, and what
 * is held through it binds nobody else: no process can be told, but the log is.
 *
 * While the machine goes to sleep nobody waits (fs/sleep.c): who does or would
 * is refused.  Not interrupted: of EINTR the kernel makes ERESTARTSYS, which
 * without a signal reaches the program.
 *
 * Two sessions cannot both believe to be alone: the one that attached later
 * was told of the earlier (see shell_alone()).  The earlier hears of it with
 * its next sign of life, and grants until then what the later refuses.
 */
#include "fs/mount_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "fs/lock.h"
#include "fs/locks.h"
#include "fs/log.h"
#include "fs/shell.h"

struct parked {
	struct lock_wait	 wait;		/* first */
	fuse_req_t		 req;
	bool			 entering, interrupted;
	struct parked		*next;
};

struct mount_locks {
	pthread_mutex_t		 lock;		/* guards all below but the shell */
	struct locks		*table;
	struct parked		*parked;
	bool			 said;		/* why locks are refused */
	bool			 lapsed;	/* the term was over at the last tick */

	struct shell		*shell;
};

static void
unpark(struct mount_locks *t, struct parked *p)
{
	struct parked **at = &t->parked;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

/* Under the lock, before it is dropped: what is done, to be answered after it. */
static struct parked *
take_done(struct mount_locks *t)
{
	struct parked *list = NULL, **last = &list, *p;

	while ((p = (struct parked *)locks_done(t->table)) != NULL) {
		unpark(t, p);
		p->next = NULL;
		*last = p;
		last = &p->next;
	}
#ifdef NUAGE_CHECKS
	char why[80];

	if (!locks_check(t->table, why, sizeof why))
		abort();
#endif
	return list;
}

/* Under the lock: all who wait, to be answered after it. */
static struct parked *
take_all(struct mount_locks *t)
{
	struct parked *list = NULL, **last = &list, **at = &t->parked, *p;

	while ((p = *at) != NULL) {
		if (p->entering || !locks_cancel(t->table, &p->wait)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		p->wait.error = -ENOLCK;
		p->next = NULL;
		*last = p;
		last = &p->next;
	}
	return list;
}

static void
answer(struct parked *list)
{
	struct parked *p;

	while ((p = list) != NULL) {
		list = p->next;
		fuse_reply_err(p->req, -p->wait.error);
		free(p);
	}
}

/* Under the lock. */
static void
judge(struct mount_locks *t)
{
	bool alone = shell_alone(t->shell);

	locks_refuse(t->table, !alone);
	t->said &= !alone;
}

static void
explain(struct mount_locks *t, int error)
{
	if (error != -ENOLCK)
		return;
	{
		LOCK_SCOPE(&t->lock);
		if (t->said)
			return;
		t->said = true;
	}
	log_warning("locks are refused (ENOLCK) while another client has the volume mounted, or may have: they do not "
	    "reach across clients yet, so both would hold the same one; -o locks=local is for files that only one uses");
}

/* held: the error if it is somebody else's. */
static void
set_or(struct mount_locks *t, fuse_req_t req, const struct lock_spec *want, int held)
{
	struct parked *done;
	int r;

	{
		LOCK_SCOPE(&t->lock);
		judge(t);
		r = locks_set(t->table, want);
		done = take_done(t);
	}
	fuse_reply_err(req, r == -EAGAIN ? -held : -r);
	answer(done);
	explain(t, r);
}

static void
set(struct mount_locks *t, fuse_req_t req, const struct lock_spec *want)
{
	set_or(t, req, want, -EAGAIN);
}

/* The data is the mount's, not the wait's, which may be gone when an interrupt comes late. */
static void
interrupted(fuse_req_t req, void *data)
{
	struct mount_locks *t = data;
	struct parked *p;

	{
		LOCK_SCOPE(&t->lock);
		for (p = t->parked; p != NULL && p->req != req; p = p->next)
			continue;
		if (p == NULL)
			return;
		p->interrupted = true;
		if (p->entering || !locks_cancel(t->table, &p->wait))
			return;
		unpark(t, p);
	}
	p->wait.error = -EINTR;
	p->next = NULL;
	answer(p);
}

static void
wait(struct mount_locks *t, fuse_req_t req, const struct lock_spec *want)
{
	struct parked *p, *done;
	int r = 0;

	if (shell_asleep(t->shell)) {
		set_or(t, req, want, -ENOLCK);
		return;
	}
	p = malloc(sizeof *p);
	if (p == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*p = (struct parked){ .wait.spec = *want, .req = req, .entering = true };
	{
		LOCK_SCOPE(&t->lock);
		p->next = t->parked;
		t->parked = p;
	}
	fuse_req_interrupt_func(req, interrupted, t);
	{
		LOCK_SCOPE(&t->lock);
		judge(t);
		p->entering = false;
		if (p->interrupted)
			p->wait.error = -EINTR;
		if (p->interrupted || locks_wait(t->table, &p->wait)) {
			unpark(t, p);
			r = p->wait.error;
		} else {
			p = NULL;		/* another thread may have answered it already */
		}
		done = take_done(t);
	}
	if (p != NULL) {
		p->next = NULL;
		answer(p);
	}
	answer(done);
	explain(t, r);
}

/* ---- as the kernel asks ---- */

static struct lock_spec
spec_of(fuse_ino_t ino, const struct fuse_file_info *fi, const struct flock *k)
{
	return (struct lock_spec){
		.ino = ino, .owner = fi->lock_owner, .handle = fi->fh, .pid = k->l_pid, .kind = LOCK_RANGE,
		.mode = k->l_type == F_RDLCK ? LOCK_SHARED : k->l_type == F_WRLCK ? LOCK_EXCLUSIVE : LOCK_NONE,
		.start = (uint64_t)k->l_start,
		.end = k->l_len == 0 ? LOCK_END : (uint64_t)k->l_start + (uint64_t)k->l_len - 1,
	};
}

static void
do_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *k)
{
	struct mount_locks *t = mount_locks_of(req);
	struct lock_spec want = spec_of(ino, fi, k), found;
	bool exists;

	{
		LOCK_SCOPE(&t->lock);
		exists = locks_test(t->table, &want, &found);
	}
	if (!exists && !shell_alone(t->shell)) {
		fuse_reply_err(req, ENOLCK);		/* another client may hold it */
		explain(t, -ENOLCK);
		return;
	}
	k->l_type = F_UNLCK;
	if (exists)
		*k = (struct flock){ .l_type = found.mode == LOCK_SHARED ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET,
		    .l_start = (off_t)found.start, .l_pid = found.pid,
		    .l_len = found.end == LOCK_END ? 0 : (off_t)(found.end - found.start + 1) };
	fuse_reply_lock(req, k);
}

static void
do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *k, int sleep)
{
	struct lock_spec want = spec_of(ino, fi, k);

	(sleep && want.mode != LOCK_NONE ? wait : set)(mount_locks_of(req), req, &want);
}

static void
do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct lock_spec want = { .ino = ino, .owner = fi->lock_owner, .handle = fi->fh, .kind = LOCK_WHOLE,
	    .end = LOCK_END, .mode = op & LOCK_EX ? LOCK_EXCLUSIVE : op & LOCK_SH ? LOCK_SHARED : LOCK_NONE };

	(op & LOCK_NB || want.mode == LOCK_NONE ? set : wait)(mount_locks_of(req), req, &want);
}

void
mount_locks_install(struct fuse_lowlevel_ops *ops)
{
	ops->getlk = do_getlk;
	ops->setlk = do_setlk;
	ops->flock = do_flock;
}

void
mount_locks_flush(struct mount_locks *t, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct parked *done;

	if (t == NULL)
		return;
	{
		LOCK_SCOPE(&t->lock);
		judge(t);
		locks_drop_owner(t->table, LOCK_RANGE, ino, fi->lock_owner);
		done = take_done(t);
	}
	answer(done);
}

void
mount_locks_release(struct mount_locks *t, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct parked *done;

	if (t == NULL)
		return;
	{
		LOCK_SCOPE(&t->lock);
		judge(t);
		locks_drop_handle(t->table, ino, fi->fh);
		done = take_done(t);
	}
	answer(done);
}

void
mount_locks_tick(struct mount_locks *t)
{
	struct parked *done, *called_off;
	bool lapsed, worthless;
	int error;

	if (t == NULL)
		return;
	lapsed = shell_lapsed(t->shell);
	{
		LOCK_SCOPE(&t->lock);
		judge(t);
		done = take_done(t);
		error = done != NULL ? done->wait.error : 0;
		called_off = shell_asleep(t->shell) ? take_all(t) : NULL;
		worthless = lapsed && !t->lapsed && locks_any(t->table);
		t->lapsed = lapsed;
	}
	answer(done);
	answer(called_off);
	explain(t, error);
	if (worthless)
		log_warning("cut off for longer than the term: locks that are held here another client may be given too");
}

/* ---- its life ---- */

int
mount_locks_new(struct mount_locks **ret, struct shell *shell)
{
	struct mount_locks *t = calloc(1, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	if (locks_new(&t->table) < 0) {
		free(t);
		return -ENOMEM;
	}
	lock_init(&t->lock);
	t->shell = shell;
	*ret = t;
	return 0;
}

void
mount_locks_free(struct mount_locks *t)
{
	struct parked *p;

	if (t == NULL)
		return;
	locks_free(t->table);
	while ((p = t->parked) != NULL) {	/* after a forced end */
		t->parked = p->next;
		free(p);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}
