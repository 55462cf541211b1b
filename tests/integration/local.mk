# Scripts on real mounts, each on its own server.  They join TESTS as they come to pass.
INTEGRATION_TESTS = \
	tests/integration/apps.sh \
	tests/integration/basic.sh \
	tests/integration/coherence.sh \
	tests/integration/crash.sh \
	tests/integration/link.sh \
	tests/integration/secrecy.sh \
	tests/integration/space.sh \
	tests/integration/stranger.sh
LONG_TESTS =
EXTRA_DIST += $(INTEGRATION_TESTS) $(LONG_TESTS)

# What takes minutes or gigabytes.
.PHONY: check-long
check-long: all
	NUAGE_LONG=1 $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(LONG_TESTS)'
