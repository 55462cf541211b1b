/*
 * mount.c - see mount.h; and mount_room.h for the requests.
 *
 * libfuse before 3.17.1 does not tell the kernel PARALLEL_DIROPS and knows
 * no HANDLE_KILLPRIV_V2: device_writev() adds both to the reply to INIT.
 */
#include "fs/mount_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/delay.h"
#include "fs/log.h"

enum {
	THREADS_MIN	= 2,
	READ_AHEAD_KB	= 512,
	NOTIFY_INC_EPOCH = 8,
	ALLOW_MMAP_MINOR = 39,		/* protocol that has FUSE_DIRECT_IO_ALLOW_MMAP */
	ALLOW_MMAP_FLAG2 = 1 << 4,	/* its bit in flags2; older headers do not name it */
};

struct mount_locks *
mount_locks_of(fuse_req_t req)
{
	return ((struct mount *)fuse_req_userdata(req))->locks;
}

static void
do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO |
	    FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS |
	    FUSE_CAP_ASYNC_READ);
	conn->max_write = 1024 * 1024;
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	conn->time_gran = 1;
}

/* ---- the device ---- */

static ssize_t
device_read(int fd, void *to, size_t len, void *userdata)
{
	struct mount *m = userdata;
	ssize_t n = read(fd, to, len);
	const struct fuse_in_header *h = to;

	if (m->kernel_minor == 0 && n >= (ssize_t)(sizeof *h + sizeof(struct fuse_init_in)) &&
	    h->opcode == FUSE_INIT) {
		uint32_t minor = ((const struct fuse_init_in *)(h + 1))->minor;

		DELAY_SETTING("kernel_minor", &minor);
		m->init_unique = h->unique;
		m->kernel_minor = minor;
	}
	return n;
}

static ssize_t
device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct mount *m = userdata;
	const struct fuse_out_header *h = iov[0].iov_base;

	if (m->init_unique != 0 && h->unique == m->init_unique && count == 2 && h->error == 0 &&
	    iov[1].iov_len >= offsetof(struct fuse_init_out, max_write)) {
		struct fuse_init_out *out = iov[1].iov_base;

		out->flags |= FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2;
		/* Shared maps of files that bypass the page cache otherwise. */
		if (m->kernel_minor >= ALLOW_MMAP_MINOR &&
		    iov[1].iov_len >= offsetof(struct fuse_init_out, flags2) + sizeof out->flags2) {
			out->flags |= FUSE_INIT_EXT;
			out->flags2 |= ALLOW_MMAP_FLAG2;
		}
		m->init_unique = 0;
	}
	return writev(fd, iov, count);
}

static int
forget_all_names(void *context)
{
	const struct fuse_out_header notice = { .len = sizeof notice, .error = NOTIFY_INC_EPOCH };
	struct mount *m = context;

	if (!m->mounted)
		return 0;
	if (m->kernel_minor < MOUNT_EPOCH_MINOR) {
		sleep(1);	/* no name is kept longer than that */
		return 0;
	}
	return write(fuse_session_fd(m->session), &notice, sizeof notice) < 0 ? -errno : 0;
}

static int
forget_one_inode(void *context, uint64_t oid, bool pages)
{
	struct mount *m = context;

	if (!m->mounted)
		return 0;
	return fuse_lowlevel_notify_inval_inode(m->session, ino_of(oid), pages ? 0 : -1, 0);
}

static bool
tick(void *context)
{
	struct mount *m = context;

	if (!m->mounted)
		return false;
	mount_locks_tick(m->locks);
	return request_judge(m);
}

const struct kernel_calls mount_kernel_calls = { forget_all_names, forget_one_inode, tick };

/* ---- threads ---- */

static void *
fuse_main(void *argument)
{
	struct hand own = { .mount = argument };
	struct fuse_session *session = own.mount->session;
	int n;

	request_hand = &own;
	while (!fuse_session_exited(session)) {
		while (own.spare == NULL && (own.spare = request_get(own.mount)) == NULL)
			usleep(10000);
		n = fuse_session_receive_buf(session, &own.buf);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(session, &own.buf);
	}
	fuse_session_exit(session);
	free(own.spare);
	free(own.buf.mem);
	return NULL;
}

/*
 * One a processor: none ever waits for anything but the kernel, and each more
 * than needed only makes the next request wake a colder one (52 us of
 * processor a created file with one thread on two cores, 61 with two, 75 with
 * four; two serve callers in parallel).
 */
static unsigned
threads_wanted(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < THREADS_MIN ? THREADS_MIN : n > MOUNT_THREADS_MAX ? MOUNT_THREADS_MAX : (unsigned)n;
}

int
mount_new(struct mount **ret, const struct mount_options *options)
{
	struct mount *m = calloc(1, sizeof *m);

	if (m == NULL)
		return -ENOMEM;
	lock_init(&m->lock);
	m->options = options;
	*ret = m;
	return 0;
}

static _Thread_local char mount_said[256];	/* libfuse explains itself only to a function without context */

static void
hear_libfuse(enum fuse_log_level level, const char *format, va_list ap)
{
	if (level <= FUSE_LOG_WARNING)
		vsnprintf(mount_said, sizeof mount_said, format, ap);
	mount_said[strcspn(mount_said, "\n")] = '\0';
}

int
mount_start(struct mount *m, struct shell *shell, char *why, size_t size)
{
	static const struct fuse_custom_io io = { .writev = device_writev, .read = device_read };
	const struct mount_options *o = m->options;
	char options[512];
	char *argv[] = { "nuage", "-o", options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_lowlevel_ops operations = request_operations;
	int r;

	m->shell = shell;
	fuse_set_log_func(hear_libfuse);
	/* The kernel leaves access times to us in any case; noatime makes it say so. */
	snprintf(options, sizeof options, "default_permissions,noatime,fsname=%s,subtype=nuage%s%s%s%s%s", o->source,
	    o->read_only ? ",ro" : "", o->allow_other ? ",allow_other" : "", o->suid ? ",suid" : "",
	    o->dev ? ",dev" : "", o->noexec ? ",noexec" : "");
	operations.init = do_init;
	if (!o->local_locks) {
		mount_locks_install(&operations);
		r = mount_locks_new(&m->locks, shell);
		if (r < 0) {
			snprintf(why, size, "%s", strerror(-r));
			return r;
		}
	}
	m->session = fuse_session_new(&args, &operations, sizeof operations, m);
	if (m->session == NULL) {
		snprintf(why, size, "%s", mount_said[0] != '\0' ? mount_said : "libfuse refuses to start");
		return -EINVAL;
	}
	if (fuse_session_mount(m->session, o->directory) != 0) {
		snprintf(why, size, "%s: %s", o->directory,
		    mount_said[0] != '\0' ? mount_said : geteuid() == 0 ? "the kernel refuses to mount" :
		    "it was not mounted, for the reason that fusermount3 gives above");
		return -EPERM;
	}
	m->mounted = true;
	r = fuse_session_custom_io(m->session, &io, fuse_session_fd(m->session));
	if (r < 0) {
		snprintf(why, size, "libfuse: %s", strerror(-r));
		return r;
	}
	for (; m->count < threads_wanted(); m->count++)
		if (pthread_create(&m->threads[m->count], NULL, fuse_main, m) != 0)
			break;
	if (m->count == 0) {
		snprintf(why, size, "no thread can be started");
		return -EAGAIN;
	}
	return 0;
}

/*
 * The client fetches blocks ahead by itself, so this saves requests, not
 * waiting: 512 MiB read cold cost 1.40 s of processor, client and server
 * together, instead of 1.52.  More saves little more (1.31 with 1 MiB), and
 * each fault of a mapping reads that far.
 */
void
mount_read_ahead(dev_t device)
{
	char path[64];
	unsigned kb = 0;
	FILE *f;

	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(device), minor(device));
	f = fopen(path, "r+e");
	if (f == NULL)
		return;
	if (fscanf(f, "%u", &kb) == 1 && kb < READ_AHEAD_KB) {
		rewind(f);
		fprintf(f, "%u\n", READ_AHEAD_KB);
	}
	fclose(f);
}

void
mount_wait(struct mount *m)
{
	for (unsigned i = 0; i < m->count; i++)
		pthread_join(m->threads[i], NULL);
	m->count = 0;
	m->mounted = false;
}

int
mount_unmount(const char *directory, bool lazy)
{
	char *argv[] = { "fusermount3", "-u", "-q", lazy ? "-z" : "--", "--", NULL, NULL };
	int status;
	pid_t pid;

	if (umount2(directory, lazy ? MNT_DETACH : 0) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	argv[lazy ? 5 : 4] = (char *)(uintptr_t)directory;
	pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	if (!WIFEXITED(status))
		return -EIO;
	return WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status) == 127 ? -ENOENT : -EBUSY;
}

void
mount_detach(struct mount *m)
{
	int r = mount_unmount(m->options->directory, true);

	if (r < 0 && r != -EINVAL)
		log_error("unmounting %s: %s", m->options->directory, strerror(-r));
}

void
mount_free(struct mount *m)
{
	struct request *r;

	if (m == NULL)
		return;
	if (m->session != NULL) {
		if (m->mounted)
			fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
	}
	mount_locks_free(m->locks);
	while ((r = m->pool) != NULL) {
		m->pool = r->next;
		free(r);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}
