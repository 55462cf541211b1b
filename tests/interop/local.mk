# An independent reader of the formats, against the golden files and a real server.
TESTS += tests/interop/golden.py tests/interop/rules.sh
TESTS += tests/interop/interop.sh
EXTRA_DIST += tests/interop/golden.py tests/interop/rules.sh tests/interop/interop.sh
EXTRA_DIST += tests/interop/decoder.py tests/interop/store.py tests/interop/xxh3.py
EXTRA_DIST += tests/interop/rulebook.py tests/interop/writer.py
