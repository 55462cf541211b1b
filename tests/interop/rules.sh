#!/bin/bash
# rules.sh - an independent client in Python tries the server's rules as
# nuage-protocol(5) states them.
. "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}/tests/lib.sh"
needs python3

python3 "$top_srcdir/tests/interop/rulebook.py" "$NUAGED" "$server_data"
