#!/bin/bash
# link.sh - over a wide-area link: cut and restored in mid-copy, nothing is lost and little waits.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root netns python3
[ -x "$tools/wanlink" ] || skip_all "wanlink is not built"
link_up -d 25 -r 100
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)
make_tree "$T/tree" 300
random_file "$T/large" 30000000

cut_in_mid_copy() {
	local pid
	mkdir "$M/cached" && cp "$T/tree/part00/module000"/* "$M/cached" && ls -l "$M/cached" >"$T/listed" || return
	( cp -r "$T/tree" "$M/tree" && cp "$T/large" "$M/large" && sync "$M/large" "$M" ) &
	pid=$!
	sleep 1
	link_cut || return
	# What is cached answers meanwhile, for as long as the leases last.
	for _ in 1 2 3 4; do
		sleep 2
		timeout 2 ls -l "$M/cached" | cmp - "$T/listed" || return
		timeout 2 df "$M" >/dev/null || return
	done
	sleep 12
	link_restore || return
	wait_for 45 process_is_gone $pid || return
	wait $pid && diff -r --no-dereference "$T/tree" "$M/tree" && cmp "$T/large" "$M/large"
}

whole_after_remount() {
	remount_client ann vol && diff -r --no-dereference "$T/tree" "$M/tree" && cmp "$T/large" "$M/large"
}

lossy() {
	kill_and_wait "$link_pid" TERM
	"$tools/wanlink" -d 25 -r 100 -l 1 -s 7 $client_ns 10.99.0.1/30 $server_ns 10.99.0.2/30 \
		>"$T/link.out" 2>>"$T/link.log" &
	link_pid=$!
	wait_for 5 grep -q ready "$T/link.out" || return
	head -c 4000000 "$T/large" >"$M/lossy" && sync "$M/lossy" && head -c 4000000 "$T/large" | cmp - "$M/lossy"
}

flapping() {
	local pid
	( cp "$T/large" "$M/flap" && sync "$M/flap" ) &
	pid=$!
	for _ in 1 2 3 4; do
		sleep 1
		link_cut || return
		sleep 0.5
		link_restore || return
	done
	wait_for 45 process_is_gone $pid || return
	wait $pid && cmp "$T/large" "$M/flap"
}

interrupted() {	# a caller being killed does not wait for the link
	local pid
	link_cut || return
	cat "$M/large" >/dev/null &
	pid=$!
	sleep 1
	kill -KILL $pid 2>/dev/null
	wait_for 5 process_is_gone $pid
	local gone=$?
	link_restore && return $gone
}

check_here "20 s cut in mid-copy: cached directories answer, the copy goes on" cut_in_mid_copy
check_here "a short and flapping link" flapping
check_here "a remount finds it whole" whole_after_remount
drop_caches
check_here "a killed reader goes even while the link is cut" interrupted
check_here "1 % loss" lossy
tap_done
