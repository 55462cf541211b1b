#!/bin/bash
# chaos.sh - two mounts, and everything breaks: a short run of runner.py.
#
# CHAOS_SECONDS=3600 makes it longer, CHAOS_SEED=N takes another seed, CHAOS_FAULTS
# chooses kinds of faults, CHAOS_ARGS has more options of runner.py.  On a
# violation the logs go to chaos.failed in the build directory.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root netns python3
for tool in wanlink forgetfs; do
	[ -x "$tools/$tool" ] || skip_all "$tool is not built"
done

chaos() {
	# shellcheck disable=SC2086
	timeout -k 60 $((${CHAOS_SECONDS:-75} + 600)) python3 "$top_srcdir/tests/chaos/runner.py" --build "$top_builddir" \
		--top "$T/chaos" --keep "$top_builddir/chaos.failed" --seconds "${CHAOS_SECONDS:-75}" \
		--seed "${CHAOS_SEED:-11}" ${CHAOS_FAULTS:+--faults "$CHAOS_FAULTS"} ${CHAOS_ARGS-}
}

check "${CHAOS_SECONDS:-75} s of faults: nothing lost, nothing stale, nothing hangs" chaos
note <"$T/case.out"
tap_done
