# Benchmarks, built and run by hand (make tests/bench/bench_seal): no test asserts a time.
EXTRA_PROGRAMS += tests/bench/bench_seal
tests_bench_bench_seal_SOURCES = tests/bench/bench_seal.c
tests_bench_bench_seal_LDADD = proto/libproto.a $(PROTO_LIBS)
CLEANFILES += tests/bench/bench_seal$(EXEEXT)
# Measurements, run by hand; none is a test.
EXTRA_PROGRAMS += tests/bench/bench_store
CLEANFILES += $(EXTRA_PROGRAMS)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c
tests_bench_bench_store_LDADD = server/libserver.a proto/libproto.a $(LMDB_LIBS) $(XXHASH_LIBS)
