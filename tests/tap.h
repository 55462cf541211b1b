/*
 * tap.h - a few lines of TAP (Test Anything Protocol 13) for C tests.
 *
 * A program calls ok() for each case and ends with return tap_done().
 * skip() counts a case that cannot run here, with its reason.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failed;

#define ok(cond, ...) tap_report((cond), __FILE__, __LINE__, __VA_ARGS__)
#define skip(reason, ...) (printf("ok %d - ", ++tap_count), printf(__VA_ARGS__), printf(" # SKIP %s\n", reason))

__attribute__((format(printf, 4, 5), unused)) static bool
tap_report(bool passed, const char *file, int line, const char *format, ...)
{
	__builtin_va_list ap;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
	__builtin_va_start(ap, format);
	vprintf(format, ap);
	__builtin_va_end(ap);
	putchar('\n');
	if (!passed) {
		printf("# at %s:%d\n", file, line);
		tap_failed++;
	}
	fflush(stdout);
	return passed;
}

__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0;
}

#endif
