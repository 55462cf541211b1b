# The benchmark: make bench, with options in BENCH.
noinst_PROGRAMS += tests/bench/benchop
tests_bench_benchop_SOURCES = tests/bench/benchop.c
EXTRA_DIST += tests/bench/bench tests/bench/bench_ssh tests/bench/systems.py tests/bench/work.py

.PHONY: bench bench-ssh
bench: all
	$(top_srcdir)/tests/bench/bench --build $(abs_top_builddir) $(BENCH)
bench-ssh: all
	$(top_srcdir)/tests/bench/bench_ssh --build $(abs_top_builddir) $(BENCH)

# Of single rooms, built and run by hand (make tests/bench/bench_seal): no test asserts a time.
EXTRA_PROGRAMS += tests/bench/bench_seal tests/bench/bench_store
CLEANFILES += $(EXTRA_PROGRAMS)
tests_bench_bench_seal_SOURCES = tests/bench/bench_seal.c
tests_bench_bench_seal_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c
tests_bench_bench_store_LDADD = server/libserver.a proto/libproto.a $(LMDB_LIBS) $(XXHASH_LIBS)
