#!/bin/bash
# ssh_life.sh - the life of a mount over SSH: the machine sleeps for longer than the term, with
# notice and without; its address changes; its way to the server goes and comes back; the far
# machine restarts.  A copy under way goes on, and nothing that was synced is lost.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse root netns python3 jq ssh ssh-keygen
needs_sshd
link_up -d 2 -r 100
sshd_host=$server_host
start_sshd
# Of a short term: sleeps longer than it take less time so.
server_data=$T/remote/store
server_host=127.0.0.1		# and out of reach but by SSH
must ip -n "$server_ns" link set lo up
term_s=8
configure_server term_ms $((term_s * 1000))
configure_server skew_ms 500
start_server
new_client ann
new_client bob
M=$(mnt ann) B=$(mnt bob)
must client ann mount "$ssh_store" "$M" --create
must client ann umount "$M"
must client bob join "$(client ann invite box/drive --address "$ssh_store" 2>/dev/null)"
mount_client ann box/drive
mount_client bob box/drive

connected() { client "$1" status >"$T/status" && cat "$T/status" && grep -q "over SSH" "$T/status"; }
# The mount says what is wrong.
away() { client ann status >"$T/status"; is 3 $? && cat "$T/status" && grep -q "NOT CONNECTED: .*$1" "$T/status"; }

check_here "both are connected by SSH" eval "connected ann && connected bob"

# ---- sleep ----

# Meanwhile bob wants the directory, and gets it once the term is over.
sleeps() {	# PID...
	local began=$SECONDS status
	kill -STOP "$@"
	timeout $((3 * term_s)) touch "$B/bobs-$1"
	status=$?
	echo "bob waited $((SECONDS - began)) s"
	while [ $((SECONDS - began)) -lt $((2 * term_s)) ]; do
		sleep 1
	done
	kill -CONT "$@"
	return $status
}
# Nobody waits for the server when the notice comes: who did could not be frozen, and would be told
# that the host is down.  Then all runs on as it was; that it is awake the mount hears a while later.
with_notice() {
	kill -STOP $copy $writer && client ann sync "$M" && client ann sync --sleep "$M" || return
	sleeps "${client_pids[ann]}" $copy $writer || return
	timeout 60 ls "$M/bobs-${client_pids[ann]}" && client ann sync --wake "$M"
}
# So it is with a laptop whose hook was forgotten, or a virtual machine.
without_notice() { sleeps "${client_pids[ann]}" $copy $writer && timeout 60 ls "$M/bobs-${client_pids[ann]}"; }
# Those who use it wait, and their signals with them.
mount_alone() { without_notice; }

check_here "a sleep of two terms, with notice" amid_copy notice with_notice
check_here "and without" amid_copy sudden without_notice
check_here "the mount alone is stopped for so long" amid_copy stopped mount_alone

# ---- the way there ----

device() { ip -n "$1" -o route get "$2" | sed -n 's/.* dev \([^ ]*\).*/\1/p'; }
wan=$(device "$client_ns" "$sshd_host")
far_wan=$(device "$server_ns" 10.99.0.1)

# Another network: what was connected from the old address is never answered any more.
other_address() {
	ip -n "$server_ns" route add 10.99.1.0/24 dev "$far_wan" &&
		ip -n "$client_ns" address add "10.99.1.$1/24" dev "$wan" &&
		ip -n "$client_ns" address del 10.99.0.1/30 dev "$wan" &&
		ip -n "$client_ns" route replace "$sshd_host" dev "$wan" src "10.99.1.$1"
}
# And its nodes are only reached by a router, which is out of reach for a while.
no_route() {
	ip -n "$client_ns" route del "$sshd_host" && sleep $((3 * term_s)) && wait_for 5 away "[Nn]etwork is unreachable" || return
	ip -n "$client_ns" route add default dev "$wan" src 10.99.1.7
}
check_here "another address" amid_copy address other_address 7
check_here "the way there goes, for three terms, and comes back" amid_copy route no_route

# ---- the far machine ----

# All of it at once, as when the power goes; nuaged is started by whoever comes first.
restarts() {
	stop_sshd_and_logins
	kill_server
	wait_for 20 away "connection refused" || return
	sleep $term_s
	start_sshd
}
check_here "the far machine restarts" amid_copy restart restarts
# And nuaged does not come up with it at once, for its disk does not.
slow_start() {
	stop_sshd_and_logins
	kill -KILL $(remote_nuaged) && mv "$server_data" "$T/unmounted" || return
	start_sshd
	wait_for 20 away "there is no store at" || return
	mv "$T/unmounted" "$server_data"
}
check_here "its disk comes back later than it" amid_copy slow slow_start
check_here "both are connected again" eval "wait_for 30 connected ann && wait_for 30 connected bob"

ends() { umount_client ann && umount_client bob; }
check_here "it ends" ends
tap_done
