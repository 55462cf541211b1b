# tests/unit/test_x.c for x.c; links the production objects.
check_PROGRAMS += tests/unit/test_message
TESTS += tests/unit/test_message
tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_memstore
TESTS += tests/unit/test_memstore
tests_unit_test_memstore_SOURCES = tests/unit/test_memstore.c tests/unit/conform.h
tests_unit_test_memstore_LDADD = tests/sim/libsim.a server/libserver.a proto/libproto.a

check_PROGRAMS += tests/unit/test_server_engine
TESTS += tests/unit/test_server_engine
tests_unit_test_server_engine_SOURCES = tests/unit/test_server_engine.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_engine_LDADD = server/libserver.a tests/sim/libsim.a server/libserver.a \
	proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_server_hostile
TESTS += tests/unit/test_server_hostile
tests_unit_test_server_hostile_SOURCES = tests/unit/test_server_hostile.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_hostile_LDADD = $(tests_unit_test_server_engine_LDADD)
