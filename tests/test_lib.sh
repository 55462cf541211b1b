#!/bin/bash
# test_lib.sh - lib.sh reports what happened, and cleans up whatever happens.
: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
count=0 failed=0
ok() {	# STATUS NAME
	count=$((count + 1))
	[ "$1" = 0 ] || failed=$((failed + 1))
	echo "$([ "$1" = 0 ] || echo 'not ')ok $count - $2"
}

# run SCRIPT-TEXT: with lib.sh; output and status.
run() {
	NUAGE=/bin/true NUAGED=/bin/true top_srcdir=$top_srcdir bash -c '. "$top_srcdir/tests/lib.sh"
	'"$1" 2>&1
	echo "status $?"
}

out=$(run 'case_fails() { false; true; }; check one true; check two case_fails; skip three "no reason"; tap_done')
[ "$(grep -cE '^(not )?ok' <<<"$out")" = 3 ] && grep -q '^not ok 2 - two' <<<"$out" &&
	grep -q '^ok 3 - three # SKIP no reason' <<<"$out" && grep -qx 1..3 <<<"$out" && grep -q 'status 1' <<<"$out"
ok $? "a failure in mid-case fails it, a skip is one, the count is right"

out=$(run 'bad() { not true; true; }; check one bad; check two says lost sh -c "echo was lost; exit 1"; tap_done')
grep -q '^not ok 1' <<<"$out" && grep -q '^ok 2' <<<"$out"
ok $? "not and says decide"

out=$(run 'check one fails sh -c "kill -9 \$\$"; check two wait_for 1 false; tap_done')
[ "$(grep -c '^not ok' <<<"$out")" = 2 ]
ok $? "a killed command has not failed by itself, a deadline fails"

out=$(run 'echo "dir $T"; sleep 300 & helper_pids+=($!); echo "pid $!"; exit 3')
[ ! -e "$(sed -n 's/^dir //p' <<<"$out")" ] && ! kill -0 "$(sed -n 's/^pid //p' <<<"$out")" 2>/dev/null &&
	grep -q 'status 3' <<<"$out"
ok $? "the exit trap removes the directory and ends the helpers"

out=$(NUAGE='' NUAGED='' top_builddir=/none bash -c '. "$0/tests/lib.sh"; needs fuse' "$top_srcdir")
grep -q '^1..0 # SKIP' <<<"$out"
ok $? "without a build all is skipped, with the reason"

# set -e takes no notice of these; they would be cases that cannot fail.
! grep -nE '^\s+! |^\s+\[[^|]*\] && ' "$top_srcdir"/tests/integration/*.sh | grep -v 'return$'
ok $? "no script relies on a status that set -e overlooks"

# Without lib.sh every path would begin at /.
( cd / && top_srcdir=/nowhere bash "$top_srcdir/tests/integration/basic.sh" >/dev/null 2>&1 )
[ $? = 1 ] && [ -z "$(grep -L 'lib.sh" || exit 1$' $(grep -l 'tests/lib.sh"' "$top_srcdir"/tests/integration/*.sh))" ]
ok $? "a script that does not find lib.sh does nothing"
echo "1..$count"
exit $((failed > 0))
