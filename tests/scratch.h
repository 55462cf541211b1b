/*
 * scratch.h - where a test in C keeps its files: below TMPDIR, or the
 * system's directory for such (P_tmpdir), as mkdtemp(3) and mkstemp(3) want it.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

/* Fills in a template for that name, below `otherwise` when TMPDIR is not set; ends the test when it does not fit. */
__attribute__((unused)) static char *
scratch_below(const char *otherwise, char *to, size_t size, const char *name)
{
	const char *given = getenv("TMPDIR");
	int n = snprintf(to, size, "%s/%s.XXXXXX", given != NULL && given[0] != '\0' ? given : otherwise, name);

	if (n < 0 || (size_t)n >= size) {
		printf("Bail out! TMPDIR is too long\n");
		exit(1);
	}
	return to;
}

__attribute__((unused)) static char *
scratch(char *to, size_t size, const char *name)
{
	return scratch_below(P_tmpdir, to, size, name);
}

#endif
