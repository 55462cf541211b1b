#!/bin/bash
# suspend.sh - the machine goes to sleep while mounts are in use, and wakes up.
#
# A real logind (elogind, which needs no systemd) on a bus of its own tells of
# the sleep, takes the inhibitor and runs hooks where the machine would sleep:
# to it /sys/power/state is a file, and halting a program that does nothing.
# The hook freezes a cgroup of the mount and its users as the kernel freezes
# all tasks: it succeeds only when none of them waits for the mount.  Who asks
# it something in that very moment nobody can help, so they leave it alone then.
#
# ELOGIND names the program; ./bootstrap test fetches it.  Arguments choose cases.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root dbus-daemon busctl unshare python3
for ELOGIND in "${ELOGIND-}" /lib/elogind/elogind "$top_builddir/elogind/lib/elogind/elogind"; do
	[ ! -x "$ELOGIND" ] || break
done
[ -x "$ELOGIND" ] || skip_all "no elogind"
LD_LIBRARY_PATH=${ELOGIND%/*} ldd "$ELOGIND" | not grep "not found" >"$T/ldd" || skip_all "elogind lacks a library"

freezer=$T/freezer
mkdir -p "$freezer"
mount -t cgroup -o freezer none "$freezer" 2>/dev/null || skip_all "no freezer of cgroups"
group=$freezer/nuage-test-$$

# ---- the machine: a bus, a logind, and what sleep is ----

export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$T/bus
cat >"$T/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>$DBUS_SYSTEM_BUS_ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
END
mkdir -p "$T/power" "$T/etc.up" "$T/etc.work" "$T/hooks"
cat >"$T/hooks/freeze" <<END
#!/bin/bash
[ "\$1" = pre ] || exit 0
: >$T/freezing
sleep 0.3		# the kernel writes its disks first
began=\${EPOCHREALTIME/./}
echo FROZEN >$group/freezer.state
for i in {1..60}; do
	state=\$(cat $group/freezer.state)
	[ "\$state" != FROZEN ] || break
	sleep 0.05
done
echo "\$state after \$(((\$began - \$(cat $T/told)) / 1000)) ms" >>$T/slept
for task in \$([ "\$state" = FROZEN ] || cat $group/tasks); do
	echo "\$task \$(cat /proc/\$task/comm): \$(head -n 4 /proc/\$task/stack | tr '\n' ' ')" >>$T/slept
done
sleep "\$(cat $T/nap)"
rm $T/freezing
echo THAWED >$group/freezer.state
echo awake >>$T/slept
END
printf '#!/bin/sh\necho "$0" >>%s/halted\n' "$T" >"$T/halt"
chmod 755 "$T/hooks/freeze" "$T/halt"
cat >"$T/logind.sh" <<END
set -e
mount -t tmpfs none /run
mkdir /run/systemd
echo freeze mem >$T/power/state
mount --bind $T/power /sys/power
mount -t overlay -o lowerdir=/etc,upperdir=$T/etc.up,workdir=$T/etc.work none /etc
mkdir -p /etc/elogind
ln -sfn $T/hooks /etc/elogind/system-sleep
for program in halt poweroff reboot shutdown; do
	for where in /sbin/\$program /usr/sbin/\$program /bin/\$program /usr/bin/\$program; do
		[ ! -e \$where ] || mount --bind $T/halt \$where
	done
done
exec env LD_LIBRARY_PATH=${ELOGIND%/*} $ELOGIND
END

start_bus() {
	dbus-daemon --config-file="$T/bus.conf" --nofork --nopidfile >>"$T/bus.log" 2>&1 &
	bus_pid=$!
	helper_pids+=("$bus_pid")
	wait_for 5 test -S "$T/bus"
}

manager() { busctl --system "$1" org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager "${@:2}"; }

start_logind() {
	unshare -m --propagation slave bash "$T/logind.sh" >>"$T/logind.log" 2>&1 &
	logind_pid=$!
	helper_pids+=("$logind_pid")
	wait_for 5 manager call CanSuspend
}

# Skips all, when there is something to clean up.
leave() { skip "going to sleep" "$1"; tap_done; }

start_bus && start_logind && grep -q yes <<<"$(manager call CanSuspend)" || leave "elogind does not run here"

# suspend SECONDS: to the end of the sleep, which follows within InhibitDelayMaxSec.
suspend() {
	echo "$1" >"$T/nap"
	: >"$T/slept"
	echo "${EPOCHREALTIME/./}" >"$T/told"
	manager call Suspend b false && wait_for $(($1 + 12)) grep -q awake "$T/slept"
	local status=$?
	cat "$T/slept"
	return $status
}

# All tasks came to a stop, at most so many milliseconds after the order.
slept_within() {
	local state ms
	read -r state _ ms _ <"$T/slept"
	is FROZEN "$state" && [ "$ms" -lt "$1" ]
}

heard() { [ "$(json ann logind)" = heard ]; }
json() { client "$1" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$2"; }
freeze_along() { echo "$1" >"$group/cgroup.procs"; }	# PID
awaits_mount() { grep -q "fuse_\|folio_wait" "/proc/$1/stack"; }	# PID
log_says() { grep -q "$1" "$T/ann.log"; }

# The group outlives the mount it was made through.
mkdir "$group" || leave "no cgroup can be made"
leave_group() {
	local pid
	echo THAWED >"$group/freezer.state"
	while read -r pid; do
		echo "$pid" >"$freezer/cgroup.procs"
	done <"$group/cgroup.procs"
	rmdir "$group"
}
trap 'status=$?; leave_group; (exit $status); cleanup' EXIT

configure_server term_ms 12000
configure_server skew_ms 500
start_server
first_client ann vol
another_client bob vol ann
M=$(mnt ann) B=$(mnt bob)
mount_client ann vol -o commit=60
[ "$(json ann logind)" != off ] || leave "nuage is built without logind"
freeze_along "${client_pids[ann]}"
must wait_for 10 heard

# Content that ann has not got.
unseen() {
	random_file "$M/$1" 2000000 && cp "$M/$1" "$T/$1" && flush_client ann && umount_client ann || return
	mount_client ann vol -o commit=60
	freeze_along "${client_pids[ann]}" && wait_for 10 heard && ls "$M" >/dev/null
}

# reader FILE: in the cgroup; $reader.
reader() {
	cat "$M/$1" >"$T/read" 2>"$T/read.err" &
	reader=$!
	freeze_along $reader
	wait_for 20 awaits_mount $reader
}

inhibits() {
	manager call ListInhibitors >"$T/inhibitors" && cat "$T/inhibitors"
	grep -qE '"(sleep:shutdown|shutdown:sleep)" "nuage" "[^"]*" "delay"' "$T/inhibitors"
}

needed() {	# the trouble itself: who waits for a stopped server keeps all from freezing
	unseen needed && kill -STOP "$server_pid" && reader needed || return
	echo FROZEN >"$group/freezer.state"
	sleep 2
	local state
	state=$(cat "$group/freezer.state")
	echo THAWED >"$group/freezer.state"
	kill -CONT "$server_pid"
	is FREEZING "$state" && wait $reader && cmp "$T/read" "$T/needed"
}

silent() {	# the server is stopped: what was changed is in the journal, who waits is told
	unseen silent && printf cached >"$M/known" && flush_client ann || return
	kill -STOP "$server_pid"
	reader silent
	printf changed >"$M/known"
	python3 - "$M/known" "$T/freezing" >"$T/steady" <<-'PY' &
	import os, sys, time
	while not os.path.exists(sys.argv[2]):
	    assert open(sys.argv[1]).read() == "changed"
	    time.sleep(0.1)
	print("steady")
	PY
	local steady=$!
	freeze_along $steady
	suspend 1
	local status=$?
	fails wait $reader && cat "$T/read.err" && grep -q "Host is down" "$T/read.err" && [ $status = 0 ] && slept_within 5500 ||
		status=1
	log_says "goes to sleep: changes of . files are not on the server" && not grep -q True <<<"$(json ann asleep)" || status=1
	kill -CONT "$server_pid"
	wait_for 10 cmp "$M/silent" "$T/silent" && wait $steady && grep -q steady "$T/steady" && return $status
}

gone() {	# the server is not there: it does not take long
	unseen gone || return
	kill_server
	reader gone
	suspend 1
	local status=$?
	fails wait $reader && grep -q "Host is down" "$T/read.err" && [ $status = 0 ] && slept_within 2000 || status=1
	start_server
	wait_for 5 cmp "$M/gone" "$T/gone" && return $status
}

saved() {	# the server is there: it has all, and nothing fails
	printf "saved before" >"$M/saved" || return
	suspend 1 && slept_within 3000 && log_says "goes to sleep: everything is on the server" || return
	is "saved before" "$(cat "$M/saved")" && wait_for 5 inhibits	# the next time, too
}

locks() {	# nor does who waits for a lock keep it awake
	: >"$M/locked"
	exec 8>"$M/locked"
	flock 8 || return
	python3 - "$M/locked" >"$T/lock" 8>&- <<-'PY' &
	import fcntl, sys
	try:
	    fcntl.lockf(open(sys.argv[1], "w"), fcntl.LOCK_EX)
	    print("waits", flush=True)
	    fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)
	    print("taken")
	except OSError as e:
	    print(e.strerror)
	PY
	local waiter=$!
	freeze_along $waiter
	wait_for 20 grep -q waits "$T/lock" && wait_for 20 awaits_mount $waiter || return
	suspend 1
	local status=$?
	exec 8>&-
	wait $waiter
	cat "$T/lock"
	grep -q "No locks available" "$T/lock" && [ $status = 0 ] && slept_within 3000 && flock -n "$M/locked" true
}

looked() { [ "$(wc -l <"$T/looks")" -gt 12 ]; }
stale() {	# what changed during the sleep is not shown as it was, from the first look on
	printf old >"$M/shared" && flush_client ann || return
	# Bob's machine does not sleep.
	DBUS_SYSTEM_BUS_ADDRESS=unix:path=$T/none mount_client bob vol
	python3 - "$M/shared" "$T/looks" "$T/freezing" <<-'PY' &
	import os, sys, time
	path, out, freezing = sys.argv[1:]
	with open(out, "w") as f:
	    for i in range(1500):
	        while os.path.exists(freezing):
	            time.sleep(0.001)
	        before = time.time()
	        try:
	            size = os.stat(path).st_size
	        except OSError as e:
	            size = -e.errno
	        print(before, time.time(), size, file=f, flush=True)
	        time.sleep(0.02)
	        if size == 9:
	            break
	PY
	local looker=$! changer
	freeze_along $looker
	wait_for 20 looked || return
	( wait_for 10 grep -q FROZEN "$T/slept"; printf "brand-new" >"$B/shared" && sync "$B/shared" && date +%s.%N ) >"$T/changed" &
	changer=$!
	: >"$T/slept"
	suspend 15 && wait $changer && slept_within 3000 && wait $looker || return
	tail -n 3 "$T/looks"; cat "$T/changed"
	client bob umount "$B" && python3 - "$T/looks" "$T/changed" <<-'PY'
	import sys
	changed = float(open(sys.argv[2]).read())
	looks = [line.split() for line in open(sys.argv[1])]
	late = [int(size) for before, after, size in looks if float(before) > changed]
	assert late and all(size == 9 or size < 0 for size in late) and late[-1] == 9, late
	assert sum(int(size) == 3 for _, _, size in looks) > 10
	PY
}

by_hand() {	# without logind: by command, as a hook of pm-utils would
	unseen byhand && kill -STOP "$server_pid" && reader byhand || return
	client ann sync --sleep "$M" && is True "$(json ann asleep)" && client ann status | grep "GOING TO SLEEP"
	local status=$?
	fails wait $reader && grep -q "Host is down" "$T/read.err" || status=1
	kill -CONT "$server_pid"
	client ann sync --wake "$M" && is False "$(json ann asleep)" && wait_for 5 cmp "$M/byhand" "$T/byhand" && return $status
}

again() {	# bus and logind go, and come again
	kill_and_wait $logind_pid TERM
	wait_for 5 not heard && start_logind && wait_for 5 heard || return
	kill_and_wait $bus_pid TERM
	wait_for 5 not heard && is absent "$(json ann logind)" && is changed "$(cat "$M/known")" || return
	kill_and_wait $logind_pid
	start_bus && start_logind && wait_for 10 heard && suspend 1 && slept_within 3000
}

shut_down() {	# told of the end it saves what there is; then comes SIGTERM
	printf "at last" >"$M/last" || return
	manager call PowerOff b false && wait_for 10 test -s "$T/halted" && log_says "shut down: everything is on the server"
}

chosen=$*
one() { [ -z "$chosen" ] || [[ " $chosen " = *" $2 "* ]] || return 0; check_here "$1" "$2"; }	# NAME CASE

one "logind is asked for time before sleep and shutdown" inhibits
one "who waits for a stopped server cannot be frozen" needed
one "but is told so in time when the machine is to sleep" silent
one "at once when the server is known to be away" gone
one "with a server all is saved, nothing fails, and so the next time" saved
one "who waits for a lock is refused" locks
one "awake, nobody is shown what changed meanwhile" stale
one "a command does it without logind" by_hand
one "a logind and a bus that come again are found" again
one "before a shutdown all is saved" shut_down
tap_done
