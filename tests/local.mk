# The tests, a fragment a family.
EXTRA_DIST += tests/tap.h tests/lib.sh
include tests/unit/local.mk
include tests/tools/local.mk
include tests/integration/local.mk
