# Scripts on real mounts, each on its own server.  They join TESTS as they come to pass.
INTEGRATION_TESTS = \
	tests/integration/basic.sh
LONG_TESTS =
EXTRA_DIST += $(INTEGRATION_TESTS) $(LONG_TESTS)
