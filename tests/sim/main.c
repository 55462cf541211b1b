/*
 * main.c - nuage-sim: runs seeds, one after the other or several at a time.
 *
 * Each seed runs in a child process, so that an assertion or a crash in an
 * engine is a failure of that seed; a failed one is run again with its trace,
 * of which the end is shown.  --first ends at the first one, and says no more.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

enum {
	JOBS_MAX	= 64,
	SEED_SECONDS	= 120,		/* longer is a loop without end */
	FIRST_SECONDS	= 20,
	TAIL_BYTES	= 12000,
	BATCH		= 100,		/* seeds a TAP line */
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
	uint64_t		 from, to, at;	/* `at` is being run */
};

struct tally {
	struct sim_report	 sum;
	uint64_t		 seeds, failed;
};

static void
add(struct tally *t, const struct sim_report *r)
{
#define SUM(field) t->sum.field += r->field
	SUM(ops); SUM(from_kernel); SUM(events); SUM(messages); SUM(commits); SUM(recalls); SUM(replays);
	SUM(evictions); SUM(rejected); SUM(missing); SUM(voided); SUM(given_up); SUM(searched); SUM(lost); SUM(restarts); SUM(cuts);
	SUM(partitions); SUM(crashes); SUM(remounts); SUM(full); SUM(stalls); SUM(naps); SUM(deafs); SUM(cutoffs); SUM(stops); SUM(simulated_ms);
	SUM(journals); SUM(rerun); SUM(conflicts); SUM(equal); SUM(owed); SUM(redone); SUM(beside); SUM(offline);
#undef SUM
	t->seeds++;
}

static void
print_report(const char *prefix, const struct sim_report *r)
{
	printf("%sops %" PRIu64 " (kernel %" PRIu64 "), commits %" PRIu64 ", recalls %" PRIu64 ", replays %" PRIu64
	    ", restarts %" PRIu64 ", cuts %" PRIu64 ", partitions %" PRIu64 ", evictions %" PRIu64 ", crashes %" PRIu64
	    ", remounts %" PRIu64 ", full %" PRIu64 ", stalls %" PRIu64 ", naps %" PRIu64 ", deafs %" PRIu64
	    ", cut off %" PRIu64 ", stopped %" PRIu64 "\n",
	    prefix, r->ops, r->from_kernel, r->commits, r->recalls, r->replays, r->restarts, r->cuts, r->partitions,
	    r->evictions, r->crashes, r->remounts, r->full, r->stalls, r->naps, r->deafs,
	    r->cutoffs, r->stops);
	printf("%sjournals run again %" PRIu64 ", calls %" PRIu64 ", conflicts %" PRIu64 ", equal %" PRIu64 ", pieces owed %" PRIu64
	    ", offline %" PRIu64 ", losses done again %" PRIu64 ", pieces elsewhere %" PRIu64 "\n", prefix, r->journals, r->rerun, r->conflicts,
	    r->equal, r->owed, r->offline, r->redone, r->beside);
	printf("%srejected %" PRIu64 ", missing %" PRIu64 ", void calls %" PRIu64 ", given up %" PRIu64 ", lost objects %" PRIu64
	    ", reordered %" PRIu64 ", messages %" PRIu64 ", events %" PRIu64 ", simulated %" PRIu64 " s\n",
	    prefix, r->rejected, r->missing, r->voided, r->given_up, r->lost, r->searched, r->messages, r->events,
	    r->simulated_ms / 1000);
}

/* ---- one seed ---- */

static void
tell(int fd, const struct told *t)
{
	if (write(fd, t, sizeof *t) != (ssize_t)sizeof *t)
		_exit(2);
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
	_exit(0);
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
		_exit(0);
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
failed(const struct run *run, struct tally *t, uint64_t seed, const char *reason)
{
	t->failed++;
	printf("# seed %" PRIu64 " failed: %s\n", seed, reason);
	if (run->first) {
		fflush(stdout);
		_exit(1);
	}
	if (t->failed <= 3)
		show_end(run, seed);
	printf("# again: nuage-sim --seed %" PRIu64 " --trace%s\n", seed, run->options.crypto ? " --crypto" : "");
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
	w->from = w->at = from;
	w->to = to;
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

/* All that this worker says, to its end.  A failed seed is skipped by the next worker. */
static void
listen_to(const struct run *run, struct tally *t, struct worker *w)
{
	struct told told;
	int status;
	char reason[100];
	bool failing = false;

	while (hear(w, &told)) {
		w->at = told.seed;
		if (told.begun)
			continue;
		add(t, &told.report);
		failing = told.report.failed;
		if (failing)
			failed(run, t, told.seed, told.report.reason);
		w->at = told.seed + 1;
	}
	close(w->fd);
	waitpid(w->pid, &status, 0);
	if (WIFSIGNALED(status)) {
		snprintf(reason, sizeof reason, "%s", strsignal(WTERMSIG(status)));
		failed(run, t, w->at, reason);
		w->at++;
	} else if (WEXITSTATUS(status) != 0 && !failing) {
		snprintf(reason, sizeof reason, "exit %d", WEXITSTATUS(status));
		failed(run, t, w->at, reason);
		w->at++;
	}
	w->pid = 0;
}

/* Seeds [from, to], by as many workers as there are jobs. */
static void
run_range(const struct run *run, struct tally *t, uint64_t from, uint64_t to)
{
	struct worker workers[JOBS_MAX] = { 0 };
	uint64_t each = (to - from) / run->jobs + 1;
	unsigned count = 0;

	for (uint64_t at = from; at <= to; at += each)
		start_worker(run, &workers[count++], at, at + each - 1 < to ? at + each - 1 : to);
	for (unsigned i = 0; i < count; i++)
		while (workers[i].pid != 0) {
			listen_to(run, t, &workers[i]);
			if (workers[i].at <= workers[i].to)
				start_worker(run, &workers[i], workers[i].at, workers[i].to);
		}
}

static uint64_t
resumed(const struct run *run)
{
	FILE *f = run->resume == NULL ? NULL : fopen(run->resume, "r");
	uint64_t at = run->from;

	if (f == NULL)
		return at;
	if (fscanf(f, "%" SCNu64, &at) != 1 || at < run->from)
		at = run->from;
	fclose(f);
	return at;
}

static void
note_progress(const struct run *run, uint64_t next)
{
	FILE *f = run->resume == NULL ? NULL : fopen(run->resume, "w");

	if (f == NULL)
		return;
	fprintf(f, "%" PRIu64 "\n", next);
	fclose(f);
}

static void
usage(void)
{
	fputs("usage: nuage-sim --seed N | --seeds FROM-TO [--ops N] [--jobs N] [--resume FILE]\n"
	    "                 [--trace] [--crypto] [--calm] [--apart] [--faults MASK] [--twice] [--tap] [--first] [--check EVERY]\n", stderr);
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
		{ "apart", no_argument, NULL, 'a' },
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
	print_report("", &report);
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
	struct tally all = { 0 };
	unsigned batches = 0;

	if (argc == 1)
		usage();
	parse(&run, argc, argv);
	if (run.options.trace)
		return run_traced(&run);
	for (uint64_t at = resumed(&run); at <= run.to; at += BATCH) {
		uint64_t end = at + BATCH - 1 < run.to ? at + BATCH - 1 : run.to, failures = all.failed;

		run_range(&run, &all, at, end);
		note_progress(&run, end + 1);
		if (run.tap)
			printf("%sok %u - seeds %" PRIu64 " to %" PRIu64 "\n", all.failed == failures ? "" : "not ", ++batches,
			    at, end);
		fflush(stdout);
	}
	if (run.tap)
		printf("1..%u\n", batches);
	print_report("# ", &all.sum);
	printf("# %" PRIu64 " seeds, %" PRIu64 " failed\n", all.seeds, all.failed);
	return all.failed != 0;
}
