#!/bin/bash
# idle.sh - a mount that nobody uses, and its server, sleep: each wakes up for signs of life and nothing else.
#
# What wakes up a thread shows in its count of voluntary context switches.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse
seconds=${IDLE_SECONDS:-10}
settle=${IDLE_SETTLE:-8}	# what was written is on the server, the journal on the disk, and all that is told

# switches PID...: of all their threads, so far.
switches() {
	local pid
	for pid; do
		cat "/proc/$pid/task/"*/status
	done | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'
}
cpu_us() {
	local pid
	for pid; do
		cat "/proc/$pid/task/"*/schedstat
	done | awk '{ n += $1 } END { print int(n / 1000) }'
}

# sleeps MOST-A-SECOND PID...
sleeps() {
	local most=$1 before spent
	shift
	sleep "$settle"
	before=$(switches "$@")
	spent=$(cpu_us "$@")
	sleep "$seconds"
	before=$(($(switches "$@") - before))
	spent=$(($(cpu_us "$@") - spent))
	echo "$before switches and $spent us of CPU in $seconds s" | tee -a "$T/idle.out"
	[ "$before" -le $((most * seconds)) ]
}

said() { tail -n 1 "$T/idle.out" | note; }

start_server
first_client ann vol
mount_client ann vol
echo hello >"$(mnt ann)/file"
must flush_client ann
# A sign of life every five seconds takes a few threads; ten ticks a second would be far more.
direct() { sleeps 6 "${client_pids[ann]}" "$server_pid"; }
check_here "a mount and its server" direct
said

mkdir "$(mnt ann)/kept" && echo hello >"$(mnt ann)/kept/file"
pinned() { client ann pin "$(mnt ann)/kept" && sleeps 9 "${client_pids[ann]}" "$server_pid"; }
check_here "and with something pinned" pinned
said

unused() { umount_client ann && sleeps 1 "$server_pid"; }
check_here "a server without clients" unused
said

# Started anew, it has something to do by itself: without a connection that would make it look at the clock.
lapses() {
	mount_client ann vol && echo more >"$(mnt ann)/file" && flush_client ann && kill_client ann && kill_server || return
	configure_server term_ms 2000
	configure_server skew_ms 500
	"$NUAGED" --data "$server_data" --listen "127.0.0.1:$server_port" --config "$server_conf" >"$T/alone.log" 2>&1 &
	server_pid=$!
	wait_for 20 grep event=lapse "$T/alone.log"
}
check_here "a server to which nobody comes back after a start sees the end of the grace" lapses

# Over SSH: the far side's processes, too.
if [ -z "$sshd_program" ]; then
	skip "over SSH" "no sshd"
	tap_done
fi
# On one processor sshd has answered before the mount, which has asked it, goes on.
taskset -pc "$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')" $$ >/dev/null
start_sshd
new_client bob
must mount_ssh bob "$ssh_store" --create
echo hello >"$(mnt bob)/file"
must flush_client bob
over_ssh() {
	local far
	far=$(pgrep -f "nuaged bridge --data $T/remote" | paste -sd' ')
	[ -n "$far" ] || return
	# shellcheck disable=SC2086
	sleeps 12 "${client_pids[bob]}" "$(remote_nuaged)" $far $(pgrep -P "$(sshd_children | paste -sd,)") $(sshd_children)
}
two_logins() { [ "$(sshd_children | wc -l)" = 2 ]; }
must wait_for 10 two_logins
logins=$(sshd_children)
settle=14	# so that what is silent for too long is given up within this
check_here "a mount over SSH, its server and all between" over_ssh
said
same_logins() { [ "$(sshd_children)" = "$logins" ] || { echo "$logins; now" $(sshd_children); return 1; }; }
check_here "which stay connected" same_logins
tap_done
