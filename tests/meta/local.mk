# What the sources promise each other and their readers.
TESTS += tests/meta/fences.sh
EXTRA_DIST += tests/meta/fences.sh
