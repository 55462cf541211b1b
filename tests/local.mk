# The tests, a fragment a family.
EXTRA_DIST += tests/tap.h
include tests/unit/local.mk
include tests/tools/local.mk
