#!/bin/bash
# spin.sh - whatever a mount or a server waits for, it waits asleep: at most fifty wake-ups a second, 2 % of a core.
#
# In each state something is due that cannot be done.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse netns root
seconds=${SPIN_SECONDS:-4}
most_switches=50 most_cpu_us=20000	# a second

# Of each thread of a process: its number, its waits, its microseconds.
threads() {
	local task
	for task in "/proc/$1/task/"*; do
		echo "${task##*/} $(awk '/^voluntary/ { print $2 }' "$task/status") $(awk '{ print int($1 / 1000) }' "$task/schedstat")"
	done 2>/dev/null
}

# sleeps PID...: each of them, for a while.  What ended in it is not counted.
sleeps() {
	local pid fine=true
	local -A begun
	for pid; do
		begun[$pid]=$(threads "$pid")
	done
	sleep "$seconds"
	for pid; do
		awk -v what="$(tr '\0' ' ' <"/proc/$pid/cmdline" | sed 's|[^ ]*/||g' | cut -c 1-40)" -v s="$seconds" -v most="$most_switches" -v most_us="$most_cpu_us" '
			NR == FNR { waits[$1] = $2; us[$1] = $3; next }
			{ n += $2 - waits[$1]; u += $3 - us[$1] }
			END { printf "%s: %d wake-ups, %d us of CPU in %d s\n", what, n, u, s; exit n > most * s || u > most_us * s }' \
			<(echo "${begun[$pid]}") <(threads "$pid") || fine=false
	done >>"$T/spin.out"
	$fine
}

waits() {	# NAME SECONDS-BEFORE PID...
	local name=$1 settle=$2
	shift 2
	sleep "$settle"
	check "$name" sleeps "$@"
	tail -n $# "$T/spin.out" | note
}

is_offline() { client "$1" status --json "$(mnt "$1")" | grep -q '"offline": true'; }

configure_server term_ms 6000
configure_server skew_ms 1000
mkdir "$server_data"
mount -t tmpfs -o size=160m,mode=700 tmpfs "$server_data" || skip_all "no tmpfs"
configure_server reserve_bytes 30M
start_server
first_client ann vol
another_client bob vol ann
for name in ann bob; do
	mkdir "$T/$name.disk" && mount -t tmpfs -o size=256m,mode=700 tmpfs "$T/$name.disk" && mv "$T/$name.home" "$T/$name.disk/home" &&
		ln -s "$T/$name.disk/home" "$T/$name.home" || skip_all "no tmpfs"
done
A=$(mnt ann) B=$(mnt bob)

mount_client ann vol -o nooffline
mkdir "$A/kept" && random_file "$A/kept/file" 8000000 && echo seen >"$A/seen"
must client ann pin "$A/kept"
must flush_client ann
ann=${client_pids[ann]}

kill -STOP "$server_pid"
waits "a server that is stopped" 0 "$ann"
( timeout 60 sh -c "echo more >'$A/more'; sync '$A/more'" ) &
helper_pids+=($!)
waits "... with work that waits, as the link breaks" 3 "$ann"
kill -CONT "$server_pid"
wait "${helper_pids[-1]}"
must flush_client ann

kill_server
echo cached >"$A/seen"
waits "a server that is gone, pins and work" 1 "$ann"
( timeout 100 cat "$A/more" >/dev/null ) &
helper_pids+=($!)
waits "... behind the term, and somebody who waits" 7 "$ann"
start_server
waits "a server that was started anew, and who comes back" 0 "$server_pid" "$ann"
must flush_client ann
wait "${helper_pids[-1]}"
must umount_client ann

mount_client ann vol -o offline
ls -lR "$A" >/dev/null && cat "$A/seen" >/dev/null
ann=${client_pids[ann]}
stop_server
must wait_for 30 is_offline ann
waits "offline" 3 "$ann"
for i in 1 2 3 4; do random_file "$A/offline.$i" 10000000; done
echo offline >"$A/seen"
waits "... with work of which the server knows nothing" 3 "$ann"

# What it brings does not fit any more.
start_server
fallocate -l "$(($(df --output=avail -B1 "$server_data" | tail -n 1) - (8 << 20)))" "$server_data/filler"
waits "a server that is full, and work that waits" 12 "$ann" "$server_pid"

# And somebody wants what it cannot bring.
mount_client bob vol
bob=${client_pids[bob]}
( timeout 60 chmod 750 "$B" ) &
helper_pids+=($!)
waits "... that another wants to change" 5 "$ann" "$bob" "$server_pid"
rm "$server_data/filler"
must wait_for 60 flush_client ann
wait "${helper_pids[-1]}"

# The client's own disk.
fallocate -l "$(($(df --output=avail -B1 "$T/ann.disk" | tail -n 1) - 4096))" "$T/ann.disk/filler"
random_file "$A/many" 30000000
waits "a disk of the client's that is full" 1 "$ann"
rm "$T/ann.disk/filler"

# A login that takes nothing more, in the middle of something large.
if [ -z "$sshd_program" ]; then
	skip "a login that is stopped" "no sshd"
	tap_done
fi
# A slow line holds less than a packet of what is to go.
apart && echo "4096 16384 32768" >/proc/sys/net/ipv4/tcp_wmem
start_sshd
new_client eve
must mount_ssh eve "$ssh_store" --create
timeout 60 dd if=/dev/urandom of="$(mnt eve)/large" bs=1M count=64 2>/dev/null &
helper_pids+=($!)
sleep 0.2
logins="$sshd_pid $(sshd_children) $(pgrep -P "$(sshd_children | paste -sd,)")"	# the daemon, too: or another login would take it
# shellcheck disable=SC2086
kill -STOP $logins
seconds=2
waits "a login that is stopped" 6.5 "${client_pids[eve]}"
# shellcheck disable=SC2086
kill -CONT $logins
tap_done
