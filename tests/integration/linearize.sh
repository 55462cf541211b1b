#!/bin/bash
# linearize.sh - ten thousand overlapping operations of two mounts on 18 names have an order that explains them all.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
two_clients
linearize=$top_srcdir/tests/integration/orders.py
seed=${SEED:-$RANDOM}

two_mounts() {	# SEED WORKERS OPS: a directory of its own
	mkdir "$(mnt ann)/$1-$2"
	timeout 80 python3 "$linearize" "$(mnt ann)/$1-$2" "$(mnt bob)/$1-$2" --seed "$1" --workers "$2" --ops "$3"
}

check "two workers, seed $seed" two_mounts "$seed" 2 4000
note <"$T/case.out"
check "six workers, seed $seed" two_mounts "$seed" 6 10002
note <"$T/case.out"
tap_done
