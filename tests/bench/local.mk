# Measurements, run by hand; none is a test.
EXTRA_PROGRAMS += tests/bench/bench_store
CLEANFILES += $(EXTRA_PROGRAMS)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c
tests_bench_bench_store_LDADD = server/libserver.a proto/libproto.a $(LMDB_LIBS) $(XXHASH_LIBS)
