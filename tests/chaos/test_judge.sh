#!/bin/bash
# test_judge.sh - the judge of chaos.py accepts what is right and refuses what is not.
command -v python3 >/dev/null || { echo "1..0 # SKIP no python3"; exit 0; }
exec python3 "${top_srcdir:-$(dirname "$0")/../..}/tests/chaos/test_judge.py"
