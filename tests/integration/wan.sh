#!/bin/bash
# wan.sh - over a wide-area link: who goes through a tree does not wait for each file and directory.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root netns python3 tar
[ -x "$tools/wanlink" ] || skip_all "wanlink is not built"
link_up -d 25 -r 100
start_server
first_client ann vol
another_client bob vol ann
make_tree "$T/tree" 500		# in 56 directories, below 6 more
tar cf "$T/tree.tar" -C "$T/tree" .
M=$(mnt ann)

# The commits of old changes are far away: what comes is what sync asked for.
untar() {
	tar xf "$T/tree.tar" -C "$M"
	timeout 20 "$NUAGE" sync "$M"
}

untar_at_ann() {
	mount_client ann vol -o commit=100 && ( export NUAGE_HOME="$T/ann.home"; set -e; untar )
}

# cold COMMAND...: on a new mount with nothing cached anywhere.
cold() {
	remount_client ann vol || return
	"$@" >"$T/cold.out"
}

found() { cold find "$M" && is $(($(find "$T/tree" | wc -l))) "$(wc -l <"$T/cold.out")" && at_most 12 ann misses; }
listed() { cold ls -lR "$M" && at_most 12 ann misses; }
searched() { cold grep -rc '' "$M" && is "$(find "$T/tree" -type f | wc -l)" "$(wc -l <"$T/cold.out")" && at_most 30 ann misses; }
copied() {
	rm -rf "$T/copy"
	cold cp -r "$M" "$T/copy" && diff -r --no-dereference "$T/tree" "$T/copy" && at_most 30 ann misses
}
in_few_messages() { at_most 100 ann reads; }

one_file() {	# is all that is fetched for who wants no more
	cold cat "$M/part03/module030/3-"* && at_most 1 ann fetches && at_most 12 ann reads
}

# What ann has seen and does not change is shared with bob by the directory.
looked_at_by_both() {
	cold find "$M" && mount_client bob vol && ls -lR "$(mnt bob)" >"$T/bob.out" &&
		grep -q module030 "$T/bob.out" && at_most 20 bob misses && at_most 20 ann recalls
}

# What ann has only been given ahead is given up to bob at once, and comes back changed.
given_up() {
	local d
	cold find "$M" || return
	for d in "$(mnt bob)"/part0*/module00*; do
		echo changed >"$d/new" || return
		mv "$d/new" "$d/0-changed" || return
	done
	is "$(find "$T/tree" -path '*/module00?' -type d | wc -l)" "$(cat "$M"/part0*/module00*/0-changed | grep -cx changed)"
}

check_here "sync of an unpacked tree does not wait for the time of commits" untar_at_ann
check_here "find waits for a few answers" found
check_here "ls -lR, too" listed
check_here "and grep -r of contents" searched
check_here "and cp -r, which goes in another order" copied
check "and all that in few messages" in_few_messages
check_here "one file is read alone" one_file
check_here "another client sees it all as fast" looked_at_by_both
check_here "what was looked at ahead is given up to others" given_up
tap_done
