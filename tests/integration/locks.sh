#!/bin/bash
# locks.sh - flock and fcntl locks: on one mount as on a local disk, refused
# while two clients have the volume mounted.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse flock python3 sqlite3
start_server
first_client ann vol
another_client bob vol ann
mount_client ann vol
A=$(mnt ann) B=$(mnt bob)

# hold KIND FILE: takes the lock, says so in $T/held, and keeps it until killed
# or $T/let-go is there; KIND is flock, fcntl or ofd.
cat >"$T/hold.py" <<'PY'
import ctypes, fcntl, os, signal, struct, sys, time

def take(kind, fd, flags=0):
    if kind == "flock":
        fcntl.flock(fd, fcntl.LOCK_EX | flags)
    elif kind == "fcntl":
        fcntl.lockf(fd, fcntl.LOCK_EX | flags, 10, 100)
    else:
        wait = 37 if flags else 38      # F_OFD_SETLK, F_OFD_SETLKW
        fcntl.fcntl(fd, wait, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 100, 10, 0))

if __name__ == "__main__":
    kind, path, held, let_go = sys.argv[1:]
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    take(kind, fd)
    open(held, "w").close()
    while not os.path.exists(let_go):
        time.sleep(0.02)
    if kind == "flock":
        fcntl.flock(fd, fcntl.LOCK_UN)
    else:
        os.close(fd)
    time.sleep(600)
PY

holder=''
hold() {	# KIND FILE
	rm -f "$T/held" "$T/let-go"
	timeout -k 5 120 python3 "$T/hold.py" "$1" "$2" "$T/held" "$T/let-go" &
	wait_for 10 test -e "$T/held"
	holder=$(pgrep -P $! python3)
}
end_holder() { kill -KILL "$holder" 2>/dev/null && timeout 5 tail --pid="$holder" -f /dev/null || true; }

# try KIND FILE: 0, or the error's name; waits for nothing.
try() {
	PYTHONPATH=$T timeout -k 5 20 python3 - "$@" <<-'PY'
	import errno, fcntl, os, sys
	from hold import take
	fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o644)
	try:
	    take(sys.argv[1], fd, fcntl.LOCK_NB)
	    print(0)
	except OSError as e:
	    print(errno.errorcode[e.errno])
	PY
}

excludes() {	# KIND
	hold "$1" "$A/$1"
	is EAGAIN "$(try "$1" "$A/$1")"
	touch "$T/let-go"
	wait_for 10 eval "[ \"\$(try $1 '$A/$1')\" = 0 ]"
	end_holder
}

gets_on() {	# KIND HOW
	hold "$1" "$A/$1"
	local before=$holder waiter
	rm -f "$T/second"
	timeout -k 5 60 python3 "$T/hold.py" "$1" "$A/$1" "$T/second" "$T/never" &
	waiter=$!
	sleep 0.5
	not test -e "$T/second"
	case $2 in
	unlock) touch "$T/let-go" ;;
	kill) kill -KILL "$before" ;;
	esac
	wait_for 10 test -e "$T/second"
	is EAGAIN "$(try "$1" "$A/$1")"
	kill -KILL "$before" 2>/dev/null || true
	pkill -KILL -P $waiter
	wait_for 10 eval "[ \"\$(try $1 '$A/$1')\" = 0 ]"
}

interrupted() {	# KIND
	hold "$1" "$A/$1"
	PYTHONPATH=$T timeout -k 5 20 python3 - "$1" "$A/$1" <<-'PY'
	import os, signal, sys
	from hold import take
	class Alarm(Exception):
	    pass
	def ring(*_):
	    raise Alarm
	signal.signal(signal.SIGALRM, ring)
	fd = os.open(sys.argv[2], os.O_RDWR)
	signal.setitimer(signal.ITIMER_REAL, 0.3)
	try:
	    take(sys.argv[1], fd)
	    sys.exit("got a lock that is held")
	except Alarm:
	    pass
	PY
	end_holder
	wait_for 10 eval "[ \"\$(try $1 '$A/$1')\" = 0 ]"
}

posix_rules() {
	timeout -k 5 30 python3 - "$A/rules" <<-'PY'
	import fcntl, os, struct, sys
	path = sys.argv[1]
	def at_other(action):	# in another process; its status
	    pid = os.fork()
	    if pid == 0:
	        fd = os.open(path, os.O_RDWR)
	        try:
	            action(fd)
	            os._exit(0)
	        except OSError:
	            os._exit(1)
	    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
	def free(start, len, how=fcntl.LOCK_EX):
	    return at_other(lambda fd: fcntl.lockf(fd, how | fcntl.LOCK_NB, len, start))
	fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
	fcntl.lockf(fd, fcntl.LOCK_EX, 100, 0)
	fcntl.lockf(fd, fcntl.LOCK_UN, 20, 40)
	assert free(40, 20) and not free(39, 1) and not free(60, 1)
	fcntl.lockf(fd, fcntl.LOCK_SH, 10, 0)
	assert free(0, 10, fcntl.LOCK_SH) and not free(0, 10) and not free(10, 1, fcntl.LOCK_SH)
	me = os.getpid()
	def asks(fd):
	    r = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 70, 5, 0))
	    kind, _, start, len, pid = struct.unpack("hhqqi4x", r)
	    if (kind, start, len, pid) != (fcntl.F_WRLCK, 60, 40, me):
	        print(kind, start, len, pid)
	        raise OSError
	assert at_other(asks)
	other = os.open(path, os.O_RDONLY)	# any close of the file gives all back
	os.close(other)
	assert free(0, 0)
	fcntl.flock(fd, fcntl.LOCK_EX)
	assert free(0, 0)
	PY
}

sqlite_counts() {
	local db=$A/count.db i
	sqlite3 "$db" 'create table t (n integer); insert into t values (0);'
	counting() {
		for _ in $(seq 40); do
			timeout -k 5 60 sqlite3 -cmd '.timeout 30000' "$db" 'begin immediate; update t set n = n + 1; commit;' || return 1
		done
	}
	counting & local one=$!
	counting & local two=$!
	wait $one
	wait $two
	is 80 "$(sqlite3 "$db" 'select n from t')"
}

second_comes() {
	hold fcntl "$A/held" && mount_client bob vol || return
	is ENOLCK "$(try flock "$B/held")" && is ENOLCK "$(try fcntl "$B/held")" || return
	# The first hears of the second with its next sign of life.
	wait_for 15 eval "[ \"\$(try flock '$A/x')\" = ENOLCK ]" && is ENOLCK "$(try fcntl "$A/x")" || return
	end_holder		# unlocks, which always works
	is 1 "$(grep -c 'locks are refused' "$T/ann.log")" && is 1 "$(grep -c 'locks are refused' "$T/bob.log")"
}

second_goes() {
	umount_client bob || return
	wait_for 15 eval "[ \"\$(try flock '$A/x')\" = 0 ]" && is 0 "$(try fcntl "$A/held")"
}

wait_is_ended() {
	hold flock "$A/waited" || return
	timeout -k 5 60 flock "$A/waited" true 2>"$T/waiter.out" &
	local waiter=$! status=0
	sleep 0.3
	mount_client bob vol || return
	wait $waiter || status=$?
	end_holder
	cat "$T/waiter.out"
	[ $status != 0 ]
	[ $status -lt 124 ]
	umount_client bob
}

# With terms of 7 + 1 s from here on; signs of life come every 5 s.
short_terms() {
	umount_client ann && stop_server || return
	configure_server term_ms 7000
	configure_server skew_ms 1000
	start_server
	mount_client ann vol
}

killed_client_is_forgotten() {
	mount_client bob vol || return
	wait_for 15 eval "[ \"\$(try flock '$A/x')\" = ENOLCK ]" && kill_client bob || return
	wait_for 20 eval "[ \"\$(try flock '$A/x')\" = 0 ]" && is 0 "$(try fcntl "$A/x")"
}

stopped_client_is_forgotten() {	# what it holds binds nobody, and its log says so
	umount_client ann && mount_client bob vol && hold fcntl "$B/x" || return
	kill -STOP "${client_pids[bob]}"
	sleep 9
	mount_client ann vol || return
	wait_for 10 eval "[ \"\$(try fcntl '$A/x')\" = 0 ]"
	local status=$?
	kill -CONT "${client_pids[bob]}"
	wait_for 5 grep -q 'locks that are held here' "$T/bob.log" || status=1
	end_holder
	umount_client bob && return $status
}

left_to_the_kernel() {
	umount_client ann && mount_client ann vol -o locks=local && mount_client bob vol -o locks=local || return
	is 0 "$(try flock "$A/x")" && is 0 "$(try fcntl "$B/x")" && excludes fcntl
}

for kind in flock fcntl ofd; do
	check "$kind: two processes exclude each other" excludes $kind
	check "$kind: who waits gets on at unlock" gets_on $kind unlock
	check "$kind: and when the holder is killed" gets_on $kind kill
	check "$kind: a signal ends a wait" interrupted $kind
done
check "ranges split, share, are asked for, and end with any close" posix_rules
check "sqlite counts right from two processes" sqlite_counts
check_here "a second client: ENOLCK on both, said once" second_comes
check_here "locks work again when it is gone" second_goes
check_here "a wait ends when a second client comes" wait_is_ended
check_here "the server is told of shorter terms" short_terms
check_here "a client that was killed counts no longer than its term" killed_client_is_forgotten
check_here "nor does one that was stopped, whose locks are worth nothing then" stopped_client_is_forgotten
check_here "-o locks=local leaves them to the kernel" left_to_the_kernel
tap_done
