# The tests, a fragment a family.
EXTRA_DIST += tests/scratch.h tests/tap.h tests/lib.sh tests/sshd.sh tests/test_lib.sh
TESTS += tests/test_lib.sh
# Those that wait first, beside which those that compute find time.
include tests/integration/local.mk
include tests/chaos/local.mk
include tests/tools/local.mk
include tests/interop/local.mk
include tests/sim/local.mk
include tests/unit/local.mk
include tests/fuzz/local.mk
include tests/meta/local.mk
include tests/bench/local.mk
include tests/mutants/local.mk
include tests/coverage/local.mk
