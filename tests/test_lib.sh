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

out=$(run 'leaving_s=1; sleep 300 & disown; mkdir "$T/sub"; (cd /; exec env -i sleep 301 "$T/sub" 2>/dev/null &); tap_done')
[ "$(grep -c '^# process [0-9]*: sleep 300' <<<"$out")" = 1 ] && grep -q '^Bail out! left behind: process' <<<"$out" &&
	grep -q 'status 1' <<<"$out" && ! kill -0 "$(sed -n 's/^# process \([0-9]*\): .*/\1/p' <<<"$out")" 2>/dev/null
ok $? "a script that leaves a process has failed, and the process is ended"

# A script in a file has namespaces of its own, where there are such.
script=$(mktemp "${TMPDIR:-/tmp}/test_lib.XXXXXX") || exit 1
trap 'rm -f "$script"' EXIT
run_file() {
	printf '#!/bin/bash\n. "$top_srcdir/tests/lib.sh" || exit 1\n%s\n' "$1" >"$script"
	NUAGE=/bin/true NUAGED=/bin/true top_srcdir=$top_srcdir bash "$script" 2>&1
	echo "status $?"
}

out=$(run_file 'case_slips() {
	[ 1 = 2 ]
	true
}
case_sees() {
	local status=0
	[ 1 = 2 ] || status=$?
	false
	is 1 $status
}
check_here one case_slips
check_here two case_sees
tap_done')
grep -q '^not ok 1 - one' <<<"$out" && grep -qF 'nobody took notice: line 4: [ 1 = 2 ]' <<<"$out" && grep -q '^ok 2 - two' <<<"$out"
ok $? "an assertion in the midst of a case in the shell of the script counts"

skip_apart() { count=$((count + 1)); echo "ok $count - $1 # SKIP no namespaces of its own"; }

if run_file 'needs apart; echo is apart; tap_done' | grep -q 'is apart'; then
	out=$(run_file 'leaving_s=1; (cd /; env -i sleep 300 &); tap_done')
	grep -q '^# process [0-9]*: sleep 300' <<<"$out" && grep -q 'status 1' <<<"$out"
	ok $? "also one that bears no mark of it"

	# What mounts it ends only when the trap has looked for mounts.
	out=$(run_file 'mkdir "$T/m"; (sleep 0.5; mount -t tmpfs none "$T/m") & disown; tap_done')
	grep -q '^# mount .*/m$' <<<"$out" && grep -q 'status 1' <<<"$out"
	ok $? "and a mount that comes late"

	out=$(run_file 'needs netns; ip netns add nuage-left$$; tap_done')
	grep -q '^# network namespace nuage-left' <<<"$out" || grep -q SKIP <<<"$out"
	ok $? "and a network namespace"

	out=$(run_file 'mkdir "$T/m"; mount -t tmpfs none "$T/m"; echo "dir $T"; mountpoint -q "$T/m" && echo is mounted; kill -9 $$')
	dir=$(sed -n 's/^dir //p' <<<"$out")
	grep -q 'is mounted' <<<"$out" && grep -q 'status 137' <<<"$out" && ! grep -q "$dir" /proc/self/mountinfo && rm -r "$dir"
	ok $? "a script that is killed leaves no mount"

	out=$(run_file 'echo "net $(readlink /proc/self/ns/net)"; tap_done')
	grep -q '^net net:' <<<"$out" && ! grep -qF "net $(readlink /proc/self/ns/net)" <<<"$out"
	ok $? "its ports are its own"
else
	skip_apart "also one that bears no mark of it"
	skip_apart "and a mount that comes late"
	skip_apart "and a network namespace"
	skip_apart "a script that is killed leaves no mount"
	skip_apart "its ports are its own"
fi

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
