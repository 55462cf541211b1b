/* progress.c - see progress.h. */
#include "tests/sim/progress.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* What a report counts, by name. */
#define SUM(field) { #field, offsetof(struct sim_report, field) }
static const struct {
	const char	*name;
	size_t		 at;
} sums[] = {
	SUM(ops), SUM(from_kernel), SUM(events), SUM(messages), SUM(commits), SUM(recalls), SUM(replays), SUM(evictions),
	SUM(rejected), SUM(missing), SUM(voided), SUM(given_up), SUM(searched), SUM(lost), SUM(journals), SUM(rerun),
	SUM(conflicts), SUM(equal), SUM(owed), SUM(offline), SUM(redone), SUM(beside), SUM(restarts), SUM(cuts),
	SUM(partitions), SUM(crashes), SUM(remounts), SUM(full), SUM(no_space), SUM(stalls), SUM(naps), SUM(deafs),
	SUM(damages), SUM(denied), SUM(refused), SUM(through), SUM(cutoffs), SUM(stops), SUM(simulated_ms),
};
#undef SUM
enum { SUMS = sizeof sums / sizeof *sums };

static uint64_t *
sum_of(struct sim_report *r, unsigned i)
{
	return (uint64_t *)((char *)r + sums[i].at);
}

/* This very program, as a number. */
static uint64_t
own_hash(void)
{
	FILE *f = fopen("/proc/self/exe", "rb");
	XXH3_state_t state;
	char piece[65536];
	size_t n;

	XXH3_64bits_reset(&state);
	while (f != NULL && (n = fread(piece, 1, sizeof piece, f)) > 0)
		XXH3_64bits_update(&state, piece, n);
	if (f != NULL)
		fclose(f);
	return XXH3_64bits_digest(&state);
}

void
progress_init(struct progress *p, const struct sim_options *options, uint64_t from, uint64_t to)
{
	*p = (struct progress){ .next = from };
	snprintf(p->of, sizeof p->of, "program %016" PRIx64 " seeds %" PRIu64 "-%" PRIu64 " ops %" PRIu32 " faults %" PRIx32
	    " check %" PRIu32 "%s%s%s", own_hash(), from, to, options->ops, options->faults, options->check_every,
	    options->apart ? " apart" : "", options->crypto ? " crypto" : "", options->calm ? " calm" : "");
}

void
progress_done(struct progress *p)
{
	free(p->failures);
}

void
progress_add(struct progress *p, const struct sim_report *r)
{
	struct sim_report other = *r;

	for (unsigned i = 0; i < SUMS; i++)
		*sum_of(&p->sum, i) += *sum_of(&other, i);
	p->seeds++;
}

void
progress_failed(struct progress *p, uint64_t seed, const char *reason)
{
	if (p->failed == p->size) {
		p->size = p->size * 2 + 16;
		if ((p->failures = realloc(p->failures, p->size * sizeof *p->failures)) == NULL)
			abort();
	}
	p->failures[p->failed].seed = seed;
	snprintf(p->failures[p->failed].reason, sizeof p->failures->reason, "%s", reason);
	p->failed++;
}

/* ---- the file ---- */

static bool
load_line(struct progress *p, char *line)
{
	char *end, *value = strchr(line, ' ');
	uint64_t number;

	line[strcspn(line, "\n")] = 0;
	if (value == NULL)
		return false;
	*value++ = 0;
	number = strtoull(value, &end, 10);
	if (strcmp(line, "failed") == 0 && *end == ' ') {
		progress_failed(p, number, end + 1);
		return true;
	}
	if (end == value || *end != 0)
		return false;
	if (strcmp(line, "next") == 0)
		p->next = number;
	else if (strcmp(line, "seeds") == 0)
		p->seeds = number;
	else if (strcmp(line, "seconds") == 0)
		p->seconds = number;
	for (unsigned i = 0; i < SUMS; i++)
		if (strcmp(line, sums[i].name) == 0)
			*sum_of(&p->sum, i) = number;
	return true;
}

int
progress_load(struct progress *p, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];
	int r = 1;

	if (f == NULL)
		return errno == ENOENT ? 0 : -errno;
	if (fgets(line, sizeof line, f) == NULL)
		r = 0;
	line[strcspn(line, "\n")] = 0;
	if (r == 1 && strcmp(line, p->of) != 0)
		r = 0;
	while (r == 1 && fgets(line, sizeof line, f) != NULL)
		r = load_line(p, line) ? 1 : -EBADMSG;
	fclose(f);
	return r;
}

int
progress_save(const struct progress *p, const char *path)
{
	struct sim_report sum = p->sum;
	char other[4096];
	FILE *f;
	bool good;

	if ((size_t)snprintf(other, sizeof other, "%s.new", path) >= sizeof other)
		return -ENAMETOOLONG;
	if ((f = fopen(other, "w")) == NULL)
		return -errno;
	fprintf(f, "%s\nnext %" PRIu64 "\nseeds %" PRIu64 "\nseconds %" PRIu64 "\n", p->of, p->next, p->seeds, p->seconds);
	for (unsigned i = 0; i < SUMS; i++)
		fprintf(f, "%s %" PRIu64 "\n", sums[i].name, *sum_of(&sum, i));
	for (size_t i = 0; i < p->failed; i++)
		fprintf(f, "failed %" PRIu64 " %s\n", p->failures[i].seed, p->failures[i].reason);
	good = ferror(f) == 0;
	good = fclose(f) == 0 && good;
	return good && rename(other, path) == 0 ? 0 : -EIO;
}

/* ---- for people ---- */

void
progress_print(const struct sim_report *r, const char *prefix)
{
	printf("%sops %" PRIu64 " (kernel %" PRIu64 "), commits %" PRIu64 ", recalls %" PRIu64 ", replays %" PRIu64
	    ", restarts %" PRIu64 ", cuts %" PRIu64 ", partitions %" PRIu64 ", evictions %" PRIu64 ", crashes %" PRIu64
	    ", remounts %" PRIu64 ", full %" PRIu64 ", no space %" PRIu64 ", stalls %" PRIu64 ", naps %" PRIu64 ", deafs %" PRIu64 ", damages %" PRIu64 " (calls %" PRIu64 ")"
	    ", cut off %" PRIu64 ", stopped %" PRIu64 "\n",
	    prefix, r->ops, r->from_kernel, r->commits, r->recalls, r->replays, r->restarts, r->cuts, r->partitions,
	    r->evictions, r->crashes, r->remounts, r->full, r->no_space, r->stalls, r->naps, r->deafs, r->damages, r->denied,
	    r->cutoffs, r->stops);
	printf("%sjournal entries refused %" PRIu64 " (calls %" PRIu64 "), journals run again %" PRIu64 ", calls %" PRIu64 ", conflicts %" PRIu64 ", equal %" PRIu64 ", pieces owed %" PRIu64
	    ", offline %" PRIu64 ", losses done again %" PRIu64 ", pieces elsewhere %" PRIu64 "\n", prefix, r->refused, r->through, r->journals, r->rerun, r->conflicts,
	    r->equal, r->owed, r->offline, r->redone, r->beside);
	printf("%srejected %" PRIu64 ", missing %" PRIu64 ", void calls %" PRIu64 ", given up %" PRIu64 ", lost objects %" PRIu64
	    ", reordered %" PRIu64 ", messages %" PRIu64 ", events %" PRIu64 ", simulated %" PRIu64 " s\n",
	    prefix, r->rejected, r->missing, r->voided, r->given_up, r->lost, r->searched, r->messages, r->events,
	    r->simulated_ms / 1000);
}

void
progress_print_failures(const struct progress *p)
{
	for (size_t i = 0; i < p->failed; i++)
		printf("# failed: seed %" PRIu64 ": %s\n", p->failures[i].seed, p->failures[i].reason);
	printf("# %" PRIu64 " seeds, %" PRIu64 " failed, in %" PRIu64 " s\n", p->seeds, p->failed, p->seconds);
}
