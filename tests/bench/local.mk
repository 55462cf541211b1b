# The benchmark: make bench, with options in BENCH.
noinst_PROGRAMS += tests/bench/benchop
tests_bench_benchop_SOURCES = tests/bench/benchop.c
EXTRA_DIST += tests/bench/bench tests/bench/systems.py

.PHONY: bench
bench: all
	$(top_srcdir)/tests/bench/bench --build $(abs_top_builddir) $(BENCH)
