#!/bin/bash
# races.sh - two mounts get in each other's way, over and over (RACE_ROUNDS).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
two_clients
rounds=${RACE_ROUNDS:-500}

recalls() { echo $(($(fact ann recalls) + $(fact bob recalls))); }

race() {	# NAME ROUNDS
	mkdir "$(mnt ann)/$1"
	local before
	before=$(recalls)
	timeout -k 5 $((60 + $2 / 50)) python3 "$top_srcdir/tests/integration/contend.py" "$1" "$(mnt ann)/$1" "$(mnt bob)/$1" --rounds "$2"
	echo "$(($(recalls) - before)) recalls"
}

for name in ${RACES:-crossed list append pages mmap unlink}; do
	check "$name, $rounds times" race "$name" "$rounds"
	note <"$T/case.out"
done
tap_done
