/*
 * main.c - nuage-sim: runs seeds, one after the other or several at a time.
 *
 * Each seed runs in a child process, so that an assertion or a crash in an
 * engine is a failure of that seed; a failed one is run again with its trace,
 * of which the end is shown.  --first ends at the first one, and says no more.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/progress.h"

enum {
	JOBS_MAX	= 64,
	SEED_SECONDS	= 120,		/* longer is a loop without end */
	FIRST_SECONDS	= 20,
	TAIL_BYTES	= 12000,
	BATCH		= 100,		/* seeds a TAP line */
	KEEP_BYTES	= 256 << 20,
};

struct run {
	struct sim_options	 options;
	uint64_t		 from, to;
	unsigned		 jobs;
	bool			 tap, twice, first;
	const char		*resume;
};

/* What a child tells its parent of one seed. */
struct told {
	uint64_t		 seed;
	bool			 begun;		/* only begun */
	struct sim_report	 report;
};

struct worker {
	pid_t			 pid;
	int			 fd;
	uint64_t		 to, at;	/* `at` is being run */
	bool			 failing;	/* the last one did */
};

/* ---- one seed ---- */

static void
tell(int fd, const struct told *t)
{
	if (write(fd, t, sizeof *t) != (ssize_t)sizeof *t)
		_exit(2);
}

/* Leaves to the parent what is done at exit, but for counts of what was executed. */
static _Noreturn void
leave(void)
{
#ifdef NUAGE_COVERAGE
	void __gcov_dump(void);

	__gcov_dump();
#endif
	_exit(0);
}

static void
work(const struct run *run, uint64_t from, uint64_t to, int fd)
{
	for (uint64_t seed = from; seed <= to; seed++) {
		struct sim_options options = run->options;
		struct told t = { .seed = seed, .begun = true };
		struct sim_report again;

		alarm(run->first ? FIRST_SECONDS : SEED_SECONDS);
		tell(fd, &t);
		t.begun = false;
		options.seed = seed;
		sim_run(&options, &t.report);
		if (run->twice && !t.report.failed) {
			sim_run(&options, &again);
			if (again.hash != t.report.hash) {
				t.report.failed = true;
				snprintf(t.report.reason, sizeof t.report.reason, "two runs differ");
			}
		}
		tell(fd, &t);
		if (t.report.failed)
			break;
	}
	leave();
}

/* Runs it again with its trace, and shows how that ends. */
static void
show_end(const struct run *run, uint64_t seed)
{
	FILE *f = tmpfile();
	char text[TAIL_BYTES + 1];
	long size;
	size_t n;
	char *at = text;
	pid_t pid;

	fflush(stdout);
	if (f == NULL || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		struct sim_options options = run->options;
		struct sim_report report;

		alarm(SEED_SECONDS);
		options.seed = seed;
		options.trace = true;
		dup2(fileno(f), STDOUT_FILENO);
		dup2(fileno(f), STDERR_FILENO);
		setvbuf(stdout, NULL, _IOLBF, 0);
		sim_run(&options, &report);
		fflush(stdout);
		leave();
	}
	waitpid(pid, NULL, 0);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fseek(f, size > TAIL_BYTES ? size - TAIL_BYTES : 0, SEEK_SET);
	n = fread(text, 1, TAIL_BYTES, f);
	text[n] = 0;
	if (size > TAIL_BYTES && strchr(text, '\n') != NULL)
		at = strchr(text, '\n') + 1;
	for (char *line = strtok(at, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
	fclose(f);
}

static void
failed(const struct run *run, struct progress *p, uint64_t seed, const char *reason)
{
	progress_failed(p, seed, reason);
	printf("# seed %" PRIu64 " failed: %s\n", seed, reason);
	if (run->first) {
		fflush(stdout);
		_exit(1);
	}
	if (p->failed <= 3)
		show_end(run, seed);
	printf("# again: nuage-sim --seed %" PRIu64 " --trace%s%s", seed, run->options.crypto ? " --crypto" : "",
	    run->options.apart ? " --apart" : run->options.tight ? " --tight" : "");
	if (run->options.faults != 0)
		printf(" --faults 0x%x", run->options.faults);
	putchar('\n');
	fflush(stdout);
}

/* ---- many ---- */

static void
start_worker(const struct run *run, struct worker *w, uint64_t from, uint64_t to)
{
	int fds[2];

	fflush(stdout);
	if (pipe(fds) < 0 || (w->pid = fork()) < 0) {
		perror("nuage-sim");
		exit(2);
	}
	if (w->pid == 0) {
		close(fds[0]);
		work(run, from, to, fds[1]);
	}
	close(fds[1]);
	w->fd = fds[0];
	w->at = from;
	w->to = to;
	w->failing = false;
}

static bool
hear(struct worker *w, struct told *t)
{
	size_t got = 0;

	while (got < sizeof *t) {
		ssize_t n = read(w->fd, (char *)t + got, sizeof *t - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* It has ended; one that died did so in the seed it had begun. */
static void
bury(const struct run *run, struct progress *p, struct worker *w)
{
	char reason[100] = "";
	int status;

	close(w->fd);
	waitpid(w->pid, &status, 0);
	w->pid = 0;
	if (WIFSIGNALED(status))
		snprintf(reason, sizeof reason, "%s", strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0 && !w->failing)
		snprintf(reason, sizeof reason, "exit %d", WEXITSTATUS(status));
	if (reason[0] != 0) {
		p->seeds++;
		failed(run, p, w->at, reason);
		w->at++;
	}
}

/* One thing that it says; at its end what is left goes to another, without a seed that failed.  False: nothing is. */
static bool
listen_to(const struct run *run, struct progress *p, struct worker *w)
{
	struct told told;

	if (!hear(w, &told)) {
		bury(run, p, w);
		if (w->at > w->to)
			return false;
		start_worker(run, w, w->at, w->to);
		return true;
	}
	w->at = told.seed;
	if (told.begun)
		return true;
	progress_add(p, &told.report);
	w->failing = told.report.failed;
	if (w->failing)
		failed(run, p, told.seed, told.report.reason);
	w->at = told.seed + 1;
	return true;
}

/* Seeds [from, to], by as many workers as there are jobs. */
static void
run_range(const struct run *run, struct progress *p, uint64_t from, uint64_t to)
{
	struct worker workers[JOBS_MAX] = { 0 };
	struct pollfd polled[JOBS_MAX];
	uint64_t each = (to - from) / run->jobs + 1;
	unsigned count = 0, working;

	for (uint64_t at = from; at <= to; at += each)
		start_worker(run, &workers[count++], at, at + each - 1 < to ? at + each - 1 : to);
	for (working = count; working > 0; ) {
		for (unsigned i = 0; i < count; i++)
			polled[i] = (struct pollfd){ .fd = workers[i].pid == 0 ? -1 : workers[i].fd, .events = POLLIN };
		if (poll(polled, count, -1) < 0)
			continue;
		for (unsigned i = 0; i < count; i++)
			if (polled[i].revents != 0)
				working -= !listen_to(run, p, &workers[i]);
	}
}

static void
resume(const struct run *run, struct progress *p)
{
	int r = run->resume == NULL ? 0 : progress_load(p, run->resume);

	if (r < 0) {
		fprintf(stderr, "nuage-sim: %s: %s\n", run->resume, strerror(-r));
		exit(2);
	}
	if (r > 0)
		printf("# goes on at seed %" PRIu64 ": %" PRIu64 " were run, %" PRIu64 " failed\n", p->next, p->seeds, p->failed);
}

static void
note_progress(const struct run *run, const struct progress *p)
{
	int r = run->resume == NULL ? 0 : progress_save(p, run->resume);

	if (r < 0) {
		fprintf(stderr, "nuage-sim: %s: %s\n", run->resume, strerror(-r));
		exit(2);
	}
}

static void
usage(void)
{
	fputs("usage: nuage-sim --seed N | --seeds FROM-TO [--ops N] [--jobs N] [--resume FILE]\n"
	    "                 [--trace] [--crypto] [--calm] [--apart] [--tight] [--faults MASK] [--twice] [--tap] [--first] [--check EVERY]\n", stderr);
	exit(2);
}

static void
parse(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "seeds", required_argument, NULL, 'S' },
		{ "ops", required_argument, NULL, 'o' }, { "jobs", required_argument, NULL, 'j' },
		{ "resume", required_argument, NULL, 'r' }, { "trace", no_argument, NULL, 't' },
		{ "crypto", no_argument, NULL, 'c' }, { "calm", no_argument, NULL, 'q' },
		{ "faults", required_argument, NULL, 'f' }, { "twice", no_argument, NULL, '2' },
		{ "tap", no_argument, NULL, 'T' }, { "check", required_argument, NULL, 'k' }, { "first", no_argument, NULL, '1' },
		{ "apart", no_argument, NULL, 'a' }, { "tight", no_argument, NULL, 'i' },
		{ 0 },
	};
	char *dash;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (o) {
		case 's': run->from = run->to = strtoull(optarg, NULL, 0); break;
		case 'S':
			run->from = strtoull(optarg, &dash, 0);
			run->to = *dash == '-' ? strtoull(dash + 1, NULL, 0) : run->from;
			break;
		case 'o': run->options.ops = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'j': run->jobs = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'r': run->resume = optarg; break;
		case 't': run->options.trace = true; break;
		case 'c': run->options.crypto = true; break;
		case 'q': run->options.calm = true; break;
		case 'f': run->options.faults = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'k': run->options.check_every = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'a': run->options.apart = true; break;
		case 'i': run->options.tight = true; break;
		case '2': run->twice = true; break;
		case 'T': run->tap = true; break;
		case '1': run->first = true; break;
		default: usage();
		}
	if (optind < argc || run->to < run->from || run->jobs < 1 || run->jobs > JOBS_MAX)
		usage();
}

static int
run_traced(const struct run *run)
{
	struct sim_options options = run->options;
	struct sim_report report;

	options.seed = run->from;
	sim_run(&options, &report);
	progress_print(&report, "");
	if (report.failed)
		printf("seed %" PRIu64 " failed: %s\n", run->from, report.reason);
	else
		printf("seed %" PRIu64 " passed, hash %016" PRIx64 "\n", run->from, report.hash);
	return report.failed;
}

int
main(int argc, char **argv)
{
	struct run run = { .jobs = 1, .from = 1, .to = 0 };
	struct progress all;
	struct timespec begun, now;
	unsigned batches = 0;
	uint64_t before;
	bool bad;

	if (argc == 1)
		usage();
	/* Blocks come and go: what the kernel gave stays, instead of being zeroed by it each time. */
	mallopt(M_MMAP_THRESHOLD, KEEP_BYTES);
	mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
	parse(&run, argc, argv);
	if (run.options.trace)
		return run_traced(&run);
	progress_init(&all, &run.options, run.from, run.to);
	resume(&run, &all);
	before = all.seconds;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (all.next <= run.to) {
		uint64_t at = all.next, end = at + BATCH - 1 < run.to ? at + BATCH - 1 : run.to, failures = all.failed;

		run_range(&run, &all, at, end);
		all.next = end + 1;
		clock_gettime(CLOCK_MONOTONIC, &now);
		all.seconds = before + (uint64_t)(now.tv_sec - begun.tv_sec);
		note_progress(&run, &all);
		if (run.tap)
			printf("%sok %u - seeds %" PRIu64 " to %" PRIu64 "\n", all.failed == failures ? "" : "not ", ++batches,
			    at, end);
		fflush(stdout);
	}
	if (run.tap)
		printf("1..%u\n", batches);
	progress_print(&all.sum, "# ");
	progress_print_failures(&all);
	bad = all.failed != 0;
	progress_done(&all);
	return bad;
}
