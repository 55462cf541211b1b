# tests/unit/test_x.c for x.c; links the production objects.
check_PROGRAMS += tests/unit/test_message
TESTS += tests/unit/test_message
tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_LDADD = proto/libproto.a $(PROTO_LIBS)

# For a build inside a mount, which cannot run what mounts.
.PHONY: print-unit-tests
print-unit-tests:
	@echo $(filter tests/unit/test_%,$(check_PROGRAMS))
