# make mutants, with patterns or options in MUTANTS: changes that a test must notice.
EXTRA_DIST += tests/mutants/mutants.py tests/mutants/mutants.txt tests/mutants/test_mutants.sh
TESTS += tests/mutants/test_mutants.sh

# Goes on where it was stopped, while the sources are the same.
# MUTANTS=--table prints the table of rules and mutations by what is known by then.
.PHONY: mutants
mutants:
	python3 $(top_srcdir)/tests/mutants/mutants.py --resume mutants.verdicts $(MUTANTS)
CLEANFILES += mutants.verdicts
