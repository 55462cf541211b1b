#!/bin/bash
# guard.sh - a mount's process is killed, at the worst moment too: nothing hangs, and nothing stays behind:
# guard.sh [CASE...].
#
# The worst moment: a recall has the kernel write dirty pages of a map back, which waits, in a thread of the
# mount's process that SIGKILL does not end, for that process to take the pages.  nuage-delay (fs/delay.h)
# takes them and then sleeps.  Where the script has a mount namespace of its own /dev/fuse can be everybody's.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
delayed=$tools/nuage-delay
[ -x "$delayed" ] || skip_all "nuage-delay is not built"
needs fuse python3 pgrep
export NUAGE_DELAY=$T/delays
start_server
first_client ann vol
another_client bob vol ann
A=$(mnt ann) B=$(mnt bob)
as=()		# before a command of ann's

delays() { printf '%s\n' "$@" >"$T/delays.new" && mv "$T/delays.new" "$T/delays"; }

guard_of() { pgrep -P "$1" -x nuage-guard; }
guards_left() { pgrep -f "^nuage-guard $A " >/dev/null; }
guard_is_gone() { ! guards_left; }
fds_of() { for fd in /proc/"$1"/fd/*; do readlink "$fd"; done; }

# Where perhaps a dead mount is, which mount_client would take for the new one.
ann_mounts() {
	delays
	( export NUAGE_HOME="$T/ann.home"; exec "$delayed" mount vol "$A" -f "$@" ) >>"$T/ann.log" 2>&1 &
	client_pids[ann]=$!
	wait_for 20 is_served
}
is_served() { "${as[@]}" ls "$A" >/dev/null && "${as[@]}" mountpoint -q "$A"; }	# of a dead one attributes may be cached
ann() { NUAGE=$delayed client ann "$@"; }
ann_is_dead() { says 'not connected' "${as[@]}" ls "$A"; }
umount_ann() { NUAGE=$delayed umount_client ann; }

# What a failed case left must not fail the next ones.
wanted=" $* "
a_case() {	# NAME FUNCTION
	local name
	[ "$wanted" = "  " ] || [ "${wanted/ $2 /}" != "$wanted" ] || return 0
	check_here "$@" && return
	pgrep -f "^nuage-guard $A " | xargs -r kill -CONT
	abort_mounts
	for name in "${!client_pids[@]}"; do
		kill_and_wait "${client_pids[$name]}"
		unset "client_pids[$name]"
	done
	while umount -l "$A" || umount -l "$B"; do :; done 2>/dev/null
	[ -n "$server_pid" ] || start_server
}

# ---- the worst moment ----

holder() {	# FILE: has it mapped, a page of it dirty
	cat >"$T/holder.py" <<-'PY'
	import mmap, os, sys
	fd = os.open(sys.argv[1], os.O_RDWR)
	m = mmap.mmap(fd, os.fstat(fd).st_size)
	m[100:103] = b"ann"
	print("stored", flush=True)
	sys.stdin.read()
	PY
	coproc HOLDER { exec "${as[@]}" python3 "$T/holder.py" "$1"; }
	helper_pids+=("$HOLDER_PID")
	local line
	read -r -t 30 line <&"${HOLDER[0]}" && is stored "$line"
}

let_go() {
	exec {HOLDER[1]}>&-
	wait "$HOLDER_PID" 2>/dev/null
	return 0
}

is_stuck() { grep -qs '^State:.D' /proc/"$1"/task/*/status; }
is_waiting() { grep -q 'delay at submit-write$' "$T/ann.log" && is_stuck "${client_pids[ann]}"; }

# bob wants what ann has mapped; her process is killed while the kernel waits for it.
killed_in_recall() {	# [SIGNAL]
	local pid=${client_pids[ann]} reader writer
	: >"$T/ann.log"
	"${as[@]}" bash -c 'printf "%5000s" old >"$1" && cat "$1" >/dev/null' - "$A/map" && holder "$A/map" &&
		mount_client bob vol || return
	delays submit-write=600000
	timeout -k 1 90 dd if=<(printf bob) of="$B/map" conv=notrunc status=none &
	writer=$!
	wait_for 20 is_waiting || return
	"${as[@]}" python3 -c 'import sys; open(sys.argv[1]).read()' "$A/map" 2>/dev/null &	# one more who waits
	reader=$!
	kill -"${1-KILL}" "$pid"
	wait_for 10 process_is_gone "$pid" || { grep -s State: /proc/"$pid"/task/*/status; return 1; }
	unset "client_pids[ann]"
	wait_for 5 process_is_gone $reader && wait_for 5 guard_is_gone || return
	ann_is_dead && says 'PROCESS IS GONE' ann status "$A" || return
	# Another at once, in the same place, which lets bob go on too.
	ann_mounts && wait $writer && is bob "$("${as[@]}" head -c 3 "$A/map")" || return
	let_go && umount_ann && umount_client bob && wait_for 5 guard_is_gone
}

in_foreground() { ann_mounts && killed_in_recall; }

crashed() { ann_mounts && killed_in_recall ABRT; }

in_background() {
	delays
	NUAGE=$delayed NUAGE_DELAY=$T/delays client ann mount vol "$A" --log "$T/ann.log" || return
	client_pids[ann]=$(client ann status --json "$A" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	killed_in_recall
}

# ---- any other ----

killed_at_rest() {
	ann_mounts && local pid=${client_pids[ann]}
	kill_and_wait "$pid" && :
	unset "client_pids[ann]"
	wait_for 5 guard_is_gone && ann_is_dead || return
	ann_mounts && : >"$A/again" && umount_ann && guard_is_gone
}

unmounted() {
	ann_mounts && guards_left && umount_ann && guard_is_gone || return
	client ann mount vol "$A" && guards_left && client ann umount "$A" && wait_for 5 guard_is_gone || return
	ann_mounts && fusermount3 -u "$A" && wait_for 5 guard_is_gone && wait "${client_pids[ann]}"
}

not_mounted() {	# the process ends, the guard with it
	: >"$A/in-the-way"
	says 'not empty' client ann mount vol "$A"
	local refused=$?
	rm "$A/in-the-way" && kill_server && [ $refused = 0 ] || return
	not timeout 60 "$NUAGE" mount vol "$A" 2>/dev/null
	local status=$?
	start_server && wait_for 5 guard_is_gone && return $status
}

holds_nothing() {
	local guard
	ann_mounts --log "$T/other.log" && guard=$(guard_of "${client_pids[ann]}") || return
	fds_of "$guard"
	is 2 "$(fds_of "$guard" | grep -c '^/dev/null$')" && is 1 "$(fds_of "$guard" | grep -c '/abort$')" || return
	is 3 "$(fds_of "$guard" | wc -l)" && is / "$(readlink /proc/"$guard"/cwd)" || return
	is "nuage-guard $A ${client_pids[ann]} " "$(tr '\0' ' ' </proc/"$guard"/cmdline)" && umount_ann
}

cannot_be_sent_away() {	# by what a terminal, a logout or a supervisor sends to all, nor deceived
	local guard sign
	ann_mounts && guard=$(guard_of "${client_pids[ann]}") || return
	is "$guard" "$(ps -o sid= -p "$guard" | tr -d ' ')" || return
	for sign in INT HUP TERM QUIT USR1 ALRM RTMIN; do
		kill -$sign "$guard"
	done
	sleep 0.2
	kill -0 "$guard" && : >"$A/alive" && [ -e "$A/alive" ] && umount_ann
}

costs_nothing() {
	local guard before
	ann_mounts && guard=$(guard_of "${client_pids[ann]}") || return
	before=$(grep voluntary /proc/"$guard"/status)
	sleep 1
	is "$before" "$(grep voluntary /proc/"$guard"/status)" && umount_ann
}

guard_is_killed() {
	ann_mounts && kill -KILL "$(guard_of "${client_pids[ann]}")" || return
	sleep 0.2
	: >"$A/unguarded" && [ -e "$A/unguarded" ] && umount_ann && guard_is_gone
}

interrupted() {	# as by ^C: all that the terminal knows of hear it
	local pid
	( set -m; NUAGE_HOME=$T/ann.home "$NUAGE" mount vol "$A" -f >>"$T/ann.log" 2>&1 & echo $! >"$T/pid"; wait )&
	wait_for 20 is_mounted "$A" && pid=$(cat "$T/pid") && : >"$A/interrupted" && wait_for 5 guards_left || return
	kill -INT -- "-$pid"
	wait_for 30 process_is_gone "$pid" && ! is_mounted "$A" && wait_for 5 guard_is_gone
}

# The number is used again, by the next mount unless somebody else was faster; the abort file is not.
late_guard() {
	local guard='' device tries=0
	until [ -n "$guard" ] && is "$device" "$(stat -c %d "$A")"; do
		if [ -n "$guard" ]; then
			kill -CONT "$guard"
			umount_ann || return
		fi
		[ $((tries++)) -lt 20 ] && ann_mounts && guard=$(guard_of "${client_pids[ann]}") || return
		device=$(stat -c %d "$A")
		kill -STOP "$guard" && kill_client ann && ann_mounts || return
	done
	kill -CONT "$guard"
	wait_for 5 process_is_gone "$guard" && : >"$A/new" && [ -e "$A/new" ] && umount_ann && guard_is_gone
}

# ---- everybody's ----

user_can() {
	mknod -m 666 "$T/fuse" c 10 229 && mount --bind "$T/fuse" /dev/fuse || return
	mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections || return
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=/usr/bin:/bin)
	printf '#!/bin/bash\nexec %s %q "$@"\n' "${as[*]}" "$delayed" >"$T/as-user" && chmod 755 "$T/as-user" || return
	chown -R 65534:65534 "$T/ann.home" "$A" "$T/delays"
	delayed=$T/as-user
	"${as[@]}" test -x "$tools/nuage-delay" && "${as[@]}" python3 -c ""
}

a_case "a process killed in the middle of a recall of a map's pages ends" in_foreground
a_case "one in the background too" in_background
a_case "and one that crashes then" crashed
a_case "so does one killed at rest, and its guard with it" killed_at_rest
a_case "whoever unmounts leaves no guard" unmounted
a_case "nor does a mount that fails" not_mounted
a_case "a guard holds the connection's abort file, and nothing else" holds_nothing
a_case "signals meant for others do not end it" cannot_be_sent_away
a_case "it sleeps" costs_nothing
a_case "without it the mount goes on" guard_is_killed
a_case "^C ends the mount, and then the guard" interrupted
a_case "a guard that is late does not touch the next mount" late_guard
if ! apart || ! command -v setpriv >/dev/null; then
	skip "the first again, as a user" "not root, no namespaces, or no setpriv"
elif user_can >"$T/case.out" 2>&1; then
	in_foreground_as_user() { in_foreground; }
	a_case "the first again, as a user" in_foreground_as_user
else
	skip "the first again, as a user" "$(tail -n 1 "$T/case.out")"
fi
tap_done
