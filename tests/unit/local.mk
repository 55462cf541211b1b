# tests/unit/test_x.c for x.c; links the production objects.
check_PROGRAMS += tests/unit/test_message
TESTS += tests/unit/test_message
tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_batch
TESTS += tests/unit/test_batch
tests_unit_test_batch_SOURCES = tests/unit/test_batch.c
tests_unit_test_batch_LDADD = server/libserver.a proto/libproto.a

check_PROGRAMS += tests/unit/test_memstore
TESTS += tests/unit/test_memstore
tests_unit_test_memstore_SOURCES = tests/unit/test_memstore.c tests/unit/conform.h
tests_unit_test_memstore_LDADD = tests/sim/libsim.a server/libserver.a proto/libproto.a

STORE_TEST_LIBS = tests/sim/libsim.a server/libserver.a proto/libproto.a $(LMDB_LIBS) $(XXHASH_LIBS)
store_test_common = tests/unit/conform.h tests/unit/store_script.h

check_PROGRAMS += tests/unit/test_store tests/unit/test_recovery tests/unit/test_damage
TESTS += tests/unit/test_store tests/unit/test_recovery tests/unit/test_damage
tests_unit_test_store_SOURCES = tests/unit/test_store.c $(store_test_common)
tests_unit_test_store_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_recovery_SOURCES = tests/unit/test_recovery.c $(store_test_common)
tests_unit_test_recovery_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_damage_SOURCES = tests/unit/test_damage.c $(store_test_common)
tests_unit_test_damage_LDADD = $(STORE_TEST_LIBS)
