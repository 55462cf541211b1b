#!/bin/bash
# crash.sh - killed servers, cut power and killed clients lose nothing that was synced.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
configure_server term_ms 5000
start_server
who=ann M=$(mnt ann)
first_client $who vol
mount_client $who vol
make_tree "$T/tree" 1500
random_file "$T/large" 50000000

# slow_copy: in the background; ends with $T/copy.status.
slow_copy() {
	rm -rf "$T/copy.status"
	(
		cp -r "$T/tree" "$M/tree" && cp "$T/large" "$M/large"
		echo $? >"$T/copy.status"
	) 2>"$T/copy.log" &
	helper_pids+=($!)
}

copy_is_right() {
	wait_for 40 test -e "$T/copy.status" && cat "$T/copy.log" && is 0 "$(cat "$T/copy.status")" &&
		diff -r --no-dereference "$T/tree" "$M/tree" && cmp "$T/large" "$M/large"
}

server_killed() {
	slow_copy
	for _ in 1 2 3; do
		sleep 0.7
		kill_server
		sleep 0.3
		start_server
	done
	copy_is_right && flush_client $who && remount_client $who vol && copy_is_right
}

server_stays_away() {	# a copy in progress waits, and goes on by itself
	rm -rf "$M/tree" "$M/large"
	slow_copy
	sleep 0.5
	kill_server
	sleep 6
	# Done already or waiting, but not failed.
	local early=0
	[ ! -e "$T/copy.status" ] || early=$(cat "$T/copy.status")
	start_server
	cat "$T/copy.log"
	is 0 "$early" && copy_is_right
}

# writer FILE: appends numbered records, each fsynced, reporting each after its
# fsync.  For the background: $! is the process.
writer() {
	exec python3 - "$1" <<-'PY'
	import os, sys
	fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
	dir = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
	os.fsync(dir)
	for n in range(100000):
	    try:
	        os.pwrite(fd, (b"%07d\n" % n) * 64, n * 512)
	        os.fsync(fd)
	    except OSError:
	        break
	    print(n, flush=True)
	PY
}

# So that a slow machine tests the same: REPORT has so many lines.
reports() { [ "$(wc -l <"$1")" -ge "$2" ]; }

# reported_is_there FILE REPORT LEAST: and at least so many records were reported.
reported_is_there() {
	cat "$T/writer.log"
	python3 - "$@" <<-'PY'
	import sys
	data, lines = open(sys.argv[1], "rb").read(), open(sys.argv[2]).read().split()
	last = int(lines[-1]) if lines else -1
	print(f"{last + 1} records were reported, {len(data) // 512} are there")
	assert last + 1 >= int(sys.argv[3])
	for n in range(last + 1):
	    assert data[n * 512:n * 512 + 512] == (b"%07d\n" % n) * 64, n
	PY
}

client_killed() {
	writer "$M/records" >"$T/report" 2>"$T/writer.log" &
	local pid=$!
	wait_for 20 reports "$T/report" 50 || return
	kill_client $who || return
	kill_and_wait $pid
	mount_client $who vol
	reported_is_there "$M/records" "$T/report" 50
}

client_killed_after_a_while() {	# what nobody synced is on the server some seconds later
	rm -rf "$M/behind" && cp -r "$T/tree" "$M/behind" || return
	sleep 8
	kill_client $who || return
	mount_client $who vol
	diff -r --no-dereference "$T/tree" "$M/behind"
}

both_killed() {
	writer "$M/records2" >"$T/report2" 2>"$T/writer.log" &
	local pid=$!
	wait_for 20 reports "$T/report2" 50 || return
	kill_server
	kill_client $who || return
	kill_and_wait $pid
	start_server
	mount_client $who vol
	reported_is_there "$M/records2" "$T/report2" 50
}

# ---- the same with the power cut under the store ----

disk_up() {
	"$tools/forgetfs" -f "$@" "$T/backing" "$server_data" >"$T/disk.out" 2>"$T/disk.log" &
	disk_pid=$!
	helper_pids+=("$disk_pid")
	wait_for 5 is_mounted "$server_data"
}

power_cut() {
	kill -USR1 $disk_pid
	wait_for 20 grep -q cut "$T/disk.out" || return
	kill_server
	umount "$server_data" || umount -l "$server_data"
	wait_for 10 process_is_gone $disk_pid || kill -KILL $disk_pid
	wait $disk_pid
}

writers='1 2 3 4 5 6'

# each_reports SEED COUNT: each of the writers.
each_reports() {
	local i
	for i in $writers; do
		reports "$T/report.$1.$i" "$2" || return
	done
}

power_cut_once() {	# SEED LEAST
	local i copy_pid before=0 writer_pids=()
	# Several, so that some have work under way when the disk fails: none may be told.
	for i in $writers; do
		writer "$M/power$1.$i" >"$T/report.$1.$i" 2>>"$T/writer.log" &
		writer_pids+=($!)
	done
	wait_for 20 each_reports "$1" 50 || return
	cp -r "$T/tree" "$M/tree$1" &
	copy_pid=$!
	sleep 0.5
	power_cut || return
	for i in $writers; do
		[ "$(wc -l <"$T/report.$1.$i")" -le $before ] || before=$(wc -l <"$T/report.$1.$i")
	done
	disk_up --keep-some --seed "$1" || return
	start_server
	# Writers and copy go on by themselves.
	wait_for 30 each_reports "$1" $((before + 50)) || return
	for i in "${writer_pids[@]}"; do
		kill_and_wait "$i" TERM
	done
	wait $copy_pid || return
	# Read from the server, not from what the client still knows.
	remount_client $who vol || return
	for i in $writers; do
		reported_is_there "$M/power$1.$i" "$T/report.$1.$i" "$2" || return
	done
	diff -r --no-dereference "$T/tree" "$M/tree$1"
}

power_cuts() {
	local seed
	for seed in 1 2 3; do
		power_cut_once $seed 100 || return
	done
	for seed in 1 2 3; do
		diff -r --no-dereference "$T/tree" "$M/tree$seed" || return
	done
	umount_client $who && stop_server && "$NUAGED" check --data "$server_data"
}

check_here "a server killed in mid-copy: the copy goes on by itself" server_killed
check_here "a server away for longer than the term" server_stays_away
check_here "a killed client: every fsynced byte is there" client_killed
check_here "a killed client: what was written some seconds before is there" client_killed_after_a_while
check_here "client and server killed" both_killed

if [ ! -x "$tools/forgetfs" ]; then
	skip "power cuts under the store" "forgetfs is not built"
	tap_done
fi
must umount_client ann
must stop_server
rm -rf "$server_data"
mkdir "$server_data" "$T/backing"
must disk_up --keep-some --seed 9
start_server
who=cay M=$(mnt cay)
first_client cay vol
mount_client cay vol
check_here "power cuts under the store: every fsynced byte is there" power_cuts
tap_done
