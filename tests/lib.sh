# lib.sh - what the integration scripts share: TAP, a server, clients, a wide-area link.
#
# A script sources it, calls cases and ends with tap_done:
#
#	. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
#	needs fuse sqlite3
#	start_server
#	first_client ann vol
#	mount_client ann vol
#	check "a file comes back" file_comes_back ann
#	tap_done
#
# check runs its command or function in a subshell under set -e, shows its
# output as diagnostics if it fails, and goes on.  All files live below $T;
# whatever happens, the exit trap unmounts, kills and removes all.  A client is
# a NUAGE_HOME of its own, so several run on one machine.
#
# Scripts run beside each other.  As root each has a mount and a network
# namespace of its own: it sees no mount of another, takes no port of another,
# and what it mounts goes with its last process, even if it is killed.  A script
# of which something is left after its exit trap has failed.
#
# NUAGE and NUAGED name other programs to test, NUAGE_KEEP=1 keeps $T,
# NUAGE_LONG=1 runs the scripts that take long.
# shellcheck shell=bash disable=SC2154

set -u

apart() { [ "${NUAGE_APART-}" = $$ ]; }		# and a script that another one starts is so anew

# Not of a text that bash -c runs.
if [ "$(id -u)" = 0 ] && ! apart && [ ${#BASH_SOURCE[@]} -gt 1 ] &&
	unshare -mn ip link set lo up 2>/dev/null; then
	NUAGE_APART=$$ exec unshare -mn --propagation private "$BASH" "$0" "$@"
fi
if apart; then
	ip link set lo up
	# A copy of somebody's mount, or network namespace, would keep it alive when he removes it.
	awk '/ - fuse\.nuage / || / - nsfs / { print $5 }' /proc/self/mountinfo | tac | while read -r where; do
		umount -l "$(printf %b "$where")" 2>/dev/null
	done
	# The names of its own go with it.
	mkdir -p /run/netns && mount -t tmpfs none /run/netns
fi

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${top_builddir:=$top_srcdir/build}"
tools=$top_builddir/tests/tools

tap_count=0 tap_failed=0
server_pid='' server_port='' server_args=()
declare -A client_pids=()
link_pid='' server_ns='' client_ns=''
helper_pids=() memory_groups=()

# ---- TAP ----

# All of the script is one skipped case.
skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

pass() { tap_count=$((tap_count + 1)); echo "ok $tap_count - $1"; }
fail() { tap_count=$((tap_count + 1)); tap_failed=$((tap_failed + 1)); echo "not ok $tap_count - $1"; }
skip() { tap_count=$((tap_count + 1)); echo "ok $tap_count - $1 # SKIP $2"; }	# NAME REASON
note() { sed 's/^/# /'; }

# The script cannot go on; with what a file says about it.
exec 4>&1
bail() {	# MESSAGE FILE
	{ echo "Bail out! $1"; note <"$2"; } >&4
	exit 1
}

# check NAME COMMAND [ARG...]: a case; its status says whether it passed.
check() {
	local name=$1 status
	shift
	case_began=$SECONDS
	# Not in a condition, where set -e would be off inside the function.
	( set -e; "$@" ) >"$T/case.out" 2>&1
	status=$?
	report "$name" $status
}

report() {	# NAME STATUS, with $T/case.out
	if [ "$2" = 0 ]; then
		pass "$1"
	else
		fail "$1"
		{ echo "status $2"; tail -n 25 "$T/case.out"; } | note
	fi
	[ $((SECONDS - case_began)) -lt 5 ] || echo "it took $((SECONDS - case_began)) s" | note
	return "$2"
}

# check_here NAME FUNCTION [ARG...]: for one that starts or ends processes of the
# script, and so runs in its shell, without set -e: it chains with && and || return.
# A line of it that asserts something and fails is heeded also where it does not.
check_here() {
	local name=$1 status
	shift
	case_began=$SECONDS case_function=$1 case_slip=
	set -E
	trap 'heed "${FUNCNAME[0]-}" "${BASH_SOURCE[0]-}" $LINENO' ERR
	"$@" >"$T/case.out" 2>&1
	status=$?
	trap - ERR
	set +E
	if [ $status = 0 ] && [ -n "$case_slip" ]; then
		echo "failed, and nobody took notice: $case_slip" >>"$T/case.out"
		status=1
	fi
	report "$name" $status
}

heed() {	# FUNCTION FILE LINE
	local line
	[ "$1" = "$case_function" ] && [ -z "$case_slip" ] || return 0
	line=$(sed -n "$3p" "$2" 2>/dev/null)
	[[ $line =~ ^[[:space:]]*(\[|(is|not|says|exits|grep|cmp|diff|test|wait_for|python3)[[:space:]]) || $line =~ \|\ (grep|cmp)\  ]] &&
		case_slip="line $3: ${line#"${line%%[![:space:]]*}"}"
	return 0
}

# check_not NAME COMMAND...: passes if the command fails by itself, not by a signal.
check_not() {
	local name=$1
	shift
	check "$name" fails "$@"
}

# fails COMMAND...: it fails, with a status of its own.
fails() {
	local status=0
	"$@" || status=$?
	[ $status != 0 ] && [ $status -lt 126 ]
}

# not COMMAND...: for inside a case, as set -e takes no notice of "! command" nor
# of what stands before &&.
not() {
	if "$@"; then
		echo "should not succeed: $*"
		return 1
	fi
}

# says TEXT COMMAND...: it fails and its output holds TEXT (a basic regular expression).
says() {
	local text=$1 out status=0
	shift
	out=$("$@" 2>&1) || status=$?
	printf '%s\n' "$out"
	[ $status != 0 ] && [ $status -lt 126 ] && grep -q -e "$text" <<<"$out"
}

# is EXPECTED ACTUAL: the two strings are equal.
is() {
	[ "$1" = "$2" ] || { echo "expected: $1"; echo "found:    $2"; return 1; }
}

tap_done() {
	if [ $tap_failed != 0 ]; then
		local log
		for log in "$T"/*.log; do
			[ -s "$log" ] && { echo "last lines of ${log##*/}:"; tail -n 15 "$log"; } | note
		done
	fi
	echo "1..$tap_count"
	exit $((tap_failed != 0))
}

# ---- the surroundings ----

# How much longer than else everything may take here and now.
patience() {
	local load rest
	read -r load rest </proc/loadavg
	echo $((1 + ${load%.*} / (4 * $(nproc))))
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails at the deadline, on a busy machine a later one.
wait_for() {
	local deadline=$((SECONDS + $1 * $(patience) + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.05
	done
}

process_is_gone() { ! kill -0 "$1"; }

kill_and_wait() {	# PID [SIGNAL]
	kill -"${2:-KILL}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

mounts_below() {	# the last mounted first
	awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac
}

# Who waits in a mount that hangs cannot be killed before its connection is gone.
abort_mounts() {
	local minor
	mkdir -p "$T/fusectl" && mount -t fusectl none "$T/fusectl" 2>/dev/null || return
	awk -v dir="$T/" 'index($5, dir) == 1 && / - fuse\./ { sub(/.*:/, "", $3); print $3 }' /proc/self/mountinfo |
	while read -r minor; do
		echo 1 >"$T/fusectl/$minor/abort"
	done
}

# Processes in its mount namespace, or marked by their environment or their arguments; and who looks.
marked_processes() {
	grep -lsaF -e "$T" /proc/[0-9]*/environ /proc/[0-9]*/cmdline | cut -d/ -f3
	! apart || find /proc -mindepth 3 -maxdepth 3 -path '/proc/[0-9]*/ns/mnt' \
		-lname "$(readlink /proc/self/ns/mnt | sed 's/[][]/\\&/g')" 2>/dev/null | cut -d/ -f3
}

# Those it started, and theirs.  Who looked is gone by then.
left_processes() {
	local pid
	for pid in $(marked_processes | sort -un); do
		[ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || ! grep -qs . "/proc/$pid/cmdline" || echo "$pid"
	done
}
no_process_is_left() { [ -z "$(left_processes)" ]; }

left_netns() { ! apart || awk '/ - nsfs / { sub(/.*\//, "", $5); print $5 }' /proc/self/mountinfo; }
left_loops() { grep -lsF "$T/" /sys/block/loop*/loop/backing_file | cut -d/ -f4; }

unmount_all() {
	local where
	for where in $(mounts_below "$T"); do
		fusermount3 -uz "$where" 2>/dev/null || umount -l "$where"
	done
}

left=()			# behind, by a script that ends
leaving_s=10		# what its processes may take to end by themselves

# Ends that, too.  What its processes still held, or made at the last moment, is among it.
look_for_what_is_left() {
	local what command
	wait_for $leaving_s no_process_is_left >/dev/null
	for what in $(left_processes); do
		command=$(tr '\0' ' ' 2>/dev/null <"/proc/$what/cmdline")
		kill -KILL "$what" 2>/dev/null && left+=("process $what: $command")
	done
	for what in $(mounts_below "$T"); do
		left+=("mount $what")
	done
	unmount_all
	for what in $(left_loops); do
		left+=("loop device $what")
		losetup -d "/dev/$what"
	done
	for what in $(left_netns); do
		left+=("network namespace $what")
		ip netns del "$what"
	done
	[ ${#memory_groups[@]} = 0 ] || rmdir "${memory_groups[@]}" || left+=("cgroups ${memory_groups[*]}")
	if [ -n "${NUAGE_KEEP-}" ]; then
		echo "# kept: $T"
	else
		rm -rf --one-file-system "$T" || left+=("files in $T")
	fi
}

cleanup() {
	local status=$? pid where
	trap - EXIT INT TERM
	abort_mounts
	for pid in $server_pid "${client_pids[@]}" $link_pid "${helper_pids[@]}"; do
		kill_and_wait "$pid"
	done
	for where in $server_ns $client_ns; do
		ip netns del "$where"
	done
	unmount_all
	look_for_what_is_left
	if [ ${#left[@]} != 0 ]; then
		echo "Bail out! left behind: ${left[0]}"
		printf '%s\n' "${left[@]}" | note
		status=1
	fi
	exit $status
}

T=$(mktemp -d "${TMPDIR:-/tmp}/nuage-test.XXXXXX") || exit 1
chmod 755 "$T"
export NUAGE_TEST=$T	# by which its processes are known
trap cleanup EXIT
trap 'exit 143' INT TERM

program() {	# where the build leaves it
	local where
	for where in "$top_builddir/$2/$1" "$top_builddir/$1"; do
		[ -x "$where" ] && [ -f "$where" ] && { echo "$where"; return; }
	done
}
NUAGE=${NUAGE:-$(program nuage fs)}
NUAGED=${NUAGED:-$(program nuaged server)}

# needs THING...: skips all without one of fuse, netns, root, apart, long, or a program.
needs() {
	local thing
	[ -n "$NUAGE" ] && [ -n "$NUAGED" ] || skip_all "nuage and nuaged are not built"
	for thing; do
		case $thing in
		fuse) [ -w /dev/fuse ] || skip_all "no /dev/fuse" ;;
		root) [ "$(id -u)" = 0 ] || skip_all "not root" ;;
		netns)
			ip netns add "nuage-try-$$" 2>/dev/null || skip_all "no network namespaces"
			ip netns del "nuage-try-$$"
			[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
			;;
		apart) apart || skip_all "no namespaces of its own" ;;
		long) [ -n "${NUAGE_LONG-}" ] || skip_all "takes long; make check-long runs it" ;;
		*) command -v "$thing" >/dev/null || skip_all "no $thing" ;;
		esac
	done
}

drop_caches() {
	sync
	[ "$(id -u)" != 0 ] || echo 3 >/proc/sys/vm/drop_caches
}

# ---- the server ----

server_data=$T/data
server_conf=$T/nuaged.conf
server_log=$T/nuaged.log

configure_server() {	# KEY VALUE
	echo "$1 = $2" >>"$server_conf"
}

# in_ns NAMESPACE-OR-EMPTY COMMAND...: becomes the command, so that $! is its
# process.  (ip netns exec would hide what it mounts from everybody else.)
in_ns() {
	local ns=$1
	shift
	if [ -n "$ns" ]; then
		exec nsenter --net="/run/netns/$ns" "$@"
	else
		exec "$@"
	fi
}

server_answers() {
	in_ns "$server_ns" bash -c "exec 3<>/dev/tcp/$server_host/$server_port"
}

# start_server [OPTION...]: on $server_data; a restart keeps address and options.
server_host=127.0.0.1
start_server() {
	[ $# = 0 ] || server_args=("$@")
	[ -n "$server_port" ] || server_port=$(free_port)
	local config=()
	[ ! -e "$server_conf" ] || config=(--config "$server_conf")
	mkdir -p "$server_data"
	( in_ns "$server_ns" "$NUAGED" --data "$server_data" --listen "$server_host:$server_port" \
		"${config[@]}" "${server_args[@]}" ) >>"$server_log" 2>&1 &
	server_pid=$!
	wait_for 10 server_is_up_or_gone && kill -0 $server_pid 2>/dev/null && return
	bail "the server does not start" "$server_log"
}

server_is_up_or_gone() {
	# The port is open a moment before the socket through which invite speaks to the daemon.
	! kill -0 $server_pid 2>/dev/null || { [ -S "$server_data/admin.sock" ] && ( server_answers ); }
}

stop_server() {
	[ -n "$server_pid" ] || return 0
	kill -TERM "$server_pid"
	wait_for 20 process_is_gone "$server_pid" || kill -KILL "$server_pid"
	wait "$server_pid"
	local status=$?
	server_pid=
	return $status
}

kill_server() {
	kill_and_wait "$server_pid"
	server_pid=
}

# ---- clients ----

# client NAME ARG...: nuage as that client.
client() {
	local name=$1
	shift
	( export NUAGE_HOME="$T/$name.home"; in_ns "$client_ns" "$NUAGE" "$@" )
}

mnt() { echo "$T/$1.mnt"; }	# where mount_client puts it

new_client() {
	mkdir -p "$T/$1.home" "$(mnt "$1")"
	chmod 700 "$T/$1.home"
}

must() {	# in the setting up of a script
	"$@" >"$T/must.out" 2>&1 && return
	bail "$*" "$T/must.out"
}

server_invitation() {
	in_ns '' "$NUAGED" invite --data "$server_data"
}

# first_client NAME VOLUME: invited by the server, creates the volume; its
# recovery code is kept in $T/VOLUME.code.
first_client() {
	new_client "$1"
	must client "$1" join "$( ( server_invitation ) )"
	client "$1" create "$2" >"$T/$2.code" 2>"$T/must.out" || must client "$1" create "$2"
}

# another_client NAME VOLUME BY: invited to the volume by a member.
another_client() {
	new_client "$1"
	must client "$1" join "$(client "$3" invite "$2" 2>/dev/null)"
}

is_mounted() { mountpoint -q "$1"; }

# mount_client NAME VOLUME [OPTION...]: in the foreground, at $(mnt NAME).
mount_client() {
	local name=$1 volume=$2 where
	where=$(mnt "$name")
	shift 2
	( export NUAGE_HOME="$T/$name.home"
	  in_ns "$client_ns" "$NUAGE" mount "$volume" "$where" -f "$@" ) >>"$T/$name.log" 2>&1 &
	client_pids[$name]=$!
	wait_for 20 mounted_or_gone "$where" "${client_pids[$name]}" && is_mounted "$where" ||
		bail "$name does not mount $volume" "$T/$name.log"
}

mounted_or_gone() { is_mounted "$1" || ! kill -0 "$2" 2>/dev/null; }

# two_clients [MOUNT-OPTION...]: a server, and ann and bob, who have its volume vol mounted.
two_clients() {
	start_server
	first_client ann vol
	another_client bob vol ann
	mount_client ann vol "$@"
	mount_client bob vol "$@"
}

umount_client() {
	local name=$1
	client "$name" umount "$(mnt "$name")" || return
	wait_for 20 process_is_gone "${client_pids[$name]}" || return
	wait "${client_pids[$name]}"
	unset "client_pids[$name]"
}

# As kill -9 or a crash does; the mount point is cleared for the next mount.
kill_client() {
	kill_and_wait "${client_pids[$1]}"
	unset "client_pids[$1]"
	umount -l "$(mnt "$1")"
}

# With an empty kernel cache afterwards.
remount_client() {	# NAME VOLUME [OPTION...]
	umount_client "$1" || return
	drop_caches
	mount_client "$@"
}

# fact CLIENT NAME: a number of its status.
fact() { client "$1" status --json "$(mnt "$1")" | sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p"; }

# at_most N CLIENT FACT: what it has counted since its mount, less $before.
before=0
at_most() {
	local found
	found=$(($(fact "$2" "$3") - before))
	echo "$3: $found"
	[ "$found" -le "$1" ]
}

flush_client() { client "$1" sync "$(mnt "$1")"; }

# ---- a wide-area link ----

# link_up [WANLINK-OPTION...]: from then on the server and clients started live
# at its two ends.
link_up() {
	client_ns=nuage-c$$
	server_ns=nuage-s$$
	server_host=10.99.0.2
	server_port=7000
	must ip netns add $client_ns
	must ip netns add $server_ns
	"$tools/wanlink" "$@" $client_ns 10.99.0.1/30 $server_ns 10.99.0.2/30 >"$T/link.out" 2>"$T/link.log" &
	link_pid=$!
	must wait_for 5 grep -q ready "$T/link.out"
}

link_cut() { link_signal USR1 cut; }
link_restore() { link_signal USR2 restore; }

link_signal() {
	: >"$T/link.out"
	kill -"$1" "$link_pid"
	wait_for 5 grep -q "$2" "$T/link.out"
}

# ---- material ----

# call OPERATION ARG...: one system call; prints 0, another result, or the error's name.
call() { python3 "$top_srcdir/tests/tools/call.py" "$@"; }

# make_tree DIR [FILES]: a tree of real text files.
make_tree() { python3 "$top_srcdir/tests/tools/mktree.py" "$@"; }

random_file() { head -c "$2" /dev/urandom >"$1"; }	# FILE SIZE
