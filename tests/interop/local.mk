# An independent reader of the formats, against the golden files and a real server.
TESTS += tests/interop/golden.py
EXTRA_DIST += tests/interop/golden.py tests/interop/decoder.py
