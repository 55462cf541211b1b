# make coverage, with options in COVERAGE_OPTIONS: what of the engines no unit test and no seed executes.
EXTRA_DIST += tests/coverage/coverage.py tests/coverage/impossible.txt tests/coverage/test_coverage.py
TESTS += tests/coverage/test_coverage.py

.PHONY: coverage
coverage:
	python3 $(top_srcdir)/tests/coverage/coverage.py run --cc '$(CC)' $(COVERAGE_OPTIONS)

clean-local:
	rm -rf coverage
