# The tests, a fragment a family.
EXTRA_DIST += tests/tap.h
include tests/bench/local.mk
include tests/sim/local.mk
include tests/unit/local.mk
