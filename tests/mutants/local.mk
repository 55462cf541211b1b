# make mutants, with names or options in MUTANTS: changes that a test must notice.
EXTRA_DIST += tests/mutants/mutants.py tests/mutants/mutants.txt tests/mutants/test_mutants.sh
TESTS += tests/mutants/test_mutants.sh

.PHONY: mutants
mutants:
	python3 $(top_srcdir)/tests/mutants/mutants.py $(MUTANTS)
