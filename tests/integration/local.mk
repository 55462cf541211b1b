# Scripts on real mounts, each on its own server; the longest first, as several may run at a time.
INTEGRATION_TESTS = \
	tests/integration/ssh_life.sh \
	tests/integration/pin.sh \
	tests/integration/offline.sh \
	tests/integration/space.sh \
	tests/integration/journal.sh \
	tests/integration/ssh.sh \
	tests/integration/ssh_faults.sh \
	tests/integration/ssh_lanes.sh \
	tests/integration/coherence.sh \
	tests/integration/secrecy.sh \
	tests/integration/ssh_install.sh \
	tests/integration/locks.sh \
	tests/integration/crash.sh \
	tests/integration/ssh_login.sh \
	tests/integration/kernel.sh \
	tests/integration/link.sh \
	tests/integration/suspend.sh \
	tests/integration/stranger.sh \
	tests/integration/ssh_far.sh \
	tests/integration/ssh_dropbear.sh \
	tests/integration/ssh_door.sh \
	tests/integration/idle.sh \
	tests/integration/spin.sh \
	tests/integration/guard.sh \
	tests/integration/cli.sh \
	tests/integration/ssh_config.sh \
	tests/integration/races.sh \
	tests/integration/apps.sh \
	tests/integration/linearize.sh \
	tests/integration/basic.sh \
	tests/integration/wan.sh \
	tests/integration/features.sh \
	tests/integration/fstab.sh \
	tests/integration/turns.sh
LONG_TESTS = \
	tests/integration/big_long.sh \
	tests/integration/self_long.sh
EXTRA_DIST += $(INTEGRATION_TESTS) $(LONG_TESTS) tests/integration/orders.py tests/integration/contend.py

TESTS += $(INTEGRATION_TESTS) tests/integration/test_linearize.sh
EXTRA_DIST += tests/integration/test_linearize.sh

# It counts what is done in a second: when all the others are done.
tests/integration/turns.log: $(TEST_LOGS:tests/integration/turns.log=)

# What takes minutes or gigabytes.
.PHONY: check-long
check-long: all
	NUAGE_LONG=1 $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(LONG_TESTS)'
